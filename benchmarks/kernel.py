"""The kernel engine's image of a large project: time to make it, its size, memory."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.data import sparse_project
from benchmarks.measure import Outcome
from benchmarks.mount_peers import DEADLINE_S
from blobdir.opening import open_tree

MAKE = """
import json, sys, time
from pathlib import Path
from blobdir.erofs.images import write_image
from blobdir.opening import open_tree
tree = open_tree(sys.argv[1])
began = time.perf_counter()
image = write_image(tree, Path(sys.argv[2]))
seconds = time.perf_counter() - began
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
print(json.dumps([seconds, (image.size - image.copied_bytes) / image.rows, peak]))
"""


def run(folder: Path, rows: int, rounds: int) -> Outcome:
    """Make an image."""
    outcome = Outcome(
        "The kernel engine's image", f"{rows:,} images in 10 blobs, index made before; a fresh process each round."
    )
    project = sparse_project(folder, rows, 10)
    open_tree(project)  # builds the index
    figures = []
    for _ in range(rounds):
        command = [sys.executable, "-c", MAKE, str(project), str(folder / "large.erofs")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
        figures.append(json.loads(done.stdout))
    seconds, each, peak = (statistics.median(values) for values in zip(*figures, strict=True))
    text = f"{seconds:.2f} s, {each:.0f} bytes an image, {peak / 1e6:.0f} MB at the peak"
    outcome.rows.append((f"an image of {rows:,} images", text))
    outcome.goal("an image of 1,000,000 in ≤ 3 s", f"{seconds:.2f} s", seconds <= 3)
    outcome.goal("≤ 100 bytes an image", f"{each:.0f}", each <= 100)
    outcome.goal("≤ 500 MB at the peak", f"{peak / 1e6:.0f} MB", peak <= 500e6)
    return outcome
