"""Making offsets of a tar, and reading pickles: blobdir, tarfile, the SDK. Starting up."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import blobdir
from benchmarks.data import real_project, sparse_project
from benchmarks.measure import Outcome, Timing, interleaved, seconds
from benchmarks.reading import sdk_figures
from blobdir.offsets import read_offsets
from blobdir.tarscan import scan_tar


def run(folder: Path, images: int, rounds: int) -> Outcome:
    """Scan a tar, write and read its offsets."""
    outcome = Outcome(
        "Making and reading offsets", f"A tar of {images:,} members, warm; every header's checksum verified."
    )
    root = real_project(folder, images)
    tar, pickle = root / "blob/shard.tar", root / "train/shard_offsets.pkl"

    def save() -> None:
        with TemporaryDirectory() as place:
            blobdir.save_blob_offsets_pkl(tar, place)

    def with_tarfile() -> list[tuple[str, int, int]]:
        with tarfile.open(tar) as archive:
            return [(m.name, m.offset_data, m.size) for m in archive]

    table = scan_tar(tar)
    expected = with_tarfile()
    assert [
        (table.name(i).decode(), int(table.start[i]), int(table.end[i] - table.start[i])) for i in range(len(table))
    ] == (expected)
    timings = interleaved(
        {
            "scan_tar": lambda: scan_tar(tar),
            "tarfile": with_tarfile,
            "save_blob_offsets_pkl": save,
            "read_offsets": lambda: read_offsets(pickle),
        },
        rounds,
    )
    finding, making, loading = "offsets of all members of a tar", "an offsets pickle of a tar", "reading its pickle"
    outcome.figure(finding, "blobdir: scan_tar", timings["scan_tar"], ours=True, headline=True, rounds=rounds)
    outcome.figure(finding, "tarfile", timings["tarfile"], rounds=rounds)
    save_s = timings["save_blob_offsets_pkl"]
    outcome.figure(making, "blobdir: save_blob_offsets_pkl", save_s, ours=True, headline=True, rounds=rounds)
    outcome.figure(loading, "blobdir: read_offsets", timings["read_offsets"], ours=True, headline=True, rounds=rounds)
    few = min(rounds, 3)
    sdk = sdk_figures(root, few)
    if sdk is not None:
        ratio = sdk["offsets_s"][0] / save_s.median_s
        outcome.figure(making, "the SDK: save_blob_offsets_pkl", Timing(*sdk["offsets_s"]), peer="SDK", rounds=few)
        outcome.figure(loading, "the SDK: load_from_pickle_generator", Timing(*sdk["load_s"]), peer="SDK", rounds=few)
        outcome.goal("save_blob_offsets_pkl ≥ 10 × the SDK's", f"{ratio:.1f} ×", ratio >= 10)
    return outcome


def large_pickle(folder: Path, images: int, rounds: int) -> Outcome:
    """Read a pickle of many entries."""
    outcome = Outcome("Reading a large pickle", f"{images:,} entries in lists of 10,000, as the SDK writes them.")
    pickle = next((sparse_project(folder, images, 1) / "ds0").glob("*.pkl"))
    timing = interleaved({"": lambda: read_offsets(pickle)}, min(rounds, 5))[""]
    outcome.rows.append(("read_offsets", seconds(timing)))
    return outcome


def import_seconds(statement: str, rounds: int) -> float:
    """Seconds of a fresh interpreter that runs a statement."""
    timing = interleaved({"": lambda: subprocess.run([sys.executable, "-c", statement], check=True)}, rounds)
    return timing[""].median_s


def starting(rounds: int) -> Outcome:
    """Import and start-up times."""
    outcome = Outcome("Starting", "Fresh interpreters, one after the other; median.")
    bare = import_seconds("import fsspec, numpy", rounds)
    whole = import_seconds("import blobdir.filesystem, blobdir.project", rounds)
    program = "import sys; sys.argv = ['blobdir', '--help']; from blobdir.cli import main; main()"
    quiet = f"import os; os.dup2(os.open(os.devnull, os.O_WRONLY), 1); {program}"
    help_s = import_seconds(quiet, rounds)
    outcome.rows += [
        ("import fsspec, numpy", f"{bare * 1e3:.0f} ms"),
        ("import blobdir.filesystem, blobdir.project", f"{whole * 1e3:.0f} ms"),
        ("blobdir --help", f"{help_s * 1e3:.0f} ms"),
        ("Python", sys.version.split()[0]),
    ]
    outcome.goal("import ≤ 150 ms over fsspec and numpy", f"{(whole - bare) * 1e3:.0f} ms", whole - bare <= 0.15)
    outcome.goal("blobdir --help ≤ 0.3 s", f"{help_s * 1e3:.0f} ms", help_s <= 0.3)
    return outcome
