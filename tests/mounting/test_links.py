"""Links on a mount lead where they do in the project, though folders of the format that are links are folders there."""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import subprocess

import pytest
from linked_trees import OUT, make_tree, paths_of, walk
from mounting.engines import KERNEL

import blobdir
from blobdir.discovery import DiscoveryOptions
from blobdir.mounting import MountOptions

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


@pytest.mark.parametrize("engine", ["native", "fusepy", KERNEL])
@pytest.mark.parametrize("follow_links", [False, True])
def test_random_links(tmp_path, engine, follow_links):
    options = MountOptions(discovery=DiscoveryOptions(follow_links=follow_links))
    for seed in range(5):
        root, point = tmp_path.resolve() / f"{seed}/p", tmp_path / f"mnt{seed}"
        root.mkdir(parents=True)
        point.mkdir()
        make_tree(root, seed)
        with blobdir.mount(root, point, engine=engine, options=options):
            compare(root, point, follow_links=follow_links)


def compare(root, point, *, follow_links):
    for path in paths_of(root):
        try:
            place, wanted = walk(root, path), (root / path).read_bytes()
        except OSError:
            place, wanted = "", None
        try:
            ours = (point / path).read_bytes()
        except OSError as error:
            ours = error
        if place == OUT and not follow_links:  # the reader's own view of the files, whatever that holds
            continue
        if isinstance(ours, bytes):
            assert ours == wanted, path
        elif wanted is not None and place != OUT:  # behind a folder that can't be shown
            assert ours.errno in (5, 2), (path, ours)


@pytest.mark.parametrize("engine", ["native", "fusepy", KERNEL])
def test_links_behind_a_folder_that_is_a_link(mount, tmp_path, engine):
    root = tmp_path / "p"
    for path in ("ds/raw/f.png", "other/raw/f.png", "other/img/y.png", "ds/ann/y.png.json", "raw/f.png"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)
    (root / "meta.json").write_text("{}")
    (root / "ds/img").symlink_to("../other/img")
    (root / "ds/deep/datasets/er/ann").mkdir(parents=True)
    (root / "ds/deep/datasets/er/img").symlink_to("../../../../other/img")
    links = {"other/img/x": "../raw/f.png", "other/img/out": "../../../f.png", "x": "ds/img/../raw/f.png"}
    links["abs"] = f"{root}/ds/img/../raw/f.png"
    for path, target in links.items():
        (root / path).symlink_to(target)
    (tmp_path / "f.png").write_text("out")
    place = mount(root, engine=engine)
    for path in ("other/img/x", "ds/img/x", "x", "abs", "ds/img/out", "ds/deep/datasets/er/img/x"):
        assert (place / path).read_bytes() == (root / path).read_bytes(), path
        assert (place / path).lstat().st_size == len(os.readlink(place / path))
    assert os.readlink(place / "other/img/x") == "../raw/f.png"
    assert subprocess.run(["readlink", "-e", place / "ds/img/x"], check=False, capture_output=True).returncode == 0


SYS_GETDENTS64 = {"x86_64": 217, "aarch64": 61}


def entries_of(folder):
    """Name, inode number and type of each entry of a folder, as the kernel gives them."""
    syscall, found = ctypes.CDLL(None, use_errno=True).syscall, {}
    buffer = ctypes.create_string_buffer(1 << 16)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while (count := syscall(SYS_GETDENTS64[os.uname().machine], descriptor, buffer, len(buffer))) > 0:
            at = 0
            while at < count:
                number, _, length, kind = struct.unpack_from("=QqHB", buffer, at)
                name = buffer.raw[at + 19 : at + length].split(b"\0")[0]
                found[os.fsdecode(name)] = number, kind
                at += length
    finally:
        os.close(descriptor)
    return found


@pytest.mark.parametrize("engine", ["native", "fusepy", KERNEL])
def test_numbers_and_types_of_entries(mount, both, place, engine):
    mount(both.project, engine=engine)
    for folder in ("train", "train/img", "empty/deep"):
        found = entries_of(place / folder)
        assert {".", ".."} < found.keys()
        for name, (number, kind) in found.items():
            there = (place / folder / name).lstat()
            assert number == there.st_ino
            assert kind == stat.S_IFMT(there.st_mode) >> 12
