"""What libraries write to standard error by themselves, without the name of a file: programs of ours show none of it.

Pillow has libtiff write what is wrong with a TIFF there, and logs some of it itself, or warns as Python does.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, ClassVar, Final

from blobdir.locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINES: Final = 3
_MOST_BYTES: Final = 1 << 14


class _Quiet:
    wanted: ClassVar = False
    done: ClassVar = False
    lock: ClassVar = ForkSafeLock()
    """Of who has standard error."""


def keep_quiet() -> None:
    """Have libraries that read images write nothing, in the whole process.

    Programs whose only user this is may call it: the command line, and processes that work for others.
    """
    _Quiet.wanted = True


def hush() -> None:
    """Do so for what is logged or warned of, when the library that logs is there."""
    if _Quiet.wanted and not _Quiet.done:
        import logging  # noqa: PLC0415  # whoever wants nothing of Pillow doesn't need it
        import warnings  # noqa: PLC0415

        _Quiet.done = True
        warnings.filterwarnings("ignore", module=r"PIL\b")
        log = logging.getLogger("PIL")
        log.addHandler(logging.NullHandler())
        log.propagate = False


@contextmanager
def overheard() -> Iterator[list[str]]:
    """Lines that are written to standard error meanwhile, whoever writes them; none unless `keep_quiet` was called.

    They are in the list when the block is left, the first of them.
    """
    heard: list[str] = []
    hush()
    if not _Quiet.wanted:
        yield heard
        return
    with _Quiet.lock, ExitStack() as closing:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        before, (reading, writing) = os.dup(2), os.pipe()
        for number in (before, reading, writing):
            closing.callback(os.close, number)
        os.set_blocking(writing, False)  # what there is no room for is lost
        os.dup2(writing, 2)
        try:
            yield heard
        finally:
            os.dup2(before, 2)
            os.set_blocking(reading, False)
            with suppress(OSError):
                lines = os.read(reading, _MOST_BYTES).decode("utf-8", "replace").splitlines()
                heard += [*dict.fromkeys(line.removeprefix("tempfile.tif: ").rstrip(".") for line in lines)][:_LINES]
