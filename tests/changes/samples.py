"""What the tests of changes are made of: pictures, annotations, odd names, regular projects and blob projects."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image
from tarscan_cases import END, member

from blobdir.offsets import OffsetsTable, read_offsets, write_offsets
from blobdir.packing import PackOptions, pack

SIZE = (8, 8)
SIDE_FOLDERS = ("meta", "img_info", "seg")
META = {"classes": [], "tags": [], "projectType": "images"}
MASKS = "masks_human"

IMAGE_NAMES = (
    "a.png", "a.bmp", "a_1.png", "A.png", "000011.png", "000012.png", "11.png", "with space.png",
    "-r.png", "img.png", "é.png", "e\u0301.png", os.fsdecode(b"\xff\xfe.png"), "n" * 246 + ".png", "m" * 246 + ".png",
)  # fmt: skip
"""Of 250 bytes at most: an annotation's name has five more, and 255 are what a file system takes."""

DATASETS = (
    "train", "Train", "val", "a", "a-b", "a/datasets/b", "train/datasets/img", "train/datasets/ann",
    "train/datasets/datasets", "0", "val/datasets/é", "val/datasets/e\u0301", "d" * 255,
)  # fmt: skip
"""As folders: ``a/datasets/b`` is the dataset ``a/b``."""


def parts_of(path):
    """Dataset's folder, kind of folder (``img``, ``ann``, …), and the rest; the first two empty for other files.

    ``train/datasets/img/img/a.png`` is of the dataset ``train/datasets/img``.
    """
    parts = path.split("/")
    at = 1
    while at + 1 < len(parts) and parts[at] == "datasets":
        at += 2
    if at + 1 < len(parts) and (parts[at] in ("img", "ann", *SIDE_FOLDERS) or parts[at].startswith("masks_")):
        return "/".join(parts[:at]), parts[at], "/".join(parts[at + 1 :])
    return "", "", path


def picture(seed, size=SIZE, form="PNG"):
    """Bytes of a picture; another one for each seed, with noise in it that no other has."""
    file = io.BytesIO()
    Image.frombytes("RGB", size, random.Random(repr(seed)).randbytes(3 * size[0] * size[1])).save(file, form)
    return file.getvalue()


def picture_of(name, seed, size=SIZE):
    """Bytes of a picture in the format that its name says."""
    return picture(seed, size, "BMP" if name.endswith(".bmp") else "PNG")


def annotation(text="", size=SIZE, objects=(), tags=()):
    """Bytes of an annotation; the text makes one differ from another."""
    value = {"description": text, "tags": list(tags), "size": {"height": size[1], "width": size[0]}}
    return json.dumps(value | {"objects": list(objects)}).encode()


def box(title):
    return {"classTitle": title, "geometryType": "rectangle", "tags": [], "points": {"exterior": [[0, 0], [4, 4]]}}


def classes(*titles):
    return META | {"classes": [{"title": title, "shape": "rectangle", "color": "#FF0000"} for title in titles]}


def write(path, data):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def numbered(count=6, start=1, dataset="train", form="a{:03d}.png"):
    """``{train/a001.png: bytes}``."""
    return {f"{dataset}/{(name := form.format(i))}": picture_of(name, i) for i in range(start, start + count)}


def files_of(images: Mapping[str, bytes], meta=META):
    """All files of a regular project with these images, ``{train/a.png: bytes}``: each has an annotation of its own."""
    files = {"meta.json": json.dumps(meta).encode()}
    for path, data in images.items():
        dataset, _, name = path.rpartition("/")
        files[f"{dataset}/img/{name}"] = data
        with Image.open(io.BytesIO(data)) as image:
            files[f"{dataset}/ann/{name}.json"] = annotation(path.encode("utf-8", "surrogateescape").hex(), image.size)
    return files


def with_side_files(files: Mapping[str, bytes]):
    """The same, and for each image what stands beside it: in ``meta/``, ``img_info/``, ``seg/``, ``masks_human/``."""
    found = dict(files)
    for path in files:
        dataset, kind, name = parts_of(path)
        if kind == "img":
            found[f"{dataset}/meta/{name}.json"] = b'{"camera": "%d"}' % len(found)
            found[f"{dataset}/img_info/{name}.json"] = b'{"id": %d}' % len(found)
            found[f"{dataset}/seg/{name}.png"] = picture(f"seg {path}")
            found[f"{dataset}/{MASKS}/{name}.png"] = picture(f"mask {path}")
    return found


def write_files(folder, files: Mapping[str, bytes]):
    for path, data in files.items():
        write(Path(folder, path), data)
    return Path(folder)


def packed(root, images_or_files: Mapping[str, bytes], **options):
    """A blob project, made by `pack`, of images ``{train/a.png: bytes}`` or of all files of a regular project."""
    root = Path(root)
    files = images_or_files if "meta.json" in images_or_files else files_of(images_or_files)
    source = write_files(root.with_name(f"{root.name}.source"), files)
    pack(source, root, PackOptions(**{"processes": 1, "shard_images": 4} | options))
    shutil.rmtree(source)
    return root


def pickles(root, packed_annotations=None):
    """Offsets pickles of a project; only those of packed annotations, only others, or (None) all."""
    found = sorted(path for path in Path(root).rglob("*_offsets.pkl") if ".blobdir" not in path.parts)
    return [p for p in found if packed_annotations is None or ("ann.blob" in p.parts) == packed_annotations]


def tars(root):
    """Its blobs; none in a project whose images are all files."""
    return sorted(path for path in Path(root, "blob").glob("*") if path.suffix.lower() == ".tar")


def entries(pickle):
    return [(e.name, e.offset_start, e.offset_end) for e in read_offsets(pickle)]


def rewrite(pickle, new):
    """Other entries for a pickle; no entry is held against any tar."""
    write_offsets(pickle, OffsetsTable.from_entries(new))


def change_entries(pickle, change):
    rewrite(pickle, [change(*entry) for entry in entries(pickle)])


def shift(root, by=512):
    """Have all offsets of the images miss their members."""
    for pickle in pickles(root, False):
        change_entries(pickle, lambda name, start, end: (name, start + by, end + by))


def swap(pickle, one, other):
    """Two names of a pickle lead to each other's bytes."""
    names = {one: other, other: one}
    change_entries(pickle, lambda name, start, end: (names.get(name, name), start, end))


def files_below(root):
    """Path -> content of every file, or where a link leads, but for what is blobdir's own."""
    found = {}
    for folder, folders, names in os.walk(root):
        if ".blobdir" in folders:
            folders.remove(".blobdir")
        for name in [*names, *(f for f in folders if os.path.islink(os.path.join(folder, f)))]:
            path = os.path.join(folder, name)
            data = os.readlink(path).encode() if os.path.islink(path) else Path(path).read_bytes()
            found[os.path.relpath(path, root)] = data
    return found


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def in_tar(path, files):
    put(path, b"".join(member(name.encode(), data) for name, data in files.items()) + END)
    with tarfile.open(path) as archive:
        return {info.name: (info.offset_data, info.offset_data + info.size) for info in archive}


def used(root, stem, dataset, files, named=None):
    """A blob, and offsets of some of its members."""
    at = in_tar(root / f"blob/{stem}.tar", files)
    (root / dataset / "ann").mkdir(parents=True, exist_ok=True)
    names = named if named is not None else {name: name for name in files}
    write_offsets(root / dataset / f"{stem}_offsets.pkl", [(name, *at[of]) for name, of in names.items()])
