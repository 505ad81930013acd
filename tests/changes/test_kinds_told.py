"""Each kind of way in which somebody learns, too late or not at all, that a change was made."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import warnings

import pytest
from changes.looking import faults, shown
from changes.operations import CHANGING, copied, prepare, state

import blobdir
from blobdir import filesystem
from blobdir.cli.app import run
from blobdir.errors import BlobdirWarning, PackError
from blobdir.interrupts import remembering
from blobdir.packing import journal, recover, remove, subset
from blobdir.packing.publishing import Change

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
NAME = "train/a001.png"
IMAGE = "train/img/a001.png"
MADE = "the change was made"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("told"))


@pytest.fixture
def root(base, tmp_path):
    return copied(base, tmp_path / "copy") / "p"


def opened(root):
    return blobdir.BlobDirFileSystem(root, skip_instance_cache=True)


# -- the project can't be opened anew after a change was made ---------------------------------------------------------


def raising(error):
    def fail(_monkeypatch):
        raise error

    return fail


FAILURES = {
    "no descriptors": raising(OSError(errno.EMFILE, os.strerror(errno.EMFILE))),
    "a disk": raising(OSError(errno.EIO, os.strerror(errno.EIO), "p/t")),
    "no memory": raising(MemoryError()),
    "not a project": raising(blobdir.errors.NotAProjectError("p: isn't one")),
}
INTERRUPTED = {
    "Ctrl-C": (lambda _: signal.raise_signal(signal.SIGINT), KeyboardInterrupt),
    "an exit": (raising(SystemExit(3)), SystemExit),
}


def failing_after_the_change(monkeypatch, fail):
    """Have it fail once to open a project whose image is gone."""
    real, failed = filesystem.open_tree, []

    def open_tree(*args, **options):
        tree = real(*args, **options)
        try:
            tree.find(IMAGE)
        except FileNotFoundError:
            if not failed:
                failed.append(1)
                fail(monkeypatch)
        return tree

    monkeypatch.setattr(filesystem, "open_tree", open_tree)
    return failed


def in_a_transaction(fs):
    with fs.transaction:
        fs.rm(IMAGE)


@pytest.mark.parametrize("how", FAILURES)
def test_a_failure_after_a_transaction(root, monkeypatch, how):
    fs = opened(root)
    failed = failing_after_the_change(monkeypatch, FAILURES[how])
    with pytest.warns(BlobdirWarning, match=f"{MADE}, but the project can't be opened anew: .+; that is tried again"):
        in_a_transaction(fs)
    assert failed
    assert not fs.exists(IMAGE)
    assert fs.view is fs.view  # and is opened once
    assert fs.still().view is fs.view
    with fs.transaction:
        fs.rm(next(iter(fs.find("train/img"))))
    assert faults(root) == []


@pytest.mark.parametrize("how", INTERRUPTED)
def test_an_interruption_after_a_transaction(root, monkeypatch, how):
    fail, kind = INTERRUPTED[how]
    fs = opened(root)
    failed = failing_after_the_change(monkeypatch, fail)
    with pytest.raises(kind) as error:
        in_a_transaction(fs)
    assert failed
    assert error.value.__notes__ == [f"{root}: {MADE}"]
    assert IMAGE not in fs.find("train/img")


@pytest.mark.parametrize("how", [*FAILURES, *INTERRUPTED])
def test_a_project_that_has_got_something(root, tmp_path, monkeypatch, how):
    """The other calls that change a project and then show it."""
    project = blobdir.open_project(root)
    real = filesystem.open_tree
    left = [1]

    def open_tree(*args, **options):
        if left.pop() if left else 0:
            (FAILURES.get(how) or INTERRUPTED[how][0])(monkeypatch)
        return real(*args, **options)

    monkeypatch.setattr(filesystem, "open_tree", open_tree)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        if how in FAILURES:
            project.create_blob_readme(replace=True)
            assert MADE in str(said[-1].message)
        else:
            with pytest.raises(INTERRUPTED[how][1]) as error:
                project.create_blob_readme(replace=True)
            assert MADE in error.value.__notes__[0]
    assert project.filesystem.exists("README.md")


def test_a_view_that_is_away_is_no_attribute_that_is_missing(root):
    fs = opened(root)
    fs.forget()
    assert hasattr(fs, "view")
    assert not hasattr(fs, "views")


# -- Ctrl-C, and errors, when all is done -----------------------------------------------------------------------------


class Late:
    """Something that comes when a change was made, before the command has ended."""

    def __init__(self, monkeypatch, fail, holder, name):
        real = getattr(holder, name)

        def late(*args, **options):
            done = real(*args, **options)
            fail(monkeypatch)
            return done

        monkeypatch.setattr(holder, name, late)


LATE = {
    "Ctrl-C": (INTERRUPTED["Ctrl-C"][0], 130),
    "an error": (FAILURES["a disk"], 7),
    "no memory": (FAILURES["no memory"], 1),
}
COMMANDS = {
    "remove": ["remove", "{p}", NAME],
    "move": ["move", "{p}", NAME, "val"],
    "add": ["add", "{p}", "train", "{new}"],
    "merge": ["merge", "{p}", "{other}"],
}


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("how", LATE)
@pytest.mark.parametrize("at", ["commit", "__exit__"])
def test_commands_say_that_the_change_was_made(root, tmp_path, monkeypatch, capsys, name, how, at):
    fail, status = LATE[how]
    given = {"p": root, "new": tmp_path / "new.png", "other": tmp_path / "other"}
    shutil.copy(next(iter(sorted((root.parent).rglob("*.png")))), given["new"])
    if name == "merge":
        subset(root, given["other"], blobdir.packing.SubsetOptions(names=[NAME]))
        remove(root, [NAME])
    Late(monkeypatch, fail, Change, at)
    assert run([part.format(**given) for part in COMMANDS[name]]) == status
    said = capsys.readouterr().err
    assert said.count(f"{root}: {MADE}") == 1
    assert faults(root) == []


NEW = {
    "subset": ["subset", "{p}", "{out}", "--glob", "train/*"],
    "convert": ["convert", "{p}", "{out}", "--to", "voc"],
    "pack": ["pack", "{plain}", "{out}"],
}


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize("how", LATE)
def test_commands_say_that_what_they_make_is_there(root, tmp_path, monkeypatch, capsys, name, how):
    fail, status = LATE[how]
    assert run(["unpack", "-q", str(root), str(tmp_path / "plain")]) == 0
    Late(monkeypatch, fail, blobdir.packing.newfolder.NewFolder, "publish")
    given = {"p": root, "out": tmp_path / "out", "plain": tmp_path / "plain"}
    capsys.readouterr()
    assert run([part.format(**given) for part in NEW[name]]) == status
    assert (tmp_path / "out").is_dir()
    assert capsys.readouterr().err.count(f"{tmp_path / 'out'}: is there, and whole") == 1


def test_what_was_not_made_is_not_said(root, capsys, monkeypatch):
    with remembering() as done:
        with pytest.raises(KeyboardInterrupt), Change(root):
            raise KeyboardInterrupt
        assert done == []
    assert run(["remove", str(root), "train/none.png"]) != 0
    assert MADE not in capsys.readouterr().err


# -- the journal can't be removed, and other ends of it ---------------------------------------------------------------


def stuck(monkeypatch, kind):
    """Have the journal stay, whatever is tried with it."""
    for name in ("unlink", "rename"):
        real = getattr(os, name)

        def refuse(path, *args, real=real, **options):
            if str(path).endswith("journal.json"):
                raise kind() if kind is MemoryError else OSError(kind, os.strerror(kind))
            return real(path, *args, **options)

        monkeypatch.setattr(os, name, refuse)


@pytest.mark.parametrize("kind", [errno.EIO, errno.EMFILE, errno.EROFS, MemoryError], ids=str)
@pytest.mark.parametrize("face", ["command", "transaction", "call"])
def test_a_journal_that_stays(root, monkeypatch, capsys, kind, face):
    fs = opened(root)
    with monkeypatch.context() as patch:
        stuck(patch, kind)
        if face == "command":
            assert run(["remove", str(root), NAME]) == 7
            said = capsys.readouterr().err
        else:
            with pytest.raises(PackError) as error:
                in_a_transaction(fs) if face == "transaction" else remove(root, [NAME])
            said = str(error.value)
    assert "journal.json: can't be removed: " in said
    assert "made in full" in said
    assert f"the next command that changes {root} removes it" in said
    assert recover(root)
    assert IMAGE not in shown(root)
    assert IMAGE not in opened(root).find("train/img")
    if face == "transaction":
        assert not fs.exists(IMAGE)
    assert faults(root) == []


@pytest.mark.parametrize("kind", [errno.EIO, MemoryError], ids=str)
def test_a_journal_that_stays_when_all_was_undone(root, monkeypatch, kind):
    before = shown(root)
    with monkeypatch.context() as patch:
        stuck(patch, kind)
        patch.setattr(journal.Journal, "_forward", raising_method(OSError(errno.ENOTTY, "broken", "x")))
        with pytest.raises(
            PackError, match=r"x: .*; and then, when all was undone, .*journal\.json: can't be"
        ) as error:
            remove(root, [NAME])
    assert "undone in full" in str(error.value)
    assert recover(root)
    assert shown(root) == before
    assert faults(root) == []


@pytest.mark.parametrize("step", ["_forward", "_back", "both"])
def test_no_memory_in_a_change(root, monkeypatch, step):
    """As any other failure of a step: undone, or said to be half done; the next command makes it whole."""
    before = shown(root)
    with monkeypatch.context() as patch:
        if step in ("_forward", "both"):
            patch.setattr(journal.Journal, "_forward", raising_method(MemoryError()))
        else:
            patch.setattr(journal.Journal, "_forward", raising_method(OSError(errno.EIO, "broken", "x")))
        if step in ("_back", "both"):
            patch.setattr(journal.Journal, "_back", raising_method(MemoryError()))
        with pytest.raises(PackError) as error:
            remove(root, [NAME])
    said = str(error.value)
    assert "there isn't enough memory" in said
    assert (
        "nothing was changed" if step == "_forward" else "the change is half done: mend the cause, and the next"
    ) in said
    recover(root)
    assert shown(root) == before
    assert faults(root) == []


def raising_method(error):
    def fail(*_):
        raise error

    return fail


def test_a_journal_that_could_not_be_noted_nor_taken_away(root, monkeypatch):
    before = shown(root)
    with monkeypatch.context() as patch:
        stuck(patch, errno.EIO)
        noted = []

        def note(self):
            noted.append(1)
            if len(noted) == 2:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch.setattr("blobdir.projectlock.ProjectLock.note", note)
        with pytest.raises(PackError, match=r"journal\.json: can't be removed: .*half done: mend the cause"):
            remove(root, [NAME])
    assert recover(root)
    assert shown(root) != before
    assert faults(root) == []


@pytest.mark.parametrize("name", CHANGING)
def test_interruptions_of_calls_say_it_too(base, tmp_path, monkeypatch, name):
    """Whatever comes between the change and the end of the call that makes it."""
    operation = CHANGING[name]
    start = copied(base, tmp_path / "start")
    operation.before(start)
    before = state(operation, start)
    fail = INTERRUPTED["Ctrl-C"][0]
    Late(monkeypatch, fail, Change, "commit")
    with pytest.raises(KeyboardInterrupt) as error:
        operation.run(start)
    monkeypatch.undo()
    assert MADE in " ".join(error.value.__notes__)
    assert state(operation, start) != before or name.startswith("compact")  # which shows the same
