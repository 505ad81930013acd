"""Processes that do a part of the work: plain interpreters of this Python, fed with pickles through pipes.

Those of `multiprocessing` import the caller's main module again: a script without a guard runs twice, and one that came
from standard input or a notebook can't. These import what they are told to call and nothing else, with the
parent's `sys.path` behind the standard library: a module of the current folder can't stand in for one of that.

They end when their parent does, however it ends: it holds the other end of their standard input.
"""

from __future__ import annotations

import errno
import os
import pickle
import queue
import select
import selectors
import signal
import struct
import subprocess
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final, Self

from blobdir.background import start
from blobdir.children import is_told, open_streams
from blobdir.errors import WorkerError
from blobdir.libraries import keep_quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_LENGTH: Final = struct.Struct("<Q")
_LOOK_UP_S: Final = 2.0
"""Seconds after which a worker whose input stays open looks whether its parent is still there: others may hold it."""
_STOP_S: Final = 5.0
_TICK_S: Final = 0.25
_START: Final = (
    "import sys; own = set(sys.path); sys.path += [p for p in sys.argv[1:] if p not in own]; del sys.argv[1:]; {code}"
)
_PIPE_BYTES: Final = 1 << 20
"""What Linux gives anybody; where there is no more of it for this user, smaller ones are made."""
_LONGEST: Final = 1 << 16
"""Bytes of a path in `sys.path` that a command line has room for; files have shorter ones."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do in a worker.

    Attributes
    ----------
    call : callable
        A function of a module that can be imported, best of one that imports quickly.
    arguments : tuple
        What can be pickled.
    what : str
        What is being done, in a message: ``packing train``.
    about : object
        Stays here: what whoever gets the result wants to know of the job.
    """

    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    what: str
    about: Any = None


class Workers:
    """Runs jobs, some at a time. A context manager that ends the processes.

    Parameters
    ----------
    count : int
        Processes; 0 runs all jobs here, as does an interpreter that can't be started again. Those that can't be
        started just now are done without.
    """

    def __init__(self, count: int) -> None:
        self.count = count if can_start() else 0
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        for worker in self._workers:
            worker.end(at_once=kind is not None)
        self._workers.clear()

    def run(self, jobs: Iterable[Job], tick: Callable[[], None] | None = None) -> Iterator[tuple[Job, Any]]:
        """Do jobs; gives each with its result, in the order in which they get done.

        Parameters
        ----------
        jobs : iterable of Job
            Taken one by one, as there are processes for them.
        tick : callable, optional
            Called now and then while nothing gets done.

        Raises
        ------
        WorkerError
            A worker has died, whatever it died of.
        Exception
            What a job raised.
        """
        left = iter(jobs)
        with selectors.DefaultSelector() as ready:
            here = self._begin(left, ready)
            yield from ((job, job.call(*job.arguments)) for job in here)
            if not ready.get_map():
                yield from ((job, job.call(*job.arguments)) for job in left)
            while ready.get_map():
                found = ready.select(_TICK_S if tick else None)
                if tick and not found:
                    tick()
                for key, _ in found:
                    worker = key.data
                    done, result = worker.result()
                    following = next(left, None)
                    if following is None:
                        ready.unregister(worker.output)
                    else:
                        worker.give(following)
                    yield done, result

    def _begin(self, left: Iterator[Job], ready: selectors.BaseSelector) -> list[Job]:
        """Give each process its first job, and say which one must be done here, since none can be started for it."""
        for number, job in zip(range(self.count), left, strict=False):  # one is started when there's a job for it
            try:
                if number == len(self._workers):
                    self._workers.append(_Worker())
            except OSError:  # there are too many processes (`ulimit -u`, pids.max), or too little memory, just now
                return [job]
            worker = self._workers[number]
            worker.give(job)
            ready.register(worker.output, selectors.EVENT_READ, worker)
        return []


def processors() -> int:
    """Processors that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def can_start() -> bool:
    """Whether `sys.executable` is a Python: of a frozen program, or one that embeds Python, it's the program itself."""
    name = os.path.basename(sys.executable or "").lower()
    return name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)


def python_command(code: str) -> list[str]:
    """What starts another Python that runs code of ours, with the `sys.path` of this one behind the standard library.

    Not ``python -m``: that looks into the current folder first, and runs what lies there by the name of a module.
    """
    paths = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
    given: list[object] = [*sys.path]
    for path in given:
        with suppress(FileNotFoundError, UnicodeEncodeError):  # the current folder, which was removed; no file's name
            if isinstance(path, str) and "\0" not in path and len(os.fsencode(path)) < _LONGEST:  # else Python skips it
                paths.append(path or os.getcwd())
    options = ["-I", "-S", "-X", f"utf8={int(bool(sys.flags.utf8_mode))}"]
    if sys.dont_write_bytecode:
        options.append("-B")
    return [sys.executable, *options, "-c", _START.format(code=code), *paths]  # one argument has 128 KB


