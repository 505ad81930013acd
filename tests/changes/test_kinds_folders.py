"""Folders that get other names while a change of what is in them is prepared, or between a crash and the next writer.

And what comes where an image comes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import warnings
from pathlib import Path

import pytest
from blob_builder import Builder

import blobdir
from blobdir.discovery import whereabouts
from blobdir.errors import BlobdirError, SourceChangedError
from blobdir.packing import add, compact, growing, merge, move, publishing, recover, remove
from blobdir.packing.journal import Journal
from blobdir.packing.publishing import Change

from .test_kinds_saved import Killed, kill_after
from .test_kinds_witness import PNG, label

PNGS = {name: PNG[:-12] + bytes([0, 0, 0, 1, 116, 69, 88, 116, ord(name)]) + bytes(4) + PNG[-12:] for name in "abcdnx"}
"""Images of different bytes."""
T = ["t/a.png", "t/b.png", "t/x.png"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    place = tmp_path_factory.mktemp("folders")
    made = Builder(place / "p")
    made.loose("meta.json", b'{"classes": [], "tags": [], "projectType": "images"}')
    for dataset, names in (("t", "abx"), ("v", "cd")):
        made.blob(dataset, f"of-{dataset}", {f"{name}.png": PNGS[name] for name in names})
        for name in names:
            made.loose(f"{dataset}/ann/{name}.png.json", label(name.encode()))
    other = Builder(place / "o")
    other.loose("meta.json", b'{"classes": [], "tags": [], "projectType": "images"}')
    other.blob("t", "of-o", {"n.png": PNGS["n"]})
    other.loose("t/ann/n.png.json", label(b"n"))
    (place / "n.png").write_bytes(PNGS["n"])
    (place / "again").mkdir()
    (place / "again/a.png").write_bytes(PNGS["n"])
    return place


@pytest.fixture
def place(base, tmp_path):
    return Path(shutil.copytree(base, tmp_path / "w", symlinks=True))


def transaction(step):
    def change(place):
        fs = blobdir.BlobDirFileSystem(place / "p", skip_instance_cache=True)
        with fs.transaction:
            step(fs)

    return change


COMMANDS = {
    "remove one": lambda place: remove(place / "p", T[:1]),
    "remove all": lambda place: remove(place / "p", T),
    "move one": lambda place: move(place / "p", T[:1], "v"),
    "move all": lambda place: move(place / "p", T, "v"),
    "move to": lambda place: move(place / "p", ["v/c.png"], "t"),
    "add": lambda place: add(place / "p", "t", [place / "n.png"]),
    "add --replace": lambda place: add(place / "p", "t", [place / "again/a.png"], replace=True),
    "compact": lambda place: compact(place / "p"),
    "merge": lambda place: merge(place / "p", place / "o"),
    "rm": transaction(lambda fs: fs.rm("t/img/a.png")),
    "rm -r": transaction(lambda fs: fs.rm("t", recursive=True)),
    "mv": transaction(lambda fs: fs.mv("t/img/a.png", "v/img/a.png")),
    "pipe": transaction(lambda fs: fs.pipe("t/img/a.png", PNGS["n"])),
}


def swap(root):
    os.rename(root / "t", root / "between")
    os.rename(root / "v", root / "t")
    os.rename(root / "between", root / "v")


def emptied(root):
    os.rename(root / "t", root / "t2")
    (root / "t/ann").mkdir(parents=True)


HANDS = {
    "renamed": lambda root: os.rename(root / "t", root / "t2"),
    "renamed by case": lambda root: os.rename(root / "t", root / "T"),
    "swapped": swap,
    "replaced": emptied,
    "moved down": lambda root: (root / "q").mkdir() or os.rename(root / "t", root / "q/t"),
}


def prepared(place, command):
    if command == "compact":
        remove(place / "p", T[:1])


def images(root):
    """Image -> how often it's shown; and all can be read."""
    fs = blobdir.BlobDirFileSystem(root, skip_instance_cache=True, on_defect="ignore")
    by_bytes = {data: name for name, data in PNGS.items()}
    found = [by_bytes[fs.cat_file(path)] for path in fs.find("") if path.endswith(".png")]
    return {name: found.count(name) for name in found}


def labels(root):
    return {json.loads(path.read_bytes())["description"] for path in root.rglob("ann/*.json")}


