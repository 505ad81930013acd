"""Reads a project: lists it, pairs blobs with offsets, merges them with what lies about as files."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Protocol

import numpy as np

from blobdir.descriptors import naming_none_left, none_left
from blobdir.discovery import inputs, layout, unfinished
from blobdir.discovery.advice import for_unlisted
from blobdir.discovery.blobs import Blobs
from blobdir.discovery.comparing import Contents
from blobdir.discovery.conflicts import Conflicts
from blobdir.discovery.deciding import Deciding
from blobdir.discovery.linked import Linked
from blobdir.discovery.merge import Merger, by_folder, entry_table
from blobdir.discovery.parts import check_folders, find_pickles
from blobdir.discovery.report import Report
from blobdir.discovery.root import check_root, not_a_folder
from blobdir.errors import (
    BlobdirError,
    LinkError,
    NotAProjectError,
    OffsetsError,
    TruncatedOffsetsError,
)
from blobdir.filenames import parents_of
from blobdir.index import (
    BROKEN,
    DIRECTORY,
    LINK,
    LOOSE,
    EntryTable,
    Header,
)
from blobdir.inside import NO_FILE, real_path
from blobdir.offsets import read_offsets
from blobdir.projectlock import changes
from blobdir.sources import RemoteStorage, Stat
from blobdir.temporary import PREFIX, is_temporary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from blobdir.discovery.options import DiscoveryOptions
    from blobdir.discovery.parts import Pickle
    from blobdir.offsets import OffsetsTable, OnConflict
    from blobdir.offsets.reader import ByteSource
    from blobdir.sources import Entry, Folder, Source, Storage

_NAME_MAX = 255
_CHARACTERS = _NAME_MAX // 4  # of four bytes at the most
_SOURCES = {"directory": DIRECTORY, "file": LOOSE, "link": LINK, "other": BROKEN}
_NO_NAMES = frozenset(("", ".", ".."))
_PICKLES_AT_ONCE = 16
_TRIES = 5
"""Times that a project is looked at again that was changed meanwhile."""


class ReadOffsets(Protocol):
    """`blobdir.offsets.read_offsets`, or what gives the same."""

    def __call__(self, data: bytes | ByteSource, /, *, name: str, on_conflict: OnConflict) -> OffsetsTable:
        """The entries of an offsets file whose content is `data`; it has a `stat` where it's a file on this machine."""
        ...


