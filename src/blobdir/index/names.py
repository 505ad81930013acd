"""Many names at once: sorted, compared and hashed. For name tables see `blobdir.nametable`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Ints = NDArray[np.int64]

_CHUNK = 1 << 20
_AT_ONCE: Final = 1 << 16
_FEW: Final = 16
_CRC_TABLE = np.zeros(256, np.uint32)
for _i in range(256):
    _c = _i
    for _ in range(8):
        _c = (_c >> 1) ^ (0xEDB88320 if _c & 1 else 0)
    _CRC_TABLE[_i] = _c


def _words(arena: Bytes, begin: Ints, length: Ints, word: int) -> NDArray[np.uint64]:
    """Bytes ``8 * word`` to ``8 * word + 8`` of each name as one big-endian number, zeros past its end.

    `arena` must go on for 8 bytes after the last name.
    """
    window = np.lib.stride_tricks.sliding_window_view(arena, 8)
    found = np.empty(len(begin), np.uint64)
    for low in range(0, len(begin), _AT_ONCE):  # what is in between takes six times as much
        some = slice(low, low + _AT_ONCE)
        left = np.clip(length[some] - 8 * word, 0, 8)
        at = np.where(left > 0, begin[some] + 8 * word, 0)
        keys = window[at].view(">u8").ravel().astype(np.uint64)
        drop = ((8 - left) * 8).astype(np.uint64)
        keys = np.where(left > 0, keys >> np.minimum(drop, 63), 0)  # a shift by 64 is undefined
        found[some] = keys << np.minimum(drop, 63)
    return found


def sort_names(arena: Bytes, starts: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Order names by their bytes.

    Least significant word first, stable, one gather and one sort for each 8 bytes of the longest name:
    O(n log n) with little memory, whatever the lengths. Names that are in order already cost two passes.

    Returns
    -------
    order : ndarray of int64, shape (n,)
        Positions of the names in sorted order; equal names keep the order in which they came.
    repeated : ndarray of bool, shape (n,)
        Whether the name at this place of the sorted order equals the one before it.
    """
    n = len(starts) - 1
    if n <= _FEW:
        return _sort_few(arena, starts)
    padded = np.concatenate([arena, np.zeros(8, np.uint8)])
    begin, length = starts[:-1], np.diff(starts) - 1
    words = -(-int(length.max(initial=0)) // 8)
    order = np.arange(n, dtype=np.int64)
    for word in reversed(range(words)):
        keys = _words(padded, begin[order], length[order], word)
        if n > 1 and (keys[1:] < keys[:-1]).any():
            order = order[np.argsort(keys, kind="stable")]
    repeated = np.zeros(n, bool)
    if n > 1:
        sorted_length, sorted_begin = length[order], begin[order]
        same = sorted_length[1:] == sorted_length[:-1]
        for word in range(words):
            if not same.any():
                break
            keys = _words(padded, sorted_begin, sorted_length, word)
            same &= keys[1:] == keys[:-1]
        repeated[1:] = same
    return order, repeated


def _sort_few(arena: Bytes, starts: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """The same of so few names that arrays don't pay."""
    n = len(starts) - 1
    if n < 2:
        return np.arange(n, dtype=np.int64), np.zeros(n, bool)
    bounds = starts.tolist()
    raw = arena[: bounds[-1]].tobytes()
    names = [raw[low : high - 1] for low, high in pairwise(bounds)]
    order = sorted(range(n), key=names.__getitem__)
    repeated = [False, *(names[i] == names[j] for i, j in pairwise(order))]
    return np.array(order, np.int64), np.array(repeated, bool)


def same_names(
    arena: Bytes, starts: Ints, which: Ints, other: Bytes, other_starts: NDArray[np.unsignedinteger], rows: Ints
) -> NDArray[np.bool_]:
    """Whether name ``which[k]`` of one table equals name ``rows[k]`` of another."""
    begin, there = starts[which], other_starts[rows].astype(np.int64)
    length = starts[which + 1] - begin
    same = np.asarray(other_starts[rows + 1].astype(np.int64) - there == length)
    # Eight bytes at a time from the front, and the last eight once more where the length is no multiple of eight;
    # both arenas end in a NUL that is compared as well. Names shorter than that byte by byte.
    short = np.flatnonzero(same & (length < 8))
    for column in range(7 if len(short) else 0):
        at = short[length[short] > column]
        same[at] &= arena[begin[at] + column] == other[there[at] + column]
    at = np.flatnonzero(same & (length >= 8))
    if len(at):
        ours, theirs = _every_word(arena), _every_word(other)
        begin, there, last = begin[at], there[at], length[at] - 8
        equal = np.ones(len(at), bool)
        for first in range(0, int(last.max()) + 8, 8):
            offset = np.minimum(first, last)
            equal &= ours[begin + offset] == theirs[there + offset]
        same[at] = equal
    return same


def _every_word(arena: Bytes) -> NDArray[np.uint64]:
    """The eight bytes at every position, as one number: overlapping, unaligned, and no copy."""
    return np.ndarray((len(arena) - 7,), np.uint64, buffer=arena, strides=(1,))


def crc32_names(arena: Bytes, starts: Ints, seed: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """``zlib.crc32(name, seed)`` of every name, byte column by byte column.

    Names are taken by length, longest first, so that column ``j`` touches only names that have one.
    """
    n = len(starts) - 1
    crc = np.empty(n, np.uint32)
    for low in range(0, n, _CHUNK):
        high = min(low + _CHUNK, n)
        length = np.diff(starts[low : high + 1]) - 1
        by_length = np.argsort(-length, kind="stable")
        sorted_length, begin = length[by_length], starts[low:high][by_length]
        state = ~seed[low:high][by_length]
        alive = np.searchsorted(-sorted_length, -np.arange(1, int(length.max(initial=0)) + 1), side="right")
        for column, count in enumerate(alive):
            part = state[:count]
            state[:count] = _CRC_TABLE[(part ^ arena[begin[:count] + column]) & 0xFF] ^ (part >> np.uint32(8))
        crc[low:high][by_length] = ~state
    return crc
