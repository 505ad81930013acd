"""Projects that were packed from labels, merged: of two datasets of one name, what label files said is one."""

from __future__ import annotations

import json

import pytest
from label_cases import BOX, WRITERS, World, coco_of, draw, dump, write
from split_cases import pack

import blobdir
from blobdir.converting import ConvertOptions, convert
from blobdir.errors import UsageError
from blobdir.packing import merge
from blobdir.verifying import verify

FIRST = World({"a.png": [("cat", BOX), ("dog", BOX)]}, ["cat", "dog"])
SECOND = World({"b.png": [("dog", BOX), ("fox", BOX)]}, ["dog", "fox"])


def source_of(project):
    (path,) = project.glob("*/label_source.json")
    return json.loads(path.read_bytes())


def classes(project):
    return {
        name: [one["classTitle"] for one in dataset.annotation(name)["objects"]]
        for dataset in blobdir.open_project(project).values()
        for name in dataset
    }


def two(tmp_path, kinds, worlds=(FIRST, SECOND)):
    for kind, world, name in zip(kinds, worlds, ("ours", "theirs"), strict=True):
        report, _ = pack(write(kind, tmp_path / name, world), tmp_path / f"p-{name}", dataset="train")
        assert report.complete, report.problems
    return tmp_path / "p-ours", tmp_path / "p-theirs"


@pytest.mark.parametrize("theirs", WRITERS)
@pytest.mark.parametrize("ours", WRITERS)
def test_two_sets_are_one(ours, theirs, tmp_path):
    """Whatever formats they had: all classes are in all formats that are written, and read again."""
    projects = two(tmp_path, (ours, theirs))
    dry = merge(*projects, dry_run=True)
    report = merge(*projects)
    assert report.problems == dry.problems and {p.code for p in report.problems} <= {"kept"}
    assert not verify(projects[0]).errors
    expected = {"a.png": ["cat", "dog"], "b.png": ["dog", "fox"]}
    assert classes(projects[0]) == expected
    for to in ("coco", "yolo", "voc"):
        assert convert(projects[0], tmp_path / to, ConvertOptions(to)).complete
        again, found = pack(tmp_path / to, tmp_path / f"again-{to}")
        assert again.complete and found == {"train": ["a.png", "b.png"]}
        assert {name: sorted(some) for name, some in classes(tmp_path / f"again-{to}").items()} == expected


def test_numbers_of_classes(tmp_path):
    """Those of the first set stay; a class that is new gets its own number where that is free, which is said else."""
    third = World({"b.png": [("dog", BOX), ("fox", BOX), ("owl", BOX)]}, ["dog", "fox", "owl"])
    projects = two(tmp_path, ("coco", "coco"), (FIRST, third))
    report = merge(*projects)
    numbers = {one["name"]: one["id"] for one in source_of(projects[0])["categories"]}
    assert numbers == {"cat": 0, "dog": 1, "fox": 3, "owl": 2}
    said = [(p.path, p.message.partition(",")[0]) for p in report.problems]
    assert said == [
        ("train/label_source.json", "the class 'fox' has the number 1 there"),
        ("train/label_source.json", "the id of the class 'dog' is 0 there"),
    ]
    convert(projects[0], tmp_path / "o", ConvertOptions("coco"))
    value = json.loads((tmp_path / "o/train/annotations/coco_instances.json").read_bytes())
    names = {one["id"]: one["name"] for one in value["categories"]}
    assert len(names) == 4 and sorted(names[one["category_id"]] for one in value["annotations"]) == sorted(
        title for some in classes(projects[0]).values() for title in some
    )


def test_equal_ones_need_no_word(tmp_path):
    projects = two(tmp_path, ("coco", "coco"), (FIRST, World({"b.png": [("dog", BOX)]}, ["cat", "dog"])))
    before = source_of(projects[0])
    assert not merge(*projects).problems and source_of(projects[0]) == before


def coco_project(tmp_path, name, image, **said):
    value = coco_of(World({image: [("cat", BOX)]})) | said
    draw(tmp_path / name / "train" / image)
    dump(tmp_path / name / "annotations/instances_train.json", value)
    pack(tmp_path / name, tmp_path / f"p-{name}")
    return tmp_path / f"p-{name}"


def test_what_files_say_of_themselves(tmp_path):
    first = coco_project(tmp_path, "one", "a.png", info={"year": 2020}, licenses=[{"id": 1, "name": "CC0"}])
    licenses = [{"id": 1, "name": "CC0"}, {"id": 2, "name": "CC BY"}]
    second = coco_project(tmp_path, "two", "b.png", info={"year": 2021, "url": "u"}, licenses=licenses, more=[1])
    report = merge(first, second)
    assert source_of(first)["file"] == {"info": {"year": 2020, "url": "u"}, "licenses": licenses, "more": [1]}
    assert [p.message for p in report.problems] == ["its file.info.year is 2021 there, and 2020 here, which stays"]


def test_a_license_number_that_means_two(tmp_path):
    """Images name them by number, so they would have another license: refused, and nothing is changed."""
    first = coco_project(tmp_path, "one", "a.png", licenses=[{"id": 1, "name": "CC0"}])
    second = coco_project(tmp_path, "two", "b.png", licenses=[{"id": 1, "name": "CC BY"}])
    before = source_of(first)
    for dry_run in (True, False):
        with pytest.raises(UsageError, match=r"label_source.json: .* the license 1 is .* make them the same; nothing"):
            merge(first, second, dry_run=dry_run)
    assert source_of(first) == before and list(classes(first)) == ["a.png"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "coco", "categories": 1}', '{"format": 1}', "{"])
def test_a_file_that_is_called_so_and_is_another(text, tmp_path):
    projects = two(tmp_path, ("coco", "coco"))
    for damaged in projects:
        path = damaged / "train/label_source.json"
        content = path.read_bytes()
        path.write_text(text)
        with pytest.raises(UsageError, match=r"train/label_source.json: both projects have it, and they can't be put"):
            merge(*projects)
        path.write_bytes(content)
    assert classes(projects[0]) == {"a.png": ["cat", "dog"]}


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("has_source", [True, False])
def test_a_title_that_stands_for_another_class(has_source, order, tmp_path):
    """Objects of a class that is called so would be of the other one when they are converted."""
    world = World({"a.png": [("person_bbox", BOX)]}, ["person_bbox"])
    own, theirs = two(tmp_path, ("coco", "coco"), (world, SECOND))
    if not has_source:  # as the SDK exports it
        (own / "train/label_source.json").unlink()
    source = source_of(theirs) | {"classes": {"person_bbox": "person"}}
    (theirs / "train/label_source.json").write_text(json.dumps(source))
    before = classes(own), classes(theirs)
    with pytest.raises(UsageError, match="'person_bbox' stands for 'person'"):
        merge(*(own, theirs)[::order])
    assert (classes(own), classes(theirs)) == before
    source["classes"] = {"dog_bbox": "dog"}
    (theirs / "train/label_source.json").write_text(json.dumps(source))
    merge(*(own, theirs)[::order])
