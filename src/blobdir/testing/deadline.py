"""A deadline for tests that touch a mount. A process that waits in a FUSE read can't be killed; a connection can."""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from blobdir.mounting.attach import unmount
from blobdir.mounting.mountinfo import FSTYPE
from blobdir.mountlines import mounts

if TYPE_CHECKING:
    from types import TracebackType

CONNECTIONS = "/sys/fs/fuse/connections"


def abort(device: str) -> None:
    """End a FUSE connection: whoever waits for it gets an error. Needs root.

    Parameters
    ----------
    device : str
        ``major:minor`` of the filesystem.
    """
    if not os.listdir(CONNECTIONS):
        ctypes.CDLL(None).mount(b"fusectl", CONNECTIONS.encode(), b"fusectl", 0, None)
    with suppress(OSError), open(f"{CONNECTIONS}/{device.partition(':')[2]}/abort", "w", encoding="ascii") as file:
        file.write("1")


class Deadline:
    """A context manager: what is mounted below a folder, and still there after so many seconds, is aborted.

    Parameters
    ----------
    seconds : float
    below : path
        Other mounts aren't touched.

    Attributes
    ----------
    expired : bool
        Whether it has come to that. On leaving, it's a TimeoutError.
    """

    def __init__(self, seconds: float, below: str | os.PathLike[str]) -> None:
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._seconds = seconds
        self._before = {entry.number for entry in mounts()}
        self._below = os.path.realpath(below).rstrip("/") + "/"
        self.expired = False

    def _expire(self) -> None:
        self.expired = True
        self.clean()

    def clean(self) -> None:
        """Abort and unmount what has been mounted since."""
        for entry in mounts():
            ours = entry.fstype in (FSTYPE, "erofs") and entry.mountpoint.startswith(self._below)
            if ours and entry.number not in self._before:
                if entry.fstype == FSTYPE:
                    abort(entry.device)
                with suppress(OSError):
                    unmount(entry.mountpoint, lazy=True)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self.clean()
        if self.expired:
            raise TimeoutError(f"the mount didn't do its work within {self._seconds:g} s; its connection was aborted")
