"""Only an answer that holds all of a file is taken for it: none that was cut, rewritten, or says something else."""

import asyncio
import gzip
import http.server
import itertools
import json
import os
import re
import threading
import time
import types
import urllib.parse
import zlib

import pytest
from folder_bucket import files
from project_factory import make_project

import blobdir
from blobdir.errors import ReadError
from blobdir.moving import fetch
from blobdir.sources import RemoteOptions, backend, retries
from blobdir.sources.retries import WrongAnswerError
from blobdir.sources.transports.answers import check_status
from blobdir.sources.transports.s3 import S3
from blobdir.sources.transports.web import Web

NOTE, PICTURE = "train/ann/1.jpg.json", "train/img/loose.png"
STATUSES = [201, 202, 203, 204, 206, 226, 300, 304]
LENGTH = {"Content-Length": "900000"}
QUICK = RemoteOptions(timeout=0.6, cache_size=0)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root = ""
    wrong, methods, status, changed, asked = "", (), 200, None, []

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def say(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if headers.keys().isdisjoint(("Transfer-Encoding", "Connection", "Content-Length")):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD" and not isinstance(body, bytes):
            for piece in body:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if "Transfer-Encoding" in headers else piece)
        elif self.command != "HEAD" and status not in (204, 304):
            if "Transfer-Encoding" in headers:
                body = b"%x\r\n%s\r\n" % (len(body), body) * bool(body) + b"0\r\n\r\n"
            self.wfile.write(body)
        self.close_connection |= "Connection" in headers

    def do_GET(self):
        path = urllib.parse.unquote(self.path)
        full = self.root + path
        headers = {"Content-Type": "application/octet-stream", "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        status = 200
        self.asked.append((self.command, path))
        if os.path.isdir(full):
            names = [name + "/" * os.path.isdir(f"{full}/{name}") for name in sorted(os.listdir(full))]
            links = "".join(f'<a href="{urllib.parse.quote(name)}">{name}</a>\n' for name in names)
            data = f"<html><title>Index of {path}</title><body>{links}</body></html>".encode()
            headers["Content-Type"] = "text/html"
        elif os.path.isfile(full):
            with open(full, "rb") as file:
                data = file.read()
        else:
            return self.say(404, b"", {})
        if found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            low, high = int(found[1]), min(int(found[2]) + 1, len(data))
            if low < len(data):
                status, headers["Content-Range"] = 206, f"bytes {low}-{high - 1}/{len(data)}"
            else:
                status, headers["Content-Range"] = 416, f"bytes */{len(data)}"
            data = data[low:high]
        if self.wrong and path == f"/{self.wrong}" and self.command in self.methods:
            if self.changed:
                status, data, more = self.changed(status, data)
                headers |= more
            else:
                headers.pop("Content-Range", None)
                status, data = self.status, b"" if self.status in (204, 205, 304) else b'{"try": "later"}'
        return self.say(status, data, headers)


@pytest.fixture
def web(tmp_path, monkeypatch):
    """(folder that is served, URL)."""
    monkeypatch.setattr(retries, "PAUSE_S", 0.01)
    monkeypatch.setattr(retries, "LONGEST_PAUSE_S", 0.1)
    monkeypatch.setattr(backend, "FIRST_TRIES", 2)
    monkeypatch.setattr(http.server.ThreadingHTTPServer, "request_queue_size", 64)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *args: None  # bodies that nobody reads
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    root = make_project(tmp_path / "www", {f"train/img/{n}.jpg": b"1" * 600 for n in "12"})
    (root / "train/ann").mkdir(exist_ok=True)
    (root / "train/img").mkdir(exist_ok=True)
    (root / NOTE).write_text('{"description": "a lemon"}')
    (root / PICTURE).write_bytes(os.urandom(900))
    for name, value in {
        "root": str(root),
        "wrong": "",
        "methods": (),
        "status": 200,
        "changed": None,
        "asked": [],
    }.items():
        monkeypatch.setattr(Handler, name, value)
    yield root, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def said(status):
    return "a part of it" if status == 206 else f"status {status}"


def opened(url, timeout=0.6):
    return blobdir.open_project(url, index="none", cache_size=0, memory_size=0, timeout=timeout)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize(
    ("path", "methods"), [(NOTE, ("GET",)), (PICTURE, ("GET", "HEAD")), ("meta.json", ("GET", "HEAD"))]
)
def test_a_status_that_is_not_that_of_the_file(web, tmp_path, monkeypatch, path, methods, status):
    project = opened(web[1])
    for name, value in {"wrong": path, "status": status, "methods": methods}.items():
        monkeypatch.setattr(Handler, name, value)
    for read in (lambda: project.filesystem.cat(path), lambda: project.filesystem.cat_file(path, 2, 9)):
        with pytest.raises(ReadError, match=rf"{re.escape(path)}.*{said(status)}"):
            read()
    found = project.filesystem.cat([path, "train/img/1.jpg"], on_error="return")
    assert isinstance(found[path], ReadError) and found["train/img/1.jpg"] == b"1" * 600
    with pytest.raises(OSError, match=re.escape(path)):
        fetch(web[1], tmp_path / "got", remote=QUICK)
    assert not (tmp_path / "got").exists()


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_that_is_not_that_of_a_list(web, monkeypatch, status):
    (name,) = (name for name in os.listdir(web[0] / "train") if name.endswith("_offsets.pkl"))
    for key, value in {"status": status, "methods": ("GET", "HEAD")}.items():
        monkeypatch.setattr(Handler, key, value)
    monkeypatch.setattr(Handler, "wrong", "train/")
    with pytest.raises(ReadError, match=rf"list of .*/train: .*{said(status)}"):
        opened(web[1])
    monkeypatch.setattr(Handler, "wrong", f"train/{name}")
    with pytest.warns(blobdir.errors.BlobdirWarning):
        project = opened(web[1])
    assert re.search(rf"{name}: can't be read .*{said(status)}", str(project.defects[0]))


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("path", [NOTE, PICTURE])
def test_a_head_of_another_status_is_asked_again(web, monkeypatch, path, status):
    for name, value in {"wrong": path, "status": status, "methods": ("HEAD",)}.items():
        monkeypatch.setattr(Handler, name, value)
    filesystem = opened(web[1]).filesystem
    assert filesystem.size(path) == (web[0] / path).stat().st_size
    assert filesystem.cat(path) == (web[0] / path).read_bytes()


def part_of(status, data, said):
    return 206, data[:5], {"Content-Range": said} if said else {}


CHANGED = {
    "a part": lambda status, data: part_of(status, data, f"bytes 0-4/{len(data)}"),
    "a part of no total": lambda status, data: part_of(status, data, "bytes 0-4/*"),
    "a part that says nothing": lambda status, data: part_of(status, data, ""),
    "a part in parts": lambda status, data: (206, b"--X\r\n\r\n", {"Content-Type": "multipart/byteranges; boundary=X"}),
    "gzip": lambda status, data: (status, gzip.compress(data), {"Content-Encoding": "gzip"}),
    "gzip in chunks": lambda status, data: (
        status, gzip.compress(data), {"Content-Encoding": "GZIP", "Transfer-Encoding": "chunked"},
    ),
    "a part that is called all": lambda status, data: (200, data[:5], {"Content-Range": f"bytes 0-4/{len(data)}"}),
    "a part that is called all, of no total": lambda status, data: (200, data[:5], {"Content-Range": "bytes 0-4/*"}),
    "a part that says it's all": lambda status, data: (
        200, data[:5], {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"},
    ),
    "gzip behind another form": lambda status, data: (
        status, gzip.compress(data), {"Content-Encoding": "identity, gzip"},
    ),
    "gzip before another form": lambda status, data: (
        status, gzip.compress(data), {"Content-Encoding": "gzip,aws-chunked"},
    ),
    "gzip of gzip": lambda status, data: (
        status, gzip.compress(gzip.compress(data)), {"Content-Encoding": "gzip, gzip"},
    ),
    "a form that nobody knows": lambda status, data: (status, data[::-1], {"Content-Encoding": "x-reversed"}),
    "less than announced": lambda status, data: (status, data[:-3], {"Connection": "close"}),
}  # fmt: skip


NOT_IT = "(WrongAnswer|OtherForm)Error"
COPIES = ["", "simplecache::", "filecache::", "blockcache::", "filecache::simplecache::"]
"""What may stand before a web server in a URL."""


@pytest.mark.parametrize("path", [NOTE, PICTURE])
@pytest.mark.parametrize("changed", CHANGED)
def test_what_is_not_the_whole_file_as_it_is(web, tmp_path, monkeypatch, path, changed):
    project = opened(web[1])
    for name, value in {"wrong": path, "methods": ("GET",), "changed": staticmethod(CHANGED[changed])}.items():
        monkeypatch.setattr(Handler, name, value)
    with pytest.raises(ReadError, match=rf"{re.escape(path)}.*{NOT_IT}"):
        project.filesystem.cat(path)
    with pytest.raises(OSError, match=re.escape(path)):
        fetch(web[1], tmp_path / "got", remote=QUICK)
    assert not (tmp_path / "got").exists()


@pytest.mark.parametrize("chain", COPIES[1:])
@pytest.mark.parametrize("changed", ["a part that is called all", "gzip", "gzip behind another form"])
def test_the_same_behind_what_keeps_copies(web, monkeypatch, chain, changed):
    filesystem = opened(chain + web[1]).filesystem
    for name, value in {"wrong": NOTE, "methods": ("GET",), "changed": staticmethod(CHANGED[changed])}.items():
        monkeypatch.setattr(Handler, name, value)
    for read in (lambda: filesystem.cat(NOTE), lambda: filesystem.open(NOTE).read()):
        with pytest.raises(ReadError, match=rf"{re.escape(NOTE)}.*{NOT_IT}"):
            read()


@pytest.mark.parametrize("path", [NOTE, PICTURE])
@pytest.mark.parametrize("changed", [name for name in CHANGED if "chunks" not in name and "announced" not in name])
def test_a_head_that_is_not_of_the_whole_file_is_asked_again(web, monkeypatch, path, changed):
    for name, value in {"wrong": path, "methods": ("HEAD",), "changed": staticmethod(CHANGED[changed])}.items():
        monkeypatch.setattr(Handler, name, value)
    assert opened(web[1]).filesystem.size(path) == (web[0] / path).stat().st_size


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', ""])
@pytest.mark.parametrize("cut", [0, 7])
def test_a_version_that_was_longer_a_moment_ago(web, monkeypatch, cut, etag):
    """Of one that is the same by its meaning only, or of none, nothing is known."""
    filesystem = opened(web[1]).filesystem
    size = (web[0] / NOTE).stat().st_size
    values = {
        "wrong": NOTE,
        "methods": ("GET", "HEAD"),
        "changed": staticmethod(lambda status, data: (200, data, {"ETag": etag})),
    }
    for name, value in values.items():
        monkeypatch.setattr(Handler, name, value)
    assert filesystem.size(NOTE) == size
    monkeypatch.setattr(Handler, "changed", staticmethod(lambda status, data: (200, data[:cut], {"ETag": etag})))
    monkeypatch.setattr(Handler, "methods", ("GET",))
    for read in (
        lambda: filesystem.cat(NOTE),
        lambda: filesystem.open(NOTE).read(),
        lambda: filesystem.cat([NOTE])[NOTE],
    ):
        if etag.startswith('"'):
            with pytest.raises(ReadError, match=rf"{re.escape(NOTE)}.*{size} bytes, and sent {cut}"):
                read()
        else:
            assert read() == (web[0] / NOTE).read_bytes()[:cut]


@pytest.mark.parametrize("changed", ["a part that says nothing", "a part in parts", "gzip in chunks"])
def test_a_range_that_can_not_be_told(web, monkeypatch, changed):
    project = opened(web[1])
    for name, value in {"wrong": NOTE, "methods": ("GET",), "changed": staticmethod(CHANGED[changed])}.items():
        monkeypatch.setattr(Handler, name, value)
    with pytest.raises(ReadError, match=rf"{re.escape(NOTE)}.*{NOT_IT}"):
        project.filesystem.cat_file(NOTE, 0, 5)


def endless(status, data, more):
    told = {"Content-Range": f"bytes 0-4/{len(data)}"} if status == 206 else {}
    return status, itertools.repeat(b" " * 1000), told | more


@pytest.mark.parametrize("heads", [True, False], ids=["", "unannounced"])
@pytest.mark.parametrize("more", [{"Transfer-Encoding": "chunked"}, {"Connection": "close"}], ids=str)
@pytest.mark.parametrize("read", ["whole", "a range", "together"])
def test_an_answer_without_an_end(web, monkeypatch, more, read, heads):
    monkeypatch.setattr("blobdir.sources.transports.web._UNANNOUNCED", 20_000)
    monkeypatch.setattr("blobdir.sources.transports.web.WHOLE_BYTES", 3_000_000)
    filesystem = opened(web[1], timeout=20).filesystem
    changed = staticmethod(lambda status, data: endless(status, data, more))
    for name, value in {"wrong": NOTE, "methods": ("GET",) if heads else ("GET", "HEAD"), "changed": changed}.items():
        monkeypatch.setattr(Handler, name, value)
    reads = {
        "whole": lambda: filesystem.cat(NOTE),
        "a range": lambda: filesystem.cat_file(NOTE, 0, 5),
        "together": lambda: filesystem.cat([NOTE, "train/img/1.jpg"]),
    }
    began = time.monotonic()
    with pytest.raises(ReadError, match=rf"{re.escape(NOTE)}.*sends more than [\d,]+ bytes"):
        reads[read]()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "announced"])
