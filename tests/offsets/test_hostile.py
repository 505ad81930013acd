"""Files made to do harm: only typed errors come out, and time and memory stay in proportion to the file."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blobdir.errors import CorruptOffsetsError, OffsetsConflictError, OffsetsError
from blobdir.offsets import bulk, reader
from blobdir.offsets.machine import Machine

PICKLES = sorted((Path(__file__).parents[1] / "data" / "pickles").glob("*.pkl"))
INFO = b"\x8c\x19supervisely.api.image_api\x8c\rBlobImageInfo\x93"
OPCODES = (
    b"()0123BCFGIJKLMNPQRSTUVXabcdeghijlopqrstu}]\x80\x81\x85\x86\x87\x88\x8a\x8c\x8d\x8f\x90\x91\x92\x93\x94\x95."
)
TOKENS = st.one_of(
    st.sampled_from([bytes([code]) for code in OPCODES]),
    st.sampled_from([INFO, b"\x8c\x01a", b"\x8c\x04name", b"K\x05", b"h\x00", b"q\x00", b"ccopyreg\n_reconstructor\n"]),
    st.sampled_from(
        [b"cbuiltins\nobject\n", b"}\x8c\x01aK\x00K\x01\x86s", b"p9\n", b"g0\n", b"I1\n", b"S'a'\n", b"\n"]
    ),
    st.binary(min_size=1, max_size=3),
)


def read(data: bytes, *, fast: bool = True) -> object:
    """Read, let nothing but an `OffsetsError` out, and return what happened."""
    try:
        table = reader._read(data, "x", "error", bulk=fast)
    except OffsetsError as error:
        return type(error)
    return list(table.entries())


@settings(max_examples=500, deadline=None)
@given(data=st.binary(max_size=60))
@example(b"")
def test_any_bytes(data: bytes) -> None:
    assert read(data) == read(data, fast=False)


@settings(max_examples=1500, deadline=None)
@given(tokens=st.lists(TOKENS, max_size=25))
def test_any_opcodes(tokens: list[bytes]) -> None:
    data = b"".join(tokens) + b"."
    assert read(data) == read(data, fast=False)


@settings(max_examples=1000, deadline=None)
@given(file=st.sampled_from(PICKLES), data=st.data())
def test_mutated_files(file: Path, data: st.DataObject) -> None:
    raw = bytearray(file.read_bytes()[:2000])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw)))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.one_of(st.binary(max_size=3), TOKENS))
    assert read(bytes(raw)) == read(bytes(raw), fast=False)


def peak(data: bytes) -> int:
    """Bytes that reading takes at most."""
    read(data[:100])
    tracemalloc.start()
    try:
        read(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


MANY = 20_000
NAME = b"X" + (4000).to_bytes(4, "little") + b"n" * 200 + b"/nn" * 1266 + b"nn\x94"
SMALL = b"\x80\x04]\x94(" + INFO + b"\x94\x8c\x04name\x94\x8c\x0coffset_start\x94\x8c\noffset_end\x94"
BOMBS = {
    "long binput": b"]r\xff\xff\xff\xff.",
    "long binputs": b"]" + b"".join(b"r" + (i * 200_003).to_bytes(4, "little") for i in range(MANY)) + b".",
    "string": b"X\xff\xff\xff\x7f",
    "bytes": b"\x8e" + (2**40).to_bytes(8, "little") + b"x.",
    "bytearray": b"\x96" + (2**62).to_bytes(8, "little") + b"x.",
    "long": b"\x8b\xff\xff\xff\x7f.",
    "frame": b"\x95" + (2**62).to_bytes(8, "little") + b"x.",
    "lists": b"]" * MANY + b"a" * (MANY - 1) + b".",
    "dicts": b"}" * MANY,
    "marks": b"(" * MANY,
    "dups": b"]" + b"2" * MANY,
    "memo": b"]" + b"\x94" * MANY,
    "objects": INFO + b"\x94" + b"h\x00)\x81" * MANY,
    "tuples": b"]" + b"\x85" * MANY + b".",
    "digits": b"I" + b"9" * 10**6 + b"\n.",
    "one object over and over": b"](" + INFO + NAME + b"K\x01K\x02\x87R\x94" + b"h\x01" * MANY + b"e.",
    "one dictionary over and over": (
        b"](}\x94("
        + b"".join(b"X\x04\0\0\0%04dK\x01K\x02\x86" % i for i in range(5000))
        + b"u"
        + b"h\x00" * MANY
        + b"e."
    ),
    "one name over and over": (
        SMALL + NAME + b"00000" + b"".join(b"(h\x01h\x05K%cK\xffo" % (i % 250) for i in range(MANY)) + b"e."
    ),
    "one name and one range": SMALL + NAME + b"00000" + b"(h\x01h\x05K\x01K\xffo" * MANY + b"e.",
    "claims of one tail": (
        SMALL
        + b"0000"
        + b"h\x01)\x81\x94}\x94(h\x02X\xff\x0f\x00\x00" * MANY
        + b"\x94h\x03K\x01h\x04K\x02ub" * 300
    ),
    "newobj bytes": b"\x81" * MANY,
    "candidates": SMALL + b"h\x01)\x81\x94}\x94(" * MANY,
    "classes": SMALL + b"h\x01" * MANY,
}  # fmt: skip


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_memory_is_in_proportion(data: bytes) -> None:
    assert peak(data) < 200 * len(data) + (20 << 20)


def test_open_marks_are_bounded() -> None:
    assert peak(BOMBS["marks"]) < 1 << 20


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_bombs_give_the_same_without_the_bulk_path(data: bytes) -> None:
    assert read(data) == read(data, fast=False)


def test_a_dictionary_is_expanded_once() -> None:
    table = reader._read(BOMBS["one dictionary over and over"], "x", "error", bulk=True)
    assert len(table) == 5000
    assert table.repeats == 5000 * MANY


def test_shared_names() -> None:
    """What the last bombs are about does happen."""
    with pytest.raises(OffsetsConflictError):
        reader._read(BOMBS["one name over and over"], "x", "error", bulk=True)
    assert len(reader._read(BOMBS["one name over and over"], "x", "skip", bulk=True)) == 1
    for mode in ("replace", "rename"):  # written out, the names would take 400 times what the file does
        with pytest.raises(CorruptOffsetsError, match="far more room"):
            reader._read(BOMBS["one name over and over"], "x", mode, bulk=True)
    table = reader._read(BOMBS["one name and one range"], "x", "error", bulk=True)
    assert (len(table), table.repeats) == (1, MANY - 1)


class CountingHandlers(list):
    """The machine's table, counting how often it is used."""

    used = 0

    def __getitem__(self, opcode: int) -> object:
        self.used += 1
        return super().__getitem__(opcode)


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_steps_are_in_proportion(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """No clock: the opcodes that are run, and the bytes that the bulk path looks at, are counted."""
    from blobdir.offsets import machine

    handlers = CountingHandlers(machine.HANDLERS)
    looked_at = []
    scan_block = bulk.scan_block

    def spy(source: object, first: int) -> bulk.Block:
        block = scan_block(source, first)
        looked_at.append((first, block.limit))
        return block

    monkeypatch.setattr(machine, "HANDLERS", handlers)
    monkeypatch.setattr(bulk, "scan_block", spy)
    monkeypatch.setattr(bulk, "_BLOCK_BYTES", 4096)
    read(data)
    assert handlers.used <= len(data)
    assert all(limit <= first for (_, limit), (first, _) in pairwise(looked_at))


def test_nesting_does_not_recurse() -> None:
    value, position = Machine(b"]" * 10**5 + b"a" * (10**5 - 1) + b".").load(0)
    assert (type(value), position) == (list, 2 * 10**5)
