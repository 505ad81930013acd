"""Beside writers that do nothing wrong, nothing is found."""

from __future__ import annotations

import threading
import time

import pytest
from blob_builder import Builder

from blobdir.errors import BusyError
from blobdir.packing.compacting import compact
from blobdir.packing.growing import move
from blobdir.packing.publishing import Change
from blobdir.verifying import repair, undisturbed, verify

ANNOTATION = b'{"size": {"height": 7, "width": 9}, "tags": [], "objects": []}'
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def made(tmp_path):
    made = Builder(tmp_path / "p")
    for dataset, blob in (("train", "a"), ("val", "b")):
        for name in (f"{blob}{i}.png" for i in range(4)):
            made.loose(f"{dataset}/ann/{name}.json", ANNOTATION)
        made.offsets(dataset, blob, made.tar(blob, {f"{blob}{i}.png": PNG + bytes([i]) for i in range(4)}))
    return made


def files(made):
    return {str(path.relative_to(made.root)) for path in made.root.rglob("*")}


def meanwhile(monkeypatch, do, times=1):
    """Have something done in the middle of looking at a project, so many times."""
    real, done = verify.__globals__["check_folders"], []

    def check(*args):
        if len(done) < times:
            done.append(1)
            do()
        return real(*args)

    monkeypatch.setitem(verify.__globals__, "check_folders", check)
    return done


def change(made, image="train/a0.png", to="val"):
    move(made.root, [image], to)
    compact(made.root)


def test_nobody_changes_it_meanwhile(made, monkeypatch):
    change(made)
    said = []

    def writer():
        with pytest.raises(BusyError) as error:
            move(made.root, ["train/a1.png"], "val")
        said.append(str(error.value))

    meanwhile(monkeypatch, writer)
    assert verify(made.root).findings == []
    assert len(said) == 1


def test_one_that_was_never_changed_is_looked_at_again(made, monkeypatch):
    before = files(made)
    assert verify(made.root).findings == []
    assert files(made) == before
    meanwhile(monkeypatch, lambda: change(made))
    assert verify(made.root).findings == []


def test_a_writer_is_waited_for(made):
    change(made)
    began, lock = threading.Event(), Change(str(made.root))

    def writer():
        with lock:
            began.set()
            time.sleep(0.2)

    thread = threading.Thread(target=writer)
    thread.start()
    began.wait()
    assert verify(made.root).findings == []
    thread.join()


def test_changes_without_end(made, monkeypatch):
    monkeypatch.setattr(undisturbed, "shared", lambda root: None)
    turns = iter([("train/a1.png", "val"), ("val/a1.png", "train")] * 2)
    done = meanwhile(monkeypatch, lambda: change(made, *next(turns)), times=9)
    with pytest.raises(BusyError, match="again and again"):
        verify(made.root)
    assert len(done) == undisturbed.TRIES


@pytest.mark.parametrize("dry_run", [False, True])
def test_repairing_is_for_one_at_a_time(made, dry_run, monkeypatch):
    monkeypatch.setattr("blobdir.packing.locking.WAIT_S", 0.05)
    path = made.root / "train/a_offsets.pkl"
    path.write_bytes(path.read_bytes() * 2)
    report = verify(made.root)
    with Change(str(made.root)):
        if dry_run:
            assert "would have 4 images" in repair(made.root, report, dry_run=True)[0]
        else:
            with pytest.raises(BusyError):
                repair(made.root, report)
