"""What the kernel says is mounted, line by line: ``/proc/self/mountinfo``, see proc_pid_mountinfo(5)."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

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
    parent : int
        Number of the mount that it's mounted on.
    """

    number: int
    device: str
    mountpoint: str
    options: str
    fstype: str
    source: str
    parent: int = 0


def parse(text: bytes) -> list[MountEntry]:
    """Take the file's lines apart.

    Of those at one path, the later mostly lie over those before; not where one was moved there, or put beneath another.
    """
    found = []
    for line in text.split(b"\n"):  # the only character of these that is escaped: a folder may be called "a\rb"
        before, _, after = line.partition(b" - ")
        fields, more = before.split(b" "), after.split(b" ")
        if len(fields) >= 6 and len(more) >= 2:
            device, place, options, fstype, source = map(_plain, (*fields[2:3], *fields[4:6], *more[:2]))
            found.append(MountEntry(int(fields[0]), device, place, options, fstype, source, int(fields[1])))
    return found


def _plain(field: bytes) -> str:
    return os.fsdecode(_ESCAPE.sub(lambda match: bytes((int(match[1], 8) & 0xFF,)), field))


def mount_points() -> frozenset[str]:
    """Where something is mounted."""
    return frozenset(entry.mountpoint for entry in mounts())


def mounts() -> list[MountEntry]:
    """What is mounted; nothing where there is no ``/proc``."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            return parse(file.read())
    except OSError:
        return []
