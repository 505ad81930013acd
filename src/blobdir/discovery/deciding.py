"""Ranges of blobs whose content decided whether two of one name are the same.

In a copy of a project, a blob is known by some of its blocks. These may not be among them, and the tree depends on
their content; so an index keeps a digest of it.
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

COMPARED: Final = "compared"
"""Role of an input: a blob, of which some ranges decided. With more than are kept, the index isn't true of a copy."""
MOST_RANGES, MOST_BYTES = 4096, 64 << 20
"""Of all blobs together: who opens a copy reads them again."""
_READ_BYTES: Final = 8 << 20


class Deciding:
    """Notes what was compared."""

    def __init__(self) -> None:
        self._ranges: dict[int, list[str]] = {}
        self._hashes: dict[int, hashlib.blake2b] = {}
        self._count = self._bytes = 0

    def note(self, blob: int, spans: Sequence[tuple[int, int]], contents: Sequence[bytes]) -> None:
        """Note ranges of a blob, and what was read there."""
        self._count += len(spans)
        self._bytes += sum(map(len, contents))
        ranges, found = self._ranges.setdefault(blob, []), self._hashes.setdefault(blob, _new_hash())
        if self._is_too_much():
            ranges.clear()
            return
        ranges += [f"{start}-{end}" for start, end in spans]
        for data in contents:
            found.update(data)

    def records(self, blobs: Sequence[SourceRecord]) -> Iterator[SourceRecord]:
        """What is kept of it."""
        for number, found in self._hashes.items():
            digest = "" if self._is_too_much() else f"{','.join(self._ranges[number])}:{found.hexdigest()}"
            yield replace(blobs[number], role=COMPARED, defect=-1, digest=digest)

    def _is_too_much(self) -> bool:
        return self._count > MOST_RANGES or self._bytes > MOST_BYTES


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
