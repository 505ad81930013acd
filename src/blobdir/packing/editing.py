"""Files written and removed one after the other, by the paths that readers see: one change of the project, or none."""

from __future__ import annotations

import os
import secrets
import threading
import warnings
from contextlib import contextmanager
from io import BytesIO
from posixpath import basename, splitext
from typing import TYPE_CHECKING, Final, Self

from blobdir.datasets import open_view
from blobdir.discovery import layout
from blobdir.errors import BlobdirWarning, IncompleteListingError, IsADirectory, NotFoundError, UsageError
from blobdir.filenames import is_image_name
from blobdir.packing.arriving import watch_coming
from blobdir.packing.belongings import belongings, check_are_files, check_none_hidden, watch
from blobdir.packing.editedfiles import EditedSideFiles
from blobdir.packing.editedplaces import EditedPlaces
from blobdir.packing.editedsources import EditedSources
from blobdir.packing.folding import copy_members
from blobdir.packing.growing import annotation_of_image
from blobdir.packing.metadata import check_meta
from blobdir.packing.picturesizes import stream, wrong_sizes
from blobdir.packing.plain import check_annotation
from blobdir.packing.publishing import Change
from blobdir.packing.report import LEFT
from blobdir.packing.shards import TarOutput
from blobdir.packing.sound import CONFLICT
from blobdir.packing.writer import NEW_BLOB, ProjectWriter
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Iterator
    from typing import BinaryIO

    from blobdir.packing.edited import Origin
    from blobdir.packing.editedsources import Past
    from blobdir.packing.writer import Span

SLUG: Final = "added"
"""Blobs that edits write are called ``added-0000-….tar``: they can hold images of several datasets."""
_SPOOL: Final = "spool"


