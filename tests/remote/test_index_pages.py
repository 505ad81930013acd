"""Index pages that link to themselves, and to the page above."""

from __future__ import annotations

import http.server
import os
import threading
import urllib.parse

import pytest
from project_factory import make_project

from blobdir import open_project

LINKS = ["./", "../", ".", "%2e/", "./?C=N;O=D", "././"]


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
def test_pages_that_link_to_themselves(tmp_path, link):
    make_project(tmp_path / "data/p", {"train/img/a.jpg": b"a" * 100})
    pages = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def list_directory(self, path):
            pages.append(urllib.parse.unquote(self.path))
            names = [name + "/" * os.path.isdir(os.path.join(path, name)) for name in os.listdir(path)]
            links = "".join(f'<a href="{name}">{name}</a> ' for name in [link, *names])
            body = f"<html><body>{links}</body></html>".encode()
            self.send_response(200 if len(pages) < 50 else 503)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: Handler(*args, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/data/p"
        assert list(open_project(url, index="none", cache_size=0, timeout=5)["train"].names) == ["a.jpg"]
        assert len(pages) < 10
    finally:
        server.shutdown()
        server.server_close()
