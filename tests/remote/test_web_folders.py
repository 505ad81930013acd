"""Web servers that name folders without a slash: the folders are found, or it's said that they can't be."""

import http.server
import os
import shutil
import threading
import typing
import urllib.parse

import pytest
from folder_bucket import files
from project_factory import make_project

import blobdir
from blobdir.errors import IncompleteListingError, ReadError
from blobdir.moving import fetch
from blobdir.sources.webindex import in_doubt, read_page

LINES = {
    "aiohttp": "<li><a href='{path}{name}'>{name}</a></li>",
    "mini_httpd": '<a href="{name}">{name}</a>  2026-01-01 1\n',
    "uhttpd": "<li><strong><a href='{path}{name}'>{name}</a>{end}</strong></li>",
    "serve-index": '<li><a href="{path}{name}" class="icon" title="{name}">{name}</a></li>',
    "Go, links to folders": '<a href="{name}{slash}">{name}{slash}</a>\n',
}
LEADS_ON = ("mini_httpd", "uhttpd", "serve-index", "Go, links to folders")
"""Those that lead from the name of a folder to the one with a slash; the others give the list at either."""


class Handler(http.server.SimpleHTTPRequestHandler):
    root, style, asked = "", "", []
    heads = True
    slashed: typing.ClassVar = {}  # what a file's name with a slash is answered with

    def __init__(self, *args, **kwargs):
        super().__init__(*args, directory=Handler.root, **kwargs)

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        if self.heads:
            super().do_HEAD()
        else:
            self.send_error(405)

    def send_head(self):
        path = urllib.parse.unquote(self.path)
        Handler.asked.append((self.command, path))
        full = self.root + path
        if self.slashed and path.endswith("/") and os.path.isfile(full.rstrip("/")):
            return self.send_error(self.slashed["status"])
        if not os.path.isdir(full):
            return super().send_head()
        if not path.endswith("/") and self.style in LEADS_ON:
            return super().send_head()
        if os.path.isfile(f"{full}/index.html"):
            self.path = f"{self.path.rstrip('/')}/index.html"
            return super().send_head()
        return self.list_directory(full)

    def guess_type(self, path):
        return "" if self.slashed else super().guess_type(path)

    def list_directory(self, path):
        base = urllib.parse.unquote(self.path).rstrip("/") + "/"
        lines = []
        for name in sorted(os.listdir(path)):
            at = f"{path}/{name}"
            slash = "/" if os.path.isdir(at) and not os.path.islink(at) else ""
            end = "/" if os.path.isdir(at) else ""
            quoted = urllib.parse.quote
            lines.append(LINES[self.style].format(path=quoted(base), name=quoted(name), slash=slash, end=end))
        page = f"<html><title>Index of {base}</title><body>{''.join(lines)}</body></html>".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(page)


