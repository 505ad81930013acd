"""Which files the tries of one pack have put into a storage, and in which version: what is another one is somebody's.

``rest.json`` says what was there when a try ended; ``there.jsonl`` what tries have put there since, a line each. Before
a file is written its version is noted as unknown, and after that as what the storage says: so whoever is cut off in
between takes the file for his own, whichever it is, and never takes his own for somebody else's.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from blobdir.durable import write_whole
from blobdir.errors import UsageError
from blobdir.moving.remotefiles import ask_versions, is_still, says_version
from blobdir.sources import Stat
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from blobdir.moving.remotefiles import RemoteFiles
    from blobdir.sources import RemoteStorage

REST = "rest.json"
_LOG = "there.jsonl"
_SHOWN = 3


class PackNotes:
    """What is known of a place, for one source.

    Parameters
    ----------
    stage : Path
        Where the notes lie; it needn't be there, until something is noted.

    Attributes
    ----------
    known : dict
        Path -> the version that was put there; None for one that nobody knows.
    """

    def __init__(self, stage: Path) -> None:
        self._stage = stage
        self.known: dict[str, Stat | None] = {}
        with suppress(OSError, ValueError, TypeError, AttributeError):
            for path, version in json.loads((stage / REST).read_bytes()).items():
                self.known[path] = _parse(version)
        with suppress(OSError), open(stage / _LOG, "rb") as file:
            for line in file:
                with suppress(ValueError, TypeError):  # one that was cut off
                    path, version = json.loads(line)
                    self.known[str(path)] = _parse(version)

    def begin(self, paths: Iterable[str]) -> None:
        """Note that files are about to be written."""
        self._add(dict.fromkeys(paths))

    def put(self, versions: Mapping[str, Stat]) -> None:
        """Note what was written."""
        self._add({path: stat for path, stat in versions.items() if says_version(stat)})

    def end(self, versions: Mapping[str, Stat]) -> None:
        """Note what is there when all is done; whatever was noted before counts for nothing."""
        self.known = {path: stat if says_version(stat) else None for path, stat in versions.items()}
        write_whole(self._stage / REST, [json.dumps({path: _format(it) for path, it in self.known.items()}).encode()])
        (self._stage / _LOG).unlink(missing_ok=True)

    def _add(self, versions: Mapping[str, Stat | None]) -> None:
        self.known |= versions
        lines = [f"\n{json.dumps([path, _format(version)])}" for path, version in versions.items()]
        with open(self._stage / _LOG, "ab") as file:
            file.write("".join(lines).encode())
            file.flush()
            os.fsync(file.fileno())

    def refuse_changed(self, storage: RemoteStorage, there: RemoteFiles) -> None:
        """Refuse a place where a file isn't the one that was put there.

        Raises
        ------
        UsageError
            It names them.
        """
        then = {path: version for path, version in self.known.items() if version is not None}
        now = ask_versions(storage, there.files, then, like=then)
        if changed := [path for path in sorted(now) if not is_still(then[path], now[path])]:
            more = f" and {counted(len(changed) - _SHOWN, 'more file')}" if len(changed) > _SHOWN else ""
            raise UsageError(
                f"{storage.url}: {', '.join(changed[:_SHOWN])}{more}: changed there since an earlier try from here has "
                "put it there, and would be replaced or removed; remove it with the storage's own tools if it isn't "
                "wanted, or choose another place"
            )


def _format(version: Stat | None) -> list[Any] | None:
    return None if version is None else [version.size, version.mtime_ns, version.etag]


def _parse(version: Any) -> Stat | None:
    if version is None:
        return None
    size, mtime_ns, etag = version
    return Stat("file", int(size), int(mtime_ns), etag=str(etag))
