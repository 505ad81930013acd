"""Files that say a split of each image they name: ``split.csv``, ``split.json``, a column ``split`` in another table.

No format has them, and programs write them in many ways. They aren't read; each is named where an image isn't of the
split that it says, or if it's called like such a file and says splits in words that nobody knows.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import islice
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Any, Final

from blobdir.errors import UsageError
from blobdir.labels.anysplits import CALLED_SO, Said, is_for_splits, name_held_out, name_numbered, said_in_any
from blobdir.labels.detecting import format_of
from blobdir.labels.files import YAML, decoded
from blobdir.labels.finding import is_image
from blobdir.labels.model import LabelError
from blobdir.labels.otherlists import (
    LISTS,
    are_columns,
    fields_of,
    is_fraction,
    is_number,
    is_of_images,
    lines_in,
    meant_by,
    splits_of,
)
from blobdir.labels.saidsplits import is_like_one, is_of_classes, may_say_splits, surely_says_splits
from blobdir.labels.splitnames import is_called_like_a_split, is_so, is_split, kind_of_split
from blobdir.labels.yamlfile import read_any_yaml
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Labels

_JSON: Final = (".json", ".jsonl", ".ndjson")
_SPEAKS: Final = re.compile(r"(?<![a-z])(?:mini)?(?:train|val|test)", re.IGNORECASE)
_TEXT: Final = re.compile(r'"((?:[^"\\]|\\.){1,300})"')
_BARE: Final = re.compile(r"[^\s\"',:\[\]{}]{1,300}")
"""What may be a name in YAML, without quotes."""
_WHOLE: Final = re.compile(r"[\[,:]\s*(\d{1,20})(?=\s*[,\]}])")
"""What may be a name in JSON, as a number."""
_NO_COUNT: Final = re.compile(r"0\d+|\d{8,}")
"""Numbers that are names: nobody counts so."""
_YES: Final = ("1", "1.0", "true", "yes", "x")
_NO: Final = ("0", "0.0", "false", "no", "")
_MARK: Final = re.compile(r"(?:is|in)[-_ ]?((?:train|test)(?:ing)?|val|validation)", re.IGNORECASE)
"""A column that marks what is of a split, by itself: ``is_train``; but ``is_valid`` says something else."""
_ALIKE: Final = 100
"""So many files of one extension in a folder are looked at: of thousands, each is of an image."""
_LONGEST: Final = 300
"""Names of images are shorter."""
_WIDE: Final = 50
"""So many columns has a table in JSON at most."""
_OTHERS: Final = 2
"""So many keys beside one split may be splits that nobody knows: of more, ``train`` is a class."""
_ID: Final = "id"
_NAMED: Final = "image"
"""The column of names, of entries that each stand at the name of an image."""
_FEW: Final = 2
"""So many numbers beside splits are nothing to speak of: how many images each has, say."""
_HARDLY, _MAYBE, _LISTED, _PLAIN = -1, 0, 1, 2
"""How surely numbers are the names of images: by one of a header and a list, or both; hardly, where measures are."""


def name_split_files(files: LabelFiles, images: Images, labels: Labels) -> set[str]:
    """Name the files that say splits, where an image isn't of that; gives all that say some."""
    splits = splits_of(labels)
    known = {*labels.files, *(path for _, path, _ in labels.problems)}
    found: set[str] = set()
    for path in _candidates(files, images, known):
        said = _said_in(path, files, images)
        if not said:
            continue
        found.add(path)
        if not any(one.word for one in said):
            text = "is called like a file that says splits, and names images; it can't be told which split it means"
            labels.complain("label", path, f"{text}: it wasn't read. {_ADVICE}")
            continue
        lost: dict[str, str] = {}
        for name, word, _ in said:
            paths = meant_by(name, images)
            if word and not any(is_so(split, word) for one in paths for split in splits.get(one, [word])):
                lost.setdefault(paths[0], word)
        if lost:
            count = counted(len(lost), "image isn't", "images aren't")
            first, word = next(iter(lost.items()))
            text = f"of the split that it says, as {first} ({word})"
            if _may_be_counts(path, said, images):
                text = f"has numbers beside words that are splits. If these are names of images, {count} {text}"
                labels.note(path, f"{text}: it isn't read")
                continue
            labels.complain("label", path, f"says splits of images, and isn't read: {count} {text}. {_ADVICE}")
    found.update(name_numbered(files, labels, {*known, *found}))
    found.update(name_held_out(files, images, labels))
    return found


