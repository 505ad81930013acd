"""A web server, by fsspec's own session: the etag and the range that was served stand in the headers."""

from __future__ import annotations

import errno
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from blobdir.inside import WHOLE_BYTES
from blobdir.sources.model import Stat
from blobdir.sources.retries import NoPageError, NoRangesError, TooLongError, WrongAnswerError, is_refused, status_of
from blobdir.sources.transports.answers import (
    BEYOND_END,
    CONTENT_RANGE,
    PART,
    WHOLE,
    Answer,
    bare_etag,
    check_form,
    check_range,
    check_status,
    mtime_ns,
)
from blobdir.sources.transports.general import General
from blobdir.sources.webindex import PAGE_BYTES, open_at_end, read_page, why_no_list

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fsspec import AbstractFileSystem

    from blobdir.sources.webindex import Listed

_RECEIVE = 1 << 20
_UNANNOUNCED = 8 << 20
"""Bytes that are read of a file before it's asked how many it has, where the answer doesn't say it."""
_TOLD = 1024
"""Files of which it's remembered what the server has said of them."""
_DECODED = frozenset(("gzip", "deflate", "br", "zstd"))
"""Forms of a page from which aiohttp makes it again; of a file, its version and size would be those of the form."""
_IDENTITY = {"Accept-Encoding": "identity"}
_PAGES = frozenset(("text/html", "application/xhtml+xml"))
_NO_HEAD = frozenset((403, 501))
"""What may be said of a HEAD only, besides what is said of a request like this one."""
_LOGIN = 407
_GONE = frozenset((404, 410))
_EMPTY = "bytes */0"
"""What who refuses a range of an empty file says of it."""


