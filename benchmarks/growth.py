"""Opening and mounting as projects grow, 10⁴ to 10⁷ rows: time, memory, bytes kept; blobdir beside its peers."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import blobdir
from benchmarks.data import large_project, small_project, sparse_project
from benchmarks.measure import Outcome
from benchmarks.mount_peers import DEADLINE_S, MountPeer, blobdir_engines, memory_of, ratarmount
from benchmarks.mounting import program
from benchmarks.peers import here, sdk_python
from benchmarks.stores import lmdb_file
from blobdir.mounting import statuses

PROBES = Path(__file__).with_name("probes.py")
OPENING_PEERS = ("SDK", "lmdb", "wids", "ratarmountcore", "mounting", "kernel engine", "ratarmount")
MOUNT_PEERS = ("mounting", "kernel engine", "ratarmount")
FIRST, AGAIN = "first opening, and one image read", "opening again, and one image read"
MEMORY, KEPT = "memory that opening again takes, a row", "kept on disk beside the tar, a row"
MOUNTING, SERVING = "mounting, index made before", "memory of the processes of a mount"


class _Probe(NamedTuple):
    who: str
    kind: str
    peer: str = ""
    keeps: bool = False
    """Whether opening again is quicker than opening first."""


def opening(folder: Path, rows: int, rounds: int) -> Outcome:
    """Open, and mount, at several sizes."""
    outcome = Outcome(
        "Opening as projects grow",
        "Images of 12 bytes in one blob and one folder (at 10⁷: sparse tars, 100 blobs, 10 folders); page cache warm; "
        "each opening in a fresh process, without its imports. First: with nothing kept; again: with the index that "
        "was kept, where one is. Memory: what the process has grown by, mapped files included as far as they were "
        "touched. LMDB is opened as it was written, so it has no first opening; what it keeps is its file less the "
        "images. The SDK: all entries of the pickle in a dictionary. Mounting: the whole command. The kernel engine "
        "and what the kernel itself holds count as no memory, as no process serves them. Slow ones: one round at 10⁶.",
    )
    sizes = [size for size in (10_000, 100_000, 1_000_000) if size <= rows] or [rows]
    for size in sizes:
        _open_at(outcome, small_project(folder, size), size, _probes(), rounds)
        if here("mounting"):
            _mount_at(outcome, small_project(folder, size), size, rounds)
    if rows > 1_000_000:
        _open_at(outcome, sparse_project(folder, rows, rows // 100_000), rows, _probes()[:1], min(rounds, 3))
        if here("mounting"):
            _mount_at(outcome, sparse_project(folder, rows, rows // 100_000), rows, 1)
    return outcome


def _probes() -> list[_Probe]:
    every = [_Probe("blobdir", "blobdir", keeps=True), _Probe("fsspec's tar filesystem", "fsspec_tar")]
    for peer, who, kind, keeps in (
        ("ratarmountcore", "ratarmountcore", "ratarmountcore", True),
        ("wids", "wids", "wids", False),
        ("lmdb", "LMDB", "lmdb", False),
        ("SDK", "the SDK", "sdk", False),
    ):
        if here(peer):
            every.append(_Probe(who, kind, peer, keeps))
    return every


def _open_at(outcome: Outcome, project: Path, size: int, probes: list[_Probe], rounds: int) -> None:
    found: dict[tuple[str, _Probe], list[float]] = {}

    def note(what: str, probe: _Probe, value: float) -> None:
        found.setdefault((what, probe), []).append(value)

    if any(probe.kind == "lmdb" for probe in probes):
        lmdb_file(project)
    for turn in range(rounds):
        for probe in probes:
            slow = size >= 1_000_000 and probe.kind in ("fsspec_tar", "ratarmountcore", "wids", "sdk")
            if turn and slow:
                continue
            with tempfile.TemporaryDirectory(dir=project.parent) as kept:
                first, memory, disk = _probe(probe, project, kept)
                if probe.keeps:
                    note(FIRST, probe, first)
                    first, memory, _ = _probe(probe, project, kept)
                    note(KEPT, probe, disk / size)
                elif probe.kind == "lmdb":
                    note(KEPT, probe, max(0.0, disk / size - 12))
                else:
                    note(FIRST, probe, first)
                note(AGAIN, probe, first)
                note(MEMORY, probe, memory / size)
    for (what, probe), values in found.items():
        unit = "bytes" if what in (MEMORY, KEPT) else "s"
        ours = probe.kind == "blobdir"
        outcome.figure(what, probe.who, values, unit=unit, peer=probe.peer, ours=ours, headline=ours, size=size)


def _probe(probe: _Probe, project: Path, kept: str) -> tuple[float, float, float]:
    python = sdk_python() if probe.kind == "sdk" else sys.executable
    command = [str(python), str(PROBES), probe.kind, str(project), kept]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE_S)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    seconds, memory, disk = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory, disk


def _mounts(project: Path, *, kernel: bool = True) -> list[MountPeer]:
    peers = [peer for peer in blobdir_engines(project) if peer.who in ("blobdir native", "blobdir kernel")]
    if not kernel:
        peers = peers[:1]
    if not (project / "train").exists():  # a sparse project
        peers = [replace(peer, inside="ds0/img") for peer in peers]
    tars = sorted((project / "blob").glob("*.tar"))
    if here("ratarmount") and len(tars) == 1:
        peers.append(ratarmount(tars[0]))
    return peers


def _mount_at(outcome: Outcome, project: Path, size: int, rounds: int) -> None:
    peers = _mounts(project, kernel=size <= 1_000_000)
    found: dict[tuple[str, str], list[float]] = {}
    for turn in range(rounds + 1):
        for peer in peers:
            with peer.mounted() as (images, seconds), _any_image(project, images):
                if turn:  # the first makes what is kept
                    found.setdefault((MOUNTING, peer.who), []).append(seconds)
                    memory = float(memory_of(_mountpoint(images, peer)))
                    if memory:
                        found.setdefault((SERVING, peer.who), []).append(memory)
    about = {peer.who: peer for peer in peers}
    for (what, who), values in found.items():
        peer = about[who]
        unit = "bytes" if what == SERVING else "s"
        outcome.figure(what, who, values, unit=unit, peer=peer.peer, ours=peer.ours, headline=peer.headline, size=size)


def _mountpoint(images: Path, peer: MountPeer) -> Path:
    return images.parents[len(Path(peer.inside).parts) - 1] if peer.inside else images


@contextmanager
def _any_image(project: Path, images: Path) -> Iterator[None]:
    """Read the first image, so that what serves it has done something."""
    data = (images / "image_00000000.jpg").read_bytes()
    assert data
    yield


def many(folder: Path, images: int, different: int, rounds: int) -> Outcome:
    """Mount a large project: `find` and `du`, time until it answers, memory of all processes."""
    outcome = Outcome(
        "Mounts of many images",
        f"{images:,} JPEG images of about 4 KB in one folder and one blob, index and image made before. `du` in one "
        "round, as it takes minutes. Memory is the proportional set size of all processes, after `find`.",
    )
    if not here("mounting"):
        return outcome
    project = large_project(folder, images, different)
    blobdir.open_project(project)  # builds the index
    found: dict[tuple[str, str], list[float]] = {}
    answers, extra = [], []
    peers = _mounts(project)
    for peer in peers:
        with peer.mounted():  # makes what is kept
            pass
    for turn in range(rounds):
        for peer in peers:
            with peer.mounted() as (inside, seconds):
                found.setdefault(("`find`", peer.who), []).append(program(["find", str(inside)]))
                if peer.who == "blobdir native":
                    answers.append(seconds)
                    place = str(_mountpoint(inside, peer))
                    record = next(status.record for status in statuses() if status.record.mountpoint == place)
                    extra.append(memory_of(Path(place)) - record.index["bytes"])
            if turn == 0:
                with peer.mounted() as (inside, _):
                    found.setdefault(("`du`", peer.who), []).append(program(["du", "-s", str(inside)]))
    about = {peer.who: peer for peer in peers}
    for (what, who), values in found.items():
        peer = about[who]
        outcome.figure(what, who, values, peer=peer.peer, ours=peer.ours, headline=peer.headline)
    medians = {key: statistics.median(values) for key, values in found.items()}
    answer, beyond = statistics.median(answers), statistics.median(extra)
    outcome.goal("mounting answers in ≤ 0.5 s", f"{answer:.2f} s", answer <= 0.5)
    outcome.goal("memory of all processes ≤ 150 MB beyond the index", f"{beyond / 1e6:.0f} MB", beyond <= 150e6)
    for what in ("`find`", "`du`"):
        if (what, "ratarmount") in medians:
            ratio = medians[what, "ratarmount"] / medians[what, "blobdir native"]
            outcome.goal(f"{what} ≥ 3 × ratarmount", f"{ratio:.1f} ×", ratio >= 3)
    return outcome
