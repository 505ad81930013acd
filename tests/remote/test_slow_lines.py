"""Lines that are slow, break, or bring less than was asked for: what has come isn't lost, and silence ends."""

import asyncio
import concurrent.futures
import datetime
import http.server
import itertools
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from blobdir.errors import ReadError
from blobdir.sources import backend, getting, retries
from blobdir.sources.backend import Backend
from blobdir.sources.clock import SLOWEST_BYTES_PER_S, Clock
from blobdir.sources.transports.answers import length_of, mtime_ns, stat_of

DATA = os.urandom(96_000)
ETAG = {"ETag": '"one"'}
TIME = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
HEAD = {"content-type": "application/octet-stream"}


def test_a_clock():
    clock = Clock(10)
    clock.go(100)
    for second in range(101, 200):
        clock.came(second, SLOWEST_BYTES_PER_S)  # just enough
    assert clock.left(199) == 10
    clock.came(204, 1)  # a drip
    assert 5 <= clock.left(204) < 5.01
    clock.stop(205)
    assert clock.left(900) == clock.left(205) < 4.01  # it waits for its turn
    clock.go(900)
    clock.came(901, 1 << 30)
    clock.lose(is_all=False)
    assert clock.left(901) < 4.01
    clock.lose(is_all=True)
    assert clock.left(901) < 0


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `DATA`; what an answer is, and how it's sent, is said by a list."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        said = self.headers.get("Range")
        low, high, status = 0, len(DATA), 200
        if found := re.fullmatch(r"bytes=(\d+)-(\d+)", said or ""):
            low, high, status = int(found[1]), min(int(found[2]) + 1, len(DATA)), 206
        self.server.asked.append((low, high) if said else None)
        how = next(self.server.ways, "right")
        version = self.server.versions.pop(0) if len(self.server.versions) > 1 else self.server.versions[0]
        if how == "page":
            low, high, status, version = 0, 18, 200, {}
        elif how == "empty":
            low, high, status = 0, 0, 200
        elif how in ("all", "all, steady"):
            low, high, status = 0, len(DATA), 200
        elif how == "less" and status == 206:
            high = low + (high - low + 1) // 2
        self.send_response(status)
        for name, value in {**HEAD, **version, "Content-Length": high - low}.items():
            self.send_header(name, str(value))
        if status == 206:
            self.send_header("Content-Range", f"bytes {low}-{high - 1}/{len(DATA)}")
        self.end_headers()
        if self.command == "GET":
            self.send(DATA[low:high], how)

    def send(self, data, how):
        if how in ("steady", "all, steady"):
            for at in range(0, len(data), 8_000):
                self.wfile.write(data[at : at + 8_000])
                time.sleep(0.1)
        elif how == "drips":
            for at in range(len(data)):
                self.wfile.write(data[at : at + 1])
                time.sleep(0.05)
        elif how in ("breaks", "stalls"):
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.server.over.wait(20 if how == "stalls" else 0.05)
            self.close_connection = True
        elif how == "silent":
            self.server.over.wait(20)
        else:
            self.wfile.write(data)


