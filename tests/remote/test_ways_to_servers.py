"""How servers are reached: by addresses with colons in them, and through the proxy that the environment names."""

from __future__ import annotations

import base64
import functools
import http.server
import socket
import threading

import fsspec
import pytest
from changes.samples import packed, picture

import blobdir
from blobdir.cli.app import run
from blobdir.errors import ReadError, UsageError
from blobdir.moving import fetch
from blobdir.sources.config import storage_options
from blobdir.sources.places import without_short_hosts

PROXY = "http://proxy.example:3128"


class Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    asked: list[str]

    def do_GET(self):
        self.asked.append(self.path)
        self.path = self.path.removeprefix("http://blobdir.invalid")  # what a proxy is asked for is a whole URL
        super().do_GET()

    def do_HEAD(self):
        self.asked.append(self.path)
        self.path = self.path.removeprefix("http://blobdir.invalid")
        super().do_HEAD()

    def log_message(self, *args):
        pass


@pytest.fixture
def root(tmp_path):
    return packed(tmp_path / "p", {f"train/{number}.png": picture(number) for number in range(3)})


@pytest.fixture
def serve(root):
    servers = []

    def serve(host):
        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            daemon_threads = True

        handler = type("Handler", (Quiet,), {"asked": []})
        server = Server((host, 0), functools.partial(handler, directory=str(root)))
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return server.server_port, handler.asked

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("url", "full"),
    [
        ("http://[::1]:80/p", "http://[0:0:0:0:0:0:0:1]:80/p"),
        ("http://[2001:DB8::1:2]/p", "http://[2001:db8:0:0:0:0:1:2]/p"),
        ("https://user:pass@[fe80::1]/p", "https://user:pass@[fe80:0:0:0:0:0:0:1]/p"),
        ("simplecache::http://[::]:1/p", "simplecache::http://[0:0:0:0:0:0:0:0]:1/p"),
        ("blobdir://t/a[::1].png::http://[::1]/p", "blobdir://t/a[::1].png::http://[0:0:0:0:0:0:0:1]/p"),
        ("http://[::1::2]/p", "http://[::1::2]/p"),
        ("/data/[::1]/p", "/data/[::1]/p"),
        ("s3://bucket/[::1]/p", "s3://bucket/[::1]/p"),
    ],
)
def test_addresses_in_full(url, full):
    assert without_short_hosts(url) == full


def has_ipv6():
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.platform
@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_server_with_colons_in_its_address(root, serve, tmp_path, capsys):
    port, _ = serve("::1")
    url = f"http://[::1]:{port}"
    picked = picture(1)
    assert blobdir.open_project(url)["train"].get_blob_img_bytes("1.png") == picked
    assert fsspec.filesystem("blobdir", fo=url, skip_instance_cache=True).cat_file("train/img/1.png") == picked
    fetch(url, tmp_path / "fetched")
    assert (tmp_path / "fetched/meta.json").read_bytes() == (root / "meta.json").read_bytes()
    for place in (url, f"{url}/", f"simplecache::{url}", f"blobdir://::{url}"):
        assert run(["ls", place]) == 0
        assert "meta.json" in capsys.readouterr().out
    assert run(["cp", "-q", f"{url}/train/img/1.png", str(tmp_path / "1.png")]) == 0
    assert (tmp_path / "1.png").read_bytes() == picked


@pytest.mark.parametrize("chain", ["", "simplecache::"])
def test_through_a_proxy(serve, monkeypatch, chain, tmp_path):
    port, asked = serve("127.0.0.1")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("default login me password secret\n")
    headers = {"client_kwargs": {"headers": {"Authorization": "Bearer token"}}}
    project = blobdir.open_project(
        f"{chain}http://blobdir.invalid", storage_options={"http": headers} if chain else headers
    )
    assert project["train"].get_blob_img_bytes("1.png") == picture(1)
    assert asked
    assert all(one.startswith("http://blobdir.invalid/") for one in asked)


