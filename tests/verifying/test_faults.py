"""Planted faults of blobs: each is found, in images and in packed annotations, and beside a second broken thing."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile

import pytest
from verifying.planted import (
    ANNOTATION,
    COUNT,
    PLACES,
    codes,
    entries_of,
    found,
    name,
    offsets_repeated,
    picture,
    sums,
    swapped,
)

from blobdir.offsets import read_offsets, write_offsets
from blobdir.packing.sums import format_sums, split_sums


def test_sound(made):
    assert found(made) == {}


# -- entries of pickles: of images, and of packed annotations ------------------------------------------------


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
