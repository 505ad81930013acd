"""Whether the processes of a mount are stopped or frozen: then it answers nobody, until they go on.

By a signal (Ctrl-Z, a debugger), which ``/proc/PID/stat`` shows (proc_pid_stat(5)), or by a control group, as
containers are paused, of version 2 (``cgroup.events``) or 1 (``freezer.state``).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from blobdir.mountlines import mounts


def is_paused(pid: int) -> bool:
    """Whether a process, or one of its children, doesn't run now. What can't be seen runs."""
    found = [pid]
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
    return any(_is_stopped(one) for one in found) or any(map(_is_frozen, _groups(found)))


def _is_stopped(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in (b"T", b"t")
    return False


def _groups(pids: list[int]) -> set[tuple[str, str]]:
    """(controllers, path) of the control groups; of version 2, there is no controller."""
    found = set()
    for pid in pids:
        with suppress(OSError), open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            for line in file.read().split("\n"):  # names may have in them what else begins a line
                _, controllers, path = [*line.split(":", 2), "", "", ""][:3]
                if path and controllers in ("", "freezer"):
                    found.add((controllers, path))
    return found


def _is_frozen(group: tuple[str, str]) -> bool:
    controllers, path = group
    name, word = ("freezer.state", "FROZEN") if controllers else ("cgroup.events", "frozen 1")
    for entry in mounts():
        is_it = entry.fstype == ("cgroup" if controllers else "cgroup2")
        with suppress(OSError):
            if is_it and word in Path(f"{entry.mountpoint}{path}/{name}").read_text(encoding="ascii").splitlines():
                return True
    return False
