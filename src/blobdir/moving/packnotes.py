"""Which files the tries of one pack have put into a storage, and in which version: what is another one is somebody's.

``rest.json`` says what was there when a try ended; ``there.jsonl`` what tries have put there since, a line each; the
last one of a path counts. Of a file it's one of these:

1. not noted: nobody from here has put it there, so one that is there is somebody else's;
2. coming, with the content that it will have, beside what was noted before: written before it's sent. Until it is,
   the old version is there still; and who was cut off in between doesn't know whether it was sent;
3. there, in the version that the storage has said: written as soon as it was sent.

A file that is there is one's own if it's the version that was noted, and was seen so late that nobody can have written
to it since without a trace; or if it has a content that was noted: that which is coming, or that which was put there.
By its content it's known from the checksum in the backend's listing, or else it's read. So no try takes somebody else's
file for its own, wherever the one before was cut off, nor the other way round.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from blobdir.durable import write_whole
from blobdir.errors import UsageError
from blobdir.inside import open_plain
from blobdir.leftovers import open_left, remove_odd
from blobdir.moving.comparing import PIECE_BYTES, PIECES_AT_ONCE, SMALL_BYTES
from blobdir.moving.remotefiles import ask_versions, is_racy, same_version, says_version
from blobdir.sources import Stat
from blobdir.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from blobdir.moving.remotefiles import RemoteFiles
    from blobdir.sources import RemoteStorage

REST = "rest.json"
_LOG = "there.jsonl"
_NO_NOTES = (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError)
_SHOWN = 3
_MD5_DIGITS = 32


@dataclass(frozen=True, slots=True)
class Content:
    """What a file consists of.

    Attributes
    ----------
    size : int
        Bytes.
    digest : str
        MD5 or SHA-256, told apart by their lengths.
    """

    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Noted:
    """What is noted of a file.

    Attributes
    ----------
    version : Stat, optional
        That was put there; None where none was, or the storage hasn't said which.
    content : Content, optional
        Of what was put there.
    coming : Content, optional
        What may have been put in its place since.
    noted_ns : int
        When `version` was last seen, nanoseconds since 1970.
    """

    version: Stat | None = None
    content: Content | None = None
    coming: Content | None = None
    noted_ns: int = 0

    @classmethod
    def now(cls, version: Stat | None, content: Content | None) -> Noted:
        """What is there now."""
        return cls(version if says_version(version) else None, content, noted_ns=time.time_ns())


class PackNotes:
    """What is known of a place, for one source.

    Parameters
    ----------
    stage : Path
        Where the notes lie; it needn't be there, until something is noted.

    Attributes
    ----------
    known : dict
        Path -> what is noted of it.
    """

    def __init__(self, stage: Path) -> None:
        self._stage = stage
        self._found: dict[str, Noted] = {}
        self.known = self._read()

    def _read(self) -> dict[str, Noted]:
        known: dict[str, Noted] = {}
        with (
            suppress(OSError, *_NO_NOTES),
            open(open_plain(self._stage / REST, follow=False), "rb") as file,
        ):
            known = {path: _parse(noted) for path, noted in json.load(file).items()}
        with suppress(OSError), open(open_plain(self._stage / _LOG, follow=False), "rb") as file:
            for line in file:
                with suppress(*_NO_NOTES):  # one that was cut off
                    path, noted = json.loads(line)
                    known[str(path)] = _parse(noted)
        return known

    def are_current(self) -> bool:
        """Whether nobody else has noted anything since they were read."""
        return self._read() == self.known

    def begin(self, contents: Mapping[str, Content]) -> None:
        """Note that files are about to be sent."""
        before = Noted()
        lines = {path: replace(self.known.get(path, before), coming=coming) for path, coming in contents.items()}
        self._add(lines, sync=True)

    def put(self, path: str, version: Stat) -> None:
        """Note which version of a file is there since it was sent. Any thread may call it."""
        with suppress(OSError):  # what isn't noted is known by its content
            self._add({path: Noted.now(version, self.known[path].coming)})

    def settle(self) -> None:
        """Note what the last look has found to be one's own by its content."""
        found, self._found = self._found, {}
        self._add(found)

    def end(self, versions: Mapping[str, Stat]) -> None:
        """Note what is there when all is done; whatever was noted before counts for nothing."""
        known = {}
        for path, stat in versions.items():
            then = self.known.get(path, Noted())
            known[path] = Noted.now(stat, then.coming or then.content)
        self.known = known
        remove_odd(self._stage / REST)
        write_whole(self._stage / REST, [json.dumps({path: _format(it) for path, it in known.items()}).encode()])
        (self._stage / _LOG).unlink(missing_ok=True)

    def _add(self, noted: Mapping[str, Noted], *, sync: bool = False) -> None:
        self.known |= noted
        data = "".join(f"\n{json.dumps([path, _format(it)])}" for path, it in noted.items()).encode()
        with open(open_left(self._stage / _LOG, os.O_WRONLY | os.O_APPEND, 0o600), "ab", buffering=0) as file:
            file.write(data)
            if sync:  # what was sent without a note of it would be taken for somebody else's
                os.fsync(file.fileno())

    def refuse_changed(self, storage: RemoteStorage, there: RemoteFiles) -> None:
        """Refuse a place where a file isn't the one that was put there.

        Raises
        ------
        UsageError
            It names them.
        ReadError
            One of them can't be read to see.
        """
        mine = {path: noted for path, noted in self.known.items() if path in there.files}
        then = {path: noted.version for path, noted in mine.items() if noted.version is not None}
        now = ask_versions(storage, there.files, mine, like=then)
        sure = {
            path
            for path, version in then.items()
            if same_version(version, now[path]) and not is_racy(version, mine[path].noted_ns)
        }
        unsure = {path: now[path] for path in sorted(mine.keys() - sure)}
        own = self._own_by_content(storage, unsure, there.checksums)
        self._found = {path: Noted.now(now[path], content) for path, content in own.items()}
        if changed := [path for path in unsure if path not in own]:
            more = f" and {counted(len(changed) - _SHOWN, 'more file')}" if len(changed) > _SHOWN else ""
            raise UsageError(
                f"{storage.url}: {', '.join(changed[:_SHOWN])}{more}: changed there since an earlier try from here has "
                "put it there, and would be replaced or removed; remove it with the storage's own tools if it isn't "
                "wanted, or choose another place"
            )

    def _own_by_content(
        self, storage: RemoteStorage, files: Mapping[str, Stat], checksums: Mapping[str, str]
    ) -> dict[str, Content]:
        """Those of some files that have a content that was noted, and which one."""
        may_be = {path: self._contents(path, stat.size) for path, stat in files.items()}
        may_be = {path: contents for path, contents in may_be.items() if contents}
        own = {path: may_be[path][checksums[path]] for path in may_be if checksums.get(path) in may_be[path]}
        for path, digest in _digests(storage, {path: files[path] for path in may_be if path not in own}, may_be):
            if digest in may_be[path]:
                own[path] = may_be[path][digest]
        return own

    def _contents(self, path: str, size: int) -> dict[str, Content]:
        """Digest -> a content that a file of some size may have, if it's one's own."""
        noted = self.known[path]
        both = [it for it in (noted.content, noted.coming) if it is not None]
        return {it.digest: it for it in both if size in (-1, it.size)}


