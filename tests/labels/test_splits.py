"""Splits that files name: each is used, or named with what isn't of it; in all formats."""

from __future__ import annotations

import pytest
from label_cases import BOX, WRITERS, World, draw, dump, write
from set_cases import KINDS, OF_ALL, OF_ONE, label
from split_cases import LAYOUTS, OWN, TWO, coco, image_sets, keys, messages, pack, put, without_config

import blobdir
from blobdir.converting import ConvertOptions, convert
from blobdir.errors import UsageError
from blobdir.labels import detect
from blobdir.labels.model import LabelError

NAMES = [
    ("train", "val"),
    ("train", "valid"),
    ("Train", "Validation"),
    ("train_1", "test_1"),
    ("train2017", "test-dev2017"),
    ("training", "minival"),
]


@pytest.mark.parametrize("splits", NAMES, ids="-".join)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_splits_of_all_names_are_used(layout, splits, tmp_path):
    report, found = pack(LAYOUTS[layout](tmp_path / "s", splits), tmp_path / "p")
    assert report.complete, report.problems
    assert found == {splits[0]: ["a.png"], splits[1]: ["b.png"]}


@pytest.mark.parametrize("layout", ["voc", "lists", "darknet"])
def test_a_list_of_others_comes_last(layout, tmp_path):
    """``trainval`` has no image that another list has."""
    source = LAYOUTS[layout](tmp_path / "s", ("trainval", "val"))
    more = next(source.rglob("trainval.txt"))
    more.write_text(more.read_text() + next(source.rglob("val.txt")).read_text())
    report, found = pack(source, tmp_path / "p")
    assert report.complete and found == {"trainval": ["a.png"], "val": ["b.png"]}


@pytest.mark.parametrize("name", ["train.txt", "lists/Valid.txt", "test-dev2017.txt"])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_list_is_used_or_named(kind, name, tmp_path):
    """Formats that have no lists, too, and those whose splits are said by something else."""
    source = write(kind, tmp_path / "s", TWO)
    path = next(source.rglob("b.png"))
    put(source / name, f"{path.relative_to(source).as_posix()}\n")
    report, found = pack(source, tmp_path / "p")
    split = name.rpartition("/")[2].removesuffix(".txt")
    if any(split.lower()[:3] in one.lower() and "b.png" in images for one, images in found.items()):
        assert report.complete
        return
    (problem,) = [problem for problem in report.problems if problem.path == name]
    assert problem.costs and "1 image isn't" in problem.message and "b.png" in problem.message


@pytest.mark.parametrize("kind", WRITERS)
def test_texts_that_are_no_lists_are_not_named(kind, tmp_path):
    source = write(kind, tmp_path / "s", TWO)
    put(source / "training notes.txt", "we trained it\non a\n")
    put(source / "val_empty.txt", "")
    (source / "test_bytes.txt").write_bytes(b"\xff\xfe\xfd")
    report, _ = pack(source, tmp_path / "p")
    assert report.complete, report.problems


def test_lists_of_a_class_make_no_split(tmp_path):
    """They are named where they have an image that no list of a split has."""
    source = image_sets(tmp_path / "s", ("train", "val"))
    put(source / "ImageSets/Main/cat_train.txt", "a  1\nb -1\n")
    report, found = pack(source, tmp_path / "p")
    assert report.complete and set(found) == {"train", "val"}
    (source / "ImageSets/Main/val.txt").unlink()
    report, found = pack(source, tmp_path / "q")
    assert [path for path, text in messages(report) if "1 of its lines names an image" in text] == [
        "ImageSets/Main/cat_train.txt"
    ]


@pytest.mark.parametrize("folder", ["Action", "Layout"])
def test_lists_with_the_number_of_an_object(folder, tmp_path):
    source = image_sets(tmp_path / "s", ("train", "val"), f"ImageSets/{folder}")
    put(source / f"ImageSets/{folder}/train.txt", "a 1\na 2\n")
    report, found = pack(source, tmp_path / "p")
    assert report.complete and found == {"train": ["a.png"], "val": ["b.png"]}


