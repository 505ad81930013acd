"""Data sets as programs leave them: what they converted beside the original, what they wrote, formats of their own."""

from __future__ import annotations

import json

import pytest
from label_cases import draw
from split_cases import coco, messages, pack, put

NAMES = [f"img_{i:03d}" for i in range(3)]
WIDTH, HEIGHT = 100, 50
BOXES = [(10, 5, 30, 20), (40, 10, 20, 30)]
"""Left, top, width, height."""


def of_visdrone(boxes):
    return "".join(f"{x},{y},{w},{h},1,4,0,0\n" for x, y, w, h in boxes)


def with_ignored(boxes):
    return "1,1,50,40,0,0,0,0\n" + of_visdrone(boxes)


def of_dota(boxes):
    return "imagesource:x\ngsd:0.1\n" + "".join(
        f"{x}.0 {y}.0 {x + w}.0 {y}.0 {x + w}.0 {y + h}.0 {x}.0 {y + h}.0 cat 0\n" for x, y, w, h in boxes
    )


def of_dota_without_head(boxes):
    return of_dota(boxes).partition("gsd:0.1\n")[2]


def of_kitti(boxes):
    return "".join(f"cat 0.00 0 -1.5 {x} {y} {x + w} {y + h} 1 2 3 4 5 6 7\n" for x, y, w, h in boxes)


ORIGINALS = {
    "visdrone": of_visdrone,
    "visdrone with what is ignored": with_ignored,
    "dota": of_dota_without_head,
    "kitti": of_kitti,
}


def converted(root, folder, original):
    """YOLO's labels, and what they were made from."""
    put(root / "classes.txt", "cat\n")
    for name in NAMES:
        draw(root / f"images/{name}.png")
        rows = ((x + w / 2, y + h / 2, w, h) for x, y, w, h in BOXES)
        text = "".join(f"0 {x / WIDTH} {y / HEIGHT} {w / WIDTH} {h / HEIGHT}\n" for x, y, w, h in rows)
        put(root / f"labels/{name}.txt", text)
        put(root / f"{folder}/{name}.txt", original)
    return root


@pytest.mark.parametrize("original", ORIGINALS)
@pytest.mark.parametrize("folder", ["annotations", "labelTxt"])
def test_what_was_converted_is_said_once_and_costs_nothing(folder, original, tmp_path):
    root = converted(tmp_path / "s", folder, ORIGINALS[original](BOXES))
    report, _ = pack(root, tmp_path / "p")
    ((path, text),) = [one for one in messages(report, "label-note") if one[0].startswith(folder)]
    assert report.complete and path == f"{folder}/img_000.txt" and "2 more files" in text


@pytest.mark.parametrize("boxes", [BOXES[:1], [*BOXES, (1, 1, 5, 5)], [BOXES[0], (44, 10, 20, 30)]])
@pytest.mark.parametrize("original", ORIGINALS)
def test_other_boxes_than_those_are_named_once(original, boxes, tmp_path):
    report, _ = pack(converted(tmp_path / "s", "annotations", ORIGINALS[original](boxes)), tmp_path / "p")
    ((path, text),) = messages(report)
    assert path == "annotations/img_000.txt" and "2 more files" in text and "same boxes" in text


