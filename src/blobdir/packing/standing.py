"""By what is in a folder, whether it's the one that a journal was written for; and what offsets files list.

For who finds a journal after a crash, where numbers of folders don't tell: see `blobdir.discovery.whereabouts`.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.errors import BlobdirError
from blobdir.inside import open_plain
from blobdir.offsets import read_offsets
from blobdir.offsets.names import to_str
from blobdir.packing.journalfile import NO_FILE, STAGING, UNDO
from blobdir.packing.stillnamed import is_blob
from blobdir.packing.witness import signature_of
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.packing.journalfile import JournalFile
    from blobdir.packing.witness import Signature

_SAID: Final = 3
"""Images of a list that are called by their names."""


class Contents:
    """What must be in the folders of a project by now, by a journal.

    Parameters
    ----------
    root : str
        Folder of the project.
    journal : JournalFile
    """

    def __init__(self, root: str, journal: JournalFile) -> None:
        self._root, self._journal = root, journal
        self._staged, self._undo = (_listed(os.path.join(root, layout.STATE_DIR, name)) for name in (STAGING, UNDO))
        self._keeps_times: bool | None = None

    def tell(self, path: str, now: str) -> bool | None:
        """Whether the folder at `now` is the one that was at `path`; None if no file must be in that.

        Offsets files and blobs decide if any must be there: their names and times aren't others' too. A folder that
        has its name may also have them as they were before: it was put back from an older backup.
        """
        due = list(self._due(f"{path}/"))
        due = [one for one in due if _is_own(path, one[0])] or due
        if any(self._is_there(f"{now}/{name}", version) for name, version in due):
            return True
        before = self._before(f"{path}/") if now == path else ()
        if any(self._is_there(f"{now}/{name}", version) for name, version in before if _is_own(path, name)):
            return True
        return False if due else None

    def is_gone(self, path: str) -> bool:
        """Whether the change has removed all that it removes from a folder."""
        return all(str(number) in self._undo for number, one in self._journal.remove if one.startswith(f"{path}/"))

    def _due(self, above: str) -> Iterator[tuple[str, Signature]]:
        """Files below a folder: paths from there, with the versions that they have by now."""
        versions = self._journal.versions
        for number, path, _ in self._journal.put:
            if path.startswith(above) and number in versions:
                version = versions[number][:2] if str(number) in self._staged else versions[number][2:]
                if version != NO_FILE:
                    yield path.removeprefix(above), version
        for number, path in self._journal.remove:
            if path.startswith(above) and number in versions and str(number) not in self._undo:
                yield path.removeprefix(above), versions[number][:2]

    def _before(self, above: str) -> Iterator[tuple[str, Signature]]:
        replaced = [(number, path) for number, path, _ in self._journal.put]
        for number, path in (*replaced, *self._journal.remove):
            if path.startswith(above) and self._journal.versions.get(number, NO_FILE)[:2] != NO_FILE:
                yield path.removeprefix(above), self._journal.versions[number][:2]

    def _is_there(self, path: str, version: Signature) -> bool:
        with suppress(OSError, ValueError):
            found = signature_of(os.lstat(os.path.join(self._root, path)))
            return found == version or (found[0] == version[0] and not self._has_times())
        return False

    def _has_times(self) -> bool:
        """Whether blobdir's own files have the times that they were given: ``cp -r`` gives new ones."""
        if self._keeps_times is None:
            seen = list(self._own()) or list(self._in_place())
            self._keeps_times = not seen or any(found == version for found, version in seen)
        return self._keeps_times

    def _in_place(self) -> Iterator[tuple[Signature, Signature]]:
        """Files that are where the journal expects them, of their sizes: for when nothing is left of blobdir's own."""
        for name, version in self._due(""):
            with suppress(OSError):
                found = signature_of(os.lstat(os.path.join(self._root, name)))
                if found[0] == version[0]:
                    yield found, version

    def _own(self) -> Iterator[tuple[Signature, Signature]]:
        for number, versions in self._journal.versions.items():
            for folder, names, version in ((STAGING, self._staged, versions[2:]), (UNDO, self._undo, versions[:2])):
                if str(number) in names:
                    with suppress(OSError):
                        found = os.lstat(os.path.join(self._root, layout.STATE_DIR, folder, str(number)))
                        yield signature_of(found), version


def entries_of(name: str, fd: int) -> dict[bytes, tuple[int, int]] | None:
    """Image -> its bytes, of an offsets file in a folder that is open; None where it can't be read."""
    try:
        with open(open_plain(name, follow=False, dir_fd=fd), "rb") as file:
            table = read_offsets(file.read(), name=name)
    except (BlobdirError, OSError):
        return None
    return {image: (start, end) for image, start, end in table.entries()}


def said_of(path: str, name: str, fd: int) -> str:
    """What to say of a file that is kept elsewhere than where it belongs, and of what to do with it."""
    if not layout.is_offsets(os.path.basename(path)):
        return ""
    images = entries_of(name, fd)
    what = "images"
    if images is not None:
        shown = ", ".join(map(to_str, list(images)[:_SAID]))
        what = f"{counted(len(images), 'image')} ({shown}{', …' if len(images) > _SAID else ''})"
    return f", which lists {what}: put it into its dataset, as {os.path.basename(path)}, or remove it if they're there"


def _is_own(folder: str, name: str) -> bool:
    path = f"{folder}/{name}"
    return layout.is_offsets(os.path.basename(path)) or is_blob(path)


def _listed(folder: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