class Edit:
    """Writes and removals that become one change of a project: one new blob, and its pickles.

    Images, which are files ``<dataset>/img/<name>`` with an image's extension, go to the blob; annotations,
    ``meta.json`` and everything else stay files. When it is committed, an image that has no annotation gets one without
    objects, and the annotation of an image that was removed goes with it. Until then readers see nothing of it.
    Threads may share it; other processes may not.

    Parameters
    ----------
    root : str
        Folder of the project.

    Raises
    ------
    BusyError
        Somebody else is changing the project.

    Attributes
    ----------
    places : EditedPlaces
    side_files : EditedSideFiles
    sources : EditedSources
    """

    def __init__(self, root: str) -> None:
        self._change = Change(root)
        self._change.__enter__()
        try:
            self._writer = ProjectWriter(self._change, root)
            self._tree = open_view(root).tree
        except BaseException as error:
            self._change.__exit__(type(error), error, None)
            raise
        self._tar: TarOutput | None = None
        self._members = 0
        self._images: dict[str, Span] = {}
        self._files: dict[str, None] = {}
        self._written: dict[str, dict[str, None]] = {}  # folder -> what was written below it: see `files_below`
        self._gone: dict[str, None] = {}
        self._dropped: dict[str, None] = {}
        self._moved: dict[str, str] = {}  # image -> the path that it had when the edit began
        self.places = EditedPlaces(self._writer.known, self)
        self.side_files = EditedSideFiles(self._tree, self._writer.known, self)
        self.sources = EditedSources(self._writer.known, self, self.side_files)
        self._followed, self._emptied = set[str](), set[str]()
        self._steps = self._depth = 0
        self._broken, self._is_over = "", False
        self._lock = threading.RLock()
        self._process = os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what is there, with what was written ----------------------------------------------------------------

    def exists(self, path: str) -> bool:
        """Whether there would be such a file."""
        return path in self._images or path in self._files or self._in_project(path)

    def _in_project(self, path: str) -> bool:
        return path not in self._gone and (row := self._row(path)) >= 0 and not self._tree.is_directory(row)

    def _row(self, path: str) -> int:
        """Of what the project has at a path; -1 where it has nothing."""
        try:
            return self._tree.find(path, follow=False)
        except IncompleteListingError:
            raise  # nobody can know
        except OSError:
            return -1

    def check_no_conflict(self, how: str) -> None:
        """Refuse a project with names of several contents, which who asks for the change sees as `how` has them.

        Raises
        ------
        UsageError
        """
        found = (defect for defect in self._tree.index.header.defects if defect.code == CONFLICT)
        if (first := next(found, None)) is not None:
            raise UsageError(
                f"{first.path}: has several contents, and names here are those of on_conflict={how!r}: nothing can be "
                "changed by them. Open the project without it, or remove one content first"
            )

    def is_member(self, path: str) -> bool:
        """Whether there would be a member of a blob."""
        return path in self._images or (path not in self._files and self._in_project(path) and self._was_member(path))

    def _was_member(self, path: str) -> bool:
        return (row := self._row(path)) >= 0 and self._tree.is_member(row)

    def is_folder(self, path: str) -> bool:
        """Whether there would be a folder with something in it."""
        return not self.exists(path) and self.holds(path)

    def holds(self, path: str) -> bool:
        """Whether there would be a file below a folder."""
        return next(self._below(path), None) is not None

    @contextmanager
    def whole(self) -> Iterator[None]:
        """What is done inside is one step, also for other threads: if it fails half way, nothing can be committed.

        At its end nobody may have a file that isn't meant for it.
        """
        with self._lock:
            self.check_process()
            before = self._steps
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self.side_files.check_step()
                    self.sources.end_step()
            except BaseException as error:
                if self._steps != before:
                    self._broken = self._broken or str(error)
                raise
            finally:
                self._depth -= 1

    def files_below(self, path: str) -> list[str]:
        """Paths of all files below a folder; those written last."""
        return list(self._below(path))

    def _below(self, path: str) -> Iterator[str]:
        for folder in self._rows_below(path):
            prefix = layout.join(self._tree.path(folder), "")
            for child, name in zip(self._tree.children(folder), self._tree.names(folder), strict=True):
                full = layout.join(prefix, name)
                if not self._tree.is_directory(child) and full not in self._gone:
                    yield full
        yield from (written for written in self._written.get(path, ()) if not self._in_project(written))

    def _rows_below(self, path: str) -> Iterator[int]:
        """Rows of the folders that the project has at a path and below."""
        try:
            row = self._tree.find(path)
        except IncompleteListingError:
            raise  # nobody can know
        except OSError:
            return
        if self._tree.is_directory(row):
            yield from self._tree.index.walk(row)

    def _taken(self, path: str) -> bool:
        return self.exists(path) or self.holds(path) or bool(self.folders_below(path))

    def folders_below(self, path: str) -> list[str]:
        """Of a folder and those below it, the ones that would be there with nothing in them."""
        found = dict.fromkeys(map(self._tree.path, self._rows_below(path)))
        there = [one for one in found if not any(map(self._emptied.__contains__, (*layout.above(one), one)))]
        return [one for one in dict.fromkeys((*there, *self._change.made_folders(path))) if not self.holds(one)]

    def make_folder(self, path: str) -> None:
        """Have a folder be there, even if nothing is in it."""
        with self.whole():
            self.places.check_folder(path)
            self._steps += 1
            self._change.make_folder(path)

    def free_name(self, path: str, taken: Collection[str]) -> str:
        """A path for something that is in the way of another for a moment, of the same kind; nothing has it."""
        folder, name = os.path.split(path)
        while True:
            aside = f"moving-{secrets.token_hex(6)}"  # not one that a label or a mask could be called like
            is_kind = layout.is_item_folder(name)
            new = f"{aside}/{name}" if is_kind else layout.join(folder, f"{aside}{splitext(name)[1]}")
            if new not in taken and not self._taken(new):
                return new

    def read(self, path: str) -> bytes:
        """Content of a file as it would be."""
        self.check_process()
        with self._lock, self._change.in_words():
            if path in self._images and self._tar is not None:
                with self.whole():
                    self._steps += 1  # what is gathered is written first, which can fail half way
                    data = self._tar.read(*self._images[path])
                    self._steps -= 1
                    return data
            if path in self._files:
                return self._change.stage(path).read_bytes()
            if path in self._gone:
                raise NotFoundError(f"{path}: was removed in this transaction")
            return self._tree.read(self._tree.find(path))

    # -- changes ---------------------------------------------------------------------------------------------

    def write(
        self,
        path: str,
        data: bytes,
        *,
        new: bool = False,
        origin: Origin = "new",
        member: bool = False,
        past: Past | None = None,
    ) -> None:
        """Write a file, or replace it.

        Parameters
        ----------
        path : str
            In the project, as readers see it.
        data : bytes
        new : bool
            Whether it is an error if it's there.
        origin : {"new", "copied", "moved"}
            What it is, which says for whom: see `EditedSideFiles`.
        member : bool
            Whether it's an image, though it may not be called like one; so is what replaces such a one.
        past : Past, optional
            Of what is copied or moved so that it means what it meant: see `EditedSources.past`.

        Raises
        ------
        AnnotationError
            An annotation or ``meta.json`` isn't one.
        FileExistsError
        UsageError
            Nothing can be written to this place.
        """
        self.check_process()
        is_image = self.places.check(path, member=member or self.is_member(path))
        parts = path.split("/")
        if path == layout.META:
            check_meta(data)
        elif path.endswith(".json") and (dataset := self.places.of(path, layout.ANNOTATIONS)[0]):
            self.places.check_dataset(dataset, path)
            check_annotation(data, path)
        with self._lock, self._change.in_words():
            if new and self.exists(path):
                raise FileExistsError(f"{path}: is there already")
            with self.whole():  # a disk that is full leaves half a file, or a hole in the blob
                self._steps += 1
                before = self.side_files.before(path)
                if is_image:
                    self._drop(path)
                    self._moved.pop(path, None)
                    self._forget_staged(path)
                    self._images[path] = self._output().member(parts[-1], data)
                    self._members += 1
                    self._note_below(path)
                else:
                    if self._in_project(path) and self._tree.is_member(self._tree.find(path, follow=False)):
                        self._drop(path)  # a packed annotation, or a member that isn't called like an image
                    self._change.stage(path).write_bytes(data)
                    self._files[path] = None
                    self._note_below(path)
                self.side_files.note(path, before, origin)
                self.sources.note(path, past)

    def remove(self, path: str, keep: Container[str] = ()) -> None:
        """Remove a file; an image with what belongs to it, but for what is to be kept.

        Raises
        ------
        NotFoundError, IsADirectory
        UsageError
            It can't be removed.
        """
        with self.whole(), self._change.in_words():
            if not self.exists(path):
                self._tree.find(path, follow=False)  # says what is wrong with it
                raise (
                    NotFoundError(f"{path}: was removed already")
                    if path in self._gone
                    else IsADirectory(f"{path}: is a directory; recursive=True removes it")
                )
            if path == layout.META:
                raise UsageError(f"{path}: can't be removed: without it, this is no project")
            belonging = self.side_files.of(path) if self.places.is_image(path) else {}
            self._remove(path, {file: shared or file in keep for file, shared in belonging.items()})

    def _remove(self, path: str, belonging: dict[str, bool]) -> None:
        self._forget(path)
        for file, shared in belonging.items():
            if shared:
                self.side_files.leave(file, path)
            elif self.exists(file):
                self.discard(file)

    def discard(self, path: str) -> None:
        """Remove a file since it has gone elsewhere with the image that it belonged to."""
        self._forget(path)
        self._followed.add(path)

    def note_followed(self, paths: Iterable[str]) -> None:
        """Files were moved along with the images that they belonged to."""
        self._followed.update(paths)

    def _note_below(self, path: str) -> None:
        for folder in ("", *layout.above(path)):
            self._written.setdefault(folder, {})[path] = None

    def _forget(self, path: str) -> None:
        self._steps += 1
        self._dropped[path] = None
        self.side_files.forget(path)
        self.sources.forget(path, gone=True)
        self._images.pop(path, None)
        self._moved.pop(path, None)
        for folder in ("", *layout.above(path)):
            self._written.get(folder, {}).pop(path, None)
        self._forget_staged(path)
        self._drop(path)

    def _forget_staged(self, path: str) -> None:
        if path in self._files:
            del self._files[path]
            self._change.forget(path)

    def went_along(self, path: str) -> bool:
        """Whether a file isn't there any more because the image that it belonged to was removed."""
        return path in self._followed

    def remove_all(self, paths: list[str], *, folders: bool) -> None:
        """Remove what a pattern fits; folders only if they are meant."""
        self.check_process()
        if not folders and not any(map(self.exists, paths)):
            raise IsADirectory(f"{paths[0]}: is a directory; recursive=True removes it")
        for path in paths:
            if self.exists(path):  # an annotation may have gone with its image
                self.remove(path)
            elif folders and path not in self._followed:
                self.remove_folder(path)

    def remove_folder(self, path: str) -> None:
        """Remove a folder with all that is in it."""
        if not path:
            raise UsageError("the project itself can't be removed by this")
        with self.whole():
            files = self.files_below(path)
            for file in files:
                if self.exists(file):
                    self.remove(file)
            self.side_files.forget_all(files)
            self._steps += 1
            self._change.forget_folder(path)
            self._change.remove_folder(path)
            self._emptied.add(path)

    def move(self, path: str, target: str) -> None:
        """Give a file another path. An image takes what belongs to it along; its bytes go to the new blob.

        What is at `target` is replaced, with all that belongs to it. What was written before it was there stays.
        """
        self.check_process()
        with self._lock:
            data = self.read(path)
            self.check_kind(path, target)
            self.places.check(target)
            if not self.places.is_image(path):
                with self.whole():
                    left = self.side_files.having(path) if self.side_files.is_side_file(path) else None
                    self.transfer(path, target)
                    if left is not None:
                        self.side_files.wait_for(target, left)
                return
            new, stay = self.side_files.moving(path, target)
            kept = stay.union(new.values())  # one's new name may be another's old one
            belonging = {file: shared or file in kept for file, shared in self.side_files.of(path).items()}
            along = [(old, to, self.read(old), self.sources.past(old)) for old, to in new.items()]
            past = self.sources.past(path)
            with self.whole():
                if self.exists(target):
                    self.remove(target)
                begun = self._moved.get(path, "" if path in self._images else path)
                self.write(target, data, origin="moved", member=True, past=past)
                self._moved |= {target: begun} if begun else {}
                self._remove(path, belonging)
                for old, to, content, its_past in along:
                    self.write(to, content, origin="moved", past=its_past)
                    self.side_files.carry(old, to, [target])
                for to in stay:
                    self.side_files.join(to, target)

    def check_kind(self, path: str, target: str) -> None:
        """Refuse to have an image where it would be none any more."""
        if self.places.is_image(path) and not self.places.takes_image(target, path):
            raise UsageError(
                f"{path}: is an image with labels, and {target} is no place for one; copy it there, then remove it"
            )

    def transfer(self, path: str, target: str) -> None:
        """Give a file another path, and do nothing else: who calls this sees to what belongs to it."""
        with self._lock, self.whole():
            data = self.read(path)
            if path == layout.META:
                raise UsageError(f"{path}: can't be removed: without it, this is no project")
            self.places.check(target)
            is_image, is_plain = self.places.is_image(path), not self.side_files.is_side_file(path)
            begun = self._moved.get(path, "" if path in self._images else path) if is_image else ""
            past = self.sources.past(path)
            self._forget(path)
            self.write(target, data, origin="copied" if is_plain else "moved", member=is_image, past=past)
            self._moved |= {target: begun} if begun else {}

    def _drop(self, path: str) -> None:
        if self._in_project(path):
            self._change.see(path)
            self._gone[path] = None

    def _output(self) -> TarOutput:
        if self._tar is None:
            self._tar = TarOutput(str(self._change.stage(NEW_BLOB)))
        return self._tar

    def check_process(self) -> None:
        """Refuse a child: it has a copy of what is gathered, and shares the open blob, so both would be written.

        Refuse as well what comes when all has ended: others may be changing the project.
        """
        if self._is_over:
            raise UsageError("the transaction has ended, so nothing can be written in it any more")
        if os.getpid() != self._process:
            raise UsageError("a transaction belongs to the process that began it, and this is a child of that")

    def _is_new(self, image: str) -> bool:
        """Whether an image takes nothing of what its name had before: that had none, or went with what it had."""
        return image in self._dropped or self._row(image) < 0

    # -- the end ---------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Have all of it happen: from the middle of this on it does, even if the process doesn't live to see its end.

        Raises
        ------
        PackError
            An image has no annotation, and its size can't be found out; or something that is to be replaced or removed
            can't be read, or doesn't fit its blob. Nothing was changed.
        """
        self.check_process()
        with self._lock, self._change.in_words():
            if self._broken:
                raise UsageError(f"a step of the transaction failed half way ({self._broken}); nothing was changed")
            lost = self.sources.bring()
            images = [*self._images, *filter(self.places.is_image, self._files)]
            self.side_files.check_all(filter(self._is_new, images))
            for image, label in self.side_files.blanks():
                target = self._change.stage(label)
                target.write_bytes(annotation_of_image(BytesIO(self.read(image)), image))
            faults = list(wrong_sizes(self, images, self._files, self._opened))
            self._check_belongings()
            self._drop_origins()
            self._finish_blob()
            stale = self._writer.write_pickles()
            self._writer.known.check_not_linked(self._change.removed)
            self._change.commit()
        if faults:
            more = f"; and {counted(len(faults) - 1, 'more annotation')} of another size than the image"
            lost.append(f"{faults[0]}{more * bool(faults[1:])}")
        for text in [*lost, *(f"{one.path}: {one.message}" for one in stale)]:
            warnings.warn(text, BlobdirWarning, stacklevel=2)

    def _opened(self, path: str) -> BinaryIO:
        """An image, as it would be."""
        written = path in self._images or path in self._files
        return BytesIO(self.read(path)) if written else stream(self._tree.open(self._tree.find(path)))

    def _check_belongings(self) -> None:
        """Refuse to write or remove images of which something isn't a file, can't be read, or doesn't fit its blob."""
        images: dict[str, list[str]] = {}
        for path in dict.fromkeys((*self._images, *self._files, *self._gone)):
            dataset, name = self.places.of(path)
            if dataset and (is_image_name(path) or self.is_member(path) or self._was_member(path)):
                images.setdefault(dataset, []).append(name)
        for dataset, names in images.items():
            check_are_files(self._writer.known, dataset, names)
            found = belongings(self._writer.known, dataset, names, self._gone)
            check_none_hidden(self._writer.known, dataset, found)
            before = {
                name: [path for path in mine.paths if self._row(f"{dataset}/{path}") >= 0]
                for name, mine in found.items()
                if f"{dataset}/{layout.ITEMS}/{name}" in self._gone
            }
            watch(self._change, self._writer.known, dataset, before, self._gone)
            come = {name for name in names if self.exists(f"{dataset}/{layout.ITEMS}/{name}")}
            present = self._writer.known.origins(dataset, come)
            watch_coming(self._change, self._writer.known, dataset, come, present, lambda path: self._row(path) >= 0)

    def _drop_origins(self) -> None:
        """Have everything go that made the names which were removed, or written anew."""
        images, notes = dict[str, list[str]](), dict[str, list[str]]()
        for path in dict.fromkeys((*self._gone, *self._images, *self._files)):
            for kind, found in ((layout.ITEMS, images), (layout.ANNOTATIONS, notes)):
                dataset, name = self.places.there(path, kind)
                if dataset:
                    found.setdefault(dataset, []).append(name)
                    break
            else:
                if path in self._gone:
                    self._change.remove(path)
        moved = set(self._moved.values())
        for found in (images, notes):
            for dataset, names in found.items():
                origins = self._writer.known.origins(dataset, names, annotations=found is notes)
                self._writer.known.check_origins(origins.values())
                for name, origin in origins.items():
                    self._writer.drop(origin, moved=f"{dataset}/{layout.ITEMS}/{name}" in moved)

    def _finish_blob(self) -> None:
        if self._tar is None:
            return
        if not self._images:
            self._change.forget(NEW_BLOB)
            return
        digest = self._without_gaps() if self._members > len(self._images) else self._tar.finish()
        stem = self._writer.name_blob(SLUG, digest)
        for image, span in self._images.items():
            pickle = f"{os.path.dirname(os.path.dirname(image))}/{stem}{layout.OFFSETS_SUFFIX}"
            self._writer.add_entries(pickle, [(basename(image), *span)])
        self._writer.write_sums({f"{stem}.tar": digest})

    def _without_gaps(self) -> str:
        """Write the blob anew, without what was replaced or removed again."""
        self._output().flush()
        staged = self._change.stage(NEW_BLOB)
        spool = staged.with_name(_SPOOL)
        os.rename(staged, spool)
        with TarOutput(str(staged)) as out:
            named = {span: [os.fsencode(basename(path))] for path, span in self._images.items()}
            place = copy_members(str(spool), named, out)
            self._images = {path: place[*span, os.fsencode(basename(path))] for path, span in self._images.items()}
            digest = out.finish()
        spool.unlink()
        return digest

    @property
    def made(self) -> str:
        """As of `Change.made`."""
        return self._change.made

    def close(self) -> None:
        """Forget what wasn't committed, and let others change the project."""
        self._is_over = True
        tar, self._tar = self._tar, None
        try:
            if tar is not None:
                tar.close()
        finally:
            self._change.__exit__(None, None, None)
        for path in self._change.leftovers() if self._change.made else ():
            warnings.warn(f"{path}: {LEFT}", BlobdirWarning, stacklevel=2)
