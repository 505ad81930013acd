"""Formats that aren't read, and are known by how a file of theirs begins, so that it's said which one it is."""

from __future__ import annotations

import re
from typing import Final

from blobdir.labels.files import without_mark

_DATUMARO: Final = re.compile(rb'"categories"\s*:\s*\{|"items"\s*:\s*\[')
_CORNERS: Final = 8
_HEAD: Final = re.compile(r"\s*(?:imagesource|gsd)\s*:", re.IGNORECASE)
DOTA: Final = "DOTA's, of turned boxes: corners in pixels, a class, a difficulty"


def is_datumaro(path: str, head: bytes) -> bool:
    """Whether a file is Datumaro's JSON, in which categories are an object, and images are items."""
    is_json = path.lower().endswith(".json")
    return is_json and len(set(_DATUMARO.findall(head))) > 1 and b'"annotations"' in head


def is_dota(lines: list[str]) -> bool:
    """Whether lines are DOTA's, which may begin with ``imagesource:`` and ``gsd:``."""
    some = [words for line in without_heads(lines) if (words := line.split())]
    return bool(some) and all(map(is_line_of_dota, some))


def without_heads(lines: list[str]) -> list[str]:
    """Lines but for those that DOTA's labels may begin with."""
    return [line for line in lines if not _HEAD.match(line)]


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
    lines = without_mark(head).decode("utf-8", "replace").splitlines()
    return DOTA if is_dota(lines) else ""
