"""Changes of a project that happen or don't: lock, stage, check in full, sync, journal, apply.

Whoever changes a project in place goes through a `Change`. Nothing of the project is touched before `commit`; that
checks everything that can be known (what is in the way, links, rights, other file systems, lengths of names), has what
was staged reach the disk, and only then writes the journal. See `blobdir.packing.journal` for what happens after it,
and `blobdir.packing.newfolder` for projects that are made anew.
"""

from __future__ import annotations

import os
import stat
import warnings
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from secrets import randbits
from typing import TYPE_CHECKING, Final, Self

from blobdir.discovery import layout
from blobdir.discovery.root import refuse_file
from blobdir.discovery.whereabouts import inodes_of
from blobdir.durable import absolute, in_words, sync_file, sync_filesystem, sync_folder
from blobdir.errors import BlobdirError, BlobdirWarning, PackError, SourceChangedError, UsageError
from blobdir.interrupts import deferred, note, remember
from blobdir.opening.beside import drop_beside
from blobdir.packing.checking import Check
from blobdir.packing.folders import FOLDER, SYNC_EACH, Folders
from blobdir.packing.journal import Journal
from blobdir.packing.journalfile import LEFT_OVER, NO_FILE, STAGING, check_state, clear
from blobdir.packing.provenance import Provenance
from blobdir.packing.stillnamed import check_unneeded
from blobdir.packing.witness import Staged, Witness, look, signature_of
from blobdir.projectlock import JOURNAL, LOCK, ProjectLock, check_lockable, make_state_folder, show_like
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType


_KEPT: Final = (
    "another program has written it after a change of it was decided; that file is kept as {}: look which of the two "
    "you want, and remove the other"
)
"""What is said of a file that would have been lost."""
_SAID: Final = 5
"""How many places are named that are elsewhere now."""


