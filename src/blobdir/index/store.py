"""The index in a folder: one ``.npy`` file per column and ``header.json``. Read whole; `place` is where it's written.

Columns aren't mapped: a file that somebody cuts off would end the process, and one that is written over would change
answers that were checked already.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from blobdir.descriptors import none_left, with_room
from blobdir.durable import open_regular
from blobdir.errors import IndexFormatError
from blobdir.index.checks import check_columns
from blobdir.index.header import Header
from blobdir.index.memory import allocate
from blobdir.index.place import FORMAT, HEADER_FILE, replaced_folder
from blobdir.index.table import COLUMNS, Index
from blobdir.index.together import together

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import BinaryIO

    from numpy.typing import NDArray

VERSION = 3
MAX_BYTES = 64 << 30
_MAX_HOLES = 64
"""Times that a file may be larger than what it takes on a disk, which compresses it maybe."""
_BLOCK = 1 << 16
_PIECE = 8 * _BLOCK
_WORTH_A_THREAD = 4 << 20
"""Bytes of an index from which a second thread saves more than it takes to start one."""
_MAX_COLUMN_HEADER_BYTES = 4096
_COLUMN_HEADER = re.compile(
    rb"\x93NUMPY(?:\x01\x00(?=..\{)|\x02\x00(?=....\{))(.{2,4})"
    rb"\{'descr': '([<|][ui][1248])', 'fortran_order': False, 'shape': \(([0-9]{1,18}),\), \} *\n",
    re.DOTALL,
)


def digest(column: NDArray[Any]) -> str:
    """Digest of a column: BLAKE2b of the 64-bit sums of its 64 KiB blocks.

    Sums run at the speed of memory, so a reader can afford to check every column at every start. They find what
    happens to files (cut off, zeroed, swapped or stale blocks, flipped bits), not a forger.
    """
    raw = np.ascontiguousarray(column).view(np.uint8).ravel()
    return _digest(_sums(raw), raw, column.dtype, len(column))


def _sums(raw: NDArray[np.uint8]) -> NDArray[np.uint64]:
    whole = len(raw) // _BLOCK * _BLOCK
    sums: NDArray[np.uint64] = raw[:whole].view(np.uint64).reshape(-1, _BLOCK // 8).sum(axis=1, dtype=np.uint64)
    return sums


def _digest(sums: NDArray[np.uint64], raw: NDArray[np.uint8], kind: np.dtype[Any], length: int) -> str:
    state = hashlib.blake2b(sums.tobytes(), digest_size=16)
    state.update(raw[len(sums) * _BLOCK :].tobytes())
    state.update(f"{kind.str}{(length,)}".encode())
    return state.hexdigest()


def save_index(index: Index, folder: Path, *, through_link: bool = True, mode: int = 0o755) -> None:
    """Write an index; an older one in `folder` is replaced as a whole.

    Parameters
    ----------
    index : Index
    folder : Path
    through_link : bool
        Whether the folder that `folder` is in may be a symbolic link.
    mode : int
        Of the folder.

    Raises
    ------
    UsageError
        `folder` is there and holds something else; see `blobdir.index.place`.
    OSError
        The folder can't be written. Nothing is left behind.
    """
    with replaced_folder(folder, through_link=through_link, mode=mode) as part:
        for column in COLUMNS:
            with part.create(f"{column}.npy") as file:
                np.save(file, getattr(index, column), allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
        with open(part.header, "wb", closefd=False) as header:
            header.write(header_bytes(index))


def header_bytes(index: Index) -> bytes:
    """Content of an index's ``header.json``: its header, and what its columns must be."""
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
    return f"{text}\n{seal}\n".encode()


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
        shapes: dict[str, _Shape] = {}
        with contextlib.ExitStack() as stack:
            for name in COLUMNS:
                path = self._path(name)
                try:
                    files[name] = stack.enter_context(with_room(partial(open_regular, path)))
                except OSError as error:
                    raise _not_opened(path, error) from error
                head = os.pread(files[name].fileno(), _MAX_COLUMN_HEADER_BYTES, 0)
                shapes[name] = _shape_of(head, _size_of(files[name], path), str(path))
            sizes = {name: shape.length * shape.kind.itemsize for name, shape in shapes.items()}
            parts = allocate({"names": sizes.pop("names")}) | allocate(sizes)
            order = sorted(files, key=lambda name: -len(parts[name]))
            digests = together(
                [partial(_read_into, files[name], parts[name], shapes[name], self._path(name)) for name in order],
                helped=sum(map(len, parts.values())) >= _WORTH_A_THREAD,
            )
        columns = {name: np.frombuffer(part, shapes[name].kind) for name, part in parts.items()}
        return _index(
            self._body,
            header or self.header,
            columns,
            dict(zip(order, digests, strict=True)),
            str(self._folder),
            parts["names"].obj,
        )

    def _path(self, column: str) -> Path:
        return self._folder / f"{column}.npy"


