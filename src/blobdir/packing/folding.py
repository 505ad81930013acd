"""Members copied from tars to a new one; and small blobs that are folded into one, since each costs who opens them all.

A store (`blobdir.imagestore`) writes a blob with each commit. `ripe` says which of those the next commit takes in: all
that aren't larger than what is there before them, sorted by size, with the new one. So sizes at least double from one
to the next: there are a dozen small blobs at the most, and a byte is copied as often at the most. What is larger than
`FOLD_BYTES` is left to `compact`, which folds those into blobs of `FULL_BYTES` (`groups`).

Folding is writing anew, so all of `blobdir.packing.held` is asked first. And only what is certainly a store's is folded
(`is_a_stores`): a name can be anybody's.

================================================================  ===========================  =======================
a blob that is called like a store's                              `compact`                      a commit of a store
================================================================  ===========================  =======================
isn't as stores write them                                        as any other blob              lets it be
a symbolic link leads to it, or to its offsets                    lets it be, and says so        lets it be
a member stays that no offsets name                               as any other blob              lets it be
it has files of images (`a.json`), though they go                 as any other blob              lets it be
doesn't fit its offsets, or has another checksum than it should   an error: nothing is done      lets it be
has an image that another one has, too                            folds one of the two           folds one of the two
its mode or owner is another one                                  with those of its own          lets it be
has what was removed, and nobody else can have that               folded                         folded; gone if empty
has what was removed, and somebody may have that                  folded, and that is said       lets it be
================================================================  ===========================  =======================

The last two are `Folding`'s: a commit searches for nothing, and says nothing. So what a commit would have to tell stays
for `compact`: where the blob has another name (a hard link, as of a `subset`), or anything lies in the project that
`compact` would search. Folders of images and of files of images aren't listed for that: they can have a million.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.discovery import layout
from blobdir.durable import open_regular
from blobdir.errors import BlobdirError, PackError
from blobdir.inside import open_plain
from blobdir.lazily import cached_property
from blobdir.packing.held import Holding, rights
from blobdir.packing.searching import places
from blobdir.packing.sums import SUMS
from blobdir.packing.unnamed import compacted_size, member_called, spans_of
from blobdir.projectlock import show_like
from blobdir.tarwriting.format import RECORD, archive_end, member_header, padding

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from blobdir.discovery.parts import Pickle
    from blobdir.offsets import OffsetsTable
    from blobdir.packing.held import Held
    from blobdir.packing.shards import TarOutput
    from blobdir.packing.unnamed import Named
    from blobdir.packing.writer import ProjectWriter

SLUG: Final = "store"
"""Blobs that stores write are called ``store-0000-….tar``."""
FOLD_BYTES: Final = 64 << 20
"""Blobs up to which a commit folds."""
FULL_BYTES: Final = 1 << 30
"""Blobs up to which `compact` folds."""
CHUNK_BYTES: Final = 16 << 20
Copied = dict[tuple[int, int, bytes], tuple[int, int]]
"""Byte range in the old tar, and name -> byte range in the new one."""
_OF_STORE: Final = re.compile(rf"{layout.BLOB_DIR}/{SLUG}-[0-9]+(-[0-9a-f]+)+\.tar")


@dataclass(frozen=True, slots=True)
class Small:
    """A blob that is called like a store's.

    Attributes
    ----------
    path : str
    pickle : Pickle
        The only offsets file that names it.
    size : int
        Bytes.
    """

    path: str
    pickle: Pickle
    size: int


def small_blobs(writer: ProjectWriter, limit: int) -> list[Small]:
    """The blobs that are called like a store's and are smaller than so many bytes, the smallest first."""
    known = writer.known
    users: dict[tuple[str, str], list[Pickle]] = {}
    for pickle in known.all_pickles():
        users.setdefault((pickle.blobs, pickle.stem), []).append(pickle)
    found = []
    for stem, path in known.blobs(layout.BLOB_DIR)[0].items():
        pickles = users.get((layout.BLOB_DIR, stem), [])
        if len(pickles) != 1 or _OF_STORE.fullmatch(path) is None:
            continue
        there = os.lstat(os.path.join(writer.root, path))
        if stat.S_ISREG(there.st_mode) and there.st_size < limit:
            found.append(Small(path, pickles[0], there.st_size))
    return sorted(found, key=lambda small: (small.size, small.path))


