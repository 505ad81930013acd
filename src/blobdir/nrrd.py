"""NRRD files as the SDK reads them, which has ``pynrrd`` for it: ``docs/decisions/0014-nrrd.md``.

Raw, text, gzip and bzip2 samples that stand in the same file, format versions 1 to 5. Samples in another file are
refused, since the header could name any.
"""

from __future__ import annotations

import bz2
import re
import zlib
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from typing import BinaryIO

    from numpy.typing import NDArray

MAGIC: Final = b"NRRD"
_VERSION: Final = re.compile(rb"NRRD0*[1-5]\s*")
_FIELD: Final = re.compile(r"\s*([^:]*?)\s*:=?\s*(.*?)\s*")
_HEADER_BYTES: Final = 1 << 20
_BEFORE_BYTES: Final = 1 << 20
"""Most bytes of compressed data before the samples: the header says how many, or only that the samples are the last."""
_AXES: Final = 32
_COLOURED, _COLOURS = 3, 4
"""Axes of an image that has colours, and samples of one pixel."""
_SIGNED: Final = {
    "i1": ("signed char", "int8"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16"),
    "i4": ("int", "signed int", "int32"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64"),
}
_UNSIGNED: Final = {
    "u1": ("uchar", "unsigned char", "uint8"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16"),
    "u4": ("uint", "unsigned int", "uint32"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64"),
}
_TYPES: Final = {
    "float": "f4",
    "double": "f8",
    **{name: kind for kind, names in (_SIGNED | _UNSIGNED).items() for name in names},
    **{f"{names[-1]}_t": kind for kind, names in (_SIGNED | _UNSIGNED).items()},
}
_TEXT: Final = ("ascii", "text", "txt")
_GZIP: Final = ("gzip", "gz")
_BZIP2: Final = ("bzip2", "bz2")


class NrrdError(ValueError):
    """What is wrong with an NRRD file."""


@dataclass(frozen=True, slots=True)
class Header:
    """What an NRRD file says of its samples.

    Attributes
    ----------
    shape : tuple of int
        Of the array: height, width and, where there are some, channels. The file has them the other way round.
    dtype : dtype
    encoding : str
    skip_lines, skip_bytes : int
        Before the samples; -1 bytes: they are the last ones.
    end : int
        Bytes of the header.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    encoding: str
    skip_lines: int
    skip_bytes: int
    end: int

    @property
    def count(self) -> int:
        """Samples."""
        return prod(self.shape)

    @property
    def pixels(self) -> int:
        """What a limit for pixels holds for: samples, but those of one pixel's colour are one."""
        has_colours = len(self.shape) == _COLOURED and self.shape[-1] <= _COLOURS
        return self.count // (self.shape[-1] if has_colours else 1)


def read_header(file: BinaryIO) -> Header:
    """Read the header at the beginning of a file.

    Raises
    ------
    NrrdError
    """
    if not _VERSION.fullmatch(file.readline(_HEADER_BYTES)):
        raise NrrdError("it isn't NRRD of version 1 to 5")
    fields: dict[str, str] = {}
    while line := file.readline(_HEADER_BYTES):
        text = line.decode("ascii", "ignore").rstrip()
        if not text:
            break
        if text.startswith("#"):
            continue
        found = _FIELD.fullmatch(text)
        if not found:
            raise NrrdError(f"its header has a line without a colon: {text[:40]!r}")
        if found[1] in fields:
            raise NrrdError(f"its header has {found[1][:40]!r} twice")
        fields[found[1]] = found[2]
        if file.tell() > _HEADER_BYTES:
            raise NrrdError("its header has no end")
    return _header(fields, file.tell())


def _header(fields: dict[str, str], end: int) -> Header:
    if lost := [name for name in ("type", "dimension", "encoding", "sizes") if name not in fields]:
        raise NrrdError(f"its header has no {lost[0]}")
    if "data file" in fields or "datafile" in fields:
        raise NrrdError("its samples are in another file")
    sizes = [_number(size, "sizes") for size in fields["sizes"].split()]
    if _number(fields["dimension"], "dimension") != len(sizes) or not 2 <= len(sizes) <= _AXES:
        raise NrrdError(f"it has {len(sizes)} sizes and the dimension {fields['dimension'][:20]}; an image has 2 or 3")
    if min(sizes) < 1:
        raise NrrdError("it has no samples")
    if fields["type"] not in _TYPES:
        raise NrrdError(f"it has samples of the type {fields['type'][:40]!r}")
    dtype, encoding = np.dtype(_TYPES[fields["type"]]), fields["encoding"].lower()
    if encoding not in ("raw", *_TEXT, *_GZIP, *_BZIP2):
        raise NrrdError(f"it has samples in the encoding {fields['encoding'][:40]!r}")
    if dtype.itemsize > 1 and encoding not in _TEXT:
        if fields.get("endian") not in ("little", "big"):
            raise NrrdError("its header doesn't say which endian")
        dtype = dtype.newbyteorder("<" if fields["endian"] == "little" else ">")
    skips = [
        _number(fields.get(f"{what}skip", fields.get(f"{what} skip", "0")), f"{what} skip") for what in ("line", "byte")
    ]
    if skips[0] < 0 or skips[1] < -1:
        raise NrrdError("it skips a negative number of lines or bytes")
    return Header(tuple(reversed(sizes)), dtype, encoding, skips[0], skips[1], end)


def _number(text: str, what: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise NrrdError(f"its header has {text[:40]!r} as {what}, no whole number") from error


def read_samples(data: bytes, header: Header) -> NDArray[Any]:
    """The samples of a file, as an array of the header's shape and type, in this machine's order; the caller's own.

    Raises
    ------
    NrrdError
    """
    at = header.end
    for _ in range(header.skip_lines):
        at = data.find(b"\n", at) + 1
        if not at:
            raise NrrdError("it ends before its samples begin")
    wanted = header.count * header.dtype.itemsize
    if header.encoding in _TEXT:
        samples = _texts(data[at + max(header.skip_bytes, 0) :], header)
    else:
        rest = data[at:] if header.encoding == "raw" else _unpacked(data[at:], header, wanted)
        rest = (
            rest[-wanted:]
            if header.skip_bytes < 0 and len(rest) - wanted <= _BEFORE_BYTES
            else rest[header.skip_bytes :]
        )
        if len(rest) != wanted:
            raise NrrdError(f"it has {len(rest):,} bytes of samples, not {wanted:,}")
        samples = np.frombuffer(rest, header.dtype)
    return samples.reshape(header.shape).astype(header.dtype.newbyteorder("="))


def _texts(data: bytes, header: Header) -> NDArray[Any]:
    words = data.split(None, header.count)
    if len(words) != header.count:
        raise NrrdError(f"it has {len(words):,} samples or more, not {header.count:,}")
    try:
        return np.array(words).astype(header.dtype)
    except (ValueError, OverflowError) as error:
        raise NrrdError("it has samples that are no numbers") from error


def _unpacked(data: bytes, header: Header, wanted: int) -> bytes:
    """What is compressed: never much more than the samples take."""
    before = _BEFORE_BYTES if header.skip_bytes < 0 else header.skip_bytes
    if before > _BEFORE_BYTES:
        raise NrrdError(f"it skips {before:,} bytes of what is compressed, and {_BEFORE_BYTES:,} are the most")
    most = wanted + before + 1
    try:
        if header.encoding in _GZIP:
            return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, most)
        return bz2.BZ2Decompressor().decompress(data, most)
    except (zlib.error, OSError, EOFError) as error:
        raise NrrdError("its samples can't be uncompressed") from error
