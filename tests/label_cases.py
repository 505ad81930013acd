"""Folders with labels of other people: one small world of images, written in each format by code of its own."""

from __future__ import annotations

import base64
import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import yaml
from PIL import Image

from blobdir.labels.model import Box, Dot, Line, Mask, Polygon, Pose

WIDTH, HEIGHT = 100, 50


@dataclass
class World:
    """Image -> objects, each a class and a shape; names of classes in the order of their numbers."""

    images: dict[str, list[tuple[str, object]]]
    classes: list[str] = field(default_factory=list)
    keypoints: list[str] = field(default_factory=list)
    crowd: bool = False
    ids: tuple[int, int] = (0, 1)
    """First number of an image or class, and the step to the next."""

    def __post_init__(self):
        self.classes = self.classes or sorted({label for things in self.images.values() for label, _ in things})

    def number(self, i):
        return self.ids[0] + i * self.ids[1]

    @property
    def shapes(self):
        return {type(shape) for things in self.images.values() for _, shape in things}


def pixels():
    found = np.zeros((6, 9), bool)
    found[1:5, 2:8] = True
    found[2, 3] = False
    found[:, 0] = found[5, 8] = found[0, 5] = True
    return found


MASK = Mask(10, 20, pixels())
BOX, OUTLINE = Box(10, 5, 30, 25), Polygon(((1, 2), (40, 2.5), (40, 30)))
POSE = Pose({"left": (10, 20, True), "right": (30, 40, False)})
WORLDS = {
    "boxes": World(
        {"a.png": [("cat", BOX), ("dog", Box(0, 0, 100, 50)), ("cat", Box(1, 1, 4, 5))], "b.png": [("dog", BOX)]}
    ),
    "fractions": World({"a.png": [("cat", Box(0.5, 0.25, 30.75, 25.125))]}),
    "outlines": World({"a.png": [("cat", OUTLINE), ("dog", Polygon(((5, 5), (50, 5), (50, 45), (5, 45))))]}),
    "masks": World({"a.png": [("cat", MASK)]}),
    "crowd": World({"a.png": [("cat", MASK)]}, crowd=True),
    "keypoints": World({"a.png": [("person", POSE)]}, keypoints=["left", "middle", "right"]),
    "lines": World({"a.png": [("road", Line(((1, 1), (20, 30), (50, 5))))]}),
    "points": World({"a.png": [("spot", Dot((17, 23)))]}),
    "mixed": World({"a.png": [("cat", BOX), ("cat", OUTLINE)]}),
    "empty images": World({"a.png": [], "b.png": [("cat", BOX)], "c.png": []}),
    "odd names": World(
        {"bild ä, 1.png": [("katze, groß", BOX)], "コピー.png": [("a b", BOX)], "x'\"&<.png": [("<&'\">", BOX)]}
    ),
    "numbers as names": World({"a.png": [("1", BOX), ("0", Box(1, 1, 9, 9))]}, ["0", "1"]),
    "class without objects": World({"a.png": [("cat", BOX)]}, ["ant", "cat", "zebra"]),
    "background": World({"a.png": [("background", BOX), ("cat", BOX)]}, ["background", "cat"]),
    "ids from 1": World({"a.png": [("cat", BOX)], "b.png": [("dog", BOX)]}, ids=(1, 1)),
    "sparse ids": World({"a.png": [("cat", BOX)], "b.png": [("dog", BOX)]}, ids=(90, 17)),
    "folders": World({"x/a.png": [("cat", BOX)], "y/b.png": [("dog", BOX)]}),
}
HOLDS = {
    "coco": {Box, Polygon, Mask, Pose},
    "yolo": {Box, Polygon, Pose},
    "voc": {Box},
    "cvat": {Box, Polygon, Mask, Pose, Line, Dot},
    "labelme": {Box, Polygon, Mask, Line, Dot},
    "createml": {Box},
    "csv": {Box},
}


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    number = sum(path.name.encode()) % 200
    Image.new("RGB", (WIDTH, HEIGHT), (number, 0, 255 - number)).save(path)


def write(kind: str, root: Path, world: World) -> Path:
    """Write images and labels; gives the folder."""
    root.mkdir(parents=True, exist_ok=True)
    folder = "images" if kind in ("coco", "yolo") else "JPEGImages" if kind == "voc" else ""
    for name in world.images:
        draw(root / folder / name)
    WRITERS[kind](root, world)
    return root