_ADVICE: Final = (
    "Put the images into folders that are called like their splits; YOLO and Pascal VOC have lists, too, as train.txt"
)


def _candidates(files: LabelFiles, images: Images, known: Collection[str]) -> Iterator[str]:
    """Files that may say splits: those that are called so, and some others that are of no image."""
    others: Counter[tuple[str, str]] = Counter()
    for path in files.ending(*LISTS, *_JSON, *YAML):
        if path in known:
            continue
        if not _is_called_so(path):
            alike = dirname(path), splitext(path)[1]
            if others[alike] >= _ALIKE or images.has_called(path):
                continue
            others[alike] += 1
        yield path
    for path in files.paths:
        alike = dirname(path), splitext(path)[1]
        if _is_of_any_kind(path) and path not in known and is_for_splits(path) and others[alike] < _ALIKE:
            others[alike] += 1
            yield path


def _is_of_any_kind(path: str) -> bool:
    """Whether a file is neither a table, JSON or YAML, nor an image."""
    ending = splitext(path)[1].lower()
    return ending not in (*LISTS, *_JSON, *YAML) and not is_image(path)


def _is_called_so(path: str) -> bool:
    stem = splitext(basename(path))[0]
    return CALLED_SO.search(stem) is not None or is_called_like_a_split(stem)


def _said_in(path: str, files: LabelFiles, images: Images) -> list[Said]:
    """The images that a file names, each with the split that it says; nothing if it says none."""
    head = files.head(path)
    if head and _is_of_any_kind(path):
        return [] if format_of(path, head) else said_in_any(path, files, images)
    if not head or b"\0" in head or format_of(path, head):  # of another format, which somebody has chosen
        return []
    says_so = CALLED_SO.search(splitext(basename(path))[0]) is not None
    if not (says_so or _is_called_so(path) or _SPEAKS.search(head.decode("utf-8", "replace"))):
        return []
    try:
        if path.lower().endswith((*_JSON, *YAML)):
            found = _in_values(path, head, files, images)
        else:
            found = _in_rows(lines_in(head), images) and _in_rows(lines_in(files.read(path)), images)
    except (LabelError, UsageError, ValueError, RecursionError):
        found = _in_broken(path, head, images) if _is_called_so(path) else []
    if _may_be_counts(path, found, images) and not _are_worth_a_word(found):
        return []
    return found if says_so or any(one.word for one in found) else []


def _may_be_counts(path: str, said: list[Said], images: Images) -> bool:
    """Whether what may be names of images may as well be counts, classes or epochs, since images are called so, too."""
    names = {one.name for one in said}
    if _is_called_so(path) or not all(map(is_number, names)) or any(map(_NO_COUNT.fullmatch, names)):
        return False
    if any(one.surely == _HARDLY for one in said):
        return True
    are_few = 2 * len(names) < len(images.paths)
    counting = [[str(i + start) for i in range(len(said))] for start in (0, 1)]
    is_one_row = len({one.word for one in said}) == 1 and [one.name for one in said] in counting
    return any(one.surely < _PLAIN for one in said) and (are_few or (is_one_row and said[0].surely == _LISTED))


def _are_worth_a_word(said: list[Said]) -> bool:
    """Whether what may be counts may well be names of images: each once, and in lists, or many."""
    names = [one.name for one in said]
    return len(set(names)) == len(names) and (any(one.surely for one in said) or len(names) > _FEW)


def _in_broken(path: str, head: bytes, images: Images) -> list[Said]:
    """The images whose names stand in a file that is called as if it said splits, and can't be read."""
    stem = splitext(basename(path))[0]
    word = stem if is_called_like_a_split(stem) and not CALLED_SO.search(stem) else ""
    text = head.decode("utf-8", "replace")
    words = [*(one[1] for one in _TEXT.finditer(text)), *_BARE.findall(text)]
    return [Said(name, word) for name in dict.fromkeys(words) if is_image(name) and meant_by(name, images)]


def _in_rows(lines: list[str], images: Images) -> list[Said]:
    """The images of a table, and the split that each row says; no splits if no column has some."""
    rows = [row for line in lines if (row := fields_of(line))]
    if not are_columns(lines) and len({len(row) for row in rows}) > 1:
        return []  # it's prose
    return _in_cells(rows, images)


