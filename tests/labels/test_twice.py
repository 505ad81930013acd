"""Two things of one name or number: equal ones are one; of others both are kept, or it's said which isn't."""

from __future__ import annotations

import json

import pytest
from label_cases import BOX, OUTLINE, POSE, WORLDS, World, coco_of, draw, dump, write
from split_cases import NAMES_FILES

import blobdir
from blobdir.converting import ConvertOptions, convert
from blobdir.errors import BlobdirError
from blobdir.verifying import verify

MANY = {
    "coco": "annotations/instances_train.json",
    "cvat": "annotations.xml",
    "createml": "_annotations.createml.json",
    "csv": "labels.csv",
}
"""Formats with the labels of many images in one file."""


def pack(source, target, **options):
    return blobdir.pack(source, target, blobdir.PackOptions(**{"labels": "auto", "processes": 1} | options))


def titles(target):
    """Dataset -> image -> classes of its objects."""
    project = blobdir.open_project(target)
    return {
        name: {image: [one["classTitle"] for one in dataset.annotation(image)["objects"]] for image in dataset}
        for name, dataset in project.items()
    }


def back(target, dest, dataset, to="coco", name="coco_instances.json"):
    report = convert(target, dest, ConvertOptions(to))
    assert report.complete, report.problems
    return json.loads((dest / dataset / "annotations" / name).read_bytes())


@pytest.mark.parametrize("kind", MANY)
def test_two_files_of_one_image(kind, tmp_path):
    """What they say equally is there once, what they say differently twice, and that is a problem."""
    source = write(kind, tmp_path / "s", World({"a.png": [("cat", BOX), ("dog", BOX)]}, ["cat", "dog", "fox"]))
    path = source / MANY[kind]
    other = path.with_name(path.name.replace(".", "2.", 1) if kind != "coco" else "annotations_train.json")
    other.write_text(path.read_text())
    assert pack(source, tmp_path / "p").complete
    ((found,),) = [one.values() for one in titles(tmp_path / "p").values()]
    assert found == ["cat", "dog"]
    value = path.read_text()
    if kind == "coco":
        value = json.loads(value)
        value["annotations"][1]["category_id"] = 2
        value = json.dumps(value)
    else:
        head, _, tail = value.rpartition("dog")
        value = f"{head}fox{tail}"
    other.write_text(value)
    report = pack(source, tmp_path / "q")
    ((found,),) = [one.values() for one in titles(tmp_path / "q").values()]
    assert sorted(found) == ["cat", "dog", "fox"] and not report.complete
    ((path, text),) = [(p.path, p.message) for p in report.problems if p.code == "label"]
    assert {path, text.partition(" than ")[2].partition(",")[0]} == {MANY[kind], other.relative_to(source).as_posix()}


def test_objects_of_two_files_with_one_number(tmp_path):
    """Those of COCO's files of one split are one where nothing that both say differs."""
    source = write("coco", tmp_path / "s", World({"a.png": [("cat", BOX)]}))
    value = json.loads((source / MANY["coco"]).read_bytes())
    value["annotations"][0] |= {"bbox": [1, 2, 3, 4], "area": 12}
    dump(source / "annotations/keypoints_train.json", value)
    report = pack(source, tmp_path / "p")
    assert report.objects == 2
    mixed, problem = report.problems
    assert mixed.code == "label" and "of both are there together" in mixed.message
    assert problem.code == "label-note" and problem.message.startswith("1 object has the id of another one")
    again = back(tmp_path / "p", tmp_path / "o", "train")["annotations"]
    assert sorted(one["bbox"] for one in again) == [[1, 2, 3, 4], [10, 5, 20, 20]]
    assert len({one["id"] for one in again}) == 2


def test_an_image_that_a_coco_file_has_twice(tmp_path):
    source = write("coco", tmp_path / "s", World({"a.png": [("cat", BOX)]}))
    value = json.loads((source / MANY["coco"]).read_bytes())
    value["images"].append(value["images"][0] | {"id": 7})
    value["annotations"].append(value["annotations"][0] | {"id": 8, "image_id": 7})
    dump(source / MANY["coco"], value)
    report = pack(source, tmp_path / "p")
    assert titles(tmp_path / "p") == {"train": {"a.png": ["cat", "cat"]}}
    assert [(p.path.partition(": ")[2], "another id" in p.message) for p in report.problems] == [("images[1]", True)]


def two_splits(root, first, second):
    for split, value in (("train", first), ("val", second)):
        for image in value["images"]:
            draw(root / split / image["file_name"])
        dump(root / split / "_annotations.coco.json", value)
    return root


