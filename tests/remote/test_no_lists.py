"""Pages of a web server that are no lists are errors of their folders; what servers give for lists isn't."""

import pytest
from project_factory import files_below, make_project
from web_pages import Pages

import blobdir
from blobdir.errors import IncompleteListingError, ReadError
from blobdir.moving import fetch
from blobdir.sources.webindex import open_at_end, read_page, why_no_list

FOLDER = "http://host/data/p/ann/"
EMPTY = {
    "nginx": "<html>\n<head><title>Index of /data/p/ann/</title></head>\n<body>\n<h1>Index of /data/p/ann/</h1><hr>"
    "<pre>"
    '<a href="../">../</a>\n</pre><hr></body>\n</html>',
    "Apache": '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN"><html><head><title>Index of /data/p/ann</title>'
    '</head><body><h1>Index of /data/p/ann</h1><table><tr><th><a href="?C=N;O=D">Name</a></th></tr><tr><td>'
    '<a href="/data/p/">Parent Directory</a></td></tr></table></body></html>',
    "Apache without a heading": '<table><tr><th><a href="?C=N;O=D">Name</a></th></tr></table>',
    "Python": "<!DOCTYPE HTML>\n<html><head><title>Directory listing for /data/p/ann/</title></head><body>"
    "<h1>Directory listing for /data/p/ann/</h1><hr><ul></ul><hr></body></html>",
    "lighttpd": "<html><head><title>Index of /data/p/ann/</title></head><body><h2>Index of /data/p/ann/</h2>"
    '<table><tr class="d"><td class="n"><a href="../">..</a>/</td></tr></table></body></html>',
    "Caddy": '<html><head><title>ann/</title></head><body><header><h1><a href="../../">data/</a>'
    '<a href="../">p/</a><a href="">ann/</a></h1></header><a href="./?sort=namedirfirst&amp;order=desc">Name</a>'
    '<tr><td><a href="..">Go up</a></td></tr></body></html>',
    "Go": "<pre>\n</pre>\n",
    "Go 1.23": '<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n</pre>\n',
    "rclone": "<html><head><title>Directory listing of /data/p/ann</title></head><body><h1>ann/</h1>"
    '<a href="?sort=namedirfirst&order=asc">Name</a><a href="..">Go up</a></body></html>',
    "serve": "<html><head><title>Files within data&#47;p&#47;ann&#47;</title></head><body><h1> <i>Index of&nbsp;</i>"
    '<a href="/data&#47;">data&#47;</a></h1><ul id="files"><li><a href="&#47;data&#47;p&#47;">..</a></li></ul></body>',
    "IIS": "<html><head><title>host - /data/p/ann/</title></head><body><H1>host - /data/p/ann/</H1><hr>\n\n<pre>"
    '<A HREF="/data/p/">[To Parent Directory]</A><br><br></pre><hr></body></html>',
    "http-server": "<html><head><title>Index of /data/p/ann/</title></head><body><h1>Index of /data/p/ann/</h1></body>",
    "serve-index": "<html><head><title>listing directory /data/p/ann/</title></head><body></body></html>",
}
NAMES = '<a href="1.png.json">1.png.json</a><a href="sub/">sub/</a>'
NO_LISTS = {
    "nothing": "",
    "a gallery": '<html><body><h1>Our lemons</h1>Photos by Eve. <a href="https://example.org/">home</a></body></html>',
    "a link home": '<html><h1>Lemons</h1><a href="/">home</a><a href="#top">top</a><a href="mailto:a@b">me</a></html>',
    "a notice": "<html><head><title>Forbidden zone</title></head><body><pre>Come back later.</pre></body></html>",
    "a script": '<html><head><script src="/app.js"></script></head><body><div id="root"></div></body></html>',
    "a login": '<form><input name="u"><INPUT class="x" TYPE=\'password\' name="p"></form><a href="reset">help</a>',
    "a login that leads up": '<input type="password"><a href="../">back</a>',
}  # fmt: skip


