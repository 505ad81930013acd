"""Each kind of fault of what is resumed, sent again, or made anew: what stays, and what is taken for the same."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

import folder_bucket
import fsspec
import pytest
from changes.children import Child, killed_at
from changes.commands import transaction
from changes.defects import DEFECTS
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

from blobdir import open_project
from blobdir.errors import BlobdirError, LinkError, NotAProjectError, PackError, SourceChangedError, UsageError
from blobdir.moving import fetch, push
from blobdir.packing import PackOptions, SubsetOptions, add, compact, move, pack, remove

tested = folder_bucket.bucket  # a fixture
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


# -- damaged projects --------------------------------------------------------------------------------------------

HARMLESS = {"stranger", "twin"}
"""Copied as they are: no offsets speak of them."""
UNSEEN = {*HARMLESS, "damaged_header"}
"""Perhaps not known before: the headers before a few members are looked at."""


@pytest.fixture(params=["loose", "packed"])
def sound(request, tmp_path):
    """A project whose annotations are files, or packed."""
    images = numbered(8) | numbered(5, 30, "val")
    return packed(tmp_path / "p", images, annotations=request.param)


def upload(root, bucket):
    """Have in a bucket what is in a folder, byte for byte, but for links, which a bucket can't have."""
    fs, place = fsspec.filesystem("memory"), bucket.removeprefix("memory://")
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            if path.is_file() and not path.is_symlink():
                fs.pipe_file(f"/{place}/{path.relative_to(root)}", path.read_bytes())


