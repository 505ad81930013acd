"""Attributes that entries have beside name and range survive being written again."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import blobdir.offsets.attributes as attributes_module
from blobdir.errors import OffsetsTypeError
from blobdir.offsets import BlobImageInfo, encode_offsets, read_offsets
from blobdir.offsets.streaming import iter_offsets
from blobdir.offsets.table import concatenate

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

TEXT = st.text(max_size=9) | st.sampled_from(["\udcff", "team_file_id", "x" * 300])
PLAIN = st.none() | st.booleans() | st.integers() | st.integers(2**900, 2**901) | st.floats(allow_nan=False) | TEXT


def values(plain):
    more = st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(TEXT, inner, max_size=3),
        max_leaves=6,
    )
    names = TEXT.filter(lambda name: name not in ("name", "offset_start", "offset_end"))
    return st.lists(st.dictionaries(names, more, max_size=3), min_size=1, max_size=30)


def infos(sdk, others):
    found = [sdk.Info(f"{i}.png", 10 * i, 10 * i + 9) for i in range(len(others))]
    for info, more in zip(found, others, strict=True):
        vars(info).update(more)
    return found


def attributes(loaded):
    return {info.name: {k: v for k, v in vars(info).items() if k[:6] not in ("name", "offset")} for info in loaded}


@settings(max_examples=100, deadline=None)
@given(protocol=st.integers(0, 5), batch=st.integers(1, 40), data=st.data())
def test_written_again(sdk, protocol, batch, data):
    # To protocols before 3, bytes are a call of something, and refused.
    others = data.draw(values(PLAIN | st.binary(max_size=9)) if protocol > 2 else values(PLAIN))
    before = infos(sdk, others)
    content = sdk.dumps(before[:7], protocol) + sdk.dumps(before[7:], protocol)
    table = read_offsets(content, attributes=True)
    rows = data.draw(st.lists(st.sampled_from(range(len(table))), unique=True))
    again = encode_offsets(table.take(np.array(rows, np.intp)), batch_size=batch)
    loaded = [info for part in sdk.load_all(again) for info in part]
    assert [vars(info) for info in loaded] == [vars(before[row]) for row in rows]
    assert [list(vars(info)) for info in loaded] == [list(vars(before[row])) for row in rows]
    assert read_offsets(again) == table.take(np.array(rows, np.intp))
    assert encode_offsets(read_offsets(again, attributes=True), batch_size=batch) == again


def test_memo_is_left_alone(sdk):
    """After objects with attributes come thousands without: those are found by their memo indexes."""
    before = infos(sdk, [{"a": [1, "x"]} if i % 7 == 0 else {} for i in range(3000)])
    again = encode_offsets(read_offsets(sdk.dumps(before), attributes=True))
    assert [info for part in sdk.load_all(again) for info in part] == before
    assert read_offsets(again) == read_offsets(sdk.dumps(before))


def test_not_kept_unless_asked_for(sdk):
    assert read_offsets(sdk.dumps(infos(sdk, [{"a": 1}]))).attributes is None
    assert read_offsets(sdk.dumps(infos(sdk, [{}])), attributes=True).attributes is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"title": "a.png", "teamFileId": 5, "sourceBlob": {"offsetStart": 1, "offsetEnd": 2}}, {"team_file_id": 5}),
        ({"title": "a.png", "teamFileId": None, "sourceBlob": {"offsetStart": 1, "offsetEnd": 2}}, {}),
        ({"title": "a.png", "m": 4, "sourceBlob": {"offsetStart": 1, "offsetEnd": 2, "c": 3}}, {"m": 4, "c": 3}),
        ({"a.png": {"offsetStart": 1, "offsetEnd": 2, "md5": "x"}}, {"md5": "x"}),
        ({"a.png": (1, 2)}, {}),
    ],
)  # fmt: skip
def test_of_dictionaries(sdk, value, expected):
    again = encode_offsets(read_offsets(pickle.dumps([value]), attributes=True))
    [[info]] = sdk.load_all(again)
    assert (info.name, info.offset_start, info.offset_end, attributes([info])["a.png"]) == ("a.png", 1, 2, expected)


def cyclic():
    found = []
    found.append(found)
    return found


def wide():
    found = "x" * 100
    for _ in range(30):
        found = [found, found]
    return found


UNTELLABLE = [{1, 2}, cyclic(), wide(), {1: 2}, frozenset("a"), bytearray(b"x")]


@pytest.mark.parametrize("value", UNTELLABLE, ids=lambda v: type(v).__name__)
def test_what_cant_be_told(sdk, value):
    """Such a file can be read, and an entry that has it be left out; but it isn't dropped from one that stays."""
    table = read_offsets(sdk.dumps(infos(sdk, [{}, {"x": value}]), 5), attributes=True)
    assert len(table) == 2
    with pytest.raises(OffsetsTypeError, match=r"1\.png"):
        encode_offsets(table)
    assert len(read_offsets(encode_offsets(table.take(np.arange(1))))) == 1


