"""What label files say besides shapes: it's in the project, and comes back, or there is a line in the report."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from label_cases import BOX, HEIGHT, MASK, OUTLINE, WIDTH, WORLDS, WRITERS, World, coco_of, draw, dump, write
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import blobdir
from blobdir.converting import ConvertOptions, convert
from blobdir.errors import UsageError
from blobdir.labels.model import Mask
from blobdir.labels.outlines import outlines
from blobdir.verifying import verify

COCO_FILE = "annotations/instances_train.json"


def pack(source, target, **options):
    return blobdir.pack(source, target, blobdir.PackOptions(**{"labels": "auto", "processes": 1} | options))


def objects(target):
    """All objects of a project of one dataset."""
    (dataset,) = blobdir.open_project(target).values()
    return [one for image in dataset for one in dataset.annotation(image)["objects"]]


def tags(target):
    return [{tag["name"]: tag["value"] for tag in one["tags"]} for one in objects(target)]


def there_and_back(value, tmp_path, name="coco_instances.json"):
    source = write("coco", tmp_path / "s", World({image["file_name"]: [] for image in value["images"]}, ["cat"]))
    dump(source / COCO_FILE, value)
    report = pack(source, tmp_path / "p")
    assert convert(tmp_path / "p", tmp_path / "o", ConvertOptions("coco")).complete
    return report, json.loads((tmp_path / "o/train/annotations" / name).read_bytes())


# -- COCO ----------------------------------------------------------------------------------------------------------


def test_numbers_that_are_texts_or_have_a_point(tmp_path):
    value = coco_of(WORLDS["boxes"])
    for i, annotation in enumerate(value["annotations"]):
        annotation |= {"id": f"uuid-{i}" if i % 2 else float(i), "image_id": float(annotation["image_id"])}
        annotation["category_id"] = float(annotation["category_id"])
    value["images"][0]["id"], value["images"][1]["id"] = 0.0, 1.0
    value["categories"][0]["id"] = 0.0
    report, again = there_and_back(value, tmp_path)
    assert report.complete and not report.problems
    for key in ("images", "annotations", "categories"):
        assert sorted(again[key], key=lambda one: str(one["id"])) == sorted(value[key], key=lambda one: str(one["id"]))


def test_people_without_keypoints(tmp_path):
    """Half of COCO's have none, and its own measure of keypoints needs their zeros."""
    value = coco_of(WORLDS["keypoints"])
    first = value["annotations"][0]
    for number, keypoints in ((1, [0] * 9), (2, [5, 6, 0, 7, 8, 2, 0, 0, 0])):
        count = sum(1 for seen in keypoints[2::3] if seen)
        value["annotations"].append(first | {"id": number, "keypoints": keypoints, "num_keypoints": count})
    report, again = there_and_back(value, tmp_path)
    assert report.complete
    assert sorted(again["annotations"], key=lambda one: one["id"]) == sorted(
        value["annotations"], key=lambda o: o["id"]
    )
    coco = COCO(str(tmp_path / "o/train/annotations/coco_instances.json"))
    found = coco.loadRes([{"image_id": 0, "category_id": 0, "keypoints": first["keypoints"], "score": 1.0}])
    judge = COCOeval(coco, found, "keypoints")
    judge.params.kpt_oks_sigmas = np.array([0.1] * 3)
    judge.evaluate()


def test_attributes_of_any_kind(tmp_path):
    value = coco_of(World({"a.png": [("cat", BOX), ("cat", BOX)]}))
    given = {"text": "true", "flag": True, "list": [1, 2], "none": None, "deep": {"x": 1}, "iscrowd": "no", "n": 1.5}
    value["annotations"][0]["attributes"] = given
    value["annotations"][1]["attributes"] = {"n": "many", "flag": False, "iscrowd_": 3}
    report, again = there_and_back(value, tmp_path)
    assert report.complete and not report.problems
    assert [one["attributes"] for one in again["annotations"]] == [one["attributes"] for one in value["annotations"]]
    assert [one["iscrowd"] for one in again["annotations"]] == [0, 0]
    assert not verify(tmp_path / "p", audience="supervisely").errors


