"""Threads for what nobody may have to wait for: daemons, started when there is work, gone when there is none.

A pool of `concurrent.futures` is waited for when the interpreter ends, and does all that is queued before. What is
fetched ahead, or hangs in somebody's library, must not keep a program from ending.
"""

from __future__ import annotations

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
        """Have something done, when there is a thread for it."""
        state = self._state.get()
        future: Future[T] = Future()
        state.jobs.put((future, function, args))
        with state.guard:
            state.unfinished += 1
            if state.threads < min(self._most, state.unfinished):  # none behind one that may never end
                state.threads += 1
                threading.Thread(target=_work, args=(state,), name=self._name, daemon=True).start()
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
                try:
                    future.set_result(function(*args))
                except BaseException as error:  # it is for whoever waits for the result
                    future.set_exception(error)
        finally:
            with state.guard:
                state.unfinished -= 1
        del future, function, args  # they may hold what would otherwise be gone
