"""Where tars are that a user names: one, or many by a pattern. Pure.

A place of tars is a root, the folder that all of them lie below, and a pattern below it. Braces are expanded as bash
does it (``{a,b}``, ``{0000..0099}``); the rest is matched as by a shell: ``*``, ``?`` and ``[…]`` within one component
of a path, names with a dot in front only where the pattern has one, too. The order is that of names as they are
given: of braces, as they are written; of what a wildcard matches, sorted.
"""

from __future__ import annotations

import glob
import re
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from blobdir.errors import UsageError
from blobdir.temporary import is_temporary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Listing = Callable[[str], Iterable[tuple[str, bool]]]
    """Names in a folder, and whether each is a folder."""

_ENDINGS: Final = re.compile(r"\.(tar(\.(gz|bz2|xz|zstd?|lz4|lzma|z|br|lzo?))?|tgz|tbz2?|txz|tzst)$", re.IGNORECASE)
"""Of tars, and of compressed ones, of which it's said that they are."""
MOST: Final = 100_000
"""Tars that braces may name."""
_RANGE: Final = re.compile(r"(-?\d+)\.\.(-?\d+)(?:\.\.(-?\d+))?|([A-Za-z])\.\.([A-Za-z])(?:\.\.(-?\d+))?")
_WILD: Final = frozenset("*?[")
_WILD_OF_URLS: Final = frozenset("*[")
"""A question mark in a URL begins its query."""


def is_wild(pattern: str) -> bool:
    """Whether a pattern that has no braces matches more than one name."""
    return not _WILD.isdisjoint(_unescaped(pattern)[1])


_SAID: Final = (".tar", ".tgz")


def is_called_tar(name: str) -> bool:
    """Whether a file is called as a tar."""
    return _ENDINGS.search(name) is not None


def looks_like_tars(path: str, *, is_url: bool) -> bool:
    """Whether a path, where there is no such folder, means tars: its last component is called so, or the files are.

    Of a pattern it must say ``.tar`` or the like: other folders have ``?`` or ``[`` in their names, too.
    """
    name = _tail(path)
    if is_called_tar(name):
        return True
    if _first_magic(path, is_url=is_url) == len(path):
        return False
    return any(one in name.lower() for one in _SAID) or _stands_for_tars(name)


def _stands_for_tars(name: str) -> bool:
    """Whether braces make a name that is a tar's: ``a.{tar,TAR}``."""
    with suppress(UsageError):
        return any(map(is_called_tar, expand_braces(name)))
    return False


def split_pattern(path: str, *, is_url: bool) -> tuple[str, str]:
    """The folder that all tars lie below, which ends with a slash unless it is empty, and the pattern below that."""
    at = path.rfind("/", 0, _first_magic(path, is_url=is_url)) + 1
    root, rest = path[:at], path[at:]
    return root, rest if _first_magic(rest, is_url=is_url) < len(rest) else literal(rest)


def literal(path: str) -> str:
    """The pattern that matches this path and nothing else."""
    return glob.escape(path).replace("{", "[{]")


def plain(pattern: str) -> str:
    """A pattern as its user wrote it, if it stands for one path; see `literal`."""
    return _unescaped(pattern)[0]


def expand(pattern: str, listing: Listing) -> Iterator[str]:
    """Paths that a pattern means; those that are written out without asking whether they are there.

    Raises
    ------
    UsageError
        Braces name too many, or nothing.
    """
    for one in expand_braces(pattern):
        if is_wild(one):
            yield from sorted(_matched(one.split("/"), "", listing))
        else:
            yield plain(one)


def _matched(parts: list[str], folder: str, listing: Listing) -> Iterator[str]:
    part, *rest = parts
    if not is_wild(part):
        path = f"{folder}/{plain(part)}" if folder else plain(part)
        if rest:
            yield from _matched(rest, path, listing)
        elif any(name == plain(part) and not is_folder for name, is_folder in listing(folder)):
            yield path
        return
    for name, is_folder in listing(folder):
        if is_folder == bool(rest) and fnmatchcase(name, part) and (name[:1] != "." or part[:1] == "."):
            path = f"{folder}/{name}" if folder else name
            if rest:
                yield from _matched(rest, path, listing)
            elif not is_temporary(name):
                yield path


