"""Labels are given to images, or passed by, only where there is one reading of whose they are."""

from __future__ import annotations

import json

import pytest
from label_cases import draw
from set_cases import KINDS, OF_ALL, OF_ONE
from split_cases import messages, pack, put

import blobdir

PLACES = [
    *(("annotations/instances_G", "images/G"), ("G", "G"), ("labels/G_labels", "G/images")),
    *(("annotations/G/labels", "images/G"), ("G_annotations", "images/G"), ("annotations/G", "G/images")),
]
"""Where label files of a folder lie, and its images."""


def folders_with_labels(root, kind, place, images, said, folder="images/G"):
    """Images of equal names in folders, and for each folder labels that say the class at its place in `said`."""
    for group, names in images.items():
        for name in names:
            draw(root / folder.replace("G", group) / name)
    for (group, names), label in zip(said.items(), ("outer", "inner"), strict=False):
        if kind in OF_ALL:
            file, text = OF_ALL[kind]
            put(root / f"{place.replace('G', group)}{file[1:]}", text(names, label))
            continue
        _, ending, text = OF_ONE[kind]
        put(root / "classes.txt", "outer\ninner\n")
        for name in names:
            put(root / place.replace("G", group) / f"{name[:-4]}.{ending}", text(name, label))


def labelled(target):
    """Image -> the classes of its objects, wherever it is; the names are of one image each."""
    project = blobdir.open_project(target)
    found = {}
    for dataset in project.values():
        for name in dataset:
            found.setdefault(name, set()).update(one["classTitle"] for one in dataset.annotation(name)["objects"])
    return found


@pytest.mark.parametrize(("place", "folder"), PLACES)
@pytest.mark.parametrize("kind", OF_ALL)
def test_images_of_a_missing_folder_have_no_namesakes(kind, place, folder, tmp_path):
    """``cam1`` isn't here, so its labels are nobody's, which is said; those of ``cam2`` are where they belong."""
    names = ["1.png", "2.png"]
    said = {"cam1": names, "cam2": names}
    folders_with_labels(tmp_path / "s", kind, place, {"cam2": names}, said, folder)
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert not report.complete and report.images == 2, report.problems
    assert [name for some in found.values() for name in some] == names
    assert labelled(tmp_path / "p") == {name: {"inner"} for name in names}
    assert all("cam1" in path for path, _ in messages(report, "label-image")), report.problems


@pytest.mark.parametrize(
    ("place", "groups"),
    [
        *(("labels/G_labels", ("day", "night")), ("G", ("a/train", "b/train"))),
        *(("annotations/instances_G", ("site A", "site B")), ("G_labels", ("Süd", "Nord"))),
    ],
)
@pytest.mark.parametrize("kind", OF_ALL)
def test_some_images_of_each_folder_are_missing(kind, place, groups, tmp_path):
    names = ["1.png", "2.png"]
    images = dict(zip(groups, (["1.png"], ["2.png"]), strict=True))
    said = {group.replace("/", "_"): names for group in groups}
    folders_with_labels(tmp_path / "s", kind, place, images, said)
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert not report.complete and report.images == 2
    assert labelled(tmp_path / "p") == {"1.png": {"outer"}, "2.png": {"inner"}}, report.problems


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_without_labels_gets_none_of_a_missing_folder(kind, tmp_path):
    """Also where each file has the labels of one image, and the folders of these are called so."""
    place = "G_labels" if kind in OF_ONE else "G"
    said = {"cam1": ["1.png"], "cam2": ["2.png"]}
    folders_with_labels(tmp_path / "s", kind, place, {"cam2": ["1.png", "2.png"]}, said)
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert labelled(tmp_path / "p").get("1.png", set()) == set(), report.problems
    assert not report.complete and any("cam1" in path for path, _ in messages(report, "label-image")), report.problems


@pytest.mark.parametrize("place", ["annotations/G", "G_annotations"])
@pytest.mark.parametrize("kind", OF_ALL)
def test_a_file_that_is_called_for_a_folder_is_of_no_other_one_with_such_names(kind, place, tmp_path):
    """Also where that has no label file: ``2.png`` of ``day`` is missing, ``1.png`` is in both."""
    images = {"day": ["1.png", "3.png", "4.png"], "night": ["1.png", "2.png", "5.png", "6.png"], "dusk": ["9.png"]}
    said = {"day": ["2.png", "3.png", "4.png", "5.png", "6.png"], "dusk": ["9.png"]}
    folders_with_labels(tmp_path / "s", kind, place, images, said)
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert not any(labelled(tmp_path / "p").get(name) for name in ("2.png", "5.png", "6.png")), report.problems
    assert not report.complete and any("day" in path for path, _ in messages(report, "label-image")), report.problems


