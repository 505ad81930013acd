"""Labels of an image that is missing never get to a mask, a thumbnail, a picture of another size that is called so."""

from __future__ import annotations

import json

import pytest
from label_cases import draw
from split_cases import messages, pack, put

from blobdir.labels import namesakes
from blobdir.labels.finding import Found, Images
from blobdir.labels.homes import Homes

EACH = ("voc", "labelme", "yolo")
KINDS = (*EACH, "csv", "coco", "createml", "cvat")
FOLDERS = [
    ("Annotations", "images"),
    ("xmls", "images"),
    ("annots", "img"),
    ("labels", "Images"),
    ("json", "photos/rgb"),
]
OTHERS = ["masks/5.jpg", "images_small/5.jpg", "depth/x/5.jpg", "more/5.jpg"]


def box(name):
    point = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    return (
        f"<annotation><filename>{name}</filename><object><name>cat</name><bndbox>{point}</bndbox></object></annotation>"
    )


def shapes(name):
    one = {"label": "cat", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}
    return json.dumps({"imagePath": name, "shapes": [one]})


def coco(names):
    images = [{"id": i, "file_name": name, "width": 100, "height": 50} for i, name in enumerate(names)]
    objects = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 8, 8]} for i, _ in enumerate(names)]
    return json.dumps({"images": images, "annotations": objects, "categories": [{"id": 1, "name": "cat"}]})


def createml(names):
    one = {"label": "cat", "coordinates": {"x": 5, "y": 5, "width": 8, "height": 8}}
    return json.dumps([{"image": name, "annotations": [one]} for name in names])


def cvat(names):
    one = '<box label="cat" xtl="1" ytl="1" xbr="9" ybr="9"></box>'
    images = "".join(
        f'<image id="{i}" name="{name}" width="100" height="50">{one}</image>' for i, name in enumerate(names)
    )
    return f"<annotations><version>1.1</version>{images}</annotations>"


def labelled(root, kind, folder, names):
    """Write labels that say names without folders."""
    ending = {"voc": "xml", "labelme": "json", "yolo": "txt"}.get(kind)
    for name in names if ending else ():
        text = {"voc": box, "labelme": shapes, "yolo": lambda _: "0 .5 .5 .2 .2\n"}[kind](name)
        put(root / folder / f"{name.rpartition('.')[0]}.{ending}", text)
    if kind == "csv":
        rows = [f"{name},cat,1,1,9,9" for name in names]
        put(root / folder / "all.csv", "\n".join(["filename,class,xmin,ymin,xmax,ymax", *rows]))
    elif kind == "cvat":
        put(root / folder / "all.xml", cvat(names))
    elif not ending:
        put(root / folder / "all.json", (coco if kind == "coco" else createml)(names))


def objects(tmp_path, kind, folder, names, paths):
    """How many objects there are, and what is said."""
    for path in paths:
        draw(tmp_path / "s" / path)
    labelled(tmp_path / "s", kind, folder, names)
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    return report.objects, messages(report, "label-image")


