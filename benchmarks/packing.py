"""Packing and verifying: ``blobdir pack`` beside ``tar cf`` with the SDK's ``save_blob_offsets_pkl``; ``verify``."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import blobdir
from benchmarks.data import IMAGE_BYTES
from benchmarks.measure import Outcome, Timing, seconds
from benchmarks.peers import sdk_python
from blobdir.durable import sync_filesystem
from blobdir.offsets import read_offsets
from blobdir.verifying import verify

COMMAND = str(Path(sys.executable).with_name("blobdir"))
MANY, REUSED_S = 10_000, 36
"""After so many files were removed, seconds until ext4 takes their inodes again without looking at each."""
JPEG = b"\xff\xd8\xff"
ANNOTATION = '{"description": "", "tags": [], "size": {"height": 64, "width": 64}, "objects": []}'
SDK = """
import sys, time, supervisely as sly
began = time.perf_counter()
sly.fs.save_blob_offsets_pkl(sys.argv[1], sys.argv[2])
print("seconds", time.perf_counter() - began)
"""


def regular_project(folder: Path, images: int) -> Path:
    """A regular project of one dataset: images of random bytes behind the first three of a JPEG, with annotations."""
    root = folder / f"regular-{images}"
    if not root.exists():
        part = root.with_name(f"{root.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        source = random.Random(3)
        for name in ("img", "ann"):
            (part / "train" / name).mkdir(parents=True)
        (part / "meta.json").write_text('{"classes": [], "tags": [], "projectType": "images"}')
        for i in range(images):
            (part / f"train/img/image_{i:08d}.jpg").write_bytes(JPEG + source.randbytes(IMAGE_BYTES + i % 900))
            (part / f"train/ann/image_{i:08d}.jpg.json").write_text(ANNOTATION)
        part.rename(root)
    return root


def images_only(source: Path) -> Path:
    """The same project without annotations: what tar and the SDK have to do with."""
    root = source.with_name(f"{source.name}-images")
    if not root.exists():
        (root / "train").mkdir(parents=True)
        (root / "train/img").symlink_to(source / "train/img")
        shutil.copy(source / "meta.json", root)
    return root


class Place:
    """Where the steps of one round write, each into a folder of its own; gone after it.

    Nothing is removed in between: for half a minute, ext4 passes over each inode that was freed, one by one, and who
    creates files right after a hundred thousand were removed waits many times as long as who came before.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._steps = folder, 0

    def __enter__(self) -> Self:
        if self._folder.exists():
            self.__exit__()
        return self

    def new(self) -> Path:
        """A folder for the next step."""
        self._steps += 1
        made = self._folder / f"{self._steps}"
        made.mkdir(parents=True)
        os.sync()  # who comes first mustn't wait for what another has left to be written
        return made

    def __exit__(self, *_: object) -> None:
        many = any(folder.name == "ann" and len(os.listdir(folder)) > MANY for folder in self._folder.rglob("ann"))
        shutil.rmtree(self._folder)
        if many:
            time.sleep(REUSED_S)


def run(folder: Path, images: int, rounds: int) -> Outcome:
    """Pack a regular project, and verify what was packed."""
    source = regular_project(folder, images)
    megabytes = sum(entry.stat().st_size for entry in os.scandir(source / "train/img")) / 1e6
    outcome = Outcome(
        "Packing and verifying",
        f"{images:,} images of 3.6 to 4.5 KB, {megabytes:,.0f} MB, with an annotation each; warm page cache; median of "
        f"{rounds} interleaved rounds (fastest–slowest). Against blobdir: it makes checksums of its blobs, and waits "
        "until all is on the disk, which tar, cp and the SDK don't; and its figure has the start of its interpreter in "
        "it, the SDK's hasn't.",
    )
    python = sdk_python()
    taken: dict[str, list[float]] = {
        name: [] for name in ("tar", "sdk", "cp", "images", "sums", "sync", "blobdir", "verify", "no annotations")
    }
    for _ in range(rounds):
        with Place(folder / "packing") as place:
            _peers(source, place.new(), python, taken)
            project = place.new() / "project"
            taken["images"].append(timed(COMMAND, "pack", "-q", "--follow-links", images_only(source), project))
            _costs(project, taken)
            project = place.new() / "project"
            taken["blobdir"].append(timed(COMMAND, "pack", "-q", source, project))
            check(source, project, images)
            for name in ("verify", "no annotations"):
                report = verify(project)
                assert (report.errors, report.blob_bytes > 0) == (0, True), report.findings
                taken[name].append(report.seconds * 1e6 / report.blob_bytes)  # seconds a megabyte
                remove_annotations(project)
    _report(outcome, {name: found for name, found in taken.items() if found}, has_sdk=bool(python))
    return outcome


