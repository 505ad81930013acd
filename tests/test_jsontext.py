"""What Python reads as JSON though it isn't, or others read otherwise: named, and never written."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobdir.errors import AnnotationError
from blobdir.jsontext import is_clear, read_certain, read_json, unclear, write_json
from blobdir.smallfiles import ANNOTATION, JSON, Known, look_at

KNOWN = Known({"thing": ("", frozenset())}, {"ripe": ("", frozenset())})
SOUND = {
    "size": {"height": 7, "width": 9},
    "tags": [{"name": "ripe", "createdAt": "2020-01-01T10:00:00"}],
    "objects": [{"classTitle": "thing", "points": {"exterior": [[1, 2]], "interior": []}, "tags": [{"name": "ripe"}]}],
}
TEXT = json.dumps(SOUND)
ODD = {
    "NaN": ('"x": NaN', "json-number", "NaN, which is no number"),
    "Infinity": ('"x": [-Infinity]', "json-number", "-Infinity, which is no number"),
    "twice": ('"x": 1, "x": 2', "json-unclear", "key 'x' twice"),
    "twice, true and 1": ('"x": {"y": 1, "y": true}', "json-unclear", "key 'y' twice"),
    "twice, spaces before colons": ('"z" :1, "x":1, "x":2', "json-unclear", "key 'x' twice"),
    "twice, by an escape": ('"x": 1, "\\u0078": 2', "json-unclear", "key 'x' twice"),
    "known key twice": ('"tags": []', "json-unclear", "key 'tags' twice"),
    "half a character": ('"x": "\\ud83c"', "json-unclear", "\\ud83c, which is half"),
    "other half": ('"x": "\\uDF4B\\ud83c"', "json-unclear", "\\uDF4B, which is half"),
}
CLEAR = [
    '"x": "\\ud83c\\udf4b"',
    '"x": "\\\\ud83c"',
    '"x": "NaN"',
    '"x": 1, "x": 1',
    '"x" : "a:b, \\"c\\":d"',
    '"x": 1e999',
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("kind", [ANNOTATION, JSON])
@pytest.mark.parametrize("objects", [True, False])
@pytest.mark.parametrize("separators", [None, (",", ":"), (" , ", " : ")])
def test_odd_is_named(kind, odd, objects, separators):
    more, code, said = ODD[odd]
    value = SOUND if objects or kind == JSON else SOUND | {"objects": [], "tags": [{"name": "ripe"}]}
    text = f"{json.dumps(value, separators=separators)[:-1]}, {more}}}".encode()
    ((found, message),) = look_at(kind, text, KNOWN)
    assert found == code
    assert said in message
    assert read_json(text)["size"] == SOUND["size"]
    if "half" in said:
        assert json.loads(write_json(read_certain(text))) == json.loads(text)
    else:
        with pytest.raises(AnnotationError, match="has "):
            read_certain(text)


@pytest.mark.parametrize("more", CLEAR)
@pytest.mark.parametrize("kind", [ANNOTATION, JSON])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_clear_is_not_named(kind, more, encoding):
    text = f"{TEXT[:-1]}, {more}}}".encode(encoding)
    assert {code for code, _ in look_at(kind, text, KNOWN)} == ({"sdk-encoding"} if encoding != "utf-8" else set())
    assert read_certain(text) == read_json(text)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"x": ' * 100_000, b"9" * 5000, b"", b"{", b"\xff", b"[1,]"])
@pytest.mark.parametrize("read", [read_json, read_certain, unclear])
def test_what_cannot_be_read(read, text):
    with pytest.raises(AnnotationError):
        read(text)


def deep():
    value: list = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize("value", [math.nan, [math.inf], 10**5000, deep()], ids=["NaN", "inf", "long", "deep"])
def test_what_cannot_be_written(value):
    with pytest.raises(AnnotationError, match="can't be written as JSON"):
        write_json({"x": value})


KEY = st.sampled_from(["a", "b", "a:", '":', "\ud800"])
VALUE = st.recursive(
    st.sampled_from(["1", "NaN", '"x"', '"x:y"', '"\\":"']),
    lambda below: st.one_of(
        st.lists(below, max_size=3).map(lambda items: "[{}]".format(", ".join(items))),
        st.lists(st.tuples(KEY.map(json.dumps), st.sampled_from([":", ": ", " :", "\n:"]), below), max_size=4).map(
            lambda items: "{{{}}}".format(",".join(map("".join, items)))
        ),
    ),
    max_leaves=12,
)


def keys_of(value):
    if isinstance(value, dict):
        return len(value) + sum(map(keys_of, value.values()))
    return sum(map(keys_of, value)) if isinstance(value, list) else 0


@given(VALUE)
def test_what_is_clear_at_once_is_clear(text):
    if is_clear(text, keys_of(json.loads(text))):
        assert [code for code, _ in unclear(text.encode()) if code != "json-number"] == []
