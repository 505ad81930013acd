"""An open file of a project, for fsspec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec.spec import AbstractBufferedFile

from blobdir.errors import SourceChangedError
from blobdir.loosefiles import SMALL_FILE

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from blobdir.tree import Tree


class MemberFile(AbstractBufferedFile):
    """An open file of the project; fsspec's buffered file does the work, `Tree.read` brings the bytes."""

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
        self._view, self._row = place
        size = self._view.size(self._row)
        self._is_loose = self._view.is_loose(self._row)
        self._whole: bytes | None = None
        if self._is_loose and not self._view.storage.is_quick and size <= SMALL_FILE:
            self._whole = self._view.read(self._row)  # no more requests than for a part, and none for its size
            size = len(self._whole)
        kwargs.setdefault("size", size)
        super().__init__(fs, path, mode=mode, **kwargs)

    def _fetch_range(self, start: int, end: int) -> bytes:
        if self._whole is not None:
            return self._whole[start:end]
        data = bytes(self._view.read(self._row, start, end))
        if self._is_loose and self._view.size(self._row) != self.size:  # it would be cut
            raise SourceChangedError(f"{self.path}: was replaced by a file of another size; open it again")
        return data
