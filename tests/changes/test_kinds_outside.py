"""Each kind of fault by which something outside the project is taken in, or touched."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest
from changes.children import REFUSED, Child
from changes.commands import LEAVING, TOUCHING, transaction
from changes.looking import faults, in_bucket, names, shown
from changes.samples import (
    annotation,
    files_below,
    files_of,
    numbered,
    packed,
    picture,
    tars,
    with_side_files,
    write,
)  # fmt: skip

from blobdir.errors import BlobdirError
from blobdir.moving import push
from blobdir.packing import SubsetOptions, add, compact, merge, move, recover, remove, subset
from blobdir.verifying import repair, verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


# -- outside the project -----------------------------------------------------------------------------------------


def _secret(tmp_path):
    return write(tmp_path / "outside/secret", b"SECRET" * 5000)


def _holds(folder, secret):
    """Files below a folder that are the secret, or have its bytes."""
    found = [path for path in Path(folder).rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in found if os.path.samefile(path, secret) or b"SECRETSECRET" in path.read_bytes()]


TAKERS = {
    "subset": lambda p, base, url: subset(p, base / "made"),
    "subset --blobs copy": lambda p, base, url: subset(p, base / "made", SubsetOptions(blobs="copy")),
    "subset --blobs symlink": lambda p, base, url: subset(p, base / "made", SubsetOptions(blobs="symlink")),
    "merge": lambda p, base, url: merge(packed(base / "made", numbered(1, 90, "own")), p),
    "merge --copy": lambda p, base, url: merge(packed(base / "made", numbered(1, 90, "own")), p, copy=True),
    "push": lambda p, base, url: push(p, url),
    "compact": lambda p, base, url: compact(p),
    "move": lambda p, base, url: move(p, [f"train/{name}" for name in names(p, "train")], "moved"),
}


def linked_blob(root, secret):
    blob = tars(root)[0]
    blob.unlink()
    blob.symlink_to(secret)


def linked_folder(root, secret):
    (root / "train/notes").symlink_to(secret.parent)


def linked_file(root, secret):
    (root / "train/notes.txt").symlink_to(secret)


def linked_image(root, secret):
    (root / "train/img").mkdir()
    (root / "train/img/linked.png").symlink_to(secret)
    write(root / "train/ann/linked.png.json", annotation())


def linked_annotation(root, secret):
    note = root / "train/ann/a001.png.json"
    note.unlink()
    note.symlink_to(secret)


def linked_side_file(root, secret):
    (root / "train/meta").mkdir()
    (root / "train/meta/a001.png.json").symlink_to(secret)


def linked_meta(root, secret):
    (root / "train/meta").symlink_to(secret.parent)
    write(secret.parent / "a001.png.json", b"SECRETSECRET")


LINKS = (linked_blob, linked_folder, linked_file, linked_image, linked_annotation, linked_side_file, linked_meta)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("command", TAKERS)
def test_nothing_outside_is_taken_in(tmp_path, bucket, command, link):
    root, secret = packed(tmp_path / "p", numbered()), _secret(tmp_path)
    link(root, secret)
    before = files_below(secret.parent)
    with contextlib.suppress(BlobdirError, OSError):
        TAKERS[command](root, tmp_path, bucket)
    assert _holds(root, secret) == []
    assert not (tmp_path / "made").exists() or _holds(tmp_path / "made", secret) == []
    assert not any(b"SECRET" in data for data in in_bucket(bucket).values())
    assert files_below(secret.parent) == before


def test_a_symlink_is_not_made_to_what_is_outside(tmp_path):
    root, secret = packed(tmp_path / "p", numbered()), _secret(tmp_path)
    linked_blob(root, secret)
    with pytest.raises(BlobdirError):
        subset(root, tmp_path / "s", SubsetOptions(blobs="symlink"))


WRITTEN = {
    "add": lambda p: add(p, "train", [write(p.parent / "new/x.png", picture("x"))]),
    "add with annotations": lambda p: add(
        p, "train", [write(p.parent / "new/x.png", picture("x"))],
        annotations=write(p.parent / "notes/x.png.json", annotation("x")).parent,
    ),
    "add --replace": lambda p: add(p, "train", [write(p.parent / "new/a002.png", picture("x"))], replace=True),
    "pipe": lambda p: transaction(p, lambda fs: fs.pipe("train/img/x.png", picture("x"))),
    "pipe an annotation": lambda p: transaction(p, lambda fs: fs.pipe("train/ann/a001.png.json", annotation())),
    "pipe through it": lambda p: transaction(p, lambda fs: fs.pipe("train/notes/x.txt", b"text")),
    "rm through it": lambda p: transaction(p, lambda fs: fs.rm("train/notes", recursive=True)),
    "mv": lambda p: transaction(p, lambda fs: fs.mv("train/img/a001.png", "train/img/x.png")),
    "remove": lambda p: remove(p, ["train/a001.png"]),
    "move": lambda p: move(p, ["train/a002.png"], "val"),
    "merge": lambda p: merge(p, packed(p.with_name("q"), {"train/x.png": picture("x")})),
}  # fmt: skip


@pytest.mark.parametrize("place", ["train/img", "train/ann", "train/meta", "train/notes", "val", "blob"])
@pytest.mark.parametrize("command", WRITTEN)
def test_nothing_is_written_through_a_link(tmp_path, command, place):
    root = packed(tmp_path / "p", numbered())
    for path in ("x.png", "x.png.json", "x.txt", "a001.png.json", "ann/a002.png.json"):
        write(tmp_path / "outside" / path, b"mine")
    if (root / place).exists():
        shutil.rmtree(root / place) if place != "blob" else shutil.move(root / place, tmp_path / "outside/blob")
    (root / place).symlink_to(tmp_path / "outside" / ("blob" if place == "blob" else ""))
    before = files_below(tmp_path / "outside")
    with contextlib.suppress(BlobdirError, OSError):
        WRITTEN[command](root)
    assert files_below(tmp_path / "outside") == before


@pytest.mark.parametrize("where", ["staging", "staging/train", "staging/train/img", "staging/blob"])
def test_a_strangers_journal_leads_nowhere(tmp_path, where):
    """Staging is a stranger's, with a link in it: nothing comes from outside into the project."""
    root = packed(tmp_path / "p", numbered())
    write(tmp_path / "outside/secret", b"precious")
    write(tmp_path / "outside/img/secret", b"precious")
    link = root / ".blobdir" / where
    shutil.rmtree(root / ".blobdir", ignore_errors=True)
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "outside")
    plan = {"rename": ["train/secret", "train/img/secret", "secret", "blob/secret"], "remove": []}
    write(root / ".blobdir/journal.json", json.dumps(plan).encode())
    before, mine = files_below(tmp_path / "outside"), files_below(root)
    for change in (lambda: remove(root, ["train/a002.png"]), lambda: recover(root)):
        with contextlib.suppress(BlobdirError):
            change()
    assert files_below(tmp_path / "outside") == before
    assert files_below(root).items() <= mine.items()


