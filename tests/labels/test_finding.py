"""Which image a label file means: the rule by itself, and that all formats have it."""

from __future__ import annotations

import sys
from contextlib import suppress
from unicodedata import normalize

import pytest
from label_cases import BOX, WRITERS, World, draw, dump, write

import blobdir
from blobdir.labels.claims import Meaning, contradicted
from blobdir.labels.files import LabelFiles
from blobdir.labels.finding import Images
from blobdir.labels.model import Box, LabelError, MissingError, UnclearError
from blobdir.labels.splitnames import split_in_name

TWO = ["x/1.jpg", "y/1.jpg", "x/2.jpg"]
SPLITS = ["images/train/1.jpg", "images/val/1.jpg", "images/val/2.jpg"]
PARTS = ["images_train/1.jpg", "images_val/1.jpg", "images_val/2.jpg"]
TREES = ["A/JPEGImages/1.jpg", "B/JPEGImages/1.jpg", "B/JPEGImages/2.jpg"]
CLASSES = ["Train/train/1.jpg", "Train/bus/2.jpg", "Test/bus/1.jpg", "Test/train/3.jpg"]
TWINS_OF_ONE_NAME = [normalize("NFC", "ä.jpg"), normalize("NFD", "ä.png")]
MISSING, UNCLEAR = MissingError, UnclearError
CASES = [
    # Images, folder of the label file, what it says, its split -> the image
    (["a.jpg"], "", "a.jpg", "", "a.jpg"),
    (["a.jpg"], "annotations", "a.jpg", "", "a.jpg"),
    (["a.jpg"], "", "dir/a.jpg", "", "a.jpg"),
    (["a.jpg"], "", "/home/me/dir/a.jpg", "", "a.jpg"),
    (["a.jpg"], "", "C:\\dir\\a.jpg", "", "a.jpg"),
    (["a.jpg"], "", "https://server/dir/a.jpg?size=1", "", "a.jpg"),
    (["x/a.jpg"], "", "gs://bucket/x/a.jpg", "", "x/a.jpg"),
    (["a.jpg"], "", "a", "", "a.jpg"),
    (["a.JPG"], "", "a.jpg", "", "a.JPG"),
    (["a.JPG"], "", "a", "", "a.JPG"),
    (["A.jpg"], "", "a.jpg", "", MISSING),
    (["a.jpg"], "", "a.png", "", MISSING),
    (["a.jpg", "a.1.jpg"], "", "a.1", "", "a.1.jpg"),
    (["a.jpg"], "", "a.1", "", MISSING),
    (["a.jpg", "a.png"], "", "a", "", UNCLEAR),
    (["a.jpg", "a.JPG"], "", "a.jpg", "", "a.jpg"),
    ([normalize("NFD", "ä.jpg")], "", normalize("NFC", "ä.jpg"), "", normalize("NFD", "ä.jpg")),
    (["x/a\\b.jpg"], "", "a\\b.jpg", "", "x/a\\b.jpg"),
    # Two of one name
    (TWO, "", "1.jpg", "", UNCLEAR),
    (TWO, "", "2.jpg", "", "x/2.jpg"),
    (TWO, "", "y/1.jpg", "", "y/1.jpg"),
    (TWO, "", "y/2.jpg", "", MISSING),
    (TWO, "", "z/2.jpg", "", MISSING),
    (TWO, "", "/data/y/2.jpg", "", MISSING),
    (TWO, "", "/data/x/2.jpg", "", "x/2.jpg"),
    (TWO, "x", "1.jpg", "", "x/1.jpg"),
    (TWO, "y", "2.jpg", "", MISSING),
    (TWO, "y", "x/2.jpg", "", "x/2.jpg"),
    (TWO, "y", "../x/2.jpg", "", "x/2.jpg"),
    (TWO, "y", "..\\x\\2.jpg", "", "x/2.jpg"),
    (TWO, "x/labels", "1", "", "x/1.jpg"),
    (TWO, "y/labels", "2", "", MISSING),
    (TWO, "labels/y", "1", "", "y/1.jpg"),
    (TWO, "labels/y", "2", "", MISSING),
    (TWO, "labels/z", "2", "", MISSING),
    (TWO, "z", "2.jpg", "", MISSING),
    # Below and above
    (["x/y/1.jpg"], "x", "1.jpg", "", "x/y/1.jpg"),
    (["x/y/1.jpg"], "x", "y/1.jpg", "", "x/y/1.jpg"),
    (["x/y/1.jpg"], "x", "z/1.jpg", "", MISSING),
    (["1.jpg", "x/1.jpg"], "x", "1.jpg", "", "x/1.jpg"),
    (["1.jpg", "x/1.jpg"], "", "1.jpg", "", "1.jpg"),
    (["1.jpg", "x/2.jpg"], "x", "1.jpg", "", MISSING),
    (["1.jpg", "cam/2.jpg"], "", "cam/1.jpg", "", MISSING),
    (["x/cam/1.jpg", "cam/1.jpg"], "x", "cam/1.jpg", "", "x/cam/1.jpg"),
    (["x/cam/2.jpg", "cam/1.jpg"], "x", "cam/1.jpg", "", MISSING),
    (["images/x/1.jpg", "images/y/1.jpg"], "annotations", "x/1.jpg", "", "images/x/1.jpg"),
    (["a/x/1.jpg", "b/x/1.jpg"], "annotations", "x/1.jpg", "", UNCLEAR),
    # Whole paths of another machine, in the folder that all images lie in
    (["s/x/1.jpg", "s/2.jpg"], "s", "/home/me/t/x/1.jpg", "", "s/x/1.jpg"),
    (["s/x/1.jpg", "s/2.jpg"], "s", "/home/me/t/2.jpg", "", "s/2.jpg"),
    (["s/x/1.jpg", "s/2.jpg"], "s/labels", "C:\\t\\2.jpg", "", "s/2.jpg"),
    (["s/x/1.jpg", "s/2.jpg"], "s", "/home/me/x/2.jpg", "", MISSING),
    (["s/x/1.jpg", "s/2.jpg", "9.jpg"], "s", "/home/me/t/x/1.jpg", "", MISSING),
    (["train/x/1.jpg", "train/2.jpg"], "train", "/home/me/val/2.jpg", "", MISSING),
    (["train/x/1.jpg", "train/2.jpg"], "train", "/home/me/val/x/1.jpg", "", MISSING),
    (["train/x/1.jpg", "train/2.jpg"], "train", "/home/me/train/x/2.jpg", "", MISSING),
    # Data sets beside each other
    (TREES, "A/Annotations", "1.jpg", "", "A/JPEGImages/1.jpg"),
    (TREES, "A/Annotations", "2.jpg", "", MISSING),
    (["B/img/1.jpg"], "A/ann", "1.jpg", "", MISSING),
    (["coco/images/1.jpg", "yolo/images/1.jpg"], "coco/annotations", "1.jpg", "", "coco/images/1.jpg"),
    (["annotations/panoptic/1.png", "train/1.jpg"], "annotations", "1.jpg", "", "train/1.jpg"),
    # Splits
    (SPLITS, "annotations", "1.jpg", "train", "images/train/1.jpg"),
    (SPLITS, "annotations", "1.jpg", "train2017", "images/train/1.jpg"),
    (SPLITS, "annotations", "2.jpg", "train", MISSING),
    (SPLITS, "annotations", "2.jpg", "train2017", MISSING),
    (SPLITS, "annotations", "2.jpg", "", "images/val/2.jpg"),
    (SPLITS, "annotations", "images/val/2.jpg", "train", "images/val/2.jpg"),
    (SPLITS, "labels/train", "2", "", MISSING),
    (PARTS, "labels_train", "1", "", "images_train/1.jpg"),
    (PARTS, "labels_train", "2", "", MISSING),
    (["1.jpg", "train/1.jpg"], "", "1.jpg", "train", UNCLEAR),
    (["images/1.jpg", "images/train/1.jpg"], "annotations", "1.jpg", "train", UNCLEAR),
    (["all/1.jpg"], "annotations", "1.jpg", "my_val", "all/1.jpg"),
    (["train/1.jpg"], "annotations", "1.jpg", "my_val", MISSING),
    (["test/1.jpg"], "", "1.jpg", "train", MISSING),
    (["images/train2017/1.jpg", "images/val2017/2.jpg"], "", "train2017/1.jpg", "val", "images/train2017/1.jpg"),
    (["images/train2017/1.jpg"], "", "train2017/1.jpg", "val", "images/train2017/1.jpg"),
    # Classes that are called like splits
    (CLASSES, "annotations", "train/1.jpg", "Train", "Train/train/1.jpg"),
    (CLASSES, "annotations", "train/1.jpg", "Test", MISSING),
    (CLASSES, "annotations", "train/3.jpg", "Train", MISSING),
    (CLASSES, "annotations", "train/3.jpg", "Test", "Test/train/3.jpg"),
    (CLASSES, "annotations", "3.jpg", "Test", "Test/train/3.jpg"),
    (CLASSES, "annotations", "3.jpg", "Train", MISSING),
    (["set/train/train/1.jpg", "set/train/test/2.jpg"], "", "2.jpg", "train", MISSING),
    (["bus/1.jpg", "Test/bus/1.jpg"], "", "bus/1.jpg", "Test", UNCLEAR),
    (["Test/bus/2.jpg", "train/1.jpg"], "", "/data/Test/train/1.jpg", "", MISSING),
    # Folders that are called like labels
    (["gt/2.jpg", "x/1.jpg"], "gt", "1.jpg", "", MISSING),
    (["boxes/2.jpg", "1.jpg"], "boxes", "1.jpg", "", MISSING),
    (["labels/2.png", "images/x/1.jpg"], "labels", "1.jpg", "", "images/x/1.jpg"),
    (["labels/1.png", "images/1.png"], "labels", "1.png", "", "images/1.png"),
    (["labels/1.png", "images/2.png"], "labels", "1.png", "", MISSING),
    (["unlabeled/1.jpg", "labeled/2.jpg"], "labeled", "1.jpg", "", MISSING),
    (["train/1.jpg", "val/2.jpg"], "val_annotations", "1.jpg", "", MISSING),
    (["cam1/1.jpg", "cam2/2.jpg"], "cam2_labels", "1.jpg", "", MISSING),
    (["cam1/1.jpg", "cam2/1.jpg"], "cam2_labels", "1.jpg", "", "cam2/1.jpg"),
    (["cam1/1.jpg"], "new_labels", "1.jpg", "", "cam1/1.jpg"),
    (["1.jpg", "cam2/2.jpg"], "cam2_labels", "1.jpg", "", MISSING),
    # Spelling
    (TWINS_OF_ONE_NAME, "", normalize("NFC", "ä"), "", TWINS_OF_ONE_NAME[0]),
    (TWINS_OF_ONE_NAME, "", normalize("NFD", "ä"), "", TWINS_OF_ONE_NAME[1]),
]


