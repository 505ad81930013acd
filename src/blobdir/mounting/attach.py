"""Mounting and unmounting: mount(2) for root, ``fusermount3`` for others, or a descriptor that somebody hands over."""

from __future__ import annotations

import array
import ctypes
import errno
import fcntl
import os
import re
import shutil
import socket
import stat
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from blobdir.background import start
from blobdir.children import is_told
from blobdir.errors import MountError
from blobdir.mounting.mountinfo import (
    FSTYPE,
    MountIdentity,
    absolute_place,
    identity_at,
    lies_over,
    mounted_at,
    name_of,
)
from blobdir.mountlines import mounts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.mountlines import MountEntry

DEVICE = "/dev/fuse"
_MS_RDONLY, _MS_NOSUID, _MS_NODEV = 1, 2, 4
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_INHERITED = re.compile(r"/dev/fd/(\d+)")
ANSWER_S = 2.0
"""Who doesn't answer for so long may be stopped, and is there. Nobody being there is said at once."""
LOCK_S = 2.0
"""How long another one may take to mount at the same place."""
_DEAD = frozenset((errno.ENOTCONN, errno.ECONNABORTED, errno.EIO))


@dataclass(frozen=True, slots=True)
class Attachment:
    """A mounted filesystem, seen from the side that serves it.

    Attributes
    ----------
    device : int
        Descriptor of the FUSE device.
    mountpoint : str
    how : {"mount", "fusermount", "inherited"}
    mount : MountIdentity
        Which mount it is; that of a device which was handed over isn't known.
    """

    device: int
    mountpoint: str
    how: Literal["mount", "fusermount", "inherited"]
    mount: MountIdentity

    def detach(self, *, lazy: bool) -> None:
        """Unmount, wherever it is by now, unless that was done already.

        Raises
        ------
        MountError
            It's in use, and `lazy` wasn't asked for; or something else is mounted over it.
        """
        detach(self.mount, lazy=lazy)


def detach(mount: MountIdentity, *, lazy: bool) -> None:
    """Unmount one mount, wherever it is by now, and no other; nothing if it isn't there any more.

    Raises
    ------
    MountError
        It's in use, and `lazy` wasn't asked for; or something else is mounted over it.
    """
    here = mount.entry()
    if here is not None:
        unmount_entry(here, lazy=lazy)


def unmount_entry(here: MountEntry, *, lazy: bool) -> None:
    """Unmount one mount, and not what lies over it.

    Raises
    ------
    MountError
        It's in use, and `lazy` wasn't asked for; or something else is mounted over it, or over a folder above it.
    """
    top = mounted_at(here.mountpoint)
    if top is None or top.number != here.number:
        over = lies_over(here)
        if over is None or not any(entry.number == here.number for entry in mounts()):
            raise MountError(f"{here.mountpoint}: this mount isn't there any more")
        where = "" if over.mountpoint == here.mountpoint else f", at {over.mountpoint}"
        raise MountError(
            f"{here.mountpoint}: {over.fstype} ({over.source}) is mounted over the blob project there{where}; "
            f"unmount that first (umount {over.mountpoint}), then this once more"
        )
    unmount(here.mountpoint, lazy=lazy)


def check_mountpoint(path: str) -> str:
    """See whether something can be mounted at a path, and clean up what a crashed mount has left there.

    Returns
    -------
    str
        The path, absolute and without links; ``/dev/fd/N`` as it is.

    Raises
    ------
    MountError
        What is wrong with it, and what to do.
    """
    if _INHERITED.fullmatch(path):
        return path
    full = absolute_place(path)
    if mounted_at(full) is None and os.path.islink(full):
        full = os.path.realpath(full)
    clean_stale(full)
    here = mounted_at(full)
    if here is not None and here.fstype == "autofs":
        return full  # somebody looks at it and waits for us: to look at it, too, would be to wait for ourselves
    if here is not None and here.fstype == FSTYPE:  # and who serves it may be stopped: nobody looks at it
        raise MountError(
            f"{path}: {here.source} is mounted there already; blobdir umount {path} first, or choose another"
        )
    try:
        found = os.stat(full)
        names = os.listdir(full) if stat.S_ISDIR(found.st_mode) else []
    except FileNotFoundError:
        raise MountError(f"{path}: there is no such folder; make it first: mkdir -p {path}") from None
    except PermissionError:
        raise MountError(f"{path}: no permission to look at it as user {os.getuid()}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise MountError(f"{path}: isn't a folder; mount on an empty one")
    if names:
        raise MountError(
            f"{path}: isn't empty ({names[0]!r} and {len(names) - 1} more), and a mount would hide that; "
            "choose an empty folder"
        )
    if os.getuid() != 0 and not os.access(full, os.W_OK):
        raise MountError(f"{path}: isn't writable for user {os.getuid()}, and then only root may mount there")
    return full


@contextmanager
def alone_at(place: str) -> Iterator[None]:
    """Have nobody else mount at a place meanwhile, which `check_mountpoint` gave; it's looked at once more.

    Opening a project takes a while, in which others may have mounted there. Who may not lock the folder goes without.

    Raises
    ------
    MountError
        Something is mounted there by now.
    """
    here = mounted_at(place)
    if _INHERITED.fullmatch(place) or (here is not None and here.fstype in ("autofs", FSTYPE)):
        check_mountpoint(place)  # not to be opened: who serves it may wait for us, or be stopped
        yield
        return
    with ExitStack() as held:
        with suppress(OSError):
            folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, folder)
            _lock(folder)
        check_mountpoint(place)
        yield


