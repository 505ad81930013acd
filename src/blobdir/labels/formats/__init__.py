"""The formats of others: how each is known by its content, and read."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from blobdir.labels.formats import coco, createml, cvat, labelme, table, voc, yolo

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.labels.files import Images, LabelFiles
    from blobdir.labels.model import Labels


_LOOKED_AT: Final = 1000
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
    found : callable
        Gives a file that says that a folder has such labels; empty: none does.
    read : callable
        Reads all that a folder has.
    """

    name: str
    title: str
    found: Callable[[LabelFiles], str]
    read: Callable[[LabelFiles, Images], Labels]


def _first(kinds: tuple[str, ...], is_one: Callable[[str, bytes], bool]) -> Callable[[LabelFiles], str]:
    """Finds the first file of these kinds that is of a format, by its head."""

    def found(files: LabelFiles) -> str:
        some = islice(files.ending(*kinds), _LOOKED_AT)
        return next((path for path in some if is_one(path, files.head(path))), "")

    return found


FORMATS: Final = {
    one.name: one
    for one in (
        Format("coco", "COCO", _first((".json",), coco.is_coco), coco.read),
        Format("yolo", "YOLO", yolo.has_labels, yolo.read),
        Format("voc", "Pascal VOC", _first((".xml",), voc.is_voc), voc.read),
        Format("cvat", "CVAT", _first((".xml",), cvat.is_cvat), cvat.read),
        Format("labelme", "LabelMe", _first((".json",), labelme.is_labelme), labelme.read),
        Format("createml", "CreateML", _first((".json",), createml.is_createml), createml.read),
        Format("csv", "boxes in a CSV", _first((".csv", ".tsv"), table.is_table), table.read),
    )
}
"""By name."""
