"""Label files in which something is wrong: each thing is named, with the file and the place, and costs only itself."""

from __future__ import annotations

import json
import os
import re
import sys

import pytest
from label_cases import BOX, WORLDS, WRITERS, World, coco_of, draw, dump, write

import blobdir
from blobdir.cli import main
from blobdir.errors import BlobdirError, PackError, UsageError
from blobdir.inside import open_plain
from blobdir.labels.files import LabelFiles
from blobdir.labels.model import LabelError
from blobdir.labels.safexml import read_xml
from blobdir.verifying import verify

LABELS = {
    "coco": "annotations/instances_train.json",
    "yolo": "labels/a.txt",
    "voc": "Annotations/a.xml",
    "cvat": "annotations.xml",
    "labelme": "a.json",
    "createml": "_annotations.createml.json",
    "csv": "labels.csv",
}
ALONE = ("yolo", "voc", "labelme")
"""Formats with a file for each image: one that can't be read costs that image's labels only."""


def pack(source, target, **options):
    return blobdir.pack(source, target, blobdir.PackOptions(**{"labels": "auto", "processes": 1} | options))


def said(kind, source, tmp_path):
    """What is said of labels that can't be read: an error, or a problem where only one image is meant."""
    if kind not in ALONE:
        with pytest.raises(BlobdirError) as caught:
            pack(source, tmp_path / "p", labels=kind)
        assert not (tmp_path / "p").exists()
        return str(caught.value)
    report = pack(source, tmp_path / "p", labels=kind)
    assert not report.complete and report.images == 2
    return "; ".join(f"{p.path}: {p.message}" for p in report.problems if p.code == "label")


@pytest.fixture(params=WRITERS)
def kind(request):
    return request.param


@pytest.fixture
def source(kind, tmp_path):
    return write(kind, tmp_path / "source", WORLDS["boxes"])


CUT = {
    "coco": "isn't JSON",
    "yolo": "line 1: has 2 numbers after the class",
    "voc": "line 1: isn't XML",
    "cvat": "line 5: isn't XML",
    "labelme": "isn't JSON",
    "createml": "isn't JSON",
    "csv": "line 3: has 4 fields",
}


def test_cut_off(kind, source, tmp_path):
    path = source / LABELS[kind]
    data = path.read_bytes()
    if kind == "csv":
        path.write_bytes(b"\n".join(data.splitlines()[:2]) + b"\na.png,100,50,dog")
        report = pack(source, tmp_path / "p")
        (problem,) = [p for p in report.problems if p.code == "label"]
        assert f"{problem.path}: {problem.message}" == "labels.csv, line 3: has 4 fields, and 8 are needed"
        return
    path.write_bytes(b"0 0.5 0.5" if kind == "yolo" else data[: len(data) * 2 // 3])
    text = said(kind, source, tmp_path)
    assert text.startswith(LABELS[kind]) and re.search(CUT[kind].replace("line 5", r"line \d"), text), text


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"null", b"[]", b"<x/>", b"\0\0\0\0"])
def test_something_else(kind, source, data, tmp_path):
    """Never a traceback, whatever is in the file; and never silence."""
    (source / LABELS[kind]).write_bytes(data)
    try:
        report = pack(source, tmp_path / "p", labels=kind)
    except BlobdirError as error:
        assert str(error)
    else:
        empty = kind == "yolo" and data == b""  # nothing in the image
        assert empty or not report.complete or report.objects == 0


def test_latin_1(kind, tmp_path):
    world = World({"a.png": [("Größe", BOX)], "b.png": []})
    source = write(kind, tmp_path / "source", world)
    path = source / ("data.yaml" if kind == "yolo" else LABELS[kind])
    path.write_bytes(path.read_text("utf-8").encode("latin-1"))
    if kind in ("voc", "labelme"):
        text = said(kind, source, tmp_path)
    else:
        with pytest.raises(BlobdirError) as caught:
            pack(source, tmp_path / "p", labels=kind)
        text = str(caught.value)
    assert text.startswith(str(path.relative_to(source))), text
    assert re.search(r"line \d|byte \d", text), text


