"""The fsspec face: a thin, synchronous adapter over `blobdir.tree.Tree`."""

from __future__ import annotations

import datetime
import hashlib
import operator
import os
import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from blobdir.copyplan import MAGIC, is_pattern
from blobdir.discovery import DiscoveryOptions
from blobdir.durable import in_words
from blobdir.errors import BlobdirWarning, IsADirectory, UsageError, to_keep
from blobdir.exporting import ExportingFileSystem
from blobdir.filenames import are_plain
from blobdir.instances import SharedInstances, of_one_tree
from blobdir.interrupts import note
from blobdir.listing import ListingFileSystem
from blobdir.memberfile import MemberFile
from blobdir.opening import OpenOptions, open_tree, renewed
from blobdir.pathtext import stripped
from blobdir.sources import RemoteOptions
from blobdir.sources.options import MEMORY_BYTES
from blobdir.writing import NewFile, WritingFileSystem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Self, SupportsIndex

    from fsspec import AbstractFileSystem

    from blobdir.tree import Tree

LOOK_AGAIN_S, LOOK_AGAIN_REMOTE_S = 1.0, 600.0
"""Seconds after which an instance that is asked for again looks whether its project has changed."""


class BlobDirFileSystem(ListingFileSystem, ExportingFileSystem, WritingFileSystem, metaclass=SharedInstances):
    """Blob projects as ordinary folders; those on this machine can be changed inside ``with fs.transaction:``.

    Parameters
    ----------
    fo : str or path
        The project: a folder, or any fsspec URL; or a tar, or a pattern of tars, see `blobdir.open_project`.
    target_protocol : str, optional
        Protocol of `fo`, where it's a bare path.
    target_options : dict, optional
        Options for the backend of `fo`.
    fs : AbstractFileSystem, optional
        The backend itself, instead of the two.
    index : str
        ``"auto"``, ``"none"`` or a folder; see `blobdir.opening.OpenOptions`.
    show_blobs, follow_links, on_conflict, on_defect, layout
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
        layout: str = "files",
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
        if not fo and fs is None and target_protocol is None:  # an empty path is the top of a backend: memory://
            raise UsageError(
                "give the project, as fo=… or behind '::' in the URL: blobdir://train/img/a.jpg::/data/lemons"
            )
        self.fo = fo
        self.on_conflict = on_conflict
        self._target: dict[str, Any] = {"protocol": target_protocol, "target_options": target_options, "fs": fs}
        self._options = OpenOptions(
            DiscoveryOptions(show_blobs, follow_links, on_conflict, on_defect, layout=layout),  # type: ignore[arg-type]  # checked there
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

    def forget(self) -> None:
        """Have the project be opened anew when it's next used."""
        self.__dict__.pop("view", None)

    def __getattr__(self, name: str) -> Any:
        if name != "view" or "_options" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.invalidate_cache()
        return self.view

    def show_change(self, made: str) -> None:
        """Open the project anew after a change was made; where that fails, it's tried again when it's next used.

        Parameters
        ----------
        made : str
            Says that it was.

        Raises
        ------
        KeyboardInterrupt, SystemExit
            Says that the change was made.
        """
        try:
            self.invalidate_cache()
        except Exception as error:  # whatever it is, the change was made
            self.forget()
            why = in_words(error) or type(error).__name__
            warnings.warn(
                f"{made}, but the project can't be opened anew: {why}; that is tried again when it's next used",
                BlobdirWarning,
                stacklevel=4,
            )
        except BaseException as error:
            self.forget()
            note(error, made)
            raise

    def look_again(self) -> None:
        """Open the project anew if it has changed, and the last look was long ago."""
        is_quick = self.view.storage.is_quick
        if self._intrans or time.monotonic() - self._looked_s < (LOOK_AGAIN_S if is_quick else LOOK_AGAIN_REMOTE_S):
            return
        header = self.view.index.header
        if is_quick and renewed(header, self.view.storage, DiscoveryOptions.of(header.options)):
            self._looked_s = time.monotonic()
        else:
            self.invalidate_cache()

    def still(self) -> Self:
        """The same filesystem, always with the tree of now."""
        if self._is_still:
            return self
        self.view  # noqa: B018  # it's to be that of now, for all copies
        found = object.__new__(type(self))
        found.__dict__.update(self.__dict__, _is_still=True)
        return found

    @property
    def fsid(self) -> str:
        """One identifier per project."""
        return f"blobdir-{hashlib.sha256(self.view.url.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return stripped(path)

    def unstrip_protocol(self, name: str) -> str:
        """Name with the protocol before it.

        Raises
        ------
        UsageError
            It has ``::`` in it, where a URL goes on with the next part of its chain.
        """
        if "::" in (path := self._strip_protocol(name)):
            raise UsageError(f"{path}: has '::' in it, so it has no URL; give the path, to the filesystem itself")
        return f"{self.protocol}://{path}"

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
        row, start, end = view.find(self._strip_protocol(path)), _whole_number(start), _whole_number(end)
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
        **kwargs
            ``start`` and ``end``: bytes of each file, as of `cat_file`.
        """
        if on_error not in ("raise", "omit", "return"):
            raise UsageError(f"on_error={on_error!r}: choose one of raise, omit, return")
        if not isinstance(path, str | os.PathLike | list):
            path = list(path)
        if isinstance(path, list) and (recursive or not are_plain(path)):
            return self._cat_odd(path, on_error, recursive=recursive, **kwargs)
        if isinstance(path, list):
            paths = path
        elif (recursive and not self.isfile(path)) or is_pattern(self, path):
            paths = self._files_of(path, recursive=recursive)
        else:
            return self.cat_file(path, **kwargs)
        return self._cat_many(paths, on_error, **kwargs)

    def _cat_odd(self, given: list[Any], on_error: str, *, recursive: bool, **kwargs: Any) -> dict[str, Any]:
        """`cat` of a list in which some may be patterns or folders: one of nothing is a path that can't be read."""
        paths: dict[str, None] = {}
        failed: dict[str, Any] = {}
        for path in given:
            try:
                paths |= dict.fromkeys(self._literal(path, recursive=recursive))
            except OSError as error:
                if on_error == "raise":
                    raise
                failed[self._strip_protocol(path)] = to_keep(error)
        found = self._cat_many([*paths], on_error, **kwargs)
        return found if on_error == "omit" else found | failed

    def _literal(self, path: Any, *, recursive: bool) -> list[str]:
        path = self._strip_protocol(path)
        if not recursive and (MAGIC.isdisjoint(path) or self.exists(path)):
            return [path]
        return self._files_of(path, recursive=recursive)

    def _files_of(self, path: Any, *, recursive: bool) -> list[str]:
        return [found for found in self.expand_path(path, recursive=recursive) if not self.isdir(found)]

    def _cat_many(
        self,
        paths: list[str],
        on_error: str,
        start: int | None = None,
        end: int | None = None,
        **kwargs: Any,  # fsspec's
    ) -> dict[str, Any]:
        if start is not None or end is not None:
            ranges = self.cat_ranges(paths, start, end, on_error="raise" if on_error == "raise" else "return")
            together = zip(paths, ranges, strict=True)
            return {path: data for path, data in together if on_error != "omit" or isinstance(data, bytes)}
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
                found[path] = to_keep(error)
        found.update(zip(good, self.view.read_each(rows), strict=True))
        keep = {path: found[path] for path in paths}
        if on_error == "omit":
            return {path: data for path, data in keep.items() if isinstance(data, bytes)}
        return keep

    @of_one_tree
    def cat_ranges(
        self,
        paths: Iterable[str],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        max_gap: int | None = None,
        on_error: str = "return",
        **kwargs: Any,
    ) -> list[Any]:
        """Byte ranges of many files, in their order; `starts` and `ends` are lists, or one value for all."""
        paths = list(paths)
        n = len(paths)
        all_starts, all_ends = _of_each(starts, n), _of_each(ends, n)
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
                return to_keep(error)
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


def _whole_number(value: SupportsIndex | None) -> int | None:
    """A place in a file as Python's own number; numpy's have an end, and wrap there."""
    return None if value is None else operator.index(value)


def _of_each(value: SupportsIndex | Iterable[SupportsIndex | None] | None, n: int) -> list[int | None]:
    """A number for each of `n` paths, of a list of them, or of one for all."""
    try:
        return [_whole_number(value)] * n  # type: ignore[arg-type]  # else it's a list
    except TypeError:
        return [_whole_number(one) for one in value]  # type: ignore[union-attr]