def judged(page, answered=FOLDER, **options):
    return why_no_list(page, read_page(page, answered, FOLDER), FOLDER, answered, **options)


@pytest.mark.parametrize("names", ["", NAMES])
@pytest.mark.parametrize("server", EMPTY)
def test_lists(server, names):
    assert (
        judged(EMPTY[server].replace("</pre>", f"{names}</pre>") if server.startswith("Go") else EMPTY[server] + names)
        == ""
    )


def test_a_list_may_be_bare():
    assert judged(NAMES) == ""


@pytest.mark.parametrize("page", NO_LISTS)
def test_pages_that_are_no_lists(page):
    assert "gives a page that has no sign" in judged(NO_LISTS[page]) or "asks for a password" in judged(NO_LISTS[page])


@pytest.mark.parametrize(
    ("answered", "is_there"),
    [
        ("https://host/data/p/ann/", True), ("https://mirror/pub/p/ann/", True), ("http://host/data/p/ann", True),
        ("http://host/data/p/ann/index.php", True), ("http://host/data/p/%61nn/", True), ("http://host/", False),
        ("https://sso.host/login?next=/data/p/ann/", False), ("http://host/welcome/", False),
        ("http://host/data/p/", False),
    ],
)  # fmt: skip
def test_redirections(answered, is_there):
    assert bool(judged(EMPTY["nginx"] + NAMES, answered)) is not is_there
    assert judged(EMPTY["nginx"] + NAMES, answered, anywhere=True) == ""  # as a project called `latest` leads on


class SomePages(Pages):
    """Of which one is another page."""

    other, page, leads_to = "", "", ""

    def answer(self, request):
        if request.path == self.other and self.leads_to:
            request.send_response(302)
            request.send_header("Location", self.leads_to)
            request.send_header("Content-Length", "0")
        elif request.path in (self.other, self.leads_to):
            request.send_response(200)
            request.send_header("Content-Type", "text/html")
            request.send_header("Content-Length", str(len(self.page)))
        else:
            return super().answer(request)
        request.end_headers()
        if request.path != self.other or not self.leads_to:
            request.wfile.write(self.page.encode())
        return None


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
@pytest.mark.parametrize("folder", ["train/img", "train/ann", "train"])
@pytest.mark.parametrize("page", [*NO_LISTS, "one elsewhere"])
def test_the_folder_is_said_to_be_unreadable(tmp_path, folder, page):
    files = {"train/img/1.jpg": b"1" * 600, "train/ann/1.jpg.json": b"{}", "test/img/2.jpg": b"2" * 600}
    root = make_project(tmp_path / "p", files, loose=list(files))
    with SomePages({f"p/{path}": data for path, data in files_below(root).items()}) as pages:
        pages.other, pages.page = f"/p/{folder}/", NO_LISTS.get(page, '<a href="/welcome/help.html">help</a>')
        pages.leads_to = "" if page in NO_LISTS else "/welcome/"
        project = blobdir.open_project(f"{pages.url}/p", cache_size=0)
        assert ("folder-unreadable", folder) in [(d.code, d.path) for d in project.defects]
        with pytest.raises(IncompleteListingError):
            project.filesystem.ls(folder)
        assert list(project["test"].names) == ["2.jpg"]
        with pytest.raises(OSError, match=folder):
            fetch(f"{pages.url}/p", tmp_path / "got")
        assert not (tmp_path / "got").exists()


