"""What every storage offers: the vocabulary that the local and the remote one share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from blobdir.sources.disks import Disk

    Longs = NDArray[np.integer]

Kind = Literal["file", "directory", "link", "other"]


def same_time(a_ns: int, b_ns: int) -> bool:
    """Whether two times are one, where some say it in whole seconds."""
    if a_ns % 10**9 and b_ns % 10**9:
        return a_ns == b_ns
    return a_ns // 10**9 == b_ns // 10**9


@dataclass(frozen=True, slots=True)
class Stat:
    """Attributes of a file or directory.

    Attributes
    ----------
    kind : {"file", "directory", "link", "other"}
    size : int
        Bytes; -1 where the backend doesn't know.
    mtime_ns : int
        Modification time, nanoseconds since 1970; 0 where the backend doesn't know.
    mode, uid, gid : int
        Permission bits and owner; -1 where the backend has none.
    etag : str
        What the backend calls this version of the content; empty where it has no such thing.
    inode, ctime_ns : int
        Number of the file, and when content or attributes were changed last; -1 and 0 where the backend has none.
    links : int
        Names that the file has, as hard links; -1 where the backend has no such thing.
    """

    kind: Kind
    size: int = -1
    mtime_ns: int = 0
    mode: int = -1
    uid: int = -1
    gid: int = -1
    etag: str = ""
    inode: int = -1
    ctime_ns: int = 0
    links: int = -1

    def difference(self, now: Stat) -> str:
        """What says that `now` is another version of the file, in words; empty where nothing does.

        That's the etag where both have one, else the time; and the size. What a backend doesn't say of one of them, as
        the size in an answer that is a part of a file, is no difference. On this machine all is known, and it must be
        the same file as well: the same inode, or, where a file system gives out other numbers each time, the same time
        of change, which nobody can set.
        """
        is_here = now.inode >= 0
        if self.size != now.size and (is_here or min(self.size, now.size) >= 0):
            return f"{self.size} bytes then, {now.size} now"
        if self.etag and now.etag:
            return "" if self.etag == now.etag else f"version {self.etag} then, {now.etag} now"
        if is_here:
            is_file = min(self.inode, now.inode) < 0 or self.inode == now.inode or self.ctime_ns == now.ctime_ns
            return "" if is_file and self.mtime_ns == now.mtime_ns else "modified since"
        is_told = bool(self.mtime_ns and now.mtime_ns)
        return "modified since" if is_told and not same_time(self.mtime_ns, now.mtime_ns) else ""

    def is_surely(self, now: Stat) -> bool:
        """Whether `now` is the same version for all that is said, and an etag or a time has said so."""
        is_told = (self.etag and now.etag) or (self.mtime_ns and now.mtime_ns)
        return bool(is_told) and not self.difference(now)

    def same_content(self, now: Stat) -> bool:
        """Whether `now` is the same version for all that is said: by the size alone where neither says more."""
        is_told = self.etag or now.etag or self.mtime_ns or now.mtime_ns
        return self.is_surely(now) if is_told else not self.difference(now)

    @property
    def tag(self) -> int:
        """A number of 32 bits, not 0, that tells versions of a file apart: by etag, else by size and times.

        On this machine by the time of change, which nobody can set; where there is none, by the inode.
        """
        known = self.etag or f"{self.size} {self.mtime_ns} {self.ctime_ns or self.inode}"
        return crc32(known.encode("utf-8", "surrogateescape")) or 1


class Entry(NamedTuple):
    """One name in a directory. A tuple, since there are many, and that is made in a third of the time.

    Attributes
    ----------
    name : str
        Bytes that aren't UTF-8 stand as surrogate escapes.
    kind : {"file", "directory", "link", "other"}
    size : int
        Bytes, -1 where the listing doesn't say.
    target : str
        Where a link points to, also one that is followed and stands as what it leads to; empty for the rest.
    """

    name: str
    kind: Kind
    size: int = -1
    target: str = ""


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory and what it held when it was read.

    Attributes
    ----------
    path : str
        Relative to the project, empty for its root.
    stat : Stat
        Taken before the entries were read, so a change in between shows as a newer time.
    entries : list of Entry
    error : OSError or None
        Why the entries couldn't be read.
    """

    path: str
    stat: Stat
    entries: list[Entry]
    error: OSError | None = None


