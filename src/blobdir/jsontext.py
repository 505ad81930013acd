r"""JSON as the files of a project hold it: read as the SDK reads it, and what others would read otherwise.

Python's reader takes more than RFC 8259 has (``NaN``, ``Infinity``), and what that leaves open: of a key that is twice
in one object the last value counts, and half a character (``\ud800``) is one. So does the SDK, which reads with it.
Who only looks reads as they do (`read_json`); who writes again what was read refuses what would be lost or isn't JSON
(`read_certain`, `write_json`).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from blobdir.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Callable

Remark = tuple[str, str]
"""Code of a finding of `blobdir.verifying`, and what is said of the file."""
NUMBER, UNCLEAR = "json-number", "json-unclear"

_DECODER = json.JSONDecoder()
_SCAN: Final[Callable[[str, int], tuple[Any, int]]] = _DECODER.scan_once  # type: ignore[attr-defined]
"""Value and its end: what `decode` does, without looking for spaces before and behind it."""
_SHOWN: Final = 80
_SPACE_BEFORE: Final = (" :", "\t:", "\n:", "\r:")
_ESCAPES: Final = re.compile(
    r"\\(?:u[dD][89aAbB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
"""Escapes in a text; the group is half a character."""


def read_json(data: bytes) -> Any:
    """The value that JSON text stands for, to Python and to the SDK.

    Raises
    ------
    AnnotationError
        It isn't JSON; the message says from where on.
    """
    if not data.strip():
        raise AnnotationError("is empty")
    with suppress(ValueError, RecursionError):  # nearly all are UTF-8, and finding that out takes as long as the rest
        text = data.decode()
        if text[0] == "{":
            with suppress(StopIteration):  # no value at all
                value, end = _SCAN(text, 0)
                if end == len(text):  # else there's more to say
                    return value
        return _DECODER.decode(text)
    return _tried(json.loads, data)


def read_certain(data: bytes | str) -> Any:
    """The value of JSON text that stands for one and no other, so that it can be written again.

    Raises
    ------
    AnnotationError
        It isn't JSON, has a key twice with different values, or a number that JSON doesn't have.
    """
    value, found = _closely(data)
    if found:
        raise AnnotationError(found[0][1])
    return value


def unclear(data: bytes) -> list[Remark]:
    """What in JSON that can be read isn't JSON by its standard, or is read by others otherwise.

    Raises
    ------
    AnnotationError
        It can't be read.
    """
    found = _closely(data)[1]
    text = _tried(_text, data)
    if (half := next((escape[1] for escape in _ESCAPES.finditer(text) if escape[1]), None)) is not None:
        found.append((UNCLEAR, f"has \\{half}, which is half a character"))
    return found


def is_clear(text: str, keys: int) -> bool:
    """Whether a text can be seen at once to be clear, where what was read has so many keys. False says nothing yet.

    As many colons as keys: then no key of an object was twice. Where texts hold colons, those after a quote are
    counted, if none can be behind a space. NaN is for the reader to refuse, see `refuse_constant`.
    """
    if "\\" in text and ("\\ud" in text or "\\uD" in text):
        return False
    if text.count(":") == keys:
        return True
    return text.count('":') == keys and not any(space in text for space in _SPACE_BEFORE)


def refuse_constant(text: str) -> Any:
    """For readers of JSON that aren't to take ``NaN`` and the like."""
    raise ValueError(text)


def write_json(value: Any) -> bytes:
    """JSON text of a value, in UTF-8; half characters as escapes.

    Raises
    ------
    AnnotationError
        It can't be written as JSON.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")
    except RecursionError as error:
        raise AnnotationError("can't be written as JSON: it is nested too deeply") from error
    except ValueError as error:
        kinds = {"Circular": "it holds itself", "Exceeds": "a number in it is too long"}
        why = kinds.get(str(error).partition(" ")[0], "it holds NaN or an infinite number")
        raise AnnotationError(f"can't be written as JSON: {why}") from error


def json_fault(error: ValueError | RecursionError) -> str:
    """What is wrong with text that couldn't be read as JSON."""
    if isinstance(error, json.JSONDecodeError):
        if error.pos >= len(error.doc.rstrip()):
            return "isn't JSON: it is cut off"
        return f"isn't JSON from line {error.lineno}, column {error.colno} on"
    if isinstance(error, UnicodeDecodeError):
        return f"isn't JSON: byte {error.start} isn't UTF-8"
    if isinstance(error, RecursionError):
        return "isn't JSON that can be read: it is nested too deeply"
    return "isn't JSON that can be read: a number in it is too long"


def _tried(read: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return read(data)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(json_fault(error)) from error


def _text(data: bytes) -> str:
    return data.decode(json.detect_encoding(data), "surrogatepass")


def _closely(data: bytes | str) -> tuple[Any, list[Remark]]:
    """The value, and what in it would be lost or can't be written again."""
    if not data.strip():
        raise AnnotationError("is empty")
    found: dict[Remark, None] = {}

    def constant(text: str) -> float:
        found[NUMBER, f"has {text}, which is no number of JSON"] = None
        return float(text)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(items)
        if len(value) != len(items):
            for key in [key for key, count in Counter(key for key, _ in items).items() if count > 1]:
                if len({json.dumps(other, sort_keys=True) for name, other in items if name == key}) > 1:
                    shown = repr(key if len(key) <= _SHOWN else f"{key[:_SHOWN]}…")
                    found[UNCLEAR, f"has the key {shown} twice in one object, with different values"] = None
        return value

    def read(given: bytes) -> Any:
        text = data if isinstance(data, str) else _text(given)
        return json.JSONDecoder(parse_constant=constant, object_pairs_hook=pairs).decode(text)

    value = _tried(read, b"" if isinstance(data, str) else data)
    return value, list(found)
