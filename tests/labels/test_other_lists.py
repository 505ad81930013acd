"""Lists of the images of a split that no format reads: each is named where an image isn't of that split."""

from __future__ import annotations

import json

import pytest
from label_cases import BOX, WRITERS, World, draw, write
from split_cases import TWO, coco, image_sets, messages, pack, put, without_lists

from blobdir.converting import ConvertOptions, convert

NUMBERS = World({f"{i}.png": [("cat", BOX)] for i in (7, 8, 9, 12)})
LINES = ["{}", '"{}"', "- {}", "'{}',", "{},cat", "cat,{}", "{},0", "3\t{}", "{};7", "images/{}"]
ENDINGS = [".txt", ".lst", ".list", ".csv", ".tsv", ""]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("folder", ["ImageSets", "ImageSets/Main", "ImageSets/Others", "imagesets/segmentation"])
def test_lists_of_voc_are_read_or_named(folder, ending, tmp_path):
    source = image_sets(tmp_path / "s", ("train", "val"), folder)
    for path in source.rglob("*.txt"):
        path.rename(path.with_suffix(ending))
    report, found = pack(source, tmp_path / "p")
    if ending == ".txt":
        assert report.complete and found == {"train": ["a.png"], "val": ["b.png"]}
    else:
        assert [path for path, _ in messages(report)] == [f"{folder}/{one}{ending}" for one in ("train", "val")]
        assert all("as only those are that end in .txt" in text for _, text in messages(report))


@pytest.mark.parametrize("main", [{"default": "a\nb\n"}, {"cat_train": "a 1\nb -1\n"}])
def test_lists_of_another_task_are_named_where_those_of_main_make_no_split(main, tmp_path):
    source = image_sets(tmp_path / "s", ("train", "val"), "ImageSets/Segmentation")
    for name, text in main.items():
        put(source / f"ImageSets/Main/{name}.txt", text)
    report, _ = pack(source, tmp_path / "p")
    named = {path for path, _ in messages(report)}
    assert named >= {"ImageSets/Segmentation/train.txt", "ImageSets/Segmentation/val.txt"}


def test_lists_of_another_task_are_not_named_beside_splits(tmp_path):
    source = image_sets(tmp_path / "s", ("train", "val"))
    put(source / "ImageSets/Segmentation/train.txt", "b\n")
    report, found = pack(source, tmp_path / "p")
    assert report.complete and found == {"train": ["a.png"], "val": ["b.png"]}


@pytest.mark.parametrize("header", ["", "id\n", "image_id,label\n"])
@pytest.mark.parametrize(
    "line", ["{}", '"{}"', "- {}", "'{}',", "{},cat", "cat,{}", "{},0", "3\t{}", "{};7", "images/{}"]
)
@pytest.mark.parametrize("ending", [".csv", ".lst", ".txt"])
def test_numbers_that_images_are_called_by_are_names(ending, line, header, tmp_path):
    source = without_lists("coco", tmp_path / "s", NUMBERS)
    for split, names in (("val", (7, 9, 12)), ("test", (8,))):
        put(source / f"{split}{ending}", header + "".join(line.format(name) + "\n" for name in names))
    report, _ = pack(source, tmp_path / "p", labels="coco")
    said = dict(messages(report))
    assert "3 images aren't" in said[f"val{ending}"] and "1 image isn't" in said[f"test{ending}"]


@pytest.mark.parametrize("ending", [".csv", ".lst"])
@pytest.mark.parametrize("kind", WRITERS)
def test_such_numbers_beside_all_formats(kind, ending, tmp_path):
    source = without_lists(kind, tmp_path / "s", NUMBERS)
    put(source / f"val{ending}", "id\n8\n12\n")
    report, _ = pack(source, tmp_path / "p", labels=kind)
    ((path, text),) = messages(report)
    assert path == f"val{ending}" and "2 images aren't" in text and "more than" not in text


@pytest.mark.parametrize("text", ["7 0.53\n8 0.44\n", "7,0.5,1\n8,2,3\n", "loss,7\nloss2,0.1\n"])
def test_numbers_of_something_else(text, tmp_path):
    source = without_lists("coco", tmp_path / "s", NUMBERS)
    put(source / "val_losses.csv", text)
    report, _ = pack(source, tmp_path / "p")
    assert report.complete, report.problems


