"""Splits that the entries of a label file say: in a column `Usage`, at a key ``subset`` of each image.

One is read where each entry has one, in words that are splits and nothing else; what isn't as plain is named.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from blobdir.labels.model import LabelError, UnclearError
from blobdir.labels.splitnames import (
    closeness,
    is_called_like_a_split,
    is_so,
    is_split,
    is_whole,
    kind_of_split,
    split_of_folders,
)
from blobdir.lazily import cached_property
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from blobdir.labels.finding import Images

_CLASS: Final = re.compile(r"(?:class|label|categor|object|species|breed|tag).*|name", re.IGNORECASE)
"""What a column or key with classes is called: trains are a class."""
_OF_SPLIT: Final = re.compile(r".*(?:split|set|part|fold|phase|stage|usage|mode|group|type|purpose).*", re.IGNORECASE)
"""What a column or key is called with the split of an entry."""
_SURELY: Final = re.compile(r"(?:data|image|img|sub)?(?:set|split)(?:name|type)?|partition|phase|usage|fold")
"""Those that have nothing else, without what counts for nothing in them."""
_OF_SETS: Final = re.compile(r"(?:data|image|img)set.*")
"""Those of them that may have the names of data sets."""
_SHORT: Final = re.compile(
    r"tra?i?n?|trn|vali?d?|va|vl|vld|te?st?|te|dev|eval(?:uation)?|holdout|restval|(?:public|private)test",
    re.IGNORECASE,
)
"""Other words that programs have for splits: they are noted, and not read."""
_MARKS: Final = ("0", "1", "0.0", "1.0", "true", "false", "yes", "no")
_FEW: Final = 5
"""So many words may be splits."""
_LOOKED_AT: Final = 1000
"""So many entries tell whether a key of any name has splits."""
_NOTHING: Final = re.compile(r"[\W_]")
_SO: Final = "Call the column or key `split` if it's that of the images"


class Meant:
    """Finds the images that the entries of a label file mean, as its labels will; nothing is noted of what isn't there.

    Parameters
    ----------
    images : Images
    near : str
        Folder of the label file.
    """

    def __init__(self, images: Images, near: str) -> None:
        self._images, self._near = images, near
        self._found: dict[tuple[str, str], list[str]] = {}

    def paths(self, name: str, word: str) -> list[str]:
        """The image of an entry that says a split; of one that isn't there, what it'd be if the entry said none."""
        if (name, word) not in self._found:
            self._found[name, word] = (self._of(name, word) or self._of(name, "")) if name else []
        return self._found[name, word]

    @cached_property
    def _anew(self) -> Images:
        return self._images.anew()

    def _of(self, name: str, word: str) -> list[str]:
        try:
            return [self._anew.find(name, self._near, word)]
        except UnclearError as error:
            return [] if word else error.paths
        except LabelError:
            return []


class Closer:
    """The splits of entries beside what folders say: more closely, as ``train`` of ``trainval``, or something else."""

    def __init__(self) -> None:
        self._closer: dict[str, tuple[str, str]] = {}
        self._others: dict[str, tuple[str, str]] = {}
        self._folders: set[str] = set()

    def split(self, word: str, paths: list[str]) -> str:
        """The split of an entry that says one: that of its image's folder, if it says the same more closely."""
        folder = split_of_folders(paths[0]) if len(paths) == 1 and is_split(word) else ""
        if not folder:
            return word
        self._folders.add(folder)
        if not is_so(folder, word):
            self._others[paths[0]] = word, folder
        elif is_whole(word) and closeness(folder) < closeness(word):
            self._closer[paths[0]] = word, folder
            return folder
        return word

    def told(self) -> list[tuple[str, str]]:
        """What there is to say of it, with its code."""
        told = []
        if self._closer:
            first, (word, folder) = next(iter(self._closer.items()))
            lie = _lie(self._closer, f" of {word} or the like")
            told.append(("label-note", f"{lie} in folders that say it more closely, as {first}: that is of {folder}"))
        if self._others:
            pairs = set(self._others.values())
            is_crossed = any(is_so(one[1], two[0]) and is_so(two[1], one[0]) for one in pairs for two in pairs)
            first, (word, _) = next(iter(self._others.items()))
            lie = _lie(self._others)
            text = f"{lie} in folders of other splits than it says, as {first} ({word}): what it says counts"
            told.append(("label" if is_crossed else "label-note", text))
        return told


def _lie(images: Collection[str], what: str = "") -> str:
    return f"{counted(len(images), 'image')}{what} {'lies' if len(images) == 1 else 'lie'}"


def may_say_splits(name: str) -> bool:
    """Whether a column or key of this name may have splits."""
    return _OF_SPLIT.fullmatch(name) is not None and not is_of_classes(name)


def is_of_classes(name: str) -> bool:
    """Whether a column or key of this name has classes."""
    return _CLASS.fullmatch(name) is not None


def may_be_noted(name: str, text: Any) -> bool:
    """Whether a column or key may say splits, or have something to say of, by its name or a text in it."""
    if may_say_splits(name) or is_called_like_a_split(name):
        return True
    return isinstance(text, str) and is_like_one(text.strip()) and not is_of_classes(name)


