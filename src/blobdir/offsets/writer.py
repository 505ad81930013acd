"""Writes offsets files as the SDK does, many objects at a time and without the SDK."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.durable import write_whole
from blobdir.errors import OffsetsTypeError, UsageError
from blobdir.nametable import gather_names, pack_names
from blobdir.offsets.table import OffsetsTable

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bytes = NDArray[np.uint8]

BATCH_SIZE: Final = 10_000
"""Objects in one list, as in the SDK (``OFFSETS_PKL_BATCH_SIZE``)."""

_APPENDS_EVERY: Final = 1000  # as in Lib/pickle.py, _BATCHSIZE

# Memo indexes of what the first object of a list puts there: the list, two strings, the class, the object, its
# state, then the names of the fields with the image's name between them.
_CLASS, _NAME, _START, _END = 3, 6, 8, 9
_BEFORE_NAME: Final = bytes([ord("h"), _CLASS]) + b")\x81\x94}\x94(" + bytes([ord("h"), _NAME])
_BEFORE_START: Final = b"\x94" + bytes([ord("h"), _START])
_BEFORE_END: Final = bytes([ord("h"), _END])
_AFTER: Final = b"ub"


def encode_offsets(table: OffsetsTable, *, batch_size: int = BATCH_SIZE) -> bytes:
    """Encode a table as the SDK's `dump_to_pickle` does.

    The result is a sequence of pickles of protocol 4, each of them a list of at most `batch_size` objects of the
    global ``supervisely.api.image_api BlobImageInfo``, with the attributes that the table keeps. But for these, it
    holds the same opcodes as CPython's pickler makes, in one frame a list, and depends on nothing but the arguments.

    Raises
    ------
    OffsetsNameError, OffsetsRangeError, OffsetsConflictError
        An entry can't be, or a name has two ranges.
    OffsetsTypeError
        An entry has attributes that aren't plain values.
    UsageError
        `batch_size` isn't positive.
    """
    return b"".join(_encode(table, batch_size))


def write_offsets(
    path: str | os.PathLike[str],
    entries: OffsetsTable | Iterable[tuple[bytes | str, int, int]],
    *,
    batch_size: int = BATCH_SIZE,
) -> None:
    """Write an offsets file that the SDK can read.

    The file appears whole or not at all: it is written beside its place, flushed to the disk and renamed. A file
    that was there before is replaced, and keeps its mode; through a symbolic link, the file it leads to.

    Parameters
    ----------
    path : path
        By convention ``<stem of the blob>_offsets.pkl``.
    entries : OffsetsTable, or iterable of (bytes or str, int, int)
        Name, first byte, and the byte after the last. Exact repeats are written once.
    batch_size : int, default 10,000
        Objects in one list.

    Raises
    ------
    OffsetsTypeError, OffsetsNameError, OffsetsRangeError, OffsetsConflictError
        An entry can't be, or a name has two ranges. Nothing was written.
    UsageError
        `batch_size` isn't positive.
    OSError
        The file can't be written.
    """
    table = entries if isinstance(entries, OffsetsTable) else OffsetsTable.from_entries(entries)
    write_whole(path, _encode(table, batch_size))


def _encode(table: OffsetsTable, batch_size: int) -> Iterator[bytes]:
    """Check everything now, encode list by list later."""
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}, and must be at least 1")
    table.check()
    if fault := table.unwritable():
        raise OffsetsTypeError(f"entry {fault[0]}: {fault[1]}", entries_before=fault[0])
    if not len(table):
        return iter([b"\x80\x04]\x94."])  # an empty file could as well be one whose writer was killed
    table = _pickled_names(table.unique())
    return (_encode_list(table, low, min(low + batch_size, len(table))) for low in range(0, len(table), batch_size))


def _pickled_names(table: OffsetsTable) -> OffsetsTable:
    """Spell names that aren't UTF-8 as the pickler does: ``U+DCxx``, in three bytes, for the byte ``xx``."""
    try:
        table.arena.tobytes().decode()
        return table
    except UnicodeDecodeError:
        names = [name.decode("utf-8", "surrogateescape").encode("utf-8", "surrogatepass") for name in table.names()]
        arena, name_start = pack_names(names)
        return replace(table, arena=arena, name_start=name_start)


def _encode_list(table: OffsetsTable, low: int, high: int) -> bytes:
    """Encode one list of objects."""
    name = table.arena[table.name_start[low] : table.name_start[low + 1] - 1].tobytes()
    first = b"".join((
        b"]\x94" if high - low == 1 else b"]\x94(",
        _string(b"supervisely.api.image_api"), b"\x94", _string(b"BlobImageInfo"), b"\x94\x93\x94)\x81\x94}\x94(",
        _string(b"name"), b"\x94", _string(name), b"\x94",
        _string(b"offset_start"), b"\x94", _integer(int(table.start[low])),
        _string(b"offset_end"), b"\x94", _integer(int(table.end[low])), table.state(low) or b"", _AFTER,
    ))  # fmt: skip
    body = first + _encode_regular(table, low + 1, high, low) + (b"a." if high - low == 1 else b"e.")
    return b"\x80\x04\x95" + len(body).to_bytes(8, "little") + body