LISTS = {
    "nginx": "<html>\n<head><title>Index of /ann/</title></head>\n<body>\n<h1>Index of /ann/</h1><hr><pre>"
    '<a href="../">../</a>\n{}</pre><hr></body>\n</html>\n',
    "Apache": '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">\n<html>\n <head>\n </head>\n <body>\n'
    "<h1>Index of /ann</h1>\n<table>\n{}</table>\n</body></html>\n",
    "Apache's plain list": "<html><body><h1>Index of /ann</h1>\n<ul>{}</ul>\n</body></html>\n",
    "Apache without a preamble": "<table>\n{}</table>\n",
    "Python": '<!DOCTYPE HTML>\n<html lang="en">\n<head>\n<style type="text/css">\n:root {{\n}}\n</style>\n</head>\n'
    "<body>\n<hr>\n<ul>\n{}</ul>\n<hr>\n</body>\n</html>\n",
    "lighttpd": "<!DOCTYPE html>\n<html><head><title>Index of /ann/</title></head><body><div class='list'><table>{}"
    '</table></div><div class="foot">lighttpd</div></body></html>\n',
    "Caddy": "<!DOCTYPE html>\n<html><head></head><body><main><div><table><tbody>{}</tbody></table></div></main>"
    "<script>if (1 < 2) x('<pre>')</script></body></html>",
    "IIS": "<html><head></head><body><H1>ann</H1><hr>\n\n<PRE>{}</PRE><hr></body></html>",
    "Go": '<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n{}</pre>\n',
    "one without its end tags": "<HTML><BODY CLASS='a>b'><p>{}</BODY>",
    "a piece of one": "<div><div>{}</div></div>",
}
"""What is around the names, as servers write it."""
LINES = "".join(f'<a title="<{n}>" href="{n}.png.json">{n}.png.json</a> 1 < 2\n' for n in range(10))


@pytest.mark.parametrize("server", LISTS)
def test_a_page_is_cut_off_at_any_byte_before_its_end(server):
    page = LISTS[server].format(LINES)
    assert judged(page) == judged(page.lower()) == judged(page.upper()) == ""
    ends = ("</body>", "</pre>", "</table>", "</ul>", "</div></div>")  # of the list, or of the page it's straight in
    for cut in range(page.index(LINES) + 1, min(at + len(end) for end in ends if (at := page.lower().find(end)) > 0)):
        assert "cut off" in judged(page[:cut]), page[:cut][-40:]


@pytest.mark.parametrize("server", LISTS)
def test_a_page_that_has_come_whole_is_cut_off_inside_a_tag_only(server):
    page = LISTS[server].format(LINES)
    first = page.index(LINES) + len(LINES.splitlines()[0])
    for cut in range(first, len(page)):
        inside = open_at_end(page[:cut]) in ("a tag", "<script>")
        assert ("cut off" in judged(page[:cut], is_whole=True)) is inside, page[:cut][-40:]


HEADER = "<!doctype html><html lang=en><title>Index of x</title><body><h1>Index of x</h1>"
BUSYBOX = "<html><head><title>Index of /x</title></head><body><h1>Index of /x</h1>\n<table>\n<tr class=hdr><th>Name\n{}"
FOOT = "<tr class=foot><th class=cnt>Files: 3, directories: 0<th class=sz>3<th class=dt>\n"


@pytest.mark.parametrize(
    ("page", "is_cut"),
    [
        (f"{HEADER}<ul><li>{NAMES}</ul>", False), (f"{HEADER}<pre>{NAMES}</pre><hr>", False),
        (f"{HEADER}<div><table><tr><td>{NAMES}</table></div>by me", False), (f"{HEADER}<div><ul>{NAMES}</ul>", True),
        (f"{HEADER}<ul><li>{NAMES}", True), (f"{HEADER}{NAMES}", True), (HEADER, True),
        (f"{HEADER}<ul class=nav><li><a href=../>../</a></ul>", True), (f"{HEADER}<ul>Words</ul>", True),
        (f"{HEADER}<ul>{NAMES}</ul><ul>{NAMES}", True), (f"{HEADER}<ul>{NAMES}</ul><p>{NAMES}", True),
        (BUSYBOX.format(f"<tr class=o><td class=nm>{NAMES}{FOOT}"), False), (BUSYBOX.format(FOOT), False),
        (BUSYBOX.format(f"<tr class=o><td class=nm>{NAMES}"), True), (BUSYBOX.format(FOOT.rstrip("\n>")), True),
    ],
)  # fmt: skip
def test_a_document_need_not_say_its_end(page, is_cut):
    assert ("cut off" in judged(page)) is is_cut
    if not page.endswith("class=dt"):
        assert judged(page, is_whole=True) == ""


