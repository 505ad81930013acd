"""A million images in one folder, a thousand blobs, a member of more than 4 GiB."""

from __future__ import annotations

import os
import random
import subprocess
import tarfile

import numpy as np
import pytest
from blob_builder import Builder

import blobdir
from blobdir.mounting import statuses
from blobdir.offsets import OffsetsTable, write_offsets

MILLION = 1_000_000


@pytest.mark.timeout(170)
def test_a_million_entries(tmp_path, place):
    made = Builder(tmp_path / "p")
    (made.root / "blob").mkdir()
    (made.root / "train/ann").mkdir(parents=True)
    start = np.arange(MILLION, dtype=np.int64) * 1024 + 512
    names = b"".join(b"image_%07d.jpg\0" % i for i in range(MILLION))
    table = OffsetsTable(np.frombuffer(names, np.uint8), np.arange(MILLION + 1) * 18, start, start + 12)
    write_offsets(made.root / "train/b_offsets.pkl", table)
    chosen = sorted({*random.Random(1).sample(range(MILLION), 300), 0, MILLION // 2, MILLION - 1})
    with open(made.root / "blob/b.tar", "wb") as tar:
        for i in chosen:
            info = tarfile.TarInfo(f"image_{i:07d}.jpg")
            info.size = 12
            tar.seek(i * 1024)
            tar.write(info.tobuf(tarfile.GNU_FORMAT) + b"data %07d" % i)
        tar.truncate(MILLION * 1024 + 1024)
    with blobdir.mount(made.root, place, index=str(tmp_path / "index")):
        folder = place / "train/img"
        assert sum(1 for _ in os.scandir(folder)) == MILLION
        names = os.listdir(folder)
        assert len(set(names)) == MILLION
        assert (names[0], names[-1]) == ("image_0000000.jpg", f"image_{MILLION - 1:07d}.jpg")
        for i in chosen:
            assert (folder / f"image_{i:07d}.jpg").read_bytes() == b"data %07d" % i
        done = subprocess.run(f"find {folder} | wc -l", shell=True, capture_output=True, timeout=100, check=True)
        assert int(done.stdout) == MILLION + 1


def test_a_thousand_blobs(tmp_path, place):
    made = Builder(tmp_path / "p")
    for i in range(1000):
        made.blob("train", f"b{i:04d}", {f"{i:04d}.jpg": b"%d" % i})
    with blobdir.mount(made.root, place):
        for i in random.Random(2).sample(range(1000), 1000):
            assert (place / f"train/img/{i:04d}.jpg").read_bytes() == b"%d" % i
        (status,) = (s for s in statuses() if s.record.mountpoint == str(place))
        assert len(os.listdir(f"/proc/{status.record.pid}/fd")) > 1000


def test_a_member_of_more_than_4_gib(tmp_path, place):
    size = (5 << 30) + 123
    made = Builder(tmp_path / "p")
    (made.root / "blob").mkdir()
    (made.root / "train/ann").mkdir(parents=True)
    with open(made.root / "blob/big.tar", "wb") as tar:
        for name, at, length in (("big.bin", 0, size), ("next.bin", 512 + (size + 511) // 512 * 512, 4)):
            info = tarfile.TarInfo(name)
            info.size = length
            tar.seek(at)
            tar.write(info.tobuf(tarfile.GNU_FORMAT))
        tar.write(b"next")
        tar.seek(512 + size - 5)
        tar.write(b"end!!")
        tar.seek(512 + (1 << 32))
        tar.write(b"beyond 4 GiB")
        tar.truncate(512 + (size + 511) // 512 * 512 + 2048)
    blobdir.save_blob_offsets_pkl(str(made.root / "blob/big.tar"), str(made.root / "train"))
    with blobdir.mount(made.root, place):
        path = place / "train/img/big.bin"
        assert path.stat().st_size == size
        with open(path, "rb") as file:
            file.seek(1 << 32)
            assert file.read(12) == b"beyond 4 GiB"
            file.seek(-5, os.SEEK_END)
            assert file.read() == b"end!!"
        assert (place / "train/img/next.bin").read_bytes() == b"next"