@pytest.mark.parametrize("command", ["push", "subset", "merge", "compact", "remove", "unpack"])
@pytest.mark.parametrize("target", ["..", ".", "../train", "loop"])
def test_links_in_circles_end(tmp_path, bucket, command, target):
    root = packed(tmp_path / "p", numbered())
    (root / "train/loop").symlink_to(target)
    with Child(lambda: _any(command, root, bucket)) as child:
        deadline = time.monotonic() + 20
        while os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            assert time.monotonic() < deadline, "it goes round and round"
            time.sleep(0.02)
        assert child.ended() == 0 or (child.ended() == REFUSED and command in ("merge", "compact", "push"))
    assert len(files_below(tmp_path)) < 80


def _any(command, root, url):
    from blobdir.cli.app import run

    if command == "unpack":
        assert run(["unpack", "-q", str(root), str(root.with_name("u"))]) in (0, 7)
    elif command == "remove":
        remove(root, ["train/a001.png"])
    else:
        TAKERS[command](root, root.parent, url)
    if command == "push":
        assert len(in_bucket(url)) < 60


@pytest.mark.parametrize("inside", [True, False], ids=["inside", "outside"])
@pytest.mark.parametrize("folder", ["ann", "img", "meta", "img_info", "seg", "masks_human"])
@pytest.mark.parametrize("command", [*LEAVING, "add --replace"])
def test_what_belongs_to_an_image_behind_a_link(tmp_path, command, folder, inside):
    """A folder that is a link isn't changed, and an image isn't parted from what is in it."""
    files = with_side_files(
        files_of({"train/a.png": picture("a"), "train/b.png": picture("b"), "val/c.png": picture("c")})
    )
    root = packed(tmp_path / "p", files)
    if folder == "img":
        write(root / "train/img/plain.png", picture("plain"))
    target = root / "kept" if inside else tmp_path / "outside"
    (root / "train" / folder).rename(target)
    (root / "train" / folder).symlink_to(os.path.relpath(target, root / "train"))
    before = files_below(root), files_below(target)
    with pytest.raises(BlobdirError, match=folder):
        TOUCHING[command](root, "train/img/a.png")
    assert (files_below(root), files_below(target)) == before


# -- blobs that another project has too ------------------------------------------------------------------------

CHANGING = TOUCHING | {
    "compact": lambda root, image: compact(root, unreferenced=True),
    "remove and compact": lambda root, image: (remove(root, [image]), compact(root)),
    "repair": lambda root, image: repair(root, verify(root)),
    "merge": lambda root, image: merge(root, root.parent / "third"),
}


@pytest.mark.parametrize("made_of", ["the project", "a subset"])
@pytest.mark.parametrize("blobs", ["link", "symlink", "copy"])
@pytest.mark.parametrize("command", CHANGING)
def test_a_change_of_a_subset_changes_no_blob_of_the_other_project(tmp_path, command, blobs, made_of):
    whole = packed(tmp_path / "p", numbered())
    packed(tmp_path / "third", numbered(2, dataset="third"))
    options = SubsetOptions(patterns=["train/a00[1-4].png"], blobs=blobs, follow_links=True)
    subset(whole, tmp_path / "s", options)
    if made_of == "a subset":
        (tmp_path / "s").rename(tmp_path / "first")
        subset(tmp_path / "first", tmp_path / "s", options)
    kept = {path: (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns) for path in whole.glob("blob/*")}
    before = shown(tmp_path / "s", follow_links=True)
    try:
        CHANGING[command](tmp_path / "s", "train/img/a001.png")
    except BlobdirError:
        assert blobs == "symlink"
        assert shown(tmp_path / "s", follow_links=True) == before
    assert kept == {p: (p.read_bytes(), p.stat().st_ino, p.stat().st_mtime_ns) for p in whole.glob("blob/*")}
    assert faults(whole) == []
    assert blobs == "symlink" or faults(tmp_path / "s") == []
