"""Offsets files that ``verify --repair`` couldn't read, and kept.

What they named isn't known. The images that the repair gave back are named again; of the others nobody can tell those
that were removed from those that had no annotation. As long as such a file is kept, `compact` takes none for removed.
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

_TAIL: Final = re.compile(r"\.backup-\d{8}-\d{6}(-\d{1,3})?")


def backup_name(pickle: str, when: str, number: int = 0) -> str:
    """Name of the `number`-th backup of a pickle of a second: no reader takes it for one, and it's a name's length."""
    tail = f".backup-{when}{f'-{number}' if number else ''}"
    return os.fsdecode(os.fsencode(pickle)[: layout.NAME_MAX_BYTES - len(tail)]) + tail


def is_backup_of(name: str, pickle: str) -> bool:
    """Whether a file is called like a backup of a pickle; both are names without folders."""
    tails = list(_TAIL.finditer(name))
    if not tails or tails[-1].end() != len(name):
        return False
    tail = tails[-1]
    kept = os.fsencode(pickle)[: layout.NAME_MAX_BYTES - len(tail[0])]
    return os.fsencode(name[: tail.start()]) == kept


def unreadable_backup(storage: LocalStorage, folders: Iterable[Folder], blobs: str, stem: str) -> str | None:
    """Find a kept pickle of a blob that can't be read in full.

    Parameters
    ----------
    storage : LocalStorage
    folders : iterable of Folder
        All of the project.
    blobs, stem : str
        Folder of the blob, and its name without the extension.
    """
    pickle = f"{stem}{layout.OFFSETS_SUFFIX}"
    for folder in folders:
        if blobs != layout.blobs_of(layout.join(folder.path, pickle)):
            continue
        for entry in folder.entries:
            path = layout.join(folder.path, entry.name)
            if is_backup_of(entry.name, pickle) and not _is_read(storage, path):
                return path
    return None


def _is_read(storage: LocalStorage, path: str) -> bool:
    try:
        data = storage.read(path)
        read_offsets(data, name=path, on_conflict="skip")
    except (BlobdirError, OSError):
        return False
    return bool(data)