def test_splits_that_number_their_categories_otherwise(tmp_path):
    """Each comes back as it was, with its supercategories."""
    first, second = coco_of(WORLDS["boxes"]), coco_of(WORLDS["boxes"])
    for category, number in zip(second["categories"], (1, 0), strict=True):
        category |= {"id": number, "supercategory": "other", "own": True}
    second["categories"].append({"id": 2, "name": "bird"})
    source = two_splits(tmp_path / "s", first, second)
    assert pack(source, tmp_path / "p").complete
    for split, value in (("train", first), ("val", second)):
        again = back(tmp_path / "p", tmp_path / f"o-{split}", split)
        by_id = {category["id"]: category for category in again["categories"]}
        assert by_id == {category["id"]: category for category in value["categories"]}
        numbers = [one["category_id"] for one in sorted(again["annotations"], key=lambda one: one["id"])]
        assert numbers == [one["category_id"] for one in value["annotations"]]


def test_two_categories_of_one_name(tmp_path):
    """They are one class; objects keep their number."""
    value = coco_of(WORLDS["boxes"])
    for category in value["categories"]:
        category["name"] = "cat"
    source = write("coco", tmp_path / "s", WORLDS["boxes"])
    dump(source / MANY["coco"], value)
    pack(source, tmp_path / "p")
    assert [item["title"] for item in blobdir.open_project(tmp_path / "p").meta["classes"]] == ["cat"]
    again = back(tmp_path / "p", tmp_path / "o", "train")
    assert again["categories"] == value["categories"]
    assert sorted(again["annotations"], key=lambda one: one["id"]) == value["annotations"]


def test_one_number_for_two_categories_in_files_of_one_split(tmp_path):
    source = write("coco", tmp_path / "s", World({"a.png": [("cat", BOX)]}))
    value = coco_of(World({"a.png": [("dog", BOX)]}))
    value["annotations"][0]["id"] = 5
    dump(source / "annotations/keypoints_train.json", value)
    report = pack(source, tmp_path / "p")
    assert titles(tmp_path / "p") == {"train": {"a.png": ["cat", "dog"]}}
    assert [p.code for p in report.problems] == ["label", "label-note"]
    assert "the id 0 is of 'cat'" in report.problems[1].message
    again = back(tmp_path / "p", tmp_path / "o", "train")
    names = {category["id"]: category["name"] for category in again["categories"]}
    assert sorted(names[one["category_id"]] for one in again["annotations"]) == ["cat", "dog"]


def test_categories_of_one_name_with_other_keypoints(tmp_path):
    """A class of graphs has one template: the second is a class of its own, and comes back with its name."""
    first = coco_of(World({"a.png": [("person", POSE)]}, keypoints=["left", "middle", "right"]))
    second = coco_of(World({"b.png": [("person", POSE)]}, keypoints=["left", "right"]))
    source = two_splits(tmp_path / "s", first, second)
    report = pack(source, tmp_path / "p")
    assert report.complete and [p.code for p in report.problems] == ["label-note"]
    assert titles(tmp_path / "p") == {
        "train": {"a.png": ["person", "person_bbox"]},
        "val": {"b.png": ["person_2", "person_2_bbox"]},
    }
    assert not verify(tmp_path / "p", audience="supervisely").errors
    for split, value in (("train", first), ("val", second)):
        again = back(tmp_path / "p", tmp_path / f"o-{split}", split)
        assert again["categories"] == value["categories"] and again["annotations"] == value["annotations"]
    convert(tmp_path / "p", tmp_path / "yolo", ConvertOptions("yolo"))
    assert "[person, person_2]" in (tmp_path / "yolo/data_config.yaml").read_text()


def test_keypoints_in_one_of_two_files(tmp_path):
    """As COCO's own: instances have the outline, keypoints the template."""
    outline = coco_of(World({"a.png": [("cat", OUTLINE)]}))
    poses = coco_of(World({"a.png": [("cat", POSE)]}, keypoints=["left", "middle", "right"]))
    for key in ("bbox", "area", "segmentation"):
        poses["annotations"][0][key] = outline["annotations"][0][key]
    draw(tmp_path / "s/train/a.png")
    dump(tmp_path / "s/annotations/instances_train.json", outline)
    dump(tmp_path / "s/annotations/person_keypoints_train.json", poses)
    assert pack(tmp_path / "s", tmp_path / "p").complete
    again = back(tmp_path / "p", tmp_path / "o", "train")
    assert again["annotations"] == poses["annotations"] and again["categories"] == poses["categories"]


# -- YOLO's names --------------------------------------------------------------------------------------------------


def labelled(root, name, line="0 0.5 0.5 0.2 0.2\n"):
    draw(root / f"{name}.png")
    (root / f"{name}.txt").write_text(line)


