"""What the folders say: where the images of a label file belong that lies in one of them.

Folders that are named for labels (``labels``, ``Annotations``, ``gt``) count for nothing: the images lie beside them,
or where they do by custom, as ``images/x`` for ``labels/x``. A folder with images in it is a folder of images, whatever
it's called.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from posixpath import basename, commonpath, dirname, join
from typing import TYPE_CHECKING, Final

from blobdir.filenames import parents_of
from blobdir.labels.namesakes import folders_of, is_below
from blobdir.labels.splitnames import families, is_split

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_OF_LABELS: Final = re.compile(
    r"label(?:me|s)?(?!l?ed)|annot(?!ated)[a-z]*|bbox(?:es)?|boxes|ground.?truth"
    r"|^(?:anns?|gt|(?:json|xml|txt|csv|tsv|meta)s?)$"
)
"""What folders are named for the labels in them, in small letters: ``val_annotations``; not ``unlabeled``."""
_OF_FORMAT: Final = re.compile(r"coco|yolo|voc|cvat|createml")
"""The same, if no images lie below them: else it's the name of a whole data set."""
_OF_IMAGES: Final = re.compile(r"(?:jpeg|png)?(?:image|img|photo|picture|pic)s?", re.IGNORECASE)
"""What folders are called that say nothing but that images are in them."""
_WORD: Final = re.compile(r"[a-z0-9]+")
_COPIES: Final = 16
"""A data set has fewer copies of itself in it, so more images of one name are none."""
_IMAGES_FOR: Final = (
    ("labels", "images"),
    ("label", "image"),
    ("Labels", "Images"),
    ("Annotations", "JPEGImages"),
    ("Annotations", "Images"),
    ("annotations", "images"),
    ("ann", "img"),
)
"""What the folder of images is called where that of labels is called so."""


@dataclass(frozen=True, slots=True)
class Near:
    """What the folder of a label file says.

    Attributes
    ----------
    beside : list of str
        Folders that the images of its labels belong into, the first first.
    bases : list of str
        Folders that a name with folders can be seen from.
    outside : set of str
        Those of `bases` that are above the folder that it speaks for.
    scopes : list of str
        The folder that it speaks for, and others that hold its images by custom.
    must : list of str
        Folders between the first of `scopes` and the label file that the images must lie in, too.
    families : set of str
        Splits that its path names, below the first of `scopes`.
    words : set of str
        What else folders that are named for labels are called: ``cam2`` of ``cam2_labels``. Where there are folders of
        images that are called so, the images lie in them.
    """

    beside: list[str]
    bases: list[str]
    scopes: list[str]
    must: list[str]
    families: set[str]
    words: set[str]
    outside: frozenset[str] = frozenset()


