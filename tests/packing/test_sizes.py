"""Annotations have the size of the picture as shown, whoever writes them; others are named."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zlib

import fsspec
import pytest
from changes.samples import annotation
from PIL import Image

from blobdir import BlobdirWarning
from blobdir.cli.app import run
from blobdir.images import _Limit, decode_image, shown_size
from blobdir.packing import add, pack
from blobdir.verifying import verify

STORED = (64, 48)


def exif(orientation):
    found = Image.Exif()
    found[0x0112] = orientation
    return found


def saved(form, **options):
    file = io.BytesIO()
    Image.new("RGB", STORED, (9, 8, 7)).save(file, form, **options)
    return file.getvalue()


def late(data, orientation):
    """A PNG with its EXIF behind the pixels."""
    body = b"eXIf" + exif(orientation).tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:-12] + chunk + data[-12:]


def with_exif(form, extension):
    return {f"{extension[1:]} {o}": (extension, saved(form, exif=exif(o))) for o in range(1, 9)}


TURNED = {
    **with_exif("JPEG", ".jpg"),
    **with_exif("PNG", ".png"),
    **with_exif("WEBP", ".webp"),
    **with_exif("MPO", ".mpo"),
    **{f"tiff {o}": (".tiff", saved("TIFF", tiffinfo={274: o})) for o in range(1, 9)},
    **{f"late png {o}": (".png", late(saved("PNG"), o)) for o in (1, 3, 6, 8)},
    "damaged exif": (".jpg", saved("JPEG", exif=b"Exif\0\0garbage")),
    "nrrd": (".nrrd", b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 64 48\nencoding: raw\n\n" + bytes(3 * 64 * 48)),
}
NAMES = {what: f"{what.replace(' ', '-')}{extension}" for what, (extension, _) in TURNED.items()}


def write(root, dataset="d"):
    for what, (_, data) in TURNED.items():
        path = root / dataset / NAMES[what]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def packed(folder):
    pack(write(folder / "source"), folder / "p")


def from_a_list(folder):
    write(folder / "source")
    (folder / "images.txt").write_text("".join(f"source/d/{name}\n" for name in NAMES.values()))
    pack(folder / "images.txt", folder / "p")
    (folder / "p/images").rename(folder / "p/d")


def empty(folder):
    (folder / "first/other").mkdir(parents=True)
    (folder / "first/other/a.png").write_bytes(saved("PNG"))
    pack(folder / "first", folder / "p")
    return folder / "p"


def added(folder):
    add(empty(folder), "d", sorted((write(folder / "source") / "d").iterdir()))


def by_a_transaction(folder):
    fs = fsspec.filesystem("blobdir", fo=str(empty(folder)), skip_instance_cache=True)
    with fs.transaction:
        for what, (_, data) in TURNED.items():
            fs.pipe_file(f"d/img/{NAMES[what]}", data)


def copied_by_a_transaction(folder):
    write(folder / "source")
    fs = fsspec.filesystem("blobdir", fo=str(empty(folder)), skip_instance_cache=True)
    with fs.transaction:
        for name in NAMES.values():
            fs.put_file(str(folder / "source/d" / name), f"d/img/{name}")


@pytest.mark.parametrize("write_all", [packed, from_a_list, added, by_a_transaction, copied_by_a_transaction])
def test_the_size_that_is_written(tmp_path, write_all):
    write_all(tmp_path)
    for what, name in NAMES.items():
        says = json.loads((tmp_path / f"p/d/ann/{name}.json").read_bytes())["size"]
        assert (says["height"], says["width"]) == decode_image(TURNED[what][1]).shape[:2], what
        assert (says["height"] > says["width"]) == (what[-1] in "5678"), what
    assert verify(tmp_path / "p", decode=True, processes=1).findings == []


class Counting(io.BytesIO):
    got = 0

    def read(self, size=-1, /):
        data = super().read(size)
        self.got += len(data)
        return data


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_few_bytes_are_read(form):
    file = io.BytesIO()
    Image.effect_noise((1000, 700), 90).save(file, form)
    counting = Counting(file.getvalue())
    assert shown_size(counting) == (1000, 700)
    assert counting.got < len(file.getvalue()) / 50


@pytest.mark.parametrize(("size", "code"), [(STORED, "annotation-turned"), ((9, 9), "annotation-size")])
def test_verify_holds_annotations_to_it(tmp_path, size, code):
    packed(tmp_path)
    (tmp_path / "p/d/ann/jpg-6.jpg.json").write_bytes(annotation(size=size))
    for processes in (1, 2):
        report = verify(tmp_path / "p", decode=True, processes=processes)
        ((found, severity, examples),) = [(f.code, f.severity, f.examples) for f in report.findings]
        assert (found, severity) == (code, "error")
        assert "jpg-6.jpg is 48 x 64" in examples[0]


def given_to_a_list(folder, photo, ann):
    (folder / "a.jpg").write_bytes(photo)
    (folder / "a.json").write_bytes(ann)
    (folder / "l.csv").write_text("path,annotation\na.jpg,a.json\n")
    return [(p.code, p.message) for p in pack(folder / "l.csv", folder / "p").problems]


def given_to_add(folder, photo, ann):
    project = empty(folder)
    (folder / "a.jpg").write_bytes(photo)
    (folder / "a.json").write_bytes(ann)
    return [(p.code, p.message) for p in add(project, "d", [folder / "a.jpg"], annotations=folder).problems]


def kept_by_add(folder, photo, ann):
    project = empty(folder)
    (project / "other/ann/a.png.json").rename(project / "other/ann/a.jpg.json")
    (project / "other/ann/a.jpg.json").write_bytes(ann)
    (folder / "a.jpg").write_bytes(photo)
    problems = add(project, "other", [folder / "a.jpg"], replace=True).problems
    return [(p.code, p.message) for p in problems if p.code != "taken-over"]


def replaced_by_add(folder, photo, ann):
    (folder / "first/other").mkdir(parents=True)
    (folder / "first/other/a.jpg").write_bytes(photo)
    pack(folder / "first", folder / "p")
    (folder / "p/other/ann/a.jpg.json").write_bytes(ann)
    return [
        (p.code, p.message) for p in add(folder / "p", "other", [folder / "first/other/a.jpg"], replace=True).problems
    ]


def in_a_transaction(*steps):
    def done(folder, photo, ann):
        (folder / "first/other").mkdir(parents=True)
        (folder / "first/other/a.jpg").write_bytes(photo)
        pack(folder / "first", folder / "p")
        data = {"other/img/a.jpg": photo, "other/ann/a.jpg.json": ann}
        if len(steps) == 1 and steps[0] != "other/ann/a.jpg.json":
            (folder / "p/other/ann/a.jpg.json").write_bytes(ann)
        fs = fsspec.filesystem("blobdir", fo=str(folder / "p"), skip_instance_cache=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with fs.transaction:
                for path in steps:
                    fs.pipe_file(path, data[path])
        said = [str(w.message) for w in caught if issubclass(w.category, BlobdirWarning)]
        return [("annotation-size", text) for text in said if " says " in text]

    return done


GIVEN = {
    "a list": given_to_a_list,
    "add": given_to_add,
    "add, kept": kept_by_add,
    "add, replaced": replaced_by_add,
    "a transaction": in_a_transaction("other/img/a.jpg", "other/ann/a.jpg.json"),
    "a transaction, the annotation": in_a_transaction("other/ann/a.jpg.json"),
    "a transaction, the image": in_a_transaction("other/img/a.jpg"),
}


@pytest.mark.parametrize("how", GIVEN)
def test_an_annotation_of_another_size_is_named(tmp_path, how):
    ((code, said),) = GIVEN[how](tmp_path, saved("JPEG", exif=exif(6)), annotation(size=STORED))
    assert code == "annotation-size"
    assert "says 64 x 48, and its image is shown 48 wide and 64 high, since EXIF turns it" in said


@pytest.mark.parametrize("how", GIVEN)
def test_one_of_the_right_size_is_not(tmp_path, how):
    assert GIVEN[how](tmp_path, saved("JPEG", exif=exif(6)), annotation(size=STORED[::-1])) == []


@pytest.mark.parametrize("data", [b"", b"text" * 9, saved("PNG")[:20], b"NRRD0004\ntype: uchar\n\n"])
@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_an_image_without_a_size_is_said(tmp_path, capfd, data, quiet):
    for name in ("a.png", "b.png"):
        (tmp_path / "source/d").mkdir(parents=True, exist_ok=True)
        (tmp_path / "source/d" / name).write_bytes(data if name == "b.png" else saved("PNG"))
    assert run(["pack", *quiet, str(tmp_path / "source"), str(tmp_path / "p")]) == 7
    said = capfd.readouterr().err
    assert "no-size: d/b.png: its annotation has the size 0 x 0, since the image can't be decoded: " in said
    assert "a.png" not in said


def test_pictures_larger_than_the_limit(tmp_path, capfd, monkeypatch):
    """They are packed with their size; `--max-pixels` has them decoded, by processes beside this one too."""
    (tmp_path / "source/d").mkdir(parents=True)
    for name in ("a.png", "b.png"):
        Image.new("1", (14_000, 14_000)).save(tmp_path / "source/d" / name)
    project, sheet = str(tmp_path / "p"), tmp_path / "sheet.png"
    assert run(["pack", str(tmp_path / "source"), project]) == 0
    assert json.loads((tmp_path / "p/d/ann/a.png.json").read_bytes())["size"] == {"height": 14_000, "width": 14_000}
    for command, status in ((["verify", "--decode"], 6), (["preview", "-n1", "-o", str(sheet)], 7)):
        with monkeypatch.context() as limited:
            limited.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
            limited.setattr(_Limit, "told", False)
            assert run([*command, project]) == status
            said = "".join(capfd.readouterr())
            assert "it has 196,000,000 pixels, and 178,956,970 are the most; --max-pixels raises that" in said
            assert run([*command, "--max-pixels", "200000000", project]) == 0
            assert "Warning" not in "".join(capfd.readouterr())


def test_a_low_limit_costs_no_texts(tmp_path, capfd, monkeypatch):
    """Names in pictures are drawn, however few pixels an image may have."""
    (tmp_path / "source/d").mkdir(parents=True)
    (tmp_path / "source/d/a name that is rather long.png").write_bytes(saved("PNG"))
    project = str(tmp_path / "p")
    assert run(["pack", str(tmp_path / "source"), project]) == 0
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setattr(_Limit, "told", False)
    assert run(["preview", "--max-pixels", "10", "-o", str(tmp_path / "sheet.png"), project]) == 7
    assert "it has 3,072 pixels, and 10 are the most" in capfd.readouterr().err
