"""What plain images get that a project's have: annotations with their size and tags, and a ``meta.json``."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from blobdir.annotations import classes_of, read_annotation, tags_of
from blobdir.errors import AnnotationError
from blobdir.jsontext import read_certain, write_json

if TYPE_CHECKING:
    from collections.abc import Collection

_COLORS = 0xFFFFFF
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


class MetaBuilder:
    """Gathers classes and tags; colours depend on the names only.

    Parameters
    ----------
    tags : set of str
    known : dict, optional
        A ``meta.json`` that stays as it is, but for what it doesn't name.
    """

    def __init__(self, tags: set[str], known: dict[str, Any] | None = None) -> None:
        self._known = known or {}
        self._classes: dict[str, str] = {}
        self._tags = dict.fromkeys(tags, "none")
        self._colors: dict[str, str] = {}
        self._configs: dict[str, dict[str, Any] | None] = {}

    def declare(self, title: str, color: str = "", config: dict[str, Any] | None = None) -> None:
        """Have a class whether it has objects or not; with the template of its graphs, if it's of graphs."""
        self._configs[title] = config
        if _COLOR.fullmatch(color):
            self._colors[title] = color.upper()

    def add(self, annotation: dict[str, Any]) -> None:
        """Take in the classes and tags that an annotation names."""
        holders = [annotation]
        for item in annotation.get("objects", []):
            if isinstance(item, dict) and isinstance(title := item.get("classTitle"), str):
                shape = str(item.get("geometryType", "any"))
                self._classes[title] = shape if self._classes.get(title, shape) == shape else "any"
                holders.append(item)
        for holder in holders:
            for tag in holder.get("tags") or []:
                if isinstance(tag, dict) and isinstance(name := tag.get("name"), str):
                    self._tags[name] = _value_type(self._tags.get(name, "none"), tag.get("value"))

    def content(self) -> bytes:
        """Bytes of ``meta.json``."""
        meta: dict[str, Any] = {
            "classes": [self._class(title) for title in sorted(self._classes.keys() | self._configs.keys())],
            "tags": [{"name": t, "value_type": self._tags[t], "color": _color(t)} for t in sorted(self._tags)],
            "projectType": "images",
        }
        for kind, key in (("classes", "title"), ("tags", "name")) if self._known else ():
            named = self._known.get(kind) or []
            there = {one[key] for one in named}
            meta[kind] = [*named, *(one for one in meta[kind] if one[key] not in there)]
        return write_json(meta | {key: value for key, value in self._known.items() if key not in meta})

    def _class(self, title: str) -> dict[str, Any]:
        config = self._configs.get(title)
        shape = "any" if config is None else "graph"
        found = {
            "title": title,
            "shape": self._classes.get(title, shape),
            "color": self._colors.get(title) or _color(title),
        }
        return found if config is None else found | {"geometry_config": config}


def _value_type(known: str, value: object) -> str:
    if value is None:
        return known
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return "any_number" if number and known in ("none", "any_number") else "any_string"


def _color(name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return f"#{int.from_bytes(digest[:3], 'big') & _COLORS:06X}"


def tag_list(tags: tuple[str, ...] | list[str]) -> list[dict[str, Any]]:
    """Tags without values, as annotations have them."""
    return [{"name": tag, "value": None} for tag in dict.fromkeys(tags)]


def plain_annotation(height: int, width: int, tags: tuple[str, ...] | list[str]) -> bytes:
    """An annotation without objects."""
    annotation = {
        "description": "",
        "tags": tag_list(tags),
        "size": {"height": height, "width": width},
        "objects": [],
    }
    return write_json(annotation)


def check_annotation(data: bytes | dict[str, Any], name: str) -> dict[str, Any]:
    """Refuse what `verify` would call no annotation; gives its content.

    Raises
    ------
    AnnotationError
    """
    try:
        return read_annotation(data)
    except AnnotationError as error:
        raise AnnotationError(f"{name}: isn't an annotation: {error}") from error


def rewritten(value: dict[str, Any], was: bytes | dict[str, Any], name: str) -> bytes:
    """The bytes of an annotation with something added to it.

    Raises
    ------
    AnnotationError
        Something of what it was would be lost, or it can't be written as JSON.
    """
    try:
        if isinstance(was, bytes):
            read_certain(was)
        return write_json(value)
    except AnnotationError as error:
        raise AnnotationError(f"{name}: {error}, so nothing can be added to it") from error


def unknown_labels(
    path: str, annotation: dict[str, Any], classes: Collection[str], tags: Collection[str]
) -> list[tuple[str, str, str]]:
    """Classes and tags of a sound annotation that ``meta.json`` doesn't have: code, path and message of each."""
    found = [("class-unknown", f"class {n!r}") for n in dict.fromkeys(classes_of(annotation)) if n not in classes]
    found += [("tag-unknown", f"tag {n!r}") for n in dict.fromkeys(tags_of(annotation)) if n not in tags]
    return [(code, path, f"{what} isn't in meta.json: `blobdir verify` calls that an error") for code, what in found]
