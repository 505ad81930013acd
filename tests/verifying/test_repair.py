"""Mending: what fits stays, what is beyond doubt is mapped, and the rest is said."""

from __future__ import annotations

import errno
import json
import os
import tarfile

import pytest
from blob_builder import Builder
from verifying.mending import LOST, NUMBERS, PNG, backups, image, mend, read, tar, write

import blobdir
from blobdir.cli.app import run
from blobdir.discovery import layout
from blobdir.discovery.released import Released, format_released, identity
from blobdir.errors import PackError
from blobdir.offsets import offsets_of_tar
from blobdir.packing.backups import backup_name, is_backup_of
from blobdir.packing.compacting import compact
from blobdir.packing.growing import remove
from blobdir.sources import LocalStorage
from blobdir.verifying import repair, verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


@pytest.fixture
def made(tmp_path):
    return Builder(tmp_path / "p")


@pytest.mark.parametrize(
    "damage",
    [
        lambda e: [(n, (s + 512, t + 512)) for n, (s, t) in e],
        lambda e: [(e[(i + 1) % len(e)][0], span) for i, (_, span) in enumerate(e)],
        lambda e: [e[0], (e[2][0], e[1][1]), (e[1][0], e[2][1]), *e[3:]],
        lambda e: [*e[:-1], (e[-1][0], (10**9, 10**9 + 1))],
        lambda e: [(n, (s, t + (n == NUMBERS[3]))) for n, (s, t) in e],
    ],
)
@pytest.mark.parametrize("place", ["images", "annotations"])
def test_names_that_are_numbers(made, damage, place):
    blob, pickle = ("blob/a.tar", "train/a_offsets.pkl")
    if place == "annotations":
        blob, pickle = ("train/ann.blob/a.tar", "train/ann.blob/a_offsets.pkl")
    right = tar(made, NUMBERS, blob)
    write(made, damage(list(right.items())), pickle)
    bad = (made.root / pickle).read_bytes()
    (said,) = mend(made)
    assert said.startswith(f"{pickle}: now has 12 images as before")
    assert read(made, pickle) == right
    (backup,) = backups(made)
    assert not layout.is_offsets(backup)
    assert (made.root / pickle).with_name(backup).read_bytes() == bad
    assert not {finding.code for finding in verify(made.root).findings} & {"offset-name", "offset-size"}


def test_order_and_number_of_entries_stay(made):
    right = tar(made, NUMBERS)
    kept = [NUMBERS[5], NUMBERS[2], NUMBERS[9]]
    write(made, [(kept[0], right[kept[1]]), (kept[1], right[kept[0]]), (kept[2], right[kept[2]])])
    mend(made)
    assert list(read(made).items()) == [(name, right[name]) for name in kept]


FOLDERS = [f"{folder}/{i}.png" for folder in ("train", "val") for i in range(4)]


@pytest.mark.parametrize("wrong", [0, 3])
@pytest.mark.parametrize("dataset", ["train", "val"])
def test_equal_names_in_two_folders_of_a_tar(made, dataset, wrong):
    """The entries that fit show which folder is meant; other datasets keep theirs."""
    right = tar(made, FOLDERS)
    for other in ("train", "val"):
        entries = [(f"{i}.png", right[f"{other}/{i}.png"]) for i in range(4)]
        if other == dataset:
            entries[wrong] = (entries[wrong][0], (entries[wrong][1][0], entries[wrong][1][1] + 3))
        write(made, entries, f"{other}/a_offsets.pkl")
    mend(made)
    for other in ("train", "val"):
        assert read(made, f"{other}/a_offsets.pkl") == {f"{i}.png": right[f"{other}/{i}.png"] for i in range(4)}
        project = blobdir.open_project(made.root)
        assert project[other].get_blob_img_bytes("2.png") == image(f"{other}/2.png")


@pytest.mark.parametrize("meant", ["x/1.png", "1.png"])
def test_an_entry_begins_where_one_member_does_and_its_folder_means_another(made, meant):
    """Of a damaged size, the beginning still says which member was meant."""
    right = tar(made, ["x/1.png", "1.png", "2.png"])
    start, end = right[meant]
    write(made, [("1.png", (start, end - 3)), ("2.png", right["2.png"])])
    mend(made)
    assert read(made)["1.png"] == ((start, end) if meant == "1.png" else (start, end - 3))


