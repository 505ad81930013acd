"""The folder of an index: nothing but an index is ever removed, and what killed runs have left is."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from project_factory import make_project

from blobdir import open_project
from blobdir.cli.app import run
from blobdir.errors import UsageError
from blobdir.index import load_index, place, save_index
from blobdir.index.table import COLUMNS
from blobdir.opening import BESIDE

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


@pytest.fixture
def root(tmp_path):
    return make_project(tmp_path / "p", {f"train/img/{i}.jpg": b"%d" % i for i in range(5)})


def snapshot(folder):
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in folder.rglob("*")
    }


def a_header(folder, text='{"made by": "another program"}'):
    folder.mkdir(parents=True)
    (folder / "header.json").write_text(text)


def a_folder_called_like_a_column(folder):
    a_header(folder)
    (folder / "names.npy/precious").mkdir(parents=True)
    (folder / "names.npy/precious/gold").write_text("gold")


def a_column(folder):
    a_header(folder)
    (folder / "size.npy").write_text("measured")


def all_columns(folder):
    a_header(folder)
    for column in COLUMNS:
        (folder / f"{column}.npy").write_bytes(b"\x93NUMPY\1\0theirs")


def no_header(folder):
    folder.mkdir(parents=True)
    (folder / "size.npy").write_text("measured")


def an_index_and(folder, change):
    make_project(folder.parent / "other", {"train/img/1.jpg": b"1"})
    open_project(folder.parent / "other", index=str(folder))
    change(folder)


def a_link(column):
    column.unlink()
    column.symlink_to("/etc/hostname")


def a_folder(column):
    column.unlink()
    column.mkdir()
    (column / "gold").write_text("gold")


def a_pipe(column):
    column.unlink()
    os.mkfifo(column)


STRANGERS = {
    "header": a_header, "folder": a_folder_called_like_a_column, "column": a_column, "all": all_columns,
    "no header": no_header,
    "empty header": lambda folder: a_header(folder, ""),
    "index and file": lambda folder: an_index_and(folder, lambda f: (f / "note.txt").write_text("mine")),
    "index and folder": lambda folder: an_index_and(folder, lambda f: a_folder(f / "names.npy")),
    "index and link": lambda folder: an_index_and(folder, lambda f: a_link(f / "names.npy")),
    "index and pipe": lambda folder: an_index_and(folder, lambda f: a_pipe(f / "slots.npy")),
}  # fmt: skip
WAYS = {
    "index -o": lambda root, folder: run(["index", "-q", "-o", str(folder), str(root)]),
    "--index": lambda root, folder: run(["info", "--index", str(folder), str(root)]),
    "index --beside": lambda root, folder: run(["index", "-q", "--beside", str(root)]),
    "open": lambda root, folder: open_project(root, index=str(folder)),
    "save": lambda root, folder: save_index(open_project(root).tree.index, folder),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stranger", STRANGERS)
def test_nothing_but_an_index_is_replaced(root, tmp_path, stranger, way):
    folder = root / BESIDE if way == "index --beside" else tmp_path / "ix"
    STRANGERS[stranger](folder)
    before = snapshot(folder)
    try:
        assert WAYS[way](root, folder) == 2
    except UsageError as error:
        assert str(folder) in str(error)
    assert snapshot(folder) == before
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".ix")] == []


@pytest.mark.parametrize("when", ["listdir", "rename", "rename_new"])
@pytest.mark.parametrize("stranger", STRANGERS)
def test_what_comes_meanwhile_is_left_alone(root, tmp_path, stranger, when, monkeypatch):
    """The folder is an index when it's looked at, and somebody else's when it's replaced."""
    folder, theirs = tmp_path / "ix", tmp_path / "theirs" / "ix"
    index = open_project(root, index=str(folder)).tree.index
    STRANGERS[stranger](theirs)
    before = snapshot(theirs)
    of = place if when == "rename_new" else os
    real = getattr(of, when)

    def late(*args, **kwargs):
        if theirs.exists() and (when != "listdir" or type(args[0]) is int):
            if folder.exists():
                Path(folder).replace(tmp_path / "gone")
            Path(theirs).replace(folder)
        return real(*args, **kwargs)

    monkeypatch.setattr(of, when, late)
    with pytest.raises((UsageError, FileExistsError)):
        save_index(index, folder)
    assert snapshot(folder) == before


