"""Planted faults: each kind is found, in blobs and in packed annotations, and beside a second broken thing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import tarfile
import warnings
from io import BytesIO

import pytest
from blob_builder import Builder
from PIL import Image

from blobdir.errors import BlobdirWarning
from blobdir.offsets import offsets_of_tar, read_offsets, write_offsets
from blobdir.packing.publishing import Change
from blobdir.packing.sums import format_sums, split_sums
from blobdir.sources import LocalStorage
from blobdir.verifying import verify

META = {"classes": [{"title": "lemon", "shape": "rectangle", "color": "#FFFF00"}], "tags": [], "projectType": "images"}
ANNOTATION = b'{"size": {"height": 7, "width": 9}, "tags": [], "objects": []}'
COUNT = 24
PLACES = {
    "images": ("blob/a.tar", "train/a_offsets.pkl"),
    "annotations": ("val/ann.blob/n.tar", "val/ann.blob/n_offsets.pkl"),
}


def picture(seed):
    data = BytesIO()
    Image.new("RGB", (9, 7), (seed, 3, 200)).save(data, "PNG", compress_level=0)  # all of one size
    return data.getvalue()


def name(number, form="{:06d}.png"):
    return form.format(number)


@pytest.fixture
def made(tmp_path):
    """Two datasets of images called by numbers; the annotations of one are packed, and all of one size."""
    made = Builder(tmp_path / "p")
    made.loose("meta.json", json.dumps(META).encode())
    for dataset, blob, first in (("train", "a", 0), ("val", "b", 100)):
        members = {name(first + i): picture(i) for i in range(COUNT)}
        made.offsets(dataset, blob, made.tar(blob, members))
    for i in range(COUNT):
        made.loose(f"train/ann/{name(i)}.json", ANNOTATION)
    entries = made.tar("n", {f"{name(100 + i)}.json": ANNOTATION for i in range(COUNT)}, folder="val/ann.blob")
    made.offsets("val/ann.blob", "n", entries)
    sums(made)
    return made


def sums(made):
    import hashlib

    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
        for path in sorted(made.root.glob("blob/*.tar"))
    ]
    made.loose("blob/SHA256SUMS", "".join(lines).encode())


def found(made, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        report = verify(made.root, **options)
    return {(finding.code, finding.path): finding for finding in report.findings}


def codes(made, **options):
    return {code for code, _ in found(made, **options)}


def test_sound(made):
    assert found(made) == {}


# -- entries of pickles: of images, and of packed annotations ------------------------------------------------


def entries_of(made, place):
    return [(e.name.encode(), e.offset_start, e.offset_end) for e in read_offsets(made.root / PLACES[place][1])]


def swapped(e):
    return [e[0], (e[2][0], *e[1][1:]), (e[1][0], *e[2][1:]), *e[3:]]


def shifted_names(e):
    return [(e[(i + 1) % len(e)][0], *e[i][1:]) for i in range(len(e))]


def changed(row, start=0, end=0, new=None):
    return lambda e: [*e[:row], (new or e[row][0], e[row][1] + start, e[row][2] + end), *e[row + 1 :]]


ENTRIES = {
    "start": (changed(5, start=1), "offset-no-member"),
    "start, by a header": (changed(5, start=512, end=512), "offset-no-member"),
    "too short": (changed(5, end=-1), "offset-size"),
    "too long": (changed(5, end=1), "offset-size"),
    "past the end": (lambda e: [*e[:-1], (e[-1][0], 10**9, 10**9 + 1)], "offset-past-end"),
    "another's name": (lambda e: [*e[:5], (e[6][0], *e[5][1:]), *e[7:]], "offset-name"),
    "nobody's name": (changed(5, new=b"other.png"), "offset-name"),
    "two swapped": (swapped, "offset-name"),
    "all names shifted by one": (shifted_names, "offset-name"),
    "a number that looks like a rename": (changed(5, new=b"000005_1.png"), "offset-name"),
    "names without stems": (changed(5, new=b"_1.png"), "offset-name"),
    "case": (lambda e: [*e[:5], (e[5][0].upper(), *e[5][1:]), *e[6:]], "offset-name"),
    "twice the same bytes": (lambda e: [*e, (b"twin.png", *e[4][1:])], "offset-shared"),
    "inside another": (lambda e: [*e, (b"in.png", e[0][1] + 1, e[0][2])], "offset-overlap"),
    "one is missing": (lambda e: e[:-1], "member-unreferenced"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fault", ENTRIES)
def test_entries(made, fault, place):
    damage, code = ENTRIES[fault]
    pickle = made.root / PLACES[place][1]
    write_offsets(pickle, damage(entries_of(made, place)))
    (made.root / "blob/x.tar").symlink_to("/nowhere/x.tar")  # one broken thing doesn't hide another
    seen = found(made)
    assert (code, PLACES[place][0] if code == "member-unreferenced" else PLACES[place][1]) in seen
    assert ("link-dangling", "blob/x.tar") in seen


def offsets_cut(made, pickle):
    pickle.write_bytes(pickle.read_bytes()[:300])
    return "offsets-truncated"


def offsets_no_pickle(made, pickle):
    pickle.write_bytes(b"no pickle")
    return "offsets-corrupt"


def offsets_folder(made, pickle):
    pickle.unlink()
    pickle.mkdir()
    return "offsets-unreadable"


def offsets_fifo(made, pickle):
    pickle.unlink()
    os.mkfifo(pickle)
    return "offsets-unreadable"


def offsets_repeated(made, pickle):
    pickle.write_bytes(pickle.read_bytes() * 2)
    return "offsets-repeated"


def two_ranges(made, pickle):
    old = pickle.read_bytes()
    e = [(e.name.encode(), e.offset_start, e.offset_end) for e in read_offsets(pickle)]
    write_offsets(pickle, [(e[0][0], *e[1][1:])])
    pickle.write_bytes(old + pickle.read_bytes())
    return "offsets-conflict"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "damage", [offsets_cut, offsets_no_pickle, offsets_folder, offsets_fifo, offsets_repeated, two_ranges]
)
def test_pickles(made, damage, place):
    code = damage(made, made.root / PLACES[place][1])
    made.loose("train/ann/000003.png.json", b"[]")
    seen = found(made)
    assert (code, PLACES[place][1]) in seen
    assert ("annotation-invalid", "train") in seen
    if code != "offsets-repeated":
        assert any(kind == "not-checked" for kind, _ in seen)
        assert not {"annotation-without-image", "image-without-annotation"} & {kind for kind, _ in seen}


# -- tars: of images, and of packed annotations --------------------------------------------------------------


def flipped(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def header_flipped(path):
    flipped(path, 4)
    return "tar-damaged"


def cut(path):
    path.write_bytes(path.read_bytes()[:4000])
    return "tar-damaged"


def emptied(path):
    path.write_bytes(b"")
    return "tar-damaged"


def gone(path):
    path.unlink()
    return "blob-missing"


def folder(path):
    path.unlink()
    path.mkdir()
    return "blob-unreadable"


def fifo(path):
    path.unlink()
    os.mkfifo(path)
    return "blob-unreadable"


def dangling(path):
    path.unlink()
    path.symlink_to("nowhere.tar")
    return "link-dangling"


def circular(path):
    path.unlink()
    path.symlink_to(path.name)
    return "link-circular"


def outside(path):
    target = path.parents[len(path.parts) - path.parts.index("p")] / "outside.tar"
    path.rename(target)
    path.symlink_to(target)
    return "link-outside"


def twice(path):
    shutil.copyfile(path, path.with_suffix(".TAR"))
    return "blob-twice"


def nobodys(path):
    shutil.copyfile(path, path.with_name("nobody.tar"))
    return "blob-unreferenced"


TARS = [header_flipped, cut, emptied, gone, folder, fifo, dangling, circular, outside, twice, nobodys]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("damage", TARS)
def test_tars(made, damage, place):
    code = damage(made.root / PLACES[place][0])
    other = "annotations" if place == "images" else "images"
    write_offsets(made.root / PLACES[other][1], swapped(entries_of(made, other)))
    seen = found(made)
    assert code in {kind for kind, _ in seen}
    assert ("offset-name", PLACES[other][1]) in seen
    if damage in (cut, outside, nobodys):
        assert any(kind == "not-checked" for kind, _ in seen)


@pytest.mark.parametrize("form", ["gnu", "posix"])
@pytest.mark.parametrize("is_used", [False, True])
def test_a_member_that_isnt_one_byte_range(made, form, is_used, tmp_path):
    """It is named, and the others are looked at: those before it, and those after it."""
    for i in range(COUNT):
        (tmp_path / name(i)).write_bytes(picture(i))
    with open(tmp_path / "000005_sparse.png", "wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    names = sorted([*map(name, range(COUNT)), "000005_sparse.png"])
    subprocess.run(
        ["tar", "-cf", made.root / "blob/a.tar", "--sparse", f"--format={form}", "-C", tmp_path, *names], check=True
    )
    with tarfile.open(made.root / "blob/a.tar") as file:
        entries = [(m.name.encode(), m.offset_data, m.offset_data + m.size) for m in file if is_used or not m.sparse]
    sums(made)
    path = made.root / "train/a_offsets.pkl"
    write_offsets(path, entries)
    made.loose("train/ann/000005_sparse.png.json", ANNOTATION) if is_used else None
    seen = found(made)
    assert "'000005_sparse.png'" in seen["tar-warning", "blob/a.tar"].examples[0]
    wrong = {code for code, _ in seen} & {"offset-no-member", "offset-past-end"}
    assert wrong if is_used else {code for code, _ in seen} == {"tar-warning"}
    write_offsets(path, [*entries[:-2], (entries[-2][0], *entries[-1][1:]), (entries[-1][0], *entries[-2][1:])])
    assert ("offset-name", "train/a_offsets.pkl") in found(made)


# -- checksums -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda text: text.replace(text[:1], b"0" if text[:1] != b"0" else b"1", 1), "checksum"),
        (lambda text: text.splitlines(keepends=True)[0], "checksum-missing"),
        (lambda text: text + b"no sum at all\n", "sums-line"),
        (lambda text: text[10:], "sums-line"),
        (lambda text: text + b"0" * 64 + b"  a.tar\n", "sums-line"),
        (lambda text: text + b"0" * 64 + b"  gone.tar\n", "blob-missing"),
    ],
)
def test_sums(made, edit, code):
    path = made.root / "blob/SHA256SUMS"
    path.write_bytes(edit(path.read_bytes()))
    made.loose("train/ann/000003.png.json", b"[]")
    assert {code, "annotation-invalid"} <= codes(made)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace(b"  ", b"  ./"),
        lambda text: text.replace(b"  ", b" *"),
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: text + text,
        lambda text: b"".join(line[:64].upper() + line[64:] for line in text.splitlines(keepends=True)),
    ],
)
def test_sums_that_sha256sum_accepts(made, edit):
    path = made.root / "blob/SHA256SUMS"
    path.write_bytes(edit(path.read_bytes()))
    assert codes(made) == set()


def test_sums_of_names_with_backslashes(made):
    """As ``sha256sum`` writes them."""
    made.offsets("train", "b\\n\nc", made.tar("b\\n\nc", {}))
    names = sorted(os.fsencode(path.name) for path in made.root.glob("blob/*.tar"))
    done = subprocess.run(["sha256sum", *names], cwd=made.root / "blob", capture_output=True, check=True)
    made.loose("blob/SHA256SUMS", done.stdout)
    assert codes(made) == set()
    assert format_sums(split_sums(done.stdout)[0]) == done.stdout


def test_sums_that_cant_be_read(made):
    path = made.root / "blob/SHA256SUMS"
    path.unlink()
    os.mkfifo(path)
    assert {"unreadable", "not-checked"} <= codes(made)


# -- side files, annotations, links, folders, what a killed change leaves ------------------------------------


def plant(path, data=b"{}"):
    return lambda made: made.loose(path, data)


def link(path, target):
    def do(made):
        (made.root / path).parent.mkdir(parents=True, exist_ok=True)
        (made.root / path).unlink(missing_ok=True)
        (made.root / path).symlink_to(target)

    return do


def staged(made):
    (made.root / ".blobdir/staging").mkdir(parents=True)
    made.loose(".blobdir/staging/train/x_offsets.pkl", b"x")


def whole_and_stem(folder, suffix, data):
    def do(made):
        for name in ("000001.png", "000001"):
            made.loose(f"train/{folder}/{name}{suffix}", data)

    return do


def pipe(path):
    def do(made):
        (made.root / path).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(made.root / path)

    return do


AROUND = {
    "annotation nobody uses": (whole_and_stem("ann", ".json", ANNOTATION), "annotation-unused", "train"),
    "meta nobody uses": (whole_and_stem("meta", ".json", b"{}"), "side-unused", "train"),
    "seg nobody uses": (whole_and_stem("seg", ".png", picture(1)), "side-unused", "train"),
    "meta.json that the SDK can't read": (
        plant("meta.json", json.dumps(META).encode("utf-16")), "sdk-encoding", "meta.json",
    ),
    "file in place of a folder": (plant("train/meta"), "not-a-folder", "train/meta"),
    "file in place of the state": (plant(".blobdir"), "not-a-folder", ".blobdir"),
    "folder in place of an annotation": (
        plant("train/ann/x.png.json/y"), "not-a-file", "train/ann/x.png.json",
    ),
    "folder in place of a mask": (plant("train/seg/x.png/y"), "not-a-file", "train/seg/x.png"),
    "journal too deep to be read": (
        plant(".blobdir/journal.json", b"[" * 100_000), "change-unfinished", ".blobdir/journal.json",
    ),
    "pipe in place of the lock": (pipe(".blobdir/lock"), "offset-name", "train/a_offsets.pkl"),
    "pipe in place of an annotation": (pipe("train/ann/x.png.json"), "not-a-file", "train/ann/x.png.json"),
    "pipe in place of a mask": (pipe("train/seg/x.png.png"), "not-a-file", "train/seg/x.png.png"),
    "link to a member": (link("train/img/x.png", "../../val/img/000101.png"), "sdk-link", "train/img/x.png"),
    "annotation that the SDK can't read": (
        plant("train/ann/000001.png.json", b"\xef\xbb\xbf" + ANNOTATION), "sdk-encoding", "train",
    ),
    **{
        f"{where} with {what}": (plant(where, text[:-1] + more), code, path)
        for where, text, path in (
            ("meta.json", json.dumps(META).encode(), "meta.json"),
            ("train/ann/000001.png.json", ANNOTATION, "train"),
            ("train/img_info/000001.png.json", b'{"x": 0}', "train"),
        )
        for what, more, code in (
            ("NaN", b', "y": NaN}', "json-number"),
            ("a key twice", b', "y": 1, "y": 2}', "json-unclear"),
            ("half a character", b', "y": "\\ud800"}', "json-unclear"),
        )
    },
    "meta of nobody": (plant("train/meta/x.png.json"), "side-without-image", "train"),
    "img_info of nobody": (plant("train/img_info/000099.png.json"), "side-without-image", "train"),
    "seg of nobody": (plant("train/seg/x.png.png", b"x"), "side-without-image", "train"),
    "mask of nobody": (plant("train/masks_machine/x.png", b"x"), "side-without-image", "train"),
    "masks of nobody": (plant("train/masks_instances/x/lemon_0.png", b"x"), "side-without-image", "train"),
    "meta in a folder": (plant("train/meta/sub/000001.png.json"), "side-without-image", "train"),
    "meta that isn't JSON": (plant("train/meta/000001.png.json", b"{"), "side-invalid", "train"),
    "img_info that isn't JSON": (plant("val/img_info/000101.png.json", b"\xff"), "side-invalid", "val"),
    "annotation that isn't JSON": (plant("train/ann/000001.png.json", b"{"), "annotation-invalid", "train"),
    "annotation in a folder": (plant("train/ann/sub/x.png.json", ANNOTATION), "annotation-without-image", "train"),
    "bad annotation in a folder": (plant("train/ann/sub/x.png.json", b"[]"), "annotation-invalid", "train"),
    "annotation of nobody": (plant("train/ann/x.png.json", ANNOTATION), "annotation-without-image", "train"),
    "meta.json that isn't JSON": (plant("meta.json", b"{"), "meta", "meta.json"),
    "meta.json without lists": (plant("meta.json", b'{"classes": null, "tags": [5]}'), "meta", "meta.json"),
    "classes without title": (plant("meta.json", b'{"classes": [{"title": []}], "tags": []}'), "meta", "meta.json"),
    "dangling annotation": (link("train/ann/000001.png.json", "nowhere"), "link-dangling", "train/ann/000001.png.json"),
    "circular annotation": (
        link("train/ann/000001.png.json", "000001.png.json"), "link-circular", "train/ann/000001.png.json",
    ),
    "annotation outside": (
        link("train/ann/000001.png.json", "/etc/hostname"), "link-outside", "train/ann/000001.png.json",
    ),
    "image link": (link("train/img/x.png", "nowhere.png"), "link-dangling", "train/img/x.png"),
    "link to the folder above": (link("train/up", ".."), "link-circular", "train/up"),
    "link to itself as a folder": (link("train/here", "."), "link-circular", "train/here"),
    "link out of the project": (link("more", "/usr/lib"), "link-outside", "more"),
    "journal": (plant(".blobdir/journal.json"), "change-unfinished", ".blobdir/journal.json"),
    "staging": (staged, "change-leftover", ".blobdir/staging"),
    "half a file": (
        plant("train/.blobdir-0123456789ab.tmp"), "change-leftover", "train/.blobdir-0123456789ab.tmp",
    ),
    "half a file of durable writing": (
        plant("train/ann/.blobdir-0123456789ab.tmp"), "change-leftover", "train/ann/.blobdir-0123456789ab.tmp",
    ),
    "pickle without blob": (
        lambda made: made.offsets("train", "nowhere", [(b"000001.png", 512, 600)]), "blob-missing", "blob/nowhere.tar",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", AROUND)
def test_around(made, fault):
    planter, code, path = AROUND[fault]
    planter(made)
    write_offsets(made.root / PLACES["images"][1], swapped(entries_of(made, "images")))
    seen = found(made)
    assert (code, path) in seen
    assert ("offset-name", PLACES["images"][1]) in seen


IMAGES = (
    "img/000050.png", "img/sub/000051.JPG", "seg/000001.png.png", "seg/000002.png", "masks_machine/000001.png",
    "masks_instances/000001/lemon_0.png", "masks_own/000001.png",
)  # fmt: skip


@pytest.mark.parametrize("beside", [False, True], ids=["here", "in processes"])
@pytest.mark.parametrize("form", ["file", "link"])
@pytest.mark.parametrize("path", IMAGES)
@pytest.mark.parametrize(
    ("data", "code"), [(b"", "empty"), (b"no image", "not-an-image"), (b"\x89PNG", "not-an-image"), (None, "")]
)
def test_images_that_are_files(made, path, data, code, form, beside, monkeypatch):
    """By the rule for images in blobs."""
    if beside:
        monkeypatch.setattr("blobdir.verifying.looking.MANY", 1)
    made.loose(f"train/{path}" if form == "file" else "other.png", picture(1) if data is None else data)
    if form == "link":
        link(f"train/{path}", os.path.relpath("other.png", os.path.dirname(f"train/{path}")))(made)
    if path.startswith("img/"):
        made.loose(f"train/ann/{path[4:]}.json", ANNOTATION)
    seen = found(made, processes=2)
    expected = {(code, "train")} if code else set()
    assert seen.keys() - {("sdk-folder", "train")} == expected
    if code:
        (said,) = seen[code, "train"].examples
        assert said.startswith(f"{path} ")


def test_links_to_members_are_looked_at(made):
    made.offsets("more", "c", made.tar("c", {"x.png": b"no image", "y.png": picture(1)}))
    for name in ("x.png", "y.png"):
        made.loose(f"more/ann/{name}.json", ANNOTATION)
        made.loose(f"train/ann/{name}.json", ANNOTATION)
        link(f"train/img/{name}", f"../../more/img/{name}")(made)
    sums(made)
    seen = found(made)
    assert seen.keys() == {
        ("sdk-link", "train/img/x.png"), ("sdk-link", "train/img/y.png"), ("not-an-image", "blob/c.tar"),
        ("not-an-image", "train"),
    }  # fmt: skip
    assert seen["not-an-image", "train"].examples == ["img/x.png doesn't begin like an image"]
    assert found(made, audience="supervisely")["sdk-link", "train/img/x.png"].severity == "error"


def test_an_annotation_by_the_stem_that_another_image_uses(made):
    made.offsets("train", "c", made.tar("c", {"000001.bmp": b"BM" + picture(1)}))
    made.loose("train/ann/000001.json", ANNOTATION)
    sums(made)
    assert codes(made) == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_files_that_cant_be_read(made):
    """What they are isn't known: they aren't said to be invalid."""
    made.loose("train/seg/000001.png.png", picture(1))
    made.loose("train/meta/000001.png.json", b"{}")
    paths = ["train/seg/000001.png.png", "train/meta/000001.png.json", "train/ann/000001.png.json", "blob/b.tar"]
    for path in paths:
        (made.root / path).chmod(0)
    for folder in [made.root, *made.root.parents]:
        folder.chmod(folder.stat().st_mode | 0o055) if folder.is_relative_to(made.root.parents[2]) else None
    script = (
        "import os, sys, json, blobdir.verifying as v\nos.setgid(65534); os.setuid(65534)\n"
        "report = v.verify(sys.argv[1])\n"
        "print(json.dumps([(f.code, f.path, f.count) for f in report.findings]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, made.root], capture_output=True, text=True, check=True
    )
    seen = {tuple(finding) for finding in json.loads(done.stdout)}
    assert {("unreadable", "train"), ("blob-unreadable", "blob/b.tar")} <= {finding[:2] for finding in seen}
    assert ("unreadable", "train", 3) in seen
    assert not any(code.endswith("-invalid") for code, _, _ in seen)


def test_what_belongs_to_an_image_is_no_fault(made):
    for path in (
        "meta/000001.png.json", "meta/000002.json", "img_info/000001.png.json", "seg/000001.png.png", "seg/000003.png",
        "masks_machine/000001.png", "masks_human/000001.png.png", "masks_instances/000001/lemon_0.png",
    ):  # fmt: skip
        made.loose(f"train/{path}", b"{}" if path.endswith(".json") else picture(1))
    assert found(made) == {}
    report = verify(made.root)
    assert (report.annotations, report.files, report.masks) == (2 * COUNT, 8, 5)


def test_unlistable_folder(made, monkeypatch):
    listed = LocalStorage._list

    def refused(self, path, follow_links):
        if path == "train/ann":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return listed(self, path, follow_links)

    monkeypatch.setattr(LocalStorage, "_list", refused)
    seen = found(made)
    assert {("folder-unreadable", "train/ann"), ("not-checked", "train/ann")} <= seen.keys()
    assert "image-without-annotation" not in {code for code, _ in seen}


def test_another_writer_is_said(made, monkeypatch):
    monkeypatch.setattr("blobdir.verifying.undisturbed.WAIT_S", 0.05)
    with Change(str(made.root)):
        seen = found(made)
    assert ("not-checked", ".blobdir") in seen
    assert {code for code, _ in seen} == {"not-checked"}


def test_a_link_to_inside_is_no_fault(made):
    (made.root / "train/img").mkdir()
    made.loose("train/ann/link.png.json", ANNOTATION)
    made.loose("plain.png", picture(1))
    (made.root / "train/img/link.png").symlink_to("../../plain.png")
    assert found(made) == {}


@pytest.mark.parametrize(
    "text",
    [
        b"null", b"[]", b'"text"', b"5", b"true", b"{", b"\xff", b"\xef\xbb\xbf{}", b"{}", b"[" * 100_000,
        b'{"size": null, "objects": []}', b'{"size": {"height": "7", "width": 9}, "objects": []}',
        *(
            b'{"size": {"height": %s, "width": 9}, "objects": [], "tags": []}' % side
            for side in (b"0", b"-7", b"true", b"7.0", b"7.5", b"NaN", b"2147483648", b"1" + b"0" * 400, b"null")
        ),
        b'{"size": {"height": 7, "width": 9}, "objects": [], "tags": {}}',
        b'{"size": {"height": 7, "width": 9}}', b'{"size": {"height": 7, "width": 9}, "objects": {}}',
        b'{"size": {"height": 7, "width": 9}, "objects": ["box"]}',
        b'{"size": {"height": 7, "width": 9}, "objects": [{}]}',
        b'{"size": {"height": 7, "width": 9}, "objects": [{"classTitle": []}]}',
        b'{"size": {"height": 7, "width": 9}, "objects": [], "tags": null}',
        b'{"size": {"height": 7, "width": 9}, "objects": [], "tags": ["ripe"]}',
        b'{"size": {"height": 7, "width": 9}, "objects": [], "tags": [{"name": {}}]}',
        b'{"size": {"height": 7, "width": 9}, "objects": [{"classTitle": "lemon", "tags": 5}]}',
    ],
)  # fmt: skip
def test_in_words_of_the_format(made, text):
    made.loose("train/ann/000003.png.json", text)
    (finding,) = found(made).values()
    assert (finding.code, finding.count) == ("annotation-invalid", 1)
    (said,) = finding.examples
    assert said.startswith("000003.png.json: ")
    assert not {"Error", "NoneType", "subscriptable", "indices", "iterable", "hashable", "attribute"} & set(
        said.replace("'", " ").replace(":", " ").split()
    )


# -- names that are right ------------------------------------------------------------------------------------


def tar_of(made, members, form=tarfile.GNU_FORMAT):
    """Write ``blob/a.tar`` of (name, bytes), or (name, name of the member that it links to)."""
    with tarfile.open(made.root / "blob/a.tar", "w", format=form) as tar:
        for member, data in members:
            info = tarfile.TarInfo(member)
            if isinstance(data, str):
                info.type, info.linkname = tarfile.LNKTYPE, data
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, BytesIO(data))
    sums(made)


def offsets(made, on_conflict="error", keep=None):
    table = offsets_of_tar(made.root / "blob/a.tar", on_conflict=on_conflict)
    entries = [entry for entry in table.entries() if keep is None or entry[0].decode() in keep]
    write_offsets(made.root / "train/a_offsets.pkl", entries)
    shutil.rmtree(made.root / "train/ann")
    for entry, _, _ in entries:
        made.loose(f"train/ann/{os.fsdecode(entry)}.json", ANNOTATION)
    return entries


LONG = "n" * 246 + ".png"
RIGHT = {
    "hard link": ([("a.png", picture(1)), ("b.png", "a.png"), ("c.png", picture(2))], "error"),
    "renamed": ([("x/a.png", picture(1)), ("y/a.png", picture(2)), ("z/a.png", picture(3))], "rename"),
    "renamed, a number is taken": (
        [("x/a.png", picture(1)), ("y/a.png", picture(2)), ("a_1.png", picture(3)), ("z/a.png", picture(4))], "rename",
    ),
    "renamed without extension": ([("x/a", picture(1)), ("y/a", picture(2))], "rename"),
    "long": ([(LONG, picture(1)), ("m" * 99 + "/m" + LONG[1:], picture(2))], "error"),
    "not ASCII": ([("ünï.png", picture(1)), ("日本.png", picture(2))], "error"),
    "the same beginning": ([("n" * 100, picture(1)), ("n" * 101, picture(2)), ("n" * 102, picture(3))], "error"),
}  # fmt: skip


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT], ids=["gnu", "pax"])
@pytest.mark.parametrize("case", RIGHT)
def test_right_names(made, case, form):
    members, way = RIGHT[case]
    tar_of(made, members, form)
    offsets(made, way)
    assert codes(made) <= {"tar-warning"}


def test_some_of_the_renamed(made):
    """Images that were removed leave holes in the numbers."""
    tar_of(made, [(f"{i}/a.png", picture(i)) for i in range(6)])
    offsets(made, "rename", keep={"a_1.png", "a_4.png"})
    assert codes(made) == {"member-unreferenced"}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda e: [("a.png", e[1]), ("a_1.png", e[0]), ("a_2.png", e[2])],
        lambda e: [("a.png", e[0]), ("a_1.png", e[2]), ("a_2.png", e[1])],
        lambda e: [("a.png", e[0]), ("a_2.png", e[1])],
        lambda e: [("a_1.png", e[0])],
        lambda e: [("a_01.png", e[1])],
        lambda e: [("b.png", e[3]), ("b_1.png", e[3])],
    ],
)
def test_wrongly_renamed(made, wrong):
    tar_of(made, [("x/a.png", picture(1)), ("y/a.png", picture(2)), ("z/a.png", picture(3)), ("b.png", picture(4))])
    spans = [entry[1:] for entry in offsets(made, "rename")]
    write_offsets(made.root / "train/a_offsets.pkl", [(n.encode(), *span) for n, span in wrong(spans)])
    assert ("offset-name", "train/a_offsets.pkl") in found(made)


def test_a_name_that_is_another_members(made):
    tar_of(made, [("a.png", picture(1)), ("a_1.png", picture(2))])
    (first, start, end), _ = offsets(made)
    write_offsets(made.root / "train/a_offsets.pkl", [(first, start, end), (b"a_1.png", start, end)])
    assert ("offset-name", "train/a_offsets.pkl") in found(made)


# -- for the SDK ---------------------------------------------------------------------------------------------


def dataset(path, count=1, annotated=True):
    def do(made):
        stem = path.replace("/", "-")
        members = {name(i): picture(i) for i in range(count)}
        made.offsets(path, stem, made.tar(stem, members))
        for member in members if annotated else ():
            made.loose(f"{path}/ann/{member}.json", ANNOTATION)
        sums(made)

    return do


def double(made):
    made.loose("train/img/000003.png", picture(3))


def double_in_blobs(made):
    made.offsets("train", "c", made.tar("c", {name(3): picture(3)}))
    sums(made)


def one_annotation_of_two(made):
    made.offsets("train", "c", made.tar("c", {"x.png": picture(1), "x.jpg": picture(2)}))
    made.loose("train/ann/x.json", ANNOTATION)
    sums(made)


def empty(made):
    for folder in ("img", "ann"):
        (made.root / f"none/{folder}").mkdir(parents=True)


def repeats(made):
    offsets_repeated(made, made.root / "train/a_offsets.pkl")


SDK = {
    **{n: (dataset(n), "sdk-name", n) for n in ("johann", "my_img", "x.meta", "seg", "tumblob", "mydatasets")},
    "nested name": (dataset("train/datasets/ann"), "sdk-name", "train/datasets/ann"),
    "below such a name": (dataset("johann/datasets/x"), "sdk-name", "johann/datasets/x"),
    "in img/ and a blob": (double, "sdk-double", "train"),
    "in two blobs": (double_in_blobs, "sdk-double", "train"),
    "one annotation of two": (one_annotation_of_two, "sdk-double", "train"),
    "empty": (empty, "sdk-empty", "none"),
    "no annotation": (dataset("more", annotated=False), "image-without-annotation", "more"),
    "no meta.json": (lambda made: (made.root / "meta.json").unlink(), "meta-missing", "meta.json"),
    "repeats": (repeats, "offsets-repeated", "train/a_offsets.pkl"),
    "image in a folder": (dataset("more"), "sdk-folder", "more"),
    "NaN": (plant("train/ann/000001.png.json", ANNOTATION[:-1] + b', "x": NaN}'), "json-number", "train"),
}  # fmt: skip


@pytest.mark.parametrize("case", SDK)
def test_what_the_sdk_drops(made, case):
    planter, code, path = SDK[case]
    planter(made)
    if code == "sdk-folder":
        made.loose("more/img/sub/x.png", picture(1))
        made.loose("more/ann/sub/x.png.json", ANNOTATION)
    assert found(made)[code, path].severity == "warning"
    assert found(made, audience="supervisely")[code, path].severity == "error"


def test_an_empty_parent_is_no_fault(made):
    for folder in ("img", "ann"):
        (made.root / f"parent/{folder}").mkdir(parents=True)
    dataset("parent/datasets/child")(made)
    assert found(made) == {}


def test_packed_annotations_are_for_blobdir_only(made):
    assert codes(made, audience="supervisely") == {"sdk-packed"}
