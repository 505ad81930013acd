"""``blob/SHA256SUMS``, as ``sha256sum`` writes and checks it."""

from __future__ import annotations

import os
import re

SUMS = "SHA256SUMS"
_LINE = re.compile(rb"([0-9a-f]{64}) [ *](.+)")


def read_sums(path: str | os.PathLike[str]) -> dict[str, str]:
    """Name -> checksum; nothing where there is no such file."""
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return {}
    return {os.fsdecode(match[2]): match[1].decode() for line in lines if (match := _LINE.fullmatch(line))}


def format_sums(sums: dict[str, str]) -> bytes:
    """The file's bytes, sorted by name."""
    return b"".join(f"{sums[name]}  ".encode() + os.fsencode(name) + b"\n" for name in sorted(sums))