@pytest.mark.parametrize("ending", [".csv", ".lst", ".txt"])
@pytest.mark.parametrize("header", ["", "filename\n"])
def test_the_message_says_of_lines_only_what_is_so(header, ending, tmp_path):
    source = without_lists("coco", tmp_path / "s", TWO)
    put(source / f"val{ending}", f"{header}a\n")
    ((_, text),) = messages(pack(source, tmp_path / "p")[0])
    assert "more than an image's name" not in text
    put(source / f"val{ending}", f"{header}a;cat\n")
    ((_, text),) = messages(pack(source, tmp_path / "q")[0])
    assert "more than an image's name, like 'a;cat'" in text


SPACED = World({f"{name}.png": [("cat", BOX)] for name in ("IMG (1)", "IMG (2)", "photo 1", "a b c")})


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("ending", ["", ".png"])
@pytest.mark.parametrize("between", [" ", "  "])
def test_lists_of_a_class_with_spaces_in_names(between, ending, quote, tmp_path):
    """VOC's own, CVAT's, Datumaro's, and those of the SDK's style."""
    source = without_lists("voc", tmp_path / "s", SPACED)
    names = [f"{quote}{name.removesuffix('.png')}{ending}{quote}" for name in SPACED.images]
    for split, some in (("train", names[:2]), ("val", names[2:])):
        put(source / f"ImageSets/Main/{split}.txt", "".join(f"{name}\n" for name in some))
        put(source / f"ImageSets/Main/cat_{split}.txt", "".join(f"{name}{between}1\n" for name in some))
        put(source / f"ImageSets/Main/dog_{split}.txt", "".join(f"{name}{between}-1\n" for name in some))
    report, found = pack(source, tmp_path / "p")
    assert report.complete, report.problems
    assert found == {"train": ["IMG (1).png", "IMG (2).png"], "val": ["a b c.png", "photo 1.png"]}


@pytest.mark.parametrize("behind", [" 1", " 1 1 1", " 17 2"])
@pytest.mark.parametrize("ending", ["", ".png"])
@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_numbers_behind_names_with_spaces(kind, ending, behind, tmp_path):
    source = without_lists(kind, tmp_path / "s", SPACED)
    folder = "ImageSets/Main/" if kind == "voc" else ""
    names = [f"{name.removesuffix('.png')}{ending}" for name in SPACED.images]
    for split, some in (("train", names[:2]), ("val", names[2:])):
        put(source / f"{folder}{split}.txt", "".join(f"{name}{behind}\n" for name in some))
    report, found = pack(source, tmp_path / "p")
    assert report.complete and list(map(len, found.values())) == [2, 2], report.problems


@pytest.mark.parametrize("style", ["sdk", "exact"])
def test_lists_that_convert_writes_come_back(style, tmp_path):
    source = write("voc", tmp_path / "s", SPACED)
    pack(source, tmp_path / "p")
    convert(tmp_path / "p", tmp_path / "o", ConvertOptions("voc", style=style))
    report, found = pack(tmp_path / "o", tmp_path / "q")
    assert report.complete, report.problems
    assert sum(map(len, found.values())) == 4


FOUR = World({f"img-{i}.png": [("cat", BOX)] for i in range(1, 5)})
ENDED = ["{}.xml", "{}.txt", "{}.npy", "{}.jpg", "labels/{}.txt", "Annotations/{}.xml", "/home/me/data/{}.JPG"]
"""How lists name images by another file of theirs, or before they were saved as PNG."""


@pytest.mark.parametrize("line", ENDED)
@pytest.mark.parametrize("name", ["test.txt", "test.lst", "val.csv", "split.csv", "splits.json", "parts.json"])
@pytest.mark.parametrize("kind", WRITERS)
def test_lists_of_other_files_of_images_are_read_or_named(kind, name, line, tmp_path):
    source = without_lists(kind, tmp_path / "s", FOUR)
    names = [line.format(f"img-{i}") for i in (1, 3)]
    word = name.partition(".")[0]
    written = {
        "split.csv": "file,split\n" + "".join(f"{one},test\n" for one in names),
        "splits.json": json.dumps({"test": names}),
        "parts.json": json.dumps([{"file": one, "subset": "test"} for one in names]),
    }
    put(source / name, written.get(name) or "".join(f"{one}\n" for one in names))
    report, found = pack(source, tmp_path / "p", labels=kind)
    is_read = found.get(word) == ["img-1.png", "img-3.png"]
    assert is_read or [path for path, _ in messages(report)] == [name]
    assert not is_read or any("was taken" in text for path, text in messages(report, "label-note") if path == name)


