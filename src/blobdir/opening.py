"""From a URL to a tree: an index that is stored and still true is used, else one is built."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from platformdirs import user_cache_path

from blobdir.discovery import DiscoveryOptions, Progress, discover
from blobdir.discovery.unfinished import UNFINISHED
from blobdir.errors import BlobdirError, BlobdirWarning, IndexFormatError, ReadError, UsageError
from blobdir.index import (
    LOOSE,
    Header,
    Index,
    build_index,
    check_place,
    index_from_bytes,
    index_to_bytes,
    load_index,
    save_index,
)
from blobdir.sources import RemoteOptions, RemoteStorage, Stat, Storage, open_storage
from blobdir.tree import Tree

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

BESIDE, BESIDE_FILE = ".blobdir/index", ".blobdir/index.tar"
"""Where an index that travels with a project lies: a folder to map, and the same as one file to download."""
STORE_ROWS = 20_000
"""Rows from which an index is worth a file: fewer are built as fast as they are opened."""
WARN_AT_MOST = 5
"""Defects that are warned of one by one; a project can have thousands."""
_RACY_NS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class OpenOptions:
    """How a project is opened.

    Attributes
    ----------
    discovery : DiscoveryOptions
        What shapes the tree.
    index : str
        ``"auto"``: the one beside the project or in the user's cache folder if it's still true, else built, and
        kept in the cache folder if large. ``"none"``: built in memory. Anything else: the folder of an index, which
        is used if it's still true, and written otherwise.
    remote : RemoteOptions
        How a project behind a backend is read.
    """

    discovery: DiscoveryOptions = field(default_factory=DiscoveryOptions)
    index: str = "auto"
    remote: RemoteOptions = field(default_factory=RemoteOptions)


def open_tree(
    url: str | os.PathLike[str],
    *,
    protocol: str | None = None,
    target_options: dict[str, Any] | None = None,
    fs: AbstractFileSystem | None = None,
    options: OpenOptions | None = None,
    progress: Progress | None = None,
) -> Tree:
    """Open a project as a tree.

    Parameters
    ----------
    url : str or path
        The folder that holds ``meta.json``; any fsspec URL.
    protocol, target_options, fs
        See `blobdir.sources.open_storage`.
    options : OpenOptions, optional
    progress : callable, optional
        Told how far a long discovery is.

    Raises
    ------
    NotAProjectError, UsageError
    BlobdirError
        With ``on_defect="raise"``, any defect.

    Warns
    -----
    BlobdirWarning
        For each defect, and for a stored index that is damaged.
    """
    options = options or OpenOptions()
    follow_links = options.discovery.follow_links
    storage = open_storage(
        url, protocol=protocol, options=target_options, fs=fs, follow_links=follow_links, remote=options.remote
    )
    index = _carried(storage, options) or _stored(storage, options) or _build(storage, options, progress)
    warn_of_defects(storage, index)
    return Tree(index, storage)


def warn_of_defects(storage: Storage, index: Index) -> None:
    """Warn of what isn't as it must be; a project can have thousands of defects, so of the first few one by one."""
    defects = index.header.defects
    for defect in defects[:WARN_AT_MOST]:
        warnings.warn(f"{storage.url}: {defect.message}", BlobdirWarning, stacklevel=2)
    if len(defects) > WARN_AT_MOST:
        more = len(defects) - WARN_AT_MOST
        warnings.warn(f"{storage.url}: and {more} more defects; `defects` lists them all", BlobdirWarning, stacklevel=2)


def build(storage: Storage, discovery: DiscoveryOptions, progress: Progress | None = None) -> Index:
    """Read a project and build its index, in memory."""
    folders, header = discover(storage, discovery, progress)
    return build_index(folders, header)


def cache_folder(storage: Storage, discovery: DiscoveryOptions) -> Path:
    """Where the index of a project is kept in the user's cache folder: one per root and options."""
    place = storage.place if isinstance(storage, RemoteStorage) else storage.url
    key = json.dumps([place, asdict(discovery)], sort_keys=True)
    name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return user_cache_path("blobdir") / "index" / name


def _places(storage: Storage, options: OpenOptions) -> list[Path]:
    if options.index == "none":
        return []
    if options.index != "auto":
        return [Path(options.index)]
    if not storage.is_local:
        return []  # whether it's still true would take the listing that it should save
    return [Path(storage.url) / BESIDE, cache_folder(storage, options.discovery)]


def _carried(storage: Storage, options: OpenOptions) -> Index | None:
    """The index that lies beside a remote project, downloaded once per version of it; None where there is none.

    Whether it's still true would take the listing that it should save. Blobs are looked at when they are read: their
    versions, or sizes, stand in the index.
    """
    if options.index != "auto" or not isinstance(storage, RemoteStorage):
        return None
    folder = cache_folder(storage, options.discovery)
    note = folder.with_name(f"{folder.name}.version")
    try:
        index = _carried_into(storage, folder, note)
    except FileNotFoundError:
        return None
    except ReadError:
        if not storage.backend.has_answered:  # nor will it when it's asked for a listing
            raise
        return None
    except IndexFormatError as error:
        warnings.warn(f"{storage.url}/{BESIDE_FILE}: {error} (the project is listed now)", BlobdirWarning, stacklevel=3)
        return None
    return index if index.header.options == options.discovery.to_json() else None


