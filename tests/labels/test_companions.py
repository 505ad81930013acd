"""Masks, depth and the like that lie beside a set: they aren't packed as images without objects, not without a word."""

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


@pytest.mark.parametrize("split", ["", "train"])
@pytest.mark.parametrize("called", CALLED)
@pytest.mark.parametrize("beside", BESIDE)
@pytest.mark.parametrize("kind", TAKING)
def test_masks_in_a_folder_are_left_out_and_named(kind, beside, called, split, tmp_path):
    root = tmp_path / "s"
    one_set(root, kind, split=split)
    for number in ("1", "2"):
        draw(root / beside / split / called.format(number))
    report, _ = pack(root, tmp_path / "p")
    assert classes(tmp_path / "p") == {"1.jpg": ["inner"], "2.jpg": ["inner"]} and report.found == 4
    ((path, text),) = messages(report, "label-unnamed")
    assert path == beside and "2 pictures" in text and not report.complete
    assert len(report.problems) == 1
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
    assert set(classes(tmp_path / "p")) == {"1.jpg", "2.jpg", "3.jpg", "4.jpg"}
    ((path, text),) = messages(report, "label-unnamed")
    assert path == "masks" and "3 pictures" in text


@pytest.mark.parametrize("kind", TAKING)
def test_masks_beside_their_images(kind, tmp_path):
    root = tmp_path / "s"
    images = one_set(root, kind)
    for number in ("1", "2"):
        draw(root / images / f"{number}_mask.png")
    report, _ = pack(root, tmp_path / "p")
    assert classes(tmp_path / "p") == {"1.jpg": ["inner"], "2.jpg": ["inner"]}
    assert [path for path, _ in messages(report, "label-unnamed")] == [images]


@pytest.mark.parametrize("kind", OF_ALL)
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
    draw(root / "SegmentationClass" / split / "1.png")
    report, _ = pack(root, tmp_path / "p")
    assert report.images == 2 and not report.problems


@pytest.mark.parametrize("folder", ["other", "hd/train", "images_small/train"])
def test_what_a_config_does_not_name_and_is_called_the_same(folder, tmp_path):
    """Left out where a config says where the images are; else it's packed, and that is said."""
    root = tmp_path / "s"
    one_set(root, "yolo", split="train", config=True)
    for number in ("1", "2"):
        draw(root / folder / f"{number}.png")
    report, found = pack(root, tmp_path / "p")
    assert found == {"train": ["1.jpg", "2.jpg"]} and len(messages(report, "label-unnamed")) == 1
    (root / "data.yaml").unlink()
    report, _ = pack(root, tmp_path / "q")
    assert report.complete and report.images == 4
    assert any("may be masks" in text for _, text in messages(report, "label-note"))


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
    assert report.complete and report.images == 4, report.problems


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