@pytest.mark.parametrize("change", ["bom", "crlf"])
def test_marks_and_line_ends(kind, change, source, tmp_path):
    """What editors put into files changes nothing."""
    pack(source, tmp_path / "before")
    for path in source.rglob("*"):
        if path.is_file() and path.suffix != ".png":
            data = path.read_bytes()
            path.write_bytes(b"\xef\xbb\xbf" + data if change == "bom" else data.replace(b"\n", b"\r\n"))
    assert pack(source, tmp_path / "after").complete
    files = [path for path in (tmp_path / "before").rglob("*") if path.is_file()]
    for path in files:
        assert (tmp_path / "after" / path.relative_to(tmp_path / "before")).read_bytes() == path.read_bytes()


def test_an_image_that_is_not_there(kind, source, tmp_path):
    next(source.rglob("a.png")).unlink()
    report = pack(source, tmp_path / "p")
    assert report.images == 1 and not report.complete
    (problem,) = [p for p in report.problems if p.code == "label-image"]
    assert problem.path.startswith(LABELS[kind])
    assert "a" in problem.message
    with pytest.raises(PackError, match=r"--strict"):
        pack(source, tmp_path / "q", strict=True)
    assert not (tmp_path / "q").exists()


def test_names_in_two_folders(kind, source, tmp_path):
    """Which of two images is meant is an error where the label file doesn't say it."""
    first = next(source.rglob("a.png"))
    for folder in ("x", "y"):
        draw(first.parent / folder / "a.png")
    first.unlink()
    report = pack(source, tmp_path / "p")
    problems = [p for p in report.problems if p.code == "label-image"]
    if kind == "yolo":  # one text for two images
        assert report.images == 3
        return
    assert len(problems) == 1 and "can be" in problems[0].message and "x/a.png" in problems[0].message


def faulty_coco():
    """Change of the file -> what is said, and where."""

    def annotation(**changes):
        return lambda v: v["annotations"][0].update(changes)

    whole = {
        "images are no list": (lambda v: v.update(images={}), "its images are an object, not a list"),
        "annotations null": (lambda v: v.update(annotations=None), "its annotations are null, not a list"),
    }
    single = {
        "no file_name": (lambda v: v["images"][0].pop("file_name"), r"images\[0\].*no file_name"),
        "image of no id": (lambda v: v["images"][0].pop("id"), r"images\[0\].*no id"),
        "image id twice": (lambda v: v["images"][1].update(id=0), r"images\[1\].*id 0"),
        "image null": (lambda v: v["images"].append(None), r"images\[2\].*isn't an object"),
        "category without a name": (lambda v: v["categories"][0].pop("name"), r"categories\[0\].*name is null"),
        "category id twice": (lambda v: v["categories"][1].update(id=0), r"categories\[1\].*id 0"),
        "unknown image": (annotation(image_id=99), r"annotations\[0\] \(id 1000\).*image 99"),
        "unknown category": (annotation(category_id=99), r"annotations\[0\] \(id 1000\).*category 99"),
        "annotation is a list": (lambda v: v["annotations"].append([]), r"annotations\[4\].*a list"),
        "bbox of 3": (annotation(bbox=[1, 2, 3]), r"annotations\[0\].*bbox isn't"),
        "bbox of texts": (annotation(bbox=["a", 2, 3, 4]), r"annotations\[0\].*'a', not a number"),
        "bbox NaN": (annotation(bbox=[float("nan"), 2, 3, 4]), r"annotations\[0\].*finite"),
        "negative width": (annotation(bbox=[1, 2, -3, 4]), r"annotations\[0\].*below nothing"),
        "odd outline": (annotation(segmentation=[[1, 2, 3]]), r"annotations\[0\].*3 numbers"),
        "outline of texts": (annotation(segmentation=[["a"] * 6]), r"annotations\[0\].*not a number"),
        "rle too short": (
            annotation(segmentation={"size": [50, 100], "counts": [1, 2]}),
            r"annotations\[0\].*runs of 3 pixels",
        ),
        "rle cut off": (
            annotation(segmentation={"size": [50, 100], "counts": "o"}),
            r"annotations\[0\].*cut off",
        ),
        "rle of a huge size": (
            annotation(segmentation={"size": [10**9, 10**9], "counts": []}),
            r"annotations\[0\].*too many",
        ),
        "rle run too long": (
            annotation(segmentation={"size": [50, 100], "counts": [10**30]}),
            r"annotations\[0\].*too long",
        ),
        "rle of another image": (
            annotation(segmentation={"size": [10, 20], "counts": [0, 200]}),
            r"annotations\[0\].*image of 20 × 10 pixels, and this one has 100 × 50",
        ),
        "keypoints without names": (annotation(keypoints=[1, 2, 2]), r"annotations\[0\].*category 'cat' has none"),
        "area NaN": (annotation(area=float("nan")), r"images\[0\].*NaN"),
        "half a character": (lambda v: v["categories"][0].update(name="\ud800"), r"categories\[0\].*half a character"),
        "nothing at all": (annotation(bbox=None), r"annotations\[0\].*neither a box"),
    }
    return whole, single