@pytest.mark.parametrize("line", ["{}.xml", "{}.jpg"])
@pytest.mark.parametrize("layout", ["lists", "ImageSets", "data.yaml"])
def test_lists_of_other_files_are_read_by_formats_with_lists(layout, line, tmp_path):
    source = without_lists("voc" if layout == "ImageSets" else "yolo", tmp_path / "s", FOUR)
    folder = "ImageSets/Main/" if layout == "ImageSets" else ""
    if layout == "data.yaml":
        put(source / "data.yaml", "train: train.txt\nval: val.txt\nnames: [cat]\n")
    for split, numbers in (("train", (1, 2)), ("val", (3, 4))):
        put(source / f"{folder}{split}.txt", "".join(line.format(f"img-{i}") + "\n" for i in numbers))
    report, found = pack(source, tmp_path / "p")
    assert report.complete, report.problems
    assert found == {"train": ["img-1.png", "img-2.png"], "val": ["img-3.png", "img-4.png"]}


def test_a_list_that_says_the_name_itself_counts_first(tmp_path):
    source = without_lists("voc", tmp_path / "s", FOUR)
    put(source / "ImageSets/Main/train.txt", "img-1.jpg\nimg-2.jpg\n")
    put(source / "ImageSets/Main/val.txt", "img-1.png\nimg-3.png\n")
    report, found = pack(source, tmp_path / "p")
    assert found["val"] == ["img-1.png", "img-3.png"] and found["train"] == ["img-2.png"]
    assert any("ImageSets/Main/val.txt too" in text for _, text in messages(report))


@pytest.mark.parametrize("kind", WRITERS)
def test_of_two_images_of_a_stem_none_is_guessed(kind, tmp_path):
    source = without_lists(kind, tmp_path / "s", World({f"{i}/img.png": [("cat", BOX)] for i in "ab"}))
    put(source / "val.txt", "img.xml\n")
    report, found = pack(source, tmp_path / "p", labels=kind)
    assert "val" not in found and [path for path, _ in messages(report)] == ["val.txt"]


@pytest.mark.parametrize("kind", WRITERS)
def test_lists_of_what_is_no_image_are_none(kind, tmp_path):
    source = without_lists(kind, tmp_path / "s", FOUR)
    put(source / "train_files.txt", "readme.txt\nmodel.npy\nimg.xml\n")
    report, _ = pack(source, tmp_path / "p", labels=kind)
    assert report.complete, report.problems


@pytest.mark.parametrize(
    "line", ["labels/{}", "./labels/{}", "../labels/{}", "/home/me/data/labels/{}", "datasets/x/labels/{}"]
)
@pytest.mark.parametrize("kind", ["yolo", "coco"])
def test_lists_that_name_label_files_are_of_their_images(kind, line, tmp_path):
    """They agree with the folders, or make splits as a list of images does."""
    source = tmp_path / "s"
    names = {"train": ["train/1", "train/2"], "val": ["val/3"]}
    for split, some in names.items():
        for name in some:
            draw(source / f"images/{name}.png")
            put(source / f"labels/{name}.txt", "0 .5 .5 .2 .2\n")
        put(source / f"{split}.txt", "".join(f"{line.format(name)}.txt\n" for name in some))
    put(source / "classes.txt", "cat\n")
    if kind == "coco":
        put(
            source / "annotations.json",
            json.dumps(coco([f"images/{name}.png" for some in names.values() for name in some])),
        )
    report, found = pack(source, tmp_path / "p", labels=kind)
    assert not messages(report), report.problems
    assert found == {"train": ["1.png", "2.png"], "val": ["3.png"]}


def test_lists_that_name_label_files_make_splits(tmp_path):
    source = tmp_path / "s"
    for i in (1, 2, 3):
        draw(source / f"images/{i}.png")
        put(source / f"labels/{i}.txt", "0 .5 .5 .2 .2\n")
    put(source / "classes.txt", "cat\n")
    put(source / "train.txt", "labels/1.txt\nlabels/3.txt\n")
    put(source / "val.txt", "labels/2.txt\n")
    report, found = pack(source, tmp_path / "p", labels="yolo")
    assert not messages(report) and found == {"train": ["1.png", "3.png"], "val": ["2.png"]}