def everything(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.mark.parametrize("number", [0, 3], ids=["one", "another"])
@pytest.mark.parametrize("defect", DEFECTS)
def test_push_of_a_damaged_project(tmp_path, bucket, sound, defect, number):
    if defect == "linked_annotations" and (sound / "train/ann.blob").exists():
        (sound / "train/ann").mkdir()
    with DEFECTS[defect](sound, tmp_path / "outside", number):
        damaged = {path: data for path, data in files_below(sound).items() if not (sound / path).is_symlink()}
        before = everything(sound)
        if defect not in UNSEEN:
            for options in ({}, {"dry_run": True}, {"force": True}, {"delete": True, "dry_run": True}):
                with pytest.raises((PackError, LinkError, NotAProjectError)) as caught:
                    push(sound, bucket, **options)
                assert defect == "missing_meta" or "Nothing was written" in str(caught.value)
            assert in_bucket_or_none(bucket) == {}
        if defect != "missing_meta":
            assert push(sound, bucket, with_defects=True, dry_run=True).deleted == []
            report = push(sound, bucket, with_defects=True)
            assert in_bucket(bucket) == damaged
            assert report.complete == (not defect.startswith("linked"))
            assert bool(report.defects or report.left_out) or defect in UNSEEN
        assert {path: data for path, data in everything(sound).items() if ".blobdir" not in path.parts} == before


def in_bucket_or_none(bucket):
    try:
        return in_bucket(bucket)
    except FileNotFoundError:
        return {}


@pytest.mark.parametrize("number", [0, 3], ids=["one", "another"])
@pytest.mark.parametrize("defect", sorted(DEFECTS.keys() - {"linked_blob", "linked_dataset", "linked_annotations"}))
def test_fetch_of_a_damaged_project(tmp_path, bucket, sound, defect, number):
    with DEFECTS[defect](sound, tmp_path / "outside", number):
        upload(sound, bucket)
        damaged = files_below(sound)
    if defect not in UNSEEN:
        before = set(tmp_path.iterdir())
        for choose in (None, SubsetOptions(patterns=("*.png",))):
            with pytest.raises(BlobdirError, match="Nothing was written|list of names isn't complete"):
                fetch(bucket, tmp_path / "new/made", choose=choose)
        assert set(tmp_path.iterdir()) == before
    report = fetch(bucket, tmp_path / "made", with_defects=True)
    assert files_below(tmp_path / "made") == damaged
    assert bool(report.defects) or defect in HARMLESS
    with pytest.raises(UsageError, match="with-defects"):
        fetch(bucket, tmp_path / "other", choose=SubsetOptions(patterns=("*.png",)), with_defects=True)


@pytest.mark.parametrize("defect", ["cut_pickle", "offsets_that_miss", "missing_blob"])
def test_fetch_looks_at_what_it_would_fetch(tmp_path, bucket, defect):
    root = packed(tmp_path / "p", numbered(5) | numbered(5, 30, "val"))
    with DEFECTS[defect](root, tmp_path / "outside", 0):  # of train: it sorts first
        upload(root, bucket)
    for choose in (SubsetOptions(datasets=("val",)), SubsetOptions(datasets=("val",), patterns=("*.png",))):
        fetch(bucket, tmp_path / "made", choose=choose)
        assert {p for p in shown(tmp_path / "made") if p.startswith("val/img/")} == {
            f"val/img/a0{i}.png" for i in range(30, 35)
        }
        shutil.rmtree(tmp_path / "made")
    with pytest.raises(BlobdirError):
        fetch(bucket, tmp_path / "made", choose=SubsetOptions(datasets=("train",)))


@pytest.mark.parametrize("with_defects", [False, True])
@pytest.mark.parametrize("name", ["pushing.json", "journal.json"])
@pytest.mark.parametrize("choose", [None, SubsetOptions(patterns=("*.png",))], ids=["all", "some"])
def test_fetch_of_an_unfinished_change(tmp_path, bucket, name, with_defects, choose):
    upload(packed(tmp_path / "p", numbered(5)), bucket)
    fsspec.filesystem("memory").pipe_file(f"/{bucket.removeprefix('memory://')}/.blobdir/{name}", b"{}")
    with pytest.raises(SourceChangedError if choose is None or not with_defects else BlobdirError):
        fetch(bucket, tmp_path / "made", with_defects=with_defects, choose=choose)
    assert not list(tmp_path.glob("made*"))
    assert "change-unfinished" in {defect.code for defect in open_project(bucket, index="none").defects}


def test_push_of_an_unfinished_change(tmp_path, bucket):
    """A dry run says that there is one; a push ends it first."""
    root = packed(tmp_path / "p", numbered(5))
    at = next(i for i in range(200) if _cut_off_with_a_journal(root, tmp_path / "q", i))
    assert at
    for with_defects in (False, True):
        with pytest.raises(UsageError, match="was cut off"):
            push(tmp_path / "q", bucket, dry_run=True, with_defects=with_defects)
    assert in_bucket_or_none(bucket) == {}
    push(tmp_path / "q", bucket)
    assert shown(bucket, index="none") == shown(tmp_path / "q")
    assert faults(tmp_path / "q") == []


def _cut_off_with_a_journal(root, copy, at):
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(root, copy)
    killed_at(lambda: remove(copy, ["train/a001.png"]), at)
    return (copy / ".blobdir/journal.json").exists()


@pytest.mark.parametrize("operation", ["push --delete", "fetch"])
@pytest.mark.parametrize("folder", ["train/ann", "train/img", "val", "blob"])
def test_a_folder_that_a_backend_cannot_list(tmp_path, tested, operation, folder):
    """What isn't seen isn't taken for not there."""
    root = packed(tmp_path / "p", numbered(5) | numbered(5, 30, "val"))
    write(root / "train/img/loose.png", picture("loose"))
    push(root, "tested://up")
    before = files_below(tested)

    def refused(what, path):
        if what == "ls" and path == f"up/{folder}":
            raise PermissionError(path)

    folder_bucket.Bucket.before = staticmethod(refused)
    run = {
        "fetch": lambda: fetch("tested://up", tmp_path / "made"),
        "push --delete": lambda: push(root, "tested://up", delete=True),
    }
    with pytest.raises(BlobdirError, match=folder):
        run[operation]()
    assert files_below(tested) == before
    assert not list(tmp_path.glob("made*"))
