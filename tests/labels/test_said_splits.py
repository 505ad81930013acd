"""Splits in columns of tables, and at keys of images: read where they are plain, else named."""

from __future__ import annotations

import json
import re

import pytest
from label_cases import BOX, World, coco_of, draw
from split_cases import messages, pack, put

from blobdir.converting import ConvertOptions, convert
from blobdir.labels.finding import Images
from blobdir.labels.saidsplits import Meant, column_of_splits
from blobdir.labels.splitnames import is_called_like_a_split, is_split, kind_of_split, split_in_name

NAMES = [f"{i}.png" for i in range(4)]
WORDS = ["train", "Val", "testing", "train"]
KEYS = ["Usage", "dataset", "phase", "partition", "image_set", "data split", "subset"]
OTHERS = ["mode", "type", "group"]


def table(columns):
    head = ",".join(["filename,class,xmin,ymin,xmax,ymax", *columns])
    rows = zip(NAMES, *columns.values(), strict=True)
    return "\n".join([head, *(f"{name},cat,1,2,20,30," + ",".join(row) for name, *row in rows)])


def coco(columns):
    value = coco_of(World({name: [("cat", BOX)] for name in NAMES}))
    for key, words in columns.items():
        for image, word in zip(value["images"], words, strict=True):
            image.update({key: word} if word else {})
    return json.dumps(value)


def createml(columns):
    box = {"label": "cat", "coordinates": {"x": 9, "y": 9, "width": 4, "height": 4}}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return json.dumps([{"image": n, "annotations": [box]} | row for n, row in zip(NAMES, rows, strict=True)])


FORMATS = {"csv": ("labels.csv", table), "coco": ("annotations.json", coco), "createml": ("annotations.json", createml)}


def packed(tmp_path, kind, columns, *, name="", paths=NAMES):
    for path in paths:
        draw(tmp_path / "s/images" / path)
    file, write = FORMATS[kind]
    put(tmp_path / "s" / (name or file), write(columns))
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.objects == 4, report.problems
    return report, found


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("key", KEYS + OTHERS)
def test_plain_ones_are_read(kind, key, tmp_path):
    report, found = packed(tmp_path, kind, {key: WORDS})
    assert report.complete, report.problems
    assert found == {"train": ["0.png", "3.png"], "Val": ["1.png"], "testing": ["2.png"]}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("words", [["train", "val", "test", "holdout"], ["train", "val", "test", ""]])
def test_others_are_named(kind, words, tmp_path):
    report, found = packed(tmp_path, kind, {"usage": words})
    ((_, text),) = messages(report)
    assert "'usage'" in text and list(found) == ["s"]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("words", "are_noted"), [(["car", "train", "bus", "car"], True), (["day"] * 4, False)])
def test_what_may_be_none_is_noted(kind, words, are_noted, tmp_path):
    report, found = packed(tmp_path, kind, {"mode": words})
    assert report.complete and list(found) == ["s"]
    assert bool(messages(report, "label-note")) is are_noted


@pytest.mark.parametrize("kind", FORMATS)
def test_two_that_differ_are_named(kind, tmp_path):
    report, found = packed(tmp_path, kind, {"usage": WORDS, "phase": WORDS[::-1]})
    ((_, text),) = messages(report)
    assert "'phase' says others" in text and list(found) == ["s"]


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_of_two_is_named(kind, tmp_path):
    for path in NAMES:
        draw(tmp_path / "s" / path)
    file, write = FORMATS[kind]
    put(tmp_path / "s" / file, write({"usage": WORDS}).replace("1.png", "0.png"))
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert "0.png has two ('train', 'Val')" in messages(report)[0][1] and list(found) == ["s"]


def test_coco_comes_back(tmp_path):
    packed(tmp_path, "coco", {"split": WORDS})
    convert(tmp_path / "p", tmp_path / "c", ConvertOptions("coco"))
    values = [json.loads(path.read_text()) for path in (tmp_path / "c").rglob("*.json")]
    whole = json.loads(coco({"split": WORDS}))
    for key in ("images", "annotations"):
        found = sorted((one for value in values for one in value[key]), key=lambda one: one["id"])
        assert found == whole[key]
    assert all(value["categories"] == whole["categories"] and value["info"] == whole["info"] for value in values)


@pytest.mark.parametrize("kind", FORMATS)
def test_folders_that_say_others(kind, tmp_path):
    paths = [f"{word}/{name}" for name, word in zip(NAMES, ["val", "val", "test", "train"], strict=True)]
    report, found = packed(tmp_path, kind, {"usage": WORDS}, paths=paths)
    ((_, text),) = messages(report)
    assert "0.png (train) lies in val" in text and sorted(found) == ["test", "train", "val"]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("word", "is_complete"), [("training", True), ("val", False)])
