"""A mapping of names to bytes that is a blob project on disk."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self, TypeVar, overload

import numpy as np

from blobdir.discovery import layout
from blobdir.durable import absolute
from blobdir.errors import (
    BlobdirError,
    BlobdirWarning,
    BusyError,
    IncompleteListingError,
    NotAProjectError,
    NotFoundError,
    ReadError,
    ReadOnlyError,
    UsageError,
)
from blobdir.filenames import is_path
from blobdir.imagestore.metadata import Metadata, decoded, encoded
from blobdir.imagestore.names import is_dataset, new_names
from blobdir.imagestore.pairs import Items, Values, images_of
from blobdir.imagestore.view import View
from blobdir.locks import ForkSafeLock, ForkSafeRLock
from blobdir.projectlock import JOURNAL, Glance, changes, is_being_changed
from blobdir.wording import counted

if TYPE_CHECKING:
    from blobdir.imagestore.counts import Put
    from blobdir.imagestore.pending import Pending
    from blobdir.packing.report import ChangeReport

D = TypeVar("D")
R = TypeVar("R")
Mode = Literal["a", "r", "r+", "x"]
_NONE: Final = object()
_WAIT_S: Final = 0.02
_TRIES: Final = 5
_SETTLES_S: Final = 10.0
"""Seconds that a commit which others make, or finish, is waited for."""
_WORTH_BYTES: Final = 64 << 20
_MANY: Final = 64
"""Blobs that a reader holds open; with more, folding is worth a call of `compact`."""


class _Since(NamedTuple):
    """What this store has committed since a view: who writes again needn't look at all of the project again.

    Attributes
    ----------
    view : View
    glance : Glance
    changes : tuple
        What `blobdir.projectlock.changes` said after the last of these commits.
    times : tuple
        `View.times` after that.
    names : dict
        See `Pending.since`.
    """

    view: View
    glance: Glance
    changes: tuple[bytes, bool]
    times: tuple[int, ...]
    names: dict[str, bool]

    @property
    def is_last(self) -> bool:
        """Whether nobody else has changed anything since."""
        return self.glance.is_same(self.changes) and self.times == self.view.times()


class ImageStore(MutableMapping[str, bytes]):
    """Images by name, as bytes: ``store["a.jpg"]``. On disk it's a blob project, which all of blobdir reads.

    Each call that writes is a commit; ``with store:`` makes one of all that is written in it, or of nothing, if an
    error leaves it. Any number of processes may read meanwhile, and see the last commit. One writes at a time.
    Threads may share a store; in a forked process it can be read at once, and written when no transaction was open.

    Parameters
    ----------
    path : path
        Folder of the project.
    mode : {"a", "r", "r+", "x"}
        ``"a"``: read and write, made if it isn't there; ``"r"``: only read; ``"r+"``: read and write what is there;
        ``"x"``: made, and an error if it's there.
    dataset : str
        Which one of the project's datasets; one that isn't there is made by the first commit.
    timeout : float
        Seconds that another writer is waited for.

    Attributes
    ----------
    path : str
    metadata : Metadata
        Name -> JSON object.

    Raises
    ------
    NotAProjectError
        There is none, or it's something else.
    UsageError
        It's there already (``"x"``); or there is no such mode.
    BusyError
        Another process is changing it; the message says which.
    """

    def __init__(
        self, path: str | os.PathLike[str], mode: Mode = "a", *, dataset: str = "images", timeout: float = 0.0
    ) -> None:
        if mode not in ("a", "r", "r+", "x"):
            raise UsageError(f"mode is {mode!r}, and must be 'a', 'r', 'r+' or 'x'")
        if not is_dataset(dataset):
            raise UsageError(f"{dataset!r} can't be the name of a dataset")
        if not is_path(text := os.fsdecode(path)):
            raise UsageError(
                f"{text}: a store is a folder of this machine; what is elsewhere can be read by open_project"
            )
        self.path = absolute(text)
        self.mode, self.dataset, self.timeout = mode, dataset, timeout
        self.metadata = Metadata(self)
        self._view: View | None = None
        self._since: _Since | None = None
        self._pending: Pending | None = None
        self._opening, self._writing = ForkSafeLock(), ForkSafeRLock()
        self._is_closed = self._has_warned = False
        self._changer = 0
        if mode == "x" or (mode == "a" and not os.path.lexists(self.path)):
            self._create()
        self._check_place()
        self._now()

    def _check_place(self) -> None:
        there = [""]
        with suppress(OSError):  # opening it says more
            there = os.listdir(self.path)
        if not there:
            raise NotAProjectError(
                f"{self.path}: is an empty folder, and no store; a store makes its folder: remove this one, or give "
                "the path of one that isn't there"
            )

    def _create(self) -> None:
        """Make an empty project; another process may do so at the same time."""
        from blobdir.packing.merging import create_project

        end = time.monotonic() + max(self.timeout, 1.0)
        while True:
            try:
                create_project(self.path)
            except BusyError:
                if time.monotonic() > end:
                    raise
                time.sleep(_WAIT_S)
                if self.mode == "x" or not os.path.lexists(self.path):
                    continue
            except UsageError:
                if self.mode == "x" or not os.path.lexists(self.path):
                    raise
            return

    # -- which commit is seen ----------------------------------------------------------------------------------------

    def _now(self) -> View:
        """The store as the last commit has left it."""
        view = self._view
        if view is not None and (self._mine is not None or view.is_current):
            return view
        if self._is_closed:
            raise UsageError(f"{self.path}: the store is closed")
        with self._opening:
            view = self._view
            if view is None or not view.is_current:
                self._view = view = self._settled(view)
        return view

    def _settled(self, before: View | None) -> View:
        """The last commit, whole: never half of it and half of the one before, whatever one asks for."""
        end = time.monotonic() + _SETTLES_S
        while True:
            self._finish_cut_off()
            view = View(self.path, self.dataset, before)
            if not view.unfinished:
                return view
            is_cut_off = changes(self.path)[1] and not is_being_changed(self.path)
            if is_cut_off or time.monotonic() > end:
                raise IncompleteListingError(f"{self.path}: {view.unfinished}")

    @property
    def _mine(self) -> Pending | None:
        """The transaction that is open; one of the process that this one was forked from is none."""
        pending = self._pending
        return pending if pending is not None and pending.is_mine else None

    def _finish_cut_off(self) -> None:
        """Finish what a writer that was killed has begun, if that's possible: else reading says what it costs."""
        journal = os.path.join(self.path, layout.STATE_DIR, JOURNAL)
        if os.path.lexists(journal) and not is_being_changed(self.path):
            from blobdir.packing.publishing import recover

            with suppress(BlobdirError, OSError):
                recover(self.path)

    def _tried(self, read: Any) -> Any:
        """Read from the last commit; again if it's another one by now, since blobs may have gone with that."""
        for _ in range(_TRIES):
            view = self._now()
            try:
                return read(view)
            except (ReadError, NotFoundError):
                if view.is_current:
                    raise
        return read(self._now())

    # -- reading -----------------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> bytes:
        if not isinstance(name, str):
            raise KeyError(name)
        pending = self._mine
        if pending is not None and pending.is_touched(name):
            with self._writing:
                return pending.read(name)
        data: bytes = self._tried(lambda view: view.read(name))
        return data

    @overload
    def get_many(self, names: Iterable[str]) -> list[bytes]: ...
    @overload
    def get_many(self, names: Iterable[str], default: D) -> list[bytes | D]: ...
    def get_many(self, names: Iterable[str], default: Any = _NONE) -> list[Any]:
        """Bytes of many images, in the order in which they are asked for; neighbours are read together.

        Parameters
        ----------
        names : iterable of str
        default : object, optional
            What stands for an image that isn't there.

        Raises
        ------
        KeyError
            One isn't there, and no default is given; it's named.
        """
        wanted = list(names)
        if self._mine is not None:
            found = []
            for name in wanted:
                try:
                    found.append(self[name])
                except KeyError:
                    if default is _NONE:
                        raise
                    found.append(default)
            return found
        result: list[Any] = self._tried(lambda view: _read_many(view, wanted, default))
        return result

    @property
    def names(self) -> list[str]:
        """Names of all images, in the order of their bytes."""
        view, pending = self._now(), self._mine
        return list(view.names) if pending is None else list(pending.names(view))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def pairs(self) -> Iterator[tuple[str, bytes]]:
        """Names with bytes, of the commit that is the last one now, in the order of the names; as ``items()``."""
        view, pending = self._now(), self._mine
        return images_of(view) if pending is None else ((name, self[name]) for name in pending.names(view))

    def items(self) -> Items[bytes]:
        """Names with bytes: each iteration is of one commit, and cheaper than ``store[name]`` of each name."""
        return Items(self)

    def values(self) -> Values[bytes]:
        """Bytes, in the order of the names; each iteration is of one commit."""
        return Values(self)

    def __len__(self) -> int:
        view, pending = self._now(), self._mine
        return len(view.names) if pending is None else pending.count(view)

    def __contains__(self, name: object) -> bool:
        return self._has(name, self._now())

    def _has(self, name: object, view: View) -> bool:
        if not isinstance(name, str):
            return False
        pending = self._mine
        return view.row(name) >= 0 if pending is None else pending.has(name, view)

    def get_metadata(self, name: str) -> dict[str, Any]:
        """What is known of an image; an empty dictionary where that's nothing.

        Raises
        ------
        KeyError
            There is no such image.
        AnnotationError
            Somebody has put something else there.
        """
        pending = self._mine

        def read(view: View) -> dict[str, Any]:
            if not self._has(name, view):
                raise KeyError(name)
            data = pending.metadata(name) if pending else None
            if data is None and not (pending and pending.is_new(name)):
                data = view.metadata(name)
            return decoded(view.meta_path(name), data)

        found: dict[str, Any] = self._tried(read)
        return found

    # -- writing -----------------------------------------------------------------------------------------------------

    def __setitem__(self, name: str, value: bytes) -> None:
        self.put_many([(name, value)])

    def __delitem__(self, name: str) -> None:
        self.delete_many([name])

    def put_many(
        self,
        images: Mapping[str, bytes] | Iterable[tuple[str, bytes]],
        *,
        overwrite: bool = True,
        metadata: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Put:
        """Write many images, in one commit.

        Parameters
        ----------
        images : mapping, or iterable of (name, bytes)
            An iterable is read as it's written, so it may be larger than the memory.
        overwrite : bool
            Whether images that are there get other bytes; else they are left as they are.
        metadata : mapping, optional
            Name -> JSON object, of any of the store's images.

        Returns
        -------
        Put
            How many were new, replaced and kept.

        Raises
        ------
        UsageError
            A name or a value can't be; nothing was written.
        KeyError
            Metadata of an image that isn't there; nothing was written.
        BusyError
            Another process is changing the store.
        """
        known = {name: encoded(name, value) for name, value in (metadata or {}).items()}
        if isinstance(images, Mapping):
            new_names(list(images))  # all are checked before the first one is written
            pairs: Iterable[tuple[str, bytes]] = images.items()
        else:
            pairs = images
        with self._changing(anew=bool(known)) as (pending, view):
            return pending.put(pairs, view, overwrite=overwrite, metadata=known)

    def put_metadata(self, metadata: Mapping[str, Mapping[str, Any]]) -> None:
        """Have the metadata of images be others, in one commit.

        Raises
        ------
        KeyError
            One isn't there; nothing was written.
        UsageError
            Something can't be written as JSON; nothing was written.
        """
        self.put_many({}, metadata=metadata)

    def delete_many(self, names: Iterable[str]) -> int:
        """Remove many images, in one commit; gives how many these were.

        Their bytes stay on the disk until they are folded with others, or `compact` is called.

        Raises
        ------
        KeyError
            One isn't there; nothing was removed.
        """
        wanted = list(names)
        with self._changing() as (pending, view):
            pending.delete(wanted, view)
        return len({*wanted})

    def update(self, *given: Any, **named: bytes) -> None:
        """Write the images of a mapping, or of pairs, in one commit."""
        self.put_many(dict(*given, **named))

    def clear(self) -> None:
        """Remove all images, in one commit."""
        self.delete_many(self.names)

    # -- transactions ------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether a transaction of this store is open."""
        return self._mine is not None

    def _as_soon_as_free(self, do: Callable[[], R]) -> R:
        """Do what needs the lock of the project; who has it is waited for as long as the user wants."""
        end = time.monotonic() + self.timeout
        while True:
            try:
                return do()
            except BusyError:
                if time.monotonic() >= end:
                    raise
            time.sleep(_WAIT_S)

    def _check_writable(self) -> None:
        if self.mode == "r":
            raise ReadOnlyError(f"{self.path}: the store was opened to be read; mode 'a' writes")
        if self._is_closed:
            raise UsageError(f"{self.path}: the store is closed")
        if self._mine is not None:
            raise UsageError(
                f"{self.path}: a transaction of this store is open already; end it first, they can't be nested"
            )
        if self._changer == os.getpid():
            raise UsageError(
                f"{self.path}: a call of this store is writing, and what gives its images calls it again; begin a "
                "transaction before, or collect them first"
            )

    def _begin(self, *, anew: bool = True) -> tuple[Pending, View]:
        """Take the lock, and see what is there now; unless `anew`, by what this store itself has committed last."""
        self._check_writable()
        from blobdir.imagestore.pending import Pending

        pending = self._as_soon_as_free(lambda: Pending(self.path, self.dataset))
        try:
            since = self._since
            if not anew and since is not None and since.is_last:
                pending.since = since.names
                return pending, since.view
            view = self._now()
            if not view.is_untouched:
                self._view = None
                view = self._now()
            return pending, view
        except BaseException:
            pending.close()
            raise

    @contextmanager
    def _changing(self, *, anew: bool = False) -> Iterator[tuple[Pending, View]]:
        """One call: a part of the transaction that is open, or a commit by itself."""
        with self._writing:
            if (pending := self._mine) is not None:
                yield pending, self._now()
                return
            pending, view = self._begin(anew=anew)
            self._changer = os.getpid()
            try:
                yield pending, view
                self._since = None
                if pending.commit(view) and pending.settle(view):
                    self._since = _Since(view, Glance(self.path), changes(self.path), view.times(), pending.since)
            finally:
                self._changer = 0
                pending.close()
        self._advise()

    def __enter__(self) -> Self:
        if self.mode == "r":
            return self
        with self._writing:
            self._pending, _ = self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._writing:
            pending, view = self._pending, self._view
            if pending is None or view is None:
                return
            try:
                if kind is None:
                    pending.commit(view)
            finally:
                self._pending = None
                pending.close()
        if kind is None:
            self._advise()

    # -- upkeep ------------------------------------------------------------------------------------------------------

    @property
    def worth_compacting(self) -> str:
        """Why `compact` is worthwhile, in words; empty where it isn't."""
        view = self._now()
        if view.blob_count > _MANY:
            return f"images are in {counted(view.blob_count, 'blob')}, which it folds together"
        unused = view.unused_bytes()
        if unused > max(view.total_bytes(), _WORTH_BYTES):
            return f"{unused / 1e6:,.0f} MB of blobs are images that were removed or replaced"
        return ""

    def _advise(self) -> None:
        """Warn once that compacting is worthwhile. What that costs is only looked at where the view is there."""
        if self._has_warned:
            return
        blobs = os.path.join(self.path, layout.BLOB_DIR)
        with suppress(OSError):
            if len(os.listdir(blobs)) <= _MANY:
                return
            self._has_warned = True
            if why := self.worth_compacting:
                warnings.warn(f"{self.path}: `blobdir compact` is worthwhile: {why}", BlobdirWarning, stacklevel=4)

    def compact(self) -> ChangeReport:
        """Fold blobs that are small, and write those anew that have images which were removed.

        See `blobdir.packing.compact`. Who reads goes on with the old blobs until the next call.
        """
        from blobdir.packing.compacting import compact

        with self._writing:
            self._check_writable()
            return self._as_soon_as_free(lambda: compact(self.path))

    def add_annotations(self) -> list[str]:
        """Give each image that has no annotation one without objects: the SDK leaves out datasets that lack any.

        Returns
        -------
        list of str
            Names of images whose size can't be found out, or whose annotation would lie in another's (that of ``a`` and
            of ``a.json/b``), so that they have none still.
        """
        from blobdir.imagestore.annotating import annotate
        from blobdir.packing.publishing import Change

        def change() -> list[str]:
            with Change(self.path) as change:
                found, left = annotate(change, self.path, self._now())
                if found:
                    change.commit()
                return left

        with self._writing:
            self._check_writable()
            return self._as_soon_as_free(change)

    def close(self) -> None:
        """Let go of files that are open. What wasn't committed is dropped."""
        with self._writing:
            pending, self._pending = self._pending, None
            if pending is not None:
                pending.close()
        self._is_closed, self._view = True, None

    def __reduce__(self) -> tuple[Any, ...]:
        mode = "r+" if self.mode in ("a", "x") else self.mode
        return _opened, (self.path, mode, self.dataset, self.timeout)

    def __repr__(self) -> str:
        return f"<ImageStore {self.path}>"


def _opened(path: str, mode: Mode, dataset: str, timeout: float) -> ImageStore:
    return ImageStore(path, mode, dataset=dataset, timeout=timeout)


def _read_many(view: View, names: Sequence[Any], default: Any) -> list[Any]:
    try:
        rows = view.rows(names)
    except UsageError:  # one can't be a name; looked for one by one, that is no error
        rows = np.array([view.row(name) if isinstance(name, str) else -1 for name in names], np.int64)
    if (rows >= 0).all():
        return view.read_rows(rows)
    if default is _NONE:
        raise KeyError(names[int(np.flatnonzero(rows < 0)[0])])
    there = np.flatnonzero(rows >= 0)
    found: list[Any] = [default] * len(names)
    for place, data in zip(there.tolist(), view.read_rows(rows[there]), strict=True):
        found[place] = data
    return found
