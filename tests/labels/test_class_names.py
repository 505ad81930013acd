"""The names of YOLO's classes are found in whatever files people have them, or it's said that there are none."""

from __future__ import annotations

import json
import time

import pytest
from label_cases import BOX, World, draw, write
from set_cases import classes
from split_cases import NAMES_FILES, messages, pack, put

import blobdir
from blobdir.converting import ConvertOptions, convert
from blobdir.errors import BlobdirError

YAML = {"names: [cat, dog]\n", "names:\n  0: cat\n  1: dog\n", "# of v3\nnames: {0: cat, 1: dog}\ncolors: [red]\n"}
CONTENT = dict.fromkeys(NAMES_FILES, "cat\ndog\n") | {f"{i}.yaml": text for i, text in enumerate(sorted(YAML))}


def labelled(root, name="a", number=1, *, apart=False):
    """An image, and a text with an object."""
    draw(root / ("images" if apart else "") / f"{name}.png")
    put(root / ("labels" if apart else "") / f"{name}.txt", f"{number} 0.5 0.5 0.2 0.2\n")


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("place", ["", "labels/"])
@pytest.mark.parametrize("name", CONTENT)
def test_files_with_names(name, place, apart, tmp_path):
    labelled(tmp_path / "s", apart=apart)
    put(tmp_path / "s" / place / name, CONTENT[name])
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert not report.problems and classes(tmp_path / "p") == {"a.png": ["dog"]}


