"""Pages of a web server that list a folder: which of their links are names in it. Pure; what is fetched is elsewhere.

A name is whatever a link says below the page's own address. Servers write the same name in many ways, relative or not,
escaped more or less, so a name is decoded first, and compared then. What isn't a name in the folder, such as the links
by which a page is sorted, is no file; of what could be one and can't be fetched by its name, the caller is told.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from posixpath import splitext
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from blobdir.filenames import IMAGE_EXTENSIONS, is_item_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE_BYTES: Final = 256 << 20
"""The longest page that is read: one with more than a million names."""
DEPTH: Final = 64
PAGES: Final = 200_000
"""How deep folders may lie, and how many there may be: a server can make up as many as it likes."""
REPEATS: Final = 3
"""Folders, each in the one before and with the same names in it, after which a server is taken to go in circles."""

ASKED: Final = 20_000
FEW: Final = 100
"""How many names are asked for whether they are folders, of a project, and of one page if the server tells folders."""
_FILES: Final = IMAGE_EXTENSIONS | {
    ".json", ".jsonl", ".txt", ".csv", ".tsv", ".md", ".html", ".xml", ".yaml", ".yml", ".toml", ".pdf", ".log", ".tar",
    ".pkl", ".npy", ".npz", ".pcd", ".dcm", ".nii", ".gz", ".zip", ".zst", ".gif", ".avif", ".heic", ".mp4", ".py",
}  # fmt: skip
"""Extensions that folders don't have."""
_FOLDERS: Final = frozenset(("blob", "datasets"))

# Attributes before it are skipped with their quotes; atomic groups, so that no page takes more than linear time.
_LINK: Final = re.compile(
    r"<a(?>(?:\s+(?!href[\s=])[^\s\"'<>=]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'<>]+))?)*)"
    r"\s+href\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>]+))",
    re.IGNORECASE,
)
_SHOWN: Final = re.compile(r"[\"']?[^<>\"']*(?:\"[^\"<>]*\"[^<>\"']*|'[^'<>]*'[^<>\"']*)*>([^<]*)</a", re.IGNORECASE)
_ABSOLUTE: Final = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_NO_FILE: Final = re.compile(r"(?:mailto|javascript|data|tel|about|ftp|blob|sms|magnet):", re.IGNORECASE)
_SPACES: Final = " \t\r\n\f"
_PASSWORD: Final = re.compile(r"<input\b[^<>]*\btype\s*=\s*[\"']?password\b", re.IGNORECASE)
_HEADING: Final = re.compile(
    r"<(?:title|h[1-6])\b[^<>]*>((?:(?!</(?:title|h[1-6])\b).){0,1000})", re.IGNORECASE | re.DOTALL
)
_TAG: Final = re.compile(r"<[^<>]*>")
_WORDS: Final = re.compile(r"\b(?:index of|listing)\b", re.IGNORECASE)
_TO_PARENT: Final = re.compile(r"\bparent (?:directory|folder)\b", re.IGNORECASE)
_SORTED_BY: Final = re.compile(r"[^?#]*\?(?:[^#]*[;&])?(?:[CO]=[A-Z]\b|sort=|order=)")
_END: Final = re.compile(r"</(?:html|body)\s*>|<tr\s+class\s*=\s*[\"']?foot[\"']?\s*>", re.IGNORECASE)
"""Of a document; with the row of sums, that of busybox' httpd_indexcgi ends, whose table never does."""
_ATTRIBUTES: Final = r"(?>(?:[^<>=]|=\s*(?:\"[^\"]*\"|'[^']*'|(?![\"'\s])))*)"
_ENCLOSING: Final = re.compile(
    r"<!--(?:-?>|.*?--!?>|(?P<comment>.*\Z))"
    r"|<(?P<raw>script|style)\b(?!/)[^<>]*(?<![\s\"']/)>(?:.*?</(?P=raw)\s*>|(?P<rest>.*\Z))"
    r"|<(?P<end>/?)(?P<name>html|body|main|section|article|nav|div|pre|table|ul|ol|dl|a)(?![^\s<>/])"
    rf"(?P<more>{_ATTRIBUTES})>",
    re.IGNORECASE | re.DOTALL,
)
"""What can be around the links of a list and must have an end; HTML lets other elements end without a tag."""
_BEGUN: Final = re.compile(rf"<(?:[a-z/!?]{_ATTRIBUTES}(?:=\s*(?:\"[^\"]*|'[^']*))?)?\Z", re.IGNORECASE)
_HIDDEN: Final = re.compile(
    r"<!--(?:(?P<none>-?>)|.*?(?P<comment>--!?>|\Z))"
    r"|<(?P<raw>script|style|textarea|template|title|xmp|iframe)\b(?!/)[^<>]*(?<![\s\"']/)>.*?(?P<end></(?P=raw)\s*>|\Z)",
    re.IGNORECASE | re.DOTALL,
)
"""In what no browser shows links."""
_REL_NEXT: Final = re.compile(r"\srel\s*=\s*(?:\"[^\"<>]*\bnext\b|'[^'<>]*\bnext\b|next\b)(?!-)", re.IGNORECASE)
_HEAD_LINK: Final = re.compile(r"<link\b([^<>]{0,2000})>", re.IGNORECASE)
_HREF: Final = re.compile(r"\shref\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>]+))", re.IGNORECASE)
_ATTRIBUTES_BEHIND: Final = 200
_NUMBERED: Final = frozenset(("page", "pg", "pageno", "page_no", "offset", "start", "skip"))
_MARKED: Final = frozenset((
    "marker", "cursor", "key-marker", "start-after", "startafter", "continuation-token", "continuationtoken",
    "page_token", "pagetoken", "page-token",
))  # fmt: skip
"""Names in a query by which a server tells which part of a list is wanted: by a number, or by where it begins."""
_EMPTY: Final = re.compile(r"(?:^|[\s\"'])/\Z")
_AROUND: Final = frozenset(("html", "body"))
_LISTS: Final = frozenset(("pre", "table", "ul", "ol", "dl"))
_BARE_BYTES: Final = 1024
"""Longer than a page that has nothing in it but an empty ``<pre>``."""


