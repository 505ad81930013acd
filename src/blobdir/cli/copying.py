"""``blobdir cat`` and ``blobdir cp``: files out of a project."""

from __future__ import annotations

import os
import sys
from codecs import getincrementaldecoder
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click
from fsspec.implementations.local import LocalFileSystem

from blobdir.cli.options import ADDRESS_HELP, CommonOptions, project_options
from blobdir.cli.output import Bars, complain, human_bytes, say
from blobdir.cli.target import Opener, Target, Whole
from blobdir.copyplan import MAGIC
from blobdir.discovery import copied, layout
from blobdir.durable import absolute, in_words, sync_file, sync_filesystem, sync_folder
from blobdir.errors import BlobdirError, IsADirectory, LinkError, UsageError
from blobdir.filenames import is_path
from blobdir.index import DIRECTORY, FIRST_BLOB, LINK
from blobdir.inside import MOST_WAYS
from blobdir.sources import RemoteOptions, backend_of, storage_options
from blobdir.sources.secrecy import without_secrets
from blobdir.temporary import clean, new_file
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO

    from blobdir.filesystem import BlobDirFileSystem
    from blobdir.loosefiles import OpenFile
    from blobdir.sources import Storage

BATCH_BYTES = 32 << 20
BATCH_FILES = 20_000
_LOOKED_AT_BYTES = 4096
FAILED = 7
NAMED_FAILURES = 20
CHANGED = "was copied, but is gone, or was replaced or cut by another program since; copy it again"
SYNC_EACH = 100
"""Files up to which each is brought to the disk by a call of its own."""


@click.command("cat", epilog=ADDRESS_HELP)
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@project_options
def cat_command(urls: tuple[str, ...], common: CommonOptions) -> None:
    """Write files to standard output, one after the other.

    \b
    blobdir cat /data/lemons/train/ann/a.jpg.json
    blobdir cat /data/lemons/train/img/a.jpg | file -
    """
    opener = Opener(common)
    targets = [(target, path) for target in map(opener.open, urls) for path in target.expand()]
    out = sys.stdout.buffer
    for target, path in targets:
        fs = target.filesystem
        if fs.isdir(path):
            raise IsADirectory(f"{target.typed}: is a directory")
        file = fs.view.open(fs.view.find(path))
        if file.size > BATCH_BYTES:
            file.check_size()
        _check_terminal(file, target.typed)
        for start in range(0, file.size, BATCH_BYTES):
            out.write(file.read(start, min(start + BATCH_BYTES, file.size)))
    out.flush()


def _check_terminal(file: OpenFile, typed: str) -> None:
    """Refuse to write what isn't text to a terminal: it could do anything to it."""
    if not sys.stdout.isatty():
        return
    beginning = file.read(0, min(file.size, _LOOKED_AT_BYTES))
    try:
        is_text = "\0" not in getincrementaldecoder("utf-8")().decode(beginning)
    except UnicodeDecodeError:
        is_text = False
    if not is_text:
        raise UsageError(f"{typed}: isn't text, and standard output is a terminal; send it to a file or a program")


@dataclass(frozen=True, slots=True)
class Copy:
    """One file to copy: from a path in a project to a path in the destination."""

    filesystem: BlobDirFileSystem
    path: str
    size: int
    target: str


@dataclass(slots=True)
class CopyPlan:
    """What is copied.

    Attributes
    ----------
    copies : list of Copy
    folders : list of str
        Folders of the destination that there must be, even with nothing in them.
    failures, unlisted, left_out : list of (str, str)
        Path -> why, of files that can't be copied, of folders that can't be listed, and of links to folders that aren't
        copied though they could be.
    """

    copies: list[Copy] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    unlisted: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


