"""Which version of a blob is read, where several processes read it that were forked from one."""

import os
import random
import subprocess
import sys

import pytest
from blob_builder import Builder
from servers import readable

import blobdir
from blobdir.cli.app import run
from blobdir.errors import SourceChangedError
from blobdir.index import FIRST_BLOB
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
    in_another(lambda: pins[1].agree(version) == version)
    assert [pins[number].get() for number in range(3)] == [None, version, None]
    assert pins[1].agree(VERSIONS[0] if version is not VERSIONS[0] else VERSIONS[1]) == version
    assert pins[1].get() == version


@pytest.mark.parametrize("version", [Stat("file", 5), Stat("file", -1, 7), Stat("file", 5, etag="x" * 300)])
def test_what_cannot_be_told_is_not(version):
    pins = Pins(2)
    for number in range(2):
        assert pins[number].agree(version) is version
    assert pins[0].get() is pins[1].get() is None


@pytest.mark.parametrize("byte", [0, 5, 12])
def test_what_is_half_written_is_not_told(byte):
    pins = Pins(1)
    pin = pins[0]
    pin.agree(VERSIONS[0])
    pins._memory[byte] ^= 1
    assert pin.get() is None
    assert pin.agree(VERSIONS[2]) == VERSIONS[2] == pins[0].get()


def test_of_two_that_tell_at_once_one_finds_out():
    pins = Pins(1)
    one, other = pins[0], pins[0]
    assert one.agree(VERSIONS[0]) == VERSIONS[0]
    pins._memory[:256] = bytes(256)  # as the other one saw it a moment ago
    assert other.agree(VERSIONS[2]) == VERSIONS[2]
    assert one.agree(VERSIONS[0]) == VERSIONS[2]


@pytest.mark.parametrize("late", ["opened before", "opened afterwards"])
def test_who_begins_late_reads_no_other_version(project, late):
    """A source that was open already when another process was told a version, of which it knows nothing."""
    blob, url = project
    train = blobdir.open_project(url)["train"]
    if late == "opened before":
        reader = train._tree.blobs
        for number in range(FIRST_BLOB, FIRST_BLOB + len(reader._index.header.blobs)):
            reader.source(number)
    in_another(lambda: train.get_blob_img_bytes("0.jpg") == IMAGES["0.jpg"])
    blob.write_bytes(blob.read_bytes().replace(IMAGES["1.jpg"], IMAGES["1.jpg"][::-1]))
    with pytest.raises(SourceChangedError):
        train.get_blob_img_bytes("1.jpg")
    with pytest.raises(SourceChangedError):
        train.get_blob_img_bytes("2.jpg")


@pytest.mark.parametrize("module", ["blobdir.blocks.spread", "blobdir.sources.pins", "blobdir.sources.remotefile"])
def test_nothing_is_imported_by_the_first_read(module):
    """What is imported by one thread while another one forks, the child waits for for ever."""
    code = (
        f"import blobdir, sys, {module}; from blobdir.blocks import Line, Spread; before = set(sys.modules);"
        "Spread(1000, Line(15)).begin(lambda n: False); print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