def _carried_into(storage: RemoteStorage, folder: Path, note: Path) -> Index:
    with suppress(OSError, ValueError, TypeError, KeyError, IndexFormatError):
        known = Stat("file", **json.loads(note.read_text()))
        if known.etag or known.mtime_ns:
            now = storage.stat(BESIDE_FILE)
            if known.same_content(now):
                return load_index(folder)
    answer = storage.fetch(BESIDE_FILE)
    version = answer.version
    try:
        index = index_from_bytes(answer.data, folder)
        note.write_text(json.dumps({"size": len(answer.data), "mtime_ns": version.mtime_ns, "etag": version.etag}))
    except IndexFormatError:
        raise
    except OSError:  # who can't write the cache still gets the project
        with tempfile.TemporaryDirectory(prefix="blobdir-") as elsewhere:
            return index_from_bytes(answer.data, Path(elsewhere) / "index")
    return index


def check_beside(storage: Storage) -> None:
    """Make sure that an index can be put beside a project, and that nothing else is replaced.

    Raises
    ------
    UsageError
    """
    if not storage.is_local:
        return
    place = Path(storage.url) / BESIDE
    if place.parent.is_symlink():
        raise UsageError(f"{place.parent}: is a symbolic link, and nothing of blobdir's is; look at it, and remove it")
    check_place(place)


def save_beside(index: Index, storage: Storage) -> str:
    """Put an index beside its project, where everybody who opens the project finds it; where it lies.

    Raises
    ------
    UsageError
        Something else lies there.
    OSError
        The place can't be written.
    """
    if isinstance(storage, RemoteStorage):
        storage.write(BESIDE_FILE, index_to_bytes(index))
        return f"{storage.url}/{BESIDE_FILE}"
    check_beside(storage)
    place = Path(storage.url) / BESIDE
    save_index(index, place)
    file = Path(storage.url) / BESIDE_FILE
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        temporary.write_bytes(index_to_bytes(with_loose_sizes(index, storage)))
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    return str(place)


def with_loose_sizes(index: Index, storage: Storage) -> Index:
    """The same index with the sizes of loose files in it: a remote reader would have to ask for each."""
    size = index.size.astype(np.int64)
    for row in np.flatnonzero(index.source == LOOSE).tolist():
        with suppress(OSError):
            size[row] = storage.stat(index.path(row).decode("utf-8", "surrogateescape")).size
    small = np.iinfo(np.int32)
    return replace(index, size=size if size.max() > small.max else size.astype(np.int32))


def _stored(storage: Storage, options: OpenOptions) -> Index | None:
    for place in _places(storage, options):
        try:
            index = load_index(place)
        except IndexFormatError as error:
            warnings.warn(f"{error} (it is built anew now)", BlobdirWarning, stacklevel=3)
            continue
        except OSError:
            continue
        if is_current(index.header, storage, options.discovery):
            return index
    return None


def _build(storage: Storage, options: OpenOptions, progress: Progress | None) -> Index:
    index = build(storage, options.discovery, progress)
    places = _places(storage, options)
    if any(defect.code == UNFINISHED for defect in index.header.defects):
        return index  # soon it won't be
    if places and (options.index != "auto" or len(index) >= STORE_ROWS):
        try:
            save_index(index, places[-1])
        except (OSError, UsageError):
            if options.index != "auto":  # who may not write the cache still gets the project, a little later
                raise
    return index


def is_current(header: Header, storage: Storage, discovery: DiscoveryOptions) -> bool:
    """Whether what an index was made from is as it was then.

    Folders are compared by modification time, blobs and pickles by size and time. What changed in the last two
    seconds before it was built could have changed again within one tick of a coarse clock, so it counts as changed.
    Remote projects: blobs only; a listing would cost more than the index saves.
    """
    if header.options != discovery.to_json():
        return False
    records = header.blobs + (header.inputs if storage.is_local else [])
    together = {} if not isinstance(storage, RemoteStorage) else storage.stat_many([r.path for r in records])
    for record in records:
        try:
            now = together.get(record.path) or storage.stat(record.path)
        except (OSError, BlobdirError):
            if record.size >= 0 or record.role == "folder":
                return False
            continue
        then = Stat("file", record.size, record.mtime_ns, etag=record.etag)
        if record.role == "folder":
            then = Stat("directory", now.size, record.mtime_ns)
        if not then.same_content(now) or (storage.is_local and record.mtime_ns > header.built_ns - _RACY_NS):
            return False
    return True