def test_an_attribute_that_was_changed_is_as_it_is_now(tmp_path):
    value = coco_of(World({"a.png": [("cat", BOX)]}))
    value["annotations"][0]["attributes"] = {"list": [1, 2]}
    there_and_back(value, tmp_path)
    path = tmp_path / "p/train/ann/a.png.json"
    annotation = json.loads(path.read_bytes())
    annotation["objects"][0]["tags"][0]["value"] = "[3]"
    path.write_text(json.dumps(annotation))
    convert(tmp_path / "p", tmp_path / "again", ConvertOptions("coco"))
    again = json.loads((tmp_path / "again/train/annotations/coco_instances.json").read_bytes())
    assert again["annotations"][0]["attributes"] == {"list": "[3]"}


def test_boxes_with_many_digits(tmp_path):
    value = coco_of(World({"a.png": [("cat", BOX)]}))
    value["annotations"][0] |= {"bbox": [0.1234567890123, 1 / 3, 2 / 3, 0.7], "area": 7 / 15}
    _, again = there_and_back(value, tmp_path)
    assert again["annotations"] == value["annotations"]


def test_captions(tmp_path):
    """With their numbers and all that they have, and each file with what it says of itself."""
    value = coco_of(World({"a.png": [("cat", BOX)]}))
    source = write("coco", tmp_path / "s", World({"a.png": [("cat", BOX)]}))
    texts = [
        {"id": 77, "image_id": 0, "caption": "A cat.", "lang": "en"},
        {"id": 9, "image_id": 0, "caption": "A cat."},
    ]
    captions = {"info": {"of": "captions"}, "images": value["images"], "annotations": texts}
    dump(source / "annotations/captions_train.json", captions)
    report = pack(source, tmp_path / "p")
    assert report.complete and not report.problems
    convert(tmp_path / "p", tmp_path / "o", ConvertOptions("coco"))
    again = json.loads((tmp_path / "o/train/annotations/coco_captions.json").read_bytes())
    assert again["annotations"] == captions["annotations"] and again["info"] == {"of": "captions"}
    instances = json.loads((tmp_path / "o/train/annotations/coco_instances.json").read_bytes())
    assert instances["info"] == value["info"]


@pytest.mark.parametrize("place", ["info", "categories", "images", "annotations"])
def test_numbers_that_json_does_not_have(place, tmp_path):
    """They are named, and cost nothing but themselves."""
    value = coco_of(World({"a.png": [("cat", BOX)]}))
    holder = value["info"] if place == "info" else value[place][0]
    holder["more"] = {"odd": float("nan"), "kept": 1}
    report, again = there_and_back(value, tmp_path)
    (problem,) = report.problems
    assert problem.code == "label" and "more.odd" in problem.message
    del holder["more"]["odd"]
    assert again == value


def test_panoptic_segments_are_named(tmp_path):
    source = write("coco", tmp_path / "s", WORLDS["boxes"])
    value = coco_of(WORLDS["boxes"]) | {"annotations": [{"image_id": 0, "file_name": "a.png", "segments_info": []}]}
    dump(source / "annotations/panoptic_train.json", value)
    report = pack(source, tmp_path / "p")
    assert report.objects == 4
    (problem,) = report.problems
    assert problem.path == "annotations/panoptic_train.json" and "panoptic" in problem.message


def test_images_that_have_a_url_only(tmp_path):
    """As LVIS has them."""
    value = coco_of(World({"a.png": [("cat", BOX)]}))
    value["images"][0]["coco_url"] = f"http://images.org/images/{value['images'][0].pop('file_name')}"
    source = write("coco", tmp_path / "s", World({"a.png": [("cat", BOX)]}))
    dump(source / COCO_FILE, value)
    report = pack(source, tmp_path / "p")
    assert report.complete and report.objects == 1


# -- all formats ---------------------------------------------------------------------------------------------------

LABELS = {
    "coco": COCO_FILE,
    "yolo": "labels/a.txt",
    "voc": "Annotations/a.xml",
    "cvat": "annotations.xml",
    "labelme": "a.json",
    "createml": "_annotations.createml.json",
    "csv": "labels.csv",
}


