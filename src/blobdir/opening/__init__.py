"""Opening a project: which index serves (`choosing`), if it is true still (`freshness`), where it is (`keeping`)."""

from __future__ import annotations

from blobdir.opening.beside import (
    BESIDE,
    BESIDE_FILE,
    check_beside,
    drop_beside,
    refuse_unfinished,
    refuse_unread,
    save_beside,
    with_loose_sizes,
)
from blobdir.opening.choosing import WARN_AT_MOST, OpenOptions, build, build_to_keep, open_tree, warn_of_defects
from blobdir.opening.freshness import renewed
from blobdir.opening.keeping import cache_folder, check_named, keep

__all__ = [
    "BESIDE",
    "BESIDE_FILE",
    "WARN_AT_MOST",
    "OpenOptions",
    "build",
    "build_to_keep",
    "cache_folder",
    "check_beside",
    "check_named",
    "drop_beside",
    "keep",
    "open_tree",
    "refuse_unfinished",
    "refuse_unread",
    "renewed",
    "save_beside",
    "warn_of_defects",
    "with_loose_sizes",
]
