"""``blobdir cat`` and ``blobdir cp``: files out of a project."""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from blobdir.cli.app import ADDRESS_HELP, CommonOptions, project_options
from blobdir.cli.output import Bars, human_bytes, printable
from blobdir.cli.target import Opener, Target
from blobdir.errors import BlobdirError, IsADirectory, UsageError
from blobdir.sources import storage_options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from blobdir.filesystem import BlobDirFileSystem

BATCH_BYTES = 32 << 20
BATCH_FILES = 2000
FAILED = 7
NAMED_FAILURES = 20


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
        size = fs.size(path)
        for start in range(0, size, BATCH_BYTES):
            out.write(fs.cat_file(path, start, min(start + BATCH_BYTES, size)))
    out.flush()


@dataclass(frozen=True, slots=True)
class Copy:
    """One file to copy: from a path in a project to a path in the destination."""

    filesystem: BlobDirFileSystem
    path: str
    size: int
    target: str


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

    Each local file appears whole or not at all. What is there already isn't touched without --force. Files that
    can't be read are named at the end, the others are copied.

    \b
    blobdir cp /data/lemons/train/img/a.jpg .
    blobdir cp -r s3://bucket/lemons/train ./train
    blobdir cp '/data/lemons/*/img/*.png' png/
    """
    store = Destination(destination, common.storage)
    return copy_all(sources, store, common, recursive=recursive, force=force, preserve=preserve)


def copy_all(
    sources: Sequence[str],
    store: Destination,
    common: CommonOptions,
    *,
    recursive: bool,
    force: bool,
    preserve: bool,
) -> int:
    """Copy everything that sources mean, say what couldn't be, and give the exit status."""
    opener = Opener(common)
    targets = [(target, path) for target in map(opener.open, sources) for path in target.expand()]
    copies = list(_plan(targets, store, recursive=recursive))
    _refuse_doubles(copies)
    if not force and (there := store.existing([copy.target for copy in copies])):
        more = f" and {len(there) - 1:,} more files are" if len(there) > 1 else " is"
        raise UsageError(f"{there[0]}{more} there already; --force replaces them")
    failures = []
    total, done = sum(copy.size for copy in copies), 0
    with Bars(common.quiet, unit="B", scale=True) as bars:
        for batch in _batches(copies):
            failures += _copy_batch(batch, store, preserve=preserve)
            done += sum(copy.size for copy in batch)
            bars("copying", done, total)
    for path, error in failures[:NAMED_FAILURES]:
        click.echo(f"blobdir: {printable(path, terminal=True)}: {error}", err=True)
    if not common.quiet:
        good = len(copies) - len(failures)
        click.echo(f"{good:,} files, {human_bytes(total)} copied to {store.shown}", err=True)
    if failures:
        click.echo(f"blobdir: {len(failures):,} of {len(copies):,} files could not be copied", err=True)
    return FAILED if failures else 0


class Destination:
    """Where copies go: a folder on this machine, or behind a backend."""

    def __init__(self, typed: str, options: dict[str, Any]) -> None:
        self.is_local = "://" not in typed and "::" not in typed
        if self.is_local:
            self.fs, self.root = LocalFileSystem(), os.path.abspath(typed)
        else:
            self.fs, self.root = url_to_fs(typed, **storage_options(typed, options))
            self.is_local = isinstance(self.fs, LocalFileSystem)
        self.shown = self.root if self.is_local else self.root.split("?")[0]
        self.is_folder = typed.endswith("/") or self.fs.isdir(self.root)

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
        with self._appearing(path) as temporary, open(temporary, "wb") as file:
            file.write(data)

    def copy_large(self, copy: Copy) -> None:
        """Copy a file that shouldn't be in memory as a whole."""
        if self.is_local:
            with self._appearing(copy.target) as temporary:
                copy.filesystem.get_file(copy.path, temporary)
            return
        with self.fs.open(copy.target, "wb") as file:
            copy.filesystem.get_file(copy.path, None, outfile=file)

    @staticmethod
    def _appearing(path: str) -> _Appearing:
        return _Appearing(path)


class _Appearing:
    """A temporary name that becomes the real one at the end, or goes away."""

    def __init__(self, path: str) -> None:
        self._path = path
        folder, name = os.path.split(path)
        os.makedirs(folder, exist_ok=True)
        self._temporary = os.path.join(folder, f".{name[:200]}.{secrets.token_hex(4)}")

    def __enter__(self) -> str:
        return self._temporary

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            os.replace(self._temporary, self._path)
        else:
            with suppress(OSError):
                os.unlink(self._temporary)


def _plan(targets: list[tuple[Target, str]], store: Destination, *, recursive: bool) -> Iterator[Copy]:
    into = store.is_folder or len(targets) > 1
    for target, path in targets:
        fs = target.filesystem
        name = path.rpartition("/")[2] or os.path.basename(fs.view.storage.url.rstrip("/"))
        base = f"{store.root.rstrip('/')}/{name}" if into else store.root
        if not fs.isdir(path):
            yield Copy(fs, path, fs.size(path), base)
            continue
        if not recursive:
            raise IsADirectory(f"{target.typed}: is a directory; -r copies it with all that is below it")
        prefix = len(path) + 1 if path else 0
        for parent, _, _ in fs.walk(path, on_error="raise"):
            for info in fs.scandir(parent):
                if info["type"] == "file":
                    yield Copy(fs, info["name"], info["size"], f"{base}/{info['name'][prefix:]}")


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


def _copy_batch(batch: list[Copy], store: Destination, *, preserve: bool) -> list[tuple[str, str]]:
    failures = []
    fs = batch[0].filesystem
    large = len(batch) == 1 and batch[0].size > BATCH_BYTES
    found = {} if large else fs.cat([copy.path for copy in batch], on_error="return")
    for copy in batch:
        data = found.get(copy.path)
        try:
            if isinstance(data, BaseException):
                raise data
            if data is None:
                store.copy_large(copy)
            else:
                store.write(copy.target, data)
            if preserve and store.is_local:
                mtime = fs.info(copy.path)["mtime"]
                os.utime(copy.target, (mtime, mtime))
        except (BlobdirError, OSError) as error:
            failures.append((copy.path, str(error)))
    return failures
