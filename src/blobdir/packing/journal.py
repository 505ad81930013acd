"""What a journal says is done, in its direction, or undone; see `blobdir.packing.journalfile` for the states on disk.

Whoever does it may be another one than who has decided it, hours later. So each step looks first whether it's done, and
whether what it finds is what the journal was written for:

- A file that another program has written since is kept as ``saved-…``.
- A folder that has got another name is found by its inode, and all is done there: as if it had been renamed afterwards.
- Before the first step goes forward, each folder must have been found (`blobdir.discovery.whereabouts`), but for those
  that the change has emptied and removed; and each blob be there that offsets name which come. Else it goes back, as
  where an offsets file that is to go isn't there, or where a folder that was put back from a backup lacks one that was
  put. What only was one file of many, and is gone, has gone.
- Where a folder is nowhere, nothing is put there, nor is it made anew, and what would go back there is kept as
  ``saved-…``. Then what is new stays, in the folders that were found, with its blobs: an image may be in two lists
  afterwards, and is in one at least.
- No folder is made that the journal doesn't name as made; but going back, those that it may have removed itself.
- No blob is deleted, in either direction, while an offsets file names it: see `blobdir.packing.stillnamed`. Nor is a
  new one whose offsets were put into a folder that is nowhere now.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import dropwhile
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.discovery.whereabouts import Whereabouts
from blobdir.durable import in_words, rename_new, sync_folder
from blobdir.errors import BlobdirError, NotFoundError, PackError, UsageError
from blobdir.packing.folders import FOLDER, Folders, about
from blobdir.packing.journalfile import BACK, DONE, MAX_NAME_BYTES, SAVED, STAGING, UNDO, JournalFile, clear
from blobdir.packing.standing import Contents, entries_of, said_of
from blobdir.packing.stillnamed import StillNamed, is_blob
from blobdir.packing.witness import signature_of
from blobdir.projectlock import JOURNAL

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

_FAILURES: Final = (OSError, UsageError, MemoryError)
"""Why a step of a change can't be done."""
_NOWHERE: Final = "isn't in the project any more, or not as the change knew it"
_NO_LINKS: Final = (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EXDEV)


