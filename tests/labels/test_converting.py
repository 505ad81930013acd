"""``convert`` of projects in which something is wrong, of remote ones, into places where something is."""

from __future__ import annotations

import json
import os

import drawn
import numpy as np
import pytest
from label_cases import WORLDS, draw, dump, write
from pycocotools.coco import COCO

import blobdir
from blobdir.converting import ConvertOptions, convert
from blobdir.errors import PackError, UsageError
from blobdir.labels import writers
from blobdir.labels.writers.model import seen_name
from blobdir.moving import pack_to

FORMATS = sorted(writers.WRITERS)


@pytest.fixture
def project(tmp_path):
    source = write("coco", tmp_path / "source", WORLDS["boxes"])
    blobdir.pack(source, tmp_path / "p", blobdir.PackOptions(labels="coco", processes=1))
    return tmp_path / "p"


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("to", FORMATS)
def test_a_remote_project_gives_the_same(to, project, tmp_path):
    url = f"memory://labels-{to}-{os.getpid()}/p"
    pack_to(str(tmp_path / "source"), url, blobdir.PackOptions(labels="coco", processes=1))
    assert convert(url, tmp_path / "remote", ConvertOptions(to)).complete
    convert(project, tmp_path / "local", ConvertOptions(to))
    assert contents(tmp_path / "remote") == contents(tmp_path / "local")


@pytest.mark.parametrize("to", FORMATS)
def test_no_images(to, project, tmp_path):
    report = convert(project, tmp_path / "o", ConvertOptions(to, images="none"))
    assert report.images == 2
    assert not [name for name in contents(tmp_path / "o") if name.endswith(".png")]


@pytest.mark.parametrize("to", FORMATS)
@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda root: (root / "train/ann/a.png.json").write_text("{"), "annotation"),
        (lambda root: (root / "train/ann/a.png.json").write_text('{"size": {}, "objects": null}'), "annotation"),
        (lambda root: (root / "train/meta/a.png.json").write_text("{"), "unreadable"),
    ],
)
def test_what_cannot_be_used_is_named(to, damage, code, project, tmp_path):
    damage(project)
    report = convert(project, tmp_path / "o", ConvertOptions(to))
    (problem,) = [problem for problem in report.problems if problem.costs]
    assert problem.code == code and "a.png" in problem.path
    assert len([name for name in contents(tmp_path / "o") if name.endswith(".png")]) == 2
    with pytest.raises(PackError, match="--strict"):
        convert(project, tmp_path / "strict", ConvertOptions(to, strict=True))
    assert not (tmp_path / "strict").exists()


def test_an_image_without_an_annotation_is_there_without_objects(project, tmp_path):
    (project / "train/ann/a.png.json").unlink()
    report = convert(project, tmp_path / "o", ConvertOptions("coco", strict=True))
    assert [(p.code, p.path, p.costs) for p in report.problems] == [("no-annotation", "train/a.png", False)]
    assert report.images == 2 and report.complete


@pytest.mark.parametrize("to", FORMATS)
def test_a_meta_that_is_none(to, project, tmp_path):
    (project / "meta.json").write_text("[")
    with pytest.raises(PackError, match=r"meta.json"):
        convert(project, tmp_path / "o", ConvertOptions(to))
    assert not (tmp_path / "o").exists() and not list(tmp_path.glob("*.converting"))


def test_an_annotation_without_a_size_has_that_of_the_image(project, tmp_path):
    path = project / "train/ann/a.png.json"
    value = json.loads(path.read_bytes())
    value["size"] = {"height": 0, "width": 0}
    path.write_text(json.dumps(value))
    convert(project, tmp_path / "o", ConvertOptions("voc"))
    assert b"<width>100</width>" in (tmp_path / "o/VOCdevkit/VOC/Annotations/a.xml").read_bytes()


def solid(kind, left, top):
    """A mask of 20 x 20 pixels, or an outline with a hole that is as large."""
    if kind == "bitmap":
        body = {"bitmap": {"data": drawn.bitmap(np.ones((20, 20)) * 255), "origin": [left, top]}}
    else:
        outer, inner = (
            ((left + by, top + by), (left + 19 - by, top + by), (left + 10, top + 19 - by)) for by in (0, 5)
        )
        body = drawn.points(*outer, interior=[inner])
    return drawn.thing(kind, body)


@pytest.mark.parametrize("style", ["exact", "sdk"])
@pytest.mark.parametrize(
    ("place", "fault"), [((5, 5), ""), ((90, 5), "partly outside"), ((5, -10), "partly outside"), ((200, 9), "outside")]
)
@pytest.mark.parametrize("kind", ["bitmap", "polygon"])
def test_what_run_lengths_cut_off_is_named(kind, place, fault, style, tmp_path):
    classes = [{"title": "c", "shape": kind, "color": "#FF0000"}]
    root = drawn.project(tmp_path / "p", {"d": {"a.png": [solid(kind, *place)]}}, classes)
    report = convert(root, tmp_path / "o", ConvertOptions("coco", style=style))
    lost = [problem.message for problem in report.problems if problem.code == "label-lost"]
    as_runs = style == "exact" or kind == "bitmap"  # the SDK's outlines have no holes, and go anywhere
    assert any(f"is {fault} of its image" in text for text in lost) == bool(fault and as_runs)