@pytest.mark.parametrize(("paths", "near", "name", "split", "expected"), CASES)
def test_the_rule(paths, near, name, split, expected):
    images = Images(paths)
    if isinstance(expected, str):
        assert images.find(name, near, split) == expected
        return
    with pytest.raises(expected):
        images.find(name, near, split)


@pytest.mark.parametrize(
    ("paths", "file", "named", "expected"),
    [
        (["images/1.jpg"], "labels/1.txt", "", "images/1.jpg"),
        (["images/x/1.jpg", "depth/x/1.jpg"], "labels/x/1.txt", "", "images/x/1.jpg"),
        (["images/x/2.jpg", "depth/x/1.jpg"], "labels/x/1.txt", "", MISSING),
        (["images/1.jpg"], "labels/images/1.txt", "", "images/1.jpg"),
        (["s/images/x/1.jpg"], "s/annotations/images/x/1.xml", "1.jpg", "s/images/x/1.jpg"),
        (["JPEGImages/1.jpg"], "Annotations/JPEGImages/1.xml", "1.jpg", "JPEGImages/1.jpg"),
        (["JPEGImages/1.jpg"], "Annotations/images/1.xml", "1.jpg", "JPEGImages/1.jpg"),
        (["images/1.jpg", "images/images/1.jpg"], "labels/images/1.txt", "", "images/images/1.jpg"),
        (["images/1.jpg", "images/images/2.jpg"], "labels/images/1.txt", "", MISSING),
        (["JPEGImages/1.jpg", "x/images/2.jpg"], "Annotations/images/1.xml", "1.jpg", MISSING),
        (["s/images/1.jpg", "s/1.jpg"], "s/labels/1.txt", "", "s/images/1.jpg"),
        (["s/images/2.jpg", "s/1.jpg"], "s/labels/1.txt", "", "s/1.jpg"),
        (["x/1.jpg"], "x/1.json", "1.jpg", "x/1.jpg"),
        (["x/1.jpg"], "x/1.json", "old.jpg", "x/1.jpg"),
        (["x/1.jpg", "y/old.jpg"], "x/1.json", "old.jpg", "x/1.jpg"),
        (["x/1.jpg", "x/2.jpg"], "x/1.json", "2.jpg", "x/2.jpg"),
        (["x/1.jpg"], "y/1.json", "..\\z\\1.jpg", MISSING),
        (["JPEGImages/1.jpg", "more/1.jpg"], "Annotations/1.xml", "/home/1.jpg", "JPEGImages/1.jpg"),
        (["val/1.jpg"], "ann/1.json", "../train/1.jpg", MISSING),
        (["cam1/1.jpg", "cam2/2.jpg"], "ann/1.json", "cam2/1.jpg", MISSING),
        (["cam1/1.jpg", "cam2/2.jpg"], "ann/1.json", "C:\\d\\cam2\\1.jpg", MISSING),
        (["cam1/1.jpg"], "ann/1.json", "C:\\d\\cam2\\1.jpg", "cam1/1.jpg"),
        (["cam1/1.jpg"], "cam1/1.json", "C:\\d\\cam2\\1.jpg", "cam1/1.jpg"),
        (["gt/2.jpg", "1.jpg"], "gt/1.txt", "", MISSING),
        (["meta/2.jpg", "x/1.jpg"], "meta/1.txt", "", MISSING),
        (["images/1.png", "labels/1.png"], "labels/1.txt", "", "images/1.png"),
        (["images/2.png", "labels/1.png"], "labels/1.txt", "", MISSING),
        (["train/1.jpg", "val/2.jpg"], "val_annotations/1.xml", "", MISSING),
        (["cam1/1.jpg", "cam2/2.jpg"], "cam2_labels/1.txt", "", MISSING),
    ],
)
def test_a_file_for_each_image(paths, file, named, expected):
    """What the file names counts, then how it's called; and where images belong by custom."""
    images = Images(paths)
    if isinstance(expected, str):
        found = images.of_file(file, named)
        assert found.path == expected and bool(found.instead) == (named == "old.jpg")
        return
    with pytest.raises(expected):
        images.of_file(file, named)


