"""Projects whose offsets are to be mended: tars of images that differ by their names only."""

from __future__ import annotations

import tarfile
from io import BytesIO

from blobdir.offsets import read_offsets, write_offsets
from blobdir.verifying import repair, verify

LOST = "train/a_offsets.pkl"
PNG = b"\x89PNG\r\n\x1a\n"
SIZE = 64
"""Bytes of each image: all are as long as each other, so that only names tell them apart."""


def image(name):
    return (PNG + name.encode()).ljust(SIZE, b".")


def tar(made, names, path="blob/a.tar"):
    """Write a tar of images that hold their own full names; gives name -> range."""
    (made.root / path).parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(made.root / path, "w", format=tarfile.GNU_FORMAT) as file:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = SIZE
            file.addfile(info, BytesIO(image(name)))
    with tarfile.open(made.root / path) as file:
        return {m.name: (m.offset_data, m.offset_data + m.size) for m in file.getmembers()}


def write(made, entries, pickle="train/a_offsets.pkl"):
    (made.root / pickle).parent.mkdir(parents=True, exist_ok=True)
    write_offsets(made.root / pickle, [(name.encode(), *span) for name, span in entries])


def read(made, pickle="train/a_offsets.pkl"):
    return {e.name: (e.offset_start, e.offset_end) for e in read_offsets(made.root / pickle)}


def mend(made, **options):
    return repair(made.root, verify(made.root), **options)


def backups(made):
    return sorted(path.name for path in made.root.rglob("*.backup-*"))


NUMBERS = [f"{i:06d}.png" for i in range(12)]