class Change:
    """One change of a project: a context manager that holds the project's lock.

    Put new files where `stage` says, name those to be removed with `remove`, then call `commit`. Leaving without that
    changes nothing. A change of somebody else that was cut off is finished, or undone, first.

    Parameters
    ----------
    root : str
        Folder of the project.
    dry_run : bool
        Take no lock, write nothing; `commit` only checks. Nothing can be staged then; `expect` stands for it.

    Raises
    ------
    BusyError
        Somebody else is changing it.
    UsageError
        A change was cut off, and what its journal says can't be; or, of a dry run, a change was cut off. Or what is
        blobdir's own is a link, or no file or folder.
    PackError
        The project can't be written; a dry run looks for that too.
    """

    def __init__(self, root: str | os.PathLike[str], *, dry_run: bool = False) -> None:
        self.dry_run = dry_run
        self._root = Path(absolute(root))
        self._state = self._root / layout.STATE_DIR
        self._staging = self._state / STAGING
        self._staged: dict[str, int] = {}
        self._expected: dict[str, None] = {}
        self._removed: dict[str, None] = {}
        self._like: dict[str, os.stat_result] = {}
        self._folders: dict[str, None] = {}
        self._emptied: dict[str, None] = {}
        self._number = randbits(48)  # files of another change that lies there meanwhile are never called as ours
        self._lock: ProjectLock | None = None
        self._place = -1
        self._made = False
        self._left: list[str] = []
        self.kept: set[str] = set()
        self._witness = Witness(os.fspath(self._root))
        self._with_links: set[str] = set()
        self._asked: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        check_place(self._root)
        check_state(self._state)
        if self.dry_run:
            if Journal.read(self._state) is not None:
                raise UsageError(f"{self._root}: a change was cut off; any command that changes it finishes that first")
            with self.in_words():
                check_lockable(os.fspath(self._root))
                ProjectLock(os.fspath(self._root), shared=True, make=False).release()  # whether somebody changes it now
            return self
        with self.in_words():
            self._lock = ProjectLock(os.fspath(self._root))
            try:
                self._recover()
                make_state_folder(self._staging, self._root)
                self._place = os.open(self._staging, FOLDER)
                self._witness.begin(self._staging)
            except BaseException:
                self._release()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asked.clear()  # what is asked holds the change
        if error is not None and self.made:
            note(error, self.made)
        if self._lock is None:
            return
        decided = self._is_decided()
        try:
            if self._lock.is_mine and self._lock.is_in_place and not decided:  # a forked child has no part in it
                with suppress(OSError, UsageError):
                    clear(self._state)
                self._left = [f"{layout.STATE_DIR}/{n}" for n in LEFT_OVER if os.path.lexists(self._state / n)]
        finally:
            self._release()
        if isinstance(error, OSError) and not decided:
            self._say(error)

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        place, self._place = self._place, -1
        if place >= 0:
            os.close(place)
        if lock is not None:
            lock.release()

    def _is_decided(self) -> bool:
        return os.path.lexists(self._state / JOURNAL)

    @contextmanager
    def in_words(self) -> Iterator[None]:
        """Have errors of the system say that nothing was changed, and which file they are of.

        Raises
        ------
        PackError
        """
        try:
            yield
        except OSError as error:
            if not self._is_decided():
                self._say(error)
            raise

    def _say(self, error: OSError) -> None:
        if isinstance(error, BlobdirError) or not error.strerror:
            return
        if isinstance(error, FileNotFoundError):
            self._check_in_place()
        name = error.filename if isinstance(error.filename, str) else ""
        is_own = name.startswith(os.fspath(self._state)) and name != os.fspath(self._state / LOCK)
        what = self._root if is_own or not name else name
        said = in_words(error, self._state)
        raise PackError(f"{what}: {said}; nothing was changed", errno=error.errno) from error

    def _recover(self) -> None:
        """Do what a process that was killed had begun; forget what it had only prepared."""
        check_state(self._state)
        journal = Journal.read(self._state)
        if journal is not None and self._lock is not None:
            announce(self._lock, self._root)  # its writer may have been of a version that didn't
            with deferred():
                try:
                    self._run(journal)
                except PackError as error:  # it was undone, which is as good
                    undone = f"{self._root}: a change that was cut off couldn't be finished, and is undone: {error}"
                    warnings.warn(undone, BlobdirWarning, stacklevel=3)
                if self._is_decided():
                    self._run(Journal.read(self._state) or journal)  # it may have been turned, or not
                self._made = False  # by another one
        clear(self._state)

    def _run(self, journal: Journal) -> None:
        """Do what a journal says, to its end, even if something that isn't deferred wants to end the program."""
        try:
            journal.run(self._root)
        except (KeyboardInterrupt, SystemExit):
            left = Journal.read(self._state) or journal
            try:
                left.run(self._root)
            finally:
                journal.take(left)
            self._made = left.direction == "forward"
            raise
        else:
            self._made = True
        finally:
            self._warn(journal)

    def _warn(self, journal: Journal) -> None:
        """Warn of files that would have been lost, and of what is elsewhere now: once, a warning can be an error."""
        saved, told, self.kept = list(journal.saved), list(journal.told), set(journal.kept)
        journal.saved, journal.told = [], []
        texts = []
        if saved:
            (path, kept), *more = saved
            text = _KEPT.format(f"{layout.STATE_DIR}/{kept}")
            others = f"; and {counted(len(more), 'more file')}, as `blobdir verify` says" if more else ""
            texts.append(f"{path}: {text}{others}")
        if told:
            texts += told[:_SAID] + [f"and {counted(len(told) - _SAID, 'more such place')}"] * (len(told) > _SAID)
        if texts:
            warnings.warn(f"{self._root}/{'; '.join(texts)}", BlobdirWarning, stacklevel=3)

    # -- what is to happen -----------------------------------------------------------------------------------

    def stage(self, path: str) -> Path:
        """Where to write what shall be at `path` of the project."""
        if self.dry_run:
            raise RuntimeError("a dry run writes nothing")
        if self._lock is None:
            raise UsageError(f"{path}: the change has ended, so nothing can be written in it any more")
        if path not in self._staged:
            self._witness.note(path)
            self._staged[path] = self._next()
        self._removed.pop(path, None)
        return self._staging / str(self._staged[path])

    def know(self, folder: str, inode: int) -> None:
        """Have a folder be the one that was listed, by its inode, when anything in it is put, replaced or removed."""
        self._witness.note_folder(folder, inode if inode >= 0 else None)

    def need(self, path: str) -> None:
        """Have a file be there when it's done, and be what it is now, though it isn't touched: else nothing is done."""
        self._witness.need(path)

    def see(self, path: str) -> None:
        """Have what is at a path be what it is now when it's replaced or removed: else nothing is done."""
        self._witness.note(path)

    def ask_again(self, ask: Callable[[], None]) -> None:
        """Have something called just before it's done, which raises if what was concluded isn't so any more."""
        self._asked.append(ask)

    def touched(self, folders: Iterable[str]) -> bool:
        """Whether something may have come into some folders since the change began: for who is asked again."""
        return self._witness.touched(folders)

    def expect(self, path: str) -> None:
        """Have a dry run look whether something can be put at `path`; otherwise what is staged tells."""
        if self.dry_run:
            self._expected[path] = None

    def rename_staged(self, path: str, new: str) -> None:
        """Have what is staged for one path be at another."""
        self._witness.note(new)
        self._staged[new] = self._staged.pop(path)
        if path in self._like:
            self._like[new] = self._like.pop(path)

    def give_as(self, path: str, old: os.stat_result) -> None:
        """Have what will be staged for a new path get mode and owner of what it's made of; nobody else reads it before.

        To be called before anything is written there.
        """
        self.stage(path).touch(0o600)
        if stat.S_ISREG(old.st_mode):
            self._like[path] = old

    def forget(self, path: str) -> None:
        """Don't put anything at `path`, whatever was staged for it."""
        self._expected.pop(path, None)
        if path in self._staged:
            (self._staging / str(self._staged.pop(path))).unlink(missing_ok=True)

    def remove(self, path: str, *, with_links: bool = False) -> None:
        """Have a file of the project removed; a blob `with_links` even if symbolic links lead to it."""
        if path not in self._staged:
            self._witness.note(path)
            self._removed[path] = None
            self._with_links.update([path] * with_links)

    def make_folder(self, path: str) -> None:
        """Have a folder be there, even if nothing is in it, or one above it is to be removed."""
        self._witness.note_folder(path)
        self._folders[path] = None

    def forget_folder(self, path: str) -> None:
        """Don't have a folder be there any more, nor those below it."""
        for one in self.made_folders(path):
            del self._folders[one]

    def made_folders(self, path: str) -> list[str]:
        """Folders that are to be there even if nothing is in them: of those below a path, and itself."""
        return [one for one in self._folders if one == path or one.startswith(f"{path}/")]

    def remove_folder(self, path: str) -> None:
        """Have a folder, and those below it, removed where nothing is left in them."""
        self._witness.note_folder(path)
        self._emptied[path] = None

    def is_staged(self, path: str) -> bool:
        """Whether something is staged for a path, or would be."""
        return path in self._staged or path in self._expected

    @property
    def staged(self) -> list[str]:
        """Paths of the project that something is staged for, or would be."""
        return [*self._staged, *self._expected]

    @property
    def removed(self) -> list[str]:
        """Paths of the project that go."""
        return list(self._removed)

    def _next(self) -> int:
        self._number += 1
        return self._number

    # -- doing it --------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Do it: from the journal on it happens, even if this process doesn't live to see it.

        Raises
        ------
        UsageError
            It can't be done; nothing was changed.
        SourceChangedError
            Another program has written a file that would be replaced or removed; nothing was changed.
        PackError
            A step of it failed, and all was undone.
        KeyboardInterrupt, SystemExit
            Came up while it was done, and waited for its end: it has happened.
        """
        # Blobs and annotations first, pickles last: an image is there when all that belongs to it is.
        self._check_in_place()
        journal = Journal(folders=list(self._folders), empty=list(self._emptied))
        with Folders(self._root) as folders:
            check = Check(folders, os.fspath(self._root))
            for path in sorted(self._staged, key=_order):
                there = check.can_put(path, self._removed)
                number = self._staged[path]
                journal.put.append((number, path, there is not None))
                if not self.dry_run:
                    new = self._staging / str(number)
                    self._give(there or self._like.get(path), folders.attributes, new)
                    journal.versions[number] = *(signature_of(there) if there else NO_FILE), *signature_of(new.lstat())
            _order_lists(journal)
            for path in self._expected:
                check.can_put(path)
            for path in sorted(self._removed, key=_order, reverse=True):
                if there := check.can_remove(path):
                    journal.remove.append((number := self._next(), path))
                    journal.versions[number] = *signature_of(there), *NO_FILE
            for path in (*self._folders, *self._emptied):
                check.can_be_folder(path)
            check.one_kind([path for _, path, _ in journal.put], self._folders)
            journal.made = check.missing([*(path.rpartition("/")[0] for _, path, _ in journal.put), *self._folders])
        if self.dry_run:
            return
        journal.inodes = inodes_of(os.fspath(self._root), journal.touched)
        lists = (path for _, path, _ in journal.put if layout.is_offsets(path))
        named = {layout.blob_of_offsets(path) for path in lists}
        needed = self._witness.needed({*self._removed, *self._staged})
        journal.needed = [path for path in needed if os.path.splitext(path)[0] in named]
        journal.prepare(self._state)
        self._sync([number for number, _, _ in journal.put])
        self._look_again(journal)
        if self._lock is not None and journal.paths:
            announce(self._lock, self._root)
        self._apply(journal)

    @property
    def made(self) -> str:
        """What to say to who meets an error or Ctrl-C later; empty as long as the change wasn't made."""
        return f"{self._root}: the change was made" if self._made else ""

    def leftovers(self) -> list[str]:
        """Folders of ``.blobdir`` that couldn't be emptied: what was replaced or removed lies there.

        Known when the context was left, which tries it a last time.
        """
        return self._left

    def _apply(self, journal: Journal) -> None:
        try:
            with deferred():
                self._decide(journal)
        except (KeyboardInterrupt, SystemExit) as error:
            if self.made:
                note(error, self.made)
            elif isinstance(error.__context__, PackError):
                error.add_note(str(error.__context__))
            raise

    def _decide(self, journal: Journal) -> None:
        try:
            journal.write(self._state)
            if self._lock is not None and journal.paths:
                self._lock.note()  # to who began to read after it was announced, and ends when the journal is gone
        except (OSError, MemoryError):
            self._undecide()
            raise
        try:
            self._run(journal)
        finally:
            if self.made:
                remember(self.made)

    def _undecide(self) -> None:
        """Take a journal away that may be there, and only not be on the disk yet.

        Raises
        ------
        PackError
            It can't be, so the change is decided, and not done.
        """
        try:
            os.unlink(self._state / JOURNAL)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise PackError(
                f"{self._state / JOURNAL}: can't be removed: {in_words(error, self._state)}; the change is half done: "
                f"mend the cause, and the next command that changes {self._root} finishes it, or undoes it",
                errno=error.errno,
            ) from error

    @staticmethod
    def _give(there: os.stat_result | None, root: os.stat_result, new: Path) -> None:
        """Mode and owner: of what is replaced; what is new is as open as the project."""
        if there is not None:
            take_over(there, new)
        else:
            show_like(new, root)

    def _look_again(self, journal: Journal) -> None:
        """Refuse to go on where another program has written what would be replaced or removed; see `Witness`.

        At the very end: to have a large blob reach the disk takes as long as that does.
        """
        staged = Staged(self._staging)
        self._witness.end(self._staging)
        self._witness.check_folders(journal.touched)
        self._witness.check_needed(self._removed)
        check_unneeded(os.fspath(self._root), self._removed, self._with_links)
        with Folders(self._root) as folders:
            for path in (path for _, path, _ in journal.put):
                self._witness.check_there(path, folders.stat(path))
            for path in (*(path for _, path, _ in journal.put), *(path for _, path in journal.remove)):
                there = look(folders, path)
                self._witness.check(path, there, partial(staged.has, folders, path, there))
        for ask in self._asked:
            ask()
        self._check_in_place()

    def _check_in_place(self) -> None:
        """Refuse to go on where somebody has removed what keeps others out, or what was staged.

        Raises
        ------
        SourceChangedError
        """
        if self._lock is None:
            return
        gone = "" if self._lock.is_in_place else LOCK
        try:
            if not os.path.samestat(os.fstat(self._place), self._staging.lstat()):
                gone = STAGING
            for number in self._staged.values():
                if not os.path.lexists(self._staging / str(number)):
                    gone = f"{STAGING}/{number}"
        except OSError:
            gone = STAGING
        if gone:
            raise SourceChangedError(
                f"{self._state / gone}: was removed while this change was prepared, and is needed for it; nothing was "
                "changed; try again"
            )

    def _sync(self, numbers: list[int]) -> None:
        """Have what is staged reach the disk, before anything says that it's there."""
        if len(numbers) > SYNC_EACH:  # a call for each of a hundred thousand files takes minutes
            sync_filesystem(self._staging)
        else:
            for number in numbers:
                sync_file(self._staging / str(number))
        for folder in (self._staging, self._state, self._root):
            sync_folder(folder)


