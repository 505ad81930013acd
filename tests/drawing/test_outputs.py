"""What previews are written to: pictures, documents and pages; which images; and nothing where it can't be."""

from __future__ import annotations

import base64
import io
import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from drawn import SHAPES, encoded, points, project, thing
from PIL import Image

import blobdir
from blobdir.cli.app import run
from blobdir.drawing import Choice, PreviewOptions, draw_preview, pictures, write_preview
from blobdir.drawing.choosing import chosen_images

COMMAND = str(Path(sys.executable).with_name("blobdir"))
RED = (255, 0, 0)
CLASSES = [{"title": "c", "shape": "any", "color": "#FF0000"}]


@pytest.fixture
def root(tmp_path):
    things = [thing("rectangle", points((20, 20), (80, 80)))]
    return project(
        tmp_path / "p", {name: {f"{i:02}.png": things for i in range(20)} for name in ("train", "test")}, CLASSES
    )


PICTURES = {".png": "PNG", ".jpg": "JPEG", ".JPEG": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}


def red(image):
    return (np.abs(np.asarray(image.convert("RGB")).astype(int) - RED).sum(-1) < 60).sum()


@pytest.mark.parametrize("command", ["preview", "stats"])
@pytest.mark.parametrize("ending", PICTURES)
def test_pictures(root, tmp_path, ending, command):
    output = tmp_path / f"x{ending}"
    words = (
        ["preview", str(root), "-o", str(output)]
        if command == "preview"
        else ["stats", str(root), "--plot", str(output)]
    )
    assert run([*words, "-q"]) == 0
    with Image.open(output) as image:
        assert image.format == PICTURES[ending]
        assert image.width > 500
        assert red(image) > 1000


@pytest.mark.parametrize("ending", [".gif", ".bmp", ".svg", ".eps", ".xyz", "", ".html.gz"])
@pytest.mark.parametrize("command", ["preview", "stats"])
def test_other_formats_are_refused_by_name_before_any_work(tmp_path, capfd, command, ending):
    words = ["preview", "-o"] if command == "preview" else ["stats", "--plot"]
    output = tmp_path / f"x{ending}"
    assert run([*words, str(output), str(tmp_path / "no project")]) == 2
    said = capfd.readouterr().err
    assert ".png, .jpg" in said
    assert (f".{ending.rpartition('.')[2]};" if ending else "its name has no ending") in said
    assert not output.exists()


@pytest.mark.parametrize("command", [["preview", "-o"], ["stats", "--plot"]])
def test_so_are_folders_and_pages_of_charts(root, tmp_path, capfd, command):
    (tmp_path / "d.png").mkdir()
    for output in (tmp_path / "gone/x.png", tmp_path / "d.png"):
        assert run([*command, str(output), str(root)]) == 2
        assert "folder" in capfd.readouterr().err
    assert run(["stats", "--plot", str(tmp_path / "x.html"), str(root)]) == 2


def test_formats_that_pillow_was_built_without(root, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(pictures.features, "check", lambda name: name != "webp")
    assert run(["preview", str(root), "-o", str(tmp_path / "x.webp")]) == 2
    assert "without WebP" in capfd.readouterr().err


@pytest.mark.parametrize(("ending", "options"), [(".webp", ["--tile", "512"]), (".jpg", ["--tile", "2048"])])
def test_what_a_format_has_no_room_for(root, tmp_path, capfd, ending, options):
    output = tmp_path / f"x{ending}"
    assert run(["preview", str(root), "-o", str(output), "--columns", "1", *options]) == 2
    assert "a side at most" in capfd.readouterr().err
    assert not output.exists()


def test_a_file_that_was_there_stays_where_nothing_can_be_drawn(root, tmp_path):
    output = tmp_path / "x.png"
    output.write_bytes(b"old")
    assert run(["preview", str(root), "-o", str(output), "--filter", "none/*"]) == 4
    assert output.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("x")] == ["x.png"]


