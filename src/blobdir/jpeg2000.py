"""JPEG 2000 of which tiles are missing, and with samples of more than 8 bits.

Pillow makes missing tiles black. Samples of more than 8 bits it rounds up without a bound, and makes white black.

Those of one gray channel it gives whole. Of others it gives the 8 bits above what it rounds; what was rounded beyond
255 starts again at 0. So they are decoded once more, told in the header that samples have other numbers of bits: where
the coding can be without a loss, six bits more, which tell black from white even of samples that are far beyond what
they can be, as they are where it isn't; where it can't, samples are fractions of the brightest anyway, and 8 bits are
what is wanted.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

_START, _SIZES, _CODING, _CODING_OF_ONE, _PART, _DATA, _END = 0xFF4F, 0xFF51, 0xFF52, 0xFF53, 0xFF90, 0xFF93, 0xFFD9
_COMPONENTS: Final = 42
"""Bytes from the start of the code to the first component's; each has three."""
_BYTE, _MOST_BITS = 8, 16
_MORE: Final = 6
"""Bits. Black and white are then 126 and 130 of 255, and 128 is between them."""
_SIGNED: Final = 0x80
_YCC: Final = 18
_DAMAGED: Final = "its JPEG 2000 headers are damaged"


def with_all_bits(image: Image.Image, data: bytes) -> Image.Image:
    """An image with its brightest samples bright; the same, loaded, where Pillow has them so.

    Parameters
    ----------
    image : Image
        Opened by Pillow, and not loaded.
    data : bytes
        The file.

    Raises
    ------
    OSError
        Tiles are missing, or samples are such that nobody can tell them apart here.
    """
    if image.format != "JPEG2000":
        image.load()
        return image
    start = _code(data)
    _check_tiles(data, start)
    if image.mode in ("I;16", "P", "PA"):
        image.load()
        return image
    count = _number(">H", data, start + _COMPONENTS - 2)
    places = [start + _COMPONENTS + 3 * number for number in range(count)]
    bits = [(data[at] & ~_SIGNED) + 1 for at in places if at + 2 < len(data)]
    if len(bits) < count:
        raise OSError(_DAMAGED)
    if max(bits) <= _BYTE:
        image.load()
        return image
    kinds = set(_transformations(data, start))
    if (
        max(bits) > _MOST_BITS
        or any(data[at] & _SIGNED for at in places)
        or len(kinds) != 1
        or any(data[at + 1 : at + 3] != b"\1\1" for at in places)
        or _is_ycc(data[:start])
    ):
        raise OSError(f"its samples of {max(bits)} bits are signed, of unlike kinds or sizes, or no plain colours")
    if kinds == {0}:
        return _decoded(type(image), data, [(at, _BYTE) for at, had in zip(places, bits, strict=True) if had > _BYTE])
    image.load()
    more = _decoded(type(image), data, [(at, had + _MORE) for at, had in zip(places, bits, strict=True) if had > _BYTE])
    pixels, wider = np.array(image), np.asarray(more)
    wide = np.array(bits) > _BYTE
    unknown = (pixels == 0) & (wide if pixels.ndim > 2 else wide[0])
    if (wider[unknown] == 0).any():  # here too they start again
        raise OSError("some of its samples are far beyond what they can be")
    pixels[unknown & (wider >= 128)] = 255
    return Image.fromarray(pixels, image.mode)


def _decoded(kind: Any, data: bytes, bits: list[tuple[int, int]]) -> Image.Image:
    """The image with other numbers of bits at places in its header."""
    changed = bytearray(data)
    for at, number in bits:
        changed[at] = number - 1
    image: Image.Image = kind(io.BytesIO(changed))
    image.load()
    return image


def _number(kind: str, data: bytes, at: int) -> int:
    try:
        found: int = struct.unpack_from(kind, data, at)[0]
    except struct.error as error:
        raise OSError(_DAMAGED) from error
    return found


def _code(data: bytes) -> int:
    """Where the code begins, behind the boxes of a JP2 file."""
    at = 0
    while _number(">H", data, at) != _START:
        size, header = _number(">I", data, at), 8
        if size == 1:
            size, header = _number(">Q", data, at + 8), 16
        at += header if data[at + 4 : at + 8] == b"jp2c" or size < header else size
    return at


def _is_ycc(boxes: bytes) -> bool:
    at = boxes.find(b"colr")
    return at >= 0 and boxes[at + 4 : at + 5] == b"\1" and _number(">I", boxes, at + 7) == _YCC


def _check_tiles(data: bytes, start: int) -> None:
    """Check that no tile is missing.

    Raises
    ------
    OSError
    """
    width, height, _, _, across, down, left, top = (_number(">I", data, start + at) for at in range(8, 40, 4))
    if not across or not down:
        raise OSError(_DAMAGED)
    needed = -(-(width - left) // across) * -(-(height - top) // down)
    found = {_number(">H", data, at + 4) for marker, at in _segments(data, start) if marker == _PART}
    if (there := sum(tile < needed for tile in found)) < needed:
        raise OSError(f"{needed - there} of its {counted(needed, 'tile')} are missing")


def _transformations(data: bytes, start: int) -> Iterator[int]:
    """How parts of the image are coded: 0 with a loss, 1 without."""
    for marker, at in _segments(data, start):
        if marker == _CODING:
            yield data[at + 13]
        elif marker == _CODING_OF_ONE:
            yield data[at + (10 if _number(">H", data, start + _COMPONENTS - 2) < 257 else 11)]


def _segments(data: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Marker and place of what stands in front of the pixels of the picture, and of each of its parts.

    Raises
    ------
    OSError
        A part ends before its pixels begin, or isn't there.
    """
    at, part, size = start + 2, start, 0
    while at + 4 <= len(data) and (marker := _number(">H", data, at)) != _END:
        if marker == _DATA:
            if not size:
                return  # the last part, up to the end
            if part + size <= at:  # it would begin again for ever
                raise OSError(_DAMAGED)
            at = part + size
            continue
        if marker == _PART:
            part, size = at, _number(">I", data, at + 6)
        yield marker, at
        at += 2 + _number(">H", data, at + 2)
