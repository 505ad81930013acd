"""Names as bytes: arenas of many of them, the rules they obey, and their two spellings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bytes = NDArray[np.uint8]

MAX_COMPONENT_BYTES: Final = 255
MAX_NAME_BYTES: Final = 4095
_CHUNK: Final = 1 << 15  # names gathered at a time, so that the index of every byte doesn't take eight times their size


def gather(source: Bytes, at: Ints, size: Ints) -> tuple[Bytes, Ints]:
    """Copy pieces of `source` into a new arena.

    Parameters
    ----------
    source : ndarray of uint8
    at, size : ndarray of int64, shape (n,)
        Where each name begins, and its length without a terminator. One more byte than that must be there.

    Returns
    -------
    arena : ndarray of uint8
        The names, each followed by one NUL byte.
    name_start : ndarray of int64, shape (n + 1,)
        Name ``i`` is ``arena[name_start[i]:name_start[i + 1] - 1]``.
    """
    name_start = np.zeros(len(at) + 1, np.int64)
    np.cumsum(size + 1, out=name_start[1:])
    arena = np.empty(int(name_start[-1]), np.uint8)
    for low in range(0, len(at), _CHUNK):
        high = min(low + _CHUNK, len(at))
        begin, stop = int(name_start[low]), int(name_start[high])
        index = np.repeat(at[low:high] - name_start[low:high], size[low:high] + 1)
        index += np.arange(begin, stop)
        arena[begin:stop] = source[index]
    arena[name_start[1:] - 1] = 0
    return arena, name_start


def pack(names: Iterable[bytes]) -> tuple[Bytes, Ints]:
    """Put `names` into a new arena (see `gather`)."""
    names = list(names)
    name_start = np.zeros(len(names) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, names), np.int64, len(names)) + 1, out=name_start[1:])
    joined = b"\0".join(names) + b"\0" if names else b""
    return np.frombuffer(joined, np.uint8), name_start


def to_bytes(name: str) -> bytes:
    """Spell a name as the file system does: a lone surrogate ``U+DCxx`` is the byte ``xx`` (PEP 383).

    Raises
    ------
    UnicodeEncodeError
        The name holds another lone surrogate: no file can have it.
    """
    return name.encode("utf-8", "surrogateescape")


def to_str(name: bytes) -> str:
    """The inverse of `to_bytes`."""
    return name.decode("utf-8", "surrogateescape")


def shown(name: str) -> str:
    """Quote a name for a message, without control characters, and not at length."""
    return repr(name[:80]) + ("…" if len(name) > 80 else "")


def first_bad_name(arena: Bytes, name_start: Ints) -> tuple[int, str] | None:
    """Find the first name that can't be a file's path.

    Forbidden are the empty name, a leading, trailing or doubled slash, ``.`` and ``..`` as a component, NUL,
    components of more than 255 bytes and names of more than 4095.

    Returns
    -------
    (int, str) or None
        Its index, and what is wrong with it.
    """
    count = len(name_start) - 1
    if not count:
        return None
    bad = np.diff(name_start) - 1 > MAX_NAME_BYTES
    # Components end at a slash or at the NUL after the name. A NUL within a name makes one end too many.
    ends = np.flatnonzero((arena == 0) | (arena == ord("/")))
    nul = arena[ends] == 0
    if int(np.count_nonzero(nul)) != count:
        inner = ends[nul]
        inner = inner[~np.isin(inner, name_start[1:] - 1)]
        bad[np.searchsorted(name_start, inner, side="right") - 1] = True
    size = np.diff(ends, prepend=-1) - 1
    dots = (size == 1) | (size == 2)
    dots[dots] = (arena[ends[dots] - 1] == ord(".")) & (arena[ends[dots] - size[dots]] == ord("."))
    wrong = ends[(size == 0) | (size > MAX_COMPONENT_BYTES) | dots]
    bad[np.searchsorted(name_start, wrong, side="right") - 1] = True
    rows = np.flatnonzero(bad)
    if not len(rows):
        return None
    row = int(rows[0])
    return row, _why(arena[name_start[row] : name_start[row + 1] - 1].tobytes())


def _why(name: bytes) -> str:
    parts = name.split(b"/")
    quoted = shown(to_str(name))
    if not name:
        return "a name is empty"
    if b"\0" in name:
        return f"the name {quoted} holds a NUL byte"
    if b"." in parts or b".." in parts:
        return f"the name {quoted} has a component . or .."
    if b"" in parts:
        return f"the name {quoted} begins or ends with a slash, or has two in a row"
    if any(len(part) > MAX_COMPONENT_BYTES for part in parts):
        return f"the name {quoted} has a component of more than {MAX_COMPONENT_BYTES} bytes"
    return f"the name {quoted} is longer than {MAX_NAME_BYTES} bytes"
