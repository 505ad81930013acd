"""Odd annotations end no command: each is named, by its file and in words of the format, and costs only its image."""

from __future__ import annotations

import json
import re
import shutil

import fsspec
import pytest
from changes.samples import META, annotation, box, packed, picture, write

import blobdir
from blobdir.cli.app import run

CLASSES = META | {
    "classes": [{"title": "cat", "shape": "any", "color": "#FF0000"}],
    "tags": [{"name": "tag", "value_type": "none", "color": "#00FF00"}],
}


def sized(rest):
    return b'{"size": {"height": 8, "width": 8}, ' + rest.encode() + b"}"


def with_object(**changed):
    one = box("cat") | {"points": {"exterior": [[0, 0], [4, 4]], "interior": []}} | changed
    return annotation(objects=[{key: value for key, value in one.items() if value is not ...}])


REFUSED = {
    "empty": b"",
    "spaces": b" \n ",
    "null": b"null",
    "a list": b"[]",
    "a text": b'"text"',
    "a number": b"5",
    "true": b"true",
    "cut off": annotation(objects=[box("cat")])[:-9],
    "no JSON": b"{'size': 1}",
    "more behind it": annotation() + b"{}",
    "binary": bytes(range(256)),
    "another encoding": b'{"description": "\xff\xfe"}',
    "too deep": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "no size": b'{"objects": [], "tags": []}',
    "size null": b'{"size": null, "objects": [], "tags": []}',
    "size a list": b'{"size": [8, 8], "objects": [], "tags": []}',
    "size of texts": b'{"size": {"height": "8", "width": "8"}, "objects": [], "tags": []}',
    "size zero": b'{"size": {"height": 0, "width": 0}, "objects": [], "tags": []}',
    "size NaN": b'{"size": {"height": NaN, "width": 8}, "objects": [], "tags": []}',
    "size too large": b'{"size": {"height": 1e400, "width": 8}, "objects": [], "tags": []}',
    "objects null": sized('"objects": null, "tags": []'),
    "objects an object": sized('"objects": {}, "tags": []'),
    "objects texts": sized('"objects": ["cat"], "tags": []'),
    "objects null inside": sized('"objects": [null], "tags": []'),
    "objects lists": sized('"objects": [[]], "tags": []'),
    "no class": with_object(classTitle=...),
    "class null": with_object(classTitle=None),
    "class a number": with_object(classTitle=5),
    "class a list": with_object(classTitle=["cat"]),
    "tags null": sized('"objects": [], "tags": null'),
    "tags a text": sized('"objects": [], "tags": "tag"'),
    "tags texts": sized('"objects": [], "tags": ["tag"]'),
    "tags without name": sized('"objects": [], "tags": [{}]'),
    "tag name a list": sized('"objects": [], "tags": [{"name": ["tag"]}]'),
    "object's tags texts": with_object(tags=["tag"]),
    "object's tags null": with_object(tags=None),
}
"""What isn't an annotation."""

