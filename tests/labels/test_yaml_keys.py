"""A ``data.yaml`` is known by its keys, however it's written and wherever they stand."""

from __future__ import annotations

import json
import time

import pytest
import yaml
from label_cases import draw
from set_cases import classes
from split_cases import messages, pack, put

from blobdir.errors import BlobdirError
from blobdir.labels.yamlfile import keys_of

VALUE = {"train": "a", "val": "b", "names": ["cat", "dog"]}
MANY = {
    "names": [*VALUE["names"], *(f"class number {i:05d}" for i in range(6000))],
    "train": "a",
    "val": "b",
    "path": ".",
}
WAYS = {
    "plain": yaml.safe_dump(VALUE),
    "many names first": yaml.safe_dump(MANY, sort_keys=False),
    "quoted": yaml.safe_dump(VALUE, default_style='"'),
    "single quotes": "'train': a\n'val': b\n'names': [cat, dog]\n",
    "braces": yaml.safe_dump(VALUE, default_flow_style=True),
    "braces below a head": "%YAML 1.1\n# words: here\n--- {train: a, val: b,\nnames: [cat, dog]}\n",
    "json": json.dumps(VALUE),
    "json with a mark": "\ufeff" + json.dumps(VALUE, indent=1),
    "json, many names": json.dumps(MANY),
    "indented": "  # set\n  train: a\n  val: b\n  names:\n    - cat\n    - dog\n",
    "anchors": "&x train: a\n!!str val: b\nnames: [cat, dog]\n",
    "crlf": yaml.safe_dump(VALUE).replace("\n", "\r\n"),
    "cr": yaml.safe_dump(VALUE).replace("\n", "\r"),
}


def source(root, text):
    for i, folder in enumerate("ab"):
        draw(root / folder / f"{i}.png")
        put(root / folder / f"{i}.txt", f"{i} .5 .5 .2 .2\n")
    (root / "data.yaml").write_bytes(text.encode())
    return root


@pytest.mark.parametrize("way", WAYS)
def test_a_config_is_known_however_it_is_written(way, tmp_path):
    report, found = pack(source(tmp_path / "s", WAYS[way]), tmp_path / "p")
    assert report.complete and found == {"train": ["0.png"], "val": ["1.png"]}
    assert classes(tmp_path / "p") == {"0.png": ["cat"], "1.png": ["dog"]}


@pytest.mark.parametrize("way", ["plain", "braces", "json"])
def test_names_only(way, tmp_path):
    text = WAYS[way].replace("train", "first").replace("val", "second")
    pack(source(tmp_path / "s", text), tmp_path / "p")
    assert classes(tmp_path / "p") == {"0.png": ["cat"], "1.png": ["dog"]}


@pytest.mark.parametrize("text", ["{train: a, names: [cat,", '{"train": "a", "names": ["cat"'])
def test_a_damaged_one_is_named(text, tmp_path):
    with pytest.raises(BlobdirError, match=r"data.yaml: line \d: isn't YAML"):
        pack(source(tmp_path / "s", text), tmp_path / "p")


@pytest.mark.parametrize(
    "text",
    [
        "a" * (8 << 20),
        " " * (8 << 20),
        "{names" + "[" * (8 << 20),
        "{names: " + "x, y: " * (1 << 20),
        '"' * (8 << 20),
        "names " * (1 << 20),
    ],
)
def test_what_is_no_yaml_is_sorted_out_fast(text):
    start = time.perf_counter()
    keys_of(text.encode())
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("train: a\nnames: [cat, dog]\ntrain: b\n", "line 3: has the key 'train' a second time"),
        ("train: a\nnames: {0: cat, 1: dog, 0: hen}\n", "line 2: has the key '0' a second time"),
        ("train: a\nnames: {0: cat, 1: dog, '0': hen}\n", "its names have the number 0 twice"),
        ("train: a\nnames: {0: cat, 0.5: dog}\n", "its names have the number 0.5, which is none"),
        ('train: a\nnames: ["cat\\0", dog]\n', "the name of class 0 has a control character"),
    ],
)
def test_keys_that_are_there_twice(text, fault, tmp_path):
    with pytest.raises(BlobdirError, match=f"data.yaml: {fault}"):
        pack(source(tmp_path / "s", text), tmp_path / "p")
    put(tmp_path / "s/data.yaml", text.replace("train", "first"))
    report, _ = pack(tmp_path / "s", tmp_path / "q")
    assert any(fault.replace("train", "first") in said for _, said in messages(report, "label-note"))


def test_equal_values_of_one_key_are_one(tmp_path):
    report, _ = pack(source(tmp_path / "s", "train: a\nval: b\ntrain: a\nnames: [cat, dog]\n"), tmp_path / "p")
    assert report.complete
