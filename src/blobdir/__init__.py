"""Blob projects (small images packed in tars, with offset pickles) as ordinary folders.

>>> import blobdir
>>> project = blobdir.open_project("/data/lemons")          # doctest: +SKIP
>>> project["train"].get_blob_img_bytes("a.jpg")            # doctest: +SKIP

The same tree through fsspec: ``fsspec.filesystem("blobdir", fo="/data/lemons")``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from blobdir.version import __version__

if TYPE_CHECKING:
    from blobdir.errors import BlobdirError, BlobdirWarning
    from blobdir.filesystem import BlobDirFileSystem
    from blobdir.imagestore import ImageStore
    from blobdir.mounting import Mount, MountOptions, mount, umount
    from blobdir.offsets import BlobImageInfo, get_file_offsets_batch_generator, save_blob_offsets_pkl
    from blobdir.packing import PackOptions, PackReport, pack
    from blobdir.project import Dataset, Project, open_project

_HOME = {
    "BlobDirFileSystem": "filesystem",
    "BlobImageInfo": "offsets",
    "BlobdirError": "errors",
    "BlobdirWarning": "errors",
    "Dataset": "project",
    "ImageStore": "imagestore",
    "Mount": "mounting",
    "MountOptions": "mounting",
    "PackOptions": "packing",
    "PackReport": "packing",
    "Project": "project",
    "get_file_offsets_batch_generator": "offsets",
    "mount": "mounting",
    "open_project": "project",
    "pack": "packing",
    "save_blob_offsets_pkl": "offsets",
    "umount": "mounting",
}

__all__ = [
    "BlobDirFileSystem",
    "BlobImageInfo",
    "BlobdirError",
    "BlobdirWarning",
    "Dataset",
    "ImageStore",
    "Mount",
    "MountOptions",
    "PackOptions",
    "PackReport",
    "Project",
    "__version__",
    "get_file_offsets_batch_generator",
    "mount",
    "open_project",
    "pack",
    "save_blob_offsets_pkl",
    "umount",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for, when it's asked for: the command line starts in the time of what it uses."""
    if name in _HOME:
        return getattr(import_module(f"blobdir.{_HOME[name]}"), name)
    raise AttributeError(f"module 'blobdir' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
