"""Tar headers made by hand, and what Python's tarfile says of an archive."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass

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