def test_an_object_as_attribute(sdk):
    table = read_offsets(sdk.dumps(infos(sdk, [{"x": sdk.Info("b", 1, 2)}])), attributes=True)
    with pytest.raises(OffsetsTypeError):
        encode_offsets(table)


def test_one_state_for_many():
    """Three bytes can be an object with thousands of bytes of attributes, by the memo: time and memory stay linear."""
    begin = b"\x80\x04]\x94(csupervisely.api.image_api\nBlobImageInfo\n\x94)\x81\x94}\x94(\x8c\x04name\x8c\x01a"
    begin += b"\x8c\x0coffset_startK\x01\x8c\x0aoffset_endK\x02\x8c\x01x\x94X\x00\x20\x00\x00" + b"y" * 8192 + b"\x94ub"
    content = begin + b"".join(b"h\x01)\x81h\x03b" for _ in range(100_000)) + b"e."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = read_offsets(content, attributes=True)
    assert len(table) == 1


SHARED = {
    "one long text in many dictionaries": (b"X\x00\x00\x0f\x00" + b"y" * 0xF0000 + b"\x94", b"}h\x03h\x04s"),
    "one large dictionary in many": (
        b"}\x94(" + b"".join(b"X\x05\x00\x00\x00%05dN" % i for i in range(60_000)) + b"u",
        b"}(h\x03h\x04X\x0a\x00\x00\x00sourceBlobh\x04u",
    ),
    "a tree that is wide": (
        b"]\x94" + b"".join(b"](h%ch%ce\x94" % (i, i) for i in range(4, 40)) + b"0" * 36,
        b"}h\x03h\x28s",
    ),
}
"""What stands once in a file, and a few bytes that refer to it: opcodes, the memo's 4th place is the first one's."""


@pytest.mark.parametrize("shape", ["state of objects", "dictionaries of the API", "dictionaries of names"])
@pytest.mark.parametrize("what", SHARED)
def test_what_many_entries_share_is_not_told_for_each(monkeypatch, what, shape):
    """The work is linear in the bytes of the file, whatever they refer to."""
    once, each = SHARED[what]
    content = b"\x80\x04]\x94csupervisely.api.image_api\nBlobImageInfo\n\x940}\x940\x8c\x01x\x940" + once + b"0("
    count = 20_000
    for i in range(count):
        name = b"\x8c\x05%05d" % i
        if shape == "state of objects":
            fields = b"(\x8c\x04name" + name + b"\x8c\x0coffset_startK\x01\x8c\x0aoffset_endK\x02u"
            content += b"h\x01)\x81" + each + fields + b"b"
        elif shape == "dictionaries of the API":
            bounds = each + b"(\x8c\x0boffsetStartK\x01\x8c\x09offsetEndK\x02u"
            content += b"}(\x8c\x05title" + name + b"\x8c\x0asourceBlob" + bounds + b"u"
        else:
            content += b"}(" + name + each + b"(\x8c\x0boffsetStartK\x01\x8c\x09offsetEndK\x02uu"
    work = []
    put = attributes_module._put

    def counted(out, value, depth):
        before = len(out)
        done = put(out, value, depth)
        work.append(1 + len(out) - before if depth < 2 else 1)
        return done

    monkeypatch.setattr(attributes_module, "_put", counted)
    table = read_offsets(content + b"e.", attributes=True)
    assert len(table) == count
    assert sum(work) < 16 * len(content)


