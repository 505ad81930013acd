"""Whoever goes through all datasets says where one may be that isn't seen, and ends with the status for it."""

from __future__ import annotations

import errno
import io
import json
import os
from pathlib import Path

import fsspec
import pytest
from blob_builder import Builder
from PIL import Image

from blobdir.cli.app import run
from blobdir.sources import LocalStorage

DATASETS = {"train": "a", "train/datasets/sec": "b", "test": "c"}
FOLDERS = {"a dataset": "test", "nested ones": "train/datasets", "a nested one": "train/datasets/sec"}
META = {"classes": [{"title": "cat", "shape": "rectangle", "color": "#FF0000"}], "tags": [], "projectType": "images"}
ANNOTATION = {
    "size": {"height": 1, "width": 1},
    "tags": [],
    "objects": [
        {"classTitle": "cat", "geometryType": "rectangle", "points": {"exterior": [[0, 0], [0, 0]], "interior": []}}
    ],
}


def spoil(blob):
    blob.write_bytes(blob.read_bytes().replace(b"IHDR", b"XXXX"))


BLOBS = {"a missing blob": Path.unlink, "images that are none": spoil}


def picture():
    out = io.BytesIO()
    Image.new("RGB", (1, 1)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def root(tmp_path):
    made = Builder(tmp_path / "p")
    for dataset, blob in DATASETS.items():
        made.blob(dataset, blob, {f"{blob}{i}.png": picture() for i in range(3)})
        for i in range(3):
            made.loose(f"{dataset}/ann/{blob}{i}.png.json", json.dumps(ANNOTATION).encode())
    made.loose("meta.json", json.dumps(META).encode())
    return made.root


@pytest.fixture(params=[*FOLDERS, *(f"{name} behind a backend" for name in FOLDERS)])
def unseen(request, root, monkeypatch):
    """URL of a project with a folder that isn't seen, and the path of that folder."""
    folder = FOLDERS[request.param.removesuffix(" behind a backend")]
    if request.param in FOLDERS:
        listed = LocalStorage._list

        def refused(self, path, follow_links):
            if path == folder:
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return listed(self, path, follow_links)

        monkeypatch.setattr(LocalStorage, "_list", refused)
        yield str(root), folder
        return
    memory, place = fsspec.filesystem("memory"), f"/{root.parent.name}"
    memory.put(str(root), place, recursive=True)
    memory.store[f"{place}/{folder}"] = memory.store[f"{place}/meta.json"]  # a key that others lie below
    yield f"memory:/{place}", folder
    del memory.store[f"{place}/{folder}"]
    memory.rm(place, recursive=True)


COMMANDS = {
    "stats": (["stats"], []),
    "stats --json": (["stats", "--json"], []),
    "preview": (["preview", "--tile", "32"], ["-o", "{out}/p.png"]),
    "ls": (["ls", "-R"], []),
    "tree": (["tree"], []),
    "unpack": (["unpack"], ["{out}/u"]),
    "fetch": (["fetch", "--class", "cat"], ["{out}/f"]),
    "subset": (["subset", "--class", "cat"], ["{out}/s"]),
    "export": (["export", "erofs"], ["-o", "{out}/e.erofs"]),
}
OF_LOCAL = ("subset", "export")


@pytest.mark.parametrize("quiet", [(), ("-q",)])
@pytest.mark.parametrize("command", COMMANDS)
def test_folders(unseen, tmp_path, capfd, command, quiet):
    url, folder = unseen
    before, after = COMMANDS[command]
    if command in (OF_LOCAL if "://" in url else ["fetch"]):
        return  # the others are for the other sort of project
    assert run([*before, *quiet, url, *(word.format(out=tmp_path) for word in after)]) == 7
    said = capfd.readouterr().err
    assert f"{folder}: " in "".join(line for line in said.splitlines(True) if "warning" not in line)


@pytest.mark.parametrize("command", ["stats", "preview"])
def test_folders_strictly(unseen, tmp_path, capfd, command):
    url, folder = unseen
    before, after = COMMANDS[command]
    assert run([*before, "-q", "--strict", url, *(word.format(out=tmp_path) for word in after)]) == 7
    out, said = capfd.readouterr()
    assert (out, f"{folder}: " in said, "--strict" in said) == ("", True, True)
    assert not os.path.exists(tmp_path / "p.png")


def test_what_matches_may_be_among_the_unseen(unseen, tmp_path, capfd):
    url, _ = unseen
    assert run(["preview", "-q", url, "-o", str(tmp_path / "p.png"), "--filter", "other/*"]) == 7
    assert "may be there" in capfd.readouterr().err


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("what", BLOBS)
def test_images_that_cannot_be_drawn(root, tmp_path, capfd, what, strict):
    BLOBS[what](root / "blob/c.tar")
    status = run(["preview", "-q", *(["--strict"] if strict else []), str(root), "-o", str(tmp_path / "p.png")])
    assert status == (6 if strict and what == "images that are none" else 7)
    assert (tmp_path / "p.png").exists() is not strict
    assert ("3 images can't be used" in capfd.readouterr().err) is not strict


def test_what_is_all_seen(root, tmp_path):
    for command, (before, after) in COMMANDS.items():
        words = [*before, "-q", str(root), *(word.format(out=tmp_path) for word in after)]
        assert command == "fetch" or run(words) == 0, command