def said_twice(kind, source):
    """Have an attribute in a file that is a text at one object, and at another a number or just there."""
    path = source / LABELS[kind]
    text = path.read_text()
    if kind in ("coco", "labelme", "createml"):
        value = json.loads(text)
        things = {"coco": "annotations", "labelme": "shapes"}.get(kind)
        first, second = value[things] if things else value[0]["annotations"]
        if kind == "createml":
            first["odd"], second["odd"] = "very", 3
        else:
            first["attributes"], second["attributes"] = {"odd": "very"}, {"odd": 3}
        path.write_text(json.dumps(value))
    elif kind == "voc":
        head, tail = text.split("<difficult>1</difficult>", 1)
        more = "<attributes><attribute><name>difficult</name><value>very</value></attribute></attributes>"
        path.write_text(head + more + tail)
    elif kind == "cvat":
        first, second, rest = text.split("></box>", 2)
        path.write_text(f'{first}><attribute name="occluded">very</attribute></box>{second} occluded="1"></box>{rest}')
    else:
        header, first, second = text.splitlines()
        path.write_text(f"{header},odd\n{first},very\n{second},3\n")


@pytest.mark.parametrize("kind", [kind for kind in WRITERS if kind != "yolo"])
def test_attributes_that_are_text_and_something_else(kind, tmp_path):
    """A tag has one kind of values, so all of them are texts; the SDK takes no others."""
    source = write(kind, tmp_path / "s", World({"a.png": [("cat", BOX), ("cat", OUTLINE if kind == "coco" else BOX)]}))
    said_twice(kind, source)
    assert pack(source, tmp_path / "p").complete
    first, second = ({key: one for key, one in each.items() if key != "iscrowd"} for each in tags(tmp_path / "p"))
    (name,) = first.keys() & second.keys()
    assert first[name] == "very" and second[name] == ("" if kind in ("voc", "cvat") else "3")
    assert not verify(tmp_path / "p", audience="supervisely").errors


@pytest.mark.parametrize("kind", WRITERS)
def test_a_format_that_is_not_there(kind, tmp_path):
    """Who asks for one gets no project without labels."""
    other = "voc" if kind == "csv" else "csv"
    source = write(other, tmp_path / "s", WORLDS["boxes"])
    with pytest.raises(UsageError, match=rf"s: holds no labels of .*, but of .*--labels {other}"):
        pack(source, tmp_path / "p", labels=kind)
    draw(tmp_path / "empty/a.png")
    (tmp_path / "empty" / f"x{(source / LABELS[kind]).suffix}").write_text("something else")
    with pytest.raises(UsageError, match=r"empty: holds no labels of "):
        pack(tmp_path / "empty", tmp_path / "p", labels=kind)
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("csv", "val.csv", "pic,class,xmin,ymin,xmax,ymax\nb.png,c,1,1,5,5\n"),
        ("coco", "val.json", '{"data": [{"file": "b.png", "box": [1, 2, 3, 4]}]}'),
        ("labelme", "val.json", '{"data": [{"file": "b.png", "box": [1, 2, 3, 4]}]}'),
        ("createml", "val.json", '{"data": [{"file": "b.png", "box": [1, 2, 3, 4]}]}'),
        (
            "cvat",
            "val.xml",
            '<annotations2><image name="b.png"><box xtl="1" ytl="2" xbr="3" ybr="4"/></image></annotations2>',
        ),
        (
            "voc",
            "val.xml",
            "<notes><filename>b.png</filename><box><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></box></notes>",
        ),
    ],
)
def test_a_file_that_is_passed_by_is_named_if_it_names_an_image(kind, name, text, tmp_path):
    source = write(kind, tmp_path / "s", WORLDS["boxes"])
    (source / name).write_text(text)
    (source / f"other{name[3:]}").write_text(text.replace("b.png", "nothing"))
    report = pack(source, tmp_path / "p", labels=kind)
    assert [(p.code, p.path) for p in report.problems] == [("label", name)]
    assert "b.png" in report.problems[0].message and "--labels-from" in report.problems[0].message


@pytest.mark.parametrize("kind", ["coco", "cvat", "labelme", "createml", "csv", "voc"])
def test_utf_16(kind, tmp_path):
    source = write(kind, tmp_path / "s", WORLDS["boxes"])
    for path in [path for path in source.rglob("*") if path.suffix in (".json", ".xml", ".csv")]:
        path.write_bytes(path.read_text("utf-8").replace('encoding="utf-8"', 'encoding="utf-16"').encode("utf-16"))
    assert blobdir.labels.detect(source).keys() == {kind}
    report = pack(source, tmp_path / "p")
    assert report.complete and report.objects == 4