@pytest.mark.parametrize("large", [False, True])
def test_documents_have_pages(root, tmp_path, large):
    options = PreviewOptions(Choice(count=40), columns=3, tile=0 if large else 64, large=large)
    said = write_preview(blobdir.open_project(root), tmp_path / "x.pdf", options)
    data = (tmp_path / "x.pdf").read_bytes()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", data)) == (40 if large else 5)
    assert said == ("40 images, 40 pages" if large else "40 images, 5 pages")


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


NAMES = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    "{title}",
    "&lt;b&gt;",
    "javascript:alert(1)",
    "a\nb\u202ec",
    "\udcff",
]


@pytest.mark.parametrize("name", NAMES)
def test_pages_hold_names_as_names(tmp_path, name):
    file = name.replace("/", "∕") + ".png"
    classes = [{"title": name, "shape": "any", "color": "#FF0000;} body{display:none"}]
    if "\udcff" in name:
        classes = []
    objects = [thing("rectangle", points((20, 20), (80, 80)), name), thing("torus</li><script>", {}, name)]
    root = project(tmp_path / "p", {"train": {"a.png": objects}}, classes)
    (root / "train/img").mkdir()
    (root / "train/img" / os.fsencode(file).decode("utf-8", "surrogateescape")).write_bytes(encoded())
    assert run(["preview", "-q", str(root), "-o", str(tmp_path / "x.html")]) == 7
    text = (tmp_path / "x.html").read_text("utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert not [key for key, _ in page.attributes if key.startswith("on")]
    assert {value[:23] for key, value in page.attributes if key == "src"} == {"data:image/jpeg;base64,"}
    assert not [key for key, _ in page.attributes if key == "href"]
    assert page.tags.count("figure") == page.tags.count("img") == 2
    assert name in page.text or "U+000A" in page.text or "\\xFF" in page.text
    assert "default-src 'none'" in text
    assert "display:none" not in text[: text.index("What couldn’t be used")]
    assert not [value for _, value in page.attributes if "display:none" in (value or "")]


def test_pages_hold_pictures(root, tmp_path):
    options = ["--dataset", "train", "--tile", "128"]
    assert run(["preview", "-q", str(root), "-o", str(tmp_path / "x.html"), *options]) == 0
    page = Page((tmp_path / "x.html").read_text())
    sources = [value for key, value in page.attributes if key == "src"]
    assert len(sources) == 20
    with Image.open(io.BytesIO(base64.b64decode(sources[0].partition(",")[2]))) as image:
        assert image.size == (128, 128)
        assert red(image) > 300
    assert "train/07.png" in page.text
    assert "c 20" in page.text.replace("\n", " ")


def test_standard_output_gets_a_picture(root):
    done = subprocess.run([COMMAND, "preview", root, "-o", "-", "-n", "3"], check=True, capture_output=True)
    with Image.open(io.BytesIO(done.stdout)) as image:
        assert image.format == "PNG"
    assert b"pixels" in done.stderr


@pytest.mark.parametrize("words", [["preview", "-o", "-"], ["preview", "-o", "/dev/stdout"], ["stats", "--plot", "-"]])
def test_a_terminal_does_not(root, words):
    master, slave = pty.openpty()
    done = subprocess.run([COMMAND, *words, root], check=False, stdout=slave, stderr=subprocess.PIPE)
    os.close(slave)
    assert done.returncode == 2
    os.set_blocking(master, False)
    with suppress(OSError):  # nothing was written
        assert os.read(master, 100) == b""
    os.close(master)


def names_of(root, **options):
    return [f"{dataset.name}/{name}" for dataset, name in chosen_images(blobdir.open_project(root), Choice(**options))]


def test_images_are_chosen(root):
    assert len(names_of(root)) == 40
    assert names_of(root, count=4) == ["test/00.png", "test/10.png", "train/00.png", "train/10.png"]
    assert {name[:5] for name in names_of(root, datasets=("train", "train"))} == {"train"}
    assert len(names_of(root, datasets=("train", "test"), pattern="*/0*")) == 20
    few = names_of(root, sample=7)
    assert len(few) == 7
    assert few == sorted(few) == names_of(root, sample=7)
    assert few != names_of(root, sample=7, seed=1)
    assert set(few) <= set(names_of(root, sample=9))  # one more keeps the others
    assert len(names_of(root, sample=99)) == 40


def test_datasets_that_are_not_there(root, capfd, tmp_path):
    assert run(["preview", str(root), "-o", str(tmp_path / "x.png"), "--dataset", "trian"]) == 2
    assert "near it: train" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("size", "longest"), [((10, 5), 640), ((700, 300), 700), ((900, 2200), 2048)], ids=["small", "middle", "huge"]
)
def test_one_image_is_large(tmp_path, size, longest):
    root = project(tmp_path / "p", {"train": {"a.png": []}}, size=size, color=(0, 200, 0))
    sheet = draw_preview(blobdir.open_project(root), tile=0)
    green = np.argwhere((np.asarray(sheet) == (0, 200, 0)).all(-1))
    high, wide = green.max(0) - green.min(0) + 1
    assert max(high, wide) == longest
    assert abs(wide / high - size[0] / size[1]) < 0.02 * size[0] / size[1]


