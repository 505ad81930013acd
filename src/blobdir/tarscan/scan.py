"""The walk from header to header."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from blobdir.errors import DamagedTarError

from .bounds import GivenNames
from .chunk import CHUNK_HEADERS, HeaderChunk, not_a_tar
from .header import LINK_NAME, SIZE, SPECIAL_TYPES, TYPE_AT, checksum_holds, full_name, number, shown, text_field
from .links import HardLink, resolve
from .names import is_nameless
from .pax import Overrides, parse_records
from .source import BLOCK, LocalFile, ReadAt, Window, open_file_of, shrunk
from .table import (
    BLOCK_DEVICE,
    CHARACTER_DEVICE,
    FOLDER,
    NAMELESS,
    OTHER_TYPE,
    OTHER_VOLUME,
    PIPE,
    SPARSE,
    SYMBOLIC_LINK,
    Kind,
    LeftOut,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from .table import TarTable

ZERO_BLOCK = bytes(BLOCK)
# Extended attributes such as a Mac's resource forks take megabytes; the cap keeps a hostile length from becoming an
# allocation.
MAX_PAYLOAD_BYTES = 32 << 20
# A remote archive is read in longer stretches: there, a call costs more than the bytes it brings.
LOCAL_WINDOW_BYTES = (BLOCK, 256 << 10)
REMOTE_WINDOW_BYTES = (64 << 10, 4 << 20)
PROGRESS_BYTES = 8 << 20
# Bytes after the end marker that are read at a time, to notice archives that were concatenated.
TAIL_BYTES = 1 << 20

# Types without data of their own, whatever their size field says.
DATALESS = {ord("2"): SYMBOLIC_LINK, ord("3"): CHARACTER_DEVICE, ord("4"): BLOCK_DEVICE, ord("6"): PIPE}
# With data that is no file's: GNU tar's list of a directory, and its name of the whole archive.
DUMP, LABEL = ord("D"), ord("V")
UNSERVED = {ord("S"): SPARSE, ord("M"): OTHER_VOLUME}
FILE_TYPES = b"0\0"
LINK, SYMLINK, DIRECTORY = ord("1"), ord("2"), ord("5")
EXTENSIONS = frozenset(b"xXgLK")
# Bytes of an old GNU sparse header, and of a block of its map, that say whether another such block follows.
SPARSE_GOES_ON, MAP_GOES_ON = 482, 504

# What an extended header may say about a member without a say in where its data lies.
HARMLESS = frozenset({"path", "mtime", "kind"})


def scan_tar(path: str | os.PathLike[str] | ReadAt, *, progress: Callable[[int], None] | None = None) -> TarTable:
    """Find the members of an uncompressed tar archive: ustar, pax, GNU or old v7.

    Reads headers, not data, and verifies the checksum of every header. O(n), with one read per header where members
    are large and fewer where they are small. Memory is the table and a few MiB. Threads may scan at the same time.

    Parameters
    ----------
    path : str, PathLike or ReadAt
        A local file, or an object that reads byte ranges of an archive elsewhere.
    progress : callable, optional
        Called with the number of bytes that lie behind, every few MiB and at the end.

    Returns
    -------
    TarTable

    Raises
    ------
    CompressedTarError
        The archive is compressed.
    DamagedTarError
        Not a tar archive, or one with a damaged header or a missing end; or the file became shorter meanwhile. The
        error's `position` is the byte.
    OSError
        The file can't be opened or read.
    """
    if not isinstance(path, (str, os.PathLike)):
        return _Scan(path, _window_of(path), progress).run()
    with LocalFile(path) as source:
        table = _Scan(source, LOCAL_WINDOW_BYTES, progress).run()
        # The data of members that lie behind is never read again, so a missing end would go unnoticed.
        now = source.size_now()
        if now < source.size:
            raise shrunk(source.path, source.size, now)
        return table


def scan_what_is_whole(
    source: ReadAt, *, progress: Callable[[int], None] | None = None
) -> tuple[TarTable, DamagedTarError | None]:
    """Find the members that lie before the first damage, and what that is; see `scan_tar`.

    Raises
    ------
    CompressedTarError
        The archive is compressed.
    OSError
        It can't be read.
    """
    scan = _Scan(source, _window_of(source), progress)
    try:
        return scan.run(), None
    except DamagedTarError as error:
        damage = error
    while True:
        try:
            return scan.before(damage.position), damage
        except DamagedTarError as error:  # what wasn't verified yet
            damage = error


def _window_of(source: ReadAt) -> tuple[int, int]:
    return LOCAL_WINDOW_BYTES if open_file_of(source) >= 0 else REMOTE_WINDOW_BYTES


class _Scan:
    """State of one scan."""

    def __init__(self, source: ReadAt, window: tuple[int, int], progress: Callable[[int], None] | None) -> None:
        self._path = source.path
        self._size = source.size
        self._window = Window(source, *window)
        self._headers_at_move = 0
        self._progress = progress
        self._reported = 0
        self._chunk = HeaderChunk(self._path)
        self._globals: Overrides = {}
        # Extensions since the last member, one of a kind. The first has the last word, as in bsdtar and tarfile.
        self._pending: list[Overrides] = []
        self._given = GivenNames()
        self._payload_bytes = 0  # of extended headers
        self._links: dict[int, HardLink] = {}
        self._left_out: list[LeftOut] = []
        self._folders: list[LeftOut] = []
        self._doubts: list[str] = []
        self._next_archive = -1

    def run(self) -> TarTable:
        if self._size < BLOCK:
            if self._size == 0:
                raise DamagedTarError(f"{self._path}: empty, not a tar archive", path=self._path)
            raise not_a_tar(self._path, self._window.read(0, self._size))
        self._walk()
        self._chunk.settle()
        table = self._chunk.table(self._left_out, self._folders, self._doubts, self._size, self._next_archive)
        table = resolve(table, self._links, self._chunk.absent, self._path)
        if self._progress is not None:
            self._progress(self._size)
        return table

    def before(self, position: int) -> TarTable:
        """What lies before a byte at which the scan has failed, and is whole."""
        self._chunk.cut(position)
        table = self._chunk.table(self._left_out, self._folders, self._doubts, self._size, self._next_archive)
        left_out, folders = (
            tuple(member for member in members if member.position < position)
            for members in (table.left_out, table.folders)
        )
        table = replace(table, left_out=left_out, folders=folders)
        past = np.flatnonzero(table.end > position).tolist()
        links = {row: link for row, link in self._links.items() if link.position < position}
        return resolve(table, links, {*self._chunk.absent, *past}, self._path)

    def _walk(self) -> None:
        """Visit all headers. Ordinary ones stay in this loop, which is what the time of a scan goes into."""
        chunk, window, pending = self._chunk, self._window, self._pending
        add_header, add_position, add_size = chunk.headers.append, chunk.positions.append, chunk.sizes.append
        data, base, room = b"", 0, -1
        ordinary = True
        position = 0
        while True:
            i = position - base
            if i > room:
                if not self._refill(position):
                    return
                data, base, room, i = window.data, window.base, len(window.data) - BLOCK, 0
            kind = data[i + 156]
            digits = data[i + 124 : i + 135]
            # The twelfth byte of the size is a NUL or a space, or one more digit from 8 GiB on.
            if ordinary and kind in FILE_TYPES and digits.isdigit() and data[i + 135] in b"\0 ":
                try:
                    size = int(digits, 8)
                except ValueError:
                    size = -1
                if size >= 0:
                    add_header(data[i : i + BLOCK])
                    add_position(position)
                    add_size(size)
                    if pending:
                        self._make_row(size, pending.pop(), position)
                    position += BLOCK + (size + 511 & -512)
                    continue
            position = self._irregular(data[i : i + BLOCK], position)
            if position < 0:
                return
            ordinary = not self._globals and (not pending or (len(pending) == 1 and pending[0].keys() <= HARMLESS))

    def _refill(self, position: int) -> bool:
        """Read on from the header at `position`; False at the end of the file."""
        chunk = self._chunk
        left = self._size - position
        if left < 0:
            self._fail_truncated(chunk.last_name(), chunk.positions[-1], position)
        if len(chunk.headers) >= CHUNK_HEADERS:
            chunk.settle()
        if self._progress is not None and position - self._reported >= PROGRESS_BYTES:
            self._reported = position
            self._progress(position)
        if left >= BLOCK:
            self._window.move(position, chunk.header_count - self._headers_at_move)
            self._headers_at_move = chunk.header_count
            return True
        if any(self._window.read(position, left)):
            self._fail(f"truncated in the header at byte {position}", position)
        self._check_no_pending(position)
        self._doubts.append(f"no end-of-archive marker at byte {position}: the archive may have had more members")
        return False

    def _irregular(self, header: bytes, position: int) -> int:
        """Take a header that isn't an ordinary file's; returns the position of the next, or -1 at the end marker."""
        if header[TYPE_AT] == 0 and header == ZERO_BLOCK:
            self._check_no_pending(position)
            self._check_tail(position)
            return -1
        chunk = self._chunk
        chunk.headers.append(header)
        chunk.positions.append(position)
        chunk.sizes.append(-1)
        if header[TYPE_AT] in EXTENSIONS:
            return self._extension(header, position)
        return self._member(header, position)

    def _extension(self, header: bytes, position: int) -> int:
        """Take a pax or GNU header that says something about those after it."""
        size = self._header_size(header, position)
        if size > MAX_PAYLOAD_BYTES:
            self._fail(f"the extended header at byte {position} claims {size} bytes", position)
        end = position + BLOCK + (size + 511 & -512)
        if end > self._size:
            self._fail(f"truncated in the extended header at byte {position}", position)
        payload = self._window.read(position + BLOCK, size)
        self._payload_bytes += size
        kind = header[TYPE_AT]
        if kind == ord("L"):
            self._put({"path": text_field(payload), "kind": kind})
        elif kind == ord("K"):
            self._put({"linkpath": text_field(payload), "kind": kind})
        else:
            records = parse_records(payload)
            if fault := records.pop("fault", ""):
                self._doubts.append(
                    f"the extended header at byte {position} is damaged: {fault}; what it says from there on about "
                    f"{self._about(end)} wasn't read"
                )
            if kind == ord("g"):
                self._globals.update(records)
            else:
                self._put({**self._globals, **records, "kind": ord("x")})
        return end

    def _put(self, extension: Overrides) -> None:
        """Remember what an extended header says, in place of another one of its kind, as GNU tar and bsdtar do."""
        for i, other in enumerate(self._pending):
            if other["kind"] == extension["kind"]:
                self._pending[i] = extension
                return
        self._pending.append(extension)

    def _about(self, position: int) -> str:
        """For messages: the member whose header is at `position`."""
        header = self._window.read(position, min(BLOCK, self._size - position))
        return shown(full_name(header)) if len(header) == BLOCK and any(header) else "nothing"

    def _member(self, header: bytes, position: int) -> int:
        """Take the header of a member that isn't ordinary, or that extensions speak about."""
        over = self._overrides(position)
        path = over.get("path")
        name = full_name(header) if path is None else path.rstrip(b"/")
        kind = header[TYPE_AT]
        if kind in DATALESS or kind in (LINK, DIRECTORY):
            if kind == LINK:
                target = over.get("linkpath")
                target = text_field(header[LINK_NAME]) if target is None else target
                self._links[self._chunk.rows_before()] = HardLink(target, position)
                self._make_row(0, over, position)
            else:
                target = over.get("linkpath") if kind == SYMLINK else b""
                target = text_field(header[LINK_NAME]) if target is None else target
                self._leave_out(DATALESS.get(kind, FOLDER), name, position, target)
            return self._after_dataless(header, over, position)
        size = over.get("size")
        size = self._header_size(header, position) if size is None else size
        if size < 0:
            self._fail(f"damaged extended header of {shown(name)} at byte {position}: the size is no number", position)
        begin = self._after_sparse_map(position) if kind == ord("S") else position + BLOCK
        end = begin + (size + 511 & -512)
        if end > self._size:
            self._fail_truncated(name, position, end)
        sparse = over.get("sparse")
        if sparse is not None:
            self._leave_out(SPARSE, sparse or name, position)
        elif kind not in SPECIAL_TYPES:
            # A long name counts whole: the header has its first 100 bytes, and the last of those may be a slash.
            self._make_row(size, over, position)
        elif kind == DUMP:
            self._leave_out(FOLDER, name, position)
        elif kind != LABEL:
            self._leave_out(UNSERVED.get(kind, OTHER_TYPE), name, position)
        return end

    def _after_dataless(self, header: bytes, over: Overrides, position: int) -> int:
        """The next header after a link, device or directory.

        Readers don't agree on whether there are data if it says so. What is a header decides, or the archive's end.
        """
        size = over.get("size") or number(header[SIZE]) or 0
        plain, behind = position + BLOCK, position + BLOCK + (size + 511 & -512)
        if size <= 0 or self._may_go_on(plain) or not self._may_go_on(behind):
            return plain
        return behind

    def _may_go_on(self, position: int) -> bool:
        """Whether a member, or the end of the archive, may be at a byte."""
        if position == self._size:
            return True
        return self._is_header(position) or (
            position + BLOCK <= self._size and not any(self._window.read(position, BLOCK))
        )

    def _is_header(self, position: int) -> bool:
        if position + BLOCK > self._size:
            return False
        header = self._window.read(position, BLOCK)
        return any(header) and checksum_holds(header)

    def _after_sparse_map(self, position: int) -> int:
        """The first byte of the data of an old GNU sparse file: its map goes on in blocks of their own."""
        at, flag = position, SPARSE_GOES_ON
        while at + BLOCK <= self._size and self._window.read(at, BLOCK)[flag]:
            at, flag = at + BLOCK, MAP_GOES_ON
        return at + BLOCK

    def _overrides(self, position: int) -> Overrides:
        """What extensions say about the member whose header is at hand. Those that apply to one member end here."""
        pending = self._pending
        if len(pending) == 1 and not self._globals:
            return pending.pop()
        over = self._globals.copy()
        while pending:
            over.update(pending.pop())
        if self._globals and not self._given.take(over, BLOCK * self._chunk.header_count + self._payload_bytes):
            self._fail(f"global headers give names that are longer than all headers up to byte {position}", position)
        return over

    def _make_row(self, size: int, over: Overrides, position: int) -> None:
        name = over.get("path")
        if name is not None:
            if name.endswith(b"/") and self._chunk.headers[-1][TYPE_AT] != LINK:
                self._chunk.sizes[-1] = -1
                self._leave_out(FOLDER, name.rstrip(b"/"), position)
                return
            name = name.rstrip(b"/")
        self._chunk.make_row(size, name, over.get("mtime"))

    def _leave_out(self, kind: Kind, name: bytes, position: int, target: bytes = b"") -> None:
        if kind is not FOLDER and is_nameless(name):  # no reader makes anything of it
            kind, name, target = NAMELESS, b"", b""
        found = self._folders if kind is FOLDER else self._left_out
        found.append(LeftOut(kind, name, position, self._chunk.rows_before(), target))

    def _header_size(self, header: bytes, position: int) -> int:
        size = number(header[SIZE])
        if size is None or size < 0:
            self._fail(
                f"damaged header of {shown(full_name(header))} at byte {position}: the size is no number", position
            )
        return size

    def _check_no_pending(self, position: int) -> None:
        if self._pending:
            self._fail(f"truncated: it ends at byte {position} after an extended header", position)

    def _check_tail(self, position: int) -> None:
        """Look at what follows the first zero block. Readers end there, whatever it is."""
        after = position + BLOCK
        at = self._first_not_zero(after)
        if at >= 0:
            block = at // BLOCK * BLOCK
            if self._is_header(block):
                self._next_archive = block
                self._doubts.append(
                    f"the archive ends at byte {position}, and at byte {block} another one begins, whose members, "
                    f"{shown(full_name(self._window.read(block, BLOCK)))} the first, weren't read: archives that were "
                    "concatenated? `tar --ignore-zeros` reads them"
                )
            else:
                self._doubts.append(
                    f"the archive ends at byte {position}, and bytes {at} to {self._size} weren't read; they don't "
                    "begin with a tar header"
                )
        elif self._size - after < BLOCK:
            self._doubts.append(f"the end-of-archive marker at byte {position} is one zero block instead of two")

    def _first_not_zero(self, position: int) -> int:
        """The first byte from `position` on that isn't zero; -1 if all are."""
        while (position := self._window.next_data(position)) < self._size:
            data = self._window.read(position, min(TAIL_BYTES, self._size - position))
            if data.count(0) < len(data):
                return position + len(data) - len(data.lstrip(b"\0"))
            position += len(data)
        return -1

    def _fail_truncated(self, name: bytes, position: int, end: int) -> NoReturn:
        self._fail(
            f"truncated: the member {shown(name)} (header at byte {position}) reaches to byte {end}, and the file "
            f"ends at byte {self._size}",
            position,
        )

    def _fail(self, what: str, position: int) -> NoReturn:
        """Refuse the archive for what the last header says, or what follows it."""
        before = self._chunk.whole_before(-1 if self._chunk.positions[-1:] == [position] else None)
        # A damaged header before this place would be the cause, and is what the user must know.
        self._chunk.settle()
        raise DamagedTarError(f"{self._path}: {what}; {before}", path=self._path, position=position)
