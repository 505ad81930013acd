"""What lies at a place behind a backend, and which version of it: one listing, nothing asked for twice."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from blobdir import projectlock
from blobdir.discovery import layout, unfinished
from blobdir.sources.keys import folders_of, sort_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from blobdir.sources import Folder, RemoteStorage, Stat
    from blobdir.sources.keys import Keys, Marker, Odd

JOURNAL = f"{layout.STATE_DIR}/{projectlock.JOURNAL}"
"""Beside a project that somebody is changing where it lies on a disk, or was when it was copied."""
PUSHING = f"{layout.STATE_DIR}/{unfinished.PUSHING}"
"""Beside a project in a bucket while it's being changed, and after a push that was cut off."""
INDEXING = f"{layout.STATE_DIR}/{unfinished.INDEXING}"
"""Beside one whose index nobody needs to believe yet, see `blobdir.moving.indexmark`."""
_MD5 = re.compile(r"[0-9a-f]{32}")
_SECOND_NS = 1_000_000_000
RACY_NS = 2 * _SECOND_NS
"""What changed so shortly before it was looked at could change again without another time."""


@dataclass(slots=True)
class RemoteFiles:
    """What a backend lists below the root of a project.

    Attributes
    ----------
    files : dict
        Path -> attributes, with etag and time where the listing has them.
    checksums : dict
        Path -> MD5 of the content in hexadecimal digits, where the backend says it.
    folders : set of str
        Folders; behind an object store those that have something in them, or a marker.
    markers : dict
        Name below the root -> the empty object that stands for a folder.
    odd : dict
        Name below the root -> what isn't a file of anybody's: see `blobdir.sources.keys.Sorted`.
    own : dict
        The same as `files`, of what is in ``.blobdir/``: nothing of it belongs to the project.
    """

    files: dict[str, Stat] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    markers: dict[str, Marker] = field(default_factory=dict)
    odd: dict[str, Odd] = field(default_factory=dict)
    own: dict[str, Stat] = field(default_factory=dict)

    def as_folders(self) -> dict[str, Folder]:
        """The same as readers list it, for what goes by folders."""
        return {folder.path: folder for folder in folders_of(self.folders, self.files)}


def list_remote(storage: RemoteStorage) -> RemoteFiles:
    """List everything at a place; nothing where there is no such place."""
    return files_of(storage, list_keys(storage))


def list_keys(storage: RemoteStorage) -> Keys:
    """The same, as the backend says it."""
    try:
        return list(storage.list_keys())
    except FileNotFoundError:
        return []


def files_of(storage: RemoteStorage, keys: Keys) -> RemoteFiles:
    """What was listed, sorted."""
    listed = sort_keys(keys)
    found = RemoteFiles(folders=listed.folders, markers=listed.markers, odd=listed.odd)
    protocols = storage.protocols
    for path, (_, stat, info) in listed.files.items():
        if is_own(path):
            found.own[path] = stat
        else:
            found.files[path] = stat
            if checksum := _md5_of(info, protocols):
                found.checksums[path] = checksum
    return found


def keeps_markers(storage: RemoteStorage) -> bool:
    """Whether an empty object whose name ends with a slash stands for a folder: Azure lists it as a file."""
    return bool(storage.protocols & {"s3", "s3a", "gs", "gcs"})


def is_own(path: str) -> bool:
    """Whether a path is blobdir's own, not the project's."""
    return path == layout.STATE_DIR or path.startswith(f"{layout.STATE_DIR}/")


def _md5_of(info: Mapping[str, Any], protocols: frozenset[str]) -> str:
    """MD5 of a file's content in hexadecimal digits, where a backend says it; else empty.

    S3 says it as the etag of an object that was uploaded in one piece and isn't encrypted with a key of its own; that
    it is another thing can't be seen, so a difference may mean nothing, but no two contents have the same.
    """
    if protocols & {"s3", "s3a"}:
        etag = str(info.get("ETag") or "").strip('"')
        return etag if _MD5.fullmatch(etag) else ""
    said = info.get("md5Hash") or (info.get("content_settings") or {}).get("content_md5") or info.get("content_md5")
    if isinstance(said, bytes | bytearray):
        return said.hex() if len(said) == 16 else ""
    if isinstance(said, str):
        try:
            raw = base64.b64decode(said, validate=True)
        except ValueError:
            return ""
        return raw.hex() if len(raw) == 16 else ""
    return ""


def says_version(stat: Stat | None) -> bool:
    """Whether attributes tell one version of a file from another."""
    return stat is not None and stat.size >= 0 and bool(stat.etag or stat.mtime_ns)


def ask_versions(
    storage: RemoteStorage, listed: Mapping[str, Stat], paths: Iterable[str], like: Mapping[str, Stat] | None = None
) -> dict[str, Stat]:
    """Attributes of files with their versions: from a listing where it says enough, else asked for, many at a time.

    Parameters
    ----------
    storage, listed, paths
        Paths that aren't listed are left out.
    like : dict, optional
        Path -> attributes that they will be compared with: those with an etag can be with such only.
    """
    found = {path: listed[path] for path in paths if path in listed}
    then = like or {}
    silent = [
        path
        for path, stat in found.items()
        if not says_version(stat) or (path in then and then[path].etag and not stat.etag)
    ]
    asked = storage.stat_many(silent)
    for path in silent:
        if path in asked:
            found[path] = asked[path]
    return found


def same_version(then: Stat, now: Stat) -> bool:
    """Whether both are surely one version of one file; False where they don't say enough."""
    return then.is_surely(now)


def is_still(then: Stat, now: Stat) -> bool:
    """Whether nothing says that a file has changed."""
    return not then.difference(now)


def two_lengths(then: Stat, now: Stat) -> str:
    """What a server says against itself, for a message: two lengths of one version; nothing where it doesn't."""
    if not then.etag or then.etag != now.etag or then.size == now.size or min(then.size, now.size) < 0:
        return ""
    return (
        f" (of one version, {then.etag}, the server says {then.size} bytes and {now.size} bytes: what it says of files "
        "without sending them, by HEAD, may be wrong)"
    )


def is_racy(stat: Stat, noted_ns: int) -> bool:
    """Whether a file could have been written once more after it was looked at, and still look the same."""
    return not stat.etag and stat.mtime_ns % _SECOND_NS == 0 and stat.mtime_ns > noted_ns - RACY_NS
