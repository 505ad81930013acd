"""Classes and tags of annotations, as bytes or as files of a project. Worker processes run this: it imports little."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from blobdir.annotations import annotation_fault, classes_of, read_object, tags_of
from blobdir.errors import AnnotationError
from blobdir.inside import open_anywhere, open_inside, small_files

if TYPE_CHECKING:
    from collections.abc import Sequence

Labels = tuple[str, tuple[str, ...], tuple[str, ...]]
"""Why the classes and tags of an annotation can't be known, else empty, and these, each once."""


def labels_in(contents: Sequence[bytes]) -> list[Labels]:
    """Why the classes and tags of each annotation can't be known, else empty, and these, each once.

    Made to be sent by another process: what is said twice is one text.
    """
    found: list[Labels] = []
    texts: dict[str, str] = {}

    def each(names: list[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys([texts.setdefault(name, name) for name in names]))

    for data in contents:
        try:
            value = read_object(data)
            fault = annotation_fault(value)
        except AnnotationError as error:
            fault = str(error)
        found.append((fault, (), ()) if fault else ("", each(classes_of(value)), each(tags_of(value))))
    return found


def labels_in_files(root: str, paths: Sequence[str], follow_links: bool) -> list[Labels | None]:
    """What `labels_in` says of annotations of a project; None where a file isn't small, or can't be read.

    Parameters
    ----------
    root : str
        Folder of the project, with all links in it followed.
    paths : sequence of str
        In the project.
    follow_links : bool
        Whether links are followed wherever they lead.
    """

    def open_folder(path: str) -> int:
        if follow_links:
            return open_anywhere(os.path.join(root, path), folder=True)
        return open_inside(root, path, folder=True)

    contents: list[bytes | None] = []
    with suppress(OSError):  # a folder can't be opened: its files are those that are left
        contents.extend(small_files(paths, open_folder, follow=follow_links))
    found = iter(labels_in([data for data in contents if data is not None]))
    known = [None if data is None else next(found) for data in contents]
    return known + [None] * (len(paths) - len(known))
