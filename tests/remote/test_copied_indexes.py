"""An index beside a project goes with it wherever it's copied, by whatever tool; versions of blobs are others there."""

import os
import time
from datetime import UTC, datetime

import fsspec
import pytest
from project_factory import make_project
from servers import readable

from blobdir import open_project
from blobdir.cli.app import run
from blobdir.discovery import DiscoveryOptions
from blobdir.errors import SourceChangedError
from blobdir.opening import save_beside
from blobdir.opening.choosing import build
from blobdir.sources import open_storage
from blobdir.sources.transports import stat_of

FILES = {f"train/img/{name}.jpg": name.encode() * 700 for name in "abc"}


class Place:
    """A folder somewhere: its URL with options, and how files get there without blobdir."""

    def __init__(self, kind, name, request, tmp_path):
        self.options, self.folder = {}, f"{name}/p"
        self.fs = fsspec.filesystem("file")
        if kind == "s3":
            self.options = request.getfixturevalue("s3")
            self.fs = fsspec.filesystem("s3", **self.options)
            self.fs.mkdir(name)
        elif kind == "memory":
            self.fs, self.folder = fsspec.filesystem("memory"), f"/{name}/p"
        elif kind == "http":
            www, plain, _ = request.getfixturevalue("nginx")
            self.folder = f"{www}/{name}/p"
        else:
            self.folder = f"{tmp_path}/{name}/p"
        self.url = f"{plain}/{name}/p" if kind == "http" else f"{kind}://{self.folder.lstrip('/' * (kind != 'file'))}"

    def copy_to(self, other):
        for path in self.fs.find(self.folder):
            target = f"{other.folder}{path[len(self.folder) :]}"
            other.fs.makedirs(os.path.dirname(target), exist_ok=True)
            other.fs.pipe_file(target, self.fs.cat_file(path))
        if other.url.startswith("http"):
            readable(other.folder)

    def index(self):
        if self.url.startswith("file"):
            assert run(["index", "-q", "--beside", self.folder]) == 0
        else:
            storage = open_storage(self.url, options=self.options)
            save_beside(build(storage, DiscoveryOptions()), storage)

    def open(self):
        return open_project(self.url, storage_options=self.options, cache_size=0, memory_size=0)


@pytest.mark.parametrize("target", ["memory", "s3", "http"])
@pytest.mark.parametrize("source", ["file", "memory", "s3"])
def test_a_copy_by_other_tools_is_read_with_its_index(request, source, target, tmp_path, builds):
    made, first, second = (
        Place(kind, f"{source}-to-{target}-{i}", request, tmp_path)
        for i, kind in enumerate(("file", source, target))
    )  # fmt: skip
    make_project(tmp_path / f"{source}-to-{target}-0/p", FILES)
    made.copy_to(first)
    time.sleep(0.05)
    first.index()
    time.sleep(1.1)  # some places have whole seconds
    first.copy_to(second)
    builds.clear()
    for _ in range(2):
        train = second.open()["train"]
        assert [train.get_blob_img_bytes(f"{name}.jpg") for name in "abc"] == list(FILES.values())
        assert second.open()["train"].read_many(["a.jpg", "c.jpg"]) == [FILES[f"train/img/{n}.jpg"] for n in "ac"]
    assert builds == []
    (blob,) = second.fs.find(f"{second.folder}/blob")
    time.sleep(1.1)
    second.fs.pipe_file(blob, second.fs.cat_file(blob).replace(b"aaaa", b"eeee"))
    with pytest.raises(SourceChangedError):
        train.get_blob_img_bytes("a.jpg")


MADE, WRITTEN = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    "said",
    [
        {"created": MADE.timestamp(), "mtime": WRITTEN.timestamp()},
        {"time": MADE, "mtime": WRITTEN},
        {"LastModified": WRITTEN},
        {"creation_time": MADE, "last_modified": WRITTEN},
        {"timeCreated": MADE, "updated": WRITTEN},
        {"created": MADE, "modified": WRITTEN},
        {"modify": "20260203040506.000"},
        {"accessTime": 0, "modificationTime": int(WRITTEN.timestamp() * 1000)},
        {"created": WRITTEN},
    ],
    ids=["local", "sftp", "s3", "azure", "gcs", "webdav", "ftp", "webhdfs", "memory"],
)
def test_the_time_of_a_version_is_when_it_was_written(said):
    assert stat_of({"type": "file", "size": 1, **said}).mtime_ns == int(WRITTEN.timestamp()) * 10**9