def _in_cells(rows: list[list[str]], images: Images) -> list[Said]:
    """The images of rows, and the split that each says."""
    rows = _with_marked(rows)
    width = max(map(len, rows), default=0)
    column = next((i for i in range(width) if _has_splits(rows, i)), -1)
    hits: dict[int, int] = {}
    for i in range(width):
        cells = [row[i] for row in rows[1:] or rows if i < len(row)]
        are_numbers = all(map(is_number, cells))
        if i != column and cells and not (are_numbers and (len(set(cells)) < len(cells) or width == 1)):
            count = sum(1 for cell in cells if meant_by(cell, images))
            if 2 * count > len(cells) or (count and all(map(is_image, cells))):
                hits[i] = 2 * count - are_numbers
    if not hits:
        return []
    of_image = max(hits, key=lambda i: hits[i])
    wide = [row for row in rows if max(of_image, column) < len(row) and meant_by(row[of_image], images)]
    surely = surely_says_splits(rows[0][column]) + _is_of_one(rows[0][of_image]) if wide and column >= 0 else _MAYBE
    surely = min(surely, _LISTED) if any(is_fraction(cell) for row in rows for cell in row) else surely
    return [Said(row[of_image], row[column] if column >= 0 and is_split(row[column]) else "", surely) for row in wide]


def _with_marked(rows: list[list[str]]) -> list[list[str]]:
    """Rows with the split that each marks in columns called `train`, `val`, `test`, or in one called `is_train`."""
    head = rows[0] if rows else []
    marks = {i: word for i, name in enumerate(head) if is_split(word := _MARK.sub(r"\1", name))}
    others = [row for row in rows[1:] if len(row) == len(head)]
    are_marked = all(sum(row[i].lower() in _YES for i in marks) == 1 for row in others)
    if len(marks) == 1 and _MARK.fullmatch(head[min(marks)]):
        cells = [row[min(marks)].lower() for row in others]
        are_marked = any(cell in _YES for cell in cells) and all(cell in (*_YES, *_NO) for cell in cells)
    elif len(marks) < 2:
        return rows
    if not others or not are_marked:
        return rows
    said = (next((word for i, word in marks.items() if row[i].lower() in _YES), "") for row in others)
    return [[*head, "split"], *([*row, word] for row, word in zip(others, said, strict=True))]


def _has_splits(rows: list[list[str]], i: int) -> bool:
    """Whether a column has nothing but splits, or several of them in most rows; and isn't that of classes."""
    first, *others = [row[i] if i < len(row) else "" for row in rows]
    if not is_split(first) and is_of_classes(first):
        return False
    cells = [cell for cell in (first, *others) if cell]
    said = [cell.lower() for cell in cells if is_split(cell)]
    are_all = all(map(is_split, filter(None, others or [first])))
    return bool(said) and (are_all or (len(set(said)) > 1 and 2 * len(said) > len(cells)))


def _in_values(path: str, head: bytes, files: LabelFiles, images: Images) -> list[Said]:
    """The images that JSON or YAML names, and their splits."""
    text = head.decode("utf-8", "replace")
    is_yaml = path.lower().endswith(YAML)
    if not (is_yaml or _is_called_so(path) or _names_some(text, images)):
        return []
    data = files.read(path)
    if is_yaml:
        value: Any = read_any_yaml(data)
    elif path.lower().endswith((".jsonl", ".ndjson")):
        value = [json.loads(line) for line in lines_in(data)]
    else:
        try:
            value = json.loads(decoded(data))
        except ValueError:
            value = [json.loads(line) for line in lines_in(data)]  # a value in each line, whatever it's called
    stem = splitext(basename(path))[0]
    walk = _Walk(images)
    walk.take(value, stem if is_called_like_a_split(stem) and not CALLED_SO.search(stem) else "", "")
    said = walk.all_said()
    words = {one.word.lower() for one in said}
    if len(words) == 1 and len(walk.others) > _OTHERS:
        return []
    return said or [Said(name, "") for name in islice(walk.others.values(), 1)]


