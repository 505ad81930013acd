"""Adding, removing, moving, compacting: the right result, all or nothing, and one at a time."""

from __future__ import annotations

import hashlib
import os
import re
import shutil

import pytest
from PIL import Image

import blobdir
from blobdir.errors import BusyError, NotFoundError, PackError, UsageError
from blobdir.packing import add, compact, move, remove
from blobdir.packing.publishing import Change
from blobdir.verifying import verify


def view(root):
    """What a reader sees: path -> content of every image and annotation."""
    fs = blobdir.open_project(root, index="none").filesystem
    return {path: bytes(fs.cat_file(path)) for path in fs.find("") if not path.startswith(".")}


def blobs(root):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (root / "blob").glob("*.tar")}


def is_sound(root):
    report = verify(root, decode=True)
    return [f for f in report.findings if f.severity == "error" or "annotation" in f.code] == []


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(6):
        Image.new("RGB", (9 + i, 7), (i, 2, 3)).save(folder / f"n{i}.png")
    return sorted(folder.iterdir())


@pytest.fixture
def project(pictures, tmp_path):
    source = tmp_path / "source/train"
    for i in range(12):
        target = source / f"p{i:02d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((20, 20), 50 + i).save(target)
    blobdir.pack(tmp_path / "source", tmp_path / "p", blobdir.PackOptions(shard_images=5))
    return tmp_path / "p"


def test_add(project, pictures):
    before, old = view(project), blobs(project)
    report = add(project, "train", pictures)
    assert report.images == 6 and re.fullmatch(r"blob/train-0003-[0-9a-f]{8}\.tar", *report.blobs)
    after = view(project)
    assert {path: after[path] for path in before} == before
    for path in pictures:
        assert after[f"train/img/{path.name}"] == path.read_bytes()
    assert old.items() <= blobs(project).items()
    assert is_sound(project)
    assert verify(project).checksums == 4


def test_add_to_a_new_dataset(project, pictures, tmp_path):
    (tmp_path / "ann").mkdir()
    (tmp_path / "ann/n0.png.json").write_text('{"size": {"height": 7, "width": 9}, "objects": [], "tags": []}')
    add(project, "val/hard", pictures[:2], annotations=tmp_path / "ann")
    opened = blobdir.open_project(project)
    assert opened["val/hard"].names == ["n0.png", "n1.png"]
    assert opened["val/hard"].path == "val/datasets/hard"
    assert view(project)["val/datasets/hard/ann/n0.png.json"] == (tmp_path / "ann/n0.png.json").read_bytes()
    assert is_sound(project)


def test_add_what_is_there(project, pictures, tmp_path):
    other = shutil.copy(pictures[0], tmp_path / "p03.png")
    before = view(project)
    with pytest.raises(UsageError, match=r"p03.png: is in train already"):
        add(project, "train", [other])
    assert view(project) == before
    add(project, "train", [other], replace=True)
    after = view(project)
    assert after["train/img/p03.png"] == pictures[0].read_bytes()
    assert len(after) == len(before)


def test_add_what_cant_be(project, pictures, tmp_path):
    before = view(project)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(PackError, match="nothing was added"):
        add(project, "train", [*pictures, tmp_path / "text.png"])
    with pytest.raises(UsageError, match="no files"):
        add(project, "train", [])
    with pytest.raises(UsageError, match="can't be the name"):
        add(project, "../x", pictures)
    assert view(project) == before
    assert not list((project / ".blobdir").glob("staging"))


def test_remove(project):
    before, old = view(project), blobs(project)
    remove(project, ["train/p01.png", "train/img/p07.png"])
    gone = {f"train/{kind}" for kind in ("img/p01.png", "img/p07.png", "ann/p01.png.json", "ann/p07.png.json")}
    assert view(project) == {path: data for path, data in before.items() if path not in gone}
    assert blobs(project) == old
    with pytest.raises(NotFoundError, match=r"none.png"):
        remove(project, ["train/p02.png", "train/none.png"])
    assert "train/img/p02.png" in view(project)


def test_move(project):
    before, old = view(project), blobs(project)
    move(project, ["train/p01.png", "train/p07.png"], "test")
    moved = {}
    for path, data in before.items():
        new = path.replace("train/", "test/") if "p01" in path or "p07" in path else path
        moved[new] = data
    assert view(project) == moved
    assert blobs(project) == old
    assert is_sound(project)
    move(project, ["test/p01.png", "test/p07.png"], "train")
    assert view(project) == before


def test_compact(project, pictures):
    add(project, "train", pictures)
    remove(project, [f"train/p{i:02d}.png" for i in (0, 1, 2, 3, 5)] + ["train/n0.png"])
    move(project, ["train/p06.png"], "test")
    before = view(project)
    held = blobdir.open_project(project)
    report = compact(project)
    assert report.freed == 0  # all of it is less than a tar's smallest step of 10 KiB
    remove(project, ["train/p04.png"])
    before = view(project)
    report = compact(project)
    assert report.freed > 0
    assert view(project) == before
    assert held["test"].get_blob_img_bytes("p06.png") == before["test/img/p06.png"]
    assert is_sound(project)


def test_compact_rewrites(tmp_path):
    source = tmp_path / "source/train"
    source.mkdir(parents=True)
    for i in range(20):
        Image.effect_noise((100, 100), 90).save(source / f"{i:02d}.png")
    blobdir.pack(tmp_path / "source", tmp_path / "p")
    project = tmp_path / "p"
    move(project, ["train/05.png"], "test")
    remove(project, [f"train/{i:02d}.png" for i in range(20) if i not in (3, 5, 9)])
    before, size = view(project), sum(path.stat().st_size for path in (project / "blob").glob("*.tar"))
    report = compact(project)
    assert re.fullmatch(r"blob/train-0000-[0-9a-f]{8}\.tar", *report.blobs)
    assert size - report.freed == (project / report.blobs[0]).stat().st_size < size / 4
    assert view(project) == before
    assert is_sound(project)
    assert verify(project).findings == []
    assert compact(project).blobs == []


def test_one_at_a_time(project, pictures):
    with Change(str(project)), pytest.raises(BusyError, match=f"process {os.getpid()} is changing it"):
        add(project, "train", pictures)
    add(project, "train", pictures)
