"""How things are timed: interleaved rounds, medians, spread."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Seconds of one thing: median of the rounds, and the fastest and slowest."""

    median_s: float
    fastest_s: float
    slowest_s: float

    def per(self, count: int) -> Timing:
        """The same for one of `count`."""
        return Timing(self.median_s / count, self.fastest_s / count, self.slowest_s / count)


@dataclass
class Outcome:
    """What a workload found.

    Attributes
    ----------
    title, method : str
    rows : list of (name, figure) pairs
    goals : list of (goal, figure, whether it was met)
    missing : list of str
        Peers that weren't there, and how to get them.
    """

    title: str
    method: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    goals: list[tuple[str, str, bool]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def goal(self, text: str, figure: str, met: bool) -> None:
        """Record a goal and whether it was met."""
        self.goals.append((text, figure, bool(met)))

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def interleaved(things: dict[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Time every thing once a round, for so many rounds: whatever else the machine does hits all of them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in things}
    for _ in range(rounds):
        for name, thing in things.items():
            gc.collect()
            began = time.perf_counter()
            kept = thing()
            seconds[name].append(time.perf_counter() - began)
            del kept
    return {name: Timing(statistics.median(s), min(s), max(s)) for name, s in seconds.items()}


def micro(timing: Timing) -> str:
    """Microseconds, with spread."""
    return f"{timing.median_s * 1e6:.2f} µs ({timing.fastest_s * 1e6:.2f}–{timing.slowest_s * 1e6:.2f})"


def seconds(timing: Timing) -> str:
    """Seconds or milliseconds, with spread."""
    unit, scale = ("s", 1.0) if timing.median_s >= 1 else ("ms", 1e3)
    return f"{timing.median_s * scale:.3g} {unit} ({timing.fastest_s * scale:.3g}–{timing.slowest_s * scale:.3g})"
