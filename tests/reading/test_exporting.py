"""Files that are copied out: a destination is replaced whole, or stays."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
from project_factory import make_project

from blobdir import BlobdirError, BlobDirFileSystem
from blobdir.errors import UsageError

FILES = {
    "top.txt": b"top", "train/img/a.png": b"a" * 100, "train/img/a1.png": b"a1", "train/img/a[1].png": b"brackets",
    "train/img/b?.png": b"question", "train/img/bx.png": b"bx", "train/img/*.png": b"star", "train/img/**": b"stars",
    "train/img/{a}.png": b"braces", "train/img/x y.png": b"space", "train/img/#.png": b"hash", "train/img/~": b"tilde",
    "train/img/a:b.png": b"colon", "train/img/'q\".png": b"quotes", "train/img/\n.png": b"line", "train/img/[": b"open",
}  # fmt: skip


@pytest.fixture
def fs(tmp_path):
    return BlobDirFileSystem(str(make_project(tmp_path / "p", FILES)), skip_instance_cache=True)


@pytest.fixture
def cut(tmp_path):
    """A filesystem whose blob is cut after it was opened."""
    root = make_project(tmp_path / "cut", {"train/img/a.png": b"a" * 5000})
    fs = BlobDirFileSystem(str(root), skip_instance_cache=True)
    os.truncate(next((root / "blob").iterdir()), 2048)
    return fs


WAYS = {
    "get": lambda fs, path, target: fs.get(path, str(target)),
    "get_file": lambda fs, path, target: fs.get_file(path, str(target)),
    "download": lambda fs, path, target: fs.download(path, str(target)),
    "lists": lambda fs, path, target: fs.get([path], [str(target)]),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("old", [b"old copy", None])
def test_what_fails_leaves_what_was(cut, tmp_path, way, old):
    target = tmp_path / "there" / "a.png"
    target.parent.mkdir()
    if old is not None:
        target.write_bytes(old)
    with pytest.raises(BlobdirError):
        WAYS[way](cut, "train/img/a.png", target)
    assert (target.read_bytes() if target.exists() else None) == old
    assert os.listdir(target.parent) == (["a.png"] if old is not None else [])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", FILES)
def test_special_characters(fs, tmp_path, way, path):
    target = tmp_path / "x.png"
    WAYS[way](fs, path, target)
    assert target.read_bytes() == FILES[path]
    (tmp_path / "into").mkdir()
    fs.get(path, f"{tmp_path}/into/")
    assert (tmp_path / "into" / path.rpartition("/")[2]).read_bytes() == FILES[path]


def test_recursively(fs, tmp_path):
    fs.get("train", f"{tmp_path}/out", recursive=True)
    found = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert {f"train/{name}": data for name, data in found.items()} == {p: d for p, d in FILES.items() if "/" in p}


def test_modes_and_links(fs, tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to("target")
    fs.get("train/img/a.png", str(link))
    assert link.is_symlink()
    assert target.read_bytes() == FILES["train/img/a.png"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_what_is_no_file(fs, tmp_path):
    code = (
        "import sys, blobdir\n"
        "fs = blobdir.BlobDirFileSystem(sys.argv[1])\n"
        "fs.get('train/img/a.png', '/dev/stdout'); fs.get_file('top.txt', sys.stdout.buffer)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "p")], capture_output=True, check=True)
    assert done.stdout == FILES["train/img/a.png"] + FILES["top.txt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed")
def test_what_may_not_be_written(fs, tmp_path):
    target = tmp_path / "kept"
    target.write_bytes(b"old")
    target.chmod(0o444)
    tmp_path.chmod(0o777)
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 65534)
        try:
            fs.get("train/img/a.png", str(target))
        except PermissionError:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert target.read_bytes() == b"old"


SAME = {
    "list": (["train/img/a.png", "val/img/a.png"], {}),
    "tuple": (("train/img/a.png", "val/img/a.png"), {}),
    "pattern in a list": (["*/img/a.png"], {}),
    "folders": (["train", "val"], {"recursive": True}),
}


@pytest.mark.parametrize("case", SAME)
def test_two_files_at_one_place_are_refused(tmp_path, case):
    """fsspec's own flattens lists, and the last one wins."""
    root = make_project(tmp_path / "p", {"train/img/a.png": b"1", "val/img/a.png": b"2", "val/img/b.png": b"3"})
    fs = BlobDirFileSystem(str(root), skip_instance_cache=True)
    paths, options = SAME[case]
    with pytest.raises(UsageError, match=r"train/img/a\.png and val/img/a\.png would both be copied to .*a\.png"):
        fs.get(paths, f"{tmp_path}/got/", **options)
    assert not (tmp_path / "got").exists()
    fs.get(["train/img/a.png", "val/img/a.png"], [f"{tmp_path}/got/1", f"{tmp_path}/got/2"])
    fs.get(["train/img/a.png", "val/img/b.png"], f"{tmp_path}/got/")
    assert {path.name: path.read_bytes() for path in (tmp_path / "got").iterdir()} == {
        "1": b"1", "2": b"2", "a.png": b"1", "b.png": b"3"
    }  # fmt: skip


