"""Files that nobody reads, called like images of which some have labels: their folders tell whose they are."""

from __future__ import annotations

import pytest
from label_cases import draw
from set_cases import label
from split_cases import messages, pack, put

NAMES = ["0", "1", "2", "3"]
OF_BOXES = {
    "visdrone": "40,18,20,14,1,1,0,0\n",
    "kitti": "Car 0.00 0 1.57 40.00 18.00 60.00 32.00 1.5 1.6 3.9 1.0 1.5 20.0 1.5\n",
    "dota": "40.0 18.0 60.0 18.0 60.0 32.0 40.0 32.0 plane 0\n",
    "pixels": "0 40 18 60 32\n",
    "names": "cat 40 18 60 32\n",
}
SAME = "0 0.5 0.5 0.2 0.28\n"
"""The box of them all, in shares of an image of 100 × 50."""
PLACES = {
    "images/train images/val": ["orig/val", "val/orig", "raw_val", "val2017_raw"],
    "train val": ["orig/val", "val/orig", "val_original"],
    "cam1 cam2": ["cam2/orig", "orig/cam2", "cam2_orig"],
    "train/images val/images": ["val/orig", "orig/val"],
}
CASES = [(*folders.split(), place) for folders, places in PLACES.items() for place in places]
NOTED = "P0: 7.1 0.0 6.0 0.0 0.0 7.2 1.7 0.0 0.0 0.0 1.0 0.0\n"


def written(root, *folders):
    """Images of the same names in each folder; those of the first have YOLO's labels beside them."""
    for folder in folders:
        for name in NAMES:
            draw(root / f"{folder}/{name}.png")
    for name in NAMES:
        put(root / f"{folders[0]}/{name}.txt", SAME)
    put(root / "classes.txt", "cat\n")
    return root


def texts(root, folder, text, names=NAMES):
    for name in names:
        put(root / folder / f"{name}.txt", text)


def named(report, folder):
    found = (*messages(report), *messages(report, "label-image"))
    return sorted({path.partition(",")[0] for path, _ in found if path.startswith(f"{folder}/")})


@pytest.mark.parametrize("form", OF_BOXES)
@pytest.mark.parametrize(("first", "second", "place"), CASES)
def test_those_of_images_without_labels_are_named(first, second, place, form, tmp_path):
    root = written(tmp_path / "s", first, second)
    texts(root, place, OF_BOXES[form])
    report, _ = pack(root, tmp_path / "p", labels="yolo")
    assert named(report, place), report.problems
    assert not report.complete


@pytest.mark.parametrize("kind", ["voc", "labelme", "csv"])
def test_beside_labels_of_other_formats_too(kind, tmp_path):
    root = tmp_path / "s"
    for folder in ("train", "val"):
        for name in NAMES:
            draw(root / f"{folder}/{name}.png")
    label(root / "train", kind, [f"{name}.png" for name in NAMES], "cat")
    texts(root, "orig/val", OF_BOXES["kitti"])
    report, _ = pack(root, tmp_path / "p", labels=kind)
    assert named(report, "orig/val") == (["orig/val/0.txt"] if kind in ("voc", "labelme") else []) or kind in (
        "coco",
        "csv",
    )
    assert not report.complete


QUIET = {
    "of both splits": (("images/train", "images/val"), ("calib/train", "calib/val")),
    "of both cameras": (("cam1", "cam2"), ("cam1/calib", "cam2/calib")),
    "of each camera": (("cam1", "cam2"), ("calib/cam1", "calib/cam2")),
    "of both together": (("left", "right"), ("calib",)),
    "of labelled ones": (("images/train", "images/val"), ("calib/train",)),
}


@pytest.mark.parametrize("case", QUIET)
def test_notes_that_labelled_images_have_as_well_cost_nothing(case, tmp_path):
    folders, places = QUIET[case]
    root = written(tmp_path / "s", *folders)
    for place in places:
        texts(root, place, NOTED)
    report, _ = pack(root, tmp_path / "p", labels="yolo")
    assert report.complete, report.problems


@pytest.mark.parametrize("labelled", [1, 3])
@pytest.mark.parametrize(("text", "is_named"), [(OF_BOXES["kitti"], True), (NOTED, False)])
def test_originals_are_known_by_the_boxes_of_labelled_images(text, is_named, labelled, tmp_path):
    root = written(tmp_path / "s", "images")
    for name in NAMES[labelled:]:
        (root / f"images/{name}.txt").unlink()
    texts(root, "raw", text)
    report, _ = pack(root, tmp_path / "p", labels="yolo")
    assert bool(named(report, "raw")) is is_named is not report.complete, report.problems


