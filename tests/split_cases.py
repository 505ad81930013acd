"""Folders with labels that say splits: by lists, by keys, by names."""

from __future__ import annotations

from label_cases import BOX, World, draw, write

import blobdir

NAMES_FILES = [
    *("classes.txt", "labels.txt", "names.txt", "predefined_classes.txt", "_classes.txt", "class_names.txt"),
    *("obj.names", "coco.names", "class.names", "_darknet.labels", "Voc.Names"),
]
"""What texts are called that have the names of YOLO's classes."""
TWO = World({"a.png": [("cat", BOX)], "b.png": [("cat", BOX)]})


def pack(source, target, **options):
    report = blobdir.pack(source, target, blobdir.PackOptions(**{"labels": "auto", "processes": 1} | options))
    project = blobdir.open_project(target)
    return report, {name: list(dataset) for name, dataset in project.items()}


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def messages(report, code="label"):
    return [(problem.path, problem.message) for problem in report.problems if problem.code == code]


def without_config(root):
    """YOLO without ``data.yaml``."""
    source = write("yolo", root, TWO)
    (source / "data.yaml").unlink()
    put(source / "classes.txt", "cat\n")
    return source


def without_lists(kind, root, world):
    """A data set that says no splits."""
    source = write(kind, root, world)
    for path in (*source.rglob("ImageSets/*/*.txt"), *source.rglob("data.yaml")):
        path.unlink()
    if kind == "yolo":
        put(source / "classes.txt", "cat\n")
    return source


def image_sets(root, splits, folder="ImageSets/Main"):
    source = write("voc", root, TWO)
    for path in source.rglob("ImageSets/*/*.txt"):
        path.unlink()
    for split, name in zip(splits, "ab", strict=True):
        put(source / folder / f"{split}.txt", f"{name}\n")
    return source


def lists_alone(root, splits):
    source = without_config(root)
    for split, name in zip(splits, "ab", strict=True):
        path = next(path for path in source.rglob(f"{name}.png"))
        put(source / f"{split}.txt", f"./{path.relative_to(source).as_posix()}\n")
    return source


def darknet(root, splits):
    """As CVAT's YOLO 1.1 has it."""
    put(root / "obj.names", "cat\n")
    put(root / "obj.data", "classes = 1\nnames = data/obj.names\n" + "".join(f"{s} = data/{s}.txt\n" for s in splits))
    for split, name in zip(splits, "ab", strict=True):
        draw(root / f"obj_{split}_data/{name}.png")
        put(root / f"obj_{split}_data/{name}.txt", "0 0.5 0.5 0.2 0.2\n")
        put(root / f"{split}.txt", f"data/obj_{split}_data/{name}.png\n")
    return root


def keys(root, splits):
    put(
        root / "data.yaml",
        "".join(f"{s}: images/{name}\n" for s, name in zip(splits, "ab", strict=True)) + "names: [cat]\nnc: 1\n",
    )
    for name in "ab":
        draw(root / f"images/{name}/{name}.png")
        put(root / f"labels/{name}/{name}.txt", "0 0.5 0.5 0.2 0.2\n")
    return root


LAYOUTS = {
    "voc": image_sets,
    "voc, a folder of another name": lambda root, splits: image_sets(root, splits, "ImageSets/Others"),
    "voc, small letters": lambda root, splits: image_sets(root, splits, "imagesets/main"),
    "lists": lists_alone,
    "darknet": darknet,
    "data.yaml": keys,
}


def coco(names):
    entries = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    things = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 5, 5]} for i, _ in enumerate(names)]
    return {"images": entries, "annotations": things, "categories": [{"id": 1, "name": "cat"}]}


OWN = {
    "labelme": ("json", '{{"shapes": [{{"label": "{0}", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}}]}}'),
    "voc": (
        "xml",
        """<annotation><object><name>{0}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>\
</object></annotation>""",
    ),
    "yolo": ("txt", "{1} 0.5 0.5 0.2 0.2\n"),
}
