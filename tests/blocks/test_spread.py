"""What is fetched for who jumps about in a file."""

import random

import pytest

from blobdir.blocks.spread import SHARE, Spread


def reading(count, most, seconds, seed=0, here=()):
    """Read each block in some order; yields how many came along with each that was waited for."""
    spread, here = Spread(count, most), set(here)
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
    """Each block is fetched once; after about one in 32, as many come along as are here."""
    along = list(reading(count, 15, lambda along: 0.07, seed))
    assert max(along) <= 15
    assert len(along) <= 6 + 2 * count / SHARE + 4 + count / 15


@pytest.mark.parametrize("count", [200, 600, 5000])
def test_whoever_reads_little_has_nothing_fetched(count):
    spread, here = Spread(count, 15), set()
    for number in random.Random(1).sample(range(count), count // SHARE // 3):
        here.add(number)
        assert spread.blocks_along(here.__contains__) == []
        spread.waited(0.07)


def test_what_others_have_had_fetched_counts():
    """Workers of a mount, say: each is asked for some of the images."""
    here = random.Random(1).sample(range(600), 200)
    along = list(reading(600, 15, lambda along: 0.07, here=here))
    assert along[:6] == [0, 0, 0, 2, 8, 15]


@pytest.mark.parametrize("count", [40, 144, 600])
def test_with_each_wait_come_at_most_as_many_as_are_here(count):
    spread, here = Spread(count, 15), set()
    for number in random.Random(2).sample(range(count), count // 2):
        if number not in here:
            here.add(number)
            along = spread.blocks_along(here.__contains__)
            assert len(along) <= (len(here) + 1) * (1 if count <= 256 else 2)  # counted by a sample
            here |= {*along}
            spread.waited(0.07)


@pytest.mark.parametrize("count", [600, 5000])
def test_on_a_line_that_all_share_little_comes_along(count):
    """Where a wait takes the longer the more come along, he waits as if none did, but for a few."""
    along = list(reading(count, 15, lambda along: 0.25 * (1 + along)))
    assert sum(along) < 0.4 * len(along)
    free = list(reading(count, 15, lambda along: 0.25))
    assert sum(free) > 2 * len(free)


def test_one_slow_wait_says_nothing():
    slow = iter([False] * 60 + [True] + [False] * 10_000)
    assert max(list(reading(2000, 15, lambda along: 2.0 if next(slow) else 0.1))[61:]) == 15
