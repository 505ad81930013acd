"""Mounts that come to nothing, or end otherwise than they were meant to: all of them goes, and nothing else does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from mounting.engines import KERNEL

import blobdir
from blobdir.errors import MountError
from blobdir.mounting.background import run_in_background
from blobdir.mounting.mountinfo import mounted_at
from blobdir.mounting.options import MountOptions
from blobdir.mounting.session import Session
from blobdir.mounting.state import state_folder
from blobdir.mountlines import mounts

pytestmark = pytest.mark.timeout(60)
ENGINES = ["native", "fusepy", KERNEL]
COMMAND = [sys.executable, "-m", "blobdir"]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount something else")


def run(*words, **more):
    return subprocess.run([*COMMAND, *map(str, words)], capture_output=True, text=True, timeout=40, check=False, **more)


def wait_until(true, seconds=15.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def children(pid):
    with suppress(OSError):
        tasks = os.listdir(f"/proc/{pid}/task")
        return [int(one) for task in tasks for one in Path(f"/proc/{pid}/task/{task}/children").read_text().split()]
    return []


def below(folder):
    return [entry.mountpoint for entry in mounts() if entry.mountpoint.startswith(f"{folder}/")]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# -- nobody is told of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [BrokenPipeError("nobody reads"), RuntimeError("no"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("engine", ENGINES)
def test_who_cant_be_told(both, place, engine, error):
    """What goes wrong when the mount answers ends it, and is told, as with libfuse, which doesn't ask."""
    before = set(os.listdir(state_folder()))

    def job(_):
        def ready(_):
            raise error

        Session(str(both.project), str(place), MountOptions(engine=engine), leave=True).run(ready)

    said = str(error) if isinstance(error, Exception) else "has died"
    with pytest.raises(MountError, match=said):
        run_in_background(job)
    wait_until(lambda: mounted_at(str(place)) is None)
    assert set(os.listdir(state_folder())) <= {*before, "messages.log"}


