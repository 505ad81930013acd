"""Offsets files that ``verify --repair`` couldn't read, and kept.

What they named isn't known. The images that the repair gave back are named again; of the others nobody can tell those
that were removed from those that had no annotation. As long as such a file is kept, `compact` takes none for removed.
So it goes where its blob goes, and has a name of that: `merge` gives it the blob's new one, `subset` takes it along,
and a name that only a backup has is given to no other blob. `compact` leaves it where it is: all in new blobs is named.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.errors import BlobdirError
from blobdir.offsets import read_offsets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.sources import Folder
    from blobdir.sources.local import LocalStorage

_MARK: Final = ".backup-"
_TAIL: Final = re.compile(r"\.backup-\d{8}-\d{6}(-\d{1,3})?")


def backup_name(pickle: str, when: str, number: int = 0) -> str:
    """Name of the `number`-th backup of a pickle of a second: no reader takes it for one, and it's a name's length."""
    return _with_tail(pickle, f".backup-{when}{f'-{number}' if number else ''}")


def is_backup_of(name: str, pickle: str) -> bool:
    """Whether a file is called like a backup of a pickle; both are names without folders."""
    tail = _split(name)[1]
    return bool(tail) and name == _with_tail(pickle, tail)


def backed_up(name: str) -> str:
    """Stem of the blob whose pickle's backup a file is called like, as far as it fits in; empty for other names."""
    kept, tail = _split(name)
    if not tail:
        return ""
    if len(os.fsencode(name)) < layout.NAME_MAX_BYTES:
        return kept.removesuffix(layout.OFFSETS_SUFFIX) if layout.is_offsets(kept) else ""
    ends = (layout.OFFSETS_SUFFIX[:size] for size in range(len(layout.OFFSETS_SUFFIX), 0, -1))
    return next((kept.removesuffix(end) for end in ends if kept.endswith(end)), kept)


def is_backup_of_any(path: str, blobs: Iterable[str]) -> bool:
    """Whether a file is called like a backup of a pickle of one of some blobs; all are paths in a project."""
    folder, name = layout.blobs_of(path), path.rpartition("/")[2]
    if not backed_up(name):
        return False
    stems = [blob[len(folder) + 1 :].rpartition(".")[0] for blob in blobs if blob.rpartition("/")[0] == folder]
    return any(is_backup_of(name, f"{stem}{layout.OFFSETS_SUFFIX}") for stem in stems)


def renamed_backup(name: str, pickle: str) -> str:
    """Name of a backup for a pickle that gets another name."""
    return _with_tail(pickle, _split(name)[1])


def _split(name: str) -> tuple[str, str]:
    """What a name has before the end of a backup's, and that end, empty where it's no backup's."""
    tails = list(_TAIL.finditer(name))
    at = tails[-1].start() if tails and tails[-1].end() == len(name) else len(name)
    return name[:at], name[at:]


def _with_tail(pickle: str, tail: str) -> str:
    return os.fsdecode(os.fsencode(pickle)[: layout.NAME_MAX_BYTES - len(tail)]) + tail


def backups_in(folders: Iterable[Folder]) -> list[str]:
    """Paths of all files of a project that are called like backups."""
    return [
        layout.join(folder.path, entry.name)
        for folder in folders
        for entry in folder.entries
        if _MARK in entry.name and backed_up(entry.name)
    ]


def unreadable_backup(storage: LocalStorage, backups: Iterable[str], blob: str) -> str | None:
    """Find a kept pickle of a blob that can't be read in full.

    Parameters
    ----------
    storage : LocalStorage
    backups : iterable of str
        All of the project, see `backups_in`.
    blob : str
        Its path.
    """
    return next((path for path in backups if is_backup_of_any(path, [blob]) and not _is_read(storage, path)), None)


def _is_read(storage: LocalStorage, path: str) -> bool:
    try:
        data = storage.read(path)
        read_offsets(data, name=path, on_conflict="skip")
    except (BlobdirError, OSError):
        return False
    return bool(data)
