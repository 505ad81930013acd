"""The power fails after any system call: what was synced is there, of the rest some or nothing. Then: old or new."""

from __future__ import annotations

import hashlib
import os
import random
import shutil

import pytest
from changes.children import every_call
from changes.looking import faults, shown
from changes.operations import OPERATIONS, copied, difference, judge_result, next_change, prepare, state, upload
from changes.power import Disk, materialise, recorded, replay

from blobdir.packing import recover

MOST = 30
"""Of all states that a failure can leave, so many are looked at for each operation."""

EMPTY, ZEROS, KEPT = (lambda inode: inode.durable), (lambda inode: bytes(len(inode.data))), (lambda inode: inode.data)


def failures(seed):
    """Ways for what wasn't synced to survive: which names, and which bytes."""
    chance = random.Random(seed)
    kept = [chance.random() < 0.5 for _ in range(1000)]
    until = chance.randrange(20)

    def any_bytes(inode):
        return chance.choice((EMPTY, ZEROS, KEPT))(inode)

    return [
        (lambda n: False, EMPTY),
        (lambda n: True, EMPTY),
        (lambda n: True, ZEROS),
        (lambda n: True, KEPT),
        (lambda n: kept[n % 1000], any_bytes),
        (lambda n: n < until, EMPTY),
        (lambda n: n >= until, KEPT),
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("power"))


@pytest.fixture(params=OPERATIONS)
def case(request, base, tmp_path):
    operation = OPERATIONS[request.param]
    start = copied(base, tmp_path / "start")
    source = shown(start / "p")
    operation.before(start)
    upload(base)
    work = os.path.realpath(copied(start, tmp_path / "work"))
    disk = Disk(work)
    trace = recorded(lambda: operation.run(tmp_path / "work"), tmp_path / "trace")
    return operation, source, state(operation, start), state(operation, tmp_path / "work"), disk, trace


def as_it_is(folder):
    """Path -> bytes of a folder; None for folders, where a link leads."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = os.readlink(path).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
    return found


@pytest.mark.timeout(900)
def test_power_fails_at_any_time(case, tmp_path):
    operation, source, old, new, disk, trace = case
    states = {}
    for number, call in enumerate(replay(trace, disk)):
        if call not in ("write", "pwrite64", "sendfile", "copy_file_range"):
            for way, (names, data) in enumerate(failures(number)):
                found = disk.after_failure(names, data)
                key = hashlib.sha256(repr(sorted(found.items())).encode()).digest()
                states.setdefault(key, (found, f"after call {number}, {call}, failure {way}"))
    assert {p: d for p, (_, d, _) in disk.as_seen().items()} == as_it_is(tmp_path / "work")  # nothing was overlooked
    assert len(states) > 3
    chosen = list(states.values())
    if not every_call() and len(chosen) > MOST:
        chosen = random.Random(7).sample(chosen, MOST)
    for number, (found, when) in enumerate(chosen):
        print(when)  # pytest shows the last one beside what went wrong
        folder = materialise(found, tmp_path / f"{number}")
        _judge(operation, folder, old, new, source, number)
        shutil.rmtree(folder)


def _judge(operation, folder, old, new, source, number):
    before = state(operation, folder)
    assert before in (None, old, new), f"half a change is shown as a whole one: {difference(before, [old, new])}"
    if operation.makes:
        assert before is not None, "half a project stands at its place"
        if not before:
            operation.again(folder)
        judge_result(operation, folder, [new], source)
        return
    if number % 2 and old is not None:
        assert next_change(folder / "p", (old, new), compacting=False) in (old, new)
    else:
        recover(folder / "p")
        after = state(operation, folder)
        assert after in (old, new), after and difference(after, [old, new])
        if after is not None and after == new:
            assert faults(folder / "p") == []


def test_what_has_ended_is_on_the_disk(case, tmp_path):
    """Exit status 0 means that it can't be lost any more."""
    operation, _, _, new, disk, trace = case
    for _ in replay(trace, disk):
        pass
    folder = materialise(disk.after_failure(lambda n: False, EMPTY), tmp_path / "after")
    assert state(operation, folder) == new
    assert faults(operation.root(folder)) == []


def careless(base):
    (base / "new").write_bytes(b"new bytes")
    os.rename(base / "new", base / "file")


def careful(base):
    (base / "new").write_bytes(b"new bytes")
    sync(base / "new")
    os.rename(base / "new", base / "file")
    sync(base)


def sync(path):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


@pytest.mark.parametrize("way", [careless, careful])
def test_the_disk_tells_careless_from_careful(tmp_path, way):
    """The judge itself: bytes that weren't synced before a rename are lost, and others aren't."""
    base = tmp_path / "base"
    (base / "folder").mkdir(parents=True)
    (base / "file").write_bytes(b"old bytes")
    disk = Disk(os.path.realpath(base))
    trace = recorded(lambda: way(base), tmp_path / "trace")
    found = set()
    for number, _ in enumerate(replay(trace, disk)):
        for names, data in failures(number):
            found.add(disk.after_failure(names, data)["file"][1])
    at_last = disk.after_failure(lambda n: False, EMPTY)["file"][1]
    if way is careful:
        assert (found, at_last) == ({b"old bytes", b"new bytes"}, b"new bytes")
    else:
        assert (found, at_last) == ({b"old bytes", b"new bytes", b"", bytes(9)}, b"old bytes")
