"""Who may mount, and who may look in: root, ordinary users by fusermount3, descriptors that are handed over."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import errno
import functools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import blobdir
from blobdir.mounting.mountinfo import mounted_at
from blobdir.mounting.session import without_secrets
from blobdir.mounting.state import records, state_folder
from blobdir.mountlines import parse

NOBODY = 65534
COMMAND = Path(sys.executable).with_name("blobdir")
MAIN = "import sys; from blobdir.cli import main; main(sys.argv[1:])"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")


def wait_until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@functools.cache
def everybodys():
    """A folder for temporary files: some machines let only root write in /tmp."""
    folder = tempfile.mkdtemp(prefix="blobdir-everybodys-")
    os.chmod(folder, 0o1777)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def as_nobody(*command, **more):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "TMPDIR": everybodys(),
        "BLOBDIR_STATE_DIR": more.pop("state", ""),
    }
    return subprocess.run(
        list(map(str, command)),
        user=more.pop("user", NOBODY),
        group=more.pop("group", NOBODY),
        extra_groups=[],
        env=environment,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
        cwd="/",
        **more,
    )


@pytest.fixture(scope="session")
def python():
    """A Python that everybody can run, with this blobdir: this one, or the system's with our packages."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    source = str(Path(blobdir.__file__).parent.parent)
    for candidate in (sys.executable, "/usr/bin/python3"):
        command = ["env", f"PYTHONPATH={':'.join([source, *packages])}", candidate]
        with contextlib.suppress(OSError):
            if as_nobody(*command, "-c", "import blobdir.cli.app, numpy, fuse").returncode == 0:
                return command
    pytest.skip("no Python here that everybody may run: they lie below a folder such as /root")


@pytest.fixture
def open_way(tmp_path, both):
    """Folders that everybody may enter."""
    for path in [tmp_path, *tmp_path.parents, both.project, *both.project.parents]:
        if "pytest-" in str(path):
            path.chmod(path.stat().st_mode | 0o755)
    return tmp_path


@pytest.fixture
def device():
    """The device as udev makes it; where there is no udev, only root may open it."""
    mode = os.stat("/dev/fuse").st_mode
    os.chmod("/dev/fuse", 0o666)
    yield
    os.chmod("/dev/fuse", mode)


@pytest.fixture
def by_nobody(open_way, both, python, device):
    mountpoint, state = open_way / "users-mnt", open_way / "state"
    for folder in (mountpoint, state):
        folder.mkdir()
        os.chown(folder, NOBODY, NOBODY)

    def mount(*words):
        return run("mount", both.project, mountpoint, *words)

    def run(*words):
        return as_nobody(*python, "-c", MAIN, *words, state=str(state))

    mount.run = run
    mount.mountpoint, mount.state = mountpoint, str(state)
    yield mount
    if os.path.ismount(mountpoint):
        subprocess.run(["umount", "-l", mountpoint], check=True)


@pytest.mark.platform
@pytest.mark.parametrize("engine", ["native", "fusepy"])
def test_ordinary_users(by_nobody, both, engine):
    if engine == "fusepy" and not shutil.which("fusermount"):
        pytest.skip("libfuse 2 wants a program called fusermount")
    done = by_nobody("--engine", engine)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    entry = mounted_at(str(by_nobody.mountpoint))
    assert {"ro", "nosuid", "nodev"} <= set(entry.options.split(","))
    seen = as_nobody("cat", by_nobody.mountpoint / "meta.json")
    assert seen.stdout == (both.project / "meta.json").read_text()
    shown = by_nobody.run("status")
    assert f"{by_nobody.mountpoint}  {both.project}" in shown.stdout
    done = by_nobody.run("umount", by_nobody.mountpoint)
    assert (done.returncode, done.stderr) == (0, "")
    assert not os.path.ismount(by_nobody.mountpoint)


@pytest.mark.platform
def test_killed_supervisor_of_an_ordinary_user(by_nobody):
    assert by_nobody().returncode == 0
    command = ["pgrep", "-u", str(NOBODY), "-f", str(by_nobody.mountpoint)]
    pids = list(map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()))
    parents = {pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) for pid in pids}
    (supervisor,) = (pid for pid in pids if parents[pid] not in pids)
    os.kill(supervisor, signal.SIGKILL)
    wait_until(lambda: not os.path.ismount(by_nobody.mountpoint))


@pytest.mark.platform
def test_device_for_root_only(by_nobody):
    os.chmod("/dev/fuse", 0o600)
    done = by_nobody()
    assert done.returncode == 8
    assert "chmod 666 /dev/fuse" in done.stderr


@pytest.mark.platform
def test_allow_other_needs_roots_word(by_nobody):
    if Path("/etc/fuse.conf").exists() and "\nuser_allow_other" in "\n" + Path("/etc/fuse.conf").read_text():
        pytest.skip("root has allowed it on this machine")
    done = by_nobody("-o", "allow_other")
    assert done.returncode == 8
    assert "root must allow that in /etc/fuse.conf: user_allow_other" in done.stderr


@pytest.mark.platform
def test_mount_point_of_somebody_else(by_nobody, both, open_way):
    folder = open_way / "roots"
    folder.mkdir(mode=0o755)
    done = by_nobody.run("mount", both.project, folder)
    assert done.returncode == 8
    assert "isn't writable for user 65534" in done.stderr