@pytest.mark.parametrize("name", CONTENT)
def test_names_count_for_their_folder(name, tmp_path):
    labelled(tmp_path / "s/one", "a")
    labelled(tmp_path / "s/two", "b")
    put(tmp_path / "s/one" / name, CONTENT[name])
    put(tmp_path / "s/two/obj.names", "fox\nowl\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert classes(tmp_path / "p") == {"a.png": ["dog"], "b.png": ["owl"]}
    assert messages(report, "label-note") == [
        (f"one/{name} and two/obj.names", "have different names; each counts for the labels beside and below it")
    ]


@pytest.mark.parametrize("name", CONTENT)
def test_two_that_differ_in_one_folder_are_an_error(name, tmp_path):
    labelled(tmp_path / "s")
    put(tmp_path / "s" / name, CONTENT[name])
    put(tmp_path / "s/other.names", "fox\nowl\n")
    with pytest.raises(BlobdirError, match="has other names than .*; leave the one that counts"):
        pack(tmp_path / "s", tmp_path / "p")
    put(tmp_path / "s/other.names", "cat\ndog\n")
    report, _ = pack(tmp_path / "s", tmp_path / "q")
    assert not report.problems and classes(tmp_path / "q") == {"a.png": ["dog"]}


@pytest.mark.parametrize("name", CONTENT)
def test_a_config_with_images_counts_before_them(name, tmp_path):
    labelled(tmp_path / "s")
    put(tmp_path / "s" / name, CONTENT[name])
    put(tmp_path / "s/data.yaml", "train: .\nnames: [fox, owl]\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert classes(tmp_path / "p") == {"a.png": ["owl"]}
    assert messages(report, "label-note") == [(name, "has other names than data.yaml, which counts")]


@pytest.mark.parametrize("said", ["data/voc.names", "voc.names", "./voc.names"])
@pytest.mark.parametrize("lists", ["", "train = data/train.txt\n"])
def test_of_several_that_counts_which_darknets_config_says(said, lists, tmp_path):
    """As in its own folder ``data``."""
    labelled(tmp_path / "s")
    put(tmp_path / "s/train.txt", "data/a.png\n")
    put(tmp_path / "s/obj.data", f"classes = 2\n{lists}names = {said}\n")
    for name, text in (("coco.names", "man\nbus\n"), ("voc.names", "cat\ndog\n")):
        put(tmp_path / "s" / name, text)
    report, found = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and classes(tmp_path / "p") == {"a.png": ["dog"]} and found == {"train": ["a.png"]}
    text = "has other names than voc.names, which counts, as obj.data says"
    assert messages(report, "label-note") == [("coco.names", text)]


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("data.yaml", "names: cat\n", "its names are a text"),
        ("data.yaml", "names: {a: cat}\n", "its names have the number 'a'"),
        ("data.yaml", "names: []\n", ""),
        ("obj.names", "\n", ""),
        ("things.txt", "cat\ndog\n", None),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_classes_without_names_are_said(name, text, fault, apart, tmp_path):
    """With the folder of their texts, and what to do."""
    labelled(tmp_path / "s", apart=apart)
    labelled(tmp_path / "s", "b", apart=apart)
    put(tmp_path / "s" / name, text)
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and classes(tmp_path / "p") == {"a.png": ["1"], "b.png": ["1"]}
    notes = messages(report, "label-note")
    ((path, said),) = [note for note in notes if note[0] != name]
    assert path == ("labels" if apart else ".") and said.startswith("has 2 texts with labels, and no file has names")
    assert "classes.txt" in said and len(notes) == 1 + (fault is not None)
    if fault is not None:
        assert f"counts for nothing{': ' * bool(fault)}{fault}" in dict(notes)[name]


def test_where_nothing_is_labelled_no_names_are_missed(tmp_path):
    labelled(tmp_path / "s")
    put(tmp_path / "s/a.txt", "")
    report, _ = pack(tmp_path / "s", tmp_path / "p", labels="yolo")
    assert not report.problems


def test_keypoints_beside_names_make_a_config(tmp_path):
    draw(tmp_path / "s/a.png")
    put(tmp_path / "s/a.txt", "1 0.5 0.5 0.2 0.2 0.5 0.5 2\n")
    put(tmp_path / "s/data.yaml", "names: [cat, dog]\nkpt_shape: [1, 3]\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert not report.problems and report.objects == 1


SAID = {
    "darknet's own folders": ("cfg/obj.data", "data/obj.names", "data/obj.names", "data/coco.names"),
    "of the packed folder": ("data/cfg/obj.data", "data/my.names", "data/my.names", "data/coco.names"),
    "farther": ("obj.data", "cfg/obj.names", "cfg/obj.names", "data/coco.names"),
    "beside the labels": ("obj.data", "data/obj.names", "data/obj.names", "data/obj/classes.txt"),
    "beside the config": ("obj.data", "obj.names", "obj.names", "data/obj/x.yaml"),
    "in its own folder": ("data/obj.data", "data/obj.names", "data/obj.names", "data/coco.names"),
    "called like nothing": ("obj.data", "data/mine", "data/mine", "classes.txt"),
}


@pytest.mark.parametrize("way", SAID)
@pytest.mark.parametrize("lists", ["train = data/train.txt\n", ""])
def test_what_darknets_config_says_counts_before_all_others(way, lists, tmp_path):
    config, said, place, other = SAID[way]
    if not lists and config.startswith(("cfg", "data/cfg")):
        lists = "train = data/train.txt\n"  # what else would it be of
    labelled(tmp_path / "s/data/obj", "a")
    put(tmp_path / "s/data/train.txt", "data/obj/a.png\n")
    put(tmp_path / "s" / config, f"{lists}names = {said}\n")
    put(tmp_path / "s" / place, "cat\ndog\n")
    put(tmp_path / "s" / other, "names: [man, bus]\n" if other.endswith("yaml") else "man\nbus\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and classes(tmp_path / "p") == {"a.png": ["dog"]}
    notes = dict(messages(report, "label-note"))
    assert notes[other] == f"has other names than {place}, which counts, as {config} says"
    meta = blobdir.open_project(tmp_path / "p").meta
    assert [one["title"] for one in meta["classes"]] == ["cat", "dog"]


def test_images_of_no_list_have_the_nearest_names(tmp_path):
    labelled(tmp_path / "s/obj", "a")
    labelled(tmp_path / "s/more", "b")
    put(tmp_path / "s/train.txt", "obj/a.png\n")
    put(tmp_path / "s/obj.data", "train = train.txt\nnames = obj.names\n")
    put(tmp_path / "s/obj.names", "cat\ndog\n")
    put(tmp_path / "s/more/classes.txt", "man\nbus\n")
    pack(tmp_path / "s", tmp_path / "p")
    assert classes(tmp_path / "p") == {"a.png": ["dog"], "b.png": ["bus"]}
    put(tmp_path / "s/more/x.names", "fox\nowl\n")
    with pytest.raises(BlobdirError, match="more/x.names has other names than more/classes.txt"):
        pack(tmp_path / "s", tmp_path / "q")


def test_names_that_are_said_and_not_there_are_noted(tmp_path):
    labelled(tmp_path / "s")
    put(tmp_path / "s/train.txt", "a.png\n")
    put(tmp_path / "s/obj.data", "train = train.txt\nnames = my.names\n")
    put(tmp_path / "s/other.names", "cat\ndog\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert ("obj.data", "says that names are in my.names, which isn't there") in messages(report, "label-note")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("README.names", b"This file\nis prose\n"),
        ("README.labels", b"How we\nlabelled\n"),
        ("LICENSE.names", b"All is\nours\n"),
        ("train.labels", bytes(range(256))),
        ("train.labels", b"cat\x00\ndog\n"),
        ("notes.names", b"word " * 100),
    ],
)
@pytest.mark.parametrize("real", ["classes.txt", "obj.names", ""])
def test_prose_and_bytes_are_no_names(name, data, real, tmp_path):
    labelled(tmp_path / "s")
    (tmp_path / "s" / name).write_bytes(data)
    if real:
        put(tmp_path / "s" / real, "cat\ndog\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and classes(tmp_path / "p") == {"a.png": ["dog" if real else "1"]}


def test_files_called_like_images_are_no_names(tmp_path):
    for i in range(3):
        labelled(tmp_path / "s", str(i), 0)
        put(tmp_path / f"s/{i}.labels", f"thing {i}\n")
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and classes(tmp_path / "p") == {f"{i}.png": ["0"] for i in range(3)}
    assert ("0.labels", "3 texts are called like images, and not taken for names of classes") in messages(
        report, "label-note"
    )
    put(tmp_path / "s/classes.txt", "cat\n")
    pack(tmp_path / "s", tmp_path / "q")
    assert classes(tmp_path / "q") == {f"{i}.png": ["cat"] for i in range(3)}


@pytest.mark.parametrize("text", ["cat\0\ndog\n", "cat\ndog\x07\n"])
def test_control_characters_in_names_are_refused(text, tmp_path):
    labelled(tmp_path / "s")
    put(tmp_path / "s/classes.txt", text)
    with pytest.raises(BlobdirError, match=r"classes.txt: line \d has a control character"):
        pack(tmp_path / "s", tmp_path / "p")


@pytest.mark.parametrize("text", ["cat\rdog\r", "cat\r\ndog\r\n\x1a", "\ufeffcat\rdog"])
def test_line_ends_of_old_computers(text, tmp_path):
    labelled(tmp_path / "s")
    (tmp_path / "s/classes.txt").write_bytes(text.encode())
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and classes(tmp_path / "p") == {"a.png": ["dog"]}


@pytest.mark.parametrize("name", ["classes.txt", "data.json"])
def test_time_grows_with_the_number_of_classes(name, tmp_path):
    """With 40,000 it took half a minute when each looked for a free number among all."""
    count = 40_000
    labelled(tmp_path / "s")
    if name == "classes.txt":
        put(tmp_path / "s" / name, "".join(f"c{i}\n" for i in range(count)))
    else:
        (tmp_path / "s/a.txt").unlink()
        categories = [{"id": i, "name": f"c{i}"} for i in range(1, count)]
        value = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [], "categories": categories}
        put(tmp_path / "s" / name, json.dumps(value))
    start = time.perf_counter()
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("names", "gap"), [("{0: cat, 1: dog}", False), ("{0: cat, 5: dog}", True), ("{1: dog}", True)]
)
def test_numbers_with_gaps_are_said_by_convert(names, gap, tmp_path):
    labelled(tmp_path / "s", number=5 if "5" in names else 1)
    put(tmp_path / "s/data.yaml", f"train: .\nnames: {names}\n")
    pack(tmp_path / "s", tmp_path / "p")
    report = convert(tmp_path / "p", tmp_path / "c", ConvertOptions("yolo"))
    said = [problem.message for problem in report.problems if "other number" in problem.message]
    assert bool(said) == gap and all("'dog' was" in text for text in said)
    pack(tmp_path / "c", tmp_path / "q")
    assert classes(tmp_path / "q") == {"a.png": ["dog"]}


@pytest.mark.parametrize("kind", ["coco", "labelme", "createml", "csv"])
def test_nul_in_a_class_is_named(kind, tmp_path):
    source = write(kind, tmp_path / "s", World({"a.png": [("cat", BOX), ("dog", BOX)]}))
    path = next(path for path in source.rglob("*") if path.suffix in (".json", ".csv"))
    before, after = ('"cat"', '"ca\\u0000t"') if path.suffix == ".json" else (",cat,", ",ca\0t,")
    path.write_text(path.read_text().replace(before, after))
    report, _ = pack(source, tmp_path / "p")
    assert classes(tmp_path / "p") == {"a.png": ["dog"]}
    assert any("has a control character" in text for _, text in messages(report))


@pytest.mark.parametrize("text", ['["cat", "dog"]', '{"0": "cat", "1": "dog"}', '{"names": ["cat", "dog"]}'])
def test_names_in_json_that_darknets_config_says(text, tmp_path):
    draw(tmp_path / "s/a.png")
    put(tmp_path / "s/a.txt", "0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.3 0.3\n")
    put(tmp_path / "s/train.txt", "a.png\n")
    put(tmp_path / "s/obj.data", "classes = 2\ntrain = train.txt\nnames = classes.json\n")
    put(tmp_path / "s/classes.json", text)
    report, _ = pack(tmp_path / "s", tmp_path / "p")
    assert report.complete and classes(tmp_path / "p") == {"a.png": ["cat", "dog"]}
    put(tmp_path / "s/classes.json", text[:-1])
    report, _ = pack(tmp_path / "s", tmp_path / "q")
    assert any("isn't JSON" in said or "isn't YAML" in said for _, said in messages(report, "label-note"))
