"""Where the members of an uncompressed tar archive lie, without reading their data.

============  =======================================================================
`table`       the result: one row per member, in columns
`source`      random access to the archive, and the window that the scan reads through
`header`      one header's fields, and checks and columns of thousands of them at once
`pax`         records of extended headers
`scan`        the walk from header to header
`before`      one member, by the headers before its data
============  =======================================================================
"""

from __future__ import annotations

from .before import REACH_BYTES, Headed, member_before
from .links import same_name
from .scan import scan_tar
from .source import ReadAt
from .table import Kind, LeftOut, TarTable, in_words

__all__ = [
    "REACH_BYTES",
    "Headed",
    "Kind",
    "LeftOut",
    "ReadAt",
    "TarTable",
    "in_words",
    "member_before",
    "same_name",
    "scan_tar",
]
