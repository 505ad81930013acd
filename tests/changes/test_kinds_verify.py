"""Each kind of fault that `verify` must see, and what `--repair` must leave alone."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest
from blob_builder import write_tar
from changes.looking import faults, get
from changes.samples import (
    META,
    annotation,
    change_entries,
    entries,
    numbered,
    packed,
    pickles,
    picture,
    rewrite,
    swap,
    tars,
    write,
)  # fmt: skip

from blobdir.cli.app import run
from blobdir.verifying import repair, verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


# -- what verify must see ------------------------------------------------------------------------------------------


def made_by_hand(root, members, dataset="train", stem="b", used=None):
    """A tar with members, and offsets of those that are used: {name: member's name}."""
    write(root / "meta.json", json.dumps(META).encode())
    found = write_tar(root / f"blob/{stem}.tar", members)
    place = {name: (start, end) for name, (_, start, end) in zip(members, found, strict=True)}
    use = used or {name: name for name in members}
    rewrite(_parent(root / dataset / f"{stem}_offsets.pkl"), [(n.encode(), *place[m]) for n, m in use.items()])
    for name in use:
        write(root / dataset / "ann" / f"{name}.json", annotation())
    return root


def _parent(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


SWAPPED = [
    ("000011.png", "000012.png"), ("1.png", "2.png"), ("a_1.png", "a.png"), ("a_1.png", "a_2.png"), ("a.png", "A.png"),
    ("x (1).png", "x.png"), ("\u00e9.png", "e\u0301.png"), ("10", "11"), ("2024-01-01.png", "2024-01-02.png"),
    ("00000000000000000011.png", "00000000000000000012.png"), ("a-1.png", "a-2.png"), ("٣.png", "٤.png"),
]  # fmt: skip


@pytest.mark.parametrize("pair", SWAPPED, ids=["-".join(pair) for pair in SWAPPED])
def test_verify_sees_two_that_are_swapped(tmp_path, pair):
    members = {name: picture(i) for i, name in enumerate((*pair, "b.png", "c.png"))}
    root = made_by_hand(tmp_path / "p", members)
    assert faults(root) == []
    swap(pickles(root)[0], *pair)
    assert faults(root) != []


@pytest.mark.parametrize("pair", SWAPPED, ids=["-".join(pair) for pair in SWAPPED])
def test_verify_sees_one_that_leads_to_another(tmp_path, pair):
    one, other = pair
    members = {name: picture(i) for i, name in enumerate((one, other, "b.png"))}
    root = made_by_hand(tmp_path / "p", members, used={other: other, one: other, "b.png": "b.png"})
    assert faults(root) != []


@pytest.mark.parametrize("names_of", [lambda i: f"{i:06d}.png", lambda i: f"a{i}.png"], ids=["numbers", "words"])
def test_opening_sees_names_that_are_shifted(tmp_path, names_of):
    images = {f"train/{names_of(i)}": picture(i) for i in range(40)}
    root = packed(tmp_path / "p", images, shard_images=100)
    pickle = pickles(root, False)[0]
    found = [name for name, _, _ in entries(pickle)]
    following = dict(zip(found, found[1:] + found[:1], strict=True))
    change_entries(pickle, lambda name, start, end: (following[name], start, end))
    for name in found:
        data = get(root, f"train/img/{name}")
        assert isinstance(data, Exception) or data == images[f"train/{name}"]


def swapped_annotations(root):
    swap(pickles(root, True)[0], "a001.png.json", "a002.png.json")


def shifted_annotations(root):
    change_entries(pickles(root, True)[0], lambda name, start, end: (name, start + 512, end + 512))


def annotation_blob_damaged(root):
    tar = next((root / "train/ann.blob").glob("*.tar"))
    data = bytearray(tar.read_bytes())
    data[0:50] = bytes(50)
    tar.write_bytes(data)


def annotation_blob_missing(root):
    next((root / "train/ann.blob").glob("*.tar")).unlink()


def annotation_pickle_cut(root):
    pickle = pickles(root, True)[0]
    pickle.write_bytes(pickle.read_bytes()[:-9])


def annotation_pickle_missing(root):
    pickles(root, True)[0].unlink()


def dangling_link(root):
    (root / "blob/x.tar").symlink_to("/nowhere/x.tar")


def dangling_link_and_another_fault(root):
    dangling_link(root)
    swap(pickles(root, False)[0], "a001.png", "a002.png")


def blob_bit(root):
    tar = tars(root)[0]
    data = bytearray(tar.read_bytes())
    data[600] ^= 1
    tar.write_bytes(data)


def sums_of_another(root):
    sums = root / "blob/SHA256SUMS"
    sums.write_text(f"{hashlib.sha256(b'').hexdigest()}  {tars(root)[0].name}\n")


def journal(root):
    write(root / ".blobdir/journal.json", json.dumps({"rename": ["notes.txt"], "remove": []}).encode())
    write(root / ".blobdir/staging/notes.txt", b"text")


def meta_of_an_image(root):
    write(root / "train/meta/a001.png.json", b"{")


def side_file_of_nobody(root):
    write(root / "train/meta/nobody.png.json", b"{}")


def link_out(root):
    (root / "train/img").mkdir(exist_ok=True)
    (root / "train/img/out.png").symlink_to("/etc/hostname")


FAULTS = (
    swapped_annotations, shifted_annotations, annotation_blob_damaged, annotation_blob_missing, annotation_pickle_cut,
    annotation_pickle_missing, dangling_link, dangling_link_and_another_fault, blob_bit, sums_of_another, journal,
    meta_of_an_image, link_out,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_verify_sees_what_was_planted(tmp_path, fault, capfd):
    images = {f"train/a{i:03d}.png": picture(i, (8 + i, 8)) for i in range(1, 9)}
    root = packed(tmp_path / "p", images, annotations="packed", shard_images=100)
    assert verify(root, processes=1).findings == []
    fault(root)
    report = verify(root, processes=1)
    assert report.errors + report.warnings > 0
    if fault not in (meta_of_an_image, annotation_pickle_missing, link_out):  # those are warnings
        assert report.errors > 0
        assert run(["verify", str(root)]) == 6
    if fault is dangling_link_and_another_fault:
        assert "a001.png" in "".join(capfd.readouterr())


def test_verify_warns_of_side_files_of_nobody(tmp_path):
    root = packed(tmp_path / "p", numbered(2))
    side_file_of_nobody(root)
    assert verify(root, processes=1).findings != []
    assert faults(root) == []


def test_hard_links_and_pax_that_are_right_are_no_errors(tmp_path):
    root = made_by_hand(tmp_path / "p", {"a.png": picture(1)})
    data = picture(2)
    with tarfile.open(root / "blob/b.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        info = tarfile.TarInfo("ü" * 90 + ".png")
        info.size, info.mtime = len(data), 1.5
        tar.addfile(info, io.BytesIO(data))
        place = (info.name.encode(), tar.offset - -(-len(data) // 512) * 512, 0)
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.LNKTYPE, info.name
        tar.addfile(link)
    with tarfile.open(root / "blob/b.tar") as tar:
        start = tar.getmembers()[0].offset_data
    assert place[1] == start
    rewrite(pickles(root)[0], [(place[0], start, start + len(data)), (b"link.png", start, start + len(data))])
    (root / "train/ann/a.png.json").unlink()
    for name in (info.name, "link.png"):
        write(root / f"train/ann/{name}.json", annotation())
    assert faults(root) == []


# -- repair --------------------------------------------------------------------------------------------------------


def test_repair_does_not_map_by_base_name(tmp_path):
    members = {f"{d}/a{i}.png": picture(f"{d}{i}") for d in ("train", "val") for i in (1, 2, 3)}
    root = tmp_path / "p"
    write(root / "meta.json", json.dumps(META).encode())
    found = dict(zip(members, write_tar(root / "blob/all.tar", members), strict=True))
    for dataset in ("train", "val"):
        ranges = [(f"a{i}.png".encode(), *found[f"{dataset}/a{i}.png"][1:]) for i in (1, 2, 3)]
        if dataset == "val":
            ranges[2] = (ranges[2][0], ranges[2][1], ranges[2][2] + 4)
        rewrite(_parent(root / dataset / "all_offsets.pkl"), ranges)
        for i in (1, 2, 3):
            write(root / f"{dataset}/ann/a{i}.png.json", annotation())
    repair(root, verify(root, processes=1))
    for path, data in members.items():
        served = get(root, path.replace("/", "/img/"))
        assert served == data or (path == "val/a3.png" and isinstance(served, Exception)), path


@pytest.mark.parametrize("wrong", [0, 3, 7])
def test_repair_keeps_every_entry_that_fits(tmp_path, wrong):
    images = numbered(8, 1, form="{:03d}.png")
    root = packed(tmp_path / "p", images, shard_images=100)
    pickle = pickles(root, False)[0]
    found = entries(pickle)
    found[wrong] = (found[wrong][0], found[wrong][1] + 1, found[wrong][2] + 7)
    rewrite(pickle, found)
    kept = pickle.read_bytes()
    repair(root, verify(root, processes=1))
    assert faults(root) == []
    assert {path: get(root, path.replace("/", "/img/")) for path in images} == images
    backups = [path for path in root.rglob("*") if path.is_file() and path.read_bytes() == kept]
    assert backups, "the old one wasn't kept"


def test_repair_of_renamed_entries_keeps_their_names(tmp_path):
    """Names that aren't the tar's are the user's, where the ranges fit: nothing is mapped, nothing is lost."""
    root = made_by_hand(tmp_path / "p", {f"{i}.png": picture(i) for i in range(4)})
    pickle = pickles(root)[0]
    found = entries(pickle)
    found[1] = (found[1][0], found[1][1], found[1][2] - 1)
    found[2] = (b"mine.png", *found[2][1:])
    rewrite(pickle, found)
    repair(root, verify(root, processes=1))
    left = [name for name, _, _ in entries(pickle)]
    assert set(left) == {"0.png", "1.png", "mine.png", "3.png"}
