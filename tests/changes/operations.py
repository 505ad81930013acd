"""One project, and one operation of each command that changes it or makes another one of it."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fsspec
from changes.looking import faults, seen, shown
from changes.samples import (
    META,
    annotation,
    entries,
    files_of,
    numbered,
    packed,
    pickles,
    picture,
    picture_of,
    rewrite,
    with_side_files,
    write,
    write_files,
)  # fmt: skip

from blobdir import ImageStore, Project
from blobdir.errors import BlobdirWarning
from blobdir.moving import fetch, push
from blobdir.packing import PackOptions, SubsetOptions, add, compact, merge, move, pack, relabel, remove, subset
from blobdir.verifying import repair, verify


def prepare(base):
    """A folder with a project ``p``, and what operations need besides.

    Some of its blobs' bytes are unused, one annotation serves two images, there is a plain image, and images have files
    beside them in ``meta/`` and other folders.
    """
    images = numbered(8) | {"train/x.png": picture("x"), "train/x.bmp": picture("x", form="BMP")}
    images |= {"val/v1.png": picture("v1"), "val/datasets/deep/v2.png": picture("v2")}
    files = with_side_files(files_of(images))
    del files["train/ann/x.bmp.json"]
    files["train/ann/x.json"] = files.pop("train/ann/x.png.json")
    packed(base / "p", files)
    write(base / "p/train/img/loose.png", picture("loose"))
    write(base / "p/train/ann/loose.png.json", annotation("loose"))
    remove(base / "p", ["train/a002.png", "train/a003.png"])
    packed(base / "other", with_side_files(files_of(numbered(3, 50, "more"))))
    for name in ("n0.png", "n1.png"):
        write(base / "new" / name, picture(name))
        write(base / "notes" / f"{name}.json", annotation(name))
    write(base / "again/a001.png", picture("again"))
    write_files(base / "source", with_side_files(files_of(numbered(6, 70))))
    return base


def broken_pickle(base):
    """The same, with a wrong end in one of the offsets: what `verify --repair` can mend."""
    pickle = pickles(base / "p", False)[0]
    first, *rest = entries(pickle)
    rewrite(pickle, [(first[0], first[1], first[2] + 1), *rest])


def transaction(base):
    fs = fsspec.filesystem("blobdir", fo=str(base / "p"), skip_instance_cache=True)
    with fs.transaction:
        fs.put(str(base / "new"), "fresh/img", recursive=True)
        fs.put(str(base / "again/a001.png"), "train/img/a001.png")
        fs.rm("train/img/a004.png")
        fs.pipe("train/ann/a005.png.json", annotation("by a transaction"))
        fs.mv("train/img/a006.png", "val/img/six.png")
        fs.pipe("train/notes.txt", b"notes")


def fetched(base):
    fetch("memory://operations", base / "made", resume=True)


def subset_of(base):
    subset(base / "p", base / "made", SubsetOptions(patterns=("train/a00[1-7].png", "train/x.png", "val/*")))


def mended(base):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        repair(base / "p", verify(base / "p", processes=1))


def small_commits(base):
    """Commits that leave two small blobs, and a third one with an image that was removed."""
    store = ImageStore(base / "p", dataset="train")
    store.put_many(
        {f"stored/{i}": b"%d" % i for i in range(40)} | {"s.png": picture("s")}, metadata={"s.png": {"a": 1}}
    )
    store.put_many({"s1": b"1", "s2": b"2"})


def stored(base):
    with ImageStore(base / "p", dataset="train") as store:
        store.put_many({"s3": b"3", "a001.png": picture("again")}, metadata={"s3": {"new": []}, "s2": {"more": 2}})
        store.delete_many(["s1", "s.png", "a005.png"])


@dataclass(frozen=True)
class Operation:
    """One operation on the folder that `prepare` has made.

    Attributes
    ----------
    run : callable
    again : callable
        What a user does where it was cut off, until it succeeds.
    makes : bool
        Whether it makes another project, ``made``, and leaves ``p`` alone.
    before : callable
        What is done to the folder beforehand.
    """

    run: Callable[[Path], object]
    again: Callable[[Path], object]
    makes: bool = False
    before: Callable[[Path], object] = lambda base: None

    def root(self, base):
        return base / ("made" if self.makes else "p")


def _operation(run, **options):
    return Operation(run, options.pop("again", run), **options)


def _pack(base, resume=False, **options):
    options = PackOptions(shard_images=4, processes=1, **options)
    pack(base / "source", base / "made", options, resume=resume and (base / "made.packing").exists())


OPERATIONS = {
    "add": _operation(lambda base: add(base / "p", "train", sorted((base / "new").iterdir()))),
    "add to a new dataset": _operation(
        lambda base: add(base / "p", "newer/deep", sorted((base / "new").iterdir()), annotations=base / "notes")
    ),
    "add --replace": _operation(lambda base: add(base / "p", "train", [base / "again/a001.png"], replace=True)),
    "remove": _operation(lambda base: remove(base / "p", ["train/a001.png", "train/loose.png", "val/v1.png"])),
    "move": _operation(lambda base: move(base / "p", ["train/a001.png", "train/loose.png", "val/v1.png"], "test/x")),
    "compact": _operation(lambda base: compact(base / "p")),
    "merge": _operation(lambda base: merge(base / "p", base / "other")),
    "merge by copying": _operation(lambda base: merge(base / "p", base / "other", copy=True)),
    "transaction": _operation(transaction),
    "store": _operation(stored, before=small_commits),
    "compact a store": _operation(lambda base: compact(base / "p"), before=small_commits),
    "compact into shards": _operation(lambda base: relabel(base / "p")),
    "verify --repair": _operation(mended, before=broken_pickle),
    "subset": _operation(subset_of, makes=True),
    "pack": _operation(_pack, again=lambda base: _pack(base, True), makes=True),
    "pack with packed annotations": _operation(
        lambda base: _pack(base, annotations="packed"),
        again=lambda base: _pack(base, True, annotations="packed"),
        makes=True,
    ),
    "pack into shards": _operation(
        lambda base: _pack(base, layout="webdataset"),
        again=lambda base: _pack(base, True, layout="webdataset"),
        makes=True,
    ),
    "fetch": _operation(fetched, makes=True),
    "create": _operation(lambda base: Project.create(base / "made", META), makes=True),
}
CHANGING = {name: operation for name, operation in OPERATIONS.items() if not operation.makes}


def upload(base):
    """Have a copy of the project in memory, for ``fetch``."""
    fsspec.filesystem("memory").rm("/operations", recursive=True) if fsspec.filesystem("memory").exists(
        "/operations"
    ) else None
    push(base / "p", "memory://operations")


def copied(base, target):
    """A copy of the folder, hard links kept apart."""
    return Path(shutil.copytree(base, target, symlinks=True))


def state(operation, base):
    """What an operation's project shows; ``{}`` where there is none, None where readers are told of a fault."""
    root = operation.root(base)
    if not os.path.lexists(root):
        return {}
    found = seen(root)
    return found and {path: data for path, data in found.items() if ".backup-" not in path}  # named by the clock


