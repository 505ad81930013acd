"""Values of an LMDB store, as files of a folder are read: each whole, and all of one moment.

A store is opened to be read, and nothing is written beside it: LMDB's lock file is used where it's there already and
may be written to, since then a writer beside leaves alone what is read here. Where it isn't, nobody has the store open
by its lock, or could be told; what a writer that begins meanwhile does shows in the number of its last transaction,
which is looked at behind each value.

A store is one file, which LMDB maps: what is cut off would end the process, so the file's size is looked at first. What
is damaged inside can still end it; so whoever reads a store that may be anybody's does it in a process of its own.
"""

from __future__ import annotations

import json
import os
import stat
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from blobdir.errors import BusyError, DataError, NotAProjectError, SourceChangedError, UsageError
from blobdir.tarwriting.reading import UnreadableError
from blobdir.wording import near

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

PREFIX: Final = "lmdb:"
"""What the address of a store begins with: ``lmdb:PATH``, ``lmdb:PATH?db=NAME``."""
_DB: Final = "?db="
DATA: Final = "data.mdb"
_LOCK: Final = "lock.mdb"
_BESIDE: Final = "-lock"
"""Of a store that is a file, behind its name."""
_HEAD: Final = struct.Struct("=16xI")
"""Header of the first page, and the number that all stores have."""
_MAGIC: Final = 0xBEEFC0DE
LOOK_BYTES: Final = 64
_SUB_BYTES: Final = 48
"""Of what stands for a subdatabase among the values of the store."""
_SUBS: Final = 200
"""Databases that a store is opened for at first."""
MARK: Final = b"__blobdir__"
"""Key under which ``blobdir convert`` says that it has written the store, and the names of the datasets in it."""
COPY: Final = "copy the store first: mdb_copy"


def is_address(source: str) -> bool:
    """Whether a source is a store, and no file or folder that is called so."""
    return source.startswith(PREFIX) and not os.path.lexists(source)


class Address(NamedTuple):
    """Which store, and which of the databases in it; an empty name is the one that has no name."""

    path: str
    db: str

    @classmethod
    def of(cls, text: str) -> Address:
        """Read ``lmdb:PATH?db=NAME``."""
        path, db = text.removeprefix(PREFIX), ""
        if _DB in path and not os.path.lexists(path):
            path, _, db = path.rpartition(_DB)
            if not db:
                raise UsageError(f"{text}: names no database; write {PREFIX}{path}{_DB}NAME, or {PREFIX}{path}")
        if not path:
            raise UsageError(f"{text}: names no store; write {PREFIX}PATH")
        return cls(path, db)

    def __str__(self) -> str:
        return f"{PREFIX}{self.path}{_DB}{self.db}" if self.db else f"{PREFIX}{self.path}"


def mark_of(datasets: Sequence[str]) -> bytes:
    """The value under `MARK`."""
    return json.dumps({"written_by": "blobdir convert", "version": 1, "datasets": list(datasets)}).encode()


def marked(value: bytes) -> list[str] | None:
    """The datasets that `mark_of` was told; None where it's something else."""
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    datasets = found.get("datasets") if isinstance(found, dict) and found.get("version") == 1 else None
    is_sound = isinstance(datasets, list) and all(isinstance(name, str) for name in datasets)
    return datasets if is_sound else None


def dataset_of(key: str, datasets: Collection[str]) -> str:
    """The dataset whose image has a key, in a store that is marked: that of the longest name; empty: none.

    The writer asks it, too, and writes no image of which it says another dataset.
    """
    return next((folder for folder in _above(key) if folder in datasets), "")


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


