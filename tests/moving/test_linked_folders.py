"""Links to folders in the project: a copy shows the datasets and images that the project shows, or the rest is said."""

from __future__ import annotations

import itertools
import os
import warnings

import fsspec
import pytest
from changes.samples import files_of, packed, picture, write_files

import blobdir
from blobdir.cli.app import run
from blobdir.errors import BlobdirWarning, PackError
from blobdir.moving import fetch, push
from blobdir.packing import merge, pack, subset

LINKS = {
    "to a dataset, in one": ("test/tr", "../train"),
    "to a dataset, beside it": ("again", "train"),
    "to a nested one": ("hard", "train/datasets/hard"),
    "to a container": ("test/datasets", "../train/datasets"),
    "to the images, in others'": ("test/img/more", "../../train/img"),
    "to a folder with a dataset in it": ("more", "group"),
}
"""What would be a dataset, or have images in it, if it were a folder."""
HARMLESS = {
    "to side files": ("test/meta", "../train/meta"),
    "to notes": ("latest", "notes"),
    "to images that are no dataset": ("pictures", "train/img"),
}
REFUSED = {("push", "to images that are no dataset")}
IN_BLOBS = {
    "to images": ("val/img", "../train/img"),
    "to images that are no dataset": ("pictures", "train/img"),
    "to annotations": ("val/ann", "../train/ann"),
    "by another link": ("val/img", "../way"),
    "to one image": ("train/img/z.png", "0.png"),
    "to one annotation": ("train/ann/z.png.json", "0.png.json"),
}
"""What lies in blobs is shown there too, and there is no file of it that could be uploaded."""
COUNT = itertools.count()


@pytest.fixture
def project(tmp_path):
    """Images are loose, so that links can lead to them too."""
    images = [f"{d}/{i}.png" for d in ("train", "train/datasets/hard", "group/inner") for i in range(3)]
    root = packed(tmp_path / "p", {path: picture(path) for path in [*images, "test/t.png"]})
    for dataset in ("train", "test"):
        write_files(root, {f"{dataset}/img/loose.png": picture(dataset), f"{dataset}/ann/loose.png.json": b"{}"})
    write_files(root, {"train/meta/0.png.json": b"{}", "notes/a.txt": b"a"})
    return root