@pytest.fixture
def web(monkeypatch):
    monkeypatch.setattr(retries, "PAUSE_S", 0.01)
    monkeypatch.setattr(retries, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(backend, "STALL_S", 0.4)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *args: None
    server.asked, server.ways, server.versions, server.over = [], iter(()), [ETAG], threading.Event()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


WANTED = {"a file": (None, None), "a range": (1_000, 65_000), "its beginning": (0, 50_000)}
wanted = pytest.mark.parametrize("bounds", WANTED.values(), ids=WANTED)


def asking(server, timeout_s=1.0):
    """What gets bytes of the file from a server that has answered before."""
    asked = Backend(fs=fsspec.filesystem("http"), timeout_s=timeout_s)
    url = f"http://127.0.0.1:{server.server_address[1]}/file.bin"

    def get(start, end):
        return asked.run(asked.get(url, start, end, "it"), "it").data

    assert get(5, 9) == DATA[5:9]
    server.asked.clear()
    return get


@wanted
def test_what_comes_steadily_is_never_given_up(web, bounds):
    get = asking(web)
    web.ways = iter(["steady"])
    assert get(*bounds) == DATA[slice(*bounds)]  # longer than a try without bytes may take
    assert len(web.asked) == 1


@pytest.mark.parametrize("how", ["list_page", "look"])
def test_a_list_that_comes_steadily_is_never_given_up(web, monkeypatch, how):
    names = {f"{number:05}.json": False for number in range(5_000)}
    links = "".join(f'<a href="{name}">{name}</a>' for name in names)
    monkeypatch.setitem(globals(), "DATA", f"<html><title>Index of /</title>{links}</html>".encode())
    monkeypatch.setitem(globals(), "HEAD", {"Content-Type": "text/html"})
    asked = Backend(fs=fsspec.filesystem("http"), timeout_s=1.0)
    web.ways = itertools.repeat("steady")
    found = asked.run(getattr(asked, how)(f"http://127.0.0.1:{web.server_address[1]}/f/", "it"), "it")
    assert found.names == names
    assert len(DATA) > 8_000 * 10 * 1.5  # it takes longer than silence may


@wanted
@pytest.mark.parametrize("how", ["silent", "drips"])
def test_silence_ends(web, bounds, how):
    get = asking(web, 0.5)
    web.ways = itertools.repeat(how)
    with pytest.raises(ReadError, match="it: TimeoutError"):
        get(*bounds)


@wanted
@pytest.mark.parametrize("version", [ETAG, TIME, {"ETag": 'W/"one"'}, {}], ids=str)
@pytest.mark.parametrize("how", ["breaks", "stalls", "less"])
def test_only_the_rest_is_asked_for(web, bounds, how, version):
    """Unless nothing says that it's of the same version."""
    web.versions = [version]
    get = asking(web, 5)
    web.ways = iter([how])
    assert get(*bounds) == DATA[slice(*bounds)]
    low, high = bounds if bounds[1] else (0, len(DATA))
    rest = (low + (high - low + 1) // 2, high)
    if how == "less" and not bounds[1]:
        assert web.asked == [None]
    elif version in (ETAG, TIME):
        assert web.asked[1:] == [rest]
    else:
        assert web.asked[1:] == web.asked[:1]


@wanted
def test_the_rest_of_another_version(web, bounds):
    get = asking(web, 5)
    web.ways, web.versions = iter(["breaks", "breaks"]), [ETAG, {"ETag": '"two"'}, {"ETag": '"three"'}]
    assert get(*bounds) == DATA[slice(*bounds)]
    assert web.asked[-1] == web.asked[0]  # all of it


@pytest.mark.parametrize("most", [80_000, 1 << 20])
def test_the_rest_where_there_are_no_ranges(web, monkeypatch, most):
    """It's taken from all of the file, where that isn't much."""
    monkeypatch.setattr("blobdir.sources.transports.web._RECEIVE", most)
    get = asking(web, 5)
    web.ways = iter(["breaks", "all"])
    assert get(None, None) == DATA
    assert web.asked == [None, (len(DATA) // 2, len(DATA)), None][: 3 if most < len(DATA) else 2]


@pytest.mark.parametrize("how", ["all", "page"])
@pytest.mark.parametrize("bounds", [(0, 10), (1_000, 65_000), (90_000, len(DATA))], ids=str)
def test_all_of_a_file_instead_of_a_range(web, monkeypatch, how, bounds):
    monkeypatch.setattr("blobdir.sources.transports.web._RECEIVE", 80_000)
    get = asking(web, 5)
    web.ways = iter([how] * 3)
    assert get(*bounds) == DATA[slice(*bounds)]
    assert len(web.asked) == (1 if how == "all" and bounds[1] < 80_000 else 4)
    web.ways = itertools.repeat("page")
    with pytest.raises(ReadError, match=r"it: RangeIgnoredError: .* all of the file, or something else \(6 tries"):
        get(*bounds)


@pytest.mark.parametrize("bounds", [(1_000, 65_000), (0, 50_000)], ids=str)
@pytest.mark.parametrize("version", [ETAG, {"ETag": 'W/"one"'}, {}], ids=str)
def test_an_answer_without_bytes_is_asked_for_again(web, bounds, version):
    """It isn't what the file is now, where the server says otherwise a moment later."""
    web.versions = [version]
    get = asking(web, 5)
    web.ways = iter(["empty"])
    assert get(*bounds) == DATA[slice(*bounds)]
    assert len(web.asked) > 1


def test_a_file_that_is_empty(web, monkeypatch):
    monkeypatch.setitem(globals(), "DATA", b"")
    asked = Backend(fs=fsspec.filesystem("http"), timeout_s=5)
    url = f"http://127.0.0.1:{web.server_address[1]}/file.bin"
    web.ways = itertools.repeat("empty")
    assert asked.run(asked.get(url, 0, 9, "it"), "it").data == b""


def test_a_range_that_comes_steadily_in_all_of_a_file(web):
    get = asking(web)
    web.ways = iter(["all, steady"])
    assert get(0, len(DATA) - 1) == DATA[:-1]
    assert len(web.asked) == 1


def test_the_rest_does_not_say_how_long_the_file_is(web, monkeypatch):
    """What was said of it before counts."""
    asking(web, 5)
    asked = Backend(fs=fsspec.filesystem("http"), timeout_s=5)
    url = f"http://127.0.0.1:{web.server_address[1]}/file.bin"
    send = Handler.send_header
    monkeypatch.setattr(
        Handler,
        "send_header",
        lambda self, key, value: send(
            self, key, value.replace(f"/{len(DATA)}", "/*") if key == "Content-Range" else value
        ),
    )
    web.ways = iter(["breaks"])
    answer = asked.run(asked.get(url, None, None, "it"), "it")
    assert (answer.data, answer.version.size) == (DATA, len(DATA))


def test_a_server_that_has_never_served_ranges(web):
    asked = Backend(fs=fsspec.filesystem("http"), timeout_s=5)
    web.ways = itertools.repeat("all")
    with pytest.raises(ReadError, match="the server doesn't serve byte ranges"):
        asked.run(asked.get(f"http://127.0.0.1:{web.server_address[1]}/file.bin", 5, 9, "it"), "it")
    assert len(web.asked) == 3


class Whole(MemoryFileSystem):
    """A backend that blocks, has one connection, and gives bodies only whole, at one pace."""

    protocol = "whole"
    cachable = False
    seconds_a_byte, pause, error, hangs, over = 0.0, 0.0, None, False, threading.Event()

    def cat_file(self, path, start=None, end=None, **kwargs):
        if self.error:
            raise self.error
        if self.hangs:
            self.over.wait(20)
        data = super().cat_file(path, start, end, **kwargs)
        time.sleep(self.pause + len(data) * self.seconds_a_byte)
        return data


class Awaited(AsyncFileSystem):
    """The same in fsspec's event loop."""

    protocol = "awaited"
    cachable = False
    seconds_a_byte, error = 0.0, None

    async def _cat_file(self, path, start=None, end=None, **kwargs):
        if self.error:
            raise self.error
        await asyncio.sleep(len(DATA[start:end]) * self.seconds_a_byte)
        return DATA[start:end]

    async def _info(self, path, **kwargs):
        return {"type": "file", "size": len(DATA), "ETag": "one"}


@pytest.fixture
def whole(monkeypatch):
    monkeypatch.setattr(retries, "PAUSE_S", 0.01)
    monkeypatch.setattr(backend, "STALL_S", 0.4)
    for name, value in {"seconds_a_byte": 0.0, "pause": 0.0, "error": None, "hangs": False}.items():
        monkeypatch.setattr(Whole, name, value)
    monkeypatch.setattr(Whole, "over", threading.Event())
    Whole().pipe_file("/slow/file", DATA)
    yield Whole
    Whole.over.set()
    Whole().rm("/slow", recursive=True)


def slow(kind, timeout_s=1.0):
    asked = Backend(fs=kind(), timeout_s=timeout_s)
    return lambda start, end: asked.run(asked.get("/slow/file", start, end, "it"), "it").data


@pytest.mark.parametrize("kind", [Whole, Awaited])
def test_bodies_that_come_only_whole(whole, monkeypatch, kind):
    """Less is asked for at once."""
    monkeypatch.setattr(getting, "LEAST_STEP", 4_000)
    monkeypatch.setattr(getting, "_QUICK_S", 0.02)
    monkeypatch.setattr(kind, "seconds_a_byte", 0.7 / len(DATA))
    get = slow(kind)
    assert get(100, 90_000) == DATA[100:90_000]
    assert get(100, 90_000) == DATA[100:90_000]


def test_what_waits_for_its_turn_has_no_deadline(whole, monkeypatch):
    monkeypatch.setattr(backend, "_GRACE_S", 0.2)
    get = slow(whole, 0.4)
    monkeypatch.setattr(whole, "pause", 0.1)
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(lambda at: get(at, at + 9), range(16))) == [DATA[at : at + 9] for at in range(16)]


def test_all_ends_where_the_backend_is_dead(whole, monkeypatch):
    monkeypatch.setattr(backend, "_GRACE_S", 0.2)
    get = slow(whole, 0.4)
    monkeypatch.setattr(whole, "hangs", True)

    def fails(at):
        with pytest.raises(ReadError, match="no answer in"):
            get(at, at + 9)

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(fails, range(16)))
    monkeypatch.setattr(whole, "hangs", False)
    assert get(3, 9) == DATA[3:9]


ODD = [
    StopIteration, StopAsyncIteration, KeyboardInterrupt, SystemExit, GeneratorExit, BaseException,
    asyncio.CancelledError, concurrent.futures.CancelledError,
]  # fmt: skip


@pytest.mark.parametrize("kind", [Whole, Awaited])
@pytest.mark.parametrize("error", ODD)
def test_what_a_backend_raises_is_an_error_at_once(whole, monkeypatch, kind, error):
    if (kind, error) == (Awaited, GeneratorExit):
        error = type("Odd", (BaseException,), {})  # that one is how a coroutine is ended
    get = slow(kind, 5)
    monkeypatch.setattr(kind, "error", error("whatever"))
    with pytest.raises(ReadError, match=rf"it: .*{error.__name__}"):
        get(0, 9)
    monkeypatch.setattr(kind, "error", None)
    assert get(0, 9) == DATA[:9]


HUGE = "9" * 5000
TIMES = [
    "Wed, 21 Oct 999999999999999999 07:28:00 GMT",
    "Wed, 21 Oct 2015 07:28:00 -99999999999999999999999",
    "Wed, 21 Oct 99999 07:28:00 GMT",
    "Mon, 01 Jan 0001 00:00:00 -0000",
    "soon",
    "",
    ",",
]


@pytest.mark.parametrize("text", [*TIMES, "nan", "-1", "1e999", HUGE])
def test_odd_times(text):
    error = OSError()
    error.headers = {"Retry-After": text}
    assert (retries.retry_after_s(error) or 0) >= 0
    assert retries.pause_s(1, retries.retry_after_s(error)) > 0
    assert abs(mtime_ns(text)) < 1 << 63


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -1e300, 1 << 80, datetime.datetime.min, None, b"", "9" * 14]
)
def test_odd_values_of_backends(value):
    found = stat_of({"type": "file", "size": value, "mtime": value, "LastModified": value})
    assert -1 <= found.size < 1 << 63
    assert abs(found.mtime_ns) < 1 << 63


@pytest.mark.parametrize("text", [HUGE, "-1", "1_0", "1,1", "1, 1", "ten", "", "١", "1.5", "9" * 19])
def test_odd_lengths(text):
    assert length_of({"Content-Length": text}) is None