TAKEN = {
    "BOM": b"\xef\xbb\xbf" + annotation(),
    "UTF-16": annotation().decode().encode("utf-16"),
    "NaN": with_object(points={"exterior": [[float("nan"), 0], [4, 4]], "interior": []}),
    "without end": with_object(points={"exterior": [[0, 0], [float("inf"), 4]], "interior": []}),
    "far outside": with_object(points={"exterior": [[-(10**9), -(10**9)], [10**9, 10**9]], "interior": []}),
    "huge numbers": with_object(points={"exterior": [[0, 0], [10**30, 4]], "interior": []}),
    "points null": with_object(points=None),
    "points a list": with_object(points=[[0, 0], [4, 4]]),
    "points texts": with_object(points={"exterior": [["0", "0"], ["4", "4"]], "interior": []}),
    "points null inside": with_object(points={"exterior": [None, [4, 4]], "interior": []}),
    "points single": with_object(points={"exterior": [0, 0, 4, 4], "interior": []}),
    "points of three": with_object(points={"exterior": [[0, 0, 0], [4, 4, 4]], "interior": []}),
    "no points": with_object(points=...),
    "no exterior": with_object(points={"interior": []}),
    "exterior empty": with_object(points={"exterior": [], "interior": []}),
    "shape a list": with_object(geometryType=["rectangle"]),
    "shape null": with_object(geometryType=None),
    "shape unknown": with_object(geometryType="banana"),
    "no shape": with_object(geometryType=...),
    "polygon of one": with_object(geometryType="polygon", points={"exterior": [[0, 0]], "interior": [[[1, 1]]]}),
    "holes null": with_object(geometryType="polygon", points={"exterior": [[0, 0], [4, 0], [4, 4]], "interior": None}),
    "holes texts": with_object(geometryType="polygon", points={"exterior": [[0, 0], [4, 0], [4, 4]], "interior": "x"}),
    "bitmap null": with_object(geometryType="bitmap", bitmap=None),
    "bitmap a text": with_object(geometryType="bitmap", bitmap="AAAA"),
    "bitmap without origin": with_object(geometryType="bitmap", bitmap={"data": "AAAA"}),
    "bitmap damaged": with_object(geometryType="bitmap", bitmap={"data": "eJzT0y", "origin": [0, 0]}),
    "mask null": with_object(geometryType="alpha_mask", bitmap={"data": None, "origin": None}),
    "graph null": with_object(geometryType="graph", nodes=None),
    "graph of lists": with_object(geometryType="graph", nodes=[[0, 0]]),
    "graph without places": with_object(geometryType="graph", nodes={"a": {}, "b": {"loc": None}}),
    "line null": with_object(geometryType="line", points={"exterior": None}),
    "point of none": with_object(geometryType="point", points={"exterior": [[]]}),
    "cuboid null": with_object(geometryType="cuboid", points=None, faces=None),
    "cuboid outside": with_object(geometryType="cuboid", points=[[0, 0]], faces=[[0, 5, 9, 1]] * 3),
    "multipolygon null": with_object(geometryType="multipolygon", multipolygon=None),
    "oriented null": with_object(geometryType="oriented_bbox", points={"exterior": [[0, 0]]}, angle=None),
    "unknown class": annotation(objects=[box("catt")]),
    "unknown tag": annotation(tags=[{"name": "tagg", "value": None}]),
    "half a character": annotation(tags=[{"name": "tag", "value": "\ud800"}]),
    "a key twice": b'{"size": {"height": 8, "width": 8}, "objects": [], "tags": [], "tags": [{"name": "tag"}]}',
    "description null": b'{"description": null, "size": {"height": 8, "width": 8}, "objects": [], "tags": []}',
    "no tags": b'{"size": {"height": 8, "width": 8}, "objects": []}',
    "large": annotation(objects=[box("cat")] * 3000),
}
"""Annotations with what is odd in them: SDK and blobdir read them, or name what is wrong with an object."""
ODD = REFUSED | TAKEN

