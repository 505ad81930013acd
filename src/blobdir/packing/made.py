"""What was made of a folder that isn't there yet, and whether it's all there, and nothing else: one rule for all.

Whoever writes below a `blobdir.packing.newfolder.NewFolder` does it here, or says here what was written. Each folder is
entered by itself, never through a symbolic link, and is the one that was made: what others put in its place is never
written to. Before the folder gets its name, `Made.check` walks it:

- a folder is the one that was made (device and inode number), no link;
- what readers depend on most (blobs, offsets files, ``meta.json``, sums: files that were taken *singly*) is the same
  file, not written to since: device, inode number, size and times. If these differ, its bytes are read where their
  checksum is known, and decide: a copy of the same content is as good, and times change by a backup, too;
- the many (annotations, side files, images of other formats) are there, plain files, of their sizes;
- nothing else is there but hidden files and what systems and editors leave in any folder, which nobody takes for a part
  of a project. Anything else is another program's: it's never removed. All of it is named, and noted in `FOREIGN` among
  the notes, so that the next try, which removes what a try that was cut off has left, is refused as long as it's there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
from array import array
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from blobdir.discovery import layout
from blobdir.discovery.whereabouts import is_inside
from blobdir.durable import naming
from blobdir.errors import PackError
from blobdir.filenames import is_left_anywhere
from blobdir.inside import open_plain, read_whole
from blobdir.leftovers import remove_odd
from blobdir.packing.columns import TextColumn
from blobdir.tarwriting.place import ENTER, Place
from blobdir.temporary import PREFIX, lock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

_OPEN: Final = 32
"""Folders that are open at a time."""
_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
FOREIGN: Final = "foreign.json"
"""Note of what another program has put there."""
_NAMED: Final = 10
"""Files of another program that are named."""
_HASHED_BYTES: Final = 1 << 20
"""Of a file whose checksum is made when it's taken, at the most."""


class Stamp(NamedTuple):
    """What a file has as long as nobody has replaced it or written to it; no `ctime_ns` of one that others have too."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result, *, shared: bool = False) -> Stamp:
        """Of a file that was looked at."""
        ctime_ns = 0 if shared else found.st_ctime_ns
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, ctime_ns)

    def kept(self) -> list[int]:
        """What is still true after the machine was started anew."""
        return list(self[1:])


class Single(NamedTuple):
    """A file that is looked at by itself: what it was, its SHA-256 if that's known, and where it leads as a link."""

    stamp: Stamp
    digest: str
    link: str


@dataclass(slots=True)
class _Folder:
    ident: tuple[int, int]
    singles: dict[str, Single] = field(default_factory=dict)
    names: TextColumn = field(default_factory=TextColumn)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    batches: list[tuple[bytes, array[int]]] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)

    def many(self) -> dict[str, int]:
        """Name -> size of the files that weren't taken singly."""
        found = dict(zip(self.names, self.sizes, strict=True))
        for names, sizes in self.batches:
            found.update(zip(os.fsdecode(names).split("\0"), sizes, strict=False))  # behind the last one is a NUL
        if any(sizes and min(sizes) < 0 for _, sizes in self.batches):
            found = {name: size for name, size in found.items() if size >= 0}
        return found


