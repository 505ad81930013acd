"""Writes one tar from many small files, in a process of its own."""

from __future__ import annotations

import errno
import hashlib
import os
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from blobdir.tarwriting.format import member_header, padding
from blobdir.tarwriting.lmdbs import StoreReader, is_address
from blobdir.tarwriting.output import Places, TarOutput
from blobdir.tarwriting.reading import CHUNK_BYTES, FileReader, LargeFile, UnreadableError, texts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.tarwriting.place import Place

# How what the format's users call images begins: bytes at places, all of which must be there. The common ones first.
IMAGE_BEGINNINGS: Final = (
    *(((0, magic),) for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")),
    ((0, b"RIFF"), (8, b"WEBP")),
    *(((0, magic),) for magic in (
        b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"NRRD", b"\0\0\0\x0cjP  ",
        b"\xff\x4f\xff\x51", b"P1", b"P2", b"P3", b"P4",
        b"P5", b"P6", b"qoif", b"\xff\x0a", b"\0\0\0\x0cJXL ",
    )),
    *(((4, b"ftyp" + brand),) for brand in (  # not of films, which begin alike
        b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1",
    )),
)  # fmt: skip
_COMMON: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def is_image(data: bytes) -> bool:
    """Whether a file's first bytes are those of an image."""
    return data.startswith(_COMMON) or any(
        all(data.startswith(magic, at) for at, magic in parts) for parts in IMAGE_BEGINNINGS
    )


@dataclass(frozen=True, slots=True)
class Labels:
    """Annotations, each of which is to follow its image.

    Attributes
    ----------
    place : Place
        The folder where they lie.
    sources : bytes
        Their names there, each followed by a NUL; empty for an image that has none.
    """

    place: Place
    sources: bytes

    def __iter__(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Name and bytes of each; None where there is none.

        Raises
        ------
        OSError
            One can't be read, which was written a moment ago.
        """
        reader = FileReader(self.place, self.place.root)
        try:
            for source in texts_of(self.sources):
                yield source, self._read(reader, source) if source else None
        finally:
            reader.close()

    def _read(self, reader: FileReader, source: bytes) -> bytes:
        try:
            data, _, rest = reader.read(source, 0, None)
            pieces = [data]
            while rest is not None and (data := rest.more()):
                pieces.append(data)
            if rest is None or rest.ended_as_it_was():
                return b"".join(pieces)
            why = "changed while it was read"
        except UnreadableError as error:
            why = error.args[1]
        raise OSError(errno.ESTALE, why, os.path.join(self.place.root, self.place.path, os.fsdecode(source)))

    def digest(self) -> str:
        """SHA-256 of all of them, as `write_members` gives it."""
        digest = hashlib.sha256()
        for _, data in self:
            digest.update(_counted(data))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Members:
    """What is to go into a tar, in as many bytes as it has: a process needs nothing to understand it.

    Attributes
    ----------
    folder : str
        Where the sources lie; or the address of an LMDB store.
    sources : bytes
        Their paths below `folder`, or keys, each followed by a NUL.
    names : bytes or None
        Names of the members, the same way; None: those of the sources.
    sizes : array of int
        Bytes when they were listed.
    stamps : array of int or None
        `stamp_of` each when it was listed; None where nobody has looked.
    root : str
        Links that lead out of this folder aren't followed; empty: all are.
    images : bool
        Whether they should be images.
    labels : Labels or None
        What is to follow each of them.
    """

    folder: str
    sources: bytes
    names: bytes | None
    sizes: array[int]
    stamps: array[int] | None = None
    root: str = ""
    images: bool = True
    labels: Labels | None = None

    def __iter__(self) -> Iterator[tuple[int, bytes, bytes, int, int | None]]:
        """Number, source, name, size and stamp of each."""
        sources = texts_of(self.sources)
        names = sources if self.names is None else texts_of(self.names)
        stamps = self.stamps if self.stamps is not None else [None] * len(self.sizes)
        for number, (size, stamp) in enumerate(zip(self.sizes, stamps, strict=True)):
            source = next(sources)
            yield number, source, source if names is sources else next(names), size, stamp


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
    settled : bool
        Whether a change of any of its sources since would show in their stamps.
    labels : str
        `Labels.digest` of what follows its images.
    dali : str
        Of a shard that is indexed, what DALI's index of it says.
    samples : int
        Of such, as wids counts them.
    """

    members: int = 0
    member_bytes: int = 0
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    sha256: str = ""
    size: int = 0
    settled: bool = True
    labels: str = ""
    dali: str = ""
    samples: int = 0


def write_members(
    members: Members, path: str | None, strict: bool = False, place: Place | None = None
) -> tuple[WrittenShard, Places]:
    """Write a tar, and say where its members lie.

    What can't be read, or changes each time it's read, is left out and reported.

    Parameters
    ----------
    members : Members
    path : str or None
        None: only look at what would be written.
    strict : bool
        Stop at the first problem.
    place : Place, optional
        The folder that `path` is a name in.

    Raises
    ------
    OSError
        The tar can't be written.
    """
    is_store = is_address(members.folder)
    reader = StoreReader(members.folder) if is_store else FileReader(members.folder, members.root)
    folder = None
    try:
        folder = place.open() if place else None
        with TarOutput(path, dir_fd=folder) as output:
            writer = _Writer(output, reader, members.images)
            add = writer.look if path is None else writer.add
            labels = iter(members.labels) if members.labels is not None else None
            for number, source, name, size, stamp in members:
                add(number, source, name, size, stamp)
                if labels is not None:
                    writer.add_label(number, name, next(labels)[1])
                if strict and writer.written.problems:
                    break
            written = writer.written
            written.sha256, written.size, written.settled = output.finish(), output.position, reader.settled
            written.labels = writer.labels.hexdigest() if labels is not None else ""
    finally:
        reader.close()
        if folder is not None:
            os.close(folder)
    return written, writer.places


class _Writer:
    """Adds members to a tar, and takes down what became of them."""

    def __init__(self, output: TarOutput, reader: FileReader | StoreReader, images: bool) -> None:
        self._output, self._reader, self._images = output, reader, images
        self.written, self.places = WrittenShard(), Places()
        self.labels = hashlib.sha256()

    def add(self, number: int, source: bytes, name: bytes, size: int, stamp: int | None) -> None:
        """Add a file."""
        try:
            data, size, rest = self._reader.read(source, size, stamp)
        except UnreadableError as error:
            self._problem(error.args[0], source, error.args[1])
            return
        output = self._output
        if rest is None:
            start, end = output.member(name, data)
        else:
            header = member_header(name, size)
            start = output.position + len(header)
            end = start + size
            output.add(header)
            if not _copy(output, rest, data, size):
                self._problem("changed", source, "changed while it was read; what is in its place isn't used")
                return
        self._added(number, source, data, start, end)

    def add_label(self, number: int, name: bytes, data: bytes | None) -> None:
        """Add the annotation of the file that was just to be added, if that is in the tar."""
        self.labels.update(_counted(data))
        if data is not None and self.places.kept[-1:] == array("q", [number]):
            self._output.member(label_called(name), data)

    def look(self, number: int, source: bytes, name: bytes, _size: int, _stamp: int | None) -> None:
        """Find out what adding a file would say."""
        try:
            data, size = self._reader.look(source)
        except UnreadableError as error:
            self._problem(error.args[0], source, error.args[1])
            return
        start = self._output.position + len(member_header(name, size))
        self._output.position = start + size + len(padding(size))
        self._added(number, source, data, start, start + size)

    def _added(self, number: int, source: bytes, data: bytes, start: int, end: int) -> None:
        self.places.add(number, start, end)
        self.written.members += 1
        self.written.member_bytes += end - start
        if self._images and not is_image(data):
            code, what = ("not-an-image", "doesn't begin like an image") if data else ("empty", "is empty")
            self._problem(code, source, f"{what}; it was packed as it is")

    def _problem(self, code: str, source: bytes, text: str) -> None:
        self.written.problems.append((code, os.fsdecode(source), text))


def label_called(name: bytes) -> bytes:
    """What the annotation of a member is called, whose name has one dot behind its folders."""
    return name.rpartition(b".")[0] + b".json"


def is_label_called(name: bytes, image: bytes) -> bool:
    """Whether a member is called as the annotation of another one: WebDataset takes ``.JSON`` for ``.json``."""
    stem, dot, extension = name.rpartition(b".")
    return stem + dot + extension.lower() == label_called(image)


def _counted(data: bytes | None) -> bytes:
    """An annotation such that many behind each other can't be others; or that there is none."""
    return b"-" if data is None else b"%d:%b" % (len(data), data)


def _copy(output: TarOutput, rest: LargeFile, data: bytes, size: int) -> bool:
    """Copy a large file whose first chunk was read.

    Where it ends too early zeros fill its place, so that the archive stays one.

    Returns
    -------
    bool
        Whether it was the same to the end.
    """
    left, whole = size, True
    while left:
        if not data:
            data, whole = bytes(min(left, CHUNK_BYTES)), False
        data = data[:left]
        output.add(data)
        output.flush()
        left -= len(data)
        data = rest.more() if left and whole else b""
    output.add(padding(size))
    return rest.ended_as_it_was() and whole