NAMES = ["1.jpg", "2.jpg", "3.jpg", "5.jpg"]


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize(("folder", "home"), FOLDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_a_missing_image_are_named(kind, folder, home, other, tmp_path):
    paths = [f"{home}/{i}.jpg" for i in (1, 2, 3)]
    count, said = objects(tmp_path, kind, folder, NAMES, [*paths, other])
    assert count == 3
    assert len(said) == 1 and f"{folder}/" in said[0][0]


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize("other", ["masks/5.png", "thumbs/5.png"])
@pytest.mark.parametrize(("folder", "home"), FOLDERS)
def test_labels_of_a_missing_image_are_not_those_of_another_extension(kind, folder, home, other, tmp_path):
    count, said = objects(tmp_path, kind, folder, NAMES, [*(f"{home}/{i}.jpg" for i in (1, 2, 3)), other])
    assert count == 3 and len(said) == 1


@pytest.mark.parametrize("kind", ["voc", "labelme"])
def test_an_extension_that_others_have_is_meant(kind, tmp_path):
    """In a folder of another class, too, an image of another extension isn't the one that is said."""
    assert objects(tmp_path, kind, "xmls", NAMES, ["cat/1.jpg", "cat/2.jpg", "dog/3.jpg", "dog/5.png"])[0] == 3


@pytest.mark.parametrize("kind", ["voc", "labelme", "csv", "coco", "createml", "cvat"])
def test_a_folder_of_images_called_like_labelled_ones_is_none_of_them(kind, tmp_path):
    paths = ["a/1.jpg", "a/2.jpg", "a/3.jpg", "b/5.jpg", "b/1.png", "b/2.png"]
    count, said = objects(tmp_path, kind, "xmls", NAMES, paths)
    assert count == 3 and len(said) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "paths",
    [
        ["cat/1.jpg", "cat/2.jpg", "cat/3.jpg", "dog/5.jpg"],
        ["images/cat/1.jpg", "images/cat/2.jpg", "images/cat/3.jpg", "images/dog/5.jpg"],
        ["img_1/1.jpg", "img_1/2.jpg", "img_1/3.jpg", "img_2/5.jpg"],
        ["images_a/1.jpg", "images_a/2.jpg", "images_a/3.jpg", "images_b/5.jpg"],
        ["train_images/1.jpg", "train_images/2.jpg", "train_images/3.jpg", "val/5.jpg"],
        ["x/1.jpg", "x/2.jpg", "x/3.jpg", "x/more/5.jpg"],
        ["masks/1.jpg", "masks/2.jpg", "masks/3.jpg", "masks2/5.jpg"],
        ["images/1.jpg", "images/2.jpg", "images/3.jpg", "images/x/5.jpg"],
    ],
    ids=lambda paths: paths[-1].replace("/", "-"),
)
def test_folders_that_are_alike_have_labels_in_one(kind, paths, tmp_path):
    assert objects(tmp_path, kind, "xmls", NAMES, paths) == (4, [])


@pytest.mark.parametrize("kind", ["csv", "coco", "createml", "cvat"])
def test_names_without_folders_are_found_below_a_file_of_all(kind, tmp_path):
    """Beside the file may lie any folders of images; not those of masks."""
    paths = ["images/1.jpg", "images/2.jpg", "images/3.jpg", "more/5.jpg"]
    assert objects(tmp_path / "a", kind, "", NAMES, paths) == (4, [])
    assert objects(tmp_path / "b", kind, "", NAMES, [*paths[:3], "masks/5.jpg"])[0] == 3


def numbered(folder, start, stop, ending=".jpg"):
    return [f"{folder}/{i}{ending}" for i in range(start, stop)]


def said_of(start, stop):
    return [f"{i}.jpg" for i in range(start, stop)]


PAIRS = [
    ("helmet", "mask"),
    ("images/real", "images/depth"),
    ("healthy", "overlay"),
    ("photos", "scans"),
    ("images_day", "night"),
    ("JPEGImages", "negatives"),
    ("train", "masks"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("home", "other"), PAIRS, ids=lambda name: name.replace("/", "-"))
def test_a_folder_whose_images_all_have_labels_is_a_home(kind, home, other, tmp_path):
    """Whatever it's called: it's of a class, a camera, a batch."""
    paths = [*numbered(home, 0, 5), *numbered(other, 5, 9)]
    assert objects(tmp_path, kind, "annots", said_of(0, 9), paths) == (9, [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("home", "other", "labelled"), [("photos", "scans", 4), ("img", "new", 3), ("frames", "masked", 10)]
)
def test_a_folder_that_is_labelled_in_part_is_a_home(kind, home, other, labelled, tmp_path):
    """Somebody is still at it; the first one is labelled in full."""
    paths = [*numbered(home, 0, 20), *numbered(other, 20, 20 + 3 * labelled)]
    assert objects(tmp_path, kind, "annots", said_of(0, 20 + labelled), paths) == (20 + labelled, [])


@pytest.mark.parametrize("kind", ["voc", "labelme"])
@pytest.mark.parametrize("other", ["dog", "cat/more"])
def test_a_folder_of_many_images_of_another_extension_is_a_home(kind, other, tmp_path):
    paths = [*numbered("cat", 0, 5), *numbered(other, 5, 9, ".png")]
    assert objects(tmp_path, kind, "xmls", said_of(0, 9), paths) == (9, [])


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize("other", ["gt", "masks", "depth", "resized"])
@pytest.mark.parametrize("home", ["photos", "data", "train"])
def test_masks_and_copies_are_no_home_though_more_images_are_missing(kind, home, other, tmp_path):
    for path in (*numbered(home, 0, 3), *numbered(other, 0, 8, ".png")):
        draw(tmp_path / "s" / path)
    labelled(tmp_path / "s", kind, "xmls", said_of(0, 8))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert report.objects == (0 if kind == "yolo" else 3)  # YOLO says no extension: three are unclear
    assert len(messages(report, "label-image")) == (8 if kind == "yolo" else 5)


@pytest.mark.parametrize("kind", EACH)
def test_masks_alone_are_no_home_if_no_label_says_their_names(kind, tmp_path):
    count, said = objects(tmp_path, kind, "labels", said_of(0, 5), numbered("masks", 0, 5, ".png"))
    assert count == 0 and len(said) == 5


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "yolo"])
def test_a_folder_called_for_masks_is_a_home_if_labels_say_its_names(kind, tmp_path):
    assert objects(tmp_path, kind, "labels", said_of(0, 5), numbered("mask", 0, 5)) == (5, [])


