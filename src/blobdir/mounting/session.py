"""One mount from beginning to end, in the process that looks after it."""

from __future__ import annotations

import logging
import os
import re
import resource
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from blobdir.discovery.inputs import NO_FILES
from blobdir.errors import BlobdirError, MountError, SourceChangedError, UsageError
from blobdir.interrupts import let_in
from blobdir.mounting.attach import alone_at, attach, check_mountpoint, detach
from blobdir.mounting.notify import notify
from blobdir.mounting.options import ENGINES
from blobdir.mounting.state import (
    Counters,
    MountRecord,
    birth_of,
    counter_path,
    forget,
    is_still,
    mount_namespace,
    records,
)
from blobdir.opening import OpenOptions, open_tree
from blobdir.version import __version__
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.discovery import Progress
    from blobdir.index import Header, SourceRecord
    from blobdir.mounting.kernel import KernelEngine
    from blobdir.mounting.mountinfo import MountIdentity
    from blobdir.mounting.options import MountOptions
    from blobdir.tree import Tree

LOG = logging.getLogger("blobdir.mounting")
ENGINE_VARIABLE = "BLOBDIR_ENGINE"
"""Environment variable that says which engine is taken where none is asked for."""
SPARE_DESCRIPTORS = 128
"""Descriptors that are kept for other things than blobs."""
MOST_DESCRIPTORS = 65_536
TRIES = 3
"""Times that a project is opened that is changed before it can be mounted."""
_UNSEEN = frozenset(("blob-missing", "blob-unreadable"))
_SECRETS = re.compile(r"(?<=://)[^/@\s]*@|\?[^:\s]*")


class Running(Protocol):
    """An engine that has mounted and only needs to be run, such as `blobdir.mounting.native.supervisor.Supervisor`."""

    @property
    def mount(self) -> MountIdentity:
        """Which mount it is."""

    def run(self, ready: Callable[[], None], idle: Callable[[], bool]) -> None:
        """Serve until the filesystem is unmounted."""


