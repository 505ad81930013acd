"""``blobdir convert`` against the SDK's own converters, on the same projects; and back through its readers."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import supervisely as sly
import yaml

import blobdir
from blobdir.converting import ConvertOptions, convert
from blobdir.testing.deadline import Deadline

WIDTH, HEIGHT = 60, 40
MASK = "маска, one"


def mask(rng: random.Random) -> sly.Bitmap:
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    top, left = rng.randrange(20), rng.randrange(30)
    pixels[top : top + rng.randrange(3, 15), left : left + rng.randrange(3, 20)] = True
    pixels[top + 1, left + 1] = False
    return sly.Bitmap(pixels)


def rectangle(rng: random.Random) -> sly.Rectangle:
    top, left = rng.randrange(20), rng.randrange(30)
    return sly.Rectangle(top, left, top + rng.randrange(1, 20), left + rng.randrange(1, 30))


def polygon(rng: random.Random) -> sly.Polygon:
    points = [
        sly.PointLocation(rng.uniform(0, HEIGHT - 1), rng.uniform(0, WIDTH - 1)) for _ in range(rng.randrange(3, 7))
    ]
    return sly.Polygon(points)


def pose(rng: random.Random, nodes: int) -> sly.GraphNodes:
    """Nodes from the first on: the SDK's YOLO has those behind a missing one in the wrong places."""
    return sly.GraphNodes(
        {
            str(i): sly.Node(sly.PointLocation(rng.randrange(HEIGHT), rng.randrange(WIDTH)), disabled=i == 1)
            for i in range(nodes)
        }
    )


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain project of the SDK's, with objects alone and bound together."""
    root = tmp_path_factory.mktemp("shapes") / "shapes"
    rng = random.Random(5)
    nodes = {str(i): {"label": f"joint {i}", "loc": [i, i], "color": "#00FF00"} for i in range(3)}
    config = {"nodes": nodes, "edges": [{"src": "0", "dst": "1", "color": "#00FF00"}]}
    kinds = {
        "box": sly.ObjClass("box", sly.Rectangle, [1, 2, 3]),
        "outline": sly.ObjClass("outline", sly.Polygon),
        MASK: sly.ObjClass(MASK, sly.Bitmap),
        "anything": sly.ObjClass("anything", sly.AnyGeometry),
        "graph": sly.ObjClass.from_json(
            {"title": "graph", "shape": "graph", "color": "#FF00FF", "geometry_config": config}
        ),
    }
    tags = sly.TagMetaCollection(
        [sly.TagMeta("val", sly.TagValueType.NONE), sly.TagMeta("caption", sly.TagValueType.ANY_STRING)]
    )
    meta = sly.ProjectMeta(sly.ObjClassCollection(list(kinds.values())), tags)
    project = sly.Project(str(root), sly.OpenMode.CREATE)
    project.set_meta(meta)
    for dataset_name in ("first", "second one"):
        dataset = project.create_dataset(dataset_name)
        for number in range(6):
            labels = []
            for _ in range(number):
                labels += [
                    sly.Label(rectangle(rng), kinds["box"]),
                    sly.Label(polygon(rng), kinds["outline"]),
                    sly.Label(mask(rng), kinds[MASK]),
                    sly.Label(polygon(rng), kinds["anything"]),
                    sly.Label(rectangle(rng), kinds["anything"]),
                    sly.Label(pose(rng, rng.randrange(1, 4)), kinds["graph"]),
                ]
                for bound in (
                    (polygon(rng), polygon(rng)),
                    (polygon(rng), rectangle(rng)),
                    (mask(rng), rectangle(rng)),
                    (mask(rng), polygon(rng), rectangle(rng)),
                ):
                    key = f"{rng.random()}"
                    for shape in bound:
                        title = MASK if isinstance(shape, sly.Bitmap) else "anything"
                        labels.append(sly.Label(shape, kinds[title], binding_key=key))
            image_tags = [sly.Tag(tags.get("val"))] if number % 2 else []
            image_tags += [sly.Tag(tags.get("caption"), "what, a “picture”")] if number == 2 else []
            annotation = sly.Annotation((HEIGHT, WIDTH), labels, img_tags=image_tags)
            image = np.full((HEIGHT, WIDTH, 3), number, np.uint8)
            dataset.add_item_np(f"bild {number}, ä.png" if number else "a.jpg", image, annotation)
    for path in root.glob("*/ann/*.json"):
        path.write_text(json.dumps(in_fractions(json.loads(path.read_bytes()), rng)))
    return root