def dump(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace"))


def counts(mask: Mask, by_rows: bool = False) -> list[int]:
    """Run lengths, one pixel after the other."""
    if by_rows:
        whole = mask.pixels.ravel()
    else:
        image = np.zeros((HEIGHT, WIDTH), bool)
        image[mask.top : mask.top + mask.pixels.shape[0], mask.left : mask.left + mask.pixels.shape[1]] = mask.pixels
        whole = image.T.ravel()
    found, last = [0], False
    for one in whole.tolist():
        if one != last:
            found.append(0)
            last = one
        found[-1] += 1
    return found


def coco_of(world: World) -> dict:
    images, annotations = [], []
    for i, (name, things) in enumerate(world.images.items()):
        images.append({"id": world.number(i), "file_name": name, "width": WIDTH, "height": HEIGHT, "license": 1})
        for label, shape in things:
            one = {
                "id": 1000 + 3 * len(annotations),
                "image_id": world.number(i),
                "category_id": world.number(world.classes.index(label)),
                "iscrowd": int(world.crowd),
                "segmentation": [],
            }
            if isinstance(shape, Box):
                sides = shape.right - shape.left, shape.bottom - shape.top
                one |= {"bbox": [shape.left, shape.top, *sides], "area": sides[0] * sides[1]}
            elif isinstance(shape, Polygon):
                one |= {"segmentation": [[float(x) for point in shape.exterior for x in point]]}
                one |= {"bbox": [1, 2, 3, 4], "area": 12.5}  # what others say of it stays
            elif isinstance(shape, Mask):
                one |= {"segmentation": {"size": [HEIGHT, WIDTH], "counts": counts(shape)}}
                one |= {"bbox": [10, 20, 9, 6], "area": int(shape.pixels.sum())}
            elif isinstance(shape, Pose):
                numbers = []
                for key in world.keypoints:
                    x, y, seen = shape.points.get(key, (0, 0, None))
                    numbers += [x, y, 0 if seen is None else 2 if seen else 1]
                one |= {"keypoints": numbers, "num_keypoints": len(shape.points), "bbox": [5, 6, 70, 40], "area": 2800}
            annotations.append(one)
    more = {"keypoints": world.keypoints, "skeleton": [[1, 2]]} if world.keypoints else {}
    return {
        "info": {"year": 2020, "description": "Welt"},
        "licenses": [{"id": 1, "name": "CC0", "url": ""}],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": world.number(i), "name": name, "supercategory": "thing"} | more
            for i, name in enumerate(world.classes)
        ],
    }


def write_coco(root: Path, world: World) -> None:
    dump(root / "annotations" / "instances_train.json", coco_of(world))


def write_yolo(root: Path, world: World) -> None:
    value = {"train": "images", "names": dict(enumerate(world.classes))}
    if world.keypoints:
        value |= {"kpt_shape": [len(world.keypoints), 3], "kpt_names": {0: world.keypoints}}
    (root / "data.yaml").write_text(yaml.safe_dump(value, allow_unicode=True), "utf-8")
    for name, things in world.images.items():
        lines = []
        for label, shape in things:
            numbers = [world.classes.index(label)]
            if isinstance(shape, Polygon):
                numbers += [
                    x / side for point in shape.exterior for x, side in zip(point, (WIDTH, HEIGHT), strict=True)
                ]
            else:
                box = shape if isinstance(shape, Box) else Box(5, 6, 75, 46)
                numbers += [(box.left + box.right) / 2 / WIDTH, (box.top + box.bottom) / 2 / HEIGHT]
                numbers += [(box.right - box.left) / WIDTH, (box.bottom - box.top) / HEIGHT]
            if isinstance(shape, Pose):
                for key in world.keypoints:
                    x, y, seen = shape.points.get(key, (0, 0, None))
                    numbers += [x / WIDTH, y / HEIGHT, 0 if seen is None else 2 if seen else 1]
            lines.append(" ".join(map(str, numbers)))
        path = root / "labels" / f"{name.rpartition('.')[0]}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        if lines:
            path.write_text("\n".join(lines))


def write_voc(root: Path, world: World) -> None:
    for name, things in world.images.items():
        objects = "".join(
            f"<object><name>{escape(label)}</name><difficult>1</difficult><bndbox><xmin>{box.left}</xmin>"
            f"<ymin>{box.top}</ymin><xmax>{box.right}</xmax><ymax>{box.bottom}</ymax></bndbox></object>"
            for label, box in things
        )
        text = (
            f"<annotation><filename>{escape(name)}</filename><size><width>{WIDTH}</width><height>{HEIGHT}</height>"
            f"<depth>3</depth></size><segmented>0</segmented>{objects}</annotation>"
        )
        path = root / "Annotations" / f"{name.rpartition('.')[0]}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    sets = root / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("".join(f"{name.rpartition('.')[0]}\n" for name in world.images), "utf-8")