class Web(General):
    """Requests of ``fsspec.implementations.http.HTTPFileSystem``.

    Attributes
    ----------
    heads : bool or None
        Whether the server answers a HEAD as it would a GET: it has sent one for a file, or has refused one and given
        the file by GET. None while nobody knows.
    """

    def __init__(self, fs: AbstractFileSystem) -> None:
        super().__init__(fs)
        self.heads: bool | None = None
        self._told: OrderedDict[str, Stat] = OrderedDict()  # what was said of files without their bytes

    def _options(self, headers: dict[str, str], *, is_page: bool = False) -> dict[str, Any]:
        """Of a request for a file as it is: of an ``a.json.gz`` that a server calls encoded, nothing is taken away."""
        options: dict[str, Any] = {"read_bufsize": _RECEIVE, **self.fs.kwargs, "auto_decompress": is_page}
        options["headers"] = {**(self.fs.kwargs.get("headers") or {}), **_IDENTITY, **headers}
        return options

    async def get(self, path: str, start: int | None, end: int | None, *, versioned: bool = True) -> Answer:  # noqa: ARG002  # the answer says it
        """A file, or a byte range of it, over http."""
        ranged = start is not None and end is not None
        session = await self.fs.set_session()
        headers = {"Range": f"bytes={start}-{end - 1}"} if ranged and end is not None else {}
        async with session.get(self.fs.encode_url(path), **self._options(headers)) as response:
            _raise_for(response, path)
            self._check(response, path, is_ranged=ranged)
            if ranged and response.status != PART:
                length = response.content_length
                if length != 0 and (start != 0 or length is None or length != end):  # an empty one has none
                    raise NoRangesError("the server doesn't serve byte ranges; copy the project, or use another server")
                ranged = False
            data = await self._body(response, path, None if start is None or end is None or not ranged else end - start)
            total = check_range(data, start if ranged else None, end, _told(response, "Content-Range"))
            if not ranged and response.content_length is not None and len(data) != response.content_length:
                raise WrongAnswerError(f"the server announced {response.content_length} bytes and sent {len(data)}")
            if not ranged and not _says_its_end(response.headers):  # the connection has broken off, perhaps
                announced = await self._announced(path)
                if announced and len(data) != announced:
                    raise WrongAnswerError(f"the server announced {announced} bytes and sent {len(data)}")
            version = _http_version(response.headers, total)
            self._compare(path, version, response.headers)
            if version.size >= 0:
                self._note(path, version, response.headers)
            return Answer(data, version)

    async def _body(self, response: Any, path: str, asked: int | None) -> bytes:
        """What an answer holds: no more than it says, than was asked for, or than the server announces of the file."""
        length = response.content_length
        if length is not None and length <= (WHOLE_BYTES if asked is None else asked):
            whole: bytes = await response.read()
            return whole
        most = asked
        found = bytearray()
        async for piece in response.content.iter_chunked(_RECEIVE):
            found += piece
            if most is None and len(found) > _UNANNOUNCED:
                most = await self._announced(path) or length or WHOLE_BYTES
            if most is not None and len(found) > most:
                raise TooLongError(f"the server sends more than {most:,} bytes, and the file can't have more")
        return bytes(found)

    async def _announced(self, path: str) -> int:
        """Bytes of a file, as they are told without it; 0 where they aren't."""
        try:
            return max(0, (await self.info(path)).size)
        except Exception as error:
            if is_refused(status_of(error)):  # of an empty file there is no first byte
                return 0
            raise

    async def info(self, path: str) -> Stat:
        """Attributes over http: one HEAD; where a server refuses that, a GET whose body isn't read.

        A HEAD that says that a file is empty may be the length of its own answer, which never has a body.
        """
        session = await self.fs.set_session()
        url = self.fs.encode_url(path)
        found: Stat | None = None
        if self.heads is not False:
            async with session.head(url, allow_redirects=True, **self._options({})) as response:
                if self._counts(response.status):
                    found = self._of_head(response, path)
            if found is not None and found.size:
                return found
        async with session.get(url, **self._options({"Range": "bytes=0-0"})) as response:
            self._given(response.status)
            told = _told(response, "Content-Range")
            if response.status != BEYOND_END and not _is_of_no_total(response.status, told):
                return await self._noted(response, path, is_ranged=True)
        if found is not None and told in ("", _EMPTY):
            return found
        async with session.get(url, **self._options({})) as response:  # what refuses a range doesn't say the version
            return await self._noted(response, path, 0 if told == _EMPTY else -1)

    def _counts(self, status: int) -> bool:
        """Whether the answer to a HEAD stands for that to a GET, which must be asked otherwise.

        Many servers know no HEAD, and say so in their own ways. That a file isn't there is taken from those that have
        said of another one that it's there.
        """
        if status == WHOLE:
            self.heads = True
        if status in _GONE:
            return bool(self.heads)
        return not (status in _NO_HEAD or (is_refused(status) and status != _LOGIN))

    def _given(self, status: int) -> None:
        """Note what the status of a GET, after a HEAD that didn't count, says of all others of this server."""
        if self.heads is None and status in (WHOLE, PART, BEYOND_END):
            self.heads = False

    def _of_head(self, response: Any, path: str) -> Stat | None:
        """What a HEAD says of a file; None where that's of something else, or without its length."""
        _raise_for(response, path)
        length = response.headers.get("Content-Length")
        if length is None or not self._is_whole(response, path):
            return None
        found = _http_version(response.headers, int(length))
        return self._note(path, found, response.headers) if found.size else found

    async def _noted(self, response: Any, path: str, otherwise: int = -1, *, is_ranged: bool = False) -> Stat:
        """What an answer to a GET says of the whole file; it has `otherwise` bytes where it doesn't say how many."""
        _raise_for(response, path)
        self._check(response, path, is_ranged=is_ranged)
        found = CONTENT_RANGE.fullmatch(_told(response, "Content-Range"))
        total = int(found[3]) if found and found[3] != "*" else otherwise
        if response.status == WHOLE and response.content_length is not None:
            total = response.content_length
        elif total < 0 and response.status == WHOLE and _says_its_end(response.headers):
            total = -1 if await response.content.readany() else 0
        return self._note(path, _http_version(response.headers, total), response.headers)

    def _check(self, response: Any, path: str, *, is_ranged: bool = False) -> None:
        """Make sure that an answer is the file that was asked for, or the range of it: by all that it says of itself.

        So does the file's name, not that of where it's led to: a file of another name is another form of it.
        """
        _check_status(response, is_ranged=is_ranged)
        check_form(_told(response, "Content-Encoding"), self.fs.encode_url(path).path)

    def _is_whole(self, response: Any, path: str) -> bool:
        """Whether what an answer says is of all of the file as it is."""
        try:
            self._check(response, path)
        except WrongAnswerError:
            return False
        found = CONTENT_RANGE.fullmatch(_told(response, "Content-Range"))
        return response.status == WHOLE and (found is None or found[3] == response.headers.get("Content-Length"))

    def _note(self, path: str, version: Stat, headers: Mapping[str, str]) -> Stat:
        """Remember what was said of a file, of those that were asked for last; of no version by its meaning only."""
        if _is_weak(headers):
            self._told.pop(path, None)
            return version
        self._told[path] = version
        self._told.move_to_end(path)
        if len(self._told) > _TOLD:
            self._told.popitem(last=False)
        return version

    def _compare(self, path: str, version: Stat, headers: Mapping[str, str]) -> None:
        """Make sure that a version isn't shorter than the server has said of the same one: then it was cut.

        Of one that is the same by its meaning only (``W/``), bytes may be other ones.
        """
        told = self._told.get(path)
        if told is None or not version.etag or version.etag != told.etag or _is_weak(headers):
            return
        if 0 <= version.size < told.size:
            raise WrongAnswerError(
                f"the server said of this version ({told.etag}) that it has {told.size} bytes, and sent {version.size}"
            )

    async def size(self, url: str) -> int:
        """Bytes of a file; -1 where a server has none of this very name, but perhaps a folder, to which it leads on."""
        session = await self.fs.set_session()
        address = self.fs.encode_url(url)
        if self.heads is not False:
            async with session.head(address, allow_redirects=False, **self._options({})) as response:
                if self._counts(response.status):
                    return int(response.headers.get("Content-Length") or -1) if response.status == WHOLE else -1
        for headers in ({"Range": "bytes=0-0"}, {}):
            async with session.get(address, allow_redirects=False, **self._options(headers)) as response:
                if response.status == WHOLE:
                    return int(response.headers.get("Content-Length") or -1)
                found = CONTENT_RANGE.fullmatch(_told(response, "Content-Range"))
                if response.status != PART or found is None:
                    return -1
                if found[3] != "*":
                    return int(found[3])
        return -1

    async def look(self, url: str) -> Listed | None:
        """What a name lists that may be a folder's or a file's; None where it's a file's, or nothing is there.

        It's a file's if what it gives is no page, and doesn't lie at the same name with a slash.

        Raises
        ------
        NotADirectoryError
            It can't be told: it gives a page that lists nothing.
        """
        kind, leads = await self._kind(url)
        if kind and kind not in _PAGES and not leads:
            return None
        try:
            return await self.list_page(f"{url}/")
        except FileNotFoundError:
            if leads:
                raise
            return None
        except NotADirectoryError as error:
            why = f"the server doesn't say whether it's a file or a folder, and {error.strerror}"
            raise NotADirectoryError(errno.ENOTDIR, error.strerror if leads else why) from error
        except Exception as error:
            if leads or not is_refused(status_of(error)):
                raise
            return None

    async def _kind(self, url: str) -> tuple[str, bool]:
        """Content type of what has a name, empty if unknown; and whether it's found at the name with a slash."""
        session = await self.fs.set_session()
        for request in (session.head, session.get)[self.heads is False :]:
            async with request(self.fs.encode_url(url), allow_redirects=True, **self._options({})) as response:
                if response.status == WHOLE:
                    name = self.fs.encode_url(url).path.rpartition("/")[2]
                    leads = response.url.path.endswith(f"/{name}/")
                    return _content_type(response.headers), leads
                if response.status not in _NO_HEAD and not is_refused(response.status):
                    response.raise_for_status()
                if response.status in _GONE and self.heads:
                    break
        return "", False

    async def list_page(self, url: str, *, anywhere: bool = False) -> Listed:
        """What the page of a folder lists; fsspec's own reading of it takes a name such as ``http.png`` for a URL.

        Raises
        ------
        NotADirectoryError
            The page is something else, was cut off twice, or lies elsewhere; `anywhere` says that redirections may lead
            to any folder.
        """
        text, address, is_whole = await self._page(url)
        found = read_page(text, address, url)
        if open_at_end(text, is_whole=is_whole, lists=bool(found.names)):  # the connection has broken off, perhaps
            text, address, is_whole = await self._page(url)
            found = read_page(text, address, url)
        if why := why_no_list(text, found, url, address, anywhere=anywhere, is_whole=is_whole):
            raise NotADirectoryError(errno.ENOTDIR, why)
        return found

    async def _page(self, url: str) -> tuple[str, str, bool]:
        """A page, where it was found, after redirections, and whether it's known that all of it has come."""
        session = await self.fs.set_session()
        async with session.get(self.fs.encode_url(url), **self._options({}, is_page=True)) as response:
            _raise_for(response, url)
            _check_status(response)
            check_form(_told(response, "Content-Encoding"), understood=_DECODED)
            kind = _content_type(response.headers)
            if kind and kind not in _PAGES:
                raise NotADirectoryError(errno.ENOTDIR, f"the server gives no page that lists a folder, but {kind}")
            page = bytearray()
            async for piece in response.content.iter_chunked(_RECEIVE):
                page += piece
                if len(page) > PAGE_BYTES:
                    raise NoPageError(f"the page that lists the folder is longer than {PAGE_BYTES >> 20} MiB")
            try:
                text = page.decode(response.charset or "utf-8", "surrogateescape")
            except (LookupError, UnicodeError):
                text = page.decode("utf-8", "surrogateescape")
            return text, str(response.url), _says_its_end(response.headers)


