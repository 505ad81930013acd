"""Which of several label files, or of the names in one, means an image: those that are it most surely.

The names of one file are seen from one place; an image has the labels of those that say it best, and labels of one set
never go to an image of another one in it, see `blobdir.labels.nested`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import takewhile
from posixpath import basename, dirname
from typing import TYPE_CHECKING, Final

from blobdir.filenames import parents_of
from blobdir.labels.aside import is_aside, without_aside
from blobdir.labels.calledfor import of_other_folders
from blobdir.labels.givenplace import of_another_split
from blobdir.labels.homes import OTHERWISE, SAVED_OTHERWISE, Homes, has_other_extension, is_whole
from blobdir.labels.namesakes import spelled_alike, stem_of
from blobdir.labels.nested import are_equal, of_inner_sets
from blobdir.labels.rivals import Rival, name_rivals
from blobdir.labels.splitnames import closeness, is_of_split
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Found, Images
    from blobdir.labels.model import Labels

_CALLED_ALIKE: Final = 4
_NOT_CALLED: Final = 8


@dataclass(frozen=True, slots=True)
class Meaning:
    """A name in a label file, and the image that was found for it.

    Attributes
    ----------
    file : str
        The label file; of those that have the labels of one image each, their folder.
    where : str
        For messages.
    split : str
    found : Found
    """

    file: str
    where: str
    split: str
    found: Found


def contradicted(
    meanings: list[Meaning],
    files: LabelFiles,
    images: Images,
    says: Callable[[int], Collection[Hashable]] | None = None,
) -> dict[int, str]:
    """Names that can't mean what was found for them, since others are it more surely: number -> what to say of it.

    Parameters
    ----------
    meanings : list of Meaning
    files : LabelFiles
    images : Images
    says : callable, optional
        Gives the objects that a name of this number has, to compare them with those of another file.
    """
    wrong = of_another_split(dict(enumerate(meanings)), images.given)
    wrong |= _against_most(meanings, images)
    wrong |= of_inner_sets(_others(meanings, wrong), files, images)
    wrong |= _of_other_folders(_others(meanings, wrong), images, says)
    by_image: dict[str, list[int]] = {}
    for i, one in enumerate(meanings):
        if i not in wrong:
            by_image.setdefault(one.found.path, []).append(i)
    for numbers in by_image.values():
        wrong |= _against_surer(meanings, numbers)
    return _told(meanings, wrong)


def _of_other_folders(
    meanings: dict[int, Meaning],
    images: Images,
    says: Callable[[int], Collection[Hashable]] | None = None,
    *,
    of_one: bool = False,
) -> dict[int, str]:
    """Names whose image is in a folder that label files are called like, and theirs isn't; with what to do."""
    found = of_other_folders(meanings, images, says, of_one=of_one)
    return {i: f"{why}. {_what_next(why, of_one=of_one)}" for i, why in found.items()}


def _others(meanings: list[Meaning], wrong: dict[int, str]) -> dict[int, Meaning]:
    return {i: one for i, one in enumerate(meanings) if i not in wrong}


def _against_surer(meanings: list[Meaning], numbers: list[int]) -> dict[int, str]:
    """Names that mean an image less surely than others do, or otherwise."""
    wrong: dict[int, str] = {}
    sure = [i for i in numbers if _is_sure(meanings[i])]
    said = {meanings[i].found.said for i in numbers if meanings[i].found.dropped}
    names = {basename(meanings[i].found.said) for i in numbers}
    spelled = [i for i in numbers if basename(meanings[i].found.said) == basename(meanings[i].found.path)]
    for i in numbers:
        if sure and i not in sure and not _is_of_all(meanings[i], [meanings[j] for j in sure]):
            wrong[i] = f"it's that of {meanings[sure[0]].where}"
        elif len(names) > 1 and spelled and i not in spelled:
            wrong[i] = f"it's that of {meanings[spelled[0]].where}, which spells it so"
        elif len(names) > 1 and not spelled:
            wrong[i] = f"it can't be that of {' and of '.join(sorted(names)[:2])}"
        elif not sure and len(said) > 1 and meanings[i].found.dropped:
            wrong[i] = f"it can't be that of {' and of '.join(sorted(said)[:2])}"
    return wrong


def _is_of_all(one: Meaning, sure: list[Meaning]) -> bool:
    """Whether a file of all images means one as those do that lie beside it and are surer by their split only."""
    return closeness(one.split) > 0 and all(
        not other.found.exact and other.found.said == one.found.said and dirname(other.file) == dirname(one.file)
        for other in sure
    )


