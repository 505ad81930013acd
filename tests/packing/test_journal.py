"""A project of a stranger can't have anything outside itself changed."""

import json
import os
import shutil

import pytest

import blobdir.demo
from blobdir.errors import UsageError
from blobdir.packing import add, recover, remove


@pytest.fixture
def place(tmp_path):
    shutil.copytree(blobdir.demo.path(), tmp_path / "project")
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "outside").mkdir()
    (tmp_path / "project/.blobdir/staging").mkdir(parents=True)
    (tmp_path / "project/.blobdir/staging/x").write_text("theirs")
    (tmp_path / "new.jpg").write_bytes(b"\xff\xd8\xff")
    return tmp_path


def untouched(place):
    return (place / "precious").read_text() == "mine" and not os.listdir(place / "outside")


@pytest.mark.parametrize(
    "plan",
    [
        {"rename": [], "remove": ["../precious"]},
        {"rename": [], "remove": ["train/../../precious"]},
        {"rename": ["../../precious"], "remove": []},
        {"rename": [], "remove": ["/etc/nothing"]},
        {"rename": [], "remove": [], "empty": [".."]},
        {"rename": [], "remove": [""]},
        {"rename": [], "remove": [".blobdir/lock"]},
        {"rename": [5], "remove": []},
        {"rename": "x"},
        [],
        "nonsense",
    ],
)
def test_journal_of_a_stranger(place, plan):
    text = plan if isinstance(plan, str) else json.dumps(plan)
    (place / "project/.blobdir/journal.json").write_text(text)
    for change in (
        lambda: recover(place / "project"),
        lambda: add(place / "project", "train", [place / "new.jpg"]),
        lambda: remove(place / "project", ["train/0_0010.jpg"]),
    ):
        with pytest.raises(UsageError, match=r"journal|isn't inside"):
            change()
    assert untouched(place)


@pytest.mark.parametrize("name", ["", "staging", "journal.json", "lock"])
def test_links_instead_of_what_is_blobdirs(place, name):
    state = place / "project/.blobdir"
    shutil.rmtree(state)
    if name:
        state.mkdir()
        (state / name).symlink_to(place / "outside")
    else:
        state.symlink_to(place / "outside")
    with pytest.raises(UsageError, match="symbolic link"):
        add(place / "project", "train", [place / "new.jpg"])
    assert untouched(place)


def test_folder_that_leads_outside(place):
    shutil.rmtree(place / "project/.blobdir")
    shutil.rmtree(place / "project/train/ann")
    (place / "project/train/ann").symlink_to(place / "outside")
    (place / "new.jpg.json").write_text('{"size": {"height": 1, "width": 1}, "objects": []}')
    with pytest.raises((UsageError, blobdir.BlobdirError)):
        add(place / "project", "train", [place / "new.jpg"], annotations=place)
    assert untouched(place)
