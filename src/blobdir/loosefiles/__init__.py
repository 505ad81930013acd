"""Loose files of a project: looked at and read as they are now, on this machine or behind a backend.

People edit and replace them at any time, and an image made of two is worse than an error. So whoever reads one in more
than one piece opens it: `LooseFiles.open` gives the version of that moment, and it lives with its reader, not with the
row, which others read too.

- *On this machine* it's a descriptor, so one that was replaced or removed is read on as it was. It's one of the budget
  of the process (`blobdir.descriptors`): it may be closed, and then the path is opened again. Size, times and inode are
  compared then, and size and times after each read, since somebody may write to the file itself. The time of change
  counts, which nobody can set, unless a name of the file has come or gone, which is no change of its content.
- *Behind a backend* a small file is read whole. Of another one, size and version (etag, else time) are asked for, and
  each answer is compared with them. An answer that is shorter than the file is asked for anew, and an error then.

What isn't there is a `NotFoundError`, or a `ReadError` where the disk isn't that it was on: nobody knows what is on one
that was taken away. A folder that isn't there is as it was when it was last looked at, or else when the project was
opened: what is in its place, or above it, may be open to more people. Another version is a `SourceChangedError`, at
each read. The size of an open file is that of its version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdir.loosefiles.local import local_files
from blobdir.loosefiles.model import LooseFiles, OpenFile
from blobdir.loosefiles.none import no_files
from blobdir.loosefiles.remote import remote_files
from blobdir.sources import LocalStorage, RemoteStorage

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.index import Index
    from blobdir.sources import Storage

__all__ = ["LooseFiles", "OpenFile", "loose_files"]


def loose_files(storage: Storage, index: Index, path: Callable[[int], str]) -> LooseFiles:
    """Those of a tree; `path` gives the path of a row."""
    if index.header.options.get("tars"):
        return no_files(storage, index, path)
    if isinstance(storage, RemoteStorage):
        return remote_files(storage, index, path)
    if isinstance(storage, LocalStorage):
        return local_files(storage, index, path)
    raise TypeError(f"unknown storage {type(storage).__name__}")
