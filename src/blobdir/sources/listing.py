"""Everything below a place, as a backend lists it: at once where it has a way to, else folder by folder."""

from __future__ import annotations

import errno
import warnings
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from blobdir.errors import BlobdirWarning, ReadError, SourceChangedError
from blobdir.sources.backend import AHEAD, LIST_OF, SMALL_CONCURRENCY, outcome
from blobdir.sources.keys import FLAT, lists_at_once
from blobdir.sources.retries import is_denied
from blobdir.sources.secrecy import without_secrets
from blobdir.sources.webindex import ASKED, DEPTH, PAGES, REPEATS, goes_in_circles, in_doubt, tells_folders

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator

    from blobdir.sources.backend import Backend
    from blobdir.sources.webindex import Listed

    Listing = Iterator[tuple[str, dict[str, Any]]]
    """The backend's own name of each file and folder, and what the backend says of it."""

T = TypeVar("T")

TREES = frozenset(("http", "https", "sftp", "ssh", "ftp", "webdav", "dav", "smb", "hdfs", "arrow_hdfs", "webhdfs"))
"""Backends that list a folder at a time; the others, object stores, list everything below at once."""
LIST_TIMEOUT_S = 600.0
_SHOWN, _TOGETHER = 3, 256
_DEAD_LINK = "the server's page leads to it, and it isn't there"


def list_below(
    backend: Backend, root: str, url: str, protocols: frozenset[str], unlisted: dict[str, OSError] | None = None
) -> Listing:
    """Everything below `root`.

    Parameters
    ----------
    backend : Backend
    root : str
        In the backend's own terms.
    url : str
        The same for people.
    protocols : set of str
        What the backend answers to.
    unlisted : dict, optional
        Gets the folders below `root` that can't be listed, and why; without it, one is an error.

    Raises
    ------
    FileNotFoundError
    ReadError
        A folder can't be listed, or folders lie in each other without an end.
    """
    web = bool(protocols & {"http", "https"})
    if backend.web is not None:
        yield from _list_pages(backend, root, url, unlisted)
    elif backend.azure is not None:
        yield from backend.run(backend.list_blobs(root, url, LIST_TIMEOUT_S), url, LIST_TIMEOUT_S)
    elif not protocols & TREES and lists_at_once(backend.fs, is_async=backend.is_async):
        yield from _find(backend, root, url, only_files=bool(protocols & FLAT))
    else:
        yield from _list_tree(backend, root, url, "/" * web, unlisted)


def _find(backend: Backend, root: str, url: str, *, only_files: bool) -> Listing:
    """Files, then folders: backends leave out a file where they list a folder of the same name."""
    for withdirs in (False,) if only_files else (False, True):
        call = backend.call(url, "find", root, withdirs=withdirs, detail=True, timeout_s=LIST_TIMEOUT_S)
        for key, info in backend.run(call, url, LIST_TIMEOUT_S).items():
            if not withdirs or info.get("type") == "directory":
                yield key, info
    backend.fs.invalidate_cache()  # it would take such a file for the folder


def _what(url: str, key: str) -> str:
    return f"{url}: {LIST_OF}{without_secrets(key)}"


def _listed(
    backend: Backend,
    root: str,
    url: str,
    calls: Iterable[tuple[str, Awaitable[T]]],
    keys: list[str],
    unlisted: dict[str, OSError] | None,
) -> Iterator[tuple[str, T]]:
    """Some folders and their lists. One that is away by now isn't like a place where there is nothing."""
    lists = backend.run_many(((what, outcome(call)) for what, call in calls), SMALL_CONCURRENCY)
    for key, found in zip(keys, lists, strict=True):
        if not isinstance(found, OSError):
            yield key, found
        elif key in (root, root.rstrip("/")):
            raise found
        elif unlisted is not None and _is_of_one(found, backend):
            is_gone = isinstance(found, FileNotFoundError)
            unlisted[key] = FileNotFoundError(errno.ENOENT, _DEAD_LINK) if is_gone else found
        elif isinstance(found, FileNotFoundError) and backend.web is not None:
            raise ReadError(f"{_what(url, key)}: {_DEAD_LINK}") from found
        elif isinstance(found, FileNotFoundError):
            raise SourceChangedError(
                f"{_what(url, key)}: isn't there any more; something changes the project"
            ) from found
        else:
            raise found


def _is_of_one(error: OSError, backend: Backend) -> bool:
    """Whether an error says something of a single folder: not of the server, nor of a change that is under way."""
    if backend.web is not None and isinstance(error, FileNotFoundError):
        return True  # a link that leads nowhere
    return is_denied(error) or any(isinstance(it, NotADirectoryError) for it in (error, error.__cause__))


def _list_tree(backend: Backend, root: str, url: str, end: str, unlisted: dict[str, OSError] | None) -> Listing:
    """Folder by folder, those of one depth together."""
    level, seen = [root], {(root.rstrip("/"), True)}
    while level:
        below = []
        calls = ((_what(url, key), backend.call(_what(url, key), "ls", key + end, detail=True)) for key in level)
        for _, infos in _listed(backend, root, url, calls, level, unlisted):
            for info in infos:
                key, is_folder = str(info["name"]), info.get("type") == "directory"
                if (key.rstrip("/"), is_folder) in seen or key.rstrip("/").rpartition("/")[2] in (".", ".."):
                    continue  # some servers list the folder itself, and the one above it
                seen.add((key.rstrip("/"), is_folder))
                yield key, info
                if is_folder:
                    below.append(key.rstrip("/"))
        level = below


