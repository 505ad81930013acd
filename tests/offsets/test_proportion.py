"""Time and memory stay in proportion to the file, whatever is repeated in it. No clock: what is done is counted."""

from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blobdir.errors import CorruptOffsetsError, OffsetsError
from blobdir.offsets import bulk, names, reader
from blobdir.offsets.streaming import iter_offsets

OFFSETS = str(Path(reader.__file__).parent)


def text(value: bytes) -> bytes:
    return b"\x8c%c" % len(value) + value


BEGIN = (
    b"\x80\x04]\x94(" + text(b"supervisely.api.image_api") + b"\x94" + text(b"BlobImageInfo") + b"\x94\x93\x94)\x81\x94"
    b"}\x94(" + text(b"name") + b"\x94" + text(b"n") + b"\x94" + text(b"offset_start") + b"\x94K\x00"
    + text(b"offset_end") + b"\x94K\x01ub"
)  # fmt: skip


def run(name: object, length: int = 4) -> bytes:
    """Objects that the bulk path takes together."""
    return b"".join(
        b"h\x03)\x81\x94}\x94(h\x06" + text(b"%s_%d" % (str(name).encode(), k)) + b"\x94h\x08K\x00h\x09K\x01ub"
        for k in range(length)
    )


LONG = b"X\x00\x00\x08\x00" + b"n" * (1 << 19)
SHARED = b"(h\x03X\xd0\x07\x00\x00" + b"n" * 2000 + b"q\x40K\x01K\x02o"
GROWING: dict[str, Callable[[int], bytes]] = {
    "a run, its last object doubled and dropped": lambda n: BEGIN + b"".join(run(i) + b"20" for i in range(n)) + b"e.",
    "a run, its last object in a tuple": lambda n: BEGIN + b"".join(run(i) + b"\x850" for i in range(n)) + b"e.",
    "a run, its last object remembered": lambda n: BEGIN + b"".join(run(i) + b"\x94" for i in range(n)) + b"e.",
    "a run, given no attributes": lambda n: BEGIN + b"".join(run(i) + b"Nb" for i in range(n)) + b"e.",
    "runs, single objects above them": lambda n: (
        BEGIN + run("first") + b"".join(b"N" + run(i) + b"200" for i in range(n)) + b"N" * 5 + b"t."
    ),
    "a long run, and each object recalled": lambda n: (
        BEGIN + run("first", 4 * n) + b"".join(b"j" + (11 + i).to_bytes(4, "little") for i in range(12 * n)) + b"e."
    ),
    "runs in lists in lists": lambda n: BEGIN + b"".join(b"](" + run(i) + b"e" for i in range(n)) + b"e.",
    "open marks with runs": lambda n: BEGIN + b"".join(b"(" + run(i) + b"21" for i in range(n)) + b"e.",
    "a list in itself": lambda n: b"]q\x00" + b"h\x00a" * n + b".",
    "a list of itself over and over": lambda n: b"]q\x00(" + b"h\x00" * n + b"e.",
    "one memo index": lambda n: b"](" + b"Nq\x00" * n + b"e.",
    "memo indexes far apart": lambda n: (
        b"](" + b"".join(b"Nr" + (i << 17).to_bytes(4, "big") for i in range(n)) + b"e."
    ),
    "the same digits in memo indexes": lambda n: (
        b"](" + b"".join(b"Nr" + (i << 18 & 0xFFFFFFFF).to_bytes(4, "little") for i in range(n)) + b"e."
    ),
    "tuples in tuples": lambda n: b"N" + b"\x85" * n + b".",
    "pairs of pairs": lambda n: b"N" + b"2\x86" * n + b".",
    "a dictionary in itself": lambda n: b"}q\x00" + b"h\x00h\x00s" * n + b".",
    "keys that are numbers": lambda n: (
        b"}(" + b"".join(b"J" + (i << 16).to_bytes(4, "big") + b"N" for i in range(n)) + b"u."
    ),
    "pickles without an entry": lambda n: b"]." * n,
    "frames in frames": lambda n: b"\x95\0\0\0\0\0\0\0\0" * n + b"].",
    "lines": lambda n: b"](" + b"I1\n" * n + b"e.",
    "one long name": lambda n: (
        BEGIN + SHARED + b"".join(b"(h\x03h\x40K\x01K%co" % (2 + i % 200) for i in range(n)) + b"e."
    ),
    "dictionaries that share their ranges": lambda n: (
        b"](K\x01K\x02\x86q\x000" + b"".join(b"}" + text(b"%d" % i) + b"h\x00s" for i in range(n)) + b"e."
    ),
    "attributes set again and again": lambda n: BEGIN + b"}b" * n + b"e.",
}  # fmt: skip


