"""The hash table behind lookup: linear probing, laid out at once.

The home slot of a row is ``crc32(name, parent row) & (capacity - 1)``; the capacity is a power of two. Sorted by
home, row ``i`` of the order goes to slot ``max(home[i], slot of the one before + 1)``, which a running maximum gives
in one pass; the table has a tail instead of wrapping round. A slot holds row + 1; 0 ends a probe.

What a row number leaves free of 30 bits holds the same bits of the row's hash (`tag_mask`); Python counts quickest
with numbers of 30 bits. So a reader that takes the bits of the name it looks for out of a slot (by XOR) gets a row, or
for nearly all other names a number past the last row: it looks at the range of rows anyway, and hardly ever at the
name of another one.

CRC-32 is no secret: who makes the names can make them collide. So a probe is bounded by `PROBE_LIMIT`; a reader that
reaches it goes on by bisection, which the order of the rows always allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROBE_LIMIT = 64


def tag_mask(rows: int) -> int:
    """The bits of a hash that are in its slot, in an index of so many rows, the root among them."""
    bits = rows.bit_length()
    return 0x3FFFFFFF >> bits << bits


def build_slots(hashes: NDArray[np.uint32]) -> tuple[NDArray[Any], int]:
    """Lay out the table for rows 1 to n; row 0, the root, is in no directory and so in no slot.

    Parameters
    ----------
    hashes : ndarray of uint32, shape (n + 1,)
        Hash of each row; that of row 0 is ignored.

    Returns
    -------
    slots : ndarray of uint32 or uint64
        Between 1.6 and 3.4 slots a row, and a tail that ends in zeros.
    capacity : int
        Number of home slots.
    """
    n = len(hashes) - 1
    capacity = max(8, 1 << (n * 8 // 5).bit_length())
    home = hashes[1:] & np.uint32(min(capacity, 1 << 32) - 1)
    order = np.argsort(home, kind="stable")
    steps = np.arange(n, dtype=np.int64)
    place = np.maximum.accumulate(home[order].astype(np.int64) - steps) + steps if n else steps
    tail = (int(place[-1]) + 2 if n else 1) - capacity
    slots = np.zeros(capacity + max(tail, PROBE_LIMIT + 1), np.uint32 if n < 2**32 - 2 else np.uint64)
    # Order counts from row 1, a slot holds row + 1.
    slots[place] = (order + 2) ^ (hashes[1:][order] & np.uint32(tag_mask(n + 1)))
    return slots, capacity
