"""Web servers that refuse HEAD in their own ways, and such that don't say how many bytes a file has."""

import contextlib
import http.server
import os
import re
import threading
import time
import urllib.parse
from email.utils import formatdate

import pytest
from project_factory import make_project

import blobdir
from blobdir.cli.app import run
from blobdir.errors import ReadError, SourceChangedError
from blobdir.mounting import MountOptions
from blobdir.moving import fetch
from blobdir.sources import RemoteOptions, Stat, backend, open_storage, retries
from blobdir.testing.deadline import Deadline

BIG, SMALL, IMAGE = "notes/big.bin", "notes/small.txt", "train/img/1.jpg"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root, head, of_heads, total, is_tagged, asked = "", 200, "", True, True, []
    says_etag = staticmethod(lambda is_head, is_part: True)

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
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if self.is_tagged and self.says_etag(self.command == "HEAD", bool(found)):
            told["ETag"] = f'"{hash(data)}"'
        if found:
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


def later(path, ns=60 * 10**9):
    os.utime(path, ns=(os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns + ns))


def in_parts(file):
    return iter(lambda: file.read(99_999), b"")


WAYS = {
    "cat_file": lambda fs, _: fs.cat_file(BIG),
    "a part": lambda fs, _: b"".join(fs.cat_file(BIG, at, at + 300_000) for at in range(0, 700_000, 300_000)),
    "from the end": lambda fs, _: fs.cat_file(BIG, -(10**9), None),
    "open": lambda fs, _: fs.open(BIG).read(),
    "open, in parts": lambda fs, _: b"".join(in_parts(fs.open(BIG, block_size=99_999))),
    "get_file": lambda fs, place: fs.get_file(BIG, str(place / "got")) or (place / "got").read_bytes(),
    "get": lambda fs, place: (
        fs.get("notes", str(place / "all"), recursive=True) or (place / "all/big.bin").read_bytes()
    ),
}


@pytest.mark.parametrize("is_tagged", [True, False], ids=["etag", "time"])
@pytest.mark.parametrize("head", [200, 404])
@pytest.mark.parametrize("way", WAYS)
def test_a_large_file_whose_parts_do_not_say_how_long_it_is(web, tmp_path, monkeypatch, way, head, is_tagged):
    for name, value in {"total": False, "is_tagged": is_tagged, "head": head}.items():
        monkeypatch.setattr(Handler, name, value)
    assert WAYS[way](opened(web[1]).filesystem, tmp_path) == (web[0] / BIG).read_bytes()


@pytest.mark.parametrize("is_tagged", [True, False], ids=["etag", "time"])
@pytest.mark.parametrize("size", [300_000, 700_000, 900_000])
def test_one_that_was_replaced(web, monkeypatch, size, is_tagged):
    for name, value in {"total": False, "is_tagged": is_tagged}.items():
        monkeypatch.setattr(Handler, name, value)
    filesystem = opened(web[1]).filesystem
    file = filesystem.open(BIG, block_size=1000, cache_type="none")
    assert filesystem.cat_file(BIG, -5, None) == (web[0] / BIG).read_bytes()[-5:]
    new = os.urandom(size)
    (web[0] / BIG).write_bytes(new)
    later(web[0] / BIG)
    file.seek(1000)
    with pytest.raises(SourceChangedError, match=re.escape(BIG)):
        file.read(5)
    assert filesystem.cat_file(BIG, -5, None) == new[-5:]
    assert filesystem.open(BIG).read() == new


@pytest.mark.parametrize("total", [True, False], ids=["", "no total"])
@pytest.mark.parametrize("is_tagged", [True, False], ids=["etag", "time"])
def test_a_blob_of_a_copied_index_is_of_the_version_that_is_read_first(web, monkeypatch, is_tagged, total):
    """An index that came with a copy knows sizes only. One version is read, or there's an error."""
    root, url = web
    (blob,), names = root.glob("blob/*.tar"), [f"train/img/{n}.jpg" for n in range(9)]
    assert run(["index", "-q", "--beside", str(root)]) == 0
    old = blob.read_bytes()
    os.utime(blob, (1_600_000_000, 1_600_000_000))
    for name, value in {"total": total, "is_tagged": is_tagged}.items():
        monkeypatch.setattr(Handler, name, value)
    filesystem = blobdir.open_project(url, cache_size=0, memory_size=0, timeout=5).filesystem
    file = filesystem.open(names[1])
    assert filesystem.cat(names[0]) == b"0" * 600
    blob.write_bytes(old.replace(b"1" * 600, b"x" * 600))
    later(blob)
    for read in (lambda: filesystem.cat(names[1]), lambda: filesystem.cat(names), file.read):
        with pytest.raises(SourceChangedError, match=re.escape(blob.name)):
            read()


