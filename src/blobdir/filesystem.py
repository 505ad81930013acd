"""The fsspec face: a thin, synchronous adapter over `blobdir.tree.Tree`."""

from __future__ import annotations

import datetime
import hashlib
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from fsspec.utils import stringify_path

from blobdir.discovery import DiscoveryOptions
from blobdir.errors import (
    BlobdirError,
    IncompleteListingError,
    IsADirectory,
    LinkError,
    NotFoundError,
    ReadError,
    UsageError,
)
from blobdir.exporting import ExportingFileSystem
from blobdir.filenames import are_plain
from blobdir.index import DIRECTORY, FIRST_BLOB, LINK, LOOSE
from blobdir.instances import SharedInstances, of_one_tree
from blobdir.memberfile import MemberFile
from blobdir.opening import OpenOptions, open_tree, renewed
from blobdir.ranges import total_of
from blobdir.sources import RemoteOptions
from blobdir.sources.options import MEMORY_BYTES
from blobdir.writing import NewFile, WritingFileSystem

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from typing import Self

    from fsspec import AbstractFileSystem

    from blobdir.tree import Tree

LOOK_AGAIN_S, LOOK_AGAIN_REMOTE_S = 1.0, 600.0
"""Seconds after which an instance that is asked for again looks whether its project has changed."""
_ROWS_AT_ONCE = 10_000
_MAGIC = frozenset("*?[")
_TYPE_BITS = {"directory": stat.S_IFDIR, "link": stat.S_IFLNK, "file": stat.S_IFREG}