@dataclass(slots=True)
class Listed:
    """What a page lists.

    Attributes
    ----------
    names : dict
        Path below the folder, decoded -> whether it's a folder.
    both : set of str
        Those that links name as a folder and as a file: many servers' pages do, of folders.
    unclear : list of str
        Links to something in the folder that has a query or a fragment: perhaps a name that wasn't escaped.
    leads_on : str
        The link to the next part of the list; empty where this is all of it.
    """

    names: dict[str, bool] = field(default_factory=dict)
    both: set[str] = field(default_factory=set)
    unclear: list[str] = field(default_factory=list)
    leads_on: str = ""


def read_page(text: str, *addresses: str) -> Listed:
    """The names that a page lists.

    Parameters
    ----------
    text : str
        HTML.
    addresses : str
        URLs of the folder: the one where the page was found, after redirections, and others that mean the same.
    """
    bases = [(_host(address), _resolved(_components(urlsplit(address).path))) for address in addresses]
    text = _visible(text)
    found = Listed(leads_on=next((link for link in _next_of_head(text) if _is_one_of(link, bases)), ""))
    unclear: dict[str, str] = {}
    for match in _LINK.finditer(text):
        link = _link(match)
        if (_is_next(link) or _is_said_next(text, match, link)) and _is_one_of(link, bases):
            found.leads_on = link
        path, query, fragment = _split(link)
        below = _below(path, bases)
        if query or fragment:
            shown = _below(_escaped(link, _shown(text, match.end())), bases)
            if shown and "/" not in shown[:-1]:
                below, query, fragment = shown, False, False
        if not below:
            continue
        is_folder = below.endswith("/")
        name = below.rstrip("/")
        if query or fragment:
            unclear[name] = link
        elif found.names.setdefault(name, is_folder) != is_folder:
            found.names[name] = True
            found.both.add(name)
    found.unclear = [link for name, link in unclear.items() if name not in found.names]
    return found


def _visible(text: str) -> str:
    """A page without what is hidden; what has no end in it hides nothing."""
    return _HIDDEN.sub(lambda match: " " if match["none"] or match["comment"] or match["end"] else match[0], text)


def _is_next(link: str) -> bool:
    """Whether a link is to another part of a list, and not to its first."""
    for name, value in parse_qsl(link.partition("#")[0].partition("?")[2]):
        if name.lower() in _NUMBERED and value.isdecimal() and value.lstrip("0") not in ("", "1"):
            return True
        if name.lower() in _MARKED and value:
            return True
    return False


def _is_said_next(text: str, match: re.Match[str], link: str) -> bool:
    """Whether a link to another query is called the next one."""
    if "?" not in link:
        return False
    behind = text[match.end() : match.end() + _ATTRIBUTES_BEHIND].partition(">")[0]
    return _REL_NEXT.search(f" {match[0]}{behind}") is not None


