"""A store of images that is written and read by name: blobdir's beside sixty lines over LMDB."""

from __future__ import annotations

import gc
import importlib
import os
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from benchmarks.data import IMAGE_BYTES
from benchmarks.measure import Outcome, rounds_of
from benchmarks.peers import here
from blobdir import ImageStore

PEERS = ("lmdb",)
ASKED = 1000
COMMITS = 1000
OURS, THEIRS = "blobdir.ImageStore", "LMDB"
JPEG = b"\xff\xd8\xff"


class _Store(Protocol):
    def put_many(self, images: Mapping[str, bytes]) -> object: ...

    def get_many(self, names: Iterable[str]) -> list[bytes]: ...

    def __getitem__(self, name: str) -> bytes: ...

    def close(self) -> None: ...


class LmdbStore:
    """The class that people have: a transaction a call, which reaches the disk at its end."""

    def __init__(self, path: str, room: int) -> None:
        lmdb = importlib.import_module("lmdb")
        self._environment: Any = lmdb.open(path, map_size=room)

    def put_many(self, images: Mapping[str, bytes]) -> None:
        """Write many images."""
        with self._environment.begin(write=True) as transaction:
            for name, data in images.items():
                transaction.put(name.encode(), data)

    def get_many(self, names: Iterable[str]) -> list[bytes]:
        """Bytes of many images."""
        with self._environment.begin() as transaction:
            return [transaction.get(name.encode()) for name in names]

    def __getitem__(self, name: str) -> bytes:
        with self._environment.begin() as transaction:
            data: bytes = transaction.get(name.encode())
            return data

    def close(self) -> None:
        """Let go of the file."""
        self._environment.close()


def run(folder: Path, images: int, rounds: int) -> Outcome:
    """Put images, get them at random, and commit one by one."""
    asked, commits = min(ASKED, images), min(COMMITS, images // 10)
    outcome = Outcome(
        "A store of images",
        f"{images:,} images of {IMAGE_BYTES / 1e3:.1f} to {(IMAGE_BYTES + 899) / 1e3:.1f} KB, held in memory, are put "
        "into an empty store in one call, and are on the disk when it returns (LMDB: one transaction, synced at its end, "
        f"as by default); then {asked:,} random ones are got in one call, as `bytes`, page cache warm, and one by one. "
        f"Room on the disk: all blocks of its files; LMDB gives whole pages of 4 KiB. Small commits: {commits:,} of one "
        "image each, into a store that holds the others already; then the same is asked of it as of one that was written "
        "at once, without `compact`.",
    )
    rng = random.Random(4)
    data = {f"{i:08d}.jpg": JPEG + rng.randbytes(IMAGE_BYTES - 3 + i * 7919 % 900) for i in range(images)}
    names = rng.sample(list(data), asked)
    room = 2 * sum(map(len, data.values())) + 64 * len(data) + (64 << 20)
    makers: dict[str, Callable[[str], _Store]] = {OURS: lambda path: ImageStore(path, "x")}
    if here("lmdb"):
        makers[THEIRS] = lambda path: LmdbStore(path, room)
    with TemporaryDirectory(dir=folder) as place:
        stores = _put(outcome, Path(place), makers, data, rounds)
        _get(outcome, stores, names, [data[name] for name in names], rounds)
        for store in stores.values():
            store.close()
        _commit(outcome, Path(place), data, names, commits, rounds)
    _goals(outcome)
    return outcome


def _put(
    outcome: Outcome,
    place: Path,
    makers: dict[str, Callable[[str], _Store]],
    data: dict[str, bytes],
    rounds: int,
) -> dict[str, _Store]:
    """Time writing; gives the stores of the last round."""
    found: dict[str, list[float]] = {who: [] for who in makers}
    stores: dict[str, _Store] = {}
    for number in range(rounds):
        for who, make in makers.items():
            if who in stores:
                stores.pop(who).close()  # and left there: on ext4, files that come right after a removal take longer
            os.sync()
            gc.collect()
            store = stores[who] = make(os.fspath(place / f"{who}-{number}"))
            began = time.perf_counter()
            store.put_many(data)
            found[who].append(time.perf_counter() - began)
    for who, seconds in found.items():
        about = {"peer": "" if who == OURS else "lmdb", "ours": who == OURS, "headline": who == OURS}
        outcome.figure(f"put_many of {len(data):,}", who, seconds, **about)
        size = float(_room(place / f"{who}-{rounds - 1}"))
        outcome.figure("room on the disk", who, [size], unit="bytes", **about)
    return stores


def _room(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def _get(outcome: Outcome, stores: dict[str, _Store], names: list[str], expected: list[bytes], rounds: int) -> None:
    del_me = bytearray(31 << 20)  # below 32 MiB, glibc then keeps as much instead of returning it
    del del_me
    for who, store in stores.items():
        assert store.get_many(names) == expected, who
        assert [store[name] for name in names] == expected, who
    lists = {who: lambda store=store: store.get_many(names) for who, store in stores.items()}
    ones = {who: lambda store=store: [store[name] for name in names] for who, store in stores.items()}
    for what, things, count in ((f"get_many of {len(names):,} random ones", lists, 1), ("one", ones, len(names))):
        for who, seconds in rounds_of(things, 5 * rounds).items():
            about = {"peer": "" if who == OURS else "lmdb", "ours": who == OURS, "headline": who == OURS}
            outcome.figure(what, who, [one / count for one in seconds], **about)


def _commit(outcome: Outcome, place: Path, data: dict[str, bytes], names: list[str], commits: int, rounds: int) -> None:
    """Compare a store after many small commits with one that was written at once."""
    pairs = list(data.items())
    at_once, grown = place / "at-once", place / "grown"
    ImageStore(at_once, "x").put_many(data)
    store = ImageStore(grown, "x")
    store.put_many(pairs[commits:])
    began = time.perf_counter()
    for name, value in pairs[:commits]:
        store[name] = value
    each = (time.perf_counter() - began) / max(1, commits)
    outcome.rows.append((f"a commit of one image into {len(pairs) - commits:,}", f"{each * 1e3:.1f} ms"))
    blobs = len(list((grown / "blob").glob("*.tar")))
    outcome.rows.append((f"blobs after {commits:,} such commits", f"{blobs}"))
    opened = rounds_of({way.name: lambda way=way: ImageStore(way, "r") for way in (at_once, grown)}, 3 * rounds)
    readers = {way.name: ImageStore(way, "r") for way in (at_once, grown)}
    for reader in readers.values():
        assert reader.get_many(names) == [data[name] for name in names]
    read = rounds_of({who: lambda one=one: one.get_many(names) for who, one in readers.items()}, 5 * rounds)
    for what, found in (("opening", opened), (f"get_many of {len(names):,}", read)):
        before, after = (statistics.median(found[way.name]) for way in (at_once, grown))
        text = f"{after * 1e3:.2f} ms, {before * 1e3:.2f} ms without"
        outcome.goal(f"{what} after {commits:,} small commits: ≤ 1.2 × without", text, after <= 1.2 * before)


def _goals(outcome: Outcome) -> None:
    found = {(figure.what, figure.who): figure.median for figure in outcome.figures}
    if not any(who == THEIRS for _, who in found):
        return
    for what, who in list(found):
        if who != OURS or what == "one":
            continue
        ratio = found[what, THEIRS] / found[what, OURS]
        least = 0.5 if what.startswith("get") else 1.0
        goal = "smaller than LMDB's" if what.startswith("room") else f"≥ {least:g} × LMDB's speed"
        outcome.goal(f"{what}: {goal}", f"{ratio:.2f} ×", ratio >= least)