@click.command("cp", epilog=ADDRESS_HELP)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.argument("destination")
@click.option("-r", "--recursive", is_flag=True, help="Copy folders with all that is below them.")
@click.option("-f", "--force", is_flag=True, help="Replace files that are there already.")
@click.option("-p", "--preserve", is_flag=True, help="Keep modification times (local destinations).")
@project_options
def cp_command(
    sources: tuple[str, ...], destination: str, recursive: bool, force: bool, preserve: bool, common: CommonOptions
) -> int:
    """Copy files out of a project, to a folder or any fsspec URL.

    Each local file appears whole or not at all, and all are on the disk at the end. What is there already isn't touched
    without --force. A link inside the project is copied as what it leads to. Files that can't be read, links that lead
    out of the project or in circles are named at the end, the others are copied; exit status 7 says that some are
    missing. Folders aren't copied into a project: they would be more of its datasets. Nor is a file of which a blob has
    the name: `blobdir add --replace` replaces an image.

    \b
    blobdir cp /data/lemons/train/img/a.jpg .
    blobdir cp -r s3://bucket/lemons/train ./train
    blobdir cp '/data/lemons/*/img/*.png' png/
    """
    store = Destination(destination, common)
    return copy_all(sources, store, common, recursive=recursive, force=force, preserve=preserve)


def copy_all(
    sources: Sequence[str],
    store: Destination,
    common: CommonOptions,
    *,
    recursive: bool,
    force: bool,
    preserve: bool,
    whole_datasets: bool = False,
) -> int:
    """Copy everything that sources mean, say what couldn't be, and give the exit status.

    With `whole_datasets`, each dataset of a project has both ``img/`` and ``ann/`` then, which the SDK wants.

    Raises
    ------
    SourceChangedError
        A project was changed meanwhile: what was copied may be of two versions.
    """
    with Whole(common, listing=recursive) as whole:
        is_one = not recursive and len(sources) == 1 and MAGIC.isdisjoint(sources[0])  # and so of one version
        opener = Opener(common, None if is_one else whole)
        options = _CopyOptions(recursive, force, preserve, whole_datasets)
        return _copy_all(opener, sources, store, options, whole, quiet=common.quiet)


@dataclass(frozen=True, slots=True)
class _CopyOptions:
    recursive: bool
    force: bool
    preserve: bool
    whole_datasets: bool


def _copy_all(
    opener: Opener, sources: Sequence[str], store: Destination, options: _CopyOptions, whole: Whole, *, quiet: bool
) -> int:
    targets = [(target, path) for target in map(opener.open, sources) for path in target.expand()]
    plan = _plan(targets, store, recursive=options.recursive, whole_datasets=options.whole_datasets)
    copies = plan.copies
    _refuse_doubles(copies)
    store.check_unknown([copy.target for copy in copies])
    if not options.force and (there := store.existing([copy.target for copy in copies])):
        more = f" and {len(there) - 1:,} more files are" if len(there) > 1 else " is"
        raise UsageError(f"{there[0]}{more} there already; --force replaces them")
    unmade = store.make_folders(plan.folders)
    total, done, failures = sum(copy.size for copy in copies), 0, []
    written = 0
    with Bars(quiet, unit="B", scale=True) as bars:
        for batch in _batches(copies):
            failed, size = _copy_batch(batch, store, preserve=options.preserve)
            failures += failed
            written += size
            done += sum(copy.size for copy in batch)
            bars("copying", done, total)
    without = {path for path, _ in failures}
    good = [copy for copy in copies if copy.path not in without]
    gone = store.sync([copy.target for copy in good])
    failures += [(copy.path, CHANGED) for copy in good if copy.target in gone]
    good = [copy for copy in good if copy.target not in gone]
    _say_failures([*plan.unlisted, *plan.left_out, *plan.failures, *failures, *unmade])
    whole.check(f"what was copied to {store.shown} may be half of it and half of what is new: copy it again, --force")
    if not quiet:
        say(f"{counted(len(good), 'file')}, {human_bytes(written)} copied to {store.shown}")
    lost = len(plan.failures) + len(failures)
    if lost:
        all_known = not (plan.unlisted or plan.left_out)
        files = (
            f"{lost:,} of {counted(len(copies) + len(plan.failures), 'file')}" if all_known else counted(lost, "file")
        )
        complain(f"{files} could not be copied")
    for count, what in ((len(plan.unlisted), "listed"), (len(unmade), "made")):
        if count:
            complain(f"{counted(count, 'folder')} could not be {what}")
    if plan.left_out:
        links = counted(len(plan.left_out), "link to a folder was", "links to folders were")
        complain(f"{links} left out")
    return FAILED if lost or plan.unlisted or plan.left_out or unmade else 0


