"""Images by name, as bytes: a store for who has some lines over LMDB today. It's a blob project like any other."""

from __future__ import annotations

from blobdir.imagestore.counts import Put
from blobdir.imagestore.metadata import Metadata
from blobdir.imagestore.store import ImageStore

__all__ = ["ImageStore", "Metadata", "Put"]
