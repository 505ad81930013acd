"""Processes that are stopped or frozen for a while, and go on: so does the mount, with all that is under way."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import blobdir
from blobdir.errors import MountError
from blobdir.mounting import statuses
from blobdir.mounting.native.signals import Signals

ROUNDS = int(os.environ.get("BLOBDIR_TEST_STOPS", "1"))
TIMES_S = (0.1, 1.2)
"""Longer than what a supervisor waits for at a time, and shorter."""
WHO = [("native", "supervisor"), ("native", "workers"), ("native", "all"), ("fusepy", "all"), ("kernel", "all")]


class _Stopped:
    """By SIGSTOP: as Ctrl-Z does it, and as a debugger."""

    def __init__(self, pids, _folder):
        self._pids = pids

    def stop(self):
        for pid in self._pids:
            os.kill(pid, signal.SIGSTOP)

    def go_on(self):
        for pid in self._pids:
            os.kill(pid, signal.SIGCONT)

    def end(self):
        self.go_on()


class _Frozen:
    """By a control group, as containers are paused."""

    def __init__(self, pids, folder):
        self._above, self._here = folder, folder / f"blobdir-test-{os.getpid()}"
        self._here.mkdir()
        self._pids = pids
        for pid in pids:
            self._put(self._here, pid)

    def _put(self, folder, pid):
        (folder / "cgroup.procs").write_text(str(pid))

    def _say(self, frozen):
        if self._above.name == "freezer":
            (self._here / "freezer.state").write_text("FROZEN" if frozen else "THAWED")
        else:
            (self._here / "cgroup.freeze").write_text(str(int(frozen)))

    def stop(self):
        self._say(True)

    def go_on(self):
        self._say(False)

    def end(self):
        self.go_on()
        for pid in filter(lambda pid: Path(f"/proc/{pid}").exists(), self._pids):
            with suppress(ProcessLookupError):
                self._put(self._above, pid)
        for _ in range(500):  # who has just ended is still in it
            with suppress(OSError):
                return self._here.rmdir()
            time.sleep(0.01)
        raise TimeoutError(self._here)


def groups():
    """Folders of control groups that can be frozen here, of version 2 and 1."""
    found = []
    for line in filter(None, Path("/proc/self/mounts").read_text(errors="surrogateescape").split("\n")):
        _, folder, kind, options, *_ = line.split(" ")
        if os.access(folder, os.W_OK) and (
            kind == "cgroup2" or (kind == "cgroup" and "freezer" in options.split(",") and folder.endswith("/freezer"))
        ):
            found.append(folder)
    return found


HOW = {"SIGSTOP": (_Stopped, None)} | {folder: (_Frozen, Path(folder)) for folder in groups()}


@contextmanager
def readers(place, images, wrong):
    """Threads that read all the time, and compare."""
    over = threading.Event()

    def read(seed):
        source = random.Random(seed)
        while not over.is_set():
            name = source.choice(sorted(images))
            descriptor = os.open(place / "train/img" / name, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                data = b""
                while part := os.read(descriptor, 1 << 20):
                    data += part
                if data != images[name]:
                    wrong.append(name)
            except OSError as error:
                wrong.append(error)
            finally:
                os.close(descriptor)
            time.sleep(0.001)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(("engine", "who"), WHO)
def test_it_goes_on(both, place, engine, who, how):
    images = {path.name: path.read_bytes() for path in (both.plain / "train/img").iterdir() if not path.is_symlink()}
    wrong = []
    with blobdir.mount(both.project, place, engine=engine):
        before = next(status for status in statuses() if status.record.mountpoint == str(place))
        supervisor = before.record.pid
        workers = list(map(int, Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()))
        assert len(workers) == (before.record.workers if engine == "native" else 0)
        pids = {"supervisor": [supervisor], "workers": workers, "all": [supervisor, *workers]}[who]
        make, folder = HOW[how]
        stopped = make(pids, folder)
        try:
            with readers(place, images, wrong):
                for seconds in TIMES_S * ROUNDS:
                    stopped.stop()
                    time.sleep(seconds)
                    stopped.go_on()
                    time.sleep(0.15)
                    assert os.path.ismount(place)
        finally:
            stopped.end()
        assert wrong == []
        after = next(status for status in statuses() if status.record.mountpoint == str(place))
        assert (after.record, after.counters.get("restarts")) == (before.record, before.counters.get("restarts"))
        assert Path(f"/proc/{supervisor}").exists()
    assert not os.path.ismount(place)


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("engine", ["native", "fusepy", "kernel"])
def test_what_is_said_of_one_that_is_stopped(both, place, engine, how):
    """Nobody who asks waits for it."""
    with blobdir.mount(both.project, place, engine=engine):
        supervisor = next(status for status in statuses() if status.record.mountpoint == str(place)).record.pid
        workers = list(map(int, Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()))
        make, folder = HOW[how]
        stopped = make([supervisor, *workers] if supervisor else [], folder)
        began = time.monotonic()
        try:
            stopped.stop()
            time.sleep(0.1)
            state = next(status for status in statuses() if status.record.mountpoint == str(place)).state
            assert state == ("serving" if engine == "kernel" else "stopped")
            with pytest.raises(MountError, match="is mounted there already|isn't empty"):
                blobdir.mount(both.project, place, engine=engine)
            with pytest.raises(MountError, match="is stopped"):
                blobdir.umount(place)
            assert time.monotonic() < began + 8
        finally:
            stopped.end()


@pytest.mark.parametrize("engine", ["native", "fusepy"])
def test_unmounting_one_that_is_stopped_and_in_use(both, engine):
    """It's said at once, and the temporary mount point stays as long as it's mounted."""
    mount = blobdir.mount(both.project, engine=engine)
    supervisor = mount.record.pid
    workers = map(int, Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split())
    stopped = _Stopped([supervisor, *workers], None)
    over = threading.Timer(8, stopped.end)
    with open(mount.path / "meta.json", "rb"):
        stopped.stop()
        over.start()
        began = time.monotonic()
        try:
            with pytest.raises(MountError, match="is in use"):
                mount.unmount()
            assert time.monotonic() < began + 1.5
        finally:
            over.cancel()
            stopped.end()
    end = time.monotonic() + 10
    while mount._is_there():
        with suppress(MountError):  # the file is being closed
            mount.unmount()
        assert time.monotonic() < end
    assert not mount.path.exists()


def child_that_waits(seconds, times, threads):
    """A process that waits for signals, and sends what it got; and where to read that."""
    here, there = os.pipe()
    pid = os.fork()
    if pid:
        os.close(there)
        return pid, here
    try:
        for _ in range(threads):  # they don't block what the main thread waits for
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        with Signals((signal.SIGTERM, signal.SIGCHLD, signal.SIGINT)) as signals:
            os.write(there, b"ready ")
            for _ in range(times):
                os.write(there, b"%d " % signals.wait(seconds))
    finally:
        os._exit(0)


@pytest.mark.parametrize("threads", [0, 3])
def test_what_is_waited_for_is_what_came(threads):
    """Neither a number out of nothing, nor one that is lost, however often the process is stopped meanwhile."""
    pid, here = child_that_waits(0.05, 40, threads)
    try:
        assert os.read(here, 6) == b"ready "
        for _ in range(5):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.1)
            os.kill(pid, signal.SIGCONT)
            time.sleep(0.01)
        os.kill(pid, signal.SIGSTOP)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)
        with os.fdopen(here) as answers:
            numbers = list(map(int, answers.read().split()))
    finally:
        os.kill(pid, signal.SIGCONT)
        os.waitpid(pid, 0)
    assert sorted(filter(None, numbers)) == [signal.SIGINT, signal.SIGTERM, signal.SIGCHLD]
    assert len(numbers) == 40


def test_a_child_has_signals_of_its_own():
    """What comes to it isn't seen by who has forked it."""
    with Signals((signal.SIGTERM, signal.SIGHUP)) as signals:
        with signals.forking():
            pid = os.fork()
            if not pid:
                signals.forget()
                signal.pthread_sigmask(signal.SIG_SETMASK, ())
                time.sleep(30)
                os._exit(0)
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM
        assert signals.wait(0.05) == 0
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.wait(5) == signal.SIGHUP
