"""Headers on their way into the table: verified, and turned into columns, a thousand at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from blobdir.errors import CompressedTarError, DamagedTarError
from blobdir.wording import counted

from .header import (
    COMPRESSIONS,
    MTIME,
    TYPE_AT,
    first_bad_checksum,
    full_name,
    mode_column,
    mtime_column,
    name_columns,
    number,
    shown,
)
from .names import is_nameless
from .pax import MTIME_MAX_NS, MTIME_MIN_NS
from .table import FOLDER, NAMELESS, LeftOut, TarTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Enough headers to make numpy's overhead per call small, few enough to stay in the processor's cache.
CHUNK_HEADERS = 1024
BILLION = 10**9
LINK = ord("1")
# Whole seconds beyond these don't fit as nanoseconds in 64 bits.
MTIME_MIN_S, MTIME_MAX_S = -(-MTIME_MIN_NS // BILLION), MTIME_MAX_NS // BILLION


class HeaderChunk:
    """Collects headers, and settles them when there are enough.

    Nothing that was read from a header is believed before `settle`, except for finding the next one: the walk calls
    `settle` before it complains about anything, so that the first damaged header is the one that is reported.

    Attributes
    ----------
    headers : list of bytes
        All headers since the last `settle`, with those of directories, links and extensions.
    positions : list of int
        Byte of each.
    sizes : list of int
        Bytes of data that follow it, for those that get a row in the table; -1 for the others.
    absent : set of int
        Rows of the table that aren't files after all: their names say so, which are looked at by `settle` only.
    nameless, folders : list of LeftOut
        Those of them that have no name, or a folder's.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.headers: list[bytes] = []
        self.positions: list[int] = []
        self.sizes: list[int] = []
        self.absent: set[int] = set()
        self.nameless: list[LeftOut] = []
        self.folders: list[LeftOut] = []
        self._new_names: dict[int, bytes] = {}
        self._new_mtimes: dict[int, int] = {}
        self._settled_headers = self._settled_rows = 0
        self._counted_headers = self._counted_rows = 0
        self._arenas: list[NDArray[np.uint8]] = []
        self._lengths: list[NDArray[np.int64]] = []
        self._starts: list[NDArray[np.int64]] = []
        self._ends: list[NDArray[np.int64]] = []
        self._mtimes: list[NDArray[np.int64]] = []
        self._modes: list[NDArray[np.uint16]] = []

    @property
    def header_count(self) -> int:
        """Headers seen since the beginning."""
        return self._settled_headers + len(self.headers)

    def rows_before(self) -> int:
        """Rows of the table before the last header, settled or not."""
        # Each header is counted once, since a long run of links asks for each of them.
        last = len(self.sizes) - 1
        self._counted_rows += sum(size >= 0 for size in self.sizes[self._counted_headers : last])
        self._counted_headers = last
        return self._settled_rows + self._counted_rows

    def last_name(self) -> bytes:
        """Name of the last header's member."""
        return self._new_names.get(len(self.headers) - 1) or full_name(self.headers[-1])

    def whole_before(self, at: int | None = None) -> str:
        """For messages: how many rows there are before collected header `at`, or all of them, and the last's name."""
        rows = [i for i, size in enumerate(self.sizes[:at]) if size >= 0]
        count = self._settled_rows + len(rows)
        if not count:
            return "no member before it is whole"
        if rows:
            last = self._new_names.get(rows[-1]) or full_name(self.headers[rows[-1]])
        else:
            last = self._arenas[-1].tobytes().split(b"\0")[-2]
        whole = counted(count, "member before it is whole", "members before it are whole")
        return f"{whole}, the last is {shown(last)}"

    def make_row(self, size: int, name: bytes | None, mtime_ns: int | None) -> None:
        """Give the last header a row, with `size` bytes of data and what an extended header says instead of it."""
        at = len(self.sizes) - 1
        self.sizes[at] = size
        if name is not None:
            self._new_names[at] = name
        if mtime_ns is not None:
            self._new_mtimes[at] = mtime_ns

    def settle(self) -> None:
        """Verify the collected headers and turn them into rows.

        Raises
        ------
        DamagedTarError, CompressedTarError
            The first of them that isn't a header.
        """
        if not self.headers:
            return
        block = np.frombuffer(b"".join(self.headers), np.uint8).reshape(-1, 512)
        bad = first_bad_checksum(block)
        if bad >= 0:
            raise self._bad_header(bad)
        size = np.array(self.sizes, np.int64)
        start = np.array(self.positions, np.int64) + 512
        kept = np.flatnonzero(size >= 0)
        if len(kept) < len(size):
            block, size, start = block[kept], size[kept], start[kept]
        if len(kept):
            arena, length = self._names(block, kept)
            self._arenas.append(arena)
            self._lengths.append(length)
            self._starts.append(start)
            self._ends.append(start + size)
            self._mtimes.append(self._mtime_ns(block, kept))
            self._modes.append(mode_column(block))
        self._settled_headers += len(self.headers)
        self._settled_rows += len(kept)
        self._counted_headers = self._counted_rows = 0
        for collected in (self.headers, self.positions, self.sizes, self._new_names, self._new_mtimes):
            collected.clear()

    def cut(self, position: int) -> None:
        """Settle the headers before a byte, and forget the others."""
        keep = next((i for i, at in enumerate(self.positions) if at >= position), len(self.positions))
        for collected in (self.headers, self.positions, self.sizes):
            del collected[keep:]
        for new in (self._new_names, self._new_mtimes):
            for header in [header for header in new if header >= keep]:
                del new[header]
        self._counted_headers = self._counted_rows = 0
        self.settle()

    def table(
        self, left_out: list[LeftOut], folders: list[LeftOut], doubts: list[str], size: int, next_archive: int
    ) -> TarTable:
        """All rows, with those in `absent`. What was collected must be settled."""
        none = np.empty(0, np.int64)
        length = np.concatenate([np.zeros(1, np.int64), *self._lengths])
        return TarTable(
            arena=np.concatenate([np.empty(0, np.uint8), *self._arenas]),
            name_start=np.cumsum(length, out=length),
            start=np.concatenate([none, *self._starts]),
            end=np.concatenate([none, *self._ends]),
            mtime_ns=np.concatenate([none, *self._mtimes]),
            mode=np.concatenate([np.empty(0, np.uint16), *self._modes]),
            left_out=(*left_out, *self.nameless),
            doubts=tuple(doubts),
            size=size,
            next_archive=next_archive,
            folders=(*folders, *self.folders),
        )

    def _names(self, block: NDArray[np.uint8], kept: NDArray[np.intp]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        arena, length = name_columns(block)
        after = np.cumsum(length)
        slashed = arena[np.maximum(after - 2, 0)] == ord("/")
        new = self._new_names
        if new or slashed.any():
            names = arena.tobytes().split(b"\0")[:-1]
            for row in np.flatnonzero(slashed).tolist():
                names[row] = names[row].rstrip(b"/")
                # A name that is a folder's makes it one, whatever the type says, in all known readers.
                if int(kept[row]) not in new and block[row, TYPE_AT] != LINK:
                    self.absent.add(self._settled_rows + row)
                    at = self.positions[int(kept[row])]
                    self.folders.append(LeftOut(FOLDER, names[row], at, self._settled_rows + row))
            if new:
                for row, header in enumerate(kept.tolist()):
                    if header in new:
                        names[row] = new[header]
            length = np.array([len(name) + 1 for name in names], np.int64)
            arena = np.frombuffer(b"\0".join([*names, b""]), np.uint8)
            after = np.cumsum(length)
        # Names such as "." have no path either.
        for row in np.flatnonzero((length == 1) | (arena[np.maximum(after - 2, 0)] == ord("."))).tolist():
            at = self._settled_rows + row
            if at not in self.absent and is_nameless(arena[after[row] - length[row] : after[row] - 1].tobytes()):
                self.nameless.append(LeftOut(NAMELESS, b"", self.positions[int(kept[row])], at))
                self.absent.add(at)
        return arena, length

    def _mtime_ns(self, block: NDArray[np.uint8], kept: NDArray[np.intp]) -> NDArray[np.int64]:
        seconds, unusual = mtime_column(block)
        for row in unusual:
            value = number(block[row, MTIME].tobytes())
            seconds[row] = min(max(value or 0, MTIME_MIN_S), MTIME_MAX_S)
        seconds *= BILLION
        if self._new_mtimes:
            for row, header in enumerate(kept.tolist()):
                if header in self._new_mtimes:
                    seconds[row] = self._new_mtimes[header]
        return seconds

    def _bad_header(self, at: int) -> DamagedTarError | CompressedTarError:
        """The error for collected header `at`, whose checksum is wrong."""
        position = self.positions[at]
        if position == 0:
            return not_a_tar(self._path, self.headers[at])
        return DamagedTarError(
            f"{self._path}: damaged header at byte {position}: its checksum is wrong; {self.whole_before(at)}",
            path=self._path,
            position=position,
        )


def not_a_tar(path: str, first: bytes) -> DamagedTarError | CompressedTarError:
    """The error for a file whose `first` bytes are not a header."""
    for magic, name, undo in COMPRESSIONS:
        if first.startswith(magic):
            return CompressedTarError(
                f"{path}: compressed with {name}, and byte ranges of a compressed file mean nothing; "
                f"decompress it ({undo}) and scan again",
                path=path,
                position=0,
            )
    return DamagedTarError(
        f"{path}: not a tar archive, or its first header is damaged (byte 0: no valid header checksum)",
        path=path,
        position=0,
    )
