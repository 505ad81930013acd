"""Tars of a few members, on this machine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

Members = dict[str, bytes]


def write_members(path: Path, members: Members, links: dict[str, str] | None = None) -> Path:
    """A tar with these files, folders of their own where a name ends with a slash, and links."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name.rstrip("/"))
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return path


@pytest.fixture
def tar(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tar into the test's own folder."""

    def write(name: str, members: Members, links: dict[str, str] | None = None) -> Path:
        return write_members(tmp_path / name, members, links)

    return write
