"""Which names a store takes: those of files in a folder, checked many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from blobdir.discovery import layout
from blobdir.discovery.parts import MOST_FOLDERS, deepest
from blobdir.errors import UsageError
from blobdir.offsets.names import first_bad_name, shown, to_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MAX_NAME_BYTES: Final = layout.NAME_MAX_BYTES - len(".json")
"""Bytes between slashes: what belongs to an image is called like it, with this behind."""
MAX_PATH_BYTES: Final = 3000
"""Bytes of a name with all its folders: what lies above them in the project, and where that is, comes on top."""


def packed_names(names: Sequence[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """A name table (`blobdir.nametable`) of names that can be an image's.

    Raises
    ------
    UsageError
        One can't be; the message says which, and why.
    """
    try:
        joined = to_bytes("\0".join([*names, ""]))
    except (TypeError, UnicodeEncodeError):
        raise _refusal(names) from None
    arena = np.frombuffer(joined, np.uint8)
    ends = np.flatnonzero(arena == 0)
    if len(ends) != len(names):
        raise _refusal(names)
    starts = np.concatenate([[0], ends + 1])
    if (bad := first_bad_name(arena, starts)) is not None:
        raise UsageError(f"{bad[1]}; nothing was written")
    return arena, starts


def is_dataset(name: Any) -> bool:
    """Whether a dataset can be called like this."""
    return isinstance(name, str) and layout.dataset_place(name) is not None


def new_names(names: Sequence[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`packed_names` of images that are to be written: those that others have written may be longer.

    What is asked of each name is asked of it alone, so any that are taken can lie in one offsets file, and any be
    removed from it (`blobdir.discovery.parts.check_folders`).
    """
    arena, starts = packed_names(names)
    if len(names) and int(np.diff(starts).max()) > MAX_NAME_BYTES + 1:
        for name in names:
            spelled = to_bytes(name)
            if max(map(len, spelled.split(b"/"))) > MAX_NAME_BYTES or len(spelled) > MAX_PATH_BYTES:
                raise UsageError(
                    f"the name {shown(name)} is too long: {MAX_NAME_BYTES} bytes between slashes, and "
                    f"{MAX_PATH_BYTES} in all, are the most; nothing was written"
                )
    if deepest(arena, starts) > MOST_FOLDERS:
        name = next(name for name in names if name.count("/") > MOST_FOLDERS)
        raise UsageError(
            f"the name {shown(name)} is in {name.count('/')} folders, and {MOST_FOLDERS} are the most; "
            "nothing was written"
        )
    return arena, starts


def _refusal(names: Sequence[Any]) -> UsageError:
    for name in names:
        if not isinstance(name, str):
            advice = ": name.decode()" if isinstance(name, bytes) else ""
            return UsageError(f"the name {name!r:.80} isn't a text{advice}; nothing was written")
        if "\0" in name:
            return UsageError(f"the name {name[:80]!r} holds a NUL byte; nothing was written")
        try:
            to_bytes(name)
        except UnicodeEncodeError:
            return UsageError(f"the name {name[:80]!a} holds half a character; nothing was written")
    return UsageError("these aren't names; nothing was written")


def as_bytes(name: str, value: Any) -> bytes:
    """The bytes of a value.

    Raises
    ------
    UsageError
        It has none.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise UsageError(f"{name}: the value is a {type(value).__name__}, and must be bytes; nothing was written")
