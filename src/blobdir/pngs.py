"""PNG files with nothing in them but what their pixels need, checked; the frame that comes first of animated ones.

Pillow reads texts, profiles and dates too, and gives up on those that are large or damaged, where libpng, and with it
the SDK, goes on. It also takes the picture that is for programs without animation for the first frame.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.exif import PNG_SIGNATURE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray
    from PIL import Image

_HEADER, _PALETTE, _PIXELS, _END, _TRANSPARENT = b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS"
_KNOWN: Final = frozenset({_HEADER, _PALETTE, _PIXELS, _END})
_ANIMATION, _FRAME, _FRAMES_PIXELS = b"acTL", b"fcTL", b"fdAT"
_CHECKED: Final = _KNOWN | {_TRANSPARENT, _FRAMES_PIXELS}
"""Kinds that don't count when their checksum is wrong; that of other frames' is never looked at."""
_OPTIONAL: Final = 0x20
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Kind of colours -> samples of a pixel."""
_PASSES: Final = (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)
"""Of interlaced pictures: the first column and row, and how many it is to the next."""
_AT_ONCE: Final = 1 << 20
_PIECE: Final = 1 << 16


@dataclass(frozen=True)
class Png:
    """A PNG file that is all there.

    Attributes
    ----------
    data : bytes
        A file of its first frame, for Pillow.
    canvas : tuple of int
        Width and height of the picture.
    place : tuple of int
        Where the frame is in it, from the left and from above.
    """

    data: bytes
    canvas: tuple[int, int]
    place: tuple[int, int] = (0, 0)

    def whole(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture of which its first frame has some pixels; the others are black, and transparent."""
        (width, height), (left, top) = self.canvas, self.place
        if pixels.shape[:2] == (height, width):
            return pixels
        out = np.zeros((height, width, pixels.shape[2]), np.uint8)
        out[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
        return out


def size_of(file: BinaryIO) -> tuple[int, int]:
    """Width and height that a PNG file says it has.

    Raises
    ------
    OSError
    """
    file.seek(0)
    beginning = file.read(33)
    if len(beginning) < 33 or beginning[12:16] != _HEADER or not _is_whole(beginning, 8, 13):
        raise OSError("it begins as PNG does, but its header is damaged")
    width, height = struct.unpack_from(">II", beginning, 16)
    if not width or not height:
        raise OSError("it begins as PNG does, but says that it has no pixels")
    return width, height


def plain(data: bytes) -> Png:
    """Check a file, and leave out what its pixels don't need.

    Raises
    ------
    OSError
    """
    parts, frames = _parts(data), 0
    if not parts or parts[0][0] != _HEADER or parts[0][2] != 13:
        raise OSError("it begins as PNG does, but its header is damaged")
    canvas = struct.unpack_from(">II", data, parts[0][1] + 8)
    first = next((number for number, (kind, _, _) in enumerate(parts) if kind == _PIXELS), len(parts))
    for kind, at, size in parts[:first]:
        if kind == _ANIMATION and size >= 4:
            frames = int.from_bytes(data[at + 8 : at + 12], "big")
    kinds = [kind for kind, _, _ in parts]
    if frames > 1 and _FRAME not in kinds:
        raise OSError(f"it says that it's an animation of {frames} frames, and has none of them")
    if frames > 1 and _FRAME not in kinds[:first] and _FRAME in kinds[first:]:
        return _first_frame(data, parts, canvas)
    if set(kinds) <= _KNOWN | {_TRANSPARENT}:
        return Png(data, canvas)
    needed = [
        data[at : at + 12 + size]
        for number, (kind, at, size) in enumerate(parts)
        if kind in _KNOWN or (kind == _TRANSPARENT and number < first)
    ]
    return Png(b"".join([PNG_SIGNATURE, *needed]), canvas)


def check_rows(data: bytes, image: Image.Image) -> None:
    """Check that all pixels of a file are stored: where they end too early, Pillow makes the others 0.

    They are uncompressed once more only where the last ones are.

    Parameters
    ----------
    data : bytes
        A file of one frame.
    image : Image
        Of it, loaded.

    Raises
    ------
    OSError
    """
    width, height, bits, colours, _, _, interlaced = struct.unpack_from(">IIBBBBB", data, len(PNG_SIGNATURE) + 8)
    if not interlaced and any(image.crop((0, height - 1, width, height)).tobytes()):
        return
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes]
    needed = sum((1 + -(-wide * bits * _CHANNELS[colours] // 8)) * high for wide, high in sizes if wide > 0 < high)
    stream, found = zlib.decompressobj(), 0
    for piece in _packed_pixels(data):
        rest = piece
        while found < needed and (part := stream.decompress(rest, _AT_ONCE)):
            found, rest = found + len(part), stream.unconsumed_tail
        if found >= needed:
            return
    raise OSError("its compressed pixels end before its last row")


def _packed_pixels(data: bytes) -> Iterator[bytes]:
    """Pieces of what is compressed. They're small, since what isn't used of one at once is copied."""
    for kind, at, size in _parts(data):
        for first in range(at + 8, at + 8 + size if kind == _PIXELS else 0, _PIECE):
            yield data[first : min(first + _PIECE, at + 8 + size)]


def _parts(data: bytes) -> list[tuple[bytes, int, int]]:
    """Kind, place and size of chunks, but for damaged ones that nobody needs."""
    at, kind, parts = len(PNG_SIGNATURE), b"", []
    while kind != _END:
        if at + 12 > len(data):
            raise OSError(f"the PNG file is truncated at byte {len(data)}")
        size, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + size > len(data):
            raise OSError(f"the PNG file is truncated at byte {len(data)}, in the chunk at byte {at}")
        needed = not kind[0] & _OPTIONAL
        if needed and kind not in _KNOWN:
            raise OSError(f"the PNG chunk at byte {at} is of a kind that isn't known, and is needed")
        whole = kind in (_ANIMATION, _FRAME) or (kind in _CHECKED and _is_whole(data, at, size))
        if needed and not whole:
            raise OSError(f"the checksum of the PNG chunk at byte {at} is wrong")
        parts.append((kind if whole else b"    ", at, size))
        at += 12 + size
    return parts


def _is_whole(data: bytes, at: int, size: int) -> bool:
    (checksum,) = struct.unpack_from(">I", data, at + 8 + size)
    return bool(zlib.crc32(memoryview(data)[at + 4 : at + 8 + size]) == checksum)


def _first_frame(data: bytes, parts: list[tuple[bytes, int, int]], canvas: tuple[int, int]) -> Png:
    """The first frame of an animation that its picture isn't part of."""
    first = next(number for number, (kind, _, _) in enumerate(parts) if kind == _FRAME)
    _, at, size = parts[first]
    if size < 20:
        raise OSError(f"the PNG chunk at byte {at} is damaged")
    width, height, left, top = struct.unpack_from(">IIII", data, at + 12)
    if not width or not height or left + width > canvas[0] or top + height > canvas[1]:
        raise OSError("its first frame isn't inside of its picture")
    header = parts[0][1]
    made = [_chunk(_HEADER, struct.pack(">II", width, height) + data[header + 16 : header + 21])]
    made += [data[at : at + 12 + size] for kind, at, size in parts[:first] if kind in (_PALETTE, _TRANSPARENT)]
    for kind, at, size in parts[first + 1 :]:
        if kind == _FRAME:
            break
        if kind == _FRAMES_PIXELS:
            made.append(_chunk(_PIXELS, data[at + 12 : at + 8 + size]))
    if not any(part.startswith(_PIXELS, 4) for part in made):
        raise OSError("the pixels of its first frame are missing or damaged")
    return Png(b"".join([PNG_SIGNATURE, *made, _chunk(_END, b"")]), canvas, (left, top))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
