"""The process that owns a mount: it greets the kernel, starts the workers, replaces those that die, and unmounts."""

from __future__ import annotations

import errno
import gc
import logging
import os
import select
import signal
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from blobdir.errors import MountError
from blobdir.index import DIRECTORY
from blobdir.mounting.failures import Failures
from blobdir.mounting.native.protocol import (
    HEADER,
    MIN_BUFFER_BYTES,
    Opcode,
    ProtocolError,
    decode_request,
    encode_error,
    encode_reply,
    negotiate,
)
from blobdir.mounting.native.server import Server
from blobdir.mounting.native.signals import Signals
from blobdir.mounting.native.worker import PARENT_DIED, die_with_parent, run_worker
from blobdir.mounting.state import Counter
from blobdir.mounting.versions import VersionedView

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.mounting.attach import Attachment
    from blobdir.mounting.native.protocol import Negotiated
    from blobdir.mounting.options import MountOptions
    from blobdir.mounting.state import Counters
    from blobdir.tree import Tree

LOG = logging.getLogger("blobdir.mounting")
GREETING_S = 10.0
"""How long the kernel may take to send INIT; it does so at once."""
GRACE_S = 2.0
"""How long workers may take to notice that nothing is mounted any more."""
TOO_MANY_DEATHS, DEATHS_WINDOW_S, BACKOFF_S = 10, 10.0, 1.0
READAHEAD_KB = 1024
LARGE_FOLDER = 100_000
"""Entries of a folder above which a listing alone doesn't fill the kernel's cache: a million inodes are a gigabyte."""
REMOTE_THREADS = 16
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


def greet(device: int, *, adaptive: bool = False) -> Negotiated:
    """Answer the INIT with which every connection begins.

    Raises
    ------
    ProtocolError
        The kernel is too old; it was told so.
    MountError
        It sends nothing, or something else.
    """
    while True:
        if not select.select([device], [], [], GREETING_S)[0]:
            raise MountError(f"the kernel didn't greet within {GREETING_S:.0f} s: the descriptor isn't a new mount's")
        data = os.read(device, max(MIN_BUFFER_BYTES, 1 << 16))
        request = decode_request(data)
        if request.opcode != Opcode.INIT:
            raise MountError(
                f"the kernel's first request is {request.opcode}, not INIT: somebody else has served this mount"
            )
        try:
            reply, agreed = negotiate(data[HEADER.size :], adaptive=adaptive)
        except ProtocolError:
            os.write(device, encode_error(request.unique, errno.EPROTO))
            raise
        os.write(device, encode_reply(request.unique, reply))
        if agreed is not None:
            return agreed


