"""What is said of one name with different contents, whatever they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdir.discovery import layout
from blobdir.errors import ConflictError
from blobdir.index import BROKEN, DIRECTORY, FIRST_BLOB, LINK

if TYPE_CHECKING:
    from blobdir.discovery.report import Report
    from blobdir.index import EntryTable, Header


class Conflicts:
    """Reports conflicts of a project's directories; `report` is what `blobdir.discovery.merge.Merger` wants."""

    def __init__(self, header: Header, report: Report) -> None:
        self._header, self._report = header, report

    def report(self, directory: str, name: bytes, table: EntryTable, first: int, second: int) -> int:
        """Record one, and give the number of its defect; -1 where a folder goes before a file."""
        path = layout.join(directory, name.decode("utf-8", "surrogateescape"))
        if table.source[first] == DIRECTORY:
            message = (
                f"{path}: is a folder, and there is {self._origin(path, table, second)} as well, which isn't seen; "
                "rename or remove one of the two"
            )
            self._report.incomplete(path, "conflict", path, message, ConflictError(message))
            return -1
        one, other = self._origin(path, table, first), self._origin(path, table, second)
        both = f"{one} and, with other bytes, in {other}"
        if BROKEN in (unread := {int(table.source[first]): one, int(table.source[second]): other}):
            both = f"{one} and in {other}, and can't be read in {unread[BROKEN]}, so nobody has compared the two"
        message = f"{path}: is in {both}; remove one, or open the project with on_conflict=skip, rename or replace"
        return self._report.error("conflict", path, message, ConflictError(message))

    def _origin(self, path: str, table: EntryTable, entry: int) -> str:
        source = int(table.source[entry])
        if source >= FIRST_BLOB:
            start = int(table.offset[entry])
            blob = self._header.blobs[source - FIRST_BLOB].path
            return f"{blob} (bytes {start} to {start + int(table.size[entry])})"
        if source == LINK:
            return f"the symbolic link {path} to {self._header.links[int(table.offset[entry])]!r}"
        if source == BROKEN and (place := self._header.defects[int(table.offset[entry])].path) != path:
            return place
        return f"the file {path}"
