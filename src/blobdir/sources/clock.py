"""How long a request may take: the time of silence counts, and not how much there is to send. Pure: no I/O, no clock.

A clock runs down while nothing comes, and each byte winds it up by what it takes at the slowest pace that counts as
one. So what comes steadily is never given up, however long it takes; a server that has stalled is after the clock's
seconds, and so is one that lets a byte drip now and then: at half of that pace, after twice as long.

A request has one clock for all of its tries, and each try has another one, as it's worth asking anew long before all is
lost. Both run only while a try is under way, and through the pauses after it: what waits for its turn has no deadline,
and where it's we who aren't ready for bytes, no time counts.
Bytes that were thrown away are as none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

SLOWEST_BYTES_PER_S: Final = 1 << 10
"""The pace below which bytes count as silence."""
_MOVED_S: Final = 0.05


class Clock:
    """Seconds that are left.

    Parameters
    ----------
    most : float
        Seconds of silence.
    """

    def __init__(self, most: float) -> None:
        self._most = self._left = most
        self._ran = 0.0
        self._since: float | None = None
        self._before = most, 0.0

    def left(self, now: float = 0.0) -> float:
        """Seconds until it's run down, if nothing comes."""
        return self._left - (0.0 if self._since is None else now - self._since)

    @property
    def ran(self) -> float:
        """Seconds that it has run, until it stood still."""
        return self._ran

    def go(self, now: float) -> None:
        """Run from now on."""
        self._since = now
        self._before = self._left, self._ran

    def stop(self, now: float) -> None:
        """Stand still."""
        if self._since is not None:
            self.spend(now - self._since)
            self._since = None

    def spend(self, seconds: float) -> None:
        """Run down by a pause."""
        self._left -= seconds
        self._ran += seconds

    def came(self, now: float, size: int) -> None:
        """Note bytes: they wind it up."""
        if self._since is not None:
            self.spend(now - self._since)
            self._since = now
        self.gain(size)

    def rest(self, now: float) -> None:
        """Note that until now nobody was ready for bytes: that doesn't count."""
        if self._since is not None:
            self._since = now

    def gain(self, size: int) -> None:
        """Wind it up."""
        self._left = min(self._most, self._left + size / SLOWEST_BYTES_PER_S)

    def lose(self, *, is_all: bool) -> None:
        """Note that bytes were thrown away, all or those since it went: the time that they took was spent in vain."""
        left, ran = (self._most, 0.0) if is_all else self._before
        self._left = min(self._left, left - (self._ran - ran))


class Trial:
    """One try of a request: it ends when its own clock has run down, or the request's.

    Parameters
    ----------
    whole : Clock
        The request's.
    seconds : float
        Of the try.
    is_alone : bool
        Whether the try doesn't end with the request's clock.

    Attributes
    ----------
    size : int
        Bytes that have come.
    took : float
        Seconds from its turn to its end.
    """

    def __init__(self, whole: Clock, seconds: float, *, is_alone: bool) -> None:
        self._whole = whole
        self._clocks = [whole, Clock(seconds)]
        self._ends = self._clocks[is_alone:]
        self._limit: asyncio.Timeout | None = None
        self._began: float | None = None
        self._moved = 0.0
        self.size = 0
        self.took = 0.0

    def begin(self, now: float) -> float:
        """Let it begin, now that it has its turn; seconds that it has if nothing comes."""
        self._began = self._moved = now
        for clock in self._clocks:
            clock.go(now)
        return self._left(now)

    def _left(self, now: float) -> float:
        return max(0.01, min(clock.left(now) for clock in self._ends))

    def moves(self, limit: asyncio.Timeout) -> None:
        """Have a timeout be moved by what comes, but not by each piece of it."""
        self._limit = limit

    def came(self, now: float, size: int) -> None:
        """Note bytes; none say that it isn't the server which isn't ready."""
        self.size += size
        for clock in self._clocks:
            if size:
                clock.came(now, size)
            else:
                clock.rest(now)
        if self._limit is not None and now - self._moved > _MOVED_S and not self._limit.expired():
            self._limit.reschedule(now + self._left(now))
            self._moved = now

    def end(self, now: float) -> None:
        """Let the clocks stand still."""
        if self._began is not None:
            self.took, self._began = now - self._began, None
        self._limit = None
        for clock in self._clocks:
            clock.stop(now)

    def lose(self, *, is_all: bool) -> None:
        """Note that what it has brought, or all that has come, was thrown away."""
        self._whole.lose(is_all=is_all)
