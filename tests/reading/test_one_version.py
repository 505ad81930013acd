"""An open loose file is one version of it, however it's read and whatever happens to it meanwhile."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time

import fsspec
import pytest
from fsspec.callbacks import Callback
from replaced import Replaced

import blobdir
from blobdir.descriptors import DESCRIPTORS
from blobdir.errors import SourceChangedError

SIZE = 600_000
"""More than what is read whole behind a backend."""
PATH = "train/video/v.mp4"
SIZES = {"same size": SIZE, "shorter": SIZE // 2, "longer": SIZE * 2}


class InMemory:
    """A project behind ``memory://``."""

    def __init__(self, root: str) -> None:
        self.fs, self.url = fsspec.filesystem("memory"), f"memory://{root}"
        self.fs.pipe_file(f"{root}/meta.json", b"{}")
        self.file = f"{root}/{PATH}"

    def put(self, letter: bytes, size: int, how: str = "renamed") -> None:
        self.fs.pipe_file(self.file, letter * size)


@pytest.fixture(params=["local", "memory", "http"])
def project(request, tmp_path):
    if request.param == "local":
        yield Replaced(tmp_path / "p", PATH)
    elif request.param == "memory":
        made = InMemory(f"one_version/{tmp_path.name}")
        yield made
        made.fs.rm("/one_version", recursive=True)
    else:
        www, url, _ = request.getfixturevalue("nginx")
        yield Replaced(www / f"one_version-{tmp_path.name}", PATH, f"{url}/one_version-{tmp_path.name}")


def opened(project, **options):
    return fsspec.filesystem("blobdir", fo=project.url, cache_size=0, skip_instance_cache=True, **options)


def rest_of(file):
    """What is read on, or the error; it's given each time."""
    try:
        return file.read()
    except SourceChangedError:
        for _ in range(2):
            with pytest.raises(SourceChangedError, match=r"v\.mp4.*open it again"):
                file.read()
        return None


