"""What a tree has of files that lie by themselves where nothing of it does: all of it is in tars."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from blobdir.errors import NotFoundError
from blobdir.sources import Stat

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.index import Index
    from blobdir.loosefiles.model import LooseFiles
    from blobdir.sources import Storage


class _None:
    """Directories and links have the owner and the time of the tar that was changed last."""

    are_there = False

    def __init__(self, storage: Storage, index: Index, path: Callable[[int], str]) -> None:
        self._path = path
        self.disks = storage.disks_with(blob.path for blob in index.header.blobs)
        newest = max(index.header.blobs, key=lambda blob: blob.mtime_ns)
        mode = newest.mode | (newest.mode & 0o444) >> 2 if newest.mode >= 0 else -1  # who may read may look in
        self._folder = Stat("directory", -1, newest.mtime_ns, mode, newest.uid, newest.gid)
        self._link = Stat("link", -1, newest.mtime_ns, 0o777, newest.uid, newest.gid)

    def folder(self, row: int) -> tuple[Stat, bool]:  # noqa: ARG002  # part of the protocol
        return self._folder, True

    def link(self, row: int) -> Stat:  # noqa: ARG002  # part of the protocol
        return self._link

    def stat(self, row: int) -> NoReturn:
        raise NotFoundError(f"{self._path(row)}: is in no tar")

    version = stat

    def read(self, row: int, start: int, end: int | None) -> NoReturn:  # noqa: ARG002  # part of the protocol
        self.stat(row)

    read_version = read

    def open(self, row: int) -> NoReturn:
        self.stat(row)

    def read_many(self, rows: list[int]) -> list[bytes]:
        return [self.stat(row) for row in rows]

    def read_each(self, rows: list[int]) -> list[bytes | OSError]:
        return [self.stat(row) for row in rows]

    def check_size(self, row: int) -> None:
        self.stat(row)


def no_files(storage: Storage, index: Index, path: Callable[[int], str]) -> LooseFiles:
    """Those of a tree of tars."""
    return _None(storage, index, path)
