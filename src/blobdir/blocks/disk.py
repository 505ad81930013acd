"""Blocks in a folder, shared by all processes of a user: bounded, checked, least recently used out first.

::

    blocks/<2 hex>/<30 hex of the file's version>/<block number, hex>   a block; and file.json: whose they are
    locks/<3 hex>                                                        who holds it is fetching the block
    ledger                                                               bytes in use, 8 bytes, under a lock

A block's file is its bytes, the CRC-32 of each 16 KiB of them (little endian, 4 bytes each), and a trailer of 24
bytes: magic, length of the data, CRC-32 of the sums with the block's name. A file that doesn't fit is removed and
counts as not there. Its modification time is when it was last used, to the minute.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import struct
import time
import warnings
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING
from zlib import crc32

from cachetools import LRUCache

from blobdir.descriptors import DESCRIPTORS, with_room
from blobdir.durable import in_words
from blobdir.errors import BlobdirWarning, UsageError
from blobdir.locks import ForkSafeLock, close_unlocked
from blobdir.ownfolder import is_own, not_own

if TYPE_CHECKING:
    from collections.abc import Iterator

    Buffer = bytes | memoryview

PIECE = 16 << 10
"""Bytes that are checked together."""
USED_S = 60
"""How old the note of a block's last use may be."""
STALE_S = 3600
"""Age from which a file that was being written counts as left behind."""
OPEN_BLOCKS = 128
LEDGER_S = 10.0
"""How long to wait for who counts what is kept: that takes milliseconds, but longer where very much must go."""
REST_S = 60.0
"""How long nothing is kept after that was in vain: who counts may have been stopped."""
_LOCKS = 4096
_KEEP = 0.9
_MAGIC = b"blobdirB"
_TRAILER = struct.Struct("<8sQII")
_LEDGER = struct.Struct("<q")
_FIRST, _REST = re.compile(r"[0-9a-f]{2}"), re.compile(r"[0-9a-f]{30}")
_FILE = re.compile(r"[0-9a-f]+(\.[0-9a-f]{8})?|file\.(json|[0-9a-f]{8})")
_HELD: set[int] = set()
"""Descriptors that hold locks, of this process."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a cache folder holds.

    Attributes
    ----------
    size, blocks : int
        Bytes and number of blocks.
    files : dict
        Name of each remote file, without secrets -> bytes of it that are kept.
    """

    size: int
    blocks: int
    files: dict[str, int]


class LedgerBusyError(OSError):
    """Another process has had the ledger for long."""


