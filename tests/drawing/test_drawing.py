"""Pictures and counts of a project."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from blob_builder import Builder
from PIL import Image

import blobdir
from blobdir.drawing import collect_stats, draw_preview, draw_stats
from blobdir.drawing.painting import draw_objects
from blobdir.drawing.palette import Looks
from blobdir.errors import AnnotationError, NotFoundError, UsageError

COMMAND = str(Path(sys.executable).with_name("blobdir"))
RED = (255, 0, 0)
LOOKS = Looks({"classes": [{"title": "c", "shape": "any", "color": "#FF0000"}]})


def bitmap(mask):
    data = io.BytesIO()
    Image.fromarray((mask * 255).astype(np.uint8)).save(data, "PNG")
    return base64.b64encode(zlib.compress(data.getvalue())).decode()


SQUARE = [[20, 20], [80, 20], [80, 80], [20, 80]]
SHAPES = {
    "rectangle": ({"points": {"exterior": [[20, 30], [60, 70]], "interior": []}}, (40, 50), (5, 5)),
    "polygon": (
        {
            "points": {
                "exterior": [[20, 20], [80, 20], [80, 80], [20, 80]],
                "interior": [[[40, 40], [60, 40], [60, 60], [40, 60]]],
            }
        },
        (30, 70),
        (50, 50),
    ),
    "line": ({"points": {"exterior": [[10, 90], [90, 90]], "interior": []}}, (50, 90), (50, 50)),
    "point": ({"points": {"exterior": [[70, 30]], "interior": []}}, (70, 30), (30, 70)),
    "bitmap": ({"bitmap": {"data": bitmap(np.ones((20, 30), bool)), "origin": [40, 50]}}, (50, 60), (80, 80)),
    "graph": ({"nodes": {"a": {"loc": [20, 80]}, "b": {"loc": [80, 80]}}}, (80, 80), (50, 30)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [1, 2])
def test_shapes(shape, scale):
    item, inside, outside = SHAPES[shape]
    image = Image.new("RGB", (100 * scale, 100 * scale))
    annotation = {"objects": [{"classTitle": "c", "geometryType": shape, **item}]}
    assert draw_objects(image, annotation, LOOKS, scale).drawn == 1
    red, green, blue = image.getpixel((inside[0] * scale, inside[1] * scale))
    assert red > 60
    assert green == blue == 0 or shape in ("point", "graph")
    assert image.getpixel((outside[0] * scale, outside[1] * scale)) == (0, 0, 0)


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"classTitle": "c"},
        {"classTitle": "c", "geometryType": "cuboid"},
        {"classTitle": "c", "geometryType": "rectangle", "points": {"exterior": [[1, 2]]}},
        {"classTitle": "c", "geometryType": "bitmap", "bitmap": {"data": "x", "origin": [0, 0]}},
        {"classTitle": "c", "geometryType": "polygon", "points": {"exterior": [["a", "b"]]}},
    ],
)
def test_damaged_objects_are_left_out(item):
    image = Image.new("RGB", (50, 50))
    assert draw_objects(image, {"objects": [item]}, LOOKS, 1).drawn == 0
    assert image.getextrema() == ((0, 0), (0, 0), (0, 0))


def test_colors():
    meta = {"classes": [{"title": "a", "color": "#FF0000"}, {"title": "b", "color": "nonsense"}, {}]}
    looks = Looks(meta)
    assert looks["a"].color == RED
    assert looks["b"].color == Looks({})["b"].color != looks["c"].color


@pytest.fixture
def project(tmp_path):
    made = Builder(tmp_path / "p")
    made.loose("meta.json", json.dumps({"classes": [{"title": "c", "color": "#00FF00"}], "tags": []}).encode())
    members = {}
    for i in range(10):
        data = io.BytesIO()
        Image.new("RGB", (40, 20), (i, 0, 200)).save(data, "PNG")
        members[f"{i}.png"] = data.getvalue()
        shape = {"classTitle": "c", "geometryType": "rectangle", "points": {"exterior": [[0, 0], [39, 19]]}}
        text = {
            "size": {"height": 20, "width": 40},
            "tags": [{"name": "t"}] if i < 4 else [],
            "objects": [shape] * (i % 3),
        }
        made.loose(f"train/ann/{i}.png.json", json.dumps(text).encode())
    members["broken.jpg"] = b"no image"
    made.offsets("train", "b", made.tar("b", members))
    return made.root


def test_preview(project):
    opened = blobdir.open_project(project)
    sheet = draw_preview(opened, count=6, columns=3, tile=64)
    assert sheet.size == (3 * 70 + 6, 2 * (64 + 18 + 6) + 6)
    whole = draw_preview(opened, columns=4, tile=64)
    assert whole.size == (4 * 70 + 6, 3 * 88 + 6)
    one = draw_preview(opened, pattern="train/0.png", tile=64)  # no objects
    assert one.getpixel((6 + 32, 6 + 32)) == (0, 0, 200)
    marked = draw_preview(opened, pattern="train/1.png", tile=64)
    assert marked.getpixel((6 + 32, 6 + 40))[1] > 40
    with pytest.raises(NotFoundError, match="no image"):
        draw_preview(opened, pattern="none/*")
    with pytest.raises(NotFoundError, match=r"no image of .* matches; near it: .*train/1\.png"):
        draw_preview(opened, pattern="train/1.pngg")
    with pytest.raises(UsageError):
        draw_preview(opened, columns=0)


def test_stats(project):
    opened = blobdir.open_project(project)
    stats = collect_stats(opened)
    train = stats.datasets["train"]
    assert (train.images, train.annotated, train.objects) == (11, 10, 9)
    assert (train.classes, train.tags, train.formats) == ({"c": 9}, {"t": 4}, {".png": 10, ".jpg": 1})
    assert train.smallest == 8
    picture = np.asarray(draw_stats(opened, stats))
    assert (picture == (0, 255, 0)).all(-1).sum() > 1000  # the bar of class c, in its colour


def test_the_sdks_own_project(digits):
    opened = blobdir.open_project(digits)
    stats = collect_stats(opened)
    assert sum(one.images for one in stats.datasets.values()) == 245
    assert stats.total("classes") == {"digit": 240, "ink": 240}
    assert draw_preview(opened).size[0] > 1000


def test_commands(project, tmp_path):
    sheet, plot = tmp_path / "sheet.png", tmp_path / "plot.png"
    words = [COMMAND, "preview", project, "-o", sheet, "-q"]
    assert subprocess.run(words, check=False).returncode == 7  # one is no image
    subprocess.run([*words, "--filter", "*.png"], check=True)
    done = subprocess.run([COMMAND, "stats", project, "--plot", plot], check=True, capture_output=True, text=True)
    assert Image.open(sheet).size[0] > 500
    assert Image.open(plot).size[0] == 900
    assert "c " in done.stdout
    done = subprocess.run([COMMAND, "stats", project, "--json"], check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["datasets"]["train"]["objects"] == 9


BAD = {
    "cut off": (b'{"objects": [', "isn't JSON: it is cut off"),
    "a list": (b"[]", "holds a list, not an object"),
    "null": (b"null", "holds null, not an object"),
    "objects as texts": (b'{"objects": ["c"]}', "its object 0 is a text, not an object"),
    "tags as texts": (b'{"tags": ["t"], "objects": []}', "its tag 0 is a text, not an object with a name"),
    "a folder": (None, "is a directory"),
    "a link out": ("link", "outside the project"),
}


@pytest.fixture(params=BAD)
def bad(project, request):
    """A project with one annotation that can't be used, and what is to be said of it."""
    content, says = BAD[request.param]
    path = project / "train/ann/2.png.json"
    path.unlink()
    if content is None:
        (path / "below").mkdir(parents=True)
    elif content == "link":
        (project.parent / "outside.json").write_bytes(b'{"objects": []}')
        path.symlink_to(project.parent / "outside.json")
    else:
        path.write_bytes(content)
    return project, says


