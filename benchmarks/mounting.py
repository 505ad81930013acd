"""Mounts beside mounts: cold and warm random reads, listings, tar, four readers, time to mount."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import blobdir
from benchmarks.data import plain_folder, real_project
from benchmarks.measure import Outcome
from benchmarks.mount_peers import (
    DEADLINE_S,
    MountPeer,
    blobdir_engines,
    forget_everything,
    mount_peers,
)
from benchmarks.peers import here

LARGE_BYTES = 300 << 20
READERS = 4
READ = Path(__file__).with_name("read_files.py")
PEERS = (
    "mounting",
    "kernel engine",
    "fusepy",
    "ratarmount",
    "mksquashfs",
    "squashfuse_ll",
    "kernel squashfs",
    "mkfs.erofs",
)
NOTHING, KNOWN, LISTED, WARM, FOUR = (
    "random images, nothing cached, each",
    "fresh mount, archive cached, names known, each",
    "fresh mount, archive cached, listed before, each",
    "everything cached, each",
    f"{READERS} readers, fresh mount, archive cached, each",
)
LS, FIND, TAR, MOUNT = "`ls -l`", "`find`", "`tar`, fresh mount, archive cached", "mounting"


def run(folder: Path, images: int, rounds: int) -> Outcome:
    """Open, read and close every image of a fresh mount in random order, and again; list, find, tar."""
    outcome = Outcome(
        "Mounts",
        f"{images:,} JPEG images of 3.3 to 4.3 KB in one folder; open, read, close in random order by one process in "
        "Python. Every figure but `everything cached` is of a mount of its own. Fresh mount: the archive's bytes are "
        "in the page cache, the mount has served nothing; `listed before`: the reader lists the folder through the "
        "mount first, as programs do, else it knows the names. For plain files, fresh is with inodes and dentries "
        "dropped. Nothing cached: `sync`, then all caches dropped (`/proc/sys/vm/drop_caches`, 3) after mounting; the "
        "disk below and the host of a virtual machine may have caches that this doesn't reach. `tar` writes to a pipe. "
        "squashfs and EROFS images hold the plain files, uncompressed, squashfs without fragments; ratarmount has its "
        "index made before. Some of the bytes are compared with the plain files, after the timing.",
    )
    if not here("mounting"):
        return outcome
    project, plain = real_project(folder, images), plain_folder(folder, images)
    peers = mount_peers(project, plain)
    for peer in peers:
        with peer.mounted():  # makes indexes and images
            pass
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for peer in peers:
            for what, seconds in _one_round(peer, plain, images).items():
                found.setdefault((what, peer.who), []).append(seconds)
    about = {peer.who: peer for peer in peers}
    for (what, who), values in found.items():
        peer = about[who]
        each = [value / images for value in values] if what.endswith("each") else values
        outcome.figure(what, who, each, peer=peer.peer, ours=peer.ours, headline=peer.headline)
    _goals(outcome, {key: statistics.median(values) for key, values in found.items()})
    _large(outcome, folder, rounds)
    return outcome


def _one_round(peer: MountPeer, plain: Path, images: int) -> dict[str, float]:
    found: dict[str, float] = {}
    peer.warm()
    with peer.mounted() as (folder, seconds):
        if not Path(peer.inside).is_absolute():
            found[MOUNT] = seconds
        found[KNOWN], found[WARM] = read_all(folder, plain, plain)
    with peer.mounted() as (folder, _):
        found[LISTED] = read_all(folder, folder, plain, "0", "1")[0]
    with peer.mounted() as (folder, _):
        found[LS] = program(["ls", "-l", str(folder)])
    with peer.mounted() as (folder, _):
        found[FIND] = program(["find", str(folder)])
        assert sum(1 for _ in os.scandir(folder)) == images, peer.who
    with peer.mounted() as (folder, _):
        found[TAR] = program(["sh", "-c", 'tar -cf - -C "$1" . | cat >/dev/null', "sh", str(folder)])
    with peer.mounted() as (folder, _):
        found[FOUR] = four_readers(folder, plain)
    with peer.mounted() as (folder, _):
        forget_everything()
        found[NOTHING] = read_all(folder, plain, plain, "0", "1")[0]
    return found


def _goals(outcome: Outcome, medians: dict[tuple[str, str], float]) -> None:
    def ratio(goal: str, what: str, over: str, under: str, least: float) -> None:
        if (what, over) in medians and (what, under) in medians:
            found = medians[what, over] / medians[what, under]
            outcome.goal(f"{goal} ≥ {least:g} ×", f"{found:.2f} ×", found >= least)

    def most(goal: str, what: str, over: str, under: str, limit: float) -> None:
        if (what, over) in medians and (what, under) in medians:
            found = medians[what, over] / medians[what, under]
            outcome.goal(f"{goal} ≤ {limit:g} × {under}", f"{found:.2f} ×", found <= limit)

    native, kernel, plain = (
        "blobdir native",
        "blobdir kernel",
        next(who for _, who in medians if who.startswith("plain")),
    )
    for what, how in ((KNOWN, "names known"), (LISTED, "listed before")):
        ratio(f"fresh mount, {how}, against ratarmount", what, "ratarmount", native, 5)
        ratio(f"fresh mount, {how}, against squashfuse_ll", what, "squashfuse_ll", native, 2)
    ratio("warm, against ratarmount", WARM, "ratarmount", native, 30)
    found = medians[KNOWN, native] / medians[FOUR, native]
    outcome.goal("four readers against one, fresh mount ≥ 1.6 ×", f"{found:.2f} ×", found >= 1.6)
    most("native, warm", WARM, native, plain, 1.5)
    most("native, ls -l", LS, native, plain, 2.0)
    for what, how in ((NOTHING, "nothing cached"), (WARM, "warm")):
        most(f"kernel, {how}", what, kernel, "mkfs.erofs", 1.1)
        most(f"kernel, {how}", what, kernel, plain, 1.0)


def _large(outcome: Outcome, folder: Path, rounds: int) -> None:
    native = blobdir_engines(one_large(folder))[0]
    rates = []
    for _ in range(rounds):
        native.warm()
        with native.mounted() as (images, _):
            seconds = program(["dd", f"if={images}/large.bin", "of=/dev/null", "bs=1M"])
            rates.append(LARGE_BYTES / seconds / 1e9)
    rate = statistics.median(rates)
    outcome.rows.append(("native, one member of 300 MiB by dd, fresh mount, archive cached", f"{rate:.2f} GB/s"))
    outcome.goal("300 MB member ≥ 1 GB/s", f"{rate:.2f} GB/s", rate >= 1)


def one_large(folder: Path) -> Path:
    """A project of one member of 300 MiB."""
    root = folder / "large"
    if not root.exists():
        part = folder / "large.part"
        shutil.rmtree(part, ignore_errors=True)
        (part / "blob").mkdir(parents=True)
        (part / "train/ann").mkdir(parents=True)
        (part / "meta.json").write_text("{}")
        with tempfile.TemporaryFile() as data, tarfile.open(part / "blob/big.tar", "w") as tar:
            block = os.urandom(1 << 20)
            for _ in range(LARGE_BYTES >> 20):
                data.write(block)
            data.seek(0)
            info = tarfile.TarInfo("large.bin")
            info.size = LARGE_BYTES
            tar.addfile(info, data)
        blobdir.save_blob_offsets_pkl(str(part / "blob/big.tar"), str(part / "train"))
        part.rename(root)
    return root


def program(command: list[str]) -> float:
    """Seconds of a program whose output nobody reads."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=DEADLINE_S)
    return time.perf_counter() - began


def read_all(images: Path, names_from: Path, plain: Path, *part: str) -> list[float]:
    """Seconds of two passes, or one where a part is named; the reader compares some of the bytes with the plain files."""
    command = [sys.executable, str(READ), str(images), str(names_from), str(plain), *part]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    return [float(seconds) for seconds in json.loads(done.stdout)]


def four_readers(images: Path, plain: Path) -> float:
    """Seconds until four processes have read everything between them."""
    command = [sys.executable, str(READ), str(images), str(plain), str(plain)]
    began = [
        subprocess.Popen([*command, str(part), str(READERS)], stdout=subprocess.PIPE, text=True)
        for part in range(READERS)
    ]
    return max(float(json.loads(process.communicate(timeout=DEADLINE_S)[0])[0]) for process in began)
