"""No split is lost or changed without a word: lists of which a part is here, folders, names, several configs."""

from __future__ import annotations

import json

import pytest
import yaml
from label_cases import BOX, WRITERS, World, draw, dump, write
from split_cases import LAYOUTS, NAMES_FILES, OWN, TWO, coco, messages, pack, put, without_config

import blobdir
from blobdir.converting import ConvertOptions, convert
from blobdir.errors import DataError, UsageError
from blobdir.labels.splitnames import is_split, kind_of_split, split_of_folders

FOLDERS = [("train", "valid"), ("Train", "Validation"), ("train2017", "test-dev2017"), ("training", "minival")]
MISSING = "".join(f"images/gone{i}.png\n" for i in range(9))


@pytest.mark.parametrize(
    ("name", "whole", "kind"),
    [
        *[(name, True, "train") for name in ("train", "Training", "train2017", "train_1")],
        *[(name, True, "val") for name in ("val", "valid", "validation", "val2017", "minival", "VAL")],
        *[(name, True, "test") for name in ("test", "testing", "test-dev2017", "testdev", "test_2")],
        *[(name, True, "") for name in ("trainval", "train_val2017", "train-test")],
        *[(name, False, "train") for name in ("train_a", "labelled train")],
        *[(name, False, "") for name in ("values", "trainer", "cam1", "2017", "contest", "attest2", "")],
    ],
)
def test_names_of_splits(name, whole, kind):
    assert is_split(name) == whole and kind_of_split(name) == kind
    assert split_of_folders(f"images/{name}/x/a.png") == (name if whole else "")


@pytest.mark.parametrize("layout", ["voc", "lists", "darknet"])
def test_of_lists_in_part_what_is_here_is_read(layout, tmp_path):
    """And the rest is counted."""
    source = LAYOUTS[layout](tmp_path / "s", ("train", "val"))
    paths = [path for path in source.rglob("*.txt") if path.stem in ("train", "val")]
    for path in paths:
        path.write_text(path.read_text() + MISSING)
    report, found = pack(source, tmp_path / "p")
    assert found == {"train": ["a.png"], "val": ["b.png"]}
    assert {path for path, text in messages(report) if text.startswith("9 lines name no image")} == {
        path.relative_to(source).as_posix() for path in paths
    }


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "yolo"])
def test_lists_in_part_that_are_not_read_are_named(kind, tmp_path):
    source = write(kind, tmp_path / "s", TWO)
    path = next(source.rglob("b.png"))
    put(source / "lists/val.txt", f"{path.relative_to(source).as_posix()}\n{MISSING}")
    report, _ = pack(source, tmp_path / "p")
    assert [path for path, text in messages(report) if "1 image isn't of that split now" in text] == ["lists/val.txt"]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_list_that_is_called_like_an_image(kind, tmp_path):
    """It's read, where the format has lists; else it's named."""
    source = write(kind, tmp_path / "s", World({"test.png": [("cat", BOX)], "b.png": [("cat", BOX)]}))
    lines = "".join(f"{path.relative_to(source).as_posix()}\n" for path in source.rglob("*.png"))
    if kind == "yolo":
        (source / "data.yaml").unlink()
        put(source / "classes.txt", "cat\n")
    put(source / "test.txt", lines)
    report, found = pack(source, tmp_path / "p")
    if kind == "yolo":
        assert report.complete and found == {"test": ["b.png", "test.png"]} and report.objects == 2
    else:
        assert [path for path, text in messages(report) if "2 images aren't of that split" in text] == ["test.txt"]


@pytest.mark.parametrize("name", NAMES_FILES)
def test_an_empty_text_with_names_counts_for_nothing(name, tmp_path):
    source = without_config(tmp_path / "s")
    put(source / "labels" / name, " \n")
    report, _ = pack(source, tmp_path / "p")
    assert report.complete and [p.path for p in report.problems] == [f"labels/{name}"]
    assert "cat" in (tmp_path / "p/meta.json").read_text()


