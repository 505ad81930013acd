"""Threads for what nobody may have to wait for: daemons, started when there is work, gone when there is none.

A pool of `concurrent.futures` is waited for when the interpreter ends, and does all that is queued before. What is
fetched ahead, or hangs in somebody's library, must not keep a program from ending.
"""

from __future__ import annotations

import errno
import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from blobdir.perprocess import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Job = tuple["Future[Any]", "Callable[..., Any]", tuple[Any, ...]]

IDLE_S = 2.0
NO_THREAD = (
    "no thread can be started: there are too many (`ulimit -u`, or pids.max of the container), or too little memory"
)


def start(function: Callable[..., object], *args: Any, name: str) -> threading.Thread:
    """Start a thread that nobody waits for when the interpreter ends.

    Raises
    ------
    OSError
        ``EAGAIN``: none can be started, perhaps only just now.
    """
    thread = threading.Thread(target=function, args=args, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, NO_THREAD) from error
    return thread


def within(seconds: float, function: Callable[..., T], *args: Any, name: str) -> T:
    """What a function gives, or its error, that may hang in somebody's library: then it goes on, and nobody waits.

    Raises
    ------
    TimeoutError
        It hasn't ended.
    """
    future: Future[T] = Future()
    try:
        start(_do, future, function, args, name=name)
    except OSError:  # there is no thread
        return function(*args)
    return future.result(seconds)


def _do(future: Future[Any], function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        future.set_result(function(*args))
    except BaseException as error:  # it is for whoever waits for the result
        future.set_exception(error)


class _State:
    """What belongs to one process: threads don't survive a fork."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.jobs: queue.Queue[Job] = queue.Queue()
        self.threads = 0
        self.unfinished = 0


class Background:
    """A few threads.

    Parameters
    ----------
    most : int
        Threads.
    name : str
        Of the threads.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most = most
        self._name = name
        self._state = PerProcess(_State)

    def __reduce__(self) -> tuple[type[Background], tuple[int, str]]:
        return Background, (self._most, self._name)

    def submit(self, function: Callable[..., T], *args: Any) -> Future[T]:
        """Have something done, when there is a thread for it.

        Raises
        ------
        OSError
            There is none, and none can be started; nothing will be done.
        """
        state = self._state.get()
        future: Future[T] = Future()
        with state.guard:
            if state.threads < min(self._most, state.unfinished + 1):  # none behind one that may never end
                try:
                    start(_work, state, name=self._name)
                    state.threads += 1
                except OSError:
                    if not state.threads:
                        raise
            state.unfinished += 1
            state.jobs.put((future, function, args))
        return future


def _work(state: _State) -> None:
    while True:
        try:
            future, function, args = state.jobs.get(timeout=IDLE_S)
        except queue.Empty:
            with state.guard:
                if state.jobs.empty():
                    state.threads -= 1
                    return
            continue
        try:
            if future.set_running_or_notify_cancel():
                _do(future, function, args)
        finally:
            with state.guard:
                state.unfinished -= 1
        del future, function, args  # they may hold what would otherwise be gone
