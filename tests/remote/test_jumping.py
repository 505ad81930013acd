"""Who jumps about in a remote blob that fits the cache: several requests at once, each block once, the right bytes."""

import random
import threading

import pytest
from blob_builder import Builder
from servers import readable

import blobdir
from blobdir.blocks import Spread
from blobdir.sources.transports.web import Web

BLOCK = 1 << 16
IMAGES = {f"{number}.jpg": random.Random(number).randbytes(9000 + number) for number in range(600)}


@pytest.fixture
def watched(nginx, tmp_path, monkeypatch):
    """(URL, ranges of the blob that were asked for, how many were under way at each)."""
    for module in ("blobdir.sources.remotefile", "blobdir.blocks.cache"):
        monkeypatch.setattr(f"{module}.BLOCK_BYTES", BLOCK)
    monkeypatch.setenv("BLOBDIR_CACHE_DIR", str(tmp_path / "cache"))
    www, url, _ = nginx
    made = Builder(www / tmp_path.name)
    made.blob("train", "a", IMAGES)
    readable(made.root)
    asked, under_way, most = [], [0], []
    get = Web.get

    async def noting(self, path, start, end, **more):
        if not path.endswith("a.tar"):
            return await get(self, path, start, end, **more)
        asked.append((start, end))
        under_way[0] += 1
        most.append(under_way[0])
        try:
            return await get(self, path, start, end, **more)
        finally:
            under_way[0] -= 1

    monkeypatch.setattr(Web, "get", noting)
    return f"{url}/{tmp_path.name}", asked, most


def read(url, names, **options):
    dataset = blobdir.open_project(url, **options)["train"]
    for name in names:
        assert dataset.get_blob_img_bytes(name) == IMAGES[name]


def blocks(asked):
    whole = [(start, end) for start, end in asked if end - start >= BLOCK // 2]
    return [number for start, end in whole for number in range(start // BLOCK, -(-end // BLOCK))]


def test_several_at_once_and_each_block_once(watched):
    url, asked, most = watched
    names = sorted(IMAGES)
    random.Random(1).shuffle(names)
    read(url, names)
    assert max(most) > 1
    assert len(blocks(asked)) == len({*blocks(asked)})
    before = len(asked)
    read(url, names)  # all is in the cache
    assert len(asked) == before


@pytest.mark.parametrize(("count", "options"), [(3, {}), (200, {"cache_size": 1 << 20, "memory_size": 1 << 20})])
def test_nothing_is_fetched_along_for_few_or_where_it_cannot_be_kept(watched, monkeypatch, count, options):
    url, asked, _ = watched
    names = sorted(IMAGES)
    random.Random(2).shuffle(names)
    along, real = [], Spread.begin
    monkeypatch.setattr(Spread, "begin", lambda *args: along.append(real(*args)) or along[-1])
    read(url, names[:count], **options)
    assert not any(wait.blocks for wait in along)
    assert len(asked) <= 2 * count


def test_what_fails_ahead_is_no_ones_error(watched, monkeypatch):
    """Who needs it meets it."""
    url, _, _ = watched
    names = sorted(IMAGES)
    random.Random(3).shuffle(names)
    get, here = Web.get, threading.get_ident()
    failed = []

    async def failing(self, path, start, end, **more):
        is_block = path.endswith("a.tar") and start is not None and end - start > BLOCK // 2
        if is_block and len(failed) < 20 and len(failed) % 2 == 0:
            failed.append(start)
            raise ConnectionResetError("reset")
        failed.append(None)
        return await get(self, path, start, end, **more)

    monkeypatch.setattr(Web, "get", failing)
    read(url, names)
    assert here == threading.get_ident()
