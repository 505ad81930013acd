"""The writing half of the fsspec face: what is done inside ``with fs.transaction:`` is one change of the project."""

from __future__ import annotations

import errno
import os
import re
from collections import deque
from io import BytesIO
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeVar

from fsspec import AbstractFileSystem
from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.implementations.local import LocalFileSystem, make_path_posix
from fsspec.transaction import Transaction
from fsspec.utils import glob_translate, stringify_path

from blobdir.copyplan import MAGIC, plan
from blobdir.datasets import changeable_root
from blobdir.discovery import layout
from blobdir.durable import open_regular
from blobdir.errors import (
    BlobdirError,
    IncompleteListingError,
    IsADirectory,
    NotADirectory,
    NotFoundError,
    UsageError,
)
from blobdir.interrupts import note
from blobdir.memberfile import place_of
from blobdir.readonly import ReadOnlyFileSystem

if TYPE_CHECKING:
    from types import TracebackType

    from blobdir.packing.editing import Edit
    from blobdir.tree import Tree


_Pair = TypeVar("_Pair", bound="tuple[Any, Any]")


class ProjectTransaction(Transaction):
    """What `WritingFileSystem` hands to ``with fs.transaction:``.

    Attributes
    ----------
    edit : Edit or None
        None before it has begun and after it has ended.
    """

    edit: Edit | None = None

    def start(self) -> None:
        """Take the project's lock; others that want to change it get a `BusyError` from here on.

        Raises
        ------
        ReadOnlyError
            The project isn't on this machine.
        BusyError
            Somebody else is changing it.
        UsageError
            A transaction of this filesystem has begun already; or names in it aren't those of the project, since it was
            opened with ``on_conflict``.
        """
        from blobdir.packing.editing import Edit

        if self.edit is not None:
            raise UsageError("a transaction of this filesystem has begun already; end it first")
        if self.fs._transaction is not self:  # noqa: SLF001
            raise UsageError(
                "this transaction has ended, and can't begin again; `with fs.transaction:` begins a new one"
            )
        view = self.fs.view
        try:
            self.edit = Edit(changeable_root(view))
            if self.fs.on_conflict != "error":
                self.edit.check_no_conflict(self.fs.on_conflict)
            self.fs.invalidate_cache()  # begins from what is there now, not when the filesystem was opened
        except BaseException:
            self._end()
            raise
        self.files: deque[NewFile] = deque()
        self.fs._intrans = True  # noqa: SLF001  # fsspec's protocol for its own transactions

    def complete(self, commit: bool = True) -> None:
        """Do it, or forget it; then the filesystem shows what is there."""
        if self.edit is None:
            self._end()
            return
        fs, edit = self.fs, self.edit
        try:
            self._finish(edit, commit)
        except BaseException as error:
            if commit:
                fs.forget()
            if edit.made:
                note(error, edit.made)
            raise
        if commit:
            fs.show_change(edit.made)

    def _finish(self, edit: Edit, commit: bool) -> None:
        try:
            while self.files:
                file = self.files.popleft()
                was_closed = file.closed
                file.discard()  # also of one that wasn't: nobody is to hand it over later
                if commit and not was_closed:
                    raise UsageError(f"{file.path}: wasn't closed before the transaction ended; nothing was changed")
            if commit:
                edit.commit()
        finally:
            for file in self.files:
                file.discard()
            self._end()

    def _end(self) -> None:
        edit, self.edit = self.edit, None
        self.files = deque()
        if self.fs is not None:
            self.fs._intrans = False  # noqa: SLF001
            self.fs._transaction = None  # noqa: SLF001
        if edit is not None:
            edit.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.complete(commit=kind is None)


