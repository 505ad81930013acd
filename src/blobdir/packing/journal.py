"""The journal of a change: what is put, what goes, and how far it is, in either direction.

Everything is below ``.blobdir/``: the new files in ``staging/<n>``, what they replace in ``undo/<n>``, and
``journal.json``, which says where they belong. ``back.json`` is the same journal for the way back: it's written before
the change is decided, and going back renames it over the other, since a full disk has no room for it then. States on
disk:

1. no journal: whatever lies in ``staging/``, ``undo/`` and ``back.json`` means nothing;
2. a journal, ``forward``: all of ``staging/`` is whole and on the disk. Each step keeps what it replaces (a second link
   in ``undo/``), then renames. A step whose staged file is gone is done, if the file is where it belongs; else somebody
   has removed what was staged, and there is only the way back. With ``done.json`` (``back.json`` has got that name,
   since it isn't needed any more) all steps are done, whatever has become of their files since, and only what others
   have written is still to be kept;
3. a journal, ``back``: a step could not be done, and what was done is undone from ``undo/``;
4. the journal is removed, and the change has happened, or never did.

So whoever finds a journal can go on in its direction, any number of times; and if it can't go forward, back. Going back
only renames and removes, so it needs no room.

Hours may lie between these states, in which people write files without asking for a lock. The journal says size and
time of every file that it takes away, in either direction; one that is another by now is kept as ``saved-…`` in
``.blobdir``, and its name is said.
Directories are opened one by one from the project's root, never through a symbolic link, so that neither a project that
comes with somebody else's journal nor a link that is put there meanwhile leads outside.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from itertools import dropwhile
from secrets import randbits
from typing import TYPE_CHECKING, Any, Final, Literal

from blobdir.discovery import layout
from blobdir.discovery.released import RELEASED
from blobdir.durable import in_words, sync_folder, write_whole
from blobdir.errors import BlobdirError, PackError, UsageError
from blobdir.inside import read_whole
from blobdir.packing.folders import FOLDER, Folders, about
from blobdir.packing.witness import signature_of
from blobdir.projectlock import JOURNAL, LOCK, check_own, make_state_folder, show_like
from blobdir.temporary import clean

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

STAGING, UNDO, BACK, DONE = "staging", "undo", "back.json", "done.json"
VERSION: Final = 2
MAX_NAME_BYTES: Final = 255
_NOTES: Final = ("creating", "fetching", "packing", "subset")
"""Folders of a `blobdir.packing.newfolder.NewFolder` that was killed when it had appeared: they mean nothing then."""
OWN: Final = dict.fromkeys((STAGING, UNDO, *_NOTES), True) | dict.fromkeys(
    (LOCK, JOURNAL, BACK, DONE, os.path.basename(RELEASED)), False
)
"""What a change leaves in ``.blobdir``, or needs there -> whether that is a folder."""
LEFT_OVER: Final = (STAGING, UNDO, BACK, DONE)
"""What one that was cut off has left there, where there is no journal."""
_LEFT: Final = "left-"
"""What names of folders begin with that can't be removed yet."""
NO_FILE: Final = (-1, -1)
"""The version of a file that isn't there."""
SAVED: Final = "saved-"
"""What names of files begin with that others have written, and that would have been lost."""
_FAILURES: Final = (OSError, UsageError, MemoryError)
"""Why a step of a change can't be done."""
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
    versions : dict
        Number -> size and time of the file that is replaced or removed, and of the one that is put; -1 where there is
        none.
    done : bool
        Whether all its steps are, and only what others have written is still to be kept: ``done.json`` says so.
    saved : list of (str, str)
        Paths whose files another program has written since, and what they are called in ``.blobdir`` now. Not kept.
    """

    put: list[tuple[int, str, bool]] = field(default_factory=list)
    remove: list[tuple[int, str]] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    direction: Literal["forward", "back"] = "forward"
    versions: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)
    done: bool = False
    saved: list[tuple[str, str]] = field(default_factory=list)

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
        kept = (one.name for one in fields(self) if one.name not in ("done", "saved"))
        return json.dumps({"version": VERSION} | {name: getattr(self, name) for name in kept}).encode(
            "utf-8", "surrogateescape"
        )

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
            raise UsageError(
                f"{path}: can't be read: {error.strerror}; mend that: a change was cut off, and this says what is left"
            ) from error
        found = cls._parsed(content)
        if found is None:
            raise UsageError(
                f"{path}: isn't a journal that this version of blobdir has written; look at it. If you remove it, and "
                f"{STAGING}/ and {UNDO}/ beside it, the change that it's of is lost, and nothing else"
            )
        found.done = os.path.lexists(state / DONE)
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
            lists = [[_text(p) for p in value[key]] for key in ("folders", "empty", "made")]
            versions = {int(n): _version(v) for n, v in value.get("versions", {}).items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        folders, empty, made = lists
        return cls(put, remove, folders, empty, made, value["direction"], versions)

    # -- doing it --------------------------------------------------------------------------------------------

    def run(self, root: Path) -> None:
        """Do all of it that isn't done yet; or, if that can't be, undo it.

        Raises
        ------
        PackError
            It couldn't be done, and was undone: nothing has changed. Or neither could be, and the journal stays.
        """
        state = root / layout.STATE_DIR
        if self.done:
            self._end(root, "made")
        elif self.direction == "forward":
            try:
                with Folders(root) as folders:
                    self._forward(folders)
            except _FAILURES as error:
                self._undo(root, state, error)
                raise PackError(f"{_said(error, root)}; nothing was changed") from error
            with suppress(OSError):  # it's a note for who finds the journal, should it stay
                os.replace(state / BACK, state / DONE)
                self.done = True
            self._end(root, "made")
        else:
            self._undo(root, state, None)

    def _undo(self, root: Path, state: Path, why: BaseException | None) -> None:
        what = "finishes it, or undoes it"
        try:
            if why:
                self._turn(state)
            what = "undoes the rest"
            with Folders(root) as folders:
                self._back(folders)
        except _FAILURES as error:
            first = f"{_said(why, root)}; and then, undoing it, " if why else ""
            raise PackError(
                f"{first}{_said(error, root)}; the change is half done: mend the cause, and the next command that "
                f"changes {root} {what}"
            ) from error
        self._end(root, "undone", f"{_said(why, root)}; and then, when all was undone, " if why else "")

    def _forward(self, folders: Folders) -> None:
        staging, undo = (folders.own(name) for name in (STAGING, UNDO))
        for path in self.folders:
            folders.fd(path, make=True)
        for number, path, _ in self.put:
            if not _is_file(str(number), staging):
                if not self._is_put(folders, number, path):
                    raise UsageError(f"{layout.STATE_DIR}/{STAGING}/{number}: is gone, and was to be {path}")
                continue  # done already, by one who was cut off after it
            with about(path):
                fd, name = folders.of(path, make=True)
                if not _exists(str(number), undo):
                    _keep(name, fd, str(number), undo)
                elif self._save(folders, path, number, is_new=False):  # put there since that was kept
                    fd, name = folders.of(path)
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
                self._save(folders, path, number, is_new=True)
                _put_back(folders, number, undo, path)
        for number, path, there in reversed(self.put):
            is_put = not _exists(str(number), staging) and self._is_put(folders, number, path)
            is_kept = _exists(str(number), undo)
            if is_put and is_kept:
                self._save(folders, path, number, is_new=True)
            if is_kept and (is_put or not self._is_strange(folders, path, number, is_new=False)):
                _put_back(folders, number, undo, path)
            elif is_kept:  # somebody has put another one there since; what was kept may be somebody's as well
                found = os.stat(str(number), dir_fd=undo, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
                    self._keep_aside(path, str(number), undo, folders.own_top())
            elif is_put and not there and not self._is_strange(folders, path, number, is_new=True):
                with about(path), suppress(FileNotFoundError):
                    fd, name = folders.of(path)
                    os.unlink(name, dir_fd=fd)
        for path in reversed(self.made):
            with suppress(OSError, UsageError):  # something is in it by now, or it's no folder
                fd, name = folders.of(path)
                os.rmdir(name, dir_fd=fd)
        folders.sync()

    def _is_put(self, folders: Folders, number: int, path: str) -> bool:
        """Whether a file that isn't staged any more was put where it belongs: else somebody has removed it.

        Whoever has removed it there, or written it anew, has done so since. Steps are made in order, so a later one
        that was made tells as well.
        """
        if number not in self.versions:  # older versions of blobdir have written none
            return True
        found = folders.stat(path)
        if found is not None and not self._is_other(found, number, is_new=True):
            return True
        is_written = found is not None and self._is_other(found, number, is_new=False)
        if is_written and f"{layout.STATE_DIR}/{STAGING}" not in folders.made:
            return True
        undo = folders.own(UNDO)
        if any(_exists(str(one), undo) for one, _ in self.remove):
            return True
        later = dropwhile(lambda put: put[0] != number, self.put)
        return any(one != number and self._is_new_there(folders, one, place) for one, place, _ in later)

    def _is_new_there(self, folders: Folders, number: int, path: str) -> bool:
        found = folders.stat(path)
        return found is not None and not self._is_other(found, number, is_new=True)

    # -- what others have written since ----------------------------------------------------------------------

    def _is_strange(self, folders: Folders, path: str, number: int, *, is_new: bool) -> bool:
        """Whether there is a file, and it isn't the one that the journal was written for."""
        there = folders.stat(path)
        return there is not None and self._is_other(there, number, is_new=is_new)

    def _is_other(self, found: os.stat_result, number: int, *, is_new: bool) -> bool:
        if stat.S_ISDIR(found.st_mode):  # no change replaces a folder, or removes one by its path
            return True
        versions = self.versions.get(number)  # older versions of blobdir have written none
        return versions is not None and signature_of(found) != (versions[2:] if is_new else versions[:2])

    def _save(self, folders: Folders, path: str, number: int, *, is_new: bool) -> bool:
        """Keep a file that is about to be replaced, if it isn't the one that the journal was written for."""
        if not self._is_strange(folders, path, number, is_new=is_new):
            return False
        state = folders.own_top()
        fd, name = folders.of(path)
        self._keep_aside(path, name, fd, state)
        return True

    def _save_replaced(self, root: Path) -> None:
        """Keep those of the files that were replaced or removed which aren't the ones that were to be."""
        with Folders(root) as folders:
            undo = folders.own(UNDO)
            others: list[tuple[int, str, os.stat_result]] = []
            for number, path in (*((number, path) for number, path, _ in self.put), *self.remove):
                with suppress(FileNotFoundError):
                    found = os.stat(str(number), dir_fd=undo, follow_symlinks=False)
                    if self._is_other(found, number, is_new=False):
                        others.append((number, path, found))
            names = os.listdir(undo) if others else []
            if others:  # what is kept can't go back: from now on there's only one way
                self._mark_done(root / layout.STATE_DIR)
            left = Counter(os.stat(name, dir_fd=undo, follow_symlinks=False).st_ino for name in names)
            for number, path, found in others:  # one that has a name elsewhere as well, as what moves has, isn't lost
                if stat.S_ISDIR(found.st_mode) or found.st_nlink <= left[found.st_ino]:
                    left[found.st_ino] -= 1
                    self._keep_aside(path, str(number), undo, folders.own_top())

    def _mark_done(self, state: Path) -> None:
        if not self.done:  # the journal is of an older version, and has no other one for the way back
            self.write(state, DONE)
            self.done = True
        sync_folder(state)

    def _keep_aside(self, path: str, name: str, fd: int, state: int) -> None:
        kept = _free_name(os.path.basename(path), state)
        os.rename(name, kept, src_dir_fd=fd, dst_dir_fd=state)
        self.saved.append((path, kept))

    # -- its end ---------------------------------------------------------------------------------------------

    def _end(self, root: Path, done: str, first: str = "") -> None:
        """Remove it: all of it is made, or undone.

        Raises
        ------
        PackError
            It stays.
        """
        state = root / layout.STATE_DIR
        try:
            if self.direction == "forward":
                self._save_replaced(root)
            _remove(state)
        except _FAILURES as error:
            what = state / JOURNAL
            why = "there isn't enough memory" if isinstance(error, MemoryError) else in_words(error, state)
            raise PackError(
                f"{first}{what}: can't be removed: {why}; the change that it's of was {done} in full, but until it's "
                f"away readers take that for half done: mend the cause, and the next command that changes {root} "
                "removes it"
            ) from error
        with suppress(OSError):  # if it comes back by that, all its steps are done
            sync_folder(state)
        with suppress(OSError):  # it means nothing, and the next change removes it
            clear(state)


