"""The fusepy engine: the same tree through libfuse, for macOS, BSD and old kernels. Importing this loads libfuse."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import stat
import time
from collections import Counter
from contextlib import ExitStack, suppress
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from blobdir.background import start
from blobdir.errors import MountError
from blobdir.index import DIRECTORY, LINK, LOOSE
from blobdir.locks import ForkSafeLock
from blobdir.mounting.attach import alone_at, detach
from blobdir.mounting.attributes import AttributeView
from blobdir.mounting.failures import Failures, SecondTries, errno_of
from blobdir.mounting.mountinfo import identity_at
from blobdir.mounting.state import Counter as Counted

try:
    import fuse
except OSError as error:  # pragma: no cover - where libfuse is missing
    raise MountError(
        f"the fusepy engine needs libfuse 2, which can't be loaded ({error}): apt install libfuse2, "
        "dnf install fuse-libs, or macFUSE on macOS"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.loosefiles import OpenFile
    from blobdir.mounting.attributes import InodeAttributes
    from blobdir.mounting.mountinfo import MountIdentity
    from blobdir.mounting.options import MountOptions
    from blobdir.mounting.state import Counters
    from blobdir.tree import Tree

T = TypeVar("T")
ENCODING = "latin-1"
"""fusepy decodes paths strictly; in this encoding every byte string is a text, and comes back the same."""
FOREVER_S, LIVE_S = 86_400, 0.05
_QUIET = frozenset((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.ENAMETOOLONG, errno.EINVAL))
_BLOCK = 4096
_LOOK_S = 0.5  # how often it is looked whether the owner is still there
_MOST_SHOWN = 1 << 16
"""Files whose attributes are remembered: more than are looked at in the time for which the kernel keeps them."""


class OpenFiles:
    """Loose files that are open, each in the version that it was opened in.

    The kernel has one size, and one copy of the pages, for all who have a file open. They are those of one version: as
    long as somebody reads it by way of the pages, its attributes are shown, and whoever opens another version reads
    past the pages (`direct_io`), up to that one's own end.
    """

    def __init__(self, tree: Tree, view: AttributeView) -> None:
        self._tree, self._view = tree, view
        self._files: dict[int, tuple[int, OpenFile, bool]] = {}
        self._shown: dict[int, InodeAttributes] = {}  # what the kernel was told last
        self._readers: Counter[int] = Counter()  # by way of the pages
        self._first = len(tree.index)
        self._numbers = itertools.count(self._first)
        self._lock = ForkSafeLock()

    def attributes(self, row: int) -> InodeAttributes:
        """What the kernel is to be told of a row."""
        found = self._view.of(row)
        if not found.live:
            return found
        with self._lock:
            if self._readers[row]:
                return self._shown[row]
            if len(self._shown) > _MOST_SHOWN:
                self._shown = {row: shown for row, shown in self._shown.items() if self._readers[row]}
            self._shown[row] = found
        return found

    def add(self, row: int) -> tuple[int, bool]:
        """Open a file: its handle, and whether it must be read past the pages."""
        file = self._tree.open(row)
        with self._lock:
            shown = self._shown.get(row)
            is_shown = shown is not None and shown.size == file.size and shown.version in (0, file.version.tag)
            if shown is not None and is_shown:
                self._shown[row] = shown._replace(version=file.version.tag)
                self._readers[row] += 1
            handle = next(self._numbers)
            self._files[handle] = row, file, is_shown
        return handle, not is_shown

    def remove(self, handle: int) -> None:
        """Close a file."""
        if handle < self._first:
            return
        with self._lock:
            row, _, is_shown = self._files.pop(handle)
            if is_shown:
                self._readers[row] -= 1
                if not self._readers[row]:
                    del self._readers[row]

    def read(self, handle: int, start: int, end: int) -> bytes:
        """Bytes of an open file; of a member, by its row."""
        return self._tree.read(handle, start, end) if handle < self._first else self._files[handle][1].read(start, end)


class TreeOperations(fuse.Operations):
    """The operations of a filesystem, for fusepy. Paths are absolute, in `ENCODING`."""

    use_ns = True

    def __init__(self, tree: Tree, view: AttributeView, counters: Counters, started: Callable[[], None]) -> None:
        self._tree = tree
        self._view = view
        self._counters = counters
        self._started = started
        self._failures = Failures()
        self._open = OpenFiles(tree, view)
        self._second_tries = None if tree.storage.is_quick else SecondTries()

    def __call__(self, operation: str, *args: Any) -> Any:
        """Do one operation; what goes wrong becomes an errno."""
        self._counters.add(Counted.REQUESTS, 1)
        try:
            return super().__call__(operation, *args)
        except fuse.FuseOSError:
            raise
        except Exception as error:  # anything else would be libfuse's last request
            code = errno_of(error)
            if code not in _QUIET:
                self._counters.add(Counted.ERRORS, 1)
                path = os.fsdecode(args[0].encode(ENCODING)).strip("/") if args else ""
                self._failures(operation, path, error)
            raise fuse.FuseOSError(code) from error

    def _once(self, number: int, call: Callable[[], T]) -> T:
        """What a call gives that may wait for a server, for the file of a number."""
        return call() if self._second_tries is None else self._second_tries.once(number, call)

    def init(self, path: str) -> None:
        """Called by libfuse when the kernel has greeted."""
        self._started()

    def _row(self, path: str) -> int:
        """Row of a path; the kernel has followed all links in it."""
        row = 0
        for name in path.encode(ENCODING).split(b"/"):
            if name:
                if self._tree.index.source[row] != DIRECTORY:
                    raise fuse.FuseOSError(errno.ENOTDIR)
                if len(name) > 255:
                    raise fuse.FuseOSError(errno.ENAMETOOLONG)
                child = self._tree.index.lookup(row, name)
                if child < 0:
                    raise self._tree.absence(row, path)
                row = child
        return row

    def access(self, path: str, amode: int) -> int:
        """Whether something may be done; the kernel itself looks at the permission bits."""
        if amode & os.W_OK:
            raise fuse.FuseOSError(errno.EROFS)
        return 0

    def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
        """Attributes, times in nanoseconds."""
        self._counters.add(Counted.LOOKUPS, 1)
        row = self._row(path)
        is_loose = self._tree.index.source[row] == LOOSE
        found = self._once(row, lambda: self._open.attributes(row)) if is_loose else self._open.attributes(row)
        return {
            "st_ino": found.ino,
            "st_mode": found.mode,
            "st_nlink": found.nlink,
            "st_size": found.size,
            "st_blocks": found.blocks,
            "st_uid": found.uid,
            "st_gid": found.gid,
            **dict.fromkeys(("st_mtime", "st_atime", "st_ctime"), found.mtime_ns),
        }

    def readdir(self, path: str, fh: int) -> list[Any]:
        """Names, with inodes and types."""
        row = self._row(path)
        children = self._tree.children(row)
        sources = self._tree.index.buffers.source
        kinds = {DIRECTORY: stat.S_IFDIR, LINK: stat.S_IFLNK}
        entries: list[Any] = [
            (name, {"st_ino": shown + 1, "st_mode": stat.S_IFDIR}, 0)
            for name, shown in ((".", row), ("..", self._tree.index.parent(row)))
        ]
        for child in children:
            kind = {"st_ino": child + 1, "st_mode": kinds.get(sources[child], stat.S_IFREG)}
            entries.append((self._tree.index.name(child).decode(ENCODING), kind, 0))
        return entries

    def readlink(self, path: str) -> str:
        """Target of a symbolic link."""
        row = self._row(path)
        if self._tree.index.source[row] != LINK:
            raise fuse.FuseOSError(errno.EINVAL)
        return self._tree.link_target(row).encode("utf-8", "surrogateescape").decode(ENCODING)

    def open(self, path: str, info: Any) -> int:
        """Open a file: the handle of a member is its row, so there is no table that could grow."""
        if info.flags & (os.O_WRONLY | os.O_RDWR | os.O_TRUNC):
            raise fuse.FuseOSError(errno.EROFS)
        row = self._row(path)
        if self._tree.index.source[row] == LOOSE:
            info.fh, info.direct_io = self._once(row, lambda: self._open.add(row))
        else:
            info.fh, info.keep_cache = row, 1
        return 0

    def release(self, path: str, info: Any) -> int:
        """Close a file."""
        self._open.remove(info.fh)
        return 0

    def read(self, path: str, size: int, offset: int, info: Any) -> bytes:
        """Bytes of a file."""
        handle = info.fh
        data = self._once(handle, lambda: self._open.read(handle, offset, offset + size))
        self._counters.add(Counted.READS, 1)
        self._counters.add(Counted.BYTES, len(data))
        return data

    def statfs(self, path: str) -> dict[str, int]:
        """A full disk."""
        blocks = -(-self._tree.total_bytes() // _BLOCK)
        sizes = {"f_bsize": _BLOCK, "f_frsize": _BLOCK, "f_blocks": blocks, "f_namemax": 255}
        return {**sizes, "f_files": len(self._tree.index), "f_bfree": 0, "f_bavail": 0, "f_ffree": 0, "f_favail": 0}


class FusepyEngine:
    """Runs libfuse's loop, with its threads. See `blobdir.mounting.session.Running`."""

    def __init__(self, tree: Tree, mountpoint: str, options: MountOptions, counters: Counters, fsname: str) -> None:
        self._tree = tree
        self._mountpoint = mountpoint
        self._options = options
        self._counters = counters
        self._fsname = fsname.replace("\\", "\\\\").replace(",", "\\,")

    @property
    def mount(self) -> MountIdentity:
        """Which mount it is, as soon as it's ready."""
        return identity_at(self._mountpoint)

    @staticmethod
    def _end_when_alone(mount: MountIdentity, idle: Callable[[], bool], failed: Event) -> None:
        """Unmount when whoever wanted it isn't there any more, or wasn't told of it: libfuse's loop ends then."""
        while idle() and not failed.wait(_LOOK_S):
            pass
        while mount.entry() is not None:
            with suppress(MountError):  # something is mounted over it, for now
                detach(mount, lazy=True)
            time.sleep(_LOOK_S)

    def run(self, ready: Callable[[], None], idle: Callable[[], bool]) -> None:
        """Mount, and serve until it's unmounted."""
        view = AttributeView(self._tree, self._options)
        # One for all names: that a plain file isn't there now is nothing to be remembered, it may come back.
        has_loose = bool((self._tree.index.source == LOOSE).any())
        given: dict[str, Any] = {"allow_other": True} if self._options.allow_other else {}
        failed, errors, alone = Event(), list[BaseException](), ExitStack()

        def started() -> None:
            """What is raised here goes to nobody: libfuse doesn't ask, and fusepy loses it."""
            try:
                with alone:
                    mount = self.mount  # before anybody knows of it, and can mount another one over it
                start(self._end_when_alone, mount, idle, failed, name="blobdir watching")
                ready()
            except BaseException as error:
                errors.append(error)
                failed.set()
                fuse.fuse_exit()

        operations = TreeOperations(self._tree, view, self._counters, started)
        with suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # else libfuse leaves it to Python, which is in its loop
        alone.enter_context(alone_at(self._mountpoint))
        try:
            fuse.FUSE(
                operations,
                os.fsencode(self._mountpoint).decode(ENCODING),
                encoding=ENCODING,
                raw_fi=True,
                foreground=True,
                nothreads=False,
                ro=True,
                nosuid=True,
                nodev=True,
                default_permissions=True,
                use_ino=True,
                entry_timeout=FOREVER_S,
                negative_timeout=0 if has_loose else FOREVER_S,
                attr_timeout=LIVE_S,
                fsname=os.fsencode(self._fsname).decode(ENCODING),
                subtype="blobdir",
                **given,
            )
        except RuntimeError as error:
            raise MountError(
                f"{self._mountpoint}: libfuse couldn't mount (status {error}); its message is above"
            ) from error
        finally:
            alone.close()
            if errors:
                raise errors[0]
