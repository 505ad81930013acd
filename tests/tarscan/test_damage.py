"""Where an archive ends, and what isn't one."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tarscan_cases import (
    BASE,
    BLOCK,
    END,
    FORMATS,
    Spec,
    build,
    check_as_tarfile,
    check_columns,
    member,
    names,
    pax,
    put,
    scan,
    with_checksum,
)

from blobdir.errors import CompressedTarError, DamagedTarError, TarError
from blobdir.sources import LocalStorage
from blobdir.tarscan import scan_tar

# The end of the archive


@pytest.mark.parametrize("behind", [b"", b"!", member(b"b", b"2") + END], ids=["nothing", "junk", "another archive"])
@pytest.mark.parametrize("archive", [member(b"a", b"1") + END, b""], ids=["an archive", "nothing else"])
@pytest.mark.parametrize("opened", ["by its path", "as a place"])
def test_terabytes_of_holes_behind_it_cost_nothing(tmp_path: Path, archive: bytes, behind: bytes, opened: str) -> None:
    path = tmp_path / "a.tar"
    with open(path, "wb") as file:
        file.write(archive)
        file.truncate(4 << 40)
        file.seek(0, os.SEEK_END)
        file.write(behind)
    table = scan_tar(path if opened == "by its path" else LocalStorage(tmp_path).open(path.name))
    assert list(names(table)) == ([b"a"] if archive else [])
    assert any(str(4 << 40) in warning for warning in table.warnings) == bool(behind)


def test_end_markers() -> None:
    one = member(b"a", b"1")
    assert scan(one + END).warnings == scan(one + END * 10).warnings == ()
    assert "no end-of-archive marker at byte 1024" in scan(one).warnings[0]
    assert "no end-of-archive marker at byte 1024" in scan(one + bytes(100)).warnings[0]
    assert "one zero block" in scan(one + bytes(BLOCK)).warnings[0]
    empty = scan(END * 10)
    check_columns(empty)
    assert len(empty) == 0 and empty.warnings == ()
    assert len(scan(pax((b"comment", b"empty git archive"), kind=b"g") + END)) == 0


@pytest.mark.parametrize("blocks", [1, 2, 20, 256, 5000])
@pytest.mark.parametrize("junk", [False, True])
def test_what_follows_the_end_is_said(blocks: int, junk: bool) -> None:
    """Joined archives with records of any size, zero blocks between members, and bytes that are no tar."""
    one = member(b"a", b"1") + bytes(blocks * BLOCK)
    table = scan(one + (b"\0junk" if junk else member(b"second", b"2") + END))
    assert names(table) == [b"a"] and table.next_archive == (-1 if junk else len(one))
    (said,) = table.warnings
    assert "ends at byte 1024" in said and (f"bytes {len(one) + 1} to" if junk else f"byte {len(one)}") in said
    assert junk or "'second'" in said


def test_truncated_anywhere() -> None:
    """Every cut either leaves whole members, which are all found with a warning, or is an error that says so."""
    ends = []
    data = b""
    for i, size in enumerate([700, 0, 512, 513, 1]):
        data += member(b"m%d" % i, b"x" * size)
        ends.append(len(data))
    data += pax((b"path", b"long")) + member(b"m5", b"yy")
    ends.append(len(data))
    for cut in sorted({*range(BLOCK, len(data), BLOCK), *range(BLOCK, len(data), 97), len(data) - 1}):
        before = sum(end <= cut for end in ends)
        if cut in ends:
            table = scan(data[:cut])
            assert len(table) == before and len(table.warnings) == 1
        else:
            with pytest.raises(DamagedTarError, match="truncated") as caught:
                scan(data[:cut])
            assert caught.value.position <= cut
    with pytest.raises(
        DamagedTarError,
        match=r"truncated: the member 'm3' \(header at byte 3072\).*3 members before.*'m2'",
    ):
        scan(data[:4000])


# Damage


@pytest.mark.parametrize("tar_format", FORMATS)
def test_bit_flips_in_headers(tar_format: int) -> None:
    """One flipped bit is an error at that header; with a checksum made to fit, never another reading than tarfile's."""
    data = build([Spec(b"0", f"name{i}", 100, 1.0, 0o644, 0) for i in range(3)], tar_format)
    at = 1024
    for bit in range(BLOCK * 8):
        byte, mask = at + bit // 8, 1 << bit % 8
        flipped = put(data, byte, bytes([data[byte] ^ mask]))
        try:
            table = scan(flipped)
        except DamagedTarError as error:
            assert error.position == at
        else:  # the blanks around the checksum itself
            assert at + 148 <= byte < at + 156
            assert names(table) == [b"name0", b"name1", b"name2"]
        fitting = flipped[:at] + with_checksum(flipped[at : at + BLOCK]) + flipped[at + BLOCK :]
        try:
            table = scan(fitting)
        except TarError:
            continue
        # Mode, time, uid, gid, device numbers: tarfile ends the archive there without a word, though nothing needs
        # them. Types that nobody knows: files here. The prefix: only with a ustar header.
        unheeded = (range(100, 124), range(136, 148), range(156, 157), range(257, 265), range(329, BLOCK))
        if not any(byte - at in fields for fields in unheeded):
            check_as_tarfile(fitting, table)
        else:
            assert len(table) + len(table.left_out) in (2, 3)


