"""Name tables against plain lists of bytes."""

import random
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobdir.index.names import crc32_names, same_names, sort_names
from blobdir.nametable import join_names, name_at, pack_names, take_names

NAME = st.binary(min_size=1, max_size=40).map(lambda b: b.replace(b"\0", b"\xff"))
NAMES = st.lists(NAME | st.sampled_from([b"a", b"aa", b"a" * 8, b"a" * 9, b"a" * 16]), max_size=60)


def unpack(arena, starts):
    return [name_at(arena, starts, i) for i in range(len(starts) - 1)]


@given(NAMES)
def test_sort_is_that_of_bytes(names):
    arena, starts = pack_names(names)
    order, repeated = sort_names(arena, starts)
    assert [names[i] for i in order] == sorted(names)
    assert order.tolist() == sorted(range(len(names)), key=lambda i: names[i])  # stable
    assert repeated.tolist() == [i > 0 and x == sorted(names)[i - 1] for i, x in enumerate(sorted(names))]


@given(NAMES, st.data())
def test_take(names, data):
    arena, starts = pack_names(names)
    order = data.draw(st.permutations(range(len(names)))) if names else []
    part = np.asarray(order[: data.draw(st.integers(0, len(order)))], np.int64)
    assert unpack(*take_names(arena, starts, part)) == [names[i] for i in part]


@given(st.lists(NAMES, max_size=4))
def test_join(lists):
    assert unpack(*join_names([pack_names(names) for names in lists])) == [name for names in lists for name in names]


@given(NAMES, st.integers(0, 2**32 - 1))
def test_crc32_is_that_of_zlib(names, seed):
    arena, starts = pack_names(names)
    found = crc32_names(arena, starts, np.full(len(names), seed, np.uint32))
    assert found.tolist() == [zlib.crc32(name, seed) for name in names]


@given(st.lists(st.tuples(NAME, NAME), min_size=1, max_size=30))
def test_same_names(pairs):
    pairs += [(name, name) for name, _ in pairs] + [(name, name + b"x") for name, _ in pairs]
    left, right = pack_names(a for a, _ in pairs), pack_names(b for _, b in pairs)
    which = np.arange(len(pairs))
    assert same_names(*left, which, *right, which).tolist() == [a == b for a, b in pairs]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 16, 17])
def test_few_names_are_sorted_as_many(count):
    """Few go another way; one that comes twice, prefixes, bytes above 127, and more bytes behind the names."""
    some = [b"a", b"ab", b"", b"\xff" * 9, b"a", b"abcdefgh", b"abcdefghi", b"\x80", b"b", b"aa"] * 2
    for seed in range(20):
        names = random.Random(seed).sample(some, count)
        arena, starts = pack_names(names)
        arena = np.concatenate([arena, np.full(3, 7, np.uint8)])
        order, repeated = sort_names(arena, starts)
        assert order.tolist() == sorted(range(count), key=names.__getitem__)
        found = [names[i] for i in order]
        assert repeated.tolist() == [i > 0 and found[i] == found[i - 1] for i in range(count)]