def test_many_large_files_at_once(web, monkeypatch, chunked):
    """They fill no more memory than all together may, and come all the same, however long some of them wait."""
    monkeypatch.setattr("blobdir.sources.transports.web._UNANNOUNCED", 20_000)
    monkeypatch.setattr("blobdir.sources.transports.web._TOGETHER", 1_050_000)
    root, url = web
    notes = {f"train/ann/{n}.jpg.json": json.dumps({"description": str(n)}).encode().ljust(900_000) for n in range(8)}
    for path, data in notes.items():
        (root / path).write_bytes(data)
    held, rested, room, say, are_many = [], [], Web._room, Handler.say, threading.Event()

    async def note(self, response, size, rest):
        if self._held() > 1_000_000:
            are_many.set()
        await room(self, response, size, lambda: rested.append(size) or rest())
        if next(iter(self._large)) != id(response):
            held.append(self._held())

    monkeypatch.setattr(Web, "_room", note)

    def say_together(self, status, data, headers):
        def slowly():
            yield data[:400_000]
            are_many.wait(20)
            for start in range(400_000, 900_000, 50_000):
                time.sleep(0.08)
                yield data[start : start + 50_000]
            if chunked:
                yield b""

        body = data
        if len(data) == 900_000:
            body, headers = slowly(), headers | ({"Transfer-Encoding": "chunked"} if chunked else LENGTH)
        say(self, status, body, headers)

    monkeypatch.setattr(Handler, "say", say_together)
    filesystem = opened(url, timeout=2).filesystem
    assert filesystem.cat(list(notes)) == notes
    assert rested
    assert max(held) <= 1_050_000
    assert [Handler.asked.count(("GET", f"/{path}")) for path in notes] == [1 + chunked] * len(
        notes
    )  # one says how long it is


