"""The index in a folder: one ``.npy`` file per column and ``header.json``. Written beside and renamed, read by mmap."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from blobdir.errors import IndexFormatError, UsageError
from blobdir.index.hashing import PROBE_LIMIT
from blobdir.index.header import Header
from blobdir.index.table import BROKEN, COLUMNS, DIRECTORY, FIRST_BLOB, LINK, Index

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FORMAT = "blobdir index"
HEADER_FILE = "header.json"
VERSION = 1
_BLOCK = 1 << 16
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
    """Open a stored index; columns are mapped, not read.

    Raises
    ------
    FileNotFoundError
        There is none.
    IndexFormatError
        It is damaged, or of another version.
    """
    body = _read_header(folder / HEADER_FILE)
    columns: dict[str, NDArray[Any]] = {}
    for name in COLUMNS:
        path = folder / f"{name}.npy"
        try:
            column = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise IndexFormatError(f"{path}: {error}; delete the folder, or build the index again") from error
        columns[name] = np.asarray(column)
        if digest(columns[name]) != body["digests"].get(name):
            raise IndexFormatError(f"{path}: is damaged (its digest is wrong); build the index again")
    header = Header.from_json(body["header"])
    _check(columns, body["capacity"], folder)
    _check_references(columns, header, folder)
    return Index(**columns, capacity=body["capacity"], header=header)


def _read_header(path: Path) -> dict[str, Any]:
    text = path.read_bytes()
    content, _, seal = text.rstrip(b"\n").rpartition(b"\n")
    if hashlib.blake2b(content, digest_size=16).hexdigest().encode() != seal:
        raise IndexFormatError(f"{path}: is damaged, or no header of a blobdir index; build the index again")
    body = json.loads(content)
    if body.get("format") != FORMAT or body.get("version") != VERSION:
        raise IndexFormatError(
            f"{path}: version {body.get('version')} of {body.get('format')!r}, this program reads version {VERSION}; "
            "build the index again"
        )
    return dict(body)


def _check(columns: dict[str, NDArray[Any]], capacity: object, folder: Path) -> None:
    """Check what the reader relies on.

    An index may come with somebody else's project, so that its digests are right says nothing about what it holds.
    """

    def demand(condition: bool, what: str) -> None:
        if not condition:
            raise IndexFormatError(f"{folder}: {what}; build the index again")

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


def _check_references(columns: dict[str, NDArray[Any]], header: Header, folder: Path) -> None:
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
        raise IndexFormatError(f"{folder}: rows refer to what isn't there; build the index again")
