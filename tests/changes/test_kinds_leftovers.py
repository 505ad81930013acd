"""Each kind of fault of what dead processes leave: it's nobody's data, and it goes; what a living one writes stays."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from changes.children import Child, watch
from changes.looking import faults, shown
from changes.samples import files_of, numbered, packed, picture, tars, write, write_files

import blobdir
from blobdir.cli.app import run
from blobdir.errors import BlobdirError
from blobdir.moving import fetch, push
from blobdir.packing import PackOptions, SubsetOptions, add, compact, merge, move, pack, recover, remove, subset
from blobdir.temporary import clean, is_owned, is_temporary, new_file, new_folder
from blobdir.verifying import repair, verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
LEFT = ".blobdir-0123456789ab.tmp"


def left_below(root):
    return sorted(str(path.relative_to(root)) for path in Path(root).rglob("*") if is_temporary(path.name))


def _cli(*arguments):
    if run([str(argument) for argument in arguments]):
        raise BlobdirError("refused")


# -- who writes --------------------------------------------------------------------------------------------------

WRITERS = {
    "offsets": lambda base: _cli("offsets", "-q", "--replace", "-o", base / "p/train", tars(base / "p")[0]),
    "index": lambda base: _cli("index", "-q", "-o", base / "index", base / "p"),
    "index in the project": lambda base: _cli("index", "-q", "-o", base / "p/.blobdir/ix", base / "p"),
    "index beside": lambda base: _cli("index", "-q", "--beside", base / "p"),
    "unpack": lambda base: _cli("unpack", "-q", "-f", base / "p", base / "out"),
    "cp": lambda base: _cli("cp", "-q", "-f", "-r", base / "p/train", base / "out"),
    "get": lambda base: blobdir.open_project(base / "p").filesystem.get_file("meta.json", str(base / "out.json")),
    "export": lambda base: _cli("export", "-q", "--replace", "-o", base / "image", "erofs", base / "p"),
    "add": lambda base: add(base / "p", "train", [write(base / "new.png", picture("new"))], replace=True),
    "pack": lambda base: pack(base / "source", base / "made", PackOptions(processes=1), resume=_begun(base, "packing")),
    "subset": lambda base: subset(base / "p", base / "made"),
    "fetch": lambda base: fetch(f"memory://{base.name}", base / "made", resume=_begun(base, "fetching")),
    "fetch some": lambda base: fetch(
        f"memory://{base.name}", base / "made", resume=_begun(base, "fetching"),
        choose=SubsetOptions(patterns=("train/*",)),
    ),
    "create": lambda base: blobdir.Project.create(base / "made"),
}  # fmt: skip


SILENT = ("subset", "fetch", "create")
"""Commands that write into a folder of their own, and give nothing in it its name at the end."""


def _begun(base, what):
    return (base / f"made.{what}").exists()


@pytest.fixture
def base(tmp_path):
    files = files_of(numbered(5))
    packed(tmp_path / "p", files)
    write_files(tmp_path / "source", files)
    push(tmp_path / "p", f"memory://{tmp_path.name}")
    (tmp_path / "out").mkdir()
    return tmp_path


def _begins(event, arguments):
    """When something that is being written gets its name; of an index, when its last column is written."""
    if event == "open":
        return isinstance(arguments[0], str) and os.path.basename(arguments[0]) == "slots.npy"
    return event == "os.rename" and is_temporary(os.path.basename(os.fspath(arguments[0])))


@pytest.mark.parametrize("command", WRITERS)
def test_the_next_run_removes_what_a_killed_one_has_left(base, command):
    with Child(lambda: WRITERS[command](base), lambda: watch(_begins, signal.SIGKILL)) as child:
        killed = child.ended() == -signal.SIGKILL
    assert killed or command in SILENT
    if not killed:
        return
    shutil.rmtree(base / "made", ignore_errors=True)
    assert left_below(base) or command == "add"
    WRITERS[command](base)
    found = [path for path in left_below(base) if "out.json" not in path]
    assert found == [] or (command == "get" and found)
    assert faults(base / "p") == []


@pytest.mark.parametrize("command", WRITERS)
def test_what_a_living_one_writes_stays(base, command):
    """Others write into the same folders meanwhile; it's neither removed nor shown, packed, or called a leftover."""
    shown_before = shown(base / "p")

    with stopped_at_first(lambda: WRITERS[command](base)) as go_on:
        if go_on is None:
            assert command in SILENT
            return
        left = left_below(base)
        assert left
        assert all(is_owned(base / path) for path in left)
        for path in left:
            clean((base / path).parent)
        assert left_below(base) == left
        assert shown(base / "p") == shown_before
        if command != "add":
            findings = verify(base / "p", processes=1).findings
            assert not [f for f in findings if f.code == "change-leftover" and is_temporary(os.path.basename(f.path))]
        assert go_on() == 0
    assert left_below(base) == []


class stopped_at_first:  # noqa: N801  # used like a function
    """As `stopped_at`; gives None where a command writes nothing in that way."""

    def __init__(self, operation):
        self._child = Child(operation, lambda: watch(_begins, signal.SIGSTOP))

    def __enter__(self):
        self._child.__enter__()
        return self._go_on if self._child.stopped() else None

    def _go_on(self):
        self._child.go_on()
        return self._child.ended()

    def __exit__(self, *error):
        self._child.__exit__(*error)


# -- whose it is -------------------------------------------------------------------------------------------------


