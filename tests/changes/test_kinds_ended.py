"""Each kind of fault of changes that end early: by a signal, for want of room, or of descriptors."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import signal
import sys
import threading
from contextlib import suppress

import fsspec
import pytest
from changes.children import REFUSED, Child, changes, watch
from changes.looking import faults, shown
from changes.operations import CHANGING, copied, prepare, state
from changes.samples import files_of, numbered, packed, picture, with_side_files

from blobdir.cli.app import run
from blobdir.errors import PackError
from blobdir.packing import add, compact, merge, move, pack, recover, remove, subset
from blobdir.packing.folders import OPEN, Folders
from blobdir.packing.newfolder import NewFolder
from blobdir.projectlock import ProjectLock

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("ended"))


@pytest.fixture(params=CHANGING)
def case(request, base, tmp_path):
    """An operation; a copy of the folder before it; what is shown before and after it."""
    operation = CHANGING[request.param]
    start = copied(base, tmp_path / "start")
    operation.before(start)
    done = copied(start, tmp_path / "done")
    operation.run(done)
    return operation, start, state(operation, start), state(operation, done)


# -- signals ---------------------------------------------------------------------------------------------------


def interrupted_at(operation, number, signal_number):
    """Run an operation that gets a signal before its change of this number; exit status, and whether it came."""
    left = number

    def at(event, arguments):
        nonlocal left
        left -= changes(event, arguments)
        return left < 0

    def and_end():
        try:
            operation()
        except KeyboardInterrupt:
            os._exit(REFUSED)

    with Child(and_end, lambda: watch(at, signal_number)) as child:
        return child.ended()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_leaves_no_half_of_a_change(case, tmp_path, number):
    operation, start, old, new = case
    ended = {signal.SIGINT: REFUSED, signal.SIGTERM: -signal.SIGTERM}[number]
    outcomes = set()
    for at in range(2, 1000, 5):
        folder = copied(start, tmp_path / f"{at}")
        code = interrupted_at(lambda folder=folder: operation.run(folder), at, number)
        assert code in (0, ended)
        assert not (folder / "p/.blobdir/journal.json").exists()
        found = state(operation, folder)
        assert found in (old, new)
        if code == 0:
            break
        outcomes.add(found == new)
        shutil.rmtree(folder)
    assert outcomes == {False, True} or old == new


@pytest.mark.parametrize(
    ("number", "said"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str
)
def test_the_command_line_says_that_the_change_was_made(base, tmp_path, capfd, number, said):
    folder = copied(base, tmp_path / "copy")

    def at(event, arguments):
        return event == "os.rename" and "offsets.pkl" in str(arguments[1])

    with Child(
        lambda: os._exit(run(["remove", str(folder / "p"), "train/a001.png"])), lambda: watch(at, number)
    ) as child:
        assert child.ended() == said
    assert "interrupted" in (text := capfd.readouterr().err)
    assert "the change was made" in text
    assert "train/img/a001.png" not in shown(folder / "p")
    assert faults(folder / "p") == []


def test_a_signal_is_for_the_main_thread(base, tmp_path):
    """A change in another thread neither waits for signals nor keeps them from the program."""
    folder = copied(base, tmp_path / "copy")
    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=remove, args=(folder / "p", ["train/a001.png"]))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before
    assert "train/img/a001.png" not in shown(folder / "p")


# -- no room ---------------------------------------------------------------------------------------------------


def creates(event, arguments):
    return event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & os.O_CREAT)


def without_room(at):
    """From the journal on, what needs room fails; or, if nothing does until then, renaming fails once, at that step."""
    left, decided, failed = at, False, False

    def hook(event, arguments):
        nonlocal left, decided, failed
        if event == "os.rename" and str(arguments[1]).endswith("/journal.json"):
            decided = True
        elif decided and event == "os.rename" and str(arguments[0]).isdigit():
            left -= 1
            if left == -1 and not failed:
                failed = True
                raise OSError(errno.EIO, "Input/output error", arguments[0])
        elif decided and (event == "os.mkdir" or (event == "os.link" and left <= 0) or creates(event, arguments)):
            failed = True
            raise OSError(errno.ENOSPC, "No space left on device", arguments[0])

    sys.addaudithook(hook)


def test_going_back_needs_no_room(case, tmp_path):
    operation, start, old, new = case
    for at in range(40):
        folder = copied(start, tmp_path / f"{at}")
        with Child(lambda folder=folder: operation.run(folder), lambda at=at: without_room(at)) as child:
            code = child.ended()
        assert not (folder / "p/.blobdir/journal.json").exists()
        assert state(operation, folder) == (new if code == 0 else old)
        if code == 0:
            break
        assert (recover(folder / "p"), state(operation, folder)) == (False, old)
        shutil.rmtree(folder)
    assert at or old == new


@pytest.mark.parametrize("call", ["link", "mkdir", "rename"])
def test_the_file_and_the_disk_are_named(base, tmp_path, monkeypatch, call):
    """Not a number, not a name without its folder, and not the disk of the working directory."""
    folder = copied(base, tmp_path / "copy")
    known, statvfs = getattr(os, call), os.statvfs
    asked, failed = [], []

    def full(name, *arguments, **options):
        if options.keys() & {"dir_fd", "src_dir_fd"} and not failed:
            failed.append(name)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
        return known(name, *arguments, **options)

    monkeypatch.setattr(os, call, full)
    monkeypatch.setattr(os, "statvfs", lambda path: (asked.append(str(path)), statvfs(path))[1])
    place = "train/deep" if call == "mkdir" else "train"
    with pytest.raises(PackError, match=r"No space left on device") as caught:
        add(folder / "p", place, [folder / "new/n0.png"])
    named = str(caught.value).partition(":")[0]
    assert re.match(r"(blob|train)/", named), named
    assert {path for path in asked if not path.startswith(str(folder))} == set()
    assert shown(folder / "p") == shown(base / "p")


FAILING = ["pread", "pwrite", "ftruncate", "fchmod", "stat", "fstat"]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("call", FAILING)
def test_a_lock_that_cannot_be_taken_is_let_go(tmp_path, monkeypatch, call, shared):
    root = packed(tmp_path / "p", numbered(2))

    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = set(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(f"blobdir.projectlock.os.{call}", fail)
        with suppress(OSError):
            ProjectLock(str(root), shared=shared).release()
    assert set(os.listdir("/proc/self/fd")) <= before  # what other tests have left is closed at any time
    ProjectLock(str(root)).release()
    remove(root, ["train/a001.png"])


@pytest.mark.parametrize("call", ["open", "mkdir", "stat", "fstat", "fsync"])
def test_a_new_folder_that_cannot_be_made_is_let_go(tmp_path, monkeypatch, call):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = set(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(f"blobdir.packing.newfolder.os.{call}", fail)
        with pytest.raises(OSError, match="No space"), NewFolder(tmp_path / "made", ".making"):
            pass
    assert set(os.listdir("/proc/self/fd")) <= before  # what other tests have left is closed at any time
    assert list(tmp_path.iterdir()) == []


MAKERS = {
    "pack": lambda base: pack(base / "source", base / "made"),
    "subset": lambda base: subset(base / "p", base / "made"),
}


@pytest.mark.parametrize("command", MAKERS)
def test_what_is_there_is_not_said_to_be_gone(base, tmp_path, monkeypatch, command):
    folder = copied(base, tmp_path / "copy")
    sync = sys.modules["blobdir.packing.newfolder"].sync_folder

    def fail(path):
        if (folder / "made").exists():
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        sync(path)

    monkeypatch.setattr("blobdir.packing.newfolder.sync_folder", fail)
    with pytest.raises(PackError, match="is there, and whole"):
        MAKERS[command](folder)
    assert shown(folder / "made")
    assert faults(folder / "made") == []


# -- few descriptors ---------------------------------------------------------------------------------------------


def test_few_folders_are_open_at_a_time(tmp_path):
    names = [f"{i}/img/deep" for i in range(100)]
    before = len(os.listdir("/proc/self/fd"))
    with Folders(tmp_path) as folders:
        for name in names:
            folders.fd(name, make=True)
        assert len(os.listdir("/proc/self/fd")) <= before + OPEN + 2
        for name in names:  # those that were closed are opened again
            assert os.path.samestat(os.fstat(folders.fd(name)), os.stat(tmp_path / name))
        folders.sync()
    assert len(os.listdir("/proc/self/fd")) <= before


def _transaction(root):
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    with fs.transaction:
        for i in range(MANY):
            fs.rm(f"d{i:03}/img/a001.png")


MANY = 100
WIDE = {
    "remove": lambda base: remove(base / "p", [f"d{i:03}/a001.png" for i in range(MANY)]),
    "move": lambda base: move(base / "p", [f"d{i:03}/b{i:03}.png" for i in range(MANY)], "one"),
    "merge": lambda base: merge(base / "q", base / "p"),
    "transaction": lambda base: _transaction(base / "p"),
    "compact": lambda base: compact(base / "p"),
    "subset": lambda base: subset(base / "p", base / "s"),
}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A project of many datasets, each with six folders."""
    base = tmp_path_factory.mktemp("wide")
    images = {}
    for i in range(MANY):
        images |= {f"d{i:03}/{name}": picture((i, name)) for name in ("a000.png", "a001.png", f"b{i:03}.png")}
    packed(base / "p", with_side_files(files_of(images)), shard_images=100)
    packed(base / "q", numbered(2))
    remove(base / "p", [f"d{i:03}/a000.png" for i in range(MANY)])
    return base


@pytest.mark.parametrize("command", WIDE)
def test_many_datasets_with_few_descriptors(wide, tmp_path, command):
    folder = copied(wide, tmp_path / "copy")

    def limit():
        used = max(int(fd) for fd in os.listdir("/proc/self/fd"))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 180, hard))

    with Child(lambda: WIDE[command](folder), limit) as child:
        assert child.ended() == 0
    assert faults(folder / "p") == []


def test_what_was_begun_with_many_descriptors_is_finished_with_few(wide, tmp_path):
    folder = copied(wide, tmp_path / "copy")
    left = 500

    def at(event, arguments):
        nonlocal left
        left -= event == "os.rename"
        return left < 0

    with Child(lambda: WIDE["remove"](folder), lambda: watch(at, signal.SIGKILL)) as child:
        assert child.ended() == -signal.SIGKILL
    assert (folder / "p/.blobdir/journal.json").exists()

    def limit():
        used = max(int(fd) for fd in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 60, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    with Child(lambda: recover(folder / "p"), limit) as child:
        assert child.ended() == 0
    assert not (folder / "p/.blobdir/journal.json").exists()
    assert faults(folder / "p") == []
