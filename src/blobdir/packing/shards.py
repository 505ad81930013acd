"""Writes one tar from many small files. Runs in processes of its own; importing it is quick."""

from __future__ import annotations

import hashlib
import os
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from blobdir.offsets import OffsetsTable
from blobdir.packing.tarformat import archive_end, member_header, padding

if TYPE_CHECKING:
    from blobdir.packing.columns import TextColumn

FLUSH_BYTES: Final = 4 << 20
"""Bytes that are gathered before they are written."""
CHUNK_BYTES: Final = 16 << 20
"""Bytes of a large file that are read at a time."""
# How what the format's users call images begins: bytes at places, all of which must be there. The common ones first.
IMAGE_BEGINNINGS: Final = (
    *(((0, magic),) for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")),
    ((0, b"RIFF"), (8, b"WEBP")),
    *(((0, magic),) for magic in (
        b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"NRRD", b"\0\0\0\x0cjP  ", b"P1", b"P2", b"P3", b"P4",
        b"P5", b"P6", b"qoif", b"\xff\x0a", b"\0\0\0\x0cJXL ",
    )),
    ((4, b"ftyp"),),
)  # fmt: skip


def is_image(data: bytes) -> bool:
    """Whether a file's first bytes are those of an image."""
    return any(all(data.startswith(magic, at) for at, magic in parts) for parts in IMAGE_BEGINNINGS)


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar that is to be written.

    Attributes
    ----------
    stem : str
        Its name without ``.tar``.
    dataset : str
        Path of its dataset.
    folder : str
        Where the sources lie.
    sources : TextColumn
        Their paths below `folder`.
    names : TextColumn
        Names of the members.
    sizes : array of int
        Bytes when they were listed.
    images : bool
        Whether they should be images.
    """

    stem: str
    dataset: str
    folder: str
    sources: TextColumn
    names: TextColumn
    sizes: array[int]
    images: bool = True

    def digest(self) -> str:
        """Changes when anything that is to be written does, as far as names and sizes say."""
        digest = hashlib.sha256(f"{self.stem}\0{self.dataset}\0{self.images}\0".encode("utf-8", "surrogateescape"))
        for column in (self.sources.joined(), self.names.joined(), self.sizes.tobytes()):
            digest.update(column + b"\0")
        return digest.hexdigest()


@dataclass(slots=True)
class WrittenShard:
    """A tar that was written.

    Attributes
    ----------
    members, member_bytes : int
    problems : list of (code, path, message)
    sha256 : str
    size : int
        Bytes of the tar.
    """

    members: int = 0
    member_bytes: int = 0
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    sha256: str = ""
    size: int = 0


class Places:
    """Where the members of a tar lie, while it is written.

    Attributes
    ----------
    kept : array of int
        Their numbers in the shard.
    starts, ends : array of int
    """

    def __init__(self) -> None:
        self.kept, self.starts, self.ends = array("q"), array("q"), array("q")

    def add(self, number: int, start: int, end: int) -> None:
        """Note a member."""
        self.kept.append(number)
        self.starts.append(start)
        self.ends.append(end)

    def table(self, names: TextColumn) -> OffsetsTable:
        """The offsets of a shard whose members have these names."""
        kept = names if len(self.kept) == len(names) else names.take(self.kept)
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept.lengths() + 1)])
        arena = np.frombuffer(kept.joined(), np.uint8)
        return OffsetsTable(arena, starts, np.array(self.starts, np.int64), np.array(self.ends, np.int64))


class TarOutput:
    """A tar that grows; its checksum is made on the way. A context manager that closes the file."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._digest = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._pending = 0
        self.position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what is gathered and not written is lost."""
        os.close(self._fd)

    def add(self, *pieces: bytes) -> None:
        """Bytes that come next."""
        self._pieces += pieces
        size = sum(map(len, pieces))
        self.position += size
        self._pending += size
        if self._pending >= FLUSH_BYTES:
            self.flush()

    def member(self, name: str, data: bytes) -> tuple[int, int]:
        """Add a member; gives the byte range of its data."""
        header = member_header(os.fsencode(name), len(data))
        start = self.position + len(header)
        self.add(header, data, padding(len(data)))
        return start, start + len(data)

    def read(self, start: int, end: int) -> bytes:
        """Bytes that were added before."""
        self.flush()
        return os.pread(self._fd, end - start, start)

    def flush(self) -> None:
        """Give what is gathered to the system."""
        data = memoryview(b"".join(self._pieces))
        self._pieces, self._pending = [], 0
        self._digest.update(data)
        while data:
            data = data[os.write(self._fd, data) :]

    def finish(self) -> str:
        """End the archive and bring it to the disk; gives its SHA-256."""
        self.add(archive_end(self.position))
        self.flush()
        os.fsync(self._fd)
        return self._digest.hexdigest()


def write_shard(shard: Shard, path: str, *, strict: bool = False) -> tuple[WrittenShard, OffsetsTable]:
    """Write a tar, and say where its members lie.

    What can't be read, or changes while it is read, is left out and reported.

    Raises
    ------
    OSError
        The tar can't be written.
    """
    written, places = WrittenShard(), Places()
    folder = os.open(shard.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with TarOutput(path) as output:
            for number in range(len(shard.names)):
                _add(output, written, places, folder, shard, number)
                if strict and written.problems:
                    break
            written.sha256, written.size = output.finish(), output.position
    finally:
        os.close(folder)
    return written, places.table(shard.names)


def _add(output: TarOutput, written: WrittenShard, places: Places, folder: int, shard: Shard, number: int) -> None:
    source, name = shard.sources[number], shard.names[number]
    try:
        file = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        written.problems.append(("unreadable", source, f"can't be read: {error.strerror}"))
        return
    try:
        # No more than is there: room for what doesn't come costs more than the call.
        data = os.read(file, min(shard.sizes[number] + 1, CHUNK_BYTES))
        size = os.fstat(file).st_size
    except OSError as error:
        os.close(file)
        written.problems.append(("unreadable", source, f"can't be read: {error.strerror}"))
        return
    try:
        if len(data) != size and len(data) < CHUNK_BYTES:
            written.problems.append(("changed", source, f"has {size} bytes now, and had {len(data)} when it was read"))
            return
        header = member_header(os.fsencode(name), size)
        start = output.position + len(header)
        if len(data) == size:
            output.add(header, data, padding(size))
        else:
            output.add(header)
            if not _copy(output, file, data, size):
                written.problems.append(("changed", source, "couldn't be read to the end; zeros stand in its place"))
                return
        places.add(number, start, start + size)
        written.members += 1
        written.member_bytes += size
        if shard.images and not is_image(data):
            code, what = ("not-an-image", "doesn't begin like an image") if data else ("empty", "is empty")
            written.problems.append((code, source, f"{what}; it was packed as it is"))
    finally:
        os.close(file)


def _copy(output: TarOutput, file: int, data: bytes, size: int) -> bool:
    """Copy a large file whose first chunk was read.

    Returns
    -------
    bool
        Whether it was there to the end; if not, zeros fill its place, so that the archive stays one.
    """
    left, whole = size, True
    while left:
        if not data:
            data, whole = bytes(min(left, CHUNK_BYTES)), False
        data = data[:left]
        output.add(data)
        output.flush()
        left -= len(data)
        try:
            data = os.read(file, CHUNK_BYTES) if left and whole else b""
        except OSError:
            data = b""
    output.add(padding(size))
    return whole
