"""Labels that were set aside never become those of an image without a word, where labels lie in their proper place."""

from __future__ import annotations

import pytest
from label_cases import draw
from set_cases import KINDS, OF_ALL, OF_ONE, classes, label
from split_cases import messages, pack, put

import blobdir

ASIDE = ["{}_old", "{}_removed", "{}-rejected", "old_{}", "backup_{}", "pseudo_{}", "{} copy", "{}.bak"]
IMAGES = {"voc": "JPEGImages"}
NAMES = ["1.png", "2.png", "3.png"]


def one_set(root, kind, names, *, images=""):
    """A set of three images, of which some are labelled."""
    folder = images or IMAGES.get(kind, "images")
    for name in NAMES:
        draw(root / folder / name)
    return label(root, kind, names, "inner")


@pytest.mark.parametrize("images", ["", "photos"])
@pytest.mark.parametrize("name", [*ASIDE, "{}_v1", "{}2", "my_{}"])
@pytest.mark.parametrize("kind", OF_ONE)
def test_a_folder_that_is_called_like_labels_and_something_else(kind, name, images, tmp_path):
    root = tmp_path / "s"
    one_set(root, kind, ["2.png", "3.png"], images=images)
    folder, ending, text = OF_ONE[kind]
    place = name.format(folder)
    put(root / place / f"1.{ending}", text("1.png", "outer"))
    report, _ = pack(root, tmp_path / "p")
    found = classes(tmp_path / "p")
    assert found.pop("1.png", []) == [] and found == {"2.png": ["inner"], "3.png": ["inner"]}
    ((path, said),) = messages(report)
    assert path == f"{place}/1.{ending}" and f"lie in {folder}" in said and not report.complete
    pack(root, tmp_path / "q", labels=kind, labels_from=str(root / place))
    assert classes(tmp_path / "q")["1.png"] == (["0"] if kind == "yolo" else ["outer"])  # as it's advised


@pytest.mark.parametrize("beside", [True, False])
@pytest.mark.parametrize("kind", OF_ONE)
def test_labels_beside_their_images_are_in_their_proper_place(kind, beside, tmp_path):
    root = tmp_path / "s"
    folder, ending, text = OF_ONE[kind]
    for name in NAMES:
        draw(root / "photos" / name)
    put(root / "classes.txt", "outer\ninner\n")
    put(root / f"{folder}_old/1.{ending}", text("1.png", "outer"))
    for number in (2, 3) if beside else ():
        put(root / f"photos/{number}.{ending}", text(f"{number}.png", "inner"))
    report, _ = pack(root, tmp_path / "p")
    assert classes(tmp_path / "p").get("1.png", []) == ([] if beside else ["outer"])
    assert report.complete is not beside


@pytest.mark.parametrize("kind", OF_ONE)
def test_folders_that_all_are_called_so_and_those_that_images_are_called_after(kind, tmp_path):
    """There is no other place: all count, and it's said."""
    root = tmp_path / "s"
    folder, ending, text = OF_ONE[kind]
    for number, name in enumerate(("one", "two"), 1):
        draw(root / f"photos/{number}.png")
        put(root / f"{folder}_{name}/{number}.{ending}", text(f"{number}.png", "inner"))
        draw(root / f"cam{number}/{number}{number}.png")
        put(root / f"cam{number}_{folder}/{number}{number}.{ending}", text(f"{number}{number}.png", "inner"))
    put(root / "classes.txt", "outer\ninner\n")
    report, _ = pack(root, tmp_path / "p")
    assert report.complete and set(map(tuple, classes(tmp_path / "p").values())) == {("inner",)}
    assert [text.partition(" (")[0] for _, text in messages(report, "label-note")] == [
        f"has images whose labels lie in {folder}_one"
    ]


