"""What lies outside a project is looked at with ``follow_links``, what lies behind links in it always."""

import os
import sys

import pytest
from changes.samples import annotation, files_of, numbered, packed, pickles, tars, with_side_files, write

from blobdir.cli.app import run
from blobdir.packing import SubsetOptions, subset
from blobdir.verifying import verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


@pytest.fixture
def root(tmp_path):
    images = numbered(3) | numbered(3, dataset="val")
    return packed(tmp_path / "p", with_side_files(files_of(images)))


def first(folder, pattern="*"):
    return lambda root: min((root / folder).glob(pattern))


PLACES = {
    "tar": first("blob", "*.tar"), "sums": first("blob", "SHA*"), "blobs": lambda root: root / "blob",
    "pickle": first("train", "*.pkl"), "dataset": lambda root: root / "train",
    "annotations": lambda root: root / "train/ann", "annotation": first("train/ann"),
    "info": first("train/img_info"), "meta": lambda root: root / "train/meta", "mask": first("train/masks_human"),
    "settings": lambda root: root / "meta.json",
}  # fmt: skip


def damage(path):
    """Have a file, or all in a folder, say something else."""
    for one in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if one.is_file():
            data = bytearray(one.read_bytes())
            data[: len(data) // 2] = bytes(len(data) // 2)
            one.write_bytes(data)


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_outside_only_if_followed(root, tmp_path, place, decode):
    sound = verify(root, decode=decode, processes=1)
    path, away = PLACES[place](root), tmp_path / "away"
    path.rename(away)
    path.symlink_to(away)
    report = verify(root, decode=decode, processes=1)
    assert report.errors + report.warnings > 0
    assert report.unchecked > 0
    followed = verify(root, decode=decode, processes=1, follow_links=True)
    assert (followed.findings, followed.unchecked) == ([], 0)
    for count in ("blobs", "blob_bytes", "entries", "annotations", "files", "checksums", "decoded"):
        assert getattr(followed, count) == getattr(sound, count), count
    damage(away)
    assert verify(root, decode=decode, processes=1, follow_links=True).findings


@pytest.mark.parametrize("place", sorted(PLACES.keys() - {"dataset"}))
def test_inside_always(root, place):
    sound = verify(root, processes=1)
    path, store = PLACES[place](root), root / "store"
    path.rename(store)
    path.symlink_to(os.path.relpath(store, path.parent))
    report = verify(root, processes=1)
    assert not report.errors
    for count in ("blobs", "blob_bytes", "entries", "annotations", "checksums"):
        assert getattr(report, count) == getattr(sound, count), count
    damage(store)
    damaged = verify(root, processes=1)
    assert damaged.findings
    assert damaged.to_json()["findings"] != report.to_json()["findings"]


def test_a_dataset_inside_is_looked_at_in_its_place(root):
    (root / "train").rename(root / "real")
    (root / "train").symlink_to("real")
    assert not verify(root, processes=1).errors
    write(root / "real/ann/a001.png.json", annotation()[:-3])
    assert [f.path for f in verify(root, processes=1).findings if f.severity == "error"] == ["real"]


def test_subsets_by_symbolic_links(root, tmp_path, capsys):
    made = tmp_path / "subset"
    subset(root, made, SubsetOptions(blobs="symlink"))
    assert run(["verify", str(made)]) == 6
    said = capsys.readouterr().out
    assert "--follow-links looks at it" in said
    assert "0 blobs" in said
    assert run(["verify", "--follow-links", str(made)]) == 0
    assert "2 blobs" in capsys.readouterr().out
    damage(tars(root)[0])
    assert run(["verify", "--follow-links", str(made)]) == 6
    assert "checksum" in capsys.readouterr().out


def test_a_blob_that_readers_read_is_looked_at_or_an_error(root, monkeypatch):
    monkeypatch.setattr(sys.modules["blobdir.verifying.verify"], "find_blobs", lambda *_: [])
    report = verify(root, processes=1)
    wanted = {("blob-not-checked", path.relative_to(root).as_posix()) for path in tars(root)}
    assert wanted <= {(f.code, f.path) for f in report.findings if f.severity == "error"}
    assert len(wanted) == len(pickles(root)) == 2
