"""Mounting, unmounting and asking after mounts, from any process."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blobdir.children import is_told
from blobdir.erofs.attach import FILESYSTEM
from blobdir.erofs.images import load_identity
from blobdir.errors import BlobdirError, MountError
from blobdir.filenames import is_path
from blobdir.interrupts import deferred
from blobdir.mounting.attach import clean_stale, handed_over, unmount, unmount_entry
from blobdir.mounting.background import error_from, hear, report_in, run_in_background, start_log
from blobdir.mounting.mountinfo import (
    FSTYPE,
    MountIdentity,
    absolute_place,
    held_elsewhere,
    is_same,
    mounted_at,
    name_of,
)
from blobdir.mounting.options import MountOptions
from blobdir.mounting.pausing import is_paused
from blobdir.mounting.session import Session, without_secrets
from blobdir.mounting.state import MountRecord, records
from blobdir.mountlines import mounts
from blobdir.processes import can_start, python_command
from blobdir.sources import Stat
from blobdir.sources.disks import Disk

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from types import TracebackType

    from blobdir.discovery import Progress
    from blobdir.mountlines import MountEntry

_SINCE = "has changed since the image was made: mount the project again to see that"
_LOST = (
    "it couldn't be held open, so reading what is in it is an error, unless a process of the mount still has it open: "
    "mount the project again"
)
UNMOUNT_S, SOON_S = 10.0, 0.5
"""How long an unmounted mount's process may take to end."""
STOP_S = 3.0
"""How long a process that is mounting may take to end, when that isn't wanted any more."""


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
    temporary: bool = False,
    progress: Progress | None = None,
    tell: Callable[[MountRecord], None] | None = None,
) -> MountRecord:
    """Mount in a new process that stays in the background; return when the mount answers.

    Forks this process, so it must have no threads: for the command line. See `mount` for everybody else. A temporary
    mount point is removed when it's unmounted, by whomever, unless no process is needed until then. Ctrl-C unmounts, as
    long as nobody was told (`tell`) of the mount.
    """
    url, mountpoint = absolute(url), mountpoint if mountpoint.startswith("/dev/fd/") else os.path.abspath(mountpoint)
    log = log and os.path.abspath(log)

    def job(ready: Any) -> None:
        where = start_log(log, foreground=False)
        session = Session(url, mountpoint, options, log=where, owner=owner, leave=True)
        try:
            session.run(lambda record: ready(record.to_json()), progress)
        finally:
            if temporary:
                with suppress(OSError):  # what needs no process is still mounted
                    os.rmdir(mountpoint)

    said = bytearray()
    try:
        record = MountRecord.from_json(run_in_background(job, said))
        _see_it_answer(record, mountpoint)
        if tell is not None:
            tell(record)
    except KeyboardInterrupt:
        _undo(said, temporary=temporary)
        raise
    return record


def _see_it_answer(record: MountRecord, mountpoint: str) -> None:
    try:
        if record.mount.number:
            os.stat(record.mountpoint)
    except OSError as error:
        raise MountError(
            f"{mountpoint}: was mounted, but doesn't answer: {error.strerror}; see {record.log}"
        ) from error


