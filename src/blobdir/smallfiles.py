"""Whether a small file is what it must be: an annotation, another JSON file, or an image by how it begins.

Worker processes run this: it needs the standard library only.
"""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from json import JSONDecoder
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from blobdir.annotations import classes_of, is_size, read_annotation, tags_of
from blobdir.errors import AnnotationError
from blobdir.inside import open_plain, read_open
from blobdir.jsontext import Remark, is_clear, read_json, refuse_constant, unclear
from blobdir.tarwriting.members import is_image

if TYPE_CHECKING:
    from collections.abc import Iterator

ANNOTATION, JSON, IMAGE = "annotation", "json", "image"
HEAD: Final = 16
"""Bytes of an image that tell that it's one."""
EMPTY: Final = ("empty", " has no bytes")
NO_IMAGE: Final = ("not-an-image", " doesn't begin like an image")
_ENCODING: Final = ("sdk-encoding", ": isn't UTF-8 without a mark in front: the SDK can't read it")

_INVALID: Final = {ANNOTATION: "annotation-invalid", JSON: "side-invalid"}
_READ_BYTES: Final = 16 << 10
_DICT: Final = {dict}
_REMEMBERED: Final = 256
"""Contents that are known again: those of images without objects are often the same."""
_raw_decode = JSONDecoder(parse_constant=refuse_constant).raw_decode


class Known(NamedTuple):
    """What ``meta.json`` knows.

    Attributes
    ----------
    classes, tags : set of str
    """

    classes: set[Any]
    tags: set[Any]


def look_at(kind: str, data: bytes, known: Known) -> list[Remark]:
    """What is wrong with a file.

    Parameters
    ----------
    kind : str
        `ANNOTATION`, `JSON`, or `IMAGE`.
    data : bytes
        Its content; of an image the first `HEAD` bytes do.
    known : Known
    """
    if kind == IMAGE:
        return [] if is_image(data) else [NO_IMAGE if data else EMPTY]
    if kind == ANNOTATION and _is_fine(data, known):
        return []
    try:
        value = read_annotation(data) if kind == ANNOTATION else read_json(data)
        found = text_faults(data)
    except AnnotationError as error:
        return [(_INVALID[kind], f": {error}")]
    if kind == JSON:
        return found
    for code, what, names in (
        ("class-unknown", "class", set(classes_of(value)) - known.classes),
        ("tag-unknown", "tag", set(tags_of(value)) - known.tags),
    ):
        found += [(code, f": {what} {name!r} isn't in meta.json") for name in sorted(names)]
    return found


def _is_fine(data: bytes, known: Known) -> bool:
    """Whether nothing is wrong with an annotation, as nothing is with nearly all. False says nothing yet."""
    try:
        text = data.decode()
        value, end = _raw_decode(text)
        size, objects = value["size"], value["objects"]
        keys = len(value) + len(size)
        if not (is_size(size["height"]) and is_size(size["width"]) and type(objects) is list):
            return False
        if end != len(text) and text[end:].strip(" \t\n\r"):
            return False
        if not objects and value.get("tags") == []:
            return is_clear(text, keys)
        titles, named = {item["classTitle"] for item in objects}, set()
        inner = [item["points"] for item in objects if "points" in item]
        if not {type(points) for points in inner} <= _DICT:
            return False
        keys += sum(map(len, objects)) + sum(map(len, inner))
        for holder in (value, *objects):
            tags = holder.get("tags", [])
            if type(tags) is not list:
                return False
            named.update([tag["name"] for tag in tags])
            keys += sum(map(len, tags))
        return titles <= known.classes and named <= known.tags and is_clear(text, keys)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


def text_faults(data: bytes) -> list[Remark]:
    """What is wrong with the text of JSON that can be read: an encoding that the SDK can't, what others read otherwise.

    Raises
    ------
    AnnotationError
        It can't be read closely: it's nested too deeply for that.
    """
    found = [(code, f": {text}") for code, text in unclear(data)]
    try:
        data.decode()
    except UnicodeDecodeError:
        return [_ENCODING, *found]
    return [_ENCODING, *found] if data.startswith(BOM_UTF8) else found


def not_read(error: OSError) -> Remark:
    """What is said of a file that can't be read."""
    if isinstance(error, FileNotFoundError):
        return "unreadable", ": was removed while it was looked at"
    return "unreadable", f": can't be read: {error.strerror or error}"


def look_at_files(folder: str, names: bytes, kind: str, known: Known, follow_links: bool) -> list[tuple[str, str, str]]:
    """Look at files of one folder.

    Parameters
    ----------
    folder : str
    names : bytes
        Each followed by a NUL.
    kind : str
    known : Known
    follow_links : bool
        Whether one that is a link, or has become one by now, is followed.

    Returns
    -------
    list of (name, code, text)
        What is wrong with them.
    """
    found = []
    before: dict[bytes, list[Remark]] = {}
    for name, data in _contents(folder, names.split(b"\0")[:-1], HEAD if kind == IMAGE else 0, follow_links):
        if isinstance(data, OSError):
            remarks = [not_read(data)]
        elif (remembered := before.get(data)) is not None:
            remarks = remembered
        else:
            remarks = look_at(kind, data, known)
            if len(before) < _REMEMBERED:
                before[data] = remarks
        found += [(os.fsdecode(name), code, text) for code, text in remarks]
    return found


def _contents(
    folder: str, names: list[bytes], most: int, follow_links: bool
) -> Iterator[tuple[bytes, bytes | OSError]]:
    """The first `most` bytes of each file, or all of them; or why it can't be read."""
    at_once = most or _READ_BYTES
    read, close = os.read, os.close
    try:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        yield from ((name, error) for name in names)
        return
    try:
        for name in names:
            try:
                file = open_plain(name, follow=follow_links, dir_fd=directory)
                try:
                    data = read(file, at_once)
                    if len(data) == at_once and not most:
                        data += read_open(file, os.fsdecode(name))
                finally:
                    close(file)
            except OSError as error:
                yield name, error
                continue
            yield name, data
    finally:
        close(directory)
