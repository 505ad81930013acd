"""Each format with each kind of label: packed, found again in the annotations, verified, converted, packed again."""

from __future__ import annotations

import json
import os

import pytest
from label_cases import CASES, HOLDS, WORLDS, WRITERS, coco_of, draw, write
from split_cases import TWO, messages, pack, put, without_lists

import blobdir
from blobdir import labels
from blobdir.converting import ConvertOptions, convert
from blobdir.errors import UsageError
from blobdir.labels.model import Box, Polygon, Pose
from blobdir.labels.supervisely import kind_of_object, kinds_of, shapes_of
from blobdir.verifying import verify


def packed(source, target, **options):
    report = blobdir.pack(
        source, target, blobdir.PackOptions(labels=options.pop("labels", "auto"), processes=1, **options)
    )
    assert report.complete, report.problems
    return report


def found(project):
    """Dataset -> image -> objects with their classes and shapes, as the annotations have them."""
    opened = blobdir.open_project(project)
    kinds = kinds_of(opened.meta)
    result = {}
    for name, dataset in opened.items():
        for image in dataset:
            things = []
            for one in dataset.annotation(image)["objects"]:
                title = one["classTitle"]
                if title.endswith("_bbox"):  # beside keypoints, which YOLO always has
                    continue
                things += [(title, shape) for shape in shapes_of(one, kind_of_object(one, kinds), kinds[title])]
            result[name, image] = things
    return result


def alike(one, other):
    """Whether shapes are the same, within what a share of six digits can say."""
    if isinstance(one, Box):
        sides = ("left", "top", "right", "bottom")
        return isinstance(other, Box) and all(
            getattr(one, s) == pytest.approx(getattr(other, s), abs=1e-6) for s in sides
        )
    if isinstance(one, Polygon):
        return isinstance(other, Polygon) and all(
            a == pytest.approx(b, abs=1e-6) for a, b in zip(one.exterior, other.exterior, strict=True)
        )
    if isinstance(one, Pose):
        return one.points.keys() == other.points.keys() and all(
            one.points[key] == pytest.approx(other.points[key], abs=1e-6) for key in one.points
        )
    return one == other


def same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for key, things in theirs.items():
        assert [label for label, _ in ours[key]] == [label for label, _ in things], key
        assert all(alike(a, b) for (_, a), (_, b) in zip(ours[key], things, strict=True)), (ours[key], things)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_packed(kind, name, tmp_path):
    world = WORLDS[name]
    source = write(kind, tmp_path / "source", world)
    before = sorted(source.rglob("*"))
    assert list(labels.detect(source)) == [kind]
    report = packed(source, tmp_path / "p")
    assert report.labels == kind
    assert report.objects == sum(map(len, world.images.values()))
    assert sorted(source.rglob("*")) == before
    dataset = "train" if kind in ("coco", "yolo", "voc", "cvat") else "source"
    same(
        found(tmp_path / "p"),
        {(dataset, image.rpartition("/")[2]): expected for image, expected in world.images.items()},
    )
    titles = {item["title"] for item in blobdir.open_project(tmp_path / "p").meta["classes"]}
    if kind in ("coco", "yolo", "cvat"):
        assert titles >= set(world.classes)
    assert not verify(tmp_path / "p", decode=True).errors


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_converted_and_packed_again(kind, name, tmp_path):
    """Whatever a project was packed from, what it's converted to gives the same project, if the format can hold it."""
    world = WORLDS[name]
    packed(write(kind, tmp_path / "source", world), tmp_path / "p")
    first = found(tmp_path / "p")
    for to in ("coco", "yolo", "voc"):
        if not world.shapes <= HOLDS[to] or ("masks" in name and to != "coco"):
            continue
        report = convert(tmp_path / "p", tmp_path / to, ConvertOptions(to))
        assert report.complete, report.problems
        assert report.style == "exact"
        packed(tmp_path / to, tmp_path / f"{to}-packed")
        again = found(tmp_path / f"{to}-packed")
        if "train" not in {dataset for dataset, _ in first} and to != "coco":
            again = {("source", image): things for (_, image), things in again.items()}  # what isn't a split is train
        same(again, first)


@pytest.mark.parametrize("name", [name for kind, name in CASES if kind == "coco"])
def test_coco_comes_back_as_it_was(name, tmp_path):
    """Ids, crowds, licenses, areas, boxes beside outlines: the whole file."""
    world = WORLDS[name]
    packed(write("coco", tmp_path / "source", world), tmp_path / "p")
    convert(tmp_path / "p", tmp_path / "coco", ConvertOptions("coco"))
    back = json.loads((tmp_path / "coco/train/annotations/coco_instances.json").read_bytes())
    expected = coco_of(world)
    for key in ("images", "annotations"):
        back[key].sort(key=lambda one: one["id"])
        expected[key].sort(key=lambda one: one["id"])
    assert back == expected
    for image in expected["images"]:
        assert os.path.isfile(tmp_path / "coco/train/images" / image["file_name"])


