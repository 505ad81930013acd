"""Projects with numbers and graphs that can't be: what has them is named and left out, and the others are converted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from drawn import SHAPES, bitmap, points, project, thing

import blobdir.converting as converting_module
from blobdir.cli.app import run
from blobdir.converting import ConvertOptions, convert
from blobdir.errors import PackError

FORMATS = ["coco", "yolo", "voc"]
FAR = 10**308
ENDLESS = float("inf")
OBJECTS = {
    "a corner": thing("rectangle", points((0, 0), (FAR, 1))),
    "a corner without an end": thing("rectangle", points((0, 0), (ENDLESS, 1))),
    "a corner that is no number": thing("rectangle", points((0, 0), (float("nan"), 1))),
    "a point": thing("polygon", points((1, 1), (FAR, 5), (3, 9), (2, 2))),
    "a point of a hole": thing("polygon", points((1, 1), (9, 1), (9, 9), interior=[((1, 1), (-FAR, 2), (3, 3))])),
    "an origin": thing("bitmap", {"bitmap": {"data": bitmap(np.ones((4, 4))), "origin": [3, -ENDLESS]}}),
    "a node": thing("graph", {"nodes": {"a": {"loc": [FAR, 5]}}}, "g"),
}
NODES = {name: {"label": name, "loc": [1, 1], "color": "#00FF00"} for name in "ab"}
CLASSES = [
    {"title": "c", "shape": "any", "color": "#FF0000"},
    {"title": "g", "shape": "graph", "color": "#00FF00", "geometry_config": {"nodes": NODES, "edges": []}},
]
GOOD = thing("rectangle", SHAPES["rectangle"])


def written(folder, form):
    """How many objects there are in label files."""
    texts = [path.read_text() for path in folder.rglob("*") if path.suffix in (".json", ".txt", ".xml")]
    if form == "coco":
        return sum(len(json.loads(text)["annotations"]) for text in texts)
    return sum(text.count("<object>") if form == "voc" else len(text.splitlines()) for text in texts)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("what", OBJECTS)
def test_numbers_that_are_no_places(tmp_path, capfd, what, form):
    root = project(tmp_path / "p", {"d": {"a.png": [OBJECTS[what], GOOD], "b.png": [GOOD]}}, CLASSES)
    assert run(["convert", str(root), str(tmp_path / "out"), "--to", form]) == 7
    out, said = capfd.readouterr()
    assert "d/a.png: object 0 (" in said
    assert "has a coordinate that is no place in a picture" in said
    assert "2 images, 3 objects but for 1 loss, as said above" in out
    assert written(tmp_path / "out", form) == 2
    assert run(["convert", "--strict", str(root), str(tmp_path / "none"), "--to", form]) == 7
    assert not (tmp_path / "none").exists()


GRAPHS = {
    "edges of lists": {"nodes": NODES, "edges": [{"src": ["a"], "dst": "b"}, {"src": "a", "dst": "b"}]},
    "edges that are a number": {"nodes": NODES, "edges": 5},
    "edges that are a text": {"nodes": NODES, "edges": "ab"},
    "edges of numbers": {"nodes": NODES, "edges": [1, None]},
    "nodes that are a text": {"nodes": "ab", "edges": []},
    "no nodes": {},
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("what", GRAPHS)
def test_graphs_of_classes_that_are_none(tmp_path, capfd, what, form):
    item = thing("graph", {"nodes": {"a": {"loc": [5, 5]}, "b": {"loc": [9, 9]}}}, "g")
    classes = [CLASSES[0], CLASSES[1] | {"geometry_config": GRAPHS[what]}]
    root = project(tmp_path / "p", {"d": {"a.png": [item, GOOD]}}, classes)
    of_edges = "edges" in what
    assert run(["convert", str(root), str(tmp_path / "out"), "--to", form]) == (7 if of_edges or form == "coco" else 0)
    said = capfd.readouterr().err
    assert ("meta.json: the class 'g' has edges that don't say from which node to which" in said) == of_edges
    assert ("is of a class whose nodes meta.json doesn't have" in said) == (not of_edges and form == "coco")
    assert written(tmp_path / "out", form) >= 1


def test_what_nobody_thought_of_names_the_image(tmp_path, monkeypatch):
    root = project(tmp_path / "p", {"d": {"a.png": [GOOD]}}, CLASSES)

    class Broken(converting_module.WRITERS["coco"]):
        def add(self, item):
            raise ZeroDivisionError("a reason")

    monkeypatch.setitem(converting_module.WRITERS, "coco", Broken)
    with pytest.raises(
        PackError, match=r"^d/a\.png: what its annotation says of its objects can't be written \(a reason"
    ):
        convert(root, tmp_path / "out", ConvertOptions("coco"))
    assert not (tmp_path / "out").exists()
