"""Side files: which belong to an image, and to which images one belongs."""

from __future__ import annotations

from posixpath import splitext

import pytest
from blob_builder import Builder

from blobdir.datasets import open_view
from blobdir.packing.sidefiles import SideFiles, bases, owners, side_candidates, side_files

LONG = "n" * 246 + ".png"  # 250 bytes; its annotation's name has 255
LONGEST = "n" * 251 + ".png"  # nothing that is named after it can be


@pytest.mark.parametrize("name", ["a.png", "sub/a.png", "a", "a.b.png", ".hidden", "\udcff.png", "ü.png", LONG])
def test_candidates(name):
    stem = name.removesuffix(".png")
    found = {one.path: one.by_stem for one in side_candidates(name)}
    for folder, suffix in (("ann", ".json"), ("meta", ".json"), ("img_info", ".json"), ("seg", ".png")):
        assert found.pop(f"{folder}/{name}{suffix}") is False
        assert stem == name or found.pop(f"{folder}/{stem}{suffix}") is True
    assert {path.partition("/")[0] for path in found} == {"masks_human", "masks_instances", "masks_machine"}
    assert f"masks_machine/{stem}.png" in found
    assert f"masks_instances/{stem}" in found


def test_names_that_no_file_can_have_are_no_candidates():
    assert not [one for one in side_candidates(LONGEST) if len(one.path.rpartition("/")[2]) > 255]
    assert "seg/" + LONGEST in {one.path for one in side_candidates(LONGEST)}  # by the stem it can
    assert side_candidates("a.png", ["seg"]) == side_candidates("a.png")[6:8]


@pytest.mark.parametrize(
    ("there", "name", "has"),
    [
        ({"ann/a.png.json", "ann/a.json"}, "a.png", ["ann/a.png.json"]),
        ({"ann/a.json"}, "a.png", ["ann/a.json"]),
        ({"ann/a.json", "meta/a.png.json"}, "a.png", ["ann/a.json", "meta/a.png.json"]),
        ({"ann/a.json"}, "a", ["ann/a.json"]),
        ({"ann/a.json"}, "b.png", []),
        ({"seg/a.png.png", "seg/a.png"}, "a.png", ["seg/a.png.png"]),
        ({"masks_human/a.png", "masks_human/a.png.png"}, "a.png", ["masks_human/a.png.png", "masks_human/a.png"]),
        ({"masks_instances/a", "masks_other/a"}, "a.png", ["masks_instances/a"]),
        ({"ann/sub/a.json", "ann/a.json"}, "sub/a.png", ["ann/sub/a.json"]),
    ],
)
def test_files_of_an_image(there, name, has):
    assert [one.path for one in side_files(name, there.__contains__)] == has


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ann/a.json", ["a"]),
        ("ann/sub/a.png.json", ["sub/a.png"]),
        ("ann/a.txt", []),
        ("img/a.png", []),
        ("seg/a.png", ["a"]),
        ("masks_machine/a.png", ["a"]),
        ("masks_instances/sub/a/lemon_1.png", ["sub/a/lemon_1", "sub/a", "sub"]),
        ("masks_", []),
    ],
)
def test_bases(path, expected):
    assert bases(path) == expected


IMAGES = ["a", "a.bmp", "a.png", "a.png.jpg", "ab.png", "b.png", "sub/a.png", "sub.png"]
FILES = ["ann/a.json", "ann/a.png.json", "ann/ab.png.json", "meta/b.json", "masks_instances/sub/a.png"]
OWNERS = {
    "ann/a.json": ["a", "a.bmp"],  # a.png has its own
    "ann/a.png.json": ["a.png", "a.png.jpg"],
    "ann/ab.png.json": ["ab.png"],
    "meta/b.json": ["b.png"],
    "masks_instances/sub/a.png": ["sub/a.png", "sub.png"],
}


@pytest.mark.parametrize("path", FILES)
def test_owners(path):
    assert owners(path, lambda _: IMAGES, FILES.__contains__) == OWNERS[path]
    for name in IMAGES:
        assert (path in {one.path for one in side_files(name, FILES.__contains__)}) == (
            name in OWNERS[path] and not (path.startswith("masks") and name == "sub.png")  # that one has the folder
        )


@pytest.fixture
def dataset(tmp_path):
    made = Builder(tmp_path / "p")
    members = [name for name in IMAGES if name != "sub.png"]
    entries = made.tar("b", {name: name.encode() for name in members})
    made.offsets("train", "b", [(n.encode(), low, high) for n, (_, low, high) in zip(members, entries, strict=True)])
    made.loose("train/img/sub.png", b"a plain file")
    made.loose("train/img/sub.txt", b"no image")
    for path in [*FILES, "masks_instances/sub/deep/x_1.png", "masks_x/b.png", "seg/none.png"]:
        made.loose(f"train/{path}", b"{}")
    return open_view(made.root)["train"]


def test_side_files_of_a_dataset(dataset):
    files = SideFiles(dataset._tree, dataset)
    assert set(files.folders) == {"ann", "meta", "masks_instances", "masks_x", "seg"}
    assert {path: files.owners(path) for path in FILES} == OWNERS
    assert list(files.of("sub.png")) == ["masks_instances/sub/a.png", "masks_instances/sub/deep/x_1.png"]
    assert list(files.of("b.png")) == ["masks_x/b.png", "meta/b.json"]
    assert list(files.of("a.png")) == ["ann/a.png.json"]
    assert files.owners("ann/a.json", gone=["a"]) == ["a.bmp"]
    assert files.owners("ann/a.json", gone=["a", "a.bmp"]) == []
    assert files.owners("seg/none.png") == []


@pytest.mark.parametrize("base", ["a", "a.png", "ab", "sub", "sub/a", "sub/none", "none/a", "", "b.png"])
def test_images_named(dataset, base):
    expected = {name for name in dataset.names if base in (name, splitext(name)[0])}
    assert set(dataset.named(base)) == expected
