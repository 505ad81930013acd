"""Whether this kernel may be trusted with an image, and how: decided before anything is mounted, with the reasons."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from typing import Final, Literal

from blobdir.erofs.loops import CONTROL
from blobdir.erofs.syscalls import knows_filesystem

Backing = Literal["file", "loop", "none"]

_SYS_ADMIN: Final = 21  # include/uapi/linux/capability.h
_ALL_USERS: Final = ("0", "0", "4294967295")
SMALL_BLOCKS: Final = (6, 4, 0)
"""First kernel that takes blocks of 512 bytes."""
# First releases with "erofs: set fileio bio failed in short read case" (mainline eade54040384, 7.0): without it, a
# reader that is killed by SIGKILL can leave zeros in the page cache, which the next one takes for the file's bytes.
# The earlier faults of mounts that are backed by files, CVE-2024-56750 (a panic in 6.12.0 and 6.12.1) and
# CVE-2025-38172 (up to 6.12.33 and 6.15.2), were mended before.
FILES_ARE_SAFE: Final = ((6, 12, 80), (6, 18, 21), (6, 19, 11), (7, 0, 0))


@dataclass(frozen=True, slots=True)
class KernelFacts:
    """What there is to know about a machine.

    Attributes
    ----------
    system : str
        "Linux", or else.
    release : str
        As ``uname -r``.
    may_mount : bool
        CAP_SYS_ADMIN in the first user namespace: what root has outside of containers.
    has_erofs : bool
    has_loops : bool
    """

    system: str
    release: str
    may_mount: bool
    has_erofs: bool
    has_loops: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What may be done.

    Attributes
    ----------
    backing : {"file", "loop", "none"}
        The best way: the image and the blobs as files, as loop devices, or not at all.
    reasons : tuple of str
        Why not a better one.
    """

    backing: Backing
    reasons: tuple[str, ...]


def look() -> KernelFacts:
    """Look at this machine. Loads the module erofs where there is one."""
    system, may = platform.system(), False
    if system == "Linux":
        may = _may_mount()
    return KernelFacts(
        system, os.uname().release, may, may and knows_filesystem("erofs"), os.access(CONTROL, os.R_OK | os.W_OK)
    )


def judge(facts: KernelFacts) -> Verdict:
    """Decide. Pure."""
    refused = _refusal(facts)
    if refused:
        return Verdict("none", (refused,))
    if _files_are_safe(_version(facts.release)):
        return Verdict("file", ())
    reason = (
        f"Linux {facts.release} isn't known to have the fix for files as backing (6.12.80, 6.18.21, 6.19.11, 7.0 and "
        "later have): a killed reader could leave zeros in the page cache"
    )
    if facts.has_loops:
        return Verdict("loop", (reason,))
    return Verdict("none", (reason, f"and there are no loop devices, which would do ({CONTROL} can't be opened)"))


def _refusal(facts: KernelFacts) -> str:
    if facts.system != "Linux":
        return f"the kernel engine is for Linux; this is {facts.system}"
    if not facts.may_mount:
        return "the kernel engine needs CAP_SYS_ADMIN outside of user namespaces: run it as root, not in a container"
    if _version(facts.release) < SMALL_BLOCKS:
        return f"the kernel engine needs Linux 6.4, for blocks of 512 bytes; this is {facts.release}"
    if not facts.has_erofs:
        return "this kernel has no EROFS (CONFIG_EROFS_FS, or modprobe erofs), or fsopen(2) is forbidden here"
    return ""


def _version(release: str) -> tuple[int, int, int]:
    """Number of a release; a distribution's own patches aren't in it, so what it doesn't say isn't assumed."""
    numbers = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", release)
    if numbers is None:
        return (0, 0, 0)
    return (int(numbers[1]), int(numbers[2]), int(numbers[3] or 0))


def _files_are_safe(version: tuple[int, int, int]) -> bool:
    if version >= FILES_ARE_SAFE[-1]:
        return True
    return any(version[:2] == fixed[:2] and version >= fixed for fixed in FILES_ARE_SAFE)


def _may_mount() -> bool:
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            capabilities = next((line.split()[1] for line in file if line.startswith("CapEff:")), "0")
        with open("/proc/self/uid_map", encoding="ascii") as file:
            everybody = tuple(file.readline().split()) == _ALL_USERS
    except OSError:
        return False
    return bool(int(capabilities, 16) >> _SYS_ADMIN & 1) and everybody