@pytest.mark.parametrize(
    ("config", "text", "key"),
    [
        ("data.yaml", "names: [cat]\nval: b/c\ntrain: images\n", "train"),
        ("data.yaml", "names: [cat]\nval: l.txt\n", "val"),
        ("obj.data", "names = data/obj.names\nvalid = data/l.txt\n", "valid"),
    ],
)
def test_a_place_of_two_meanings_is_told_with_its_file(config, text, key, tmp_path):
    for side in ("left", "right"):
        draw(tmp_path / f"s/{side}/images/{side}.png")
        put(tmp_path / f"s/{side}/labels/{side}.txt", "0 .5 .5 .2 .2\n")
        put(tmp_path / f"s/{side}/l.txt", f"images/{side}.png\n")
    put(tmp_path / "s" / config, text)
    with pytest.raises(DataError, match=f"^{config}: its {key}: .* can be "):
        pack(tmp_path / "s", tmp_path / "p", labels="yolo")


@pytest.mark.parametrize("config", ["data.yaml", "obj.data"])
def test_equal_configs_each_count_for_their_folder(config, tmp_path):
    for folder in "ab":
        for part, split in (("one", "train"), ("two", "val")):
            draw(tmp_path / f"s/{folder}/{part}/images/{folder}{part}.png")
            put(tmp_path / f"s/{folder}/{part}/labels/{folder}{part}.txt", "0 .5 .5 .2 .2\n")
            put(tmp_path / f"s/{folder}/{split}.txt", f"data/{part}/images/{folder}{part}.png\n")
        text = "names: [c]\ntrain: one/images\nval: two/images\n"
        text = text if config == "data.yaml" else "train = data/train.txt\nvalid = data/val.txt\n"
        put(tmp_path / "s" / folder / config, text)
    report, found = pack(tmp_path / "s", tmp_path / "p", labels="yolo")
    other = "val" if config == "data.yaml" else "valid"
    assert report.complete and found == {"train": ["aone.png", "bone.png"], other: ["atwo.png", "btwo.png"]}


def in_folders(kind, root, splits):
    """Labels that say no split, of images in folders that do."""
    world = World({f"{split}/{name}.png": [("cat", BOX)] for split, name in zip(splits, "ab", strict=True)})
    source = write(kind, root, world)
    for path in source.rglob("ImageSets/*/*.txt"):
        path.unlink()
    if kind == "coco":
        (source / "annotations/instances_train.json").rename(source / "annotations/instances.json")
    elif kind == "yolo":
        (source / "data.yaml").unlink()
        put(source / "classes.txt", "cat\n")
    elif kind == "cvat":
        path = source / "annotations.xml"
        path.write_text(path.read_text().replace(' subset="train"', ""))
    return source


@pytest.mark.parametrize("splits", FOLDERS, ids="-".join)
@pytest.mark.parametrize("kind", [*WRITERS, "folders"])
def test_folders_say_splits_in_all_formats(kind, splits, tmp_path):
    source = in_folders("csv" if kind == "folders" else kind, tmp_path / "s", splits)
    if kind == "folders":
        (source / "labels.csv").unlink()
    report, found = pack(source, tmp_path / "p", labels="folders" if kind == "folders" else "auto")
    assert found == {splits[0]: ["a.png"], splits[1]: ["b.png"]}
    assert report.complete, report.problems
    if kind == "coco":
        convert(tmp_path / "p", tmp_path / "c", ConvertOptions("coco"))
        back = json.loads((tmp_path / f"c/{splits[1]}/annotations/coco_instances.json").read_bytes())
        assert back["info"] == {"year": 2020, "description": "Welt"}
        assert back["categories"] == [{"id": 0, "name": "cat", "supercategory": "thing"}]


