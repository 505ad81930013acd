"""What annotations may ask for, and isn't done without an end: colours, numbers, points and pages; and what is seen."""

from __future__ import annotations

import base64
import gc
import io
import json
import math
import os
import re
import time
import weakref
from itertools import pairwise

import numpy as np
import pytest
from changes.samples import META, annotation, packed, picture, write
from drawn import SHAPES, bitmap, points, project, thing
from PIL import Image, ImageDraw

import blobdir
from blobdir.cli.app import run
from blobdir.drawing import Choice, PreviewOptions, painting, write_preview
from blobdir.drawing.document import document
from blobdir.drawing.filling import MANY, MOST_WAY, filled, pieces, way_of
from blobdir.drawing.painting import draw_objects
from blobdir.drawing.palette import Looks, color_of
from blobdir.drawing.panels import BODY, columns_for
from blobdir.drawing.text import typesetter
from blobdir.errors import UsageError

RED = {"title": "c", "shape": "any", "color": "#FF0000"}
BOX = SHAPES["rectangle"]
NO_COLORS = [
    "rgb(999999999999999999999,0,0)", "rgb(99999999999,0,0)", "rgb(300,0,0)", "rgb(-5,0,0)", "hsl(0,0%,999%)",
    "hsv(99999999999999,900%,999%)", "hsl(1e9,50%,50%)", "#12", "no colour", "x" * 9000, "\ud800", [300, 0, 0],
    [1.5, 2, 3], [True, 0, 0], [0, 0], {"a": 1}, 7, True, [10**400, 0, 0],
]  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("color", NO_COLORS, ids=range(len(NO_COLORS)))
def test_colours_that_are_none_are_named(tmp_path, capfd, color):
    assert color_of(color) is None
    edges = [{"src": "a", "dst": "b", "color": color}]
    graph = RED | {"title": "g", "geometry_config": {"edges": edges, "nodes": {"a": {"color": color}}}}
    objects = [thing("rectangle", BOX, color=color), thing("rectangle", BOX, "d")]
    root = project(tmp_path / "p", {"train": {"a.png": objects}}, [RED, RED | {"title": "d", "color": color}, graph])
    for command in (["preview", "-o"], ["stats", "--plot"]):
        assert run([command[0], str(root), command[1], str(tmp_path / "x.png")]) == 0
        said = capfd.readouterr().err
        assert "meta.json: the class 'd' has " in said
        assert "meta.json: the class 'g' has 2 nodes and edges with a color that is none" in said
        assert ("a.png.json: 1 object with a color that is none" in said) == (command[0] == "preview")
        assert max(map(len, said.splitlines())) < 300


def test_no_colour_is_no_fault(tmp_path, capfd):
    objects = [thing("rectangle", BOX), thing("rectangle", BOX, "d", color=None)]
    root = project(tmp_path / "p", {"train": {"a.png": objects}}, [RED, {"title": "d", "shape": "any"}])
    assert run(["preview", "-q", str(root), "-o", str(tmp_path / "x.png")]) == 0
    assert capfd.readouterr().err == ""


LARGE = 10**400
NUMBERS = {
    "an angle": thing("oriented_bbox", SHAPES["oriented_bbox"] | {"angle": LARGE}),
    "a corner": thing("rectangle", points((0, 0), (LARGE, 1))),
    "a point of a line": thing("line", points((0, 0), (1, -LARGE))),
    "one of many": thing("polygon", points(*[(i, i * i % 7) for i in range(50)], (-(2**63), 1))),
    "one of many, larger": thing("polygon", points(*[(i, i * i % 7) for i in range(50)], (2**64, 1))),
    "an origin": thing("bitmap", {"bitmap": {"data": bitmap(np.ones((4, 4))), "origin": [LARGE, 0]}}),
    "a node": thing("graph", {"nodes": {"a": {"loc": [1e300, 0]}}}),
    "a face": thing("cuboid", SHAPES["cuboid"] | {"faces": [[0, 1, 2, LARGE]]}),
}


@pytest.mark.parametrize("what", NUMBERS)
def test_numbers_that_are_no_places_are_named(what):
    image = Image.new("RGB", (100, 100))
    found = draw_objects(image, {"objects": [NUMBERS[what]]}, Looks(META), 1.0)
    assert len(found.faults) == 1
    assert image.getbbox() is None