def _digests(
    storage: RemoteStorage, files: Mapping[str, Stat], like: Mapping[str, Iterable[str]]
) -> Iterator[tuple[str, str]]:
    """Read files, and give the digest of each, by the hash function that `like` has of it."""
    small = [path for path, stat in files.items() if 0 <= stat.size <= SMALL_BYTES]
    for path, data in zip(small, storage.iter_files(small), strict=True):
        yield path, _digest([data], like[path])
    for path in files.keys() - set(small):
        source = storage.open(path, files[path])
        ranges = [(low, min(low + PIECE_BYTES, source.size)) for low in range(0, source.size, PIECE_BYTES)]
        yield path, _digest(source.fetch(ranges, concurrency=PIECES_AT_ONCE), like[path])


def _digest(pieces: Iterable[bytes], like: Iterable[str]) -> str:
    kind = "md5" if len(next(iter(like))) == _MD5_DIGITS else "sha256"
    digest = hashlib.new(kind, usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _format(noted: Noted) -> list[Any]:
    version = noted.version
    stat = None if version is None else [version.size, version.mtime_ns, version.etag, noted.noted_ns]
    return [stat, *(None if it is None else [it.size, it.digest] for it in (noted.content, noted.coming))]


def _parse(noted: Any) -> Noted:
    version, *contents = noted
    content, coming = (None if it is None else Content(int(it[0]), str(it[1])) for it in contents)
    if version is None:
        return Noted(None, content, coming)
    size, mtime_ns, etag, noted_ns = version
    return Noted(Stat("file", int(size), int(mtime_ns), etag=str(etag)), content, coming, int(noted_ns))
