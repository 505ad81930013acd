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

    @classmethod
    def of(cls, rounds: list[float]) -> Timing:
        """What the rounds, in seconds, come to."""
        return cls(statistics.median(rounds), min(rounds), max(rounds))

    def per(self, count: int) -> Timing:
        """The same for one of `count`."""
        return Timing(self.median_s / count, self.fastest_s / count, self.slowest_s / count)


@dataclass(frozen=True)
class Figure:
    """What one way of doing a thing takes. Less is better, whatever the unit.

    Attributes
    ----------
    what : str
        The thing that is done, the same for all who do it.
    who : str
        Who does it.
    median, least, most : float
        Of all rounds.
    unit : str
        ``s`` or ``bytes``; of an image where `what` says so.
    peer : str
        The name in `benchmarks.peers.PEERS`; empty for blobdir, and for what is always there.
    ours : bool
        Whether it is blobdir.
    headline : bool
        Whether, for blobdir, the ratios of the others to it stand first in the report.
    size : int or None
        Rows, where `what` is measured at several sizes.
    rounds : int
    """

    what: str
    who: str
    median: float
    least: float
    most: float
    unit: str = "s"
    peer: str = ""
    ours: bool = False
    headline: bool = False
    size: int | None = None
    rounds: int = 1


@dataclass
class Outcome:
    """What a workload found.

    Attributes
    ----------
    title, method : str
    rows : list of (name, figure) pairs
        Figures that nobody is compared with, as text.
    goals : list of (goal, figure, whether it was met)
    missing : list of str
        Peers that weren't there, and how to get them.
    figures : list of Figure
        What is compared: tables with ratios and plots are drawn from these.
    """

    title: str
    method: str
    rows: list[tuple[str, str]] = field(default_factory=list)
    goals: list[tuple[str, str, bool]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    def goal(self, text: str, figure: str, met: bool) -> None:
        """Record a goal and whether it was met."""
        self.goals.append((text, figure, bool(met)))

    def figure(self, what: str, who: str, found: list[float] | Timing, **more: Any) -> None:
        """Record what rounds came to: one number a round, or a `Timing`; `more` are other attributes of `Figure`."""
        if isinstance(found, list):
            more.setdefault("rounds", len(found))
            found = Timing.of(found)
        self.figures.append(Figure(what, who, found.median_s, found.fastest_s, found.slowest_s, **more))

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Outcome:
        """The inverse of `to_json`."""
        rows = [(name, figure) for name, figure in values["rows"]]
        goals = [(goal, figure, met) for goal, figure, met in values["goals"]]
        figures = [Figure(**figure) for figure in values["figures"]]
        return cls(values["title"], values["method"], rows, goals, values["missing"], figures)


def rounds_of(things: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every thing once a round, for so many rounds: whatever else the machine does hits all of them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in things}
    for _ in range(rounds):
        for name, thing in things.items():
            gc.collect()
            began = time.perf_counter()
            kept = thing()
            seconds[name].append(time.perf_counter() - began)
            del kept
    return seconds


def interleaved(things: dict[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """`rounds_of`, as medians with spread."""
    return {name: Timing.of(seconds) for name, seconds in rounds_of(things, rounds).items()}


def micro(timing: Timing) -> str:
    """Microseconds, with spread."""
    return f"{timing.median_s * 1e6:.2f} µs ({timing.fastest_s * 1e6:.2f}–{timing.slowest_s * 1e6:.2f})"


def seconds(timing: Timing) -> str:
    """Seconds or milliseconds, with spread."""
    unit, scale = ("s", 1.0) if timing.median_s >= 1 else ("ms", 1e3)
    return f"{timing.median_s * scale:.3g} {unit} ({timing.fastest_s * scale:.3g}–{timing.slowest_s * scale:.3g})"
