"""Who may change a place behind a backend, where there are no locks: a mark with a name that nobody else has.

The mark is ``.blobdir/pushing.json``. While it's there, nobody takes the place for a whole project; who has written it
last owns the place. These rules let no two pushes end well that have met:

1. Where nobody's mark was listed, it's written only if there is none still, in one step where the backend can do that.
2. Who owns the place looks at the mark after each step. If it isn't its own any more, another one has begun, or has
   ended: it stops. What it has written since it looked last may lie among the other's files, so it makes sure that the
   place looks finished to nobody: it writes a mark again, and takes the index away, which would be believed.
3. Who ends takes its mark away first, and lists the place then. What was written before is seen by this; who writes
   later sees by rule 2 that the mark is gone.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from blobdir.errors import BlobdirError, BusyError, ReadError
from blobdir.moving.remotefiles import PUSHING
from blobdir.opening import BESIDE_FILE

if TYPE_CHECKING:
    from types import TracebackType

    from blobdir.moving.remotefiles import RemoteFiles
    from blobdir.sources import RemoteStorage

AGAIN = "when only one is, push again with --delete"


class Claim:
    """The right of one push to change a place. A context manager: left by an error, it looks at the mark once more.

    Parameters
    ----------
    there : RemoteStorage

    Attributes
    ----------
    held : bool
        Whether the place was taken, and not given back.
    """

    def __init__(self, there: RemoteStorage) -> None:
        self.held = False
        self._there = there
        self._mark = b""
        self._dirty = False

    def take(self, found: RemoteFiles) -> None:
        """Begin to change the place: from here on it isn't taken for a project, until `give_back`.

        Parameters
        ----------
        found : RemoteFiles
            What was listed there.

        Raises
        ------
        BusyError
            Another one has just begun to.
        ReadError
            The mark can't be written.
        """
        self._mark = new_mark("pushing")
        if PUSHING in found.own:  # of a push that was cut off, as far as anybody can tell
            self._there.write(PUSHING, self._mark)
        elif not self._there.create(PUSHING, self._mark) and not self._is_mine():
            raise self._busy()
        self.held = True
        self.check()

    def touched(self) -> None:
        """Note that something is about to be written or removed."""
        self._dirty = True

    def check(self) -> None:
        """Make sure that the place is still one's own.

        Raises
        ------
        BusyError
            It isn't; then it doesn't look finished, if anything of this push may have come in between.
        """
        if self._is_mine():
            self._dirty = False
            return
        self.held = False
        if self._dirty:
            self.spoil()
        raise self._busy()

    def look(self) -> None:
        """The same in the middle of a step: requests are on their way that could arrive later."""
        if self.held:
            dirty = self._dirty
            self.check()
            self._dirty = dirty

    def give_back(self) -> None:
        """Take the mark away: what is there is whole, but for what is found when it's listed once more."""
        self.check()
        remove_own(self._there, PUSHING)
        self.held = False

    def spoil(self) -> None:
        """Make sure that nobody takes what is there for a whole project."""
        self._there.write(PUSHING, new_mark("spoiled"))
        remove_own(self._there, BESIDE_FILE)

    def _is_mine(self) -> bool:
        return holds(self._there, PUSHING, self._mark)

    def _busy(self) -> BusyError:
        return BusyError(
            f"{self._there.url}: somebody else is pushing to it at the same time, so what is there may be "
            f"of both; {AGAIN}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self.held and self._dirty:
            with suppress(BlobdirError, OSError):  # the error that is on its way says more
                self.check()


def remove_own(there: RemoteStorage, path: str) -> None:
    """Remove a file that would be believed: ReadError where it can't be."""
    what = f"{there.url}/{path}"
    try:
        there.backend.run(there.backend.call(what, "rm_file", there.full(path)), what)
    except FileNotFoundError:
        pass
    except (BlobdirError, OSError) as error:
        raise ReadError(f"{what}: can't be removed: {error}; it would be believed, so remove it") from error


def holds(there: RemoteStorage, path: str, mark: bytes) -> bool:
    """Whether a mark is the one that was written."""
    with suppress(FileNotFoundError):
        return there.read(path) == mark
    return False


def new_mark(what: str) -> bytes:
    """A mark that nobody else has."""
    mark = {
        "what": what,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "token": secrets.token_hex(8),
    }
    return json.dumps(mark).encode()
