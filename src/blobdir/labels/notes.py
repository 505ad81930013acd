"""Whether a file that nobody reads is like one of labels, or one of notes on images: a place, a camera, a day.

Words as ``bbox`` in its keys, columns or name tell; that some images are named more often than others; and that some
have more numbers, at one key or at all: of objects there are some more, of notes each image has as many. Where it
can't be told otherwise, a class or label is one of objects, unless a camera and its place are beside it.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from posixpath import basename, splitext
from typing import TYPE_CHECKING, Final

from blobdir.labels.mentions import OF_A_BOX
from blobdir.labels.numerals import QUOTES, numbers_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from blobdir.labels.mentions import Mentions

_OF_SHAPES: Final = re.compile(
    r"(?<![a-z])(?:\w*box(?:es)?|[xy][-_ ]?(?:min|max|[1-4]|center)|(?:min|max)[-_ ]?[xy]"
    r"|(?:left|right)[-_ ]?x|(?:top|bottom)[-_ ]?y"
    r"|objects|annotations?|annos?|polygons?|points|regions|region[-_ ](?:data|shape|count|id|attr)[a-z_]*"
    r"|shapes|rects?|rectangles?|vert(?:ex|ices)"
    r"|segmentations?|(?:key|land)(?:points?|marks?)|joints?(?:[-_ ][a-z]+)?|lanes?|rois?|coords?|contours?|outlines?"
    r"|ellipses?(?:list)?|all[-_ ]points[-_ ][xy]|digitstruct|rle|encoded ?pixels)(?![a-z\d])",
    re.IGNORECASE,
)
"""Words in keys and columns that have shapes, and in the names of files with them."""
_OF_CLASSES: Final = re.compile(r"(?<![a-z])(?:label|class|categor)[a-z_]*(?![a-z\d])", re.IGNORECASE)
_OF_PLACES: Final = re.compile(
    r"(?<![a-z])(?:lat|lon|lng|latitude|longitude|altitude|yaw|omega|kappa|gps[a-z_]*|sensors?|transform)(?![a-z])",
    re.IGNORECASE,
)
"""Words beside which ``label`` is an image's name."""
_SHAPE_SAID: Final = re.compile(r"[\"'](?:multi)?(?:polygon|rect|rectangle|bbox|ellipse|polyline)[\"']", re.IGNORECASE)
_SIDES: Final = (
    {"left", "top"},
    {"l", "t", "r", "b"},
    {"l", "t", "w", "h"},
    {"x", "y", "w", "h"},
    {"x", "y", "width", "height"},
    {"cx", "cy", "w", "h"},
)
"""Keys and columns that a box has together."""
_PAIR: Final = re.compile(r"(.+?[-_ ]?)([xyz])")
_DIGITS: Final = re.compile(r"\d{1,9}")
_WHOLE: Final = re.compile(rf"(?<![\w.\-])\d{{1,9}}(?:(?:[\s,;]|{QUOTES})+\d{{1,9}}){{3,}}(?![\w.])")
"""Whole numbers together."""
_LONGEST: Final = 10_000
"""Images have shorter sides."""
_MANY: Final = 40
"""So many numbers without keys are of points."""
_KEYED: Final = re.compile(r"[^\W\d][\w-]*[\"']?\s*[:=]")
_NOT_NAMED: Final = re.compile(r"\d+")


def speaks_of_shapes(text: str, keys: Iterable[str], path: str = "") -> bool:
    """Whether keys, columns or the name of a file are such as labels have."""
    keys = list(keys)
    name = _NOT_NAMED.sub(" ", splitext(basename(path))[0])
    if _OF_SHAPES.search("\n".join(keys)) or _OF_SHAPES.search(name) or _SHAPE_SAID.search(text):
        return True
    return any(sides <= {*keys} for sides in _SIDES) or _has_points(keys)


def speaks_of_labels(text: str, keys: list[str], path: str = "") -> bool:
    """The same, or of classes."""
    lines = "\n".join(keys)
    if speaks_of_shapes(text, keys, path):
        return True
    return _OF_CLASSES.search(lines) is not None and not _OF_PLACES.search(lines)


def tells_of_classes(mentions: Mentions, text: str, path: str) -> bool:
    """Whether a table has an image for each class, as pictograms of signs: it says nothing of other images."""
    if not mentions.columns or speaks_of_shapes(text, mentions.keys, path) or set(mentions.times.values()) != {1}:
        return False
    rows = [row for line in csv.reader(text.splitlines()) if (row := [cell.strip() for cell in line]) and any(row)]
    head, *others = rows
    some = [i for i, name in enumerate(head) if _OF_CLASSES.search(name)]
    columns = [[row[i] for row in others if i < len(row)] for i in some]
    return len(others) > 1 and any(len(set(cells)) == len(cells) == len(others) for cells in columns)


def _has_points(keys: list[str]) -> bool:
    """Whether there are columns for both of a point on the image, as ``nose_x`` and ``nose_y``."""
    axes: dict[str, set[str]] = {}
    for key in keys:
        if (found := _PAIR.fullmatch(key)) and found[1][-1:] in "-_ ":
            axes.setdefault(found[1], set()).add(found[2])
    return sum(one == {"x", "y"} for one in axes.values()) > 1


def are_labels(mentions: Mentions, text: str, path: str, slack: int) -> bool:
    """Whether a file that names all images is more like one of labels than one of notes.

    Parameters
    ----------
    mentions : Mentions
    text : str
    path : str
    slack : int
        So many images may have less, where the text is cut.
    """
    if speaks_of_labels(text, mentions.keys, path) or differ(mentions.times_each, slack):
        return True
    if numbers_differ([*mentions.profiles()], slack):
        return True
    return not mentions.columns and have_boxes(mentions.beside(), slack)


def have_boxes(texts: list[str], slack: int = 0) -> bool:
    """Whether in each text, of one image, are corners of a box in pixels, or more numbers than notes have."""
    odd = sum(not _has_box(text) for text in texts)
    return odd <= slack and 2 * odd < len(texts)


def _has_box(text: str) -> bool:
    if not _KEYED.search(text) and numbers_in(text) >= _MANY:
        return True
    for found in _WHOLE.finditer(text):
        sides = [int(one) for one in _DIGITS.findall(found[0])[: OF_A_BOX + 1]]
        boxes = (sides[i : i + OF_A_BOX] for i in range(len(sides) - OF_A_BOX + 1))
        if any(left < right < _LONGEST and top < bottom < _LONGEST for left, top, right, bottom in boxes):
            return True
    return False


def numbers_differ(profiles: list[Mapping[str, int]] | list[dict[str, int]], slack: int = 0) -> bool:
    """Whether some images have more numbers than others at keys that both have, or without keys."""
    most = 0
    for key in dict.fromkeys(key for one in profiles for key in one):
        counts = [count for one in profiles if (count := one.get(key, 0)) or not key]
        if differ(counts, slack):
            most += max(counts) if key else OF_A_BOX
    return most >= OF_A_BOX


def differ(counts: list[int], slack: int) -> bool:
    """Whether counts of something differ from image to image, more than by what is seen of a file."""
    usual = Counter(counts).most_common(1)[0][1] if counts else 0
    return len(counts) - usual > slack
