"""Packing from a list: what it can be, what is taken from it, and what is said about bad lines."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import blobdir
from blobdir.cli.app import run
from blobdir.errors import NotAProjectError, PackError, UsageError
from blobdir.packing import PackOptions, pack
from blobdir.packing.columns import TextColumn
from blobdir.packing.lists import Row, RowError, read_list
from blobdir.verifying import verify

COMMAND = str(Path(sys.executable).with_name("blobdir"))
BOX = {
    "size": {"height": 7, "width": 11},
    "tags": [{"name": "score", "value": 3}],
    "objects": [
        {
            "classTitle": "lemon",
            "geometryType": "rectangle",
            "tags": [],
            "points": {"exterior": [[0, 0], [3, 3]], "interior": []},
        }
    ],
}


def picture(i):
    data = io.BytesIO()
    Image.new("RGB", (9 + i, 7), (i, 2, 3)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def images(tmp_path):
    for i, name in enumerate(["a.png", "deep/er/b.png", "c d,e.png", "ünï.png"]):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    return tmp_path / "images"


def rows(tmp_path, text):
    (tmp_path / "list").write_bytes(text if isinstance(text, bytes) else text.encode())
    return [
        (number, str(row) if isinstance(row, RowError) else row) for number, row in read_list(str(tmp_path / "list"))
    ]


def test_text(tmp_path):
    assert rows(tmp_path, "a.png\r\n\n  \nb, c.png\n d.png") == [
        (1, Row("a.png")),
        (4, Row("b, c.png")),
        (5, Row(" d.png")),
    ]
    assert rows(tmp_path, b"\xef\xbb\xbfa\xff.png\n") == [(1, Row(os.fsdecode(b"a\xff.png")))]
    assert rows(tmp_path, "") == []


def test_csv(tmp_path):
    text = '\nPath,tags,dataset\n"a,1.png",red; big ;,x\n\nb.png\n,t,\nc.png,,,4\n"d\n.png"\n'
    assert rows(tmp_path, text) == [
        (3, Row("a,1.png", "x", tags=("red", "big"))),
        (5, Row("b.png")),
        (6, "has no path"),
        (7, "has 4 fields, and there are 3 columns"),
        (9, Row("d\n.png")),
    ]
    assert rows(tmp_path, "name\tpath\tannotation\nn.png\tb.png\tb.json\n") == [
        (2, Row("b.png", name="n.png", annotation="b.json"))
    ]
    assert rows(tmp_path, "path\na.png\n") == [(2, Row("a.png"))]
    with pytest.raises(UsageError, match="there can be path, dataset, name, tags, annotation"):
        rows(tmp_path, "path,label\na.png,x\n")


def test_json_lines(tmp_path):
    lines = [
        {"path": "a.png", "dataset": "d", "name": "n.png", "tags": ["x"], "annotation": BOX},
        {"path": "b.png", "annotation": "b.json", "tags": None},
        {"path": 3},
        {"path": "b.png", "tags": "x"},
        {"path": "b.png", "annotation": 3},
        {"path": "b.png", "label": 3},
        {"path": "b.png", "dataset": 3},
        {"path": "\ud800.png"},
    ]
    found = rows(tmp_path, "\n".join(map(json.dumps, lines)) + "\n{\n[]\n")
    assert found[:2] == [(1, Row("a.png", "d", "n.png", ("x",), BOX)), (2, Row("b.png", annotation="b.json"))]
    assert [number for number, _ in found] == list(range(1, 11))
    for (_, message), part in zip(
        found[2:],
        ["path", "tags", "annotation", "label", "dataset", "can't be the name", "isn't JSON", "path"],
        strict=True,
    ):
        assert part in message


def test_packed_from_text(images, tmp_path):
    (images / "list.txt").write_text("a.png\ndeep/er/b.png\nc d,e.png\nünï.png\n")
    report = pack(images / "list.txt", tmp_path / "p")
    assert report.complete
    assert report.datasets == {"list": 4}
    dataset = blobdir.open_project(tmp_path / "p")["list"]
    assert dataset.names == ["a.png", "b.png", "c d,e.png", "ünï.png"]
    assert dataset.get_blob_img_bytes("b.png") == picture(1)
    assert dataset.annotation("b.png")["size"] == {"height": 7, "width": 10}
    assert verify(tmp_path / "p", decode=True).findings == []


def test_packed_from_json(images, tmp_path):
    (images / "b.json").write_text(json.dumps(BOX | {"size": {"height": 7, "width": 10}}))
    lines = [
        {"path": "a.png", "dataset": "train/hard", "tags": ["red"]},
        {"path": "deep/er/b.png", "dataset": "train", "annotation": "b.json"},
        {"path": str(images / "c d,e.png"), "dataset": "train", "name": "c.png", "annotation": BOX, "tags": ["red"]},
    ]
    (images / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    report = pack(images / "list.jsonl", tmp_path / "p")
    assert report.complete
    project = blobdir.open_project(tmp_path / "p")
    assert list(project) == ["train", "train/hard"]
    assert project["train"].names == ["b.png", "c.png"]
    assert (tmp_path / "p/train/ann/b.png.json").read_bytes() == (images / "b.json").read_bytes()
    assert project["train"].annotation("c.png")["objects"] == BOX["objects"]
    assert [tag["name"] for tag in project["train"].annotation("c.png")["tags"]] == ["score", "red"]
    assert [(c["title"], c["shape"]) for c in project.meta["classes"]] == [("lemon", "rectangle")]
    assert [(t["name"], t["value_type"]) for t in project.meta["tags"]] == [("red", "none"), ("score", "any_number")]
    assert verify(tmp_path / "p", decode=True).findings == []


def test_the_same_list_gives_the_same_bytes(images, tmp_path):
    lines = ["a.png", "deep/er/b.png", "c d,e.png"]
    for name, order in (("one", lines), ("two", lines[::-1])):
        (images / "list").write_text("\n".join(order))
        pack(images / "list", tmp_path / name)
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file():
            assert (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes() == path.read_bytes()


def test_bad_lines_are_named_and_the_others_packed(images, tmp_path):
    (images / "bad.json").write_text("{")
    lines = [
        '{"path": "a.png"}', '{"path": "none.png"}', "{", '{"path": "deep"}', '{"path": "deep/er"}',
        '{"path": "bad.json"}',
        '{"path": "a.png", "dataset": "../x"}', '{"path": "a.png", "name": "x/y.png"}',
        '{"path": "a.png", "name": "%s.png"}' % ("x" * 250), '{"path": "deep/er/b.png", "annotation": "bad.json"}',
        '{"path": "c d,e.png", "annotation": "none.json"}', '{"path": "a.png"}', '{"path": "deep", "name": "d.png"}',
    ]  # fmt: skip
    (images / "list").write_text("\n".join(lines))
    report = pack(images / "list", tmp_path / "p")
    counts = {"name": 6, "unreadable": 2, "line": 1, "repeated": 1, "annotation": 2, "no-annotation": 1}
    assert report.counts() == counts
    assert not report.complete
    assert (report.found, report.images) == (12, 3)
    assert all(
        "line " in problem.message or problem.code in ("line", "repeated", "annotation", "no-annotation")
        for problem in report.problems
    )
    assert blobdir.open_project(tmp_path / "p")["list"].names == ["a.png", "b.png", "c d,e.png"]
    assert len(list((tmp_path / "p/list/ann").iterdir())) == 3  # a bad line costs no other one its annotation
    with pytest.raises(PackError, match="--strict"):
        pack(images / "list", tmp_path / "q", PackOptions(strict=True))


BAD_LINES = {
    "a carriage return": ("path,dataset\na.png,tr\rain\nc d.png,x\n", 2, "carriage return"),
    "a long field": ("path,dataset\na.png," + "x" * 140_000 + "\n", 2, "131,072 characters"),
    "text behind a quote": ('path,dataset\n"a".png,x\n', 2, "isn't CSV"),
    "deep JSON": ('{"path": "a.png"}\n{"path": ' + "[" * 200_000 + "\n", 2, "nested too deeply"),
    "half JSON": ('{"path": "a.png"}\n{"path": "b.png"\n', 2, "cut off"),
    "no JSON": ('{"path": "a.png"}\n{"path": b}\n', 2, "from column 10 on"),
}
BAD_LISTS = {
    "carriage returns alone": ("path,dataset\ra.png,x\rb.png,y\r", 1, "carriage returns alone"),
    "an open quote": ('path,dataset\na.png,x\n"b.png,x\nc.png,x\n', 3, "isn't closed"),
    "an open quote in much": ('path,dataset\n"a.png,x\n' + "b.png,x\n" * 20_000, 2, "isn't closed"),
    "an open quote that another ends": ('path,dataset\n"a.png,x\n"b.png",x\n', 2, "isn't closed"),
    "unknown columns": ("path,label\n", 1, "there can be"),
    "no text": ("path\0", 0, "isn't text"),
}


@pytest.mark.parametrize("what", BAD_LINES)
def test_a_line_that_cant_be_used_is_named(images, capsys, what):
    text, line, message = BAD_LINES[what]
    (images / "list").write_bytes(text.encode())
    assert [n for n, row in read_list(str(images / "list")) if isinstance(row, RowError)] == [line]
    with contextlib.chdir(images):
        run(["pack", "list", "p", "--dry-run"])
    said = capsys.readouterr().err
    assert message in said
    assert f"list, line {line}" in said


@pytest.mark.parametrize("what", BAD_LISTS)
def test_a_list_whose_lines_arent_known_is_refused(images, capsys, what):
    text, line, message = BAD_LISTS[what]
    (images / "list").write_bytes(text.encode())
    assert run(["pack", str(images / "list"), str(images / "p")]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert (f"list: line {line}: " if line else "list: ") in said


NAMES = ["c\rd.png", " b.png", "e,f.png", "g\u2028h.png", "i\x85.png", os.fsdecode(b"\xff.png"), "{.png", '"j.png']


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_in_a_list(images, tmp_path, name, end):
    (images / name).write_bytes(picture(5))
    (images / "list").write_bytes(b"a.png" + end + os.fsencode(name) + end)
    assert run(["pack", "-q", str(images / "list"), str(tmp_path / "p")]) == 0
    (images / "chosen").write_bytes(b"list/" + os.fsencode(name) + end + end)
    assert run(["subset", "-q", str(tmp_path / "p"), str(tmp_path / "s"), "--list", str(images / "chosen")]) == 0
    assert blobdir.open_project(tmp_path / "s")["list"].names == [name]


def test_a_list_of_names_that_is_no_text_is_refused(images, tmp_path, capsys):
    pack(images, tmp_path / "p")
    (images / "chosen").write_bytes(b"images/a.png\0")
    assert run(["subset", str(tmp_path / "p"), str(tmp_path / "s"), "--list", str(images / "chosen")]) == 2
    assert "isn't text" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["none.json", "list", "bad.json", "deep", {"objects": []}])
def test_labels_that_arent_in_the_result_are_named(images, tmp_path, capsys, what):
    (images / "bad.json").write_text("[]")
    (images / "list").write_text(json.dumps({"path": "a.png", "annotation": what}))
    command = ["pack", str(images / "list"), str(tmp_path / "p")]
    assert run([*command, "--strict"]) == 7
    assert not (tmp_path / "p").exists()
    capsys.readouterr()
    for more in (["--dry-run"], ["--resume", "-q"]):
        assert run([*command, *more]) == 7
        assert "annotation: a.png: " in capsys.readouterr().err
    assert blobdir.open_project(tmp_path / "p")["list"].annotation("a.png")["objects"] == []


@pytest.mark.parametrize(
    ("second", "on_conflict", "tags", "code"),
    [
        ("a.png,x,t1", "rename", ["t1"], "repeated"),
        ("./a.png,x,t1", "error", ["t1"], "repeated"),
        ("a.png,x,t2", "rename", ["t1"], "conflict"),
        ("a.png,x,t2", "replace", ["t2"], "conflict"),
        (".//a.png,x,t2", "rename", ["t1"], "conflict"),
        ("./a.png,x,t2", "replace", ["t2"], "conflict"),
    ],
)
def test_a_file_named_twice_is_packed_once(images, tmp_path, second, on_conflict, tags, code):
    (images / "list").write_text(f"path,dataset,tags\na.png,x,t1\n{second}\ndeep/er/b.png,x,\na.png,y,\n")
    report = pack(images / "list", tmp_path / "p", PackOptions(on_conflict=on_conflict))
    assert [problem.code for problem in report.problems] == [code]
    assert report.complete == (code == "repeated")
    assert (report.found - report.images, report.renamed) == (code == "conflict", {})
    project = blobdir.open_project(tmp_path / "p")
    assert [project[name].names for name in "xy"] == [["a.png", "b.png"], ["a.png"]]
    assert [tag["name"] for tag in project["x"].annotation("a.png")["tags"]] == tags


@pytest.mark.timeout(20)
@pytest.mark.parametrize("what", ["pipe", "deep", "/dev/zero"])
def test_an_annotation_that_is_no_file_is_not_opened(images, tmp_path, what):
    os.mkfifo(images / "pipe")
    (images / "list").write_text(json.dumps({"path": "a.png", "annotation": what}))
    report = pack(images / "list", tmp_path / "p")
    assert report.counts() == {"annotation": 1}
    assert (report.found, report.images) == (1, 1)
    assert verify(tmp_path / "p").findings == []


def test_nothing_in_it(images, tmp_path):
    (images / "list").write_text("none.png\n")
    with pytest.raises(NotAProjectError, match=r"names no image that is there.*none.png: can't be looked at"):
        pack(images / "list", tmp_path / "p")


def test_standard_input(images, tmp_path):
    done = subprocess.run(
        [COMMAND, "pack", "-", tmp_path / "p", "--dataset", "d"], input=b"a.png\ndeep/er/b.png\n", cwd=images,
        check=True, capture_output=True,
    )  # fmt: skip
    assert b"2 images" in done.stdout
    assert blobdir.open_project(tmp_path / "p")["d"].names == ["a.png", "b.png"]


def test_packed_annotations_of_plain_images(images, tmp_path):
    report = pack(images, tmp_path / "p", PackOptions(annotations="packed", shard_bytes=1500, dataset="d"))
    assert report.complete
    assert len([place for place in report.blobs if "ann.blob" in place]) > 1
    assert not list((tmp_path / "p").rglob("ann"))
    project = blobdir.open_project(tmp_path / "p")
    assert project["d"].annotation("b.png")["size"] == {"height": 7, "width": 10}
    assert project.defects == []
    assert verify(tmp_path / "p", decode=True).findings == []


# -- columns -------------------------------------------------------------------------------------------------

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9))


@given(TEXTS, st.integers(0, 20), st.integers(0, 20))
@settings(deadline=None)
def test_columns_are_like_lists(texts, first, stop):
    column, part = TextColumn(texts), TextColumn(texts)[first:stop]
    for mine, expected in ((column, texts), (part, texts[first:stop])):
        assert list(mine) == expected
        assert len(mine) == len(expected)
        assert mine == expected
        assert mine.joined() == b"".join(text.encode() + b"\0" for text in expected)
        assert mine.lengths().tolist() == [len(text.encode()) for text in expected]
        order = mine.order().tolist()
        assert order == sorted(range(len(expected)), key=lambda i: expected[i].encode())
        assert list(mine.take(order)) == sorted(expected, key=str.encode)
        make, given = mine.__reduce__()
        assert make(*given) == expected


def test_long_texts_are_sorted_as_well(monkeypatch):
    monkeypatch.setattr("blobdir.packing.columns._WIDEST_BYTES", 10)
    texts = ["b" * 100, "a", "", "b"]
    assert TextColumn(texts).order().tolist() == [2, 1, 3, 0]
    with pytest.raises(IndexError):
        TextColumn(texts)[4]
    assert TextColumn(texts)[-1] == "b"
