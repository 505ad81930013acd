"""Mounts that others move over ours, over a folder above it, or that get beneath it: each ends its own, and no other.

The lines of ``mountinfo`` are in another order then than what lies over what.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from mounting.engines import KERNEL

import blobdir
from blobdir.errors import MountError
from blobdir.mounting import mountinfo
from blobdir.mounting.mountinfo import lies_over, mounted_at
from blobdir.mountlines import mounts

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.platform,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount something else"),
]
ENGINES = ["native", "fusepy", KERNEL]
HOW = ["block", "command", "owner"]


PROGRAM = """
import blobdir, sys
blobdir.mount(*sys.argv[1:3], engine=sys.argv[3])
print(1, flush=True)
sys.stdin.read()
"""


def do(*words):
    subprocess.run(["mount", *map(str, words)], check=True, timeout=20)


def sources(folder):
    return [entry.source for entry in mounts() if f"{entry.mountpoint}/".startswith(f"{folder}/")]


@pytest.fixture
def world(tmp_path):
    """A tmpfs whose folders others mount at, and a mount point in it."""
    base = tmp_path / "base"
    base.mkdir()
    do("-t", "tmpfs", "base", base)
    do("--make-private", base)
    place = base / "above/place"
    place.mkdir(parents=True)
    made = SimpleNamespace(base=base, place=place, held=-1)
    yield made
    subprocess.run(["umount", "-l", base], check=True, timeout=20)  # and all in it, whatever hides it
    if made.held >= 0:
        os.close(made.held)


def move_over(world):
    other = world.base / "other"
    other.mkdir()
    do("-t", "tmpfs", "precious", other)
    (other / "file").write_text("only copy")
    do("--move", other, world.place)
    return f"tmpfs (precious) is mounted over the blob project there; unmount that first (umount {world.place})"


def move_above(world):
    """A whole tree, with something mounted in it at the same path."""
    other = world.base / "other"
    other.mkdir()
    do("-t", "tmpfs", "tree", other)
    (other / "place").mkdir()
    do("-t", "tmpfs", "precious", other / "place")
    (other / "place/file").write_text("only copy")
    above = world.place.parent
    do("--move", other, above)
    return f"tmpfs (tree) is mounted over the blob project there, at {above}; unmount that first (umount {above})"


def move_above_empty(world):
    """A tree in which there's no such path."""
    other = world.base / "other"
    other.mkdir()
    do("-t", "tmpfs", "precious", other)
    above = world.place.parent
    do("--move", other, above)
    return f"tmpfs (precious) is mounted over the blob project there, at {above}; unmount that first (umount {above})"


def move_closed_over(world):
    """A FUSE mount of another user into which not even root may look, as sshfs makes them."""
    other = world.base / "other"
    other.mkdir()
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=65534,group_id=65534".encode()
    flags = ctypes.c_ulong(6)  # nosuid, nodev
    assert libc.mount(b"precious", os.fsencode(other), b"fuse.sshfs", flags, options) == 0
    move = ctypes.c_ulong(0x2000)  # by the call: mount(8) would look into it
    assert libc.mount(os.fsencode(other), os.fsencode(world.place), None, move, None) == 0
    world.held = device  # who closes it ends the mount
    return f"fuse.sshfs (precious) is mounted over the blob project there; unmount that first (umount {world.place})"


OVER = [move_over, move_above, move_above_empty, move_closed_over]


def end(mount, place, how):
    """End it; what is said against that."""
    if how == "command":
        words = [sys.executable, "-m", "blobdir", "umount", "--lazy", str(place)]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=40).stderr
    try:
        mount.__exit__(None, None, None)
    except MountError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("how", HOW[:-1])
@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_moved_over_it_stays(both, world, engine, over, how):
    mount = blobdir.mount(both.project, world.place, engine=engine)
    says = over(world)
    assert says in end(mount, world.place, how)
    assert "precious" in sources(world.base)
    assert mount.record.mount.entry() is not None
    while hides := lies_over(mount.record.mount.entry()):
        subprocess.run(["umount", "-R", hides.mountpoint], check=True, timeout=20)
    assert end(mount, world.place, how) == ""
    assert sources(world.base) == ["base"]


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("engine", ENGINES)
def test_its_program_ends_with_something_moved_over_it(both, world, engine, over):
    words = [sys.executable, "-c", PROGRAM, both.project, world.place, engine]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout.readline()
        over(world)
    time.sleep(1.5)
    assert "precious" in sources(world.base)


def mount_beneath(world):
    """As in a container that gets the mounts of its host: those come beneath what it has mounted there itself."""
    host, here = world.base / "host", world.base / "here"
    host.mkdir()
    here.mkdir()
    do("-t", "tmpfs", "tree", host)
    do("--make-shared", host)
    (host / "place").mkdir()
    do("--bind", host, here)
    do("--make-slave", here)
    return here / "place", lambda: do("-t", "tmpfs", "precious", host / "place")


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_mounted_beneath_it_stays(both, world, engine, how):
    place, beneath = mount_beneath(world)
    if how == "owner":
        words = [sys.executable, "-c", PROGRAM, both.project, place, engine]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
            assert program.stdout.readline()
            beneath()
            ours = mounted_at(str(place))
    else:
        mount = blobdir.mount(both.project, place, engine=engine)
        beneath()
        ours = mounted_at(str(place))
        assert ours.number == mount.record.mount.number
        assert end(mount, place, how) == ""
    limit = time.monotonic() + 15
    while ours.number in {entry.number for entry in mounts()}:
        assert time.monotonic() < limit
        time.sleep(0.02)
    assert mounted_at(str(place)).source == "precious"
    assert sources(world.base).count("precious") == 2


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["stopped", "dead"])
def test_found_without_asking_who_serves_it(both, place, engine, how):
    mount = blobdir.mount(both.project, place, engine=engine)
    if how == "stopped":
        os.kill(mount.record.pid, signal.SIGSTOP)
    else:
        os.kill(mount.record.pid, signal.SIGKILL)
        time.sleep(0.3)
    began = time.monotonic()
    found = mounted_at(str(place))
    took = time.monotonic() - began
    if how == "stopped":
        os.kill(mount.record.pid, signal.SIGCONT)
    assert took < 1
    assert (found and found.number) == (mount.record.mount.number if mount.record.mount.entry() else None)
    mount.__exit__(None, None, None)
    assert mounted_at(str(place)) is None


def test_where_the_kernel_doesnt_say_which_it_is(both, place, monkeypatch):
    """Before Linux 5.8."""
    monkeypatch.setattr(mountinfo, "_id_at", lambda *_: None)
    mount = blobdir.mount(both.project, place)
    assert mounted_at(str(place)).number == mount.record.mount.number
    do("-t", "tmpfs", "mine", place)
    with pytest.raises(MountError, match="mine"):
        mount.unmount()
    subprocess.run(["umount", place], check=True)
    mount.unmount()
    assert mounted_at(str(place)) is None
