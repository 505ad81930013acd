"""All shapes are drawn, none is hidden by others, and what can't be drawn is named.

That they lie where the SDK draws them is said by tests/interop/test_drawing.py.
"""

from __future__ import annotations

import numpy as np
import pytest
from drawn import SHAPES, bitmap, disc, points, thing
from PIL import Image

from blobdir.drawing.painting import draw_objects
from blobdir.drawing.palette import Looks

RED, BLUE = (255, 0, 0), (0, 0, 255)
LOOKS = Looks(
    {
        "classes": [
            {"title": "c", "shape": "any", "color": "#FF0000"},
            {"title": "d", "shape": "any", "color": "#0000FF"},
            {"title": "white", "shape": "any", "color": "#FFFFFF"},
            {"title": "black", "shape": "any", "color": "#000000"},
        ]
    }
)
BIG = {
    "rectangle": points((5, 5), (95, 95)),
    "polygon": points((5, 5), (95, 5), (95, 95), (5, 95)),
    "polygon with a hole": points((5, 5), (95, 5), (95, 95), (5, 95), interior=[((8, 8), (12, 8), (8, 12))]),
    "multipolygon": {"parts": [{"exterior": [[5, 5], [95, 5], [95, 95], [5, 95]], "interior": []}]},
    "bitmap": {"bitmap": {"data": bitmap(np.full((90, 90), 255)), "origin": [5, 5]}},
    "alpha_mask": {"bitmap": {"data": bitmap(np.full((90, 90), 255)), "origin": [5, 5]}},
    "cuboid": {"points": [[5, 5], [95, 5], [95, 95], [5, 95]], "faces": [[0, 1, 2, 3]]},
    "oriented_bbox": {"points": [[5, 5], [95, 95]], "angle": 0},
}


def painted(*objects, ground=(0, 0, 0), scale=1, looks=LOOKS, named=False):
    image = Image.new("RGB", (100 * scale, 100 * scale), ground)
    result = draw_objects(image, {"objects": [*objects]}, looks, scale, named=named)
    assert (result.drawn, result.faults) == (len(objects), [])
    return np.asarray(image).astype(int)


def where(pixels, color):
    return (pixels == np.array(color)).all(-1)


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_each_is_drawn_in_its_place_and_colour(shape, scale):
    drawn = painted(thing(shape, SHAPES[shape]), scale=scale)
    rows, columns = np.nonzero(drawn.any(-1))
    assert where(drawn, RED).sum() > 5
    assert min(rows.min(), columns.min()) >= 24 * scale
    assert max(rows.max(), columns.max()) <= 77 * scale


@pytest.mark.parametrize("over", BIG)
@pytest.mark.parametrize("below", SHAPES)
def test_what_is_below_is_neither_erased_nor_dimmed(below, over):
    lower, upper = thing(below, SHAPES[below]), thing(over.split()[0], BIG[over], "d")
    lines = where(painted(lower), RED)
    for pixels in (painted(lower, upper), painted(upper, lower)):
        assert (pixels[lines] == RED).all()
    areas = (painted(lower)[:, :, 0] > 0) & ~lines
    both = painted(lower, upper)
    assert (both[areas] != painted(upper)[areas]).any(-1).all()  # it can be seen through
    other = painted(upper, lower)
    rest = ~where(both, RED) & ~where(both, BLUE)
    np.testing.assert_array_equal(both[rest], other[rest])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("title", "ground"), [("white", (255, 255, 255)), ("white", (230, 235, 228)), ("black", (9, 9, 9))]
)
def test_what_is_like_the_ground_has_a_rim(shape, title, ground):
    drawn = painted(thing(shape, SHAPES[shape], title), ground=ground)
    assert (np.abs(drawn.sum(-1) / 3 - sum(ground) / 3) > 120).sum() >= 8


@pytest.mark.parametrize("shape", ["polygon", "multipolygon"])
def test_holes_are_empty_and_empty_nothing_else(shape):
    part = SHAPES["polygon"]["points"]
    holed = thing(shape, {"points": part} if shape == "polygon" else {"parts": [part]})
    assert not painted(holed)[48:53, 48:53].any()
    below = thing("rectangle", points((40, 40), (60, 60)))
    np.testing.assert_array_equal(painted(below, holed)[48:53, 48:53], painted(below)[48:53, 48:53])