@pytest.mark.parametrize("kind", ["voc", "csv", "coco"])
def test_masks_without_labels_of_images_that_are_elsewhere_are_no_home(kind, tmp_path):
    """The images that are here have no labels, the others are missing."""
    paths = [*numbered("photos", 0, 4), *numbered("masks", 0, 8), "photos/9.jpg"]
    count, said = objects(tmp_path, kind, "xmls", ["9.jpg", *said_of(4, 8)], paths)
    assert count == 1 and len(said) == 4


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("home", "other"), [("JPEGImages", "resized"), ("photos", "gt"), ("data", "small")])
def test_a_copy_of_all_images_has_no_label_of_a_missing_one(kind, home, other, tmp_path):
    """Names that are there twice tell that it's a copy."""
    paths = [*numbered(home, 0, 5), *numbered(other, 0, 6), "more/9.jpg"]
    count, said = objects(tmp_path, kind, "xmls", [*said_of(0, 6), "9.jpg"], paths)
    assert count == 1 and len(said) == 6
    assert any(f"{other}/5.jpg isn't it" in text for _, text in said)


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_a_folder_called_for_them_have_labels_beside_a_copy_of_a_part(kind, tmp_path):
    paths = [*numbered("photos", 0, 6), *numbered("small", 0, 5)]
    assert objects(tmp_path, kind, "xmls", said_of(0, 6), paths)[0] == 1


@pytest.mark.parametrize("kind", ["voc", "labelme"])
@pytest.mark.parametrize("homes", [("images/train", "images/val"), ("train", "val"), ("images/cat", "images/dog")])
def test_a_copy_of_images_in_several_folders_has_no_label_of_missing_ones(kind, homes, tmp_path):
    paths = [*numbered(homes[0], 0, 5), *numbered(homes[1], 5, 9), *numbered("resized", 0, 12, ".png")]
    count, said = objects(tmp_path, kind, "xmls", said_of(0, 12), paths)
    assert count == 9 and len(said) == 3


def test_names_that_a_folder_in_the_label_file_makes_clear_say_nothing_of_copies(tmp_path):
    for path in (*numbered("data", 0, 5), *numbered("aug", 0, 3)):
        draw(tmp_path / "s" / path)
    for i in range(5):
        text = box(f"{i}.jpg").replace("<filename>", "<folder>data</folder><filename>")
        put(tmp_path / "s" / f"xmls/{i}.xml", text)
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels="voc")
    assert report.objects == 5 and not messages(report, "label-image")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("other", ["masks", "more"])
@pytest.mark.parametrize("left", [0, 1])
def test_two_images_make_a_home_if_none_is_beside_them(kind, other, left, tmp_path):
    paths = [*numbered("photos", 0, 5), *numbered(other, 5, 7 + left)]
    count, said = objects(tmp_path, kind, "xmls", said_of(0, 7), paths)
    assert (count, len(said)) == ((5, 2) if left else (7, 0))