BOTH = ["a.jpg", "a.jpg.jpg"]


@pytest.mark.parametrize(
    ("paths", "files", "expected"),
    [
        (BOTH, ["a.txt", "a.jpg.txt"], BOTH),
        (BOTH, ["a.jpg.txt", "a.jpg.jpg.txt"], BOTH),
        (BOTH, ["a.jpg.txt"], [UNCLEAR]),
        (["a.jpg"], ["a.jpg.txt"], ["a.jpg"]),
        (["a.jpg"], ["a.txt", "a.jpg.txt"], ["a.jpg", MISSING]),
        (["a.jpg", "b.jpg"], ["a.jpg.txt", "b.txt"], [MISSING, "b.jpg"]),
        (["a.jpg.jpg", "b.jpg"], ["a.jpg.txt", "b.txt"], ["a.jpg.jpg", "b.jpg"]),
        (["a.jpg.jpg", "b.jpg", "c.jpg", "d.jpg"], ["a.jpg.txt", "b.jpg.txt", "c.jpg.txt", "d.jpg.txt"],
         [MISSING, "b.jpg", "c.jpg", "d.jpg"]),
        (["shot.png.jpg", "1.jpg"], ["shot.png.txt", "1.txt"], ["shot.png.jpg", "1.jpg"]),
        (["a.jpg.jpg", "b.jpg"], ["a.jpg.txt", "b.jpg.txt"], [UNCLEAR, UNCLEAR]),
    ],
)  # fmt: skip
def test_names_with_two_extensions(paths, files, expected):
    """``a.jpg.txt`` is of ``a.jpg``, or of ``a.jpg.jpg``: the other files tell, or it's said that nobody knows."""
    images = Images(paths)
    calling = images.calling_of(files)
    for file, wanted in zip(files, expected, strict=True):
        if isinstance(wanted, str):
            assert images.of_file(file, "", calling).path == wanted
            continue
        with pytest.raises(wanted):
            images.of_file(file, "", calling)