@pytest.fixture
def web(tmp_path, monkeypatch):
    """(folder that is served, URL)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *args: None  # bodies that nobody reads
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    paths = {f"{place}/img/{n}.jpg": b"1" * 600 for place in ("train", "train/datasets/a b&c#1", "v1.0") for n in "12"}
    root = make_project(tmp_path / "www", paths)
    (tmp_path / "kept").mkdir()
    (root / "train/ann").mkdir()
    (root / "train/ann/1.jpg.json").write_text("{}")
    for path in ("train/datasets", "v1.0"):
        os.rename(root / path, tmp_path / "kept" / os.path.basename(path))
        (root / path).symlink_to(tmp_path / "kept" / os.path.basename(path))
    for name in ("LICENSE", "page", "SHA256SUMS.asc"):
        (root / "train" / name).write_text("x" * 600)
    monkeypatch.setattr(Handler, "root", str(root))
    monkeypatch.setattr(Handler, "asked", [])
    monkeypatch.setattr(Handler, "heads", True)
    yield root, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("heads", [True, False], ids=["", "no HEAD"])
@pytest.mark.parametrize("style", LINES)
def test_every_folder_is_found(web, tmp_path, monkeypatch, style, heads):
    monkeypatch.setattr(Handler, "style", style)
    monkeypatch.setattr(Handler, "heads", heads)
    project = blobdir.open_project(web[1], index="none", cache_size=0)
    assert [d.code for d in project.defects] == []
    assert list(project) == ["train", "train/a b&c#1", "v1.0"]
    assert project.filesystem.isfile("train/LICENSE")
    if heads:
        assert not [path for _, path in Handler.asked if path.endswith((".jpg", ".json/", ".tar/", ".pkl/", "SE/"))]
    fetch(web[1], tmp_path / "got")
    shutil.copytree(web[0], tmp_path / "without-links")
    assert files(tmp_path / "got") == files(tmp_path / "without-links")


@pytest.mark.parametrize("status", [400, 404, 405, 406, 409, 410, 414, 418])
def test_a_server_that_refuses_the_name_of_a_file_with_a_slash(web, monkeypatch, status):
    monkeypatch.setattr(Handler, "style", "aiohttp")
    monkeypatch.setattr(Handler, "slashed", {"status": status})
    project = blobdir.open_project(web[1], index="none", cache_size=0)
    assert [d.code for d in project.defects] == []
    assert project.filesystem.isfile("train/LICENSE") and project.filesystem.cat("train/LICENSE") == b"x" * 600


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_says_no_to_everybody_is_no_file(web, monkeypatch, status):
    monkeypatch.setattr(Handler, "style", "aiohttp")
    monkeypatch.setattr(Handler, "slashed", {"status": status})
    with pytest.raises(OSError, match=r"LICENSE|SHA256SUMS|page"):
        blobdir.open_project(web[1], index="none", cache_size=0).filesystem.find("")


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
@pytest.mark.parametrize("folder", ["train/ann", "v1.0", "train/datasets"])
@pytest.mark.parametrize("style", LINES)
def test_a_folder_that_can_not_be_told_is_a_defect(web, tmp_path, monkeypatch, style, folder):
    monkeypatch.setattr(Handler, "style", style)
    (web[0] / folder / "index.html").write_text("<html><h1>Our lemons</h1></html>")
    project = blobdir.open_project(web[1], index="none", cache_size=0)
    defects = {d.path: str(d) for d in project.defects if d.code == "folder-unreadable"}
    assert list(defects) == [folder]
    assert ("whether it's a file or a folder" in defects[folder]) is (style == "aiohttp")
    with pytest.raises(IncompleteListingError):
        project.filesystem.ls(folder)
    with pytest.raises(OSError, match=folder):
        fetch(web[1], tmp_path / "got")
    assert not (tmp_path / "got").exists()


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
def test_too_many_names_that_may_be_folders_are_a_defect(web, tmp_path, monkeypatch):
    monkeypatch.setattr(Handler, "style", "aiohttp")
    monkeypatch.setattr("blobdir.sources.listing.ASKED", 40)
    for number in range(50):
        (web[0] / "train/ann" / f"{number}").write_text("x")
    project = blobdir.open_project(web[1], index="none", cache_size=0)
    assert [(d.code, d.path) for d in project.defects] == [("folder-unreadable", "train/ann")]
    assert "more than 40" in str(project.defects[0])
    assert list(project) == ["train", "train/a b&c#1", "v1.0"]
    with pytest.raises(OSError, match="train/ann"):
        fetch(web[1], tmp_path / "got")
    for number in range(50):
        (web[0] / f"{number}").write_text("x")
    with pytest.raises(ReadError, match="more than 40"):
        blobdir.open_project(web[1], index="none", cache_size=0)


def test_a_link_on_the_server_that_goes_in_circles(web, monkeypatch):
    monkeypatch.setattr(Handler, "style", "aiohttp")
    (web[0] / "loop").symlink_to(".")
    with pytest.raises(ReadError, match="circles"):
        blobdir.open_project(web[1], index="none")


def test_names_in_doubt():
    names = ["blob", "img", "masks_x", "datasets", "v1.0", "LICENSE", "x.tar", "a.JPG", "a.png.json", "more/"]
    few = read_page("".join(f"<a href='{name}'>x</a>" for name in names), "http://host/p/")
    assert in_doubt(few, tells=True) == in_doubt(few, tells=False) == names[:6]
    many = read_page("".join(f"<a href='{name}'>x</a>" for name in [*names, *map(str, range(100))]), "http://host/p/")
    assert in_doubt(many, tells=True) == names[:4]
    assert len(in_doubt(many, tells=False)) == 106
