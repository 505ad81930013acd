import gc
import hashlib
import os
import re
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

import blobdir
from blobdir import background
from blobdir.background import NO_THREAD, Background
from blobdir.blocks import BlockCache, DiskTier
from blobdir.blocks.cache import _Job
from blobdir.cli.errors import report
from blobdir.index.together import together
from blobdir.tarwriting.output import FLUSH_BYTES, Digest


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


@pytest.fixture
def no_threads(monkeypatch):
    """There are none to be had, until it's called."""

    def fail(self):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patches:
        patches.setattr(threading.Thread, "start", fail)
        yield patches.undo


def test_work_when_no_thread_can_be_started(no_threads):
    pool = Background(1, "test")
    with pytest.raises(OSError, match=f"^{re.escape(f'[Errno 11] {NO_THREAD}')}$"):
        pool.submit(pow, 2, 3)
    no_threads()
    assert pool.submit(pow, 2, 3).result(5) == 8


def test_work_when_there_is_a_thread_and_no_other_can_be_started(monkeypatch):
    pool, go = Background(3, "test"), threading.Event()
    first = pool.submit(go.wait, 5)
    monkeypatch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("can't start")))
    others = [pool.submit(pow, 2, n) for n in range(5)]
    go.set()
    assert first.result(5)
    assert [other.result(5) for other in others] == [1, 2, 4, 8, 16]


def test_blocks_are_written_when_no_thread_can_be_started(tmp_path, no_threads):
    """More than may wait to be written: who reads would wait for ever."""
    cache = BlockCache(0, DiskTier(tmp_path / "cache", 1 << 30))
    for number in range(200):
        cache.write(_Job("k" * 32, number, b"x" * 100, "x", -1))
    cache.flush()
    assert sum(path.is_file() and path.stat().st_size >= 100 for path in tmp_path.rglob("*")) >= 200
    no_threads()
    cache.write(_Job("k" * 32, 200, b"x" * 100, "x", -1))
    cache.flush()


@pytest.mark.parametrize("fails", [0, 1, 3])
def test_checksums_when_no_thread_can_be_started(monkeypatch, fails):
    data, real, left = b"x" * FLUSH_BYTES, threading.Thread.start, [fails]

    def start(self):
        if left[0]:
            left[0] -= 1
            raise RuntimeError("can't start new thread")
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    digest = Digest()
    for _ in range(3):
        digest.add(data)
    assert digest.end() == hashlib.sha256(3 * data).hexdigest()
    assert digest.end() == hashlib.sha256(3 * data).hexdigest()


def test_what_is_read_together_goes_when_it_fails(no_threads):
    """An error and its frames aren't a circle, which would hold an index until the next collection."""

    class Large:
        pass

    def read():
        large = Large()
        seen.append(weakref.ref(large))
        raise ValueError("it")

    seen = []
    gc.disable()
    try:
        with pytest.raises(ValueError, match="it"):
            together([read])
        assert seen[0]() is None
    finally:
        gc.enable()


def test_what_a_command_says(capsys):
    report(RuntimeError("can't start new thread"))
    assert NO_THREAD in capsys.readouterr().err


def test_threads_are_started_in_one_place():
    root = Path(blobdir.__file__).parent
    found = {path.name for path in root.rglob("*.py") if re.search(r"\bThread\(", path.read_text())}
    assert found == {"background.py"}
