"""The journal of a change, as it lies on the disk: what is put, what goes, and in which direction.

`blobdir.packing.journal` does what it says.

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
``.blobdir``, and its name is said. They rename folders too: it has the inode of each that it touches, and what is left
is done where that folder is by then, see `blobdir.discovery.whereabouts`.
Directories are opened one by one from the project's root, never through a symbolic link, so that neither a project that
comes with somebody else's journal nor a link that is put there meanwhile leads outside.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field, fields, replace
from errno import EBUSY, ENOTEMPTY
from secrets import randbits
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from blobdir.discovery import layout
from blobdir.discovery.released import RELEASED
from blobdir.discovery.whereabouts import is_inside
from blobdir.durable import sync_folder, write_whole
from blobdir.errors import UsageError
from blobdir.inside import read_whole
from blobdir.projectlock import JOURNAL, LOCK, check_own, make_state_folder, show_like
from blobdir.temporary import clean

if TYPE_CHECKING:
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
_NOT_KEPT: Final = ("done", "saved")
"""What a journal knows that isn't in its file."""


@dataclass(slots=True)
class JournalFile:
    """What a change does, as its journal says it.

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
    inodes : dict
        Path -> inode of each folder that it touches, or that one lies in, as they were when it was decided; none of an
        older version.
    needed : list of str
        Blobs that offsets name which come, and that the change itself doesn't touch; none of an older version.
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
    inodes: dict[str, int] = field(default_factory=dict)
    needed: list[str] = field(default_factory=list)
    done: bool = False
    saved: list[tuple[str, str]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """Everything in the project that it touches."""
        return [p for _, p, _ in self.put] + [p for _, p in self.remove] + self.folders + self.empty + self.made

    @property
    def touched(self) -> list[str]:
        """Folders in which something comes, is replaced or goes, or that are to be there or not."""
        files = (path for step in (self.put, self.remove) for _, path, *_ in step)
        return list(dict.fromkeys([*(path.rpartition("/")[0] for path in files), *self.folders, *self.empty]))

    def prepare(self, state: Path) -> None:
        """Make what going back needs, as long as there is room: nothing is decided by it."""
        make_state_folder(state / UNDO, state.parent)
        replace(self, direction="back").write(state, BACK)

    def write(self, state: Path, name: str = JOURNAL) -> None:
        """Write it to ``.blobdir``; from then on it holds, if it has its own name there."""
        root = os.stat(state.parent)
        write_whole(state / name, [self._content()], prepare=lambda fd: show_like(fd, root))

    def _content(self) -> bytes:
        kept = (one.name for one in fields(JournalFile) if one.name not in _NOT_KEPT)
        return json.dumps({"version": VERSION} | {name: getattr(self, name) for name in kept}).encode(
            "utf-8", "surrogateescape"
        )

    def turn(self, state: Path) -> None:
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
    def read(cls, state: Path) -> Self | None:
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
        for item in (*found.paths, *found.needed):
            if why := wrong_path(item):
                raise UsageError(f"{path}: {item[:80]!r} {why}; look at it, and remove it")
        return found

    @classmethod
    def _parsed(cls, content: bytes) -> Self | None:
        try:
            value: Any = json.loads(content.decode("utf-8", "surrogateescape"))
            if value["version"] != VERSION or value["direction"] not in ("forward", "back"):
                return None
            put = [(_number(n), _text(p), bool(there)) for n, p, there in value["put"]]
            remove = [(_number(n), _text(p)) for n, p in value["remove"]]
            lists = [[_text(p) for p in value[key]] for key in ("folders", "empty", "made")]
            versions = {int(n): _version(v) for n, v in value.get("versions", {}).items()}
            needed = [_text(path) for path in value.get("needed", [])]
            inodes = {_text(path): _number(n) for path, n in value.get("inodes", {}).items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        folders, empty, made = lists
        return cls(put, remove, folders, empty, made, value["direction"], versions, inodes, needed)

    def mark_done(self, state: Path) -> None:
        """Say on the disk that all steps are done, so that there's only one way."""
        if not self.done:  # the journal is of an older version, and has no other one for the way back
            self.write(state, DONE)
            self.done = True
        sync_folder(state)


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
            if error.errno not in (ENOTEMPTY, EBUSY):
                raise
            os.rename(state / name, state / f"{_LEFT}{randbits(48)}")
    clean(state)


def wrong_path(path: str) -> str:
    """Why a path can't be that of a file of a project; empty where it can."""
    parts = path.split("/")
    if not is_inside(path):
        return "isn't inside the project"
    if parts[0] == layout.STATE_DIR and path != RELEASED:
        return "is blobdir's own"
    if any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in parts):
        return f"is too long: a name has {MAX_NAME_BYTES} bytes at the most"
    return ""


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
