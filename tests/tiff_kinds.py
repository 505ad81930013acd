"""TIFF files of all that a TIFF can say of its samples: colours, depths, formats, orders, layouts."""

from __future__ import annotations

import base64
import itertools
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WIDTH, HEIGHT, ROWS = 11, 6, 4
"""The last one is of a strip."""
LETTERS: Final = {1: "B", 3: "H", 4: "I", 5: "I", 7: "B", 11: "f", 12: "d", 13: "I", 16: "Q"}
HALVES: Final = 5
"""The type of fractions, of two numbers each."""
REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
GRAY_WHITE, GRAY, RGB, PALETTE, MASK, CMYK, YCBCR, LAB, ICCLAB, ITULAB, CFA, RAW = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    8,
    9,
    10,
    32803,
    34892,
)
COLOURS: Final = [
    *((colours, 1, None) for colours in (GRAY_WHITE, GRAY, PALETTE, MASK, CFA, RAW, LAB)),
    *((colours, 2, extra) for colours in (GRAY_WHITE, GRAY) for extra in (None, 0, 1, 2)),
    *((colours, samples, extra) for colours in (GRAY_WHITE, GRAY) for samples in (3, 4) for extra in (None, 2)),
    *((colours, 3, None) for colours in (RGB, YCBCR, LAB, ICCLAB, ITULAB, RAW)),
    *((RGB, 4, extra) for extra in (None, 0, 1, 2)),
    *((PALETTE, 2, extra) for extra in (None, 0, 1, 2)),
    *((RGB, 5, 2), (CMYK, 4, None), (CMYK, 5, 2)),
]
"""Photometric interpretation, samples of a pixel, and what the one that is too many is."""
SAMPLES: Final = [
    *((bits, 1) for bits in (1, 2, 4, 8, 10, 12, 14, 16, 32)),
    *((bits, 2) for bits in (8, 16, 32)),
    *((bits, 3) for bits in (16, 32, 64)),
]
"""Bits, and whether they are without a sign, with one, or floating point."""


@dataclass(frozen=True)
class Layout:
    """How samples are stored, which changes nothing of what they are."""

    planar: int = 1
    order: str = "<"
    fill: int = 1
    big: bool = False
    compression: int = 1
    tile: tuple[int, int] | None = None
    """Width and height; None: strips."""

    def __str__(self) -> str:
        tile = f"t{self.tile[0]}x{self.tile[1]}" if self.tile else ""
        return f"{self.planar}{self.order}{self.fill}{'b' if self.big else 'c'}{self.compression}{tile}"


_STORED: Final = [
    *(("<", 1, False, 1), (">", 1, False, 1), ("<", 2, False, 1), (">", 2, True, 1), (">", 1, True, 1)),
    *(("<", 1, True, 1), ("<", 1, False, 8), (">", 2, False, 8), ("<", 2, True, 8), (">", 1, True, 32773)),
]
REC_709: Final = [2126, 10000, 7152, 10000, 722, 10000]
REFERENCES: Final = [15, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1]
OF_YCBCR: Final = {
    "coefficients": [(529, 5, REC_709)],
    "coefficients, floats": [(529, 11, [0.2126, 0.7152, 0.0722])],
    "coefficients, doubles": [(529, 12, [0.2126, 0.7152, 0.0722])],
    "references": [(532, 5, REFERENCES)],
    "both": [(529, 5, REC_709), (532, 5, REFERENCES)],
}
"""What YCbCr is made of."""
LAYOUTS: Final = [Layout(planar, *stored) for planar in (1, 2) for stored in _STORED]
TILED: Final = [Layout(planar, *stored, (8, 4)) for planar in (1, 2) for stored in _STORED]
"""In tiles, of which the last ones aren't full."""