@pytest.mark.parametrize("name", faulty_coco()[0])
def test_coco_as_a_whole(name, tmp_path):
    change, expected = faulty_coco()[0][name]
    source = write("coco", tmp_path / "source", WORLDS["boxes"])
    value = coco_of(WORLDS["boxes"])
    change(value)
    dump(source / LABELS["coco"], value)
    with pytest.raises(BlobdirError, match=expected):
        pack(source, tmp_path / "p")


@pytest.mark.parametrize("name", faulty_coco()[1])
def test_coco_in_one_place(name, tmp_path):
    change, expected = faulty_coco()[1][name]
    source = write("coco", tmp_path / "source", WORLDS["boxes"])
    value = coco_of(WORLDS["boxes"])
    change(value)
    dump(source / LABELS["coco"], value)
    report = pack(source, tmp_path / "p")
    assert not report.complete
    assert re.search(expected, "; ".join(f"{p.path}: {p.message}" for p in report.problems)), report.problems
    assert report.objects >= 1 and all(p.path.startswith((LABELS["coco"], ".")) for p in report.problems)


def test_attributes_of_several_kinds(tmp_path):
    """A tag has one kind of values for the SDK."""
    source = write("coco", tmp_path / "source", WORLDS["boxes"])
    value = coco_of(WORLDS["boxes"])
    given = [{"a": 1, "b": True, "c": None, "d": 0.5}, {"a": "x", "b": False, "c": "y", "d": 7}, {"d": float("nan")}]
    for annotation, attributes in zip(value["annotations"], given, strict=False):
        annotation["attributes"] = attributes
    dump(source / LABELS["coco"], value)
    assert pack(source, tmp_path / "p").complete
    assert not verify(tmp_path / "p", audience="supervisely").errors
    project = blobdir.open_project(tmp_path / "p")
    assert {tag["name"]: tag["value_type"] for tag in project.meta["tags"]} == dict.fromkeys("abcd", "any_string")
    objects = project["train"].annotation("a.png")["objects"]
    assert [{tag["name"]: tag["value"] for tag in one["tags"]} for one in objects] == [
        {"a": "1", "b": "true", "c": "", "d": "0.5"},
        {"a": "x", "b": "false", "c": "y", "d": "7"},
        {"d": "nan"},
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("x 0.5 0.5 0.1 0.1", "begins with 'x'"),
        ("7 0.5 0.5 0.1 0.1", "is of class 7, and there are only 2 names"),
        ("-1 0.5 0.5 0.1 0.1", "is of class -1"),
        ("0", "has 0 numbers"),
        ("0 0.5 0.5 0.1 nan", "not a finite number"),
        ("0 0.5 0.5 0.1 x", "'x', not a number"),
        ("0 0.5 0.5 -0.1 0.1", "below nothing"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "has 7 numbers"),
    ],
)
def test_yolo_lines(line, expected, tmp_path):
    source = write("yolo", tmp_path / "source", WORLDS["boxes"])
    (source / "labels/a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n1 0.5 0.5 0.2 0.2\n")
    report = pack(source, tmp_path / "p")
    (problem,) = report.problems
    assert problem.code == "label" and problem.path == "labels/a.txt, line 2" and expected in problem.message
    assert report.objects == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("names: [a, b]\nnc: 3\ntrain: x\n", "data.yaml: has nc: 3, and 2 names"),
        ("names: 3\ntrain: x\n", "data.yaml: its names are a number"),
        ("names: [a, a]\ntrain: x\n", "data.yaml: two of its names are the same"),
        ("names: [a, no]\ntrain: x\n", "data.yaml: the name of class 1 is false"),
        ("names: [a, b\ntrain: x\n", r"data.yaml: line \d: isn't YAML"),
        ("names: [a, b]\ntrain: x\nkpt_shape: [17]\n", "data.yaml: its kpt_shape isn't"),
        ('names: ["\\ud83d", b]\ntrain: x\n', "data.yaml: holds half a character"),
        ('names: [a, b]\n"\\udc00": x\ntrain: x\n', "data.yaml: holds half a character"),
        (
            "names: [a, b]\nmore: &x [*x]\ntrain: x\n",
            "data.yaml: isn't YAML that can be read: a value in it holds itself",
        ),
        ("names: !!python/object/apply:os.system [id]\ntrain: x\n", r"data.yaml: line \d: isn't YAML"),
    ],
)
def test_yolo_yaml(text, expected, tmp_path):
    source = write("yolo", tmp_path / "source", WORLDS["boxes"])
    (source / "data.yaml").write_text(text)
    with pytest.raises(BlobdirError, match=expected):
        pack(source, tmp_path / "p")


