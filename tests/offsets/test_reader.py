"""Every encoding that `read_offsets` must read or refuse."""

from __future__ import annotations

import json
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from blobdir.errors import (
    BlobdirWarning,
    CorruptOffsetsError,
    OffsetsConflictError,
    OffsetsError,
    OffsetsNameError,
    OffsetsRangeError,
    OffsetsTypeError,
    TruncatedOffsetsError,
    UnsafePickleError,
    UsageError,
)
from blobdir.offsets import OffsetsTable, read_offsets, reader

PICKLES = Path(__file__).parents[1] / "data" / "pickles"
EXPECTED = json.loads((PICKLES / "expected.json").read_text())
INFO = b"\x8c\x19supervisely.api.image_api\x8c\rBlobImageInfo\x93"


def entries(table: OffsetsTable) -> list[list[object]]:
    return [[info.name, info.offset_start, info.offset_end] for info in table]


def test_every_fixture_is_there() -> None:
    assert {path.name for path in PICKLES.glob("*.pkl")} == set(EXPECTED)


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("file", sorted(EXPECTED))
def test_fixture(file: str, bulk: bool) -> None:
    expected = EXPECTED[file]
    data = (PICKLES / file).read_bytes()
    modules = set(sys.modules)
    if "error" in expected:
        with pytest.raises(OffsetsError) as caught:
            reader._read(data, file, "error", bulk=bulk)
        assert caught.value.reason == expected["error"]
        assert caught.value.path == file
        assert 0 <= caught.value.position <= len(data)
        assert str(caught.value).startswith(f"{file}: byte {caught.value.position}: ")
    else:
        assert entries(reader._read(data, file, "error", bulk=bulk)) == expected["entries"]
    own = ("encodings.", "numpy.")  # what Python and numpy load of themselves when it's first needed
    assert {name for name in set(sys.modules) - modules if not name.startswith(own)} == set()
    assert not Path("/tmp/blobdir-pwned").exists()


@pytest.mark.parametrize(
    "form", [str, Path, lambda path: path.read_bytes(), lambda path: memoryview(path.read_bytes())]
)
def test_sources(form: object) -> None:
    assert entries(read_offsets(form(PICKLES / "one_list.pkl"))) == EXPECTED["one_list.pkl"]["entries"]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_offsets(tmp_path / "a_offsets.pkl")


def test_message_says_file_byte_count_and_what_to_do() -> None:
    with pytest.raises(TruncatedOffsetsError) as caught:
        read_offsets(PICKLES / "truncated.pkl", name="train/a_offsets.pkl")
    error = caught.value
    assert str(error) == (
        f"train/a_offsets.pkl: byte {error.position}: the file ends inside a pickle, after 3 entries; "
        "it was cut off while being written: write it again from the tar with `blobdir offsets`"
    )
    assert (error.path, error.entries_before) == ("train/a_offsets.pkl", 3)


def test_unsafe_names_the_global() -> None:
    with pytest.raises(UnsafePickleError, match=r"posix\.system"):
        read_offsets(PICKLES / "hostile_os_system.pkl")


def test_repeats_warn_once() -> None:
    with pytest.warns(BlobdirWarning, match="7 entries") as caught:
        table = read_offsets(PICKLES / "doubled.pkl")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert table.repeats == 7


def test_no_warning_without_repeats() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_offsets(PICKLES / "one_list.pkl").repeats == 0


def test_columns() -> None:
    table = read_offsets(PICKLES / "one_list.pkl")
    assert table.arena.dtype == np.uint8
    assert table.name_start.dtype == table.start.dtype == table.end.dtype == np.int64
    assert len(table) == 7
    assert table.name(0) == table.name(-7) == b"img_000.jpg"
    assert table.arena.tobytes() == b"".join(name + b"\0" for name, _, _ in table.entries())


def test_cut_anywhere_is_truncated(sdk) -> None:
    data = sdk.dumps([sdk.Info(f"{i}.jpg", i, 2**40 + i) for i in range(20)])
    for protocol in range(6):
        data = sdk.dumps([sdk.Info(f"{i}.jpg", i, 2**40 + i) for i in range(5)], protocol)
        for size in range(1, len(data)):
            with pytest.raises(TruncatedOffsetsError):
                read_offsets(data[:size])


