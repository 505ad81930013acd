"""Which names are there more than once, and what becomes of them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np

from blobdir.errors import OffsetsConflictError, OffsetsNameError, UsageError
from blobdir.offsets.names import MAX_COMPONENT_BYTES, MAX_NAME_BYTES, numbered, shown, to_str

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bytes = NDArray[np.uint8]

OnConflict = Literal["error", "skip", "replace", "rename"]

_CHUNK: Final = 1 << 15
_SEED: Final = secrets.randbits(64)
_FACTOR: Final = secrets.randbits(64) | 1
_LAST: Final = np.uint64(32)


@dataclass(slots=True)
class Resolution:
    """What to keep of a table.

    Attributes
    ----------
    place : ndarray of intp
        The rows that are kept, in order: each gives its place and its name.
    winner : ndarray of intp
        The rows whose ranges they get.
    renamed : dict of int to bytes
        New names of rows in `place`.
    repeats : int
        How many exact repeats were dropped.
    suspects : ndarray of intp
        All rows, in order, whose names are there more than once; a few others may be among them.
    """

    place: NDArray[np.intp]
    winner: NDArray[np.intp]
    renamed: dict[int, bytes] = field(default_factory=dict)
    repeats: int = 0
    suspects: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, np.intp))


def check_mode(on_conflict: str) -> None:
    """Raise `UsageError` unless `on_conflict` is one of the four."""
    if on_conflict not in get_args(OnConflict):
        known = ", ".join(repr(mode) for mode in get_args(OnConflict))
        raise UsageError(f"on_conflict is {on_conflict!r}, and must be one of {known}")


def resolve(arena: Bytes, name_start: Ints, start: Ints, end: Ints, on_conflict: OnConflict) -> Resolution | None:
    """Decide on repeated names; return None if there are none (see `OffsetsTable.unique`)."""
    check_mode(on_conflict)
    suspects = repeated(arena, name_start)
    if not len(suspects):
        return None
    count = len(start)
    kept = np.ones(count, bool)
    found = Resolution(np.arange(count), np.arange(count), suspects=suspects)
    raw = arena.tobytes()
    taken: set[bytes] = set(raw.split(b"\0")) if on_conflict == "rename" else set()
    first: dict[bytes, int] = {}
    seen: set[tuple[bytes, int, int]] = set()
    numbers: dict[bytes, int] = {}
    low, high = start.tolist(), end.tolist()
    bounds = name_start.tolist()
    for row in suspects.tolist():
        name = raw[bounds[row] : bounds[row + 1] - 1]
        place = first.setdefault(name, row)
        if place == row:
            seen.add((name, low[row], high[row]))
            continue
        current = int(found.winner[place])
        if (low[current], high[current]) == (low[row], high[row]) or (name, low[row], high[row]) in seen:
            if on_conflict == "replace":
                found.winner[place] = row
            found.repeats += 1
        elif on_conflict == "error":
            raise OffsetsConflictError(
                f"the name {shown(to_str(name))} has two ranges, {low[current]} to {high[current]} and "
                f"{low[row]} to {high[row]}",
                entries_before=row,
            )
        elif on_conflict == "replace":
            found.winner[place] = row
        elif on_conflict == "rename":
            new = _free_name(name, taken, numbers)
            if new is None:
                raise OffsetsNameError(
                    f"the name {shown(to_str(name))} is there twice, and too long to be numbered", entries_before=row
                )
            found.renamed[row] = new
            seen.add((name, low[row], high[row]))
            continue
        else:
            seen.add((name, low[row], high[row]))
        kept[row] = False
    found.place = np.flatnonzero(kept)
    found.winner = found.winner[kept]
    return found


def _free_name(name: bytes, taken: set[bytes], numbers: dict[bytes, int]) -> bytes | None:
    """Return the first free of stem_1.ext, stem_2.ext, …, and take it; None if it is too long.

    `numbers` remembers how far each name got: to begin at 1 again would be quadratic in the number of repeats.
    """
    while True:
        number = numbers[name] = numbers.get(name, 0) + 1
        new = numbered(name, number)
        if new not in taken:
            break
    if len(new.rpartition(b"/")[2]) > MAX_COMPONENT_BYTES or len(new) > MAX_NAME_BYTES:
        return None
    taken.add(new)
    return new


def repeated(arena: Bytes, name_start: Ints) -> NDArray[np.intp]:
    """Rows, in order, whose names may be there more than once: all that are, and hardly any others."""
    hashes = _hashes(arena, name_start)
    ordered = np.sort(hashes)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return np.empty(0, np.intp)
    slot = np.minimum(np.searchsorted(twice, hashes), len(twice) - 1)
    return np.flatnonzero(twice[slot] == hashes)


def _hashes(arena: Bytes, name_start: Ints) -> NDArray[np.uint64]:
    """Hash every name, eight bytes at a time. Equal names have equal hashes; nothing else relies on them."""
    count = len(name_start) - 1
    padded = np.zeros(len(arena) + 8, np.uint8)
    padded[: len(arena)] = arena
    words: NDArray[np.uint64] = np.ndarray((len(arena) + 1,), "<u8", padded.data, 0, (1,))
    result = np.empty(count, np.uint64)
    for low in range(0, count, _CHUNK):
        high = min(low + _CHUNK, count)
        at = name_start[low:high]
        left = name_start[low + 1 : high + 1] - at  # the NUL included: the last word of a name is never empty
        state = np.full(high - low, _SEED, np.uint64)
        rows = np.arange(high - low)
        while len(rows):
            shift = (np.maximum(8 - left, 0) * 8).astype(np.uint64)
            mixed = (state[rows] ^ ((words[at] << shift) >> shift)) * np.uint64(_FACTOR)
            state[rows] = mixed ^ (mixed >> _LAST)
            more = left > 8
            rows, at, left = rows[more], at[more] + 8, left[more] - 8
        result[low:high] = state
    return result