@pytest.mark.parametrize("engine", ENGINES)
def test_an_interrupted_program_leaves_nothing(both, tmp_path, engine):
    """Ctrl-C that comes to the program only, as in a notebook, while the project is being opened."""
    code = (
        "import blobdir, sys, time\n"
        "try: blobdir.mount(sys.argv[1], engine=sys.argv[2])\n"
        "except KeyboardInterrupt: print('interrupted', flush=True); time.sleep(1)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code, both.project, engine]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as program:
        found = []
        while not found:
            assert program.poll() is None
            found = [pid for child in children(program.pid) for pid in children(child)]
        os.kill(found[0], signal.SIGSTOP)  # it takes a while to open the project
        os.kill(program.pid, signal.SIGINT)
        time.sleep(0.6)
        os.kill(found[0], signal.SIGCONT)
        assert program.communicate(timeout=30)[0] == "interrupted\n"
    wait_until(lambda: not is_alive(found[0]))
    assert below(tmp_path) == []
    assert [name for name in os.listdir(tmp_path) if name.startswith("blobdir-")] == []


@pytest.mark.parametrize("how", ["end", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_program_that_forgets_its_mount_leaves_nothing(both, tmp_path, engine, how):
    code = "import blobdir, sys; blobdir.mount(sys.argv[1], engine=sys.argv[2]); print(1, flush=True); sys.stdin.read()"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code, both.project, engine]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as program:
        assert program.stdout.readline()
        assert len(below(tmp_path)) == 1
        if how != "end":
            program.send_signal(signal.Signals[how])
    wait_until(lambda: not below(tmp_path))
    wait_until(lambda: not [name for name in os.listdir(tmp_path) if name.startswith("blobdir-")])


# -- a full disk ---------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    """Makes a disk of few pages or names, for what is mounted to be written down on."""
    folder = tmp_path / "small"
    folder.mkdir()

    def make(options):
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
        return folder

    yield make
    subprocess.run(["umount", "-l", folder], check=False, stderr=subprocess.DEVNULL)


@needs_root
@pytest.mark.platform
@pytest.mark.parametrize("free", [0, 1, 2, "no names"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_full_disk_where_mounts_are_written_down(both, place, small, tmp_path, engine, free):
    state = small("size=1m,nr_inodes=2" if free == "no names" else f"size={16 * os.sysconf('SC_PAGE_SIZE')}")
    if free == "no names":
        (state / "fill").touch()
    else:
        (state / "fill").write_bytes(bytes((16 - free) * os.sysconf("SC_PAGE_SIZE")))
    environment = {**os.environ, "BLOBDIR_STATE_DIR": str(state)}
    log = tmp_path / "log"
    done = run("mount", "-q", both.project, place, "--engine", engine, "--log", log, env=environment)
    if done.returncode:
        assert (done.returncode, done.stdout) == (8, "")
        assert f"blobdir: {state}/" in done.stderr
        assert "can't be written (No space left on device)" in done.stderr
    else:
        for path in (both.plain / "train/img").iterdir():
            if not path.is_symlink():
                assert (place / "train/img" / path.name).read_bytes() == path.read_bytes()
        assert "died of" not in (log.read_text() if log.exists() else "")
        assert run("umount", place, env=environment).returncode == 0
    wait_until(lambda: mounted_at(str(place)) is None)
    wait_until(lambda: os.listdir(state) == ["fill"])
    if free in (0, "no names"):
        assert done.returncode == 8


def test_a_log_on_a_full_disk_says_nothing_else():
    code = (
        "import logging; from blobdir.mounting.background import start_log\n"
        "start_log('/dev/full', foreground=False); logging.getLogger('blobdir').error('x' * 100_000)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert "Logging error" not in done.stderr


# -- which one it is -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
def test_the_end_takes_no_other_mount(both, place, engine):
    """Ours was unmounted, and somebody has mounted another one at the same place."""
    with blobdir.mount(both.project, place, engine=engine) as path:
        blobdir.umount(path)
        other = blobdir.mount(both.project, place, engine=engine, keep=True)
    assert other.record.mount.entry() is not None
    (place / "meta.json").read_bytes()
    other.unmount()
    with pytest.raises(MountError, match="was unmounted already"):
        other.unmount()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("how", ["block", "unmount"])
def test_the_end_finds_what_was_moved(both, tmp_path, engine, how):
    (tmp_path / "a/mnt").mkdir(parents=True)
    mount = blobdir.mount(both.project, tmp_path / "a/mnt", engine=engine)
    if how == "block":
        with mount:
            (tmp_path / "a").rename(tmp_path / "b")
    else:
        (tmp_path / "a").rename(tmp_path / "b")
        mount.unmount()
    assert below(tmp_path) == []


@pytest.mark.parametrize("engine", ["native", "fusepy"])
@pytest.mark.parametrize("how", ["killed", "unmounted"])
def test_the_end_of_what_is_dead_or_gone(both, engine, how):
    """The temporary mount point goes, too."""
    with blobdir.mount(both.project, engine=engine) as path:
        (record,) = [one for one in _records() if one.mountpoint == str(path)]
        if how == "killed":
            os.kill(record.pid, signal.SIGSTOP)
            for pid in [*children(record.pid), record.pid]:
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not is_alive(record.pid))
        else:
            blobdir.umount(path, lazy=True)
    assert mounted_at(str(path)) is None
    assert path.name not in os.listdir(path.parent)
    wait_until(lambda: not (state_folder() / f"{record.pid}.json").exists())


def _records():
    from blobdir.mounting.state import records

    return list(records())


@needs_root
@pytest.mark.platform
@pytest.mark.parametrize("engine", ENGINES)
def test_something_is_mounted_over_it(both, place, engine):
    mount = blobdir.mount(both.project, place, engine=engine)
    subprocess.run(["mount", "-t", "tmpfs", "mine", place], check=True)
    says = rf"tmpfs \(mine\) is mounted over the blob project there; unmount that first \(umount {place}\)"
    try:
        with pytest.raises(MountError, match=says):
            mount.unmount(lazy=True)
        with pytest.raises(MountError, match=says):
            blobdir.umount(place, lazy=True)
        assert mounted_at(str(place)).source == "mine"
    finally:
        subprocess.run(["umount", place], check=True)
    mount.unmount()
    assert mounted_at(str(place)) is None


@pytest.mark.parametrize("engine", ENGINES)
def test_at_the_same_time_at_one_place(both, place, engine):
    words = [*COMMAND, "mount", "-q", both.project, place, "--engine", engine]
    programs = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [program.communicate(timeout=50)[1] for program in programs]
    assert sorted(program.returncode for program in programs) == [0, 8, 8], said
    blobdir.umount(place)
    assert mounted_at(str(place)) is None


# -- names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a\r\x0b\x0c\x1c\x1d\x1e\x85\u2028b", "a\nb\t \\040"], ids=ascii)
@pytest.mark.parametrize("engine", ENGINES)
def test_mount_points_with_odd_names(both, tmp_path, engine, name):
    place = tmp_path / name
    place.mkdir()
    with blobdir.mount(both.project, place, engine=engine) as path:
        assert mounted_at(str(path)) is not None
    assert below(tmp_path) == []
    blobdir.mount(both.project, place, engine=engine)
    assert run("umount", place).returncode == 0
    assert below(tmp_path) == []


CUT = "обучение_сети"
"""What the kernel keeps of it, 15 bytes, ends in the middle of a letter."""
NAMED = f"import ctypes, sys, time; ctypes.CDLL(None).prctl(15, {CUT.encode()!r}); "


@pytest.mark.parametrize("engine", ENGINES)
def test_programs_whose_names_are_cut(both, place, engine, apart):
    """They have it in use: here, and in another namespace of mounts."""
    blobdir.mount(both.project, place, engine=engine)
    code = NAMED + f"file = open({str(place / 'meta.json')!r}); print(1, flush=True); time.sleep(40)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline()
        with pytest.raises(MountError, match=rf"in use by обучени\ufffd \({holder.pid}\)"):
            blobdir.umount(place)
        holder.kill()
    if os.geteuid() == 0:
        code = NAMED + "print(1, flush=True); time.sleep(40)"
        words = apart(sys.executable, "-c", code)
        with subprocess.Popen(words, stdout=subprocess.PIPE) as holder:
            assert holder.stdout.readline()
            with pytest.raises(MountError, match=rf"goes on elsewhere: обучени\ufffd \({holder.pid}\)"):
                blobdir.umount(place)
            holder.kill()
    else:
        blobdir.umount(place)


# -- programs that mount -------------------------------------------------------------------------------------

MOUNT = (
    "import os, sys\n"
    "for number in map(int, sys.argv[3:]): os.close(number)\n"
    "import blobdir\n"
    "out = os.open(sys.argv[1] + '.out', os.O_WRONLY | os.O_CREAT)\n"
    "with blobdir.mount(sys.argv[1], engine=sys.argv[2]) as path:\n"
    "    data = b''.join(p.read_bytes() for p in sorted((path / 'train/img').iterdir()) if not p.is_symlink())\n"
    "os.write(out, str(len(data)).encode())\n"
)


@pytest.fixture
def program(own, tmp_path):
    """Runs a program that mounts, reads, and writes down how much it read."""
    script = tmp_path / "elsewhere/program.py"
    script.parent.mkdir()
    script.write_text(MOUNT)

    def go(engine, *closed, **more):
        words = [sys.executable, script, own.project, engine, *map(str, closed)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=50, check=False, **more)
        files = [path for path in (own.plain / "train/img").iterdir() if not path.is_symlink()]
        assert done.returncode == 0, done.stderr
        assert int(Path(f"{own.project}.out").read_text()) == sum(path.stat().st_size for path in files)

    return go


@pytest.mark.parametrize("closed", [(2,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("engine", ENGINES)
def test_programs_that_have_closed_their_output(program, engine, closed):
    """As daemons do: no file of ours gets its number."""
    program(engine, *closed)


@pytest.mark.parametrize("name", ["queue", "numpy", "fuse", "blobdir"])
def test_the_working_folder_isnt_imported_from(program, tmp_path, name):
    """It may be that of data that somebody else has made."""
    (tmp_path / "data").mkdir()
    (tmp_path / f"data/{name}.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w'); raise RuntimeError\n")
    program("fusepy" if name == "fuse" else "native", cwd=tmp_path / "data")
    assert not (tmp_path / "was run").exists()


def test_the_mount_has_the_programs_own_path(own, tmp_path):
    """Where that isn't in the environment."""
    code = f"import sys; sys.path[:] = {sys.path!r}\n"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    script = tmp_path / "program.py"
    script.write_text(code + MOUNT)
    words = [sys.executable, script, own.project, "native"]
    subprocess.run(words, env=environment, cwd=tmp_path, check=True, timeout=50)