def test_names_in_two_folders(tmp_path):
    """Those of labelImg hold for the texts beside and below them."""
    for folder, names in (("one", "cat\ndog\n"), ("two", "dog\ncat\n")):
        labelled(tmp_path / "s" / folder / "deep", folder)
        (tmp_path / "s" / folder / "classes.txt").write_text(names)
    report = pack(tmp_path / "s", tmp_path / "p")
    assert titles(tmp_path / "p") == {"s": {"one.png": ["cat"], "two.png": ["dog"]}}
    assert [(p.code, p.path) for p in report.problems] == [("label-note", "one/classes.txt and two/classes.txt")]
    labelled(tmp_path / "s/three", "three")
    with pytest.raises(BlobdirError, match=r"three/three.txt: none of the files with names .* they differ"):
        pack(tmp_path / "s", tmp_path / "q")
    (tmp_path / "s/two/classes.txt").write_text("cat\ndog\n")
    pack(tmp_path / "s", tmp_path / "q")
    assert titles(tmp_path / "q") == {"s": {"one.png": ["cat"], "three.png": ["cat"], "two.png": ["cat"]}}


@pytest.mark.parametrize("empty", [*NAMES_FILES, "../classes.txt"])
def test_an_empty_text_of_names_hides_no_other(empty, tmp_path):
    """It's nearer to the labels, or it comes first."""
    labelled(tmp_path / "s/in", "a")
    (tmp_path / "s/names.txt").write_text("cat\n")
    (tmp_path / "s/in" / empty).write_text("\n")
    report = pack(tmp_path / "s", tmp_path / "p")
    assert titles(tmp_path / "p") == {"s": {"a.png": ["cat"]}} and report.complete


def test_names_that_differ_in_one_folder(tmp_path):
    labelled(tmp_path / "s", "a")
    (tmp_path / "s/classes.txt").write_text("cat\n")
    (tmp_path / "s/obj.names").write_text("dog\n")
    with pytest.raises(BlobdirError, match=r"obj.names: has other names than classes.txt; leave the one that counts"):
        pack(tmp_path / "s", tmp_path / "p")
    (tmp_path / "s/data.yaml").write_text("names: [fox]\ntrain: .\n")
    report = pack(tmp_path / "s", tmp_path / "p")
    assert titles(tmp_path / "p") == {"train": {"a.png": ["fox"]}}
    assert [(p.code, p.path) for p in report.problems] == [("label-note", "classes.txt"), ("label-note", "obj.names")]


@pytest.mark.parametrize("name", ["train", "test", "val", "names", "classes", "labels", "readme", "requirements"])
def test_images_that_are_called_like_other_texts(name, tmp_path):
    """Their labels are told from those by what is in them."""
    labelled(tmp_path / "s/images", "a")
    labelled(tmp_path / "s/images", name)
    (tmp_path / "s/data.yaml").write_text("names: [cat]\ntrain: train.txt\n")
    (tmp_path / "s/train.txt").write_text(f"images/a.png\nimages/{name}.png\n")
    assert pack(tmp_path / "s", tmp_path / "p").complete
    assert titles(tmp_path / "p") == {"train": {"a.png": ["cat"], f"{name}.png": ["cat"]}}


def test_one_text_for_an_image_in_two_formats(tmp_path):
    labelled(tmp_path / "s", "a")
    draw(tmp_path / "s/a.jpg")
    (tmp_path / "s/classes.txt").write_text("cat\n")
    report = pack(tmp_path / "s", tmp_path / "p")
    assert titles(tmp_path / "p") == {"s": {"a.jpg": ["cat"], "a.png": ["cat"]}}
    assert [p.code for p in report.problems] == ["label-note"]


def test_a_folder_for_two_splits(tmp_path):
    labelled(tmp_path / "s/images", "a")
    (tmp_path / "s/data.yaml").write_text("names: [cat]\ntrain: images\nval: images\ntest: nowhere\n")
    report = pack(tmp_path / "s", tmp_path / "p")
    assert list(titles(tmp_path / "p")) == ["train"]
    assert sorted(p.message for p in report.problems) == [
        "has test: nowhere, where no images are",
        "has the same images as train and as val; they are of train now",
    ]
    assert report.complete


# -- tables --------------------------------------------------------------------------------------------------------


def test_rows_of_one_image_in_two_splits(tmp_path):
    draw(tmp_path / "s/a.png")
    (tmp_path / "s/l.csv").write_text(
        "filename,class,xmin,ymin,xmax,ymax,split\na.png,cat,1,1,5,5,train\na.png,dog,1,1,5,5,val\n"
    )
    pack(tmp_path / "s", tmp_path / "p")
    assert titles(tmp_path / "p") == {"train": {"a.png": ["cat"]}, "val": {"a.png": ["dog"]}}
