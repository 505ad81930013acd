"""Labels in packed files beside a set that is labelled in part: where the look inside ends, that's said."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import zipfile

import pytest
from label_cases import draw
from split_cases import messages, pack, put

from blobdir.labels import packed
from blobdir.labels.anysplits import said_in_any
from blobdir.labels.files import LabelFiles
from blobdir.labels.finding import Images

COUNT, LABELLED = 12, 3
NAMES = [f"img_{i:03d}" for i in range(COUNT)]
YOLO = b"0 0.5 0.5 0.2 0.2\n"
TEXTS = {f"labels/{name}.txt": YOLO for name in NAMES}
JSON = json.dumps([{"image": f"{name}.png", "bbox": [1, 2, 3, 4]} for name in NAMES]).encode()
NOISE = random.Random(1)
IMAGES = {f"images/{name}.png": NOISE.randbytes(30_000) for name in NAMES}


def as_zip(files):
    """A ZIP."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return held.getvalue()


def as_tar(files, mode="w"):
    """A tar, packed or not."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode=mode) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return held.getvalue()


LATE = json.dumps({"info": "x " * 400_000}).encode()[:-1] + b', "all": ' + JSON + b"}"
EMPTY_FIRST = {f"labels/{name}.txt": b"" if i < COUNT - 1 else YOLO for i, name in enumerate(NAMES)}
LOGS = {f"logs/{i}.txt": b"1 2 3 4 5\n" for i in range(60)}
FOUND = {
    "a tar with images first": ("download.tar", as_tar(IMAGES | TEXTS)),
    "a packed one": ("download.tar.gz", as_tar(IMAGES | TEXTS, "w:gz")),
    "one in bzip2": ("download.tar.bz2", as_tar(IMAGES | TEXTS, "w:bz2")),
    "one in xz": ("download.tar.xz", as_tar(IMAGES | TEXTS, "w:xz")),
    "a tar with empty texts first": ("more.tar", as_tar(EMPTY_FIRST)),
    "a zip with empty texts first": ("batch2.zip", as_zip(EMPTY_FIRST)),
    "a zip with logs first": ("export.zip", as_zip(LOGS | {"z.json": JSON})),
    "names that come late": ("all.json.gz", gzip.compress(LATE)),
    "two packed texts": ("all.json.gz", gzip.compress(b" " * 70_000) + gzip.compress(JSON)),
    "names that come late in a zip": ("all.zip", as_zip({"all.json": LATE})),
}
UNSEEN = {
    "zip in zip": ("download.zip", as_zip({"labels.zip": as_zip(TEXTS)}), "label"),
    "zip in zip, called otherwise": ("download.zip", as_zip({"part1.zip": as_zip(TEXTS)}), "label-note"),
    "zip in tar": ("download.tar", as_tar({"annotations.zip": as_zip(TEXTS)}), "label"),
    "gzip in tar in gzip": ("download.tgz", as_tar({"all.json.gz": gzip.compress(JSON)}, "w:gz"), "label-note"),
    "a table in a zip": ("download.zip", as_zip({"annotations.parquet": b"PAR1\0\0"}), "label"),
    "a tar that is cut off": ("labels.tar", as_tar(IMAGES | TEXTS)[:100_000], "label"),
    "a tar that is cut off, called otherwise": ("download.tar", as_tar(IMAGES | TEXTS)[:100_000], "label-note"),
    "a packed tar that is cut off": ("download.tar.gz", as_tar(IMAGES | TEXTS, "w:gz")[:20_000], "label-note"),
    "a zip that is cut off": ("download.zip", as_zip(TEXTS)[:400], "label-note"),
    "7-Zip": ("download.7z", b"7z\xbc\xaf\x27\x1c\0\0", "label-note"),
}
SILENT = {
    "images": ("images.zip", as_zip(IMAGES)),
    "images in a tar": ("images.tar", as_tar(IMAGES)),
    "a model": ("best.pt", as_zip({"best/data.pkl": b"\x80\x02\0", "best/data/0": bytes(999), "x.zip": as_zip({})})),
    "a document": ("notes.docx", as_zip({"word/document.xml": b"<w>hello</w>", "a.zip": as_zip(LOGS)})),
    "an empty one": ("empty.zip", as_zip({})),
}


def said(tmp_path, name, data):
    """What is said of a file beside a set of which few images have labels: the code of each message, and its text."""
    root = tmp_path / "set"
    for i, one in enumerate(NAMES):
        draw(root / f"images/{one}.png")
        if i < LABELLED:
            put(root / f"labels/{one}.txt", YOLO.decode())
    put(root / "classes.txt", "cat\n")
    (root / name).write_bytes(data)
    report, _ = pack(root, tmp_path / "out", labels="yolo")
    return [(code, text) for code in ("label", "label-note") for text in messages(report, code) if name in text[0]]


@pytest.mark.parametrize(("name", "data"), FOUND.values(), ids=FOUND)
def test_labels_behind_much_else_are_named(tmp_path, name, data):
    assert [code for code, _ in said(tmp_path, name, data)] == ["label"]


@pytest.mark.parametrize(("name", "data", "code"), UNSEEN.values(), ids=UNSEEN)
def test_what_cant_be_seen_is_never_nothing(tmp_path, name, data, code):
    ((found, text),) = said(tmp_path, name, data)
    assert found == code
    assert "seen in part" in " ".join(map(str, text))


@pytest.mark.parametrize(("name", "data"), SILENT.values(), ids=SILENT)
def test_what_has_no_labels_is_passed_by(tmp_path, name, data):
    assert said(tmp_path, name, data) == []


BOUNDS = {
    "members of a zip": ("_MEMBERS", 5, "a.zip", as_zip(LOGS | {"z.json": JSON})),
    "names in a zip": ("_NAMES", 5, "a.zip", as_zip(IMAGES | LOGS | {"z.json": JSON})),
    "members of a tar": ("_HEADERS", 5, "a.tar", as_tar(LOGS | TEXTS)),
    "the list of a zip": ("_LISTED", 100, "a.zip", as_zip(LOGS | {"z.json": JSON})),
    "bytes that are unpacked": ("_UNPACKED", 1 << 16, "a.json.gz", gzip.compress(LATE)),
    "bytes of a tar": ("_UNPACKED", 1 << 16, "a.tgz", as_tar(IMAGES | TEXTS, "w:gz")),
    "bytes of a member": ("_OF_ONE", 1 << 16, "a.zip", as_zip({"all.json": LATE})),
    "bytes of all members": ("_UNPACKED", 50, "a.zip", as_zip(LOGS | {"z.json": JSON})),
}


@pytest.mark.parametrize(("bound", "value", "name", "data"), BOUNDS.values(), ids=BOUNDS)
def test_every_bound_is_said(tmp_path, monkeypatch, bound, value, name, data):
    monkeypatch.setattr(packed, bound, value)
    ((code, text),) = said(tmp_path, name, data)
    assert code == "label-note"
    assert "seen in part" in " ".join(map(str, text))


@pytest.mark.parametrize(("name", "pack_as"), [("splits.zip", as_zip), ("splits.tar", as_tar)])
def test_splits_are_looked_for_in_one_go(tmp_path, monkeypatch, name, pack_as):
    texts = {f"labels/{i:04d}.txt": b"0 1 2\n" for i in range(300)} | {"train.txt": b"train img_000.png\n"}
    put(tmp_path / "x", "")
    (tmp_path / name).write_bytes(pack_as(texts))
    files = LabelFiles(str(tmp_path), [name])
    opened = []
    plain = files.open
    monkeypatch.setattr(files, "open", lambda path: opened.append(path) or plain(path))
    found = said_in_any(name, files, Images(["img_000.png"]))
    assert [(one.name, one.word) for one in found] == [("img_000.png", "train")]
    assert len(opened) <= 2
