"""Which folder is what in a blob project. Pure functions over names; the rules of the format, see docs/formats."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from posixpath import splitext
from typing import TYPE_CHECKING

from blobdir import filenames, projectlock

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from blobdir.sources import Folder

OFFSETS_SUFFIX = filenames.OFFSETS_SUFFIX
BLOB_DIR = filenames.BLOB_DIR
STATE_DIR = projectlock.STATE_DIR
NAME_MAX_BYTES = 255
META = "meta.json"
ITEMS = filenames.ITEMS
ANNOTATIONS = filenames.ANNOTATIONS
PACKED_ANNOTATIONS = filenames.PACKED_ANNOTATIONS
NESTED = "datasets"

# A folder whose name ends so is no dataset to the SDK. After ``Project._read``, SDK 6.74.51.
_SDK_ENDINGS = ("ann", "blob", "datasets", "img", "img_info", "meta", "seg")

is_item_folder = filenames.is_item_folder


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders of a project by role.

    Attributes
    ----------
    datasets : list of str
        Paths of the datasets, in order.
    hidden : set of str
        Folders that aren't shown, nor anything below them.
    """

    datasets: list[str]
    hidden: set[str]


def join(*parts: str) -> str:
    """Join path components; empty ones count for nothing."""
    return "/".join(part for part in parts if part)


def above(path: str) -> list[str]:
    """The folders that a path, or a name with folders in it, lies in; the outermost first, without the root."""
    return [*filenames.parents_of(path)][::-1]


def is_offsets(name: str) -> bool:
    """Whether a file name is that of an offsets pickle."""
    return name.endswith(OFFSETS_SUFFIX)


def blob_stem(name: str) -> str | None:
    """Stem of a blob's file name; None where it isn't one. ``.TAR`` counts as well."""
    stem, extension = splitext(name)
    return stem if extension.lower() == ".tar" else None


def labelled_by(folder: str) -> str:
    """The dataset whose packed annotations lie in a folder, as its path says; empty where they can't.

    ``train/ann.blob`` is of ``train``; but ``ann.blob`` and ``train/datasets/ann.blob`` are datasets of that name.
    Who knows all datasets of a project comes to the same, see `read_layout`.
    """
    dataset, _, name = folder.rpartition("/")
    if name != PACKED_ANNOTATIONS:
        return ""
    in_container = False
    for part in dataset.split("/")[1:]:
        in_container = part == NESTED and not in_container
    return "" if in_container else dataset


def blobs_of(pickle: str) -> str:
    """Folder of the blob that an offsets file is of: beside it for packed annotations, else ``blob``."""
    folder = pickle.rpartition("/")[0]
    return folder if labelled_by(folder) else BLOB_DIR


def blob_of_offsets(pickle: str) -> str:
    """Path of the blob that an offsets file is of, but for its extension."""
    return f"{blobs_of(pickle)}/{pickle.rpartition('/')[2].removesuffix(OFFSETS_SUFFIX)}"


def shown_by(pickle: str) -> str:
    """Folder in which the members are shown that an offsets file names: ``train/img``, or ``train/ann``."""
    folder = pickle.rpartition("/")[0]
    dataset = labelled_by(folder)
    return join(dataset, ANNOTATIONS) if dataset else join(folder, ITEMS)


def blob_keys(paths: Iterable[str]) -> dict[str, str]:
    """Path of each blob and of each offsets pickle -> a key that both have in common, if they belong together.

    A dataset's pickle belongs to the blob of its name in ``blob/``, one of packed annotations to that beside it,
    whatever the case of ``.tar``.
    """
    return dict(_keys(paths))