def _plant(root):
    """Files and a folder of dead processes, everywhere in a project."""
    places = [root, root / "train", root / "train/img", root / "train/ann", root / "blob", root / "sub/deep"]
    for place in places:
        write(place / LEFT, b"half")
    write(root / "train/ann" / LEFT.replace("0", "f") / "x.npy", b"half of an index")
    return left_below(root)


READERS = {
    "subset": subset,
    "merge": lambda root, made: (blobdir.Project.create(made), merge(made, root)),
    "merge by copying": lambda root, made: (blobdir.Project.create(made), merge(made, root, copy=True)),
    "push and fetch": lambda root, made: (
        push(root, f"memory://{made.parent.name}"),
        fetch(f"memory://{made.parent.name}", made),
    ),
    "unpack": lambda root, made: _cli("unpack", "-q", root, made),
    "cp": lambda root, made: _cli("cp", "-q", "-r", root, made),
    "pack": lambda root, made: pack(_unpacked(root), made, PackOptions(processes=1)),
}


def _unpacked(root):
    plain = root.with_name("plain")
    _cli("unpack", "-q", root, plain)
    _plant(plain)
    shutil.rmtree(plain / "blob")
    return plain


@pytest.mark.parametrize("command", READERS)
def test_what_was_left_is_no_data(tmp_path, command):
    root = packed(tmp_path / "p", numbered(3))
    write(root / "sub/deep/notes.txt", b"text")
    before = shown(root)
    assert _plant(root)
    assert shown(root) == before
    READERS[command](root, tmp_path / "made")
    assert left_below(tmp_path / "made") == []


CHANGES = {
    "add": lambda root: add(root, "train", [write(root.parent / "new.png", picture("new"))]),
    "remove": lambda root: remove(root, ["train/a001.png"]),
    "move": lambda root: move(root, ["train/a001.png"], "val"),
    "compact": compact,
    "repair": lambda root: repair(root, verify(root, processes=1)),
}


@pytest.mark.parametrize("command", CHANGES)
def test_the_next_change_removes_it(tmp_path, command):
    """From the folders of datasets and blobs; `verify --repair` from all."""
    root = packed(tmp_path / "p", numbered(3))
    _plant(root)
    codes = {finding.path for finding in verify(root, processes=1).findings if finding.code == "change-leftover"}
    assert {f"train/ann/{LEFT}", f"blob/{LEFT}", f"train/{LEFT}"} <= codes
    CHANGES[command](root)
    left = left_below(root)
    assert not {f"{folder}{LEFT}" for folder in ("", "blob/", "train/")} & set(left)
    if command == "repair":
        assert left == []
    assert faults(root) == []


@pytest.mark.parametrize("name", ["staging/1", "undo/1", "back.json"])
@pytest.mark.parametrize("command", [*CHANGES, "recover", "verify --repair"])
def test_one_alone_of_what_a_change_needs(tmp_path, command, name):
    """Who cleared up may have been killed in the middle of it, too; it's named until somebody removes it."""
    root = packed(tmp_path / "p", numbered(3))
    write(root / ".blobdir" / name, b"{}")
    place = f".blobdir/{name.partition('/')[0]}"
    found = {finding.path for finding in verify(root, processes=1).findings if finding.code == "change-leftover"}
    assert found == {place}
    if command == "verify --repair":
        _cli("verify", root, "--repair")
    elif command == "recover":
        assert recover(root)
    else:
        CHANGES[command](root)
    assert not (root / place).exists() and faults(root) == []


def test_a_new_project_that_was_killed_at_its_end_leaves_nothing_for_ever(base):
    """Its notes lie in ``.blobdir`` for a moment after it has appeared."""

    def at(event, arguments):
        return event in ("os.rmdir", "os.remove") and (base / "made").exists()

    with Child(lambda: WRITERS["pack"](base), lambda: watch(at, signal.SIGKILL)) as child:
        assert child.ended() == -signal.SIGKILL
    assert faults(base / "made") == []
    assert (base / "made/.blobdir/packing").exists()
    add(base / "made", "train", [write(base / "new.png", picture("new"))])
    assert {path.name for path in (base / "made/.blobdir").iterdir()} == {"lock"}


def test_names():
    assert is_temporary(LEFT)
    for other in (f"x{LEFT}", f"{LEFT}x", ".blobdir-0123456789AB.tmp", ".blobdir-1.tmp", ".blobdir", f"a/{LEFT}"):
        assert not is_temporary(other)


def test_what_is_written_is_gone_or_has_its_name(tmp_path):
    with new_file(tmp_path) as (path, fd):
        os.write(fd, b"data")
        assert is_owned(path)
        os.replace(path, tmp_path / "file")
    with pytest.raises(RuntimeError), new_file(tmp_path):
        raise RuntimeError
    with new_folder(tmp_path) as path:
        assert is_owned(path)
        os.rename(path, tmp_path / "folder")
    with suppress(RuntimeError), new_folder(tmp_path) as path:
        write(Path(path) / "x", b"")
        raise RuntimeError
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert (tmp_path / "file").read_bytes() == b"data"


def test_who_cleans_up_never_takes_what_has_just_been_made(tmp_path):
    """Two processes: one makes files, the other cleans up all the time."""
    code = "import sys; from blobdir.temporary import clean\nwhile True: clean(sys.argv[1])"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    cleaner = subprocess.Popen([sys.executable, "-c", code, tmp_path], env=env)
    try:
        for number in range(2000):
            with new_file(tmp_path) as (path, fd):
                os.write(fd, b"x")
                os.replace(path, tmp_path / f"{number % 7}")
    finally:
        cleaner.kill()
        cleaner.wait()
    assert left_below(tmp_path) == []
