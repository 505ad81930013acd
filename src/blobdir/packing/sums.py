"""``blob/SHA256SUMS``, as ``sha256sum`` writes and checks it."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from blobdir.errors import PackError
from blobdir.inside import read_whole

if TYPE_CHECKING:
    from collections.abc import Collection

SUMS = "SHA256SUMS"
_LINE = re.compile(rb"(\\?)([0-9a-fA-F]{64}) [ *](?:\./)*(.+?)\r?")
_ESCAPED = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}
"""How names are written in lines that begin with a backslash."""
_MEANT = {escaped: character for character, escaped in _ESCAPED.items()}


def read_sums(path: str | os.PathLike[str]) -> dict[str, str]:
    """Name -> checksum; nothing where there is no such file.

    Raises
    ------
    PackError
        It is there, and can't be read: what it says isn't known.
    """
    try:
        data = read_whole(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise PackError(f"{os.fspath(path)}: can't be read: {error.strerror}; nothing was changed") from error
    return split_sums(data)[0]


def split_sums(data: bytes) -> tuple[dict[str, str], list[tuple[int, bytes]]]:
    """What such a file says.

    Returns
    -------
    dict
        Name -> checksum.
    list of (int, bytes)
        Number and text of the lines that say nothing: they aren't as they must be, or say another sum of a name.
    """
    sums: dict[str, str] = {}
    odd = []
    for number, line in enumerate(data.split(b"\n"), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            if line:
                odd.append((number, line))
            continue
        digest, name = match[2].decode().lower(), match[3]
        if match[1]:
            name = re.sub(rb"\\.", lambda escaped: _MEANT.get(escaped[0], escaped[0]), name)
        if sums.setdefault(os.fsdecode(name), digest) != digest:
            odd.append((number, line))
    return sums, odd


def format_sums(sums: dict[str, str]) -> bytes:
    """The file's bytes, sorted by name."""
    return b"".join(_line(sums[name], os.fsencode(name)) for name in sorted(sums))


def _line(digest: str, name: bytes) -> bytes:
    written = re.sub(rb"[\\\n\r]", lambda found: _ESCAPED[found[0]], name)
    return (b"\\" if written != name else b"") + digest.encode() + b"  " + written + b"\n"


def updated_sums(content: bytes, added: dict[str, str], removed: Collection[str] = ()) -> bytes:
    """The file's bytes after a change; lines that aren't understood stay, at the end."""
    known, odd = split_sums(content)
    sums = {name: digest for name, digest in known.items() if name not in removed} | added
    return format_sums(sums) + b"".join(line + b"\n" for _, line in odd)
