"""The listing half of the fsspec face: what is there, folder by folder."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Any

import numpy as np
from fsspec import AbstractFileSystem

from blobdir.errors import (
    BlobdirError,
    IncompleteListingError,
    LinkError,
    NotFoundError,
    ReadError,
    UsageError,
)
from blobdir.index import DIRECTORY, FIRST_BLOB, LINK, LOOSE
from blobdir.instances import of_one_tree
from blobdir.ranges import total_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from blobdir.tree import Tree

_ROWS_AT_ONCE = 10_000
_TYPE_BITS = {"directory": stat.S_IFDIR, "link": stat.S_IFLNK, "file": stat.S_IFREG}


class ListingFileSystem(AbstractFileSystem):
    """A filesystem whose folders are listed from a tree."""

    view: Tree

    def still(self) -> Self:
        """The same filesystem, always with the tree of now."""
        raise NotImplementedError

    def _find(self, path: Any, *, follow: bool = True) -> tuple[str, int]:
        path = self._strip_protocol(path)
        return path, self.view.find(path, follow=follow)

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
