"""Requests that say what they got: bytes, and which version of the file they are of.

fsspec's own methods give bytes only. What decides whether bytes are the right ones stands in the headers of the
answer: the etag, and the range that was served. So for the backends that most projects lie on, the request is made
with the backend's own session, here; for any other the version is asked for after the bytes.
"""

from __future__ import annotations

import datetime
import email.utils
import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fsspec.implementations.memory import MemoryFileSystem

from blobdir.sources.model import Stat
from blobdir.sources.retries import NoPageError, NoRangesError, WrongAnswerError
from blobdir.sources.webindex import PAGE_BYTES, read_page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fsspec import AbstractFileSystem

    from blobdir.sources.webindex import Listed

    Get = Callable[[AbstractFileSystem, str, int | None, int | None], Awaitable["Answer"]]
    Info = Callable[[AbstractFileSystem, str], Awaitable[Stat]]

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_MTIME_KEYS = ("mtime", "LastModified", "last_modified", "updated", "created", "modified", "Last-Modified")
_ETAG_KEYS = ("ETag", "etag", "md5Hash", "md5", "content_md5")
_RECEIVE = 1 << 20
_IDENTITY = {"Accept-Encoding": "identity"}
_PAGES = frozenset(("text/html", "application/xhtml+xml"))
_NO_HEAD = frozenset((403, 405, 501))


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request has brought.

    Attributes
    ----------
    data : bytes
    version : Stat
        Of the whole file, as far as the answer tells.
    """

    data: bytes
    version: Stat


UNKNOWN = Stat("file", -1)
"""The version of bytes where nobody has asked for it."""


def bare_etag(text: str) -> str:
    """An etag without quotes and the mark of a weak one."""
    return text.strip().removeprefix("W/").strip('"')


def _mtime_ns(value: object) -> int:
    if isinstance(value, datetime.datetime):
        return round(value.timestamp() * 1e6) * 1000
    if isinstance(value, int):
        return value * 1_000_000_000
    if isinstance(value, float):
        return round(value * 1e6) * 1000  # as of a datetime: backends say one time in either way
    if isinstance(value, str):
        try:
            return int(email.utils.parsedate_to_datetime(value).timestamp()) * 1_000_000_000
        except ValueError:
            return 0
    return 0


def same_time(a_ns: int, b_ns: int) -> bool:
    """Whether two times are one, where some say it in whole seconds."""
    if a_ns % 10**9 and b_ns % 10**9:
        return a_ns == b_ns
    return a_ns // 10**9 == b_ns // 10**9


def etag_of(answer: object) -> str:
    """The etag in what a backend says of something, if it says it."""
    if not isinstance(answer, Mapping):
        return ""
    return bare_etag(next((str(answer[key]) for key in _ETAG_KEYS[:2] if answer.get(key)), ""))


def stat_of(info: Mapping[str, Any]) -> Stat:
    """From what a backend says of a file."""
    kind = info.get("type")
    size = info.get("size")
    return Stat(
        kind if kind in ("file", "directory") else "other",
        -1 if size is None else int(size),
        next((_mtime_ns(info[key]) for key in _MTIME_KEYS if info.get(key)), 0),
        etag=bare_etag(next((str(info[key]) for key in _ETAG_KEYS if info.get(key)), "")),
    )


def _check(data: bytes, start: int | None, end: int | None, content_range: str | None) -> int:
    """Check that an answer is the range that was asked for; the size of the whole file, -1 where it doesn't say."""
    if start is None or end is None:
        return len(data)
    found = _CONTENT_RANGE.fullmatch((content_range or "").strip())
    total = -1
    if found is not None:
        low, high = int(found[1]), int(found[2]) + 1
        total = -1 if found[3] == "*" else int(found[3])
        if low != start or high != (min(end, total) if total >= 0 else end):
            raise WrongAnswerError(f"asked for bytes {start} to {end}, the server sent bytes {low} to {high}")
        end = high
    if len(data) != end - start and (found is not None or len(data) > end - start):
        raise WrongAnswerError(f"asked for {end - start} bytes from byte {start}, the server sent {len(data)}")
    return total


# -- http --------------------------------------------------------------------------------------------------------


