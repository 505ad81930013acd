"""Mounting, unmounting and asking after mounts, from any process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blobdir.erofs.images import load_identity
from blobdir.errors import BlobdirError, MountError
from blobdir.filenames import is_path
from blobdir.mounting.attach import unmount
from blobdir.mounting.background import error_from, run_in_background, start_log
from blobdir.mounting.mountinfo import FSTYPE, MountIdentity, held_elsewhere, mounted_at, mounts
from blobdir.mounting.options import MountOptions
from blobdir.mounting.session import Session
from blobdir.mounting.state import MountRecord, records
from blobdir.sources import Stat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from blobdir.discovery import Progress
    from blobdir.mounting.mountinfo import MountEntry

_SINCE = "has changed since the image was made: mount the project again to see that"
_LOST = (
    "it couldn't be held open, so reading what is in it is an error, unless a process of the mount still has it open: "
    "mount the project again"
)
UNMOUNT_S, SOON_S = 10.0, 0.5
"""How long an unmounted mount's process may take to end."""


def absolute(url: str) -> str:
    """A URL that means the same wherever the working directory is."""
    return os.path.abspath(url) if is_path(url) else url


def run_here(
    url: str, mountpoint: str, options: MountOptions, *, log: str = "", progress: Progress | None = None
) -> None:
    """Mount in this process, and stay until it's unmounted. SIGTERM and Ctrl-C unmount."""
    where = start_log(log, foreground=True)
    Session(absolute(url), mountpoint, options, log=where).run(lambda _: None, progress)


def start(
    url: str,
    mountpoint: str,
    options: MountOptions,
    *,
    log: str = "",
    owner: int = 0,
    progress: Progress | None = None,
) -> MountRecord:
    """Mount in a new process that stays in the background; return when the mount answers.

    Forks this process, so it must have no threads: for the command line. See `mount` for everybody else.
    """
    url, mountpoint = absolute(url), mountpoint if mountpoint.startswith("/dev/fd/") else os.path.abspath(mountpoint)
    log = log and os.path.abspath(log)

    def job(ready: Any) -> None:
        where = start_log(log, foreground=False)
        session = Session(url, mountpoint, options, log=where, owner=owner, leave=True)
        session.run(lambda record: ready(record.to_json()), progress)

    record = MountRecord.from_json(run_in_background(job))
    if record.mount.number:
        try:
            os.stat(record.mountpoint)
        except OSError as error:
            raise MountError(
                f"{mountpoint}: was mounted, but doesn't answer: {error.strerror}; see {record.log}"
            ) from error
    return record


class Mount:
    """A mounted project: a context manager that gives the path and unmounts at the end.

    Attributes
    ----------
    path : Path
        The mount point.
    record : MountRecord
    """

    def __init__(self, record: MountRecord, temporary: bool) -> None:
        self.record = record
        self.path = Path(record.mountpoint)
        self._temporary = temporary

    def __fspath__(self) -> str:
        return self.record.mountpoint

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if os.path.ismount(self.path):
            self.unmount(lazy=True)

    def unmount(self, *, lazy: bool = False) -> None:
        """Unmount; a temporary mount point is removed.

        Raises
        ------
        MountError
            It's in use, and `lazy` wasn't asked for.
        """
        umount(self.record.mountpoint, lazy=lazy)
        if self._temporary:
            with suppress(OSError):
                self.path.rmdir()

    def __repr__(self) -> str:
        return f"<blobdir.Mount {self.record.url} at {self.record.mountpoint}, {self.record.engine}>"


def mount(
    url: str | os.PathLike[str],
    mountpoint: str | os.PathLike[str] | None = None,
    *,
    options: MountOptions | None = None,
    log: str = "",
    keep: bool = False,
    **more: Any,
) -> Mount:
    """Mount a blob project as a folder.

    >>> with blobdir.mount("/data/lemons") as path:         # doctest: +SKIP
    ...     names = os.listdir(path / "train" / "img")

    Parameters
    ----------
    url : str or path
        The project; any fsspec URL.
    mountpoint : str or path, optional
        An empty folder. By default a temporary one is made, and removed when it's unmounted.
    options : MountOptions, optional
    log : str
        A file for messages; the system's log where it's empty.
    keep : bool
        Whether the mount stays when this process ends. By default it goes with it, however it ends.
    **more
        Fields of `MountOptions`, such as ``engine="native"`` or ``allow_other=True``.

    Returns
    -------
    Mount

    Raises
    ------
    MountError
        It can't be mounted; the message says why and what to do.
    BlobdirError
        The project can't be opened.
    """
    options = replace(options or MountOptions(), **more)
    temporary = mountpoint is None
    place = tempfile.mkdtemp(prefix="blobdir-") if mountpoint is None else os.path.abspath(os.fspath(mountpoint))
    job = {
        "url": absolute(os.fspath(url)),
        "mountpoint": place,
        "options": options.to_json(),
        "log": log and os.path.abspath(log),
        "owner": 0 if keep else os.getpid(),
    }
    # A process of its own, not a fork of this one: that may have threads, and a gigabyte of tensors.
    result = subprocess.run(
        [sys.executable, "-m", "blobdir.mounting"], input=json.dumps(job).encode(), stdout=subprocess.PIPE, check=False
    )
    try:
        report = json.loads(result.stdout or b"null")
        if report is None:
            raise MountError(f"{place}: the process that should mount failed with exit status {result.returncode}")
        if "error" in report:
            raise error_from(report)
    except BaseException:
        if temporary:
            with suppress(OSError):
                os.rmdir(place)
        raise
    return Mount(MountRecord.from_json(report), temporary)