def remove_annotations(project: Path) -> None:
    """Leave the blobs, and images without annotations."""
    shutil.rmtree(project / "train/ann")
    (project / "train/ann").mkdir()


def _costs(project: Path, taken: dict[str, list[float]]) -> None:
    """What checksums and waiting for the disk take of it, each alone."""
    (tar,) = (project / "blob").glob("*.tar")
    began = time.perf_counter()
    with open(tar, "rb") as file:
        hashlib.file_digest(file, "sha256")
    taken["sums"].append(time.perf_counter() - began)
    shutil.copy(tar, project / "copy")
    began = time.perf_counter()
    sync_filesystem(project)
    taken["sync"].append(time.perf_counter() - began)


def _peers(source: Path, place: Path, python: str | None, taken: dict[str, list[float]]) -> None:
    taken["tar"].append(timed("tar", "cf", place / "train.tar", "-C", source / "train/img", "."))
    taken["cp"].append(timed("cp", "-r", source / "train/ann", place / "ann"))
    if python:
        done = subprocess.run(
            [python, "-c", SDK, place / "train.tar", place], capture_output=True, text=True, check=True
        )
        taken["sdk"].append(float(done.stdout.rpartition("seconds")[2]))


def timed(*command: str | Path) -> float:
    """Seconds of a command."""
    began = time.perf_counter()
    # Of images without annotations, blobdir says that the SDK drops their dataset.
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def check(source: Path, packed: Path, images: int) -> None:
    """What was packed has the bytes of the files."""
    dataset = blobdir.open_project(packed)["train"]
    names = dataset.names
    assert len(names) == images
    for name in names[:: max(1, images // 50)]:
        assert dataset.get_blob_img_bytes(name) == (source / "train/img" / name).read_bytes()
    assert sum(len(read_offsets(pickle)) for pickle in (packed / "train").glob("*_offsets.pkl")) == images


def _timing(values: list[float]) -> Timing:
    return Timing(statistics.median(values), min(values), max(values))


def _report(outcome: Outcome, taken: dict[str, list[float]], *, has_sdk: bool) -> None:
    names = {
        "tar": "tar cf",
        "sdk": "the SDK's save_blob_offsets_pkl",
        "cp": "cp -r of the annotations",
        "images": "blobdir pack of the images alone",
        "sums": "of that, the checksum, in a thread of its own",
        "sync": "bringing as many bytes to the disk, alone",
        "blobdir": "blobdir pack with the annotations",
    }
    for key, name in names.items():
        if key in taken:
            outcome.rows.append((name, seconds(_timing(taken[key]))))
    if has_sdk:
        ours, alone = statistics.median(taken["blobdir"]), statistics.median(taken["images"])
        blobs = [tar + sdk for tar, sdk in zip(taken["tar"], taken["sdk"], strict=True)]
        whole = [first + cp for first, cp in zip(blobs, taken["cp"], strict=True)]
        outcome.rows.append(("tar cf and the SDK, together", seconds(_timing(blobs))))
        outcome.rows.append(("tar cf, the SDK and cp, together", seconds(_timing(whole))))
        ratio = statistics.median(blobs) / alone
        copying = [max(0.0, both - one) for both, one in zip(taken["blobdir"], taken["images"], strict=True)]
        outcome.rows.append(("what the annotations add to it", seconds(_timing(copying))))
        ratio_of_copies = statistics.median(copying) / statistics.median(taken["cp"])
        outcome.goal("annotations add ≤ 1.5 × cp -r", f"{ratio_of_copies:.2f} ×", ratio_of_copies <= 1.5)
        outcome.goal("pack of images ≥ 1.5 × tar cf + save_blob_offsets_pkl", f"{ratio:.2f} ×", ratio >= 1.5)
        outcome.rows.append(
            ("all of the three, by pack with the annotations", f"{statistics.median(whole) / ours:.2f} ×")
        )
    for key, what in (("verify", "with an annotation each"), ("no annotations", "blobs only")):
        rates = sorted(1 / value for value in taken[key])
        shown = f"{statistics.median(rates):,.0f} MB/s ({rates[0]:,.0f}–{rates[-1]:,.0f})"
        outcome.rows.append((f"verify, {what}", shown))
        if key == "no annotations":
            outcome.goal("verify ≥ 500 MB/s without decoding", shown, statistics.median(rates) >= 500)
