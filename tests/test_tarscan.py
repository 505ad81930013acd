from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import re
import shutil
import stat
import subprocess
import tarfile
import tracemalloc
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blobdir.errors import CompressedTarError, DamagedTarError, TarError
from blobdir.tarscan import TarTable, member_before, scan_tar
from blobdir.tarscan.header import full_name, name_columns
from blobdir.tarscan.pax import MTIME_MAX_NS, MTIME_MIN_NS, mtime_ns

from .tarscan_cases import (
    BLOCK,
    END,
    NO_MAGIC,
    OLD_GNU,
    base256,
    header,
    member,
    octal,
    padded,
    pax,
    put,
    record,
    tarfile_rows,
    with_checksum,
)

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


@dataclass
class Bytes:
    """An archive in memory, and a count of what was read of it."""

    data: bytes
    path: str = "memory.tar"
    calls: int = 0
    read: int = 0

    @property
    def size(self) -> int:
        return len(self.data)

    def read_at(self, start: int, n: int) -> bytes:
        self.calls += 1
        self.read += n
        return self.data[start : start + n]


def scan(data: bytes) -> TarTable:
    return scan_tar(Bytes(data))


def names(table: TarTable) -> list[bytes]:
    return [table.name(i) for i in range(len(table))]


def check_columns(table: TarTable) -> None:
    n = len(table)
    assert table.name_start.shape == (n + 1,)
    assert table.name_start.dtype == table.start.dtype == table.end.dtype == table.mtime_ns.dtype == np.int64
    assert table.mode.dtype == np.uint16 and table.arena.dtype == np.uint8
    assert len(table.end) == len(table.mtime_ns) == len(table.mode) == n
    assert len(table.arena) == table.name_start[-1] and table.name_start[0] == 0
    assert (table.arena[table.name_start[1:] - 1] == 0).all()
    assert (table.start <= table.end).all() and (table.end <= table.size).all()


def check_as_tarfile(data: bytes, table: TarTable) -> None:
    check_columns(table)
    rows = tarfile_rows(data)
    assert names(table) == [row.name for row in rows]
    assert table.start.tolist() == [row.start for row in rows]
    assert table.end.tolist() == [row.end for row in rows]
    assert table.mode.tolist() == [row.mode for row in rows]
    # tarfile's floats have a resolution of 240 ns in this century, and less later.
    for ours, row in zip(table.mtime_ns.tolist(), rows, strict=True):
        assert abs(ours - row.mtime * 1e9) <= max(512, abs(row.mtime) * 1e-6)


# Archives made by Python's tarfile

name_part = st.one_of(
    st.text("abc.-_ ", min_size=1, max_size=8),
    st.text("äß漢🙂é", min_size=1, max_size=6),
    st.text("ab\udcff\udc80", min_size=1, max_size=5),
    st.integers(90, 130).map(lambda n: "l" * n),
).filter(lambda part: part.strip(".") != "")
member_names = st.one_of(
    st.lists(name_part, min_size=1, max_size=4).map("/".join),
    st.lists(name_part, min_size=1, max_size=2).map(lambda parts: "./" + "/".join(parts)),
    st.sampled_from(["same", "dir/same"]),
)


@dataclass(frozen=True)
class Spec:
    kind: bytes
    name: str
    size: int
    mtime: float
    mode: int
    target: int


specs = st.builds(
    Spec,
    kind=st.sampled_from([b"0", b"0", b"0", b"\0", b"7", b"5", b"1", b"2", b"6"]),
    name=member_names,
    size=st.integers(0, 2000),
    mtime=st.one_of(st.integers(0, 2**33 - 1), st.floats(0, 4e9), st.just(1.5e-5)),
    mode=st.integers(0, 0o7777),
    target=st.integers(0, 50),
)


