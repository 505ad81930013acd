"""An LMDB store: ``train/a.jpg`` is an image, ``train/a.jpg.json`` its annotation, ``meta.json`` the classes.

Values are the bytes as they are. ``blobdir pack lmdb:PATH`` makes a project of it again.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from blobdir.discovery import layout
from blobdir.errors import PackError
from blobdir.stores.model import StorePlan, StoreWriter
from blobdir.tarwriting.lmdbs import DATA, library

if TYPE_CHECKING:
    from collections.abc import Sequence

    from blobdir.stores.model import Sample

_ROOM: Final = 64 << 20
"""Bytes of address space that a store has at first, on top of twice its values; it's no room on the disk."""
_PAGE: Final = 4096
_LABEL: Final = b".json"


class LmdbWriter(StoreWriter):
    """Writes ``data.mdb``; some images are one transaction."""

    def __init__(self, plan: StorePlan) -> None:
        super().__init__(plan)
        self._lmdb = library()
        self._size = _up(2 * plan.bytes + _ROOM)
        plan.made.fd("")
        folder = plan.made.full("")
        try:
            self._env: Any = self._lmdb.open(folder, map_size=self._size, lock=False, sync=False, mode=0o666)
        except self._lmdb.Error as error:
            raise self._unwritten(error) from error
        self._longest = self._env.max_key_size()
        self._dataset = ""

    @classmethod
    def check(cls) -> None:
        """LMDB has to be there."""
        library()

    def begin(self, dataset: str, path: str, names: Sequence[str]) -> None:  # noqa: ARG002  # a key has the name
        """Keys begin with its name."""
        self._dataset = dataset

    def add(self, samples: Sequence[Sample]) -> None:
        """Write them, but for keys that are there: ``a/b.jpg`` of ``t`` and ``b.jpg`` of ``t/a`` have one."""
        pairs: list[tuple[bytes, bytes]] = []
        for sample in samples:
            key = os.fsencode(f"{self._dataset}/{sample.name}")
            if len(key) + len(_LABEL) > self._longest:
                text = (
                    f"would have a key of {len(key)} bytes, its annotation one of 5 more: {self._longest} are the most"
                )
                self.plan.complain("name", f"{self._dataset}/{sample.name}", text)
                continue
            pairs.append((key, sample.image))
            if sample.annotation is not None:
                pairs.append((key + _LABEL, sample.annotation))
        refused = self._put(pairs)
        there = {key for key, _ in pairs}
        for sample in samples:
            key = os.fsencode(f"{self._dataset}/{sample.name}")
            if key in refused or key + _LABEL in refused:
                text = "would have the key of another image, or of its annotation, in the store"
                self.plan.complain("name", f"{self._dataset}/{sample.name}", text)
            if key in there - refused:
                self.plan.count(is_annotated=sample.annotation is not None and key + _LABEL not in refused)

    def _put(self, pairs: Sequence[tuple[bytes, bytes]]) -> set[bytes]:
        """Write pairs, all in one transaction; the keys that are there already, and stay as they are."""
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    return {key for key, value in pairs if not txn.put(key, value, overwrite=False)}
            except self._lmdb.MapFullError:
                self._size = _up(2 * self._size)
                self._env.set_mapsize(self._size)
            except self._lmdb.Error as error:
                raise self._unwritten(error) from error

    def _unwritten(self, error: Exception) -> PackError:
        return PackError(f"{self.plan.made.full(DATA)}: can't be written: {error}; nothing was made")

    def end(self) -> None:
        """Nothing is left to do."""

    def finish(self) -> None:
        """Write the classes, and bring all to the disk."""
        if self.plan.meta:
            self._put([(layout.META.encode(), self.plan.meta)])
        try:
            self._env.sync(True)
        except self._lmdb.Error as error:
            raise self._unwritten(error) from error
        self._env.close()
        self.plan.made.take(DATA)
        self.plan.files += 1

    def close(self) -> None:
        """Close the store."""
        self._env.close()


def _up(size: int) -> int:
    return -(-size // _PAGE) * _PAGE
