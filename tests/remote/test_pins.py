"""Which version of a blob is read, where several processes read it that were forked from one."""

import os
import random

import pytest
from blob_builder import Builder
from servers import readable

import blobdir
from blobdir.cli.app import run
from blobdir.errors import SourceChangedError
from blobdir.sources import Stat
from blobdir.sources.pins import Pins
from blobdir.sources.transports.web import Web

IMAGES = {f"{number}.jpg": random.Random(number).randbytes(5000) for number in range(4)}
VERSIONS = [Stat("file", 5, 1, etag="a"), Stat("file", 5, etag='W/"\u00e9\udcff'), Stat("file", 0, 7)]


@pytest.fixture
def project(nginx, tmp_path, monkeypatch):
    """(folder that is served, URL): with an index beside, made where blobs have other versions."""
    monkeypatch.setenv("BLOBDIR_CACHE_DIR", str(tmp_path / "cache"))
    www, url, _ = nginx
    made = Builder(www / tmp_path.name)
    made.blob("train", "a", IMAGES)
    assert run(["index", "-q", "--beside", str(made.root)]) == 0
    (blob,) = made.root.glob("blob/*.tar")
    os.utime(blob, (1e9, 1e9))
    readable(made.root)
    return blob, f"{url}/{tmp_path.name}"


def in_another(call):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            code = 0 if call() else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def test_all_read_the_version_that_one_has_read(project):
    blob, url = project
    train = blobdir.open_project(url)["train"]
    in_another(lambda: train.get_blob_img_bytes("0.jpg") == IMAGES["0.jpg"])
    blob.write_bytes(blob.read_bytes().replace(IMAGES["1.jpg"], IMAGES["1.jpg"][::-1]))
    with pytest.raises(SourceChangedError):
        train.get_blob_img_bytes("1.jpg")
    assert blobdir.open_project(url)["train"].get_blob_img_bytes("1.jpg") == IMAGES["1.jpg"][::-1]


def test_what_one_has_fetched_another_takes_from_the_cache(project, monkeypatch):
    _, url = project
    train = blobdir.open_project(url)["train"]

    def read():
        found = [train.get_blob_img_bytes(name) for name in IMAGES]
        train._tree.storage.cache.flush()
        return found == list(IMAGES.values())

    in_another(read)

    async def refusing(self, path, start, end, **more):
        raise AssertionError(path)

    monkeypatch.setattr(Web, "get", refusing)
    assert read()


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_told_all_know(version):
    pins = Pins(3)
    in_another(lambda: pins.tell(1, version) or pins.get(1) == version)
    assert [pins.get(number) for number in range(3)] == [None, version, None]
    pins.tell(1, VERSIONS[0] if version is not VERSIONS[0] else VERSIONS[1])
    assert pins.get(1) == version


@pytest.mark.parametrize("version", [Stat("file", 5), Stat("file", -1, 7), Stat("file", 5, etag="x" * 300)])
def test_what_cannot_be_told_is_not(version):
    pins = Pins(2)
    for number in range(2):
        pins.tell(number, version)
    assert pins.get(0) is pins.get(1) is None


@pytest.mark.parametrize("byte", [0, 5, 12])
def test_what_is_half_written_is_not_told(byte):
    pins = Pins(1)
    pins.tell(0, VERSIONS[0])
    pins._memory[byte] ^= 1
    assert pins.get(0) is None
    pins.tell(0, VERSIONS[2])
    assert pins.get(0) == VERSIONS[2]
