"""What the kernel says is mounted: ``/proc/self/mountinfo``, see proc_pid_mountinfo(5)."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

FSTYPE = "fuse.blobdir"
_ESCAPE = re.compile(rb"\\([0-7]{3})")


class MountEntry(NamedTuple):
    """One line.

    Attributes
    ----------
    device : str
        ``major:minor``.
    mountpoint : str
    options : str
        Of this mount, such as ``ro,nosuid,nodev,relatime``.
    fstype : str
    source : str
    """

    device: str
    mountpoint: str
    options: str
    fstype: str
    source: str


def parse(text: bytes) -> list[MountEntry]:
    """Take the file's lines apart; those that come later lie over those before."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(b" - ")
        fields, more = before.split(b" "), after.split(b" ")
        if len(fields) >= 6 and len(more) >= 2:
            texts = (_plain(part) for part in (fields[2], fields[4], fields[5], more[0], more[1]))
            found.append(MountEntry(*texts))
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


def mounted_at(mountpoint: str) -> MountEntry | None:
    """The topmost mount on exactly this path, which must be absolute and free of links."""
    return next((entry for entry in reversed(mounts()) if entry.mountpoint == mountpoint), None)
