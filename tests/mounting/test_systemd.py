"""The units: checked by systemd-analyze, and run by a real systemd, booted in a container."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import blobdir.demo

ROOT = Path(__file__).parent.parent.parent
UNITS = ROOT / "systemd"
BOOT_S = 100

# Runs in the container, as a service of its systemd.
SCRIPT = r"""
import json, os, signal, subprocess, sys, time

found = {}

def run(*words, check=True):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    if check and done.returncode:
        raise RuntimeError(f"{words}: {done.returncode}: {done.stdout} {done.stderr}")
    return done.stdout.strip()

def show(unit, name):
    return run("systemctl", "show", "--value", "--property", name, unit)

def wait(true):
    for _ in range(500):
        if true():
            return True
        time.sleep(0.02)
    return False

def main():
    where = "/mnt/with space/demo"
    run("systemctl", "start", "blobdir@demo.service")
    found["active"] = show("blobdir@demo.service", "ActiveState")
    found["names"] = sorted(os.listdir(where))
    found["bytes"] = open(f"{where}/meta.json").read() == open("/inside/project/meta.json").read()
    found["images"] = len(os.listdir(f"{where}/train/img"))
    found["status"] = show("blobdir@demo.service", "StatusText")
    found["seen by blobdir"] = run("blobdir", "status")
    first = int(show("blobdir@demo.service", "MainPID"))
    os.kill(first, signal.SIGKILL)
    found["comes back"] = wait(lambda: show("blobdir@demo.service", "ActiveState") == "active"
                               and int(show("blobdir@demo.service", "MainPID")) not in (0, first)
                               and os.path.ismount(where))
    found["names again"] = sorted(os.listdir(where))
    run("systemctl", "stop", "blobdir@demo.service")
    found["stopped"] = [show("blobdir@demo.service", name) for name in ("ActiveState", "Result")]
    found["left"] = os.path.ismount(where)
    found["log"] = run("journalctl", "--no-pager", "-o", "cat", "-u", "blobdir@demo.service", check=False)
    run("systemctl", "start", "blobdir@broken.service", check=False)
    found["broken"] = show("blobdir@broken.service", "ActiveState")
    found["autofs"] = os.path.exists("/dev/autofs")
    found["before"] = show("mnt-lemons.mount", "ActiveState")
    run("systemctl", "start", "mnt-lemons.automount" if found["autofs"] else "mnt-lemons.mount")
    found["on demand"] = sorted(os.listdir("/mnt/lemons"))
    found["after"] = show("mnt-lemons.mount", "ActiveState")
    found["mode"] = oct(os.stat("/mnt/lemons/meta.json").st_mode & 0o777)
    if found["autofs"]:
        run("systemctl", "stop", "mnt-lemons.automount")
    run("systemctl", "stop", "mnt-lemons.mount")
    found["mount left"] = os.path.ismount("/mnt/lemons")
    left = lambda: run("pgrep", "-f", "mount.blobdir|blobdir mount", check=False)
    wait(lambda: not left())  # umount(8) doesn't wait for who has served
    found["processes left"] = left()

try:
    main()
except BaseException as error:
    found["error"] = repr(error)
    found["journal"] = run("journalctl", "--no-pager", "-n", "60", check=False)
with open("/inside/result.part", "w") as file:
    json.dump(found, file)
