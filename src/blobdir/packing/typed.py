"""Which images are meant by a name, or a pattern, that somebody has typed: one rule for all commands that take such.

Where there is a dataset ``train``, ``train/img/a.jpg``, the path that readers see, is exactly that image or none: given
again after it was removed, it isn't ``a.jpg`` of a dataset ``train/img``. Else ``train/a.jpg``, or
``train/img/a.jpg``, is one of the dataset of this name or path, in a folder or not; what can be two images is an error.
"""

from __future__ import annotations

import re
from fnmatch import translate
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Image = tuple[str, str]
"""Path of the dataset, and name of the image."""


def readings(text: str, called: Callable[[str], Iterable[str]]) -> list[Image]:
    """Each image that a text can mean, whether it's there or not.

    Parameters
    ----------
    text : str
    called : callable
        Paths of the datasets that are called so, by name or path.
    """
    found = all_readings(text, called)
    return [image for image in found if is_exact(text, image)] or found


def all_readings(text: str, called: Callable[[str], Iterable[str]]) -> list[Image]:
    """Each image that a text could mean if it weren't the path of one."""
    text = text.strip("/")
    found: dict[Image, None] = {}
    at = text.find("/")
    while at > 0:
        tail = text[at + 1 :]
        inside = tail.removeprefix(f"{layout.ITEMS}/")
        found.update({(path, name): None for path in called(text[:at]) for name in (tail, inside) if name})
        at = text.find("/", at + 1)
    return list(found)


def is_exact(text: str, image: Image) -> bool:
    """Whether a text is the path of an image as readers see it."""
    return text.strip("/") == path_of(image)


def path_of(image: Image) -> str:
    """The path of an image that readers see."""
    return f"{image[0]}/{layout.ITEMS}/{image[1]}"


def meant(text: str, there: list[Image]) -> list[Image]:
    """The image that is meant, among those `readings` that are there; none if there is none.

    Raises
    ------
    UsageError
        There are two.
    """
    if len(there) < 2:
        return there
    raise UsageError(f"{text}: can be {' and '.join(sorted(map(path_of, there)))}; write the one that is meant")


class Pattern:
    """A shell pattern for ``train/a.jpg``: name of a dataset, and name in it. ``*`` stands for slashes too.

    Parameters
    ----------
    text : str
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._fits = re.compile(translate(text)).match
        self._can_be_path = f"/{layout.ITEMS}/" in text
        self._by_name = ""
        self._by_path = ""

    def fits(self, dataset: str, called: str, name: str) -> bool:
        """Whether it fits an image.

        Parameters
        ----------
        dataset, called : str
            Path and name of its dataset.
        name : str
        """
        by_name = self._fits(f"{called}/{name}") is not None
        if self._can_be_path:
            path = path_of((dataset, name))
            if by_name:
                self._by_name = self._by_name or path
            elif not self._by_path and self._fits(path):
                self._by_path = path
        return by_name

    def check(self) -> None:
        """Refuse it where it fits some of the images that it was held against by their names, others by their paths.

        Raises
        ------
        UsageError
        """
        if self._by_name and self._by_path:
            raise UsageError(
                f"{self._text}: can be {self._by_path}, by the path, and {self._by_name}, by the name of the dataset; "
                f"patterns are for names such as train/a.jpg, without {layout.ITEMS}/"
            )
