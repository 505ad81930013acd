"""What a filesystem answers that can't be written to: one clear error to everything that would change it."""

from __future__ import annotations

from typing import Any, NoReturn

from fsspec import AbstractFileSystem

from blobdir.errors import ReadOnlyError


class ReadOnlyFileSystem(AbstractFileSystem):
    """An fsspec filesystem whose every method that writes raises `ReadOnlyError` (``EROFS``), before it does anything.

    fsspec's own methods would look at the paths first, and say that they don't exist, or do half of the work.
    """

    def _refuse(self, what: str, path: Any = "") -> NoReturn:
        raise ReadOnlyError(
            f"{what} {path}: this filesystem is read-only outside of a transaction; `with fs.transaction:` makes one "
            "change of all that is written in it, or none"
        )

    def mkdir(self, path: Any, create_parents: bool = True, **kwargs: Any) -> None:
        """Not here: read-only."""
        self._refuse("mkdir", path)

    def makedirs(self, path: Any, exist_ok: bool = False) -> None:
        """Not here: read-only."""
        self._refuse("makedirs", path)

    def rmdir(self, path: Any) -> None:
        """Not here: read-only."""
        self._refuse("rmdir", path)

    def rm(self, path: Any, recursive: bool = False, maxdepth: int | None = None) -> None:
        """Not here: read-only."""
        self._refuse("rm", path)

    def rm_file(self, path: Any) -> None:
        """Not here: read-only."""
        self._refuse("rm", path)

    def _rm(self, path: Any) -> None:
        self._refuse("rm", path)

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **kwargs: Any) -> None:
        """Not here: read-only."""
        self._refuse("mv", path1)

    def copy(
        self,
        path1: Any,
        path2: Any,
        recursive: bool = False,
        maxdepth: int | None = None,
        on_error: Any = None,
        **kwargs: Any,
    ) -> None:
        """Not here: read-only."""
        self._refuse("copy to", path2)

    def cp_file(self, path1: Any, path2: Any, **kwargs: Any) -> None:
        """Not here: read-only."""
        self._refuse("copy to", path2)

    def put(self, lpath: Any, rpath: Any, *args: Any, **kwargs: Any) -> None:
        """Not here: read-only."""
        self._refuse("put", rpath)

    def put_file(self, lpath: Any, rpath: Any, *args: Any, **kwargs: Any) -> None:
        """Not here: read-only."""
        self._refuse("put", rpath)

    def pipe(self, path: Any, value: Any = None, **kwargs: Any) -> None:
        """Not here: read-only."""
        self._refuse("pipe", path)

    def pipe_file(self, path: Any, value: Any, mode: str = "overwrite", **kwargs: Any) -> None:
        """Not here: read-only."""
        self._refuse("pipe", path)

    def touch(self, path: Any, truncate: bool = True, **kwargs: Any) -> None:
        """Not here: read-only."""
        self._refuse("touch", path)
