"""Mounting, unmounting, and dying: by command, by API, by signals."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

import blobdir
from blobdir.errors import MountError
from blobdir.mounting import statuses
from blobdir.mounting.mountinfo import mounted_at
from blobdir.mountlines import mounts

COMMAND = [str(Path(sys.executable).with_name("blobdir"))]
ROUNDS = int(os.environ.get("BLOBDIR_TEST_ROUNDS", "40"))
READER_S = float(os.environ.get("BLOBDIR_TEST_READER_SECONDS", "4"))


def run(*words, **more):
    done = subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=40, check=False, **more)
    return done.returncode, done.stdout, done.stderr


def wait_until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def status_of(place):
    return next(status for status in statuses() if status.record.mountpoint == str(place))


def processes(place):
    """The supervisor, and its workers."""
    pid = status_of(place).record.pid
    return pid, list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def images(both):
    return {path.name: path.read_bytes() for path in (both.plain / "train/img").iterdir() if not path.is_symlink()}


# -- the commands --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["auto", "native", "fusepy"])
def test_mount_status_umount(both, place, engine):
    code, out, said = run("mount", both.project, place, "--engine", engine)
    assert (code, out) == (0, "")
    assert f"is mounted at {place} ({'native' if engine == 'auto' else engine} engine:" in said
    assert (place / "meta.json").read_bytes() == (both.project / "meta.json").read_bytes()
    code, out, _ = run("status")
    assert code == 0
    assert f"{place}  {both.project}" in out
    assert "serving" in out
    (shown,) = (one for one in json.loads(run("status", "--json")[1]) if one["mountpoint"] == str(place))
    assert shown["counters"]["requests"] > 0
    assert shown["counters"]["bytes"] >= (both.project / "meta.json").stat().st_size
    assert shown["uptime_s"] >= 0
    assert shown["changed"] == []
    pid = shown["pid"]
    assert run("umount", place) == (0, "", "")
    assert not os.path.ismount(place)
    wait_until(lambda: not is_alive(pid))
    assert str(place) not in run("status")[1]


def test_output_of_the_command_ends(both, place):
    """Who reads the command's output by a pipe isn't kept waiting by the process in the background."""
    done = subprocess.run(
        f"'{COMMAND[0]}' mount '{both.project}' '{place}' 2>&1 | cat",
        shell=True,
        timeout=20,
        capture_output=True,
        check=True,
    )
    assert b"is mounted at" in done.stdout
    blobdir.umount(place)


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda place: place.rmdir(), "there is no such folder; make it first: mkdir -p"),
        (lambda place: (place / "x").touch(), "isn't empty ('x' and 0 more)"),
        (lambda place: (place.rmdir(), place.touch()), "isn't a folder"),
    ],
)
def test_mount_points_that_wont_do(both, place, prepare, says):
    prepare(place)
    code, out, said = run("mount", both.project, place)
    assert (code, out) == (8, "")
    assert says in said
    assert said.count("\n") == 1


def test_mounted_already(both, place):
    with blobdir.mount(both.project, place):
        code, _, said = run("mount", both.project, place)
        assert code == 8
        assert "is mounted there already" in said


def test_no_project(tmp_path, place):
    code, _, said = run("mount", tmp_path / "none", place)
    assert code == 3
    assert "doesn't exist" in said
    assert not os.path.ismount(place)


def test_no_device(both, place, monkeypatch):
    monkeypatch.setattr("blobdir.mounting.attach.DEVICE", "/dev/no-fuse-here")
    from blobdir.mounting.attach import attach

    with pytest.raises(MountError, match="modprobe fuse"):
        attach(str(place), fsname="x", allow_other=False)


def test_in_use(both, place):
    with blobdir.mount(both.project, place), open(place / "meta.json", "rb") as held:
        code, _, said = run("umount", place)
        assert code == 8
        assert f"is in use by {Path('/proc/self/comm').read_text().strip()} ({os.getpid()})" in said
        assert held.read(1) == b"{"
        assert run("umount", "--lazy", place)[0] == 0
        assert not os.path.ismount(place)
    assert run("umount", place)[0] == 8


def test_umount_of_something_else(place):
    code, _, said = run("umount", "/proc")
    assert code == 8
    assert "not a blob project; use umount" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_foreground(both, place, number):
    with subprocess.Popen([*COMMAND, "mount", "-f", both.project, place], stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: os.path.ismount(place))
        assert (place / "meta.json").exists()
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 0
    assert f"unmounting: {signal.Signals(number).name}" in said
    assert not os.path.ismount(place)


def test_ctrl_c_in_a_terminal_reaches_all(both, place):
    """Ctrl-C goes to the whole group: the workers leave it to the supervisor."""
    command = [*COMMAND, "mount", "-f", str(both.project), str(place)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        wait_until(lambda: os.path.ismount(place))
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert not os.path.ismount(place)


def test_mount_options(both, place):
    words = "uid=1234,gid=5,umask=0337,noatime,nofail,x-systemd.automount,fsname=my\\,name,workers=1"
    assert run("mount", both.project, place, "-o", words, "-o", "show_blobs")[0] == 0
    found = (place / "notes.txt").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1234, 5, 0o440)
    assert (place / "blob/a.tar").exists()
    assert mounted_at(str(place)).source == "my,name"
    assert len(processes(place)[1]) == 1
    blobdir.umount(place)
    code, _, said = run("mount", both.project, place, "-o", "nonsense")
    assert code == 2
    assert "allow_other" in said


def test_helper_of_mount8(both, place, tmp_path):
    """`mount -t blobdir` calls it by its name in /sbin; here it's called as mount(8) does."""
    helper = Path(sys.executable).with_name("mount.blobdir")
    subprocess.run([helper, both.project, place, "-n", "-o", "rw,allow_other,uid=7"], check=True, timeout=20)
    assert (place / "meta.json").stat().st_uid == 7
    subprocess.run(["umount", place], check=True, timeout=20)
    wait_until(lambda: not [status for status in statuses() if status.record.mountpoint == str(place)])
    done = subprocess.run([helper, tmp_path / "none", place, "-o", "ro"], capture_output=True, timeout=20, check=False)
    assert done.returncode == 32
    assert b"doesn't exist" in done.stderr


