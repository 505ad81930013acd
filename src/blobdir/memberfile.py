"""An open file of a project, for fsspec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fsspec.spec import AbstractBufferedFile

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
        kwargs.setdefault("size", self._view.size(self._row))
        super().__init__(fs, path, mode=mode, **kwargs)

    def _fetch_range(self, start: int, end: int) -> bytes:
        return bytes(self._view.read(self._row, start, end))
