"""LMDB stores as a source of packing: keys are paths, as those of files in a plain folder, and values are images.

Values are bytes that nobody unpickles. What a value is, its first bytes say, and only if these say nothing, its key: a
key needs no extension, and gets the one of what it holds. Annotations of Supervisely under an image's key with
``.json`` behind it, and classes under ``meta.json``, are the images', as ``blobdir convert --to lmdb`` writes them.
What else people keep beside images (pickled lists of keys, numbers, JSON) is counted by kind, with one key of each.

All of it is read in a process of its own: a store that is damaged inside can end the process that reads it.
"""

from __future__ import annotations

import os
from posixpath import basename, splitext
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.errors import AnnotationError, UsageError
from blobdir.lmdbvalues import HIDDEN, META, read_values
from blobdir.packing.classfolders import dataset_folder, place_of, tags_of
from blobdir.packing.labelled import place_of_the_rest
from blobdir.packing.listing import DatasetItems, Listing
from blobdir.packing.metadata import check_meta
from blobdir.packing.naming import too_long
from blobdir.packing.report import Problem
from blobdir.processes import Job, Workers
from blobdir.tarwriting.lmdbs import Address
from blobdir.tarwriting.reading import texts_of
from blobdir.wording import counted

if TYPE_CHECKING:
    from blobdir.lmdbvalues import Values
    from blobdir.packing.columns import TextColumn
    from blobdir.packing.report import PackOptions

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
    taken = DatasetItems("", address)
    columns = texts_of(values.keys), texts_of(values.names), texts_of(values.labels)
    for key, name, label, size in zip(*columns, values.sizes, strict=True):
        listing.found += 1
        if wrong := too_long(os.fsdecode(name)):
            listing.problems.append(Problem("name", os.fsdecode(key), wrong))
        else:
            taken.add(os.fsdecode(key), os.fsdecode(name), size, values.stamp)
            taken.annotations.append(os.fsdecode(label) or None)
    if values.meta:
        try:
            listing.meta = check_meta(values.meta, is_certain=True)
        except AnnotationError:
            values.other("JSON", META)
    for kind, (first, count) in values.others.items():
        text = f"{counted(count, 'value')}, as this one, not packed: {kind}"
        listing.problems.append(Problem("hidden" if kind == HIDDEN else "name", os.fsdecode(first), text))
    _note_splits(taken.sources, listing)
    _into_datasets(taken, listing, options)
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


def _into_datasets(taken: DatasetItems, listing: Listing, options: PackOptions) -> None:
    """Have each image in its dataset, by its folder, with the other folders as tags.

    In a store with annotations, which have the tags, folders are datasets, ``train/hard`` one in another.
    """
    places: dict[str, tuple[str, tuple[str, ...]]] = {}
    is_annotated = any(label is not None for label in taken.annotations)
    for folder in dict.fromkeys(map(_folder_of, taken.sources)):
        if is_annotated:
            places[folder] = place_of(options.dataset or folder) if options.dataset or folder else "", ()
            continue
        top = dataset_folder(folder, options, listing.splits)
        tags = tags_of(f"{folder}/" if folder else "", options, listing.splits)
        places[folder] = (place_of(options.dataset) if options.dataset else basename(top)), tuple(tags)
        listing.tags.update(tags)
    rest = _own_name(listing.root)
    if options.labels == "folders":
        rest = place_of_the_rest(rest, {dataset for dataset, _ in places.values()} - {""})
    found: dict[str, DatasetItems] = {}
    for i, (source, name) in enumerate(zip(taken.sources, taken.names, strict=True)):
        top, shared = places[_folder_of(source)]
        dataset = top or rest
        items = found.setdefault(dataset, DatasetItems(dataset, listing.root))
        items.add(source, name, taken.sizes[i], taken.stamps[i])
        items.tags.append(shared)
        items.annotations.append(taken.annotations[i])
    listing.datasets = [found[name] for name in sorted(found)]


def _own_name(address: str) -> str:
    """What a dataset is called that has no folder: as the database, or else the store."""
    path, db = Address.of(address)
    stem, ending = splitext(basename(path))
    own = stem if ending.lower() in _ENDINGS else basename(path)
    return db.rpartition("/")[2] or own or "images"
