"""Two threads for what lets go of the interpreter: reading files, and numpy's work on large arrays."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from blobdir.background import start

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def together(things: Sequence[Callable[[], T]], *, helped: bool = True) -> list[T]:
    """What some calls give, in their order; `helped`, a second thread takes every call that the first hasn't begun.

    Where one fails those that haven't begun are left out, and its error is raised.
    """
    left, done, failed = list(enumerate(things))[::-1], dict[int, T](), list[BaseException]()

    def work() -> None:
        try:
            while True:
                try:
                    number, thing = left.pop()
                except IndexError:
                    return
                done[number] = thing()
        except BaseException as error:
            left.clear()
            failed.append(error)

    helper: threading.Thread | None = None
    if helped and len(things) > 1:
        with suppress(OSError):  # then by this one alone
            helper = start(work, name="blobdir helper")
    try:
        work()
    finally:
        left.clear()
        if helper is not None:
            helper.join()
    try:
        if failed:
            raise next((error for error in failed if not isinstance(error, Exception)), failed[0])
    finally:
        failed.clear()  # an error has these frames, which have this list: a circle with all that was read
    return [done[number] for number in range(len(things))]
