"""Blobs, and parts of blobs, that nothing refers to any more because blobdir removed the images in them.

``compact`` deletes blobs whose last image was removed, and no other blob without offsets: that one may have been copied
in a moment ago. And it leaves out members that were removed, also those that it would keep for their names: a hidden
file, what lies in a hidden folder of the tar, a file of an image. Of others nothing is noted. Both stand in
``.blobdir/released.json``, with what tells a file from another one that has its name later.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from blobdir.descriptors import none_left, with_room
from blobdir.inside import read_open
from blobdir.projectlock import STATE_DIR, open_state

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = "released.json"
RELEASED: Final = f"{STATE_DIR}/{_NAME}"

Identity = list[int]
"""Size, modification time in nanoseconds, and inode number."""


@dataclass(slots=True)
class Released:
    """What blobdir has removed of a blob.

    Attributes
    ----------
    was : list of int
        What the blob was then.
    whole : bool
        Whether its last image was removed.
    ranges : set of (int, int)
        Byte ranges, half-open, of removed members that can't be told by their names from such as never were images.
    moved : set of (int, int)
        Byte ranges of images that a change has copied to another blob: they weren't removed.
    """

    was: Identity
    whole: bool = False
    ranges: set[tuple[int, int]] = field(default_factory=set)
    moved: set[tuple[int, int]] = field(default_factory=set)


def identity(full: str) -> Identity:
    """What tells a file from another one of its name."""
    found = os.stat(full, follow_symlinks=False)
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def whole_of(released: Mapping[str, Released]) -> set[str]:
    """Paths of the blobs whose last image was removed."""
    return {path for path, one in released.items() if one.whole}


def read_released(root: str) -> tuple[dict[str, Released], str]:
    """What is known of each blob, as far as it's still the same file, or away: it may come back.

    Returns
    -------
    dict
    str
        Why it isn't known, since the list is there and can't be read; empty where it can, or where there is none.
    """
    try:
        with open(with_room(lambda: open_state(root, _NAME)), "rb") as file:
            known = json.loads(read_open(file.fileno(), RELEASED).decode("utf-8", "surrogateescape"))
        found = {path: _parse(value) for path, value in known.items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}, ""
    except OSError as error:
        if none_left(error):
            raise
        return {}, f"{RELEASED} can't be read: {error.strerror or error}"
    except (ValueError, RecursionError, AttributeError, TypeError, KeyError, ArithmeticError):
        return {}, f"{RELEASED} is damaged: it isn't what blobdir writes"
    return {path: one for path, one in found.items() if _may_be(root, path, one.was)}, ""


WHAT_TO_DO: Final = (
    "it says which images and blobs were removed. Mend it; or remove it: then `blobdir compact --unreferenced` deletes "
    "what removed images may have left, with all that no dataset uses"
)
"""What is said of a list that can't be read."""


def _parse(value: Any) -> Released:
    if isinstance(value, list):
        return Released(value, whole=True)
    ranges, moved = ({(int(start), int(end)) for start, end in value.get(key, ())} for key in ("ranges", "moved"))
    return Released(value["is"], bool(value["whole"]), ranges, moved)


def _may_be(root: str, path: str, was: object) -> bool:
    try:
        return identity(os.path.join(root, path)) == was
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False


def format_released(released: Mapping[str, Released]) -> bytes:
    """The file's bytes."""
    values = {
        path: {"is": one.was, "whole": one.whole, "ranges": sorted(one.ranges)}
        | ({"moved": sorted(one.moved)} if one.moved else {})
        if one.ranges or one.moved
        else one.was
        for path, one in released.items()
    }
    return json.dumps(values, indent=0, sort_keys=True).encode("utf-8", "surrogateescape")
