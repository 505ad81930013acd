"""``convert``: what a format has no place for is said, in each writer and style, for each kind of shape and group."""

from __future__ import annotations

import json

import drawn
import numpy as np
import pytest

import blobdir
from blobdir.converting import ConvertOptions, convert

ASKED = {
    "coco": ConvertOptions("coco"),
    "voc": ConvertOptions("voc"),
    "detect": ConvertOptions("yolo", task="detect"),
    "segment": ConvertOptions("yolo", task="segment"),
    "pose": ConvertOptions("yolo", task="pose"),
    "yolo": ConvertOptions("yolo"),
}
PARTS = {
    "box": ("rectangle", drawn.points((10, 10), (60, 60))),
    "box2": ("rectangle", drawn.points((70, 70), (90, 90))),
    "outline": ("polygon", drawn.points((20, 20), (50, 20), (50, 50))),
    "holed": ("polygon", drawn.SHAPES["polygon"]),
    "mask": ("bitmap", {"bitmap": {"data": drawn.bitmap(np.ones((20, 20)) * 255), "origin": [20, 20]}}),
    "line": ("line", drawn.SHAPES["line"]),
    "point": ("point", drawn.SHAPES["point"]),
    "pose": ("graph", {"nodes": {"a": {"loc": [30, 30]}, "b": {"loc": [40, 40]}}}),
    "hidden": ("graph", {"nodes": {"a": {"loc": [30, 30], "disabled": True}, "b": {"loc": [40, 40]}}}),
    "parts": ("multipolygon", {"parts": drawn.SHAPES["multipolygon"]["parts"] * 2}),
}
NODES = {name: {"label": name, "loc": [0, 0]} for name in "ab"}
GROUPS = [
    *(("pose",), ("outline",), ("mask",), ("point",), ("line",), ("hidden",), ("holed",), ("parts",)),
    *(("box", "pose"), ("pose", "box"), ("box", "outline"), ("outline", "box"), ("box", "mask"), ("box", "point")),
    *(("box", "line"), ("pose", "point"), ("pose", "outline"), ("pose", "pose"), ("box", "pose", "pose")),
    *(("box", "box2"), ("box", "box2", "pose"), ("outline", "mask"), ("outline", "holed"), ("point", "line")),
    ("box", "outline", "point"),
]
HELD = {
    ("coco", "exact"): {"box", "outline", "holed", "mask", "pose", "hidden", "parts"},
    ("coco", "sdk"): {"box", "outline", "mask", "pose"},
    ("voc", "exact"): {"box"},
    ("voc", "sdk"): {"box"},
    ("detect", "exact"): {"box"},
    ("detect", "sdk"): {"box"},
    ("segment", "exact"): {"outline", "mask"},
    ("segment", "sdk"): {"outline", "mask"},
    ("pose", "exact"): {"pose", "hidden"},
    ("pose", "sdk"): {"pose", "hidden"},
    ("yolo", "exact"): {"box", "outline", "mask", "pose", "hidden"},
    ("yolo", "sdk"): {"box"},
}
"""What can be written as it is, alone."""
GROUPED = {
    ("coco", "exact"): [
        *({"box", "pose"}, {"box", "outline"}, {"box", "mask"}, {"pose", "outline"}),
        *({"outline", "holed"}, {"outline", "mask"}),
    ],
    ("coco", "sdk"): [{"box", "outline"}, {"box", "mask"}],
    ("pose", "exact"): [{"box", "pose"}],
    ("yolo", "exact"): [{"box", "pose"}],
}
"""Of which a group can be written as one object."""


def project(root, names):
    """A project of one image with an object for each of these parts: all in one group, if they are several."""
    group = {"instance": "k"} if len(names) > 1 else {}
    objects = [drawn.thing(PARTS[name][0], PARTS[name][1], PARTS[name][0], **group) for name in names]
    classes = [{"title": kind, "shape": kind} for kind in dict.fromkeys(kind for kind, _ in PARTS.values())]
    for one in classes:
        if one["shape"] == "graph":
            one["geometry_config"] = {"nodes": NODES, "edges": []}
    root = drawn.project(root, {"train": {"a.png": objects}}, classes)
    source = {"format": "labelme", "classes": {kind: "cat" for kind, _ in PARTS.values()}}
    (root / "train/label_source.json").write_text(json.dumps(source))
    return root


@pytest.mark.parametrize("names", GROUPS, ids="+".join)
@pytest.mark.parametrize("style", ["exact", "sdk"])
@pytest.mark.parametrize("asked", ASKED)
def test_what_a_format_cannot_hold_is_said(asked, style, names, tmp_path):
    options = ASKED[asked]
    options = ConvertOptions(options.to, style=style, task=options.task, images="none")
    report = convert(project(tmp_path / "p", names), tmp_path / "o", options)
    said = [one for one in report.problems if one.code in ("label-boxed", "label-lost", "label-untold")]
    is_held = names[0] in HELD[asked, style] if len(names) == 1 else {*names} in GROUPED.get((asked, style), [])
    is_held = is_held and len({*names}) == len(names)
    assert bool(said) != is_held, [(one.code, one.path, one.message) for one in said]


