"""A path is read the same however it's written, and whether or not its folder's short way is known."""

from __future__ import annotations

import os
from pathlib import PurePosixPath

import numpy as np
import pytest
from project_factory import make_project

from blobdir import BlobDirFileSystem

FILES = {
    "train/img/a.jpg": b"a",
    "train/img/b::c.jpg": b"b",
    "train/img/\N{LATIN SMALL LETTER E WITH ACUTE}.jpg": b"e",
    os.fsdecode(b"train/img/\xff.jpg"): b"f",
    "train/img/loose.jpg": b"loose",
    "train/ann/a.jpg.json": b"{}",
    "top.txt": b"top",
}
WAYS = {
    "plain": str,
    "url": "blobdir://{}".format,
    "slash before": "/{}".format,
    "slash behind": "{}/".format,
    "doubled": lambda path: path.replace("/", "//"),
    "dots": lambda path: path.replace("/", "/./"),
    "up and down": lambda path: path.replace("/", "/../train/", 1) if path.startswith("train/") else path,
    "numpy": np.str_,
    "Path": PurePosixPath,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("short") / "p", FILES, loose=["train/img/loose.jpg"])


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_every_spelling(root, way, known):
    fs = BlobDirFileSystem(str(root), skip_instance_cache=True)
    for path, data in FILES.items():
        if way == "url" and "::" in path:  # the rest of a chain
            continue
        for _ in range(2):
            if known:
                assert fs.cat_file(path) == data
            assert fs.cat_file(WAYS[way](path)) == data
            assert fs.cat_file(WAYS[way](path), 0, 1) == data[:1]


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize(
    "path", ["blobdir://train/img/b::c.jpg", "train/img/b", "train/img/a.jpg/b", "train/img/\ud800.jpg"]
)
def test_what_is_not_there(root, path, known):
    fs = BlobDirFileSystem(str(root), skip_instance_cache=True)
    if known:
        fs.cat_file("train/img/a.jpg")
    for _ in range(2):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            fs.cat_file(path)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("path", ["train/img", "train/img/", "train/img/.", "", "blobdir://train/img"])
def test_a_folder(root, path, known):
    fs = BlobDirFileSystem(str(root), skip_instance_cache=True)
    if known:
        fs.cat_file("train/img/a.jpg")
    with pytest.raises(IsADirectoryError):
        fs.cat_file(path)
