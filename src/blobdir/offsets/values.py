"""What the pickle machine puts on its stack: plain values, three named constants, and blob images."""

from __future__ import annotations

from typing import Any, Final

from blobdir.errors import CorruptOffsetsError, OffsetsError, TruncatedOffsetsError

MAX_STRING_BYTES: Final = 1 << 20
MAX_INT_BYTES: Final = 255
MAX_MARKS: Final = 1000


class Constant:
    """A global that a pickle names. It stands for nothing but itself: it can't be called or looked into."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    def __repr__(self) -> str:
        return f"{self.module}.{self.name}"


BLOB_IMAGE_INFO: Final = Constant("supervisely.api.image_api", "BlobImageInfo")
RECONSTRUCTOR: Final = Constant("copyreg", "_reconstructor")
OBJECT: Final = Constant("builtins", "object")
SET: Final = Constant("builtins", "set")
"""Stands for any set or frozen set. No field of an entry is one, so the members don't matter."""

MISSING: Final = Constant("blobdir", "missing")
"""A field that was never given."""

NOT_A_STRING: Final = Constant("blobdir", "not_a_string")
"""The one key under which a dictionary holds everything whose key isn't a string.

Integers are chosen by whoever wrote the file, and integers that collide would make a dictionary quadratic.
"""

GLOBALS: Final[dict[tuple[str, str], Constant]] = {
    ("supervisely.api.image_api", "BlobImageInfo"): BLOB_IMAGE_INFO,
    ("copyreg", "_reconstructor"): RECONSTRUCTOR,
    ("copy_reg", "_reconstructor"): RECONSTRUCTOR,
    ("builtins", "object"): OBJECT,
    ("__builtin__", "object"): OBJECT,
}
"""Every global that is let through. The second of each pair of spellings is Python 2's."""


FIELDS: Final = frozenset({"name", "offset_start", "offset_end"})
NOTHING: Final[dict[Any, Any]] = {}
"""No attributes; never written to."""
_MANY: Final = 32


class Instance:
    """One unpickled ``BlobImageInfo``, its fields not checked yet.

    Attributes
    ----------
    name, start, end : object
        Whatever the pickle says, or `MISSING`.
    others : dict
        What the pickle says of other attributes; the three may be in it too.
    position : int
        Byte of the opcode that made it.
    """

    __slots__ = ("end", "name", "others", "position", "start")

    def __init__(self, position: int, name: Any = MISSING, start: Any = MISSING, end: Any = MISSING) -> None:
        self.position = position
        self.name = name
        self.start = start
        self.end = end
        self.others = NOTHING

    def update(self, state: dict[Any, Any]) -> None:
        """Take the three fields from `state`, and keep what else is in it, such as ``team_file_id``."""
        self.name = state.get("name", self.name)
        self.start = state.get("offset_start", self.start)
        self.end = state.get("offset_end", self.end)
        if not state.keys() <= FIELDS:
            # Not copied: one dictionary can be the state of a million objects.
            self.others = state if not self.others else both(self.others, state)


def both(first: dict[Any, Any], second: dict[Any, Any]) -> dict[Any, Any]:
    """Attributes that were given in two parts; nothing that can be told where these are many.

    The memo lets a million objects share one part, so copying it must not take long.
    """
    if len(first) + len(second) > _MANY:
        return {NOT_A_STRING: MISSING}
    return first | second


class Fault(Exception):
    """Why reading stopped; `read_offsets` adds the file, the byte and the count, and raises `kind`."""

    def __init__(self, kind: type[OffsetsError], text: str, position: int = -1) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.position = position


def corrupt(text: str) -> Fault:
    """A `Fault` for bytes that no writer of the format makes."""
    return Fault(CorruptOffsetsError, text)


def truncated() -> Fault:
    """A `Fault` for a file that ends too early."""
    return Fault(TruncatedOffsetsError, "the file ends inside a pickle")
