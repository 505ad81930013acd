"""Blob projects from a dictionary: what is to be shown goes in, where its bytes lie is decided here."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from blob_builder import Entries, write_tar

from blobdir.offsets import write_offsets

META = b'{"classes": [], "tags": [], "projectType": "images"}'


def make_project(
    root: Path, files: Mapping[str, bytes], *, blobs: int = 1, loose: Collection[str] = (), nested_tar: bool = False
) -> Path:
    """Write a blob project that shows `files`.

    Parameters
    ----------
    root : Path
        Folder of the project; made if need be.
    files : mapping of str to bytes
        Path in the project -> content. ``meta.json`` is added where it's missing.
    blobs : int
        Tars per dataset, over which its images are dealt in turns.
    loose : collection of str
        Paths that are to be plain files. All that aren't below an ``img/`` are anyway.
    nested_tar : bool
        Whether a member's name in the tar has a folder before it, which the SDK drops.

    Returns
    -------
    Path
        `root`.
    """
    members: dict[str, list[dict[str, bytes]]] = {}
    for path, data in _with_meta(files).items():
        dataset, found, name = path.partition("/img/")
        if not found or path in loose:
            _write(root, path, data)
            continue
        dealt = members.setdefault(dataset, [{} for _ in range(blobs)])
        dealt[sum(map(len, dealt)) % blobs][name] = data
    for number, (dataset, part) in enumerate((d, p) for d, parts in members.items() for p in parts if p):
        stem = f"{number}-{dataset.replace('/', '-')}"
        _write(root, f"{dataset}/{stem}_offsets.pkl", b"")
        write_offsets(root / dataset / f"{stem}_offsets.pkl", _pack(root / f"blob/{stem}.tar", part, nested_tar))
    return root


def plain_copy(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write the same files as plain ones: what the project shows, for a filesystem that is known to be right."""
    for path, data in _with_meta(files).items():
        _write(root, path, data)
    return root


def files_below(root: Path) -> dict[str, bytes]:
    """Path -> content of all plain files below a folder, as `make_project` takes them."""
    return {os.path.relpath(path, root): path.read_bytes() for path in _walk(root)}


def _with_meta(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {"meta.json": META} | dict(files)


def _pack(tar: Path, part: Mapping[str, bytes], nested: bool) -> Entries:
    prefix = "some folder/" if nested else ""
    entries = write_tar(tar, {prefix + name: data for name, data in part.items()})
    return [(os.fsencode(name), start, end) for name, (_, start, end) in zip(part, entries, strict=True)]


def _write(root: Path, path: str, data: bytes) -> None:
    full = root / path
    full.parent.mkdir(parents=True, exist_ok=True)
    full.write_bytes(data)


def _walk(root: Path) -> Iterator[Path]:
    return (path for path in sorted(root.rglob("*")) if path.is_file())