def test_umount8(both, place):
    """The ordinary umount does; the process ends by itself."""
    made = blobdir.mount(both.project, place)
    subprocess.run(["umount", place], check=True, timeout=20)
    wait_until(lambda: not is_alive(made.record.pid))


# -- the API -------------------------------------------------------------------------------------------------


def test_api(both):
    with blobdir.mount(both.project) as path:
        assert (path / "meta.json").exists()
        assert status_of(path).record.engine == "native"
    assert not path.exists()


def test_api_errors(both, tmp_path):
    with pytest.raises(blobdir.BlobdirError, match="doesn't exist") as caught:
        blobdir.mount(tmp_path / "none")
    assert type(caught.value).__name__ == "NotAProjectError"
    with pytest.raises(MountError, match="no such folder"):
        blobdir.mount(both.project, tmp_path / "none")
    with pytest.raises(ValueError, match="engine"):
        blobdir.mount(both.project, engine="none")


@pytest.mark.parametrize("end", ["killed", "exit", "_exit"])
@pytest.mark.parametrize("engine", ["native", "fusepy", "kernel"])
def test_a_mount_goes_with_the_process_that_made_it(both, place, engine, end):
    mount = f"mount = blobdir.mount({str(both.project)!r}, {str(place)!r}, engine={engine!r})"
    how = "os._exit(0)" if end == "_exit" else "exit()"
    code = f"import blobdir, os; {mount}; print('up', flush=True); input(); {how}"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"up\n"
        assert os.path.ismount(place)
        pid, workers = processes(place)
        process.kill() if end == "killed" else process.communicate(b"\n")
    wait_until(lambda: not os.path.ismount(place))
    wait_until(lambda: not any(map(is_alive, [pid, *workers])))