def seen(root):
    """Dataset -> its images."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        found = blobdir.open_project(root, index="none")
    return {name: sorted(found[name].names) for name in found}


def pushed(root, made):
    url = f"memory://linked-{next(COUNT)}/p"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        report = push(root, url)
        fetch(url, made)
    return set(report.left_out), report.complete


def unpacked(root, made):
    status = run(["unpack", str(root), f"{made}-plain", "-q"])
    pack(f"{made}-plain", made)
    return None, status == 0


def some(root, made):
    subset(root, made)
    return None, None


def merged(root, made):
    write_files(made.parent / "none", files_of({}))
    blobdir.Project.create(made)
    merge(made, root)
    return None, None


COPIES = {"push": pushed, "unpack": unpacked, "subset": some, "merge": merged}


@pytest.mark.parametrize("kind", LINKS)
@pytest.mark.parametrize("how", COPIES)
def test_nothing_more_is_seen_in_a_copy(project, tmp_path, how, kind, capfd):
    link, target = LINKS[kind]
    os.symlink(target, project / link)
    before = seen(project)
    left_out, complete = COPIES[how](project, tmp_path / "made")
    assert seen(tmp_path / "made") == before
    if how == "push":
        assert left_out == {link}
    if how == "unpack":
        said = capfd.readouterr().err
        assert f"{link}: is a link to a folder" in said
        assert "1 link to a folder was left out" in said
        assert "could not be" not in said
    assert not complete


@pytest.mark.parametrize(
    ("how", "kind"), [(how, kind) for how in ("push", "unpack") for kind in HARMLESS if (how, kind) not in REFUSED]
)
def test_what_shows_nothing_more_is_copied(project, tmp_path, how, kind):
    link, target = HARMLESS[kind]
    os.symlink(target, project / link)
    before = seen(project)
    left_out, complete = COPIES[how](project, tmp_path / "made")
    assert not left_out
    assert complete
    assert seen(tmp_path / "made") == before
    if how == "push":
        assert sorted(os.listdir(tmp_path / "made" / link)) == sorted(os.listdir(project / link))


@pytest.mark.parametrize("kind", IN_BLOBS)
@pytest.mark.parametrize("on_disk", ["none", "empty folders", "some"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_what_only_blobs_hold_cannot_be_pushed_as_files(tmp_path, kind, on_disk, dry_run):
    """Readers see it behind the link, so a copy with less of it would be shorter than the project."""
    link, target = IN_BLOBS[kind]
    root = packed(tmp_path / "p", {f"train/{i}.png": picture(i) for i in range(3)}, annotations="packed")
    if on_disk != "none":
        for folder in ("img", "ann"):
            (root / "train" / folder).mkdir(exist_ok=True)
    if on_disk == "some":
        write_files(root, {"train/img/loose.png": picture("l"), "train/ann/loose.png.json": b"{}"})
    os.symlink("train/img", root / "way") if "way" in target else None
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    os.symlink(target, root / link)
    url = f"memory://linked-{next(COUNT)}/p"
    with pytest.raises(PackError, match="lies in blobs.*Nothing was written"):
        push(root, url, dry_run=dry_run)
    memory = fsspec.filesystem("memory")
    assert not memory.exists(url)
    report = push(root, url, dry_run=dry_run, with_defects=True)
    assert set(report.left_out) == {link} | ({"way"} if "way" in target else set())
    assert "lies in blobs" in report.left_out[link]
    assert not report.failed
    assert memory.exists(url) != dry_run
    if not dry_run:
        fetch(url, tmp_path / "made")
        before = seen(root)
        before.pop("val", None)
        after = seen(tmp_path / "made")
        assert after.pop("val", []) == []
        assert after == before | {"train": [name for name in before["train"] if name != "z.png"]}


@pytest.mark.parametrize("how", ["push", "unpack"])
def test_images_behind_a_datasets_own_folder(tmp_path, how):
    """They are the dataset's to readers as well."""
    root = packed(tmp_path / "p", {"train/a.png": picture(1), "test/b.png": picture(2)})
    write_files(root, {"pool/c.png": picture(3), "other/ann/c.png.json": b"{}"})
    os.symlink("../pool", root / "other/img")
    before = seen(root)
    assert before["other"] == ["c.png"]
    COPIES[how](root, tmp_path / "made")
    assert seen(tmp_path / "made") == before


@pytest.mark.parametrize("how", ["push", "unpack"])
@pytest.mark.parametrize("content", ["dataset", "notes"])
def test_links_to_links_do_not_multiply(project, tmp_path, how, content, capfd):
    """Two from each of twenty folders to the next lead to a million times what is in the last."""
    for i in range(20):
        (project / f"d{i}").mkdir()
        for name in "ab":
            os.symlink(f"../d{i + 1}", project / f"d{i}/{name}")
    os.rename(project / ("train" if content == "dataset" else "notes"), project / "d20")
    before = seen(project)
    left_out, complete = COPIES[how](project, tmp_path / "made")
    assert not complete
    assert left_out or "is a link to a folder" in capfd.readouterr().err
    assert seen(tmp_path / "made") == before


def test_it_stays_so(project):
    """The same is left out each time, so that no push takes it for a change."""
    os.symlink("../train", project / "test/tr")
    url = f"memory://linked-{next(COUNT)}/p"
    for _ in range(2):
        report = push(project, url, delete=True)
        assert not report.failed
        assert set(report.left_out) == {"test/tr"}
    assert report.files == 0
