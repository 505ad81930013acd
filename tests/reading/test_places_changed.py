"""A folder and a link out of the project change places while a file is read: nothing outside is read."""

from __future__ import annotations

import os

import pytest
from project_factory import make_project

from blobdir import open_project
from blobdir.errors import LinkError
from blobdir.sources import local

CALLS = {
    "loose": lambda fs: fs.cat_file("docs/note.txt"),
    "annotation": lambda fs: fs.cat_file("docs/note.txt", 0, 4),
    "many": lambda fs: fs.cat(["docs/note.txt"])["docs/note.txt"],
    "get": lambda fs: fs.open("docs/note.txt").read(),
}


@pytest.mark.parametrize("proc", [True, False], ids=["proc", "no proc"])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("back", [True, False], ids=["and back", "for good"])
def test_a_link_for_the_moment_of_opening(tmp_path, monkeypatch, call, back, proc):
    root = make_project(tmp_path / "p", {"train/img/a.jpg": b"a"})
    for folder, text in ((root / "docs", "mine"), (tmp_path / "outside", "SECRET")):
        folder.mkdir()
        (folder / "note.txt").write_text(text)
    fs = open_project(root, index="none").filesystem
    assert CALLS[call](fs) == b"mine"
    real_open, real_readlink = local.open_file, os.readlink
    swaps = []

    def swapped(path, flags):
        if not path.endswith("note.txt") or (back and swaps):
            return real_open(path, flags)
        swaps.append(path)
        if not (root / "docs").is_symlink():
            (root / "docs").rename(tmp_path / "aside")
            (root / "docs").symlink_to(tmp_path / "outside")
        fd = real_open(path, flags)
        if back:
            (root / "docs").unlink()
            (tmp_path / "aside").rename(root / "docs")
        return fd

    def readlink(path, **options):
        if not proc and str(path).startswith("/proc"):
            raise FileNotFoundError(path)
        return real_readlink(path, **options)

    monkeypatch.setattr(local, "open_file", swapped)
    monkeypatch.setattr(os, "readlink", readlink)
    if back:
        assert CALLS[call](fs) == b"mine"
    else:
        with pytest.raises(LinkError, match="outside the project"):
            CALLS[call](fs)
    assert swaps
