"""Indexes of shards, for DALI and wids, against the tars that they are about."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from blobdir.discovery import layout
from blobdir.errors import BlobdirError, LinkError
from blobdir.packing.shardindexes import (
    DALI,
    WIDS,
    belongs,
    is_cut,
    is_dali,
    is_damaged,
    is_wids,
    name_in,
    read_wids,
    shard_of,
    twice,
)
from blobdir.verifying.findings import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from blobdir.packing.shardindexes import Shard
    from blobdir.sources import LocalStorage
    from blobdir.tarscan import TarTable
    from blobdir.verifying.findings import VerifyReport
    from blobdir.verifying.places import Folders

STALE: Final = "shard-index-stale"
_RENEW: Final = "changes by blobdir renew only what blobdir wrote: write it anew, or remove it"
_DAMAGED: Final = "is cut off, or empty: nobody can read it"
_FOREIGN: Final = "is called like an index of shards, and isn't one; blobdir leaves it as it is"


class ShardIndexes:
    """Those of a project; told of each tar of images.

    Parameters
    ----------
    storage : LocalStorage
    folders : dict
        All folders of the project by path.
    report : VerifyReport
    """

    def __init__(self, storage: LocalStorage, folders: Folders, report: VerifyReport) -> None:
        self._storage, self._report = storage, report
        folder = folders.get(layout.BLOB_DIR)
        names = [entry.name for entry in folder.entries if entry.kind in ("file", "link")] if folder else []
        self._links = {entry.name for entry in folder.entries if entry.kind == "link"} if folder else set()
        self._tars = {name for name in names if layout.blob_stem(name) is not None}
        self._of_dali = {name for name in names if name.endswith(DALI)}
        self._of_wids = [name for name in names if name.endswith(WIDS)]
        self._shards: dict[str, tuple[int, int]] = {}

    def look(self, path: str, table: TarTable) -> None:
        """Hold the index of one tar against it, and remember what the others should say."""
        name = path.rpartition("/")[2]
        index = f"{name.removesuffix('.tar')}{DALI}"
        if not self._of_wids and index not in self._of_dali:
            return
        shard = shard_of(table)
        self._shards[name] = shard.samples, shard.size
        if index in self._of_dali:
            self._of_dali.remove(index)
            self._compare(f"{layout.BLOB_DIR}/{index}", name, shard)

    def _compare(self, path: str, tar: str, shard: Shard) -> None:
        data = self._read(path)
        if data is None:
            return
        if not is_dali(data):
            self._say_none(path, data)
        elif data != shard.dali:
            self._say(path, f"isn't what DALI's index of {tar} must be")

    def finish(self) -> None:
        """Say what indexes have of tars that aren't there, or are others, once all are known."""
        for name in sorted(self._of_dali):
            path, tar = f"{layout.BLOB_DIR}/{name}", f"{name.removesuffix(DALI)}.tar"
            if tar not in self._tars and is_dali(self._read(path) or b""):
                self._say(path, f"is an index of {tar}, which isn't there")
        for name in self._of_wids:
            path = f"{layout.BLOB_DIR}/{name}"
            data, slug = self._read(path), name.removesuffix(WIDS)
            if data is None:
                continue
            content = read_wids(data)
            for fault in self._faults(content["shardlist"], slug) if content else ():
                self._say(path, fault)
            is_own = any(belongs(tar, slug) for tar in self._tars)
            if content is None and ((is_own and not is_wids(data)) or (data and is_damaged(name, data))):
                self._say_none(path, data)

    def _faults(self, shards: list[dict[str, Any]], slug: str) -> Iterator[str]:
        named = {name_in(one): one for one in shards}
        for name, one in named.items():
            samples, size = self._shards.get(name, (one.get("nsamples"), one.get("filesize")))
            if name and name not in self._tars:
                yield f"names {name}, which isn't there"
            elif one.get("nsamples") != samples or one.get("filesize", size) != size:
                yield f"says that {name} has {one.get('nsamples')} samples, and it has {samples} in {size} bytes"
            if name in self._tars and is_cut(name):
                yield f"names {name}, which wids can't open: it takes names for URLs, that end at #, ? and ;"
        for name in twice(shards, slug):
            yield f"names {name} more than once, so its samples count more than once"
        for name in sorted(self._tars - named.keys()):
            if belongs(name, slug):
                yield f"doesn't name {name}"

    def _read(self, path: str) -> bytes | None:
        """Content; None where there is none, which links that lead elsewhere or nowhere are said for by `around`."""
        try:
            return self._storage.read(path)
        except (OSError, BlobdirError) as error:
            is_said = isinstance(error, (LinkError, FileNotFoundError)) or getattr(error, "errno", 0) == errno.ELOOP
            if not (is_said and path.rpartition("/")[2] in self._links):
                self._report.add("unreadable", path, in_words(error))
            return None

    def _say_none(self, path: str, data: bytes) -> None:
        if is_damaged(path, data):
            self._say(path, _DAMAGED)
        else:
            self._report.add(STALE, path, _FOREIGN)

    def _say(self, path: str, fault: str) -> None:
        self._report.add(STALE, path, f"{fault}; {_RENEW}")