class NewFile(BytesIO):
    """A file that is being written in a transaction; it is there when it's closed."""

    def __init__(self, edit: Edit, path: str, *, new: bool) -> None:
        super().__init__()
        self.path = path
        self._edit: Edit | None = edit
        self._new = new

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte; OSError, `EINVAL`, where that lies before the beginning."""
        return super().seek(place_of(offset, whence, self.tell(), len(self.getbuffer())))

    def close(self) -> None:
        """Hand the content to the transaction."""
        if not self.closed:
            edit, self._edit, data = self._edit, None, self.getvalue()
            super().close()
            if edit is not None:
                edit.write(self.path, data, new=self._new)

    def commit(self) -> None:
        """The transaction has the content since the file was closed."""

    def discard(self) -> None:
        """Forget it."""
        self._edit = None
        self.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()  # half a file is worse than none
        self.close()


def _content(value: Any, path: str) -> bytes:
    """What is to be written, as bytes."""
    if isinstance(value, bytes):
        return value
    try:
        return memoryview(value).tobytes()
    except TypeError as error:
        raise TypeError(f"{path}: content must be bytes, not {type(value).__name__}") from error


def _as_many(sources: list[str], targets: list[str]) -> list[tuple[str, str]]:
    if len(targets) != len(sources):
        raise UsageError(f"{len(sources)} paths, and {len(targets)} to put them at")
    return list(zip(sources, targets, strict=True))


def _images_last(edit: Edit, pairs: list[_Pair], at: int) -> list[_Pair]:
    """What is written at once, by the paths at a place of each: an image finds the files that come with it."""
    return sorted(pairs, key=lambda pair: edit.places.is_image(pair[at]))


def _copy_file(edit: Edit, source: str, target: str, data: bytes) -> None:
    """Have a file be at another place as well; an image's annotation isn't copied with it."""
    past = None if edit.places.is_image(source) else edit.sources.past(source)
    edit.write(target, data, origin="copied", member=edit.places.is_oddly_named(source), past=past)


def _matching(edit: Edit, pattern: str) -> list[str]:
    """Paths of the files and folders that a pattern fits, as `fsspec` understands it."""
    plain = re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0]
    fits = re.compile(glob_translate(pattern))
    files = edit.files_below(plain)
    folders = {"/".join(parts[:i]) for parts in (path.split("/") for path in files) for i in range(1, len(parts))}
    return [path for path in (*files, *sorted(folders)) if fits.match(path)]


class WritingFileSystem(ReadOnlyFileSystem):
    """A filesystem whose project can be changed in transactions; outside of them it refuses.

    Until a transaction has ended, reading shows the project as it was when it began.
    """

    transaction_type = ProjectTransaction
    view: Tree
    on_conflict: str

    def start_transaction(self) -> ProjectTransaction:
        """Begin a transaction, as ``with fs.transaction:`` does; `end_transaction` makes the change."""
        begun: ProjectTransaction | None = getattr(self, "_transaction", None)
        if begun is not None and begun.edit is not None:
            raise UsageError("a transaction of this filesystem has begun already; end it first")
        transaction = ProjectTransaction(self)
        self._transaction = transaction
        transaction.start()
        return transaction

    def _editing(self, what: str, path: Any = "") -> Edit:
        edit: Edit | None = getattr(self._transaction, "edit", None)
        if edit is None:
            self._refuse(what, path)
        edit.check_process()
        return edit

    def _create(self, path: Any, mode: str) -> NewFile:
        edit = self._editing("open for writing", path)
        if mode not in ("wb", "xb"):
            raise UsageError(f"{path}: files are written whole: mode 'wb', or 'xb' for a new one, not {mode!r}")
        return NewFile(edit, self._strip_protocol(path), new=mode == "xb")

    def pipe_file(self, path: Any, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        """Write a file, in a transaction; ``mode="create"`` if it must be a new one."""
        edit, name = self._editing("pipe", path), self._strip_protocol(path)
        edit.write(name, _content(value, name), new=mode == "create")

    def pipe(self, path: Any, value: Any = None, **kwargs: Any) -> None:
        """Write a file, or those of a dictionary path -> content, in a transaction."""
        edit = self._editing("pipe", path)
        if isinstance(path, dict):
            path = dict(_images_last(edit, [(self._strip_protocol(one), data) for one, data in path.items()], 0))
        with edit.whole():
            AbstractFileSystem.pipe(self, path, value, **kwargs)

    def put_file(self, lpath: Any, rpath: Any, callback: Any = None, mode: str = "overwrite", **kwargs: Any) -> None:
        """Copy a file of this machine into the project, in a transaction."""
        edit = self._editing("put", rpath)
        if os.path.isdir(lpath):
            return  # folders are there when something is in them
        try:
            file = open_regular(lpath)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENXIO):  # a socket can't even be opened
                raise
            raise UsageError(
                f"{lpath}: isn't a file (a pipe, a device, a socket), so it can't be put anywhere"
            ) from error
        with file:
            data = file.read()
        edit.write(self._strip_protocol(rpath), data, new=mode == "create")
        if callback is not None:
            callback.set_size(len(data))
            callback.relative_update(len(data))

    def put(
        self,
        lpath: Any,
        rpath: Any,
        recursive: bool = False,
        callback: Any = DEFAULT_CALLBACK,
        maxdepth: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Copy files or folders of this machine into the project, in a transaction; slashes as everywhere in fsspec."""
        edit = self._editing("put", rpath)
        with edit.whole():
            if isinstance(rpath, list):
                pairs = _as_many(list(map(os.fspath, lpath)), rpath)
            else:
                given = lpath if isinstance(lpath, list) else make_path_posix(os.fspath(lpath))
                pairs = self._planned(edit, LocalFileSystem(), given, rpath, recursive, maxdepth)
            pairs = _images_last(edit, [(one, self._strip_protocol(to)) for one, to in pairs], 1)
            callback.set_size(len(pairs))
            for one, to in callback.wrap(pairs):
                with callback.branched(one, to) as child:
                    self.put_file(one, to, callback=child, **kwargs)

    def _planned(
        self, edit: Edit, fs: AbstractFileSystem, given: Any, target: Any, recursive: bool, maxdepth: int | None
    ) -> list[tuple[str, str]]:
        """Files and folders of `fs`, and the path that each gets in the transaction."""
        from blobdir.editview import EditView

        text = stringify_path(target)
        name = self._strip_protocol(text)
        into = text.endswith("/") or EditView(edit).isdir(name)
        found = plan(fs, given, name, into=into, recursive=recursive, maxdepth=maxdepth)
        placed: dict[str, str] = {}
        for one, to in found.items():
            if placed.setdefault(to, one) != one and not fs.isdir(one):
                raise UsageError(f"{placed[to]} and {one} would both be copied to {to}; give a list of as many paths")
        return [(one, self._strip_protocol(to)) for one, to in found.items()]

    def rm_file(self, path: Any) -> None:
        """Remove a file, in a transaction; an image takes its annotation with it."""
        self._editing("rm", path).remove(self._strip_protocol(path))

    def _rm(self, path: Any) -> None:
        self.rm_file(path)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, and with `recursive` folders, in a transaction; an image takes its annotation with it."""
        edit = self._editing("rm", path)
        if maxdepth is not None:
            raise UsageError("rm with maxdepth isn't supported: name the files, or a pattern")
        with edit.whole():
            edit.sources.settle(self._names(path))
            self._remove(edit, path, recursive)

    def _remove(self, edit: Edit, path: Any, recursive: bool) -> None:
        gone: set[str] = set()
        for name in dict.fromkeys(self._names(path)):
            if gone and not gone.isdisjoint(accumulate(name.split("/"), "{}/{}".format)):
                continue
            if edit.exists(name):
                edit.remove(name)
            elif edit.went_along(name):
                continue
            elif edit.holds(name) or edit.folders_below(name):
                if not recursive:
                    raise IsADirectory(f"{name or '/'}: is a directory; recursive=True removes it")
                edit.remove_folder(name)
                gone.add(name)
            elif not MAGIC.isdisjoint(name) and (found := _matching(edit, name)):
                edit.remove_all(found, folders=recursive)
            else:
                raise self._absence(name)

    def _absence(self, path: str) -> BlobdirError:
        """What is said of a path that isn't in the transaction's view: of a list that isn't whole, that."""
        try:
            self.view.find(path)
        except IncompleteListingError as error:
            return error
        except BlobdirError:
            pass  # said in the words of the transaction
        return NotFoundError(f"{path}: no such file or folder in {self.view.url}")

    def cp_file(self, path1: Any, path2: Any, **kwargs: Any) -> None:
        """Copy a file within the project, in a transaction; an image's annotation isn't copied with it."""
        edit, source = self._editing("copy to", path2), self._strip_protocol(path1)
        with edit.whole():
            edit.sources.settle([source])
            if edit.exists(source) or not self.isdir(source):
                target = self._strip_protocol(path2)
                _copy_file(edit, source, target, edit.read(source))
                edit.sources.choose([target])

    def copy(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        on_error: Any = None,
        **kwargs: Any,
    ) -> None:
        """Copy files, or with `recursive` folders, within the project, in a transaction.

        A folder is copied with all that is in it, so images in it keep annotations that are in it. Patterns, and what
        is there already, are looked for in what the transaction would leave.
        """
        from blobdir.editview import EditView
        from blobdir.packing.relocating import read_late, relocate, relocate_together
        from blobdir.packing.renames import in_order

        edit = self._editing("copy to", path2)
        if kwargs or on_error not in (None, "raise", "ignore"):
            wrong = next(iter(kwargs), f"on_error={on_error!r}")
            raise UsageError(f"copy: {wrong} isn't an option of it; on_error is 'raise' or 'ignore'")
        with edit.whole():
            if on_error == "ignore" and isinstance(path1, list) and isinstance(path2, list):
                there = EditView(edit).exists
                kept = [pair for pair in _as_many(path1, path2) if there(pair[0])]
                path1, path2 = [one for one, _ in kept], [to for _, to in kept]
            edit.sources.settle(self._names(path1))
            parts = in_order(self._parts(edit, path1, path2, recursive, maxdepth), None)
            named = self._named(path1, parts)
            if relocate_together(edit, parts, copy=True):
                edit.sources.choose(named)
                return
            parts = _images_last(edit, parts, 1)
            read = {path: edit.read(path) for path in read_late(parts) if edit.exists(path)}
            for source, target in parts:
                if edit.exists(source):
                    _copy_file(edit, source, target, read[source] if source in read else edit.read(source))
                else:
                    relocate(edit, source, target, copy=True)
            edit.sources.choose(named)

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any) -> None:
        """Move a file, or with `recursive` a folder, in a transaction; an image takes its annotation with it.

        Of a list, all are meant to move at once: ``["a", "b"]`` to ``["b", "c"]`` loses nothing, nor does a swap.
        Images are copied to the new blob: `blobdir.packing.move` moves offsets only.
        """
        from blobdir.packing.relocating import follow, move_all

        edit = self._editing("mv", path1)
        if maxdepth is not None:
            raise UsageError("mv with maxdepth isn't supported: name the files, or a pattern")
        if isinstance(path1, list) and not isinstance(path2, list):
            folder = self._strip_protocol(path2)
            path2 = [layout.join(folder, self._strip_protocol(one).rpartition("/")[2]) for one in path1]
        with edit.whole():
            is_one = recursive and not isinstance(path1, list)
            if is_one and follow(edit, self._strip_protocol(path1), self._strip_protocol(path2)):
                return
            edit.sources.settle(self._names(path1))
            parts = self._parts(edit, path1, path2, recursive, None)
            if not parts:
                raise IsADirectory(f"{path1}: is a directory; recursive=True moves it")
            move_all(edit, parts)
            edit.sources.choose(self._named(path1, parts))

    def _named(self, given: Any, parts: list[tuple[str, str]]) -> list[str]:
        """Where what is named itself comes to, and not by a pattern or the folder that it's in."""
        names = set(self._names(given))
        return [target for source, target in parts if source in names]

    def _names(self, given: Any) -> list[str]:
        return list(map(self._strip_protocol, given if isinstance(given, list) else [given]))

    def _parts(
        self, edit: Edit, given: Any, target: Any, recursive: bool, maxdepth: int | None
    ) -> list[tuple[str, str]]:
        """What is copied or moved as a whole, files and folders, and the path that it gets."""
        from blobdir.editview import EditView

        view = EditView(edit)
        if isinstance(target, list):
            found = _as_many(list(map(self._strip_protocol, given)), list(map(self._strip_protocol, target)))
        else:
            try:
                found = self._planned(edit, view, given, target, recursive, maxdepth)
            except FileNotFoundError:
                if isinstance(given, list):
                    raise
                raise self._absence(self._strip_protocol(given)) from None
            if isinstance(given, list) or maxdepth is not None:
                found = [(source, to) for source, to in found if not view.isdir(source)]
            inside = {source for source, _ in found}
            found = [(source, to) for source, to in found if inside.isdisjoint(layout.above(source))]
        folders = {path for pair in found if view.isdir(pair[0]) for path in pair}
        for source, to in found:
            around = (folder for end in (source, to) for folder in layout.above(end))
            if other := next((folder for folder in around if folder in folders and folder != source), None):
                raise UsageError(
                    f"{source}: was to become {to}, and {other} is to be another folder; name them one by one"
                )
            if not source:
                raise UsageError("the project itself can't be copied or moved into itself")
            if not view.exists(source):
                raise self._absence(source)
            if not recursive and view.isdir(source):
                raise IsADirectory(f"{source}: is a directory; recursive=True takes it")
        return found

    def mkdir(self, path: Any, create_parents: bool = True, **kwargs: Any) -> None:
        """Nothing, in a transaction: folders are there when something is in them."""
        self._editing("mkdir", path)

    def makedirs(self, path: Any, exist_ok: bool = False) -> None:
        """Nothing, in a transaction: folders are there when something is in them."""
        self._editing("makedirs", path)

    def rmdir(self, path: Any) -> None:
        """Remove a folder in which nothing is left, in a transaction."""
        edit, name = self._editing("rmdir", path), self._strip_protocol(path)
        if edit.exists(name):
            raise NotADirectory(f"{name}: is a file")
        if not edit.holds(name) and not edit.folders_below(name):
            raise self._absence(name)
        if edit.files_below(name):
            raise UsageError(f"{name}: isn't empty; rm with recursive=True removes it")
        edit.remove_folder(name)

    def touch(self, path: Any, truncate: bool = True, **kwargs: Any) -> None:
        """Make an empty file, in a transaction."""
        edit, name = self._editing("touch", path), self._strip_protocol(path)
        if truncate or not edit.exists(name):
            edit.write(name, b"")
