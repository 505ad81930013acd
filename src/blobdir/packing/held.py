"""Blobs held against all that is said of them, before bytes of them are copied to a new one, or dropped.

Whoever writes a blob anew asks here first, `compact` as well as commits of stores: the tar is scanned to its end, each
entry fits a member, a checksum holds, and no backup may have named what goes. Damage that was copied into a new, sound
blob couldn't be told any more; so what doesn't hold is an error of `compact`, and a commit lets the blob be.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.durable import open_regular
from blobdir.errors import BlobdirError, PackError
from blobdir.lazily import cached_property
from blobdir.offsets.table import concatenate
from blobdir.packing.backups import backups_in, unreadable_backup
from blobdir.packing.sums import SUMS, read_sums
from blobdir.packing.unnamed import judge, names_of, spans_of
from blobdir.tarscan import in_words, scan_tar
from blobdir.tarscan.header import shown
from blobdir.tarscan.table import NAMED_IN_WARNING
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from blobdir.discovery.parts import Pickle
    from blobdir.offsets import OffsetsTable
    from blobdir.packing.provenance import Provenance
    from blobdir.packing.unnamed import Members, Named
    from blobdir.packing.writer import ProjectWriter
    from blobdir.sources import Folder
    from blobdir.tarscan import TarTable


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A blob, and what is said of it: all of it fits.

    Attributes
    ----------
    path, stem : str
        Its path in the project, and its name without ``.tar``.
    tables : dict
        Offsets files -> their entries, but for those that a change takes away.
    members : TarTable
    judged : Members
        What becomes of these.
    there : os.stat_result
        What it was when it was scanned.
    images : int
        How many the entries name.
    """

    path: str
    stem: str
    tables: dict[Pickle, OffsetsTable]
    members: TarTable
    judged: Members
    there: os.stat_result
    images: int

    @property
    def folder(self) -> str:
        """Where it lies."""
        return self.path.rpartition("/")[0]

    @property
    def rights(self) -> tuple[int, int, int]:
        """Mode and owner: what becomes one file has those of all its parts."""
        return rights(self.there)

    def links(self, known: Provenance) -> list[str]:
        """Symbolic links of the project that lead to it, or to an offsets file of it: they'd lead nowhere."""
        paths = (self.path, *(pickle.path for pickle in self.tables))
        return [link for path in paths for link in known.survey.links_to(path)]


def rights(there: os.stat_result) -> tuple[int, int, int]:
    """Mode, user and group of a file."""
    return stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid


class Holding:
    """Scans blobs of a project under change, and holds them against what is said of them.

    Parameters
    ----------
    writer : ProjectWriter
    folders : iterable of Folder
        Those in which backups are looked for.
    unreferenced : bool
        Hidden files and files of images go if no offsets name them, and no backup matters.
    """

    def __init__(self, writer: ProjectWriter, folders: Iterable[Folder], *, unreferenced: bool = False) -> None:
        self._writer = writer
        self._unreferenced = unreferenced
        self._folders = folders

    def scan(self, path: str) -> TarTable:
        """The members of a tar; PackError where it has what they don't say."""
        try:
            members = scan_tar(os.path.join(self._writer.root, path))
        except (BlobdirError, OSError) as error:
            raise PackError(f"{path}: isn't a sound tar: {error}; nothing was changed") from error
        lost = in_words(member for member in members.left_out if member.kind.has_data)
        if members.next_archive >= 0:
            lost += members.doubts
        if lost:
            raise PackError(f"{path}: has what a new tar wouldn't have: {'; '.join(lost)}; nothing was changed")
        return members

    def hold(self, path: str, stem: str, tables: dict[Pickle, OffsetsTable], members: TarTable) -> Held:
        """Have entries fit a blob, and say what becomes of its members.

        Raises
        ------
        PackError
            Something doesn't fit, or it isn't known whether what no entry names was removed.
        """
        there = os.lstat(os.path.join(self._writer.root, path))
        named = names_of((entry for table in tables.values() for entry in table.entries()), members)
        for pickle, table in tables.items():
            self._writer.known.check_fit(pickle, table)
        _check_members(path, members, named)
        released = self._writer.released.get(path)
        removed = released.ranges if released else ()
        is_of_images = path == f"{layout.BLOB_DIR}/{path.rpartition('/')[2]}"
        judged = judge(named, members, unnamed_stay=not self._unreferenced, labels=not is_of_images, removed=removed)
        self._check_backups(path, members, judged, removed)
        return Held(path, stem, tables, members, judged, there, sum(map(len, named.values())))

    def table(self, pickle: Pickle) -> OffsetsTable:
        """All entries of an offsets file, each once."""
        return concatenate([table for _, table in self._writer.known.tables(pickle, attributes=True)]).unique()

    def _check_backups(
        self, path: str, members: TarTable, judged: Members, removed: Collection[tuple[int, int]]
    ) -> None:
        """Refuse to take for removed what a pickle may have named that `verify --repair` couldn't read."""
        spans = spans_of(members)
        rows = [row for row in judged.gone if spans[row] not in removed]
        if self._unreferenced or not rows:
            return
        if backup := unreadable_backup(self._writer.known.storage, self._backups, path):
            names = ", ".join(shown(members.name(row)) for row in rows[:NAMED_IN_WARNING])
            more = ", …" if len(rows) > NAMED_IN_WARNING else ""
            raise PackError(
                f"{path}: no offsets name {counted(len(rows), 'member')} of it ({names}{more}). {backup} may "
                "have done so, but it can't be read, so nobody knows whether they were removed. `blobdir offsets` "
                "writes entries for all members; if they may go, delete that file, or use --unreferenced. "
                "Nothing was changed"
            )

    @cached_property
    def _backups(self) -> list[str]:
        return backups_in(self._folders)

    @cached_property
    def _sums(self) -> dict[str, str]:
        return read_sums(os.path.join(self._writer.root, layout.BLOB_DIR, SUMS))

    def check_sums(self) -> None:
        """Refuse a list of checksums that can't be read, whether a blob is to be written anew or not."""
        _ = self._sums

    def check_sum(self, path: str) -> None:
        """Refuse a blob that isn't the one that has its checksum: a new one would make the damage official."""
        name = path.rpartition("/")[2]
        known = self._sums.get(name) if path == f"{layout.BLOB_DIR}/{name}" else None
        if known is None:
            return
        with open_regular(os.path.join(self._writer.root, path)) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != known:
            raise PackError(
                f"{path}: doesn't have the checksum that {layout.BLOB_DIR}/{SUMS} says, so it is damaged, or another "
                "one than it was; see `blobdir verify`; nothing was changed"
            )


def _check_members(path: str, members: TarTable, named: Named) -> None:
    """Refuse entries for what isn't a member, though it looks like one: behind the end of the archive, say."""
    for start, end in named.keys() - set(spans_of(members)):
        raise PackError(
            f"{path}: {os.fsdecode(min(named[start, end]))} should be bytes {start} to {end}, where the archive "
            "has no member; see `blobdir verify`; nothing was changed"
        )
