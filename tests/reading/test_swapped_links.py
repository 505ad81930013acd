"""A link that becomes something else while a project is opened: what is there then is shown, or it's said in words."""

import os
import shutil

import pytest
from project_factory import make_project

import blobdir
from blobdir.errors import SourceChangedError
from blobdir.inside import link_target, open_inside, real_path, stat_inside

LINKS = {
    "meta.json": "kept/meta.json",
    "train/ann/a.jpg.json": "../../kept/a.json",
    "train/img/loose.png": "/kept/loose.png",
    "val/img": "../kept/img",
}
"""A slash at the start stands for the project's own folder."""


@pytest.fixture
def root(tmp_path):
    """A project in which something is links, each with a copy beside the project that isn't one."""
    root = make_project(tmp_path / "p", {"train/img/a.jpg": b"a" * 600, "val/img/b.jpg": b"b" * 600})
    kept = root / "kept"
    (kept / "img").mkdir(parents=True)
    (kept / "img/plain.png").write_bytes(b"plain")
    (kept / "a.json").write_text("{}")
    (kept / "loose.png").write_bytes(b"loose")
    shutil.copy(root / "meta.json", kept / "meta.json")
    for number, (path, target) in enumerate(LINKS.items()):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if (root / path).is_dir():
            shutil.rmtree(root / path)
        (root / path).unlink(missing_ok=True)
        (root / path).symlink_to(f"{root}{target}" if target.startswith("/") else target)
        made = shutil.copytree if (root / path).is_dir() else shutil.copy
        made(root / path, tmp_path / f"plain{number}")
    return root


def exchange(a, b):
    os.rename(a, f"{a}.away")
    os.rename(b, a)
    os.rename(f"{a}.away", b)


class Swaps:
    """Exchanges links for what isn't one just when they are read, and counts how often that is."""

    def __init__(self, root, monkeypatch):
        self.root, self.read, self.seen = root, os.readlink, []
        self.when, self.back = lambda _: False, True
        monkeypatch.setattr(os, "readlink", self.readlink)

    def readlink(self, path, *, dir_fd=None):
        folder = "" if dir_fd is None else self.read(f"/proc/self/fd/{dir_fd}")
        name = os.path.relpath(os.path.join(folder, os.fspath(path)), self.root)
        if name not in LINKS or not os.path.islink(self.root / name):
            return self.read(path, dir_fd=dir_fd)
        self.seen.append(name)
        if not self.when(len(self.seen) - 1):
            return self.read(path, dir_fd=dir_fd)
        self.exchange(name)
        try:
            return self.read(path, dir_fd=dir_fd)
        finally:
            if self.back:
                self.exchange(name)

    def exchange(self, name):
        here, there = self.root / name, self.root.parent / f"plain{list(LINKS).index(name)}"
        os.rename(here, f"{here}.away")
        os.rename(there, here)
        os.rename(f"{here}.away", there)


@pytest.fixture
def swaps(root, monkeypatch):
    return Swaps(root, monkeypatch)


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
@pytest.mark.parametrize("follow_links", [False, True])
@pytest.mark.parametrize("back", [False, True])
def test_a_link_that_is_none_when_it_is_read(root, swaps, follow_links, back):
    def names():
        swaps.seen.clear()
        return sorted(blobdir.open_project(root, index="none", follow_links=follow_links).filesystem.find(""))

    expected = names()
    assert set(swaps.seen) == set(LINKS)
    swaps.back = back
    for number, name in enumerate(list(swaps.seen)):
        swaps.when = lambda at, number=number: at == number
        assert names() == expected, (number, name)
        if not back:
            swaps.exchange(name)


def test_a_link_that_is_another_thing_at_each_look(root, swaps):
    swaps.when = lambda _: True
    with pytest.raises(SourceChangedError, match=r"meta\.json: was changed again and again while it was being opened"):
        blobdir.open_project(root, index="none")


LOOKS = {
    "real_path": lambda root, path: real_path(f"{root}/{path}"),
    "open_inside": lambda root, path: os.close(open_inside(root, path)),
    "stat_inside": stat_inside,
}


@pytest.mark.parametrize("look", LOOKS)
def test_each_look_at_links(root, swaps, look):
    path = "train/img/loose.png"
    swaps.when = lambda at: at < 3
    LOOKS[look](str(root), path)
    swaps.when = lambda _: True
    assert link_target(f"{root}/{path}") is None
    with pytest.raises(SourceChangedError, match=r"loose\.png: was changed again and again"):
        LOOKS[look](str(root), path)
