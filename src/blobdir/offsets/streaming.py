"""Offsets files read piece by piece: ten million entries in the memory of some thousands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from blobdir.durable import open_regular
from blobdir.offsets.bulk import BulkScanner
from blobdir.offsets.machine import Machine
from blobdir.offsets.reader import Rows, read_offsets, room_for
from blobdir.offsets.values import Fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.offsets.table import OffsetsTable

WINDOW_BYTES: Final = 8 << 20
"""Bytes that are looked at together: some dozen lists of the SDK's size."""


def iter_offsets(
    path: str | os.PathLike[str], *, window_bytes: int = WINDOW_BYTES, attributes: bool = False
) -> Iterator[tuple[bytes, OffsetsTable]]:
    """Yield the pickles of an offsets file, some at a time, with the entries that they hold.

    Parameters
    ----------
    path : path
    window_bytes : int
        Bytes that are read together. A pickle that is longer is read whole.
    attributes : bool
        As in `read_offsets`.

    Yields
    ------
    raw : bytes
        One or more whole pickles, as they stand in the file. All of them, joined, are the file.
    table : OffsetsTable
        Their entries in order. Repeats within `raw` are dropped; a name may come again in what follows.

    Raises
    ------
    OffsetsError
        As `read_offsets`, for what is wrong within one piece. Nothing is yielded of the piece that it is in.
    OSError
    """
    with open_regular(path) as file:
        held, wanted = b"", window_bytes
        while True:
            more = file.read(wanted - len(held))
            data = held + more
            if not data:
                return
            rows = Rows("error", room_for(data) if attributes else 0)
            end = _load(data, rows)
            if end == 0 or (not more and end < len(data)):
                if more:  # a pickle that is longer than the window
                    held, wanted = data, 2 * wanted
                    continue
                read_offsets(path)  # says what is wrong, and where
                raise AssertionError(f"{os.fspath(path)}: can be read whole, and not in pieces")
            yield data[:end], rows.table(os.fspath(path)).unique()
            held, wanted = data[end:], max(window_bytes, len(data) - end + window_bytes // 2)


def _load(data: bytes, rows: Rows) -> int:
    """Add the whole pickles at the beginning of some bytes; gives the byte after them."""
    machine = Machine(data, BulkScanner(data))
    position = 0
    try:
        while position < len(data):
            value, after = machine.load(position)
            rows.add_pickle(value, position)
            if machine.leftover:
                break
            position = after
    except Fault:
        pass  # what is cut by the end of these bytes is whole in the next ones; or it's said then
    return position