def build(members: list[Spec], tar_format: int) -> bytes:
    out = io.BytesIO()
    earlier: list[str] = []
    with tarfile.open(fileobj=out, mode="w", format=tar_format, encoding="utf-8", errors="surrogateescape") as tar:
        for spec in members:
            # A folder of a file's name would be what a link to the file names.
            info = tarfile.TarInfo(spec.name + "/folder" * (spec.kind == b"5"))
            # tarfile takes a long name for a folder if its hundredth byte is a slash.
            long = len(os.fsencode(spec.name)) > 100
            info.type = b"0" if spec.kind == b"\0" and long else spec.kind
            info.mtime, info.mode = spec.mtime, spec.mode  # type: ignore[assignment]
            if spec.kind == b"1":
                if not earlier:
                    continue
                info.linkname = earlier[spec.target % len(earlier)]
            if spec.kind == b"2":
                info.linkname = "anywhere"
            if spec.kind in (b"0", b"\0", b"7"):
                info.size = spec.size
            try:
                tar.addfile(info, io.BytesIO(b"\xa5" * info.size))
            except ValueError:  # ustar can't hold the name
                continue
            if spec.kind != b"5":
                earlier.append(spec.name)
    return out.getvalue()


@settings(max_examples=300, deadline=None)
@given(st.lists(specs, max_size=12), st.sampled_from(FORMATS))
@example([Spec(b"0", "p" * 120 + "/" + "n" * 100, 5, 1.0, 0o600, 0)], tarfile.USTAR_FORMAT)
def test_finds_what_tarfile_finds(members: list[Spec], tar_format: int) -> None:
    data = build(members, tar_format)
    check_as_tarfile(data, scan(data))


@pytest.mark.parametrize("tar_format", FORMATS)
def test_many_members_of_all_sizes_as_tarfile(tar_format: int, tmp_path: Path) -> None:
    """More headers than one chunk holds, and both kinds of window."""
    rng = random.Random(tar_format)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tar_format) as tar:
        for i in range(5000):
            info = tarfile.TarInfo(f"{'deep/' * rng.choice([0, 0, 25])}{i:05d}.png")
            info.size = rng.choice([0, 1, 511, 512, 513, 4000, 200_000 if rng.random() < 0.1 else 7])
            info.mtime = rng.choice([i, i + 0.5])  # type: ignore[assignment]
            info.mode = rng.choice([0o644, 0o600, 0o755])
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    path = tmp_path / "many.tar"
    path.write_bytes(out.getvalue())
    table = scan_tar(path)
    assert len(table) == 5000 and table.warnings == ()
    check_as_tarfile(out.getvalue(), table)


# Archives made by GNU tar

GNU_TAR = shutil.which("tar")


def gnu_tar(folder: Path, *options: str) -> bytes:
    assert GNU_TAR is not None, "these tests need the tar program"
    target = folder.parent / "made.tar"
    subprocess.run([GNU_TAR, "-cf", target, *options, "-C", folder, "."], check=True)
    return target.read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    for i, size in enumerate([0, 1, 512, 513, 5000]):
        (root / "sub" / f"file {i}.bin").write_bytes(bytes([i + 1]) * size)
        os.utime(root / "sub" / f"file {i}.bin", ns=(0, 1_700_000_000_123_456_789 + i))
    (root / "umlaut ä").write_bytes(b"1")
    (root / "secret").write_bytes(b"2")
    (root / "secret").chmod(0o4711)
    os.link(root / "secret", root / "zz hard")
    return root


