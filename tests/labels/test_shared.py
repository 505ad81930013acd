"""Images that several label files have: of which split each is, and that none is packed twice without a word."""

from __future__ import annotations

import json

import pytest
from label_cases import BOX, World, coco_of, draw, dump
from set_cases import OF_ALL, classes
from split_cases import messages, pack, put

import blobdir
from blobdir.converting import ConvertOptions, convert

NAMES = {"train": ["1.png", "2.png"], "val": ["3.png"]}
EVERY = [name for some in NAMES.values() for name in some]


def sets(root, kind, every, *, images="images", below=False, label="inner", val="inner"):
    """Images, a file of all and one of each split; gives the extension of the files."""
    file, text = OF_ALL[kind]
    kind_of_file = file.partition(".")[2]
    for split, names in NAMES.items():
        for name in names:
            draw(root / images / (split if below else "") / name)
        put(root / f"annotations/{split}.{kind_of_file}", text(names, val if split == "val" else "inner"))
    put(root / f"annotations/{every}.{kind_of_file}", text(EVERY, label))
    return kind_of_file


@pytest.mark.parametrize("below", [True, False], ids=["folders of splits", "one folder"])
@pytest.mark.parametrize("every", ["all", "annotations", "instances_default", "trainval", "labels", "full", "raccoon"])
@pytest.mark.parametrize("kind", OF_ALL)
def test_an_image_of_a_file_of_all_is_of_its_split(kind, every, below, tmp_path):
    ending = sets(tmp_path / "s", kind, every, below=below)
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete, report.problems
    assert found == NAMES and report.objects == 3
    notes = messages(report, "label-note")
    assert {path for path, _ in notes} == {f"annotations/{every}.{ending}"}
    assert [text.partition(" too")[0] for _, text in notes] == [
        f"has 2 images that are in annotations/train.{ending}",
        f"has 1 image that is in annotations/val.{ending}",
    ]


@pytest.mark.parametrize("kind", OF_ALL)
def test_what_it_says_otherwise_is_there_too_and_said(kind, tmp_path):
    ending = sets(tmp_path / "s", kind, "all", val="outer")
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert found == NAMES
    assert classes(tmp_path / "p") == {"1.png": ["inner"], "2.png": ["inner"], "3.png": ["outer", "inner"]}
    ((path, said),) = messages(report)
    assert path == f"annotations/all.{ending}" and f"of 1 image than annotations/val.{ending}" in said
    said = [text for _, text in messages(report, "label-note") if "other objects of it" in text]
    assert len(said) == 1 and f"annotations/val.{ending}" in said[0]
    dry = blobdir.pack(tmp_path / "s", tmp_path / "q", blobdir.PackOptions(labels="auto", processes=1), dry_run=True)
    assert dry.problems == report.problems


@pytest.mark.parametrize("below", [True, False], ids=["folders of splits", "one folder"])
@pytest.mark.parametrize("other", ["predictions_yolov8", "bob", "corrected", "detections", "labels", "all"])
@pytest.mark.parametrize("kind", OF_ALL)
def test_a_second_opinion_never_becomes_part_of_a_split(kind, other, below, tmp_path):
    """It's on its own, and that is said, or it's named; whatever it's called."""
    ending = sets(tmp_path / "s", kind, other, below=below, label="outer")
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert {split: found.pop(split) for split in NAMES} == NAMES
    project = blobdir.open_project(tmp_path / "p")
    for split, names in NAMES.items():
        for name in names:
            assert [one["classTitle"] for one in project[split].annotation(name)["objects"]] == ["inner"]
    assert report.complete is ("detections" in other or "predictions" in other) or below
    if found:
        assert list(found.values()) == [EVERY]
        assert any("packed in both" in text for _, text in messages(report, "label-note"))
        said = [text for _, text in messages(report) if "in a dataset of each" in text and "--labels-from" in text]
        assert len(said) == (0 if report.complete else len(NAMES))
    else:
        assert not found and below
        assert {path for path, _ in messages(report, "label")} == {f"annotations/{other}.{ending}"}
    dry = blobdir.pack(tmp_path / "s", tmp_path / "q", blobdir.PackOptions(labels="auto", processes=1), dry_run=True)
    assert dry.problems == report.problems


