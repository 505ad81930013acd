"""The one list of all workloads. A new one is one entry: what it's called, who runs it, which peers it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import (
    changing,
    cold,
    growth,
    imagestore,
    indexing,
    kernel,
    mounting,
    packing,
    reading,
    remote,
    scanning,
    training,
)
from benchmarks.measure import Outcome
from benchmarks.peers import PEERS, here


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    images : int
        Of the projects whose images are read.
    many : int
        Of the large project.
    packed : int
        Files that are packed.
    chosen : int
        Images of which some are chosen by their classes.
    rows : int
        Of the largest index.
    rounds : int or None
        For all workloads; None: as many as each says.
    """

    images: int = 30_000
    many: int = 1_000_000
    packed: int = 100_000
    chosen: int = 40_000
    rows: int = 10_000_000
    rounds: int | None = None


FULL, QUICK = Sizes(), Sizes(images=3000, many=20_000, packed=10_000, chosen=4000, rows=100_000, rounds=3)


@dataclass(frozen=True)
class Workload:
    """Something that is measured.

    Attributes
    ----------
    name : str
        For ``--only``.
    run : callable
        Takes the data folder, `Sizes` and a number of rounds.
    peers : tuple of str
        Names in `benchmarks.peers.PEERS` of those that it measures, or needs; who isn't here is named in the outcome.
    rounds : int
    """

    name: str
    run: Callable[[Path, Sizes, int], Outcome]
    peers: tuple[str, ...] = ()
    rounds: int = 7

    def outcome(self, data: Path, sizes: Sizes) -> Outcome:
        """Run it; name the peers that are missing."""
        rounds = sizes.rounds or self.rounds
        data.mkdir(parents=True, exist_ok=True)
        outcome = self.run(data, sizes, rounds)
        outcome.missing += [f"{name} ({PEERS[name].get})" for name in self.peers if not here(name)]
        return outcome


WORKLOADS = (
    Workload("reading", lambda at, n, r: reading.run(at, n.images, r), reading.PEERS),
    Workload(
        "reading of many",
        lambda at, n, r: reading.million(at, n.images, n.many, r),
        ("lmdb", "wids", "ratarmountcore"),
        3,
    ),
    Workload("mounts", lambda at, n, r: mounting.run(at, n.images, r), mounting.PEERS, 3),
    Workload("mounts of many", lambda at, n, r: growth.many(at, n.many, n.images, r), growth.MOUNT_PEERS, 3),
    Workload("opening", lambda at, n, r: growth.opening(at, n.rows, r), growth.OPENING_PEERS, 3),
    Workload("remote", lambda at, n, r: remote.run(at, n.images, r), remote.PEERS, 3),
    Workload("remote, one by one", lambda at, n, r: cold.run(at, n.images, r), cold.PEERS, 3),
    Workload("packing", lambda at, n, r: packing.run(at, n.packed, r), ("SDK", "tar"), 3),
    Workload("changing", lambda at, n, r: changing.run(at, n.rows, n.chosen, r), rounds=3),
    Workload("image store", lambda at, n, r: imagestore.run(at, n.images, r), imagestore.PEERS, 5),
    Workload("training", lambda at, n, r: training.run(at, n.images, r), training.PEERS, 5),
    Workload("offsets", lambda at, n, r: scanning.run(at, n.images, r), ("SDK",)),
    Workload("pickle", lambda at, n, r: scanning.large_pickle(at, min(n.rows, 1_000_000), r)),
    Workload("index", lambda at, n, r: indexing.run(at, n.rows, r)),
    Workload("listing", lambda at, n, r: indexing.listing(at, min(n.rows, 1_000_000), r)),
    Workload("kernel image", lambda at, n, r: kernel.run(at, min(n.rows, 1_000_000), r), rounds=5),
    Workload("starting", lambda at, n, r: scanning.starting(r)),
)
