"""What is mounted on this machine: a small file for each mount, and counters that its processes share."""

from __future__ import annotations

import errno
import json
import mmap
import os
import struct
import sys
import tempfile
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platformdirs import user_runtime_path

from blobdir.descriptors import NONE_LEFT
from blobdir.errors import MountError
from blobdir.mounting.mountinfo import MountIdentity
from blobdir.mounting.options import MAX_WORKERS

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER_VARIABLE = "BLOBDIR_STATE_DIR"
"""Environment variable that says where the files lie."""


class Counter(IntEnum):
    """What is counted; the number is the place."""

    REQUESTS = 0
    LOOKUPS = 1
    READS = 2
    BYTES = 3
    ERRORS = 4
    CACHE_HITS = 5
    CACHE_MISSES = 6
    RESTARTS = 7


_SLOT = len(Counter)
_WORKER_BYTES = _SLOT * 8
COUNTER_BYTES = (MAX_WORKERS + 1) * _WORKER_BYTES


class Counters:
    """Counters in shared memory, a row of them for each worker; nobody writes another's row, so there is no lock.

    Attributes
    ----------
    values : memoryview of uint64
        This worker's, by `Counter`. Threads of one worker may lose a count between them.
    """

    def __init__(self, memory: mmap.mmap, worker: int = 0) -> None:
        self._memory = memory
        self.values = memoryview(memory).cast("Q")[worker * _SLOT : (worker + 1) * _SLOT]

    @classmethod
    def create(cls, path: Path | None) -> Counters:
        """New counters in a file, or in memory only.

        Raises
        ------
        OSError
            There is no room for the file, and it isn't there. Who counts in a file with holes dies of the first one
            that the disk has no room for (SIGBUS).
        """
        if path is None:
            return cls(mmap.mmap(-1, COUNTER_BYTES))
        try:
            with open(path, "w+b", buffering=0) as file:
                _reserve(file.fileno())
                return cls(mmap.mmap(file.fileno(), COUNTER_BYTES))
        except OSError as error:
            with suppress(OSError):
                path.unlink()
            raise OSError(error.errno, error.strerror, str(path)) from error

    def of_worker(self, worker: int) -> Counters:
        """The row of a worker; 0 is the supervisor's."""
        return Counters(self._memory, worker)

    def add(self, counter: Counter, n: int) -> None:
        """Count."""
        self.values[counter] += n


def _reserve(descriptor: int) -> None:
    """Have the disk keep room for the counters."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, COUNTER_BYTES)
    elif os.write(descriptor, bytes(COUNTER_BYTES)) != COUNTER_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_counters(path: Path) -> dict[str, int]:
    """Sums over all workers; empty where there are none."""
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    values = struct.unpack(f"={len(data) // 8}Q", data[: len(data) // 8 * 8])
    return {counter.name.lower(): sum(values[counter::_SLOT]) for counter in Counter}


@dataclass(frozen=True, slots=True)
class MountRecord:
    """One mount.

    Attributes
    ----------
    mountpoint, url : str
    engine : str
    why : str
        Why that engine.
    pid : int
        The process that looks after it; 0 where none is needed.
    started_ns : int
        Nanoseconds since 1970.
    mount : MountIdentity
        Which mount it is; empty where it isn't known, as that of a device which was handed over.
    workers : int
    version : str
        Of blobdir.
    index : dict
        Rows and bytes.
    blobs : list of (path, size, mtime_ns)
        What is served, to notice that it was replaced. Local projects only.
    folders : list of (path, mtime_ns)
        Folders and pickles whose change a new mount would show.
    log : str
        Where messages go.
    image : str
        The image that the kernel engine has mounted; empty with the others.
    image_inode : int
        To notice that the image was replaced by a newer one.
    birth : str
        Of the process, so that no other one with the same number is taken for it; see `birth_of`.
    holds_blobs : bool
        Whether all blobs are open for as long as it's mounted, so that those of the time of mounting are served.
    unheld : list of (path, inode, ctime_ns)
        Of `blobs`, those that aren't: there the file is opened when it's read, and must be the same one still.
    unseen : list of str
        Blobs that couldn't be looked at, or weren't there.
    disks : list of (path, device, inode, ctime_ns, number)
        Disks in the project, besides its own, to notice that one was taken away.
    seen_from : str
        The namespace of mounts that it was made in: from another one, it can't be said whether it's there.
    base : str
        What paths are relative to, where that isn't `url`: of tars, the folder that they are below.
    """

    mountpoint: str
    url: str
    engine: str
    why: str
    pid: int
    started_ns: int
    mount: MountIdentity
    workers: int
    version: str
    index: dict[str, int]
    blobs: list[tuple[str, int, int]]
    folders: list[tuple[str, int]]
    log: str
    image: str = ""
    image_inode: int = 0
    birth: str = ""
    holds_blobs: bool = True
    seen_from: str = ""
    unheld: list[tuple[str, int, int]] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    disks: list[tuple[str, int, int, int, int]] = field(default_factory=list)
    base: str = ""

    @property
    def root(self) -> str:
        """What paths are relative to."""
        return self.base or self.url

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> MountRecord:
        """What `to_json` gave.

        Raises
        ------
        TypeError, KeyError
            It gave something else.
        """
        return cls(**{**values, "mount": MountIdentity(*values["mount"])})

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def path(self) -> Path:
        """The file of this record; that of a mount without a process is named by the mount."""
        return state_folder() / f"{self.pid or f'kernel-{self.mount.unique or self.mount.number}'}.json"

    def save(self) -> None:
        """Write it; whole or not at all.

        Raises
        ------
        MountError
            It can't be written.
        """
        path = self.path()
        part = path.with_suffix(".part")
        try:
            part.write_text(json.dumps(self.to_json()), encoding="utf-8")
            os.replace(part, path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise MountError(
                f"{path}: can't be written ({error.strerror}), and what is mounted is written down there: "
                f"make room, or name another folder by {FOLDER_VARIABLE}",
                errno=error.errno,
            ) from error

    def counters(self) -> dict[str, int]:
        """What was counted so far."""
        return read_counters(counter_path(self.pid))

    def has_process(self) -> bool | None:
        """Whether the process that looks after it is there; None where that can't be seen from here."""
        if not self.pid:
            return False
        if place_of(self.birth) != place_of(birth_of(os.getpid())):
            return None
        return is_still(self.pid, self.birth)

    def is_near(self) -> bool:
        """Whether it can be said from here whether it's mounted: it was made in this namespace of mounts."""
        return self.seen_from == mount_namespace()

    def is_over(self) -> bool:
        """Whether nobody can have anything of it any more."""
        if not self.birth.startswith(_boot()):
            return True  # the machine was started anew
        if self.has_process() is not False or self.mount.entry() is not None:
            return False
        return self.is_near() or not self.image  # what FUSE serves ends with its process, wherever it's mounted

    def forget(self) -> None:
        """Remove the files."""
        if self.pid:
            forget(self.pid)
        else:
            self.path().unlink(missing_ok=True)


