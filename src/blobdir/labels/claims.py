"""Which of several label files, or of the names in one, means an image: those that are it most surely.

The names of one file are seen from one place; an image has the labels of those that say it best.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import takewhile
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING

from blobdir.filenames import parents_of
from blobdir.labels.finding import is_below
from blobdir.labels.model import LabelError
from blobdir.labels.splitnames import is_of_split

if TYPE_CHECKING:
    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Found, Images
    from blobdir.labels.model import Labels


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


def contradicted(meanings: list[Meaning]) -> dict[int, str]:
    """Names that can't mean what was found for them, since others are it more surely: number -> what to say of it."""
    wrong = _against_most(meanings)
    by_image: dict[str, list[int]] = {}
    for i, one in enumerate(meanings):
        if i not in wrong:
            by_image.setdefault(one.found.path, []).append(i)
    for numbers in by_image.values():
        sure = [i for i in numbers if _is_sure(meanings[i])]
        said = {meanings[i].found.said for i in numbers if meanings[i].found.dropped}
        for i in numbers:
            if sure and i not in sure:
                wrong[i] = f"it's that of {meanings[sure[0]].where}"
            elif not sure and len(said) > 1 and meanings[i].found.dropped:
                wrong[i] = f"it can't be that of {' and of '.join(sorted(said)[:2])}"
    return _told(meanings, wrong)


def guessed(meanings: list[Meaning], images: Images) -> list[tuple[str, str]]:
    """Label files whose names may mean images that are missing, though nothing contradicts them: file, what to say."""
    beside: dict[str, bool] = {}
    dropped: dict[str, Found] = {}
    for one in meanings:
        is_lower = not one.found.exact and "/" not in one.found.said and images.lie_in(dirname(one.file))
        beside[one.file] = beside.get(one.file, True) and is_lower
        if one.found.dropped:
            dropped.setdefault(one.file, one.found)
    text = "lies beside images and names none of them; its names were looked for in the folders below"
    found = [(file, text) for file, is_odd in beside.items() if is_odd]
    for file, name in dropped.items():
        text = (
            f"says {name.said}, and there is no folder {name.dropped}; {name.path} was taken, for all its names are so"
        )
        found.append((file, text))
    return found


def _against_most(meanings: list[Meaning]) -> dict[int, str]:
    """Names that aren't seen from where most others of their file are."""
    wrong: dict[int, str] = {}
    by_file: dict[str, list[int]] = {}
    for i, one in enumerate(meanings):
        by_file.setdefault(one.file, []).append(i)
    for numbers in by_file.values():
        every = [meanings[i].found for i in numbers]
        drops = {found.dropped for found in every}
        bases = Counter(found.base for found in every if "/" in found.said and not found.dropped)
        above = sum(found.above for found in every)
        most = any(found.exact and not found.above for found in every) or 2 * above >= len(every)
        for i, found in zip(numbers, every, strict=True):
            if found.dropped:
                is_odd = bool(above) or any(other in drops for other in ("", *parents_of(found.dropped)))
            else:
                is_odd = "/" in found.said and _is_odd(found.base, bases)
            if is_odd:
                wrong[i] = "others in its file are seen from another folder"
            elif most and not found.exact and not found.dropped:
                wrong[i] = "others in its file lie where they say"
            elif not most and found.above:
                wrong[i] = "most others in its file lie elsewhere"
    return wrong


def _is_odd(base: str, bases: Counter[str]) -> bool:
    """Whether paths are seen from a folder, and more of them from one above or below it."""
    return any(
        other != base
        and (is_below(base, other) or (is_below(other, base) and bases[other] > bases[base]))
        and bases[other] >= bases[base]
        for other in bases
    )


def _told(meanings: list[Meaning], wrong: dict[int, str]) -> dict[int, str]:
    return {
        i: f"there is no image {meanings[i].found.said} where its labels say; {meanings[i].found.path} isn't it: {why}"
        for i, why in sorted(wrong.items())
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
        """Note that a label file means an image.

        Parameters
        ----------
        file : str
        found : Found
        rank : int, optional
            The lower, the more it's this image; by default, as the file lies and is called.
        """
        if rank is None:
            is_called = splitext(basename(found.path))[0] == splitext(basename(file))[0] and not found.instead
            is_beside = dirname(found.path) == dirname(file)
            rank = 4 * (not is_called) + 2 * (not found.exact) + (not is_beside)
        self._ranks.append(rank)
        self._meanings.append(Meaning(dirname(file), file, "", found))
        self._shared.append(_shared(dirname(file), dirname(found.path)))

    def settled(self, files: LabelFiles, labels: Labels) -> dict[str, str]:
        """Image -> its label file; the others are named, but for those that say the same to the last byte."""
        wrong = _told(self._meanings, _against_most(self._meanings))
        by_image: dict[str, list[tuple[int, int, str]]] = {}
        for i, (rank, one) in enumerate(zip(self._ranks, self._meanings, strict=True)):
            if i in wrong:
                labels.complain("label-image", one.where, wrong[i])
            else:
                by_image.setdefault(one.found.path, []).append((rank, -self._shared[i], one.where))
        owners = {}
        for image, claims in by_image.items():
            *_, owner = min(claims)
            owners[image] = owner
            for *_, file in sorted(claims):
                if file != owner and not _are_equal(files, file, owner):
                    labels.complain("label", file, f"is of {image}, which has labels in {owner}")
        return owners


def _shared(one: str, other: str) -> int:
    """How many folders at the end of two paths are the same."""
    pairs = zip(reversed(one.split("/")), reversed(other.split("/")), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _are_equal(files: LabelFiles, one: str, other: str) -> bool:
    try:
        return files.read(one) == files.read(other)
    except LabelError:
        return False