COMMANDS = {
    "verify --decode": ["verify", "--decode", "--processes", "1", "p"],
    "stats --plot": ["stats", "--plot", "stats.png", "p"],
    "preview": ["preview", "--tile", "32", "-o", "sheet.png", "p"],
    "subset": ["subset", "p", "out", "--glob", "*"],
    "subset --class": ["subset", "p", "out", "--class", "cat"],
    "subset --tag": ["subset", "p", "out", "--tag", "tag"],
    "subset --per-class": ["subset", "p", "out", "--per-class", "5"],
    "merge": ["merge", "other", "p"],
    "into": ["merge", "p", "other"],
    "unpack": ["unpack", "p", "out"],
    "pack": ["pack", "source", "out"],
    "pack --annotations packed": ["pack", "source", "out", "--annotations", "packed"],
    "pack a list": ["pack", "list.csv", "out"],
    "add": ["add", "p", "train", "new.png", "--annotations", "given"],
    "move": ["move", "p", "train/a.png", "val"],
    "remove": ["remove", "p", "train/a.png"],
    "compact": ["compact", "p"],
}
LOOKS = frozenset(
    {"verify --decode", "stats --plot", "preview", "subset --class", "subset --tag", "subset --per-class"}
    | {"pack a list", "add"}
)
"""Commands that look into annotations: these name one that isn't an annotation."""
SIZES = frozenset({"verify --decode", "pack a list", "add"})
"""Those that need the size in them, too."""
PYTHON = re.compile(
    r"NoneType|object has no|object is not|must be (str|int|real)|indices must|Traceback|not subscriptable|unhashable|"
    r"unpack|KeyError|TypeError|ValueError|AttributeError|RecursionError|IndexError|OverflowError|'(list|dict|str|int)'|"
    r"<class|float\(\)|int\(\)|codec can't|Expecting|NoneType|json\.|line \d+ column"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project, another one, the source of one, and an image to be added."""
    base = tmp_path_factory.mktemp("made")
    packed(base / "p", {**{f"train/{n}.png": picture(n) for n in "ab"}, "val/c.png": picture("c")})
    packed(base / "other", {"more/d.png": picture("d")})
    for n in "ab":
        write(base / f"source/train/img/{n}.png", picture(n))
        write(base / f"source/train/ann/{n}.png.json", annotation(objects=[box("cat")]))
    for root in ("p", "other", "source"):
        write(base / root / "meta.json", json.dumps(CLASSES).encode())
    write(base / "p/train/ann/b.png.json", annotation(objects=[box("cat")], tags=[{"name": "tag", "value": None}]))
    write(base / "new.png", picture("new"))
    write(base / "list.csv", b"path,annotation\nnew.png,given/new.png.json\nsource/train/img/a.png,\n")
    return base


@pytest.fixture
def base(made, tmp_path, monkeypatch):
    def of(data):
        monkeypatch.chdir(tmp_path)
        root = tmp_path / "base"
        shutil.copytree(made, root)
        for path in ("p/train/ann/a.png.json", "source/train/ann/a.png.json", "given/new.png.json"):
            write(root / path, data)
        monkeypatch.chdir(root)
        return root

    return of


@pytest.mark.parametrize("odd", ODD)
def test_no_command_is_ended(base, capfd, odd):
    root = base(ODD[odd])
    for name, command in COMMANDS.items():
        shutil.rmtree(root / "out", ignore_errors=True)
        status = run(command)
        said = "".join(capfd.readouterr())
        assert status in (0, 2, 6, 7), (name, status, said)
        assert not PYTHON.search(said), (name, said)
        if odd in REFUSED and name in (SIZES if "size" in odd else LOOKS):
            assert status in (6, 7), (name, status, said)
            assert re.search(r"(a|new)\.png\.json|new\.png", said), (name, said)
        if name in ("move", "remove", "compact", "merge", "into", "add"):
            shutil.rmtree(root)
            base(ODD[odd])


def test_in_python(base):
    for odd, data in ODD.items():
        root = base(data)
        project = blobdir.open_project(root / "p")
        found = {one.name: one for one in project["train"].annotations(["a.png", "b.png"])}
        assert bool(found["a.png"].fault) == (odd in REFUSED and "size" not in odd), odd
        assert not PYTHON.search(found["a.png"].fault), odd
        assert not found["b.png"].fault
        fs = fsspec.filesystem("blobdir", fo=str(root / "p"), skip_instance_cache=True)
        try:
            with fs.transaction:
                fs.pipe_file("train/ann/a.png.json", data)
        except blobdir.errors.AnnotationError as error:
            assert odd in REFUSED, odd
            assert "train/ann/a.png.json" in str(error) and not PYTHON.search(str(error)), odd
        else:
            assert odd not in REFUSED, odd
        shutil.rmtree(root)
