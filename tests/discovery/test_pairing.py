"""Whether offsets fit a blob, judged by the headers before a few members: header, size and name."""

from __future__ import annotations

import os
import tarfile
from io import BytesIO

import fsspec
import pytest
from blob_builder import Builder

import blobdir
from blobdir.discovery.pairing import misfit
from blobdir.errors import ReadError
from blobdir.offsets import offsets_of_tar, write_offsets
from blobdir.tarscan import REACH_BYTES, member_before, scan_tar
from blobdir.tarscan.header import COMPRESSIONS
from blobdir.verifying import verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
FORMATS = {"gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT, "ustar": tarfile.USTAR_FORMAT}
NAMES = [
    "000011.png", "000012.png", "sub/a.png", "./b.png", "no extension", ".hidden", "ü/日本.png", "n" * 99, "n" * 100,
    "n" * 101, "n" * 102 + ".png", "d" * 60 + "/" + "e" * 60 + ".png", "x/" * 200 + "m" * 240 + ".png",
]  # fmt: skip


def archive(path, members, form=tarfile.GNU_FORMAT, **headers):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form, **headers) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.mtime = 1.5 if form == tarfile.PAX_FORMAT else 1
            if isinstance(data, str):
                info.type, info.linkname = tarfile.LNKTYPE, data
                tar.addfile(info)
            else:
                info.size = len(data)
                tar.addfile(info, BytesIO(data))
    return path


def fits(path, name, start, size, linked=lambda member: False):
    data = path.read_bytes()
    return misfit(lambda n: data[max(0, start - n) : start], size, name, linked) == ""


@pytest.mark.parametrize("form", FORMATS)
def test_every_member_fits_its_own_name_and_no_other(tmp_path, form):
    names = NAMES if form != "ustar" else [name for name in NAMES if len(os.fsencode(name)) < 100]
    path = archive(tmp_path / "a.tar", [(name, b"1234567") for name in names], FORMATS[form])
    table = scan_tar(path)
    for i, own in enumerate(names):
        for other in names:
            expected = other == own
            for name in {other, other.rpartition("/")[2], other.removeprefix("./")}:
                if not name or (not expected and name == own.rpartition("/")[2]):
                    continue
                assert fits(path, os.fsencode(name), int(table.start[i]), 7) == expected, (own, name)


@pytest.mark.parametrize("form", FORMATS)
def test_headers_before_a_member_say_what_a_scan_says(tmp_path, form):
    names = NAMES if form != "ustar" else [name for name in NAMES if len(os.fsencode(name)) < 100]
    path = archive(tmp_path / "a.tar", [(name, bytes(range(i))) for i, name in enumerate(names)], FORMATS[form])
    table, data = scan_tar(path), path.read_bytes()
    for i in range(len(table)):
        start = int(table.start[i])
        found = member_before(data[max(0, start - REACH_BYTES) : start])
        assert (found.name, found.size) == (table.name(i), int(table.end[i]) - start)


def test_a_size_in_a_pax_record_goes_before_the_headers(tmp_path):
    path = archive(tmp_path / "a.tar", [("a.png", b"1234567")], tarfile.PAX_FORMAT)
    info = tarfile.TarInfo("a.png")
    info.size = 0
    info.pax_headers = {"size": "7"}
    body = info.tobuf(tarfile.PAX_FORMAT)
    path.write_bytes(body + b"1234567".ljust(512, b"\0") + bytes(1024))
    assert fits(path, b"a.png", len(body), 7)
    assert not fits(path, b"a.png", len(body), 0)


@pytest.mark.parametrize(
    ("name", "member", "expected"),
    [
        (b"a_1.png", "a.png", True), (b"a_12.png", "x/a.png", True), (b"a_1", "a", True), (b".png_1", ".png", True),
        (b"a_0.png", "a.png", False), (b"a_01.png", "a.png", False), (b"a_.png", "a.png", False),
        (b"a_1.jpg", "a.png", False), (b"a_1.png", "a_2.png", False), (b"000011.png", "000012.png", False),
        (b"_1.png", "a.png", False), (b"1.png", ".png", False), (b"b_1.png", "a.png", False),
        (b"A.png", "a.png", False), ("\u00e9.png".encode(), "e\u0301.png", False), (b"b/a.png", "a.png", False),
        (b"b/a.png", "c/b/a.png", True), (b"b/a.png", "cb/a.png", False), (b"a.png", "ba.png", False),
    ],
)  # fmt: skip
def test_names(tmp_path, name, member, expected):
    path = archive(tmp_path / "a.tar", [(member, b"1234567")])
    start = int(scan_tar(path).start[0])
    assert fits(path, name, start, 7) == expected


def test_headers_that_are_no_files(tmp_path):
    path = archive(tmp_path / "a.tar", [("m" * 120, b"1234567")])
    assert not fits(path, b"@LongLink", 512, 121)  # what a long name's header says of itself
    assert not fits(path, b"a", 100, 7)
    assert not fits(path, b"a", 0, 7)


