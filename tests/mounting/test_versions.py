"""A loose file that is replaced while it's read through a mount: nobody gets some of each."""

from __future__ import annotations

import errno
import mmap
import os
import time
from contextlib import suppress

import pytest
from replaced import Replaced

import blobdir
from blobdir.sources import RemoteOptions

SIZE = 3_000_000
PATH = "train/img/loose.png"
SIZES = {"same size": SIZE, "shorter": SIZE // 3, "longer": SIZE * 2}
ENGINES = ["native", "fusepy"]
REFUSALS = (errno.EIO, errno.ESTALE)


def project_at(root, url=""):
    made = Replaced(root, PATH, url)
    made.put(b"A", SIZE)
    return made


@pytest.fixture(params=["local", "http"])
def project(request, tmp_path):
    if request.param == "local":
        return project_at(tmp_path / "p")
    www, url, _ = request.getfixturevalue("nginx")
    return project_at(www / f"versions-{tmp_path.name}", f"{url}/versions-{tmp_path.name}")


def rest_of(descriptor):
    """What is read on; what came before an error, which is given each time."""
    got = b""
    while True:
        try:
            data = os.read(descriptor, 1 << 20)
        except OSError as error:
            assert error.errno in REFUSALS
            for _ in range(3):
                with pytest.raises(OSError, match="Input/output|Stale"):
                    os.read(descriptor, 1 << 20)
            return got, False
        if not data:
            return got, True
        got += data


def whole(path, seconds=3.0):
    """The file as somebody gets it who opens it now; behind a server, the first one may have to find out."""
    end = time.monotonic() + seconds
    while True:
        try:
            return path.read_bytes()
        except OSError as error:
            assert error.errno in REFUSALS
            assert time.monotonic() < end


def mapped(path, size, seconds=3.0):
    """The file by `mmap`, as soon as its new size is known and it can be mapped."""
    end = time.monotonic() + seconds
    while True:
        with suppress(OSError), open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as found:
            if path.stat().st_size == size:
                return found[:]
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("how", ["renamed", "in place"])
@pytest.mark.parametrize("second", [False, True], ids=["one reader", "two readers"])
def test_a_reader_in_the_middle(mount, place, tmp_path, project, engine, size, how, second):
    mount(project.url, engine=engine, remote=RemoteOptions(tmp_path / "cache"), workers=2)
    ours = place / PATH
    descriptor = os.open(ours, os.O_RDONLY)
    try:
        got = os.read(descriptor, 200_000)
        project.put(b"B", size, how)
        if second:
            assert whole(ours) == b"B" * size
            assert ours.stat().st_ino == os.stat(ours).st_ino
        rest, is_end = rest_of(descriptor)
    finally:
        os.close(descriptor)
    assert set(got + rest) == set(b"A")
    assert len(got + rest) == SIZE or not is_end
    assert whole(ours) == b"B" * size
    assert mapped(ours, size) == b"B" * size


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [0, 5, SIZE // 3, SIZE, 2 * SIZE])
@pytest.mark.parametrize("before", ["read", "read in part", "not read"])
def test_who_opens_it_later(mount, place, tmp_path, project, engine, size, before):
    """Sees what is there now, whatever lies in the kernel's pages; and that it's gone."""
    mount(project.url, engine=engine, remote=RemoteOptions(tmp_path / "cache"), workers=2)
    ours = place / PATH
    if before != "not read":
        with open(ours, "rb", buffering=0) as file:
            assert set(file.read(SIZE if before == "read" else 1000)) == set(b"A")
    project.put(b"B", size)
    time.sleep(1.2)
    assert whole(ours) == b"B" * size
    time.sleep(0.2)  # for so long the kernel may keep attributes
    assert ours.stat().st_size == size
    project.file.unlink()
    time.sleep(1.2)
    with pytest.raises(FileNotFoundError):
        ours.read_bytes()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["renamed", "in place"])
def test_same_size_and_time(mount, place, tmp_path, engine, how):
    """As `rsync -t` and `cp -p` may leave it: another file, or the same one, and only its time of change tells."""
    project = project_at(tmp_path / "p")
    mount(project.url, engine=engine)
    with open(place / PATH, "rb", buffering=0) as file:
        got = file.read(200_000)
        project.ticks -= 10
        project.put(b"B", SIZE, how)
        assert whole(place / PATH) == b"B" * SIZE
        rest, is_end = rest_of(file.fileno())
    assert set(got + rest) == set(b"A")
    assert len(got + rest) == SIZE or not is_end


@pytest.mark.parametrize("engine", ENGINES)
def test_many_versions(mount, place, tmp_path, engine):
    """Readers of several versions at once, each opened at its time."""
    project = project_at(tmp_path / "p")
    mount(project.url, engine=engine)
    opened = []
    for letter, size in ((b"A", SIZE), (b"B", SIZE), (b"C", SIZE // 2), (b"D", SIZE * 2)):
        project.put(letter, size)
        descriptor = os.open(place / PATH, os.O_RDONLY)
        opened.append((descriptor, letter, size, os.read(descriptor, 1000)))
    for descriptor, letter, size, got in opened:
        rest, is_end = rest_of(descriptor)
        assert set(got + rest) == set(letter)
        assert len(got + rest) == size or not is_end
        os.close(descriptor)
    assert is_end
    assert blobdir.open_project(project.url).filesystem.size(PATH) == SIZE * 2
