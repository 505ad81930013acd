"""Who reads one after the other, and how far ahead to fetch for him. Pure: no I/O, no threads."""

from __future__ import annotations

MAX_STREAMS = 8
"""Readers of one file that are told apart."""


class Readahead:
    """Watches which blocks of one file are read.

    A stream is a place that somebody reads on from. One that reads on gets twice as many blocks ahead, up to
    `most`; one that doesn't gets none, and the place that was used least recently is forgotten.

    Parameters
    ----------
    most : int
        Blocks ahead.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._streams: dict[int, tuple[int, int]] = {}  # block it reads -> (window, first block not asked for yet)

    def blocks_ahead(self, first: int, last: int) -> range:
        """Note that the blocks `first` to `last`, inclusive, are being read.

        Returns
        -------
        range
            Blocks to fetch in advance; empty for who reads here and there.
        """
        for here in (first, first - 1, first - 2):  # two workers that share a stream don't come in order
            if here in self._streams:
                window, asked = self._streams.pop(here)
                if last > here:
                    window = min(self._most, max(1, 2 * window))
                self._streams[last] = (window, max(asked, last + 1 + window) if window else last + 1)
                return range(max(asked, last + 1), last + 1 + window)
        self._streams[last] = (0, last + 1)
        if len(self._streams) > MAX_STREAMS:
            del self._streams[next(iter(self._streams))]
        return range(0)

    def is_stream(self, block: int) -> bool:
        """Whether who read `block` last has read what lies before it, too."""
        return self._streams.get(block, (0, 0))[0] > 0
