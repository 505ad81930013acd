"""The kernel engine: its image against mkfs.erofs's, ext4 and the other engines; time and size of large images."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import blobdir
from benchmarks.data import plain_folder, real_project, sparse_project
from benchmarks.measure import Outcome
from blobdir.erofs.attach import mount_image, unmount
from blobdir.erofs.gate import judge, look
from blobdir.erofs.images import write_image
from blobdir.erofs.syscalls import FilesystemContext, attach_mount
from blobdir.opening import open_tree

DEADLINE_S = 120
READ = Path(__file__).with_name("read_files.py")
CACHES = Path("/proc/sys/vm/drop_caches")

MAKE = """
import json, resource, sys, time
from pathlib import Path
from blobdir.erofs.images import write_image
from blobdir.opening import open_tree
tree = open_tree(sys.argv[1])
began = time.perf_counter()
image = write_image(tree, Path(sys.argv[2]))
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps([seconds, (image.size - image.copied_bytes) / image.rows, peak]))
"""


def run(folder: Path, images: int, rows: int, rounds: int) -> Outcome:
    """Open, read and close every image in random order, with nothing cached and with everything; make a large image."""
    outcome = Outcome(
        "The kernel engine",
        f"{images:,} images of 3.6 to 4.5 KB; open, read, close in random order by one process in Python. Cold: all "
        "caches dropped, those of the archive too; warm: the same again. mkfs.erofs: an image with the data in it, "
        f"made of the plain files. Medians of {rounds} interleaved rounds.",
    )
    verdict = judge(look())
    if verdict.backing == "none":
        outcome.missing.append(f"everything: {'; '.join(verdict.reasons)}")
        return outcome
    project, plain = real_project(folder, images), plain_folder(folder, images)
    ours = write_image(open_tree(project), folder / "project.erofs").path
    peers = {"kernel": ours, "ext4": plain}
    for engine in ("native", "fusepy"):
        peers[engine] = project
    if verdict.backing == "file":
        peers["kernel by loop devices"] = ours
    if shutil.which("mkfs.erofs"):
        packed = folder / "plain.erofs"
        with tempfile.TemporaryDirectory(dir=folder) as stage:  # as deep as ours: each component of a path costs
            (Path(stage) / "train").mkdir()
            subprocess.run(["cp", "-al", plain, f"{stage}/train/img"], check=True, timeout=DEADLINE_S)
            command = ["mkfs.erofs", "--quiet", packed, stage]
            subprocess.run(command, check=True, timeout=DEADLINE_S, capture_output=True)
        peers["mkfs.erofs"] = packed
    else:
        outcome.missing.append("mkfs.erofs: apt install erofs-utils")
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for name, image in peers.items():
            with tempfile.TemporaryDirectory() as place, _mounted(name, image, Path(place), found) as images_folder:
                os.sync()
                CACHES.write_text("3")
                command = [sys.executable, READ, images_folder, plain, plain]
                done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
                for how, seconds in zip(("cold", "warm"), json.loads(done.stdout), strict=True):
                    found.setdefault((name, how), []).append(seconds)
    us = {key: statistics.median(values) / images * 1e6 for key, values in found.items()}
    for name in peers:
        outcome.rows.append((name, f"cold {us[name, 'cold']:.1f} µs, warm {us[name, 'warm']:.2f} µs"))
    for how in ("cold", "warm"):
        for peer, most in (("mkfs.erofs", 1.1), ("ext4", 1.0)):
            if (peer, how) in us:
                ratio = us["kernel", how] / us[peer, how]
                outcome.goal(f"{how} ≤ {most:g} × {peer}", f"{ratio:.2f} ×", ratio <= most)
    mounting = statistics.median(found["kernel", "mounting"])
    outcome.goal("mounting ≤ 20 ms", f"{mounting * 1e3:.1f} ms", mounting <= 0.02)
    _large(outcome, folder, rows, rounds)
    return outcome


@contextlib.contextmanager
def _mounted(name: str, image: Path, place: Path, found: dict[tuple[str, str], list[float]]) -> Iterator[Path]:
    if name == "ext4":
        yield image
        return
    if name in ("native", "fusepy"):
        with blobdir.mount(image, place, engine=name) as root:
            yield root / "train/img"
        return
    began = time.perf_counter()
    if name == "mkfs.erofs":
        with FilesystemContext("erofs") as context:
            context.set("source", str(image))
            mount = context.mount()
        attach_mount(mount, str(place))
        os.close(mount)
    else:
        mount_image(image, str(place), backing="loop" if "loop" in name else "auto")
    found.setdefault((name, "mounting"), []).append(time.perf_counter() - began)
    try:
        yield place / "train/img"
    finally:
        unmount(str(place), lazy=True)


def _large(outcome: Outcome, folder: Path, rows: int, rounds: int) -> None:
    project = sparse_project(folder, rows, 10)
    open_tree(project)  # builds the index
    figures = []
    for _ in range(rounds):
        command = [sys.executable, "-c", MAKE, project, folder / "large.erofs"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
        figures.append(json.loads(done.stdout))
    seconds, each, peak = (statistics.median(values) for values in zip(*figures, strict=True))
    text = f"{seconds:.2f} s, {each:.0f} bytes an image, {peak / 1e6:.0f} MB at the peak"
    outcome.rows.append((f"an image of {rows:,} images", text))
    outcome.goal("an image of 1,000,000 in ≤ 3 s", f"{seconds:.2f} s", seconds <= 3)
    outcome.goal("≤ 100 bytes an image", f"{each:.0f}", each <= 100)
    outcome.goal("≤ 500 MB at the peak", f"{peak / 1e6:.0f} MB", peak <= 500e6)
