"""Each kind of fault by which something is dropped without a word, or stays when it should go."""

from __future__ import annotations

import os

import fsspec
import pytest
from changes.commands import LEAVING, expected
from changes.looking import differences, faults, get, names, shown
from changes.plain_model import Model
from changes.samples import (
    META,
    annotation,
    box,
    classes,
    files_below,
    files_of,
    numbered,
    packed,
    picture,
    with_side_files,
    write,
    write_files,
)  # fmt: skip

import blobdir
from blobdir.cli.app import run
from blobdir.errors import UsageError
from blobdir.moving import fetch, push
from blobdir.packing import PackOptions, SubsetOptions, add, compact, merge, pack, subset

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


# -- drops without a word ----------------------------------------------------------------------------------------


def _fetched(root, target, **choose):
    push(root, f"memory://{target.parent.name}")
    try:
        fetch(f"memory://{target.parent.name}", target, choose=SubsetOptions(**choose) if choose else None)
    finally:
        fsspec.filesystem("memory").rm(f"/{target.parent.name}", recursive=True)


def _repacked(root, target):
    assert run(["unpack", "-q", str(root), str(target) + ".plain"]) == 0
    pack(f"{target}.plain", target, PackOptions(processes=1))


def _merged(root, target):
    packed(target, numbered(1, 90, "own"))
    merge(target, root)


CARRYING = {
    "subset": lambda p, to: subset(p, to, SubsetOptions(patterns=("*",))),
    "subset of names": lambda p, to: subset(
        p, to, SubsetOptions(names=[path for path in shown(p) if "/img/" in path and path.endswith((".png", ".bmp"))])
    ),
    "subset of a dataset": lambda p, to: subset(p, to, SubsetOptions(datasets=("train",))),
    "merge": _merged,
    "fetch": _fetched,
    "fetch of some": lambda p, to: _fetched(p, to, patterns=("*",)),
    "fetch of a dataset": lambda p, to: _fetched(p, to, datasets=("train",)),
    "unpack and pack": _repacked,
}
"""Commands that make another project of all of the dataset ``train``."""


def beside():
    """Files beside images of every kind of folder."""
    return with_side_files(files_of(numbered(3)))


def by_stem():
    """Older exports have side files by the stem."""
    files = files_of(numbered(2))
    return files | {
        "train/meta/a001.json": b"{}",
        "train/seg/a001.png": picture("seg"),
        "train/masks_machine/a001.png": b"x",
    }


def in_folders():
    """Images in folders of img/, their annotations in folders of ann/."""
    more = {
        "train/img/sub/x.png": picture("x"),
        "train/ann/sub/x.png.json": annotation("x"),
        "train/meta/sub/x.png.json": b"1",
    }
    return files_of(numbered(2)) | more


def long_names():
    return with_side_files(files_of({f"train/{i}{'n' * 245}.png": picture(i) for i in range(3)}))


def not_utf8():
    return with_side_files(files_of({f"train/{os.fsdecode(bytes([0xFF, i]))}.png": picture(i) for i in (70, 71)}))


def legacy_annotations():
    files = files_of(numbered(3))
    return {path.replace(".png.json", ".json"): data for path, data in files.items()}


WITH = (beside, by_stem, in_folders, long_names, not_utf8, legacy_annotations)


@pytest.mark.parametrize("annotations", ["loose", "packed"])
@pytest.mark.parametrize("what", WITH)
@pytest.mark.parametrize("command", CARRYING)
def test_all_of_an_image_goes_along(tmp_path, command, what, annotations):
    files = what()
    root = packed(tmp_path / "p", files, annotations=annotations)
    assert differences(shown(root), files) == []
    CARRYING[command](root, tmp_path / "made")
    found = {path: data for path, data in shown(tmp_path / "made").items() if not path.startswith("own/")}
    assert differences(found, files) == []
    assert faults(tmp_path / "made") == []


@pytest.mark.parametrize("image", ["train/img/a001.png", "train/img/sub/x.png", "train/img/a002.png"])
@pytest.mark.parametrize("command", LEAVING)
def test_all_of_an_image_goes_or_moves(tmp_path, command, image):
    files = with_side_files(in_folders())
    root = packed(tmp_path / "p", files)
    LEAVING[command](root, image)
    want = expected(command, Model(files), image)
    assert differences(shown(root), want) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        ({}, {"multiView": {"enabled": True}}, {"multiView": {"enabled": True}}),
        ({"multiView": {"enabled": True}}, {}, {"multiView": {"enabled": True}}),
        ({"multiView": {"enabled": True}}, {"multiView": {"enabled": True}}, {"multiView": {"enabled": True}}),
        ({"multiView": {"enabled": True}}, {"multiView": {"enabled": False}}, None),
    ],
)
def test_project_settings_merge_or_conflict(tmp_path, ours, theirs, merged):
    metas = [META | ({"projectSettings": found} if found else {}) for found in (ours, theirs)]
    root = packed(tmp_path / "p", files_of(numbered(2), metas[0]))
    other = packed(tmp_path / "q", files_of(numbered(2, 20, "val"), metas[1]))
    before = files_below(root)
    if merged is None:
        with pytest.raises(UsageError, match="projectSettings|multiView"):
            merge(root, other)
        assert files_below(root) == before
    else:
        merge(root, other)
        assert blobdir.open_project(root).meta["projectSettings"] == merged


