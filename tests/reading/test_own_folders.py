"""Caches are the user's own: nothing of others is read from one, nothing of others is removed."""

from __future__ import annotations

import os
import stat

import pytest
from project_factory import make_project

from blobdir import open_project, ownfolder
from blobdir.blocks import BLOCK_BYTES, BlockCache, DiskTier, Origin
from blobdir.cli.app import run
from blobdir.errors import BlobdirWarning, UsageError
from blobdir.opening import choosing, keeping

KEY = "ab" * 16


def another_user(folder, monkeypatch):
    me = os.geteuid()
    monkeypatch.setattr(ownfolder.os, "geteuid", lambda: me + 1)


OTHERS = {
    "owner": another_user,
    "everybody writes": lambda folder, _: folder.chmod(0o777),
    "group writes": lambda folder, _: folder.chmod(0o770),
    "everybody writes, sticky": lambda folder, _: folder.chmod(0o1777),
    "above": lambda folder, _: folder.parent.chmod(0o777),
    "far above": lambda folder, _: folder.parent.parent.chmod(0o777),
}


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "scratch/mine/cache"
    made.mkdir(parents=True, mode=0o700)
    return made


def fetched(folder, content):
    """A block through a cache in a folder, and whether it was fetched."""
    asked = []

    def get(ranges):
        asked.extend(ranges)
        return iter([content for _ in ranges])

    cache = BlockCache(0, DiskTier(folder, 8 << 20))
    data = cache.fetch(Origin(KEY, BLOCK_BYTES, "s3://bucket/a.tar", get), [0])[0]
    cache.flush()
    return data, bool(asked)


TRUE, EVIL = b"TRUE" * (BLOCK_BYTES // 4), b"EVIL" * (BLOCK_BYTES // 4)


@pytest.mark.parametrize("others", OTHERS)
def test_blocks_of_others(folder, monkeypatch, others):
    assert fetched(folder, EVIL) == (EVIL, True)
    assert fetched(folder, TRUE) == (EVIL, False)  # what is the user's own is believed
    OTHERS[others](folder, monkeypatch)
    with pytest.warns(BlobdirWarning, match="can't be used as a cache"):
        assert fetched(folder, TRUE) == (TRUE, True)


def test_a_parent_with_a_sticky_bit_will_do(folder):
    folder.parent.chmod(0o1777)
    assert fetched(folder, TRUE) == (TRUE, True)
    assert fetched(folder, TRUE) == (TRUE, False)


def test_a_block_that_others_can_write(folder):
    fetched(folder, EVIL)
    (block,) = [path for path in (folder / "blocks").rglob("0") if path.is_file()]
    block.chmod(0o666)
    with pytest.warns(BlobdirWarning, match="others can write it"):
        assert fetched(folder, TRUE) == (TRUE, True)


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
def test_indexes_of_others(folder, monkeypatch, others, tmp_path):
    monkeypatch.setattr(keeping, "cache_root", lambda: folder)
    monkeypatch.setattr(choosing, "STORE_ROWS", 1)
    builds = []
    build = choosing.build
    monkeypatch.setattr(choosing, "build", lambda *args: builds.append(1) or build(*args))
    root = make_project(tmp_path / "p", {f"train/img/{i}.jpg": b"%d" % i for i in range(5)})
    for path in [*root.rglob("*"), root]:
        os.utime(path, (1.5e9, 1.5e9))
    choosing.time.sleep(0.05)
    for _ in range(2):
        open_project(root)
    assert len(builds) == 1
    OTHERS[others](folder / "index", monkeypatch)
    open_project(root)
    assert len(builds) == 2


def test_modes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "cache_root", lambda: folder)
    monkeypatch.setattr(choosing, "STORE_ROWS", 1)
    before = os.umask(0)
    try:
        fetched(folder, TRUE)
        root = make_project(tmp_path / "p", {"train/img/a.jpg": b"a"})
        open_project(root, index="none")
        keeping.keep(open_project(root).tree.index, folder / "index" / ("0" * 32))
    finally:
        os.umask(before)
    found = {path: stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}
    assert len(found) > 10
    assert {mode for path, mode in found.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in found.items() if path.is_file()} == {0o600}


THEIRS = ["blocks/thesis/chapter1", "blocks/ab/chapter2", f"blocks/ab/{'0' * 30}/notes.txt", "blocks/1f", "notes.txt"]


@pytest.mark.parametrize("way", ["clear", "full", "command"])
def test_what_is_not_a_block_is_left(folder, way):
    for path in THEIRS:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("years of work")
    fetched(folder, TRUE)
    if way == "clear":
        assert DiskTier(folder, 8 << 20).clear() > 0
    elif way == "command":
        assert run(["cache", "clear", "-q", "--only", "blocks", "--cache-dir", str(folder)]) == 0
    else:
        disk = DiskTier(folder, BLOCK_BYTES + (64 << 10))
        (folder / "ledger").unlink()
        disk.write("cd" * 16, 0, EVIL, "s3://bucket/b.tar")
        assert not disk.has(KEY, 0)
    assert all((folder / path).read_text() == "years of work" for path in THEIRS)


@pytest.mark.parametrize("kind", ["index", "erofs"])
@pytest.mark.parametrize(
    "theirs", ["thesis/chapter1", f"{'0' * 32}/chapter1", f"{'0' * 32}/names.npy/gold", "notes.txt"]
)
def test_what_is_not_kept_is_left(folder, monkeypatch, kind, theirs):
    monkeypatch.setattr(keeping, "cache_root", lambda: folder)
    path = folder / kind / theirs
    path.parent.mkdir(parents=True)
    path.write_text("years of work")
    assert keeping.trim(folder / kind, limit=0) == 0
    assert path.read_text() == "years of work"


def test_nothing_of_others_is_cleared(folder, monkeypatch):
    fetched(folder, TRUE)
    another_user(folder, monkeypatch)
    disk = DiskTier(folder, 8 << 20)
    with pytest.raises(UsageError, match="another user"):
        disk.clear()
    assert any(path.is_file() for path in (folder / "blocks").rglob("*"))


@pytest.mark.parametrize("cache", ["new/.cache", "there"])
def test_nothing_is_made_in_a_folder_of_others(tmp_path, monkeypatch, cache):
    """Root with another user's environment: what root made there would keep that user from having a cache."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to have a folder of somebody else")
    root = make_project(tmp_path / "p", {"train/img/a.jpg": b"a"})
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "there").mkdir()
    for path in (theirs, theirs / "there"):
        os.chown(path, 65534, 65534)
    monkeypatch.setenv("XDG_CACHE_HOME", str(theirs / cache))
    assert run(["index", str(root)]) == 2
    assert sorted(path.name for path in theirs.rglob("*")) == ["there"]
