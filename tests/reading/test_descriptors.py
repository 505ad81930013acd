"""Descriptors are one budget of the process: what is held stays held, what is opened again is the same file."""

from __future__ import annotations

import gc
import os
import random
import resource
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from blob_builder import write_tar

from blobdir import descriptors, open_project
from blobdir.descriptors import DESCRIPTORS, Descriptors, with_room
from blobdir.errors import ReadError, SourceChangedError
from blobdir.offsets import write_offsets
from blobdir.reading import HELD_BLOBS

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

BLOBS = 150
NAMES = [f"{i:03}.jpg" for i in range(BLOBS)]


def content(name):
    return name.encode() * 20


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("descriptors") / "p"
    (root / "blob").mkdir(parents=True)
    (root / "train/ann").mkdir(parents=True)
    (root / "meta.json").write_text("{}")
    for name in NAMES:
        table = write_tar(root / f"blob/b{name[:3]}.tar", {name: content(name)})
        write_offsets(root / f"train/b{name[:3]}_offsets.pkl", table)
    return root


@pytest.fixture
def root(made, tmp_path):
    return shutil.copytree(made, tmp_path / "p")


@pytest.fixture
def limit():
    """Few descriptors, which count from those that are open by now."""
    gc.collect()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(os.listdir("/proc/self/fd")) + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def count():
    return len(os.listdir("/proc/self/fd"))


def of_project(root):
    """Those of files of a project: what other tests left open is closed at any time."""
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link).startswith(f"{root}/") for link in links)


def test_many_projects(root, limit):
    before = count()
    index = str(root.parent / "ix")
    projects = [open_project(root, index=index) for _ in range(25)]
    for project in projects:
        assert project["train"].get_blob_img_bytes("007.jpg") == content("007.jpg")
    for project in projects[::5]:
        assert project["train"].read_many(NAMES) == [content(name) for name in NAMES]
        assert all(project.filesystem.cat_file(f"train/img/{name}") == content(name) for name in NAMES)
    assert count() - before <= limit // 2
    del projects, project
    gc.collect()
    assert count() - before < 10


def test_threads_and_many_projects(root, limit):
    index = str(root.parent / "ix")
    projects = [open_project(root, index=index) for _ in range(8)]
    taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(limit - count() - 40)]  # others need most of them

    def read(seed):
        chosen = random.Random(seed)
        for _ in range(300):
            name = chosen.choice(NAMES)
            project = chosen.choice(projects)
            assert project["train"].get_blob_img_bytes(name) == content(name)
            assert project.filesystem.cat_file(f"train/img/{name}") == content(name)
            assert project.filesystem.cat_file("meta.json") == b"{}"

    try:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(read, range(16)))
    finally:
        for fd in taken:
            os.close(fd)


@pytest.mark.parametrize("way", ["one by one", "in bulk"])
@pytest.mark.parametrize("read_first", [False, True])
def test_what_is_held_stays_held(root, way, read_first, monkeypatch):
    monkeypatch.setattr(Descriptors, "room", staticmethod(lambda: sum(DESCRIPTORS._held.values()) + 128))
    fs = open_project(root, index="none").filesystem
    if read_first:
        assert [fs.cat_file(f"train/img/{name}") for name in NAMES] == [content(name) for name in NAMES]
    others = [open_project(root, index="none").filesystem for _ in range(3)]
    for other in others:
        other.cat([f"train/img/{name}" for name in NAMES])
    monkeypatch.setattr(Descriptors, "room", staticmethod(lambda: 1))
    other.cat([f"train/img/{name}" for name in NAMES])
    for i in range(HELD_BLOBS):
        (root / f"blob/b{i:03}.tar").unlink()
    held = [f"train/img/{name}" for name in NAMES[:HELD_BLOBS]]
    if way == "in bulk":
        assert fs.cat(held) == {path: content(path[-7:]) for path in held}
    else:
        assert [fs.cat_file(path) for path in held] == [content(path[-7:]) for path in held]


def test_what_is_held_stays_held_over_a_refresh(root, monkeypatch):
    monkeypatch.setattr(Descriptors, "room", staticmethod(lambda: sum(DESCRIPTORS._held.values()) + 128))
    fs = open_project(root, index="none").filesystem
    assert len(fs.view.blobs.held) == HELD_BLOBS
    monkeypatch.setattr(Descriptors, "room", staticmethod(lambda: 0))
    before = of_project(root)
    for _ in range(3):
        fs.invalidate_cache()
    assert len(fs.view.blobs.held) == HELD_BLOBS
    assert of_project(root) == before


def replaced(path):
    before = path.stat()
    new = path.with_name("new")
    new.write_bytes(bytes(reversed(path.read_bytes())))
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)


def longer(path):
    path.write_bytes(path.read_bytes() + bytes(512))


@pytest.mark.parametrize(
    ("change", "error"), [(replaced, SourceChangedError), (longer, SourceChangedError), (os.unlink, ReadError)]
)
def test_what_was_replaced_while_it_was_closed_is_an_error(root, monkeypatch, change, error):
    """Even one of the same size and time."""
    monkeypatch.setattr(Descriptors, "room", staticmethod(lambda: 8))
    monkeypatch.setattr("blobdir.reading.HELD_BLOBS", 0)
    fs = open_project(root, index="none").filesystem
    for name in NAMES:
        assert fs.cat_file(f"train/img/{name}") == content(name)
    change(root / "blob/b000.tar")
    with pytest.raises(error, match=r"b000\.tar"):
        fs.cat_file("train/img/000.jpg")
    assert fs.cat_file("train/img/001.jpg") == content("001.jpg")