@pytest.mark.parametrize("name", ["boxes", "outlines", "keypoints", "empty images", "odd names", "numbers as names"])
def test_yolo_comes_back_as_it_was(name, tmp_path):
    world = WORLDS[name]
    source = write("yolo", tmp_path / "source", world)
    packed(source, tmp_path / "p")
    convert(tmp_path / "p", tmp_path / "yolo", ConvertOptions("yolo"))
    for image in world.images:
        text = tmp_path / "yolo/labels/train" / f"{image.rpartition('.')[0]}.txt"
        before = source / "labels" / text.name
        rows = [[float(word) for word in line.split()] for line in text.read_text().splitlines()]
        expected = (
            [[float(w) for w in line.split()] for line in before.read_text().splitlines()] if before.exists() else []
        )
        assert rows == [pytest.approx(row, abs=1e-8) for row in expected]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_dry_run_says_the_same(kind, tmp_path):
    source = write(kind, tmp_path / "source", WORLDS["boxes"])
    options = blobdir.PackOptions(labels="auto", processes=1)
    dry = blobdir.pack(source, tmp_path / "p", options, dry_run=True)
    assert not (tmp_path / "p").exists()
    real = blobdir.pack(source, tmp_path / "p", options)
    for key in ("found", "images", "files", "objects", "labels", "problems"):
        assert getattr(dry, key) == getattr(real, key)


@pytest.mark.parametrize("annotations", ["loose", "packed"])
@pytest.mark.parametrize("processes", [1, 2])
def test_the_same_input_gives_the_same_bytes(annotations, processes, tmp_path):
    source = write("coco", tmp_path / "source", WORLDS["mixed"])
    contents = []
    for name in ("a", "b"):
        options = blobdir.PackOptions(labels="coco", processes=processes, annotations=annotations)
        blobdir.pack(source, tmp_path / name, options)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert contents[0] == contents[1]


def test_labels_from_elsewhere(tmp_path):
    source = write("coco", tmp_path / "source", WORLDS["boxes"])
    (source / "annotations").rename(tmp_path / "elsewhere")
    (source / "images" / "more.png").write_bytes((source / "images" / "a.png").read_bytes())
    for number, path in enumerate((tmp_path / "elsewhere", tmp_path / "elsewhere/instances_train.json")):
        options = blobdir.PackOptions(labels="auto", labels_from=str(path), processes=1)
        report = blobdir.pack(source / "images", tmp_path / f"p{number}", options)
        assert report.images == 2 and report.objects == 4 and report.found == 3
        assert [(p.code, p.message) for p in report.problems] == [
            ("label-unnamed", "1 image that no label file names wasn't packed: more.png")
        ]


def test_folders_as_tags(tmp_path):
    source = write("csv", tmp_path / "pets", WORLDS["folders"])
    (source / "labels.csv").unlink()
    packed(source, tmp_path / "p", labels="folders")
    project = blobdir.open_project(tmp_path / "p")
    assert {name: list(dataset) for name, dataset in project.items()} == {"pets": ["a.png", "b.png"]}
    assert [tag["name"] for tag in project["pets"].annotation("a.png")["tags"]] == ["x"]
    for split in ("train", "test"):
        (source / split).mkdir()
        (source / "x").rename(source / split / "x") if split == "train" else (source / "y").rename(source / split / "y")
    packed(source, tmp_path / "q", labels="folders")
    project = blobdir.open_project(tmp_path / "q")
    assert {name: list(dataset) for name, dataset in project.items()} == {"test": ["b.png"], "train": ["a.png"]}
    assert [tag["name"] for tag in project["test"].annotation("b.png")["tags"]] == ["y"]


@pytest.mark.parametrize("names", [("a.png", "a.png"), ("a.PNG", "a.png"), ("a.png.png", "a.png"), ("a.b.png", "a.b")])
@pytest.mark.parametrize("folder", ["", "labels/"])
def test_texts_called_like_their_image_are_known(folder, names, tmp_path):
    """With its extension or without it."""
    draw(tmp_path / "s/images" / names[0])
    put(tmp_path / "s" / (folder or "images") / f"{names[1]}.txt", "0 0.5 0.5 0.2 0.2\n")
    put(tmp_path / "s/classes.txt", "cat\n")
    assert list(labels.detect(tmp_path / "s")) == ["yolo"]
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and report.objects == 1, report.problems


@pytest.mark.parametrize("ending", ["", ".png"])
def test_such_texts_beside_another_format(ending, tmp_path):
    """With the format given, nothing says that their images aren't here."""
    source = without_lists("voc", tmp_path / "s", TWO)
    put(source / f"labels/b{ending}.txt", "0 0.5 0.5 0.2 0.2\n")
    put(source / "classes.txt", "cat\n")
    with pytest.raises(UsageError, match="choose with --labels"):
        pack(source, tmp_path / "p")
    report, _ = pack(source, tmp_path / "p", labels="voc")
    assert not [text for _, text in messages(report) if "aren't here" in text]
