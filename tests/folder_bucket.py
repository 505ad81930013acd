"""A bucket in a folder, of which nobody can see that it is on this machine, and a small project to push."""

import json
import os
import random
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.spec import AbstractFileSystem

import blobdir


class Bucket(AbstractFileSystem):
    """What is told of each call: (method, path). `before` may raise, or do something, in front of it."""

    protocol = "tested"
    cachable = False
    root = ""
    calls: ClassVar[list] = []
    before = staticmethod(lambda what, path: None)
    etags = True

    def _at(self, what, path):
        path = self._strip_protocol(path).strip("/")
        Bucket.calls.append((what, path))
        Bucket.before(what, path)
        return os.path.join(Bucket.root, path)

    def _entry(self, path):
        result = os.stat(os.path.join(Bucket.root, path))
        folder = os.path.isdir(os.path.join(Bucket.root, path))
        entry = {"name": path, "size": None if folder else result.st_size, "type": "directory" if folder else "file"}
        entry["mtime"] = float(int(result.st_mtime))
        if Bucket.etags:
            entry["ETag"] = f"{result.st_mtime_ns}-{result.st_ino}-{result.st_size}"
        return entry

    def info(self, path, **options):
        self._at("info", path)
        return self._entry(self._strip_protocol(path).strip("/"))

    def ls(self, path, detail=True, **options):
        at = self._at("ls", path)
        path = self._strip_protocol(path).strip("/")
        found = [self._entry(f"{path}/{name}") for name in sorted(os.listdir(at))] if os.path.isdir(at) else []
        if not found:
            found = [self._entry(path)]
            found = [] if os.path.isdir(at) else found
        return found if detail else [one["name"] for one in found]

    def cat_file(self, path, start=None, end=None, **options):
        return Path(self._at("read", path)).read_bytes()[start:end]

    def pipe_file(self, path, value, **options):
        at = self._at("write", path)
        os.makedirs(os.path.dirname(at), exist_ok=True)
        Path(f"{at}~").write_bytes(value)
        os.rename(f"{at}~", at)

    def put_file(self, lpath, rpath, **options):
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def rm_file(self, path):
        at = self._at("remove", path)
        os.remove(at)
        parent = os.path.dirname(at)
        while parent != Bucket.root and not os.listdir(parent):  # as in an object store: no file, no folder
            os.rmdir(parent)
            parent = os.path.dirname(parent)


@pytest.fixture
def bucket(tmp_path):
    """The folder that tested://up is."""
    fsspec.register_implementation("tested", Bucket, clobber=True)
    Bucket.root = str(tmp_path / "bucket")
    Bucket.calls = []
    Bucket.before = staticmethod(lambda what, path: None)
    Bucket.etags = True
    os.mkdir(Bucket.root)
    yield Path(Bucket.root) / "up"
    Bucket.before = staticmethod(lambda what, path: None)


def image(seed):
    return b"\xff\xd8\xff" + random.Random(seed).randbytes(2000)


def files(folder):
    """Path -> bytes of all that lies in a folder, but blobdir's own."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and ".blobdir" not in path.relative_to(folder).parts
    }


@pytest.fixture
def small(tmp_path):
    """A project of two datasets, one in the other, with annotations and side files."""
    plain = tmp_path / "plain"
    seed = 0
    for dataset in ("train", "train/datasets/hard", "val"):
        for name in ("img", "ann"):
            (plain / dataset / name).mkdir(parents=True)
        for i in range(6):
            seed += 1
            (plain / dataset / "img" / f"{i}.jpg").write_bytes(image(seed))
            annotation = {"size": {"height": 1, "width": 1}, "tags": [], "objects": [{"classTitle": f"c{i}"}]}
            (plain / dataset / "ann" / f"{i}.jpg.json").write_text(json.dumps(annotation))
        (plain / dataset / "meta").mkdir()
        (plain / dataset / "meta" / "1.jpg.json").write_text(f'{{"of": "{dataset}"}}')
    classes = [{"title": f"c{i}", "shape": "any", "color": "#FF0000"} for i in range(6)]
    (plain / "meta.json").write_text(json.dumps({"classes": classes, "tags": [], "projectType": "images"}))
    blobdir.packing.pack(plain, tmp_path / "small")
    return tmp_path / "small"
