"""What becomes of errors and warnings: one line, and an exit status."""

from __future__ import annotations

import errno
import sys
from typing import Any

import click

from blobdir.durable import in_words
from blobdir.errors import BlobdirError, BlobdirWarning

UNEXPECTED = 1


def show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Write a warning as one line."""
    click.echo(f"blobdir: warning: {message}" if issubclass(category, BlobdirWarning) else f"{message}", err=True)


def report(error: Exception) -> int:
    """Say in one line what went wrong, and give the exit status for it.

    Raises
    ------
    BrokenPipeError
        Nobody listens.
    """
    if isinstance(error, BrokenPipeError):
        raise error
    if isinstance(error, BlobdirError):
        text, status = str(error), error.exit_code
    elif isinstance(error, OSError):
        text = f"{error.filename}: {in_words(error)}" if error.filename else in_words(error)
        status = 4 if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST) else 7
    elif isinstance(error, UnicodeError) and sys.getfilesystemencoding() != "utf-8":
        text, status = f"names of files are {sys.getfilesystemencoding()} here, and {error}; set PYTHONUTF8=1", 2
    else:
        text, status = f"{type(error).__name__}: {error} (--debug shows where)", UNEXPECTED
    from blobdir.sources.secrecy import without_secrets

    sys.stdout.flush()
    click.echo(f"blobdir: {without_secrets(text).encode('utf-8', 'backslashreplace').decode()}", err=True)
    return status
