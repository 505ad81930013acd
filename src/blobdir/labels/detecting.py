"""Which format the labels in a folder have, by what is in the files."""

from __future__ import annotations

from itertools import islice
from posixpath import basename
from typing import TYPE_CHECKING, Final

from blobdir.errors import UsageError
from blobdir.labels.bystanders import is_captions
from blobdir.labels.files import LabelFiles, packed_in
from blobdir.labels.foreign import format_named
from blobdir.labels.formats import FORMATS, LOOKED_AT
from blobdir.labels.formats.yolonames import NO_LABELS

if TYPE_CHECKING:
    import os

_COCO: Final = "coco"
_OTHERS: Final = (".jsonl", ".ndjson", ".odgt", ".manifest", ".geojson", ".parquet", ".tfrecord", ".mat", ".xlsx")
"""Endings of label files in formats that nobody reads; in a folder with no other labels one of them is named."""


def detect(folder: str | os.PathLike[str] | LabelFiles) -> dict[str, str]:
    """The formats that the label files of a folder have.

    Parameters
    ----------
    folder : path or LabelFiles
        Or one label file.

    Returns
    -------
    dict
        Name of each format -> a file that says so, below the folder. Empty: no file is known as one of labels.
    """
    files = folder if isinstance(folder, LabelFiles) else LabelFiles.below(str(folder))
    return {name: path for name, one in FORMATS.items() if (path := one.found(files))}


def captions_of_coco(files: LabelFiles) -> list[str]:
    """COCO's files, if all that there are have captions and no shapes."""
    found = []
    for path in islice(files.ending(".json"), LOOKED_AT):
        head = files.head(path)
        if FORMATS[_COCO].knows(path, head):
            if not is_captions(head):
                return []
            found.append(path)
    return found


def format_of(path: str, head: bytes) -> str:
    """The format of labels that one file holds; empty where it's none that is known.

    Parameters
    ----------
    path : str
        Its extension counts.
    head : bytes
        As `blobdir.labels.files.head_of` gives it.
    """
    return next((name for name, one in FORMATS.items() if one.knows(path, head)), "")


def fault_of(name: str, path: str, head: bytes) -> str:
    """Why a file that is called like those of a format isn't read, by how it begins; empty: nothing says so."""
    if other := format_named(path, head):
        return f"has labels in a format that isn't read, {other}. Convert it to one that is, as COCO"
    if packed := packed_in(head):
        return f"is no text: it's packed ({packed}), so it isn't read. Give it unpacked, as text"
    if b"\0" in head and not path.lower().endswith(".txt"):
        return "is no text that can be read, as it has NUL in it, and may have labels. Save it as UTF-8"
    return FORMATS[name].fault(path, head)


def fault_in(files: LabelFiles, *names: str) -> str:
    """The first file of some formats, or of all, that isn't read though it looks like labels, and why; else nothing."""
    for name in names or FORMATS:
        some = islice(FORMATS[name].paths(files), LOOKED_AT)
        faults = ((path, fault_of(name, path, files.head(path))) for path in some)
        if found := next((f"{path} {fault}" for path, fault in faults if fault), ""):
            return found
    return ""


def chosen(given: str, files: LabelFiles) -> str:
    """The format that is meant: the one that was given, or the only one that is found for ``auto``.

    Raises
    ------
    UsageError
        None is found, or several are; the message names them.
    """
    if given != "auto":
        return given
    found = detect(files)
    if not found:
        names = ", ".join(FORMATS)
        kinds = {kind for one in FORMATS.values() for kind in one.kinds}
        tried = next((path for path in files.ending(*kinds, *_OTHERS) if not NO_LABELS.match(basename(path))), "")
        tried = f" ({fault_in(files) or f'{tried} is something else'})" if tried else ""
        raise UsageError(
            f"{files.name}: holds no labels that are known{tried}; there are {names}: choose one with --labels, "
            "or folders, where the images' folders are their tags"
        )
    if len(found) > 1 and _COCO in found and captions_of_coco(files):
        del found[_COCO]
    if len(found) > 1:
        shown = " and ".join(f"{FORMATS[name].title} ({path})" for name, path in found.items())
        choose = " or ".join(f"--labels {name}" for name in found)
        raise UsageError(f"{files.name}: holds labels of {shown}; choose with {choose}")
    return next(iter(found))
