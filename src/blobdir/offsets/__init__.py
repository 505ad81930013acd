"""Offsets files: which bytes of a blob are which image.

============  =======================================================================
`table`       names and byte ranges, in columns
`reader`      `read_offsets`: from a file to a checked table
`machine`     runs pickles that hold nothing but blob images, with `opcodes`, `values`
`bulk`        the same for many regular objects at once
`names`       names as bytes, and the rules they obey
`conflicts`   names that are there twice
`writer`      `write_offsets`: from a table to a file that the SDK reads
`info`        `BlobImageInfo`, as in the SDK
`archive`     offsets of a tar's members, as in the SDK
============  =======================================================================
"""

from __future__ import annotations

from blobdir.offsets.archive import get_file_offsets_batch_generator, offsets_of_tar, save_blob_offsets_pkl
from blobdir.offsets.conflicts import OnConflict
from blobdir.offsets.info import BlobImageInfo
from blobdir.offsets.reader import read_offsets
from blobdir.offsets.table import OffsetsTable
from blobdir.offsets.writer import encode_offsets, write_offsets

__all__ = [
    "BlobImageInfo",
    "OffsetsTable",
    "OnConflict",
    "encode_offsets",
    "get_file_offsets_batch_generator",
    "offsets_of_tar",
    "read_offsets",
    "save_blob_offsets_pkl",
    "write_offsets",
]