def _undo(said: bytearray, *, temporary: bool) -> None:
    """Unmount what a process has reported to be mounted, unless it has ended itself."""
    report = report_in(said)
    if report and "error" not in report:
        with suppress(MountError):
            Mount(MountRecord.from_json(report), temporary).unmount(lazy=True)


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
        if self._is_there():
            self.unmount(lazy=True)
        elif self._temporary:
            _remove(self.record.mountpoint)

    def unmount(self, *, lazy: bool = False) -> None:
        """Unmount it, wherever it was moved to, and no other one; a temporary mount point is removed.

        Raises
        ------
        MountError
            It's in use, and `lazy` wasn't asked for; it isn't mounted any more; or something is mounted over it.
        """
        here = self.record.mount.entry()
        try:
            if here is not None:
                _umount(here, self.record, self.record.mountpoint, lazy=lazy)
            elif self.record.mount.number:
                if self.record.is_over():
                    self.record.forget()
                raise MountError(f"{self.record.mountpoint}: this mount was unmounted already")
            else:  # which it is isn't known here
                umount(self.record.mountpoint, lazy=lazy)
        finally:
            if self._temporary and not (self.record.has_process() and self._is_there()):
                _remove(self.record.mountpoint)

    def _is_there(self) -> bool:
        return self.record.mount.entry() is not None if self.record.mount.number else os.path.ismount(self.path)

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
        An empty folder. By default a temporary one is made, and removed when it's unmounted. Or ``/dev/fd/N``: the FUSE
        device of a mount that was made already; whoever has made that unmounts it.
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
    place = "" if mountpoint is None else os.path.abspath(os.fspath(mountpoint))
    try:
        if temporary:
            with deferred():  # else it may be made, and nobody knows where
                place = tempfile.mkdtemp(prefix="blobdir-")
        job = {
            "url": absolute(os.fspath(url)),
            "mountpoint": place,
            "options": options.to_json(),
            "log": log and os.path.abspath(log),
            "owner": 0 if keep else os.getpid(),
            "temporary": temporary,
        }
        return Mount(_mount_apart(job), temporary)
    except BaseException:
        if temporary and place:
            _remove(place)
        raise


def _mount_apart(job: dict[str, Any]) -> MountRecord:
    """Mount by a process of its own, not a fork of this one: that may have threads, and a gigabyte of tensors."""
    place = job["mountpoint"]
    if not can_start():
        url, where = without_secrets(job["url"]), "FOLDER" if job["temporary"] else place
        raise MountError(
            f"{url}: mounting takes another Python, and sys.executable ({sys.executable!r}) isn't known to be one, "
            f"as in a frozen program; mount by `blobdir mount {url} {where}`, and read there"
        )
    command = python_command("from blobdir.mounting.__main__ import main; sys.exit(main())")
    given = handed_over(place)
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=given)  # noqa: S603  # ourselves
    except OSError as error:
        raise MountError(f"{place}: {sys.executable} can't be started, which should mount: {error.strerror}") from error
    with process:
        said = bytearray()
        try:
            _talk(process, json.dumps(job).encode(), said)
            process.wait()
        except BaseException:  # Ctrl-C, that may have come to us only, as from a notebook
            _call_off(process, said, temporary=job["temporary"])
            raise
    report = json.loads(bytes(said) or b"null")
    if report is None:
        how = f" with exit status {process.returncode}" if is_told() else ""
        raise MountError(f"{place}: the process that should mount failed{how}")
    if "error" in report:
        raise error_from(report)
    return MountRecord.from_json(report)


def _talk(process: subprocess.Popen[bytes], job: bytes, said: bytearray) -> None:
    """Say what is to be done, and hear to its end what is said of it; without a job, hear the rest."""
    given, heard = process.stdin, process.stdout
    if given is None or heard is None:
        raise ValueError("the process was started without pipes")
    with suppress(BrokenPipeError):  # it has died, and says nothing
        if job:
            given.write(job)
        given.close()
    hear(heard.fileno(), said)


def _call_off(process: subprocess.Popen[bytes], said: bytearray, *, temporary: bool) -> None:
    """Have a process that mounts end what it has begun, and unmount what it has mounted already."""
    killing = threading.Timer(STOP_S, process.kill)
    killing.start()
    try:
        process.terminate()
        _talk(process, b"", said)
        process.wait()
    finally:
        killing.cancel()
        process.kill()
        _undo(said, temporary=temporary)


def _remove(place: str) -> None:
    """Remove a temporary mount point, and what nobody serves there any more; not if something else is mounted there."""
    with suppress(OSError, MountError):
        clean_stale(absolute_place(place))
        os.rmdir(place)


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
    path = absolute_place(os.fspath(mountpoint))
    if not mounts():
        unmount(path, lazy=lazy)
        return
    here = mounted_at(path) or mounted_at(os.path.realpath(path))
    record = _record_of(here) if here else None
    if here is None or not _is_ours(here, record):
        place = here.mountpoint if here else path
        under = [entry for entry in mounts() if entry.mountpoint == place and _is_ours(entry, _record_of(entry))]
        if under:
            unmount_entry(under[-1], lazy=lazy)  # which says what lies over it
            return
        if here is None:
            raise MountError(f"{mountpoint}: nothing is mounted there; `blobdir status` lists what is")
        raise MountError(f"{mountpoint}: what is mounted there is {here.fstype}, not a blob project; use umount")
    _umount(here, record, mountpoint, lazy=lazy)


