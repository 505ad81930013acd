"""Images that were packed from labels, moved to another dataset: what label files said of theirs goes along."""

from __future__ import annotations

import json
import shutil
import warnings
from functools import wraps

import fsspec
import pytest
from label_cases import draw, dump

import blobdir
from blobdir.converting import ConvertOptions, convert
from blobdir.errors import BlobdirWarning, UsageError
from blobdir.packing import PackOptions, merge, move, subset
from blobdir.verifying import verify

SOURCE = "label_source.json"
PERSON = {"id": 7, "name": "person", "supercategory": "being", "keypoints": ["p", "q"], "skeleton": [[1, 2]]}
DOG = {"id": 1, "name": "dog", "supercategory": "pet"}
IMAGES = ["train0.png", "train1.png"]


def coco(folder, split, categories, license_id, name):
    """A split of two images, each with a box; the first has keypoints as well, if its class has."""
    value = {"images": [], "annotations": [], "categories": categories}
    value["licenses"] = [{"id": license_id, "name": name, "url": "u"}]
    for j in range(2):
        file = f"{split}{j}.png"
        draw(folder / split / file)
        value["images"].append({"id": j + 1, "file_name": file, "height": 60, "width": 80, "license": license_id})
        mark = {"id": j + 1, "image_id": j + 1, "category_id": categories[0]["id"], "bbox": [10, 10, 20, 20]}
        mark |= {"area": 400, "iscrowd": 0, "segmentation": []}
        if "keypoints" in categories[0] and j == 0:
            mark |= {"keypoints": [15, 15, 2, 18, 18, 2], "num_keypoints": 2}
        value["annotations"].append(mark)
    dump(folder / split / "_annotations.coco.json", value)


def project(tmp_path, licenses=(1, 2), annotations="loose"):
    coco(tmp_path / "s", "train", [PERSON], licenses[0], "CC-BY")
    coco(tmp_path / "s", "valid", [DOG], licenses[1], "GPL")
    blobdir.pack(tmp_path / "s", tmp_path / "p", PackOptions(labels="coco", annotations=annotations, processes=1))
    return tmp_path / "p"


def written(root):
    """What `convert` gives of each image: its license, and its objects."""
    out = root.parent / f"{root.name}-coco"
    assert convert(root, out, ConvertOptions("coco", images="none")).complete
    found = {}
    for path in out.glob("*/annotations/coco_instances.json"):
        value = json.loads(path.read_bytes())
        classes = {one["id"]: (one["name"], one["id"], one.get("supercategory")) for one in value["categories"]}
        licenses = {one["id"]: one["name"] for one in value.get("licenses", [])}
        for image in value["images"]:
            marks = [one for one in value["annotations"] if one["image_id"] == image["id"]]
            objects = [(classes[one["category_id"]], one["bbox"], one.get("keypoints")) for one in marks]
            found[image["file_name"]] = licenses.get(image.get("license")), objects
    shutil.rmtree(out)
    return found


def source(root, dataset):
    return json.loads((root / dataset / SOURCE).read_bytes())


def named(found):
    """Without the numbers of classes: another one may have them in the dataset."""
    return {name: (given, [(one[0][0], *one[1:]) for one in some]) for name, (given, some) in found.items()}


def shown(dataset):
    return [f"{dataset}/img/{name}" for name in IMAGES]


def by_command(root, target):
    move(root, [f"train/{name}" for name in IMAGES], target)


def in_transaction(step):
    @wraps(step)
    def change(root, target):
        fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
        with warnings.catch_warnings(), fs.transaction:
            warnings.simplefilter("ignore", BlobdirWarning)
            step(fs, target)

    return change


@in_transaction
def one_by_one(fs, target):
    for old, new in zip(shown("train"), shown(target), strict=True):
        fs.mv(old, new)


@in_transaction
def as_list(fs, target):
    fs.mv(shown("train"), shown(target))


@in_transaction
def with_their_files(fs, target):
    files = [path for path in fs.find("train") if not path.endswith(SOURCE)]
    fs.mv(files, [target + path.removeprefix("train") for path in files])


@in_transaction
def files_before_images(fs, target):
    for folder in ("ann", "meta", "img"):
        for name in IMAGES:
            tail = f"{folder}/{name}{'' if folder == 'img' else '.json'}"
            if fs.exists(f"train/{tail}"):
                fs.mv(f"train/{tail}", f"{target}/{tail}")


@in_transaction
def by_pattern(fs, target):
    fs.mv("train/img/*.png", f"{target}/img/")


@in_transaction
def by_pattern_of_all(fs, target):
    fs.mv("train/*", f"{target}/", recursive=True)


@in_transaction
def folder_of_images(fs, target):
    fs.mv("train/img/", f"{target}/img/", recursive=True)


