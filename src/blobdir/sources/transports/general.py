"""Any fsspec backend: bytes, then the version that they are of, by a second request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec.implementations.memory import MemoryFileSystem

from blobdir.sources.transports.answers import UNKNOWN, Answer, Came, nobody, stat_of

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from blobdir.sources.model import Stat


class General:
    """Requests of a backend that makes them in fsspec's event loop.

    Parameters
    ----------
    fs : AbstractFileSystem
        Its methods with an underscore are fsspec's interface for event loops.

    Attributes
    ----------
    is_streamed : bool
        Whether `get` tells `came` of bytes while they come, and its answer may be only the beginning of what was asked
        for.
    """

    is_streamed = False

    def __init__(self, fs: AbstractFileSystem) -> None:
        self.fs: Any = fs

    async def get(
        self,
        path: str,
        start: int | None,
        end: int | None,
        *,
        versioned: bool = True,
        came: Came = nobody,  # noqa: ARG002  # it comes at once
    ) -> Answer:
        """Bytes ``start:end`` of a file, half-open, or all of it; without `versioned`, by one request."""
        data = bytes(await self.fs._cat_file(path, start=start, end=end))  # noqa: SLF001
        return Answer(data, await self.info(path) if versioned else UNKNOWN)

    async def info(self, path: str) -> Stat:
        """Attributes of a file as they are now."""
        self.fs.invalidate_cache(self.fs._parent(path))  # noqa: SLF001  # else it says what it saw when it listed
        return stat_of(await self.fs._info(path))  # noqa: SLF001

    async def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Any other method of the backend."""
        return await getattr(self.fs, f"_{name}")(*args, **kwargs)


class Blocking:
    """The same of a backend that blocks: its methods are to be called in a thread."""

    is_streamed = False

    def __init__(self, fs: AbstractFileSystem) -> None:
        self.fs: Any = fs

    def get(
        self,
        path: str,
        start: int | None,
        end: int | None,
        *,
        versioned: bool = True,
        came: Came = nobody,  # noqa: ARG002  # it comes at once
    ) -> Answer:
        """Bytes ``start:end`` of a file, half-open, or all of it."""
        data = bytes(self.fs.cat_file(path, start=start, end=end))
        return Answer(data, self.info(path) if versioned else UNKNOWN)

    def info(self, path: str) -> Stat:
        """Attributes of a file as they are now."""
        if isinstance(self.fs, MemoryFileSystem):
            file = self.fs.store.get(self.fs._strip_protocol(path))  # noqa: SLF001  # fsspec's interface
            if file is not None:  # its own `info` looks at the names of all files: quadratic for a project
                return stat_of({"type": "file", "size": file.size, "created": file.created})
        self.fs.invalidate_cache(self.fs._parent(path))  # noqa: SLF001  # fsspec's interface
        return stat_of(self.fs.info(path))

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Any other method of the backend."""
        return getattr(self.fs, name)(*args, **kwargs)
