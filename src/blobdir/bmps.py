"""BMP files that Pillow doesn't read, or reads otherwise than OpenCV does.

- Which bits of a pixel's 32 are which colour: Pillow knows some of the ways to say it. A header that has no room for
  alpha isn't looked at; bytes are blue, green, red and alpha then.
- Compressed ones may leave pixels out, and those have the first colour. Codes that go beyond a row are an error.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from typing import BinaryIO

    from numpy.typing import NDArray

MAGIC: Final = b"BM"
_FIELDS: Final = "<IIiiHHI"
_HEADER: Final = 70
_MOST_HEADERS: Final = 40, 124
_WITH_ALPHA: Final = 56
"""Bytes of a header that says where alpha is."""
_BITFIELDS: Final = 32, 3
_CODES: Final = frozenset({(8, 1), (4, 2)})
"""Bits of a pixel and compression."""
_PLAIN: Final = 0xFF0000, 0xFF00, 0xFF, 0xFF000000
"""Bits of red, green, blue and alpha."""
_BYTE: Final = 255
_NEXT_ROW, _END, _MOVE = 0, 1, 2
"""Codes."""
_MANY: Final = 16
"""Runs one after the other from which on they are read at once."""
_ENDED: Final = "the image file is truncated"


@dataclass(frozen=True)
class Bmp:
    """Such a file.

    Attributes
    ----------
    width, height : int
    upright : bool
        The first row is the upper one.
    start : int
        Where pixels begin.
    header : int
        Bytes of the header.
    bits : int
        Of a pixel.
    colours : int
        In its palette.
    masks : tuple of int
    """

    width: int
    height: int
    upright: bool
    start: int
    header: int
    bits: int
    colours: int
    masks: tuple[int, ...]

    def pixels(self, data: bytes, *, keep_alpha: bool) -> NDArray[np.uint8]:
        """Pixels of the file, RGB or RGBA.

        Raises
        ------
        OSError
        """
        if self.bits == _BITFIELDS[0]:
            if len(data) - self.start < self.width * self.height * 4:
                raise OSError(_ENDED)
            found = np.frombuffer(data, "<u4", self.width * self.height, self.start).reshape(self.height, self.width)
            out = np.dstack([_samples(found, mask) for mask in self.masks[: 4 if keep_alpha else 3]])
        else:
            palette = np.zeros((256, 4), np.uint8)
            first = 14 + self.header
            stored = np.frombuffer(data[first : min(first + 4 * self.colours, self.start)], np.uint8)
            palette.reshape(-1)[: len(stored) // 4 * 4] = stored[: len(stored) // 4 * 4]
            out = palette[:, 2::-1][np.frombuffer(self._uncoded(data), np.uint8).reshape(self.height, self.width)]
        return out if self.upright else out[::-1]

    def _uncoded(self, data: bytes) -> bytearray:
        """A byte for each pixel of what is compressed. Rows that a run fills end, whether or not a code says so too."""
        out, row, x, at, ended, alike = bytearray(self.width * self.height), 0, 0, self.start, False, 0
        while row < self.height:
            if alike > _MANY:
                run, size = self._runs(data, at, self.width - x)
                at, alike = at + size, 0
                if run:
                    row, x, ended = self._put(out, row, x, run, ends=True)
                continue
            code = data[at : at + 2]
            if len(code) < 2:
                if row == self.height - 1 and x == self.width:
                    break
                raise OSError(_ENDED)
            (count, value), at = code, at + 2
            skips = not count and (value == _MOVE or (value == _END and row < self.height - 1))
            if skips and self.bits == 4:  # OpenCV takes it for something else
                raise OSError("its compressed pixels of 4 bits leave some out")
            if not count and value == _END:
                break
            if not count and value == _NEXT_ROW:
                row, x, ended = (row, x, False) if ended else (row + 1, 0, False)
                continue
            if not count and value == _MOVE:
                row, x = self._moved(data[at : at + 2], row, x)
                at, ended = at + 2, False
                continue
            run, size = self._run(data, at, count, value)
            at, alike = at + size, alike + 1 if count else 0
            row, x, ended = self._put(out, row, x, run, ends=bool(count))
        return out

    def _moved(self, steps: bytes, row: int, x: int) -> tuple[int, int]:
        if len(steps) < 2:
            raise OSError(_ENDED)
        return divmod(row * self.width + x + steps[0] + steps[1] * self.width, self.width)

    def _put(self, out: bytearray, row: int, x: int, run: bytes, *, ends: bool) -> tuple[int, int, bool]:
        """Put pixels into their place. Where the next ones are, and whether that is another row since one is full."""
        if x + len(run) > self.width:
            raise OSError("its compressed pixels go beyond its rows")
        out[row * self.width + x : row * self.width + x + len(run)] = run
        x += len(run)
        return (row + 1, 0, True) if ends and self.bits == 8 and x == self.width else (row, x, False)

    def _runs(self, data: bytes, at: int, room: int) -> tuple[bytes, int]:
        """Pixels of codes that are one run after the other, as far as there is room, and how many bytes they have."""
        codes = np.frombuffer(data, np.uint8, 2 * min(room, (len(data) - at) // 2), at).reshape(-1, 2)
        counts, values = codes[:, 0].astype(np.int64), codes[:, 1]
        ends = np.cumsum(counts)
        many = min(int(np.searchsorted(ends, room, "right")), int(np.argmin(np.append(counts, 0))))
        counts, values = counts[:many], np.repeat(values[:many], counts[:many])
        if self.bits != 8:  # the first and the second of two pixels
            second = (np.arange(len(values)) - np.repeat(ends[:many] - counts, counts)) & 1
            values = np.where(second, values & 15, values >> 4)
        return values.tobytes(), 2 * many

    def _run(self, data: bytes, at: int, count: int, value: int) -> tuple[bytes, int]:
        """Pixels that a code means, and how many bytes behind it it has."""
        if count:
            return self._unpacked(bytes([value]) * count)[:count], 0
        size = -(-value * self.bits // 8)
        if len(run := self._unpacked(data[at : at + size])[:value]) < value:
            raise OSError(_ENDED)
        return run, size + size % 2

    def _unpacked(self, packed: bytes) -> bytes:
        if self.bits == 8:
            return packed
        return bytes(half for byte in packed for half in (byte >> 4, byte & 15))


def check(data: bytes) -> None:
    """Check that a BMP file, of any kind, says which colours its pixels have.

    Raises
    ------
    OSError
    """
    if len(data) < 54:
        return
    start, size, _, _, _, bits, compression = struct.unpack_from(_FIELDS, data, 10)
    (colours,) = struct.unpack_from("<I", data, 46)
    if not _MOST_HEADERS[0] <= size <= _MOST_HEADERS[1]:
        return
    if 0 < bits <= 8 and start < 14 + size + 4 * min(colours or 256, 1 << bits):
        raise OSError("its pixels begin before its palette ends")
    if (bits, compression) == _BITFIELDS and not all(_masks(data, size)[:3]):
        raise OSError("it doesn't say which bits of a pixel are which colour")


def odd_bmp(file: BinaryIO) -> Bmp | None:
    """What such a file says; None of others."""
    file.seek(0)
    head = file.read(_HEADER)
    if not head.startswith(MAGIC) or len(head) < 54:
        return None
    start, size, width, height, _, bits, compression = struct.unpack_from(_FIELDS, head, 10)
    (colours,) = struct.unpack_from("<I", head, 46)
    if not _MOST_HEADERS[0] <= size <= _MOST_HEADERS[1] or width < 1 or not height:
        return None
    if (bits, compression) not in _CODES | {_BITFIELDS}:
        return None
    colours = min(colours or 256, 1 << min(bits, 8))
    return Bmp(width, abs(height), height < 0, start, size, bits, colours, _masks(head, size))


def _masks(head: bytes, size: int) -> tuple[int, ...]:
    return struct.unpack("<IIII", head[54:70].ljust(16, b"\0")) if size >= _WITH_ALPHA else _PLAIN


def _samples(found: NDArray[np.uint32], mask: int) -> NDArray[np.uint8]:
    if not mask:
        return np.full(found.shape, _BYTE, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    samples, most = found >> shift & mask >> shift, mask >> shift
    if most == _BYTE:
        return samples.astype(np.uint8)
    return (samples.astype(np.float32) * np.float32(_BYTE / most)).astype(np.uint8)


def dark_bits(arguments: object) -> tuple[int, int, int] | None:
    """Bits that count of samples of 16-bit pixels, by the way that Pillow reads them; it fills up the others."""
    kind = arguments[0] if isinstance(arguments, tuple) and arguments else ""
    return {"BGR;15": (0xF8, 0xF8, 0xF8), "BGR;16": (0xF8, 0xFC, 0xF8)}.get(str(kind))
