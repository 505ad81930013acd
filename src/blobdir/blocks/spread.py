"""Who jumps about in a file, and which blocks to fetch for him. Pure: no I/O, no threads.

Nobody knows where such a reader goes next. But of a file of which one block in 32 was read, most will be: each is
worth fetching before it's asked for, and one after the other they cost a round trip each. Who reads less has nothing
fetched. With each wait come at most as many as are here already, so what is in vain is at most about what wasn't; how
many are here is known by all processes that share the cache.

Where connections share a slow line, what is fetched along makes him wait longer. So waits are timed: where they
become longer than those with nothing beside them, twice in a row, fewer blocks come along; unless all came four times
as quickly as one after the other, as where it's the processor that is busy with them. Of all that wait at once, in
several threads, together not more are under way, and more only after a wait has shown that so many do no harm.

What waits have shown is of the `Line`, and not of a file or a process: the workers of a mount, or of a training, that
are forked from one process share it, and none has to find out anew. Nobody takes a lock for it: a number that two
write at once is that of one of them, and either is as good.
"""

from __future__ import annotations

import mmap
import weakref
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SHARE: Final = 32
"""Of so many blocks one must be here, before others are fetched along."""
SLOWER: Final = 1.5
SLOWER_S: Final = 0.02
"""How much longer a wait may take when blocks come along, times and seconds."""
WORTH: Final = 4
"""How many times quicker blocks that come together must come than one after the other, where the wait is longer."""
_SAMPLE: Final = 256
_REGAIN: Final = 0.25
_ALONE, _FIRST, _GROWTH = 2, 4, 4
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


class Line:
    """What waits have shown of the way to a server; known to all processes that are forked later.

    Parameters
    ----------
    most : int
        Blocks that are under way along with others.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        memory = np.frombuffer(mmap.mmap(-1, 8 * (SHARE + 2)), np.float64)
        self._limits, self._alone = memory[:2], memory[2:]  # waits with nothing beside, the shortest ones; 0 for none
        self._limits[0] = most

    def __reduce__(self) -> tuple[type[Line], tuple[int]]:
        return Line, (self.most,)

    @property
    def limit(self) -> float:
        """Blocks that may come along."""
        return float(self._limits[0])

    @property
    def harmless(self) -> int:
        """Blocks that have come along without harm."""
        return int(self._limits[1])

    @property
    def alone_s(self) -> float:
        """Seconds of a wait with nothing beside it; 0 while it isn't known."""
        known = np.sort(self._alone[self._alone > 0])
        return float(known[len(known) // 2]) if len(known) > _ALONE else 0.0

    def alone(self, seconds: float) -> None:
        """Note a wait with nothing beside it."""
        if not self._alone.all():
            self._alone[int(self._alone.argmin())] = seconds
        elif seconds < self._alone.max():
            self._alone[int(self._alone.argmax())] = seconds

    def did_no_harm(self, beside: int) -> None:
        """Note a wait that so many have done no harm."""
        self._limits[0] = min(self.most, self.limit + _REGAIN)  # else who had none once would never have any again
        self._limits[1] = max(self.harmless, beside)

    def did_harm(self, beside: int) -> None:
        """Note waits that so many have made longer."""
        self.restrict(beside // 2)
        self._limits[1] = min(self.harmless, beside // 2)

    def restrict(self, most: int) -> None:
        """Let no more come along for now."""
        self._limits[0] = min(self.limit, most)


class Spread:
    """Watches who waits for blocks of one file. Its calls exclude each other.

    Parameters
    ----------
    count : int
        Blocks of the file.
    line : Line
    """

    def __init__(self, count: int, line: Line) -> None:
        order = Random(0).sample(range(count), count)  # numpy imports its own when it's first used
        self._sample = order[-_SAMPLE:]
        self._order: Iterator[int] = iter(order)
        self._count, self._line = count, line
        self._here = 0.0
        self._out: weakref.WeakSet[Wait] = weakref.WeakSet()
        self._was_slow = False

    def begin(self, is_here: Callable[[int], bool], has_come: Callable[[int], bool] | None = None) -> Wait:
        """Note that somebody begins to wait for a block.

        Parameters
        ----------
        is_here : callable
            Whether a block needn't be fetched; somebody else may have had it fetched.
        has_come : callable, optional
            Whether a block that was to come along isn't under way any more; else each is until all of its wait have
            come.

        Returns
        -------
        Wait
            With blocks to fetch: no more than are here, whoever had them fetched.
        """
        found: list[int] = []
        line = self._line
        beside = sum(has_come is None or not has_come(number) for wait in self._out for number in wait.blocks)
        if line.alone_s:
            if self._here < line.most:
                here = sum(map(is_here, self._sample)) / len(self._sample)
                self._here = here * self._count if here * SHARE > 1 else 0.0
            most = max(_FIRST, line.harmless * _GROWTH)
            wanted = int(min(line.limit, self._here, most)) - beside
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
            self._line.restrict(len(wait.blocks) // 2)

    def waited(self, wait: Wait, seconds: float) -> None:
        """Note how long it took until the block was here."""
        line = self._line
        if not wait.beside:
            line.alone(seconds)
            line.did_no_harm(0)
            return
        is_slow = seconds > line.alone_s * max(SLOWER, (1 + wait.beside) / WORTH) + SLOWER_S
        if not is_slow:
            line.did_no_harm(wait.beside)
        elif self._was_slow:
            line.did_harm(wait.beside)
        self._was_slow = is_slow