def test_wrong_uses(project, tmp_path):
    with pytest.raises(UsageError, match="is there already"):
        convert(project, tmp_path / "source", ConvertOptions("coco"))
    with pytest.raises(UsageError, match="in the project"):
        convert(project, project / "o", ConvertOptions("coco"))
    with pytest.raises(UsageError, match="nowhere: isn't a dataset; there are train"):
        convert(project, tmp_path / "o", ConvertOptions("coco", datasets=("nowhere",)))
    with pytest.raises(UsageError, match="nowhere: isn't a dataset; there are train"):
        convert(project, tmp_path / "o", ConvertOptions("yolo", val=("nowhere",)))
    with pytest.raises(UsageError, match="is for yolo, not for coco"):
        ConvertOptions("coco", task="pose")
    with pytest.raises(UsageError, match="choose one of coco"):
        ConvertOptions("xml")
    assert not (tmp_path / "o").exists()


def test_names_that_would_meet(tmp_path):
    """Two images whose labels would have one name, and two datasets with the same images."""
    for dataset in ("one", "two"):
        for name in ("a.jpg", "a.png"):
            draw(tmp_path / "p" / dataset / "img" / name)
            ann = {"description": "", "tags": [], "size": {"height": 50, "width": 100}, "objects": []}
            dump(tmp_path / "p" / dataset / "ann" / f"{name}.json", ann)
    dump(tmp_path / "p/meta.json", {"classes": [], "tags": [], "projectType": "images"})
    for to in FORMATS:
        for style in ("sdk", "exact"):
            report = convert(tmp_path / "p", tmp_path / f"{to}-{style}", ConvertOptions(to, style=style))
            assert report.complete
            names = contents(tmp_path / f"{to}-{style}")
            assert len([name for name in names if name.endswith((".jpg", ".png"))]) == 4
            if to != "coco":
                suffix = ".xml" if to == "voc" else ".txt"
                labels = [name for name in names if name.endswith(suffix) and "ImageSets" not in name]
                assert len([name for name in labels if "colors" not in name]) == 4


