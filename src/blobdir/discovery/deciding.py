"""Ranges of blobs whose content decided what a project is: whether two of one name are the same, and offsets fit.

The tree and its defects depend on what discovery has read of a blob, and on nothing else of it. In a copy of a project,
just that must be the same: so what is kept is what was read, noted where it's read.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from blobdir.errors import BlobdirError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blobdir.index import SourceRecord
    from blobdir.sources import LocalStorage
    from blobdir.tarscan import ReadAt

COMPARED: Final = "compared"
"""Role of an input: a blob, of which some ranges were read. With more than are kept, the index isn't true of a copy."""
MOST_RANGES, MOST_BYTES = 4096, 64 << 20
"""Of one blob, and of all that were compared with others: who opens a copy reads them again."""
_READ_BYTES: Final = 8 << 20


class Deciding:
    """Notes what of blobs was looked at, and what it said."""

    def __init__(self) -> None:
        self._noted: dict[int, _Noted] = {}
        self._count = self._bytes = 0

    def note(self, blob: int, spans: Sequence[tuple[int, int]], contents: Sequence[bytes]) -> None:
        """Note ranges of a blob that were compared with others, and what was read there."""
        self._count += len(spans)
        self._bytes += sum(map(len, contents))
        noted = self._noted.setdefault(blob, _Noted())
        for (start, end), data in zip(spans, contents, strict=True):
            noted.add(start, end, data)

    def watched(self, blob: int, source: ReadAt) -> ReadAt:
        """A blob, of which everything is noted that is read from now on."""
        return _Watched(source, self._noted.setdefault(blob, _Noted()))

    def records(self, blobs: Sequence[SourceRecord]) -> Iterator[SourceRecord]:
        """What is kept of it."""
        too_much = self._count > MOST_RANGES or self._bytes > MOST_BYTES
        for number, noted in self._noted.items():
            if noted:
                yield replace(blobs[number], role=COMPARED, defect=-1, digest="" if too_much else noted.digest())


class _Noted:
    """Ranges of one blob, and a hash of what is there."""

    def __init__(self) -> None:
        self._ranges: list[str] = []
        self._hash = _new_hash()
        self._bytes = 0
        self._is_too_much = False

    def __bool__(self) -> bool:
        return bool(self._ranges) or self._is_too_much

    def add(self, start: int, end: int, data: bytes) -> None:
        self._bytes += len(data)
        self._is_too_much |= len(self._ranges) >= MOST_RANGES or self._bytes > MOST_BYTES
        if self._is_too_much:
            self._ranges.clear()
            return
        self._ranges.append(f"{start}-{end}")
        self._hash.update(data)

    def digest(self) -> str:
        return "" if self._is_too_much else f"{','.join(self._ranges)}:{self._hash.hexdigest()}"


class _Watched:
    def __init__(self, source: ReadAt, noted: _Noted) -> None:
        self._source, self._noted = source, noted
        self.path, self.size = source.path, source.size

    def read_at(self, start: int, n: int) -> bytes:
        data = self._source.read_at(start, n)
        self._noted.add(start, start + n, data)
        return data


def decides_so(then: SourceRecord, storage: LocalStorage) -> bool:
    """Whether the ranges that decided have the content in a copy of the project that they had then."""
    said, _, expected = then.digest.partition(":")
    ranges = [part.partition("-")[::2] for part in said.split(",", MOST_RANGES)]
    if not expected or len(ranges) > MOST_RANGES:
        return False
    if not all(end.isdecimal() and start.isdecimal() and len(start) < 19 and len(end) < 19 for start, end in ranges):
        return False
    spans = [(int(start), int(end)) for start, end in ranges]
    if sum(max(0, end - start) for start, end in spans) > MOST_BYTES:
        return False
    found = _new_hash()
    try:
        source = storage.open(then.path)
        for start, end in spans:
            for low in range(start, end, _READ_BYTES):
                found.update(source.read_at(low, min(_READ_BYTES, end - low)))
    except (OSError, BlobdirError):
        return False
    return found.hexdigest() == expected


def _new_hash() -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16)