NAMING = ("voc", "labelme")
"""Those with a file for each image that says its name."""


def saved_otherwise(tmp_path, kind, here, others, folder="xmls", count=20):
    """What is packed where the labels of `count` images say ``.jpg``."""
    for path in (*here, *others):
        draw(tmp_path / "s" / path)
    labelled(tmp_path / "s", kind, folder, said_of(0, count))
    return pack(tmp_path / "s", tmp_path / "p", labels=kind)[0]


@pytest.mark.parametrize("kind", NAMING)
@pytest.mark.parametrize("left", [1, 3, 10, 19])
@pytest.mark.parametrize(("home", "other"), [("photos", "out"), ("data", "data/out"), ("photos", "photos"), ("a", "b")])
def test_images_of_another_extension_are_no_missing_ones_where_they_are_copies(kind, home, other, left, tmp_path):
    """However few of those are here that labels name."""
    report = saved_otherwise(tmp_path, kind, numbered(home, 0, left), numbered(other, 0, 20, ".png"))
    said = messages(report, "label-image")
    assert (report.objects, len(said)) == (left, 20 - left)
    assert any(f"there is no image {left}.jpg" in text for _, text in said) and "beside it" in said[0][1]


@pytest.mark.parametrize("kind", NAMING)
@pytest.mark.parametrize("more", [0, 40])
def test_a_few_twins_tell_that_images_are_copies(kind, more, tmp_path):
    here = [*numbered("photos", 0, 3), *numbered("photos", 100, 100 + more)]
    report = saved_otherwise(tmp_path, kind, here, numbered("out", 2, 20, ".png"))
    assert report.objects == 3 and len(messages(report, "label-image")) == 17


@pytest.mark.parametrize("kind", NAMING)
@pytest.mark.parametrize(("copy", "count"), [("out", 5), ("photos", 9)])
def test_copies_in_the_folder_of_another_split_are_known(kind, copy, count, tmp_path):
    """All images of val are missing, and those of train have copies that no label means; or numbers begin anew."""
    paths = [*numbered("photos/train", 0, 5), *numbered(f"{copy}/val", 0, 4, ".png")]
    for path in [*paths, *(numbered("out/train", 0, 5, ".png") if copy == "out" else ())]:
        draw(tmp_path / "s" / path)
    labelled(tmp_path / "s", kind, "xmls/train", said_of(0, 5))
    labelled(tmp_path / "s", kind, "xmls/val", said_of(0, 4))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert report.objects == count and report.complete == (count == 9)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "yolo"])
@pytest.mark.parametrize("left", [1, 3, 10, 19])
@pytest.mark.parametrize(("home", "other"), [("photos", "out"), ("data", "data/out"), ("photos", "photos"), ("a", "b")])
def test_images_whose_extension_has_small_letters_are_copies_of_those_with_capitals(kind, home, other, left, tmp_path):
    for path in (*numbered(home, 0, left, ".JPG"), *numbered(other, 0, 20)):
        draw(tmp_path / "s" / path)
    labelled(tmp_path / "s", kind, "xmls", [f"{i}.JPG" for i in range(20)])
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    said = messages(report, "label-image")
    assert (report.objects, len(said)) == (left, 20 - left)
    assert any(f"there is no image {left}.JPG" in text for _, text in said)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "yolo"])
@pytest.mark.parametrize("left", [0, 3])
def test_capitals_of_extensions_count_for_nothing_where_no_image_is_a_copy(kind, left, tmp_path):
    for path in (*numbered("photos", 0, left, ".JPG"), *numbered("photos", left, 20), *numbered("more", 30, 40)):
        draw(tmp_path / "s" / path)
    labelled(tmp_path / "s", kind, "xmls", [f"{i}.JPG" for i in range(20)])
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert report.objects == 20 and not messages(report, "label-image")


