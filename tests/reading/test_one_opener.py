"""Files of a project are opened in one place, `blobdir.inside`, which a pipe or a device can't hold up."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import blobdir

PACKAGE = Path(blobdir.__file__).parent
OTHERS = {
    "inside.py": "the one place",
    "tarscan/source.py": "archives that the user names, block devices among them",
    "tarwriting/reading.py": "files that are packed, looked at as they are opened",
    "packing/lists.py": "a list that the user names",
    "packing/resuming.py": "what pack has written itself",
    "packing/made.py": "folders that are being made, none through a link",
    "tarwriting/lmdbs.py": "a store that the user names",
    "stores/parquet.py": "what is being written",
    "tarwriting/place.py": "folders that are being made, none through a link",
    "packing/editing.py": "what a transaction has written itself",
    "verifying/bitmaps.py": "bytes in memory",
    "durable.py": "folders and what was just written, to sync them",
    "children.py": "standard input, output and error",
    "tarwriting/output.py": "writes",
    "writing.py": "a file that the user names",
    "moving/": "notes in the user's own folders, and what was fetched",
    "sources/config.py": "the user's configuration",
    "blocks/disk.py": "the user's cache",
    "opening/carrying.py": "the user's cache",
    "index/carry.py": "an index that was just written",
    "index/memory.py": "/proc",
    "leftovers.py": "what a try of one's own has left, never behind a link",
    "drawing/fontfiles.py": "fonts of this machine",
    "temporary.py": "what is being written, to lock it",
    "projectlock.py": "the lock, and what is to have other rights",
    "index/place.py": "an index that is just being written, to lock it",
    "mountlines.py": "/proc",
    "mounting/": "/dev/fuse, /proc, and the user's state folder",
    "erofs/": "images in the user's cache, /proc, loop devices",
    "testing/": "runs on what a mount shows",
    "cli/__init__.py": "/dev/null",
}
"""What else opens files for reading, and why that's no project's."""


def reads(tree: ast.AST) -> Iterator[int]:
    """Lines that open a file to read it, in whatever way."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        what = ast.unparse(node.func)
        rest = ast.unparse(node)
        if what in ("open", "io.open"):
            writes = any(isinstance(arg, ast.Constant) and set(str(arg.value)) & set("wxa") for arg in node.args[1:])
            if not (writes or is_descriptor(node.args[0])):
                yield node.lineno
        elif what == "os.open":
            if not any(flag in rest for flag in ("O_DIRECTORY", "O_CREAT", "O_WRONLY", "FOLDER", "_CREATE", "_ENTER")):
                yield node.lineno
        elif (
            what.endswith((".read_text", ".read_bytes"))
            or what in ("np.load", "np.memmap", "np.fromfile")
            or (what == "tarfile.open" and "fileobj" not in rest)
        ):
            yield node.lineno


def is_descriptor(argument: ast.expr) -> bool:
    return ast.unparse(argument).startswith(
        ("open_plain(", "open_state(", "with_room(lambda: open_state(")
    ) or ast.unparse(argument) in (
        "fd",
        "descriptor",
    )


FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}


@pytest.mark.parametrize("name", FILES)
def test_no_other_opens_files_of_a_project(name: str) -> None:
    lines = list(reads(ast.parse(FILES[name].read_text())))
    if not any(name == other or (other.endswith("/") and name.startswith(other)) for other in OTHERS):
        assert not lines, f"{name}: lines {lines}: use blobdir.inside, or say in OTHERS why it's no file of a project"


def test_the_others_are_there() -> None:
    for other in OTHERS:
        assert any(name.startswith(other) for name in FILES), other
