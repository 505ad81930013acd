"""Turns: how many requests are under way at once, where some of them pause before they are tried again.

One that pauses gives its turn to another, so that a server which puts off two requests in a hundred costs what these
two cost, and not what all behind them would. And where it puts off many, fewer are sent at once: a tenth less each
time, and again more with each answer. What comes out of that is about 60 at once where 2 % are put off, 20 at 20 %.
One that stalls counts as put off: too many share a slow line.

Where more than a tenth are, the server takes so many a second and no more. Then none begins while another one pauses:
those that were put off come first, and aren't put off again and again by those that have come since.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
LEAST: Final = 4
"""Requests that are always sent at once."""
_LESS, _MORE = 0.9, 8.0
_MANY, _RECENT = 0.1, 1 / 64
"""Of answers, the share that is many, and the weight of the last one."""


class Turns:
    """Turns of some requests; of one event loop.

    Parameters
    ----------
    most : int
        Requests under way.
    is_full : callable
        Whether there are too many answers that nobody has taken yet: then none begins, but those that were put off go
        on. Who has taken some calls `wake`.
    """

    def __init__(self, most: int, is_full: Callable[[], bool] = bool) -> None:
        self._most = most
        self._is_full = is_full
        self._limit = float(most)
        self._taken = 0
        self._pausing = 0
        self._share = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._back: deque[asyncio.Future[None]] = deque()

    async def run(self, request: Awaitable[T]) -> T:
        """Make a request when its turn has come. Who calls this ends one that never begins."""
        turn = _Turn(self)
        await turn.take()
        _NOW.set(turn)
        try:
            return await request
        finally:
            turn.give()

    async def enter(self, *, first: bool) -> None:
        """Wait for a turn: behind all others that wait, or before them."""
        if self._taken < self._limit and (first or not (self._waiting or self._is_enough())):
            self._taken += 1
            return
        waiting = asyncio.get_running_loop().create_future()
        (self._back if first else self._waiting).append(waiting)
        try:
            await waiting
        except BaseException:
            if waiting.done() and not waiting.cancelled():  # it had got one, and nobody knows
                self.leave()
            raise

    def leave(self) -> None:
        """Give a turn back."""
        self._taken -= 1
        self.wake()

    def wake(self) -> None:
        """Let those begin that may; those that were put off come first."""
        while self._taken < self._limit and (self._back or (self._waiting and not self._is_enough())):
            waiting = (self._back or self._waiting).popleft()
            if not waiting.done():  # else it was cancelled
                self._taken += 1
                waiting.set_result(None)

    def _is_enough(self) -> bool:
        """Whether none may begin now that hasn't yet."""
        most = 1 if self._share > _MANY else max(self._most, LEAST)
        return self._pausing >= most or self._is_full()

    def pausing(self, more: int) -> None:
        """Note that one pauses, or has its turn again."""
        self._pausing += more

    def answered(self, *, put_off: bool) -> None:
        """Note how a request went: more or fewer are sent at once."""
        self._share += (put_off - self._share) * _RECENT
        self._limit = (
            max(min(LEAST, self._most), self._limit * _LESS)
            if put_off
            else min(self._most, self._limit + _MORE / self._limit)
        )


class _Turn:
    """Whether one request has a turn."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self._has = self._had = False

    async def take(self) -> None:
        await self.turns.enter(first=self._had)
        self._has = self._had = True

    def give(self) -> None:
        if self._has:
            self._has = False
            self.turns.leave()


_NOW: ContextVar[_Turn | None] = ContextVar("turn", default=None)


def answered(*, put_off: bool) -> None:
    """Note how the request that is being made went."""
    if (turn := _NOW.get()) is not None:
        turn.turns.answered(put_off=put_off)


async def pause(seconds: float) -> None:
    """Wait before a request is tried again, while others have its turn."""
    turn = _NOW.get()
    if turn is None:
        await asyncio.sleep(seconds)
        return
    turn.turns.pausing(1)
    turn.give()
    try:
        await asyncio.sleep(seconds)
        await turn.take()
    finally:
        turn.turns.pausing(-1)
        turn.turns.wake()


def size_of(answer: Any) -> int:
    """Bytes that an answer holds."""
    data = getattr(answer, "data", answer)
    return len(data) if isinstance(data, bytes) else 0