class _OpenBlock:
    """A block's file, open and its sums checked. Closed when nobody refers to it any more."""

    __slots__ = ("fd", "length", "sums")

    def __init__(self, path: str, name: bytes) -> None:
        self.fd = -1
        self.fd = with_room(lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK))
        stat = os.fstat(self.fd)
        if not S_ISREG(stat.st_mode):
            raise ValueError("isn't a file")
        if not is_own(stat):
            raise ValueError("belongs to another user, or others can write it")
        size = stat.st_size
        trailer = os.pread(self.fd, _TRAILER.size, max(0, size - _TRAILER.size))
        if len(trailer) != _TRAILER.size:
            raise ValueError("too short")
        magic, self.length, seal, _ = _TRAILER.unpack(trailer)
        pieces = -(-self.length // PIECE)
        if magic != _MAGIC or size != self.length + 4 * pieces + _TRAILER.size:
            raise ValueError("its length doesn't fit")
        sums = os.pread(self.fd, 4 * pieces, self.length)
        if crc32(sums, crc32(name)) != seal:
            raise ValueError("its checksums are damaged")
        self.sums = memoryview(sums).cast("I")
        if time.time() - stat.st_mtime > USED_S:
            with suppress(OSError):
                os.utime(self.fd)

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)

    def read(self, start: int, end: int) -> bytes:
        """Bytes ``start:end`` of the block; ValueError where they are damaged."""
        low = start // PIECE
        base = low * PIECE
        data = os.pread(self.fd, min(-(-end // PIECE) * PIECE, self.length) - base, base)
        for i in range(0, len(data), PIECE):
            if crc32(data[i : i + PIECE] if len(data) > PIECE else data) != self.sums[low]:
                raise ValueError(f"bytes {base + i} to {base + i + PIECE} are damaged")
            low += 1
        if len(data) < end - base:
            raise ValueError("it has become shorter")
        return data[start - base : end - base]


class DiskTier:
    """A cache folder.

    Parameters
    ----------
    folder : path
    limit : int
        Bytes that all blocks together may take.

    Attributes
    ----------
    broken : str
        Why nothing is kept any more; empty while all is well. A full disk is no reason to fail: what isn't kept is
        fetched again.
    """

    def __init__(self, folder: str | os.PathLike[str], limit: int) -> None:
        self.folder = Path(folder)
        self.limit = limit
        self.broken = ""
        self.damaged = 0
        self._open: LRUCache[tuple[str, int], _OpenBlock] = LRUCache(OPEN_BLOCKS)
        self._guard = ForkSafeLock()
        self._used: set[tuple[str, int]] = set()  # of the open ones, since `was_used` was asked
        self._described: set[str] = set()
        self._is_judged = self._is_foreign = False
        self._rests_until = 0.0

    def __reduce__(self) -> tuple[type[DiskTier], tuple[str, int]]:
        return DiskTier, (str(self.folder), self.limit)

    def _is_of_others(self) -> bool:
        """Whether others own the folder, or can write it: what is in it may be theirs, and nothing is put there."""
        if not self._is_judged:
            try:
                why = not_own(self.folder)
            except OSError as error:
                why = in_words(error, self.folder)
            self._is_judged, self._is_foreign = True, bool(why)
            if why:
                self._break(why)
        return self._is_foreign

    # -- reading ---------------------------------------------------------------------------------------------

    def _path(self, key: str, number: int) -> str:
        return f"{self.folder}/blocks/{key[:2]}/{key[2:]}/{number:x}"

    def read(self, key: str, number: int, start: int, end: int) -> bytes | None:
        """Bytes ``start:end`` of a block, half-open; None where it isn't here or is damaged."""
        name = (key, number)
        if self._is_of_others():
            return None
        with self._guard:
            block = self._open.get(name)
        if block is not None:
            self._used.add(name)
        else:
            block = self._open_block(name)
            if block is None:
                return None
        try:
            return block.read(start, end)
        except (OSError, ValueError) as error:
            self._drop(name, str(error))
            return None

    def has(self, key: str, number: int) -> bool:
        """Whether a block is here."""
        if self._is_of_others():
            return False
        with self._guard:
            if (key, number) in self._open:
                return True
        return os.path.exists(self._path(key, number))

    def _open_block(self, name: tuple[str, int]) -> _OpenBlock | None:
        try:
            block = _OpenBlock(self._path(*name), _name(*name))
        except FileNotFoundError:
            return None
        except OSError as error:
            self._break(error)
            return None
        except ValueError as error:
            self._drop(name, str(error))
            return None
        with self._guard:
            least = self._open.popitem()[0] if len(self._open) >= OPEN_BLOCKS else None
            self._open[name] = block
        if least is not None:
            self._used.discard(least)
            DESCRIPTORS.forget(self, least)
        DESCRIPTORS.keep(self, name)
        return block

    def let_go(self, name: tuple[str, int]) -> None:
        """Close a block; it's opened again when it's read."""
        with self._guard:
            self._open.pop(name, None)
        self._used.discard(name)

    def was_used(self, name: tuple[str, int]) -> bool:
        """Whether a block was read since it was last asked, or since it was opened."""
        used = name in self._used
        self._used.discard(name)
        return used

    def _drop(self, name: tuple[str, int], why: str) -> None:
        self.damaged += 1
        self.let_go(name)
        DESCRIPTORS.forget(self, name)
        path = self._path(*name)
        warnings.warn(f"{path}: {why}; removed from the cache, and fetched again", BlobdirWarning, stacklevel=2)
        with suppress(OSError):
            os.unlink(path)

    # -- writing ---------------------------------------------------------------------------------------------

    def write(self, key: str, number: int, data: Buffer, what: str) -> None:
        """Keep a block; what doesn't succeed is a warning, once, and the end of keeping.

        Parameters
        ----------
        what : str
            Name of the remote file, for people; without secrets.
        """
        if self.broken or time.monotonic() < self._rests_until or self._is_of_others():
            return
        view = memoryview(data)
        sums = struct.pack(
            f"<{-(-len(view) // PIECE)}I", *(crc32(view[i : i + PIECE]) for i in range(0, len(view), PIECE))
        )
        trailer = _TRAILER.pack(_MAGIC, len(view), crc32(sums, crc32(_name(key, number))), 0)
        size = len(view) + len(sums) + len(trailer)
        path = self._path(key, number)
        temporary = f"{path}.{secrets.token_hex(4)}"
        try:
            if not self._reserve(temporary, size):
                return
            self._describe(key, what)
            fd = os.open(temporary, os.O_WRONLY | os.O_CLOEXEC)
            try:
                for part in (view, sums, trailer):
                    _write_all(fd, part)
            finally:
                os.close(fd)
            with self._ledger():  # who counts sees one of the names
                os.rename(temporary, path)
        except FileNotFoundError:
            return  # somebody has cleared the cache meanwhile
        except LedgerBusyError as error:
            with suppress(OSError):
                os.unlink(temporary)
            self._rest(error)
        except FileExistsError as error:
            if not os.path.isdir(error.filename or "") and os.path.lexists(error.filename or ""):
                self._break(error)  # else the folder came, and went again
        except OSError as error:
            with suppress(OSError):
                os.unlink(temporary)
            self._break(error)

    def _make(self, folder: str) -> None:
        """Make a folder of the cache; each on the way to it is the owner's alone."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder
        for part in Path(folder).relative_to(self.folder).parts:
            path /= part
            path.mkdir(mode=0o700, exist_ok=True)

    def _created(self, path: str, flags: int) -> int:
        """A file of the cache, open; its folder is made where there is none."""
        try:
            return os.open(path, flags | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            self._make(os.path.dirname(path))
            return os.open(path, flags | os.O_CLOEXEC, 0o600)

    def _describe(self, key: str, what: str) -> None:
        folder = os.path.dirname(self._path(key, 0))
        if key in self._described and os.path.exists(f"{folder}/file.json"):
            return
        temporary = f"{folder}/file.{secrets.token_hex(4)}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            json.dump({"file": what}, file)
        os.rename(temporary, f"{folder}/file.json")
        self._described.add(key)

    def _rest(self, error: LedgerBusyError) -> None:
        """Keep nothing for a while: what is read meanwhile is fetched again, perhaps."""
        if not self._rests_until:
            text = f"{self.folder}: {error.strerror} Nothing is kept for {REST_S:.0f} s, whenever that is so"
            warnings.warn(text, BlobdirWarning, stacklevel=2)
        self._rests_until = time.monotonic() + REST_S

    def _break(self, error: OSError | str) -> None:
        if not self.broken:
            self.broken = error if isinstance(error, str) else in_words(error, self.folder)
            warnings.warn(
                f"{self.folder}: can't be used as a cache ({self.broken}): what is read is fetched anew from now on; "
                "give another with cache_dir, or turn the cache off with cache_size=0",
                BlobdirWarning,
                stacklevel=2,
            )

    # -- who fetches -----------------------------------------------------------------------------------------

    def try_lock(self, key: str, number: int) -> int | None:
        """Be the one of all processes who fetches a block.

        Returns
        -------
        int or None
            A descriptor that holds the lock until it's given to `unlock` (-1 where the folder can't be used); None
            where another has it.
        """
        if self._is_of_others():
            return -1
        path = f"{self.folder}/locks/{crc32(_name(key, number)) % _LOCKS:03x}"
        try:
            fd = self._created(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            self._break(error)
            return -1
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError as error:  # a network folder without locks
            os.close(fd)
            self._break(error)
            return -1
        _HELD.add(fd)
        return fd

    # -- how much --------------------------------------------------------------------------------------------

    @contextmanager
    def _ledger(self) -> Iterator[int]:
        """The ledger, locked; `LedgerBusyError` where another process has it for long: it may have been stopped."""
        fd = self._created(f"{self.folder}/ledger", os.O_RDWR | os.O_CREAT)
        _HELD.add(fd)
        try:
            self._lock_ledger(fd)
            yield fd
        finally:
            unlock(fd)

    def _lock_ledger(self, fd: int) -> None:
        end, pause = time.monotonic() + LEDGER_S, 0.0005
        while True:
            try:
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > end:
                    message = f"another process has had its ledger for more than {LEDGER_S:.0f} s; is it stopped?"
                    raise LedgerBusyError(errno.ETIMEDOUT, message, str(self.folder)) from error
            time.sleep(pause)
            pause = min(0.02, 2 * pause)

    def _reserve(self, path: str, size: int) -> bool:
        """Make a file of `size` bytes within the limit; False where that never is."""
        if size > self.limit:
            return False
        with self._ledger() as fd:
            data = os.pread(fd, _LEDGER.size, 0)
            used = _LEDGER.unpack(data)[0] if len(data) == _LEDGER.size else -1
            if used < 0 or used + size > self.limit:
                used = self._evict(min(self.limit - size, int(self.limit * _KEEP)))
            new = self._created(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                os.ftruncate(new, size)  # so that who counts meanwhile counts it
            finally:
                os.close(new)
            os.pwrite(fd, _LEDGER.pack(used + size), 0)
        return True

    def _folders(self) -> Iterator[tuple[str, list[str]]]:
        """Folders of remote files, and names of blobdir's files in each; what else lies there is nobody's business."""
        blocks = f"{self.folder}/blocks"
        for folder in (f"{blocks}/{first}" for first in _listed(blocks) if _FIRST.fullmatch(first)):
            for rest in _listed(folder):
                if _REST.fullmatch(rest):
                    yield f"{folder}/{rest}", [name for name in _listed(f"{folder}/{rest}") if _FILE.fullmatch(name)]

    def _written(self) -> int:
        """Bytes of what is being written."""
        found = 0
        for parent, names in self._folders():
            for name in names:
                if "." in name and name != "file.json":
                    with suppress(OSError):
                        found += os.path.getsize(f"{parent}/{name}")
        return found

    def _files(self) -> list[tuple[float, int, str]]:
        """(last use, bytes, path) of every block; what was left half-written is removed on the way."""
        found, now = [], time.time()
        for parent, names in self._folders():
            for name in names:
                path = f"{parent}/{name}"
                with suppress(OSError):
                    stat = os.stat(path)
                    if "." not in name:
                        found.append((stat.st_mtime, stat.st_size, path))
                    elif name != "file.json" and now - stat.st_mtime > STALE_S:
                        os.unlink(path)
        return found

    def _evict(self, keep: int) -> int:
        """Remove the least recently used blocks until `keep` bytes are left at the most; the bytes that are left."""
        files = sorted(self._files())
        used = sum(size for _, size, _ in files) + self._written()
        for _, size, path in files:
            if used <= keep:
                break
            with suppress(FileNotFoundError):
                os.unlink(path)
            used -= size
            with suppress(OSError):
                _remove_empty(os.path.dirname(path))
        return used

    def usage(self) -> Usage:
        """What is here, counted anew."""
        files: dict[str, int] = {}
        size = blocks = 0
        for _, bytes_, path in self._files():
            size, blocks = size + bytes_, blocks + 1
            name = self._owner(os.path.dirname(path))
            files[name] = files.get(name, 0) + bytes_
        return Usage(size, blocks, files)

    @staticmethod
    def _owner(folder: str) -> str:
        try:
            with open(f"{folder}/file.json", encoding="utf-8", errors="surrogateescape") as file:
                return str(json.load(file)["file"])
        except (OSError, ValueError, KeyError, TypeError):
            return "?"

    def clear(self, prefix: str = "") -> int:
        """Remove the blocks of files whose name begins with `prefix`, or all; the bytes that were removed.

        Raises
        ------
        UsageError
            The folder is somebody else's.
        """
        if why := not_own(self.folder):
            raise UsageError(f"{self.folder}: {why}; nothing was removed")
        removed = 0
        with self._ledger() as fd:
            for _, size, path in self._files():
                if self._owner(os.path.dirname(path)).startswith(prefix):
                    with suppress(FileNotFoundError):
                        os.unlink(path)
                        removed += size
            for parent, _ in list(self._folders()):
                with suppress(OSError):
                    _remove_empty(parent)
                    os.rmdir(os.path.dirname(parent))
            os.pwrite(fd, _LEDGER.pack(sum(size for _, size, _ in self._files()) + self._written()), 0)
        self._described.clear()
        with self._guard:
            self._open.clear()
        self._used.clear()
        return removed


def unlock(fd: int) -> None:
    """Let go of a lock; -1 is none, nor is one that the process had from which this one was forked."""
    if fd in _HELD:
        _HELD.discard(fd)
        close_unlocked(fd, os.getpid())


def _let_go() -> None:
    """In a forked process: a lock is free when all who have inherited its descriptor have closed it."""
    for fd in _HELD:
        with suppress(OSError):
            os.close(fd)
    _HELD.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _remove_empty(folder: str) -> None:
    """Remove the folder of a remote file of which no block is left."""
    if os.listdir(folder) in ([], ["file.json"]):
        with suppress(FileNotFoundError):
            os.unlink(f"{folder}/file.json")
        os.rmdir(folder)


def _name(key: str, number: int) -> bytes:
    return f"{key}/{number:x}".encode()


def _write_all(fd: int, data: Buffer) -> None:
    view = memoryview(data).cast("B")
    while len(view):
        view = view[os.write(fd, view) :]
