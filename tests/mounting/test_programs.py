"""`blobdir.mount` in programs that are otherwise than most: frozen, interrupted, talkative, with a device of theirs."""

from __future__ import annotations

import ctypes
import fcntl
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from mounting.engines import KERNEL

import blobdir
from blobdir.errors import MountError
from blobdir.mounting import control
from blobdir.mounting.mountinfo import mounted_at
from blobdir.mountlines import mounts
from blobdir.processes import python_command

pytestmark = [pytest.mark.timeout(60), pytest.mark.platform]
ENGINES = ["native", "fusepy", KERNEL]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount for somebody else")


def left_below(folder):
    return [entry.mountpoint for entry in mounts() if entry.mountpoint.startswith(f"{folder}/")], os.listdir(folder)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Where temporary mount points are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("engine", ENGINES)
def test_a_path_object_in_the_programs_path(both, place, monkeypatch, engine):
    monkeypatch.setattr(sys, "path", [Path("/tmp"), *sys.path])
    with blobdir.mount(both.project, place, engine=engine) as path:
        assert (path / "meta.json").exists()


@pytest.mark.parametrize("program", ["", None, "/bin/true", "frozen"])
def test_a_program_that_is_no_python(both, temporary, monkeypatch, program):
    """It isn't started again, which would mount, and start it again, without end."""
    if program == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr(sys, "executable", program)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("it was started"))
    says = f"mounting takes another Python.*mount by `blobdir mount {both.project} FOLDER`"
    with pytest.raises(MountError, match=says):
        blobdir.mount(both.project)
    assert left_below(temporary) == ([], [])


def test_a_python_that_isnt_there_any_more(both, temporary, monkeypatch):
    monkeypatch.setattr(sys, "executable", str(temporary.parent / "python3"))
    with pytest.raises(MountError, match="python3 can't be started.*No such file"):
        blobdir.mount(both.project)
    assert left_below(temporary) == ([], [])


@pytest.mark.parametrize("engine", ENGINES)
def test_output_of_what_is_imported_is_no_report(both, temporary, monkeypatch, engine):
    hello = "import os; os.write(1, b'hello'); print('hello'); "
    code = "import blobdir.mounting.__main__ as m; real = m.start\n"
    code += f"def start(*args, **more): exec({hello!r}); return real(*args, **more)\n"
    code += "m.start = start; sys.exit(m.main())"
    command = python_command(f"exec({code!r})")
    monkeypatch.setattr(control, "python_command", lambda _: command)
    with blobdir.mount(both.project, engine=engine) as path:
        assert (path / "meta.json").exists()
    assert left_below(temporary) == ([], [])


@pytest.mark.parametrize("said", [b"", b'{"url": "/da'])
def test_interrupted_before_the_job_was_said(said):
    command = python_command("from blobdir.mounting.__main__ import main; sys.exit(main())")
    done = subprocess.run(command, input=said, capture_output=True, check=False, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("when", ["mounted", "said"])
@pytest.mark.parametrize("engine", ENGINES)
def test_interrupted_when_it_is_mounted(both, temporary, monkeypatch, engine, when, keep):
    """Ctrl-C after the process that mounts has said so, and before the program has its mount."""
    real = control._talk

    def talk(process, job, said):
        if job and when == "mounted":
            process.stdin.write(job)
            process.stdin.close()
            while not left_below(temporary)[0]:
                time.sleep(0.01)
        else:
            real(process, job, said)
        if job:
            raise KeyboardInterrupt

    monkeypatch.setattr(control, "_talk", talk)
    with pytest.raises(KeyboardInterrupt):
        blobdir.mount(both.project, engine=engine, keep=keep)
    end = time.monotonic() + 10
    while left_below(temporary) != ([], []):
        assert time.monotonic() < end, left_below(temporary)
        time.sleep(0.02)


@needs_root
def test_a_device_that_the_program_hands_over(both, place):
    """Whoever made the mount unmounts it."""
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    data = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    assert libc.mount(b"handed over", os.fsencode(place), b"fuse.blobdir", 0, data) == 0
    try:
        blobdir.mount(both.project, f"/dev/fd/{device}", engine="native")
        os.close(device)
        assert (place / "meta.json").read_bytes() == (both.project / "meta.json").read_bytes()
    finally:
        subprocess.run(["umount", place], check=True, timeout=20)
    with pytest.raises(MountError, match="/dev/fd/987: no such descriptor"):
        blobdir.mount(both.project, "/dev/fd/987")


def test_a_mount_point_that_somebody_has_locked(both, place):
    """As ``flock /mnt/x blobdir mount … /mnt/x``: it's mounted after a while."""
    folder = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_SH)
        began = time.monotonic()
        with blobdir.mount(both.project, place, engine="native"):
            assert mounted_at(str(place)) is not None
        assert time.monotonic() - began < 20
    finally:
        os.close(folder)
