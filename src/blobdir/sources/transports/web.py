"""A web server, by fsspec's own session: the etag and the range that was served stand in the headers."""

from __future__ import annotations

import asyncio
import errno
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from blobdir.inside import WHOLE_BYTES
from blobdir.sources.model import Stat
from blobdir.sources.retries import (
    NoPageError,
    NoRangesError,
    RangeIgnoredError,
    TooLongError,
    WrongAnswerError,
    is_refused,
    status_of,
)
from blobdir.sources.transports.answers import (
    BEYOND_END,
    CONTENT_RANGE,
    PART,
    WHOLE,
    Answer,
    Came,
    announced,
    bare_etag,
    check_form,
    check_range,
    check_status,
    length_of,
    mtime_ns,
    nobody,
)
from blobdir.sources.transports.general import General
from blobdir.sources.webindex import PAGE_BYTES, open_at_end, read_page, why_no_list

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fsspec import AbstractFileSystem

    from blobdir.sources.webindex import Listed

_RECEIVE = 1 << 20
_UNANNOUNCED = 8 << 20
"""Bytes that are read of a file before it's asked how many it has, where the answer doesn't say it."""
_TOGETHER = 2 << 30
"""Bytes of whole files of more than `_UNANNOUNCED` that may be here while they come; one alone may have more."""
_SPARE = 1 << 30
"""Bytes more, where the first of them has stalled."""
_REST_S, _STALLED_S = 0.05, 0.5
_TOLD = 1024
"""Files of which it's remembered what the server has said of them."""
_IGNORED = 3
"""Ranges that a server may answer with all of the file before it's one that serves none."""
_NO_RANGES = "the server doesn't serve byte ranges; copy the project, or use another server"
_DECODED = frozenset(("gzip", "deflate", "br", "zstd"))
"""Forms of a page from which aiohttp makes it again; of a file, its version and size would be those of the form."""
_IDENTITY = {"Accept-Encoding": "identity"}
_PAGES = frozenset(("text/html", "application/xhtml+xml"))
_NO_HEAD = frozenset((403, 501))
"""What may be said of a HEAD only, besides what is said of a request like this one."""
_LOGIN = 407
_GONE = frozenset((404, 410))
_HEARD: WeakKeyDictionary[AbstractFileSystem, OrderedDict[str, None]] = WeakKeyDictionary()
"""Folders in which a HEAD was answered for a file: who looked for a project knows it for who opens it there."""
_HEARD_MOST = 64
_EMPTY = "bytes */0"
"""What who refuses a range of an empty file says of it."""


@dataclass(slots=True, eq=False)
class _Large:
    """A large file that comes.

    Attributes
    ----------
    size : int
        Bytes that have come.
    came_s : float
        When the last ones did, or could have: the event loop's time.
    rests : bool
        Whether it's we who aren't ready.
    """

    size: int = 0
    came_s: float = 0.0
    rests: bool = False


