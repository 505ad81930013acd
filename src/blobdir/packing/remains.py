"""Whether files that no dataset uses still have the bytes of what was removed: twins, copies, what downloads leave."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.durable import open_regular

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from numpy.typing import NDArray

    from blobdir.tarscan import TarTable

BLOCK: Final = 512
_LOOK_BYTES: Final = 4 << 20
_KNOWN_BYTES: Final = 64 << 10
"""How much of a member's beginning is kept as a digest; whoever agrees in it is compared in full."""
_LENGTHS: Final = [BLOCK << n for n in range(8)]


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
    """

    path: str
    start: int
    end: int
    name: bytes


class Remains:
    """Looks for the bytes of members in other files, wherever a member of a tar may begin: in damaged ones, too.

    Nothing is read before `find` is called. Each file is read once, but for holes, whatever the number of members.
    Less than a block (512 bytes) of what is cut off isn't found.

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

    def find(self, path: str) -> Gone | None:
        """The first member that a file has the bytes of; None where it has none.

        Raises
        ------
        OSError
            The file can't be read, or one of the tars.
        """
        known = self._by_block
        with open_regular(os.path.join(self._root, path)) as file:
            for base, data in _pieces(file.fileno()):
                blocks = np.frombuffer(data + bytes(-len(data) % BLOCK), np.uint64).reshape(-1, BLOCK // 8)
                keys = self._keys(blocks)
                for hit in np.flatnonzero(np.isin(keys, self._all_keys)).tolist():
                    found = self._agreeing(file.fileno(), base + hit * BLOCK, known[int(keys[hit])])
                    if found is not None:
                        return found
        return None

    def among(self, path: str, members: TarTable, spans: Collection[tuple[int, int]]) -> Gone | None:
        """The first member whose name and bytes one of a tar has, of those with some byte ranges.

        Raises
        ------
        OSError
        """
        rows = np.flatnonzero(np.isin(members.end - members.start, [size for size, _ in self._by_name if size]))
        for row in rows.tolist():
            start, end = int(members.start[row]), int(members.end[row])
            alike = self._by_name.get((end - start, _base(members.name(row))), ())
            if alike and (start, end) in spans:
                with open_regular(os.path.join(self._root, path)) as file:
                    for gone in alike:
                        if self._is_same(file.fileno(), start, gone):
                            return gone
        return None

    @cached_property
    def _by_name(self) -> dict[tuple[int, bytes], list[Gone]]:
        found: dict[tuple[int, bytes], list[Gone]] = {}
        for gone in self._gone:
            found.setdefault((gone.end - gone.start, _base(gone.name)), []).append(gone)
        return found

    def _keys(self, blocks: NDArray[np.uint64]) -> NDArray[np.uint64]:
        keys: NDArray[np.uint64] = (blocks * self._weights).sum(axis=1, dtype=np.uint64)
        return keys

    @cached_property
    def _by_block(self) -> dict[int, dict[tuple[int, bytes], list[Gone]]]:
        """Key of the first block -> length and digest of the beginning -> members."""
        found: dict[int, dict[tuple[int, bytes], list[Gone]]] = {}
        for path in dict.fromkeys(gone.path for gone in self._gone):
            with open_regular(os.path.join(self._root, path)) as file:
                for gone in (one for one in self._gone if one.path == path):
                    data = os.pread(file.fileno(), min(gone.end - gone.start, _KNOWN_BYTES), gone.start)
                    if not any(data) and gone.end - gone.start <= _KNOWN_BYTES:
                        continue
                    first = np.frombuffer(data[:BLOCK].ljust(BLOCK, b"\0"), np.uint64).reshape(1, -1)
                    digests = found.setdefault(int(self._keys(first)[0]), {})
                    length = max([n for n in _LENGTHS if n <= len(data)], default=0)
                    digests.setdefault((length, _digest(data[:length])), []).append(gone)
        return found

    @cached_property
    def _all_keys(self) -> NDArray[np.uint64]:
        return np.sort(np.array(list(self._by_block), np.uint64))

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
        with open_regular(os.path.join(self._root, gone.path)) as own:
            for low in range(gone.start, gone.end, _LOOK_BYTES):
                data = os.pread(own.fileno(), min(_LOOK_BYTES, gone.end - low), low)
                other = os.pread(file, len(data), at + low - gone.start)
                if not data.startswith(other):
                    return False
                has_some = has_some or any(other)
                if len(other) < len(data):
                    break
        return has_some


def _base(name: bytes) -> bytes:
    return name.rpartition(b"/")[2]


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=8).digest()


def _pieces(file: int) -> Iterator[tuple[int, bytes]]:
    """Byte and content of all stretches of a file that are no holes."""
    at = 0
    while True:
        try:
            at = max(at, os.lseek(file, at, os.SEEK_DATA) // BLOCK * BLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole, or the end
            if error.errno != errno.EINVAL:
                raise
        data = os.pread(file, _LOOK_BYTES, at)
        if not data:
            return
        yield at, data
        at += len(data)