@pytest.mark.parametrize("other", ["all", "instances_default", "detections", "bob"])
@pytest.mark.parametrize("kind", OF_ALL)
def test_a_file_of_all_images_is_of_each_folder(kind, other, tmp_path):
    """It's called like none of them, and says the same or is a second opinion."""
    images = {"cam1": ["1.png", "2.png"], "cam2": ["3.png", "4.png"]}
    folders_with_labels(tmp_path / "s", kind, "G", images, images)
    ending, text = OF_ALL[kind][0][1:], OF_ALL[kind][1]
    put(tmp_path / f"s/{other}{ending}", text([*images["cam1"], *images["cam2"]], "outer"))
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert not messages(report, "label-image"), report.problems


@pytest.mark.parametrize("kind", OF_ALL)
def test_folders_before_the_names_count_more_than_what_a_file_is_called(kind, tmp_path):
    names = [f"cam2/{i}.png" for i in range(3)]
    for name in names:
        draw(tmp_path / "s/images" / name)
    for group, some in (("cam1", names[:1]), ("cam2", names[1:])):
        put(tmp_path / f"s/{group}{OF_ALL[kind][0][1:]}", OF_ALL[kind][1](some, "outer"))
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and report.objects == 3, report.problems


def half_labelled(root, kind, same):
    """Images in train, with YOLO's labels or Pascal VOC's, and as many in val without any."""
    for i in range(4):
        for split in ("train", "val"):
            draw(root / f"images/{split}/{i if same else f'{split}{i}'}.png")
        name = f"{i if same else f'train{i}'}"
        folder, ending, text = OF_ONE[kind]
        put(root / f"{folder}/train/{name}.{ending}", text(f"{name}.png", "outer"))
    put(root / "classes.txt", "outer\ninner\n")
    return [f"images/val/{i if same else f'val{i}'}.png" for i in range(4)]


@pytest.mark.parametrize("with_boxes", [{0}, {1, 3}, {3}, {0, 1, 2}])
@pytest.mark.parametrize("place", ["val.txt", "gt/val.txt"])
@pytest.mark.parametrize("kind", ["yolo", "voc"])
@pytest.mark.parametrize("same", [True, False])
def test_lists_in_which_some_images_have_no_boxes(same, kind, place, with_boxes, tmp_path):
    paths = half_labelled(tmp_path / "s", kind, same)
    lines = (f"{path} 10,20,30,40,1\n" if i in with_boxes else f"{path}\n" for i, path in enumerate(paths))
    put(tmp_path / "s" / place, "".join(lines))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert not report.complete and place in dict(messages(report)), report.problems


@pytest.mark.parametrize("file", ["val.txt", "val.json"])
def test_nothing_but_names_costs_nothing(file, tmp_path):
    """Numbers behind the last name, or of all, are of no image."""
    paths = half_labelled(tmp_path / "s", "voc", same=False)
    more = {"mean": [104.0, 117.0, 123.0, 1.0], "std": [57.0, 57.0, 58.0, 1.0]}
    put(tmp_path / "s" / file, "".join(f"{one}\n" for one in paths) if ".txt" in file else json.dumps([*paths, more]))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels="voc")
    assert report.complete, report.problems


def _dlib(some):
    box = "<box top='20' left='10' width='30' height='40'/>"
    images = (f"<image file='{name}'>{box * bool(boxes)}</image>" for name, boxes in some)
    return f"<?xml version='1.0'?><dataset><images>{''.join(images)}</images></dataset>"


def _manifest(some):
    size = [{"width": 100, "height": 80, "depth": 3}]
    key = "class_id", "left", "top", "width", "height"
    rows = ((name, [dict(zip(key, (0, *one), strict=True)) for one in boxes]) for name, boxes in some)
    lines = ({"source-ref": f"s3://b/{name}", "bb": {"annotations": one, "image_size": size}} for name, one in rows)
    return "\n".join(map(json.dumps, lines))


ENTRIES = {
    "val.txt": lambda some: "".join(f"{name} 1 10 20 30 40\n" if boxes else f"{name} 0\n" for name, boxes in some),
    "output.manifest": _manifest,
    "val.xml": _dlib,
    "gt.json": lambda some: json.dumps(dict(some)),
    "val_boxes.json": lambda some: json.dumps([{"file": name, "boxes": boxes} for name, boxes in some]),
    "val/label.txt": lambda some: "".join(f"# {name}\n{'10 20 30 40 0.0 0.9' * bool(boxes)}\n" for name, boxes in some),
    "val_parts.txt": lambda some: "".join(f"[{name}]\n{'10 20 30 40' * bool(boxes)}\n\n" for name, boxes in some),
    "val_gt.yaml": lambda some: "".join(
        f"- path: {name}\n  boxes: [{'{x: 10, y: 20, w: 5, h: 6}' * bool(boxes)}]\n" for name, boxes in some
    ),
}
"""Files of formats that nobody reads, in which images have boxes or none."""


