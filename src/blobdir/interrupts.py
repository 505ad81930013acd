"""Ctrl-C, and other signals that ask a program to end: they wait where half of something would be left.

What is done by then is remembered, so that who is interrupted later, or meets an error, is told of it.
"""

from __future__ import annotations

import signal
import threading
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


_done: ContextVar[list[str] | None] = ContextVar("done", default=None)


@contextmanager
def remembering() -> Iterator[list[str]]:
    """A list of what is done in the block that can't be told from nothing by an error or Ctrl-C after it."""
    done: list[str] = []
    token = _done.set(done)
    try:
        yield done
    finally:
        _done.reset(token)


def remember(text: str) -> None:
    """Say that something was done, to who is told of an interruption."""
    done = _done.get()
    if done is not None:
        done.append(text)


def note(error: BaseException, text: str) -> None:
    """Have an error say that something was done, once."""
    if text not in getattr(error, "__notes__", ()):
        error.add_note(text)


@contextmanager
def telling(lines: Callable[[], Iterable[str]]) -> Iterator[None]:
    """Have who is interrupted in the block or after it, or meets an error there, be told what `lines` gives then."""
    try:
        yield
    except BaseException as error:
        for text in lines():
            note(error, text)
        raise
    finally:
        for text in lines():
            remember(text)


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
