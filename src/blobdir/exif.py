"""How an image is turned: found and read as OpenCV does it, so that pictures are turned where the SDK turns them.

==== ===============================================================================================================
JPEG all segments ``APP1`` that begin with ``Exif`` and two NULs; the first that has an orientation counts
PNG  one chunk ``eXIf``, before or behind the pixels: the first whose checksum is right and that begins as TIFF does;
     of one with several frames none
WebP the first chunk ``EXIF``, if the header says that there is one; nothing may stand in front of it
TIFF its own tag, where that is one number, of any type
==== ===============================================================================================================

In EXIF, an orientation has 16 bits, whatever type it claims, and what comes behind a damaged entry isn't read. XMP and
text chunks don't count, and other formats are never turned.
"""

from __future__ import annotations

import struct
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from blobdir.jpegs import APP1, segments
from blobdir.tiffs import Directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from PIL import Image

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PREFIX: Final = b"Exif\0\0"
_MARK: Final = 42
_BEGINNINGS: Final = (b"II*\0", b"MM\0*")
_ORIENTATION: Final = 0x0112
_SHORTS: Final = frozenset({0x0128, 0x0213})
_TEXTS: Final = frozenset({0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x8298})
_FRACTIONS: Final = {0x011A: 1, 0x011B: 1, 0x013E: 2, 0x013F: 6, 0x0211: 3, 0x0214: 6}
"""Entries that are somewhere else -> how many fractions they are."""
_MOST_BYTES: Final = 8_000_000
"""Of a chunk: what libpng reads."""
_CHUNKS: Final = 100_000
"""Of a PNG file that are looked at. Those of pixels have 8 KiB, but where somebody wants to keep others busy."""


def orientation(image: Image.Image, file: BinaryIO) -> int:
    """Orientation of an image, 1 to 8; 1 where there is none, or it's damaged.

    Parameters
    ----------
    image : Image
        Opened by Pillow.
    file : file
        That it was opened from; it stays where it is.
    """
    at = file.tell()
    try:
        value = _found(image, file)
    finally:
        file.seek(at)
    return _known(value)


def png_orientation(file: BinaryIO) -> int:
    """Orientation of a PNG file, 1 to 8."""
    return _known(_read(_of_png(file)))


def jpeg_orientation(file: BinaryIO) -> int:
    """Orientation of a JPEG file, 1 to 8."""
    return _known(next((value for data in _of_jpeg(file) if (value := _read(data)) is not None), None))


def _known(value: int | None) -> int:
    return value if value is not None and 1 <= value <= 8 else 1


def _found(image: Image.Image, file: BinaryIO) -> int | None:
    if image.format == "TIFF":
        return Directory(file).orientation()
    if image.format in ("JPEG", "MPO"):
        return jpeg_orientation(file)
    if image.format == "PNG":
        return png_orientation(file)
    return _read(image.info.get("exif", b"")) if image.format == "WEBP" else None


def _of_jpeg(file: BinaryIO) -> Iterator[bytes]:
    """The EXIF data of a JPEG file: nothing else is read of what stands in front of its pixels."""
    for marker, at, size in segments(file):
        if marker == APP1 and size >= 2 + len(_PREFIX):
            file.seek(at + 4)
            data = file.read(size - 2)
            if data.startswith(_PREFIX) and len(data) == size - 2:
                yield data[len(_PREFIX) :]


def _of_png(file: BinaryIO) -> bytes:
    """The EXIF data of a PNG file: nothing but the beginnings of chunks is read besides."""
    found, behind = b"", False
    for kind, at, size in _chunks(file):
        if kind == b"acTL" and not behind and _frames(file, at) > 1:
            return b""
        behind = behind or kind == b"IDAT"
        if kind == b"eXIf" and not found and size <= _MOST_BYTES:
            file.seek(at)
            data, checksum = file.read(size), file.read(4)
            if data[:4] in _BEGINNINGS and checksum == struct.pack(">I", zlib.crc32(kind + data)):
                found = data
        if behind and found:
            break
    return found


def _frames(file: BinaryIO, at: int) -> int:
    file.seek(at)
    return int.from_bytes(file.read(4), "big")


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, place and size of what is in each chunk of a PNG file."""
    at = len(PNG_SIGNATURE)
    for _ in range(_CHUNKS):
        file.seek(at)
        beginning = file.read(8)
        if len(beginning) < 8 or beginning.endswith(b"IEND"):
            return
        size, kind = struct.unpack(">I4s", beginning)
        yield kind, at + 8, size
        at += 12 + size


def _read(data: bytes) -> int | None:
    """The first orientation in EXIF data."""
    order = "<" if data.startswith(b"II") else ">"  # whatever else stands there
    if data[2:4] != struct.pack(order + "H", _MARK):
        return None

    def number(kind: str, at: int) -> int:
        found: int = struct.unpack_from(order + kind, data, at)[0]
        return found

    with suppress(struct.error):  # it ends
        start = number("I", 4)
        for at in range(start + 2, start + 2 + 12 * number("H", start), 12):
            tag = number("H", at)
            if tag == _ORIENTATION:
                return number("H", at + 8)
            _look_at(tag, at, number, len(data))
    return None


def _look_at(tag: int, at: int, number: Callable[[str, int], int], most: int) -> None:
    """Look at another entry as OpenCV does, which reads no further where something of it isn't there.

    Raises
    ------
    struct.error
    """
    if tag in _SHORTS:
        number("H", at + 8)
    elif tag in _TEXTS:
        size = number("I", at + 4)
        if (number("I", at + 8) if size > 4 else 8) + size > most:
            raise struct.error
    elif count := _FRACTIONS.get(tag):
        number("I", number("I", at + 8) + 8 * count - 4)
