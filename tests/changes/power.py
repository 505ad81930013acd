"""A disk that forgets: what strace has seen of an operation, replayed into a model of what survives a power failure.

The rules are POSIX's, not those of one file system. Bytes of a file survive if fsync or fdatasync of it, or sync, came
after they were written; else the file may have those of the last time, none, or zeros. A name that was made, changed or
removed survives if its folder was synced afterwards (for a rename: the folder that it went to), and that folder's own
name is on the disk; else it may or may not. Nothing goes to a folder that isn't there.
Bytes without names and names without bytes are both possible: the second is what ext4, XFS and others really leave
behind where somebody renames a file that wasn't synced.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from changes.children import CALLS, traced

TRACED = (*CALLS, "openat2", "lseek", "read", "pread64")
_LINE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")
_PIECE = re.compile(r'\s*(?:"((?:\\x[0-9a-f]{2})*)"|(?:(\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)[^>]*>)|([^,]+))')


@dataclass(eq=False)
class Inode:
    """A file, a folder or a link; ``durable`` is what the disk has of its bytes."""

    kind: str
    data: bytes = b""
    durable: bytes = b""
    number: int = 0


@dataclass(eq=False)
class Renaming:
    """Names that change together: (folder, name, what is there then); durable when `folder` is synced."""

    folder: Inode
    names: list[tuple[Inode, str, Inode | None]]
    synced: bool = False


Names = dict[Inode, dict[str, Inode]]


@dataclass
class Disk:
    """All files below a folder, as programs see them and as they are on the disk."""

    base: str
    root: Inode = field(default_factory=lambda: Inode("folder"))
    names: Names = field(default_factory=dict)
    on_disk: Names = field(default_factory=dict)
    pending: list[Renaming] = field(default_factory=list)
    open_files: dict[int, tuple[Inode, int]] = field(default_factory=dict)
    inodes: list[Inode] = field(default_factory=list)

    def __post_init__(self) -> None:
        known: dict[int, Inode] = {}
        self._load(self.base, self.root, known)
        self.on_disk = {folder: dict(inside) for folder, inside in self.names.items()}

    def _load(self, path: str, inode: Inode, known: dict[int, Inode]) -> None:
        self._new(inode)
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            kind = "link" if entry.is_symlink() else "folder" if entry.is_dir() else "file"
            there = known.get(entry.inode())
            if there is None:
                there = known[entry.inode()] = Inode(kind)
                if kind == "folder":
                    self._load(entry.path, there, known)
                else:
                    data = os.readlink(entry.path).encode() if kind == "link" else Path(entry.path).read_bytes()
                    there.data = there.durable = data
                    self._new(there)
            self.names[inode][entry.name] = there

    def _new(self, inode: Inode) -> None:
        inode.number = len(self.inodes)
        self.inodes.append(inode)
        if inode.kind == "folder":
            self.names[inode] = {}
            self.on_disk.setdefault(inode, {})

    # -- what programs do ------------------------------------------------------------------------------------

    def _place(self, path: str) -> tuple[Inode, str] | None:
        """Folder and name of a path; None outside."""
        if not path.startswith(self.base + "/"):
            return None
        *above, name = os.path.normpath(path)[len(self.base) + 1 :].split("/")
        folder = self.root
        for part in above:
            folder = self.names[folder][part]
        return folder, name

    def find(self, path: str) -> Inode | None:
        if path == self.base:
            return self.root
        place = self._place(path)
        return place and self.names[place[0]].get(place[1])

    def _change(self, folder: Inode, *names: tuple[Inode, str, Inode | None]) -> None:
        _apply(self.names, names)
        self.pending.append(Renaming(folder, list(names)))

    def open(self, fd: int, path: str, flags: str) -> None:
        self.open_files.pop(fd, None)
        place = self._place(path)
        if path == self.base:
            self.open_files[fd] = self.root, 0
        if place is None:
            return
        inode = self.names[place[0]].get(place[1])
        if inode is None:
            assert "O_CREAT" in flags, path
            inode = Inode("file")
            self._new(inode)
            self._change(place[0], (*place, inode))
        if "O_TRUNC" in flags:
            inode.data = b""
        self.open_files[fd] = inode, len(inode.data) if "O_APPEND" in flags else 0

    def write(self, fd: int, data: bytes, at: int | None = None) -> None:
        inode, position = self.open_files[fd]
        if at is None:
            at = position
            self.open_files[fd] = inode, at + len(data)
        inode.data = inode.data[:at].ljust(at, b"\0") + data + inode.data[at + len(data) :]

    def seek(self, fd: int, position: int) -> None:
        self.open_files[fd] = self.open_files[fd][0], position

    def advance(self, fd: int, count: int) -> None:
        inode, position = self.open_files[fd]
        self.open_files[fd] = inode, position + count

    def truncate(self, fd: int, size: int) -> None:
        inode = self.open_files[fd][0]
        inode.data = inode.data[:size].ljust(size, b"\0")

    def copy(self, source: int, target: int, count: int, at: int | None) -> None:
        inode, position = self.open_files[source]
        start = position if at is None else at
        self.write(target, inode.data[start : start + count])
        if at is None:
            self.advance(source, count)

    def mkdir(self, path: str) -> None:
        if place := self._place(path):
            inode = Inode("folder")
            self._new(inode)
            self._change(place[0], (*place, inode))

    def symlink(self, target: str, path: str) -> None:
        if place := self._place(path):
            inode = Inode("link", target.encode(), target.encode())
            self._new(inode)
            self._change(place[0], (*place, inode))

    def unlink(self, path: str) -> None:
        if place := self._place(path):
            self._change(place[0], (*place, None))

    def rename(self, old: str, new: str) -> None:
        source, target = self._place(old), self._place(new)
        assert (source is None) == (target is None), "a rename between what is looked at and something else"
        if source and target:
            inode = self.names[source[0]][source[1]]
            self._change(target[0], (*source, None), (*target, inode))

    def link(self, old: str, new: str) -> None:
        if target := self._place(new):
            by_fd = re.fullmatch(r"/proc/(?:self|thread-self)/fd/(\d+)", old)
            inode = self.open_files.get(int(by_fd[1]), (None, 0))[0] if by_fd else self.find(old)
            assert inode, "a link to something that isn't looked at"
            self._change(target[0], (*target, inode))

    # -- what reaches the disk -------------------------------------------------------------------------------

    def sync(self) -> None:
        for renaming in self.pending:
            _apply(self.on_disk, renaming.names)
        self.pending.clear()
        for inode in self.inodes:
            inode.durable = inode.data

    def sync_one(self, fd: int) -> None:
        inode = self.open_files[fd][0]
        inode.durable = inode.data
        if inode.kind != "folder":
            return
        for renaming in self.pending:
            renaming.synced |= renaming.folder is inode
        while any(self._settle(renaming) for renaming in self.pending if renaming.synced):
            pass

    def _settle(self, last: Renaming) -> bool:
        """Have a change of names that was synced be on the disk, if its folder is; whether it is now."""
        if last.folder not in _reachable(self.on_disk, self.root):
            return False  # its folder's own name may still be lost, and it with that
        touched = {(folder, name) for folder, name, _ in last.names}
        left = []
        for i, renaming in enumerate(self.pending):
            # What came before to the same names is part of it: a file that was made, then renamed.
            is_before = i < self.pending.index(last) and touched & {(f, n) for f, n, _ in renaming.names}
            if renaming is last or is_before:
                _apply(self.on_disk, renaming.names)
            else:
                left.append(renaming)
        self.pending = left
        return True

    def after_failure(
        self, keeps_name: Callable[[int], bool], bytes_of: Callable[[Inode], bytes]
    ) -> dict[str, tuple[str, bytes, int]]:
        """Path -> kind, bytes and number of what is there when the power is back.

        Parameters
        ----------
        keeps_name : callable
            Whether the n-th change of names that wasn't synced has survived.
        bytes_of : callable
            Which bytes of a file that wasn't synced have.
        """
        names = {folder: dict(inside) for folder, inside in self.on_disk.items()}
        for number, renaming in enumerate(self.pending):
            if keeps_name(number) and renaming.folder in _reachable(names, self.root):
                _apply(names, renaming.names)
        return dict(_walk(names, self.root, "", bytes_of))

    def as_seen(self) -> dict[str, tuple[str, bytes, int]]:
        """What programs see: nothing has failed."""
        return dict(_walk(self.names, self.root, "", lambda inode: inode.data))


def _apply(names: Names, changes: list[tuple[Inode, str, Inode | None]]) -> None:
    for folder, name, inode in changes:
        if inode is None:
            names[folder].pop(name, None)
        else:
            names[folder][name] = inode


def _reachable(names: Names, root: Inode) -> set[Inode]:
    found, todo = {root}, [root]
    while todo:
        inside = {inode for inode in names[todo.pop()].values() if inode.kind == "folder"} - found
        found |= inside
        todo += inside
    return found


def _walk(
    names: Names, folder: Inode, path: str, bytes_of: Callable[[Inode], bytes]
) -> Iterator[tuple[str, tuple[str, bytes, int]]]:
    for name, inode in names[folder].items():
        full = f"{path}/{name}" if path else name
        data = inode.durable if inode.data == inode.durable else bytes_of(inode)
        yield full, (inode.kind, b"" if inode.kind == "folder" else data, inode.number)
        if inode.kind == "folder":
            yield from _walk(names, inode, full, bytes_of)


def materialise(state: dict[str, tuple[str, bytes, int]], target: Path) -> Path:
    """Write what has survived to a folder."""
    target.mkdir()
    made: dict[int, str] = {}
    for path, (kind, data, number) in sorted(state.items()):
        full = os.path.join(target, path)
        if kind == "folder":
            os.mkdir(full)
        elif kind == "link":
            os.symlink(data, full)
        elif number in made:
            os.link(made[number], full)
        else:
            Path(full).write_bytes(data)
            made[number] = full
    return target


# -- from strace to the disk ---------------------------------------------------------------------------------


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _arguments(text: str) -> list[bytes | tuple[int, str] | str]:
    """Strings as bytes; descriptors as (number, path); the rest as it stands."""
    found: list[bytes | tuple[int, str] | str] = []
    for piece in _PIECE.finditer(text):
        string, fd, path, other = piece.groups()
        if string is not None:
            found.append(_unhex(string))
        elif path is not None:
            found.append((-100 if fd == "AT_FDCWD" else int(fd), os.fsdecode(_unhex(path))))
        elif other.strip():
            found.append(other.strip())
    return found


def replay(trace: str, disk: Disk) -> Iterator[str]:
    """Do to a disk what a trace says; gives the name of each call that has changed or synced something."""
    begun: dict[str, str] = {}
    for line in trace.splitlines():
        pid, _, call = line.partition(" ")
        if call.endswith("<unfinished ...>"):
            begun[pid] = call.strip().removesuffix("<unfinished ...>").rstrip()
            continue
        if match := re.match(r" *<\.\.\. \w+ resumed>", call):
            call = begun.pop(pid) + call[match.end() :]
        match = _LINE.match(f"{pid} {call.lstrip()}")
        if match and int(match[4]) >= 0 and _do(disk, match[2], _arguments(match[3]), int(match[4])):
            yield match[2]


def _do(disk, call, arguments, result):
    """One call; whether it was one that changes or syncs something that is looked at."""
    paths = [i for i, one in enumerate(arguments) if isinstance(one, bytes)]

    def path(number):
        i = paths[number]
        before = arguments[i - 1] if i else None
        folder = before[1] if isinstance(before, tuple) else disk.base
        return os.path.normpath(os.path.join(folder, os.fsdecode(arguments[i])))

    if call == "openat2":  # only ever for reading
        disk.open(result, path(0), "O_RDONLY")
        return False
    if call == "openat":
        disk.open(result, path(0), str(arguments[2]))
        return "O_CREAT" in arguments[2] or "O_TRUNC" in arguments[2]
    if call in ("mkdir", "mkdirat"):
        disk.mkdir(path(0))
    elif call in ("unlink", "unlinkat", "rmdir"):
        disk.unlink(path(0))
    elif call in ("rename", "renameat", "renameat2"):
        disk.rename(path(0), path(1))
    elif call in ("link", "linkat"):
        disk.link(path(0), path(1))
    elif call in ("symlink", "symlinkat"):
        disk.symlink(os.fsdecode(arguments[paths[0]]), path(1))
    elif call in ("sync", "syncfs"):
        disk.sync()
    else:
        return _do_to_file(disk, call, arguments, result)
    return True


def _do_to_file(disk, call, arguments, result):
    fd, name = arguments[0]
    inside = name == disk.base or name.startswith(disk.base + "/")
    if not inside or fd not in disk.open_files:
        return False
    if call in ("fsync", "fdatasync"):
        disk.sync_one(fd)
    elif call == "write":
        disk.write(fd, arguments[1][:result])
    elif call == "pwrite64":
        disk.write(fd, arguments[1][:result], int(arguments[3]))
    elif call == "ftruncate":
        disk.truncate(fd, int(arguments[1]))
    elif call == "sendfile":
        disk.copy(arguments[1][0], fd, result, _offset(arguments[2]))
    elif call == "copy_file_range":
        assert arguments[3] == "NULL", "a copy to a place of its own"
        disk.copy(fd, arguments[2][0], result, _offset(arguments[1]))
    elif call == "lseek":
        disk.seek(fd, result)
        return False
    elif call == "read":
        disk.advance(fd, result)
        return False
    else:
        assert call in ("pread64", "fchmod"), f"the disk knows no {call}"
        return False
    return True


def _offset(text):
    """Where a copy begins; None where that is the file's own place."""
    return None if text == "NULL" else int(text.strip("[]").split("]")[0])


def recorded(operation, trace):
    """Run an operation; all that strace has seen of it, with every byte."""
    options = ("-y", "-xx", "-s", str(1 << 26), "-o", trace, "-e", f"trace={','.join(TRACED)}")
    assert traced(operation, *options) == 0
    return Path(trace).read_text()
