"""Images with their objects, one at a time, at the size of a tile or as large as they are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from blobdir.datasets import said
from blobdir.drawing.painting import draw_objects
from blobdir.errors import AnnotationError, BlobdirError
from blobdir.images import decoding, for_screen
from blobdir.packing import Problem
from blobdir.wording import counted, named_once, part_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blobdir.drawing.choosing import Chosen
    from blobdir.drawing.palette import Looks
    from blobdir.project import Dataset

LARGE, LARGE_AT_LEAST = 2048, 640
"""Pixels of the longer side of an image that is shown large: as many as it has, between these."""
_FAULTS = 3
"""Objects that can't be drawn that are named for an image."""


class Tile(NamedTuple):
    """An image of a dataset, drawn, or None where it can't be; and how many objects of which class are."""

    title: str
    picture: Image.Image | None
    classes: Counter[str]


def draw_tiles(
    chosen: Sequence[Chosen], looks: Looks, tile: int, problems: list[Problem], *, strict: bool, named: bool = True
) -> Iterator[Tile]:
    """Draw images with their objects.

    Parameters
    ----------
    chosen : sequence of (Dataset, str)
    looks : Looks
    tile : int
        Pixels of the longer side; 0: large.
    problems : list of Problem
        Gets images and objects that can't be drawn.
    strict : bool
        Whether one of these is an error.
    named : bool
        Whether the names of classes are written.

    Raises
    ------
    AnnotationError, ImageError, ReadError
        With `strict`.
    """
    for dataset, name in chosen:
        picture, classes = _draw(dataset, name, looks, tile, problems, strict=strict, named=named)
        yield Tile(f"{dataset.name}/{name}", picture, classes)


def _draw(
    dataset: Dataset, name: str, looks: Looks, tile: int, problems: list[Problem], *, strict: bool, named: bool
) -> tuple[Image.Image | None, Counter[str]]:
    try:
        image = Image.fromarray(for_screen(dataset.get_blob_img_np(name)))
    except (BlobdirError, OSError) as error:
        if strict:
            raise
        path = f"{dataset.path}/img/{name}"
        why = named_once(path, said(error)).removeprefix(decoding(path))
        problems.append(Problem("image", path, f"can't be drawn: {why}"))
        return None, Counter()
    longest = max(image.size)
    scale = (tile or min(LARGE, max(LARGE_AT_LEAST, longest))) / longest
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    way = Image.Resampling.NEAREST if scale >= 3 else Image.Resampling.BICUBIC
    resized = image if size == image.size else image.resize(size, way, reducing_gap=3.0)
    (one,) = dataset.annotations([name])
    if one.fault:
        if strict:
            raise AnnotationError(f"{one.path}: {one.fault} (--strict)")
        problems.append(Problem("unreadable", one.path, one.fault))
        return resized, Counter()
    if one.value is None:
        return resized, Counter()
    painted = draw_objects(resized, one.value, looks, scale, named=named)
    if painted.odd_colors:
        text = f"{counted(painted.odd_colors, 'object')} with a color that is none: drawn in that of the class"
        problems.append(Problem("color", one.path, text))
    if painted.faults:
        count = len(painted.faults)
        more = f"; and {count - _FAULTS:,} more" if count > _FAULTS else ""
        which = part_of(count, count + painted.drawn, "object")
        text = f"{which} can't be drawn: {'; '.join(painted.faults[:_FAULTS])}{more}"
        if strict:
            raise AnnotationError(f"{one.path}: {text} (--strict)")
        problems.append(Problem("undrawn", one.path, text))
    return resized, painted.classes
