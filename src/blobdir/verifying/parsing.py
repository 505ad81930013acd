"""Offsets files that two checks need: each is parsed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdir.offsets import read_offsets

if TYPE_CHECKING:
    from blobdir.offsets import OffsetsTable, OnConflict
    from blobdir.offsets.reader import ByteSource
    from blobdir.sources import Stat


class ParsedOnce:
    """`blobdir.offsets.read_offsets` that remembers what it gave until it's asked for it a second time."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, Stat], OffsetsTable] = {}

    def __call__(self, data: bytes | ByteSource, /, *, name: str, on_conflict: OnConflict = "error") -> OffsetsTable:
        """The entries of an offsets file; its attributes decide whether it's the same: inode, size and both times.

        Raises
        ------
        OffsetsError
        """
        stat: Stat | None = getattr(data, "stat", None)
        known = self._known.pop((name, on_conflict, stat), None) if stat else None
        if known is not None:
            return known
        table = read_offsets(data, name=name, on_conflict=on_conflict)
        if stat:
            self._known[name, on_conflict, stat] = table
        return table