def test_servers_here_need_no_proxy(serve, monkeypatch):
    port, _ = serve("127.0.0.1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert blobdir.open_project(f"http://127.0.0.1:{port}")["train"].get_blob_img_bytes("1.png") == picture(1)


@pytest.mark.parametrize(
    ("url", "given", "expected"),
    [
        ("http://a.example/p", None, {"client_kwargs": {"proxy": PROXY}}),
        ("http://a.example/p", {"client_kwargs": {"proxy": None}}, {"client_kwargs": {"proxy": None}}),
        ("http://a.example/p", {"x": 1}, {"x": 1, "client_kwargs": {"proxy": PROXY}}),
        ("filecache::http://a.example/p", {"y": 2}, {"y": 2, "http": {"client_kwargs": {"proxy": PROXY}}}),
        ("http://b.example/p", None, {}),
        ("https://a.example/p", None, {}),
        ("http://localhost/p", None, {}),
        ("http://127.1.2.3/p", None, {}),
        ("http://[0:0:0:0:0:0:0:1]/p", None, {}),
        ("s3://a.example/p", None, {}),
        ("/data/p", None, {}),
        ("http://[/p", None, {}),
    ],
)
@pytest.mark.parametrize("said", [PROXY, PROXY.removeprefix("http://")])
def test_who_is_asked_through_a_proxy(monkeypatch, url, given, expected, said):
    for name in ("https_proxy", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", said)
    monkeypatch.setenv("no_proxy", "b.example")
    assert storage_options(url, given) == expected


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({"all_proxy": PROXY}, PROXY),
        ({"all_proxy": PROXY, "http_proxy": "http://other:1"}, "http://other:1"),
        ({"all_proxy": "socks5://other:1"}, ""),
        ({"all_proxy": PROXY, "no_proxy": "a.example"}, ""),
        ({"http_proxy": PROXY, "no_proxy": "a.example:80"}, ""),
        ({"http_proxy": PROXY, "no_proxy": "a.example:81"}, PROXY),
        ({"http_proxy": PROXY, "no_proxy": "*"}, ""),
    ],
)
def test_other_ways_to_name_a_proxy(monkeypatch, environment, proxy):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = storage_options("http://a.example/p", None)
    assert found == ({"client_kwargs": {"proxy": proxy}} if proxy else {})


def test_proxies_that_cannot_be_used(serve, monkeypatch):
    monkeypatch.setenv("http_proxy", "socks5://me:secret@127.0.0.1:9")
    with pytest.raises(UsageError, match=r"http_proxy: socks5://…@127.0.0.1:9 isn't a proxy of the kind http://"):
        blobdir.open_project("http://blobdir.invalid/p")
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    with pytest.raises(ReadError, match="that is the proxy, which http_proxy") as caught:
        blobdir.open_project("http://blobdir.invalid/p", timeout=2)
    assert "secret" not in str(caught.value)
    monkeypatch.setattr(Quiet, "do_GET", lambda self: self.send_error(407))
    port, _ = serve("127.0.0.1")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    with pytest.raises(ReadError, match="407.*that is the proxy, which http_proxy"):
        blobdir.open_project("http://blobdir.invalid/p", timeout=2)


@pytest.mark.parametrize(
    ("user", "status", "said"),
    [
        ("", 403, "lists no folders: an index beside the project .* makes lists needless"),
        ("", 401, "the credentials are missing, wrong or expired"),
        ("me:пароль@", 403, "has letters that can't be sent so: give them as a header"),
    ],
)
def test_what_helps_is_said(serve, monkeypatch, user, status, said):
    monkeypatch.setattr(Quiet, "list_directory", lambda self, path: self.send_error(status))
    port, _ = serve("127.0.0.1")
    with pytest.raises(ReadError, match=said):
        blobdir.open_project(f"http://{user}127.0.0.1:{port}")


def test_a_header_has_any_letters(serve, monkeypatch):
    """As is advised."""
    seen, real = [], Quiet.do_GET

    def get(self):
        seen.append(self.headers.get("Authorization"))
        real(self)

    monkeypatch.setattr(Quiet, "do_GET", get)
    port, _ = serve("127.0.0.1")
    header = "Basic " + base64.b64encode("me:пароль".encode()).decode()
    options = {"client_kwargs": {"headers": {"Authorization": header}}}
    assert blobdir.open_project(f"http://127.0.0.1:{port}", storage_options=options)["train"].names
    assert {*seen} == {header}