def at(place, size):
    """A body of each shape of one pixel at a place."""
    x, y = place
    ring = [[x, y], [x + size, y], [x + size, y + size]]
    return {
        "rectangle": points(ring[0], ring[2]),
        "polygon": points(*ring),
        "line": points(*ring),
        "point": points(ring[0]),
        "bitmap": {"bitmap": {"data": bitmap(np.full((size + 1, size + 1), 255)), "origin": [x, y]}},
        "oriented_bbox": {"points": [ring[0], ring[2]], "angle": 0},
    }


@pytest.mark.parametrize("place", [(0, 0), (0, 500), (500, 0), (998, 998), (998, 0), (500, 500)])
@pytest.mark.parametrize("shape", at((0, 0), 1))
def test_what_is_smaller_than_a_pixel_is_seen(shape, place):
    """At every edge; a thousand pixels are ten."""
    image = Image.new("RGB", (10, 10))
    found = draw_objects(image, {"objects": [thing(shape, at(place, 1)[shape])]}, Looks({"classes": [RED]}), 0.01)
    assert found.drawn == 1
    assert image.getbbox() is not None


@pytest.mark.parametrize("shape", ["rectangle"])
@pytest.mark.parametrize("place", [(-300, 500), (500, -300), (1100, 500), (500, 1100)])
def test_what_is_outside_is_not(shape, place):
    image = Image.new("RGB", (10, 10))
    draw_objects(image, {"objects": [thing(shape, at(place, 100)[shape])]}, Looks({"classes": [RED]}), 0.01)
    assert image.getbbox() is None


def wavy(count, size=300.0):
    """An outline of many points, as people have them: it goes around once."""
    angles = np.linspace(0, 2 * math.pi, count, endpoint=False)
    reach = size * (0.3 + 0.1 * np.sin(7 * angles))
    return np.c_[size / 2 + reach * np.cos(angles), size / 2 + reach * np.sin(angles)].tolist()


def random_points(count, size):
    return (np.random.default_rng(count).random((count, 2)) * size).tolist()


@pytest.mark.parametrize("ring", [wavy(5000), random_points(400, 300.0), [(-50.5, -50), (400, 20), (150, 400.5)]])
def test_outlines_are_filled_as_by_pillow(ring):
    """But for their edges, which lines cover."""
    ring = [*map(tuple, ring)]
    image = Image.new("L", (300, 280))
    ImageDraw.Draw(image).polygon(ring, fill=255)
    theirs, ours = np.asarray(image) > 0, np.asarray(filled(ring, image.size)) > 0
    edges = Image.new("L", image.size)
    ImageDraw.Draw(edges).line([*ring, ring[0]], fill=255, width=3)
    assert (theirs == ours)[np.asarray(edges) == 0].all()


def test_outlines_of_very_many_points_are_drawn_soon():
    """Pillow takes a minute for it."""
    ring = wavy(400_000, 2000.0)
    body = points(*ring, interior=[wavy(100_000, 1999.0), [(990, 990), (1010, 990), (1000, 1010)]])
    image, began = Image.new("RGB", (2000, 2000)), time.monotonic()
    assert draw_objects(image, {"objects": [thing("polygon", body)]}, Looks({"classes": [RED]}), 1.0).drawn == 1
    assert time.monotonic() - began < 15
    assert image.getbbox() is not None


@pytest.mark.parametrize("shape", ["polygon", "line"])
def test_outlines_that_take_minutes_are_refused(shape):
    image, began = Image.new("RGB", (2000, 2000)), time.monotonic()
    item = thing(shape, points(*random_points(200_000, 2000.0)))
    found = draw_objects(image, {"objects": [item, thing("rectangle", BOX)]}, Looks({"classes": [RED]}), 1.0)
    assert found.faults[0].startswith(f"object 0 ({shape}): its outlines go over 2")
    assert found.faults[0].endswith(f" pixels, and {MOST_WAY:,} are the most")
    assert found.drawn == 1
    assert time.monotonic() - began < 15


