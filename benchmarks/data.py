"""The projects that are measured: images of about 4 KB, real ones and, for what only counts them, sparse tars."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.peers import sdk_python
from blobdir.offsets import OffsetsTable, write_offsets
from blobdir.tarwriting.format import archive_end, member_header, padding

IMAGE_BYTES = 3600  # plus 0 to 899, in sparse projects
SIDE = 72
META: dict[str, Any] = {
    "classes": [
        {
            "title": "thing",
            "description": "",
            "shape": "rectangle",
            "color": "#0F3A8A",
            "geometry_config": {},
            "hotkey": "",
        }
    ],
    "tags": [],
    "projectType": "images",
}


def finish(root: Path, build) -> Path:  # type: ignore[no-untyped-def]
    """Build a project beside its place and rename it, so that one that was cut off isn't taken for whole."""
    if not root.exists():
        part = root.with_name(root.name + ".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        build(part)
        part.rename(root)
    return root


def jpeg(i: int) -> bytes:
    """A JPEG image of `SIDE` × `SIDE` pixels and 3.3 to 4.3 KB.

    Coarse colours, and noise: so it is as large as a photograph of that size and takes as long to decode.
    """
    source = np.random.default_rng(i)
    coarse = Image.fromarray(source.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((SIDE, SIDE), Image.BICUBIC)
    noise = 20 + i % 40
    pixels = np.asarray(coarse).astype(np.int16) + source.integers(-noise, noise + 1, (SIDE, SIDE, 1), dtype=np.int16)
    stream = io.BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def real_project(folder: Path, images: int) -> Path:
    """A project of one dataset and one blob of JPEG images with annotations.

    Beside it lie the same images as files, in the folder that `plain_folder` gives.
    """

    def build(root: Path) -> None:
        _project_folders(root, META)
        plain = folder / f"jpeg-{images}-plain"
        shutil.rmtree(plain, ignore_errors=True)
        plain.mkdir()
        entries = []
        with tarfile.open(root / "blob/shard.tar", "w", format=tarfile.GNU_FORMAT) as tar:
            for i in range(images):
                data = jpeg(i)
                info = tarfile.TarInfo(image_name(i))
                info.size, info.mtime = len(data), 1_700_000_000
                start = tar.offset + tarfile.BLOCKSIZE
                tar.addfile(info, io.BytesIO(data))
                entries.append((info.name, start, start + info.size))
                (plain / info.name).write_bytes(data)
        write_offsets(root / "train/shard_offsets.pkl", entries)
        for i, text in enumerate(annotation_texts(images)):
            (root / f"train/ann/{image_name(i)}.json").write_text(text)
        _age(root)

    return finish(folder / f"jpeg-{images}", build)


def plain_folder(folder: Path, images: int) -> Path:
    """The images of `real_project` as files."""
    real_project(folder, images)
    return folder / f"jpeg-{images}-plain"


def large_project(folder: Path, images: int, different: int) -> Path:
    """A project of one dataset and one blob of many images of about 4 KB, by anybody's program.

    They are the `different` images of `real_project`, again and again, each with its number behind its end. The first
    thousand have annotations.
    """
    plain = plain_folder(folder, different)

    def build(root: Path) -> None:
        _project_folders(root, META)
        data = [(plain / image_name(i)).read_bytes() for i in range(different)]
        size = np.array([len(d) for d in data], dtype=np.int64)[np.arange(images) % different] + 8
        start = np.cumsum(512 + (size + 511) // 512 * 512) - (size + 511) // 512 * 512
        with open(root / "blob/shard.tar", "wb", buffering=1 << 20) as tar:
            for i in range(images):
                content = data[i % different] + b"%08d" % i
                tar.write(
                    b"".join((member_header(b"image_%08d.jpg" % i, len(content)), content, padding(len(content))))
                )
            tar.write(archive_end(tar.tell()))
        names = b"".join(b"image_%08d.jpg\0" % n for n in range(images))
        table = OffsetsTable(np.frombuffer(names, np.uint8), np.arange(images + 1) * 19, start, start + size)
        write_offsets(root / "train/shard_offsets.pkl", table)
        for i, text in enumerate(annotation_texts(min(images, 1000))):
            (root / f"train/ann/{image_name(i)}.json").write_text(text)
        _age(root)

    return finish(folder / f"jpeg-{images}-of-{different}", build)


def image_name(i: int) -> str:
    """The name of image `i`."""
    return f"image_{i:08d}.jpg"


def annotation(i: int) -> dict[str, Any]:
    """The annotation of image `i`, equal to what the SDK makes of the same box (a test holds them equal)."""
    left, top, right, bottom = box(i)
    return {
        "description": "",
        "size": {"height": SIDE, "width": SIDE},
        "tags": [],
        "objects": [
            {
                "classTitle": "thing",
                "description": "",
                "tags": [],
                "points": {"exterior": [[left, top], [right, bottom]], "interior": []},
                "geometryType": "rectangle",
                "shape": "rectangle",
                "nnCreated": False,
                "nnUpdated": False,
            }
        ],
        "customBigData": {},
    }


def box(i: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the one object in image `i`, in pixels."""
    return i % 30, i % 25, i % 30 + 10 + i % 31, i % 25 + 10 + i % 36


def annotation_texts(count: int) -> list[str]:
    """The annotations of the first images as JSON, by the SDK where there is one."""
    python = sdk_python()
    if python is None:
        return [json.dumps(annotation(i)) for i in range(count)]
    script = Path(__file__).with_name("sdk_annotations.py")
    boxes = json.dumps([box(i) for i in range(count)])
    command = [python, script, str(SIDE), META["classes"][0]["title"]]
    done = subprocess.run(command, input=boxes, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-count:]


def _project_folders(root: Path, meta: dict[str, Any]) -> None:
    (root / "blob").mkdir()
    (root / "train/ann").mkdir(parents=True)
    (root / "meta.json").write_text(json.dumps(meta))


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

    return finish(folder / f"sparse-{images}-{blobs}", build)


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

    return finish(folder / f"small-{images}", build)


def _age(root: Path) -> None:
    """Make everything an hour old: an index of what changed a moment ago isn't trusted."""
    for parent, _, names in os.walk(root, topdown=False):
        for name in [*names, "."]:
            stat = os.stat(os.path.join(parent, name))
            os.utime(os.path.join(parent, name), (stat.st_atime, stat.st_mtime - 3600))
