"""Single fields of headers."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
from tarscan_cases import (
    BLOCK,
    END,
    NO_MAGIC,
    OLD_GNU,
    base256,
    check_as_tarfile,
    header,
    member,
    names,
    octal,
    padded,
    pax,
    put,
    record,
    scan,
    with_checksum,
)

from blobdir.errors import DamagedTarError
from blobdir.tarscan import scan_tar
from blobdir.tarscan.header import full_name, name_columns
from blobdir.tarscan.pax import MTIME_MAX_NS, MTIME_MIN_NS, mtime_ns


def test_names_in_columns_are_those_of_single_headers() -> None:
    """The fast path for a thousand names equals the slow one for each."""
    rng = random.Random(7)
    made = []
    for _ in range(500):
        name = bytes(rng.choices(b"ab/", k=rng.choice([1, 5, 99, 100])))
        prefix = bytes(rng.choices(b"pq/", k=rng.choice([0, 0, 1, 130, 155])))
        made.append(header(name, magic=rng.choice([b"ustar\x0000", OLD_GNU, NO_MAGIC, b"ustar  0"]), prefix=prefix))
    for group in (made, [h for h in made if h[345] == 0]):
        arena, length = name_columns(np.frombuffer(b"".join(group), np.uint8).reshape(-1, BLOCK))
        split = arena.tobytes().split(b"\0")[:-1]
        assert [name.rstrip(b"/") for name in split] == [full_name(h) for h in group]
        assert length.tolist() == [len(name) + 1 for name in split]


@pytest.mark.parametrize(
    ("field", "size"),
    [
        (b"00000000005\0", 5),
        (b"00000000005 ", 5),
        (b"         5 \0", 5),
        (b"          5 ", 5),
        (b"5\0garbage!!!", 5),
        (b"000000000005", 5),
        (bytes(12), 0),
        (b" " * 12, 0),
        (base256(5, 12), 5),
    ],
)
def test_forms_of_the_size(field: bytes, size: int) -> None:
    data = header(b"a", field) + padded(b"x" * size) + END
    table = scan(data)
    assert (table.start[0], table.end[0]) == (BLOCK, BLOCK + size)
    check_as_tarfile(data, table)


@pytest.mark.parametrize(
    "field",
    [b"-0000000001\0", b"0000000_010\0", b"0o000000010\0", b"00000000008\0", b"hello world\0", base256(-1, 12)],
)
def test_what_is_not_a_size(field: bytes) -> None:
    with pytest.raises(DamagedTarError, match=r"byte 1024.*size") as caught:
        scan(member(b"first", b"1") + header(b"a", field) + bytes(BLOCK) + END)
    assert caught.value.position == 1024


@pytest.mark.parametrize("size", [2**33, 2**62, 2**63 - 1, 2**63, 2**64, 2**64 + 1, 2**87])
def test_huge_sizes_are_truncation(size: int) -> None:
    for start in (header(b"huge", base256(size, 12)), pax((b"size", b"%d" % size)) + header(b"huge")):
        with pytest.raises(DamagedTarError, match=r"truncated.*'huge'.*1 member before.*'first'"):
            scan(member(b"first", b"1") + start + END)


@pytest.mark.parametrize("how", ["base-256", "pax", "twelve digits"])
def test_member_beyond_8_gib(tmp_path: Path, how: str) -> None:
    size = 9 << 30
    big = {
        "base-256": header(b"big", base256(size, 12), magic=OLD_GNU),
        "pax": pax((b"size", b"%d" % size)) + header(b"big"),
        "twelve digits": header(b"big", b"%012o" % size),
    }[how]
    path = tmp_path / "big.tar"
    with open(path, "wb") as file:
        file.write(big)
        file.seek(size, os.SEEK_CUR)
        file.write(member(b"after", b"x") + END)
    table = scan_tar(path)
    assert names(table) == [b"big", b"after"] and table.warnings == ()
    assert table.start.tolist() == [len(big), len(big) + size + BLOCK]
    assert table.end[0] - table.start[0] == size


@pytest.mark.parametrize(
    ("mode", "bits"),
    [(b"0000644\0", 0o644), (b"000644 \0", 0o644), (b"100755 \0", 0o755), (b"   600 \0", 0o600), (b"00004711", 0o4711)],
)
def test_forms_of_the_mode(mode: bytes, bits: int) -> None:
    """Each alone, and mixed with others in one chunk."""
    assert scan(member(b"a", mode=mode) + END).mode.tolist() == [bits]
    assert scan(member(b"a", mode=mode) + member(b"b") + END).mode.tolist() == [bits, 0o644]


@pytest.mark.parametrize(
    ("field", "ns"),
    [
        (octal(7, 12), 7 * 10**9),
        (b"          7 ", 7 * 10**9),
        (bytes(12), 0),
        (b"777777777777", MTIME_MAX_NS // 10**9 * 10**9),
        (base256(-5, 12), -5 * 10**9),
        (base256(2**80, 12), MTIME_MAX_NS // 10**9 * 10**9),
        (base256(-(2**80), 12), -((2**63) // 10**9) * 10**9),
    ],
)
def test_forms_of_the_mtime(field: bytes, ns: int) -> None:
    assert scan(member(b"a", mtime=field) + END).mtime_ns.tolist() == [ns]


@pytest.mark.parametrize("field", [{"mode": b"rwxrwx \0"}, {"mtime": b"Jan 1, 1970\0"}, {"mtime": b"000000-1750 "}])
def test_a_mode_or_time_that_is_no_number_costs_nothing(field: dict[str, bytes]) -> None:
    """tar-fs of npm writes such a time for a file of before 1970."""
    table = scan(member(b"a") + member(b"dir/", kind=b"5") + member(b"b", b"x", **field) + member(b"c") + END)
    assert names(table) == [b"a", b"b", b"c"] and table.warnings == ()
    assert 0 in (table.mode[1], table.mtime_ns[1]) and table.mtime_ns[2] > 0


@pytest.mark.parametrize(
    ("value", "ns"),
    [
        (b"1700000000.123456789", 1_700_000_000_123_456_789),
        (b"1700000000.1234567899", 1_700_000_000_123_456_789),
        (b"12", 12 * 10**9),
        (b"12.", 12 * 10**9),
        (b"-1.5", -1_500_000_000),
        (b"-0.0000000001", -1),
        (b"1.5e-05", 15_000),
        (b"9223372036.854775807", MTIME_MAX_NS),
        (b"9223372036.854775808", MTIME_MAX_NS),
        (b"1e999", MTIME_MAX_NS),
        (b"-1e30", MTIME_MIN_NS),
        (b"1e9999999999", 0),
        (b"9" * 100_000, 0),
        (b"nan", 0),
        (b"inf", 0),
        (b"yesterday", 0),
        (b".", 0),
    ],
)
def test_pax_mtime(value: bytes, ns: int) -> None:
    assert mtime_ns(value) == ns


def test_signed_checksum() -> None:
    made = with_checksum(header("ümläut".encode("latin-1"), 0), signed=True)
    assert names(scan(made + END)) == ["ümläut".encode("latin-1")]
    unusual = put(made, 148, b"%07o\0" % int(made[148:154], 8))
    assert names(scan(unusual + END)) == ["ümläut".encode("latin-1")]


def test_old_v7_headers() -> None:
    v7 = {"magic": NO_MAGIC, "kind": b"\0"}
    data = member(b"d/", **v7) + member(b"d/" + b"n" * 98, b"1", **v7) + member(b"m" * 99 + b"/", **v7) + END
    table = scan(data)
    assert names(table) == [b"d/" + b"n" * 98]
    check_as_tarfile(data, table)


@pytest.mark.parametrize("extension", [b"L", b"x"])
def test_a_long_name_is_a_directory_if_its_end_is_a_slash(extension: bytes) -> None:
    """Not if the cut at 100 bytes leaves a slash, as in tarfile, which then takes the data for a header."""

    def named(name: bytes, data: bytes) -> bytes:
        payload = name + b"\0" if extension == b"L" else record(b"path", name)
        return member(b"@LongLink", payload, kind=extension) + member(name[:100], data, kind=b"\0", magic=OLD_GNU)

    folder = b"d" * 99 + b"/"
    data = named(folder + b"file", b"data") + named(folder + b"folder/", b"") + member(b"last", b"1") + END
    assert names(scan(data)) == [folder + b"file", b"last"]
