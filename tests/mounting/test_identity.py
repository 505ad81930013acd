"""Which mount is which, who ends it, and what is said of it: by its own number, whatever lies at its place."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from mounting.engines import KERNEL

import blobdir
from blobdir.errors import MountError
from blobdir.mounting import statuses
from blobdir.mounting.attach import unmount, unmount_entry
from blobdir.mounting.control import umount
from blobdir.mounting.mountinfo import MountIdentity, mounted_at
from blobdir.mounting.state import birth_of, mount_namespace, records, state_folder
from blobdir.mountlines import mounts

pytestmark = [pytest.mark.timeout(60), pytest.mark.platform]
ENGINES = ["native", "fusepy", "kernel"]
MS_BIND, MS_MOVE = 4096, 8192


@pytest.fixture
def made(monkeypatch):
    """Places to unmount at the end, whatever is there."""
    monkeypatch.delenv("BLOBDIR_ENGINE")
    places: list[Path] = []
    yield places
    for place in places:
        while mounted_at(str(place)):
            unmount(str(place), lazy=True)


@pytest.fixture
def start(made):
    """`blobdir mount`: a mount that stays until it's unmounted."""

    def start(project, place, engine):
        place.mkdir(exist_ok=True)
        made.append(place)
        command = [sys.executable, "-m", "blobdir", "mount", "--engine", engine, str(project), str(place)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
        assert done.returncode == 0, done.stderr
        return place

    return start


def mount2(source, place, fstype="", flags=0):
    libc = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(str(word)) for word in (source, place, fstype)]
    assert libc.mount(*words, ctypes.c_ulong(flags), None) == 0, os.strerror(ctypes.get_errno())


def of(place):
    return [status for status in statuses() if status.record.mountpoint == str(place)]


def wait_until(true):
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def is_answered(place):
    return (place / "train/img/plain.png").read_bytes() == b"a plain image" * 100


# -- who ends it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGINT", "SIGPIPE"])
def test_a_signal_to_a_worker_is_no_unmount(start, both, place, number):
    start(both.project, place, "native")
    record = of(place)[0].record
    workers = list(map(int, Path(f"/proc/{record.pid}/task/{record.pid}/children").read_text().split()))
    for worker in workers:
        os.kill(worker, signal.Signals[number])
    for _ in range(20):
        assert is_answered(place)
        time.sleep(0.01)
    assert of(place)[0].state == "serving"
    children = Path(f"/proc/{record.pid}/task/{record.pid}/children")
    wait_until(lambda: len(children.read_text().split()) == record.workers)


@pytest.mark.parametrize("engine", ENGINES)
def test_umount_says_who_has_it_in_another_mount_namespace(start, both, place, engine, apart):
    """As a container that was started since. What it has goes on; it's no mount of ours that hangs."""
    start(both.project, place, engine)
    command = apart("sh", "-c", "echo ready; exec sleep 50")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "ready\n"
            wait_until(lambda: Path(f"/proc/{other.pid}/comm").read_text() == "sleep\n")
            command = [sys.executable, "-m", "blobdir", "umount", str(place)]
            began = time.monotonic()
            done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
            assert done.returncode == 8
            assert f"goes on elsewhere: sleep ({other.pid}) has it in another mount namespace" in done.stderr
            assert time.monotonic() - began < 8
            assert not os.path.ismount(place)
            there = f"/proc/{other.pid}/root{place}"
            assert is_answered(Path(there))
        finally:
            other.kill()
    wait_until(lambda: of(place) == [])


ELSEWHERE = """
import os, sys
import blobdir
print("ready", flush=True)
input()
mount = blobdir.mount(sys.argv[1], sys.argv[2], engine=sys.argv[3], workers=1)
print(os.stat(mount.path).st_dev, flush=True)
input()
mount.unmount()
"""


