"""Each kind of fault of commands that meet others at the same project or place."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import sys

import fsspec
import pytest
from changes.children import Child, changes, killed_at, stopped_at, watch
from changes.commands import TOUCHING, transaction
from changes.looking import faults, in_bucket, shown
from changes.samples import (
    files_below,
    files_of,
    numbered,
    packed,
    pickles,
    picture,
    write,
    write_files,
)  # fmt: skip

from blobdir.discovery import DiscoveryOptions
from blobdir.errors import BusyError, IncompleteListingError, ReadError
from blobdir.moving import fetch, push
from blobdir.opening import OpenOptions, open_tree
from blobdir.packing import PackOptions, SubsetOptions, add, compact, merge, move, pack, recover, remove, subset
from blobdir.sources import LocalStorage
from blobdir.verifying import repair, verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


# -- locks -----------------------------------------------------------------------------------------------------

WRITERS = {
    "add": lambda p, other, url: add(p, "train", [write(p.parent / "new.png", picture("new"))]),
    "remove": lambda p, other, url: remove(p, ["train/a001.png"]),
    "move": lambda p, other, url: move(p, ["train/a001.png"], "val"),
    "compact": lambda p, other, url: compact(p),
    "merge": lambda p, other, url: merge(p, other),
    "transaction": lambda p, other, url: transaction(p, lambda fs: fs.rm("train/img/a001.png")),
    "recover": lambda p, other, url: recover(p),
    "repair": lambda p, other, url: repair(p, verify(p, processes=1)),
}
READERS = {
    "merge, the other project": lambda p, other, url: merge(other, p),
    "subset": lambda p, other, url: subset(p, p.with_name("s")),
    "push": lambda p, other, url: push(p, url),
}


@pytest.mark.parametrize("command", WRITERS | READERS)
def test_while_a_transaction_goes_on(tmp_path, bucket, command):
    root, other = packed(tmp_path / "p", numbered()), packed(tmp_path / "q", numbered(2, 20, "more"))
    pickle = pickles(root, False)[0]
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    if command == "repair":
        pickle.write_bytes(pickle.read_bytes() * 2)  # something to be mended
    before = files_below(root), files_below(other)
    with fs.transaction:
        fs.pipe("notes.txt", b"text")
        with pytest.raises(BusyError):
            (WRITERS | READERS)[command](root, other, bucket)
        assert (files_below(root), files_below(other)) == before
        assert not (tmp_path / "s").exists()
        assert in_bucket(bucket) == {}
    assert shown(root) == shown(root) | {"notes.txt": b"text"}


MAKERS = {
    "pack": lambda base, resume: pack(base / "source", base / "made", PackOptions(processes=1), resume=resume),
    "subset": lambda base, resume: subset(base / "p", base / "made"),
    "fetch": lambda base, resume: fetch(f"memory://{base.name}", base / "made", resume=resume),
    "fetch some": lambda base, resume: fetch(
        f"memory://{base.name}", base / "made", resume=resume, choose=SubsetOptions(patterns=("train/*",))
    ),
}


@pytest.fixture
def makers_base(tmp_path):
    """What all of them make the same project of."""
    files = files_of(numbered(12))
    packed(tmp_path / "p", files)
    write_files(tmp_path / "source", files)
    push(tmp_path / "p", f"memory://{tmp_path.name}")
    yield tmp_path
    fsspec.filesystem("memory").rm(f"/{tmp_path.name}", recursive=True)


def _is_work(base):
    """Stops a process when it has written some of the project that it makes."""
    left = 6

    def at(event, arguments):
        nonlocal left
        path = os.fspath(arguments[0]) if arguments and isinstance(arguments[0], (str, bytes, os.PathLike)) else ""
        if event in ("open", "os.rename", "os.mkdir", "os.link") and f"{base}/" in str(path) and "made" in str(path):
            left -= 1
        return left < 0

    return at


@pytest.mark.parametrize("command", MAKERS)
def test_two_at_once_into_one_place(makers_base, command):
    base = makers_base
    with stopped_at(lambda: MAKERS[command](base, False), _is_work(base)) as go_on:
        before = files_below(base)
        for resume in (False, True):
            with pytest.raises(BusyError):
                MAKERS[command](base, resume)
        assert files_below(base) == before
        assert go_on() == 0
    assert shown(base / "made") == shown(base / "p")
    assert faults(base / "made") == []
    assert {path.name for path in base.iterdir()} == {"p", "source", "made"}


@pytest.mark.parametrize("command", MAKERS)
def test_what_appears_at_the_place_meanwhile_is_not_replaced(makers_base, command):
    base = makers_base
    for what in (lambda p: p.mkdir(), lambda p: write(p, b"mine"), lambda p: p.symlink_to(base / "nowhere")):
        with stopped_at(lambda: MAKERS[command](base, False), _is_work(base)) as go_on:
            what(base / "made")
            mine = os.lstat(base / "made")
            assert go_on() != 0
        assert os.lstat(base / "made") == mine
        (base / "made").rmdir() if (base / "made").is_dir() else (base / "made").unlink()
        for left in base.glob("*made*"):
            shutil.rmtree(left)


@pytest.mark.parametrize("command", MAKERS)
def test_after_one_that_was_killed(makers_base, command):
    """What a dead process has left is taken over or removed; a folder of somebody else's isn't."""
    base = makers_base
    write(base / "made.mine/precious", b"mine")
    for number in (3, 6, 9, 12):
        killed, _ = killed_at(lambda: MAKERS[command](base, False), number)
        if not killed:
            shutil.rmtree(base / "made")
            continue
        assert not (base / "made").exists()
        MAKERS[command](base, command != "subset" and any(base.glob("made.*ing")))
        assert shown(base / "made") == shown(base / "p")
        assert {path.name for path in base.iterdir()} == {"p", "source", "made", "made.mine"}
        shutil.rmtree(base / "made")
    assert (base / "made.mine/precious").read_bytes() == b"mine"


MEANWHILE = {
    "compact": compact,
    "remove": lambda other: remove(other, ["more/a022.png"]),
    "transaction": lambda other: transaction(other, lambda fs: fs.rm("more/img/a022.png")),
}


@pytest.mark.parametrize("then", MEANWHILE)
@pytest.mark.parametrize("copy", [False, True], ids=["links", "copies"])
def test_the_other_project_changes_while_it_is_merged(tmp_path, then, copy):
    root, other = packed(tmp_path / "p", numbered(2)), packed(tmp_path / "q", numbered(8, 20, "more"))
    remove(other, ["more/a020.png", "more/a021.png"])
    theirs = shown(other)

    def at(event, arguments):
        path = str(arguments[event == "os.link"]) if event in ("os.link", "open") else ""
        return "staging/" in path and not path.endswith("/clock")

    with stopped_at(lambda: merge(root, other, copy=copy), at) as go_on:
        with pytest.raises(BusyError):
            MEANWHILE[then](other)
        assert go_on() == 0
    assert theirs.items() <= (shown(root) | {"meta.json": theirs["meta.json"]}).items()
    assert shown(other) == theirs


@pytest.mark.parametrize("ignored", [False, True])
def test_changes_that_come_faster_than_the_project_can_be_listed(tmp_path, monkeypatch, ignored):
    """What may be half of a change isn't served as the truth."""
    root = packed(tmp_path / "p", numbered(4))
    counted = iter(range(1000))
    monkeypatch.setattr(
        sys.modules["blobdir.discovery.discover"], "changes", lambda root: (b"%d" % next(counted), False)
    )
    options = DiscoveryOptions(on_defect="ignore" if ignored else "refuse")
    tree = open_tree(root, options=OpenOptions(options, index=str(tmp_path / "ix")))
    assert {defect.code for defect in tree.defects} == {"change-unfinished"}
    assert not (tmp_path / "ix").exists()
    if ignored:
        assert len(tree.names(tree.find("train/img"))) == 4
        return
    for path in ("", "train", "train/img", "train/ann"):
        with pytest.raises(IncompleteListingError, match="again and again"):
            tree.names(tree.find(path))