@pytest.mark.parametrize("stalls", [1, 3])
def test_one_that_stalls_keeps_no_other_from_coming(web, monkeypatch, stalls):
    """Large files that wait for room don't wait for one whose bytes don't come."""
    monkeypatch.setattr("blobdir.sources.transports.web._UNANNOUNCED", 20_000)
    monkeypatch.setattr("blobdir.sources.transports.web._TOGETHER", 1_050_000)
    root, url = web
    notes = {f"train/ann/{n}.jpg.json": json.dumps({"description": str(n)}).encode().ljust(900_000) for n in range(9)}
    for path, data in notes.items():
        (root / path).write_bytes(data)
    say, ended, begun = Handler.say, threading.Event(), itertools.count()

    def say_or_stall(self, status, data, headers):
        def slowly():
            yield data[:400_000]
            if next(begun) < stalls:
                ended.wait(60)
            time.sleep(0.2)
            yield data[400_000:]

        if len(data) == 900_000 and self.command == "GET":
            return say(self, status, slowly(), headers | LENGTH)
        return say(self, status, data, headers)

    monkeypatch.setattr(Handler, "say", say_or_stall)
    try:
        found = opened(url, timeout=4).filesystem.cat(list(notes), on_error="return")
    finally:
        ended.set()
    failed = [path for path, data in found.items() if isinstance(data, Exception)]
    assert all(found[path] == notes[path] for path in notes if path not in failed)
    assert len(failed) <= stalls


