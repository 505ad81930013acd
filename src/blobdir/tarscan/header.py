"""The 512 bytes of a tar header: single fields, and whole columns of headers at once.

Layout after POSIX.1-2001 (ustar) and the GNU tar manual; see ``docs/formats/tar.md`` for the table of bytes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAME_BYTES = 100
MODE = slice(100, 108)
SIZE = slice(124, 136)
MTIME = slice(136, 148)
CHECKSUM = slice(148, 156)
TYPE_AT = 156
LINK_NAME = slice(157, 257)
MAGIC = slice(257, 265)
PREFIX = slice(345, 500)
GNU_MAGIC = b"ustar  \0"
SPECIAL_TYPES = frozenset(b"123456ADKLMSVXgx")
"""Types of members that aren't regular files; a type that nobody knows is one, as POSIX and all readers have it."""

_OCTAL = re.compile(rb" *(-?[0-7]+)? *")
_LOW_BYTES = np.uint64(0x00FF00FF00FF00FF)
_EIGHT = np.uint64(8)
# The checksum is taken as if its own eight bytes were spaces.
_CHECKSUM_SPACES = 8 * ord(" ")
_OCTAL_WEIGHTS = 8.0 ** np.arange(10, -1, -1)  # float64 is exact below 2**53; eleven digits need 33 bits

_ONES = np.ones(8)
STRIP_ROWS = 128

COMPRESSIONS = (
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"\xfd7zXZ\0", "xz", "unxz"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    (b"\x04\x22\x4d\x18", "lz4", "unlz4"),
    (b"PK\x03\x04", "zip", "unzip, then tar"),
    (b"PK\x05\x06", "zip", "unzip, then tar"),
    (b"\x5d\0\0", "lzma", "unlzma"),
    (b"\x1f\x9d", "compress", "uncompress"),
    (b"LZIP", "lzip", "lzip -d"),
    (b"7z\xbc\xaf\x27\x1c", "7-zip", "7z x, then tar"),
)
"""First bytes, name, and what undoes it."""


def text_field(field: bytes) -> bytes:
    """A text field up to its first NUL, or all of it."""
    return field[: field.index(0)] if 0 in field else field


def shown(name: bytes) -> str:
    """A name for a message: quoted, control characters escaped, cut if it is very long."""
    text = repr(name[:200].decode("utf-8", "backslashreplace"))
    return text if len(name) <= 200 else f"{text}… ({len(name)} bytes)"


def number(field: bytes) -> int | None:
    """A numeric field: octal digits up to a NUL or the end, or GNU base-256 in two's complement.

    Spaces around the digits are allowed, and an empty field is 0, as all known readers have it.

    Returns
    -------
    int or None
        None if the field is not a number.
    """
    digits = field[:-1]
    if digits.isdigit() and field[-1] in b"\0 ":  # what nearly all writers make
        try:
            return int(digits, 8)
        except ValueError:
            return None
    if field[0] in (0x80, 0xFF):
        value = int.from_bytes(field[1:], "big")
        return value if field[0] == 0x80 else value - (1 << 8 * (len(field) - 1))
    match = _OCTAL.fullmatch(text_field(field))
    return None if match is None else int(match[1] or b"0", 8)


def full_name(header: bytes) -> bytes:
    """Name of a header with the ustar prefix, without slashes at its end."""
    name = text_field(header[:NAME_BYTES])
    magic = header[MAGIC]
    # Old GNU headers keep other things where ustar has the prefix, and older ones nothing that means anything.
    if magic.startswith(b"ustar") and magic != GNU_MAGIC:
        prefix = text_field(header[PREFIX])
        if prefix:
            name = prefix + b"/" + name
    return name.rstrip(b"/")


def checksum_holds(header: bytes) -> bool:
    """Whether the checksum is right; some old writers summed signed bytes, and readers take either sum."""
    stored = number(header[CHECKSUM])
    others = header[: CHECKSUM.start] + header[CHECKSUM.stop :]
    unsigned = sum(others) + _CHECKSUM_SPACES
    return stored == unsigned or stored == unsigned - 256 * sum(byte >= 0x80 for byte in others)


