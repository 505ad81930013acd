"""Shapes lie where the SDK's own ``Annotation.draw_pretty`` draws them, and with the same colours."""

from __future__ import annotations

import base64
import io
import json
import math
from typing import Any

import cv2
import numpy as np
import pytest
import supervisely as sly
from PIL import Image

from blobdir.drawing.painting import draw_objects
from blobdir.drawing.palette import Looks

WIDTH, HEIGHT = 160, 120
TITLE, COLOR = "c", (255, 0, 0)
WITHIN = 2
"""Pixels that edges may lie apart; a line of the SDK is two wide here."""


def points(*exterior: tuple[float, float], interior: tuple[Any, ...] = ()) -> dict[str, Any]:
    return {"points": {"exterior": [*map(list, exterior)], "interior": [[*map(list, ring)] for ring in interior]}}


def mask(*, soft: bool = False) -> np.ndarray:
    rows, columns = np.mgrid[:50, :70]
    inside = (columns - 35) ** 2 / 35**2 + (rows - 25) ** 2 / 25**2 < 1
    inside[20:30, 30:40] = False
    return np.where(inside, np.linspace(60, 255, 70)[None, :] if soft else 255, 0).astype(np.uint8)


def raw_png(pixels: np.ndarray) -> str:
    """A bitmap that isn't deflated, as RGBA: the SDK reads no others of these."""
    file = io.BytesIO()
    Image.merge("RGBA", [Image.fromarray(pixels)] * 4).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


NODES = {"a": (20, 20), "b": (130, 30), "c": (40, 100), "d": (100, 90)}
GRAPH = {
    "nodes": {
        name: {"label": name, "loc": [*at], "color": "#0000FF" if name == "a" else "#FF0000"}
        for name, at in NODES.items()
    },
    "edges": [
        {"src": "a", "dst": "b", "color": "#00FF00"},
        {"src": "a", "dst": "c", "color": "#FFFF00"},
        {"src": "c", "dst": "d", "color": "#FF00FF"},
    ],
}
CORNERS = {"topleft": (0, 0), "topright": (60, 0), "bottomright": (60, 50), "bottomleft": (0, 50)}
VERTICES = {
    f"face{face}-{name}": {"loc": [20 + x + 30 * (face - 1), 20 + y + 20 * (face - 1)]}
    for face in (1, 2)
    for name, (x, y) in CORNERS.items()
}
CUBOID = {
    "points": [[30, 40], [90, 40], [90, 100], [30, 100], [60, 15], [120, 15], [120, 75]],
    "faces": [[0, 1, 2, 3], [0, 4, 5, 1], [1, 5, 6, 2]],
}
STAR = [(80 + 45 * math.cos(i * 2.513), 60 + 45 * math.sin(i * 2.513)) for i in range(5)]
INNER = ((90, 60), (120, 60), (100, 90))
HOLE = ((60, 50), (90, 50), (75, 80))
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "rectangle": ("rectangle", points((20, 30), (110, 90))),
    "rectangle, corners the other way": ("rectangle", points((110, 90), (20, 30))),
    "rectangle over the edge": ("rectangle", points((100, -20), (200, 60))),
    "rectangle of one pixel": ("rectangle", points((50, 50), (50, 50))),
    "polygon": ("polygon", points((20, 20), (130, 40), (110, 105), (30, 90))),
    "polygon with a hole": ("polygon", points((20, 20), (130, 20), (130, 100), (20, 100), interior=(HOLE,))),
    "polygon that crosses itself": ("polygon", points(*[(round(x), round(y)) for x, y in STAR])),
    "polygon far outside": ("polygon", points((-300, 60), (80, -200), (400, 60), (80, 200))),
    "multipolygon": (
        "multipolygon",
        {
            "parts": [
                {"exterior": [[10, 10], [60, 15], [30, 60]], "interior": []},
                {
                    "exterior": [[70, 40], [150, 40], [150, 110], [70, 110]],
                    "interior": [[*map(list, INNER)]],
                },
            ]
        },
    ),
    "line": ("line", points((10, 100), (60, 20), (90, 80), (150, 10))),
    "line far outside": ("line", points((-5000, -1200), (80, 60), (9000, 900))),
    "point": ("point", points((70, 40))),
    "bitmap": ("bitmap", {"bitmap": {"data": sly.Bitmap.data_2_base64(mask() > 0), "origin": [40, 30]}}),
    "bitmap that isn't deflated": ("bitmap", {"bitmap": {"data": raw_png(mask()), "origin": [40, 30]}}),
    "bitmap of one pixel": (
        "bitmap",
        {"bitmap": {"data": sly.Bitmap.data_2_base64(np.ones((1, 1), bool)), "origin": [100, 100]}},
    ),
    "alpha mask": (
        "alpha_mask",
        {"bitmap": {"data": sly.AlphaMask.data_2_base64(mask(soft=True)), "origin": [40, 30]}},
    ),
    "graph": ("graph", {"nodes": {name: {"loc": [*at]} for name, at in NODES.items()}}),
    "graph with a node that is disabled": (
        "graph",
        {"nodes": {name: {"loc": [*at], **({"disabled": True} if name == "c" else {})} for name, at in NODES.items()}},
    ),
    "cuboid": ("cuboid", CUBOID),
    "cuboid_2d": ("cuboid_2d", {"vertices": VERTICES}),
    "oriented box": ("oriented_bbox", {"points": [[30, 40], [121, 80]], "angle": math.pi / 7}),
    "oriented box, the other way": ("oriented_bbox", {"points": [[121, 80], [30, 40]], "angle": -2.5}),
    "oriented box that isn't turned": ("oriented_bbox", {"points": [[30, 40], [120, 80]], "angle": 0}),
}