class Folders:
    """The folders that images lie in.

    Parameters
    ----------
    direct : iterable of str
        Those with images in them.

    Attributes
    ----------
    direct : set of str
    top : str
        The lowest that all images lie in, or below.
    tails : set of str
        Ways in which the end of a path can name a folder with images in it, or below.
    sets : set of str
        Those that are data sets in another one, as noted.
    """

    def __init__(self, direct: Iterable[str]) -> None:
        self.direct = set(direct)
        self._names = {basename(folder) for folder in self.direct}
        self._all = self.direct | {parent for folder in self.direct for parent in parents_of(folder)} | {""}
        self._sorted = sorted(self._all)
        self.top = commonpath(self.direct) if self.direct else ""
        self.tails = {tail for folder in self._all for tail in _tails(folder)}
        self.sets: set[str] = set()
        self._with_labels: set[str] = set()
        self._nears: dict[str, Near] = {}
        self._splits: dict[str, tuple[set[str], set[str]]] = {}
        self._of_splits: dict[str, list[str]] = {}
        self._words: dict[str, set[str]] = {}
        self._known_words: dict[tuple[str, int], tuple[set[str], set[str]]] = {}
        self._inside: dict[str, set[str]] | None = None
        self._ends: dict[str, list[str]] | None = None

    def __contains__(self, folder: str) -> bool:
        return folder in self._all

    def note_labels(self, folders: Iterable[str]) -> None:
        """Note which folders have label files of one image each.

        Their images aren't those of a folder ``labels`` that has images itself.
        """
        self._with_labels.update(folders)
        self._nears.clear()

    def near(self, folder: str) -> Near:
        """What a folder with label files says."""
        found = self._nears.get(folder)
        if found is None:
            found = self._nears[folder] = self._looked_at(folder)
        return found

    def is_place_for(self, folder: str) -> bool:
        """Whether there is a folder of images by custom for some of a folder's label files, though not for these."""
        return any(one in self._all for one in _images_for(folder.split("/"), whole=False))

    def splits_in(self, scope: str) -> tuple[set[str], set[str]]:
        """Names of the folders of images below one, in small letters; and the splits that these speak of."""
        found = self._splits.get(scope)
        if found is None:
            start = bisect_left(self._sorted, f"{scope}/") if scope else 0
            end = bisect_left(self._sorted, f"{scope}0", start) if scope else len(self._sorted)
            deep = len(scope) + 1 if scope else 0
            names = {part for folder in self._sorted[start:end] for part in folder[deep:].split("/") if part}
            found = self._splits[scope] = {name.lower() for name in names}, families(names)
        return found

    def of_split(self, scope: str, split: str) -> list[str]:
        """Names of the folders in one that are called like a split and nothing else."""
        if scope not in self._of_splits:
            here = (one[len(scope) :].strip("/") for one in self._all if is_below(one, scope) and one != scope)
            self._of_splits[scope] = sorted({one for one in here if "/" not in one and is_split(one)})
        said = families([split])
        return [one for one in self._of_splits[scope] if families([one]) == said]

    def _ends_below(self, scope: str, tail: list[str]) -> bool:
        """Whether a folder of images below one has a path that ends with folders."""
        if self._ends is None:
            self._ends = {}
            for folder in self._sorted:
                for end in _tails(folder):
                    self._ends.setdefault(end, []).append(folder)
        found = self._ends.get("/".join(tail), [])
        at = bisect_left(found, f"{scope}/")
        return at < len(found) and is_below(found[at], scope)

    def has_inside(self, near: Near, said: list[str]) -> bool:
        """Whether the folder that a label file speaks for has those that are said, or the first of them there."""
        bases = (base for base in near.bases if base not in near.outside)
        return self._ends_below(near.scopes[0], said) or any(join(base, said[0]) in self._all for base in bases)

    def outermost(self, paths: list[str], near: Near) -> list[str]:
        """Of several images, the one of which all others are namesakes in sets below what a label file speaks for."""
        if not self.sets or not 1 < len(paths) <= _COPIES:
            return paths
        outer = min(paths, key=lambda path: path.count("/"))
        others = (path for path in paths if path != outer)
        return [outer] if all(outer in self._outer_ones(path, near.scopes[0]) for path in others) else paths

    def _outer_ones(self, path: str, top: str) -> set[str]:
        """The paths that an image in a set would have in those around it, below a folder."""
        sets = (one for one in parents_of(path) if one in self.sets and one != top and is_below(one, top))
        return {join(above, path[len(one) + 1 :]) for one in sets for above in (*parents_of(one), "")}

    def words_in(self, scope: str) -> set[str]:
        """The words in the names of folders of images below one."""
        found = self._words.get(scope)
        if found is None:
            found = self._words[scope] = words_of(self.splits_in(scope)[0])
        return found

    def closest(self, paths: list[str], path: str, scope: str) -> list[str]:
        """Images whose folders below one are most like those of a file: of its split, with most words of theirs."""
        start = scope.count("/") + bool(scope)
        mine = folders_of(path)[start:]
        splits = families(mine) & self.splits_in(scope)[1]
        words = words_of(mine) & self.words_in(scope)
        if len(paths) < 2 or not (splits or words):
            return paths
        ranks = {folder: self._likeness(folder, start, splits, words) for folder in {dirname(one) for one in paths}}
        most = max(ranks.values())
        return [one for one in paths if ranks[dirname(one)] == most]

    def _likeness(self, folder: str, start: int, splits: set[str], words: set[str]) -> tuple[int, int]:
        """How like a folder is: whether it's of one of these splits, or of another one; how many words it has."""
        known = self._known_words.get((folder, start))
        if known is None:
            parts = folder.split("/")[start:]
            known = self._known_words[folder, start] = families(parts), words_of(parts)
        said, mine = known
        return 0 if not splits or not said else -1 if splits.isdisjoint(said) else 1, len(words & mine)

    def has_split_inside(self, folder: str, split: str, said: set[str]) -> bool:
        """Whether a folder of a split lies in a folder itself."""
        if self._inside is None:
            self._inside = {}
            for one in self._all - {""}:
                self._inside.setdefault(dirname(one), set()).add(basename(one))
        names = self._inside.get(folder, set())
        return split.lower() in map(str.lower, names) or not families(names).isdisjoint(said)

    def _looked_at(self, folder: str) -> Near:
        parts = folder.split("/") if folder else []
        above = [folder, *parents_of(folder)] + ([""] if folder else [])
        mapped = [one for one in _images_for(parts) if one in self._all] or self._mapped_without(parts)
        mapped = mapped or self._mapped_twice(parts)
        if folder in self.direct:  # they may be masks
            mapped = [one for one in mapped if one not in self._with_labels]
            if mapped:
                bases = list(dict.fromkeys((folder, *mapped, *above)))
                return Near([*mapped, mapped[0]], bases, mapped, [], set(), set())
        plain = next(one for one in above if not self._is_of_labels(one))
        scope = next(one for one in (plain, *parents_of(plain), "") if one in self._all)
        between = above[: above.index(scope)]
        of_labels = [one for one in between if self._is_of_labels(one)]
        others = (without_labels(basename(one)) for one in of_labels)
        return Near(
            beside=[*dict.fromkeys(mapped or [folder]), plain],
            bases=list(dict.fromkeys((folder, *mapped, *above))),
            scopes=[scope, *mapped],
            must=[basename(one) for one in reversed(between) if one not in of_labels],
            families=families(map(basename, between)),
            words={word for other in others for word in _WORD.findall(other)},
            outside=frozenset((*parents_of(scope), "") if scope else ()),
        )

    def _mapped_without(self, parts: list[str]) -> list[str]:
        """Where images lie by custom, if those folders count for nothing that are named for labels themselves.

        ``images/x`` for ``annotations/xmls/x``.
        """
        found = []
        for i in range(len(parts)):
            below = [
                part for j, part in enumerate(parts[i + 1 :], i + 2) if not self._is_of_labels("/".join(parts[:j]))
            ]
            if len(below) < len(parts) - i - 1:
                found += [one for one in _images_for([*parts[: i + 1], *below], only=i) if one in self._all]
        return found

    def _mapped_twice(self, parts: list[str]) -> list[str]:
        """Where images lie by custom, if the folder of labels says so itself: ``images/x`` for ``labels/images/x``."""
        found = []
        for i, part in enumerate(parts[1:], 1):
            if not _OF_IMAGES.fullmatch(part):
                continue
            for one in _images_for([*parts[:i], *parts[i + 1 :]], only=i - 1):
                is_own = one.split("/")[i - 1] == part or part not in self.tails
                found += [one] if is_own and one in self._all else []
        return found

    def _is_of_labels(self, folder: str) -> bool:
        name = basename(folder).lower()
        if folder in self.direct:
            return False
        if _OF_LABELS.search(name):
            is_nested = _OF_LABELS.search(basename(dirname(folder)).lower()) is not None
            return not is_nested or folder in self._all or basename(folder) not in self._names
        return folder not in self._all and _OF_FORMAT.search(name) is not None


def is_named_for_labels(name: str) -> bool:
    """Whether a folder is named for labels in it, whatever lies there."""
    return _OF_LABELS.search(name.lower()) is not None


def without_labels(name: str) -> str:
    """What a file or folder with labels is called besides, in small letters."""
    return _OF_FORMAT.sub(" ", _OF_LABELS.sub(" ", name.lower()))


def words_of(folders: Iterable[str]) -> set[str]:
    """All words in names of folders, in small letters."""
    return {word for folder in folders for word in _WORD.findall(folder.lower())}


def _images_for(parts: list[str], *, whole: bool = True, only: int | None = None) -> Iterator[str]:
    """Where images lie by custom, if labels lie in a folder: ``images/x`` for ``labels/x``; or just ``images``.

    `only`: the one of its parts that is called otherwise there.
    """
    for i in reversed(range(len(parts))) if only is None else (only,):
        for old, new in _IMAGES_FOR:
            if parts[i] == old or (old != "ann" and old in parts[i]):
                yield "/".join((*parts[:i], parts[i].replace(old, new), *(parts[i + 1 :] if whole else ())))


def _tails(folder: str) -> Iterator[str]:
    while folder:
        yield folder
        folder = folder.partition("/")[2]