def test_one_large_file_alone(web, monkeypatch):
    monkeypatch.setattr("blobdir.sources.transports.web._UNANNOUNCED", 20_000)
    monkeypatch.setattr("blobdir.sources.transports.web._TOGETHER", 100_000)
    root, url = web
    data = b"{}".ljust(900_000)
    (root / NOTE).write_bytes(data)
    assert opened(url, timeout=20).filesystem.cat_file(NOTE) == data


def test_answers_that_hold_all_of_a_file(web, tmp_path, monkeypatch):
    answers = [
        lambda status, data: (206, data, {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}),
        lambda status, data: (status, data, {"Transfer-Encoding": "chunked"}),
        lambda status, data: (status, data, {"Connection": "close"}),
        lambda status, data: (status, data, {"Content-Encoding": "identity"}),
        lambda status, data: (status, data, {"Content-Encoding": "aws-chunked"}),
        lambda status, data: (status, data, {"Content-Encoding": "Identity, UTF-8,"}),
        lambda status, data: (200, data, {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"}),
    ]
    project = opened(web[1])
    for answer in answers:
        for name, value in {"wrong": NOTE, "methods": ("GET",), "changed": staticmethod(answer)}.items():
            monkeypatch.setattr(Handler, name, value)
        assert project.filesystem.cat(NOTE) == (web[0] / NOTE).read_bytes()
    refused = staticmethod(lambda status, data: (status, b"", {"Connection": "close", "Content-Range": ""}))
    (web[0] / NOTE).write_bytes(b"")
    for name, value in {"methods": ("GET", "HEAD"), "changed": refused}.items():
        monkeypatch.setattr(Handler, name, value)
    assert project.filesystem.cat(NOTE) == b""
    monkeypatch.setattr(Handler, "wrong", "")
    fetch(web[1], tmp_path / "got")
    assert files(tmp_path / "got") == files(web[0])


NAMED = [
    ("a.json.gz", "gzip"),
    ("a.txt.GZ", "GZip"),
    ("a.gz", "identity, x-gzip"),
    ("a.tgz", "gzip"),
    ("a.taz", "x-compress"),
    ("a.svgz", "gzip"),
    ("a.csv.bz2", "bzip2"),
    ("a.tbz2", "x-bzip2"),
    ("a.tar.xz", "xz"),
    ("a.txz", "x-xz"),
    ("a.txt.Z", "compress"),
    ("a.js.br", "br"),
    ("a.json.zst", "zstd"),
    ("a.lzma", "lzma"),
]
"""Names, and what servers say of such files' bytes, which they send as they are."""


@pytest.mark.parametrize(("name", "form"), NAMED)
def test_a_form_that_the_name_of_a_file_says(web, tmp_path, monkeypatch, name, form):
    path, data = f"notes/{name}", gzip.compress(b"whatever is in it" * 50)
    (web[0] / "notes").mkdir()
    (web[0] / path).write_bytes(data)
    changed = staticmethod(lambda status, body: (status, body, {"Content-Encoding": form}))
    for key, value in {"wrong": path, "methods": ("GET", "HEAD"), "changed": changed}.items():
        monkeypatch.setattr(Handler, key, value)
    filesystem = opened(web[1]).filesystem
    assert filesystem.size(path) == len(data)
    assert filesystem.cat(path) == filesystem.cat([path])[path] == filesystem.open(path).read() == data
    assert filesystem.cat_file(path, 3, 9) == data[3:9]
    fetch(web[1], tmp_path / "got", remote=QUICK)
    assert (tmp_path / "got" / path).read_bytes() == data


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.json", "gzip"),
        ("a.gz.json", "gzip"),
        ("gz", "gzip"),
        ("a.json.gz", "br"),
        ("a.json.gz", "gzip, gzip"),
        ("a.json.br", "gzip, br"),
        ("a.bz2", "gzip"),
        ("a.xz", "x-gzip"),
        ("a.Z", "gzip"),
        ("a.gz", "x-reversed"),
    ],
)
def test_a_form_that_the_name_of_a_file_does_not_say(web, tmp_path, monkeypatch, name, form):
    """And it's the same the next time: it's asked for once."""
    path = f"notes/{name}"
    (web[0] / "notes").mkdir()
    (web[0] / path).write_bytes(b"as it is")
    filesystem = opened(web[1]).filesystem
    changed = staticmethod(lambda status, body: (status, gzip.compress(body), {"Content-Encoding": form}))
    for key, value in {"wrong": path, "methods": ("GET",), "changed": changed}.items():
        monkeypatch.setattr(Handler, key, value)
    for read in (lambda: filesystem.cat(path), lambda: filesystem.cat_file(path, 0, 5)):
        Handler.asked.clear()
        with pytest.raises(ReadError, match=rf"{re.escape(path)}.*OtherFormError.*encoded: {form}\)"):
            read()
        assert Handler.asked.count(("GET", f"/{path}")) == 1
    with pytest.raises(OSError, match=rf"{re.escape(path)}.*encoded: {form}\)"):
        fetch(web[1], tmp_path / "got", remote=QUICK)
    assert not (tmp_path / "got").exists()