@pytest.mark.parametrize("kind", NAMING)
@pytest.mark.parametrize(
    ("first", "second"), [("train", "test"), ("xmls/train", "xmls/test"), ("train/xmls", "test/xmls")]
)
@pytest.mark.parametrize("ending", [".png", ".JPG"])
def test_images_of_another_split_are_no_copies_where_numbers_begin_anew(kind, first, second, ending, tmp_path):
    for path in (*numbered("train", 0, 20), *numbered("test", 0, 20, ending)):
        draw(tmp_path / "s" / path)
    labelled(tmp_path / "s", kind, first, said_of(0, 20))
    labelled(tmp_path / "s", kind, second, said_of(0, 10))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert report.objects == 30 and report.complete


@pytest.mark.parametrize("kind", NAMING)
@pytest.mark.parametrize(
    ("folder", "other"), [("xmls", "out"), ("xmls", "photos"), ("photos", "photos"), ("out", "out")]
)
def test_images_taken_for_such_of_another_extension_are_said(kind, folder, other, tmp_path):
    """Where none is called like one that is here as said, too; or the labels lie beside them."""
    start = 0 if folder == "out" else 3
    report = saved_otherwise(tmp_path, kind, numbered("photos", 0, 3), numbered(other, start, 20, ".png"), folder)
    assert report.objects == 20
    ((path, text),) = [one for one in messages(report, "label-note") if "another extension" in one[1]]
    assert path.startswith(f"{folder}/") and f"{other}/" in text


@pytest.mark.parametrize("kind", NAMING)
def test_images_that_all_have_another_extension_are_taken(kind, tmp_path):
    report = saved_otherwise(tmp_path, kind, [], numbered("photos", 0, 20, ".png"))
    assert report.objects == 20 and report.complete
    assert not [text for _, text in messages(report, "label-note") if "another extension" in text]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in EACH])
def test_whole_names_in_a_file_of_all_are_of_no_image_of_another_extension(kind, tmp_path):
    report = saved_otherwise(tmp_path, kind, numbered("photos", 0, 3), numbered("out", 0, 20, ".png"))
    assert report.objects == 3 and not report.complete


@pytest.mark.parametrize("kind", EACH)
@pytest.mark.parametrize("other", ["masks", "more", "depth"])
def test_what_is_said_to_do_helps(kind, other, tmp_path):
    paths = [*numbered("images", 0, 3), f"{other}/5.jpg"]
    names = [*said_of(0, 3), "5.jpg"]
    count, ((file, text),) = objects(tmp_path, kind, "xmls", names, paths)
    assert count == 3 and "put its label file beside it" in text
    labels = tmp_path / "s" / file.partition(",")[0]
    if "--labels-from" in text:
        assert other == "more"
        report, _ = pack(tmp_path / "s", tmp_path / "q", labels=kind, labels_from=str(labels.parent))
        assert report.objects == 4
    labels.rename(tmp_path / "s" / other / labels.name)
    assert pack(tmp_path / "s", tmp_path / "r", labels=kind)[0].objects == 4


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in EACH])
def test_whole_paths_help(kind, tmp_path):
    paths = [*numbered("images", 0, 3), "masks/5.jpg"]
    count, said = objects(tmp_path, kind, "xmls", [*said_of(0, 3), "5.jpg"], paths)
    assert count == 3 and "say the path of each image in the file" in said[0][1]
    labelled(tmp_path / "s", kind, "xmls", paths)
    assert pack(tmp_path / "s", tmp_path / "q", labels=kind)[0].objects == 4


def test_what_images_are_called_is_collected_once(monkeypatch):
    """Not for each of many label files, nor for each list."""
    images = Images([f"images/c{i % 2}/v{i}/{j}.jpg" for i in range(20) for j in range(9)])
    asked = []
    monkeypatch.setattr(namesakes, "without_splits", lambda folder: asked.append(folder) or [folder])
    monkeypatch.setattr(namesakes, "stem_of", lambda path: asked.append(path) or path[-5])
    for i in range(20):  # one is missing, and one isn't labelled
        found = [Found(f"images/c{i % 2}/v{i}/{j}.jpg", exact=False, said=f"{j}.jpg") for j in range(8)]
        assert not any(Homes(images).away([*found, Found("more/9.jpg", exact=False, said="9.jpg")], "xmls")[:8])
    assert len(asked) <= len(images.paths) + 2 * 20 + 20