def _list_pages(backend: Backend, root: str, url: str, unlisted: dict[str, OSError] | None) -> Listing:
    """The same of a web server, whose pages may lead anywhere, and without an end."""
    level: dict[str, tuple[frozenset[str], ...]] = {root.rstrip("/"): ()}
    known, unclear, doubts = {root.rstrip("/")}, [], _Doubts(backend, root, url, unlisted)
    for _ in range(DEPTH):
        below: dict[str, tuple[frozenset[str], ...]] = {}
        twice = []
        for some in _parts([*level]):
            calls = ((_what(url, key), doubts.page(key, anywhere=not level[key])) for key in some)
            pages = dict(_listed(backend, root, url, calls, some, unlisted))
            doubts.settle(pages)
            for key, page in pages.items():
                unclear += page.unclear
                here = (*level[key][-REPEATS:], _names(page))
                if goes_in_circles(here):
                    raise ReadError(
                        f"{_what(url, key)}: the server lists the same names in it as in the folders above it: they go "
                        "in circles, perhaps by a link to a folder above, which must go"
                    )
                for name, is_folder in page.names.items():
                    child = _child(key, name)
                    yield child, {"name": child, "size": None, "type": "directory" if is_folder else "file"}
                    if name in page.both:
                        twice.append(child)
                    if is_folder and child not in known:
                        known.add(child)
                        below[child] = here
                if len(known) > PAGES:
                    raise ReadError(
                        f"{url}: the server lists more than {PAGES:,} folders; copy the project in another way"
                    )
        yield from _files_too(backend, twice, url)
        level = below
        if not level:
            break
    else:
        raise ReadError(
            f"{_what(url, next(iter(level)))}: lies more than {DEPTH} folders deep, as in a folder that lists itself"
        )
    _say_unclear(url, unclear)


def _say_unclear(url: str, unclear: list[str]) -> None:
    if unclear:
        shown = ", ".join(without_secrets(repr(link)) for link in unclear[:_SHOWN])
        warnings.warn(
            f"{url}: the server's pages have {len(unclear):,} links with ? or # in them, such as {shown}, which aren't "
            "shown; if they are names of files, the server must escape them (%3F, %23)",
            BlobdirWarning,
            stacklevel=3,
        )


class _Doubts:
    """Which names on a web server's pages are folders though no slash says so: those that have a list are.

    What can't be told is a folder that can't be listed, and why is in `unlisted`.
    """

    def __init__(self, backend: Backend, root: str, url: str, unlisted: dict[str, OSError] | None) -> None:
        self._backend = backend
        self._root = root.rstrip("/")
        self._url = url
        self._unlisted = unlisted
        self._tells = False
        self._left = ASKED
        self._lists: dict[str, Listed | OSError] = {}

    async def page(self, key: str, *, anywhere: bool) -> Listed:
        """The list of a folder: the one at hand, if it was looked at already."""
        found = self._lists.pop(key, None)
        if isinstance(found, OSError):
            raise found
        if found is None:
            return await self._backend.list_page(f"{key}/", _what(self._url, key), anywhere=anywhere)
        return found

    def settle(self, pages: dict[str, Listed]) -> None:
        """Ask for the names in doubt on some pages, by folder, and note which are folders."""
        self._tells |= any(map(tells_folders, pages.values()))
        asked = []
        for key, page in pages.items():
            names = in_doubt(page, tells=self._tells)
            if len(names) <= self._left:
                self._left -= len(names)
                asked += [(page, name, _child(key, name)) for name in names]
            elif not self._tells:
                self._give_up(key)
        calls = ((what, outcome(self._backend.look(key, what))) for key, what in self._named(asked))
        answers = self._backend.run_many(calls, SMALL_CONCURRENCY, ahead=AHEAD)
        for (page, name, child), found in zip(asked, answers, strict=True):
            if found is not None:
                page.names[name] = True
                self._lists[child] = found

    def _named(self, asked: list[tuple[Listed, str, str]]) -> Iterator[tuple[str, str]]:
        return ((child, _what(self._url, child)) for _, _, child in asked)

    def _give_up(self, key: str) -> None:
        error = NotADirectoryError(
            errno.ENOTDIR,
            f"the server's pages don't say which names are folders, and there are more than {ASKED:,} that may be",
        )
        if self._unlisted is None or key == self._root:
            raise ReadError(f"{_what(self._url, key)}: {error.strerror}") from error
        self._unlisted[key] = error


def _child(key: str, name: str) -> str:
    return f"{key}/{quote(name, errors='surrogateescape')}"


def _parts(keys: list[str]) -> Iterator[list[str]]:
    return (keys[start : start + _TOGETHER] for start in range(0, len(keys), _TOGETHER))


def _files_too(backend: Backend, keys: list[str], url: str) -> Listing:
    """Those of some folders that are files as well, as they can be on a web server in front of a bucket."""
    calls = ((_what(url, key), backend.is_file(key, _what(url, key))) for key in keys)
    for key, size in zip(keys, backend.run_many(calls, SMALL_CONCURRENCY, ahead=AHEAD), strict=True):
        if size > 0:
            yield key, {"name": key, "size": size, "type": "file"}


def _names(page: Listed) -> frozenset[str]:
    """What a folder is known by; nothing where it has no folder in it, with which circles end."""
    folders = any(page.names.values())
    return frozenset(f"{name}{'/' * is_folder}" for name, is_folder in page.names.items()) if folders else frozenset()
