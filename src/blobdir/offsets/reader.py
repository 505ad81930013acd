"""Reads offsets files: what the machine finds becomes rows, and the rows a checked table."""

from __future__ import annotations

import os
import warnings
from bisect import bisect_right
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from blobdir.durable import open_regular
from blobdir.errors import (
    BlobdirWarning,
    CorruptOffsetsError,
    OffsetsConflictError,
    OffsetsError,
    OffsetsNameError,
    OffsetsRangeError,
    OffsetsTypeError,
    TruncatedOffsetsError,
)
from blobdir.nametable import pack_names
from blobdir.offsets.attributes import MAX_STATE_BYTES, Attributes, encode_state
from blobdir.offsets.bulk import BulkScanner, Run
from blobdir.offsets.conflicts import OnConflict, check_mode
from blobdir.offsets.machine import Machine
from blobdir.offsets.names import shown, to_bytes
from blobdir.offsets.table import MAX_OFFSET, OffsetsTable
from blobdir.offsets.values import FIELDS, MISSING, NOTHING, Fault, Instance, both
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from blobdir.offsets.attributes import State

_ADVICE: Final = {
    "truncated": "it was cut off while being written: write it again from the tar with `blobdir offsets`",
    "unsafe": "it is an attack or another program's file, and nothing of it was run",
    "conflict": "pass on_conflict to decide, or write it again from the tar with `blobdir offsets`",
}
_REWRITE: Final = "write it again from the tar with `blobdir offsets`"
_BULK_BYTES: Final = 4096
"""Files smaller than this are quicker without the bulk path."""
_PIECE_BYTES: Final = 16 << 20
"""Of a file that is in memory at a time; more than any opcode has with its argument."""
_NAME_ROOM: Final = 16
"""Bytes of names per byte of the file, and some: one name that many objects share could take any amount."""
_LEAST_NAME_ROOM: Final = 1 << 20


class ByteSource(Protocol):
    """A file that is read by range: `blobdir.sources` has some."""

    size: int

    def read_at(self, start: int, n: int, /) -> bytes:
        """Read `n` bytes from byte `start`; fewer only where the file ends."""
        ...


def read_offsets(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | ByteSource,
    *,
    name: str | None = None,
    on_conflict: OnConflict = "error",
    attributes: bool = False,
) -> OffsetsTable:
    """Read an offsets file: a sequence of pickles back to back, in any encoding that is met in the field.

    Read are `BlobImageInfo` objects of the SDK, its API dictionaries (``title``, ``sourceBlob``), and dictionaries
    from name to ``(start, end)``, ``[start, end]`` or ``{"offsetStart": …, "offsetEnd": …}``; each of them bare, or
    in one list or tuple. Nothing is imported or called, whatever the file says. Time and memory are linear in the
    size of the file.

    Parameters
    ----------
    source : path, bytes-like or ByteSource
        The file, or its content. What isn't a pickle is refused before much of a file is read.
    name : str, optional
        What messages call the file. Default: its path.
    on_conflict : {"error", "skip", "replace", "rename"}
        What to do with one name that has two ranges: raise; keep the first; keep the last, in the place of the
        first; keep all, later ones under the first free of ``stem_1.ext``, ``stem_2.ext``, …
    attributes : bool, default False
        Whether attributes beside name and range, such as ``team_file_id``, are kept, for who writes the table again.

    Returns
    -------
    OffsetsTable
        All entries in the order of the file. Exact repeats are dropped, with one `BlobdirWarning`.

    Raises
    ------
    TruncatedOffsetsError, CorruptOffsetsError, UnsafePickleError
        The pickles can't be run to their end. There is never a shorter table instead.
    OffsetsTypeError, OffsetsNameError, OffsetsRangeError, OffsetsConflictError
        They can, and hold something that can't be.
    OSError
        The file can't be read.
    UsageError
        `on_conflict` is none of the four.

    Notes
    -----
    Every `OffsetsError` has ``path``, ``position`` (byte), ``entries_before`` and ``reason``.
    """
    check_mode(on_conflict)
    if isinstance(source, bytes | bytearray | memoryview):
        data, path = bytes(source), name or "<bytes>"
        table = _read(data, path, on_conflict, bulk=len(data) >= _BULK_BYTES, attributes=attributes)
    elif isinstance(source, str | os.PathLike):
        path = name or os.fspath(source)
        with open_regular(source) as file:
            table = _read_pieces(_LocalFile(file.fileno()), path, on_conflict, attributes=attributes)
    else:
        path = name or "<file>"
        table = _read_pieces(source, path, on_conflict, attributes=attributes)
    if table.repeats:
        text = f"{path}: {table.repeats} entries are there more than once, with the same range; they count once"
        warnings.warn(text, BlobdirWarning, stacklevel=2)
    return table


