"""The ways in which fsspec's users reach a filesystem."""

import io
import pickle

import fsspec
import pytest
from fsspec.core import url_to_fs
from fsspec.implementations.dirfs import DirFileSystem
from PIL import Image

import blobdir

NAME = "train/img/0_000010.png"


@pytest.fixture
def expected(digits_plain):
    return (digits_plain / NAME).read_bytes()


def test_entry_point(digits, expected):
    fs = fsspec.filesystem("blobdir", fo=digits)
    assert type(fs) is blobdir.BlobDirFileSystem
    assert fs.cat_file(NAME) == expected
    assert fsspec.get_filesystem_class("blobdir") is blobdir.BlobDirFileSystem
    assert fsspec.filesystem("blobdir", fo=digits) is fs


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("blobdir://{name}::{digits}", {}),
        ("blobdir://{name}::file://{digits}", {}),
        ("blobdir:///{name}::{digits}", {}),
        ("blobdir://{name}", {"fo": "{digits}"}),
        ("blobdir://{name}", {"fo": "{digits}", "target_protocol": "file"}),
        ("simplecache::blobdir://{name}::{digits}", {"simplecache": {"cache_storage": "{tmp}/cache"}}),
        ("filecache::blobdir://{name}::{digits}", {"filecache": {"cache_storage": "{tmp}/cache"}}),
        ("blockcache::blobdir://{name}::{digits}", {"blockcache": {"cache_storage": "{tmp}/cache"}}),
        ("dir::blobdir://train::{digits}", None),
    ],
)
def test_urls(digits, tmp_path, expected, url, options):
    def fill(value):
        if isinstance(value, dict):
            return {key: fill(inner) for key, inner in value.items()}
        return value.format(name=NAME, digits=digits, tmp=tmp_path)

    if options is None:
        fs = DirFileSystem("train", fsspec.filesystem("blobdir", fo=str(digits)))
        assert fs.cat_file("img/0_000010.png") == expected
        return
    with fsspec.open(fill(url), **fill(options)) as file:
        assert file.read() == expected


def test_chain_over_memory_and_zip(digits, tmp_path, expected):
    memory = fsspec.filesystem("memory")
    memory.put(str(digits), "/ways/lemons", recursive=True)
    try:
        with fsspec.open(f"blobdir://{NAME}::memory://ways/lemons") as file:
            assert file.read() == expected
        fs = fsspec.filesystem("blobdir", fo="/ways/lemons", target_protocol="memory")
        assert fs.cat_file(NAME) == expected
        assert blobdir.BlobDirFileSystem("/ways/lemons", fs=memory).cat_file(NAME) == expected
    finally:
        memory.rm("/ways", recursive=True)


def test_open_files_and_local(digits, expected):
    files = fsspec.open_files(f"blobdir://train/img/*.png::{digits}")
    assert len(files) == 24
    with files[0] as file:
        assert file.read() == expected
    local = fsspec.open_local(f"simplecache::blobdir://{NAME}::{digits}")
    with open(local, "rb") as file:
        assert file.read() == expected
    fs, path = url_to_fs(f"blobdir://{NAME}::{digits}")
    assert fs.cat_file(path) == expected


def test_unstrip_and_ids(digits):
    fs = fsspec.filesystem("blobdir", fo=str(digits))
    assert fs.unstrip_protocol(NAME) == f"blobdir://{NAME}"
    assert fs.ukey(NAME) == fs.ukey("/" + NAME)
    assert fs.ukey(NAME) != fs.ukey("train/img/0_000020.png")
    assert fs.checksum(NAME) == int(fs.ukey(NAME), 16)
    assert fs.modified(NAME).timestamp() == pytest.approx((digits / "blob/shard-0.tar").stat().st_mtime, abs=1e-3)
    assert blobdir.BlobDirFileSystem.from_json(fs.to_json()) == fs


def test_tree_of_fsspec_is_not_shadowed(digits):
    fs = fsspec.filesystem("blobdir", fo=str(digits))
    assert "meta.json" in fs.tree()


def test_pillow_reads_from_open_files(digits, expected):
    fs = fsspec.filesystem("blobdir", fo=str(digits))
    with fs.open(NAME) as file, Image.open(file) as image:
        image.load()
        assert image.tobytes() == Image.open(io.BytesIO(expected)).tobytes()
    assert pickle.loads(pickle.dumps(fs.open(NAME))).read() == expected
