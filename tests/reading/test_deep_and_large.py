"""Folders that lie deeper than functions can call each other, and members that say that they are as large as can be."""

import subprocess

import pytest
from blob_builder import Builder

import blobdir
from blobdir.cli.app import run
from blobdir.errors import ReadError

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

DEPTH = 1200
BELOW = "/".join("d" * DEPTH)


def on_disk(made):
    made.loose("train/img/0.jpg", b"")
    folder = made.root / "train/img"
    for low in range(0, DEPTH, 100):
        folder = folder / "/".join("d" * min(100, DEPTH - low))
        folder.mkdir(parents=True)
    (folder / "x.jpg").write_bytes(b"x")
    made.blob("train", "a", {"1.jpg": b"1"})


def in_names(made):
    entries = made.blob("train", "a", {f"{i}.jpg": b"1" for i in range(DEPTH)})
    entries[5] = (f"{BELOW}/x.jpg".encode(), *entries[5][1:])
    made.offsets("train", "a", entries)


WAYS = {
    "find": lambda fs: len(fs.find("train/img", withdirs=True)) - len(fs.find("train/img")) - 1,
    "walk": lambda fs: len([path for path, _, _ in fs.walk("train/img")]) - 1,
    "walk upwards": lambda fs: [path for path, _, _ in fs.walk("train/img", topdown=False)].index("train/img"),
    "walk with details": lambda fs: len([path for path, _, _ in fs.walk("train/img", detail=True)]) - 1,
    "glob": lambda fs: len(fs.glob("train/img/**/d")),
    "du": lambda fs: len(fs.du("train/img", total=False, withdirs=True)) - len(fs.find("train/img")) - 1,
    "info": lambda fs: DEPTH if fs.info(f"train/img/{BELOW}")["type"] == "directory" else 0,
}


@pytest.fixture(params=[on_disk, in_names])
def deep(request, tmp_path):
    made = Builder(tmp_path / "p")
    request.param(made)
    yield made.root
    subprocess.run(["rm", "-rf", made.root], check=True)  # Python's own way has no room for so many


@pytest.mark.parametrize("way", WAYS)
def test_deep_folders(deep, way):
    assert WAYS[way](blobdir.open_project(deep).filesystem) == DEPTH


def test_deep_folders_are_drawn(deep, capsys):
    assert run(["tree", str(deep / "train/img"), "-d"]) == 0
    assert f"{DEPTH} directories" in capsys.readouterr().out.replace(",", "")


@pytest.mark.parametrize(("topdown", "count"), [(True, 2), (False, DEPTH + 1)])
def test_who_walks_may_leave_folders_out(deep, topdown, count):
    found = []
    for path, folders, _ in blobdir.open_project(deep).filesystem.walk("train/img", topdown=topdown):
        found.append(path)
        if path.endswith("/d"):
            folders.clear()
    assert len(found) == count


@pytest.mark.parametrize("size", [2**63 - 1, 2**62])
def test_members_as_large_as_can_be(tmp_path, size):
    made = Builder(tmp_path / "p")
    entries = made.blob("train", "a", {f"{i}.jpg": b"1" * 10 for i in range(9)})
    huge = {2: (0, size), 5: (2**63 - 1 - 10, 2**63 - 1), 6: (1, size)}
    made.offsets("train", "a", [(e[0], *huge.get(i, e[1:])) for i, e in enumerate(entries)])
    project = blobdir.open_project(made.root)
    fs = project.filesystem
    total = 7 * 10 + size + size - 1
    assert fs.du("train/img") == project.filesystem.view.total_bytes() == total
    found = fs.cat("train/img", recursive=True, on_error="return")
    assert sum(isinstance(data, ReadError) for data in found.values()) == 3
    with pytest.raises(ReadError):
        project["train"].read_many(project["train"].names)