def ripe(small: list[Small], size: int, may: Callable[[Small], bool] = lambda _: True) -> list[Small]:
    """Which of the blobs of one dataset are to be folded with a new one of `size` bytes, of those that may be."""
    taken: list[Small] = []
    size = max(size, RECORD)
    for one in small:
        if one.size > size:
            break
        if may(one):
            taken.append(one)
            size += one.size
    return taken


def is_a_stores(writer: ProjectWriter, held: Held) -> bool:
    """Whether a blob is as a store has written it, to the byte, so that nothing is lost where it's folded.

    It's called like one; one offsets file names it, and each member that stays, by the name that it has; headers are
    those that blobdir writes; and no link of the project leads to it.
    """
    pickles, members, judged = [*held.tables], held.members, held.judged
    is_called = _OF_STORE.fullmatch(held.path) is not None and stat.S_ISREG(held.there.st_mode)
    has_others = judged.hidden or judged.files or judged.of_gone  # as a tar that is a shard has labels
    if not is_called or len(pickles) != 1 or has_others or members.size != held.there.st_size:
        return False
    table = held.tables[pickles[0]]
    spans = spans_of(members)
    named = sorted((members.name(row), *span) for row, span in enumerate(spans) if span in judged.kept)
    if sorted(table.entries()) != named or table.unwritable() is not None or held.links(writer.known):
        return False
    position, end = 0, b""
    with open_regular(os.path.join(writer.root, held.path)) as file:
        for row, (first, last) in enumerate(spans):
            before = end + member_header(members.name(row), last - first)
            if first != position + len(before) or os.pread(file.fileno(), len(before), position) != before:
                return False
            position, end = last, padding(last - first)
        end += archive_end(position + len(end))
        return os.pread(file.fileno(), len(end) + 1, position) == end


def groups(writer: ProjectWriter, blobs: Iterable[Held]) -> list[list[Held]]:
    """Blobs that `compact` folds: small ones of stores, of one dataset and alike in mode and owner, without doubles."""
    alike: dict[object, list[tuple[int, str, Held]]] = {}
    for held in blobs:
        size = compacted_size(held.judged.kept)
        if _OF_STORE.fullmatch(held.path) is None or size >= FULL_BYTES // 2:
            continue
        pickles = [
            (os.path.dirname(one.path), rights(os.lstat(os.path.join(writer.root, one.path)))) for one in held.tables
        ]
        alike.setdefault((*pickles, held.rights), []).append((size, held.path, held))
    found: list[list[Held]] = []
    for several in alike.values():
        full, names = FULL_BYTES + 1, set[bytes]()
        for size, _, held in sorted(several, key=lambda one: one[:2]) if len(several) > 1 else ():
            if not is_a_stores(writer, held):
                continue
            own = {name for table in held.tables.values() for name in table.names()}
            if full + size > FULL_BYTES or not names.isdisjoint(own):
                full, names = 0, set()
                found.append([])
            found[-1].append(held)
            names |= own
            full += size
    return [group for group in found if len(group) > 1]


def copy_blob(
    root: str, held: Held, out: TarOutput, tell: Callable[[int], None] | None = None
) -> tuple[dict[Pickle, OffsetsTable], Copied]:
    """Copy what stays of a blob to a tar; gives its offsets there, and where each member is."""
    named = held.judged.kept
    place = copy_members(os.path.join(root, held.path), named, out, tell)
    fresh = {}
    for pickle, table in held.tables.items():
        spans = [place[s, e, member_called(n, named[s, e])] for n, s, e in table.entries()]
        moved = np.array(spans, np.int64).reshape(len(table), 2)
        fresh[pickle] = table.moved(moved[:, 0].copy(), moved[:, 1].copy())
    return fresh, place


