"""Links out of a project, pipes, devices and folders in any place: they are reported, and nothing outside is read."""

from __future__ import annotations

import ctypes
import io
import json
import os
import signal
import struct
import warnings

import pytest
from blob_builder import Builder
from PIL import Image

from blobdir.errors import BlobdirError, BlobdirWarning
from blobdir.offsets import read_offsets, write_offsets
from blobdir.verifying import repair, verify

IN_ACCESS = 1
SECRET = b'{"secret": "hash", "size": {"height": 7, "width": 9}, "tags": [], "objects": []}'
ANNOTATION = b'{"size": {"height": 7, "width": 9}, "tags": [], "objects": []}'

PLACES = {
    "blob": "blob/a.tar",
    "pickle": "train/a_offsets.pkl",
    "annotation": "train/ann/1.png.json",
    "image": "train/img/9.png",
    "side file": "train/meta/1.png.json",
    "mask": "train/masks_human/1.png",
    "checksums": "blob/SHA256SUMS",
    "packed blob": "val/ann.blob/n.tar",
    "packed pickle": "val/ann.blob/n_offsets.pkl",
    "settings": "meta.json",
    "state": ".blobdir",
    "journal": ".blobdir/journal.json",
    "lock": ".blobdir/lock",
    "released": ".blobdir/released.json",
    "staging": ".blobdir/staging",
    "index": ".blobdir/index",
    "index header": ".blobdir/index/header.json",
    "blobs": "blob",
    "annotations": "train/ann",
    "packed": "val/ann.blob",
    "dataset": "train",
}
FOLDERS = {"state", "staging", "index", "blobs", "annotations", "packed", "dataset", "image"}
"""Where a folder is nothing to be reported."""
UNSAID = {"index", "index header"}
"""What is blobdir's own, and nothing of the project: a folder or pipe there is no fault of what is verified."""
UNCHANGEABLE = {"state", "journal", "lock", "staging", "released"}
"""Where nothing can be changed, and that is said."""


def link_to(what):
    def put(path, outside):
        path.symlink_to({"file": outside / "secret", "folder": outside / "folder"}.get(what, what))

    return put


def fifo(path, outside):
    os.mkfifo(path)


def link_to_fifo(path, outside):
    os.mkfifo(outside / "pipe")
    path.symlink_to(outside / "pipe")


def folder(path, outside):
    path.mkdir()


THINGS = {
    "link to a file": link_to("file"),
    "link to a folder": link_to("folder"),
    "link to a device": link_to("/dev/zero"),
    "link to a terminal": link_to("/dev/tty"),
    "link to a pipe": link_to_fifo,
    "link to nothing": link_to("nowhere"),
    "pipe": fifo,
    "folder": folder,
}


def picture(seed):
    data = io.BytesIO()
    Image.new("RGB", (9, 7), (seed, 3, 200)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def made(tmp_path):
    made = Builder(tmp_path / "p")
    made.loose("meta.json", json.dumps({"classes": [], "tags": [], "projectType": "images"}).encode())
    for dataset, blob in (("train", "a"), ("val", "b")):
        made.offsets(dataset, blob, made.tar(blob, {f"{i}.png": picture(i) for i in range(4)}))
    for i in range(4):
        made.loose(f"train/ann/{i}.png.json", ANNOTATION)
    made.offsets(
        "val/ann.blob", "n", made.tar("n", {f"{i}.png.json": ANNOTATION for i in range(4)}, folder="val/ann.blob")
    )
    return made


@pytest.fixture
def outside(tmp_path):
    outside = tmp_path / "outside"
    (outside / "folder").mkdir(parents=True)
    (outside / "secret").write_bytes(SECRET)
    for name in ("lock", "journal.json", "released.json", "header.json", "0.png.json", "a.tar", "a_offsets.pkl"):
        (outside / "folder" / name).write_bytes(SECRET)
    return outside


class Reads:
    """Names of what is read or listed in some folders, by whatever call."""

    def __init__(self, *folders):
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for folder in folders:
            assert libc.inotify_add_watch(self._fd, os.fsencode(folder), IN_ACCESS) >= 0

    def now(self):
        """Those since the last call."""
        try:
            data, found = os.read(self._fd, 1 << 16), []
        except BlockingIOError:
            return []
        while data:
            _, _, _, length = struct.unpack_from("iIII", data)
            found.append(data[16 : 16 + length].rstrip(b"\0"))
            data = data[16 + length :]
        return found

    def close(self):
        os.close(self._fd)


@pytest.fixture
def reads(outside):
    reads = Reads(outside, outside / "folder")
    yield reads
    reads.close()


@pytest.fixture
def in_time():
    """Fails what waits for ever."""

    def late(*_):
        raise TimeoutError("waits for ever")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def contents(root):
    found = {}
    for where, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = os.path.join(where, name)
            if os.path.islink(path):
                found[path] = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    found[path] = file.read()
    return found


@pytest.mark.parametrize(
    ("place", "thing"), [(p, t) for p in PLACES for t in THINGS if t != "folder" or p not in FOLDERS]
)
def test_nothing_outside_is_read(made, outside, reads, in_time, place, thing):
    """Beside it, another pickle has entries that can be mended; so repairing goes through all of the project."""
    path = made.root / PLACES[place]
    path.parent.mkdir(parents=True, exist_ok=True)
    if os.path.lexists(path):
        path.rename(outside / "moved")
    THINGS[thing](path, outside)
    right = [(e.name.encode(), e.offset_start, e.offset_end) for e in read_offsets(made.root / "val/b_offsets.pkl")]
    write_offsets(made.root / "val/b_offsets.pkl", [(name, start + 1, end) for name, start, end in right])
    before, others = contents(made.root), contents(outside)
    assert reads.now()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        report = verify(made.root)
        assert (reads.now(), contents(made.root)) == ([], before)
        try:
            said = repair(made.root, report)
        except (BlobdirError, OSError) as error:
            said = [str(error)]
            assert place in UNCHANGEABLE, error
    assert reads.now() == []
    assert contents(outside) == others
    new = {name: data for name, data in contents(made.root).items() if before.get(name) != data}
    assert not any(b"secret" in data for data in new.values() if isinstance(data, bytes)), new
    codes = {(finding.code, finding.path) for finding in report.findings}
    if place not in UNSAID:
        examples = [example for finding in report.findings for example in finding.examples]
        named = [PLACES[place] == found for _, found in codes] + [path.name in example for example in examples]
        assert any(named), codes
    if place != "blobs":
        assert ("offset-no-member", "val/b_offsets.pkl") in codes
        is_mended = any(sentence.startswith("val/b_offsets.pkl: now has 4 images") for sentence in said)
        assert is_mended or place in UNCHANGEABLE, said
