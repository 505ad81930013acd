"""What may be in a folder that can't be listed isn't said to be missing: by nobody who looks for it by name."""

from __future__ import annotations

import errno
import warnings

import fsspec
import pytest
from blob_builder import Builder

import blobdir
from blobdir.errors import BlobdirWarning, IncompleteListingError, NotFoundError, UsageError
from blobdir.packing import SubsetOptions, add, move, remove, subset
from blobdir.sources import LocalStorage
from blobdir.verifying import verify

PNG = b"\x89PNG\r\n\x1a\n"
PLACES = {
    "train": ("train", "train", "train/img/a0.png"),
    "train/hard": ("train/datasets/hard", "train/hard", "train/datasets/hard/img/c0.png"),
    "nested ones": ("train/datasets", "train/hard", "train/datasets/hard/img/c0.png"),
    "above": ("more", "more/deep", "more/deep/img/d0.png"),
}


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        yield


@pytest.fixture
def root(tmp_path):
    made = Builder(tmp_path / "p")
    for dataset, blob in (("train", "a"), ("val", "b"), ("train/datasets/hard", "c"), ("more/deep", "d")):
        made.blob(dataset, blob, {f"{blob}{i}.png": PNG + bytes([i]) for i in range(3)})
    return made.root


@pytest.fixture(params=PLACES)
def hidden(request, root, monkeypatch):
    """A folder that can't be listed; the name of a dataset in it, and the path of an image."""
    listed, place = LocalStorage._list, PLACES[request.param]

    def refused(self, path, follow_links):
        if path == place[0]:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listed(self, path, follow_links)

    monkeypatch.setattr(LocalStorage, "_list", refused)
    return place


def fs_of(root):
    return fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)


def chosen(root, **options):
    return subset(root, root.parent / "s", SubsetOptions(**options))


CALLS = {
    "exists": lambda root, name, path: fs_of(root).exists(path),
    "isfile": lambda root, name, path: fs_of(root).isfile(path),
    "cat": lambda root, name, path: fs_of(root).cat(path),
    "info": lambda root, name, path: fs_of(root).info(path),
    "dataset": lambda root, name, path: blobdir.open_project(root)[name],
    "in": lambda root, name, path: name in blobdir.open_project(root),
    "remove": lambda root, name, path: remove(root, [path]),
    "remove by name": lambda root, name, path: remove(root, [f"{name}/{path.rpartition('/')[2]}"]),
    "move": lambda root, name, path: move(root, [path], "test"),
    "move by name": lambda root, name, path: move(root, [f"{name}/{path.rpartition('/')[2]}"], "test"),
    "move into": lambda root, name, path: move(root, ["val/b0.png"], name),
    "move below": lambda root, name, path: move(root, ["val/b0.png"], f"{name}/new"),
    "add": lambda root, name, path: add(root, name, [root.parent / "x.png"]),
    "subset by path": lambda root, name, path: chosen(root, names=(path,)),
    "subset by name": lambda root, name, path: chosen(root, names=(f"{name}/{path.rpartition('/')[2]}",)),
    "subset by bare name": lambda root, name, path: chosen(root, names=(path.rpartition("/")[2],)),
    "subset by pattern": lambda root, name, path: chosen(root, patterns=(f"{name}/*",)),
    "subset of a dataset": lambda root, name, path: chosen(root, datasets=(name,)),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_may_be_there(root, hidden, call):
    folder, name, path = hidden
    (root.parent / "x.png").write_bytes(PNG)
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file() and ".blobdir" not in file.parts}
    with pytest.raises(IncompleteListingError, match=f"{folder}: can't be listed"):
        CALLS[call](root, name, path)
    after = {file: file.read_bytes() for file in root.rglob("*") if file.is_file() and ".blobdir" not in file.parts}
    assert after == before
    assert not (root.parent / "s").exists()


def test_verify_names_it(root, hidden):
    found = {(finding.code, finding.path) for finding in verify(root).findings}
    assert {("folder-unreadable", hidden[0]), ("not-checked", hidden[0])} <= found


def test_what_cant_be_there(root, hidden):
    """A name that belongs elsewhere is missing, and what is seen can be had."""
    assert not fs_of(root).exists("val/img/none.png")
    assert "none" not in blobdir.open_project(root)
    for call in (lambda: remove(root, ["val/none.png"]), lambda: chosen(root, names=("val/none.png",))):
        with pytest.raises(NotFoundError):
            call()
    with pytest.raises(UsageError):
        chosen(root, datasets=("none",))
    assert remove(root, ["val/b0.png"]).images == 1
    assert chosen(root, datasets=("val",)).datasets == {"val": 2}


def test_another_image_isnt_taken_for_it(root, monkeypatch):
    """`train/hard/c0.png` is that of the dataset with the longest name, and those aren't all seen."""
    (root / "train/img/hard").mkdir(parents=True)
    (root / "train/img/hard/c0.png").write_bytes(PNG)
    listed = LocalStorage._list

    def refused(self, path, follow_links):
        if path == "train/datasets":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listed(self, path, follow_links)

    monkeypatch.setattr(LocalStorage, "_list", refused)
    with pytest.raises(IncompleteListingError):
        remove(root, ["train/hard/c0.png"])
    assert remove(root, ["train/img/hard/c0.png"]).images == 1