def is_like_one(word: str) -> bool:
    """Whether a word is a split, or one that programs have for it."""
    return is_split(word) or _SHORT.fullmatch(word) is not None


def columns_of(entries: list[Any]) -> dict[str, list[str]]:
    """The texts that JSON's entries have at keys that may say splits; empty where an entry has none."""
    keys = dict.fromkeys(key for one in entries if isinstance(one, dict) for key in one if may_say_splits(key))
    for one in entries[:_LOOKED_AT]:
        keys |= dict.fromkeys(key for key in one if may_be_noted(key, one[key])) if isinstance(one, dict) else {}
    return {key: [_text(one.get(key)) if isinstance(one, dict) else "" for one in entries] for key in keys}


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, (str, int)) else ""


def column_of_splits(
    columns: Mapping[str, list[str]], names: Iterable[str], of_file: str, meant: Meant
) -> tuple[str, list[tuple[str, str]]]:
    """The column, or key, with the split of each entry; and what there is to say, each with its code.

    Parameters
    ----------
    columns : mapping
        Name of each -> its texts.
    names : iterable of str
        What each entry calls its image.
    of_file : str
        The split that the file's name says.
    meant : Meant

    Returns
    -------
    str
        Empty: there is none that's plain.
    list of (str, str)
    """
    names = list(names)
    plain, told = _plain(columns)
    if not plain:
        return "", told
    first = min(plain, key=lambda name: not surely_says_splits(name))
    if not closeness(of_file) and all(is_so(of_file, word) for word in set(columns[first])):
        return "", told
    if why := _against(first, plain, columns, names, of_file, meant):
        text = f"its {first!r} says splits of images, and isn't read, as {why}. {_SO}, or take it out"
        return "", [*told, ("label", text)]
    return first, [*told, ("label-note", f"has the splits of images in its {first!r}")]


def surely_says_splits(name: str) -> bool:
    """Whether a column or key of this name has nothing but splits."""
    return _SURELY.fullmatch(_NOTHING.sub("", name.lower())) is not None


def _plain(columns: Mapping[str, list[str]]) -> tuple[list[str], list[tuple[str, str]]]:
    """The columns with a split in each entry, and what there is to say of others that have some."""
    plain: list[str] = []
    told: list[tuple[str, str]] = []
    for name, cells in columns.items():
        said = [cell for cell in cells if is_split(cell)]
        if not said or not may_say_splits(name):
            told += [("label-note", f"its {name!r} {why}. {_SO}")] if (why := _unread(name, cells, said)) else []
            continue
        are_several = len(set(map(kind_of_split, said))) > 1
        if len(said) == len(cells) and (surely_says_splits(name) or are_several):
            plain.append(name)
            continue
        text = f"its {name!r} says {said[0]!r}"
        if (other := next((cell for cell in cells if not is_split(cell)), None)) is not None:
            text += f", and {repr(other) if other else 'nothing'} elsewhere"
        is_lost = surely_says_splits(name) or (are_several and 2 * len(said) > len(cells))
        told.append(("label" if is_lost else "label-note", f"{text}: it isn't taken for the splits of images. {_SO}"))
    return plain, told


def _unread(name: str, cells: list[str], said: list[str]) -> str:
    """What to say of a column that may say splits by another name, or in other words; empty: nothing."""
    if is_of_classes(name):
        return ""
    if len(set(map(kind_of_split, said))) > 1 and 2 * len(said) > len(cells):
        return f"has words that are splits, as {said[0]!r}, and isn't called so: it isn't read"
    words = list(dict.fromkeys(cells))
    if not all(words) or not 1 < len(words) <= _FEW:
        return ""
    are_marks = is_called_like_a_split(name) and all(word.lower() in _MARKS for word in words)
    is_surely = surely_says_splits(name) and not _OF_SETS.fullmatch(_NOTHING.sub("", name.lower()))
    if not (are_marks or all(map(is_like_one, words)) or is_surely or "split" in name.lower()):
        return ""
    return f"may say splits, by a name or in words that aren't known ({words[0]!r}, {words[1]!r}): it isn't read"


def _against(
    first: str,
    plain: list[str],
    columns: Mapping[str, list[str]],
    names: Iterable[str],
    of_file: str,
    meant: Meant,
) -> str:
    """Why a column isn't read: something else says other splits; empty: nothing does."""
    cells = columns[first]
    if not closeness(of_file):
        return f"its file is called so, or lies so, that it's of {of_file!r}"
    for other in plain:
        pairs = zip(cells, columns[other], strict=True)
        if pair := next((two for two in pairs if len(set(map(kind_of_split, two))) > 1), None):
            return f"its {other!r} says others ({pair[0]!r}, {pair[1]!r})"
    words: dict[str, str] = {}
    for name, word in dict.fromkeys(zip(names, cells, strict=True)):
        paths = meant.paths(name, word)
        image = paths[0] if len(paths) == 1 else name
        if (other := words.setdefault(image, word)).lower() != word.lower():
            return f"{name} has two ({other!r}, {word!r})"
        folders = list(map(split_of_folders, paths))
        if folders and all(folder and not is_so(folder, word) for folder in folders):
            return f"{name} ({word}) lies in {folders[0]}"
    return ""