class Source(Protocol):
    """One file, read by byte range. Safe under threads."""

    path: str
    size: int
    stat: Stat
    """Its attributes when it was opened."""
    fd: int
    """Descriptor of a file on this machine; -1 of one behind a backend."""
    used: bool
    """A mark of whoever keeps it open, see `blobdir.descriptors`."""

    def check_size(self) -> None:
        """Raise OSError where it says that it has far more bytes than it takes on its disk."""
        ...

    def now(self) -> Stat:
        """Its attributes as far as they are known without asking anybody else."""
        ...

    def read_at(self, start: int, n: int) -> bytes:
        """Read `n` bytes from byte `start`; fewer only where the file ends."""
        ...

    def read_many(self, starts: Sequence[int] | Longs, ends: Sequence[int] | Longs) -> list[bytes]:
        """Read the half-open ranges ``starts[i]:ends[i]``; cut where the file ends."""
        ...

    def warm(self) -> Iterator[tuple[int, bool]]:
        """Have all of it in the cache, if it needs one; yields bytes, and whether they had to be fetched."""
        ...


class Storage(Protocol):
    """The root of one project. Paths are relative to it, ``/`` between components, empty for the root itself.

    Attributes
    ----------
    url : str
        For people, without secrets.
    place : str
        What no other place has.
    directory : str
        Its folder on this machine, for what needs real files; empty where it lies behind a backend.
    is_quick : bool
        Whether attributes and a few bytes cost next to nothing. Else they're asked for together, and when they are
        needed.
    odd : list of tuple
        Code, path and message of what the last `walk` couldn't show.
    """

    url: str
    place: str
    directory: str
    is_quick: bool
    odd: list[tuple[str, str, str]]

    @property
    def disks(self) -> tuple[Disk, ...]:
        """The disks that it's on, its own first, as they were when the project was opened; none behind a backend."""
        ...

    def disks_with(self, files: Iterable[str]) -> tuple[Disk, ...]:
        """Those of the disks that some files are on, as they are now."""
        ...

    def expect(self, size: int) -> None:
        """Say how many bytes all blobs have together."""
        ...

    def walk(self, *, follow_links: bool) -> Iterator[Folder]:
        """Yield each directory, parents first."""
        ...

    def entries(self, path: str) -> list[tuple[str, bool]]:
        """Names in one folder, and whether each is a folder; none where there is no such folder."""
        ...

    def stat(self, path: str) -> Stat:
        """Attributes of `path`; FileNotFoundError where there is none."""
        ...

    def stat_together(self, paths: Sequence[str]) -> dict[str, Stat]:
        """Attributes of files, asked for together; nothing of those that are better asked for one by one."""
        ...

    def read(self, path: str) -> bytes:
        """The whole content of a small file."""
        ...

    def read_range(self, path: str, start: int, end: int) -> bytes:
        """Bytes ``start:end`` of a file as it is now; fewer only where the file ends."""
        ...

    def read_files(self, paths: Sequence[str]) -> list[bytes]:
        """The whole contents of several small files."""
        ...

    def escapes(self, path: str) -> bool:
        """Whether `path` leads outside the project by a symbolic link."""
        ...

    def open_held(self, path: str) -> Source | None:
        """A file that is to stay open, for which none that others hold is closed; None where nothing can be held."""
        ...

    def open(self, path: str, expected: Stat | None = None, told: Callable[[Stat], Stat] | None = None) -> Source:
        """Open a file for reads by range; SourceChangedError where it isn't the version that is `expected`.

        `told` is called with the version that is read, at each answer of a backend, and gives the one that all read
        who share it: nothing is read of another one.
        """
        ...


def readable(mode: int, default: int) -> int:
    """Permission bits as they are shown: those of the file without any that allow writing."""
    return default if mode < 0 else mode & 0o555