# -- dying ---------------------------------------------------------------------------------------------------


def test_killed_workers(mount, both, place, images):
    """Readers get an error or the bytes, and never wait for ever; the next read works."""
    mount(both.project)
    names, stop, errors, wrong = sorted(images), threading.Event(), [], []

    def read():
        chosen = random.Random()
        while not stop.is_set():
            name = chosen.choice(names)
            try:
                descriptor = os.open(place / "train/img" / name, os.O_RDONLY)
                try:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                    data = b"".join(iter(lambda d=descriptor: os.read(d, 1 << 20), b""))
                finally:
                    os.close(descriptor)
                if data != images[name]:
                    wrong.append(name)
            except OSError as error:
                errors.append(error.errno)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    killed = 0
    for _ in range(8):
        time.sleep(0.15)
        for worker in processes(place)[1][:1]:
            os.kill(worker, signal.SIGKILL)
            killed += 1
    time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert wrong == []
    assert len(errors) <= killed * 6
    for name in names:
        assert (place / "train/img" / name).read_bytes() == images[name]
    status = status_of(place)
    assert status.counters["restarts"] >= killed - 1
    assert len(processes(place)[1]) == status.record.workers


def test_all_workers_killed_at_once(mount, both, place):
    mount(both.project)
    for worker in processes(place)[1]:
        os.kill(worker, signal.SIGKILL)
    assert (place / "train/img/plain.png").read_bytes() == b"a plain image" * 100


def test_killed_supervisor(mount, both, place):
    """The workers notice, and unmount."""
    mount(both.project)
    pid, workers = processes(place)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not os.path.ismount(place))
    wait_until(lambda: not any(map(is_alive, workers)))
    assert [status for status in statuses() if status.record.pid == pid] == []


def kill_all(place):
    pid, workers = processes(place)
    for one in (pid, *workers):
        os.kill(one, signal.SIGSTOP)
    for one in (pid, *workers):
        os.kill(one, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, [pid, *workers])))
    return pid


def test_everybody_killed(mount, both, place):
    """What is left is said to be dead, and the next mount there cleans up."""
    mount(both.project)
    kill_all(place)
    with pytest.raises(OSError, match="not connected"):
        os.stat(place / "meta.json")
    code, out, _ = run("status")
    assert code == 1
    assert "dead: its process is gone" in out
    with blobdir.mount(both.project, place):
        assert (place / "meta.json").exists()
        assert len([entry for entry in mounts() if entry.mountpoint == str(place)]) == 1


def test_umount_of_a_dead_mount(mount, both, place):
    mount(both.project)
    kill_all(place)
    assert run("umount", place)[0] == 0
    assert str(place) not in run("status")[1]


def test_reader_killed(mount, both, place):
    mount(both.project)
    readers = [
        subprocess.Popen(["cat", *map(str, (place / "train/img").iterdir())], stdout=subprocess.DEVNULL)
        for _ in range(4)
    ]
    time.sleep(0.01)
    for reader in readers:
        reader.kill()
    for reader in readers:
        reader.wait(20)
    assert (place / "train/img/plain.png").read_bytes() == b"a plain image" * 100
    assert len(processes(place)[1]) == status_of(place).record.workers


def test_mount_point_removed(both, place, apart):
    """From another mount namespace, where nothing is mounted on it, the folder can be removed: that unmounts."""
    ready = "import sys; print('up', flush=True); sys.stdin.readline(); import os; os.rmdir(sys.argv[1])"
    words = apart(sys.executable, "-c", ready, place)
    other = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"up\n"
    made = blobdir.mount(both.project, place)
    other.communicate(b"\n", timeout=20)
    assert other.returncode == 0
    wait_until(lambda: not is_alive(made.record.pid))
    assert mounted_at(str(place)) is None