def values(samples: int, bits: int, kind: int) -> np.ndarray:
    """Samples of each pixel; the last one of pixels with alpha is sometimes full."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    of = [(columns * (n + 3) * 37 + rows * 53 * (n + 1) + n * 91) % 256 for n in range(samples)]
    if samples in (2, 4, 5):
        of[-1] = np.where(columns % 3 == 0, 255, (columns * 23 + rows * 5) % 256)
    found = np.stack(of, -1)
    if kind == 3:
        return found / 255
    if bits <= 8:
        return found >> 8 - bits
    low = np.random.default_rng(samples * 100 + bits).integers(0, 1 << bits - 8, found.shape)
    return (found << bits - 8) + low


def parts(plane: np.ndarray, tile: tuple[int, int] | None) -> Iterator[np.ndarray]:
    """Strips or tiles of the samples of a picture."""
    for top in range(0, HEIGHT, tile[1] if tile else ROWS):
        if not tile:
            yield plane[top : top + ROWS]
            continue
        for left in range(0, WIDTH, tile[0]):
            part = plane[top : top + tile[1], left : left + tile[0]]
            yield np.pad(part, ((0, tile[1] - part.shape[0]), (0, tile[0] - part.shape[1]), (0, 0)), "edge")


def together(part: np.ndarray, across: int, down: int) -> np.ndarray:
    """Samples of YCbCr where some pixels, from side to side and from above, have a colour together."""
    rows, columns = part.shape[:2]
    part = np.pad(part, ((0, -rows % down), (0, -columns % across), (0, 0)), "edge")
    blocks = part.reshape(part.shape[0] // down, down, part.shape[1] // across, across, 3).swapaxes(1, 2)
    light = blocks[..., 0].reshape(*blocks.shape[:2], -1)
    return np.concatenate([light, blocks[:, :, 0, 0, 1:]], axis=2)


def packed(rows: np.ndarray, bits: int, kind: int, order: str = ">") -> bytes:
    if kind == 3:
        return rows.astype(f"{order}f{bits // 8}").tobytes()
    if bits in (8, 16, 32):
        return rows.astype(f"{order}u{bits // 8}").tobytes()
    texts = ("".join(f"{value:0{bits}b}" for value in row.ravel()) for row in rows)
    return b"".join(int(text, 2).to_bytes(len(text) // 8, "big") for text in (t + "0" * (-len(t) % 8) for t in texts))


def compressed(data: bytes, compression: int) -> bytes:
    if compression == 8:
        return zlib.compress(data)
    if compression == 32773:
        pieces = (data[at : at + 128] for at in range(0, len(data), 128))
        return b"".join(bytes([len(piece) - 1]) + piece for piece in pieces)
    return data


def colour_map(bits: int) -> list[int]:
    return np.random.default_rng(5).integers(0, 65535, 3 << bits).tolist()


def tiff(
    colours: int,
    samples: int,
    extra: int | None = None,
    bits: int = 8,
    kind: int = 1,
    layout: Layout = Layout(),  # it never changes
    tags: Sequence[tuple[int, int, list[int]]] = (),
    subsampling: tuple[int, int] = (1, 1),
) -> bytes:
    """A TIFF file; other tags may take the place of those that it has: number, type, values."""
    found, strips = values(samples, bits, kind), []
    for plane in [found] if layout.planar == 1 else [found[..., n : n + 1] for n in range(samples)]:
        for part in parts(plane, layout.tile):
            stored = part if subsampling == (1, 1) else together(part, *subsampling)
            strip = compressed(packed(stored, bits, kind, layout.order), layout.compression)
            strips.append(strip.translate(REVERSED) if layout.fill == 2 else strip)
    entries = {256: (4, [WIDTH]), 257: (4, [HEIGHT]), 258: (3, [bits] * samples), 259: (3, [layout.compression])}
    entries |= {262: (3, [colours]), 277: (3, [samples]), 278: (4, [ROWS]), 284: (3, [layout.planar])}
    if layout.fill != 1:
        entries[266] = 3, [layout.fill]
    if kind != 1:
        entries[339] = 3, [kind] * samples
    if extra is not None:
        entries[338] = 3, [extra]
    if colours == PALETTE:
        entries[320] = 3, colour_map(bits)
    if colours == YCBCR:
        entries[530] = 3, [*subsampling]
    return _file(entries, strips, layout, tags)


def old_jpeg(
    jpeg: bytes,
    size: tuple[int, int],
    layout: Layout = Layout(),  # it never changes
    tags: Sequence[tuple[int, int, list[int]]] = (),
) -> bytes:
    """A TIFF file around a JPEG file, as TIFF once had them."""
    entries = {256: (4, [size[0]]), 257: (4, [size[1]]), 258: (3, [8] * 3), 259: (3, [6]), 262: (3, [YCBCR])}
    entries |= {277: (3, [3]), 278: (4, [size[1]]), 514: (4, [len(jpeg)]), 530: (3, [2, 2])}
    without = _file({**entries, 513: (4, [0])}, [jpeg], layout, tags)
    return _file({**entries, 513: (4, [len(without) - len(jpeg)])}, [jpeg], layout, tags)


_GRAY_OF_JPEG: Final = (
    "SUkqAE4AAAD/2P/AAA4IAAgAEAIAEQABEQD/2gAKAgAAAQAAPwDxbS9L+27flzmsj/hUn/Tv+ldrpfw9+27f3Oc+1H/CpP8Ap3/S"
    "v//ZDwAAAQMAAQAAABAAAAABAQMAAQAAAAgAAAACAQMAAgAAAAgACAADAQMAAQAAAAcAAAAGAQMAAQAAAAEAAAAKAQMAAQAAAAEA"
    "AAARAQQAAQAAAAgAAAASAQMAAQAAAAEAAAAVAQMAAQAAAAIAAAAWAQMAAQAAAAgAAAAXAQQAAQAAAEYAAAAcAQMAAQAAAAEAAAAp"
    "AQMAAgAAAAAAAQBSAQMAAQAAAAEAAABbAQcAIQEAAAgBAAAAAAAA/9j/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRof"
    "Hh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL/xAAfAAABBQEBAQEBAQAAAAAAAAAAAQIDBAUGBwgJCgv/xAC1EAAC"
    "AQMDAgQDBQUEBAAAAX0BAgMABBEFEiExQQYTUWEHInEUMoGRoQgjQrHBFVLR8CQzYnKCCQoWFxgZGiUmJygpKjQ1Njc4OTpDREVG"
    "R0hJSlNUVVZXWFlaY2RlZmdoaWpzdHV2d3h5eoOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPExcbHyMnK0tPU"
    "1dbX2Nna4eLj5OXm5+jp6vHy8/T19vf4+fr/2Q=="
)


def gray_of_jpeg(extra: int) -> bytes:
    """A TIFF file of gray and one sample more, compressed as JPEG: Pillow has a name of its own for each kind."""
    before = struct.pack("<HHI", 338, 3, 1)
    return base64.b64decode(_GRAY_OF_JPEG).replace(before + b"\1", before + bytes([extra]))


OTHER_TAGS: Final = [
    *((tag, kind, [0, 0]) for tag in (282, 283) for kind in (5, 4, 7)),
    *((tag, kind, [200]) for tag in (296, 306, 700, 34675, 33723, 34377, 37724) for kind in (1, 3, 4, 7, 12)),
    *((tag, kind, [9, 9]) for tag in (34665, 34853, 330, 315, 270) for kind in (3, 4, 7)),
    (65000, 11, [0.5]),
]
"""Tags that say nothing of samples, of types that they can and can't have: number, type, values."""