def _string(raw: bytes) -> bytes:
    if len(raw) < 256:
        return b"\x8c" + bytes([len(raw)]) + raw
    return b"X" + len(raw).to_bytes(4, "little") + raw


def _integer(value: int) -> bytes:
    if value < 1 << 8:
        return b"K" + value.to_bytes(1, "little")
    if value < 1 << 16:
        return b"M" + value.to_bytes(2, "little")
    if value < 1 << 31:
        return b"J" + value.to_bytes(4, "little")
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little")


def _integer_sizes(values: Ints) -> tuple[Ints, Ints]:
    """Return how many bytes each integer takes, after how many bytes of opcode."""
    limits = np.array([1 << 8, 1 << 16, 1 << 31, 1 << 39, 1 << 47, 1 << 55])
    kind = np.searchsorted(limits, values, side="right")
    return np.array([1, 2, 4, 5, 6, 7, 8])[kind], np.array([1, 1, 1, 2, 2, 2, 2])[kind]


def _encode_regular(table: OffsetsTable, low: int, high: int, begin: int) -> bytes:
    """Encode the entries `low` to `high` of the list that began with entry `begin`."""
    if low == high:
        return b""
    at = table.name_start[low:high]
    size = table.name_start[low + 1 : high + 1] - at - 1
    start, end = table.start[low:high], table.end[low:high]
    start_size, start_head = _integer_sizes(start)
    end_size, end_head = _integer_sizes(end)
    name_head = np.where(size < 256, 2, 5)
    between = np.where((np.arange(low, high) - begin) % _APPENDS_EVERY == 0, 2, 0)
    fixed = len(_BEFORE_NAME) + len(_BEFORE_START) + len(_BEFORE_END) + len(_AFTER)
    others = _states(table, low, high)
    others_size = 0 if others is None else np.diff(others[1]) - 1
    after = np.cumsum(between + fixed + name_head + size + start_head + start_size + end_head + end_size + others_size)
    out = np.empty(int(after[-1]), np.uint8)
    place = np.concatenate([[0], after[:-1]])
    batch = place[between > 0]
    out[batch], out[batch + 1] = ord("e"), ord("(")
    place = _put(out, place + between, _BEFORE_NAME)
    short = size < 256
    out[place] = np.where(short, 0x8C, ord("X"))
    _put_little_endian(out, place + 1, size, name_head - 1)
    place = place + name_head
    index = np.arange(int(at[0]), int(table.name_start[high]))
    index += np.repeat(place - at, size + 1)
    # The NUL after each name lands where the next opcode goes.
    out[index] = table.arena[int(at[0]) : int(table.name_start[high])]
    place = _put(out, place + size, _BEFORE_START)
    place = _put_integers(out, place, start, start_size, start_head)
    place = _put(out, place, _BEFORE_END)
    place = _put_integers(out, place, end, end_size, end_head)
    if others is not None:  # the NUL after each lands where the next opcode goes
        opcodes, begin_of = others
        out[np.arange(len(opcodes)) + np.repeat(place - begin_of[:-1], np.diff(begin_of))] = opcodes
    _put(out, place + others_size, _AFTER)
    return out.tobytes()


def _states(table: OffsetsTable, low: int, high: int) -> tuple[Bytes, Ints] | None:
    """The attributes of each entry, as opcodes with a NUL after them, and where those of each begin; None for none."""
    if table.attributes is None:
        return None
    states = [state or b"" for state in table.attributes.states]
    size = np.array([len(state) for state in states])
    first = np.cumsum(size) - size
    kind = table.attributes.kind[low:high]
    return gather_names(np.frombuffer(b"".join((*states, b"\0")), np.uint8), first[kind], size[kind])


def _put(out: Bytes, place: Ints, literal: bytes) -> Ints:
    """Write the same bytes at many places; return the places after them."""
    for offset, code in enumerate(literal):
        out[place + offset] = code
    return place + len(literal)


def _put_integers(out: Bytes, place: Ints, values: Ints, size: Ints, head: Ints) -> Ints:
    out[place] = np.where(size == 1, ord("K"), np.where(size == 2, ord("M"), ord("J")))
    long = head == 2
    out[place[long]] = 0x8A
    out[place[long] + 1] = size[long]
    _put_little_endian(out, place + head, values, size)
    return place + head + size


def _put_little_endian(out: Bytes, place: Ints, values: Ints, size: Ints) -> None:
    for byte in range(int(size.max())):
        rows = slice(None) if byte < size.min() else size > byte
        out[place[rows] + byte] = (values[rows] >> 8 * byte) & 0xFF
