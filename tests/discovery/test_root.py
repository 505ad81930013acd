"""What is given as a project and isn't one: a dataset's folder above all. One rule for all commands."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from blob_builder import Builder
from PIL import Image

import blobdir
from blobdir.errors import NotAProjectError

COMMAND = str(Path(sys.executable).with_name("blobdir"))


def png(seed):
    data = io.BytesIO()
    Image.new("RGB", (4, 4), (seed, 0, 0)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def project(tmp_path):
    made = Builder(tmp_path / "lemons")
    for number, dataset in enumerate(
        ("train", "train/datasets/hard", "a-b", "a/datasets/b", "img", "ann/datasets/img")
    ):
        made.blob(dataset, f"b{number}", {"x.png": png(number)})
    made.loose("plain/img/x.png", png(9))
    made.loose("plain/ann/x.png.json", b'{"size": {"height": 4, "width": 4}, "objects": []}')
    made.offsets("packed/ann.blob", "n", made.tar("n", {"x.png.json": b"{}"}, "packed/ann.blob"))
    return made.root


def snapshot(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


NAMES = {
    "train": "train",
    "train/datasets/hard": "train/hard",
    "a-b": "a-b",
    "a/datasets/b": "a/b",
    "img": "img",
    "ann/datasets/img": "ann/img",
    "plain": "plain",
    "packed": "packed",
}


@pytest.mark.parametrize("dataset", NAMES)
def test_a_dataset(project, dataset):
    with pytest.raises(NotAProjectError) as caught:
        blobdir.open_project(project / dataset)
    assert f"is a dataset of the project {project}; " in str(caught.value)
    assert f"--dataset {NAMES[dataset]} " in str(caught.value)


@pytest.mark.parametrize("dataset", NAMES)
def test_a_dataset_without_a_project_above(project, dataset):
    (project / "meta.json").unlink()
    with pytest.raises(NotAProjectError, match="is a dataset, not a project"):
        blobdir.open_project(project / dataset)
    with pytest.warns(match=r"meta\.json: is missing"):
        assert len(blobdir.open_project(project)) == len(NAMES)


@pytest.mark.parametrize("folder", ["train/datasets", "a", "a/datasets", "ann", "ann/datasets"])
def test_a_folder_of_datasets(project, folder):
    with pytest.raises(NotAProjectError, match="is a (folder|dataset) of the project"):
        blobdir.open_project(project / folder)


@pytest.mark.parametrize("dataset", NAMES)
def test_a_dataset_in_a_bucket(project, dataset):
    memory, place = fsspec.filesystem("memory"), f"/root-{os.urandom(6).hex()}"
    memory.put(str(project), place, recursive=True)
    with pytest.raises(NotAProjectError, match="is a dataset"):
        blobdir.open_project(f"memory:/{place}/{dataset}")
    assert len(blobdir.open_project(f"memory:/{place}")) == len(NAMES)
    memory.rm(place, recursive=True)


COMMANDS = {
    "mount": ["mount", "PROJECT", "m"],
    "stats": ["stats", "PROJECT"],
    "verify": ["verify", "PROJECT"],
    "repair": ["verify", "--repair", "PROJECT"],
    "preview": ["preview", "PROJECT", "-o", "sheet.png"],
    "index": ["index", "PROJECT", "-o", "i"],
    "index beside": ["index", "PROJECT", "--beside"],
    "subset": ["subset", "PROJECT", "s"],
    "export": ["export", "erofs", "PROJECT", "-o", "x.erofs"],
    "add": ["add", "PROJECT", "train", "new.png"],
    "remove": ["remove", "PROJECT", "train/x.png"],
    "move": ["move", "PROJECT", "train/x.png", "val"],
    "compact": ["compact", "PROJECT"],
    "merge": ["merge", "PROJECT", "lemons"],
    "merge of it": ["merge", "other", "PROJECT"],
    "push": ["push", "PROJECT", "memory://nowhere"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(project, tmp_path, command):
    (tmp_path / "m").mkdir()
    (tmp_path / "new.png").write_bytes(png(50))
    Builder(tmp_path / "other").blob("val", "o", {"o.png": png(60)})
    before = snapshot(project)
    words = ["lemons/train" if word == "PROJECT" else word for word in COMMANDS[command]]
    done = subprocess.run([COMMAND, *words], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert f"is a dataset of the project {project}" in done.stderr
    assert snapshot(project) == before


@pytest.mark.parametrize("command", ["stats", "subset", "preview"])
def test_a_file(tmp_path, command):
    Builder(tmp_path).tar("snapshot", {"manifest.json": b"{}"}, ".")
    (tmp_path / "m").mkdir()
    (tmp_path / "meta.json").unlink()
    more = {"subset": ["s"], "preview": ["-o", "x.png"]}.get(command, [])
    for name, says in (("snapshot.tar", "is a tar, not a blob project"), ("none.tar", "doesn't exist")):
        done = subprocess.run(
            [COMMAND, command, name, *more], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 3
        assert f"{name}: {says}" in done.stderr