def trees(shape, count):
    """Folders with namesakes: images, and what is asked for each."""
    folders = [f"f{number:05}" for number in range(count)]
    paths = [shape[0].format(folder) for folder in folders]
    return paths, [(shape[1].format(folder), shape[2].format(folder)) for folder in folders]


@pytest.mark.parametrize(
    "shape",
    [
        ("{}/0.jpg", "{}", "0"),
        ("images/{}/0.jpg", "labels/{}", "0"),
        ("{}/images/0.jpg", "{}/labels", "0"),
        ("deep/pics/{}/0.jpg", "txt/{}", "0"),
        ("deep/{}/0.jpg", "annotations", "{}/0.jpg"),
        ("{}/0.jpg", "", "/home/me/{}/0.jpg"),
        ("pics{}/0.jpg", "gt/{}_boxes", "0"),
        ("train/{}/0.jpg", "annotations/{}", "0.jpg"),
        ("{}/0.jpg", "", "gone{}/0.jpg"),
        ("{}/0.jpg", "", "/home/me/gone{}/0.jpg"),
        ("{}/0.jpg", "gone{}", "0.jpg"),
    ],
    ids=" ".join,
)
def test_namesakes_take_no_time_that_grows_with_their_square(shape):
    """Four times as many folders take four times as many steps, or a little more."""

    def steps(count):
        images_of, asked = trees(shape, count)
        found = 0

        def step(frame, event, argument):
            nonlocal found
            found += event in ("call", "c_call")

        images = Images(images_of)
        sys.setprofile(step)
        try:
            for near, name in asked:
                with suppress(LabelError):
                    images.find(name, near)
        finally:
            sys.setprofile(None)
        return found

    assert steps(400) < 6 * steps(100)


