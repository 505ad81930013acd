"""Single images of a remote project, read in random order from a mount, as a training does that has just begun."""

from __future__ import annotations

import contextlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec

import blobdir
from benchmarks.measure import Outcome, Timing, rounds_of
from benchmarks.peers import here, program_path
from benchmarks.serving import DEADLINE_S, away, nginx, staged
from blobdir.offsets import read_offsets

PEERS = ("nginx", "mounting", "rclone")
LATENCY_MS, FURTHER_MS = 20, 220
A_CONNECTION = 20e6
"""Bytes a second, where bandwidth is limited."""
ONE_IN = 15
"""Of so many images one is read."""


def run(folder: Path, images: int, rounds: int) -> Outcome:
    """Cold and warm mounts beside ``rclone mount``, `read_many` and simplecache; the first image, in round trips."""
    count = max(1, images // ONE_IN)
    outcome = Outcome(
        "Remote, single images from a mount",
        f"{count:,} of {images:,} images of 3.6 to 4.5 KB in random order, opened and read one by one; an index beside "
        f"the project on nginx, a proxy delays what goes to the server by {LATENCY_MS} ms. A new cache folder each "
        f"time, unless a row says otherwise. rclone mounts the tar with `--vfs-cache-mode full`, and is told the "
        f"ranges. Medians of {rounds} interleaved rounds.",
    )
    if not (here("nginx") and here("mounting")):
        return outcome
    stage = staged(folder, images)
    names = sorted(os.listdir(stage / "plain"))
    random.Random(7).shuffle(names)
    with nginx(stage) as port, tempfile.TemporaryDirectory(dir=folder) as temporary:
        reader = _Reader(stage, names[:count], Path(temporary))
        for bandwidth, said in ((A_CONNECTION, f"{A_CONNECTION / 1e6:.0f} MB/s a connection"), (0, "any bandwidth")):
            with away(port, LATENCY_MS, bandwidth) as url:
                _cold(outcome, reader, url, said, rounds)
        with away(port, LATENCY_MS) as url:
            _warm(outcome, reader, url, rounds)
        with away(port, LATENCY_MS) as near, away(port, FURTHER_MS) as far:
            _first(outcome, reader, (near, far), rounds)
    return outcome


class _Reader:
    """Reads the chosen images, each way with a cache folder of its own."""

    def __init__(self, stage: Path, names: list[str], temporary: Path) -> None:
        self.plain, self.names, self.temporary = stage / "plain", names, temporary
        self.tar = next((stage / "p/blob").glob("*.tar")).name
        (pickle,) = (stage / "p/train").glob("*_offsets.pkl")
        wanted = set(names)
        every = {name.decode(): (start, end) for name, start, end in read_offsets(pickle).entries()}
        self.ranges = [(name, *every[name]) for name in names if name in wanted]
        self.bytes: dict[str, int] = {}

    @contextlib.contextmanager
    def mounted(self, url: str, cache: Path) -> Iterator[Path]:
        """The project, by the command, as for somebody who has never seen it."""
        place = self.temporary / "mounted"
        place.mkdir(exist_ok=True)
        own = {"BLOBDIR_STATE_DIR": f"{self.temporary}/state", "XDG_CACHE_HOME": str(cache)}
        blobdir_ = [sys.executable, "-m", "blobdir"]
        command = [*blobdir_, "mount", "-q", f"{url}/p", place, "--engine", "native", "--cache-dir", cache / "blocks"]
        environment = os.environ | own
        subprocess.run(command, env=environment, check=True, timeout=DEADLINE_S, stdout=subprocess.DEVNULL)
        try:
            yield place / "train/img"
        finally:
            subprocess.run(
                [*blobdir_, "umount", place],
                env=environment,
                check=True,
                timeout=DEADLINE_S,
                stdout=subprocess.DEVNULL,
            )

    def read(self, folder: Path) -> float:
        """Seconds to open and read each."""
        began = time.perf_counter()
        for name in self.names:
            with open(folder / name, "rb", buffering=0) as file:
                file.read()
        took = time.perf_counter() - began
        assert (folder / self.names[-1]).read_bytes() == (self.plain / self.names[-1]).read_bytes()
        return took

    def cold(self, url: str) -> float:
        """From a mount."""
        with self.cache("mount") as cache, self.mounted(url, cache) as folder:
            return self.read(folder)

    def read_many(self, url: str) -> float:
        """By one call in Python."""
        with self.cache("read_many") as cache:
            train = blobdir.open_project(f"{url}/p", cache_dir=cache / "blocks")["train"]
            began = time.perf_counter()
            train.read_many(self.names)
            took = time.perf_counter() - began
            train._tree.storage.cache.flush()
            return took

    def rclone(self, url: str) -> float:
        """From the tar that rclone has mounted."""
        place = self.temporary / "rclone"
        place.mkdir(exist_ok=True)
        program = program_path("rclone")
        assert program is not None
        with self.cache("rclone") as cache:
            options = ["--read-only", "--vfs-cache-mode", "full", "--cache-dir", cache, "--http-url", f"{url}/p"]
            with subprocess.Popen([program, "mount", *options, ":http:", place], stderr=subprocess.DEVNULL) as process:
                deadline = time.monotonic() + DEADLINE_S
                while not os.path.ismount(place) and process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.02)
                try:
                    with open(place / "blob" / self.tar, "rb", buffering=0) as file:
                        began = time.perf_counter()
                        for _, start, end in self.ranges:
                            file.seek(start)
                            left = end - start
                            while left:
                                left -= len(file.read(left))
                        return time.perf_counter() - began
                finally:
                    subprocess.run(["umount", place], check=False, timeout=60)
                    process.terminate()

    @contextlib.contextmanager
    def cache(self, what: str) -> Iterator[Path]:
        """A new cache folder; how many bytes it came to hold is noted."""
        with tempfile.TemporaryDirectory(dir=self.temporary, ignore_cleanup_errors=True) as made:
            yield Path(made)
            blocks = (Path(made) / "blocks").rglob("*")
            self.bytes[what] = sum(path.stat().st_size for path in blocks if path.is_file())


