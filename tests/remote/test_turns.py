"""Many requests of which some are put off: those that pause hold up nobody, and what was started ends."""

from __future__ import annotations

import asyncio
import gc
import time

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from blobdir.errors import ReadError, UsageError
from blobdir.sources.backend import Backend
from blobdir.sources.turns import LEAST, Turns

WAIT_S = 20


class Refused(Exception):
    """An answer of a server."""

    def __init__(self, status, after_s):
        super().__init__(f"{status}")
        self.status, self.headers = status, {"Retry-After": str(after_s)}


class Asked:
    """Requests, and what became of them, in order; some are put off once."""

    def __init__(self, put_off, *, status=503, after_s=0.3, size=1):
        self.backend = Backend(fs=fsspec.filesystem("http"), timeout_s=WAIT_S)
        self.put_off, self.status, self.after_s, self.size = set(put_off), status, after_s, size
        self.order, self.now, self.most, self.begun = [], 0, 0, 0

    def request(self, number):
        async def once():
            self.begun += 1
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await asyncio.sleep(0.001)
                if number in self.put_off:
                    self.put_off.discard(number)
                    self.order.append(-number)
                    raise Refused(self.status, self.after_s)
                self.order.append(number)
                return number.to_bytes(2, "big") * self.size
            finally:
                self.now -= 1

        return f"{number}", self.backend._in_turn(f"{number}", once)

    def all(self, count, concurrency, **options):
        return self.backend.run_many(map(self.request, range(1, count + 1)), concurrency, **options)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("concurrency", [2, 16])
def test_one_that_pauses_holds_up_nobody(status, concurrency):
    asked = Asked([1], status=status)
    found = list(asked.all(50, concurrency, ahead=100))
    assert found == [number.to_bytes(2, "big") for number in range(1, 51)]
    assert asked.order[-1] == 1
    assert sorted(asked.order[1:]) == sorted([*range(1, 51)])
    assert asked.most <= concurrency


def test_large_answers_wait_for_those_in_front_of_them():
    """What is there already, and can't be taken yet, has a bound."""
    asked = Asked([1], size=4 << 20)
    found = asked.all(50, 2, ahead=100)
    assert next(found) == (1).to_bytes(2, "big") * (4 << 20)
    assert asked.begun < 20
    assert sum(1 for _ in found) == 49


def test_many_that_are_put_off():
    asked = Asked(range(1, 200, 3), after_s=0.01)
    assert list(asked.all(200, 16, ahead=1000)) == [number.to_bytes(2, "big") for number in range(1, 201)]
    assert asked.most <= 16


def test_a_server_with_a_limit_for_all():
    """Those that were put off come to their end, and don't wait for all that came after them."""
    asked, now = Asked([]), []

    def request(number):
        async def once():
            loop = asyncio.get_running_loop()
            now[:] = [then for then in now if then > loop.time() - 0.1]
            if len(now) >= 20:
                raise Refused(429, 0.05)
            now.append(loop.time())
            return number

        return f"{number}", asked.backend._in_turn(f"{number}", once)

    asked.backend.timeout_s = 3
    assert list(asked.backend.run_many(map(request, range(800)), 16, ahead=4096)) == [*range(800)]


def test_a_list_that_is_asked_for_in_the_loop(recwarn):
    """Nobody could make the requests; and nothing is left of them."""
    asked = Asked([])

    async def ask():
        list(asked.all(5, 2, ahead=10))

    with pytest.raises(UsageError, match="called in fsspec's event loop"):
        asyncio.run_coroutine_threadsafe(ask(), asked.backend._loop()).result(WAIT_S)
    gc.collect()
    assert not [one for one in recwarn if "never awaited" in str(one.message)]


def test_who_stops_taking_at_once(recwarn):
    asked = Asked([])
    for _ in range(50):
        found = asked.all(500, 4, ahead=1000)
        next(found)
        found.close()
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), fsspec.asyn.get_loop()).result(WAIT_S)
    gc.collect()
    assert not [one for one in recwarn if "never awaited" in str(one.message)]


def test_large_answers_that_are_taken_slowly():
    """Who takes one tells those that wait for that."""
    asked = Asked([], size=2 << 20)
    for number, found in enumerate(asked.all(60, 4, ahead=100), 1):
        assert found == number.to_bytes(2, "big") * (2 << 20)
        time.sleep(0.002)


