"""What label files said of themselves, kept in ``label_source.json`` of a dataset: of two such files, one.

Two projects that were packed from labels have one each, and may both have a dataset ``train``. In one project that is
one dataset, so classes, numbers and the rest are put together: what only one says is kept; of what both say
differently, that of the first, and the other is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from blobdir.errors import AnnotationError
from blobdir.jsontext import read_certain, write_json
from blobdir.labels.model import brief, ident_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALL: Final = ("format", "categories", "classes")
"""Keys that mean the same in all formats; the others are what files of one format say of themselves."""


def merged_sources(ours: bytes, theirs: bytes) -> tuple[bytes, list[str]]:
    """Two contents of a `blobdir.labels.supervisely.SOURCE` in one, and what of the second isn't in it as it was.

    Raises
    ------
    AnnotationError
        One isn't such a file, or they can't be one.
    """
    mine, other = _read(ours), _read(theirs)
    lost: list[str] = []
    found = dict(mine)
    found["categories"] = _Categories(mine.get("categories", []), lost).with_those_of(other.get("categories", []))
    classes = dict(mine.get("classes", {}))
    for title, name in other.get("classes", {}).items():
        if classes.setdefault(title, name) != name:
            lost.append(f"the class {title!r} is of {name!r} there, and of {classes[title]!r} here, which stays")
    if classes:
        found["classes"] = classes
    is_same = mine["format"] == other["format"]
    for key in other.keys() - set(_ALL):
        if is_same:
            found[key] = _both(found.get(key), other[key], key, lost)
        else:
            text = f"its {key} is of labels of {other['format']}, and these are of {mine['format']}: it isn't kept"
            lost.append(text)
    return write_json(found), sorted(lost)


def names_of_classes(data: bytes) -> dict[str, Any]:
    """Titles of classes that stand for others -> their names in label files, of a content of `SOURCE`.

    Raises
    ------
    AnnotationError
        It isn't such a file.
    """
    classes: dict[str, Any] = _read(data).get("classes", {})
    return classes


def _read(data: bytes) -> dict[str, Any]:
    value = read_certain(data)
    if not isinstance(value, dict) or not isinstance(value.get("format"), str):
        raise AnnotationError("isn't one that blobdir has written")
    categories, classes = value.get("categories", []), value.get("classes", {})
    is_list = isinstance(categories, list) and all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in categories
    )
    if not is_list or not isinstance(classes, dict):
        raise AnnotationError("has categories or classes that blobdir hasn't written so")
    return value


class _Categories:
    """The categories of a dataset; each number is of one."""

    def __init__(self, known: list[dict[str, Any]], lost: list[str]) -> None:
        self._known, self._lost = [dict(one) for one in known], lost
        self._ids = {ident_of(one.get("id")) for one in known}
        self._wanted: set[int | str | None] = set()

    def with_those_of(self, others: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """All, and those of another dataset that aren't here, with numbers that are free."""
        self._wanted = {ident_of(one.get("id")) for one in others}
        by_name: dict[str, list[dict[str, Any]]] = {}
        for one in self._known:
            by_name.setdefault(one["name"], []).append(one)
        for other in others:
            if same := by_name.get(other["name"]):
                self._complete(next((one for one in same if one.get("id") == other.get("id")), same[0]), other)
            else:
                self._known.append(self._numbered(other))
        return self._known

    def _complete(self, mine: dict[str, Any], other: dict[str, Any]) -> None:
        for key, value in other.items():
            if mine.setdefault(key, value) != value:
                text = f"the {key} of the class {mine['name']!r} is {brief(value)} there, and {brief(mine[key])} here"
                self._lost.append(f"{text}, which stays")

    def _numbered(self, other: dict[str, Any]) -> dict[str, Any]:
        ident = ident_of(other.get("id"))
        if ident is not None and ident in self._ids:
            used = self._ids | self._wanted
            free = next(i for i in range(1, len(used) + 2) if i not in used)
            text = f"the class {other['name']!r} has the number {ident} there, which another one has here"
            self._lost.append(f"{text}; it's {free} now")
            ident = free
        self._ids.add(ident)
        return other if ident is None else other | {"id": ident}


def _both(mine: Any, other: Any, place: str, lost: list[str]) -> Any:
    """What two files say of themselves: all keys of both; where both have one, the first."""
    if mine is None or mine == other:
        return other
    if place.endswith(".licenses"):
        return [*mine, *_new_licenses(mine, other, place)]
    if isinstance(mine, dict) and isinstance(other, dict):
        return mine | {key: _both(mine.get(key), value, f"{place}.{key}", lost) for key, value in other.items()}
    lost.append(f"its {place} is {brief(other)} there, and {brief(mine)} here, which stays")
    return mine


def _new_licenses(mine: Any, other: Any, place: str) -> Iterator[Any]:
    """Licenses that only another file has; images name them by number, so each number must be of one."""
    if not isinstance(mine, list) or not isinstance(other, list):
        raise AnnotationError(f"{place} is {brief(mine)} in one and {brief(other)} in the other")
    known = {str(one.get("id")): one for one in mine if isinstance(one, dict)}
    for one in other:
        if one in mine:
            continue
        same = known.get(str(one.get("id"))) if isinstance(one, dict) else None
        if same is not None:
            raise AnnotationError(
                f"the license {brief(one.get('id'))} is {brief(same)} in one and {brief(one)} in the other"
            )
        yield one
