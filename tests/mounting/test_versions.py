"""A loose file that is replaced while it's read through a mount: nobody gets some of each."""

from __future__ import annotations

import errno
import mmap
import os
import threading
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from replaced import Replaced

import blobdir
from blobdir.mounting.versions import local_tag, same_version
from blobdir.sources import RemoteOptions, Stat

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


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_read_while_it_was_written_is_nothing_to_later_readers(mount, place, tmp_path, engine):
    """A file has the time of a write from when that begins: it looks the same before its end and after it."""
    size = 32 << 20
    project = project_at(tmp_path / "p")
    path = tmp_path / "p" / PATH
    path.write_bytes(bytes(size))
    mount(project.url, engine=engine)

    def write(content):
        with open(path, "r+b", buffering=0) as file:
            file.write(content)

    def read():
        with open(place / PATH, "rb") as file, suppress(OSError):
            file.seek(-65536, os.SEEK_END)
            end = file.read()
            file.seek(0)
            return file.read(size - 65536) + end

    for letter in (b"A", b"B", b"C", b"D"):
        writer = threading.Thread(target=write, args=(letter * size,))
        writer.start()
        read()
        writer.join()
        time.sleep(0.3)
        assert set(whole(place / PATH)) == set(letter)


VERSION = Stat("file", 300_000_000, 0, inode=7, ctime_ns=10**18)


@pytest.mark.parametrize("tag", [None, 0, 1, 0x3FF, 0x400, 0xFFFFFFFF])
def test_tags_of_what_was_just_changed(tag, monkeypatch):
    if tag is not None:
        monkeypatch.setattr(Stat, "tag", tag)
    ages = [-(10**10), 0, 50_000_000, 150_000_000, 4_900_000_000, 5_000_000_000, 10**15]
    tags = [local_tag(VERSION, 10**18 + age) for age in ages]
    assert len(set(tags[1:6])) == 4  # two within a tenth of a second are one
    assert tags[1] == tags[2]
    assert tags[5] == tags[6]
    assert all(0 < tag < 1 << 32 for tag in tags)
    assert all(same_version(a, b) for a in tags for b in tags)


def test_tags_of_versions():
    others = [replace(VERSION, ctime_ns=10**18 + i) for i in range(1, 50)]
    for age in (0, 10**12):
        mine = local_tag(VERSION, 10**18 + age)
        assert not any(same_version(mine, local_tag(other, 10**18 + age)) for other in others)
