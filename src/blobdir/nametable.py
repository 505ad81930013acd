"""Many names in one byte array, each followed by a NUL: made, picked, joined.

A name table is a pair: ``arena``, uint8, and ``starts``, int64 of shape (n + 1,); name ``i`` is the bytes
``arena[starts[i]:starts[i + 1] - 1]``. NUL can't be part of a file name, so it sorts before every other byte and
names compare as C strings do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bytes = NDArray[np.uint8]

_CHUNK: Final = 1 << 15  # names gathered at a time, so that the index of every byte doesn't take eight times their size


def gather_names(source: Bytes, at: Ints, size: Ints) -> tuple[Bytes, Ints]:
    """Copy pieces of `source` into a new arena.

    Parameters
    ----------
    source : ndarray of uint8
    at, size : ndarray of int64, shape (n,)
        Where each name begins, and its length without a terminator. One more byte than that must be there.

    Returns
    -------
    arena : ndarray of uint8
        The names, each followed by one NUL byte.
    name_start : ndarray of int64, shape (n + 1,)
        Name ``i`` is ``arena[name_start[i]:name_start[i + 1] - 1]``.
    """
    name_start = np.zeros(len(at) + 1, np.int64)
    np.cumsum(size + 1, out=name_start[1:])
    arena = np.empty(int(name_start[-1]), np.uint8)
    for low in range(0, len(at), _CHUNK):
        high = min(low + _CHUNK, len(at))
        begin, stop = int(name_start[low]), int(name_start[high])
        index = np.repeat(at[low:high] - name_start[low:high], size[low:high] + 1)
        index += np.arange(begin, stop)
        arena[begin:stop] = source[index]
    arena[name_start[1:] - 1] = 0
    return arena, name_start


def pack_names(names: Iterable[bytes]) -> tuple[Bytes, Ints]:
    """Put single names into a new table."""
    names = list(names)
    name_start = np.zeros(len(names) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, names), np.int64, len(names)) + 1, out=name_start[1:])
    joined = b"\0".join(names) + b"\0" if names else b""
    return np.frombuffer(joined, np.uint8), name_start


def take_names(arena: Bytes, starts: Ints, order: Ints) -> tuple[Bytes, Ints]:
    """The names at `order`, as a table of their own."""
    if len(order) == len(starts) - 1 and bool((order[1:] > order[:-1]).all()):
        return arena[: starts[-1]], starts
    begin = starts[order]
    return gather_names(arena, begin, starts[order + 1] - begin - 1)


def join_names(tables: list[tuple[Bytes, Ints]]) -> tuple[Bytes, Ints]:
    """One table from several, in their order."""
    if len(tables) == 1:
        return tables[0]
    if not tables:
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    arena = np.concatenate([arena[: starts[-1]] for arena, starts in tables])
    base = np.cumsum([0] + [int(starts[-1]) for _, starts in tables])
    starts = np.concatenate([starts[:-1] + at for (_, starts), at in zip(tables, base, strict=False)] + [base[-1:]])
    return arena, starts.astype(np.int64)


def name_at(arena: Bytes, starts: Ints, i: int) -> bytes:
    """Name `i` as bytes."""
    return arena[starts[i] : starts[i + 1] - 1].tobytes()