@pytest.mark.parametrize("with_boxes", [{0}, {1, 3}, {3}, {2}], ids=str)
@pytest.mark.parametrize("file", ENTRIES)
@pytest.mark.parametrize("kind", ["yolo", "voc"])
@pytest.mark.parametrize("same", [True, False])
def test_one_image_with_a_box_makes_a_file_one_of_labels(same, kind, file, with_boxes, tmp_path):
    """Whatever is said of the others, and also if it's the last one."""
    paths = half_labelled(tmp_path / "s", kind, same)
    some = [(path, [[10, 20, 30, 40]] * (i in with_boxes)) for i, path in enumerate(paths)]
    put(tmp_path / "s" / file, ENTRIES[file](some))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert not report.complete and file in dict(messages(report)), report.problems


NOTES = {
    "metadata.csv": ("filename,width,height,weather\n", "{},100,80,sunny\n"),
    "sizes.txt": ("", "{} 100 80\n"),
    "gps.csv": ("name,lat,lon,alt,heading\n", "{},48.1,11.5,520.1,90.5\n"),
    "scores.csv": ("image,blur,noise,score,contrast,mean\n", "{},0.1,0.2,0.3,0.4,0.5\n"),
}


@pytest.mark.parametrize("more", [0, 2])
@pytest.mark.parametrize("file", NOTES)
@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_notes_on_images_that_are_called_alike_cost_nothing(kind, file, more, tmp_path):
    """A name that images of several splits have is there for each; ``more`` are in one split only."""
    paths = half_labelled(tmp_path / "s", kind, same=True)
    for i in range(more):
        draw(tmp_path / f"s/images/val/more{i}.png")
    head, row = NOTES[file]
    names = [path.rpartition("/")[2] for path in paths]
    put(
        tmp_path / "s" / file, head + "".join(map(row.format, [*names, *names, *(f"more{i}.png" for i in range(more))]))
    )
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert report.complete, report.problems


@pytest.mark.parametrize("file", ["gt.json", "gt.txt", "annotations.json", "all.txt", "gt/boxes.txt", "boxes.dat"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_boxes_of_namesakes_with_labels_and_without(kind, times, file, tmp_path):
    """Nothing tells whose they are: named, with what would tell; a name before them that does costs nothing."""
    names = [path.rpartition("/")[2] for path in half_labelled(tmp_path / "s", kind, same=True)] * times
    for start in ("", "images/train/"):
        some = [start + name for name in names]
        text = "".join(f"{name};10;20;30;40;1\n" for name in some)
        if file.endswith(".json"):
            text = json.dumps([{"file": name, "boxes": [[10, 20, 30, 40]]} for name in some])
        put(tmp_path / "s" / file, text)
        report, _ = pack(tmp_path / "s", tmp_path / f"p{len(start)}", labels=kind)
        said = dict(messages(report)).get(file, "")
        assert ("folders before the names would" in said) == (not start) and report.complete == bool(start), said


ROWS = ["{}.png,10,20,30,40,car", "{}.png\t10\t20\t30\t40\tcar", "{}.png 0.5 0.5 0.2 0.2 1", '"{}.png" 10,20,30,40,1']


@pytest.mark.parametrize("row", [*ROWS, "{}.png 2 10 20 30 40 1 2 3 4", "C:\\x\\images\\train\\{}.png 10,20,30,40,1"])
@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_paths_in_a_list_tell_which_images_it_has(kind, row, tmp_path):
    half_labelled(tmp_path / "s", kind, same=True)
    start = "" if "\\" in row else "images/train/"
    put(tmp_path / "s/train.txt", "".join(row.format(f"{start}{i}") + "\n" for i in range(4)))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert report.complete, report.problems


@pytest.mark.parametrize("text", ["car,0\ndog,1\n", "Pixel Value, Class\n0, background\n1, car\n"])
@pytest.mark.parametrize("kind", ["coco", "labelme"])
def test_numbers_of_classes_are_no_images(kind, text, tmp_path):
    """As Roboflow writes them, beside images that are called by numbers."""
    for split in ("train", "valid"):
        for i in range(2):
            draw(tmp_path / f"s/{split}/{i}.png")
            if kind == "labelme":
                put(tmp_path / f"s/{split}/{i}.json", OF_ONE[kind][2](f"{i}.png", "outer"))
        put(tmp_path / f"s/{split}/_classes.csv", text)
        if kind == "coco":
            put(tmp_path / f"s/{split}/_annotations.coco.json", OF_ALL[kind][1](["0.png", "1.png"], "outer"))
    report, found = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert report.complete and len(found) == 2, report.problems


@pytest.mark.parametrize("place", ["raw/val/list.txt", "val/boxes.txt", "val.txt"])
@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_boxes_behind_numbers_that_are_names_are_named(kind, place, tmp_path):
    """Their list lies in a folder of the split: it's of these images, and they have no labels."""
    half_labelled(tmp_path / "s", kind, same=True)
    put(tmp_path / "s" / place, "".join(f"{i} 10 20 30 40 car\n" for i in range(4)))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert not report.complete and place in dict(messages(report)), report.problems
