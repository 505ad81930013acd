"""What has begun goes on with the tree that it began with, whoever opens the project anew meanwhile."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import threading
import time

import fsspec
import pytest
from project_factory import make_project

from blobdir import BlobDirFileSystem, open_project
from blobdir.errors import UsageError
from blobdir.packing import add_blob_file

FIRST = {f"train/img/b{i:03d}.jpg": b"first %d" % i * 50 for i in range(100)}
SECOND = {f"train/img/{c}{i:03d}.jpg": b"other %s %d" % (c.encode(), i) * 60 for c in "ab" for i in range(100)}
"""Rows of the same names are others."""


class Switching:
    """A place where now the one and now the other project is."""

    def __init__(self, folder):
        self.place = folder / "p"
        self._folders = [make_project(folder / "first", FIRST), make_project(folder / "second", SECOND)]
        self.place.symlink_to(self._folders[0])

    def switch(self):
        self._folders.reverse()
        beside = self.place.with_name("next")
        beside.symlink_to(self._folders[0])
        beside.replace(self.place)


@pytest.fixture
def switching(tmp_path):
    return Switching(tmp_path)


@pytest.fixture
def fs(switching):
    return BlobDirFileSystem(str(switching.place), skip_instance_cache=True)


def test_open_files(switching, fs):
    file = fs.open("train/img/b007.jpg", block_size=16, cache_type="none")
    begun = file.read(10)
    switching.switch()
    fs.invalidate_cache()
    assert begun + file.read() == FIRST["train/img/b007.jpg"]
    assert fs.cat("train/img/b007.jpg") == SECOND["train/img/b007.jpg"]


def test_listings_under_way(switching, fs):
    listing, walk = fs.scandir("train/img"), fs.walk("")
    names, top = [next(listing)["name"]], next(walk)
    switching.switch()
    fs.invalidate_cache()
    names += [info["name"] for info in listing]
    assert names == sorted(FIRST)
    assert sorted(f"{path}/{name}" for path, _, files in [top, *walk] for name in files if "img" in path) == sorted(
        FIRST
    )


def test_datasets(switching, fs):
    project = open_project(str(switching.place))
    dataset, read = project["train"], project["train"].get_blob_img_bytes
    switching.switch()
    project.filesystem.invalidate_cache()
    assert len(dataset.names) == len(FIRST)
    assert read("b005.jpg") == FIRST["train/img/b005.jpg"]
    assert project["train"].get_blob_img_bytes("b005.jpg") == SECOND["train/img/b005.jpg"]


@pytest.mark.parametrize("call", [
    lambda fs: fs.cat("train/img/b050.jpg"), lambda fs: fs.cat(sorted(FIRST)), lambda fs: fs.find("train", detail=True),
    lambda fs: fs.glob("train/img/?01*.jpg"), lambda fs: fs.du("train", total=False), lambda fs: fs.ls("train/img"),
    lambda fs: list(fs.walk("", detail=True)), lambda fs: fs.cat("train/img", recursive=True),
    lambda fs: fs.cat_ranges(["train/img/b001.jpg", "train/img/b099.jpg"], 3, [30, -2]),
    lambda fs: fs.read_block("train/img/b050.jpg", 3, 100), lambda fs: fs.size("train/img/b050.jpg"),
    lambda fs: fs.info("train/img/b099.jpg"), lambda fs: fs.open("train/img/b050.jpg").read(),
    lambda fs: fs.expand_path("train", recursive=True),
])  # fmt: skip
def test_many_refreshes(tmp_path, call):
    """Each answer is that of the one tree or of the other, whole."""
    first = BlobDirFileSystem(str(make_project(tmp_path / "first", FIRST)), skip_instance_cache=True)
    second = BlobDirFileSystem(str(make_project(tmp_path / "second", SECOND)), skip_instance_cache=True)
    fs = BlobDirFileSystem(str(tmp_path / "first"), skip_instance_cache=True)
    allowed = [call(first), call(second)]
    assert allowed[0] != allowed[1]
    stop, wrong = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                if (found := call(fs)) not in allowed:
                    wrong.append(found)
            except Exception as error:
                wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    end, trees = time.monotonic() + 0.7, [first.view, second.view]
    while time.monotonic() < end and not wrong:
        trees.reverse()
        fs.view = trees[0]  # what a refresh does, many thousand times a second
    stop.set()
    for reader in readers:
        reader.join()
    assert not wrong


# -- instances ---------------------------------------------------------------------------------------------------


def test_a_relative_path_is_that_of_now(tmp_path, monkeypatch):
    for name, files in (("x", FIRST), ("y", SECOND)):
        make_project(tmp_path / name / "p", files)
    found = []
    for name in ("x", "y"):
        monkeypatch.chdir(tmp_path / name)
        found.append((fsspec.filesystem("blobdir", fo="p"), BlobDirFileSystem("p"), open_project("p").filesystem))
    monkeypatch.chdir(tmp_path)
    for instances, files in zip(found, (FIRST, SECOND), strict=True):
        for fs in instances:
            assert fs.cat("train/img/b001.jpg") == files["train/img/b001.jpg"]
            fs.invalidate_cache()
            again = pickle.loads(pickle.dumps(fs))
            assert again.cat("train/img/b001.jpg") == files["train/img/b001.jpg"]


@pytest.mark.parametrize("way", ["filesystem", "url", "class"])
def test_an_instance_that_is_asked_for_again_shows_new_images(tmp_path, monkeypatch, way):
    root = make_project(tmp_path / "p", FIRST)
    monkeypatch.setattr("blobdir.filesystem.LOOK_AGAIN_S", 0.0)

    def get():
        if way == "url":
            with fsspec.open(f"blobdir://train/img/a001.jpg::{root}") as file:
                return file.read()
        made = fsspec.filesystem("blobdir", fo=str(root)) if way == "filesystem" else BlobDirFileSystem(str(root))
        return made.cat("train/img/a001.jpg")

    with pytest.raises(FileNotFoundError):
        get()
    tar = tmp_path / "more.tar"
    blobs = make_project(tmp_path / "more", {p: d for p, d in SECOND.items() if "/a" in p})
    (blob,) = (blobs / "blob").iterdir()
    blob.rename(tar)
    add_blob_file(root, tar, "train")
    assert get() == SECOND["train/img/a001.jpg"]


def replace_all(root, other, how):
    """Put the files of another project over those of one, with all their times."""
    for path in (path for path in other.rglob("*") if path.is_file()):
        beside = root / path.relative_to(other).with_name(".beside")
        if how != "linked":
            shutil.copy2(path, beside)
        else:
            os.link(path, beside)
        if how == "in place":
            (root / path.relative_to(other)).write_bytes(path.read_bytes())
            shutil.copystat(path, root / path.relative_to(other))
            beside.unlink()
        else:
            beside.replace(root / path.relative_to(other))


@pytest.mark.parametrize("how", ["renamed", "linked", "in place"])
@pytest.mark.parametrize("has_copy", [False, True], ids=["", "with a copy by hard links"])
@pytest.mark.parametrize("way", ["invalidate_cache", "asked again"])
def test_blobs_of_one_size_and_time_that_are_replaced(tmp_path, monkeypatch, way, has_copy, how):
    """What was renamed over a file has its time of change, so its size and times say nothing. `rsync -c` does so."""
    monkeypatch.setattr("blobdir.filesystem.LOOK_AGAIN_S", 0.0)
    names = [f"{i}.jpg" for i in range(3)]
    made = [
        make_project(tmp_path / letter, {f"train/img/{name}": name.encode() * 99 for name in order})
        for letter, order in (("a", names), ("b", names[::-1]))
    ]
    for path in (path for root in made for path in root.rglob("*") if path.is_file()):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    root = tmp_path / "p"
    shutil.copytree(made[0], root)
    if has_copy:
        subprocess.run(["cp", "-al", str(root), str(tmp_path / "copy")], check=True)
    fs = fsspec.filesystem("blobdir", fo=str(root))
    assert fs.cat(f"train/img/{names[0]}") == names[0].encode() * 99
    for other in made[::-1]:
        replace_all(root, other, how)
        if way == "invalidate_cache":
            fs.invalidate_cache()
        assert fsspec.filesystem("blobdir", fo=str(root)) is fs
        for name in names:
            assert fs.cat(f"train/img/{name}") == name.encode() * 99


@pytest.mark.parametrize("where", ["the project", "a folder above"])
@pytest.mark.parametrize("way", ["filesystem", "url"])
def test_a_link_that_leads_elsewhere_now(tmp_path, monkeypatch, way, where):
    """As ``current`` to the newest release."""
    monkeypatch.setattr("blobdir.filesystem.LOOK_AGAIN_S", 0.0)
    for name, files in (("x", FIRST), ("y", SECOND)):
        make_project(tmp_path / name / "p", files)
    link, below = tmp_path / "current", "" if where == "the project" else "/p"

    def get():
        if way == "filesystem":
            return fsspec.filesystem("blobdir", fo=f"{link}{below}").cat("train/img/b001.jpg")
        with fsspec.open(f"blobdir://train/img/b001.jpg::{link}{below}") as file:
            return file.read()

    for name, files in (("x", FIRST), ("y", SECOND), ("x", FIRST)):
        link.unlink(missing_ok=True)
        link.symlink_to(f"{name}/p" if where == "the project" else name)
        assert get() == files["train/img/b001.jpg"]


def test_an_unchanged_project_is_not_opened_again(tmp_path, monkeypatch):
    root = make_project(tmp_path / "p", FIRST)
    then = time.time() - 100
    for path in [root, *root.rglob("*")]:
        os.utime(path, (then, then))
    time.sleep(0.05)  # what was changed a moment ago isn't trusted
    monkeypatch.setattr("blobdir.filesystem.LOOK_AGAIN_S", 0.0)
    first = fsspec.filesystem("blobdir", fo=str(root))
    view = first.view
    again = fsspec.filesystem("blobdir", fo=str(root))
    assert again is first
    assert again.view is view


@pytest.mark.parametrize(("option", "meant"), [
    ("folow_links", "follow_links"), ("ondefect", "on_defect"), ("show_blob", "show_blobs"), ("cache", "cache_dir"),
    ("zzz", None),
])  # fmt: skip
@pytest.mark.parametrize("make", [
    lambda root, options: open_project(root, **options), lambda root, options: BlobDirFileSystem(root, **options),
    lambda root, options: fsspec.filesystem("blobdir", fo=root, **options),
    lambda root, options: fsspec.open(f"blobdir://meta.json::{root}", blobdir=options).open(),
])  # fmt: skip
def test_misspelt_options(tmp_path, make, option, meant):
    root = make_project(tmp_path / "p", {"train/img/a.jpg": b"a"})
    with pytest.raises(UsageError, match=f"{option}: .*{meant or ''}") as caught:
        make(str(root), {option: True})
    assert ("did you mean" in str(caught.value)) == bool(meant)
    BlobDirFileSystem(str(root), skip_instance_cache=True, use_listings_cache=False, listings_expiry_time=3)