def test_stats_name_what_they_could_not_count(bad):
    project, says = bad
    stats = collect_stats(blobdir.open_project(project))
    (problem,) = stats.problems
    assert problem.path == "train/ann/2.png.json"
    assert says in problem.message
    train = stats.datasets["train"]
    assert (train.images, train.annotated, train.unusable, train.objects) == (11, 9, 1, 7)
    with pytest.raises(AnnotationError, match=r"2\.png\.json.*--strict"):
        collect_stats(blobdir.open_project(project), strict=True)


def test_previews_name_what_they_could_not_draw(bad):
    project, says = bad
    problems = []
    draw_preview(blobdir.open_project(project), tile=32, problems=problems)
    found = {problem.path: problem for problem in problems}
    assert says in found["train/ann/2.png.json"].message
    assert {path: problem.costs for path, problem in found.items()} == {
        "train/ann/2.png.json": True,
        "train/img/broken.jpg": True,
    }


@pytest.mark.parametrize("command", ["stats", "stats --json", "preview"])
def test_commands_cost_the_exit_status(bad, tmp_path, command):
    project, says = bad
    words = [COMMAND, *command.split(), project, *(["-o", tmp_path / "s.png"] if command == "preview" else [])]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 7
    assert "train/ann/2.png.json" in done.stderr
    assert says in done.stderr
    assert "1 annotation can't be used" in done.stderr
    if command == "stats --json":
        found = json.loads(done.stdout)
        assert found["datasets"]["train"]["unusable"] == 1
        assert found["problems"][0]["path"] == "train/ann/2.png.json"
    elif command == "preview":
        assert Image.open(tmp_path / "s.png").size[0] > 100
        (tmp_path / "s.png").unlink()
    done = subprocess.run([*words, "--strict"], check=False, capture_output=True, text=True)
    assert done.returncode == 6
    assert not (tmp_path / "s.png").exists()


def test_objects_that_cannot_be_drawn_are_named(project):
    shapes = [{"classTitle": "c", "geometryType": shape} for shape in ("alpha_mask", "cuboid")]
    (project / "train/ann/0.png.json").write_text(json.dumps({"objects": shapes}))
    problems = []
    draw_preview(blobdir.open_project(project), pattern="train/0.png", problems=problems)
    (problem,) = problems
    assert problem.message == (
        "all of its 2 objects can't be drawn: "
        "object 0 (alpha_mask): it has no bitmap; object 1 (cuboid): it has no points"
    )


@pytest.mark.parametrize("name", ["a\nb.png", "\udcff.png", "кот.png", "n" * 246 + ".png"])
def test_odd_names_cost_no_sheet(tmp_path, name):
    made = Builder(tmp_path / "p")
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "PNG")
    made.loose(f"train/img/{name}", data.getvalue())
    made.loose(f"train/ann/{name}.json", json.dumps({"objects": [{"classTitle": "a\nb"}]}).encode())
    opened = blobdir.open_project(made.root)
    assert draw_preview(opened).size[0] > 100
    assert draw_stats(opened, collect_stats(opened)).size[0] == 900
