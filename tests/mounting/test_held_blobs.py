"""`blobdir status` of blobs that a mount could not hold open, or look at: it never says that they are as they were."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys

import pytest
from project_factory import make_project

from blobdir.mounting import statuses, umount
from blobdir.opening import open_tree
from blobdir.sources import LocalStorage

BLOBS, FEW = 40, 60
"""Of a project; and open files that are allowed, of which a mount leaves far fewer to blobs."""
LAST = "blob/9-train.tar"
FIRST = "blob/0-train.tar"


@pytest.fixture
def many(tmp_path):
    return make_project(tmp_path / "p", {f"train/img/{i}.jpg": b"%d" % i * 500 for i in range(BLOBS)}, blobs=BLOBS)


@pytest.fixture
def mounted(place):
    """A function that mounts a project by a process that may open only few files."""

    def mount(project, engine="native", most=FEW):
        command = f'ulimit -n {most}; exec "$0" -m blobdir mount "$1" "$2" --engine {engine} --log "$2.log"'
        subprocess.run(["bash", "-c", command, sys.executable, project, place], check=True, timeout=40)

    yield mount
    if os.path.ismount(place):
        umount(place, lazy=True)


def status_of(place):
    return next(status for status in statuses() if status.record.mountpoint == str(place))


def said_in_words():
    command = [sys.executable, "-m", "blobdir", "status"]
    return subprocess.run(command, capture_output=True, text=True, timeout=40, check=True).stdout


def said_of(path, place):
    return [sentence for sentence in status_of(place).changed if sentence.startswith(f"{path} ")]


def copied_over(blob):
    """Another file of the same content and times."""
    shutil.copy2(blob, blob.with_suffix(".new"))
    os.utime(blob.with_suffix(".new"), ns=(blob.stat().st_atime_ns, blob.stat().st_mtime_ns))
    os.replace(blob.with_suffix(".new"), blob)


CHANGES = {
    "removed": (os.remove, "was removed"),
    "cut": (lambda blob: os.truncate(blob, 1024), "was replaced, or overwritten"),
    "copied": (copied_over, "was replaced, or overwritten"),
}


@pytest.mark.parametrize("engine", ["native", "fusepy"])
def test_blobs_that_are_not_held_are_looked_at_anew(many, place, mounted, engine):
    mounted(many, engine)
    status = status_of(place)
    blobs = [path for path, _, _ in status.record.blobs]
    unheld = status.to_json()["not_held"]
    assert not status.record.holds_blobs
    assert unheld == blobs[-len(unheld) :] and BLOBS - FEW < len(unheld) < BLOBS
    assert status.changed == []
    said = said_in_words()
    assert f"{len(unheld)} of {BLOBS} blobs can't be held open" in said
    assert f"{len(unheld)} of {BLOBS} blobs can't be held open" in (place.parent / f"{place.name}.log").read_text()
    for number, (change, what) in enumerate(CHANGES.values(), 1):
        for path, is_held in ((unheld[-number], False), (blobs[number], True)):
            change(many / path)
            if is_held and change is copied_over:
                assert said_of(path, place) == []
                continue
            (sentence,) = said_of(path, place)
            assert what in sentence
            assert ("couldn't be held open" in sentence) is not is_held
            assert ("is served" in sentence or "was mounted" in sentence) is is_held
    os.chmod(many / unheld[0], 0o600)
    assert said_of(unheld[0], place) == []


def test_enough_descriptors(many, place, mounted):
    mounted(many, most=1000)
    status = status_of(place)
    assert status.record.holds_blobs and status.to_json()["not_held"] == []
    said = said_in_words()
    assert "held open" not in said


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_what_is_not_held_is_known_however_that_came(many, monkeypatch, number):
    real = LocalStorage.open_held

    def open_held(self, path):
        if path == LAST:
            raise OSError(number, os.strerror(number), path)
        return real(self, path)

    monkeypatch.setattr(LocalStorage, "open_held", open_held)
    tree = open_tree(many, hold=lambda blobs: blobs.open_all(1000))
    assert [record.path for record in tree.blobs.unheld] == [LAST]
    assert len(tree.blobs.held) == BLOBS - 1


def test_a_blob_that_comes_later(many, place, mounted):
    shutil.move(many / FIRST, many.parent / "away")
    mounted(many)
    assert said_of(FIRST, place) == []
    shutil.move(many.parent / "away", many / FIRST)
    (sentence,) = said_of(FIRST, place)
    assert "wasn't there, or couldn't be looked at, when it was mounted" in sentence