def announce(lock: ProjectLock, root: str | os.PathLike[str]) -> None:
    """Say that a project is going to be changed, whatever changes it: to who reads it now, and to who comes later.

    Who has been reading it reads it again. The index beside it, which is believed far away, goes before anything of the
    change appears: a change that comes to nothing costs the index, and no more.

    Raises
    ------
    OSError
        The index can't be removed; nothing was changed.
    """
    lock.note()
    drop_beside(root)


def take_over(old: os.stat_result, new: Path) -> None:
    """Give a file the mode and owner of the one that it replaces, as far as one may."""
    if not stat.S_ISREG(old.st_mode):
        return
    mine = os.stat(new, follow_symlinks=False)
    if mine.st_nlink > 1:  # a file of the project that moves is what it is
        return
    if (mine.st_uid, mine.st_gid) != (old.st_uid, old.st_gid):
        with suppress(OSError):
            os.chown(new, old.st_uid, old.st_gid, follow_symlinks=False)
    if stat.S_IMODE(mine.st_mode) != stat.S_IMODE(old.st_mode):
        os.chmod(new, stat.S_IMODE(old.st_mode))


def _order(path: str) -> tuple[int, str]:
    return (2 if layout.is_offsets(os.path.basename(path)) else 0 if path.startswith(layout.BLOB_DIR) else 1, path)


