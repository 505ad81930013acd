"""Annotations that other processes make sense of say what they say here, in the order of their images."""

from __future__ import annotations

import json
import os
import signal

import pytest
from blob_builder import Builder

from blobdir.datasets import open_view
from blobdir.errors import AnnotationError, WorkerError
from blobdir.packing import SubsetOptions
from blobdir.packing.choosing import choose
from blobdir.packing.labelreading import read_labels
from blobdir.processes import Job

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


LARGE = json.dumps({"tags": [{"name": "whole"}], "objects": [], "description": "x" * (64 << 10)}).encode()
ODD = {
    "a large file": lambda file, out: file.write_bytes(LARGE),
    "a file of exactly as many bytes as are read": lambda file, out: file.write_bytes(LARGE[: (64 << 10) - 2] + b'"}'),
    "a link to a file here": lambda file, out: file.symlink_to("00001.jpg.json"),
    "a link that leads out": lambda file, out: (out.write_bytes(LARGE), file.symlink_to(out)),
    "a link to nothing": lambda file, out: file.symlink_to("nothing"),
    "a folder": lambda file, out: file.mkdir(),
    "a pipe": lambda file, out: os.mkfifo(file),
    "nothing": lambda file, out: None,
}
SOUND = ("a large file", "a file of exactly as many bytes as are read")


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("follow_links", [False, True])
def test_what_is_no_small_file_is_said_alike(tmp_path, monkeypatch, kind, when, follow_links):
    """Whether it's so when the project is opened, or becomes so before the annotations are read."""
    made = Builder(tmp_path / "p")
    made.loose("meta.json", b'{"classes": [], "tags": [{"name": "whole"}]}')
    for i in range(20):
        made.loose(f"train/img/{i:05d}.jpg", b"image")
        made.loose(f"train/ann/{i:05d}.jpg.json", b'{"tags": [{"name": "whole"}], "objects": []}')
    file = made.root / "train/ann/00007.jpg.json"

    def become():
        file.unlink()
        ODD[kind](file, tmp_path / "outside.json")

    if when == "before":
        become()
    view = open_view(made.root, follow_links=follow_links)
    if when == "after":
        become()
    said = []
    monkeypatch.setattr("blobdir.packing.labelreading.processors", lambda: 2)
    for least in (10**9, 1):
        monkeypatch.setattr("blobdir.packing.labelreading.WORTH_IT", least)
        said.append(list(read_labels(view, {"train": view["train"].names})))
    assert said[0] == said[1]
    assert len(said[0]) == 20
    one = said[1][7]
    assert bool(one.labels) == (kind in SOUND) or "link to a file" in kind or "leads out" in kind
    assert (one.file, one.fault) == ("", "") or one.labels or one.fault


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_was_ended_is_named_with_what_to_do(project, monkeypatch, number):
    monkeypatch.setattr("blobdir.packing.labelreading.WORTH_IT", 1)
    monkeypatch.setattr("blobdir.packing.labelreading._jobs", lambda *_: _ended_by(number))
    with pytest.raises(WorkerError, match=rf"\({number.name}\).* while it was reading .*: try again") as caught:
        [*read_labels(project, {"ds": [str(i) for i in range(100)]})]
    assert ("memory is short" in str(caught.value)) == (number == signal.SIGKILL)


def _ended_by(number):
    yield Job(signal.raise_signal, (number,), "reading annotations of ds")
