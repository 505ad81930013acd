"""Data sets that lie in each other, or deeper than others: no image has labels of the outer set."""

from __future__ import annotations

import pytest
from label_cases import draw
from set_cases import KINDS, OF_ALL, OF_ONE, classes, label
from split_cases import messages, pack, put

import blobdir
from blobdir.labels.files import LabelFiles
from blobdir.labels.finding import Images
from blobdir.labels.reading import read_labels


@pytest.mark.parametrize("inner", ["copy", "a/b", "train"])
@pytest.mark.parametrize("folder", ["images", "photos"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_of_a_set_in_another_has_its_own_labels(kind, folder, inner, tmp_path):
    root = tmp_path / "s"
    for path in (f"{folder}/1.png", f"{inner}/{folder}/3.png", f"{inner}/{folder}/5.png"):
        draw(root / path)
    outer = label(root, kind, ["1.png", "3.png"], "outer")[-1].relative_to(root).as_posix()
    label(root / inner, kind, ["3.png", "5.png"], "inner")
    report, _ = pack(root, tmp_path / "p")
    assert classes(tmp_path / "p") == {"1.png": ["outer"], "3.png": ["inner"], "5.png": ["inner"]}
    ((path, text),) = messages(report, "label-image")
    assert path.startswith(outer) and f"{inner}/{folder}/3.png" in text


@pytest.mark.parametrize("folder", ["images", "photos"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_image_without_labels_in_a_set_has_none_of_the_outer_one(kind, folder, tmp_path):
    root = tmp_path / "s"
    for path in (f"backup/{folder}/1.png", f"backup/{folder}/2.png"):
        draw(root / path)
    label(root, kind, ["1.png"], "outer")
    label(root / "backup", kind, ["2.png"], "inner")
    report, _ = pack(root, tmp_path / "p")
    found = classes(tmp_path / "p")
    assert found.pop("1.png", []) == [] and found == {"2.png": ["inner"]}
    ((_, text),) = messages(report, "label-image")
    assert "backup has labels of its own" in text


@pytest.mark.parametrize("kind", OF_ALL)
def test_folders_that_are_said_do_not_make_it_one_of_the_outer_set(kind, tmp_path):
    root = tmp_path / "s"
    for name in ("1.png", "2.png"):
        draw(root / "backup/images" / name)
    label(root, kind, ["images/1.png"], "outer")
    label(root / "backup", kind, ["images/2.png"], "inner")
    report, _ = pack(root, tmp_path / "p")
    found = classes(tmp_path / "p")
    assert found.pop("1.png", []) == [] and found == {"2.png": ["inner"]}
    assert len(messages(report, "label-image")) == 1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "createml"])  # a folder is a split of that
def test_label_files_that_are_copies_do_not_speak_against_each_other(kind, tmp_path):
    root = tmp_path / "s"
    for name in ("1.png", "2.png"):
        draw(root / "inner/images" / name)
    label(root, kind, ["1.png", "2.png"], "inner")
    label(root / "inner", kind, ["1.png", "2.png"], "inner")
    report, _ = pack(root, tmp_path / "p")
    assert report.complete, report.problems
    assert classes(tmp_path / "p") == {"1.png": ["inner"], "2.png": ["inner"]}


@pytest.mark.parametrize("kind", OF_ALL)
@pytest.mark.parametrize("name", ["{}", "inner/photos/{}"])
def test_labels_above_a_set_still_are_of_what_they_say(kind, name, tmp_path):
    """By its path; or where the inner folder has none."""
    root = tmp_path / "s"
    for path in ("1.png", "2.png"):
        draw(root / "inner/photos" / path)
    label(root, kind, [name.format("1.png")], "outer")
    if "/" in name:
        label(root / "inner", kind, ["2.png"], "inner")
    report, _ = pack(root, tmp_path / "p")
    assert not messages(report, "label-image") and classes(tmp_path / "p")["1.png"] == ["outer"]


@pytest.mark.parametrize("folder", ["xmls", "xml", "voc", "bboxes"])
@pytest.mark.parametrize("below", ["", "train/"])
@pytest.mark.parametrize("kind", OF_ONE)
def test_folders_of_labels_below_such_count_for_nothing(kind, below, folder, tmp_path):
    """As in the Oxford-IIIT pets: ``annotations/xmls`` beside ``images``."""
    above, ending, text = OF_ONE[kind]
    root = tmp_path / "s"
    images = "JPEGImages" if kind == "voc" else "images"
    places = (f"{above}/{folder}/{below}", f"{above}/{below}{folder}/")
    for name, place in zip(("1", "2"), places, strict=True):
        draw(root / f"{images}/{below}{name}.png")
        put(root / f"{place}{name}.{ending}", text(f"{name}.png", "inner"))
    put(root / "classes.txt", "outer\ninner\n")
    report, _ = pack(root, tmp_path / "p")
    assert report.complete, report.problems
    assert classes(tmp_path / "p") == {"1.png": ["inner"], "2.png": ["inner"]}


@pytest.mark.parametrize("folder", ["", "set", "a/b"])
@pytest.mark.parametrize("kind", OF_ALL)
def test_paths_of_another_machine_are_understood_in_a_folder(kind, folder, tmp_path):
    root = tmp_path / "s"
    for path in ("images/1.png", "images/2.png"):
        draw(root / folder / path)
    label(root / folder, kind, ["/home/me/data/images/1.png", "/home/me/data/images/2.png"], "inner")
    report, _ = pack(root, tmp_path / "p")
    assert report.complete, report.problems
    assert classes(tmp_path / "p") == {"1.png": ["inner"], "2.png": ["inner"]}


@pytest.mark.parametrize("folder", ["", "splits/", "data/", "lists/"])
@pytest.mark.parametrize("config", [True, False])
def test_lists_in_a_folder_may_have_paths_of_another_machine(config, folder, tmp_path):
    root = tmp_path / "s"
    draw(root / "images/1.png")
    draw(root / "images/2.png")
    label(root, "yolo", ["1.png", "2.png"], "inner")
    put(root / f"{folder}train.txt", "/home/me/proj/images/1.png\n")
    put(root / f"{folder}val.txt", "/home/me/proj/images/2.png\n")
    if config:
        put(root / "data.yaml", f"train: {folder}train.txt\nval: {folder}val.txt\nnames: [outer, inner]\n")
    report, found = pack(root, tmp_path / "p")
    assert report.complete, report.problems
    assert found == {"train": ["1.png"], "val": ["2.png"]}


def test_a_list_of_another_set_says_nothing_of_this_one(tmp_path):
    """``B/train.txt`` is of images in ``B``, which aren't here."""
    root = tmp_path / "s"
    draw(root / "images/1.png")
    label(root, "yolo", ["1.png"], "inner")
    put(root / "B/train.txt", "/home/me/B/images/1.png\n")
    put(root / "data.yaml", "train: B/train.txt\nval: images\nnames: [outer, inner]\n")
    report, found = pack(root, tmp_path / "p")
    assert found == {"val": ["1.png"]} and not report.complete


@pytest.mark.parametrize("folder", ["", "annotations/", "labels/", "ann/", "gt/"])
@pytest.mark.parametrize("name", ["export", "labels_coco", "x", "result", "annotations"])
@pytest.mark.parametrize("kind", OF_ALL)
def test_files_of_one_name_in_folders_of_splits_are_of_these(kind, name, folder, tmp_path):
    root = tmp_path / "s"
    file, text = OF_ALL[kind]
    for number, split in enumerate(("train", "val")):
        draw(root / split / f"images/{number}.png")
        put(root / split / f"{folder}{name}.{file.partition('.')[2]}", text([f"{number}.png"], "inner"))
    report, found = pack(root, tmp_path / "p")
    assert report.complete and found == {"train": ["0.png"], "val": ["1.png"]}


@pytest.mark.parametrize("folder", ["annotations", "ann", "labels", "gt"])
@pytest.mark.parametrize("kind", OF_ALL)
def test_a_folder_of_labels_is_no_split(kind, folder, tmp_path):
    root = tmp_path / "s"
    file, text = OF_ALL[kind]
    draw(root / "images/1.png")
    put(root / folder / f"annotations.{file.partition('.')[2]}", text(["1.png"], "inner"))
    report, found = pack(root, tmp_path / "p")
    assert report.complete and found == {"s": ["1.png"]}


@pytest.mark.parametrize("folder", ["images", "photos", "data/images"])
@pytest.mark.parametrize("place", ["", "anno/"])
@pytest.mark.parametrize("kind", OF_ONE)
def test_labels_in_a_folder_above_the_images(kind, place, folder, tmp_path):
    """In the root; or in one that is given, as its name says nothing: messages advise so."""
    root = tmp_path / "s"
    _, ending, text = OF_ONE[kind]
    for name in "12":
        draw(root / folder / f"{name}.png")
        put(root / place / f"{name}.{ending}", text(f"{name}.png", "inner"))
    put(root / place / "classes.txt", "outer\ninner\n")
    report, _ = pack(root, tmp_path / "p", labels=kind, labels_from=str(root / place) if place else "")
    assert report.complete, report.problems
    assert classes(tmp_path / "p") == {"1.png": ["inner"], "2.png": ["inner"]}


FOLDERS = ["seqA", "cam1/day"]


def _files(root):
    return LabelFiles.below(str(root))


def _images(root):
    return Images(sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png")))


@pytest.mark.parametrize("outer", [True, False], ids=["labelled", "not labelled"])
@pytest.mark.parametrize("said", FOLDERS)
@pytest.mark.parametrize("place", ["", "annotations/"])
@pytest.mark.parametrize("below", ["images", "frames", "x/photos"])
@pytest.mark.parametrize("top", ["", "images/"])
@pytest.mark.parametrize("kind", OF_ALL)
def test_a_path_is_seen_from_the_set_that_the_label_file_speaks_for(kind, top, below, place, said, outer, tmp_path):
    """Folders of the outer set may be called the same, and images in them: nothing is missing, and none is taken."""
    root = tmp_path / "s"
    for folder in (f"{top}{said}", f"night/{below}/{said}"):
        for name in "12":
            draw(root / folder / f"{name}.png")
    label(root / "night" / place, kind, [f"{said}/1.png", f"{said}/2.png"], "inner")
    if outer:
        label(root, kind, [f"{top}{said}/1.png", f"{top}{said}/2.png"], "outer")
    pack(root, tmp_path / "p")
    project = blobdir.open_project(tmp_path / "p")
    count = sum(len(dataset.annotation(name)["objects"]) for dataset in project.values() for name in dataset)
    assert count == (4 if outer else 2)
    labels = read_labels(kind, _files(root), _images(root))
    found = {
        (picture.path.startswith("night/"), thing.label)
        for picture in labels.pictures
        for thing in picture.read(100, 50, lambda *_: None)
    }
    assert found == ({(True, "inner"), (False, "outer")} if outer else {(True, "inner")})


@pytest.mark.parametrize(
    ("paths", "said", "wanted"),
    [
        (("seqA/1.png", "seqA/2.png", "night/images/seqA/1.png"), ("seqA/1.png", "seqA/2.png"), "seqA/2.png"),
        (
            ("images/one/1.png", "night/data/one/1.png", "night/2.png"),
            ("images/one/1.png", "2.png"),
            "can be images/one/1.png or night/data/one/1.png",
        ),
    ],
    ids=["missing here", "of either"],
)
@pytest.mark.parametrize("kind", OF_ALL)
def test_an_image_of_the_set_itself_is_not_the_outer_one(kind, paths, said, wanted, tmp_path):
    """One that is missing isn't its namesake above; one that can be both is neither."""
    root = tmp_path / "s"
    for path in paths:
        draw(root / path)
    label(root / "night", kind, [*said], "inner")
    report, _ = pack(root, tmp_path / "p")
    ((_, text),) = messages(report, "label-image")
    assert wanted in text and report.objects == 1


@pytest.mark.parametrize("known", [True, False], ids=["labelled there", "not labelled there"])
@pytest.mark.parametrize("images", ["{}/", "{}/data/", "images/{}/"])
@pytest.mark.parametrize("inner", ["v1", "a/backup"])
@pytest.mark.parametrize("left", [True, False], ids=["one is left", "all are missing"])
@pytest.mark.parametrize("kind", OF_ALL)
def test_a_set_in_folders_of_splits_with_another_one_in_it(kind, left, inner, images, known, tmp_path):
    """As Roboflow and FiftyOne have them: ``train/labels.json``, and ``v1/train/labels.json``."""
    root = tmp_path / "s"
    train, val = (images.format(split) for split in ("train", "val"))
    if left:
        draw(root / train / "1.png")
    for path in (f"{val}3.png", f"{inner}/{train}2.png", f"{inner}/{train}4.png", f"{inner}/{val}5.png"):
        draw(root / path)
    names = ["1.png", "2.png"] if left else ["2.png"]
    label(root / "train", kind, names, "outer")
    label(root / "val", kind, ["3.png"], "outer")
    label(root / inner / "train", kind, ["2.png", "4.png"] if known else ["4.png"], "inner")
    label(root / inner / "val", kind, ["5.png"], "inner")
    report, _ = pack(root, tmp_path / "p")
    found = {name: some for name, some in classes(tmp_path / "p").items() if some}
    expected = {"1.png": ["outer"]} if left else {}
    expected |= {"2.png": ["inner"]} if known else {}
    assert found == expected | {"3.png": ["outer"], "4.png": ["inner"], "5.png": ["inner"]}
    ((path, _),) = messages(report, "label-image")
    assert path.startswith("train/")


@pytest.mark.parametrize("kind", KINDS)
def test_an_inner_set_whose_labels_mean_nothing_still_has_its_images(kind, tmp_path):
    """They lie in a folder that isn't one of labels by its name, so it's said what to do; the outer ones are none."""
    root = tmp_path / "s"
    for path in ("images/1.png", "v1/images/2.png", "v1/images/3.png"):
        draw(root / path)
    label(root, kind, ["1.png", "2.png"], "outer")
    label(root / "v1/stuff", kind, ["2.png", "3.png"], "inner")
    report, _ = pack(root, tmp_path / "p")
    assert {name: some for name, some in classes(tmp_path / "p").items() if some} == {"1.png": ["outer"]}
    assert len(messages(report, "label-image")) == 3
    own = [text for _, text in messages(report, "label-image") if "v1 has labels of its own" in text]
    assert len(own) == (kind in OF_ALL or kind == "voc")  # the others look where such labels belong only


@pytest.mark.parametrize("names", ["classes.txt", "obj.names"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "yolo"])
def test_texts_of_yolo_without_their_images_beside_another_format(kind, names, tmp_path):
    """Nothing knows them for labels; they are named all the same."""
    root = tmp_path / "s"
    draw(root / "images/1.png")
    label(root, kind, ["1.png"], "inner")
    put(root / "old" / names, "cat\n")
    for name in "78":
        put(root / f"old/labels/{name}.txt", "0 0.5 0.5 0.2 0.2\n")
    report, _ = pack(root, tmp_path / "p")
    assert report.images == 1 and not report.complete
    ((path, text),) = messages(report)
    assert path == "old/labels/7.txt" and text.startswith("2 texts look like YOLO's labels")


@pytest.mark.parametrize("images", ["images", "data", "photos/train"])
@pytest.mark.parametrize("name", ["annotations", "labels", "Annotations", "gt"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_set_whose_folder_is_called_like_that_of_its_labels(kind, name, images, tmp_path):
    """It's no set in another one: the labels lie in it themselves."""
    root = tmp_path / "s"
    file, text = OF_ALL.get(kind, ("", None))
    for number in ("1", "2"):
        draw(root / name / images / f"{number}.png")
        if kind in OF_ONE:
            _, ending, text_of = OF_ONE[kind]
            put(root / name / name / f"{number}.{ending}", text_of(f"{number}.png", "inner"))
    if text:
        put(root / name / name / file, text(["1.png", "2.png"], "inner"))
    put(root / name / "classes.txt", "outer\ninner\n")
    report, _ = pack(root, tmp_path / "p")
    assert report.complete and classes(tmp_path / "p") == {"1.png": ["inner"], "2.png": ["inner"]}


def placed(root, kind, names, what, stem, place=""):
    """Labels of some images of a set, in its usual place, in a file or folder of a name."""
    if kind in OF_ALL:
        file, text = OF_ALL[kind]
        put(root / place / f"{stem}.{file.partition('.')[2]}", text(names, what))
        return
    folder, ending, text = OF_ONE[kind]
    for name in names:
        put(root / folder / place / f"{name.partition('.')[0]}.{ending}", text(name, what))


def draw_own(path):
    """An image whose bytes no other one has."""
    draw(path)
    path.write_bytes(path.read_bytes() + str(path).encode())


def classes_by_path(root, kind, tmp_path):
    """Path of each image that is packed -> classes of its objects; and what was named."""
    put(root / "classes.txt", "outer\ninner\n")
    report = blobdir.pack(root, tmp_path / "p", blobdir.PackOptions(labels=kind, processes=1))
    paths = {path.read_bytes(): path.relative_to(root).as_posix() for path in root.rglob("*.png")}
    found = {}
    for dataset in blobdir.open_project(tmp_path / "p").values():
        for name in dataset:
            path = paths[dataset.get_blob_img_bytes(name)]
            found.setdefault(path, []).extend(one["classTitle"] for one in dataset.annotation(name)["objects"])
    return found, report


@pytest.mark.parametrize("images", ["images", "."])
@pytest.mark.parametrize("place", ["annotations", "labels", "."])
@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        *(("data", "data"), ("v2", "v2"), ("x/data", "data"), ("data", "x/data"), ("Data", "data"), ("data", "copy")),
        *(("train", "train"), (".", "data"), ("train", "val"), ("set1", "set1/set1")),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_set_in_a_folder_that_is_called_like_its_parent(kind, outer, inner, place, images, tmp_path):
    """As it's unpacked into a folder of its own name: each image has the labels of its set, and none is left out."""
    root = tmp_path / "s"
    want = {}
    for top, what in ((outer, "outer"), (f"{outer}/{inner}", "inner")):
        for number in (1, 2):
            path = root / top / images / f"{number}.png"
            draw_own(path)
            want[path.relative_to(root).as_posix()] = [what]
        placed(root / top, kind, ["1.png", "2.png"], what, "annotations", place if kind in OF_ALL else "")
    found, report = classes_by_path(root, kind, tmp_path)
    assert found == want, report.problems
    assert not messages(report) and not messages(report, "label-image")


@pytest.mark.parametrize("inner", ["copy", "train", "train2", "train_v2", "Train_copy", "training", "val", "a/train"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_set_in_a_folder_that_is_called_like_a_split(kind, inner, tmp_path):
    """Images of the outer split are missing: those of the inner one have their own labels only."""
    root = tmp_path / "s"
    want = {}
    for i, (top, splits) in enumerate(((".", ["val2017"]), (inner, ["train2017", "val2017"]))):
        for split in splits:
            for number in (1, 2):
                path = root / top / "images" / split / f"{number}.png"
                draw_own(path)
                want[path.relative_to(root).as_posix()] = [["outer"], ["inner"]][i]
        for split in ("train2017", "val2017"):
            place = "annotations" if kind in OF_ALL else split
            placed(root / top, kind, ["1.png", "2.png"], ["outer", "inner"][i], f"instances_{split}", place)
    found, report = classes_by_path(root, kind, tmp_path)
    assert found == want, report.problems
    assert len(messages(report, "label-image")) == 2 and not report.complete