class Web(General):
    """Requests of ``fsspec.implementations.http.HTTPFileSystem``.

    Attributes
    ----------
    heads : bool or None
        Whether the server answers a HEAD as it would a GET: it has sent one for a file, or has refused one and given
        the file by GET. None while nobody knows.
    """

    is_streamed = True

    def __init__(self, fs: AbstractFileSystem) -> None:
        super().__init__(fs)
        self.heads: bool | None = None
        self._asked: set[asyncio.Future[None]] = set()  # a HEAD that is under way, each
        self._large: dict[int, _Large] = {}  # whole files that come, by what they come in
        self._large_came = 0  # pieces of these
        self._ranges = False  # whether it has ever served one
        self._limits: dict[str, Any] | None = None
        self._ignored = 0  # times that it has sent all of a file instead
        self._told: OrderedDict[str, Stat] = OrderedDict()  # what was said of files without their bytes

    def _options(self, headers: dict[str, str], *, is_page: bool = False) -> dict[str, Any]:
        """Of a request for a file as it is: of an ``a.json.gz`` that a server calls encoded, nothing is taken away."""
        options: dict[str, Any] = {"read_bufsize": _RECEIVE, **self._patience(), **self.fs.kwargs}
        options["auto_decompress"] = is_page
        options["headers"] = {**(self.fs.kwargs.get("headers") or {}), **_IDENTITY, **headers}
        return options

    def _patience(self) -> dict[str, Any]:
        """No time after which aiohttp gives up what comes, unless the user has set one: it's five minutes there."""
        if self._limits is not None:
            return self._limits
        from aiohttp import ClientTimeout  # noqa: PLC0415  # there is none without an http backend
        from aiohttp.client import DEFAULT_TIMEOUT  # noqa: PLC0415

        session = getattr(self.fs, "_session", None)
        if getattr(session, "timeout", DEFAULT_TIMEOUT) != DEFAULT_TIMEOUT:
            self._limits = {}
        else:
            self._limits = {"timeout": ClientTimeout(total=None, sock_connect=DEFAULT_TIMEOUT.sock_connect)}
        return self._limits

    async def get(
        self,
        path: str,
        start: int | None,
        end: int | None,
        *,
        versioned: bool = True,  # noqa: ARG002  # the answer says it
        came: Came = nobody,
    ) -> Answer:
        """A file, or a byte range of it, over http; perhaps only the beginning of the range."""
        ranged = start is not None and end is not None
        session = await self.fs.set_session()
        headers = {"Range": f"bytes={start}-{end - 1}"} if ranged and end is not None else {}
        async with session.get(self.fs.encode_url(path), **self._options(headers)) as response:
            _raise_for(response, path)
            self._check(response, path, is_ranged=ranged)
            told, length = _told(response, "Content-Range"), length_of(response.headers)
            if start is not None and end is not None and response.status != PART:
                if length is None or not await self._is_all_of_it(path, start, end, length):
                    return await self._beginning(response, path, start, end, came)
                ranged = False
            asked, total = None, -1 if length is None else length
            if ranged and start is not None and end is not None:
                until, total = announced(start, end, told)
                asked = until - start
            data = await self._body(response, path, asked, came, _exact(response.headers, total))
            total = check_range(data, start if ranged else None, end, told)
            if not ranged and length is not None and len(data) != length:
                raise WrongAnswerError(f"the server announced {length} bytes and sent {len(data)}")
            if not ranged and not _says_its_end(response.headers):  # the connection has broken off, perhaps
                whole = await self._announced(path)
                if whole and len(data) != whole:
                    raise WrongAnswerError(f"the server announced {whole} bytes and sent {len(data)}")
            version = _http_version(response.headers, total)
            self._compare(path, version, response.headers)
            if version.size >= 0:
                self._note(path, version, response.headers)
            return Answer(data, version)

    async def _is_all_of_it(self, path: str, start: int, end: int, length: int) -> bool:
        """Whether all of a file is what was asked for: one that is empty, or as long as the range."""
        told = self._told.get(path)
        if told is None and length == 0:  # an empty answer may be no file's
            return not await self._announced(path)
        return (told is None or told.size == length) and (length == 0 or (start == 0 and length == end))

    async def _beginning(self, response: Any, path: str, start: int, end: int, came: Came) -> Answer:
        """A range from an answer that is all of the file, of the version that the server has told of: up to its end.

        Raises
        ------
        RangeIgnoredError, NoRangesError
            It's of another version, or much stands before the range.
        """
        length = length_of(response.headers)
        told, version = self._told.get(path), _exact(response.headers, -1 if length is None else length)
        if told is None or length is None or told.size != length or not told.is_surely(version):
            raise self._ignores(response.headers)
        if start != 0 and min(end, length) > _RECEIVE:
            raise self._ignores(response.headers)
        found = bytearray()
        async for piece in response.content.iter_any():
            if start == 0:
                came(piece[: max(0, end - len(found))], version)
            found += piece
            if len(found) >= end:
                break
        if len(found) < min(end, length):
            raise WrongAnswerError(f"the server announced {length} bytes and sent {len(found)}")
        return Answer(bytes(found[start:end]), version)

    def _ignores(self, headers: Mapping[str, str]) -> OSError:
        """The error where all of a file came instead of a range: it passes, where ranges are served now and then."""
        self._ignored += 1
        if self._ranges:
            return RangeIgnoredError("asked for a range, the server sent all of the file, or something else")
        if self._ignored < _IGNORED and headers.get("Accept-Ranges", "").strip().lower() != "none":
            return RangeIgnoredError(_NO_RANGES)
        return NoRangesError(_NO_RANGES)

    async def _body(self, response: Any, path: str, asked: int | None, came: Came, version: Stat) -> bytes:
        """What an answer holds: no more than it says, than was asked for, or than the server announces of the file."""
        length = length_of(response.headers)
        is_sure = length is not None and length <= (WHOLE_BYTES if asked is None else asked)
        most = length if is_sure else asked
        pieces, size = [], 0
        try:
            async for piece in response.content.iter_any():
                pieces.append(piece)
                size += len(piece)
                if most is None and size > _UNANNOUNCED:
                    most = await self._announced(path) or length or WHOLE_BYTES
                if most is not None and size > most:
                    raise TooLongError(f"the server sends more than {most:,} bytes, and the file can't have more")
                came(piece, version)
                if asked is None and size > _UNANNOUNCED:
                    await self._room(response, size, lambda: came(b"", version))
        finally:
            self._large.pop(id(response), None)
        return b"".join(pieces)

    async def _room(self, response: Any, size: int, rest: Callable[[], None]) -> None:
        """Leave bytes to the server while large files that come together hold too much; the first of them goes on.

        One that has stalled is passed over by the next, as long as there is room for a little more. `rest` is called as
        long as it's we who aren't ready, and others' bytes come.
        """
        loop, seen = asyncio.get_running_loop(), -1
        mine = self._large.setdefault(id(response), _Large())
        mine.size, mine.came_s = size, loop.time()
        self._large_came += 1
        while not self._goes_on(mine, loop.time()):
            mine.rests = True
            if seen != self._large_came:
                seen = self._large_came
                rest()
            await asyncio.sleep(_REST_S)
        mine.rests, mine.came_s = False, loop.time()

    def _goes_on(self, mine: _Large, now_s: float) -> bool:
        """Whether there is room for more of a file, or it's the first that is ready."""
        held = self._held()
        if held <= _TOGETHER or next(iter(self._large.values())) is mine:
            return True
        ready = next(one for one in self._large.values() if one.rests or now_s - one.came_s < _STALLED_S or one is mine)
        return ready is mine and held <= _TOGETHER + _SPARE

    def _held(self) -> int:
        """Bytes of large files that have come and aren't whole yet."""
        return sum(one.size for one in self._large.values())

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
            response = await self._head(url, leads_on=True)
            if self._counts(response.status, url):
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

    async def _head(self, address: Any, *, leads_on: bool) -> Any:
        """The answer to a HEAD. One that says that nothing is there waits for those beside it, until it counts.

        They were sent before anybody knew whether the server answers a HEAD. It waits no longer than its own answer
        took: the GET that it saves would take as long.
        """
        session, loop = await self.fs.set_session(), asyncio.get_running_loop()
        began, done = loop.time(), loop.create_future()
        self._asked.add(done)
        try:
            async with session.head(address, allow_redirects=leads_on, **self._options({})) as response:
                self._counts(response.status, address)
        finally:
            self._asked.discard(done)
            done.set_result(None)
        others, until = set(self._asked), 2 * loop.time() - began
        unsure = response.status in _GONE and not self._counts(response.status, address)
        while unsure and self.heads is None and others and (left := until - loop.time()) > 0:
            _, others = await asyncio.wait(others, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        return response

    def _counts(self, status: int, address: Any) -> bool:
        """Whether the answer to a HEAD stands for that to a GET, which must be asked otherwise.

        Many servers know no HEAD, and say so in their own ways. That a file isn't there is taken from those that have
        said of another one that it's there.
        """
        if status == WHOLE:
            self.heads = True
            self._hear(str(address))
        if status in _GONE:
            return self.heads or (self.heads is None and self._has_heard(str(address)))
        return not (status in _NO_HEAD or (is_refused(status) and status != _LOGIN))

    def _hear(self, address: str) -> None:
        heard = _HEARD.setdefault(self.fs, OrderedDict())
        heard[address.rpartition("/")[0]] = None
        while len(heard) > _HEARD_MOST:
            heard.popitem(last=False)

    def _has_heard(self, address: str) -> bool:
        return any(address.startswith(f"{folder}/") for folder in _HEARD.get(self.fs, ()))

    def _given(self, status: int) -> None:
        """Note what the status of a GET, after a HEAD that didn't count, says of all others of this server."""
        if self.heads is None and status in (WHOLE, PART, BEYOND_END):
            self.heads = False

    def _of_head(self, response: Any, path: str) -> Stat | None:
        """What a HEAD says of a file; None where that's of something else, or without its length."""
        _raise_for(response, path)
        length = length_of(response.headers)
        if length is None or not self._is_whole(response, path):
            return None
        found = _http_version(response.headers, length)
        return self._note(path, found, response.headers) if found.size else found

    async def _noted(self, response: Any, path: str, otherwise: int = -1, *, is_ranged: bool = False) -> Stat:
        """What an answer to a GET says of the whole file; it has `otherwise` bytes where it doesn't say how many."""
        _raise_for(response, path)
        self._check(response, path, is_ranged=is_ranged)
        found = CONTENT_RANGE.fullmatch(_told(response, "Content-Range"))
        total = int(found[3]) if found and found[3] != "*" else otherwise
        length = length_of(response.headers)
        if response.status == WHOLE and length is not None:
            total = length
        elif total < 0 and response.status == WHOLE and _says_its_end(response.headers):
            total = -1 if await response.content.readany() else 0
        return self._note(path, _http_version(response.headers, total), response.headers)

    def _check(self, response: Any, path: str, *, is_ranged: bool = False) -> None:
        """Make sure that an answer is the file that was asked for, or the range of it: by all that it says of itself.

        So does the file's name, not that of where it's led to: a file of another name is another form of it.
        """
        _check_status(response, is_ranged=is_ranged)
        self._ranges |= is_ranged and response.status == PART
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
            response = await self._head(address, leads_on=False)
            if self._counts(response.status, address):
                return _size(response.headers) if response.status == WHOLE else -1
        for headers in ({"Range": "bytes=0-0"}, {}):
            async with session.get(address, allow_redirects=False, **self._options(headers)) as response:
                if response.status == WHOLE:
                    return _size(response.headers)
                found = CONTENT_RANGE.fullmatch(_told(response, "Content-Range"))
                if response.status != PART or found is None:
                    return -1
                if found[3] != "*":
                    return int(found[3])
        return -1

    async def look(self, url: str, came: Callable[[int], None]) -> Listed | None:
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
            return await self.list_page(f"{url}/", came)
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

    async def list_page(self, url: str, came: Callable[[int], None], *, anywhere: bool = False) -> Listed:
        """What the page of a folder lists; fsspec's own reading of it takes a name such as ``http.png`` for a URL.

        `came` is told of bytes while they come.

        Raises
        ------
        NotADirectoryError
            The page is something else, was cut off twice, or lies elsewhere; `anywhere` says that redirections may lead
            to any folder.
        """
        text, address, is_whole = await self._page(url, came)
        found = read_page(text, address, url)
        if open_at_end(text, is_whole=is_whole, lists=bool(found.names)):  # the connection has broken off, perhaps
            text, address, is_whole = await self._page(url, came)
            found = read_page(text, address, url)
        if why := why_no_list(text, found, url, address, anywhere=anywhere, is_whole=is_whole):
            raise NotADirectoryError(errno.ENOTDIR, why)
        return found

    async def _page(self, url: str, came: Callable[[int], None]) -> tuple[str, str, bool]:
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
            async for piece in response.content.iter_any():
                page += piece
                came(len(piece))
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


def _size(headers: Mapping[str, str]) -> int:
    """Bytes that an answer has; -1 where it doesn't say it."""
    return length_of(headers) or -1


def _exact(headers: Mapping[str, str], size: int) -> Stat:
    """The version of which an answer is, without one that is the same by its meaning only."""
    return Stat("file", size) if _is_weak(headers) else _http_version(headers, size)


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
