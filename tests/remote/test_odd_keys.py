"""Keys of buckets that can't all be files on a disk: none is lost without a word, by readers, `fetch` or `push`."""

from __future__ import annotations

import asyncio
import itertools
import random
import warnings

import fsspec
import pytest
from changes.samples import files_below, packed, picture
from fsspec.implementations.memory import MemoryFile
from web_pages import Pages

import blobdir
from blobdir.cli.app import run
from blobdir.errors import BlobdirWarning, IncompleteListingError, PackError, UsageError
from blobdir.moving import fetch, push
from blobdir.sources.keys import sort_keys

BELOW = (
    "meta.json/x",
    "train/ann/a.png.json/x",
    "train/ann/a.png.json/deep/x.png",
    "BLOB/x",
    "PICKLE/x",
    "notes.txt/x",
)
"""Keys below a file of the project."""
NO_PATHS = ("train//x.png", "a//b", "/abs", "train/../x", "./x", "train/ann/..", "train/slash/")
EMPTY = ("train/ann/", "train/ann", "train/", "train/img/", "train//", "more/", "train_$folder$", "train/ann_$folder$")
"""What tools leave for folders, with nothing in it."""
KINDS = ("memory", "s3", "azure")
ODD = [
    pytest.param(kind, key, id=f"{kind}-{key}")
    for kind in KINDS
    for key in BELOW + NO_PATHS
    if kind != "azure" or {".", ".."}.isdisjoint(key.split("/"))  # whose library takes dots away from URLs
]
CODES = ("file-and-folder", "key-no-path")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A small project."""
    root = tmp_path_factory.mktemp("keys") / "p"
    made = packed(root, {"train/a.png": picture(1), "train/b.png": picture(2), "test/c.png": picture(3)})
    (made / "notes.txt").write_text("notes")
    return made


class Memory:
    """A place that takes any key."""

    options: dict = {}  # noqa: RUF012  # as of the others
    protocol = "memory"

    def __init__(self, name):
        self.url, self.fs = f"memory://{name}/p", fsspec.filesystem("memory")

    def put(self, name, data):
        """Write to a key, whatever it's called."""
        key = f"/{self.url.removeprefix('memory://')}/{name}"
        self.fs.store[key] = MemoryFile(self.fs, key, data)
        self.fs.store[key].seek(0)

    def keys(self):
        """All names below the place, but blobdir's own."""
        start = f"/{self.url.removeprefix('memory://')}/"
        return {key[len(start) :] for key in self.fs.store if key.startswith(start) and "/.blobdir/" not in key}


class S3:
    """The same on an S3 server."""

    protocol = "s3"

    def __init__(self, name, options):
        self.bucket, self.options, self.url = name, options, f"s3://{name}/p"
        self.fs = fsspec.filesystem("s3", **options)
        self.fs.mkdir(name)

    def put(self, name, data):
        self.fs.call_s3("put_object", Bucket=self.bucket, Key=f"p/{name}", Body=data)

    def keys(self):
        found = self.fs.call_s3("list_objects_v2", Bucket=self.bucket, Prefix="p/").get("Contents", ())
        return {one["Key"][2:] for one in found if "/.blobdir/" not in one["Key"]}


class Azure:
    """The same on an Azure server."""

    protocol = "abfs"

    def __init__(self, name, options):
        self.container, self.options, self.url = name, options, f"abfs://{name}/p"
        self.fs = fsspec.filesystem("abfs", **options)
        self.fs.mkdir(name)

    def put(self, name, data):
        async def send():
            async with self.fs.service_client.get_container_client(self.container) as client:
                await client.upload_blob(f"p/{name}", data, overwrite=True)

        asyncio.run_coroutine_threadsafe(send(), self.fs.loop).result(30)

    def keys(self):
        async def names():
            async with self.fs.service_client.get_container_client(self.container) as client:
                return [name async for name in client.list_blob_names(name_starts_with="p/")]

        found = asyncio.run_coroutine_threadsafe(names(), self.fs.loop).result(30)
        return {name[2:] for name in found if "/.blobdir/" not in name}


