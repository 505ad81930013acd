"""Lists of splits as public sets have them: ImageNet's of two tasks, those of Oxford's pets."""

from __future__ import annotations

import pytest
from label_cases import draw
from split_cases import messages, pack, put

XML = (
    "<annotation><filename>{}</filename><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>"
    "<ymax>9</ymax></bndbox></object></annotation>"
)
TRAIN, VAL = ("n01/n01_1", "n01/n01_2", "n02/n02_3"), ("v_1", "v_2")


def imagenet(root, task, lists):
    """ImageNet's tree of a task."""
    for name in (*(f"train/{one}" for one in TRAIN), *(f"val/{one}" for one in VAL)):
        draw(root / f"Data/{task}/{name}.png")
        if name != "train/n02/n02_3":
            put(root / f"Annotations/{task}/{name}.xml", XML.format(name.rpartition("/")[2]))
    for name, images in lists.items():
        lines = "".join(f"{one} {i}\n" for i, one in enumerate(images, 1))
        put(root / f"ImageSets/{task}/{name}.txt", lines)
    return root


FOUND = {"train": ["n01_1.png", "n01_2.png", "n02_3.png"], "val": ["v_1.png", "v_2.png"]}
LISTS = {"train_cls": TRAIN, "train_loc": TRAIN[:2], "val": VAL}


@pytest.mark.parametrize(
    ("task", "lists"),
    [
        ("CLS-LOC", LISTS),
        ("CLS-LOC", {"train_cls": TRAIN, "val": VAL}),
        ("DET", {"train_det": TRAIN, "val_det": VAL}),
    ],
)
def test_lists_of_two_tasks_are_of_one_split(tmp_path, task, lists):
    report, found = pack(imagenet(tmp_path / "s", task, lists), tmp_path / "p")
    assert report.complete and found == FOUND and messages(report) == []


def test_a_word_that_the_folder_does_not_say_is_part_of_the_split(tmp_path):
    source = imagenet(tmp_path / "s", "DET", {"train_day": TRAIN, "val": VAL})
    _, found = pack(source, tmp_path / "p")
    assert found.keys() == {"train_day", "val"}


NAMES = ("Abyssinian_1", "Abyssinian_2", "beagle_3", "beagle_4")


def pets(root, lists):
    """Oxford's pets, of which half have a box."""
    for i, name in enumerate(NAMES):
        draw(root / f"images/{name}.png")
        if i % 2:
            put(root / f"annotations/xmls/{name}.xml", XML.format(f"{name}.png"))
    everything = "".join(f"{name} 1 1 1\n" for name in NAMES)
    put(root / "annotations/list.txt", f"#Image CLASS-ID SPECIES BREED ID\n{everything}")
    for name, text in lists.items():
        put(root / f"annotations/{name}.txt", text)
    return root


def lines(*numbers, more=" 1 1 2"):
    """The lines of a list."""
    return "".join(f"{NAMES[i]}{more}\n" for i in numbers)


def test_those_of_pets_are_splits(tmp_path):
    report, found = pack(pets(tmp_path / "s", {"trainval": lines(1, 3), "test": lines(0, 2)}), tmp_path / "p")
    assert report.complete and messages(report) == []
    assert found == {"trainval": [f"{NAMES[i]}.png" for i in (1, 3)], "test": [f"{NAMES[i]}.png" for i in (0, 2)]}


NOT_PLAIN = {
    "an image in two": {"trainval": lines(1, 3), "test": lines(0, 1, 2)},
    "one that is missing": {"trainval": lines(1, 3), "test": lines(0, 2) + "pug_9 1 1 1\n"},
    "no numbers": {"trainval": lines(1, 3, more=""), "test": lines(0, 2, more="")},
    "other things": {"trainval": lines(1, 3, more=" cat 1 1"), "test": lines(0, 2)},
}


@pytest.mark.parametrize("lists", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_what_may_be_something_else_is_named(tmp_path, lists):
    report, _ = pack(pets(tmp_path / "s", lists), tmp_path / "p")
    assert not report.complete and messages(report)
