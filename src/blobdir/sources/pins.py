"""Which versions of some files are read, as processes tell those that were forked from the same one.

Where the index doesn't say which version of a blob it's of, the first answer does, and that one is read from then on.
Of the workers of a mount each would ask for it on its own, and two of them could read two versions.

Nobody takes a lock: what is half written, or by two at once, doesn't fit its sum, and is as if nobody had told it.
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

    def get(self, number: int) -> Stat | None:
        """The version of a file, if one was told."""
        slot = self._memory[number * _SLOT : (number + 1) * _SLOT]
        total, length = _HEAD.unpack_from(slot)
        text = slot[_HEAD.size : _HEAD.size + length]
        if not length or crc32(text) != total:
            return None
        size, mtime_ns, etag = json.loads(text)
        return Stat("file", size, mtime_ns, etag=etag)

    def tell(self, number: int, version: Stat) -> None:
        """Tell the version of a file; nothing where another process has, or where its etag is long or says nothing."""
        text = json.dumps([version.size, version.mtime_ns, version.etag]).encode()
        says_enough = version.size >= 0 and (version.etag or version.mtime_ns)
        if says_enough and _HEAD.size + len(text) <= _SLOT and self.get(number) is None:
            slot = _HEAD.pack(crc32(text), len(text)) + text
            self._memory[number * _SLOT : number * _SLOT + len(slot)] = slot
