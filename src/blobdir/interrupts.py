"""Ctrl-C, and other signals that ask a program to end: they wait where half of something would be left."""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def deferred() -> Iterator[None]:
    """Have signals that ask this process to end wait until the block has ended; then they do what they would have done.

    Python handles signals in its main thread only, and elsewhere this does nothing: no ``KeyboardInterrupt`` comes up
    there. Signals that the program ignores, or handles outside of Python, stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: set[int] = set()

    def again(number: int) -> None:
        if number in came:
            signal.raise_signal(number)

    with ExitStack() as stack:  # all of it is done, even if a signal that comes right then raises something
        known = {number: handler for number in ENDING if (handler := signal.getsignal(number)) is not None}
        waiting = {number: handler for number, handler in known.items() if handler is not signal.SIG_IGN}
        for number in waiting:
            stack.callback(again, number)
        for number, handler in waiting.items():
            stack.callback(signal.signal, number, handler)
            signal.signal(number, lambda number, _frame: came.add(number))
        yield


def let_in() -> None:
    """Have signals that ask this process to end reach it, though who has started it had blocked them."""
    if threading.current_thread() is threading.main_thread():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
