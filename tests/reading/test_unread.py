"""What couldn't be read, by one user or at one moment, is nothing that the project is: nobody else inherits it."""

from __future__ import annotations

import errno
import gc
import os
import resource
import time
import warnings
from contextlib import contextmanager, suppress

import pytest
from blob_builder import Builder

from blobdir.cli.app import run
from blobdir.discovery import DiscoveryOptions
from blobdir.errors import BlobdirWarning, NotAProjectError, ReadError
from blobdir.index import load_index
from blobdir.opening import BESIDE, BESIDE_FILE, OpenOptions, choosing, open_tree
from blobdir.sources import LocalStorage

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
WHAT = {
    "offsets": "ds/b_offsets.pkl",
    "folder": "ds/ann",
    "folder of blobs": "blob",
    "linked folder": "other/img",
    "blob": "blob/b.tar",
    "one of two of a name": "ds/img/1.png",
}


@pytest.fixture
def root(tmp_path):
    builder = Builder(tmp_path / "p")
    builder.blob("ds", "b", {"1.png": b"one" * 999, "2.png": b"two" * 999})
    builder.blob("ds", "c", {"3.png": b"three"})
    builder.loose("ds/img/1.png", b"one" * 999)
    builder.loose("aside/4.png", b"four")
    builder.loose("other/ann/4.png.json", b"{}")
    (builder.root / "other/img").symlink_to("../aside")
    time.sleep(0.03)  # what was changed a moment ago is compared by content
    return builder.root


@contextmanager
def unreadable(what, code):
    """Have something in the project give an error, as another user or a disk might."""
    scan, descriptor = LocalStorage._list, LocalStorage._descriptor

    def refuse(path, folder):
        if path == what:
            raise OSError(code, os.strerror(code), path)
        return folder

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalStorage, "_list", lambda self, path, links: refuse(path, 1) and scan(self, path, links))
        patch.setattr(
            LocalStorage, "_descriptor", lambda self, path, **how: refuse(path, 1) and descriptor(self, path, **how)
        )
        yield


def seen(tree):
    return [tree.index.path(row) for row in range(len(tree.index))], [d.code for d in tree.defects]


def opened(root, index):
    return open_tree(root, options=OpenOptions(index=index))


PLACES = {
    "named": lambda root: str(root.parent / "ix"),
    "beside": lambda root: str(root / BESIDE),
    "cache": lambda _: "auto",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("what", WHAT)
def test_a_kept_index_is_true_only_where_it_cant_be_read_still(root, builds, monkeypatch, what, code, place):
    monkeypatch.setattr(choosing, "STORE_ROWS", 0)
    monkeypatch.setattr(choosing, "_is_new", lambda _: False)
    where = PLACES[place](root)
    wanted = seen(opened(root, "none"))
    assert wanted[1] == []
    with unreadable(WHAT[what], code):
        without = seen(opened(root, where))
        assert without[1]
        count = len(builds)
        assert seen(opened(root, where)) == without
        assert len(builds) == count
    assert seen(opened(root, where)) == wanted
    assert seen(opened(root, where)) == wanted


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("what", WHAT)
def test_none_is_written_beside_the_project(root, capsys, what, code):
    with unreadable(WHAT[what], code):
        assert run(["index", "--beside", str(root)]) == ReadError.exit_code
    said = capsys.readouterr().err
    assert WHAT[what] in said and "none was written" in said
    assert not (root / BESIDE).exists()
    assert not (root / BESIDE_FILE).exists()
    assert run(["index", "--beside", str(root)]) == 0
    assert load_index(root / BESIDE).header.defects == []


@pytest.mark.parametrize("what", [*WHAT.values(), ""])
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
def test_no_descriptor_left_is_no_defect(root, what, code):
    with unreadable(what, code), pytest.raises(OSError, match="files open") as caught:
        opened(root, str(root.parent / "ix"))
    assert caught.value.errno == code
    assert not isinstance(caught.value, NotAProjectError)
    assert not (root.parent / "ix").exists()


@contextmanager
def few_descriptors(free):
    """Leave this process so many descriptors."""
    gc.collect()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 60, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        for fd in taken[:free]:
            os.close(fd)
        del taken[:free]
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def many(tmp_path):
    builder = Builder(tmp_path / "many")
    for i in range(40):
        builder.blob("ds", f"b{i}", {f"{i}.png": b"%d" % i})
    open_tree(builder.root, options=OpenOptions(index="none"), hold=lambda blobs: blobs.hold())  # imports
    return builder.root


@pytest.mark.parametrize("index", ["none", "named"])
@pytest.mark.parametrize("free", [0, 1, 2, 3, 4, 6, 10, 20, 40])
def test_what_is_held_leaves_some(many, tmp_path, free, index):
    where = "none" if index == "none" else str(tmp_path / "ix")
    options = OpenOptions(DiscoveryOptions(), where)
    with warnings.catch_warnings(), few_descriptors(free):
        warnings.simplefilter("error", BlobdirWarning)
        try:
            tree = open_tree(many, options=options, hold=lambda blobs: blobs.hold())
        except OSError as error:
            assert error.errno == errno.EMFILE, repr(error)
            assert free < 8
        else:
            own = [os.open(os.devnull, os.O_RDONLY) for _ in range(max(0, free // 2 - 3))]
            for i in (3, 39, 0, 20):
                assert tree.read_whole(f"ds/img/{i}.png") == b"%d" % i
            assert tree.read_whole("ds/ann/3.png.json").startswith(b"{")
            own += [os.open(os.devnull, os.O_RDONLY) for _ in range(2)] if free >= 10 else []
            for fd in own:
                os.close(fd)
    assert open_tree(many, options=options).defects == []


def test_what_is_held_is_given_back_to_who_reads(many):
    tree = open_tree(many, options=OpenOptions(index="none"), hold=lambda blobs: blobs.hold())
    assert len(tree.blobs.held) == 40
    with few_descriptors(0):
        assert tree.read_whole("ds/ann/3.png.json").startswith(b"{")
        assert [tree.read_whole(f"ds/img/{i}.png") for i in range(40)] == [b"%d" % i for i in range(40)]
        assert tree.blobs.held
