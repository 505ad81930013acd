"""Annotations that other processes make sense of say what they say here, in the order of their images."""

from __future__ import annotations

import json

import pytest
from blob_builder import Builder

from blobdir.datasets import open_view
from blobdir.errors import AnnotationError
from blobdir.packing import SubsetOptions
from blobdir.packing.choosing import choose
from blobdir.packing.labelreading import read_labels

COUNT = 2300
KINDS = {
    100: None,
    200: b"",
    300: b"[]",
    400: b'{"objects": 1}',
    500: b'{"objects": [{"classTitle": 1}]}',
    600: b"{",
}


def annotation(i):
    """Of every kind: sound ones, with and without tags, none, and what can't be used, each for another reason."""
    kinds = {
        100: None,
        200: b"",
        300: b"[]",
        400: b'{"objects": 1}',
        500: b'{"objects": [{"classTitle": 1}]}',
        600: b"{",
    }
    if i % 700 in kinds:
        return kinds[i % 700]
    titles = [f"c{i % 7}", f"ü{i % 11}", f"c{i % 7}"]
    objects = [{"classTitle": title, "tags": [{"name": f"t{i % 3}"}]} for title in titles]
    return json.dumps({"tags": [{"name": "whole"}], "objects": objects}).encode()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Builder(tmp_path_factory.mktemp("labels") / "p")
    classes = [{"title": f"{name}{i}", "shape": "rectangle"} for name in "cü" for i in range(11)]
    tags = [{"name": name} for name in ("whole", "t0", "t1", "t2")]
    made.loose("meta.json", json.dumps({"classes": classes, "tags": tags}).encode())
    for dataset, count in (("train", COUNT), ("a/datasets/b", 50)):
        for i in range(count):
            made.loose(f"{dataset}/img/{i:05d}.jpg", b"image")
            if (data := annotation(i)) is not None:
                made.loose(f"{dataset}/ann/{i:05d}.jpg.json", data)
    return open_view(made.root)


@pytest.fixture(params=["here", "in processes"])
def where(request, monkeypatch):
    monkeypatch.setattr("blobdir.packing.labelreading.processors", lambda: 2)
    monkeypatch.setattr("blobdir.packing.labelreading.WORTH_IT", 10**9 if request.param == "here" else 1)
    return request.param


@pytest.mark.usefixtures("where")
def test_what_is_said(project):
    images = {path: project[path].names for path in ("train", "a/datasets/b")}
    said = list(read_labels(project, images))
    assert [(one.dataset, one.name) for one in said] == [(path, name) for path in images for name in images[path]]
    plain = [one for path in images for one in project[path].annotations(images[path])]
    for one, known in zip(said, plain, strict=True):
        assert (one.file, one.fault) == (known.path, known.fault)
        objects = known.value["objects"] if known.value is not None and not known.fault else None
        assert (one.labels is None) == (objects is None)
        if objects is not None:
            assert set(one.labels[0]) == {item["classTitle"] for item in objects}
            assert set(one.labels[1]) == {"whole", *(tag["name"] for item in objects for tag in item["tags"])}


@pytest.mark.parametrize(
    "options", [{"per_class": 3}, {"classes": ("c1", "ü2"), "per_class": 2}, {"tags": ("t1",)}, {"classes": ("c3",)}]
)
def test_the_choice_is_the_same(project, monkeypatch, options):
    found = []
    for least in (10**9, 1):
        monkeypatch.setattr("blobdir.packing.labelreading.WORTH_IT", least)
        monkeypatch.setattr("blobdir.packing.labelreading.processors", lambda: 2)
        found.append(choose(project, SubsetOptions(**options)))
    assert found[0] == found[1]
    assert found[0].count
    assert [problem.path for problem in found[0].problems][:2] == [
        "train/ann/00200.jpg.json",
        "train/ann/00300.jpg.json",
    ]


@pytest.mark.usefixtures("where")
def test_strict_stops_at_the_first(project):
    with pytest.raises(AnnotationError, match=r"train/ann/00200\.jpg\.json: is empty"):
        choose(project, SubsetOptions(per_class=3, strict=True))
