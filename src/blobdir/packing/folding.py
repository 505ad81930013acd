"""Members copied from tars to a new one; and small blobs that are folded into one, since each costs who opens them all.

A store (`blobdir.imagestore`) writes a blob with each commit. `ripe` says which of those the next commit takes in: all
that aren't larger than what is there before them, sorted by size, with the new one. So sizes at least double from one
to the next: there are a dozen small blobs at the most, and a byte is copied as often at the most. What is larger than
`FOLD_BYTES` is left to `compact`, which folds those into blobs of `FULL_BYTES`.

Only blobs that a store wrote are folded (their names say so), and only if one offsets file names each: nobody has any
other reason to look for such a blob. All entries are held against the blob first, as `compact` does.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.discovery import layout
from blobdir.errors import PackError
from blobdir.inside import open_plain
from blobdir.offsets.table import concatenate
from blobdir.packing.shards import TarOutput
from blobdir.packing.writer import NEW_BLOB, ProjectWriter
from blobdir.tarwriting.format import RECORD, member_header, padding

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from blobdir.discovery.parts import Pickle
    from blobdir.offsets.attributes import State
    from blobdir.packing.publishing import Change
    from blobdir.packing.unnamed import Named
    from blobdir.packing.writer import Span

SLUG: Final = "store"
"""Blobs that stores write are called ``store-0000-….tar``."""
FOLD_BYTES: Final = 64 << 20
"""Blobs up to which a commit folds."""
FULL_BYTES: Final = 1 << 30
"""Blobs up to which `compact` folds."""
CHUNK_BYTES: Final = 16 << 20
_OF_STORE: Final = re.compile(rf"{layout.BLOB_DIR}/{SLUG}-[0-9]+(-[0-9a-f]+)+\.tar")


@dataclass(frozen=True, slots=True)
class Small:
    """A blob that can be folded.

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


Folded = list[tuple[str, int, int, "State"]]
"""Entries: name, first byte, the byte after the last, attributes."""


def is_of_store(path: str) -> bool:
    """Whether a blob is one that a store wrote, by its path in the project."""
    return _OF_STORE.fullmatch(path) is not None


def are_foldable(project: str | os.PathLike[str]) -> bool:
    """Whether a project has several blobs that stores wrote."""
    try:
        names = os.listdir(os.path.join(project, layout.BLOB_DIR))
    except OSError:
        return False
    return sum(is_of_store(f"{layout.BLOB_DIR}/{name}") for name in names) > 1


def small_blobs(writer: ProjectWriter, limit: int) -> list[Small]:
    """The blobs of a project that can be folded and are smaller than so many bytes, the smallest first."""
    known = writer.known
    users: dict[tuple[str, str], list[Pickle]] = {}
    for pickle in known.all_pickles():
        users.setdefault((pickle.blobs, pickle.stem), []).append(pickle)
    found = []
    for stem, path in known.blobs(layout.BLOB_DIR)[0].items():
        pickles = users.get((layout.BLOB_DIR, stem), [])
        if len(pickles) != 1 or not is_of_store(path):
            continue
        there = os.lstat(os.path.join(writer.root, path))
        if stat.S_ISREG(there.st_mode) and there.st_size < limit:
            found.append(Small(path, pickles[0], there.st_size))
    return sorted(found, key=lambda small: (small.size, small.path))


def ripe(small: list[Small], size: int) -> list[Small]:
    """Which of the blobs of one dataset are to be folded with a new one of `size` bytes."""
    taken: list[Small] = []
    size = max(size, RECORD)
    for one in small:
        if one.size > size:
            break
        taken.append(one)
        size += one.size
    return taken


def fold(writer: ProjectWriter, blobs: list[Small], out: TarOutput, gone: Collection[str] = ()) -> Folded:
    """Copy what blobs hold to a tar, and have them go.

    Parameters
    ----------
    writer : ProjectWriter
    blobs : list of Small
    out : TarOutput
    gone : collection of str
        Names that are left out.

    Returns
    -------
    list
        The entries of what was copied, as they are in the new tar.

    Raises
    ------
    PackError
        Something doesn't fit.
    """
    entries: Folded = []
    seen: set[bytes] = set()
    for one in blobs:
        writer.drop_blob(one.path, one.pickle.path)
        table = concatenate([table for _, table in writer.known.tables(one.pickle, attributes=True)]).unique()
        if gone:
            left = [row for row, raw in enumerate(table.names()) if os.fsdecode(raw) not in gone]
            table = table.take(np.array(left, np.intp))
        writer.known.check_fit(one.pickle, table)
        named: dict[Span, list[bytes]] = {}
        for name, start, end in table.entries():
            named.setdefault((start, end), []).append(name)
        place = copy_members(os.path.join(writer.root, one.path), named, out)
        for row, (name, start, end) in enumerate(table.entries()):
            if name in seen:
                raise PackError(
                    f"{os.fsdecode(name)}: is in {one.path} and in another blob; remove it, and add it again; nothing "
                    "was changed"
                )
            seen.add(name)
            entries.append((os.fsdecode(name), *place[start, end, name], table.state(row)))
    return entries


def fold_small(project: str, change: Change) -> Iterator[tuple[str, list[Small]]]:
    """Have small blobs of stores become large ones; gives each new blob, and those that go for it."""
    writer = ProjectWriter(change, project)
    for folder, group in groups(writer):
        yield _fold_group(writer, folder, group), group
    writer.write_pickles()
    writer.known.check_not_linked(change.removed)


def groups(writer: ProjectWriter) -> list[tuple[str, list[Small]]]:
    """Blobs that `compact` folds: those of one dataset, as many as make a large one."""
    found: list[tuple[str, list[Small]]] = []
    size: dict[str, int] = {}
    last: dict[str, list[Small]] = {}
    for one in small_blobs(writer, FULL_BYTES // 2):
        folder = os.path.dirname(one.pickle.path)
        if folder not in last or size[folder] + one.size > FULL_BYTES:
            last[folder], size[folder] = [], 0
            found.append((folder, last[folder]))
        last[folder].append(one)
        size[folder] += one.size
    return [(folder, group) for folder, group in found if len(group) > 1]


def _fold_group(writer: ProjectWriter, folder: str, group: list[Small]) -> str:
    staged = NEW_BLOB.replace("new", os.path.basename(group[0].path))
    if writer.change.dry_run:
        for one in group:
            writer.change.expect(one.path)
        return ""
    with TarOutput(str(writer.change.stage(staged))) as out:
        entries = fold(writer, group, out)
        digest = out.finish()
    stem = writer.name_blob(SLUG, digest, staged)
    writer.copy_entries(f"{folder}/{stem}{layout.OFFSETS_SUFFIX}", entries)
    writer.write_sums({f"{stem}.tar": digest})
    return f"{layout.BLOB_DIR}/{stem}.tar"


def copy_members(
    tar: str, named: Named, out: TarOutput, tell: Callable[[int], None] | None = None
) -> dict[tuple[int, int, bytes], Span]:
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
