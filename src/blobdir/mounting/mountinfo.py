"""What the kernel says is mounted, and which of it is a given mount.

What is mounted is in ``/proc/self/mountinfo``, see proc_pid_mountinfo(5). A mount is known by its identity, never by
its place or the number of its device: places are mounted over and renamed, and the kernel gives numbers of devices and
mounts again as soon as they're free. Linux 6.8 has numbers of mounts that are never given again (statx(2),
statmount(2)); where there are none, number, device and type must agree.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from blobdir.mountlines import MountEntry, mounts, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

FSTYPE = "fuse.blobdir"
_FDCWD, _NO_FOLLOW, _NO_AUTOMOUNT, _DONT_SYNC = -100, 0x100, 0x800, 0x4000  # AT_*: don't ask who serves it
_ID, _UNIQUE_ID, _ID_AT = 0x1000, 0x4000, 0x90  # STATX_MNT_ID (Linux 5.8), STATX_MNT_ID_UNIQUE; where stx_mnt_id lies
_TRIES = 5
_STATMOUNT, _BASIC = 457, 2  # the same number on every architecture but alpha; STATMOUNT_MNT_BASIC
_REQUEST, _OLD_ID_AT = struct.Struct("=IIQQ"), 56  # struct mnt_id_req; where statmount.mnt_id_old lies


class MountIdentity(NamedTuple):
    """Which mount it is.

    Attributes
    ----------
    number : int
        As in ``mountinfo``; 0 where it isn't known.
    unique : int
        The number that no other mount ever has, since the machine was started; 0 where the kernel gives none.
    device : str
        ``major:minor``.
    fstype : str
    """

    number: int = 0
    unique: int = 0
    device: str = ""
    fstype: str = ""

    def entry(self) -> MountEntry | None:
        """Where it's mounted now; None where it isn't, as far as this process sees."""
        number = _number_of(self.unique, self.number) if self.unique else self.number
        found = (entry for entry in mounts() if entry.number == number and number)
        return next((entry for entry in found if (entry.device, entry.fstype) == (self.device, self.fstype)), None)


def held_elsewhere(here: MountEntry) -> dict[tuple[str, int], int]:
    """Who has what is mounted in other mount namespaces, as far as this user may look into them.

    Returns
    -------
    dict
        Namespace and number of the mount there -> one process. Only of what is mounted now: when it isn't any more, the
        number of its device is given to the next mount, in whichever namespace.
    """
    found: dict[tuple[str, int], int] = {}
    with suppress(OSError):
        known = {os.readlink("/proc/self/ns/mnt")}
        for pid in sorted(map(int, filter(str.isdigit, os.listdir("/proc")))):
            with suppress(OSError):  # it has ended, or is another user's
                namespace = os.readlink(f"/proc/{pid}/ns/mnt")
                if namespace in known:
                    continue
                known.add(namespace)
                with open(f"/proc/{pid}/mountinfo", "rb") as file:
                    found |= {(namespace, entry.number): pid for entry in parse(file.read()) if is_same(entry, here)}
    return found


def name_of(pid: int) -> str:
    """What a process is called, for people: the kernel keeps 15 bytes, and may cut in the middle of a letter.

    Raises
    ------
    OSError
        It has ended.
    """
    with open(f"/proc/{pid}/comm", "rb") as file:
        return file.read().decode("utf-8", "replace").strip()


def is_same(entry: MountEntry, other: MountEntry) -> bool:
    """Whether two mounts, both there now, are of one filesystem."""
    return (entry.device, entry.fstype, entry.source) == (other.device, other.fstype, other.source)


def absolute_place(path: str) -> str:
    """A mount point as the kernel names it. Only links above it are resolved: who serves it isn't asked."""
    full = os.path.abspath(path)
    return os.path.join(os.path.realpath(os.path.dirname(full)), os.path.basename(full))


