"""Writing blob projects: pack, unpack, subset, and what changes one in place."""

from __future__ import annotations

from blobdir.packing.choosing import SubsetOptions
from blobdir.packing.compacting import compact
from blobdir.packing.growing import add, move, remove
from blobdir.packing.merging import add_blob_file, create_project, merge
from blobdir.packing.packer import pack
from blobdir.packing.publishing import recover
from blobdir.packing.readme import create_blob_readme
from blobdir.packing.relabelling import relabel
from blobdir.packing.report import ChangeReport, PackOptions, PackReport, Problem
from blobdir.packing.subset import SubsetReport, subset

__all__ = [
    "ChangeReport",
    "PackOptions",
    "PackReport",
    "Problem",
    "SubsetOptions",
    "SubsetReport",
    "add",
    "add_blob_file",
    "compact",
    "create_blob_readme",
    "create_project",
    "merge",
    "move",
    "pack",
    "recover",
    "relabel",
    "remove",
    "subset",
]