HEADS = {
    "none": lambda status, data: (405, b"", {}),
    "forbidden": lambda status, data: (403, b"", {}),
    "unknown": lambda status, data: (501, b"", {}),
    "without a length": lambda status, data: (status, b"", {"Connection": "close"}),
    "in chunks": lambda status, data: (status, b"", {"Transfer-Encoding": "chunked"}),
    "of its own length": lambda status, data: (status, b"", {}),
    "all": lambda status, data: (status, data, {}),
}
"""What servers say to a HEAD."""
NO_RANGES = {
    "none": lambda status, data: (status, data, {}),
    "without the size": lambda status, data: (status, data, {"Content-Range": ""} if status == 416 else {}),
    "by all of it": lambda status, data: (200, data, {"Content-Range": ""}),
    "by all of it in chunks": lambda status, data: (
        200, data, {"Content-Range": "", "Transfer-Encoding": "chunked"},
    ),
}  # fmt: skip
"""How they refuse a range of an empty file."""


@pytest.mark.parametrize("refusal", NO_RANGES)
@pytest.mark.parametrize("head", HEADS)
def test_an_empty_file_whatever_is_said_of_it(web, tmp_path, monkeypatch, head, refusal):
    path = "notes/empty.txt"
    (web[0] / "notes").mkdir()
    (web[0] / path).write_bytes(b"")

    def changed(self, status, data):
        return HEADS[head](status, data) if self.command == "HEAD" else NO_RANGES[refusal](status, data)

    for key, value in {"wrong": path, "methods": ("GET", "HEAD"), "changed": changed}.items():
        monkeypatch.setattr(Handler, key, value)
    filesystem = opened(web[1]).filesystem
    assert filesystem.size(path) == 0
    assert filesystem.cat(path) == filesystem.open(path).read() == filesystem.cat_file(path, 0, 5) == b""
    fetch(web[1], tmp_path / "got", remote=QUICK)
    assert (tmp_path / "got" / path).read_bytes() == b""


