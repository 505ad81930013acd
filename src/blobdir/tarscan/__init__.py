"""Where the members of an uncompressed tar archive lie, without reading their data.

============  =======================================================================
`table`       the result: one row per member, in columns
`source`      random access to the archive, and the window that the scan reads through
`header`      one header's fields, and checks and columns of thousands of them at once
`pax`         records of extended headers
`scan`        the walk from header to header
`bounds`      how much the names may be
`names`       which file the name of a member means
`extracting`  what is there after the archive was extracted
`links`       hard links, resolved
`contents`    what that is, by path
`before`      one member, by the headers before its data
============  =======================================================================
"""

from __future__ import annotations

from .before import REACH_BYTES, Headed, member_before, says_plainly
from .contents import TarContents, contents_of
from .header import NAME_BYTES
from .names import ends_of_names, path_of
from .scan import scan_tar, scan_what_is_whole
from .source import ReadAt
from .table import Kind, LeftOut, TarTable, in_words, served_not

__all__ = [
    "NAME_BYTES",
    "REACH_BYTES",
    "Headed",
    "Kind",
    "LeftOut",
    "ReadAt",
    "TarContents",
    "TarTable",
    "contents_of",
    "ends_of_names",
    "in_words",
    "member_before",
    "path_of",
    "says_plainly",
    "scan_tar",
    "scan_what_is_whole",
    "served_not",
]
