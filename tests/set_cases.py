"""Data sets of each format as small as can be: images by name, each with one box of a class."""

from __future__ import annotations

import json

from split_cases import put

import blobdir


def _csv(names, label):
    return "filename,class,xmin,ymin,xmax,ymax\n" + "".join(f"{name},{label},1,1,9,9\n" for name in names)


def _coco(names, label):
    entries = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    things = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 8, 8]} for i, _ in enumerate(names)]
    return json.dumps({"images": entries, "annotations": things, "categories": [{"id": 1, "name": label}]})


def _cvat(names, label):
    box = f'<box label="{label}" xtl="1" ytl="1" xbr="9" ybr="9"></box>'
    images = (f'<image name="{name}">{box}</image>' for name in names)
    return f"<annotations>{''.join(images)}</annotations>"


def _createml(names, label):
    place = {"x": 5, "y": 5, "width": 8, "height": 8}
    return json.dumps([{"image": name, "annotations": [{"label": label, "coordinates": place}]} for name in names])


def _voc(name, label):
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    return f"<annotation><filename>{name}</filename><object><name>{label}</name>{box}</object></annotation>"


def _labelme(name, label):
    shape = {"label": label, "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}
    return json.dumps({"shapes": [shape], "imagePath": name})


def _yolo(name, label):
    return f"{['outer', 'inner'].index(label)} 0.5 0.5 0.2 0.2\n"


OF_ALL = {
    "csv": ("l.csv", _csv),
    "coco": ("l.json", _coco),
    "cvat": ("l.xml", _cvat),
    "createml": ("l.json", _createml),
}
OF_ONE = {
    "voc": ("Annotations", "xml", _voc),
    "labelme": ("annotations", "json", _labelme),
    "yolo": ("labels", "txt", _yolo),
}
KINDS = [*OF_ALL, *OF_ONE]


def label(root, kind, names, what):
    """Write the labels of images of a data set; gives where they are."""
    if kind in OF_ALL:
        file, text = OF_ALL[kind]
        put(root / file, text(names, what))
        return [root / file]
    folder, ending, text = OF_ONE[kind]
    if kind == "yolo":
        put(root / "classes.txt", "outer\ninner\n")
    paths = [root / folder / f"{name.partition('.')[0]}.{ending}" for name in names]
    for path, name in zip(paths, names, strict=True):
        put(path, text(name, what))
    return paths


def classes(target):
    """Classes of the objects of all images; their names are of one image each."""
    project = blobdir.open_project(target)
    return {
        name: [one["classTitle"] for one in dataset.annotation(name)["objects"]]
        for dataset in project.values()
        for name in dataset
    }
