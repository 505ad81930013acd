"""Annotations without objects for images that have none: without them, the SDK leaves out the whole dataset."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.errors import PackError
from blobdir.packing.belongings import check_nobody_else
from blobdir.packing.growing import annotation_of_image
from blobdir.packing.writer import ProjectWriter

if TYPE_CHECKING:
    from blobdir.imagestore.view import View
    from blobdir.packing.publishing import Change


def annotate(change: Change, root: str, view: View) -> tuple[int, list[str]]:
    """Stage an annotation for each image that has none.

    Returns
    -------
    int
        How many there are.
    list of str
        Names of images whose size can't be found out, or whose annotation would lie in another's; they have none still.
    """
    writer = ProjectWriter(change, root)
    left: list[str] = []
    meant: dict[str, list[str]] = {}
    folders: set[str] = set()
    for name in view.names:
        if view.has_annotation(name):
            continue
        file = f"{name}.json"
        if (
            file in folders
            or not view.can_lie(layout.ANNOTATIONS, file)
            or not meant.keys().isdisjoint(f"{layout.ANNOTATIONS}/{folder}" for folder in layout.above(name))
        ):
            left.append(name)
            continue
        try:
            data = annotation_of_image(BytesIO(view.read(name)), name)
        except PackError:
            left.append(name)
            continue
        path = f"{layout.ANNOTATIONS}/{file}"
        meant[path] = [name]
        folders.update(layout.above(name))
        change.stage(f"{view.path}/{path}").write_bytes(data)
    if meant:
        check_nobody_else(writer.known, view.path, meant, ())
    return len(meant), left
