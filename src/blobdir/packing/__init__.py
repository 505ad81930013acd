"""Writing blob projects: pack, unpack, subset, and what changes one in place."""

from __future__ import annotations

from blobdir.packing.packer import pack
from blobdir.packing.report import PackOptions, PackReport, Problem

__all__ = ["PackOptions", "PackReport", "Problem", "pack"]