# ---------------------------------------------------------------------------------------------- made by hand

OBJECTS = {
    "newobj with arguments": INFO + b"(\x8c\x01aK\x01K\x02t\x81.",
    "reduce with arguments": INFO + b"\x8c\x01aK\x01K\x02\x87R.",
    "newobj_ex": INFO + b"\x8c\x01aK\x01K\x02\x87}\x92.",
    "newobj_ex with keywords": INFO + b")}(\x8c\x04name\x8c\x01a\x8c\x0coffset_startK\x01\x8c\noffset_endK\x02u\x92.",
    "obj": b"(" + INFO + b"\x8c\x01aK\x01K\x02o.",
    "inst": b"(\x8c\x01aK\x01K\x02isupervisely.api.image_api\nBlobImageInfo\n.",
    "slots state": INFO + b")\x81N}(\x8c\x04name\x8c\x01a\x8c\x0coffset_startK\x01\x8c\noffset_endK\x02u\x86b.",
    "python 2 strings": INFO + b")\x81}(U\x04nameS'a'\nT\x0c\x00\x00\x00offset_startI1\nU\noffset_endL2L\nub.",
    "dup and pop": INFO + b"(\x8c\x01aK\x01K\x02t\x8120(K\x051(0.",
    "sparse memo": INFO + b"r\xff\xff\xff\xff0j\xff\xff\xff\xff(\x8c\x01a\x94K\x01K\x02t\x81.",
    "text memo": INFO + b"p4294967295\n0g4294967295\n(\x8c\x01aK\x01K\x02t\x81.",
    "set attribute": INFO + b"(\x8c\x01aK\x01K\x02t\x81}(\x8c\x01x\x8f(K\x01\x90\x8c\x01y(K\x01\x91K\x07K\x08ub.",
    "dict by name": b"}(\x8c\x01a(K\x01K\x02lu.",
    "dict opcode": b"(\x8c\x01aK\x01K\x02\x86d.",
    "api dict": b"}(\x8c\x05title\x8c\x01a\x8c\nsourceBlob}(\x8c\x0boffsetStartK\x01\x8c\toffsetEndK\x02uu.",
    "long": b"}\x8c\x01a\x8a\x01\x01\x8b\x01\x00\x00\x00\x02\x86s.",
    "binunicode8": b"}\x8d\x01\x00\x00\x00\x00\x00\x00\x00aK\x01K\x02\x86s.",
}


@pytest.mark.parametrize("data", OBJECTS.values(), ids=OBJECTS)
def test_forms_of_an_entry(data: bytes) -> None:
    for whole in (data, b"\x80\x04" + data, b"\x80\x05\x95" + len(data).to_bytes(8, "little") + data):
        assert list(read_offsets(whole).entries()) == [(b"a", 1, 2)]


CORRUPT = {
    "unknown opcode": b"\xff.",
    "future protocol": b"\x80\x06].",
    "underflow": b"a.",
    "underflow at the last byte": b"]a",
    "empty stop": b".",
    "no mark": b"]e.",
    "pop without mark": b"0.",
    "no memo": b"h\x00.",
    "huge string": b"X\xff\xff\xff\xff",
    "huge string 8": b"\x8d" + b"\xff" * 8,
    "huge bytearray": b"\x96" + (2**40).to_bytes(8, "little"),
    "string of more than 1 MiB": b"X" + (2**20 + 1).to_bytes(4, "little") + b"a" * (2**20 + 1) + b".",
    "negative length": b"T\xff\xff\xff\xff.",
    "negative long": b"\x8b\xff\xff\xff\xff.",
    "long of 256 bytes": b"\x8b\x00\x01\x00\x00" + b"a" * 256 + b".",
    "buffer": b"\x97.",
    "read-only buffer": b"]\x98.",
    "not utf-8": b"\x8c\x01\xff.",
    "not ascii": b"U\x01\xff.",
    "decimal": b"I1_0\n.",
    "many digits": b"I" + b"9" * 5000 + b"\n.",
    "hexadecimal": b"I0x10\n.",
    "memo index": b"]p-1\n.",
    "quotes": b"S'a\n.",
    "append to a tuple": b")K\x01a.",
    "key without value": b"}(K\x01u.",
    "attributes of a list": b"]}b.",
    "attributes of a wrong type": INFO + b")\x81]b.",
    "call of a list": b"])R.",
    "two arguments": INFO + b"K\x01K\x02\x86R.",
    "stack global of integers": b"K\x01K\x02\x93.",
    "left over": b"]].",
    "open mark": b"(].",
    "line of more than 1 MiB": b"V" + b"a" * (2**20 + 1) + b"\n.",
    "text": b"Pictures",
}


