"""Masks, depth and the like that lie beside a set: it's said of them; no image is left out by what it's called."""

from __future__ import annotations

import shutil

import pytest
from label_cases import draw
from set_cases import OF_ALL, OF_ONE, classes, label
from split_cases import messages, pack, put

import blobdir

TAKING = [*OF_ONE, "csv"]
"""Formats that take images without labels."""
BESIDE = ["masks", "mask", "depth", "segmentation", "seg_masks", "gtFine", "trimaps", "thumbnails", "labels_png"]
CALLED = ["{}.png", "{}_mask.png", "depth-{}.png"]


def one_set(root, kind, *, split="", config=False):
    """Two labelled images; gives the folder of images."""
    images = f"images/{split}" if split else "images"
    for number in ("1", "2"):
        draw(root / images / f"{number}.jpg")
    label(root, kind, ["1.jpg", "2.jpg"], "inner")
    if split and kind in OF_ONE:
        folder, ending, _ = OF_ONE[kind]
        (root / folder / split).mkdir()
        for path in (root / folder).glob(f"*.{ending}"):
            path.rename(root / folder / split / path.name)
    if config:
        put(root / "data.yaml", f"train: {images}\nnames: [outer, inner]\n")
    return images


def said_of(report):
    """Folder -> how many of its images may be none."""
    notes = [(path, text) for path, text in messages(report, "label-note") if "may be masks" in text]
    assert all("as " + path in text and "move the folder" in text for path, text in notes)
    return {path: int(text.split()[1]) for path, text in notes}


@pytest.mark.parametrize("split", ["", "train"])
@pytest.mark.parametrize("called", CALLED)
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("kind", TAKING)
def test_masks_in_a_folder_are_packed_and_it_is_said(kind, beside, called, split, tmp_path):
    root = tmp_path / "s"
    one_set(root, kind, split=split)
    for number in ("1", "2"):
        draw(root / beside / split / called.format(number))
    report, _ = pack(root, tmp_path / "p")
    masks = {called.format(number): [] for number in ("1", "2")}
    assert classes(tmp_path / "p") == {"1.jpg": ["inner"], "2.jpg": ["inner"], **masks} and report.found == 4
    assert said_of(report) == {beside: 2} and report.complete
    dry = blobdir.pack(root, tmp_path / "q", blobdir.PackOptions(labels="auto", processes=1), dry_run=True)
    assert dry.problems == report.problems and dry.found == report.found


@pytest.mark.parametrize("kind", TAKING)
def test_masks_of_images_without_labels(kind, tmp_path):
    """Beside others that have some, and of a split in which none has."""
    root = tmp_path / "s"
    one_set(root, kind, split="train")
    for path in ("images/train/3.jpg", "images/val/4.jpg"):
        draw(root / path)
    for path in ("train/1", "train/3", "val/4"):
        draw(root / f"masks/{path}.png")
    report, _ = pack(root, tmp_path / "p")
    assert report.complete and report.images == 7 and said_of(report)["masks"] in (2, 3)


@pytest.mark.parametrize("more", ["{}_mask.png", "no_{}.png", "un{}.png", "9{}.png"])
@pytest.mark.parametrize("labelled", ["mask_1", "thermal_1", "depth_1", "bottle_1_label"])
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("kind", TAKING)
def test_images_without_labels_among_others_are_images_whatever_they_are_called(kind, listed, labelled, more, tmp_path):
    """Backgrounds, in the folder of those with labels: no word is needed."""
    root = tmp_path / "s"
    images = "images/train"
    label(root, kind, [f"{labelled}.jpg"], "inner")
    for name in (f"{labelled}.jpg", more.format(labelled), labelled.replace("1", "2") + ".jpg"):
        draw(root / images / name)
    if listed:
        put(root / "train.txt", f"{images}/{labelled}.jpg\n")
    report, _ = pack(root, tmp_path / "p")
    assert report.images == 3 and not messages(report) and not said_of(report)


@pytest.mark.parametrize("names", ["{}.jpg", "bg_{}.jpg"])
@pytest.mark.parametrize("config", ["", "images/a", "both", "images"])
@pytest.mark.parametrize("other", ["without_mask", "normals", "thermal", "seq3", "gt", "unlabeled"])
def test_folders_of_backgrounds(other, config, names, tmp_path):
    """All are packed; it's said where they are called like others, or others are named by a config."""
    root = tmp_path / "s"
    for number in ("1", "2"):
        draw(root / f"images/a/{number}.jpg")
        put(root / f"labels/a/{number}.txt", "0 0.5 0.5 0.2 0.2\n")
        draw(root / f"images/{other}/{names.format(number)}")
    said = {"both": f"[images/a, images/{other}]"}.get(config, config)
    put(root / ("data.yaml" if config else "classes.txt"), f"train: {said}\nnames: [cat]\n" if config else "cat\n")
    report, _ = pack(root, tmp_path / "p")
    assert report.complete and report.images == 4 and report.objects == 2
    has_word = other in ("without_mask", "normals", "thermal", "gt")
    is_said = (config in ("", "images/a") and names == "{}.jpg") or (config == "images/a" and has_word)
    assert said_of(report) == ({f"images/{other}": 2} if is_said else {})


