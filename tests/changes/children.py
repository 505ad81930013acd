"""Operations in a child process that is killed, stopped or refused something at one of its steps.

Two ways. By Python's audit events: fast, for steps that change names of files. By strace: every system call.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path

from blobdir.errors import BlobdirError

CALLS = (
    "openat", "write", "writev", "pwrite64", "pwritev", "fsync", "fdatasync", "sync", "syncfs", "rename", "renameat",
    "renameat2", "link", "linkat", "symlink", "symlinkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir",
    "ftruncate", "fallocate", "sendfile", "copy_file_range", "fchmod",
)  # fmt: skip
REFUSED, ACCIDENT = 3, 4
PR_SET_PTRACER, ANY = 0x59616D61, ctypes.c_ulong(-1)
_CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def changes(event, arguments):
    """Whether an audit event is one of a change, so that a child may be killed before it."""
    return event in _CHANGES or (event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & _WRITING))


class Child:
    """An operation in a forked process. Its exit status: 0, REFUSED by an error, ACCIDENT, or negative for a signal.

    A context manager at whose end the process isn't there any more.
    """

    def __init__(self, operation, before=lambda: None):
        self.pid = os.fork()
        self._status = None
        if not self.pid:
            _run(operation, before)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def stopped(self):
        """Wait until it has stopped, or ended; whether it has stopped."""
        status = os.waitpid(self.pid, os.WUNTRACED)[1]
        if not os.WIFSTOPPED(status):
            self._status = status
        return self._status is None

    def go_on(self):
        os.kill(self.pid, signal.SIGCONT)

    def ended(self):
        """Wait for its end; gives the exit status."""
        if self._status is None:
            self._status = os.waitpid(self.pid, 0)[1]
        code = os.waitstatus_to_exitcode(self._status)
        assert code != ACCIDENT, "an error of another kind than blobdir's; see above"
        return code


def _run(operation, before):
    code = ACCIDENT
    try:
        before()
        operation()
        code = 0
    except (BlobdirError, OSError) as error:
        code = REFUSED
        said = f"refused: {type(error).__name__}: {error}\n"
        if not isinstance(error, BlobdirError):  # of which it's asked where it comes from
            said += traceback.format_exc()
        with suppress(OSError):  # this write may be one that is made to fail
            os.write(2, said.encode("utf-8", "backslashreplace"))
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def watch(at, number):
    """Have this process get a signal before the first audit event for which `at(event, arguments)` is true."""
    armed = True

    def hook(event, arguments):
        nonlocal armed
        if armed:
            try:
                if at(event, arguments):
                    armed = False
                    os.kill(os.getpid(), number)
            except (TypeError, ValueError, IndexError):  # an event with other arguments
                return

    sys.addaudithook(hook)


def killed_at(operation, number):
    """Run an operation that is killed before its change of this number; whether it was, and whether it was refused."""
    left = number

    def at(event, arguments):
        nonlocal left
        left -= changes(event, arguments)
        return left < 0

    with Child(operation, lambda: watch(at, signal.SIGKILL)) as child:
        code = child.ended()
    assert code in (0, REFUSED, -signal.SIGKILL)
    return code == -signal.SIGKILL, code == REFUSED


@contextmanager
def stopped_at(operation, at):
    """Run an operation that stops at the first audit event for which `at(event, arguments)` is true.

    Gives a function that lets it go on, and gives its exit status.
    """
    with Child(operation, lambda: watch(at, signal.SIGSTOP)) as child:
        assert child.stopped(), f"it ended before it could be stopped: {child.ended()}"

        def go_on():
            child.go_on()
            return child.ended()

        yield go_on


# -- by strace -----------------------------------------------------------------------------------------------


def traced(operation, *options):
    """Run an operation in a child under strace, from its first call on; gives its exit status."""

    def ready():
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)

    with Child(operation, ready) as child:
        assert child.stopped()
        command = ["strace", "-f", "-qq", "-p", str(child.pid), *map(str, options)]
        strace = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            deadline = time.monotonic() + 20
            while f"TracerPid:\t{strace.pid}\n" not in Path(f"/proc/{child.pid}/status").read_text():
                assert strace.poll() is None, strace.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.002)
            child.go_on()
            return child.ended()
        finally:
            strace.wait(20)
            strace.stderr.close()


def changing_calls(trace):
    """(call, its number among calls of that name by that thread) of all that change something."""
    number: dict[tuple[str, str], int] = {}
    found: dict[tuple[str, int], None] = {}
    for line in trace.splitlines():
        match = re.match(r"(?:(\d+) +)?(\w+)\(", line)
        if match and match[2] in CALLS:
            thread, call = match[1] or "", match[2]
            number[thread, call] = number.get((thread, call), 0) + 1
            if call != "openat" or "O_CREAT" in line:
                found[call, number[thread, call]] = None
    return list(found)


def trace_calls(operation, trace):
    """Run an operation, and give all of its calls that change something."""
    assert traced(operation, "-o", trace, "-e", f"trace={','.join(CALLS)}") == 0
    return changing_calls(Path(trace).read_text(errors="replace"))


def killed_in(operation, call, number):
    """Run an operation that is killed in its system call of this name and number; whether it was."""
    code = traced(operation, "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={number}")
    assert code in (0, REFUSED, -signal.SIGKILL)
    return code == -signal.SIGKILL


def failed_in(operation, call, when, errno):
    """Run an operation whose system call of this name fails at this number (``3``, or ``3+``); whether it succeeded."""
    code = traced(operation, "-o", "/dev/null", "-e", f"inject={call}:error={errno}:when={when}")
    assert code in (0, REFUSED)
    return code == 0


def every_call():
    """Whether all is to be tried, however long it takes."""
    return os.environ.get("BLOBDIR_TEST_EVERY_CALL", "") not in ("", "0")


def some(points, most):
    """At most so many of them: the last ones, where names change, all; of the others every n-th."""
    if every_call() or len(points) <= most:
        return points
    tail = most * 2 // 3
    head = points[:-tail]
    return head[:: -(-len(head) // (most - tail))] + points[-tail:]
