"""Splits that names speak of: the one rule which words there are, for files, folders, keys, datasets.

``train``, ``training``, ``val``, ``valid``, ``validation``, ``minival``, ``test``, ``testing``, ``test-dev2017``,
``train_1``, ``trainset``; ``trainval`` and the like have several together.
"""

from __future__ import annotations

import re
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

SPLITS: Final = ("train", "val", "valid", "validation", "test")
"""Keys that a ``data.yaml`` is known to have."""
LABEL_FOLDERS: Final = ("annotations", "annotation", "anns", "ann", "labels", "label", "coco", "gt")
"""Folders whose names are no splits, since they say what is in them."""
_ONE: Final = r"(?:mini)?(?:train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing|dev)?)"
_SPLIT: Final = re.compile(rf"(?<![a-z]){_ONE}(?:set)?\d*(?![a-z\d])", re.IGNORECASE)
"""A split in the name of a file with labels."""
_WHOLLY: Final = re.compile(rf"(?:{_ONE}[-_ ]?(?:set[-_ ]?)?)+(?:dev[-_ ]?)?\d*", re.IGNORECASE)
_WORDS: Final = r"ues?|ences?|leys?|ves?|idated|imonials?|aments?|ers?|ees?"
"""How words end that begin so and are no splits: values, valence, valley, valve, validated, testimonial, trainer."""
_CALLED: Final = re.compile(rf"(?<![a-z])(?:mini)?(?:train|val|test)(?!(?:{_WORDS})(?![a-z]))", re.IGNORECASE)
_PARTS: Final = re.compile(r"train|val|test", re.IGNORECASE)
_KIND: Final = re.compile("train|val|test")
_ALL: Final = ("all", "default")
ALL: Final = 3
"""How closely no split is said at all, see `closeness`."""
_WORD: Final = re.compile(r"[a-z]+")
_FAMILIES: Final = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_OTHERS: Final = frozenset(("dev", "holdout"))
"""Words for splits that aren't train, val or test."""


def is_split(name: str) -> bool:
    """Whether a name is that of a split and of nothing else: ``train``, ``val2017``, ``trainval``."""
    return _WHOLLY.fullmatch(name) is not None


def is_called_like_a_split(name: str) -> bool:
    """Whether a name begins a word with train, val or test, or minival; and not one that is no split (values)."""
    return _CALLED.search(name) is not None


def split_of_list(path: str) -> str:
    """The split that a list is called like, or that its folder is: ``train`` of ``train/all.txt``; empty: none."""
    stem, folder = splitext(basename(path))[0], basename(dirname(path))
    if is_called_like_a_split(stem):
        return stem
    return folder if is_split(folder) else ""


def is_whole(name: str) -> bool:
    """Whether a list of this name has the images of others, too: ``trainval``."""
    return name.lower() in _ALL or len(set(_PARTS.findall(name.lower()))) > 1


def closeness(split: str) -> int:
    """How closely a split is said, the lower the more: by the name of one, of several, another name, or none.

    An image that files of several say is of the closest; so ``all`` counts as none.
    """
    if split.lower() in ("", *_ALL):
        return ALL
    return 2 if not is_called_like_a_split(split) else int(is_whole(split))


def is_so(split: str, name: str) -> bool:
    """Whether images of a split are where a list of this name says."""
    parts = set(_PARTS.findall(name.lower()))
    return split.lower() == name.lower() or (bool(split) and not parts.isdisjoint(_PARTS.findall(split.lower())))


def list_order(name: str) -> tuple[bool, int, str]:
    """Sorts the names of lists, as the first that names an image counts: those that have all images are the last."""
    kinds = [kind for kind, word in enumerate(("train", "val", "test")) if word in name.lower()]
    return is_whole(name), min(kinds, default=3), name


def split_in_name(path: str) -> str:
    """The split that a label file's name says: ``train`` of ``train_labels.csv``; empty: none, or several."""
    found = _SPLIT.findall(splitext(basename(path))[0])
    return found[0] if len(found) == 1 else ""


def without_splits(folder: str) -> list[str]:
    """The names of folders but for what is called like a split in them, as what both have of two splits."""
    return [left for part in folder.split("/") if (left := _SPLIT.sub("", part).strip("-_. "))]


def split_of_folders(path: str) -> str:
    """The split that an image is of where labels say none: the first of its folders that is called so; empty: none."""
    return next((part for part in path.split("/")[:-1] if is_split(part)), "")


def folder_of_labels(path: str) -> str:
    """What the folder of a label file is called: the nearest one that isn't called so for the labels in it."""
    *folders, _ = path.split("/")
    return next((one for one in reversed(folders) if one not in LABEL_FOLDERS), "")


def kind_of_split(name: str) -> str:
    """Which of train, val, test a name speaks of: ``val`` of ``val2017``, of ``minival``; empty: none, or several."""
    kinds = {_KIND.search(found.lower())[0] for found in _SPLIT.findall(name)}  # type: ignore[index]
    return kinds.pop() if len(kinds) == 1 else ""


def families(names: Iterable[str]) -> set[str]:
    """The splits that names speak of: train, val, test, as words."""
    words = (word for name in names for word in _WORD.findall(name.lower()))
    return {_FAMILIES[word] for one in words if (word := one.removesuffix("set")) in _FAMILIES}


def said_splits(name: str) -> set[str]:
    """The splits that the name of a file or folder speaks of: `families`, or else another word that is one."""
    return families([name]) or set(_WORD.findall(name.lower())) & _OTHERS


def is_of_split(path: str, split: str) -> bool:
    """Whether the folders that an image lies in are called like a split."""
    folders = path.split("/")[:-1]
    return split.lower() in map(str.lower, folders) or not families(folders).isdisjoint(families([split]))


def split_below(split: str, scope: str) -> str:
    """What folders below one can say of a split: nothing if that folder, or one around it, is called so itself.

    ``data/data`` and ``train/train`` come of unpacking; the inner one is no part of the outer one's split.
    """
    return "" if split.lower() in scope.lower().split("/") else split


def speaks_of(folder: str, split: str, mine: set[str]) -> int:
    """Whether a folder speaks of a split (1), of another one (-1), or of none."""
    said = families([folder])
    return 1 if folder.lower() == split.lower() or not said.isdisjoint(mine) else -bool(said)
