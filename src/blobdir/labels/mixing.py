"""Objects of several label files on one image: that is a problem where the files differ, whatever led there.

Which file has the labels of an image is told by rules that can't know what people mean. So here is the net below them,
the one place that is asked when all objects of an image are known: if two files say other objects of it, each of them
some that the other one doesn't, then one may be an older version, a program's guess, another data set's. Their objects
are on the image together, and nobody would see it. Nothing is wrong if both say the same, or if one has all that the
other one has, on all images of both.
"""

from __future__ import annotations

import re
from itertools import combinations
from posixpath import basename
from typing import TYPE_CHECKING, Final

from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from blobdir.labels.model import Thing

_AROUND: Final = "stuff"
_PART: Final = re.compile(rf"(instances|(?:person_)?keypoints|{_AROUND})([-_].*)", re.IGNORECASE)
"""Files of COCO's that are made to be used together: things that can be counted, people, and what is around them."""


class _Pair:
    """Two label files, and what each says that the other doesn't, of images that both say something of."""

    __slots__ = ("images", "left", "right")

    def __init__(self) -> None:
        self.images: dict[str, None] = {}
        self.left: set[str] = set()
        self.right: set[str] = set()


class Mixing:
    """Notes what several label files say of images."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str], _Pair] = {}

    def note(self, image: str, things: list[Thing]) -> None:
        """Note all objects of an image."""
        by_file: dict[str, set[int]] = {}
        for i, thing in enumerate(things):
            for file in thing.files:
                by_file.setdefault(file, set()).add(i)
        for key in combinations(sorted(by_file), 2):
            left, right = (by_file[file] for file in key)
            if left != right:
                pair = self._pairs.setdefault(key, _Pair())
                pair.images[image] = None
                pair.left.update(things[i].label for i in left - right)
                pair.right.update(things[i].label for i in right - left)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Files whose objects came together, though they differ, and what to say of it."""
        for (one, other), pair in sorted(self._pairs.items()):
            if pair.left and pair.right and not _are_parts(one, other, pair):
                first = next(iter(pair.images))
                text = (
                    f"says other objects of {counted(len(pair.images), 'image')} than {other}, as of {first}: those of "
                    "both are there together. Give the one that counts with --labels-from, or put the other one away"
                )
                yield one, text


def _are_parts(one: str, other: str, pair: _Pair) -> bool:
    """Whether files are called the same but for which part of COCO's labels they have, and no class is in both."""
    found = [_PART.fullmatch(basename(file)) for file in (one, other)]
    names: Iterable[tuple[str, str]] = ((match[1].lower(), match[2]) for match in found if match)
    parts, rest = zip(*names, strict=True) if all(found) else ((), ())
    is_apart = pair.left.isdisjoint(pair.right)
    return parts.count(_AROUND) == 1 and rest[0] == rest[1] and is_apart
