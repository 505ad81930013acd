"""The project that faults are planted in, and what `verify` says of it."""

from __future__ import annotations

import json
import warnings
from io import BytesIO

import pytest
from blob_builder import Builder
from PIL import Image

from blobdir.errors import BlobdirWarning
from blobdir.offsets import read_offsets
from blobdir.verifying import verify

META = {"classes": [{"title": "lemon", "shape": "rectangle", "color": "#FFFF00"}], "tags": [], "projectType": "images"}
ANNOTATION = b'{"size": {"height": 7, "width": 9}, "tags": [], "objects": []}'
COUNT = 24
PLACES = {
    "images": ("blob/a.tar", "train/a_offsets.pkl"),
    "annotations": ("val/ann.blob/n.tar", "val/ann.blob/n_offsets.pkl"),
}


def picture(seed):
    data = BytesIO()
    Image.new("RGB", (9, 7), (seed, 3, 200)).save(data, "PNG", compress_level=0)  # all of one size
    return data.getvalue()


def name(number, form="{:06d}.png"):
    return form.format(number)


@pytest.fixture
def made(tmp_path):
    """Two datasets of images called by numbers; the annotations of one are packed, and all of one size."""
    made = Builder(tmp_path / "p")
    made.loose("meta.json", json.dumps(META).encode())
    for dataset, blob, first in (("train", "a", 0), ("val", "b", 100)):
        members = {name(first + i): picture(i) for i in range(COUNT)}
        made.offsets(dataset, blob, made.tar(blob, members))
    for i in range(COUNT):
        made.loose(f"train/ann/{name(i)}.json", ANNOTATION)
    entries = made.tar("n", {f"{name(100 + i)}.json": ANNOTATION for i in range(COUNT)}, folder="val/ann.blob")
    made.offsets("val/ann.blob", "n", entries)
    sums(made)
    return made


def sums(made):
    import hashlib

    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(made.root.glob("blob/*.tar"))
    ]
    made.loose("blob/SHA256SUMS", "".join(lines).encode())


def found(made, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        report = verify(made.root, **options)
    return {(finding.code, finding.path): finding for finding in report.findings}


def codes(made, **options):
    return {code for code, _ in found(made, **options)}


def entries_of(made, place):
    return [(e.name.encode(), e.offset_start, e.offset_end) for e in read_offsets(made.root / PLACES[place][1])]


def swapped(e):
    return [e[0], (e[2][0], *e[1][1:]), (e[1][0], *e[2][1:]), *e[3:]]


def offsets_repeated(made, pickle):
    pickle.write_bytes(pickle.read_bytes() * 2)
    return "offsets-repeated"
