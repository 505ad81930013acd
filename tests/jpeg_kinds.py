"""JPEG files with what their pixels don't need, damaged in ways that libjpeg, and with it the SDK, doesn't mind."""

from __future__ import annotations

import struct
from typing import Final

from odd_images import PICTURE, PREFIX, TURNED, save

PICTURES: Final = {
    "RGB": save("JPEG", quality=90),
    "gray": save("JPEG", picture=PICTURE.convert("L")),
    "CMYK": save("JPEG", picture=PICTURE.convert("CMYK")),
    "progressive": save("JPEG", progressive=True),
    "colours as they are": save("JPEG", keep_rgb=True),
}


def segment(marker: int, content: bytes, size: int | None = None) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2 if size is None else size) + content


NOT_NEEDED: Final = {
    **{f"Adobe, {size} bytes": segment(0xEE, b"Adobe\0d\0\0\0\0\1"[:size]) for size in (5, 6, 7, 11)},
    **{f"JFIF, {size} bytes": segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"[:size]) for size in (4, 5, 6, 7, 13)},
    "JFIF of nothing": segment(0xE0, b"JFXX\0\x10"),
    "EXIF": segment(0xE1, PREFIX),
    "EXIF that ends": segment(0xE1, PREFIX + b"MM\0*\0\0\0\x08\0\1"),
    "XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x"),
    "pictures that aren't there": segment(0xE2, b"MPF\0II*\0\x08\0\0\0\2\0"),
    "pictures": segment(0xE2, b"MPF\0"),
    "profile": segment(0xE2, b"ICC_PROFILE\0\1\3x"),
    "profile that ends": segment(0xE2, b"ICC_PROFILE\0"),
    "FlashPix": segment(0xE2, b"FPXR\0"),
    "Photoshop": segment(0xED, b"Photoshop 3.0\x008BIM"),
    "Photoshop's resolution": segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\x01x"),
    "a comment": segment(0xFE, b"\xff\xd8\xff\xda"),
    "a length of 0": segment(0xE3, b"", 0),
    "a length of 1": segment(0xFE, b"", 1),
    "a marker without a segment": b"\xff\x01",
    "a marker of pixels": b"\xff\xd3",
    "fill bytes": b"\xff" * 9,
    "what isn't a segment": b"\xff\0abc\xff\0",
    "much that isn't a segment": b"\xff\0\0" * 60_000,
}


def with_segment(what: str, picture: str, *, turned: bool = False, late: bool = False) -> bytes:
    """A file with such a segment in front of all others, or behind the first."""
    data, exif = PICTURES[picture], segment(0xE1, PREFIX + TURNED) if turned else b""
    at = 4 + int.from_bytes(data[4:6]) if late else 2
    return data[:at] + NOT_NEEDED[what] + exif + data[at:]