@pytest.mark.parametrize("kind", OF_ALL)
def test_an_image_that_only_the_file_of_all_has(kind, tmp_path):
    ending = sets(tmp_path / "s", kind, "all")
    draw(tmp_path / "s/images/4.png")
    put(tmp_path / f"s/annotations/all.{ending}", OF_ALL[kind][1]([*EVERY, "4.png"], "inner"))
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and report.images == 4 and report.objects == 4
    assert {name: found[name] for name in NAMES} == NAMES


@pytest.mark.parametrize("names", [("fold0_train", "fold1_train"), ("train", "val"), ("alice", "bob")])
@pytest.mark.parametrize("kind", OF_ALL)
def test_an_image_of_two_splits_is_in_both_and_it_is_said(kind, names, tmp_path):
    file, text = OF_ALL[kind]
    ending = file.partition(".")[2]
    for name in EVERY:
        draw(tmp_path / "s/images" / name)
    for name in names:
        put(tmp_path / f"s/annotations/{name}.{ending}", text(EVERY, "inner"))
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete
    if len(found) == 1:  # these names say a split in COCO's files only
        assert names[0] in ("alice", "fold0_train") and kind != "coco" and report.objects == 3
        return
    assert len(found) == 2 and report.images == 6
    notes = messages(report, "label-note")
    assert [(path, "packed in both" in text) for path, text in notes] == [(f"annotations/{names[1]}.{ending}", True)]


def coco_of_all(root, number, **more):
    """COCO files of all and of train, whose numbers differ."""
    value = coco_of(World({"a.png": [("cat", BOX)], "b.png": [("cat", BOX), ("dog", BOX)]}, ["cat", "dog"]))
    for name in ("a.png", "b.png"):
        draw(root / "images" / name)
    dump(root / "annotations/instances_train.json", value)
    other = json.loads(json.dumps(value)) | more
    for image in other["images"]:
        image["id"] += number
    for one in other["annotations"]:
        one["id"] += number
        one["image_id"] += number
    dump(root / "annotations/instances_all.json", other)
    return value


@pytest.mark.parametrize("number", [0, 100])
def test_cocos_numbers_are_those_of_the_split(number, tmp_path):
    value = coco_of_all(tmp_path / "s", number)
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and found == {"train": ["a.png", "b.png"]} and report.objects == 3
    convert(tmp_path / "p", tmp_path / "o", ConvertOptions("coco"))
    back = json.loads((tmp_path / "o/train/annotations/coco_instances.json").read_bytes())
    back["annotations"].sort(key=lambda one: one["id"])
    assert back == value


def test_equal_objects_of_two_files_of_a_split_are_one_whatever_their_numbers(tmp_path):
    coco_of_all(tmp_path / "s", 0)
    path = tmp_path / "s/annotations/instances_all.json"
    value = json.loads(path.read_bytes())
    for one in value["annotations"]:
        one["id"] += 50
    path.unlink()
    dump(path.with_name("annotations_train.json"), value)
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.objects == 3 and not report.problems


def test_what_a_file_of_all_says_of_itself_and_of_images(tmp_path):
    """It's kept, or said."""
    other = [{"id": 1, "name": "CC BY"}]
    coco_of_all(tmp_path / "s", 100, licenses=other)
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    (text,) = [text for _, text in messages(report, "label-note") if "of itself" in text]
    assert text.startswith("its licenses wasn't kept, as annotations/instances_train.json says")
    path = tmp_path / "s/annotations/instances_train.json"
    value = json.loads(path.read_bytes())
    for image in value["images"]:
        del image["license"]
    dump(path, value)
    report, _ = pack(tmp_path / "s", tmp_path / "q")
    assert [text.partition(" wasn't")[0] for _, text in messages(report)] == ["its license of 2 images"]
    del value["info"], value["licenses"]
    dump(path, value)
    pack(tmp_path / "s", tmp_path / "r")
    kept = json.loads((tmp_path / "r/train/label_source.json").read_bytes())["file"]
    assert kept["licenses"] == other and kept["info"]["year"] == 2020
