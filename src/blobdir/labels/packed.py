"""Files that are packed in another one: their names, and how they begin, within bounds.

What a ZIP lists, and the headers of a tar, say all names, and cost little; so they are seen first, and of the files
only those are read that somebody asks for, in one go. Wherever a bound is reached, or something can't be read, that's
said as a limit: who finds nothing then doesn't know that nothing is there. Nothing is written.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import struct
import tarfile
import zipfile
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, cast

from blobdir.labels.files import END_BYTES, packed_in, sample_in
from blobdir.labels.finding import is_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    _Reading = Callable[[list[str]], Iterator[bytes | None]]

PACKED: Final = (".zip", ".rar", ".7z", ".gz", ".tgz", ".bz2", ".xz", ".zst")
"""Endings of files with others in them; a tar is one, too, and is seen to be."""
ODD: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffd]+")
"""What is in no name, and stands between them in bytes."""
EMPTY_ZIP: Final = b"PK\5\6"
OLD_TABLE: Final = b"\xd0\xcf\x11\xe0"
TAR_MAGIC: Final = slice(257, 262)
CLOSED: Final = "it can't be looked into"
_MOST_ODD: Final = 50
"""A text has fewer characters that are none: one in so many."""
_MIB: Final = 1 << 20
_UNPACKED: Final = 16 * _MIB
"""So much is unpacked of a file, and read of all files in one."""
_OF_ONE: Final = 4 * _MIB
"""So much is read of a file in another one."""
_MEMBERS: Final = 1000
"""So many files in one are read."""
_HEADERS: Final = 20_000
"""So many headers of a tar are read."""
_NAMES: Final = 20_000
"""So many names are looked at, but for those of images."""
_LISTED: Final = 16 * _MIB
"""A list of what is in a ZIP is read up to so many bytes."""
_END_OF_ZIP: Final = 65_557
_MEMORY: Final = 64 << 20
_OPENERS: Final = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ": lzma.LZMAFile}
_BROKEN: Final = (
    *(OSError, EOFError, ValueError, KeyError, RuntimeError, NotImplementedError, struct.error),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError),
)
"""What comes of files that are damaged, or need a password."""


class Sample(NamedTuple):
    """What is seen of a file in another one.

    Attributes
    ----------
    text : str
        Empty: it's no text.
    cuts : int
        As `LabelFiles.sample` has it.
    limit : str
        Why it isn't all; empty: it is.
    """

    text: str = ""
    cuts: int = 0
    limit: str = ""


class Inside:
    """Files in one that is packed.

    Attributes
    ----------
    names : list of str
        Of those that aren't empty, and no images.
    limit : str
        Which names weren't seen; empty: all were.
    """

    def __init__(
        self, names: Iterable[str], limit: str, reading: Callable[[list[str]], Iterator[bytes | None]]
    ) -> None:
        others = [name for name in names if not is_image(name)]
        self.names = others[:_NAMES]
        self.limit = limit or (
            f"only {_NAMES:,} of {len(others):,} files in it were looked at" if others[_NAMES:] else ""
        )
        self._reading = reading

    def read(self, names: list[str]) -> Iterator[tuple[str, Sample]]:
        """How files begin, in order; behind the bounds each one's sample has a limit and nothing else."""
        left = _UNPACKED
        given = self._reading(names[:_MEMBERS])
        for i, name in enumerate(names):
            if i >= _MEMBERS or left <= 0:
                done = f"only {i:,} of {len(names):,} files in it were looked at"
                yield from ((other, Sample(limit=done)) for other in names[i:])
                return
            data = next(given, None)
            if data is None:
                yield name, Sample(limit=f"{name} in it can't be read")
                continue
            left -= len(data)
            limit = f"only the first {_OF_ONE // _MIB} MiB of {name} in it were looked at"
            if packed_in(data) or data[TAR_MAGIC] == b"ustar":
                yield name, Sample(limit=f"{name} in it is packed, too")
            elif is_text(data[:END_BYTES]):
                text, cuts = sample_in(BytesIO(data[:_OF_ONE]), min(len(data), _OF_ONE))
                yield name, Sample(text, cuts, limit if len(data) > _OF_ONE else "")
            else:
                yield name, Sample()


