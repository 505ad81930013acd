"""A contact sheet: images of a project with their annotations drawn over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from blobdir.drawing.shapes import class_colors, draw_objects, one_line
from blobdir.drawing.stats import known_meta, unseen_datasets
from blobdir.errors import AnnotationError, BlobdirError, IncompleteListingError, NotFoundError, UsageError
from blobdir.images import for_screen
from blobdir.packing import Problem
from blobdir.packing.typed import Pattern
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.project import Dataset, Project

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
TILE, CAPTION, GAP = 256, 18, 6
_BACKGROUND, _INK, _FAINT = (30, 30, 34), (230, 230, 230), (150, 60, 60)


def draw_preview(
    project: Project,
    *,
    pattern: str = "*",
    count: int = 40,
    columns: int = 8,
    tile: int = TILE,
    problems: list[Problem] | None = None,
    strict: bool = False,
) -> Image.Image:
    """Draw images of a project in rows, each with its annotation's objects in the colours of their classes.

    Parameters
    ----------
    project : Project
    pattern : str
        Shell pattern for ``train/a.jpg``.
    count : int
        Images at the most, taken at even distances.
    columns : int
    tile : int
        Pixels of the longer side of an image.
    problems : list of Problem, optional
        Gets what couldn't be drawn: images that can't be decoded, objects, classes whose colours aren't known, and
        folders that may hold datasets and can't be listed.
    strict : bool
        Whether such an image, object, folder or ``meta.json``, or an annotation that can't be used, is an error.

    Raises
    ------
    NotFoundError
        Nothing matches.
    IncompleteListingError
        Nothing that could be listed matches; or not all could be, with `strict`, or in a dataset.
    AnnotationError, ImageError, ReadError
        With `strict`.
    UsageError
        No columns, or tiles too small to see; or the pattern fits some images by their paths, others by their names.
    """
    if columns < 1 or count < 1 or not 32 <= tile <= 4096:
        raise UsageError("a sheet needs at least a column and an image, and tiles of 32 to 4096 pixels")
    fitting = Pattern(pattern)
    chosen = [(dataset, name) for dataset, name in _images(project) if fitting.fits(dataset.path, dataset.name, name)]
    fitting.check()
    problems = [] if problems is None else problems
    problems += unseen_datasets(project, strict=strict)
    if not chosen and (why := project.why_unseen()):
        raise IncompleteListingError(
            f"{pattern}: no image matches that could be listed, and others may be there: {why}"
        )
    if not chosen:
        raise NotFoundError(f"{pattern}: no image of {project.url} matches; patterns are for names such as train/a.jpg")
    chosen = [chosen[i * len(chosen) // min(count, len(chosen))] for i in range(min(count, len(chosen)))]
    meta, faults = known_meta(project, strict=strict)
    problems += faults
    colors = class_colors(meta)
    columns = min(columns, len(chosen))
    rows = -(-len(chosen) // columns)
    width, height = columns * (tile + GAP) + GAP, rows * (tile + CAPTION + GAP) + GAP
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, (dataset, name) in enumerate(chosen):
        x = GAP + number % columns * (tile + GAP)
        y = GAP + number // columns * (tile + CAPTION + GAP)
        picture = _tile(dataset, name, colors, tile, problems, strict=strict)
        if picture is None:
            draw.rectangle((x, y, x + tile, y + tile), outline=_FAINT)
            draw.line((x, y, x + tile, y + tile), fill=_FAINT)
        else:
            sheet.paste(picture, (x + (tile - picture.width) // 2, y + (tile - picture.height) // 2))
        draw.text((x, y + tile + 2), _fitting(draw, font, f"{dataset.name}/{name}", tile), fill=_INK, font=font)
    return sheet


def _images(project: Project) -> Iterator[tuple[Dataset, str]]:
    return ((dataset, name) for dataset in project.values() for name in dataset.names)


def _tile(
    dataset: Dataset,
    name: str,
    colors: dict[str, tuple[int, int, int]],
    tile: int,
    problems: list[Problem],
    *,
    strict: bool,
) -> Image.Image | None:
    """An image and its objects; None where it can't be decoded."""
    try:
        image = Image.fromarray(for_screen(dataset.get_blob_img_np(name)))
    except (BlobdirError, OSError) as error:
        if strict:
            raise
        problems.append(Problem("image", f"{dataset.path}/img/{name}", f"can't be drawn: {error}"))
        return None
    scale = tile / max(image.size)
    resized = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    (one,) = dataset.annotations([name])
    if one.fault:
        if strict:
            raise AnnotationError(f"{one.path}: {one.fault} (--strict)")
        problems.append(Problem("unreadable", one.path, one.fault))
    elif one.value is not None:
        objects = one.value.get("objects", [])
        missing = len(objects) - draw_objects(resized, one.value, colors, scale)
        if missing:
            shapes = ", ".join(sorted({str(item.get("geometryType")) for item in objects}))
            text = f"{missing} of its {counted(len(objects), 'object')} can't be drawn (their shapes: {shapes})"
            if strict:
                raise AnnotationError(f"{one.path}: {text} (--strict)")
            problems.append(Problem("undrawn", one.path, text))
    return resized


def _fitting(
    draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, text: str, width: int
) -> str:
    text = one_line(text)
    if draw.textlength(text, font=font) <= width:
        return text
    while text and draw.textlength(f"…{text}", font=font) > width:
        text = text[1:]
    return f"…{text}"
