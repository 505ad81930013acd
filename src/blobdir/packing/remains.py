"""Whether files still have the bytes of what was removed: twins, copies, what downloads leave, other images."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.durable import open_regular
from blobdir.lazily import cached_property
from blobdir.packing.fragments import BLOCK, Fragments, hits

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from io import BufferedReader

    from numpy.typing import NDArray

    from blobdir.tarscan import TarTable

_LOOK_BYTES: Final = 4 << 20
_KNOWN_BYTES: Final = 64 << 10
"""How much of a member's beginning is kept as a digest; whoever agrees in it is compared in full."""
_LENGTHS: Final = [BLOCK << n for n in range(8)]
_HEAD_BYTES: Final = 4 << 10
"""How much of a member is read to know whether it's worth reading all of it."""
_WIDTHS: Final = [1 << n for n in range(6)]
"""Words of 8 bytes by which images of less than a block are found: what follows them there needn't be zeros."""


@dataclass(frozen=True, slots=True)
class Gone:
    """A member that isn't in the project any more.

    Attributes
    ----------
    path : str
        The tar that has it, or had it.
    start, end : int
        Its bytes there.
    name : bytes
    is_image : bool
        Whether any member with its bytes is a copy. Of labels, many are the same: only those of its name are.
    """

    path: str
    start: int
    end: int
    name: bytes
    is_image: bool = True


