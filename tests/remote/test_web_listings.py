"""Folders as web servers list them: every name is there, what is no name isn't, and what has no end is an error."""

import html
import http.server
import os
import shutil
import threading
import time
import urllib.parse

import pytest
from blob_builder import Builder
from folder_bucket import files

import blobdir
from blobdir.errors import BlobdirWarning, IncompleteListingError, NotAProjectError, ReadError
from blobdir.moving import fetch
from blobdir.sources import webindex
from blobdir.sources.webindex import read_page, why_no_list

BASE = "http://me:pw@host:80/a%20b/p/"
NAMES = (
    "httpd.json", "http.json", "https:x.json", "http-icons/x.json", "http:/x.json", "c:d.json", "what?.json",
    "a#b.json", "50%.json", "%41.json", "two words.json", "a&amp;b.json", "'\".json", "é.json", "?C=N;O=D.json",
    "#top", "x;y=z", "a#b/c?.json", "%41#?.json", "index.html", "Parent Directory", "...", "..dots/x.json",
)  # fmt: skip


def quoted(name):
    return urllib.parse.quote(name)


STYLES = {
    "relative": lambda path, name: quoted(name),
    "dotted": lambda path, name: f"./{quoted(name)}",
    "absolute": lambda path, name: quoted(f"{path}{name}"),
    "url": lambda path, name: f"http://127.0.0.1:{Server.port}{quoted(path + name)}",
    "no marks": lambda path, name: urllib.parse.quote(name, safe="?#/:;=&'\" ()"),
    "no marks, absolute": lambda path, name: urllib.parse.quote(f"{path}{name}", safe="?#/:;=&'\" ()"),
    "little": lambda path, name: urllib.parse.quote(name, safe="/:;=&'\" ()"),
}
"""How servers write links."""


class Server(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root, port = "", 0
    style = staticmethod(STYLES["relative"])
    shown = staticmethod(lambda name: name)
    odd = {}  # noqa: RUF012  # path -> what answers it

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = urllib.parse.unquote(self.path.partition("?")[0])
        full = Server.root + path
        for start, answer in Server.odd.items():
            if path.startswith(start):
                return answer(self, path)
        if os.path.isdir(full) and path.endswith("/"):
            return self.answer(self.page(path, full).encode(), "text/html; charset=utf-8")
        if not os.path.isfile(full):
            return self.answer(b"", status=404)
        with open(full, "rb") as file:
            return self.answer(file.read())

    def page(self, path, full):
        names = [f"{name}{'/' * os.path.isdir(f'{full}/{name}')}" for name in sorted(os.listdir(full))]
        links = "".join(
            f'<A class="x>y" HREF="{html.escape(self.style(path, n))}">{html.escape(self.shown(n))}</A>\n'
            for n in names
        )
        return (
            '<html><a name="top"><a href="?C=N;O=D">Name</a><a href="?C=M&amp;O=A">Date</a><a href="#top">Top</a>'
            f'<a href="../">Parent</a><a href="./">.</a><a href="{quoted(path)}?C=S">Size</a><a href="/">Home</a>'
            f'<a href="http://elsewhere/x.json">x</a><a href="mailto:me@host">me</a>{links}</html>'
        )

    def answer(self, data, kind="application/octet-stream", status=200):
        self.send_response(status)
        low, high = 0, len(data)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(high - low))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def endless(self, path):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.close_connection = True
        try:
            for number in range(1 << 40):
                self.wfile.write(b"".join(b'<a href="%d-%d.json">x</a>' % (number, i) for i in range(5000)))
        except OSError:
            pass


