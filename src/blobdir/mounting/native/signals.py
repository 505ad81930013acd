"""Signals that a process waits for: blocked, and read from a descriptor, as signalfd(2) has it.

``signal.sigtimedwait`` can't be trusted: if the process is stopped while it waits, and continued after the deadline,
CPython gives what was in memory before (a number that is no signal, or one that never came).
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import struct
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Collection

_SIGSET_BYTES: Final = 128
_INFO_BYTES: Final = 128
"""Of a ``struct signalfd_siginfo``; it begins with the signal's number."""
_WORD_BITS: Final = 8 * ctypes.sizeof(ctypes.c_ulong)


class Signals:
    """Signals that don't do anything by themselves while this is entered. Linux only.

    Parameters
    ----------
    numbers : collection of int
        Which ones.

    Raises
    ------
    OSError
        The kernel gives no descriptor for them. On entering.
    """

    def __init__(self, numbers: Collection[signal.Signals]) -> None:
        self._numbers = numbers
        self._descriptor = -1
        self._before: set[int | signal.Signals] = set()

    def __enter__(self) -> Self:
        words = (ctypes.c_ulong * (_SIGSET_BYTES // ctypes.sizeof(ctypes.c_ulong)))()
        for number in self._numbers:
            words[(number - 1) // _WORD_BITS] |= 1 << (number - 1) % _WORD_BITS
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
        flags = os.O_CLOEXEC | os.O_NONBLOCK  # SFD_CLOEXEC, SFD_NONBLOCK
        self._descriptor = ctypes.CDLL(None, use_errno=True).signalfd(-1, words, flags)
        if self._descriptor < 0:
            code = ctypes.get_errno()
            signal.pthread_sigmask(signal.SIG_SETMASK, self._before)
            raise OSError(code, f"signalfd: {os.strerror(code)}")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def wait(self, seconds: float) -> int:
        """The number of a signal that has come; 0 if none does so in time."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.poll(seconds * 1000)
        try:
            info = os.read(self._descriptor, _INFO_BYTES)
        except BlockingIOError:  # nothing, or somebody else took it
            return 0
        return int(struct.unpack_from("=I", info)[0])