def write_cvat(root: Path, world: World) -> None:
    def pairs(points):
        return ";".join(f"{x},{y}" for x, y in points)

    lines = []
    for i, (name, things) in enumerate(world.images.items()):
        lines.append(f'<image id="{i}" name={quoteattr(name)} width="{WIDTH}" height="{HEIGHT}" subset="train">')
        for label, shape in things:
            head = f"label={quoteattr(label)}"
            if isinstance(shape, Box):
                sides = f'xtl="{shape.left}" ytl="{shape.top}" xbr="{shape.right}" ybr="{shape.bottom}"'
                lines.append(f"<box {head} {sides}></box>")
            elif isinstance(shape, Polygon):
                lines.append(f'<polygon {head} points="{pairs(shape.exterior)}"/>')
            elif isinstance(shape, Line):
                lines.append(f'<polyline {head} points="{pairs(shape.points)}"/>')
            elif isinstance(shape, Dot):
                lines.append(f'<points {head} points="{pairs([shape.at])}"/>')
            elif isinstance(shape, Mask):
                runs = ",".join(map(str, counts(shape, by_rows=True)))
                place = f'left="{shape.left}" top="{shape.top}" width="9" height="6"'
                lines.append(f'<mask {head} rle="{runs}" {place}/>')
            else:
                lines.append(f"<skeleton {head}>")
                for key in world.keypoints:
                    x, y, seen = shape.points.get(key, (0, 0, None))
                    flags = f'outside="{int(seen is None)}" occluded="{int(seen is False)}"'
                    lines.append(f'<points label="{key}" {flags} points="{x},{y}"/>')
                lines.append("</skeleton>")
        lines.append("</image>")
    labels = "".join(f"<label><name>{escape(name)}</name></label>" for name in world.classes)
    labels += "".join(
        f"<label><name>{key}</name><parent>{escape(name)}</parent></label>"
        for name in world.classes
        for key in world.keypoints
    )
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}\n' + "\n".join(lines)
    (root / "annotations.xml").write_text(f"{text}</annotations>", "utf-8")


def write_labelme(root: Path, world: World) -> None:
    for name, things in world.images.items():
        shapes = []
        for label, shape in things:
            one = {"label": label, "group_id": None, "flags": {}}
            if isinstance(shape, Box):
                one |= {"shape_type": "rectangle", "points": [[shape.right, shape.top], [shape.left, shape.bottom]]}
            elif isinstance(shape, Polygon):
                one |= {"shape_type": "polygon", "points": [list(point) for point in shape.exterior]}
            elif isinstance(shape, Line):
                one |= {"shape_type": "linestrip", "points": [list(point) for point in shape.points]}
            elif isinstance(shape, Dot):
                one |= {"shape_type": "point", "points": [list(shape.at)]}
            else:
                out = io.BytesIO()
                Image.fromarray(shape.pixels.astype(np.uint8) * 255).save(out, "PNG")
                one |= {"shape_type": "mask", "mask": base64.b64encode(out.getvalue()).decode()}
                one["points"] = [[shape.left, shape.top], [shape.left + 8, shape.top + 5]]
            shapes.append(one)
        value = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": name.rpartition("/")[2]}
        value |= {"imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH}
        dump(root / f"{name.rpartition('.')[0]}.json", value)


def write_createml(root: Path, world: World) -> None:
    value = []
    for name, things in world.images.items():
        annotations = []
        for label, box in things:
            sides = box.right - box.left, box.bottom - box.top
            place = {"x": box.left + sides[0] / 2, "y": box.top + sides[1] / 2, "width": sides[0], "height": sides[1]}
            annotations.append({"label": label, "coordinates": place})
        value.append({"image": name, "annotations": annotations})
    dump(root / "_annotations.createml.json", value)


def write_csv(root: Path, world: World) -> None:
    with (root / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"])
        for name, things in world.images.items():
            for label, box in things:
                rows.writerow([name, WIDTH, HEIGHT, label, box.left, box.top, box.right, box.bottom])


WRITERS = {
    "coco": write_coco,
    "yolo": write_yolo,
    "voc": write_voc,
    "cvat": write_cvat,
    "labelme": write_labelme,
    "createml": write_createml,
    "csv": write_csv,
}
CASES = [
    (kind, name)
    for kind in WRITERS
    for name, world in WORLDS.items()
    if world.shapes <= HOLDS[kind] and (kind == "coco" or world.ids == (0, 1))
]