@pytest.mark.parametrize("path", [NOTE, PICTURE])
@pytest.mark.parametrize("head", HEADS)
def test_the_length_of_a_file_whatever_a_head_says(web, tmp_path, monkeypatch, head, path):
    for key, value in {"wrong": path, "methods": ("HEAD",), "changed": staticmethod(HEADS[head])}.items():
        monkeypatch.setattr(Handler, key, value)
    filesystem = opened(web[1]).filesystem
    assert filesystem.size(path) == (web[0] / path).stat().st_size
    assert filesystem.open(path).read() == (web[0] / path).read_bytes()
    fetch(web[1], tmp_path / "got", remote=QUICK)
    assert files(tmp_path / "got") == files(web[0])


@pytest.mark.parametrize("length", [5, 5000])
def test_a_head_of_another_length_of_the_same_version(web, tmp_path, monkeypatch, length):
    """What is read is all of it, or refused; `fetch` says why it doesn't take the file."""

    def changed(self, status, data):
        return status, b" " * length if self.command == "HEAD" else data, {"ETag": '"1"'}

    for key, value in {"wrong": PICTURE, "methods": ("GET", "HEAD"), "changed": changed}.items():
        monkeypatch.setattr(Handler, key, value)
    filesystem = opened(web[1]).filesystem
    assert filesystem.size(PICTURE) == length
    if length > 900:
        with pytest.raises(ReadError, match=f"{length} bytes, and sent 900"):
            filesystem.cat(PICTURE)
    else:
        assert filesystem.cat(PICTURE) == (web[0] / PICTURE).read_bytes()
    with pytest.raises(ReadError, match=r"loose\.png.*of one version, 1, the server says .*by HEAD, may be wrong"):
        fetch(web[1], tmp_path / "got", remote=QUICK)
    assert not (tmp_path / "got").exists()


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', ""])
@pytest.mark.parametrize("first", ["whole", "a range"])
def test_a_version_that_was_read_longer_a_moment_ago(web, monkeypatch, first, etag):
    filesystem = opened(web[1]).filesystem
    data = (web[0] / PICTURE).read_bytes()
    for name, value in {
        "wrong": PICTURE,
        "methods": ("GET",),
        "changed": staticmethod(lambda status, body: (status, body, {"ETag": etag})),
    }.items():
        monkeypatch.setattr(Handler, name, value)
    assert (filesystem.cat(PICTURE) if first == "whole" else filesystem.cat_file(PICTURE, 0, 9)) in (data, data[:9])
    monkeypatch.setattr(Handler, "changed", staticmethod(lambda status, body: (status, body[:-3], {"ETag": etag})))
    if etag.startswith('"'):
        with pytest.raises(ReadError, match=rf"{re.escape(PICTURE)}.*{len(data)} bytes, and sent {len(data) - 3}"):
            filesystem.cat(PICTURE)
    else:
        assert filesystem.cat(PICTURE) == data[:-3]