def test_equal_names_without_a_hint(made):
    """None of the entries fits, so nothing shows which folder is meant."""
    right = tar(made, FOLDERS)
    entries = [(f"{i}.png", (right[f"val/{i}.png"][0] + 512, right[f"val/{i}.png"][1] + 512)) for i in range(4)]
    write(made, entries)
    (said,) = mend(made)
    assert "4 of its names can each mean more than one member of blob/a.tar: not mended" in said
    assert read(made) == dict(entries)
    assert backups(made) == []


def test_full_paths_are_beyond_doubt(made):
    right = tar(made, FOLDERS)
    write(made, [(name, (start + 512, end + 512)) for name, (start, end) in right.items()])
    mend(made)
    assert read(made) == right


def test_names_that_rename_gave(made):
    tar(made, ["x/a.png", "y/a.png", "z/a.png", "b.png"])
    table = offsets_of_tar(made.root / "blob/a.tar", on_conflict="rename")
    right = {e.name: (e.offset_start, e.offset_end) for e in table}
    for broken in (lambda n: True, lambda n: n == "a_1.png"):
        write(made, [(n, (s + 512 * broken(n), t + 512 * broken(n))) for n, (s, t) in right.items()])
        mend(made)
        assert read(made) == right


def test_some_can_be_mended(made):
    right = tar(made, NUMBERS)
    write(made, [(NUMBERS[0], right[NUMBERS[1]]), ("gone.png", right[NUMBERS[2]]), (NUMBERS[3], right[NUMBERS[3]])])
    said = mend(made)
    assert any("now has 3 images as before" in sentence for sentence in said)
    assert any("1 of its names aren't in blob/a.tar: not mended (gone.png)" in sentence for sentence in said)
    assert read(made) == {
        NUMBERS[0]: right[NUMBERS[0]], "gone.png": right[NUMBERS[2]], NUMBERS[3]: right[NUMBERS[3]],
    }  # fmt: skip


def test_a_range_that_another_pickle_has(made):
    right = tar(made, NUMBERS)
    write(made, [(NUMBERS[0], right[NUMBERS[1]])])
    write(made, [(NUMBERS[0], right[NUMBERS[0]])], "test/a_offsets.pkl")
    (said,) = mend(made)
    assert "1 of its names mean members that another pickle has of blob/a.tar: not mended" in said
    assert backups(made) == []


WRONG = (7, 77)
"""A range where no member is."""


def unreadable(made, train, val):
    write(made, train)
    cut(made)
    write(made, val, "val/a_offsets.pkl")


def unlisted(made, train, val):
    write(made, train, "other/a_offsets.pkl")
    write(made, val, "val/a_offsets.pkl")


def both(made, train, val):
    write(made, train)
    write(made, val, "val/a_offsets.pkl")


def alone(made, train, val):
    write(made, val, "val/a_offsets.pkl")


def readable(*names):
    return lambda right: [(name, right[name]) for name in names]


def misfit(*names):
    return lambda right: [(name, WRONG) for name in names]


OWNERS = {
    "both want it": (both, ["train/0.png", "y.png"], misfit("0.png"), [], "may have of"),
    "the other wants it by its path": (both, ["train/0.png", "y.png"], misfit("train/0.png"), [], "may have of"),
    "the other may mean another": (both, ["0.png", "x/0.png"], misfit("0.png"), [], "more than one member of"),
    "the other can't be read": (unreadable, ["train/0.png", "y.png"], readable("train/0.png"), [], "can't be read"),
    "the other can't be listed": (unlisted, ["0.png", "y.png"], readable("y.png"), [], "can't be read, or listed"),
    "from a folder of the other's": (both, ["x/0.png", "val/1.png"], misfit("2.png"), ["val/1.png"], "of folders"),
    "from a folder of nobody's": (alone, ["x/0.png", "val/1.png"], misfit(), ["val/1.png"], "of folders"),
    "from no folder of its own": (both, ["x/0.png", "y/1.png"], readable("y/1.png"), [], "of folders"),
    "its own already": (alone, ["train/0.png", "y.png"], misfit(), ["train/0.png"], "another entry has"),
    "from its folder": (both, ["x/1.png", "val/0.png", "val/1.png"], readable("x/1.png"), ["val/1.png"], ""),
    "by its whole name": (both, ["0.png", "val/1.png", "2.png"], readable("2.png"), ["val/1.png"], ""),
    "nobody else": (alone, ["x/0.png", "y/1.png"], misfit(), [], ""),
    "from one of its folders": (alone, ["x/0.png", "y/1.png", "z/2.png"], misfit(), ["y/1.png", "z/2.png"], ""),
    "a tar of one folder": (both, ["x/0.png", "x/1.png"], readable("x/1.png"), [], ""),
}  # fmt: skip


