"""Mending as a change: dry, alone, with a backup, and only what is still as it was found."""

from __future__ import annotations

import os

import pytest
from blob_builder import Builder
from verifying.mending import NUMBERS, backups, mend, read, tar, write

from blobdir.errors import BusyError
from blobdir.packing.publishing import Change
from blobdir.verifying import repair, verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


@pytest.fixture
def made(tmp_path):
    return Builder(tmp_path / "p")


def test_dry_run(made):
    right = tar(made, NUMBERS)
    write(made, [(NUMBERS[0], right[NUMBERS[1]]), (NUMBERS[1], right[NUMBERS[0]])])
    before = {path: path.read_bytes() for path in made.root.rglob("*") if path.is_file()}
    (said,) = mend(made, dry_run=True)
    assert said.startswith("train/a_offsets.pkl: would have 2 images as before")
    assert {path: path.read_bytes() for path in made.root.rglob("*") if path.is_file()} == before


def test_another_writer(made):
    right = tar(made, NUMBERS)
    write(made, [(NUMBERS[0], right[NUMBERS[1]])])
    report = verify(made.root)
    before = (made.root / "train/a_offsets.pkl").read_bytes()
    with Change(str(made.root)), pytest.raises(BusyError):
        repair(made.root, report)
    assert (made.root / "train/a_offsets.pkl").read_bytes() == before


def test_what_was_changed_since_the_report_stays(made):
    right = tar(made, NUMBERS)
    write(made, [(NUMBERS[0], right[NUMBERS[1]])])
    report = verify(made.root)
    write(made, [(NUMBERS[0], right[NUMBERS[0]])])
    assert repair(made.root, report) == []
    assert backups(made) == []


def test_a_change_that_was_cut_off_is_cleared(made):
    write(made, list(tar(made, NUMBERS).items()))
    (made.root / ".blobdir/staging").mkdir(parents=True)
    made.loose(".blobdir/staging/0", b"x")
    (said,) = mend(made)
    assert said.startswith(".blobdir/staging: was finished")
    assert not (made.root / ".blobdir/staging").exists()


def test_a_long_name(made):
    stem = "n" * 240
    right = tar(made, NUMBERS, f"blob/{stem}.tar")
    pickle = f"train/{stem}_offsets.pkl"
    write(made, [(NUMBERS[0], right[NUMBERS[1]])], pickle)
    mend(made)
    assert read(made, pickle) == {NUMBERS[0]: right[NUMBERS[0]]}
    assert len(backups(made)) == 1


def test_two_repairs_in_a_second(made, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda form: "20260101-000000")
    right = tar(made, NUMBERS)
    for _ in range(2):
        write(made, [(NUMBERS[0], right[NUMBERS[1]])])
        mend(made)
    assert backups(made) == ["a_offsets.pkl.backup-20260101-000000", "a_offsets.pkl.backup-20260101-000000-1"]


def test_an_attack_is_left_alone(made):
    tar(made, NUMBERS)
    write(made, [])
    attack = b"cos\nsystem\n(S'true'\ntR."
    (made.root / "train/a_offsets.pkl").write_bytes(attack)
    (said,) = mend(made)
    assert "not mended: it names something to be called" in said
    assert (made.root / "train/a_offsets.pkl").read_bytes() == attack


def test_the_mode_of_the_pickle_stays(made):
    right = tar(made, NUMBERS)
    write(made, [(NUMBERS[0], right[NUMBERS[1]])])
    path = made.root / "train/a_offsets.pkl"
    path.chmod(0o640)
    mend(made)
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(made.root / "train").count("a_offsets.pkl") == 1
