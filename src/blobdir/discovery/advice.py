"""What to do about a folder that can't be listed: whatever fits the reason."""

from __future__ import annotations

import errno
from typing import Final

from blobdir.sources.retries import is_denied

_OF: Final = {
    errno.ENOTDIR: "put a folder there, or make the server list it,",
    errno.ENOENT: "put the folder there, or take away what leads to it,",
    errno.ENAMETOOLONG: "give it, or the folders above it, shorter names",
    errno.ELOOP: "put the folder itself there, not a link in circles,",
    errno.EIO: "look whether its disk is sound",
    errno.ESTALE: "mount what it lies on anew",
    errno.ENOTCONN: "mount what it lies on anew",
}
_DENIED: Final = "give yourself the right to read it"


def for_unlisted(error: OSError) -> str:
    """What to do before the project is opened again, by the reason or the one behind it; as ``do this and``."""
    if is_denied(error):
        return _DENIED
    for reason in (error.__cause__, error):  # an error of ours has EIO, whatever it stands for
        if isinstance(reason, NotADirectoryError):
            return _OF[errno.ENOTDIR]
        if isinstance(reason, OSError) and reason.errno in _OF:
            return _OF[reason.errno]
    return "mend that"