class Made:
    """What was made.

    Parameters
    ----------
    root : path
    top : int
        Descriptor of it; stays open, and the caller's.
    notes : str
        A folder two below it, of notes and of files before they have their names; what lies there isn't looked at.
    again : str
        What to do where it isn't whole: ``try again``.

    Attributes
    ----------
    has_foreign : bool
        Whether something of another program was found, which mustn't be removed.
    """

    def __init__(self, root: os.PathLike[str], top: int, notes: str, again: str) -> None:
        self._root, self._top, self.notes, self._again = os.fspath(root), top, notes, again
        self._own = notes.partition("/")[0]
        self.has_foreign = False
        self._folders: dict[str, _Folder] = {"": _Folder(_ident(os.fstat(top)))}
        self._fds: dict[str, int] = {}
        self.fd(notes)

    def close(self) -> None:
        """Close what is open."""
        fds, self._fds = self._fds, {}
        for fd in fds.values():
            os.close(fd)

    # -- folders ----------------------------------------------------------------------------------------------------

    def fd(self, path: str) -> int:
        """Descriptor of a folder, which is made where it wasn't before; to be used before another one is asked for.

        Raises
        ------
        PackError
            It was made, and is gone or another one.
        """
        if path in self._fds:
            return self._fds[path]
        if not path:
            return self._top
        parent, _, name = path.rpartition("/")
        above = self.fd(parent)
        known = self._folders.get(path)
        if known is None:
            with naming(self.full(path)), suppress(FileExistsError):  # of an earlier try
                os.mkdir(name, dir_fd=above)
        fd = self._enter(above, name, path, known)
        if known is None:
            self._folders[path] = _Folder(_ident(os.fstat(fd)))
            self._folders[parent].folders.add(name)
        self._fds[path] = fd
        if len(self._fds) > _OPEN:
            os.close(self._fds.pop(next(iter(self._fds))))
        return fd

    def _enter(self, above: int, name: str, path: str, known: _Folder | None) -> int:
        try:
            fd = os.open(name, ENTER, dir_fd=above)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self.lost(path) from error
        except OSError as error:
            if os.path.islink(self.full(path)):
                raise self.lost(path) from error
            error.filename = self.full(path)
            raise
        if known is not None and _ident(os.fstat(fd)) != known.ident:
            os.close(fd)
            raise self.lost(path)
        return fd

    def has_folder(self, path: str) -> bool:
        """Whether a folder was made."""
        return path in self._folders

    def place(self, path: str) -> Place:
        """A folder as another process is told of it."""
        self.fd(path)
        return Place(self._root, path, *self._folders[path].ident)

    def full(self, path: str) -> str:
        """The path with what is above it."""
        return os.path.join(self._root, path)

    def of(self, path: str) -> tuple[int, str]:
        """Descriptor of the folder that a path lies in, as from `fd`, and its last component."""
        folder, _, name = path.rpartition("/")
        return self.fd(folder), name

    # -- files ------------------------------------------------------------------------------------------------------

    def write(self, path: str, pieces: Iterable[bytes]) -> str:
        """Write a file that appears whole, and is on the disk then; its SHA-256. It replaces one that was left."""
        fd, name = self.of(path)
        digest, temporary = hashlib.sha256(), f"{PREFIX}{secrets.token_hex(6)}.tmp"
        with naming(self.full(path)), open(os.open(temporary, _CREATE, 0o666, dir_fd=fd), "wb") as file:
            try:
                lock(file.fileno())
                for piece in pieces:
                    file.write(piece)
                    digest.update(piece)
                file.flush()
                os.fsync(file.fileno())
                os.rename(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=fd)
                raise
            os.fsync(fd)
            self._put(path, Single(Stamp.of(os.fstat(file.fileno())), digest.hexdigest(), ""))
        return digest.hexdigest()

    def create(self, path: str, data: bytes, *, replace: bool = False) -> None:
        """Write one of many small files.

        Parameters
        ----------
        path : str
        data : bytes
        replace : bool
            Whether it may have been made before; without, that's an error.

        Raises
        ------
        PackError
            A file is there that nobody has made here.
        OSError
            It can't be written.
        """
        folder, _, name = path.rpartition("/")
        fd = self.fd(folder)
        try:
            out = os.open(name, _CREATE, 0o666, dir_fd=fd)
        except FileExistsError:
            self._forget(path, replace=replace)
            os.unlink(name, dir_fd=fd)
            out = os.open(name, _CREATE, 0o666, dir_fd=fd)
        except OSError as error:
            error.filename = self.full(path)
            raise
        try:
            written = os.write(out, data)
            while written < len(data):
                written += os.write(out, memoryview(data)[written:])
        except OSError as error:
            error.filename = self.full(path)
            raise
        finally:
            os.close(out)
        known = self._folders[folder]
        known.names.append(name)
        known.sizes.append(len(data))

    def put(self, path: str, data: bytes) -> None:
        """Write a file of a project; one that was made before is replaced."""
        if is_single(path):
            self.write(path, [data])
        else:
            self.create(path, data, replace=True)

    def take_any(self, path: str, size: int = -1) -> None:
        """Take a file of a project that was written, singly or not; its size, if that's known."""
        if is_single(path):
            if size not in (-1, self.take(path).size):
                raise self.lost(path)
        else:
            if size < 0:
                fd, name = self.of(path)
                size = os.stat(name, dir_fd=fd, follow_symlinks=False).st_size
            self.take_one_of_many(path, size)

    def remove_left(self, path: str) -> None:
        """Remove what an earlier try has left in the place of a file that is written anew."""
        fd, name = self.of(path)
        remove_odd(name, dir_fd=fd)
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=fd)

    def _forget(self, path: str, *, replace: bool) -> None:
        """Take a file back that was made, to be written anew; PackError where it's somebody else's."""
        folder, _, name = path.rpartition("/")
        known = self._folders[folder]
        many = known.many()
        if name not in known.singles and name not in many:
            raise self.foreign([path])
        if not replace:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.full(path))
        known.singles.pop(name, None)
        if many.pop(name, None) is not None:
            known.names, known.sizes, known.batches = TextColumn(many), array("q", many.values()), []

    def take_back(self, folder: str, names: Collection[str]) -> None:
        """Remove files that were made, as if they had never been."""
        fd, known = self.fd(folder), self._folders[folder]
        many = known.many()
        for name in names:
            if known.singles.pop(name, None) is not None or many.pop(name, None) is not None:
                with naming(self.full(f"{folder}/{name}")):
                    os.unlink(name, dir_fd=fd)
        known.names, known.sizes, known.batches = TextColumn(many), array("q", many.values()), []

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        fd, name = self.of(path)
        with naming(self.full(path)):
            os.symlink(target, name, dir_fd=fd)
        self.take(path)

    def bring(self, source: str, path: str, size: int, digest: str) -> None:
        """Give a file that was made among the notes, and is on the disk, its place."""
        fd, name = self.of(path)
        fd = os.dup(fd)
        try:
            own, own_name = self.of(source)
            with naming(self.full(path)):
                os.rename(own_name, name, src_dir_fd=own, dst_dir_fd=fd)
                os.fsync(fd)
        finally:
            os.close(fd)
        if self.take(path, digest=digest).size != size:
            raise self.lost(path)

    def take(self, path: str, *, digest: str = "", shared: bool = False) -> Stamp:
        """Take a file that was written, as it is now.

        Parameters
        ----------
        path : str
        digest : str
            SHA-256 of its bytes; empty where it isn't known, which a small file's is then.
        shared : bool
            Whether others have it too, who may give it more links.
        """
        fd, name = self.of(path)
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError as error:
            raise self.lost(path) from error
        link = ""
        if stat.S_ISLNK(found.st_mode):
            link = os.readlink(name, dir_fd=fd)
        elif not stat.S_ISREG(found.st_mode):
            raise self.lost(path)
        elif not digest and not shared and found.st_size <= _HASHED_BYTES:
            digest = _digest(name, fd)
        stamp = Stamp.of(found, shared=shared)
        self._put(path, Single(stamp, digest, link))
        return stamp

    def known(self, path: str) -> Single:
        """A file that was taken, as it was then."""
        folder, _, name = path.rpartition("/")
        return self._folders[folder].singles[name]

    def read_digest(self, path: str) -> str:
        """SHA-256 of a file as it is now."""
        fd, name = self.of(path)
        return _digest(name, fd)

    def drop(self, path: str) -> None:
        """Forget a file that was taken singly, if it was."""
        folder, _, name = path.rpartition("/")
        if folder in self._folders:
            self._folders[folder].singles.pop(name, None)

    def drop_folder(self, path: str) -> None:
        """Forget a folder that was empty, and was removed."""
        if self._folders.pop(path, None):
            parent, _, name = path.rpartition("/")
            self._folders[parent].folders.discard(name)
        if path in self._fds:
            os.close(self._fds.pop(path))

    def take_many(self, folder: str, names: bytes, sizes: array[int]) -> None:
        """Take files of one folder: names, each followed by a NUL, and sizes; -1 for those that weren't written."""
        self.fd(folder)
        self._folders[folder].batches.append((names, sizes))

    def take_one_of_many(self, path: str, size: int) -> None:
        """Take one file of which nothing but its size is asked."""
        folder, _, name = path.rpartition("/")
        self.fd(folder)
        self._folders[folder].names.append(name)
        self._folders[folder].sizes.append(size)

    def _put(self, path: str, single: Single) -> None:
        folder, _, name = path.rpartition("/")
        if not folder or folder.split("/")[0] != self._own:
            self._folders[folder].singles[name] = single

    # -- whether it's all there -------------------------------------------------------------------------------------

    def check(self) -> None:
        """Look at all of it.

        Raises
        ------
        PackError
            Something is gone, another one, or was put there by another program. It's named.
        """
        try:
            self._check_folder(self._top, "")
        except PackError:
            if found := list(self._find_foreign(self._top, "")):
                raise self.foreign(found) from None
            raise

    def _find_foreign(self, fd: int, path: str) -> Iterator[str]:
        """All that nobody has made here, as far as the folders are still there."""
        known = self._folders[path]
        names, folders = {*known.many(), *known.singles}, []
        with os.scandir(fd) as scan:
            for entry in scan:
                if entry.name in known.folders:
                    folders.append(entry.name)
                elif entry.name not in names and not is_left_anywhere(entry.name):
                    yield _join(path, entry.name)
        for name in folders:
            below = _join(path, name)
            if below == self._own:
                continue
            try:
                inner = self._enter(fd, name, below, None)
            except (PackError, OSError):  # it's gone, or a link
                continue
            try:
                yield from self._find_foreign(inner, below)
            finally:
                os.close(inner)

    def _check_folder(self, fd: int, path: str) -> None:
        known = self._folders[path]
        many, folders, seen = known.many(), set(known.folders), 0
        with os.scandir(fd) as scan:
            for entry in scan:
                name = entry.name
                size = many.pop(name, None)
                if size is not None:
                    if not entry.is_file(follow_symlinks=False):
                        raise self.lost(_join(path, name))
                    if entry.stat(follow_symlinks=False).st_size != size:
                        raise self.lost(_join(path, name))
                elif name in known.singles:
                    self._check_single(fd, name, known.singles[name], path)
                    seen += 1
                elif name in folders:
                    folders.remove(name)
                    self._check_below(fd, name, _join(path, name))
                elif not is_left_anywhere(name):
                    raise self.foreign([_join(path, name)])
        if many or folders or seen < len(known.singles):
            raise self.lost(_join(path, self._first_gone(fd, chain(many, folders, known.singles))))

    def _check_below(self, above: int, name: str, path: str) -> None:
        fd = self._enter(above, name, path, self._folders[path])
        try:
            if path != self._own:
                self._check_folder(fd, path)
        finally:
            os.close(fd)

    def _check_single(self, fd: int, name: str, single: Single, folder: str) -> None:
        try:
            found = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if single.link:
                if os.readlink(name, dir_fd=fd) == single.link:
                    return
            elif stat.S_ISREG(found.st_mode):
                if Stamp.of(found, shared=not single.stamp.ctime_ns) == single.stamp:
                    return
                if single.digest and found.st_size == single.stamp.size and _digest(name, fd) == single.digest:
                    return
        except (FileNotFoundError, OSError) as error:
            raise self.lost(_join(folder, name)) from error
        raise self.lost(_join(folder, name))

    def _first_gone(self, fd: int, names: Iterator[str]) -> str:
        there = set(os.listdir(fd))
        return next((name for name in names if name not in there), "")

    def lost(self, path: str) -> PackError:
        """What to say of something that isn't as it was made."""
        return PackError(
            f"{self.full(path)}: was removed, moved away, replaced or written to by another program while it was made; "
            f"{self._again}"
        )

    def foreign(self, paths: list[str]) -> PackError:
        """What to say of something that nobody has made here, which is noted."""
        self.has_foreign = True
        note = json.dumps(sorted(paths)).encode("utf-8", "surrogateescape")
        with suppress(OSError, PackError):  # it's named in any case
            self.write(f"{self.notes}/{FOREIGN}", [note])
        return PackError(said_of_foreign(self._root, paths, self._again))


