"""The members of a tar archive as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
        Modification time in nanoseconds since 1970, clipped to what 64 bits can hold.
    mode : ndarray of uint16, shape (n,)
        Permission bits, at most ``0o7777``.
    warnings : tuple of str
        What was noticed and costs no byte of the members: skipped symbolic links, a missing end marker.
    size : int
        Bytes of the archive.
    """

    arena: NDArray[np.uint8]
    name_start: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    mtime_ns: NDArray[np.int64]
    mode: NDArray[np.uint16]
    warnings: tuple[str, ...]
    size: int

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
