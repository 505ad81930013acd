"""``meta.json`` of two projects in one: classes, tags and settings, or the first thing that can't be both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from blobdir.annotations import meta_problems
from blobdir.discovery import layout
from blobdir.errors import AnnotationError, NotFoundError, UsageError
from blobdir.jsontext import read_certain, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

EMPTY_META: Final[dict[str, Any]] = {"classes": [], "tags": [], "projectType": "images"}
# Of classes and tags: what names one, and what must be the same in both projects, or labels would mean something else.
_CLASSES: Final = ("classes", "title", ("shape", "geometry_config"))
_ANY: Final = "any"
_GRAPHS: Final = {"graph"}
"""Shapes that need a ``geometry_config``."""
_TAGS: Final = ("tags", "name", ("value_type", "applicable_type", "target_type"))


NOT_CHANGED: Final = "; nothing was changed"


def check_meta(data: bytes, name: str = layout.META, *, is_certain: bool = False) -> dict[str, Any]:
    """Content of a ``meta.json``.

    Parameters
    ----------
    data : bytes
    name : str
        What messages call it.
    is_certain : bool
        Whether it must be such that nothing is lost when it's written again: see `blobdir.jsontext.read_certain`.

    Raises
    ------
    AnnotationError
        It isn't one.
    """
    try:
        value = read_certain(data) if is_certain else read_json(data)
    except AnnotationError as error:
        raise AnnotationError(f"{name}: {error}{NOT_CHANGED}") from error
    if not isinstance(value, dict):
        raise AnnotationError(f'{name}: isn\'t {{"classes": […], "tags": […], …}}{NOT_CHANGED}')
    if problems := meta_problems(value):
        raise AnnotationError(f"{name}: {'; '.join(problems)}{NOT_CHANGED}")
    return value


def merged_meta(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Both ``meta.json`` in one. Colours and the like are ours.

    Raises
    ------
    UsageError
        A class, a tag or a setting is two different things.
    AnnotationError
        They are nested so deeply that they can't be compared.
    """
    try:
        return _merged(ours, theirs)
    except RecursionError as error:
        raise AnnotationError(f"{layout.META}: is nested too deeply; nothing was changed") from error


def _merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(ours)
    for key, name, same in (_CLASSES, _TAGS):
        items = [dict(item) for item in ours.get(key, [])]
        known = {item.get(name): item for item in items}
        for item in map(dict, theirs.get(key, [])):
            mine = known.get(item.get(name))
            if mine is None:
                items.append(item)
            else:
                _widen(mine, item)
                _check_same(item.get(name), mine, item, same)
                _take_values(mine, item)
                _take_classes(mine, item)
        if key in ours or key in theirs:
            found[key] = items
    for key, value in theirs.items():
        if key not in ("classes", "tags"):
            found[key] = _both(found.get(key, _MISSING), value, key)
    return found


_MISSING: Final = object()


def _widen(mine: dict[str, Any], other: dict[str, Any]) -> None:
    """Of a class that has any shapes in one project, as one without objects has: it has in both. Not of graphs."""
    shapes = [mine.get("shape"), other.get("shape")]
    if _ANY in shapes and all(shape is None or (isinstance(shape, str) and shape not in _GRAPHS) for shape in shapes):
        mine["shape"] = other["shape"] = _ANY


def _check_same(title: Any, mine: Mapping[str, Any], other: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in keys:
        if (mine.get(key) or None) != (other.get(key) or None):
            raise UsageError(
                f"{title!r} has the {key} {_brief(mine.get(key))} in one project and {_brief(other.get(key))} in the "
                "other: rename one; nothing was changed"
            )


def _take_values(mine: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Of a tag with a list of possible values: those of both."""
    if isinstance(mine.get("values"), list) and isinstance(other.get("values"), list):
        mine["values"] = [*mine["values"], *(value for value in other["values"] if value not in mine["values"])]


def _take_classes(mine: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Of a tag for objects of some classes: those of both, and any where it's for any in one project."""
    here, there = mine.get("classes") or [], other.get("classes") or []
    if here == there:
        return
    is_default = mine.get("default") or other.get("default")  # the SDK takes no such tag that is for any
    if not isinstance(here, list) or not isinstance(there, list) or (is_default and not (here and there)):
        _check_same(mine.get("name"), mine, other, ("classes",))
    mine["classes"] = [*here, *(title for title in there if title not in here)] if here and there else []


def _both(mine: Any, other: Any, place: str) -> Any:
    """Two settings in one: what only one has, and what is the same."""
    if mine is _MISSING or mine == other or mine is None:
        return other
    if other is None:
        return mine
    if isinstance(mine, dict) and isinstance(other, dict):
        keys = dict.fromkeys([*mine, *other])
        return {
            key: _both(mine.get(key, _MISSING), other[key], f"{place}.{key}") if key in other else mine[key]
            for key in keys
        }
    raise UsageError(
        f"{layout.META}: {place} is {_brief(mine)} in one project and {_brief(other)} in the other: make them the "
        "same; nothing was changed"
    )


def _brief(value: Any) -> str:
    text = write_json(value).decode()
    return text if len(text) <= 80 else f"{text[:80]}…"


def encode_meta(meta: Mapping[str, Any]) -> bytes:
    """The file's bytes.

    Raises
    ------
    AnnotationError
        It can't be written as JSON.
    """
    try:
        return write_json(meta)
    except AnnotationError as error:
        raise AnnotationError(f"{layout.META}: {error}; nothing was changed") from error


def read_meta(data: bytes | None, where: str) -> dict[str, Any]:
    """Content of a project's ``meta.json``, where there must be one."""
    if data is None:
        raise NotFoundError(
            f"{where}/{layout.META}: there is none, so classes and tags aren't known; nothing was changed"
        )
    return check_meta(data, f"{where}/{layout.META}", is_certain=True)