def first_bad_checksum(block: NDArray[np.uint8]) -> int:
    """Row of the first header whose checksum is wrong, or -1.

    Parameters
    ----------
    block : ndarray of uint8, shape (k, 512), contiguous
    """
    sums = np.empty(len(block), np.uint64)
    words = block.view(np.uint64)
    # In strips, since a page that the allocator gives back and gets again costs more than the sums.
    for first in range(0, len(block), STRIP_ROWS):
        strip = words[first : first + STRIP_ROWS]
        # Sums of bytes in four lanes of 16 bits: a word adds at most 510 to a lane, and 64 of them don't overflow it.
        lanes = strip >> _EIGHT
        lanes &= _LOW_BYTES
        lanes += strip & _LOW_BYTES
        np.einsum("ij->i", lanes, out=sums[first : first + STRIP_ROWS])  # a third of the time of lanes.sum(axis=1)
    field = block[:, CHECKSUM]
    total = sums.view(np.uint16).reshape(-1, 4) @ _ONES[:4] - field @ _ONES + _CHECKSUM_SPACES
    digits = field[:, :6] - np.uint8(ord("0"))
    usual = (digits < 8).all(axis=1) & (field[:, 6] == 0)
    stored = digits @ _OCTAL_WEIGHTS[5:]
    for row in np.flatnonzero(~usual | (stored != total)).tolist():
        if not checksum_holds(block[row].tobytes()):
            return int(row)
    return -1


def mtime_column(block: NDArray[np.uint8]) -> tuple[NDArray[np.int64], list[int]]:
    """Modification times in whole seconds, and the rows whose field is in an unusual form and was left at 0."""
    field = block[:, MTIME]
    digits = field[:, :11] - np.uint8(ord("0"))
    usual = (digits < 8).all(axis=1) & ((field[:, 11] & 0xDF) == 0)
    seconds = (digits @ _OCTAL_WEIGHTS).astype(np.int64)
    seconds[~usual] = 0
    return seconds, np.flatnonzero(~usual).tolist()


def mode_column(block: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """Permission bits; 0 where the mode is not a number."""
    # An archive has few different modes, in whatever form its writer chose: each is parsed once.
    field = np.ascontiguousarray(block[:, MODE]).view(np.uint64)[:, 0]
    if (field == field[0]).all():
        return np.full(len(field), (number(field[0].tobytes()) or 0) & 0o7777, np.uint16)
    kinds, kind_of_row = np.unique(field, return_inverse=True)
    table = np.array([(number(kind.tobytes()) or 0) & 0o7777 for kind in kinds], np.uint16)
    return table[kind_of_row]


def name_columns(block: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Names of many headers, as `full_name` gives them but with slashes at their ends.

    Returns
    -------
    arena : ndarray of uint8
        The names, each followed by one NUL.
    length : ndarray of int64, shape (k,)
        Bytes of each with the NUL.
    """
    length = _text_lengths(block[:, :NAME_BYTES])
    widest = int(length.max(initial=0))
    # One column more than the name, for the NUL; it is written below, since a name of 100 bytes has none.
    columns = block[:, : widest + 1]
    keep = np.arange(widest + 1) <= length[:, None]
    magic = np.ascontiguousarray(block[:, MAGIC]).view(np.uint64)[:, 0]
    prefixed = (block[:, PREFIX.start] != 0) & (magic != np.frombuffer(GNU_MAGIC, np.uint64))
    if prefixed.any():
        prefixed &= (block[:, 257:262] == np.frombuffer(b"ustar", np.uint8)).all(axis=1)
        prefix = block[:, PREFIX]
        prefix_length = np.where(prefixed, _text_lengths(prefix), 0)
        slash = np.full((len(block), 1), ord("/"), np.uint8)
        columns = np.concatenate([prefix, slash, columns], axis=1)
        keep_prefix = np.arange(prefix.shape[1]) < prefix_length[:, None]
        keep = np.concatenate([keep_prefix, prefixed[:, None], keep], axis=1)
        length += prefix_length + prefixed
    arena = columns[keep]
    length += 1
    arena[np.cumsum(length) - 1] = 0
    return arena, length


def _text_lengths(field: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Bytes before the first NUL of each row, or the width of the field."""
    nul = field == 0
    first = nul.argmax(axis=1)
    length: NDArray[np.int64] = np.where(nul[np.arange(len(field)), first], first, field.shape[1]).astype(np.int64)
    return length