def mounted_at(mountpoint: str) -> MountEntry | None:
    """The mount on exactly this path that the path leads to; the path must be absolute and free of links.

    Nobody who serves it is asked, so it's found as well where it's stopped or dead. It's None where all that is mounted
    there is hidden, as by what is mounted over a folder above it.
    """
    number, entries = _looked_at(mountpoint)
    here = [entry for entry in entries if entry.mountpoint == mountpoint]
    if number is None:  # the last line: mostly that is the topmost
        return here[-1] if here else None
    return next((entry for entry in here if entry.number == number), None)


def lies_over(here: MountEntry) -> MountEntry | None:
    """What hides a mount: mounted over it, or over a folder above it; None where its path leads to it."""
    top = mounted_at(here.mountpoint)
    if top is not None and top.number == here.number:
        return None
    path = here.mountpoint
    number, entries = _looked_at(path)
    while number == 0 and path != "/":  # there's no such path in what lies over it
        path = os.path.dirname(path)
        number, entries = _looked_at(path)
    known = {entry.number: entry for entry in entries}
    beneath = {entry.number for entry in _up(here.number, known)}
    over = next((entry for entry in _up(number or 0, known) if entry.parent in beneath), None)
    return over or known.get(number or 0) or top


def _up(number: int, known: dict[int, MountEntry]) -> Iterator[MountEntry]:
    """A mount, what it's mounted on, and so on."""
    seen: set[int] = set()
    while number in known and number not in seen:
        seen.add(number)
        yield known[number]
        number = known[number].parent


def _looked_at(path: str) -> tuple[int | None, list[MountEntry]]:
    """The number of the mount that a path leads to, as `_id_at` gives it, and all that is mounted at that time."""
    number, entries = _id_at(path, _ID), mounts()
    for _ in range(_TRIES):
        again = _id_at(path, _ID)
        if again == number:
            break
        number, entries = again, mounts()
    return number, entries


def identity_at(mountpoint: str) -> MountIdentity:
    """Which mount is the topmost at a path: to be asked right after it was made, and before it's served."""
    unique, here = _id_at(mountpoint, _UNIQUE_ID) or 0, mounted_at(mountpoint)
    if here is None:
        return MountIdentity()
    if unique and _number_of(unique, 0) != here.number:
        unique = 0  # another one has been mounted over it since, or nobody may ask for it again
    return MountIdentity(here.number, unique, here.device, here.fstype)


def _id_at(path: str, kind: int) -> int | None:
    """A number of the mount that a path leads to, without a word to who serves it.

    0 where there is no such path; None where the kernel doesn't say.
    """
    libc, result = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(256)
    # It's given unasked; who asks for anything of somebody else's FUSE mount, into which nobody may look, is refused.
    wanted = 0 if kind == _ID else kind
    try:
        code = libc.statx(_FDCWD, os.fsencode(path), _NO_FOLLOW | _NO_AUTOMOUNT | _DONT_SYNC, wanted, result)
    except AttributeError:
        return None
    if code != 0:
        return 0 if ctypes.get_errno() in (errno.ENOENT, errno.ENOTDIR) else None
    known = int.from_bytes(result.raw[:4], "little" if struct.pack("=H", 1)[0] else "big")
    return int(struct.unpack_from("=Q", result.raw, _ID_AT)[0]) if known & kind else None


def _number_of(unique: int, otherwise: int) -> int:
    """The number in ``mountinfo`` of the mount with a unique number: 0 where it's gone, `otherwise` if nobody says."""
    libc, result = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(1024)
    request = _REQUEST.pack(_REQUEST.size, 0, unique, _BASIC)
    code = libc.syscall(ctypes.c_long(_STATMOUNT), request, result, ctypes.c_size_t(len(result)), ctypes.c_long(0))
    if code == 0:
        return int(struct.unpack_from("=I", result.raw, _OLD_ID_AT)[0])
    return 0 if ctypes.get_errno() == errno.ENOENT else otherwise
