import os
import signal
import threading

import pytest

import blobdir
from blobdir.lazily import cached_property
from blobdir.locks import ForkSafeLock
from blobdir.sources import local


def test_free_in_a_forked_process():
    lock = ForkSafeLock()
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(5)
    pid = os.fork()
    if not pid:
        with lock:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    done.set()
    thread.join()


def test_excludes():
    lock, count = ForkSafeLock(), [0]

    def work():
        for _ in range(20_000):
            with lock:
                before = count[0]
                count[0] = before + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count == [80_000]


def test_what_is_computed_once_is_free_in_a_forked_process():
    """Whatever another thread was computing at that moment, for another object."""
    held, done = threading.Event(), threading.Event()

    class Counts:
        def __init__(self, slow):
            self.slow, self.calls = slow, 0

        @cached_property
        def number(self):
            """A number."""
            self.calls += 1
            if self.slow:
                held.set()
                done.wait(20)
            return 7

    slow, quick = Counts(slow=True), Counts(slow=False)
    thread = threading.Thread(target=lambda: slow.number)
    thread.start()
    assert held.wait(5)
    assert [quick.number, quick.number, quick.calls] == [7, 7, 1]
    pid = os.fork()
    if not pid:
        os._exit(0 if Counts(slow=False).number == 7 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    done.set()
    thread.join()
    assert slow.number == 7
    assert Counts.number.__doc__ == "A number."


@pytest.mark.timeout(60)
def test_a_project_opened_in_a_forked_process(digits, monkeypatch):
    """While a thread of the parent opens one, on a disk that doesn't answer."""
    real, held, done = local.disks_of, threading.Event(), threading.Event()

    def disks_of(root, seen):
        if threading.current_thread() is thread:
            held.set()
            done.wait(20)
        return real(root, seen)

    monkeypatch.setattr(local, "disks_of", disks_of)
    thread = threading.Thread(target=lambda: blobdir.open_project(digits))
    thread.start()
    assert held.wait(5)
    pid = os.fork()
    if not pid:
        signal.alarm(10)
        os._exit(0 if len(blobdir.open_project(digits)) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    done.set()
    thread.join()
