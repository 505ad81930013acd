"""The end of a push: what is there is exactly the project, and nothing else, before anybody takes it for one.

Listed twice: before the index is written, which is made of that list, and when the mark was taken away.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blobdir.discovery import DiscoveryOptions, layout
from blobdir.errors import BusyError
from blobdir.filenames import parents_of
from blobdir.index import index_to_bytes
from blobdir.moving.claim import AGAIN, Claim
from blobdir.moving.indexmark import IndexMark, version_of_index
from blobdir.moving.remotefiles import (
    INDEXING,
    PUSHING,
    files_of,
    is_own,
    is_still,
    keeps_markers,
    list_keys,
    list_remote,
)
from blobdir.opening import BESIDE_FILE, build, refuse_unread, save_beside
from blobdir.sources import Stat
from blobdir.sources.transports import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blobdir.index import Index
    from blobdir.moving.localfiles import LocalFile
    from blobdir.moving.remotefiles import RemoteFiles
    from blobdir.moving.uploading import Uploader
    from blobdir.sources import RemoteStorage
    from blobdir.sources.keys import Keys

SHOWN = 3


@dataclass(slots=True)
class Expected:
    """What is at a place when all was uploaded.

    Attributes
    ----------
    files : dict
        Path -> which version of it is there; only the size where nobody has said more. After `finish`, as it was
        listed.
    empty : list of str
        Folders with nothing in them.
    others : set of str
        Folders that may be there too: they were before, and mean nothing.
    odd : set of str
        Keys that are there still, and will be removed.
    """

    files: dict[str, Stat]
    empty: list[str] = field(default_factory=list)
    others: set[str] = field(default_factory=set)
    odd: set[str] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        local: Mapping[str, LocalFile],
        empty: list[str],
        sent: Mapping[str, Stat],
        before: RemoteFiles,
    ) -> Expected:
        """From what was uploaded, and what was there already."""
        files = {}
        for path, file in local.items():
            stat = sent.get(path) or before.files.get(path) or UNKNOWN
            files[path] = stat if stat.size == file.size else Stat("file", file.size)
        return cls(files, empty, set(before.folders))

    def wrong(self, now: RemoteFiles, there: RemoteStorage) -> dict[str, str]:
        """Path -> what isn't as it should be there."""
        found = {}
        for path, then in self.files.items():
            is_ = now.files.get(path)
            if is_ is None:
                found[path] = "isn't there after all was uploaded"
            elif is_.size not in (-1, then.size):
                found[path] = f"has {is_.size:,} of {then.size:,} bytes there after all was uploaded"
            elif not is_still(then, is_):
                found[path] = "was written there by somebody else meanwhile"
        foreign = "came there meanwhile, and isn't the project's"
        found |= {path: foreign for path in now.files if path not in self.files}
        found |= {name: foreign for name in now.odd if name not in self.odd}
        if not found and (there.has_folders or keeps_markers(there)):
            mine = {parent for path in (*self.files, *self.empty) for parent in parents_of(path)} | set(self.empty)
            found |= {
                f"{path}/": "isn't there after all was uploaded" for path in self.empty if path not in now.folders
            }
            come = now.folders - mine - self.others
            found |= {f"{path}/": foreign for path in come if not is_own(path)}
        return found


def finish(there: RemoteStorage, claim: Claim, expected: Expected, uploader: Uploader, *, index: bool) -> Index | None:
    """Make sure that all is there, put an index beside it, and say that it's whole.

    Returns
    -------
    Index, optional
        None without `index`, or where something isn't there: that stands in the report, and the mark stays.

    Raises
    ------
    BusyError
        Somebody else writes there too. What is there doesn't look finished then.
    ReadError
        The index can't be written, or something can't be removed that would be believed.
    """
    keys = list_keys(there)
    now = files_of(there, keys)
    if wrong := expected.wrong(now, there):
        uploader.report.failed.update(wrong)
        return None
    alone = index and not claim.held  # nothing else says that what is there isn't to be believed yet
    kept = {PUSHING, BESIDE_FILE, *([INDEXING] if alone else [])}
    own = {path: there.full(path) for path in now.own if path not in kept}
    own |= {BESIDE_FILE: there.full(BESIDE_FILE)} if not index and BESIDE_FILE in now.own else {}
    if not uploader.remove(own):
        return None
    if claim.held:
        claim.touched()
    expected.files = now.files
    built = _build(there, keys) if index else None
    seen = Expected(now.files, expected.empty, now.folders)
    with IndexMark(there) if alone else nullcontext(claim if claim.held else None) as mark:
        written = {}
        if built is not None:
            written[BESIDE_FILE] = _put_index(there, built, mark, now)
            uploader.report.index = f"{there.url}/{BESIDE_FILE}"
        if isinstance(mark, Claim):
            mark.give_back()
        _look_again(there, seen, written, mark)
    if there.has_folders and not index:
        uploader.remove_folders([layout.STATE_DIR])
    return built


def _build(there: RemoteStorage, keys: Keys) -> Index:
    built = build(there.as_listed([key for key in keys if not is_own(key[0])]), DiscoveryOptions())
    refuse_unread(built, there)
    return built


def _put_index(there: RemoteStorage, built: Index, mark: Claim | IndexMark | None, now: RemoteFiles) -> Stat:
    if isinstance(mark, IndexMark):
        return mark.put(index_to_bytes(built), now)
    save_beside(built, there)
    return version_of_index(there)


def _look_again(
    there: RemoteStorage, expected: Expected, written: dict[str, Stat], mark: Claim | IndexMark | None
) -> None:
    now = list_remote(there)
    wrong = list(expected.wrong(now, there))
    wrong += [path for path in now.own if path not in written and path != INDEXING]  # who writes an index looks too
    lost = [path for path, then in written.items() if path not in now.own or not is_still(then, now.own[path])]
    if isinstance(mark, IndexMark):  # else it's another one's, or of what was there a moment ago
        wrong += lost
        mark.unsure = bool(wrong) and BESIDE_FILE not in wrong
    # Else who has written another index since the mark was away compares it with what is there by himself.
    if not wrong:
        return
    if isinstance(mark, Claim):
        mark.spoil()
    more = f" and {len(wrong) - SHOWN:,} more" if len(wrong) > SHOWN else ""
    raise BusyError(
        f"{there.url}: somebody else writes there at the same time ({', '.join(wrong[:SHOWN])}{more}), so what is "
        f"there may be of both; {AGAIN}"
    )
