"""Pages of a web server that list a folder: which of their links are names in it. Pure; what is fetched is elsewhere.

A name is whatever a link says below the page's own address. Servers write the same name in many ways, relative or not,
escaped more or less, so a name is decoded first, and compared then. What isn't a name in the folder, such as the links
by which a page is sorted, is no file; of what could be one and can't be fetched by its name, the caller is told.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE_BYTES: Final = 256 << 20
"""The longest page that is read: one with more than a million names."""
DEPTH: Final = 64
PAGES: Final = 200_000
"""How deep folders may lie, and how many there may be: a server can make up as many as it likes."""
REPEATS: Final = 3
"""Folders, each in the one before and with the same names in it, after which a server is taken to go in circles."""

# Attributes before it are skipped with their quotes; atomic groups, so that no page takes more than linear time.
_LINK: Final = re.compile(
    r"<a(?>(?:\s+(?!href[\s=])[^\s\"'<>=]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"'<>]+))?)*)"
    r"\s+href\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>]+))",
    re.IGNORECASE,
)
_ABSOLUTE: Final = re.compile(r"(?:https?:)?//", re.IGNORECASE)
_NO_FILE: Final = re.compile(r"(?:mailto|javascript|data|tel|about|ftp|blob|sms|magnet):", re.IGNORECASE)
_SPACES: Final = " \t\r\n\f"


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
    """

    names: dict[str, bool] = field(default_factory=dict)
    both: set[str] = field(default_factory=set)
    unclear: list[str] = field(default_factory=list)


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
    found = Listed()
    unclear: dict[str, str] = {}
    for link in _links(text):
        path, query, fragment = _split(link)
        below = _below(path, bases)
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


def goes_in_circles(names: tuple[frozenset[str], ...]) -> bool:
    """Whether folders that lie in each other, the outermost first, have all the same names, among them a folder's."""
    return len(names) > REPEATS and bool(names[-1]) and len(set(names[-REPEATS - 1 :])) == 1


def _links(text: str) -> Iterator[str]:
    for match in _LINK.finditer(text):
        yield html.unescape(match[1] or match[2] or match[3] or "").strip(_SPACES)


def _host(address: str) -> str:
    return urlsplit(address).netloc.rpartition("@")[2]


def _split(link: str) -> tuple[str, bool, bool]:
    """A link without what follows ``#`` and ``?``, and whether there was any."""
    path, _, fragment = link.partition("#")
    path, mark, _ = path.partition("?")
    return path, bool(mark), bool(fragment)


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