# -- who reads while it is changed -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["cut off here", "goes on"])
@pytest.mark.parametrize("command", [*TOUCHING, "compact"])
def test_a_reader_whose_listing_lies_between_any_two_steps_of_a_change(tmp_path, monkeypatch, command, way):
    """The change stops before one of its steps, the reader lists, the change ends, and only then the reader reads.

    It sees the old project or the new one. And where the change only ended by being killed, that or a defect.
    """
    start = packed(tmp_path / "start", numbered(3))
    if command == "compact":
        remove(start, ["train/a001.png"])
    monkeypatch.setattr("blobdir.discovery.unfinished.WAIT_S", 0.02)  # the writer stands still
    walk = LocalStorage.walk
    number = 0
    while True:
        root = tmp_path / "p"
        shutil.copytree(start, root)
        old = set(shown(root))
        operate = functools.partial(TOUCHING.get(command, lambda root, _: compact(root)), root, "train/img/a002.png")
        left = number

        def at(event, arguments):
            nonlocal left
            left -= changes(event, arguments)
            return left < 0

        with Child(operate, lambda: watch(at, signal.SIGSTOP)) as child:
            if not child.stopped():
                break

            def walking(self, *, follow_links, child=child):
                yield from list(walk(self, follow_links=follow_links))
                monkeypatch.setattr(LocalStorage, "walk", walk)
                if way == "goes on":
                    child.go_on()
                else:
                    os.kill(child.pid, signal.SIGKILL)
                child.ended()

            monkeypatch.setattr(LocalStorage, "walk", walking)
            try:
                files = set(shown(root))
            except (IncompleteListingError, ReadError) as error:
                assert way == "cut off here", error
                files = None
        recover(root)
        assert files in (None, old, set(shown(root)))
        shutil.rmtree(root)
        number += 1
    assert number > 10