ODD = [
    "{} cat",
    "{},1",
    "{};1",
    "{} 0.5",
    "{} 1 2 3 4 5",
    "0 {}",
    "{}\tcat",
    '"{}"',
    "{}: 1",
    "{} cat dog",
    "1 | {}.png",
    "cat={}",
]


@pytest.mark.parametrize("ending", [".txt", ".lst", ".csv"])
@pytest.mark.parametrize("header", ["", "Image Class Species Breed\n"])
@pytest.mark.parametrize("line", [*ODD, "{} 1 1 1"])
def test_lists_with_more_than_names_are_named(line, header, ending, tmp_path):
    """Nobody knows what else is meant by them, and no split is lost without a word."""
    source = write("yolo", tmp_path / "s", World({f"im{i}.png": [("cat", BOX)] for i in range(5)}))
    for path in source.rglob("data.yaml"):
        path.unlink()
    put(source / "classes.txt", "cat\n")
    for split, numbers in (("train", (0, 1, 2)), ("val", (3, 4))):
        put(source / f"{split}{ending}", header + "".join(line.format(f"im{i}") + "\n" for i in numbers))
    report, found = pack(source, tmp_path / "p")
    if not report.complete:
        texts = messages(report)
        is_read = header and ending == ".txt" and line == '"{}"'
        said = "there is no image Image Class" if is_read else "more than an image's"
        assert {f"val{ending}"} <= {path for path, _ in texts} and said in texts[-1][1]
    else:
        assert found == {"train": ["im0.png", "im1.png", "im2.png"], "val": ["im3.png", "im4.png"]}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(("line", "encoding"), [("{} cat", "utf-8"), ("{};1", "utf-8"), ("{} caf\xe9", "latin-1")])
def test_such_lists_are_named_beside_all_formats(kind, line, encoding, tmp_path):
    source = write(kind, tmp_path / "s", TWO)
    (source / "extra_test.txt").write_bytes("".join(line.format(name) + "\r" for name in "ab").encode(encoding))
    report, _ = pack(source, tmp_path / "p")
    assert [path for path, text in messages(report) if "2 images aren't of that split" in text] == ["extra_test.txt"]


@pytest.mark.parametrize("text", ["1 0.53\n2 0.44\n", "1,0.5,0.5\n2,3,4\n", "epoch 1: 0.5\nepoch 2: 0.4\nend of it\n"])
def test_numbers_beside_images_called_so_are_no_list(text, tmp_path):
    source = write("coco", tmp_path / "s", World({f"{i}.png": [] for i in (1, 2)}))
    put(source / "val_losses.txt", text)
    report, _ = pack(source, tmp_path / "p")
    assert report.complete, report.problems


@pytest.mark.parametrize("folder", ["", "annotations/", "lists/"])
@pytest.mark.parametrize("behind", ["", " 1", " 1 1 1", " 17 2", "\t3"])
@pytest.mark.parametrize("kind", WRITERS)
def test_lists_with_numbers_behind_the_names(kind, behind, folder, tmp_path):
    """As of the Oxford-IIIT pets; they are read where the format has lists, else named. Remarks may be in them."""
    source = write(kind, tmp_path / "s", TWO)
    for path in (*source.rglob("ImageSets/*/*.txt"), *source.rglob("data.yaml")):
        path.unlink()
    if kind == "yolo":
        put(source / "classes.txt", "cat\n")
    for name, split in (("a", "minival"), ("b", "test")):
        put(source / f"{folder}{split}.txt", f"#image class\n{name}{behind}\n")
    report, found = pack(source, tmp_path / "p")
    texts = messages(report)
    if kind == "yolo":
        assert found == {"minival": ["a.png"], "test": ["b.png"]}
        assert all("1 line names no image that is there" in text and "#image class" in text for _, text in texts)
    else:
        assert all("1 image isn't of that split now" in text for _, text in texts)
    assert sorted(path for path, _ in texts) == [f"{folder}minival.txt", f"{folder}test.txt"]