def test_fewer_are_sent_where_many_are_put_off():
    turns = Turns(64)
    for _ in range(100):
        turns.answered(put_off=True)
    assert turns._limit == LEAST
    for _ in range(1000):
        turns.answered(put_off=False)
    assert turns._limit == 64
    few = Turns(1)
    few.answered(put_off=True)
    assert few._limit == 1


@pytest.mark.parametrize("number", [1, 30])
def test_what_waits_ends_when_one_fails(number, recwarn):
    """Nothing goes on, and asyncio has nothing to say of requests that never began."""
    asked = Asked([])
    real = asked.request

    def request(this):
        async def fail():
            raise ReadError("no")

        return (f"{this}", asked.backend._in_turn(f"{this}", fail)) if this == number else real(this)

    with pytest.raises(ReadError, match="no"):
        list(asked.backend.run_many(map(request, range(1, 1000)), 2, ahead=1000))
    before = asked.begun
    asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), fsspec.asyn.get_loop()).result(WAIT_S)
    assert asked.begun - before <= 2
    assert not [one for one in recwarn if "never awaited" in str(one.message)]


def test_turns_of_who_is_cancelled_come_back():
    async def run():
        turns, go = Turns(2), asyncio.Event()

        async def wait():
            await go.wait()

        requests = [wait() for _ in range(20)]
        tasks = [asyncio.ensure_future(turns.run(request)) for request in requests]
        for task in (tasks[0], *tasks[5:15]):
            await asyncio.sleep(0)
            task.cancel()
        go.set()
        await asyncio.wait(tasks, timeout=WAIT_S)
        assert all(task.done() for task in tasks)
        for request in requests:
            request.close()
        return turns._taken

    assert asyncio.run(run()) == 0


def test_a_file_that_cant_be_read_keeps_no_other_from_coming(monkeypatch):
    """Of a list, each that can be had is there, and of the others why; nothing is asked for one by one."""
    from blobdir.loosefiles.remote import _Remote

    single = []
    monkeypatch.setattr(_Remote, "read", lambda *args: single.append(args))
    filesystem = fsspec.filesystem("memory")
    for path, data in {
        "meta.json": b'{"classes": [], "tags": [], "projectType": "images"}',
        **{f"t/img/{number}.jpg": b"%d" % number for number in range(20)},
        "t/ann/0.jpg.json": b"{}",
    }.items():
        filesystem.pipe(f"/several/{path}", data)
    project = fsspec.filesystem("blobdir", fo="memory://several", skip_instance_cache=True)
    paths = [f"t/img/{number}.jpg" for number in range(20)]
    filesystem.rm("/several/t/img/7.jpg")
    found = project.cat(paths, on_error="return")
    assert [path for path in paths if not isinstance(found[path], bytes)] == ["t/img/7.jpg"]
    assert isinstance(found["t/img/7.jpg"], FileNotFoundError)
    assert found["t/img/8.jpg"] == b"8"
    assert not single


class Unsteady(MemoryFileSystem):
    """A backend that blocks, used by many threads, of which the first answers are errors."""

    protocol = "webdav"
    cachable = False
    left = 0

    def cat_file(self, path, start=None, end=None, **kwargs):
        if path.endswith(".json") and "/ann/" in path and Unsteady.left:
            Unsteady.left -= 1
            raise ConnectionResetError("restarted")
        return super().cat_file(path, start, end, **kwargs)


def test_threads_that_all_fail_at_once(monkeypatch):
    """Each gives its thread to others while it pauses, and comes to its turn again."""
    backend = Unsteady()
    asked = Backend(fs=backend, timeout_s=WAIT_S)
    for number in range(200):
        backend.pipe_file(f"/unsteady/ann/{number}.json", b"%d" % number)
    Unsteady.left = 40
    requests = [(f"{n}", asked.get(f"/unsteady/ann/{n}.json", None, None, f"{n}", versioned=False)) for n in range(200)]
    found = [answer.data for answer in asked.run_many(requests, 64, ahead=4096)]
    assert found == [b"%d" % number for number in range(200)]