class Folding:
    """What a commit of a store does with small blobs: it takes them in, or has them go where no image is left in them.

    Parameters
    ----------
    writer : ProjectWriter
    gone : collection of str
        Names that go, or get other bytes.
    """

    def __init__(self, writer: ProjectWriter, gone: Collection[str]) -> None:
        self._writer = writer
        self._gone = gone
        self._taken: list[Held] = []
        self._names: set[bytes] = set()
        self._rights: tuple[int, int, int] | None = None

    def drop(self, small: Small) -> bool:
        """Have a blob go if nothing of it would be left, and nobody has to be told; whether it does."""
        held = self._hold(small)
        if held is None or held.judged.kept:
            return False
        self._writer.drop_blob(small.path, small.pickle.path)
        return True

    def be_like(self, staged: str) -> None:
        """Take in only what is as open as the new blob."""
        show_like(staged, os.stat(self._writer.root))
        self._rights = rights(os.lstat(staged))

    def takes(self, small: Small) -> bool:
        """Whether a blob is taken in: noted for `fold`, if it is."""
        held = self._hold(small)
        if held is None or not held.judged.kept:
            return False
        pickle = os.lstat(os.path.join(self._writer.root, small.pickle.path))
        names = set(held.tables[small.pickle].names())
        if not self._names.isdisjoint(names) or not held.rights == rights(pickle) == self._rights:
            return False
        try:
            self._holding.check_sum(small.path)
        except PackError:
            return False
        self._names |= names
        self._taken.append(held)
        return True

    def fold(self, out: TarOutput) -> list[OffsetsTable]:
        """Copy what was taken in to a tar, and have it go; gives its offsets there."""
        tables = []
        for held in self._taken:
            for pickle, table in copy_blob(self._writer.root, held, out)[0].items():
                self._writer.drop_blob(held.path, pickle.path)
                tables.append(table)
        return tables

    def _hold(self, small: Small) -> Held | None:
        """A blob that is certainly a store's, and of which nothing goes that somebody has to be told of; else None."""
        try:
            table = self._holding.table(small.pickle)
            if self._gone:
                left = [row for row, raw in enumerate(table.names()) if os.fsdecode(raw) not in self._gone]
                table = table.take(np.array(left, np.intp))
            named = {(start, end): [name] for name, start, end in table.entries()}
            if compacted_size(named) != small.size and self._must_be_told:  # before its members are looked at
                return None
            members = self._holding.scan(small.path)
            held = self._holding.hold(small.path, small.pickle.stem, {small.pickle: table}, members)
            if held.judged.gone and (held.there.st_nlink > 1 or self._must_be_told):
                return None
            return held if is_a_stores(self._writer, held) else None
        except (BlobdirError, OSError):
            return None

    @cached_property
    def _holding(self) -> Holding:
        return Holding(self._writer, self._writer.known.survey.folders)

    @cached_property
    def _must_be_told(self) -> bool:
        """Whether there is anything that `compact` would search for what goes, but for blobs that it knows itself."""
        known = self._writer.known
        beside = {layout.BLOB_DIR, *(layout.join(path, layout.PACKED_ANNOTATIONS) for path in known.datasets.values())}
        blobs = {known.blobs(pickle.blobs)[0].get(pickle.stem, "") for pickle in known.all_pickles()}
        blobs |= {path for path, one in self._writer.released.items() if one.whole}
        found = places(known.storage, known.survey.folders, beside, {*blobs, f"{layout.BLOB_DIR}/{SUMS}"})
        return next(found, None) is not None


def copy_members(tar: str, named: Named, out: TarOutput, tell: Callable[[int], None] | None = None) -> Copied:
    """Copy members from one tar to another, in the order in which they lie.

    What has several names in the old tar, as hard links do, has as many members in the new one: each can go by itself.

    Parameters
    ----------
    tar : str
    named : dict
        Byte range -> names that its members get.
    out : TarOutput
    tell : callable, optional
        Told how many bytes were copied.

    Returns
    -------
    dict
        Byte range in the old tar, and name -> byte range in the new one.

    Raises
    ------
    PackError
        One can't be read.
    """
    place = {}
    source = open_plain(tar)
    try:
        for start, end, name in sorted((*span, name) for span, names in named.items() for name in names):
            out.add(member_header(name, end - start))
            first = out.position
            for low in range(start, end, CHUNK_BYTES):
                data = os.pread(source, min(CHUNK_BYTES, end - low), low)
                if len(data) != min(CHUNK_BYTES, end - low):
                    raise PackError(f"{tar}: bytes {start} to {end} can't be read; nothing was changed")
                out.add(data)
            out.add(padding(end - start))
            place[start, end, name] = first, first + end - start
            if tell is not None:
                tell(end - start)
    finally:
        os.close(source)
    return place