@pytest.mark.parametrize("case", OWNERS)
def test_only_what_is_provably_its_own(made, case, monkeypatch):
    """Of two datasets with one tar: `val` has an entry ``0.png`` that doesn't fit."""
    plant, members, train, fitting, why = OWNERS[case]
    right = tar(made, members)
    val = [("0.png", WRONG), *((name, right[name]) for name in fitting)]
    plant(made, train(right), val)
    if plant is unlisted:
        listed = LocalStorage._list

        def refused(self, path, follow_links):
            if path == "other":
                raise PermissionError(errno.EACCES, "Permission denied", path)
            return listed(self, path, follow_links)

        monkeypatch.setattr(LocalStorage, "_list", refused)
    said = [sentence for sentence in mend(made) if sentence.startswith("val/")]
    if why:
        assert any(why in sentence and "0.png" in sentence for sentence in said), said
        assert read(made, "val/a_offsets.pkl") == dict(val)
    else:
        assert read(made, "val/a_offsets.pkl")["0.png"] == right[next(n for n in members if n.endswith("0.png"))]


def test_two_names_of_one_member(made):
    right = tar(made, ["x/0.png", "1.png"])
    write(made, [("0.png", WRONG), ("x/0.png", WRONG)])
    assert "2 of its names mean members that another entry has, or means, of blob/a.tar" in " ".join(mend(made))
    assert read(made) == {"0.png": WRONG, "x/0.png": WRONG} != right


def test_one_name_with_two_ranges(made):
    """The one that fits is meant."""
    right = tar(made, NUMBERS)
    for first, second in ((0, 1), (1, 0)):
        write(made, [(NUMBERS[0], right[NUMBERS[first]])])
        data = (made.root / "train/a_offsets.pkl").read_bytes()
        write(made, [(NUMBERS[0], right[NUMBERS[second]])])
        path = made.root / "train/a_offsets.pkl"
        path.write_bytes(data + path.read_bytes())
        mend(made)
        assert read(made) == {NUMBERS[0]: right[NUMBERS[0]]}


def test_two_ranges_that_fit(made):
    right = tar(made, ["x/a.png", "y/a.png"])
    path = made.root / "train/a_offsets.pkl"
    write(made, [("a.png", right["x/a.png"])])
    data = path.read_bytes()
    write(made, [("a.png", right["y/a.png"])])
    path.write_bytes(data + path.read_bytes())
    (said,) = mend(made)
    assert "not mended: a.png has two ranges in it that fit" in said
    assert backups(made) == []


def test_hard_links(made):
    right = tar(made, ["a.png"])
    with tarfile.open(made.root / "blob/a.tar", "a") as file:
        info = tarfile.TarInfo("b.png")
        info.type, info.linkname = tarfile.LNKTYPE, "a.png"
        file.addfile(info)
    write(made, [("a.png", right["a.png"]), ("b.png", (1, 2))])
    mend(made)
    assert read(made) == {"a.png": right["a.png"], "b.png": right["a.png"]}


# -- pickles that can't be read ------------------------------------------------------------------------------


def cut(made):
    path = made.root / "train/a_offsets.pkl"
    path.write_bytes(path.read_bytes()[:40])


def test_removed_images_dont_come_back(made):
    """Those without an annotation, where others have one, had been removed."""
    right = tar(made, NUMBERS)
    write(made, list(right.items())[:8])
    for name in NUMBERS[:8]:
        made.loose(f"train/ann/{name}.json", b"{}")
    cut(made)
    (said,) = mend(made)
    assert "the 8 images of blob/a.tar that have an annotation; 4 have none" in said
    assert list(read(made)) == NUMBERS[:8]


BOTH = ["a.png", "a.bmp", "b.png"]


def whole(made, right):
    made.loose("train/ann/a.png.json", b"{}")


def by_stem(made, right):
    made.loose("train/ann/a.json", b"{}")