def test_labels_of_an_image_that_is_called_like_a_split_are_no_list(tmp_path):
    """Numbers behind the number of a class, which an image is called."""
    for name in ("0", "train_1"):
        draw(tmp_path / f"s/{name}.png")
        put(tmp_path / f"s/{name}.txt", "0 0 0 1 0 1 1 0 1\n0 0 1 1 0\n")
    put(tmp_path / "s/classes.txt", "cat\n")
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and report.objects == 4 and found == {"s": ["0.png", "train_1.png"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("holdout: images/b\n", "isn't known as a split; 1 image there is of none: images/b/b.png"),
        ("val: {folder: images/b}\n", "its val is an object, neither a folder nor a list"),
    ],
)
def test_what_data_yaml_says_otherwise_is_named(text, said, tmp_path):
    source = keys(tmp_path / "s", ("train", "val"))
    put(source / "data.yaml", f"train: images/a\n{text}names: [cat]\n")
    report, _ = pack(source, tmp_path / "p")
    ((path, message),) = messages(report)
    assert path == "data.yaml" and said in message


def write_named(kind, root, stem, names):
    """A label file of a split by its name."""
    if kind == "coco":
        dump(root / f"{stem}.json", coco(names))
    elif kind == "createml":
        thing = {"label": "cat", "coordinates": {"x": 5, "y": 5, "width": 4, "height": 4}}
        dump(root / f"{stem}.json", [{"image": name, "annotations": [thing]} for name in names])
    elif kind == "cvat":
        put(root / f"{stem}.xml", f"<annotations>{''.join(f'<image name={name!r}/>' for name in names)}</annotations>")
    else:
        rows = "".join(f"{name},cat,1,1,9,9\n" for name in names)
        put(root / f"{stem}.csv", f"filename,class,xmin,ymin,xmax,ymax\n{rows}")


@pytest.mark.parametrize("stem", ["{}", "labels_{}", "{}2017"])
@pytest.mark.parametrize("kind", ["coco", "createml", "cvat", "csv"])
def test_the_name_of_a_label_file_says_a_split(kind, stem, tmp_path):
    """Its images lie in the split's folder, and go into no other's that are called so."""
    for name in ("train/1.png", "train/2.png", "test/1.png", "test/3.png"):
        draw(tmp_path / "s/images" / name)
    write_named(kind, tmp_path / "s", stem.format("train"), ["1.png", "2.png", "3.png"])
    write_named(kind, tmp_path / "s", stem.format("test"), ["1.png"])
    report, found = pack(tmp_path / "s", tmp_path / "p")
    splits = [stem.format(split).removeprefix("labels_") for split in ("train", "test")]
    unnamed = {"test": ["3.png"]} if kind == "csv" else {}  # tables name no image without boxes
    wanted = {splits[0]: ["1.png", "2.png"], splits[1]: ["1.png"]}
    assert found == wanted | {name: sorted([*wanted.get(name, []), *more]) for name, more in unnamed.items()}
    assert len([p for p in report.problems if p.code == "label-image"]) == 1


@pytest.mark.parametrize(
    ("stem", "split"), [("trainval", "s"), ("train_val", "s"), ("values", "s"), ("Train_1", "Train")]
)
@pytest.mark.parametrize("kind", ["cvat", "csv"])
def test_names_that_say_no_split(kind, stem, split, tmp_path):
    draw(tmp_path / "s/1.png")
    write_named(kind, tmp_path / "s", stem, ["1.png"])
    assert pack(tmp_path / "s", tmp_path / "p")[1] == {split: ["1.png"]}


def whole_yolo(root, names):
    put(root / "data.yaml", "train: train.txt\nnames: [cat]\n")
    put(root / "train.txt", "".join(f"/home/me/{name}\n" for name in names))


def whole_coco(root, names):
    dump(root / "annotations/instances_train.json", coco([f"https://server/{name}" for name in names]))