def test_a_file_name_never_leads_out(project, tmp_path):
    path = project / "train/meta/a.png.json"
    for bad in ("../../a.png", "/a.png", "x/../../a.png", "a\0.png", "..\\a.png", ""):
        path.write_text(json.dumps({"labels": {"format": "coco", "image": {"id": 0, "file_name": bad}}}))
        convert(project, tmp_path / "o", ConvertOptions("coco"))
        assert (tmp_path / "o/train/images/a.png").is_file()
        value = json.loads((tmp_path / "o/train/annotations/coco_instances.json").read_bytes())
        assert sorted(image["file_name"] for image in value["images"]) == ["a.png", "b.png"]
        for file in sorted((tmp_path / "o").rglob("*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        (tmp_path / "o").rmdir()


ODD = [
    {"objects": {"coco-1000": {"of": "x", "absent": 5, "category_id": [], "area": "x"}}},
    {"objects": {"coco-1000": {"absent": [[], "image_id", "id"], "segmentation": 5, "image_id": 8, "iscrowd": []}}},
    {"image": {"id": [], "file_name": 5, "width": "x"}, "images": 5, "kpt_shape": [3], "annotations": 1},
]


@pytest.mark.parametrize("kept", [[], {"image": []}, {"objects": []}, {"objects": {"coco-1000": 5}}, 7, *ODD])
def test_what_others_write_beside_images(kept, project, tmp_path):
    """`meta/` is everybody's: what isn't as blobdir writes it is no reason to end."""
    said = kept | {"format": "coco"} if isinstance(kept, dict) else kept
    (project / "train/meta/a.png.json").write_text(json.dumps({"labels": said}))
    categories = [kept, {"name": "cat", "id": []}, {"name": "cat", "id": 1, "keypoints": [[]]}, {"name": [], "id": 1}]
    source = {"format": "coco", "categories": categories, "classes": kept, "file": kept}
    (project / "train/label_source.json").write_text(json.dumps(source))
    for to in FORMATS:
        assert convert(project, tmp_path / to, ConvertOptions(to)).complete
    coco = COCO(str(tmp_path / "coco/train/annotations/coco_instances.json"))
    assert len(coco.imgs) == 2 and len(coco.anns) == 4
    assert {annotation["image_id"] for annotation in coco.anns.values()} <= coco.imgs.keys()


@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
@pytest.mark.parametrize(
    "names",
    [
        ("train/0.jpg", ".x/1.jpg"),
        ("train/0.jpg", "..x/1.jpg"),
        ("train/0.jpg", "a\\b/0.jpg"),
        ("cats/0.jpg", "a\\b/0.jpg"),
        ("train/0.jpg", "val/0.jpg.jpg"),
        ("train/0.jpg.jpg", "val/0.jpg"),
        ("train/0.JPG", "val/0.jpg.png"),
        ("train/0.jpg.png", "val/0.JPG"),
        ("train/0.JPG.png", "val/0.jpg"),
        ("train/a\u0308.JPG", "val/\u00e4.jpg.png"),
        ("train/0.JPG", "train/0.jpg.png", "val/1.jpg"),
        *(("train/0.jpg", f"{key}/1.jpg") for key in ("kpt_shape", "flip_idx", "names", "nc", "path", "colors", "gt")),
    ],
)
def test_what_is_written_is_read_again(names, to, tmp_path):
    """No image is hidden, no name is that of another image or of a key; what is called otherwise is said."""
    rows = ["filename,class,xmin,ymin,xmax,ymax,split"]
    for number, name in enumerate(names):
        split, _, image = name.rpartition("/")
        draw(tmp_path / f"s/d{number}/{image}")
        rows.append(f"d{number}/{image},cat,1,1,9,9,{split}")
    (tmp_path / "s/l.csv").write_text("\n".join(rows))
    pack = blobdir.PackOptions(labels="auto", processes=1)
    blobdir.pack(tmp_path / "s", tmp_path / "p", pack)
    report = convert(tmp_path / "p", tmp_path / "o", ConvertOptions(to))
    assert report.complete
    again = blobdir.pack(tmp_path / "o", tmp_path / "q", pack)
    assert again.complete, again.problems
    before, after = (blobdir.open_project(tmp_path / name) for name in "pq")
    said = " ".join(f"{one.path} {one.message}" for one in report.problems)
    assert sum(map(len, after.values())) == len(names)
    if any(name.startswith("train") for name in names) or to != "voc":
        assert len(after) == len(before) and all(name in after or name in said for name in before)


def test_names_that_would_hide_something():
    assert [seen_name(name) for name in ("a.b", ".a", "..a", "x/.a/.b")] == ["a.b", "_a", "_.a", "x/_a/_b"]


def coco_with(root, images, names):
    """A COCO set of images by split, each with one box of every class."""
    for split, some in images.items():
        for name in some:
            draw(root / split / name)
        classes = [{"id": i, "name": name} for i, name in enumerate(names)]
        entries = [{"id": i, "file_name": name} for i, name in enumerate(some)]
        boxes = [
            {"id": 10 * i + k, "image_id": i, "category_id": k, "bbox": [5, 5, 20 + k, 20]}
            for i, _ in enumerate(some)
            for k, _ in enumerate(names)
        ]
        value = {"images": entries, "annotations": boxes, "categories": classes}
        dump(root / split / "_annotations.coco.json", value)
    blobdir.pack(root, root.with_name("p"), blobdir.PackOptions(labels="auto", processes=1))
    return root.with_name("p")


@pytest.mark.parametrize("name", ["a .png", " a.png", "a\n.png", "a\x85.png"])
def test_a_name_that_cannot_be_a_line_of_a_list_is_in_none(name, tmp_path):
    """It would be that of another image."""
    project = coco_with(tmp_path / "s", {"train": [name, "b.png"], "val": ["a.png"]}, ["cat"])
    report = convert(project, tmp_path / "o", ConvertOptions("voc"))
    assert [p.code for p in report.problems] == ["label-lost"]
    lists = {path.stem: path.read_text() for path in (tmp_path / "o").rglob("Main/*.txt")}
    assert lists == {"train": "b\n", "val": "a\n", "trainval": "b\na\n"}
    blobdir.pack(tmp_path / "o", tmp_path / "again", blobdir.PackOptions(labels="auto", processes=1))
    assert list(blobdir.open_project(tmp_path / "again")["val"]) == ["a.png"]


def test_spaces_at_the_ends_of_names_that_xml_loses_are_said(tmp_path):
    project = coco_with(tmp_path / "s", {"train": ["a.png", "b.png"]}, ["dog ", "fox"])
    report = convert(project, tmp_path / "o", ConvertOptions("voc"))
    assert report.complete and [(p.code, p.path) for p in report.problems] == [("label-note", "dog ")]
    project = coco_with(tmp_path / "t" / "s", {"train": ["a.png"]}, ["cat", "cat "])
    report = convert(project, tmp_path / "q", ConvertOptions("voc"))
    ((code, text),) = [(p.code, p.message) for p in report.problems]
    assert code == "label-lost" and "is read as one of the class 'cat'" in text
    assert not convert(project, tmp_path / "c", ConvertOptions("coco")).problems
