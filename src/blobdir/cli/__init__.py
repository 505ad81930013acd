"""The command line: ``blobdir ls | tree | info | cat | cp | offsets | index``."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit with its status; errors become one line, as docs/cli.md lists them."""
    from blobdir.cli.app import run

    try:
        status = run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads us has seen enough; nothing more can be said to them
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141  # as a program that SIGPIPE ended
    sys.exit(status)