def whole_voc(root, names):
    put(root / "ImageSets/Main/train.txt", "".join(f"/home/me/{name}\n" for name in names))
    put(root / "Annotations/1.xml", "<annotation></annotation>")


def whole_csv(root, names):
    rows = "".join(f"/home/me/{name},cat,1,1,9,9,train\n" for name in names)
    put(root / "l.csv", f"filename,class,xmin,ymin,xmax,ymax,split\n{rows}")


@pytest.mark.parametrize("folder", ["extra", "val"])
@pytest.mark.parametrize("writes", [whole_yolo, whole_coco, whole_voc, whole_csv])
def test_a_whole_path_counts_before_a_folder_of_the_split(writes, folder, tmp_path):
    names = ["images/train/1.png", f"images/{folder}/2.png"]
    for name in names:
        draw(tmp_path / "s" / name)
    writes(tmp_path / "s", names)
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert found == {"train": ["1.png", "2.png"]}
    assert not [p for p in report.problems if p.costs and p.path != "Annotations/1.xml"]


@pytest.mark.parametrize("other", ["annots/ann/1", "annots/1", "annots/gt/1"])
@pytest.mark.parametrize("kind", OWN)
def test_labels_that_lie_where_they_belong_count_first(kind, other, tmp_path):
    """Those in a folder of the image's name; the other's image is missing, and its folder is named for labels."""
    ending, text = OWN[kind]
    draw(tmp_path / "s/pictures/data/1.png")
    draw(tmp_path / "s/pictures/ann/2.png")
    put(tmp_path / f"s/{other}.{ending}", text.format("wrong", 0))
    put(tmp_path / f"s/annots/data/1.{ending}", text.format("right", 1))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    (dataset,) = blobdir.open_project(tmp_path / "p").values()
    assert [one["classTitle"] for one in dataset.annotation("1.png")["objects"]] == ["1" if kind == "yolo" else "right"]
    assert [p.path for p in report.problems if p.costs] == [f"{other}.{ending}"]


VOC_SAYS = [
    "<path>C:\\d\\{0}\\{1}</path>",
    "<path>/home/me/{0}/{1}</path>",
    "<path>../{0}/{1}</path>",
    "<folder>{0}</folder>",
]


@pytest.mark.parametrize("said", VOC_SAYS)
def test_the_folder_that_voc_says(said, tmp_path):
    """It tells namesakes apart; an image that isn't in it isn't meant, unless it lies beside the labels."""
    for name in ("train/1.png", "val/1.png", "val/2.png", "val/3.png"):
        draw(tmp_path / "s" / name)
    for place, folder, name in (("Annotations", "val", "1"), ("Annotations", "train", "2"), ("val", "train", "3")):
        more = said.format(folder, f"{name}.png")
        thing = OWN["voc"][1].format("cat").replace("<annotation>", "")
        put(tmp_path / f"s/{place}/{name}.xml", f"<annotation><filename>{name}.png</filename>{more}{thing}")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    project = blobdir.open_project(tmp_path / "p")
    assert [(d, name) for d in project for name in project[d] if project[d].annotation(name)["objects"]] == [
        ("val", "1.png"),
        ("val", "3.png"),
    ]
    assert [(p.code, p.path) for p in report.problems if p.costs] == [("label-image", "Annotations/2.xml")]


@pytest.mark.parametrize("said", VOC_SAYS)
def test_a_folder_of_a_split_that_is_not_there(said, tmp_path):
    """The image of another split isn't meant."""
    for name in ("val/1.png", "val/2.png"):
        draw(tmp_path / "s" / name)
    for split, name in (("train", "1"), ("val", "2")):
        thing = OWN["voc"][1].format("cat").replace("<annotation>", "")
        more = said.format(split, f"{name}.png")
        put(tmp_path / f"s/Annotations/{name}.xml", f"<annotation><filename>{name}.png</filename>{more}{thing}")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    (dataset,) = blobdir.open_project(tmp_path / "p").values()
    assert [name for name in dataset if dataset.annotation(name)["objects"]] == ["2.png"]
    assert [(p.code, p.path) for p in report.problems if p.costs] == [("label-image", "Annotations/1.xml")]