@pytest.mark.platform
def test_without_fusermount(by_nobody, both, python):
    code = f"import os; os.environ['PATH'] = '/nowhere'; {MAIN}"
    done = as_nobody(*python, "-c", code, "mount", both.project, by_nobody.mountpoint, state=by_nobody.state)
    assert done.returncode == 8
    assert "install it (Debian, Ubuntu: apt install fuse3" in done.stderr


@pytest.mark.platform
def test_roots_mount_is_private(mount, both, place, open_way):
    mount(both.project)
    done = as_nobody("cat", place / "meta.json")
    assert done.returncode != 0
    assert "Permission denied" in done.stderr


@pytest.mark.platform
def test_allow_other(mount, both, place, open_way):
    """Others may look in, and see what the modes let them."""
    mount(both.project, allow_other=True)
    assert as_nobody("cat", place / "meta.json").returncode == 0
    assert as_nobody("cat", place / "train/img/plain.png").returncode != 0  # 0600
    assert (place / "train/img/plain.png").read_bytes()


def test_inherited_descriptor(both, place, tmp_path):
    """Whoever made the mount hands the device over as /dev/fd/N."""
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    data = f"fd={device},rootmode=40000,user_id=0,group_id=0".encode()
    assert libc.mount(b"handed over", os.fsencode(place), b"fuse.blobdir", 0, data) == 0  # not even read-only
    command = [COMMAND, "mount", "--foreground", both.project, f"/dev/fd/{device}"]
    with subprocess.Popen(command, pass_fds=[device], stderr=subprocess.PIPE, text=True) as process:
        os.close(device)
        assert (place / "meta.json").read_bytes() == (both.project / "meta.json").read_bytes()
        with pytest.raises(OSError, match="Read-only"):
            (place / "new").touch()
        with pytest.raises(OSError, match="Read-only"):
            (place / "meta.json").write_text("x")
        with pytest.raises(OSError, match="Read-only"):
            (place / "meta.json").unlink()
        subprocess.run(["umount", place], check=True, timeout=20)
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_descriptor_that_isnt_one(both, tmp_path):
    more = {"capture_output": True, "text": True, "timeout": 20}
    with open(tmp_path / "file", "w") as file:
        command = [COMMAND, "mount", both.project, f"/dev/fd/{file.fileno()}"]
        done = subprocess.run(command, pass_fds=[file.fileno()], check=False, **more)
    assert done.returncode == 8
    assert "isn't /dev/fuse" in done.stderr
    done = subprocess.run([COMMAND, "mount", both.project, "/dev/fd/99"], check=False, **more)
    assert done.returncode == 8
    assert "no such descriptor" in done.stderr


def test_source_and_options_in_the_mount_table(mount, both, place):
    mount(both.project)
    entry = mounted_at(str(place))
    assert (entry.fstype, entry.source) == ("fuse.blobdir", str(both.project))
    assert {"ro", "nosuid", "nodev"} <= set(entry.options.split(","))


def test_odd_mount_points(both, tmp_path):
    for name in ("with space", "tab\there", "back\\slash", "new\nline", "ünïcødé", "comma,option=1"):
        folder = tmp_path / name
        folder.mkdir()
        with blobdir.mount(both.project, folder) as path:
            assert (path / "meta.json").exists()
        link = tmp_path / f"link to {name}"
        link.symlink_to(folder)
        with blobdir.mount(both.project, link):
            assert (folder / "meta.json").exists()
        assert not os.path.ismount(folder)


def test_mountinfo():
    line = b"42 27 0:39 / /a\\040b\\134c ro,nosuid - fuse.blobdir s3://x\\0541 ro,user_id=0\nshort\n"
    (entry,) = parse(line)
    assert entry == (42, "0:39", "/a b\\c", "ro,nosuid", "fuse.blobdir", "s3://x,1", 27)


def test_urls_are_shown_without_secrets():
    assert without_secrets("s3://key:secret@bucket/x") == "s3://bucket/x"
    assert without_secrets("https://h/x?sig=secret&y=1") == "https://h/x"
    assert without_secrets("zip://a::https://u:p@h/x.zip?t=1") == "zip://a::https://h/x.zip"
    assert without_secrets("/data/why?/a@b") == "/data/why?/a@b"


def test_without_a_session(python):
    """No XDG_RUNTIME_DIR, as in containers: nothing is said about it, and mounts can be written down."""
    done = as_nobody(*python, "-c", MAIN, "status")
    assert done.returncode == 0
    assert done.stderr == ("" if done.stdout else "nothing is mounted\n")  # another test may have mounted something


def test_nowhere_to_write(tmp_path, monkeypatch):
    """Who can't write in any folder has no mounts, and is told what a mount needs."""

    def nowhere():
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp', '/']")

    (tmp_path / "file").touch()
    monkeypatch.setenv("BLOBDIR_STATE_DIR", str(tmp_path / "file/below"))
    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    assert isinstance(list(records()), list)
    with pytest.raises(OSError, match="no folder to write down mounts in.*BLOBDIR_STATE_DIR or TMPDIR"):
        state_folder()


def test_root_of_a_user_namespace(python, open_way, both, device, apart):
    """/run/blobdir isn't theirs, though they are called root."""
    (open_way / "there").mkdir()
    (open_way / "there").chmod(0o777)
    script = (
        f"{' '.join(python)} -c '{MAIN}' mount --engine native {both.project} {open_way}/there && ls {open_way}/there;"
        f"{' '.join(python)} -c '{MAIN}' umount {open_way}/there"
    )
    nobody = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
    command = apart(*nobody, "unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script)
    done = as_nobody(*command, user=0, group=0)
    assert "meta.json" in done.stdout, done.stderr
    assert done.returncode == 0
