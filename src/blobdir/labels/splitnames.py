"""Splits that names speak of: train, val, test, as words in the names of files and folders."""

from __future__ import annotations

import re
from posixpath import basename, splitext
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_SPLIT: Final = re.compile(
    r"(?<![a-z])(?:mini)?(?:train(?:ing)?|val(?:id(?:ation)?)?|test(?:ing|dev)?)\d*(?![a-z\d])", re.IGNORECASE
)
"""A split in the name of a file with labels."""
_KIND: Final = re.compile("train|val|test")
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


def split_in_name(path: str) -> str:
    """The split that a label file's name says: ``train`` of ``train_labels.csv``; empty: none, or several."""
    found = _SPLIT.findall(splitext(basename(path))[0])
    return found[0] if len(found) == 1 else ""


def kind_of_split(name: str) -> str:
    """Which of train, val, test a name speaks of: ``val`` of ``val2017``, of ``minival``; empty: none, or several."""
    kinds = {_KIND.search(found.lower())[0] for found in _SPLIT.findall(name)}  # type: ignore[index]
    return kinds.pop() if len(kinds) == 1 else ""


def families(names: Iterable[str]) -> set[str]:
    """The splits that names speak of: train, val, test, as words."""
    words = (word for name in names for word in _WORD.findall(name.lower()))
    return {_FAMILIES[word] for word in words if word in _FAMILIES}


def is_of_split(path: str, split: str) -> bool:
    """Whether the folders that an image lies in are called like a split."""
    folders = path.split("/")[:-1]
    return split.lower() in map(str.lower, folders) or not families(folders).isdisjoint(families([split]))
