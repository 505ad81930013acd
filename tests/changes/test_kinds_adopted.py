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


@pytest.mark.parametrize("left", ["ann/z.png.json", "ann/z.json"])
def test_an_annotation_that_no_image_had_is_said(root, tmp_path, left):
    """By its full name it is the new image's; nobody should be surprised by old labels, though."""
    path = write(root / "train" / left, annotation("old"))
    report = add(root, "train", [write(tmp_path / "new/z.png", picture("new"))])
    said = [(problem.code, problem.path) for problem in report.problems]
    if left == "ann/z.json":  # the image has an annotation by its full name, which goes before
        assert said == []
        assert blobdir.open_project(root)["train"].annotation("z.png")["description"] == ""
    else:
        assert said == [("taken-over", f"train/{left}")]
        assert blobdir.open_project(root)["train"].annotation("z.png")["description"] == "old"
    assert path.read_bytes() == annotation("old")


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


# -- in the place of one that went -------------------------------------------------------------------------------


def _twice(root, first, *then):
    """What is done one after the other, in one transaction."""
    fs = blobdir.open_project(root).filesystem
    with fs.transaction:
        for step in (first, *then):
            step(fs)


PLACE = "train/img/a.png"
IN_ITS_PLACE = {
    "rm, pipe": [lambda fs: fs.rm(PLACE), lambda fs: fs.pipe(PLACE, picture("new"))],
    "rm of the folder, pipe": [
        lambda fs: fs.rm([path for path in fs.find("train/img") if path != "train/img/a.bmp"]),
        lambda fs: fs.pipe(PLACE, picture("new")),
    ],
    "mv away, pipe": [lambda fs: fs.mv(PLACE, "train/img/q.png"), lambda fs: fs.pipe(PLACE, picture("new"))],
    "mv over it": [lambda fs: fs.mv("train/img/b.png", PLACE)],
    "mv away, mv to it": [lambda fs: fs.mv(PLACE, "train/img/q.png"), lambda fs: fs.mv("train/img/b.png", PLACE)],
    "rm, cp to it": [lambda fs: fs.rm(PLACE), lambda fs: fs.cp("train/img/b.png", PLACE)],
    "swap": [
        lambda fs: fs.mv(PLACE, "train/img/t.png"),
        lambda fs: fs.mv("train/img/b.png", PLACE),
        lambda fs: fs.mv("train/img/t.png", "train/img/b.png"),
    ],
}  # fmt: skip
BY_STEM = {"meta": "json", "img_info": "json", "seg": "png"}


@pytest.mark.parametrize("brings", [False, True], ids=["", "with one of its own"])
@pytest.mark.parametrize("folder", BY_STEM)
@pytest.mark.parametrize("way", IN_ITS_PLACE)
def test_an_image_in_the_place_of_another_one_is_new(root, way, folder, brings):
    """Whether it would get a file of a third one is asked when that of the old one has gone with it."""
    ending = BY_STEM[folder]
    contents = {name: picture(name) if ending == "png" else f'{{"of": "{name}"}}'.encode() for name in "abcn"}
    shape = {"a.png": picture("old a")}
    add(root, "train", [write(root.with_name("old") / name, data) for name, data in shape.items()])
    write(root / f"train/{folder}/a.png.{ending}", contents["a"])
    write(root / f"train/{folder}/a.{ending}", contents["b"])
    steps = IN_ITS_PLACE[way]
    if brings:  # a move has taken one along, or it is written
        own = f"train/{folder}/a.png.{ending}"
        brought = [lambda fs: fs.pipe(own, contents["n"])]  # before its image: each step is looked at by itself
        steps = [*steps[:-1], *brought, steps[-1]] if way.endswith(("pipe", "cp to it")) else [*steps, *brought]
        if "mv to it" in way or way in ("mv over it", "swap"):
            write(root / f"train/{folder}/b.png.{ending}", contents["c"])
    before = shown(root)
    if not brings:
        with pytest.raises(UsageError, match=r"would be taken for .*a\.png's"):
            _twice(root, *steps)
        assert shown(root) == before
        return
    _twice(root, *steps)
    after = shown(root)
    assert after[f"train/{folder}/a.{ending}"] == contents["b"]
    assert after[own] == contents["n"]


@pytest.mark.parametrize("way", [way for way in IN_ITS_PLACE if "swap" not in way])
def test_an_image_in_the_place_of_another_one_gets_an_annotation(root, way):
    add(root, "train", [write(root.with_name("old") / "a.png", picture("old a"))])
    (root / "train/ann/a.bmp.json").unlink()
    write(root / "train/ann/a.json", annotation("of a.bmp"))
    write(root / "train/ann/a.png.json", annotation("old a"))
    write(root / "train/ann/b.png.json", annotation("b"))
    _twice(root, *IN_ITS_PLACE[way])
    train = blobdir.open_project(root)["train"]
    assert train.annotation("a.bmp")["description"] == "of a.bmp"
    assert train.annotation("a.png")["description"] == ("b" if "mv over" in way or "mv to" in way else "")


def test_one_that_is_written_over_keeps_what_it_has(root):
    add(root, "train", [write(root.with_name("old") / "a.png", picture("old a"))])
    shared = write(root / "train/meta/a.json", b'{"of": "both"}')
    _twice(root, lambda fs: fs.pipe(PLACE, picture("new")))
    assert shown(root)[PLACE] == picture("new")
    assert shared.read_bytes() == b'{"of": "both"}'
