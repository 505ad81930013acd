"""Annotations that are to follow images in the tars of a project that is being made: those in its ``ann/``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.packing.columns import TextColumn
from blobdir.packing.samples import Samples, label_of
from blobdir.tarwriting.members import Labels

if TYPE_CHECKING:
    from blobdir.packing.newfolder import NewFolder
    from blobdir.packing.resuming import Finished
    from blobdir.packing.shards import Shard


class SampleLabels:
    """The annotations of one dataset after the other.

    Parameters
    ----------
    new : NewFolder or None
        Where they were written; None: nowhere, and so there are none.
    """

    def __init__(self, new: NewFolder | None) -> None:
        self._new = new
        self._folder, self._there = "", frozenset[str]()

    def of(self, shard: Shard) -> Labels | None:
        """Those of the images of a tar."""
        if self._new is None or not shard.images:
            return None
        folder = layout.join(shard.dataset, layout.ANNOTATIONS)
        if folder != self._folder:
            with os.scandir(self._new.made.fd(folder)) as scan:
                self._folder, self._there = folder, frozenset(one.name for one in scan if one.is_file())
        odd = Samples(shard.names).odd
        sources = TextColumn("" if name in odd else label_of(name, self._there.__contains__) for name in shard.names)
        return Labels(self._new.made.place(folder), sources.joined())

    def drop_outdated(self, known: dict[Shard, Finished], *, indexed: bool) -> None:
        """Of tars that an earlier try has written, forget those whose annotations were others.

        And those of which it hasn't noted what indexes say, if `indexed`.
        """
        for shard, done in list(known.items()):
            labels = self.of(shard)
            is_outdated = labels is not None and labels.digest() != done.written.labels
            if self._new and (is_outdated or (indexed and not done.written.dali)):
                self._new.made.drop(done.place)
                self._new.made.drop(done.pickle)
                self._new.made.remove_left(done.place)
                self._new.made.remove_left(done.pickle)
                del known[shard]