def _is_ours(here: MountEntry, record: MountRecord | None) -> bool:
    return here.fstype == FSTYPE or record is not None or _is_image_of_ours(here)


def _umount(here: MountEntry, record: MountRecord | None, mountpoint: str | os.PathLike[str], *, lazy: bool) -> None:
    """Unmount one mount, and wait until the process that served it has ended."""
    # Looked at before: afterwards, the number of its device may be that of another mount.
    places = {entry.number for entry in mounts() if is_same(entry, here)} - {here.number}
    holders = held_elsewhere(here) if record else {}
    unmount_entry(here, lazy=lazy)
    if record is None:
        return
    if record.is_over():
        record.forget()  # nobody else is there to do it
    if lazy or any(entry.number in places and is_same(entry, here) for entry in mounts()):
        return  # it goes on being served where it was bound to
    _see_it_end(record, here, holders.keys(), mountpoint)


def _see_it_end(
    record: MountRecord,
    gone: MountEntry,
    had: Collection[tuple[str, int]],
    mountpoint: str | os.PathLike[str],
) -> None:
    """Wait for the process of what was unmounted; MountError where it goes on for somebody who had it before."""
    began = time.monotonic()
    # What starts a container leaves its old mounts in a moment: not only a process is waited for.
    while (record.has_process() or (record.image and _holders(gone, had))) and time.monotonic() < began + UNMOUNT_S:
        if time.monotonic() > began + SOON_S and (is_paused(record.pid) or _holders(gone, had)):
            break
        time.sleep(0.005)
    if record.has_process() and is_paused(record.pid):
        raise MountError(
            f"{mountpoint}: was unmounted, but process {record.pid}, which served it, is stopped, as by Ctrl-Z or in a "
            f"paused container: it ends when it goes on, as by kill -CONT {record.pid}"
        )
    goes_on = bool(record.image) or record.has_process() is not False  # what FUSE serves ends with its process
    if goes_on and (holders := _holders(gone, had)):
        raise MountError(
            f"{mountpoint}: was unmounted here, and goes on elsewhere: {' and '.join(holders)} has it in another mount "
            "namespace, as a container has what was mounted when it was started. It ends when those processes do"
        )
    if record.has_process():
        raise MountError(
            f"{mountpoint}: was unmounted, but process {record.pid}, which served it, hasn't ended within "
            f"{UNMOUNT_S:.0f} s: somebody may have it in another mount namespace. `blobdir status` shows when it has"
        )


def _holders(gone: MountEntry, had: Collection[tuple[str, int]]) -> list[str]:
    """Who still has a mount in other mount namespaces, of those that had it."""
    found = []
    for place, pid in held_elsewhere(gone).items() if had else ():
        with suppress(OSError):
            if place in had:
                found.append(f"{name_of(pid)} ({pid})")
    return found


def _record_of(here: MountEntry) -> MountRecord | None:
    """What was written down of a mount; of one that was bound to another place as well, only of the first."""
    found = ((record, record.mount.entry()) for record in records())
    return next((record for record, entry in found if entry and entry.number == here.number), None)


def _is_image_of_ours(here: MountEntry) -> bool:
    """Whether the kernel serves an image of blobdir's there, as at a second place that a mount was bound to."""
    if here.fstype != FILESYSTEM:
        return False
    entries = (record.mount.entry() for record in records() if record.image)
    if any(entry and is_same(entry, here) for entry in entries):
        return True
    with suppress(OSError, BlobdirError):  # a file that isn't there any more, or none of ours
        image = here.source
        if image.startswith("/dev/loop"):
            backing = Path(f"/sys/block/{image.removeprefix('/dev/')}/loop/backing_file")
            image = os.fsdecode(backing.read_bytes().removesuffix(b"\n"))
        return os.path.isfile(image) and bool(load_identity(Path(image)).root)
    return False


