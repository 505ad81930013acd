"""Ways to look at a project, reduced to what the contract asks."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from blobdir.filesystem import BlobDirFileSystem


class Face(Protocol):
    """One way to look at a project. Paths have no slash at either end; the root is empty."""

    def names(self, path: str) -> list[str]:
        """Names in a directory."""

    def kind(self, path: str) -> str:
        """``file``, ``directory`` or ``link``."""

    def size(self, path: str) -> int:
        """Bytes of a file."""

    def mtime_ns(self, path: str) -> int:
        """When a file was changed, nanoseconds since 1970."""

    def mode(self, path: str) -> int:
        """Permission bits."""

    def target(self, path: str) -> str:
        """What a symbolic link says."""

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes ``start:end`` of a file."""


class FolderFace:
    """A folder: a mount, or plain files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def at(self, path: str) -> str:
        """The path on this machine."""
        return os.path.join(self.root, path) if path else str(self.root)

    def names(self, path: str) -> list[str]:
        """Names in a directory."""
        return os.listdir(self.at(path))

    def kind(self, path: str) -> str:
        """``file``, ``directory`` or ``link``."""
        mode = os.lstat(self.at(path)).st_mode
        return "directory" if stat.S_ISDIR(mode) else "link" if stat.S_ISLNK(mode) else "file"

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return int(os.stat(self.at(path)).st_size)

    def mtime_ns(self, path: str) -> int:
        """When a file was changed."""
        return os.stat(self.at(path)).st_mtime_ns

    def mode(self, path: str) -> int:
        """Permission bits."""
        return stat.S_IMODE(os.stat(self.at(path)).st_mode)

    def target(self, path: str) -> str:
        """What a symbolic link says."""
        return os.readlink(self.at(path))

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes ``start:end`` of a file."""
        with open(self.at(path), "rb") as file:
            file.seek(start)
            return file.read(None if end is None else end - start)


class FsspecFace:
    """The fsspec filesystem."""

    def __init__(self, fs: BlobDirFileSystem) -> None:
        self.fs = fs

    def names(self, path: str) -> list[str]:
        """Names in a directory."""
        if self.kind(path) != "directory":
            raise NotADirectoryError(path)
        return [name.rpartition("/")[2] for name in self.fs.ls(path, detail=False)]

    def kind(self, path: str) -> str:
        """``file``, ``directory`` or ``link``."""
        with suppress(OSError):
            row = self.fs.view.find(path, follow=False)
            if self.fs.view.attributes(row).kind == "link":
                return "link"
        return str(self.fs.info(path)["type"])

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return int(self.fs.info(path)["size"])

    def mtime_ns(self, path: str) -> int:
        """When a file was changed; fsspec has seconds, as a float."""
        seconds: float = self.fs.info(path)["mtime"]
        return round(seconds * 1e9)

    def mode(self, path: str) -> int:
        """Permission bits."""
        return stat.S_IMODE(self.fs.info(path)["mode"])

    def target(self, path: str) -> str:
        """What a symbolic link says."""
        return self.fs.view.link_target(self.fs.view.find(path, follow=False))

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """Bytes ``start:end`` of a file."""
        return bytes(self.fs.cat_file(path, start=start, end=end))