@pytest.mark.parametrize("where", ["{}", "annotations_{}/l", "{}/l"])
@pytest.mark.parametrize("name", ASIDE)
@pytest.mark.parametrize("kind", OF_ALL)
def test_a_file_of_many_images(kind, name, where, tmp_path):
    """Beside the one that counts, or in a folder."""
    root = tmp_path / "s"
    file, text = OF_ALL[kind]
    ending = file.partition(".")[2]
    one_set(root, kind, ["2.png", "3.png"])
    (root / file).rename(root / f"labels.{ending}")
    called = name.format("labels")
    place = f"{called}/x.{ending}" if where.endswith("/l") else f"{called}.{ending}"
    put(root / place, text(["2.png", "3.png", "gone.png"], "outer"))
    report, found = pack(root, tmp_path / "p")
    assert len(found) == 1
    kept = classes(tmp_path / "p")
    assert kept.pop("1.png", []) == [] and kept == {"2.png": ["inner"], "3.png": ["inner"]}
    assert [path for path, _ in messages(report, "label")] == [place] and not report.complete
    pack(root, tmp_path / "q", labels_from=str(root / place))
    again = classes(tmp_path / "q")
    assert again.pop("1.png", []) == [] and again == {"2.png": ["outer"], "3.png": ["outer"]}


def flat(tmp_path, kind):
    """A folder of images; what writes label files of a format, and how they end."""
    for name in NAMES:
        draw(tmp_path / "s/images" / name)
    file, text = OF_ALL[kind]
    return tmp_path / "s", text, file.partition(".")[2]


@pytest.mark.parametrize("shared", [0, 1])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("old", "new"),
        ("older", "younger"),
        ("trash", "plastic"),
        ("old_buildings", "buildings"),
        ("draft_beer", "beer"),
        ("labels_old", "labels"),
    ],
)
@pytest.mark.parametrize("kind", OF_ALL)
def test_files_that_name_other_images_all_count(kind, one, other, shared, tmp_path):
    """Words are only words: some images are in the one file alone."""
    root, text, ending = flat(tmp_path, kind)
    put(root / f"{one}.{ending}", text(NAMES[: 1 + shared], "inner"))
    put(root / f"{other}.{ending}", text(NAMES[1:], "inner"))
    report, _ = pack(root, tmp_path / "p")
    assert report.complete and classes(tmp_path / "p") == {name: ["inner"] for name in NAMES}


@pytest.mark.parametrize("kind", OF_ALL)
def test_one_beside_files_of_splits(kind, tmp_path):
    """It's set aside where they have all its images together."""
    root, text, ending = flat(tmp_path, kind)
    put(root / f"predictions.{ending}", text(NAMES, "outer"))
    for split, names in (("val", NAMES[:1]), ("train", NAMES[1:])):
        put(root / f"{split}.{ending}", text(names, "inner"))
    report, _ = pack(root, tmp_path / "p")
    assert classes(tmp_path / "p") == {name: ["inner"] for name in NAMES}
    ((path, said),) = messages(report, "label")
    assert path == f"predictions.{ending}" and f"train.{ending} is there" in said


@pytest.mark.parametrize("kind", OF_ALL)
def test_files_of_classes_all_count(kind, tmp_path):
    """What other files that are no splits name together says nothing; but that their objects differ is a problem."""
    root, text, ending = flat(tmp_path, kind)
    for called, names in (("trash", NAMES), ("paper", NAMES[:2]), ("glass", NAMES[2:])):
        put(root / f"{called}.{ending}", text(names, "outer" if called == "trash" else "inner"))
    report, _ = pack(root, tmp_path / "p")
    assert report.objects == 6
    assert report.images == (6 if kind == "coco" else 3)  # each is a dataset
    assert [path for path, _ in messages(report)] == [f"glass.{ending}", f"paper.{ending}"]


@pytest.mark.parametrize("kind", OF_ALL)
def test_one_that_names_no_image_or_cannot_be_read_is_read_with_the_others(kind, tmp_path):
    root = tmp_path / "s"
    file, text = OF_ALL[kind]
    ending = file.partition(".")[2]
    one_set(root, kind, NAMES)
    put(root / f"old.{ending}", text([], "outer"))
    report, _ = pack(root, tmp_path / "p")
    assert report.complete and report.objects == 3


