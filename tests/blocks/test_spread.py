"""What is fetched for who jumps about in a file."""

import random

import pytest

from blobdir.blocks.spread import PATIENCE, Spread


@pytest.mark.parametrize("count", [1, 2, 7, 144, 5000])
@pytest.mark.parametrize("seed", range(3))
def test_whoever_reads_all_waits_seldom(count, seed):
    """Each block is fetched once; the waits grow with the root of the blocks, until as many as may be go along."""
    spread, here, waits, most = Spread(count, 15), set(), 0, 0
    order = list(range(count))
    random.Random(seed).shuffle(order)
    for number in order:
        if number in here:
            continue
        waits += 1
        along = spread.blocks_along({number, *here}.__contains__)
        assert not here.intersection(along)
        assert number not in along
        most = max(most, len(along))
        here |= {number, *along}
    assert here == set(range(count))
    assert most <= 15
    slowly = PATIENCE * 15  # waits until most are fetched at a time
    assert waits <= PATIENCE + ((2 * PATIENCE * count) ** 0.5 if count < slowly * 7 else slowly + count / 15)


@pytest.mark.parametrize("reads", [1, 3, 5, 10, 20])
def test_whoever_reads_little_has_little_fetched(reads):
    spread = Spread(1000, 15)
    along = sum(len(spread.blocks_along(lambda n: n < 20)) for _ in range(reads))
    assert along <= reads * reads / (2 * PATIENCE)
    assert (along > 0) == (reads >= PATIENCE)
