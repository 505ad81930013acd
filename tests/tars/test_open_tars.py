"""A tar, or many, opened as they are: through Python and fsspec."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

import blobdir
from blobdir.errors import (
    BlobdirError,
    BlobdirWarning,
    CompressedTarError,
    ConflictError,
    DamagedTarError,
    IncompleteListingError,
    NotAProjectError,
    UsageError,
)
from blobdir.filesystem import BlobDirFileSystem

Tar = Callable[..., Path]
ONE = {"a.txt": b"a", "dir/x.jpg": b"x" * 700, "dir/deep/er/y.json": b"{}", "empty/": b"", "none": b""}
PATHS = ["a.txt", "dir/deep/er/y.json", "dir/link", "dir/x.jpg", "none"]


@pytest.fixture
def one(tar: Tar) -> Path:
    return tar("data/photos.tar", ONE, {"dir/link": "../a.txt"})


def opened(place: object, **options: Any) -> BlobDirFileSystem:
    return blobdir.open_project(place, **options).filesystem  # type: ignore[arg-type]  # what a user gives


FACES: dict[str, Callable[[str], BlobDirFileSystem]] = {
    "open_project": opened,
    "path": lambda path: opened(Path(path)),
    "filesystem": lambda path: fsspec.filesystem("blobdir", fo=path),
    "url": lambda path: fsspec.filesystem("blobdir", fo=f"file://{path}"),
    "protocol": lambda path: fsspec.filesystem("blobdir", fo=path, target_protocol="file"),
    "backend": lambda path: fsspec.filesystem("blobdir", fo=path, fs=fsspec.filesystem("file")),
    "chain": lambda path: fsspec.url_to_fs(f"blobdir://::{path}")[0],
    "braces": lambda path: opened(path.replace("photos", "{photos,photos}")),
    "wildcard": lambda path: opened(path.replace("photos", "ph*")),
    "below": lambda path: opened(path.replace("data/photos", "*/p[h]otos")),
    "pickled": lambda path: pickle.loads(pickle.dumps(opened(path))),  # its own
}


@pytest.mark.parametrize("face", FACES)
def test_every_face_shows_the_same(one: Path, face: str) -> None:
    fs = FACES[face](str(one))
    assert fs.find("") == PATHS
    assert fs.ls("", detail=False) == ["a.txt", "dir", "empty", "none"] and fs.ls("empty") == []
    assert fs.cat("dir/x.jpg") == b"x" * 700 and fs.cat("dir/link") == b"a" and fs.cat("none") == b""
    assert [path.name for path in one.parent.iterdir()] == ["photos.tar"], "something was written beside it"


def test_a_file_in_a_tar_by_its_url(one: Path) -> None:
    with fsspec.open(f"blobdir://dir/x.jpg::{one}") as file:
        assert file.read() == b"x" * 700


def test_a_tar_has_no_datasets_and_says_what_it_is(one: Path) -> None:
    project = blobdir.open_project(one)
    assert len(project) == 0 and project.url == str(one)
    with pytest.raises(FileNotFoundError, match="photos.tar"):
        project.filesystem.cat("nothing")


def test_two_tars_of_one_folder_are_two_filesystems(tar: Tar) -> None:
    first, second = (opened(tar(name, {"a": name.encode()})) for name in ("1.tar", "2.tar"))
    assert (first.cat("a"), second.cat("a")) == (b"1.tar", b"2.tar") and first.fsid != second.fsid


@pytest.mark.parametrize("name", ["a[1].tar", "{a,b}.tar", "x*.tar", "odd \udcff.tar", "UPPER.TAR"])
def test_a_tar_that_is_there_is_meant_by_its_name(tar: Tar, name: str) -> None:
    assert opened(tar(name, {"a": b"1"})).cat("a") == b"1"


def test_a_tar_behind_a_link_is_the_file_that_it_leads_to(tar: Tar, tmp_path: Path) -> None:
    elsewhere = tar("elsewhere/blob-0", {"a": b"1"})
    link = tmp_path / "here" / "a.tar"
    link.parent.mkdir()
    link.symlink_to(elsewhere)
    assert opened(link).cat("a") == opened(link.parent / "*.tar").cat("a") == b"1"


def test_a_folder_called_like_a_tar_is_a_project(tmp_path: Path) -> None:
    (tmp_path / "x.tar" / "blob").mkdir(parents=True)
    (tmp_path / "x.tar" / "meta.json").write_text("{}")
    assert opened(tmp_path / "x.tar").ls("", detail=False) == ["meta.json"]


def test_names_of_any_bytes(tar: Tar) -> None:
    names = ["\udcff\udc80", "ä 漢", "a\nb", "x" * 255, "d" * 200 + "/" + "e" * 200, "*", "..a", "-"]
    fs = opened(tar("odd.tar", {name: name.encode("utf-8", "surrogateescape") for name in names}))
    assert sorted(fs.find("")) == sorted(names)
    assert all(fs.cat_file(name) == name.encode("utf-8", "surrogateescape") for name in names)


def test_an_empty_tar_is_an_empty_tree(tar: Tar) -> None:
    project = blobdir.open_project(tar("empty.tar", {}))
    assert project.filesystem.find("") == [] and project.defects == []


CHANGES = {
    "add": lambda project, tar: project.add_blob_file(tar, "train"),
    "readme": lambda project, _: project.create_blob_readme(),
    "transaction": lambda project, _: written(project.filesystem),
    "outside": lambda project, _: project.filesystem.pipe("a.txt", b"new"),
    "rm": lambda project, _: project.filesystem.rm("a.txt"),
}


def written(fs: BlobDirFileSystem) -> None:
    with fs.transaction:
        fs.pipe("train/img/a.jpg", b"new")


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_changes_a_tar_nor_the_project_that_it_lies_in(one: Path, tar: Tar, change: str) -> None:
    (one.parent / "meta.json").write_text("{}")
    (one.parent / "blob").mkdir()
    before = one.read_bytes(), sorted(one.parent.rglob("*"))
    with pytest.raises(OSError, match="tar, not a blob project" if change not in ("outside", "rm") else None):
        CHANGES[change](blobdir.open_project(one), tar("other.tar", {"a.jpg": b"1"}))
    assert before == (one.read_bytes(), sorted(one.parent.rglob("*")))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../etc/passwd", "FOLDER/a.txt", "loop", "nothing"])
def test_links_lead_nowhere_but_into_the_tar(tar: Tar, tmp_path: Path, target: str) -> None:
    (tmp_path / "a.txt").write_bytes(b"outside")
    target = target.replace("FOLDER", str(tmp_path))
    fs = opened(tar("x.tar", {"a.txt": b"inside"}, {"loop": target, "ok": "a.txt"}))
    assert fs.cat("ok") == b"inside" and fs.view.link_target(fs.view.find("loop", follow=False)) == target
    with pytest.raises(OSError, match="loop|nothing"):
        fs.cat("loop")


def test_a_folder_beside_the_tar_lends_nothing_to_one_of_its_name(one: Path) -> None:
    (one.parent / "dir").mkdir(mode=0o700)
    (one.parent / "dir" / "beside").write_bytes(b"1")
    os.utime(one.parent / "dir", (0, 0))
    fs = opened(one)
    assert fs.modified("dir") == fs.modified("dir/x.jpg") and not fs.exists("dir/beside")


# -- unions ----------------------------------------------------------------------------------------------------

SHARDS = [
    {"both": b"first", "same": b"same", "d/a": b"1"},
    {"both": b"other", "same": b"same", "d/b": b"2"},
    {"both": b"third", "e/c": b"3"},
]
DECIDED = {
    "skip": {"both": b"first"},
    "replace": {"both": b"third"},
    "rename": {"both": b"first", "both_1": b"other", "both_2": b"third"},
}


@pytest.fixture
def shards(tar: Tar, tmp_path: Path) -> Path:
    for number, members in enumerate(SHARDS):
        tar(f"shard-{number:04d}.tar", members)
    return tmp_path


@pytest.mark.parametrize("pattern", ["*.tar", "shard-{0000..0002}.tar", "shard-000?.tar"])
@pytest.mark.parametrize("how", DECIDED)
def test_a_union_decides_as_blobs_do(shards: Path, pattern: str, how: str) -> None:
    fs = opened(shards / pattern, on_conflict=how)
    assert fs.cat(fs.find("")) == DECIDED[how] | {"same": b"same", "d/a": b"1", "d/b": b"2", "e/c": b"3"}


def test_the_order_is_that_of_names_as_given(shards: Path) -> None:
    assert opened(shards / "shard-{0002..0000}.tar", on_conflict="skip").cat("both") == b"third"


def test_a_conflict_is_an_error_that_names_both(shards: Path) -> None:
    with pytest.warns(BlobdirWarning, match="both"):
        fs = opened(shards / "*.tar")
    assert fs.cat("same") == b"same"
    with pytest.raises(OSError, match=r"shard-0000.tar .* shard-0001.tar"):
        fs.cat("both")
    with pytest.raises(ConflictError):
        opened(shards / "*.tar", on_defect="raise")


def test_a_folder_in_one_tar_goes_before_a_file_in_another(tar: Tar, tmp_path: Path) -> None:
    tar("1.tar", {"a": b"file"})
    tar("2.tar", {"a/b": b"below"})
    with pytest.warns(BlobdirWarning, match="is a folder"):
        fs = opened(tmp_path / "*.tar")
    assert fs.cat("a/b") == b"below"


def test_links_of_several_tars_are_compared_by_what_they_say(tar: Tar, tmp_path: Path) -> None:
    (tmp_path / "l").write_bytes(b"a file beside the tars")
    tar("1.tar", {"a": b"1"}, {"l": "a", "m": "a"})
    tar("2.tar", {"b": b"2"}, {"l": "a", "m": "b"})
    fs = opened(tmp_path / "*.tar", on_conflict="skip")
    assert fs.cat("l") == fs.cat("m") == b"1" and fs.view.defects == []


# -- what isn't as it should be --------------------------------------------------------------------------------


def test_what_cannot_be_served_is_named(tar: Tar, tmp_path: Path) -> None:
    import subprocess

    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 20)
        file.write(b"data")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "plain").write_bytes(b"1")
    subprocess.run(["tar", "-cSf", "x.tar", "sparse", "pipe", "plain"], cwd=tmp_path, check=True)
    with pytest.warns(BlobdirWarning) as warned:
        fs = opened(tmp_path / "x.tar")
    said = " ".join(str(warning.message) for warning in warned)
    assert "sparse file" in said and "named pipe" in said and "'pipe'" in said
    assert fs.cat("plain") == b"1" and fs.ls("", detail=False) == ["plain", "sparse"]
    with pytest.raises(OSError, match="sparse"):
        fs.cat("sparse")
    with pytest.warns(BlobdirWarning):
        assert opened(tmp_path / "x.tar", on_defect="ignore").ls("", detail=False) == ["plain"]


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 10_240 + 1024)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"d/last")] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip])
def test_of_a_damaged_tar_what_is_whole_is_served(tar: Tar, damage: Callable[[Path], None]) -> None:
    path = tar("x.tar", {"a": b"1", "d/b": b"2" * 3000, "d/last": b"3" * 9000})
    damage(path)
    with pytest.warns(BlobdirWarning, match="x.tar: .*the last is 'd/b'"):
        fs = opened(path)
    assert fs.cat("a") == b"1" and fs.cat("d/b") == b"2" * 3000
    for folder in ("", "d"):
        with pytest.raises(IncompleteListingError, match="x.tar"):
            fs.ls(folder)
    with pytest.warns(BlobdirWarning):
        assert opened(path, on_defect="ignore").find("") == ["a", "d/b"]
    with pytest.raises(DamagedTarError, match="x.tar"):
        opened(path, on_defect="raise")


def test_of_several_tars_one_may_be_damaged_from_its_beginning(tar: Tar, tmp_path: Path) -> None:
    tar("1.tar", {"a": b"1"})
    (tmp_path / "2.tar").write_bytes(b"no tar at all" * 100)
    with pytest.warns(BlobdirWarning, match="2.tar: .*not a tar"):
        fs = opened(tmp_path / "*.tar", on_defect="ignore")
    assert fs.cat("a") == b"1"
    with pytest.raises(DamagedTarError, match="2.tar: not a tar"):
        opened(tmp_path / "2.tar")


@pytest.mark.parametrize("pattern", ["x.tar", "*.tar", "x.tar.gz", "*.tgz"])
def test_compressed_tars_are_refused_at_once(tar: Tar, tmp_path: Path, pattern: str) -> None:
    import gzip

    path = tar("a.tar", {"a": b"1"})
    name = pattern.replace("*", "x")
    (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(CompressedTarError, match=f"{name}: compressed with gzip, .*gunzip.* and open the tar"):
        opened(tmp_path / pattern)


@pytest.mark.parametrize(
    ("place", "kind", "words"),
    [
        ("nothing.tar", NotAProjectError, "nothing.tar: doesn't exist"),
        ("no*.tar", NotAProjectError, r"no file in it matches no\*.tar"),
        ("{a,b,c}.tar", NotAProjectError, "2 of 3 tars aren't there: b.tar, c.tar"),
        ("nowhere/*.tar", NotAProjectError, "no file in it matches"),
        ("a-{}.tar", UsageError, "nothing in its braces"),
        ("{0..100000}.tar", UsageError, "more than 100,000"),
        ("{a,d}.tar", NotAProjectError, "d.tar: is a folder"),
    ],
)
def test_errors_say_what_is_wrong(tar: Tar, tmp_path: Path, place: str, kind: type[BlobdirError], words: str) -> None:
    tar("a.tar", {"a": b"1"})
    (tmp_path / "d.tar").mkdir()
    with pytest.raises(kind, match=words):
        opened(tmp_path / place)
