"""Where bytes come from: folders and files on this machine, or behind any fsspec backend.

A `Storage` is the root of one project; a `Source` is one file in it, read by byte range.
"""

from blobdir.sources.config import storage_options
from blobdir.sources.local import LocalSource, LocalStorage
from blobdir.sources.model import readable
from blobdir.sources.options import RemoteOptions, parse_size
from blobdir.sources.places import split_copies
from blobdir.sources.remote import RemoteStorage
from blobdir.sources.remotefile import RemoteSource
from blobdir.sources.storage import (
    Entry,
    Folder,
    Source,
    Stat,
    Storage,
    backend_of,
    behind_backend,
    on_this_machine,
    open_storage,
)

__all__ = [
    "Entry",
    "Folder",
    "LocalSource",
    "LocalStorage",
    "RemoteOptions",
    "RemoteSource",
    "RemoteStorage",
    "Source",
    "Stat",
    "Storage",
    "backend_of",
    "behind_backend",
    "on_this_machine",
    "open_storage",
    "parse_size",
    "readable",
    "split_copies",
    "storage_options",
]
