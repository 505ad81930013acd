"""Which failures pass, how long to wait, and how requests are merged: the parts without any I/O."""

from itertools import pairwise

import aiohttp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobdir.blocks import Readahead
from blobdir.errors import UsageError
from blobdir.sources import RemoteOptions, parse_size, retries
from blobdir.sources.pace import LARGEST_GAP, LARGEST_REQUEST, SMALLEST_GAP, SMALLEST_REQUEST, Pace, merge_limits
from blobdir.sources.segments import plan_segments


class Answer(Exception):
    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def caused(outer, inner):
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (aiohttp.ServerDisconnectedError(), True),
        (aiohttp.ClientPayloadError(), True),
        (retries.WrongAnswerError("short"), True),
        (Answer(status=503), True),
        (Answer(status_code=429), True),
        (Answer(response={"ResponseMetadata": {"HTTPStatusCode": 500}}), True),
        (caused(OSError("busy"), Answer(status=503)), True),
        (Answer(status=400), False),
        (Answer(status=412), False),
        (Answer(status=403), False),
        (FileNotFoundError(), False),
        (PermissionError(), False),
        (caused(OSError("x"), PermissionError()), False),
        (retries.NoRangesError("none"), False),
        (retries.OtherFormError("encoded"), False),
        (NotImplementedError(), False),
        (TypeError(), False),
        (ValueError(), False),
        (type("NoCredentialsError", (Exception,), {})(), False),
    ],
)
def test_what_passes(error, passes):
    assert retries.is_temporary(error) is passes


def test_retry_after():
    assert retries.retry_after_s(Answer(headers={"Retry-After": "7"})) == 7
    assert retries.retry_after_s(Answer(headers={"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"})) == 0
    assert retries.retry_after_s(Answer(headers={"retry-after": "soon"})) is None
    given = Answer(response={"ResponseMetadata": {"HTTPHeaders": {"retry-after": "2.5"}}})
    assert retries.retry_after_s(caused(OSError(), given)) == 2.5
    assert retries.retry_after_s(OSError()) is None


def test_pauses_double_differ_and_end():
    for attempt in range(1, 20):
        top = min(retries.LONGEST_PAUSE_S, retries.PAUSE_S * 2 ** (attempt - 1))
        found = {retries.pause_s(attempt, None) for _ in range(50)}
        assert top / 2 <= min(found) < max(found) <= top
    assert retries.pause_s(1, 3) == 3


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("500MB", 500 * 10**6), ("20GiB", 20 << 30), ("1.5k", 1500), (" 3 Mi ", 3 << 20), (7, 7)],
)
def test_sizes(text, size):
    assert parse_size(text, "x") == size


@pytest.mark.parametrize("text", ["", "many", "-1", "1 parsec", "1GiBs", -5])
def test_sizes_that_are_none(text):
    with pytest.raises(UsageError, match="x="):
        parse_size(text, "x")


def test_limits_follow_the_pace():
    pace = Pace()
    for _ in range(10):
        pace.note(4096, 0.02)
        pace.note(4 << 20, 0.02 + (4 << 20) / 500e6)
    assert 0.01 < pace.latency_s < 0.025
    gap, request = merge_limits(pace.latency_s, pace.bytes_per_s, 16)
    near = merge_limits(0.0002, 1e9, 16)
    assert near[0] <= gap
    assert near[1] <= request
    for limits in ((0, 1, 1), (10, 1e10, 1), (0.02, 1e6, 16)):
        gap, request = merge_limits(*limits)
        assert SMALLEST_GAP <= gap <= LARGEST_GAP
        assert SMALLEST_REQUEST <= request <= LARGEST_REQUEST


BLOCK = 64


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 300)), max_size=40),
    st.sets(st.integers(0, 40)),
    st.sampled_from([0.01, 0.25, 1]),
    st.sampled_from([0, 10, 1000]),
    st.sampled_from([64, 200, 1000]),
)
def test_plan_gives_exactly_what_was_wanted(ranges, cached, density, gap, request):
    size = 2000
    start = np.array([low for low, _ in ranges], np.int64)
    end = np.minimum(start + np.array([n for _, n in ranges], np.int64), size)
    start = np.minimum(start, end)
    content = np.random.default_rng(0).integers(0, 256, size, np.uint8).tobytes()
    plan = plan_segments(
        start, end, block=BLOCK, size=size, has=lambda n: n in cached, gap=gap, request=request, density=density
    )
    found = [b""] * len(ranges)
    for segment, (owners, lows, highs) in zip(plan.segments, plan.pieces(), strict=True):
        assert 0 <= segment.start < segment.end <= size
        assert not segment.cached or segment.start // BLOCK == (segment.end - 1) // BLOCK
        assert not segment.whole or (segment.start % BLOCK == 0 and (segment.end % BLOCK == 0 or segment.end == size))
        data = content[segment.start : segment.end]
        for owner, low, high in zip(owners, lows, highs, strict=True):
            assert 0 <= low < high <= len(data)
            found[owner] += data[low:high]
    assert found == [content[low:high] for low, high in zip(start.tolist(), end.tolist(), strict=True)]
    fetched = [s for s in plan.segments if not s.cached]
    for a, b in pairwise(fetched):
        assert a.end <= b.start  # nothing is fetched twice
    for segment in fetched:
        if segment.whole:
            assert not cached & set(range(segment.start // BLOCK, -(-segment.end // BLOCK)))


def test_readahead_grows_for_who_reads_on_and_costs_others_nothing():
    ahead = Readahead(16)
    asked = [len(ahead.blocks_ahead(n, n)) for n in range(40)]
    assert asked[0] == 0
    assert max(asked) <= 16 + 1
    assert sum(asked) >= 39
    window = ahead.blocks_ahead(39, 39)
    assert not window  # the same block again
    assert ahead.is_stream(39)
    order = np.random.default_rng(0).permutation(10_000)[:500] * 7
    assert not any(ahead.blocks_ahead(int(n), int(n)) for n in order)


def test_readahead_of_two_readers():
    ahead = Readahead(8)
    for n in range(20):
        ahead.blocks_ahead(n, n)
        ahead.blocks_ahead(1000 + n, 1000 + n)
    assert ahead.is_stream(19)
    assert ahead.is_stream(1019)


def test_folder_of_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text('[cache]\ndir = "~/scratch"\nsize = 1.5\n')
    monkeypatch.setenv("BLOBDIR_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("BLOBDIR_CACHE_SIZE", "")
    given = RemoteOptions(cache_dir="here")
    monkeypatch.chdir("/")  # as a mount in the background does
    assert given.folder == tmp_path / "here"
    assert RemoteOptions(cache_dir="~/there").folder == tmp_path / "there"
    assert RemoteOptions().folder == tmp_path / "scratch"
    assert RemoteOptions().disk_bytes == 1