def left_foreign(root: str, notes: str) -> list[str]:
    """What another program had put among what was made, and is still there: paths from `root`."""
    try:
        text = read_whole(os.path.join(root, notes, FOREIGN), follow=False).decode("utf-8", "surrogateescape")
        paths = [path for path in json.loads(text) if isinstance(path, str) and is_inside(path)]
    except (OSError, ValueError, TypeError, RecursionError):
        return []
    return [path for path in paths if os.path.lexists(os.path.join(root, path))]


def said_of_foreign(root: str, paths: list[str], again: str) -> str:
    """What to say of things that another program has put among what is made."""
    first, *others = sorted(paths)
    shown = "".join(f", {path}" for path in others[: _NAMED - 1])
    more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
    return (
        f"{os.path.join(root, first)}{shown}{more}: was put there by another program meanwhile, and would be a part of "
        f"what is made; move it to a place outside, then {again}"
    )


def is_single(path: str) -> bool:
    """Whether a file of a project is one that others depend on: in its own folder, a blob, offsets, sums."""
    folder, _, name = path.rpartition("/")
    return folder in ("", layout.BLOB_DIR) or layout.is_offsets(name) or layout.blob_stem(name) is not None


def _ident(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _digest(name: str, fd: int) -> str:
    with open(open_plain(name, follow=False, dir_fd=fd), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
