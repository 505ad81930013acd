"""JSON that is written again: nothing of it is lost, and what isn't JSON isn't written."""

from __future__ import annotations

import io
import json
import math

import pytest
from PIL import Image

import blobdir
from blobdir.cli.app import run
from blobdir.errors import AnnotationError
from blobdir.packing import create_project, merge, pack

ODD = {
    "NaN": ('"x": NaN', "NaN"),
    "key twice": ('"tags": [{"name": "one"}], "tags": [{"name": "other"}]', "tags"),
    "key twice inside": ('"x": {"y": 1, "y": 2}', "y"),
    "too deep": ('"x": ' + "[" * 100_000 + "]" * 100_000, "nested too deeply"),
    "too long": ('"x": ' + "9" * 5000, "too long"),
}
META = '{"classes": [], "projectType": "images", %s}'
ANNOTATION = '{"size": {"height": 7, "width": 9}, "objects": [], %s}'


def picture():
    data = io.BytesIO()
    Image.new("RGB", (9, 7), (1, 2, 3)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def two(tmp_path):
    found = []
    for name in "ab":
        (tmp_path / f"source-{name}/{name}").mkdir(parents=True)
        (tmp_path / f"source-{name}/{name}/{name}.png").write_bytes(picture())
        blobdir.pack(tmp_path / f"source-{name}", tmp_path / name)
        found.append(tmp_path / name)
    return found


def contents(root):
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and ".blobdir" not in path.parts}


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("odd", ODD)
def test_meta_is_not_merged(two, odd, which, capsys):
    text, said = ODD[odd]
    (two[which] / "meta.json").write_text(META % text)
    before = contents(two[0])
    with pytest.raises(AnnotationError, match=said):
        merge(*two)
    assert run(["merge", *map(str, two)]) != 0
    assert "Traceback" not in capsys.readouterr().err
    assert contents(two[0]) == before


@pytest.mark.parametrize("depth", range(50, 1000, 50))
def test_meta_however_deep(two, depth):
    """Whether it's merged or refused, as deep as can be read and a bit deeper."""
    for root, number in zip(two, "12", strict=True):
        text = '{"x": ' * depth + number + "}" * depth
        (root / "meta.json").write_text(META % f'"settings": {{"s{number}": 1, "x": {text}}}')
    before = contents(two[0])
    with pytest.raises((AnnotationError, blobdir.errors.UsageError), match="meta.json"):
        merge(*two)
    assert contents(two[0]) == before


def test_half_characters_are_written_as_they_were(two):
    (two[1] / "meta.json").write_text(META % '"tags": [{"name": "\\ud83c"}]')
    merge(*two)
    text = (two[0] / "meta.json").read_bytes().decode()
    assert [tag["name"] for tag in json.loads(text)["tags"]] == ["\ud83c"]


def deep():
    value: list = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "more",
    [{"x": math.nan}, {"x": deep()}, {"x": 10**5000}, {"x": {1: 1, "1": 2}}],
    ids=["NaN", "deep", "long", "one key"],
)
def test_create(tmp_path, more):
    with pytest.raises(AnnotationError, match=r"meta\.json"):
        create_project(tmp_path / "p", {"classes": [], "tags": []} | more)
    assert not (tmp_path / "p").exists()


def test_create_with_half_a_character(tmp_path):
    create_project(tmp_path / "p", {"classes": [], "tags": [{"name": "\udcff"}]})
    text = (tmp_path / "p/meta.json").read_bytes().decode()
    assert json.loads(text)["tags"] == [{"name": "\udcff"}]


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("odd", ODD)
def test_lists(tmp_path, odd, inline):
    text, said = ODD[odd]
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "a.json").write_text(ANNOTATION % text)
    given = ANNOTATION % text if inline else '"a.json"'
    lines = ['{"path": "a.png", "tags": ["red"], "annotation": ' + given + "}", '{"path": "a.png", "name": "b.png"}']
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    report = pack(tmp_path / "list.jsonl", tmp_path / "p")
    assert said in " ".join(problem.message for problem in report.problems)
    for path in (tmp_path / "p").rglob("*.json"):
        assert b"NaN" not in path.read_bytes()
    (dataset,) = blobdir.open_project(tmp_path / "p").values()
    assert dataset.names == (["b.png"] if inline else ["a.png", "b.png"])


@pytest.mark.parametrize("odd", ["NaN", "key twice"])
def test_what_is_not_written_again_stays(tmp_path, odd):
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "a.json").write_text(ANNOTATION % ODD[odd][0])
    (tmp_path / "list.jsonl").write_text('{"path": "a.png", "annotation": "a.json"}')
    assert pack(tmp_path / "list.jsonl", tmp_path / "p").problems == []
    (found,) = (tmp_path / "p").rglob("a.png.json")
    assert found.read_bytes() == (tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize("odd", ["too deep", "too long"])
@pytest.mark.parametrize("command", ["stats", "preview", "subset", "verify"])
def test_one_file_is_lost_and_no_more(two, odd, command, tmp_path, capsys):
    (root, _) = two
    (note,) = (root / "a/ann").iterdir()
    note.write_text(ANNOTATION % ODD[odd][0])
    more = {
        "preview": ["--output", str(tmp_path / "sheet.png")],
        "subset": [str(tmp_path / "s"), "--tag", "red"],
    }
    (root / "meta.json").write_text(META % '"tags": [{"name": "red"}]')
    run([command, str(root), *more.get(command, [])])
    said = capsys.readouterr()
    assert ODD[odd][1] in said.out + said.err
    assert "Traceback" not in said.err