def _say_failures(failures: list[tuple[str, str]]) -> None:
    for path, error in failures[:NAMED_FAILURES]:
        complain(path, error)
    if len(failures) > NAMED_FAILURES:
        complain(f"and {len(failures) - NAMED_FAILURES:,} more")


class Destination:
    """Where copies go: a folder on this machine, or behind a backend."""

    def __init__(self, typed: str, common: CommonOptions) -> None:
        self.is_local = is_path(typed)
        if self.is_local:
            self.fs, self.root = LocalFileSystem(), absolute(typed)
        else:
            self.fs, self.root = backend_of(
                typed, storage_options(typed, common.storage), RemoteOptions(**common.remote).timeout
            )
            self.is_local = isinstance(self.fs, LocalFileSystem)
        self.shown = self.root if self.is_local else without_secrets(typed).rstrip("/")
        self._is_apart = False
        self._cleaned: set[str] = set()
        self._below: set[str] = set()
        self._written: dict[str, int] = {}
        self.is_folder = typed.endswith("/") or self.fs.isdir(self.root)

    def check_outside(self, storage: Storage) -> None:
        """Refuse folders copied into the project that they are from: what is copied would be more of its files."""
        if not (self.is_local and storage.directory):
            return
        place, root = os.path.realpath(self.root), os.path.realpath(storage.url)
        if f"{place}/".startswith(f"{root.rstrip('/')}/"):
            raise UsageError(f"{self.shown}: is in the project {root}, which is to be copied; choose a place outside")

    def check_apart(self) -> None:
        """Refuse a place in a project, or one that is a blob project: what is written would be more of its files."""
        from blobdir.discovery.root import refuse_inside
        from blobdir.moving.around import refuse_inside as refuse_inside_remote
        from blobdir.sources import RemoteStorage

        if self._is_apart:
            return
        if self.is_local:
            refuse_inside(self.root, itself=True)
        else:
            refuse_inside_remote(RemoteStorage(self.root, fs=self.fs), self.shown, itself=True)
        self._is_apart = True

    def check_unknown(self, paths: list[str]) -> None:
        """Refuse to write files where a project has something of their names that they wouldn't replace."""
        from blobdir.moving.around import refuse_known as refuse_known_remote
        from blobdir.packing.putting import refuse_known
        from blobdir.sources import RemoteStorage

        if self._is_apart:  # it is in no project
            return
        if self.is_local:
            refuse_known(paths)
        else:
            refuse_known_remote(RemoteStorage(self.root, fs=self.fs), self.shown, paths)

    def existing(self, paths: list[str]) -> list[str]:
        """Those of `paths` that are there."""
        if self.is_local:
            return [path for path in paths if os.path.lexists(path)]
        if not self.fs.exists(self.root):
            return []
        there = {self.fs._strip_protocol(path) for path in self.fs.find(self.root)}  # noqa: SLF001  # public in effect
        return [path for path in paths if self.fs._strip_protocol(path) in there]  # noqa: SLF001

    def write(self, path: str, data: bytes) -> None:
        """Write a small file; a local one appears whole or not at all."""
        if not self.is_local:
            self.fs.pipe_file(path, data)
            return
        with self._appearing(path) as file:
            file.write(data)

    def copy_large(self, copy: Copy) -> int:
        """Copy a file that shouldn't be in memory as a whole; its bytes."""
        with self._appearing(copy.target) if self.is_local else self.fs.open(copy.target, "wb") as file:
            copy.filesystem.get_file(copy.path, None, outfile=file)
            return int(file.tell())

    def make_folders(self, folders: list[str]) -> list[tuple[str, str]]:
        """Make folders, where they aren't just parts of names; (path, why) of those that can't be."""
        failures = []
        for path in dict.fromkeys(folders) if self.is_local else ():
            try:
                self._make_folder(path)
            except OSError as error:
                failures.append((path, in_words(error)))
        return failures

    def _make_folder(self, path: str) -> None:
        """Make a folder; below the destination, nothing is made or written through a symbolic link."""
        if path not in self._below and path.startswith(f"{self.root.rstrip('/')}/"):
            if link := self._linked(path):
                raise LinkError(f"{link}: is a symbolic link, and nothing is written through one; move it away")
            self._below.add(path)
        os.makedirs(path, exist_ok=True)

    def sync(self, paths: list[str]) -> set[str]:
        """Have files reach the disk, and their names; gives those that aren't there any more as they were written."""
        if not self.is_local or not paths:
            return set()
        if len(paths) > SYNC_EACH:
            sync_filesystem(os.path.dirname(paths[0]))
            return self._changed(paths)
        changed = self._changed(paths)
        paths = [path for path in paths if path not in changed]
        for path in paths:
            sync_file(path)
        for folder in dict.fromkeys(map(os.path.dirname, paths)):
            sync_folder(folder)
        return changed

    def _changed(self, paths: Iterable[str]) -> set[str]:
        found: set[str] = set()
        groups: dict[str, list[str]] = {}
        for path in paths:
            groups.setdefault(os.path.dirname(path), []).append(path)
        for folder, group in groups.items():
            sizes = self._sizes(folder)
            found.update(path for path in group if sizes.get(os.path.basename(path)) != self._written.get(path))
        return found

    def _sizes(self, folder: str) -> dict[str, int]:
        """Sizes of the plain files of a folder; of none, where a link has come into its place."""
        if folder in self._below and self._linked(folder):
            return {}
        with suppress(OSError):
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # by descriptor: no path is walked
            try:
                with os.scandir(fd) as scan:
                    return {
                        entry.name: entry.stat(follow_symlinks=False).st_size
                        for entry in scan
                        if entry.is_file(follow_symlinks=False)
                    }
            finally:
                os.close(fd)
        return {}

    def _linked(self, folder: str) -> str:
        """The first folder below the destination on the way to one of it that is a link; empty if none is."""
        above = (path for path in (*layout.above(folder), folder) if len(path) > len(self.root))
        return next(filter(os.path.islink, above), "")

    @contextmanager
    def _appearing(self, path: str) -> Iterator[BinaryIO]:
        """A file to write that gets its name at the end. What a dead process has left beside it goes before."""
        folder = os.path.dirname(path)
        if folder not in self._cleaned:
            self._make_folder(folder)
            clean(folder)
            self._cleaned.add(folder)
        with new_file(folder) as (temporary, descriptor):
            with open(descriptor, "wb", closefd=False) as file:
                yield file
                self._written[path] = file.tell()
            os.replace(temporary, path)


