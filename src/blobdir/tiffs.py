"""What a TIFF file says of its picture, and files that say the same in the words that Pillow reads rightly.

libtiff, and with it the SDK, reads a picture the same in either byte order, in BigTIFF, with bits in either order,
whether samples have a sign or not, and whatever else is said. Pillow knows some of these together and not others,
makes other pixels of a few, and gives up on dates and resolutions that it doesn't understand. So what it's given is a
classic TIFF with the first bits first, that says nothing but where samples are and what they mean.
"""

from __future__ import annotations

import itertools
import os
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

BEGINNINGS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Of classic TIFF and of BigTIFF."""
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
FILL, OFFSETS, ORIENTATION, SAMPLES, COUNTS, PLANAR = 266, 273, 274, 277, 279, 284
_STRIP_ROWS, _TILE_LENGTH = 278, 323
PREDICTOR, COLOURS, TILE_WIDTH, TILE_OFFSETS, TILE_COUNTS = 317, 320, 322, 324, 325
EXTRA, FORMAT, _SUBSAMPLING = 338, 339, 530
_JPEG_TABLES, _COEFFICIENTS, _REFERENCES, _XMP = 347, 529, 532, 700
"""Tags."""
_ONE_NUMBER: Final = {
    COMPRESSION: "how it's compressed",
    PHOTOMETRIC: "what its colours are",
    FILL: "which bits come first",
    SAMPLES: "how many samples a pixel has",
    _STRIP_ROWS: "how high its strips are",
    PLANAR: "how its colours lie",
    PREDICTOR: "what its samples are differences from",
    TILE_WIDTH: "how wide its tiles are",
    _TILE_LENGTH: "how high its tiles are",
}
"""Tags that mean nothing to libtiff where they are more than one number, or none that is whole."""
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_SAMPLES_OF: Final = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, PALETTE: 1, CMYK: 4, _YCBCR: 3}
"""Colours -> samples that they need: where there are no others, libtiff doesn't ask what the others are."""
_COLOURS_IN_WORDS: Final = {
    0: "gray", 1: "gray", 2: "RGB", 3: "a palette", 4: "a mask", 5: "CMYK", 6: "YCbCr", 8: "LAB", 9: "LAB", 10: "LAB",
    32803: "a camera's raw", 32844: "LogL", 32845: "LogLuv", 34892: "a camera's raw",
}  # fmt: skip
_FORMATS_IN_WORDS: Final = {
    2: " with a sign",
    3: " in floating point",
    5: " of complex numbers",
    6: " of complex numbers",
}
_COMPRESSIONS_IN_WORDS: Final = {
    6: "JPEG of old",
    34661: "JBIG",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG",
    34933: "PNG",
    34934: "JPEG XR",
    50000: "zstd",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_DEPTHS: Final = frozenset({1, 2, 4, 8, 16, 32, 64})
_APART: Final = 2
_KINDS_OF_EXTRA: Final = frozenset({0, 1, 2})
_WAYS_TO_LIE: Final = frozenset({1, _APART})
"""Of the colours of a pixel: beside each other, or apart."""
_OF_TILES: Final = 3
"""Tags without which there are no tiles."""
_ALPHA: Final = 2
_COLOURED: Final = 3
UNCOMPRESSED: Final = 1
JPEG: Final = 7
_OLD_JPEG: Final = 6
DIFFERENCES: Final = frozenset({5, 8, 32946, 34925, 50000})
"""Compressions of bytes that may be differences of samples: LZW, deflate, LZMA, zstd."""
OF_BYTES: Final = DIFFERENCES | {UNCOMPRESSED, 32773}
"""Compressions that give bytes, and know nothing of pictures."""
_DEFLATE: Final = 8
_PREDICTORS: Final = frozenset({1, 2})
_PREDICTORS_OF_FLOATS: Final = frozenset({1, 2, 3})
WHOLE: Final = frozenset({1, 2, 4})
"""Formats of samples that are whole numbers; 4: it isn't said."""
_TYPES: Final = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 16: "Q", 17: "q"}
"""Types that libtiff takes for whole numbers."""
_HALVES: Final = {5: "I", 10: "i"}
"""Types that are fractions, of two numbers each."""
_LETTERS: Final = _TYPES | _HALVES | {7: "B", 11: "f", 12: "d", 13: "I", 18: "Q"}
_SIZES: Final = {2: 1} | {kind: (1 + (kind in _HALVES)) * struct.calcsize(f"={of}") for kind, of in _LETTERS.items()}
"""Bytes of a value of each type."""
_CLASSIC: Final = {16: 4, 17: 9, 18: 13}
_KEPT: Final = (
    *(
        WIDTH,
        LENGTH,
        BITS,
        COMPRESSION,
        PHOTOMETRIC,
        FILL,
        OFFSETS,
        SAMPLES,
        _STRIP_ROWS,
        COUNTS,
        PLANAR,
        292,
        293,
    ),
    *(
        PREDICTOR,
        COLOURS,
        TILE_WIDTH,
        _TILE_LENGTH,
        TILE_OFFSETS,
        TILE_COUNTS,
        EXTRA,
        FORMAT,
        _JPEG_TABLES,
        _SUBSAMPLING,
        531,
    ),
    *(_COEFFICIENTS, _REFERENCES),
)
"""Tags that say where samples are and what they mean."""
_FEW: Final = frozenset(_KEPT) - {OFFSETS, COUNTS, TILE_OFFSETS, TILE_COUNTS, COLOURS, _JPEG_TABLES}
"""Of them, those that are no more than one number for each sample of a pixel."""
_WHOLE_NUMBERS: Final = frozenset(_KEPT) - {_JPEG_TABLES, _COEFFICIENTS, _REFERENCES}
"""Of them, those that must be whole numbers where they are there."""
_MOST_SAMPLES: Final = 0xFFFF
_MOST_NUMBERS: Final = 1 << 24
_FEW_NUMBERS: Final = 1 << 10
"""So many are read once."""
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))