def unmounted_while_another_namespace_mounts(both, place, there, engine, apart):
    """Whether what was mounted there meanwhile got the number of the device."""
    was, devices = os.stat(place).st_dev, []
    command = apart(sys.executable, "-c", ELSEWHERE, both.project, there, engine)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "ready\n"
            subprocess.run(["nsenter", "-t", str(other.pid), "-m", "umount", place], check=True, timeout=20)

            def unmount_and_mount_there(*args, **more):
                unmount_entry(*args, **more)
                other.stdin.write("\n")
                other.stdin.flush()
                devices.append(int(other.stdout.readline()))

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("blobdir.mounting.control.unmount_entry", unmount_and_mount_there)
                umount(place)
        finally:
            other.stdin.close()
            other.kill()
    return devices == [was]


@pytest.mark.parametrize("engine", ["native", KERNEL])
def test_the_mount_of_another_namespace_that_gets_its_device_number(start, both, place, tmp_path, engine, apart):
    """The kernel gives it again at once, but where libfuse ends slowly: that one is none of ours."""
    there = tmp_path / "there"
    there.mkdir()
    for _ in range(5):  # somebody else may have been quicker
        start(both.project, place, engine)
        if unmounted_while_another_namespace_mounts(both, place, there, engine, apart):
            return
    pytest.fail("it never got the number")


def test_umount_of_what_is_no_project(made, tmp_path):
    made.append(tmp_path)
    mount2("none", tmp_path, "tmpfs")
    with pytest.raises(MountError, match="tmpfs, not a blob project; use umount"):
        umount(tmp_path)


# -- owners and permissions ----------------------------------------------------------------------------------