TOGETHER = [
    # Images, and names that files say; those that aren't there, since others are it more surely
    (["1.jpg"], {"l.csv": ["1.jpg", "x/1.jpg"]}, ["x/1.jpg"]),
    (["1.jpg", "2.jpg"], {"l.csv": ["x/1.jpg", "x/2.jpg"]}, []),
    (["1.jpg", "2.jpg"], {"l.csv": ["x/1.jpg", "2.jpg"]}, ["x/1.jpg"]),
    (["1.jpg"], {"l.csv": ["x/1.jpg", "y/1.jpg"]}, ["x/1.jpg", "y/1.jpg"]),
    (["1.jpg"], {"l.csv": ["x/1.jpg"], "m.csv": ["y/1.jpg"]}, ["x/1.jpg", "y/1.jpg"]),
    (["1.jpg", "s/2.jpg"], {"l.csv": ["/d/x/1.jpg", "/d/s/2.jpg"]}, ["/d/x/1.jpg"]),
    (["x/1.jpg"], {"l.csv": ["1.jpg", "x/1.jpg"]}, ["1.jpg"]),
    (["1.jpg", "x/2.jpg"], {"l.csv": ["1.jpg", "2.jpg"]}, ["2.jpg"]),
    (["x/1.jpg", "y/2.jpg"], {"l.csv": ["1.jpg", "2.jpg"]}, []),
    (["x/1.jpg", "y/2.jpg", "y/3.jpg"], {"l.csv": ["1.jpg"], "y/m.csv": ["2.jpg", "3.jpg"]}, []),
    (["x/1.jpg"], {"l.csv": ["1.jpg"], "x/m.csv": ["1.jpg"]}, ["l.csv: 1.jpg"]),
    (["0.jpg", "s/1.jpg", "s/2.jpg"], {"labels/l.csv": ["0.jpg", "1.jpg", "2.jpg"]}, ["0.jpg"]),
    (["0.jpg", "9.jpg", "s/1.jpg"], {"labels/l.csv": ["0.jpg", "9.jpg", "1.jpg"]}, ["1.jpg"]),
    (["a/x/1.jpg", "a/y/2.jpg", "a/z/y/3.jpg"], {"l.csv": ["x/1.jpg", "y/2.jpg", "y/3.jpg"]}, ["y/3.jpg"]),
    (["train/x/1.jpg", "val/x/2.jpg"], {"l.csv": ["x/1.jpg", "x/2.jpg"]}, []),
    (["t/1.jpg", "t/x/2.jpg"], {"l.csv": ["1.jpg", "x/2.jpg"]}, []),
    (["u/1.jpg", "t/x/2.jpg"], {"l.csv": ["1.jpg", "x/2.jpg"]}, ["1.jpg"]),
    (["Test/bus/1.jpg", "train/1.jpg"], {"Test.csv": ["bus/1.jpg", "train/1.jpg"]}, ["train/1.jpg"]),
    ([normalize("NFC", "ä.jpg")], {"l.csv": [normalize("NFC", "ä.jpg"), normalize("NFD", "ä.jpg")]},
     [normalize("NFD", "ä.jpg")]),
    (["a.JPG"], {"l.csv": ["a.jpg", "a.Jpg"]}, ["a.jpg", "a.Jpg"]),
]  # fmt: skip