@pytest.mark.parametrize(
    "path", ["val/img/sub/notes.txt", "val/img/notes.txt", "val/notes.txt", "val/ann/notes.txt", "NOTES.txt"]
)
def test_merge_takes_other_files_or_says_so(tmp_path, path, capfd):
    root, other = packed(tmp_path / "p", numbered(2)), packed(tmp_path / "q", numbered(2, 20, "val"))
    write(other / path, b"notes")
    before = files_below(root)
    code = run(["merge", str(root), str(other)])
    said = "".join(capfd.readouterr())
    if code:
        assert files_below(root) == before
    else:
        assert get(root, path) == b"notes" or "notes" in said.casefold(), "it's gone, and nobody was told"


@pytest.mark.parametrize("option", ["--class", "--per-class", "--tag"])
@pytest.mark.parametrize(
    "wrong", [b"{", b'{"size": {"height": 8, "width": 8}}', b'{"objects": [{"tags": []}], "size": 1}']
)
def test_subset_names_annotations_that_it_cannot_read(tmp_path, option, wrong, capfd):
    files = files_of(numbered(3), classes("lemon"))
    for i in (1, 2, 3):
        files[f"train/ann/a00{i}.png.json"] = annotation(objects=[box("lemon")], tags=[{"name": "ripe"}])
    root = packed(tmp_path / "p", files)
    write(root / "train/ann/a002.png.json", wrong)
    value = {"--class": "lemon", "--per-class": "5", "--tag": "ripe"}[option]
    code = run(["subset", str(root), str(tmp_path / "s"), option, value])
    said = "".join(capfd.readouterr())
    assert code != 0 or "a002.png" in said, "a shorter list without a word"


@pytest.mark.parametrize("annotations", ["loose", "packed"])
def test_pack_keeps_an_empty_parent(tmp_path, annotations):
    source = write_files(tmp_path / "source", files_of({"parent/datasets/child/a.png": picture(1)}))
    for folder in ("parent/img", "parent/ann"):
        (source / folder).mkdir(parents=True)
    pack(source, tmp_path / "p", PackOptions(processes=1, annotations=annotations))
    assert {entry.name for entry in (tmp_path / "p/parent").iterdir()} >= {"img", "ann"}


@pytest.mark.parametrize("command", ["subset", "unpack", "merge"])
def test_an_empty_parent_stays_a_dataset(tmp_path, command):
    """But through a bucket, which has no empty folders."""
    root, made = packed(tmp_path / "p", {"parent/datasets/child/a.png": picture(1)}), tmp_path / "made"
    for folder in ("parent/img", "parent/ann"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    if command == "unpack":
        assert run(["unpack", "-q", str(root), str(made)]) == 0
    else:
        CARRYING[command](root, made)
        assert "parent" in blobdir.open_project(made, index="none")
    assert {entry.name for entry in (made / "parent").iterdir()} >= {"img", "ann"}


@pytest.mark.parametrize("command", ["remove", "rm", "move", "mv"])
def test_a_dataset_that_loses_its_last_image_stays(tmp_path, command):
    root = packed(tmp_path / "p", {"val/a.png": picture(1), "train/b.png": picture(2)})
    LEAVING[command](root, "val/img/a.png")
    project = blobdir.open_project(root, index="none")
    assert not any(defect.severity == "error" for defect in project.defects)
    assert "val" not in project or project["val"].names == []
    add(root, "val", [write(tmp_path / "c.png", picture(3))])
    assert names(root, "val") == ["c.png"]


@pytest.mark.timeout(30)  # links that lead in circles were walked for ever
@pytest.mark.parametrize("links", [False, True], ids=["", "with links in circles"])
def test_class_folders_lose_no_image(tmp_path, links, capfd):
    """``train/cat/0.jpg`` and ``train/dog/0.jpg``: all are in, or the summary says how many aren't."""
    for i in range(18):
        write(tmp_path / f"s/train/{('cat', 'dog', 'cow')[i % 3]}/{i // 3}.png", picture(i))
    if links:
        (tmp_path / "s/train/again").symlink_to("..")
        (tmp_path / "s/here").symlink_to(".")
    for hidden in (".git/x.png", "__MACOSX/y.png", "train/.hidden.png"):
        write(tmp_path / "s" / hidden, picture(hidden))
    assert run(["pack", "--processes", "1", str(tmp_path / "s"), str(tmp_path / "p")]) == 0
    found = [data for path, data in shown(tmp_path / "p").items() if "/img/" in path]
    assert sorted(found) == sorted(picture(i) for i in range(18)), capfd.readouterr()


# -- bytes that must be gone -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (40, 40), (200, 200)])
@pytest.mark.parametrize("annotations", ["loose", "packed"])
@pytest.mark.parametrize("command", ["remove", "rm", "replace"])
def test_compact_frees_what_was_removed(tmp_path, size, annotations, command):
    root = packed(tmp_path / "p", {f"train/a{i}.png": picture(i, size) for i in range(30)}, annotations=annotations)
    old = (
        (root / "train/ann/a7.png.json").read_bytes()
        if annotations == "loose"
        else shown(root)["train/ann/a7.png.json"]
    )
    before = sum(tar.stat().st_size for tar in root.rglob("*.tar"))
    if command == "replace":
        note = write(tmp_path / "notes/a7.png.json", annotation("other"))
        add(root, "train", [write(tmp_path / "a7.png", picture("new", size))], annotations=note.parent, replace=True)
    else:
        LEAVING[command](root, "train/img/a7.png")
    report = compact(root)
    left = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    assert picture(7, size)[50:] not in left
    assert old not in left
    assert report.blobs and (report.freed > 0 or size == (8, 8))  # a tar is filled up to 10 KiB
    if command != "replace":
        after = sum(tar.stat().st_size for tar in root.rglob("*.tar"))
        assert report.freed == before - after
    assert faults(root) == []
    assert compact(root).freed == 0
