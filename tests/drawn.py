"""What tests of pictures share: objects of each shape, masks as the format has them, and projects of a few images."""

from __future__ import annotations

import base64
import io
import json
import zlib

import numpy as np
from blob_builder import Builder
from PIL import Image


def bitmap(pixels, *, deflated=True, mode="L"):
    """A picture in base64, as ``bitmap.data`` has it."""
    file = io.BytesIO()
    image = Image.fromarray(np.asarray(pixels).astype(np.uint8))
    if mode == "RGBA":
        image = Image.merge("RGBA", [image] * 4)
    elif mode == "1":
        image = image.point(lambda value: 255 if value else 0).convert("1")
    elif mode == "P":
        image = image.point(lambda value: 1 if value else 0)
        image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(file, "PNG", **({"transparency": 0} if mode == "P" else {}))
    data = zlib.compress(file.getvalue()) if deflated else file.getvalue()
    return base64.b64encode(data).decode()


def disc(value=255):
    rows, columns = np.mgrid[:40, :40]
    return np.where((rows - 20) ** 2 + (columns - 20) ** 2 < 380, value, 0)


def points(*exterior, interior=()):
    return {"points": {"exterior": [*map(list, exterior)], "interior": [[*map(list, ring)] for ring in interior]}}


CORNERS = {"topleft": (0, 0), "topright": (30, 0), "bottomright": (30, 30), "bottomleft": (0, 30)}
SHAPES = {
    "rectangle": points((30, 30), (70, 70)),
    "polygon": points((30, 30), (70, 30), (70, 70), (30, 70), interior=[((45, 45), (55, 45), (55, 55), (45, 55))]),
    "multipolygon": {"parts": [{"exterior": [[30, 30], [70, 30], [50, 70]], "interior": []}]},
    "line": points((30, 30), (70, 70)),
    "point": points((50, 50)),
    "bitmap": {"bitmap": {"data": bitmap(disc()), "origin": [30, 30]}},
    "alpha_mask": {"bitmap": {"data": bitmap(disc(180)), "origin": [30, 30]}},
    "graph": {"nodes": {"a": {"loc": [30, 30]}, "b": {"loc": [70, 70]}}},
    "cuboid": {
        "points": [[30, 40], [60, 40], [60, 70], [30, 70], [40, 30], [70, 30], [70, 60]],
        "faces": [[0, 1, 2, 3], [0, 4, 5, 1], [1, 5, 6, 2]],
    },
    "cuboid_2d": {
        "vertices": {
            f"face{face}-{name}": {"loc": [30 + x + 10 * (face - 1), 30 + y + 10 * (face - 1)]}
            for face in (1, 2)
            for name, (x, y) in CORNERS.items()
        }
    },
    "oriented_bbox": {"points": [[30, 35], [70, 65]], "angle": 0.4},
}


def thing(shape, body, title="c", **more):
    return {"classTitle": title, "geometryType": shape, "tags": [], **body, **more}


def encoded(size=(100, 100), color=(0, 0, 0), kind="PNG", **options):
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, kind, **options)
    return file.getvalue()


def project(root, datasets, classes=(), size=(100, 100), color=(0, 0, 0)):
    """A project of {dataset: {image name: objects}}; its path."""
    made = Builder(root)
    made.loose("meta.json", json.dumps({"classes": [*classes], "tags": [], "projectType": "images"}).encode())
    for number, (dataset, images) in enumerate(datasets.items()):
        made.blob(dataset, f"b{number}", dict.fromkeys(images, encoded(size, color)))
        for name, objects in images.items():
            annotation = {"size": {"width": size[0], "height": size[1]}, "tags": [], "objects": [*objects]}
            made.loose(f"{dataset}/ann/{name}.json", json.dumps(annotation).encode())
    return made.root
