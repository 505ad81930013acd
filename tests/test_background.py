import os
import subprocess
import sys
import threading
import time

import pytest

from blobdir import background
from blobdir.background import Background


def test_results_and_errors():
    pool = Background(3, "test")
    assert [pool.submit(pow, 2, n).result(5) for n in range(20)] == [2**n for n in range(20)]
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result(5)
    cancelled = pool.submit(time.sleep, 0)
    cancelled.cancel()


def mine():
    return sum(thread.name == "test-bounded" for thread in threading.enumerate())


def test_bounded_and_gone_when_idle(monkeypatch):
    monkeypatch.setattr(background, "IDLE_S", 0.1)
    pool = Background(3, "test-bounded")
    futures = [pool.submit(time.sleep, 0.02) for _ in range(30)]
    assert 1 <= mine() <= 3
    for future in futures:
        future.result(5)
    deadline = time.monotonic() + 5
    while mine() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert mine() == 0
    assert pool.submit(pow, 2, 3).result(5) == 8


def test_works_on_after_a_fork():
    pool = Background(2, "test")
    pool.submit(pow, 2, 3).result(5)
    pid = os.fork()
    if not pid:
        os._exit(0 if pool.submit(pow, 2, 3).result(5) == 8 else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_nobody_waits_for_it_at_the_end():
    code = "from blobdir.background import Background; import time; Background(1, 'x').submit(time.sleep, 60)"
    subprocess.run([sys.executable, "-c", code], timeout=20, check=True)
