"""Blocks spread over members, by which parts of them are known: what holes, or a lost beginning, have left."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.lazily import cached_property

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

BLOCK: Final = 512
_WORDS: Final = BLOCK // 8
_HEAD_BYTES: Final = 4 << 10
"""Of a member of twice that, what many have alike: the header, a colour profile. Of a smaller one, its first block."""
_LOOKED_AT: Final = 64
"""Blocks of a member that are looked at, evenly spread."""
_SAMPLES: Final = 17
"""Blocks of a member that are remembered, at the most: the first one of those, the last one, and some in between."""
_READ_BYTES: Final = 1 << 20
"""A member that has no more is read at once, and not block by block."""
_SHARED: Final = 16
"""Members that may have a block in common; one that more of them have says nothing."""
_PERIOD: Final = 24
"""Bytes after which one colour repeats itself, whatever a pixel takes: 1, 2, 3, 4, 6, 8 or 12."""
_TRIES: Final = 1000
"""Times that a block of one file may be in vain; one that it has more often says nothing."""


class Fragments:
    """Knows members by a few blocks of each: memory is linear in their number, whatever their sizes.

    What is remembered of a member are whole blocks behind its header that it has once, as far as was looked, and that
    aren't of one colour. Those that many members have are passed over.

    Parameters
    ----------
    keys : callable
        From blocks, as rows of words of 8 bytes, to a number for each.
    """

    def __init__(self, keys: Callable[[NDArray[np.uint64]], NDArray[np.uint64]]) -> None:
        self._key_of = keys
        self._learned: set[bytes] = set()
        self._parts: list[tuple[NDArray[np.uint64], NDArray[np.uint32], int]] = []

    def learn(self, number: int, file: int, start: int, end: int) -> None:
        """Remember blocks of member `number`, which is bytes `start` to `end` of an open file.

        Raises
        ------
        OSError
        """
        size = end - start
        first = (_HEAD_BYTES if size >= 2 * _HEAD_BYTES else BLOCK) // BLOCK
        count = size // BLOCK - first
        if count <= 0:
            return
        chosen = np.unique(np.linspace(first, first + count - 1, min(count, _LOOKED_AT)).astype(np.int64))
        if size <= _READ_BYTES:
            data = os.pread(file, size // BLOCK * BLOCK, start).ljust(size // BLOCK * BLOCK, b"\0")
            found = np.frombuffer(data, np.uint64).reshape(-1, _WORDS)[chosen]
        else:
            data = b"".join(os.pread(file, BLOCK, start + at * BLOCK).ljust(BLOCK, b"\0") for at in chosen.tolist())
            found = np.frombuffer(data, np.uint64).reshape(-1, _WORDS)
        identity = hashlib.blake2b(data, digest_size=16, key=size.to_bytes(8, "little")).digest()
        if identity in self._learned:  # a twin: what has parts of this one has parts of the other
            return
        self._learned.add(identity)
        keys = self._key_of(found)
        _, rows, times = np.unique(keys, return_index=True, return_counts=True)
        rows = np.sort(rows[times == 1])
        rows = rows[_is_telling(found[rows])]
        if len(rows) > _SAMPLES:
            rows = rows[np.linspace(0, len(rows) - 1, _SAMPLES).astype(np.int64)]
        if len(rows):
            self._parts.append((keys[rows], chosen[rows].astype(np.uint32), number))

    @cached_property
    def _table(self) -> tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.int64]]:
        """Keys in order, and of each the block and the member."""
        if not self._parts:
            return np.empty(0, np.uint64), np.empty(0, np.uint32), np.empty(0, np.int64)
        keys = np.concatenate([part[0] for part in self._parts])
        blocks = np.concatenate([part[1] for part in self._parts])
        members = np.repeat([part[2] for part in self._parts], [len(part[0]) for part in self._parts])
        self._parts.clear()
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        _, times = np.unique(keys, return_counts=True)
        few = np.repeat(times <= _SHARED, times)
        return keys[few], blocks[order][few], members[order][few]

    def among(self, keys: NDArray[np.uint64], tried: dict[int, int]) -> Iterator[tuple[int, int, int]]:
        """Which blocks of a file are some of a member: row of the block, member, and block of the member.

        Parameters
        ----------
        keys : array
            Of the file's blocks.
        tried : dict
            How often each block of the file was one; it's changed.
        """
        known, blocks, members = self._table
        for row in hits(keys, known).tolist():
            key = int(keys[row])
            tried[key] = tried.get(key, 0) + 1
            if tried[key] <= _TRIES:
                low, high = np.searchsorted(known, keys[row], "left"), np.searchsorted(known, keys[row], "right")
                for at in range(int(low), int(high)):
                    yield row, int(members[at]), int(blocks[at])


def hits(keys: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Rows of the keys that are known; `known` is in order."""
    if not len(known):
        return np.empty(0, np.int64)
    places = np.searchsorted(known, keys)
    return np.flatnonzero(known[np.minimum(places, len(known) - 1)] == keys)


def _is_telling(blocks: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which blocks aren't one colour, zeros included."""
    as_bytes = np.ascontiguousarray(blocks).view(np.uint8)
    told: NDArray[np.bool_] = (as_bytes[:, _PERIOD:] != as_bytes[:, :-_PERIOD]).any(axis=1)
    return told
