"""Opening a project: what is meant (`targets`), which index serves (`choosing`), and is true still (`freshness`)."""

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
from blobdir.opening.targets import TarPlace, is_tar, matches_tars, open_place, shown_place, tar_place

__all__ = [
    "BESIDE",
    "BESIDE_FILE",
    "WARN_AT_MOST",
    "OpenOptions",
    "TarPlace",
    "build",
    "build_to_keep",
    "cache_folder",
    "check_beside",
    "check_named",
    "drop_beside",
    "is_tar",
    "keep",
    "matches_tars",
    "open_place",
    "open_tree",
    "refuse_unfinished",
    "refuse_unread",
    "renewed",
    "save_beside",
    "shown_place",
    "tar_place",
    "warn_of_defects",
    "with_loose_sizes",
]
