"""Web servers that refuse HEAD in their own ways, and such that don't say how many bytes a file has."""

import http.server
import os
import re
import threading
import urllib.parse
from email.utils import formatdate

import pytest
from project_factory import make_project

import blobdir
from blobdir.errors import ReadError
from blobdir.moving import fetch
from blobdir.sources import RemoteOptions, backend, open_storage, retries

BIG, SMALL, IMAGE = "notes/big.bin", "notes/small.txt", "train/img/1.jpg"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root, head, of_heads, total, is_tagged, asked = "", 200, "", True, True, []

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def say(self, status, data, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_GET(self):
        path = urllib.parse.unquote(self.path)
        full = self.root + path
        self.asked.append((self.command, path))
        if self.command == "HEAD" and self.head != 200 and re.search(self.of_heads, path):
            return self.say(self.head, b"")
        if os.path.isdir(full):
            names = [name + "/" * os.path.isdir(f"{full}/{name}") for name in sorted(os.listdir(full))]
            links = "".join(f'<a href="{urllib.parse.quote(name)}">{name}</a>\n' for name in names)
            page = f"<html><title>Index of {path}</title><body>{links}</body></html>".encode()
            return self.say(200, page, Content_Type="text/html")
        if not os.path.isfile(full):
            return self.say(404, b"")
        with open(full, "rb") as file:
            data = file.read()
        told = {"Content_Type": "application/octet-stream"}
        told["Last_Modified"] = formatdate(os.stat(full).st_mtime, usegmt=True)
        if self.is_tagged:
            told["ETag"] = f'"{hash(data)}"'
        if found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            low, high = int(found[1]), min(int(found[2]) + 1, len(data))
            if low >= len(data):
                return self.say(416, b"", Content_Range=f"bytes */{len(data)}")
            total = len(data) if self.total else "*"
            return self.say(206, data[low:high], Content_Range=f"bytes {low}-{high - 1}/{total}", **told)
        return self.say(200, data, **told)


@pytest.fixture
def web(tmp_path, monkeypatch):
    """(folder that is served, URL)."""
    monkeypatch.setattr(retries, "PAUSE_S", 0.01)
    monkeypatch.setattr(retries, "LONGEST_PAUSE_S", 0.1)
    monkeypatch.setattr(backend, "FIRST_TRIES", 2)
    monkeypatch.setenv("BLOBDIR_CACHE_DIR", str(tmp_path / "cache"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *args: None  # bodies that nobody reads
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    root = make_project(tmp_path / "www", {f"train/img/{n}.jpg": str(n).encode() * 600 for n in range(9)})
    (root / "notes").mkdir()
    (root / BIG).write_bytes(os.urandom(700_000))
    (root / SMALL).write_bytes(b"hello")
    for name, value in {"root": str(root), "head": 200, "of_heads": "", "total": True, "is_tagged": True}.items():
        monkeypatch.setattr(Handler, name, value)
    monkeypatch.setattr(Handler, "asked", [])
    yield root, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def opened(url, timeout=5):
    return blobdir.open_project(url, index="none", cache_size=0, memory_size=0, timeout=timeout)


def heads():
    return sum(command == "HEAD" for command, _ in Handler.asked)


REFUSALS = [400, 403, 404, 405, 406, 410, 418, 422, 451, 501]
"""What servers that serve files say to a HEAD."""


@pytest.mark.parametrize("total", [True, False], ids=["", "no total"])
@pytest.mark.parametrize("head", REFUSALS)
def test_who_refuses_head_still_has_the_files(web, tmp_path, monkeypatch, head, total):
    monkeypatch.setattr(Handler, "head", head)
    monkeypatch.setattr(Handler, "total", total)
    project = opened(web[1])
    assert project.defects == []
    filesystem = project.filesystem
    assert filesystem.cat_file(IMAGE) == b"1" * 600
    for path in (BIG, SMALL):
        data = (web[0] / path).read_bytes()
        assert filesystem.size(path) == len(data)
        assert filesystem.open(path).read() == filesystem.cat_file(path) == data
        assert filesystem.cat_file(path, 3, -1) == data[3:-1]
    fetch(web[1], tmp_path / "got", remote=RemoteOptions(timeout=5))
    assert (tmp_path / "got" / BIG).read_bytes() == (web[0] / BIG).read_bytes()


@pytest.mark.parametrize("head", REFUSALS)
def test_no_head_is_sent_to_who_has_refused_one(web, monkeypatch, head):
    monkeypatch.setattr(Handler, "head", head)
    storage = open_storage(web[1])
    assert storage.stat(SMALL).size == 5
    assert heads() == 1
    assert storage.stat(BIG).size == 700_000
    with pytest.raises(FileNotFoundError):
        storage.stat("notes/none")
    assert heads() == 1
    assert Handler.asked.count(("GET", f"/{BIG}")) == Handler.asked.count(("GET", "/notes/none")) == 1


def test_what_is_missing_is_asked_for_twice_until_a_head_has_been_answered(web):
    storage = open_storage(web[1])
    for known, commands in ((False, ["HEAD", "GET"]), (False, ["HEAD", "GET"]), (True, ["HEAD"])):
        if known:
            assert storage.stat(SMALL).size == 5
        Handler.asked.clear()
        with pytest.raises(FileNotFoundError):
            storage.stat("notes/none")
        assert [command for command, _ in Handler.asked] == commands
        assert storage.stat_many(["notes/none"]) == {}


@pytest.mark.parametrize("head", [400, 403, 405, 501])
def test_a_head_that_is_refused_of_some_files(web, monkeypatch, head):
    """It's known of others that they're answered."""
    monkeypatch.setattr(Handler, "of_heads", "big")
    monkeypatch.setattr(Handler, "head", head)
    storage = open_storage(web[1])
    for _ in range(2):
        assert (storage.stat(SMALL).size, storage.stat(BIG).size) == (5, 700_000)


@pytest.mark.parametrize("head", [401, 407])
def test_who_must_say_who_he_is_must_do_so_by_get_too(web, monkeypatch, head):
    monkeypatch.setattr(Handler, "head", head)
    with pytest.raises(ReadError, match=str(head)):
        open_storage(web[1]).stat(SMALL)
    assert Handler.asked == [("HEAD", f"/{SMALL}")]


@pytest.mark.parametrize("head", REFUSALS)
def test_a_file_that_is_a_folder_as_well(web, monkeypatch, head):
    """It's looked for without being led on, by HEAD or else by GET."""
    monkeypatch.setattr(Handler, "head", head)
    storage = open_storage(web[1])
    for total in (True, False):
        monkeypatch.setattr(Handler, "total", total)
        for path, size in ((SMALL, 5), ("notes/none", -1)):
            assert storage.backend.run(storage.backend.is_file(storage.full(path), path), path) == size
