"""Images that got no labels, and what files are called so that they may speak for them."""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import islice
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Final

from blobdir.labels.companions import is_for_companions, is_mask_of_voc
from blobdir.labels.namesakes import folders_of, is_below, lying_so, stem_of
from blobdir.labels.nearby import is_named_for_labels
from blobdir.labels.splitnames import is_called_like_a_split, is_so, split_of_folders

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from blobdir.labels.finding import Images
    from blobdir.labels.mentions import Mentions
    from blobdir.labels.model import Labels

_MEASURED: Final = re.compile(r"(?<![a-z])(?:results?|metrics?|scores?)(?![a-z])", re.IGNORECASE)
"""What files are called that say how good a program is; they name no image."""
_NOTED: Final = re.compile(r"(?:notes?|remarks?|comments?|todo)", re.IGNORECASE)
"""What texts are called in which people note something; they name no image."""
_SETTINGS: Final = (".yaml", ".yml", ".toml")
_ENDINGS: Final = 3
"""So many endings may a file have behind the name of an image, as ``0.jpg.xml.bak``."""


class _Same:
    """Images of one name, wherever they lie."""

    def __init__(self, paths: list[str], labelled: set[str]) -> None:
        some = [path for path in paths if path in labelled]
        self.paths = paths
        self.are_mixed = 0 < len(some) < len(paths)
        self._folders = {part for path in some for part in folders_of(path)} if self.are_mixed else set()

    def has_companion(self, image: str) -> bool:
        """Whether a folder of an image, that those with labels don't lie in, is called for masks or the like."""
        return any(is_for_companions(part) for part in folders_of(image) if part not in self._folders)


