"""``python -m benchmarks run [--quick] [--rounds N] [--only NAME] [--data FOLDER] [--output FOLDER]``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from benchmarks import indexing, kernel, mounting, packing, reading, remote, scanning
from benchmarks.measure import Outcome


def workloads(data: Path, *, images: int, rows: int, rounds: int) -> dict[str, Callable[[], Outcome]]:
    """All workloads, by name."""
    return {
        "reading": lambda: reading.run(data, images, rounds),
        "offsets": lambda: scanning.run(data, images, rounds),
        "pickle": lambda: scanning.large_pickle(data, min(rows, 1_000_000), rounds),
        "index": lambda: indexing.run(data, rows, rounds),
        "listing": lambda: indexing.listing(data, min(rows, 1_000_000), rounds),
        "mounts": lambda: mounting.run(data, images, rounds),
        "mounts of many": lambda: mounting.many(data, min(rows, 1_000_000), rounds),
        "kernel engine": lambda: kernel.run(data, images, min(rows, 1_000_000), rounds),
        "remote": lambda: remote.run(data, images, rounds),
        "packing": lambda: packing.run(data, images, rounds),
        "starting": lambda: scanning.starting(rounds),
    }


def machine() -> str:
    """The machine in one line."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def as_text(outcomes: list[Outcome]) -> str:
    """The tables as Markdown: goals with ratios first, then all figures."""
    lines = [f"Machine: {machine()}.", "", "| goal | measured | |", "|---|---|---|"]
    for outcome in outcomes:
        lines += [f"| {goal} | {figure} | {'met' if met else '**missed**'} |" for goal, figure, met in outcome.goals]
    for outcome in outcomes:
        lines += ["", f"### {outcome.title}", "", outcome.method, "", "| what | figure |", "|---|---|"]
        lines += [f"| {name} | {figure} |" for name, figure in outcome.rows]
        lines += [f"\nNot measured: {peer}." for peer in outcome.missing]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Run workloads and write what they found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("command", choices=["run"])
    parser.add_argument("--quick", action="store_true", help="3,000 images, 100,000 rows, 3 rounds")
    parser.add_argument("--rounds", type=int, help="rounds of each workload; 7 by default, 3 with --quick")
    parser.add_argument("--only", action="append", metavar="NAME", help="a workload; may be repeated")
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "blobdir-benchmarks")
    parser.add_argument("--output", type=Path, help="folder for figures.json and figures.md")
    given = parser.parse_args(arguments)
    sizes = {"images": 3000, "rows": 100_000, "rounds": 3} if given.quick else {}
    sizes = {"images": 30_000, "rows": 10_000_000, "rounds": 7} | sizes
    every = workloads(given.data, **(sizes | ({"rounds": given.rounds} if given.rounds else {})))
    if unknown := set(given.only or []) - set(every):
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(every)}")
    warnings.simplefilter("ignore")
    outcomes = []
    for name, workload in every.items():
        if not given.only or name in given.only:
            print(f"{name} …", file=sys.stderr, flush=True)
            outcomes.append(workload())
    text = as_text(outcomes)
    print(text)
    if given.output:
        given.output.mkdir(parents=True, exist_ok=True)
        (given.output / "figures.md").write_text(text)
        (given.output / "figures.json").write_text(json.dumps([o.to_json() for o in outcomes], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
