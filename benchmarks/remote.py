"""A project behind a web server that is 20 ms away: one request where others make a thousand."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec

import blobdir
from benchmarks.data import plain_folder
from benchmarks.measure import Outcome, Timing
from benchmarks.peers import here
from benchmarks.serving import DEADLINE_S, away, nginx, staged
from blobdir.moving import fetch
from blobdir.sources import RemoteOptions

PEERS = ("nginx", "curl", "mounting", "ratarmount")
LATENCY_MS = 20
ONE_BY_ONE = 100
"""Images that are read one after the other; the rest would take ten minutes."""
COLD_ONES = 15

READER = """
import sys, time, random, os
folder, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
names = sorted(os.listdir(folder)) if len(sys.argv) < 5 else open(sys.argv[4]).read().split()
random.Random(seed).shuffle(names)
for name in names[:count]:
    with open(f"{folder}/{name}", "rb") as file:
        assert file.read()
"""
FETCH = """
import sys
from blobdir.moving import fetch
fetch(sys.argv[1], sys.argv[2])
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
print(peak)
"""


def _timed(thing: Callable[[], object]) -> float:
    began = time.perf_counter()
    thing()
    return time.perf_counter() - began


def _timing(seconds: list[float]) -> Timing:
    return Timing(statistics.median(seconds), min(seconds), max(seconds))


def _text(timing: Timing) -> str:
    unit, scale = ("s", 1.0) if timing.median_s >= 1 else ("ms", 1e3) if timing.median_s >= 1e-3 else ("µs", 1e6)
    return f"{timing.median_s * scale:.3g} {unit} ({timing.fastest_s * scale:.3g}–{timing.slowest_s * scale:.3g})"


def run(folder: Path, images: int, rounds: int) -> Outcome:
    """Bulk reads, single reads, mounts and copies, against the plain GET of the tar and the objects one by one."""
    outcome = Outcome(
        f"Remote, {LATENCY_MS} ms away",
        f"{images:,} images of 3.6 to 4.5 KB, as objects and in one tar, on nginx; a proxy delays what goes to the "
        f"server by {LATENCY_MS} ms, bandwidth isn't limited. A new cache folder and new connections each time. "
        f"Medians of {rounds} interleaved rounds.",
    )
    if not here("nginx"):
        return outcome
    stage, plain = staged(folder, images), plain_folder(folder, images)
    with (
        nginx(stage) as port,
        away(port, LATENCY_MS) as url,
        tempfile.TemporaryDirectory(dir=folder) as temporary,
    ):
        cache = Path(temporary)
        _bulk(outcome, url, plain, cache, rounds)
        _single(outcome, url, plain, cache)
        _whole(outcome, url, cache, rounds)
        _mounted(outcome, url, plain, cache, rounds)
    return outcome


def _open(url: str, cache: Path, number: object, **options: object) -> blobdir.Project:
    return blobdir.open_project(f"{url}/p", cache_dir=cache / f"blocks-{number}", **options)


def _bulk(outcome: Outcome, url: str, plain: Path, cache: Path, rounds: int) -> None:
    names = sorted(os.listdir(plain))
    random.Random(1).shuffle(names)
    tar = next(e.name for e in os.scandir(cache.parent / f"served-{len(names)}" / "p/blob") if e.name.endswith(".tar"))
    found: dict[str, list[float]] = {}
    objects = [f"{url}/plain/{name}" for name in names]
    members = [f"train/img/{name}" for name in names]
    for turn in range(rounds):
        http = fsspec.filesystem("http", skip_instance_cache=True)
        fs = _open(url, cache, turn).filesystem
        kept: dict[str, object] = {}
        for what, thing in (
            ("the whole tar, curl", lambda: _curl(f"{url}/p/blob/{tar}", "/dev/null")),
            ("the whole tar, one GET by fsspec", lambda h=http: h.cat_file(f"{url}/p/blob/{tar}")),
            ("blobdir, cat of all, cold", lambda f=fs, k=kept: k.update(f.cat(members))),
            ("blobdir, cat of all, again", lambda f=fs: f.cat(members)),
            ("objects, concurrent cat", lambda h=http: h.cat(objects)),
        ):
            found.setdefault(what, []).append(_timed(thing))
        assert all(kept[f"train/img/{name}"] == (plain / name).read_bytes() for name in names[::97])
        one_by_one = _timed(lambda h=http: [h.cat_file(path) for path in objects[:ONE_BY_ONE]])
        found.setdefault("objects, one after the other", []).append(one_by_one / ONE_BY_ONE * len(names))
        shutil.rmtree(cache / f"blocks-{turn}", ignore_errors=True)
    timings = {what: _timing(seconds) for what, seconds in found.items()}
    ours = timings["blobdir, cat of all, cold"].median_s
    outcome.rows += [(f"{what}: {len(names):,} images in random order", _text(t)) for what, t in timings.items()]
    for goal, what, least in (
        ("≥ 10 × the concurrent objects", "objects, concurrent cat", 10),
        ("≥ 500 × objects one by one", "objects, one after the other", 500),
    ):
        ratio = timings[what].median_s / ours
        outcome.goal(f"remote `cat` of all in random order {goal}", f"{ratio:,.0f} ×", ratio >= least)
    for what in ("one GET by fsspec", "curl"):
        ratio = ours / timings[f"the whole tar, {what}"].median_s
        outcome.goal(f"remote `cat` of all ≤ 1.3 × the time of the whole tar, {what}", f"{ratio:.2f} ×", ratio <= 1.3)


def _single(outcome: Outcome, url: str, plain: Path, cache: Path) -> None:
    names = sorted(os.listdir(plain))
    cold, second = [], []
    for turn in range(COLD_ONES):
        train = _open(url, cache, f"single-{turn}")["train"]
        name = names[(turn * 7919) % len(names)]
        train.annotation(names[0])  # the connection is there, as in a program that runs
        cold.append(_timed(lambda t=train, n=name: t.get_blob_img_bytes(n)))
        second.append(_timed(lambda t=train, n=name: t.get_blob_img_bytes(n)))
    trips = statistics.median(cold) / (LATENCY_MS / 1e3)
    outcome.goal("one cold random image ≤ 1.2 round trips", f"{trips:.2f}", trips <= 1.2)
    outcome.rows.append(("one cold image", _text(_timing(cold))))
    outcome.rows.append(("the same image again", _text(_timing(second))))
    random.Random(2).shuffle(names)
    local = blobdir.open_project(cache.parent / f"served-{len(names)}" / "p")["train"]
    memory = _open(url, cache, "memory", cache_size=0, memory_size="4GiB")["train"]
    disk = _open(url, cache, "disk", memory_size=0)["train"]
    for dataset in (memory, disk):
        dataset.read_many(names)
    disk._tree.storage.cache.flush()
    seconds: dict[str, list[float]] = {}
    for _ in range(5):
        for what, dataset in (("local", local), ("memory", memory), ("disk", disk)):
            took = _timed(lambda d=dataset: [d.get_blob_img_bytes(name) for name in names])
            seconds.setdefault(what, []).append(took / len(names))
    base = statistics.median(seconds["local"])
    for what, most in (("memory", 15e-6), ("disk", 60e-6)):
        over = statistics.median(seconds[what]) - base
        outcome.goal(f"overhead of a hit in {what} ≤ {most * 1e6:.0f} µs", f"{over * 1e6:.1f} µs", over <= most)
        outcome.rows.append((f"an image from {what}", _text(_timing(seconds[what]))))
    outcome.rows.append(("an image of a local project", _text(_timing(seconds["local"]))))


def _curl(url: str, target: str) -> None:
    subprocess.run(["curl", "-s", "-f", "-o", target, url], check=True, timeout=DEADLINE_S)


def _whole(outcome: Outcome, url: str, cache: Path, rounds: int) -> None:
    if shutil.which("curl") is None:
        return
    stage = next(cache.parent.glob("served-*")) / "p"
    files = [p.relative_to(stage) for p in stage.rglob("*") if p.is_file() and ".blobdir" not in p.parts]
    config = cache / "curl.conf"
    config.write_text("".join(f'url = "{url}/p/{path}"\noutput = "{cache}/curl/{path}"\n' for path in files))
    command = ["curl", "-s", "-f", "--create-dirs", "-Z", "--parallel-max", "64", "-K", config]
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        target = cache / "fetched"
        found.setdefault("blobdir fetch", []).append(
            _timed(lambda t=target: fetch(f"{url}/p", t, remote=RemoteOptions(cache_size=0)))
        )
        shutil.rmtree(target)
        found.setdefault("curl of the same files, 64 at a time", []).append(
            _timed(lambda: subprocess.run(command, check=True, timeout=DEADLINE_S, stderr=subprocess.DEVNULL))
        )
        shutil.rmtree(cache / "curl")
    ratio = statistics.median(found["blobdir fetch"]) / statistics.median(found["curl of the same files, 64 at a time"])
    outcome.goal("fetch ≤ 1.1 × curl for the same files", f"{ratio:.2f} ×", ratio <= 1.1)
    done = subprocess.run(
        [sys.executable, "-c", FETCH, f"{url}/p", cache / "memory"],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_S,
    )
    shutil.rmtree(cache / "memory")
    peak = int(done.stdout)
    outcome.goal("memory of fetch ≤ 200 MB", f"{peak / 1e6:.0f} MB", peak <= 200e6)
    outcome.rows += [(what, _text(_timing(seconds))) for what, seconds in found.items()]


@contextlib.contextmanager
def _ratarmount(url: str, place: Path) -> Iterator[Path]:
    program = os.environ.get("BLOBDIR_RATARMOUNT") or shutil.which("ratarmount")
    command = [program, "-f", "-o", "ro", "--index-file", ":memory:", url, str(place)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # type: ignore[arg-type]
        deadline = time.monotonic() + DEADLINE_S
        while not os.path.ismount(place):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("ratarmount didn't mount the URL: it needs fsspec and aiohttp beside it")
            time.sleep(0.05)
        try:
            yield place
        finally:
            subprocess.run(["umount", "-l", place], check=False, timeout=60)
            process.wait(60)


def _readers(folder: Path, count: int, names: Path) -> float:
    """Seconds that four processes take together to read `count` images each, each in another order."""
    began = time.perf_counter()
    readers = [
        subprocess.Popen([sys.executable, "-c", READER, folder, str(seed), str(count), names]) for seed in range(4)
    ]
    for reader in readers:
        if reader.wait(DEADLINE_S):
            raise RuntimeError(f"a reader of {folder} failed")
    return time.perf_counter() - began


def _mounted(outcome: Outcome, url: str, plain: Path, cache: Path, rounds: int) -> None:
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return
    names = cache / "names"
    every = sorted(os.listdir(plain))
    names.write_text("\n".join(every))
    tar = next((cache.parent / f"served-{len(every)}" / "p/blob").glob("*.tar")).name
    few = min(200, len(every) // 4)
    found: dict[str, list[float]] = {}
    for turn in range(rounds):
        for what in ("copy", "readers"):
            options = RemoteOptions(cache / f"mount-{what}-{turn}")
            with blobdir.mount(f"{url}/p", remote=options) as mounted:
                if what == "copy":
                    took = _timed(
                        lambda m=mounted: subprocess.run(
                            ["cp", "-r", f"{m}/train/img", cache / "copy"], check=True, timeout=DEADLINE_S
                        )
                    )
                    found.setdefault("cp -r of all, mounted, cold", []).append(took)
                    shutil.rmtree(cache / "copy")
                    took = _timed(
                        lambda m=mounted: subprocess.run(
                            ["cp", "-r", f"{m}/train/img", cache / "copy"], check=True, timeout=DEADLINE_S
                        )
                    )
                    found.setdefault("cp -r of all, mounted, again", []).append(took)
                    shutil.rmtree(cache / "copy")
                else:
                    folder = Path(mounted) / "train/img"
                    found.setdefault("4 readers, few images", []).append(_readers(folder, few, names))
                    found.setdefault("4 readers, all images", []).append(_readers(folder, len(every), names))
            shutil.rmtree(cache / f"mount-{what}-{turn}", ignore_errors=True)
        took = _timed(lambda: subprocess.run(["cp", "-r", plain, cache / "copy"], check=True, timeout=DEADLINE_S))
        found.setdefault("cp -r of all, local files", []).append(took)
        shutil.rmtree(cache / "copy")
        found.setdefault("the whole tar, curl", []).append(
            _timed(lambda: _curl(f"{url}/p/blob/{tar}", str(cache / "curl.tar")))
        )
        with (
            contextlib.suppress(RuntimeError, TypeError),
            tempfile.TemporaryDirectory() as place,
            _ratarmount(f"{url}/p/blob/{tar}", Path(place)) as folder,
        ):
            found.setdefault("4 readers, few images, ratarmount", []).append(_readers(folder, few, names))
    outcome.rows += [(what, _text(_timing(seconds))) for what, seconds in found.items()]
    medians = {what: statistics.median(seconds) for what, seconds in found.items()}
    ratio = medians["cp -r of all, mounted, cold"] / medians["the whole tar, curl"]
    outcome.goal("mounted, cold: `cp -r` of all ≤ 2 × curl of the tar", f"{ratio:.1f} ×", ratio <= 2)
    ratio = medians["cp -r of all, mounted, cold"] / medians["cp -r of all, local files"]
    outcome.goal("the same against `cp -r` of local files", f"{ratio:.2f} ×", ratio <= 2)
    if "4 readers, few images, ratarmount" in medians:
        ratio = medians["4 readers, few images, ratarmount"] / medians["4 readers, few images"]
        outcome.goal(f"4 readers of {few} shuffled images each ≥ 20 × ratarmount", f"{ratio:.1f} ×", ratio >= 20)
