"""The loop of a worker: requests from the device to the server, replies back. One process, one or more threads."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import select
import signal
import struct
import time
from typing import TYPE_CHECKING

from blobdir.background import start
from blobdir.mounting.native.protocol import REPLY, encode_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.mounting.native.server import Server

LOG = logging.getLogger("blobdir.mounting")
_CLONE = 0x8004E500
"""FUSE_DEV_IOC_CLONE: _IOR(229, 0, uint32_t)."""
_PDEATHSIG = 1
PARENT_DIED = signal.SIGUSR1
"""What the kernel sends a worker whose supervisor has died. Anybody can send it, so the worker looks for itself."""
SPIN_S = 50e-6
_AGAIN = frozenset((errno.EINTR, errno.ENOENT))  # ENOENT: the caller gave up before we could read its request
_GONE = frozenset((errno.ENODEV, errno.ECONNABORTED, errno.EBADF))


def clone_device(device: int) -> int:
    """Open the FUSE device once more, for the same mount.

    A request belongs to the descriptor that it was read from: if a worker dies, closing its own makes the kernel fail
    what it hadn't answered. Read from a shared one, those requests would wait for ever.

    Raises
    ------
    OSError
        The kernel, or a container, doesn't allow it.
    """
    cloned = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(cloned, _CLONE, struct.pack("=I", device))
    except OSError:
        os.close(cloned)
        raise
    return cloned


def die_with_parent(parent: int, signal_number: int) -> None:
    """Have the kernel send a signal to this process when its parent ends, however it ends. Linux only."""
    ctypes.CDLL(None).prctl(_PDEATHSIG, int(signal_number), 0, 0, 0)
    if os.getppid() != parent:  # it ended before we could ask
        os.kill(os.getpid(), signal_number)


def serve(device: int, server: Server, spin_s: float) -> None:
    """Answer requests until the filesystem is unmounted.

    Parameters
    ----------
    device : int
    server : Server
    spin_s : float
        How long to go on asking for the next request before falling asleep. A reader that has got its reply sends the
        next request some microseconds later; waking up takes longer than that.
    """
    read, clock = os.readv, time.perf_counter
    buffers, answer = [server.request], server.answer
    sleep = select.poll()
    sleep.register(device, select.POLLIN)
    os.set_blocking(device, spin_s == 0)
    awake_until = 0.0
    try:
        while True:
            try:
                length = read(device, buffers)
            except BlockingIOError:
                if clock() > awake_until:
                    sleep.poll()
                continue
            except OSError as error:
                if error.errno in _AGAIN:
                    continue
                raise
            reply = answer(length)
            if reply is not None:
                _send(device, reply)
            if spin_s:
                awake_until = clock() + spin_s
    except OSError as error:
        if error.errno not in _GONE:
            raise


def _send(device: int, reply: bytes | memoryview) -> None:
    try:
        os.write(device, reply)
    except FileNotFoundError:  # the caller was killed: nobody waits for this reply
        return
    except OSError as error:
        if error.errno in _GONE:
            raise
        LOG.exception("the kernel doesn't take a reply of %d bytes", len(reply))
        with contextlib.suppress(FileNotFoundError):
            os.write(device, encode_error(REPLY.unpack_from(reply)[2], errno.EIO))


def run_worker(
    device: int, threads: int, make_server: Callable[[], Server], parent: int, orphaned: Callable[[], None]
) -> None:
    """Be a worker, in a process of its own. Returns when the filesystem is unmounted.

    A signal ends this worker, which the supervisor then replaces; only the supervisor's own end ends the mount.

    Parameters
    ----------
    device : int
        The device of the mount.
    threads : int
    make_server : callable
        Makes a server for one thread.
    parent : int
        The supervisor.
    orphaned : callable
        Called if the supervisor has died: it should unmount.
    """

    def look_for_parent(*_: object) -> None:
        if os.getppid() != parent:
            orphaned()
            os._exit(0)

    signal.signal(PARENT_DIED, look_for_parent)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of us; the supervisor sees to it
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with contextlib.suppress(OSError):  # then the shared one must do
        device = clone_device(device)
    spin_s = SPIN_S if threads == 1 and len(os.sched_getaffinity(0)) > 1 else 0.0

    def serve_or_die() -> None:
        try:
            serve(device, make_server(), spin_s)
        except BaseException:  # a request of its would wait as long as the others hold the device open
            LOG.exception("a thread failed")
            os._exit(1)

    for _ in range(threads - 1):
        start(serve_or_die, name="blobdir serving")
    serve(device, make_server(), spin_s)
