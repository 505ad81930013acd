"""Formats that aren't read, and are known by how a file of theirs begins, so that it's said which one it is."""

from __future__ import annotations

import re
from typing import Final

from blobdir.labels.files import without_mark

_DATUMARO: Final = re.compile(rb'"categories"\s*:\s*\{|"items"\s*:\s*\[')
_CORNERS: Final = 8
_LINES: Final = 5


def is_datumaro(path: str, head: bytes) -> bool:
    """Whether a file is Datumaro's JSON, in which categories are an object, and images are items."""
    is_json = path.lower().endswith(".json")
    return is_json and len(set(_DATUMARO.findall(head))) > 1 and b'"annotations"' in head


def is_dota(head: bytes) -> bool:
    """Whether a text is DOTA's, as for turned boxes: four corners in pixels, a class in words, how hard it's to see."""
    lines = [line.split() for line in without_mark(head).splitlines()[: _LINES + 2] if line.strip()]
    lines = [words for words in lines if b":" not in words[0]][:_LINES]
    return bool(lines) and all(is_line_of_dota([word.decode("utf-8", "replace") for word in words]) for words in lines)


def is_line_of_dota(words: list[str]) -> bool:
    """Whether the words of a line are those of an object in DOTA's labels."""
    if len(words) not in (_CORNERS + 1, _CORNERS + 2) or not all(map(_is_number, words[:_CORNERS])):
        return False
    return not _is_number(words[_CORNERS]) and all(map(str.isdecimal, words[_CORNERS + 1 :]))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def format_named(path: str, head: bytes) -> str:
    """What a format is called that isn't read; empty: it's none that is known."""
    if is_datumaro(path, head):
        return "Datumaro's"
    return "DOTA's, of turned boxes: corners in pixels, a class, a difficulty" if is_dota(head) else ""
