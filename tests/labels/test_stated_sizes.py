"""The size of an image that labels say is compared with it, however its numbers are spelled, side by side."""

from __future__ import annotations

import json

import pytest
from label_cases import HEIGHT, WIDTH, draw
from split_cases import messages, pack, put

BOX = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"


def coco(width, height):
    image = {"id": 1, "file_name": "a.png", "width": width, "height": height}
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 8, 8], "area": 64, "iscrowd": 0}
    value = {"images": [image], "annotations": [one], "categories": [{"id": 1, "name": "cat"}]}
    return "l.json", json.dumps(value)


def labelme(width, height):
    shape = {"label": "cat", "points": [[1, 1], [9, 9]], "shape_type": "rectangle", "flags": {}}
    value = {"version": "5", "flags": {}, "shapes": [shape], "imagePath": "a.png", "imageData": None}
    return "a.json", json.dumps(value | {"imageWidth": width, "imageHeight": height})


def voc(width, height):
    sides = "".join(
        f"<{name}>{one}</{name}>" for name, one in (("width", width), ("height", height)) if one is not None
    )
    text = f"<annotation><filename>a.png</filename><size>{sides}</size><object><name>cat</name>{BOX}</object>"
    return "a.xml", f"{text}</annotation>"


def cvat(width, height):
    sides = " ".join(f'{name}="{one}"' for name, one in (("width", width), ("height", height)) if one is not None)
    box = '<box label="cat" xtl="1" ytl="1" xbr="9" ybr="9" occluded="0"/>'
    text = f'<annotations><version>1.1</version><image id="0" name="a.png" {sides}>{box}</image></annotations>'
    return "annotations.xml", text


def csv(width, height):
    sides = ",".join("" if one is None else f'"{one}"' for one in (width, height))
    return "l.csv", f"filename,width,height,class,xmin,ymin,xmax,ymax\na.png,{sides},cat,1,1,9,9\n"


FORMATS = [coco, labelme, voc, cvat, csv]
SPELLED = [int, float, str, *("{}.0", " {} ", "{}px", "{} PX", "{}.0 pixels", "{},0", "{},00")]


def spell(how, side):
    return how.format(side) if isinstance(how, str) else how(side)


def said(kind, width, height, tmp_path):
    draw(tmp_path / "s/a.png")
    path, text = kind(width, height)
    put(tmp_path / "s" / path, text)
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.objects == 1
    return report, messages(report, "label-size")


@pytest.mark.parametrize("spelled", SPELLED, ids=str)
@pytest.mark.parametrize("sides", [(2, 2), (2, 1), (1, 2), (2, None), (None, 2)], ids=str)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_size_that_is_another_one_is_said(kind, sides, spelled, tmp_path):
    given = [None if by is None else spell(spelled, by * side) for by, side in zip(sides, (WIDTH, HEIGHT), strict=True)]
    report, found = said(kind, *given, tmp_path)
    shown = " × ".join("?" if by is None else str(by * side) for by, side in zip(sides, (WIDTH, HEIGHT), strict=True))
    assert len(found) == 1 and shown in found[0][1] and not report.complete


@pytest.mark.parametrize(
    "sides",
    [
        *[(spell(spelled, WIDTH), spell(spelled, HEIGHT)) for spelled in SPELLED],
        *(
            (WIDTH, None),
            (None, f"{HEIGHT}.0"),
            (0, 0),
            ("", ""),
            ("unknown", HEIGHT),
            ("9,000", "1,20"),
            ("px", ",0"),
            ("nan", "inf"),
            (WIDTH + 0.5, HEIGHT),
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_size_that_is_the_same_or_none_costs_nothing(kind, sides, tmp_path):
    report, found = said(kind, *sides, tmp_path)
    assert not found and report.complete


def test_a_side_of_a_box_alone_is_none_of_the_image(tmp_path):
    draw(tmp_path / "s/a.png")
    put(tmp_path / "s/l.csv", "filename,class,xmin,ymin,xmax,ymax,width\na.png,cat,1,1,9,9,8\n")
    assert pack(tmp_path / "s", tmp_path / "p")[0].complete


@pytest.mark.parametrize("second", [f"{WIDTH}.0", WIDTH * 2])
def test_two_files_that_say_a_size_are_compared_so_too(second, tmp_path):
    draw(tmp_path / "s/a.png")
    put(tmp_path / "s/train_a.json", coco(WIDTH, HEIGHT)[1])
    put(tmp_path / "s/train_b.json", coco(second, None)[1])
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete is (second != WIDTH * 2), report.problems
