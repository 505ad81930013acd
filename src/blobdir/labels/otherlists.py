"""Lists of the images of a split that aren't read: each is named where an image isn't of the split that it says.

Formats have no lists, or other ones; programs write a header, classes, scores, quotes around the names, or another
ending. Nobody knows how each is meant.
"""

from __future__ import annotations

import re
from posixpath import basename, dirname, splitext
from typing import TYPE_CHECKING, Final

from blobdir.labels.files import decoded, lines_of
from blobdir.labels.lists import ENDING, NO_SPLIT, SETS, Called, image_sets, lists_called_so, stem_in
from blobdir.labels.mentions import is_image_named
from blobdir.labels.model import LabelError
from blobdir.labels.namesakes import lying_so
from blobdir.labels.splitnames import is_called_like_a_split, is_of_split, is_so, kind_of_split, split_of_list
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.finding import Images
    from blobdir.labels.model import Labels

LISTS: Final = (ENDING, ".lst", ".list", ".csv", ".tsv", ".text", ".ids", "")
"""What lists of images end with."""
_HAVE_LISTS: Final = ("yolo", "voc")
_FIELDS: Final = re.compile(r"[,;|\t]|:\s|=")
_AROUND: Final = " \t\"'`:()[]<>{}*-"
"""Around names in lists."""
_NUMBER: Final = re.compile(r"[-+]?[\d.]+(?:e[-+]?\d+)?", re.IGNORECASE)
_PADDED: Final = re.compile(r"0\d+|\d{5,}")
_HEADER: Final = re.compile(
    r"(?:(?:image|img|file|sample|frame|photo|picture)s?[\s_-]*)?(?:id|name|file|path|index|stem|key)?s?",
    re.IGNORECASE,
)
"""What the column with the images is called."""
_OF_CLASSES: Final = re.compile(r"_*(?:predefined_)?(?:class(?:es)?(?:_?names)?|categories|label_?map)", re.IGNORECASE)
"""What files are called that say the numbers of classes."""
_SHOWN: Final = 60


def name_unused(files: LabelFiles, images: Images, labels: Labels, known: Collection[str]) -> None:
    """Name the lists that weren't read, where they say a split of an image that it isn't of; but for known files."""
    known = {*known, *labels.files, *(path for _, path, _ in labels.problems)}
    splits = splits_of(labels)
    labelled = {picture.path for picture in labels.pictures if picture.is_labelled}
    if labels.format == "voc":
        known |= _of_other_tasks(files, set(labels.files))
    plain = {one.path: one for one in lists_called_so(files, images) if one.path not in known}
    for one in (*plain.values(), *lists_with_more(files, images, {*known, *plain})):
        name = split_of_list(one.path)
        lost = [image for image in one.named if not any(is_so(split, name) for split in splits.get(image, [name]))]
        different = {id(paths): paths for _, paths in one.others}  # many lines may be of the same namesakes
        known_so = {number: _are_of(paths, name, splits, labelled) for number, paths in different.items()}
        unclear = [line for line, paths in one.others if not known_so[id(paths)]]
        text = f"isn't read as a list of {name}{_why(one, labels.format)}, and names images: "
        if lost:
            count = counted(len(lost), "image isn't", "images aren't")
            labels.complain("label", one.path, f"{text}{count} of that split now, as {lost[0]}")
        elif unclear:
            count = counted(len(unclear), "line", "lines")
            labels.complain("label", one.path, f"{text}which, can't be told of {count}, as {unclear[0]!r}")


def _are_of(paths: list[str], name: str, splits: dict[str, list[str]], labelled: set[str]) -> bool:
    """Whether images of one name are of the split that a list says, or else the one that lies in a folder of it.

    That one must have labels: who passed by a list whose lines may have boxes of it would lose them.
    """
    here = [path for path in paths if is_of_split(path, kind_of_split(name) or name)]
    some = here if len(here) == 1 and here[0] in labelled else paths
    return all(any(is_so(split, name) for split in splits.get(path, [name])) for path in some)


def splits_of(labels: Labels) -> dict[str, list[str]]:
    """Image -> the splits that it's of."""
    found: dict[str, list[str]] = {}
    for picture in labels.pictures:
        found.setdefault(picture.path, []).append(picture.split)
    return found


def _of_other_tasks(files: LabelFiles, read: Collection[str]) -> set[str]:
    """Lists of VOC that make no split, beside an ``ImageSets/Main`` that does: they are of segmentation, say."""
    found: set[str] = set()
    for sets in image_sets(files).values():
        named = {path: name for folder in SETS for name, path in sets.get(folder, {}).items()}
        if any(path in read and name.lower() != NO_SPLIT for path, name in named.items()):
            found |= named.keys()
    return found


def _why(one: Called, kind: str) -> str:
    if one.like:
        return (
            f", as its lines have more than an image's name, like {one.like!r} "
            "(a list has an image in each line, and up to three whole numbers behind it)"
        )
    is_other = kind in _HAVE_LISTS and splitext(one.path)[1].lower() != ENDING
    return f", as only those are that end in {ENDING}" if is_other else ""


