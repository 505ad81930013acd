"""JPEG files with nothing in front of their pixels but what those need.

Pillow reads dates, profiles and the like too, and gives up on those that are damaged, where libjpeg, and with it the
SDK, goes on. What stands between segments and belongs to none is passed over as libjpeg does it.
"""

from __future__ import annotations

import io
import re
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

BEGINNING: Final = b"\xff\xd8\xff"
APP1: Final = 0xE1
_MARKER: Final = re.compile(rb"\xff[^\xff\0]")
_START, _END, _SCAN, _COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
_APPLICATIONS: Final = range(0xE0, 0xF0)
_OF_COLOURS: Final = {0xE0: (b"JFIF\0", 14), 0xEE: (b"Adobe", 12)}
"""Marker -> how what says something of colours begins, and how long it must be."""
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""What says how large the picture is."""
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a segment that mean nothing here."""
_AT_ONCE: Final = 1 << 16


def plain(data: bytes) -> bytes:
    """Leave out what the pixels of a file don't need; one without pixels stays as it is."""
    kept = [data[:2]]
    for marker, at, size in segments(io.BytesIO(data)):
        if marker == _SCAN or at + 2 + size > len(data):
            return b"".join([*kept, memoryview(data)[at:]])
        beginning, least = _OF_COLOURS.get(marker, (b"", 0))
        if marker in _OF_COLOURS:
            needed = size >= 2 + least and data.startswith(beginning, at + 4)
        else:
            needed = marker not in _APPLICATIONS and marker != _COMMENT
        if needed:
            kept.append(data[at : at + 2 + size])
    return data


def size_of(file: BinaryIO) -> tuple[int, int]:
    """Width and height that a JPEG file says it has.

    Raises
    ------
    OSError
    """
    for marker, at, size in segments(file):
        if marker in _FRAMES and size >= 8:
            file.seek(at + 5)
            if len(found := file.read(4)) == 4:
                height, width = struct.unpack(">HH", found)
                if width and height:
                    return width, height
            break
    raise OSError("it begins as JPEG does, but doesn't say how wide and high it is")


def segments(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """What stands in front of the pixels, up to the first scan: marker, its place, and how many bytes follow it.

    Parameters
    ----------
    file : file
        It may be read elsewhere meanwhile.
    """
    at = 2
    while (found := _next_marker(file, at)) is not None:
        at, beginning = found
        marker = beginning[1]
        if marker == _END:
            return
        size = 0 if marker in _ALONE or marker == _START else max(int.from_bytes(beginning[2:]), 2)
        if marker not in _ALONE:
            yield marker, at, size
        if marker == _SCAN:
            return
        at += 2 + size


def _next_marker(file: BinaryIO, at: int) -> tuple[int, bytes] | None:
    """Where the next marker is, from a place on, and the four bytes there; None at the end."""
    file.seek(at)
    chunk, much = file.read(4), 4
    while not (found := _MARKER.search(chunk)):
        if len(chunk) < 2:
            return None
        at, much = at + len(chunk) - 1, min(8 * much, _AT_ONCE)  # the last byte may begin a marker
        file.seek(at)
        chunk = file.read(much)
    at, beginning = at + found.start(), chunk[found.start() : found.start() + 4]
    if len(beginning) < 4:
        file.seek(at)
        beginning = file.read(4)
    return at, beginning