@dataclass(frozen=True, slots=True)
class Status:
    """How a mount is.

    Attributes
    ----------
    record : MountRecord
    state : {"serving", "stopped", "dead", "detached", "unknown"}
        Stopped: processes of it are, by a signal or by a control group, so that readers wait until they go on. Dead:
        mounted, and nobody serves it. Detached: unmounted here, and its process still serves somebody. Unknown: that
        can't be seen from here, as from another container; or it's another user's.
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
        for key in ("blobs", "folders", "mount", "birth", "seen_from", "unheld", "unseen", "disks"):
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
        return "stopped" if is_paused(record.pid) else "serving"
    return "detached" if record.is_near() else "unknown"


def _changes(record: MountRecord) -> tuple[list[str], str]:
    """What has changed since, and why more may have."""
    if not is_path(record.root):
        return [], "the project is remote"
    if _stat(record.root, "") is None or (record.folders and not _is_any_there(record)):
        return [f"{record.root} isn't there any more, or nothing is in it: was its disk taken away?"], ""
    gone = [disk for disk in itertools.starmap(Disk, record.disks) if not disk.is_there(record.root)]
    found = [f"{disk.path} isn't the folder that was opened: was its disk taken away?" for disk in gone]
    found += _blob_changes(record)
    for path, mtime_ns in record.folders:
        if any(disk.has(path) for disk in gone):
            continue
        now, shown = _stat(record.root, path), path or "the top folder"
        if isinstance(now, str):
            found.append(f"{shown} can't be looked at any more: {now}")
        elif now is None or now.mtime_ns != mtime_ns:
            found.append(f"{shown} has changed: names are those of the time of mounting")
    if record.image:
        found += _image_changes(record, gone)
    return found, "" if record.blobs or record.folders or record.image else "what it was made from isn't known"


def _is_any_there(record: MountRecord) -> bool:
    """Whether anything of a project is where it was: a blob, or a folder besides the top one."""
    paths = [*(path for path, _, _ in record.blobs), *(path for path, _ in record.folders if path)]
    return not paths or any(_stat(record.root, path) is not None for path in paths)


def _blob_changes(record: MountRecord) -> Iterator[str]:
    """A sentence for each blob that isn't the one of the time of mounting.

    One that isn't held open must be the same file when it's read; of one that is, only the name can lead elsewhere.
    """
    unheld = {path: (inode, ctime_ns) for path, inode, ctime_ns in record.unheld}
    is_open = "" if record.holds_blobs or unheld else ", if it was still open"
    for path, size, mtime_ns in record.blobs:
        now, version = _stat(record.root, path), unheld.get(path)
        if isinstance(now, str):
            yield f"{path} can't be looked at any more: {now}"
        elif now is None:
            yield f"{path} was removed: {_LOST if version else f'the one of the time of mounting is served{is_open}'}"
        elif version and not _version(size, mtime_ns, *version).same_content(now):
            yield f"{path} was replaced, or overwritten: {_LOST}"
        elif not version and (now.size, now.mtime_ns) != (size, mtime_ns):
            yield f"{path} was replaced, or overwritten: readers get what is in the file that was mounted{is_open}"
    for path in record.unseen:
        now = _stat(record.root, path)
        if now is not None:
            more = f"can't be looked at now: {now}" if isinstance(now, str) else "can be now: mount the project again"
            yield f"{path} wasn't there, or couldn't be looked at, when it was mounted, and {more}"


def _image_changes(record: MountRecord, gone: list[Disk]) -> list[str]:
    """What the image that the kernel engine has mounted has otherwise than it's now."""
    image = Path(record.image)
    try:
        if image.stat().st_ino != record.image_inode:
            return ["the project has changed, and a newer image of it was made: mount it again to see that"]
        changed = load_identity(image).changed(record.root)
        there = (path for path in changed if not any(disk.has(path) for disk in gone))
        return [f"{path or 'the top folder'} {_SINCE}" for path in there]
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