def _http_options(fs: Any, headers: dict[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {"read_bufsize": _RECEIVE, **fs.kwargs}
    options["headers"] = {**(fs.kwargs.get("headers") or {}), **_IDENTITY, **headers}
    return options


def _http_version(headers: Mapping[str, str], size: int) -> Stat:
    etag = bare_etag(headers.get("ETag", ""))
    return Stat("file", size, _mtime_ns(headers.get("Last-Modified")), etag=etag)


def _raise_for(response: Any, path: str) -> None:
    if response.status in (404, 410):
        raise FileNotFoundError(path)
    response.raise_for_status()


async def http_get(fs: Any, path: str, start: int | None, end: int | None) -> Answer:
    """A file, or a byte range of it, over http."""
    ranged = start is not None and end is not None
    session = await fs.set_session()
    headers = {"Range": f"bytes={start}-{end - 1}"} if ranged and end is not None else {}
    async with session.get(fs.encode_url(path), **_http_options(fs, headers)) as response:
        _raise_for(response, path)
        if ranged and response.status != 206:
            length = response.content_length
            if start != 0 or length is None or length != end:
                raise NoRangesError("the server doesn't serve byte ranges; copy the project, or use another server")
            ranged = False
        data: bytes = await response.read()
        total = _check(data, start if ranged else None, end, response.headers.get("Content-Range"))
        if not ranged and response.content_length is not None and len(data) != response.content_length:
            raise WrongAnswerError(f"the server announced {response.content_length} bytes and sent {len(data)}")
        return Answer(data, _http_version(response.headers, total))


async def http_info(fs: Any, path: str) -> Stat:
    """Attributes over http: one HEAD; where a server refuses that, a GET whose body isn't read."""
    session = await fs.set_session()
    url = fs.encode_url(path)
    async with session.head(url, allow_redirects=True, **_http_options(fs, {})) as response:
        if response.status not in _NO_HEAD:
            _raise_for(response, path)
            length = response.headers.get("Content-Length")
            if length is not None:
                return _http_version(response.headers, int(length))
    async with session.get(url, **_http_options(fs, {"Range": "bytes=0-0"})) as response:
        _raise_for(response, path)
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        total = int(found[3]) if found and found[3] != "*" else -1
        if response.status == 200 and response.content_length is not None:
            total = response.content_length
        return _http_version(response.headers, total)


async def http_size(fs: Any, url: str) -> int:
    """Bytes of a file; -1 where a server has none of this very name, but perhaps a folder, to which it leads on."""
    session = await fs.set_session()
    async with session.head(fs.encode_url(url), allow_redirects=False, **_http_options(fs, {})) as response:
        if response.status != 200:
            return -1
        return int(response.headers.get("Content-Length") or -1)


async def http_list(fs: Any, url: str) -> Listed:
    """What the page of a folder lists; fsspec's own reading of it takes a name such as ``http.png`` for a URL."""
    session = await fs.set_session()
    async with session.get(fs.encode_url(url), **_http_options(fs, {})) as response:
        _raise_for(response, url)
        kind = response.headers.get("Content-Type", "text/html").partition(";")[0].strip().lower()
        if kind not in _PAGES:
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
        return read_page(text, str(response.url), url)


# -- S3 ----------------------------------------------------------------------------------------------------------


async def s3_get(fs: Any, path: str, start: int | None, end: int | None) -> Answer:
    """An object, or a byte range of it, by s3fs."""
    bucket, key, version = fs.split_path(path)
    options: dict[str, Any] = {"VersionId": version} if version else {}
    if start is not None and end is not None:
        options["Range"] = f"bytes={start}-{end - 1}"
    answer = await fs._call_s3("get_object", Bucket=bucket, Key=key, **options)  # noqa: SLF001  # as in s3fs.call_s3
    body = answer["Body"]
    try:
        data: bytes = await body.read()
    finally:
        body.close()
    total = _check(data, start, end, answer.get("ContentRange"))
    etag = bare_etag(str(answer.get("ETag", "")))
    return Answer(data, Stat("file", total, _mtime_ns(answer.get("LastModified")), etag=etag))


# -- Azure -------------------------------------------------------------------------------------------------------


async def azure_get(fs: Any, path: str, start: int | None, end: int | None) -> Answer:
    """A blob, or a byte range of it, by adlfs."""
    container, name, _ = fs.split_path(path)
    options: dict[str, Any] = {"max_concurrency": 1, "retry_total": 0}  # who calls us repeats
    if start is not None and end is not None:
        options |= {"offset": start, "length": end - start}
    async with fs.service_client.get_blob_client(container, name) as client:
        stream = await client.download_blob(**options)
        data: bytes = await stream.readall()
    properties = stream.properties
    total = -1 if properties.size is None else int(properties.size)
    if start is None or end is None:
        if total >= 0 and len(data) != total:
            raise WrongAnswerError(f"the server announced {total} bytes and sent {len(data)}")
    else:
        whole = re.fullmatch(r"bytes \d+-\d+/(\d+)", str(properties.content_range or ""))
        total = int(whole[1]) if whole else -1
        _check(data, start, end if total < 0 else min(end, total), None)
    etag = bare_etag(str(properties.etag or ""))
    return Answer(data, Stat("file", total, _mtime_ns(properties.last_modified), etag=etag))


async def azure_list(fs: Any, root: str) -> list[tuple[str, dict[str, Any]]]:
    """All blobs below a folder by their own names, and what adlfs says of them."""
    container, prefix, _ = fs.split_path(root)
    found = []
    async with fs.service_client.get_container_client(container=container) as client:
        below = f"{prefix.rstrip('/')}/" if prefix else None
        async for blob in client.list_blobs(include=["metadata"], name_starts_with=below):
            (info,) = await fs._details([blob])  # noqa: SLF001  # as in adlfs's _find
            found.append((f"{container}/{blob.name}", info))
    return found


# -- any other -----------------------------------------------------------------------------------------------------


async def async_get(fs: Any, path: str, start: int | None, end: int | None) -> Answer:
    """Bytes, then the version they are of: from any asynchronous backend."""
    data = bytes(await fs._cat_file(path, start=start, end=end))  # noqa: SLF001  # fsspec's interface
    fs.invalidate_cache(fs._parent(path))  # noqa: SLF001  # else it says what it saw when it listed
    return Answer(data, stat_of(await fs._info(path)))  # noqa: SLF001  # ditto


async def async_info(fs: Any, path: str) -> Stat:
    """Attributes from any asynchronous backend."""
    fs.invalidate_cache(fs._parent(path))  # noqa: SLF001  # fsspec's interface
    return stat_of(await fs._info(path))  # noqa: SLF001  # ditto


async def async_get_only(fs: Any, path: str, start: int | None, end: int | None) -> Answer:
    """Bytes from any asynchronous backend, for who knows the version otherwise: one request, not two."""
    return Answer(bytes(await fs._cat_file(path, start=start, end=end)), UNKNOWN)  # noqa: SLF001  # fsspec's interface


def sync_get(fs: Any, path: str, start: int | None, end: int | None) -> Answer:
    """Bytes, then the version they are of: from a backend that blocks. To be called in a thread."""
    data = bytes(fs.cat_file(path, start=start, end=end))
    return Answer(data, sync_info(fs, path))


def sync_get_only(fs: Any, path: str, start: int | None, end: int | None) -> Answer:
    """Bytes from a backend that blocks, without asking which version they are of."""
    return Answer(bytes(fs.cat_file(path, start=start, end=end)), UNKNOWN)


def sync_info(fs: Any, path: str) -> Stat:
    """Attributes from a backend that blocks."""
    if isinstance(fs, MemoryFileSystem):
        file = fs.store.get(fs._strip_protocol(path))  # noqa: SLF001  # fsspec's interface
        if file is not None:  # its own `info` looks at the names of all files, so a project would take quadratic time
            return stat_of({"type": "file", "size": file.size, "created": file.created})
    fs.invalidate_cache(fs._parent(path))  # noqa: SLF001  # fsspec's interface
    return stat_of(fs.info(path))


def getter_of(fs: AbstractFileSystem) -> tuple[Get, Info]:
    """How an asynchronous backend is asked for bytes and for attributes."""
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    if protocols & {"http", "https"} and hasattr(fs, "set_session") and hasattr(fs, "encode_url"):
        return http_get, http_info
    if "s3" in protocols and hasattr(fs, "_call_s3"):
        return s3_get, async_info
    if protocols & {"abfs", "az"} and hasattr(fs, "service_client"):
        return azure_get, async_info
    return async_get, async_info


def without_version(get: Get) -> Get:
    """The same getter, without the request that is for the version alone."""
    return async_get_only if get is async_get else get
