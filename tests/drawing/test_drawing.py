"""Pictures and counts of a project."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from blob_builder import Builder
from PIL import Image

import blobdir
from blobdir.drawing import collect_stats, draw_preview, draw_stats
from blobdir.drawing.shapes import class_colors, draw_objects
from blobdir.errors import NotFoundError, UsageError

COMMAND = str(Path(sys.executable).with_name("blobdir"))
RED = (255, 0, 0)


def bitmap(mask):
    data = io.BytesIO()
    Image.fromarray((mask * 255).astype(np.uint8)).save(data, "PNG")
    return base64.b64encode(zlib.compress(data.getvalue())).decode()


SQUARE = [[20, 20], [80, 20], [80, 80], [20, 80]]
SHAPES = {
    "rectangle": ({"points": {"exterior": [[20, 30], [60, 70]], "interior": []}}, (40, 50), (5, 5)),
    "polygon": (
        {
            "points": {
                "exterior": [[20, 20], [80, 20], [80, 80], [20, 80]],
                "interior": [[[40, 40], [60, 40], [60, 60], [40, 60]]],
            }
        },
        (30, 70),
        (50, 50),
    ),
    "line": ({"points": {"exterior": [[10, 90], [90, 90]], "interior": []}}, (50, 90), (50, 50)),
    "point": ({"points": {"exterior": [[70, 30]], "interior": []}}, (70, 30), (30, 70)),
    "bitmap": ({"bitmap": {"data": bitmap(np.ones((20, 30), bool)), "origin": [40, 50]}}, (50, 60), (80, 80)),
    "graph": ({"nodes": {"a": {"loc": [20, 80]}, "b": {"loc": [80, 80]}}}, (80, 80), (50, 30)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1, 2])
def test_shapes(shape, scale):
    item, inside, outside = SHAPES[shape]
    image = Image.new("RGB", (100 * scale, 100 * scale))
    annotation = {"objects": [{"classTitle": "c", "geometryType": shape, **item}]}
    assert draw_objects(image, annotation, {"c": RED}, scale) == 1
    red, green, blue = image.getpixel((inside[0] * scale, inside[1] * scale))
    assert red > 60
    assert green == blue == 0 or shape in ("point", "graph")
    assert image.getpixel((outside[0] * scale, outside[1] * scale)) == (0, 0, 0)


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"classTitle": "c"},
        {"classTitle": "c", "geometryType": "cuboid"},
        {"classTitle": "c", "geometryType": "rectangle", "points": {"exterior": [[1, 2]]}},
        {"classTitle": "c", "geometryType": "bitmap", "bitmap": {"data": "x", "origin": [0, 0]}},
        {"classTitle": "c", "geometryType": "polygon", "points": {"exterior": [["a", "b"]]}},
    ],
)
def test_damaged_objects_are_left_out(item):
    image = Image.new("RGB", (50, 50))
    assert draw_objects(image, {"objects": [item]}, {}, 1) == 0
    assert image.getextrema() == ((0, 0), (0, 0), (0, 0))


def test_colors():
    meta = {"classes": [{"title": "a", "color": "#FF0000"}, {"title": "b", "color": "nonsense"}, {}]}
    assert class_colors(meta) == {"a": RED}


@pytest.fixture
def project(tmp_path):
    made = Builder(tmp_path / "p")
    made.loose("meta.json", json.dumps({"classes": [{"title": "c", "color": "#00FF00"}], "tags": []}).encode())
    members = {}
    for i in range(10):
        data = io.BytesIO()
        Image.new("RGB", (40, 20), (i, 0, 200)).save(data, "PNG")
        members[f"{i}.png"] = data.getvalue()
        shape = {"classTitle": "c", "geometryType": "rectangle", "points": {"exterior": [[0, 0], [39, 19]]}}
        text = {
            "size": {"height": 20, "width": 40},
            "tags": [{"name": "t"}] if i < 4 else [],
            "objects": [shape] * (i % 3),
        }
        made.loose(f"train/ann/{i}.png.json", json.dumps(text).encode())
    members["broken.jpg"] = b"no image"
    made.offsets("train", "b", made.tar("b", members))
    return made.root


def test_preview(project):
    opened = blobdir.open_project(project)
    sheet = draw_preview(opened, count=6, columns=3, tile=64)
    assert sheet.size == (3 * 70 + 6, 2 * (64 + 18 + 6) + 6)
    whole = draw_preview(opened, columns=4, tile=64)
    assert whole.size == (4 * 70 + 6, 3 * 88 + 6)
    one = draw_preview(opened, pattern="train/0.png", tile=64)  # no objects
    assert one.getpixel((6 + 32, 6 + 32)) == (0, 0, 200)
    marked = draw_preview(opened, pattern="train/1.png", tile=64)
    assert marked.getpixel((6 + 32, 6 + 40))[1] > 40
    with pytest.raises(NotFoundError, match="no image"):
        draw_preview(opened, pattern="none/*")
    with pytest.raises(UsageError):
        draw_preview(opened, columns=0)


def test_stats(project):
    opened = blobdir.open_project(project)
    stats = collect_stats(opened)
    train = stats.datasets["train"]
    assert (train.images, train.annotated, train.objects) == (11, 10, 9)
    assert (train.classes, train.tags, train.formats) == ({"c": 9}, {"t": 4}, {".png": 10, ".jpg": 1})
    assert train.smallest == 8
    picture = np.asarray(draw_stats(opened, stats))
    assert (picture == (0, 255, 0)).all(-1).sum() > 1000  # the bar of class c, in its colour


def test_the_sdks_own_project(digits):
    opened = blobdir.open_project(digits)
    stats = collect_stats(opened)
    assert sum(one.images for one in stats.datasets.values()) == 245
    assert stats.total("classes") == {"digit": 240, "ink": 240}
    assert draw_preview(opened).size[0] > 1000


def test_commands(project, tmp_path):
    sheet, plot = tmp_path / "sheet.png", tmp_path / "plot.png"
    subprocess.run([COMMAND, "preview", project, "-o", sheet, "-q"], check=True)
    done = subprocess.run([COMMAND, "stats", project, "--plot", plot], check=True, capture_output=True, text=True)
    assert Image.open(sheet).size[0] > 500
    assert Image.open(plot).size[0] == 900
    assert "c " in done.stdout
    done = subprocess.run([COMMAND, "stats", project, "--json"], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["datasets"]["train"]["objects"] == 9
