"""From a URL to a tree: an index that is kept and still true is used, else one is built."""

from __future__ import annotations

import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from blobdir.discovery import DiscoveryOptions, Progress, discover, discover_tars, inputs
from blobdir.discovery.unfinished import OF_THE_MOMENT
from blobdir.errors import BlobdirWarning, IndexFormatError, UsageError
from blobdir.index import Index, build_index
from blobdir.offsets import read_offsets
from blobdir.opening.beside import is_beside, to_travel
from blobdir.opening.carrying import carried
from blobdir.opening.freshness import renewed
from blobdir.opening.keeping import keep, look_at, places
from blobdir.opening.targets import open_place, shown_place
from blobdir.projectlock import changes
from blobdir.sources import RemoteOptions, Storage
from blobdir.tree import Tree

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from fsspec import AbstractFileSystem

    from blobdir.discovery.discover import ReadOffsets
    from blobdir.index import Header, StoredIndex
    from blobdir.reading import BlobReader

STORE_ROWS = 20_000
"""Rows from which an index is worth a file: fewer are built as fast as they are opened."""
TRIES = 5
"""Times that a project is opened again whose blobs were replaced before they could be held."""
WARN_AT_MOST = 5
"""Defects that are warned of one by one; a project can have thousands."""


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
    hold: Callable[[BlobReader], bool] | None = None,
) -> Tree:
    """Open a project as a tree.

    Parameters
    ----------
    url : str or path
        The folder that holds ``meta.json``, a tar, or a pattern of tars; any fsspec URL.
    protocol, target_options, fs
        See `blobdir.sources.open_storage`.
    options : OpenOptions, optional
    progress : callable, optional
        Told how far a long discovery is.
    hold : callable, optional
        Opens blobs of the tree; False says that one isn't what its index says any more. The tree is made anew then.

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
    storage, discovery = open_place(
        url, protocol=protocol, options=target_options, fs=fs, discovery=options.discovery, remote=options.remote
    )
    options = replace(options, discovery=discovery)
    for _ in range(TRIES):
        before = changes(storage.directory) if storage.directory else None
        index = _carried(storage, options) or _stored(storage, options) or _build(storage, options, progress)
        tree = Tree(index, storage, before, shown_place(storage, options.discovery))
        if (hold is None or hold(tree.blobs)) and not _was_passing(storage, index, before):
            break
    warn_of_defects(storage, index)
    return tree


def _was_passing(storage: Storage, index: Index, before: tuple[bytes, bool] | None) -> bool:
    """Whether what is said of a change that hasn't ended is outdated by now: somebody commits again and again."""
    if before is None or not any(defect.code in OF_THE_MOMENT for defect in index.header.defects):
        return False
    return changes(storage.directory) != before


def _carried(storage: Storage, options: OpenOptions) -> Index | None:
    return carried(storage, options.discovery) if options.index == "auto" and not options.discovery.tars else None


def warn_of_defects(storage: Storage, index: Index, *, told: Collection[str] = ()) -> None:
    """Warn of what isn't as it must be; a project can have thousands of defects, so of the first few one by one.

    Not of those of which somebody was `told` already, by their codes.
    """
    defects = [defect for defect in index.header.defects if defect.code not in told]
    for defect in defects[:WARN_AT_MOST]:
        warnings.warn(f"{storage.url}: {defect.message}", BlobdirWarning, stacklevel=2)
    if len(defects) > WARN_AT_MOST:
        more = len(defects) - WARN_AT_MOST
        warnings.warn(f"{storage.url}: and {more} more defects; `defects` lists them all", BlobdirWarning, stacklevel=2)


def build(
    storage: Storage,
    discovery: DiscoveryOptions,
    progress: Progress | None = None,
    read: ReadOffsets = read_offsets,
    older: Index | None = None,
) -> Index:
    """Read a project, or tars, and build the index, in memory; see `blobdir.discovery.discover` and `discover_tars`."""
    if discovery.tars:
        folders, header = discover_tars(storage, discovery, progress, older)
    else:
        folders, header = discover(storage, discovery, progress, read)
    return build_index(folders, header)


def _stored(storage: Storage, options: OpenOptions) -> Index | None:
    where = places(storage, options.discovery, options.index)
    here = inputs.place_of(storage)
    found: list[tuple[bool, StoredIndex]] = []
    for place in where:
        with _damage_is_said():
            stored = look_at(place)
            found.append((is_beside(place, storage) and stored.header.place != here, stored))
    # What came with a copy of its project goes last, and not at all if the copy had a newer one that isn't true now.
    own_ns = max((s.header.built_ns for is_copy, s in found if not is_copy and s.header.place == here), default=0)
    for is_copy, stored in sorted(found, key=itemgetter(0)):
        with _damage_is_said():
            if is_copy and stored.header.built_ns < own_ns:
                continue
            if header := renewed(stored.header, storage, options.discovery, is_copy=is_copy):
                index = stored.load(header)
                if is_copy and _is_known_anew(stored.header, header) and not _is_new(header):
                    _keep_known(index, where[-1])
                return index
    return None


@contextmanager
def _damage_is_said() -> Iterator[None]:
    """Go on without an index that isn't there, or is damaged."""
    try:
        yield
    except IndexFormatError as error:
        warnings.warn(f"{error} (it is built anew now)", BlobdirWarning, stacklevel=5)
    except OSError:
        pass


def _is_known_anew(then: Header, now: Header) -> bool:
    """Whether files and folders are others than those that were recorded, so that only contents told."""
    pairs = zip(then.blobs + then.inputs, now.blobs + now.inputs, strict=True)
    return any((a.inode, a.ctime_ns) != (b.inode, b.ctime_ns) for a, b in pairs if a.path)


def _build(storage: Storage, options: OpenOptions, progress: Progress | None) -> Index:
    where = places(storage, options.discovery, options.index)
    is_named = options.index not in ("auto", "none")
    older = _older(where[-1]) if where and options.discovery.tars else None
    make = build_to_keep if is_named else build
    index = make(storage, options.discovery, progress, read_offsets, older)
    if any(defect.code in OF_THE_MOMENT for defect in index.header.defects):
        return index  # soon it won't be
    if is_named and is_beside(where[-1], storage):
        index = to_travel(index, storage)
    if is_named or (where and len(index) >= STORE_ROWS and not _is_new(index.header)):
        try:
            keep(index, where[-1])
        except (OSError, UsageError):
            if is_named:  # who may not write the cache still gets the project, a little later
                raise
    return index


def _older(place: Path) -> Index | None:
    """An index that isn't true any more, which may be of use for what of it is."""
    with suppress(OSError, IndexFormatError):
        return look_at(place).load()
    return None


def _keep_known(index: Index, place: Path) -> None:
    """Keep an index that is true of a copy, with what files and folders of the copy are known by."""
    with suppress(OSError, UsageError):  # who may not write there compares contents each time
        keep(index, place)


def build_to_keep(
    storage: Storage,
    discovery: DiscoveryOptions,
    progress: Progress | None = None,
    read: ReadOffsets = read_offsets,
    older: Index | None = None,
) -> Index:
    """Build an index that will be kept: not before the clock has gone on since a change that came right before."""
    if storage.directory:
        time.sleep(inputs.TICK_NS / 1e9)
    return build(storage, discovery, progress, read, older)


def _is_new(header: Header) -> bool:
    """Whether a blob was written so shortly before that a kept index wouldn't be trusted."""
    return any(inputs.is_racy(record, header.built_ns) for record in header.blobs)
