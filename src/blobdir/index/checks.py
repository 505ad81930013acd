"""What a reader relies on in an index, which may come with somebody else's project."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from blobdir.errors import IndexFormatError
from blobdir.index.hashing import PROBE_LIMIT
from blobdir.index.table import BROKEN, DIRECTORY, FIRST_BLOB, LINK, LOOSE, UNKNOWN_SIZE
from blobdir.index.together import together

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from blobdir.index.header import Header

_SLASH = ord("/")
_ROWS = 1 << 16
"""Rows that are looked at together: what is computed of them stays in the processor's cache."""
MOST = (1 << 63) - 1
"""The largest number that a column holds, and the end of the largest file."""
PATH_BYTES = 1 << 14
"""Of a folder: on disk, and in the name of a member below that, a path has no more than 4,095."""
_DOTS = 3
"""Bytes of the longest name of dots, with its end."""
_WORTH_A_THREAD = 1 << 17
"""Rows from which a second thread saves more than it takes to start one."""
_KINDS = {
    "names": ("|u1",),
    "name_start": ("<u4", "<u8"),
    "source": ("<u2", "<u4"),
    "offset": ("<i8",),
    "size": ("<i4", "<i8"),
    "slots": ("<u4", "<u8"),
}


def check_columns(columns: dict[str, NDArray[Any]], capacity: object, header: Header, label: str) -> None:
    """Check what the reader relies on.

    An index may come with somebody else's project, so that its digests are right says nothing about what it holds.

    Raises
    ------
    IndexFormatError
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
    parts = [(0, n // 2), (n // 2, n)] if n >= _WORTH_A_THREAD else [(0, n)]
    found = together([partial(_look_at, columns, header, *part) for part in parts])
    for part in found:
        demand(not part.wrong, part.wrong)
    demand(
        isinstance(capacity, int) and 0 < capacity < len(slots) - PROBE_LIMIT and capacity & (capacity - 1) == 0,
        "the hash table has a wrong length",
    )
    folders = np.concatenate([rows for part in found for rows in part.folders])
    first, count = offset[folders], size[folders].astype(np.int64)
    demand(all(part.least_offset >= 0 for part in found) and bool((count >= 0).all()), "negative positions")
    demand(len(folders) > 0 and int(folders[0]) == 0 and int(first[0]) == 1, "the root isn't the first row")
    demand(bool((first[1:] == first[:-1] + count[:-1]).all()), "directories overlap")
    demand(int(first[-1] + count[-1]) == n, "rows belong to no directory")
    demand(bool((first > folders).all()), "a directory is in itself")
    longest = _longest_path(folders, first, first + count, starts)
    demand(longest <= PATH_BYTES, f"a directory has a path of more than {PATH_BYTES:,} bytes")
    good = all(part.is_referring for part in found)
    good &= all(record.defect < len(header.defects) for record in header.blobs)
    good &= all(0 <= n < len(header.defects) for numbers in header.incomplete.values() for n in numbers)
    demand(good, "rows refer to what isn't there")


class _Rows:
    """What was found in some rows."""

    def __init__(self) -> None:
        self.wrong = ""
        self.folders: list[NDArray[np.int64]] = []
        self.least_offset = 0
        self.is_referring = True


def _look_at(columns: dict[str, NDArray[Any]], header: Header, low: int, high: int) -> _Rows:
    """Look at rows ``low:high``, as many at a time as the processor's cache holds."""
    names, starts, source = columns["names"], columns["name_start"], columns["source"]
    offset, size = columns["offset"], columns["size"]
    found = _Rows()
    for begin in range(low, high, _ROWS):
        end = min(begin + _ROWS, high)
        found.wrong = _names_wrong(names, starts[begin : end + 1], is_first=begin == 0)
        if found.wrong:
            break
        kinds, numbers = source[begin:end], offset[begin:end]
        found.folders.append(begin + np.flatnonzero(kinds == DIRECTORY))
        found.least_offset = min(found.least_offset, int(numbers.min()))
        found.is_referring &= _is_referring(kinds, numbers, size[begin:end], header)
    return found


def _names_wrong(names: NDArray[Any], begins: NDArray[Any], *, is_first: bool) -> str:
    """What is wrong with names that begin and end there; the first of all is the root's, which is empty."""
    if not (begins[1:] > begins[:-1]).all() or int(begins[-1]) > len(names):
        return "names overlap, or are empty"
    length = begins[1:] - begins[:-1]
    if is_first:
        length[0] += 1
    least = int(length.min())
    if least <= 1:
        return "names overlap, or are empty"
    start = int(begins[0])
    part = names[start : int(begins[-1])]
    if np.count_nonzero(part) != len(part) - len(length) or names[(begins[1:] - 1).astype(np.intp)].any():
        return "names aren't separated"
    if (part == _SLASH).any():
        return "a name holds a slash"
    for i in np.flatnonzero(length <= _DOTS).tolist() if least <= _DOTS else ():
        if part[int(begins[i]) - start : int(begins[i + 1]) - start - 1].tobytes().strip(b".") == b"" and (
            i or not is_first
        ):
            return "a name is . or .."
    return ""


def _is_referring(source: NDArray[Any], offset: NDArray[Any], size: NDArray[Any], header: Header) -> bool:
    """Whether rows refer to what the header has, and to what a file can have."""
    if int(source.max()) >= FIRST_BLOB + len(header.blobs):
        return False
    least, most = (int(offset.min()), int(size.min())), int(offset.max()) + int(size.max())
    if int(source.min()) >= FIRST_BLOB and min(least) >= 0 and most <= MOST:
        return True  # members of blobs only, and no number that could be wrong
    good, sizes = True, size.astype(np.int64)
    for kind, bound in {LINK: len(header.links), BROKEN: len(header.defects)}.items():
        numbers = offset[source == kind]
        good &= len(numbers) == 0 or (int(numbers.min()) >= 0 and int(numbers.max()) < bound)
    members = source >= FIRST_BLOB
    good &= bool((sizes >= np.where(source == LOOSE, UNKNOWN_SIZE, 0)).all())
    good &= bool((offset[members] >= 0).all() and (offset[members] <= MOST - sizes[members]).all())
    return good


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
