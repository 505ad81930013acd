"""A mount in the very folder that its project, or its tars, lie in; and others' mounts there, which may hang."""

from __future__ import annotations

import io
import os
import signal
import tarfile

import pytest
from mounting.engines import KERNEL

import blobdir
from blobdir.mounting import statuses

ENGINES = ["native", "fusepy", KERNEL]


@pytest.fixture
def folder(tmp_path):
    """A folder with two tars, one of them below."""
    for name, member in (("a.tar", "x.jpg"), ("more/b.tar", "y.jpg")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo(member)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
    return tmp_path


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("named", "file"), [("a.tar", "x.jpg"), ("*.tar", "x.jpg"), ("{a,more/b}.tar", "y.jpg")])
def test_tars_in_the_folder_of_their_mount(folder, place, mount, engine, named, file):
    mounted = mount(str(folder / named), engine=engine)
    assert (mounted / file).read_bytes() == b"abc"
    assert [status.changed for status in statuses() if status.record.mountpoint == str(place)] == [[]]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_project_with_its_own_mount_in_it(own, engine):
    place = own.project / "mnt"
    place.mkdir()
    with blobdir.mount(own.project, place, engine=engine) as mounted:
        assert (mounted / "train/img/plain.png").read_bytes() == b"a plain image" * 100
        assert os.listdir(mounted / "mnt") == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_mount_beside_tars_that_hangs_is_left_alone(folder, own, place, mount, engine):
    beside = folder / "beside"
    beside.mkdir()
    hangs = blobdir.mount(own.project, beside, engine="native")
    processes = _processes(hangs.record)
    with hangs:
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        try:
            assert blobdir.open_project(folder / "a.tar").filesystem.cat("x.jpg") == b"abc"
            assert (mount(str(folder / "a.tar"), engine=engine) / "x.jpg").read_bytes() == b"abc"
        finally:
            for pid in processes:
                os.kill(pid, signal.SIGCONT)


def _processes(record):
    with open(f"/proc/{record.pid}/task/{record.pid}/children", encoding="ascii") as file:
        return [record.pid, *map(int, file.read().split())]
