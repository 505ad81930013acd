"""The rules that names of images obey, and their two spellings, as text and as bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bytes = NDArray[np.uint8]

MAX_COMPONENT_BYTES: Final = 255
MAX_NAME_BYTES: Final = 4095
_ESCAPED: Final = re.compile(rb"%(25|2E)")


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


def numbered(name: bytes, number: int) -> bytes:
    """What the second, third … of several of one name are called: ``folder/stem_1.ext``."""
    before, after = _around_number(name)
    return b"%s%d%s" % (before, number, after)


def number_of(name: bytes, original: bytes) -> int:
    """The number with which `numbered` makes `original` into `name`; 0 where none does."""
    before, after = _around_number(original)
    digits = name[len(before) : len(name) - len(after)]
    written = digits.isdigit() and digits[:1] != b"0" and name == before + digits + after
    return int(digits) if written else 0


def _around_number(name: bytes) -> tuple[bytes, bytes]:
    folder, slash, base = name.rpartition(b"/")
    stem, dot, suffix = base.rpartition(b".")
    if not stem:
        stem, dot, suffix = base, b"", b""
    return folder + slash + stem + b"_", dot + suffix


def is_called(name: bytes, member: bytes) -> bool:
    """Whether an entry may have this name for a member of a tar: the member's own, with as many of its folders.

    Or that of which `keyed` has made the member's.
    """
    if member == name or member.endswith(b"/" + name):
        return True
    return b"%2" in member and (b"/" + unkeyed(member)).endswith(b"/" + name)


def keyed(name: bytes) -> bytes:
    """Spell a name so that its only dot is that before its extension, behind its folders.

    WebDataset takes what is before the first dot for the key of a sample. Other dots are ``%2E`` then, and what could
    be taken for such is escaped as well. A name without an extension stays as it is.
    """
    folder, slash, base = name.rpartition(b"/")
    stem, dot, extension = base.rpartition(b".")
    if not dot or (b"." not in stem and not _ESCAPED.search(stem)):
        return name
    return folder + slash + stem.replace(b"%", b"%25").replace(b".", b"%2E") + dot + extension


def unkeyed(member: bytes) -> bytes:
    """The name that `keyed` has spelled so; the same where it would have spelled none so."""
    folder, slash, base = member.rpartition(b"/")
    stem, dot, extension = base.rpartition(b".")
    plain = folder + slash + _ESCAPED.sub(lambda found: b"." if found[1] == b"2E" else b"%", stem) + dot + extension
    return plain if keyed(plain) == member else member


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
    rows = bad_names(arena, name_start)
    if not len(rows):
        return None
    row = int(rows[0])
    return row, _why(arena[name_start[row] : name_start[row + 1] - 1].tobytes())


def bad_names(arena: Bytes, name_start: Ints) -> NDArray[np.intp]:
    """Rows of all names that can't be a file's path, see `first_bad_name`."""
    count = len(name_start) - 1
    if not count:
        return np.empty(0, np.intp)
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
    return np.flatnonzero(bad)


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
