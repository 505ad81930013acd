"""What a pickle may have named that can't be read isn't taken for removed, wherever its blob goes under what name."""

from __future__ import annotations

import os
import warnings

import fsspec
import pytest
from changes.samples import annotation, files_of, in_tar, packed, picture, put, used, write

from blobdir.errors import PackError
from blobdir.moving import fetch, push
from blobdir.offsets import write_offsets
from blobdir.packing import SubsetOptions, compact, merge, move, remove, subset
from blobdir.packing.backups import backed_up, backup_name, renamed_backup
from blobdir.packing.names import stems_of
from blobdir.verifying import repair, verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

LEFT_OUT = {"images": picture("c"), "annotations": annotation("c, of a text that nothing else has")}
LONG = "n" * 240


def mended(root, kind, stem="x"):
    """A project whose damaged pickle left one file out: nobody knows whether it had been removed."""
    put(root / "meta.json", b'{"classes": [], "tags": [], "projectType": "images"}')
    names = ["a.png", "b.png"]
    if kind == "images":
        used(root, stem, "train", {name: picture(name) for name in names} | {"c.png": LEFT_OUT[kind]})
        for name in names:
            write(root / f"train/ann/{name}.json", annotation(name))
        pickle = root / f"train/{stem}_offsets.pkl"
    else:
        used(root, "images", "train", {name: picture(name) for name in names})
        labels = {f"{name}.json": annotation(name) for name in names} | {"c.png.json": LEFT_OUT[kind]}
        at = in_tar(root / f"train/ann.blob/{stem}.tar", labels)
        pickle = root / f"train/ann.blob/{stem}_offsets.pkl"
        write_offsets(pickle, [(name, *span) for name, span in at.items()])
    pickle.write_bytes(pickle.read_bytes()[:-9])
    repair(root, verify(root))
    assert backups(root)
    return root


def backups(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.backup-*"))


def other(root, kind, stem, names="qkl"):
    """A project that has a blob of this name; all that is in it is named."""
    one, *more = (f"{name}.png" for name in names)
    project = packed(root, files_of({f"train/{one}": picture(one)}))
    if kind == "images":
        used(root, stem, "val", {name: picture(name) for name in more})
        for name in more:
            write(root / f"val/ann/{name}.json", annotation(name))
    else:
        at = in_tar(root / f"train/ann.blob/{stem}.tar", {f"{one}.json": annotation("packed")})
        os.unlink(root / f"train/ann/{one}.json")
        write_offsets(root / f"train/ann.blob/{stem}_offsets.pkl", [(name, *span) for name, span in at.items()])
    return project


def merged(root, kind, stem):
    target = other(root.with_name("other"), kind, stem)
    merge(target, root, copy=True)
    return target


def merged_into_empty(root, kind, stem):
    target = packed(root.with_name("other"), files_of({"val/q.png": picture("q")}))
    merge(target, root)
    return target


def merged_twice(root, kind, stem):
    target = other(root.with_name("third"), kind, stem, "rst")
    merge(target, merged(root, kind, stem))
    return target


def some(root, kind, stem):
    subset(root, root.with_name("some"), SubsetOptions(names=["train/a.png"], blobs="copy"))
    return root.with_name("some")


def moved(root, kind, stem):
    move(root, ["train/a.png"], "elsewhere")
    return root


def fetched(root, kind, stem):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        push(root, "memory://backups/p")
        fetch("memory://backups/p", root.with_name("got"))
    return root.with_name("got")


def without_any(root, kind, stem):
    for name in ("a.png", "b.png"):
        remove(root, [f"train/{name}"])
    return root


WAYS = {
    "merge": merged,
    "merge, no other of the name": merged_into_empty,
    "merge twice": merged_twice,
    "subset": some,
    "move": moved,
    "push and fetch": fetched,
    "all others removed": without_any,
}


@pytest.fixture(autouse=True)
def no_bucket():
    yield
    fs = fsspec.filesystem("memory")
    if fs.exists("/backups"):
        fs.rm("/backups", recursive=True)


@pytest.mark.parametrize("stem", ["x", LONG], ids=["short", "long"])
@pytest.mark.parametrize("kind", LEFT_OUT)
@pytest.mark.parametrize("way", WAYS)
def test_compact_refuses_wherever_the_blob_has_gone(tmp_path, way, kind, stem):
    root = WAYS[way](mended(tmp_path / "p", kind, stem), kind, stem)
    assert len(backups(root)) == 1
    with pytest.raises(PackError, match="may have done so, but it can't be read"):
        compact(root)
    assert any(LEFT_OUT[kind] in tar.read_bytes() for tar in root.rglob("*.tar"))


@pytest.mark.parametrize("kept", ["its blob was renamed", "its blob is gone"])
def test_another_blob_of_the_name_is_free_of_it(tmp_path, kept):
    """Of a backup without its blob nothing is taken, and of one with it nothing is held against another blob."""
    root = mended(tmp_path / "p", "images")
    if kept == "its blob is gone":
        compact(root, unreferenced=True)
        assert backups(root) == ["train/" + os.path.basename(backups(root)[0])]
    target = other(tmp_path / "other", "images", "x")
    report = merge(target, root)
    assert [problem.code for problem in report.problems] == (["backup-unused"] if kept == "its blob is gone" else [])
    remove(target, ["val/k.png"])
    if kept == "its blob is gone":
        assert backups(target) == []
        assert compact(target).dropped == 1
    else:
        (backup,) = backups(target)
        (target / backup).unlink()
        assert compact(target).dropped == 2


def test_a_name_that_only_a_backup_has_is_given_to_no_blob(tmp_path):
    root = mended(tmp_path / "p", "images")
    compact(root, unreferenced=True)
    report = merge(root, other(tmp_path / "other", "images", "x"))
    assert "blob/x.tar" not in report.blobs
    remove(root, ["val/k.png"])
    assert compact(root).dropped == 1


NAMES = ["a", "x-0001-abcdef01", "n" * 219, "n" * 220, "n" * 225, "n" * 240, "ä" * 121]


@pytest.mark.parametrize("number", [0, 7])
@pytest.mark.parametrize("stem", NAMES)
def test_the_blob_of_a_backup(stem, number):
    name = backup_name(f"{stem}_offsets.pkl", "20260102-030405", number)
    assert stem.startswith(backed_up(name)[:220].rstrip("\udcc3"))
    assert stems_of([f"train/{name}"]) == {backed_up(name).casefold()}
    if len(os.fsencode(stem)) < 220:
        assert backed_up(name) == stem
    assert renamed_backup(name, "b_offsets.pkl") == backup_name("b_offsets.pkl", "20260102-030405", number)


@pytest.mark.parametrize("name", ["x_offsets.pkl", "x.backup-20260102-030405", "x.tar", "x_offsets.pkl.backup", ""])
def test_no_backup(name):
    assert backed_up(name) == ""
