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
    pickles,
    picture,
    tars,
    with_side_files,
    write,
)

import blobdir
from blobdir.cli.app import run
from blobdir.discovery import layout
from blobdir.erofs.images import write_image
from blobdir.erofs.reader import ImageReader
from blobdir.errors import BlobdirError, IncompleteListingError, PackError, ReadError
from blobdir.moving import fetch, push
from blobdir.opening import OpenOptions, open_tree
from blobdir.packing import SubsetOptions, add, add_blob_file, compact, merge, move, remove, subset
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
    [*(("inside", reader) for reader in READERS if reader != "subset"),  # which is refused
     *(("outside, followed", reader) for reader in READERS),
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


def images_beside(root):
    return [write(root.parent / "new.png", picture("new"))]


def edited(change):
    def edit(root):
        fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
        with fs.transaction:
            change(fs)

    return edit


def merged(root, **options):
    merge(root, third(root, dataset="a/datasets/b"), **options)


WRITERS = {
    "remove": lambda root: remove(root, ["a/b/a002.png", "tight/a001.png"]),
    "remove, dry": lambda root: remove(root, ["a/b/a002.png"], dry_run=True),
    "add": lambda root: add(root, "a/b", images_beside(root)),
    "add to a new one": lambda root: add(root, "new", images_beside(root)),
    "add, dry": lambda root: add(root, "a/b", images_beside(root), dry_run=True),
    "move": lambda root: move(root, ["a/b/a004.png"], "tight"),
    "move, dry": lambda root: move(root, ["a/b/a004.png"], "tight", dry_run=True),
    "merge": merged,
    "merge, dry": lambda root: merged(root, dry_run=True),
    "compact": compact,
    "compact all": lambda root: compact(root, unreferenced=True),
    "compact, dry": lambda root: compact(root, dry_run=True),
    "add_blob_file": lambda root: add_blob_file(root, tars(third(root, dataset="more"))[0], "more"),
    "pipe": edited(lambda fs: fs.pipe("new/img/new.png", picture("new"))),
    "rm": edited(lambda fs: fs.rm("train", recursive=True)),
    "mv": edited(lambda fs: fs.mv("a/datasets/b/img/plain.png", "train/img/plain.png")),
}  # fmt: skip
TAKERS = {
    "merged into": lambda root: merge(third(root, dataset="more"), root),
    "merged into, dry": lambda root: merge(third(root, dataset="more"), root, dry_run=True),
    "merged into, copied": lambda root: merge(third(root, dataset="more"), root, copy=True),
    "subset": lambda root: subset(root, root.parent / "subset"),
}
"""Commands that make another project of all of one."""


def linked_offsets(root):
    """Another dataset shows the same members."""
    offsets = next(root.glob("train/*_offsets.pkl"))
    return root / "a" / offsets.name, f"../train/{offsets.name}"


def linked_packed_offsets(root):
    offsets = next(root.glob("tight/ann.blob/*_offsets.pkl"))
    (root / "a/ann.blob").mkdir()
    shutil.copy(next(root.glob("tight/ann.blob/*.tar")), root / "a/ann.blob")
    return root / "a/ann.blob" / offsets.name, f"../../tight/ann.blob/{offsets.name}"


def blob_of_train(root):
    return next(root.glob("train/*_offsets.pkl")).name.replace(layout.OFFSETS_SUFFIX, ".tar")


def linked_blob(root):
    """Another name of a blob, with offsets of its own."""
    shutil.copy(next(root.glob("train/*_offsets.pkl")), root / "a/again_offsets.pkl")
    return root / "blob/again.tar", blob_of_train(root)


def linked_packed_blob(root):
    blob = next(root.glob("tight/ann.blob/*.tar"))
    (root / "a/ann.blob").mkdir()
    shutil.copy(blob.with_name(f"{blob.stem}_offsets.pkl"), root / "a/ann.blob")
    return root / "a/ann.blob" / blob.name, f"../../tight/ann.blob/{blob.name}"


def in_place_of_a_blob(root):
    """The tar itself lies elsewhere in the project."""
    blob = blob_of_train(root)
    (root / STORE).mkdir()
    (root / "blob" / blob).rename(root / STORE / blob)
    return root / "blob" / blob, f"../{STORE}/{blob}"


def by_other_case(root):
    at, target = linked_blob(root)
    return at.with_suffix(".TAR"), target


FILES = (linked_offsets, linked_packed_offsets, linked_blob, linked_packed_blob, in_place_of_a_blob, by_other_case)


@pytest.fixture
def linked_file(made, tmp_path):
    """The same project with a link in a file's place."""

    def linked(kind):
        root = tmp_path / "linked"
        shutil.copytree(made, root)
        (root / "a/ann").mkdir(exist_ok=True)
        link, target = kind(root)
        link.symlink_to(target)
        return root, link.relative_to(root).as_posix()

    return linked


def refused(root, link, writer, there, then):
    """Make sure that a command says what is wrong, and touches nothing."""
    before = files_below(root)
    target = os.readlink(root / link)
    with pytest.raises(PackError) as caught:
        writer(root)
    shutil.rmtree(root / ".blobdir", ignore_errors=True)
    assert str(caught.value).endswith(f"{link}: is a symbolic link to {target}; put {there} there, and {then}")
    assert files_below(root) == before
    assert not (root.parent / "subset").exists()


CHANGED = "change the project then; nothing was changed"
TAKEN = ("merge it then; nothing was changed", "choose from it then; nothing was written")


@pytest.mark.parametrize(
    ("where", "writer"),
    [*((where, writer) for where in ("inside", "outside") for writer in WRITERS),
     *((where, "compact") for where in ("absolute", "twice", "nowhere", "circle"))],
)  # fmt: skip
@pytest.mark.parametrize("folder", FOLDERS)
def test_nobody_changes_a_project_with_a_linked_folder(made, linked, tmp_path, folder, where, writer):
    root = linked(folder, where)
    refused(root, FOLDERS[folder], WRITERS[writer], "a folder", CHANGED)
    if where in AWAY:
        assert files_below(tmp_path / STORE / folder) == files_below(made / FOLDERS[folder])


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", FILES)
def test_nobody_changes_a_project_with_a_linked_file(linked_file, kind, writer):
    root, link = linked_file(kind)
    refused(root, link, WRITERS[writer], "the file itself", CHANGED)


def linked_to(path):
    """Put something elsewhere in the project, and a link in its place."""
    moved = path.parent.parent / "elsewhere"
    path.rename(moved)
    path.symlink_to(f"../{moved.name}")


def without_blobs(inner):
    """A project that is one by ``.blobdir/`` alone."""
    shutil.rmtree(inner / "blob")
    (inner / "blob").mkdir()
    (inner / ".blobdir").mkdir(exist_ok=True)


INNER = {
    "with blobs": lambda inner: None,
    "its blobs behind a link": lambda inner: linked_to(inner / "blob"),
    "its meta.json behind a link": lambda inner: linked_to(inner / "meta.json"),
    "blobs behind links": lambda inner: linked_to(tars(inner)[0]),
    "without blobs": without_blobs,
}
"""What a project that lies in another one looks like."""


def with_inner(made, root, kind="with blobs", place="backup"):
    shutil.copytree(made, root)
    shutil.copytree(made, root / place)
    INNER[kind](root / place)
    return root


def refused_for_inner(root, command, said):
    before = files_below(root)
    with pytest.raises(PackError, match=said):
        command(root)
    shutil.rmtree(root / ".blobdir", ignore_errors=True)
    assert files_below(root) == before


IN_PLACES = [("with blobs", "a/backup"), ("with blobs", "train/datasets/b"), *((kind, "backup") for kind in INNER)]


@pytest.mark.parametrize(("kind", "place"), IN_PLACES)
@pytest.mark.parametrize("writer", WRITERS)
def test_nobody_changes_a_project_with_a_project_in_it(made, tmp_path, writer, kind, place):
    """Its datasets are shown as the outer one's: whoever changed those would take the inner project's away."""
    root = with_inner(made, tmp_path / "outer", kind, place)
    refused_for_inner(root, WRITERS[writer], rf"^{place}: is a project of its own.*nothing was changed$")
    assert ("project-inside", place) in {(finding.code, finding.path) for finding in verify(root).findings}


@pytest.mark.parametrize(("kind", "place"), IN_PLACES)
@pytest.mark.parametrize("taker", TAKERS)
def test_nobody_takes_a_project_with_a_project_in_it(made, tmp_path, taker, kind, place):
    root = with_inner(made, tmp_path / "outer", kind, place)
    refused_for_inner(root, TAKERS[taker], rf"{place}: is a project of its own.*nothing was (changed|written)$")
    assert not (tmp_path / "subset").exists()


@pytest.mark.parametrize("kind", [kind for kind in INNER if kind != "without blobs"])
@pytest.mark.parametrize("reader", READERS)
def test_nobody_reads_an_inner_image_from_an_outer_blob(made, tmp_path, reader, kind):
    """The blobs are called alike, and the offsets fit both."""
    root = with_inner(made, tmp_path / "outer", kind)
    with pytest.raises((BlobdirError, OSError)):
        READERS[reader](root, tmp_path, False)


@pytest.mark.parametrize("on_defect", ["refuse", "ignore"])
def test_what_lies_around_an_inner_project_is_read(made, tmp_path, on_defect):
    root = with_inner(made, tmp_path / "outer")
    project = blobdir.open_project(root, index="none", on_defect=on_defect)
    assert project.filesystem.cat_file("train/img/a001.png") == numbered(1)["train/a001.png"]
    with pytest.raises(ReadError, match="backup is a project of its own"):
        project.filesystem.cat_file("backup/train/img/a001.png")
    subset(root, tmp_path / "subset", SubsetOptions(datasets=("train",)))
    assert "train/img/a001.png" in shown(tmp_path / "subset")
    own = pickles(root / "backup", packed_annotations=False)
    errors = {found.path for found in verify(root, processes=1).findings if found.severity == "error"}
    assert errors == {path.relative_to(root).as_posix() for path in own}


def test_an_inner_project_that_is_behind_a_url_is_no_other(made, tmp_path):
    root = with_inner(made, tmp_path / "outer")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.put(f"{root}/", "/outer/", recursive=True)
    fs = blobdir.open_project("memory://outer", index="none").filesystem
    assert fs.cat_file("train/img/a001.png") == numbered(1)["train/a001.png"]
    with pytest.raises(ReadError, match="backup is a project of its own"):
        fs.cat_file("backup/train/img/a001.png")
    with pytest.raises(PackError, match="project of its own"):
        fetch("memory://outer", tmp_path / "fetched")


def test_repair_leaves_an_inner_project_alone(made, tmp_path):
    root = with_inner(made, tmp_path / "outer")
    damaged = next(root.glob("backup/train/*_offsets.pkl"))
    damaged.write_bytes(damaged.read_bytes()[:20])
    before = files_below(root)
    (said,) = repair(root, verify(root, processes=1))
    assert said == f"{damaged.relative_to(root)}: not mended: backup is a project of its own; repair that one"
    assert files_below(root) == before


@pytest.mark.parametrize("writer", ["remove", "add", "move", "merge", "compact", "pipe"])
@pytest.mark.parametrize("place", ["train", "a/datasets"])
def test_a_dataset_called_blob_makes_no_project(made, tmp_path, place, writer):
    root = tmp_path / "outer"
    shutil.copytree(made, root)
    write(root / place / "meta.json", b"{}")
    shutil.copytree(root / "train", root / place / "blob")
    WRITERS[writer](root)
    assert "project-inside" not in {finding.code for finding in verify(root, processes=1).findings}


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("where", INSIDE)
@pytest.mark.parametrize("folder", FOLDERS)
def test_nobody_takes_a_project_with_a_linked_folder(linked, folder, where, taker):
    root = linked(folder, where)
    refused(root, FOLDERS[folder], TAKERS[taker], "a folder", TAKEN[taker.startswith("subset")])


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("kind", FILES)
def test_nobody_takes_a_project_with_linked_offsets(linked_file, kind, taker):
    """Blobs may be links: whoever takes one, takes what it leads to."""
    root, link = linked_file(kind)
    if link.endswith(layout.OFFSETS_SUFFIX):
        refused(root, link, TAKERS[taker], "the file itself", TAKEN[taker.startswith("subset")])
    else:
        images = {path: data for path, data in shown(root).items() if "/img/" in path}
        TAKERS[taker](root)
        taken = shown(root.parent / ("subset" if taker.startswith("subset") else "third"))
        assert "dry" in taker or images.items() <= taken.items()


def test_a_subset_of_other_datasets_than_the_linked_one(linked):
    root = linked("seg", "inside")
    subset(root, root.parent / "subset", SubsetOptions(datasets=("tight",)))
    assert shown(root.parent / "subset").keys() >= {f"tight/img/a00{number}.png" for number in (1, 2, 3)}


@pytest.mark.parametrize("kind", FILES)
def test_repair_leaves_alone_what_a_link_shows_too(linked_file, kind):
    root, link = linked_file(kind)
    (damaged,) = root.glob("tight/ann.blob/*_offsets.pkl" if "ann.blob" in link else "train/*_offsets.pkl")
    change_entries(damaged, lambda name, start, end: (name, start + 1, end))
    before = files_below(root)
    said = dict(sentence.split(": ", 1) for sentence in repair(root, verify(root, processes=1)))
    shutil.rmtree(root / ".blobdir", ignore_errors=True)
    assert "is a symbolic link" in said[damaged.relative_to(root).as_posix()]
    assert files_below(root) == before


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