def test_the_file_s_name_counts_before(kind, word, is_complete, tmp_path):
    suffix = FORMATS[kind][0].rpartition(".")[2]
    report, found = packed(tmp_path, kind, {"usage": [word] * 4}, name=f"train.{suffix}")
    assert report.complete is is_complete and list(found) == ["train"]


@pytest.mark.parametrize("name", ["trainset", "testset", "train_set", "validation-set", "TestSet", "trainset_1"])
def test_sets_are_splits(name):
    assert is_split(name) and kind_of_split(name) and split_in_name(f"{name}.csv")


@pytest.mark.parametrize("name", ["trainsetter", "testsets2go", "setting", "assets"])
def test_other_words_are_none(name):
    assert not is_split(name) and not split_in_name(f"{name}.csv")


@pytest.mark.parametrize("name", ["trainval", "val_ids", "trainlist", "testA", "train-er", "minival", "valid", "tests"])
def test_names_that_begin_so(name):
    assert is_called_like_a_split(name)


@pytest.mark.parametrize("folder", ["{}", "images/{}"])
def test_folders_called_sets(folder, tmp_path):
    for name, split in zip(NAMES, ["trainset", "testset"] * 2, strict=True):
        draw(tmp_path / "s" / folder.format(split) / name)
    put(tmp_path / "s/labels.csv", table({}))
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and sorted(found) == ["testset", "trainset"], report.problems


def test_tables_called_sets(tmp_path):
    for name in NAMES:
        draw(tmp_path / "s/images" / name)
    head, *rows = table({}).split("\n")
    put(tmp_path / "s/trainset.csv", "\n".join([head, *rows[:2]]))
    put(tmp_path / "s/testset.csv", "\n".join([head, *rows[2:]]))
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and sorted(found) == ["testset", "trainset"], report.problems


FOLDERS = ["train/1.png", "train/2.png", "val/1.png", "val/2.png"]
"""Names that are in several folders: which image an entry means, only its path says."""


def in_folders(kind, key, words):
    """A label file that names images with their folders."""
    places = dict(zip(NAMES, FOLDERS, strict=True))
    return re.sub(r"\d\.png", lambda name: places[name[0]], FORMATS[kind][1]({key: words}))


def packed_folders(tmp_path, kind, words, key="Usage"):
    for path in FOLDERS:
        draw(tmp_path / "s" / path)
    put(tmp_path / "s" / FORMATS[kind][0], in_folders(kind, key, words))
    return pack(tmp_path / "s", tmp_path / "p")


@pytest.mark.parametrize("kind", FORMATS)
def test_folders_of_the_image_that_is_meant_count(kind, tmp_path):
    report, _ = packed_folders(tmp_path, kind, ["val", "val", "train", "train"])
    assert any("lies in" in text for _, text in messages(report))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_word_for_several_splits_says_less_than_folders(kind, tmp_path):
    report, found = packed_folders(tmp_path, kind, ["trainval"] * 4)
    assert report.complete, report.problems
    assert {name: len(images) for name, images in found.items()} == {"train": 2, "val": 2}


def test_images_of_one_name_take_time_in_proportion(tmp_path, monkeypatch):
    """Frames of clips are called alike in each."""
    paths = [f"clip{i}/1.png" for i in range(300)]
    images = Images(paths)
    asked = []
    monkeypatch.setattr("blobdir.labels.saidsplits.split_of_folders", lambda path: asked.append(path) or "")
    first, _ = column_of_splits({"usage": ["train", "val"] * 150}, paths, "", Meant(images, ""))
    assert first == "usage" and len(asked) <= 2 * len(paths)


def cvat(columns):
    box = '<box label="cat" xtl="1" ytl="2" xbr="20" ybr="30"/>'
    rows = zip(NAMES, columns["subset"], strict=True)
    images = (f'<image name="{name}" subset="{word}" width="100" height="50">{box}</image>' for name, word in rows)
    return f"<annotations>{''.join(images)}</annotations>"


SAYING = {f"{kind} {key}": (*FORMATS[kind], key) for kind in FORMATS for key in ("split", "Usage")} | {
    "cvat subset": ("annotations.xml", cvat, "subset")
}
"""All that say a split of each image."""


def packed_at(tmp_path, kind, places, words, *, before="", others=()):
    """Images at four places, which a file of each kind names so, with words beside them."""
    for path in (*places, *others):
        draw(tmp_path / "s" / path)
    file, write, key = SAYING[kind]
    at = dict(zip(NAMES, places, strict=True))
    put(tmp_path / "s" / file, re.sub(r"\d\.png", lambda name: before + at[name[0]], write({key: words})))
    return pack(tmp_path / "s", tmp_path / "p")