@pytest.mark.parametrize(
    ("paths", "places"),
    [
        (["train/cat/a", "val/dog/b"], ["train: cat", "val: dog"]),
        (["images/train/cat/a", "images/val/dog/b"], ["train: images cat", "val: images dog"]),
        (["images/train/cat/a", "images/val/b"], ["train: images cat", "val: images"]),
        (["x/y/Train/cat/a", "x/y/test2017/b"], ["Train: x y cat", "test2017: x y"]),
        (
            ["images/train/cat/a", "images/more/x/b", "images/val/c"],
            ["train: images cat", "s: images more x", "val: images"],
        ),
        (["images/train/cat/a"], ["train: images cat"]),
        (["cat/train/a", "dog/train/b", "dog/val/c"], ["train: cat", "train: dog", "val: dog"]),
        (["train/val/a", "test/train/b"], ["train: val", "test: train"]),
        (["train/a", "x/b"], ["train:", "s: x"]),
        (["x/car/a", "x/train/b"], ["s: x car", "s: x train"]),
        (["car/a", "bus/x/b"], ["s: car", "s: bus x"]),
    ],
    ids=lambda given: given[0].replace("/", "-"),
)
def test_class_folders_lie_in_folders_of_splits(paths, places, tmp_path):
    """The first folder that is called like a split says it, wherever it lies; what may be a class is said."""
    for path in paths:
        draw(tmp_path / f"s/{path}.png")
    report, found = pack(tmp_path / "s", tmp_path / "p", labels="folders")
    project = blobdir.open_project(tmp_path / "p")
    got = {
        f"{path[-1]}.png": (split, [tag["name"] for tag in project[split].annotation(f"{path[-1]}.png")["tags"]])
        for path in paths
        for split, names in found.items()
        if f"{path[-1]}.png" in names
    }
    assert [f"{split}: {' '.join(tags)}".strip() for split, tags in got.values()] == places
    assert report.complete, report.problems
    are_mixed = len({place.partition(":")[0] for place in places}) > 1 and any(one.startswith("s:") for one in places)
    is_unclear = paths == ["x/car/a", "x/train/b"]
    assert len(messages(report, "label-note")) == are_mixed + is_unclear


@pytest.mark.parametrize("folder", ["val", "lemons"])
def test_images_beside_class_folders_of_splits_are_in_no_split(folder, tmp_path):
    draw(tmp_path / folder / "val/cat/a.png")
    draw(tmp_path / folder / "b.png")
    rest = "no_split" if folder == "val" else folder
    report, found = pack(tmp_path / folder, tmp_path / "p", labels="folders")
    assert found == {"val": ["a.png"], rest: ["b.png"]}
    assert messages(report, "label-note") == [(rest, "has 1 image that is of no split, as b.png")]


@pytest.mark.parametrize(("folder", "rest"), [("val", "no_split"), ("Test", "no_split"), ("lemons", "lemons")])
@pytest.mark.parametrize("kind", ["yolo", "voc", "csv"])
def test_images_of_no_split_are_in_no_split(kind, folder, rest, tmp_path):
    source = tmp_path / folder
    if kind == "csv":
        put(source / "l.csv", "filename,class,xmin,ymin,xmax,ymax,split\na.png,cat,1,1,9,9,val\n")
    elif kind == "yolo":
        put(source / "val.txt", "a.png\n")
        put(source / "classes.txt", "cat\n")
        put(source / "a.txt", "0 .5 .5 .2 .2\n")
    else:
        put(source / "a.xml", OWN["voc"][1].format("cat"))
        put(source / "ImageSets/Main/val.txt", "a\n")
    for name in "ab":
        draw(source / f"{name}.png")
    report, found = pack(source, tmp_path / "p", labels=kind)
    assert found == {"val": ["a.png"], rest: ["b.png"]}
    assert report.complete
    assert (rest, "has 1 image that is of no split, as b.png") in messages(report, "label-note")