def _file(
    entries: dict[int, tuple[int, list[int]]],
    strips: list[bytes],
    layout: Layout,
    tags: Sequence[tuple[int, int, list[int]]],
) -> bytes:
    order, (count, inline, first) = layout.order, ("Q", 8, 16) if layout.big else ("H", 4, 8)
    place = "Q" if layout.big else "I"
    kind = 16 if layout.big else 4
    places, lengths = (324, 325) if layout.tile else (273, 279)
    entries |= {places: (kind, [0] * len(strips)), lengths: (kind, [len(strip) for strip in strips])}
    if layout.tile:
        entries |= {322: (4, [layout.tile[0]]), 323: (4, [layout.tile[1]])}
        del entries[278]
    entries |= {tag: (kind, numbers) for tag, kind, numbers in tags}
    entries = {tag: (kind, numbers) for tag, (kind, numbers) in sorted(entries.items()) if numbers}
    start = first + struct.calcsize(f"={count}") + (12 if not layout.big else 20) * len(entries) + inline
    lengths = [struct.calcsize(f"={len(numbers)}{LETTERS[kind]}") for kind, numbers in entries.values()]
    pixels = start + sum(lengths)
    if places in entries and not any(tag == places for tag, _, _ in tags):
        ends = list(itertools.accumulate(map(len, strips), initial=pixels))
        entries[places] = entries[places][0], ends[: len(strips)]
    table, behind = struct.pack(f"{order}{count}", len(entries)), b""
    for tag, (kind, numbers) in entries.items():
        data = struct.pack(f"{order}{len(numbers)}{LETTERS[kind]}", *numbers)
        table += struct.pack(f"{order}HH{place}", tag, kind, len(numbers) // (2 if kind == HALVES else 1))
        fits = len(data) <= inline
        table += data.ljust(inline, b"\0") if fits else struct.pack(f"{order}{place}", start + len(behind))
        behind += b"" if fits else data
    head = struct.pack(f"{order}HHHQ", 43, 8, 0, first) if layout.big else struct.pack(f"{order}HI", 42, first)
    return ((b"II" if order == "<" else b"MM") + head + table + bytes(inline) + behind).ljust(pixels, b"\0") + b"".join(
        strips
    )


NOT_COLOURS: Final = [
    *((colours, 1, [extra]) for colours in (GRAY_WHITE, GRAY, PALETTE) for extra in (0, 1, 2)),
    *((YCBCR, 3, extra) for extra in ([0], [2], [2, 0], [0, 0, 0])),
    *((PALETTE, 2, extra) for extra in ([0], [2], [2, 0])),
    *((colours, 3, extra) for colours in (GRAY_WHITE, GRAY) for extra in ([0], [2], [0, 2], [2, 0], [1, 2])),
    *((colours, 4, extra) for colours in (GRAY_WHITE, GRAY) for extra in ([0] * 3, [2, 0, 0], [0, 0, 2])),
]
"""Colours, samples, and what is said of those that are no colours, whether or not there are such."""
IN_STRIPS_AND_TILES: Final = [
    (None, [(322, 4, [WIDTH]), (323, 4, [ROWS])]),
    (None, [(322, 4, [16]), (323, 4, [16])]),
    (None, [(322, 4, [16]), (323, 4, [16]), (324, 4, [8]), (325, 4, [4096])]),
    (None, [(324, 4, [400, 500])]),
    ((8, 4), [(322, 4, [])]),
    ((8, 4), [(323, 4, [])]),
    ((8, 4), [(273, 4, [8, 8]), (279, 4, [400, 400])]),
]
"""Tile, and tags that say something else too."""


OF_TAGS: Final = [
    (RGB, 3, (317, 3, [2, 2]), "what its samples are differences from"),
    (RGB, 3, (317, 7, [2]), "what its samples are differences from"),
    (RGB, 3, (317, 13, [2]), "what its samples are differences from"),
    (RGB, 3, (317, 11, [2]), "what its samples are differences from"),
    (GRAY, 1, (266, 3, [1, 1]), "which bits come first"),
    (GRAY, 1, (278, 7, [ROWS]), "how high its strips are"),
    (GRAY, 1, (284, 3, [1, 1]), "how its colours lie"),
    (GRAY, 1, (262, 3, [1, 1]), "what its colours are"),
    (GRAY, 1, (277, 7, [1]), "how many samples"),
    (GRAY, 1, (259, 3, [1, 1]), "how it's compressed"),
    *((RGB, 3, (tag, 7, [8]), f"of its samples isn't whole numbers .tag {tag}") for tag in (339, 338, 292)),
    (RGB, 3, (277, 3, [4]), "a pixel has 4 samples, and not what those are"),
    (RGB, 3, (258, 3, [8, 8]), "a pixel has 3 samples, and not what those are"),
    (RGB, 3, (284, 3, [3]), "a pixel has 3 samples, and not what those are"),
    (RGB, 4, (338, 3, [3]), "what its samples are that are no colours"),
    (PALETTE, 1, (320, 3, [7]), "its palette has 1 number, and not the 768"),
    (PALETTE, 1, (320, 3, [7] * 767), "its palette has 767 numbers"),
    (PALETTE, 1, (320, 3, [7] * 769), "its palette has 769 numbers"),
    (PALETTE, 1, (320, 7, [7] * 768), "its palette has 0 numbers"),
    (PALETTE, 1, (320, 3, []), "its palette has 0 numbers"),
    (GRAY, 1, (273, 4, [400, 400, 400]), "says where 3 parts of its picture are, and its size needs 2"),
    (GRAY, 1, (279, 7, [44, 22]), "it says where 0 of the 2 parts"),
    (GRAY, 1, (339, 3, [1] * 65536), "more than 65,535 numbers of what needs few"),
]
"""Colours, samples, a tag that libtiff has another mind of than Pillow, and what is said of it."""


def cells(colours: tuple[int, int, int | None]) -> Iterator[tuple[int, int, Layout]]:
    """All samples and layouts that a kind of colours can have."""
    for (bits, kind), layout in itertools.product(SAMPLES, LAYOUTS):
        if colours[0] != PALETTE or bits <= 8:
            yield bits, kind, layout
