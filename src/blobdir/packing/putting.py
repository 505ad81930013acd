"""Files that something else than a change puts into a project: never where that has the name already.

``cp``, ``get``, ``preview -o`` and the like write one file as any program would: without the project's lock, and
without looking into its blobs. A new plain file is welcome. One beside a member of a blob would be a second of its
name.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Final

from blobdir.discovery import layout
from blobdir.discovery.root import project_of
from blobdir.durable import absolute
from blobdir.errors import BlobdirWarning, LinkError, NotADirectory, NotAProjectError, NotFoundError, UsageError
from blobdir.index import BROKEN, DIRECTORY, FIRST_BLOB, LINK
from blobdir.inside import open_plain
from blobdir.opening import open_tree
from blobdir.packing.provenance import Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fsspec import AbstractFileSystem

    from blobdir.offsets import OffsetsTable
    from blobdir.tree import Tree

_BLOCK: Final = 8 << 20
_INSTEAD: Final = (
    "`blobdir add --replace` replaces images, and `with fs.transaction:` any file (see the guide to packing); "
    "nothing was written"
)


def refuse_known(places: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse to write files where a project on this machine has something of their names that they wouldn't replace.

    A plain file that is all that there is of its name may be replaced, and a new one may be written.

    Parameters
    ----------
    places : iterable of path
        Of the files. Those that lie in no project cost a few looks at the folders above.

    Raises
    ------
    UsageError
    IncompleteListingError
        Not all names of a folder are known.
    BlobdirError
        The project can't be looked at.
    """
    projects: dict[str, str] = {}  # folder -> the project that it is in
    wanted: dict[str, dict[str, str]] = {}
    for place in places:
        for full in _ways_to(os.fspath(place)):
            folder = os.path.dirname(full)
            if folder not in projects:
                projects[folder] = project_of(full)
            if root := projects[folder]:
                wanted.setdefault(root, {})[os.path.relpath(full, root)] = os.fspath(place)
    for root, paths in wanted.items():
        check_unknown(root, paths)


def _ways_to(place: str) -> Iterator[str]:
    """The places where a file will be known that is written to one: where links lead, too."""
    full = absolute(place)
    beside = os.path.join(os.path.realpath(os.path.dirname(full)), os.path.basename(full))
    yield from dict.fromkeys((full, beside, os.path.realpath(full)))


def check_unknown(url: str, paths: Mapping[str, str], fs: AbstractFileSystem | None = None) -> None:
    """Refuse files at paths of a project, here or behind a backend, that it has already.

    Parameters
    ----------
    url : str
        Of the project.
    paths : mapping
        Path in the project -> what messages call the place.
    fs : fsspec.AbstractFileSystem, optional
    """
    try:
        tree = open_tree(url, fs=fs)
    except NotAProjectError:
        return
    local = tree.storage.directory
    for path, place in paths.items():
        why = _own(local, path) or _shown(tree, path)
        if why:
            raise UsageError(f"{place}: {why} in the project {tree.storage.url}; {_INSTEAD}")
    if local:
        _check_no_copies(local, tree.index.header.datasets, paths)


def _own(root: str, path: str) -> str:
    """What is said of blobs and offsets, which are there and shown to nobody; and of `.blobdir/`, whatever is there."""
    if path.partition("/")[0] == layout.STATE_DIR:
        return f"{path} is blobdir's own"
    folder, _, name = path.rpartition("/")
    holds_blobs = folder == layout.BLOB_DIR or bool(layout.labelled_by(folder))
    is_own = layout.is_offsets(name) or (holds_blobs and layout.blob_stem(name) is not None)
    return f"{path} is blobdir's own" if root and is_own and os.path.lexists(os.path.join(root, path)) else ""


def _shown(tree: Tree, path: str) -> str:
    """What is said of a path that a project shows, if that isn't a plain file."""
    try:
        for folder in layout.above(path):
            if not tree.is_directory(tree.find(folder)):
                return f"{folder} is a file"
        row = tree.find(path, follow=False)
    except (NotFoundError, NotADirectory, LinkError):
        return ""
    if tree.is_directory(row):
        return f"{path} is a folder"
    source = int(tree.index.source[row])
    if source >= FIRST_BLOB:
        return f"{path} is there already, in {tree.index.header.blobs[source - FIRST_BLOB].path},"
    return "" if tree.is_loose(row) or source == LINK else f"{path} is there already"