def _remove(state: Path) -> None:
    try:
        os.unlink(state / JOURNAL)
    except FileNotFoundError:
        pass
    except OSError:  # all is done: as long as it has another name, it says nothing
        os.rename(state / JOURNAL, state / UNDO / JOURNAL)


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
    for name in (BACK, DONE):
        (state / name).unlink(missing_ok=True)
    for name in os.listdir(state):
        if name.startswith(_LEFT):
            shutil.rmtree(state / name, ignore_errors=True)
    for name in (STAGING, UNDO, *_NOTES):
        check_own(state / name, is_folder=True)
        try:
            shutil.rmtree(state / name)
        except FileNotFoundError:
            pass
        except OSError as error:  # a reader has a file open, which goes with its last one on such disks
            if error.errno not in (errno.ENOTEMPTY, errno.EBUSY):
                raise
            os.rename(state / name, state / f"{_LEFT}{randbits(48)}")
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


def _free_name(name: str, fd: int) -> str:
    """What a file that is kept is called in ``.blobdir``."""
    count = 0
    while True:
        start = f"{SAVED}{count}-" if count else SAVED
        raw = os.fsencode(name)[: MAX_NAME_BYTES - len(start)]
        kept = os.fsdecode(start.encode() + raw)
        if not _exists(kept, fd):
            return kept
        count += 1


def _put_back(folders: Folders, number: int, undo: int, path: str) -> None:
    with about(path):
        fd, name = folders.of(path, make=True)
        try:
            os.rename(str(number), name, src_dir_fd=undo, dst_dir_fd=fd)
        except NotADirectoryError:  # somebody had put a folder there, and now there is the new file
            os.unlink(name, dir_fd=fd)
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
    if isinstance(error, MemoryError):
        return f"{root}: there isn't enough memory for this change"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, BlobdirError):
        return f"{error.filename or root}: {in_words(error, root)}"
    return str(error)


def _content_of(path: Path) -> bytes:
    try:
        return read_whole(path, follow=False)
    except OSError:
        return b""


def _version(value: object) -> tuple[int, int, int, int]:
    if not isinstance(value, list) or len(value) != 4 or not all(type(part) is int for part in value):
        raise TypeError("is no version")
    return value[0], value[1], value[2], value[3]


def _number(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(value)
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(value)
    return value