def _keys(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        folder, _, name = path.rpartition("/")
        if is_offsets(name):
            yield path, f"{blobs_of(path)}/{name.removesuffix(OFFSETS_SUFFIX)}"
        elif (folder == BLOB_DIR or labelled_by(folder)) and (stem := blob_stem(name)) is not None:
            yield path, f"{folder}/{stem}"


def dataset_name(path: str) -> str:
    """Name of a dataset as its users write it: ``train/datasets/hard`` is ``train/hard``."""
    parts = path.split("/")
    name: list[str] = []
    may_drop = False
    for part in parts[:-1]:
        if part == NESTED and may_drop:
            may_drop = False  # what follows a container is a name, whatever it is called
        else:
            name.append(part)
            may_drop = True
    return "/".join([*name, parts[-1]])


def dataset_place(name: str) -> str | None:
    """Where a dataset lies that its users call so, by name or path: ``train/hard`` in ``train/datasets/hard``.

    Returns
    -------
    str or None
        None: there can't be a dataset of this name, since nobody would see what is in it.
    """
    parts = dataset_name(name.removesuffix("/")).split("/")
    if parts[0] in (BLOB_DIR, META) or any(
        part in ("", ".", "..", STATE_DIR) or "\0" in part or len(os.fsencode(part)) > NAME_MAX_BYTES for part in parts
    ):
        return None
    return f"/{NESTED}/".join(parts)


def display_names(paths: Iterable[str]) -> dict[str, str]:
    """Name -> path of the datasets of a project.

    Where two would have one name, as ``train/hard`` and ``train/datasets/hard``, the nested one is called by its path.
    """
    named = [(dataset_name(path), path) for path in paths]
    count = Counter(name for name, _ in named)
    return {path if count[name] > 1 else name: path for name, path in named}


def holds_any(names: Iterable[str], subfolders: set[str]) -> bool:
    """Whether what a folder holds, and which folders of that, makes it a dataset."""
    return bool(subfolders & filenames.MAKE_DATASET) or any(map(is_offsets, names))


def holds_items(folder: Folder, datasets: Iterable[str]) -> bool:
    """Whether the root of what was listed is itself what a dataset is, with no regard to the datasets below it."""
    # The pickles in ann.blob/ make it look like a dataset itself, seen from there.
    others = set(datasets) - {PACKED_ANNOTATIONS}
    below = {entry.name for entry in folder.entries if entry.kind == "directory"} - others
    return holds_any((entry.name for entry in folder.entries), below)


def sdk_refusal(path: str) -> tuple[str, str] | None:
    """Why the SDK takes a dataset for none: a folder of its path, and how its name ends; None where it takes it."""
    parts = path.split("/")
    for number, part in enumerate(parts, 1):
        ending = next((end for end in _SDK_ENDINGS if part.endswith(end)), "")
        if ending and (number == len(parts) or ending != NESTED):  # below those that end so it does look for others
            return part, ending
    return None


def is_folder_of_format(path: str) -> bool:
    """Whether a path is called like a folder that the format has: ``blob``, ``train/img``, ``train/datasets``.

    Of names that only begin like those of folders (``masks_x``), what has an extension is called like a file: the
    offsets file of a dataset ``masks_x``, or ``masks_x.txt``.
    """
    parent, _, name = path.rpartition("/")
    if not parent:
        return name == BLOB_DIR
    return name == NESTED or filenames.is_own_folder(name) or (is_item_folder(name) and not splitext(name)[1])


def belongs_a_file(folder: str, datasets: Collection[str]) -> bool:
    """Whether what lies in a folder of a project is a file of an image, or a folder of such."""
    parts = folder.split("/")
    return any(is_item_folder(parts[i]) and "/".join(parts[:i]) in datasets for i in range(1, len(parts)))


def hides(dataset: str, other: str) -> bool:
    """Whether `other` can't be a dataset where `dataset` is one: it lies in its ``meta/``, ``img/`` or the like."""
    return other.startswith(f"{dataset}/") and is_item_folder(other[len(dataset) + 1 :].split("/", maxsplit=1)[0])


def may_hold_datasets(folder: str, datasets: Iterable[str]) -> bool:
    """Whether there can be datasets in a folder that can't be listed, or it can be one.

    Parameters
    ----------
    folder : str
    datasets : iterable of str
        Paths of those that are known.
    """
    top = folder.split("/", maxsplit=1)[0]
    return top not in (BLOB_DIR, STATE_DIR) and not any(hides(dataset, folder) for dataset in datasets)


def may_be_in(folder: str, name: str) -> bool:
    """Whether a folder can be, or hold, the dataset that is called `name`: by its name or path."""
    parent, _, last = folder.rpartition("/")
    own = {folder, dataset_name(folder)}
    prefixes = [f"{path}/" for path in own | ({dataset_name(parent)} if parent and last == NESTED else set())]
    return not folder or name in own or name.startswith(tuple(prefixes))


def read_layout(folders: Mapping[str, Folder]) -> Layout:
    """Find the datasets.

    A dataset is a folder that holds ``img/``, ``ann/``, ``ann.blob/`` or an offsets pickle, at any depth and of any
    name, except: the root, ``blob/``, anything in a dataset's own item folders, and a container called ``datasets``
    below the root.
    """
    datasets: list[str] = []
    hidden: set[str] = set()
    todo = [("", False)]
    while todo:
        path, in_container = todo.pop()
        folder = folders.get(path)
        if folder is None:
            continue
        name = path.rpartition("/")[2]
        subfolders = {entry.name for entry in folder.entries if entry.kind == "directory"}
        container = name == NESTED and "/" in path and not in_container
        is_dataset = bool(path) and not container and holds_any((e.name for e in folder.entries), subfolders)
        if is_dataset:
            datasets.append(path)
        for below in sorted(subfolders, reverse=True):
            full = join(path, below)
            if not path and below in (BLOB_DIR, STATE_DIR):
                hidden.add(full)
            elif is_dataset and is_item_folder(below):
                if below == PACKED_ANNOTATIONS:
                    hidden.add(full)
            else:
                todo.append((full, container))
    return Layout(datasets, hidden)
