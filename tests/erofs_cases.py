"""Projects for the tests of EROFS images: one with everything that an image must hold."""

from __future__ import annotations

import os
import random
from pathlib import Path

from blob_builder import Builder

from blobdir.discovery import DiscoveryOptions
from blobdir.opening import OpenOptions, open_tree
from blobdir.tree import Tree

LONG = "a" * 251 + ".png"
TAILS = (1, 31, 447, 448, 449, 479, 480, 481, 511, 512, 513, 700, 992, 1024, 2000, 4095, 4096, 4097, 20_000)


def open_now(root: Path, **discovery: str) -> Tree:
    """The project as it is, without a stored index."""
    return open_tree(root, options=OpenOptions(DiscoveryOptions(**discovery), index="none"))


def build_wide(root: Path) -> Path:
    """A project with everything that is special in an image."""
    random.seed(8)
    project = Builder(root)
    names = ["a.png", "-dash.png", "!first.png", ".hidden.png", "..-.png", "...png", LONG, "späße \u2603.png"]
    members = {name: random.randbytes(3_000 + i) for i, name in enumerate(names)}
    project.offsets("train", "one", project.tar("one", members | {"empty.png": b""}))
    project.blob("train", "two", {f"{i:03}.png": random.randbytes(i * 37) for i in range(200)})
    project.blob("deep/datasets/er", "three", {f"{i}.png": random.randbytes(5_000) for i in range(9)})
    for size in TAILS:
        project.loose(f"train/notes/{size}.txt", random.randbytes(size))
    project.loose("train/img/plain.png", random.randbytes(9_999))
    project.loose("train/notes/empty", b"")
    (root / "empty folder").mkdir()
    for i in range(60):
        project.loose(f"many/{i}/{i}.txt", b"%d" % i)
    with open(os.fsencode(root) + b"/train/notes/\xff\xfe name", "wb") as file:
        file.write(b"not UTF-8")
    (root / "train/link").symlink_to("img/a.png")
    (root / "deep/datasets/er/img").symlink_to("../../../many")
    (root / "train/long link").symlink_to("x" * 300 + "/" + "y" * 200 + "/" + "z" * 200)
    os.chmod(root / "train/notes/1.txt", 0o600)
    os.chmod(root / "blob/two.tar", 0o640)
    os.utime(root / "train/notes/31.txt", ns=(1, -1_500_000_001))
    os.utime(root / "blob/three.tar", ns=(0, 2**34 * 10**9 + 7))
    return root
