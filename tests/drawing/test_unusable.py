"""What can't be used costs just that, is said, and ends with the status for it; with ``--strict`` it ends all."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from blob_builder import Builder
from PIL import Image

from blobdir.cli.app import run

META = {"classes": [{"title": "cat", "shape": "any", "color": "#FF0000"}], "tags": [], "projectType": "images"}
POINT = {"classTitle": "cat", "geometryType": "point", "points": {"exterior": [[4, 4]], "interior": []}}


@pytest.fixture
def root(tmp_path):
    made = Builder(tmp_path / "p")
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "PNG")
    made.blob("train", "a", {f"{i}.png": out.getvalue() for i in range(3)})
    made.loose("train/img/loose.png", out.getvalue())
    for name in ("0.png", "1.png", "2.png", "loose.png"):
        annotation = {"size": {"height": 8, "width": 8}, "tags": [], "objects": [POINT]}
        made.loose(f"train/ann/{name}.json", json.dumps(annotation).encode())
    made.loose("meta.json", json.dumps(META).encode())
    return made.root


def link_out(path):
    (path.parents[3] / "outside").write_bytes(b"{}")
    path.symlink_to(path.parents[3] / "outside")


IMAGES = {
    "a link that leads nowhere": lambda path: path.symlink_to("gone.png"),
    "a link that leads out": link_out,
    "a link in a circle": lambda path: path.symlink_to(path.name),
    "a link to a link that leads nowhere": lambda path: (path.symlink_to("b.x"), path.with_name("b.x").symlink_to("c")),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("what", IMAGES)
def test_images_that_cannot_be_read(root, capfd, what, strict):
    path = root / "train/img/loose.png"
    path.unlink()
    IMAGES[what](path)
    status = run(["stats", "--json", *["--strict"] * strict, str(root)])
    out, said = capfd.readouterr()
    assert "train/img/loose.png: " in said
    if strict:
        assert (status in (4, 6, 7), out) == (True, "")
        return
    train = json.loads(out)["datasets"]["train"]
    assert (status, train["images"], train["annotated"], train["objects"]) == (7, 3, 3, 3)
    assert "1 image can't be used" in said


OBJECTS = {
    "a bitmap that is no text": {"geometryType": "bitmap", "bitmap": {"data": "!!!", "origin": [0, 0]}},
    "a bitmap that is none": {"geometryType": "bitmap", "bitmap": {"data": 5}},
    "words for coordinates": {"geometryType": "point", "points": {"exterior": [["a", "b"]], "interior": []}},
    "no coordinates": {"geometryType": "line", "points": {"exterior": [], "interior": []}},
    "coordinates without an end": {"geometryType": "rectangle", "points": {"exterior": [[0, 0], [1e999, 5]]}},
    "a hole without an end": {
        "geometryType": "polygon",
        "points": {"exterior": [[0, 0], [5, 0], [5, 5]], "interior": [[[0, 0], [1e999, 0], [1, 1]]]},
    },
    "a node without a place": {"geometryType": "graph", "nodes": {"a": {}}},
    "a shape that isn't known": {"geometryType": "cuboid"},
    "no shape": {},
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("what", OBJECTS)
def test_objects_that_cannot_be_drawn(root, tmp_path, capfd, what, strict):
    annotation = {
        "size": {"height": 8, "width": 8},
        "tags": [],
        "objects": [POINT, {"classTitle": "cat", **OBJECTS[what]}],
    }
    (root / "train/ann/1.png.json").write_text(json.dumps(annotation).replace("Infinity", "1e999"))
    words = ["preview", "--tile", "32", *["--strict"] * strict, str(root), "-o", str(tmp_path / "s.png")]
    assert run(words) == (6 if strict else 7)
    assert (tmp_path / "s.png").exists() is not strict
    assert "train/ann/1.png.json: 1 of its 2 objects can't be drawn" in capfd.readouterr().err


def cut(path):
    path.write_text('{"classes": [')


METAS = {
    "cut off": cut,
    "empty": Path.touch,
    "a list": lambda path: path.write_text("[]"),
    "classes that are no list": lambda path: path.write_text('{"classes": null, "tags": []}'),
    "classes that are words": lambda path: path.write_text('{"classes": ["cat"], "tags": []}'),
    "tags without names": lambda path: path.write_text('{"classes": [], "tags": [{"title": "t"}]}'),
    "a link that leads nowhere": lambda path: path.symlink_to("gone.json"),
    "a link that leads out": lambda path: path.symlink_to("../../outside.json"),
}
COMMANDS = {
    "stats": ["stats"],
    "stats --plot": ["stats", "--plot", "{}"],
    "preview": ["preview", "--tile", "32", "-o", "{}"],
}


@pytest.fixture(params=METAS)
def spoilt(root, request):
    """A project whose `meta.json` can't be used."""
    (root / "meta.json").unlink()
    METAS[request.param](root / "meta.json")
    return str(root)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_meta_that_cannot_be_used(spoilt, tmp_path, capfd, command, strict):
    picture = tmp_path / "s.png"
    status = run([*(word.format(picture) for word in COMMANDS[command]), *["--strict"] * strict, spoilt])
    out, said = capfd.readouterr()
    assert (status, "\nblobdir: meta.json: " in f"\n{said}") == (6 if strict else 7, True)
    assert ("1 meta.json can't be used" in said) is not strict
    assert picture.exists() is (not strict and command != "stats")
    assert ("train" in out) is (not strict and command != "preview")


def test_info_has_it_among_the_defects(spoilt, capfd):
    assert run(["info", "--json", spoilt]) == 0
    defects = json.loads(capfd.readouterr().out)["defects"]
    assert [d["severity"] for d in defects if (d["code"], d["path"]) == ("meta", "meta.json")] == ["error"]
    assert run(["info", spoilt]) == 0
    assert "meta: meta.json: " in capfd.readouterr().out


@pytest.mark.parametrize("command", ["stats", "stats --json", "preview", "info"])
def test_what_is_missing_is_a_warning(root, tmp_path, capfd, command):
    (root / "meta.json").unlink()
    assert run([*command.split(), str(root), *(["-o", str(tmp_path / "s.png")] if command == "preview" else [])]) == 0
    assert "meta.json: is missing" in "".join(capfd.readouterr())