@pytest.mark.parametrize(("paths", "names", "wrong"), TOGETHER)
def test_names_that_are_said_together(paths, names, wrong):
    images = Images(paths)
    meanings = [
        Meaning(file, f"{file}: {name}", split_in_name(file), images.place(name, file.rpartition("/")[0]))
        for file, said in names.items()
        for name in said
    ]
    found = [meanings[i].where for i in contradicted(meanings, LabelFiles("", ()), images)]
    assert [where if where in wrong else where.partition(": ")[2] for where in found] == wrong


# -- all formats ---------------------------------------------------------------------------------------------------

FIRST, SECOND = Box(10, 5, 30, 25), Box(40, 5, 60, 45)
TWINS = World({"x/1.png": [("first", FIRST)], "y/1.png": [("second", SECOND)]})


def pack(source, target, **options):
    report = blobdir.pack(source, target, blobdir.PackOptions(**{"labels": "auto", "processes": 1} | options))
    project = blobdir.open_project(target)
    found = {}
    for dataset in project.values():
        for image in dataset:
            found[image] = [one["classTitle"] for one in dataset.annotation(image)["objects"]]
    return report, found


@pytest.fixture(params=WRITERS)
def kind(request):
    return request.param


def image_of(source, name):
    return next(path for path in source.rglob("*.png") if path.as_posix().endswith(f"/{name}"))


def test_two_images_of_one_name(kind, tmp_path):
    report, found = pack(write(kind, tmp_path / "s", TWINS), tmp_path / "p")
    assert report.complete and sorted(found.values()) == [["first"], ["second"]]
    assert found["x_1.png" if "x_1.png" in found else next(name for name in found if "x_1" in name)] == ["first"]


@pytest.mark.parametrize("others", [True, False], ids=["folder stays", "folder gone"])
@pytest.mark.parametrize("missing", ["x", "y"])
def test_labels_of_an_image_that_is_missing_go_to_no_other(kind, missing, others, tmp_path):
    """Its namesake in another folder keeps its own labels, and the others are named."""
    source = write(kind, tmp_path / "s", TWINS)
    gone = image_of(source, f"{missing}/1.png")
    if others:
        draw(gone.with_name("2.png"))
    gone.unlink()
    report, found = pack(source, tmp_path / "p")
    kept = "second" if missing == "x" else "first"
    assert [titles for name, titles in found.items() if "1.png" in name] == [[kept]]
    (problem,) = [p for p in report.problems if p.code == "label-image"]
    assert problem.costs and "1" in problem.message


def test_labels_of_one_image_go_to_no_namesake_without_labels(kind, tmp_path):
    """As of pictures of a background: they have no labels."""
    source = write(kind, tmp_path / "s", World({"x/1.png": [("first", FIRST)], "x/2.png": [("second", SECOND)]}))
    there = image_of(source, "x/1.png")
    draw(there.parent.parent / "y/1.png")
    there.unlink()
    report, found = pack(source, tmp_path / "p")
    assert found.pop("2.png") == ["second"]
    assert not any(found.values())
    assert [p.code for p in report.problems if p.code == "label-image"] == ["label-image"]


