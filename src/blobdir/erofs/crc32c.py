"""CRC-32C (Castagnoli), the checksum of the superblock. It covers 504 bytes, so a loop over bytes will do."""

from __future__ import annotations

from typing import Final

_POLYNOMIAL: Final = 0x82F63B78  # reflected; RFC 3720, appendix B.4


def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        entries.append(value)
    return tuple(entries)


_TABLE: Final = _table()


def crc32c(data: bytes, value: int = 0xFFFFFFFF) -> int:
    """Checksum of `data`, begun with `value` and not inverted at the end, as the kernel's ``crc32c()``."""
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    return value