@pytest.fixture(params=KINDS)
def place(request, project):
    """A place with the project, and no index."""
    name = f"keys{random.Random().getrandbits(40)}"
    made = {"memory": Memory, "s3": S3, "azure": Azure}[request.param]
    there = made(name) if made is Memory else made(name, request.getfixturevalue(request.param))
    push(project, there.url, storage_options=there.options, index=False)
    yield there
    if made is Memory:
        for key in [key for key in there.fs.store if key.startswith(f"/{name}/")]:
            del there.fs.store[key]
        there.fs.rm(f"/{name}", recursive=True)


def named(project, key):
    """A key with the names that the project's blob and pickle have."""
    (pickle,) = (project / "train").glob("*_offsets.pkl")
    blob = f"blob/{pickle.name.removesuffix('_offsets.pkl')}.tar"
    return key.replace("BLOB", blob).replace("PICKLE", f"train/{pickle.name}")


def opened(there):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        return blobdir.open_project(there.url, storage_options=there.options, index="none")


def options_of(there):
    return [part for key, value in there.options.items() for part in ("--storage-option", f"{key}={value}")]


@pytest.mark.parametrize(("place", "key"), ODD, indirect=["place"])
def test_what_can_be_no_file_is_said(place, project, tmp_path, key, capfd):
    name = named(project, key)
    place.put(name, b"{}")
    found = opened(place)
    said = [(defect.code, defect.path) for defect in found.defects if defect.severity == "error"]
    assert said == [(CODES[0], file)] if (file := _file_above(project, name)) else said == [(CODES[1], name)]
    for path in ("meta.json", "train/ann/a.png.json", "notes.txt"):
        assert found.filesystem.cat_file(path) == (project / path).read_bytes()
        assert found.filesystem.info(path)["type"] == "file"
    assert found["train"].read_many(["a.png", "b.png"]) == [picture(1), picture(2)]
    if not name.startswith("blob/"):
        with pytest.raises(IncompleteListingError):
            found.filesystem.find("")
        assert run(["unpack", place.url, str(tmp_path / "u"), *options_of(place)]) != 0
    capfd.readouterr()
    assert run(["info", place.url, *options_of(place)]) in (0, 7)
    assert capfd.readouterr().err.count("can't be the path" if not file else "other files lie below") <= 1


def _file_above(project, name):
    if name in NO_PATHS:
        return ""
    while not (project / name).is_file():
        name = name.rpartition("/")[0]
    return name


@pytest.mark.parametrize(("place", "key"), ODD, indirect=["place"])
def test_fetch_takes_it_for_a_defect(place, project, tmp_path, key, capfd):
    name = named(project, key)
    place.put(name, b"{}")
    with pytest.raises(PackError) as refused:
        fetch(place.url, tmp_path / "f", storage_options=place.options)
    assert name in str(refused.value)
    assert not (tmp_path / "f").exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = fetch(place.url, tmp_path / "f", storage_options=place.options, with_defects=True)
    assert list(report.left_out) == [name]
    assert report.defects == []
    assert not report.complete
    assert files_below(tmp_path / "f") == files_below(project)
    words = ["fetch", place.url, str(tmp_path / "g"), "--with-defects", "-q", *options_of(place)]
    assert run(words) == 7
    assert capfd.readouterr().err.count(name) == 1


@pytest.mark.parametrize(("place", "key"), ODD, indirect=["place"])
def test_push_takes_it_away(place, project, tmp_path, key):
    name = named(project, key)
    before = place.keys()
    place.put(name, b"{}")
    with pytest.raises(UsageError):
        push(project, place.url, storage_options=place.options)
    with pytest.raises(UsageError, match="doesn't have"):
        push(project, place.url, storage_options=place.options, resume=True)
    if place.protocol == "memory" and (name.endswith("/") or {".", ".."} & set(name.split("/"))):
        with pytest.raises(UsageError, match="own tools"):
            push(project, place.url, storage_options=place.options, delete=True)
        assert place.keys() == before | {name}
        return
    plan = push(project, place.url, storage_options=place.options, delete=True, dry_run=True)
    assert plan.deleted == [name]
    report = push(project, place.url, storage_options=place.options, delete=True)
    assert report.deleted == [name]
    assert report.complete
    assert place.keys() == before
    fetch(place.url, tmp_path / "f", storage_options=place.options)
    assert files_below(tmp_path / "f") == files_below(project)