@in_transaction
def all_in_the_folder(fs, target):
    fs.mv("train/", f"{target}/", recursive=True)


@in_transaction
def through_a_third_place(fs, target):
    fs.mv(shown("train"), shown("third"))
    fs.mv(shown("third"), shown(target))


@in_transaction
def copied_folder(fs, target):
    fs.cp("train/", f"{target}/", recursive=True)
    fs.rm(shown("train"))


@in_transaction
def copied_folders(fs, target):
    folders = ["img", "ann", "meta"]
    fs.cp([f"train/{one}" for one in folders], [f"{target}/{one}" for one in folders], recursive=True)
    fs.rm(shown("train"))


@in_transaction
def copied_files(fs, target):
    files = [path for path in fs.find("train") if not path.endswith(SOURCE)]
    fs.cp(files, [target + path.removeprefix("train") for path in files])
    fs.rm(shown("train"))


@in_transaction
def copied_by_pattern(fs, target):
    fs.cp("train/*", f"{target}/", recursive=True)
    fs.rm(shown("train"))


WAYS = [
    by_command,
    one_by_one,
    as_list,
    with_their_files,
    files_before_images,
    by_pattern,
    by_pattern_of_all,
    folder_of_images,
    all_in_the_folder,
    through_a_third_place,
    copied_folder,
    copied_folders,
    copied_files,
    copied_by_pattern,
]
ways = pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])


@ways
@pytest.mark.parametrize("annotations", ["loose", "packed"])
def test_to_a_new_dataset(way, annotations, tmp_path):
    """It says what theirs says; so they are converted to what they were, numbers and all."""
    root = project(tmp_path, annotations=annotations)
    before, said = written(root), source(root, "train")
    way(root, "test")
    assert written(root) == before and source(root, "test") == said
    assert not (root / "third").exists() and not verify(root).errors


@ways
def test_to_one_that_is_there(way, tmp_path):
    """It says what both say."""
    root = project(tmp_path)
    before = written(root)
    way(root, "valid")
    assert named(written(root)) == named(before) and not verify(root).errors
    said = source(root, "valid")
    assert [one["name"] for one in said["file"]["licenses"]] == ["GPL", "CC-BY"]
    assert said["classes"] == {"person_bbox": "person"}
    assert {one["name"] for one in said["categories"]} == {"dog", "person"}


@ways
def test_a_license_number_that_means_two(way, tmp_path):
    root = project(tmp_path, licenses=(1, 1))
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r"valid/label_source.json: .* the license 1 is .* make them the same"):
        way(root, "valid")
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and ".blobdir" not in path.parts}
    assert after == {path: data for path, data in before.items() if ".blobdir" not in path.parts}


def test_what_can_not_be_in_it_is_said(tmp_path):
    """By the report, in a dry run, too; by a warning where a transaction ends."""
    root = project(tmp_path)
    path = root / "train" / SOURCE
    said = source(root, "train")
    said["categories"][0]["id"] = 1
    path.write_text(json.dumps(said))
    shutil.copytree(root, tmp_path / "other")
    dry = move(root, ["train/train0.png"], "valid", dry_run=True)
    report = move(root, ["train/train0.png"], "valid")
    expected = "the class 'person' has the number 1 there, which another one has here; it's 2 now"
    assert report.problems == dry.problems
    assert [(p.code, p.path, p.message) for p in report.problems] == [("kept", f"valid/{SOURCE}", expected)]
    fs = fsspec.filesystem("blobdir", fo=str(tmp_path / "other"), skip_instance_cache=True)
    with pytest.warns(BlobdirWarning, match=f"valid/{SOURCE}: {expected}"), fs.transaction:
        fs.mv("train/img/train0.png", "valid/img/train0.png")
    assert source(root, "valid") == source(tmp_path / "other", "valid")


def give(root, dataset, image, title):
    """Have the first object of an image be of a class."""
    path = root / dataset / "ann" / f"{image}.json"
    value = json.loads(path.read_bytes())
    value["objects"][0] |= {"classTitle": title, "geometryType": "rectangle"}
    path.write_text(json.dumps(value))


@pytest.mark.parametrize("way", [by_command, as_list], ids=["by_command", "as_list"])
@pytest.mark.parametrize("end", ["there", "coming"])
def test_a_title_that_stands_for_another_class(way, end, tmp_path):
    """Objects of a class that is called so would be of the other one; where there are none, nothing is wrong."""
    root = project(tmp_path)
    said = source(root, "valid") | {"classes": {"person_bbox": "dog"} if end == "coming" else {}}
    (root / "valid" / SOURCE).write_text(json.dumps(said))
    if end == "there":
        give(root, "valid", "valid1.png", "person_bbox")
    before = written(root)
    with pytest.raises(UsageError, match=r"valid: the class 'person_bbox' stands for '(dog|person)'"):
        way(root, "valid")
    assert written(root) == before
    if end == "there":
        give(root, "valid", "valid1.png", "dog")
        way(root, "valid")
        assert named(written(root))["train1.png"] == named(before)["train1.png"]


