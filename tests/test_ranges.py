"""The merge plan is a pure function: it covers what was wanted, and no request breaks its limits for no reason."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from blobdir.ranges import ByteRange, merge_ranges, total_of

RANGES = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 400)), max_size=50)


@given(RANGES, st.integers(0, 300), st.integers(1, 2000))
def test_plan(ranges, max_gap, max_size):
    start = np.array([a for a, _ in ranges], np.int64)
    end = start + np.array([n for _, n in ranges], np.int64)
    plan = merge_ranges(start, end, max_gap=max_gap, max_size=max_size)
    assert sorted(plan.order.tolist()) == list(range(len(ranges)))
    assert plan.first[0] == 0
    assert plan.first[-1] == len(ranges)
    for i in range(len(plan.start)):
        held = plan.order[plan.first[i] : plan.first[i + 1]]
        assert len(held)
        assert plan.start[i] == start[held].min()
        assert plan.end[i] == end[held].max()
        for k in range(int(plan.first[i]) + 1, int(plan.first[i + 1])):
            assert start[plan.order[k]] - end[plan.order[:k]].max() <= max_gap
        assert start[held].max() - plan.start[i] < max_size


def test_neighbours_share_a_request():
    start = np.arange(0, 100) * 512
    plan = merge_ranges(start, start + 500, max_gap=12, max_size=1 << 20)
    assert (plan.start.tolist(), plan.end.tolist()) == ([0], [99 * 512 + 500])
    assert len(merge_ranges(start, start + 500, max_gap=11, max_size=1 << 20).start) == 100


def test_byte_range():
    assert ByteRange(3, 10).size == 7


@given(st.lists(st.integers(-1, 2**63 - 1), max_size=9))
def test_a_total_has_no_bound(sizes):
    assert total_of(np.array(sizes, np.int64)) == sum(sizes)
    small = [size % 2**31 for size in sizes]
    assert total_of(np.array(small, np.int32)) == sum(small)
