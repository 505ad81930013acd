"""The projects that are measured: images of random bytes of about 4 KB."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import tarfile
from pathlib import Path

import numpy as np

from blobdir.offsets import OffsetsTable, write_offsets
from blobdir.packing.tarformat import archive_end, member_header, padding

IMAGE_BYTES = 3600  # plus 0 to 899


def image_size(i: int) -> int:
    """Bytes of image `i`."""
    return IMAGE_BYTES + i % 900


def _finish(root: Path, build) -> Path:  # type: ignore[no-untyped-def]
    """Build a project beside its place and rename it, so that one that was cut off isn't taken for whole."""
    if not root.exists():
        part = root.with_name(root.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        build(part)
        part.rename(root)
    return root


def real_project(folder: Path, images: int) -> Path:
    """A project of one dataset and one blob, and beside it the same images as files in ``plain/``."""

    def build(root: Path) -> None:
        source = random.Random(0)
        (root / "blob").mkdir()
        (root / "train/ann").mkdir(parents=True)
        (root / "meta.json").write_text(json.dumps({"classes": [], "tags": [], "projectType": "images"}))
        plain = root.with_name(f"plain-{images}")
        shutil.rmtree(plain, ignore_errors=True)
        plain.mkdir()
        entries = []
        with tarfile.open(root / "blob/shard.tar", "w", format=tarfile.GNU_FORMAT) as tar:
            for i in range(images):
                info = tarfile.TarInfo(f"image_{i:08d}.jpg")
                info.size, info.mtime = image_size(i), 1_700_000_000
                data = source.randbytes(info.size)
                start = tar.offset + tarfile.BLOCKSIZE
                tar.addfile(info, io.BytesIO(data))
                entries.append((info.name, start, start + info.size))
                (plain / info.name).write_bytes(data)
        write_offsets(root / "train/shard_offsets.pkl", entries)
        for name, _, _ in entries[:1000]:
            (root / f"train/ann/{name}.json").write_text('{"size": {"height": 1, "width": 1}, "objects": []}')

    return _finish(folder / f"project-{images}", build)


def plain_folder(folder: Path, images: int) -> Path:
    """The images of `real_project` as files."""
    real_project(folder, images)
    return folder / f"plain-{images}"


def sparse_project(folder: Path, images: int, blobs: int) -> Path:
    """A project of many images whose blobs are sparse: headers stand where a reader looks, data nowhere."""

    def build(root: Path) -> None:
        (root / "blob").mkdir()
        (root / "meta.json").write_text("{}")
        per_blob = images // blobs
        for blob in range(blobs):
            dataset = root / f"ds{blob % 10}"
            (dataset / "ann").mkdir(parents=True, exist_ok=True)
            number = np.arange(blob * per_blob, (blob + 1) * per_blob)
            size = IMAGE_BYTES + number % 900
            step = 512 + (size + 511) // 512 * 512
            start = np.cumsum(step) - step + 512
            names = b"".join(b"image_%08d.jpg\0" % n for n in number.tolist())
            arena = np.frombuffer(names, np.uint8)
            table = OffsetsTable(arena, np.arange(per_blob + 1) * 19, start, start + size)
            write_offsets(dataset / f"shard-{blob:04d}_offsets.pkl", table)
            with open(root / f"blob/shard-{blob:04d}.tar", "wb") as tar:
                for i in {0, per_blob // 2, per_blob - 1}:
                    info = tarfile.TarInfo(f"image_{number[i]:08d}.jpg")
                    info.size = int(size[i])
                    tar.seek(int(start[i]) - 512)
                    tar.write(info.tobuf(tarfile.GNU_FORMAT))
                tar.truncate(int(start[-1] - 512 + step[-1]) + 1024)
        _age(root)

    return _finish(folder / f"sparse-{images}-{blobs}", build)


def small_project(folder: Path, images: int) -> Path:
    """A project of one blob of many images of 12 bytes, with all their headers: for listings, by anybody's program."""

    def build(root: Path) -> None:
        (root / "blob").mkdir()
        (root / "train/ann").mkdir(parents=True)
        (root / "meta.json").write_text("{}")
        with open(root / "blob/shard.tar", "wb") as tar:
            for first in range(0, images, 1000):
                numbers = range(first, min(first + 1000, images))
                data = [b"data %07d" % i for i in numbers]
                headers = [member_header(b"image_%08d.jpg" % i, 12) for i in numbers]
                tar.write(b"".join(part for h, d in zip(headers, data, strict=True) for part in (h, d, padding(12))))
            tar.write(archive_end(tar.tell()))
        start = np.arange(images, dtype=np.int64) * 1024 + 512
        names = b"".join(b"image_%08d.jpg\0" % n for n in range(images))
        arena = np.frombuffer(names, np.uint8)
        write_offsets(
            root / "train/shard_offsets.pkl", OffsetsTable(arena, np.arange(images + 1) * 19, start, start + 12)
        )
        _age(root)

    return _finish(folder / f"small-{images}", build)


def _age(root: Path) -> None:
    """Make everything an hour old: an index of what changed a moment ago isn't trusted."""
    for parent, _, names in os.walk(root, topdown=False):
        for name in [*names, "."]:
            stat = os.stat(os.path.join(parent, name))
            os.utime(os.path.join(parent, name), (stat.st_atime, stat.st_mtime - 3600))
