"""Lists of images to be packed: a path per line, CSV with a header, or JSON lines."""

from __future__ import annotations

import csv
import os
import sys
from codecs import BOM_UTF8
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from blobdir.discovery.given import kind_of_file
from blobdir.errors import AnnotationError, UsageError
from blobdir.jsontext import read_certain
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STDIN: Final = "-"
COLUMNS: Final = ("path", "dataset", "name", "tags", "annotation")
_DELIMITERS: Final = (",", "\t")
_PEEK_BYTES: Final = 4096


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
        It isn't text; or the CSV's header has columns that nobody knows; or it isn't known where its rows end.
    """
    yield from _rows(_lines(path), shown_list(path))


def read_names(path: str) -> list[str]:
    """Names of a list that holds nothing else, a line each.

    Parameters
    ----------
    path : str
        A file, or ``-`` for standard input.

    Raises
    ------
    UsageError
        It isn't text.
    OSError
    """
    return [_text_row(line).path for line in _lines(path) if line.strip()]


def shown_list(path: str) -> str:
    """What messages call a list."""
    return "standard input" if path == STDIN else path


def _lines(path: str) -> Iterator[str]:
    """The lines of a list, each with its end: only a line feed is one, since names can hold all else."""
    if path == STDIN:
        yield from _decoded(sys.stdin.buffer, path)
        return
    with open(path, "rb") as file:
        yield from _decoded(file, path)


def _decoded(file: Any, path: str) -> Iterator[str]:
    if b"\0" in file.peek(_PEEK_BYTES)[:_PEEK_BYTES]:
        what = kind_of_file(path) if path != STDIN else ""
        raise UsageError(
            f"{shown_list(path)}: isn't text, so no list of images{what and f': it {what}'}; a list holds a path a "
            "line, CSV or JSON lines"
        )
    for number, line in enumerate(file):
        yield os.fsdecode(line if number else line.removeprefix(BOM_UTF8))  # names of files needn't be UTF-8


def _rows(lines: Iterator[str], what: str) -> Iterator[tuple[int, Row | RowError]]:
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    number, first = next(numbered, (0, ""))
    if not number:
        return
    head = first.partition("\r")[0]
    delimiter = next((d for d in _DELIMITERS if "path" in _fields(head, d) and len(_fields(head, d)) > 1), "")
    is_json = first.lstrip().startswith("{")
    if not is_json and (delimiter or head.strip() == "path"):
        if "\r" in first.strip():
            raise UsageError(
                f"{what}: line {number}: its lines end in carriage returns alone; end them as others do: "
                "tr '\\r' '\\n' < LIST"
            )
        yield from _csv_rows(head, lines, number, delimiter or ",", what)
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
    try:
        return [name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:  # then it's no header
        return []


def _text_row(line: str) -> Row:
    return Row(line.removesuffix("\n").removesuffix("\r"))


def _csv_rows(
    header: str, lines: Iterator[str], before: int, delimiter: str, what: str
) -> Iterator[tuple[int, Row | RowError]]:
    names = _fields(header, delimiter)
    unknown = set(names) - set(COLUMNS)
    if unknown or len(set(names)) != len(names):
        raise UsageError(
            f"{what}: line {before}: its columns are {', '.join(names)}; there can be {', '.join(COLUMNS)}, each of "
            "them once"
        )
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        began = before + reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number, text = before + reader.line_num, str(error)
            if "unexpected end" in text or number > began:  # the lines that it has swallowed can be any
                raise UsageError(
                    f"{what}: line {began}: a quote is opened that isn't closed, or there is something behind it"
                ) from error
            yield number, RowError(_in_words(text))
            continue
        if any(value.strip() for value in values):
            try:
                yield before + reader.line_num, _csv_row(names, values)
            except RowError as error:
                yield before + reader.line_num, error


def _in_words(fault: str) -> str:
    """What ``csv`` has against a line."""
    if "new-line" in fault:
        return "holds a carriage return; a field with one must be in quotes"
    if "field limit" in fault:
        return f"has a field of more than {csv.field_size_limit():,} characters, and no name is so long"
    return f"isn't CSV: {fault}"


def _csv_row(names: list[str], values: list[str]) -> Row:
    if len(values) > len(names):
        raise RowError(f"has {counted(len(values), 'field')}, and there are {counted(len(names), 'column')}")
    row = dict(zip(names, values, strict=False))
    if not row.get("path"):
        raise RowError("has no path")
    tags = tuple(tag.strip() for tag in row.get("tags", "").split(";") if tag.strip())
    return Row(row["path"], row.get("dataset", ""), row.get("name", ""), tags, row.get("annotation") or None)


def _json_row(line: str) -> Row:
    try:
        row = read_certain(line)
    except AnnotationError as error:
        raise RowError(str(error).replace("line 1, ", "")) from None
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
