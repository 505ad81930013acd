"""The journal of a change: what is put, what goes, and how far it is, in either direction.

Everything is below ``.blobdir/``: the new files in ``staging/<n>``, what they replace in ``undo/<n>``, and
``journal.json``, which says where they belong. ``back.json`` is the same journal for the way back: it's written before
the change is decided, and going back renames it over the other, since a full disk has no room for it then. States on
disk:

1. no journal: whatever lies in ``staging/``, ``undo/`` and ``back.json`` means nothing;
2. a journal, ``forward``: all of ``staging/`` is whole and on the disk. Each step keeps what it replaces (a second link
   in ``undo/``), then renames. A step whose staged file is gone is done;
3. a journal, ``back``: a step could not be done, and what was done is undone from ``undo/``;
4. the journal is removed, and the change has happened, or never did.

So whoever finds a journal can go on in its direction, any number of times; and if it can't go forward, back. Going back
only renames and removes, so it needs no room.
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
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from blobdir.discovery import layout
from blobdir.discovery.released import RELEASED
from blobdir.durable import in_words, sync_folder, write_whole
from blobdir.errors import BlobdirError, PackError, UsageError
from blobdir.inside import read_whole
from blobdir.packing.folders import FOLDER, Folders, about
from blobdir.projectlock import JOURNAL, LOCK, check_own, make_state_folder, show_like
from blobdir.temporary import clean

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

STAGING, UNDO, BACK = "staging", "undo", "back.json"
VERSION: Final = 2
MAX_NAME_BYTES: Final = 255
_NOTES: Final = ("creating", "fetching", "packing", "subset")
"""Folders of a `blobdir.packing.newfolder.NewFolder` that was killed when it had appeared: they mean nothing then."""
OWN: Final = dict.fromkeys((STAGING, UNDO, *_NOTES), True) | dict.fromkeys(
    (LOCK, JOURNAL, BACK, os.path.basename(RELEASED)), False
)
"""What a change leaves in ``.blobdir``, or needs there -> whether that is a folder."""
LEFT_OVER: Final = (STAGING, UNDO, BACK)
"""What one that was cut off has left there, where there is no journal."""
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EXDEV)


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

    def prepare(self, state: Path) -> None:
        """Make what going back needs, as long as there is room: nothing is decided by it."""
        make_state_folder(state / UNDO, state.parent)
        replace(self, direction="back").write(state, BACK)

    def write(self, state: Path, name: str = JOURNAL) -> None:
        """Write it to ``.blobdir``; from then on it holds, if it has its own name there."""
        root = os.stat(state.parent)
        write_whole(state / name, [self._content()], prepare=lambda fd: show_like(fd, root))

    def _content(self) -> bytes:
        return json.dumps({"version": VERSION} | asdict(self)).encode("utf-8", "surrogateescape")

    def _turn(self, state: Path) -> None:
        """Have it be one that goes back: not before the one on the disk is, which the next process will go by."""
        back = replace(self, direction="back")
        if _content_of(state / BACK) == back._content():  # noqa: SLF001  # another one of this class
            os.replace(state / BACK, state / JOURNAL)
            self.direction = "back"
            sync_folder(state)
        else:  # it's one of an older version
            back.write(state)
            self.direction = "back"

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
            content = read_whole(path, follow=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UsageError(f"{path}: can't be read: {error.strerror}; look at it, and remove it") from error
        found = cls._parsed(content)
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
                self._undo(root, state, error)
                raise PackError(f"{_said(error, root)}; nothing was changed") from error
        else:
            self._undo(root, state, None)
        self._end(state)

    def _undo(self, root: Path, state: Path, why: BaseException | None) -> None:
        what = "finishes it, or undoes it"
        try:
            if why:
                self._turn(state)
            what = "undoes the rest"
            with Folders(root) as folders:
                self._back(folders)
        except (OSError, UsageError) as error:
            first = f"{_said(why, root)}; and then, undoing it, " if why else ""
            raise PackError(
                f"{first}{_said(error, root)}; the change is half done: mend the cause, and the next command that "
                f"changes {root} {what}"
            ) from error
        self._end(state)

    def _forward(self, folders: Folders) -> None:
        staging, undo = (folders.own(name) for name in (STAGING, UNDO))
        for path in self.folders:
            folders.fd(path, make=True)
        for number, path, there in self.put:
            if not _is_file(str(number), staging):
                continue  # done already, by one who was cut off after it
            with about(path):
                fd, name = folders.of(path, make=True)
                if there and not _exists(str(number), undo):
                    _keep(name, fd, str(number), undo)
                os.rename(str(number), name, src_dir_fd=staging, dst_dir_fd=fd)
        for number, path in self.remove:
            if _exists(str(number), undo):
                continue
            with about(path), suppress(FileNotFoundError):
                fd, name = folders.of(path)
                os.rename(name, str(number), src_dir_fd=fd, dst_dir_fd=undo)
        wanted = set(self.folders)
        for path in self.empty:
            _remove_empty(folders, path, wanted)
        folders.sync()

    def _back(self, folders: Folders) -> None:
        staging, undo = (folders.own(name) for name in (STAGING, UNDO))
        for number, path in reversed(self.remove):
            if _exists(str(number), undo):
                _put_back(folders, number, undo, path)
        for number, path, there in reversed(self.put):
            if _exists(str(number), undo):
                _put_back(folders, number, undo, path)
            elif not there and not _exists(str(number), staging):
                with about(path), suppress(FileNotFoundError):
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


def check_state(state: Path) -> None:
    """Refuse a ``.blobdir`` with something in it that can't be what a change leaves there.

    Raises
    ------
    UsageError
    """
    check_own(state, is_folder=True)
    for name, is_folder in OWN.items():
        check_own(state / name, is_folder=is_folder)


def clear(state: Path) -> None:
    """Remove what a change has left that happened, or never did."""
    (state / BACK).unlink(missing_ok=True)
    for name in (STAGING, UNDO, *_NOTES):
        check_own(state / name, is_folder=True)
        with suppress(FileNotFoundError):
            shutil.rmtree(state / name)
    clean(state)


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


def _put_back(folders: Folders, number: int, undo: int, path: str) -> None:
    with about(path):
        fd, name = folders.of(path, make=True)
        os.rename(str(number), name, src_dir_fd=undo, dst_dir_fd=fd)


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
        here = os.open(name, FOLDER, dir_fd=fd)
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


def _said(error: BaseException | None, root: Path) -> str:
    if isinstance(error, OSError) and error.strerror and not isinstance(error, BlobdirError):
        return f"{error.filename or root}: {in_words(error, root)}"
    return str(error)


def _content_of(path: Path) -> bytes:
    try:
        return read_whole(path, follow=False)
    except OSError:
        return b""


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(value)
    return value
