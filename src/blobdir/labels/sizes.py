"""The size of an image that its labels say: one rule for all formats of what is a side of it, and of what differs.

A side is a number from 1 on, however it's spelled: ``200``, ``200.0`` as pandas writes whole numbers beside a gap,
``"200"``, ``" 200 "``, ``200px``, ``200,0`` where commas are points. All else (0, nothing, a word; ``1,200``, which may
be two numbers) says nothing. Each side counts by itself: labels that say one of them are compared by that. Programs
that resize write halves of pixels, so less than one is no difference.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Any, Final

from blobdir.annotations import is_size
from blobdir.labels.model import plain_float

Size = tuple[float | None, float | None]
"""Width and height that are said; None: that side isn't."""
_LEAST: Final = 1
_UNIT: Final = re.compile(r"(?<=[\d.])\s*(?:px|pixels?)\Z", re.IGNORECASE)
_COMMA: Final = re.compile(r"(?<=\d),(?=0{1,2}\Z)")


def stated(width: Any, height: Any) -> Size | None:
    """The size that a label file says, of what it has for both sides; None: it says neither."""
    found = _side(width), _side(height)
    return None if found == (None, None) else found


def differ(one: Size | None, other: Size | None) -> bool:
    """Whether two sizes have a side that both say, and that isn't the same."""
    pairs = zip(one, other, strict=True) if one and other else ()
    return any(mine is not None and theirs is not None and abs(mine - theirs) >= _LEAST for mine, theirs in pairs)


def together(one: Size | None, other: Size | None) -> Size | None:
    """What two places say of one image: each side of the first that says it."""
    if not one or not other:
        return one or other
    return tuple(theirs if mine is None else mine for mine, theirs in zip(one, other, strict=True))  # type: ignore[return-value]


def whole(size: Size | None) -> tuple[int, int] | None:
    """A size of which both sides are said and can be those of an image."""
    sides = [int(side) if side is not None and side == int(side) else 0 for side in size or ()]
    return (sides[0], sides[1]) if sides and all(map(is_size, sides)) else None


def shown(size: Size) -> str:
    """What messages call a size."""
    return " × ".join("?" if side is None else f"{side}" for side in size)


def _plain(text: str) -> str:
    """A side without its unit, and with a point where there is a comma before one zero or two: three are thousands."""
    return _COMMA.sub(".", _UNIT.sub("", text.strip()))


def _side(value: Any) -> float | None:
    if type(value) is int:
        return value if value >= _LEAST else None
    try:
        found = plain_float(_plain(value) if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    if not isfinite(found) or found < _LEAST:
        return None
    return int(found) if found == int(found) else found