def _read_into(file: BinaryIO, part: memoryview, shape: _Shape, path: Path) -> str:
    """Read a column; gives its digest. Each piece is summed up while the processor's cache has it."""
    raw, sums = np.frombuffer(part, np.uint8), []
    for low in range(0, len(part), _PIECE):
        done, end = low, min(low + _PIECE, len(part))
        while done < end:
            count = os.preadv(file.fileno(), (part[done:end],), shape.start + done)
            if not count:
                raise IndexFormatError(f"{path}: was cut off; build the index again")
            done += count
        sums.append(_sums(raw[low:end]))
    return _digest(np.concatenate(sums) if sums else _sums(raw), raw, shape.kind, shape.length)


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
        with with_room(partial(open_regular, path)) as file:
            return file.read(_size_of(file, path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FileNotFoundError(path) from error
    except OSError as error:
        raise _not_opened(path, error) from error


def _not_opened(path: Path, error: OSError) -> OSError | IndexFormatError:
    """What to say of a file of an index that can't be opened: nothing of the index where no descriptor is left."""
    return none_left(error) or IndexFormatError(
        f"{path}: {error.strerror}; delete the folder, or build the index again"
    )


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
    columns = {name: _column(parts[name], f"{label}/{name}.npy") for name in COLUMNS}
    digests = {name: digest(column) for name, column in columns.items()}
    return _index(body, Header.from_json(body["header"]), columns, digests, label)


def _index(
    body: dict[str, Any],
    header: Header,
    columns: dict[str, NDArray[Any]],
    digests: dict[str, str],
    label: str,
    mapped: Any = None,
) -> Index:
    for name in COLUMNS:
        if digests[name] != body["digests"].get(name):
            raise IndexFormatError(f"{label}/{name}.npy: is damaged (its digest is wrong); build the index again")
    check_columns(columns, body["capacity"], header, label)
    return Index(**columns, capacity=body["capacity"], header=header, mapped_names=mapped)


class _Shape(NamedTuple):
    """What the head of a ``.npy`` file says: the type of its numbers, how many, and where they begin."""

    kind: np.dtype[Any]
    length: int
    start: int


def _column(part: memoryview, label: str) -> NDArray[Any]:
    """The array of a ``.npy`` file, in the same memory."""
    return np.frombuffer(part, *_shape_of(bytes(part[:_MAX_COLUMN_HEADER_BYTES]), len(part), label))


def _shape_of(head: bytes, file_size: int, label: str) -> _Shape:
    # As `numpy.save` writes it; numpy's own reader runs a tokenizer on what a stranger has written.
    found = _COLUMN_HEADER.match(head)
    size = int.from_bytes(found[1], "little") if found else -1
    if found is None or found.end() != size + found.end(1):
        raise IndexFormatError(f"{label}: isn't a column of an index; delete the folder, or build the index again")
    kind, count = np.dtype(found[2].decode()), int(found[3])
    if file_size - found.end() != count * kind.itemsize:
        raise IndexFormatError(f"{label}: is cut off, or longer than it says; build the index again")
    return _Shape(kind, count, found.end())


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
