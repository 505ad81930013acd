"""Pascal VOC as programs write it otherwise: tags in capitals, files without an extension."""

from __future__ import annotations

import re

import pytest
from label_cases import draw
from set_cases import classes
from split_cases import messages, pack, put

import blobdir

BNDBOX = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>8</ymax></bndbox>"
POLYGON = "<polygon><x1>1</x1><y1>1</y1><x2>9</x2><y2>1</y2><x3>9</x3><y3>9</y3></polygon>"
ROBNDBOX = "<robndbox><cx>5</cx><cy>5</cy><w>4</w><h>4</h><angle>0</angle></robndbox>"
PTS = "<polygon><pt><x>1</x><y>1</y></pt><pt><x>9</x><y>1</y></pt><pt><x>9</x><y>9</y></pt></polygon>"
GIVEN = "<attributes><attribute><name>a</name><value>1</value></attribute></attributes>"
SHAPES = [BNDBOX, POLYGON, ROBNDBOX, PTS]


def file_of(shape, where="{}"):
    more = f"<pose>Left</pose><difficult>1</difficult>{GIVEN}"
    objects = where.format(f"<object><name>cat</name>{more}{shape}</object><object><name>dog</name>{shape}</object>")
    size = "<size><width>100</width><height>50</height><depth>1</depth></size>"
    head = "<folder>f</folder><filename>a.png</filename>"
    return f"<annotation>{head}{size}<owner><Name>N</Name></owner>{objects}</annotation>"


def content(target):
    project = blobdir.open_project(target)
    dataset = project["s"]
    found = dataset.annotation("a.png")
    return [
        (one["classTitle"], one["geometryType"], one["points"], [(tag["name"], tag["value"]) for tag in one["tags"]])
        for one in found["objects"]
    ]


@pytest.mark.parametrize("spelled", [str.upper, str.title, str.swapcase])
@pytest.mark.parametrize("where", ["{}", "<objects>{}</objects>"])
@pytest.mark.parametrize("shape", SHAPES)
def test_tags_in_capitals(shape, where, spelled, tmp_path):
    draw(tmp_path / "s/a.png")
    text = file_of(shape, where)
    put(tmp_path / "s/a.xml", text)
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and report.objects == 2
    put(tmp_path / "s/a.xml", re.sub(r"(</?)(\w+)", lambda match: match[1] + spelled(match[2]), text))
    report, _ = pack(tmp_path / "s", tmp_path / "q")
    assert report.complete and content(tmp_path / "p") == content(tmp_path / "q"), report.problems


def test_one_object_in_capitals(tmp_path):
    draw(tmp_path / "s/a.png")
    other = f"<Object><Name>dog</Name>{BNDBOX}</Object>"
    put(tmp_path / "s/a.xml", f"<annotation><object><name>cat</name>{BNDBOX}</object>{other}</annotation>")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and classes(tmp_path / "p") == {"a.png": ["cat", "dog"]}


@pytest.mark.parametrize("shape", SHAPES)
def test_an_object_in_capitals_that_stands_elsewhere_is_named(shape, tmp_path):
    draw(tmp_path / "s/a.png")
    other = f"<Image>\n<Object><Name>dog</Name>{shape}</Object></Image>"
    put(tmp_path / "s/a.xml", f"<annotation><object><name>cat</name>{BNDBOX}</object>{other}</annotation>")
    ((path, text),) = messages(pack(tmp_path / "s", tmp_path / "p")[0])
    assert path == "a.xml, line 2" and "stands elsewhere" in text


def test_a_name_that_is_there_in_both_ways_stays(tmp_path):
    draw(tmp_path / "s/a.png")
    put(tmp_path / "s/a.xml", f"<annotation><object><Name>x</Name><name>cat</name>{BNDBOX}</object></annotation>")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete
    ((title, _, _, tags),) = content(tmp_path / "p")
    assert title == "cat" and tags == [("Name", "x")]


@pytest.mark.parametrize("others", [0, 1])
def test_files_without_an_extension(others, tmp_path):
    """As of Stanford Dogs."""
    for name in ("n1_1", "n1_2"):
        draw(tmp_path / f"s/Images/n1-dog/{name}.png")
        ending = ".xml" if others and name == "n1_2" else ""
        text = f"<annotation><filename>%s</filename><object><name>{name}</name>{BNDBOX}</object></annotation>"
        put(tmp_path / f"s/Annotation/n1-dog/{name}{ending}", text)
    put(tmp_path / "s/LICENSE", "as <annotation> says")
    put(tmp_path / "s/Images/README", "a text")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete, report.problems
    assert classes(tmp_path / "p") == {"n1_1.png": ["n1_1"], "n1_2.png": ["n1_2"]}


def test_files_without_an_extension_whose_image_is_missing_are_named(tmp_path):
    draw(tmp_path / "s/Images/a.png")
    for name in ("a", "b"):
        put(tmp_path / f"s/Annotation/{name}", f"<annotation><object><name>x</name>{BNDBOX}</object></annotation>")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert [path for path, _ in messages(report, "label-image")] == ["Annotation/b"]


@pytest.mark.parametrize("names", [("a", "v1.2_img"), ("v1.2_img", "v1.3_img"), ("3.0", "3.1"), ("x.20240101", "x")])
@pytest.mark.parametrize("says", [True, False])
def test_points_in_names_without_an_extension(names, says, tmp_path):
    for name in names:
        draw(tmp_path / f"s/Images/{name}.png")
        said = f"<filename>{name}.png</filename>" if says else ""
        put(
            tmp_path / f"s/Annotation/{name}",
            f"<annotation>{said}<object><name>{name}</name>{BNDBOX}</object></annotation>",
        )
    put(tmp_path / "s/Annotation/notes.2", "as <annotation> says")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete, report.problems
    assert classes(tmp_path / "p") == {f"{name}.png": [name] for name in names}


def test_points_in_names_of_missing_images(tmp_path):
    """``v1.2`` is never of ``v1.png``."""
    for name in ("a", "v1"):
        draw(tmp_path / f"s/Images/{name}.png")
    for name in ("a", "v1.2"):
        put(tmp_path / f"s/Annotation/{name}", f"<annotation><object><name>x</name>{BNDBOX}</object></annotation>")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert [path for path, _ in messages(report, "label-image")] == ["Annotation/v1.2"]
    assert classes(tmp_path / "p") == {"a.png": ["x"], "v1.png": []}
