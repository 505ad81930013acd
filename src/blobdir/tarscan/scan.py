"""The walk from header to header."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from blobdir.errors import DamagedTarError, TarError, UnsupportedMemberError

from .chunk import CHUNK_HEADERS, HeaderChunk, not_a_tar
from .header import LINK_NAME, NAME_BYTES, SIZE, TYPE_AT, full_name, number, shown, text_field
from .links import HardLink, Skipped, resolve
from .pax import Overrides, PaxError, parse_records
from .source import BLOCK, LocalFile, ReadAt, Window, shrunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from .table import TarTable

ZERO_BLOCK = bytes(BLOCK)
# Linux accepts paths up to 4 KiB; the cap keeps a hostile length from becoming an allocation.
MAX_PAYLOAD_BYTES = 1 << 20
# A remote archive is read in longer stretches: there, a call costs more than the bytes it brings.
LOCAL_WINDOW_BYTES = (BLOCK, 256 << 10)
REMOTE_WINDOW_BYTES = (64 << 10, 4 << 20)
PROGRESS_BYTES = 8 << 20
# Bytes after the end marker that are looked at, to notice archives that were concatenated.
TAIL_BYTES = 64 << 10
NAMED_IN_WARNING = 3

# Types without data of their own, whatever their size field says.
DATALESS = {b"2": "symbolic links", b"3": "character devices", b"4": "block devices", b"6": "named pipes"}
REGTYPE, AREGTYPE = ord("0"), 0
EXTENSIONS = frozenset(b"xXgLK")
REGULAR = frozenset(b"0\x007")
# Where old GNU sparse headers, and the blocks of their map, say that another block of it follows.
SPARSE_MORE_AT, MAP_MORE_AT = 482, 504

# What an extended header may say about a member without a say in where its data lies.
HARMLESS = frozenset({"path", "mtime"})


def scan_tar(
    path: str | os.PathLike[str] | ReadAt,
    *,
    progress: Callable[[int], None] | None = None,
    skip_unsupported: bool = False,
) -> TarTable:
    """Find the members of an uncompressed tar archive: ustar, pax, GNU or old v7.

    Reads headers, not data, and verifies the checksum of every header. O(n), with one read per header where members
    are large and fewer where they are small. Memory is the table and a few MiB. Threads may scan at the same time.

    Parameters
    ----------
    path : str, PathLike or ReadAt
        A local file, or an object that reads byte ranges of an archive elsewhere.
    progress : callable, optional
        Called with the number of bytes that lie behind, every few MiB and at the end.
    skip_unsupported : bool
        Leave out members whose data isn't one byte range of this archive, with a warning that names them.

    Returns
    -------
    TarTable

    Raises
    ------
    CompressedTarError
        The archive is compressed.
    DamagedTarError
        Not a tar archive, or one with a damaged header, a missing end or a hard link to nothing; or the file became
        shorter meanwhile. The error's `position` is the byte.
    UnsupportedMemberError
        A sparse member, or one that began on another volume; not with `skip_unsupported`.
    OSError
        The file can't be opened or read.
    """
    if not isinstance(path, (str, os.PathLike)):
        return _Scan(path, REMOTE_WINDOW_BYTES, progress, skip_unsupported=skip_unsupported).run()
    with LocalFile(path) as source:
        table = _Scan(source, LOCAL_WINDOW_BYTES, progress, skip_unsupported=skip_unsupported).run()
        # The data of members that lie behind is never read again, so a missing end would go unnoticed.
        now = source.size_now()
        if now < source.size:
            raise shrunk(source.path, source.size, now)
        return table


class _Scan:
    """State of one scan."""

    def __init__(
        self,
        source: ReadAt,
        window: tuple[int, int],
        progress: Callable[[int], None] | None,
        *,
        skip_unsupported: bool,
    ) -> None:
        self._path = source.path
        self._size = source.size
        self._window = Window(source, *window)
        self._headers_at_move = 0
        self._progress = progress
        self._skip_unsupported = skip_unsupported
        self._reported = 0
        self._chunk = HeaderChunk(self._path)
        self._globals: Overrides = {}
        # Extensions since the last member, in the order of the archive; the first has the last word, as in tarfile.
        self._pending: list[Overrides] = []
        self._long_name_bytes = 0
        self._links: dict[int, HardLink] = {}
        self._skipped: dict[str, list[Skipped]] = {}
        self._warnings: list[str] = []

    def run(self) -> TarTable:
        if self._size < BLOCK:
            if self._size == 0:
                self._fail(DamagedTarError, "empty, not a tar archive", 0)
            raise not_a_tar(self._path, self._window.read(0, self._size))
        self._walk()
        self._chunk.settle()
        for kind, members in self._skipped.items():
            named = ", ".join(shown(member.name) for member in members[:NAMED_IN_WARNING])
            more = ", …" if len(members) > NAMED_IN_WARNING else ""
            self._warnings.append(f"skipped {len(members)} {kind}: {named}{more}")
        table = self._chunk.table(self._warnings, self._size)
        if self._links:
            skipped = sorted((s for members in self._skipped.values() for s in members), key=lambda s: s.row)
            table, dropped = resolve(table, self._links, skipped, self._path)
            if dropped:
                warning = f"skipped {dropped} hard links to skipped members"
                table = replace(table, warnings=(*table.warnings, warning))
        if self._progress is not None:
            self._progress(self._size)
        return table

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
            if (
                ordinary
                and (kind == REGTYPE or (kind == AREGTYPE and not pending and not _names_directory(data, i)))
                and digits.isdigit()
                and data[i + 135] in b"\0 "
            ):
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
            self._fail_truncated(chunk.last_name(), chunk.positions[-1], position, chunk.rows_before())
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
            self._fail(DamagedTarError, f"truncated in the header at byte {position}", position)
        self._check_no_pending(position)
        self._warnings.append(f"no end-of-archive marker at byte {position}: the archive may have had more members")
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
            self._fail(DamagedTarError, f"the extended header at byte {position} claims {size} bytes", position)
        end = position + BLOCK + (size + 511 & -512)
        if end > self._size:
            self._fail(DamagedTarError, f"truncated in the extended header at byte {position}", position)
        payload = self._window.read(position + BLOCK, size)
        kind = header[TYPE_AT]
        if kind == ord("L"):
            self._pending.append({"path": text_field(payload)})
        elif kind == ord("K"):
            self._pending.append({"linkpath": text_field(payload)})
        else:
            try:
                records = parse_records(payload)
            except PaxError as error:
                self._fail(DamagedTarError, f"damaged extended header at byte {position}: {error}", position)
            if kind == ord("g"):
                self._globals.update(records)
            else:
                self._pending.append({**self._globals, **records})
        return end

    def _member(self, header: bytes, position: int) -> int:
        """Take the header of a member that isn't ordinary, or that extensions speak about."""
        over = self._overrides()
        path = over.get("path")
        name = full_name(header) if path is None else path.rstrip(b"/")
        kind = header[TYPE_AT]
        letter = header[TYPE_AT : TYPE_AT + 1]
        # A long name counts whole: the header has its first 100 bytes, and the last of those may be a slash.
        slash = _names_directory(header, 0) if path is None else path.endswith(b"/")
        if kind == ord("5") or (kind == AREGTYPE and slash):
            return position + BLOCK
        if letter in DATALESS:
            self._skip(DATALESS[letter], name)
            return position + BLOCK
        if kind == ord("1"):
            target = over.get("linkpath")
            target = text_field(header[LINK_NAME]) if target is None else target
            self._links[self._chunk.rows_before()] = HardLink(target, position)
            self._make_row(0, over, position)
            return position + BLOCK
        refused = self._why_unsupported(letter, over)
        name = (over.get("sparse") if refused else None) or name
        if refused and not self._skip_unsupported:
            what = f"the member {shown(name)} at byte {position} is {refused[1]}"
            self._fail(UnsupportedMemberError, what, position)
        size = over.get("size")
        size = self._header_size(header, position) if size is None else size
        data = self._after_sparse_map(header, position) if letter == b"S" else position + BLOCK
        end = data + (size + 511 & -512)
        if end > self._size:
            self._fail_truncated(name, position, end, self._chunk.rows_before())
        if refused:
            self._skip(refused[0], name)
        elif kind in REGULAR:
            self._make_row(size, over, position)
        else:
            self._skip("volume labels" if kind == ord("V") else f"members of the unknown type {letter!r}", name)
        return end

    def _overrides(self) -> Overrides:
        """What extensions say about the member whose header is at hand. Those that apply to one member end here."""
        pending = self._pending
        if len(pending) == 1 and not self._globals:
            return pending.pop()
        over = self._globals.copy()
        while pending:
            over.update(pending.pop())
        return over

    def _make_row(self, size: int, over: Overrides, position: int) -> None:
        name = over.get("path")
        if name is not None:
            name = name.rstrip(b"/")
            # Only a global header can give many members one long name: without this the table could grow far
            # beyond the archive.
            self._long_name_bytes += len(name)
            if self._long_name_bytes > self._size:
                self._fail(DamagedTarError, f"the names are longer than the archive at byte {position}", position)
        self._chunk.make_row(size, name, over.get("mtime"))

    def _skip(self, kind: str, name: bytes) -> None:
        self._skipped.setdefault(kind, []).append(Skipped(name, self._chunk.rows_before()))

    def _header_size(self, header: bytes, position: int) -> int:
        size = number(header[SIZE])
        if size is None or size < 0:
            self._fail(DamagedTarError, f"damaged header at byte {position}: the size is not a number", position)
        return size

    @staticmethod
    def _why_unsupported(letter: bytes, over: Overrides) -> tuple[str, str] | None:
        """What a member is whose data isn't one byte range of this archive: of several, and what to do with it."""
        if letter == b"S" or over.get("sparse") is not None:
            return (
                "sparse members",
                "sparse, so that its data is not one byte range; make the archive again without --sparse",
            )
        if letter == b"M":
            what = "continued from another volume; make the archive again as a single one"
            return "members continued from another volume", what
        return None

    def _after_sparse_map(self, header: bytes, position: int) -> int:
        """Where the data of an old GNU sparse member begin: blocks with more of its map may stand before them."""
        after, more = position + BLOCK, header[SPARSE_MORE_AT]
        while more and after + BLOCK <= self._size:
            more = self._window.read(after, BLOCK)[MAP_MORE_AT]
            after += BLOCK
        return after

    def _check_no_pending(self, position: int) -> None:
        if self._pending:
            self._fail(DamagedTarError, f"truncated: it ends at byte {position} after an extended header", position)

    def _check_tail(self, position: int) -> None:
        """Look at what follows the first zero block. Readers end there, whatever it is."""
        after = position + BLOCK
        tail = self._window.read(after, min(TAIL_BYTES, self._size - after))
        if tail.count(0) < len(tail):
            self._warnings.append(
                f"bytes after the end-of-archive marker at byte {position} were not read: archives that were "
                f"concatenated?"
            )
        elif len(tail) < BLOCK:
            self._warnings.append(f"the end-of-archive marker at byte {position} is one zero block instead of two")

    def _fail_truncated(self, name: bytes, position: int, end: int, before: int) -> NoReturn:
        self._fail(
            DamagedTarError,
            f"truncated: the member {shown(name)} (header at byte {position}) reaches to byte {end}, and the file "
            f"ends at byte {self._size}; {before} members before it are whole",
            position,
        )

    def _fail(self, error: type[TarError], what: str, position: int) -> NoReturn:
        # A damaged header before this place would be the cause, and is what the user must know.
        self._chunk.settle()
        raise error(f"{self._path}: {what}", path=self._path, position=position)


def _names_directory(data: bytes, header: int) -> bool:
    """Whether the name in the header at byte `header` of `data` ends with a slash: old v7's mark of a directory."""
    end = data.find(0, header, header + NAME_BYTES)
    return data[(header + NAME_BYTES if end < 0 else end) - 1] == ord("/")
