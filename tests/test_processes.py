"""Worker processes: what they import, how they end, and what is said when one dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blobdir.errors import DataError, TruncatedOffsetsError, WorkerError
from blobdir.processes import Job, Workers

SOURCE = str(Path(__file__).parents[1] / "src")
# Functions that exist in any Python: a worker imports nothing of the tests.
SLEEP, PID, EXIT = time.sleep, os.getpid, os._exit


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pids, seconds=10):
    end = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.01)
    return not any(map(alive, pids))


def pids_of(workers):
    return [worker._process.pid for worker in workers._workers]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_results_come_with_their_jobs(count):
    with Workers(count) as workers:
        done = list(workers.run(Job(pow, (i, 2), "squaring", i) for i in range(20)))
        assert {job.about: result for job, result in done} == {i: i * i for i in range(20)}
        assert [result for _, result in workers.run([Job(len, ("again",), "counting")])] == [5]
        pids = pids_of(workers)
    assert len(pids) == count
    assert gone(pids)


def test_jobs_are_done_beside_one_another_in_processes():
    with Workers(2) as workers:
        pids = {result for _, result in workers.run(Job(PID, (), "counting") for _ in range(40))}
    assert len(pids) == 2
    assert os.getpid() not in pids


def test_large_jobs_and_results_pass():
    data = bytes(5 << 20)
    with Workers(2) as workers:
        assert [len(result) for _, result in workers.run(Job(bytes.join, (b"", [data] * 2), "") for _ in range(4))] == [
            10 << 20
        ] * 4


@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize(
    ("call", "arguments", "error"),
    [(int, ("x",), ValueError), (os.listdir, ("/none/at/all",), FileNotFoundError), (DataError, (), TypeError)],
)
def test_errors_are_those_of_the_job(count, call, arguments, error):
    with pytest.raises(error) as caught, Workers(count) as workers:
        list(workers.run([Job(call, arguments, "failing")]))
    if error is FileNotFoundError:
        assert caught.value.filename == "/none/at/all"


def test_an_error_that_cannot_be_sent_is_told():
    error = TruncatedOffsetsError("a.pkl: cut off", path="a.pkl", position=7, entries_before=3)
    import pickle

    from blobdir.processes import _done  # what the worker sends

    fine, sent = pickle.loads(_done(pickle.dumps((exec, ("raise KeyboardInterrupt('now')",)))))
    assert not fine and isinstance(sent, KeyboardInterrupt)
    code = "class Odd(Exception):\n    def __init__(self, a, b): super().__init__('odd')\nraise Odd(1, 2)"
    fine, sent = pickle.loads(_done(pickle.dumps((exec, (code, {})))))
    assert not fine and isinstance(sent, WorkerError) and "odd" in str(sent)
    assert pickle.loads(pickle.dumps(error)).position == 7


@pytest.mark.parametrize(
    ("call", "arguments", "how"),
    [(EXIT, (3,), "exit status 3"), (signal.raise_signal, (signal.SIGKILL,), r"signal 9 \(SIGKILL\)")],
)
def test_a_worker_that_dies_is_an_error_that_says_what_it_did(call, arguments, how):
    jobs = [Job(SLEEP, (60,), "sleeping"), Job(call, arguments, "packing train")]
    with Workers(2) as workers, pytest.raises(WorkerError, match=rf"{how}.* while it was packing train"):
        list(workers.run(jobs))


@pytest.mark.timeout(30)
def test_an_error_here_ends_them():
    began = time.monotonic()
    pids = []

    def fail():
        with Workers(2) as workers:
            for _ in workers.run([Job(SLEEP, (60,), "sleeping"), Job(SLEEP, (0,), "sleeping")]):
                pids.extend(pids_of(workers))
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert len(pids) == 2
    assert gone(pids)
    assert time.monotonic() - began < 20


def test_what_is_called_now_and_then():
    calls = []
    with Workers(1) as workers:
        list(workers.run([Job(SLEEP, (0.8,), "sleeping")], lambda: calls.append(1)))
    assert calls


PROGRAM = """
import os, sys, time
from blobdir.processes import Job, Workers
with Workers(2) as workers:
    for job, pid in workers.run([Job(os.getpid, (), "") for _ in range(2)]):
        print(pid, flush=True)
    list(workers.run(Job(time.sleep, (60,), "sleeping") for _ in range(2)))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.timeout(60)