def _check_no_copies(root: str, datasets: Iterable[str], paths: Mapping[str, str]) -> None:
    """Refuse plain files of which a blob has a copy: as long as both are the same, one is shown."""
    known: Provenance | None = None
    for path, place in paths.items():
        if not os.path.lexists(os.path.join(root, path)):
            continue
        for kind in (layout.ITEMS, layout.ANNOTATIONS):
            dataset = next((d for d in datasets if path.startswith(f"{d}/{kind}/")), "")
            if not dataset:
                continue
            known = known or Provenance(root)
            name = path[len(dataset) + len(kind) + 2 :]
            entries = known.origins(dataset, [name], annotations=kind == layout.ANNOTATIONS)[name].entries
            if entries:
                raise UsageError(
                    f"{place}: {path} is there already, also in the blob of {entries[0].pickle.path}, in the project "
                    f"{root}; {_INSTEAD}"
                )


def refuse_conflicts(target: str | os.PathLike[str], table: OffsetsTable, tar: str) -> None:
    """Refuse an offsets file in a project by which one name would be two contents.

    Parameters
    ----------
    target : path
        Of the offsets file; one that is there is replaced.
    table : OffsetsTable
        What it will have in it.
    tar : str
        The blob that it is of.

    Raises
    ------
    UsageError
    """
    place = os.path.realpath(target)
    root = project_of(place)
    pickle = os.path.relpath(place, root) if root else ""
    if "/" not in pickle:
        return
    shown = layout.shown_by(pickle)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BlobdirWarning)  # of what isn't as it must be before the file is there
            tree = open_tree(root)
        row = tree.find(shown)
    except (NotAProjectError, NotFoundError, NotADirectory, LinkError):
        return
    stem = os.path.basename(place).removesuffix(layout.OFFSETS_SUFFIX)
    own = [i for i, blob in enumerate(tree.index.header.blobs) if _is_blob(blob.path, layout.blobs_of(pickle), stem)]
    others = _others(tree, row, {i + FIRST_BLOB for i in own})
    if not others:
        return
    with open(open_plain(tar), "rb") as file:
        for raw, start, end in table.entries():
            other = others.get(os.fsdecode(raw), -1)
            if other >= 0 and not _is_same(tree, other, file.fileno(), start, end):
                raise UsageError(
                    f"{target}: {shown}/{os.fsdecode(raw)} is in the project {root} already, with other bytes; remove "
                    "that one (`blobdir remove`), or leave this one out (--filter); nothing was written"
                )


def _is_blob(path: str, folder: str, stem: str) -> bool:
    above, _, name = path.rpartition("/")
    return above == folder and layout.blob_stem(name) == stem


def _others(tree: Tree, top: int, own: set[int]) -> dict[str, int]:
    """Name -> row of each file below a folder that isn't of one's own blob, as far as they are known."""
    found: dict[str, int] = {}
    index = tree.index
    for folder in index.walk(top):
        rows = index.children(folder)
        sources = index.source[rows.start : rows.stop].tolist()
        if set(sources) <= own | {DIRECTORY, BROKEN}:
            continue
        prefix = tree.path(folder)[len(tree.path(top)) + 1 :]
        for row, name, source in zip(rows, index.names_text(rows.start, rows.stop), sources, strict=True):
            if source not in own and source not in (DIRECTORY, BROKEN):
                found[layout.join(prefix, name)] = row
    return found


def _is_same(tree: Tree, row: int, tar: int, start: int, end: int) -> bool:
    """Whether a file of a project has the bytes of a member."""
    try:
        file = tree.open(tree.follow(row) if tree.index.source[row] == LINK else row)
    except LinkError:
        return True  # it isn't shown
    if file.size != end - start:
        return False
    return all(
        file.read(at, min(at + _BLOCK, file.size)) == os.pread(tar, min(_BLOCK, file.size - at), start + at)
        for at in range(0, file.size, _BLOCK)
    )
