"""Where defects go: into the header, or up as an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blobdir.descriptors import none_left
from blobdir.discovery.inputs import unread_record
from blobdir.errors import BlobdirError, DataError
from blobdir.index import Defect, Header

if TYPE_CHECKING:
    from blobdir.discovery.options import DiscoveryOptions


class Report:
    """Collects defects as the options say."""

    def __init__(self, header: Header, options: DiscoveryOptions) -> None:
        self.header = header
        self.options = options
        self._numbers: dict[Defect, int] = {}

    def add(self, defect: Defect, cause: BlobdirError | None = None) -> int:
        """Record a defect and give its number; raise it instead where ``on_defect="raise"`` and it's an error.

        One that is there already, such as a change that was cut off and concerns many folders, is recorded once.
        """
        if defect.severity == "error" and self.options.on_defect == "raise":
            raise cause or DataError(defect.message)
        if defect not in self._numbers:
            self._numbers[defect] = len(self.header.defects)
            self.header.defects.append(defect)
        return self._numbers[defect]

    def error(self, code: str, path: str, message: str, cause: BlobdirError | None = None) -> int:
        """Record something that makes a part of the project unavailable."""
        return self.add(Defect("error", code, path, message), cause)

    def warning(self, code: str, path: str, message: str) -> int:
        """Record something that costs no data."""
        return self.add(Defect("warning", code, path, message))

    def unread(self, path: str, error: BaseException, n: int = -1) -> None:
        """Record that something couldn't be read, by this user or at this moment; see `inputs.unread_record`.

        Raises
        ------
        OSError
            There was no descriptor left, which says nothing of the project.
        """
        if left := none_left(error):
            raise left from error
        self.header.inputs.append(unread_record(path, n))

    def incomplete(self, directory: str, code: str, path: str, message: str, cause: BlobdirError | None = None) -> None:
        """Record something that hides names of `directory`, so that listing it is an error too."""
        number = self.error(code, path, message, cause)
        if self.options.on_defect == "refuse":
            self.header.incomplete.setdefault(directory, []).append(number)
