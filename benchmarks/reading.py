"""Single random reads and bulk reads in Python: blobdir, the system call, plain files, fsspec's tar, the SDK."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import fsspec

import blobdir
from benchmarks.data import plain_folder, real_project
from benchmarks.measure import Outcome, interleaved, micro

BATCH, LARGE_BATCH = 1000, 10_000
FEW = 2000  # of the slow ones


def sdk_figures(project: Path, rounds: int) -> dict[str, float] | None:
    """What the SDK takes, by the interpreter in BLOBDIR_SDK_PYTHON or .venv-sdk; None where there is none."""
    python = os.environ.get("BLOBDIR_SDK_PYTHON") or str(Path(".venv-sdk/bin/python").absolute())
    script = Path(__file__).with_name("sdk_peer.py")
    if not os.path.exists(python):
        return None
    done = subprocess.run([python, script, project, str(rounds)], capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def run(folder: Path, images: int, rounds: int) -> Outcome:
    """Read images in random order, one by one and in lists."""
    outcome = Outcome(
        "Reading images",
        f"{images:,} images of 3.6 to 4.5 KB in one tar, random order, warm page cache; median of {rounds} interleaved "
        "rounds (fastest–slowest). `pread` is the bare system call with offsets known: the floor for single reads. "
        "The process has freed a large array before, as any that uses numpy has: else the allocator gives memory back "
        "to the system after each list.",
    )
    root, plain = real_project(folder, images), plain_folder(folder, images)
    project = blobdir.open_project(root)
    fs, train = project.filesystem, project["train"]
    names = train.names
    random.Random(1).shuffle(names)
    paths = [f"train/img/{name}" for name in names]
    files = [str(plain / name) for name in names]
    index, rows = project.tree.index, [project.tree.find(path) for path in paths]
    ranges = [(int(index.size[row]), int(index.offset[row])) for row in rows]
    fd = os.open(root / "blob/shard.tar", os.O_RDONLY)
    local = fsspec.filesystem("file")
    tar = fsspec.filesystem("tar", fo=str(root / "blob/shard.tar"))
    check(train, fs, files, names, paths, tar)
    del_me = bytearray(31 << 20)  # below 32 MiB, glibc then keeps as much instead of returning it
    del del_me

    def each(function, arguments):  # type: ignore[no-untyped-def]
        def loop() -> None:
            for argument in arguments:
                function(argument)

        return loop

    def pread() -> None:
        read = os.pread
        for size, start in ranges:
            read(fd, size, start)

    def opened() -> None:
        for file in files:
            with open(file, "rb") as stream:
                stream.read()

    def fs_open() -> None:
        for path in paths[:FEW]:
            with fs.open(path) as stream:
                stream.read()

    def floor() -> list[bytes]:
        source = memoryview(bytes(5000))
        return [bytes(source[:size]) for size, _ in ranges]

    def batches(length):  # type: ignore[no-untyped-def]
        def loop() -> None:
            for i in range(0, images, length):
                fs.cat(paths[i : i + length])

        return loop

    counted = {
        "os.pread": (pread, images),
        "Dataset.get_blob_img_bytes": (each(train.get_blob_img_bytes, names), images),
        "cat_file": (each(fs.cat_file, paths), images),
        "plain files: open and read": (opened, images),
        "plain files: fsspec's LocalFileSystem.cat_file": (each(local.cat_file, files), images),
        "fs.open and read": (fs_open, min(FEW, images)),
        "fsspec's TarFileSystem.cat_file": (each(tar.cat_file, names[:FEW]), min(FEW, images)),
        "cat, one list, results kept": (lambda: fs.cat(paths), images),
        "making as many bytes objects, kept": (floor, images),
        f"cat, lists of {BATCH:,}, results dropped": (batches(BATCH), images),
        f"cat, lists of {LARGE_BATCH:,}, results dropped": (batches(LARGE_BATCH), images),
    }
    timings = interleaved({name: thing for name, (thing, _) in counted.items()}, rounds)
    us = {name: timings[name].per(count) for name, (_, count) in counted.items()}
    base = us["os.pread"].median_s
    for name, timing in us.items():
        outcome.rows.append(
            (name, f"{micro(timing)}, {timing.median_s / base:.2f} × pread, {1 / timing.median_s:,.0f}/s")
        )
    _goals(outcome, {name: timing.median_s for name, timing in us.items()})
    sdk = sdk_figures(root, min(rounds, 3))
    if sdk is None:
        outcome.missing.append("the SDK: make .venv-sdk with scripts/test, or set BLOBDIR_SDK_PYTHON")
    else:
        ratio = (sdk["image_s"] / sdk["pread_s"]) / (us["Dataset.get_blob_img_bytes"].median_s / base)
        outcome.rows.append(
            (f"the SDK's get_blob_img_bytes ({sdk['version']})", f"{sdk['image_s'] * 1e3:.1f} ms an image")
        )
        outcome.goal("get_blob_img_bytes ≥ 10,000 × the SDK's", f"{ratio:,.0f} ×", ratio >= 10_000)
    os.close(fd)
    return outcome


def _goals(outcome: Outcome, us: dict[str, float]) -> None:
    pread, image, single = us["os.pread"], us["Dataset.get_blob_img_bytes"], us["cat_file"]
    local, bulk = us["plain files: fsspec's LocalFileSystem.cat_file"], us["cat, one list, results kept"]
    outcome.goal("cat_file ≤ 3.5 × pread", f"{single / pread:.2f} ×", single <= 3.5 * pread)
    outcome.goal("cat_file ≥ 3 × faster than LocalFileSystem", f"{local / single:.2f} ×", local >= 3 * single)
    outcome.goal("get_blob_img_bytes ≤ 2 × pread", f"{image / pread:.2f} ×", image <= 2 * pread)
    for length in (BATCH, LARGE_BATCH):
        rate = 1 / us[f"cat, lists of {length:,}, results dropped"]
        outcome.goal(f"cat of lists of {length:,} ≥ 300,000 images/s", f"{rate:,.0f}/s", rate >= 300_000)
    outcome.goal("cat of all in one list ≥ 300,000 images/s", f"{1 / bulk:,.0f}/s", 1 / bulk >= 300_000)


def check(train, fs, files, names, paths, tar) -> None:  # type: ignore[no-untyped-def]
    """Every way gives the bytes of the plain file."""
    expected = [Path(file).read_bytes() for file in files[:200]]
    assert [train.get_blob_img_bytes(name) for name in names[:200]] == expected
    assert [fs.cat_file(path) for path in paths[:200]] == expected
    assert list(fs.cat(paths[:200]).values()) == expected
    assert [tar.cat_file(name) for name in names[:20]] == expected[:20]


def import_seconds(statement: str, rounds: int) -> float:
    """Seconds of a fresh interpreter that runs a statement."""
    timing = interleaved({"": lambda: subprocess.run([sys.executable, "-c", statement], check=True)}, rounds)
    return timing[""].median_s