def class_of(shape: str) -> dict[str, Any]:
    found = {"title": TITLE, "shape": shape, "color": "#FF0000", "geometry_config": {}}
    return found | ({"geometry_config": GRAPH} if shape == "graph" else {})


def theirs(shape: str, body: dict[str, Any], ground: tuple[int, int, int]) -> np.ndarray:
    meta = sly.ProjectMeta.from_json({"classes": [class_of(shape)], "tags": [], "projectType": "images"})
    item = {"classTitle": TITLE, "geometryType": shape, "shape": shape, "tags": [], **body}
    label = sly.Label.from_json(json.loads(json.dumps(item)), meta)
    pixels = np.full((HEIGHT, WIDTH, 3), ground, np.uint8)
    sly.Annotation((HEIGHT, WIDTH), [label]).draw_pretty(pixels, thickness=2)
    return pixels


def ours(shape: str, body: dict[str, Any], ground: tuple[int, int, int], scale: int = 1) -> np.ndarray:
    image = Image.new("RGB", (WIDTH * scale, HEIGHT * scale), ground)
    item = {"classTitle": TITLE, "geometryType": shape, **body}
    painted = draw_objects(image, {"objects": [item]}, Looks({"classes": [class_of(shape)]}), scale, named=False)
    assert (painted.drawn, painted.faults) == (1, [])
    return np.asarray(image)


def reaches(inner: np.ndarray, outer: np.ndarray, distance: int = WITHIN) -> bool:
    """Whether all of one mask lies within a distance of another."""
    size = 2 * distance + 1
    return not (inner & ~cv2.dilate(outer.astype(np.uint8), np.ones((size, size))).astype(bool)).any()


def changed(pixels: np.ndarray, ground: tuple[int, int, int]) -> np.ndarray:
    return (pixels != np.array(ground, np.uint8)).any(axis=-1)


GROUND = (128, 128, 128)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_lie_where_the_sdk_draws_them(name: str) -> None:
    shape, body = SHAPES[name]
    mine, real = changed(ours(shape, body, GROUND), GROUND), changed(theirs(shape, body, GROUND), GROUND)
    assert real.any()
    assert reaches(mine, real)
    assert reaches(real, mine)
    # What they don't touch isn't touched: holes, and the outside.
    assert reaches(~mine, ~real)
    assert reaches(~real, ~mine)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_lie_there_at_another_size(name: str) -> None:
    shape, body = SHAPES[name]
    scale = 3
    mine = changed(ours(shape, body, GROUND, scale), GROUND)
    real = changed(theirs(shape, body, GROUND), GROUND).repeat(scale, 0).repeat(scale, 1)
    assert reaches(mine, real, WITHIN * scale)
    assert reaches(real, mine, WITHIN * scale)


@pytest.mark.parametrize("color", ["#00FF00", "#FFFF00", "#FF00FF", "#0000FF", "#FF0000"])
@pytest.mark.parametrize("name", ["graph", "graph with a node that is disabled"])
def test_edges_and_nodes_have_the_colours_of_the_class(name: str, color: str) -> None:
    shape, body = SHAPES[name]
    wanted = np.array(sly.color.hex2rgb(color), np.uint8)
    mine, real = ((draw(shape, body, GROUND) == wanted).all(axis=-1) for draw in (ours, theirs))
    assert mine.any() == real.any()
    assert reaches(mine, real)
    for x, y in NODES.values() if color != "#0000FF" else ():  # dots are larger here, and edges end below them
        real[y - 4 : y + 5, x - 4 : x + 5] = False
    assert reaches(real, mine)


def test_opacity_of_an_alpha_mask_follows_the_sdk() -> None:
    shape, body = SHAPES["alpha mask"]
    mine, real = (draw(shape, body, (0, 0, 0))[60, 45:100:5, 0].astype(float) for draw in (ours, theirs))
    inside = (np.arange(45, 100, 5) < 68) | (np.arange(45, 100, 5) > 82)
    assert np.corrcoef(mine[inside], real[inside])[0, 1] > 0.99
