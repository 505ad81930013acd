"""The fast path of the pickle machine: finds many regular blob images at once, with numpy.

A regular object is what every pickler of protocol 2 and up makes of a ``BlobImageInfo`` that isn't the first of its
pickle (``h3 ) 0x81 …``, see `_Parser`). The scanner looks for them block by block and takes the longest chain of
objects of which each begins where the one before ends. Whatever isn't regular - the first object of a pickle, the
frame that the pickler begins every 64 KiB wherever it happens to be, a name that isn't UTF-8 - is left to the
machine, which asks again at the next object.

Each byte of the file is in one block at most, so the work is linear however often the machine asks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from blobdir.nametable import gather_names
from blobdir.offsets.values import Instance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    Bytes = NDArray[np.uint8]

_BLOCK_BYTES: Final = 1 << 19
_LONGEST_NAME: Final = 4095
_OVERHANG_BYTES: Final = _LONGEST_NAME + 128  # of an object that begins at the last byte of a block
_SHORTEST_RUN: Final = 4  # a shorter one is quicker on the machine
_SMALLEST_OBJECT_BYTES: Final = 25


def _lookup(sizes: dict[str, int]) -> NDArray[np.int64]:
    table = np.zeros(256, np.int64)
    for opcode, size in sizes.items():
        table[ord(opcode)] = size
    return table


_PUT_SIZE: Final = _lookup({"\x94": 1, "q": 2, "r": 5})  # MEMOIZE, BINPUT, LONG_BINPUT
_GET_SIZE: Final = _lookup({"h": 2, "j": 5})  # BINGET, LONG_BINGET
_INT_SIZE: Final = _lookup({"K": 2, "M": 3, "J": 5, "\x8a": 2})  # BININT1, BININT2, BININT, LONG1 and its count
_MEMOIZE: Final = 0x94
_LONG1: Final = 0x8A


@dataclass(frozen=True, slots=True)
class Block:
    """The regular objects that begin in one stretch of the file, in order. No two of them overlap.

    Attributes
    ----------
    limit : int
        The byte after the stretch.
    before, after : ndarray of int64, shape (n,)
        Where each object's bytes begin and end.
    position : ndarray of int64, shape (n,)
        The opcode that makes the object; as `run_at` gives it, counted from the beginning of the file.
    arena, name_start : ndarray of uint8, ndarray of int64, shape (n + 1,)
        The names, as in `OffsetsTable`.
    start, end : ndarray of int64, shape (n,)
        The byte ranges.
    gets : ndarray of int64, shape (4, n)
        Memo indexes of the class and of the strings ``name``, ``offset_start`` and ``offset_end``.
    put : ndarray of int64, shape (n,)
        Memo index at which the object is put, or -1 for the next free one.
    chain_end : ndarray of int64, shape (n,)
        The object after the last of the chain that the object is in.
    """

    limit: int
    before: Ints
    after: Ints
    position: Ints
    arena: Bytes
    name_start: Ints
    start: Ints
    end: Ints
    gets: Ints
    put: Ints
    chain_end: Ints

    def name(self, row: int) -> bytes:
        """The name of one object."""
        return self.arena[self.name_start[row] : self.name_start[row + 1] - 1].tobytes()


class Run:
    """Consecutive blob images that the bulk path read: rows ``low`` to ``high`` of a `Block`, as one stack item.

    Each of them also took three places in the memo, from `memo_base` on: the object, its state, its name.

    Attributes
    ----------
    instances : list of Instance or None
        The same as single objects, once something had to look at one of them.
    """

    __slots__ = ("block", "high", "instances", "low", "memo_base")

    def __init__(self, block: Block, low: int, high: int, memo_base: int) -> None:
        self.block = block
        self.low = low
        self.high = high
        self.memo_base = memo_base
        self.instances: list[Instance] | None = None

    def expand(self) -> list[Instance]:
        """The single objects, always the same ones."""
        if self.instances is None:
            block, rows = self.block, range(self.low, self.high)
            self.instances = [
                Instance(int(block.position[i]), block.name(i).decode(), int(block.start[i]), int(block.end[i]))
                for i in rows
            ]
        return self.instances

    def recall(self, index: int) -> Any:
        """What the memo holds at `index`, which is one of this run's places."""
        number, kind = divmod(index - self.memo_base, 3)
        if kind == 0:
            return self.expand()[number]
        row, block = self.low + number, self.block
        name = block.name(row).decode()
        if kind == 2:
            return name
        return {"name": name, "offset_start": int(block.start[row]), "offset_end": int(block.end[row])}


