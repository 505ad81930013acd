"""Folders and disks of a project that are away for a while: nothing is opened up, nothing is said to be removed."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest
from mounting.engines import KERNEL

import blobdir
from blobdir.erofs.images import write_image
from blobdir.errors import SourceChangedError
from blobdir.mounting import statuses
from blobdir.opening import open_tree
from blobdir.sources.disks import Disk, SeenDevices, disks_of

ENGINES = ["native", "fusepy"]
PATIENCE_S = 1.5
PRIVATE = "empty/deep"
LABEL = "train/ann/size_0000512.jpg.json"


def take_away(project, tmp_path, how):
    """Have the private folder, or the one above it, not be there; how it comes back."""
    folder, aside = project / (PRIVATE if how != "with the one above" else "empty"), tmp_path / "aside"
    folder.rename(aside)
    if how == "a file in its place":
        folder.write_bytes(b"")
        folder.chmod(0o644)
    elif how == "a link out":
        (tmp_path / "outside").mkdir(mode=0o755)
        folder.symlink_to(tmp_path / "outside")

    def bring_back():
        if folder.is_symlink() or folder.exists():
            folder.unlink()
        aside.rename(folder)

    return bring_back


WAYS = ["renamed", "with the one above", "a file in its place", "a link out"]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_private_folder_that_is_away_when_it_is_first_looked_at(mount, own, place, tmp_path, engine, how):
    """It isn't shown as the one above it, or as what is in its place: others would get in."""
    (own.project / PRIVATE).chmod(0o700)
    mount(own.project, engine=engine, allow_other=True, workers=1)
    bring_back = take_away(own.project, tmp_path, how)
    assert stat.S_IMODE(os.stat(place / PRIVATE).st_mode) == 0o500
    assert os.listdir(place / PRIVATE) == ["er"]
    bring_back()
    os.utime(own.project / PRIVATE, ns=(5, 5))
    time.sleep(PATIENCE_S)
    now = os.stat(place / PRIVATE)
    assert (stat.S_IMODE(now.st_mode), now.st_mtime_ns) == (0o500, 5)  # what stood in for it isn't believed for long
    assert (place / PRIVATE / "er/file").read_bytes() == b"deep"


