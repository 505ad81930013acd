"""Backends that stand before others, and places that are given relative to the working directory."""

from __future__ import annotations

import pickle
import re
import shutil

import fsspec
import pytest
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from fsspec.implementations.cached import CachingFileSystem, SimpleCacheFileSystem, WholeFileCacheFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from project_factory import make_project

import blobdir
from blobdir import BlobDirFileSystem
from blobdir.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

FILES = {f"train/img/{i}.jpg": b"%d" % i * 100 for i in range(20)} | {
    f"train/ann/{i}.jpg.json": b"{}" for i in range(20)
}


class OwnDir(DirFileSystem):
    """Somebody's own."""


INNER = {
    "local": lambda folder: (LocalFileSystem(), str(folder)),
    "memory": lambda folder: (MemoryFileSystem(), "/there"),
    "async local": lambda folder: (AsyncFileSystemWrapper(LocalFileSystem()), str(folder)),
    "async memory": lambda folder: (AsyncFileSystemWrapper(MemoryFileSystem()), "/there"),
}
WRAPPERS = {
    "none": lambda fs, root: (fs, f"{root}/p"),
    "dir": lambda fs, root: (DirFileSystem(root, fs), "p"),
    "dir in dir": lambda fs, root: (DirFileSystem("p", DirFileSystem(root, fs)), ""),
    "dir of all": lambda fs, root: (DirFileSystem("/", fs), f"{root}/p".lstrip("/")),
    "somebody's dir": lambda fs, root: (OwnDir(root, fs), "p"),
    "simplecache": lambda fs, root: (SimpleCacheFileSystem(fs=fs), f"{root}/p"),
    "filecache": lambda fs, root: (WholeFileCacheFileSystem(fs=fs), f"{root}/p"),
    "blockcache": lambda fs, root: (CachingFileSystem(fs=fs), f"{root}/p"),
    "dir of simplecache": lambda fs, root: (DirFileSystem(root, SimpleCacheFileSystem(fs=fs)), "p"),
    "simplecache of dir": lambda fs, root: (SimpleCacheFileSystem(fs=DirFileSystem(root, fs)), "p"),
}


@pytest.fixture
def folder(tmp_path):
    make_project(tmp_path / "p", FILES, loose=["train/img/3.jpg"])
    memory = MemoryFileSystem()
    memory.put(str(tmp_path / "p"), "/there/p", recursive=True)
    yield tmp_path
    memory.rm("/there", recursive=True)


CASES = [(inner, wrapper) for inner in INNER for wrapper in WRAPPERS]


@pytest.mark.parametrize(("inner", "wrapper"), CASES)
def test_wrapped(folder, inner, wrapper):
    backend, path = WRAPPERS[wrapper](*INNER[inner](folder))
    fs = fsspec.filesystem("blobdir", fo=path, fs=backend, skip_instance_cache=True)
    assert [found for found in fs.find("") if found in FILES] == sorted(FILES)
    assert fs.cat(sorted(FILES)) == FILES
    assert fs.cat_file("train/img/7.jpg", 1, 5) == b"7777"
    assert fs.info("train/ann/7.jpg.json")["size"] == 2


URLS = {
    "file": lambda folder: ("file://p", {}),
    "local": lambda folder: ("local://p", {}),
    "path": lambda folder: ("p", {}),
    "path and protocol": lambda folder: ("p", {"target_protocol": "file"}),
    "simplecache": lambda folder: ("simplecache::file://p", {}),
    "simplecache of a path": lambda folder: ("simplecache::./p", {}),
    "filecache and options": lambda folder: ("filecache://p", {"target_options": {"target_protocol": "file"}}),
    "options": lambda folder: ("p", {"target_protocol": "simplecache", "target_options": {"target_protocol": "file"}}),
    "blockcache": lambda folder: ("blockcache::local://p", {}),
    "dir": lambda folder: ("dir://p", {"target_options": {"path": ".", "target_protocol": "file"}}),
    "dir in a chain": lambda folder: ("dir://p::file://.", {}),
    "zip": lambda folder: ("zip://p::file://p.zip", {}),
    "zip at a path": lambda folder: ("zip://p::p.zip", {}),
    "zip in options": lambda folder: ("p", {"target_protocol": "zip", "target_options": {"fo": "p.zip"}}),
    "zip of an URL in options": lambda folder: ("p", {"target_protocol": "zip", "target_options": {"fo": "file://p.zip"}}),
    "backend": lambda folder: ("p", {"fs": LocalFileSystem()}),
    "dir backend": lambda folder: ("p", {"fs": DirFileSystem(str(folder), LocalFileSystem())}),
    "cache backend": lambda folder: ("p", {"fs": SimpleCacheFileSystem(fs=LocalFileSystem())}),
    "async backend": lambda folder: ("p", {"fs": AsyncFileSystemWrapper(LocalFileSystem())}),
}  # fmt: skip
MAKE = {
    "filesystem": lambda place, options: fsspec.filesystem("blobdir", fo=place, **options),
    "class": lambda place, options: BlobDirFileSystem(place, **options),
    "project": lambda place, options: (
        blobdir.open_project(place, storage_options=options.pop("target_options", None), **options).filesystem
    ),
}


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("make", MAKE)
def test_relative_places_are_those_of_now(tmp_path, monkeypatch, url, make):
    found = []
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        make_project(tmp_path / name / "z/p", {"train/img/a.jpg": name.encode()})
        shutil.make_archive(str(tmp_path / name / "p"), "zip", tmp_path / name / "z")
        (tmp_path / name / "z/p").rename(tmp_path / name / "p")
    for name in ("x", "y"):
        monkeypatch.chdir(tmp_path / name)
        place, options = URLS[url](tmp_path / name)
        found.append(MAKE[make](place, dict(options)))
        assert found[-1].cat("train/img/a.jpg") == name.encode()
    monkeypatch.chdir(tmp_path)
    for fs, name in zip(found, ("x", "y"), strict=True):
        assert pickle.loads(pickle.dumps(fs)).cat("train/img/a.jpg") == name.encode()
        fs.invalidate_cache()
        assert fs.cat("train/img/a.jpg") == name.encode()