class Unlabelled:
    """Images that got no labels."""

    def __init__(self, images: Images, labels: Labels) -> None:
        labelled = {picture.path for picture in labels.pictures if picture.is_labelled}
        self._images = images
        self._splits = {picture.path: picture.split for picture in labels.pictures}
        self._sorted = sorted(images.paths)
        self._same: dict[str, _Same] = {}
        self._named: dict[str, _Same] = {}
        self._fitting: dict[str, list[str]] = {}
        self._speaking: dict[tuple[str, str], tuple[str, bool]] = {}
        self.labelled = labelled
        self.owners = {picture.path: picture.file for picture in labels.pictures if picture.is_labelled}
        self.paths = {path for path in images.paths if path not in labelled and not is_mask_of_voc(path)}

    def called_like(self, path: str) -> list[str]:
        """Images that a file is called like, whatever endings it has: ``0.txt``, ``0.jpg.json``, ``0.xml.bak``.

        Of some with labels and some without, those whose folders fit the file's best.
        """
        if path not in self._fitting:
            stem, same = self._called_so(path)
            self._fitting[path] = self._images.fitting(stem, path) if same.are_mixed else same.paths
        return self._fitting[path]

    def told_apart(self, path: str) -> str:
        """The image that a file is called like, if others of that name have labels, or have none, and this is surer.

        It's none that may be a mask or the like of the others.
        """
        return self._surest(self.called_like(path), self._called_so(path)[1])

    def meant_in(self, path: str) -> Callable[[str], list[str]]:
        """The images that a name means in a file of many: as `called_like`, of files that have one for each image.

        Of images of one name, some with labels and some without, those that lie in the folders before the name, or
        else fit best where the file lies, and what it's called: ``val_gt.json`` is of ``images/val``.
        """
        place = splitext(path)[0]

        def meant(name: str) -> list[str]:
            same = self._named_so(name)
            if not same.are_mixed:
                return same.paths
            found = lying_so(same.paths, name) or self._images.fitting(name, f"{place}/{basename(name)}")
            return found if self._surest(found, same) else same.paths

        return meant

    def namesakes_with_labels(self, image: str) -> list[str]:
        """Images with labels of the same name as one that has none."""
        return [one for one in self._named_so(basename(image)).paths if one in self.labelled]

    def _named_so(self, name: str) -> _Same:
        key = basename(name)
        if key not in self._named:
            self._named[key] = _Same(self._images.called_so(name), self.labelled)
        return self._named[key]

    def _surest(self, found: list[str], same: _Same) -> str:
        """The image meant by those that fit, if they all have labels, or have none, as others of the name haven't."""
        if len(found) == len(same.paths) or len({one in self.labelled for one in found}) > 1:
            return ""
        return next((one for one in found if one in self.labelled or not same.has_companion(one)), "")

    def _called_so(self, path: str) -> tuple[str, _Same]:
        stem = stem_of(path)
        for _ in range(_ENDINGS):
            if stem not in self._same and (found := self._images.called_so(stem)):
                self._same[stem] = _Same(found, self.labelled)
            if stem in self._same:
                return stem, self._same[stem]
            stem = splitext(stem)[0]
        return stem, _Same([], self.labelled)

    def is_like_one(self, path: str) -> str:
        """An image without labels that a file is called like; empty if it's called like one with labels, or none."""
        found = self.called_like(path)
        if self._called_so(path)[1].are_mixed:
            return "" if any(one in self.labelled for one in found) else self.told_apart(path)
        if found and found[0] in self.labelled:
            return ""
        return next((one for one in found if one in self.paths), "")

    def named_in(self, mentions: Mentions, *, are_told: bool) -> list[str]:
        """Images without labels that a text names; a name may be that of several images.

        `are_told`: only those of which it says something, as backgrounds have no boxes.
        """
        some = [image for image, paths in mentions.named.items() if self.labelled.isdisjoint(paths)]
        some = [image for image in some if image in self.paths]
        return [image for image in some if mentions.says_something_of(image)] if are_told else some

    def unclear_in(self, mentions: Mentions) -> list[str]:
        """Images without labels that a text may name, or others of the same name that have some: nothing tells which.

        Those that may be masks or the like of the others don't count.
        """
        found = []
        for image, paths in mentions.named.items():
            if not self.labelled.isdisjoint(paths) and mentions.says_something_of(image):
                same = self._named_so(image)
                found += [one for one in paths if one in self.paths and not same.has_companion(one)][:1]
        return found

    def are_most(self, paths: Collection[str]) -> bool:
        """Whether most images got none."""
        return 2 * sum(path in self.paths for path in paths) > len(paths)

    def has_most(self, paths: Collection[str], *, is_part: bool = False) -> bool:
        """Whether most labelled images are among these; or, of a part of a file, would be among all that it names."""
        count, found = len(self.labelled), len(self.labelled.intersection(paths))
        if not is_part:
            return 2 * found >= count > 0
        return 2 * found * (count + len(self.paths)) >= count * len(paths) > 0

    def spoken_for(self, path: str) -> tuple[str, bool]:
        """An image without labels that a file may speak for by its name or folder, and whether none of these got any.

        Nothing, and True: it's called for no images, or all that it may speak for have labels.
        """
        stem, ending = splitext(basename(path))
        if ending.lower() in _SETTINGS or _MEASURED.search(stem) or _NOTED.fullmatch(stem):
            return "", True
        split = stem if is_called_like_a_split(stem) else split_of_folders(path)
        if not (is_called_like_a_split(stem) or any(map(is_named_for_labels, (stem, basename(dirname(path)))))):
            return "", True
        key = self._images.near(dirname(path)).scopes[0], split
        if key not in self._speaking:
            self._speaking[key] = self._first_below(*key)
        return self._speaking[key]

    def _first_below(self, scope: str, split: str) -> tuple[str, bool]:
        """The first image without labels in a folder, and of a split; and whether none of those has labels."""
        found, are_none = "", True
        start = bisect_left(self._sorted, f"{scope}/") if scope else 0
        for image in islice(self._sorted, start, None):
            if not is_below(image, scope) or (found and not are_none):
                break
            if not split or self._is_of(image, split):
                are_none = are_none and image not in self.labelled
                found = found or (image if image in self.paths else "")
        return found, are_none

    def _is_of(self, image: str, split: str) -> bool:
        """Whether an image is of a split now, or by its folders."""
        return any(is_so(one, split) for one in (self._splits.get(image, ""), split_of_folders(image)))
