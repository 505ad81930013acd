"""Subsets: the right images, the same bytes, and no bytes twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from blob_builder import Builder

import blobdir
from blobdir.errors import NotFoundError, UsageError
from blobdir.packing import SubsetOptions, subset
from blobdir.verifying import verify

COMMAND = str(Path(sys.executable).with_name("blobdir"))
JPEG = b"\xff\xd8\xff"


@pytest.fixture
def project(tmp_path):
    """Two datasets with one blob between them; image i has class c<i % 4>, and every third the tag t."""
    made = Builder(tmp_path / "p")
    classes = [{"title": f"c{i}", "shape": "rectangle", "color": "#000000"} for i in range(4)]
    tags = [{"name": "t", "value_type": "none", "color": "#000000"}]
    made.loose("meta.json", json.dumps({"classes": classes, "tags": tags, "projectType": "images"}).encode())
    names = [f"{i:03d}.jpg" for i in range(60)]
    entries = made.tar("shared", {name: JPEG + name.encode() * 50 for name in names})
    made.offsets("train", "shared", entries[:40])
    made.offsets("test", "shared", entries[40:])
    for i, name in enumerate(names):
        text = {
            "size": {"height": 1, "width": 1},
            "tags": [{"name": "t"}] if i % 3 == 0 else [],
            "objects": [{"classTitle": f"c{i % 4}"}],
        }
        made.loose(f"{'train' if i < 40 else 'test'}/ann/{name}.json", json.dumps(text).encode())
    made.loose("train/img/plain.png", b"\x89PNG\r\n\x1a\n plain")
    made.loose("train/ann/plain.png.json", b'{"size": {"height": 1, "width": 1}, "tags": [], "objects": []}')
    return made.root


def numbers(project):
    opened = blobdir.open_project(project)
    return {name: [n.partition(".")[0] for n in opened[name].names] for name in opened}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"train": [*range(40), "plain"], "test": range(40, 60)}),
        ({"datasets": ("test",)}, {"test": range(40, 60)}),
        ({"patterns": ("train/00*", "test/05?.jpg")}, {"train": range(10), "test": range(50, 60)}),
        ({"classes": ("c1",)}, {"train": range(1, 40, 4), "test": range(41, 60, 4)}),
        ({"classes": ("c1", "c2"), "datasets": ("test",)}, {"test": [i for i in range(40, 60) if i % 4 in (1, 2)]}),
        ({"tags": ("t",)}, {"train": range(0, 40, 3), "test": range(42, 60, 3)}),
        ({"tags": ("t",), "classes": ("c0",)}, {"train": range(0, 40, 12), "test": [48]}),
        ({"names": ["train/003.jpg", "test/img/050.jpg", "plain.png"]}, {"train": [3, "plain"], "test": [50]}),
    ],
)
def test_choices(project, tmp_path, options, expected):
    report = subset(project, tmp_path / "s", SubsetOptions(**options))
    wanted = {name: sorted(i if isinstance(i, str) else f"{i:03d}" for i in rows) for name, rows in expected.items()}
    assert numbers(tmp_path / "s") == wanted
    assert report.datasets == {name: len(rows) for name, rows in wanted.items()}
    ours, theirs = blobdir.open_project(tmp_path / "s"), blobdir.open_project(project)
    for dataset in ours:
        for name in ours[dataset].names:
            assert ours[dataset].get_blob_img_bytes(name) == theirs[dataset].get_blob_img_bytes(name)
            assert ours[dataset].annotation(name) == theirs[dataset].annotation(name)
    assert ours.meta == theirs.meta
    assert verify(tmp_path / "s").errors == 0


def test_samples(project, tmp_path):
    seen = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        subset(project, tmp_path / name, SubsetOptions(per_class=3, seed=seed))
        found = numbers(tmp_path / name)
        seen.append(found)
        chosen = [int(i) for rows in found.values() for i in rows]
        assert [sum(i % 4 == c for i in chosen) for c in range(4)] == [3] * 4
    assert seen[0] == seen[1] != seen[2]


@pytest.mark.parametrize("blobs", ["link", "symlink", "copy"])
def test_blobs_are_shared(project, tmp_path, blobs):
    subset(project, tmp_path / "s", SubsetOptions(datasets=("test",), blobs=blobs))
    ours, theirs = tmp_path / "s/blob/shared.tar", project / "blob/shared.tar"
    assert os.path.samefile(ours, theirs) == (blobs != "copy")
    assert ours.is_symlink() == (blobs == "symlink")
    opened = blobdir.open_project(tmp_path / "s", follow_links=blobs == "symlink")
    assert opened["test"].get_blob_img_bytes("045.jpg") == JPEG + b"045.jpg" * 50


def test_subset_of_a_subset(project, tmp_path):
    subset(project, tmp_path / "one", SubsetOptions(tags=("t",)))
    subset(tmp_path / "one", tmp_path / "two", SubsetOptions(classes=("c0",)))
    assert numbers(tmp_path / "two") == {"train": ["000", "012", "024", "036"], "test": ["048"]}


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"names": ["none.jpg"]}, NotFoundError, "none.jpg"),
        ({"datasets": ("none",)}, UsageError, "there are test, train"),
        ({"classes": ("none",)}, UsageError, "no image is chosen"),
    ],
)
def test_bad_choices(project, tmp_path, options, error, says):
    with pytest.raises(error, match=says):
        subset(project, tmp_path / "s", SubsetOptions(**options))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p"]
    (tmp_path / "s").mkdir()
    with pytest.raises(UsageError, match="is there already"):
        subset(project, tmp_path / "s")


def test_command(project, tmp_path):
    command = [COMMAND, "subset", project, tmp_path / "s", "--list", "-"]
    done = subprocess.run(command, input="train/001.jpg\n050.jpg\n", capture_output=True, text=True, check=True)
    assert "2 images (1 of test, 1 of train), 1 blobs shared" in done.stdout
    assert numbers(tmp_path / "s") == {"test": ["050"], "train": ["001"]}