class _LocalFile:
    def __init__(self, fd: int) -> None:
        self.size = os.fstat(fd).st_size
        self._fd = fd

    def read_at(self, start: int, n: int) -> bytes:
        return os.pread(self._fd, n, start)


def _read_pieces(source: ByteSource, path: str, on_conflict: OnConflict, *, attributes: bool) -> OffsetsTable:
    first = source.read_at(0, _PIECE_BYTES)
    done = len(first)

    def more() -> bytes:
        nonlocal done
        piece = source.read_at(done, _PIECE_BYTES)
        done += len(piece)
        return piece

    bulk = len(first) >= _BULK_BYTES
    return _read(first, path, on_conflict, bulk=bulk, attributes=attributes, more=more, file_bytes=source.size)


def _read(
    data: bytes,
    path: str,
    on_conflict: OnConflict,
    *,
    bulk: bool,
    attributes: bool = False,
    more: Callable[[], bytes] | None = None,
    file_bytes: int = 0,
) -> OffsetsTable:
    machine = Machine(data, BulkScanner(data) if bulk else None, more, file_bytes)
    rows = Rows(on_conflict, machine.file_bytes, room_for(machine.file_bytes) if attributes else 0)
    position = 0
    try:
        while True:
            if position == machine.size:
                if not machine.feed(position):
                    break
                position = 0
            begin = machine.base + position
            value, position = machine.load(position)
            rows.add_pickle(value, begin)
            if machine.leftover:  # other unpicklers drop them without a word
                raise Fault(CorruptOffsetsError, "the pickle ends with values left over", machine.base + position - 1)
    except Fault as fault:
        before = rows.entries
        rows.table(path)  # an entry before this byte may be worse
        raise _error(fault.kind, fault.text, path, fault.position, before) from None
    table = rows.table(path)
    try:
        return table.unique(on_conflict)
    except (OffsetsConflictError, OffsetsNameError) as error:
        raise _error(type(error), error.message, path, *rows.locate(error.entries_before)) from None


def _error(kind: type[OffsetsError], text: str, path: str, position: int, before: int) -> OffsetsError:
    what = (
        f"{text}, after {counted(before, 'entry', 'entries')}"
        if kind in (TruncatedOffsetsError, CorruptOffsetsError)
        else text
    )
    advice = _ADVICE.get(kind.reason, _REWRITE)
    message = f"{path}: byte {position}: {what}; {advice}"
    return kind(message, path=path, position=position, entries_before=before)


def room_for(file_bytes: int) -> int:
    """Bytes that the attributes of the entries in a file may take, written out for each of them."""
    return (1 << 20) + 16 * file_bytes


