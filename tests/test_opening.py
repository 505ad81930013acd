"""A stored index is used while it's true, and not a moment longer."""

import os
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from blob_builder import Builder

from blobdir.discovery import DiscoveryOptions
from blobdir.errors import BlobdirWarning, LinkError, UsageError
from blobdir.opening import BESIDE, OpenOptions, cache_folder, choosing, keeping, open_tree
from blobdir.sources import open_storage

LONG_AGO = time.time() - 3600


def age(root: Path) -> None:
    """Give everything an old time, and wait: what was changed a moment ago isn't trusted."""
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            os.utime(os.path.join(folder, name), (LONG_AGO, LONG_AGO))
        os.utime(folder, (LONG_AGO, LONG_AGO))
    time.sleep(0.03)


@pytest.fixture
def builder(tmp_path):
    made = Builder(tmp_path / "p")
    made.blob("train", "a", {f"{i}.jpg": b"%d" % i for i in range(20)})
    age(made.root)
    return made


def test_index_given_by_folder_is_written_and_used(builder, builds, tmp_path):
    options = OpenOptions(index=str(tmp_path / "ix"))
    one = open_tree(builder.root, options=options)
    two = open_tree(builder.root, options=options)
    assert len(builds) == 1
    assert one.names(one.find("train/img")) == two.names(two.find("train/img"))
    assert two.read(two.find("train/img/7.jpg")) == b"7"


def test_index_beside_the_project_is_used(builder, builds):
    open_tree(builder.root, options=OpenOptions(index=str(builder.root / BESIDE)))
    open_tree(builder.root, options=OpenOptions(index=str(builder.root / BESIDE)))
    tree = open_tree(builder.root)
    assert len(builds) == 1
    assert tree.names(0) == ["meta.json", "train"]  # and isn't shown


def test_large_index_goes_to_the_cache_folder(builder, builds, monkeypatch):
    monkeypatch.setattr(choosing, "STORE_ROWS", 10)
    open_tree(builder.root)
    open_tree(builder.root)
    assert len(builds) == 1
    folder = cache_folder(open_storage(builder.root), DiscoveryOptions())
    assert (folder / "header.json").exists()
    open_tree(builder.root, options=OpenOptions(DiscoveryOptions(show_blobs=True)))
    assert len(builds) == 2  # other options, other tree


def change_nothing(root):
    pass


def add_annotation(root):
    (root / "train/ann/new.json").write_bytes(b"{}")


def replace_blob(root):
    data = (root / "blob/a.tar").read_bytes()
    (root / "blob/a.tar").write_bytes(data)


def replace_blob_and_hide_it(root):
    stat = (root / "blob/a.tar").stat()
    (root / "blob/a.tar").write_bytes((root / "blob/a.tar").read_bytes() + bytes(512))
    os.utime(root / "blob/a.tar", ns=(stat.st_atime_ns, stat.st_mtime_ns))


def remove_blob(root):
    (root / "blob/a.tar").unlink()
    os.utime(root / "blob", (LONG_AGO, LONG_AGO))


def rewrite_pickle(root):
    data = (root / "train/a_offsets.pkl").read_bytes()
    (root / "train/a_offsets.pkl").write_bytes(data)


def add_dataset(root):
    (root / "train/datasets").mkdir()


