"""Who jumps about in a file, and which blocks to fetch for him. Pure: no I/O, no threads.

Nobody knows where such a reader goes next. But of a file of which one block in 32 was read, most will be: each is
worth fetching before it's asked for, and one after the other they cost a round trip each. Who reads less has nothing
fetched. With each wait come at most as many as are here already, so what is in vain is at most about what wasn't; how
many are here is known by all processes that share the cache.

Where connections share a slow line, what is fetched along makes him wait longer. So his waits are timed: where they
become longer than they were, twice in a row, fewer blocks come along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHARE: Final = 32
"""Of so many blocks one must be here, before others are fetched along."""
SLOWER: Final = 1.5
SLOWER_S: Final = 0.02
"""How much longer a wait may take when blocks come along, times and seconds."""
_SAMPLE: Final = 256
_REGAIN: Final = 0.25
_GROWTH: Final = 4


class Spread:
    """Watches the blocks of one file that somebody had to wait for.

    Parameters
    ----------
    count : int
        Blocks of the file.
    most : int
        Blocks that are fetched along with one.
    """

    def __init__(self, count: int, most: int) -> None:
        order = np.random.default_rng(0).permutation(count).tolist()
        self._sample = order[-_SAMPLE:]
        self._order: Iterator[int] = iter(order)
        self._most = most
        self._limit = float(most)
        self._count = count
        self._waits = 0
        self._wanted = 0.0
        self._is_much = False
        self._before = 0  # along, when any came last
        self._along = 0  # with the last wait
        self._alone_s: list[float] = []
        self._was_slow = False

    def blocks_along(self, is_here: Callable[[int], bool]) -> list[int]:
        """Note that somebody begins to wait for a block.

        Parameters
        ----------
        is_here : callable
            Whether a block needn't be fetched; somebody else may have had it fetched.

        Returns
        -------
        list of int
            Blocks to fetch along with it, far from one another, so that each is a request of its own: at most
            as many as are here, whoever had them fetched.
        """
        self._waits += 1
        if not self._is_much and self._waits > 3:
            here = sum(map(is_here, self._sample)) / len(self._sample)
            self._wanted = here * self._count if here * SHARE > 1 else 0.0
            self._is_much = self._wanted >= self._most
        found: list[int] = []
        most = max(2, self._before * (1 if self._was_slow else _GROWTH))
        wanted = int(min(self._limit, self._wanted, most))
        while len(found) < wanted and (number := next(self._order, -1)) >= 0:
            if not is_here(number):
                found.append(number)
        self._along = len(found)
        self._before = self._along or self._before
        return found

    def waited(self, seconds: float) -> None:
        """Note how long that took."""
        if not self._along:
            self._alone_s = sorted([*self._alone_s, seconds])[:SHARE]
        is_slow = bool(self._along) and seconds > SLOWER * self._alone_s[len(self._alone_s) // 2] + SLOWER_S
        if is_slow and self._was_slow:
            self._limit = self._along // 2
        elif not is_slow:
            self._limit = min(self._most, self._limit + _REGAIN)
        self._was_slow = is_slow