def by_split(root, folder, original, names=NAMES):
    """The same of two splits, with the originals in a folder of each: all images, or only these, are there."""
    lines = (((x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT) for x, y, w, h in BOXES)
    text = "".join(f"0 {x} {y} {w} {h}\n" for x, y, w, h in lines)
    put(root / "data.yaml", "train: images/train\nval: images/val\nnames: [cat]\n")
    for split in ("train", "val"):
        for name in NAMES:
            if name in names:
                draw(root / f"images/{split}/{split}_{name}.png")
                put(root / f"labels/{split}/{split}_{name}.txt", text)
            put(root / folder.format(split) / f"{split}_{name}.txt", original)
    draw(root / "images/train/none.png")
    put(root / "labels/train/none.txt", "")
    put(root / folder.format("train") / "none.txt", "imagesource:x\ngsd:0.1\n")
    return root


SPLIT = ["labels/{}_original", "labels/original_{}", "labels_original/{}", "labels/original/{}"]


@pytest.mark.parametrize("folder", SPLIT)
@pytest.mark.parametrize("original", [of_dota, *ORIGINALS.values()])
def test_originals_of_splits_are_said_once_and_cost_nothing(folder, original, tmp_path):
    report, _ = pack(by_split(tmp_path / "s", folder, original(BOXES)), tmp_path / "p")
    found = [one for one in messages(report, "label-note") if "original" in one[0]]
    assert report.complete and len(found) == 1 and "6 more files" in found[0][1], report.problems


@pytest.mark.parametrize("original", [of_dota, *ORIGINALS.values()])
def test_originals_of_splits_with_other_boxes_are_named_once(original, tmp_path):
    report, _ = pack(by_split(tmp_path / "s", SPLIT[0], original(BOXES[:1])), tmp_path / "p")
    ((_, text),) = messages(report)
    assert "5 more files" in text and not messages(report, "label-image")


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("original", [of_dota, *ORIGINALS.values()])
@pytest.mark.parametrize("apart", [False, True])
def test_originals_are_compared_in_the_size_of_their_image(apart, original, times, tmp_path):
    """Wherever the images lie: twice as large boxes are others."""
    boxes = [tuple(times * side for side in box) for box in BOXES]
    root, more = by_split(tmp_path / "s", SPLIT[0], original(boxes)), {}
    if apart:
        for name in ("labels", "data.yaml"):
            (tmp_path / "apart").mkdir(exist_ok=True)
            (root / name).rename(tmp_path / "apart" / name)
        more = {"labels_from": str(tmp_path / "apart")}
    report, _ = pack(root, tmp_path / "p", **more)
    same = [text for _, text in messages(report, "label-note") if "has the same boxes" in text]
    others = [text for _, text in messages(report) if "not the same boxes" in text]
    assert len(same) == 1 and len(others) == (times == 2), report.problems
    assert "more file" not in same[0] if others else "6 more files" in same[0]


def test_originals_of_images_that_are_missing_are_named(tmp_path):
    report, _ = pack(by_split(tmp_path / "s", SPLIT[0], of_dota(BOXES), NAMES[:1]), tmp_path / "p")
    assert len(messages(report, "label-image")) == 2 * len(NAMES[1:])


@pytest.mark.parametrize("write", [of_dota, of_dota_without_head])
def test_labels_of_turned_boxes_are_said_to_be_such(write, tmp_path):
    put(tmp_path / "s/data.yaml", "train: train/images\nnames: [cat]\nnc: 1\n")
    for name in NAMES:
        draw(tmp_path / f"s/train/images/{name}.png")
        put(tmp_path / f"s/train/labelTxt/{name}.txt", write(BOXES))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels="yolo")
    assert len(messages(report)) == len(NAMES)
    assert all("DOTA's" in text and "is of class" not in text for _, text in messages(report))


DATUMARO = {
    "info": {},
    "categories": {"label": {"labels": [{"name": "cat"}]}},
    "items": [
        {"id": n, "annotations": [{"type": "bbox", "bbox": [1, 2, 3, 4]}], "image": {"path": f"{n}.png"}} for n in NAMES
    ],
}
XML = (
    "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    "</object></annotation>"
)


@pytest.mark.parametrize("labelled", [1, 2, 3])
def test_datumaros_json_is_no_coco_beside_other_labels(labelled, tmp_path):
    for i, name in enumerate(NAMES):
        draw(tmp_path / f"s/images/{name}.png")
        if i < labelled:
            put(tmp_path / f"s/annotations/{name}.xml", XML)
    put(tmp_path / "s/annotations/default.json", json.dumps(DATUMARO))
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert ["Datumaro" in text for _, text in messages(report)] == [True] * (labelled < len(NAMES))


def test_datumaros_json_alone_is_an_error_that_says_so(tmp_path):
    draw(tmp_path / "s/images/img_000.png")
    put(tmp_path / "s/annotations/default.json", json.dumps(DATUMARO))
    with pytest.raises(Exception, match=r"default\.json .*Datumaro"):
        pack(tmp_path / "s", tmp_path / "p")


def table(rows, columns="Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path"):
    return "\n".join([columns, *rows, ""])


