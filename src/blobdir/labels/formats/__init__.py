"""The formats of others: how each is known by its content, and read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from blobdir.labels.formats import coco, createml, cvat, labelme, table, voc, yolo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Labels


LOOKED_AT: Final = 1000
"""Files of one kind that are looked at to know a format: a million of another one needn't all be opened."""


@dataclass(frozen=True, slots=True)
class Format:
    """A format of labels.

    Attributes
    ----------
    name : str
        As it's given on the command line.
    title : str
        As people call it.
    wants : str
        What its files are, for messages.
    kinds : tuple of str
        Extensions of its files.
    knows : callable
        Whether a file of this path, that begins like this, has such labels.
    found : callable
        Gives a file that says that a folder has such labels; empty: none does.
    read : callable
        Reads all that a folder has.
    is_of_each : bool
        Whether its files have the labels of one image each.
    fault : callable
        Why a file of this path, that begins like this, isn't read, though it looks like one; empty: it doesn't.
    may_be_bare : bool
        Whether its files may have no extension.
    """

    name: str
    title: str
    wants: str
    kinds: tuple[str, ...]
    knows: Callable[[str, bytes], bool]
    found: Callable[[LabelFiles], str]
    read: Callable[[LabelFiles, Images], Labels]
    is_of_each: bool = False
    fault: Callable[[str, bytes], str] = lambda *_: ""
    may_be_bare: bool = False

    def paths(self, files: LabelFiles) -> Iterator[str]:
        """Files that may be of the format; those without an extension are known by what is in them."""
        yield from files.ending(*self.kinds)
        if self.may_be_bare:
            yield from (path for path in files.bare() if self.knows(path, files.head(path)))


def _of(
    name: str,
    title: str,
    wants: str,
    kinds: tuple[str, ...],
    knows: Callable[[str, bytes], bool],
    read: Callable[[LabelFiles, Images], Labels],
    *,
    is_of_each: bool = False,
    fault: Callable[[str, bytes], str] = lambda *_: "",
    may_be_bare: bool = False,
) -> Format:
    """A format which the first file that it knows says to be there."""

    def found(files: LabelFiles) -> str:
        for paths in (files.ending(*kinds), files.bare() if may_be_bare else ()):
            some = islice(paths, LOOKED_AT)
            if path := next((path for path in some if knows(path, files.head(path))), ""):
                return path
        return ""

    return Format(name, title, wants, kinds, knows, found, read, is_of_each, fault, may_be_bare)


FORMATS: Final = {
    one.name: one
    for one in (
        _of("coco", "COCO", "JSON with images, annotations and categories", (".json",), coco.is_coco, coco.read),
        Format(
            "yolo",
            "YOLO",
            "data.yaml, or a text of numbers for each image",
            (".txt", ".yaml", ".yml"),
            yolo.is_either,
            yolo.has_labels,
            yolo.read,
            is_of_each=True,
        ),
        _of(
            "voc",
            "Pascal VOC",
            "XML with <annotation>",
            (".xml",),
            voc.is_voc,
            voc.read,
            is_of_each=True,
            may_be_bare=True,
        ),
        _of("cvat", "CVAT", "XML with <annotations>", (".xml",), cvat.is_cvat, cvat.read),
        _of("labelme", "LabelMe", "JSON with shapes", (".json",), labelme.is_labelme, labelme.read, is_of_each=True),
        _of(
            "createml",
            "CreateML",
            "a JSON list of images, each with annotations",
            (".json",),
            createml.is_createml,
            createml.read,
        ),
        _of(
            "csv",
            "boxes in a CSV",
            "a first line with columns for image, class and box",
            (".csv", ".tsv"),
            table.is_table,
            table.read,
            fault=table.fault_of,
        ),
    )
}
"""By name."""
