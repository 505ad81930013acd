"""Processes that this one has started, and how they have ended: where SIGCHLD is ignored, nobody is told.

Who starts a program may have ignored it (daemons do, Perl's ``$SIG{CHLD} = "IGNORE"``), and that is inherited: the
kernel then forgets children as they end, waiting for one is ECHILD, and `subprocess` takes each for a success. It may
also have closed standard input, output or error, which is inherited as well.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress


def heed() -> None:
    """Have this process be told of its children's ends: for programs of our own, whose children are all ours."""
    if not is_told() and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def open_streams() -> None:
    """Have what goes to an output that the caller has closed (``>&-``) go nowhere.

    Otherwise a file of a project would be opened with its number, and get what is written to it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # as long as the program
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def is_told() -> bool:
    """Whether exit statuses of children mean something; if not, all that are seen are 0."""
    return signal.getsignal(signal.SIGCHLD) is not signal.SIG_IGN


def wait(pid: int) -> int | None:
    """Wait for the end of a child: its exit status, or the negative number of a signal; None where nobody is told."""
    with suppress(ChildProcessError):
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return None