def in_fractions(value: Any, rng: random.Random) -> Any:
    """Places in the pixels where they were, as other programs write them; the SDK rounds them down."""
    if isinstance(value, list) and len(value) == 2 and all(type(number) is int for number in value):
        return [number + rng.choice((0, 0.25, 0.75)) for number in value]
    if isinstance(value, list):
        return [in_fractions(part, rng) for part in value]
    return {key: in_fractions(part, rng) for key, part in value.items()} if isinstance(value, dict) else value


@pytest.fixture(scope="module")
def packed(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packed") / "shapes"
    assert blobdir.pack(shapes, target).complete
    return target


@pytest.fixture(params=["shapes", "digits"])
def pair(request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """A plain project for the SDK, and the same one in blobs."""
    if request.param == "shapes":
        return request.getfixturevalue("shapes"), request.getfixturevalue("packed")
    return request.getfixturevalue("digits_plain"), request.getfixturevalue("digits")


def files(folder: Path) -> dict[str, Path]:
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def coco(path: Path) -> dict[str, Any]:
    """A COCO file without times, and without numbers that follow from the order of a listing."""
    value = json.loads(path.read_bytes())
    names = {image["id"]: image.pop("file_name") for image in value["images"]}
    for image in value["images"]:
        image["file_name"] = names[image.pop("id")]
        del image["date_captured"]
    found: dict[str, list[Any]] = {}
    for annotation in value["annotations"]:
        name = names[annotation.pop("image_id")]
        del annotation["id"]
        found.setdefault(name, []).append(annotation)
    images = sorted(value["images"], key=lambda image: image["file_name"])
    return {"images": images, "annotations": found, "categories": value["categories"], "licenses": value["licenses"]}


def test_coco(pair: tuple[Path, Path], tmp_path: Path) -> None:
    shapes, packed = pair
    sly.convert.to_coco(str(shapes), dest_dir=str(tmp_path / "theirs"), copy_images=True, with_captions=True)
    report = convert(packed, tmp_path / "ours", ConvertOptions("coco"))
    assert report.complete and report.style == "sdk"
    ours, theirs = files(tmp_path / "ours"), files(tmp_path / "theirs")
    empty = {name for name in theirs if "captions" in name and not json.loads(theirs[name].read_bytes())["annotations"]}
    assert ours.keys() == theirs.keys() - empty
    for name in ours:
        path = theirs[name]
        if name.endswith(".json"):
            assert coco(ours[name]) == coco(path)
        else:
            assert ours[name].read_bytes() == path.read_bytes()


@pytest.mark.parametrize("task", ["detect", "segment", "pose"])
@pytest.mark.parametrize("val", [(), ("second one",)])
def test_yolo(shapes: Path, packed: Path, tmp_path: Path, task: str, val: tuple[str, ...]) -> None:
    sly.convert.to_yolo(str(shapes), dest_dir=str(tmp_path / "theirs"), task_type=task, val_datasets=list(val) or None)
    report = convert(packed, tmp_path / "ours", ConvertOptions("yolo", task=task, val=val))
    assert {problem.code for problem in report.problems} <= {"label-lost", "label-boxed", "label-untold"}
    ours, theirs = files(tmp_path / "ours"), files(tmp_path / "theirs")
    assert ours.keys() == theirs.keys()
    for name, path in theirs.items():
        if name.endswith(".yaml"):
            mine, other = (yaml.safe_load(one.read_text()) for one in (ours[name], path))
            assert {key: value for key, value in mine.items() if key not in PATHS} == {
                key: value for key, value in other.items() if key not in PATHS
            }
            assert {key: other[key].partition("/theirs/")[2] for key in PATHS} == {key: mine[key] for key in PATHS}
        elif name.endswith(".txt"):
            mine, other = (one.read_text().split("\n") for one in (ours[name], path))
            if task == "segment":  # outlines of masks: the SDK's lose pixels
                mine, other = ([line for line in lines if not line.startswith("2 ")] for lines in (mine, other))
            assert mine == other
        else:
            assert ours[name].read_bytes() == path.read_bytes()


PATHS = ("train", "val", "train_labels", "val_labels")


def test_voc(shapes: Path, packed: Path, tmp_path: Path) -> None:
    sly.convert.to_pascal_voc(str(shapes), dest_dir=str(tmp_path / "theirs"))
    convert(packed, tmp_path / "ours", ConvertOptions("voc"))
    ours, theirs = files(tmp_path / "ours"), files(tmp_path / "theirs")
    assert {name for name in theirs if "Segmentation" not in name and "JPEGImages" not in name} == {
        name for name in ours if "Segmentation" not in name and "JPEGImages" not in name
    }
    for name, path in theirs.items():
        if name.endswith(".xml"):
            assert ours[name].read_bytes() == path.read_bytes()
        elif name.endswith("colors.txt"):  # the SDK has each class once for each dataset
            assert set(ours[name].read_text().splitlines()) == set(path.read_text().splitlines())
        elif "ImageSets" in name:  # the SDK makes JPEG of all images, and takes them as the folder is listed
            mine, other = (one.read_text().replace(".png", ".jpg").splitlines() for one in (ours[name], path))
            assert len(mine) == len(other)
            if "trainval" in name:
                assert sorted(mine) == sorted(other)


def test_voc_of_jpegs(shapes: Path, packed: Path, tmp_path: Path) -> None:
    convert(packed, tmp_path / "ours", ConvertOptions("voc"))
    image = tmp_path / "ours/VOCdevkit/VOC/JPEGImages/first_a.jpg"
    assert image.read_bytes() == (shapes / "first/img/a.jpg").read_bytes()


@pytest.mark.mounts
@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
def test_a_mount_gives_the_same(packed: Path, tmp_path: Path, to: str) -> None:
    convert(packed, tmp_path / "expected", ConvertOptions(to))
    place = tmp_path / "mnt"
    place.mkdir()
    with Deadline(100, tmp_path), blobdir.mount(packed, place) as path:
        convert(path, tmp_path / "found", ConvertOptions(to))
    expected, found = files(tmp_path / "expected"), files(tmp_path / "found")
    assert expected.keys() == found.keys()
    assert all(found[name].read_bytes() == path.read_bytes() for name, path in expected.items())


def test_the_sdk_reads_what_is_packed_from_coco(packed: Path, tmp_path: Path) -> None:
    """Labels of others become a project that the SDK reads, and converts as blobdir does."""
    convert(packed, tmp_path / "coco", ConvertOptions("coco"))
    assert blobdir.pack(tmp_path / "coco", tmp_path / "again", blobdir.PackOptions(labels="coco")).complete
    project = sly.Project(str(tmp_path / "again"), sly.OpenMode.READ)
    assert project.total_items == 12
    assert {dataset.name for dataset in project.datasets} == {"first", "second one"}
    for dataset in project.datasets:
        for name in dataset:
            assert dataset.get_ann(name, project.meta).img_size == (HEIGHT, WIDTH)
    shutil.copytree(tmp_path / "again", tmp_path / "plain", ignore=shutil.ignore_patterns("blob", "*.pkl"))
    for dataset in blobdir.open_project(tmp_path / "again").values():
        for name in dataset:
            image = tmp_path / "plain" / dataset.path / "img" / name
            image.parent.mkdir(exist_ok=True)
            image.write_bytes(dataset.get_blob_img_bytes(name))
    sly.convert.to_coco(str(tmp_path / "plain"), dest_dir=str(tmp_path / "theirs"), copy_images=False)
    convert(tmp_path / "again", tmp_path / "ours", ConvertOptions("coco", images="none", style="sdk"))
    for name, path in files(tmp_path / "theirs").items():
        assert coco(files(tmp_path / "ours")[name]) == coco(path)