@pytest.mark.parametrize("key", NO_PATHS[1:2] + BELOW[:1])
def test_a_place_with_nothing_else(place, project, key):
    """It isn't empty."""
    for name in place.keys():  # noqa: SIM118  # a method
        place.fs.rm_file(f"{place.url}/{name}")
    place.put(named(project, key), b"{}")
    with pytest.raises(UsageError, match="holds 1 file already"):
        push(project, place.url, storage_options=place.options)


@pytest.mark.parametrize("key", EMPTY)
def test_what_stands_for_a_folder_is_no_defect(place, project, tmp_path, key):
    place.put(key, b"")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = blobdir.open_project(place.url, storage_options=place.options, index="none")
        assert found.defects == []
        assert found.filesystem.isdir("train/ann")
        report = fetch(place.url, tmp_path / "f", storage_options=place.options)
    assert report.complete
    files = files_below(tmp_path / "f")
    assert files.pop(key, b"") == b""
    assert files == files_below(project)


def test_an_index_made_before_it_came(place, project, tmp_path):
    """It's of the same files, and doesn't know."""
    kept = tmp_path / "index"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        blobdir.open_project(place.url, storage_options=place.options, index=str(kept))
        for key, count in ((BELOW[0], 1), (NO_PATHS[0], 2)):
            place.put(key, b"{}")
            found = blobdir.open_project(place.url, storage_options=place.options, index=str(kept))
            assert len(found.defects) == count


def test_one_defect_for_many_keys(place, project):
    for i in range(20):
        place.put(f"train/ann/a.png.json/{i}", b"{}")
    found = opened(place)
    assert [defect.path for defect in found.defects] == ["train/ann/a.png.json"]
    assert "and 17 more" in found.defects[0].message


def test_a_web_server_in_front_of_a_bucket(project, tmp_path):
    """Its pages name a file and a folder; others' name each folder in both ways."""
    for keys, count in ({"meta.json/x": b"{}", "train/ann/a.png.json/x": b"{}"}, 2), ({}, 0):
        with Pages(files_below(project) | keys) as server:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BlobdirWarning)
                found = blobdir.open_project(server.url, index="none")
            assert found.filesystem.cat_file("meta.json") == (project / "meta.json").read_bytes()
            assert [defect.code for defect in found.defects] == ["file-and-folder"] * count
            report = fetch(server.url, tmp_path / f"f{count}", with_defects=True)
            assert sorted(report.left_out) == sorted(keys)
            assert files_below(tmp_path / f"f{count}") == files_below(project)


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_a_list_means_nothing(seed):
    keys = [
        ("a", "p/a", {"type": "file", "size": 3}), ("a/b", "p/a/b", {"type": "file", "size": 3}),
        ("a/b/c", "p/a/b/c", {"type": "file", "size": 3}), ("a", "p/a", {"type": "directory", "size": 0}),
        ("a/", "p/a/", {"type": "file", "size": 0}), ("d", "p/d", {"type": "file", "size": 0}),
        ("d/e", "p/d/e", {"type": "file", "size": 1}), ("f//", "p/f//", {"type": "file", "size": 0}),
    ]  # fmt: skip
    some = list(itertools.permutations(keys))
    for order in random.Random(seed).sample(some, 500):
        found = sort_keys(order)
        assert found.files.keys() == {"a", "d/e"}
        assert found.folders == {"d", "f"}
        assert {name: odd.file for name, odd in found.odd.items()} == {"a/b": "a", "a/b/c": "a"}
        assert found.markers.keys() == {"a/", "d", "f//"}
        assert [path for _, path, _ in found.faults()] == ["a"]