COMPRESSED = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "zstd": lambda data: b"\x28\xb5\x2f\xfd" + data[1:],
    "lz4": lambda data: b"\x04\x22\x4d\x18" + data[1:],
}


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("n", [1, 20_000])
def test_compressed(name: str, n: int) -> None:
    data = COMPRESSED[name](member(b"a", random.Random(1).randbytes(n)) + END)
    with pytest.raises(CompressedTarError, match=f"{name}.*scan again"):
        scan(data)


def test_zip() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", bytes(3000))
    with pytest.raises(CompressedTarError, match="zip"):
        scan(out.getvalue())


def test_a_member_whose_name_looks_compressed() -> None:
    assert names(scan(member(b"BZh.png", b"1") + END)) == [b"BZh.png"]


@pytest.mark.parametrize("data", [b"", b"x", b"\0", b"not a tar" * 1000, b"\x7fELF" + bytes(2000), bytes(511)])
def test_not_a_tar(data: bytes) -> None:
    with pytest.raises(DamagedTarError, match=r"not a tar archive") as caught:
        scan(data)
    assert caught.value.position == 0 and caught.value.path == "memory.tar"


def scans_or_refuses(data: bytes) -> None:
    try:
        check_columns(scan(data))
    except TarError as error:
        assert error.path == "memory.tar" and 0 <= error.position <= len(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=3000))
def test_arbitrary_bytes(data: bytes) -> None:
    scans_or_refuses(data)


def test_mutated_archives() -> None:
    """With checksums made to fit again, so that the mutations get past them; time and memory stay small."""
    rng = random.Random(42)
    tracemalloc.start()
    for _ in range(3000):
        data = bytearray(BASE)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(data) // BLOCK) * BLOCK + rng.choice([rng.randrange(BLOCK), rng.randrange(100, 160)])
            data[at] = rng.choice([0, 32, 47, 48, 49, 55, 57, 120, 128, 255, rng.randrange(256)])
        for at in range(0, len(data), BLOCK):
            if rng.random() < 0.95 and any(data[at : at + BLOCK]) and data[at + 156] in b"0\x001257xgLKSMV":
                data[at : at + BLOCK] = with_checksum(bytes(data[at : at + BLOCK]))
        scans_or_refuses(bytes(data[: rng.choice([len(data), rng.randrange(len(data))])]))
    assert tracemalloc.get_traced_memory()[1] < 32 << 20
    tracemalloc.stop()
