"""Objects of two label files that differ never come together on one image without a problem."""

from __future__ import annotations

import json

import pytest
from label_cases import draw
from set_cases import KINDS, OF_ALL, OF_ONE, classes
from split_cases import coco, messages, pack, put

import blobdir
from blobdir.cli import main
from blobdir.errors import PackError

NAMES = ["1.png", "2.png", "3.png", "4.png"]
PAIRS = [
    *(("labels", "detections"), ("a", "a (1)"), ("train", "train (1)"), ("instances_train", "annotations_train")),
    *(("alice", "bob"), ("all", "train"), ("annotations/l", "gt/l"), ("train_a", "train_b")),
    *(("labels", "labels_new"), ("l", "x/l"), ("val", "train"), ("predictions", "labels")),
]
"""Names of two label files; in some formats they say a split, or a dataset."""


def two_files(root, kind, names, *said):
    """Images, and two label files of a format, each as it's said: name of an image -> its classes."""
    for name in NAMES:
        draw(root / "images" / name)
    if kind in OF_ONE:
        put(root / "classes.txt", "outer\ninner\n")
    paths = []
    for stem, some in zip(names, said, strict=True):
        if kind in OF_ONE:
            folder, ending, text = OF_ONE[kind]
            place = root / (folder if not paths else f"{stem}/{folder}")
            for name, label in some.items():
                put(place / f"{name.partition('.')[0]}.{ending}", text(name, label))
            paths.append(place)
            continue
        file, text = OF_ALL[kind]
        paths.append(root / f"{stem}.{file.partition('.')[2]}")
        put(paths[-1], text_of(kind, some))
    return paths


def text_of(kind, some):
    """The text of a file that has one object, or several, of each image."""
    if kind == "coco":
        value = coco(list(some))
        names = sorted({one for said in some.values() for one in said.split("+")})
        value["categories"] = [{"id": i, "name": name} for i, name in enumerate(names)]
        value["annotations"] = [
            {"id": 100 * i + j, "image_id": i, "category_id": names.index(label), "bbox": [1, 1, 8, 8]}
            for i, said in enumerate(some.values())
            for j, label in enumerate(said.split("+"))
        ]
        return json.dumps(value)
    if kind == "createml":
        place = {"x": 5, "y": 5, "width": 8, "height": 8}
        things = {n: [{"label": one, "coordinates": place} for one in said.split("+")] for n, said in some.items()}
        return json.dumps([{"image": name, "annotations": all_} for name, all_ in things.items()])
    if kind == "cvat":
        box = '<box label="{}" xtl="1" ytl="1" xbr="9" ybr="9"></box>'
        return (
            "<annotations>"
            + "".join(
                f'<image name="{name}">{"".join(map(box.format, said.split("+")))}</image>'
                for name, said in some.items()
            )
            + "</annotations>"
        )
    rows = (f"{name},{one},1,1,9,9\n" for name, said in some.items() for one in said.split("+"))
    return "filename,class,xmin,ymin,xmax,ymax\n" + "".join(rows)


def together(target):
    """Whether objects of both are on one image, in one dataset."""
    return any(
        len({one["classTitle"] for one in dataset.annotation(name)["objects"]}) > 1
        for dataset in blobdir.open_project(target).values()
        for name in dataset
    )


@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
@pytest.mark.parametrize("differing", [1, 4])
@pytest.mark.parametrize("names", PAIRS, ids=" ".join)
@pytest.mark.parametrize("kind", KINDS)
def test_objects_that_differ_never_come_together_silently(kind, names, differing, turned, tmp_path):
    every = dict.fromkeys(NAMES, "inner")
    other = {name: "outer" if i < differing else "inner" for i, name in enumerate(NAMES)}
    two_files(tmp_path / "s", kind, names, *((other, every) if turned else (every, other)))
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert sum(report.datasets.values()) >= len(NAMES)
    if together(tmp_path / "p"):
        assert not report.complete
        (said,) = [f"{path} {text}" for path, text in messages(report) if "those of both are there together" in text]
        assert f"of {differing} image" in said and all(name in said for name in names) and "--labels-from" in said
    dry = blobdir.pack(tmp_path / "s", tmp_path / "q", blobdir.PackOptions(labels="auto", processes=1), dry_run=True)
    assert dry.problems == report.problems


