"""Who jumps about in a file, and which blocks to fetch for him. Pure: no I/O, no threads.

Nobody knows where such a reader goes next. But of a file of which one block in sixteen was read, most will be: each is
worth fetching before it's asked for, and one after the other they cost a round trip each. Who reads less has nothing
fetched.

Where connections share a slow line, what is fetched along makes him wait longer. So his waits are timed: where they
become longer than they were, twice in a row, fewer blocks come along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHARE: Final = 16
"""Of so many blocks one must be here, before others are fetched along."""
SLOWER: Final = 1.5
SLOWER_S: Final = 0.02
"""How much longer a wait may take when blocks come along, times and seconds."""
_SAMPLE: Final = 64
_REGAIN: Final = 0.25


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
        self._waits = self._since = 0
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
            Blocks to fetch along with it, far from one another, so that each is a request of its own: one more with
            each wait.
        """
        self._waits += 1
        if not self._since and self._waits > 2 and sum(map(is_here, self._sample)) * SHARE > len(self._sample):
            self._since = self._waits
        found: list[int] = []
        wanted = int(min(self._limit, self._waits - self._since)) if self._since else 0
        while len(found) < wanted and (number := next(self._order, -1)) >= 0:
            if not is_here(number):
                found.append(number)
        self._along = len(found)
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
