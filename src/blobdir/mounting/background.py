"""A process in the background: forks, reports to the one who started it, and writes down what happens later."""

from __future__ import annotations

import json
import logging
import logging.handlers
import os
import select
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from blobdir import errors
from blobdir.children import wait
from blobdir.errors import BlobdirError, MountError
from blobdir.interrupts import deferred
from blobdir.mounting.state import state_folder
from blobdir.wording import one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    Ready = Callable[[dict[str, Any]], None]

_SYSLOG = "/dev/log"


class _OneLine(logging.Formatter):
    """Messages as one line each, whatever is in the names that they name."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # its name
        return one_line(super().formatMessage(record))


def start_log(target: str, *, foreground: bool) -> str:
    """Send log messages to a file, the system's log, or standard error.

    Parameters
    ----------
    target : str
        A file; empty for standard error in the foreground, and the system's log (journal) in the background.
    foreground : bool

    Returns
    -------
    str
        Where they go, for people.
    """
    handler: logging.Handler
    if target:
        handler, where = logging.FileHandler(target, encoding="utf-8", errors="backslashreplace"), target
    elif foreground:
        handler, where = logging.StreamHandler(), "standard error"
    elif os.path.exists(_SYSLOG):
        handler, where = logging.handlers.SysLogHandler(_SYSLOG), "the system's log (journalctl -t blobdir)"
    else:
        target = str(state_folder() / "messages.log")
        handler, where = logging.FileHandler(target, encoding="utf-8", errors="backslashreplace"), target
    stamp = "%(asctime)s " if target else ""
    handler.setFormatter(_OneLine(f"{stamp}blobdir[%(process)d]: %(levelname)s: %(message)s"))
    log = logging.getLogger("blobdir")
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    logging.raiseExceptions = False  # a log that can't be written, as on a full disk, is no reason to say so each time
    log.propagate = False
    return where


def run_in_background(job: Callable[[Ready], None], said: bytearray | None = None) -> dict[str, Any]:
    """Run a job in a process of its own, and wait until it says that it's ready.

    Parameters
    ----------
    job : callable
        Gets a function to call with its report when it's ready; goes on after that.
    said : bytearray, optional
        Gets the report as it comes: after Ctrl-C it may be all there, and what was made may need no process to stay.

    Returns
    -------
    dict
        The report.

    Raises
    ------
    BlobdirError
        What the job failed with before it was ready.
    """
    ours, theirs = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as where the caller has closed it
            stream.flush()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        _be_background(job, theirs)
    os.close(theirs)
    said = bytearray() if said is None else said
    try:
        hear(ours, said)
        report = report_in(said)
        if "error" not in report and report:
            return report
    except KeyboardInterrupt:
        with suppress(ProcessLookupError):  # it got Ctrl-C, too
            os.kill(pid, signal.SIGTERM)
        wait(pid)
        hear(ours, said)
        raise
    finally:
        os.close(ours)
    status = wait(pid)
    if report:
        raise error_from(report)
    raise MountError("the process that should mount has died" + ("" if status is None else f" (exit status {status})"))


def hear(pipe: int, said: bytearray) -> None:
    """Add all that comes to its end; nothing of it is lost when that's interrupted."""
    poll, more = select.poll(), True
    poll.register(pipe, select.POLLIN)
    while more:
        poll.poll()  # is interrupted; what was read and isn't kept yet would be lost
        with deferred():
            part = os.read(pipe, 1 << 16)
            said += part
            more = bool(part)


def report_in(said: bytearray) -> dict[str, Any]:
    """What a process has reported; nothing where it has died before it had said all."""
    with suppress(ValueError):
        report: dict[str, Any] = json.loads(said)
        return report
    return {}


def _be_background(job: Callable[[Ready], None], pipe: int) -> NoReturn:
    said = False

    def stop(*_: object) -> NoReturn:
        raise SystemExit(1)

    def ready(report: dict[str, Any]) -> None:
        nonlocal said
        said = True
        # Not before: while systemd's automount mounts a folder, it lets only its own process group through to it.
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):  # whoever reads our output through a pipe waits for its end
            os.dup2(null, descriptor)
        os.close(null)
        os.write(pipe, json.dumps(report).encode())
        os.close(pipe)

    status = 0
    try:
        os.chdir("/")
        signal.signal(signal.SIGTERM, stop)
        job(ready)
    except (SystemExit, KeyboardInterrupt):
        status = 1
    except BaseException as error:
        status = 1
        if said:
            logging.getLogger("blobdir").exception("the mount has ended")
        else:
            os.write(pipe, json.dumps(error_report(error)).encode())
    finally:
        logging.shutdown()
        os._exit(status)


def error_report(error: BaseException) -> dict[str, Any]:
    """An error as plain values."""
    if isinstance(error, BlobdirError):
        return {"error": type(error).__name__, "message": str(error)}
    if isinstance(error, OSError) and error.filename:
        return {"error": "MountError", "message": f"{error.filename}: {error.strerror}"}
    return {"error": "MountError", "message": f"{type(error).__name__}: {error}"}


def error_from(report: dict[str, Any]) -> BlobdirError:
    """The error again."""
    kind = getattr(errors, report["error"], MountError)
    found = kind(report["message"]) if isinstance(kind, type) and issubclass(kind, BlobdirError) else None
    return found or MountError(report["message"])
