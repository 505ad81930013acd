"""The cache folder: bounded, checked, shared, and never a reason to fail."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest

from blobdir.blocks import BLOCK_BYTES, BlockCache, DiskTier, Origin
from blobdir.blocks.cache import _Job
from blobdir.blocks.disk import _HELD, unlock
from blobdir.errors import BlobdirWarning, ReadError

KEY, OTHER = "ab" * 16, "cd" * 16


def content(number, size=100_000):
    return random.Random(number).randbytes(size)


@pytest.fixture(autouse=True)
def _all_unlocked():
    """A lock that is still noted, and closed, would have every forked process close what has its number then."""
    yield
    end = time.monotonic() + 10
    while _HELD and time.monotonic() < end:  # blocks are written by a thread
        time.sleep(0.01)
    assert not _HELD


@pytest.fixture
def disk(tmp_path):
    return DiskTier(tmp_path / "cache", 1 << 20)


def files(disk):
    return sorted(p for p in (disk.folder / "blocks").rglob("*") if p.is_file() and p.name[:5] != "file.")


def test_what_is_written_is_read(disk):
    assert disk.read(KEY, 0, 0, 5) is None
    data = content(1)
    disk.write(KEY, 7, data, "s3://bucket/a.tar")
    for low, high in [(0, 5), (16383, 16385), (0, 100_000), (99_999, 100_000), (50_000, 50_000)]:
        assert disk.read(KEY, 7, low, high) == data[low:high]
    assert disk.read(KEY, 8, 0, 5) is None
    assert disk.read(OTHER, 7, 0, 5) is None
    again = DiskTier(disk.folder, disk.limit)  # another process, another day
    assert again.read(KEY, 7, 0, 100_000) == data
    assert again.usage().files == {"s3://bucket/a.tar": os.path.getsize(files(disk)[0])}


@pytest.mark.parametrize("where", range(0, 100_500, 1571))
def test_a_flipped_bit_is_never_served(disk, where):
    data = content(1)
    disk.write(KEY, 7, data, "x")
    path = files(disk)[0]
    raw = bytearray(path.read_bytes())
    raw[min(where, len(raw) - 1)] ^= 4
    path.write_bytes(raw)
    reader = DiskTier(disk.folder, disk.limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        for low in range(0, 100_000, 10_000):
            assert reader.read(KEY, 7, low, low + 10_000) in (data[low : low + 10_000], None)
    if reader.damaged:
        assert not path.exists()  # and so it's fetched again


@pytest.mark.parametrize("damage", ["cut", "empty", "longer", "swapped", "renamed"])
def test_damaged_files(disk, damage):
    disk.write(KEY, 7, content(1), "x")
    disk.write(KEY, 8, content(2), "x")
    path = files(disk)[0]
    if damage == "cut":
        os.truncate(path, 50_000)
    elif damage == "empty":
        os.truncate(path, 0)
    elif damage == "longer":
        path.write_bytes(path.read_bytes() + b"x")
    elif damage == "swapped":
        path.write_bytes(files(disk)[1].read_bytes())
    else:
        os.rename(files(disk)[1], path)
    reader = DiskTier(disk.folder, disk.limit)
    with pytest.warns(BlobdirWarning, match="fetched again"):
        assert reader.read(KEY, 7, 0, 10) is None


def test_bounded_and_the_least_recently_used_go_first(disk):
    for number in range(8):
        disk.write(KEY, number, content(number), "x")
        os.utime(disk._path(KEY, number), (1000 + number, 1000 + number))
    reader = DiskTier(disk.folder, disk.limit)
    assert reader.read(KEY, 0, 0, 5) == content(0)[:5]  # used now, so it stays
    for number in range(8, 16):
        disk.write(KEY, number, content(number), "x")
        assert sum(p.stat().st_size for p in files(disk)) <= disk.limit
    assert disk.has(KEY, 15)
    assert DiskTier(disk.folder, disk.limit).has(KEY, 0)
    assert not DiskTier(disk.folder, disk.limit).has(KEY, 1)
    assert disk.usage().size <= disk.limit


def write_some(folder, limit, seed):
    disk = DiskTier(folder, limit)
    for _ in range(40):
        number = random.Random(f"{seed}{_}").randrange(30)
        disk.write(KEY, number, content(number), "x")
        found = disk.read(KEY, number, 10, 2000)
        assert found is None or found == content(number)[10:2000]


def test_several_processes_stay_within_the_limit(disk):
    workers = [multiprocessing.Process(target=write_some, args=(disk.folder, disk.limit, seed)) for seed in range(3)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        if disk.folder.exists():
            with disk._ledger():  # nobody begins or removes one now
                assert sum(p.stat().st_size for p in files(disk)) <= disk.limit
        time.sleep(0.002)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    ledger = int.from_bytes((disk.folder / "ledger").read_bytes(), "little")
    assert sum(p.stat().st_size for p in files(disk)) <= ledger <= disk.limit


def test_killed_while_writing(disk):
    code = (
        "import sys; from blobdir.blocks import DiskTier\n"
        f"d = DiskTier({str(disk.folder)!r}, {disk.limit})\n"
        "print('go', flush=True)\n"
        "for i in range(10**9): d.write('ab' * 16, i % 9, bytes([i % 9]) * 100_000, 'x')\n"
    )
    for delay in (0.01, 0.03, 0.06, 0.1):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        reader = DiskTier(disk.folder, disk.limit)
        for number in range(9):
            assert reader.read(KEY, number, 0, 100_000) in (None, bytes([number]) * 100_000)
        assert not reader.damaged


def test_what_was_left_half_written_goes(disk):
    disk.write(KEY, 1, content(1), "x")
    left = files(disk)[0].with_name("2.deadbeef")
    left.write_bytes(b"half")
    os.utime(left, (1000, 1000))
    disk.usage()
    assert not left.exists()


def test_clear(disk):
    disk.write(KEY, 1, content(1), "s3://a/x")
    disk.write(OTHER, 1, content(2), "s3://b/x")
    assert disk.clear("s3://a") > 100_000
    assert list(disk.usage().files) == ["s3://b/x"]
    disk.clear()
    assert disk.usage().blocks == 0
    disk.write(KEY, 1, content(1), "s3://a/x")
    assert disk.read(KEY, 1, 0, 9) == content(1)[:9]


def read_all(cache, origin):
    found = []
    for number in range(4):
        found.append(cache.fetch(origin, [number])[number])
        cache.flush()
    return found


def test_full_disk_is_no_reason_to_fail(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place], check=True)
    try:
        cache = BlockCache(0, DiskTier(place / "cache", 8 << 20))
        asked = []
        origin = origin_of(asked)
        with pytest.warns(BlobdirWarning, match="make room"):
            assert read_all(cache, origin) == [block(number) for number in range(4)]
        assert cache.fetch(origin, [0])[0] == block(0)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_folder_that_cant_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    cache = BlockCache(0, DiskTier(tmp_path / "file" / "cache", 8 << 20))
    with pytest.warns(BlobdirWarning, match="can't be used as a cache"):
        assert cache.fetch(origin_of([]), [1])[1] == block(1)


# -- one fetch for all ------------------------------------------------------------------------------------------------

SIZE = 3 * BLOCK_BYTES + 1000


def block(number):
    low = number * BLOCK_BYTES
    return bytes([number]) * (min(low + BLOCK_BYTES, SIZE) - low)


def origin_of(asked, delay=0.0):
    def get(ranges):
        for low, high in ranges:
            time.sleep(delay)
            asked.append(low // BLOCK_BYTES)
            yield block(low // BLOCK_BYTES)[: high - low]

    return Origin(KEY, SIZE, "x", get)


def test_threads_fetch_a_block_once():
    asked = []
    cache = BlockCache(8 << 20)
    origin = origin_of(asked, 0.05)
    found = []
    threads = [threading.Thread(target=lambda: found.append(cache.fetch(origin, [0, 1, 2, 3]))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [{n: block(n) for n in range(4)}] * 8
    assert sorted(asked) == [0, 1, 2, 3]


def test_who_waited_for_one_that_failed_tries_it_again():
    cache = BlockCache(8 << 20)
    first = threading.Event()
    outcomes = []

    def get(ranges):
        if not first.is_set():
            first.set()
            time.sleep(0.2)
            raise OSError("broke")
        return iter([block(0)])

    origin = Origin(KEY, SIZE, "x", get)

    def read():
        try:
            outcomes.append(cache.fetch(origin, [0])[0])
        except OSError as error:
            outcomes.append(str(error))

    one = threading.Thread(target=read)
    one.start()
    assert first.wait(5)
    two = threading.Thread(target=read)
    two.start()
    one.join(5)
    two.join(5)
    assert sorted(outcomes, key=str) == sorted(["broke", block(0)], key=str)


def fetch_in_a_process(folder, log, barrier):
    def get(ranges):
        for low, _ in ranges:
            with open(log, "a") as file:
                file.write(f"{low // BLOCK_BYTES}\n")
            time.sleep(0.05)
            yield block(low // BLOCK_BYTES)

    cache = BlockCache(0, DiskTier(folder, 64 << 20))
    barrier.wait()
    found = cache.fetch(Origin(KEY, SIZE, "x", get), [0, 1, 2, 3])
    assert found == {n: block(n) for n in range(4)}
    cache.flush()


def test_processes_fetch_a_block_once(tmp_path):
    barrier = multiprocessing.Barrier(4)
    log = tmp_path / "log"
    workers = [
        multiprocessing.Process(target=fetch_in_a_process, args=(tmp_path / "cache", log, barrier)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert sorted(log.read_text().split()) == ["0", "1", "2", "3"]


def test_lock_of_a_killed_process_is_free(tmp_path):
    disk = DiskTier(tmp_path / "cache", 64 << 20)
    code = (
        "import time; from blobdir.blocks import DiskTier\n"
        f"d = DiskTier({str(disk.folder)!r}, 1 << 20); lock = d.try_lock({KEY!r}, 0)\n"
        "print(lock, flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert int(holder.stdout.readline()) >= 0
    assert disk.try_lock(KEY, 0) is None
    threading.Timer(0.3, holder.kill).start()
    began = time.monotonic()
    assert BlockCache(0, disk).fetch(origin_of([]), [0])[0] == block(0)
    assert 0.2 < time.monotonic() - began < 10
    holder.wait()


def test_memory_is_bounded_and_a_fork_starts_anew():
    cache = BlockCache(2 * BLOCK_BYTES)
    origin = origin_of([])
    for number in range(4):
        cache.fetch(origin, [number])
    assert cache.find(KEY, 0, 0, 4) is None
    assert cache.find(KEY, 3, 0, 4) == block(3)[:4]
    pid = os.fork()
    if not pid:
        ok = cache.find(KEY, 3, 0, 4) is None and cache.fetch(origin, [3])[3] == block(3)
        os._exit(0 if ok else 1)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_folder_is_its_owners_only(tmp_path):
    disk = DiskTier(tmp_path / "a" / "cache", 1 << 20)
    unlock(disk.try_lock(KEY, 1))
    disk.write(KEY, 1, content(1), "x")
    assert disk.folder.stat().st_mode & 0o077 == 0
    assert files(disk)[0].stat().st_mode & 0o077 == 0


def test_a_forked_process_holds_no_locks(tmp_path):
    disk = DiskTier(tmp_path / "cache", 64 << 20)
    lock = disk.try_lock(KEY, 0)
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    try:
        unlock(lock)
        again = disk.try_lock(KEY, 0)
        assert again is not None
        unlock(again)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_forked_process_closes_nothing_twice(tmp_path):
    """A thread of the parent had the lock, and what it had in hand is thrown away in the child, at any time."""
    disk = DiskTier(tmp_path / "cache", 64 << 20)
    lock = disk.try_lock(KEY, 0)
    pid = os.fork()
    if not pid:
        own = os.open(tmp_path, os.O_RDONLY)
        os.dup2(own, lock)  # the child has made a file of its own of that number
        unlock(lock)
        os._exit(0 if os.path.sameopenfile(own, lock) else 1)
    unlock(lock)
    assert os.waitpid(pid, 0)[1] == 0


def test_who_waits_for_one_that_gave_up_gives_up_too():
    cache = BlockCache(8 << 20)
    asked = []

    def get(ranges):
        asked.append(ranges)
        time.sleep(0.3)
        raise ReadError("10 tries in 60 s")

    outcomes = []

    def read():
        try:
            cache.fetch(Origin(KEY, SIZE, "x", get), [0])
        except ReadError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert outcomes == ["10 tries in 60 s"] * 4
    assert len(asked) == 1  # else they would wait twice as long as their deadline


def test_full_disk_where_warnings_are_errors(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    cache = BlockCache(0, DiskTier(tmp_path / "cache", 1 << 30))
    unlock(cache.disk.try_lock(KEY, 0))
    cache.disk.folder = tmp_path / "file"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(200):  # more than may wait to be written
            cache.write(_Job(KEY, number, b"x" * 100, "x", -1))
        flushing = threading.Thread(target=cache.flush, daemon=True)
        flushing.start()
        flushing.join(5)
    assert not flushing.is_alive()


def test_whose_blocks_are_is_known_after_they_were_removed(disk):
    disk.write(KEY, 0, content(1), "s3://bucket/a.tar")
    DiskTier(disk.folder, disk.limit).clear()  # another process
    disk.write(KEY, 0, content(1), "s3://bucket/a.tar")
    assert list(disk.usage().files) == ["s3://bucket/a.tar"]
    assert disk.clear("s3://bucket/") > 0
    assert files(disk) == []