def test_a_character_that_yaml_has_as_two_halves(tmp_path):
    """As JSON is written, which is YAML."""
    source = write("yolo", tmp_path / "source", WORLDS["boxes"])
    names = json.dumps(["\U0001f600", "ä"])
    text = f"train: images\nnames: {names}\nmore: {names}\n"
    (source / "data.yaml").write_text(text)
    report = pack(source, tmp_path / "p")
    titles = [item["title"] for item in blobdir.open_project(tmp_path / "p").meta["classes"]]
    assert report.complete and sorted(titles) == ["ä", "\U0001f600"]


def test_yaml_is_an_extra(tmp_path, monkeypatch):
    source = write("yolo", tmp_path / "source", WORLDS["boxes"])
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(UsageError, match=r"pip install 'blobdir\[labels\]'"):
        pack(source, tmp_path / "p")
    (source / "data.yaml").unlink()
    assert pack(source, tmp_path / "p").complete


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY c SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("head", [BOMB, OUTSIDE, '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd">'])
@pytest.mark.parametrize("kind", ["voc", "cvat"])
def test_hostile_xml(kind, head, tmp_path):
    source = write(kind, tmp_path / "source", WORLDS["boxes"])
    path = source / LABELS[kind]
    text = path.read_text()
    body = text.removeprefix('<?xml version="1.0" encoding="utf-8"?>\n').replace(">cat<", ">&c;<")
    path.write_text(head + body)
    assert "has a document type" in said(kind, source, tmp_path)


def test_deep_xml():
    with pytest.raises(BlobdirError, match="nested too deeply"):
        read_xml(b"<a>" * 100_000)


def test_boxes_that_are_odd_are_kept_and_named(tmp_path):
    source = write("csv", tmp_path / "source", WORLDS["boxes"])
    (source / "labels.csv").write_text(
        "filename,class,xmin,ymin,xmax,ymax\na.png,cat,5,5,5,9\na.png,cat,-40,5,400,9\na.png,cat,9,5,5,9\n"
    )
    report = pack(source, tmp_path / "p")
    assert [(p.code, p.path, p.costs) for p in report.problems] == [
        ("label", "labels.csv, line 4", True),
        ("label-degenerate", "labels.csv, line 2", False),
        ("label-outside", "labels.csv, line 2", False),
    ]
    assert report.objects == 2


def test_labels_of_another_size(tmp_path):
    source = write("coco", tmp_path / "source", WORLDS["boxes"])
    value = coco_of(WORLDS["boxes"])
    value["images"][0] |= {"width": 50, "height": 100}
    dump(source / LABELS["coco"], value)
    (problem,) = pack(source, tmp_path / "p").problems
    assert problem.code == "label-size" and problem.costs
    assert "100 × 50" in problem.message and "before it's turned" in problem.message


# -- which format it is --------------------------------------------------------------------------------------------


def test_two_formats_are_named(tmp_path):
    source = write("coco", tmp_path / "source", WORLDS["boxes"])
    write("csv", source, World({}))
    (source / "labels.csv").write_text("filename,class,xmin,ymin,xmax,ymax\na.png,cat,5,5,6,9\n")
    with pytest.raises(
        UsageError, match=r"COCO \(annotations/instances_train.json\) and boxes in a CSV \(labels.csv\)"
    ):
        pack(source, tmp_path / "p")
    assert pack(source, tmp_path / "p", labels="csv").objects == 1


