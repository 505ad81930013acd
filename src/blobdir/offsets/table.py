"""The entries of one offsets file, as columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from blobdir.errors import OffsetsError, OffsetsNameError, OffsetsRangeError, OffsetsTypeError
from blobdir.nametable import gather_names, join_names, pack_names
from blobdir.offsets.attributes import Attributes, joined
from blobdir.offsets.conflicts import OnConflict, Resolution, resolve
from blobdir.offsets.names import first_bad_name, shown, to_bytes, to_str

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from blobdir.offsets.attributes import State
    from blobdir.offsets.info import BlobImageInfo

MAX_OFFSET = 2**63 - 1


@dataclass(frozen=True, slots=True, eq=False)
class OffsetsTable:
    """Names and byte ranges of the images in one blob. Names are unique.

    Attributes
    ----------
    arena : ndarray of uint8
        The names, UTF-8 or whatever bytes they are in the tar, each followed by one NUL byte.
    name_start : ndarray of int64, shape (n + 1,)
        Name ``i`` is ``arena[name_start[i]:name_start[i + 1] - 1]``.
    start, end : ndarray of int64, shape (n,)
        Byte range of each image in the tar, half-open, ``0 <= start <= end``.
    repeats : int
        How many exact repeats of an entry were dropped on the way here.
    attributes : Attributes, optional
        What else the entries have, if that was asked for and any has.
    """

    arena: NDArray[np.uint8]
    name_start: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    repeats: int = 0
    attributes: Attributes | None = None

    @classmethod
    def from_entries(
        cls,
        entries: Iterable[tuple[bytes | str, int, int]],
        *,
        on_conflict: OnConflict = "error",
        states: Iterable[State] = (),
    ) -> OffsetsTable:
        """Make a table of (name, start, end).

        Parameters
        ----------
        entries : iterable of (bytes or str, int, int)
            Lone surrogates ``U+DCxx`` in a `str` are the bytes ``xx``.
        on_conflict : {"error", "skip", "replace", "rename"}
            What to do with one name that has two ranges, see `read_offsets`.
        states : iterable of State, optional
            Attributes of the entries, see `blobdir.offsets.attributes`.

        Raises
        ------
        OffsetsTypeError, OffsetsNameError, OffsetsRangeError, OffsetsConflictError
        UsageError
            `on_conflict` is none of the four.
        """
        names: list[bytes] = []
        ranges: list[tuple[int, int]] = []
        for number, (name, start, end) in enumerate(entries):
            names.append(_name_bytes(name, number))
            for offset in (start, end):
                if isinstance(offset, bool | np.bool_) or not isinstance(offset, int | np.integer):
                    raise OffsetsTypeError(f"entry {number}: the offset {offset!r} is not an integer")
                if not 0 <= offset <= MAX_OFFSET:
                    raise OffsetsRangeError(f"entry {number}: the offset {offset} is not between 0 and 2**63 - 1")
            ranges.append((start, end))
        columns = np.array(ranges, np.int64).reshape(len(ranges), 2)
        table = cls(*pack_names(names), np.ascontiguousarray(columns[:, 0]), np.ascontiguousarray(columns[:, 1]))
        table.check()
        return table.with_states(states).unique(on_conflict)

    def __len__(self) -> int:
        return len(self.start)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same entries in the same order; `repeats` and `attributes` don't count."""
        if not isinstance(other, OffsetsTable):
            return NotImplemented
        return (
            np.array_equal(self.start, other.start)
            and np.array_equal(self.end, other.end)
            and np.array_equal(self.name_start, other.name_start)
            and np.array_equal(self.arena, other.arena)
        )

    __hash__ = None  # type: ignore[assignment]

    def name(self, row: int) -> bytes:
        """The name of one entry."""
        row = range(len(self))[row]
        return self.arena[self.name_start[row] : self.name_start[row + 1] - 1].tobytes()

    def names(self) -> list[bytes]:
        """All names, in order."""
        return self.arena.tobytes().split(b"\0")[:-1]

    def entries(self) -> Iterator[tuple[bytes, int, int]]:
        """All entries, in order."""
        return zip(self.names(), self.start.tolist(), self.end.tolist(), strict=True)

    def __iter__(self) -> Iterator[BlobImageInfo]:
        from blobdir.offsets.info import BlobImageInfo  # noqa: PLC0415 - that module needs this one

        for name, start, end in self.entries():
            yield BlobImageInfo(to_str(name), start, end)

    def batches(self, size: int) -> Iterator[list[BlobImageInfo]]:
        """All entries as objects, in lists of `size`; the last list may be shorter, and none is empty."""
        from blobdir.offsets.info import BlobImageInfo  # noqa: PLC0415 - that module needs this one

        for low in range(0, len(self), size):
            part = self.take(np.arange(low, min(low + size, len(self))))
            yield [BlobImageInfo(to_str(name), start, end) for name, start, end in part.entries()]

    def take(self, rows: NDArray[np.intp]) -> OffsetsTable:
        """A new table of the entries `rows`, in that order."""
        at = self.name_start[rows]
        arena, name_start = gather_names(self.arena, at, self.name_start[rows + 1] - at - 1)
        others = None if self.attributes is None else self.attributes.take(rows)
        return OffsetsTable(arena, name_start, self.start[rows], self.end[rows], self.repeats, others)

    def state(self, row: int) -> State:
        """Attributes of one entry, see `blobdir.offsets.attributes`."""
        return b"" if self.attributes is None else self.attributes[row]

    def with_states(self, states: Iterable[State]) -> OffsetsTable:
        """The same entries with attributes, one for each."""
        return replace(self, attributes=Attributes.of_rows(enumerate(states), len(self)))

    def unwritable(self) -> tuple[int, str] | None:
        """The first entry whose attributes can't be written again: its index, and what is wrong."""
        row = -1 if self.attributes is None else self.attributes.unwritable()
        if row < 0:
            return None
        return row, f"{shown(to_str(self.name(row)))} has attributes of a kind, or size, that can't be written again"

    def moved(self, start: NDArray[np.int64], end: NDArray[np.int64]) -> OffsetsTable:
        """The same entries with other ranges."""
        return replace(self, start=start, end=end, repeats=0)

    def first_fault(self) -> tuple[int, type[OffsetsError], str] | None:
        """The first entry whose name or range can't be: its index, the error, and what is wrong."""
        row, fault = len(self), None
        bad = np.flatnonzero((self.start < 0) | (self.end < self.start))
        if len(bad):
            row = int(bad[0])
            text = f"the range {self.start[row]} to {self.end[row]} of {shown(to_str(self.name(row)))} can't be"
            fault = row, OffsetsRangeError, text
        found = first_bad_name(self.arena, self.name_start)
        if found is not None and found[0] < row:
            return found[0], OffsetsNameError, found[1]
        return fault

    def check(self) -> None:
        """Raise `OffsetsNameError` or `OffsetsRangeError` if an entry can't be. Repeats aren't looked for."""
        fault = self.first_fault()
        if fault is not None:
            row, kind, text = fault
            raise kind(f"entry {row}: {text}", entries_before=row)

    def unique(self, on_conflict: OnConflict = "error") -> OffsetsTable:
        """A table without repeats; `self` if there are none.

        Exact repeats are dropped and counted; if they have attributes, the last of these hold. Of one name with
        several ranges, the first wins with "skip" and the last with "replace" (both in the place of the first), and
        all are kept with "rename", under the first free of ``stem_1.ext``, ``stem_2.ext``, …

        Raises
        ------
        OffsetsConflictError
            One name has two ranges, and `on_conflict` is "error".
        OffsetsNameError
            A name is so long that it can't be numbered.
        UsageError
            `on_conflict` is none of the four.
        """
        found = resolve(self.arena, self.name_start, self.start, self.end, on_conflict)
        if found is None:
            return self
        source = self
        if found.renamed:
            names = self.names()
            for row, name in found.renamed.items():
                names[row] = name
            source = OffsetsTable(*pack_names(names), self.start, self.end)
        kept = source.take(found.place)
        start, end = self.start[found.winner], self.end[found.winner]
        others = self._attributes_of(found)
        return OffsetsTable(kept.arena, kept.name_start, start, end, self.repeats + found.repeats, others)

    def _attributes_of(self, found: Resolution) -> Attributes | None:
        if self.attributes is None:
            return None
        kind = self.attributes.kind.copy()
        said: dict[tuple[bytes, int, int], int] = {}
        keys = [(self.name(row), int(self.start[row]), int(self.end[row])) for row in found.suspects.tolist()]
        for row, key in zip(found.suspects.tolist(), keys, strict=True):
            said[key] = int(kind[row]) or said.get(key, 0)
        kind[found.suspects] = [said[key] for key in keys]
        return Attributes(kind[found.winner], self.attributes.states)


def _name_bytes(name: bytes | str, number: int) -> bytes:
    if isinstance(name, bytes):
        return name
    if not isinstance(name, str):
        raise OffsetsTypeError(f"entry {number}: the name {name!r} is not a string")
    try:
        return to_bytes(name)
    except UnicodeEncodeError:
        raise OffsetsNameError(f"entry {number}: the name {name!a} holds a lone surrogate") from None


def concatenate(tables: list[OffsetsTable]) -> OffsetsTable:
    """One table of all entries of `tables`, in order, repeats included."""
    return OffsetsTable(
        *join_names([(table.arena, table.name_start) for table in tables]),
        np.concatenate([np.empty(0, np.int64)] + [table.start for table in tables]),
        np.concatenate([np.empty(0, np.int64)] + [table.end for table in tables]),
        sum(table.repeats for table in tables),
        joined([(table.attributes, len(table)) for table in tables]),
    )
