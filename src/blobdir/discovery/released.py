"""Blobs that nothing refers to any more because blobdir removed the last image in them.

``compact`` deletes those, and no other blob without offsets: that one may have been copied in a moment ago. They stand
in ``.blobdir/released.json``, with what tells a file from another one that has its name later.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from blobdir.inside import read_open
from blobdir.projectlock import STATE_DIR, open_state

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME: Final = "released.json"
RELEASED: Final = f"{STATE_DIR}/{_NAME}"

Identity = list[int]
"""Size, modification time in nanoseconds, and inode number."""


def identity(full: str) -> Identity:
    """What tells a file from another one of its name."""
    found = os.stat(full, follow_symlinks=False)
    return [found.st_size, found.st_mtime_ns, found.st_ino]


def read_released(root: str) -> dict[str, Identity]:
    """Path of a blob -> what it was; those that are still the same file, or away: they may come back."""
    try:
        with open(open_state(root, _NAME), "rb") as file:
            known = json.loads(read_open(file.fileno(), RELEASED).decode("utf-8", "surrogateescape"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {p: was for p, was in known.items() if _may_be(root, p, was)} if isinstance(known, dict) else {}


def _may_be(root: str, path: str, was: object) -> bool:
    try:
        return identity(os.path.join(root, path)) == was
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False


def format_released(released: Mapping[str, Identity]) -> bytes:
    """The file's bytes."""
    return json.dumps(released, indent=0, sort_keys=True).encode("utf-8", "surrogateescape")
