"""One immutable columnar table for the whole project: a row per directory and file of the presented tree."""

from blobdir.index.build import EntryTable, build_index
from blobdir.index.carry import index_from_bytes, index_to_bytes
from blobdir.index.header import Defect, Header, SourceRecord
from blobdir.index.place import FILES, check_place, remove_index, replace_file
from blobdir.index.store import StoredIndex, load_index, save_index, seal_of
from blobdir.index.table import BROKEN, DIRECTORY, FIRST_BLOB, LINK, LOOSE, Index

__all__ = [
    "BROKEN",
    "DIRECTORY",
    "FILES",
    "FIRST_BLOB",
    "LINK",
    "LOOSE",
    "Defect",
    "EntryTable",
    "Header",
    "Index",
    "SourceRecord",
    "StoredIndex",
    "build_index",
    "check_place",
    "index_from_bytes",
    "index_to_bytes",
    "load_index",
    "remove_index",
    "replace_file",
    "save_index",
    "seal_of",
]
