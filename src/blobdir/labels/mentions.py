"""Which images a text of any format names, how often, and which numbers stand beside each.

A name is found with folders in front of it or without, with its extension or without it, before its numbers or behind
them. Wherever an image is named twice in a place, as ``images/a.jpg`` is, it's named once.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from blobdir.labels.numerals import fours_in, has_four, is_number, numbers_in
from blobdir.lazily import cached_property

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ENDING: Final = re.compile(r"\.(?:jpe?g|mpo|bmp|png|webp|tiff?|nrrd|jfif)(?![a-z])", re.IGNORECASE)
_BEFORE: Final = re.compile(r"[/\\\"'<>,;:|\t\r\n]")
"""What is in no name of an image."""
_BETWEEN: Final = re.compile(r"[\s=()\[\]{}#&?*]+")
"""What stands in some names, and between words, too."""
_LONGEST: Final = 300
_FOLDERS: Final = re.compile(r"[^\s\"'<>,;:|=()\[\]{}]*[/\\]\Z")
"""The folders before a name: they tell namesakes apart."""
_WORDS: Final = 6
"""Names have fewer words."""
_UPLOADED: Final = re.compile(r"[0-9a-f]{6,8}-(?=.)")
"""What Label Studio puts before the names of images that were sent to it."""
_PADDED: Final = re.compile(r"0\d+|\d{5,}")
"""Numbers that images are called by; others count something."""
_WHOLE: Final = re.compile(
    r"(?<=\")[^\"\r\n]{1,300}(?=\")|(?<=')[^'\r\n]{1,300}(?=')|^[^\s,;]{1,300}|^[^,;\t|\r\n]{1,300}", re.MULTILINE
)
"""What may be a name without extension: a text in quotes, or what a line begins with."""
_WORD: Final = re.compile(r"[^\s,;:|\"'<>=()\[\]{}]+")
_HAS_BOTH: Final = re.compile(r"(?=\D*\d)(?=.*[^\W\d])")
_AFTER_KEY: Final = re.compile(r"[:=]|<([^\W\d][\w-]{0,60})")
_KEY: Final = re.compile(r"([^\W\d][\w /-]{0,60})[\"']?\s{0,9}\Z")
_LONGEST_KEY: Final = 72
_COLUMNS: Final = re.compile(r"\W*[^\W\d][\w /().-]*[,;\t]")
_NAMES_OF_COLUMNS: Final = re.compile(r"\s*[^\W\d][\w-]*(?:\s+[^\W\d][\w-]*){2,}\s*")
_HEADERS: Final = 3
"""The names of columns are in one of so many lines."""
_LOOKED_AT: Final = 200
OF_A_BOX: Final = 4
"""So many numbers has a box."""
_ENDED: Final = re.compile(r"</[^\W\d][\w-]*>")
_PHRASE: Final = re.compile(r"(?<![\w\"'])[^\W\d_]+(?: [^\W\d_]+)+(?![\w\"']*\s*[=:])")


def is_image_named(text: str) -> bool:
    """Whether the name of an image stands in a text, of one that is here or not."""
    return _ENDING.search(text) is not None


class Mentions:
    """Images that a text names.

    Parameters
    ----------
    text : str
        What is seen of a file.
    called_so : callable
        The images that are called as a name says, with folders before it or without.

    Attributes
    ----------
    named : dict
        The first image of each name -> all that are called so.
    """

    def __init__(self, text: str, called_so: Callable[[str], list[str]]) -> None:
        self._text, self._called_so = text, called_so
        self._known: dict[str, list[str]] = {}
        self.named: dict[str, list[str]] = {}
        self._places: list[tuple[int, int, str]] = []
        taken = bytearray(len(text))
        for start, end, paths in self._found():
            if not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                self.named.setdefault(paths[0], paths)
                self._places.append((start, end, paths[0]))
        self._places.sort()

    @cached_property
    def images(self) -> list[str]:
        """All images that are named."""
        return list(dict.fromkeys(path for paths in self.named.values() for path in paths))

    @cached_property
    def times(self) -> Counter[str]:
        """How often each name stands there."""
        return Counter(image for *_, image in self._places)

    @cached_property
    def left(self) -> str:
        """The text without the names."""
        pieces, at = [], 0
        for start, end, _ in self._places:
            pieces.append(self._text[at:start])
            at = end
        return without_names(" ".join([*pieces, self._text[at:]]))

    @cached_property
    def columns(self) -> list[str]:
        """What the columns of a table are called; empty: it has no header."""
        end = self._places[0][0] if self._places else len(self._text)
        before = self._text.find("\n", end)
        for line in self._text[: before if before >= 0 else None].splitlines()[:_HEADERS]:
            if self._text.find(line) + len(line) > end:
                break
            if line.lstrip().startswith(("{", "[", "<", "-")):
                break
            if _COLUMNS.match(line):
                return [cell.strip(" \t\"'#") for cell in re.split(r"[,;\t]", line)]
            if _NAMES_OF_COLUMNS.fullmatch(line):
                return line.split()
        return []

    @cached_property
    def keys(self) -> list[str]:
        """The names of columns, and the keys of JSON, YAML or XML, in small letters."""
        found = dict.fromkeys(key for _, key in _keys_in(self.left))
        return [*dict.fromkeys(map(str.lower, self.columns)), *found]

    @cached_property
    def is_prose(self) -> bool:
        """Whether words stand beside the names, as in captions, with a number now and then."""
        words = sum(len(found[0].split()) for found in _PHRASE.finditer(self.left))
        numbers = max(0, numbers_in(self.left) - sum(self.times.values()))
        return words > numbers and 2 * fours_in(self.left) < self._told

    @cached_property
    def has_boxes(self) -> bool:
        """Whether numbers enough for a box stand beside each image; or beside one, and others have fewer or none.

        What all have counts for nothing then: a size, how many objects there are.
        """
        if numbers_in(self.left) >= OF_A_BOX * self._told:
            return True
        counts = [] if self._counts is None else [self._of_one(image, count) for image, count in self._counts.items()]
        return bool(counts) and max(counts) - min(counts) >= OF_A_BOX

    @cached_property
    def _told(self) -> int:
        """How many images have numbers beside them, one at least; where it can't be told, all."""
        counts = self._counts
        named = self.named if counts is None else {image for image, count in counts.items() if count}
        return max(1, sum(map(self._meant, named)))

    def _meant(self, image: str) -> int:
        """How many images of one name are meant, at most: each once in a list of all."""
        return min(self.times[image], len(self.named[image]))

    def _of_one(self, image: str, count: int) -> float:
        return count / max(1, self._meant(image))

    def says_something_of(self, image: str) -> bool:
        """Whether numbers enough for a box stand beside an image, or it can't be told, as they are all elsewhere."""
        return self._counts is None or self._of_one(image, self._counts[image]) >= OF_A_BOX

    @cached_property
    def _counts(self) -> Counter[str] | None:
        """How many numbers stand behind each image's names, or in front; None: most aren't beside any."""
        if not self._places:
            return None
        pieces = self._between
        before, after = self._text[: self._places[0][0]], self._text[self._places[-1][1] :]
        own = self._own_end(after)
        first, *between, last = (numbers_in(without_names(piece)) for piece in (before, *pieces, own or after))
        is_behind = last >= first
        numbers = [*between, last] if is_behind else [first, *between]
        found: Counter[str] = Counter()
        for (*_, image), count in zip(self._places, numbers, strict=True):
            found[image] += count
        outer = last if is_behind else first
        is_own = is_behind and (bool(own) or self._are_in_lines())
        return found if is_own or 2 * outer <= sum(numbers) or len(found) == 1 else None

    @cached_property
    def _between(self) -> list[str]:
        return [self._text[end:start] for (_, end, _), (start, *_) in pairwise(self._places)]

    def _own_end(self, after: str) -> str:
        """Of what stands behind the last name, what is said of that image; empty: it can't be told.

        It's in the same element of XML, at the key that follows all other names, too, or four numbers without a key.
        """
        if not self._between:
            return ""
        if (ends := _ENDED.findall(self._between[0])) and ends[-1] in after:
            return after[: after.index(ends[-1])]
        keys = [key for _, key in _keys_in(without_names(after))]
        if keys:
            is_own = all(keys[0] in (key for _, key in _keys_in(piece)) for piece in self._between)
        else:
            is_own = has_four(after)
        return after if is_own else ""

    def _are_in_lines(self) -> bool:
        """Whether each name has a line of its own, and the numbers behind the last one stand in its line."""
        end = self._places[-1][1]
        line = self._text[end:].partition("\n")[0]
        pairs = pairwise(self._places)
        return numbers_in(line) == numbers_in(self._text[end:]) and all(
            "\n" in self._text[before:after] for (_, before, _), (after, *_) in pairs
        )

    def beside(self) -> list[str]:
        """What stands between the names; of the first ones, if they are many."""
        return self._between[:_LOOKED_AT]

    def profiles(self) -> Iterator[dict[str, int]]:
        """How many numbers stand at each key, or in each column, beside each image but the last one."""
        beside: dict[str, Counter[str]] = {}
        times: Counter[str] = Counter()
        mark = next((one for one in ",;\t" if self.columns and one in self._head_line()), "")
        for (*_, image), text in zip(self._places, self._between, strict=False):
            beside.setdefault(image, Counter()).update(profile_of(text, mark))
            times[image] += 1
        for image, found in beside.items():
            meant = min(times[image], len(self.named[image]))
            yield {key: -(-count // meant) for key, count in found.items()}

    @cached_property
    def times_each(self) -> list[int]:
        """How often each image is named; where images of one name may be meant, each as often."""
        return [-(-count // self._meant(image)) for image, count in self.times.items()]

    def _head_line(self) -> str:
        return next((line for line in self._text.splitlines()[:_HEADERS] if self.columns[0] in line), "")

    def _found(self) -> Iterator[tuple[int, int, list[str]]]:
        """Where images are named, the surer names first."""
        last = 0
        for found in _ENDING.finditer(self._text):
            begin = max(last, found.start() - _LONGEST)
            part = _BEFORE.split(self._text[begin : found.start()])[-1]
            last = found.end()
            for word in _tails(part):
                name = (word + found[0]).strip()
                if paths := self._paths(name):
                    if len(paths) > 1 and (folders := _FOLDERS.search(self._text[begin : last - len(word + found[0])])):
                        paths = self._paths(folders[0].replace("\\", "/") + name)
                    yield last - len(word + found[0]), last, paths
                    break
        for found in _WHOLE.finditer(self._text):
            word = found[0].strip(" \t:-")
            if paths := self._paths(word):
                start = found.start() + found[0].find(word)
                yield start, start + len(word), paths
        for found in _WORD.finditer(self._text):
            if (_HAS_BOTH.match(found[0]) or _PADDED.fullmatch(found[0])) and (paths := self._paths(found[0])):
                yield found.start(), found.end(), paths

    def _paths(self, word: str) -> list[str]:
        if word not in self._known:
            is_name = bool(word) and (not is_number(word) or _PADDED.fullmatch(word) is not None)
            found = self._called_so(word) if is_name else []
            name = word.rpartition("/")[2]
            if is_name and not found and _UPLOADED.match(name):
                found = self._called_so(_UPLOADED.sub("", name, count=1))
            self._known[word] = found
        return self._known[word]


def _keys_in(text: str) -> Iterator[tuple[int, str]]:
    """The keys of JSON, YAML or XML in small letters, and where each ends."""
    last = 0
    for found in _AFTER_KEY.finditer(text):
        start, last = max(last, found.start() - _LONGEST_KEY), found.end()
        key = found if found[1] else _KEY.search(text[start : found.start()])
        if key:
            yield last, key[1].strip().lower()


def _tails(part: str) -> Iterator[str]:
    """What a name may begin with, if it ends here: all, or the last words, the longest first."""
    yield part
    starts = [found.end() for found in _BETWEEN.finditer(part)][-_WORDS:]
    yield from (part[start:] for start in starts)


def without_names(text: str) -> str:
    """A text without names of images that aren't here."""
    pieces, at = [], 0
    for found in _ENDING.finditer(text):
        start = max(at, found.start() - _LONGEST)
        word = re.split(r"[\s\"'<>,;|]", text[start : found.start()])[-1]
        pieces.append(text[at : found.start() - len(word)])
        at = found.end()
    return " ".join([*pieces, text[at:]])


def profile_of(text: str, mark: str = "") -> dict[str, int]:
    """How many numbers stand at each key; in each column, if something is between columns; else in all."""
    if mark:
        rows = csv.reader(text.splitlines()[:1], delimiter=mark)
        return {str(i): count for row in rows for i, cell in enumerate(row) if (count := numbers_in(cell))}
    counts: Counter[str] = Counter({"": 0})
    for (start, key), (end, _) in pairwise([(0, ""), *_keys_in(text), (len(text), "")]):
        if count := numbers_in(without_names(text[start:end])):
            counts[key] += count
    return counts