@pytest.mark.parametrize("mode", ["replace", "skip", "rename"])
@pytest.mark.parametrize("first", [0, 1])
def test_repeats_among_conflicts(sdk, mode, first):
    """Of one name with two ranges: each range has the attributes of those that say it."""
    infos = [sdk.Info("a", 1, 2), sdk.Info("a", 5, 9), sdk.Info("a", 1, 2), sdk.Info("a", 5, 9)]
    for info in infos[first::2] if mode != "rename" else infos[2 * first : 2 * first + 2]:
        info.team_file_id = info.offset_start
    if mode != "rename":
        infos[first + 2].__dict__.pop("team_file_id")
    for content in (sdk.dumps(infos), b"".join(map(sdk.dumps, infos))):
        table = read_offsets(content, attributes=True, on_conflict=mode)
        found = sdk.load_all(encode_offsets(table))[0]
        kept = {"replace": [5], "skip": [1], "rename": [1, 5]}[mode]
        assert [info.offset_start for info in found] == kept
        having = (1, 5) if mode == "rename" else (infos[first].offset_start,)
        assert [vars(info).get("team_file_id") for info in found] == [s if s in having else None for s in kept]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("how", ["single", "pieces", "tables"])
def test_repeats(sdk, order, how):
    """Of exact repeats, one that has attributes is kept: an upload has added them, and the SDK appends."""
    both = [sdk.dumps(infos(sdk, [{}] * 9)), sdk.dumps(infos(sdk, [{"team_file_id": 4}] * 9))]
    parts = [both[i] for i in order]
    if how == "tables":
        table = concatenate([read_offsets(part, attributes=True) for part in parts]).unique()
    elif how == "single":
        table = read_offsets(b"".join(parts), attributes=True)
    else:  # by the bulk path, where the file is large enough
        more = sdk.dumps([sdk.Info(f"more {i}", i, i) for i in range(300)])
        table = read_offsets(b"".join(parts) + more, attributes=True).take(np.arange(9))
    loaded = sdk.load_all(encode_offsets(table))[0]
    assert [vars(info).get("team_file_id") for info in loaded] == [4] * 9


def test_streamed(sdk, tmp_path):
    before = infos(sdk, [{"n": i, "f": math.pi} for i in range(500)])
    path = tmp_path / "a_offsets.pkl"
    path.write_bytes(b"".join(sdk.dumps(before[i : i + 50]) for i in range(0, 500, 50)))
    found = {}
    for _, table in iter_offsets(path, window_bytes=3000, attributes=True):
        loaded = [info for part in sdk.load_all(encode_offsets(table)) for info in part]
        found |= attributes(loaded)
    assert found == attributes(before)
    assert all(table.attributes is None for _, table in iter_offsets(path))


def test_dump_to_pickle(sdk, tmp_path):
    path = tmp_path / "a_offsets.pkl"
    path.write_bytes(sdk.dumps(infos(sdk, [{"team_file_id": 3}])))
    BlobImageInfo.dump_to_pickle([BlobImageInfo("b.png", 20, 30).add_team_file_id(8)], path)
    loaded = [info for part in sdk.load_all(path.read_bytes()) for info in part]
    assert attributes(loaded) == {"0.png": {"team_file_id": 3}, "b.png": {"team_file_id": 8}}
