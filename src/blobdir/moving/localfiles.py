"""The files of a project on this machine as they are pushed: links are treated as readers treat them, circles end."""

from __future__ import annotations

import os
import stat as stat_module
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blobdir.discovery import copied, layout
from blobdir.discovery.released import WHAT_TO_DO, read_released, whole_of
from blobdir.errors import ReadError
from blobdir.filenames import parents_of
from blobdir.inside import MOST_WAYS
from blobdir.temporary import is_temporary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blobdir.sources import LocalStorage


@dataclass(frozen=True, slots=True)
class LocalFile:
    """One file, as it was when the project was listed.

    Attributes
    ----------
    size : int
        Bytes.
    mtime_ns, ctime_ns, inode : int
        What changes when the content does.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, result: os.stat_result) -> LocalFile:
        """From what the system says."""
        return cls(result.st_size, result.st_mtime_ns, result.st_ctime_ns, result.st_ino)


@dataclass(slots=True)
class LocalFiles:
    """What a project consists of.

    Attributes
    ----------
    files : dict
        Path -> attributes; of a link, those of what it leads to.
    empty : list of str
        Folders with nothing in them: nothing else says that they are there.
    left_out : dict
        Path -> why it can't be copied.
    unreachable : dict
        Those of them that have content, though not in files of the project: links that lead out of it, to what only
        blobs hold, or nowhere just now.
    links : list of str
        Links to folders of the project that are copied as those folders.
    in_blobs : dict
        Those that aren't, since files are only a part of what they show: path -> why.
    emptied : list of str
        Blobs whose images were all removed: nothing refers to them, and what was removed goes nowhere.
    """

    files: dict[str, LocalFile] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)
    emptied: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    in_blobs: dict[str, str] = field(default_factory=dict)

    def leave_out(self, links: Mapping[str, str]) -> None:
        """Leave out some links to folders, with all that lies behind them: path -> why."""
        self.left_out.update((path, why) for path, why in links.items() if not copied.is_below(path, links))
        self.links = [path for path in self.links if not copied.is_behind(path, links)]
        self.files = {path: file for path, file in self.files.items() if not copied.is_behind(path, links)}
        self.empty = [path for path in self.empty if not copied.is_behind(path, links)]
        full = {parent for path in (*self.files, *self.empty) for parent in parents_of(path)} | {"", *self.empty}
        self.empty += sorted({path.rpartition("/")[0] for path in links} - full)

    def leave_unreachable(self, links: Mapping[str, str]) -> None:
        """The same of links to what only blobs hold, to files too."""
        self.in_blobs = {path: links[path] for path in self.links if path in links}
        self.leave_out(self.in_blobs)
        for path in links:
            if path in self.left_out:  # else it lies behind another one
                self.left_out[path] = self.unreachable[path] = links[path]


def list_project(storage: LocalStorage) -> LocalFiles:
    """List the files of a project, but for blobdir's own.

    A link inside the project counts as what it leads to, unless there would be more datasets or images then. One that
    leads out does so only if the storage follows links.

    Raises
    ------
    ReadError
        A folder can't be listed, or a file can't be opened: a copy would be one of a part.
    """
    found, seen = LocalFiles(), _Seen()
    todo = [("", frozenset([storage.root]))]
    while todo:
        path, above = todo.pop()
        try:
            with os.scandir(os.path.join(storage.root, path)) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            raise ReadError(f"{path or storage.root}: can't be listed ({error.strerror}); nothing was done") from error
        kept = 0
        for entry in entries:
            below = layout.join(path, entry.name)
            if below == layout.STATE_DIR or is_temporary(entry.name):
                continue
            kept += 1
            folder = _add(storage, found, entry, below, above)
            if seen.may_enter(storage, found, entry, below, folder):
                todo.append((below, folder or above))
        if path and not kept:
            found.empty.append(path)
    found.links = sorted(seen.links)
    if seen.links and not storage.follow_links:
        _leave_links(found, seen)
    _leave_emptied(storage.root, found)
    return found


class _Seen:
    """What links to folders have led to.

    Attributes
    ----------
    links : set of str
        Paths of links to folders.
    folders : set of str
        Paths of all folders, those behind links too.
    real : set of str
        Those of them, and of the files and links in them, that no link leads to.
    """

    def __init__(self) -> None:
        self.links: set[str] = set()
        self.folders: set[str] = set()
        self.real: set[str] = set()
        self._ways: Counter[str] = Counter()

    def may_enter(
        self,
        storage: LocalStorage,
        found: LocalFiles,
        entry: os.DirEntry[str],
        path: str,
        folder: frozenset[str] | None,
    ) -> bool:
        """Note one; whether it's a folder to look into."""
        is_link = entry.is_symlink()
        if not copied.is_behind(path, self.links):
            self.real.add(path)
        if folder is None:
            return False
        if is_link:
            real = os.path.realpath(os.path.join(storage.root, path))
            self._ways[real] += 1
            if self._ways[real] > MOST_WAYS:
                found.left_out[path] = copied.TOO_MANY
                return False
            self.links.add(path)
        self.folders.add(path)
        return True


