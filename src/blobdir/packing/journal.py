"""The journal of a change: what is put, what goes, and how far it is, in either direction.

Everything is below ``.blobdir/``: the new files in ``staging/<n>``, what they replace in ``undo/<n>``, and
``journal.json``, which says where they belong. States on disk:

1. no journal: whatever lies in ``staging/`` and ``undo/`` means nothing;
2. a journal, ``forward``: all of ``staging/`` is whole and on the disk. Each step keeps what it replaces (a second link
   in ``undo/``), then renames. A step whose staged file is gone is done;
3. a journal, ``back``: a step could not be done, and what was done is undone from ``undo/``;
4. the journal is removed, and the change has happened, or never did.

So whoever finds a journal can go on in its direction, any number of times; and if it can't go forward, back.
Directories are opened one by one from the project's root, never through a symbolic link, so that neither a project that
comes with somebody else's journal nor a link that is put there meanwhile leads outside.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from blobdir.discovery import layout
from blobdir.durable import in_words, sync_folder, write_whole
from blobdir.errors import PackError, UsageError
from blobdir.packing.released import RELEASED
from blobdir.projectlock import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path
    from types import TracebackType

STAGING, UNDO = "staging", "undo"
VERSION: Final = 2
MAX_NAME_BYTES: Final = 255
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EXDEV)


class Folders:
    """Directories of a project, each opened once, never through a link. A context manager that closes them."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.fspath(root)
        self._open: dict[str, int] = {"": os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)}
        self.made: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fd in self._open.values():
            os.close(fd)
        self._open = {}

    def fd(self, path: str, *, make: bool = False) -> int:
        """Descriptor of a directory.

        Raises
        ------
        UsageError
            A component is a link, or a file.
        FileNotFoundError
            It isn't there, and `make` isn't set.
        """
        if path in self._open:
            return self._open[path]
        parent, _, name = path.rpartition("/")
        above = self.fd(parent, make=make)
        try:
            fd = self._enter(above, name, path, make=make)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise UsageError(
                    f"{path}: is a symbolic link or a file, and something was to be put below it; nothing is written "
                    f"through a link in {self._root}"
                ) from error
            raise
        self._open[path] = fd
        return fd

    def _enter(self, above: int, name: str, path: str, *, make: bool) -> int:
        try:
            return os.open(name, _FOLDER, dir_fd=above)
        except FileNotFoundError:
            if not make:
                raise
        os.mkdir(name, dir_fd=above)
        self.made.append(path)
        return os.open(name, _FOLDER, dir_fd=above)

    def of(self, path: str, *, make: bool = False) -> tuple[int, str]:
        """Descriptor of the directory that a path lies in, and the path's last component."""
        parent, _, name = path.rpartition("/")
        return self.fd(parent, make=make), name

    def stat(self, path: str) -> os.stat_result | None:
        """Attributes of what is there, a link itself; None where there is nothing."""
        try:
            fd, name = self.of(path)
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def sync(self) -> None:
        """Have the names in all of them reach the disk."""
        for fd in self._open.values():
            os.fsync(fd)


