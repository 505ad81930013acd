"""Datasets there and back: packed, converted, packed again, each is what it was, or it's named."""

from __future__ import annotations

import random

import pytest
from label_cases import dump
from PIL import Image

import blobdir
from blobdir.converting import ConvertOptions, convert
from blobdir.labels.splitnames import kind_of_split
from blobdir.labels.writers import WRITERS

NAMES = [
    *("train", "val", "test", "valid", "Validation", "training", "testing", "minival", "val2017", "test-dev2017"),
    *("train_a", "train_b", "Train", "trainval", "train_val", "val_night", "labelled train", "val+x"),
    *("cam1", "lemons", "no_split", "default", "all", "ä b", "x.txt", "cam_labels", "values", "2017"),
    *("names", "path", "coco", "labels", "images", "annotations", "ImageSets", "JPEGImages", "trainer", "null"),
]


def project(root, names, rng):
    """Packed from COCO, a file for each dataset; gives the datasets of its images, by their bytes."""
    count, where = 0, {}
    for number, name in enumerate(names):
        images = []
        for i in range(rng.randint(1, 3)):
            count += 1
            path = root / f"s/images/d{number}" / f"{rng.choice('abc')}{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (100, 50), (count, 7, 7)).save(path)
            where[path.read_bytes()] = name
            images.append({"id": i, "file_name": path.relative_to(root / "s").as_posix()})
        things = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 5, 5]} for i in range(len(images))]
        value = {"images": images, "annotations": things, "categories": [{"id": 1, "name": "cat"}]}
        place = "default/_annotations.coco" if name == "default" else f"annotations/instances_{name}"
        dump(root / f"s/{place}.json", value)
    report = blobdir.pack(root / "s", root / "p", blobdir.PackOptions(labels="coco", processes=1))
    assert report.complete and datasets(root / "p") == where
    return where


def datasets(path):
    """Bytes of each image -> its dataset."""
    found = blobdir.open_project(path)
    return {data: name for name in found for data in found[name].read_many(found[name].names)}


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("to", WRITERS)
def test_datasets_come_back_or_are_named(to, seed, tmp_path):
    rng = random.Random(seed)
    names = rng.sample(NAMES, rng.randint(1, 5)) if seed else ["train", "val", "test", "cam1"]
    before = project(tmp_path, names, rng)
    said = convert(tmp_path / "p", tmp_path / "c", ConvertOptions(to))
    assert said.complete, said.problems
    report = blobdir.pack(tmp_path / "c", tmp_path / "q", blobdir.PackOptions(labels=to, processes=1))
    assert report.complete, report.problems
    assert report.objects == len(before)
    after = datasets(tmp_path / "q")
    assert after.keys() == before.keys()
    named = {problem.path for problem in said.problems}
    for data, name in before.items():
        assert after[data] == name or name in named, (name, after[data], said.problems)
        if kind := kind_of_split(name):
            assert kind_of_split(after[data]) == kind, (name, after[data])
    assert [p for p in report.problems if "train_labels" in p.message or "val_labels" in p.message] == []