@pytest.mark.timeout(max(180, ROUNDS))
def test_rounds_leave_nothing(both, place):
    """Mounting and unmounting over and over: no process, descriptor or mount is left."""
    code = f"""
import os, sys
from blobdir.mounting.control import start, umount
from blobdir.mounting.options import MountOptions
descriptors = None
for i in range({ROUNDS}):
    start({str(both.project)!r}, {str(place)!r}, MountOptions(workers=1 + i % 3))
    if i % 10 == 0:
        with open({str(place)!r} + "/meta.json", "rb") as file:
            assert file.read() == b'{{"classes": []}}'
    umount({str(place)!r})
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            break
    now = sorted(os.listdir("/proc/self/fd"))
    descriptors = descriptors or now
    assert now == descriptors, (descriptors, now)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], timeout=max(170, ROUNDS), check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [entry for entry in mounts() if entry.mountpoint == str(place)] == []
    assert [status for status in statuses() if status.record.mountpoint == str(place)] == []
    found = subprocess.run(["pgrep", "-f", str(place)], capture_output=True, text=True, check=False).stdout
    assert found == ""


@pytest.mark.timeout(60 + READER_S)
def test_many_readers(mount, both, place, images):
    """200 processes read at the same time; see BLOBDIR_TEST_READER_SECONDS."""
    mount(both.project)
    names, end, pids = sorted(images), time.monotonic() + READER_S, []
    for seed in range(200):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                chosen = random.Random(seed)
                while time.monotonic() < end:
                    name = chosen.choice(names)
                    descriptor = os.open(place / "train/img" / name, os.O_RDONLY)
                    if chosen.random() < 0.3:
                        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                    with open(descriptor, "rb") as file:
                        assert file.read() == images[name]
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    assert {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids} == {0}
    assert status_of(place).counters["errors"] == 0


def test_a_worker_that_cannot_be_replaced_at_once(mount, both, place, tmp_path):
    """Where no process can be made for a moment, as at a container's limit, the mount goes on, and gets it later."""
    limits = (
        Path("/sys/fs/cgroup/pids") if Path("/sys/fs/cgroup/pids/cgroup.procs").exists() else Path("/sys/fs/cgroup")
    )
    group = limits / f"blobdir-test-{os.getpid()}"
    group.mkdir()
    pids = []
    try:
        mount(both.project, workers=2, log=str(tmp_path / "log"))
        pid, workers = processes(place)
        pids = [pid, *workers]
        for one in pids:
            (group / "cgroup.procs").write_text(str(one))
        (group / "pids.max").write_text("1")
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        wait_until(lambda: "can't be started" in (tmp_path / "log").read_text())
        assert os.path.ismount(place)
        (group / "pids.max").write_text("max")
        assert (place / "train/img/plain.png").read_bytes() == b"a plain image" * 100
        wait_until(lambda: len(processes(place)[1]) == 2)
    finally:
        with suppress(OSError):
            (group / "pids.max").write_text("max")
        if os.path.ismount(place):
            blobdir.umount(place)
        wait_until(lambda: not (group / "cgroup.procs").read_text().split())
        group.rmdir()


@pytest.mark.parametrize("engine", ["native", "fusepy", "kernel"])
def test_signals_that_the_caller_has_blocked(both, place, engine):
    """As a program does that waits for its own by sigwait(3): a mount that it starts can be ended all the same."""
    code = f"""
import os, signal, sys, time, blobdir
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD])
made = blobdir.mount({str(both.project)!r}, {str(place)!r}, engine={engine!r})
os.kill(made.record.pid, signal.SIGTERM)
end = time.monotonic() + 10
while os.path.ismount(made.path) and time.monotonic() < end:
    time.sleep(0.02)
print(os.path.ismount(made.path))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=40, check=False)
    assert done.stdout == "False\n", done.stderr