@pytest.mark.parametrize("kind", ["coco", "csv", "createml"])
def test_folders_of_splits_that_labels_call_otherwise_are_named(kind, tmp_path):
    """A label file's folder gives a name that is no split's; a column says another one."""
    source = in_folders(kind, tmp_path / "s/mine", ("train", "val"))
    if kind == "csv":
        text = (source / "labels.csv").read_text().splitlines()
        put(source / "labels.csv", f"{text[0]},split\n" + "".join(f"{line},mine\n" for line in text[1:]))
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and found == {"mine": ["a.png", "b.png"]}
    ((_, text),) = messages(report, "label-note")
    assert text.startswith("says mine of 2 images in folders called train and val")


def test_a_name_that_no_list_of_voc_can_have(tmp_path):
    source = write("csv", tmp_path / "s", World({"b .png": [("cat", BOX)], "c.png": [("cat", BOX)]}))
    pack(source, tmp_path / "p")
    report = convert(tmp_path / "p", tmp_path / "c", ConvertOptions("voc"))
    (problem,) = [problem for problem in report.problems if problem.costs]
    assert "b " in problem.path and "no" in problem.message and "line of a list" in problem.message


def test_a_folder_that_is_called_like_a_split_alone(tmp_path):
    """Without any split it's just the name of the folder."""
    source = write("labelme", tmp_path / "val", TWO)
    report, found = pack(source, tmp_path / "p")
    assert found == {"val": ["a.png", "b.png"]} and not report.problems


def of_datasets(root, names):
    """A project that was packed from COCO; an image in each dataset."""
    for number, name in enumerate(names):
        draw(root / f"s/images/{number}.png")
        dump(root / f"s/annotations/instances_{name}.json", coco([f"images/{number}.png"]))
    blobdir.pack(root / "s", root / "p", blobdir.PackOptions(labels="coco", processes=1))
    return root / "p"


@pytest.mark.parametrize(
    ("name", "split"),
    [("val2017", "val"), ("valid", "val"), ("minival", "val"), ("testing", "test"), ("test-dev2017", "test")],
)
def test_programs_find_splits_of_other_names(name, split, tmp_path):
    project = of_datasets(tmp_path, ["train", name])
    assert convert(project, tmp_path / "yolo", ConvertOptions("yolo", style="exact")).problems == []
    config = yaml.safe_load((tmp_path / "yolo/data_config.yaml").read_text())
    assert config["train"] == "images/train" and config[split] == config[name] == f"images/{name}"
    assert [path.name for path in (tmp_path / "yolo" / config[split]).iterdir()] == ["1.png"]
    assert convert(project, tmp_path / "voc", ConvertOptions("voc", style="exact")).problems == []
    sets = tmp_path / "voc/VOCdevkit/VOC/ImageSets/Main"
    assert {path.stem: path.read_text() for path in sets.iterdir()} == {
        "train": "0\n",
        split: "1\n",
        name: "1\n",
        "trainval": "0\n1\n" if split == "val" else "0\n",
    }


@pytest.mark.parametrize("to", ["yolo", "voc"])
def test_a_dataset_of_no_split_is_none(to, tmp_path):
    report = convert(of_datasets(tmp_path, ["train", "cam1"]), tmp_path / "c", ConvertOptions(to))
    ((code, path, text),) = [(p.code, p.path, p.message) for p in report.problems]
    assert (code, path) == ("label-note", "cam1") and "in none of train, val, test" in text
    assert pack(tmp_path / "c", tmp_path / "q")[1] == {"train": ["0.png"], "cam1": ["1.png"]}


@pytest.mark.parametrize("to", ["yolo", "voc"])
def test_where_no_dataset_is_a_split_it_is_said_that_all_are_train(to, tmp_path):
    report = convert(of_datasets(tmp_path, ["cam1", "cam2"]), tmp_path / "c", ConvertOptions(to))
    assert {p.path for p in report.problems if "as train" in p.message and not p.costs} == {"cam1", "cam2"}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (ConvertOptions("yolo", style="sdk"), ["test", "val"]),
        (ConvertOptions("yolo", style="sdk", val=("val",)), ["test"]),
        (ConvertOptions("yolo", style="exact", val=("val",)), ["test"]),
        (ConvertOptions("voc", style="sdk"), ["test", "train", "val"]),
        (ConvertOptions("coco", style="sdk"), []),
    ],
)
def test_what_becomes_another_split_is_said(options, named, tmp_path):
    report = convert(of_datasets(tmp_path, ["train", "val", "test"]), tmp_path / "c", options)
    assert sorted(p.path for p in report.problems if "called like a split" in p.message) == named