PLACES = [
    "",
    "train",
    "train/img",
    "train/ann",
    "train/img/plain.png",
    "train/ann/image 0000.png.json",
    "blob/a.tar",
    "meta.json",
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("path", PLACES)
def test_owners_and_permissions_are_those_of_now(start, own, place, engine, path):
    """What was mounted before, and was kept since, doesn't show what was true then."""
    shown = place / ("train/img/size_0000001.jpg" if path.startswith("blob/") else path)
    (own.project / "train/img").mkdir(exist_ok=True)
    start(own.project, place, engine)
    before = shown.lstat()
    umount(place)
    changed = own.project / path
    mode = 0o500 if changed.is_dir() else 0o400
    os.chmod(changed, mode)
    os.chown(changed, 12345, 54321)
    start(own.project, place, engine)
    now = shown.lstat()
    assert (now.st_mode & 0o777, now.st_uid, now.st_gid) == (mode, 12345, 54321)
    assert (before.st_uid, before.st_gid) == (os.getuid(), os.getgid())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("path", ["train/img/link.png", "to train", "dangling"])
def test_times_and_owners_of_links_are_their_own(start, own, place, engine, path):
    """And not those of what they lead to, so that `rsync -a` copies none a second time."""
    theirs, shown = own.project / path, place / path
    for number in (1, 2):
        os.lchown(theirs, 12345 * number, 54321)
        os.utime(theirs, ns=(0, 10**18 + number), follow_symlinks=False)
        wanted = theirs.lstat()
        start(own.project, place, engine)
        now = shown.lstat()
        assert (now.st_mode, now.st_size, now.st_mtime_ns) == (wanted.st_mode, wanted.st_size, wanted.st_mtime_ns)
        assert (now.st_uid, now.st_gid) == (wanted.st_uid, wanted.st_gid)
        assert os.readlink(shown) == os.readlink(theirs)
        assert not of(place)[0].changed
        umount(place)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("path", ["train/ann/image 0000.png.json", "train/ann", "to train"])
def test_times_that_are_centuries_away(start, own, place, engine, path):
    """Nanoseconds of the year 2381 don't fit into 63 bits."""
    os.utime(own.project / path, (13_000_000_000, 13_000_000_000), follow_symlinks=False)
    for _ in range(2):
        start(own.project, place, engine)
        assert (place / path).lstat().st_mtime == (own.project / path).lstat().st_mtime == 13_000_000_000
        assert not of(place)[0].changed
        umount(place)


# -- which one it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["blobdir", "/dev/mapper/blobdir-data", "fuse.blobdir"])
def test_a_name_makes_no_mount_ours(made, place, source):
    made.append(place)
    mount2(source, place, "tmpfs")
    with pytest.raises(MountError, match="tmpfs, not a blob project; use umount"):
        umount(place)
    assert mounted_at(str(place)) is not None
    assert of(place) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stranger_at_the_place_of_one_that_was_unmounted(start, both, place, engine):
    """Numbers of mounts and devices are given again at once; what is written down of the old one isn't believed."""
    start(both.project, place, engine)
    record = of(place)[0].record
    unmount(str(place))
    mount2("stranger", place, "tmpfs")
    wait_until(lambda: not record.has_process())
    assert of(place) == []
    with pytest.raises(MountError, match="tmpfs, not a blob project"):
        umount(place)
    assert mounted_at(str(place)).source == "stranger"


@pytest.mark.parametrize("engine", ENGINES)
def test_one_project_at_two_places(start, both, tmp_path, engine):
    """Two mounts of one image have one device number."""
    one, other = (start(both.project, tmp_path / name, engine) for name in ("one", "other"))
    assert [status.state for status in of(one) + of(other)] == ["serving", "serving"]
    umount(one)
    assert of(one) == []
    assert [status.state for status in of(other)] == ["serving"]
    assert is_answered(other)
    umount(other)
    assert of(other) == []


@pytest.mark.parametrize("engine", ENGINES)
def test_bound_to_a_second_place(start, made, both, place, tmp_path, engine):
    start(both.project, place, engine)
    second = tmp_path / "second"
    second.mkdir()
    made.append(second)
    mount2(place, second, flags=MS_BIND)
    assert [status.state for status in of(place)] == ["serving"]
    assert of(second) == []
    umount(second)
    assert mounted_at(str(second)) is None
    assert [status.state for status in of(place)] == ["serving"]
    mount2(place, second, flags=MS_BIND)
    began = time.monotonic()
    umount(place)
    assert time.monotonic() - began < 5  # nobody waits for a process that goes on serving the second place
    assert is_answered(second)
    statuses()  # what it forgets of the first place
    umount(second)
    assert mounted_at(str(second)) is None


@pytest.mark.parametrize("engine", ENGINES)
def test_moved_to_another_place(start, made, both, tmp_path, engine):
    outer = tmp_path / "outer"  # a mount can only be moved out of one that isn't shared
    outer.mkdir()
    made.append(outer)
    mount2("outer", outer, "tmpfs")
    mount2("", outer, flags=1 << 18)  # MS_PRIVATE
    place, moved = outer / "place", outer / "moved"
    moved.mkdir()
    start(both.project, place, engine)
    made.insert(0, moved)
    record = of(place)[0].record
    mount2(place, moved, flags=MS_MOVE)
    assert [status.state for status in of(moved)] == ["serving"]
    assert of(place) == []
    umount(moved)
    assert mounted_at(str(moved)) is None
    assert of(moved) == []
    assert not record.has_process()


@pytest.mark.parametrize("engine", ["native", "kernel"])
def test_something_mounted_over_it(both, place, engine, made):
    """Whoever ends a mount doesn't unmount what somebody has mounted above."""
    made.append(place)
    mounted = blobdir.mount(both.project, place, engine=engine)
    mount2("above", place, "tmpfs")
    (place / "theirs").write_bytes(b"theirs")
    os.kill(mounted.record.pid, signal.SIGTERM)
    wait_until(lambda: not mounted.record.has_process())
    assert (place / "theirs").read_bytes() == b"theirs"
    assert mounted_at(str(place)).source == "above"


@pytest.mark.parametrize("source", ["sshfs of blobdir-host", "blobdir"])
def test_a_dead_mount_of_others_is_left_alone(both, place, made, source):
    made.append(place)
    device = os.open("/dev/fuse", os.O_RDWR)
    data = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    libc = ctypes.CDLL(None, use_errno=True)
    words = [os.fsencode(word) for word in (source, str(place), "fuse.sshfs")]
    assert libc.mount(*words, ctypes.c_ulong(0), data.encode()) == 0
    os.close(device)
    with pytest.raises(MountError):
        blobdir.mount(both.project, place, engine="native")
    assert mounted_at(str(place)).source == source


# -- what is said --------------------------------------------------------------------------------------------


@pytest.fixture
def written(start, both, place):
    """The record of a mount, to be written in another form."""
    start(both.project, place, "native")
    record = next(record for record in records() if record.mountpoint == str(place))
    yield record
    record.save()
    umount(place)


def test_a_process_with_the_same_number_is_another_one(written):
    boot, _, ticks = written.birth.rpartition(" ")
    other = replace(written, birth=f"{boot} {int(ticks) + 1}")
    assert other.has_process() is False
    assert written.has_process() is True


def test_a_record_of_an_earlier_start_of_the_machine_is_forgotten(written, place):
    replace(written, birth=f"0-0 {written.birth.partition(' ')[2]}").save()
    assert [status.state for status in of(place)] == ["unknown"]  # it's there, but nobody knows whose
    assert not written.path().exists()


def test_from_another_namespace_of_processes_nothing_is_claimed(written, place):
    boot, _, ticks = written.birth.split(" ")
    replace(written, birth=f"{boot} pid:[1] {ticks}", mount=MountIdentity(1, 0, "0:0", "fuse.blobdir")).save()
    assert "unknown" in [status.state for status in of(place)]
    assert written.path().exists()


@pytest.mark.parametrize("engine", ["native", "kernel"])
def test_from_another_namespace_of_mounts_nothing_is_claimed(start, both, place, engine, apart):
    start(both.project, place, engine)
    record = of(place)[0].record
    program = "import json; from blobdir.mounting import statuses; print(json.dumps([s.to_json() for s in statuses()]))"
    words = [f'umount -l "{place}"; exec "{sys.executable}" -c "{program}"']
    command = apart("sh", "-c", *words)
    said = subprocess.run(command, capture_output=True, text=True, timeout=40, check=True).stdout
    assert [status["state"] for status in json.loads(said) if status["mountpoint"] == str(place)] == ["unknown"]
    assert record.path().exists()
    assert [status.state for status in of(place)] == ["serving"]


def test_identity_of_mounts_on_kernels_without_unique_numbers(start, both, place):
    start(both.project, place, "native")
    identity = of(place)[0].record.mount
    plain = identity._replace(unique=0)
    assert plain.entry() == identity.entry() != None  # noqa: E711
    assert plain._replace(device="0:1").entry() is None
    assert plain._replace(fstype="tmpfs").entry() is None
    assert MountIdentity().entry() is None
    umount(place)
    assert identity.entry() is None


def test_what_cannot_be_looked_at_is_not_gone(start, own, place):
    start(own.project, place, "native")
    status = of(place)[0]
    assert (status.changed, status.not_looked_at) == ([], "")
    (own.project / "blob/a.tar").rename(own.project / "blob/kept")
    os.symlink("a.tar", own.project / "blob/a.tar")  # ELOOP
    said = [sentence for sentence in of(place)[0].changed if sentence.startswith("blob/a.tar")]
    assert said == ["blob/a.tar can't be looked at any more: Too many levels of symbolic links"]


def test_of_remote_projects_it_is_said_that_nobody_looked(written, place):
    replace(written, url="s3://bucket/project").save()
    status = of(place)[0]
    assert (status.changed, status.not_looked_at) == ([], "the project is remote")
    command = [sys.executable, "-m", "blobdir", "status"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=40, check=True).stdout
    assert "changed   isn't known: the project is remote" in said


def test_birth_and_namespace_are_those_of_the_process():
    assert birth_of(os.getpid()) == birth_of(os.getpid()) != birth_of(1)
    assert birth_of(os.getpid()).split(" ")[:2] == birth_of(1).split(" ")[:2]
    assert mount_namespace().endswith(os.readlink("/proc/self/ns/mnt"))
    assert len({entry.number for entry in mounts()}) == len(mounts())
    assert state_folder().is_dir()