@pytest.mark.parametrize("said", ["equal", "more", "other images", "none"])
@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
@pytest.mark.parametrize("names", [("a", "a (1)"), ("instances_train", "annotations_train")], ids=" ".join)
@pytest.mark.parametrize("kind", OF_ALL)
def test_files_that_say_nothing_against_each_other(kind, names, turned, said, tmp_path):
    """They are equal, one has all that the other one has, or they are of other images."""
    every = dict.fromkeys(NAMES, "inner")
    some = {
        "equal": dict(every),
        "more": dict.fromkeys(NAMES[:3], "inner+outer"),
        "other images": {},
        "none": {},
    }[said]
    if said == "other images":
        every, some = dict.fromkeys(NAMES[:2], "inner"), dict.fromkeys(NAMES[2:], "outer")
    if said == "none":
        every, some = dict.fromkeys(NAMES[:1], "inner"), dict.fromkeys(NAMES[1:], "inner")
    two_files(tmp_path / "s", kind, names, *((some, every) if turned else (every, some)))
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete, messages(report)


@pytest.mark.parametrize("kind", OF_ALL)
def test_each_says_more_of_another_image(kind, tmp_path):
    """Neither has all that the other one has."""
    one = {"1.png": "inner+outer", "2.png": "inner"}
    other = {"1.png": "inner", "2.png": "inner+outer"}
    two_files(tmp_path / "s", kind, ("annotations_train", "instances_train"), one, other)
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert classes(tmp_path / "p")["1.png"] == ["inner", "outer"]
    ((path, said),) = messages(report)
    assert path.startswith("annotations_train.") and "of 2 images than instances_train." in said


@pytest.mark.parametrize("kind", OF_ALL)
def test_the_advice_helps_and_the_exit_status_says_it(kind, tmp_path):
    first, _ = two_files(
        tmp_path / "s",
        kind,
        ("annotations_train", "instances_train"),
        dict.fromkeys(NAMES, "inner"),
        dict.fromkeys(NAMES, "outer"),
    )
    command = ["pack", str(tmp_path / "s"), str(tmp_path / "p"), "--labels", kind]
    with pytest.raises(SystemExit, match="7"):
        main(command)
    with pytest.raises(PackError, match="together"):
        pack(tmp_path / "s", tmp_path / "q", strict=True)
    assert not (tmp_path / "q").exists()
    report, _ = pack(tmp_path / "s", tmp_path / "r", labels=kind, labels_from=str(first))
    assert report.complete and set(map(tuple, classes(tmp_path / "r").values())) == {("inner",)}


@pytest.mark.parametrize("end", ["train", "val2017"])
@pytest.mark.parametrize("stem", ["instances", "person_keypoints", "keypoints"])
@pytest.mark.parametrize("label", ["outer", "inner"])
def test_cocos_parts_that_are_made_to_be_used_together(label, stem, end, tmp_path):
    """Things and what is around them have no class in common."""
    stems = f"{stem}_train", f"stuff_{end}"
    two_files(tmp_path / "s", "coco", stems, dict.fromkeys(NAMES, "inner"), dict.fromkeys(NAMES, label))
    _elsewhere(tmp_path / f"s/{stems[1]}.json")
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete is (label == "outer" and end == "train"), len(found)


def _elsewhere(path):
    """Have the boxes of a file somewhere else."""
    value = json.loads(path.read_text())
    value["annotations"] = [one | {"bbox": [2, 2, 5, 5], "id": one["id"] + 1000} for one in value["annotations"]]
    path.write_text(json.dumps(value))


def test_cocos_parts_of_a_year_all_together(tmp_path):
    """People are in two of them, once with keypoints."""
    stems = "instances_train2017", "person_keypoints_train2017"
    two_files(tmp_path / "s", "coco", stems, *[dict.fromkeys(NAMES, "inner")] * 2)
    path = tmp_path / f"s/{stems[1]}.json"
    value = json.loads(path.read_text())
    value["categories"] = [one | {"keypoints": ["nose"], "skeleton": []} for one in value["categories"]]
    value["annotations"] = [one | {"keypoints": [3, 3, 2], "num_keypoints": 1} for one in value["annotations"]]
    path.write_text(json.dumps(value))
    put(tmp_path / "s/stuff_train2017.json", text_of("coco", dict.fromkeys(NAMES, "outer")))
    _elsewhere(tmp_path / "s/stuff_train2017.json")
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and list(found) == ["train2017"], report.problems


@pytest.mark.parametrize("stem", ["instances", "person_keypoints"])
def test_other_parts_of_coco_that_differ_are_named(stem, tmp_path):
    stems = f"{stem}_train", "keypoints_train"
    two_files(tmp_path / "s", "coco", stems, dict.fromkeys(NAMES, "inner"), dict.fromkeys(NAMES, "outer"))
    assert not pack(tmp_path / "s", tmp_path / "p")[0].complete
