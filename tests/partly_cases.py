"""Sets of which some images have labels, and what is said of other files in them."""

from __future__ import annotations

from label_cases import draw
from split_cases import messages, pack, put

NAMES = [f"img_{i:03d}" for i in range(8)]
XML = (
    "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    "</object></annotation>"
)
YOLO = "0 0.5 0.5 0.2 0.2\n"
FORMATS = {"yolo": ("labels", "txt", YOLO), "voc": ("annotations", "xml", XML)}
CODES = ("label", "label-note", "label-image")


def written(kind, root, labelled):
    """Eight images, of which the first ones have labels."""
    folder, ending, text = FORMATS[kind]
    for i, name in enumerate(NAMES):
        draw(root / f"images/{name}.png")
        if i < labelled:
            put(root / f"{folder}/{name}.{ending}", text)
    if kind == "yolo":
        put(root / "classes.txt", "cat\n")
    return root


def said(root, target, kind, files):
    """What is said of files: of each code, the first words."""
    for path, data in files.items():
        put(root / path, "")
        (root / path).write_bytes(data if isinstance(data, bytes) else data.encode())
    report, _ = pack(root, target, labels=kind)
    return {code: [one for one in messages(report, code) if one[0].partition(",")[0] in files] for code in CODES}
