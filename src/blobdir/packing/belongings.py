"""The files that go where an image goes: annotations, loose or packed, image meta, masks; and who shares them."""

from __future__ import annotations

import os
import posixpath
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from posixpath import splitext
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.errors import PackError, SourceChangedError, UsageError
from blobdir.filenames import is_image_name
from blobdir.packing.provenance import Provenance
from blobdir.packing.sidefiles import (
    FOLDERS,
    bases,
    could_have,
    is_side_folder,
    owners,
    side_candidates,
    side_files,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from blobdir.packing.provenance import Origin
    from blobdir.packing.publishing import Change
    from blobdir.packing.sidefiles import SideFile


@dataclass(slots=True)
class Belongings:
    """What belongs to an image.

    Attributes
    ----------
    files : dict
        Path relative to the dataset -> whether images that stay need it too.
    packed : list of (str, Origin, bool)
        Of packed annotations: the path, the entries, and the same.
    """

    files: dict[str, bool] = field(default_factory=dict)
    packed: list[tuple[str, Origin, bool]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """Paths relative to the dataset."""
        return list(dict.fromkeys([*self.files, *(path for path, _, _ in self.packed)]))


def belongings(
    known: Provenance, dataset: str, names: Collection[str], gone: Collection[str] = ()
) -> dict[str, Belongings]:
    """The files that belong to some images, which are sound: who asks wants to change them, or what is beside them.

    Parameters
    ----------
    known : Provenance
    dataset : str
        Path.
    names : collection of str
        Of images, which are thought of as going together: a file that only they share is theirs.
    gone : collection of str
        Paths in the project of files that are to be removed by themselves.

    Returns
    -------
    dict
        Name -> what belongs to it. A file that several of `names` share stands at each of them.

    Raises
    ------
    PackError, OffsetsError
        Something can't be read, so it isn't known; or it doesn't fit its blob, or isn't a file.
    """
    finder = _Finder(known, dataset, names)
    found = {name: finder.of(name) for name in names}
    known.check_origins(origin for mine in found.values() for _, origin, _ in mine.packed)
    finder.check_no_folders(gone)
    return found


def watch(
    change: Change,
    known: Provenance,
    dataset: str,
    before: Mapping[str, Collection[str]],
    gone: Collection[str] = (),
) -> None:
    """Have a change that takes images away refused where another program gives one of them a file meanwhile.

    Its first label, say: that would stay behind, and belong to nobody.

    Parameters
    ----------
    change : Change
    known : Provenance
    dataset : str
        Path.
    before : mapping
        Name of each image that goes -> paths of what belongs to it, relative to the dataset.
    gone : collection of str
        As for `belongings`.
    """
    if before and not change.dry_run:
        change.ask_again(partial(_check_none_came, change, known.root, dataset, before, gone))


def _check_none_came(
    change: Change, root: str, dataset: str, before: Mapping[str, Collection[str]], gone: Collection[str]
) -> None:
    """Raise `SourceChangedError` where images have more by now than they had before."""
    top = os.path.join(root, dataset)
    places = {os.path.dirname(path) for paths in before.values() for path in paths}
    below = {"", *map(os.path.dirname, before)}  # folders of the images, below their own
    with suppress(FileNotFoundError):
        sides = list(filter(is_side_folder, os.listdir(top)))
        places |= {layout.join(side, folder) for side in sides for folder in below}
    if not change.touched(layout.join(dataset, place) for place in ("", *places)):
        return
    for name, mine in belongings(Provenance(root), dataset, before, gone).items():
        for path in mine.paths:
            if path not in before[name]:
                raise SourceChangedError(
                    f"{os.path.join(top, path)}: another program has put it there for {name}, which was to go, while "
                    "this change was prepared; nothing was changed; try again"
                )


def check_are_files(known: Provenance, dataset: str, names: Collection[str]) -> None:
    """Refuse images of which something isn't a file, but a device, pipe or socket.

    Raises
    ------
    PackError
    """
    folders = side_folders(known, dataset)
    for name in names:
        for one in side_candidates(name, folders):
            full = f"{dataset}/{one.path}"
            if not known.is_file(full) and known.is_folder(full):
                for _ in known.files_below(full):  # who lists them looks at each
                    pass


def check_none_hidden(known: Provenance, dataset: str, found: Mapping[str, Belongings]) -> None:
    """Refuse images with a packed annotation that nobody sees, since a folder has its name.

    Raises
    ------
    PackError
    """
    for name, mine in found.items():
        for path, _, _ in mine.packed:
            if known.is_folder(f"{dataset}/{path}"):
                raise PackError(
                    f"{dataset}/{path}: is a folder, and {name} has a packed annotation of this name, which nobody "
                    "sees; rename the folder, or remove it; nothing was changed"
                )


def check_nobody_else(
    known: Provenance, dataset: str, meant: Mapping[str, Collection[str]], names: Collection[str]
) -> None:
    """Refuse new files that other images would get as well than those that they are meant for, as all is at the end.

    Parameters
    ----------
    known : Provenance
    dataset : str
        Path; it needn't be there yet.
    meant : mapping
        Path of each new file, relative to the dataset -> the images that it is for.
    names : collection of str
        Of images that come, or are replaced.

    Raises
    ------
    UsageError
    """
    is_there = dataset in known.datasets.values()
    wanted = {base for path in meant for base in bases(path)}
    called = {base: dict.fromkeys(found) for base, found in (known.called(dataset, wanted) if is_there else {}).items()}
    for name in names:
        for base in (name, splitext(name)[0]):
            called.setdefault(base, {})[name] = None
    for path, images in meant.items():
        found = owners(
            path,
            lambda base: called.get(base, ()),
            lambda one: one in meant or (is_there and known.is_there(dataset, one)),
        )
        other = next((name for name in found if name not in images), None)
        if other is not None:
            raise UsageError(f"{dataset}/{path}: would be taken for {other}'s as well; nothing was changed")


def in_the_way(
    known: Provenance, dataset: str, name: str, folders: Collection[str], own: Collection[str] = ()
) -> Iterator[str]:
    """What lies where an image of a name that isn't there yet would find its files.

    Parameters
    ----------
    known : Provenance
    dataset : str
        Path.
    name : str
    folders : collection of str
        Those of side files that are looked at.
    own : collection of str
        Of these folders, those in which it gets a file under its full name: that goes before one by its stem.

    Yields
    ------
    str
        A path relative to the dataset; of a folder that isn't empty, with a slash behind it.
    """
    for one in side_candidates(name, folders):
        if (one.by_stem and one.folder in FOLDERS and one.folder in own) or not known.is_there(dataset, one.path):
            continue
        full = f"{dataset}/{one.path}"
        is_folder = known.is_folder(full)
        if is_folder and not any(True for _ in known.files_below(full)):
            continue
        path = one.path + "/" * is_folder
        if could_have(name, path):
            yield path


def side_folders(known: Provenance, dataset: str) -> list[str]:
    """Folders of a dataset with files that belong to images; annotations come first."""
    return [layout.ANNOTATIONS, *(folder for folder in known.side_folders(dataset) if folder != layout.ANNOTATIONS)]


def check_nothing_of_others(
    known: Provenance, dataset: str, names: Collection[str], brought: Collection[str] = ()
) -> None:
    """Refuse new images that would get files of images which are in a dataset already.

    Parameters
    ----------
    known : Provenance
    dataset : str
        Path.
    names : collection of str
        Of images that aren't there yet.
    brought : collection of str
        The files that come with them, relative to the dataset. What an image has under its full name goes before.

    Raises
    ------
    UsageError
    """
    if dataset not in known.datasets.values():
        return
    folders = side_folders(known, dataset)
    found: list[tuple[str, str]] = []
    for name in names:
        own = [folder for folder, suffix in FOLDERS.items() if f"{folder}/{name}{suffix}" in brought]
        found += [(name, path) for path in in_the_way(known, dataset, name, folders, own)]
    called = known.called(dataset, {base for _, path in found for base in bases(path)})
    for name, path in found:
        others = owners(
            path,
            lambda base: [other for other in called.get(base, ()) if other not in names],
            lambda one: known.is_there(dataset, one),
        )
        if others:
            raise UsageError(
                f"{dataset}/{path}: is {others[0]}'s, and would be taken for {name}'s as well; give the new image "
                "another name; nothing was changed"
            )


def wanted_by(known: Provenance, dataset: str, path: str) -> str:
    """Image that lacks something where a symbolic link leads to no file; empty where none does.

    It's the image itself, or one of its files, or a folder where one of these would lie.

    Parameters
    ----------
    known : Provenance
    dataset : str
        Path.
    path : str
        Of the link, relative to the dataset.
    """
    folder, _, tail = path.partition("/")
    is_of_items = folder == layout.ITEMS
    if is_of_items and posixpath.basename(tail).startswith("."):  # no image
        return ""
    if is_of_items and is_image_name(tail):  # of a link to a folder nobody sees anything
        return tail
    if not is_of_items and not is_side_folder(folder):
        return ""
    below = f"{tail}/".encode("utf-8", "surrogateescape")
    for raw in known.image_names(dataset):
        if raw.startswith(below):
            return raw.decode("utf-8", "surrogateescape")
    called = known.called(dataset, {*bases(path), *bases(f"{path}/")})
    found = (
        name
        for spelled in (path, f"{path}/")
        for name in owners(spelled, lambda base: called.get(base, ()), lambda one: known.is_there(dataset, one))
    )
    return next(found, "")


class _Finder:
    def __init__(self, known: Provenance, dataset: str, names: Collection[str]) -> None:
        self._known, self._dataset = known, dataset
        folders = side_folders(known, dataset)
        self._candidates = {name: side_candidates(name, folders) for name in names}
        self._there: dict[str, bool] = {}
        self._below: dict[str, list[str]] = {}
        labels = {one.path.partition("/")[2] for one in self._places() if one.folder == layout.ANNOTATIONS}
        self._packed = self._packed_annotations(labels)
        self._owners = self._find_owners()

    def _places(self) -> list[SideFile]:
        return [one for found in self._candidates.values() for one in found]

    def _packed_annotations(self, names: Collection[str]) -> dict[str, Origin]:
        """Of some names in ``ann/``, the packed annotations: path relative to the dataset -> entries."""
        shown = layout.join(self._dataset, layout.ANNOTATIONS)
        if not any(pickle.shown == shown for pickle in self._known.pickles(self._dataset)):
            return {}
        found = self._known.origins(self._dataset, names, annotations=True)
        return {f"{layout.ANNOTATIONS}/{name}": origin for name, origin in found.items() if origin.entries}

    def _exists(self, path: str) -> bool:
        if path not in self._there:
            full = f"{self._dataset}/{path}"
            self._there[path] = path in self._packed or self._known.is_file(full) or self._known.is_folder(full)
        return self._there[path]

    def _find_owners(self) -> dict[str, list[str]]:
        """Path of each file that is there, those in folders of masks too -> the images that it belongs to."""
        paths = {one.path: self._spelled(one.path) for one in self._places() if self._exists(one.path)}
        for path in [path for path, spelled in paths.items() if spelled.endswith("/")]:
            below = self._known.files_below(f"{self._dataset}/{path}")
            self._below[path] = [full[len(self._dataset) + 1 :] for full in below]
            paths |= {one: one for one in self._below[path]}
        called = self._known.called(self._dataset, {base for path in paths.values() for base in bases(path)})
        others = {f"{name}.json" for found in called.values() for name in found if name not in self._candidates}
        self._there |= dict.fromkeys(self._packed_annotations(others), True) if others else {}
        return {key: owners(path, lambda base: called.get(base, ()), self._exists) for key, path in paths.items()}

    def _spelled(self, path: str) -> str:
        """A path with a slash behind it where it is a folder."""
        full = f"{self._dataset}/{path}"
        return f"{path}/" if path not in self._packed and self._known.is_folder(full) else path

    def of(self, name: str) -> Belongings:
        """What belongs to one of the images."""
        mine = Belongings()
        for one in self._candidates[name]:
            owned_by = self._owners.get(one.path, ())
            if name not in owned_by:
                continue
            if one.path in self._packed:
                mine.packed.append((one.path, self._packed[one.path], self._shared(one.path)))
            if self._known.is_file(f"{self._dataset}/{one.path}"):
                mine.files[one.path] = self._shared(one.path)
            elif one.folder != layout.ANNOTATIONS:
                mine.files |= {path: self._shared(path) for path in self._below.get(one.path, ())}
        return mine

    def check_no_folders(self, gone: Collection[str]) -> None:
        """Refuse a folder where a file of an image would be, if something is in it that is nobody else's."""
        for name, places in self._candidates.items():
            for one in side_files(name, self._exists, dict.fromkeys(one.folder for one in places)):
                full = f"{self._dataset}/{one.path}"
                if one.folder not in FOLDERS or one.path in self._packed or not self._known.is_folder(full):
                    continue
                below = [path for path in self._known.files_below(full) if path not in gone]
                found = {path: bases(path[len(self._dataset) + 1 :]) for path in below}
                called = self._known.called(self._dataset, {base for each in found.values() for base in each})
                if any(not any(map(called.get, each)) for each in found.values()):
                    raise PackError(f"{full}: is a folder, where a file of {name} would be; nothing was changed")

    def _shared(self, path: str) -> bool:
        return any(other not in self._candidates for other in self._owners.get(path, ()))
