"""Pictures beside a set that may be no images of it: masks, depth, thumbnails.

Formats with a file for each image take all images, since one without labels has nothing in it; so do tables. A folder
of masks is taken, too: nothing tells for sure that it's none of images, and no image is left out by what it's called.
It's only said, of a folder in which no image is labelled, and none in another one of its name: if most of them are
called like images elsewhere that are; or if lists or a config name images elsewhere, and it has a word as ``masks``.
"""

from __future__ import annotations

import re
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Final

from blobdir.filenames import parents_of
from blobdir.labels.splitnames import without_splits
from blobdir.wording import counted

if TYPE_CHECKING:
    from blobdir.labels.model import Labels, Picture

_WORD: Final = re.compile(
    r"mask|segm|depth|disparit|semantic|panoptic|trimap|thumb|preview|heat_?map|salienc|overlay|visuali[sz]|thermal"
    r"|^(?:segs?|gt|labels?|disp|n?ir|normals|edges|vis|matte)$",
    re.IGNORECASE,
)
"""A word that says of a picture or folder that it may be no image: of ``0001_mask``, ``SegmentationClass``."""
_PARTS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+")
_SEPARATORS: Final = re.compile(r"[-_. ]{2,}")


def is_mask_of_voc(path: str) -> bool:
    """Whether a picture lies where Pascal VOC has its masks: they belong to the set, and are no images."""
    return basename(dirname(path)) in ("SegmentationClass", "SegmentationObject")


def name_companions(labels: Labels) -> None:
    """Say of which folders the pictures may be no images of the set; they are packed all the same."""
    named = [picture for picture in labels.pictures if picture.is_labelled or picture.is_listed]
    others = [picture for picture in labels.pictures if not (picture.is_labelled or picture.is_listed)]
    if not named or not others:
        return
    known = _Named(named, others)
    folders: dict[str, list[Picture]] = {}
    for picture in others:
        if not known.has_in(dirname(picture.path)):
            folders.setdefault(known.top_of(picture), []).append(picture)
    for folder, pictures in folders.items():
        if known.has_one_called_like(folder):
            continue
        paths = [picture.path for picture in pictures if known.is_doubtful(picture)]
        if 2 * len(paths) > len(pictures):
            count = counted(len(paths), "image that no label file names", "images that no label file names")
            text = f"has {count}, and that may be masks or the like, as {paths[0]}: packed, with nothing in them"
            labels.note(folder or ".", f"{text}. If they aren't images of this set, move the folder out of it")


class _Named:
    """Images that label files, lists or a config name."""

    def __init__(self, named: list[Picture], others: list[Picture]) -> None:
        self._direct = {dirname(picture.path) for picture in named}
        self._names = {basename(folder) for folder in self._direct}
        self._all = self._direct | {folder for one in self._direct for folder in parents_of(one)} | {""}
        self._near: dict[str, set[tuple[str, ...]]] = {}
        for picture in (*named, *others):  # those beside images that are named are images, too
            if (folder := dirname(picture.path)) in self._direct:
                self._near.setdefault(_key(picture.path), set()).add(tuple(without_splits(folder)))

    def has_in(self, folder: str) -> bool:
        """Whether some lie in a folder itself."""
        return folder in self._direct

    def has_one_called_like(self, folder: str) -> bool:
        """Whether some lie in a folder elsewhere that is called the same: images of it are images here, too."""
        return basename(folder) in self._names

    def top_of(self, picture: Picture) -> str:
        """The uppermost folder around a picture that holds none of these images; or the one that it lies in."""
        return next(reversed(self._without(picture)), dirname(picture.path))

    def is_doubtful(self, picture: Picture) -> bool:
        """Whether a picture may be no image of the set."""
        mine = tuple(without_splits(dirname(picture.path)))
        if any(other != mine for other in self._near.get(_key(picture.path), ())):
            return True
        return picture.is_listed is False and any(is_for_companions(basename(one)) for one in self._without(picture))

    def _without(self, picture: Picture) -> list[str]:
        """The folders around a picture that hold none of these images, the nearest first."""
        folder = dirname(picture.path)
        return [one for one in (folder, *parents_of(folder)) if one not in self._all]


def _key(path: str) -> str:
    """What a picture and its mask are called alike: ``0001`` of ``0001.jpg``, ``0001_mask.png``, ``depth-0001.png``."""
    stem = splitext(basename(path))[0]
    left = _PARTS.sub(lambda found: "" if _WORD.search(found[0]) else found[0], stem)
    return _SEPARATORS.sub("_", left).strip("-_. ") if left != stem else stem


def is_for_companions(name: str) -> bool:
    """Whether a folder is called for masks or the like."""
    return any(_WORD.search(part) for part in _PARTS.findall(name))
