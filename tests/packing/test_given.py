"""What is given to commands as a path, a list of paths or a dataset: odd ones mean one thing, or are refused."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from changes.looking import shown
from changes.samples import annotation, files_below, numbered, packed, picture, write, write_files

import blobdir
from blobdir.cli.app import run
from blobdir.errors import UsageError
from blobdir.packing import PackOptions, SubsetOptions, add, move, pack, remove, subset

EMPTY = {
    "pack": ["pack", "", "../new"],
    "pack, destination": ["pack", "s", ""],
    "unpack": ["unpack", "", "../new"],
    "unpack, destination": ["unpack", "p", ""],
    "subset": ["subset", "", "../new"],
    "subset, destination": ["subset", "p", ""],
    "add": ["add", "", "train", "s/train/x.png"],
    "remove": ["remove", "", "train/a001.png"],
    "move": ["move", "", "train/a001.png", "val"],
    "compact": ["compact", ""],
    "merge": ["merge", "", "p"],
    "merge, the other": ["merge", "p", ""],
    "verify": ["verify", ""],
    "info": ["info", ""],
    "ls": ["ls", ""],
    "cp": ["cp", "-r", "p", ""],
}


@pytest.mark.parametrize("what", EMPTY)
def test_an_empty_path_isnt_the_folder_where_one_is(tmp_path, capsys, what):
    here = packed(tmp_path / "here", numbered())
    os.rename(packed(tmp_path / "p", numbered()), here / "p")
    write(here / "s/train/x.png", picture(9))
    before = files_below(here)
    with contextlib.chdir(here):
        assert run(EMPTY[what]) == 2
    assert "an empty path was given" in capsys.readouterr().err
    assert files_below(here) == before
    assert sorted(os.listdir(tmp_path)) == ["here"]


PLACES = {
    "train/hard": "train/datasets/hard", "train/datasets/hard": "train/datasets/hard", "a/b/": "a/datasets/b",
    "/val": None, "datasets": "datasets", "a/datasets": "a/datasets/datasets", "img": "img",
    "a/blob": "a/datasets/blob", "..": None, "a/../b": None, "a//b": None, "blob": None, "blob/x": None,
    "meta.json": None, ".blobdir": None, "a/.blobdir": None, "x" * 256: None, "é" * 128: None,
}  # fmt: skip


@pytest.mark.parametrize("command", ["pack", "list", "add", "move"])
@pytest.mark.parametrize("name", PLACES)
def test_a_dataset_lies_where_its_name_says(tmp_path, command, name):
    root, source = packed(tmp_path / "p", numbered()), write(tmp_path / "s/x.png", picture(1))
    write(tmp_path / "list", f"path,dataset\ns/x.png,{name}\n".encode())
    made = root if command in ("add", "move") else tmp_path / "made"
    commands = {
        "pack": lambda: pack(source.parent, made, PackOptions(dataset=name)),
        "list": lambda: pack(tmp_path / "list", made),
        "add": lambda: add(root, name, [source]),
        "move": lambda: move(root, ["train/a001.png"], name),
    }
    if PLACES[name] is None:
        with pytest.raises((UsageError, OSError), match="can't be the name of a dataset"):
            commands[command]()
        return
    commands[command]()
    assert PLACES[name] in {dataset.path for dataset in blobdir.open_project(made).values()}


def test_lists_may_be_generators_and_hold_paths(tmp_path):
    root = packed(tmp_path / "p", numbered())
    sources = [write(tmp_path / f"s/x{i}.png", picture(i)) for i in range(3)]
    assert add(root, "train", (path for path in sources)).images == 3
    assert move(root, (Path("train", f"x{i}.png") for i in range(2)), "val").images == 2
    assert remove(root, map(Path, ["val/x0.png"])).images == 1
    for i, options in enumerate(
        [
            SubsetOptions(names=map(Path, ["train/a001.png", "val/x1.png"])),
            SubsetOptions(patterns=(one for one in ["*/a001.png", "val/*"])),
            SubsetOptions(patterns=["*/a001.png", "*/x1.png"], datasets=iter(["train", "val"])),
        ]
    ):
        assert subset(root, tmp_path / f"made{i}", options).datasets == {"train": 1, "val": 1}


@pytest.mark.parametrize("one", ["train/a001.png", Path("train/a001.png"), b"train/a001.png"])
def test_one_text_is_no_list(tmp_path, one):
    root = packed(tmp_path / "p", numbered())
    before = shown(root)
    for call in (
        lambda: add(root, "train", one), lambda: remove(root, one), lambda: move(root, one, "val"),
        lambda: SubsetOptions(names=one), lambda: SubsetOptions(patterns=one), lambda: SubsetOptions(tags=one),
    ):  # fmt: skip
        with pytest.raises(UsageError, match="must be a list of texts, not one text"):
            call()
    assert shown(root) == before


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_names_in_a_posix_locale(tmp_path, locale):
    write(tmp_path / "s/é/ü.png", picture(1))
    write(tmp_path / "list", "é/ü.png\n".encode())
    for command in (["pack", "s", "p"], ["subset", "p", "made", "--list", "list"], ["unpack", "made", "out"]):
        done = subprocess.run(
            [sys.executable, "-m", "blobdir", *command],
            cwd=tmp_path, env=os.environ | {"LC_ALL": locale}, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/é/img/ü.png").read_bytes() == picture(1)


@pytest.mark.parametrize("options", [[], ["--resume"], ["--annotations", "packed"]])
@pytest.mark.parametrize("path", ["blob", ".blobdir", "train/ann", "train/ann.blob"])
def test_a_file_with_the_name_of_a_folder_that_is_made(tmp_path, capsys, path, options):
    files = {"meta.json": b"{}", "train/img/a.png": picture(1), "val/img/a.png": picture(2), path: b"data"}
    source = write_files(tmp_path / "s", files | {"val/ann/a.png.json": annotation()})
    is_free = path == "train/ann.blob"
    for more in (["--dry-run"], []):
        assert run(["pack", *more, *options, str(source), str(tmp_path / "p")]) == (0 if is_free else 7)
        assert (f"{path}: has the name of a folder" in capsys.readouterr().err) == (not is_free)
    assert shown(tmp_path / "p")["train/img/a.png"] == picture(1)
    assert run(["unpack", "-q", str(tmp_path / "p"), str(tmp_path / "u")]) == 0
    assert not is_free or (tmp_path / "u" / path).exists()


@pytest.mark.parametrize("others", [[], ["train/img/z.png"], ["val/img/z.png"]])
def test_images_in_folders_of_img_stay_files(tmp_path, capsys, others):
    files = {"meta.json": b"{}", "train/img/sub/er/a.png": picture(1), "train/ann/sub/er/a.png.json": annotation()}
    files |= {path: picture(2) for path in others} | {f"{p.replace('img', 'ann')}.json": annotation() for p in others}
    source = write_files(tmp_path / "s", files)
    report = pack(source, tmp_path / "p", PackOptions(strict=True))
    assert report.complete and [problem.code for problem in report.problems] == ["in-folder"]
    assert shown(tmp_path / "p") == files
