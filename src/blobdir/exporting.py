"""The copying half of the fsspec face: files and folders of a project, to this machine."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fsspec import AbstractFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.implementations.local import make_path_posix

from blobdir.copyplan import expand, plan
from blobdir.errors import UsageError
from blobdir.instances import of_one_tree
from blobdir.temporary import new_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO, Self

    from blobdir.loosefiles import OpenFile
    from blobdir.tree import Tree

_COPY_BYTES = 8 << 20


class ExportingFileSystem(AbstractFileSystem):
    """A filesystem whose files are copied out of a tree. A name that is there is never taken for a pattern."""

    view: Tree

    def still(self) -> Self:
        """The same filesystem, always with the tree of now."""
        raise NotImplementedError

    @of_one_tree
    def expand_path(
        self,
        path: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        assume_literal: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Paths that a path or pattern, or many, stand for; with `recursive`, with all that is below them.

        Raises
        ------
        FileNotFoundError
            One of them stands for nothing.
        """
        return expand(self, path, recursive, maxdepth, assume_literal=assume_literal, **kwargs)

    @of_one_tree
    def get(
        self,
        rpath: Any,
        lpath: Any,
        recursive: bool = False,
        callback: Any = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy files or whole directories out; as everywhere in fsspec, slashes at the end say what goes where.

        A file at the destination is replaced by a whole one, or stays as it is.

        Raises
        ------
        FileNotFoundError
            One of several paths or patterns stands for nothing. Nothing was copied.
        UsageError
            Two files would be copied to one place: each has its name, and lies in a folder of its own.
        """
        rpath = rpath if isinstance(rpath, str | os.PathLike | list) else list(rpath)
        lpath = lpath if isinstance(lpath, str | os.PathLike | list) else list(lpath)
        if not isinstance(lpath, list):
            target = make_path_posix(os.fspath(lpath))
            into = target.endswith("/") or os.path.isdir(target)
            planned = plan(self, rpath, target, into=into, recursive=recursive, maxdepth=maxdepth, **kwargs)
            rpath, lpath = list(planned), list(planned.values())
            if not planned:
                return
        elif not isinstance(rpath, list) or len(rpath) != len(lpath):
            raise UsageError("get: a list of destinations takes a list of as many paths")
        from blobdir.packing.putting import refuse_known

        files = [(source, target) for source, target in zip(rpath, lpath, strict=True) if not self.isdir(source)]
        _check_apart(files)
        refuse_known(target for _, target in files)
        super().get(rpath, lpath, callback=callback, is_checked=True, **kwargs)

    def get_file(
        self,
        rpath: Any,
        lpath: Any,
        callback: Any = None,
        outfile: Any = None,
        is_checked: bool = False,
        **kwargs: Any,  # noqa: ARG002  # fsspec's
    ) -> None:
        """Copy one file out of the project, or make the directory for one.

        Parameters
        ----------
        rpath : str
        lpath : path or writable file
            A file that is there is replaced when the new one is whole, and keeps its permissions.
        callback : fsspec.Callback, optional
        outfile : writable file, optional
            Where the content goes instead.
        is_checked : bool
            Whether somebody has looked already whether it may be written to its place.

        Raises
        ------
        NotFoundError, ReadError
        UsageError
            The destination lies in a project that has something of this name in a blob.
        OSError
            The destination can't be written; it is as it was.
        """
        view = self.view
        row = view.find(self._strip_protocol(rpath))
        if view.is_directory(row):
            os.makedirs(lpath, exist_ok=True)
            return
        file = view.open(row)
        if callback is not None:
            callback.set_size(file.size)
        if outfile is None and hasattr(lpath, "write"):
            outfile = lpath
        if outfile is not None:
            _copy(file, outfile, callback)
            return
        if not is_checked:
            from blobdir.packing.putting import refuse_known

            refuse_known([lpath])
        if parent := os.path.dirname(os.fspath(lpath)):
            os.makedirs(parent, exist_ok=True)
        with _replacing(os.fspath(lpath)) as target:
            _copy(file, target, callback)


def _check_apart(copies: Iterable[tuple[Any, Any]]) -> None:
    """Refuse to copy two files to one place: the first would be gone."""
    placed: dict[str, Any] = {}
    folders: dict[str, str] = {}  # as it is spelled, and as it is; it needn't be there yet
    for source, target in copies:
        if not isinstance(target, str | os.PathLike):
            continue
        place = _place(os.fspath(target), folders)
        if placed.setdefault(place, source) != source:
            raise UsageError(
                f"{placed[place]} and {source} would both be copied to {target}; copy them one by one, or "
                "give a list of as many destinations; nothing was copied"
            )


def _place(path: str, folders: dict[str, str] | None = None) -> str:
    """Where a file is written that is copied to a path: where links lead, those above it and its own.

    Parameters
    ----------
    path : str
    folders : dict, optional
        Those that were asked for, as they are spelled, and as they are.
    """
    folder, name = os.path.split(path)
    if name in ("", ".", ".."):
        return os.path.realpath(path)
    folders = {} if folders is None else folders
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    place = os.path.join(folders[folder], name)
    return os.path.realpath(place) if os.path.islink(place) else place


def _copy(file: OpenFile, target: Any, callback: Any) -> None:
    if file.size > _COPY_BYTES:
        file.check_size()
    for start in range(0, file.size, _COPY_BYTES):
        data = file.read(start, min(start + _COPY_BYTES, file.size))
        target.write(data)
        if callback is not None:
            callback.relative_update(len(data))


@contextmanager
def _replacing(path: str) -> Iterator[BinaryIO]:
    """A file to write that takes the place of another one when it's whole.

    Where a link leads, the file there is replaced. What isn't a file, such as ``/dev/stdout``, is written to.
    """
    try:
        there = os.stat(path)
    except FileNotFoundError:
        there = None
    if there is not None and not stat.S_ISREG(there.st_mode):
        with open(path, "wb") as target:
            yield target
        return
    real = _place(path)
    if there is not None and not os.access(real, os.W_OK):
        raise PermissionError(13, "Permission denied", path)
    with new_file(os.path.dirname(real)) as (beside, descriptor):
        with open(descriptor, "wb", closefd=False) as target:
            yield target
            if there is not None:
                os.fchmod(descriptor, stat.S_IMODE(there.st_mode))
        os.replace(beside, real)
