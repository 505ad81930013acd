"""Tar headers made by hand, and what Python's tarfile says of an archive."""

from __future__ import annotations

import io
import os
import tarfile
from dataclasses import dataclass

import numpy as np

from blobdir.tarscan import TarTable, scan_tar

BLOCK = 512
END = bytes(2 * BLOCK)

USTAR = b"ustar\x0000"
OLD_GNU = b"ustar  \0"
NO_MAGIC = bytes(8)


def octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)


def base256(value: int, width: int) -> bytes:
    lead = b"\x80" if value >= 0 else b"\xff"
    return lead + (value % (1 << 8 * (width - 1))).to_bytes(width - 1, "big")


def put(header: bytes, at: int, value: bytes) -> bytes:
    return header[:at] + value + header[at + len(value) :]


def with_checksum(header: bytes, *, signed: bool = False) -> bytes:
    blank = put(header, 148, b" " * 8)
    total = sum(byte - 256 if signed and byte > 127 else byte for byte in blank)
    return put(blank, 148, b"%06o\0 " % total)


def header(
    name: bytes,
    size: int | bytes = 0,
    *,
    kind: bytes = b"0",
    mode: bytes = b"0000644\0",
    mtime: int | bytes = 1_700_000_000,
    link: bytes = b"",
    magic: bytes = USTAR,
    prefix: bytes = b"",
) -> bytes:
    """512 bytes; `size` and `mtime` may be given as the raw field."""
    fields = [
        name.ljust(100, b"\0"),
        mode,
        octal(0, 8),
        octal(0, 8),
        size if isinstance(size, bytes) else octal(size, 12),
        mtime if isinstance(mtime, bytes) else octal(mtime, 12),
        b" " * 8,
        kind,
        link.ljust(100, b"\0"),
        magic,
        bytes(80),
        prefix.ljust(155, b"\0"),
        bytes(12),
    ]
    made = b"".join(fields)
    assert len(made) == BLOCK
    return with_checksum(made)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def member(name: bytes, data: bytes = b"", **fields: object) -> bytes:
    return header(name, len(data), **fields) + padded(data)  # type: ignore[arg-type]


def record(keyword: bytes, value: bytes) -> bytes:
    """A pax record; its length counts its own digits."""
    rest = b" " + keyword + b"=" + value + b"\n"
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return str(length).encode() + rest


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    return member(b"././@PaxHeader", b"".join(record(key, value) for key, value in records), kind=kind)


@dataclass(frozen=True, slots=True)
class Row:
    name: bytes
    start: int
    end: int
    mtime: float
    mode: int


def tarfile_rows(archive: bytes) -> list[Row]:
    """Regular files and hard links as Python's tarfile has them, hard links with the data of what they name."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
        rows = []
        for info in tar:
            if not (info.isreg() or info.islnk()):
                continue
            data = info
            while data.islnk():
                data = tar._find_link_target(data)  # type: ignore[attr-defined]
            if not data.isreg():
                continue
            name = info.name.rstrip("/").encode("utf-8", "surrogateescape")
            start = data.offset_data
            rows.append(Row(name, start, start + data.size, info.mtime, info.mode & 0o7777))
        return rows


FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


@dataclass
class Bytes:
    """An archive in memory, and a count of what was read of it."""

    data: bytes
    path: str = "memory.tar"
    calls: int = 0
    read: int = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def read_at(self, start: int, n: int) -> bytes:
        self.calls += 1
        self.read += n
        return self.data[start : start + n]


def scan(data: bytes) -> TarTable:
    return scan_tar(Bytes(data))


def names(table: TarTable) -> list[bytes]:
    return [table.name(i) for i in range(len(table))]


def check_columns(table: TarTable) -> None:
    n = len(table)
    assert table.name_start.shape == (n + 1,)
    assert table.name_start.dtype == table.start.dtype == table.end.dtype == table.mtime_ns.dtype == np.int64
    assert table.mode.dtype == np.uint16 and table.arena.dtype == np.uint8
    assert len(table.end) == len(table.mtime_ns) == len(table.mode) == n
    assert len(table.arena) == table.name_start[-1] and table.name_start[0] == 0
    assert (table.arena[table.name_start[1:] - 1] == 0).all()
    assert (table.start <= table.end).all() and (table.end <= table.size).all()


def check_as_tarfile(data: bytes, table: TarTable) -> None:
    check_columns(table)
    rows = tarfile_rows(data)
    assert names(table) == [row.name for row in rows]
    assert table.start.tolist() == [row.start for row in rows]
    assert table.end.tolist() == [row.end for row in rows]
    assert table.mode.tolist() == [row.mode for row in rows]
    # tarfile's floats have a resolution of 240 ns in this century, and less later.
    for ours, row in zip(table.mtime_ns.tolist(), rows, strict=True):
        assert abs(ours - row.mtime * 1e9) <= max(512, abs(row.mtime) * 1e-6)


@dataclass(frozen=True)
class Spec:
    kind: bytes
    name: str
    size: int
    mtime: float
    mode: int
    target: int


def build(members: list[Spec], tar_format: int) -> bytes:
    out = io.BytesIO()
    earlier: list[str] = []
    with tarfile.open(fileobj=out, mode="w", format=tar_format, encoding="utf-8", errors="surrogateescape") as tar:
        for spec in members:
            # A folder of a file's name would be what a link to the file names.
            info = tarfile.TarInfo(spec.name + "/folder" * (spec.kind == b"5"))
            # tarfile takes a long name for a folder if its hundredth byte is a slash.
            long = len(os.fsencode(spec.name)) > 100
            info.type = b"0" if spec.kind == b"\0" and long else spec.kind
            info.mtime, info.mode = spec.mtime, spec.mode  # type: ignore[assignment]
            if spec.kind == b"1":
                if not earlier:
                    continue
                info.linkname = earlier[spec.target % len(earlier)]
            if spec.kind == b"2":
                info.linkname = "anywhere"
            if spec.kind in (b"0", b"\0", b"7"):
                info.size = spec.size
            try:
                tar.addfile(info, io.BytesIO(b"\xa5" * info.size))
            except ValueError:  # ustar can't hold the name
                continue
            if spec.kind != b"5":
                earlier.append(spec.name)
    return out.getvalue()


BASE = b"".join(
    [
        member(b"a", b"1" * 600),
        pax((b"path", b"p" * 150), (b"mtime", b"1.5")),
        member(b"b", b"22"),
        pax((b"comment", b"c"), kind=b"g"),
        member(b"@LongLink", b"l" * 120 + b"\0", kind=b"L"),
        member(b"c", b"333", magic=OLD_GNU),
        member(b"d", kind=b"1", link=b"a"),
        member(b"e", kind=b"2", link=b"a"),
        END,
    ]
)