@pytest.mark.parametrize("said", VOC_SAYS)
def test_a_folder_that_is_not_there_says_nothing(said, tmp_path):
    draw(tmp_path / "s/JPEGImages/1.png")
    more = said.format("z", "1.png")
    put(tmp_path / "s/Annotations/1.xml", f"<annotation><filename>1.png</filename>{more}</annotation>")
    assert pack(tmp_path / "s", tmp_path / "p")[0].complete


ALIKE = {
    "train in train, which isn't the image's": ("train/pictures/x", "train/pictures/x", "train/annots/train"),
    "a folder of images that is named like labels": ("pictures/data", "pictures/ann", "annots/ann"),
}


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("folders", ALIKE)
def test_folders_that_are_called_alike(kind, folders, tmp_path):
    """Labels of an image that is missing are no other's."""
    ending, text = OWN[kind]
    one, other, labels = ALIKE[folders]
    draw(tmp_path / "s" / one / "1.png")
    draw(tmp_path / "s" / other / "2.png")
    put(tmp_path / "s" / labels / f"1.{ending}", text.format("wrong", 0))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    (dataset,) = blobdir.open_project(tmp_path / "p").values()
    assert not dataset.annotation("1.png")["objects"]
    assert [(p.code, p.path) for p in report.problems if p.costs] == [("label-image", f"{labels}/1.{ending}")]


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "coco"])
def test_a_list_of_classes_is_no_coco(kind, tmp_path):
    """As Label Studio writes it beside the labels."""
    source = write(kind, tmp_path / "s", TWO)
    dump(source / "notes.json", {"categories": [{"id": 0, "name": "cat"}], "info": {"year": 2026}})
    assert list(detect(source)) == [kind]


