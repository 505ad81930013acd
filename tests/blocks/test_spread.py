"""What is fetched for who jumps about in a file."""

import gc
import os
import pickle
import random

import pytest

from blobdir.blocks.spread import SHARE, Line, Spread


def reading(count, line, seconds, seed=0, here=()):
    """Read each block in some order; yields how many came along with each that was waited for."""
    spread, here = Spread(count, line), set(here)
    order = list(range(count))
    random.Random(seed).shuffle(order)
    for number in order:
        if number in here:
            continue
        wait = spread.begin({number, *here}.__contains__)
        assert not here.intersection(wait.blocks)
        assert number not in wait.blocks
        assert wait.beside == len(wait.blocks)
        here |= {number, *wait.blocks}
        spread.waited(wait, seconds(wait.beside))
        spread.came(wait, all_right=True)
        yield len(wait.blocks)
    assert here == set(range(count))


@pytest.mark.parametrize("count", [1, 2, 7, 144, 5000])
@pytest.mark.parametrize("seed", range(3))
def test_whoever_reads_all_waits_seldom(count, seed):
    """Each block is fetched once; after about one in 32, as many come along as are here."""
    along = list(reading(count, Line(15), lambda along: 0.07, seed))
    assert max(along) <= 15
    assert len(along) <= 6 + 2 * count / SHARE + 4 + count / 15


