"""What paths are in an edit: images and labels of datasets, which it may make, or places that nothing can have."""

from __future__ import annotations

import os
from posixpath import basename, dirname
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.errors import IsADirectory, NotADirectory, UsageError
from blobdir.filenames import is_image_name
from blobdir.temporary import is_temporary

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blobdir.packing.editing import Edit
    from blobdir.packing.provenance import Provenance

_MAX_COMPONENT_BYTES: Final = 255


class EditedPlaces:
    """What the paths of an edit are, with the datasets that it makes.

    Parameters
    ----------
    known : Provenance
        What there is in the project, as it was before.
    edit : Edit
    """

    def __init__(self, known: Provenance, edit: Edit) -> None:
        self._known = known
        self._edit = edit
        self._new: dict[str, None] = {}
        self._carried: set[str] = set()

    def is_image(self, path: str) -> bool:
        """Whether readers take a path for an image's.

        Those in folders below ``img/`` are files, and images too; members of blobs are, whatever they are called.
        """
        return bool(self.of(path)[0]) and (is_image_name(path) or self._edit.is_member(path))

    def is_oddly_named(self, path: str) -> bool:
        """Whether a path is an image's that isn't called like one, so that it's one only as a member of a blob."""
        return not is_image_name(path) and self.is_image(path)

    def takes_image(self, path: str, image: str) -> bool:
        """Whether an image can have another path, at which it is one."""
        name = self.of(path)[1]
        return self.is_image(path) or (bool(name) and "/" not in name and not is_image_name(image))

    def of(self, path: str, kind: str = layout.ITEMS) -> tuple[str, str]:
        """Dataset and name of an image or annotation; the dataset needn't be there yet. Empty texts for others."""
        known = self.there(path, kind)
        if known[0]:
            return known
        within = next((folder for folder in reversed(layout.above(path)) if self._is_dataset(folder)), "")
        parts = path[len(within) + 1 :].split("/") if within else path.split("/")
        at = 0 if within else 1
        while parts[at : at + 1] == [layout.NESTED]:  # what follows is a name, whatever it is called
            at += 2
        while at < len(parts) - 1 and not layout.is_item_folder(parts[at]):
            at += 1
        if at >= len(parts) - 1 or parts[at] != kind:
            return "", ""
        return layout.join(within, "/".join(parts[:at])), "/".join(parts[at + 1 :])

    def there(self, path: str, kind: str) -> tuple[str, str]:
        """Dataset that is there, and name in its `kind` folder, of a path; empty texts where it's something else."""
        for dataset in reversed(layout.above(path)):
            if path.startswith(f"{dataset}/{kind}/") and self._is_dataset(dataset):
                return dataset, path[len(dataset) + len(kind) + 2 :]
        return "", ""

    def _is_dataset(self, path: str) -> bool:
        """Whether there is a dataset at a path, or this transaction makes one."""
        return path in self._new or self._known.is_dataset(path)

    def check(self, path: str, *, member: bool = False) -> bool:
        """Whether what is written to a path has to be in a blob, as images have.

        Parameters
        ----------
        path : str
        member : bool
            Whether it's an image, whatever it's called.

        Raises
        ------
        IsADirectory, NotADirectory, UsageError
            Nothing can be written to it.
        """
        parts = path.split("/")
        if (
            parts[0] in (layout.BLOB_DIR, layout.STATE_DIR)
            or any(map(layout.is_offsets, parts))
            or any(map(layout.labelled_by, (*layout.above(path), path)))
        ):
            raise UsageError(
                f"{path}: blobs and offsets are written by blobdir; write {layout.ITEMS}/a.jpg of a dataset"
            )
        _check_components(path)
        for folder in layout.above(path):
            if self._edit.exists(folder):
                raise NotADirectory(f"{path}: {folder} is a file, so nothing can be in it")
        if self._edit.side_files.is_folder(path):
            raise IsADirectory(f"{path}: is a directory")
        if not (member or is_image_name(path)):
            return False
        if len(parts) < 3 or parts[-2] != layout.ITEMS:
            if dataset := self.of(path)[0]:  # an image in a folder of its images, which is a file
                self.check_dataset(dataset, path)
            return False
        self.check_dataset("/".join(parts[:-2]), path)
        if len(os.fsencode(f"{parts[-1]}.json")) > _MAX_COMPONENT_BYTES:
            raise UsageError(
                f"{path[:80]}…: the name is too long: that of its annotation has 5 bytes more, and 255 at most"
            )
        return True

    def check_folder(self, path: str) -> None:
        """Refuse a folder that can't be there.

        Raises
        ------
        IsADirectory, NotADirectory, UsageError
        """
        self.check(f"{path}/{layout.META}")  # some file's
        if layout.is_item_folder(basename(path)):
            self.check_dataset(dirname(path), path)

    def check_dataset(self, folder: str, path: str) -> None:
        """Refuse a dataset that can't be there, or lies directly in another one: the SDK has another name for it.

        Raises
        ------
        UsageError
        """
        if folder in self._new:
            return
        if self._known.dataset(folder) != folder:
            self._known.check_new(folder)
            if folder not in self._carried:
                place = self._known.new_dataset(layout.dataset_name(folder))
                if place != folder:
                    raise UsageError(f"{path}: {folder} can't be a dataset; nested ones lie in {place}")
        self._new[folder] = None

    def carry(self, source: str, target: str, paths: Iterable[str]) -> None:
        """Have the datasets that lie directly in others below a folder lie so below another one, where they move to.

        Parameters
        ----------
        source, target : str
        paths : iterable of str
            What there is below the folder.
        """
        folders = {folder for path in paths for folder in (*layout.above(path), path)}
        datasets = {folder for folder in folders if f"{folder}/".startswith(f"{source}/") and self._is_dataset(folder)}
        for dataset in datasets:
            lies_in_one = not datasets.isdisjoint(layout.above(dataset))
            if lies_in_one and layout.dataset_place(layout.dataset_name(dataset)) != dataset:
                self._carried.add(target + dataset.removeprefix(source))


def _check_components(path: str) -> None:
    for part in path.split("/"):
        if part in ("", ".", "..") or "\0" in part or len(os.fsencode(part)) > _MAX_COMPONENT_BYTES:
            raise UsageError(f"{path[:80]!r}: can't be the path of a file: a component is empty, '.', '..' or too long")
        if is_temporary(part):
            raise UsageError(f"{path}: {part} is a name of files that are being written; nobody would see it")
