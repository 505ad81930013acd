"""An open file of a project, for fsspec."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from fsspec.spec import AbstractBufferedFile

from blobdir.errors import SourceChangedError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from blobdir.loosefiles import OpenFile
    from blobdir.tree import Tree


def place_of(offset: int, whence: int, at: int, size: int) -> int:
    """The byte that a ``seek`` means in a file of `size` bytes whose next one is `at`; any behind its end is one.

    Raises
    ------
    OSError
        It lies before the beginning: `EINVAL`, as of any file of this machine, on which readers of archives rely.
    ValueError
        `whence` is none.
    """
    bases = {os.SEEK_SET: 0, os.SEEK_CUR: at, os.SEEK_END: size}
    if whence not in bases:
        raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
    if (found := bases[whence] + offset) < 0:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return found


class MemberFile(AbstractBufferedFile):
    """An open file of the project; fsspec's buffered file does the work, `Tree.open` brings the bytes."""

    loc: int

    def __init__(
        self,
        fs: AbstractFileSystem,
        path: str,
        place: tuple[Tree, int] | None = None,
        mode: str = "rb",
        **kwargs: Any,
    ) -> None:
        if place is None:
            view: Tree = fs.view
            place = view, view.find(path)
        opened = place[0].open(place[1])
        self._opened: OpenFile | None = opened
        version = opened.version.tag
        if kwargs.pop("version", version) != version or kwargs.pop("size", None) not in (None, opened.size):
            raise SourceChangedError(f"{path}: isn't the file any more that was open; open it again")
        super().__init__(fs, path, mode=mode, size=opened.size, **kwargs)
        self.kwargs.update(version=version)  # for its pickle, which is opened again

    def seek(self, loc: int, whence: int = 0) -> int:
        """Go to a byte; OSError, `EINVAL`, where that lies before the beginning."""
        self.loc = place_of(int(loc), whence, self.loc, self.size)
        return self.loc

    def _fetch_range(self, start: int, end: int) -> bytes:
        if self._opened is None:
            raise ValueError("I/O operation on closed file.")
        return self._opened.read(start, end)

    def close(self) -> None:
        """Close it; a descriptor goes at once."""
        super().close()
        self._opened = None
