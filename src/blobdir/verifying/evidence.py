"""Which members of a tar a pickle had that can't be read. Removed images stay in their tar: they mustn't come back.

Nothing writes down what was removed. What tells is what goes together: who removes an image removes its annotation,
unless another image needs that too. So these come back, and no others:

=================  ====================================================================================================
pickle             a member comes back if
=================  ====================================================================================================
of images          there is an annotation that can be of no other image: neither of a member of this tar, nor of an
                   image that the dataset shows without this pickle
of annotations     the dataset shows an image that it can be of, by its whole name or by its stem
=================  ====================================================================================================

An image stays out, and is named, if it shares its annotation (``a.json`` of ``a.png`` and ``a.bmp``), if the dataset
shows another one of its name, or if another pickle that can't be read may have had it.

Nothing comes back where there is no such evidence: if two members have one base name, if the dataset has no annotation
at all, if the list of what tells can't be read in full, or if ``.blobdir/released.json`` says that the last image of
the tar was removed. Backups are no evidence: something may have been removed after they were made.

What this can't tell: an annotation that alone was removed, while its image stayed, comes back.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from posixpath import splitext
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.offsets import OffsetsTable
from blobdir.offsets.names import unkeyed
from blobdir.verifying.members import label_copies

if TYPE_CHECKING:
    from collections.abc import Collection

    from blobdir.project import Project
    from blobdir.verifying.members import Members

REMOVED: Final = "{count} have none, as if they had been removed"
SHARED: Final = "{count} can share one, so nobody knows which of them had been removed"
SHOWN: Final = "{count} are there by another pickle, or as files"
DOUBTFUL: Final = "{count} may have been another pickle's that can't be read"


def nameless(
    members: Members, evidence: Evidence, taken: set[str], others: set[str]
) -> tuple[OffsetsTable | None, dict[str, list[str]]]:
    """Entries for a pickle that can't be read, under the base names of the members.

    Parameters
    ----------
    members : Members
    evidence : Evidence
    taken : set of str
        Names that the dataset shows without this pickle.
    others : set of str
        Names of members that other pickles of this dataset may have had.

    Returns
    -------
    OffsetsTable or None
        None where a base name is there more than once: nobody knows which of them had it.
    dict
        Why members are left out -> their names. Without a table, a name that is there more than once.
    """
    table = members.table
    named = evidence.names_of(members)
    times = Counter({name: len(set(table.start[numbers].tolist())) for name, numbers in named.items()})
    twice, most = max(times.items(), key=lambda item: item[1], default=("", 0))
    if most > 1:
        return None, {"": [twice]}
    names = {name: numbers[0] for name, numbers in named.items()}
    out = {**evidence.left_out(names.keys(), taken), **dict.fromkeys(names.keys() & others, DOUBTFUL)}
    out.update(dict.fromkeys(names.keys() & taken, SHOWN))
    left: dict[str, list[str]] = defaultdict(list)
    for name in sorted(out):
        left[out[name]].append(name)
    entries = [
        (os.fsencode(name), int(table.start[number]), int(table.end[number]))
        for name, number in names.items()
        if name not in out
    ]
    return OffsetsTable.from_entries(entries), dict(left)


class Evidence:
    """What a dataset shows that tells which images and annotations it had.

    Parameters
    ----------
    project : Project
    dataset : str
        Path.
    is_packed : bool
        Whether annotations are looked for, and images tell; or the other way round.
    incomplete : set of str
        Folders whose lists are shorter than the truth.

    Attributes
    ----------
    why_not : str
        Why there is no evidence; empty where there is.
    """

    def __init__(self, project: Project, dataset: str, incomplete: set[str], *, is_packed: bool) -> None:
        self._is_packed = is_packed
        self._known: set[str] = set()
        self.why_not = ""
        folder = layout.join(dataset, layout.ITEMS if is_packed else layout.ANNOTATIONS)
        if folder in incomplete:
            self.why_not = (
                f"the list of {folder} isn't complete, so nobody knows what had been removed; mend that first"
            )
        elif is_packed:
            self._known = set(project[dataset].names)
        else:
            self._known = {n.removesuffix(".json") for n in shown_names(project, folder) if n.endswith(".json")}
        if not self._known and not self.why_not:
            what = "images" if is_packed else "annotations"
            self.why_not = f"{dataset} has no {what}, so nobody knows what had been removed"

    def names_of(self, members: Members) -> dict[str, list[int]]:
        """Name that an entry for it would have -> numbers of the members: copies of annotations have none.

        Of a name that is spelled for WebDataset, it's the plain one where an annotation is of that.
        """
        if self._is_packed:
            return {os.fsdecode(base): numbers for base, numbers in members.of_base.items()}
        copies = set(label_copies(members).values())
        found: dict[str, list[int]] = defaultdict(list)
        for base, numbers in members.of_base.items():
            plain = os.fsdecode(unkeyed(base))
            is_plain = not self._known.isdisjoint((plain, splitext(plain)[0]))
            if left := [number for number in numbers if number not in copies]:
                found[plain if is_plain else os.fsdecode(base)] += left
        return dict(found)

    def left_out(self, names: Collection[str], taken: Collection[str]) -> dict[str, str]:
        """Those of `names` that mustn't come back, and why; `taken` are there already."""
        if self._is_packed:
            bases = {base for image in self._known for base in (image, splitext(image)[0])}
            return {name: REMOVED for name in names if name.removesuffix(".json") not in bases}
        can_have: dict[str, set[str]] = defaultdict(set)
        for name in {*names, *taken}:
            annotation = name if name in self._known else splitext(name)[0]
            if annotation in self._known:
                can_have[annotation].add(name)
        sure = {name for some in can_have.values() if len(some) == 1 for name in some}
        shared = set().union(*can_have.values()) - sure
        return {name: SHARED if name in shared else REMOVED for name in names if name not in sure}


def shown_names(project: Project, folder: str) -> set[str]:
    """Names that a folder of the tree has, as far as they are known."""
    tree = project.tree
    try:
        rows = tree.index.children(tree.find(folder))
    except OSError:
        return set()
    return set(tree.index.names_text(rows.start, rows.stop))
