"""Small blob projects, made for one test: every part by itself, so that a test can leave out or damage any."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

from blobdir.offsets import write_offsets

Entries = list[tuple[bytes, int, int]]


def write_tar(path: Path, members: dict[str, bytes], *, kind: int = tarfile.GNU_FORMAT) -> Entries:
    """Write a tar and give the entries of its offsets."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=kind) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_700_000_000
            tar.addfile(info, io.BytesIO(data))
    with tarfile.open(path) as tar:
        return [
            (os.fsencode(os.path.basename(m.name)), m.offset_data, m.offset_data + m.size) for m in tar.getmembers()
        ]


class Builder:
    """A blob project under construction."""

    def __init__(self, root: Path, *, meta: bool = True) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        if meta:
            self.loose("meta.json", json.dumps({"classes": [], "tags": [], "projectType": "images"}).encode())

    def loose(self, path: str, data: bytes) -> Path:
        """Write a plain file."""
        full = self.root / path
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_bytes(data)
        return full

    def tar(self, stem: str, members: dict[str, bytes], folder: str = "blob") -> Entries:
        """Write a blob without offsets."""
        return write_tar(self.root / folder / f"{stem}.tar", members)

    def offsets(self, dataset: str, stem: str, entries: Entries) -> Path:
        """Write an offsets pickle."""
        path = self.root / dataset / f"{stem}_offsets.pkl"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_offsets(path, entries)
        return path

    def blob(self, dataset: str, stem: str, members: dict[str, bytes]) -> Entries:
        """Write a blob and the offsets of all its members, with an annotation for each."""
        entries = self.tar(stem, members)
        self.offsets(dataset, stem, entries)
        for name in members:
            self.loose(f"{dataset}/ann/{os.path.basename(name)}.json", b'{"size": {"height": 1, "width": 1}}')
        return entries