def _plan(targets: list[tuple[Target, str]], store: Destination, *, recursive: bool, whole_datasets: bool) -> CopyPlan:
    into = store.is_folder or len(targets) > 1
    plan = CopyPlan()
    for target, path in targets:
        fs = target.filesystem
        name = path.rpartition("/")[2] or os.path.basename(fs.view.url.rstrip("/"))
        base = f"{store.root.rstrip('/')}/{name}" if into else store.root
        if not fs.isdir(path):
            plan.copies.append(Copy(fs, path, fs.size(path), base))
            continue
        if not recursive:
            raise IsADirectory(f"{target.typed}: is a directory; -r copies it with all that is below it")
        if fs.view.lies_there:
            store.check_outside(fs.view.storage)
        store.check_apart()
        _plan_folder(plan, fs, path, base, whole_datasets=whole_datasets)
        if whole_datasets:
            prefix = f"{path}/" if path else ""
            for dataset in fs.view.index.header.datasets:
                if f"{dataset}/".startswith(prefix):
                    inside = layout.join(base, dataset[len(prefix) :])
                    plan.folders += [f"{inside}/{layout.ITEMS}", f"{inside}/{layout.ANNOTATIONS}"]
    return plan


def _plan_folder(plan: CopyPlan, fs: BlobDirFileSystem, path: str, base: str, *, whole_datasets: bool) -> None:
    """Take a folder with all that is below it; a link counts as what it leads to, unless that is above it.

    With `whole_datasets`, it doesn't where it would make datasets or images that the project doesn't show.
    """
    view, index = fs.view, fs.view.index
    first = len(plan.copies)
    folders: dict[str, str] = {}
    links: set[str] = set()
    ways: Counter[int] = Counter()
    todo: list[tuple[str, str, int, frozenset[int]]] = [(path, base, view.find(path), frozenset())]
    while todo:
        path, base, row, above = todo.pop()
        if row in above:
            plan.left_out.append((path, "is a link in a circle"))
            continue
        try:
            names, rows = view.names(row), view.children(row)
        except (BlobdirError, OSError) as error:
            plan.unlisted.append((path or "/", str(error)))
            continue
        folders[path] = base
        sources, sizes = index.source[rows.start : rows.stop].tolist(), index.size[rows.start : rows.stop].tolist()
        for child, name, source, size in zip(rows, names, sources, sizes, strict=True):
            below = layout.join(path, name)
            try:
                target = view.follow(child) if source == LINK else child
                if index.source[target] == DIRECTORY:
                    ways.update([target] if source == LINK else ())
                    links.update([below] if source == LINK else ())
                    more = [(below, f"{base}/{name}", target, above | {row})]
                    todo += more if ways[target] <= MOST_WAYS else ()
                    plan.left_out += [(below, copied.TOO_MANY)] if ways[target] > MOST_WAYS else ()
                    continue
                length = size if source >= FIRST_BLOB else view.size(target)
            except (BlobdirError, OSError) as error:
                plan.failures.append((below, str(error)))
            else:
                plan.copies.append(Copy(fs, below, length, f"{base}/{name}"))
    folders = _without_misleading(plan, first, links if whole_datasets else set(), folders, index.header.datasets)
    plan.folders += folders.values()