class Session:
    """A project that is being mounted.

    Parameters
    ----------
    url : str
        A folder (absolute: the process may change its working directory) or any fsspec URL.
    mountpoint : str
        An empty folder, or ``/dev/fd/N``: the FUSE device of a mount that somebody else has made.
    options : MountOptions
    log : str
        Where messages go, for ``status``.
    owner : int
        Process with which the mount ends; 0 for none.
    leave : bool
        Whether this process ends when the mount answers, if nobody is needed to serve it.
    """

    def __init__(
        self,
        url: str,
        mountpoint: str,
        options: MountOptions,
        *,
        log: str = "",
        owner: int = 0,
        leave: bool = False,
    ) -> None:
        self._url = url
        self._options = options
        self._log = log
        self._owner, self._owner_birth = owner, birth_of(owner) if owner else ""
        self._leave = leave and not owner
        end_abandoned(mountpoint)
        self._mountpoint = check_mountpoint(mountpoint)

    def run(self, ready: Callable[[MountRecord], None], progress: Progress | None = None) -> None:
        """Open the project, mount it, and serve it until it's unmounted.

        Parameters
        ----------
        ready : callable
            Called with the record of the mount when it answers.
        progress : callable, optional
            See `blobdir.opening.open_tree`.
        """
        from blobdir.mounting.kernel import is_image

        let_in()
        if is_image(self._url):
            self._run_image(ready)
            return
        notify("STATUS=Opening the project")
        most = raise_descriptor_limit()
        counters = self._counters()
        try:
            for left in reversed(range(TRIES)):
                tree = open_tree(
                    self._url,
                    target_options=self._options.storage_options,
                    options=OpenOptions(self._options.discovery, self._options.index, self._options.remote),
                    progress=progress,
                    hold=lambda blobs: blobs.open_all(most),
                )
                try:
                    engine, why, running = self._start(tree, counters, progress, again=left > 0)
                    break
                except SourceChangedError:  # since it was opened: what is there now is mounted
                    if not left:
                        raise

            def answers() -> None:
                record = self._record(tree, engine, why, running)
                _tell(record, ready)
                notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=Serving {record.url} at {record.mountpoint}")

            try:
                running.run(answers, self._goes_on)
            finally:
                notify("STOPPING=1")
        finally:
            forget(os.getpid())

    def _run_image(self, ready: Callable[[MountRecord], None]) -> None:
        """Mount an image that `blobdir export` has made."""
        from blobdir.erofs.images import load_identity
        from blobdir.mounting.kernel import KernelEngine

        options, image = self._options, Path(self._url)
        if options.engine not in ("auto", "kernel"):
            raise UsageError(f"{image}: is an image, which only the kernel engine mounts, not {options.engine}")
        if (options.uid, options.gid, options.umask) != (-1, -1, 0):
            raise UsageError(f"{image}: owner and modes are in the image; give --uid, --gid, --umask to blobdir export")
        identity = load_identity(image)
        running = KernelEngine(image, self._mountpoint, stay=not self._leave)

        def answers() -> None:
            record = self._new_record(
                identity.root,
                "kernel",
                running.why,
                running,
                {"rows": identity.rows, "bytes": image.stat().st_size},
                [(blob.path, blob.size, blob.mtime_ns) for blob in identity.blobs],
                [],
            )
            _tell(record, ready)
            notify(f"READY=1\nMAINPID={os.getpid()}\nSTATUS=Serving {image} at {self._mountpoint}")

        try:
            running.run(answers, self._goes_on)
        finally:
            forget(os.getpid())

    def _goes_on(self) -> bool:
        return not self._owner or is_still(self._owner, self._owner_birth)

    @staticmethod
    def _counters() -> Counters:
        try:
            return Counters.create(counter_path(os.getpid()))
        except OSError as error:
            LOG.warning("no counters for `status`: %s", error)
            return Counters.create(None)

    def _start(
        self, tree: Tree, counters: Counters, progress: Progress | None, *, again: bool
    ) -> tuple[str, str, Running]:
        """Mount a project; `again` is whether it's opened again where it was changed since it was opened."""
        wanted: str = self._options.engine
        why = "asked for"
        refusal = ""
        if wanted == "auto" and (named := os.environ.get(ENGINE_VARIABLE)):
            if named not in ENGINES:
                raise UsageError(f"{ENGINE_VARIABLE}: there is no engine {named!r}; there are {', '.join(ENGINES)}")
            wanted, why = named, f"{ENGINE_VARIABLE} says so"
        if wanted in ("auto", "kernel"):
            running, refusal = self._kernel(tree, progress, named=wanted == "kernel", again=again)
            if running is not None:
                return "kernel", running.why, running
        if wanted == "auto" and sys.platform != "linux":
            wanted, why = "fusepy", "the native engine is for Linux"
        if wanted != "fusepy":
            from blobdir.mounting.native.protocol import ProtocolError

            try:
                return (
                    "native",
                    f"the kernel has what it needs; {refusal}" if wanted == "auto" else why,
                    self._native(tree, counters),
                )
            except ProtocolError as error:
                if wanted != "auto":
                    raise
                why = str(error)
                LOG.warning("%s", why)
        from blobdir.mounting.fusepy import FusepyEngine

        return "fusepy", why, FusepyEngine(tree, self._mountpoint, self._options, counters, self.fsname(tree))

    def _kernel(
        self, tree: Tree, progress: Progress | None, *, named: bool, again: bool
    ) -> tuple[KernelEngine | None, str]:
        """The kernel engine; or None and the reason, unless it was asked for by name."""
        from blobdir.mounting.kernel import KernelEngine, prepare_for, why_not

        refusal = why_not(tree, self._mountpoint, named=named)
        if not refusal:
            try:
                image = prepare_for(tree, self._options, named=named, progress=progress)
                engine = KernelEngine(image, self._mountpoint, stay=not self._leave)
            except (BlobdirError, OSError) as error:
                if named or (again and isinstance(error, SourceChangedError)):
                    raise
                refusal = str(error)
            else:
                return engine, ""
        if named:
            raise MountError(f"{self._mountpoint}: {refusal}; use another engine")
        LOG.info("not the kernel engine: %s", refusal)
        return None, refusal

    def _native(self, tree: Tree, counters: Counters) -> Running:
        from blobdir.mounting.native.supervisor import Supervisor

        if sys.platform != "linux":
            raise UsageError("the native engine is for Linux; use --engine fusepy")
        with alone_at(self._mountpoint):
            attachment = attach(self._mountpoint, fsname=self.fsname(tree), allow_other=self._options.allow_other)
        try:
            return Supervisor(tree, attachment, self._options, counters)
        except BaseException:
            os.close(attachment.device)
            with suppress(MountError):
                attachment.detach(lazy=True)
            raise

    def fsname(self, tree: Tree) -> str:
        """What ``mount`` and ``df`` show, without what a URL may hold of secrets."""
        return self._options.fsname or without_secrets(tree.url)

    def _record(self, tree: Tree, engine: str, why: str, running: Running) -> MountRecord:
        header, local = tree.index.header, bool(tree.storage.directory)
        unheld = tree.blobs.unheld if local and engine != "kernel" else []
        seen = [blob for blob in unheld if blob.size >= 0]
        if seen:
            LOG.warning(
                "%s of %s can't be held open: what is replaced or removed of them can't be read any more",
                len(seen),
                counted(len(header.blobs), "blob"),
            )
        record = self._new_record(
            without_secrets(tree.url),
            engine,
            why,
            running,
            {"rows": len(tree.index), "bytes": tree.index.nbytes},
            [(blob.path, blob.size, blob.mtime_ns) for blob in header.blobs if local and blob.size >= 0],
            [(item.path, item.mtime_ns) for item in header.inputs if local and item.role not in NO_FILES],
        )
        return replace(
            record,
            holds_blobs=not seen,
            base=tree.storage.directory if tree.url != tree.storage.url else "",
            unheld=[(blob.path, blob.inode, blob.ctime_ns) for blob in seen],
            unseen=[blob.path for blob in header.blobs if local and _is_unseen(blob, header)],
            disks=[(disk.path, *disk[1:]) for disk in tree.disks if disk.path],
        )

    def _new_record(
        self,
        url: str,
        engine: str,
        why: str,
        running: Running,
        index: dict[str, int],
        blobs: list[tuple[str, int, int]],
        folders: list[tuple[str, int]],
    ) -> MountRecord:
        image: Path | None = getattr(running, "image", None)
        return MountRecord(
            mountpoint=self._mountpoint,
            url=url,
            engine=engine,
            why=why,
            pid=0 if engine == "kernel" and self._leave else os.getpid(),
            started_ns=time.time_ns(),
            mount=running.mount,
            workers=self._options.worker_count() if engine == "native" else 1,
            version=__version__,
            index=index,
            blobs=blobs,
            folders=folders,
            log=self._log,
            image=str(image or ""),
            image_inode=image.stat().st_ino if image else 0,
            birth=birth_of(os.getpid()),
            seen_from=mount_namespace(),
        )


