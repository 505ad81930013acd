"""What the name of a file says about it, in a folder or in a tar."""

from __future__ import annotations

from typing import Final

IMAGE_EXTENSIONS: Final = frozenset(
    (".jpg", ".jpeg", ".mpo", ".bmp", ".png", ".webp", ".tiff", ".tif", ".nrrd", ".jfif")
)
"""What the SDK takes for an image among plain files; members of blobs are images whatever their extension."""
JUNK_FOLDERS: Final = frozenset(("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"))
JUNK_FILES: Final = frozenset((".DS_Store", "Thumbs.db", "desktop.ini"))
SIDE_EXTENSIONS: Final = frozenset(
    (
        ".json", ".jsn", ".jsonl", ".txt", ".text", ".transcript", ".caption", ".md", ".csv", ".tsv", ".xml", ".yaml",
        ".yml", ".url", ".cls", ".cls2", ".class", ".count", ".index", ".inx", ".id", ".npy", ".npz", ".pyd", ".pickle",
        ".pkl", ".pth", ".mp", ".msgpack", ".cbor", ".ten", ".tb",
    )
)  # fmt: skip
"""What WebDataset keeps beside an image, in a member of the same key."""
_APPLE_DOUBLE: Final = "._"


def is_junk(name: str) -> bool:
    """Whether a file is what an operating system keeps beside others, and none of the user's."""
    return name in JUNK_FILES or name.startswith(_APPLE_DOUBLE)
