"""The index in a folder: one ``.npy`` file per column and ``header.json``. Written beside and renamed, read whole.

Columns aren't mapped: a file that somebody cuts off would end the process, and one that is written over would change
answers that were checked already.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from blobdir.durable import open_regular
from blobdir.errors import IndexFormatError, UsageError
from blobdir.index.checks import check_columns, check_references
from blobdir.index.header import Header
from blobdir.index.memory import allocate
from blobdir.index.table import COLUMNS, Index
from blobdir.temporary import clean, new_folder, stepped_aside

if TYPE_CHECKING:
    from collections.abc import Mapping
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
    clean(parent)
    with new_folder(parent) as place:
        temporary = Path(place)
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
    with stepped_aside(old) as aside:
        try:
            os.rename(new, old)
        except OSError:
            if aside is not None and not old.exists():
                os.rename(aside, old)
            elif not old.exists():
                raise


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
        files: dict[str, BinaryIO] = {}
        sizes: dict[str, int] = {}
        with contextlib.ExitStack() as stack:
            for name in COLUMNS:
                path = self._path(name)
                try:
                    files[name] = stack.enter_context(open_regular(path))
                except OSError as error:
                    raise IndexFormatError(
                        f"{path}: {error.strerror}; delete the folder, or build the index again"
                    ) from error
                sizes[name] = _size_of(files[name], path)
            parts = allocate(sizes)
            for name, file in files.items():
                if _read_into(file, parts[name]) != sizes[name]:
                    raise IndexFormatError(f"{self._path(name)}: was cut off; build the index again")
        return _index(self._body, header or self.header, parts, str(self._folder))

    def _path(self, column: str) -> Path:
        return self._folder / f"{column}.npy"


def _read_into(file: BinaryIO, part: memoryview) -> int:
    done = 0
    while done < len(part) and (count := os.preadv(file.fileno(), (part[done:],), done)):
        done += count
    return done


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
    check_columns(columns, body["capacity"], label)
    check_references(columns, header, label)
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
