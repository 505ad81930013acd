"""The members of a tar archive as columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from blobdir.wording import counted

from .header import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

NAMED_IN_WARNING: Final = 3


class Kind(NamedTuple):
    """Why a member isn't in the table.

    Attributes
    ----------
    one, many : str
        What it is.
    advice : str
        What to do; empty where there is nothing.
    has_data : bool
        Whether bytes of an image are left out with it.
    """

    one: str
    many: str
    advice: str = ""
    has_data: bool = False


SYMBOLIC_LINK: Final = Kind("symbolic link", "symbolic links")
CHARACTER_DEVICE: Final = Kind("character device", "character devices")
BLOCK_DEVICE: Final = Kind("block device", "block devices")
PIPE: Final = Kind("named pipe", "named pipes")
OTHER_TYPE: Final = Kind("member of a type that is no file's", "members of types that are no file's")
SPARSE: Final = Kind(
    "sparse file, whose data isn't one byte range",
    "sparse files, whose data isn't one byte range",
    "make the archive again without --sparse",
    has_data=True,
)
OTHER_VOLUME: Final = Kind(
    "file that is continued from another volume",
    "files that are continued from another volume",
    "make the archive again as a single one",
    has_data=True,
)
FOLDER: Final = Kind("entry of a folder", "entries of folders")
NAMELESS: Final = Kind("member without a name", "members without a name", has_data=True)
LINK_TO_NOTHING: Final = Kind(
    "hard link to what isn't a member before it", "hard links to what isn't a member before them"
)
LINK_TO_LEFT_OUT: Final = Kind("hard link to what was left out", "hard links to what was left out")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A member that isn't in the table, such as a symbolic link.

    Attributes
    ----------
    kind : Kind
    name : bytes
    position : int
        Byte of its header.
    row : int
        Number of rows of the table before it.
    target : bytes
        What a symbolic link says.
    """

    kind: Kind
    name: bytes
    position: int
    row: int
    target: bytes = b""


def in_words(left_out: Iterable[LeftOut]) -> list[str]:
    """What was left out: a sentence for each kind, with the number, and the first few by name."""
    return [
        f"left out {_named(kind, members)}{f'; {kind.advice}' if kind.advice else ''}"
        for kind, members in _by_kind(left_out)
    ]


def served_not(members: Iterable[LeftOut]) -> list[tuple[str, list[LeftOut]]]:
    """The same of members that have a name and no bytes to be read, and which each sentence is about."""
    return [
        (f"can't be read: {_named(kind, some)}{f'; {kind.advice}' if kind.advice else ''}", some)
        for kind, some in _by_kind(members)
    ]


def named_in_words(members: Iterable[LeftOut]) -> str:
    """The number of members of each kind, and the first few by name, without what became of them."""
    return "; ".join(_named(kind, some) for kind, some in _by_kind(members))


def _by_kind(members: Iterable[LeftOut]) -> list[tuple[Kind, list[LeftOut]]]:
    of_kind: dict[Kind, list[LeftOut]] = {}
    for member in members:
        of_kind.setdefault(member.kind, []).append(member)
    return list(of_kind.items())


def _named(kind: Kind, members: list[LeftOut]) -> str:
    named = ", ".join(f"{shown(member.name)} at byte {member.position}" for member in members[:NAMED_IN_WARNING])
    more = ", …" if len(members) > NAMED_IN_WARNING else ""
    return f"{counted(len(members), kind.one, kind.many)}: {named}{more}"


@dataclass(frozen=True, slots=True, eq=False)
class TarTable:
    """Regular files and hard links of a tar archive, in the order of the archive.

    A name that occurs several times has several rows; which of them counts is the caller's decision.

    Attributes
    ----------
    arena : ndarray of uint8
        The full member names as the archive has them, each followed by one NUL.
    name_start : ndarray of int64, shape (n + 1,)
        Name ``i`` is ``arena[name_start[i]:name_start[i + 1] - 1]``.
    start, end : ndarray of int64, shape (n,)
        Byte range of the member's data in the archive, half-open. A hard link has the range of the member it names.
    mtime_ns : ndarray of int64, shape (n,)
        Modification time in nanoseconds since 1970, clipped to what 64 bits can hold; 0 where it isn't a number.
    mode : ndarray of uint16, shape (n,)
        Permission bits, at most ``0o7777``; 0 where they aren't a number.
    left_out : tuple of LeftOut
        Members that can't be rows, sorted by kind.
    doubts : tuple of str
        What was noticed of the archive: bytes behind its end, a missing end marker.
    size : int
        Bytes of the archive.
    next_archive : int
        Byte of the first header behind the end of the archive; -1 if there is none.
    folders : tuple of LeftOut
        Entries of folders.
    not_extracted : mapping of int to Kind
        Rows that readers of tars don't have in the end, see `extracting`, and why; but for those that another row takes
        the place of.
    others_there : mapping of bytes to LeftOut, optional
        Path -> what is there in the end and no row: symbolic links, devices and the like. None: all that was left out.
    folders_there : frozenset of bytes, optional
        Paths of the folders that are there in the end. None: those of `folders`, and those of all names.
    """

    arena: NDArray[np.uint8]
    name_start: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    mtime_ns: NDArray[np.int64]
    mode: NDArray[np.uint16]
    left_out: tuple[LeftOut, ...]
    doubts: tuple[str, ...]
    size: int
    next_archive: int = -1
    folders: tuple[LeftOut, ...] = ()
    not_extracted: Mapping[int, Kind] = field(default_factory=dict)
    others_there: Mapping[bytes, LeftOut] | None = None
    folders_there: frozenset[bytes] | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """All that was noticed and costs no byte of the rows: what was left out, and doubts."""
        return (*in_words(self.left_out), *self.doubts)

    def __len__(self) -> int:
        return len(self.start)

    def name(self, i: int) -> bytes:
        """Full name of member `i`, ``0 <= i < len(self)``.

        Raises
        ------
        IndexError
            There is no such member.
        """
        if not 0 <= i < len(self.start):
            raise IndexError(i)
        return self.arena[self.name_start[i] : self.name_start[i + 1] - 1].tobytes()