def _lock(folder: int) -> None:
    """Lock a folder, or go without after a while: who has locked it may be stopped."""
    end = time.monotonic() + LOCK_S
    while time.monotonic() < end:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.01)
        else:
            return


def clean_stale(path: str) -> None:
    """Unmount what is mounted at a path by FUSE, and nobody serves any more."""
    here = mounted_at(path)
    if here is None or here.fstype != FSTYPE:
        return
    is_dead = threading.Event()

    def look() -> None:
        try:
            os.statvfs(path)  # what stat would say the kernel may still know
        except OSError as error:
            if error.errno in _DEAD:  # nobody serves it any more
                is_dead.set()

    start(look, name="blobdir looking").join(ANSWER_S)
    if is_dead.is_set():
        unmount_entry(here, lazy=True)


def attach(mountpoint: str, *, fsname: str, allow_other: bool) -> Attachment:
    """Mount.

    Parameters
    ----------
    mountpoint : str
        As `check_mountpoint` gives it.
    fsname : str
        What ``mount`` shows as the source.
    allow_other : bool

    Raises
    ------
    MountError
    """
    inherited = _INHERITED.fullmatch(mountpoint)
    if inherited:
        return Attachment(_inherited(int(inherited[1])), mountpoint, "inherited", MountIdentity())
    if os.geteuid() == 0:
        device = _open_device()
        try:
            _mount(device, mountpoint, fsname, allow_other=allow_other)
        except BaseException:
            os.close(device)
            raise
        how: Literal["mount", "fusermount"] = "mount"
    else:
        device, how = _fusermount(mountpoint, fsname, allow_other=allow_other), "fusermount"
    return Attachment(device, mountpoint, how, identity_at(mountpoint))


def _open_device() -> int:
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        raise MountError(
            f"{DEVICE} doesn't exist: load the module (modprobe fuse); in a container start it with --device {DEVICE}"
        ) from None
    except OSError as error:
        raise MountError(
            f"{DEVICE}: {error.strerror}; in a container start it with --device {DEVICE} --cap-add SYS_ADMIN"
        ) from error


def handed_over(mountpoint: str) -> tuple[int, ...]:
    """The descriptor that a mount point ``/dev/fd/N`` names, if it's one.

    Raises
    ------
    MountError
        There is no such descriptor here.
    """
    named = _INHERITED.fullmatch(mountpoint)
    if named is None:
        return ()
    try:
        os.fstat(int(named[1]))
    except (OSError, OverflowError):
        raise MountError(f"{mountpoint}: no such descriptor was handed over") from None
    return (int(named[1]),)


def _inherited(device: int) -> int:
    try:
        found = os.fstat(device)
    except OSError:
        raise MountError(f"/dev/fd/{device}: no such descriptor was handed over") from None
    if not stat.S_ISCHR(found.st_mode):
        raise MountError(f"/dev/fd/{device}: isn't {DEVICE}")
    os.set_inheritable(device, False)
    return device