@pytest.mark.parametrize("kind", OF_ALL)
def test_a_copy_that_is_the_same_needs_no_word(kind, tmp_path):
    root = tmp_path / "s"
    (path,) = one_set(root, kind, ["1.png", "2.png", "3.png"])
    path.with_name(f"{path.stem} copy{path.suffix}").write_bytes(path.read_bytes())
    report, found = pack(root, tmp_path / "p")
    assert not report.problems and len(found) == 1 and report.objects == 3


@pytest.mark.parametrize("kind", OF_ALL)
def test_files_that_are_called_so_and_alone_count(kind, tmp_path):
    """Without another one; and of a town that is old, where there are images of it, or no other town of that name."""
    root = tmp_path / "s"
    file, text = OF_ALL[kind]
    ending = file.partition(".")[2]
    draw(root / "images/1.png")
    put(root / f"labels_old.{ending}", text(["1.png"], "inner"))
    report, _ = pack(root, tmp_path / "p")
    assert report.complete and report.objects == 1
    other = tmp_path / "t"
    for number, town in enumerate(("old", "new")):
        draw(other / f"{town}/{number}.png")
        put(other / f"{town}_labels.{ending}", text([f"{town}/{number}.png"], "inner"))
    report, _ = pack(other, tmp_path / "q")
    assert report.complete and report.objects == 2
    third = tmp_path / "u"
    for number, town in enumerate(("old_town", "new_town")):
        draw(third / f"images/{number}.png")
        put(third / f"{town}.{ending}", text([f"{number}.png"], "inner"))
    report, _ = pack(third, tmp_path / "r")
    assert report.complete and report.objects == 2


