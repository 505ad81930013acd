"""Which versions of some files are read, as processes tell those that were forked from the same one.

Where the index doesn't say which version of a blob it's of, the first answer does, and that one is read from then on.
Of the workers of a mount each would ask for it on its own, and two of them could read two versions.

Nobody takes a lock: what is half written, or by two at once, doesn't fit its sum, and is as if nobody had told it.
So who has told a version looks at each answer whether it's still the one that is told: of two that tell two versions
at the same moment, one finds out, and reads no more.
"""

from __future__ import annotations

import json
import mmap
import struct
from typing import Final
from zlib import crc32

from blobdir.sources.model import Stat

_SLOT: Final = 256
_HEAD: Final = struct.Struct("=IH")


class Pins:
    """Versions of files that answers have told of; known to all processes that are forked later.

    Parameters
    ----------
    count : int
        Files, which are numbers here.
    """

    def __init__(self, count: int) -> None:
        self._memory = mmap.mmap(-1, _SLOT * max(1, count))  # takes no room until something is told

    def __getitem__(self, number: int) -> Pin:
        return Pin(self._memory, number)


class Pin:
    """The version of one file that all read."""

    def __init__(self, memory: mmap.mmap, number: int) -> None:
        self._memory = memory
        self._start, self._end = number * _SLOT, (number + 1) * _SLOT
        self._agreed = b""

    def get(self) -> Stat | None:
        """The version, if one was told."""
        return _version(self._memory[self._start : self._end])

    def agree(self, version: Stat) -> Stat:
        """Tell the version that is read here, if nobody has told one; gives the one that counts.

        That is `version` itself where its etag is long or says nothing: it can't be told.
        """
        slot = self._memory[self._start : self._end]
        if slot == self._agreed:
            return version
        told = _version(slot)
        if told is None and (mine := _slot(version)):
            self._memory[self._start : self._start + len(mine)] = mine
            slot = self._memory[self._start : self._end]
            told = _version(slot)
        if told is None:  # two write it at once, or it can't be told
            return version
        if not told.difference(version):
            self._agreed = slot
        return told


def _slot(version: Stat) -> bytes:
    text = json.dumps([version.size, version.mtime_ns, version.etag]).encode()
    says_enough = version.size >= 0 and (version.etag or version.mtime_ns)
    return _HEAD.pack(crc32(text), len(text)) + text if says_enough and _HEAD.size + len(text) <= _SLOT else b""


def _version(slot: bytes) -> Stat | None:
    total, length = _HEAD.unpack_from(slot)
    text = slot[_HEAD.size : _HEAD.size + length]
    if not length or crc32(text) != total:
        return None
    size, mtime_ns, etag = json.loads(text)
    return Stat("file", size, mtime_ns, etag=etag)