@pytest.mark.parametrize("spelling", ["./x.png", "../got/x.png", "relative", "link/x.png"])
def test_one_place_in_two_spellings(fs, tmp_path, monkeypatch, spelling):
    (tmp_path / "got").mkdir()
    (tmp_path / "got/link").symlink_to(tmp_path / "got")
    monkeypatch.chdir(tmp_path / "got")
    other = "x.png" if spelling == "relative" else f"{tmp_path}/got/{spelling}"
    with pytest.raises(UsageError, match="would both be copied"):
        fs.get(["train/img/a.png", "train/img/bx.png"], [f"{tmp_path}/got/x.png", other])
    assert os.listdir(tmp_path / "got") == ["link"]


LINKED = {
    "to the other": {"b.png": "a.png"},
    "from the other": {"a.png": "b.png"},
    "to one file": {"a.png": "c.png", "b.png": "c.png"},
    "to what isn't there": {"a.png": "new.png", "b.png": "new.png"},
    "by several": {"b.png": "c.png", "c.png": "../got/d.png", "d.png": "a.png"},
}


COPIES = {
    "folder": lambda fs, got: fs.get("train/img/", f"{got}/", recursive=True),
    "pattern": lambda fs, got: fs.get("train/img/*.png", f"{got}/"),
    "list": lambda fs, got: fs.get(["train/img/a.png", "train/img/b.png"], f"{got}/"),
    "lists": lambda fs, got: fs.get(["train/img/a.png", "train/img/b.png"], [f"{got}/a.png", f"{got}/b.png"]),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("case", LINKED)
def test_destinations_that_are_links_to_one_place(tmp_path, case, way):
    root = make_project(tmp_path / "p", {"train/img/a.png": b"a", "train/img/b.png": b"bb"})
    fs = BlobDirFileSystem(str(root), skip_instance_cache=True)
    got = tmp_path / "got"
    got.mkdir()
    for name, target in LINKED[case].items():
        (got / name).symlink_to(target)
    for name in {"a.png", "c.png"} - LINKED[case].keys():
        (got / name).write_bytes(b"old")
    before = {path.name: (path.is_symlink(), path.exists() and path.read_bytes()) for path in got.iterdir()}
    with pytest.raises(UsageError, match="would both be copied"):
        COPIES[way](fs, got)
    assert before == {path.name: (path.is_symlink(), path.exists() and path.read_bytes()) for path in got.iterdir()}


def test_destinations_that_are_links_to_places_of_their_own(tmp_path, monkeypatch):
    root = make_project(tmp_path / "p", {"train/img/a.png": b"a", "train/img/b.png": b"bb"})
    fs = BlobDirFileSystem(str(root), skip_instance_cache=True)
    for folder in ("got", "z/y"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "got/a.png").symlink_to("../z/y/a.png")
    (tmp_path / "link").symlink_to("z/y")
    paths = ["train/img/a.png", "train/img/b.png"]
    fs.get(paths, ["got/a.png", "got/b.png"])
    assert [(tmp_path / name).read_bytes() for name in ("z/y/a.png", "got/b.png")] == [b"a", b"bb"]
    fs.get(paths, ["link/../x", "x"])  # the first lies beside what the link leads to
    assert [(tmp_path / name).read_bytes() for name in ("z/x", "x")] == [b"a", b"bb"]
    with pytest.raises(UsageError, match="would both be copied"):
        fs.get(paths, ["link/../x", "z/x"])


@pytest.mark.parametrize("recursive", [False, True])
@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_nothing_is_copied_of_a_list_with_a_name_that_is_not_there(fs, tmp_path, kind, recursive):
    with pytest.raises(FileNotFoundError, match=r"nope\.png"):
        fs.get(kind(["top.txt", "train/img/nope.png"]), f"{tmp_path}/got/", recursive=recursive)
    assert not (tmp_path / "got").exists()


def test_any_iterable_is_a_list(fs, tmp_path):
    fs.get(("top.txt", "train/img/a.png"), (f"{tmp_path}/1", f"{tmp_path}/2"))
    assert (tmp_path / "1").read_bytes() == b"top" and (tmp_path / "2").read_bytes() == b"a" * 100
    assert fs.cat_ranges(iter(["top.txt", "train/img/a.png"]), 0, 2) == [b"to", b"aa"]