@dataclass(slots=True)
class Journal:
    """What a change does.

    Attributes
    ----------
    put : list of (int, str, bool)
        Number of a staged file, the path that it gets, and whether there is a file now that it replaces.
    remove : list of (int, str)
        Number under which it's kept until the end, and the path of a file that goes.
    folders : list of str
        Directories that are there afterwards, even if nothing is in them.
    empty : list of str
        Directories that go, with those below them, where nothing is left in them.
    made : list of str
        Directories that weren't there before; they go again if the change is undone.
    direction : {"forward", "back"}
    """

    put: list[tuple[int, str, bool]] = field(default_factory=list)
    remove: list[tuple[int, str]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    direction: Literal["forward", "back"] = "forward"

    @property
    def paths(self) -> list[str]:
        """Everything in the project that it touches."""
        return [p for _, p, _ in self.put] + [p for _, p in self.remove] + self.folders + self.empty + self.made

    def write(self, state: Path) -> None:
        """Write it to ``.blobdir``; from then on it holds."""
        content = json.dumps({"version": VERSION} | asdict(self))
        write_whole(state / JOURNAL, [content.encode("utf-8", "surrogateescape")])

    @classmethod
    def read(cls, state: Path) -> Journal | None:
        """The journal that lies in ``.blobdir``, if there is one.

        Raises
        ------
        UsageError
            No blobdir has written it: it may have come with somebody else's project.
        """
        path = state / JOURNAL
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"{path}: can't be read: {error.strerror}; look at it, and remove it") from error
        with open(descriptor, "rb") as file:
            found = cls._parsed(file.read())
        if found is None:
            raise UsageError(
                f"{path}: isn't a journal that this version of blobdir has written; look at it. If you remove it, and "
                f"{STAGING}/ and {UNDO}/ beside it, the change that it's of is lost, and nothing else"
            )
        for item in found.paths:
            if why := wrong_path(item):
                raise UsageError(f"{path}: {item[:80]!r} {why}; look at it, and remove it")
        return found

    @classmethod
    def _parsed(cls, content: bytes) -> Journal | None:
        try:
            value: Any = json.loads(content.decode("utf-8", "surrogateescape"))
            if value["version"] != VERSION or value["direction"] not in ("forward", "back"):
                return None
            put = [(_number(n), _text(p), bool(there)) for n, p, there in value["put"]]
            remove = [(_number(n), _text(p)) for n, p in value["remove"]]
            lists = {key: [_text(p) for p in value[key]] for key in ("folders", "empty", "made")}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return cls(put, remove, **lists, direction=value["direction"])

    # -- doing it --------------------------------------------------------------------------------------------

    def run(self, root: Path) -> None:
        """Do all of it that isn't done yet; or, if that can't be, undo it.

        Raises
        ------
        PackError
            It couldn't be done, and was undone: nothing has changed. Or neither could be, and the journal stays.
        """
        state = root / layout.STATE_DIR
        if self.direction == "forward":
            try:
                with Folders(root) as folders:
                    self._forward(folders)
            except (OSError, UsageError) as error:
                self.direction = "back"
                self._undo(root, state, error)
                raise PackError(f"{_said(error)}; nothing was changed") from error
        else:
            self._undo(root, state, None)
        self._end(state)

    def _undo(self, root: Path, state: Path, why: BaseException | None) -> None:
        try:
            self.write(state)
            with Folders(root) as folders:
                self._back(folders)
        except (OSError, UsageError) as error:
            first = f"{_said(why)}; and then, undoing it, " if why else ""
            raise PackError(
                f"{first}{_said(error)}; the change is half done: mend the cause, and the next command that changes "
                f"{root} undoes the rest"
            ) from error
        self._end(state)

    def _forward(self, folders: Folders) -> None:
        staging, undo = (folders.fd(f"{layout.STATE_DIR}/{name}", make=True) for name in (STAGING, UNDO))
        for path in self.folders:
            folders.fd(path, make=True)
        for number, path, there in self.put:
            if not _is_file(str(number), staging):
                continue  # done already, by one who was cut off after it
            fd, name = folders.of(path, make=True)
            if there and not _exists(str(number), undo):
                _keep(name, fd, str(number), undo)
            os.rename(str(number), name, src_dir_fd=staging, dst_dir_fd=fd)
        for number, path in self.remove:
            if _exists(str(number), undo):
                continue
            with suppress(FileNotFoundError):
                fd, name = folders.of(path)
                os.rename(name, str(number), src_dir_fd=fd, dst_dir_fd=undo)
        wanted = set(self.folders)
        for path in self.empty:
            _remove_empty(folders, path, wanted)
        folders.sync()

    def _back(self, folders: Folders) -> None:
        staging, undo = (folders.fd(f"{layout.STATE_DIR}/{name}", make=True) for name in (STAGING, UNDO))
        for number, path in reversed(self.remove):
            if _exists(str(number), undo):
                fd, name = folders.of(path, make=True)
                os.rename(str(number), name, src_dir_fd=undo, dst_dir_fd=fd)
        for number, path, there in reversed(self.put):
            if _exists(str(number), undo):
                fd, name = folders.of(path, make=True)
                os.rename(str(number), name, src_dir_fd=undo, dst_dir_fd=fd)
            elif not there and not _exists(str(number), staging):
                with suppress(FileNotFoundError):
                    fd, name = folders.of(path)
                    os.unlink(name, dir_fd=fd)
        for path in reversed(self.made):
            with suppress(OSError):  # something is in it by now
                fd, name = folders.of(path)
                os.rmdir(name, dir_fd=fd)
        folders.sync()

    def _end(self, state: Path) -> None:
        try:
            os.unlink(state / JOURNAL)
        except FileNotFoundError:
            pass
        except OSError:  # all is done: as long as it has another name, it says nothing
            os.rename(state / JOURNAL, state / UNDO / JOURNAL)
        with suppress(OSError):  # if it comes back by that, all its steps are done
            sync_folder(state)
        with suppress(OSError):  # it means nothing, and the next change removes it
            clear(state)


