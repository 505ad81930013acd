"""What a tar has in it, as it would lie in a folder after it was extracted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from .extracting import OVERWRITTEN, is_no_link, is_shown
from .names import MOST_NAME, MOST_PATH, is_too_long, leads_up, path_of
from .table import SYMBOLIC_LINK, Kind, LeftOut, in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from .table import TarTable

LEADS_UP: Final = Kind(
    "member with '..' in its name", "members with '..' in their names", "tar doesn't extract it either, without -P"
)
TOO_LONG: Final = Kind(
    f"member whose name is over {MOST_NAME} bytes, or its path over {MOST_PATH:,}",
    f"members whose names are over {MOST_NAME} bytes, or their paths over {MOST_PATH:,}",
    "no file can be called so",
    has_data=True,
)


@dataclass(frozen=True, slots=True)
class TarContents:
    """Files, links and folders by path, each path once.

    Attributes
    ----------
    paths : list of bytes
        Of the files.
    rows : ndarray of int64
        Their rows of the table.
    links : dict of bytes to bytes
        Path of each symbolic link -> what it says.
    unserved : dict of bytes to LeftOut
        Path -> a file whose bytes aren't one range of the tar.
    folders : list of bytes
        Folders that needn't have anything in them.
    warnings : list of str
        What isn't there, in words.
    """

    paths: list[bytes]
    rows: NDArray[np.int64]
    links: dict[bytes, bytes]
    unserved: dict[bytes, LeftOut]
    folders: list[bytes]
    warnings: list[str]


def contents_of(table: TarTable) -> TarContents:
    """Find out what is there after a tar was extracted; O(n)."""
    left_out: list[LeftOut] = []
    paths, rows = _files(table, left_out)
    others = table.others_there
    if others is None:
        inner = sorted(table.left_out, key=lambda member: (member.row, member.position))
        others = {path: member for member in inner if (path := path_of(member.name)) and not is_no_link(member)}
    links: dict[bytes, bytes] = {}
    unserved: dict[bytes, LeftOut] = {}
    for path, member in others.items():
        if is_shown(member) and not _fault(path):
            if member.kind is SYMBOLIC_LINK:
                links[path] = member.target
            else:
                unserved[path] = member
    left_out += _not_there(table, others, paths)
    folders = table.folders_there
    if folders is None:
        folders = frozenset(path_of(member.name) for member in table.folders)
    odd = {path for path in folders if _fault(path)}
    left_out += [
        LeftOut(fault, member.name, member.position, member.row)
        for member in table.folders
        if (fault := _fault(path_of(member.name)))
    ]
    found = sorted(path for path in folders - odd if path)
    return TarContents(paths, rows, links, unserved, found, [*in_words(left_out), *table.doubts])


def _files(table: TarTable, left_out: list[LeftOut]) -> tuple[list[bytes], NDArray[np.int64]]:
    """Paths and rows of the files that are there; of one path, the last."""
    paths = table.arena.tobytes().split(b"\0")[:-1]
    rows: NDArray[np.int64] = np.arange(len(paths))
    if _are_plain(table) and not table.not_extracted and len(set(paths)) == len(paths):
        return paths, rows
    last: dict[bytes, int] = {}
    for row, name in enumerate(paths):
        path = path_of(name)
        fault = _fault(path) or table.not_extracted.get(row)
        if fault is None:
            last[path] = row
        elif fault is not OVERWRITTEN:  # that is what whoever wrote the tar had in mind
            left_out.append(LeftOut(fault, name, int(table.start[row]), row))
    return list(last), np.fromiter(last.values(), np.int64, len(last))


def _are_plain(table: TarTable) -> bool:
    """Whether the names of files are paths as they are, and such as files can have."""
    arena = table.arena.tobytes()
    if b"./" in arena or b"//" in arena or b"\0/" in arena or arena[:1] == b"/" or b"/\0" in arena:
        return False
    if b"/.\0" in arena or b"/..\0" in arena or b"\0.\0" in arena or b"\0..\0" in arena or b"\0\0" in arena:
        return False
    return arena[:1] not in (b".", b"\0") and (not len(table) or int(np.diff(table.name_start).max()) <= MOST_NAME)


def _fault(path: bytes) -> Kind | None:
    """Why there can't be a file of a path, below the folder that a tar is extracted to."""
    if leads_up(path):
        return LEADS_UP
    return TOO_LONG if is_too_long(path) else None


def _not_there(table: TarTable, others: Mapping[bytes, LeftOut], paths: Iterable[bytes]) -> Iterator[LeftOut]:
    """What has no row and isn't shown, though no file has taken its place."""
    there = set(paths) if table.left_out else set()
    for member in table.left_out:
        path = path_of(member.name)
        if fault := _fault(path):
            yield LeftOut(fault, member.name, member.position, member.row)
        elif path not in there and not ((shown := others.get(path)) and is_shown(shown)):
            yield member