class _Worker:
    """One process, seen from its parent."""

    def __init__(self) -> None:
        # Ctrl-C goes to all processes of a terminal. It's the parent that ends its workers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            command = python_command(f"from blobdir.processes import serve; serve({os.getpid()})")
            # Large pipes, so that giving a job, or its result, rarely waits for the other one to take it.
            self._process = subprocess.Popen(  # noqa: S603  # ourselves
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pipesize=_PIPE_BYTES
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._job: Job | None = None

    @property
    def output(self) -> IO[bytes]:
        """Where results come from."""
        return _pipe(self._process.stdout)

    def give(self, job: Job) -> None:
        """Have it begin with a job."""
        data = pickle.dumps((job.call, job.arguments), pickle.HIGHEST_PROTOCOL)
        self._job = job
        with suppress(BrokenPipeError):  # one that has died is noticed by its result
            pipe = _pipe(self._process.stdin)
            pipe.write(_LENGTH.pack(len(data)))
            pipe.write(data)
            pipe.flush()

    def result(self) -> tuple[Job, Any]:
        """Wait for what it has done."""
        job, self._job = self._job, None
        if job is None:
            raise RuntimeError("a worker without a job has no result")
        header = self.output.read(_LENGTH.size)
        size = _LENGTH.unpack(header)[0] if len(header) == _LENGTH.size else -1
        data = self.output.read(size) if size >= 0 else b""
        if size < 0 or len(data) != size:
            raise WorkerError(f"a process of blobdir's {self._how()} while it was {job.what}")
        fine, value = pickle.loads(data)
        if not fine:
            raise value
        return job, value

    def _how(self) -> str:
        self._process.kill()
        code = self._process.wait()
        if code < 0:
            by = f"was ended by signal {-code} ({signal.Signals(-code).name})"
            return f"{by}, as the system does where memory is short," if -code == signal.SIGKILL else by
        if not is_told():
            return "has ended"
        return f"ended with exit status {code}"

    def end(self, *, at_once: bool) -> None:
        """End the process: what it's at is lost."""
        if at_once or self._job is not None:
            self._process.kill()
        with suppress(BrokenPipeError):
            _pipe(self._process.stdin).close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self.output.close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the process was started without a pipe")
    return pipe


# -- in the worker -------------------------------------------------------------------------------------------


def serve(parent: int) -> None:
    """What a worker does: jobs from its standard input, results to its standard output.

    Parameters
    ----------
    parent : int
        Number of the process that started it.
    """
    open_streams()
    warnings.simplefilter("ignore")  # of libraries, about what isn't named there
    keep_quiet()
    output = os.dup(1)
    os.dup2(2, 1)  # what a library prints mustn't be taken for a result
    jobs: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    start(_listen, jobs, parent, name="blobdir listening")
    with open(output, "wb") as results:
        while True:
            data = _done(jobs.get())
            results.write(_LENGTH.pack(len(data)))
            results.write(data)
            results.flush()


def _done(data: bytes) -> bytes:
    try:
        call, arguments = pickle.loads(data)
        answer = (True, call(*arguments))
    except BaseException as error:
        answer = (False, error)
    try:
        sent = pickle.dumps(answer, pickle.HIGHEST_PROTOCOL)
        if not answer[0]:
            pickle.loads(sent)  # some errors can't be made again of their message
        return sent
    except Exception:
        return pickle.dumps((False, WorkerError(f"{type(answer[1]).__name__}: {answer[1]}")))


def _listen(jobs: queue.SimpleQueue[bytes], parent: int) -> None:
    """Take in jobs, and end the process when there can't be any more."""
    try:
        while True:
            size = _LENGTH.unpack(_read(_LENGTH.size, parent))[0]
            jobs.put(_read(size, parent))
    except (EOFError, OSError):
        os._exit(0)


def _read(size: int, parent: int) -> bytes:
    parts = []
    while size:
        while not select.select([0], [], [], _LOOK_UP_S)[0]:
            if os.getppid() != parent:
                raise EOFError(errno.EPIPE, "the parent has gone")
        part = os.read(0, min(size, 1 << 20))
        if not part:
            raise EOFError(errno.EPIPE, "the parent has gone")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
