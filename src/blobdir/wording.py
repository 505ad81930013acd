"""Words of messages, and texts of others in them."""

from __future__ import annotations

import unicodedata
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_NEAR: Final = 5
_LISTED: Final = 20
_SHOWN: Final = frozenset(("Zs", "Cn", "Co"))
"""Kinds of characters that Python doesn't call printable, and that a terminal only shows."""
_JOINERS: Final = "\u200c\u200d"
_BYTES: Final = 0xDC80, 0xDCFF
"""Half characters that stand for bytes that aren't UTF-8."""


def counted(count: int, one: str, many: str = "") -> str:
    """A number and what it counts, in the singular or plural; `many` is `one` with an s if it isn't given."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def part_of(count: int, total: int, one: str) -> str:
    """How many of all: ``its only object``, ``all of its 3 objects``, ``1 of its 3 objects``."""
    if total == 1:
        return f"its only {one}"
    return f"{'all' if count == total else f'{count:,}'} of its {counted(total, one)}"


def near_ones(typed: str, known: Iterable[str]) -> list[str]:
    """What could have been meant by something that isn't known."""
    folded = {name.casefold(): name for name in known}
    return [folded[name] for name in get_close_matches(typed.casefold(), folded, _NEAR)]


def near(typed: str, known: list[str], there_are: str, none: str) -> str:
    """The same in words; where nothing is near, what there is."""
    if not known:
        return none
    if found := near_ones(typed, known):
        return f"near it: {', '.join(found)}"
    more = f" and {len(known) - _LISTED:,} more" if len(known) > _LISTED else ""
    return f"{there_are} {', '.join(known[:_LISTED])}{more}"


def named_once(path: str, message: str) -> str:
    """A message without the path that it begins with, once or more, where that is said before it."""
    while path and message.startswith(f"{path}: "):
        message = message[len(path) + 2 :]
    return message


def one_line(text: str, most: int = 0) -> str:
    """A text of a project, or of another program, as a part of one line: a terminal does nothing but show it.

    What ends the line, moves the cursor, or turns the direction of writing is written as its number, as are half
    characters; so is a byte that isn't UTF-8.

    Parameters
    ----------
    text : str
    most : int
        Characters of it that are kept at the most, from both ends; 0: all.
    """
    if most and len(text) > most:
        text = f"{text[: most - most // 3]}…{text[-(most // 3) :]}"
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(char: str) -> str:
    if char.isprintable() or char in _JOINERS or unicodedata.category(char) in _SHOWN:
        return char
    number = ord(char)
    if number < 0x80 or _BYTES[0] <= number <= _BYTES[1]:
        return f"\\x{number & 0xFF:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