@pytest.mark.parametrize(
    "change", [add_annotation, replace_blob, replace_blob_and_hide_it, remove_blob, rewrite_pickle, add_dataset]
)
def test_stale_index_is_built_anew(builder, builds, tmp_path, change):
    options = OpenOptions(index=str(tmp_path / "ix"))
    open_tree(builder.root, options=options)
    change(builder.root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        open_tree(builder.root, options=options)
    assert len(builds) == 2


def test_edited_annotation_leaves_the_index_true(builder, builds, tmp_path):
    options = OpenOptions(index=str(tmp_path / "ix"))
    open_tree(builder.root, options=options)
    (builder.root / "train/ann/1.jpg.json").write_bytes(b'{"edited": true}')
    tree = open_tree(builder.root, options=options)
    assert len(builds) == 1
    assert tree.read(tree.find("train/ann/1.jpg.json")) == b'{"edited": true}'


def test_damaged_index_is_built_anew_with_a_warning(builder, builds, tmp_path):
    options = OpenOptions(index=str(tmp_path / "ix"))
    open_tree(builder.root, options=options)
    column = tmp_path / "ix/offset.npy"
    data = bytearray(column.read_bytes())
    data[-3] ^= 1
    column.write_bytes(data)
    with pytest.warns(BlobdirWarning, match=r"offset\.npy.*built anew"):
        tree = open_tree(builder.root, options=options)
    assert tree.read(tree.find("train/img/7.jpg")) == b"7"
    open_tree(builder.root, options=options)
    assert len(builds) == 2


def test_index_in_a_folder_that_cannot_be_written_is_an_error(builder, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        open_tree(builder.root, options=OpenOptions(index=str(tmp_path / "file" / "ix")))


def test_unwritable_cache_is_none(builder, monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(choosing, "STORE_ROWS", 10)
    monkeypatch.setattr(keeping, "cache_folder", lambda *args: tmp_path / "file" / "ix")
    assert len(open_tree(builder.root).index) > 20


def test_options_are_checked():
    with pytest.raises(UsageError, match="on_conflict='eror': choose one of error, skip, rename, replace"):
        DiscoveryOptions(on_conflict="eror")
    with pytest.raises(UsageError, match="on_defect"):
        DiscoveryOptions(on_defect="warn")


def test_progress_is_told(builder):
    seen = []
    open_tree(builder.root, options=OpenOptions(index="none"), progress=lambda *step: seen.append(step))
    assert ("offsets", 1, 1) in seen
    assert any(step == "folders" for step, _, _ in seen)


def test_index_of_a_large_folder_is_small(tmp_path):
    made = Builder(tmp_path / "p")
    made.offsets("train", "a", [(b"image_%08d.jpg" % i, i * 4096 + 512, i * 4096 + 4000) for i in range(30_000)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        tree = open_tree(made.root, options=OpenOptions(index="none"))
    assert tree.index.nbytes < 64 * 30_000
    assert np.all(np.diff(tree.index.offset[tree.find("train/img/image_00000000.jpg") :]) == 4096)


def test_hostile_index_cannot_reach_out(tmp_path):
    """An index that says folder where the disk has a link to somewhere else."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key.txt").write_bytes(b"secret")
    made = Builder(tmp_path / "p")
    made.loose("notes/key.txt", b"harmless")
    made.blob("train", "a", {"1.jpg": b"1" * 100})
    tree = open_tree(made.root, options=OpenOptions(index="none"))
    (made.root / "notes/key.txt").unlink()
    (made.root / "notes").rmdir()
    (made.root / "notes").symlink_to(tmp_path / "secret")
    os.rename(made.root / "blob", tmp_path / "elsewhere")
    (made.root / "blob").symlink_to(tmp_path / "elsewhere")
    for path in ("notes/key.txt", "train/img/1.jpg"):
        with pytest.raises(LinkError, match="outside the project"):
            tree.read(tree.find(path))


def test_offsets_pickle_that_is_a_link_to_outside(tmp_path):
    made = Builder(tmp_path / "p")
    made.blob("train", "a", {"1.jpg": b"1" * 100})
    os.rename(made.root / "train/a_offsets.pkl", tmp_path / "elsewhere.pkl")
    (made.root / "train/a_offsets.pkl").symlink_to(tmp_path / "elsewhere.pkl")
    with pytest.warns(BlobdirWarning, match="outside the project"):
        tree = open_tree(made.root, options=OpenOptions(index="none"))
    assert [defect.code for defect in tree.defects] == ["offsets-unreadable", "blob-unreferenced"]
    followed = open_tree(made.root, options=OpenOptions(DiscoveryOptions(follow_links=True), "none"))
    assert followed.read(followed.find("train/img/1.jpg")) == b"1" * 100