@pytest.mark.parametrize("asked", ["voc", "detect"])
@pytest.mark.parametrize("names", [("box", "pose"), ("box", "outline", "point"), ("pose", "box", "line")], ids="+".join)
def test_all_that_a_box_stands_for_is_counted(names, asked, tmp_path):
    options = ConvertOptions(ASKED[asked].to, style="exact", task=ASKED[asked].task)
    report = convert(project(tmp_path / "p", names), tmp_path / "o", options)
    boxed = {one.path for one in report.problems if one.code == "label-boxed"}
    assert boxed == {PARTS[name][0] for name in names} - {"rectangle"} and report.complete


@pytest.mark.parametrize("asked", ["voc", "detect"])
def test_keypoints_of_a_packed_set_are_counted(asked, tmp_path):
    labels = tmp_path / "s/labels/train"
    labels.mkdir(parents=True)
    (tmp_path / "s/images/train").mkdir(parents=True)
    (tmp_path / "s/images/train/a.png").write_bytes(drawn.encoded())
    (labels / "a.txt").write_text("0 0.5 0.5 0.4 0.4 0.4 0.4 2 0.5 0.5 1 0.6 0.6 2\n")
    (tmp_path / "s/data.yaml").write_text("train: images/train\nkpt_shape: [3, 3]\nnames: {0: tiger}\n")
    blobdir.pack(tmp_path / "s", tmp_path / "p", blobdir.PackOptions(labels="auto", processes=1))
    report = convert(tmp_path / "p", tmp_path / "o", ASKED[asked])
    assert report.style == "exact" and [(one.code, one.message) for one in report.problems] == [
        ("label-boxed", "1 object with keypoints became the boxes around them")
    ]


def test_a_box_beside_an_outline_is_the_box_of_both(tmp_path):
    convert(project(tmp_path / "p", ("box", "outline")), tmp_path / "o", ConvertOptions("coco", style="exact"))
    (one,) = json.loads((tmp_path / "o/train/annotations/coco_instances.json").read_bytes())["annotations"]
    assert one["bbox"] == [10, 10, 50, 50] and one["segmentation"] == [[20, 20, 50, 20, 50, 50]]


@pytest.mark.parametrize(("task", "text"), [("segment", "0 0.1"), ("detect", "0 0.35 0.35 0.3 0.3 0.5")])
def test_a_score_that_a_line_has_no_place_for_is_counted(task, text, tmp_path):
    root = project(tmp_path / "p", ("outline",))
    path = root / "train/ann/a.png.json"
    value = json.loads(path.read_bytes())
    value["objects"][0]["tags"] = [{"name": "confidence", "value": 0.5}]
    path.write_text(json.dumps(value))
    report = convert(root, tmp_path / "o", ConvertOptions("yolo", style="exact", task=task))
    assert ("label-untold" in {one.code for one in report.problems}) == (task == "segment")


@pytest.mark.parametrize("has_keypoints", [True, False])
def test_lines_of_yolo_are_of_one_kind(has_keypoints, tmp_path):
    """An outline of five points has as many numbers as a box and two keypoints."""
    five = drawn.points((20, 20), (50, 20), (50, 50), (30, 60), (20, 50))
    kinds = {"polygon": five, "rectangle": PARTS["box"][1]} | ({"graph": PARTS["pose"][1]} if has_keypoints else {})
    objects = [drawn.thing(kind, shape, kind) for kind, shape in kinds.items()]
    classes = [{"title": kind, "shape": kind} for kind in kinds]
    if has_keypoints:
        classes[-1]["geometry_config"] = {"nodes": NODES, "edges": []}
    root = drawn.project(tmp_path / "p", {"train": {"a.png": objects}}, classes)
    report = convert(root, tmp_path / "o", ConvertOptions("yolo", style="exact"))
    text = next((tmp_path / "o").rglob("a.txt"))
    counts = {len(line.split()) for line in text.read_text().splitlines()}
    assert counts == ({1 + 4 + 2 * 3} if has_keypoints else {5, 11})
    assert [one.path for one in report.problems if one.code == "label-boxed"] == ["polygon"] * has_keypoints


def test_images_that_get_another_name_are_said(tmp_path):
    """VOC has one folder for the images of all splits: of two of one name, one has another name there."""
    datasets = {split: {"1.png": [], "2.png": [], f"{split}.png": []} for split in ("train", "val")}
    root = drawn.project(tmp_path / "p", datasets, [])
    report = convert(root, tmp_path / "o", ConvertOptions("voc", style="exact"))
    said = [one for one in report.problems if "another name" in one.message]
    assert [(one.path, one.costs) for one in said] == [("val", False)]
    assert said[0].message == "2 images have another name there, since others have theirs: 1.png is 1_01.png"
    assert next((tmp_path / "o").rglob("2_01.png")).is_file()


@pytest.mark.parametrize("style", ["exact", "sdk"])
@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_images_of_one_stem_are_said_where_one_is_renamed(kind, style, tmp_path):
    """Files of labels have no extensions of images: ``a.png`` beside ``a.jpg`` is called otherwise."""
    root = drawn.project(tmp_path / "p", {"train": {"a.bmp": [], "a.png": [], "b.png": []}}, [])
    report = convert(root, tmp_path / "o", ConvertOptions(kind, style=style))
    said = [one for one in report.problems if "another name" in one.message]
    assert [(one.path, one.code, one.costs) for one in said] == [("train", "label-note", False)]
    assert "a.png is " in said[0].message and said[0].message.endswith("a_01.png")