def test_coco_by_its_lists(tmp_path):
    """Whatever its first key is."""
    source = write("coco", tmp_path / "s", WORLDS["boxes"])
    dump(source / COCO_FILE, {"version": "1", "dataset": "x"} | coco_of(WORLDS["boxes"]))
    assert blobdir.labels.detect(source) == {"coco": COCO_FILE}


def test_labels_elsewhere_are_found_by_the_images(tmp_path):
    """YOLO's texts are known by their images, which aren't among them here."""
    for folder in "ab":
        draw(tmp_path / "images" / folder / "1.png")
    (tmp_path / "texts/b").mkdir(parents=True)
    (tmp_path / "texts/b/1.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    options = {"labels_from": str(tmp_path / "texts")}
    report = pack(tmp_path / "images", tmp_path / "p", **options)
    assert report.complete and report.labels == "yolo" and report.objects == 1
    (tmp_path / "texts/b/2.txt").write_text("hello")
    with pytest.raises(UsageError, match=r"texts/b/2.txt: holds no labels"):
        pack(tmp_path / "images", tmp_path / "q", labels_from=str(tmp_path / "texts/b/2.txt"))


# -- single formats ------------------------------------------------------------------------------------------------


def test_columns_that_nobody_knows(tmp_path):
    draw(tmp_path / "s/a.png")
    (tmp_path / "s/l.csv").write_bytes(
        b'filename,class,xmin,ymin,xmax,ymax,score,Note,difficult,id\r\na.png,"a\r\nb",1,1,5,5,0.50,"x, y",1,007\r\n'
    )
    assert pack(tmp_path / "s", tmp_path / "p").complete
    assert [one["classTitle"] for one in objects(tmp_path / "p")] == ["a\r\nb"]
    assert tags(tmp_path / "p") == [{"score": "0.50", "Note": "x, y", "difficult": None, "id": "007"}]


def test_the_size_that_a_table_says(tmp_path):
    draw(tmp_path / "s/a.png")
    (tmp_path / "s/l.csv").write_text(
        f"filename,width,height,class,xmin,ymin,xmax,ymax\na.png,{HEIGHT},{WIDTH},cat,1,1,5,5\n"
    )
    (problem,) = pack(tmp_path / "s", tmp_path / "p").problems
    assert problem.code == "label-size" and "before it's turned" in problem.message
    assert tags(tmp_path / "p") == [{}]


def test_shares_in_a_table(tmp_path):
    draw(tmp_path / "s/a.png")
    (tmp_path / "s/l.csv").write_text("image,label,xmin,ymin,xmax,ymax\na.png,cat,0.1,0.2,0.5,1\na.png,cat,0,0,1,1\n")
    report = pack(tmp_path / "s", tmp_path / "p")
    corners = [one["points"]["exterior"] for one in objects(tmp_path / "p")]
    assert corners == [[[10, 10], [50, 50]], [[0, 0], [100, 50]]]
    assert [p.code for p in report.problems] == ["label-note"]


def test_rows_of_a_missing_image_are_counted(tmp_path):
    draw(tmp_path / "s/a.png")
    (tmp_path / "s/l.csv").write_text(
        "filename,class,xmin,ymin,xmax,ymax\nb.png,cat,1,1,5,5\na.png,cat,1,1,5,5\nb.png,cat,1,1,5,5\nb.png,x,1,1,5,5\n"
    )
    (problem,) = pack(tmp_path / "s", tmp_path / "p").problems
    assert problem.path == "l.csv, line 2" and problem.message.endswith("nor for 2 more rows")


def test_voc_fields_come_back(tmp_path):
    draw(tmp_path / "s/JPEGImages/a.png")
    fields = "<folder>mine</folder><source><database>The Base</database></source><owner><name>me</name></owner>"
    thing = (
        "<object><name>cat</name><truncated>1</truncated><difficult>0</difficult><pose>Left</pose>"
        "<attributes><attribute><name>truncated</name><value>very</value></attribute></attributes>"
        "<actions><jumping>1</jumping></actions><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax></bndbox>"
        "</object><object><name>old</name><deleted>1</deleted></object>"
    )
    text = f"<annotation><filename>a.png</filename>{fields}<size><depth>1</depth></size>{thing}</annotation>"
    (tmp_path / "s/Annotations").mkdir()
    (tmp_path / "s/Annotations/a.xml").write_text(text)
    report = pack(tmp_path / "s", tmp_path / "p")
    assert [(p.code, p.message) for p in report.problems] == [
        ("label-note", "1 object that it calls deleted isn't taken")
    ]
    assert tags(tmp_path / "p") == [{"truncated": "very", "truncated_": None, "pose": "Left", "actions.jumping": "1"}]
    assert convert(tmp_path / "p", tmp_path / "o", ConvertOptions("voc")).complete
    again = (tmp_path / "o/VOCdevkit/VOC/Annotations/a.xml").read_text()
    for part in ("<folder>mine</folder>", "<database>The Base</database>", "<name>me</name>", "<depth>1</depth>"):
        assert part in again
    pack(tmp_path / "o", tmp_path / "again")
    assert tags(tmp_path / "again") == [tags(tmp_path / "p")[0] | {"truncated_": ""}]


def test_cvat_keeps_what_an_object_has_besides(tmp_path):
    draw(tmp_path / "s/a.png")
    (tmp_path / "s/annotations.xml").write_text(
        '<annotations><image id="4" name="a.png"><box label="car" occluded="1" z_order="2" group_id="7" source="auto" '
        'xtl="1" ytl="1" xbr="5" ybr="5"><attribute name="occluded">half</attribute></box>'
        '<skeleton label="s"><points label="n" points="3,4"/></skeleton></image></annotations>'
    )
    assert pack(tmp_path / "s", tmp_path / "p").complete
    assert tags(tmp_path / "p") == [{"occluded": "half", "occluded_": None}, {}]
    kept = json.loads((tmp_path / "p/s/meta/a.png.json").read_bytes())["labels"]
    assert list(kept["objects"].values()) == [{"z_order": "2", "group_id": "7", "source": "auto"}]
    (graph,) = [item for item in blobdir.open_project(tmp_path / "p").meta["classes"] if item["title"] == "s"]
    assert list(graph["geometry_config"]["nodes"]) == ["n"]
    assert not verify(tmp_path / "p", audience="supervisely").errors


def test_labelme_says_what_one_group_has_twice(tmp_path):
    draw(tmp_path / "s/a.png")
    one = {"label": "cat", "shape_type": "polygon", "points": [[1, 1], [9, 1], [9, 9]], "group_id": "g"}
    shapes = [one | {"attributes": {"a": 1}, "score": 0.5}, one | {"attributes": {"a": 2}}, one]
    dump(tmp_path / "s/a.json", {"shapes": shapes, "imagePath": "a.png", "imageData": None, "checked": True})
    report = pack(tmp_path / "s", tmp_path / "p")
    assert [(p.path, p.message.partition(",")[0]) for p in report.problems] == [
        ("a.json", "shapes[1]: its a isn't that of another shape of its group")
    ]
    assert report.objects == 1 and tags(tmp_path / "p") == [{"a": 1, "score": 0.5}] * 3
    assert json.loads((tmp_path / "p/s/meta/a.png.json").read_bytes())["labels"]["image"] == {"checked": True}


def test_yolo_keeps_its_columns_and_its_config(tmp_path):
    """Ultralytics refuses a file whose lines have different lengths."""
    draw(tmp_path / "s/images/a.png")
    (tmp_path / "s/labels").mkdir()
    lines = ["0 0.5 0.5 0.2 0.2 0.5 0.5 2 0.4 0.4 1", "0 0.5 0.5 0.2 0.2 0 0 0 0 0 0"]
    (tmp_path / "s/labels/a.txt").write_text("\n".join(lines))
    config = (
        "train: images\nnames: [p]\nkpt_shape: [2, 3]\nlicense: CC\nroboflow: {version: 3}\nmade: {2020-01-02: x}\n"
    )
    (tmp_path / "s/data.yaml").write_text(config + "odd: .nan\n")
    (problem,) = pack(tmp_path / "s", tmp_path / "p").problems
    assert (problem.code, problem.path) == ("label", "data.yaml") and "odd" in problem.message
    assert convert(tmp_path / "p", tmp_path / "o", ConvertOptions("yolo")).complete
    again = (tmp_path / "o/labels/train/a.txt").read_text().splitlines()
    assert [[float(n) for n in line.split()] for line in again] == [[float(n) for n in line.split()] for line in lines]
    text = (tmp_path / "o/data_config.yaml").read_text()
    assert "license: CC" in text and "roboflow: {version: 3}" in text and "2020-01-02" in text


def test_classes_of_yolo_with_a_point(tmp_path):
    draw(tmp_path / "s/a.png")
    (tmp_path / "s/a.txt").write_text("1.0 0.5 0.5 0.2 0.2\n")
    assert pack(tmp_path / "s", tmp_path / "p").complete
    assert [one["classTitle"] for one in objects(tmp_path / "p")] == ["1"]


# -- convert -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("to", "task"), [("voc", ""), ("yolo", "detect")])
def test_an_object_in_pieces_is_one_box(to, task, tmp_path):
    value = coco_of(World({"a.png": [("cat", OUTLINE)]}))
    value["annotations"][0]["segmentation"] = [[1, 2, 9, 2, 9, 9], [20, 20, 29, 20, 29, 29]]
    there_and_back(value, tmp_path)
    report = convert(tmp_path / "p", tmp_path / "to", ConvertOptions(to, task=task))
    assert report.complete and [p.message for p in report.problems if p.code == "label-boxed"] == [
        "1 object with an outline became the boxes around them"
    ]
    pack(tmp_path / "to", tmp_path / "again")
    assert [one["points"]["exterior"] for one in objects(tmp_path / "again")] == [[[1, 2], [29, 29]]]


def test_an_object_in_pieces_is_said_in_yolo(tmp_path):
    value = coco_of(World({"a.png": [("cat", OUTLINE)]}))
    value["annotations"][0]["segmentation"] = [[1, 2, 9, 2, 9, 9], [20, 20, 29, 20, 29, 29]]
    there_and_back(value, tmp_path)
    (problem,) = convert(tmp_path / "p", tmp_path / "to", ConvertOptions("yolo")).problems
    assert problem.code == "label-lost" and "is in 2 pieces" in problem.message


@pytest.mark.parametrize(("to", "style"), [("yolo", "exact"), ("yolo", "sdk"), ("voc", "sdk"), ("coco", "sdk")])
def test_tags_that_have_no_place_are_counted(to, style, tmp_path):
    value = coco_of(World({"a.png": [("cat", BOX), ("cat", BOX)]}))
    for annotation in value["annotations"]:
        annotation["attributes"] = {"colour": "red"}
    there_and_back(value, tmp_path)
    report = convert(tmp_path / "p", tmp_path / "to", ConvertOptions(to, style=style))
    assert [(p.path, p.message) for p in report.problems if p.code == "label-untold"] == [
        ("colour", f"is a tag of an object 2 times, and {to} has no place for that")
    ]


def test_outlines_of_noise():
    """A hole is put to its outline by what it lies in; trying each with each takes minutes."""
    pixels = np.random.default_rng(1).random((400, 400)) > 0.5
    began = time.process_time()
    found = outlines(Mask(0, 0, pixels))
    assert time.process_time() - began < 20
    assert len(found) > 1000 and sum(len(polygon.holes) for polygon in found) > 300


def test_exif_in_a_table(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    (tmp_path / "s").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "s/a.jpg", exif=exif)
    header = "filename,width,height,class,xmin,ymin,xmax,ymax"
    (tmp_path / "s/l.csv").write_text(f"{header}\na.jpg,{WIDTH},{HEIGHT},cat,1,1,5,5\n")
    (problem,) = pack(tmp_path / "s", tmp_path / "p").problems
    assert problem.code == "label-size"


def test_a_mask_comes_back_beside_a_box_of_its_own(tmp_path):
    value = coco_of(World({"a.png": [("cat", MASK)]}))
    value["annotations"][0] |= {"bbox": [9.5, 19.5, 10, 7], "area": 1.25}
    _, again = there_and_back(value, tmp_path)
    assert again["annotations"] == value["annotations"]