def _next_of_head(text: str) -> Iterator[str]:
    for match in _HEAD_LINK.finditer(text):
        if _REL_NEXT.search(match[1]) and (href := _HREF.search(match[1])):
            yield _link(href)


def _is_one_of(link: str, bases: list[tuple[str, list[str]]]) -> bool:
    """Whether a link is to the path of one of some addresses, whatever its query; those behind others err in hosts."""
    path = _split(link)[0]
    if absolute := _ABSOLUTE.match(path):
        path = f"/{path[absolute.end() :].partition('/')[2]}"
    components = _components(path)
    for _, base in bases:
        whole = _resolved(components if path.startswith("/") else [*base, *components])
        if whole == base or (whole[:-1] == base and whole[-1].startswith("index.")):
            return True
    return False


def tells_folders(page: Listed) -> bool:
    """Whether a server ends names of folders with a slash: it has, on this page."""
    return any(page.names.values())


def in_doubt(page: Listed, *, tells: bool) -> list[str]:
    """Names without a slash that may be folders' all the same.

    Many a server has no slash behind any folder; one that has, none behind a link to one. So all are in doubt that
    have no file's extension; but of a server that tells folders, where they are many, only those that projects have.
    """
    found = [name for name, is_folder in page.names.items() if not is_folder and not _is_files(name)]
    if tells and len(found) > FEW:
        return [name for name in found if name in _FOLDERS or is_item_folder(name)]
    return found


def _is_files(name: str) -> bool:
    return splitext(name)[1].lower() in _FILES


def why_no_list(
    text: str, found: Listed, asked: str, answered: str, *, anywhere: bool = False, is_whole: bool = False
) -> str:
    """Why a page isn't the list of a folder; empty where it may be one.

    A server may give another page in the list's place: an ``index.html`` that lies in the folder, or where one logs in.
    Or the page is cut off, see `open_at_end`. Lists are known by what they lead to, also those of empty folders: to the
    folder above, to themselves, to themselves sorted; or by their headings. One of Go's has nothing but ``<pre>``.

    Parameters
    ----------
    text : str
        HTML.
    found : Listed
        What it lists.
    asked : str
        URL of the folder.
    answered : str
        URL of the page, after redirections.
    anywhere : bool
        Whether redirections may lead to a folder of another name: a project's own can.
    is_whole : bool
        Whether the answer is known to have come to its end.
    """
    if _PASSWORD.search(text):
        return "the server gives no page that lists the folder, but one that asks for a password"
    here, there = (_resolved(_components(urlsplit(url).path)) for url in (asked, answered))
    if not anywhere and here[-1:] not in (there[-1:], there[-2:-1]):
        return "the server gives no page that lists the folder, but leads to another one"
    if where := open_at_end(text, is_whole=is_whole, lists=bool(found.names)):
        return f"the server's page that lists the folder is cut off: it ends in {where}"
    if found.leads_on:
        return f"the server's page lists only a part of the folder, and leads to the next one ({found.leads_on})"
    if found.names or found.unclear or _leads_around(text, asked, answered) or _says_so(text):
        return ""
    return "the server gives a page that has no sign of a list of the folder, such as an index.html that lies there"


def open_at_end(text: str, *, is_whole: bool = False, lists: bool = False) -> str:
    """In what a page ends: an element or a tag that has no end in it; empty where there is none.

    An answer that doesn't say its length ends with its connection, for whatever reason that does. Behind the end of its
    document a page is whole, however carelessly it was written up to there; one that opens nothing can't be judged.
    HTML lets a document end without a tag: then it must list something, and the list have ended, behind the last link.

    Parameters
    ----------
    text : str
        HTML.
    is_whole : bool
        Whether the answer is known to have come to its end: then elements may be open, tags and comments not.
    lists : bool
        Whether it leads to anything in the folder.
    """
    behind = 0
    for match in _END.finditer(text):
        behind = match.end()
    depths: dict[str, int] = {}
    has_ended = False
    for match in _ENCLOSING.finditer(text, behind):
        behind = match.end()
        if match["comment"] is not None:
            return "a comment"
        if match["rest"] is not None:
            return f"<{match['raw'].lower()}>"
        name = (match["name"] or "").lower()
        if match["end"]:
            depths[name] = max(0, depths.get(name, 0) - 1)
            has_ended |= name in _LISTS
        elif name and not _EMPTY.search(match["more"]):
            depths[name] = 1 if name == "a" else depths.get(name, 0) + 1  # a link begins where another one ends
            has_ended &= name != "a"
    if _BEGUN.search(text, behind):
        return "a tag"
    if is_whole:
        return ""
    return next(
        (f"<{name}>" for name in reversed(depths) if depths[name] and not (name in _AROUND and has_ended and lists)), ""
    )


