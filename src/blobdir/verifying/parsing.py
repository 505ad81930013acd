"""Offsets files that two checks need: each is parsed once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from blobdir.offsets import read_offsets

if TYPE_CHECKING:
    from blobdir.offsets import OffsetsTable, OnConflict


class ParsedOnce:
    """`blobdir.offsets.read_offsets` that remembers what it gave until it's asked for it a second time."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, str], OffsetsTable] = {}

    def __call__(self, data: bytes, /, *, name: str, on_conflict: OnConflict = "error") -> OffsetsTable:
        """The entries of an offsets file; its content decides whether it's the same.

        Raises
        ------
        OffsetsError
        """
        key = hashlib.blake2b(data, digest_size=32).digest(), on_conflict
        known = self._known.pop(key, None)
        if known is not None:
            return known
        table = self._known[key] = read_offsets(data, name=name, on_conflict=on_conflict)
        return table
