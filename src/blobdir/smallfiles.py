"""Whether a small file is what it must be: an annotation, another JSON file, or an image by how it begins.

Worker processes run this: it needs the standard library only.
"""

from __future__ import annotations

import os
from codecs import BOM_UTF8
from functools import lru_cache
from json import JSONDecoder
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from blobdir.annotations import classes_of, is_size, read_annotation, tags_of
from blobdir.errors import AnnotationError
from blobdir.inside import open_plain, read_open
from blobdir.jsontext import Remark, is_clear, read_json, refuse_constant, unclear
from blobdir.sdkrules import (
    Demand,
    Shape,
    custom_fault,
    info_fault,
    is_drawn,
    is_outside,
    object_fault,
    tag_fault,
    upload_fault,
)
from blobdir.tarwriting.members import is_image
from blobdir.wording import near_ones

if TYPE_CHECKING:
    from collections.abc import Iterator

ANNOTATION, JSON, IMAGE = "annotation", "json", "image"
META, INFO = "meta", "img_info"
"""JSON of these folders, which the SDK wants to be an object."""
HEAD: Final = 16
"""Bytes of an image that tell that it's one."""
EMPTY: Final = ("empty", " has no bytes")
NO_IMAGE: Final = ("not-an-image", " doesn't begin like an image")
_ENCODING: Final = ("sdk-encoding", ": isn't UTF-8 without a mark in front: the SDK can't read it")

_INVALID: Final = {ANNOTATION: "annotation-invalid"}
_READ_BYTES: Final = 16 << 10
_DICT: Final = {dict}
_REMEMBERED: Final = 256
"""Contents that are known again: those of images without objects are often the same."""
_raw_decode = JSONDecoder(parse_constant=refuse_constant).raw_decode


class Known(NamedTuple):
    """What ``meta.json`` knows.

    Attributes
    ----------
    classes : dict of str to Shape
    tags : dict of str to Demand
    uploads : bool
        Whether what the SDK reads, and can't upload, is wrong too.
    """

    classes: dict[str, Shape]
    tags: dict[str, Demand]
    uploads: bool = False


def look_at(kind: str, data: bytes, known: Known) -> list[Remark]:
    """What is wrong with a file.

    Parameters
    ----------
    kind : str
        `ANNOTATION`, `JSON`, `META`, `INFO`, or `IMAGE`.
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
        return [(_INVALID.get(kind, "side-invalid"), f": {error}")]
    if kind != ANNOTATION:
        return found + (_not_uploaded(kind, value) if known.uploads else [])
    for code, what, names, there in (
        ("class-unknown", "class", set(classes_of(value)), known.classes),
        ("tag-unknown", "tag", set(tags_of(value)), known.tags),
    ):
        unknown = sorted(names - there.keys())
        found += [(code, f": {what} {name!r} isn't in meta.json{_near(name, tuple(there))}") for name in unknown]
    return found + _refused(value, known)


@lru_cache(_REMEMBERED)
def _near(name: str, known: tuple[str, ...]) -> str:
    found = near_ones(name, known)
    return f" (near it: {', '.join(found)})" if found else ""


def _refused(value: dict[str, Any], known: Known) -> list[Remark]:
    """What the SDK refuses in a sound annotation."""
    found = []
    for number, item in enumerate((value, *value["objects"])):
        who = f": object {number - 1} ({item['classTitle']!r})" if number else ":"
        if "tags" not in item:
            found.append(("sdk-tag", f"{who} has no tags, not even an empty list of them"))
        found += [
            ("sdk-tag", f"{who} tag {tag['name']!r} {fault}")
            for tag in item.get("tags", ())
            if tag["name"] in known.tags and (fault := tag_fault(tag, known.tags))
        ]
        if not number or item["classTitle"] not in known.classes:
            continue
        if fault := object_fault(item, known.classes):
            found.append(("sdk-object", f"{who} {fault}"))
        elif known.uploads and (fault := upload_fault(item, known.classes)):
            found.append(("sdk-upload", f"{who} {fault}"))
        elif known.uploads and is_drawn(item, known.classes) and is_outside(item, value["size"]):
            found.append(("sdk-outside", f"{who} lies outside of the picture: the SDK drops it"))
    unread, unsent = custom_fault(value)
    if unread:
        found.append(("sdk-object", f": {unread}"))
    elif known.uploads and unsent:
        found.append(("sdk-upload", f": {unsent}"))
    return found


def _not_uploaded(kind: str, value: Any) -> list[Remark]:
    """What the SDK refuses or drops in another file of an image, when it uploads that."""
    if kind == INFO and (fault := info_fault(value)):
        return [("sdk-upload", f": {fault}")]
    return [("sdk-upload", ": isn't an object")] if kind == META and not isinstance(value, dict) else []


def _is_fine(data: bytes, known: Known) -> bool:
    """Whether nothing is wrong with an annotation, as nothing is with nearly all. False says nothing yet."""
    try:
        text = data.decode()
        value, end = _raw_decode(text)
        size, objects = value["size"], value["objects"]
        if not (is_size(size["height"]) and is_size(size["width"]) and type(objects) is list):
            return False
        if end != len(text) and text[end:].strip(" \t\n\r"):
            return False
        keys = len(value) + len(size)
        if objects or value["tags"] != []:
            keys += _keys_if_fine(value, objects, known)
        return not value.get("customBigData") and is_clear(text, keys)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


def _keys_if_fine(value: dict[str, Any], objects: list[dict[str, Any]], known: Known) -> int:
    """How many keys the objects and tags of an annotation have.

    Raises
    ------
    ValueError, TypeError, KeyError, AttributeError
        Something may be wrong with them.
    """
    classes, demanded, uploads = known
    inner = [item[key] for key in ("points", "bitmap") for item in objects if key in item]
    if not {type(some) for some in inner} <= _DICT:
        raise TypeError
    keys = sum(map(len, objects)) + sum(map(len, inner))
    for holder in (value, *objects):
        if (tags := holder["tags"]) == []:
            continue
        if type(tags) is not list:
            raise TypeError
        for tag in tags:
            keys += len(tag)
            if tag_fault(tag, demanded):
                raise ValueError
    for item in objects:
        if object_fault(item, classes):
            raise ValueError
        if uploads and (upload_fault(item, classes) or (is_drawn(item, classes) and is_outside(item, value["size"]))):
            raise ValueError
    return keys


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