def test_a_kind_of_images_that_is_labelled_elsewhere(tmp_path):
    root = tmp_path / "s"
    put(root / "classes.txt", "cat\n")
    for place in ("s1/rgb", "s1/thermal", "s2/rgb", "s2/thermal"):
        draw(root / f"images/{place}/1.jpg")
        if place != "s2/thermal":
            put(root / f"labels/{place}/1.txt", "0 0.5 0.5 0.2 0.2\n")
    report, _ = pack(root, tmp_path / "p")
    assert report.images == 4 and not said_of(report)


@pytest.mark.parametrize("kind", sorted(OF_ALL.keys() - set(TAKING)))
def test_formats_that_take_what_is_labelled_name_them_all_the_same(kind, tmp_path):
    """Also what lies where Pascal VOC has masks, if it's not VOC."""
    root = tmp_path / "s"
    one_set(root, kind)
    draw(root / "SegmentationClass/1.png")
    report, _ = pack(root, tmp_path / "p")
    assert report.images == 2 and len(messages(report, "label-unnamed")) == 1


@pytest.mark.parametrize("split", ["", "train"])
def test_masks_of_voc_belong_to_it(split, tmp_path):
    root = tmp_path / "s"
    one_set(root, "voc", split=split)
    draw(root / split / "SegmentationClass/1.png")
    report, _ = pack(root, tmp_path / "p")
    assert report.images == 2 and not report.problems


@pytest.mark.parametrize("folder", ["other", "hd/train", "images_small/train"])
def test_what_a_config_does_not_name_and_is_called_the_same(folder, tmp_path):
    """With a config that says where the images are, and without one."""
    root = tmp_path / "s"
    one_set(root, "yolo", split="train", config=True)
    for number in ("1", "2"):
        draw(root / folder / f"{number}.png")
    for target in ("p", "q"):
        report, _ = pack(root, tmp_path / target)
        assert report.complete and report.images == 4 and said_of(report) == {folder.partition("/")[0]: 2}
        (root / "data.yaml").unlink(missing_ok=True)


@pytest.mark.parametrize("test", ["images/test", "test_images", "images/val2017", "images/test/deep"])
@pytest.mark.parametrize("config", [True, False])
def test_images_of_another_split_are_images(config, test, tmp_path):
    """They have no labels, perhaps, and are called like those of train."""
    root = tmp_path / "s"
    images = one_set(root, "yolo", split="train", config=config)
    if test == "test_images":
        shutil.move(root / images, root / "train_images")
        shutil.move(root / "labels/train", root / "train_labels")
        put(root / "data.yaml", "train: train_images\nnames: [outer, inner]\n")
    if test.endswith("deep"):
        shutil.move(root / images, root / "images/was")
        shutil.move(root / "images/was", root / images / "deep")
        shutil.move(root / "labels/train", root / "labels/was")
        shutil.move(root / "labels/was", root / "labels/train/deep")
    for number in ("1", "2"):
        draw(root / test / f"{number}.png")
    report, _ = pack(root, tmp_path / "p")
    assert report.complete and report.images == 4 and not said_of(report), report.problems


@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_images_that_lists_leave_out_are_of_a_split_by_their_folders_and_it_is_said(kind, tmp_path):
    root = tmp_path / "s"
    images = one_set(root, kind, split="train")
    where = "ImageSets/Main/train.txt" if kind == "voc" else "train.txt"
    put(root / where, "1\n" if kind == "voc" else f"{images}/1.jpg\n")
    report, found = pack(root, tmp_path / "p")
    assert report.complete and found == {"train": ["1.jpg", "2.jpg"]}
    notes = messages(report, "label-note")
    assert notes == [("train", f"has 1 image that no list or config names, as {images}/2.jpg: of it by its folder")]


@pytest.mark.parametrize("kind", TAKING)
def test_images_without_labels_are_images(kind, tmp_path):
    """Beside others, in a folder of their own, and where their class is that of a mask."""
    root = tmp_path / "s"
    images = one_set(root, kind)
    for path in ("9.png", "no_mask_9.png", "a/8.png"):
        draw(root / images / path)
    draw(root / "background/7.png")
    report, _ = pack(root, tmp_path / "p")
    assert not report.problems and report.images == 6