def test_they_end_with_their_parent(number):
    """Ctrl-C goes to the whole group: the workers say nothing of it."""
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"PYTHONPATH": SOURCE},
    )  # fmt: skip
    with program:
        pids = [int(program.stdout.readline()) for _ in range(2)]
        assert all(map(alive, pids))
        if number == signal.SIGINT:
            os.killpg(program.pid, number)
        else:
            os.kill(program.pid, number)
        said = program.communicate(timeout=20)[1]
    assert gone(set(pids))
    assert said.count(b"KeyboardInterrupt") == (number == signal.SIGINT)


def test_what_workers_import_is_small():
    """They start in a moment: nothing of numpy, nor of what needs it."""
    code = "import blobdir.processes, blobdir.tarwriting.members, blobdir.tarwriting.copies; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({SOURCE!r}); {code}"],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    names = {name.partition(".")[0] for name in done.stdout.split()}
    assert names - {"blobdir"} <= sys.stdlib_module_names | {"__main__"}
    assert {n for n in done.stdout.split() if n.startswith("blobdir")} <= {
        "blobdir", "blobdir.version", "blobdir.errors", "blobdir.processes", "blobdir.libraries", "blobdir.locks",
        "blobdir.children", "blobdir.background", "blobdir.perprocess",
        "blobdir.tarwriting",
        "blobdir.tarwriting.members", "blobdir.tarwriting.copies", "blobdir.tarwriting.format",
        "blobdir.tarwriting.output", "blobdir.tarwriting.reading",
        "blobdir.tarwriting.lmdbs", "blobdir.wording",
    }  # fmt: skip


@pytest.mark.parametrize("executable", ["", None, "/usr/sbin/uwsgi", "/opt/viewer/viewer"])
def test_what_is_no_python_does_all_by_itself(monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)
    with Workers(2) as workers:
        assert [found for _, found in workers.run([Job(os.getpid, (), "asking")] * 3)] == [os.getpid()] * 3


@pytest.mark.parametrize(
    "entries",
    [
        [Path("/tmp"), b"/tmp", None],
        ["\0", "x" * 200_000, "\ud800"],
        [f"/opt/bazel/{number:06d}/{'x' * 130}" for number in range(1000)],
    ],
    ids=["not texts", "no paths", "long"],
)
def test_what_is_in_the_path_besides_folders(monkeypatch, tmp_path, entries):
    """Python itself takes no offence; what comes after it is found."""
    (tmp_path / "some_module.py").write_text("def answer():\n    return 42\n")
    monkeypatch.setattr(sys, "path", [*entries, *sys.path, str(tmp_path)])
    from some_module import answer

    with Workers(1) as workers:
        assert [result for _, result in workers.run([Job(answer, (), "asking")])] == [42]


@pytest.mark.parametrize("started", [0, 1, 2])
def test_processes_that_cannot_be_started_just_now_are_done_without(monkeypatch, started):
    """As where there are as many as `ulimit -u` allows; all jobs are done, by those that there are, or here."""
    popen, left = subprocess.Popen, [started]

    def scarce(*args, **options):
        if not left[0]:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        left[0] -= 1
        return popen(*args, **options)

    monkeypatch.setattr("blobdir.processes.subprocess.Popen", scarce)
    with Workers(3) as workers:
        done = list(workers.run(Job(pow, (i, 2), "squaring", i) for i in range(20)))
        assert len(pids_of(workers)) == started
    assert {job.about: result for job, result in done} == {i: i * i for i in range(20)}