def test_what_was_touched_while_it_was_closed_is_read(root, tmp_path, monkeypatch):
    """Other rights and other links are no other content."""
    monkeypatch.setattr(Descriptors, "room", staticmethod(lambda: 8))
    monkeypatch.setattr("blobdir.reading.HELD_BLOBS", 0)
    fs = open_project(root, index="none").filesystem
    for name in NAMES:
        fs.cat_file(f"train/img/{name}")
    (root / "blob/b000.tar").chmod(0o400)
    os.link(root / "blob/b001.tar", tmp_path / "link")
    for name in NAMES[:2]:
        assert fs.cat_file(f"train/img/{name}") == content(name)


class Keeper:
    def __init__(self):
        self.closed = []
        self.used = set()

    def let_go(self, key):
        self.closed.append(key)

    def was_used(self, key):
        used = key in self.used
        self.used.discard(key)
        return used


def test_the_budget(monkeypatch):
    monkeypatch.setattr(Descriptors, "room", staticmethod(lambda: 4))
    budget = Descriptors()
    one, other = Keeper(), Keeper()
    for key in range(4):
        budget.keep(one, key)
    budget.keep(other, 0)
    budget.forget(one, 1)
    budget.keep(other, 1)
    assert one.closed == [0]
    budget.keep(other, 2)
    assert one.closed == [0, 2]
    del one
    gc.collect()
    budget.keep(other, 3)  # there is room again
    assert other.closed == []
    assert budget.hold(other, 10) == 2


def test_the_least_used_is_closed(monkeypatch):
    monkeypatch.setattr(Descriptors, "room", staticmethod(lambda: 3))
    budget, keeper = Descriptors(), Keeper()
    budget.keep(keeper, "hot")
    for key in range(100):
        keeper.used.add("hot")
        budget.keep(keeper, key)
    assert keeper.closed == list(range(98))
    for key in range(100, 104):
        budget.keep(keeper, key)
    assert "hot" in keeper.closed


def test_all_are_used(monkeypatch):
    monkeypatch.setattr(Descriptors, "room", staticmethod(lambda: 3))
    budget, keeper = Descriptors(), Keeper()
    keeper.was_used = lambda _: True
    for key in range(10):
        budget.keep(keeper, key)
    assert keeper.closed == list(range(7))
    assert budget.let_go_of_some()


@pytest.mark.parametrize("way", ["cat_file", "get_blob_img_bytes", "cat", "cat_ranges", "read_into", "open"])
def test_a_hot_blob_among_many_is_opened_once(root, monkeypatch, way):
    monkeypatch.setattr(descriptors, "DESCRIPTORS", budget := Descriptors())
    monkeypatch.setattr("blobdir.reading.DESCRIPTORS", budget)
    monkeypatch.setattr(Descriptors, "room", staticmethod(lambda: 3))
    monkeypatch.setattr("blobdir.reading.HELD_BLOBS", 0)
    project = open_project(root, index="none")
    fs, tree = project.filesystem, project.tree
    opened = []
    monkeypatch.setattr(
        tree.storage,
        "open",
        lambda path, *more: opened.append(path) or type(tree.storage).open(tree.storage, path, *more),
    )

    def read_into(path):
        buffer = bytearray(200)
        return bytes(buffer[: tree.read_into(tree.find(path), 0, memoryview(buffer))])

    def by_file(path):
        with fs.open(path) as file:
            return file.read()

    read = {
        "cat_file": fs.cat_file,
        "get_blob_img_bytes": lambda path: project["train"].get_blob_img_bytes(path[-7:]),
        "cat": lambda path: fs.cat([path])[path],
        "cat_ranges": lambda path: fs.cat_ranges([path], 0, 1000)[0],
        "read_into": read_into,
        "open": by_file,
    }[way]
    hot = NAMES[7]
    for name in NAMES:
        for one in (hot, name):
            assert read(f"train/img/{one}") == content(one)
    assert opened.count("blob/b007.tar") == 1
    assert len(opened) == BLOBS


def test_who_comes_later_holds_some(monkeypatch):
    monkeypatch.setattr(Descriptors, "room", staticmethod(lambda: 64))
    budget = Descriptors()
    keepers = [Keeper() for _ in range(8)]
    assert [budget.hold(keeper, 64) for keeper in keepers] == [32, 16, 8, 4, 2, 1, 1, 0]
    del keepers[:1]
    gc.collect()
    assert budget.hold(keepers[0], 64, already=16) == 16


def test_no_descriptor_and_nothing_to_close(monkeypatch, tmp_path):
    monkeypatch.setattr(descriptors, "DESCRIPTORS", Descriptors())
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(OSError(24, "Too many open files")))
    with pytest.raises(OSError, match="Too many open files"):
        with_room(lambda: os.open(tmp_path, os.O_RDONLY))