@dataclass(slots=True)
class Journal(JournalFile):
    """A journal that is gone by.

    Attributes
    ----------
    told : list of str
        What is to be said: of folders that are elsewhere now, and of blobs that stay. Not kept.
    kept : set of str
        Blobs that were to go and stay, as offsets may name them. Not kept.
    aside : bool
        Whether something that couldn't go back is kept elsewhere. Not kept.
    again : set of str
        Folders that may have been put back from a backup, or are in a copy of the project. Not kept.
    """

    told: list[str] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    aside: bool = False
    again: set[str] = field(default_factory=set)

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
                with self._folders(root, back=False) as folders:
                    self._check_needed(folders)
                    self._forward(folders)
            except _FAILURES as error:
                self._undo(root, state, error)
                outcome = "what couldn't be undone is named" if self.aside else "nothing was changed"
                raise PackError(f"{_said(error, root)}; {outcome}") from error
            with suppress(OSError):  # it's a note for who finds the journal, should it stay
                os.replace(state / BACK, state / DONE)
                self.done = True
            self._end(root, "made")
        else:
            self._undo(root, state, None)

    def take(self, other: Journal) -> None:
        """Know what another one, of the same change, has to say."""
        if other is not self:
            self.saved += other.saved
            self.told += other.told
            self.kept |= other.kept

    def _undo(self, root: Path, state: Path, why: BaseException | None) -> None:
        what = "finishes it, or undoes it"
        try:
            if why:
                self.turn(state)
            what = "undoes the rest"
            with self._folders(root, back=True) as folders:
                self._back(folders)
        except _FAILURES as error:
            first = f"{_said(why, root)}; and then, undoing it, " if why else ""
            raise PackError(
                f"{first}{_said(error, root)}; the change is half done: mend the cause, and the next command that "
                f"changes {root} {what}"
            ) from error
        self._end(root, "undone", f"{_said(why, root)}; and then, when all was undone, " if why else "")

    def _folders(self, root: Path, *, back: bool) -> Folders:
        """The folders of the project where they are now; those made that may be.

        Raises
        ------
        NotFoundError
            One is nowhere, and it doesn't go back.
        """
        contents = Contents(os.fspath(root), self)
        known = Whereabouts(os.fspath(root), self.inodes, contents.tell, self._older_folders())
        self.again = known.again
        for path, now in known.moved.items():
            if now is None and not back and not (self._may_have_gone(path) and contents.is_gone(path)):
                raise NotFoundError(f"{path}: {_NOWHERE}")
            self._tell_moved(known.moved, path, now, "undone" if back else "finished")

        def where(path: str) -> str | None:
            now = known.of(path)
            return path if now is None and back and self._may_have_gone(path) else now

        made = {where(path) for path in self.made}
        gone = [now for path in self.empty if back and (now := where(path)) is not None]
        return Folders(root, where, lambda path: path in made or any(f"{path}/".startswith(f"{one}/") for one in gone))

    def _older_folders(self) -> list[str]:
        """Folders that there were, as far as a journal of an older version says so: by the files in them."""
        steps = [path for _, path, there in self.put if there] + [path for _, path in self.remove]
        return list(dict.fromkeys(above for path in steps for above in layout.above(path)))

    def _check_needed(self, folders: Folders) -> None:
        """Make sure that each blob is there that offsets name which come."""
        for path in self.needed:
            if folders.stat(path) is None:
                raise NotFoundError(f"{path}: was removed or renamed since, and offsets of the change name it")

    def _may_have_gone(self, path: str) -> bool:
        """Whether the change itself may have removed a folder, or the one that a file was in."""
        return any(f"{path}/".startswith(f"{one}/") for one in self.empty)

    def _tell_moved(self, moved: Mapping[str, str | None], path: str, now: str | None, what: str) -> None:
        above, _, name = path.rpartition("/")
        if above in moved and now == (layout.join(moved[above] or "", name) if moved[above] else None):
            return  # it's with the one that it lies in
        if now is not None:
            self._tell(f"{path}: is called {now} now, so a change that was cut off is {what} there")
        elif not self._may_have_gone(path):
            self._tell(f"{path}: {_NOWHERE}; nothing of a change that was cut off is {what} there")

    def _tell(self, text: str) -> None:
        if text not in self.told:
            self.told.append(text)

    def _stays(self, path: str, named: StillNamed, lost: Collection[str] = ()) -> bool:
        """Whether a file is a blob that mustn't go: offsets name it, or such as were put where nobody finds them."""
        if not is_blob(path):
            return False
        try:
            why = named.by(path)
            why = f"{why} names it, or may do so" if why else ""
        except (BlobdirError, OSError) as error:
            why = f"it can't be told whether offsets name it: {error}"
        if not why and os.path.splitext(path)[0] in lost:
            why = "a folder whose offsets name it isn't in the project any more"
        if why:
            self.kept.add(path)
            self._tell(f"{path}: stays: {why}")
        return bool(why)

    def _forward(self, folders: Folders) -> None:
        staging, undo = (folders.own(name) for name in (STAGING, UNDO))
        named = StillNamed(folders.root)
        for path in self.folders:
            with suppress(FileNotFoundError):  # it was there when this was decided, and has been removed since
                folders.fd(path, make=True)
        for number, path, there in self.put:
            self._put(folders, number, path, there, staging, undo)
        for number, path in self.remove:
            if _exists(str(number), undo) or self._stays(path, named):
                continue
            try:
                with about(path):
                    fd, name = folders.of(path)
                    os.rename(name, str(number), src_dir_fd=fd, dst_dir_fd=undo)
            except FileNotFoundError as error:
                if layout.is_offsets(path) and f"{layout.STATE_DIR}/{UNDO}" not in folders.made:
                    raise NotFoundError(f"{path}: was to go, and has been removed or renamed since") from error
        wanted = {folders.where(path) for path in self.folders}
        for path in self.empty:
            if (now := folders.where(path)) is not None:
                _remove_empty(folders, now, wanted)
        folders.sync()

    def _put(self, folders: Folders, number: int, path: str, there: bool, staging: int, undo: int) -> None:
        if not _is_file(str(number), staging):
            if not self._is_put(folders, number, path):
                raise UsageError(f"{layout.STATE_DIR}/{STAGING}/{number}: is gone, and was to be {path}")
            if path.rpartition("/")[0] in self.again and self._is_as_before(folders, number, path):
                raise NotFoundError(f"{path}: was put there, and its folder is as it was before")
            return  # done already, by one who was cut off after it
        with about(path):
            fd, name = folders.of(path, make=True)
            if there and layout.is_offsets(name) and not _exists(name, fd) and _names_of(str(number), undo) != 1:
                raise NotFoundError(f"{path}: was to be replaced, and has been removed or renamed since")
            if not _exists(str(number), undo):
                _keep(name, fd, str(number), undo)
            elif self._save(folders, path, number, is_new=False):  # put there since that was kept
                fd, name = folders.of(path)
            while not _exists(str(number), undo):  # nothing is to be replaced
                with suppress(FileExistsError):
                    rename_new(str(number), name, src_dir_fd=staging, dst_dir_fd=fd)
                    return
                _keep(name, fd, str(number), undo)  # somebody has put it there just now
            os.rename(str(number), name, src_dir_fd=staging, dst_dir_fd=fd)

    def _is_as_before(self, folders: Folders, number: int, path: str) -> bool:
        """Whether an offsets file or blob that was put isn't there, but nothing, or what was there before."""
        if not (layout.is_offsets(path) or is_blob(path)):
            return False
        found = folders.stat(path)
        if found is None or number not in self.versions:
            return found is None
        return self._is_other(found, number, is_new=True) and not self._is_other(found, number, is_new=False)

    def _back(self, folders: Folders) -> None:
        staging, undo = (folders.own(name) for name in (STAGING, UNDO))
        named, lost = StillNamed(folders.root), set[str]()
        stays = self._find_stuck(folders, undo)
        for number, path in reversed(self.remove):
            if _exists(str(number), undo):
                self._save(folders, path, number, is_new=True)
                self._restore(folders, number, undo, path)
        for number, path, there in reversed(self.put):
            is_taken = not _exists(str(number), staging)
            if is_taken and layout.is_offsets(path) and folders.where(path) is None:
                lost.add(layout.blob_of_offsets(path))
                self.aside = True
                self._tell(f"{path}: was put there, and its folder isn't found: its images may be there twice")
            is_put = is_taken and self._is_put(folders, number, path)
            if _exists(str(number), undo):
                if not (stays and is_put and self._has_all(folders, number, path, undo)):
                    self._unput(folders, number, path, undo, is_taken=is_taken, is_put=is_put)
            elif is_put and stays:
                continue
            elif is_put and not there and not self._is_strange(folders, path, number, is_new=True):
                self._unlink(folders, path, named, lost)
        for path in reversed(self.made):
            with suppress(OSError, UsageError):  # something is in it by now, or it's no folder
                fd, name = folders.of(path)
                os.rmdir(name, dir_fd=fd)
        folders.sync()

    def _find_stuck(self, folders: Folders, undo: int) -> bool:
        """Whether something can't go back, as its folder is nowhere: then what is new stays, or images were lost."""
        replaced = [(number, path) for number, path, _ in self.put]
        for number, path in (*replaced, *self.remove):
            if _exists(str(number), undo) and not self._has_place(folders, path):
                self._tell(
                    f"{path}: can't go back, so what the change has made elsewhere stays: images may be there twice"
                )
                return True
        return False

    def _has_place(self, folders: Folders, path: str) -> bool:
        try:
            folders.of(path)
        except (NotFoundError, UsageError):
            return False
        except FileNotFoundError:
            return self._may_have_gone(path)
        return True

    @staticmethod
    def _has_all(folders: Folders, number: int, path: str, undo: int) -> bool:
        """Whether the new one of two offsets files lists all that the old one does."""
        if not layout.is_offsets(path) or folders.where(path) is None:
            return False
        if (old := entries_of(str(number), undo)) is None:
            return False
        fd, name = folders.of(path)
        new = entries_of(name, fd)
        return new is not None and old.items() <= new.items()

    def _unput(self, folders: Folders, number: int, path: str, undo: int, *, is_taken: bool, is_put: bool) -> None:
        """Have what was replaced be back."""
        if layout.is_offsets(path) and folders.where(path) is not None and folders.stat(path) is None:
            if is_taken and self._undo_renamed(folders, number, path, undo):
                return
            if is_taken and not self._has_blob(folders, path):  # they have other names now, or are gone
                self._lay_aside(folders, number, undo, path, "was removed or renamed")
                return
            if _names_of(str(number), undo) > 1:  # the old one has
                return
        if is_put:
            self._save(folders, path, number, is_new=True)
        if is_put or not self._is_strange(folders, path, number, is_new=False):
            self._restore(folders, number, undo, path)
            return
        # somebody has put another one there since; what was kept may be somebody's as well
        found = os.stat(str(number), dir_fd=undo, follow_symlinks=False)
        if stat.S_ISDIR(found.st_mode) or found.st_nlink == 1:
            self._keep_aside(path, str(number), undo, folders.own_top())

    def _undo_renamed(self, folders: Folders, number: int, path: str, undo: int) -> bool:
        """Have an old offsets file be back by the name that the new one has in its folder now, if it has one."""
        if number not in self.versions:
            return False
        fd = folders.of(path)[0]
        for name in filter(layout.is_offsets, os.listdir(fd)):
            if not self._is_other(os.stat(name, dir_fd=fd, follow_symlinks=False), number, is_new=True):
                os.rename(str(number), name, src_dir_fd=undo, dst_dir_fd=fd)
                self._tell(f"{path}: is called {name} now, so a change that was cut off is undone there")
                return True
        return False

    @staticmethod
    def _has_blob(folders: Folders, path: str) -> bool:
        stem = os.path.basename(path).removesuffix(layout.OFFSETS_SUFFIX)
        try:
            return any(layout.blob_stem(name) == stem for name in os.listdir(folders.fd(layout.blobs_of(path))))
        except (OSError, UsageError):
            return False

    def _unlink(self, folders: Folders, path: str, named: StillNamed, lost: Collection[str]) -> None:
        """Remove what was put where nothing was, unless it's a blob that must stay."""
        if self._stays(path, named, lost):
            return
        with about(path), suppress(FileNotFoundError):
            fd, name = folders.of(path)
            os.unlink(name, dir_fd=fd)

    def _restore(self, folders: Folders, number: int, undo: int, path: str) -> None:
        """Give a file its name back; where its folder is nowhere, keep it."""
        try:
            _put_back(folders, number, undo, path)
        except NotFoundError:
            self._lay_aside(folders, number, undo, path, "its folder isn't in the project any more")

    def _lay_aside(self, folders: Folders, number: int, undo: int, path: str, why: str) -> None:
        state = folders.own_top()
        kept = self._move_aside(path, str(number), undo, state)
        self.aside = True
        self._tell(
            f"{path}: {why}; what it was before is kept as {layout.STATE_DIR}/{kept}{said_of(path, kept, state)}"
        )

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
                self.mark_done(root / layout.STATE_DIR)
            left = Counter(os.stat(name, dir_fd=undo, follow_symlinks=False).st_ino for name in names)
            for number, path, found in others:  # one that has a name elsewhere as well, as what moves has, isn't lost
                if stat.S_ISDIR(found.st_mode) or found.st_nlink <= left[found.st_ino]:
                    left[found.st_ino] -= 1
                    self._keep_aside(path, str(number), undo, folders.own_top())

    def _keep_aside(self, path: str, name: str, fd: int, state: int) -> None:
        self.saved.append((path, self._move_aside(path, name, fd, state)))

    @staticmethod
    def _move_aside(path: str, name: str, fd: int, state: int) -> str:
        kept = _free_name(os.path.basename(path), state)
        os.rename(name, kept, src_dir_fd=fd, dst_dir_fd=state)
        return kept

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


def _remove_empty(folders: Folders, path: str, wanted: Collection[str | None]) -> None:
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


def _names_of(name: str, fd: int) -> int:
    """How many names a file has; 0 where it isn't there."""
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False).st_nlink
    except FileNotFoundError:
        return 0


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
