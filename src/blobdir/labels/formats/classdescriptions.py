"""The names of Open Images' classes, whose tables have ids only: ``class-descriptions-boxable.csv`` and its like.

Each counts for the tables beside and below it, as YOLO's files with names do. Classes for which no file has a name are
called by their ids, and that is said.
"""

from __future__ import annotations

import csv
import io
import re
from posixpath import basename, dirname
from typing import TYPE_CHECKING, Final

from blobdir.filenames import parents_of
from blobdir.labels.files import decoded
from blobdir.labels.model import LabelError, name_of
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from blobdir.labels.files import LabelFiles
    from blobdir.labels.model import Complain, Labels, Thing

_CALLED_SO: Final = re.compile(r"(?:.*[-_ ])?class[-_ ]?descriptions?(?:[-_ .].*)?\.(?:csv|tsv)", re.IGNORECASE)
_LIKE_IT: Final = re.compile(r"class(?:es|[-_ ]?names?)\.(?:csv|tsv)", re.IGNORECASE)
_BEGINS: Final = re.compile(rb"(?:\xef\xbb\xbf)?(?:\w+[,\t][^\r\n]*[\r\n]+)?/[a-z]/\w+[,\t]")
"""How a file begins that is called so and has ids, with a header or without: FiftyOne's ``metadata/classes.csv``."""
_ID: Final = re.compile(r"/[a-z]/\w+")
"""An id of Open Images, of Freebase before."""
_HEADER: Final = "labelname"
_USUAL: Final = "class-descriptions-boxable.csv"


def name_classes(files: LabelFiles, labels: Labels, classes: Mapping[str, Collection[str]]) -> None:
    """Have the objects of tables called by the names of their classes.

    Parameters
    ----------
    files : LabelFiles
    labels : Labels
        Its pictures are those of tables.
    classes : mapping
        Table -> the classes that its rows say.

    Raises
    ------
    LabelError
        It can't be told which name an id has.
    """
    used = {one for ids in classes.values() for one in ids if _ID.fullmatch(one)}
    if not used:
        return
    described = _Descriptions(files, used)
    names = {table: described.names_for(table, ids) for table, ids in classes.items()}
    for picture in labels.pictures:
        if found := names.get(picture.file):
            picture.read = _Named(picture.read, found)
    labels.files += described.paths
    described.say(labels)
    unnamed: dict[str, str] = {}
    for table, ids in classes.items():
        unnamed |= {one: table for one in sorted(ids) if _ID.fullmatch(one) and one not in names[table]}
    if unnamed:
        first, table = next(iter(unnamed.items()))
        count = counted(len(unnamed), "class", "classes")
        text = f"has ids of {count}, as {first}, and no file has names for them, so these are called by their ids"
        labels.note(table, f"{text}. Put {_USUAL} beside it, with an id and a name in each line")


class _Descriptions:
    """All files with names of classes that are of use.

    Attributes
    ----------
    paths : list of str
    """

    def __init__(self, files: LabelFiles, used: Collection[str]) -> None:
        self._by_folder: dict[str, dict[str, str]] = {}
        self._said_by: dict[tuple[str, str], str] = {}
        self._twice: dict[str, list[str]] = {}
        self.paths: list[str] = []
        for path in files.ending(".csv", ".tsv"):
            is_like_it = _LIKE_IT.fullmatch(basename(path)) and _BEGINS.match(files.head(path))
            if is_like_it or _CALLED_SO.fullmatch(basename(path)):
                self._take(path, {one: name for one, name in _read(files, path) if one in used})

    def _take(self, path: str, found: dict[str, str]) -> None:
        """Note the names of a file for its folder."""
        folder = dirname(path)
        known = self._by_folder.setdefault(folder, {})
        for one, name in found.items():
            if known.setdefault(one, name) != name:
                other = f"{self._said_by[folder, one]} calls it {known[one]!r}"
                raise LabelError(f"{path}: calls {one} {name!r}, and {other}; leave the one that counts")
            self._said_by.setdefault((folder, one), path)
        if found:
            self.paths.append(path)

    def names_for(self, table: str, ids: Collection[str]) -> dict[str, str]:
        """Id -> name, for the classes of a table; two of one name stay called by their ids."""
        found: dict[str, str] = {}
        for one in sorted(ids):
            ways = [folder for folder, names in self._by_folder.items() if one in names]
            near = next((folder for folder in (*parents_of(table), "") if folder in ways), None)
            folder = near if near is not None else next(iter(ways), None)
            if folder is None:
                continue
            found[one] = self._by_folder[folder][one]
            other = next((other for other in ways if self._by_folder[other][one] != found[one]), None)
            if near is None and other is not None:
                paths = " and ".join(sorted(self._said_by[way, one] for way in (folder, other)))
                raise LabelError(f"{table}: {paths} call {one} differently, and none of them lies beside it or above")
        by_name: dict[str, list[str]] = {}
        for one, name in found.items():
            by_name.setdefault(name, []).append(one)
        again = {name: same for name, same in by_name.items() if len(same) > 1}
        self._twice |= again
        return {one: name for one, name in found.items() if name not in again}

    def say(self, labels: Labels) -> None:
        """Say which files differ, and which names two classes have."""
        for name, ids in self._twice.items():
            text = f"calls {' and '.join(ids[:2])} {name!r} alike, so these are called by their ids"
            labels.note(next(path for (_, one), path in self._said_by.items() if one == ids[0]), text)
        known: dict[str, tuple[str, str]] = {}
        for (folder, one), path in self._said_by.items():
            first, name = known.setdefault(one, (path, self._by_folder[folder][one]))
            if name != self._by_folder[folder][one]:
                text = f"has another name of {one} than {first}; each counts for the tables beside and below it"
                labels.note(path, text)
                return


def _read(files: LabelFiles, path: str) -> Iterator[tuple[str, str]]:
    """Each id in a file, and its name."""
    known: dict[str, str] = {}
    try:
        text = decoded(files.read(path))
        delimiter = "\t" if path.lower().endswith(".tsv") else ","
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            one, name = [*(cell.strip() for cell in row), "", ""][:2]
            if not one or not name or one.lower() == _HEADER:
                continue
            if known.setdefault(one, name) != name:
                raise LabelError(f"calls {one} {known[one]!r} and {name!r}")
            yield one, name_of(name, f"the name of {one}")
    except (LabelError, csv.Error) as error:
        raise LabelError(f"{path}: {error}") from error


class _Named:
    """Reads the objects of an image, with the names of their classes."""

    __slots__ = ("_names", "_read")

    def __init__(self, read: Callable[[int, int, Complain], Iterable[Thing]], names: dict[str, str]) -> None:
        self._read, self._names = read, names

    def __call__(self, width: int, height: int, complain: Complain) -> Iterator[Thing]:
        for thing in self._read(width, height, complain):
            thing.label = self._names.get(thing.label, thing.label)
            yield thing