@pytest.mark.parametrize("hand", HANDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_while_it_is_prepared(place, monkeypatch, command, hand):
    root, real = place / "p", Change.commit
    prepared(place, command)
    before = images(root)

    def commit(change):
        HANDS[hand](root)
        return real(change)

    monkeypatch.setattr(Change, "commit", commit)
    with pytest.raises(BlobdirError, match=r"renamed|another program"):
        COMMANDS[command](place)
    assert images(root) == before
    assert not (root / ".blobdir/journal.json").exists()


def cut_off(run, place, after):
    """Make a change that is killed after some renames, once it's decided; whether it was, with some left."""
    real_run = Journal.run

    def run_patched(self, root):
        with pytest.MonkeyPatch.context() as patches:
            kill_after(after, patches)
            real_run(self, root)

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(Journal, "run", run_patched)
        try:
            run(place)
        except Killed:
            return True
    return False


def crashes(base, tmp_path, command):
    """Copies of a project in which a change was cut off, at each of its steps."""
    start = Path(shutil.copytree(base, tmp_path / "start"))
    prepared(start, command)
    for after in range(100):
        place = Path(shutil.copytree(start, tmp_path / f"{after}"))
        if not cut_off(COMMANDS[command], place, after):
            break
        yield place
        shutil.rmtree(place)
    assert after > 1


def recovered(root):
    """What is said when the next writer finishes or undoes a change."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        recover(root)
    assert not (root / ".blobdir/journal.json").exists()
    return " ".join(str(one.message) for one in said)


@pytest.mark.parametrize("hand", HANDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_after_a_crash(base, tmp_path, command, hand):
    """The change is made, or undone, in the dataset that it was of."""
    old, new = (Path(shutil.copytree(base, tmp_path / name)) for name in ("old", "new"))
    for place in (old, new):
        prepared(place, command)
    COMMANDS[command](new)
    states = [(images(place / "p"), labels(place / "p")) for place in (old, new)]
    for place in crashes(base, tmp_path, command):
        root = place / "p"
        HANDS[hand](root)
        assert re.search(r"is called|isn't in the project any more", recovered(root))
        assert (images(root), labels(root)) in states
        assert not (root / "t").exists() or hand in ("swapped", "replaced")


@pytest.mark.parametrize("command", ["remove one", "move one", "add --replace", "compact"])
@pytest.mark.parametrize("hand", ["moved out", "moved out, and replaced"])
def test_a_dataset_that_is_nowhere_after_a_crash(base, tmp_path, command, hand):
    """Nothing is put into another one, no blob goes that those offsets name which were put there, nothing is lost."""
    for place in crashes(base, tmp_path, command):
        root = place / "p"
        os.rename(root / "t", place / "out")
        if hand.endswith("replaced"):
            (root / "t/ann").mkdir(parents=True)
        assert "isn't in the project any more" in recovered(root)
        assert [*root.glob("t/**/*")] == [root / "t/ann"] * hand.endswith("replaced")
        shutil.rmtree(root / "t", ignore_errors=True)
        os.rename(place / "out", root / "t")
        assert images(root).keys() >= set("bxcd")
        if command == "move one" and "a" not in images(root):  # the folder had no offsets for it by then, nor has v
            assert [*root.glob(".blobdir/saved-of-t_offsets.pkl")]


def put_back(root):
    """From a backup: the same files in another folder."""
    os.rename(root / "t", root / "away")
    shutil.copytree(root / "away", root / "t")
    shutil.rmtree(root / "away")


def in_a_copy(hand):
    def do(root):
        os.rename(root, root.with_name("away"))
        shutil.copytree(root.with_name("away"), root)
        shutil.rmtree(root.with_name("away"))
        hand(root)

    return do


def state_copied(root):
    shutil.copytree(root / ".blobdir", root / "state")
    shutil.rmtree(root / ".blobdir")
    os.rename(root / "state", root / ".blobdir")
    swap(root)


def pair_renamed(root):
    if (root / "blob/of-t.tar").exists() and (root / "t/of-t_offsets.pkl").exists():
        os.rename(root / "blob/of-t.tar", root / "blob/other.tar")
        os.rename(root / "t/of-t_offsets.pkl", root / "t/other_offsets.pkl")


NO_NUMBERS = {
    "put back": put_back,
    "renamed in a copy": in_a_copy(HANDS["renamed"]),
    "swapped in a copy": in_a_copy(swap),
    "blobdir's own copied, and swapped": state_copied,
    "put back in a copy": in_a_copy(put_back),
    "renamed with its blob": pair_renamed,
}
GOES = {"remove one": "a", "remove all": "abx", "rm": "a", "add --replace": "a"}
"""Images that a command removes."""


@pytest.mark.parametrize("hand", NO_NUMBERS)
@pytest.mark.parametrize(
    "command", ["remove one", "remove all", "move one", "move all", "move to", "add --replace", "compact", "mv"]
)
def test_numbers_that_say_nothing_after_a_crash(base, tmp_path, command, hand):
    """Nothing is lost, all that is shown can be read, and nothing is twice without a word, in whichever direction."""
    old, new = (Path(shutil.copytree(base, tmp_path / name)) for name in ("old", "new"))
    for place in (old, new):
        prepared(place, command)
    COMMANDS[command](new)
    before, after = images(old / "p"), images(new / "p")
    for place in crashes(base, tmp_path, command):
        root = place / "p"
        NO_NUMBERS[hand](root)
        said = recovered(root)
        found = images(root)
        assert found.keys() >= before.keys() - set(GOES.get(command, ""))
        assert found in (before, after) or "may be there twice" in said
        if hand.startswith("put back"):
            assert found in (before, after)
            assert len(list(root.glob(".blobdir/saved-*"))) == 0


@pytest.mark.parametrize("number", range(1, 4))
def test_an_older_backup_after_a_crash(base, tmp_path, number):
    """Of the dataset that an image was moved to: it has none of what the change had put there."""
    for place in crashes(base, tmp_path, ("move one", "move all", "mv")[number - 1]):
        root = place / "p"
        shutil.rmtree(root / "v")
        shutil.copytree(base / "p/v", root / "v")
        recovered(root)
        assert images(root).keys() == set("abxcd")


@pytest.mark.parametrize("command", ["remove one", "add --replace", "compact"])
def test_offsets_and_blob_that_are_renamed_after_a_crash(base, tmp_path, command):
    for place in crashes(base, tmp_path, command):
        root = place / "p"
        for path in [*root.glob("blob/of-t*"), *root.glob("t/of-t*")]:
            os.rename(path, path.with_name(path.name.replace("of-t", "other")))
        recovered(root)
        assert images(root).keys() >= set("bxcd")


def test_a_blob_that_a_copied_dataset_names(base, tmp_path):
    """`cp -a` of a dataset between the crash and the next writer."""
    copied = 0
    for place in crashes(base, tmp_path, "compact"):
        root = place / "p"
        if (root / "t/of-t_offsets.pkl").exists():
            shutil.copytree(root / "t", root / "copy")
            assert "blob/of-t.tar: stays: copy/of-t_offsets.pkl names it" in recovered(root)
            assert (root / "blob/of-t.tar").exists()
            assert images(root)["b"] == 2
            copied += 1
    assert copied


@pytest.mark.parametrize("command", COMMANDS)
def test_copies_without_times(base, tmp_path, command):
    """As of ``cp -r``: sizes tell, also where nothing is left in ``staging/`` and ``undo/``."""
    old, new = (Path(shutil.copytree(base, tmp_path / name)) for name in ("old", "new"))
    for place in (old, new):
        prepared(place, command)
    COMMANDS[command](new)
    states = [(images(place / "p"), labels(place / "p")) for place in (old, new)]
    for place in crashes(base, tmp_path, command):
        copy = Path(shutil.copytree(place / "p", place / "copy", copy_function=shutil.copy))
        assert "isn't in the project any more" not in recovered(copy)
        assert (images(copy), labels(copy)) in states


def test_copies_of_a_project_with_a_journal(base, tmp_path):
    """In them each folder has another number."""
    for place in crashes(base, tmp_path, "move all"):
        copy = Path(shutil.copytree(place / "p", place / "copy"))
        recovered(copy)
        assert images(copy) == dict.fromkeys("abxcd", 1)
        assert len(list(copy.glob("v/*.pkl"))) == 2


@pytest.mark.parametrize("hand", ["renamed", "replaced"])
@pytest.mark.parametrize("command", ["remove one", "remove all", "move one", "add --replace", "compact", "rm -r"])
def test_journals_of_older_versions(base, tmp_path, monkeypatch, command, hand):
    """They have no numbers of folders: no dataset is made anew by them, and no blob deleted that is named."""
    monkeypatch.setattr(publishing, "inodes_of", lambda *_: {})
    for place in crashes(base, tmp_path, command):
        root = place / "p"
        HANDS[hand](root)
        recovered(root)
        gone = "abx" if command in ("remove all", "rm -r") else "a"
        assert images(root).keys() >= set("abxcd") - set(gone)
        assert not (root / "t").exists() or hand == "replaced" or command == "rm -r"  # of which some had gone by then


def test_numbers_that_are_given_anew(place):
    """A folder that has the number of another one, and none of its files, isn't that."""
    numbers = whereabouts.inodes_of(str(place / "p"), ["t/ann", "v/ann"])
    wrong = numbers | {"t": numbers["v"], "v": numbers["t"]}
    assert whereabouts.Whereabouts(str(place / "p"), wrong).of("t/x") == "v/x"
    assert whereabouts.Whereabouts(str(place / "p"), wrong, lambda *_: False).of("t/x") is None
    assert whereabouts.Whereabouts(str(place / "o"), wrong).of("t/x") == "t/x"


@pytest.mark.parametrize("command", ["move one", "remove one", "add --replace", "mv"])
def test_a_blob_that_is_renamed_while_it_is_prepared(place, monkeypatch, command):
    root, real = place / "p", Change.commit

    def commit(change):
        os.rename(root / "blob/of-t.tar", root / "blob/other.tar")
        os.rename(root / "t/of-t_offsets.pkl", root / "t/other_offsets.pkl")
        return real(change)

    before = images(root)
    monkeypatch.setattr(Change, "commit", commit)
    with pytest.raises(SourceChangedError):
        COMMANDS[command](place)
    assert images(root) == before


# -- what comes --------------------------------------------------------------------------------------------------------

COMING = {
    "add": ("t", "n.png", COMMANDS["add"]),
    "move": ("v", "a.png", COMMANDS["move one"]),
    "move to a new one": ("w", "a.png", lambda place: move(place / "p", T[:1], "w")),
    "merge": ("t", "n.png", COMMANDS["merge"]),
    "mv": ("v", "a.png", COMMANDS["mv"]),
    "pipe": ("t", "n.png", transaction(lambda fs: fs.pipe("t/img/n.png", PNGS["n"]))),
}
ARRIVES = {
    "an image": "img/{name}",
    "its label": "ann/{name}.json",
    "its image meta": "meta/{name}.json",
    "image meta by the stem": "meta/{stem}.json",
    "a mask": "masks_machine/{name}",
    "one of many masks": "masks_machine/{stem}/1.png",
}


@pytest.mark.parametrize("what", ARRIVES)
@pytest.mark.parametrize("command", COMING)
def test_what_arrives_where_an_image_comes(place, monkeypatch, command, what):
    dataset, name, run = COMING[command]
    root, real = place / "p", Change.commit
    new = root / dataset / ARRIVES[what].format(name=name, stem=name.removesuffix(".png"))

    def commit(change):
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(label(b"theirs") if new.suffix == ".json" else PNGS["d"])
        return real(change)

    monkeypatch.setattr(Change, "commit", commit)
    with pytest.raises(SourceChangedError, match="another program"):
        run(place)
    assert new.is_file()
    new.unlink()
    assert images(root) == dict.fromkeys("abxcd", 1)


@pytest.mark.parametrize("command", COMING)
def test_what_arrives_for_others_is_no_reason(place, monkeypatch, command):
    """Nor is what has been there before, and is taken over."""
    dataset, name, run = COMING[command]
    root, real = place / "p", Change.commit
    if command in ("add", "pipe"):
        (root / "t/ann/n.png.json").write_bytes(label(b"written first"))

    def commit(change):
        for folder in ("ann", "img", "meta"):
            (root / dataset / folder).mkdir(parents=True, exist_ok=True)
            (root / dataset / folder / "other.txt").write_bytes(b"theirs")
        return real(change)

    monkeypatch.setattr(Change, "commit", commit)
    run(place)
    assert name[0] in images(root)


def test_what_arrives_while_a_blob_is_written(place, monkeypatch):
    real = growing.write_shard

    def write_shard(*arguments, **options):
        os.rename(place / "p/t", place / "p/t2")
        return real(*arguments, **options)

    monkeypatch.setattr(growing, "write_shard", write_shard)
    with pytest.raises(SourceChangedError, match="renamed or replaced"):
        add(place / "p", "t", [place / "n.png"])
