"""Tasks of fsspec's event loop: started from a thread, ended with who wants them, their errors looked at."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from blobdir.sources.retries import odd

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


def start_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Awaitable[T],
    future: concurrent.futures.Future[T],
    inner: Awaitable[T] | None,
) -> None:
    """Have a coroutine's outcome go into a future of threads, and end it when that is cancelled.

    As `asyncio.run_coroutine_threadsafe`, which doesn't look at the error of one that failed just before it was
    cancelled: asyncio complains of such an error on standard error.
    """
    task = asyncio.ensure_future(coroutine, loop=loop)

    def done(task: asyncio.Future[T]) -> None:
        if task.cancelled():
            future.cancel()
        error = None if task.cancelled() else task.exception()
        close(inner)
        if not future.set_running_or_notify_cancel():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())

    def cancelled(future: concurrent.futures.Future[T]) -> None:
        if future.cancelled():
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(task.cancel)

    task.add_done_callback(done)
    future.add_done_callback(cancelled)


def close(coroutine: Awaitable[Any] | None) -> None:
    """End a coroutine that may not have begun; nothing is left to do of one that has ended."""
    if coroutine is not None:
        coroutine.close()  # type: ignore[attr-defined]  # all are coroutines


async def awaited(call: Callable[[], Awaitable[T]]) -> T:
    """What a backend's call gives, or its error: one that would end this task, or its loop, is an `OddError`."""
    try:
        return await call()
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise odd(error) from error
    except (Exception, GeneratorExit):
        raise
    except BaseException as error:
        raise odd(error) from error


def is_cancelled() -> bool:
    """Whether nobody wants what this task does, even if what it has waited for has failed in another way."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def look_at(future: asyncio.Future[Any]) -> None:
    """Take note of the error of what nobody waits for any more."""
    if not future.cancelled():
        future.exception()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that this very thread is in."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