Changes = dict[int, tuple[float, ...] | None]
"""Tag -> other numbers, or None: not there."""


class Directory:
    """The first directory of a TIFF file.

    Parameters
    ----------
    file : file
        It's read where there is something to read; where it ends too early the directory does too.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._numbers: dict[int, tuple[int, ...]] = {}
        self.entries: dict[int, tuple[int, int, int]] = {}
        """Tag -> type, number of values, and their place; of two the first."""
        self.doubled = False
        """There are two of a tag. Of those Pillow takes the last."""
        file.seek(0)
        self.order = ">" if file.read(2) == b"MM" else "<"
        self.big = self._read("H", 2) == (43,)
        count, self._inline = ("Q", 8) if self.big else ("H", 4)
        head, size = f"{self.order}HH{count if self.big else 'I'}", 20 if self.big else 12
        start = (*self._read("Q" if self.big else "I", 8 if self.big else 4), 0)[0]
        first = start + struct.calcsize(count)
        entries = min((*self._read(count, start), 0)[0], 0xFFFF)
        file.seek(first)
        table = file.read(entries * size)
        self.whole = len(table) == entries * size
        """The directory doesn't end too early. What it says of may."""
        for number in range(len(table) // size):
            tag, kind, many = struct.unpack_from(head, table, number * size)
            self.doubled |= tag in self.entries
            self.entries.setdefault(tag, (kind, many, first + number * size + struct.calcsize(head)))

    def _read(self, kinds: str, at: int) -> tuple[int, ...]:
        size = struct.calcsize(f"{self.order}{kinds}")
        self._file.seek(at)
        found = self._file.read(size)
        return struct.unpack(f"{self.order}{kinds}", found) if len(found) == size else ()

    def _ends(self, tag: int) -> int:
        """Where what is said of a tag is over; 0 where that isn't known."""
        kind, count, at = self.entries[tag]
        size = _SIZES.get(kind, 0) * count
        if size <= self._inline:
            return at + size
        return (*self._read("Q" if self.big else "I", at), 0)[0] + size

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Whole numbers; none where there are others, or none at all."""
        found = self._numbers.get(tag)
        if found is None:
            found = self.stored(tag) if self.entries.get(tag, (0,))[0] in _TYPES else ()
            if len(found) <= _FEW_NUMBERS:
                self._numbers[tag] = found
        return found

    def stored(self, tag: int) -> tuple[Any, ...]:
        """Numbers of any type as they are stored; a fraction is two. None where there are none."""
        kind, count, at = self.entries.get(tag, (0, 0, 0))
        letter = _LETTERS.get(kind, "")
        if not letter or not count or count > _MOST_NUMBERS:
            return ()
        count *= 2 if kind in _HALVES else 1
        if struct.calcsize(f"={letter}") * count > self._inline:
            at = (*self._read("Q" if self.big else "I", at), 0)[0]
        return self._read(f"{count}{letter}", at)

    def number(self, tag: int, default: int = 0) -> int:
        """The first number of a tag."""
        return (*self.numbers(tag), default)[0]

    def size(self) -> tuple[int, int]:
        """Width and height as the samples are stored.

        Raises
        ------
        OSError
        """
        width, height = self.numbers(WIDTH), self.numbers(LENGTH)
        if len(width) != 1 or len(height) != 1 or min(*width, *height) < 1:
            raise OSError("it begins as TIFF does, but doesn't say how wide and high it is")
        return width[0], height[0]

    def orientation(self) -> int:
        """1 to 8; 1 where there is none: it's one whole number, of any type."""
        found = self.numbers(ORIENTATION)
        return found[0] if len(found) == 1 and 1 <= found[0] <= 8 else 1

    def bits(self) -> tuple[int, ...]:
        """Bits of each sample of a pixel."""
        bits, samples = self.numbers(BITS) or (1,), self.number(SAMPLES, 1)
        return bits * samples if len(bits) == 1 and 0 < samples <= _MOST_SAMPLES else bits[:samples]

    def formats(self) -> set[int]:
        """What samples are: 1 without a sign, 2 with one, 3 floating point, and others."""
        return set(self.numbers(FORMAT)) or {1}

    def pixels(self) -> int:
        """How many are stored: of a picture in tiles those of all tiles, whole."""
        (width, height), (wide, high) = self.size(), self.part_size()
        return self.parts() * wide * high if self.tiled() else width * height

    def apart(self) -> bool:
        """Whether the samples of each colour lie apart from those of others."""
        return self.number(PLANAR, 1) == _APART and len(self.bits()) > 1

    def tiled(self) -> bool:
        """Whether the picture is stored in tiles, and not in strips."""
        return TILE_OFFSETS in self.entries

    def part_size(self) -> tuple[int, int]:
        """Width and height of a tile, or of a strip; the last one may have fewer rows."""
        width, height = self.size()
        high = self.number(_TILE_LENGTH if self.tiled() else _STRIP_ROWS) or height
        return (self.number(TILE_WIDTH) or width) if self.tiled() else width, high

    def parts(self) -> int:
        """How many strips or tiles the picture has; of one colour, where colours lie apart."""
        (width, height), (wide, high) = self.size(), self.part_size()
        return -(-width // wide) * -(-height // high)

    def check(self) -> None:
        """Check that all samples have a place, are of numbers of bits that are known, and mean one thing.

        Raises
        ------
        OSError
        """
        end = self._file.seek(0, os.SEEK_END)
        counting = set(self.entries)
        if self.number(COMPRESSION, UNCOMPRESSED) != _OLD_JPEG:  # which has tags of its own
            counting &= frozenset(_KEPT)
        if not self.whole or any(self._ends(tag) > end for tag in counting):
            raise OSError("the image file is truncated: it ends before what it says of its picture")
        if not set(self.bits()) <= _DEPTHS or not self.bits():
            raise OSError(f"it has {self.in_words()}; such samples aren't decoded")
        self._check_words()
        if self.number(COMPRESSION, UNCOMPRESSED) != _OLD_JPEG:  # which has places of its own
            self._check_places()
        if odd := sorted(tag for tag in self.entries.keys() & _WHOLE_NUMBERS if not self.numbers(tag)):
            raise OSError(f"what it says of its samples isn't whole numbers (tag {odd[0]})")

    def _check_words(self) -> None:
        """Check what libtiff leaves out of account, so that its samples would mean something else than here."""
        if any(self.entries[tag][1] > _MOST_SAMPLES for tag in self.entries.keys() & _FEW):
            raise OSError(f"it says more than {_MOST_SAMPLES:,} numbers of what needs few")
        tiles = self.entries.keys() & {TILE_WIDTH, _TILE_LENGTH, TILE_OFFSETS}
        if tiles and (len(tiles) < _OF_TILES or OFFSETS in self.entries):
            raise OSError("it doesn't say in one way whether its picture is in strips or in tiles")
        if unsaid := [what for tag, what in _ONE_NUMBER.items() if tag in self.entries and len(self.numbers(tag)) != 1]:
            raise OSError(f"it doesn't say in one whole number {unsaid[0]}")
        samples, others = len(self.bits()), len(self.numbers(EXTRA))
        if samples != (said := self.number(SAMPLES, 1)) or self.number(PLANAR, 1) not in _WAYS_TO_LIE:
            raise OSError(f"it says that a pixel has {counted(said, 'sample')}, and not what those are")
        if not set(self.numbers(EXTRA)) <= _KINDS_OF_EXTRA:
            raise OSError("it doesn't say what its samples are that are no colours")
        if others and samples < others + (_COLOURED if self.number(PHOTOMETRIC) == RGB else 0):
            raise OSError(f"it says that {others} of its {counted(samples, 'sample')} are no colours")
        if self.number(PHOTOMETRIC) == PALETTE and len(self.numbers(COLOURS)) != (needed := 3 << self.bits()[0]):
            found = counted(len(self.numbers(COLOURS)), "number")
            raise OSError(f"its palette has {found}, and not the {needed:,} that it needs")
        known = self.number(PREDICTOR, 1) in (_PREDICTORS if self.formats() <= WHOLE else _PREDICTORS_OF_FLOATS)
        if self.number(COMPRESSION, UNCOMPRESSED) in DIFFERENCES and not known:
            raise OSError(f"its samples are differences of an unknown kind ({self.number(PREDICTOR)})")

    def _check_places(self) -> None:
        """Check that there are as many strips or tiles as the picture needs, and none is too short."""
        tiled, bits, compression = self.tiled(), self.bits(), self.number(COMPRESSION, UNCOMPRESSED)
        lengths = TILE_COUNTS if tiled else COUNTS
        offsets, counts = self.numbers(TILE_OFFSETS if tiled else OFFSETS), self.numbers(lengths)
        parts = self.parts()
        needed = parts * (len(bits) if self.apart() else 1)
        if len(offsets) > needed:
            raise OSError(f"it says where {len(offsets)} parts of its picture are, and its size needs {needed}")
        if len(offsets) < needed or (lengths in self.entries and len(counts) < needed):
            found = min(len(offsets), len(counts))
            raise OSError(f"it says where {found} of the {needed} parts of its picture are")
        if not counts and compression in DIFFERENCES:
            raise OSError("it doesn't say how long the compressed parts of its picture are")
        (width, high), height, row = self.part_size(), self.size()[1], 0
        if compression == UNCOMPRESSED and self.number(PHOTOMETRIC) != _YCBCR:
            row = -(-width * (bits[0] if self.apart() else sum(bits)) // 8)
        for number, (at, size) in enumerate(zip(offsets, counts, strict=False)):
            rows = high if tiled else min(high, height - number % parts * high)
            least = rows * row or 1
            if (needed > 1 and size < least) or not (size or at):
                raise OSError(_too_short(number, needed, size))

    def in_words(self) -> str:
        """Samples, their bits and the colours that they are of."""
        bits, colours = self.bits(), self.number(PHOTOMETRIC, -1)
        formats = _FORMATS_IN_WORDS.get(max(self.formats()), "")
        count = self.number(SAMPLES, 1)
        depths = " and ".join(map(str, sorted(set(bits)))) or "0"
        kind = _COLOURS_IN_WORDS.get(colours, "an unknown kind")
        compression = _COMPRESSIONS_IN_WORDS.get(self.number(COMPRESSION, UNCOMPRESSED), "")
        packed = f", and it's compressed as {compression}" if compression else ""
        return f"{counted(count, 'sample')} a pixel, of {depths} bits{formats}; its colours are {kind}{packed}"


def plain(data: bytes, directory: Directory) -> bytes:
    """A TIFF file that says the same of its samples, nothing else, and that Pillow reads and doesn't turn.

    JPEG of old stays as it is but for that: it has places that aren't known here.

    Parameters
    ----------
    data : bytes
    directory : Directory
        Of the file.

    Raises
    ------
    OSError
        It isn't one, or isn't all there; or it's JPEG of old that Pillow doesn't read.
    """
    directory.check()
    changes: Changes = {}
    compression = directory.number(COMPRESSION, UNCOMPRESSED)
    if directory.number(FILL, 1) == 2 and compression in OF_BYTES:  # the last bits first
        changes[FILL], data = (1,), data.translate(_REVERSED)  # directories too, but that has been read
    elif compression == JPEG:
        changes[FILL] = (1,)  # whose bits have one order
    if directory.formats() != {1} and directory.formats() <= WHOLE and set(directory.bits()) == {8}:
        changes[FORMAT] = None
    if directory.number(PLANAR, 1) != 1 and not directory.apart():
        changes[PLANAR] = (1,)
    colours = directory.numbers(COLOURS)
    samples = len(directory.bits())
    if EXTRA in directory.entries and samples == _SAMPLES_OF.get(directory.number(PHOTOMETRIC, -1)):
        changes[EXTRA] = None
    left_out = {PALETTE} if directory.apart() or compression in OF_BYTES else {PALETTE, BLACK_IS_ZERO}
    if directory.number(PHOTOMETRIC) in left_out and samples == 2 and directory.numbers(EXTRA) != (_ALPHA,):
        changes[EXTRA] = (_ALPHA,)  # whatever it is
    if directory.number(PHOTOMETRIC) == PALETTE and colours and max(colours) <= 0xFF:
        changes[COLOURS] = tuple(colour << 8 for colour in colours)
    parts: list[bytes] | None = None
    if directory.number(PHOTOMETRIC) == _YCBCR and compression == UNCOMPRESSED:  # read by libtiff when compressed
        parts = [zlib.compress(part, 1) for part in _parts_of_ycbcr(data, directory)]
        changes[COMPRESSION] = (_DEFLATE,)
    odd = changes or directory.doubled or (directory.big and directory.order == ">")
    return rewritten(data, directory, changes, parts) if odd or compression != _OLD_JPEG else _upright(data, directory)


def _upright(data: bytes, directory: Directory) -> bytes:
    """A file that says in its places that it isn't turned."""
    out = bytearray(data)
    for tag, kind, value in ((ORIENTATION, 3, 1), (_XMP, 1, 0)):
        if tag in directory.entries:
            said = struct.pack(f"{directory.order}H{'Q' if directory.big else 'I'}H", kind, 1, value)
            end = directory.entries[tag][2] + 2
            out[end - len(said) : end] = said
    return bytes(out)


def _parts_of_ycbcr(data: bytes, directory: Directory) -> Iterator[bytes]:
    """What its picture needs of each strip or tile; wherever they lie, that is no more than the picture has."""
    subsampling = directory.numbers(_SUBSAMPLING) or (2, 2)
    if len(subsampling) != 2 or not set(subsampling) <= {1, 2, 4}:
        raise OSError("it doesn't say how many pixels have a colour together")
    tags, (across, down) = (TILE_OFFSETS, TILE_COUNTS) if directory.tiled() else (OFFSETS, COUNTS), subsampling
    offsets, counts = map(directory.numbers, tags)
    if len(offsets) != len(counts) or any(at + size > len(data) for at, size in zip(offsets, counts, strict=True)):
        raise OSError("the image file is truncated")
    (width, high), height = directory.part_size(), directory.size()[1]
    for number, (at, size) in enumerate(zip(offsets, counts, strict=True)):
        rows = high if directory.tiled() else min(high, height - number * high)
        needed = -(-width // across) * -(-rows // down) * (across * down + 2)
        if size < needed:
            raise OSError(_too_short(number, len(offsets), size))
        yield data[at : at + needed]


def rewritten(data: bytes, directory: Directory, changes: Changes, parts: list[bytes] | None = None) -> bytes:
    """A classic TIFF file of the same samples, with the first bits first.

    What is in the file comes behind the new directory, whole: where it ends too early, the new one does too.

    Parameters
    ----------
    data : bytes
    directory : Directory
        Of the file.
    changes : dict
        Tags that become others.
    parts : list of bytes, optional
        What comes in the place of all strips or tiles.

    Raises
    ------
    OSError
        It's JPEG of old, which has places that aren't known here; or there is too much of it.
    """
    if directory.number(COMPRESSION, UNCOMPRESSED) == _OLD_JPEG:
        raise OSError(f"it has {directory.in_words()}; that isn't decoded in BigTIFF, or with a tag twice")
    wanted: dict[int, tuple[int, tuple[float, ...]]] = {}
    for tag in _KEPT:
        values = changes[tag] if tag in changes else directory.stored(tag)
        kind = directory.entries.get(tag, (4, 0, 0))[0]
        if values:
            wanted[tag] = 4 if tag in changes and kind != 3 else _CLASSIC.get(kind, kind), values
    places = [tag for tag in (OFFSETS, TILE_OFFSETS, COUNTS, TILE_COUNTS) if tag in wanted]
    wanted.update({tag: (4, wanted[tag][1]) for tag in places})
    start = 8 + 2 + 12 * len(wanted) + 4
    sizes = (struct.calcsize(f"={_LETTERS[kind]}") * len(values) for kind, values in wanted.values())
    begin = start + sum(map(_padded, sizes))
    if parts is not None:
        places_of, lengths_of = (TILE_OFFSETS, TILE_COUNTS) if directory.tiled() else (OFFSETS, COUNTS)
        ends = list(itertools.accumulate(map(len, parts), initial=0))
        wanted |= {places_of: (4, tuple(ends[:-1])), lengths_of: (4, tuple(map(len, parts)))}
        data = b"".join(parts)
    for tag in {OFFSETS, TILE_OFFSETS} & wanted.keys():
        wanted[tag] = 4, tuple(begin + at for at in wanted[tag][1])
    order, table, values_behind = directory.order, b"", b""
    try:
        for tag, (kind, values) in sorted(wanted.items()):
            packed = struct.pack(f"{order}{len(values)}{_LETTERS[kind]}", *values)
            table += struct.pack(f"{order}HHI", tag, kind, len(values) // (2 if kind in _HALVES else 1))
            inline = len(packed) <= 4
            table += packed.ljust(4, b"\0") if inline else struct.pack(f"{order}I", start + len(values_behind))
            values_behind += b"" if inline else packed.ljust(_padded(len(packed)), b"\0")
    except struct.error as error:
        raise OSError("its numbers are larger than a TIFF file can have here") from error
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(wanted)) + table + bytes(4)
    return (head + values_behind).ljust(begin, b"\0") + data


def _too_short(number: int, parts: int, size: int) -> str:
    return f"part {number + 1} of the {parts} parts of its picture has only {size} bytes"


def _padded(size: int) -> int:
    return size + size % 2