def _cold(outcome: Outcome, reader: _Reader, url: str, said: str, rounds: int) -> None:
    things = {"blobdir mount": lambda: reader.cold(url), "read_many": lambda: reader.read_many(url)}
    if here("rclone"):
        things["rclone mount"] = lambda: reader.rclone(url)
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for who, thing in things.items():
            found.setdefault(who, []).append(thing())
    for who, seconds in found.items():
        is_peer = who == "rclone mount"
        what = f"{len(reader.names):,} random images, cold, {said}"
        outcome.figure(what, who, seconds, peer="rclone" if is_peer else "", ours=not is_peer)
    if "rclone mount" in found:
        ratio = statistics.median(found["blobdir mount"]) / statistics.median(found["rclone mount"])
        most = 0.8 if said.endswith("connection") else 1.0
        outcome.goal(f"cold, {said}: ≤ {most} × rclone on the tar", f"{ratio:.2f} ×", ratio <= most)
    ratio = reader.bytes["mount"] / reader.bytes["read_many"]
    outcome.goal(f"cold, {said}: ≤ 1.3 × the bytes of `read_many`", f"{ratio:.2f} ×", ratio <= 1.3)


def _warm(outcome: Outcome, reader: _Reader, url: str, rounds: int) -> None:
    """Mounted anew, with the cache kept, beside fsspec's copy of the tar on this disk, opened for each image."""
    tar = f"{url}/p/blob/{reader.tar}"
    with reader.cache("warm") as cache:
        with reader.mounted(url, cache) as folder:
            reader.read(folder)
            time.sleep(1)  # the last blocks are written

        def again() -> float:
            with reader.mounted(url, cache) as folder:
                return reader.read(folder)

        copies = fsspec.filesystem("simplecache", target_protocol="http", cache_storage=str(cache / "copies"))

        def copied() -> float:
            began = time.perf_counter()
            for _, start, end in reader.ranges:
                with copies.open(tar) as file:
                    file.seek(start)
                    file.read(end - start)
            return time.perf_counter() - began

        copied()
        found: dict[str, list[float]] = {"blobdir mount": [], "simplecache, opened for each": []}
        for _ in range(rounds):
            found["blobdir mount"].append(again())
            found["simplecache, opened for each"].append(copied())
    for who, seconds in found.items():
        what = f"{len(reader.names):,} random images, mounted anew, cache kept"
        outcome.figure(what, who, seconds, ours=who == "blobdir mount")
    ratio, least = (statistics.median(seconds) for seconds in found.values())
    outcome.goal("mounted anew, cache kept: ≤ 3 × simplecache's file", f"{ratio / least:.1f} ×", ratio <= 3 * least)


def _first(outcome: Outcome, reader: _Reader, urls: tuple[str, str], rounds: int) -> None:
    """How often the first image waits for the server: by how much later it comes where that's further away."""
    name = reader.names[0]

    def mount(url: str) -> None:
        with reader.cache("first") as cache, reader.mounted(url, cache) as folder:
            (folder / name).read_bytes()

    def cat(url: str) -> None:
        with reader.cache("first") as cache:
            subprocess.run(
                [sys.executable, "-m", "blobdir", "cat", "-q", f"{url}/p/train/img/{name}"],
                env=os.environ | {"XDG_CACHE_HOME": str(cache), "BLOBDIR_CACHE_DIR": f"{cache}/blocks"},
                check=True,
                timeout=DEADLINE_S,
                stdout=subprocess.DEVNULL,
            )

    for what, thing in (("`mount`, and one image", mount), ("`cat URL`", cat)):
        near, far = rounds_of({url: lambda u=url, t=thing: t(u) for url in urls}, rounds).values()
        trips = (statistics.median(far) - statistics.median(near)) / (FURTHER_MS - LATENCY_MS) * 1e3
        outcome.goal(f"first image, {what}: ≤ 5 round trips", f"{trips:.1f}", trips <= 5.05)
        outcome.rows.append((f"first image, {what}, {LATENCY_MS} ms away", f"{Timing.of(near).median_s:.2f} s"))