@pytest.fixture
def web(tmp_path, monkeypatch):
    """(folder that is served, URL)."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    (tmp_path / "www").mkdir()
    monkeypatch.setattr(Server, "root", str(tmp_path / "www"))
    monkeypatch.setattr(Server, "port", server.server_address[1])
    monkeypatch.setattr(Server, "odd", {})
    yield tmp_path / "www", f"http://127.0.0.1:{Server.port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def project(web):
    made = Builder(web[0] / "p")
    made.blob("train", "a", {"1.jpg": b"1" * 600, "2.jpg": b"2" * 600})
    made.blob("http-icons", "http", {"3.jpg": b"3" * 600})
    return made.root


HIDDEN = {
    "a comment": "<!-- {} -->",
    "a script": "<script>var row = '{}'</script>",
    "a comment in a script": "<script><!-- {} --></script>",
    "a script by its address": "<script src=/a/b/>document.write('{}')</script>",
    "a style": "<STYLE type='a'>{}</STYLE >",
    "a textarea": "<textarea name=x>{}</textarea>",
    "a template": "<template id=t>{}</template>",
    "a title": "<title>{}</title>",
}


@pytest.mark.parametrize("around", HIDDEN)
def test_links_that_no_browser_shows(around):
    page = HIDDEN[around].format("<a href='gone/'>x</a>")
    names = read_page(f"<html>{page}<a href='a.json'>a</a>{page}<a href='b/'>b</a></html>", BASE).names
    assert names == {"a.json": False, "b": True}


@pytest.mark.parametrize(
    "odd", ["<!-->", "<!--->", "<!-- x --!>", "<script src='a'/>", "<script src=a />", "<title/>", "<iframe src='a'/>"]
)
def test_what_is_empty_hides_nothing(odd):
    text = f"<html>{odd}<a href='a.json'>a</a><!-- x --><script>x</script><title>x</title><iframe></iframe></html>"
    assert read_page(text, BASE).names == {"a.json": False}


@pytest.mark.parametrize("odd", ["<!-->", "<!--->", "<!-- x --!>", "<script src='a'/>"])
def test_what_is_empty_is_no_end_of_the_page(odd):
    text = f"<h1>Index of /p</h1>{odd}<a href='a.json'>a</a>"
    assert why_no_list(text, read_page(text, BASE), BASE, BASE, is_whole=True) == ""


@pytest.mark.parametrize("begin", ["<textarea>", "<template>", "<title>", "<iframe>"])
def test_what_has_no_end_hides_nothing(begin):
    assert read_page(f"<html>{begin}<a href='a.json'>a</a></html>", BASE).names == {"a.json": False}


@pytest.mark.parametrize(
    ("link", "leads_on"),
    [
        ("<a href='?page=2'>", True),
        ("<a href='./?sort=name&amp;start=100'>", True),
        ("<a href='/a%20b/p/?marker=x.json'>", True),
        ("<a href='http://host:80/a%20b/p/?continuation-token=1%2F2'>", True),
        ("<a rel=next href='?q=7'>", True),
        ("<link rel='next' href='?q=7'>", True),
        ("<a class=x href='?q=7' id=n rel='nofollow next'>", True),
        ("<a href='?pageNo=3'>", True),
        ("<a href='?continuationToken=x'>", True),
        ("<a href='?page=1'>", False),
        ("<a rel=next href='/elsewhere/?q=7'>", False),
        ("<link rel=next href='/elsewhere/'>", False),
        ("<a href='?next=%2Flogin'>", False),
        ("<a href='?from=20240101'>", False),
        ("<a href='?after=x'>", False),
        ("<a href='?p=2'>", False),
        ("<a href='?C=N;O=D'>", False),
        ("<a href='?sort=size&amp;order=asc'>", False),
        ("<a href='../?page=2'>", False),
        ("<a href='https://behind:8080/a%20b/p/?page=2'>", True),
        ("<a href='index.php?page=2'>", True),
        ("<a href='http://elsewhere/other/?page=2'>", False),
        ("<a rel='nofollow next-door' href='?q=7'>", False),
    ],
)
def test_a_list_that_goes_on_elsewhere_is_not_whole(link, leads_on):
    text = f"<html><a href='a.json'>a</a>{link}x</a></html>"
    found = read_page(text, BASE)
    assert bool(found.leads_on) == leads_on
    assert ("only a part of the folder" in why_no_list(text, found, BASE, BASE)) == leads_on


def test_a_folder_that_is_listed_in_parts_is_an_error(web, project, tmp_path, monkeypatch):
    page = Server.page
    part = "</A>\n<a href='?page=2'>next</a></html>"
    monkeypatch.setattr(
        Server,
        "page",
        lambda self, path, full: page(self, path, full).replace("</html>", part if path == "/p/train/ann/" else ""),
    )
    os.makedirs(project / "train/ann", exist_ok=True)
    (project / "train/ann/1.jpg.json").write_text("{}")
    with pytest.warns(BlobdirWarning, match="only a part of the folder"):
        opened = blobdir.open_project(f"{web[1]}/p")
    with pytest.raises(IncompleteListingError, match="only a part of the folder"):
        opened.filesystem.ls("train/ann")
    with pytest.raises(ReadError, match="only a part of the folder"):
        fetch(f"{web[1]}/p", tmp_path / "copy")


def test_a_folder_that_is_listed_and_is_not_there(web, project, tmp_path, monkeypatch):
    page = Server.page
    monkeypatch.setattr(
        Server,
        "page",
        lambda self, path, full: page(self, path, full).replace("</html>", "<a href='again/'>x</a></html>"),
    )
    with pytest.raises(ReadError, match="the server's page leads to it, and it isn't there"):
        fetch(f"{web[1]}/p", tmp_path / "copy")


@pytest.mark.parametrize("style", list(STYLES))
def test_every_name_is_there(web, project, tmp_path, monkeypatch, style):
    monkeypatch.setattr(Server, "style", staticmethod(STYLES[style]))
    for name in NAMES:
        (project / "train/ann" / name).parent.mkdir(exist_ok=True)
        (project / "train/ann" / name).write_text(f'{{"of": "{len(name)}"}}')
    fetch(f"{web[1]}/p", tmp_path / "got", with_defects=True)
    assert files(tmp_path / "got") == files(project)
    assert list(blobdir.open_project(f"{web[1]}/p")) == ["http-icons", "train"]


@pytest.mark.parametrize(
    ("link", "name"),
    [
        ("http.png", "http.png"), ("https:a.png", "https:a.png"), ("a%20b", "a b"), ("a b", "a b"), (" a ", "a"),
        ("/a b/p/x.png", "x.png"), ("https://host:80/a%20b/p/x/", "x/"), ("//host:80/a%20b/p/x", "x"), ("50%", "50%"),
        ("HTTP://host:80/a%20b/p/x", "x"), ("&lt;x&gt;", "<x>"), ("s/t.png", "s/t.png"), ("x/../y", "y"),
        ("?C=N;O=D", ""), ("/a%20b/p/?C=N", ""), ("#x", ""), ("", ""), (".", ""), ("./", ""), ("../", ""), ("/", ""),
        ("..", ""), ("../../p/q", ""), ("/a%20b", ""), ("http://host:81/a%20b/p/x", ""), ("http://evil/a%20b/p/x", ""),
        ("a%2Fb", ""), ("a%00", ""), ("javascript:void(0)", ""), ("/a%20b/pp/x", ""), ("/a%20b/p/../x", ""),
    ],
)  # fmt: skip
def test_links(link, name):
    expected = {name.rstrip("/"): name.endswith("/")} if name else {}
    for attribute in (f'"{link}"', f"'{link}'", f'"{link}" title="href=no"'):
        found = read_page(f"<html><a  class='x>y' id=7\n href = {attribute} >x</a> <!-- href='no' -->", BASE)
        assert (found.names, found.unclear) == (expected, [])


@pytest.mark.parametrize("link", ["what?.json", "a#b.json"])
def test_names_that_a_server_does_not_escape_are_said(web, project, monkeypatch, link):
    monkeypatch.setattr(Server, "style", staticmethod(lambda path, name: name))
    monkeypatch.setattr(Server, "shown", staticmethod(lambda name: f"{name[:5]}..>"))
    (project / "train/ann" / link).write_text("{}")
    with pytest.warns(BlobdirWarning, match="must escape them"):
        blobdir.open_project(f"{web[1]}/p")
    assert read_page('<a href="a.json?raw=1">x</a><a href="a.json">a</a>', BASE).unclear == []


@pytest.mark.parametrize(
    ("link", "shown", "name"),
    [
        ("a#b.json", "a#b.json", "a#b.json"), ("what?.json", "what?.json", "what?.json"), ("#x", "#x", "#x"),
        ("/a%20b/p/?x", "?x", "?x"), ("a%20b#", "a b#", "a b#"), ("a#b/", "a#b/", "a#b/"), ("a#b/", "a#b", "a#b/"),
        ("a#b &amp; c", "a#b &#38; c", "a#b & c"), ("a.json?raw=1", "a.json", ""), ("?C=N;O=D", "Name", ""),
        ("#top", "Top", ""), ("a#b.json", "a#b..&gt;", ""), ("/a%20b/?x", "?x", ""), ("a#b", "", ""), ("a#b", "/", ""),
        ("?dir=/a%20b/p/x", "x", ""), ("/?dir=/a%20b/p/x", "x", ""), ("/a%20b/p/?dir=s/x", "x", ""), ("s/?x", "?x", ""),
    ],
)  # fmt: skip
def test_names_that_are_shown_need_no_escapes(link, shown, name):
    expected = {name.rstrip("/"): name.endswith("/")} if name else {}
    for more in ("", " title='x' class=\"y\"", "\n"):
        assert read_page(f"<li><a href='{link}'{more}>{shown}</a></li>", BASE).names == expected


def go_on(self, path):
    """Every folder has the same in it."""
    return self.answer(b'<a href="again/">x</a><a href="other/">x</a><a href="x.json">x</a>', "text/html")


def go_down(self, path):
    """Every folder has one more in it, of another name."""
    return self.answer(b'<a href="%d/">x</a>' % path.count("/"), "text/html")


def spread(self, path):
    return self.answer(b"".join(b'<a href="%d-%d/">x</a>' % (path.count("/"), i) for i in range(50)), "text/html")


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (go_on, "circles"),
        (go_down, "folders deep"),
        (spread, "more than 2,000 folders"),
        (Server.endless, "longer than"),
    ],
    ids=["circle", "deep", "many", "endless"],
)
def test_what_has_no_end(web, project, monkeypatch, answer, word):
    monkeypatch.setattr("blobdir.sources.listing.PAGES", 2000)
    monkeypatch.setattr("blobdir.sources.transports.web.PAGE_BYTES", 4 << 20)
    monkeypatch.setattr(Server, "odd", {"/p/train/ann/": answer})
    began = time.monotonic()
    with pytest.raises(ReadError, match=word):
        blobdir.open_project(f"{web[1]}/p", index="none")
    assert time.monotonic() - began < 60


def test_a_link_in_a_circle_on_the_server(web, project):
    (project / "loop").symlink_to(".")
    with pytest.raises(ReadError, match="circles"):
        blobdir.open_project(f"{web[1]}/p", index="none")


def test_folders_of_one_name_are_no_circle(web, project):
    (project / "train/a/a/a/a/a").mkdir(parents=True)
    for number, path in enumerate(sorted((project / "train/a").rglob("a"))):
        (path / f"{number}.txt").write_text("x")
    assert blobdir.open_project(f"{web[1]}/p", index="none").filesystem.exists("train/a/a/a/a/a/3.txt")


def test_what_is_no_page_is_said(web, project):
    Server.odd["/p/train/ann/"] = lambda self, path: self.answer(b"[]", "application/json")
    with pytest.warns(BlobdirWarning, match="gives no page that lists a folder, but application/json"):
        opened = blobdir.open_project(f"{web[1]}/p", index="none")
    with pytest.raises(IncompleteListingError, match="application/json"):
        opened.filesystem.ls("train/ann")
    with pytest.raises((NotAProjectError, ReadError)):
        blobdir.open_project(f"{web[1]}/p/meta.json", index="none")


@pytest.mark.parametrize(
    "piece",
    [
        "<a ", '<a x="', "<a x='\"", "<a href=", "<a x ", "<a" + " " * 2000, "<h1>", "<title ", "<", "<pre>",
        "<!-- ", "<script>", "</body", "<ul x='\"", "<b x=", "<ul></body>", "<ul x=" + " " * 2000, "<p x='a' ",
        "<a href=?x", "<a href='#'", "<a href='#x' ",
        "<a rel" + " " * 2000, "<a x rel=", "<textarea>", "<template ", "<iframe></ifram", "<!-->", "<a href=?page=9",
        "<a href=?page=" + "9" * 9000 + ">",
        '<a href=#x "" ', "<input type ", "<input type=" + " " * 2000, '<a href="?&C=' + "&" * 2000 + '">',
    ],
)  # fmt: skip
def test_no_page_takes_long(piece):
    began = time.monotonic()
    page = piece * ((1 << 21) // len(piece))
    why_no_list(page, read_page(page, BASE), BASE, BASE)
    assert time.monotonic() - began < 20
    assert webindex.PAGE_BYTES >= 1 << 24


def test_a_redirection(web, project, tmp_path):
    def redirect(self, path):
        self.send_response(302)
        self.send_header("Location", quoted(path.replace("/latest/", "/p/")))
        self.send_header("Content-Length", "0")
        self.end_headers()

    Server.odd["/latest/"] = redirect
    for style in ("relative", "absolute"):
        Server.style = staticmethod(STYLES[style])
        fetch(f"{web[1]}/latest", tmp_path / style)
        assert files(tmp_path / style) == files(project)
    Server.style = staticmethod(STYLES["relative"])
    shutil.rmtree(tmp_path / "relative")
