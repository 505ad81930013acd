"""Attributes of entries beside name and range, such as ``team_file_id``.

Nothing is known of them, so they are kept as the opcodes that set them again: whoever writes an offsets file anew puts
these where they were. Only plain values can be told that way, see `encode_state`; a file with others can be read, and
an entry that has them can be removed, but not be written again.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

State = bytes | None
"""Keys and values as opcodes, none of which uses the memo. Empty: no attributes. None: they can't be told."""

MAX_STATE_BYTES: Final = 1 << 14
_MAX_DEPTH: Final = 16


@dataclass(frozen=True, slots=True, eq=False)
class Attributes:
    """Which entry of a table has which attributes.

    Attributes
    ----------
    kind : ndarray of int32, shape (n,)
        For each entry, an index of `states`.
    states : tuple of State
        Each once; the first is that of entries without attributes.
    """

    kind: NDArray[np.int32]
    states: tuple[State, ...]

    @classmethod
    def of_rows(cls, states: Iterable[tuple[int, State]], count: int) -> Attributes | None:
        """Make those of a table of `count` entries from (row, state); None where there are none."""
        kind = np.zeros(count, np.int32)
        known: dict[State, int] = {b"": 0}
        for row, state in states:
            kind[row] = known.setdefault(state, len(known))
        return cls(kind, tuple(known)) if len(known) > 1 else None

    def __getitem__(self, row: int) -> State:
        """Those of one entry."""
        return self.states[int(self.kind[row])]

    def take(self, rows: NDArray[np.intp]) -> Attributes:
        """Those of the entries `rows`, in that order."""
        return Attributes(self.kind[rows], self.states)

    def rows(self) -> list[tuple[int, State]]:
        """Row and state of each entry that has any."""
        return [(row, self[row]) for row in np.flatnonzero(self.kind).tolist()]

    def unwritable(self) -> int:
        """The first row whose attributes can't be told; -1 where all can."""
        if None not in self.states:
            return -1
        found = np.flatnonzero(self.kind == self.states.index(None))
        return int(found[0]) if len(found) else -1


def joined(parts: Sequence[tuple[Attributes | None, int]]) -> Attributes | None:
    """Attributes of several tables, given with how many entries each has, one after the other."""
    found: list[tuple[int, State]] = []
    count = 0
    for part, size in parts:
        found += [(row + count, state) for row, state in part.rows()] if part is not None else ()
        count += size
    return Attributes.of_rows(found, count)


def encode_state(attributes: dict[Any, Any]) -> State:
    """Tell attributes as opcodes; None where a value isn't text, bytes, number, list, tuple or dictionary of such."""
    out = bytearray()
    return bytes(out) if _put_items(out, attributes, 0) else None


def _put(out: bytearray, value: Any, depth: int) -> bool:
    """Add a value; False where it can't be told, or is too large: one value can stand for many, by the memo."""
    kind = type(value)
    if depth > _MAX_DEPTH or len(out) > MAX_STATE_BYTES:
        return False
    if kind in (str, bytes) and len(value) > MAX_STATE_BYTES:
        return False
    if kind in _PLAIN:
        out += _PLAIN[kind](value)
    elif kind is list or kind is tuple:
        out += b"](" if kind is list else b"("
        if not all(_put(out, item, depth + 1) for item in value):
            return False
        out += b"e" if kind is list else b"t"
    elif kind is dict:
        out += b"}("
        if not _put_items(out, value, depth + 1):
            return False
        out += b"u"
    else:
        return False
    return len(out) <= MAX_STATE_BYTES


def _put_items(out: bytearray, value: dict[Any, Any], depth: int) -> bool:
    return all(type(key) is str and _put(out, key, depth) and _put(out, item, depth) for key, item in value.items())


def _integer(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return (b"\x8a" + bytes([size]) if size < 256 else b"\x8b" + size.to_bytes(4, "little")) + value.to_bytes(
        size, "little", signed=True
    )


def _counted(opcode: bytes, raw: bytes) -> bytes:
    return opcode + len(raw).to_bytes(4, "little") + raw


_PLAIN: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): lambda _: b"N",
    bool: lambda value: b"\x88" if value else b"\x89",
    int: _integer,
    float: lambda value: b"G" + struct.pack(">d", value),
    str: lambda value: _counted(b"X", value.encode("utf-8", "surrogatepass")),
    bytes: lambda value: _counted(b"B", value),
}
