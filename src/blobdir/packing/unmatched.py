"""Labels that somebody gives with images: which of them no image uses, and which images find none.

Whoever takes labels from somewhere (`pack`, `add`, `convert`) asks here, and says both. An image uses
``a.jpg.json``, or else ``a.json``, as in a dataset's ``ann/`` (`blobdir.packing.sidefiles`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from posixpath import splitext
from typing import TYPE_CHECKING, Final

import numpy as np

from blobdir.discovery import layout
from blobdir.errors import UsageError
from blobdir.filenames import is_image_name, is_left_anywhere
from blobdir.packing.report import Problem
from blobdir.packing.sidefiles import FOLDERS, side_candidates
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

_SUFFIX: Final = FOLDERS[layout.ANNOTATIONS]


def unmatched(names: Sequence[str], labels: Sequence[str]) -> tuple[list[int], list[int]]:
    """Numbers of the images that have no label, and of the labels that no image uses.

    Names are compared by their hashes, which takes a tenth of the memory; two of one hash are one in 10**13.

    Parameters
    ----------
    names : sequence of str
        Of images of one dataset.
    labels : sequence of str
        Names of files.
    """
    known, own = _hashes(labels), _hashes(f"{name}{_SUFFIX}" for name in names)
    without = np.flatnonzero(~np.isin(own, known))
    by_stem = _hashes(f"{splitext(names[i])[0]}{_SUFFIX}" for i in without.tolist())
    used = np.concatenate([own, by_stem])
    return without[~np.isin(by_stem, known)].tolist(), np.flatnonzero(~np.isin(known, used)).tolist()


def _hashes(names: Iterable[str]) -> NDArray[np.int64]:
    return np.fromiter((hash(name) for name in names), np.int64)


def why_unused(labels: Collection[str], names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Labels that no image uses, as `unmatched` finds them, each with the reason."""
    bases = {label.removesuffix(_SUFFIX) for label in labels}
    folded = {base.casefold() for base in bases}
    stems: dict[str, str] = {}
    others: dict[str, str] = {}
    for name in names:
        for called in (splitext(name)[0], name):
            if called in bases:
                stems[called] = name
            elif called.casefold() in folded:
                others[called.casefold()] = name
    for label in labels:
        base = label.removesuffix(_SUFFIX)
        if base in stems:
            yield label, f"{stems[base]} has {stems[base]}{_SUFFIX}, so nobody uses this one"
        elif other := others.get(base.casefold()):
            yield label, f"no image of these is called so; {other} is, but for upper and lower case"
        else:
            yield label, "no image of these is called so"


@dataclass(slots=True)
class GivenLabels:
    """The labels in a folder that somebody gives with images.

    Attributes
    ----------
    folder : str
        Empty: none was given.
    of : dict
        Name of an image -> path of its label, of those that have one there.
    problems : list of Problem
        What of the folder no image uses (``label-image``), and why that isn't known (``unreadable``).
    """

    folder: str
    of: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def given_labels(folder: str | os.PathLike[str] | None, names: Collection[str]) -> GivenLabels:
    """Look for labels of images in a folder, by the rules of a dataset's ``ann/``.

    Raises
    ------
    UsageError
        There is no such folder; or it's one with labels in its ``ann/``, and none that fits beside that.
    """
    if folder is None:
        return GivenLabels("")
    given = GivenLabels(os.fspath(folder))
    if not os.path.isdir(given.folder):
        raise UsageError(f"{given.folder}: there is no such folder; nothing was added")
    for name in names:
        for one in side_candidates(name, [layout.ANNOTATIONS]):
            place = os.path.join(given.folder, one.path.partition("/")[2])
            if os.path.lexists(place):
                given.of[name] = place
                break
    inner = os.path.join(given.folder, layout.ANNOTATIONS)
    if not given.of and os.path.isdir(inner):
        raise UsageError(
            f"{given.folder}: has no label of these images, and a folder {layout.ANNOTATIONS}: give {inner}; nothing "
            "was added"
        )
    _name_unused(given, names)
    return given


def _name_unused(given: GivenLabels, names: Collection[str]) -> None:
    try:
        with os.scandir(given.folder) as entries:
            kept = [(e.name, e.is_dir()) for e in entries if not is_left_anywhere(e.name)]
    except OSError as error:
        text = f"can't be listed ({error.strerror}): nobody knows which labels in it no image uses"
        given.problems.append(Problem("unreadable", given.folder, text))
        return
    folders = sorted(name for name, is_folder in kept if is_folder and name != layout.ITEMS)
    is_short = len(given.of) < len(names)  # else nobody misses what they may hold
    code = "label-note" if given.of else "label-image"  # where nothing fits, all that is there is unused
    if folders and is_short:
        text = f"labels in {counted(len(folders), 'folder')} in it weren't looked for, as in {folders[0]}"
        given.problems.append(Problem(code, given.folder, text))
    files = sorted(name for name, is_folder in kept if not is_folder and not is_image_name(name))
    used = {os.path.basename(path) for path in given.of.values()}
    # A file system that takes large and small letters for the same has found them under other names.
    found = {name.casefold() for name in used.difference(files)}
    files = [name for name in files if name.casefold() not in found]
    labels = [name for name in files if name.endswith(_SUFFIX)]
    unused = [labels[i] for i in unmatched(list(names), labels)[1]]
    if unused and not is_short:  # labels of a whole set, say, and some of its images
        text = f"{counted(len(unused), 'label')} in it belong to none of these images, as {unused[0]}"
        given.problems.append(Problem("label-note", given.folder, text))
        unused = []
    for name, text in why_unused(unused, names):
        given.problems.append(Problem("label-image", os.path.join(given.folder, name), f"wasn't used: {text}"))
    others = [name for name in files if not name.endswith(_SUFFIX)]
    if others and is_short:
        text = f"{counted(len(others), 'file')} in it not called *{_SUFFIX} weren't used, as {others[0]}"
        given.problems.append(Problem(code, given.folder, text))
