"""Requests that nobody waits for any more: whatever becomes of them, asyncio has nothing to complain of."""

from __future__ import annotations

import asyncio
import functools
import gc
import http.server
import threading

import fsspec
import pytest
from changes.samples import packed, picture
from fsspec.implementations.memory import MemoryFileSystem

from blobdir.errors import ReadError
from blobdir.moving import fetch
from blobdir.sources.backend import Backend
from blobdir.sources.retries import WrongAnswerError

WAIT_S = 10


@pytest.fixture
def complaints():
    """What the event loop's handler of exceptions is told."""
    loop, told = fsspec.asyn.get_loop(), []
    loop.set_exception_handler(lambda _, context: told.append(context))
    yield told
    loop.set_exception_handler(None)


def backend():
    return Backend(fs=fsspec.filesystem("http"), timeout_s=WAIT_S)


def settle():
    """Let the loop do what it has to, and what is left of tasks go."""

    async def nothing():
        await asyncio.sleep(0.05)

    asyncio.run_coroutine_threadsafe(nothing(), fsspec.asyn.get_loop()).result(WAIT_S)
    gc.collect()


@pytest.mark.parametrize("count", [1, 3])
def test_one_that_fails_while_it_is_cancelled(complaints, count):
    """It has failed, and nobody has heard of it yet, when who has asked goes away."""
    begun, go = threading.Event(), threading.Event()
    asked = backend()

    async def first():
        return b"it"

    async def fails():
        asyncio.get_running_loop().call_soon(go.wait, WAIT_S)
        begun.set()
        raise ReadError("another")

    requests = [first(), *(asked._in_turn("it", fails) for _ in range(count))]
    answers = asked.run_many((("it", request) for request in requests), count + 1)
    assert next(answers) == b"it"
    assert begun.wait(WAIT_S)
    answers.close()
    go.set()
    settle()
    assert complaints == []


@pytest.mark.parametrize("way", ["fails", "is cancelled", "goes on"])
def test_one_that_fails_when_it_is_cancelled(complaints, way):
    tries = []
    begun = threading.Event()

    async def request():
        tries.append(1)
        begun.set()
        try:
            await asyncio.sleep(WAIT_S)
        except asyncio.CancelledError:
            if way == "fails":
                raise ConnectionError("it broke") from None
            if way == "is cancelled":
                raise
        return b""

    asked = backend()
    future = asked.submit(asked._in_turn("it", request))
    assert begun.wait(WAIT_S)
    future.cancel()
    settle()
    assert complaints == []
    assert tries == [1]


def test_one_that_is_cancelled_before_it_begins(complaints, recwarn):
    asked = backend()
    loop, go = fsspec.asyn.get_loop(), threading.Event()
    loop.call_soon_threadsafe(go.wait, WAIT_S)
    future = asked.submit(asked._in_turn("it", lambda: None))
    future.cancel()
    go.set()
    settle()
    assert complaints == []
    assert not [one for one in recwarn if "never awaited" in str(one.message)]


def test_a_backend_that_blocks(complaints, monkeypatch):
    begun, go = threading.Event(), threading.Event()

    def block():
        begun.set()
        go.wait(WAIT_S)
        raise ReadError("late")

    asked = Backend(fs=MemoryFileSystem(), timeout_s=WAIT_S)
    future = asked.submit(asked._in_turn("it", block))
    assert begun.wait(WAIT_S)
    future.cancel()
    go.set()
    settle()
    assert complaints == []


class NoRanges(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass


def test_a_server_without_ranges(complaints, tmp_path):
    root = packed(tmp_path / "p", {f"{name}/{i}.png": picture(i) for name in ("train", "test") for i in range(8)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(NoRanges, directory=str(root)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for i in range(3):
            fetch(f"http://127.0.0.1:{server.server_port}", tmp_path / f"f{i}")
        settle()
    finally:
        server.shutdown()
        server.server_close()
    assert complaints == []


def test_a_last_try_that_is_cut_short_hides_nothing():
    """What the server has said is said, and not that there was no time left to ask it once more."""
    asked, tries = Backend(fs=fsspec.filesystem("http"), timeout_s=1), []

    async def fails():
        tries.append(None)
        if len(tries) > 2:
            await asyncio.sleep(WAIT_S)
        raise WrongAnswerError("3 bytes too few")

    with pytest.raises(ReadError, match=r"^it: WrongAnswerError: 3 bytes too few \(3 tries in 1 s\)$"):
        asked.run(asked._in_turn("it", fails), "it")
