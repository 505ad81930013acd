"""Files written and removed one after the other, by the paths that readers see: one change of the project, or none."""

from __future__ import annotations

import json
import os
import threading
from io import BytesIO
from posixpath import basename, splitext
from typing import TYPE_CHECKING, Final, Self

from blobdir.datasets import IMAGE_EXTENSIONS
from blobdir.discovery import layout
from blobdir.errors import AnnotationError, IsADirectory, NotFoundError, UsageError
from blobdir.packing.compacting import copy_members
from blobdir.packing.growing import ProjectWriter, annotation_of_image, dataset_path
from blobdir.packing.journal import Change
from blobdir.packing.plain import check_annotation
from blobdir.packing.shards import TarOutput

if TYPE_CHECKING:
    from blobdir.packing.growing import Span

SLUG: Final = "added"
"""Blobs that edits write are called ``added-0000.tar``: they can hold images of several datasets."""
_MAX_COMPONENT_BYTES: Final = 255
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
    """

    def __init__(self, root: str) -> None:
        self._change = Change(root)
        self._change.__enter__()
        try:
            self._writer = ProjectWriter(self._change, root)
        except BaseException as error:
            self._change.__exit__(type(error), error, None)
            raise
        self._tree = self._writer.project.tree
        self._blob = ""
        self._tar: TarOutput | None = None
        self._members = 0
        self._images: dict[str, Span] = {}
        self._files: dict[str, None] = {}
        self._gone: set[str] = set()
        self._dropped: dict[str, None] = {}
        self._datasets: dict[str, None] = {}
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
        if path in self._gone:
            return False
        try:
            return not self._tree.is_directory(self._tree.find(path, follow=False))
        except OSError:
            return False

    def files_below(self, path: str) -> list[str]:
        """Paths of all files below a folder; those written last."""
        found = []
        try:
            row = self._tree.find(path)
            folders = list(self._tree.index.walk(row)) if self._tree.is_directory(row) else []
        except OSError:
            folders = []
        for folder in folders:
            prefix = layout.join(self._tree.path(folder), "")
            for child, name in zip(self._tree.children(folder), self._tree.names(folder), strict=True):
                full = layout.join(prefix, name)
                if not self._tree.is_directory(child) and full not in self._gone:
                    found.append(full)
        known = set(found)
        inside = f"{path}/" if path else ""
        return found + [p for p in (*self._images, *self._files) if p.startswith(inside) and p not in known]

    def read(self, path: str) -> bytes:
        """Content of a file as it would be."""
        with self._lock:
            if path in self._images and self._tar is not None:
                return self._tar.read(*self._images[path])
            if path in self._files:
                return self._change.stage(path).read_bytes()
            if path in self._gone:
                raise NotFoundError(f"{path}: was removed in this transaction")
            return self._tree.read(self._tree.find(path))

    # -- changes ---------------------------------------------------------------------------------------------

    def write(self, path: str, data: bytes, *, new: bool = False) -> None:
        """Write a file, or replace it.

        Parameters
        ----------
        path : str
            In the project, as readers see it.
        data : bytes
        new : bool
            Whether it is an error if it's there.

        Raises
        ------
        AnnotationError
            An annotation or ``meta.json`` isn't one.
        FileExistsError
        UsageError
            Nothing can be written to this place.
        """
        is_image = self._check_place(path)
        parts = path.split("/")
        if path == layout.META:
            _check_meta(data)
        elif len(parts) > 2 and parts[-2] == layout.ANNOTATIONS and path.endswith(".json"):
            self._check_dataset("/".join(parts[:-2]), path)
            check_annotation(data, path)
        with self._lock:
            self._check_process()
            if new and self.exists(path):
                raise FileExistsError(f"{path}: is there already")
            if is_image:
                self._drop(path)
                self._images[path] = self._output().member(parts[-1], data)
                self._members += 1
            else:
                if self._in_project(path) and self._tree.is_member(self._tree.find(path, follow=False)):
                    self._drop(path)  # a packed annotation, or a member that isn't called like an image
                self._change.stage(path).write_bytes(data)
                self._files[path] = None

    def remove(self, path: str) -> None:
        """Remove a file.

        Raises
        ------
        NotFoundError, IsADirectory
        UsageError
            It can't be removed.
        """
        with self._lock:
            self._check_process()
            if not self.exists(path):
                self._tree.find(path, follow=False)  # says what is wrong with it
                raise (
                    NotFoundError(f"{path}: was removed already")
                    if path in self._gone
                    else IsADirectory(f"{path}: is a directory; recursive=True removes it")
                )
            if path == layout.META:
                raise UsageError(f"{path}: can't be removed: without it, this is no project")
            if f"/{layout.ITEMS}/" in path:
                self._dropped[path] = None
            self._images.pop(path, None)
            if path in self._files:
                del self._files[path]
                self._change.forget(path)
            self._drop(path)

    def remove_folder(self, path: str) -> None:
        """Remove a folder with all that is in it."""
        if not path:
            raise UsageError("the project itself can't be removed by this")
        with self._lock:
            for file in self.files_below(path):
                if self.exists(file):
                    self.remove(file)
            self._change.remove_folder(path)

    def move(self, path: str, target: str) -> None:
        """Give a file another path. An image takes its annotation with it; its bytes go to the new blob."""
        with self._lock:
            data = self.read(path)
            self.write(target, data)
            if self._is_image(path) and self._is_image(target):
                old, new = self._annotation_path(path), _annotation_of(target)
                if old and new not in self._files:
                    self.write(new, self.read(old))
            self.remove(path)

    def _drop(self, path: str) -> None:
        if self._in_project(path):
            self._writer.drop(path)
            self._gone.add(path)

    def _output(self) -> TarOutput:
        if self._tar is None:
            self._blob = self._writer.free_stem(SLUG)
            self._tar = TarOutput(str(self._change.stage(f"{layout.BLOB_DIR}/{self._blob}.tar")))
        return self._tar

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise UsageError("a transaction belongs to the process that began it, and this is a child of that")

    # -- places ----------------------------------------------------------------------------------------------

    def _is_image(self, path: str) -> bool:
        parts = path.split("/")
        return len(parts) > 2 and parts[-2] == layout.ITEMS and splitext(path)[1].lower() in IMAGE_EXTENSIONS

    def _check_place(self, path: str) -> bool:
        """Whether a path is an image's; UsageError where nothing can be written to."""
        parts = path.split("/")
        if (
            parts[0] in (layout.BLOB_DIR, layout.STATE_DIR)
            or layout.is_offsets(path)
            or layout.PACKED_ANNOTATIONS in parts
        ):
            raise UsageError(
                f"{path}: blobs and offsets are written by blobdir; write {layout.ITEMS}/a.jpg of a dataset"
            )
        for part in parts:
            if part in ("", ".", "..") or "\0" in part or len(os.fsencode(part)) > _MAX_COMPONENT_BYTES:
                raise UsageError(
                    f"{path[:80]!r}: can't be the path of a file: a component is empty, '.', '..' or too long"
                )
        try:
            if self._tree.is_directory(self._tree.find(path)):
                raise IsADirectory(f"{path}: is a directory")
        except (NotFoundError, NotADirectoryError):
            pass
        if not self._is_image(path):
            return False
        self._check_dataset("/".join(parts[:-2]), path)
        if len(os.fsencode(f"{parts[-1]}.json")) > _MAX_COMPONENT_BYTES:
            raise UsageError(
                f"{path[:80]}…: the name is too long: that of its annotation has 5 bytes more, and 255 at most"
            )
        return True

    def _check_dataset(self, folder: str, path: str) -> None:
        if folder in self._datasets:
            return
        project = self._writer.project
        if folder not in project:
            place = dataset_path(project, layout.dataset_name(folder))
            if place != folder:
                raise UsageError(f"{path}: {folder} can't be a dataset; nested ones lie in {place}")
        self._datasets[folder] = None

    def _annotation_path(self, image: str) -> str:
        """Where an image's annotation is; empty if there is none."""
        by_name, by_stem = _annotation_of(image), _annotation_of(splitext(image)[0])
        return next((path for path in (by_name, by_stem) if self.exists(path)), "")

    # -- the end ---------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Have all of it happen: from the middle of this on it does, even if the process doesn't live to see its end.

        Raises
        ------
        PackError
            An image has no annotation, and its size can't be found out. Nothing was changed.
        """
        with self._lock:
            self._check_process()
            for image in self._dropped:
                annotation = "" if self.exists(image) else self._annotation_path(image)
                if annotation:
                    self.remove(annotation)
            for image in self._images:
                if not self._annotation_path(image):
                    target = self._change.stage(_annotation_of(image))
                    target.write_bytes(annotation_of_image(BytesIO(self.read(image)), image))
            self._finish_blob()
            self._writer.write_pickles()
            self._change.commit()

    def _finish_blob(self) -> None:
        if self._tar is None:
            return
        blob = f"{layout.BLOB_DIR}/{self._blob}.tar"
        if not self._images:
            self._change.forget(blob)
            return
        digest = self._without_gaps(blob) if self._members > len(self._images) else self._tar.finish()
        for image, span in self._images.items():
            pickle = f"{os.path.dirname(os.path.dirname(image))}/{self._blob}{layout.OFFSETS_SUFFIX}"
            self._writer.entries(pickle)[basename(image)] = span
        self._writer.write_sums({f"{self._blob}.tar": digest})

    def _without_gaps(self, blob: str) -> str:
        """Write the blob anew, without what was replaced or removed again."""
        self._output().flush()
        staged = self._change.stage(blob)
        spool = staged.with_name(_SPOOL)
        os.rename(staged, spool)
        with TarOutput(str(staged)) as out:
            place = copy_members(str(spool), {span: basename(path) for path, span in self._images.items()}, out)
            self._images = {path: place[span] for path, span in self._images.items()}
            digest = out.finish()
        spool.unlink()
        return digest

    def close(self) -> None:
        """Forget what wasn't committed, and let others change the project."""
        if self._tar is not None:
            self._tar.close()
            self._tar = None
        if os.getpid() == self._process:
            self._change.__exit__(None, None, None)


def _annotation_of(image: str) -> str:
    dataset, _, name = image.rpartition(f"/{layout.ITEMS}/")
    return f"{dataset}/{layout.ANNOTATIONS}/{name}.json"


def _check_meta(data: bytes) -> None:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise AnnotationError(f"{layout.META}: isn't JSON: {error}; nothing was changed") from error
    lists = [value.get(key, []) for key in ("classes", "tags")] if isinstance(value, dict) else [None]
    if not all(isinstance(items, list) and all(isinstance(item, dict) for item in items) for items in lists):
        raise AnnotationError(f'{layout.META}: isn\'t {{"classes": […], "tags": […], …}}; nothing was changed')
