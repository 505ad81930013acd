"""One pass over a file's bytes: its checksum, and the first bytes of many ranges."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from blobdir.inside import open_plain
from blobdir.smallfiles import HEAD
from blobdir.tarwriting.members import IMAGE_BEGINNINGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]

WINDOW = 8 << 20
"""Bytes that are read at a time. After each, a thread waits for the interpreter's lock, up to 5 ms."""


def read_through(
    full: str, starts: Ints, ends: Ints, progress: Callable[[int], None], *, checksum: bool
) -> tuple[NDArray[np.uint8], str]:
    """Read every byte of a file once.

    Parameters
    ----------
    full : str
    starts, ends : ndarray of int64
        Byte ranges in it, half-open, in any order; they may lie past its end.
    progress : callable
        Told how many bytes lie behind.
    checksum : bool

    Returns
    -------
    heads : ndarray of uint8, shape (ranges, `HEAD`)
        The first bytes of each range, zeros where it or the file is shorter.
    digest : str
        SHA-256 of the file, if it was asked for.
    """
    digest = hashlib.sha256()
    order = np.argsort(starts, kind="stable")
    sorted_starts = starts[order]
    heads = np.zeros((len(starts), HEAD), np.uint8)
    # Between windows the last bytes of the one before stay in front, for ranges that begin there.
    buffer = memoryview(bytearray(HEAD + WINDOW))
    every = sliding_window_view(np.frombuffer(buffer, np.uint8), HEAD)
    position = at = 0
    with open(open_plain(full), "rb", buffering=0) as file:
        while count := file.readinto(buffer[HEAD:]):
            if checksum:
                digest.update(buffer[HEAD : HEAD + count])
            base, position = position - HEAD, position + count
            stop = int(np.searchsorted(sorted_starts, position - HEAD, side="right"))
            heads[order[at:stop]] = every[sorted_starts[at:stop] - base]
            at = stop
            buffer[:HEAD] = buffer[count : HEAD + count]
            progress(position)
        for row in order[at:].tolist():
            data = os.pread(file.fileno(), HEAD, int(starts[row]))
            heads[row, : len(data)] = np.frombuffer(data, np.uint8)
    heads[np.arange(HEAD) >= np.minimum(ends, position)[:, None] - starts[:, None]] = 0
    return heads, digest.hexdigest() if checksum else ""


def are_images(heads: NDArray[np.uint8], lengths: Ints) -> NDArray[np.bool_]:
    """`blobdir.tarwriting.members.is_image` of many beginnings at once."""
    found = np.zeros(len(heads), bool)
    for parts in IMAGE_BEGINNINGS:
        left = np.flatnonzero(~found)
        if not len(left):
            break
        same = lengths[left] >= max(at + len(magic) for at, magic in parts)
        for at, magic in parts:
            same &= (heads[left, at : at + len(magic)] == np.frombuffer(magic, np.uint8)).all(axis=1)
        found[left[same]] = True
    return found