def name_guessed(meanings: list[Meaning], images: Images, labels: Labels, *, of_one: bool = False) -> None:
    """Name label files whose names may mean images that are missing, though nothing contradicts them.

    Parameters
    ----------
    meanings : list of Meaning
    images : Images
    labels : Labels
        Told of them.
    of_one : bool
        Whether each has the labels of one image, so folders are named.
    """
    lower: dict[str, Meaning | None] = {}
    dropped: dict[str, Found] = {}
    for one in meanings:
        folder = one.file if of_one else dirname(one.file)
        is_lower = not _is_sure(one) and "/" not in one.found.said and images.belong_beside(folder)
        lower[one.file] = lower.get(one.file, one) if is_lower else None
        if one.found.dropped:
            dropped.setdefault(one.file, one.found)
    for file, odd in lower.items():
        if odd is not None:
            text = (
                f"lies beside images and has labels of none of them, so what it names was looked for further below: "
                f"{odd.found.path} was taken for {odd.found.said}. Put the labels where their images are, so it's sure"
            )
            labels.complain("label-image", file or ".", text)
    for file, name in () if of_one else dropped.items():
        text = (
            f"says {name.said}, and there is no folder {name.dropped}; {name.path} was taken, for all its names are so"
        )
        labels.note(file, text)


def _against_most(meanings: list[Meaning], images: Images, *, of_one: bool = False) -> dict[int, str]:
    """Names that aren't seen from where most others of their file are, or whose images lie elsewhere."""
    wrong: dict[int, str] = {}
    homes = Homes(images)
    folders = [one.file if of_one else dirname(one.file) for one in meanings]
    copies = homes.copies([one.found for one in meanings], folders)
    by_file: dict[str, list[int]] = {}
    for i, one in enumerate(meanings):
        if i in copies:
            wrong[i] = f"{SAVED_OTHERWISE}. {_what_next(SAVED_OTHERWISE, of_one=of_one)}"
        else:
            by_file.setdefault(one.file, []).append(i)
    for numbers in by_file.values():
        every = [meanings[i].found for i in numbers]
        named = [found for found in every if not found.named]
        drops = {found.dropped for found in named}
        is_above = any(found.above for found in named)
        bases = Counter(found.base for found in every if "/" in found.said and not found.dropped)
        odd = _odd(bases, {one.found.base for one in (meanings[i] for i in numbers) if _is_seen_from_split(one)})
        above = sum(found.above for found in every)
        most = any(found.exact and not found.above for found in every) or 2 * above >= len(every)
        file = meanings[numbers[0]].file
        away = homes.away(every, file if of_one else dirname(file))
        for i, found, why_away in zip(numbers, every, away, strict=True):
            if found.dropped:
                is_odd = is_above or any(other in drops for other in ("", *parents_of(found.dropped)))
            else:
                is_odd = "/" in found.said and found.base in odd
            if is_odd:
                wrong[i] = "others in its file are seen from another folder"
            elif most and not found.exact and not found.dropped and (found.base not in bases or found.base in odd):
                wrong[i] = "others in its file lie where they say"
            elif not most and found.above:
                wrong[i] = "most others in its file lie elsewhere"
            elif why_away:
                wrong[i] = f"{why_away}. {_what_next(why_away, of_one=of_one)}"
    return wrong


def _what_next(why_away: str, *, of_one: bool) -> str:
    """What to do if an image is meant, though others of its labels lie elsewhere."""
    text = "put its label file beside it" if of_one else "say the path of each image in the file"
    if of_one and why_away == SAVED_OTHERWISE:
        text = "say its whole name in its label file, and put that beside it"
    more = ", or give the labels with --labels-from" if why_away == OTHERWISE else ""
    return f"If it's meant, {text}{more}"


def _is_seen_from_split(one: Meaning) -> bool:
    return bool(one.split) and not one.found.dropped and is_of_split(f"{one.found.base}/", one.split)


def _odd(bases: Counter[str], of_split: set[str]) -> set[str]:
    """Folders that paths are seen from, where more are seen from one above or below: those of the split count first."""
    below: dict[tuple[str, bool], int] = {}
    for base, count in bases.items():
        for other in _above(base):
            key = other, base in of_split
            below[key] = max(below.get(key, 0), count)
    found = set()
    for base, count in bases.items():
        is_split = base in of_split
        is_less = not is_split and ((base, True) in below or any(other in of_split for other in _above(base)))
        same = [bases[other] for other in _above(base) if other in bases and (other in of_split) == is_split]
        if is_less or below.get((base, is_split), 0) > count or max(same, default=0) >= count:
            found.add(base)
    return found


def _above(folder: str) -> tuple[str, ...]:
    return (*parents_of(folder), "") if folder else ()