class Progress(Protocol):
    """Told now and then how far a long discovery is."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """`done` of `total` things of `step`."""
        ...


def discover(
    storage: Storage,
    options: DiscoveryOptions,
    progress: Progress | None = None,
    read: ReadOffsets = read_offsets,
) -> tuple[dict[str, EntryTable], Header]:
    """Read a project.

    Parameters
    ----------
    storage : Storage
    options : DiscoveryOptions
    progress : callable, optional
    read : callable
        Who has parsed offsets files already gives what he has.

    Returns
    -------
    folders : dict
        Path of each directory of the presented tree -> its entries, as `blobdir.index.build_index` takes them.
    header : Header

    Raises
    ------
    NotAProjectError
        There is nothing at the place, or nothing that is a blob project.
    BlobdirError
        With ``on_defect="raise"``, the first defect that makes anything unavailable.
    OSError
        There is no descriptor left.
    """
    with naming_none_left():
        if not storage.directory:
            return _Discovery(storage, options, progress, read).run()
        for _ in range(_TRIES):
            before = unfinished.settled(storage.directory)
            found = _Discovery(storage, options, progress, read).run()
            if changes(storage.directory) == before:
                return found
            # It was changed meanwhile, and what was seen may be half of it.
    _report_unsettled(storage, options, *found)
    return found


def _report_unsettled(
    storage: Storage, options: DiscoveryOptions, folders: dict[str, EntryTable], header: Header
) -> None:
    """Say of every folder that its list may be half old and half new: changes came faster than they can be listed."""
    message = (
        f"{storage.url}: was changed again and again while it was listed, so its lists may be half old and half new; "
        "open it again when the changes have ended"
    )
    report = Report(header, options)
    for folder in folders:
        report.incomplete(folder, unfinished.UNFINISHED, folder, message)


def _untold(step: str, done: int, total: int) -> None:
    """Progress that nobody wants to know."""


class _Discovery:
    def __init__(
        self, storage: Storage, options: DiscoveryOptions, progress: Progress | None, read: ReadOffsets
    ) -> None:
        self._read_offsets = read
        self.storage = storage
        self.options = options
        self._tell = progress or _untold
        place = inputs.place_of(storage)
        self.header = Header(options=options.to_json(), built_ns=time.time_ns(), place=place)
        self.report = Report(self.header, options)
        self.folders: dict[str, Folder] = {}
        self.datasets: set[str] = set()
        self.parts: dict[str, list[EntryTable]] = {}
        self._shown: dict[str, list[bytes]] = {}
        self.linked = Linked(self.folders, storage)
        self.unlisted: dict[str, str] = {}
        self.unseen: dict[str, str] = {}
        self._deciding = Deciding()
        self.blobs = Blobs(
            storage, self.folders, self.header, self.report, self._deciding, follow_links=options.follow_links
        )
        self._contents = Contents(storage, self.header, self.report, self.blobs.is_missing, self._deciding, self._tell)
        self._conflicts = Conflicts(self.header, self.report)

    def run(self) -> tuple[dict[str, EntryTable], Header]:
        self._list()
        found = layout.read_layout(self.folders)
        self._check_root(found)
        self.header.datasets.extend(found.datasets)
        self.datasets = set(found.datasets)
        self._note_unseen()
        self._note_outside()
        for path in self.folders:
            if not self._is_hidden(path, found.hidden):
                self._add_loose(path, found)
        self._report_odd()
        pickles = [pickle for dataset in found.datasets for pickle in find_pickles(self.folders, dataset)]
        self.blobs.look_inside(found.datasets)
        self.blobs.ask_together(sorted({pickle.blobs for pickle in pickles}))
        self._add_members(pickles)
        self._add_linked(found.hidden)
        self._report_unlisted()
        self.blobs.report_unreferenced()
        if self.storage.directory:
            unfinished.report(self.storage.directory, self.datasets, self.report, self._show)
        else:
            unfinished.report_push(self.folders, list(self.parts), self.datasets, self.report, self._show)
        merged = self._merge()
        self.header.inputs.extend(self._deciding.records(self.header.blobs))
        self.linked.spread(self.header.incomplete)
        return merged, self.header

    # -- what is there ---------------------------------------------------------------------------------------

    def _list(self) -> None:
        try:
            self._list_all()
        except NotAProjectError:  # a FileNotFoundError as well
            raise
        except FileNotFoundError as error:
            raise not_a_folder(self.storage, error) from error

    def _list_all(self) -> None:
        for folder in self.storage.walk(follow_links=self.options.follow_links):
            if folder.error is not None and not folder.path:
                raise not_a_folder(self.storage, folder.error) from folder.error
            self.folders[folder.path] = folder
            self._tell("folders", len(self.folders), 0)
            if inputs.is_input(folder.path):
                self.header.inputs.append(
                    inputs.folder_record(folder, self.header.built_ns, follow_links=self.options.follow_links)
                )
            if folder.error is not None and not self._is_state(folder.path):
                self.report.unread(folder.path, folder.error)
            if isinstance(folder.error, LinkError):
                self.unseen[folder.path] = str(folder.error)
            elif folder.error is not None and not self._is_state(folder.path):
                message = (
                    f"{folder.path}: can't be listed ({folder.error.strerror or folder.error}); "
                    f"{for_unlisted(folder.error)} and open the project again"
                )
                self.unlisted[folder.path] = message

    def _check_root(self, found: layout.Layout) -> None:
        if not check_root(self.storage, self.folders, found):
            message = f"{layout.META}: is missing, so classes and tags are unknown and the SDK won't open the project"
            self.report.warning("meta-missing", layout.META, message)

    @staticmethod
    def _is_state(path: str) -> bool:
        return path == layout.STATE_DIR or path.startswith(layout.STATE_DIR + "/")

    def _is_hidden(self, path: str, hidden: set[str]) -> bool:
        if self._is_state(path) or (PREFIX in path and any(map(is_temporary, path.split("/")))):
            return True
        if self.options.show_blobs:
            return False
        while path:
            if path in hidden:
                return True
            path = path.rpartition("/")[0]
        return False

    def _report_odd(self) -> None:
        """Say which keys behind a backend can't be shown; the list of the folder that they'd be in isn't whole."""
        for code, path, message in self.storage.odd:
            if not self._is_state(path):
                folder = next((parent for parent in parents_of(path) if parent in self.parts), "")
                self.report.incomplete(folder, code, path, message)

    # -- loose files -----------------------------------------------------------------------------------------

    def _add_loose(self, path: str, found: layout.Layout) -> None:
        listed = self.folders[path].entries
        if path and not self._is_dataset(path) and _are_plain(listed):
            kinds = {LOOSE: listed}
        else:
            kinds = self._sorted(path, listed, found.hidden)
        for source, entries in kinds.items():
            if not entries:
                continue
            table = entry_table(_encode("\0".join([entry.name for entry in entries])).split(b"\0"), source)
            if source == LOOSE:
                table.size[:] = [entry.size for entry in entries]
            elif source == LINK:
                targets = [self.linked.target(path, entry.target) for entry in entries]
                table.offset[:] = range(len(self.header.links), len(self.header.links) + len(entries))
                table.size[:] = [len(_encode(target)) for target in targets]
                self.header.links.extend(targets)
            elif source == BROKEN:
                table.offset[:] = [self._no_file(layout.join(path, entry.name)) for entry in entries]
            self.parts.setdefault(path, []).append(table)
        self.parts.setdefault(path, [])

    def _sorted(self, path: str, listed: list[Entry], hidden: set[str]) -> dict[int, list[Entry]]:
        """What is shown of a folder, by the source that its rows have."""
        is_dataset = self._is_dataset(path)
        kinds: dict[int, list[Entry]] = {DIRECTORY: [], LOOSE: [], LINK: [], BROKEN: []}
        for entry in listed:
            if entry.kind == "link" and layout.join(path, entry.name) in self.unseen:
                if not layout.labelled_by(layout.join(path, entry.name)):
                    kinds[DIRECTORY].append(entry)
                    self.parts.setdefault(layout.join(path, entry.name), [])
            elif not self._skip(path, entry, is_dataset, hidden):
                kinds[_SOURCES[entry.kind]].append(entry)
        return kinds

    def _is_dataset(self, path: str) -> bool:
        """Whether a folder is a dataset's, or is behind a link to one."""
        return path in self.datasets or self.linked.behind(path) in self.datasets

    def _note_unseen(self) -> None:
        """Find links in datasets that stand where a folder belongs, and lead to one that can't be shown there."""
        for dataset in filter(self.datasets.__contains__, self.folders):
            for entry in self.folders[dataset].entries:
                path = layout.join(dataset, entry.name)
                if entry.kind == "link" and layout.is_item_folder(entry.name) and self._is_folder(path):
                    self.linked.note_folder(path)
                    self.unseen[path] = (
                        f"{path}: is a symbolic link that leads in a circle, or to a folder that isn't shown; put a "
                        "folder there"
                    )

    def _note_outside(self) -> None:
        """Say which links out of the project stand where a dataset can be: one on another disk isn't shown."""
        for place in ("", *(f"{dataset}/{layout.NESTED}" for dataset in self.datasets), *self.datasets):
            for entry in self.folders[place].entries if place in self.folders else ():
                path = layout.join(place, entry.name)
                is_meant = not place or place.endswith(f"/{layout.NESTED}") or entry.name == layout.NESTED
                if entry.kind != "link" or not is_meant or path in self.unseen or self._is_state(path):
                    continue
                if self.storage.escapes(path) and (leads := self._leads_to(path)):
                    message = (
                        f"{path}: is a symbolic link {leads}, so a dataset that lies there isn't shown; "
                        "--follow-links (follow_links=True) shows it"
                    )
                    self.report.warning("link-outside", path, message)

    def _leads_to(self, path: str) -> str:
        """Where a link out of the project leads, in words; nothing where that is a file."""
        full = os.path.join(self.storage.directory, path)
        if os.path.isdir(full):
            return "that leads out of the project"
        return "" if os.path.lexists(real_path(full)) else "out of the project, to nothing that is there now"

    def _is_folder(self, path: str) -> bool:
        try:
            return self.storage.stat(path).kind == "directory"
        except (OSError, BlobdirError) as error:
            if none_left(error):
                raise
            return False

    def _skip(self, path: str, entry: Entry, is_dataset: bool, hidden: set[str]) -> bool:
        name, kind = entry.name, entry.kind
        if is_temporary(name) or (not path and name == layout.STATE_DIR):
            return True
        if kind == "directory" and self._is_hidden(layout.join(path, name), hidden):
            return True
        if is_dataset and layout.is_offsets(name) and not self.options.show_blobs:
            return True
        if kind == "other":
            full = layout.join(path, name)
            if not self._belongs_a_file(path, name):
                self.report.warning("not-a-file", full, f"{full}: is neither file, folder nor link; it isn't shown")
                return True
            if self.options.on_defect == "ignore":
                self._no_file(full)
                return True
        if not _is_name(name):
            full = layout.join(path, name)
            message = f"{full!r}: can't be a file name (empty, . or .., NUL, or over 255 bytes); it isn't shown"
            self.report.error("name", full, message)
            return True
        return False

    def _belongs_a_file(self, folder: str, name: str) -> bool:
        return layout.belongs_a_file(folder, self.datasets) if folder else name == layout.META

    def _no_file(self, path: str) -> int:
        return self.report.error("not-a-file", path, f"{path}: {NO_FILE}")

    # -- blobs and their members -----------------------------------------------------------------------------

    def _add_members(self, pickles: list[Pickle]) -> None:
        for low in range(0, len(pickles), _PICKLES_AT_ONCE):
            part = pickles[low : low + _PICKLES_AT_ONCE]
            stats = self._stat_pickles([pickle.path for pickle in part])
            for pickle, data in zip(part, self._open_pickles([p.path for p in part]), strict=True):
                self._tell("offsets", low, len(pickles))
                stat = stats.get(pickle.path)
                content = inputs.Content(data, stat, self.header.built_ns)
                if data is not None:
                    self._add_pickle(pickle, content)
                if stat is not None:
                    self.header.inputs.append(inputs.content_record(pickle.path, inputs.OFFSETS, stat, content))
        if pickles:
            self._tell("offsets", len(pickles), len(pickles))

    def _stat_pickles(self, paths: list[str]) -> dict[str, Stat]:
        """Attributes of files before they are read, so that a change in between shows."""
        if isinstance(self.storage, RemoteStorage):
            return dict.fromkeys(paths, Stat("file")) | self.storage.listed(paths)
        found = {}
        for path in paths:
            try:
                found[path] = self.storage.stat(path)
            except OSError as error:
                self.report.unread(path, error)
        return found

    def _open_pickles(self, paths: list[str]) -> Iterator[Source | bytes | None]:
        """Their contents; of files on this machine as what can be read bit by bit, and one after the other."""
        if self.storage.is_quick:
            yield from (self._open_pickle(self.storage.open, path) for path in paths)
            return
        try:
            found = list(self.storage.read_files(paths))
        except (OSError, BlobdirError):
            yield from (self._open_pickle(self.storage.read, path) for path in paths)
            return
        yield from found

    def _open_pickle(self, get: Callable[[str], Source | bytes], path: str) -> Source | bytes | None:
        try:
            return get(path)
        except (OSError, BlobdirError) as error:
            self._unreadable_pickle(path, error)
            return None

    def _unreadable_pickle(self, path: str, error: Exception) -> None:
        self.report.unread(path, error)
        message = f"{path}: can't be read ({str(error) or type(error).__name__}); its images are missing from the list"
        shown = layout.shown_by(path)
        self.report.incomplete(shown, "offsets-unreadable", path, message)
        self._show(shown)

    def _add_pickle(self, pickle: Pickle, content: inputs.Content) -> None:
        path, shown = pickle.path, pickle.shown
        self._show(shown)
        try:
            if not content.size and (message := self.blobs.emptied(path, pickle.blobs)):
                raise TruncatedOffsetsError(message)
            table = self._read_offsets(content, name=path, on_conflict=self.options.on_conflict)
            check_folders(table, path)
        except OffsetsError as error:
            self.report.incomplete(shown, f"offsets-{error.reason}", path, str(error), error)
            return
        except (OSError, BlobdirError, MemoryError) as error:
            self._unreadable_pickle(path, error)
            return
        if table.repeats:
            message = f"{path}: {table.repeats} entries stand in it more than once; exact repeats count as one"
            self.report.warning("offsets-repeated", path, message)
        source, defect = self.blobs.pair(pickle, table)
        start = np.asarray(table.start, np.int64)
        size = np.asarray(table.end, np.int64) - start
        if defect is not None:
            source, start = BROKEN, np.full(len(table), defect, np.int64)
        rows = EntryTable(
            np.asarray(table.arena, np.uint8),
            np.asarray(table.name_start, np.int64),
            np.full(len(table), source, np.int64),
            start,
            size,
        )
        self._place(shown, rows)
        self.linked.note(path, shown, rows)

    def _add_linked(self, hidden: set[str]) -> None:
        """Add to folders that are links what blobs show where the links lead to; say which of them aren't seen."""
        for path, rows in self.linked.members():
            if self._is_hidden(path, hidden):
                continue
            self._show(path)
            self._place(path, rows)
            self.unseen = {link: why for link, why in self.unseen.items() if not f"{path}/".startswith(f"{link}/")}
        for path, why in self.unseen.items():
            if path != layout.BLOB_DIR:  # that is said of each of its blobs
                self.unlisted[path] = why

    def _report_unlisted(self) -> None:
        """Say of folders that they can't be listed; of one of packed annotations, that the list of all is shorter."""
        for path, message in self.unlisted.items():
            dataset, _, name = path.rpartition("/")
            shown = path
            if name == layout.PACKED_ANNOTATIONS and dataset in self.datasets:
                shown = layout.join(dataset, layout.ANNOTATIONS)
                self._show(shown)
            self.report.incomplete(shown, "folder-unreadable", path, message)

    def _show(self, path: str) -> None:
        """Make sure that a directory is in the tree, and its parents know it."""
        missing = []
        while path not in self.parts:
            missing.append(path)
            path = path.rpartition("/")[0]
        for below in missing:
            self.parts[below] = []
        for below in missing:
            parent, _, name = below.rpartition("/")
            self._shown.setdefault(parent, []).append(_encode(name))

    def _place(self, shown: str, rows: EntryTable) -> None:
        """Add members to a directory, those with folders in their names to folders below it."""
        if not (rows.arena == ord("/")).any():
            self.parts[shown].append(rows)
            return
        for parent, table in by_folder(rows):
            below = layout.join(shown, _decode(parent))
            self._show(below)
            self.parts[below].append(table)

    # -- the result ------------------------------------------------------------------------------------------

    def _merge(self) -> dict[str, EntryTable]:
        merged: dict[str, EntryTable] = {}
        for path, names in self._shown.items():
            self.parts[path].append(entry_table(names, DIRECTORY))
        for path, parts in self.parts.items():
            merger = Merger(path, self.options.on_conflict, self._contents.read, self._conflicts.report)
            table = merged[path] = merger.merge(parts)
            broken = table.source == BROKEN
            if broken.any():  # who reads up to the size would take an unreadable file of no bytes for an empty one
                table.size[broken] = np.maximum(table.size[broken], 1)
        return merged


def _are_plain(entries: list[Entry]) -> bool:
    """Whether a folder's entries are all files, by names that are nothing special. No code runs per name."""
    kinds, names = {entry.kind for entry in entries}, [entry.name for entry in entries]
    return (
        kinds == {"file"}
        and _NO_NAMES.isdisjoint(names)
        and (joined := "\0" + "\0".join(names)).count("\0") == len(names)
        and f"\0{PREFIX}" not in joined
        and max(map(len, names)) <= _CHARACTERS
    )


def _is_name(name: str) -> bool:
    """Whether a file can be called so."""
    return not (name in _NO_NAMES or "\0" in name or (len(name) > _CHARACTERS and len(_encode(name)) > _NAME_MAX))


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
