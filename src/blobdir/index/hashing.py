"""The hash table behind lookup: linear probing, laid out at once.

The home slot of a row is ``crc32(name, parent row) & (capacity - 1)``; the capacity is a power of two. Sorted by
home, row ``i`` of the order goes to slot ``max(home[i], slot of the one before + 1)``, which a running maximum gives
in one pass; the table has a tail instead of wrapping round. A slot holds row + 1; 0 ends a probe.

CRC-32 is no secret: who makes the names can make them collide. So a probe is bounded by `PROBE_LIMIT`; a reader that
reaches it goes on by bisection, which the order of the rows always allows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROBE_LIMIT = 64


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
    slots[place] = order + 2  # order counts from row 1, a slot holds row + 1
    return slots, capacity