@pytest.mark.parametrize("kind", ["csv", "yolo"])
def test_a_picture_of_each_class_is_no_image_without_labels(kind, tmp_path):
    for name in NAMES:
        draw(tmp_path / f"s/Train/{name}.png")
        put(tmp_path / f"s/Train/{name}.txt", "0 0.5 0.5 0.2 0.2\n")
    for i in range(2):
        draw(tmp_path / f"s/Meta/{i}.png")
    put(tmp_path / "s/classes.txt", "cat\n")
    put(tmp_path / "s/Train.csv", table(f"100,50,1,2,9,9,1,Train/{name}.png" for name in NAMES))
    put(
        tmp_path / "s/Meta.csv",
        table(["Meta/0.png,0,1,0,3.29", "Meta/1.png,1,1,0,3.29"], "Path,ClassId,ShapeId,ColorId,SignId"),
    )
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert report.complete and any(path == "Meta.csv" for path, _ in messages(report, "label-note"))


def of_patches(root, *, said="images/v1", folders=("train", "val")):
    for split in ("train", "val"):
        names = [f"patch{i}/{split}_{i}.png" for i in range(2)]
        put(root / f"annotations/zhiyuan_objv2_{split}.json", json.dumps(coco([f"{said}/{name}" for name in names])))
        for name in names if split in folders else ():
            draw(root / split / name)
    return root


def test_paths_behind_another_machines_folders_are_seen_from_the_folder_of_the_split(tmp_path):
    report, datasets = pack(of_patches(tmp_path / "s"), tmp_path / "p")
    assert report.complete and sorted(map(len, datasets.values())) == [2, 2]


@pytest.mark.parametrize("said", ["val", "images/val", "test/images"])
def test_they_are_not_where_these_folders_say_another_split(said, tmp_path):
    root = of_patches(tmp_path / "s", folders=["train"])
    put(root / "annotations/zhiyuan_objv2_val.json", json.dumps(coco(["images/v1/patch0/train_0.png"])))
    put(root / "annotations/zhiyuan_objv2_train.json", json.dumps(coco([f"{said}/patch0/train_0.png"])))
    draw(root / "9.png")
    put(root / "annotations/more_train.json", json.dumps(coco(["9.png"])))
    report, _ = pack(root, tmp_path / "p")
    assert not report.complete and len(messages(report, "label-image")) == 2


RUNS = [
    *("runs/detect/predict", "runs/segment/predict2", "runs/pose/val", "runs/train/exp", "runs/val/exp3"),
    "sub/runs/obb/predict",
]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("kind", ["auto", "yolo"])
def test_what_a_program_wrote_is_no_part_of_the_set(kind, run, tmp_path):
    root = converted(tmp_path / "s", "labels", "0 0.5 0.5 0.2 0.2\n")
    put(root / f"{run}/labels/img_000.txt", "0 0.1 0.1 0.2 0.2\n")
    for name in ("img_000.png", "results.png"):
        draw(root / f"{run}/{name}")
    report, datasets = pack(root, tmp_path / "p", labels=kind)
    assert report.complete and [name for names in datasets.values() for name in names] == [f"{n}.png" for n in NAMES]
    (text,) = [text for path, text in messages(report, "label-note") if path == run.rpartition("/")[0]]
    assert "2 images" in text


@pytest.mark.parametrize("folder", ["runs/day1/images", "runs/train/images", "myruns/detect/x"])
def test_other_folders_called_so_are_part_of_it(folder, tmp_path):
    root = converted(tmp_path / "s", "labels", "0 0.5 0.5 0.2 0.2\n")
    draw(root / f"{folder}/more.png")
    _, datasets = pack(root, tmp_path / "p")
    assert "more.png" in [name for names in datasets.values() for name in names]


def test_a_run_that_is_packed_by_itself_is_meant(tmp_path):
    draw(tmp_path / "s/runs/detect/predict/a.png")
    put(tmp_path / "s/runs/detect/predict/a.txt", "0 0.1 0.1 0.2 0.2\n")
    _, datasets = pack(tmp_path / "s", tmp_path / "p", labels="yolo")
    assert [name for names in datasets.values() for name in names] == ["a.png"]