def _says_its_end(headers: Mapping[str, str]) -> bool:
    """Whether an answer that was read without an error is whole: aiohttp counts bytes, and waits for the last chunk."""
    return "Content-Length" in headers or "chunked" in headers.get("Transfer-Encoding", "").lower()


def _content_type(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _http_version(headers: Mapping[str, str], size: int) -> Stat:
    etag = bare_etag(headers.get("ETag", ""))
    return Stat("file", size, mtime_ns(headers.get("Last-Modified")), etag=etag)


def _raise_for(response: Any, path: str) -> None:
    if response.status in _GONE:
        raise FileNotFoundError(path)
    response.raise_for_status()


def _is_of_no_total(status: int, told: str) -> bool:
    """Whether an answer is a range of a file, and doesn't say how many bytes that has."""
    found = CONTENT_RANGE.fullmatch(told)
    return status == PART and found is not None and found[3] == "*"


def _told(response: Any, name: str) -> str:
    """What an answer says in its headers of a name: different ones with commas between them."""
    return ", ".join(dict.fromkeys(value.strip() for value in response.headers.getall(name, ())))


def _is_weak(headers: Mapping[str, str]) -> bool:
    return headers.get("ETag", "").strip().startswith("W/")


def _check_status(response: Any, *, is_ranged: bool = False) -> None:
    check_status(response.status, _told(response, "Content-Range"), is_ranged=is_ranged, reason=response.reason)
