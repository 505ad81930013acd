"""An LMDB store: ``train/a.jpg`` is an image, ``train/a.jpg.json`` its annotation, ``meta.json`` the classes.

Values are the bytes as they are. ``blobdir pack lmdb:PATH`` makes a project of it again: `MARK` says that it may, and
which folders of keys are datasets. An image has two keys, its own and that with ``.json`` behind, whether it has an
annotation or not: it's written where both are free, in one transaction with the annotation, or not at all.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from blobdir.discovery import layout
from blobdir.durable import in_words
from blobdir.errors import PackError
from blobdir.stores.model import StorePlan, StoreWriter
from blobdir.tarwriting.lmdbs import DATA, MARK, dataset_of, library, mark_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from blobdir.stores.model import Sample

_ROOM: Final = 64 << 20
"""Bytes of address space that a store has at first, on top of twice its values; it's no room on the disk."""
_PAGE: Final = 4096
_LABEL: Final = b".json"
_FULL: Final = 1 << 20
"""Bytes that may be free on a disk that is full for LMDB, besides those of values: it writes whole pages."""
_DISK: Final = os.strerror(errno.EIO)
T = TypeVar("T")


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
        self._dataset, self._datasets = "", frozenset(plan.datasets)

    @classmethod
    def check(cls) -> None:
        """LMDB has to be there."""
        library()

    def begin(self, dataset: str, path: str, names: Sequence[str]) -> None:  # noqa: ARG002  # a key has the name
        """Keys begin with its name."""
        self._dataset = dataset

    def add(self, samples: Sequence[Sample]) -> None:
        """Write those that have keys of their own."""
        asked: dict[bytes, Sample] = {}
        for sample in samples:
            key = os.fsencode(f"{self._dataset}/{sample.name}")
            if why := self._why_not(key):
                self._refuse(sample, why)
            else:
                asked[key] = sample
        size = sum(len(one.image) + len(one.annotation or b"") for one in asked.values())
        refused = self._in_transaction(lambda txn: [key for key, one in asked.items() if not _put(txn, key, one)], size)
        for key in refused:
            self._refuse(asked.pop(key), "would have the key of another image, or of its annotation, in the store")
        for sample in asked.values():
            self.plan.count(is_annotated=sample.annotation is not None)

    def _refuse(self, sample: Sample, why: str) -> None:
        self.plan.complain("name", f"{self._dataset}/{sample.name}", why)

    def _why_not(self, key: bytes) -> str:
        """Why an image can't be written, whatever else is there; empty where it can."""
        if len(key) + len(_LABEL) > self._longest:
            return f"would have a key of {len(key)} bytes, its annotation one of 5 more: {self._longest} are the most"
        other = dataset_of(os.fsdecode(key), self._datasets)
        return f"would have a key of the dataset {other} in the store" if other != self._dataset else ""

    def _in_transaction(self, write: Callable[[Any], T], size: int) -> T:
        """Have something written, all in one transaction; again in a larger map, where that's needed."""
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    return write(txn)
            except self._lmdb.MapFullError:
                self._size = _up(2 * self._size)
                self._env.set_mapsize(self._size)
            except self._lmdb.Error as error:
                raise self._unwritten(error, size) from error

    def _unwritten(self, error: Exception, size: int = 0) -> PackError:
        """The error in words, of who has written so many bytes.

        LMDB calls it one of input and output if a disk takes a part of what is written, since it's full.
        """
        place = self.plan.made.full(DATA)
        said: Exception = error
        with suppress(OSError):
            found = os.statvfs(self.plan.made.fd(""))
            if found.f_bavail * found.f_frsize < size + _FULL and _DISK in str(error):
                said = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)
        return PackError(f"{place}: can't be written: {in_words(said, place)}; nothing was made")

    def end(self) -> None:
        """Nothing is left to do."""

    def finish(self) -> None:
        """Write the classes, and bring all to the disk."""
        ours = {MARK: mark_of(self.plan.datasets)} | ({layout.META.encode(): self.plan.meta} if self.plan.meta else {})
        size = sum(map(len, ours.values()))
        self._in_transaction(lambda txn: [txn.put(key, value) for key, value in ours.items()], size)
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


def _put(txn: Any, key: bytes, sample: Sample) -> bool:
    """Write an image and its annotation together, if both keys are free; and tell whether they were.

    A key that is another's with ``.json`` behind is that one's, for its annotation.
    """
    owners = (key, key + _LABEL, *([key.removesuffix(_LABEL)] if key.endswith(_LABEL) else []))
    if any(txn.get(owner) is not None for owner in owners):
        return False
    txn.put(key, sample.image)
    if sample.annotation is not None:
        txn.put(key + _LABEL, sample.annotation)
    return True


def _up(size: int) -> int:
    return -(-size // _PAGE) * _PAGE