def shown_elsewhere(made, right):
    by_stem(made, right)
    write(made, tar(made, ["a.jpg"], "blob/c.tar").items(), "train/c_offsets.pkl")


def released(made, right):
    whole(made, right)
    made.loose(
        ".blobdir/released.json",
        format_released({"blob/a.tar": Released(identity(made.root / "blob/a.tar"), whole=True)}),
    )


def no_annotation(made, right):
    (made.root / "train/ann/b.png.json").unlink()


def annotations_unknown(made, right):
    write(made, tar(made, ["a.png.json"], "train/ann.blob/n.tar").items(), "train/ann.blob/n_offsets.pkl")
    path = made.root / "train/ann.blob/n_offsets.pkl"
    path.write_bytes(path.read_bytes()[:40])


def two_pickles(made, right):
    whole(made, right)
    write(made, tar(made, ["a.png"], "blob/c.tar").items(), "train/c_offsets.pkl")
    path = made.root / "train/c_offsets.pkl"
    path.write_bytes(path.read_bytes()[:40])


@pytest.mark.parametrize(
    ("evidence", "back", "why"),
    [
        (whole, ["a.png", "b.png"], "1 have none, as if they had been removed: a.bmp"),
        (by_stem, ["b.png"], "2 can share one, so nobody knows which of them had been removed: a.bmp, a.png"),
        (shown_elsewhere, ["b.png"], "2 can share one"),
        (released, [], "the last image of blob/a.tar had been removed"),
        (no_annotation, [], "train has no annotations, so nobody knows what had been removed"),
        (annotations_unknown, [], "the list of train/ann isn't complete"),
        (two_pickles, ["b.png"], "1 may have been another pickle's that can't be read: a.png"),
    ],
)
def test_what_may_have_been_removed_stays_out(made, evidence, back, why):
    """Bytes of removed images are in their tar still."""
    right = tar(made, BOTH)
    write(made, right.items())
    made.loose("train/ann/b.png.json", b"{}")
    evidence(made, right)
    cut(made)
    before = (made.root / "train/a_offsets.pkl").read_bytes()
    said = [sentence for sentence in mend(made) if sentence.startswith("train/a_offsets.pkl: ")]
    assert any(why in sentence for sentence in said), said
    if back:
        assert read(made) == {name: right[name] for name in back}
    else:
        assert (made.root / "train/a_offsets.pkl").read_bytes() == before


def all_there(made, right):
    whole(made, right)
    made.loose("train/ann/a.bmp.json", b"{}")


def as_a_file(made, right):
    whole(made, right)
    made.loose("train/img/a.bmp", PNG)


def removed_by_blobdir(made, right):
    whole(made, right)
    was = Released(identity(made.root / "blob/a.tar"), ranges={right["a.bmp"]})
    made.loose(".blobdir/released.json", format_released({"blob/a.tar": was}))


@pytest.mark.parametrize(
    ("evidence", "lost"),
    [(whole, 1), (by_stem, 2), (shown_elsewhere, 2), (all_there, 0), (as_a_file, 0), (removed_by_blobdir, 0)],
)
def test_images_that_may_be_lost_from_view_are_an_error(made, evidence, lost, capfd):
    """Once: afterwards the project is what it is."""
    right = tar(made, BOTH)
    write(made, right.items())
    made.loose(
        "train/ann/b.png.json", json.dumps({"size": {"height": 1, "width": 1}, "tags": [], "objects": []}).encode()
    )
    evidence(made, right)
    for path in (made.root / "train/ann").iterdir():
        path.write_bytes((made.root / "train/ann/b.png.json").read_bytes())
    made.loose("meta.json", b'{"classes": [], "tags": [], "projectType": "images"}')
    cut(made)
    assert run(["verify", "--repair", "-q", str(made.root)]) == (6 if lost else 0)
    said = capfd.readouterr().out
    assert (f"error: train/a_offsets.pkl: images-left-out, {lost} time" in said) == bool(lost)
    assert ("`blobdir offsets` writes entries for all members" in said) == bool(lost)
    assert run(["verify", "--repair", "-q", str(made.root)]) == 0


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("left", ["some", "none"])
def test_compact_takes_nothing_for_removed_that_a_lost_pickle_may_have_named(made, packed, left):
    names, stay = (["a.png.json", "b.png.json"], "b.png.json") if packed else (BOTH, "b.png")
    blob, pickle = ("train/ann.blob/a.tar", "train/ann.blob/a_offsets.pkl") if packed else ("blob/a.tar", LOST)
    right = tar(made, names, blob)
    write(made, right.items(), pickle)
    if packed:
        tar(made, ["b.png"])
        write(made, tar(made, ["b.png"]).items())
    else:
        made.loose("train/ann/b.png.json", b"{}")
    path = made.root / pickle
    path.write_bytes(path.read_bytes()[:40])
    mend(made)
    assert list(read(made, pickle)) == [stay]
    if left == "none":
        remove(made.root, ["train/b.png"])
    before = (made.root / blob).read_bytes()
    for dry_run in (True, False):
        with pytest.raises(PackError, match="may have done so, but it can't be read"):
            compact(made.root, dry_run=dry_run)
    assert (made.root / blob).read_bytes() == before
    (kept,) = backups(made)
    (made.root / pickle).with_name(kept).unlink()
    compact(made.root)
    assert not any(names[0].encode() in tar.read_bytes() for tar in made.root.rglob("*.tar"))