class Remains:
    """Looks for the bytes of members in other files, wherever a member of a tar may begin: in damaged ones, too.

    Nothing is read before `find` or `among` is called. Each file is read once, but for holes, whatever the number of
    members. A file has a member

    - whose bytes are in it from the first one on: all, or those before the file's end, a block (512 bytes) at least;
    - of which it has a part: all bytes where the member's would be are the member's, are zeros (a hole), or lie before
      the file's beginning or behind its end; and one of a few blocks spread over the member is there (`Fragments`).
      That one isn't of one colour, nor in the header, nor one that many members have: those are in other images too.

    What doesn't lie at multiples of a block isn't found, nor is a part that has none of those blocks.

    Parameters
    ----------
    root : str
    gone : list of Gone
        With paths below `root`. Those without a byte that isn't zero have nothing to be found.
    """

    def __init__(self, root: str, gone: list[Gone]) -> None:
        self._root = root
        self._gone = gone
        rng = np.random.default_rng()
        self._weights = rng.integers(1, 1 << 63, BLOCK // 8, np.uint64) | np.uint64(1)
        self._wholes: dict[_Key, dict[bytes, Gone]] = {}

    def find(self, path: str, low: int = 0, high: int | None = None) -> Gone | None:
        """The first member that a file, or bytes `low` to `high` of it, have the bytes of; None where they have none.

        Raises
        ------
        OSError
            The file can't be read, or one of the tars.
        """
        known, short = self._known.by_block, self._known.short
        tried: dict[int, int] = {}
        begun: dict[int, int] = {}
        with self._open(path) as file:
            for base, data in _pieces(file.fileno(), low, high):
                blocks = np.frombuffer(data + bytes(-len(data) % BLOCK), np.uint64).reshape(-1, BLOCK // 8)
                keys = self._keys(blocks)
                for hit in hits(keys, self._known.blocks).tolist():
                    found = self._agreeing(file.fileno(), base + hit * BLOCK, known[int(keys[hit])])
                    if found is not None:
                        return found
                for hit, number, block in self._known.fragments.among(keys, tried):
                    at = base + (hit - block) * BLOCK
                    if begun.get(number) != at and self._has_part(file.fileno(), at, number, block, low, high):
                        return self._gone[number]
                    begun[number] = at
                for width, of_width in short.items():
                    keys = self._keys(blocks[:, :width])
                    for hit in hits(keys, _sorted(of_width)).tolist():
                        at_hit = data[hit * BLOCK : (hit + 1) * BLOCK]
                        for content, gone in of_width[int(keys[hit])].items():
                            if at_hit.startswith(content):
                                return gone
        return None

    def among(self, path: str, members: TarTable, spans: Collection[tuple[int, int]]) -> tuple[Gone, int] | None:
        """The first member whose bytes one of a tar has, of those with some byte ranges; and the row of that one.

        Only what has the size of one that is gone is read, and of that no more than the beginning if it differs.

        Raises
        ------
        OSError
        """
        heads = self._known.heads
        rows = np.flatnonzero(np.isin(members.end - members.start, list({size for size, _, _ in heads})))
        if not len(rows):
            return None
        with self._open(path) as file:
            for row in rows.tolist():
                span = start, end = int(members.start[row]), int(members.end[row])
                if span not in spans:
                    continue
                head = _digest(os.pread(file.fileno(), min(end - start, _HEAD_BYTES), start))
                for name in (None, _base(members.name(row))):
                    key = end - start, name, head
                    if key in heads and (gone := self._whole(key).get(_digest_of(file.fileno(), *span))) is not None:
                        return gone, row
        return None

    def _whole(self, key: _Key) -> dict[bytes, Gone]:
        """Digest of all bytes -> member, of those that begin alike."""
        if key not in self._wholes:
            found = self._wholes[key] = {}
            for gone in self._known.heads[key]:
                with self._open(gone.path) as file:
                    found[_digest_of(file.fileno(), gone.start, gone.end)] = gone
        return self._wholes[key]

    def _open(self, path: str) -> BufferedReader:
        return open_regular(os.path.join(self._root, path))

    def _keys(self, blocks: NDArray[np.uint64]) -> NDArray[np.uint64]:
        keys: NDArray[np.uint64] = (blocks * self._weights[: blocks.shape[1]]).sum(axis=1, dtype=np.uint64)
        return keys

    @cached_property
    def _known(self) -> _Known:
        """What members begin with."""
        known = _Known(Fragments(self._keys))
        of_path: dict[str, list[int]] = {}
        for number, gone in enumerate(self._gone):
            of_path.setdefault(gone.path, []).append(number)
        for path, numbers in of_path.items():
            with self._open(path) as file:
                for number in numbers:
                    gone = self._gone[number]
                    size = gone.end - gone.start
                    data = os.pread(file.fileno(), min(size, _KNOWN_BYTES), gone.start)
                    if any(data) or size > _KNOWN_BYTES:
                        self._learn(known, gone, data)
                        known.fragments.learn(number, file.fileno(), gone.start, gone.end)
        return known

    def _learn(self, known: _Known, gone: Gone, data: bytes) -> None:
        first = np.frombuffer(data[:BLOCK].ljust(BLOCK, b"\0"), np.uint64).reshape(1, -1)
        digests = known.by_block.setdefault(int(self._keys(first)[0]), {})
        length = max([n for n in _LENGTHS if n <= len(data)], default=0)
        digests.setdefault((length, _digest(data[:length])), []).append(gone)
        width = max([n for n in _WIDTHS if 8 * n <= len(data)], default=0)
        if gone.is_image and width and len(data) < BLOCK:
            key = int(self._keys(first[:, :width])[0])
            known.short.setdefault(width, {}).setdefault(key, {}).setdefault(data, gone)
        name = None if gone.is_image else _base(gone.name)
        known.heads.setdefault((gone.end - gone.start, name, _digest(data[:_HEAD_BYTES])), []).append(gone)

    def _agreeing(self, file: int, at: int, digests: dict[tuple[int, bytes], list[Gone]]) -> Gone | None:
        data = os.pread(file, _KNOWN_BYTES, at)
        lengths = [n for n in (0, *_LENGTHS) if n <= len(data)]
        candidates = [gone for n in lengths for gone in digests.get((n, _digest(data[:n])), ())]
        if len(data) < _KNOWN_BYTES and any(data):  # the file ends here: what is cut off has no whole beginning
            candidates += [gone for (n, _), group in digests.items() if n > len(data) for gone in group]
        return next((gone for gone in candidates if self._is_same(file, at, gone)), None)

    def _is_same(self, file: int, at: int, gone: Gone) -> bool:
        """Whether a file has a member's bytes from byte `at` on, or those before its end; zeros say nothing."""
        has_some = False
        with self._open(gone.path) as own:
            for low in range(gone.start, gone.end, _LOOK_BYTES):
                data = os.pread(own.fileno(), min(_LOOK_BYTES, gone.end - low), low)
                other = os.pread(file, len(data), at + low - gone.start)
                if not data.startswith(other):
                    return False
                has_some = has_some or any(other)
                if len(other) < len(data):
                    break
        return has_some

    def _has_part(self, file: int, at: int, number: int, block: int, low: int, high: int | None) -> bool:
        """Whether all that a file has of a member that would begin at byte `at` is the member's, or zeros.

        Parameters
        ----------
        file : int
        at : int
            Less than zero where the file has lost the beginning.
        number, block : int
            The member, and a block that is known to be there; what is around it is compared first.
        low, high : int
            Bytes of the file that are looked at.
        """
        gone = self._gone[number]
        first, last = max(0, low - at), gone.end - gone.start
        last = last if high is None else min(last, high - at)
        around = max(first, block * BLOCK - _HEAD_BYTES)
        spans = [(around, min(last, around + 2 * _HEAD_BYTES))]
        spans += [(start, min(last, start + _LOOK_BYTES)) for start in range(first, last, _LOOK_BYTES)]
        with self._open(gone.path) as own:
            for start, end in spans:
                there = np.frombuffer(os.pread(file, end - start, at + start), np.uint8)
                wanted = np.frombuffer(os.pread(own.fileno(), len(there), gone.start + start), np.uint8)
                if not np.array_equal(there, wanted) and ((there != wanted) & (there != 0)).any():
                    return False
        return True


_Key = tuple[int, bytes | None, bytes]
"""Size, base name if it has to be the same, and digest of the beginning."""


@dataclass(frozen=True)
class _Known:
    """What members begin with, and blocks of the rest.

    Attributes
    ----------
    fragments : Fragments
    by_block : dict
        Key of the first block -> length and digest of the beginning -> members.
    short : dict
        Of images of less than a block: words that are looked at -> key of those -> content -> member.
    heads : dict
        Of all, to compare them with members.
    """

    fragments: Fragments
    by_block: dict[int, dict[tuple[int, bytes], list[Gone]]] = field(default_factory=dict)
    short: dict[int, dict[int, dict[bytes, Gone]]] = field(default_factory=dict)
    heads: dict[_Key, list[Gone]] = field(default_factory=dict)

    @cached_property
    def blocks(self) -> NDArray[np.uint64]:
        """Keys of first blocks, in order."""
        return _sorted(self.by_block)


def _sorted(keys: Collection[int]) -> NDArray[np.uint64]:
    return np.sort(np.array(list(keys), np.uint64))


def _base(name: bytes) -> bytes:
    return name.rpartition(b"/")[2]


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).digest()


def _digest_of(file: int, start: int, end: int) -> bytes:
    """Digest of a byte range that is long enough for nobody to doubt it."""
    whole = hashlib.blake2b(digest_size=32)
    for low in range(start, end, _LOOK_BYTES):
        whole.update(os.pread(file, min(_LOOK_BYTES, end - low), low))
    return whole.digest()


def _pieces(file: int, at: int, end: int | None) -> Iterator[tuple[int, bytes]]:
    """Byte and content of all stretches of a file that are no holes, from byte `at` to `end`."""
    while end is None or at < end:
        try:
            at = max(at, os.lseek(file, at, os.SEEK_DATA) // BLOCK * BLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole, or the end
            if error.errno != errno.EINVAL:
                raise
        data = os.pread(file, _LOOK_BYTES if end is None else min(_LOOK_BYTES, max(0, end - at)), at)
        if not data:
            return
        yield at, data
        at += len(data)
