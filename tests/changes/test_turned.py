"""A disk that fails while a change is done, while it's undone, and again: the end is the old project or the new one."""

from __future__ import annotations

import os
import shutil
import signal
import sys

import pytest
from changes.looking import shown
from changes.samples import files_of, numbered, packed, with_side_files

from blobdir.packing import move, recover

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
IMAGES = ["train/a001.png", "train/a002.png"]
CALLS = frozenset(("os.rename", "os.link", "os.remove"))


def in_child(operation, failing, killed=0):
    """Do something in a process of its own, in which those of its renames fail, and it's killed at one."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    count = 0

    def hook(event, _arguments):
        nonlocal count
        if event in CALLS:
            count += 1
            if count == killed:
                os.kill(os.getpid(), signal.SIGKILL)
            if count in failing:
                raise OSError(5, "planted")

    sys.addaudithook(hook)
    status = 0
    try:
        operation()
    except OSError:
        status = 7
    finally:
        os._exit(status)


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """The old one, the new one, and how many renames are between them."""
    folder = tmp_path_factory.mktemp("turned")
    old = packed(folder / "old", with_side_files(files_of(numbered(4))))
    new = folder / "new"
    shutil.copytree(old, new)
    move(new, IMAGES, "other")
    return old, shown(old), shown(new)


@pytest.mark.parametrize("last", ["killed", "failing"])
@pytest.mark.parametrize("first", range(2, 26, 4))
def test_old_or_new(projects, tmp_path, first, last):
    old, before, after = projects
    ends = set()
    for second in range(1, 16, 2):
        for third in range(second + 2, second + 14, 4):
            root = tmp_path / f"p{second}-{third}"
            shutil.copytree(old, root)
            in_child(lambda root=root: move(root, IMAGES, "other"), {first, first + 1})
            fails = {second, second + 1} | ({third} if last == "failing" else set())
            in_child(lambda root=root: recover(root), fails, third if last == "killed" else 0)
            recover(root)
            found = shown(root)
            assert found in (before, after), (first, second, third)
            ends.add(found == before)
            shutil.rmtree(root)
    assert ends
