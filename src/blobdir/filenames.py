"""What the name of a file or folder says about it, in a folder or in a tar."""

from __future__ import annotations

import os
import re
from posixpath import splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.projectlock import STATE_DIR

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

OFFSETS_SUFFIX: Final = "_offsets.pkl"
BLOB_DIR: Final = "blob"
ITEMS: Final = "img"
ANNOTATIONS: Final = "ann"
PACKED_ANNOTATIONS: Final = "ann.blob"
MAKE_DATASET: Final = frozenset((ITEMS, ANNOTATIONS, PACKED_ANNOTATIONS))
"""A folder that holds one of these folders is a dataset; so is one that holds an offsets file."""
_ITEM_FOLDERS: Final = MAKE_DATASET | {"img_info", "meta", "seg"}
_MASKS: Final = "masks_"
IMAGE_EXTENSIONS: Final = frozenset(
    (".jpg", ".jpeg", ".mpo", ".bmp", ".png", ".webp", ".tiff", ".tif", ".nrrd", ".jfif")
)
"""What the SDK takes for an image among plain files; members of blobs are images whatever their extension."""
JUNK_FOLDERS: Final = frozenset(("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"))
_LEFT_ANYWHERE: Final = JUNK_FOLDERS | {
    "lost+found",
    "@Recycle",
    "#recycle",
    "@Recently-Snapshot",
    "4913",
    "ehthumbs.db",
}
_OF_EDITORS: Final = re.compile(r".*~|#.*#|.*\.sw[a-p]|core(\.\d+)?", re.DOTALL)
"""Backups, files that somebody is editing, and dumps of programs."""
JUNK_FILES: Final = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))
SIDE_EXTENSIONS: Final = frozenset(
    (
        ".json", ".jsn", ".jsonl", ".txt", ".text", ".transcript", ".caption", ".md", ".csv", ".tsv", ".xml", ".yaml",
        ".yml", ".url", ".cls", ".cls2", ".class", ".count", ".index", ".inx", ".id", ".npy", ".npz", ".pyd", ".pickle",
        ".pkl", ".pth", ".mp", ".msgpack", ".cbor", ".ten", ".tb",
    )
)  # fmt: skip
"""What WebDataset keeps beside an image, in a member of the same key."""
IMAGE_NAMES: Final = " ".join(sorted(IMAGE_EXTENSIONS))
"""The same, in messages."""
_APPLE_DOUBLE: Final = "._"
_URL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*(://|::[^/]*)", re.ASCII)
"""How a URL begins, chained or not: with the name of a backend."""


def is_image_name(name: str) -> bool:
    """Whether the SDK takes a plain file of this name for an image."""
    return splitext(name)[1].lower() in IMAGE_EXTENSIONS


def is_path(text: str) -> bool:
    """Whether what somebody types is a path on this machine, and not a URL.

    It is one if it doesn't begin with the name of a backend, as ``./a::b`` and ``/data/x://y`` don't; or if there is
    something of that name here: ``a::b/train``, where ``a::b`` is a folder.
    """
    found = _URL.match(text)
    return found is None or (found[1] != "://" and os.path.lexists(found[0]))


def parents_of(path: str) -> Iterator[str]:
    """The folders that a path lies in, the nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def is_item_folder(name: str) -> bool:
    """Whether a folder of a dataset that has this name holds what belongs to images, or the images."""
    return name in _ITEM_FOLDERS or name.startswith(_MASKS)


def is_own_folder(name: str) -> bool:
    """Whether a folder of a dataset has this very name, and none that only begins like it, as ``masks_x``."""
    return name in _ITEM_FOLDERS


def folders_of_format(parent: str, names: Collection[str]) -> set[str]:
    """Which names of a folder of a project are those of folders that the format has there.

    Parameters
    ----------
    parent : str
        Path of the folder in the project, empty for the project's own.
    names : collection of str
        All that are in it.
    """
    if not parent:
        return {BLOB_DIR}.intersection(names)
    if parent.partition("/")[0] in (BLOB_DIR, STATE_DIR):
        return set()
    if MAKE_DATASET.isdisjoint(names) and not any(name.endswith(OFFSETS_SUFFIX) for name in names):
        return set()
    return set(filter(is_item_folder, names))


def is_junk(name: str) -> bool:
    """Whether a file is what an operating system keeps beside others, and none of the user's."""
    return name in JUNK_FILES or name.startswith(_APPLE_DOUBLE)


def is_left_anywhere(name: str) -> bool:
    """Whether a file or folder is hidden, or what systems, servers and editors leave in any folder of a disk."""
    return name.startswith(".") or is_junk(name) or name in _LEFT_ANYWHERE or _OF_EDITORS.fullmatch(name) is not None


def are_plain(paths: list[Any]) -> bool:
    """Whether all are paths as fsspec has them: no protocol, no slash at either end, no pattern.

    One look at all of them together, since a look at each costs as much as reading it.
    """
    try:
        joined = "\0".join(["", *paths, ""])
    except TypeError:
        return False
    return not any(odd in joined for odd in ("*", "?", "[", "\0/", "/\0", "//", "\0.", "/."))