def in_zip(opened: Callable[[], BinaryIO]) -> Inside:
    """What is in a ZIP; nothing that is known if it's damaged, or its list is too big."""

    def reading(names: list[str]) -> Iterator[bytes | None]:
        try:
            with opened() as file, zipfile.ZipFile(file) as archive:
                for name in names:
                    yield _read_in_zip(archive, name)
        except _BROKEN:
            return

    try:
        with opened() as file:
            if not _is_list_small(file):
                return Inside([], f"its list of files has more than {_LISTED // _MIB} MiB", reading)
            with zipfile.ZipFile(file) as archive:
                names = [one.filename for one in archive.infolist() if not one.is_dir() and one.file_size]
    except _BROKEN:
        return Inside([], CLOSED, reading)
    return Inside(dict.fromkeys(names), "", reading)


def _read_in_zip(archive: zipfile.ZipFile, name: str) -> bytes | None:
    """How a file in a ZIP begins: not much of what is no text; None if it can't be read without a password, say."""
    try:
        with archive.open(name) as member:
            return _beginning(cast("BinaryIO", member), archive.getinfo(name).file_size)
    except _BROKEN:
        return None


def _beginning(file: BinaryIO, size: int) -> bytes | None:
    """How one of so many bytes begins: not much of what is no text; None if the file ends before."""
    head = file.read(min(size, END_BYTES >> 4))
    if not is_text(head):
        return head or None
    size = min(size, _OF_ONE + 1)
    data = head + file.read(size - len(head))
    return data if len(data) == size else None


def _is_list_small(file: BinaryIO) -> bool:
    """Whether the list at the end of a ZIP, which is read whole, has no more than so many bytes."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_OF_ZIP))
    tail = file.read(_END_OF_ZIP)
    at = tail.rfind(EMPTY_ZIP)
    if at < 0:
        raise zipfile.BadZipFile
    return bool(struct.unpack_from("<I", tail, at + 12)[0] <= _LISTED)


def in_tar(opened: Callable[[], BinaryIO], limit: str = "") -> Inside:
    """What is in a tar, of which that may be all that could be unpacked, as `limit` says then."""
    places: dict[str, tuple[int, int]] = {}

    def reading(names: list[str]) -> Iterator[bytes | None]:
        try:
            with opened() as file:
                for name in names:
                    start, size = places[name]
                    file.seek(start)
                    yield _beginning(file, size)
        except _BROKEN:
            return

    try:
        with opened() as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for count, member in enumerate(tar):
                if count >= _HEADERS:
                    limit = limit or f"only the first {_HEADERS:,} files in it were looked at"
                    break
                if member.isreg() and member.size:
                    places[member.name] = member.offset_data, member.size
    except _BROKEN:
        limit = limit or "its end is missing, or can't be read"
    return Inside(places, limit, reading)


def unpacked(file: BinaryIO, head: bytes) -> tuple[bytes, str]:
    """What is packed in a file that begins so, up to a bound, and what of it wasn't looked at."""
    opener = next((one for start, one in _OPENERS.items() if head.startswith(start)), None)
    if opener is None or (opener is lzma.LZMAFile and not unpacked_head(head, END_BYTES)):  # it needs much memory
        return b"", CLOSED
    found = bytearray()
    limit = f"only the first {_UNPACKED // _MIB} MiB of what is in it were looked at"
    try:
        with opener(file) if opener is not gzip.GzipFile else gzip.GzipFile(fileobj=file) as stream:
            while len(found) < _UNPACKED:
                piece = stream.read(END_BYTES)
                if not piece:
                    return bytes(found), ""
                found += piece
            return bytes(found), limit if stream.read(1) else ""
    except _BROKEN:
        return bytes(found), "its end is missing, or can't be read" if found else CLOSED


def unpacked_head(head: bytes, most: int) -> bytes:
    """What is packed in the beginning of a file, up to a bound; nothing if it isn't, or can't be unpacked."""
    try:
        if head.startswith(b"\x1f\x8b"):
            return zlib.decompressobj(31).decompress(head, most)
        if head.startswith(b"BZh"):
            return bz2.BZ2Decompressor().decompress(head, most)
        if head.startswith(b"\xfd7zXZ"):
            return lzma.LZMADecompressor(memlimit=_MEMORY).decompress(head, most)
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        pass
    return b""


def is_text(head: bytes) -> bool:
    """Whether a file begins like a text, of any encoding that has letters of one byte."""
    if not head or b"\0" in head:
        return False
    text = head.decode("utf-8", "replace")
    return _MOST_ODD * sum(len(one) for one in ODD.findall(text)) <= len(text) or _is_of_one_byte(head)


def _is_of_one_byte(head: bytes) -> bool:
    """Whether a text may be in an old encoding, with many letters that aren't ASCII."""
    return not re.search(rb"[\x01-\x08\x0e-\x1f]", head)
