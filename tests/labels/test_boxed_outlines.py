"""Outlines become boxes in YOLO only where an object has keypoints, and that is said first, with why and what to do."""

from __future__ import annotations

import json

import pytest
from label_cases import draw
from split_cases import pack, put

from blobdir.cli.app import run

OUTLINE = {"category_id": 3, "bbox": [10, 10, 20, 30], "area": 300, "segmentation": [[10, 10, 30, 10, 30, 40]]}
POSE = {"category_id": 1, "bbox": [10, 10, 20, 30], "area": 600, "keypoints": [12, 12, 2, 0, 0, 0], "num_keypoints": 1}
CATEGORIES = [{"id": 1, "name": "person", "keypoints": ["nose", "eye"]}, {"id": 3, "name": "car"}]


def project(tmp_path, objects, splits=("train",)):
    for split in splits:
        draw(tmp_path / f"s/{split}/a.png")
        found = [
            {"id": i + 1, "image_id": 1, "iscrowd": 0} | one for i, one in enumerate(objects.get(split, [OUTLINE]))
        ]
        image = {"id": 1, "file_name": "a.png", "width": 100, "height": 50}
        value = {"images": [image], "annotations": found, "categories": CATEGORIES}
        put(tmp_path / f"s/instances_{split}.json", json.dumps(value))
    pack(tmp_path / "s", tmp_path / "p", labels="coco")
    return tmp_path / "p"


def converted(root, capfd, *options):
    capfd.readouterr()
    code = run(["convert", str(root), str(root.parent / "o"), "--to", "yolo", *options])
    return code, capfd.readouterr().err.splitlines()


def lines(root, split="train"):
    return (root.parent / f"o/labels/{split}/a.txt").read_text().splitlines()


@pytest.mark.parametrize("objects", [[OUTLINE], [OUTLINE, {"category_id": 1, "bbox": [1, 1, 5, 5], "area": 25}]])
def test_a_class_that_could_have_keypoints_costs_no_outline(objects, tmp_path, capfd):
    root = project(tmp_path, {"train": objects})
    code, said = converted(root, capfd)
    assert code == 0 and not [line for line in said if "label-boxed" in line]
    assert lines(root)[0] == "1 0.100000 0.200000 0.300000 0.200000 0.300000 0.800000"
    assert "kpt_shape" not in (tmp_path / "o/data_config.yaml").read_text()
    report, _ = pack(tmp_path / "o", tmp_path / "q", labels="yolo")
    assert report.complete and report.objects == len(objects)


@pytest.mark.parametrize("splits", [("train",), ("train", "val")])
def test_where_one_object_has_some_all_outlines_are_boxes_and_it_is_said_why(splits, tmp_path, capfd):
    root = project(tmp_path, {splits[-1]: [OUTLINE, POSE]}, splits)
    _, said = converted(root, capfd)
    (boxed,) = [line for line in said if "label-boxed: car" in line]
    assert "others have keypoints" in boxed and "--task segment" in boxed
    report, _ = pack(tmp_path / "o", tmp_path / "q", labels="yolo")
    assert report.complete and report.objects == len(splits) + 1


def test_what_the_advice_says_helps(tmp_path, capfd):
    root = project(tmp_path, {"train": [OUTLINE, POSE]})
    converted(root, capfd, "--task", "segment")
    assert "1 0.100000 0.200000 0.300000 0.200000 0.300000 0.800000" in lines(root)


def test_what_is_counted_comes_before_what_is_cut(tmp_path, capfd):
    both = POSE | {"segmentation": [[1, 1, 5, 5, 1, 5]]}
    root = project(tmp_path, {"train": [OUTLINE, *[both] * 60]})
    code, said = converted(root, capfd)
    codes = [line.split(": ")[1] for line in said if line.startswith("blobdir: label-")]
    assert code == 7 and codes[0] == "label-boxed"
    assert codes.count("label-lost") == 21 and any("and 40 more (--json lists all)" in line for line in said)