def _leave_links(found: LocalFiles, seen: _Seen) -> None:
    """Leave out links to folders behind which the copy would have more datasets or images than the project."""
    real = seen.folders & seen.real - seen.links
    known = copied.datasets_of(real, seen.real - real)
    bad = copied.misleading(seen.links, seen.folders, found.files, known)
    found.leave_out(dict.fromkeys(bad, copied.WHY))


def _leave_emptied(root: str, found: LocalFiles) -> None:
    """Take out the blobs that no dataset has an image in any more, because blobdir removed the last one."""
    keys = layout.blob_keys(found.files)
    used = {key for path, key in keys.items() if layout.is_offsets(path.rpartition("/")[2])}
    known, why = read_released(root)
    unused = [path for path, key in keys.items() if layout.blob_stem(path) is not None and key not in used]
    if why and unused:
        raise ReadError(f"{unused[0]}: no dataset has offsets for it, and {why}: {WHAT_TO_DO}; nothing was done")
    for path in sorted(whole_of(known)):
        if path in found.files and keys.get(path) not in used:
            del found.files[path]
            found.emptied.append(path)


def _add(
    storage: LocalStorage, found: LocalFiles, entry: os.DirEntry[str], path: str, above: frozenset[str]
) -> frozenset[str] | None:
    """Note a file; of a folder, the real paths of it and of those above, by which a circle is known."""
    is_link = entry.is_symlink()
    if is_link and not storage.follow_links and storage.escapes(path):
        why = f"is a link that leads outside the project, to {os.readlink(entry.path)}; --follow-links follows it"
        found.left_out[path] = found.unreachable[path] = why
        return None
    try:
        result = entry.stat()
    except OSError as error:
        if not is_link:
            raise ReadError(f"{path}: {error.strerror}; nothing was done") from error
        why = f"is a link that leads nowhere, to {os.readlink(entry.path)}"
        found.left_out[path] = found.unreachable[path] = why
        return None
    if stat_module.S_ISDIR(result.st_mode):
        real = os.path.realpath(entry.path)
        if real in above:
            found.left_out[path] = f"is a link in a circle, to {os.readlink(entry.path)}"
            return None
        return above | {real}
    if not stat_module.S_ISREG(result.st_mode):
        found.left_out[path] = "is neither file nor folder"
        return None
    if not os.access(entry.path, os.R_OK):
        raise ReadError(f"{path}: can't be read (permission denied); nothing was done")
    found.files[path] = LocalFile.of(result)
    return None


def changes_between(then: LocalFiles, now: LocalFiles) -> dict[str, str]:
    """Path -> what became of a file, or of an empty folder, between two lists of a project."""
    found = {path: "was removed while it was being pushed" for path in then.files if path not in now.files}
    found |= {path: "was added while it was being pushed" for path in now.files if path not in then.files}
    found |= {
        path: "was changed after it was uploaded"
        for path, file in then.files.items()
        if path in now.files and now.files[path] != file
    }
    if not found:
        odd = {*then.empty} ^ {*now.empty} | {*then.left_out} ^ {*now.left_out}
        found |= dict.fromkeys(odd, "was added, removed or changed while the project was being pushed")
    return found