def _told(meanings: list[Meaning], wrong: dict[int, str]) -> dict[int, str]:
    found = {i: meanings[i].found for i in sorted(wrong)}
    return {
        i: f"there is no image {one.named or one.said} where its labels say; {one.path} isn't it: {wrong[i]}"
        for i, one in found.items()
    }


def _is_sure(one: Meaning) -> bool:
    return one.found.exact or (bool(one.split) and is_of_split(one.found.path, one.split))


class Claims:
    """Which label file an image is labelled by, where each is of one image: the one that is nearest to it."""

    def __init__(self) -> None:
        self._ranks: list[int] = []
        self._shared: list[int] = []
        self._meanings: list[Meaning] = []

    def add(self, file: str, found: Found, rank: int | None = None) -> None:
        """Note that a label file means an image: the one that is called like it before all.

        Parameters
        ----------
        file : str
        found : Found
        rank : int, optional
            Of those that are called like it, the lower, the more it's this image; by default, as the file lies.
        """
        image, own = stem_of(found.path), stem_of(file)
        is_called = spelled_alike(image) == spelled_alike(own) and not found.instead
        if rank is None:
            rank = 2 * (not found.exact) + (dirname(found.path) != dirname(file))
        self._ranks.append(
            rank + _CALLED_ALIKE * (own not in (image, basename(found.path))) + _NOT_CALLED * (not is_called)
        )
        self._meanings.append(Meaning(dirname(file), file, "", found))
        self._shared.append(_shared(dirname(file), dirname(found.path)))

    def settled(self, files: LabelFiles, labels: Labels, images: Images) -> dict[str, str]:
        """Image -> its label file; the others are named, but for those that say the same to the last byte."""
        odd = of_another_split(dict(enumerate(self._meanings)), images.given, of_one=True)
        odd |= _against_most(self._meanings, images, of_one=True)
        odd |= of_inner_sets(_others(self._meanings, odd), files, images, of_one=True)
        odd |= _of_other_folders(_others(self._meanings, odd), images, of_one=True)
        wrong = _told(self._meanings, odd)
        by_image: dict[str, list[tuple[int, int, str]]] = {}
        for i, (rank, one) in enumerate(zip(self._ranks, self._meanings, strict=True)):
            if i in wrong:
                labels.complain("label-image", one.where, wrong[i])
            else:
                by_image.setdefault(one.found.path, []).append((rank, -self._shared[i], one.where))
        name_guessed([one for i, one in enumerate(self._meanings) if i not in wrong], images, labels, of_one=True)
        owners: dict[str, str] = {}
        rivals: list[Rival] = []
        for image, claims in by_image.items():
            if len(claims) > 1:
                claims.sort(key=lambda one: (is_aside(one[-1], image, images), one))
            *_, owner = claims[0]
            owners[image] = owner
            others = (file for *_, file in claims if file != owner)
            rivals += [Rival(file, image, owner) for file in others if not are_equal(files, file, owner)]
        name_rivals(rivals, files, labels)
        owners = without_aside(owners, images, labels)
        self._say_crossed(owners, labels, images)
        self._say_saved_otherwise(owners, labels, images)
        return owners

    def _say_saved_otherwise(self, owners: dict[str, str], labels: Labels, images: Images) -> None:
        """Say which images have another extension than is said, though some are here as said."""
        owned = [one.found for one in self._meanings if owners.get(one.found.path) == one.where]
        taken = list(filter(has_other_extension, owned))
        are_some = any(map(is_whole, owned)) or any(basename(one.named) in images for one in taken)
        if taken and are_some:
            first = taken[0]
            count = counted(len(taken), "image was", "images were")
            text = f"says {basename(first.named)}, and {first.path} was taken, though it has another extension"
            text = f"{text}. {count} taken so, and others are there as said"
            labels.note(owners[first.path], f"{text}. If they aren't what is meant, put their labels away")

    def _say_crossed(self, owners: dict[str, str], labels: Labels, images: Images) -> None:
        """Say which files name other images than those that are called like them, though these are there."""
        crossed = [
            (file, image)
            for image, file in owners.items()
            if images.has_called(file)
            and spelled_alike(stem_of(file)) not in map(spelled_alike, (stem_of(image), basename(image)))
        ]
        if crossed:
            file, image = crossed[0]
            count = counted(len(crossed), "file names an image", "files name images")
            text = f"names {image}, though there is an image that is called like it: what it names counts. {count} so"
            labels.note(file, text)


def _shared(one: str, other: str) -> int:
    """How many folders at the end of two paths are the same."""
    pairs = zip(reversed(one.split("/")), reversed(other.split("/")), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