@pytest.mark.parametrize("tar_format", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_gnu_tar(folder: Path, tar_format: str) -> None:
    if tar_format != "v7":
        long = folder / ("d" * 90) / ("e" * 60)
        long.mkdir(parents=True)
        (long / ("n" * 80)).write_bytes(b"long")
        if tar_format != "ustar":  # which has 100 bytes for what a link names
            os.link(long / ("n" * 80), long / "zz linked")
        (folder / "symlink").symlink_to("secret")
    data = gnu_tar(folder, f"--format={tar_format}")
    table = scan(data)
    check_as_tarfile(data, table)
    assert len(table) == {"v7": 8, "ustar": 9}.get(tar_format, 10)
    contents = {table.name(i): data[table.start[i] : table.end[i]] for i in range(len(table))}
    assert contents[b"./sub/file 4.bin"] == b"\5" * 5000
    assert contents[b"./secret"] == contents[b"./zz hard"] == b"2"
    if tar_format == "posix":
        assert 1_700_000_000_123_456_793 in table.mtime_ns.tolist()
    assert [w for w in table.warnings if "symbolic" in w] == (
        [] if tar_format == "v7" else [f"left out 1 symbolic link: './symlink' at byte {table.left_out[0].position}"]
    )


def test_gnu_incremental_headers_have_no_prefix(folder: Path) -> None:
    """Old GNU headers keep times where ustar has the prefix; Python's tarfile takes them for a folder."""
    data = gnu_tar(folder, "--format=gnu", f"--listed-incremental={folder.parent / 'snapshot'}")
    table = scan(data)
    assert b"./secret" in names(table) and len(table) == 8
    assert table.warnings == ()


@pytest.mark.parametrize(
    "options", [["gnu"], ["oldgnu"], *(["posix", f"--sparse-version={v}"] for v in ("0.0", "0.1", "1.0"))]
)
def test_sparse_members_are_left_out_by_name(folder: Path, options: list[str]) -> None:
    """Their maps may take blocks of their own, before the data."""
    with open(folder / "holes.bin", "wb") as file:
        for i in range(40):
            file.seek(i << 20)
            file.write(b"data")
    data = gnu_tar(folder, "--sparse", f"--format={options[0]}", *options[1:])
    table = scan(data)
    assert len(table) == 8 and b"./zz hard" in names(table)
    (left,) = table.left_out
    assert left.name == b"./holes.bin" and data[left.position + 257 :].startswith(b"ustar")
    (warning,) = table.warnings
    assert "holes.bin" in warning and "--sparse" in warning and f"byte {left.position}" in warning


# Single fields


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


# Extended headers


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
    with pytest.raises(DamagedTarError, match="longer than the archive"):
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


# Kinds of members


def test_hard_links() -> None:
    data = b"".join(
        [
            member(b"./a", b"one"),
            member(b"b", kind=b"1", link=b"a"),
            member(b"a", b"two"),
            member(b"c", kind=b"1", link=b"b"),
            member(b"d", kind=b"1", link=b"a", mode=b"0000600\0", mtime=5),
            member(b"@LongLink", b"a\0", kind=b"K") + member(b"e", kind=b"1", link=b"nonsense"),
            pax((b"linkpath", b"e"), (b"path", b"f" * 200)) + member(b"f", kind=b"1", link=b"nonsense"),
            END,
        ]
    )
    table = scan(data)
    contents = {table.name(i): data[table.start[i] : table.end[i]] for i in range(len(table))}
    assert contents == {
        b"./a": b"one",
        b"b": b"one",
        b"a": b"two",
        b"c": b"one",
        b"d": b"two",
        b"e": b"two",
        b"f" * 200: b"two",
    }
    check_as_tarfile(data, table)


def test_a_hard_link_has_no_data_whatever_its_size_says() -> None:
    data = member(b"a", b"12345") + header(b"b", 5, kind=b"1", link=b"a") + member(b"c", b"x") + END
    check_as_tarfile(data, scan(data))


@pytest.mark.parametrize("kind", [b"1", b"2", b"5"])
@pytest.mark.parametrize("has_data", [True, False])
@pytest.mark.parametrize("end", [member(b"c", b"x") + END, END, b""], ids=["before another", "last", "without an end"])
def test_a_header_decides_whether_what_needs_no_data_has_some(kind: bytes, has_data: bool, end: bytes) -> None:
    """`pax -o linkdata` gives hard links data; star says their size, and gives them none. So does the end."""
    odd = header(b"b", 5, kind=kind, link=b"a") + (padded(b"12345") if has_data else b"")
    data = member(b"a", b"12345") + odd + end
    table = scan(data)
    assert names(table) == [b"a", *[b"b"] * (kind == b"1"), *[b"c"] * (len(end) > len(END))]
    assert all(data[table.start[i] : table.end[i]] == b"12345" for i in range(1 + (kind == b"1")))


@pytest.mark.parametrize("target", [b"later", b"me", b"missing", b"folder", b""])
def test_hard_link_to_nothing(target: bytes) -> None:
    data = member(b"folder/", kind=b"5") + member(b"a") + member(b"me", kind=b"1", link=target) + member(b"later") + END
    table = scan(data)
    assert names(table) == [b"a", b"later"]
    assert table.warnings == ("left out 1 hard link to what isn't a member before it: 'me' at byte 1024",)


@pytest.mark.parametrize("kind", [b"0", b"\0", b"7"])
@pytest.mark.parametrize("way", ["header", "pax", "gnu", "prefix"])
@pytest.mark.parametrize("data", [b"", b"dir"])
def test_a_slash_at_the_end_makes_a_folder(kind: bytes, way: str, data: bytes) -> None:
    name = {"header": b"imgs/", "prefix": b"/"}.get(way, b"other")
    before = {"pax": pax((b"path", b"imgs/")), "gnu": member(b"@", b"imgs/\0", kind=b"L")}.get(way, b"")
    folder = before + member(name, data, kind=kind, prefix=b"up" if way == "prefix" else b"")
    links = member(b"l", kind=b"1", link=b"imgs") + member(b"m", kind=b"1", link=b"imgs/a")
    table = scan(folder + member(b"imgs/a", b"1") + links + END)
    assert names(table) == [b"imgs/a", b"m"] and [left.name for left in table.left_out] == [b"l"]
    assert table.start[0] == table.start[1]


def test_hard_links_to_skipped_members_are_skipped() -> None:
    data = b"".join(
        [
            member(b"s", kind=b"2", link=b"a"),
            member(b"a", b"1"),
            member(b"t", kind=b"1", link=b"s"),
            member(b"u", kind=b"1", link=b"t"),
            member(b"s", b"22"),
            member(b"v", kind=b"1", link=b"s"),
            END,
        ]
    )
    table = scan(data)
    assert names(table) == [b"a", b"s", b"v"]
    assert table.warnings == (
        "left out 1 symbolic link: 's' at byte 0",
        "left out 2 hard links to what was left out: 't' at byte 1536, 'u' at byte 2048",
    )
    check_as_tarfile(data, table)


def test_other_types_are_skipped_with_a_warning() -> None:
    data = b"".join(
        [
            member(b"vol", kind=b"V"),
            *(member(b"l%d" % i, kind=b"2", link=b"x") for i in range(5)),
            member(b"tty", kind=b"3"),
            member(b"sda", kind=b"4"),
            member(b"pipe\x1b", kind=b"6"),
            member(b"acl", b"data" * 200, kind=b"A"),
            member(b"file", b"1"),
            END,
        ]
    )
    table = scan(data)
    assert names(table) == [b"file"]
    assert table.warnings == (
        "left out 5 symbolic links: 'l0' at byte 512, 'l1' at byte 1024, 'l2' at byte 1536, …",
        "left out 1 character device: 'tty' at byte 3072",
        "left out 1 block device: 'sda' at byte 3584",
        "left out 1 named pipe: 'pipe\\x1b' at byte 4096",
        "left out 1 member of a type that is no file's: 'acl' at byte 4608",
    )
    check_as_tarfile(data, table)


@pytest.mark.parametrize("kind", [b"8", b"9", b"Z", b"a", b"\xff", b" "])
def test_an_unknown_type_is_a_file(kind: bytes) -> None:
    """As POSIX says, and GNU tar and bsdtar have it."""
    table = scan(member(b"a", b"1", kind=kind) + member(b"b", b"2") + END)
    assert names(table) == [b"a", b"b"]
    before = member_before(member(b"a", b"1", kind=kind)[:BLOCK])
    assert before is not None and before.name == b"a"


def test_parts_of_other_volumes_are_left_out() -> None:
    table = scan(member(b"part", b"1", kind=b"M") + member(b"b", b"2") + END)
    assert names(table) == [b"b"] and "'part' at byte 0; make the archive again as a single one" in table.warnings[0]


def test_a_member_without_a_name() -> None:
    table = scan(member(b"a") + member(b"", b"1") + member(b"/", b"1") + member(b"b", b"2") + END)
    assert names(table) == [b"a", b"b"]
    assert table.warnings == ("left out 1 member without a name: '' at byte 512",)


# The end of the archive


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


BASE = b"".join(
    [
        member(b"a", b"1" * 600),
        pax((b"path", b"p" * 150), (b"mtime", b"1.5")),
        member(b"b", b"22"),
        pax((b"comment", b"c"), kind=b"g"),
        member(b"@LongLink", b"l" * 120 + b"\0", kind=b"L"),
        member(b"c", b"333", magic=OLD_GNU),
        member(b"d", kind=b"1", link=b"a"),
        member(b"e", kind=b"2", link=b"a"),
        END,
    ]
)


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


# Files and other sources


def test_shrinking_file(tmp_path: Path) -> None:
    """Cut by another process in the middle of the scan, at several places."""
    path = tmp_path / "shrinking.tar"
    data = member(b"m", b"x" * 3000) * 10_000 + END
    for left in (0, 100, 3584 * 6000, 3584 * 6000 + 700, len(data) - 10):
        path.write_bytes(data)

        def cut(done: int, left: int = left) -> None:
            if done < len(data):
                os.truncate(path, left)

        with pytest.raises(DamagedTarError, match="scan again"):
            scan_tar(path, progress=cut)


def test_progress_and_path_types(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    data = member(b"m", bytes(3000)) * 8000 + END
    path.write_bytes(data)
    seen: list[int] = []
    assert len(scan_tar(str(path), progress=seen.append)) == 8000
    assert seen == sorted(seen) and seen[-1] == len(data) and len(seen) >= 3
    assert len(scan_tar(path)) == 8000


def test_what_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan_tar(tmp_path / "missing.tar")
    with pytest.raises(IsADirectoryError):
        scan_tar(tmp_path)
    os.mkfifo(tmp_path / "pipe.tar")
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe.tar").st_mode)
    with pytest.raises(DamagedTarError, match="not a regular file"):
        scan_tar(tmp_path / "pipe.tar")


def test_a_source_with_short_answers() -> None:
    class Dribble(Bytes):
        def read_at(self, start: int, n: int) -> bytes:
            return super().read_at(start, min(n, 700))

    assert names(scan_tar(Dribble(BASE))) == names(scan(BASE))

    class Lies(Bytes):
        @property
        def size(self) -> int:
            return len(self.data) + 5000

    with pytest.raises(DamagedTarError, match="scan again"):
        scan_tar(Lies(member(b"a", b"1")))


def test_reads_little_more_than_headers_of_large_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.tar"
    with open(path, "wb") as file:
        for i in range(200):
            file.write(header(b"%d" % i, 1 << 20))
            file.seek(1 << 20, os.SEEK_CUR)
        file.write(END)
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: read.append(n) or pread(fd, n, at))
    assert len(scan_tar(path)) == 200
    assert sum(read) < 200 * BLOCK + (32 << 10)


def test_reads_small_members_in_long_stretches() -> None:
    source = Bytes(member(b"m", bytes(3000)) * 10_000 + END)
    scan_tar(source)
    assert source.calls < 20


def test_table_rejects_wrong_rows() -> None:
    table = scan(member(b"a") + END)
    assert len(table) == 1 and table.name(0) == b"a"
    for i in (-1, 1):
        with pytest.raises(IndexError):
            table.name(i)
