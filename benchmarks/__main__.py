"""Measured figures of blobdir beside its peers: ``python -m benchmarks run``, ``report`` and ``peers``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import replace
from pathlib import Path

from benchmarks import plots, report
from benchmarks.peers import PEERS, WITHOUT, here, roll_call
from benchmarks.results import Results
from benchmarks.workloads import FULL, QUICK, WORKLOADS

DOCS = Path(__file__).parents[1] / "docs"


def parser() -> argparse.ArgumentParser:
    """What the command line takes."""
    made = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure, keep what was found, write the report")
    run.add_argument(
        "--quick",
        action="store_true",
        help="a few minutes: 3,000, 20,000 and 100,000 images, at most 3 rounds; not to docs/",
    )
    run.add_argument("--rounds", type=int, help="rounds of each workload; by default as many as each says")
    run.add_argument("--only", action="append", default=[], metavar="NAME", help="a workload; may be repeated")
    run.add_argument("--resume", action="store_true", help="only what the last run, cut off, didn't come to")
    run.add_argument("--without", action="append", default=[], metavar="PEER", help="leave a peer out; may be repeated")
    run.add_argument("--data", type=Path, help="folder for generated data; 12 GB, 1 GB with --quick")
    drawn = commands.add_parser("report", help="write the report again from what was kept")
    for command in (run, drawn):
        command.add_argument("--output", type=Path, help="folder of figures.json, performance.md, images/; docs")
    commands.add_parser("peers", help="say who is here, and how to get the others")
    return made


def main(arguments: list[str]) -> int:
    """Run a command."""
    made = parser()
    given = made.parse_args(arguments)
    if given.command == "peers":
        say_peers()
        return 0
    if given.command == "report":
        return write_report(Results.load((given.output or DOCS) / "figures.json"), given.output or DOCS)
    return run(made, given)


def run(made: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    """Measure, one workload after the other; each is kept as soon as it is measured."""
    names = [workload.name for workload in WORKLOADS]
    if unknown := set(given.only) - set(names):
        made.error(f"no workload {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if unknown := set(given.without) - set(PEERS):
        made.error(f"no peer {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    if given.rounds is not None and given.rounds < 1:
        made.error("--rounds: at least one")
    WITHOUT.update(given.without)
    data = (given.data or Path(tempfile.gettempdir()) / "blobdir-benchmarks").absolute()
    output = given.output or (data / "quick" if given.quick else DOCS)
    sizes = QUICK if given.quick else FULL
    sizes = replace(sizes, rounds=given.rounds or sizes.rounds)
    results = Results.load(output / "figures.json")
    if other := results.of_other_sizes(sizes):
        made.error(
            f"{results.path} holds figures of other sizes ({', '.join(other)}), which can't stand beside these: "
            "name another --output, or delete it"
        )
    wanted = [name for name in names if name in given.only] or names
    if given.resume:
        wanted = [name for name in wanted if name in results.unfinished]
        if not wanted:
            print(f"{results.path}: nothing is unfinished", file=sys.stderr)
            return 0
    warnings.simplefilter("ignore")
    say_peers()
    os.environ["XDG_CACHE_HOME"] = str(data / "cache")  # indexes and images of generated data are no user's
    results.unfinished = wanted if given.resume or not given.only else [*dict.fromkeys(results.unfinished + wanted)]
    results.unfinished = list(results.unfinished)
    stopped, failed = False, []
    for workload in WORKLOADS:
        if workload.name in wanted:
            print(f"{time.strftime('%H:%M:%S')} {workload.name} …", file=sys.stderr, flush=True)
            began = time.perf_counter()
            try:
                outcome = workload.outcome(data, sizes)
            except KeyboardInterrupt:
                stopped = True
                break
            except Exception:
                traceback.print_exc()
                failed.append(workload.name)
                continue
            results.add(workload.name, outcome, sizes, time.perf_counter() - began)
    results.entries = {name: results.entries[name] for name in names if name in results.entries}
    results.save()
    status = write_report(results, output)
    if failed:
        print(f"failed: {', '.join(failed)}; what went wrong stands above", file=sys.stderr)
    if stopped:
        print(f"stopped; `--resume` goes on with {', '.join(results.unfinished)}", file=sys.stderr)
    return 130 if stopped else 1 if failed else status


def write_report(results: Results, output: Path) -> int:
    """Draw the plots where matplotlib is here, write the report, say where it is."""
    if not results.entries:
        print(f"{results.path}: nothing was measured yet: python -m benchmarks run", file=sys.stderr)
        return 1
    drawn: dict[str, str] = {}
    if here("matplotlib"):
        drawn = plots.draw(results, output / "images")
    else:
        print(f"no plots: matplotlib isn't here ({PEERS['matplotlib'].get})", file=sys.stderr)
    file = output / "performance.md"
    report.write(results, file, {name: f"images/{image}" for name, image in drawn.items()})
    print(f"wrote {file}, {results.path} and {len(drawn)} plots", file=sys.stderr)
    return 0


def say_peers() -> None:
    """Who is here, in which version; who isn't, and the command that gets it."""
    versions, missing = roll_call()
    print(
        "here:    " + (", ".join(f"{name} {version}" for name, version in versions.items()) or "no peer"),
        file=sys.stderr,
    )
    for name, command in missing.items():
        left_out = "left out" if name in WITHOUT else f"get it: {command}"
        print(f"missing: {name}; {left_out}", file=sys.stderr)
    if not missing:
        print("missing: nobody", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
