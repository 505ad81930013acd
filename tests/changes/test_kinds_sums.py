"""Each kind of fault of ``blob/SHA256SUMS`` not being true after a change: it names what is there, with its sum."""

from __future__ import annotations

import hashlib
import os
import shutil

import pytest
from changes.commands import TOUCHING, transaction
from changes.looking import faults
from changes.samples import files_below, numbered, packed, pickles, picture_of, tars, write

from blobdir.packing import SubsetOptions, add, add_blob_file, compact, merge, move, remove, subset
from blobdir.packing.sums import read_sums
from blobdir.verifying import verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


def _lines(root):
    return sorted((hashlib.sha256(tar.read_bytes()).hexdigest(), tar.name) for tar in tars(root))


def _linked(root):
    os.rename(root / "blob/SHA256SUMS", root / "sums.txt")
    (root / "blob/SHA256SUMS").symlink_to("../sums.txt")


def _written(form):
    return lambda root: (root / "blob/SHA256SUMS").write_text("".join(form(*line) for line in _lines(root)))


FORMS = {
    "as pack writes it": lambda root: None,
    "of binary files": _written("{} *{}\n".format),
    "with dots": _written("{}  ./{}\n".format),
    "in capitals": _written(lambda digest, name: f"{digest.upper()}  {name}\n"),
    "of another system": _written("{}  {}\r\n".format),
    "each line twice": _written("{0}  {1}\n{0}  {1}\n".format),
    "with remarks": _written("# a remark\n{}  {}\n".format),
    "a link": _linked,
}

FIRST = [f"train/a00{i}.png" for i in range(1, 5)]


def _fs(change):
    return lambda root: transaction(root, change)


def _rm_all_and_write(fs):
    fs.rm([f"train/img/a00{i}.png" for i in range(1, 5)])
    fs.pipe("train/img/n.png", picture_of("n.png", 1))


def _put_and_take_back(fs):
    fs.pipe("train/img/n.png", picture_of("n.png", 1))
    fs.rm("train/img/n.png")


def _other(root, dataset="more", same_names=False):
    """Another project; perhaps one of whose blobs has a name that is taken here, of other bytes."""
    other = packed(root.with_name("other"), numbered(3, 50, dataset))
    if same_names:
        mine, theirs = tars(root)[0], tars(other)[0]
        os.rename(theirs, theirs.with_name(mine.name))
        pickle = pickles(other)[0]
        os.rename(pickle, pickle.with_name(f"{mine.stem}_offsets.pkl"))
        sums = (other / "blob/SHA256SUMS").read_text()
        (other / "blob/SHA256SUMS").write_text(sums.replace(theirs.name, mine.name))
    return other


def _subset(root):
    subset(root, root.with_name("made"), SubsetOptions(patterns=("train/a00[1-2].png",)))
    shutil.rmtree(root)
    root.with_name("made").rename(root)


def _tar(root):
    tar = tars(packed(root.with_name("q"), numbered(2, 80, "x")))[0]
    return shutil.copy(tar, root.with_name("by hand.tar"))


CHANGES = {
    **{name: lambda root, run=run: run(root, "train/img/a001.png") for name, run in TOUCHING.items()},
    "cp_file": _fs(lambda fs: fs.cp_file("train/img/a001.png", "train/img/copy.png")),
    "cp -r": _fs(lambda fs: fs.cp("val", "copied", recursive=True)),
    "mv -r": _fs(lambda fs: fs.mv("train", "moved", recursive=True)),
    "mv there and back": _fs(lambda fs: (fs.mv("val", "x", recursive=True), fs.mv("x", "val", recursive=True))),
    "rm -r": _fs(lambda fs: fs.rm("train", recursive=True)),
    "rm all of a blob, and write": _fs(_rm_all_and_write),
    "write and take back": _fs(_put_and_take_back),
    "remove all of a blob": lambda root: remove(root, FIRST),
    "move all of a blob": lambda root: move(root, FIRST, "elsewhere"),
    "remove and compact": lambda root: (remove(root, FIRST[:2]), compact(root)),
    "remove all and compact": lambda root: (remove(root, FIRST), compact(root)),
    "add": lambda root: add(root, "train", [write(root.with_name("new") / "n.png", picture_of("n.png", 5))]),
    "add a tar": lambda root: add_blob_file(root, _tar(root), "x"),
    "merge": lambda root: merge(root, _other(root)),
    "merge by copying": lambda root: merge(root, _other(root), copy=True),
    "merge of blobs of one name": lambda root: merge(root, _other(root, same_names=True)),
    "subset": _subset,
}


def judge(root):
    """As ``sha256sum --check`` would: each line is true. And no blob that is used is left out."""
    sums = read_sums(root / "blob/SHA256SUMS")
    for name, digest in sums.items():
        assert hashlib.sha256((root / "blob" / name).read_bytes()).hexdigest() == digest, name
    used = {pickle.name.removesuffix("_offsets.pkl") for pickle in pickles(root, False)}
    assert {tar.name for tar in tars(root) if tar.stem in used} <= sums.keys()
    codes = {finding.code for finding in verify(root, processes=1).findings}
    assert not codes & {"checksum", "checksum-missing", "blob-missing"}
    assert faults(root) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", CHANGES)
def test_sums_stay_true(tmp_path, change, form):
    root = packed(tmp_path / "p", numbered(8) | numbered(2, 30, "val"))
    FORMS[form](root)
    CHANGES[change](root)
    judge(root)
    if form == "with remarks" and change != "subset":
        assert b"# a remark\n" in (root / "blob/SHA256SUMS").read_bytes()


@pytest.mark.parametrize("change", CHANGES)
def test_none_comes_up_where_there_was_none(tmp_path, change):
    root = packed(tmp_path / "p", numbered(8) | numbered(2, 30, "val"))
    (root / "blob/SHA256SUMS").unlink()
    CHANGES[change](root)
    assert not (root / "blob/SHA256SUMS").exists()


@pytest.mark.parametrize("dry_run", [True, False])
def test_sums_that_are_not_taken_are_said(tmp_path, dry_run):
    root = packed(tmp_path / "p", numbered(4))
    (root / "blob/SHA256SUMS").unlink()
    other = _other(root)
    problems = merge(root, other, dry_run=dry_run).problems
    assert [(problem.path, problem.costs) for problem in problems] == [("blob/SHA256SUMS", False)]
    (other / "blob/SHA256SUMS").unlink()
    shutil.rmtree(root)
    packed(root, numbered(4))
    assert merge(root, other, dry_run=dry_run).problems == []


@pytest.mark.parametrize("way", ["mv", "cp", "rm", "pipe"])
def test_nobody_writes_them_by_hand_through_the_filesystem(tmp_path, way):
    root = packed(tmp_path / "p", numbered(4))
    write(root / "notes.txt", b"text")
    before = files_below(root)
    ways = {
        "mv": lambda fs: fs.mv("notes.txt", "blob/SHA256SUMS"),
        "cp": lambda fs: fs.cp_file("notes.txt", "blob/SHA256SUMS"),
        "rm": lambda fs: fs.rm("blob/SHA256SUMS"),
        "pipe": lambda fs: fs.pipe("blob/SHA256SUMS", b""),
    }
    with pytest.raises((ValueError, FileNotFoundError)):
        transaction(root, ways[way])
    assert files_below(root) == before
