"""A project under change: what all commands that change one share."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.discovery import layout
from blobdir.discovery.pairing import Members
from blobdir.discovery.released import RELEASED, WHAT_TO_DO, Released, format_released, identity, read_released
from blobdir.durable import open_regular
from blobdir.errors import AnnotationError, BlobdirError, PackError
from blobdir.inside import NO_FILE
from blobdir.offsets.choosing import is_certain, is_hidden
from blobdir.offsets.table import OffsetsTable
from blobdir.offsets.writer import encode_offsets
from blobdir.packing.linked import check_changed
from blobdir.packing.loose import why_unread
from blobdir.packing.metadata import check_meta
from blobdir.packing.names import free_stem, renewed_stem, slug_of, taken_stems
from blobdir.packing.provenance import Provenance
from blobdir.packing.report import Problem
from blobdir.packing.shardindexes import KEPT, after, is_index, shard_of, whole
from blobdir.packing.sums import SUMS, updated_sums
from blobdir.tarscan import scan_tar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from blobdir.discovery.parts import Pickle
    from blobdir.offsets.attributes import State
    from blobdir.packing.belongings import Belongings
    from blobdir.packing.provenance import Origin
    from blobdir.packing.publishing import Change
    from blobdir.packing.shardindexes import Shard

Span = tuple[int, int]
"""First byte, and the byte after the last."""
NEW_BLOB: Final = f"{layout.BLOB_DIR}/new.tar"
"""Stands for a blob that is being written: its name follows from its bytes."""


class _PickleEdit:
    """What becomes of one offsets file."""

    def __init__(self) -> None:
        self.removed: set[bytes] = set()
        self.added: dict[str, tuple[int, int, State]] = {}


class ProjectWriter:
    """A project under change: what is staged in `change`, and offsets files that are written when all is known.

    Attributes
    ----------
    change : Change
    known : Provenance
    root : str
    released : dict
        See `blobdir.discovery.released`.

    Raises
    ------
    PackError
        Something of the format is a symbolic link: see `blobdir.packing.linked`.
    """

    def __init__(self, change: Change, root: str) -> None:
        self.change = change
        self.known = Provenance(root)
        check_changed(self.known)
        if not change.dry_run:
            self.known.clean()
            for path in self.known.datasets.values():
                if (folder := self.known.folder(path)) is not None:
                    change.know(path, folder.stat.inode)
        self.root = self.known.root
        self._edits: dict[str, _PickleEdit] = {}
        self._looked_at: tuple[str, Members] | None = None
        self._taken: set[str] | None = None
        self._sums: dict[str, str] = {}
        self._without_sum: set[str] = set()
        self._was_released, self._why_unknown = read_released(self.root)
        used = (
            {self.known.blobs(p.blobs)[0].get(p.stem) for p in self.known.all_pickles()} if self._was_released else ()
        )
        self.released = {
            path: Released(one.was, one.whole and path not in used, set(one.ranges), set(one.moved))
            for path, one in self._was_released.items()
        }

    # -- what goes -------------------------------------------------------------------------------------------

    def drop(self, origin: Origin, *, moved: bool = False) -> None:
        """Have everything that makes a name be gone; `moved` if its bytes are in another blob."""
        for entry in origin.entries:
            name = _encode(entry.name)
            self._edit(entry.pickle.path).removed.add(name)
            blob = self._blob_of(entry.pickle.path)
            if blob and moved:
                self._released(blob).moved.add((entry.start, entry.end))
            elif blob in self.released:
                self.released[blob].moved.discard((entry.start, entry.end))
            if blob and not self._goes_unnamed(blob, entry.start):
                self._released(blob).ranges.add((entry.start, entry.end))
        if origin.file:
            self._remove_file(origin.file)

    def _goes_unnamed(self, blob: str, start: int) -> bool:
        """Whether `compact` leaves out a member as soon as no offsets name it: its name says so, not its entry's."""
        try:
            if self._looked_at is None or self._looked_at[0] != blob:
                self._looked_at = blob, Members(self.known.storage.open(blob))
            name = self._looked_at[1].name_before(start)
        except (OSError, BlobdirError):
            return False
        if name is None:
            return False
        return is_certain(name) if _is_of_images(blob) else not is_hidden(name)

    def _remove_file(self, path: str) -> None:
        """Have a plain file be gone; and a folder below an item folder, ``img/sub``, if nothing is left in it."""
        self.change.remove(path)
        dataset = self.known.enclosing(path)
        parts = path[len(dataset) + 1 :].split("/")
        if dataset and len(parts) > 2:
            self.change.remove_folder(f"{dataset}/{parts[0]}/{parts[1]}")

    def drop_belongings(self, dataset: str, belongings: Belongings) -> list[str]:
        """Have the files that belong to an image be gone, but for those that others need too; gives their paths."""
        gone = []
        for path, shared in belongings.files.items():
            if not shared:
                self._remove_file(f"{dataset}/{path}")
                gone.append(f"{dataset}/{path}")
        for path, origin, shared in belongings.packed:
            if not shared:
                self.drop(origin)
                gone.append(f"{dataset}/{path}")
        return list(dict.fromkeys(gone))

    def check_one_label(self, dataset: str, belongings: Belongings) -> None:
        """Refuse to take along a label that is two: a file and a packed one, or two packed ones, with other bytes.

        Raises
        ------
        PackError
        """
        for path, origin, _ in belongings.packed:
            full, has_file = f"{dataset}/{path}", path in belongings.files
            entries = list(dict.fromkeys((e.pickle, e.start, e.end) for e in origin.entries))
            if has_file + len(entries) < 2:
                continue
            places = {f"the file {full}": self.read(full)} if has_file else {}
            for pickle, start, end in entries:
                where = f"{self.known.blob_of(pickle)} (bytes {start} to {end})"
                places[where] = self.read_entry(pickle, start, end)
            first, *others = places
            if other := next((one for one in others if places[one] != places[first]), None):
                raise PackError(
                    f"{full}: is in {first} and, with other bytes, in {other}; remove one of the two first; nothing "
                    "was changed"
                )

    # -- offsets ---------------------------------------------------------------------------------------------

    def _edit(self, pickle: str) -> _PickleEdit:
        self.change.expect(pickle)
        if blob := self._blob_of(pickle):
            self.change.need(blob)
        return self._edits.setdefault(pickle, _PickleEdit())

    def add_entries(self, pickle: str, entries: Iterable[tuple[str, int, int]]) -> None:
        """Have entries be in an offsets file, which may be a new one."""
        self._edit(pickle).added.update({name: (start, end, b"") for name, start, end in entries})

    def copy_entries(self, pickle: str, entries: Iterable[tuple[str, int, int, State]]) -> None:
        """Have entries of another offsets file be in one, with all that they have there."""
        added = self._edit(pickle).added
        for name, start, end, state in entries:
            if state != b"" or name not in added:  # of one that was there twice, that with attributes
                added[name] = start, end, state

    def drop_blob(self, blob: str, pickle: str) -> None:
        """Have a blob be gone with the only offsets file that names it: what they have is in another one."""
        self._edits.pop(pickle, None)
        self.change.forget(pickle)
        self.change.remove(pickle)
        self.change.remove(blob)
        self.write_sums({}, [blob.rpartition("/")[2]])
        self.released.pop(blob, None)

    def new_pickle(self, pickle: str, table: OffsetsTable) -> None:
        """Have a new offsets file hold these entries."""
        self.change.stage(pickle).write_bytes(encoded(table, pickle))

    def replace_pickle(self, pickle: str, path: str, table: OffsetsTable) -> None:
        """Have the entries of one offsets file be in another one, at other places."""
        self._edits.pop(pickle, None)
        self.change.remove(pickle)
        self.change.give_as(path, os.lstat(os.path.join(self.root, pickle)))
        self.new_pickle(path, table)

    def write_pickles(self) -> list[Problem]:
        """Stage what has changed; an offsets file without entries goes. A dry run only finds out which these are.

        Gives what is to be said of indexes of shards, see `write_shard_indexes`.
        """
        for pickle, edit in self._edits.items():
            left = 0
            with open(os.devnull if self.change.dry_run else self.change.stage(pickle), "wb") as out:
                for piece, count in self._pieces(pickle, edit):
                    out.write(piece)
                    left += count
            if not left:
                self.change.forget(pickle)
                self.change.remove(pickle)
        self._release_blobs()
        return self.write_shard_indexes()

    def _release_blobs(self) -> None:
        """Note the blobs whose last offsets file goes. They lose their checksums: copies are made without them."""
        going = {path for path in self.change.removed if layout.is_offsets(path)}
        if not going:
            self.write_released()
            return
        pickles = self.known.all_pickles()
        used = {(p.blobs, p.stem) for p in pickles if p.path not in going}
        used |= {_blob_key(path) for path in self.change.staged if layout.is_offsets(path)}
        for pickle in pickles:
            blob = self.known.blobs(pickle.blobs)[0].get(pickle.stem)
            if (
                pickle.path in going
                and (pickle.blobs, pickle.stem) not in used
                and blob not in (None, *self.change.removed)
            ):
                self._released(str(blob)).whole = True
        before = {path for path, one in self._was_released.items() if one.whole}
        emptied = {path for path, one in self.released.items() if one.whole} - before
        self.write_sums({}, [path.rpartition("/")[2] for path in emptied if _is_of_images(path)])
        self.write_released()

    def release(self, blob: str, moved: Iterable[tuple[int, int]]) -> None:
        """Note that a blob is in no use any more, and which byte ranges of it are in another one."""
        one = self._released(blob)
        one.whole = True
        one.moved.update(moved)

    def _released(self, blob: str) -> Released:
        return self.released.setdefault(blob, Released(identity(os.path.join(self.root, blob))))

    def _blob_of(self, pickle: str) -> str:
        """The blob that an offsets file is of; empty where there is none."""
        folder, stem = _blob_key(pickle)
        return self.known.blobs(folder)[0].get(stem, "")

    def check_released(self) -> None:
        """Refuse where it isn't known what was removed before: that would be written anew without it.

        Raises
        ------
        PackError
        """
        if self._why_unknown:
            raise PackError(f"{self._why_unknown}; {WHAT_TO_DO}; nothing was changed")

    def write_released(self) -> None:
        """Stage the list of what was released, if it has changed."""
        for pickle, edit in self._edits.items():
            if edit.added and (one := self.released.get(self._blob_of(pickle))):
                one.ranges -= {(start, end) for start, end, _ in edit.added.values()}
        released = {path: one for path, one in self.released.items() if one.whole or one.ranges or one.moved}
        if released == self._was_released:
            return
        self.check_released()
        if released and self.change.dry_run:
            self.change.expect(RELEASED)
        elif released:
            self.change.stage(RELEASED).write_bytes(format_released(released))
        else:
            self.change.remove(RELEASED)

    def _pieces(self, pickle: str, edit: _PickleEdit) -> Iterable[tuple[bytes, int]]:
        """Pickles of a file as it will be, and how many entries they hold. What doesn't change is copied as it is."""
        added = dict(edit.added)
        full = os.path.join(self.root, pickle)
        if os.path.lexists(full):
            for raw, table in self.known.tables_of(pickle, attributes=True):
                names = table.names()
                kept = [row for row, name in enumerate(names) if name not in edit.removed]
                for row in kept if added else ():
                    name = names[row].decode("utf-8", "surrogateescape")
                    if name in added and added.pop(name)[:2] != (int(table.start[row]), int(table.end[row])):
                        raise PackError(f"{pickle}: has another {name} already; nothing was changed")
                if len(kept) == len(names):
                    yield raw, len(names)
                elif kept:
                    yield encoded(table.take(np.array(kept, np.intp)), pickle), len(kept)
        if added:
            entries = ((name, start, end) for name, (start, end, _) in added.items())
            table = OffsetsTable.from_entries(entries, states=(state for *_, state in added.values()))
            yield encoded(table, pickle), len(added)

    # -- blobs -----------------------------------------------------------------------------------------------

    @property
    def taken(self) -> set[str]:
        """Stems that can't be given to a new blob."""
        if self._taken is None:
            self._taken = taken_stems(self.root, self.known.survey.stems)
        return self._taken

    def name_blob(self, slug: str, digest: str, staged: str = NEW_BLOB) -> str:
        """Give the blob that is staged as `staged` its name; gives the stem."""
        stem = free_stem(slug, digest, self.taken)
        self.taken.add(stem.casefold())
        self.change.rename_staged(staged, f"{layout.BLOB_DIR}/{stem}.tar")
        return stem

    def rename_blob(self, old: str, digest: str, staged: str, folder: str) -> str:
        """Give a blob that takes the place of `old` its name; gives the stem."""
        stem = renewed_stem(old, digest, self.taken)
        self.taken.add(stem.casefold())
        self.change.rename_staged(staged, f"{folder}/{stem}.tar")
        return stem

    def write_sums(self, added: dict[str, str], removed: Collection[str] = ()) -> None:
        """Stage SHA256SUMS, if the project has it, with these changes and those of earlier calls."""
        self._sums |= added
        self._without_sum.update(removed)
        path = f"{layout.BLOB_DIR}/{SUMS}"
        if not (added or removed) or not self.known.is_file(path):
            return
        content = self.read(path)  # which a dry run is refused for, too
        if self.change.dry_run:
            self.change.expect(path)
        else:
            self.change.stage(path).write_bytes(updated_sums(content, self._sums, self._without_sum))

    def write_shard_indexes(self) -> list[Problem]:
        """Stage the indexes of shards that this change makes untrue, see `shardindexes`: once all blobs are staged.

        Gives those that stay as they are, though they aren't true any more; of a dry run, none.
        """
        folder = self.known.folder(layout.BLOB_DIR)
        there = {entry.name: entry.kind for entry in folder.entries} if folder is not None else {}
        added, removed = (
            {path.rpartition("/")[2] for path in paths if _is_of_images(path) and layout.blob_stem(path) is not None}
            for paths in (self.change.staged, self.change.removed)
        )
        if not any(map(is_index, there)) or not (added or removed):
            return []
        if self.change.dry_run:
            for name in filter(is_index, there):
                self.change.expect(f"{layout.BLOB_DIR}/{name}")
            return []

        def read(name: str) -> bytes:
            return whole(name, self.read(f"{layout.BLOB_DIR}/{name}"), there, removed, stays)

        def stays(name: str) -> Shard:
            try:
                return shard_of(scan_tar(os.path.join(self.root, layout.BLOB_DIR, name)))
            except (OSError, BlobdirError) as error:
                raise PackError(f"{layout.BLOB_DIR}/{name}: isn't a sound tar: {error}; nothing was changed") from error

        def shard(name: str) -> Shard:
            return shard_of(scan_tar(self.change.stage(f"{layout.BLOB_DIR}/{name}")))

        pickles = [path for path in self.change.staged if layout.is_offsets(path)]
        slugs = {slug_of(path.rpartition("/")[0]) for path in pickles}
        renewed = after(there, read, shard, added, removed, slugs)
        for name, content in renewed.contents.items():
            if content is None:
                self.change.remove(f"{layout.BLOB_DIR}/{name}")
            else:
                self.change.stage(f"{layout.BLOB_DIR}/{name}").write_bytes(content)
        return [
            Problem("shard-index-stale", f"{layout.BLOB_DIR}/{name}", f"{fault}; {KEPT}")
            for name, fault in renewed.stale.items()
        ]

    def labels(self) -> tuple[set[str], set[str]]:
        """Classes and tags of ``meta.json``; none where there is none, or it isn't one."""
        if not self.known.is_file(layout.META):
            return set(), set()
        try:
            meta = check_meta(self.read(layout.META))
        except AnnotationError:
            return set(), set()
        return {str(c.get("title")) for c in meta.get("classes", [])}, {
            str(t.get("name")) for t in meta.get("tags", [])
        }

    # -- bytes -----------------------------------------------------------------------------------------------

    def read(self, path: str) -> bytes:
        """Content of a plain file of the project; PackError where it can't be had, or lies outside."""
        try:
            return self.known.storage.read(path)
        except (OSError, BlobdirError) as error:
            raise PackError(
                f"{path}: can't be read: {why_unread(self.root, path, error)}; nothing was changed"
            ) from error

    def read_entry(self, pickle: Pickle, start: int, end: int) -> bytes:
        """Bytes of a member."""
        blob = self.known.blob_of(pickle)
        try:
            data = self.known.storage.read_range(blob, start, end)
        except (OSError, BlobdirError) as error:
            raise PackError(f"{blob}: can't be read: {error}; nothing was changed") from error
        if len(data) != end - start:
            raise PackError(f"{blob}: bytes {start} to {end} can't be read; nothing was changed")
        return data

    def carry(self, path: str, target: str) -> None:
        """Have a plain file of the project be at another place as well; a second link, where there can be one."""
        self.known.is_file(path)  # or it's an error
        if self.change.dry_run:
            self.change.expect(target)
            self._check_carried(path)
            return
        full, staged = os.path.join(self.root, path), self.change.stage(target)
        if not os.path.islink(full):
            try:
                os.link(full, staged, follow_symlinks=False)
            except OSError:
                staged.write_bytes(self.read(path))
            return
        staged.write_bytes(self.read(path))  # a link that lies elsewhere leads elsewhere

    def _check_carried(self, path: str) -> None:
        """Raise where a file can't be read that would have to be: only its owner's may be linked in any case."""
        full = os.path.join(self.root, path)
        if os.path.islink(full):
            self.read(path)  # which says where it leads, if that's to no file, or out
            return
        if not stat.S_ISREG(os.stat(full).st_mode):
            raise PackError(f"{path}: {NO_FILE}; nothing was changed")
        if not os.access(full, os.R_OK) and os.stat(full).st_uid != os.geteuid():
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), full)


def encoded(table: OffsetsTable, pickle: str) -> bytes:
    """The bytes of an offsets file; PackError where an entry has something that can't be written again."""
    if fault := table.unwritable():
        raise PackError(
            f"{pickle}: {fault[1]}, so it can't stay as it is; write the file anew from its blob with `blobdir "
            "offsets`, or remove that image as well; nothing was changed"
        )
    return encode_offsets(table)


def digest_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _blob_key(pickle: str) -> tuple[str, str]:
    """Folder and stem of the blob of an offsets file."""
    return layout.blobs_of(pickle), pickle.rpartition("/")[2].removesuffix(layout.OFFSETS_SUFFIX)


def _is_of_images(blob: str) -> bool:
    return blob.rpartition("/")[0] == layout.BLOB_DIR


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