def test_no_format_is_named(tmp_path):
    draw(tmp_path / "source" / "a.png")
    (tmp_path / "source" / "x.json").write_text("{}")
    with pytest.raises(UsageError, match=r"are known \(x.json is something else\); there are coco, yolo"):
        pack(tmp_path / "source", tmp_path / "p")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ann.json", {"description": "", "tags": [], "size": {"height": 1, "width": 1}, "objects": []}),
        ("package.json", {"name": "x", "images": "no"}),
        ("results.json", [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]),
        ("requirements.txt", "1 2 3 4 5\n"),
        ("notes.txt", "0 0.1 0.2 0.3 0.4\n"),
        ("table.csv", "a,b\n1,2\n"),
        ("page.xml", "<html/>"),
        ("conf.yaml", "name: x\n"),
    ],
)
def test_other_files_are_no_labels(name, content, tmp_path):
    draw(tmp_path / "a.png")
    (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
    assert blobdir.labels.detect(tmp_path) == {}


def test_detect_of_one_file(tmp_path):
    source = write("coco", tmp_path / "source", WORLDS["boxes"])
    assert blobdir.labels.detect(source / LABELS["coco"]) == {"coco": "instances_train.json"}
    assert blobdir.labels.detect(LabelFiles.below(str(source))) == {"coco": LABELS["coco"]}


# -- the command ---------------------------------------------------------------------------------------------------


def run(*arguments):
    """Exit status of a command line."""
    with pytest.raises(SystemExit) as ended:
        main(list(map(str, arguments)))
    return ended.value.code


def test_the_command_says_what_it_found(tmp_path, capsys):
    source = write("coco", tmp_path / "source", WORLDS["boxes"])
    assert run("pack", str(source), str(tmp_path / "p"), "--labels", "auto") == 0
    assert "labels: COCO, 4 objects" in capsys.readouterr().out
    assert run("convert", str(tmp_path / "p"), str(tmp_path / "o"), "--to", "voc") == 0
    assert "2 images, 4 objects" in capsys.readouterr().out


def test_the_command_ends_with_7_where_something_is_lost(tmp_path, capsys):
    source = write("labelme", tmp_path / "source", WORLDS["lines"])
    (source / "b.png").write_bytes((source / "a.png").read_bytes())
    (source / "b.json").write_text("{")
    packed, target = str(tmp_path / "p"), str(tmp_path / "o")
    assert run("pack", str(source), packed, "--labels", "labelme") == 7
    assert "blobdir: label: b.json: isn't JSON" in capsys.readouterr().err
    assert run("convert", packed, target, "--to", "coco") == 7
    assert "blobdir: label-lost: source/a.png: an object 'road' is a line" in capsys.readouterr().err
    assert run("convert", packed, f"{target}-strict", "--to", "coco", "--strict") == 7
    assert not (tmp_path / "o-strict").exists() and not list(tmp_path.glob("*.converting"))
    assert run("convert", packed, target, "--to", "coco") == 2
    assert "is there already" in capsys.readouterr().err
    assert run("pack", packed, f"{packed}-again", "--labels", "coco") == 2
    assert "is a project" in capsys.readouterr().err
    assert run("pack", source / "a.json", f"{packed}-again", "--labels", "labelme") == 2
    assert "--labels-from" in capsys.readouterr().err


def test_a_label_file_that_cannot_be_looked_into_is_named(kind, tmp_path, monkeypatch):
    """Whatever its format: who passed it by would lose labels without a word."""
    source = write(kind, tmp_path / "source", WORLDS["boxes"])
    odd = (source / LABELS[kind]).with_name(f"odd{(source / LABELS[kind]).suffix}")
    odd.write_bytes((source / LABELS[kind]).read_bytes())

    def opened(path):
        if str(path) == str(odd):
            raise PermissionError(13, "Permission denied", str(path))
        return open_plain(path)

    monkeypatch.setattr("blobdir.labels.files.open_plain", opened)
    report = pack(source, tmp_path / "p", labels=kind)
    assert any(p.path.endswith(odd.name) for p in report.problems)
    assert not report.complete


def test_a_folder_of_labels_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "labels/deep").mkdir(parents=True)
    real = os.scandir

    def scandir(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(LabelError, match=r"deep: can't be listed: Permission denied"):
        LabelFiles.below(str(tmp_path / "labels"))