def _tell(record: MountRecord, ready: Callable[[MountRecord], None]) -> None:
    """Write a mount down, and tell who waits for it; nothing stays written down of one that nobody can be told of."""
    try:
        record.save()
        LOG.info("%s is mounted at %s by the %s engine (%s)", record.url, record.mountpoint, record.engine, record.why)
        ready(record)
    except BaseException:
        record.forget()
        raise


def _is_unseen(blob: SourceRecord, header: Header) -> bool:
    """Whether nobody knows what a blob was when the project was opened: it may be there now, or readable."""
    return blob.defect >= 0 and header.defects[blob.defect].code in _UNSEEN and blob.size < 0


def end_abandoned(mountpoint: str) -> None:
    """Unmount what the kernel goes on serving at a place although the process that should have ended it was killed."""
    path = os.path.abspath(mountpoint)
    for record in records():
        if record.image and record.pid and record.has_process() is False:
            here = record.mount.entry()
            if here is not None and here.mountpoint == path:
                LOG.warning("%s: the process of the mount there was killed; it is unmounted", path)
                detach(record.mount, lazy=True)
                record.forget()


def raise_descriptor_limit() -> int:
    """Allow this process as many descriptors as it may have.

    Returns
    -------
    int
        How many of them blobs may take.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return max(16, (MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft) - SPARE_DESCRIPTORS)


def without_secrets(url: str) -> str:
    """A URL without user, password and query, as it may be shown to everyone."""
    return _SECRETS.sub("", url) if "://" in url else url
