"""Each kind of fault of what is resumed, sent again, or made anew: what stays, and what is taken for the same."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import fsspec
import pytest
from changes.children import Child, killed_at
from changes.commands import transaction
from changes.looking import faults, get, in_bucket, shown
from changes.samples import (
    files_below,
    files_of,
    numbered,
    packed,
    picture,
    picture_of,
    write,
    write_files,
)  # fmt: skip

from blobdir.errors import BlobdirError
from blobdir.moving import fetch, push
from blobdir.packing import PackOptions, SubsetOptions, add, compact, move, pack, remove

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


# -- buckets -----------------------------------------------------------------------------------------------------

GOING = {
    "remove": lambda p: remove(p, ["train/a001.png", "train/a002.png"]),
    "remove and compact": lambda p: (remove(p, ["train/a001.png", "train/a002.png"]), compact(p)),
    "remove all of a blob": lambda p: (remove(p, [f"train/a00{i}.png" for i in range(1, 5)]), compact(p)),
    "move": lambda p: move(p, ["train/a001.png"], "val"),
    "replace": lambda p: add(p, "train", [write(p.parent / "new/a001.png", picture("new"))], replace=True),
    "a dataset": lambda p: transaction(p, lambda fs: fs.rm("val", recursive=True)),
    "a file": lambda p: transaction(p, lambda fs: fs.rm("notes.txt")),
}


@pytest.mark.parametrize("index", [True, False], ids=["indexed", "not indexed"])
@pytest.mark.parametrize("change", GOING)
def test_push_force_leaves_nothing_old(tmp_path, bucket, change, index):
    root = packed(tmp_path / "p", numbered(8) | numbered(2, 30, "val"))
    write(root / "notes.txt", b"text")
    push(root, bucket, index=index)
    GOING[change](root)
    emptied = push(root, bucket, force=True, index=index).emptied
    assert {p: d for p, d in in_bucket(bucket).items() if p.startswith(("train", "val", "blob", "notes"))} == {
        p: d
        for p, d in files_below(root).items()
        if p.startswith(("train", "val", "blob", "notes")) and p not in emptied
    }
    for how in ("auto", "none"):
        assert shown(bucket, index=how) == shown(root)


def _edit(path):
    """Other bytes of the same size, as an editor leaves them."""
    old = path.read_bytes()
    new = old.replace(b'"height": 8', b'"height": 9') if path.suffix == ".json" else picture_of(path.name, 99)
    assert len(new) == len(old) and new != old
    os.utime(path, (1.5e9, 1.5e9))
    path.write_bytes(new)
    return new


@pytest.mark.parametrize("again", [False, True], ids=["anew", "again"])
def test_emptied_blobs_go_nowhere(tmp_path, bucket, again):
    root = packed(tmp_path / "p", numbered(4) | numbered(2, 30, "val"))
    gone = [shown(root)[f"val/img/a0{i}.png"] for i in (30, 31)]
    if again:
        push(root, bucket)
    remove(root, ["val/a030.png", "val/a031.png"])
    report = push(root, bucket, delete=again)
    (emptied,) = report.emptied
    assert report.complete and (root / emptied).exists()
    assert not any(data in content for content in in_bucket(bucket).values() for data in gone)
    fetched = tmp_path / "fetched"
    fetch(bucket, fetched)
    assert shown(fetched) == shown(root)
    assert faults(fetched) == []


def test_push_resume_after_an_edit(tmp_path, bucket):
    root = packed(tmp_path / "p", numbered(4))
    push(root, bucket)
    new = _edit(root / "train/ann/a001.png.json")
    try:
        push(root, bucket, resume=True)
    except BlobdirError:
        return
    assert in_bucket(bucket)["train/ann/a001.png.json"] == new


@pytest.mark.parametrize("what", ["train/ann/a003.bmp.json", "train/img/a003.bmp", "meta.json", "blob"])
@pytest.mark.parametrize("cut", range(8, 44, 7))
def test_fetch_resume_after_an_edit(tmp_path, bucket, what, cut):
    images = numbered(12, form="a{:03d}.bmp")
    root = packed(tmp_path / "p", images)
    push(root, bucket, index=False)
    if not killed_at(lambda: fetch(bucket, tmp_path / "made"), cut)[0]:
        return  # it has ended before
    fs, place = fsspec.filesystem("memory"), bucket.removeprefix("memory://")
    if what in ("blob", "train/img/a003.bmp"):
        other = packed(tmp_path / "q", images | {"train/a003.bmp": picture_of("a003.bmp", 99)})
        for path, data in files_below(other).items():
            fs.pipe_file(f"/{place}/{path}", data)
        for path in set(in_bucket(bucket)) - set(files_below(other)):
            fs.rm_file(f"/{place}/{path}")
    else:
        fs.pipe_file(f"/{place}/{what}", in_bucket(bucket)[what].replace(b": 8", b": 9").replace(b"images", b"imagez"))
    expected = shown(bucket, index="none")
    try:
        fetch(bucket, tmp_path / "made", resume=True)
    except BlobdirError:
        return
    assert shown(tmp_path / "made") == expected


@pytest.mark.parametrize("what", ["img/a003.bmp", "ann/a003.bmp.json", "img/new.bmp", "-img/a005.bmp"])
@pytest.mark.parametrize("cut", range(6, 60, 11))
def test_pack_resume_after_an_edit(tmp_path, what, cut):
    files = files_of(numbered(12, form="a{:03d}.bmp"))
    source = write_files(tmp_path / "s", files)
    options = PackOptions(processes=1, shard_images=3)
    for path in source.rglob("*"):
        os.utime(path, (1.5e9, 1.5e9))
    if not killed_at(lambda: pack(source, tmp_path / "p", options), cut)[0]:
        return
    place = source / "train" / what.removeprefix("-")
    if what.startswith("-"):
        place.unlink()
    elif place.exists():
        _edit(place)
    else:
        write(place, picture_of("new.bmp", "new"))
    try:
        pack(source, tmp_path / "p", options, resume=(tmp_path / "p.packing").exists())
    except BlobdirError:
        return
    pack(source, tmp_path / "anew", options)
    assert shown(tmp_path / "p") == shown(tmp_path / "anew")
    assert files_below(tmp_path / "p") == files_below(tmp_path / "anew")


def test_fetch_of_some_images_of_datasets_with_names_alike(tmp_path, bucket):
    images = {f"{d}/x{i}.png": picture(f"{d} {i}") for d in ("a-b", "a/datasets/b", "a") for i in range(4)}
    root = packed(tmp_path / "p", images)
    push(root, bucket)
    fetch(bucket, tmp_path / "made", choose=SubsetOptions(patterns=("*x*",)))
    assert shown(tmp_path / "made") == shown(root)
    assert faults(tmp_path / "made") == []


def test_a_worker_that_is_killed_is_an_error(tmp_path, monkeypatch):
    """Nothing half-made stands at its place, and it can go on."""
    source = write_files(tmp_path / "s", files_of(numbered(12)))
    with Child(lambda: pack(source, tmp_path / "p", PackOptions(processes=2, shard_images=1))) as child:
        deadline = time.monotonic() + 20
        while not (workers := _children(child.pid)) and time.monotonic() < deadline:
            time.sleep(0.005)
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        code = child.ended()
    assert code == 0 or not (tmp_path / "p").exists()
    if code:
        pack(source, tmp_path / "p", PackOptions(processes=1, shard_images=1), resume=(tmp_path / "p.packing").exists())
    assert get(tmp_path / "p", "train/img/a007.png") == picture_of("a007.png", 7)


def _children(pid):
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