def _names_some(text: str, images: Images) -> bool:
    """Whether JSON has the name of an image somewhere, as a text or a number."""
    texts = (one[1] for one in _TEXT.finditer(text))
    return any(meant_by(one, images) for one in texts) or any(map(images.called_so, _WHOLE.findall(text)))


class _Walk:
    """Goes through all values of a file, and notes which images are under which split."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self.said: list[Said] = []
        self.others: dict[str, str] = {}
        self.numbers: list[Said] = []
        self.are_measures = False

    def all_said(self) -> list[Said]:
        """All that is said; numbers only where each is there once, and no fractions are."""
        names = {one.name for one in self.numbers}
        are_names = len(names) == len(self.numbers) and not self.are_measures
        return self.said + (self.numbers if are_names else [])

    def _is_image(self, text: Any) -> bool:
        return isinstance(text, str) and len(text) <= _LONGEST and bool(meant_by(text, self._images))

    def _note(self, name: str, word: str, key: str, surely: int = _MAYBE) -> None:
        if word:
            self.said.append(Said(name, word, surely))
        else:
            self.others.setdefault(key, name)

    def take(self, value: Any, word: str, key: str) -> None:
        """Note what a value says, which stands at a key, and below a split."""
        if isinstance(value, dict):
            self._take_keys(_by_text(value), word, key)
        elif isinstance(value, list):
            value = _without_other_words(value)
            if not word and (found := self._in_table(value) or self._in_entries(value)):
                self.said += found
                return
            if word and (not key or is_called_like_a_split(key) or is_of_images(key)):
                self._take_numbers(value, word)
            for one in value:
                if isinstance(one, str) and self._is_image(one) and not is_split(one):
                    self._note(one, word, key, _LISTED)
                else:
                    self.take(one, word, key)
        elif self._is_image(value) and not is_split(value):
            self._note(value, word, key)

    def _take_numbers(self, value: list[Any], word: str) -> None:
        """Note the images in a list of numbers, if most of these are some."""
        self.are_measures |= any(isinstance(one, float) for one in value)
        texts = [str(one) for one in value if type(one) is int]
        here = list(filter(self._is_image, texts))
        if len(texts) == len(value) and 2 * len(here) > len(texts):
            self.numbers += [Said(text, word, _LISTED) for text in here]

    def _in_table(self, rows: list[Any]) -> list[Said]:
        """What a list of rows says, each a list of texts and numbers: of splits only, and of several."""
        if len(rows) < 2 or not all(isinstance(row, list) and 1 < len(row) <= _WIDE for row in rows):
            return []
        if not all(isinstance(cell, (str, int, float)) for row in rows for cell in row):
            return []
        cells = [[str(cell) for cell in row] for row in rows]
        found = _in_cells(cells, self._images)
        are_said = any(map(_MARK.fullmatch, cells[0])) or len({one.word.lower() for one in found if one.word}) > 1
        return found if are_said else []

    def _in_entries(self, entries: list[Any]) -> list[Said]:
        """What a list of entries says as a table, at a key of any name, where none is plainly of a split."""
        if len(entries) < 2 or not all(isinstance(one, dict) for one in entries):
            return []
        rows = [_by_text(one) for one in entries]
        keys = dict.fromkeys(key for row in rows for key, one in row.items() if isinstance(one, (str, int, float)))
        if any(map(_own_word, rows)) or not 1 < len(keys) <= _WIDE:
            return []
        cells = [[row[key] if isinstance(row.get(key), (str, int, float)) else "" for key in keys] for row in rows]
        return self._in_table([list(keys), *cells])

    def _in_columns(self, value: dict[str, Any]) -> list[Said]:
        """What columns say, each a list at its key, or a mapping from the number of its row."""
        some = {key: list(one.values()) if isinstance(one, dict) else one for key, one in value.items()}
        lists = {key: one for key, one in some.items() if isinstance(one, list)}
        if len(lists) < 2 or len({len(one) for one in lists.values()}) > 1 or any(map(is_split, lists)):
            return []
        return self._in_table([list(lists), *map(list, zip(*lists.values(), strict=True))])

    def _take_entry(self, value: dict[str, Any], own: str) -> None:
        """Note the image of an entry that says its split; or all that are in its lists."""
        names = [one for one in value.values() if self._is_image(one) and not is_split(one)]
        names = [one for one in names if is_image(one)] or names
        numbers = {key: str(one) for key, one in value.items() if type(one) is int and _is_of_one(key)}
        if not names and not any(isinstance(one, str) and is_image(one) for one in value.values()):
            ordered = sorted(numbers, key=lambda key: key.lower() == _ID)  # of the image before that of the entry
            names = [numbers[key] for key in ordered if self._is_image(numbers[key])]
        keys = [key for key, one in value.items() if str(one) in names[:1]]
        surely = any(map(_is_of_one, keys)) + any(map(surely_says_splits, value))
        surely = _HARDLY if any(isinstance(one, float) for one in value.values()) else surely
        self.said += [Said(name, own, surely) for name in names[:1]]
        for name, one in value.items() if not names else ():
            if isinstance(one, (dict, list)):
                self.take(one, own, name)

    def _word_within(self, name: str, value: dict[str, Any]) -> str:
        """The split that is said at the name of an image."""
        return _own_word(value) or _own_word(self._flattened({_NAMED: name, **value}))

    def _flattened(self, value: dict[str, Any]) -> dict[str, Any]:
        """An entry with what is in its mappings, if these are of one image together; else nothing."""
        inner = [_by_text(one) for one in value.values() if isinstance(one, dict)]
        if not any(map(_own_word, inner)):
            return {}
        flat = {key: one for key, one in value.items() if not isinstance(one, dict)}
        for one in inner:
            flat |= {key if key not in flat else f"{key} {len(flat)}": text for key, text in one.items()}
        named = {basename(one) for one in flat.values() if self._is_image(one) and not is_split(one)}
        files = set(filter(is_image, named))
        return flat if len(files or named) == 1 else {}

    def _take_keys(self, value: dict[str, Any], word: str, key: str) -> None:
        if any(isinstance(one, str) and self._is_image(name) for name, one in value.items()):  # name: split
            for name, one in value.items():
                if isinstance(one, str) and self._is_image(name):
                    self._note(name, one if is_split(one) else "", one)
            return
        flat = value if _own_word(value) else self._flattened(value)
        if own := _own_word(flat):
            self._take_entry(flat, own)
            return
        value = _by_text(_without_other_words(value))
        named = [{_NAMED: name, **one} for name, one in value.items() if isinstance(one, dict) and self._is_image(name)]
        if found := self._in_columns(value) or self._in_entries(named):
            self.said += found
            return
        for name, one in value.items():
            if self._is_image(name) and isinstance(one, dict) and (inner := self._word_within(name, _by_text(one))):
                self.said.append(Said(name, inner, _LISTED + any(map(surely_says_splits, _by_text(one)))))
            elif isinstance(one, (dict, list)):
                self.take(one, name if is_called_like_a_split(name) else word, name)
            else:
                self.take(one, word, key)


def _is_of_one(key: str) -> bool:
    """Whether a column or key has the name of an image; ``images`` says how many there are."""
    return is_of_images(key) and not key.lower().endswith("s")


def _without_other_words(entries: Any) -> Any:
    """Entries of a list or at names without keys that may say splits and have other words, too: ``test``, ``prod``."""
    some = list(entries.values()) if isinstance(entries, dict) else entries
    if len(some) < 2 or not all(isinstance(one, dict) for one in some):
        return entries
    keys = {str(key) for one in some for key in one if may_say_splits(str(key)) and not surely_says_splits(str(key))}
    odd = set()
    for key in keys:
        words = [one[key] for one in some if isinstance(one.get(key), str) and one[key]]
        are_several = len({kind_of_split(word) for word in words if is_split(word)}) > 1
        if not are_several and not all(map(is_like_one, words)):
            odd.add(key)
    if not odd:
        return entries
    left = [{key: one for key, one in entry.items() if str(key) not in odd} for entry in some]
    return dict(zip(entries, left, strict=True)) if isinstance(entries, dict) else left


def _own_word(value: dict[str, Any]) -> str:
    """The split that an entry says of itself."""
    has_lists = any(isinstance(one, list) for one in value.values())
    keys = (key for key in value if may_say_splits(key) or (has_lists and key.lower() == "name"))
    return next((one for one in map(value.get, keys) if isinstance(one, str) and is_split(one)), "")


def _by_text(value: dict[Any, Any]) -> dict[str, Any]:
    """A mapping of YAML, whose keys may be numbers."""
    return {str(name): one for name, one in value.items()}
