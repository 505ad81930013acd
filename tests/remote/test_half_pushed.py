"""A place where a push was cut off: nobody knows which lists are whole, so none is taken for whole."""

from __future__ import annotations

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from project_factory import make_project

from blobdir.cli.app import run
from blobdir.errors import BlobdirError, IncompleteListingError
from blobdir.filesystem import BlobDirFileSystem
from blobdir.moving import push

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
FILES = {f"{dataset}/{kind}/{i}.{end}": b"{}" for dataset in ("train", "train/datasets/hard", "test")
         for kind, end in (("img", "jpg"), ("ann", "jpg.json")) for i in range(3)}  # fmt: skip


@pytest.fixture(params=["pushing", "pushing, index", "journal", "journal, index", "journal, known index"])
def place(tmp_path, request):
    """Some of the files are gone, as between the steps of a push that takes them away first.

    The index stays where somebody changes the project on a disk of his own; then it's what readers take.
    """
    url = f"memory://half-{tmp_path.name}"
    push(make_project(tmp_path / "p", FILES), url)
    memory = MemoryFileSystem()
    root = url.removeprefix("memory:/")
    if "known" in request.param:
        assert BlobDirFileSystem(fo=url, skip_instance_cache=True).exists("train/img/0.jpg")
    memory.pipe_file(f"{root}/.blobdir/{request.param.partition(',')[0]}.json", b"{}")
    for path in memory.find(root):
        is_index = path.endswith("index.tar") and "index" not in request.param
        if ("train" in path and path.endswith((".pkl", "0.jpg.json"))) or is_index:
            memory.rm_file(path)
    yield url
    memory.rm(root, recursive=True)


CALLS = {
    "exists, annotation": lambda fs: fs.exists("train/ann/0.jpg.json"),
    "exists, image": lambda fs: fs.exists("train/img/0.jpg"),
    "exists, folder": lambda fs: fs.exists("train/more"),
    "find": lambda fs: fs.find("train"),
    "ls": lambda fs: fs.ls("train/ann"),
    "ls of a nested one": lambda fs: fs.ls("train/datasets/hard/ann", detail=False),
    "walk": lambda fs: list(fs.walk("train")),
    "glob": lambda fs: fs.glob("train/ann/*"),
    "get": lambda fs: fs.get("train", "got", recursive=True),
}


@pytest.mark.parametrize("call", CALLS)
def test_lists_are_not_whole(place, call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fs = BlobDirFileSystem(fo=place, skip_instance_cache=True)
    with pytest.raises(IncompleteListingError, match="change was cut off|push was cut off"):
        CALLS[call](fs)
    assert not (tmp_path / "got/ann").exists()


@pytest.mark.parametrize("words", [["cp", "-r"], ["unpack"]])
def test_copies_say_what_is_missing(place, words, tmp_path, capfd):
    with_dataset = f"{place}/train" if words[0] == "cp" else place
    assert run([*words, with_dataset, str(tmp_path / "out")]) != 0
    assert "was cut off" in capfd.readouterr().err


def test_what_is_there_is_read_by_name(place):
    fs = BlobDirFileSystem(fo=place, skip_instance_cache=True)
    assert fs.cat_file("train/ann/1.jpg.json") == b"{}"
    with pytest.raises(BlobdirError):
        fs.cat_file("train/ann/0.jpg.json")