@pytest.mark.parametrize("chain", ["file://p", "local://p", "simplecache::file://p", "simplecache::./p"])
def test_relative_chains(tmp_path, monkeypatch, chain):
    for name in ("x", "y"):
        make_project(tmp_path / name / "p", {"train/img/a.jpg": name.encode()})
    for name in ("x", "y"):
        monkeypatch.chdir(tmp_path / name)
        with fsspec.open(f"blobdir://train/img/a.jpg::{chain}") as file:
            assert file.read() == name.encode()


@pytest.mark.parametrize("rest", ["1", "/elsewhere", "memory://there"])
@pytest.mark.parametrize("place", ["{folder}/p", "file://{folder}/p", "memory://there/p"])
def test_what_a_chain_has_behind_the_project_is_refused(folder, place, rest):
    """fsspec cuts it at each '::', also at one in a name."""
    where = place.format(folder=folder)
    assert fsspec.open(f"blobdir://train/img/3.jpg::{where}").open().read() == FILES["train/img/3.jpg"]
    with pytest.raises(UsageError, match="belongs to nothing"):
        fsspec.open(f"blobdir://train/img/3.jpg::{where}::{rest}")


@pytest.mark.parametrize("name", ["a.jpg::b.jpg", "a::.jpg", "::a.jpg"])
def test_a_name_that_a_url_would_cut_has_none(tmp_path, name):
    make_project(tmp_path / "p", {f"train/img/{name}": b"its own", "train/img/a.jpg": b"another"})
    fs = BlobDirFileSystem(str(tmp_path / "p"))
    assert fs.cat(f"train/img/{name}") == b"its own"
    for path in (f"train/img/{name}", f"/train/img/{name}"):
        with pytest.raises(UsageError, match="has no URL"):
            fs.unstrip_protocol(path)
    assert fs.cat(fs.unstrip_protocol("train/img/a.jpg")) == b"another"


@pytest.mark.parametrize("backend", ["memory", "zip", "zip with a slash"])
def test_a_project_at_the_top_of_a_backend(folder, tmp_path, monkeypatch, backend):
    if backend == "memory":
        monkeypatch.setattr(MemoryFileSystem, "store", {})
        monkeypatch.setattr(MemoryFileSystem, "pseudo_dirs", [""])
        MemoryFileSystem().put(f"{folder}/p/", "/", recursive=True)
        rest, options = "memory://", {"fo": "", "target_protocol": "memory"}
    else:
        shutil.make_archive(str(tmp_path / "p"), "zip", folder / "p")
        options = {"fo": "", "target_protocol": "zip", "target_options": {"fo": str(tmp_path / "p.zip")}}
        rest = f"zip://::{tmp_path}/p.zip" if backend == "zip" else f"zip:///::{tmp_path}/p.zip"
    assert fsspec.open(f"blobdir://train/img/3.jpg::{rest}").open().read() == FILES["train/img/3.jpg"]
    assert fsspec.filesystem("blobdir", **options).cat("train/img/3.jpg") == FILES["train/img/3.jpg"]
    assert fsspec.filesystem("blobdir", fo=rest).cat("train/img/3.jpg") == FILES["train/img/3.jpg"]


def test_chains_with_a_use_for_it(folder):
    for chain in (f"simplecache::file://{folder}/p", "simplecache::memory://there/p", f"dir://p::file://{folder}"):
        found = fsspec.open(f"blobdir://train/img/3.jpg::{chain}").open().read()
        assert found == FILES["train/img/3.jpg"]


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("kind", [list, tuple])
@pytest.mark.parametrize("on_error", ["omit", "return", "raise"])
@pytest.mark.parametrize(
    "odd", ["train/img/gone[1].jpg", "train/img/z*", "nowhere/?", "blobdir://train/img/[z]", "trian", "train/img/x.jpg"]
)
def test_what_stands_for_nothing_in_a_list(folder, tmp_path, on_error, odd, kind, recursive):
    fs = BlobDirFileSystem(str(folder / "p"))
    given = kind(["train/img/1.jpg", odd, "/train/img/1[23].jpg"])
    if on_error == "raise":
        for call in (fs.cat, lambda *args, **kwargs: fs.get(*args, str(tmp_path / "got/"), **kwargs)):
            with pytest.raises(FileNotFoundError, match=re.escape(odd.removeprefix("blobdir://"))):
                call(given, recursive=recursive)
        return
    found = fs.cat(given, on_error=on_error, recursive=recursive)
    failed = found.pop(odd.removeprefix("blobdir://"), None)
    assert found == {f"train/img/{i}.jpg": FILES[f"train/img/{i}.jpg"] for i in (1, 12, 13)}
    assert isinstance(failed, FileNotFoundError) == (on_error == "return")
