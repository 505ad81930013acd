"""Offsets files read piece by piece: ten million entries in the memory of some thousands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from blobdir.durable import open_regular
from blobdir.errors import TruncatedOffsetsError
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
        file_bytes = os.fstat(file.fileno()).st_size
        done, held, wanted = 0, b"", window_bytes
        while True:
            more = file.read(wanted - len(held))
            data = held + more
            if not data:
                return
            rows = Rows("error", file_bytes, room_for(len(data)) if attributes else 0)
            end, is_cut = _load(data, rows, file_bytes - done)
            if end == 0 or (not more and end < len(data)):
                if more and is_cut:  # a pickle that is longer than the window
                    held, wanted = data, 2 * wanted
                    continue
                read_offsets(path)  # says what is wrong, and where
                raise AssertionError(f"{os.fspath(path)}: can be read whole, and not in pieces")
            yield data[:end], rows.table(os.fspath(path)).unique()
            done += end
            held, wanted = data[end:], max(window_bytes, len(data) - end + window_bytes // 2)


def _load(data: bytes, rows: Rows, left: int) -> tuple[int, bool]:
    """Add the whole pickles at the beginning of some bytes.

    Parameters
    ----------
    data : bytes
    rows : Rows
    left : int
        Bytes of the file from the first of `data` on.

    Returns
    -------
    end : int
        The byte after them.
    is_cut : bool
        Whether what follows could be a pickle if there were more of it.
    """
    machine = Machine(data, BulkScanner(data), None, left)
    position = 0
    try:
        while position < len(data):
            value, after = machine.load(position)
            rows.add_pickle(value, position)
            if machine.leftover:
                return position, False
            position = after
    except Fault as fault:
        return position, fault.kind is TruncatedOffsetsError  # then it's whole in the next bytes; or it's said then
    return position, True