@pytest.mark.parametrize("how", ["another folder", "a link to another one", "opened up"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_folder_that_stood_in_for_a_private_one(mount, own, place, tmp_path, engine, how):
    """It's that one while it's there, and for no longer than a second afterwards."""
    folder, aside = own.project / PRIVATE, tmp_path / "aside"
    folder.chmod(0o700)
    mount(own.project, engine=engine, allow_other=True, workers=1)
    if how == "opened up":
        folder.chmod(0o755)
    else:
        folder.rename(aside)
        (own.project / "empty/other").mkdir(mode=0o755)
        os.rename(own.project / "empty/other", folder) if how == "another folder" else folder.symlink_to("other")
    os.stat(place / PRIVATE)
    assert (place / PRIVATE / "er/file").exists() == (how == "opened up")
    if how == "opened up":
        folder.chmod(0o700)
    else:
        folder.rmdir() if how == "another folder" else folder.unlink()
        aside.rename(folder)
    time.sleep(PATIENCE_S)
    assert stat.S_IMODE(os.stat(place / PRIVATE).st_mode) == 0o500
    assert (place / PRIVATE / "er/file").read_bytes() == b"deep"


def test_what_one_worker_has_seen_all_know(mount, own, place, tmp_path):
    """The folder was open when they looked first, and private when one of them looked last."""
    folder = own.project / PRIVATE
    folder.chmod(0o755)
    mount(own.project, engine="native", allow_other=True, workers=4)
    for _ in range(12):
        time.sleep(0.3)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(os.stat, [place / PRIVATE] * 8))
    folder.chmod(0o700)
    time.sleep(PATIENCE_S)
    assert stat.S_IMODE(os.stat(place / PRIVATE).st_mode) == 0o500
    folder.rename(tmp_path / "aside")
    for _ in range(8):
        time.sleep(0.3)
        assert stat.S_IMODE(os.stat(place / PRIVATE).st_mode) == 0o500


HERE = Disk("a", 7, 2, 100, 5)


@pytest.mark.parametrize(
    ("now", "is_there"),
    [
        ({}, True),
        ({"inode": 3}, False),
        ({"device": 8}, True),
        ({"device": 8, "ctime_ns": 200}, True),  # it came back, and was written to
        ({"number": 6}, True),  # some make the number of the device's
        ({"number": 6, "ctime_ns": 200}, False),  # another one, to which the device's number was given
        ({"device": 8, "number": 6, "ctime_ns": 200}, False),
        ({"number": 0, "ctime_ns": 200}, False),
    ],
)
def test_whether_a_disk_is_the_one_that_was_there(monkeypatch, now, is_there):
    monkeypatch.setattr("blobdir.sources.disks._look", lambda *_: HERE._replace(**now))
    assert HERE.is_there("/p") == is_there
    monkeypatch.setattr("blobdir.sources.disks._look", lambda *_: HERE._replace(number=0, ctime_ns=200))
    assert HERE._replace(number=0).is_there("/p")
    monkeypatch.setattr("blobdir.sources.disks._look", lambda *_: None)
    assert not HERE.is_there("/p")


def test_a_disk_that_another_one_stands_in_for(tmp_path):
    """The same number of the device and of the topmost folder are given to it."""
    seen = []
    for _ in range(2):
        subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path], check=True, timeout=20)
        try:
            (disk,) = disks_of(str(tmp_path), SeenDevices())
            assert disk.is_there(str(tmp_path))
            assert not any(other.is_there(str(tmp_path)) for other in seen)
            seen.append(disk)
        finally:
            subprocess.run(["umount", "--lazy", tmp_path], check=True, timeout=20)
    assert seen[0].inode == seen[1].inode


@pytest.mark.parametrize("how", WAYS)
def test_a_private_folder_that_is_away_in_python(own, tmp_path, how):
    (own.project / PRIVATE).chmod(0o700)
    fs = fsspec.filesystem("blobdir", fo=str(own.project), index="none", skip_instance_cache=True)
    take_away(own.project, tmp_path, how)
    for info in (fs.info(PRIVATE), *(one for one in fs.ls("empty") if one["name"] == PRIVATE)):
        assert stat.S_IMODE(info["mode"]) == 0o500


@pytest.mark.parametrize("how", WAYS)
def test_no_image_is_made_of_what_is_not_there(own, tmp_path, how):
    (own.project / PRIVATE).chmod(0o700)
    tree = open_tree(str(own.project))
    bring_back = take_away(own.project, tmp_path, how)
    with pytest.raises((SourceChangedError, blobdir.BlobdirError), match="empty"):
        write_image(tree, tmp_path / "image.erofs")
    assert not (tmp_path / "image.erofs").exists()
    bring_back()
    write_image(tree, tmp_path / "image.erofs")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_folder_of_blobs_only_is_as_the_one_above_was(mount, own, place, tmp_path, engine):
    """`train/datasets/hard/img` is in the blob only."""
    above = own.project / "train/datasets/hard"
    above.chmod(0o700)
    mount(own.project, engine=engine, allow_other=True, workers=1)
    above.rename(tmp_path / "aside")
    assert stat.S_IMODE(os.stat(place / "train/datasets/hard/img/sub").st_mode) == 0o500
    assert (place / "train/datasets/hard/img/sub/x.jpg").read_bytes() == b"in a folder"


