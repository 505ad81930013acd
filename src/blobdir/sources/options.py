"""What a user can say about reading from a backend."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from blobdir.errors import UsageError
from blobdir.sources.config import cache_setting

MEMORY_BYTES = 128 << 20
MOST_BYTES = 10 << 30
_SHARE = 10
_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 1 << 10,
    "mi": 1 << 20,
    "gi": 1 << 30,
    "ti": 1 << 40,
}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?)?b?", re.IGNORECASE)


def parse_size(value: int | str, name: str) -> int:
    """Bytes, from a number or from a text such as ``20GiB`` or ``500MB``.

    Raises
    ------
    UsageError
    """
    if isinstance(value, int):
        size = value
    else:
        found = _SIZE.fullmatch(str(value).strip())
        if found is None:
            raise UsageError(f"{name}={value!r}: isn't a size; write bytes, or as in 500MB or 20GiB")
        size = int(float(found[1]) * _UNITS[(found[2] or "").lower()])
    if size < 0:
        raise UsageError(f"{name}={value!r}: must not be negative")
    return size


def _absolute(folder: str | os.PathLike[str]) -> str:
    return os.path.abspath(os.path.expanduser(os.fspath(folder)))


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """How files behind a backend are read. Local projects have no use for it.

    Attributes
    ----------
    cache_dir : str or path, optional
        Folder of the cache on disk. If not given: ``$BLOBDIR_CACHE_DIR``, ``cache.dir`` of the configuration file,
        or the user's cache folder.
    cache_size : int or str, optional
        Bytes that it may take, as in ``"20GiB"``; 0 turns it off. If not given: ``$BLOBDIR_CACHE_SIZE``,
        ``cache.size`` of the configuration file, or a tenth of the disk's free space, at most 10 GiB.
    memory_size : int or str
        Bytes of blocks that each process keeps in memory; 0 for none.
    timeout : float
        Seconds until a request that isn't answered is an error, all tries together.
    gap_size, request_size : int or str, optional
        Bytes that are read for nothing rather than left out, and bytes of one request, where many ranges are read.
        If not given, they follow from the measured latency and bandwidth.
    """

    cache_dir: str | os.PathLike[str] | None = None
    cache_size: int | str | None = None
    memory_size: int | str = MEMORY_BYTES
    timeout: float = 60.0
    gap_size: int | str | None = None
    request_size: int | str | None = None

    def __post_init__(self) -> None:
        if self.cache_dir is not None:
            object.__setattr__(self, "cache_dir", _absolute(self.cache_dir))  # who mounts goes elsewhere
        if self.timeout <= 0:
            raise UsageError(f"timeout={self.timeout}: must be more than 0 seconds")
        parse_size(self.memory_size, "memory_size")
        for name in ("cache_size", "gap_size", "request_size"):
            if getattr(self, name) is not None:
                parse_size(getattr(self, name), name)

    @property
    def folder(self) -> Path:
        """Folder of the cache on disk."""
        if self.cache_dir is not None:
            return Path(self.cache_dir)
        given = os.environ.get("BLOBDIR_CACHE_DIR") or cache_setting("dir")
        return Path(_absolute(given)) if given else user_cache_path("blobdir") / "blocks"

    @property
    def memory_bytes(self) -> int:
        """Bytes of the cache in memory."""
        return parse_size(self.memory_size, "memory_size")

    @property
    def disk_bytes(self) -> int:
        """Bytes of the cache on disk; 0 for none."""
        given = self.cache_size if self.cache_size is not None else os.environ.get("BLOBDIR_CACHE_SIZE") or None
        given = given if given is not None else cache_setting("size")
        if given is not None:
            return parse_size(given, "cache_size")
        place = self.folder
        while not place.exists() and place != place.parent:
            place = place.parent
        try:
            return min(MOST_BYTES, shutil.disk_usage(place).free // _SHARE)
        except OSError:
            return 0
