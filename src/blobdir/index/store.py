"""The index in a folder: one ``.npy`` file per column and ``header.json``. Written beside and renamed, read whole.

Columns aren't mapped: a file that somebody cuts off would end the process, and one that is written over would change
answers that were checked already.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import mmap
import os
import secrets
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from blobdir.durable import open_regular
from blobdir.errors import IndexFormatError, UsageError
from blobdir.index.hashing import PROBE_LIMIT
from blobdir.index.header import Header
from blobdir.index.table import BROKEN, COLUMNS, DIRECTORY, FIRST_BLOB, LINK, Index

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

FORMAT = "blobdir index"
HEADER_FILE = "header.json"
VERSION = 2
MAX_BYTES = 64 << 30
_MAX_HOLES = 64
"""Times that a file may be larger than what it takes on a disk, which compresses it maybe."""
_BLOCK = 1 << 16
_MAX_COLUMN_HEADER_BYTES = 4096
_KINDS = {
    "names": ("|u1",),
    "name_start": ("<u4", "<u8"),
    "source": ("<u2", "<u4"),
    "offset": ("<i8",),
    "size": ("<i4", "<i8"),
    "slots": ("<u4", "<u8"),
}


def digest(column: NDArray[Any]) -> str:
    """Digest of a column: BLAKE2b of the 64-bit sums of its 64 KiB blocks.

    Sums run at the speed of memory, so a reader can afford to check every column at every start. They find what
    happens to files (cut off, zeroed, swapped or stale blocks, flipped bits), not a forger.
    """
    raw = np.ascontiguousarray(column).view(np.uint8).ravel()
    whole = len(raw) // _BLOCK * _BLOCK
    sums = raw[:whole].view(np.uint64).reshape(-1, _BLOCK // 8).sum(axis=1, dtype=np.uint64)
    state = hashlib.blake2b(sums.tobytes(), digest_size=16)
    state.update(raw[whole:].tobytes())
    state.update(f"{column.dtype.str}{column.shape}".encode())
    return state.hexdigest()


def save_index(index: Index, folder: Path) -> None:
    """Write an index; an older one in `folder` is replaced as a whole.

    Raises
    ------
    UsageError
        `folder` is there and holds something else.
    OSError
        The folder can't be written. Nothing is left behind.
    """
    check_place(folder)
    parent = folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    temporary = parent / f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}"
    try:
        temporary.mkdir(mode=0o755)
        for column in COLUMNS:
            with open(temporary / f"{column}.npy", "wb") as file:
                np.save(file, getattr(index, column), allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        body = {
            "format": FORMAT,
            "version": VERSION,
            "byteorder": "little",
            "capacity": index.capacity,
            "digests": {column: digest(getattr(index, column)) for column in COLUMNS},
            "header": index.header.to_json(),
        }
        text = json.dumps(body, indent=1, sort_keys=True)
        seal = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        (temporary / HEADER_FILE).write_text(f"{text}\n{seal}\n", encoding="utf-8")
        _replace_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_place(folder: Path) -> None:
    """Make sure that writing an index removes nothing but an index: that of blobdir, damaged or not, or nothing at all.

    Raises
    ------
    UsageError
        There is something else, or a symbolic link.
    """
    if folder.is_symlink():
        raise UsageError(f"{folder}: is a symbolic link; an index isn't written through one: give the folder itself")
    try:
        names = set(os.listdir(folder))
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        if not folder.exists():  # something above it is no folder: the system's own words say what
            raise
        raise UsageError(f"{folder}: isn't a folder; choose another place for the index") from error
    ours = {HEADER_FILE, *(f"{column}.npy" for column in COLUMNS)}
    if names - ours or (names and HEADER_FILE not in names):
        other = min(names - ours, default=min(names))
        raise UsageError(
            f"{folder}: holds {other}, and isn't the folder of an index, which would be replaced as a whole; give an "
            "empty folder, or one that isn't there yet"
        )


def _replace_folder(new: Path, old: Path) -> None:
    """Rename `new` over `old`.

    A folder can't be renamed over one that isn't empty, so the old one steps aside; who opens the index in that
    instant finds none, and builds it in memory.
    """
    aside = new.with_name(f"{new.name}.old")
    with contextlib.suppress(FileNotFoundError):
        os.rename(old, aside)
    try:
        os.rename(new, old)
    except OSError:
        if aside.exists() and not old.exists():
            os.rename(aside, old)
        elif not old.exists():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def load_index(folder: Path) -> Index:
    """Open a stored index.

    Raises
    ------
    FileNotFoundError
        There is none.
    IndexFormatError
        It is damaged, or of another version.
    """
    return StoredIndex(folder).load()


class StoredIndex:
    """An index in a folder: its header is read at once, its columns when they are wanted.

    Attributes
    ----------
    header : Header

    Raises
    ------
    FileNotFoundError
        There is none.
    IndexFormatError
        It is damaged, or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._body = _parse_header(_read_file(folder / HEADER_FILE), f"{folder}/{HEADER_FILE}")
        self.header = Header.from_json(self._body["header"])

    def load(self, header: Header | None = None) -> Index:
        """Read the columns.

        Parameters
        ----------
        header : Header, optional
            The same header, with what was found out since.
        """
        sizes: dict[str, int] = {}
        files: dict[str, BinaryIO] = {}
        with contextlib.ExitStack() as stack:
            for name in COLUMNS:
                path = self._folder / f"{name}.npy"
                try:
                    files[name] = stack.enter_context(open_regular(path))
                except OSError as error:
                    raise IndexFormatError(
                        f"{path}: {error.strerror}; delete the folder, or build the index again"
                    ) from error
                sizes[name] = _size_of(files[name], path)
            parts = _allocate(sizes)
            for name, file in files.items():
                if _read_into(file, parts[name]) != sizes[name]:
                    raise IndexFormatError(f"{self._folder / name}.npy: was cut off; build the index again")
        return _index(self._body, header or self.header, parts, str(self._folder))