class BulkScanner:
    """Finds runs of regular objects in a file, from front to back.

    Parameters
    ----------
    data : bytes
        The file, or a piece of it.
    base : int
        Which byte of the file is the first of `data`.
    """

    def __init__(self, data: bytes, base: int = 0) -> None:
        self._data = np.frombuffer(data, np.uint8)
        self._base = base
        self._block: Block | None = None

    def run_at(self, position: int, memo: list[Any]) -> Run | None:
        """Return the objects that follow one another from `position` on, or None if that isn't worth while.

        Parameters
        ----------
        position : int
            Where the machine stands. Must not be smaller than in the call before.
        memo : list
            The machine's memo, without gaps. The objects mean what they seem to mean only if it holds the class
            and the names of the fields at the indexes that they use.
        """
        block = self._block
        if block is None or position >= block.limit:
            if len(self._data) - position < _SHORTEST_RUN * _SMALLEST_OBJECT_BYTES:
                return None
            block = scan_block(self._data, position)
            block = self._block = replace(block, position=block.position + self._base)
        row = int(np.searchsorted(block.before, position))
        if row == len(block.before) or block.before[row] != position:
            return None
        stop = int(block.chain_end[row])
        if stop - row < _SHORTEST_RUN:
            return None
        if block.put[row] not in (-1, len(memo)):
            return None
        fields = [memo[index] if index < len(memo) else None for index in block.gets[1:, row].tolist()]
        # The class is what the machine just found. A Run in the memo is not a string.
        if any(type(field) is not str for field in fields) or fields != ["name", "offset_start", "offset_end"]:
            return None
        return Run(block, row, stop, len(memo))


class _Parser:
    """Reads the same sequence of tokens at many places at once. A place where a token doesn't fit is not `ok`."""

    def __init__(self, window: Bytes, at: Ints) -> None:
        self.window = window
        # Unaligned eight-byte words that begin at every byte: one gather reads any argument.
        self.words: NDArray[np.uint64] = np.ndarray((len(window) - 7,), "<u8", window.data, 0, (1,))
        self.at = at
        self.ok = np.ones(len(at), bool)

    def literal(self, *codes: int) -> None:
        """Expect fixed bytes."""
        for code in codes:
            self.ok &= self.window[self.at] == code
            self.at = self.at + 1

    def _sized(self, sizes: NDArray[np.int64]) -> tuple[Bytes, Ints]:
        opcode = self.window[self.at]
        size = sizes[opcode]
        self.ok &= size > 0
        return opcode, size

    def _unsigned(self, at: Ints, size: Ints | int) -> Ints:
        shift = np.asarray((8 - size) * 8).astype(np.uint64)
        return ((self.words[at] << shift) >> shift).view(np.int64)

    def put(self) -> Ints:
        """Expect an opcode that remembers; return its index, -1 for MEMOIZE."""
        opcode, size = self._sized(_PUT_SIZE)
        at, self.at = self.at + 1, self.at + size
        if (opcode == _MEMOIZE).all():
            return np.full(len(at), -1, np.int64)
        index = self._unsigned(at, np.maximum(size - 1, 1))
        return np.where(opcode == _MEMOIZE, -1, index)

    def get(self) -> Ints:
        """Expect an opcode that recalls; return its index."""
        _, size = self._sized(_GET_SIZE)
        at, self.at = self.at + 1, self.at + size
        return self._unsigned(at, np.maximum(size - 1, 1))

    def string(self) -> tuple[Ints, Ints]:
        """Expect a string; return where its bytes begin and how many there are."""
        short = self.window[self.at] == 0x8C
        self.ok &= short | (self.window[self.at] == 0x58)
        width = np.where(short, 1, 4)
        length = self._unsigned(self.at + 1, width)
        fits = length <= _LONGEST_NAME
        self.ok &= fits
        first = self.at + 1 + width
        self.at = first + np.where(fits, length, 0)
        return first, length

    def integer(self) -> Ints:
        """Expect an integer of at most eight bytes; return it."""
        opcode, size = self._sized(_INT_SIZE)
        at, width = self.at + 1, size - 1
        long = opcode == _LONG1
        if long.any():
            count = self.window[at].astype(np.int64)
            self.ok &= ~long | ((count > 0) & (count <= 8))
            at = at + long
            width = np.where(long, np.minimum(count, 8), width)
        width = np.clip(width, 1, 8)
        self.at = at + width
        shift = ((8 - width) * 8).astype(np.uint64)
        word = self.words[at] << shift
        signed = word.view(np.int64) >> shift.view(np.int64)
        unsigned = (opcode == 0x4B) | (opcode == 0x4D)
        if unsigned.any():
            return np.where(unsigned, (word >> shift).view(np.int64), signed)
        return signed

    def keep(self, *columns: Ints) -> list[Ints]:
        """Forget the places that aren't `ok`, here and in `columns`."""
        if self.ok.all():
            return list(columns)
        ok = self.ok
        self.at, self.ok = self.at[ok], self.ok[ok]
        return [column[ok] for column in columns]