@pytest.mark.parametrize("data", CORRUPT.values(), ids=CORRUPT)
def test_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptOffsetsError):
        read_offsets(data)


TRUNCATED = {
    "frame": b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00].",
    "huge frame": b"\x80\x04\x95" + b"\xff" * 8 + b"].",
    "no stop": b"]",
    "string": b"\x8c\x05ab",
    "line": b"I12",
    "global": b"csupervisely.api.image_a",
    "number": b"J\x01\x02",
}


@pytest.mark.parametrize("data", TRUNCATED.values(), ids=TRUNCATED)
def test_truncated(data: bytes) -> None:
    with pytest.raises(TruncatedOffsetsError):
        read_offsets(data)


UNSAFE = {
    "other class of the module": b"csupervisely.api.image_api\nImageApi\n.",
    "attribute of the class": b"\x8c\x19supervisely.api.image_api\x8c\x16BlobImageInfo.__init__\x93.",
    "dotted module": b"csupervisely.api\nimage_api.BlobImageInfo\n.",
    "call of object": b"cbuiltins\nobject\n)R.",
    "reconstructor of object": b"ccopyreg\n_reconstructor\ncbuiltins\nobject\ncbuiltins\nobject\nN\x87R.",
    "reconstructor with a state": b"ccopyreg\n_reconstructor\n" + INFO + b"cbuiltins\nobject\nK\x01\x87R.",
    "attributes of the class itself": INFO + b"}\x8c\x08__init__K\x01sb.",
    "inst": b"(ios\nsystem\n.",
    "obj": b"(cbuiltins\nobject\no.",
    "persistent id": b"K\x01Q.",
    "extension": b"\x84\x01\x00\x00\x00.",
}


@pytest.mark.parametrize("data", UNSAFE.values(), ids=UNSAFE)
def test_unsafe(data: bytes) -> None:
    with pytest.raises(UnsafePickleError):
        read_offsets(data)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, OffsetsTypeError),
        ("a.jpg", OffsetsTypeError),
        ([["a.jpg", 0, 5]], OffsetsTypeError),
        ([("a.jpg", 0, 5)], OffsetsTypeError),
        ([[{"a.jpg": (0, 5)}]], OffsetsTypeError),
        ({"a.jpg": (0, 5, 6)}, OffsetsTypeError),
        ({"a.jpg": {"offsetStart": 0}}, OffsetsTypeError),
        ({"a.jpg": "05"}, OffsetsTypeError),
        ({1: (0, 5)}, OffsetsTypeError),
        ({b"a.jpg": (0, 5)}, OffsetsTypeError),
        ({"a.jpg": (0, None)}, OffsetsTypeError),
        ({"title": "a.jpg", "teamFileId": 1, "sourceBlob": None}, OffsetsTypeError),
        ({"teamFileId": 1, "sourceBlob": {"offsetStart": 0, "offsetEnd": 1}}, OffsetsTypeError),
        ({"a.jpg": (0, 2**63)}, OffsetsRangeError),
        ({"a.jpg": (-(2**63) - 1, 0)}, OffsetsRangeError),
        ({"a.jpg": (2**2000, 2**2001)}, OffsetsRangeError),
        ({"a/": (0, 5)}, OffsetsNameError),
        ({"a//b": (0, 5)}, OffsetsNameError),
        ({"a/./b": (0, 5)}, OffsetsNameError),
        ({"a/..": (0, 5)}, OffsetsNameError),
        ({"\ud800": (0, 5)}, OffsetsNameError),
        ({"a/" * 2048 + "a": (0, 5)}, OffsetsNameError),
        ({"ä" * 128: (0, 5)}, OffsetsNameError),
    ],
)
def test_wrong_values(value: object, error: type[OffsetsError]) -> None:
    # Before protocol 3, bytes are a call of _codecs.encode.
    for protocol in range(3 if "b'" in repr(value) else 0, 6):
        with pytest.raises(error):
            read_offsets(pickle.dumps(value, protocol))


