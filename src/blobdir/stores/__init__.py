"""The formats that keep images with their annotations, as they are: shards for WebDataset, LMDB, Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blobdir.stores.lmdb import LmdbWriter
from blobdir.stores.parquet import ParquetWriter
from blobdir.stores.webdataset import WebDatasetWriter

if TYPE_CHECKING:
    from blobdir.stores.model import StoreWriter

STORES: Final[dict[str, type[StoreWriter]]] = {
    "webdataset": WebDatasetWriter,
    "lmdb": LmdbWriter,
    "parquet": ParquetWriter,
}
"""By name."""