@pytest.mark.parametrize("name", ["coco", "labels", "annotations"])
def test_coco_names_a_dataset_that_cannot_be_called_so(name, tmp_path):
    report = convert(of_datasets(tmp_path, ["train", name]), tmp_path / "c", ConvertOptions("coco"))
    assert [(p.path, p.message) for p in report.problems] == [(name, f"is called {name}_01 there")]
    assert set(pack(tmp_path / "c", tmp_path / "q")[1]) == {"train", f"{name}_01"}


def test_keypoints_of_a_category_with_another_number(tmp_path):
    draw(tmp_path / "s/1.png")
    thing = {"id": 7, "image_id": 0, "bbox": [1, 1, 9, 9], "area": 81, "iscrowd": 0}
    plain = coco(["1.png"]) | {"categories": [{"id": 1, "name": "cat"}], "annotations": [thing | {"category_id": 1}]}
    points = {"keypoints": [1, 2, 2, 3, 4, 2], "num_keypoints": 2, "category_id": 11}
    category = {"id": 11, "name": "cat", "keypoints": ["a", "b"], "skeleton": [[1, 2]]}
    posed = plain | {"categories": [category], "annotations": [thing | points]}
    for name, value in (("instances_train", plain), ("person_keypoints_train", posed)):
        dump(tmp_path / f"s/annotations/{name}.json", value)
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and report.objects == 1
    assert convert(tmp_path / "p", tmp_path / "c", ConvertOptions("coco")).complete
    back = json.loads((tmp_path / "c/train/annotations/coco_instances.json").read_bytes())
    assert back["annotations"] == [thing | points] and category in back["categories"]


def test_coco_says_nothing_that_nobody_said(tmp_path):
    source = write("yolo", tmp_path / "s", TWO)
    pack(source, tmp_path / "p")
    convert(tmp_path / "p", tmp_path / "c", ConvertOptions("coco"))
    assert "None" not in (tmp_path / "c/train/annotations/coco_instances.json").read_text()


def test_values_are_told_as_json_has_them(tmp_path):
    value = coco(["1.png"])
    value["annotations"] = [{"id": 1, "image_id": None}, {"id": 2, "image_id": 0, "category_id": True}]
    draw(tmp_path / "s/1.png")
    dump(tmp_path / "s/l.json", value)
    texts = [text for _, text in messages(pack(tmp_path / "s", tmp_path / "p")[0])]
    assert "of the image null," in texts[0] and "of the category true," in texts[1]


def test_label_studio_is_no_createml(tmp_path):
    draw(tmp_path / "s/1.png")
    task = {"id": 1, "annotations": [{"id": 1, "completed_by": 1, "result": []}], "data": {"image": "/data/1.png"}}
    dump(tmp_path / "s/project.json", [task])
    with pytest.raises(UsageError, match="holds no labels that are known"):
        pack(tmp_path / "s", tmp_path / "p")


def test_an_image_of_two_splits_in_one_dataset(tmp_path):
    """Where labels say so there is no list that it's in again."""
    draw(tmp_path / "s/1.png")
    rows = "1.png,cat,1,1,9,9,train\n1.png,dog,1,1,9,9,val\n"
    put(tmp_path / "s/l.csv", f"filename,class,xmin,ymin,xmax,ymax,split\n{rows}")
    report, _ = pack(tmp_path / "s", tmp_path / "p", dataset="all")
    assert [text.partition(",")[0] for _, text in messages(report, "conflict")] == ["is of two splits"]
