"""Splits in files of any kind: settings, XML, programs, bytes, and what is packed; and those that count images.

Who reads a split by `blobdir.labels.splitfiles` knows tables, JSON and YAML. In all else, whatever is written there,
images are named and words of splits stand beside them: in the same line, or in one above, as a section's.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Final, NamedTuple

from blobdir.labels.contents import look
from blobdir.labels.files import decoded
from blobdir.labels.finding import is_image
from blobdir.labels.model import LabelError
from blobdir.labels.otherlists import LISTS, lines_in, meant_by, splits_of
from blobdir.labels.splitnames import is_called_like_a_split, is_so, is_split, split_of_folders
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from blobdir.labels.contents import Seen
    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Labels

CALLED_SO: Final = re.compile(r"(?<![a-z])(?:splits?|splitting|partitions?|folds?)(?![a-z])", re.IGNORECASE)
"""A word in the name of a file that says splits."""
_OF_NUMBERS: Final = re.compile(r"(?<![a-z])(?:idxs?|index(?:es)?|indices|ids?|nums?|numbers?)(?![a-z])", re.IGNORECASE)
"""A word in the name of a list of numbers."""
_HELD_OUT: Final = re.compile(r"(?<![a-z])(?:hold[-_ ]?outs?|dev|eval(?:uation)?)(?![a-z])", re.IGNORECASE)
"""What lists are called of images that are kept apart, but for those that everybody knows."""
_LINES: Final = re.compile(r"[\r\n]+|(?=<)")
_TOKEN: Final = re.compile(r"\"((?:[^\"\\]|\\.){1,300})\"|'([^']{1,300})'|([^\s\"',;=<>()\[\]{}]{1,300})")
_HAS_BOTH: Final = re.compile(r"(?=\D*\d)(?=.*[^\W\d])")
_ADVICE: Final = (
    "Put the images into folders that are called like their splits; YOLO and Pascal VOC have lists, too, as train.txt"
)


class Said(NamedTuple):
    """An image that a file names.

    Attributes
    ----------
    name : str
        As the file has it.
    word : str
        The split that it says; empty: none that is known.
    surely : int
        See `blobdir.labels.splitfiles`.
    """

    name: str
    word: str
    surely: int = 0


def is_for_splits(path: str) -> bool:
    """Whether a file of any kind is called for splits, or lies in a folder that is and is called like one itself."""
    stem = splitext(basename(path))[0]
    if CALLED_SO.search(stem):
        return True
    return CALLED_SO.search(basename(dirname(path))) is not None and is_called_like_a_split(stem)


def said_in_any(path: str, files: LabelFiles, images: Images) -> list[Said]:
    """The images that a file of any kind names, each with the split that is said beside it."""
    seen = look(files, path)
    stem = splitext(basename(path))[0]
    word = stem if is_called_like_a_split(stem) and not CALLED_SO.search(stem) else ""
    text = "\n".join([seen.text, *_texts_inside(seen)])
    found: dict[str, Said] = {}
    for line in _LINES.split(text):
        tokens = ["".join(one) for one in _TOKEN.findall(line)]
        places = [i for i, token in enumerate(tokens) if _is_name(token, images)]
        words = [i for i, token in enumerate(tokens) if is_split(token.strip(":=-")) and i not in places]
        for i in places:
            before = [k for k in words if k < i]
            at = before[-1] if before else words[0] if words else None
            found.setdefault(tokens[i], Said(tokens[i], word if at is None else tokens[at].strip(":=-")))
        if words and (not places or words[-1] > places[-1] > words[0]):
            word = tokens[words[-1]].strip(":=-")
    return list(found.values())


_MOST_INSIDE: Final = 20
"""So many files in one that is packed are looked into, those first that are called for splits."""


def _texts_inside(seen: Seen) -> list[str]:
    if seen.inside is None:
        return []
    names = sorted(
        seen.inside.names,
        key=lambda name: not (is_for_splits(name) or is_called_like_a_split(splitext(basename(name))[0])),
    )
    return [one.text for _, one in seen.inside.read(names[:_MOST_INSIDE])]


def _is_name(token: str, images: Images) -> bool:
    return (is_image(token) or _HAS_BOTH.match(token) is not None) and bool(meant_by(token, images))


def name_held_out(files: LabelFiles, images: Images, labels: Labels) -> Iterator[str]:
    """Name lists of images that are kept apart, as ``holdout.txt``, where these are in a dataset with others."""
    splits = splits_of(labels)
    known = {*labels.files, *(path for _, path, _ in labels.problems)}
    for path in files.ending(*LISTS):
        stem = splitext(basename(path))[0]
        if path in known or not _HELD_OUT.search(stem) or is_called_like_a_split(stem) or images.has_called(path):
            continue
        named = _listed(path, files, images)
        if not named:
            continue
        mine = {split for image in named for split in splits.get(image, ())}
        others = {split for image, some in splits.items() if image not in named for split in some}
        if not mine.isdisjoint(others):
            count = counted(len(named), "image that isn't", "images that aren't")
            text = f"is called like a list of images that are kept apart, and isn't read: it names {count} apart, as "
            labels.complain("label", path, f"{text}{min(named)}. {_ADVICE}")
            yield path


def _listed(path: str, files: LabelFiles, images: Images) -> set[str]:
    """The images of a text that has nothing but such."""
    head = files.head(path)
    if not head or b"\0" in head:
        return set()
    try:
        lines = lines_in(files.read(path)) if all(_named(line, images) for line in lines_in(head)[:1]) else []
    except LabelError:
        return set()
    named = [meant_by(line, images) for line in lines]
    return {paths[0] for paths in named} if all(named) else set()


def _named(line: str, images: Images) -> bool:
    return bool(meant_by(line, images))


def name_numbered(files: LabelFiles, labels: Labels, known: Collection[str]) -> Iterator[str]:
    """Name files that say splits by the numbers of images, which nobody knows, where no image is of such a split.

    Parameters
    ----------
    files : LabelFiles
    labels : Labels
        Told of them.
    known : collection of str
        Files that aren't looked at.
    """
    are = {split for picture in labels.pictures if (split := picture.split)}
    for path in files.paths:
        if path in known or is_image(path) or not (is_for_splits(path) or _is_list_of_numbers(path)):
            continue
        words = [word for word in _words_of_numbers(path, files) if not any(is_so(split, word) for split in are)]
        if words:
            text = f"says the images of {', '.join(words[:3])} by numbers, and nothing says which images these are"
            labels.complain("label", path, f"{text}: it wasn't read. {_ADVICE}")
            yield path


def _is_list_of_numbers(path: str) -> bool:
    stem = splitext(basename(path))[0]
    return is_called_like_a_split(stem) and _OF_NUMBERS.search(stem) is not None


def _words_of_numbers(path: str, files: LabelFiles) -> list[str]:
    """The splits of which a file has whole numbers, and nothing else."""
    stem, ending = splitext(basename(path))
    try:
        if ending.lower() == ".json":
            value = json.loads(decoded(files.read(path)))
            some = {key: one for key, one in value.items() if is_split(key)} if isinstance(value, dict) else {}
            return list(some) if some and all(map(_are_numbers, some.values())) else []
        lines = lines_in(files.read(path)) if ending.lower() in LISTS and b"\0" not in files.head(path) else []
    except (LabelError, ValueError, RecursionError):
        return []
    is_list = bool(lines) and all(map(str.isdecimal, lines)) and len({*lines}) == len(lines)
    return [stem] if is_list and is_called_like_a_split(stem) else []


def _are_numbers(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) is int for one in value)


IMAGES, SPLITS = "images.txt", "train_test_split.txt"
"""CUB-200's files: the number of each image and its path; the same number, and whether it's one to train with."""
_PAIR: Final = re.compile(r"(\d{1,12})\s+(\S.*?)\s*")
_WORDS: Final = {"1": "train", "0": "test"}


def read_numbered(files: LabelFiles, images: Images, labels: Labels) -> None:
    """Have images in the splits that CUB-200's files say, where neither their labels nor folders say one.

    Parameters
    ----------
    files : LabelFiles
    images : Images
    labels : Labels
        Its pictures get their splits.
    """
    for path in files.ending(".txt"):
        folder = dirname(path)
        other = f"{folder}/{IMAGES}" if folder else IMAGES
        if basename(path).lower() != SPLITS or other not in files:
            continue
        words, names = _pairs(path, files), _pairs(other, files)
        if not words or not names or not {*words.values()} <= _WORDS.keys():
            continue
        ways = [_placed(words, names, near, images) for near in dict.fromkeys((folder, ""))]
        found, lost = max(ways, key=lambda one: len(one[0]))
        if found:
            labels.files += [path, other]
            _have_splits(path, found, lost, labels)


def _placed(
    words: dict[str, str], names: dict[str, str], near: str, images: Images
) -> tuple[dict[str, str], list[str]]:
    """Image -> its split, by paths that are seen from a folder; and the names that mean none."""
    found: dict[str, str] = {}
    lost = []
    for number, name in names.items():
        try:
            image = images.place(name, near, is_in_list=True).path
        except LabelError:
            lost.append(name)
            continue
        if number in words:
            found[image] = _WORDS[words[number]]
    return found, lost


def _have_splits(path: str, found: dict[str, str], lost: list[str], labels: Labels) -> None:
    """Have images in splits, and say what came of it."""
    counts: Counter[str] = Counter()
    odd = []
    for picture in labels.pictures:
        word = found.get(picture.path)
        if word is None:
            continue
        said = picture.split or split_of_folders(picture.path)
        if not said:
            picture.split = word
            counts[word] += 1
        elif not is_so(said, word):
            odd.append(picture.path)
    if counts:
        shown = " and ".join(f"{word} of {counted(count, 'image')}" for word, count in sorted(counts.items()))
        labels.note(path, f"says {shown} by the numbers in {IMAGES}, as CUB-200's: they are of these splits")
    if odd:
        count = counted(len(odd), "image isn't", "images aren't")
        text = f"says splits of images by the numbers in {IMAGES}: {count} of the split that it says, as {odd[0]}"
        labels.complain("label", path, f"{text}, since labels or folders say another one")
    if lost:
        count = counted(len(lost), "image isn't there", "images aren't there")
        labels.complain("label", path, f"{count} that {IMAGES} names, as {lost[0]}")


def _pairs(path: str, files: LabelFiles) -> dict[str, str]:
    """Number -> what stands behind it; nothing if a line is otherwise, or a number there twice."""
    try:
        pairs = [_PAIR.fullmatch(line) for line in lines_in(files.read(path))]
    except LabelError:
        return {}
    found = {pair[1]: pair[2] for pair in pairs if pair}
    return found if len(found) == len(pairs) else {}
