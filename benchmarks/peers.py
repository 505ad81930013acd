"""The peers: whether they are here, in which version, and the command that gets each. Nothing is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

WITHOUT: set[str] = set()
"""Names of peers that are left out though they are here (``--without``)."""


@dataclass(frozen=True)
class Peer:
    """Something that blobdir is measured beside, or that measuring needs.

    Attributes
    ----------
    name : str
    version : callable
        Gives its version, or None where it isn't here.
    get : str
        The command, or the words, that get it.
    """

    name: str
    version: Callable[[], str | None]
    get: str

    def found(self) -> str | None:
        """Its version; None where it isn't here, or is left out."""
        return None if self.name in WITHOUT else self.version()


def sdk_python() -> str | None:
    """An interpreter that has the SDK: ``BLOBDIR_SDK_PYTHON``, or that of ``.venv-sdk``."""
    python = os.environ.get("BLOBDIR_SDK_PYTHON") or str(Path(".venv-sdk/bin/python").absolute())
    return python if "SDK" not in WITHOUT and os.access(python, os.X_OK) and Path(python).is_file() else None


def program_path(name: str) -> str | None:
    """A program, from ``BLOBDIR_<NAME>``, PATH or where system programs are."""
    named = os.environ.get(f"BLOBDIR_{name.upper().replace('-', '_').replace('.', '_')}")
    return named or shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def may_mount() -> bool:
    """Whether this process may mount and drop caches."""
    return os.geteuid() == 0 and os.path.exists("/dev/fuse")


def _module(distribution: str) -> Callable[[], str | None]:
    def version() -> str | None:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            return None

    return version


def _program(name: str, *arguments: str) -> Callable[[], str | None]:
    @cache
    def version() -> str | None:
        path = program_path(name)
        if path is None:
            return None
        done = subprocess.run([path, *(arguments or ("--version",))], capture_output=True, text=True, check=False)
        words = [word.strip("v,()") for word in (done.stdout + " " + done.stderr).split()]
        return next((word for word in words if word[:1].isdigit() and "." in word), "here")

    return version


@cache
def _sdk_version() -> str | None:
    python = sdk_python()
    if python is None:
        return None
    command = [python, "-c", "from importlib.metadata import version; print(version('supervisely'))"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def _fusepy_version() -> str | None:
    if not may_mount():
        return None
    try:
        import fuse  # noqa: F401
    except (ImportError, OSError):
        return None
    return metadata.version("fusepy")


def _of_the_kernel(filesystem: str, needs: str) -> Callable[[], str | None]:
    def version() -> str | None:
        known = Path("/proc/filesystems").read_text().split() if may_mount() else []
        return f"Linux {os.uname().release}" if filesystem in known and program_path(needs) else None

    return version


def _kernel_engine_version() -> str | None:
    from blobdir.erofs.gate import judge, look

    return f"Linux {os.uname().release}" if may_mount() and judge(look()).backing != "none" else None


def _mounting_version() -> str | None:
    return f"Linux {os.uname().release}" if may_mount() else None


PEERS = {
    peer.name: peer
    for peer in (
        Peer("SDK", _sdk_version, "python3 -m venv .venv-sdk && .venv-sdk/bin/pip install supervisely"),
        Peer("lmdb", _module("lmdb"), "pip install lmdb"),
        Peer("wids", lambda: _module("torch")() and _module("wids")(), "pip install wids torch"),
        Peer("webdataset", _module("webdataset"), "pip install webdataset"),
        Peer("ratarmountcore", _module("ratarmountcore"), "pip install ratarmountcore"),
        Peer("torch", _module("torch"), "pip install torch --index-url https://download.pytorch.org/whl/cpu"),
        Peer("matplotlib", _module("matplotlib"), "pip install matplotlib"),
        Peer("mounting", _mounting_version, "be root, on Linux with /dev/fuse: mounts are measured only so"),
        Peer("kernel engine", _kernel_engine_version, "be root on Linux >= 6.12, or with loop devices, and EROFS"),
        Peer("fusepy", _fusepy_version, "apt install libfuse2, and be root"),
        Peer("ratarmount", _program("ratarmount"), "pip install ratarmount, in PATH or named by BLOBDIR_RATARMOUNT"),
        Peer("nginx", _program("nginx", "-v"), "apt install nginx-light"),
        Peer("rclone", _program("rclone", "version"), "apt install rclone"),
        Peer("curl", _program("curl"), "apt install curl"),
        Peer("tar", _program("tar"), "apt install tar"),
        Peer("mksquashfs", _program("mksquashfs", "-version"), "apt install squashfs-tools"),
        Peer("squashfuse_ll", _program("squashfuse_ll", "--help"), "apt install squashfuse squashfs-tools"),
        Peer(
            "kernel squashfs", _of_the_kernel("squashfs", "mksquashfs"), "apt install squashfs-tools, modprobe squashfs"
        ),
        Peer("mkfs.erofs", _of_the_kernel("erofs", "mkfs.erofs"), "apt install erofs-utils, modprobe erofs"),
    )
}
"""All peers, by name. fsspec's tar filesystem, plain files and the bare system call are always here."""


def here(name: str) -> bool:
    """Whether a peer is here, and not left out."""
    return PEERS[name].found() is not None


def roll_call() -> tuple[dict[str, str], dict[str, str]]:
    """Versions of the peers that are here, and the commands that get the others; both by name."""
    versions = {name: found for name, peer in PEERS.items() if (found := peer.found()) is not None}
    return versions, {name: peer.get for name, peer in PEERS.items() if name not in versions}