@pytest.mark.parametrize("count", [200, 600, 5000])
def test_whoever_reads_little_has_nothing_fetched(count):
    spread, here = Spread(count, Line(15)), set()
    for number in random.Random(1).sample(range(count), count // SHARE // 3):
        here.add(number)
        wait = spread.begin(here.__contains__)
        assert wait.blocks == []
        spread.waited(wait, 0.07)


def test_what_others_have_had_fetched_counts():
    """Workers of a mount, say: each is asked for some of the images."""
    here = random.Random(1).sample(range(600), 200)
    along = list(reading(600, Line(15), lambda along: 0.07, here=here))
    assert along[:6] == [0, 0, 0, 4, 15, 15]


@pytest.mark.parametrize("count", [40, 144, 600])
def test_with_each_wait_come_at_most_as_many_as_are_here(count):
    spread, here = Spread(count, Line(15)), set()
    for number in random.Random(2).sample(range(count), count // 2):
        if number not in here:
            here.add(number)
            wait = spread.begin(here.__contains__)
            assert len(wait.blocks) <= (len(here) + 1) * (1 if count <= 256 else 2)  # counted by a sample
            here |= {*wait.blocks}
            spread.waited(wait, 0.07)
            spread.came(wait, all_right=True)


@pytest.mark.parametrize("count", [600, 5000])
def test_on_a_line_that_all_share_little_comes_along(count):
    """Where a wait takes the longer the more come along, he waits as if none did, but for a few."""
    along = list(reading(count, Line(15), lambda along: 0.25 * (1 + along)))
    assert sum(along) < 0.4 * len(along)
    free = list(reading(count, Line(15), lambda along: 0.25))
    assert sum(free) > 2 * len(free)


def test_one_slow_wait_says_nothing():
    slow = iter([False] * 60 + [True] + [False] * 10_000)
    assert max(list(reading(2000, Line(15), lambda along: 2.0 if next(slow) else 0.1))[61:]) == 15


@pytest.mark.parametrize("threads", [1, 2, 4, 16])
@pytest.mark.parametrize("bytes_per_s", [4, 1000])
def test_threads_that_wait_together(threads, bytes_per_s):
    """Whoever waits, no more than so many are under way along with them all, and more only once that did no harm."""
    spread, here, order = Spread(600, Line(15)), set(), [*range(600)]
    random.Random(5).shuffle(order)
    under_way, now, at_once = [], 0.0, []
    while order or under_way:
        while order and len(under_way) < threads:
            number = order.pop()
            if number not in here:
                here.add(number)
                wait = spread.begin(here.__contains__)
                here |= {*wait.blocks}
                ahead = sum(1 + len(one.blocks) for _, _, one in under_way)
                seconds = 0.02 + (1 + ahead + len(wait.blocks)) / bytes_per_s
                under_way.append((now + seconds, now, wait))
        at_once.append(sum(len(wait.blocks) for _, _, wait in under_way))
        if under_way:
            under_way.sort(key=lambda one: one[0])
            now, began, wait = under_way.pop(0)
            spread.waited(wait, now - began)
            spread.came(wait, all_right=True)
    assert max(at_once) <= 15
    assert here == {*range(600)}
    if bytes_per_s == 1000:
        assert max(at_once) == 15


@pytest.mark.parametrize("all_right", [True, False])
def test_what_can_not_be_had_along_is_tried_less(all_right):
    spread, here, along = Spread(200, Line(15)), set(), []
    for number in random.Random(3).sample(range(200), 100):
        if number not in here:
            here.add(number)
            wait = spread.begin(here.__contains__)
            spread.waited(wait, 0.07)
            spread.came(wait, all_right=all_right)
            here |= {*wait.blocks} if all_right else set()
            along.append(len(wait.blocks))
    assert (max(along) == 15) == all_right
    assert sum(along[20:]) <= len(along[20:]) or all_right


@pytest.mark.parametrize("why", ["failures", "slow"])
def test_a_bad_time_is_forgotten(why):
    """A server that was down, or a line that was slow: afterwards as many come along as before."""
    spread, here, along = Spread(5000, Line(15)), set(range(0, 5000, 16)), []
    for turn, number in enumerate(n for n in range(5000) if n % 16):
        is_bad = 50 < turn < 100
        wait = spread.begin(here.__contains__)
        spread.waited(wait, 0.07 * (1 + 3 * wait.beside * (is_bad and why == "slow")))
        spread.came(wait, all_right=not (is_bad and why == "failures"))
        here.add(number)
        along.append(len(wait.blocks))
    assert max(along[:50]) == 15
    assert sum(along[80:100]) <= 20
    assert max(along[100:300]) == 15


def test_one_that_nobody_knows_any_more_has_come():
    """Ctrl-C can end who would have said it."""
    spread = Spread(200, Line(15))
    for wait in [spread.begin(lambda number: True) for _ in range(3)]:
        spread.waited(wait, 0.1)
    lost = spread.begin(lambda number: number % 2 == 0)
    assert lost.beside == 4
    del lost
    gc.collect()
    assert len(spread.begin(lambda number: number % 2 == 0).blocks) == 4


def test_waits_that_began_before_any_came_along():
    """Of several threads: one that began alone says nothing of those that weren't."""
    spread = Spread(200, Line(15))
    first = [spread.begin(lambda number: True) for _ in range(3)]
    for wait in first:
        spread.waited(wait, 0.1)
    alone = spread.begin(lambda number: False)
    beside = spread.begin(lambda number: number % 2 == 0)
    assert (alone.beside, beside.beside) == (0, 4)
    spread.waited(alone, 5.0)
    spread.waited(beside, 0.1)
    spread.came(beside, all_right=True)
    assert spread.begin(lambda number: number % 2 == 0).beside > 2


def test_what_one_process_has_found_out_all_know():
    """Of those that are forked from one: none waits alone again before blocks come along."""
    line = Line(15)
    pid = os.fork()
    if not pid:
        os._exit(max(reading(144, line, lambda along: 0.07)) != 15)
    assert os.waitpid(pid, 0)[1] == 0
    here = set(range(0, 600, 3))
    wait = Spread(600, line).begin(here.__contains__)
    assert (len(wait.blocks), line.limit, line.harmless) == (15, 15, 15)


def test_a_copy_in_another_program_knows_nothing():
    line = Line(15)
    list(reading(144, line, lambda along: 0.07))
    copy = pickle.loads(pickle.dumps(line))
    assert (copy.most, copy.limit, copy.harmless, copy.alone_s) == (15, 15, 0, 0)


@pytest.mark.parametrize("come", range(6))
def test_in_place_of_those_that_have_come_others_may(come):
    line = Line(15)
    line.did_no_harm(15)
    for _ in range(3):
        line.alone(0.07)
    spread, here = Spread(600, line), {*range(0, 600, 3)}
    first = spread.begin(here.__contains__)
    here |= {*first.blocks}
    second = spread.begin(here.__contains__, {*first.blocks[:come]}.__contains__)
    assert (len(second.blocks), second.beside) == (come, 15)


@pytest.mark.parametrize(("times", "is_kept"), [(1, True), (3, True), (6, False), (16, False)])
def test_a_longer_wait_is_worth_it_where_much_comes_with_it(times, is_kept):
    """A busy processor takes its time for 16 blocks, but much less than for one after the other."""
    along = list(reading(600, Line(15), lambda along: 0.1 * (1 + (times - 1) * along / 15)))
    assert (max(along[20:]) == 15) == is_kept


@pytest.mark.parametrize("ways", range(2, 5))
@pytest.mark.parametrize("seconds", [0.02, 0.3])
def test_numbers_that_several_write_at_once_stay_in_bounds(ways, seconds):
    line = Line(15)
    spreads = [Spread(300, line) for _ in range(ways)]
    here = set(range(0, 300, 4))
    for turn in range(200):
        waits = [spread.begin(here.__contains__) for spread in spreads]
        for spread, wait in zip(spreads, waits, strict=True):
            spread.waited(wait, seconds * (1 + (turn % 7)))
            spread.came(wait, all_right=bool(turn % 5))
            assert 0 <= line.limit <= 15
            assert 0 <= line.harmless <= 15 * ways