def _leads_around(text: str, *addresses: str) -> bool:
    """Whether a page leads to itself, perhaps sorted in another way, or to the folder above it."""
    bases = [(_host(address), _resolved(_components(urlsplit(address).path))) for address in addresses]
    for link in _links(_visible(text)):
        path, _, _ = _split(link)
        host = ""
        if _NO_FILE.match(link):
            continue
        if absolute := _ABSOLUTE.match(path):
            host, _, path = path[absolute.end() :].partition("/")
            path = f"/{path}"
        components, is_sorted = _components(path), bool(_SORTED_BY.match(link))
        for netloc, base in bases:
            whole = _resolved(components if path.startswith("/") else [*base, *components])
            is_around = whole == base or (whole == base[:-1] and not is_sorted)
            is_home = path.startswith("/") and not whole  # to which any page leads
            if host in ("", netloc) and is_around and (is_sorted or (path and not is_home)):
                return True
    return False


def _says_so(text: str) -> bool:
    """Whether a page calls itself a list, or is as bare as only a program's is."""
    if _TO_PARENT.search(text) or any(_WORDS.search(_plain(match[1])) for match in _HEADING.finditer(text)):
        return True
    return len(text) < _BARE_BYTES and "<pre>" in text.lower() and not _plain(text)


def _plain(text: str) -> str:
    """What is shown of HTML, in one line."""
    return " ".join(html.unescape(_TAG.sub(" ", text)).split())


def goes_in_circles(names: tuple[frozenset[str], ...]) -> bool:
    """Whether folders that lie in each other, the outermost first, have all the same names, among them a folder's."""
    return len(names) > REPEATS and bool(names[-1]) and len(set(names[-REPEATS - 1 :])) == 1


def _links(text: str) -> Iterator[str]:
    return map(_link, _LINK.finditer(text))


def _link(match: re.Match[str]) -> str:
    return html.unescape(match[1] or match[2] or match[3] or "").strip(_SPACES)


def _shown(text: str, behind: int) -> str:
    """What is shown of the link whose address ends at `behind`, if it's nothing but text."""
    found = _SHOWN.match(text, behind)
    return html.unescape(found[1]).strip(_SPACES) if found else ""


def _escaped(link: str, shown: str) -> str:
    """A link with ``#`` or ``?`` in it as it should be, if they are of a name: it's shown as well; else empty."""
    whole = link.removesuffix("/")
    start = whole.rfind("/") + 1
    shown = shown.removesuffix("/")
    if not shown or shown not in (whole[start:], unquote(whole[start:], errors="surrogateescape")):
        return ""
    above = whole[:start].replace("#", "%23").replace("?", "%3F")
    return f"{above}{quote(shown, safe='', errors='surrogateescape')}{link[len(whole) :]}"


def _host(address: str) -> str:
    return urlsplit(address).netloc.rpartition("@")[2]


def _split(link: str) -> tuple[str, bool, bool]:
    """A link without what follows ``#`` and ``?``, and whether there was any."""
    path, fragment, _ = link.partition("#")
    path, query, _ = path.partition("?")
    return path, bool(query), bool(fragment)


def _below(path: str, bases: list[tuple[str, list[str]]]) -> str:
    """The decoded path of a link below the folder, with a slash behind it if it's a folder; empty if it isn't below."""
    if not path or _NO_FILE.match(path):
        return ""
    host = ""
    if absolute := _ABSOLUTE.match(path):
        host, _, path = path[absolute.end() :].partition("/")
        path = f"/{path}"
    components = _components(path)
    end = "/" if components[-1] in ("", ".", "..") else ""
    for netloc, base in bases:
        whole = _resolved(components if path.startswith("/") else [*base, *components])
        names = whole[len(base) :]
        if host not in ("", netloc) or whole[: len(base)] != base:
            continue
        if names and not any("/" in name or "\0" in name for name in names):  # escaped: no file can have such a name
            return "/".join(names) + end
    return ""


def _components(path: str) -> list[str]:
    """What stands between slashes, decoded."""
    return [unquote(part, errors="surrogateescape") for part in path.split("/")]


def _resolved(components: list[str]) -> list[str]:
    found: list[str] = []
    for part in components:
        if part == "..":
            del found[-1:]
        elif part not in ("", "."):
            found.append(part)
    return found
