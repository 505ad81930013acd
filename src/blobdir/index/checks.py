"""What a reader relies on in an index, which may come with somebody else's project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from blobdir.errors import IndexFormatError
from blobdir.index.hashing import PROBE_LIMIT
from blobdir.index.table import BROKEN, DIRECTORY, FIRST_BLOB, LINK, LOOSE, UNKNOWN_SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blobdir.index.header import Header

_SLASH = ord("/")
_ROWS = 1 << 15
"""Rows that are looked at together: what is computed of them stays in the processor's cache."""
MOST = (1 << 63) - 1
"""The largest number that a column holds, and the end of the largest file."""
PATH_BYTES = 1 << 14
"""Of a folder: on disk, and in the name of a member below that, a path has no more than 4,095."""
_KINDS = {
    "names": ("|u1",),
    "name_start": ("<u4", "<u8"),
    "source": ("<u2", "<u4"),
    "offset": ("<i8",),
    "size": ("<i4", "<i8"),
    "slots": ("<u4", "<u8"),
}


def check_columns(columns: dict[str, NDArray[Any]], capacity: object, label: str) -> None:
    """Check what the reader relies on.

    An index may come with somebody else's project, so that its digests are right says nothing about what it holds.
    """

    def demand(condition: bool, what: str) -> None:
        if not condition:
            raise IndexFormatError(f"{label}: {what}; build the index again")

    for name, allowed in _KINDS.items():
        column = columns[name]
        demand(column.ndim == 1 and column.dtype.str in allowed, f"column {name} has a wrong type")
    names, starts, source = columns["names"], columns["name_start"], columns["source"]
    offset, size, slots = columns["offset"], columns["size"], columns["slots"]
    n = len(source)
    demand(n > 0 and len(starts) == n + 1 and len(offset) == n and len(size) == n, "columns differ in length")
    demand(int(starts[0]) == 0 and int(starts[-1]) == len(names), "names don't fill their column")
    dots = False
    for low in range(0, n, _ROWS):
        begins = starts[low : low + _ROWS + 1]
        demand(bool((begins[1:] > begins[:-1]).all()), "names overlap, or are empty")
        demand(int(begins[-1]) <= len(names), "names overlap, or are empty")
        length = begins[1:] - begins[:-1]
        demand(len(length[low == 0 :]) == 0 or int(length[low == 0 :].min()) > 1, "names overlap, or are empty")
        part = names[int(begins[0]) : int(begins[-1])]
        demand(np.count_nonzero(part) == len(part) - len(length), "names aren't separated")
        demand(not part[(begins[1:] - (begins[0] + 1)).astype(np.intp)].any(), "names aren't separated")
        demand(not (part == _SLASH).any(), "a name holds a slash")
        for i in np.flatnonzero(length <= 3).tolist():
            begin, end = int(begins[i] - begins[0]), int(begins[i + 1] - begins[0])
            dots |= part[begin : end - 1].tobytes().strip(b".") == b"" and low + i > 0
    demand(not dots, "a name is . or ..")
    demand(
        isinstance(capacity, int) and 0 < capacity < len(slots) - PROBE_LIMIT and capacity & (capacity - 1) == 0,
        "the hash table has a wrong length",
    )
    rows = [low + np.flatnonzero(source[low : low + _ROWS] == DIRECTORY) for low in range(0, n, _ROWS)]
    folders = np.concatenate(rows)
    first, count = offset[folders], size[folders].astype(np.int64)
    demand(int(offset.min()) >= 0 and bool((count >= 0).all()), "negative positions")
    demand(len(folders) > 0 and int(folders[0]) == 0 and int(first[0]) == 1, "the root isn't the first row")
    demand(bool((first[1:] == first[:-1] + count[:-1]).all()), "directories overlap")
    demand(int(first[-1] + count[-1]) == n, "rows belong to no directory")
    demand(bool((first > folders).all()), "a directory is in itself")
    longest = _longest_path(folders, first, first + count, starts)
    demand(longest <= PATH_BYTES, f"a directory has a path of more than {PATH_BYTES:,} bytes")


def _longest_path(
    folders: NDArray[np.int64], first: NDArray[np.int64], end: NDArray[np.int64], starts: NDArray[Any]
) -> int:
    """Bytes of the longest path of a directory; it stops where that is too long. O(n log n), no code per directory."""
    lengths = starts[folders + 1].astype(np.int64) - starts[folders].astype(np.int64)  # with a slash each
    paths = np.zeros(len(folders), np.int64)
    low, high = 0, 1  # those of one level, whose children follow each other
    while low < high and paths[low:high].max() <= PATH_BYTES:
        begin, stop = np.searchsorted(folders, (first[low], end[high - 1])).tolist()
        above = low + np.searchsorted(end[low:high], folders[begin:stop], side="right")
        paths[begin:stop] = paths[above] + lengths[begin:stop]
        low, high = begin, stop
    return int(paths.max())


def check_references(columns: dict[str, NDArray[Any]], header: Header, label: str) -> None:
    """Check that rows refer to what the header has, and to what a file can have."""
    source, offset, size = columns["source"], columns["offset"], columns["size"]
    bounds = {LINK: len(header.links), BROKEN: len(header.defects)}
    good = int(source.max()) < FIRST_BLOB + len(header.blobs)
    for low in range(0, len(source), _ROWS):
        part, referred, sizes = source[low : low + _ROWS], offset[low : low + _ROWS], size[low : low + _ROWS]
        least, most = (int(referred.min()), int(sizes.min())), int(referred.max()) + int(sizes.max())
        if int(part.min()) >= FIRST_BLOB and min(least) >= 0 and most <= MOST:
            continue  # members of blobs only, and no number that could be wrong
        sizes = sizes.astype(np.int64)
        for number, bound in bounds.items():
            numbers = referred[part == number]
            good &= len(numbers) == 0 or (int(numbers.min()) >= 0 and int(numbers.max()) < bound)
        members = part >= FIRST_BLOB
        good &= bool((sizes >= np.where(part == LOOSE, UNKNOWN_SIZE, 0)).all())
        good &= bool((referred[members] >= 0).all() and (referred[members] <= MOST - sizes[members]).all())
    good &= all(record.defect < len(header.defects) for record in header.blobs)
    good &= all(0 <= n < len(header.defects) for numbers in header.incomplete.values() for n in numbers)
    if not good:
        raise IndexFormatError(f"{label}: rows refer to what isn't there; build the index again")
