"""A new image doesn't get the files of one that is there, which goes by the same name without its extension."""

from __future__ import annotations

import tarfile

import pytest
from changes.looking import shown
from changes.samples import annotation, files_of, packed, picture, write

import blobdir
from blobdir.errors import BusyError, UsageError
from blobdir.packing import add
from blobdir.projectlock import ProjectLock

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


def _adopt(root, folder):
    path = write(folder / "new/a.png", picture("new"))
    with tarfile.open(folder / "new.tar", "w") as tar:
        tar.add(path, "a.png")
    blobdir.open_project(root).add_blob_file(folder / "new.tar", "train")


def _write(root, _):
    fs = blobdir.open_project(root).filesystem
    with fs.transaction:
        fs.pipe("train/img/a.png", picture("new"))


WAYS = {
    "add": lambda root, folder: add(root, "train", [write(folder / "new/a.png", picture("new"))]),
    "add_blob_file": _adopt,
    "transaction": _write,
}
THEIRS = {
    "meta": ("meta/a.json", b'{"patient": "of a.bmp"}'),
    "masks": ("masks_machine/a.png", picture("mask")),
    "folder of masks": ("masks_instances/a/1.png", picture("mask")),
}


@pytest.fixture
def root(tmp_path):
    files = files_of({"train/a.bmp": picture("a", form="BMP"), "train/b.png": picture("b")})
    return packed(tmp_path / "p", files)


@pytest.mark.parametrize("kind", THEIRS)
@pytest.mark.parametrize("way", WAYS)
def test_files_of_another_image(root, tmp_path, way, kind):
    path, data = THEIRS[kind]
    write(root / "train" / path, data)
    before = shown(root)
    with pytest.raises(UsageError, match=r"is a\.bmp's, and would be taken for .*a\.png's as well"):
        WAYS[way](root, tmp_path)
    assert shown(root) == before
    (root / "train" / path).unlink()
    WAYS[way](root, tmp_path)
    assert shown(root)["train/img/a.png"] == picture("new")


@pytest.mark.parametrize("way", WAYS)
def test_legacy_annotation_of_another_image(root, tmp_path, way):
    """Who gives the new image one of its own may; the other image keeps its."""
    (root / "train/ann/a.bmp.json").unlink()
    theirs = write(root / "train/ann/a.json", annotation("of a.bmp"))
    if way == "add_blob_file":
        with pytest.raises(UsageError, match=r"is a\.bmp's"):
            WAYS[way](root, tmp_path)
        return
    WAYS[way](root, tmp_path)
    train = blobdir.open_project(root)["train"]
    assert theirs.read_bytes() == annotation("of a.bmp")
    assert train.annotation("a.bmp")["description"] != train.annotation("a.png")["description"]


COMMANDS = {
    "offsets": ("offsets", "-q", "-o", "{root}/train", "{tar}"),
    "offsets --replace": ("offsets", "-q", "--replace", "-o", "{root}/train", "{tar}"),
    "index --beside": ("index", "-q", "--beside", "{root}"),
}


@pytest.mark.parametrize("shared", [False, True], ids=["changed", "read as a whole"])
@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_written_into_a_project_that_somebody_else_has(root, tmp_path, command, shared):
    from blobdir.cli.app import run

    path = write(tmp_path / "x/new.png", picture("new"))
    with tarfile.open(tmp_path / "x/x.tar", "w") as tar:
        tar.add(path, "new.png")
    words = [word.format(root=root, tar=tmp_path / "x/x.tar") for word in COMMANDS[command]]
    ProjectLock(str(root)).release()
    before = {path.relative_to(root) for path in root.rglob("*")}
    lock = ProjectLock(str(root), shared=shared)
    try:
        assert run(words) == BusyError.exit_code
        assert {path.relative_to(root) for path in root.rglob("*")} == before
    finally:
        lock.release()
    assert run(words) == 0
    new = {str(path.relative_to(root)) for path in root.rglob("*")} - {str(path) for path in before}
    assert {".blobdir/index", ".blobdir/index.tar"} <= new or new == {"train/x_offsets.pkl"}
