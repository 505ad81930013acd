"""PNG files of all colour types and depths, with and without interlacing, transparency and animation."""

from __future__ import annotations

import itertools
import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from odd_images import chunk

WIDTH, HEIGHT = 11, 6
DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Colour type -> depths."""
_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES: Final = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Kind:
    """A kind of PNG.

    Attributes
    ----------
    colours, bits : int
    interlaced, transparent : bool
    animation : {"", "one", "first", "apart"}
        None; of one frame; its picture is the first frame; its picture is no frame.
    part : bool
        Frames are smaller than the picture.
    """

    colours: int
    bits: int
    interlaced: bool = False
    transparent: bool = False
    animation: str = ""
    part: bool = False

    def values(self, frame: int = 0) -> np.ndarray:
        """Samples of its picture, or of a frame."""
        rng = np.random.default_rng(self.colours * 50 + self.bits + frame * 1000)
        size = (3, 5) if frame and self.part else (HEIGHT, WIDTH)
        return rng.integers(0, 1 << self.bits, (*size, _SAMPLES[self.colours]))

    def data(self) -> bytes:
        """The file."""
        first = self.values()
        out = [
            _SIGNATURE,
            chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, self.bits, self.colours, 0, 0, self.interlaced)),
        ]
        if self.animation:
            out.append(chunk(b"acTL", struct.pack(">II", 1 if self.animation == "one" else 2, 0)))
        if self.colours == 3:
            out.append(chunk(b"PLTE", np.random.default_rng(3).integers(0, 256, 3 << self.bits, np.uint8).tobytes()))
        if self.transparent:
            clear = {0: first[0, 0].astype(">u2"), 2: first[0, 0].astype(">u2"), 3: np.array([0, 128], np.uint8)}
            out.append(chunk(b"tRNS", clear[self.colours].tobytes()))
        number = 0
        if self.animation == "first":
            out.append(self._control(0, part=False))
            number = 1
        out.append(chunk(b"IDAT", self._packed(first)))
        for frame in range(1, {"": 1, "one": 1, "first": 2, "apart": 3}[self.animation]):
            out.append(self._control(number, part=self.part))
            out.append(chunk(b"fdAT", struct.pack(">I", number + 1) + self._packed(self.values(frame))))
            number += 2
        return b"".join([*out, chunk(b"IEND", b"")])

    def _control(self, number: int, *, part: bool) -> bytes:
        place = (5, 3, 2, 1) if part else (WIDTH, HEIGHT, 0, 0)
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, *place, 1, 10, 0, 0))

    def _packed(self, samples: np.ndarray) -> bytes:
        passes = _PASSES if self.interlaced else [(0, 0, 1, 1)]
        parts = (samples[y::down, x::right] for x, y, right, down in passes)
        return zlib.compress(b"".join(self._rows(part) for part in parts if part.size))

    def _rows(self, samples: np.ndarray) -> bytes:
        out = b""
        for row in samples.reshape(samples.shape[0], -1):
            text = "".join(f"{value:0{self.bits}b}" for value in row)
            text += "0" * (-len(text) % 8)
            out += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
        return out


KINDS: Final = [
    Kind(colours, bits, interlaced, transparent, animation, part)
    for colours in DEPTHS
    for bits in DEPTHS[colours]
    for interlaced, transparent, animation, part in itertools.product(
        (False, True), (False, True), ("", "one", "first", "apart"), (False, True)
    )
    if (not transparent or colours < 4) and (animation or not part)
]


def with_less(data: bytes, missing: int) -> bytes:
    """A file whose compressed pixels are that many bytes too few; but for that it's whole."""
    kind = b"IDAT" if b"fdAT" not in data else b"fdAT"
    at, skip = data.index(kind), 0 if kind == b"IDAT" else 4
    size = int.from_bytes(data[at - 4 : at])
    pixels = zlib.decompress(data[at + 4 + skip : at + 4 + size])
    made = chunk(kind, data[at + 4 : at + 4 + skip] + zlib.compress(pixels[: len(pixels) - missing]))
    return data[: at - 4] + made + data[at + 8 + size :]


def bare() -> bytes:
    """A small PNG of RGB."""
    return Kind(2, 8).data()


def with_chunk(content: bytes, *, behind: bool = False) -> bytes:
    """That with another chunk, before its pixels or behind them."""
    data = bare()
    at = len(data) - 12 if behind else data.index(b"IDAT") - 4
    return data[:at] + content + data[at:]


NOT_NEEDED: Final = {
    "texts of 100 MB": chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(100_000_000))),
    "a profile of 100 MB": chunk(b"iCCP", b"c\0\0" + zlib.compress(bytes(100_000_000))),
    "a profile that is none": chunk(b"iCCP", b"c\0\0garbage"),
    "a text with a wrong checksum": chunk(b"tEXt", b"a\0b", 1),
    "EXIF with a wrong checksum": chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0", 1),
    "a short size of pixels": chunk(b"pHYs", b"\0"),
    "a short gamma": chunk(b"gAMA", b"\0"),
    "a kind that nobody knows": chunk(b"abCd", b"\0" * 99),
    "alpha with a wrong checksum": chunk(b"tRNS", bytes(6), 1),
}
"""What stands in files beside their pixels."""
