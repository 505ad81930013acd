"""Labels of some images in a file that nobody reads, whatever it's called and packed in, and however few they are."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickle
import sqlite3
import tarfile
import zipfile

import pytest
from partly_cases import FORMATS, NAMES, XML, YOLO, said, written

BOXES = [f"{i + 3},{i + 4},{i + 30},{i + 40}" for i in range(8)]
VIA = {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}
MANIFEST = [
    json.dumps({"source-ref": f"s3://b/{n}.png", "x": [{"top": 1, "left": 2, "width": 3, "height": 4}]}) for n in NAMES
]
VIA_JSON = json.dumps(
    {f"{n}.png9": {"filename": f"{n}.png", "size": 9, "regions": [{"shape_attributes": VIA}]} for n in NAMES}
)
LINES = "".join(f"{name}.png {box},0\n" for name, box in zip(NAMES, BOXES, strict=True))
OF_ALL = {
    "via": {"via.json": VIA_JSON},
    "lines of numbers": {"boxes.txt": LINES},
    "a table": {
        "more.csv": "filename,region_count,region_shape_attributes\n" + "".join(f'{n}.png,1,"1 2 3 4"\n' for n in NAMES)
    },
    "json lines": {
        "metadata.jsonl": "".join(json.dumps({"file_name": f"{n}.png", "bbox": [1, 2, 3, 4]}) + "\n" for n in NAMES)
    },
    "a manifest": {"output.manifest": "\n".join(MANIFEST)},
    "an ending that nobody knows": {"boxes.v2": LINES},
    "no ending": {"boxes": LINES},
    "a copy": {"boxes.txt.bak": LINES},
    "texts of each": {f"gt/{name}.txt": "cat 1 2 30 40\n" for name in NAMES},
    "texts of each, in pixels": {f"labelTxt/{name}.txt": "1 1 9 1 9 9 1 9 cat 0\n" for name in NAMES},
}


@pytest.mark.parametrize("labelled", [3, 4, 5, 7])
@pytest.mark.parametrize("file", OF_ALL)
def test_labels_of_images_that_got_none_are_named_however_many_got_some(file, labelled, tmp_path):
    found = said(written("voc", tmp_path / "s", labelled), tmp_path / "p", "voc", OF_ALL[file])
    assert len(found["label"]) == 1 and "without labels" in found["label"][0][1], found


@pytest.mark.parametrize("file", [name for name in OF_ALL if "each" not in name])
@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_is_said_of_them_where_all_images_have_labels(kind, file, tmp_path):
    found = said(written(kind, tmp_path / "s", 8), tmp_path / "p", kind, OF_ALL[file])
    assert not found["label"], found


BACKGROUNDS = {
    "via": json.dumps(
        {
            f"{n}.png9": {"filename": f"{n}.png", "size": 9, "regions": [{"shape_attributes": VIA}] * (i < 5)}
            for i, n in enumerate(NAMES)
        }
    ),
    "lines": "".join(f"{n}.png" + " 1,2,30,40,0" * (i < 5) + "\n" for i, n in enumerate(NAMES)),
    "numbers before names": "".join("1 2 30 40 " * (i < 5) + f"{n}.png\n" for i, n in enumerate(NAMES)),
}


@pytest.mark.parametrize("file", BACKGROUNDS)
def test_backgrounds_of_which_a_file_says_nothing_have_lost_nothing(file, tmp_path):
    files = {"x.json" if file == "via" else "x.dat": BACKGROUNDS[file]}
    found = said(written("yolo", tmp_path / "s", 5), tmp_path / "p", "yolo", files)
    assert not found["label"] and not found["label-note"], found


NOTES = {
    "places": {"gps.csv": "image,lat,lon,alt,iso\n" + "".join(f"{n}.png,1.5,2.5,3,100\n" for n in NAMES)},
    "predictions": {"predictions.json": json.dumps([{"file": f"{n}.png", "bbox": [1, 2, 3, 4]} for n in NAMES])},
    "what a program says": {"run.log": "".join(f"image {n}.png: 640x480 2 cats 3 dogs 12.5 7.1 9.3\n" for n in NAMES)},
    "a page": {"boxes.md": "".join(f"| {n}.png | 1 | 2 | 30 | 40 |\n" for n in NAMES)},
}


@pytest.mark.parametrize("file", NOTES)
def test_notes_on_images_cost_nothing(file, tmp_path):
    found = said(written("yolo", tmp_path / "s", 5), tmp_path / "p", "yolo", NOTES[file])
    assert not found["label"] and len(found["label-note"]) == 1, found


def zipped(files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return data.getvalue()


def in_tar(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


EACH = {f"labels/{name}.txt": YOLO for name in NAMES}
PACKED = {
    "labels/batch2.zip": zipped(EACH),
    "export.zip": zipped({"x/boxes.txt": LINES}),
    "labels.tar.gz": in_tar(EACH),
    "boxes.txt.gz": gzip.compress(LINES.encode()),
    "boxes.json.bz2": bz2.compress(VIA_JSON.encode()),
    "via.json.xz": lzma.compress(VIA_JSON.encode()),
    "labels.7z": b"7z\xbc\xaf\x27\x1c\0\0",
    "labels/more.rar": b"Rar!\x1a\x07\0\0",
}


@pytest.mark.parametrize("file", PACKED)
@pytest.mark.parametrize("kind", FORMATS)
def test_labels_that_are_packed_are_named_with_what_to_do(kind, file, tmp_path):
    found = said(written(kind, tmp_path / "s", 5), tmp_path / "p", kind, {file: PACKED[file]})
    ((path, text),) = found["label"]
    assert path == file and "unpack it" in text


@pytest.mark.parametrize("ending", ["txt.gz", "xml.bak", "txt.bz2"])
@pytest.mark.parametrize("folder", ["images", "labels", "more"])
def test_files_of_one_image_are_known_behind_more_endings(folder, ending, tmp_path):
    pack_one = {"gz": gzip.compress, "bak": bytes, "bz2": bz2.compress}[ending.rpartition(".")[2]]
    files = {f"{folder}/{name}.{ending}": pack_one((XML * 2 + "1 2 3 4").encode()) for name in NAMES[5:]}
    found = said(written("yolo", tmp_path / "s", 5), tmp_path / "p", "yolo", files)
    ((path, text),) = found["label"]
    assert path in files and "and 2 more files" in text


@pytest.mark.parametrize("file", PACKED)
def test_what_is_packed_says_nothing_where_all_images_have_labels(file, tmp_path):
    found = said(written("yolo", tmp_path / "s", 8), tmp_path / "p", "yolo", {file: PACKED[file]})
    assert not any(found.values())


def test_images_that_are_packed_are_no_labels(tmp_path):
    files = {"images.zip": zipped({f"images/{name}.png": "x" * 99 for name in NAMES} | {"README.txt": "1 2 3 4"})}
    assert not any(said(written("yolo", tmp_path / "s", 5), tmp_path / "p", "yolo", files).values())


def database(folder):
    path = folder / "x.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table boxes (image text, x int, y int)")
        connection.executemany("insert into boxes values (?, 1, 2)", [(f"{name}.png",) for name in NAMES])
    connection.close()
    return path.read_bytes()


SHEET = {
    "xl/sharedStrings.xml": "".join(f"<si><t>{n}.png</t></si>" for n in NAMES),
    "xl/worksheets/sheet1.xml": "<v>1</v>",
}
PICKLE = pickle.dumps({f"{name}.png": [1, 2, 3, 4] for name in NAMES})
RECORDS = b"".join(bytes(12) + f"{name}.png".encode() + bytes(9) for name in NAMES)
OPAQUE = {
    "annotations.xlsx": zipped(SHEET),
    "gt.pkl": PICKLE,
    "labels.tfrecord": RECORDS,
    "ground_truth.mat": b"MATLAB 5.0" + bytes(9),
    "labels/x.parquet": b"PAR1" + RECORDS + b"PAR1",
}


@pytest.mark.parametrize("file", OPAQUE)
def test_bytes_called_for_labels_are_named_beside_images_without(file, tmp_path):
    found = said(written("voc", tmp_path / "s", 5), tmp_path / "p", "voc", {file: OPAQUE[file]})
    assert len(found["label"]) == 1, found


@pytest.mark.parametrize("file", ["boxes.db", "more.xlsx", "data.pkl", "more.tfrecord", "train.tfrecord"])
def test_other_bytes_are_said_and_cost_nothing(file, tmp_path):
    data = {"db": database(tmp_path), "xlsx": zipped(SHEET), "pkl": PICKLE, "tfrecord": RECORDS}
    files = {file: data[file.rpartition(".")[2]]}
    found = said(written("voc", tmp_path / "s", 5), tmp_path / "p", "voc", files)
    is_of_all = "boxes" in file
    assert len(found["label"]) == is_of_all and len(found["label-note"]) == (not is_of_all), found


@pytest.mark.parametrize("file", ["features.npy", "train_embeddings.pkl", "model.pt", "clip.mp4"])
def test_bytes_of_programs_are_not_named(file, tmp_path):
    found = said(written("voc", tmp_path / "s", 5), tmp_path / "p", "voc", {file: b"\x80\x04" + bytes(99)})
    assert not any(found.values())


@pytest.mark.parametrize(
    "data", [zipped(EACH)[:-40], b"PK\3\4" + bytes(99), b"\x1f\x8b\x08" + bytes(99), b"BZh9" + bytes(99)]
)
def test_what_is_packed_and_damaged_ends_nothing(data, tmp_path):
    found = said(written("yolo", tmp_path / "s", 5), tmp_path / "p", "yolo", {"labels.zip": data})
    assert len(found["label"]) == 1


def test_little_is_unpacked_of_what_would_be_huge(tmp_path):
    data = gzip.compress(bytes(8 << 20))
    found = said(written("yolo", tmp_path / "s", 5), tmp_path / "p", "yolo", {"labels.gz": data})
    assert len(found["label"]) == 1
