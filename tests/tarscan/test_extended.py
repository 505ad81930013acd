"""Extended headers, pax and GNU."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tarscan_cases import (
    END,
    base256,
    check_as_tarfile,
    header,
    member,
    names,
    padded,
    pax,
    record,
    scan,
)

from blobdir.errors import DamagedTarError
from blobdir.tarscan import member_before, scan_tar


def test_pax_overrides() -> None:
    data = (
        pax((b"comment", b"x"), (b"path", b"long\xff/name"), (b"size", b"3"), (b"mtime", b"1.25"))
        + header(b"short", 0)
        + padded(b"abc")
        + member(b"plain", b"1")
        + END
    )
    table = scan(data)
    assert names(table) == [b"long\xff/name", b"plain"]
    assert table.mtime_ns.tolist() == [1_250_000_000, 1_700_000_000 * 10**9]
    check_as_tarfile(data, table)


def test_global_headers() -> None:
    data = (
        pax((b"comment", b"0123456789"), kind=b"g")
        + member(b"before")
        + pax((b"mtime", b"5.5"), (b"path", b"everywhere"), kind=b"g")
        + member(b"a", b"1")
        + pax((b"path", b"own"))
        + member(b"b", b"2")
        + member(b"@LongLink", b"gnu\0", kind=b"L")
        + member(b"c", b"3")
        + pax((b"path", b""), kind=b"g")
        + member(b"d", b"4")
        + END
    )
    table = scan(data)
    assert names(table) == [b"before", b"everywhere", b"own", b"gnu", b"d"]
    assert table.mtime_ns[1:].tolist() == [5_500_000_000] * 4
    no_empty_value = data[: -1024 - 2048] + END
    check_as_tarfile(no_empty_value, scan(no_empty_value))


def test_a_global_size_also_says_where_the_next_header_is() -> None:
    data = pax((b"size", b"600"), kind=b"g") + header(b"a") + padded(b"x" * 600) + header(b"b", 1) + padded(b"y" * 600)
    table = scan(data + END)
    assert names(table) == [b"a", b"b"] and (table.end - table.start).tolist() == [600, 600]


def test_the_last_extended_header_of_a_kind_counts_and_of_two_kinds_the_first() -> None:
    data = b"".join(
        [
            pax((b"path", b"pax one"), (b"mtime", b"1")),
            pax((b"path", b"pax two"), (b"size", b"2")),
            member(b"@LongLink", b"gnu\0", kind=b"L"),
            header(b"own") + padded(b"12"),
            member(b"@LongLink", b"gnu\0", kind=b"L"),
            pax((b"path", b"pax")),
            member(b"own", b"1"),
            END,
        ]
    )
    table = scan(data)
    assert names(table) == [b"pax two", b"gnu"]
    for row in range(2):
        before = member_before(data[: table.start[row]])
        assert before is not None and before.name == table.name(row)


@pytest.mark.parametrize(
    "payload",
    [
        b"8 path=a\n",
        b"99 path=a\n",
        b"0 path=a\n",
        b"-9 path=a\n",
        b" path=a\n",
        b"9 path=a",
        b"9 path a\n",
        b"6 =abc\n",
        b"99999999999999999999 path=a\n",
    ],
)
@pytest.mark.parametrize("kind", [b"x", b"g"])
def test_records_before_a_damaged_one_count(payload: bytes, kind: bytes) -> None:
    header = member(b"x", record(b"mtime", b"5") + payload, kind=kind)
    table = scan(member(b"first") + header + member(b"b", b"1") + END)
    assert names(table) == [b"first", b"b"] and table.mtime_ns[1] == 5 * 10**9
    assert re.search("extended header at byte 512 is damaged.*byte 11 of it.*'b'", *table.warnings)


def test_zeros_after_records_are_no_damage() -> None:
    table = scan(member(b"x", record(b"path", b"a") + b"\0\0", kind=b"x") + member(b"b") + END)
    assert names(table) == [b"a"] and table.warnings == ()


@pytest.mark.parametrize("kind", [b"0", b"1", b"2", b"5"])
@pytest.mark.parametrize("keyword", [b"path", b"linkpath"])
def test_a_name_ends_at_a_nul(keyword: bytes, kind: bytes) -> None:
    odd = pax((keyword, b"a\0x")) + member(b"a", kind=kind, link=b"a")
    table = scan(member(b"a", b"1") + odd + member(b"c", b"2") + END)
    assert names(table) == [b"a", *[b"a"] * (kind in b"01"), b"c"]


@pytest.mark.parametrize("size", [b"-1", b"1e3", b"9" * 5000])
def test_a_pax_size_that_is_no_number(size: bytes) -> None:
    with pytest.raises(DamagedTarError, match=r"'b' at byte \d+: the size is no number; 1 member.*'first'"):
        scan(member(b"first") + pax((b"size", size)) + member(b"b") + END)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
@pytest.mark.parametrize("size", [(32 << 20) + 1, 2**33 - 1, 2**64])
def test_extended_headers_are_bounded(kind: bytes, size: int, tmp_path: Path) -> None:
    path = tmp_path / "hostile.tar"
    path.write_bytes(header(b"e", base256(size, 12), kind=kind))
    os.truncate(path, 1 << 36)
    with pytest.raises(DamagedTarError, match="claims"):
        scan_tar(path)


@pytest.mark.parametrize("kind", [b"x", b"L", b"K"])
def test_extended_header_at_the_end(kind: bytes) -> None:
    payload = record(b"path", b"a") if kind == b"x" else b"name\0"
    for end in (b"", END):
        with pytest.raises(DamagedTarError, match="after an extended header"):
            scan(member(b"a") + member(b"e", payload, kind=kind) + end)


def test_a_global_name_cannot_fill_the_memory() -> None:
    data = pax((b"path", b"n" * 50_000), kind=b"g") + header(b"a") * 3000 + END
    with pytest.raises(DamagedTarError, match="longer than all headers"):
        scan(data)


@pytest.mark.parametrize("keyword", [b"GNU.sparse.major", b"GNU.sparse.map", b"GNU.sparse.size", b"GNU.sparse.name"])
def test_any_sparse_keyword_makes_it_sparse(keyword: bytes) -> None:
    table = scan(pax((keyword, b"holes")) + member(b"holes", b"1") + member(b"b", b"2") + END)
    assert names(table) == [b"b"] and [left.name for left in table.left_out] == [b"holes"]


def test_a_long_extended_header() -> None:
    """A Mac's resource fork, as bsdtar writes it."""
    attribute = (b"LIBARCHIVE.xattr.com.apple.ResourceFork", b"x" * (3 << 20))
    table = scan(pax(attribute, (b"path", b"long")) + member(b"a", b"1") + END)
    assert names(table) == [b"long"] and table.warnings == ()
