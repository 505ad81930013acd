"""Names of files as backends know them: which can't be paths, and which a backend takes for others. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec import AbstractFileSystem
from fsspec.asyn import AsyncFileSystem

if TYPE_CHECKING:
    from collections.abc import Sequence

    Keys = Sequence[tuple[str, str, dict[str, Any]]]
    """What is listed: path, the backend's own name, and what the backend says of it."""


def leads_elsewhere(path: str) -> bool:
    """Whether a name that a backend lists isn't one of a file below the root: an object store allows any."""
    return "\0" in path or not {"", ".", ".."}.isdisjoint(path.split("/"))


def is_understood(fs: AbstractFileSystem, key: str) -> bool:
    """Whether a backend, which takes URLs as well as names, takes a name for just that."""
    if "?" not in key and "#" not in key:
        return True
    split = getattr(fs, "split_path", None)
    if split is None:
        return str(fs._strip_protocol(key)) == key  # noqa: SLF001  # part of fsspec's interface
    bucket, name = split(key)[:2]
    return f"{bucket}/{name}" == key


def lists_at_once(fs: AbstractFileSystem, *, is_async: bool) -> bool:
    """Whether a backend has a way of its own to list all: fsspec's leaves out folders that can't be listed."""
    own = getattr(type(fs), "_find" if is_async else "find", None)
    return own not in (AbstractFileSystem.find, AsyncFileSystem._find)  # noqa: SLF001  # ditto
