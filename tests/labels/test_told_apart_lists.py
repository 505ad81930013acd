"""A file of boxes of many images, some of whose namesakes have labels: of those that fit it, as files of one image."""

from __future__ import annotations

import json

import pytest
from label_cases import draw
from split_cases import messages, pack, put

NAMES = [f"{i}.png" for i in range(4)]
VOC = (
    "<annotation><filename>NAME</filename><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
    "<xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>"
)
SHAPE = {"label": "cat", "points": [[1, 1], [5, 5]], "shape_type": "rectangle", "group_id": None, "flags": {}}
LABELME = json.dumps({"version": "5", "flags": {}, "shapes": [SHAPE], "imagePath": "NAME", "imageData": None})
OF_EACH = {
    "yolo": ("labels/train/{}.txt", "0 .5 .5 .2 .2\n"),
    "voc": ("Annotations/train/{}.xml", VOC),
    "labelme": ("images/train/{}.json", LABELME),
}


def written(kind, names):
    """Boxes of images, in a spelling that nobody reads."""
    if kind == "json":
        return json.dumps({name: [[10, 20, 30, 40, "cat"]] for name in names})
    if kind == "jsonl":
        return "".join(json.dumps({"file": name, "o": [[10, 20, 30, 40, "cat"]]}) + "\n" for name in names)
    return "".join(f"{name} 10 20 30 40 cat\n" for name in names)


def half_labelled(root, kind, folders=("train", "val")):
    """Images of the same names in two folders; those of the first one have labels."""
    place, text = OF_EACH[kind]
    for name in NAMES:
        for folder in folders:
            draw(root / f"images/{folder}/{name}")
        put(root / place.replace("train", folders[0]).format(name[:-4]), text.replace("NAME", name))
    put(root / "data.yaml" if kind == "yolo" else root / "about.txt", "names: [cat]\n")


def named(report, path):
    return [text for where, text in messages(report, "label") if where == path]


PLACES = ["val.json", "gt/val.json", "val/boxes.json", "val_gt.jsonl", "annotations/val.jsonl", "val/boxes.dat"]


@pytest.mark.parametrize("kind", OF_EACH)
@pytest.mark.parametrize("place", [*PLACES, "raw/val/list.json", "raw/val_gt.txt"])
def test_where_it_lies_and_what_it_is_called_tell(place, kind, tmp_path):
    root = tmp_path / "s"
    half_labelled(root, kind)
    put(root / place, written(place.rpartition(".")[2], NAMES))
    report, _ = pack(root, tmp_path / "p", labels=kind)
    assert not report.complete and len(named(report, place)) == 1, report.problems


@pytest.mark.parametrize("kind", OF_EACH)
@pytest.mark.parametrize("start", ["images/val/", "./images/val/", "/data/x/images/val/", "images\\val\\", "val/"])
def test_folders_before_the_names_tell(start, kind, tmp_path):
    root = tmp_path / "s"
    half_labelled(root, kind)
    put(root / "boxes.dat", written("dat", [f"{start}{name}" for name in NAMES]))
    report, _ = pack(root, tmp_path / "p", labels=kind)
    assert named(report, "boxes.dat"), report.problems


@pytest.mark.parametrize("kind", OF_EACH)
@pytest.mark.parametrize("place", ["train.dat", "gt/train.jsonl", "images/train/boxes.dat"])
def test_what_is_of_those_with_labels_costs_nothing(place, kind, tmp_path):
    root = tmp_path / "s"
    half_labelled(root, kind)
    put(root / place, written(place.rpartition(".")[2], NAMES))
    report, _ = pack(root, tmp_path / "p", labels=kind)
    assert report.complete, report.problems


@pytest.mark.parametrize("kind", OF_EACH)
@pytest.mark.parametrize("place", ["meta_{}.dat", "{}/gps.dat", "gps/{}.dat", "{}.dat", "images/{}/gps.dat"])
def test_notes_on_both_splits_cost_nothing(place, kind, tmp_path):
    root = tmp_path / "s"
    half_labelled(root, kind)
    for split in ("train", "val"):
        rows = "".join(f"{name},5.1{i},47.2{i},310,25\n" for i, name in enumerate(NAMES))
        put(root / place.format(split), f"file,lon,lat,alt,temperature\n{rows}")
    report, _ = pack(root, tmp_path / "p", labels=kind)
    assert report.complete, report.problems


@pytest.mark.parametrize("kind", OF_EACH)
def test_masks_of_labelled_images_are_none_without_labels(kind, tmp_path):
    root = tmp_path / "s"
    half_labelled(root, kind, folders=("train", "masks"))
    put(root / "masks.jsonl", written("jsonl", NAMES))
    assert pack(root, tmp_path / "p", labels=kind)[0].complete


BOXES = [
    "{}.png 10,20,30,40,1 5,6,30,40,0\n",
    "images/val/{}.png 10,20,30,40,1\n",
    "images/val/{}.png 10 20 30 40 cat\n",
    "/data/x/images/val/{}.png 10,20,30,40,1\n",
]


def with_a_text(root, place, row, config, labelled=("t",)):
    """Images of two splits, those of some with labels, and a text of all of val with more than their names."""
    for i in range(4):
        for split, start in (("train", "t"), ("val", "v")):
            draw(root / f"images/{split}/{start}{i}.png")
            if start in labelled:
                put(root / f"labels/{split}/{start}{i}.txt", "0 .5 .5 .2 .2\n")
    put(root / place, "".join(row.format(f"v{i}") for i in range(4)))
    given = "train: images/train\nval: images/val\nnames: [cat, dog]\n"
    put(root / config, given if config == "data.yaml" else "cat\ndog\n")


@pytest.mark.parametrize("config", ["classes.txt", "data.yaml", "obj.names"])
@pytest.mark.parametrize("place", ["val.txt", "gt/val.txt", "val_gt.txt", "ann_val.txt", "2007_val.txt"])
@pytest.mark.parametrize("row", BOXES)
def test_boxes_in_a_list_of_a_split_are_named(row, place, config, tmp_path):
    root = tmp_path / "s"
    with_a_text(root, place, row, config)
    report, _ = pack(root, tmp_path / "p", labels="yolo")
    assert not report.complete and len(named(report, place)) == 1, report.problems


@pytest.mark.parametrize("row", [*BOXES, "images/val/{}.png\n", "images/val/{}.png 1\n", "{}.png 1 2 3\n"])
def test_a_list_of_images_with_labels_costs_nothing(row, tmp_path):
    root = tmp_path / "s"
    with_a_text(root, "val.txt", row, "classes.txt", labelled=("t", "v"))
    report, _ = pack(root, tmp_path / "p", labels="yolo")
    assert report.complete, report.problems


@pytest.mark.parametrize("row", ["images/val/{}.png\n", "images/val/{}.png 1\n", "{}.png 1 2 3\n"])
def test_a_list_without_boxes_costs_nothing(row, tmp_path):
    root = tmp_path / "s"
    with_a_text(root, "val.txt", row, "classes.txt")
    assert pack(root, tmp_path / "p", labels="yolo")[0].complete