def umount(mountpoint: str | os.PathLike[str], *, lazy: bool = False) -> None:
    """Unmount, and wait until the process that served it has ended.

    Parameters
    ----------
    mountpoint : str or path
    lazy : bool
        Take it away now, even if it's in use.

    Raises
    ------
    MountError
        It's in use, isn't ours to unmount, or nothing is mounted there. Or it was unmounted, and goes on in another
        mount namespace.
    """
    path = os.path.abspath(os.fspath(mountpoint))
    path = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
    here = mounted_at(path) or mounted_at(os.path.realpath(path))
    record = _record_of(here) if here else None
    if here is None:
        if mounts():
            raise MountError(f"{mountpoint}: nothing is mounted there; `blobdir status` lists what is")
    elif here.fstype != FSTYPE and record is None:
        raise MountError(f"{mountpoint}: what is mounted there is {here.fstype}, not a blob project; use umount")
    unmount(here.mountpoint if here else path, lazy=lazy)
    if record is None:
        return
    if record.is_over():
        record.forget()  # nobody else is there to do it
    if lazy or (here and _is_elsewhere(here)):
        return
    _see_it_end(record, mountpoint)


def _see_it_end(record: MountRecord, mountpoint: str | os.PathLike[str]) -> None:
    """Wait for the process of what was unmounted; MountError where it goes on for somebody."""
    began = time.monotonic()
    while record.has_process() and time.monotonic() < began + UNMOUNT_S:
        if time.monotonic() > began + SOON_S and _holders(record):
            break
        time.sleep(0.005)
    if holders := _holders(record):
        raise MountError(
            f"{mountpoint}: was unmounted here, and goes on elsewhere: {' and '.join(holders)} has it in another mount "
            "namespace, as a container has what was mounted when it was started. It ends when those processes do"
        )
    if record.has_process():
        raise MountError(
            f"{mountpoint}: was unmounted, but process {record.pid}, which served it, hasn't ended within "
            f"{UNMOUNT_S:.0f} s: somebody may have it in another mount namespace. `blobdir status` shows when it has"
        )


def _holders(record: MountRecord) -> list[str]:
    """Who has a mount in other mount namespaces."""
    found = []
    for pid in held_elsewhere(record.mount.device, record.mount.fstype):
        with suppress(OSError):
            found.append(f"{Path(f'/proc/{pid}/comm').read_text().strip()} ({pid})")
    return found


def _record_of(here: MountEntry) -> MountRecord | None:
    """What was written down of a mount; of one that was bound to another place as well, only of the first."""
    found = ((record, record.mount.entry()) for record in records())
    return next((record for record, entry in found if entry and entry.number == here.number), None)


def _is_elsewhere(gone: MountEntry) -> bool:
    """Whether what was unmounted at one place is mounted at another, and goes on being served there."""
    return any((entry.device, entry.fstype) == (gone.device, gone.fstype) for entry in mounts())


@dataclass(frozen=True, slots=True)
class Status:
    """How a mount is.

    Attributes
    ----------
    record : MountRecord
    state : {"serving", "dead", "detached", "unknown"}
        Dead: mounted, and nobody serves it. Detached: unmounted here, and its process still serves somebody. Unknown:
        that can't be seen from here, as from another container; or it's another user's.
    uptime_s : float
    counters : dict
        Requests, lookups, reads, bytes, errors, cache hits and misses, workers that were replaced.
    changed : list of str
        What is another one now than when it was mounted, a sentence for each.
    not_looked_at : str
        Why nobody knows whether more has changed; empty where all was looked at.
    """

    record: MountRecord
    state: str
    uptime_s: float
    counters: dict[str, int]
    changed: list[str]
    not_looked_at: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        values = self.record.to_json()
        for key in ("blobs", "folders", "mount", "birth", "seen_from", "unheld", "unseen"):
            del values[key]
        values |= {"not_held": [path for path, _, _ in self.record.unheld]}
        values |= {"device": self.record.mount.device, "mount_id": self.record.mount.number}
        values |= {"state": self.state, "uptime_s": round(self.uptime_s, 3), "counters": self.counters}
        return values | {"changed": self.changed, "not_looked_at": self.not_looked_at}


