"""From what a user types to a project and a path in it."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fsspec.core import url_to_fs

from blobdir.copyplan import MAGIC
from blobdir.discovery.layout import BLOB_DIR, META
from blobdir.discovery.tarplaces import is_called_tar
from blobdir.durable import absolute
from blobdir.errors import NotAProjectError, NotFoundError, UsageError
from blobdir.filenames import is_path
from blobdir.filesystem import BlobDirFileSystem
from blobdir.opening import is_tar, matches_tars, tar_place
from blobdir.sources import RemoteOptions, RemoteStorage, Storage, open_storage, split_copies, storage_options
from blobdir.sources.backend import outcome
from blobdir.sources.places import without_short_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.cli.options import CommonOptions
    from blobdir.packing.locking import Check


@dataclass(frozen=True, slots=True)
class Target:
    """A path in an open project.

    Attributes
    ----------
    filesystem : BlobDirFileSystem
    path : str
        In the project; empty for its root.
    typed : str
        As the user gave it.
    """

    filesystem: BlobDirFileSystem
    path: str
    typed: str

    def expand(self) -> list[str]:
        """Paths that are meant: the path itself, or what the pattern matches.

        Raises
        ------
        NotFoundError
            There is nothing of that name, or nothing matches.
        """
        if self.filesystem.exists(self.path) or MAGIC.isdisjoint(self.path):
            self.filesystem.view.find(self.path, follow=False)
            return [self.path]
        found: list[str] = self.filesystem.glob(self.path)
        if not found:
            raise NotFoundError(f"{self.typed}: nothing in {self.filesystem.view.url} matches {self.path}")
        return found


class Whole(ExitStack):
    """Projects that are read as a whole until the block ends: what is made of one is of one version, or an error.

    Parameters
    ----------
    common : CommonOptions
    listing : bool
        As of `blobdir.moving.watching.read_whole`.
    """

    def __init__(self, common: CommonOptions, *, listing: bool = True) -> None:
        super().__init__()
        self._common, self._listing = common, listing
        self._checks: list[Check] = []

    def begin(self, project: str) -> None:
        """Have a project stay as it is, or have it looked at: to be called before it's opened.

        Of tars, each is read in the version that it has when it's opened.
        """
        from blobdir.moving.watching import read_whole

        if tar_place(project) is not None:
            return
        remote = RemoteOptions(**self._common.remote)
        storage = open_storage(project, options=self._common.storage, remote=remote)
        self._checks.append(self.enter_context(read_whole(storage, listing=self._listing)))

    def check(self, then: str) -> None:
        """Raise `SourceChangedError` where one of them was changed since, with what to do then."""
        for check in self._checks:
            check(then)


class Opener:
    """Opens each project once, however many of its files are named.

    Parameters
    ----------
    common : CommonOptions
    whole : Whole, optional
        Where the projects are read as a whole.
    """

    def __init__(self, common: CommonOptions, whole: Whole | None = None) -> None:
        self._common, self._whole = common, whole
        self._opened: dict[str, BlobDirFileSystem] = {}

    def open(self, typed: str) -> Target:
        """Find the project that an argument means, and open it.

        Raises
        ------
        NotAProjectError
            There is no project at, or above, the place.
        UsageError
            A chained URL without an end, or an unknown protocol.
        """
        typed = without_short_hosts(typed)
        if typed.startswith("blobdir://"):
            path, _, root = typed.removeprefix("blobdir://").partition("::")
            if not root:
                raise UsageError(f"{typed}: say in which project: blobdir://{path}::/data/lemons")
        elif not is_path(typed):
            root, path = self._split_remote(typed)
        else:
            root, path = split_local(typed, shows_blobs=bool(self._common.filesystem.get("show_blobs")))
        return Target(self._filesystem(root), path.strip("/"), typed)

    def _filesystem(self, root: str) -> BlobDirFileSystem:
        if root not in self._opened:
            from blobdir.cli.output import Bars

            if self._whole is not None:
                self._whole.begin(root)
            with Bars(self._common.quiet) as bars:
                options: dict[str, Any] = {**self._common.filesystem, **self._common.remote}
                self._opened[root] = BlobDirFileSystem(
                    root, target_options=self._common.storage, skip_instance_cache=True, progress=bars, **options
                )
        return self._opened[root]

    def _split_remote(self, typed: str) -> tuple[str, str]:
        copies, place = split_copies(typed)
        first, chain, rest = place.partition("::")
        protocol, _, bare = first.rpartition("://")
        parts = bare.rstrip("/").split("/")
        prefix = copies + (f"{protocol}://" if protocol else "")
        for depth in range(len(parts), 0, -1):
            root = prefix + "/".join(parts[:depth]) + chain + rest
            if is_called_tar(parts[depth - 1]) and tar_place(root) is not None:
                return root, "/".join(parts[depth:])
        remote = RemoteOptions(**self._common.remote)
        storage = open_storage(typed, options=self._common.storage, remote=remote)
        options = storage_options(typed, self._common.storage)
        roots = {depth: prefix + "/".join(parts[:depth]) + chain + rest for depth in range(len(parts), 0, -1)}
        places = {depth: url_to_fs(root, **options)[1].rstrip("/") for depth, root in roots.items()}
        for marker in (META, BLOB_DIR):
            found = _are_there(storage, [f"{place}/{marker}" for place in places.values()])
            for (depth, root), is_there in zip(roots.items(), found, strict=True):  # the nearest one counts
                if is_there:
                    return root, "/".join(parts[depth:])
        return typed, ""


def _are_there(storage: Storage, paths: list[str]) -> Iterator[bool]:
    """Which files or folders a backend has, asked for at once; an error only where the server has never answered."""
    if not isinstance(storage, RemoteStorage):
        yield from map(os.path.exists, paths)
        return
    backend, what = storage.backend, storage.url
    asked = ((what, outcome(backend.info(path, what))) for path in paths)
    for found in backend.run_many(asked, len(paths)):
        if isinstance(found, OSError) and not backend.has_answered:
            raise found
        yield not isinstance(found, OSError)


def split_local(typed: str, *, shows_blobs: bool = False) -> tuple[str, str]:
    """Split a local path into its project and the path in it: the nearest folder above that holds ``meta.json``.

    A tar is nearer than any of them, unless the project shows its blobs, and so are tars that a pattern matches.
    """
    full = absolute(typed)
    parts = full.split("/")
    tars = (depth for depth in range(len(parts), 0, -1) if is_tar("/".join(parts[:depth])))
    tar = next(tars, 0)
    if tar and not shows_blobs:
        return "/".join(parts[:tar]), "/".join(parts[tar:])
    if not shows_blobs and matches_tars(full):
        return full, ""
    for marker in (META, BLOB_DIR):
        for depth in range(len(parts), 0, -1):
            root = "/".join(parts[:depth]) or "/"
            if os.path.exists(os.path.join(root, marker)):
                return root, "/".join(parts[depth:])
    if tar:
        return "/".join(parts[:tar]), "/".join(parts[tar:])
    if tar_place(full) is not None:
        return full, ""
    if not os.path.exists(full):
        above = ("/".join(parts[:depth]) for depth in range(len(parts) - 1, 0, -1))
        pattern = next((root for root in above if tar_place(root) is not None), "")
        if pattern:
            raise NotAProjectError(f"{typed}: no such tar, and a pattern of tars has no path behind it; open {pattern}")
        raise NotAProjectError(f"{typed}: doesn't exist, and no folder above it is a blob project (holds {META})")
    return full, ""
