"""Changing and choosing in large projects: one image removed, so many of each class taken."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.data import SIDE, finish, image_name, sparse_project
from benchmarks.measure import Outcome, Timing, seconds
from blobdir.offsets import OffsetsTable, write_offsets
from blobdir.packing import SubsetOptions, subset
from blobdir.packing.choosing import sample
from blobdir.tarwriting.format import archive_end, member_header, padding

CLASSES, PER_CLASS = 1200, 5
JPEG = b"\xff\xd8\xff"
REMOVE = """
import json, sys, time
import blobdir.packing
began = time.perf_counter()
report = blobdir.packing.remove(sys.argv[1], [sys.argv[2]])
seconds = time.perf_counter() - began
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
print(json.dumps([seconds, peak]))
"""


def run(folder: Path, rows: int, images: int, rounds: int) -> Outcome:
    """Remove one of `rows` images, and choose of `images`."""
    outcome = Outcome(
        "Changing and choosing",
        f"`remove` of one of {rows:,} images in 100 blobs, in a fresh process, without its imports. `subset --per-class "
        f"{PER_CLASS}` of {images:,} images, each with an annotation of three of {CLASSES:,} classes: it "
        "reads all annotations, chooses, and makes the project.",
    )
    _remove(outcome, folder, rows, rounds)
    _choose(outcome, folder, images, rounds)
    return outcome


def _remove(outcome: Outcome, folder: Path, rows: int, rounds: int) -> None:
    blobs = min(100, rows // 1000)
    project, found = sparse_project(folder, rows, blobs), []
    for _ in range(rounds):
        with TemporaryDirectory(dir=folder) as place:
            copy = Path(place) / "project"
            shutil.copytree(project, copy, copy_function=_link_blobs)
            image = f"ds0/{image_name(rows // blobs // 2)}"  # one of those that have headers
            command = [sys.executable, "-c", REMOVE, copy, image]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found.append(json.loads(done.stdout))
    times, peaks = zip(*found, strict=True)
    peak = statistics.median(peaks)
    outcome.rows.append((f"remove of one of {rows:,}", f"{seconds(Timing.of([*times]))}, {peak / 1e6:.0f} MB at most"))
    outcome.goal(f"remove of one of {rows:,}: ≤ 300 MB", f"{peak / 1e6:.0f} MB", peak <= 300e6)


def _link_blobs(source: str, dest: str) -> None:
    """Copy a file; blobs, which nobody writes to, as hard links."""
    if source.endswith(".tar"):
        os.link(source, dest)
    else:
        shutil.copy2(source, dest)


def _choose(outcome: Outcome, folder: Path, images: int, rounds: int) -> None:
    project = many_classes(folder, images)
    labels = {("train", image_name(i)): frozenset(_classes(i)) for i in range(images)}
    options = SubsetOptions(per_class=PER_CLASS)
    whole, choosing = [], []
    # All are deleted at the end: on ext4, files that come right after others were deleted take five times as long.
    with TemporaryDirectory(dir=folder) as place:
        for number in range(rounds):
            began = time.perf_counter()
            chosen = sample(labels, PER_CLASS, 0)
            choosing.append(time.perf_counter() - began)
            began = time.perf_counter()
            report = subset(project, Path(place) / f"part{number}", options)
            whole.append(time.perf_counter() - began)
            assert report.datasets == {"train": len(chosen)}
    outcome.rows.append((f"choosing {len(chosen):,} of {images:,} images by class", seconds(Timing.of(choosing))))
    text = seconds(Timing.of(whole))
    outcome.rows.append(("the whole `subset --per-class`", text))
    outcome.goal("subset --per-class of 40,000 × 1,200 ≤ 1 s", text, statistics.median(whole) <= 1)


def many_classes(folder: Path, images: int) -> Path:
    """A project of many classes, with an annotation of three of them for each image."""

    def build(root: Path) -> None:
        (root / "blob").mkdir()
        (root / "train/ann").mkdir(parents=True)
        titles = [f"class {number}" for number in range(CLASSES)]
        classes = [{"title": title, "shape": "rectangle", "color": "#0F3A8A"} for title in titles]
        (root / "meta.json").write_text(json.dumps({"classes": classes, "tags": [], "projectType": "images"}))
        data = JPEG + bytes(100)
        with open(root / "blob/shard.tar", "wb", buffering=1 << 20) as tar:
            for i in range(images):
                tar.write(member_header(image_name(i).encode(), len(data)) + data + padding(len(data)))
                (root / f"train/ann/{image_name(i)}.json").write_text(json.dumps(_annotation(i)))
            tar.write(archive_end(tar.tell()))
        start = np.arange(images) * 1024 + 512
        names = np.frombuffer(b"".join(image_name(i).encode() + b"\0" for i in range(images)), np.uint8)
        table = OffsetsTable(names, np.arange(images + 1) * 19, start, start + len(data))
        write_offsets(root / "train/shard_offsets.pkl", table)

    return finish(folder / f"classes-{images}", build)


def _classes(i: int) -> list[str]:
    """Classes of image `i`; some are rare."""
    return [f"class {number % CLASSES}" for number in (i, i * i % 7919, i % 30)]


def _annotation(i: int) -> dict[str, Any]:
    objects = [
        {
            "classTitle": title,
            "description": "",
            "tags": [],
            "points": {"exterior": [[1, 1], [10, 10]], "interior": []},
            "geometryType": "rectangle",
        }
        for title in _classes(i)
    ]
    return {"description": "", "size": {"height": SIDE, "width": SIDE}, "tags": [], "objects": objects}
