"""Lists of images to be packed: a path per line, CSV with a header, or JSON lines."""

from __future__ import annotations

import csv
import json
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from blobdir.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STDIN: Final = "-"
COLUMNS: Final = ("path", "dataset", "name", "tags", "annotation")
_DELIMITERS: Final = (",", "\t")
_PEEK_BYTES: Final = 4096
_BOM: Final = "\ufeff"


@dataclass(frozen=True, slots=True)
class Row:
    """One image of a list.

    Attributes
    ----------
    path : str
        Relative to the list's folder, or absolute.
    dataset, name : str
        Empty: whatever is the default.
    tags : tuple of str
    annotation : str or dict or None
        A path as `path`, the annotation itself, or none.
    """

    path: str
    dataset: str = ""
    name: str = ""
    tags: tuple[str, ...] = field(default=())
    annotation: str | dict[str, Any] | None = None


class RowError(Exception):
    """A line that says nothing that can be packed; the message says what is wrong with it."""


def read_list(path: str) -> Iterator[tuple[int, Row | RowError]]:
    """Read a list; what it is, its first line says.

    JSON lines begin with ``{``. A line that holds ``path`` among fields parted by commas or tabs is the
    header of a CSV. Everything else is text: a path per line.

    Parameters
    ----------
    path : str
        A file, or ``-`` for standard input.

    Yields
    ------
    (int, Row or RowError)
        Number of the line, from 1 on.

    Raises
    ------
    UsageError
        It isn't text; or the CSV's header has columns that nobody knows.
    """
    if path == STDIN:
        yield from _rows(_lines(sys.stdin.buffer, "standard input"))
        return
    with open(path, "rb") as file:
        yield from _rows(_lines(file, path))


def _lines(file: Any, what: str) -> Iterator[str]:
    if b"\0" in file.peek(_PEEK_BYTES)[:_PEEK_BYTES]:
        raise UsageError(f"{what}: isn't text, so no list of images: a list holds a path per line, CSV or JSON lines")
    for number, line in enumerate(file):
        text = line.decode("utf-8", "surrogateescape")  # names of files needn't be UTF-8
        yield text.removeprefix(_BOM) if not number else text


def _rows(lines: Iterator[str]) -> Iterator[tuple[int, Row | RowError]]:
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    number, first = next(numbered, (0, ""))
    if not number:
        return
    delimiter = next((d for d in _DELIMITERS if "path" in _fields(first, d) and len(_fields(first, d)) > 1), "")
    is_json = first.lstrip().startswith("{")
    if not is_json and (delimiter or first.strip() == "path"):
        yield from _csv_rows(first, lines, number, delimiter or ",")
        return
    parse = _json_row if is_json else _text_row
    yield number, _tried(parse, first)
    for number, line in numbered:
        yield number, _tried(parse, line)


def _tried(parse: Callable[[str], Row], line: str) -> Row | RowError:
    try:
        return parse(line)
    except RowError as error:
        return error


def _fields(line: str, delimiter: str) -> list[str]:
    return [name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter), [])]


def _text_row(line: str) -> Row:
    return Row(line.rstrip("\r\n"))


def _csv_rows(header: str, lines: Iterator[str], before: int, delimiter: str) -> Iterator[tuple[int, Row | RowError]]:
    names = _fields(header, delimiter)
    unknown = set(names) - set(COLUMNS)
    if unknown or len(set(names)) != len(names):
        raise UsageError(
            f"the list's columns are {', '.join(names)}; there can be {', '.join(COLUMNS)}, each of them once"
        )
    reader = csv.reader(lines, delimiter=delimiter)
    for values in reader:
        if any(value.strip() for value in values):
            try:
                yield before + reader.line_num, _csv_row(names, values)
            except RowError as error:
                yield before + reader.line_num, error


def _csv_row(names: list[str], values: list[str]) -> Row:
    if len(values) > len(names):
        raise RowError(f"has {len(values)} fields, and there are {len(names)} columns")
    row = dict(zip(names, values, strict=False))
    if not row.get("path"):
        raise RowError("has no path")
    tags = tuple(tag.strip() for tag in row.get("tags", "").split(";") if tag.strip())
    return Row(row["path"], row.get("dataset", ""), row.get("name", ""), tags, row.get("annotation") or None)


def _json_row(line: str) -> Row:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RowError(f"isn't JSON: {error}") from None
    if not isinstance(row, dict) or not isinstance(row.get("path"), str) or not row["path"]:
        raise RowError('isn\'t an object with a path, {"path": "a.jpg"}')
    if unknown := sorted(set(row) - set(COLUMNS)):
        raise RowError(f"has {', '.join(unknown)}; there can be {', '.join(COLUMNS)}")
    tags, annotation = row.get("tags") or [], row.get("annotation")
    if not isinstance(tags, list) or not all(isinstance(tag, str) and tag for tag in tags):
        raise RowError("has tags that aren't a list of names")
    if not (annotation is None or isinstance(annotation, (str, dict))):
        raise RowError("has an annotation that is neither a path nor an object")
    dataset, name = row.get("dataset") or "", row.get("name") or ""
    if not isinstance(dataset, str) or not isinstance(name, str):
        raise RowError("has a dataset or name that isn't a text")
    for text in (row["path"], dataset, name, annotation):
        if isinstance(text, str) and not _can_be_a_name(text):
            raise RowError(f"has {text[:80]!r}, which can't be the name of a file")
    return Row(row["path"], dataset, name, tuple(tags), annotation or None)


def _can_be_a_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # half a character, which JSON can spell
        return False


def is_list(source: str) -> bool:
    """Whether a source of packing is a list: a plain file, or ``-``."""
    return source == STDIN or os.path.isfile(source)
