"""Who counts what is kept has a lock meanwhile, which nobody may wait for without an end."""

import contextlib
import fcntl
import os
import signal
import threading
import time
import warnings

import pytest

from blobdir.blocks import DiskTier
from blobdir.blocks import disk as module
from blobdir.blocks.disk import LedgerBusyError
from blobdir.errors import BlobdirWarning
from blobdir.locks import close_unlocked
from blobdir.moving.notes import PushNotes
from blobdir.moving.packed import _alone
from blobdir.packing.newfolder import NewFolder

KEY = "ab" * 16


@pytest.fixture
def disk(tmp_path):
    return DiskTier(tmp_path / "cache", 1 << 20)


def forked(inside):
    """A process that is forked while a lock is held, and lives until it's ended."""
    inside.wait(20)
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    return pid


def test_one_that_is_forked_meanwhile_does_not_have_it(disk):
    inside, goes_on = threading.Event(), threading.Event()

    def hold():
        with disk._ledger():
            inside.set()
            goes_on.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    pid = forked(inside)
    try:
        goes_on.set()
        holder.join()
        disk.write(KEY, 0, b"x" * 100, "a.tar")
        assert not disk.broken
        assert disk.read(KEY, 0, 0, 1) == b"x"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_one_that_is_stopped_with_it_is_not_waited_for_for_ever(disk, monkeypatch):
    monkeypatch.setattr(module, "LEDGER_S", 0.2)
    disk.write(KEY, 0, b"x" * 100, "a.tar")
    fd = os.open(disk.folder / "ledger", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        with pytest.warns(BlobdirWarning, match=r"another process has had its ledger .* Nothing is kept for 60 s"):
            disk.write(KEY, 1, b"y" * 100, "a.tar")
        began = time.monotonic()
        for number in range(100):  # nobody waits again for each of them
            disk.write(KEY, 2 + number, b"y" * 100, "a.tar")
        assert time.monotonic() - began < 5
        assert disk.read(KEY, 0, 0, 1) == b"x"
        with pytest.raises(LedgerBusyError, match="another process has had its ledger"):
            disk.clear()
    finally:
        os.close(fd)
    assert not disk.broken
    monkeypatch.setattr(disk, "_rests_until", 0.0)  # later
    disk.write(KEY, 1, b"y" * 100, "a.tar")
    assert disk.read(KEY, 1, 0, 1) == b"y"


@pytest.mark.parametrize("error", [LedgerBusyError(110, "busy"), TimeoutError(110, "of NFS"), OSError(28, "full")])
def test_nothing_half_written_stays(disk, monkeypatch, error):
    """Only the ledger of another process is waited for; what the disk says is the end of keeping."""
    real, calls = disk._ledger, []

    @contextlib.contextmanager
    def ledger():
        calls.append(1)
        if len(calls) == 2:  # at the rename
            raise error
        with real() as fd:
            yield fd

    monkeypatch.setattr(disk, "_ledger", ledger)
    with pytest.warns(BlobdirWarning):
        disk.write(KEY, 0, b"x" * 100, "a.tar")
    assert [path.name for path in (disk.folder / "blocks").rglob("*") if path.is_file()] == ["file.json"]
    assert bool(disk.broken) == (not isinstance(error, LedgerBusyError))


@pytest.mark.parametrize("is_file", [True, False])
def test_a_folder_that_comes_and_goes_is_no_end_of_the_cache(disk, monkeypatch, is_file):
    """A file in its place is."""
    disk.write(KEY, 0, b"x" * 100, "a.tar")
    blocks = disk.folder / "blocks" / "cd"

    def make(self, folder):
        if is_file:
            blocks.write_bytes(b"")
        raise FileExistsError(17, "File exists", str(blocks))

    with monkeypatch.context() as patched, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        patched.setattr(DiskTier, "_make", make)
        disk.write("cd" * 16, 0, b"y" * 100, "a.tar")
    assert bool(disk.broken) == is_file == bool(said)
    if not is_file:
        disk.write("cd" * 16, 0, b"y" * 100, "a.tar")
        assert disk.read("cd" * 16, 0, 0, 1) == b"y"


def _of_a_new_folder(at):
    made = NewFolder(at / "new", ".packing")
    made.__enter__()

    def give():
        made.discard(OSError())
        made.__exit__(None, None, None)

    return give


def _of_packing(at):
    lock = _alone(at / "stage")
    lock.__enter__()
    return lambda: lock.__exit__(None, None, None)


def _of_pushing(at):
    return PushNotes("s3://bucket/a").close


@pytest.mark.parametrize("take", [_of_a_new_folder, _of_packing, _of_pushing])
def test_whoever_has_a_lock_gives_it_to_all(tmp_path, monkeypatch, take):
    """A process that was forked while it was held doesn't keep it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    give = take(tmp_path)
    held = threading.Event()
    held.set()
    pid = forked(held)
    try:
        give()
        take(tmp_path)()
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("is_owner", [True, False])
def test_who_closes_unlocks_what_is_his(tmp_path, is_owner):
    path = tmp_path / "a"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    other = os.dup(fd)
    close_unlocked(fd, os.getpid() if is_owner else os.getppid())
    again = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        taken = True
    except BlockingIOError:
        taken = False
    assert taken == is_owner
    os.close(again)
    os.close(other)