def statuses() -> list[Status]:
    """All mounts that this user may know of, in the order in which they were made."""
    found, known = [], set()
    for record in records():
        if record.is_over():
            record.forget()  # its process was killed, and somebody has cleaned up
            continue
        here = record.mount.entry()
        known.add(record.mount.device)
        if here is not None:
            record = replace(record, mountpoint=here.mountpoint)  # noqa: PLW2901 - it may have been moved
        uptime = max(0.0, (time.time_ns() - record.started_ns) / 1e9)
        changed, unknown = _changes(record)
        found.append(Status(record, _state(record, here), uptime, record.counters(), changed, unknown))
    for entry in mounts():
        if entry.fstype == FSTYPE and entry.device not in known:  # one bound to a second place is the first one's
            identity = MountIdentity(entry.number, 0, entry.device, entry.fstype)
            stranger = MountRecord(entry.mountpoint, entry.source, "unknown", "", 0, 0, identity, 0, "", {}, [], [], "")
            found.append(Status(stranger, "unknown", 0.0, {}, [], "it isn't this user's"))
    return sorted(found, key=lambda status: status.record.started_ns)


def _state(record: MountRecord, here: MountEntry | None) -> str:
    process = record.has_process()
    if record.image:  # the kernel serves it
        return "serving" if here else "detached" if process and record.is_near() else "unknown"
    if process is None:
        return "unknown"
    if not process:
        return "dead"
    if here or not record.mount.number:
        return "serving"
    return "detached" if record.is_near() else "unknown"


def _changes(record: MountRecord) -> tuple[list[str], str]:
    """What has changed since, and why more may have."""
    if not is_path(record.url):
        return [], "the project is remote"
    if _stat(record.url, "") is None or (record.folders and not _is_any_there(record)):
        return [f"{record.url} isn't there any more, or nothing is in it: was its disk taken away?"], ""
    found = [*_blob_changes(record)]
    for path, mtime_ns in record.folders:
        now, shown = _stat(record.url, path), path or "the top folder"
        if isinstance(now, str):
            found.append(f"{shown} can't be looked at any more: {now}")
        elif now is None or now.mtime_ns != mtime_ns:
            found.append(f"{shown} has changed: names are those of the time of mounting")
    if record.image:
        found += _image_changes(record)
    return found, "" if record.blobs or record.folders or record.image else "what it was made from isn't known"


def _is_any_there(record: MountRecord) -> bool:
    """Whether anything of a project is where it was: a blob, or a folder besides the top one."""
    paths = [*(path for path, _, _ in record.blobs), *(path for path, _ in record.folders if path)]
    return not paths or any(_stat(record.url, path) is not None for path in paths)


def _blob_changes(record: MountRecord) -> Iterator[str]:
    """A sentence for each blob that isn't the one of the time of mounting.

    One that isn't held open must be the same file when it's read; of one that is, only the name can lead elsewhere.
    """
    unheld = {path: (inode, ctime_ns) for path, inode, ctime_ns in record.unheld}
    is_open = "" if record.holds_blobs or unheld else ", if it was still open"
    for path, size, mtime_ns in record.blobs:
        now, version = _stat(record.url, path), unheld.get(path)
        if isinstance(now, str):
            yield f"{path} can't be looked at any more: {now}"
        elif now is None:
            yield f"{path} was removed: {_LOST if version else f'the one of the time of mounting is served{is_open}'}"
        elif version and not _version(size, mtime_ns, *version).same_content(now):
            yield f"{path} was replaced, or overwritten: {_LOST}"
        elif not version and (now.size, now.mtime_ns) != (size, mtime_ns):
            yield f"{path} was replaced, or overwritten: readers get what is in the file that was mounted{is_open}"
    for path in record.unseen:
        now = _stat(record.url, path)
        if now is not None:
            more = f"can't be looked at now: {now}" if isinstance(now, str) else "can be now: mount the project again"
            yield f"{path} wasn't there, or couldn't be looked at, when it was mounted, and {more}"


def _image_changes(record: MountRecord) -> list[str]:
    """What the image that the kernel engine has mounted has otherwise than it's now."""
    image = Path(record.image)
    try:
        if image.stat().st_ino != record.image_inode:
            return ["the project has changed, and a newer image of it was made: mount it again to see that"]
        changed = load_identity(image).changed(record.url)
        return [f"{path or 'the top folder'} {_SINCE}" for path in changed]
    except (OSError, BlobdirError) as error:
        return [f"what has changed isn't known: {error}"]


def _version(size: int, mtime_ns: int, inode: int, ctime_ns: int) -> Stat:
    return Stat("file", size, mtime_ns, inode=inode, ctime_ns=ctime_ns)


def _stat(root: str, path: str) -> Stat | str | None:
    """What is there; why it isn't known; None where there is nothing."""
    try:
        found = os.stat(os.path.join(root, path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return error.strerror or str(error)
    return _version(found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns)
