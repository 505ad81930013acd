"""What label files said goes along with images through the steps of one transaction as through those of several."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from labels.test_moved import SOURCE, project

from blobdir.converting import ConvertOptions, convert
from blobdir.errors import BlobdirError, UsageError
from blobdir.verifying import verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

STEPS = int(os.environ.get("BLOBDIR_TEST_CHANGES", "0"))
DATASETS = ("train", "valid", "n1", "n2")
NAMES = ("train0.png", "train1.png", "valid0.png", "valid1.png")
OTHER = {"format": "coco", "categories": [{"id": 1, "name": "x"}], "file": {"licenses": [{"id": 1, "name": "MIT"}]}}

COMING, BOTH, CHOOSING = (
    ("image", "folder", "merged", "images", "pattern", "copied"),
    ("swap", "swapped"),
    ("named", "copy", "write"),
)

two = st.tuples(st.sampled_from(DATASETS), st.sampled_from(DATASETS)).filter(lambda pair: pair[0] != pair[1])
images = st.builds("{}/img/{}".format, st.sampled_from(DATASETS), st.sampled_from(NAMES))
with_two = ("folder", "folder", "merged", "images", "pattern", "copied", "swap", "named", "copy")
steps = st.one_of(
    st.tuples(st.just("image"), two, st.sampled_from(NAMES)),
    st.tuples(st.sampled_from(with_two), two),
    st.tuples(st.just("swapped"), st.lists(images, min_size=2, max_size=2, unique=True)),
    st.tuples(st.just("write"), st.sampled_from(DATASETS)),
    st.tuples(st.just("remove"), st.one_of(images, st.sampled_from(DATASETS))),
    st.tuples(st.just("remove"), st.builds(f"{{}}/{SOURCE}".format, st.sampled_from(DATASETS))),
)


def take(fs, step):
    kind, where, *name = step
    one, other = where if isinstance(where, (list, tuple)) else (where, where)
    if kind == "image":
        fs.mv(f"{one}/img/{name[0]}", f"{other}/img/{name[0]}")
    elif kind in ("folder", "copied"):
        (fs.mv if kind == "folder" else fs.cp)(one, other, recursive=True)
    elif kind == "merged":
        fs.mv(f"{one}/", f"{other}/", recursive=True)
    elif kind == "pattern":
        fs.mv(f"{one}/*", f"{other}/", recursive=True)
    elif kind == "images":
        fs.mv(f"{one}/img/*.png", f"{other}/img/")
    elif kind == "swap":
        fs.mv([one, other], [other, one], recursive=True)
    elif kind == "swapped":
        fs.mv([one, other], [other, one])
    elif kind in ("named", "copy"):
        (fs.mv if kind == "named" else fs.cp)(f"{one}/{SOURCE}", f"{other}/{SOURCE}")
    elif kind == "write":
        fs.pipe(f"{one}/{SOURCE}", json.dumps(OTHER).encode())
    else:
        fs.rm(one, recursive=True)


def change(root, steps):
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    with fs.transaction:
        for step in steps:
            take(fs, step)


def worth(root):
    """What `convert` gives of each image by its place: its license, and its objects with the names of their classes."""
    out = root.parent / f"{root.name}-coco"
    found = {}
    if not any(root.glob("*/ann/*.json")):
        return found
    assert convert(root, out, ConvertOptions("coco", images="none")).complete
    for path in out.glob("*/annotations/coco_instances.json"):
        value = json.loads(path.read_bytes())
        classes = {one["id"]: one["name"] for one in value["categories"]}
        licenses = {one["id"]: one["name"] for one in value.get("licenses", [])}
        for image in value["images"]:
            marks = [one for one in value["annotations"] if one["image_id"] == image["id"]]
            objects = sorted((classes[one["category_id"]], one["bbox"], one.get("keypoints", [])) for one in marks)
            found[path.parts[-3], image["file_name"]] = licenses.get(image.get("license")), objects
    shutil.rmtree(out)
    return found


@cache
def begun(licenses):
    return project(Path(tempfile.mkdtemp()), licenses=licenses)


def lost_by(root, step):
    """Images of the dataset whose `SOURCE` a step takes away by its name: what numbers in theirs mean, nobody knows."""
    where = step[1][0] if step[0] == "named" else step[1].partition("/")[0] if step[1:] and SOURCE in step[1] else ""
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    return {path.rpartition("/")[2] for path in fs.find(f"{where}/img")} if where and fs.exists(where) else set()


def compare(licenses, steps):
    """Whether one transaction does the steps, as several would, and doesn't refuse them."""
    with tempfile.TemporaryDirectory() as folder:
        root, single = (shutil.copytree(begun(licenses), Path(folder) / name) for name in ("once", "single"))
        done, chosen, lost = [], set(), set()
        for step in steps:
            kind, where = step[:2]
            ends = where if kind in BOTH else where[1:] if kind in COMING else ()
            if not chosen.isdisjoint(end.partition("/")[0] for end in ends):
                continue  # what somebody wants of a dataset holds for all that comes there in the same transaction
            lose = lost_by(single, step)
            try:
                change(single, [step])
            except (BlobdirError, OSError):
                continue  # it may be refused, or there is nothing of this name
            done.append(step)
            lost |= lose
            chosen |= {where if kind == "write" else where[1]} if kind in CHOOSING else set()
        before = worth(root)
        try:
            change(root, done)
        except (BlobdirError, OSError):
            assert worth(root) == before
            return False
        found = [{at: said for at, said in worth(one).items() if at[1] not in lost} for one in (root, single)]
        assert found[0] == found[1], done
        assert not verify(root).errors
        return True