def _order_lists(journal: Journal) -> None:
    """Put offsets files last, those of datasets that only get images first: what moves is in two rather than in none.

    In one dataset those come first that lose entries: a name with two contents can't be shown.
    """

    def shrinks(number: int) -> bool:
        old, _, new, _ = journal.versions.get(number, (0, 0, 0, 0))
        return new <= old

    lists = {number: os.path.split(path)[0] for number, path, _ in journal.put if layout.is_offsets(path)}
    lose = {folder for number, folder in lists.items() if shrinks(number)}
    journal.put.sort(
        key=lambda put: (put[0] in lists, lists.get(put[0]) in lose, put[0] in lists and not shrinks(put[0]))
    )


def check_place(root: Path) -> None:
    """Make sure that a folder is a project, before anything is left in it.

    Raises
    ------
    UsageError
        There is no such folder.
    NotAProjectError
        It is something else: a dataset's folder, say.
    """
    refuse_file(os.fspath(root))
    if not root.is_dir():
        raise UsageError(f"{root}: there is no such folder")
    if not any(os.path.lexists(root / name) for name in (layout.META, layout.BLOB_DIR)):
        Provenance(os.fspath(root))  # says what it is instead


def recover(project: str | os.PathLike[str]) -> bool:
    """Finish a change that was cut off, if there is one, or undo it.

    Returns
    -------
    bool
        Whether there was.
    """
    root = absolute(project)
    refuse_file(root)
    if not os.path.isdir(root):
        raise UsageError(f"{root}: there is no such folder")
    state = Path(root, layout.STATE_DIR)
    if not any(os.path.lexists(state / name) for name in (JOURNAL, *LEFT_OVER)):
        return False
    with Change(root):
        return True
