"""Annotations and ``meta.json`` with an object of every shape and a tag of every kind, and all that may be wrong."""

from __future__ import annotations

import base64
import copy
import io
import json
import zlib

import numpy as np
from PIL import Image


def png(pixels, *, packed=True):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return text(out.getvalue(), packed=packed)


def text(data, *, packed=True):
    return base64.b64encode(zlib.compress(data) if packed else data).decode()


def layers():
    out = io.BytesIO()
    np.save(out, np.ones((3, 3, 2)))
    return text(out.getvalue())


def spot(*channels):
    pixels = np.zeros((3, 3, *channels), np.uint8)
    pixels[1, 1] = 255
    return pixels


VECTOR = {"x": 1, "y": 2, "z": 3}
VERTICES = [f"face{face}-{side}" for face in (1, 2) for side in ("topleft", "topright", "bottomright", "bottomleft")]
SHAPES = {
    "rectangle": {"points": {"exterior": [[1, 1], [4, 4]], "interior": []}},
    "polygon": {"points": {"exterior": [[1, 1], [6, 1], [6, 6.5]], "interior": [[[4, 2], [5, 2], [5, 3]]]}},
    "line": {"points": {"exterior": [[1, 1], [4, 1], [4, 4.5]], "interior": []}},
    "point": {"points": {"exterior": [[1, 1]], "interior": []}},
    "multipolygon": {"parts": [{"exterior": [[1, 1], [6, 1], [6, 6]], "interior": [[[4, 2], [5, 2], [5, 3]]]}]},
    "oriented_bbox": {"points": [[1, 1], [4, 4]], "angle": 0.5},
    "cuboid": {
        "points": [[1, 1], [4, 1], [4, 4], [1, 4], [2, 2], [5, 2], [5, 5], [2, 5]],
        "faces": [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 5, 4]],
    },
    "graph": {"nodes": {"a": {"loc": [1, 1]}, "b": {"loc": [2, 2], "disabled": True}}},
    "cuboid_2d": {"vertices": {name: {"loc": [i % 4 + 1, i // 4 + 1]} for i, name in enumerate(VERTICES)}},
    "bitmap": {"bitmap": {"origin": [1, 1], "data": png(spot(4))}},
    "alpha_mask": {"bitmap": {"origin": [1, 1], "data": png(spot())}},
    "multichannelBitmap": {"multichannelBitmap": {"origin": [1, 1], "data": layers()}},
    "any": {},
    "of the future": {},
}
NOT_OF_IMAGES = {
    "cuboid_3d": {"position": VECTOR, "rotation": VECTOR, "dimensions": VECTOR},
    "point_3d": VECTOR,
    "point_cloud": {"indices": [1, 2]},
    "polyline_3d": {"points": [[1, 2, 3], [4, 5, 6]]},
    "mesh": {"indices": [1]},
    "closed_surface_mesh": {},
}
TEMPLATE = {
    "nodes": {"a": {"label": "a", "loc": [1, 1], "color": "#00FF00"}, "b": {"label": "b", "loc": [2, 2]}},
    "edges": [{"src": "a", "dst": "b", "color": "#00FF00"}],
}
VALUES = {
    "none": (None,),
    "any_number": (3, -1.5, 0, True),
    "any_string": ("x", ""),
    "oneof_string": ("one", "two"),
    "date": ("2026-04-23T15:15:48", "2026-04-23T15:15:48Z", "2026-04-23"),
}
WRONG = [None, "x", "", 5, -1.5, True, [], ["x"], [1], [[1]], [[1, 2, 3]], [["x", "y"], [1, 2]], {}, {"x": 1}, 1e999,
         1e300, 10**30, -(10**30), 2**64, 2**63, 2**63 - 1, -(2**63)]  # fmt: skip
"""What may stand where something else belongs."""


def class_of(shape):
    config = {"geometry_config": TEMPLATE} if shape == "graph" else {}
    return {"title": f"c {shape}", "shape": shape, "color": "#FF0000", **config}


def tag_of(kind):
    values = {"values": ["one", "two"]} if kind == "oneof_string" else {}
    return {"name": f"t {kind}", "value_type": kind, "color": "#00FF00", **values}


META = {
    "classes": [class_of(shape) for shape in (*SHAPES, *NOT_OF_IMAGES)],
    "tags": [tag_of(kind) for kind in VALUES],
    "projectType": "images",
}


SETTINGS = {
    "multiView": {"enabled": True, "tagName": "t any_string", "tagId": 7, "isSynced": False},
    "labelingInterface": "multi_view",
    "spectrogram": {"x": 1},
}


def with_settings(settings):
    return META | {"projectSettings": settings}


def annotation(*objects, **more):
    return {"description": "", "tags": [], "size": {"height": 8, "width": 8}, "objects": list(objects), **more}


def object_of(shape, of="", **more):
    fields = {"description": "", "tags": [], "nnCreated": False}
    return {
        "classTitle": f"c {of or shape}",
        "geometryType": shape,
        **fields,
        **copy.deepcopy((SHAPES | NOT_OF_IMAGES)[shape]),
        **more,
    }


def tagged(kind, value):
    return {"name": f"t {kind}", "value": value}


SOUND = {
    **{shape: annotation(object_of(shape)) for shape in SHAPES},
    **{
        f"{shape} of any": annotation(object_of(shape, "any"))
        for shape in SHAPES
        if shape not in ("graph", "cuboid_2d")
    },
    **{f"{kind} {value!r}": annotation(tags=[tagged(kind, value)]) for kind in VALUES for value in VALUES[kind]},
    "none without a value": annotation(tags=[{"name": "t none"}]),
    "tags of objects": annotation(object_of("point", tags=[tagged("any_number", 3), tagged("any_number", 4)])),
    "a polygon of one point": annotation(object_of("polygon", points={"exterior": [[1, 1]], "interior": []})),
    "custom": annotation(customBigData={"x": 1}),
    "custom null": annotation(customBigData=None),
    "custom list": annotation(customBigData=[1]),
    "custom text": annotation(customBigData=""),
    "all": annotation(*map(object_of, SHAPES), tags=[tagged(kind, some[0]) for kind, some in VALUES.items()]),
}


def but(value, path, new):
    """A value with another one at a path, or none."""
    value = copy.deepcopy(value)
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    if new is but:
        del holder[path[-1]]
    else:
        holder[path[-1]] = new
    return value


def paths(value, path=()):
    """Paths to all that is in a value; of lists the first and the last."""
    keys = list(value) if isinstance(value, dict) else sorted({0, len(value) - 1}) if value else []
    for key in keys:
        yield (*path, key)
        if isinstance(value[key], (dict, list)):
            yield from paths(value[key], (*path, key))


def changed(value, below=()):
    """All that may be wrong with a value: each thing in it missing, or another one in its place."""
    top = value
    for key in below:
        top = top[key]
    for path in paths(top, below):
        for new in (but, *WRONG):
            yield f"{'.'.join(map(str, path))} = {'gone' if new is but else json.dumps(new)}", but(value, path, new)


LARGE = {
    "polygon": ["points", "exterior", 1, 1],
    "line": ["points", "exterior", 0, 0],
    "multipolygon": ["parts", 0, "exterior", 0, 1],
    "cuboid": ["points", 3, 0],
}
REFUSED = {
    "no points": ("sdk-object", annotation(but(object_of("rectangle"), ["points"], but))),
    "texts as coordinates": (
        "sdk-object",
        annotation(but(object_of("rectangle"), ["points", "exterior", 0], ["x", "y"])),
    ),
    "one corner": ("sdk-object", annotation(but(object_of("rectangle"), ["points", "exterior"], [[1, 1]]))),
    "a line of one point": ("sdk-object", annotation(but(object_of("line"), ["points", "exterior"], [[1, 1]]))),
    "a triple": ("sdk-object", annotation(but(object_of("polygon"), ["points", "exterior", 0], [1, 1, 1]))),
    "a hole of nothing": ("sdk-object", annotation(but(object_of("polygon"), ["points", "interior"], [[]]))),
    "an infinite number": ("sdk-object", annotation(but(object_of("point"), ["points", "exterior"], [[1e999, 1]]))),
    **{
        f"{number} in a {shape}": ("sdk-object", annotation(but(object_of(shape), path, number)))
        for shape, path in LARGE.items()
        for number in (10**30, 1e300)
    },
    "no bitmap": ("sdk-object", annotation(but(object_of("bitmap"), ["bitmap"], but))),
    "a bitmap without origin": ("sdk-object", annotation(but(object_of("alpha_mask"), ["bitmap", "origin"], but))),
    "a node of nobody": ("sdk-object", annotation(object_of("graph", nodes={"c": {"loc": [1, 1]}}))),
    "a graph of any": ("sdk-object", annotation(object_of("graph", "any"))),
    "seven vertices": ("sdk-object", annotation(but(object_of("cuboid_2d"), ["vertices", VERTICES[0]], but))),
    "no angle": ("sdk-object", annotation(but(object_of("oriented_bbox"), ["angle"], but))),
    "no parts": ("sdk-object", annotation(object_of("multipolygon", parts=[]))),
    "a corner of nothing": ("sdk-object", annotation(but(object_of("cuboid"), ["faces", 0, 0], 8))),
    **{shape: ("sdk-object", annotation(object_of(shape))) for shape in NOT_OF_IMAGES},
    "any, of no shape": ("sdk-object", annotation(but(object_of("any"), ["geometryType"], but))),
    "no tags": ("sdk-tag", but(annotation(), ["tags"], but)),
    "an object without tags": ("sdk-tag", annotation(but(object_of("point"), ["tags"], but))),
    "no value": ("sdk-tag", annotation(tags=[{"name": "t any_number"}])),
    "a value of a tag that has none": ("sdk-tag", annotation(tags=[tagged("none", 1)])),
    "none of the values": ("sdk-tag", annotation(object_of("point", tags=[tagged("oneof_string", "three")]))),
    "no date": ("sdk-tag", annotation(tags=[tagged("date", "tomorrow")])),
    "customData": ("sdk-tag", annotation(tags=[tagged("any_number", 1) | {"customData": 5}])),
    "custom": ("sdk-object", annotation(customBigData=5)),
    "custom text of the SDK's words": ("sdk-object", annotation(customBigData="probabilityLabels, probabilityClasses")),
}
"""Annotations that the SDK refuses, and what is said of them."""
NOT_WRITTEN = ("train/ann/{}.json", annotation(customBigData="x"))
"""What the SDK reads, and can't write: it uploads that only where it sends a file as it is, as those of blobs."""
NOT_UPLOADED = {
    "a cuboid": ("train/ann/{}.json", annotation(object_of("cuboid"))),
    "no geometryType": ("train/ann/{}.json", annotation(object_of("rectangle", geometryType=None))),
    "geometryType of another class": ("train/ann/{}.json", annotation(object_of("rectangle", geometryType="polygon"))),
    "meta of an image is a list": ("train/meta/{}.json", [1]),
    "meta of an image is null": ("train/meta/{}.json", None),
    "meta of an image is a text": ("train/meta/{}.json", "x"),
    "info of an image is a list": ("train/img_info/{}.json", [1]),
    "info of an image without meta": ("train/img_info/{}.json", {"id": 1}),
    "info of an image with meta that is a list": ("train/img_info/{}.json", {"id": 1, "meta": [1]}),
    "info of an image with keys of nobody": ("train/img_info/{}.json", {"a key": 1, "meta": {}}),
    "multi-view by a tag that isn't there": (
        "meta.json",
        with_settings({"multiView": SETTINGS["multiView"] | {"tagName": "pear"}}),
    ),
}
"""File -> what the SDK reads there, and can't upload or drops on the way."""
OUTSIDE = {
    "a box to the left": object_of("rectangle", points={"exterior": [[-5, 1], [-1, 4]], "interior": []}),
    "a box below": object_of("rectangle", points={"exterior": [[1, 8], [4, 9]], "interior": []}, parts=1, nodes=2),
    "a polygon to the right": object_of("polygon", points={"exterior": [[12, 1], [13, 4], [12, 4]], "interior": []}),
    "a point on the edge": object_of("point", points={"exterior": [[9, 1]], "interior": []}),
    "a node of a graph": object_of("graph", nodes={"a": {"loc": [1, 1]}, "b": {"loc": [2, -1]}}),
    "a point a third of a pixel to the left": object_of("point", points={"exterior": [[-0.3, 1]], "interior": []}),
    "a point that is hardly above": object_of("point", points={"exterior": [[1, -1e-9]], "interior": []}),
    "a box that ends there": object_of("rectangle", points={"exterior": [[-9, 1], [-0.3, 4]], "interior": []}),
    "a line that ends there": object_of("line", points={"exterior": [[1, -9], [4, -0.3]], "interior": []}),
    "a polygon that ends there": object_of(
        "polygon", points={"exterior": [[-9, 1], [-0.3, 4], [-0.5, 6]], "interior": []}
    ),
    "a polygon on the edge": object_of("polygon", points={"exterior": [[8, 1], [9, 4], [8.9, 6]], "interior": []}),
    "parts of a multipolygon": object_of(
        "multipolygon",
        parts=[
            {"exterior": [[-9, 1], [-0.3, 4], [-0.5, 6]], "interior": []},
            {"exterior": [[1, 6.5], [4, 9], [5, 9]], "interior": []},
        ],
    ),
    "a node a third of a pixel to the left": object_of("graph", nodes={"a": {"loc": [1, 1]}, "b": {"loc": [-0.3, 1]}}),
    "a corner a third of a pixel to the left": object_of(
        "cuboid_2d",
        vertices={
            name: {"loc": [-0.3 if name == "face1-topleft" else 2, 3]} for name in object_of("cuboid_2d")["vertices"]
        },
    ),
    "a bitmap": object_of("bitmap", bitmap={"origin": [9, 9], "data": png(spot(4))}),
}
"""Objects that the SDK drops, since they lie outside of the picture."""
REFUSED_META = {
    "no classes": but(META, ["classes"], but),
    "a class twice": META | {"classes": [*META["classes"], META["classes"][0]]},
    "no shape": META | {"classes": [{"title": "c", "color": "#FF0000"}]},
    "no color": META | {"classes": [{"title": "c", "shape": "point"}]},
    "no template": META | {"classes": [class_of("graph") | {"geometry_config": None}]},
    "a tag twice": META | {"tags": [*META["tags"], META["tags"][0]]},
    "no type": META | {"tags": [{"name": "t", "color": "#FF0000"}]},
    "no values": META | {"tags": [{"name": "t", "value_type": "oneof_string"}]},
    "values of a number": META | {"tags": [{"name": "t", "value_type": "any_number", "values": ["1"]}]},
    "a color": META | {"tags": [{"name": "t", "value_type": "none", "color": "red"}]},
    "settings that are a number": with_settings(8),
    "settings of nobody": with_settings(SETTINGS | {"x": 1}),
    "views that are a number": with_settings(SETTINGS | {"multiView": 1}),
    "views without a tag's number": with_settings(but(SETTINGS, ["multiView", "tagId"], but)),
    "views enabled by half": with_settings(but(SETTINGS, ["multiView", "enabled"], 1.5)),
    "an interface of nobody": with_settings(SETTINGS | {"labelingInterface": "polygon"}),
    "settings without views": with_settings({"labelingInterface": "default"}),
    "both sorts of tags": META | {"tags_images": [tag_of("none")]},
}
EMPTY, NO_IMAGE = np.zeros((3, 3, 4), np.uint8), b"no image at all"
PIXELS = {
    "half a bitmap": ("bitmap", png(spot(4))[:60]),
    "no base64": ("bitmap", "x"),
    "no image": ("bitmap", text(NO_IMAGE)),
    "no image, not packed": ("bitmap", text(NO_IMAGE, packed=False)),
    "nothing set": ("bitmap", png(EMPTY)),
    "three channels": ("bitmap", png(spot(3))),
    "gray, not packed": ("bitmap", png(spot(), packed=False)),
    "half an alpha mask": ("alpha_mask", png(spot())[:60]),
    "nothing set in an alpha mask": ("alpha_mask", png(EMPTY[:, :, 0])),
    "colors, not packed": ("alpha_mask", png(spot(3), packed=False)),
    "half of the layers": ("multichannelBitmap", layers()[:60]),
    "no layers": ("multichannelBitmap", png(spot(4))),
}
"""Bitmaps that the SDK refuses."""
SOUND_PIXELS = {
    "with alpha": ("bitmap", png(spot(4))),
    "gray": ("bitmap", png(spot())),
    "one bit": ("bitmap", png(spot().astype(bool))),
    "gray and alpha": ("bitmap", png(spot(2))),
    "not packed": ("bitmap", png(spot(4), packed=False)),
    "colors, not packed": ("bitmap", png(spot(3), packed=False)),
    "alpha mask": ("alpha_mask", png(spot())),
    "alpha mask of colors": ("alpha_mask", png(spot(4))),
    "alpha mask, not packed": ("alpha_mask", png(spot(), packed=False)),
    "layers": ("multichannelBitmap", layers()),
}


def with_pixels(shape, data):
    key = "multichannelBitmap" if shape == "multichannelBitmap" else "bitmap"
    return annotation(but(object_of(shape), [key, "data"], data))
