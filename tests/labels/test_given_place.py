"""Labels that are given by themselves, and whose place says that they are of other images."""

from __future__ import annotations

import pytest
from label_cases import draw
from set_cases import KINDS, OF_ALL, OF_ONE
from split_cases import messages, pack, put

import blobdir
from blobdir.errors import BlobdirError

NAMES = ["1.png", "2.png"]
SIDES = [".", "images", "images/train", "images/train/", "link", "link_to_all/images"]
"""What is packed."""
FOLDERS = ["labels/G", "G/labels", "annotations/G/xmls", "G_annotations", "G"]
FILES = ["annotations/G/all", "G/_annotations.coco", "annotations/instances_G", "G", "G_labels/boxes"]
PLACES = [
    *((kind, place) for kind in OF_ALL for place in FILES),
    *((kind, place) for kind in OF_ONE for place in FOLDERS),
]


def given(root, kind, place, names=NAMES, what="inner"):
    """Labels of images in a place of their own; gives the file, or the folder of files."""
    if kind in OF_ALL:
        file, text = OF_ALL[kind]
        path = root / f"{place}{file[1:]}"
        put(path, text(names, what))
        return path
    _, ending, text = OF_ONE[kind]
    for name in names:
        put(root / place / f"{name[:-4]}.{ending}", text(name, what))
    put(root / place / "classes.txt", "outer\ninner\n")
    return root / place


def images(root, folder, names=NAMES):
    for name in names:
        draw(root / folder / name)


def seen_from(root, side):
    """The folder that is packed; a link may lead there, whatever it's called."""
    if side == "link":
        (root.parent / "link").symlink_to(root / "images/train")
    if side.startswith("link_to_all"):
        (root.parent / "link_to_all").symlink_to(root)
    return str(root.parent / side) if side.startswith("link") else f"{root}/{side}"


def outcome(source, target, labels, kind):
    """Why nothing was made, or what was said of labels; and how many objects there are."""
    try:
        report, _ = pack(source, target, labels=kind, labels_from=str(labels))
    except BlobdirError as error:
        return str(error), 0
    return "" if report.complete else " ".join(text for _, text in messages(report, "label-image")), report.objects


def objects_in(target):
    """Dataset and image -> classes of objects."""
    return {
        (path, name): [one["classTitle"] for one in dataset.annotation(name)["objects"]]
        for path, dataset in blobdir.open_project(target).items()
        for name in dataset
    }


@pytest.mark.parametrize(("kind", "place"), PLACES)
def test_labels_of_another_split_are_of_none_from_any_side(kind, place, tmp_path):
    """Where the images of their split aren't here; called otherwise, they are of these."""
    root = tmp_path / "s"
    images(root, "images/train")
    labels = given(tmp_path / "apart" if place.startswith("G") else root, kind, place.replace("G", "val"))
    for i, side in enumerate(SIDES):
        said, count = outcome(seen_from(root, side), tmp_path / f"p{i}", labels, kind)
        assert not count and "rename one" in said, (side, said)
    labels = given(tmp_path / "more", kind, "mine")
    assert outcome(root, tmp_path / "q", labels, kind) == ("", 2)


@pytest.mark.parametrize(("mine", "other"), [("dev", "train"), ("val2017", "train2017"), ("Test", "images/Train")])
@pytest.mark.parametrize("kind", KINDS)
def test_words_for_splits(kind, mine, other, tmp_path):
    images(tmp_path / "s", other)
    labels = given(tmp_path / "apart", kind, f"{mine}/annotations")
    for i, source in enumerate((tmp_path / "s", tmp_path / "s" / other)):
        said, count = outcome(source, tmp_path / f"p{i}", labels, kind)
        assert not count and "rename one" in said, said


@pytest.mark.parametrize("side", [".", "images", "images/cam2"])
@pytest.mark.parametrize(
    ("kind", "place"),
    [
        *((kind, place) for kind in OF_ALL for place in ("annotations/cam1/all", "annotations/instances_cam1", "cam1")),
        *((kind, place) for kind in OF_ONE for place in ("labels/cam1", "cam1_labels")),
    ],
)
def test_labels_called_like_another_folder_of_images(kind, place, side, tmp_path):
    """Only one image of it is here, and both are there: the other isn't taken for it."""
    root = tmp_path / "s"
    images(root, "images/cam1", ["1.png"])
    images(root, "images/cam2")
    labels = given(tmp_path / "apart", kind, place)
    said, count = outcome(root / side, tmp_path / "p", labels, kind)
    assert "2.png" in said or "is called like" in said, said
    if side == "images/cam2":
        assert not count
    else:
        assert count == 1 and sum(map(len, objects_in(tmp_path / "p").values())) == 1


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(("kind", "place"), PLACES)
def test_labels_of_a_split_are_of_its_images(kind, place, split, tmp_path):
    root = tmp_path / "s"
    images(root, "images/train")
    for name in NAMES:
        put(root / f"images/val/{name}", "val")
    labels = given(tmp_path / "apart", kind, place.replace("G", split))
    said, count = outcome(root, tmp_path / "p", labels, kind)
    assert not said and count == 2, said
    project = blobdir.open_project(tmp_path / "p")
    labelled = [key for key, some in objects_in(tmp_path / "p").items() if some]
    assert {project[path].get_blob_img_bytes(name) == b"val" for path, name in labelled} == {split == "val"}


@pytest.mark.parametrize("kind", ["coco", "csv", "cvat", "createml"])
def test_a_file_in_a_given_folder_that_says_another_split(kind, tmp_path):
    """From the folder of the other one, too: there no folder of images says its split."""
    root = tmp_path / "s"
    images(root, "images/train")
    for split in ("train", "val"):
        given(root, kind, f"annotations/instances_{split}", what={"train": "inner", "val": "outer"}[split])
    for i, side in enumerate(SIDES):
        said, count = outcome(seen_from(root, side), tmp_path / f"p{i}", root / "annotations", kind)
        assert "instances_val" in said or "elsewhere" in said, (side, said)
        assert count == 2 and set(map(tuple, objects_in(tmp_path / f"p{i}").values())) == {("inner",)}


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        *(("photos", "annotations_2024"), ("photos/a", "mine"), ("images", "labels/val"), ("images/2024", "new")),
        *(("images/train", "labels/train"), ("images/train", "train"), ("images/train", "labels/trainval")),
        *(("test/a/train", "test/labels"), ("pics/train", "a/val/barn/labels"), ("val/images", "val/labels")),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_place_that_says_nothing_of_images_costs_nothing(kind, folder, place, tmp_path):
    """Neither do folders far above the labels, or those that the images lie in, too."""
    root = tmp_path / "s"
    images(root, folder)
    labels = given(root, kind, f"{place}/l" if kind in OF_ALL else place)
    for i, source in enumerate((root, root / folder)):
        assert outcome(source, tmp_path / f"p{i}", labels, kind) == ("", 2), source


@pytest.mark.parametrize("source", ["train", "train/images"])
def test_a_column_says_the_split_of_each_image(source, tmp_path):
    """Of one folder that is called for all to train with."""
    images(tmp_path, source)
    rows = (f"{name},car,1,1,9,9,{split}\n" for name, split in zip(NAMES, ("train", "val"), strict=True))
    put(tmp_path / "all.csv", "filename,class,xmin,ymin,xmax,ymax,split\n" + "".join(rows))
    assert outcome(tmp_path / source, tmp_path / "p", tmp_path / "all.csv", "csv") == ("", 2)