@pytest.mark.parametrize("before", ["", "data/", "/home/u/d/"])
@pytest.mark.parametrize("kind", SAYING)
def test_a_closer_folder_counts_for_its_own_images(kind, before, tmp_path):
    places, words = ["train/1.png", "val/2.png", "held/3.png", "held/4.png"], ["trainval", "trainval", "test", "test"]
    report, found = packed_at(tmp_path, kind, places, words, before=before)
    assert report.complete, report.problems
    assert found == {"train": ["1.png"], "val": ["2.png"], "test": ["3.png", "4.png"]}
    assert any("2 images of trainval" in text and "train/1.png" in text for _, text in messages(report, "label-note"))


@pytest.mark.parametrize("kind", SAYING)
def test_a_closer_folder_hides_no_other_one(kind, tmp_path):
    places, words = ["train/1.png", "test/2.png", "val/3.png", "train/4.png"], ["trainval", "train", "val", "test"]
    report, _ = packed_at(tmp_path, kind, places, words)
    assert any("test/2.png (train)" in text for _, text in messages(report))


@pytest.mark.parametrize("before", ["", "data/", "/home/u/d/"])
@pytest.mark.parametrize("count", [0, 60])
@pytest.mark.parametrize("kind", SAYING)
def test_namesakes_hide_no_folders(kind, count, before, tmp_path):
    """Which image an entry means is told as labels tell it, however many are called so."""
    places = ["train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/1.png"]
    others = [f"more/{i}/1.png" for i in range(count)]
    report, _ = packed_at(tmp_path, kind, places, ["val", "val", "train", "train"], before=before, others=others)
    assert any("train/a/1.png (val)" in text for _, text in messages(report))


@pytest.mark.parametrize("kind", SAYING)
def test_a_folder_of_all_images_is_only_noted_where_formats_know_the_split(kind, tmp_path):
    """Competitions have all images with labels in ``train``."""
    report, found = packed_at(tmp_path, kind, [f"train/{name}" for name in NAMES], ["val", "test", "val", "test"])
    code = "label-note" if kind in ("csv split", "cvat subset") else "label"
    assert any("train/0.png (val)" in text for _, text in messages(report, code))
    assert sorted(found) == (["test", "val"] if code == "label-note" else ["train"])


@pytest.mark.parametrize("kind", SAYING)
def test_images_of_one_name_are_told_apart_by_their_splits(kind, tmp_path):
    for path in FOLDERS:
        draw(tmp_path / "s" / path)
    file, write, key = SAYING[kind]
    names = iter(["1.png", "2.png"] * 2)
    text = re.sub(r"\d\.png", lambda _: next(names), write({key: ["train", "train", "val", "val"]}))
    put(tmp_path / "s" / file, text)
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and report.objects == 4, report.problems
    assert found == {"train": ["1.png", "2.png"], "val": ["1.png", "2.png"]}


UNKNOWN = [
    *[(key, WORDS) for key in ("train_test", "train/val", "tvt", "sample", "is_train")],
    *[(key, ["tr", "va", "te", "tr"]) for key in ("Usage", "partition", "coco_split", "stage", "tvt")],
    *[(key, ["0", "1", "1", "0"]) for key in ("is_train", "test", "in_val", "Usage", "fold", "data_split")],
    *[(key, ["True", "False"] * 2) for key in ("is_train", "partition")],
    ("mode", ["train", "eval"] * 2),
    ("phase", ["first", "second"] * 2),
]
"""What may say splits by a name, or in words, that nobody knows."""


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(("key", "words"), UNKNOWN)
def test_what_may_say_splits_is_noted(kind, key, words, tmp_path):
    report, found = packed(tmp_path, kind, {key: words})
    noted = [text for _, text in messages(report, "label-note") if f"its {key!r}" in text]
    assert len(noted) == 1 and "Call the column or key `split`" in noted[0], report.problems
    assert list(found) == ["s"]


@pytest.mark.parametrize("value", [[0, 1, 1, 0], [True, False, True, False]])
@pytest.mark.parametrize("key", ["is_train", "split", "Usage"])
def test_numbers_at_such_keys_are_noted(key, value, tmp_path):
    entries = json.loads(coco({}))
    for image, one in zip(entries["images"], value, strict=True):
        image[key] = one
        draw(tmp_path / "s" / image["file_name"])
    put(tmp_path / "s/annotations.json", json.dumps(entries))
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert any(f"its {key!r}" in text for _, text in messages(report, "label-note"))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("dataset", ["coco", "voc"] * 2),
        ("mode", ["day", "night"] * 2),
        ("mode", ["0", "1"] * 2),
        ("note", ["a", "b", "train", "c"]),
        ("id2", ["1", "2", "3", "4"]),
        ("train", ["red", "blue"] * 2),
    ],
)
def test_other_words_are_nothing_to_speak_of(kind, key, words, tmp_path):
    report, _ = packed(tmp_path, kind, {key: words})
    assert report.complete and not [text for _, text in messages(report, "label-note") if f"its {key!r}" in text]