def _without_misleading(
    plan: CopyPlan, first: int, links: set[str], folders: dict[str, str], datasets: Sequence[str]
) -> dict[str, str]:
    """Leave out, and name, the links that must not be copied as folders; the folders without those behind them."""
    if not links:
        return folders
    copies = plan.copies[first:]
    bad = copied.misleading(links, folders.keys() - {""}, [copy.path for copy in copies], datasets)
    plan.left_out += [(link, copied.WHY) for link in sorted(bad) if not copied.is_below(link, bad)]
    plan.copies[first:] = [copy for copy in copies if not copied.is_behind(copy.path, bad)]
    return {path: base for path, base in folders.items() if not copied.is_behind(path, bad)}


def _refuse_doubles(copies: list[Copy]) -> None:
    seen: dict[str, str] = {}
    for copy in copies:
        if seen.setdefault(copy.target, copy.path) != copy.path:
            raise UsageError(f"{copy.target}: both {seen[copy.target]} and {copy.path} would be copied there")


def _batches(copies: list[Copy]) -> Iterator[list[Copy]]:
    """Neighbours of one project, of bounded size: they are read together."""
    batch: list[Copy] = []
    size = 0
    for copy in copies:
        full = size + copy.size > BATCH_BYTES or len(batch) == BATCH_FILES
        if batch and (full or copy.filesystem is not batch[0].filesystem):
            yield batch
            batch, size = [], 0
        batch.append(copy)
        size += copy.size
    if batch:
        yield batch


def _copy_batch(batch: list[Copy], store: Destination, *, preserve: bool) -> tuple[list[tuple[str, str]], int]:
    """Copy some files: (path, why) of those that can't be, and bytes of the others, which may have grown since."""
    failures, written = [], 0
    fs = batch[0].filesystem
    large = len(batch) == 1 and batch[0].size > BATCH_BYTES
    found = {} if large else fs.cat([copy.path for copy in batch], on_error="return")
    for copy in batch:
        data = found.get(copy.path)
        try:
            if isinstance(data, BaseException):
                raise data
            if data is None:
                size = store.copy_large(copy)
            else:
                store.write(copy.target, data)
                size = len(data)
            if preserve and store.is_local:
                mtime = fs.info(copy.path)["mtime"]
                os.utime(copy.target, (mtime, mtime))
            written += size
        except (BlobdirError, OSError) as error:
            failures.append((copy.path, in_words(error, copy.target if store.is_local else "")))
    return failures, written
