"""Changes of a project that happen or don't: staged files, a journal, a lock.

What is new is written to ``.blobdir/staging``. Then the journal says what is going to be renamed and removed, and after
that it is done; whoever finds the journal of one that was killed does the rest. Staged files without a journal never
happened.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from blobdir.discovery import layout
from blobdir.durable import sync_folder, write_whole
from blobdir.errors import BusyError, UsageError

if TYPE_CHECKING:
    from types import TracebackType

JOURNAL, STAGING, LOCK = "journal.json", "staging", "lock"
SYNC_EACH = 100
"""Files up to which each is brought to the disk by a call of its own."""


class Change:
    """One change of a project: a context manager that holds the project's lock.

    Put new files where `stage` says, name those to be removed with `remove`, then call `commit`. Leaving without that
    changes nothing.

    Parameters
    ----------
    root : str
        Folder of the project.

    Raises
    ------
    BusyError
        Somebody else is changing it.
    """

    def __init__(self, root: str) -> None:
        self._root = Path(root)
        self._state = self._root / layout.STATE_DIR
        self._staging = self._state / STAGING
        self._staged: dict[str, None] = {}
        self._removed: dict[str, None] = {}
        self._emptied: dict[str, None] = {}
        self._lock = -1

    def __enter__(self) -> Self:
        self._state.mkdir(exist_ok=True)
        for path in (self._state, self._staging, self._state / JOURNAL, self._state / LOCK):
            if path.is_symlink():
                raise UsageError(f"{path}: is a symbolic link, and nothing of blobdir's is; look at it, and remove it")
        self._lock = os.open(self._state / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._lock, 100, 0).decode("ascii", "replace").strip() or "another process"
            os.close(self._lock)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise BusyError(f"{self._root}: process {holder} is changing it; try again when it's done") from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        try:
            self._finish_others()
            self._staging.mkdir()
        except BaseException:
            os.close(self._lock)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not (self._state / JOURNAL).exists():
            shutil.rmtree(self._staging, ignore_errors=True)
        os.close(self._lock)

    def stage(self, path: str) -> Path:
        """Where to write what shall be at `path` of the project."""
        self._staged[path] = None
        target = self._staging / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def forget(self, path: str) -> None:
        """Don't put anything at `path`, whatever was staged for it."""
        self._staged.pop(path, None)
        (self._staging / path).unlink(missing_ok=True)

    def remove(self, path: str) -> None:
        """Have a file of the project removed."""
        self._removed[path] = None

    def remove_folder(self, path: str) -> None:
        """Have a folder, and those below it, removed where nothing is left in them."""
        self._emptied[path] = None

    def commit(self) -> None:
        """Do it: from here on it happens, even if this process doesn't live to see it."""
        # Blobs and annotations first, pickles last: an image is there when all that belongs to it is.
        staged = sorted((p for p in self._staged if (self._staging / p).exists()), key=_order)
        removed = sorted((self._removed.keys() - staged), key=_order, reverse=True)
        self._check_inside([*staged, *removed, *self._emptied])
        self._sync(staged)
        journal = json.dumps({"rename": staged, "remove": removed, "empty": list(self._emptied)})
        write_whole(self._state / JOURNAL, [journal.encode("utf-8", "surrogateescape")])
        self._apply(staged, removed, list(self._emptied))

    def _sync(self, staged: list[str]) -> None:
        """Have what is staged reach the disk, before anything says that it's there."""
        if len(staged) > SYNC_EACH:
            os.sync()  # a call for each of a hundred thousand files takes minutes
            return
        folders = set()
        for path in staged:
            full = self._staging / path
            sync(full)
            folders.add(full.parent)
        for folder in sorted(folders):
            sync_folder(folder)

    def _finish_others(self) -> None:
        """Do what a process that was killed had begun; forget what it had only prepared."""
        with suppress(FileNotFoundError):
            staged, removed, emptied = self._read_journal()
            self._apply(staged, removed, emptied)
        shutil.rmtree(self._staging, ignore_errors=True)
        for left in self._state.glob(f"{JOURNAL}.*.tmp"):
            left.unlink()

    def _read_journal(self) -> tuple[list[str], list[str], list[str]]:
        """What it says; UsageError where no blobdir has written it. It may have come with somebody else's project."""
        path = self._state / JOURNAL
        try:
            plan = json.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
            lists = plan["rename"], plan["remove"], plan.get("empty", [])
            good = all(isinstance(item, str) for found in lists for item in found)
        except (ValueError, KeyError, TypeError, AttributeError):
            good = False
        if not good:
            raise UsageError(f"{path}: isn't a journal of blobdir; look at it, and remove it")
        self._check_inside([item for found in lists for item in found])
        return lists

    def _check_inside(self, paths: list[str]) -> None:
        """Make sure that nothing outside the project is going to be touched, by its name or through a link.

        Raises
        ------
        UsageError
            Before anything has been done.
        """
        root = os.path.realpath(self._root)
        known: dict[str, bool] = {}
        for path in paths:
            parts = path.split("/")
            parent = "/".join(parts[:-1])
            if parent not in known:
                real = os.path.realpath(f"{root}/{parent}")
                known[parent] = real == root or real.startswith(root.rstrip("/") + "/")
            if not known[parent] or {"", ".", ".."} & set(parts) or "\0" in path or parts[0] == layout.STATE_DIR:
                raise UsageError(
                    f"{path}: isn't inside {self._root}, or a link leads out of it; nothing was changed. If a change "
                    f"was cut off, look at {self._state / JOURNAL}"
                )

    def _apply(self, staged: list[str], removed: list[str], emptied: list[str]) -> None:
        touched = set()
        for path in staged:
            target = self._root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # done already, by one who was killed after it
                os.replace(self._staging / path, target)
            touched.add(target.parent)
        for path in removed:
            with suppress(FileNotFoundError):
                os.unlink(self._root / path)
                touched.add((self._root / path).parent)
        for folder in touched:
            sync_folder(folder)
        for path in emptied:
            for full, _, _ in os.walk(self._root / path, topdown=False):
                with suppress(OSError):  # something is in it
                    os.rmdir(full)
        shutil.rmtree(self._staging, ignore_errors=True)
        os.unlink(self._state / JOURNAL)
        sync_folder(self._state)


def sync(path: Path) -> None:
    """Have the bytes of a file reach the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _order(path: str) -> tuple[int, str]:
    return (2 if layout.is_offsets(os.path.basename(path)) else 0 if path.startswith(layout.BLOB_DIR) else 1, path)


def recover(project: str | os.PathLike[str]) -> bool:
    """Finish a change that was cut off, if there is one.

    Returns
    -------
    bool
        Whether there was.
    """
    root = os.path.abspath(project)
    if not os.path.isdir(root):
        raise UsageError(f"{root}: there is no such folder")
    state = Path(root, layout.STATE_DIR)
    if not (state / JOURNAL).exists() and not (state / STAGING).exists():
        return False
    with Change(root):
        return True