os.rename("/inside/result.part", "/inside/result.json")
"""

TEST_UNIT = """
[Unit]
Description=Test of the units
Requires=basic.target
After=basic.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart={python} /inside/script.py
TimeoutStartSec=90
"""


def needs(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)} (Debian: systemd systemd-container)")


def wrapper(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {target} "$@"\n')
    path.chmod(0o755)


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", sorted(path.name for path in UNITS.glob("*.*ount")))
def test_verify_mounts(unit):
    done = subprocess.run(["systemd-analyze", "verify", UNITS / unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", ["blobdir@.service", "user/blobdir@.service"])
def test_verify_services(unit, tmp_path):
    """With the program where this machine has it, and without the manual page, which isn't installed here."""
    text = (UNITS / unit).read_text().replace("/usr/local/bin/blobdir", "/bin/true").replace("Documentation=", "# ")
    (tmp_path / "blobdir@x.service").write_text(text.replace("%E", "/etc"))
    command = ["systemd-analyze", "verify", "--man=no", tmp_path / "blobdir@x.service"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_directive_that_hides_the_mount():
    """Those give the service a view of the filesystems of its own: its mount would be seen by nobody else."""
    page = (ROOT / "docs/guides/systemd.md").read_text()
    hiding = [
        "PrivateMounts", "PrivateTmp", "PrivateDevices", "ProtectSystem", "ProtectHome", "ProtectKernelTunables",
        "ProtectKernelModules", "ProtectControlGroups", "ReadOnlyPaths", "InaccessiblePaths", "BindPaths",
        "RootDirectory", "DynamicUser", "MountFlags", "ProtectKernelLogs", "ProtectProc", "ProtectClock",
        "TemporaryFileSystem",
    ]  # fmt: skip
    for unit in UNITS.rglob("*.service"):
        directives = {line.partition("=")[0] for line in unit.read_text().splitlines() if not line.startswith("#")}
        assert directives.isdisjoint(hiding), unit
    for directive in hiding:
        assert f"`{directive}`" in page, directive
    user = (UNITS / "user/blobdir@.service").read_text()
    assert "\nNoNewPrivileges" not in user


@pytest.fixture(scope="module")
def container(tmp_path_factory):
    """What a booted systemd said about the units."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to boot a container")
    folder = tmp_path_factory.mktemp("container")
    root, inside, over, units, etc = (folder / name for name in ("root", "inside", "over", "units", "blobdir"))
    for made in (root / "usr", root / "etc", inside, over, units, etc):
        made.mkdir(parents=True)
    shutil.copytree(blobdir.demo.path(), inside / "project")
    (inside / "script.py").write_text(SCRIPT)
    for unit in UNITS.glob("*@.service"):
        shutil.copy(unit, units)
    (units / "mnt-lemons.mount").write_text(
        (UNITS / "mnt-lemons.mount").read_text().replace("/data/lemons", "/inside/project")
    )
    shutil.copy(UNITS / "mnt-lemons.automount", units)
    (units / "blobdir-test.service").write_text(TEST_UNIT.format(python=sys.executable))
    (etc / "demo.conf").write_text("PROJECT=/inside/project\nMOUNTPOINT=/mnt/with space/demo\nOPTIONS=-o allow_other\n")
    (etc / "broken.conf").write_text("PROJECT=/none\nMOUNTPOINT=/mnt/broken\n")
    program = Path(sys.executable).with_name("blobdir")
    wrapper(over / "local/bin/blobdir", program)
    wrapper(over / "sbin/mount.blobdir", program.with_name("mount.blobdir"))
    shutil.copy("/etc/os-release", root / "etc")
    autofs = ["--bind=/dev/autofs"] if os.path.exists("/dev/autofs") else []
    needed = {str(ROOT), sys.prefix, sys.base_prefix}
    command = [
        "systemd-nspawn", "--quiet", "--volatile=yes", "--register=no", "--keep-unit", "--boot", *autofs,
        f"--directory={root}",
        f"--overlay-ro=/usr:{over}:/usr", "--bind=/dev/fuse", f"--bind={inside}:/inside",
        f"--bind-ro={units}:/etc/systemd/system", f"--bind-ro={etc}:/etc/blobdir",
        *(f"--bind-ro={path}" for path in sorted(needed) if not path.startswith("/usr")),
        "systemd.firstboot=no", "systemd.unit=blobdir-test.service",
    ]  # fmt: skip
    subprocess.run(["mount", "--bind", "/usr", root / "usr"], check=True)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=BOOT_S, check=False, stdin=subprocess.DEVNULL
        )
    finally:
        subprocess.run(["umount", "--lazy", root / "usr"], check=True)
    result = inside / "result.json"
    assert result.exists(), (
        f"systemd didn't get to the test: {done.returncode} {done.stdout[-3000:]} {done.stderr[-3000:]}"
    )
    found = json.loads(result.read_text())
    if "error" in found:
        pytest.fail(json.dumps(found, indent=1))
    return found


@pytest.mark.timeout(BOOT_S + 20)
@needs("systemd-nspawn")
def test_service(container):
    assert container["active"] == "active"
    assert container["names"] == container["names again"] == ["README.md", "meta.json", "test", "train"]
    assert container["bytes"]
    assert container["images"] == 30
    assert container["status"] == "Serving /inside/project at /mnt/with space/demo"
    assert "/mnt/with space/demo  /inside/project" in container["seen by blobdir"]
    assert container["stopped"] == ["inactive", "success"]
    assert not container["left"]
    assert "unmounting: SIGTERM" in container["log"]


@pytest.mark.timeout(BOOT_S + 20)
@needs("systemd-nspawn")
def test_service_comes_back(container):
    assert container["comes back"]


@pytest.mark.timeout(BOOT_S + 20)
@needs("systemd-nspawn")
def test_service_that_cant_start(container):
    assert container["broken"] in ("failed", "activating")


@pytest.mark.timeout(BOOT_S + 20)
@needs("systemd-nspawn")
def test_mount_unit(container):
    """Started by the automount unit where the kernel has autofs, else by itself."""
    assert (container["before"], container["after"]) == ("inactive", "active")
    assert container["on demand"] == ["README.md", "meta.json", "test", "train"]
    assert container["mode"] == "0o444"
    assert not container["mount left"]
    assert container["processes left"] == ""
