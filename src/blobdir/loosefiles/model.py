"""What readers of loose files are, wherever the files lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from blobdir.errors import SourceChangedError

if TYPE_CHECKING:
    from blobdir.sources import Stat
    from blobdir.sources.disks import Disk


class OpenFile(Protocol):
    """One version of one file. Threads may share it.

    Attributes
    ----------
    size : int
        Bytes.
    version : Stat
        What it's known by.
    """

    size: int
    version: Stat

    def read(self, start: int, end: int) -> bytes:
        """Bytes ``start:end``, half-open, cut at its end; SourceChangedError where they are of another version."""
        ...

    def check_size(self) -> None:
        """Raise OSError of a file that says it has far more bytes than it takes on its disk."""
        ...


class LooseFiles(Protocol):
    """The loose files of one tree, by their rows.

    Attributes
    ----------
    are_there : bool
        Whether directories and links of the tree lie where its storage is, and can change there.
    disks : tuple of Disk
        What the tree is on, as it was when it was opened; none behind a backend.
    """

    are_there: bool
    disks: tuple[Disk, ...]

    def folder(self, row: int) -> tuple[Stat, bool]:
        """Attributes of a directory, and whether they are those of now.

        Of one that isn't there any more, or whose disk isn't, those that it had. FileNotFoundError, NotADirectoryError,
        LinkError where there was none that could be looked at when the project was opened either.
        """
        ...

    def link(self, row: int) -> Stat | None:
        """Attributes of a symbolic link itself; None where it can't be looked at, or there is none.

        ReadError where its disk is gone.
        """
        ...

    def stat(self, row: int) -> Stat:
        """Attributes of a file; NotFoundError where it's gone, ReadError where something else is there."""
        ...

    def version(self, row: int) -> Stat:
        """Which version of a file is there now; NotFoundError where it's gone."""
        ...

    def read(self, row: int, start: int, end: int | None) -> bytes:
        """Bytes ``start:end`` of a file as it is now, whatever its size was: as of a slice, negative ones from its end.

        NotFoundError where it's gone.
        """
        ...

    def read_version(self, row: int, start: int, end: int) -> tuple[bytes, Stat]:
        """The same, and the version of the file that they are of."""
        ...

    def open(self, row: int) -> OpenFile:
        """A file as it is now, for who reads it in pieces; NotFoundError where it's gone."""
        ...

    def read_many(self, rows: list[int]) -> list[bytes]:
        """Whole files."""
        ...

    def read_each(self, rows: list[int]) -> list[bytes | OSError]:
        """Whole files, or why one can't be read."""
        ...

    def check_size(self, row: int) -> None:
        """Raise OSError of a file that says it has far more bytes than it takes on its disk."""
        ...


def changed(path: str) -> SourceChangedError:
    """The error of a file that isn't any more what it was when it was opened."""
    return SourceChangedError(f"{path}: was replaced between two reads of it, or written to; open it again")
