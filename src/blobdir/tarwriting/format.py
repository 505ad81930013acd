"""Members of a tar, byte for byte: the same input gives the same bytes, whoever packs it and when.

GNU format, as ``tarfile.GNU_FORMAT`` writes it: names of more than 100 bytes take a member ``././@LongLink`` before,
sizes of 8 GiB and more are in base 256. Mode 0644, owner 0, time 0: what a clone or a copy would change isn't written.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
"""What ends an archive."""
RECORD: Final = 20 * BLOCK
"""An archive is filled up to a multiple of this, as tar does."""
_NAME_BYTES: Final = 100
_OCTAL_LIMIT: Final = 8**11
# After name and mode, uid, gid; then size; then mtime; then the checksum; then type, link name and "ustar", rest.
_OWNER: Final = b"0000644\0" + b"0000000\0" * 2
_TIME: Final = b"00000000000\0"
_AFTER: Final = bytes(_NAME_BYTES) + b"ustar  \0" + bytes(BLOCK - 265)
_PADDING: Final = [bytes(-n % BLOCK) for n in range(BLOCK)]
_SUMS: Final = {kind: sum(_OWNER + _TIME + kind + _AFTER) + 8 * ord(" ") for kind in (b"0", b"L")}


def member_header(name: bytes, size: int) -> bytes:
    """What stands before the data of a member: one block, or three and more where the name is long.

    Parameters
    ----------
    name : bytes
        Without NUL.
    size : int
        Bytes of data.
    """
    if len(name) <= _NAME_BYTES:
        return _block(name, size, b"0")
    long = name + b"\0"
    return (
        _block(b"././@LongLink", len(long), b"L") + long + padding(len(long)) + _block(name[:_NAME_BYTES], size, b"0")
    )


def _block(name: bytes, size: int, kind: bytes) -> bytes:
    middle, total = _about(size, kind)
    return b"%b%b%06o\0 %b%b" % (name.ljust(_NAME_BYTES, b"\0"), middle, total + sum(name), kind, _AFTER)


@lru_cache(1024)
def _about(size: int, kind: bytes) -> tuple[bytes, int]:
    """What stands between name and checksum, and the sum of all bytes but those of the name."""
    length = b"%011o\0" % size if size < _OCTAL_LIMIT else b"\x80" + size.to_bytes(11, "big")
    return b"".join((_OWNER, length, _TIME)), _SUMS[kind] + sum(length)


def padding(size: int) -> bytes:
    """Zeros that fill the last block of a member of so many bytes."""
    return _PADDING[size % BLOCK]


def archive_end(position: int) -> bytes:
    """What ends an archive whose members end at a byte."""
    return END + bytes(-(position + len(END)) % RECORD)