ETAGS = {
    "everywhere": lambda is_head, is_part: True,
    "nowhere": lambda is_head, is_part: False,
    "of HEAD": lambda is_head, is_part: is_head,
    "of whole files": lambda is_head, is_part: not is_part and not is_head,
    "not of parts": lambda is_head, is_part: not is_part,
    "of parts": lambda is_head, is_part: is_part,
}
"""Which answers say the version, where all say the time."""


@pytest.mark.parametrize(
    ("etags", "total", "head"),
    [*((etags, True, 200) for etags in ETAGS), ("nowhere", False, 404), ("of parts", False, 200)],
)
@pytest.mark.parametrize("engine", ["native", "fusepy"])
def test_a_mount_of_such_a_server(web, tmp_path, monkeypatch, engine, head, total, etags):
    monkeypatch.setenv("BLOBDIR_STATE_DIR", str(tmp_path / "state"))
    for name, value in {"total": total, "says_etag": staticmethod(ETAGS[etags]), "head": head}.items():
        monkeypatch.setattr(Handler, name, value)
    (place := tmp_path / "mnt").mkdir()
    options = MountOptions(engine=engine, workers=2, remote=RemoteOptions(tmp_path / "cache"))
    with Deadline(60, tmp_path), blobdir.mount(web[1], place, options=options):
        old = (web[0] / BIG).read_bytes()
        for _ in range(2):
            assert (place / BIG).read_bytes() == old
            assert (place / SMALL).read_bytes() == b"hello"
            time.sleep(1.1)  # its version is asked for again
        assert (place / IMAGE).read_bytes() == b"1" * 600
        (web[0] / BIG).write_bytes(new := os.urandom(900_000))
        later(web[0] / BIG)
        found = []
        for _ in range(40):
            with contextlib.suppress(OSError):
                found.append((place / BIG).read_bytes())
            time.sleep(0.05)
        assert set(found) <= {old, new}
        assert found[-1] == new


LOCAL = {"inode": 5, "ctime_ns": 9}
VERSIONS = [
    ({}, {}, True, True),
    ({"size": 9}, {"size": 9}, True, True),
    ({"size": 9}, {"size": 8}, False, False),
    ({"size": 9}, {"size": -1}, True, True),
    ({"size": 9, "mtime_ns": 5}, {"size": -1, "mtime_ns": 5}, True, True),
    ({"size": 9, "mtime_ns": 5}, {"size": -1, "mtime_ns": 5 * 10**9}, False, False),
    ({"size": 9, "mtime_ns": 5}, {"size": 9}, True, False),
    ({"size": 9, "mtime_ns": 1_500_000_000}, {"size": 9, "mtime_ns": 1_000_000_000}, True, True),
    ({"size": 9, "mtime_ns": 1_500_000_000}, {"size": 9, "mtime_ns": 1_600_000_000}, False, False),
    ({"size": 9, "mtime_ns": 5, "etag": "1"}, {"size": -1, "mtime_ns": 5 * 10**9, "etag": "1"}, True, True),
    ({"size": 9, "etag": "1"}, {"size": 8, "etag": "1"}, False, False),
    ({"size": 9, "etag": "1"}, {"size": 9, "etag": "2"}, False, False),
    ({"size": 9, "etag": "1"}, {"size": 9, "mtime_ns": 5}, True, False),
    ({"size": 9, "mtime_ns": 5, **LOCAL}, {"size": 9, "mtime_ns": 5}, True, True),
    ({"size": 9, "mtime_ns": 5}, {"size": 9, "mtime_ns": 5, **LOCAL}, True, True),
    ({"size": 9, "mtime_ns": 0, **LOCAL}, {"size": 9, "mtime_ns": 0, **LOCAL}, True, True),
    ({"size": 9, "mtime_ns": 0, **LOCAL}, {"size": 9, "mtime_ns": 5, **LOCAL}, False, False),
    ({"size": 9, "mtime_ns": 1_500_000_000}, {"size": 9, "mtime_ns": 1_000_000_000, **LOCAL}, False, False),
    ({"size": 9, "mtime_ns": 5, **LOCAL}, {"size": 9, "mtime_ns": 5, "inode": 6, "ctime_ns": 8}, False, False),
    ({"size": 9, "mtime_ns": 5, **LOCAL}, {"size": 9, "mtime_ns": 5, "inode": 6, "ctime_ns": 9}, True, True),
    ({"size": -1, "mtime_ns": 5}, {"size": 9, "mtime_ns": 5, **LOCAL}, False, False),
]  # fmt: skip


@pytest.mark.parametrize(("then", "now", "may_be", "is_same"), VERSIONS)
def test_what_tells_versions_apart(then, now, may_be, is_same):
    a, b = Stat("file", **then), Stat("file", **now)
    assert (not a.difference(b), a.same_content(b)) == (may_be, is_same)
    is_told = bool((a.etag and b.etag) or (a.mtime_ns and b.mtime_ns))
    assert a.is_surely(b) == (is_same and is_told)