@pytest.mark.parametrize("kind", OF_ONE)
def test_labels_of_another_folder_say_nothing(kind, tmp_path):
    """Nor do those of fewer images than there are in the other place."""
    root = tmp_path / "s"
    folder, ending, text = OF_ONE[kind]
    images = IMAGES.get(kind, "images")
    put(root / "classes.txt", "outer\ninner\n")
    for name in ("1", "2", "3"):
        draw(root / images / f"train/{name}.png")
        put(root / f"{folder}/train/{name}.{ending}", text(f"{name}.png", "inner"))
    for name in ("4", "5", "6"):
        draw(root / images / f"val/{name}.png")
        put(root / f"{folder}{'' if name == '6' else '_txt'}/val/{name}.{ending}", text(f"{name}.png", "inner"))
    report, _ = pack(root, tmp_path / "p")
    assert report.complete and report.objects == 6
    assert [path for path, _ in messages(report, "label-note")] == [f"{images}/val"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_dry_run_says_the_same(kind, tmp_path):
    root = tmp_path / "s"
    (*_, path) = one_set(root, kind, NAMES)
    aside = (
        path.parent.with_name(f"{path.parent.name}_old") / path.name if kind in OF_ONE else root / f"old{path.suffix}"
    )
    put(aside, path.read_text().replace("inner", "outer"))
    if kind in OF_ONE:
        path.unlink()
    options = blobdir.PackOptions(labels="auto", processes=1)
    dry = blobdir.pack(root, tmp_path / "p", options, dry_run=True)
    assert dry.problems == blobdir.pack(root, tmp_path / "p", options).problems and not dry.complete


FOLDERS = ["old", "backup", "v1", "annotations_v2", "archive/x", "Old", "predictions", "labels/old", "old/annotations"]
"""Folders without images, whose names say that what is in them was set aside."""


@pytest.mark.parametrize("only", [False, True])
@pytest.mark.parametrize("called", ["labels", "x"])
@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("kind", OF_ALL)
def test_a_file_of_many_images_in_a_folder_that_says_so(kind, folder, called, only, tmp_path):
    """It says paths from above. An image that it alone names is there, with nothing in it."""
    root, text, ending = flat(tmp_path, kind)
    names = [f"images/{name}" for name in NAMES]
    put(root / f"labels.{ending}", text(names[only:], "inner"))
    put(root / folder / f"{called}.{ending}", text(names, "outer"))
    report, found = pack(root, tmp_path / "p")
    assert len(found) == 1 and report.images == 3
    kept = classes(tmp_path / "p")
    assert kept.pop("1.png") == ([] if only else ["inner"]) and kept == {"2.png": ["inner"], "3.png": ["inner"]}
    ((path, said),) = messages(report)
    assert path == f"{folder}/{called}.{ending}" and ("as images/1.png" in said) is only and not report.complete


@pytest.mark.parametrize("kind", OF_ALL)
def test_versions_of_one_name_that_say_different_things_of_an_image(kind, tmp_path):
    root, text, ending = flat(tmp_path, kind)
    put(root / f"labels.{ending}", text(NAMES[1:], "inner"))
    put(root / f"labels_old.{ending}", text(NAMES[:2], "outer"))
    report, _ = pack(root, tmp_path / "p")
    assert classes(tmp_path / "p") == {"1.png": [], "2.png": ["inner"], "3.png": ["inner"]}
    assert [path for path, _ in messages(report)] == [f"labels_old.{ending}"]


@pytest.mark.parametrize("kind", OF_ALL)
def test_one_that_has_a_part_of_the_images_for_itself_counts(kind, tmp_path):
    """Nothing says that it's another version."""
    root, text, ending = flat(tmp_path, kind)
    names = [f"images/{name}" for name in NAMES]
    put(root / f"new/l.{ending}", text(names[1:], "inner"))
    put(root / f"old/l.{ending}", text(names[:1], "inner"))
    report, _ = pack(root, tmp_path / "p")
    assert report.complete and classes(tmp_path / "p") == {name: ["inner"] for name in NAMES}


@pytest.mark.parametrize("folder", ["old", "v1", "backup2"])
@pytest.mark.parametrize("kind", OF_ALL)
def test_folders_that_images_lie_in_say_nothing(kind, folder, tmp_path):
    """Labels of ``images/v1`` in ``annotations/v1``."""
    root, text, ending = flat(tmp_path, kind)
    draw(root / f"images/{folder}/4.png")
    put(root / f"annotations/l.{ending}", text([f"images/{name}" for name in NAMES], "inner"))
    put(root / f"annotations/{folder}/l.{ending}", text([f"images/{folder}/4.png", "images/1.png"], "outer"))
    report, _ = pack(root, tmp_path / "p")
    assert classes(tmp_path / "p")["4.png"] == ["outer"]
    assert not any("set aside" in text for _, text in messages(report))


@pytest.mark.parametrize("also", [False, True])
@pytest.mark.parametrize("place", [*FOLDERS, "archive", "{}"])
@pytest.mark.parametrize("kind", ["voc", "labelme"])
def test_a_file_of_one_image_that_says_its_path(kind, place, also, tmp_path):
    """In such a folder, or by its own name: whether the image has another one or not, it has none of this."""
    root = tmp_path / "s"
    one_set(root, kind, ["2.png", "3.png"])
    folder, ending, text = OF_ONE[kind]
    path = f"{place.format(folder)}/{'1_old' if place == '{}' else '1'}.{ending}"
    put(root / path, text(f"{IMAGES.get(kind, 'images')}/1.png", "outer"))
    if also:
        put(root / folder / f"1.{ending}", text("1.png", "inner"))
    report, _ = pack(root, tmp_path / "p")
    found = classes(tmp_path / "p")
    assert found.pop("1.png", []) == (["inner"] if also else [])
    assert found == {"2.png": ["inner"], "3.png": ["inner"]}
    assert [one.path for one in report.problems] == [path] and not report.complete


@pytest.mark.parametrize("path", [*(f"{folder}/train.txt" for folder in FOLDERS), "train_old.txt", "old_train.txt"])
def test_lists_of_a_split(path, tmp_path):
    """They are named where they say otherwise; alone, they count."""
    root = tmp_path / "s"
    one_set(root, "yolo", NAMES)
    for one, name in (("train.txt", "2.png"), ("val.txt", "1.png"), (path, "1.png")):
        put(root / one, f"images/{name}\n")
    report, found = pack(root, tmp_path / "p")
    assert found == {"s": ["3.png"], "train": ["2.png"], "val": ["1.png"]}
    assert [one for one, _ in messages(report)] == [path]
    (root / "train.txt").unlink()
    (root / "val.txt").unlink()
    report, found = pack(root, tmp_path / "q")
    assert report.complete and found == {"s": ["2.png", "3.png"], path.rpartition("/")[2][:-4]: ["1.png"]}


@pytest.mark.parametrize("whole", ["old", "old_photos", "images_old", "v2", "a/backup"])
@pytest.mark.parametrize(
    "version", ["labels_old", "old/labels", "annotations_backup/labels", "labels_v1/labels", "v1/labels"]
)
@pytest.mark.parametrize("kind", OF_ALL)
def test_what_folders_of_other_images_are_called_says_nothing(kind, version, whole, tmp_path):
    """A whole set lies there, with labels of its own."""
    root, text, ending = flat(tmp_path, kind)
    put(root / f"labels.{ending}", text(NAMES, "inner"))
    put(root / f"{version}.{ending}", text(NAMES, "outer"))
    draw(root / whole / "images/x.png")
    if not version.startswith(f"{whole}/"):  # else that is the file of the set
        put(root / whole / f"labels.{ending}", text(["x.png"], "inner"))
    report, _ = pack(root, tmp_path / "p")
    found = classes(tmp_path / "p")
    assert found.pop("x.png", []) in ([], ["inner"]) and found == {key: ["inner"] for key in NAMES}
    assert f"{version}.{ending}" in " ".join(path for path, _ in messages(report) + messages(report, "label-image"))


@pytest.mark.parametrize("name", ["old_{}", "im{}_v1", "IMG {} copy", "removed/{}", "{}"])
@pytest.mark.parametrize("place", ["{}/{}_old", "{}_old", "{}/old", "{}/{}_v1", "{}_copy"])
@pytest.mark.parametrize("kind", OF_ONE)
def test_what_images_are_called_says_nothing_of_their_labels(kind, place, name, tmp_path):
    root = tmp_path / "s"
    folder, ending, text = OF_ONE[kind]
    put(root / "classes.txt", "outer\ninner\n")
    for number in range(3):
        image = name.format(number)
        draw(root / IMAGES.get(kind, "images") / f"{image}.png")
        for where, label_ in ((folder, "inner"), (place.format(folder, folder), "outer")):
            put(root / where / f"{image}.{ending}", text(f"{image.rpartition('/')[2]}.png", label_))
    report, _ = pack(root, tmp_path / "p")
    assert set(map(tuple, classes(tmp_path / "p").values())) == {("inner",)}
    named = [path for path, _ in messages(report) + messages(report, "label-image")]
    assert len(named) == 3 and all(path.startswith(f"{place.format(folder, folder)}/") for path in named)


@pytest.mark.parametrize("whole", ["old", "copy", "v2", "other"])
@pytest.mark.parametrize("version", ["labels_old", "old labels", "backup/labels"])
@pytest.mark.parametrize("kind", OF_ALL)
def test_a_version_is_seen_where_a_whole_set_has_images_of_the_same_names(kind, version, whole, tmp_path):
    root, text, ending = flat(tmp_path, kind)
    for name in NAMES:
        draw(root / whole / "images" / name)
    put(root / f"labels.{ending}", text(NAMES, "inner"))
    put(root / whole / f"labels.{ending}", text(NAMES, "own"))
    put(root / f"{version}.{ending}", text(NAMES[:2], "outer"))
    report, _ = pack(root, tmp_path / "p")
    project = blobdir.open_project(tmp_path / "p")
    found = [[one["classTitle"] for one in d.annotation(name)["objects"]] for d in project.values() for name in d]
    assert sorted(found) == [["inner"]] * 3 + [["own"]] * 3
    assert f"{version}.{ending}" in " ".join(path for path, _ in messages(report) + messages(report, "label-image"))