def changing(root):
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    return fs, fs.transaction


MINE = json.dumps({"format": "coco", "categories": [], "file": {"info": {"year": 1}}}).encode()


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    "step",
    [
        lambda fs: fs.pipe(f"valid/{SOURCE}", MINE),
        lambda fs: (fs.pipe(f"train/{SOURCE}", MINE), fs.mv(f"train/{SOURCE}", f"valid/{SOURCE}")),
        lambda fs: (fs.pipe("x.json", MINE), fs.cp("x.json", f"valid/{SOURCE}")),
        lambda fs: (fs.pipe(f"x/{SOURCE}", MINE), fs.mv([f"x/{SOURCE}"], "valid/")),
    ],
    ids=["written", "moved", "copied", "listed"],
)
def test_one_that_somebody_writes_stays(step, order, tmp_path):
    root = project(tmp_path, licenses=(1, 1))
    fs, transaction = changing(root)
    with transaction:
        for do in (step, lambda fs: fs.mv(shown("train"), shown("valid")))[::order]:
            do(fs)
    assert (root / "valid" / SOURCE).read_bytes() == MINE


def test_datasets_that_swap_their_names(tmp_path):
    """What each says goes with it; nothing is of the other one."""
    root = project(tmp_path, licenses=(1, 1))
    before, said = written(root), (source(root, "train"), source(root, "valid"))
    fs, transaction = changing(root)
    with transaction:
        fs.mv(["train", "valid"], ["valid", "train"], recursive=True)
    assert written(root) == before and (source(root, "valid"), source(root, "train")) == said


def test_images_that_swap_datasets_and_come_back(tmp_path):
    root = project(tmp_path, licenses=(1, 1))
    before = {path: path.read_bytes() for path in root.glob(f"*/{SOURCE}")}
    fs, transaction = changing(root)
    with transaction:
        fs.mv(shown("train"), shown("valid"))
        fs.mv(shown("valid"), shown("train"))
    assert {path: path.read_bytes() for path in root.glob(f"*/{SOURCE}")} == before


def test_what_has_no_labels_with_it(tmp_path):
    """An image that is copied alone, and what isn't an image's, say nothing of labels."""
    root = project(tmp_path, licenses=(1, 1))
    before = source(root, "valid")
    fs, transaction = changing(root)
    with transaction:
        fs.cp("train/img/train0.png", "valid/img/train0.png")
        fs.pipe("train/img/notes.txt", b"x")
        fs.mv("train/img/notes.txt", "valid/img/notes.txt")
    assert source(root, "valid") == before


@pytest.mark.parametrize("dataset", ["valid", "train", "new"])
def test_of_a_dataset_without_one(dataset, tmp_path):
    """Images that weren't packed from labels bring nothing, and take what the others say where they come to."""
    root = project(tmp_path)
    (root / "valid" / SOURCE).unlink()
    if dataset == "valid":
        move(root, ["train/train0.png"], dataset)
        assert source(root, "valid") == source(root, "train")
        return
    before = source(root, "train")
    move(root, ["valid/valid0.png"], dataset)
    assert source(root, "train") == before and not (root / "new" / SOURCE).exists()


def test_one_that_is_another_file(tmp_path):
    """It goes along as it is; two that differ can't be one."""
    root = project(tmp_path)
    (root / "train" / SOURCE).write_bytes(b"[]")
    (root / "valid" / SOURCE).write_text(json.dumps(source(root, "valid") | {"classes": {}}))
    with pytest.raises(UsageError, match=f"valid/{SOURCE}: both datasets have it, and they can't be put together: "):
        move(root, ["train/train0.png"], "valid")
    move(root, ["train/train0.png"], "test")
    assert (root / "test" / SOURCE).read_bytes() == b"[]"


def test_others_that_make_datasets_have_it(tmp_path):
    """A subset, a project that is unpacked and packed again, and one that is merged."""
    root = project(tmp_path)
    before = written(root)
    subset(root, tmp_path / "some")
    assert written(tmp_path / "some") == before
    changing(root)[0].get("/", f"{tmp_path}/plain/", recursive=True)
    blobdir.pack(tmp_path / "plain", tmp_path / "again", PackOptions(processes=1))
    assert written(tmp_path / "again") == before
    blobdir.Project.create(tmp_path / "empty")
    merge(tmp_path / "empty", root)
    assert written(tmp_path / "empty") == before
