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
import re
import struct
from contextlib import suppress
from typing import NamedTuple

FSTYPE = "fuse.blobdir"
_FDCWD, _NO_AUTOMOUNT, _DONT_SYNC = -100, 0x800, 0x4000  # AT_*: don't ask who serves it
_UNIQUE_ID, _ID_AT = 0x4000, 0x90  # STATX_MNT_ID_UNIQUE; where stx_mnt_id lies
_STATMOUNT, _BASIC = 457, 2  # the same number on every architecture but alpha; STATMOUNT_MNT_BASIC
_REQUEST, _OLD_ID_AT = struct.Struct("=IIQQ"), 56  # struct mnt_id_req; where statmount.mnt_id_old lies
_ESCAPE = re.compile(rb"\\([0-7]{3})")


class MountEntry(NamedTuple):
    """One line.

    Attributes
    ----------
    number : int
        Of the mount; given to another one when this one has ended.
    device : str
        ``major:minor``.
    mountpoint : str
    options : str
        Of this mount, such as ``ro,nosuid,nodev,relatime``.
    fstype : str
    source : str
    """

    number: int
    device: str
    mountpoint: str
    options: str
    fstype: str
    source: str


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


def parse(text: bytes) -> list[MountEntry]:
    """Take the file's lines apart; those that come later lie over those before."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(b" - ")
        fields, more = before.split(b" "), after.split(b" ")
        if len(fields) >= 6 and len(more) >= 2:
            texts = (_plain(part) for part in (fields[2], fields[4], fields[5], more[0], more[1]))
            found.append(MountEntry(int(fields[0]), *texts))
    return found


def _plain(field: bytes) -> str:
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes((int(match[1], 8) & 0xFF,)), field))


def mounts() -> list[MountEntry]:
    """What is mounted; nothing where there is no ``/proc``."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            return parse(file.read())
    except OSError:
        return []


def held_elsewhere(device: str, fstype: str) -> list[int]:
    """Processes that have what was mounted in another mount namespace: one for each that this user may look into."""
    found: dict[str, int] = {}
    with suppress(OSError):
        known = {os.readlink("/proc/self/ns/mnt")}
        for pid in sorted(map(int, filter(str.isdigit, os.listdir("/proc")))):
            with suppress(OSError):  # it has ended, or is another user's
                namespace = os.readlink(f"/proc/{pid}/ns/mnt")
                if namespace in known:
                    continue
                known.add(namespace)
                with open(f"/proc/{pid}/mountinfo", "rb") as file:
                    if any((entry.device, entry.fstype) == (device, fstype) for entry in parse(file.read())):
                        found[namespace] = pid
    return list(found.values())


def mounted_at(mountpoint: str) -> MountEntry | None:
    """The topmost mount on exactly this path, which must be absolute and free of links."""
    return next((entry for entry in reversed(mounts()) if entry.mountpoint == mountpoint), None)


def identity_at(mountpoint: str) -> MountIdentity:
    """Which mount is the topmost at a path: to be asked right after it was made, and before it's served."""
    unique, here = _unique_id(mountpoint), mounted_at(mountpoint)
    if here is None:
        return MountIdentity()
    if unique and _number_of(unique, 0) != here.number:
        unique = 0  # another one has been mounted over it since, or nobody may ask for it again
    return MountIdentity(here.number, unique, here.device, here.fstype)


def _unique_id(path: str) -> int:
    """The number of the mount that a path leads to, without a word to who serves it; 0 where there is none."""
    libc, result = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(256)
    try:
        code = libc.statx(_FDCWD, os.fsencode(path), _NO_AUTOMOUNT | _DONT_SYNC, _UNIQUE_ID, result)
    except AttributeError:
        return 0
    known = int.from_bytes(result.raw[:4], "little" if struct.pack("=H", 1)[0] else "big")
    return struct.unpack_from("=Q", result.raw, _ID_AT)[0] if code == 0 and known & _UNIQUE_ID else 0


def _number_of(unique: int, otherwise: int) -> int:
    """The number in ``mountinfo`` of the mount with a unique number: 0 where it's gone, `otherwise` if nobody says."""
    libc, result = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(1024)
    request = _REQUEST.pack(_REQUEST.size, 0, unique, _BASIC)
    code = libc.syscall(ctypes.c_long(_STATMOUNT), request, result, ctypes.c_size_t(len(result)), ctypes.c_long(0))
    if code == 0:
        return int(struct.unpack_from("=I", result.raw, _OLD_ID_AT)[0])
    return 0 if ctypes.get_errno() == errno.ENOENT else otherwise
