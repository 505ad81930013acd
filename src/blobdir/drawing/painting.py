"""The objects of an annotation painted over their image.

From below: areas, where all objects on a pixel have an equal part in its colour, whatever their order; then lines and
dots, opaque and in their exact colours, so that no area dims them; where they are hardly brighter or darker than what
lies below, a thin rim in black or white around them; then the names of the classes, where there is room for them.
Shapes are drawn at the size of the picture, not of the image, so that lines stay sharp in small pictures.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from blobdir.drawing.clipping import clip_line, clip_ring, is_inside
from blobdir.drawing.filling import MANY, MOST_WAY, filled, pieces, way_of
from blobdir.drawing.labels import Label, draw_labels
from blobdir.drawing.palette import Color, Looks, color_of, is_no_color
from blobdir.drawing.shapes import Shape, ShapeError, read_shape, shape_name
from blobdir.wording import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from blobdir.drawing.shapes import Line, Mask, Ring

FILL = 0.35
"""Opacity of areas."""
_SIMILAR = 45
"""Difference in brightness, of 255, below which a line needs a rim."""
_LABELS = 3000
"""Objects whose names are tried to be written: of more of them, no picture has room for the others."""
_CROWD = 3000
"""Objects of more than these have thin lines."""
_OPEN_BYTES = 256 << 20
"""Masks of colours whose areas are kept apart at a time: of more colours, each takes its turn again and again."""
_MOST_CLOSED = 1 << 28
"""Pixels of areas that took their turn, after which areas of other colours get the nearest of those that are open."""
_BAND = 1 << 16
"""Pixels that are added up at a time."""
_MARGIN = 64
_MANY = 256
"""Points from which on those that fall on one pixel are left out."""
_NOWHERE = (1e9, 1e9, -1e9, -1e9)
_KIND = 40
"""Characters of a shape's name that isn't known."""
_FRAME = 6
"""Widest rim of a mask."""
_ANY = [0] + [255] * 255
_WHOLE = [0] * 255 + [255]
_QUARTER = [0] * 64 + [255] * 192


@dataclass(slots=True)
class Painted:
    """What came of an annotation.

    Attributes
    ----------
    classes : Counter
        Class -> objects that were drawn.
    faults : list of str
        Objects that couldn't be drawn, by number, and why.
    odd_colors : int
        Objects that were drawn in the colours of their classes, since their own are none.
    """

    classes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    odd_colors: int = 0

    @property
    def drawn(self) -> int:
        """How many objects were drawn."""
        return self.classes.total()


def draw_objects(
    image: Image.Image, annotation: Mapping[str, Any], looks: Looks, scale: float, *, named: bool = True
) -> Painted:
    """Paint the objects of an annotation over its image.

    Parameters
    ----------
    image : Image
        RGB; changed in place.
    annotation : dict
    looks : Looks
    scale : float
        Pixels of `image` for one of the annotation.
    named : bool
        Whether the names of classes are written.
    """
    objects = annotation.get("objects", [])
    canvas = _Canvas(image.size, scale, crowded=len(objects) > _CROWD)
    painted, labels = Painted(), list[Label]()
    for number, item in enumerate(objects):
        title = item.get("classTitle")
        title = title if isinstance(title, str) else ""
        look = looks[title]
        try:
            shape = read_shape(item, look)
            color = color_of(item.get("color")) or look.color
            canvas.add(shape, color)
        except ShapeError as error:
            kind = shape_name(item, look)
            named_kind = f" ({one_line(kind, _KIND)})" if kind else ""
            painted.faults.append(f"object {number}{named_kind}: {error}")
            continue
        painted.classes[title] += 1
        painted.odd_colors += is_no_color(item.get("color"))
        box = canvas.scaled(shape.bounds())
        if named and len(labels) < _LABELS and canvas.shows(box):
            labels.append(Label(box, title, color))
    canvas.paint(image)
    draw_labels(image, labels, canvas.stroke_mask())
    return painted


@dataclass(slots=True)
class _Fill:
    """Where the areas of a colour are, and a box that holds them."""

    mask: Image.Image
    draw: ImageDraw.ImageDraw
    box: tuple[float, float, float, float] = _NOWHERE


class _Canvas:
    """Areas and lines of a picture, until they are painted."""

    def __init__(self, size: tuple[int, int], scale: float, *, crowded: bool) -> None:
        self._size, self._scale = size, scale
        self._width = 1 if crowded else max(2, round(min(size) / 300))
        self._window = (-_MARGIN, -_MARGIN, size[0] + _MARGIN, size[1] + _MARGIN)
        self._strokes = Image.new("RGBA", size)
        self._draw = ImageDraw.Draw(self._strokes)
        self._fills: dict[Color, _Fill] = {}
        self._free: list[_Fill] = []
        self._closed = 0
        self._open: NDArray[np.int64] = np.zeros((0, 3), np.int64)
        self._sums: NDArray[np.float32] | None = None
        self._most: NDArray[np.uint8] | None = None

    def scaled(self, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        """The pixels that a box of the image, corners inside, takes in the picture."""
        left, top, right, bottom = box
        scale = self._scale
        return left * scale, top * scale, (right + 1) * scale - 1, (bottom + 1) * scale - 1

    def shows(self, box: tuple[float, float, float, float]) -> bool:
        """Whether some of a box of the picture, or of the lines around it, is in the picture."""
        left, top, right, bottom = box
        most = self._width
        return right > -1 - most and bottom > -1 - most and left < self._size[0] + most and top < self._size[1] + most

    def stroke_mask(self) -> NDArray[np.uint8]:
        """Where lines are."""
        return np.asarray(self._strokes.getchannel("A"))

    def add(self, shape: Shape, color: Color) -> None:
        """Draw an object over those that were added before.

        Raises
        ------
        ShapeError
            That would take too long.
        """
        areas = [[self._points(ring) for ring in rings] for rings in shape.areas]
        lines = [self._points(line.points) for line in shape.lines]
        way = sum(map(way_of, lines))
        if way > MOST_WAY:
            raise ShapeError(f"its outlines go over {way:,.0f} pixels, and {MOST_WAY:,} are the most")
        if shape.box:
            self._add_box(self.scaled(shape.box), color)
        for rings in areas:
            self._add_area(rings, color)
        if shape.mask:
            self._add_mask(shape.mask, color)
        for line, points in zip(shape.lines, lines, strict=True):
            self._add_line(line, points, color)
        radius = self._width + 1
        for dot in shape.dots:
            ((x, y),) = self._points([(dot.x, dot.y)])
            self._draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*(dot.color or color), 255))

    def _points(self, ring: Ring) -> Ring:
        scale = self._scale
        shift = (scale - 1) / 2
        if len(ring) < _MANY:
            return [(x * scale + shift, y * scale + shift) for x, y in ring]
        points = np.array(ring, np.float64) * scale + shift
        pixels = np.rint(points)
        kept = np.ones(len(points), bool)
        kept[1:] = (pixels[1:] != pixels[:-1]).any(axis=1)
        return [*map(tuple, points[kept].tolist())]

    def _fill(self, color: Color, box: tuple[float, float, float, float]) -> _Fill:
        """The mask of the areas of a colour, in which a box is about to change; of too many, that of one like it."""
        found = self._fills.get(color)
        if found is None:
            if len(self._fills) >= max(32, _OPEN_BYTES // (self._size[0] * self._size[1])):
                if self._closed > _MOST_CLOSED:
                    return self._fill(self._nearest(color), box)
                self._close(next(reversed(self._fills)))  # the newest: of colours that take turns, most stay
            if self._free:
                found = self._free.pop()
            else:
                mask = Image.new("L", self._size)
                found = _Fill(mask, ImageDraw.Draw(mask))
            self._fills[color] = found
        left, top, right, bottom = found.box
        found.box = min(left, box[0]), min(top, box[1]), max(right, box[2]), max(bottom, box[3])
        return found

    def _nearest(self, color: Color) -> Color:
        """The colour that is most like one, of those whose areas are open: they stay so."""
        if len(self._open) != len(self._fills):
            self._open = np.array([*self._fills], np.int64)
        red, green, blue = self._open[int(((self._open - color) ** 2).sum(axis=1).argmin())].tolist()
        return red, green, blue

    def _close(self, color: Color) -> None:
        """Give the areas of a colour their part in the pixels that they cover."""
        fill = self._fills.pop(color)
        if self._sums is None or self._most is None:
            self._sums = np.zeros((4, self._size[1], self._size[0]), np.float32)
            self._most = np.zeros((self._size[1], self._size[0]), np.uint8)
        left, top, right, bottom = (int(value) for value in fill.box)
        if box := _inside((left - 1, top - 1, right + 3, bottom + 3), self._size):
            left, top, right, bottom = box
            self._closed += (right - left) * (bottom - top)
            mask = np.asarray(fill.mask.crop(box))
            # A few rows at a time, and colour by colour: what is added up stays in the processor's cache.
            rows = max(1, _BAND // (right - left))
            for row in range(0, bottom - top, rows):
                band = mask[row : row + rows]
                place = slice(top + row, min(top + row + rows, bottom)), slice(left, right)
                part = band / np.float32(255)
                for plane, value in zip(self._sums, (*color, 1), strict=True):
                    plane[place] += part * np.float32(value)
                np.maximum(self._most[place], band, out=self._most[place])
            fill.mask.paste(0, box)
        fill.box = _NOWHERE
        self._free.append(fill)

    def _add_box(self, box: tuple[float, float, float, float], color: Color) -> None:
        left, top, right, bottom = box
        if right <= -1 or bottom <= -1 or left >= self._size[0] or top >= self._size[1]:
            return
        # Cut off where its outline can't be seen any more.
        low, high = -_MARGIN, max(self._size) + _MARGIN
        corners = [round(min(max(value, low), high)) for value in box]
        corners[:2] = min(corners[0], self._size[0] - 1), min(corners[1], self._size[1] - 1)
        corners[2:] = max(corners[0], corners[2]), max(corners[1], corners[3])
        self._fill(color, (corners[0], corners[1], corners[2], corners[3])).draw.rectangle(corners, fill=255)
        self._draw.rectangle(corners, outline=(*color, 255), width=self._width)

    def _add_area(self, rings: list[Ring], color: Color) -> None:
        inside = [ring if is_inside(ring, self._window) else clip_ring(ring, self._window) for ring in rings]
        if len(inside[0]) < 2:
            return
        xs, ys = [x for x, _ in inside[0]], [y for _, y in inside[0]]
        box = _inside((int(min(xs)), int(min(ys)), int(max(xs)) + 2, int(max(ys)) + 2), self._size)
        if not box:
            return
        fill = self._fill(color, box)
        if len(inside) == 1 and len(inside[0]) < MANY:
            fill.draw.polygon(inside[0], fill=255)
            return
        part = Image.new("L", (box[2] - box[0], box[3] - box[1]))
        cut = ImageDraw.Draw(part)
        for ring, value in zip(inside, (255, *[0] * (len(inside) - 1)), strict=True):
            moved = [(x - box[0], y - box[1]) for x, y in ring]
            if len(ring) >= MANY:
                part.paste(value, mask=filled(moved, part.size))
            elif len(ring) >= 2:
                cut.polygon(moved, fill=value)
        fill.mask.paste(ImageChops.lighter(fill.mask.crop(box), part), box)

    def _add_mask(self, mask: Mask, color: Color) -> None:
        stored = mask.image
        corners = self.scaled((mask.x, mask.y, mask.x + stored.width - 1, mask.y + stored.height - 1))
        x, y = (
            min(round(at), size - 1) if at < size else round(at)  # less than half a pixel is one
            for at, size in zip(corners[:2], self._size, strict=True)
        )
        whole = (x, y, max(x, round(corners[2])) + 1, max(y, round(corners[3])) + 1)
        box = _inside(whole, self._size)
        if not box:
            return
        wide, high = stored.width / (whole[2] - x), stored.height / (whole[3] - y)
        source = ((box[0] - x) * wide, (box[1] - y) * high, (box[2] - x) * wide, (box[3] - y) * high)
        size = box[2] - box[0], box[3] - box[1]
        way = Image.Resampling.BOX if wide > 1 or high > 1 else Image.Resampling.NEAREST
        same = wide == high == 1 and size == stored.size
        scaled = stored if same else stored.resize(size, way, box=source)
        covered = scaled if same or not mask.soft else stored.point(_ANY).resize(size, way, box=source)
        found = covered.point(_ANY if same else _QUARTER)
        if found.getbbox() is None:  # all of it is thin
            found = covered.point(_ANY)
        opacity = ImageChops.darker(found, scaled) if mask.soft else found
        shown = self._fill(color, box).mask
        shown.paste(ImageChops.lighter(shown.crop(box), opacity), box)
        reach = min(self._width, _FRAME)
        framed = Image.new("L", (size[0] + 2 * reach, size[1] + 2 * reach))
        framed.paste(found, (reach, reach))
        rim = ImageChops.subtract(framed, framed.filter(ImageFilter.BoxBlur(reach)).point(_WHOLE))
        self._strokes.paste((*color, 255), box, rim.crop((reach, reach, reach + size[0], reach + size[1])))

    def _add_line(self, line: Line, points: Ring, color: Color) -> None:
        if line.closed:
            points = [*points, points[0]]
        ink = (*(line.color or color), 255)
        if is_inside(points, self._window):
            joint = "curve" if self._width > 1 and len(points) < _MANY else None
            for part in pieces(points):
                self._draw.line(part, fill=ink, width=self._width, joint=joint)
            return
        for segment in clip_line(points, self._window):
            self._draw.line(segment, fill=ink, width=self._width)

    def paint(self, image: Image.Image) -> None:
        """Paint all that was added over an image."""
        for color in [*self._fills]:
            self._close(color)
        ground = np.asarray(image, np.float32)
        if self._sums is not None and self._most is not None:
            mixed = np.moveaxis(self._sums[:3] / np.maximum(self._sums[3], np.float32(1e-6)), 0, 2)
            opacity = np.float32(FILL / 255) * self._most[:, :, None]
            ground = ground + (mixed - ground) * opacity
            image.paste(Image.fromarray(np.rint(ground).astype(np.uint8)))
        strokes = np.asarray(self._strokes)
        drawn = strokes[:, :, 3] > 0
        if not drawn.any():
            return
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        bright = strokes[:, :, :3] @ weights
        similar = drawn & (np.abs(bright - ground @ weights) < _SIMILAR)
        for chosen, ink in ((bright > 127, (0, 0, 0)), (bright <= 127, (255, 255, 255))):
            near = Image.fromarray((similar & chosen).astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(3))
            image.paste(ink, mask=near)
        image.paste(self._strokes, mask=self._strokes)


def _inside(box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    left, top, right, bottom = max(0, box[0]), max(0, box[1]), min(size[0], box[2]), min(size[1], box[3])
    return (left, top, right, bottom) if left < right and top < bottom else None