def _mount(device: int, mountpoint: str, fsname: str, *, allow_other: bool) -> None:
    data = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},default_permissions"
    data += ",allow_other" if allow_other else ""
    libc = ctypes.CDLL(None, use_errno=True)
    flags = ctypes.c_ulong(_MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    texts = [os.fsencode(text) for text in (fsname, mountpoint, FSTYPE, data)]
    if libc.mount(texts[0], texts[1], texts[2], flags, texts[3]) == 0:
        return
    code = ctypes.get_errno()
    hints = {
        errno.EPERM: "mounting takes CAP_SYS_ADMIN; start a container with --cap-add SYS_ADMIN --device /dev/fuse",
        errno.ENODEV: "the kernel has no FUSE: modprobe fuse",
        errno.EBUSY: "something is mounted there already",
    }
    raise MountError(f"{mountpoint}: mount(2): {os.strerror(code)}" + (f"; {hints[code]}" if code in hints else ""))


def _fusermount_program() -> str:
    program = shutil.which("fusermount3") or shutil.which("fusermount")
    if program is None:
        raise MountError(
            "only root may mount without fusermount3: install it "
            "(Debian, Ubuntu: apt install fuse3; Fedora: dnf install fuse3)"
        )
    return program


def _fusermount(mountpoint: str, fsname: str, *, allow_other: bool) -> int:
    program = _fusermount_program()
    if not os.path.exists(DEVICE):
        os.close(_open_device())  # says what to do
    escaped = re.sub(r"([\\,])", r"\\\1", fsname)
    options = f"ro,nosuid,nodev,default_permissions,fsname={escaped},subtype=blobdir" + (
        ",allow_other" if allow_other else ""
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        # Where nobody is told of the exit status, the descriptor tells, or that the other end has been closed.
        result = subprocess.run(  # noqa: S603 - the program that is there for this, no shell
            [program, "-o", options, "--", mountpoint],
            env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno()), "LC_ALL": "C"},
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
            check=False,
        )
        said = _failure(result)
        if said is not None:
            said = said.removeprefix(f"{os.path.basename(program)}: ")
            hint = ""
            if "user_allow_other" in said:
                hint = "; root must allow that in /etc/fuse.conf: user_allow_other"
            elif "open /dev/fuse" in said:
                hint = "; everybody must be allowed to open it, as udev sees to: chmod 666 /dev/fuse as root"
            elif "Operation not permitted" in said or "Permission denied" in said:
                hint = f"; {program} must be setuid root, and a process that has no new privileges can't use it"
            raise MountError(f"{mountpoint}: {os.path.basename(program)}: {said}{hint}")
        theirs.close()  # or we'd wait for ourselves
        descriptors = array.array("i")
        _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(descriptors.itemsize))
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: descriptors.itemsize])
            os.set_inheritable(descriptors[0], False)
            return int(descriptors[0])
    raise MountError(f"{mountpoint}: {program} has sent no descriptor")


def _failure(result: subprocess.CompletedProcess[bytes]) -> str | None:
    """What a program says that has failed, which it does by what it says where its exit status isn't known; or None."""
    said = result.stderr.decode("utf-8", "replace").strip()
    has_failed = result.returncode != 0 or (said and not is_told())
    return (said or "failed") if has_failed else None


def unmount(mountpoint: str, *, lazy: bool = False) -> None:
    """Unmount whatever is mounted at a path.

    Parameters
    ----------
    mountpoint : str
    lazy : bool
        Take it out of the tree of files now, and end it when nobody uses it any more.

    Raises
    ------
    MountError
        It's in use, or this user may not.
    """
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.umount2(os.fsencode(mountpoint), _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)) == 0:
            return
        code, said = ctypes.get_errno(), ""
        said = os.strerror(code)
    else:
        command = [_fusermount_program(), "-u", *(["-z"] if lazy else []), "--", mountpoint]
        result = subprocess.run(command, stderr=subprocess.PIPE, check=False, env={**os.environ, "LC_ALL": "C"})  # noqa: S603
        failure = _failure(result)
        if failure is None:
            return
        said = failure
        code = errno.EBUSY if "busy" in said else errno.EPERM
    if code == errno.EBUSY:
        raise MountError(
            f"{mountpoint}: is in use{_users(mountpoint)}; close what uses it, or unmount with --lazy: "
            "it goes when they do"
        )
    if code == errno.EINVAL:
        raise MountError(f"{mountpoint}: nothing is mounted there")
    raise MountError(f"{mountpoint}: {said}")


def _users(mountpoint: str) -> str:
    """Processes that have it open, as far as this user may know."""
    found = []
    inside = mountpoint.rstrip("/") + "/"
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            links = [
                f"/proc/{pid}/cwd",
                f"/proc/{pid}/root",
                *(f"/proc/{pid}/fd/{n}" for n in os.listdir(f"/proc/{pid}/fd")),
            ]
            if any(_leads_into(link, mountpoint, inside) for link in links):
                found.append(f"{name_of(int(pid))} ({pid})")
    return f" by {', '.join(found[:5])}" if found else ""


def _leads_into(link: str, mountpoint: str, inside: str) -> bool:
    try:
        target = os.readlink(link)
    except OSError:
        return False
    return target == mountpoint or target.startswith(inside)
