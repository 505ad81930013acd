"""Each kind of link to a folder where the format has one: seen as the folder by all, or said by all."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import fsspec
import pytest
from changes.samples import (
    annotation,
    change_entries,
    files_below,
    files_of,
    numbered,
    packed,
    picture,
    with_side_files,
    write,
)

import blobdir
from blobdir.cli.app import run
from blobdir.erofs.images import write_image
from blobdir.erofs.reader import ImageReader
from blobdir.errors import BlobdirError, IncompleteListingError, PackError
from blobdir.moving import fetch, push
from blobdir.opening import OpenOptions, open_tree
from blobdir.packing import SubsetOptions, add, compact, merge, move, remove, subset
from blobdir.verifying import repair, verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

FOLDERS = {
    "img": "a/datasets/b/img", "ann": "a/datasets/b/ann", "meta": "a/datasets/b/meta", "info": "train/img_info",
    "seg": "train/seg", "masks": "train/masks_human", "packed": "tight/ann.blob", "blob": "blob",
}  # fmt: skip
STORE = "store"
INSIDE = ("inside", "absolute", "twice")
"""Where a folder itself may be, and by what the link in its place leads there."""
AWAY = ("outside", "nowhere", "circle")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project with all folders of the format: images in blobs and beside them, annotations in tars and as files."""
    base = tmp_path_factory.mktemp("made")
    images = numbered(3) | numbered(4, dataset="a/datasets/b")
    root = packed(base / "p", with_side_files(files_of(images)))
    merge(root, packed(base / "other", with_side_files(files_of(numbered(3, dataset="tight"))), annotations="packed"))
    write(root / "a/datasets/b/img/plain.png", picture("plain"))
    write(root / "a/datasets/b/ann/plain.png.json", annotation("plain"))
    assert not verify(root, processes=1).errors
    return root


@pytest.fixture
def plain(made, tmp_path):
    shutil.copytree(made, tmp_path / "plain")
    return tmp_path / "plain"


@pytest.fixture
def linked(made, tmp_path):
    """The same project with a link in a folder's place."""

    def linked(folder, where):
        root = tmp_path / "linked"
        shutil.copytree(made, root)
        at = root / FOLDERS[folder]
        # Anywhere else, a folder with offsets in it is a dataset.
        to = tmp_path / STORE / folder if where in AWAY else root / ("blob" if folder == "packed" else ".") / STORE
        to.parent.mkdir(exist_ok=True)
        at.rename(to)
        target = Path(os.path.relpath(to, at.parent))
        if where == "twice":
            between = root / "blob/between" if folder == "packed" else root / "between"
            between.symlink_to(os.path.relpath(to, between.parent))
            target = Path(os.path.relpath(between, at.parent))
        at.symlink_to({"absolute": to, "nowhere": "nowhere", "circle": "."}.get(where, target))
        return root

    return linked


def own(files):
    """What is in the project besides the place where the folder itself is."""
    return {path: data for path, data in files.items() if not is_place(path)}


def is_place(path):
    return path.startswith((f"{STORE}/", f"blob/{STORE}/", "between", "blob/between"))


def shown(root, follow_links=False):
    fs = blobdir.open_project(root, index="none", follow_links=follow_links).filesystem
    return {path: bytes(fs.cat_file(path)) for path in fs.find("") if path != "between"}


def called(*words):
    if code := run([str(word) for word in words]):
        raise IncompleteListingError(f"exit status {code}")


def by_copy(root, base, follow_links):
    called("cp", "-r", "-q", *["--follow-links"] * follow_links, f"{root}/", base / "copied")
    return files_below(base / "copied")


def by_unpack(root, base, follow_links):
    called("unpack", "-q", *["--follow-links"] * follow_links, root, base / "unpacked")
    return files_below(base / "unpacked")


def by_image(root, base, follow_links):
    options = OpenOptions(blobdir.discovery.DiscoveryOptions(follow_links=follow_links), index="none")
    image = write_image(open_tree(root, options=options), base / "image.erofs")
    if image.unreadable:
        raise IncompleteListingError(str(image.unreadable))
    with ImageReader(image.path) as reader:
        return {os.fsdecode(path): None for path, inode in reader.walk() if stat.S_ISREG(inode.mode)}


def by_subset(root, base, follow_links):
    subset(root, base / "subset", SubsetOptions(follow_links=follow_links))
    return shown(base / "subset")


def by_push(root, base, follow_links):
    fsspec.filesystem("memory").store.clear()
    if not push(root, "memory://linked", follow_links=follow_links).complete:
        raise PackError("not complete")
    fetch("memory://linked", base / "fetched")
    return shown(base / "fetched")