class BlobDirFileSystem(ExportingFileSystem, WritingFileSystem, metaclass=SharedInstances):
    """Blob projects as ordinary folders; those on this machine can be changed inside ``with fs.transaction:``.

    Parameters
    ----------
    fo : str or path
        The project: a folder, or any fsspec URL.
    target_protocol : str, optional
        Protocol of `fo`, where it's a bare path.
    target_options : dict, optional
        Options for the backend of `fo`.
    fs : AbstractFileSystem, optional
        The backend itself, instead of the two.
    index : str
        ``"auto"``, ``"none"`` or a folder; see `blobdir.opening.OpenOptions`.
    show_blobs, follow_links, on_conflict, on_defect
        See `blobdir.discovery.DiscoveryOptions`.
    cache_dir, cache_size, memory_size, timeout, gap_size, request_size
        For projects that aren't on this machine; see `blobdir.sources.RemoteOptions`.
    progress : callable, optional
        Told how far a long discovery is.

    Notes
    -----
    An instance shows the project as it was when it was opened; `invalidate_cache` opens it anew. Loose files
    (annotations) are read as they are now. fsspec shares instances: who asks for one again, by URL or
    ``fsspec.filesystem``, gets the same, and that then looks whether the project has changed since: on this machine
    once a second at the most; a remote project is opened anew after ten minutes. What has begun goes on with what it
    began with: an open file, a listing, a walk.

    Threads may share an instance; it can be pickled, and used after fork and spawn.

    Examples
    --------
    >>> import blobdir.demo, fsspec
    >>> fs = fsspec.filesystem("blobdir", fo=str(blobdir.demo.path()))
    >>> fs.ls("", detail=False)
    ['README.md', 'meta.json', 'test', 'train']
    """

    protocol = "blobdir"
    root_marker = ""
    cachable = True

    def __init__(
        self,
        fo: str | os.PathLike[str] = "",
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        fs: AbstractFileSystem | None = None,
        *,
        index: str = "auto",
        show_blobs: bool = False,
        follow_links: bool = False,
        on_conflict: str = "error",
        on_defect: str = "refuse",
        cache_dir: str | os.PathLike[str] | None = None,
        cache_size: int | str | None = None,
        memory_size: int | str = MEMORY_BYTES,
        timeout: float = 60.0,
        gap_size: int | str | None = None,
        request_size: int | str | None = None,
        progress: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not fo and fs is None:
            raise UsageError(
                "give the project, as fo=… or behind '::' in the URL: blobdir://train/img/a.jpg::/data/lemons"
            )
        self.fo = fo
        self._target: dict[str, Any] = {"protocol": target_protocol, "target_options": target_options, "fs": fs}
        self._options = OpenOptions(
            DiscoveryOptions(show_blobs, follow_links, on_conflict, on_defect),  # type: ignore[arg-type]  # checked there
            index,
            RemoteOptions(cache_dir, cache_size, memory_size, timeout, gap_size, request_size),
        )
        self._progress = progress
        self._is_still = False
        self._looked_s = -1.0
        self.invalidate_cache()

    def __reduce__(self) -> Any:
        # A progress bar belongs to the process that shows it.
        make, (cls, args, options) = super().__reduce__()
        return make, (cls, args, {key: value for key, value in options.items() if key != "progress"})

    def invalidate_cache(self, path: str | None = None) -> None:
        """Open the project anew, to see what was added or replaced since."""
        held = before.blobs if (before := self.__dict__.get("view")) else None
        self.view: Tree = open_tree(
            self.fo, options=self._options, progress=self._progress, hold=lambda blobs: blobs.hold(held), **self._target
        )
        self._looked_s = time.monotonic()

    def look_again(self) -> None:
        """Open the project anew if it has changed, and the last look was long ago."""
        is_quick = self.view.storage.is_quick
        if self._intrans or time.monotonic() - self._looked_s < (LOOK_AGAIN_S if is_quick else LOOK_AGAIN_REMOTE_S):
            return
        if is_quick and renewed(self.view.index.header, self.view.storage, self._options.discovery):
            self._looked_s = time.monotonic()
        else:
            self.invalidate_cache()

    def still(self) -> Self:
        """The same filesystem, always with the tree of now."""
        if self._is_still:
            return self
        found = object.__new__(type(self))
        found.__dict__.update(self.__dict__, _is_still=True)
        return found

    @property
    def fsid(self) -> str:
        """One identifier per project."""
        return f"blobdir-{hashlib.sha256(self.view.storage.url.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(p) for p in path]
        path = stringify_path(path)
        if path.startswith("blobdir://"):  # "::" and what follows is the rest of a chain; elsewhere, part of a name
            path = path.removeprefix("blobdir://").partition("::")[0]
        return _canonical(path.strip("/"))

    def _find(self, path: Any, *, follow: bool = True) -> tuple[str, int]:
        path = self._strip_protocol(path)
        return path, self.view.find(path, follow=follow)

    # -- listings --------------------------------------------------------------------------------------------

    @of_one_tree
    def info(self, path: Any, **kwargs: Any) -> dict[str, Any]:
        """Name, size, type, mtime and mode of a file or directory; ``ino`` is its stable inode number."""
        path, row = self._find(path, follow=False)
        return self._info(path, row)

    def _info(self, path: str, row: int) -> dict[str, Any]:
        attributes = self.view.attributes(row)
        found: dict[str, Any] = {"name": path, "size": attributes.size, "type": attributes.kind}
        if attributes.kind == "link":
            found |= {"islink": True, "destination": self.view.link_target(row)}
            try:
                attributes = self.view.attributes(self.view.follow(row))
            except BlobdirError:  # leads outside, or nowhere
                return found
            found |= {"size": attributes.size, "type": attributes.kind}
        mode = _TYPE_BITS[attributes.kind] | attributes.mode
        found |= {"mtime": attributes.mtime_ns / 1e9, "mode": mode, "ino": row + 1}
        if attributes.uid >= 0:
            found |= {"uid": attributes.uid, "gid": attributes.gid}
        return found

    @of_one_tree
    def ls(self, path: Any, detail: bool = True, **kwargs: Any) -> list[Any]:
        """Children of a directory in the order of their names' bytes, or the file itself.

        A symbolic link to a file counts as that file. One to a folder is a leaf of type ``"other"``, here and in
        `find`, `walk`, `glob`, `du` and `get`, so that nothing is there twice; what it leads to answers by name.

        With ``detail=False`` no dictionary is made, and nothing is asked of loose files.
        """
        path, row = self._find(path)
        if not self.view.is_directory(row):
            return [self.info(path)] if detail else [path]
        prefix = f"{path}/" if path else ""
        if not detail:
            names = self.view.names(row)
            return [prefix + name for name in names] if prefix else names
        return list(self._infos(prefix, self.view.children(row)))

    @of_one_tree
    def scandir(self, path: Any) -> Iterator[dict[str, Any]]:
        """The dictionaries of ``ls``, one after the other: a directory of a million takes no more memory than one."""
        path, row = self._find(path)
        yield from self._infos(f"{path}/" if path else "", self.view.children(row))

    def _infos(self, prefix: str, rows: range) -> Iterator[dict[str, Any]]:
        for first in range(rows.start, rows.stop, _ROWS_AT_ONCE):
            yield from self._infos_of(prefix, range(first, min(first + _ROWS_AT_ONCE, rows.stop)))

    def _infos_of(self, prefix: str, rows: range) -> Iterator[dict[str, Any]]:
        index = self.view.index
        names = index.names_text(rows.start, rows.stop)
        sources, sizes = index.source[rows.start : rows.stop].tolist(), index.size[rows.start : rows.stop].tolist()
        blobs = index.header.blobs
        for row, name, source, size in zip(rows, names, sources, sizes, strict=True):
            if source < FIRST_BLOB:
                try:
                    found = self._info(prefix + name, row)
                except NotFoundError:
                    continue  # a loose file that was removed since
                except (LinkError, ReadError, PermissionError):  # what can't be looked at says why to who reads it
                    found = {"name": prefix + name, "size": max(size, 0), "type": "file", "ino": row + 1}
                if found["type"] == "directory" and source == LINK:  # a leaf, as for `LocalFileSystem`
                    found["type"] = "other"
                yield found
                continue
            blob = blobs[source - FIRST_BLOB]
            found = {
                "name": prefix + name,
                "size": size,
                "type": "file",
                "mtime": blob.mtime_ns / 1e9,
                "mode": stat.S_IFREG | (blob.mode & 0o555 if blob.mode >= 0 else 0o444),
                "ino": row + 1,
            }
            if blob.uid >= 0:
                found |= {"uid": blob.uid, "gid": blob.gid}
            yield found

    def exists(self, path: Any, **kwargs: Any) -> bool:
        """Whether there is such a file or directory.

        Raises
        ------
        IncompleteListingError
            Nobody can know: its folder's list of names isn't complete.
        """
        return self._kind(path) != ""

    def isfile(self, path: Any) -> bool:
        """Whether there is such a file. Raises as `exists` does."""
        return self._kind(path) == "file"

    def isdir(self, path: Any) -> bool:
        """Whether there is such a directory. Raises as `exists` does."""
        return self._kind(path) == "directory"

    def _kind(self, path: Any) -> str:
        view = self.view
        try:
            return "directory" if view.is_directory(view.find(self._strip_protocol(path))) else "file"
        except IncompleteListingError:
            raise
        except BlobdirError:
            return ""

    def _below(self, path: str, row: int, maxdepth: int | None) -> Iterator[tuple[str, list[str], range]]:
        """(prefix, names, rows) of the directory and of those below it, links not followed."""
        todo = [(path, row, 1)]
        while todo:
            path, row, depth = todo.pop()
            prefix = f"{path}/" if path else ""
            names, rows = self.view.names(row), self.view.children(row)
            yield prefix, names, rows
            if maxdepth is None or depth < maxdepth:
                folders = np.flatnonzero(self.view.index.source[rows.start : rows.stop] == DIRECTORY)
                todo += [(prefix + names[i], rows.start + i, depth + 1) for i in folders[::-1].tolist()]

    @of_one_tree
    def find(
        self, path: Any, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **kwargs: Any
    ) -> Any:
        """All files below a path, sorted; with `withdirs`, directories too.

        Parameters
        ----------
        maxdepth : int, optional
            Levels to go down; at least 1.
        detail : bool
            A dictionary name -> info instead of a list of names.
        """
        if maxdepth is not None and maxdepth < 1:
            raise UsageError("maxdepth must be at least 1")
        attributes = kwargs.get("attributes", True)
        try:
            path, row = self._find(path)
        except (NotFoundError, NotADirectoryError):
            return {} if detail else []
        if not self.view.is_directory(row):
            return {path: self.info(path)} if detail else [path]
        found: dict[str, Any] = {}
        listed: list[str] = []
        if withdirs and path:
            found[path] = self.info(path)
            listed.append(path)
        for prefix, names, rows in self._below(path, row, maxdepth):
            sources = self.view.index.source[rows.start : rows.stop]
            folders = set() if withdirs else set(np.flatnonzero(sources == DIRECTORY).tolist())
            if not detail:
                listed += [prefix + name for i, name in enumerate(names) if i not in folders]
            elif attributes:
                infos = self._infos(prefix, rows)
                found.update((info["name"], info) for info in infos if withdirs or info["type"] != "directory")
            else:
                for i, (name, source) in enumerate(zip(names, sources.tolist(), strict=True)):
                    if i not in folders:
                        kind = "directory" if source == DIRECTORY else "file"
                        found[prefix + name] = {"name": prefix + name, "size": None, "type": kind}
        return {name: found[name] for name in sorted(found)} if detail else sorted(listed)

    @of_one_tree
    def glob(self, path: Any, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """Paths that match a pattern; ``**`` goes through directories."""
        if kwargs.get("detail"):
            return super().glob(path, maxdepth=maxdepth, **kwargs)
        # Which names match is decided without asking loose files for their size.
        return super().glob(path, maxdepth=maxdepth, attributes=False, **kwargs)

    @of_one_tree
    def walk(
        self, path: Any, maxdepth: int | None = None, topdown: bool = True, on_error: Any = "omit", **kwargs: Any
    ) -> Iterator[Any]:
        """As `os.walk`: (path, directories, files); lists of names, or dictionaries with ``detail=True``."""
        if maxdepth is not None and maxdepth < 1:
            raise UsageError("maxdepth must be at least 1")
        detail = bool(kwargs.get("detail"))
        todo: list[tuple[str, int | None, tuple[Any, Any] | None]] = [(self._strip_protocol(path), maxdepth, None)]
        while todo:  # folders can lie deeper than functions can call each other
            path, levels, done = todo.pop()
            if done:
                yield path, *done
                continue
            try:
                folders, files = self._parted(path, self.view.find(path), detail=detail)
            except OSError as error:
                # That a folder isn't there may be left out; a list that is shorter than the truth may not.
                if on_error == "raise" or (isinstance(error, IncompleteListingError) and not callable(on_error)):
                    raise
                if callable(on_error):
                    on_error(error)
                continue
            if topdown:
                yield path, folders, files  # whoever is told may remove some of them
            else:
                todo.append((path, levels, (folders, files)))
            if levels != 1:
                prefix = f"{path}/" if path else ""
                todo += [(prefix + name, levels and levels - 1, None) for name in reversed(list(folders))]

    def _parted(self, path: str, row: int, *, detail: bool) -> tuple[Any, Any]:
        if not self.view.is_directory(row):  # as fsspec does: joined with the name, the path is the file's
            return ({}, {"": self.info(path)}) if detail else ([], [""])
        if detail:
            parts: tuple[dict[str, Any], dict[str, Any]] = {}, {}
            for info in self._infos(f"{path}/" if path else "", self.view.children(row)):
                parts[info["type"] != "directory"][info["name"].rpartition("/")[2]] = info
            return parts
        names, rows = self.view.names(row), self.view.children(row)
        sources = self.view.index.source[rows.start : rows.stop]
        folders = [names[i] for i in np.flatnonzero(sources == DIRECTORY).tolist()]
        inside = set(folders)
        return folders, [name for name in names if name not in inside] if folders else names

    @of_one_tree
    def du(
        self, path: Any, total: bool = True, maxdepth: int | None = None, withdirs: bool = False, **kwargs: Any
    ) -> Any:
        """Bytes below a path: one number, or a dictionary name -> bytes with ``total=False``."""
        if not total:
            return super().du(path, total=False, maxdepth=maxdepth, withdirs=withdirs, **kwargs)
        try:
            path, row = self._find(path)
        except (NotFoundError, NotADirectoryError):
            return 0  # as everywhere in fsspec: what isn't there takes no bytes
        if not self.view.is_directory(row):
            return self.view.size(row)
        index, bytes_ = self.view.index, 0
        for _, _, rows in self._below(path, row, maxdepth):
            sources = index.source[rows.start : rows.stop]
            bytes_ += total_of(index.size[rows.start : rows.stop][sources >= FIRST_BLOB])
            others = np.flatnonzero((sources == LOOSE) | (sources == LINK)).tolist()
            bytes_ += sum(self._size_of(rows.start + i) for i in others)
        return bytes_

    def _size_of(self, row: int) -> int:
        """Bytes of a file, or of that which a link leads to; 0 where that isn't one, or can't be looked at."""
        try:
            row = self.view.follow(row) if self.view.index.source[row] == LINK else row
            return 0 if self.view.is_directory(row) else self.view.size(row)
        except (BlobdirError, PermissionError):
            return 0

    # -- attributes ------------------------------------------------------------------------------------------

    @of_one_tree
    def size(self, path: Any) -> int:
        """Bytes of a file; 0 for a directory."""
        row = self._find(path)[1]
        return 0 if self.view.is_directory(row) else self.view.size(row)

    @of_one_tree
    def modified(self, path: Any) -> datetime.datetime:
        """When a file was modified, in UTC: that of a blob's member is that of the blob."""
        mtime_ns = self.view.attributes(self._find(path)[1]).mtime_ns
        return datetime.datetime.fromtimestamp(mtime_ns / 1e9, tz=datetime.UTC)

    def created(self, path: Any) -> NoReturn:
        """Neither tars nor blob projects keep a time of creation."""
        raise NotImplementedError("blob projects have no time of creation; use modified()")

    @of_one_tree
    def ukey(self, path: Any) -> str:
        """A string that changes when the content of a file may have changed."""
        row = self._find(path)[1]
        return hashlib.sha256(self.view.version(row).encode("utf-8", "surrogateescape")).hexdigest()

    def checksum(self, path: Any) -> int:
        """`ukey` as a number."""
        return int(self.ukey(path), 16)

    # -- bytes -----------------------------------------------------------------------------------------------

    def cat_file(self, path: Any, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        """Bytes ``start:end`` of a file, half-open; negative ones count from its end.

        A whole member of a local blob is one ``pread``.
        """
        view = self.view
        if start is None and end is None:
            if isinstance(path, str):
                head, _, name = path.rpartition("/")
                read = view.short_ways.get(head)
                if read is not None and (data := read(name)) is not None:
                    return data
            plain = self._strip_protocol(path)
            return view.read_whole(plain, is_tried=plain == path)
        row = view.find(self._strip_protocol(path))
        if view.is_loose(row):
            return view.read(row, start or 0, end)
        return view.read(row, *view.bounds(row, start, end))

    @of_one_tree
    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **kwargs: Any) -> Any:
        """Content of a file, or of many: a dictionary path -> bytes for a list, a pattern or ``recursive=True``.

        Lists are read in bulk: members that lie side by side in a blob are read together.

        Parameters
        ----------
        on_error : {"raise", "omit", "return"}
            What becomes of a path that can't be read: an error, nothing, or the exception as its value.
        """
        if on_error not in ("raise", "omit", "return"):
            raise UsageError(f"on_error={on_error!r}: choose one of raise, omit, return")
        if isinstance(path, list) and not recursive:
            if not are_plain(path):
                return self._cat_odd(path, on_error)
            paths = path
        elif isinstance(path, list) or (recursive and not self.isfile(path)) or self._is_pattern(path):
            paths = [p for p in self.expand_path(path, recursive=recursive) if not self.isdir(p)]
        else:
            return self.cat_file(path, **kwargs)
        return self._cat_many(paths, on_error)

    def _cat_odd(self, given: list[Any], on_error: str) -> dict[str, Any]:
        """`cat` of a list in which some may be patterns: one that nothing matches is a path that can't be read."""
        paths: list[str] = []
        failed: dict[str, Any] = {}
        for path in given:
            try:
                paths += self._literal(path)
            except OSError as error:
                if on_error == "raise":
                    raise
                failed[self._strip_protocol(path)] = error
        found = self._cat_many(paths, on_error)
        return found if on_error == "omit" else found | failed

    def _literal(self, path: Any) -> list[str]:
        path = self._strip_protocol(path)
        if _MAGIC.isdisjoint(path) or self.exists(path):
            return [path]
        return [found for found in self.expand_path(path) if not self.isdir(found)]

    def _cat_many(self, paths: list[str], on_error: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        find = self.view.find
        if on_error == "raise":
            return dict(zip(paths, self.view.read_many(self.view.find_many(paths)), strict=True))
        rows, good = [], []
        for path in paths:
            try:
                rows.append(find(path))
                good.append(path)
            except OSError as error:
                found[path] = error
        try:
            found.update(zip(good, self.view.read_many(rows), strict=True))
        except OSError:  # some can't be read: find out which
            for path, row in zip(good, rows, strict=True):
                try:
                    found[path] = self.view.read(row)
                except OSError as error:
                    found[path] = error
        keep = {path: found[path] for path in paths}
        if on_error == "omit":
            return {path: data for path, data in keep.items() if isinstance(data, bytes)}
        return keep

    @of_one_tree
    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """Byte ranges of many files, in their order; `starts` and `ends` are lists, or one value for all."""
        n = len(paths)
        all_starts = [starts] * n if starts is None or isinstance(starts, int) else list(starts)
        all_ends = [ends] * n if ends is None or isinstance(ends, int) else list(ends)
        if len(all_starts) != n or len(all_ends) != n:
            raise UsageError(f"cat_ranges: {n} paths, {len(all_starts)} starts and {len(all_ends)} ends")
        view, found = self.view, dict[int, bytes]()
        with suppress(OSError):  # of which one is found out below
            rows = [] if view.storage.is_quick else [self._find(path)[1] for path in paths]
            members = [i for i, row in enumerate(rows) if not view.is_loose(row)]  # where those end is known
            bounds = [view.bounds(rows[i], all_starts[i], all_ends[i]) for i in members]
            data = view.read_ranges([rows[i] for i in members], [b[0] for b in bounds], [b[1] for b in bounds])
            found = dict(zip(members, data, strict=True))
        every = enumerate(zip(paths, all_starts, all_ends, strict=True))
        return [found[i] if i in found else self._cat_range(*wanted, on_error) for i, wanted in every]

    def _cat_range(self, path: str, start: int | None, end: int | None, on_error: str) -> Any:
        try:
            return self.cat_file(path, start, end)
        except OSError as error:
            if on_error == "return":
                return error
            raise

    def _open(
        self,
        path: Any,
        mode: str = "rb",
        block_size: int | str | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> MemberFile | NewFile:
        if mode != "rb":
            return self._create(path, mode)
        view, path = self.view, self._strip_protocol(path)
        row = view.find(path)
        if view.is_directory(row):
            raise IsADirectory(f"{path or '/'}: is a directory")
        if isinstance(block_size, int):
            kwargs["block_size"] = block_size
        return MemberFile(self, path, (view, row), cache_options=cache_options, **kwargs)


def _canonical(path: str) -> str:
    """A path without components that say nothing: ``a//b`` and ``a/./b`` are ``a/b``; ``a/.`` says: a folder."""
    if "//" not in path and "/./" not in path and path[:2] != "./" and path != ".":
        return path
    parts = path.split("/")
    return "/".join([part for part in parts[:-1] if part not in ("", ".")] + parts[-1:]) if path != "." else ""