MODES = {"L": "L", "RGBA": "RGBA", "one bit": "1", "a palette": "P"}


@pytest.mark.parametrize("deflated", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_bitmaps_of_all_encodings(mode, deflated):
    def of(data):
        return painted(thing("bitmap", {"bitmap": {"data": data, "origin": [30, 30]}}))

    np.testing.assert_array_equal(of(bitmap(disc(), deflated=deflated, mode=MODES[mode])), of(bitmap(disc())))


def test_an_alpha_mask_is_as_dense_as_it_says():
    ramp = np.tile(np.linspace(10, 250, 60), (30, 1))
    row = painted(thing("alpha_mask", {"bitmap": {"data": bitmap(ramp), "origin": [20, 30]}}))[45, 25:75, 0]
    assert (np.diff(row) >= 0).all()
    assert row[0] + 40 < row[-1] < 128


NODES = {"a": {"loc": [10, 10]}, "b": {"loc": [90, 10]}, "c": {"loc": [10, 90]}}
CONFIG = {
    "nodes": {"a": {"color": "#FFFF00"}, "b": {"color": "#FF00FF"}},
    "edges": [{"src": "a", "dst": "b", "color": "#00FF00"}, {"src": "a", "dst": "c"}, {"src": "a", "dst": "gone"}],
}
GRAPH = Looks({"classes": [{"title": "c", "shape": "graph", "color": "#FF0000", "geometry_config": CONFIG}]})


def test_graphs_have_the_edges_of_their_class():
    drawn = painted({"classTitle": "c", "nodes": NODES}, looks=GRAPH)  # its shape is that of its class
    assert drawn[10, 50].tolist() == [0, 255, 0]
    assert drawn[50, 10].tolist() == [255, 0, 0]
    assert drawn[10, 10].tolist() == [255, 255, 0]
    assert drawn[10, 90].tolist() == [255, 0, 255]
    assert drawn[90, 10].tolist() == [255, 0, 0]
    assert not drawn[40:60, 40:60].any()


def test_nodes_that_are_disabled_are_not_drawn():
    nodes = NODES | {"b": {"loc": [90, 10], "disabled": True}}
    drawn = painted(thing("graph", {"nodes": nodes}), looks=GRAPH)
    assert not drawn[5:15, 20:].any()
    assert drawn[50, 10].tolist() == [255, 0, 0]


@pytest.mark.parametrize("color", ["#00FF00", [0, 255, 0]])
def test_objects_may_have_colours_of_their_own(color):
    assert where(painted(thing("rectangle", SHAPES["rectangle"], color=color)), (0, 255, 0)).any()
    for wrong in ("no colour", [0, 999, 0], 7, None):
        assert where(painted(thing("rectangle", SHAPES["rectangle"], color=wrong)), RED).any()


NAN, ENDLESS = float("nan"), float("inf")
FAULTS = {
    "no shape": ({}, "object 0: it names no shape"),
    "an unknown shape": ({"geometryType": "torus"}, "object 0 (torus): the shape isn't known"),
    "no points": ({"geometryType": "rectangle"}, "it has no points"),
    "points that are a list": ({"geometryType": "polygon", "points": [[0, 0]]}, "its points are a list, not an object"),
    "one corner": ({"geometryType": "rectangle", **points((1, 2))}, "it has 1 of at least 2 corners"),
    "three corners": ({"geometryType": "rectangle", **points((1, 2), (3, 4), (5, 6))}, "it has 3 corners, not 2"),
    "a polygon of two": ({"geometryType": "polygon", **points((1, 2), (3, 4))}, "it has 2 of at least 3 points"),
    "a hole of two": (
        {"geometryType": "polygon", **points((1, 2), (3, 4), (9, 9), interior=[((1, 1), (2, 2))])},
        "points of a hole",
    ),
    "words": ({"geometryType": "point", **points(("a", "b"))}, "a coordinate is a text, not a number"),
    "true": ({"geometryType": "point", **points((True, 1))}, "a coordinate is true, not a number"),
    "NaN": ({"geometryType": "point", **points((NAN, 1))}, "a coordinate is no place in a picture"),
    "endless": ({"geometryType": "line", **points((0, 0), (1, ENDLESS))}, "a coordinate is no place in a picture"),
    "NaN among many": ({"geometryType": "line", **points(*[(i, i) for i in range(99)], (1, NAN))}, "no place"),
    "words among many": ({"geometryType": "line", **points(*[(i, i) for i in range(99)], ("1", "2"))}, "is a text"),
    "three numbers": ({"geometryType": "point", **points((1, 2, 3))}, "a point isn't two numbers"),
    "no bitmap": ({"geometryType": "bitmap"}, "it has no bitmap"),
    "no data": ({"geometryType": "bitmap", "bitmap": {"origin": [0, 0]}}, "its bitmap has no data"),
    "no origin": ({"geometryType": "bitmap", "bitmap": {"data": bitmap(disc())}}, "its bitmap has no origin"),
    "no image": (
        {"geometryType": "bitmap", "bitmap": {"data": "x", "origin": [0, 0]}},
        "its bitmap has pixels that aren't base64",
    ),
    "nothing set": (
        {"geometryType": "alpha_mask", "bitmap": {"data": bitmap(disc(0)), "origin": [0, 0]}},
        "nothing is set in its bitmap",
    ),
    "faces of no points": (
        {"geometryType": "cuboid", **(SHAPES["cuboid"] | {"faces": [[0, 1, 2, 9]]})},
        "a face has a point",
    ),
    "no nodes": ({"geometryType": "graph", "nodes": {}}, "it has no nodes"),
    "a node without a place": ({"geometryType": "graph", "nodes": {"a": {}}}, "a node has no loc"),
    "no parts": ({"geometryType": "multipolygon", "parts": []}, "it has no parts"),
    "an angle that is a word": (
        {"geometryType": "oriented_bbox", "points": [[0, 0], [9, 9]], "angle": "x"},
        "its angle",
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_what_cannot_be_drawn_is_named(what):
    item, says = FAULTS[what]
    image = Image.new("RGB", (100, 100))
    result = draw_objects(image, {"objects": [{"classTitle": "c", **item}]}, LOOKS, 1)
    assert result.drawn == 0
    assert says in "".join(result.faults)
    assert "Error" not in "".join(result.faults)
    assert image.getbbox() is None


def moved(body, x, y):
    """A body with all its places moved."""
    if isinstance(body, dict):
        return {key: moved(value, x, y) for key, value in body.items()}
    if isinstance(body, list) and len(body) == 2 and all(isinstance(value, (int, float)) for value in body):
        return [body[0] + x, body[1] + y]
    return [moved(value, x, y) for value in body] if isinstance(body, list) else body


@pytest.mark.parametrize("place", [(-300, 0), (300, 0), (0, -300), (0, 300), (-100, 100)], ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_what_lies_outside_of_the_picture_has_no_name_in_it(shape, place):
    assert not painted(thing(shape, moved(SHAPES[shape], *place)), named=True).any()
    assert painted(thing(shape, moved(SHAPES[shape], place[0] // 6, place[1] // 6)), named=True).any()


def test_labels_are_not_over_one_another_nor_over_lines_where_there_is_room():
    things = [
        thing("rectangle", points((x, y), (x + 20, y + 12)), f"name {x}{y}") for x in (4, 52) for y in (15, 45, 75)
    ]
    plain, named = painted(*things, scale=4), painted(*things, scale=4, named=True)
    for item in things:
        color = LOOKS[item["classTitle"]].color
        assert where(named, color).sum() > where(plain, color).sum() + 400, item["classTitle"]
        assert (named[where(plain, color)] == color).all()


@pytest.mark.parametrize("place", [(-1e8, -1e8), (1e8, 0), (0, 1e8)])
@pytest.mark.parametrize("shape", ["rectangle", "polygon", "line", "point", "oriented_bbox"])
def test_what_lies_far_outside_costs_nothing(shape, place):
    x, y = place
    ring = [(x, y), (x + 50, y), (x + 50, y + 50)]
    body = {
        "rectangle": points(ring[0], ring[2]),
        "polygon": points(*ring),
        "line": points(*ring),
        "point": points(ring[0]),
        "oriented_bbox": {"points": [[*ring[0]], [*ring[2]]], "angle": 0.3},
    }[shape]
    assert not painted(thing(shape, body)).any()


def test_many_objects_are_painted():
    crowd = [
        thing("rectangle", points((i % 90, i // 900), (i % 90 + 5, i // 900 + 5)), f"n{i % 200}") for i in range(20_000)
    ]
    assert painted(*crowd, named=True).any()
