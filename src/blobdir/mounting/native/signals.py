"""Signals that a process waits for: each leaves its number in a pipe, whichever thread the kernel gives it to.

``signal.sigtimedwait`` can't be trusted: if the process is stopped while it waits, and continued after the deadline,
CPython gives what was in memory before (a number that is no signal, or one that never came). And what is blocked in one
thread, for signalfd(2) or for sigtimedwait(2) itself, is given to another one that doesn't block it, such as that of a
remote project's requests: there it's ignored, or ends the process.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class Signals:
    """Signals that do nothing but being waited for, while this is entered.

    Python knows them in its main thread only. Entered in another one, none is ever seen.

    Parameters
    ----------
    numbers : collection of int
        Which ones.
    """

    def __init__(self, numbers: Collection[signal.Signals]) -> None:
        self._numbers = numbers
        self._before: dict[signal.Signals, Any] = {}
        self._mask_before: set[int | signal.Signals] = set()
        self._wakeup_before = -1
        self._read = self._write = -1

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        if threading.current_thread() is threading.main_thread():
            self._wakeup_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
            for number in self._numbers:
                self._before[number] = signal.signal(number, lambda *_: None)
            # Who has started this process may have blocked them, as who waits for his own by sigwait(3) does.
            self._mask_before = signal.pthread_sigmask(signal.SIG_UNBLOCK, self._numbers)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask_before)
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._before:
            signal.set_wakeup_fd(self._wakeup_before)
        self._before.clear()
        os.close(self._read)
        os.close(self._write)

    def wait(self, seconds: float) -> int:
        """The number of a signal that has come; 0 if none does so in time."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        poll.poll(seconds * 1000)
        while True:
            try:
                number = os.read(self._read, 1)[0]
            except BlockingIOError:
                return 0
            if number in self._numbers:  # others have handlers of their own
                return number

    @contextmanager
    def forking(self) -> Iterator[None]:
        """A child that is forked inside gets no signal until it calls `forget`, and then none of these any more."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def forget(self) -> None:
        """In a child: what comes from now on is for it alone, and does what it does in any process."""
        if self._before:
            signal.set_wakeup_fd(-1)
            for number in self._before:
                signal.signal(number, signal.SIG_DFL)
