"""The command line: ``blobdir ls | tree | info | cat | cp | offsets | index``."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

READER_GONE: Final = 141
"""Exit status of a program that SIGPIPE ended."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit with its status; errors become one line, as docs/cli.md lists them."""
    from blobdir.children import heed, open_streams

    open_streams()
    from blobdir.cli.app import run

    heed()
    try:
        status = run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads us has seen enough; nothing more can be said to them
        status = READER_GONE
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # or Python would try again at its end, and complain
            with suppress(OSError, io.UnsupportedOperation):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(status)
