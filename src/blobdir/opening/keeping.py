"""Where indexes are kept, and for how long: beside the project, in a folder of the user's choice, or in the cache.

The user's cache folder holds, below ``blobdir/``, ``index/`` (one folder per project and options) and ``erofs/``
(images of the kernel engine). It belongs to the user alone: what lies in one that others own or can
write isn't used (`blobdir.ownfolder`). Each has a bound; what was used longest ago goes first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from platformdirs import user_cache_path

from blobdir.discovery.root import refuse_inside
from blobdir.index import FILES, StoredIndex, check_place, save_index
from blobdir.opening.beside import BESIDE
from blobdir.ownfolder import make_own, not_own
from blobdir.projectlock import STATE_DIR
from blobdir.temporary import is_owned, is_temporary

if TYPE_CHECKING:
    from blobdir.discovery import DiscoveryOptions
    from blobdir.index import Index
    from blobdir.sources import Storage

KEPT_BYTES: Final = {"index": 8 << 30, "erofs": 16 << 30}
"""What all kept indexes, and all kept images, may take."""
_OURS: Final = re.compile(r"[0-9a-f]{32}(\.version)?|\.[0-9a-f]{32}\.\d+\.[0-9a-f]{8}\.old")
_IN_OURS: Final = re.compile(rf"{'|'.join(map(re.escape, sorted(FILES)))}|[0-9a-f]{{16}}\.erofs")


@dataclass(frozen=True, slots=True)
class Kept:
    """One kept index, or the images of one project.

    Attributes
    ----------
    path : Path
    size : int
        Bytes.
    used_s : float
        When it was used last, seconds since 1970.
    """

    path: Path
    size: int
    used_s: float


def cache_root() -> Path:
    """The user's cache folder for blobdir."""
    return user_cache_path("blobdir")


def cache_folder(storage: Storage, discovery: DiscoveryOptions, kind: str = "index") -> Path:
    """Where the index of a project, or with `kind` ``"erofs"`` its images, are kept: one per root and options."""
    key = json.dumps([storage.place, discovery.shaping()], sort_keys=True)
    name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return cache_root() / kind / name


def places(storage: Storage, discovery: DiscoveryOptions, index: str) -> list[Path]:
    """Folders in which an index of a project may lie, the best one first; a new one is put into the last.

    Parameters
    ----------
    index : str
        ``"auto"``, ``"none"``, or a folder.
    """
    if index == "none":
        return []
    if index != "auto":
        return [Path(index)]
    if discovery.tars:
        return [cache_folder(storage, discovery)]  # whether it's still true takes a look at each tar, also in a bucket
    if not storage.directory:
        return []  # whether it's still true would take the listing that it should save
    beside = Path(storage.url) / BESIDE
    is_link = os.path.islink(beside) or os.path.islink(beside.parent)  # nothing of blobdir's is one
    return [*([] if is_link else [beside]), cache_folder(storage, discovery)]


def look_at(place: Path) -> StoredIndex:
    """The index in a folder; FileNotFoundError where there is none to be used, IndexFormatError where it's damaged."""
    if _is_cached(place) and not is_own(place):
        raise FileNotFoundError(place)
    found = StoredIndex(place)
    if _is_cached(place):
        with suppress(OSError):
            os.utime(place)
    return found


def check_named(place: Path) -> None:
    """Make sure that an index can be put into a folder of the user's choice.

    Raises
    ------
    UsageError
        Something else is there; or it's in a project, which would have it as a folder of images, or of anything. What
        is in a project's ``.blobdir/`` is none of it.
    """
    _refuse_inside(place)
    check_place(place)


def _refuse_inside(place: Path) -> None:
    full = os.path.abspath(place)
    if STATE_DIR not in full.split(os.sep):
        refuse_inside(full)


def keep(index: Index, place: Path) -> None:
    """Put an index into a folder; see `blobdir.index.save_index`."""
    if not _is_cached(place):
        _refuse_inside(place)
    make_own_if_cached(place)
    save_index(index, place, mode=0o700 if _is_cached(place) else 0o755)
    trim_if_cached(place)


def make_own_if_cached(place: Path) -> None:
    """Make the folder that `place` is going to be in, if that is one of the cache; see `make_own`."""
    if _is_cached(place):
        make_own(place.parent)


def trim_if_cached(place: Path) -> None:
    """Keep the bound of the folder that `place` is in, if that is one of the cache. `place` itself stays."""
    if _is_cached(place):
        trim(place.parent, spared=place)


def _is_cached(place: Path) -> bool:
    return place.is_relative_to(cache_root())


def is_own(folder: Path) -> bool:
    """Whether a folder of the cache, and the one it is in, are the user's own; see `blobdir.ownfolder`."""
    try:
        return all(stat.S_ISDIR(os.lstat(path).st_mode) and not not_own(path) for path in (folder, folder.parent))
    except OSError:
        return False


def kept(kind: str) -> list[Kept]:
    """What is kept of a kind, that which was used last first. What blobdir hasn't put there doesn't count."""
    found = []
    with suppress(OSError):
        for entry in os.scandir(cache_root() / kind):
            with suppress(OSError):
                if (_OURS.fullmatch(entry.name) or _is_left(entry)) and (files := _files(entry)):
                    used_s = entry.stat(follow_symlinks=False).st_mtime
                    found.append(Kept(Path(entry.path), sum(file.stat().st_size for file in files), used_s))
    return sorted(found, key=lambda one: -one.used_s)


def _is_left(entry: os.DirEntry[str]) -> bool:
    """Whether it's what a dead process was writing."""
    return is_temporary(entry.name) and not is_owned(entry.path)


def _is_in_ours(name: str) -> bool:
    return _IN_OURS.fullmatch(name) is not None or is_temporary(name)


def _files(entry: os.DirEntry[str]) -> list[Path]:
    """The files of something that is kept; none where anything else is in it."""
    if entry.is_file(follow_symlinks=False):
        return [Path(entry.path)] if entry.name.endswith(".version") else []
    found = list(os.scandir(entry.path)) if entry.is_dir(follow_symlinks=False) else []
    if all(file.is_file(follow_symlinks=False) and _is_in_ours(file.name) for file in found):
        return [Path(file.path) for file in found]
    return []


def trim(folder: Path, spared: Path | None = None, limit: int = -1) -> int:
    """Remove what was used longest ago from a folder of the cache, as long as it's above its bound; bytes removed."""
    limit = KEPT_BYTES.get(folder.name, 0) if limit < 0 else limit
    total = removed = 0
    for one in kept(folder.name):
        total += one.size
        if total > limit and one.path != spared and _remove(one.path):
            removed += one.size
    return removed


def _remove(path: Path) -> bool:
    with suppress(OSError):
        if not path.is_dir():
            path.unlink()
            return True
        for file in path.iterdir():
            if _is_in_ours(file.name):
                file.unlink()
        path.rmdir()
        return True
    return False
