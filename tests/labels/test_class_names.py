"""The names of YOLO's classes are found in whatever files people have them, or it's said that there are none."""

from __future__ import annotations

import pytest
from label_cases import draw
from set_cases import classes
from split_cases import NAMES_FILES, messages, pack, put

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
