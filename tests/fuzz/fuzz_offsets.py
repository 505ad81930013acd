"""Fuzz the offsets reader with Atheris: only an `OffsetsError` may come out, and the bulk path changes nothing.

Run from the repository, with a folder for what is found and the fixtures as the first inputs::

    pip install atheris .
    mkdir -p corpus
    python tests/fuzz/fuzz_offsets.py corpus tests/data/pickles -max_total_time=120 -max_len=4096 -timeout=10

It stops at the first failure and leaves the input as ``crash-…``. Replay one with
``python tests/fuzz/fuzz_offsets.py crash-…``.
"""

from __future__ import annotations

import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["blobdir.offsets"]):
    from blobdir.errors import OffsetsError
    from blobdir.offsets import bulk, encode_offsets, read_offsets, reader

bulk._SHORTEST_RUN = 1
bulk._BLOCK_BYTES = 512


def outcome(data: bytes, mode: Any, *, fast: bool) -> object:
    try:
        table = reader._read(data, "x", mode, bulk=fast)
    except OffsetsError as error:
        return error.reason, error.position, error.entries_before
    assert read_offsets(encode_offsets(table)) == table
    return list(table.entries()), table.repeats


def one_input(data: bytes) -> None:
    mode = ("error", "skip", "replace", "rename")[len(data) % 4]
    assert outcome(data, mode, fast=True) == outcome(data, mode, fast=False)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