@settings(max_examples=max(40, STEPS // 6), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([(1, 1), (1, 2)]), st.lists(steps, min_size=2, max_size=7))
def test_one_transaction_or_several(licenses, steps):
    compare(licenses, steps)


LOST = [("image", ("train", "n1"), "train0.png"), ("remove", "train"), ("image", ("n1", "train"), "train0.png")]
CASES = {
    "comes back": [("folder", ("train", "n1")), ("image", ("n1", "train"), "train0.png")],
    "comes back to what was removed": LOST,
    "went and came before others come": [
        ("folder", ("valid", "n2")),
        ("folder", ("n2", "valid")),
        ("merged", ("train", "valid")),
    ],
    "left before one is moved there": [
        ("images", ("train", "n1")),
        ("named", ("valid", "train")),
        ("image", ("valid", "train"), "valid0.png"),
    ],
    "left before one is copied there": [("images", ("train", "n1")), ("copy", ("valid", "train"))],
    "left before one is written": [("image", ("train", "n1"), "train0.png"), ("write", "train")],
    "left after one was written": [("write", "train"), ("image", ("train", "n1"), "train0.png")],
    "written, and its folder joins another": [("write", "n1"), ("merged", ("n1", "valid"))],
    "what several say is copied by its name": [
        ("images", ("train", "n1")),
        ("images", ("valid", "n1")),
        ("copy", ("n1", "n2")),
        ("images", ("n1", "n2")),
    ],
    "what several say is moved by its name": [
        ("images", ("train", "valid")),
        ("named", ("valid", "n2")),
    ],
}


@pytest.mark.parametrize("licenses", [(1, 1), (1, 2)], ids=["conflict", "none"])
@pytest.mark.parametrize("case", CASES)
def test_what_has_left_says_what_it_said(case, licenses):
    compare(licenses, CASES[case])


def test_another_one_in_the_place(tmp_path):
    """The images of both can't be in it, by whatever ways they come there."""
    root = project(tmp_path, licenses=(1, 1))
    steps = [("folder", ("train", "n1")), ("folder", ("valid", "train")), ("image", ("n1", "train"), "train0.png")]
    before = worth(root)
    with pytest.raises(UsageError, match=f"train(/{SOURCE}: both datasets have it|: the class 'person_bbox' stands)"):
        change(root, steps)
    assert worth(root) == before


def test_a_name_within_the_dataset(tmp_path):
    """An image that gets another name hasn't come from anywhere, so it brings nothing back."""
    root = project(tmp_path)
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    with fs.transaction:
        fs.mv([f"train/{SOURCE}", "train/img/train0.png"], ["notes/x.json", "train/img/other.png"])
    assert not (root / "train" / SOURCE).exists()


def test_what_is_moved_by_its_name_is_what_both_say(tmp_path):
    root = project(tmp_path)
    change(root, [("images", ("train", "valid")), ("copy", ("valid", "n2"))])
    said = (root / "n2" / SOURCE).read_bytes()
    assert said == (root / "valid" / SOURCE).read_bytes()
    assert [one["name"] for one in json.loads(said)["file"]["licenses"]] == ["GPL", "CC-BY"]