def birth_of(pid: int) -> str:
    """When and where a process was started: the boot, the namespace of process numbers, and clock ticks since the boot.

    Returns
    -------
    str
        Three words; the last is empty for a process that isn't there.
    """
    ticks = ""
    with suppress(OSError, IndexError), open(f"/proc/{pid}/stat", "rb") as file:
        ticks = file.read().rpartition(b")")[2].split()[19].decode()  # field 22, see proc_pid_stat(5)
    return f"{_boot()} {_namespace('pid')} {ticks}"


def place_of(birth: str) -> str:
    """Boot and namespace of a process: only within them does its number mean something."""
    return birth.rpartition(" ")[0]


def mount_namespace() -> str:
    """Which mounts this process sees."""
    return f"{_boot()} {_namespace('mnt')}"


def _namespace(kind: str) -> str:
    try:
        return os.readlink(f"/proc/self/ns/{kind}")
    except OSError:
        return "-"


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "-"


def is_running(pid: int) -> bool:
    """Whether there is such a process, and it isn't a zombie."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError as error:
        if error.errno not in NONE_LEFT and os.path.exists("/proc/self/stat"):
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_still(pid: int, birth: str) -> bool:
    """Whether there is such a process, and it's the one that was born so, as far as that can be seen."""
    return is_running(pid) and birth_of(pid) in (birth, f"{place_of(birth)} ")


def state_folder() -> Path:
    """Where the files of this user's mounts lie; made if need be. Root's can be read by everyone.

    Raises
    ------
    OSError
        There is no folder that this user can write in.
    """
    named = os.environ.get(FOLDER_VARIABLE)
    try:
        if named:
            folder = Path(named)
        elif os.getuid() == 0 and sys.platform == "linux":
            folder = Path("/run/blobdir")
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it had to choose another folder, where there is no session
                folder = user_runtime_path("blobdir")
        folder.mkdir(parents=True, exist_ok=True, mode=0o755 if os.getuid() == 0 else 0o700)
        if not os.access(folder, os.W_OK):  # root's, and whom a user namespace calls root isn't
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(folder))
    except OSError:  # no session of its own, as in a container: then where temporary files lie
        folder = Path(_temporary_folder()) / f"blobdir-{os.getuid()}"
        folder.mkdir(exist_ok=True, mode=0o700)
        if folder.stat().st_uid != os.getuid():
            raise
    return folder


def _temporary_folder() -> str:
    try:
        return tempfile.gettempdir()
    except OSError as error:
        raise OSError(
            error.errno,
            "there is no folder to write down mounts in: you have no session, and can't write where temporary "
            f"files lie ({error.strerror}); name a folder by {FOLDER_VARIABLE} or TMPDIR",
        ) from error


def counter_path(pid: int) -> Path:
    """Counters of the mount that a process looks after."""
    return state_folder() / f"{pid}.counters"


def forget(pid: int) -> None:
    """Remove the files of a mount."""
    for path in (state_folder() / f"{pid}.json", counter_path(pid)):
        with suppress(OSError):
            path.unlink()


def records() -> Iterator[MountRecord]:
    """All mounts that this user has written down, and root."""
    folders = [Path("/run/blobdir")]
    with suppress(OSError):  # who can't write down any has none
        folders.insert(0, state_folder())
    for folder in dict.fromkeys(folders):
        for path in sorted(folder.glob("*.json")):
            try:
                yield MountRecord.from_json(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, TypeError, KeyError):
                continue