def outcome(data: bytes, mode: Any = "error", *, fast: bool = True) -> object:
    try:
        return list(reader._read(data, "x", mode, bulk=fast).entries())
    except OffsetsError as error:
        return type(error)


def lines_of(act: Callable[[], object]) -> int:
    """How many lines of the reader are run."""
    count = 0

    def in_offsets(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return in_offsets

    def trace(frame: FrameType, _event: str, _argument: object) -> Any:
        return in_offsets if frame.f_code.co_filename.startswith(OFFSETS) else None

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return count


def peak_of(act: Callable[[], object]) -> int:
    """Bytes that something takes at most."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("mode", ["error", "rename", "replace"])
@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING)
def test_four_times_the_file_is_four_times_the_work(make: Callable[[int], bytes], mode: str) -> None:
    small, large = (lines_of(lambda n=n: outcome(make(n), mode)) for n in (60, 240))
    assert large < 4.5 * small + 3000


@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING)
def test_memory(make: Callable[[int], bytes]) -> None:
    data = make(4000)
    assert peak_of(lambda: outcome(data)) < 120 * len(data) + (20 << 20)


@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING)
def test_the_same_without_the_bulk_path(make: Callable[[int], bytes]) -> None:
    assert outcome(make(60)) == outcome(make(60), fast=False)


@pytest.mark.parametrize("mode", ["error", "skip", "replace", "rename"])
def test_a_name_is_not_written_out_for_each_object(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a MiB of name and ten thousand objects that have it: to encode it for each takes 5 GB."""
    encoded = 0

    def counting(name: str) -> bytes:
        nonlocal encoded
        encoded += len(name)
        return names.to_bytes(name)

    monkeypatch.setattr(reader, "to_bytes", counting)
    begin = BEGIN.removesuffix(b"ub") + b"ub0(h\x03" + LONG + b"q\x40K\x01K\x02o"
    data = begin + b"".join(b"(h\x03h\x40K\x01M%b" % i.to_bytes(2, "little") + b"o" for i in range(2, 10_002)) + b"e."
    peak = peak_of(lambda: outcome(data, mode))
    assert encoded < 20 * len(data) + (2 << 20)
    assert peak < 60 * len(data) + (20 << 20)


# ------------------------------------------------------------------------------------------------- programs at random

PIECES = st.sampled_from([
    b"", b"N", b"]", b"}", b")", b"(", b"0", b"1", b"2", b"\x85", b"\x86", b"\x87", b"a", b"e", b"l", b"t", b"s", b"u",
    b"d", b"b", b"o", b"\x81", b"\x94", b"q\x06", b"q\xff", b"r\xff\xff\xff\xff", b"h\x00", b"h\x03", b"h\x06",
    b"h\x0b", b"h\x0c", b"h\x0d", b"K\x05", text(b"name"), b"\x8f", b"\x90", b"\x91", b"RUN", b"RUN", b"RUN",
    b"(h\x03h\x0bK\x00K\x01o", b"X\xc8\x00\x00\x00" + b"n" * 200,
])  # fmt: skip


@st.composite
def loops(draw: st.DrawFn) -> Callable[[int], bytes]:
    """A program with a part that is repeated."""
    before, part, after = (draw(st.lists(PIECES, min_size=low, max_size=5)) for low in (0, 1, 0))

    def make(times: int) -> bytes:
        made = [BEGIN, *before]
        for _ in range(times):
            made += part
        return b"".join(run(i) if piece == b"RUN" else piece for i, piece in enumerate([*made, *after, b"e."]))

    return make


@settings(max_examples=150, deadline=None)
@given(make=loops(), mode=st.sampled_from(["error", "rename", "replace"]))
def test_any_loop(make: Callable[[int], bytes], mode: str) -> None:
    small, large = (lines_of(lambda n=n: outcome(make(n), mode)) for n in (40, 160))
    assert large < 4.6 * small + 3000
    data = make(400)
    assert peak_of(lambda: outcome(data, mode)) < 200 * len(data) + (20 << 20)


# --------------------------------------------------------------------------------------------------- piece by piece


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_PIECE_BYTES", 700)
    monkeypatch.setattr(reader, "_BULK_BYTES", 0)


def of_file(path: Path, data: bytes, mode: Any = "error") -> object:
    path.write_bytes(data)
    try:
        table = reader.read_offsets(path, name="x", on_conflict=mode)
    except OffsetsError as error:
        return error.reason, error.position, error.entries_before, str(error)
    return list(table.entries())


def of_bytes(data: bytes, mode: Any = "error") -> object:
    try:
        table = reader._read(data, "x", mode, bulk=True)
    except OffsetsError as error:
        return error.reason, error.position, error.entries_before, str(error)
    return list(table.entries())


@pytest.mark.filterwarnings("ignore:.*more than once")
@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[1] / "data" / "pickles").glob("*.pkl")), ids=lambda p: p.name
)
def test_pieces_change_nothing(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    for cut in (len(data), len(data) * 2 // 3):
        assert of_file(tmp_path / "x.pkl", data[:cut]) == of_bytes(data[:cut])


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING)
def test_pieces_change_nothing_of_a_bomb(make: Callable[[int], bytes], tmp_path: Path) -> None:
    assert of_file(tmp_path / "x.pkl", make(60)) == of_bytes(make(60))


class Counted:
    """A file of which only the beginning is something; counts what is asked for."""

    def __init__(self, begin: bytes, size: int = 8 << 40) -> None:
        self.begin, self.size, self.asked = begin, size, 0

    def read_at(self, start: int, n: int) -> bytes:
        self.asked += n
        return self.begin[start : start + n].ljust(min(n, self.size - start), b"\0")


@pytest.mark.parametrize(
    "begin", [b"", BEGIN, BEGIN + run("a", 50) + b"e.", b"\x80\x04\x95" + (1 << 42).to_bytes(8, "little")]
)
def test_a_huge_file_of_nothing_is_refused_at_its_beginning(begin: bytes) -> None:
    source = Counted(begin)
    with pytest.raises(CorruptOffsetsError, match="not a pickle opcode"):
        reader.read_offsets(source)
    assert source.asked <= 2 * reader._PIECE_BYTES


def test_a_huge_file_in_pieces(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04\x95" + (1 << 30).to_bytes(8, "little") + b"].")
    os.truncate(path, 64 << 30)
    with pytest.raises(CorruptOffsetsError):
        list(iter_offsets(path, window_bytes=4096))


def test_what_a_string_skips_is_not_kept() -> None:
    """Most of a huge file can lie in strings that are dropped: it's read, and not kept."""
    unit = b"X\x00\x00\x10\x00" + b"\0" * (1 << 20) + b"0"
    source = Counted(b"]" + unit * 40 + b".", len(unit) * 40 + 2)
    assert peak_of(lambda: reader.read_offsets(source)) < 5 * reader._PIECE_BYTES
    assert bulk._BLOCK_BYTES < reader._PIECE_BYTES
