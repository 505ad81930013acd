"""The kernel engine: an EROFS image of the project, which Linux serves by itself. No process is needed to read."""

from __future__ import annotations

import logging
import os
import select
import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from blobdir.discovery import DiscoveryOptions
from blobdir.erofs.attach import mount_image
from blobdir.erofs.contents import ImageOptions
from blobdir.erofs.gate import judge, look
from blobdir.erofs.images import image_folder, prepare
from blobdir.errors import MountError
from blobdir.interrupts import deferred
from blobdir.mounting.attach import alone_at, detach
from blobdir.mounting.mountinfo import MountIdentity, identity_at
from blobdir.packing.locking import unmixed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from blobdir.discovery import Progress
    from blobdir.erofs.gate import KernelFacts
    from blobdir.mounting.options import MountOptions
    from blobdir.packing.locking import Check
    from blobdir.tree import Tree

LOG = logging.getLogger("blobdir.mounting")
AUTO_COPY_BYTES: Final = 256 << 20
"""Bytes of plain files that are copied into an image without being asked to."""
AUTO_LOOPS: Final = 16
"""Loop devices that are taken without being asked to."""
_LOOK_MS: Final = 250  # how often it is looked whether the owner is still there


def why_not(tree: Tree, mountpoint: str, *, named: bool, facts: KernelFacts | None = None) -> str:
    """Why the kernel engine can't serve a project, or shouldn't unless it was asked for; empty where it may."""
    if mountpoint.startswith("/dev/fd/"):
        return "a FUSE device was handed over"
    if not tree.storage.directory:
        return "the kernel engine reads local projects only"
    verdict = judge(facts or look())
    if verdict.backing == "none":
        return "; ".join(verdict.reasons)
    if named:
        return ""
    blobs = len(tree.index.header.blobs)
    if verdict.backing == "loop" and blobs >= AUTO_LOOPS:
        return f"the kernel engine would take {blobs + 1} loop devices, since {verdict.reasons[0]}"
    if tree.index.header.incomplete:
        return "folders whose names aren't all known couldn't be entered at all with the kernel engine"
    return ""


def prepare_for(tree: Tree, options: MountOptions, *, named: bool, progress: Progress | None = None) -> Path:
    """The image of a project as it is now, kept or made; `named` is whether it's wanted whatever it takes.

    Labels are copied into it, and images are found by the tree: nobody changes the project from one to the other.

    Raises
    ------
    SourceChangedError
        It was changed since it was opened.
    """
    with unmixed(tree.storage.directory, tree.changes) as check:
        return _prepare(tree, options, check, named=named, progress=progress)


def _prepare(tree: Tree, options: MountOptions, check: Check, *, named: bool, progress: Progress | None) -> Path:
    shaping = ImageOptions(options.uid, options.gid, options.umask, private=not options.allow_other)
    if not named:
        shaping = replace(shaping, max_copy_bytes=AUTO_COPY_BYTES)
    made = prepare(
        tree,
        image_folder(tree.storage, DiscoveryOptions.of(tree.index.header.options)),
        shaping,
        check=check,
        progress=progress,
    )
    for reason in made.unreadable:
        LOG.warning("can't be read: %s", reason)
    return made.path


def is_image(url: str) -> bool:
    """Whether what should be mounted is an image, rather than a project."""
    return url.endswith(".erofs") and os.path.isfile(url)


class KernelEngine:
    """An image that the kernel serves.

    Parameters
    ----------
    image : Path
    mountpoint : str
    stay : bool
        Whether `run` goes on until it's unmounted.

    Attributes
    ----------
    why : str
        How, for people.
    image : Path
    mount : MountIdentity
    """

    def __init__(self, image: Path, mountpoint: str, *, stay: bool) -> None:
        self.mount = MountIdentity()
        try:
            with alone_at(mountpoint), deferred():  # who is asked to end meanwhile knows what to unmount
                self._mounted = mount_image(image, mountpoint)
                here = identity_at(mountpoint)
                self.mount = here if here.device == self._mounted.number else MountIdentity()
        except BaseException:
            self._unmount()
            raise
        self._stay = stay
        self.image = image
        how = "reads image and blobs as files" if self._mounted.backing == "file" else "reads through loop devices"
        self.why = "; ".join([f"Linux {os.uname().release} {how}", *self._mounted.notes])

    def run(self, ready: Callable[[], None], idle: Callable[[], bool]) -> None:
        """Say that it's ready; stay only if it must be unmounted at some time."""
        asked: list[int] = []
        if self._stay:  # before anybody knows of the mount, and could ask for its end
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup(1)
                    signal.signal(number, lambda received, _: asked.append(received))
        try:
            ready()
        except BaseException:
            self._unmount()
            raise
        if not self._stay:
            return
        with open("/proc/self/mountinfo", "rb") as mounts:
            poll = select.poll()
            poll.register(mounts, select.POLLPRI | select.POLLERR)  # proc_pid_mountinfo(5): when mounts change
            while not asked and idle() and self.mount.entry():
                poll.poll(_LOOK_MS)
        self._unmount()

    def _unmount(self) -> None:
        try:
            detach(self.mount, lazy=True)
        except MountError as error:
            LOG.warning("%s", error)