@pytest.mark.parametrize("kind", ["coco", "cvat", "createml", "csv"])
def test_folders_that_are_not_there_are_named(kind, tmp_path):
    """They may be of another machine, or missing."""
    source = write(kind, tmp_path / "s", World({"gone/1.png": [("cat", BOX)]}))
    (path,) = source.rglob("*.png")
    path.rename(source / "1.png")
    report, found = pack(source, tmp_path / "p")
    assert report.complete and found == {"1.png": ["cat"]}
    assert ["there is no folder gone" in p.message for p in report.problems if p.code == "label-note"] == [True]


@pytest.mark.parametrize("kind", ["coco", "cvat", "createml", "csv"])
def test_a_file_that_names_no_image_beside_it_is_named(kind, tmp_path):
    """It may speak of those below, or its own are missing: nobody can know."""
    source = write(kind, tmp_path / "s", World({"1.png": [("cat", BOX)]}))
    (path,) = source.rglob("*.png")
    (source / "x").mkdir()
    path.rename(source / "x/1.png")
    draw(source / "2.png")
    if kind == "coco":
        (source / "annotations/instances_train.json").rename(source / "instances_train.json")
    report, found = pack(source, tmp_path / "p")
    assert found["1.png"] == ["cat"]
    (problem,) = [p for p in report.problems if p.code == "label-image"]
    assert "lies beside images and has labels of none of them" in problem.message and problem.costs


@pytest.mark.parametrize("name", ["1.PNG", normalize("NFD", "ä ö.png"), "a.b.png"], ids=["capitals", "accents", "dots"])
def test_names_that_are_spelled_otherwise(kind, name, tmp_path):
    said = normalize("NFC", name.replace("PNG", "png"))
    source = write(kind, tmp_path / "s", World({said: [("cat", BOX)], "a.png": []}))
    path = next(path for path in source.rglob("*.png") if path.name == said)
    path.rename(path.with_name(name))
    report, found = pack(source, tmp_path / "p")
    assert report.complete, report.problems
    assert found == {name: ["cat"], "a.png": []}


SPLIT_BY_LISTS = {
    "yolo": ("train.txt", "val.txt", "{0}/images/{1}.png", "labels"),
    "voc": ("ImageSets/Main/train.txt", "ImageSets/Main/val.txt", "{1}", "Annotations"),
}


