"""Writing blob projects: pack, unpack, subset, and what changes one in place."""

from __future__ import annotations

from blobdir.packing.growing import ChangeReport, add, compact, move, remove
from blobdir.packing.journal import recover
from blobdir.packing.packer import pack
from blobdir.packing.report import PackOptions, PackReport, Problem
from blobdir.packing.subset import SubsetOptions, SubsetReport, subset

__all__ = [
    "ChangeReport",
    "PackOptions",
    "PackReport",
    "Problem",
    "SubsetOptions",
    "SubsetReport",
    "add",
    "compact",
    "move",
    "pack",
    "recover",
    "remove",
    "subset",
]
