"""What isn't packed is named for what it is, and with what to do."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from changes.samples import annotation, packed, picture, write
from PIL import Image

from blobdir.cli.app import run
from blobdir.packing.otherlabels import labels_hint, recognised

BOX = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
COCO = {
    "info": {"description": "x" * 100_000},
    "images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [BOX],
}
LABELS = {
    "coco": ("labels.json", json.dumps(COCO)),
    "coco without boxes": ("captions.json", json.dumps({"images": [], "annotations": []})),
    "coco, the images last": ("last.json", json.dumps({k: COCO[k] for k in ("annotations", "categories", "images")})),
    "labelme": (
        "a.json",
        json.dumps({"version": "5.0", "flags": {}, "shapes": [{"label": "cat", "shape_type": "polygon"}]}),
    ),
    "labelme with the picture": (
        "b.json",
        json.dumps({"shapes": [], "imageData": "A" * 200_000, "imagePath": "a.png"}),
    ),
    "createml": ("c.json", json.dumps([{"image": "a.png", "annotations": [{"label": "cat", "coordinates": {}}]}])),
    "voc": ("a.xml", "<annotation><folder>x</folder><filename>a.png</filename><object/></annotation>"),
    "voc with a head": ("b.xml", "<?xml version='1.0'?>\n<annotation verified='yes'>\n<size/></annotation>"),
    "cvat": (
        "annotations.xml",
        "<?xml version='1.0'?>\n<annotations><version>1.1</version><image id='0'/></annotations>",
    ),
    "yolo": ("a.txt", "0 0.5 0.5 0.1 0.1\n12 0.25 0.5 1e-3 0.2\n"),
    "yolo polygons": ("b.txt", "3 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2 " + "0.5 0.5 " * 9000),
    "yolo's data.yaml": ("data.yaml", "train: images/train\nval: images/val\nnc: 2\nnames: [cat, dog]\n"),
    "csv": ("labels.csv", "filename,width,height,class,xmin,ymin,xmax,ymax\na.png,8,8,cat,1,1,2,2\n"),
    "csv of a table": ("labels.tsv", "image_id\tx_min\ty_min\tx_max\ty_max\tclass\n"),
}


@pytest.fixture
def source(tmp_path):
    write(tmp_path / "source/d/a.png", picture(1))
    return tmp_path / "source"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("what", LABELS)
def test_labels_of_other_formats(source, tmp_path, capfd, what, mark):
    name, text = LABELS[what]
    write(source / "d" / name, (mark + text).encode())
    kind = what.split()[0].partition("'")[0].rstrip(",")
    assert recognised(str(source / "d" / name)) == kind
    assert run(["pack", str(source), str(tmp_path / "p")]) == 7
    assert f"name: d/{name}: {labels_hint(kind)}; it wasn't packed" in capfd.readouterr().err
    assert run(["pack", str(source / "d" / name), str(tmp_path / "q")]) == 2
    assert labels_hint(kind) in capfd.readouterr().err


GIF = io.BytesIO()
Image.new("P", (4, 4)).save(GIF, "GIF")
OTHERS = {
    "d.gif": (
        GIF.getvalue(),
        "is an image, and the format knows none of images that are called .gif: .bmp .jfif .jpeg",
    ),
    "photo": (picture(2), "is an image, and the format knows none of images without an extension: .bmp"),
    "notes.txt": (b"hello\n", "isn't named like an image: .bmp .jfif"),
    "empty.txt": (b"", "isn't named like an image: .bmp"),
    "a.png.json": (annotation(), "is an annotation as projects have them"),
    "list.json": (b"[1, 2]", "isn't named like an image: .bmp"),
    "broken.json": (b'{"pictures": ', "isn't named like an image: .bmp"),
    "a.xml": (b"<html/>", "isn't named like an image: .bmp"),
    "numbers.txt": (b"1 2 3\n", "isn't named like an image: .bmp"),
    "a.yaml": (b"x: 1\n", "isn't named like an image: .bmp"),
    "a.csv": (b"a,b\n1,2\n", "isn't named like an image: .bmp"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_files(source, tmp_path, capfd, name):
    data, said = OTHERS[name]
    write(source / "d" / name, data)
    assert run(["pack", str(source), str(tmp_path / "p")]) == 7
    assert f"name: d/{name}: {said}" in capfd.readouterr().err
    write(source / "meta.json", b"{}")
    write(source / "d/img/a.png", picture(1))
    write(source / "d/img" / name, data)
    assert run(["pack", str(source), str(tmp_path / "q")]) == 0
    told = capfd.readouterr().err
    assert f"not-an-image-name: d/img/{name}: {said}" in told and "; it was copied as a plain file" in told


def tar_of(path, files):
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


FILES = {
    "a snapshot": (
        lambda p: tar_of(p, {"m.json": b"{}", "images.parquet": b"PAR1" * 9}),
        "is a snapshot of the platform",
    ),
    "a snapshot by content": (lambda p: tar_of(p, {"images": b"PAR1" * 9}), "is a snapshot of the platform"),
    "a tar of a project": (lambda p: tar_of(p, {"x/meta.json": b"{}"}), "is a tar of a project: unpack it"),
    "a blob": (lambda p: tar_of(p, {"a.png": picture(1)}), "is a tar, not a blob project: it can be listed"),
    "gzip": (lambda p: p.write_bytes(b"\x1f\x8b\x08\0" * 9), "is a compressed archive (gzip)"),
    "zstd": (lambda p: p.write_bytes(b"\x28\xb5\x2f\xfd\0\0"), "is a compressed archive (Zstandard)"),
    "zip": (lambda p: p.write_bytes(b"PK\x03\x04\0\0"), "bsdtar -cf images.tar @images.zip"),
    "a table": (lambda p: p.write_bytes(b"PAR1\0\0"), "is a Parquet table"),
    "something else": (lambda p: p.write_bytes(b"hello\0"), ""),
}
COMMANDS = {
    "info": ["info", "{}"],
    "ls": ["ls", "{}"],
    "verify": ["verify", "{}"],
    "stats": ["stats", "{}"],
    "preview": ["preview", "{}", "-o", "x.png"],
    "unpack": ["unpack", "{}", "out"],
    "subset": ["subset", "{}", "out"],
    "merge": ["merge", "project", "{}"],
    "into": ["merge", "{}", "project"],
    "add": ["add", "{}", "train", "a.png"],
    "remove": ["remove", "{}", "train/a.png"],
    "compact": ["compact", "{}"],
    "fetch": ["fetch", "{}", "out"],
    "push": ["push", "{}", "memory://there"],
    "export": ["export", "erofs", "{}", "-o", "out.erofs"],
    "pack": ["pack", "{}", "out"],
}


@pytest.mark.parametrize("what", FILES)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_file_in_place_of_a_project(tmp_path, monkeypatch, capfd, command, what):
    monkeypatch.chdir(tmp_path)
    packed(tmp_path / "project", {"train/a.png": picture(1)})
    write(tmp_path / "a.png", picture(2))
    make, said = FILES[what]
    make(tmp_path / "given")
    assert run([word.format("given") for word in COMMANDS[command]]) in (2, 3)
    told = capfd.readouterr().err
    assert "given: " in told and said in told
    assert "is a file" in told or "is a tar" in told or command == "pack"


@pytest.mark.parametrize("brand", [b"mp42", b"isom", b"qt  ", b"M4V ", b"avif", b"heic", b"mif1"])
def test_films_begin_like_some_images_and_are_none(source, tmp_path, capfd, brand):
    write(source / "d/film.mp4", b"\0\0\0\x18ftyp" + brand + bytes(40))
    assert run(["pack", str(source), str(tmp_path / "p")]) in (0, 7)
    said = capfd.readouterr().err
    assert ("film.mp4: is an image" in said) == (brand in (b"avif", b"heic", b"mif1"))
    assert "film.mp4: is" in said