def lists(kind, root):
    """Two trees with an image ``1`` in each, and ``1.5`` in the first."""
    first, second = SPLIT_BY_LISTS[kind][:2]
    for tree, names in (("A", ("1", "1.5")), ("B", ("1",))):
        folder = "images" if kind == "yolo" else "JPEGImages"
        for name in names:
            draw(root / tree / folder / f"{name}.png")
            labels = root / tree / SPLIT_BY_LISTS[kind][3]
            labels.mkdir(parents=True, exist_ok=True)
            if kind == "yolo":
                (labels / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
            else:
                (labels / f"{name}.xml").write_text(f"<annotation><filename>{name}.png</filename></annotation>")
    if kind == "yolo":
        (root / "data.yaml").write_text(f"train: {first}\nval: {second}\nnames: [cat]\n")
        (root / first).write_text("./A/images/1.png\n./gone/2.png\n")
        (root / second).write_text("B/images/1.png\n./A/images/1.5.png\n")
    else:
        for tree in "AB":
            (root / tree / "ImageSets/Main").mkdir(parents=True)
        (root / "A" / first).write_text("1\n2\n")
        (root / "A" / second).write_text("1.5\n")
        (root / "B" / second).write_text("1\n")
    return root


@pytest.mark.parametrize("kind", SPLIT_BY_LISTS)
def test_lists_of_splits(kind, tmp_path):
    """Lines mean images as labels do; those that mean none are said."""
    report, _ = pack(lists(kind, tmp_path / "s"), tmp_path / "p")
    project = blobdir.open_project(tmp_path / "p")
    assert {name: list(dataset) for name, dataset in project.items()} == {
        "train": ["1.png"],
        "val": ["1.5.png", "1.png"],
    }
    (problem,) = report.problems
    assert problem.code == "label" and problem.path.endswith("train.txt")
    assert problem.message.startswith("1 line names no image that is there")


@pytest.mark.parametrize("kind", SPLIT_BY_LISTS)
def test_an_image_in_the_lists_of_two_splits_is_named(kind, tmp_path):
    source = lists(kind, tmp_path / "s")
    path = source / ("val.txt" if kind == "yolo" else "A/ImageSets/Main/val.txt")
    path.write_text(path.read_text() + ("A/images/1.png\n" if kind == "yolo" else "1\n"))
    report, _ = pack(source, tmp_path / "p")
    assert [p.path for p in report.problems if "too, and of that one's split" in p.message] == [
        path.relative_to(source).as_posix()
    ]


def test_a_list_is_the_one_that_is_named(tmp_path):
    source = lists("yolo", tmp_path / "s")
    (source / "backup").mkdir()
    (source / "backup/train.txt").write_text("B/images/1.png\n")
    (source / "backup/val.txt").write_text("A/images/1.png\n")
    pack(source, tmp_path / "p")
    assert list(blobdir.open_project(tmp_path / "p")["train"]) == ["1.png"]
    assert len(blobdir.open_project(tmp_path / "p")["val"]) == 2


def test_lists_of_other_tasks_do_not_count(tmp_path):
    """Pascal VOC has lists for segmentation, too: `Main` counts, and others where it isn't there."""
    source = lists("voc", tmp_path / "s")
    other = source / "A/ImageSets/Segmentation"
    other.mkdir()
    (other / "train.txt").write_text("1.5\n")
    (other / "val.txt").write_text("1\n")
    pack(source, tmp_path / "p")
    assert list(blobdir.open_project(tmp_path / "p")["train"]) == ["1.png"]
    for path in (source / "A/ImageSets/Main").iterdir():
        path.unlink()
    pack(source, tmp_path / "q")
    assert list(blobdir.open_project(tmp_path / "q")["train"]) == ["1.5.png"]


def test_splits_whose_images_are_missing(tmp_path):
    """A file of a split never labels the picture of another split, though it's called the same."""
    for split in ("train", "valid"):
        draw(tmp_path / "s" / split / "2.png")
        entries = [{"id": i, "file_name": f"{i}.png", "width": 100, "height": 50} for i in (1, 2)]
        value = {"images": entries, "categories": [{"id": 1, "name": split}], "annotations": []}
        value["annotations"] = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 5, 5]} for i in (1, 2)]
        dump(tmp_path / "s" / split / "_annotations.coco.json", value)
    draw(tmp_path / "s/train/1.png")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    project = blobdir.open_project(tmp_path / "p")
    assert {name: list(dataset) for name, dataset in project.items()} == {
        "train": ["1.png", "2.png"],
        "valid": ["2.png"],
    }
    assert [(p.code, p.path) for p in report.problems] == [("label-image", "valid/_annotations.coco.json: images[0]")]


def test_a_split_that_has_no_images_at_all(tmp_path):
    """Its file names the pictures of another split's, by their names only: these are of that one."""
    for split in ("train", "val"):
        entry = {"id": 1, "file_name": "1.png", "width": 100, "height": 50}
        thing = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}
        value = {"images": [entry], "categories": [{"id": 1, "name": split}], "annotations": [thing]}
        dump(tmp_path / "s/annotations" / f"instances_{split}.json", value)
    draw(tmp_path / "s/train/1.png")
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert found == {"1.png": ["train"]}
    assert [(p.code, p.path) for p in report.problems] == [("label-image", "annotations/instances_val.json: images[0]")]


@pytest.mark.parametrize(("kind", "folder"), [("voc", "Annotations"), ("labelme", ""), ("yolo", "labels")])
def test_two_files_for_one_image(kind, folder, tmp_path):
    """The nearer one counts, the other is named; if it says the same, there is nothing to say."""
    source = write(kind, tmp_path / "s", World({"a.png": [("cat", BOX)], "b.png": []}, ["cat", "dog"]))
    (path,) = [path for path in (source / folder).iterdir() if path.stem == "a" and path.suffix != ".png"]
    other = source / "annots" / path.name
    other.parent.mkdir()
    other.write_bytes(path.read_bytes())
    report, found = pack(source, tmp_path / "p")
    assert report.complete and found["a.png"] == ["cat"] and not report.problems
    text = path.read_text()
    other.write_text("1 0.5 0.5 0.1 0.1" if kind == "yolo" else text.replace("cat", "dog"))
    report, found = pack(source, tmp_path / "q")
    assert found["a.png"] == ["cat"]
    assert [(p.code, p.path) for p in report.problems] == [("label", f"annots/{path.name}")]
