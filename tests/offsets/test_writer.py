"""What is written, and how."""

from __future__ import annotations

import os
import pickletools
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blobdir.errors import (
    BlobdirError,
    OffsetsConflictError,
    OffsetsNameError,
    OffsetsRangeError,
    OffsetsTypeError,
    UsageError,
)
from blobdir.offsets import OffsetsTable, encode_offsets, read_offsets, write_offsets, writer

COMPONENTS = st.binary(min_size=1, max_size=60).filter(
    lambda raw: not {0, 0x2F} & set(raw) and raw not in (b".", b"..")
)
NAMES = st.one_of(
    st.text("abcäß写🙂", min_size=1, max_size=20).map(str.encode),
    st.lists(COMPONENTS, min_size=1, max_size=7).map(b"/".join),
)
RANGES = st.tuples(st.integers(0, 63), st.integers(0, 63), st.integers(-1, 1)).map(
    lambda bits: (min(bits[:2]) and 2 ** min(bits[:2]) - 1, min(2 ** max(bits[:2]) + bits[2] + 1, 2**63 - 1))
)
ENTRIES = st.dictionaries(NAMES, RANGES, max_size=60).map(lambda found: [(k, *v) for k, v in found.items()])


@settings(max_examples=200, deadline=None)
@given(entries=ENTRIES, batch_size=st.integers(1, 70))
def test_reads_what_was_written(sdk, entries: list[tuple[bytes, int, int]], batch_size: int) -> None:
    table = OffsetsTable.from_entries(entries)
    data = encode_offsets(table, batch_size=batch_size)
    assert data == encode_offsets(table, batch_size=batch_size)
    assert read_offsets(data) == table
    assert list(table.entries()) == entries
    lists = sdk.load_all(data)
    assert all(len(batch) == batch_size for batch in lists[:-1])
    found = [(info.name, info.offset_start, info.offset_end) for batch in lists for info in batch]
    assert found == [(os.fsdecode(name), start, end) for name, start, end in entries]


@settings(max_examples=200, deadline=None)
@given(entries=ENTRIES, protocol=st.integers(0, 5), python=st.booleans(), bulk=st.booleans())
def test_reads_what_the_library_wrote(sdk, entries: list[tuple[bytes, int, int]], protocol, python, bulk) -> None:
    objects = [sdk.Info(os.fsdecode(name), start, end) for name, start, end in entries]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blobdir.offsets.reader._BULK_BYTES", 0 if bulk else 1 << 30)
        assert list(read_offsets(sdk.dumps(objects, protocol, python=python)).entries()) == entries


def opcodes(data: bytes) -> list[tuple[str, object]]:
    return [(opcode.name, argument) for opcode, argument, _ in pickletools.genops(data) if opcode.name != "FRAME"]


@pytest.mark.parametrize("count", [0, 1, 2, 999, 1000, 1001, 1002, 2001, 2500])
def test_same_opcodes_as_the_library(sdk, count: int) -> None:
    entries = [(f"dir{i % 3}/img_{i}.jpg", 70 * i * i, 70 * i * i + 2**33 * (i % 2)) for i in range(count)]
    expected = sdk.dumps([sdk.Info(*entry) for entry in entries])
    assert opcodes(encode_offsets(OffsetsTable.from_entries(entries))) == opcodes(expected)


def test_lists_of_ten_thousand(sdk) -> None:
    table = OffsetsTable.from_entries((f"{i}.jpg", i, i + 1) for i in range(25_000))
    assert [len(batch) for batch in sdk.load_all(encode_offsets(table))] == [10_000, 10_000, 5_000]


@pytest.mark.parametrize(
    ("entries", "error"),
    [
        ([("..", 0, 1)], OffsetsNameError),
        ([("a\0b", 0, 1)], OffsetsNameError),
        ([("\ud800", 0, 1)], OffsetsNameError),
        ([(b"a" * 256, 0, 1)], OffsetsNameError),
        ([("a", 1, 0)], OffsetsRangeError),
        ([("a", -1, 0)], OffsetsRangeError),
        ([("a", 0, 2**63)], OffsetsRangeError),
        ([("a", 0, True)], OffsetsTypeError),
        ([("a", 0, 1.0)], OffsetsTypeError),
        ([(None, 0, 1)], OffsetsTypeError),
        ([("a", 0, 1), ("a", 1, 2)], OffsetsConflictError),
    ],
)
def test_refuses(tmp_path: Path, entries: list[tuple[object, object, object]], error: type[BlobdirError]) -> None:
    (tmp_path / "a_offsets.pkl").write_bytes(b"before")
    with pytest.raises(error):
        write_offsets(tmp_path / "a_offsets.pkl", [("good", 0, 1), *entries])
    assert (tmp_path / "a_offsets.pkl").read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a_offsets.pkl"]


def test_refuses_a_table_that_was_made_wrong(tmp_path: Path) -> None:
    good = OffsetsTable.from_entries([("a", 5, 9)])
    with pytest.raises(OffsetsRangeError):
        write_offsets(tmp_path / "x", OffsetsTable(good.arena, good.name_start, good.end, good.start))
    with pytest.raises(UsageError):
        write_offsets(tmp_path / "x", good, batch_size=0)
    assert os.listdir(tmp_path) == []


def test_exact_repeats_are_written_once() -> None:
    table = OffsetsTable.from_entries([("a", 5, 9), ("b", 9, 9), ("a", 5, 9)])
    assert table.repeats == 1
    assert list(read_offsets(encode_offsets(table)).entries()) == [(b"a", 5, 9), (b"b", 9, 9)]


@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: type[BaseException]) -> None:
    path = tmp_path / "a_offsets.pkl"
    write_offsets(path, [("a", 5, 9)])
    before = path.read_bytes()

    def fail(*_: object) -> bytes:
        raise error

    if step == "write":
        monkeypatch.setattr(writer, "_encode_list", fail)
    else:
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(error):
        write_offsets(path, [("b", 5, 9)])
    assert os.listdir(tmp_path) == ["a_offsets.pkl"]
    assert path.read_bytes() == before


def test_mode_and_links(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "real", tmp_path / "a_offsets.pkl"
    target.write_bytes(b"before")
    target.chmod(0o640)
    link.symlink_to(target)
    write_offsets(link, [("a", 5, 9)])
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert list(read_offsets(link).entries()) == [(b"a", 5, 9)]


def test_mode_of_a_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_offsets(tmp_path / "a_offsets.pkl", [("a", 5, 9)])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a_offsets.pkl").stat().st_mode) == 0o640


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_offsets(tmp_path / "none" / "a_offsets.pkl", [("a", 5, 9)])