class Rows:
    """Entries in the order of the file, names and ranges not checked yet.

    Rows come in two kinds, single ones and those of the bulk path, and are kept as the pieces of columns that they
    arrive in. Checks are made once, on whole columns: a file of 20,000 short pickles would need them 20,000 times.

    Parameters
    ----------
    on_conflict : str
        Decides which repeats of single rows can be dropped right away.
    file_bytes : int
        Size of the file.
    attributes_bytes : int
        How much attributes may take in all; 0 if nobody wants them. By the memo, a small file can have very many.
    """

    def __init__(self, on_conflict: OnConflict, file_bytes: int, attributes_bytes: int = 0) -> None:
        self._mode = on_conflict
        self._name_room = _NAME_ROOM * file_bytes + _LEAST_NAME_ROOM
        self._room = attributes_bytes
        self._states: dict[int, State] = {}  # row -> its attributes
        self._known: dict[State, State] = {}
        self._told: dict[tuple[int, bool], State] = {}
        self._row_of: dict[str, int] = {}
        self._repeats = 0
        self._count = 0
        self._arenas: list[NDArray[np.uint8]] = []
        self._ends: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
        self._arena_size = 0
        self._columns: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
        self._names: list[bytes] = []
        self._single: tuple[list[int], list[int], list[int]] = ([], [], [])
        self._first: dict[str, tuple[int, int]] = {}
        self._skipped: dict[str, set[tuple[int, int]]] = {}
        self._conflict = False
        self._position = np.empty(0, np.int64)
        self._dropped: list[int] = []  # for each dropped row, how many were kept before it

    @property
    def entries(self) -> int:
        """How many there were so far, whether kept or dropped."""
        return self._count + len(self._names) + len(self._dropped)

    def add_pickle(self, value: Any, begin: int) -> None:
        """Add the entries of one pickle.

        Parameters
        ----------
        value : object
            What the machine made of it.
        begin : int
            Its first byte.
        """
        seen: dict[int, int] = {}
        self._told.clear()  # what it was told of by identity is gone
        for item in value if type(value) in (list, tuple) else (value,):
            kind = type(item)
            if kind is Run and item.instances is None:
                self._add_run(item)
                continue
            for part in item.expand() if kind is Run else (item,):
                # Something that is referenced a million times is looked into once.
                size = seen.get(id(part))
                if size is not None:
                    self._repeats += size
                    continue
                seen[id(part)] = self._add_item(part, begin)

    def _add_item(self, item: Any, begin: int) -> int:
        """Add an entry, or a dictionary of entries; return how many."""
        if type(item) is Instance:
            self._add(item.name, item.start, item.end, item.position, item.others, is_object=True)
            return 1
        if type(item) is not dict:
            raise _type_fault(f"{_kind(item)} stands where an entry should be", begin)
        if type(item.get("title")) is str or ("sourceBlob" in item and item.keys() <= _API_KEYS):
            start, end = _bounds(item.get("sourceBlob", MISSING), begin)
            self._add(item.get("title", MISSING), start, end, begin, item)
            return 1
        for name, bounds in item.items():
            start, end = _bounds(bounds, begin)
            self._add(name, start, end, begin, bounds if type(bounds) is dict else NOTHING)
        return len(item)

    def _add(
        self, name: Any, start: Any, end: Any, position: int, others: dict[Any, Any], *, is_object: bool = False
    ) -> None:
        if name is MISSING or start is MISSING or end is MISSING:
            raise _type_fault("an entry lacks its name or an offset", position)
        if type(name) is not str:
            raise _type_fault(f"{_kind(name)} stands where a name should be", position)
        if type(start) is not int or type(end) is not int:
            wrong = end if type(start) is int else start
            raise _type_fault(f"{_kind(wrong)} stands where an offset should be", position)
        if not 0 <= start <= end <= MAX_OFFSET:
            text = f"the range {_brief(start)} to {_brief(end)} of {shown(name)} can't be"
            raise Fault(OffsetsRangeError, text, position)
        row = self._count + len(self._names)
        repeated = self._repeated(name, (start, end))
        if self._room and (not repeated or self._first[name] == (start, end)):
            first = self._row_of.setdefault(name, row)
            self._keep(first if repeated else row, others, is_object)
        if repeated:
            self._dropped.append(row)
            return
        self._names.append(self._raw_name(name, position))
        for column, value in zip(self._single, (start, end, position), strict=True):
            column.append(value)

    def _raw_name(self, name: str, position: int) -> bytes:
        try:
            raw = to_bytes(name)
        except UnicodeEncodeError:
            raise Fault(OffsetsNameError, f"the name {shown(name)} holds a lone surrogate", position) from None
        if b"\0" in raw:  # would look like the end of a name in the arena
            raise Fault(OffsetsNameError, f"the name {shown(name)} holds a NUL byte", position)
        self._name_room -= len(raw)
        if self._name_room < 0:
            text = "the names take far more room than the file: many entries share long ones"
            raise Fault(CorruptOffsetsError, text, position)
        return raw

    def _keep(self, row: int, others: dict[Any, Any], is_object: bool) -> None:
        """Note the attributes of a row, if it has any."""
        if not others:
            return
        key = id(others), is_object
        if self._room > 1 and key not in self._told:
            found = {k: v for k, v in others.items() if k not in FIELDS} if is_object else _attributes_in(others)
            self._told[key] = encode_state(found)
        state = self._told.get(key)
        self._room = max(1, self._room - (_UNTOLD_BYTES if state is None else len(state)))
        if self._room == 1 and state != b"":
            state = None
        if state != b"":
            self._states[row] = self._known.setdefault(state, state)

    def _repeated(self, name: str, bounds: tuple[int, int]) -> bool:
        """Whether a single row needn't be kept.

        One long name may be shared by many objects, through the memo. Kept for each it would take far more memory
        than the file does, so a repeat is dropped as soon as it can't make a difference. It's looked up as the object
        that it is, whose hash is known: to encode it each time would take as long as to write it out.
        """
        if self._mode == "replace":
            return False
        known = self._first.setdefault(name, bounds)
        if known is bounds:
            return False
        if known == bounds:
            self._repeats += 1
            return True
        if self._mode == "error":  # one of them is enough to raise the error
            already, self._conflict = self._conflict, True
            return already
        if self._mode == "skip":
            others = self._skipped.setdefault(name, set())
            self._repeats += bounds in others
            others.add(bounds)
            return True
        return False

    def _add_run(self, run: Run) -> None:
        self._flush()
        block, rows = run.block, slice(run.low, run.high)
        low, high = block.name_start[run.low], block.name_start[run.high]
        self._arenas.append(block.arena[low:high])
        self._ends.append(block.name_start[run.low + 1 : run.high + 1] + (self._arena_size - low))
        self._arena_size += int(high - low)
        for column, piece in zip(self._columns, (block.start, block.end, block.position), strict=True):
            column.append(piece[rows])
        self._count += run.high - run.low

    def _flush(self) -> None:
        """Turn the single rows so far into columns."""
        if not self._names:
            return
        arena, name_start = pack_names(self._names)
        self._arenas.append(arena)
        self._ends.append(name_start[1:] + self._arena_size)
        self._arena_size += len(arena)
        for column, piece in zip(self._columns, self._single, strict=True):
            column.append(np.array(piece, np.int64))
        self._count += len(self._names)
        self._names, self._single = [], ([], [], [])

    def table(self, path: str) -> OffsetsTable:
        """All rows so far, repeats included; raise the error of the first one that can't be."""
        self._flush()
        none = np.empty(0, np.int64)
        start, end, self._position = (np.concatenate([none, *column]) for column in self._columns)
        arena = np.concatenate([np.empty(0, np.uint8), *self._arenas])
        table = OffsetsTable(arena, np.concatenate(self._ends), start, end, self._repeats, self._attributes())
        fault = table.first_fault()
        if fault is not None:
            row, kind, text = fault
            raise _error(kind, text, path, *self.locate(row))
        return table

    def _attributes(self) -> Attributes | None:
        return Attributes.of_rows(self._states.items(), self._count) if self._states else None

    def locate(self, row: int) -> tuple[int, int]:
        """Say where a row of `table` came from.

        Returns
        -------
        position : int
            Byte of the opcode that made it, or of the pickle that holds it.
        before : int
            How many entries came before it.
        """
        return int(self._position[row]), row + bisect_right(self._dropped, row)