def test_large_is_for_one_image_or_pages(root, tmp_path, capfd):
    assert run(["preview", str(root), "-o", str(tmp_path / "x.png"), "--large"]) == 2
    assert "40 images match" in capfd.readouterr().err
    assert run(["preview", "-q", str(root), "-o", str(tmp_path / "x.png"), "--large", "--filter", "train/03.png"]) == 0
    assert run(["preview", "-q", str(root), "-o", str(tmp_path / "x.html"), "--large", "-n", "2"]) == 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_images_are_turned_as_exif_says(tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    root = project(tmp_path / "p", {"train": {"a.png": []}}, CLASSES)
    (root / "train/img").mkdir()
    name = f"b.{kind.lower()}"
    (root / "train/img" / name).write_bytes(encoded((90, 60), (0, 0, 250), kind, exif=exif))
    annotation = {
        "size": {"width": 60, "height": 90},
        "tags": [],
        "objects": [thing("rectangle", points((10, 70), (50, 85)))],
    }
    (root / "train/ann" / f"{name}.json").write_text(json.dumps(annotation))
    sheet = draw_preview(blobdir.open_project(root), pattern=f"train/{name}", tile=90)
    pixels = np.asarray(sheet).astype(int)
    photo = np.argwhere((pixels[:, :, 2] > 150) & (pixels[:, :, 1] < 60))
    assert (photo.max(0) - photo.min(0) + 1).tolist() == [90, 60]
    lines = np.argwhere((np.abs(pixels - RED) < 40).all(-1)) - photo.min(0)
    assert (lines[:, 1].min(), lines[:, 1].max(), lines[:, 0].max()) == (10, 50, 85)


def test_names_can_be_left_out(root, tmp_path):
    for name, more in (("a.png", []), ("b.png", ["--no-names"])):
        assert run(["preview", "-q", str(root), "-o", str(tmp_path / name), "-n", "2", *more]) == 0
    assert red(Image.open(tmp_path / "a.png")) > red(Image.open(tmp_path / "b.png"))


@pytest.mark.parametrize("strict", [False, True])
def test_objects_that_cannot_be_drawn_are_named_and_counted(tmp_path, capfd, strict):
    bad = [thing("rectangle", {}), *[thing("torus", {}) for _ in range(5)], thing("point", SHAPES["point"])]
    root = project(tmp_path / "p", {"train": {"a.png": bad}}, CLASSES)
    words = ["preview", str(root), "-o", str(tmp_path / "x.png"), *["--strict"] * strict]
    assert run(words) == (6 if strict else 7)
    said = capfd.readouterr().err
    assert "train/ann/a.png.json: 6 of its 7 objects can't be drawn: object 0 (rectangle): it has no points; " in said
    assert "object 1 (torus): the shape isn't known" in said
    assert "; and 3 more" in said
