"""An open file of a project, for fsspec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec.spec import AbstractBufferedFile

from blobdir.errors import SourceChangedError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from blobdir.loosefiles import OpenFile
    from blobdir.tree import Tree


class MemberFile(AbstractBufferedFile):
    """An open file of the project; fsspec's buffered file does the work, `Tree.open` brings the bytes."""

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

    def _fetch_range(self, start: int, end: int) -> bytes:
        if self._opened is None:
            raise ValueError("I/O operation on closed file.")
        return self._opened.read(start, end)

    def close(self) -> None:
        """Close it; a descriptor goes at once."""
        super().close()
        self._opened = None