class Supervisor:
    """Looks after the workers of one mount.

    Parameters
    ----------
    tree : Tree
    attachment : Attachment
        Fresh: nobody has read from its device.
    options : MountOptions
    counters : Counters

    Attributes
    ----------
    mount : MountIdentity
    """

    def __init__(self, tree: Tree, attachment: Attachment, options: MountOptions, counters: Counters) -> None:
        self._tree = tree
        self._attachment = attachment
        self.mount = attachment.mount
        self._options = options
        self._counters = counters
        self._view = VersionedView(tree, options)
        self._negotiated = greet(attachment.device, adaptive=_largest_folder(tree) > LARGE_FOLDER)
        self._workers: dict[int, int] = {}
        self._missing: list[int] = []
        self._signals = Signals(_SIGNALS)
        self._deaths: deque[float] = deque(maxlen=TOO_MANY_DEATHS)
        self._raise_readahead()

    def run(self, ready: Callable[[], None], idle: Callable[[], bool]) -> None:
        """Serve until the filesystem is unmounted, or a signal says to stop.

        Parameters
        ----------
        ready : callable
            Called when the mount answers.
        idle : callable
            Called about once a second; the mount ends when it returns false.
        """
        gc.collect()
        gc.freeze()  # what is there now is shared with the workers, and stays shared if nobody touches it
        with self._signals:
            try:
                ready()  # requests wait from now on; first, since workers would inherit what it closes
                for number in range(1, self._options.worker_count() + 1):
                    self._start(number)
                self._watch(idle)
            finally:
                self._stop()

    def _watch(self, idle: Callable[[], bool]) -> None:
        asked = time.monotonic()
        while True:
            received = self._signals.wait(1.0)
            self._start_missing()
            if received in (0, signal.SIGCHLD):
                if self._reap():
                    LOG.info("%s: was unmounted", self._attachment.mountpoint)
                    return
                if time.monotonic() >= asked + 1.0:  # also where workers die all the time
                    asked = time.monotonic()
                    if not idle():
                        LOG.info("%s: unmounting: the process that mounted it has ended", self._attachment.mountpoint)
                        return
            elif received != signal.SIGHUP:
                LOG.info("%s: unmounting: %s", self._attachment.mountpoint, signal.Signals(received).name)
                return

    def _start(self, number: int) -> None:
        parent = os.getpid()
        with self._signals.forking():
            pid = os.fork()
            if pid:
                self._workers[pid] = number
                return
            self._be_worker(parent, number)

    def _start_missing(self) -> None:
        """Start the workers in place of those that have died; where no process can be made now, when it can be."""
        while self._missing:
            try:
                self._start(self._missing[-1])
            except OSError as error:
                LOG.error("worker %d can't be started, and is tried again: %s", self._missing[-1], error.strerror)
                return
            self._missing.pop()

    def _be_worker(self, parent: int, number: int) -> NoReturn:
        status = 1
        try:
            self._signals.forget()
            die_with_parent(parent, PARENT_DIED)
            counters, failures = self._counters.of_worker(number), Failures()
            threads = self._options.threads or (1 if self._tree.storage.is_quick else REMOTE_THREADS)

            def make_server() -> Server:
                return Server(self._tree, self._view, self._negotiated, counters, failures)

            run_worker(self._attachment.device, threads, make_server, parent, self._orphaned)
            status = 0
        except BaseException:
            LOG.exception("worker %d failed", number)
        finally:
            os._exit(status)

    def _orphaned(self) -> None:
        with suppress(MountError):  # a worker before us did it
            self._attachment.detach(lazy=True)

    def _reap(self) -> bool:
        """Collect dead workers and replace them; True if one of them has ended because nothing is mounted any more."""
        while self._workers:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                # All have ended, and nobody was told: in a thread of a program that ignores SIGCHLD.
                self._workers.clear()
                return True
            if not pid:
                break
            number = self._workers.pop(pid, 0)
            if not number:
                continue
            if os.waitstatus_to_exitcode(status) == 0:
                return True
            self._counters.add(Counter.RESTARTS, 1)
            LOG.error("worker %d (%d) died of %s; starting another", number, pid, _cause(status))
            now = time.monotonic()
            self._deaths.append(now)
            if len(self._deaths) == TOO_MANY_DEATHS and now - self._deaths[0] < DEATHS_WINDOW_S:
                time.sleep(BACKOFF_S)  # something is wrong for good: don't burn a processor on it
            self._missing.append(number)
        self._start_missing()
        return False

    def _stop(self) -> None:
        try:
            self._attachment.detach(lazy=False)
        except MountError as error:
            LOG.warning("%s (it is taken away now; who has it open gets errors)", error)
            with suppress(MountError):
                self._attachment.detach(lazy=True)
        if self._attachment.how == "inherited":
            self._kill(signal.SIGKILL)
        deadline = time.monotonic() + GRACE_S
        while self._workers and time.monotonic() < deadline:
            self._collect(os.WNOHANG)
            time.sleep(0.005)
        self._kill(signal.SIGKILL)
        self._collect(0)
        os.close(self._attachment.device)

    def _kill(self, number: int) -> None:
        for pid in self._workers:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _collect(self, flags: int) -> None:
        for pid in list(self._workers):
            with suppress(ChildProcessError):
                if os.waitpid(pid, flags)[0] == 0:
                    continue
            del self._workers[pid]

    def _raise_readahead(self) -> None:
        """Have the kernel read large files in larger steps than 128 KB. Only root may; it's a matter of speed only."""
        if device := self._attachment.mount.device:
            with suppress(OSError), open(f"/sys/class/bdi/{device}/read_ahead_kb", "w") as file:
                file.write(str(READAHEAD_KB))


def _largest_folder(tree: Tree) -> int:
    return int(tree.index.size[tree.index.source == DIRECTORY].max())


def _cause(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"
