"""What goes into one tar, and the table of where it lies there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from blobdir.offsets import OffsetsTable
from blobdir.tarwriting.members import IMAGE_BEGINNINGS, Members, WrittenShard, is_image, write_members
from blobdir.tarwriting.output import Places, TarOutput

if TYPE_CHECKING:
    from array import array

    from blobdir.packing.columns import TextColumn
    from blobdir.tarwriting.members import Labels

__all__ = [
    "IMAGE_BEGINNINGS",
    "Places",
    "Shard",
    "TarOutput",
    "WrittenShard",
    "is_image",
    "offsets_table",
    "write_shard",
]


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """A tar that is to be written.

    Attributes
    ----------
    slug : str
        What its name begins with, see `blobdir.packing.names`.
    dataset : str
        Path of its dataset.
    folder : str
        Where the sources lie.
    sources : TextColumn
        Their paths below `folder`.
    names : TextColumn
        Names that their entries have.
    sizes : array of int
        Bytes when they were listed.
    images : bool
        Whether they should be images.
    stamps : array of int, optional
        What else changes when they do, see `blobdir.tarwriting.reading.stamp_of`.
    number : int
        In its name.
    root : str
        Links out of it aren't followed; empty: all are.
    called : TextColumn or None
        Names of the members, where these are samples: see `blobdir.packing.samples`. None: those of their entries.
    """

    slug: str
    dataset: str
    folder: str
    sources: TextColumn
    names: TextColumn
    sizes: array[int]
    images: bool = True
    stamps: array[int] | None = None
    number: int = 0
    root: str = ""
    called: TextColumn | None = None

    def members(self, labels: Labels | None = None) -> Members:
        """What a process that writes it has to know."""
        called = self.called or self.names
        names = None if called is self.sources else called.joined()
        sources = self.sources.joined()
        return Members(self.folder, sources, names, self.sizes, self.stamps, self.root, self.images, labels)

    def key(self) -> str:
        """Tells it from the others of a plan; short, and can be the name of a file."""
        text = f"{self.images}\0{self.dataset}\0{self.number}".encode("utf-8", "surrogateescape")
        return hashlib.sha256(text).hexdigest()[:32]

    def digest(self) -> str:
        """Changes when anything that is to be written does, as far as names, sizes and stamps say."""
        head = f"{self.slug}\0{self.number}\0{self.dataset}\0{self.images}\0{self.folder}\0"
        digest = hashlib.sha256(head.encode("utf-8", "surrogateescape"))
        stamps = b"" if self.stamps is None else self.stamps.tobytes()
        called = [] if self.called is None else [self.called.joined()]
        for column in (self.sources.joined(), self.names.joined(), self.sizes.tobytes(), stamps, *called):
            digest.update(b"%d\0" % len(column) + column)
        return digest.hexdigest()


def offsets_table(places: Places, names: TextColumn) -> OffsetsTable:
    """The offsets of a tar whose members should have had these names."""
    kept = names if len(places.kept) == len(names) else names.take(places.kept)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept.lengths() + 1)])
    arena = np.frombuffer(kept.joined(), np.uint8)
    return OffsetsTable(arena, starts, np.array(places.starts, np.int64), np.array(places.ends, np.int64))


def write_shard(shard: Shard, path: str, *, strict: bool = False) -> tuple[WrittenShard, OffsetsTable]:
    """Write a tar, and say where its members lie.

    What can't be read, or changes while it is read, is left out and reported.

    Raises
    ------
    OSError
        The tar can't be written.
    """
    written, places = write_members(shard.members(), path, strict)
    return written, offsets_table(places, shard.names)