GIVEN = ["labels", "txt", "yolo", "mine"]


def apart(tmp_path, folder, place, text):
    """Images, and of two of them labels in a folder elsewhere, with texts of all beside them."""
    for name in NAMES:
        draw(tmp_path / f"s/train/{name}.png")
    top = tmp_path / "l" / folder
    texts(top, "train", SAME, NAMES[:2])
    texts(top, place, text)
    put(top / "classes.txt", "cat\n")
    return tmp_path / "s", top


@pytest.mark.parametrize("form", ["visdrone", "kitti"])
@pytest.mark.parametrize("place", ["train_original", "original/train", "visdrone"])
@pytest.mark.parametrize(("folder", "is_above"), [*((one, False) for one in GIVEN), ("labels", True), ("txt", True)])
def test_a_folder_that_is_given_is_one_of_labels(folder, is_above, place, form, tmp_path):
    source, top = apart(tmp_path, folder, place, OF_BOXES[form])
    given = top.parent if is_above else top
    report, _ = pack(source, tmp_path / "p", labels="yolo", labels_from=str(given))
    start = f"{folder}/{place}" if is_above else place
    assert named(report, start) == [f"{start}/2.txt", f"{start}/3.txt"], report.problems
    assert [path for path, _ in messages(report, "label-note") if path.startswith(start)] == [f"{start}/0.txt"]


@pytest.mark.parametrize("folder", ["labels", "txt", "yolo"])
def test_in_one_tree_the_folder_of_what_is_read_is_one_of_labels(folder, tmp_path):
    root = tmp_path / "s"
    for name in NAMES:
        draw(root / f"pics/train/{name}.png")
    texts(root, f"{folder}/train", SAME, NAMES[:2])
    texts(root, f"{folder}/train_original", OF_BOXES["visdrone"])
    put(root / "classes.txt", "cat\n")
    report, _ = pack(root, tmp_path / "p", labels="yolo")
    assert len(named(report, f"{folder}/train_original")) == 2, report.problems


@pytest.mark.parametrize("other", ["LICENSE.txt", "notes/x.txt", "../calib/0.txt"])
def test_what_lies_beside_given_labels_is_no_label(other, tmp_path):
    source, top = apart(tmp_path, "labels", "train", SAME)
    put(top / other, "1 2 3 4 5 6\n")
    given = top.parent if other.startswith("..") else top
    assert pack(source, tmp_path / "p", labels="yolo", labels_from=str(given))[0].complete


@pytest.mark.parametrize("splits", [True, False])
@pytest.mark.parametrize("name", ["annotations", "labels", "txt", "lab", "export"])
def test_a_given_folder_around_one_of_labels_is_none(name, splits, tmp_path):
    top = tmp_path / name
    for split in ("train", "val") if splits else ("",):
        for i in range(4):
            draw(tmp_path / f"s/{split}/{i}.png")
            put(top / f"depth/{split}/{i}.txt", " ".join(map(str, range(500, 600))))
            put(top / f"poses/{split}/{i}.txt", "1 0 0 0.1\n0 1 0 0.2\n0 0 1 0.3\n0 0 0 1\n")
        for i in range(3):
            put(top / f"labels/{split}/{i}.txt", "0 .5 .5 .2 .2\n")
    put(top / "classes.txt", "cat\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels="yolo", labels_from=str(top))
    assert report.complete, report.problems
    assert not [one for one in messages(report, "label-note") if one[0].startswith(("depth", "poses"))]


@pytest.mark.parametrize("other", ["notes.txt", "Note.md", "TODO.txt", "remarks.txt"])
@pytest.mark.parametrize("folder", ["labels", "mine"])
def test_notes_are_no_labels(folder, other, tmp_path):
    source, top = apart(tmp_path, folder, "train", SAME)
    (top / "train/3.txt").unlink()
    put(top / other, "some notes 1 2 3 4 5 6\n")
    report, _ = pack(source, tmp_path / "p", labels="yolo", labels_from=str(top))
    assert report.complete and not [path for path, _ in messages(report, "label-note") if path == other]
