"""Opening: building and reopening the index, bytes a row, lookup as it grows, memory."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import blobdir
from benchmarks.data import sparse_project
from benchmarks.measure import Outcome, interleaved, micro, seconds
from blobdir.discovery import DiscoveryOptions
from blobdir.index import load_index, save_index
from blobdir.opening import OpenOptions, build, open_tree
from blobdir.sources import open_storage

LOOKUPS = 20_000
_PEAK = """
import json, sys, time
from blobdir.opening import build
from blobdir.discovery import DiscoveryOptions
from blobdir.sources import open_storage
began = time.perf_counter()
index = build(open_storage(sys.argv[1]), DiscoveryOptions())
seconds = time.perf_counter() - began
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([seconds, peak * 1024, len(index)]))
"""


def run(folder: Path, images: int, rounds: int) -> Outcome:
    """Build, reopen and look up at several sizes."""
    outcome = Outcome(
        "Opening and looking up",
        f"Projects of 10⁴ to {images:,} images from pickles, warm; building includes reading the pickles, pairing and "
        "sorting. Lookup: random paths of existing images by `Tree.find`.",
    )
    sizes = [size for size in (10_000, 100_000, 1_000_000, 10_000_000) if size <= images] or [images]
    per_row: dict[str, float] = {}
    for size in sizes:
        _one_size(outcome, folder, size, max(1, size // 100_000), rounds, per_row)
    many = sizes[0] if sizes[0] < 10_000 else 100_000 if 100_000 in sizes else 10_000
    for blobs in (1, 1000 if many >= 10_000 else 10):
        _lookup(outcome, folder, many, blobs, rounds, per_row)
    slowest = max(per_row.values())
    outcome.goal("lookup ≤ 2 µs at every size", f"{slowest * 1e6:.2f} µs at most", slowest <= 2e-6)
    return outcome


def _one_size(outcome: Outcome, folder: Path, size: int, blobs: int, rounds: int, per_row: dict[str, float]) -> None:
    root = sparse_project(folder, size, blobs)
    done = subprocess.run([sys.executable, "-c", _PEAK, root], capture_output=True, text=True, check=True)
    first_s, peak, rows = json.loads(done.stdout)
    outcome.rows.append((f"{size:,} images: built in a fresh process", f"{first_s:.2f} s, {peak / 1e9:.2f} GB at most"))
    if size == 10_000_000:
        outcome.goal(
            "10 M rows built ≤ 60 s and 4 GB", f"{first_s:.1f} s, {peak / 1e9:.2f} GB", first_s <= 60 and peak <= 4e9
        )
    storage = open_storage(root)
    with TemporaryDirectory() as place:
        index = build(storage, DiscoveryOptions())
        save_index(index, Path(place) / "ix")
        options = OpenOptions(index=str(Path(place) / "ix"))
        things = {"reopen": lambda: open_tree(root, options=options), "load": lambda: load_index(Path(place) / "ix")}
        if size <= 1_000_000:
            things["build"] = lambda: build(storage, DiscoveryOptions())
        timings = interleaved(things, rounds)
    for name, timing in timings.items():
        outcome.rows.append((f"{size:,} images: {name}", seconds(timing)))
    row_bytes = index.nbytes / rows
    outcome.rows.append((f"{size:,} images: index", f"{index.nbytes / 1e6:.1f} MB, {row_bytes:.1f} bytes a row"))
    outcome.goal(f"≤ 64 bytes a row at {size:,}", f"{row_bytes:.1f}", row_bytes <= 64)
    if size == 1_000_000:
        built, reopened = timings["build"].median_s, timings["reopen"].median_s
        outcome.goal("1 M images from pickles ≤ 3 s", f"{built:.2f} s", built <= 3)
        outcome.goal("1 M images reopened ≤ 25 ms", f"{reopened * 1e3:.1f} ms", reopened <= 0.025)
    del index
    _lookup(outcome, folder, size, blobs, rounds, per_row)


def _lookup(outcome: Outcome, folder: Path, size: int, blobs: int, rounds: int, per_row: dict[str, float]) -> None:
    tree = open_tree(sparse_project(folder, size, blobs), options=OpenOptions(index="none"))
    source = random.Random(2)
    per_blob = size // blobs
    numbers = [source.randrange(per_blob * blobs) for _ in range(min(LOOKUPS, size))]
    paths = [f"ds{number // per_blob % 10}/img/image_{number:08d}.jpg" for number in numbers]
    assert all(tree.path(tree.find(path)) == path for path in paths[:100])

    def look() -> None:
        find = tree.find
        for path in paths:
            find(path)

    timing = interleaved({"": look}, rounds)[""].per(len(paths))
    label = f"lookup in {size:,} images, {blobs:,} blobs"
    outcome.rows.append((label, micro(timing)))
    per_row[label] = timing.median_s


def listing(folder: Path, images: int, rounds: int) -> Outcome:
    """List a large directory."""
    outcome = Outcome("Listing", f"`ls` of a directory of {images:,} images.")
    fs = blobdir.BlobDirFileSystem(str(sparse_project(folder, images, 1)), index="none", skip_instance_cache=True)
    assert len(fs.ls("ds0/img", detail=False)) == images
    timings = interleaved(
        {
            "ls, names": lambda: fs.ls("ds0/img", detail=False),
            "ls, dictionaries": lambda: fs.ls("ds0/img", detail=True),
            "find, names": lambda: fs.find("ds0"),
        },
        min(rounds, 3),
    )
    outcome.rows += [(name, seconds(timing)) for name, timing in timings.items()]
    ratio = timings["ls, dictionaries"].median_s / timings["ls, names"].median_s
    outcome.rows.append(("names are quicker than dictionaries by", f"{ratio:.0f} ×"))
    return outcome
