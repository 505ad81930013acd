"""What a number is in a text of any format, so that all who count them count the same.

It may have no digit before its point (``.5``), and stand in quotes of either kind, alone or with others, as in what
databases and spreadsheets write. An apostrophe is a quote where no letter or digit is on its other side: not in
``5'10``. Digits in words, names of files and dates are no numbers.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Final

_PLAIN: Final = r"(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?"
_WHOLLY: Final = re.compile(rf"[-+]?{_PLAIN}", re.IGNORECASE)
_ONE: Final = re.compile(
    rf"(?<![\w./-])(?<![^\Wbu]')(?<!\d:)-?{_PLAIN}(?![\w-]|\.[^\W\d_]|:\d|'(?:\w|\s+\d))", re.IGNORECASE
)
QUOTES: Final = r"[\"']|\b[bu](?=')"
"""What may stand around a number."""
_FOUR: Final = re.compile(
    rf"(?<![\w.])-?{_PLAIN}(?:(?:[\s,;()\[\]]|{QUOTES})+-?{_PLAIN}){{3}}(?!\w|\.\w)", re.IGNORECASE
)
"""Four numbers, as a box has them."""


def is_number(text: str) -> bool:
    """Whether a text is a number and nothing else."""
    return _WHOLLY.fullmatch(text) is not None


def whole_in(text: str) -> int | None:
    """The whole number that a text is, however it's spelled: ``2``, ``2.0`` of pandas, ``2e0`` of numpy; None: none."""
    if not text.isascii() or not is_number(text):
        return None
    found = float(text)
    return int(found) if isfinite(found) and found == int(found) else None


def numbers_in(text: str) -> int:
    """How many numbers stand in a text, but for those in words, dates and names."""
    return sum(1 for _ in _ONE.finditer(text))


def fours_in(text: str) -> int:
    """How often four numbers stand together."""
    return sum(1 for _ in _FOUR.finditer(text))


def has_four(text: str) -> bool:
    """Whether four numbers stand together anywhere."""
    return _FOUR.search(text) is not None
