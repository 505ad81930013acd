"""Two label files of one image, by its bare name: if they say other objects of it, it's named, in all formats."""

from __future__ import annotations

import json

import pytest
from label_cases import draw
from set_cases import OF_ALL
from split_cases import messages, pack, put

NAMES = ["1.png", "2.png", "3.png"]
CALLED = [
    *(("cam1", "cam2", "cam_2"), ("day", "night", "nighttime"), ("l", "r", "left"), ("front", "back", "CAM_BACK")),
    *(("task1", "task2", "2"), ("val1", "val2", "val2"), ("train2014", "train2017", "train2017")),
    *(("full", "set", "full"), ("cam1", "cam3", "cam2"), ("alice", "bob", "street"), ("cars", "dogs", "cars")),
    *(("cam1_predictions", "cam2_predictions", "cam2"), ("train_a", "train_b", "train")),
]
"""What two label files are called, and the folder of the images."""


def two_files(root, kind, files, folder, said):
    """Images in a folder, and two label files, each with names and a class."""
    ending = OF_ALL[kind][0].partition(".")[2]
    for name in NAMES:
        draw(root / folder / name)
    for file, (names, label) in zip(files, said, strict=True):
        put(root / f"{file}.{ending}", OF_ALL[kind][1](names, label))


@pytest.mark.parametrize("place", ["annotations/{}", "{}", "annotations/instances_{}", "images/{folder}/{}"])
@pytest.mark.parametrize("called", CALLED, ids=" ".join)
@pytest.mark.parametrize("kind", OF_ALL)
def test_objects_that_differ_are_named_whatever_files_are_called(kind, called, place, tmp_path):
    *files, folder = called
    said = (NAMES, "outer"), (NAMES, "inner")
    two_files(tmp_path / "s", kind, [place.format(one, folder=folder) for one in files], f"images/{folder}", said)
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    said = [f"{path} {text}" for code in ("label", "label-image") for path, text in messages(report, code)]
    assert not report.complete and all(any(f"{one}." in text for text in said) for one in files), said


@pytest.mark.parametrize("called", [("cam1", "cam2"), ("day", "night"), ("a", "b")], ids=" ".join)
@pytest.mark.parametrize("kind", OF_ALL)
def test_the_folder_of_the_images_may_be_what_is_packed(kind, called, tmp_path):
    said = (NAMES, "outer"), (NAMES, "inner")
    two_files(tmp_path / "s", kind, [f"annotations/{one}" for one in called], f"images/{called[1]}", said)
    labels_from = str(tmp_path / "s/annotations")
    report, _ = pack(tmp_path / f"s/images/{called[1]}", tmp_path / "p", labels_from=labels_from)
    assert not report.complete and {called[0]} <= {path.partition(".")[0] for path, _ in messages(report)}


@pytest.mark.parametrize("said", ["same", "disjoint", "some", "more"])
@pytest.mark.parametrize("called", [("street", "signs"), ("cam1", "alice"), ("batch1", "cars"), ("2024", "2024_v3")])
@pytest.mark.parametrize("place", ["annotations/{}", "{}", "labels/{}"])
@pytest.mark.parametrize("kind", OF_ALL)
def test_two_files_of_the_only_folder_are_taken(kind, place, called, said, tmp_path):
    """One is called like it; the other one has a word of its own, and nothing else that it could be of."""
    both = {
        "same": (NAMES, NAMES),
        "disjoint": (NAMES[:1], NAMES[1:]),
        "some": (NAMES[:2], NAMES[1:]),
        "more": (NAMES, NAMES[:1]),
    }[said]
    files = [place.format(one) for one in called]
    two_files(tmp_path / "s", kind, files, f"images/{called[0]}", [(names, "inner") for names in both])
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete, messages(report)
    assert {name for some in found.values() for name in some} == {*NAMES}
    assert report.objects >= len(NAMES)


@pytest.mark.parametrize("other", ["signs_predicted", "detections_yolo"])
@pytest.mark.parametrize("kind", ["coco"])
def test_predictions_beside_labels_stay_on_their_own(kind, other, tmp_path):
    two_files(tmp_path / "s", kind, ["street", other], "images/street", [(NAMES, "outer"), (NAMES, "inner")])
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and len(found) == 2, messages(report)


def test_both_count_if_they_say_the_folder(tmp_path):
    """As the message has it."""
    names = [f"images/street/{name}" for name in NAMES]
    two_files(tmp_path / "s", "coco", ["alice", "bob"], "images/street", [(names, "outer"), (names, "inner")])
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and found == {"alice": NAMES, "bob": NAMES}


@pytest.mark.parametrize("apart", [0.0005, 0.4, 1.0, 1.5])
@pytest.mark.parametrize("label", ["car", "Car"])
def test_places_that_are_rounded_otherwise_are_the_same(apart, label, tmp_path):
    """By another program, in whole pixels, or as 32-bit numbers; classes by capitals."""
    for name in NAMES:
        draw(tmp_path / "s/images" / name)
    for file, shift, title in (("fold0", 0.0, "car"), ("fold1", apart, label)):
        images = [{"id": i, "file_name": name, "width": 100, "height": 50} for i, name in enumerate(NAMES)]
        boxes = [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [2 + i + shift, 3, 10, 8], "area": 80, "iscrowd": 0}
            for i in range(len(NAMES))
        ]
        content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": title}]}
        put(tmp_path / "s" / f"{file}.json", json.dumps(content))
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete is (apart <= 1)
