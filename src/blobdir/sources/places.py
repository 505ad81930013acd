"""Where a project is said to be, so that it means the same from everywhere: relative paths are those of now."""

from __future__ import annotations

import os
import re
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, Any

from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from blobdir.filenames import is_path
from blobdir.sources.transports import keeps_copies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fsspec import AbstractFileSystem

_LOCAL = ("file", "local")
CACHES = ("simplecache", "filecache", "blockcache", "cached")
"""Backends whose paths are those of what they keep copies of."""
_SHORT_HOST = re.compile(r"(://(?:[^/@\s]*@)?)\[([0-9A-Fa-f.:]*::[0-9A-Fa-f.:]*)\]")
"""An IPv6 address in a URL (RFC 3986, 3.2.2), behind a user's name or not."""
_NO_PROTOCOL = re.compile(r".*[^a-z]+.*")
"""What fsspec takes for a path, and not for a protocol, where it stands alone in a chain."""


def settled(
    place: str, protocol: str | None, options: Mapping[str, Any] | None, fs: AbstractFileSystem | None
) -> tuple[str, dict[str, Any] | None, AbstractFileSystem | None]:
    """A place, options for its backend, and the backend if it's given, with absolute paths on this machine.

    A backend that shows a folder of another one is taken away, and its folder put in front of the path; and so is one
    that keeps copies.
    """
    if fs is not None:
        while type(fs) is DirFileSystem or keeps_copies(fs):
            if type(fs) is DirFileSystem:
                place = fs._join(fs._strip_protocol(place))  # noqa: SLF001  # no other way to ask
            fs = fs.fs
        path = str(fs._strip_protocol(place)) if place else place  # noqa: SLF001  # part of fsspec's interface
        return path if path == _local_path(place) else place, _options(options), fs
    return _url(place, protocol, options or {}), _options(options), None


def without_short_hosts(url: str) -> str:
    """A URL in which addresses of servers are written in full: ``[::1]`` has what fsspec divides a chain at."""
    return _SHORT_HOST.sub(_in_full, url)


def _in_full(found: re.Match[str]) -> str:
    try:
        parts = IPv6Address(found[2]).exploded.split(":")
    except ValueError:
        return found[0]
    return f"{found[1]}[{':'.join(f'{int(part, 16):x}' for part in parts)}]"


def split_copies(url: str) -> tuple[str, str]:
    """What keeps copies and stands before a URL (``simplecache::``), and the URL, which all paths are of."""
    at = 0
    while (end := url.find("::", at)) >= 0 and url[at:end] in CACHES:
        at = end + 2
    return url[:at], url[at:]


def _local_path(text: str) -> str:
    return str(LocalFileSystem._strip_protocol(text))  # noqa: SLF001  # part of fsspec's interface


def _url(text: str, protocol: str | None, options: Mapping[str, Any]) -> str:
    """A path or URL, chained or not, whose local parts are absolute."""
    text = without_short_hosts(text)
    if not text:
        return text
    if protocol in (None, "", *_LOCAL) or (protocol in CACHES and _is_of_local(options)):
        if is_path(text):
            return os.path.abspath(text)
    elif "://" not in text:
        return text
    *chain, last = text.split("::")
    said, found, path = last.partition("://")
    parts = [f"file://{_local_path(part)}" if part.startswith(("file://", "local://")) else part for part in chain]
    if found and said in _LOCAL:
        last = f"file://{_local_path(last)}"
    elif found and said in CACHES and _is_of_local(options.get(said, options)):
        last = f"{said}://{_local_path(path)}"
    elif not found and _NO_PROTOCOL.match(last):
        last = _local_path(last)
    return "::".join([*parts, last])


def _is_of_local(options: Mapping[str, Any]) -> bool:
    return options.get("target_protocol") in _LOCAL or isinstance(options.get("fs"), LocalFileSystem)


def _options(options: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Options for a backend, in which other places may stand."""
    if options is None:
        return None
    found = dict(options)
    target = found.get("target_protocol")
    for key, value in options.items():
        if isinstance(value, dict):
            found[key] = _options(value)
        elif key == "fo" and isinstance(value, str):
            found[key] = _url(value, target, found.get("target_options") or {})
        elif key == "path" and isinstance(value, str) and _is_of_local(found):  # of dir://
            found[key] = _local_path(value)
    return found
