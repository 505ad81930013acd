"""Reports: what is counted, what is drawn, and that what isn't shown is said."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import SHAPES, bitmap, disc, points, project, thing

import blobdir
from blobdir.cli.app import run
from blobdir.drawing import collect_stats, draw_stats
from blobdir.drawing.palette import ClassLook
from blobdir.drawing.panels import Bar, Bars, is_long_tailed, short_number, ticks
from blobdir.drawing.shapes import read_shape

BOX = points((0, 0), (9, 9))


def drawn(root, **options):
    opened, notes = blobdir.open_project(root), []
    return np.asarray(draw_stats(opened, collect_stats(opened, areas=True, **options), notes=notes)), notes


def of_classes(root, counts, datasets=1):
    things = [thing("rectangle", BOX, name) for name, count in counts.items() for _ in range(count)]
    classes = [
        {"title": name, "shape": "any", "color": f"#{(number * 7919 + 4096) % (1 << 24):06X}"}
        for number, name in enumerate(counts)
    ]
    return project(root, {f"d{i:03}": {f"{i}.png": things} for i in range(datasets)}, classes), classes


@pytest.mark.parametrize("count", [1, 20, 30, 31, 93, 100, 101, 240, 241])
def test_hundreds_of_classes_are_drawn(tmp_path, count):
    root, classes = of_classes(tmp_path / "p", {f"class {i}": 1 + i % 5 for i in range(count)})
    pixels, notes = drawn(root)
    assert notes == []
    there = set(np.unique(pixels.astype(int) @ (65536, 256, 1)).tolist())
    for item in classes:
        assert int(item["color"][1:], 16) in there, item


@pytest.mark.parametrize("count", [242, 500])
def test_those_for_which_there_is_no_room_are_counted(tmp_path, count):
    root, _ = of_classes(tmp_path / "p", {f"class {i:03}": 2 if i < 240 else 1 for i in range(count)})
    _, notes = drawn(root)
    assert notes == [
        f"Objects by class: 240 of {count} classes are shown; the others have {count - 240} objects, 1 each"
    ]


def test_datasets_for_which_there_is_no_room_are_counted(tmp_path):
    root, _ = of_classes(tmp_path / "p", {f"class {i}": 1 for i in range(50)}, datasets=40)
    _, notes = drawn(root)
    assert notes == [
        "Images by dataset: 30 of 40 datasets are shown; the others have 10 images, 1 each",
        "Classes by dataset: 40 of 50 classes are shown",
        "Classes by dataset: 8 of 40 datasets are shown",
    ]


def test_it_is_said_on_standard_error(tmp_path, capfd):
    root, _ = of_classes(tmp_path / "p", {f"class {i}": 1 for i in range(300)})
    for quiet in ([], ["-q"]):
        assert run(["stats", *quiet, str(root), "--plot", str(tmp_path / "x.png")]) == 0
        assert ("240 of 300 classes are shown" in capfd.readouterr().err) is not quiet


def test_long_tails_have_a_logarithmic_scale(tmp_path):
    assert is_long_tailed([5000, 40, 3, 2, 1])
    assert not is_long_tailed([50, 40, 30, 20, 10])
    assert not is_long_tailed([5000, 1])
    bars = Bars("t", [Bar(str(count), count) for count in (5000, 500, 50, 5, 1)])
    from PIL import Image

    image = Image.new("RGB", (600, bars.height(600)), (255, 255, 255))
    bars.draw(image, 0, 0, 600)
    lengths = [(np.asarray(image)[28 + 20 * row + 10] == (70, 110, 180)).all(-1).sum() for row in range(5)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] > 20  # one of 5000


def test_sizes_and_areas_are_counted(tmp_path):
    things = [thing("rectangle", points((0, 0), (99, 99))), thing("rectangle", BOX), thing("point", SHAPES["point"])]
    root = project(tmp_path / "p", {"train": {"a.png": things, "b.png": []}}, size=(100, 100))
    (root / "train/ann/b.png.json").unlink()
    one = collect_stats(blobdir.open_project(root), areas=True).datasets["train"]
    assert (one.sizes, one.unsized, one.objects_per_image) == ({"100x100": 1}, 1, {3: 1})
    assert one.areas == {16: 1, 23: 1}  # a hundredth of the image, and all of it
    _, notes = drawn(root)
    assert notes == [
        "Image sizes: without 1 image: no annotation has the size",
        "Aspect ratios: without 1 image: no annotation has the size",
        "Objects per image: without 1 image that has no annotation that can be used",
        "Areas of objects: without 1 object that has no area, or none that can be known",
    ]
    assert collect_stats(blobdir.open_project(root)).datasets["train"].areas == {}


AREAS = {
    "rectangle": (41 * 41, 0),
    "polygon": (40 * 40 - 10 * 10, 0),
    "multipolygon": (800, 0),
    "bitmap": ((disc() > 0).sum(), 0),
    "alpha_mask": ((disc() > 0).sum(), 0),
    "oriented_bbox": (40 * 30, 1),
    "line": (0, 0),
    "point": (0, 0),
    "graph": (0, 0),
    "cuboid_2d": (0, 0),
}


@pytest.mark.parametrize("shape", AREAS)
def test_areas(shape):
    wanted, within = AREAS[shape]
    assert abs(read_shape(thing(shape, SHAPES[shape]), ClassLook((0, 0, 0))).area() - wanted) <= within


@pytest.mark.parametrize("size", [(1, 60000), (60000, 1), (1, 1), (5000, 3000)])
def test_any_size_has_its_place(tmp_path, size):
    root = project(
        tmp_path / "p", {"train": {"a.png": [thing("bitmap", {"bitmap": {"data": bitmap(disc()), "origin": [0, 0]}})]}}
    )
    path = root / "train/ann/a.png.json"
    path.write_text(path.read_text().replace('"width": 100, "height": 100', f'"width": {size[0]}, "height": {size[1]}'))
    pixels, _ = drawn(root)
    assert pixels.shape[1] == 900


def test_an_empty_project(tmp_path):
    root = project(tmp_path / "p", {"train": {"a.png": []}})
    (root / "train/ann/a.png.json").unlink()
    assert drawn(root)[0].shape[1] == 900


def test_numbers_of_axes():
    assert ticks(100) == [0, 20, 40, 60, 80, 100]
    assert ticks(7) == [0, 2, 4, 6]
    assert ticks(0) == [0]
    assert [short_number(n) for n in (0, 900, 1500, 45_000, 3_500_000, 0.5)] == [
        "0",
        "900",
        "1,500",
        "45k",
        "3.5M",
        "0.5",
    ]