def clear(state: Path) -> None:
    """Remove what a change has left that happened, or never did."""
    for name in (STAGING, UNDO):
        with suppress(FileNotFoundError):
            if (state / name).is_symlink():
                raise UsageError(f"{state / name}: is a symbolic link, and nothing of blobdir's is; remove it")
            shutil.rmtree(state / name)
    for left in state.glob(".blobdir-*.tmp"):
        left.unlink(missing_ok=True)


def wrong_path(path: str) -> str:
    """Why a path can't be that of a file of a project; empty where it can."""
    parts = path.split("/")
    if {"", ".", ".."} & set(parts) or "\0" in path:
        return "isn't inside the project"
    if parts[0] == layout.STATE_DIR and path != RELEASED:
        return "is blobdir's own"
    if any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in parts):
        return f"is too long: a name has {MAX_NAME_BYTES} bytes at the most"
    return ""


def _keep(name: str, fd: int, kept: str, undo: int) -> None:
    """Give a file that is going to be replaced a second name; where there are no links, only that one."""
    try:
        os.link(name, kept, src_dir_fd=fd, dst_dir_fd=undo, follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.rename(name, kept, src_dir_fd=fd, dst_dir_fd=undo)


def _remove_empty(folders: Folders, path: str, wanted: Collection[str]) -> None:
    """Remove a directory and those below it, as far as nothing is in them, but for those that are to be there."""
    try:
        fd, name = folders.of(path)
        here = os.open(name, _FOLDER, dir_fd=fd)
    except OSError:
        return
    os.close(here)
    above = path.removesuffix(name)
    for place, below, _, at in os.fwalk(name, topdown=False, dir_fd=fd):
        for one in below:
            if f"{above}{place}/{one}" not in wanted:
                with suppress(OSError):  # something is in it, or it's a link
                    os.rmdir(one, dir_fd=at)
    if path not in wanted:
        with suppress(OSError):
            os.rmdir(name, dir_fd=fd)


def _exists(name: str, fd: int) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_file(name: str, fd: int) -> bool:
    try:
        mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        raise UsageError(f"{layout.STATE_DIR}/{STAGING}/{name}: isn't a file; look at it, and remove the journal")
    return True


def _said(error: BaseException | None) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, UsageError):
        named = isinstance(error.filename, str) and not error.filename.isdigit()  # a number is a staged file
        return f"{error.filename if named else 'the project'}: {in_words(error)}"
    return str(error)


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(value)
    return value
