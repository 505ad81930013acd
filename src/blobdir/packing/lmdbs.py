"""LMDB stores as a source of packing: keys are paths, as those of files in a plain folder, and values are images.

Values are bytes that nobody unpickles. What a value is, its first bytes say, and only if these say nothing, its key: a
key needs no extension, and gets the one of what it holds. Annotations of Supervisely under an image's key with
``.json`` behind it, and classes under ``meta.json``, are the images'. Which folders of keys are datasets, a store says
that ``blobdir convert --to lmdb`` has written; in one of others they are those of a plain folder.
What else people keep beside images (pickled lists of keys, numbers, JSON) is counted by kind, with one key of each.

All of it is read in a process of its own: a store that is damaged inside can end the process that reads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from posixpath import basename, splitext
from typing import TYPE_CHECKING, Final, NamedTuple

from blobdir.discovery import layout
from blobdir.errors import AnnotationError, UsageError
from blobdir.lmdbvalues import HIDDEN, read_values
from blobdir.packing.classfolders import dataset_folder, place_of, tags_of
from blobdir.packing.labelled import place_of_the_rest
from blobdir.packing.listing import DatasetItems, Listing
from blobdir.packing.metadata import NOT_CHANGED, check_meta
from blobdir.packing.naming import too_long
from blobdir.packing.report import Problem
from blobdir.processes import Job, Workers
from blobdir.tarwriting.lmdbs import Address, dataset_of
from blobdir.tarwriting.reading import texts_of
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blobdir.lmdbvalues import Values
    from blobdir.packing.columns import TextColumn
    from blobdir.packing.report import PackOptions


class Place(NamedTuple):
    """Where an image of a store is in the project, and its tags; without a dataset, it's in one with the others."""

    dataset: str
    name: str
    tags: tuple[str, ...]


Where = Callable[[str, str], Place]
"""By an image's key, and what it's called by that."""
_ENDINGS: Final = (".lmdb", ".mdb")


def list_apart(address: str, options: PackOptions) -> Listing:
    """Look at a store, in a process of its own.

    Raises
    ------
    NotAProjectError, DataError, UsageError, BusyError
        See `blobdir.tarwriting.lmdbs.Store`.
    SourceChangedError
        Somebody has written to it meanwhile.
    WorkerError
        It's damaged so much that reading it has ended the process.
    """
    if options.labels not in ("", "folders"):
        raise UsageError(f"{address}: labels are read from files beside images, and beside these there are none")
    given = Address.of(address)
    known = str(Address(os.path.realpath(given.path), given.db))
    with Workers(1) as workers:
        ((_, values),) = workers.run([Job(read_values, (known,), f"reading {address}")])
    return _listing_of(known, values, options)


def _listing_of(address: str, values: Values, options: PackOptions) -> Listing:
    """What is to be packed; its values are told by the transaction that has put the last of them there."""
    listing = Listing(address)
    if not values.sizes and values.databases:
        raise UsageError(f"{address}: its images are in databases; name one: {address}?db={values.databases[0]}")
    if values.databases and not Address.of(address).db:
        for db in values.databases:
            text = f"is a database in the store, and isn't packed; pack it by itself: {address}?db={db}"
            listing.problems.append(Problem("database", db, text))
    taken = DatasetItems("", address)
    columns = texts_of(values.keys), texts_of(values.names), texts_of(values.labels)
    for key, name, label, size in zip(*columns, values.sizes, strict=True):
        listing.found += 1
        if wrong := too_long(os.fsdecode(name)):
            listing.problems.append(Problem("name", os.fsdecode(key), wrong))
        else:
            taken.add(os.fsdecode(key), os.fsdecode(name), size, values.stamp)
            taken.annotations.append(os.fsdecode(label) or None)
    if values.meta is not None:
        try:
            listing.meta = check_meta(values.meta, is_certain=True)
        except AnnotationError as error:
            why = str(error).removeprefix(f"{layout.META}: ").removesuffix(NOT_CHANGED)
            text = f"can't be used: {why}; classes are those that annotations name"
            listing.problems.append(Problem("meta", layout.META, text))
    for kind, (first, count) in values.others.items():
        text = f"{counted(count, 'value')}, as this one, not packed: {kind}"
        listing.problems.append(Problem("hidden" if kind == HIDDEN else "name", os.fsdecode(first), text))
    _note_splits(taken.sources, listing)
    place = _places(listing, options) if values.datasets is None else _marked_places(values.datasets, listing, options)
    _into_datasets(taken, listing, options, place)
    return listing


def _folder_of(key: str) -> str:
    """The folder of a key that is a path, spelled as that of a file is."""
    return "/".join(part for part in key.split("/")[:-1] if part not in ("", "."))


def _note_splits(keys: TextColumn, listing: Listing) -> None:
    """Note which folders there are, each after the one that it lies in."""
    inside: dict[str, dict[str, None]] = {}
    for folder in dict.fromkeys(map(_folder_of, keys)):
        above = ""
        for part in folder.split("/") if folder else ():
            inside.setdefault(above, {})[part] = None
            above = layout.join(above, part)
    for folder in sorted(inside, key=lambda path: (path.count("/") if path else -1, path)):
        listing.splits.note(folder, inside[folder])


def _places(listing: Listing, options: PackOptions) -> Where:
    """Where images are of a store of others: as in a plain folder, with the other folders as tags."""
    known: dict[str, Place] = {}

    def place(key: str, name: str) -> Place:
        folder = _folder_of(key)
        if folder not in known:
            top = dataset_folder(folder, options, listing.splits)
            tags = tags_of(f"{folder}/" if folder else "", options, listing.splits)
            known[folder] = Place(place_of(options.dataset) if options.dataset else basename(top), "", tuple(tags))
            listing.tags.update(tags)
        return known[folder]._replace(name=name)

    return place


def _marked_places(datasets: Sequence[str], listing: Listing, options: PackOptions) -> Where:
    """Where images are of a store that is marked: in its datasets; folders of ``img/`` are in front of their names."""
    names = {name: place_of(name) for name in datasets}

    def place(key: str, name: str) -> Place:
        dataset = dataset_of(key, names)
        folders = _folder_of(key)[len(dataset) :].strip("/")
        if folders:
            name = f"{folders.replace('/', '_')}_{name}"
            listing.problems.append(Problem("renamed", key, f"is in a folder of its dataset, and {name} here"))
        own = names.get(dataset, "")
        return Place(place_of(options.dataset) if options.dataset else own, name, ())

    return place


def _into_datasets(taken: DatasetItems, listing: Listing, options: PackOptions, where: Where) -> None:
    """Have each image in its dataset."""
    places = [where(source, name) for source, name in zip(taken.sources, taken.names, strict=True)]
    rest = _own_name(listing.root)
    if options.labels == "folders":
        rest = place_of_the_rest(rest, {place.dataset for place in places} - {""})
    found: dict[str, DatasetItems] = {}
    for i, (source, place) in enumerate(zip(taken.sources, places, strict=True)):
        dataset = place.dataset or rest
        items = found.setdefault(dataset, DatasetItems(dataset, listing.root))
        items.add(source, place.name, taken.sizes[i], taken.stamps[i])
        items.tags.append(place.tags)
        items.annotations.append(taken.annotations[i])
    listing.datasets = [found[name] for name in sorted(found)]


def _own_name(address: str) -> str:
    """What a dataset is called that has no folder: as the database, or else the store."""
    path, db = Address.of(address)
    stem, ending = splitext(basename(path))
    own = stem if ending.lower() in _ENDINGS else basename(path)
    return db.rpartition("/")[2] or own or "images"