def _attributes_in(others: dict[Any, Any]) -> dict[Any, Any]:
    """Attributes that an entry would have if it were an object, and not a dictionary: see `BlobImageInfo.from_dict`."""
    source = others.get("sourceBlob")
    found = both(others, source) if type(source) is dict else dict(others)
    if (team_file_id := found.pop("teamFileId", None)) is not None:
        found["team_file_id"] = team_file_id
    return {key: value for key, value in found.items() if key not in _NO_ATTRIBUTES}


_UNTOLD_BYTES: Final = 4 * MAX_STATE_BYTES
"""What attributes count for that can't be told: finding that out takes time as well."""
_NO_ATTRIBUTES: Final = FIELDS | {"title", "sourceBlob", "offsetStart", "offsetEnd"}
_API_KEYS: Final = frozenset({"title", "teamFileId", "sourceBlob"})


def _type_fault(text: str, position: int) -> Fault:
    return Fault(OffsetsTypeError, text, position)


def _brief(value: int) -> str:
    return str(value) if abs(value) < 10**30 else f"an integer of {value.bit_length()} bits"


def _kind(value: Any) -> str:
    if type(value) is Instance or type(value) is Run:
        return "a BlobImageInfo"
    return f"a value of type {type(value).__name__!r}"


def _bounds(value: Any, begin: int) -> tuple[Any, Any]:
    """Return start and end of a range in any of its spellings."""
    if type(value) is dict:
        return value.get("offsetStart", MISSING), value.get("offsetEnd", MISSING)
    if type(value) in (tuple, list) and len(value) == 2:
        return value[0], value[1]
    if value is MISSING:
        raise _type_fault("an entry lacks its byte range", begin)
    raise _type_fault(f"{_kind(value)} stands where a byte range should be", begin)
