"""Pictures that lie beside a set and aren't images of it: masks, depth, thumbnails.

Formats with a file for each image take all images, since one without labels has nothing in it; so do tables. But a
folder of masks is no folder of images without objects. Three things speak for that: an image is called like one that is
labelled, its folder or name has a word as ``masks``, and lists or a config name the images of the set elsewhere. Where
two of them do, it's left out; where one does, that is said.
"""

from __future__ import annotations

import re
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Final

from blobdir.filenames import parents_of
from blobdir.labels.nearby import is_named_for_labels
from blobdir.labels.splitnames import without_splits
from blobdir.wording import counted

if TYPE_CHECKING:
    from blobdir.labels.model import Labels, Picture

_WORD: Final = re.compile(
    r"mask|segm|depth|disparit|semantic|panoptic|trimap|thumb|preview|heat_?map|salienc|overlay|visuali[sz]|thermal"
    r"|^(?:segs?|gt|labels?|disp|n?ir|normals|edges|vis|matte)$",
    re.IGNORECASE,
)
"""A word that says of a picture or folder that it's no image: of ``0001_mask``, ``SegmentationClass``, ``depth``."""
_PARTS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+")
_SEPARATORS: Final = re.compile(r"[-_. ]{2,}")
_LEAST: Final = 2
"""So many things must speak for it."""
_TWIN: Final = "twin"
"""It's called like an image that is named."""
_ODD: Final = "odd"
"""It, or its folder, is called like something else."""


def is_mask_of_voc(path: str) -> bool:
    """Whether a picture lies where Pascal VOC has its masks: they belong to the set, and are no images."""
    return not {"SegmentationClass", "SegmentationObject"}.isdisjoint(path.split("/")[:-1])


def leave_out_companions(labels: Labels) -> None:
    """Leave out pictures that aren't images of the set, and say which; of those that may not be, say so."""
    named = [picture for picture in labels.pictures if picture.is_labelled or picture.is_listed]
    others = [picture for picture in labels.pictures if not (picture.is_labelled or picture.is_listed)]
    if not named or not others:
        return
    known = _Named(named, others)
    left: dict[str, list[str]] = {}
    odd: dict[str, list[str]] = {}
    signs = {picture.path: known.signs(picture) for picture in others}
    for picture in others:
        if len(signs[picture.path]) + (picture.is_listed is False) >= _LEAST:
            left.setdefault(known.top_of(picture), []).append(picture.path)
    for picture in others:
        top, mine = known.top_of(picture), signs[picture.path]
        if not mine or len(mine) + (picture.is_listed is False) >= _LEAST:
            continue
        is_beside = known.has_in(dirname(picture.path))
        if not is_beside and top in left:  # of the same folder as others, whose images are labelled
            left[top].append(picture.path)
        elif not is_beside or _TWIN in mine:
            odd.setdefault(top, []).append(picture.path)
    labels.left_out = {path for paths in left.values() for path in paths}
    labels.pictures = [picture for picture in labels.pictures if picture.path not in labels.left_out]
    for folder, paths in left.items():
        count = counted(len(paths), "picture that no label file names", "pictures that no label file names")
        text = f"has {count}, masks or the like by what they are called, as {paths[0]}: not packed"
        labels.complain("label-unnamed", folder or ".", f"{text}. If they are images, add them with `blobdir add`")
    for folder, paths in odd.items():
        count = counted(len(paths), "image that no label file names", "images that no label file names")
        text = f"has {count}, and that may be masks or the like, as {paths[0]}"
        labels.note(folder or ".", f"{text}: packed as images with nothing in them")


class _Named:
    """Images that label files or lists name."""

    def __init__(self, named: list[Picture], others: list[Picture]) -> None:
        self._direct = {dirname(picture.path) for picture in named}
        self._all = self._direct | {folder for one in self._direct for folder in parents_of(one)} | {""}
        self._called: dict[str, set[str]] = {}
        self._near: dict[str, set[str]] = {}
        for picture in named:
            self._called.setdefault(_key(picture.path), set()).add(dirname(picture.path))
        for picture in (*named, *others):  # those beside images that are named are images, too
            if (folder := dirname(picture.path)) in self._direct:
                self._near.setdefault(_key(picture.path), set()).add(folder)

    def has_in(self, folder: str) -> bool:
        """Whether some lie in a folder itself."""
        return folder in self._direct

    def top_of(self, picture: Picture) -> str:
        """The uppermost folder around a picture that holds none of these images; or the one that it lies in."""
        folder = dirname(picture.path)
        return next((one for one in reversed((folder, *parents_of(folder))) if one not in self._all), folder)

    def signs(self, picture: Picture) -> set[str]:
        """What speaks against a picture being an image of the set."""
        folder = dirname(picture.path)
        key = _key(picture.path)
        if folder in self._direct:
            is_twin, is_odd = folder in self._called.get(key, ()), _has_word(splitext(basename(picture.path))[0])
        else:
            is_twin = any(without_splits(one) != without_splits(folder) for one in self._near.get(key, ()))
            own = [one for one in (folder, *parents_of(folder)) if one not in self._all]
            is_odd = any(_has_word(name) or is_named_for_labels(name) for name in map(basename, own))
            is_odd = is_odd or _has_word(splitext(basename(picture.path))[0])
        return {sign for sign, holds in ((_TWIN, is_twin), (_ODD, is_odd)) if holds}


def _key(path: str) -> str:
    """What a picture and its mask are called alike: ``0001`` of ``0001.jpg``, ``0001_mask.png``, ``depth-0001.png``."""
    stem = splitext(basename(path))[0]
    left = _PARTS.sub(lambda found: "" if _WORD.search(found[0]) else found[0], stem)
    return _SEPARATORS.sub("_", left).strip("-_. ") if left != stem else stem


def _has_word(name: str) -> bool:
    return any(_WORD.search(part) for part in _PARTS.findall(name))
