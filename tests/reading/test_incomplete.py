"""No listing is shorter than the truth without a word: neither what is listed, nor what goes through it."""

from __future__ import annotations

import os

import fsspec
import pytest
from project_factory import make_project

from blobdir import BlobDirFileSystem
from blobdir.errors import IncompleteListingError

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

FILES = {f"{dataset}/img/{i}.jpg": b"%d" % i * 50 for i in range(40) for dataset in ("train", "test")}


@pytest.fixture
def root(tmp_path):
    made = make_project(tmp_path / "p", FILES)
    (cut,) = (made / "train").glob("*.pkl")
    os.truncate(cut, cut.stat().st_size - 300)
    return made


@pytest.fixture
def fs(root):
    return BlobDirFileSystem(root, index="none", skip_instance_cache=True)


def local(folder):
    return os.path.join(str(folder), "copy")


CALLS = {
    "ls": lambda fs, at, _: fs.ls(at, detail=False),
    "ls detail": lambda fs, at, _: fs.ls(at),
    "listdir": lambda fs, at, _: fs.listdir(at),
    "scandir": lambda fs, at, _: list(fs.scandir(at)),
    "find": lambda fs, at, _: fs.find(at),
    "find detail": lambda fs, at, _: fs.find(at, detail=True),
    "find withdirs": lambda fs, at, _: fs.find(at, withdirs=True),
    "find maxdepth": lambda fs, at, _: fs.find(at, maxdepth=3),
    "glob": lambda fs, at, _: fs.glob(f"{at}/**"),
    "glob names": lambda fs, at, _: fs.glob(f"{at}/*.jpg"),
    "glob detail": lambda fs, at, _: fs.glob(f"{at}/*", detail=True),
    "glob maxdepth": lambda fs, at, _: fs.glob(f"{at}/**", maxdepth=2),
    "du": lambda fs, at, _: fs.du(at),
    "du each": lambda fs, at, _: fs.du(at, total=False),
    "du withdirs": lambda fs, at, _: fs.du(at, total=False, withdirs=True),
    "disk_usage": lambda fs, at, _: fs.disk_usage(at),
    "expand_path": lambda fs, at, _: fs.expand_path(at, recursive=True),
    "expand_path pattern": lambda fs, at, _: fs.expand_path(f"{at}/*"),
    "cat": lambda fs, at, _: fs.cat(at, recursive=True),
    "cat omit": lambda fs, at, _: fs.cat(at, recursive=True, on_error="omit"),
    "cat return": lambda fs, at, _: fs.cat(f"{at}/*", on_error="return"),
    "get": lambda fs, at, to: fs.get(at, local(to), recursive=True),
    "download": lambda fs, at, to: fs.download(at, local(to), recursive=True),
    "get pattern": lambda fs, at, to: fs.get(f"{at}/*", local(to)),
    "mapper": lambda fs, at, _: list(fs.get_mapper(at)),
    "open_files": lambda fs, at, _: fsspec.open_files(f"blobdir://{at}/*::{fs.fo}"),
    "tree": lambda fs, at, _: fs.tree(at),
}  # fmt: skip
WALKS = [
    {**detail, **order, **depth, **error}
    for detail in ({}, {"detail": True})
    for order in ({}, {"topdown": False})
    for depth in ({}, {"maxdepth": 4})
    for error in ({}, {"on_error": "omit"}, {"on_error": "raise"})
]


def walked(options):
    return lambda fs, at, _: list(fs.walk(at, **options))


CALLS |= {f"walk {options}": walked(options) for options in WALKS}
THROUGH = ["find", "find detail", "find withdirs", "glob", "du", "du each", "disk_usage", "expand_path", "cat",
           "cat omit", "get", "download", "mapper", *(name for name in CALLS if name.startswith("walk"))]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_a_folder(fs, call, tmp_path):
    with pytest.raises(IncompleteListingError, match="train/img"):
        CALLS[call](fs, "train/img", tmp_path)
    CALLS[call](fs, "test/img", tmp_path)


@pytest.mark.parametrize("at", ["", "train"])
@pytest.mark.parametrize("call", THROUGH)
def test_what_is_above(fs, call, at, tmp_path):
    with pytest.raises(IncompleteListingError, match="train/img"):
        CALLS[call](fs, at, tmp_path)


@pytest.mark.parametrize("detail", [False, True])
@pytest.mark.parametrize("topdown", [False, True])
def test_who_asks_for_errors_gets_them(fs, detail, topdown):
    errors = []
    found = list(fs.walk("", detail=detail, topdown=topdown, on_error=errors.append))
    assert [type(error) for error in errors] == [IncompleteListingError]
    assert "train/img" not in [path for path, _, _ in found]
    assert "test/img" in [path for path, _, _ in found]


@pytest.mark.parametrize("topdown", [False, True])
@pytest.mark.parametrize("maxdepth", [None, 1, 2])
@pytest.mark.parametrize("at", ["", "test", "test/img", "test/img/3.jpg", "none"])
def test_walk_with_details_is_that_without(root, at, maxdepth, topdown):
    fs = BlobDirFileSystem(root, on_defect="ignore", index="none", skip_instance_cache=True)
    plain = list(fs.walk(at, maxdepth=maxdepth, topdown=topdown))
    detailed = list(fs.walk(at, maxdepth=maxdepth, topdown=topdown, detail=True))
    assert [(path, list(folders), list(files)) for path, folders, files in detailed] == plain
    for path, folders, files in detailed:
        for name, info in {**folders, **files}.items():
            full = "/".join(part for part in (path, name) if part)
            assert info == next(one for one in fs.ls(full.rpartition("/")[0]) if one["name"] == full)


@pytest.mark.parametrize("detail", [False, True])
def test_who_walks_says_where_to(root, detail):
    fs = BlobDirFileSystem(root, index="none", skip_instance_cache=True)
    seen = []
    for path, folders, _ in fs.walk("", detail=detail):
        seen.append(path)
        if "train" in folders:
            folders.remove("train") if isinstance(folders, list) else folders.pop("train")
    assert "test/img" in seen
    assert not any(path.startswith("train") for path in seen)
