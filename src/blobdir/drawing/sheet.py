"""Contact sheets: tiles in rows, each with its name below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from blobdir.drawing.text import Typesetter, typesetter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from blobdir.drawing.tiles import Tile

GAP = 6
_BACKGROUND, _INK, _FAINT = (30, 30, 34), (230, 230, 230), (150, 60, 60)
_CAPTION_SIZE, _CAPTION_HEIGHT = 12, 18


def _letters(tile: int) -> Typesetter:
    return typesetter(max(_CAPTION_SIZE, min(24, tile // 42)))


def caption_height(tile: int) -> int:
    """Pixels below a tile of a size for its name."""
    return max(_CAPTION_HEIGHT, _letters(tile).height + 2)


def sheet_size(count: int, columns: int, tile: int) -> tuple[int, int]:
    """Width and height of a sheet."""
    rows = -(-count // columns)
    return columns * (tile + GAP) + GAP, rows * (tile + caption_height(tile) + GAP) + GAP


def draw_sheet(tiles: Iterable[Tile], titles: Sequence[str], columns: int, tile: int) -> Image.Image:
    """Draw tiles in rows; those without a picture are crossed out.

    Parameters
    ----------
    tiles : iterable of Tile
    titles : sequence of str
        Of all tiles: a sheet is as high as they need, and two that differ don't look the same.
    columns : int
    tile : int
        Pixels of a side of the places for them.
    """
    sheet = Image.new("RGB", sheet_size(len(titles), columns, tile), _BACKGROUND)
    letters = _letters(tile)
    cut = letters.fitting(titles, tile)
    step = tile + caption_height(tile) + GAP
    for number, one in enumerate(tiles):
        x, y = GAP + number % columns * (tile + GAP), GAP + number // columns * step
        _paste(sheet, one, x, y, tile, tile)
        letters.draw(sheet, x, y + tile + 2, cut[one.title], _INK, begins="L")
    return sheet


def draw_page(one: Tile) -> Image.Image:
    """Draw one tile as large as it is, with its name below."""
    width, height = one.picture.size if one.picture else (640, 480)
    letters = _letters(max(width, height))
    below = letters.height + 6
    page = Image.new("RGB", (max(width, 320) + 2 * GAP, height + below + 2 * GAP), _BACKGROUND)
    _paste(page, one, GAP, GAP, page.width - 2 * GAP, height)
    title = letters.fitting([one.title], page.width - 2 * GAP)[one.title]
    letters.draw(page, GAP, GAP + height + 3, title, _INK, begins="L")
    return page


def _paste(sheet: Image.Image, one: Tile, x: int, y: int, width: int, height: int) -> None:
    if one.picture is None:
        draw = ImageDraw.Draw(sheet)
        draw.rectangle((x, y, x + width, y + height), outline=_FAINT)
        draw.line((x, y, x + width, y + height), fill=_FAINT)
    else:
        sheet.paste(one.picture, (x + (width - one.picture.width) // 2, y + (height - one.picture.height) // 2))


def page_size(columns: int, tile: int) -> tuple[int, int]:
    """Width and height of a sheet of a document at the most: as high as paper is for its width."""
    width, height = sheet_size(1, columns, tile)[0], caption_height(tile) + tile + GAP
    return sheet_size(columns * max(1, int((width * 2**0.5 - GAP) // height)), columns, tile)


def draw_sheets(tiles: Iterator[Tile], titles: Sequence[str], columns: int, tile: int) -> Iterator[Image.Image]:
    """Draw sheets as high as paper is for their width, one after the other."""
    rows = (page_size(columns, tile)[1] - GAP) // (tile + caption_height(tile) + GAP)
    for low in range(0, len(titles), rows * columns):
        part = titles[low : low + rows * columns]
        yield draw_sheet((next(tiles) for _ in part), part, columns, tile)
