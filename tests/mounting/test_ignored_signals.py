"""Callers that ignore signals, which is inherited: SIGCHLD, so that nobody is told how children end, and SIGHUP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from mounting.engines import KERNEL

import blobdir
from blobdir.errors import MountError, NotAProjectError
from blobdir.mounting import attach
from blobdir.mounting.background import run_in_background
from blobdir.mounting.mountinfo import mounted_at

pytestmark = pytest.mark.timeout(60)
PATIENCE_S = 20.0


@pytest.fixture(params=["ignored", "heeded"])
def children(request):
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN if request.param == "ignored" else signal.SIG_DFL)
    yield request.param
    signal.signal(signal.SIGCHLD, before)


@pytest.fixture
def fusermount(tmp_path, monkeypatch):
    """A fusermount3 that does what a test wants, called by somebody who isn't root."""

    def make(script):
        program = tmp_path / "bin/fusermount3"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    return make


@pytest.mark.usefixtures("children")
def test_a_mount_that_is_refused(fusermount, tmp_path):
    fusermount('echo "fusermount3: mount failed: nobody may" >&2; exit 1')
    with pytest.raises(MountError, match="fusermount3: mount failed: nobody may"):
        attach.attach(str(tmp_path), fsname="x", allow_other=False)


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.usefixtures("children")
def test_a_mount_that_comes_to_nothing_without_a_word(fusermount, tmp_path, status):
    fusermount(f"exit {status}")
    with pytest.raises(MountError, match=r"has sent no descriptor|fusermount3: failed"):
        attach.attach(str(tmp_path), fsname="x", allow_other=False)


@pytest.mark.usefixtures("children")
def test_an_unmount_that_is_refused(fusermount, tmp_path):
    fusermount('echo "fusermount3: entry not found" >&2; exit 1')
    with pytest.raises(MountError, match="entry not found"):
        attach.unmount(str(tmp_path))
    fusermount("exit 0")
    attach.unmount(str(tmp_path))


@pytest.mark.usefixtures("children")
def test_what_happens_in_the_background_is_told():
    def fails(_):
        raise NotAProjectError("there is none")

    with pytest.raises(NotAProjectError, match="there is none"):
        run_in_background(fails)
    with pytest.raises(MountError, match="the process that should mount has died"):
        run_in_background(lambda _: os._exit(3))


@pytest.mark.parametrize("engine", ["native", "fusepy", KERNEL])
@pytest.mark.usefixtures("children")
def test_mounting_and_unmounting(own, tmp_path, engine):
    with pytest.raises(NotAProjectError):
        blobdir.mount(tmp_path / "nowhere", engine=engine)
    mounted = blobdir.mount(own.project, engine=engine)
    assert (mounted.path / "notes.txt").read_bytes() == b""
    mounted.unmount()


def ignoring(number, *command):
    """A command whose caller ignores a signal."""
    code = f"import os, signal, sys; signal.signal({int(number)}, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    return [sys.executable, "-c", code, *map(str, command)]


def test_the_command_says_what_it_says_to_others(tmp_path):
    command = [sys.executable, "-m", "blobdir", "mount", tmp_path / "nowhere", tmp_path]
    done = [
        subprocess.run(one, capture_output=True, check=False, timeout=30)
        for one in (command, ignoring(signal.SIGCHLD, *command))
    ]
    assert done[0].returncode == done[1].returncode == 3
    assert done[0].stderr == done[1].stderr


@pytest.mark.parametrize("engine", ["native", "fusepy", KERNEL])
def test_a_mount_in_the_foreground_goes_on_where_hangups_are_ignored(own, place, engine):
    """As by nohup(1)."""
    command = [sys.executable, "-m", "blobdir", "mount", "--foreground", "--engine", engine, own.project, place]
    with subprocess.Popen(ignoring(signal.SIGHUP, *command), stderr=subprocess.PIPE) as process:
        try:
            end = time.monotonic() + PATIENCE_S
            while mounted_at(str(place)) is None or not os.path.exists(place / "notes.txt"):
                assert time.monotonic() < end
                time.sleep(0.05)
            time.sleep(0.5)
            process.send_signal(signal.SIGHUP)
            time.sleep(1.0)
            assert process.poll() is None
            assert (place / "notes.txt").read_bytes() == b""
            process.terminate()
            process.wait(PATIENCE_S)
            assert mounted_at(str(place)) is None
        finally:
            process.kill()
            if mounted_at(str(place)) is not None:
                attach.unmount(str(place), lazy=True)
