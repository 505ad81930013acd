"""Mounts against mounts: cold and warm random reads, listings, a large file, several readers, memory, time to mount."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import blobdir
from benchmarks.data import plain_folder, real_project, small_project
from benchmarks.measure import Outcome
from blobdir.erofs.gate import judge, look
from blobdir.mounting import statuses

DEADLINE_S = 120
LARGE_BYTES = 300 << 20
READERS = 4
READ = Path(__file__).with_name("read_files.py")


@dataclass(frozen=True)
class Peer:
    """A way to have the images as files.

    Attributes
    ----------
    name : str
    mount : callable
        Takes a folder and gives a context manager that mounts there and gives the folder of the images.
    """

    name: str
    mount: Callable[[Path], contextlib.AbstractContextManager[Path]]


def run(folder: Path, images: int, rounds: int) -> Outcome:
    """Open, read and close every image of a fresh mount in random order, and again."""
    project, plain = real_project(folder, images), plain_folder(folder, images)
    outcome = Outcome(
        "Mounts",
        f"{images:,} images of 3.6 to 4.5 KB; open, read, close in random order by one process in Python; the "
        "archive's data in the page cache. Cold: a fresh mount; warm: the same again. `listed`: the reader lists the "
        "folder through the mount first, as programs do; else it knows the names. For ext4, cold is with its inodes "
        f"and dentries dropped. Medians of {rounds} interleaved rounds.",
    )
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        outcome.missing.append("everything: run as root on Linux with /dev/fuse")
        return outcome
    peers = find_peers(project, plain, folder, outcome)
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for peer in peers:
            for how in ("known", "listed"):
                with tempfile.TemporaryDirectory() as place, peer.mount(Path(place)) as images_folder:
                    for key, value in read_all(images_folder, plain, how).items():
                        found.setdefault((peer.name, f"{how} {key}"), []).append(value)
                    if how == "known":
                        found.setdefault((peer.name, "4 readers"), []).append(four_readers(images_folder, plain))
                    else:
                        seconds = program(["ls", "-l", str(images_folder)])
                        found.setdefault((peer.name, "ls -l again"), []).append(seconds)
            with tempfile.TemporaryDirectory() as place, peer.mount(Path(place)) as images_folder:
                found.setdefault((peer.name, "ls -l"), []).append(program(["ls", "-l", str(images_folder)]))
    medians = {key: statistics.median(values) for key, values in found.items()}
    _rows(outcome, peers, medians, images)
    _goals(outcome, medians)
    _large(outcome, folder, rounds)
    return outcome


def _rows(outcome: Outcome, peers: list[Peer], medians: dict[tuple[str, str], float], images: int) -> None:
    for peer in peers:
        per = {what: medians[peer.name, what] / images * 1e6 for name, what in medians if name == peer.name}
        outcome.rows.append(
            (
                peer.name,
                f"cold {per['known cold']:.1f} µs (listed {per['listed cold']:.1f}), warm {per['known warm']:.1f} µs, "
                f"four readers {per['4 readers']:.1f} µs, ls -l {medians[peer.name, 'ls -l'] * 1e3:.0f} ms",
            )
        )


def _goals(outcome: Outcome, medians: dict[tuple[str, str], float]) -> None:
    def ratio(goal: str, over: tuple[str, str], under: tuple[str, str], least: float) -> None:
        if over in medians and under in medians:
            found = medians[over] / medians[under]
            outcome.goal(f"{goal} ≥ {least:g} ×", f"{found:.2f} ×", found >= least)

    for how in ("known", "listed"):
        ratio(f"cold, against ratarmount, names {how}", ("ratarmount", f"{how} cold"), ("native", f"{how} cold"), 5)
        ratio(
            f"cold, against squashfuse_ll, names {how}", ("squashfuse_ll", f"{how} cold"), ("native", f"{how} cold"), 2
        )
    ratio("warm, against ratarmount", ("ratarmount", "known warm"), ("native", "known warm"), 30)
    ratio("four readers against one, cold", ("native", "known cold"), ("native", "4 readers"), 1.6)
    for what, least in (("known warm", 1.5), ("ls -l", 2.0)):
        found = medians["native", what] / medians["ext4", what]
        outcome.goal(f"{what.removeprefix('known ')} ≤ {least:g} × ext4", f"{found:.2f} ×", found <= least)


def _large(outcome: Outcome, folder: Path, rounds: int) -> None:
    project = large_project(folder)
    rates = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as place, blobdir_mount(project, "native")(Path(place)) as images:
            seconds = program(["dd", f"if={images}/large.bin", "of=/dev/null", "bs=1M"])
            rates.append(LARGE_BYTES / seconds / 1e9)
    rate = statistics.median(rates)
    outcome.rows.append(("native, one member of 300 MiB by dd, cold", f"{rate:.2f} GB/s"))
    outcome.goal("300 MB member ≥ 1 GB/s", f"{rate:.2f} GB/s", rate >= 1)


def many(folder: Path, rows: int, rounds: int) -> Outcome:
    """Mount a large project: time until it answers, `find` and `du`, memory of all processes."""
    outcome = Outcome(
        "Mounts of many images",
        f"{rows:,} images of 12 bytes in one folder and one blob. `answers` is the whole command "
        "`blobdir mount` with the index built before. Memory is the proportional set size of all processes.",
    )
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        outcome.missing.append("everything: run as root on Linux with /dev/fuse")
        return outcome
    project = small_project(folder, rows)
    blobdir.open_project(project)  # builds the index
    found: dict[str, list[float]] = {}
    peers = {"native": lambda place: native_command(project, place, found)}
    if program_path("ratarmount"):
        peers["ratarmount"] = lambda place: ratarmount(sorted((project / "blob").glob("*.tar")), place)
    else:
        outcome.missing.append("ratarmount: pip install ratarmount, and put it into PATH or set BLOBDIR_RATARMOUNT")
    for _ in range(rounds):
        for name, mount in peers.items():
            with tempfile.TemporaryDirectory() as place, mount(Path(place)) as root:
                found.setdefault(f"{name} find", []).append(program(["find", str(root)]))
            with tempfile.TemporaryDirectory() as place, mount(Path(place)) as root:
                found.setdefault(f"{name} du", []).append(program(["du", "-s", str(root)]))
    medians = {key: statistics.median(values) for key, values in found.items()}
    for key, value in medians.items():
        text = f"{value / 1e6:.0f} MB" if "memory" in key else f"{value * 1e3:.0f} ms"
        outcome.rows.append((key, text))
    outcome.goal("mounting answers in ≤ 0.5 s", f"{medians['native answers']:.2f} s", medians["native answers"] <= 0.5)
    extra = medians["native memory beyond the index"]
    outcome.goal("memory of all processes ≤ 150 MB beyond the index", f"{extra / 1e6:.0f} MB", extra <= 150e6)
    for what in ("find", "du"):
        if f"ratarmount {what}" in medians:
            ratio = medians[f"ratarmount {what}"] / medians[f"native {what}"]
            outcome.goal(f"{what} ≥ 3 × ratarmount", f"{ratio:.1f} ×", ratio >= 3)
    return outcome


# -- the peers -----------------------------------------------------------------------------------------------


def find_peers(project: Path, plain: Path, folder: Path, outcome: Outcome) -> list[Peer]:
    """Those that are here; the others are named in the outcome."""
    peers = [Peer("native", blobdir_mount(project, "native"))]
    verdict = judge(look())
    if verdict.backing == "none":
        outcome.missing.append(f"kernel: {'; '.join(verdict.reasons)}")
    else:
        peers.append(Peer("kernel", blobdir_mount(project, "kernel")))
    peers.append(Peer("ext4", lambda _: plain_files(plain)))
    if shutil.which("fusermount") or shutil.which("fusermount3"):
        try:
            import fuse  # noqa: F401
        except (ImportError, OSError):
            outcome.missing.append("fusepy: needs libfuse 2 (apt install libfuse2)")
        else:
            peers.append(Peer("fusepy", blobdir_mount(project, "fusepy")))
    if program_path("ratarmount"):
        peers.append(Peer("ratarmount", lambda place: ratarmount([project / "blob/shard.tar"], place)))
    else:
        outcome.missing.append("ratarmount: pip install ratarmount, and put it into PATH or set BLOBDIR_RATARMOUNT")
    if shutil.which("mksquashfs"):
        image = folder / f"{plain.name}.squashfs"
        if not image.exists():
            part = image.with_suffix(".part")
            command = ["mksquashfs", plain, part, "-noI", "-noD", "-noF", "-noX", "-no-progress", "-quiet"]
            subprocess.run(command, check=True)
            part.rename(image)
        for name in ("squashfuse", "squashfuse_ll"):
            if shutil.which(name):
                peers.append(Peer(name, squashfuse(name, image)))
            else:
                outcome.missing.append(f"{name}: apt install squashfuse")
        peers.append(Peer("kernel squashfs", lambda place: kernel_squashfs(image, place)))
    else:
        outcome.missing.append("squashfs: apt install squashfs-tools squashfuse")
    return peers


def blobdir_mount(project: Path, engine: str) -> Callable[[Path], contextlib.AbstractContextManager[Path]]:
    @contextlib.contextmanager
    def mount(place: Path) -> Iterator[Path]:
        with blobdir.mount(project, place, engine=engine) as root:
            yield root / "train/img"

    return mount


@contextlib.contextmanager
def plain_files(plain: Path) -> Iterator[Path]:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("2")  # inodes and dentries; their pages stay, as those of the tars do
    yield plain


@contextlib.contextmanager
def ratarmount(tars: list[Path], place: Path) -> Iterator[Path]:
    program = program_path("ratarmount")
    subprocess.run([program, *tars, place], check=True, capture_output=True, timeout=DEADLINE_S * 5)
    try:
        yield place
    finally:
        unmount(place)


def squashfuse(name: str, image: Path) -> Callable[[Path], contextlib.AbstractContextManager[Path]]:
    @contextlib.contextmanager
    def mount(place: Path) -> Iterator[Path]:
        subprocess.run([name, image, place], check=True, timeout=DEADLINE_S)
        try:
            yield place
        finally:
            unmount(place)

    return mount


@contextlib.contextmanager
def kernel_squashfs(image: Path, place: Path) -> Iterator[Path]:
    subprocess.run(["mount", "-t", "squashfs", "-o", "loop,ro", image, place], check=True, timeout=DEADLINE_S)
    try:
        yield place
    finally:
        unmount(place)


def unmount(place: Path) -> None:
    """Take a mount away, wait for what serves it."""
    for _ in range(100):
        if subprocess.run(["umount", place], check=False, capture_output=True, timeout=DEADLINE_S).returncode == 0:
            return
        time.sleep(0.05)
    raise RuntimeError(f"{place} can't be unmounted")


@contextlib.contextmanager
def native_command(project: Path, place: Path, found: dict[str, list[float]]) -> Iterator[Path]:
    """`blobdir mount`, timed, and its memory."""
    seconds = program(
        [str(Path(sys.executable).with_name("blobdir")), "mount", "-q", "--engine", "native", str(project), str(place)]
    )
    found.setdefault("native answers", []).append(seconds)
    try:
        yield place
        status = next(s for s in statuses() if s.record.mountpoint == str(place))
        memory = sum(proportional_memory(pid) for pid in processes(status.record.pid))
        found.setdefault("native memory of all processes", []).append(memory)
        found.setdefault("native memory beyond the index", []).append(memory - status.record.index["bytes"])
    finally:
        blobdir.umount(place)


def processes(pid: int) -> list[int]:
    """A process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def proportional_memory(pid: int) -> int:
    """Bytes of a process, shared pages counted in parts."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no Pss for {pid}")


def program_path(name: str) -> str | None:
    """A program, from ``BLOBDIR_<NAME>`` or PATH."""
    return os.environ.get(f"BLOBDIR_{name.upper()}") or shutil.which(name)


# -- the workloads -------------------------------------------------------------------------------------------


def program(command: list[str]) -> float:
    """Seconds of a program whose output nobody reads."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=DEADLINE_S * 5)
    return time.perf_counter() - began


def read_all(images: Path, plain: Path, how: str) -> dict[str, float]:
    """Seconds of a cold and a warm pass; the reader compares some of the bytes with the plain files."""
    command = [sys.executable, READ, images, images if how == "listed" else plain, plain]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=DEADLINE_S)
    cold, warm = json.loads(done.stdout)
    return {"cold": cold, "warm": warm}


def four_readers(images: Path, plain: Path) -> float:
    """Seconds until four processes have read everything between them, on a mount whose caches were dropped."""
    Path("/proc/sys/vm/drop_caches").write_text("2")
    subprocess.run([sys.executable, READ, "--forget", images], check=True, timeout=DEADLINE_S)
    commands = [[sys.executable, READ, images, plain, plain, str(part), str(READERS)] for part in range(READERS)]
    began = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    return max(json.loads(process.communicate(timeout=DEADLINE_S)[0])[0] for process in began)


def large_project(folder: Path) -> Path:
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
