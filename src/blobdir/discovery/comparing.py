"""Contents of entries of one name, which are compared: whether they are one file decides what the tree has."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from blobdir.discovery import inputs, layout
from blobdir.errors import BlobdirError
from blobdir.index import FIRST_BLOB, LINK, LOOSE
from blobdir.nametable import name_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.discovery.deciding import Deciding
    from blobdir.discovery.report import Report
    from blobdir.index import EntryTable, Header
    from blobdir.sources import Storage

T = TypeVar("T")


class Contents:
    """Reads them, and notes what the tree depends on because of it.

    Parameters
    ----------
    storage : Storage
    header : Header
    report : Report
        Gets what can't be read.
    is_missing : callable
        Whether the blob of a source number is known not to be there.
    deciding : Deciding
        Gets what is read of blobs.
    tell : callable
        Progress.
    """

    def __init__(
        self,
        storage: Storage,
        header: Header,
        report: Report,
        is_missing: Callable[[int], bool],
        deciding: Deciding,
        tell: Callable[[str, int, int], None],
    ) -> None:
        self._storage, self._header, self._report, self._tell = storage, header, report, tell
        self._is_missing = is_missing
        self._compared = 0
        self._deciding = deciding

    def read(self, directory: str, table: EntryTable, entries: list[int]) -> dict[int, bytes]:
        """Bytes of those entries that can be read."""
        found: dict[int, bytes] = {}
        by_source: dict[int, list[int]] = {}
        for entry in entries:
            by_source.setdefault(int(table.source[entry]), []).append(entry)
        for source, some in by_source.items():
            if source in (LOOSE, LINK):
                names = [name_at(table.arena, table.starts, i).decode("utf-8", "surrogateescape") for i in some]
                paths = [layout.join(directory, name) for name in names]
                found |= self._that_can_be_read(some, self._read_loose, paths, paths)
            elif source >= FIRST_BLOB and not self._is_missing(source):
                spans = [(int(table.offset[i]), int(table.offset[i] + table.size[i])) for i in some]
                blob = self._header.blobs[source - FIRST_BLOB].path
                found |= self._that_can_be_read(some, partial(self._read_members, source), spans, [blob] * len(some))
        self._compared += len(entries)
        self._tell("comparing", self._compared, 0)
        return found

    def _that_can_be_read(
        self, entries: list[int], read: Callable[[list[T]], list[bytes]], what: list[T], paths: list[str]
    ) -> dict[int, bytes]:
        """Read all at once; where that fails, one by one, and leave out what can't be read."""
        with suppress(OSError, EOFError, BlobdirError):
            return dict(zip(entries, read(what), strict=True))
        found = {}
        for entry, one, path in zip(entries, what, paths, strict=True):
            try:
                (found[entry],) = read([one])
            except EOFError:  # the blob is too short, which is a defect of its own
                continue
            except (OSError, BlobdirError) as error:
                self._report.unread(path, error)
        return found

    def _read_members(self, source: int, spans: list[tuple[int, int]]) -> list[bytes]:
        """Byte ranges of a blob; of a remote one, neighbours share a request."""
        path = self._header.blobs[source - FIRST_BLOB].path
        if self._storage.is_quick:
            found = [self._storage.read_range(path, start, end) for start, end in spans]
        else:
            found = self._storage.open(path).read_many([start for start, _ in spans], [end for _, end in spans])
        for data, (start, end) in zip(found, spans, strict=True):
            if len(data) != end - start:
                raise EOFError(path)
        if self._storage.directory:  # behind a backend, a blob has a version
            self._deciding.note(source - FIRST_BLOB, spans, found)
        return found

    def _read_loose(self, paths: list[str]) -> list[bytes]:
        if self._storage.is_quick:
            return [self._read_deciding(path) for path in paths]
        return list(self._storage.read_files(paths))

    def _read_deciding(self, path: str) -> bytes:
        """Content of a plain file that shares its name with another; the tree depends on it."""
        stat = self._storage.stat(path)
        data = self._storage.read(path)
        self._header.inputs.append(inputs.file_record(path, inputs.DECIDING, stat, data, self._header.built_ns))
        return data
