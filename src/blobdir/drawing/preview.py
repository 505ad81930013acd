"""Looking at images of a project with their annotations: as a contact sheet, one image large, a document or a page."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blobdir.drawing.choosing import Choice, chosen_images
from blobdir.drawing.page import html_page
from blobdir.drawing.palette import Looks
from blobdir.drawing.pictures import check_size, encoded, picture_format, refuse_own, write_bytes
from blobdir.drawing.sheet import draw_page, draw_sheet, draw_sheets, page_size, sheet_size
from blobdir.drawing.stats import color_problems, known_meta, unseen_datasets
from blobdir.drawing.tiles import draw_tiles
from blobdir.errors import UsageError
from blobdir.wording import counted

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

    from PIL import Image

    from blobdir.drawing.choosing import Chosen
    from blobdir.drawing.tiles import Tile
    from blobdir.packing import Problem
    from blobdir.project import Project

TILE = 256


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    """What is drawn, and how large.

    Attributes
    ----------
    choice : Choice
        Which images.
    columns : int
        Images in a row of a sheet.
    tile : int
        Pixels of the longer side of an image; 0: 256, or large where there is only one.
    large : bool
        Each image by itself, as large as it is, from 640 to 2048 pixels.
    named : bool
        Whether the names of classes are written beside objects.
    strict : bool
        Whether what can't be used is an error.
    """

    choice: Choice = field(default_factory=Choice)
    columns: int = 8
    tile: int = 0
    large: bool = False
    named: bool = True
    strict: bool = False

    def __post_init__(self) -> None:
        if self.columns < 1 or (self.tile and not 32 <= self.tile <= 4096):
            raise UsageError("a sheet needs at least a column and an image, and tiles of 32 to 4096 pixels")

    def is_large(self, count: int) -> bool:
        """Whether so many images are shown large."""
        return self.large or (count == 1 and not self.tile)


class _Preview:
    """The images that are chosen, and what is known of their classes."""

    def __init__(self, project: Project, options: PreviewOptions, problems: list[Problem]) -> None:
        self.options, self.problems = options, problems
        problems += unseen_datasets(project, strict=options.strict)
        self.chosen: list[Chosen] = chosen_images(project, options.choice)
        meta, faults = known_meta(project, strict=options.strict)
        problems += [*faults, *color_problems(meta)]
        self.looks = Looks(meta)
        self.titles = [f"{dataset.name}/{name}" for dataset, name in self.chosen]
        self.large = options.is_large(len(self.chosen))
        self.tile = options.tile or TILE
        self.columns = min(options.columns, len(self.chosen))

    def tiles(self, progress: Callable[[str, int, int], None]) -> Iterator[Tile]:
        """The images, drawn."""
        size = 0 if self.large else self.tile
        found = draw_tiles(
            self.chosen, self.looks, size, self.problems, strict=self.options.strict, named=self.options.named
        )
        for number, one in enumerate(found, 1):
            progress("drawing", number, len(self.chosen))
            yield one

    def check(self, kind: str) -> None:
        """Refuse what its format has no room for."""
        if self.large and len(self.chosen) > 1 and kind not in ("PDF", "HTML"):
            raise UsageError(
                f"{counted(len(self.chosen), 'image')} match, and a picture holds one that is large: write .pdf or "
                ".html, or choose one with --filter"
            )
        if not self.large and kind == "PDF":
            check_size(page_size(self.columns, self.tile), kind, "draw smaller images, or fewer in a row")
        elif not self.large and kind != "HTML":
            size = sheet_size(len(self.chosen), self.columns, self.tile)
            check_size(size, kind, "draw fewer images or smaller ones, or write .pdf or .html, which have pages")

    def sheet(self, progress: Callable[[str, int, int], None]) -> Image.Image:
        """All of them as one picture."""
        tiles = self.tiles(progress)
        return draw_page(next(tiles)) if self.large else draw_sheet(tiles, self.titles, self.columns, self.tile)

    def pages(self, progress: Callable[[str, int, int], None]) -> Iterator[Image.Image]:
        """All of them as the pages of a document."""
        tiles = self.tiles(progress)
        if self.large:
            return map(draw_page, tiles)
        return draw_sheets(tiles, self.titles, self.columns, self.tile)


def _no_check(_then: str) -> None:
    pass


def _no_progress(_step: str, _done: int, _total: int) -> None:
    pass


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
        Pixels of the longer side of an image; 0: 256, or of one image as many as it has, from 640 to 2048.
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
    options = PreviewOptions(Choice(pattern, count=count), columns, tile, strict=strict)
    preview = _Preview(project, options, [] if problems is None else problems)
    preview.check("PNG")
    return preview.sheet(_no_progress)


def write_preview(
    project: Project,
    path: str | os.PathLike[str],
    options: PreviewOptions | None = None,
    *,
    problems: list[Problem] | None = None,
    check: Callable[[str], None] = _no_check,
    progress: Callable[[str, int, int], None] = _no_progress,
) -> str:
    """Draw images of a project to a file: a picture, the pages of a PDF, or a page in HTML, by the ending of its name.

    Parameters
    ----------
    project : Project
    path : str or path
        ``-`` is standard output, and gets PNG.
    options : PreviewOptions
    problems : list of Problem, optional
        As of `draw_preview`.
    check : callable, optional
        Called before the file gets its name, with what to do then: what it raises keeps it from that.
    progress : callable, optional
        Called with a step, and how many images of how many are drawn.

    Returns
    -------
    str
        What was written, in words.

    Raises
    ------
    UsageError
        The format can't be written, or has no room for so many images, or the picture would be a file of a dataset:
        nothing was drawn then.
    OSError
        The file can't be written: it's as it was.
    NotFoundError, IncompleteListingError, AnnotationError, ImageError, ReadError
        As of `draw_preview`.
    """
    kind = picture_format(path, html=True)
    refuse_own(project, path)
    preview = _Preview(project, options or PreviewOptions(), [] if problems is None else problems)
    preview.check(kind)
    if kind == "HTML":
        width = 640 if preview.large else preview.tile
        tiles = preview.tiles(progress)
        page = html_page(project.url, tiles, width, preview.looks, preview.problems)
        write_bytes(path, _checked(page, check))
        return counted(len(preview.chosen), "image")
    if kind == "PDF":
        written = 0

        def count(pages: Iterator[Image.Image]) -> Iterator[Image.Image]:
            nonlocal written
            for page in pages:
                written += 1
                yield page

        write_bytes(path, _checked(encoded(count(preview.pages(progress)), kind), check))
        return f"{counted(len(preview.chosen), 'image')}, {counted(written, 'page')}"
    sheet = preview.sheet(progress)
    write_bytes(path, _checked(encoded([sheet], kind), check))
    return f"{sheet.width} x {sheet.height} pixels"


def _checked(pieces: Iterable[bytes], check: Callable[[str], None]) -> Iterator[bytes]:
    yield from pieces
    check("nothing was written; try again")
