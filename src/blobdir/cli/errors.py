"""What becomes of errors and warnings: one line, and an exit status."""

from __future__ import annotations

import errno
import io
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from blobdir.background import NO_THREAD
from blobdir.cli.output import MOST_OF_A_PATH, complain, say
from blobdir.durable import in_words
from blobdir.errors import BlobdirError, BlobdirWarning

if TYPE_CHECKING:
    import click

UNEXPECTED = 1


def show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Write a warning as one line."""
    if issubclass(category, BlobdirWarning):
        complain("warning", f"{message}")
    else:
        say(f"{message}")


def show_usage(error: click.ClickException) -> None:
    """Say what is wrong with a command line."""
    text = io.StringIO()
    error.show(text)
    for line in text.getvalue().splitlines():
        say(line, most=MOST_OF_A_PATH)


def show_trace(trace: str) -> None:
    """Show where in the program an error comes from."""
    from blobdir.sources.secrecy import without_secrets

    for line in without_secrets(trace).splitlines():
        say(line, most=MOST_OF_A_PATH)


def let_go(error: BaseException) -> None:
    """Give back what the functions hold that an error came through: where memory is short, so is it for words."""
    trace = error.__traceback__
    while trace is not None:
        with suppress(RuntimeError):  # those that are running still
            trace.tb_frame.clear()
        trace = trace.tb_next


def report(error: Exception) -> int:
    """Say in one line what went wrong, and give the exit status for it.

    Raises
    ------
    BrokenPipeError
        Nobody listens.
    """
    if isinstance(error, BrokenPipeError):
        raise error
    if isinstance(error, MemoryError):
        let_go(error)
    if isinstance(error, BlobdirError):
        text, status = str(error), error.exit_code
    elif isinstance(error, OSError):
        text = f"{error.filename}: {in_words(error)}" if error.filename else in_words(error)
        if isinstance(error, FileNotFoundError) and error.errno is None:  # a backend has only said which
            text += ": isn't there"
        status = 4 if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST) else 7
    elif isinstance(error, UnicodeError) and sys.getfilesystemencoding() != "utf-8":
        text, status = f"names of files are {sys.getfilesystemencoding()} here, and {error}; set PYTHONUTF8=1", 2
    elif isinstance(error, MemoryError):
        text, status = "there isn't enough memory for this (--debug shows where)", UNEXPECTED
    elif isinstance(error, RuntimeError) and "start new thread" in str(error):
        text, status = f"{NO_THREAD} (--debug shows where)", UNEXPECTED
    else:
        text, status = f"{type(error).__name__}: {error} (--debug shows where)", UNEXPECTED
    from blobdir.sources.secrecy import without_secrets

    sys.stdout.flush()
    complain(without_secrets(text), most=MOST_OF_A_PATH)
    return status