class Store:
    """A store that is open, as its last transaction has left it. A context manager.

    Parameters
    ----------
    address : str
        See `Address`.

    Attributes
    ----------
    stamp : int
        Changes with every transaction, and when the file is another one.

    Raises
    ------
    NotAProjectError
        There is none.
    DataError
        It's something else, cut off, or can't be read.
    UsageError
        The library isn't there; or there is no such database in it; or each key has several values.
    """

    def __init__(self, address: str) -> None:
        self._lmdb = library()
        self._address = Address.of(address)
        path = self._address.path
        is_folder = os.path.isdir(path)
        self._file = os.path.join(path, DATA) if is_folder else path
        self._size = _looked_at(self._file, path)
        lock = os.path.join(path, _LOCK) if is_folder else path + _BESIDE
        self._is_locked = os.path.isfile(lock) and os.access(lock, os.R_OK | os.W_OK)
        self._subs: frozenset[bytes] | None = None
        self._open(_SUBS)

    def _open(self, subs: int) -> None:
        path = self._address.path
        is_folder = path != self._file
        try:
            self._env = self._lmdb.open(
                path, subdir=is_folder, readonly=True, lock=self._is_locked, create=False, max_dbs=subs + 1
            )
        except self._lmdb.Error as error:
            if "already open" in str(error):
                raise BusyError(f"{path}: is open in this process already; close it there first") from error
            raise DataError(f"{path}: can't be opened as an LMDB store: {error}") from error
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        lmdb = self._lmdb
        need = (self._env.info()["last_pgno"] + 1) * self._env.stat()["psize"]
        if self._size < need:
            raise DataError(
                f"{self._file}: has {self._size:,} bytes of the {need:,} that the store has, so it's cut off; if LMDB "
                f"itself reads all of it, {COPY} -c"
            )
        try:
            self._txn = self._env.begin(buffers=True)
            self._db = self._opened(self._address.db)
            self._number = self._txn.id()
        except lmdb.ReadersFullError as error:
            raise BusyError(f"{self._address.path}: has as many readers as it takes; try again later") from error
        except lmdb.Error as error:
            raise DataError(f"{self._address.path}: can't be read: {error}") from error
        if self._db is not None and self._db.flags(self._txn).get("dupsort"):
            raise UsageError(f"{self._address}: each key may have several values in it, and an image has one")
        found = os.stat(self._file)
        self.stamp = hash((self._number, found.st_dev, found.st_ino, found.st_mtime_ns))

    def _opened(self, name: str) -> Any:
        if not name:
            return self._env.open_db(txn=self._txn, create=False)
        try:
            return self._env.open_db(os.fsencode(name), txn=self._txn, create=False)
        except (self._lmdb.NotFoundError, self._lmdb.IncompatibleError) as error:
            self._db = self._env.open_db(txn=self._txn, create=False)
            self._address = Address(self._address.path, "")
            raise UsageError(
                f"{self._address.path}: has no database {name!r}; "
                f"{near(name, self.databases(), 'there are', 'it has none that has a name')}"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._env.close()

    def databases(self) -> list[str]:
        """Names of the databases in it, if the one that has no name is open."""
        return sorted(map(os.fsdecode, self._databases()))

    def _databases(self) -> frozenset[bytes]:
        """Keys of the values that are databases, which LMDB says: these it opens, and nothing else.

        As many as there are: it's told how many when the store is opened, so that this may be done again. Names with
        NUL there are none, but LMDB would take the part before it for one.
        """
        if self._subs is None:
            sized = () if self._address.db else self._items()
            keys = [name for key, value in sized if len(value) == _SUB_BYTES and b"\0" not in (name := bytes(key))]
            try:
                self._subs = frozenset(filter(self._is_database, keys))
            except self._lmdb.DbsFullError:
                stamp = self.stamp
                self.close()
                self._open(len(keys))
                if self.stamp != stamp:
                    raise changed(self._address.path) from None
                self._subs = frozenset(filter(self._is_database, keys))
        return self._subs

    def _is_database(self, key: bytes) -> bool:
        try:
            self._env.open_db(key, txn=self._txn, create=False)
        except (self._lmdb.IncompatibleError, self._lmdb.NotFoundError):
            return False
        except self._lmdb.DbsFullError:
            raise
        except self._lmdb.Error as error:
            raise DataError(f"{self._address.path}: can't be read: {error}") from error
        return True

    def _items(self) -> Iterator[tuple[memoryview, memoryview]]:
        try:
            yield from self._txn.cursor(self._db)
        except self._lmdb.Error as error:
            raise DataError(f"{self._address.path}: can't be read: {error}") from error

    def __iter__(self) -> Iterator[tuple[bytes, memoryview]]:
        """Key of each value that is no database, and the value: as long as the store is open, without a copy."""
        databases = self._databases()
        for key, value in self._items():
            name = bytes(key)
            if name not in databases:
                yield name, value
        self.check()

    def get(self, key: bytes) -> bytes | None:
        """A value; None where there is none."""
        try:
            found = self._txn.get(key, db=self._db)
        except self._lmdb.Error as error:
            raise UnreadableError("unreadable", f"can't be read: {error}") from None
        data = None if found is None else bytes(found)
        self.check()
        return data

    def check(self) -> None:
        """Refuse what was read of a store to which somebody has written who couldn't know that it's read."""
        if not self._is_locked and self._env.info()["last_txnid"] != self._number:
            raise changed(self._address.path)


def library() -> Any:
    """LMDB, or how to get it: UsageError."""
    try:
        import lmdb  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UsageError("an LMDB store needs the library lmdb; install it: pip install 'blobdir[lmdb]'") from error
    return lmdb


def changed(path: str) -> SourceChangedError:
    """A store isn't what it was when it was listed."""
    return SourceChangedError(
        f"{path}: another program has written to the store meanwhile; try again when nobody does, or {COPY}"
    )


def _looked_at(file: str, path: str) -> int:
    """Bytes of a store's file.

    Raises
    ------
    NotAProjectError
        It isn't there.
    DataError
        It's no store.
    """
    try:
        with open(os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as opened:
            found = os.fstat(opened.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise DataError(f"{file}: isn't a file: a device, a pipe, a folder")
            head = opened.read(_HEAD.size)
    except FileNotFoundError as error:
        what = f"holds no {DATA}, so it's no LMDB store" if os.path.isdir(path) else "there is no such LMDB store"
        raise NotAProjectError(f"{PREFIX}{path}: {what}") from error
    except OSError as error:
        raise DataError(f"{file}: can't be read: {error.strerror}") from error
    if len(head) < _HEAD.size or _HEAD.unpack(head)[0] != _MAGIC:
        raise DataError(f"{file}: isn't an LMDB store, or one of a machine of another kind")
    return found.st_size


class StoreReader:
    """Reads values as `blobdir.tarwriting.reading.FileReader` reads files.

    Parameters
    ----------
    address : str

    Attributes
    ----------
    settled : bool
        It always is: every change has a number.
    """

    settled = True

    def __init__(self, address: str) -> None:
        self._store = Store(address)
        self._path = Address.of(address).path

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()

    def read(self, source: bytes, _size: int, stamp: int | None) -> tuple[bytes, int, None]:
        """A value and its size; there is no rest of it.

        Raises
        ------
        SourceChangedError
            The store isn't the one that was listed.
        """
        if stamp is not None and stamp != self._store.stamp:
            raise changed(self._path)
        data = self._get(source)
        return data, len(data), None

    def look(self, source: bytes) -> tuple[bytes, int]:
        """The first bytes of a value, and its size."""
        data = self._get(source)
        return data[:LOOK_BYTES], len(data)

    def _get(self, source: bytes) -> bytes:
        data = self._store.get(source)
        if data is None:
            raise UnreadableError("unreadable", "isn't in the store any more")
        return data
