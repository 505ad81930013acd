"""The project as a transaction would leave it, for fsspec's rules of what goes where."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from fsspec import AbstractFileSystem

from blobdir.discovery import layout
from blobdir.pathtext import stripped

if TYPE_CHECKING:
    from blobdir.packing.editing import Edit


class EditView(AbstractFileSystem):
    """What there would be, by names only: files and folders, and which of them a pattern fits.

    Parameters
    ----------
    edit : Edit
    """

    protocol = "blobdir"
    cachable = False

    def __init__(self, edit: Edit) -> None:
        super().__init__()
        self._edit = edit

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return stripped(path)

    def _kind(self, path: Any) -> str:
        name = stripped(path)
        if name and self._edit.exists(name):
            return "file"
        return "directory" if not name or self._edit.holds(name) or self._edit.folders_below(name) else ""

    def exists(self, path: Any, **_: Any) -> bool:
        """Whether there would be such a file or folder."""
        return self._kind(path) != ""

    def isfile(self, path: Any) -> bool:
        """Whether there would be such a file."""
        return self._kind(path) == "file"

    def isdir(self, path: Any) -> bool:
        """Whether there would be such a folder."""
        return self._kind(path) == "directory"

    def info(self, path: Any, **_: Any) -> dict[str, Any]:
        """Name and type; how large it is, isn't asked."""
        if kind := self._kind(path):
            return {"name": stripped(path), "size": None, "type": kind}
        raise FileNotFoundError(errno.ENOENT, "no such file or folder", path)

    def find(
        self, path: Any, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **_: Any
    ) -> Any:
        """All files below a path, sorted; with `withdirs`, folders too."""
        name = stripped(path)
        if self.isfile(name):
            return {name: self.info(name)} if detail else [name]
        files = self._edit.files_below(name)
        kinds = dict.fromkeys(files, "file")
        if withdirs:
            folders = {folder for file in files for folder in layout.above(file)}
            folders |= {one for empty in self._edit.folders_below(name) for one in (*layout.above(empty), empty)}
            inside = (folder for folder in folders if f"{folder}/".startswith(f"{name}/" if name else ""))
            kinds |= dict.fromkeys(inside, "directory")
        depth = name.count("/") + 1 if name else 0
        found = {
            one: {"name": one, "size": None, "type": kind}
            for one, kind in sorted(kinds.items())
            if maxdepth is None or one.count("/") + 1 - depth <= maxdepth
        }
        return found if detail else list(found)