def has_removed_bytes(base):
    """Whether blobs hold an image that was removed before: what `compact` changes."""
    return any(picture_of("a002.png", 2) in path.read_bytes() for path in (base / "p/blob").glob("*.tar"))


def judge_result(operation, base, allowed, source):
    """A project is one of those that it may be, sound, and what it was made of is what it was."""
    if operation.makes:
        assert shown(base / "p") == source
    found = state(operation, base)
    assert found is not None, "there are defects"
    assert found in allowed, difference(found, allowed)
    if found:
        assert faults(operation.root(base)) == []
    return found


def difference(found, allowed):
    """For an assertion: what is more or less than in each of those that are allowed, and what is another one."""
    return [
        (found.keys() ^ one.keys(), [p for p in found.keys() & one.keys() if found[p] != one[p]]) for one in allowed
    ]


def next_change(root, allowed, *, compacting=True):
    """A change of another kind, without anything being recovered before: it has to work, and to change nothing else.

    Gives what is shown then, one of those that are allowed.
    """
    name = "by the next change.txt"
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    with fs.transaction:
        fs.pipe(name, b"here")
    found = shown(root)
    assert found.pop(name) == b"here"
    assert found in allowed, difference(found, allowed)
    assert not (root / ".blobdir/journal.json").exists()
    if compacting:
        compact(root)
    with fs.transaction:
        fs.rm(name)
    assert shown(root) == found
    assert faults(root) == []
    return found