def _candidates(window: Bytes, count: int) -> tuple[Ints, Ints]:
    """Find ``h<class> ) 0x81`` that begin in the first `count` bytes; return the beginnings and where 0x81 is."""
    newobj = np.flatnonzero(window[: count + 6] == 0x81)
    newobj = newobj[newobj >= 3]
    newobj = newobj[window[newobj - 1] == ord(")")]
    short = window[newobj - 3] == ord("h")
    long = (window[np.maximum(newobj - 6, 0)] == ord("j")) & (newobj >= 6) & ~short
    before = newobj - np.where(short, 3, 6)
    good = (short | long) & (before < count) & (before >= 0)
    return before[good], newobj[good]


def scan_block(data: Bytes, first: int) -> Block:
    """Find all regular objects that begin in the block at byte `first`.

    The objects look like this, in the notation of ``pickletools``; ``PUT`` and ``GET`` in any form::

        GET class, EMPTY_TUPLE, NEWOBJ, PUT, EMPTY_DICT, PUT, MARK,
        GET "name", BINUNICODE or SHORT_BINUNICODE, PUT,
        GET "offset_start", integer, GET "offset_end", integer, SETITEMS, BUILD
    """
    count = min(_BLOCK_BYTES, len(data) - first)
    seen = data[first : first + count + _OVERHANG_BYTES]
    # Zeros after the end: no token of an object is a zero byte, so an object can't reach into them.
    window = np.zeros(len(seen) + _OVERHANG_BYTES, np.uint8)
    window[: len(seen)] = seen
    before, newobj = _candidates(window, count)
    parser = _Parser(window, newobj + 1)
    put = parser.put()
    parser.literal(ord("}"))
    put_state = parser.put()
    parser.literal(ord("("))
    before, newobj, put, put_state = parser.keep(before, newobj, put, put_state)
    get_name = parser.get()
    name_at, name_size = parser.string()
    before, newobj, put, put_state, get_name, name_at, name_size = parser.keep(
        before, newobj, put, put_state, get_name, name_at, name_size
    )
    put_name = parser.put()
    get_start = parser.get()
    start = parser.integer()
    get_end = parser.get()
    end = parser.integer()
    parser.literal(ord("u"), ord("b"))
    explicit = put >= 0
    parser.ok &= (put_state == np.where(explicit, put + 1, -1)) & (put_name == np.where(explicit, put + 2, -1))
    words = _Parser(window, before)
    gets = np.stack([words.get(), get_name, get_start, get_end])
    ok = parser.ok & words.ok
    # Overlapping ones would let a hostile file claim the same name bytes many times over.
    ok[1:] &= before[1:] >= np.maximum.accumulate(np.where(ok, parser.at, 0))[:-1]
    arena, name_start, valid = _names(window, name_at, name_size, ok)
    rows = np.flatnonzero(valid)
    before, after, gets, put = before[rows], parser.at[rows], gets[:, rows], put[rows]
    return Block(
        limit=first + count,
        before=before + first,
        after=after + first,
        position=newobj[rows] + first,
        arena=arena,
        name_start=name_start,
        start=start[rows],
        end=end[rows],
        gets=gets,
        put=put,
        chain_end=_chain_end(before, after, gets, put),
    )


def _names(window: Bytes, at: Ints, size: Ints, ok: Bools) -> tuple[Bytes, Ints, Bools]:
    """Gather the names of the objects that are `ok`, without those whose name isn't UTF-8."""
    arena, name_start = gather_names(window, at[ok], size[ok])
    raw = arena.tobytes()
    if raw.isascii():
        return arena, name_start, ok
    try:
        raw.decode()  # one zero byte after each name: all of them are UTF-8, or this fails
        return arena, name_start, ok
    except UnicodeDecodeError:
        valid = ok.copy()
        for row, name in zip(np.flatnonzero(ok).tolist(), _split(raw, name_start), strict=True):
            try:
                name.decode()
            except UnicodeDecodeError:
                valid[row] = False
        arena, name_start = gather_names(window, at[valid], size[valid])
        return arena, name_start, valid


def _split(raw: bytes, name_start: Ints) -> list[bytes]:
    bounds = name_start.tolist()
    return [raw[a : b - 1] for a, b in pairwise(bounds)]


def _chain_end(before: Ints, after: Ints, gets: Ints, put: Ints) -> Ints:
    """Find out which objects follow one another and use the same memo indexes: see `Block.chain_end`."""
    follows = (after[:-1] == before[1:]) & (gets[:, :-1] == gets[:, 1:]).all(axis=0)
    follows &= np.where(put[:-1] >= 0, put[:-1] + 3, -1) == put[1:]
    breaks = np.append(np.flatnonzero(~follows) + 1, len(before))
    return breaks[np.searchsorted(breaks, np.arange(len(before)), side="right")]