def expand_braces(pattern: str) -> list[str]:
    """All that braces in a pattern stand for, in order; braces that say nothing, ``{a}``, are what they are.

    Raises
    ------
    UsageError
    """
    begin, end = _outermost(pattern)
    if begin < 0:
        return [pattern]
    inner = _alternatives(pattern[begin + 1 : end], pattern)
    if len(inner) > MOST:
        raise _too_many(pattern)
    heads = [option for part in inner for option in expand_braces(part)] if len(inner) > 1 else inner
    tails = expand_braces(pattern[end + 1 :])
    if len(heads) * len(tails) > MOST:
        raise _too_many(pattern)
    return [f"{pattern[:begin]}{head}{tail}" for head in heads for tail in tails]


def _too_many(pattern: str) -> UsageError:
    return UsageError(f"{pattern}: its braces stand for more than {MOST:,} names; give fewer tars at a time")


def _outermost(pattern: str) -> tuple[int, int]:
    """Where the first braces that stand for several names begin and end; -1 where there are none."""
    at = 0
    while (begin := _next_brace(pattern, at)) >= 0:
        end = _closing(pattern, begin)
        if end < 0:
            return -1, -1
        text = pattern[begin + 1 : end]
        if not text or _RANGE.fullmatch(text) or len(_commas(text)) > 1:
            return begin, end
        at = begin + 1
    return -1, -1


def _next_brace(pattern: str, at: int) -> int:
    while (at := pattern.find("{", at)) >= 0 and pattern[at - 1 : at] == "[" and pattern[at + 1 : at + 2] == "]":
        at += 1  # see `literal`
    return at


def _closing(pattern: str, begin: int) -> int:
    depth = 0
    for at in range(begin, len(pattern)):
        depth += {"{": 1, "}": -1}.get(pattern[at], 0)
        if not depth:
            return at
    return -1


def _commas(text: str) -> list[str]:
    parts, depth, begin = [], 0, 0
    for at, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and not depth:
            parts.append(text[begin:at])
            begin = at + 1
    return [*parts, text[begin:]]


def _alternatives(text: str, pattern: str) -> list[str]:
    if not text:
        raise UsageError(f"{pattern}: there is nothing in its braces; give a list {{a,b}} or a range {{0000..0099}}")
    found = _RANGE.fullmatch(text)
    if found is None:
        return _commas(text)
    first, last, step, letter, until, by = found.groups()
    stride = abs(int(step or by or 1)) or 1
    if letter:
        low, high = ord(letter), ord(until)
        return [chr(code) for code in _steps(low, high, stride)]
    low, high = int(first), int(last)
    if abs(high - low) // stride >= MOST:
        raise _too_many(pattern)
    padded = any(number.lstrip("-")[:1] == "0" and len(number.lstrip("-")) > 1 for number in (first, last))
    width = max(len(first), len(last)) if padded else 0
    return [f"{number:0{width}d}" if width else str(number) for number in _steps(low, high, stride)]


def _steps(low: int, high: int, stride: int) -> range:
    return range(low, high + 1, stride) if low <= high else range(low, high - 1, -stride)


def _tail(path: str) -> str:
    return path.rpartition("/")[2]


def _first_magic(path: str, *, is_url: bool) -> int:
    """Where the first character stands that makes a path a pattern; its length where there is none."""
    wild = _WILD_OF_URLS if is_url else _WILD
    brace = _outermost(path)[0]
    places = [at for at in (brace, *(path.find(character) for character in wild)) if at >= 0]
    return min(places, default=len(path))


def _unescaped(pattern: str) -> tuple[str, str]:
    """A pattern without the escapes of `literal`, and without what they escape."""
    return re.sub(r"\[([*?[{])\]", r"\1", pattern), re.sub(r"\[[*?[{]\]", "", pattern)
