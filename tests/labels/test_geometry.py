"""Masks, outlines and boxes against pycocotools; objects there and back, whatever they are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from label_cases import POSE, WORLDS, World, draw, dump, write
from pycocotools import mask as judge
from pycocotools.coco import COCO

import blobdir
from blobdir.converting import ConvertOptions, convert
from blobdir.jsontext import write_json
from blobdir.labels.masks import compressed, cropped, from_png, from_rle, in_image, to_png, to_rle
from blobdir.labels.measures import area, measured
from blobdir.labels.model import Box, Category, Dot, LabelError, Line, Mask, Polygon, Pose, Thing
from blobdir.labels.outlines import outlines
from blobdir.labels.supervisely import Classes, digest, kind_of_object, kinds_of, objects_of, shapes_of

SIDES = st.integers(1, 12)
PIXELS = st.tuples(SIDES, SIDES).flatmap(lambda shape: arrays(bool, shape))


@given(PIXELS)
@settings(max_examples=40, deadline=None)
def test_run_lengths(pixels):
    height, width = pixels.shape
    mask = Mask(0, 0, pixels)
    rle = to_rle(mask, width, height)
    theirs = judge.encode(np.asfortranarray(pixels.astype(np.uint8)))
    assert compressed(rle["counts"]) == theirs["counts"].decode()
    for counts in (rle["counts"], theirs["counts"].decode()):
        found = from_rle({"size": [height, width], "counts": counts})
        if not pixels.any():
            assert found is None
            continue
        assert (in_image(found, width, height) == pixels).all()
        assert area([found]) == judge.area(theirs)
        box = measured([found])["bbox"]
        assert box == judge.toBbox(theirs).tolist()


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
@settings(max_examples=40, deadline=None)
def test_any_text_is_a_mask_or_an_error(text):
    try:
        from_rle({"size": [5, 7], "counts": text})
    except LabelError as error:
        assert str(error)


@given(PIXELS)
@settings(max_examples=40, deadline=None)
def test_outlines_have_all_pixels(pixels):
    """Drawn by their even-odd rule, outlines and holes give the mask again; pieces that touch at corners stay apart."""
    mask = cropped(pixels)
    if mask is None:
        return
    whole = Mask(3, 5, mask.pixels)
    found = outlines(whole)
    height, width = whole.pixels.shape
    drawn = np.zeros((height, width), bool)
    for polygon in found:
        for ring in (polygon.exterior, *polygon.holes):
            assert all(a[0] == b[0] or a[1] == b[1] for a, b in zip(ring, ring[1:] + ring[:1], strict=True))
            drawn ^= crossed(ring, width, height)
    assert (drawn == whole.pixels).all()
    assert sum(area([polygon]) for polygon in found) == whole.pixels.sum()


def crossed(ring, width, height):
    inside = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            px, py = x + 3.5, y + 5.5
            for (a, b), (c, d) in zip(ring, ring[1:] + ring[:1], strict=True):
                if (b > py) != (d > py) and px < a + (c - a) * (py - b) / (d - b):
                    inside[y, x] ^= True
    return inside


NUMBER = st.one_of(st.integers(-50, 300), st.floats(-50, 300).map(lambda x: round(x, 6)))
POINT = st.tuples(NUMBER, NUMBER)
RING = st.lists(POINT, min_size=3, max_size=6).map(tuple)
BOXES = st.tuples(NUMBER, NUMBER, NUMBER, NUMBER).map(
    lambda n: Box(min(n[0], n[2]), min(n[1], n[3]), max(n[0], n[2]), max(n[1], n[3]))
)
MASKS = st.tuples(PIXELS, st.integers(0, 9), st.integers(0, 9)).map(lambda n: cropped(n[0], n[1], n[2])).filter(bool)
POSES = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.tuples(NUMBER, NUMBER, st.booleans()), min_size=1).map(
    Pose
)
SHAPES = st.one_of(
    BOXES,
    st.tuples(RING, st.lists(RING, max_size=2).map(tuple)).map(lambda n: Polygon(*n)),
    st.lists(POINT, min_size=2, max_size=5).map(lambda n: Line(tuple(n))),
    POINT.map(Dot),
    MASKS,
)


@given(st.one_of(SHAPES, POSES), st.text(min_size=1, max_size=8).filter(lambda name: name.isprintable()))
@settings(max_examples=60, deadline=None)
def test_objects_and_back(shape, name):
    """What Supervisely has of a shape is the shape."""
    classes = Classes({name: Category(name, 1, None, ("a", "b", "c") if isinstance(shape, Pose) else ())})
    (item,) = objects_of(Thing(name, [shape]), "", classes)
    item = json.loads(write_json(item))
    meta = {"classes": [{"title": name, "shape": item["geometryType"], "geometry_config": classes.config(name)}]}
    kinds = kinds_of(meta)
    assert shapes_of(item, kind_of_object(item, kinds), kinds[name]) == [shape]
    assert digest([item]) == digest([json.loads(json.dumps(item))])


@given(MASKS)
@settings(max_examples=40, deadline=None)
def test_png(mask):
    assert from_png(to_png(mask), mask.left, mask.top) == mask


THINGS = st.lists(st.tuples(st.sampled_from(["cat", "dog", "1"]), st.one_of(BOXES, RING.map(Polygon))), max_size=4)


@given(st.lists(THINGS, min_size=1, max_size=3))
@settings(max_examples=12, deadline=None)
def test_coco_there_and_back(tmp_path_factory, images):
    """Any boxes and outlines: COCO, project, COCO, equal to the last digit."""
    folder = tmp_path_factory.mktemp("case")
    world = World({f"{i}.png": things for i, things in enumerate(images)}, ["1", "cat", "dog"], ids=(7, 5))
    source = write("coco", folder / "source", world)
    expected = json.loads((source / "annotations/instances_train.json").read_bytes())
    blobdir.pack(source, folder / "p", blobdir.PackOptions(labels="coco", processes=1))
    convert(folder / "p", folder / "o", ConvertOptions("coco", images="none"))
    found = json.loads((folder / "o/train/annotations/coco_instances.json").read_bytes())
    assert sorted(found["images"], key=lambda one: one["id"]) == expected["images"]
    found["annotations"].sort(key=lambda one: one["id"])
    assert len(found["annotations"]) == len(expected["annotations"])
    for mine, other in zip(found["annotations"], expected["annotations"], strict=True):
        assert {k: v for k, v in mine.items() if k not in ("bbox", "area")} == {
            k: v for k, v in other.items() if k not in ("bbox", "area")
        }
        assert mine["bbox"] == pytest.approx(other["bbox"], abs=1e-8)
        assert mine["area"] == pytest.approx(other["area"], abs=1e-6)


def annotated(root, objects, classes):
    """A plain project of one image."""
    draw(root / "ds/img/a.png")
    ann = {"description": "", "tags": [], "size": {"height": 50, "width": 100}, "objects": objects}
    dump(root / "ds/ann/a.png.json", ann)
    items = [{"title": t, "shape": shape, "color": "#010203"} for t, shape in classes.items()]
    dump(root / "meta.json", {"classes": items, "tags": [], "projectType": "images"})
    return root


HOLED = Polygon(((10, 10), (40, 10), (40, 40), (10, 40)), (((20, 20), (30, 20), (30, 30), (20, 30)),))


def test_holes_come_back_from_coco(tmp_path):
    """COCO has no outlines with holes: it gets the pixels, and what they are of beside them."""
    (item,) = objects_of(Thing("cat", [HOLED]), "", Classes({}))
    project = annotated(tmp_path / "p", [item], {"cat": "polygon"})
    report = convert(project, tmp_path / "coco", ConvertOptions("coco", style="exact"))
    assert report.complete
    coco = COCO(str(tmp_path / "coco/ds/annotations/coco_instances.json"))
    (annotation,) = coco.anns.values()
    mask = coco.annToMask(annotation)
    assert mask[25, 25] == 0 and mask[15, 15] == 1
    assert annotation["area"] == 800
    blobdir.pack(tmp_path / "coco", tmp_path / "again", blobdir.PackOptions(labels="auto"))
    (again,) = blobdir.open_project(tmp_path / "again")["ds"].annotation("a.png")["objects"]
    assert again["points"] == item["points"] and again["geometryType"] == "polygon"


@pytest.mark.parametrize(("to", "style"), [("coco", "sdk"), ("yolo", "exact")])
def test_holes_that_are_lost_are_named(to, style, tmp_path):
    (item,) = objects_of(Thing("cat", [HOLED]), "", Classes({}))
    project = annotated(tmp_path / "p", [item], {"cat": "polygon"})
    report = convert(project, tmp_path / "o", ConvertOptions(to, style=style))
    (problem,) = (problem for problem in report.problems if problem.code != "label-note")
    assert (problem.code, problem.path) == ("label-lost", "ds/a.png") and problem.costs


@pytest.mark.parametrize(("to", "task"), [("voc", ""), ("yolo", "detect")])
@pytest.mark.parametrize("style", ["sdk", "exact"])
def test_what_becomes_a_box_is_counted(to, task, style, tmp_path):
    (item,) = objects_of(Thing("cat", [HOLED]), "", Classes({}))
    project = annotated(tmp_path / "p", [item, item], {"cat": "polygon"})
    report = convert(project, tmp_path / "o", ConvertOptions(to, style=style, task=task))
    assert [(p.code, p.path, p.message) for p in report.problems if p.code != "label-note"] == [
        ("label-boxed", "cat", "2 objects with an outline became the boxes around them")
    ]
    assert report.complete


@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
@pytest.mark.parametrize("style", ["sdk", "exact"])
def test_what_has_no_place_is_named(to, style, tmp_path):
    """Every object is in the result, or in the report."""
    cuboid = {"classTitle": "odd", "geometryType": "cuboid", "tags": [], "points": [], "faces": []}
    broken = {"classTitle": "odd", "geometryType": "rectangle", "tags": [], "points": {"exterior": [[1, None]]}}
    unknown = {"classTitle": "nobody", "geometryType": "rectangle", "tags": [], "points": {}}
    project = annotated(tmp_path / "p", [cuboid, broken, unknown], {"odd": "any"})
    report = convert(project, tmp_path / "o", ConvertOptions(to, style=style))
    assert [problem.code for problem in report.problems if problem.costs] == ["label-lost"] * 3
    assert report.images == 1
    with pytest.raises(blobdir.BlobdirError, match="--strict"):
        convert(project, tmp_path / "q", ConvertOptions(to, style=style, strict=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o", "p"]


@pytest.mark.parametrize("name", ["boxes", "masks", "crowd", "keypoints", "outlines", "sparse ids"])
def test_pycocotools_reads_it(name, tmp_path):
    world = WORLDS[name]
    blobdir.pack(write("coco", tmp_path / "s", world), tmp_path / "p", blobdir.PackOptions(labels="coco", processes=1))
    convert(tmp_path / "p", tmp_path / "o", ConvertOptions("coco"))
    coco = COCO(str(tmp_path / "o/train/annotations/coco_instances.json"))
    assert len(coco.imgs) == len(world.images)
    assert {category["name"] for category in coco.cats.values()} == set(world.classes)
    for annotation in coco.anns.values():
        if annotation["segmentation"]:
            assert coco.annToMask(annotation).shape == (50, 100)
        if name == "crowd":
            assert annotation["iscrowd"] == 1


def test_an_edited_object_has_new_measures(tmp_path):
    """What the file said of an area and a box holds as long as the outline is the one that it was said of."""
    source = write("coco", tmp_path / "s", WORLDS["outlines"])
    blobdir.pack(source, tmp_path / "p", blobdir.PackOptions(labels="coco", processes=1))
    path = tmp_path / "p/train/ann/a.png.json"
    value = json.loads(path.read_bytes())
    value["objects"][1]["points"]["exterior"][0] = [6, 5]
    del value["objects"][0]["instance"]
    path.write_text(json.dumps(value))
    convert(tmp_path / "p", tmp_path / "o", ConvertOptions("coco", images="none"))
    found = json.loads((tmp_path / "o/train/annotations/coco_instances.json").read_bytes())["annotations"]
    by_id = {annotation["id"]: annotation for annotation in found}
    assert by_id[1003]["bbox"] == [5, 5, 45, 40] and by_id[1003]["area"] != 12.5
    assert by_id[1]["bbox"] == [1, 2, 39, 28]


def test_keypoints_in_yolo_stand_where_they_belong(tmp_path):
    """One that is missing in the middle leaves its place empty."""
    world = World({"a.png": [("person", POSE)]}, keypoints=["left", "middle", "right"])
    blobdir.pack(write("cvat", tmp_path / "s", world), tmp_path / "p", blobdir.PackOptions(labels="auto", processes=1))
    for style in ("exact", "sdk"):
        convert(tmp_path / "p", tmp_path / style, ConvertOptions("yolo", style=style, task="pose"))
        (text,) = (tmp_path / style / "labels/train").iterdir()
        numbers = text.read_text().split()
        assert [float(one) for one in numbers[5:]] == [0.1, 0.4, 2, 0, 0, 0, 0.3, 0.8, 1]


def test_links_need_files(tmp_path):
    source = write("coco", tmp_path / "s", WORLDS["boxes"])
    blobdir.pack(source, tmp_path / "p", blobdir.PackOptions(labels="coco", processes=1))
    with pytest.raises(blobdir.BlobdirError, match="mount the project"):
        convert(tmp_path / "p", tmp_path / "o", ConvertOptions("yolo", images="link"))
    assert not (tmp_path / "o").exists()
    project = annotated(tmp_path / "plain", [], {})
    convert(project, tmp_path / "o", ConvertOptions("yolo", images="link"))
    (link,) = (tmp_path / "o/images/train").iterdir()
    assert link.is_symlink() and link.read_bytes() == (project / "ds/img/a.png").read_bytes()
