"""Characters in names of classes and images at which Python ends a line, and formats don't."""

from __future__ import annotations

import json

import pytest
from label_cases import BOX, WRITERS, World, draw
from set_cases import OF_ONE, classes
from split_cases import messages, pack, put, without_lists

from blobdir.converting import ConvertOptions, convert

ENDS = ["\x85", "\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x1e"]


def _contents(target):
    return sorted(classes(target).items())


@pytest.mark.parametrize("to", ["yolo", "voc", "coco"])
@pytest.mark.parametrize("char", ENDS)
@pytest.mark.parametrize("way", ["classes.txt", "data.yaml"])
def test_names_of_classes_stay(way, char, to, tmp_path):
    name = f"a{char}b"
    draw(tmp_path / "s/train/x.png")
    put(tmp_path / "s/train/x.txt", "0 0.5 0.5 0.2 0.2\n")
    text = f"{name}\nc\n" if way == "classes.txt" else f"train: train\nnames: {json.dumps([name, 'c'])}\n"
    (tmp_path / "s" / way).write_bytes(text.encode())
    report, found = pack(tmp_path / "s", tmp_path / "p", labels="yolo")
    assert report.complete and found == {"train": ["x.png"]} and _contents(tmp_path / "p") == [("x.png", [name])]
    said = convert(tmp_path / "p", tmp_path / "o", ConvertOptions(to, style="exact"))
    report, found = pack(tmp_path / "o", tmp_path / "q", labels=to)
    assert found == {"train": ["x.png"]}
    assert _contents(tmp_path / "q") == _contents(tmp_path / "p") or any(one.costs for one in said.problems)


@pytest.mark.parametrize("to", ["yolo", "voc"])
@pytest.mark.parametrize("char", ENDS)
@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_names_of_images_stay_in_lists(kind, char, to, tmp_path):
    names = [f"a{char}b.png", f"c{char}d.png"]
    for name, split in zip(names, ("train", "val"), strict=True):
        draw(tmp_path / "s/JPEGImages" / name)
        (folder, ending, text) = OF_ONE[kind]
        put(tmp_path / "s" / folder / f"{name[:-4]}.{ending}", text("" if kind == "voc" else name, "outer"))
        place = "ImageSets/Main/" if kind == "voc" else ""
        (tmp_path / "s" / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / "s" / f"{place}{split}.txt").write_bytes(f"JPEGImages/{name}\n".encode())
    put(tmp_path / "s/classes.txt", "outer\n")
    report, found = pack(tmp_path / "s", tmp_path / "p", labels=kind)
    assert report.complete and found == {"train": names[:1], "val": names[1:]}, report.problems
    assert convert(tmp_path / "p", tmp_path / "o", ConvertOptions(to, style="exact")).complete
    report, found = pack(tmp_path / "o", tmp_path / "q", labels=to)
    assert report.complete and found == {"train": names[:1], "val": names[1:]}, report.problems


XML = ("voc", "cvat")
"""Formats that can't have control characters in names."""


@pytest.mark.parametrize(("kind", "char"), [(k, c) for k in WRITERS for c in ENDS if k not in XML or not c.isascii()])
def test_lists_with_such_names_that_are_not_read_are_named(kind, char, tmp_path):
    source = without_lists(kind, tmp_path / "s", World({f"a{char}b.png": [("cat", BOX)], "c.png": []}))
    (source / "test.csv").write_bytes(f"a{char}b\n".encode())
    report, _ = pack(source, tmp_path / "p", labels=kind)
    assert [path for path, _ in messages(report)] == ["test.csv"]


@pytest.mark.parametrize("kind", ["voc", "labelme"])
def test_files_that_name_each_other_s_images_are_noted(kind, tmp_path):
    folder, ending, text = OF_ONE[kind]
    for name, other in (("a", "b"), ("b", "a"), ("c", "c"), ("D", "d")):
        draw(tmp_path / f"s/images/{other}.png")
        put(tmp_path / f"s/{folder}/{name}.{ending}", text(f"{other}.png", f"of {name}"))
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete
    ((path, said),) = messages(report, "label-note")
    assert path == f"{folder}/a.{ending}" and "2 files name images" in said
    found = {"a.png": ["of b"], "b.png": ["of a"], "c.png": ["of c"], "d.png": ["of D"]}
    assert classes(tmp_path / "p") == found
