"""BMP files of all headers, depths, orders of colours, and compressions."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

WIDTH, HEIGHT = 11, 6
HEADERS: Final = 12, 16, 40, 52, 56, 64, 108, 124
MASKS: Final = {
    "bgra": (0xFF0000, 0xFF00, 0xFF, 0xFF000000),
    "rgba": (0xFF, 0xFF00, 0xFF0000, 0xFF000000),
    "argb": (0xFF00, 0xFF0000, 0xFF000000, 0xFF),
    "abgr": (0xFF000000, 0xFF0000, 0xFF00, 0xFF),
    "bgrx": (0xFF0000, 0xFF00, 0xFF, 0),
    "xbgr": (0xFF000000, 0xFF0000, 0xFF00, 0),
    "10 bits": (0x3FF00000, 0xFFC00, 0x3FF, 0),
    "7 bits of alpha": (0xFF0000, 0xFF00, 0xFF, 0x7F000000),
}
MASKS_16: Final = {"565": (0xF800, 0x7E0, 0x1F, 0), "555": (0x7C00, 0x3E0, 0x1F, 0), "4444": (0xF00, 0xF0, 0xF, 0xF000)}


@dataclass(frozen=True)
class Kind:
    """A kind of BMP that isn't compressed."""

    header: int
    bits: int
    masks: str = ""
    upright: bool = False

    def rows(self) -> np.ndarray:
        """Bytes of the file's rows, the lowest first unless `upright`."""
        shape = HEIGHT, (WIDTH * self.bits + 31) // 32 * 4
        return np.random.default_rng(self.bits).integers(0, 256, shape, dtype=np.uint8)

    def data(self) -> bytes:
        pixels = self.rows().tobytes()
        colours = 1 << self.bits if self.bits <= 8 else 0
        palette = np.random.default_rng(9).integers(0, 256, (colours, 3 if self.header == 12 else 4), dtype=np.uint8)
        if self.header == 12:
            head = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, self.bits)
        elif self.header == 16:
            head = struct.pack("<IIiHH", 16, WIDTH, HEIGHT, 1, self.bits)
        else:
            high, compression = -HEIGHT if self.upright else HEIGHT, 3 if self.masks else 0
            head = struct.pack(
                "<IiiHHIIiiII", self.header, WIDTH, high, 1, self.bits, compression, len(pixels), 0, 0, 0, 0
            )
        if self.masks:
            masks = struct.pack("<IIII", *{**MASKS, **MASKS_16}[self.masks])
            head += masks[:12] if self.header in (40, 52) else masks
        return file(head.ljust(self.header, b"\0") + palette.tobytes(), pixels)


def file(head: bytes, pixels: bytes) -> bytes:
    start = 14 + len(head)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + head + pixels


KINDS: Final = [
    *(
        Kind(header, bits, upright=up)
        for header in HEADERS
        for bits in (1, 2, 4, 8, 16, 24, 32)
        for up in (False, True)
    ),
    *(Kind(header, 32, masks, up) for header in HEADERS[2:] for masks in MASKS for up in (False, True)),
    *(Kind(header, 16, masks) for header in HEADERS[2:] for masks in MASKS_16),
]
KINDS[:] = [kind for kind in KINDS if kind.header > 16 or not kind.upright]

PALETTE: Final = np.array([(n * 3 % 256, (n * 7 + 40) % 256, (n * 11 + 90) % 256, 0) for n in range(256)], np.uint8)


def compressed(codes: bytes, bits: int = 8, width: int = WIDTH) -> bytes:
    """A BMP whose pixels are codes."""
    sizes = width, HEIGHT, 1, bits, 1 if bits == 8 else 2, len(codes), 0, 0, 1 << bits, 0
    return file(struct.pack("<IiiHHIIiiII", 40, *sizes) + PALETTE[: 1 << bits].tobytes(), codes)


_ROWS: Final = b"".join(bytes([WIDTH, 10 + row, 0, 0]) for row in range(HEIGHT))
COMPRESSED: Final = {
    "all": compressed(_ROWS + b"\0\1"),
    "without an end": compressed(_ROWS),
    "without ends of rows": compressed(b"".join(bytes([WIDTH, 10 + row]) for row in range(HEIGHT)) + b"\0\1"),
    "as it is": compressed(
        b"".join(bytes([0, WIDTH, *range(row, row + WIDTH + 1), 0, 0]) for row in range(HEIGHT)) + b"\0\1"
    ),
    "short rows": compressed(b"".join(bytes([4, 10 + row, 0, 0]) for row in range(HEIGHT)) + b"\0\1"),
    "an early end": compressed(_ROWS[:12] + b"\3\5\0\1"),
    "empty rows": compressed(b"\0\0\0\0" + _ROWS[:16] + b"\0\1"),
    "a move": compressed(b"\0\2\3\2\4\6\0\0" + _ROWS[:8] + b"\0\1"),
    "a move to the right": compressed(b"\2\2\0\2\3\0\4\6\0\0" + _ROWS[:8] + b"\0\1"),
    "a move beyond a row": compressed(b"\0\2\x0f\0" + _ROWS[4:12] + b"\0\1"),
    "beyond a row": compressed(b"\x20\5\0\0" + _ROWS[4:] + b"\0\1"),
    "beyond a row, as it is": compressed(bytes([0, 20, *range(20), 0, 0]) + _ROWS[4:] + b"\0\1"),
    "ends too early": compressed(_ROWS[:12]),
    "4 bits": compressed(b"".join(bytes([3, 0x12, 5, 0x34, 3, 0x56, 0, 0]) for _ in range(HEIGHT)) + b"\0\1", 4),
    "4 bits, short rows": compressed(b"".join(bytes([4, 0x12, 0, 0]) for _ in range(HEIGHT)) + b"\0\1", 4),
    "4 bits, an early end": compressed(bytes([WIDTH, 0x12, 0, 0]) * 3 + b"\0\1", 4),
    "4 bits, a move": compressed(b"\3\x12\0\2\3\2\4\x34\0\0\0\1", 4),
}


def random_codes(seed: int, bits: int) -> bytes:
    """Codes that mean something or nothing."""
    rng, out = np.random.default_rng(seed), b""
    for _ in range(rng.integers(3, 25)):
        kind, count = rng.integers(0, 20), int(rng.integers(1, 8))
        if kind < 8:
            out += bytes([count, int(rng.integers(0, 256))])
        elif kind < 12:
            size = -(-(count + 2) * bits // 8)
            out += bytes([0, count + 2]) + rng.bytes(size) + b"\0" * (size % 2)
        elif kind < 16:
            out += b"\0\0"
        elif kind < 19:
            out += bytes([0, 2, int(rng.integers(0, 4)), int(rng.integers(0, 3))])
    return compressed(out + (b"\0\1" if seed % 3 else b""), bits)


def many_runs(seed: int, bits: int) -> bytes:
    """Codes of a wider picture, mostly of runs one after the other, sometimes of those that are missing or too long."""
    rng, out, width = np.random.default_rng(seed), b"", 300
    for _ in range(HEIGHT):
        x = 0
        while x < width:
            count = min(int(rng.integers(1, 5)), width - x)
            if rng.integers(0, 60) == 0 and count > 2:
                size = -(-count * bits // 8)
                out += bytes([0, count]) + rng.bytes(size) + b"\0" * (size % 2)
            else:
                count += int(rng.integers(0, 2000) == 0)
                out += bytes([count, int(rng.integers(0, 256))])
            x += count
        out += b"\0\0" * int(rng.integers(0, 3) > 0 or bits == 4)
    return compressed(out + b"\0\1", bits, width)
