"""What is fetched for who jumps about in a file."""

import random

import pytest

from blobdir.blocks.spread import SHARE, Spread


def reading(count, most, seconds, seed=0):
    """Read each block in some order; yields how many came along with each that was waited for."""
    spread, here = Spread(count, most), set()
    order = list(range(count))
    random.Random(seed).shuffle(order)
    for number in order:
        if number in here:
            continue
        along = spread.blocks_along({number, *here}.__contains__)
        assert not here.intersection(along)
        assert number not in along
        here |= {number, *along}
        spread.waited(seconds(len(along)))
        yield len(along)
    assert here == set(range(count))


@pytest.mark.parametrize("count", [1, 2, 7, 144, 5000])
@pytest.mark.parametrize("seed", range(3))
def test_whoever_reads_all_waits_seldom(count, seed):
    """Each block is fetched once; after one in sixteen, more and more come along."""
    along = list(reading(count, 15, lambda along: 0.07, seed))
    assert max(along) <= 15
    assert len(along) <= 4 + count / SHARE + (30 + count / 15 if count > 300 else 2 * count**0.5 + 1)


@pytest.mark.parametrize("count", [100, 600, 5000])
def test_whoever_reads_little_has_nothing_fetched(count):
    spread = Spread(count, 15)
    assert [*map(len, (spread.blocks_along(lambda n: False) for _ in range(count // SHARE + 1)))] == [0] * (
        count // SHARE + 1
    )


@pytest.mark.parametrize("count", [600, 5000])
def test_on_a_line_that_all_share_little_comes_along(count):
    """Where a wait takes the longer the more come along, he waits as if none did, but for a few."""
    along = list(reading(count, 15, lambda along: 0.25 * (1 + along)))
    assert sum(along) < 0.3 * len(along)
    free = list(reading(count, 15, lambda along: 0.25))
    assert sum(free) > 2 * len(free)
