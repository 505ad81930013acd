"""Which images are meant: by what somebody types, by pattern, class and tag; and so many of each class."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest
from blob_builder import Builder

from blobdir.annotations import annotation_fault, read_object
from blobdir.datasets import open_view
from blobdir.errors import AnnotationError, BlobdirError, NotFoundError, UsageError
from blobdir.packing.choosing import SubsetOptions, choose, find_images, sample

SIZE = '"size": {"height": 1, "width": 1}'
LONG = "n" * 246 + ".jpg"
GOLDEN = [f"{i}.jpg" for i in (123, 140, 149, 172, 175, 187, 188, 197, 3, 47, 56, 66, 69, 8, 9)]


def labels_of(images, classes, seed=0):
    source = random.Random(seed)
    names = [f"c{i}" for i in range(classes)]
    return {("train", f"{i:06d}.jpg"): frozenset(source.sample(names, 3)) for i in range(images)}


# -- so many of each class -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_class", [1, 3, 50])
@pytest.mark.parametrize("seed", [0, 7])
def test_of_each_class_so_many_or_all(per_class, seed):
    labels = labels_of(300, 20, seed)
    kept = sample(labels, per_class, seed)
    for title in {title for titles in labels.values() for title in titles}:
        there = sum(title in titles for titles in labels.values())
        assert sum(title in titles for titles in kept.values()) >= min(per_class, there)
    counts = dict.fromkeys((title for titles in labels.values() for title in titles), 0)
    for titles in kept.values():  # in the order in which they were taken: each for a class that had too few
        assert min(counts[title] for title in titles) < per_class
        for title in titles:
            counts[title] += 1


def test_one_image_with_all_classes_is_enough():
    labels = labels_of(50, 10) | {("train", "all.jpg"): frozenset(["rare", *(f"c{i}" for i in range(10))])}
    assert set(sample(labels, 1, 3)) == {("train", "all.jpg")}


def test_same_seed_same_images():
    labels = labels_of(500, 10)
    shuffled = dict(random.Random(5).sample(list(labels.items()), len(labels)))
    assert set(sample(labels, 5, 7)) == set(sample(shuffled, 5, 7)) != set(sample(labels, 5, 8))


def test_the_same_in_every_process():
    code = (
        "from blobdir.packing.choosing import sample\n"
        "labels = {('t\\udcff', f'{i}.jpg'): frozenset({f'c{i % 7}', f'd{i % 5}'}) for i in range(200)}\n"
        "print(sorted(name for _, name in sample(labels, 2, 1)))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert said == {f"{GOLDEN}\n"}  # what was once made by a seed can be made again by every later version


class _Counted(dict):
    """Labels that count how often they are looked at."""

    looked = 0

    def __getitem__(self, key):
        _Counted.looked += 1
        return super().__getitem__(key)


@pytest.mark.parametrize("images", [1000, 4000])
def test_linear_in_images_and_classes(images):
    """Four times as many images with four times as many classes: four times the work, not sixteen times."""
    labels = _Counted(
        labels_of(images, images // 4) | {("train", "all.jpg"): frozenset(f"c{i}" for i in range(images))}
    )
    _Counted.looked = 0
    sample(labels, 5, 0)
    assert _Counted.looked <= 2 * len(labels)


# -- what somebody types -------------------------------------------------------------------------------------------

DATASETS = {
    "train": ["a.jpg", "b/c.jpg"],
    "train/datasets/b": ["c.jpg"],
    "a-b": ["x.jpg"],
    "a/datasets/b": ["x.jpg"],
    "a": ["y.jpg", LONG],
    "img": ["i.jpg"],
    "ann/datasets/img": ["i.jpg", "\udcff.jpg"],
}


@pytest.fixture
def project(tmp_path):
    made = Builder(tmp_path / "p")
    classes = [{"title": title, "shape": "rectangle"} for title in ("lemon", "Lime", "kiwi")]
    made.loose("meta.json", json.dumps({"classes": classes, "tags": [{"name": "ripe"}]}).encode())
    for dataset, names in DATASETS.items():
        for name in names:
            made.loose(f"{dataset}/img/{name}", b"image")
        made.loose(f"{dataset}/img/notes.txt", b"no image")
    return open_view(made.root)


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("a.jpg", {"train": {"a.jpg"}}),
        ("x.jpg", {"a-b": {"x.jpg"}, "a/datasets/b": {"x.jpg"}}),
        ("a-b/x.jpg", {"a-b": {"x.jpg"}}),
        ("a/b/x.jpg", {"a/datasets/b": {"x.jpg"}}),
        ("a/datasets/b/x.jpg", {"a/datasets/b": {"x.jpg"}}),
        ("a/datasets/b/img/x.jpg", {"a/datasets/b": {"x.jpg"}}),
        ("a/b/img/x.jpg", {"a/datasets/b": {"x.jpg"}}),
        ("img/i.jpg", {"img": {"i.jpg"}}),
        ("img/img/i.jpg", {"img": {"i.jpg"}}),
        ("ann/img/i.jpg", {"ann/datasets/img": {"i.jpg"}}),
        ("ann/img/\udcff.jpg", {"ann/datasets/img": {"\udcff.jpg"}}),
        ("train/img/b/c.jpg", {"train": {"b/c.jpg"}}),
        ("b/c.jpg", {"train": {"b/c.jpg"}}),
        (f"a/{LONG}", {"a": {LONG}}),
    ],
)
def test_names(project, typed, means):
    assert find_images(project, [typed]) == means


@pytest.mark.parametrize("typed", ["none.jpg", "train/none.jpg", "train/notes.txt", "train/img", "", "/", "a-b/a.jpg"])
def test_names_that_are_not_there(project, typed):
    with pytest.raises(NotFoundError, match="no dataset of"):
        find_images(project, [typed])


def test_a_name_of_two_images_is_no_guess(project):
    with pytest.raises(UsageError, match=r"train/datasets/b/img/c\.jpg and train/img/b/c\.jpg"):
        find_images(project, ["train/b/c.jpg"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"classes": ("lemmon",)}, "near it: lemon"),
        ({"classes": ("lime",)}, "near it: Lime"),
        ({"classes": ("zzz",)}, "it has lemon, Lime, kiwi"),
        ({"tags": ("rip",)}, "near it: ripe"),
        ({"datasets": ("trian",)}, "near it: train"),
        ({"patterns": ("a.jpg",)}, r"\*/a\.jpg would fit"),
        ({"patterns": ("train/*", "train/img/a*")}, r"train/a\* would fit"),
        ({"patterns": ("trian/a.jpg",)}, "near it: train/a.jpg"),
        ({"patterns": ("a-b/*",), "datasets": ("train",)}, "no image fits"),
    ],
)
def test_what_is_near_is_named(project, options, says):
    with pytest.raises(BlobdirError, match=says):
        choose(project, SubsetOptions(**options))


def test_texts_in_place_of_lists(project):
    with pytest.raises(UsageError, match="must be a list"):
        SubsetOptions(classes="lemon")


# -- annotations that can't be used -----------------------------------------------------------------------------

OBJECT = '{"classTitle": "lemon"}'
BAD = {
    "empty": ("", "is empty"),
    "cut off": ('{"objects": [', "isn't JSON: it is cut off"),
    "no JSON": ("lemon\nlemon", "isn't JSON from line 1, column 1 on"),
    "no UTF-8": (b'{"objects": "\xff"}', "isn't JSON: byte 13 isn't UTF-8"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "long number": ('{"a": ' + "9" * 5000 + "}", "a number in it is too long"),
    "list": ("[1]", "holds a list, not an object"),
    "null": ("null", "holds null, not an object"),
    "text": ('"lemon"', "holds a text, not an object"),
    "no objects": (f"{{{SIZE}}}", "it has no list of objects"),
    "objects no list": ('{"objects": null}', "its objects are null, not a list"),
    "objects no objects": (f'{{"objects": [{OBJECT}, "lemon"]}}', "its object 1 is a text, not an object"),
    "no class": ('{"objects": [{"class": "lemon"}]}', "its object 0 has no classTitle"),
    "class no text": ('{"objects": [{"classTitle": 7}]}', "its object 0 has a number as classTitle"),
    "class a list": ('{"objects": [{"classTitle": []}]}', "its object 0 has a list as classTitle"),
    "tags as text": ('{"tags": ["ripe"], "objects": []}', "its tag 0 is a text, not an object with a name"),
    "tags no list": ('{"tags": {"a": 1}, "objects": []}', "its tags are an object, not a list"),
    "tags of an object": ('{"objects": [{"classTitle": "c", "tags": [true]}]}', "the object 0's tag 0 is true"),
    "tag without a name": ('{"tags": [{"value": 1}], "objects": []}', "its tag 0 has no name"),
    "tag's name no text": ('{"tags": [{"name": null}], "objects": []}', "its tag 0 has null as name"),
}
PYTHONS = (
    "NoneType",
    "dict",
    "KeyError",
    "TypeError",
    "Error:",
    "object has no attribute",
    "Expecting",
    "delimiter",
    "str",
)


@pytest.mark.parametrize("kind", BAD)
def test_faults_in_words_of_the_format(kind):
    text, says = BAD[kind]
    data = text if isinstance(text, bytes) else text.encode()
    try:
        fault = annotation_fault(read_object(data))
    except AnnotationError as error:
        fault = str(error)
    assert says in fault
    assert not [word for word in PYTHONS if word in fault]


@pytest.mark.parametrize(
    "text", ['{"objects": []}', f'{{{SIZE}, "tags": [], "objects": [{OBJECT}]}}', '\ufeff{"objects": []}']
)
def test_sound_annotations(text):
    assert annotation_fault(read_object(text.encode())) == ""


@pytest.mark.parametrize("condition", [{"classes": ("lemon",)}, {"tags": ("ripe",)}, {"per_class": 9}])
@pytest.mark.parametrize("packed", [False, True])
def test_no_shorter_list_without_a_word(tmp_path, condition, packed):
    made = Builder(tmp_path / "p")
    meta = {"classes": [{"title": "lemon"}], "tags": [{"name": "ripe"}]}
    made.loose("meta.json", json.dumps(meta).encode())
    good = '{"tags": [{"name": "ripe"}], "objects": [{"classTitle": "lemon"}]}'
    notes = {kind.replace(" ", "_"): text for kind, (text, _) in BAD.items()} | {"good": good, "old": good}
    notes = {name: text if isinstance(text, bytes) else text.encode() for name, text in notes.items()}
    images = [f"{name}.jpg" for name in notes]
    made.offsets("train", "b", made.tar("b", {name: name.encode() for name in [*images, "without.jpg"]}))
    paths = {f"{name}.json" if name == "old" else f"{name}.jpg.json": data for name, data in notes.items()}
    if packed:
        made.offsets("train/ann.blob", "n", made.tar("n", paths, "train/ann.blob"))
    else:
        for path, data in paths.items():
            made.loose(f"train/ann/{path}", data)
    project = open_view(made.root)
    choice = choose(project, SubsetOptions(**condition))
    assert choice.images == {"train": ["good.jpg", "old.jpg"]}
    assert choice.without_annotation == 1
    assert sorted(problem.path for problem in choice.problems) == sorted(
        f"train/ann/{kind.replace(' ', '_')}.jpg.json" for kind in BAD
    )
    for problem in choice.problems:
        says = BAD[problem.path.rpartition("/")[2].removesuffix(".jpg.json").replace("_", " ")][1]
        assert says in problem.message
        assert problem.costs
    with pytest.raises(AnnotationError, match="--strict"):
        choose(project, SubsetOptions(strict=True, **condition))
    assert choose(project, SubsetOptions(strict=True, names=["good.jpg"])).problems == []  # nobody asks for its classes


def test_annotations_that_may_be_there(tmp_path):
    """Packed annotations whose pickle is cut off aren't seen; the images aren't taken for some without."""
    made = Builder(tmp_path / "p")
    made.offsets("train", "b", made.tar("b", {"a.jpg": b"a", "b.jpg": b"b"}))
    pickle = made.offsets("train/ann.blob", "n", made.tar("n", {"a.jpg.json": b'{"objects": []}'}, "train/ann.blob"))
    pickle.write_bytes(pickle.read_bytes()[:-4])
    with pytest.warns():
        project = open_view(made.root)
    choice = choose(project, SubsetOptions(per_class=1))
    assert choice.without_annotation == 0
    assert [problem.path for problem in choice.problems] == ["train/ann/a.jpg.json", "train/ann/b.jpg.json"]
    assert all("n_offsets.pkl" in problem.message for problem in choice.problems)


def test_links_that_lead_out(tmp_path):
    made = Builder(tmp_path / "p")
    made.loose("train/img/a.jpg", b"a")
    (tmp_path / "secret.json").write_text('{"objects": [{"classTitle": "lemon"}]}')
    (made.root / "train/ann").mkdir()
    (made.root / "train/ann/a.jpg.json").symlink_to(tmp_path / "secret.json")
    (problem,) = choose(open_view(made.root), SubsetOptions(per_class=1)).problems
    assert "outside the project" in problem.message
    found = choose(open_view(made.root, follow_links=True), SubsetOptions(per_class=1))
    assert found.images == {"train": ["a.jpg"]}


BAD_META = {
    "classes are a number": b'{"classes": 5, "tags": []}',
    "classes are an object": b'{"classes": {"lemon": 1}, "tags": []}',
    "classes are nothing": b'{"classes": null, "tags": []}',
    "a class is a text": b'{"classes": ["lemon"], "tags": []}',
    "a class without title": b'{"classes": [{"shape": "rectangle"}], "tags": []}',
    "tags are a text": b'{"classes": [], "tags": "ripe"}',
    "a list": b"[]",
    "cut": b'{"classes": [',
}


@pytest.mark.parametrize("options", [{"classes": ("lemon",)}, {"tags": ("ripe",)}, {"classes": ("none",)}], ids=str)
@pytest.mark.parametrize("fault", BAD_META)
def test_a_meta_json_that_says_no_classes(tmp_path, fault, options):
    """However it is damaged: nobody has typed something wrong."""
    made = Builder(tmp_path / "p")
    made.loose("meta.json", BAD_META[fault])
    made.loose("train/img/a.jpg", b"image")
    with pytest.raises(AnnotationError, match=r"^meta\.json: "):
        choose(open_view(made.root), SubsetOptions(**options))
