"""Writing blob projects: pack, unpack, subset, and what changes one in place."""

from __future__ import annotations

from blobdir.packing.packer import pack
from blobdir.packing.report import PackOptions, PackReport, Problem
from blobdir.packing.subset import SubsetOptions, SubsetReport, subset

__all__ = ["PackOptions", "PackReport", "Problem", "SubsetOptions", "SubsetReport", "pack", "subset"]
