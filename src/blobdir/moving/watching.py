"""Projects that are read as a whole: what comes of one is of one version, or that is an error.

On this machine its lock is shared (`blobdir.packing.locking.unmixed`). Behind a backend there is none: what is there is
listed before anything is read, and once more at the end.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.errors import BlobdirError, SourceChangedError
from blobdir.moving.remotefiles import (
    JOURNAL,
    PUSHING,
    RemoteFiles,
    ask_versions,
    files_of,
    is_own,
    is_still,
    list_keys,
    list_remote,
    same_version,
    says_version,
    two_lengths,
)
from blobdir.packing.locking import MIXED, unmixed
from blobdir.sources import LocalStorage, RemoteStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.packing.locking import Check
    from blobdir.sources import Stat, Storage
    from blobdir.sources.keys import Keys

SHOWN: Final = 3
_MARKS: Final = (layout.META, PUSHING, JOURNAL)
"""What every push changes: ``meta.json`` is away until all is there."""


class Watched:
    """A project behind a backend, as it was listed.

    Parameters
    ----------
    storage : RemoteStorage
    keys : Keys
        What was listed.

    Attributes
    ----------
    found : RemoteFiles
    seen : dict
        Path -> version of what is read; it has to be there still at the end.
    """

    def __init__(self, storage: RemoteStorage, keys: Keys) -> None:
        self._storage = storage
        self.found: RemoteFiles = files_of(storage, keys)
        self.seen: dict[str, Stat] = {}

    def see_all(self) -> None:
        """Take the versions of all files for those that are read; where a listing has none, of what matters most."""
        files = self.found.files
        self.seen |= {path: stat for path, stat in files.items() if says_version(stat)}
        heads = [path for path in files if path == layout.META or layout.is_offsets(path)]
        self.seen |= ask_versions(self._storage, files, heads)

    def changed(self) -> str:
        """What is different by now, in words, when the project is listed once more; empty where nothing is."""
        now, found = list_remote(self._storage), self.found
        changed = [path for path in now.files if path not in found.files]
        changed += [path for path in (PUSHING, JOURNAL) if path in now.own]
        changed += [path for path in found.files if path not in now.files]
        changed += sorted(now.odd.keys() ^ found.odd.keys())
        changed += [f"{path}/" for path in sorted(now.folders ^ found.folders) if not is_own(path)] * (not changed)
        versions, why = ask_versions(self._storage, now.files, self.seen, self.seen), ""
        for path, then in self.seen.items():
            if path in versions and not (same_version if says_version(then) else is_still)(then, versions[path]):
                changed.append(path)
                why = why or two_lengths(then, versions[path])
        more = f" and {len(changed) - SHOWN:,} more" if len(changed) > SHOWN else ""
        return f"{', '.join(changed[:SHOWN])}{more}{why}"


@contextmanager
def read_whole(storage: Storage, *, listing: bool = True) -> Iterator[Check]:
    """Read a project, from before it's opened until something of it is made; nothing is written into it.

    Parameters
    ----------
    storage : Storage
        Of a project on this machine, others can't change it meanwhile, or see `blobdir.packing.locking.unmixed`.
    listing : bool
        Whether a project behind a backend is listed before and after. Without, or where it can't be, only what each
        push of blobdir changes is asked for.

    Yields
    ------
    callable
        Raises `SourceChangedError` where the project was changed since; it's given what to do then. To be called before
        what was made gets its name.
    """
    if isinstance(storage, LocalStorage):
        with unmixed(storage.root) as check:
            yield check
    elif isinstance(storage, RemoteStorage):
        yield _watching(storage, listing=listing)
    else:
        raise TypeError(f"unknown storage {type(storage).__name__}")


def _watching(storage: RemoteStorage, *, listing: bool) -> Check:
    watched = _listed(storage) if listing else None
    marks = {} if watched is not None else storage.stat_many(_MARKS)

    def check(then: str) -> None:
        if watched is not None:
            changed = watched.changed()
        else:
            now = storage.stat_many(_MARKS)
            changed = ", ".join(path for path in _MARKS if marks.get(path) != now.get(path))
        if changed:
            raise SourceChangedError(f"{storage.url}: {MIXED}: {changed}; {then}")

    return check


def _listed(storage: RemoteStorage) -> Watched | None:
    """What is there; None where that can't be known: who opens the project says why, if it matters."""
    try:
        watched = Watched(storage, list_keys(storage))
        watched.see_all()
    except (OSError, BlobdirError):
        return None
    return watched