def lists_with_more(files: LabelFiles, images: Images, known: Collection[str]) -> Iterator[Called]:
    """Texts that are called like a split, and most of whose lines hold the name of an image somewhere.

    Parameters
    ----------
    files : LabelFiles
    images : Images
    known : collection of str
        Those that aren't looked at.
    """
    for path in files.ending(*LISTS):
        if path in known or not split_of_list(path):
            continue
        if not is_called_like_a_split(splitext(basename(path))[0]) and images.has_called(path):
            continue  # it's of one image in the folder of a split
        if (head := files.head(path)) and b"\0" not in head and _with_more(path, lines_in(head), images):
            try:
                found = _with_more(path, lines_in(files.read(path)), images)
            except LabelError:
                continue  # it's gone
            if found is not None:
                yield found


def lines_in(data: bytes) -> list[str]:
    """The lines of a list with something in them; a text in an old encoding may name images, too."""
    try:
        text = decoded(data)
    except LabelError:
        text = data.decode("latin-1")
    return [line for line in map(str.strip, lines_of(text)) if line and not line.startswith("#")]


def _with_more(path: str, lines: list[str], images: Images) -> Called | None:
    """What a text names; None: most lines name nothing."""
    if _OF_CLASSES.fullmatch(splitext(basename(path))[0]) and not any(map(is_image_named, lines)):
        return None  # its numbers are of classes
    if len(lines) > 1 and is_header(lines[0]) and not _somewhere(lines[0], images):
        lines = lines[1:]
    found = _named(lines, images)
    hits = sum(map(bool, found))
    if 2 * hits <= len(lines) and not (hits > 1 and hits == len(lines) - 1):  # a header, perhaps
        return None
    named = list(dict.fromkeys(paths[0] for paths in found if len(paths) == 1))
    others = [(line, paths) for line, paths in zip(lines, found, strict=True) if len(paths) > 1]
    more = (line for line, paths in zip(lines, found, strict=True) if paths and not meant_by(line, images))
    return Called(path, dirname(path), named, others, is_sure=False, like=next(more, "")[:_SHOWN])


def is_header(line: str) -> bool:
    """Whether a line says what the columns are: one of them may be of images."""
    return any(map(is_of_images, (*fields_of(line), *cells_of(line))))


def is_of_images(name: str) -> bool:
    """Whether a column or key of this name has the names of images."""
    return bool(name) and _HEADER.fullmatch(name) is not None


def _named(lines: list[str], images: Images) -> list[list[str]]:
    """The images that each line names; images may be called by numbers, which then are all that some column has."""
    rows = [cells_of(line) for line in lines]
    column = _column_of_numbers(rows, images)
    if column is None:
        return [_somewhere(line, images) for line in lines]
    return [meant_by(row[column], images) for row in rows]


def fields_of(line: str) -> list[str]:
    """The fields of a line, without what stands around them; where nothing is between them, its words."""
    fields = [field.strip(_AROUND) for field in _FIELDS.split(line)]
    return fields if len(fields) > 1 else cells_of(line)


def are_columns(lines: list[str]) -> bool:
    """Whether lines have something between their fields but spaces."""
    return any(_FIELDS.search(line) for line in lines)


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    return _NUMBER.fullmatch(text) is not None


def cells_of(line: str) -> list[str]:
    """The words in a line, without what stands around them."""
    words = (word.strip(_AROUND) for field in _FIELDS.split(line) for word in field.split())
    return list(filter(None, words))


def _column_of_numbers(rows: list[list[str]], images: Images) -> int | None:
    """The column of names that are numbers, each once, most of them of images; None: there is none.

    Where there are fractions, too, these are no lists: numbers are of epochs, say.
    """
    if len({len(row) for row in rows}) != 1 or any(is_fraction(cell) for row in rows for cell in row):
        return None
    found = []
    for i, column in enumerate(zip(*rows, strict=True)):
        are_different = all(map(is_number, column)) and len(set(column)) == len(column)
        if are_different and 2 * sum(1 for one in column if meant_by(one, images)) > len(column):
            found.append(i)
    counting = [[str(i + start) for i in range(len(rows))] for start in (0, 1)]
    return next((i for i in found if [row[i] for row in rows] not in counting), next(iter(found), None))


def is_fraction(cell: str) -> bool:
    """Whether a text is a number, and no whole one."""
    return is_number(cell) and not cell.lstrip("+-").isdecimal()


def _somewhere(line: str, images: Images) -> list[str]:
    """The images that a line of a list may name in any of its fields, the first that names one."""
    fields = [field.strip(_AROUND) for field in _FIELDS.split(line)]
    some = list(filter(None, dict.fromkeys((*fields, *cells_of(line)))))
    are_numbers = list(map(is_number, some))  # of epochs, say; but images are called 000017, or 17 before a class
    some = [
        one
        for i, one in enumerate(some)
        if not are_numbers[i] or (i == 0 and (len(some) == 1 or _PADDED.fullmatch(one) or not all(are_numbers)))
    ]
    return next(filter(None, (meant_by(one, images) for one in some)), [])


def meant_by(name: str, images: Images) -> list[str]:
    """The images that a name may mean: those called so, or else like the file with labels or numbers that it names.

    Of several, those that lie in the folders before the name.
    """
    found = images.called_so(name) or (images.called_so(stem) if (stem := stem_in(name)) else [])
    return (lying_so(found, name) if len(found) > 1 else []) or found