def test_a_page_that_opens_nothing_is_cut_off_inside_a_link():
    lines = LINES.splitlines(keepends=True)
    for cut in range(1, lines[0].index("</a>") + 4):
        assert "cut off" in judged(LINES + lines[0][:cut])
    for count in range(1, len(lines)):
        assert judged("".join(lines[:count])) == ""
    assert judged(f"{LINES}<script>if (1 < 2) x('<pre>')</script><!-- <pre> -->") == ""


@pytest.mark.parametrize(
    "page", ["<!-- ", "<script>", "<a", "<a href='x", "<a href='x'>x", "<", "<ul>", "<pre><a>x</a>"]
)
def test_what_has_no_end_is_said(page):
    assert "cut off" in judged(NAMES + page)
    assert "cut off" in judged(EMPTY["nginx"] + NAMES + page)
    assert judged(f"{NAMES}{page}{'>' * ('<' in page[-8:] and '>' not in page[-3:])}</body></html>") == ""


class CutOff(Pages):
    """One page of which never comes whole, or not at first."""

    page, how, times, asked, ends = "", "", 1 << 30, 0, b"</pre></body></html>"

    def answer(self, request):
        if request.path != self.page:
            return super().answer(request)
        self.asked += 1
        data = f"<html><body><pre>{NAMES}".encode()
        if self.asked > self.times:
            data += self.ends
        request.send_response(200)
        request.send_header("Content-Type", "text/html")
        request.send_header("Connection", "close")
        if self.how in ("short", "said"):
            request.send_header("Content-Length", str(len(data) + 20 * (self.asked <= self.times)))
        elif self.how == "chunked":
            request.send_header("Transfer-Encoding", "chunked")
            data = b"%x\r\n%s\r\n" % (len(data), data) + b"0\r\n\r\n" * (self.asked > self.times)
        request.end_headers()
        request.wfile.write(data)
        request.close_connection = True
        return None


@pytest.fixture
def cut(tmp_path):
    root = make_project(tmp_path / "p", {"train/img/1.jpg": b"1" * 600, "test/img/2.jpg": b"2" * 600})
    with CutOff({f"p/{path}": data for path, data in files_below(root).items()} | {"p/train/ann/x": b""}) as pages:
        pages.page = "/p/train/ann/"
        yield pages


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
def test_a_page_that_is_cut_off_is_no_list(cut):
    project = blobdir.open_project(f"{cut.url}/p", cache_size=0)
    assert [(d.code, d.path) for d in project.defects] == [("folder-unreadable", "train/ann")]
    with pytest.raises(IncompleteListingError, match="cut off"):
        project.filesystem.ls("train/ann")
    assert list(project["train"].names) == ["1.jpg"]
    assert cut.asked == 2


@pytest.mark.parametrize("how", ["said", "chunked"])
def test_a_page_without_ends_that_comes_whole_is_a_list(cut, how):
    cut.how, cut.times, cut.ends = how, 0, b""
    project = blobdir.open_project(f"{cut.url}/p", cache_size=0)
    assert project.filesystem.ls("train/ann", detail=False) == ["train/ann/1.png.json", "train/ann/sub"]
    assert cut.asked == 1


@pytest.mark.parametrize("how", ["short", "chunked"])
def test_a_page_that_is_shorter_than_announced_is_an_error(cut, how):
    cut.how = how
    with pytest.raises(ReadError, match=r"list of .*train/ann.* tries"):
        blobdir.open_project(f"{cut.url}/p", cache_size=0, timeout=1)


@pytest.mark.parametrize("how", ["", "short", "chunked"])
def test_a_page_that_is_cut_off_once_is_asked_for_again(cut, how):
    cut.how, cut.times = how, 1
    project = blobdir.open_project(f"{cut.url}/p", cache_size=0)
    assert project.filesystem.ls("train/ann", detail=False) == ["train/ann/1.png.json", "train/ann/sub"]
    assert cut.asked == 2
