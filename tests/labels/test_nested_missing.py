"""Data sets that lie in each other: where images of the inner one are missing, none of the outer one has its labels."""

from __future__ import annotations

import pytest
from label_cases import draw
from set_cases import KINDS, OF_ALL, OF_ONE, classes
from set_cases import label as label_names
from split_cases import messages, pack, put

PATHS = ["voc", "labelme", *OF_ALL]
"""Formats that say paths."""


def images(root, layout, numbers):
    """Images of two splits; gives their paths by split."""
    found = {}
    for split, number in zip(("train", "val"), numbers, strict=True):
        found[split] = layout.format(split, number)
        draw(root / found[split])
    return found


def label(root, kind, place, said, what):
    """Label files of each split that say paths."""
    for split, name in said.items():
        if kind in OF_ALL:
            file, text = OF_ALL[kind]
            put(root / place / f"{split}.{file.partition('.')[2]}", text([name], what))
        else:
            folder, ending, text = OF_ONE[kind]
            put(root / (place or folder) / split / f"{name.rpartition('/')[2][0]}.{ending}", text(name, what))


LAYOUTS = ["images/{}/{}.png", "{}/{}.png", "photos/{}/x/{}.png"]
PLACES = ["", "labels", "annotations"]


@pytest.mark.parametrize("there", ["train", "train, whose labels are missing", ""])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("inner", ["copy", "v2/set"])
@pytest.mark.parametrize("kind", PATHS)
def test_images_of_the_inner_set_are_missing(kind, inner, place, layout, there, tmp_path):
    """All of a folder, or all that there are."""
    root = tmp_path / "s"
    said = images(root, layout, "12")
    label(root, kind, place, said, "outer")
    if there:
        draw(root / inner / layout.format("train", 3))
    of_inner = {"train": layout.format("train", 3), "val": said["val"]} if there else said
    if "missing" in there:
        del of_inner["train"]
    label(root / inner, kind, place, of_inner, "inner")
    report, _ = pack(root, tmp_path / "p")
    found = classes(tmp_path / "p")
    assert {name: found.get(name) for name in ("1.png", "2.png")} == {"1.png": ["outer"], "2.png": ["outer"]}
    assert found.get("3.png", []) == (["inner"] if there == "train" else [])
    named = [path for path, _ in (*messages(report, "label-image"), *messages(report, "label"))]
    assert len(named) >= 1 and all(path.startswith(f"{inner}/") for path in named)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", PATHS)
def test_the_outer_set_has_no_labels(kind, place, layout, tmp_path):
    root = tmp_path / "s"
    said = images(root, layout, "12")
    draw(root / "copy" / layout.format("train", 3))
    label(root / "copy", kind, place, {"train": layout.format("train", 3), "val": said["val"]}, "inner")
    report, _ = pack(root, tmp_path / "p")
    assert {name: some for name, some in classes(tmp_path / "p").items() if some} == {"3.png": ["inner"]}
    assert [path.partition(":")[0].startswith("copy/") for path, _ in messages(report, "label-image")] == [True]


@pytest.mark.parametrize("kind", OF_ALL)
def test_label_files_that_are_copies_do_not_speak_against_each_other(kind, tmp_path):
    root = tmp_path / "s"
    said = images(root, LAYOUTS[0], "12")
    label(root, kind, "labels", said, "inner")
    label(root / "copy", kind, "labels", said, "inner")
    report, _ = pack(root, tmp_path / "p")
    assert report.complete and classes(tmp_path / "p") == {"1.png": ["inner"], "2.png": ["inner"]}


@pytest.mark.parametrize("said", ["images/{}.png", "images/x/{}.png"])
@pytest.mark.parametrize("place", ["images", "images/x", "tables", "tables/of"])
@pytest.mark.parametrize("kind", OF_ALL)
def test_labels_in_a_folder_may_be_of_images_beside_it(kind, place, said, tmp_path):
    """They say paths from above; there is no set in another one."""
    root = tmp_path / "s"
    names = [said.format(1), "others/2.png"]
    for name in names:
        draw(root / name)
    put(root / place / OF_ALL[kind][0], OF_ALL[kind][1](names, "inner"))
    report, _ = pack(root, tmp_path / "p")
    assert report.complete and classes(tmp_path / "p") == {"1.png": ["inner"], "2.png": ["inner"]}


def test_a_path_that_leads_out_of_a_set_is_meant(tmp_path):
    root = tmp_path / "s"
    file, text = OF_ONE["labelme"][1:]
    for folder, number in (("images", 1), ("copy/images", 2)):
        draw(root / folder / f"{number}.png")
        put(root / folder.replace("images", "labels") / f"{number}.{file}", text(f"../images/{number}.png", "inner"))
    draw(root / "images/3.png")
    put(root / f"copy/labels/3.{file}", text("../../images/3.png", "outer"))
    report, _ = pack(root, tmp_path / "p")
    assert classes(tmp_path / "p")["3.png"] == ["outer"] and not messages(report, "label-image")


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("inner", ["backup", "x/copy"])
@pytest.mark.parametrize("photos", ["images", "data", "train/images"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_of_a_set_in_itself(kind, photos, inner, there, tmp_path):
    """Names without folders are of the outer images, if these are there; or of none."""
    root = tmp_path / "s"
    paths = [f"{inner}/{photos}/1.png", f"{inner}/{photos}/2.png", *[f"{photos}/1.png"] * there, f"{photos}/2.png"]
    for path in paths:
        draw(root / path)
    label_names(root, kind, ["1.png", "2.png"], "outer")
    label_names(root / inner, kind, ["1.png", "2.png"], "inner")
    report, _ = pack(root, tmp_path / "p", dataset="all")
    found = classes(tmp_path / "p")
    outer = {path.replace("/", "_") for path in paths if not path.startswith(inner)}  # as all of one name have folders
    assert report.complete is there and len(found) == 3 + there
    assert found == {name: ["outer" if name in outer else "inner"] for name in found}


@pytest.mark.parametrize("kind", KINDS)
def test_namesakes_elsewhere_stay_unclear(kind, tmp_path):
    """``train`` is a set of its own, and ``val`` is no part of the outer one."""
    root = tmp_path / "s"
    for folder in ("a/photos", "b/photos"):
        draw(root / folder / "1.png")
    label_names(root, kind, ["1.png"], "outer")
    label_names(root / "a", kind, ["1.png"], "inner")
    report, _ = pack(root, tmp_path / "p", dataset="all")
    assert not report.complete and report.objects == 1
