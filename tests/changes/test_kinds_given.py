"""Each kind of fault of what commands are given: what isn't a file, and what isn't bytes."""

from __future__ import annotations

import array
import json
import os
import socket

import numpy as np
import pytest
from changes.commands import transaction
from changes.looking import faults, shown
from changes.samples import META, files_below, files_of, numbered, packed, picture, write, write_files

from blobdir import Project
from blobdir.errors import AnnotationError, BlobdirError, UsageError
from blobdir.packing import PackOptions, add, pack, remove

pytestmark = [pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning"), pytest.mark.timeout(30)]


def _socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        before = os.getcwd()
        os.chdir(path.parent)  # the name of a socket is short
        try:
            one.bind(path.name)
        finally:
            os.chdir(before)


NOT_FILES = {"pipe": os.mkfifo, "socket": _socket, "device": lambda path: path.symlink_to("/dev/zero")}


def _pack(source, place):
    """What is packed of it, if anything; that something couldn't be is said."""
    report = pack(source, place, PackOptions(processes=1, follow_links=True))
    assert not report.complete or any(problem.path.endswith("x.png") for problem in report.problems)
    raise BlobdirError(f"{report.problems}")


def _list(base, row):
    return str(write(base / "list.jsonl", json.dumps(row).encode()))


GIVEN = {
    "put": lambda root, odd: transaction(root, lambda fs: fs.put(str(odd), "train/img/x.png")),
    "put_file": lambda root, odd: transaction(root, lambda fs: fs.put_file(str(odd), "train/notes")),
    "put a folder": lambda root, odd: transaction(
        root, lambda fs: fs.put(f"{odd.parent}/", "train/img/", recursive=True)
    ),
    "add": lambda root, odd: add(root, "train", [odd]),
    "add an annotation": lambda root, odd: add(
        root, "train", [write(root.parent / "given/x.png", picture("x"))],
        annotations=(odd.rename(odd.with_name("x.png.json")), odd.parent)[1],
    ),
    "pack": lambda root, odd: _pack(odd.parent, root.with_name("made")),
    "pack a list": lambda root, odd: _pack(_list(root.parent, {"path": str(odd)}), root.with_name("made")),
    "pack a list's annotation": lambda root, odd: _pack(
        _list(root.parent, {"path": str(write(root.parent / "given/x.png", picture("x"))), "annotation": str(odd)}),
        root.with_name("made"),
    ),
    "pack as a list": lambda root, odd: _pack(odd, root.with_name("made")),
    "pack a project": lambda root, odd: _pack(_plain(root.parent / "plain", odd), root.with_name("made")),
}  # fmt: skip


def _plain(root, odd):
    """A regular project with it in it."""
    write_files(root, files_of(numbered(2)))
    odd.rename(root / "train/img/x.png")
    return root


@pytest.mark.parametrize("what", NOT_FILES)
@pytest.mark.parametrize("command", GIVEN)
def test_what_is_not_a_file_is_refused_at_once(tmp_path, command, what):
    root = packed(tmp_path / "p", numbered(3))
    (tmp_path / "odd").mkdir()
    NOT_FILES[what](tmp_path / "odd/x.png")
    before = files_below(root)
    with pytest.raises((BlobdirError, OSError)):
        GIVEN[command](root, tmp_path / "odd/x.png")
    assert files_below(root) == before
    remove(root, ["train/a001.png"])  # nobody has the lock


@pytest.mark.parametrize("value", [5, 0, True, None, "text", [1, 2], 1.5, {"a": 1}], ids=repr)
@pytest.mark.parametrize("call", ["pipe", "pipe_file", "pipe of a dictionary"])
def test_what_is_not_bytes_is_refused(tmp_path, call, value):
    """``bytes(5)`` are five zeros."""
    root = packed(tmp_path / "p", numbered(3))
    before = files_below(root)

    def change(fs):
        if call == "pipe of a dictionary":
            fs.pipe({"notes.txt": value})
        else:
            getattr(fs, call)("notes.txt", value)

    with pytest.raises((TypeError, BlobdirError)):
        transaction(root, change)
    assert files_below(root) == before


@pytest.mark.parametrize(
    "value",
    [b"ab", bytearray(b"ab"), memoryview(b"ab"), array.array("B", b"ab"), np.frombuffer(b"ab", np.uint8)],
    ids=type,
)
def test_all_that_has_bytes_is_written(tmp_path, value):
    root = packed(tmp_path / "p", numbered(3))
    transaction(root, lambda fs: fs.pipe_file("notes.txt", value))
    assert shown(root)["notes.txt"] == b"ab"


@pytest.mark.parametrize(
    "meta",
    [{"classes": {1, 2}}, {"classes": 5}, [], "text", {"tags": [object()]}],
    ids=lambda meta: repr(meta).partition(" at 0x")[0],
)
def test_a_project_that_cannot_be_made_is_not_there(tmp_path, meta):
    with pytest.raises((BlobdirError, TypeError, ValueError)):
        Project.create(tmp_path / "made", meta)
    assert list(tmp_path.iterdir()) == []
    Project.create(tmp_path / "made", META)
    assert faults(tmp_path / "made") == []
    add(tmp_path / "made", "train", [write(tmp_path / "x.png", picture("x"))])
    assert set(shown(tmp_path / "made")) == {"meta.json", "train/img/x.png", "train/ann/x.png.json"}


# -- a new project -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_meta_with_numbers_that_json_does_not_have(tmp_path, number):
    with pytest.raises(AnnotationError, match=r"meta\.json: .*nothing was changed"):
        Project.create(tmp_path / "p", {"classes": [], "tags": [], "x": number})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["file", "file/folder"])
def test_a_place_below_a_file(tmp_path, below):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="isn't a folder"):
        Project.create(tmp_path / below / "p")
    assert (tmp_path / "file").read_text() == "mine"
