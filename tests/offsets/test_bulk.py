"""The bulk path gives what the machine alone gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blobdir.errors import OffsetsError
from blobdir.offsets import bulk, reader

# What a name must hold to look like a piece of a pickle. Bytes above 0x7f need two bytes in UTF-8, so the opcodes
# 0x81 and 0x94 come as the second bytes of letters.
PIECES = ["h\x03)", "\u0081", "\u0094", "}", "(", "h\x06", "\u008c", "h\x08K\x01", "h\tK\x02ub", "J", "é", "写", "a"]
NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.text("ab./\udcff\0", max_size=6),
    st.text("x", min_size=250, max_size=300),
    st.just("dir/" * 30 + "é" * 100),
)
OFFSETS = st.one_of(
    st.integers(0, 300),
    st.integers(60_000, 70_000),
    st.integers(2**31 - 2, 2**31 + 2),
    st.integers(-3, 2**64),
    st.sampled_from([2**39 - 1, 2**39, 2**63 - 1, 2**63, -(2**63)]),
    st.booleans(),
    st.just(1.5),
)
GOOD = st.tuples(st.integers(0, 2**33), st.integers(2**33, 2**63 - 1))


@st.composite
def files(draw: st.DrawFn, sdk) -> bytes:
    """A few pickles back to back, mostly regular."""
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        rows = draw(st.integers(1, 60))
        objects = [sdk.Info(f"{draw(st.integers(0, 99))}_{i}", 10 * i, 10 * i + 9) for i in range(rows)]
        for name in draw(st.lists(NAMES, max_size=6)):
            odd = sdk.Info(name, *draw(GOOD))
            if draw(st.integers(0, 5)) == 0:
                odd.offset_end = draw(OFFSETS)
            objects.insert(draw(st.integers(0, len(objects))), odd)
        if draw(st.booleans()):
            objects[draw(st.integers(0, len(objects) - 1))].extra = draw(st.sampled_from([None, 7, {"a": [1]}]))
        if draw(st.integers(0, 4)) == 0:
            objects += objects[3:10]
        value = tuple(objects) if draw(st.integers(0, 9)) == 0 else objects
        parts.append(sdk.dumps(value, draw(st.integers(0, 5)), python=draw(st.booleans())))
    return b"".join(parts)


def outcome(data: bytes, mode: str, *, fast: bool) -> object:
    try:
        table = reader._read(data, "x", mode, bulk=fast)
    except OffsetsError as error:
        return error.reason, error.position, error.entries_before, str(error)
    return list(table.entries()), table.repeats


@pytest.fixture(scope="module", autouse=True)
def eager() -> object:
    """Take the bulk path for single objects too, and end blocks often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bulk, "_SHORTEST_RUN", 1)
        patch.setattr(bulk, "_BLOCK_BYTES", 300)
        yield


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_same_as_the_machine(sdk, data: st.DataObject) -> None:
    file = data.draw(files(sdk))
    mode = data.draw(st.sampled_from(["error", "skip", "replace", "rename"]))
    assert outcome(file, mode, fast=True) == outcome(file, mode, fast=False)


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_same_when_damaged(sdk, data: st.DataObject) -> None:
    file = bytearray(data.draw(files(sdk)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(file) - 1))
        kind = data.draw(st.integers(0, 3))
        if kind == 0:
            file[at] = data.draw(st.sampled_from(b"()}a0e12hjqrub.\x81\x94\x95\x8c\x00\xff"))
        elif kind == 1:
            file[at:at] = data.draw(st.binary(min_size=1, max_size=3))
        elif kind == 2:
            del file[at : at + data.draw(st.integers(1, 40))]
            file += b"." * (not file)
        else:
            low = data.draw(st.integers(0, len(file) - 1))
            file[at:at] = file[low : low + data.draw(st.integers(1, 80))]
    found = outcome(bytes(file), "error", fast=True)
    assert found == outcome(bytes(file), "error", fast=False)


REGULAR = b"h\x03)\x81\x94}\x94(h\x06\x8c\x02%02d\x94h\x08K\x01h\x09K\x02ub"


def hand_made(sdk, tail: bytes) -> bytes:
    """A list whose first object is pickled by the library, followed by ten regular objects and `tail`."""
    first = sdk.dumps([sdk.Info("first", 1, 2), sdk.Info("second", 1, 2)])
    begin = b"\x80\x04" + first[11 : first.index(b"h\x03)")]
    return begin + b"".join(REGULAR % i for i in range(10)) + tail


@pytest.mark.parametrize(
    "tail",
    [
        b"e.", b"l.", b"0e.", b"000e.", b"2e.", b"t.", b"\x85e.", b"\x86e.", b"\x87e.", b"1.",
        b"1]\x94h\x0ca.", b"h\x0ae.",
        b"h\x0be.", b"h\x0ce.", b"h\x0a}h\x06\x8c\x01xsbe.", b"}\x8c\x04name\x8c\x01xsbe.", b"\x94h\x28e.", b"h\x28e.",
        b"q\x0ah\x0ae.", b"q\xffh\xffe.", b"r\xff\xff\xff\xff" + REGULAR % 77 + b"e.", b"a.", b"se.", b"d.", b"ue.",
        b"\x93",
        b"\x81e.", b"R.", b"b.", b"o.", b"(e.", b"(ee.", b"(1e.", b"((le.", b".", b"e0.", b"eh\x0aa.", b"eh\x0ch\x0ba.",
        b"\x95\x01\x00\x00\x00\x00\x00\x00\x00e.", b"\x95\xff\x00\x00\x00\x00\x00\x00\x00e.", b"\x90.", b"\x91.", b"Q.",
        b"\x92.", b"N" + REGULAR % 78 + b"e.", b"0" + REGULAR % 78 + b"e.", b"(" + REGULAR % 78 + b"le.",
        b"](" + REGULAR % 78 + b"ee.", b"N0" + REGULAR % 78 + b"e.", b"K\x01q\x060" + REGULAR % 78 + b"e.",
        b"K\x01q\x030" + REGULAR % 78 + b"e.", b"\x8c\x05indexq\x280" + b"h\x28e.",
    ],
)  # fmt: skip
def test_whatever_comes_after_a_run(sdk, tail: bytes) -> None:
    file = hand_made(sdk, tail)
    assert outcome(file, "error", fast=True) == outcome(file, "error", fast=False)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_takes_the_bulk_path(sdk, protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = [sdk.Info(f"bild_{i}_ä.jpg", i * 4608, i * 4608 + 4000) for i in range(5000)]
    taken = []
    run_at = bulk.BulkScanner.run_at

    def spy(self: bulk.BulkScanner, position: int, memo: list[object]) -> object:
        run = run_at(self, position, memo)
        taken.append(0 if run is None else run.high - run.low)
        return run

    monkeypatch.setattr(bulk, "_BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr(bulk.BulkScanner, "run_at", spy)
    table = reader._read(sdk.dumps(objects, protocol), "x", "error", bulk=True)
    assert [info.name for info in table] == [info.name for info in objects]
    assert sum(taken) > 4800


def test_overlapping_names_take_no_memory(sdk) -> None:
    """Heads without end, all of which claim the same tail."""
    head = b"h\x03)\x81\x94}\x94(h\x06X\xff\x0f\x00\x00"
    window = memoryview(bytearray(head * 3000 + b"\x94h\x08K\x01h\x09K\x02ub" * 3000))
    block = bulk.scan_block(np.frombuffer(window, np.uint8), 0)
    assert len(block.arena) <= len(window)