@pytest.mark.parametrize(
    ("said", "at", "helps"),
    [("/home/me/frames/1.png", "", False), ("frames/1.png", "labels/z", False), ("1.png", "z", True)],
)
@pytest.mark.parametrize("kind", ["coco", "csv"])
def test_a_place_for_labels_is_advised_where_it_helps(kind, said, at, helps, tmp_path):
    draw(tmp_path / "s/images/1.png")
    draw(tmp_path / "s/images/2.png")
    path = tmp_path / "s" / at / ("l.json" if kind == "coco" else "l.csv")
    if kind == "coco":
        dump(path, coco([said, "../" * at.count("/") + ("../" if at else "") + "images/2.png"]))
    else:
        put(path, f"filename,class,xmin,ymin,xmax,ymax\n{said},cat,1,1,9,9\nimages/2.png,cat,1,1,9,9\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    text = next(problem.message for problem in report.problems if problem.code == "label-image")
    assert ("--labels-from" in text) == helps and "mend its path" in text


@pytest.mark.parametrize("here", [1, 2, 5])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_list_of_which_few_images_are_here(kind, here, tmp_path):
    """As where a part of a data set is packed with its whole lists: they are read, or named."""
    names = [f"{number}.png" for number in range(5)]
    source = write(kind, tmp_path / "s", World({name: [("cat", BOX)] for name in names[:here]}))
    for path in (*source.glob("data.yaml"), *source.rglob("ImageSets/*/*.txt")):
        path.unlink()
    folder = next(source.rglob("0.png")).parent.relative_to(source).as_posix().removeprefix(".")
    put(source / "val.txt", "".join(f"{folder}/{name}\n".removeprefix("/") for name in names))
    report, found = pack(source, tmp_path / "p", labels=kind)
    if kind == "yolo":
        assert found == {"val": names[:here]}
    assert [path for path, _ in messages(report)] == ([] if kind == "yolo" and here == 5 else ["val.txt"])


def test_a_list_of_names_without_extensions_is_named_where_few_are_here(tmp_path):
    source = without_config(tmp_path / "s")
    put(source / "val.txt", "a\n" + "".join(f"gone{number}\n" for number in range(9)))
    report, found = pack(source, tmp_path / "p")
    assert list(found) == ["s"]
    ((path, text),) = messages(report)
    assert path == "val.txt" and "1 image isn't of that split" in text


def test_a_list_whose_images_cannot_be_told_is_named(tmp_path):
    for folder in "xy":
        draw(tmp_path / "s" / folder / "1.png")
    rows = "".join(f"{folder}/1.png,cat,1,1,9,9\n" for folder in "xy")
    put(tmp_path / "s/l.csv", f"filename,class,xmin,ymin,xmax,ymax\n{rows}")
    put(tmp_path / "s/val.txt", "1.png\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    ((path, text),) = messages(report)
    assert path == "val.txt" and "can't be told of 1 line, as '1.png'" in text


def test_a_list_that_is_called_like_an_image(tmp_path):
    source = without_config(tmp_path / "s")
    draw(source / "images/val.png")
    put(source / "val.txt", "images/b.png\nimages/val.png\n")
    report, found = pack(source, tmp_path / "p")
    assert report.complete and found["val"] == ["b.png", "val.png"]


@pytest.mark.parametrize("name", ["shot.png", "scan.tif", "a.jpg"])
def test_lists_of_names_without_extension_that_end_like_images(name, tmp_path):
    draw(tmp_path / f"s/JPEGImages/{name}.png")
    put(tmp_path / f"s/Annotations/{name}.xml", OWN["voc"][1].format("cat"))
    put(tmp_path / "s/ImageSets/Main/val.txt", f"{name}\n")
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and found == {"val": [f"{name}.png"]}
    draw(tmp_path / f"s/JPEGImages/{name}")
    put(tmp_path / f"s/Annotations/{name[:-4]}.xml", OWN["voc"][1].format("cat"))
    report, found = pack(tmp_path / "s", tmp_path / "q")
    assert [path for path, _ in messages(report)] == ["ImageSets/Main/val.txt"]


@pytest.mark.parametrize(
    "split", ["val", "val2017", "valid", "validation", "testing", "minival", "test-dev2017", "Train_a"]
)
@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_splits_of_other_names_come_back(kind, split, tmp_path):
    for name in ("training", split):
        draw(tmp_path / "s" / name / f"{name}.png")
        write_named("csv", tmp_path / "s", name, [f"{name}/{name}.png"])
    _, wanted = pack(tmp_path / "s", tmp_path / "p")
    assert convert(tmp_path / "p", tmp_path / "c", ConvertOptions(kind)).complete
    _, found = pack(tmp_path / "c", tmp_path / "q")
    assert found == wanted and len(found) == 2


@pytest.mark.parametrize("place", ["its train: images can be", "which isn't known as a split: images can be"])
def test_a_place_of_data_yaml_that_can_be_two_is_named(place, tmp_path):
    for side in ("left", "right"):
        draw(tmp_path / "s" / side / "x/images/1.png")
        put(tmp_path / "s" / side / "x/labels/1.txt", "0 0.5 0.5 0.2 0.2\n")
    said = "train: images" if "train" in place else "held: x/images"
    put(tmp_path / "s/data.yaml", f"names: [cat]\nnc: 1\n{said}\n")
    if "train" in place:
        with pytest.raises(LabelError, match=f"^data.yaml: {place}"):
            pack(tmp_path / "s", tmp_path / "p")
        return
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert [path for path, text in messages(report) if "held: x/images" in text] == ["data.yaml"]


@pytest.mark.parametrize("folder", ["boxes", "gt", "meta", "labels", "annotations"])
@pytest.mark.parametrize("kind", OWN)
def test_images_in_a_folder_that_is_called_like_labels(kind, folder, tmp_path):
    """They are images: labels beside them are theirs, and of no image elsewhere."""
    ending, text = OWN[kind]
    for name in (f"{folder}/1.png", "2.png", "x/3.png"):
        draw(tmp_path / "s" / name)
    for name in "123":
        put(tmp_path / f"s/{folder}/{name}.{ending}", text.format("cat", 0))
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    (dataset,) = blobdir.open_project(tmp_path / "p").values()
    assert [name for name in dataset if dataset.annotation(name)["objects"]] == ["1.png"]
    assert [p.path for p in report.problems if p.code == "label-image"] == [f"{folder}/{n}.{ending}" for n in "23"]


@pytest.mark.parametrize("folder", ["boxes", "gt", "meta", "annots", "old_labels"])
@pytest.mark.parametrize("kind", [*OWN, "coco", "createml", "cvat", "csv"])
def test_labels_beside_images_that_are_of_others_are_named(kind, folder, tmp_path):
    """The image that they name may be missing, and its namesake lies in a folder below."""
    draw(tmp_path / "s/2.png")
    draw(tmp_path / "s/x/1.png")
    if kind in OWN:
        ending, text = OWN[kind]
        put(tmp_path / f"s/{folder}/1.{ending}", text.format("cat", 0))
    else:
        write_named(kind, tmp_path / "s" / folder, "all", ["1.png"])
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert [p.code for p in report.problems if p.code == "label-image" and p.costs] == ["label-image"]


@pytest.mark.parametrize("names", [("day_train", "night_train"), ("train_1", "val_1"), ("a_train", "b_val")])
def test_lists_of_images_that_are_called_like_lines_of_a_class(names, tmp_path):
    """``photo 1`` is an image's name."""
    source = write("voc", tmp_path / "s", World({f"photo {i}.png": [("cat", BOX)] for i in range(2)}))
    for path in source.rglob("ImageSets/*/*.txt"):
        path.unlink()
    for i, name in enumerate(names):
        put(source / f"ImageSets/Main/{name}.txt", f"photo {i}\n")
    expected = {name: [f"photo {i}.png"] for i, name in enumerate(names)}
    report, found = pack(source, tmp_path / "p")
    assert report.complete and found == expected
    assert convert(tmp_path / "p", tmp_path / "o", ConvertOptions("voc")).complete
    report, found = pack(tmp_path / "o", tmp_path / "q")
    assert report.complete and found == expected


def test_a_list_of_a_class_with_an_image_called_like_a_line(tmp_path):
    source = image_sets(tmp_path / "s", ("train", "val"))
    path = next(source.rglob("a.png"))
    path.with_name("a 1.png").write_bytes(path.read_bytes())
    put(source / "ImageSets/Main/cat_train.txt", "a 1\nb 0\n")
    _, found = pack(source, tmp_path / "p")
    assert "cat_train" not in found


@pytest.mark.parametrize("source", ["images/train", "train/images", "train2017"])
@pytest.mark.parametrize("kind", KINDS)
def test_labels_of_another_split_than_the_folder_that_is_packed(kind, source, tmp_path):
    """Images of one name would have those of others."""
    root = tmp_path / "set"
    for name in ("1.png", "2.png"):
        draw(root / source / name)
    for split in ("train", "val"):
        label(tmp_path / split, kind, ["1.png", "2.png"], "inner")
    places = {
        split: tmp_path / split / (OF_ALL[kind][0] if kind in OF_ALL else OF_ONE[kind][0]) for split in ("train", "val")
    }
    if kind in OF_ALL:
        for split, path in places.items():
            places[split] = path.rename(path.with_name(f"{split}_{path.name}"))
    for path in (places["val"], *([tmp_path / "val"] if kind in OF_ONE else [])):
        with pytest.raises(UsageError, match=r"is of val by its name, and .* of train.*rename one"):
            pack(root / source, tmp_path / "p", labels_from=str(path), labels=kind)
    report, _ = pack(root / source, tmp_path / "p", labels_from=str(places["train"]), labels=kind)
    assert report.complete and report.images == 2