DAMAGED = {
    "header cut": lambda folder: os.truncate(folder / "header.json", 2000),
    "header zeros": lambda folder: (folder / "header.json").write_bytes(bytes(3000)),
    "header empty": lambda folder: os.truncate(folder / "header.json", 0),
    "columns gone": lambda folder: [(folder / f"{column}.npy").unlink() for column in COLUMNS],
    "columns cut": lambda folder: [os.truncate(folder / f"{column}.npy", 0) for column in COLUMNS],
    "other version": lambda folder: (folder / "header.json").write_text('{"format": "blobdir index", "version": 1}'),
    "all gone": lambda folder: [path.unlink() for path in folder.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_index_is_replaced(root, tmp_path, damage):
    folder = tmp_path / "ix"
    index = open_project(root, index=str(folder)).tree.index
    DAMAGED[damage](folder)
    save_index(index, folder)
    assert len(load_index(folder)) == len(index)


def test_beside_through_a_link(root, tmp_path, monkeypatch):
    """`.blobdir` becomes a link after it was looked at."""
    index = open_project(root, index=str(root / BESIDE)).tree.index
    (tmp_path / "theirs").mkdir()
    (root / ".blobdir").rename(tmp_path / "mine")
    (root / ".blobdir").symlink_to(tmp_path / "theirs")
    with pytest.raises(UsageError, match="symbolic link"):
        save_index(index, root / BESIDE, through_link=False)
    with pytest.raises(UsageError, match="symbolic link"):
        place.replace_file(root / ".blobdir/index.tar", b"x")
    assert list((tmp_path / "theirs").iterdir()) == []


KILLED = """
import os, signal, sys
count = int(sys.argv[1])
def dying(call):
    def die(*args, **kwargs):
        global count
        count -= 1
        if not count:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return die
from blobdir.index import place
for name in ("fsync", "rename", "unlink", "rmdir", "mkdir"):
    setattr(os, name, dying(getattr(os, name)))
place.rename_new = dying(place.rename_new)
from blobdir.cli.app import run
sys.exit(run(["index", "-q", *sys.argv[2:]]))
"""


@pytest.mark.parametrize("way", ["-o", "--beside"])
@pytest.mark.parametrize("again", [False, True])
def test_what_killed_runs_leave_is_removed(root, tmp_path, way, again):
    options = [str(root), "--beside"] if way == "--beside" else [str(root), "-o", str(tmp_path / "out/ix")]
    folder = root / ".blobdir" if way == "--beside" else tmp_path / "out"
    if again:
        assert run(["index", "-q", *options]) == 0
    clean = {"ix"} if way == "-o" else {"index", "index.tar"}
    was_killed = 0
    for count in range(1, 60, 3):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", KILLED, str(count), *options], check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        was_killed += 1
        if count % 2:
            assert run(["index", "-q", *options]) == 0
            assert {path.name for path in folder.iterdir()} - {"lock"} == clean
    assert was_killed >= 3
    assert run(["index", "-q", *options]) == 0
    assert {path.name for path in folder.iterdir()} - {"lock"} == clean


def test_what_others_write_is_left(root, tmp_path):
    """A folder that is locked belongs to somebody who lives, wherever; names of others are theirs."""
    index = open_project(root, index="none").tree.index
    alive = tmp_path / ".blobdir-0123456789ab.tmp"
    alive.mkdir()
    (alive / "header.json").write_text("")
    others = [tmp_path / ".ix.backup", tmp_path / ".ix.1.0123abce.old", tmp_path / ".blobdir-0123.tmp"]
    for other in others:
        other.mkdir()
        (other / "mine").write_text("mine")
    fd = os.open(alive, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    save_index(index, tmp_path / "ix")
    assert alive.exists()
    os.close(fd)
    save_index(index, tmp_path / "ix")
    assert not alive.exists()
    assert all((other / "mine").exists() for other in others)
