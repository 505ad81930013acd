"""What a file is that is given where a project, or a list, belongs."""

from __future__ import annotations

import os
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from blobdir.inside import open_plain

if TYPE_CHECKING:
    from typing import BinaryIO

AS_IT_IS: Final = "as it is"
OF_ANOTHER_NAME: Final = "as it is if its name ends in .tar (that of a symbolic link will do)"
IS_TAR: Final = (
    f"is a tar, not a blob project: it can be listed, copied from, verified and mounted {AS_IT_IS}; to pack or change "
    "what is in it, unpack it (tar -xf); or, if a project is to serve its images from it, put it into the project's "
    "blob/, and `blobdir offsets --output DATASET` writes where they lie"
)
_LOOKED_AT: Final = 100
"""Members of a tar that are looked at."""
_NO_TAR: Final = (tarfile.TarError, OSError, ValueError, EOFError, OverflowError, RecursionError, MemoryError)
_PARQUET: Final = b"PAR1"
_COMPRESSED: Final = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"PK\x03\x04", "zip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
)


def kind_of_file(path: str) -> str:
    """What a file is and what to do with it, as the end of a sentence; empty where that isn't known."""
    try:
        with open(open_plain(path), "rb") as file:
            beginning = file.read(8)
            found = next((kind for magic, kind in _COMPRESSED if beginning.startswith(magic)), "")
            if found:
                what = f"is a compressed archive ({found}): unpack it, and give the folder that holds meta.json"
                return what + _as_tar(found)
            if beginning.startswith(_PARQUET):
                return "is a Parquet table, and neither a project nor images"
            file.seek(0)
            return _kind_of_tar(file)
    except OSError:
        return ""


def _as_tar(kind: str) -> str:
    """What else to do with an archive, so that it needn't be unpacked."""
    if kind not in ("zip", "7z"):
        return ""
    return f"; or make a tar of it, which is opened as it is: bsdtar -cf images.tar @images.{kind}"


def _kind_of_tar(file: BinaryIO) -> str:
    names: list[str] = []
    tables = 0
    with suppress(*_NO_TAR), tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            names.append(member.name)
            if member.isfile() and (content := tar.extractfile(member)) and content.read(4) == _PARQUET:
                tables += 1
            if len(names) == _LOOKED_AT:
                break
    if not names:
        return ""
    if tables:
        return (
            "is a snapshot of the platform: a tar of Parquet tables, without the bytes of images; restore it on the "
            "platform, and download the project from there"
        )
    bases = {os.path.basename(name.rstrip("/")) for name in names}
    if "meta.json" in bases:
        return "is a tar of a project: unpack it (tar -xf), and give the folder that holds meta.json"
    return IS_TAR