READERS = {
    "tree": lambda root, _, follow_links: shown(root, follow_links), "cp": by_copy, "unpack": by_unpack,
    "image": by_image, "subset": by_subset, "push": by_push,
}  # fmt: skip


@pytest.mark.parametrize(
    ("where", "reader"),
    [*((where, reader) for where in ("inside", "outside, followed") for reader in READERS),
     *((where, reader) for where in ("absolute", "twice") for reader in ("tree", "push"))],
)  # fmt: skip
@pytest.mark.parametrize("folder", FOLDERS)
def test_all_see_what_is_behind_it(plain, linked, tmp_path, folder, where, reader):
    (tmp_path / "of plain").mkdir()
    expected = READERS[reader](plain, tmp_path / "of plain", False)
    root = linked(folder, where.partition(",")[0])
    found = own(READERS[reader](root, tmp_path, "followed" in where))
    assert found == own(expected)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("where", AWAY)
@pytest.mark.parametrize("folder", FOLDERS)
def test_nobody_takes_what_is_left_for_all(linked, tmp_path, folder, where, reader):
    root = linked(folder, where)
    with pytest.raises((BlobdirError, OSError)):
        READERS[reader](root, tmp_path, False)
    assert verify(root, processes=1).errors
    (defect, *_) = blobdir.open_project(root, index="none").defects
    assert FOLDERS[folder] in defect.message


@pytest.mark.parametrize("where", INSIDE)
@pytest.mark.parametrize("folder", FOLDERS)
def test_verify_looks_behind_it(plain, linked, folder, where):
    root = linked(folder, where)
    assert not verify(root, processes=1).errors
    for one in (plain, root):
        top = one / FOLDERS[folder]
        for path in sorted(top.iterdir()):
            if path.suffix in (".tar", ".json", ".png"):
                data = bytearray(path.read_bytes())
                data[: 700 if path.suffix == ".tar" else 8] = bytes(700 if path.suffix == ".tar" else 8)
                path.write_bytes(data)
    found, expected = (verify(one, processes=1, decode=True) for one in (root, plain))
    said = [{(f.code, f.path, f.count) for f in one.findings if not is_place(f.path)} for one in (found, expected)]
    assert said[0] == said[1] != set()
    assert (found.blobs, found.entries, found.annotations, found.files, found.checksums) == (
        expected.blobs, expected.entries, expected.annotations, expected.files, expected.checksums,
    )  # fmt: skip


def third(root, **options):
    return packed(root.parent / "third", with_side_files(files_of(numbered(2, start=50, **options))))


def compacted(root):
    remove(root, ["train/a001.png"])
    compact(root)


def merged_into(root):
    merge(third(root, dataset="more"), root)
    return shown(root.parent / "third")


def then(change):
    def changed(root):
        change(root)
        return shown(root)

    return changed


WRITERS = {
    "remove": then(lambda root: remove(root, ["a/b/a002.png", "tight/a001.png"])),
    "add": then(lambda root: add(root, "a/b", [write(root.parent / "new.png", picture("new"))])),
    "move": then(lambda root: move(root, ["a/b/a004.png"], "tight")),
    "merge": then(lambda root: merge(root, third(root, dataset="a/datasets/b"))),
    "compact": then(compacted), "merged into": merged_into,
}  # fmt: skip


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_changes_are_whole_or_refused(made, plain, linked, tmp_path, folder, where, writer):
    root = linked(folder, where)
    try:
        done = WRITERS[writer](root)
    except (BlobdirError, OSError) as error:
        assert any(word in str(error) for word in ("link", "listed", "isn't where")), error
        done = None
    if done is not None:
        shutil.rmtree(tmp_path / "third", ignore_errors=True)
        assert own(done) == own(WRITERS[writer](plain))
    if where == "outside":
        assert files_below(tmp_path / STORE / folder) == files_below(made / FOLDERS[folder])


@pytest.mark.parametrize("folder", FOLDERS)
def test_repair_goes_on_beside_it(linked, folder):
    root = linked(folder, "inside")
    pickles = sorted((root / "tight").glob("*_offsets.pkl")) + sorted((root / "tight/ann.blob").glob("*.pkl"))
    for pickle in pickles:
        change_entries(pickle, lambda name, start, end: (name, start + 1, end))
    said = dict(sentence.split(": ", 1) for sentence in repair(root, verify(root, processes=1)))
    images, annotations = (said[pickle.relative_to(root).as_posix()] for pickle in pickles)
    assert images.startswith("now has 3 images")
    assert annotations.startswith("not mended: lies behind a" if folder == "packed" else "now has 3 ")
    left = verify(root, processes=1).errors
    assert left if folder == "packed" else not left