@pytest.mark.parametrize("how", ["renamed", "in place"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("second", [False, True], ids=["one reader", "two readers"])
def test_an_open_file(project, second, size, how):
    project.put(b"A", SIZE)
    fs = opened(project)
    with fs.open(PATH, block_size=1 << 16) as file:
        got = file.read(100_000)
        project.put(b"B", size, how)
        if second:
            with fs.open(PATH) as other:
                assert other.size == size
                assert other.read() == b"B" * size
        rest = rest_of(file)
        assert file.size == SIZE
    assert rest is None or got + rest == b"A" * SIZE
    assert (rest is not None) == (project.url.startswith("/") and how == "renamed")
    assert fs.cat_file(PATH) == b"B" * size


@pytest.mark.parametrize("how", ["renamed", "in place", "linked", "removed"])
@pytest.mark.parametrize("is_closed", [False, True])
def test_an_open_file_and_its_times(tmp_path, how, is_closed):
    """Size and time can be as they were (`cp -p`); and the time of change isn't, where only a name has come or gone."""
    project = Replaced(tmp_path / "p", PATH)
    project.put(b"A", SIZE)
    with opened(project).open(PATH, block_size=1 << 16) as file:
        got = file.read(100_000)
        project.ticks -= 10
        if how == "linked":
            os.link(project.file, tmp_path / "another")
        elif how == "removed":
            project.file.unlink()
        else:
            project.put(b"B", SIZE, how)
        if is_closed:
            file._opened.let_go(0)
        if how == "removed" and is_closed:
            with pytest.raises(FileNotFoundError):
                file.read()
            return
        rest = rest_of(file)
    assert rest is None or got + rest == b"A" * SIZE
    assert (rest is not None) == (how in ("linked", "removed") or (how == "renamed" and not is_closed))


@pytest.mark.parametrize("size", [0, 5, SIZE // 2])
@pytest.mark.parametrize("read", ["cat_file", "cat_ranges", "open"])
def test_a_part_behind_the_end_that_it_has_now(project, read, size):
    """Whatever a server says who is asked for bytes that aren't there."""
    project.put(b"A", SIZE)
    fs = opened(project)
    assert fs.cat_file(PATH) == b"A" * SIZE
    with fs.open(PATH, block_size=1 << 16) as file:
        file.read(10)
        project.put(b"B", size)
        if read == "open":
            file.seek(size + 70_000)
            assert rest_of(file) in (None, b"A" * (SIZE - size - 70_000))
    half = b"B" * (size - size // 2)
    for low, high, wanted in ((size + 1, size + 10, b""), (-3, None, half[-3:]), (size // 2, size + 9, half)):
        got = fs.cat_file(PATH, low, high) if read != "cat_ranges" else fs.cat_ranges([PATH], low, high)[0]
        assert got == wanted


@pytest.mark.parametrize("how", ["renamed", "in place"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("way", ["get_file", "get", "outfile"])
def test_a_copy(project, way, size, how, monkeypatch, tmp_path):
    """Of several pieces: what is there already stays where it can't be copied whole."""
    monkeypatch.setattr("blobdir.exporting._COPY_BYTES", 100_000)
    project.put(b"A", SIZE)
    fs = opened(project)
    target = tmp_path / "copy"
    target.write_bytes(b"before")

    class Replacing(Callback):
        def relative_update(self, inc=1):
            if inc == 100_000 and not self.kw:
                self.kw["done"] = True
                project.put(b"B", size, how)

        def branched(self, *args, **kwargs):
            return self

    try:
        if way == "outfile":
            with open(target, "wb") as outfile:
                fs.get_file(PATH, None, callback=Replacing(), outfile=outfile)
        else:
            getattr(fs, way)(PATH, str(target), callback=Replacing())
    except SourceChangedError:
        assert way == "outfile" or target.read_bytes() == b"before"
    else:
        assert target.read_bytes() == b"A" * SIZE


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_file_whose_descriptor_was_closed(tmp_path, size):
    """The process may need it for another one; then it's opened again, if it's the same."""
    project = Replaced(tmp_path / "p", PATH)
    project.put(b"A", SIZE)
    with opened(project).open(PATH, block_size=1 << 16) as file:
        got = file.read(100_000)
        while DESCRIPTORS.let_go_of_some():
            pass
        got += file.read(200_000)
        assert got == b"A" * 300_000
        while DESCRIPTORS.let_go_of_some():
            pass
        project.put(b"B", size)
        assert rest_of(file) is None


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_an_open_file_in_a_pickle(tmp_path, size):
    project = Replaced(tmp_path / "p", PATH)
    project.put(b"A", SIZE)
    with opened(project).open(PATH, block_size=1 << 16) as file:
        file.read(1000)
        pickled = pickle.dumps(file)
        with pickle.loads(pickled) as same:
            assert same.read() == b"A" * (SIZE - 1000)
        project.put(b"B", size)
        with pytest.raises(SourceChangedError, match=r"v\.mp4.*open it again"):
            pickle.loads(pickled)


def test_a_small_file_that_was_edited_since_it_was_listed(project):
    project.put(b"A", 1000)
    fs = opened(project)
    project.put(b"B", 2000)
    with fs.open(PATH) as file:
        assert (file.size, file.read()) == (2000, b"B" * 2000)
        project.put(b"C", 100)
        file.seek(0)
        assert file.read() == b"B" * 2000


def test_cat_to_a_pipe(tmp_path):
    """`blobdir cat` is in the middle of a file when another one takes its name."""
    project = Replaced(tmp_path / "p", PATH)
    size = 200_000_000
    project.put(b"A", size)
    command = [sys.executable, "-m", "blobdir", "cat", f"{project.url}/{PATH}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"}) as running:
        assert running.stdout is not None
        got = [running.stdout.read(1000)]
        time.sleep(0.1)
        project.put(b"B", size)
        seen = set(got[0])
        while data := running.stdout.read(1 << 20):
            seen |= set(data)
    assert seen == set(b"A")
    assert blobdir.open_project(project.url).filesystem.size(PATH) == size