# -- opening a project ---------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path):
    return Builder(tmp_path / "p")


def codes(made):
    return [defect.code for defect in blobdir.open_project(made.root, index="none").defects]


def shifted(entries):
    return [(entries[(i + 1) % len(entries)][0], *entry[1:]) for i, entry in enumerate(entries)]


@pytest.mark.parametrize("form", ["{:06d}.png", "a{:03d}.png", "{:0250d}.png"])
def test_names_shifted_by_one(made, form):
    entries = made.tar("a", {form.format(i): b"same size" for i in range(40)})
    made.offsets("train", "a", entries)
    assert codes(made) == []
    made.offsets("train", "a", shifted(entries))
    assert codes(made) == ["offsets-mismatch"]
    with pytest.raises(ReadError, match="the tar says that the member there is"):
        blobdir.open_project(made.root, index="none")["train"].get_blob_img_bytes(form.format(20))


def test_packed_annotations_shifted_by_one(made):
    entries = made.tar("n", {f"{i}.png.json": b"{}" for i in range(9)}, folder="train/ann.blob")
    made.offsets("train/ann.blob", "n", shifted(entries))
    assert codes(made) == ["offsets-mismatch"]


@pytest.mark.parametrize("keep", [None, [b"b.png"]])
def test_hard_links_are_no_defect(made, keep):
    path = archive(made.root / "blob/a.tar", [("a.png", b"data"), ("b.png", "a.png"), ("c.png", b"more")])
    entries = [entry for entry in offsets_of_tar(path).entries() if keep is None or entry[0] in keep]
    made.offsets("train", "a", entries)
    assert codes(made) == []


def test_renamed_members_are_no_defect(made):
    path = archive(made.root / "blob/a.tar", [(f"{i}/a.png", b"%d" % i) for i in range(5)])
    (made.root / "train").mkdir()
    write_offsets(made.root / "train/a_offsets.pkl", offsets_of_tar(path, on_conflict="rename"))
    assert codes(made) == []


# -- behind a backend ----------------------------------------------------------------------------------------


@pytest.fixture
def bucket(made):
    memory = fsspec.filesystem("memory")

    def upload():
        memory.put(str(made.root), "/pairing", recursive=True)
        return blobdir.open_project("memory://pairing", index="none")

    yield upload
    memory.rm("/pairing", recursive=True)


@pytest.mark.parametrize("form", ["{:06d}.png", "{:0250d}.png"])
def test_remote_names_shifted_by_one(made, bucket, form):
    entries = made.tar("a", {form.format(i): b"same size" for i in range(9)})
    made.offsets("train", "a", shifted(entries))
    project = bucket()
    for read in (project["train"].get_blob_img_bytes, lambda name: project["train"].read_many([name])):
        with pytest.raises(ReadError, match="the tar says that the member there is"):
            read(form.format(3))


def test_remote_members_that_fit(made, bucket):
    path = archive(
        made.root / "blob/a.tar",
        [("n" * 250, b"long"), ("a.png", b"data"), ("b.png", "a.png"), ("x/c.png", b"1"), ("y/c.png", b"2")],
        tarfile.PAX_FORMAT,
    )
    (made.root / "train").mkdir()
    write_offsets(made.root / "train/a_offsets.pkl", offsets_of_tar(path, on_conflict="rename"))
    expected = {"n" * 250: b"long", "a.png": b"data", "b.png": b"data", "c.png": b"1", "c_1.png": b"2"}
    for name, data in expected.items():  # each as the first that is read
        assert bucket()["train"].get_blob_img_bytes(name) == data


LOOKS_COMPRESSED = [magic.partition(b"\0")[0] + b"_0001.png" for magic, _, _ in COMPRESSIONS if b"/" not in magic]


@pytest.mark.parametrize("way", ["opened", "remote", "packed", "verified"])
@pytest.mark.parametrize("name", dict.fromkeys(LOOKS_COMPRESSED))
def test_the_checksum_says_that_a_tar_is_one_whatever_its_first_name_begins_like(tmp_path, name, way):
    data = b"\x89PNG\r\n\x1a\n" + bytes(8)
    made = Builder(tmp_path / "p")
    made.blob("train", "x", {os.fsdecode(name): data, "z.png": data + b"2"})
    if way == "packed":
        Builder(tmp_path / "s", meta=False).loose(os.fsdecode(name), data)
        blobdir.pack(tmp_path / "s", tmp_path / "q", blobdir.PackOptions(dataset="train"))
    root = tmp_path / ("q" if way == "packed" else "p")
    if way == "verified":
        assert {finding.code for finding in verify(root).findings} <= {"annotation-invalid"}
        return
    if way == "remote":
        memory = fsspec.filesystem("memory")
        memory.put(str(root), f"/{tmp_path.name}", recursive=True)
        root = f"memory://{tmp_path.name}"
    opened = blobdir.open_project(root, index="none")
    assert bytes(opened["train"].get_blob_img_bytes(os.fsdecode(name))) == data
