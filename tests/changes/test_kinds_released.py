"""A list of what was removed that can't be read: it's named, and nobody goes on as if nothing had been removed."""

from __future__ import annotations

import shutil

import pytest
from changes.commands import TOUCHING, transaction
from changes.looking import shown
from changes.samples import files_below, picture, used, write

import blobdir
from blobdir.cli.app import run
from blobdir.discovery import released
from blobdir.errors import BlobdirError, PackError
from blobdir.moving import push
from blobdir.packing import add, compact, create_project, move, remove
from blobdir.verifying import verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

RECORD = ".blobdir/released.json"
DAMAGES = {
    "cut": lambda data: data[:30],
    "empty": lambda _: b"",
    "too deep": lambda _: b"[" * 200_000,
    "a list": lambda _: b"[]",
    "a record of another kind": lambda _: b'{"blob/x.tar": {"is": 3}}',
    "another value": lambda _: b'{"blob/x.tar": 7}',
    "a number that is none": lambda _: b'{"blob/x.tar": {"is": [1], "whole": false, "ranges": [[1e999, 2]]}}',
    "another program's": lambda _: b"\0\1\2",
}


@pytest.fixture(params=[*DAMAGES, "no right to"])
def root(request, tmp_path, monkeypatch):
    create_project(root := tmp_path / "p")
    files = {".a.png": picture("secret"), ".b.png": picture("b"), "c.png": picture("c"), "d.png": picture("d")}
    used(root, "x", "train", files)
    used(root, "y", "train", {"e.png": picture("e")})
    used(root, "z", "val", {"f.png": picture("f")})
    remove(root, ["train/.a.png", "val/f.png"])
    if request.param in DAMAGES:
        path = root / RECORD
        path.write_bytes(DAMAGES[request.param](path.read_bytes()))
        return root
    real = released.open_state

    def refused(top, name):
        if name == "released.json":
            raise PermissionError(13, "Permission denied", name)
        return real(top, name)

    monkeypatch.setattr(released, "open_state", refused)
    return root


def test_verify_names_it(root):
    (found,) = [one for one in verify(root, processes=1).findings if one.severity == "error"]
    assert (found.code, found.path) == ("released-unreadable", RECORD)
    assert "compact --unreferenced" in str(found.examples)


REFUSED = {
    "compact": compact,
    "compact --dry-run": lambda root: compact(root, dry_run=True),
    "compact --unreferenced": lambda root: compact(root, unreferenced=True),
    "remove of a hidden one, dry run": lambda root: remove(root, ["train/.b.png"], dry_run=True),
    "remove of the last": lambda root: remove(root, ["train/e.png"]),
    "remove of the last, dry run": lambda root: remove(root, ["train/e.png"], dry_run=True),
    "move of the last": lambda root: transaction(root, lambda fs: fs.mv("train/img/e.png", "train/img/q.png")),
    **{
        f"{command} of a hidden one": lambda root, do=do: do(root, "train/img/.b.png")
        for command, do in TOUCHING.items()
        if command != "move"  # its bytes stay the blob's, and are named
    },
}


@pytest.mark.parametrize("what", REFUSED)
def test_nobody_writes_it_anew(root, what):
    before = files_below(root)
    with pytest.raises(PackError, match=r"released\.json .*Mend it; or remove it: .*nothing was changed"):
        REFUSED[what](root)
    assert files_below(root) == before


def test_what_needs_it_not_goes_on(root):
    before = (root / RECORD).read_bytes()
    add(root, "train", [write(root.with_name("new") / "new.png", picture("new"))])
    remove(root, ["train/c.png"])
    move(root, ["train/d.png"], "val")
    assert {"train/img/new.png", "val/img/d.png"} <= shown(root).keys()
    assert (root / RECORD).read_bytes() == before


def test_a_tar_that_may_have_been_emptied_is_not_pushed(root, tmp_path):
    with pytest.raises(BlobdirError, match=r"blob/z\.tar: no dataset has offsets for it, and \.blobdir/released\.json"):
        push(root, f"memory://released-{tmp_path.name}/p")
    (root / "blob/z.tar").unlink()
    push(root, f"memory://released-{tmp_path.name}/p")


def test_readers_are_not_told_to_show_it_again(root):
    (one,) = [d for d in blobdir.open_project(root, index="none").defects if d.path == "blob/z.tar"]
    assert "isn't known" in one.message
    assert "blobdir offsets" not in one.message


def test_repair_brings_nothing_back(root, capfd):
    path = root / "train/x_offsets.pkl"
    path.write_bytes(path.read_bytes()[:20])
    run(["verify", "--repair", str(root)])
    said = capfd.readouterr()
    assert "isn't known whether the images of blob/x.tar had been removed" in said.out + said.err
    assert len(path.read_bytes()) == 20


def test_the_way_out(root, monkeypatch):
    monkeypatch.undo()
    (root / RECORD).unlink()
    shutil.rmtree(root / ".blobdir/index", ignore_errors=True)
    assert [one for one in verify(root, processes=1).findings if one.severity == "error"] == []
    compact(root, unreferenced=True)
    assert [path for path, data in files_below(root).items() if picture("secret") in data] == []
    assert not (root / "blob/z.tar").exists()
