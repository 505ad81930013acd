"""Files of formats that nobody reads are named where the images that may be theirs got no labels."""

from __future__ import annotations

import json

import pytest
from label_cases import BOX, WRITERS, World, draw, write
from split_cases import coco, messages, pack, put

TRAIN = World({f"train/t{i}.png": [("cat", BOX)] for i in range(4)})
VAL = [f"v{i}" for i in range(3)]
VIA = {"shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}}


def each(folder, ending, text):
    return {f"{folder}/{name}{ending}": text for name in VAL}


OF_EACH = {
    "dota": each("labelTxt/val", ".txt", "imagesource:x\ngsd:0.1\n1.0 1.0 9.0 1.0 9.0 9.0 1.0 9.0 plane 0\n"),
    "kitti": each("labels/val", ".txt", "Car 0.00 0 1.5 1.0 2.0 20.0 15.0 1.5 1.6 3.7 1.0 1.5 8.4 -1.5\n"),
    "supervisely": each("ann/val", ".png.json", json.dumps({"objects": [{"points": {"exterior": [[1, 2], [3, 4]]}}]})),
    "compact json": each("ann/val", ".json", '{"objects":[{"x":1,"y":2,"w":3,"h":4}]}'),
    "deepfashion": each("annos/val", ".json", json.dumps({"item1": {"bounding_box": [1, 2, 3, 4]}})),
    "table of each": each("labels/val", ".csv", "x1,y1,x2,y2\n1,2,3,4\n"),
    "utf-16": {path: text.encode("utf-16") for path, text in each("t/val", ".txt", "Car 1 2 3 4\n").items()},
    "matlab": each("annotations/val", ".mat", "MATLAB 5.0"),
    "npz": each("labels/val", ".npz", "PK"),
}
OF_MANY = {
    "jsonl": {"val.jsonl": "".join(json.dumps({"image": f"{name}.png", "x": [1, 2, 3, 4]}) + "\n" for name in VAL)},
    "odgt": {"x.odgt": "".join(json.dumps({"ID": name, "gtboxes": [{"fbox": [1, 2, 3, 4]}]}) + "\n" for name in VAL)},
    "wider": {"val_bbx_gt.txt": "".join(f"{name}.png\n1\n1 2 3 4 0 0 0 0 0 0\n" for name in VAL)},
    "keras": {"val_annotations.txt": "".join(f"/home/u/val/{name}.png 1,2,3,4,0 5,6,7,8,1\n" for name in VAL)},
    "via": {"via.json": json.dumps({f"{name}.png9": {"filename": f"{name}.png", "regions": [VIA]} for name in VAL})},
    "yaml": {"x.yaml": "".join(f"- path: {n}.png\n  boxes:\n  - {{a: 1, b: 3, c: 2, d: 4}}\n" for n in VAL)},
    "retina": {"val/label.txt": "".join(f"# {name}.png\n1 2 3 4 -1 -1 -1\n" for name in VAL)},
    "mot": {"val/gt/gt.txt": "1,1,1,2,3,4,1,1,1\n"},
    "parquet": {"val.parquet": "PAR1xxPAR1"},
    "spreadsheet": {"val_labels.xlsx": "PK"},
}
UNKNOWN = OF_EACH | OF_MANY


def written(kind, root, files):
    write(kind, root, TRAIN)
    top = next(root.rglob("t0.png")).parent.parent
    for name in VAL:
        draw(top / f"val/{name}.png")
    for path, text in files.items():
        put(root / path, "")
        (root / path).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


@pytest.mark.parametrize("unknown", UNKNOWN)
@pytest.mark.parametrize("kind", WRITERS)
def test_labels_in_a_format_that_nobody_reads_are_named(kind, unknown, tmp_path):
    files = UNKNOWN[unknown]
    report, _ = pack(written(kind, tmp_path / "s", files), tmp_path / "p", labels=kind)
    paths = {path.partition(",")[0] for path, _ in (*messages(report), *messages(report, "label-image"))}
    assert not paths.isdisjoint(files), report.problems
    assert not report.complete


@pytest.mark.parametrize("unknown", ["dota", "kitti", "supervisely", "via", "jsonl", "wider", "matlab"])
@pytest.mark.parametrize("kind", ["voc", "csv"])
def test_it_is_said_once_with_what_to_do(kind, unknown, tmp_path):
    files = UNKNOWN[unknown]
    report, _ = pack(written(kind, tmp_path / "s", files), tmp_path / "p", labels=kind)
    (path, text), *more = messages(report)
    assert path == next(iter(files)) and not more
    assert "v0.png" in text and "--labels-from" in text
    assert unknown in OF_MANY or "and 2 more files like it are called like images without labels" in text


OTHERS = {
    "captions": each("captions", ".txt", "a cat on 2 chairs\n"),
    "classes of each": each("cls", ".txt", "3\n"),
    "depth of all": {f"depth/{name}.npy": "x" for name in (*VAL, "t0", "t1", "t2", "t3")},
    "notes of all": {f"exif/{name}.json": '{"iso": [1, 2, 3, 4]}' for name in (*VAL, "t0", "t1", "t2", "t3")},
    "empty texts": each("texts", ".txt", ""),
    "readme": {"README.txt": "v0.png 1 2 3 4\n", "LICENSE.txt": "1 2 3 4 5 of v0.png", "readme.md": "v0.png 1 2 3 4"},
    "log": {"run.log": "v0.png 1 2 3 4 5\n"},
    "list": {"files.txt": "".join(f"{name}.png\n" for name in VAL)},
    "sums": {"md5sums.txt": "".join(f"d41d8cd98f00b204e9800998ecf8427e  {name}.png\n" for name in VAL)},
    "table of all": {"meta.csv": "image,width,height,iso,day\n" + "".join(f"t{i}.png,1,2,3,4\n" for i in range(4))},
    "classes": {"categories.json": json.dumps([{"id": i, "name": f"c{i}"} for i in range(9)])},
    "settings": {"config.yaml": "lr: 0.1\nepochs: 5\nsize: 640\nseed: 1\n"},
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_what_is_plainly_something_else_is_not_named(kind, other, tmp_path):
    report, _ = pack(written(kind, tmp_path / "s", OTHERS[other]), tmp_path / "p", labels=kind)
    assert not [text for _, text in messages(report) if "of no format" in text], report.problems
    assert report.complete or kind == "yolo"


@pytest.mark.parametrize("kind", ["voc", "csv"])
def test_labels_of_a_known_format_that_was_not_chosen_are_not_named(kind, tmp_path):
    files = {"val.json": json.dumps(coco([f"{name}.png" for name in VAL]))}
    assert pack(written(kind, tmp_path / "s", files), tmp_path / "p", labels=kind)[0].complete


TESTED = [f"v{i}" for i in range(5)]
"""More than those with labels."""


def of_both(folder, ending, text):
    names = [("train", f"t{i}") for i in range(4)] + [("val", name) for name in TESTED]
    return {f"{folder}/{split}/{name}{ending}": text for split, name in names}


CALIBRATION = "P0: 7.2e+02 0.0 6.0 0.0\n"
SIDES = {
    "a submission": {"sample_submission.csv": "id,PredictionString\n" + "".join(f"{n},1 0 0 5 5\n" for n in VAL)},
    "another submission": {"Submission.csv": "id,x,y,w,h\n" + "".join(f"{n}.png,0,0,1,1\n" for n in VAL)},
    "depth": of_both("depth", ".npy", "\x93NUMPY"),
    "depth of test": each("depth/val", ".npy", "\x93NUMPY"),
    "calibration": of_both("calib", ".txt", CALIBRATION),
    "calibration below splits": {
        path.replace("calib/train", "train/calib").replace("calib/val", "val/calib"): text
        for path, text in of_both("calib", ".txt", CALIBRATION).items()
    },
    "exif": of_both("exif", ".json", '{"iso": 100, "f": 2.8, "w": 60, "h": 50}'),
    "results": {"val_results.json": '{"map": 0.5, "ap50": 0.7, "fps": 30, "n": 100}'},
    "metrics": {"val_metrics.csv": "epoch,loss,map,p,r\n0,1,2,3,4\n"},
    "settings": {"val.yaml": "lr: 0.1\nbatch: 16\nsize: [640, 640]\nmean: [1, 2, 3]\n"},
    "features": {"val_features.npy": "x", "val/embeddings.npz": "x"},
    "poses": {"val/poses.txt": "".join(f"{name}.png 1 2 3 0 0 0 1\n" for name in VAL)},
}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("kind", ["voc", "csv", "yolo", "coco"])
def test_what_lies_beside_images_to_be_tested_is_not_named(kind, side, tmp_path):
    root = written(kind, tmp_path / "s", SIDES[side])
    top = next(root.rglob("t0.png")).parent.parent
    for name in TESTED:
        draw(top / f"val/{name}.png")
    report, _ = pack(root, tmp_path / "p", labels=kind)
    assert not [text for _, text in messages(report) if "of no format" in text], report.problems


@pytest.mark.parametrize("folder", ["labelTxt", "annotations"])
def test_labels_of_all_splits_are_named_where_those_of_one_were_converted(folder, tmp_path):
    """In a folder named for labels, those of labelled images in another split say nothing."""
    files = of_both(folder, ".txt", "1 1 9 1 9 9 1 9 plane 0\n")
    report, _ = pack(written("csv", tmp_path / "s", files), tmp_path / "p", labels="csv")
    ((path, _),) = messages(report)
    assert path == f"{folder}/val/v0.txt"


def test_poses_of_people_are_named(tmp_path):
    files = {"val/poses.txt": "".join(f"{name}.png 1 2 3 4 5 6 7 8 9 10\n" for name in VAL)}
    ((path, _),) = messages(pack(written("csv", tmp_path / "s", files), tmp_path / "p", labels="csv")[0])
    assert path == "val/poses.txt"


ALL = [f"t{i}" for i in range(4)] + TESTED
E = list(enumerate(ALL))
GPS = ["48.1 11.5 520.3 0.1 0.2 0.3", "47.9 11.2 498.0 0.3 0.1 0.2"]
EXIF = '{"iso": 100, "f": 2.8, "w": 60, "h": 50, "lat": 1.5}'
TURN = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
COLMAP = "# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME\n# POINTS2D[] as (X, Y, POINT3D_ID)\n"
FRAMES = {"camera_angle_x": 0.7, "frames": [{"file_path": f"{name}.png", "transform_matrix": TURN} for name in ALL]}


def lines(each, head="", names=ALL):
    return head + "".join(each(i, name) + "\n" for i, name in enumerate(names))


NOTES = {
    "table": {"info.csv": lines(lambda i, n: f"{n}.png,1.5,2.5,10{i},400,2019", "image,lat,lon,alt,iso,year\n")},
    "path and name": {"x.csv": lines(lambda i, n: f"a/{n}.png,{n}.png,1,2,3,4,5,6,7,8", "path,name,a,b,c,d,e,f,g,h\n")},
    "empty cells": {"info.csv": lines(lambda i, n: f"{n}.png,1,2,3,4,{'5' * (i % 2)}", "image,lat,lon,alt,iso,year\n")},
    "gps": {"gps.txt": lines(lambda i, n: f"{n}.png {GPS[i % 2]}")},
    "seconds before": {"times.txt": lines(lambda i, n: f"{1e9 + i},1,2,3,{n}.png")},
    "values missing": {"x.csv": lines(lambda i, n: f"a/{n}.png,{n}.png,1,2,3,{'4' * (i % 2)},5", "p,n,a,b,c,d,e\n")},
    "keys missing": {"x.json": json.dumps({f"{n}.png": dict.fromkeys("abcdef"[i % 2 :], 5) for i, n in E})},
    "labels of a camera": {
        "x.csv": lines(lambda i, n: f"{n}.png,1.5,2.5,3.5,4.5", "#Label,X/Longitude,Y/Latitude,Z,Yaw\n")
    },
    "in JSON": {"info.json": json.dumps({f"{n}.png": {"lat": 1.5, "lon": 2, "iso": 3, "f": 4} for n in ALL})},
    "JSON lines": {"info.jsonl": lines(lambda i, n: json.dumps({"image": f"{n}.png", "at": [1, 2, 3, i]}))},
    "YAML": {"info.yaml": lines(lambda i, n: f"- image: {n}.png\n  at: [1, 2, 3, {i}]")},
    "JSON of each": {f"meta/{name}.json": EXIF for name in ALL},
    "JSON of each split": of_both("meta", ".json", EXIF),
}
SHOTS = {f"{name}.png": {"rotation": [0.1, 0.2, 0.3], "translation": [1.0, 2.0, 3.0]} for name in ALL}
CAMERAS = {
    "colmap": {
        "sparse/0/images.txt": lines(lambda i, n: f"{i} 0.8 0 0 0 1 2 3 1 {n}.png\n" + "1 2 -1 " * (i + 2), COLMAP)
    },
    "nerf": {"transforms.json": json.dumps(FRAMES)},
    "opensfm": {
        "reconstruction.json": json.dumps([{"cameras": {}, "shots": SHOTS, "points": {"1": {"color": [1, 2, 3]}}}])
    },
    "metashape": {
        "cameras.xml": lines(
            lambda i, n: f'<camera sensor_id="0" label="{n}.png"><transform>1 0 0 0 1</transform></camera>'
        )
    },
    "captions": {
        "x.token.txt": lines(lambda i, n: "\n".join(f"{n}.png#{k}\t{k + 1} dogs run in a yard ." for k in range(5)))
    },
    "captions in a table": {
        "x.csv": lines(lambda i, n: "\n".join(f"{n}.png| {k}| {k} men in red ." for k in range(5)))
    },
}


def said_of_more(kind, files, tmp_path):
    """What is said of files beside a set of which less than half is labelled, by code."""
    root = written(kind, tmp_path / "s", files)
    top = next(root.rglob("t0.png")).parent.parent
    for name in TESTED:
        draw(top / f"val/{name}.png")
    report, _ = pack(root, tmp_path / "p", labels=kind)
    return [[text for _, text in messages(report, code) if "of no format" in text] for code in ("label", "label-note")]


@pytest.mark.parametrize("notes", NOTES | CAMERAS)
@pytest.mark.parametrize("kind", ["voc", "cvat"])
def test_notes_on_all_images_are_said_and_cost_nothing(kind, notes, tmp_path):
    problems, told = said_of_more(kind, (NOTES | CAMERAS)[notes], tmp_path)
    assert not problems
    assert len(told) == (notes in NOTES)
    assert notes in CAMERAS or ("v0.png" in told[0] and "--labels-from" in told[0])


SIDES_OF = ("left", "top", "width", "height")
VIA_ROW = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,a,b\n"
LABELS_OF_ALL = {
    "wider": {"x.txt": lines(lambda i, n: f"{n}.png\n{i + 1}\n" + "1 2 3 4 0 0\n" * (i + 1))},
    "keras": {"x.txt": lines(lambda i, n: f"/home/u/{n}.png" + " 1,2,3,4,0" * (i + 1))},
    "a row for each": {"x.txt": lines(lambda i, n: "\n".join([f"{n}.png 1 2 3 4"] * (1 + i % 2)))},
    "a table": {"x.csv": lines(lambda i, n: f"{n}.png,1,2,3,4", "image,x1,y1,x2,y2\n")},
    "a table with a row for each": {
        "x.csv": lines(lambda i, n: "\n".join([f"{n}.png,1,2,3,4"] * (1 + i % 2)), "image,a,b,c,d\n")
    },
    "odgt": {"x.odgt": lines(lambda i, n: json.dumps({"ID": n, "gtboxes": [{"fbox": [1, 2, 3, 4]}]}))},
    "via": {"via.json": json.dumps({f"{n}.png9": {"filename": f"{n}.png", "regions": [VIA]} for n in ALL})},
    "yaml": {"x.yaml": lines(lambda i, n: f"- path: {n}.png\n  boxes:\n  - {{a: 1, b: 3, c: 2, d: 4}}")},
    "called so": {"labels.txt": lines(lambda i, n: f"{n}.png 1 2 3 4")},
    "in a folder that is": {"gt/x.txt": lines(lambda i, n: f"{n}.png 1 2 3 4")},
    "via's table": {"x.csv": lines(lambda i, n: f'{n}.png,9,"{{}}",1,0,"{{""name"":""a"",""x"":1}}",5,6', VIA_ROW)},
    "svhn": {
        "x.json": json.dumps([{"filename": f"{n}.png", **{k: [5] * (1 + i % 2) for k in SIDES_OF}} for i, n in E])
    },
    "a box": {"x.json": json.dumps({f"{n}.png": dict.fromkeys(SIDES_OF, 5) for n in ALL})},
    "some boxes": {"x.json": json.dumps({f"{n}.png": [dict.fromkeys("abcd", 5)] * (1 + i % 3) for i, n in E})},
    "mpii": {"x.json": json.dumps([{"image": f"{n}.png", "joints": [[1.0, 2.0]] * 16} for n in ALL])},
    "tusimple": {"x.json": lines(lambda i, n: json.dumps({"lanes": [[1, 2, 3, 4]], "raw_file": f"a/{n}.png"}))},
    "fddb": {"x-ellipseList.txt": lines(lambda i, n: f"2002/{n}\n1\n10.5 9.1 1.2 30 20 1")},
    "celeba": {"x.txt": lines(lambda i, n: f"{n}.png 1.5 2 10 12", "9\nlefteye_x lefteye_y nose_x nose_y\n")},
    "points": {"x.csv": lines(lambda i, n: f"{n}.png,1,2,10,12", "image,eye_x,eye_y,nose_x,nose_y\n")},
    "keras, one each": {"x.txt": lines(lambda i, n: f"a/{n}.png 1,2,10,12,0")},
    "wflw": {"x.txt": lines(lambda i, n: "1.5 2.5 " * 98 + f"a/{n}.png")},
    "run lengths": {"x.csv": lines(lambda i, n: f"{n}.png,{'1 3 ' * (2 + i)},5", "ImageId,Pixels,b\n")},
    "rois of each": {f"json/{name}.json": '{"rois": [[1, 2, 3, 4]]}' for name in ALL},
    "table of each": {f"csv/{name}.csv": "x,y,w,h,name\n1,2,10,12,cat\n" for name in ALL},
    "class and box of each": {f"json/{name}.json": '{"cat": [1, 2, 10, 12]}' for name in ALL},
    "more boxes of some": {f"json/{n}.json": json.dumps([dict.fromkeys("abcd", 0.5)] * (1 + i % 2)) for i, n in E},
    "odd attributes": {"x.json": json.dumps([{"f": f"{n}.png", **dict.fromkeys("ltrb", 0.5)} for n in ALL])},
    "attributes of each": {f"xml/{n}.xml": '<a><Coord X="1" Y="2"/><Coord X="3" Y="4"/></a>' for n in ALL},
    "geojson of each": {f"shapes/{n}.geojson": '{"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}' for n in ALL},
    "json of each": {f"json/{name}.json": '{"objects": [{"x": 1, "y": 2, "w": 3, "h": 4}]}' for name in ALL},
    "text of each": {f"txt/{name}.txt": "1 1 9 1 9 9 1 9 plane 0\n" for name in ALL},
    "xml of each": {f"xml/{name}.xml": "<a><bbox><x>1</x><y>2</y><w>3</w><h>4</h></bbox></a>" for name in ALL},
}


@pytest.mark.parametrize("labels", LABELS_OF_ALL)
def test_labels_of_all_images_are_named_though_some_were_converted(labels, tmp_path):
    problems, _ = said_of_more(
        "labelme" if ".xml" in str(LABELS_OF_ALL[labels]) else "voc", LABELS_OF_ALL[labels], tmp_path
    )
    assert len(problems) == 1 and "v0.png" in problems[0]


NAMED_OTHERWISE = {
    "keras": lines(lambda i, n: f"val/{n}.png 1,2,10,12,0", names=VAL),
    "whole paths": lines(lambda i, n: f"/home/u/d/val/{n}.png 1,2,10,12,0", names=VAL),
    "deepfashion": lines(lambda i, n: f"val/{n}.png 1 2 10 12", "3\nimage_name x_1 y_1 x_2 y_2\n", VAL),
    "tabs": lines(lambda i, n: f"val/{n}.png\t1\t2\t10\t12", names=VAL),
    "name behind": lines(lambda i, n: f"1 2 10 12 {n}.png", names=VAL),
    "many numbers before it": lines(lambda i, n: "1.5 2.5 " * 98 + f"{n}.png", names=VAL),
    "without extension behind": lines(lambda i, n: f"cat 1 2 10 12 {n}", names=VAL),
    "json by path": json.dumps({f"val/{n}.png": [1, 2, 10, 12] for n in VAL}),
    "json lines": lines(lambda i, n: json.dumps({"file": f"val/{n}.png", "bbox": [1, 2, 10, 12]}), names=VAL),
    "json list": json.dumps([{"image": f"val/{n}.png", "b": [{"l": 1, "t": 2, "r": 3, "u": 4}]} for n in VAL]),
    "semicolons": lines(lambda i, n: f"val/{n}.png;cat;1;2;10;12", "path;kind;left;top;w;h\n", VAL),
    "quoted": lines(lambda i, n: f'"val/{n}.png","1","2","10","12"', names=VAL),
    "label studio": json.dumps(
        [{"data": {"image": f"/data/upload/1/0a1b2c3d-{n}.png"}, "v": [1, 2, 3, 4]} for n in VAL]
    ),
    "label studio's files": json.dumps([{"data": {"image": f"/d/?d=val/{n}.png"}, "v": [1, 2, 3, 4]} for n in VAL]),
}


@pytest.mark.parametrize("said", NAMED_OTHERWISE)
@pytest.mark.parametrize("ending", ["txt", "dat"])
def test_images_are_named_by_path_or_behind_their_numbers(said, ending, tmp_path):
    problems, _ = said_of_more("voc", {f"more.{ending}": NAMED_OTHERWISE[said]}, tmp_path)
    assert len(problems) == 1 and "v0.png" in problems[0]


MANY = [f"m{i:04}" for i in range(900)]


def of_many(tmp_path, labelled, text):
    """What is said of one file beside many images, some of which are labelled, by code."""
    for name in MANY:
        draw(tmp_path / f"s/images/{name}.png")
        if labelled(name):
            put(tmp_path / f"s/labels/{name}.txt", "0 0.5 0.5 0.2 0.2\n")
    put(tmp_path / "s/x.txt", text)
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels="yolo")
    return [[one for _, one in messages(report, code) if "of no format" in one] for code in ("label", "label-note")]


def is_third(name):
    return int(name[1:]) % 3 == 0


def test_big_notes_are_told_from_labels_by_what_is_seen_of_them(tmp_path):
    """All others are as many as those that are seen."""
    problems, told = of_many(tmp_path, is_third, lines(lambda i, n: f"{n}.png" + f" {i}.123456" * 30, names=MANY))
    assert not problems and len(told) == 1


def test_labels_behind_the_beginning_of_a_big_file_are_seen(tmp_path):
    text = lines(lambda i, n: f"{n}.png" + " 1,2,3,4,0" * (9 + i % 30), names=MANY)
    problems, _ = of_many(tmp_path, lambda name: name < "m0300", text)
    assert len(problems) == 1


ROTATION = "ImageID,OriginalURL,OriginalSize,Rotation\n"
PASSED_BY = {
    "rotation": ({"x.csv": lines(lambda i, n: f"{n},https://a.b/{n}.png,12345,0.0", ROTATION)}, 0),
    "sizes": ({"x.csv": lines(lambda i, n: f"{n}.png,60,50", "image,a,b\n")}, 0),
    "notes": ({"x.csv": lines(lambda i, n: f"{n}.png,{GPS[0].replace(' ', ',')}", "image,a,b,c,d,e,f\n")}, 1),
    "notes in JSON": ({"x.json": json.dumps({f"{n}.png": dict.fromkeys("abcde", 5) for n in ALL})}, 1),
    "cameras": (CAMERAS["metashape"], 0),
}


@pytest.mark.parametrize("passed", PASSED_BY)
@pytest.mark.parametrize("kind", ["csv", "voc", "coco", "labelme"])
def test_files_on_labelled_images_that_are_called_like_label_files_cost_nothing(kind, passed, tmp_path):
    files, count = PASSED_BY[passed]
    write(kind, tmp_path / "s", World({f"{n}.png": [("cat", BOX)] for n in ALL}))
    for path, text in files.items():
        put(tmp_path / "s" / path, text)
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert report.complete and not messages(report)
    assert len([text for _, text in messages(report, "label-note") if "taken for notes" in text]) <= count


@pytest.mark.parametrize("head", ["image,class,a,b,c,d", "image,bbox,b,c,d", "image,left,top,width,height"])
def test_a_table_of_boxes_in_another_spelling_is_named_beside_one_that_is_read(head, tmp_path):
    write("csv", tmp_path / "s", World({f"{n}.png": [("cat", BOX)] for n in ALL}))
    put(
        tmp_path / "s/more.csv",
        lines(lambda i, n: ",".join([f"{n}.png", *"123456"][: head.count(",") + 1]), f"{head}\n"),
    )
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels="csv")
    assert [path for path, _ in messages(report) if path.startswith("more.csv")]
