"""Blocks of remote files, kept: in memory, and on disk for every process of this machine.

A block is `BLOCK_BYTES` of one version of one file. Who asks for a part of it gets it from memory, from disk, or
from whoever is already fetching it.
"""

from blobdir.blocks.cache import BLOCK_BYTES, BlockCache, Origin
from blobdir.blocks.disk import DiskTier, Usage
from blobdir.blocks.readahead import Readahead
from blobdir.blocks.spread import Line, Spread, Wait

__all__ = ["BLOCK_BYTES", "BlockCache", "DiskTier", "Line", "Origin", "Readahead", "Spread", "Usage", "Wait"]
