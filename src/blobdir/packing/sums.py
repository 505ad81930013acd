"""``blob/SHA256SUMS``, as ``sha256sum`` writes and checks it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

SUMS = "SHA256SUMS"
_LINE = re.compile(rb"([0-9a-f]{64}) [ *](.+)")


def read_sums(path: str | os.PathLike[str]) -> dict[str, str]:
    """Name -> checksum; nothing where there is no such file."""
    try:
        with open(path, "rb") as file:
            return _parsed(file.read())[0]
    except OSError:
        return {}


def _parsed(content: bytes) -> tuple[dict[str, str], list[bytes]]:
    """Name -> checksum, and the lines that say something else."""
    found, others = {}, []
    for line in content.split(b"\n"):
        if match := _LINE.fullmatch(line):
            found[os.fsdecode(match[2])] = match[1].decode()
        elif line:
            others.append(line)
    return found, others


def format_sums(sums: dict[str, str]) -> bytes:
    """The file's bytes, sorted by name."""
    return b"".join(f"{sums[name]}  ".encode() + os.fsencode(name) + b"\n" for name in sorted(sums))


def updated_sums(content: bytes, added: dict[str, str], removed: Collection[str] = ()) -> bytes:
    """The file's bytes after a change; lines that aren't understood stay, at the end."""
    known, others = _parsed(content)
    sums = {name: digest for name, digest in known.items() if name not in removed} | added
    return format_sums(sums) + b"".join(line + b"\n" for line in others)
