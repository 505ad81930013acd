"""What a transaction of a store has written so far, and how it's committed: one new blob, and what goes.

It's a `blobdir.packing.publishing.Change` like any other: what it leaves on the disk is what decision 10 says.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections import ChainMap, Counter
from contextlib import contextmanager
from functools import lru_cache
from itertools import islice
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from blobdir.discovery import layout
from blobdir.errors import BlobdirWarning, UsageError
from blobdir.imagestore.counts import Put
from blobdir.imagestore.names import as_bytes, new_names, packed_names
from blobdir.imagestore.view import FOLDER, META, NONE, OTHER, meta_path
from blobdir.interrupts import note
from blobdir.offsets.table import OffsetsTable, concatenate
from blobdir.packing.arriving import watch_coming
from blobdir.packing.belongings import belongings, check_nothing_of_others, watch
from blobdir.packing.folding import FOLD_BYTES, SLUG, Folding, copy_members, ripe, small_blobs
from blobdir.packing.names import DIGEST_DIGITS
from blobdir.packing.publishing import Change
from blobdir.packing.shards import TarOutput
from blobdir.packing.sums import SUMS
from blobdir.packing.writer import NEW_BLOB, ProjectWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from blobdir.imagestore.view import View
    from blobdir.packing.folding import Small
    from blobdir.packing.provenance import Origin
    from blobdir.packing.writer import Span

BATCH: Final = 4096
"""Images that are checked together."""
NO_METADATA: Final = b"{}"
_MISSING: Final = object()


class Pending:
    """Images put and removed, which become one commit or nothing. It holds the project's lock.

    Parameters
    ----------
    root : str
    dataset : str
        By name; a new one is made.

    Attributes
    ----------
    since : dict
        Names -> whether there is such an image, where commits after the view that one goes by have changed that.

    Raises
    ------
    BusyError
    """

    def __init__(self, root: str, dataset: str) -> None:
        self.since: dict[str, bool] = {}
        self._change = Change(root)
        self._change.__enter__()
        self._process = os.getpid()
        self._tar: TarOutput | None = None
        try:
            self._writer = ProjectWriter(self._change, root)
            self.path = self._writer.known.new_dataset(dataset)
            self._writer.known.refuse_links(self.path)
            self._has_sums = self._writer.known.is_file(f"{layout.BLOB_DIR}/{SUMS}")
        except BaseException as error:
            self._change.__exit__(type(error), error, None)
            raise
        self._images: dict[str, Span | None] = {}  # None: it goes
        self._folding = Folding(self._writer, self._images.keys())
        self._old: set[str] = set()  # of those, the ones that are there
        self._removed: set[str] = set()  # those that were removed, and may have come again
        self._meta: dict[str, bytes] = {}
        self._meta_folders: set[str] = set()  # that images with metadata are or were in, called like one's metadata
        self._folders: Counter[str] = Counter()  # folders of all names that have a place in the tar
        self._members = 0
        self._origins: dict[str, Origin] = {}
        self._emptied: set[str] = set()
        self._broken = ""

    # -- what would be there -----------------------------------------------------------------------------------------

    @property
    def is_mine(self) -> bool:
        """Whether this process has begun it, and not one that it was forked from."""
        return os.getpid() == self._process

    def check(self) -> None:
        """Refuse a process that was forked meanwhile: it would write to the same files."""
        if not self.is_mine:
            raise UsageError("a transaction belongs to the process that began it, and this is a child of that")

    def has(self, name: str, view: View) -> bool:
        """Whether there would be such an image."""
        span = self._images.get(name, _MISSING)
        return self._was(name, view) if span is _MISSING else span is not None

    def _was(self, name: str, view: View) -> bool:
        """Whether the last commit has such an image."""
        known = self.since.get(name)
        return view.row(name) >= 0 if known is None else known

    def is_touched(self, name: str) -> bool:
        """Whether an image was written or removed."""
        return name in self._images

    def is_new(self, name: str) -> bool:
        """Whether an image takes nothing of what its name has in the last commit: it wasn't there, or was removed."""
        return name in self._images and (name not in self._old or name in self._removed)

    def names(self, view: View) -> list[str]:
        """Names of all images that there would be."""
        if not self._images:
            return view.names
        kept = (name for name in view.names if name not in self._images)
        return sorted([*kept, *(name for name, span in self._images.items() if span)], key=os.fsencode)

    def count(self, view: View) -> int:
        """How many there would be."""
        coming = sum(span is not None for span in self._images.values())
        return len(view.names) + coming - len(self._old)

    def read(self, name: str) -> bytes:
        """Bytes of an image that was written; KeyError where it was removed."""
        self.check()
        span = self._images[name]
        if span is None:
            raise KeyError(name)
        with self._change.in_words(), self._whole():
            return self._output().read(*span)

    def metadata(self, name: str) -> bytes | None:
        """What was written of an image; None where nothing was."""
        return self._meta.get(name)

    # -- writing -----------------------------------------------------------------------------------------------------

    def _output(self) -> TarOutput:
        if self._tar is None:
            self._tar = TarOutput(str(self._change.stage(NEW_BLOB)), digest=self._has_sums)
        return self._tar

    def put(self, pairs: Iterable[tuple[Any, Any]], view: View, *, overwrite: bool, metadata: dict[str, bytes]) -> Put:
        """Write images, and metadata of any that would be there; all, or nothing.

        Raises
        ------
        UsageError
            A name or a value can't be.
        KeyError
            Metadata are of an image that wouldn't be there.
        """
        self.check()
        undo: dict[str, Any] = {}
        new = replaced = kept = 0
        try:
            for batch in _batches(pairs):
                with self._change.in_words():
                    more = self._put_batch(batch, view, undo, overwrite=overwrite)
                new, replaced, kept = new + more[0], replaced + more[1], kept + more[2]
            for name in metadata:
                if not self.has(name, view):
                    raise KeyError(name)
            self._check_metadata(metadata, view)
        except BaseException:
            for name, span in undo.items():
                self._restore(name, span)
            raise
        self._meta |= metadata
        self._meta_folders.update(folder for name in metadata for folder in _like_metadata(name))
        return Put(new, replaced, kept)

    def _put_batch(self, batch: list[tuple[Any, Any]], view: View, undo: dict[str, Any], *, overwrite: bool) -> Put:
        try:
            names = [name for name, _ in batch]
        except (TypeError, ValueError):
            raise UsageError("images are given as pairs of a name and bytes; nothing was written") from None
        table = new_names(names)
        values = [value if type(value) is bytes else as_bytes(name, value) for name, value in batch]
        rows = view.packed_rows(names, *table)
        for i, name in enumerate(names) if self.since else ():
            if (known := self.since.get(name)) is not None:
                rows[i] = 0 if known else NONE
        in_folders = bool(self._folders) or bool((table[0] == ord("/")).any())
        coming = dict(zip(names, values, strict=True))
        are_new = len(coming) == len(names) and (rows == -1).all() and self._images.keys().isdisjoint(names)
        if are_new and not in_folders:
            return self._put_new(coming, table[0].tobytes().split(b"\0"), undo)
        return self._put_each(names, values, rows.tolist(), view, undo, in_folders=in_folders, overwrite=overwrite)

    def _put_new(self, coming: dict[str, bytes], spelled: list[bytes], undo: dict[str, Any]) -> Put:
        """Write images of which none was there, in no folder."""
        with self._whole():
            starts, ends = self._output().members(spelled[:-1], coming.values())
        undo |= dict.fromkeys(coming, _MISSING)
        self._images.update(zip(coming, zip(starts, ends, strict=True), strict=True))
        self._members += len(coming)
        return Put(len(coming), 0, 0)

    def _put_each(
        self,
        names: list[str],
        values: list[bytes],
        rows: list[int],
        view: View,
        undo: dict[str, Any],
        *,
        in_folders: bool,
        overwrite: bool,
    ) -> Put:
        member = self._output().member
        new = replaced = kept = 0
        for name, value, row in zip(names, values, rows, strict=True):
            if row < -1:
                self._check_other(name, row, view)
            span = self._images.get(name, _MISSING)
            is_there = row >= 0 if span is _MISSING else span is not None
            if is_there:
                if not overwrite:
                    kept += 1
                    continue
                replaced += 1
            else:
                new += 1
                if in_folders:
                    self._check_folders(name, view)
            undo.setdefault(name, span)
            with self._whole():
                place = member(name, value)
            self._set(name, place)
            self._members += 1
            if row >= 0:
                self._old.add(name)
        return Put(new, replaced, kept)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """What writes to the tar: if it fails half way, there is a hole in it, and nothing can be committed."""
        try:
            yield
        except BaseException as error:
            self._broken = self._broken or str(error) or type(error).__name__
            raise

    def _restore(self, name: str, span: Any) -> None:
        """Have an image be what it was before a call that failed."""
        self._set(name, span)
        if span is _MISSING:
            self._old.discard(name)

    def _set(self, name: str, span: Any) -> None:
        """Have an image be at a place of the tar; None: it goes; `_MISSING`: it stays. Folders are counted with it."""
        before = self._images.get(name)
        if span is _MISSING:
            self._images.pop(name, None)
            span = None
        else:
            self._images[name] = span
        if (before is None) != (span is None):
            for folder in _above(name):
                self._folders[folder] += 1 if before is None else -1

    def _check_other(self, name: str, row: int, view: View) -> None:
        if row == OTHER:
            raise UsageError(f"{name}: is a file beside the images, and no image; nothing was written")
        if row == FOLDER and any(self.has(one, view) for one in view.below(name)):
            raise UsageError(f"{name}: is a folder with images in it already; nothing was written")

    def _check_folders(self, name: str, view: View) -> None:
        if self._folders[name] > 0:
            raise UsageError(f"{name}: is a folder with images in it already; nothing was written")
        for folder in _above(name):
            if self._folders.get(folder, 0) <= 0 and (self.has(folder, view) or view.row(folder) == OTHER):
                raise UsageError(f"{name}: {folder} is an image, so nothing can be in it; nothing was written")

    def _check_metadata(self, metadata: dict[str, bytes], view: View) -> None:
        """Refuse files of metadata that would lie in one another: of ``a`` and of ``a.json/b``, say."""
        known = ChainMap(metadata, self._meta)
        folders = self._meta_folders.union(folder for name in metadata for folder in _like_metadata(name))
        for name in (name for name, data in metadata.items() if data != NO_METADATA):
            file = f"{name}.json"
            if view.has_folder(META, file) or (
                file in folders and any(o.startswith(f"{file}/") for o, data in known.items() if data != NO_METADATA)
            ):
                raise UsageError(
                    f"{name}: can't have metadata while images in {file} have some, or had in the last commit; "
                    "nothing was written"
                )
            for folder in _like_metadata(name):
                other = folder.removesuffix(".json")
                if known.get(other, NO_METADATA) != NO_METADATA or view.has_metadata(other):
                    raise UsageError(
                        f"{name}: can't have metadata while {other} has some, or had in the last commit; "
                        "nothing was written"
                    )

    def delete(self, names: list[Any], view: View) -> None:
        """Remove images, with what belongs to them; all, or none.

        Raises
        ------
        KeyError
            One isn't there; it's named.
        """
        self.check()
        for name in names:
            if not isinstance(name, str) or not self.has(name, view):
                raise KeyError(name)
        for name in dict.fromkeys(names):
            self._meta.pop(name, None)
            is_old = name in self._old or self._was(name, view)
            self._set(name, None if is_old else _MISSING)
            if is_old:
                self._old.add(name)
                self._removed.add(name)

    # -- the end -----------------------------------------------------------------------------------------------------

    def commit(self, view: View) -> bool:
        """Have all of it happen; whether there was anything."""
        self.check()
        if self._broken:
            raise UsageError(f"a step of the transaction failed half way ({self._broken}); nothing was changed")
        if not self._images and not self._meta:
            return False
        with self._change.in_words():
            coming = {name: span for name, span in self._images.items() if span is not None}
            gone = [name for name, span in self._images.items() if span is None or name in self._removed]
            self._take_away(gone)
            self._check_coming(coming)
            self._write_metadata(coming, view)
            if coming:
                self._write_blob(coming)
            else:  # what was written was removed again
                self._change.forget(NEW_BLOB)
            for folder in (layout.ITEMS, layout.ANNOTATIONS):  # by them, one without images stays a dataset
                self._change.make_folder(f"{self.path}/{folder}")
            stale = self._writer.write_pickles()
            self._writer.known.check_not_linked(self._change.removed, anew=False)
            self._change.commit()
        for one in stale:
            warnings.warn(f"{one.path}: {one.message}", BlobdirWarning, stacklevel=4)
        return True

    def _take_away(self, gone: list[str]) -> None:
        """Have what made names that go, or get other bytes, be gone; of those that go with what belongs to them."""
        known = self._writer.known
        if self._old:
            self._origins = known.origins(self.path, self._old)
        known.check_origins(self._origins.values())
        for origin in self._origins.values():
            self._writer.drop(origin)
        self._drop_emptied()
        if gone:
            found = belongings(known, self.path, gone)
            watch(self._change, known, self.path, {name: mine.paths for name, mine in found.items()})
            for mine in found.values():
                self._writer.drop_belongings(self.path, mine)

    def _drop_emptied(self) -> None:
        """Have blobs of stores go in which no image would be left."""
        left: dict[str, set[str]] = {}
        for name, origin in self._origins.items():
            for entry in origin.entries:
                left.setdefault(entry.pickle.path, set()).add(name)
        for one in small_blobs(self._writer, sys.maxsize) if left else ():
            gone = left.get(one.pickle.path, ())
            if gone and sum(len(table) for _, table in self._writer.known.tables(one.pickle)) <= len(gone):
                self._folding.drop(one)
                self._emptied.add(one.path)

    def _check_coming(self, coming: dict[str, Span]) -> None:
        known = self._writer.known
        watch_coming(self._change, known, self.path, coming, {n: o for n, o in self._origins.items() if n in coming})
        others = (side for side in known.side_folders(self.path) if side != META)
        if any(next(known.files_below(f"{self.path}/{side}"), None) for side in others) or any(
            pickle.shown.endswith(f"/{layout.ANNOTATIONS}") for pickle in known.pickles(self.path)
        ):
            new = coming.keys() - self._old
            check_nothing_of_others(known, self.path, new, [f"{META}/{name}.json" for name in new])

    def _write_metadata(self, coming: dict[str, Span], view: View) -> None:
        """Stage metadata. An image that would get another one's by its stem gets none of its own."""
        if not self._meta and not view.any_metadata:
            return
        blank = dict.fromkeys(name for name in coming if name not in self._meta and self._would_take(name, view))
        for name in self._meta:
            for other in (*view.called(name), *(one for one in coming if os.path.splitext(one)[0] == name)):
                if other != name and self.has(other, view):
                    blank[other] = None
        for name in blank:
            if view.has_folder(META, f"{name}.json") or f"{name}.json" in self._meta_folders:
                continue  # metadata lie there, so it can have none of its own
            if name not in self._meta and (name in self._removed or not view.has_metadata(name)):
                self._meta[name] = NO_METADATA
        for name, data in self._meta.items():
            if data != NO_METADATA or name in blank or view.has_metadata(name):
                self._change.stage(meta_path(self.path, name)).write_bytes(data)

    def _would_take(self, name: str, view: View) -> bool:
        stem = os.path.splitext(name)[0]
        return stem != name and (stem in self._meta or view.has_metadata(stem))

    def _write_blob(self, coming: dict[str, Span]) -> None:
        if self._members > len(coming):
            coming = self._without_gaps(coming)
        writer = self._writer
        out = self._output()
        folding = self._folding
        if small := [one for one in small_blobs(writer, FOLD_BYTES) if self._can_be_folded(one)]:
            folding.be_like(str(self._change.stage(NEW_BLOB)))
            ripe(small, out.position, folding.takes)
        folded = folding.fold(out)
        digest = out.finish()
        stem = writer.name_blob(SLUG, digest or token_hex(DIGEST_DIGITS))  # as unique, and there for nothing else
        if digest:
            writer.write_sums({f"{stem}.tar": digest})
        pickle = f"{self.path}/{stem}{layout.OFFSETS_SUFFIX}"
        places = np.array(list(coming.values()), np.int64).reshape(len(coming), 2)
        table = OffsetsTable(*packed_names(list(coming)), places[:, 0].copy(), places[:, 1].copy())
        if folded:
            table = concatenate([table, *folded])
        writer.new_pickle(pickle, table)

    def _can_be_folded(self, small: Small) -> bool:
        return os.path.dirname(small.pickle.path) == self.path and small.path not in self._emptied

    def _without_gaps(self, coming: dict[str, Span]) -> dict[str, Span]:
        """Write the blob anew, without what was replaced or removed again."""
        self._output().flush()
        self._output().close()
        staged = self._change.stage(NEW_BLOB)
        spool = staged.with_name("spool")
        os.rename(staged, spool)
        self._tar = TarOutput(str(staged), digest=self._has_sums)
        place = copy_members(str(spool), {span: [os.fsencode(name)] for name, span in coming.items()}, self._tar)
        spool.unlink()
        return {name: place[*span, os.fsencode(name)] for name, span in coming.items()}

    def settle(self, view: View) -> bool:
        """Note in `since` what was committed; False where that says too little: of folders, and of metadata."""
        if self._meta or view.any_metadata or any("/" in name for name in self._images):
            return False
        self.since |= {name: span is not None for name, span in self._images.items()}
        return True

    @property
    def made(self) -> str:
        """As of `Change.made`."""
        return self._change.made

    def close(self) -> None:
        """Forget what wasn't committed, and let others change the project; an error on its way is told what was."""
        error = sys.exc_info()[1]
        if error is not None and self.made:
            note(error, self.made)
        tar, self._tar = self._tar, None
        try:
            if tar is not None:
                tar.close()
        finally:
            self._change.__exit__(None, None, None)


def _above(name: str) -> Sequence[str]:
    """The folders that an image is in."""
    folder = name.rpartition("/")[0]
    return _and_above(folder) if folder else ()


@lru_cache(1 << 16)
def _and_above(folder: str) -> list[str]:
    return [*layout.above(folder), folder]


def _like_metadata(name: str) -> list[str]:
    """Folders of an image that are called like the metadata of another one."""
    return [folder for folder in _above(name) if folder.endswith(".json")] if ".json/" in name else []


def _batches(pairs: Iterable[tuple[Any, Any]]) -> Iterator[list[tuple[Any, Any]]]:
    try:
        iterator = iter(pairs)
    except TypeError:
        raise UsageError("images are given as a mapping, or as pairs; nothing was written") from None
    while batch := list(islice(iterator, BATCH)):
        yield batch
