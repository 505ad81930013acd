"""Who jumps about in a file, and which blocks to fetch for him. Pure: no I/O, no threads.

Nobody knows where such a reader goes next. But of a file of which one block in 32 was read, most will be: each is
worth fetching before it's asked for, and one after the other they cost a round trip each. Who reads less has nothing
fetched. With each wait come at most as many as are here already, so what is in vain is at most about what wasn't; how
many are here is known by all processes that share the cache.

Where connections share a slow line, what is fetched along makes him wait longer. So waits are timed: where they
become longer than those with nothing beside them, twice in a row, fewer blocks come along. Of all that wait at once,
in several threads, together not more are under way, and more only after a wait has shown that so many do no harm.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
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
_ALONE, _FIRST, _GROWTH = 2, 2, 4
"""Waits with nothing beside them that must be known; blocks that come along first; how many times more come then."""


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Wait:
    """Somebody waits for a block. One that nobody knows any more, as after Ctrl-C, has come.

    Attributes
    ----------
    blocks : list of int
        To fetch along with it, far from one another, so that each is a request of its own. `Spread.came` is to be told
        when they have come.
    beside : int
        Blocks that are under way along with this wait and others, when it begins.
    """

    blocks: list[int]
    beside: int


class Spread:
    """Watches who waits for blocks of one file. Its calls exclude each other.

    Parameters
    ----------
    count : int
        Blocks of the file.
    most : int
        Blocks that are under way along with others.
    """

    def __init__(self, count: int, most: int) -> None:
        order = np.random.default_rng(0).permutation(count).tolist()
        self._sample = order[-_SAMPLE:]
        self._order: Iterator[int] = iter(order)
        self._count, self._most = count, most
        self._here = 0.0
        self._limit = float(most)
        self._harmless = 0
        self._out: weakref.WeakSet[Wait] = weakref.WeakSet()
        self._alone_s: list[float] = []
        self._was_slow = False

    def begin(self, is_here: Callable[[int], bool]) -> Wait:
        """Note that somebody begins to wait for a block.

        Parameters
        ----------
        is_here : callable
            Whether a block needn't be fetched; somebody else may have had it fetched.

        Returns
        -------
        Wait
            With blocks to fetch: no more than are here, whoever had them fetched.
        """
        found: list[int] = []
        beside = sum(len(wait.blocks) for wait in self._out)
        if len(self._alone_s) > _ALONE:
            if self._here < self._most:
                here = sum(map(is_here, self._sample)) / len(self._sample)
                self._here = here * self._count if here * SHARE > 1 else 0.0
            most = max(_FIRST, self._harmless * _GROWTH)
            wanted = int(min(self._limit, self._here, most)) - beside
            while len(found) < wanted and (number := next(self._order, -1)) >= 0:
                if not is_here(number):
                    found.append(number)
        wait = Wait(found, beside + len(found))
        if found:
            self._out.add(wait)
        return wait

    def came(self, wait: Wait, *, all_right: bool) -> None:
        """Note that the blocks fetched along with a wait have come, or couldn't be had."""
        self._out.discard(wait)
        if not all_right:
            self._limit = min(self._limit, len(wait.blocks) // 2)

    def waited(self, wait: Wait, seconds: float) -> None:
        """Note how long it took until the block was here."""
        if not wait.beside:
            self._alone_s = sorted([*self._alone_s, seconds])[:SHARE]
            self._limit = min(self._most, self._limit + _REGAIN)  # else who had none once would never have any again
            return
        is_slow = seconds > SLOWER * self._alone_s[len(self._alone_s) // 2] + SLOWER_S
        if not is_slow:
            self._limit = min(self._most, self._limit + _REGAIN)
            self._harmless = max(self._harmless, wait.beside)
        elif self._was_slow:
            self._limit = min(self._limit, wait.beside // 2)
            self._harmless = min(self._harmless, wait.beside // 2)
        self._was_slow = is_slow