def test_compact_goes_on_where_a_kept_pickle_can_be_read(made):
    right = tar(made, NUMBERS)
    write(made, [(NUMBERS[0], right[NUMBERS[1]]), *list(right.items())[1:]])
    mend(made)
    assert backups(made)
    remove(made.root, [f"train/{NUMBERS[0]}"])
    assert compact(made.root).dropped == 1


@pytest.mark.parametrize("name", ["a_offsets.pkl", "n" * 243 + "_offsets.pkl", "ä" * 121 + "x_offsets.pkl"])
@pytest.mark.parametrize("number", [0, 7])
def test_names_of_backups(name, number):
    kept = backup_name(name, "20260102-030405", number)
    assert len(os.fsencode(kept)) <= 255
    assert is_backup_of(kept, name)
    assert not is_backup_of(kept, f"x{name}")
    assert not is_backup_of(name, name)
    assert not is_backup_of(kept + "~", name)


@pytest.mark.parametrize("images", [["a.png"], []])
def test_annotations_of_removed_images_stay_out(made, images):
    names = ["a.png.json", "b.png.json"]
    right = tar(made, names, "train/ann.blob/n.tar")
    write(made, right.items(), "train/ann.blob/n_offsets.pkl")
    write(made, [(name, span) for name, span in tar(made, ["a.png", "b.png"]).items() if name in images])
    path = made.root / "train/ann.blob/n_offsets.pkl"
    path.write_bytes(path.read_bytes()[:40])
    (said,) = mend(made)
    if images:
        assert read(made, "train/ann.blob/n_offsets.pkl") == {"a.png.json": right["a.png.json"]}
        assert "the 1 annotations of train/ann.blob/n.tar that have an image; 1 have none" in said
    else:
        assert "not mended: it can't be read, and train has no images" in said


def test_what_remove_removed_stays_out(made):
    right = tar(made, BOTH)
    write(made, right.items())
    for name in ("a", "b"):
        made.loose(f"train/ann/{name}.json", b"{}")
    remove(made.root, ["train/a.bmp"])
    cut(made)
    mend(made)
    assert list(read(made)) == ["b.png"]


def test_equal_names_cant_be_told_apart(made):
    made.loose("train/ann/0.png.json", b"{}")
    write(made, [("0.png", tar(made, FOLDERS)["train/0.png"])])
    cut(made)
    (said,) = mend(made)
    assert "not mended: it can't be read, and members of blob/a.tar have one name" in said
    assert backups(made) == []


@pytest.mark.parametrize("blob", ["missing", "cut", "outside"])
def test_blobs_that_dont_serve(made, blob, tmp_path):
    right = tar(made, NUMBERS)
    write(made, [(NUMBERS[0], right[NUMBERS[1]]), *list(right.items())[2:]])
    path = made.root / "blob/a.tar"
    report = verify(made.root)
    if blob == "cut":
        path.write_bytes(path.read_bytes()[:3000])
    else:
        path.rename(tmp_path / "a.tar")
        if blob == "outside":
            path.symlink_to(tmp_path / "a.tar")
    before = (made.root / "train/a_offsets.pkl").read_bytes()
    (said,) = repair(made.root, report)
    assert "train/a_offsets.pkl: not mended: " in said
    assert (made.root / "train/a_offsets.pkl").read_bytes() == before
    assert backups(made) == []