def _size_of(file: BinaryIO, path: Path) -> int:
    """Bytes of a file of an index; no more than can be meant."""
    found = os.fstat(file.fileno())
    if found.st_size > min(MAX_BYTES, _MAX_HOLES * (512 * found.st_blocks + _BLOCK)):
        raise IndexFormatError(f"{path}: says that it has {found.st_size:,} bytes, and can't; delete the folder")
    return found.st_size


def seal_of(folder: Path) -> str:
    """What tells a stored index from all others; empty where there is none."""
    try:
        return _read_file(folder / HEADER_FILE).rstrip(b"\n").rpartition(b"\n")[2].decode("ascii", "replace")
    except (OSError, IndexFormatError):
        return ""


def _read_file(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(_size_of(file, path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(path) from error
    except OSError as error:
        raise IndexFormatError(f"{path}: {error.strerror}; delete the folder, or build the index again") from error


def _allocate(sizes: Mapping[str, int]) -> dict[str, memoryview]:
    """Memory for each part, in one piece of large pages: filling small ones takes as long as reading."""
    starts, end = {}, 0
    for name, size in sizes.items():
        starts[name], end = end, end + -(-size // _BLOCK) * _BLOCK
    memory = mmap.mmap(-1, max(end, 1))
    with contextlib.suppress(OSError, AttributeError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    view = memoryview(memory)
    return {name: view[starts[name] : starts[name] + size] for name, size in sizes.items()}


def _read_into(file: BinaryIO, part: memoryview) -> int:
    done = 0
    while done < len(part) and (count := os.preadv(file.fileno(), (part[done:],), done)):
        done += count
    return done


def parse_index(header: bytes, parts: Mapping[str, memoryview], label: str) -> Index:
    """An index from the contents of its files.

    Parameters
    ----------
    header : bytes
    parts : mapping of str to memoryview
        Column -> content of its ``.npy`` file. The index uses this memory.
    label : str
        What messages call it.

    Raises
    ------
    IndexFormatError
    """
    body = _parse_header(header, f"{label}/{HEADER_FILE}")
    return _index(body, Header.from_json(body["header"]), parts, label)


def _index(body: dict[str, Any], header: Header, parts: Mapping[str, memoryview], label: str) -> Index:
    columns: dict[str, NDArray[Any]] = {}
    for name in COLUMNS:
        columns[name] = _column(parts[name], f"{label}/{name}.npy")
        if digest(columns[name]) != body["digests"].get(name):
            raise IndexFormatError(f"{label}/{name}.npy: is damaged (its digest is wrong); build the index again")
    _check(columns, body["capacity"], label)
    _check_references(columns, header, label)
    return Index(**columns, capacity=body["capacity"], header=header)


def _column(part: memoryview, label: str) -> NDArray[Any]:
    """The array of a ``.npy`` file, in the same memory."""
    beginning = io.BytesIO(part[:_MAX_COLUMN_HEADER_BYTES])
    try:
        version = np.lib.format.read_magic(beginning)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        (count,), _, kind = read(beginning, max_header_size=_MAX_COLUMN_HEADER_BYTES)
        if kind.hasobject:
            raise ValueError("holds objects")
        return np.frombuffer(part, kind, count, beginning.tell())
    except (KeyError, ValueError, EOFError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise IndexFormatError(f"{label}: {error}; delete the folder, or build the index again") from error


def _parse_header(text: bytes, label: str) -> dict[str, Any]:
    content, _, seal = text.rstrip(b"\n").rpartition(b"\n")
    if hashlib.blake2b(content, digest_size=16).hexdigest().encode() != seal:
        raise IndexFormatError(f"{label}: is damaged, or no header of a blobdir index; build the index again")
    try:
        body = json.loads(content)
        if body["format"] != FORMAT or body["version"] != VERSION:
            raise IndexFormatError(
                f"{label}: version {body['version']} of {body['format']!r}, this program reads version {VERSION}; "
                "build the index again"
            )
        if not isinstance(body["digests"], dict) or not isinstance(body["header"], dict):
            raise TypeError("isn't an object")
        body["capacity"]  # must be there
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise IndexFormatError(f"{label}: {error!r}; build the index again") from error
    return dict(body)


def _check(columns: dict[str, NDArray[Any]], capacity: object, label: str) -> None:
    """Check what the reader relies on.

    An index may come with somebody else's project, so that its digests are right says nothing about what it holds.
    """

    def demand(condition: bool, what: str) -> None:
        if not condition:
            raise IndexFormatError(f"{label}: {what}; build the index again")

    for name, allowed in _KINDS.items():
        column = columns[name]
        demand(column.ndim == 1 and column.dtype.str in allowed, f"column {name} has a wrong type")
    names, starts, source = columns["names"], columns["name_start"], columns["source"]
    offset, size, slots = columns["offset"], columns["size"], columns["slots"]
    n = len(source)
    demand(n > 0 and len(starts) == n + 1 and len(offset) == n and len(size) == n, "columns differ in length")
    demand(int(starts[0]) == 0 and int(starts[-1]) == len(names), "names don't fill their column")
    demand(bool((starts[1:] > starts[:-1]).all()), "names overlap")
    demand(bool((names[starts[1:] - 1] == 0).all()) and int((names == 0).sum()) == n, "names aren't separated")
    demand(not (names == 0x2F).any(), "a name holds a slash")
    demand(
        isinstance(capacity, int) and 0 < capacity < len(slots) - PROBE_LIMIT and capacity & (capacity - 1) == 0,
        "the hash table has a wrong length",
    )
    demand(int(slots.max()) <= n, "the hash table points past the end")
    folders = source == DIRECTORY
    first, count = offset[folders], size[folders].astype(np.int64)
    demand(bool((count >= 0).all() and (offset >= 0).all()), "negative positions")
    demand(bool(folders[0]) and int(first[0]) == 1, "the root isn't the first row")
    demand(bool((first[1:] == first[:-1] + count[:-1]).all()), "directories overlap")
    demand(int(first[-1] + count[-1]) == n, "rows belong to no directory")
    dots = starts[1:] - starts[:-1]
    for length in (2, 3):
        short = np.flatnonzero(dots[1:] == length) + 1
        demand(
            not any(bytes(names[starts[i] : starts[i + 1] - 1]).strip(b".") == b"" for i in short), "a name is . or .."
        )


def _check_references(columns: dict[str, NDArray[Any]], header: Header, label: str) -> None:
    """Check that rows refer to what the header has."""
    source, offset = columns["source"], columns["offset"]
    bounds = {LINK: len(header.links), BROKEN: len(header.defects)}
    good = int(source.max()) < FIRST_BLOB + len(header.blobs)
    for number, bound in bounds.items():
        referred = offset[source == number]
        good &= len(referred) == 0 or (int(referred.min()) >= 0 and int(referred.max()) < bound)
    members = source >= FIRST_BLOB
    good &= bool((offset[members] >= 0).all() and (columns["size"][members] >= 0).all())
    good &= all(record.defect < len(header.defects) for record in header.blobs)
    good &= all(0 <= n < len(header.defects) for numbers in header.incomplete.values() for n in numbers)
    if not good:
        raise IndexFormatError(f"{label}: rows refer to what isn't there; build the index again")