class OwnDisk:
    """A folder of a project that is on a disk of its own, and can be taken away."""

    def __init__(self, project, tmp_path, kind):
        self.folder = project / "train/ann"
        self.content = tmp_path / "content"
        self.folder.rename(self.content)
        self.kind, self.place = kind, self.folder
        if "behind" in kind:
            self.place = tmp_path / "other"
        self.place.mkdir(mode=0o755)
        if kind == "behind links to files":
            self.folder.mkdir(mode=0o700)
            for name in os.listdir(self.content):
                (self.folder / name).symlink_to(self.place / name)
        elif "behind" in kind:
            self.folder.symlink_to(self.place)
        if "the same disk" not in kind:
            self._run("mount", "-t", "tmpfs", "none", self.content_on_tmpfs(tmp_path))
            self._run("cp", "-a", f"{self.content}/.", self.content_on_tmpfs(tmp_path))
            self.content = self.content_on_tmpfs(tmp_path)
        self.content.chmod(0o700)
        self.come_back()

    @staticmethod
    def content_on_tmpfs(tmp_path):
        folder = tmp_path / "tmpfs"
        folder.mkdir(exist_ok=True)
        return folder

    @staticmethod
    def _run(*command):
        subprocess.run([str(part) for part in command], check=True, timeout=20)

    def come_back(self):
        self._run("mount", "--bind", self.content, self.place)

    def go(self):
        self._run("umount", "--lazy", self.place)

    def end(self):
        for folder in (self.place, self.content):
            subprocess.run(["umount", "--lazy", folder], check=False, timeout=20, stderr=subprocess.DEVNULL)


@pytest.fixture
def own_disk(own, tmp_path):
    made = []

    def make(kind):
        made.append(OwnDisk(own.project, tmp_path, kind))
        return made[-1]

    yield make
    for one in made:
        one.end()


def settled():
    time.sleep(PATIENCE_S)


@pytest.mark.parametrize(
    "kind", ["another disk", "the same disk", "behind a link", "the same disk, behind a link", "behind links to files"]
)
@pytest.mark.parametrize("engine", [*ENGINES, "python"])
def test_a_disk_in_the_project_that_goes_away_is_an_error(own, own_disk, tmp_path, place, engine, kind):
    disk, log = own_disk(kind), tmp_path / "log"
    discovery = blobdir.mounting.DiscoveryOptions(follow_links="behind" in kind)
    data = (disk.content / LABEL.rpartition("/")[2]).read_bytes()
    with contextlib.ExitStack() as stack:
        if engine == "python":
            given = {"follow_links": discovery.follow_links, "skip_instance_cache": True}
            fs = fsspec.filesystem("blobdir", fo=str(own.project), **given)
            read, mode = fs.cat_file, lambda path: fs.info(path)["mode"]
        else:
            options = blobdir.MountOptions(discovery=discovery, workers=1)
            stack.enter_context(blobdir.mount(own.project, place, options=options, engine=engine, log=str(log)))
            read, mode = lambda path: (place / path).read_bytes(), lambda path: os.stat(place / path).st_mode
        assert read(LABEL) == data
        disk.go()
        settled()
        with pytest.raises(OSError, match="Input/output error|nor is the disk") as caught:
            read(LABEL)
        assert not isinstance(caught.value, FileNotFoundError)
        assert stat.S_IMODE(mode("train/ann")) == 0o500
        assert read("notes.txt") == b""
        if engine != "python":
            assert "nor is the disk" in log.read_text()
            (status,) = (one for one in statuses() if one.record.mountpoint == str(place))
            if kind in ("another disk", "the same disk", "behind a link"):
                assert status.changed == ["train/ann isn't the folder that was opened: was its disk taken away?"]
        disk.come_back()
        settled()
        assert read(LABEL) == data
        assert stat.S_IMODE(mode("train/ann")) == 0o500
        (disk.content / LABEL.rpartition("/")[2]).unlink()
        settled()
        with pytest.raises(FileNotFoundError):
            read(LABEL)


@pytest.mark.parametrize("engine", [KERNEL])
def test_status_of_the_kernel_engine_names_the_disk(own, own_disk, place, engine):
    disk = own_disk("another disk")
    with blobdir.mount(own.project, place, engine=engine):
        assert next(one for one in statuses() if one.record.mountpoint == str(place)).changed == []
        disk.go()
        changed = next(one for one in statuses() if one.record.mountpoint == str(place)).changed
        assert changed == ["train/ann isn't the folder that was opened: was its disk taken away?"]