@pytest.mark.parametrize("form", ["gzip", "GZIP", "deflate"])
def test_a_list_may_come_in_another_form(web, monkeypatch, form):
    def packed(status, data):
        body = zlib.compress(data) if form == "deflate" else gzip.compress(data)
        return status, body, {"Content-Encoding": form, "Content-Type": "text/html"}

    for name, value in {"wrong": "train/img/", "methods": ("GET",), "changed": staticmethod(packed)}.items():
        monkeypatch.setattr(Handler, name, value)
    assert opened(web[1]).filesystem.exists(PICTURE)


@pytest.mark.parametrize("form", ["gzip, gzip", "x-reversed"])
def test_a_list_in_a_form_that_nobody_takes_away(web, monkeypatch, form):
    changed = staticmethod(lambda status, data: (status, data, {"Content-Encoding": form, "Content-Type": "text/html"}))
    for name, value in {"wrong": "train/img/", "methods": ("GET",), "changed": changed}.items():
        monkeypatch.setattr(Handler, name, value)
    with pytest.raises(ReadError, match=rf"list of .*/train/img: .*encoded: {form}"):
        opened(web[1])


@pytest.mark.parametrize(
    ("status", "told", "is_ranged"),
    [
        (206, "bytes 0-4/9, bytes 5-8/9", True),
        (206, "bytes */9", True),
        (200, "bytes */9", False),
        (200, "bytes 0-4/9", True),
        (200, "bytes 0-8/9, bytes 0-8/9", False),
    ],
)
def test_ranges_that_do_not_say_what_they_are(status, told, is_ranged):
    with pytest.raises(WrongAnswerError, match=re.escape(told)):
        check_status(status, told, is_ranged=is_ranged)


class Body:
    left = b"other"

    async def read(self, size):
        data, self.left = self.left[:size], self.left[size:]
        return data

    def close(self):
        pass


@pytest.mark.parametrize("ranged", [False, True])
@pytest.mark.parametrize(
    ("status", "part", "is_all"),
    [
        *((status, "", False) for status in STATUSES),
        (200, "", True),
        (200, "bytes 0-4/9", False),
        (200, "bytes 0-4/5", True),
    ],
)
def test_the_same_of_s3(status, part, is_all, ranged):
    async def call(*args, **kwargs):
        told = {"ContentRange": part} if part else {}
        return {"Body": Body(), "ResponseMetadata": {"HTTPStatusCode": status}, "ETag": '"1"', **told}

    backend = types.SimpleNamespace(split_path=lambda path: ("bucket", path, None), _call_s3=call)
    get = S3(backend).get("a.json", *((0, 5) if ranged else (None, None)))
    if is_all:
        assert asyncio.run(get).data == b"other"
    else:
        with pytest.raises(WrongAnswerError, match="a part of it" if part else said(status)):
            asyncio.run(get)
