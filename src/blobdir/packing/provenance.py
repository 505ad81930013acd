"""What lies behind the names of a project: every entry and file that makes one, for those who change it.

Readers show one image where several entries, or an entry and a file, say the same. Who removes or moves it needs all of
them, and what else needs the files beside it. And where readers serve what is left of a damaged project, who changes it
refuses: what can't be listed or read could be the very thing that is changed.

Nothing here makes rows of a whole project, so removing one image of ten million takes little memory.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import repeat
from posixpath import splitext
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.discovery import layout, pairing
from blobdir.discovery.parts import Pickle, find_blobs, find_pickles, misplaced_pickles
from blobdir.discovery.root import check_root, not_a_folder
from blobdir.errors import BlobdirError, IncompleteListingError, PackError, UsageError
from blobdir.filenames import is_image_name
from blobdir.lazily import cached_property
from blobdir.offsets import OffsetsTable
from blobdir.offsets.streaming import iter_offsets
from blobdir.packing.loose import PlainFiles
from blobdir.packing.sidefiles import is_side_folder
from blobdir.packing.stillnamed import may_hold_offsets
from blobdir.packing.surveying import Survey, refuse_unlisted
from blobdir.sources import LocalStorage
from blobdir.temporary import clean, is_temporary

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from blobdir.index import SourceRecord
    from blobdir.offsets.attributes import State
    from blobdir.sources import Folder


FEW: Final = 8
"""Beginnings of names up to which looking for each is quicker than taking names apart."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of an offsets file.

    Attributes
    ----------
    pickle : Pickle
    name : str
    start, end : int
        Byte range in the blob, half-open.
    state : State
        What else it has, see `blobdir.offsets.attributes`.
    """

    pickle: Pickle
    name: str
    start: int
    end: int
    state: State = b""


@dataclass(slots=True)
class Origin:
    """Everything that makes one name of a dataset.

    Attributes
    ----------
    entries : list of Entry
        Of any number of offsets files, repeats included.
    file : str
        Path in the project of the plain file of this name; empty where there is none.
    """

    entries: list[Entry] = field(default_factory=list)
    file: str = ""

    def __bool__(self) -> bool:
        return bool(self.entries or self.file)


class _Folders(dict[str, "Folder"]):
    """Directories of a project, listed when they are asked for: item folders never are."""

    def __init__(self, storage: LocalStorage) -> None:
        super().__init__()
        self._storage = storage
        self._absent: set[str] = set()

    def get(self, path: str, default: Folder | None = None) -> Folder | None:  # type: ignore[override]
        """A directory; `default` where there is none."""
        if path in self._absent:
            return default
        if path not in self:
            folder = self._storage.folder(path)
            if isinstance(folder.error, (FileNotFoundError, NotADirectoryError)):
                self._absent.add(path)
                return default
            self[path] = folder
        return self[path]


class Provenance(PlainFiles):
    """A project on this machine, for those who change it.

    Parameters
    ----------
    root : str

    Attributes
    ----------
    root : str
        With links resolved.
    storage : LocalStorage
    datasets : dict
        Name -> path.

    Raises
    ------
    NotAProjectError, UsageError
    """

    def __init__(self, root: str) -> None:
        self.storage = LocalStorage(root)
        super().__init__(self.storage.root)
        self._folders = _Folders(self.storage)
        top = self._folders.get("")
        if top is None or top.error is not None:
            raise not_a_folder(self.storage, (top.error if top else None) or FileNotFoundError())
        found = layout.read_layout(self._folders)
        check_root(self.storage, self._folders, found)
        self.datasets = layout.display_names(found.datasets)
        self._paths = set(found.datasets)
        self._blobs: dict[str, tuple[dict[str, str], list[str]]] = {}
        self._records: dict[str, SourceRecord] = {}
        self._packed: dict[str, frozenset[str]] = {}
        self._with_bytes: set[str] = set()
        self._side: dict[str, list[str]] = {}

    def clean(self) -> None:
        """Remove what dead processes have left in the folders of datasets and blobs, and in the project's own."""
        for path in ("", layout.BLOB_DIR, *self.datasets.values()):
            folder = self._folders.get(path)
            if folder is not None and any(is_temporary(entry.name) for entry in folder.entries):
                clean(os.path.join(self.root, path))

    # -- datasets --------------------------------------------------------------------------------------------

    def dataset(self, name: str) -> str | None:
        """Path of a dataset, given by name or path; None where there is none."""
        return self.datasets.get(name) or (name if name in self._paths else None)

    def is_dataset(self, path: str) -> bool:
        """Whether there is a dataset at a path."""
        return path in self._paths

    def enclosing(self, path: str) -> str:
        """Path of the innermost dataset that something lies in; empty where it lies in none."""
        return next((one for one in reversed(layout.above(path)) if one in self._paths), "")

    def new_dataset(self, name: str) -> str:
        """Path of a dataset, which may be a new one: ``train/hard`` is ``train/datasets/hard``.

        Raises
        ------
        UsageError
            There can't be such a dataset.
        IncompleteListingError
            It may be there, in a folder that can't be listed.
        """
        known = self.dataset(name)
        if known is not None:
            return known
        if why := self.why_unseen(name.strip("/")):
            raise IncompleteListingError(f"{name}: may be a dataset that isn't seen: {why}; nothing was changed")
        path = layout.dataset_place(name)
        if path is None:
            raise UsageError(f"{name!r} can't be the name of a dataset")
        self.check_new(path)
        return path

    def check_new(self, path: str) -> None:
        """Refuse a dataset that would make others disappear, or that would itself.

        Raises
        ------
        UsageError
        """
        for other in self._paths - {path}:
            if layout.hides(path, other) or layout.hides(other, path):
                raise UsageError(
                    f"{path}: can't be a dataset beside {other}: one would be taken for a folder of the other's files; "
                    "choose another name; nothing was changed"
                )

    def check_dataset(self, path: str) -> None:
        """Refuse a dataset whose folders can't be listed: what is in them could be what is changed.

        Raises
        ------
        PackError
        """
        for folder in (path, layout.join(path, layout.PACKED_ANNOTATIONS)):
            listed = self._folders.get(folder)
            if listed is None:
                self.check_kind(folder, is_folder=True)
            elif listed.error is not None:
                raise PackError(
                    f"{folder}: can't be listed ({listed.error.strerror or listed.error}), so it isn't known what "
                    "would be changed; nothing was"
                )

    def why_unseen(self, dataset: str) -> str:
        """Why a dataset of this name or path may be there and not be seen; empty where it can't be."""
        for path, folder in self._folders.items():
            if (
                folder.error is not None
                and layout.may_hold_datasets(path, self._paths)
                and layout.may_be_in(path, dataset)
            ):
                return f"{path}: can't be listed ({folder.error.strerror or folder.error})"
        return ""

    def check_all_seen(self) -> dict[str, Folder]:
        """Refuse a project of which something can't be seen that could need a blob: a folder, or one behind a link.

        Returns
        -------
        dict
            Path -> folder, of all that there are.

        Raises
        ------
        PackError
        """
        for path, folder in self._folders.items():
            if folder.error is not None:
                refuse_unlisted(path or self.root, folder.error)
            for entry in folder.entries:
                full = layout.join(path, entry.name)
                if entry.kind == "link" and self._may_be_a_dataset(full):
                    raise PackError(
                        f"{full}: is a symbolic link to {entry.target}, which isn't looked at, so it isn't known "
                        "which blobs it needs; nothing was changed"
                    )
        folders = {folder.path: folder for folder in self.storage.walk(follow_links=False)}
        for path, folder in folders.items():  # again: what was listed before may not be now
            if folder.error is not None and may_hold_offsets(path):
                refuse_unlisted(path or self.root, folder.error)
        for path in misplaced_pickles(folders, self.datasets.values()):
            beside, _, name = path.rpartition("/")
            stem = name.removesuffix(layout.OFFSETS_SUFFIX)
            if stem in self.blobs(layout.BLOB_DIR)[0] or stem in self.blobs(beside)[0]:
                raise PackError(
                    f"{path}: says which bytes of a blob are needed, and isn't where a dataset's offsets lie; move it "
                    "into the folder of its dataset, or remove it; nothing was changed"
                )
        return folders

    def _may_be_a_dataset(self, link: str) -> bool:
        full = os.path.join(self.root, link)
        try:
            os.stat(full)
        except OSError as error:
            if error.errno == errno.ELOOP:  # it leads to itself
                return False
            if not self.storage.escapes(link):  # a dataset that comes back is where it lies, with a link or without
                return False
            return layout.blob_stem(link) is None and not layout.is_offsets(link)  # dangling: a disk that is away
        return os.path.isdir(full) and self.storage.escapes(link)

    def folder(self, path: str) -> Folder | None:
        """A directory as it was when it was first asked for; None where there is none."""
        return self._folders.get(path)

    def side_folders(self, dataset: str) -> list[str]:
        """Names of the folders of a dataset that have files of images: ``ann``, ``meta`` and so on.

        Raises
        ------
        PackError
            One of them, or that of the images, is a symbolic link, or can't be listed: what belongs to an image isn't
            known.
        """
        if dataset in self._side:
            return self._side[dataset]
        listed = self._folders.get(dataset)
        entries = listed.entries if listed is not None else []
        found = sorted(e.name for e in entries if e.kind == "directory" and is_side_folder(e.name))
        for entry in entries:
            if (entry.target or entry.kind == "other") and (entry.name == layout.ITEMS or is_side_folder(entry.name)):
                self.refuse_links(layout.join(dataset, entry.name))
        for name in found:
            below = self._folders.get(layout.join(dataset, name))
            if below is not None and below.error is not None:
                raise PackError(
                    f"{below.path}: can't be listed ({below.error.strerror or below.error}), so it isn't known what "
                    "belongs to an image; nothing was changed"
                )
        self._side[dataset] = found
        return found

    # -- offsets ---------------------------------------------------------------------------------------------

    def pickles(self, dataset: str) -> list[Pickle]:
        """The offsets files of a dataset."""
        self.check_dataset(dataset)
        layout_of = layout.join(dataset, layout.PACKED_ANNOTATIONS)
        self._folders.get(layout_of)
        found = find_pickles(self._folders, dataset)
        for pickle in found:
            self.check_kind(pickle.path)
            self._check_not_emptied(pickle)
        return found

    def _check_not_emptied(self, pickle: Pickle) -> None:
        """Refuse an offsets file of no bytes, whose blob has members: it was cut off before its first one."""
        if pickle.path in self._with_bytes:
            return
        message = ""
        with suppress(OSError):  # who reads one of the two is told
            blob = self.blobs(pickle.blobs)[0].get(pickle.stem)
            if os.path.getsize(os.path.join(self.root, pickle.path)) == 0 and blob is not None:
                message = pairing.emptied(pickle.path, blob, self.storage.read_range(blob, 0, pairing.BLOCK))
        if message:
            raise PackError(f"{message}; nothing was changed")
        self._with_bytes.add(pickle.path)

    def all_pickles(self) -> list[Pickle]:
        """The offsets files of all datasets."""
        return [pickle for path in self.datasets.values() for pickle in self.pickles(path)]

    def blobs(self, folder: str) -> tuple[dict[str, str], list[str]]:
        """The blobs in a folder, see `blobdir.discovery.parts.find_blobs`."""
        if folder not in self._blobs:
            listed = self._folders.get(folder)
            if listed is not None and listed.error is not None:
                raise PackError(
                    f"{folder}: can't be listed ({listed.error.strerror or listed.error}); nothing was changed"
                )
            if listed is None:
                self.check_kind(folder, is_folder=True)
            self._blobs[folder] = find_blobs(listed) if listed is not None else ({}, [])
        return self._blobs[folder]

    def blob_of(self, pickle: Pickle) -> str:
        """Path of the blob that an offsets file is of; PackError where it's missing, or leads out of the project."""
        path = self.blobs(pickle.blobs)[0].get(pickle.stem)
        if path is None:
            raise PackError(
                f"{pickle.path}: its blob {pickle.blobs}/{pickle.stem}.tar is missing; put it back first; nothing was "
                "changed"
            )
        if self.storage.escapes(path):
            raise PackError(f"{path}: is a link that leads outside the project; nothing was changed")
        return path

    def tables(self, pickle: Pickle, *, attributes: bool = False) -> Iterator[tuple[bytes, OffsetsTable]]:
        """The entries of an offsets file, in pieces, see `blobdir.offsets.streaming.iter_offsets`."""
        return self.tables_of(pickle.path, attributes=attributes)

    def tables_of(self, path: str, *, attributes: bool = False) -> Iterator[tuple[bytes, OffsetsTable]]:
        """`tables` of an offsets file that is given by its path."""
        if self.storage.escapes(path):
            raise PackError(f"{path}: is a link that leads outside the project; nothing was changed")
        return iter_offsets(os.path.join(self.root, path), attributes=attributes)

    def check_fit(self, pickle: Pickle, table: OffsetsTable, rows: Iterable[int] | None = None) -> None:
        """Refuse entries that don't fit their blob: header, size and name agree, or nothing is known of them.

        Raises
        ------
        PackError
            The first one that doesn't, or the blob is missing.
        """
        path = self.blob_of(pickle)
        try:
            if path not in self._records:
                self._records[path] = pairing.blob_record(path, self.storage.stat(path))
            blob = self._records[path]
            head = self.storage.read_range(path, 0, pairing.BLOCK)
        except (OSError, BlobdirError) as error:
            raise PackError(f"{path}: can't be read: {error}; nothing was changed") from error
        chosen = range(len(table)) if rows is None else list(rows)
        defect = pairing.blob_defect(path, head) or pairing.range_defect(
            blob, pickle.path, table.take(np.asarray(chosen, np.intp))
        )
        defect = defect or pairing.mismatch(self.storage, blob, pickle.path, table, chosen)
        if defect is not None:
            raise PackError(f"{defect.message}; nothing was changed")

    # -- names -----------------------------------------------------------------------------------------------

    def origins(self, dataset: str, names: Collection[str], *, annotations: bool = False) -> dict[str, Origin]:
        """Everything that makes some names of a dataset; those that aren't there have empty origins.

        Parameters
        ----------
        dataset : str
            Path.
        names : collection of str
            Of images; or of annotations, ``a.jpg.json``.
        annotations : bool

        Raises
        ------
        PackError, OffsetsError, OSError
            Something of the dataset can't be read, so it isn't known.
        """
        kind = layout.ANNOTATIONS if annotations else layout.ITEMS
        shown = layout.join(dataset, kind)
        found = {name: Origin() for name in names}
        wanted = {name.encode("utf-8", "surrogateescape"): name for name in names}
        for pickle in self.pickles(dataset):
            if pickle.shown != shown:
                continue
            for _, table in self.tables(pickle, attributes=True):
                for row, raw in enumerate(table.names()):
                    if raw in wanted:
                        name, start, end = wanted[raw], int(table.start[row]), int(table.end[row])
                        found[name].entries.append(Entry(pickle, name, start, end, table.state(row)))
        for name, origin in found.items():
            if self.is_file(f"{shown}/{name}"):
                origin.file = f"{shown}/{name}"
        return found

    def check_free(self, dataset: str, names: Collection[str]) -> None:
        """Refuse names of new images that are folders already, or would have to be in a file.

        Raises
        ------
        UsageError
        """
        shown = layout.join(dataset, layout.ITEMS)
        wanted = {name.encode("utf-8", "surrogateescape") for name in names}
        parents = {folder for name in names for folder in layout.above(name)}
        for name, origin in self.origins(dataset, parents).items():
            if origin:
                raise UsageError(f"{shown}/{name}: is an image, so nothing can be in it; nothing was changed")
        for name in names:
            if self.is_folder(f"{shown}/{name}"):
                raise UsageError(f"{shown}/{name}: is a folder; nothing was changed")
        for pickle in self.pickles(dataset):
            for _, table in self.tables(pickle) if pickle.shown == shown else ():
                if not (table.arena == ord("/")).any():
                    continue
                for raw in table.names():
                    if not wanted.isdisjoint(raw[:at] for at, char in enumerate(raw) if char == ord("/")):
                        raise UsageError(f"{shown}/{os.fsdecode(raw)}: is there, in a folder of an image's name")

    @cached_property
    def survey(self) -> Survey:
        """Links, stems and folders of the project, as they are when one of them is asked for first.

        Raises
        ------
        PackError
            A folder can't be listed.
        """
        survey = Survey(self.storage, self._paths)
        survey.check_listed()
        return survey

    def survey_anew(self) -> Survey:
        """`survey`, as it is now."""
        vars(self).pop("survey", None)
        return self.survey

    def check_not_linked(self, paths: Collection[str], *, anew: bool = True) -> None:
        """Refuse to remove files that symbolic links of the project lead to, which would lead nowhere then.

        Parameters
        ----------
        paths : collection of str
        anew : bool
            Whether links are looked for again, if they were long ago.

        Raises
        ------
        PackError
        """
        going = {os.path.realpath(os.path.join(self.root, path)) for path in paths if self.is_file(path)}
        survey = self.survey_anew() if going and anew else self.survey
        for link, target in survey.links.items() if going else ():
            if link not in paths and target in going:
                raise PackError(
                    f"{link}: is a symbolic link to a file that was to go; remove it "
                    "first, or put a file there; nothing was changed"
                )

    def check_origins(self, origins: Iterable[Origin]) -> None:
        """Refuse where an entry doesn't fit its blob."""
        grouped: dict[Pickle, list[Entry]] = {}
        for origin in origins:
            for entry in origin.entries:
                grouped.setdefault(entry.pickle, []).append(entry)
        for pickle, entries in grouped.items():
            unique = dict.fromkeys((e.name, e.start, e.end) for e in entries)
            names = dict.fromkeys(name for name, _, _ in unique)
            if len(names) != len(unique):
                raise PackError(
                    f"{pickle.path}: one name stands in it with different ranges, so it isn't known what it means; "
                    "mend it first; nothing was changed"
                )
            self.check_fit(pickle, OffsetsTable.from_entries(unique))

    def called(self, dataset: str, stems: Collection[str]) -> dict[str, list[str]]:
        """Images that are called like one of `stems`, as a whole or without their extension."""
        found: dict[str, dict[str, None]] = {stem: {} for stem in stems}
        keys = {stem.encode("utf-8", "surrogateescape") for stem in stems}
        few = tuple(keys) if len(keys) < FEW else ()
        for raw in self.image_names(dataset) if stems else ():
            if raw.startswith(few) if few else (raw in keys or splitext(raw)[0] in keys):
                name = raw.decode("utf-8", "surrogateescape")
                for key in (name, splitext(name)[0]):
                    if key in found:
                        found[key][name] = None
        return {stem: list(images) for stem, images in found.items()}

    def image_names(self, dataset: str) -> Iterator[bytes]:
        """Names of the images of a dataset, some more than once: those of entries, then those of files."""
        return (name for name, is_image in self.item_names(dataset) if is_image)

    def item_names(self, dataset: str) -> Iterator[tuple[bytes, bool]]:
        """Names of what there is beside the images as well, and whether it's one: members are, whatever their names."""
        shown = layout.join(dataset, layout.ITEMS)
        for pickle in self.pickles(dataset):
            if pickle.shown == shown:
                for _, table in self.tables(pickle):
                    yield from zip(table.names(), repeat(True))
        for path, _ in self.all_below(shown):
            yield path[len(shown) + 1 :].encode("utf-8", "surrogateescape"), is_image_name(path)

    def is_there(self, dataset: str, path: str) -> bool:
        """Whether a dataset has a side file, a folder of such, or a packed annotation at a path relative to it."""
        full = f"{dataset}/{path}"
        return self.is_file(full) or self.is_folder(full) or self.is_packed(dataset, path)

    def is_packed(self, dataset: str, path: str) -> bool:
        """Whether a dataset has a packed annotation at a path relative to it."""
        kind, _, name = path.partition("/")
        return kind == layout.ANNOTATIONS and name in self._packed_names(dataset)

    def _packed_names(self, dataset: str) -> frozenset[str]:
        """Names of the packed annotations of a dataset: one pass, however many are asked for."""
        if dataset not in self._packed:
            shown = layout.join(dataset, layout.ANNOTATIONS)
            pickles = [pickle for pickle in self.pickles(dataset) if pickle.shown == shown]
            names = (raw for pickle in pickles for _, table in self.tables(pickle) for raw in table.names())
            self._packed[dataset] = frozenset(raw.decode("utf-8", "surrogateescape") for raw in names)
        return self._packed[dataset]