def test_lines_are_drawn_in_pieces():
    """Between two of them, whoever waits can end it."""
    ring = [*map(tuple, wavy(2 * MANY + 5))]
    parts = [*pieces(ring)]
    assert max(map(len, parts)) <= 1001
    assert [parts[0][0], *(point for part in parts for point in part[1:])] == ring
    assert all(part[-1] == following[0] for part, following in pairwise(parts))
    assert [*pieces(ring[:2])] == [ring[:2]]
    assert way_of([(0.0, 0.0), (3.0, 4.0)] * MANY) == 7 * (2 * MANY - 1)


@pytest.mark.parametrize("most", [0, 1 << 28])
def test_areas_of_very_many_colours_are_filled(monkeypatch, most):
    """After so many pixels in the nearest colour that is open; lines have their own."""
    monkeypatch.setattr(painting, "_MOST_CLOSED", most)
    monkeypatch.setattr(painting, "_OPEN_BYTES", 0)
    colors = [f"#{number * 40503 % (1 << 24):06X}" for number in range(1, 200)]
    items = [
        thing(
            "rectangle",
            points((number % 20 * 30, number // 20 * 30), (number % 20 * 30 + 20, number // 20 * 30 + 20)),
            color=color,
        )
        for number, color in enumerate(colors)
    ]
    image = Image.new("RGB", (600, 300))
    assert draw_objects(image, {"objects": items}, Looks({"classes": [RED]}), 1.0, named=False).drawn == len(items)
    pixels = np.asarray(image)
    for number, color in enumerate(colors):
        x, y = number % 20 * 30, number // 20 * 30
        assert pixels[y, x].tolist() == [int(color[i : i + 2], 16) for i in (1, 3, 5)]
        assert pixels[y + 10, x + 10].any()


@pytest.mark.parametrize("count", [0, 1, 3, 700])
def test_a_document_is_sound(count):
    data = b"".join(document(Image.new("RGB", (20 + i, 10), (i % 256, 0, 0)) for i in range(count)))
    table = int(re.search(rb"startxref\n(\d+)\n%%EOF\n$", data)[1])
    lines = data[table:].split(b"\n")
    assert lines[0] == b"xref"
    size = int(lines[1].split()[1])
    assert size == 3 + 3 * count
    for number, line in enumerate(lines[2 : 2 + size]):
        assert len(line) == 19
        if number:
            assert data[int(line[:10]) :].startswith(b"%d 0 obj\n" % number)
    assert len(re.findall(rb"/Type /Page ", data)) == count
    assert b"/Count %d " % count in data
    for length, content in re.findall(rb"/Length (\d+) >>\nstream\n(q [^\n]*)\nendstream", data):
        assert int(length) == len(content)


def test_pages_of_a_document_are_not_kept():
    made = []

    def pages():
        for _ in range(10):
            gc.collect()
            assert sum(page() is not None for page in made) <= 1
            page = Image.new("RGB", (10, 10))
            made.append(weakref.ref(page))
            yield page
            del page

    assert b"".join(document(pages())).startswith(b"%PDF")
    assert len(made) == 10


def test_pages_that_no_document_has_room_for(tmp_path):
    root = project(tmp_path / "p", {"d": {f"{i}.png": [] for i in range(40)}}, size=(8, 8))
    options = PreviewOptions(Choice(count=40), columns=20, tile=4096)
    with pytest.raises(UsageError, match="PDF has 65,500 a side at most: draw smaller images, or fewer in a row"):
        write_preview(blobdir.open_project(root), tmp_path / "x.pdf", options)


@pytest.mark.parametrize(
    "names", ["class number {} of many", "a/very/long/folder/of/classes/{}", "{} of many names of classes"]
)
def test_names_of_many_classes_can_be_read(names):
    texts = [names.format(number) for number in range(240)]
    width = 868
    columns = columns_for(texts, width, 3)
    room = min((width - 18 * (columns - 1)) // columns * 0.48, 260)
    cut = typesetter(BODY).fitting(texts, room)
    assert len(set(cut.values())) == len(texts)
    assert all(str(number) in cut[text] for number, text in enumerate(texts))


@pytest.mark.parametrize(
    "texts", [[f"{'long ' * 20}{i}" for i in range(50)], [f"{i}{' long' * 20}" for i in range(50)]]
)
@pytest.mark.parametrize("width", [40, 80, 200])
def test_names_are_cut_where_they_are_alike(texts, width):
    letters = typesetter(BODY)
    cut = letters.fitting(texts, width)
    assert len(set(cut.values())) == len(texts)
    if width > 40:
        assert all(letters.width(text) <= width for text in cut.values())
        assert all(str(number) in cut[text] for number, text in enumerate(texts))


def test_an_image_that_cannot_be_drawn_is_named_once(tmp_path, capfd):
    packed(tmp_path / "p", {"train/a.png": picture(1)})
    write(tmp_path / "p/train/img/b.png", picture(2)[:-30])
    write(tmp_path / "p/train/ann/b.png.json", annotation())
    assert run(["preview", "-q", str(tmp_path / "p"), "-o", str(tmp_path / "x.png")]) == 7
    assert capfd.readouterr().err.count("b.png") == 1


def test_bitmaps_have_the_limit_of_images(tmp_path, capfd):
    """Whether they are drawn or verified, and it's said with what raises it."""
    file = io.BytesIO()
    Image.new("1", (16_000, 16_000), 1).save(file, "PNG")
    big = {"data": base64.b64encode(file.getvalue()).decode(), "origin": [0, 0]}
    root = project(
        tmp_path / "p", {"train": {"a.png": [thing("bitmap", {"bitmap": big})]}}, [RED | {"shape": "bitmap"}]
    )
    why = "it has 256,000,000 pixels, and 178,956,970 are the most; --max-pixels raises that"
    assert run(["preview", str(root), "-o", str(tmp_path / "x.png")]) == 7
    assert why in capfd.readouterr().err
    assert run(["verify", "--decode", "--json", str(root)]) == 0
    assert why in json.dumps(json.loads(capfd.readouterr().out))


PLACES = ["train/img/a.png", "train/img/new.png", "train/ann/a.png.json", "meta.json", "train/img/sub/new.png"]


@pytest.mark.parametrize("command", [["preview", "-o"], ["stats", "--plot"]])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("plain", [True, False], ids=["a regular project", "a blob project"])
def test_no_picture_becomes_a_file_of_a_dataset(tmp_path, capfd, monkeypatch, command, place, plain):
    """Neither in the place of an image, nor as one more of them."""
    packed(tmp_path / "p", {"train/a.png": picture(1)})
    root = tmp_path / "p"
    if plain:
        assert run(["unpack", "-q", str(root), str(tmp_path / "plain")]) == 0
        root = tmp_path / "plain"
    (root / "train/img/sub").mkdir(parents=True, exist_ok=True)
    (root / "linked").symlink_to("train/img")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    picture_of = place if place.endswith(".png") else f"{place}.png"
    if not place.endswith(".png"):
        (root / picture_of).write_bytes(b"x")
        before[root / picture_of] = b"x"
    monkeypatch.chdir(root.parent)
    places = [root / picture_of] if picture_of != "meta.json.png" else []
    if "/img/" in place:
        places += [f"{root.name}/{picture_of}", root / "linked" / picture_of.removeprefix("train/img/")]
    for target in places:
        assert run([command[0], str(root), command[1], str(target)]) == 2
        said = capfd.readouterr().err
        assert "would be a file of the project" in said or "is there already" in said
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    assert run([command[0], str(root), command[1], str(root / "sheet.png")]) == 0
    assert run([command[0], str(root), command[1], str(root / "sheet.png")]) == 0


@pytest.mark.parametrize("command", [["preview", "-o", "x.png"], ["preview", "-o", "x.html"], ["stats"]])
def test_a_path_is_said_once(tmp_path, capfd, monkeypatch, command):
    packed(tmp_path / "p", {"train/a.png": picture(1)})
    path = tmp_path / "p/train/ann/a.png.json"
    path.unlink()
    os.mkfifo(path)
    monkeypatch.chdir(tmp_path)
    assert run([*command, "p"]) == 7
    lines = capfd.readouterr().err.splitlines()
    assert max(line.count("train/ann/a.png.json") for line in lines) == 1
    if "x.html" in command:
        text = (tmp_path / "x.html").read_text().partition("What couldn’t be used")[2]
        assert text.count("train/ann/a.png.json") == 1