@pytest.mark.parametrize("name", ["ä" * 127, ".a", "...", "a/..b/c", "a b", "a\nb", "title", "\\u0041'\"", "x" * 255])
def test_good_names(name: str) -> None:
    for protocol in range(6):
        assert entries(read_offsets(pickle.dumps({name: (0, 2**63 - 1)}, protocol))) == [[name, 0, 2**63 - 1]]


def test_first_fault_in_the_file_counts(sdk) -> None:
    good, bad_name, bad_type = sdk.Info("a", 1, 2), sdk.Info("..", 1, 2), sdk.Info("b", 1.0, 2)
    with pytest.raises(OffsetsNameError) as caught:
        read_offsets(sdk.dumps([good]) + sdk.dumps([bad_name, bad_type]) + b"\xff")
    assert caught.value.entries_before == 1
    with pytest.raises(OffsetsTypeError):
        read_offsets(sdk.dumps([good]) + sdk.dumps([bad_type, bad_name]) + b"\xff")
    with pytest.raises(CorruptOffsetsError):
        read_offsets(sdk.dumps([good]) + b"\xff" + sdk.dumps([bad_name]))


# ------------------------------------------------------------------------------------------------ conflicts

CONFLICT = [("a.jpg", 0, 5), ("b.jpg", 5, 9), ("a.jpg", 6, 9), ("a.jpg", 0, 5), ("a_1.jpg", 9, 9), ("a.jpg", 7, 8)]


@pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("skip", [("a.jpg", 0, 5), ("b.jpg", 5, 9), ("a_1.jpg", 9, 9)]),
        ("replace", [("a.jpg", 7, 8), ("b.jpg", 5, 9), ("a_1.jpg", 9, 9)]),
        (
            "rename",
            [("a.jpg", 0, 5), ("b.jpg", 5, 9), ("a_2.jpg", 6, 9), ("a_1.jpg", 9, 9), ("a_3.jpg", 7, 8)],
        ),
    ],
)
def test_conflicts(sdk, mode: str, expected: list[tuple[str, int, int]]) -> None:
    objects = [sdk.Info(*entry) for entry in CONFLICT]
    found = read_offsets(sdk.dumps(objects), on_conflict=mode)
    assert [tuple(entry) for entry in entries(found)] == expected
    assert OffsetsTable.from_entries(CONFLICT, on_conflict=mode) == found


def test_conflict_names_both_ranges(sdk) -> None:
    data = sdk.dumps([sdk.Info(*entry) for entry in CONFLICT])
    with pytest.raises(OffsetsConflictError, match=r"'a\.jpg' has two ranges, 0 to 5 and 6 to 9") as caught:
        read_offsets(data, name="x.pkl")
    assert caught.value.path == "x.pkl"
    assert data[caught.value.position] == 0x81


@pytest.mark.parametrize(
    ("name", "renamed"),
    [(".hidden", ".hidden_1"), ("noext", "noext_1"), ("a.b/c", "a.b/c_1"), ("a/b.tar.gz", "a/b.tar_1.gz")],
)
def test_rename(name: str, renamed: str) -> None:
    table = OffsetsTable.from_entries([(name, 0, 1), (name, 1, 2)], on_conflict="rename")
    assert [info.name for info in table] == [name, renamed]


def test_rename_needs_room() -> None:
    name = "x" * 255
    with pytest.raises(OffsetsNameError):
        OffsetsTable.from_entries([(name, 0, 1), (name, 1, 2)], on_conflict="rename")


def test_unknown_mode() -> None:
    with pytest.raises(UsageError):
        read_offsets(b"", on_conflict="first")


def test_two_spellings_of_one_name(sdk) -> None:
    with pytest.raises(OffsetsConflictError):
        read_offsets(sdk.dumps([sdk.Info("ä", 0, 1), sdk.Info("\udcc3\udca4", 1, 2)]))
