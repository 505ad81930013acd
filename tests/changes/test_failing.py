"""A system call fails: the disk is full, or broken, or may not be written. At once, the project is old or new.

Nobody calls `recover`: who made the change either finishes it or takes it back, and says so by its error.
"""

from __future__ import annotations

import shutil
from functools import partial

import pytest
from changes.children import failed_in, some, trace_calls
from changes.looking import faults, seen, shown
from changes.operations import OPERATIONS, copied, judge_result, next_change, prepare, state, upload

from blobdir.packing import recover

MOST = 15
ERRORS = {
    "openat": "ENOSPC", "write": "ENOSPC", "pwrite64": "ENOSPC", "ftruncate": "EIO", "fsync": "EIO", "fdatasync": "EIO",
    "syncfs": "EIO", "rename": "EIO", "renameat": "EIO", "renameat2": "EIO", "link": "EIO", "linkat": "EIO",
    "symlink": "EIO", "unlink": "EACCES", "unlinkat": "EACCES", "mkdir": "EACCES", "rmdir": "EACCES", "fchmod": "EPERM",
    "sendfile": "ENOSPC", "copy_file_range": "ENOSPC", "fallocate": "ENOSPC", "writev": "ENOSPC", "pwritev": "ENOSPC",
}  # fmt: skip


COMPACTING = [one for name, one in OPERATIONS.items() if name.startswith("compact")]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("failing"))


@pytest.fixture(params=OPERATIONS)
def case(request, base, tmp_path):
    operation = OPERATIONS[request.param]
    start = copied(base, tmp_path / "start")
    source = shown(start / "p")
    operation.before(start)
    upload(base)
    done = copied(start, tmp_path / "done")
    points = trace_calls(lambda: operation.run(done), tmp_path / "trace")
    old, new = state(operation, start), state(operation, done)
    shutil.rmtree(done)
    return operation, start, source, old, new, [point for point in points if point[0] in ERRORS]


@pytest.mark.timeout(900)
def test_a_call_that_fails_once(case, tmp_path):
    operation, start, source, old, new, points = case
    for number, (call, n) in enumerate(some(points, MOST)):
        base = copied(start, tmp_path / f"{number}")
        print(f"{call} {n} fails with {ERRORS[call]}")  # pytest shows the last one beside what went wrong
        succeeded = failed_in(partial(operation.run, base), call, n, ERRORS[call])
        if operation.makes:
            found = state(operation, base)
            assert found in ({}, new), "half a project stands at its place"
            if not found:
                operation.again(base)
            judge_result(operation, base, [new], source)
        else:
            _judge(operation, base, old, new, succeeded, call)
        shutil.rmtree(base)


def _judge(operation, base, old, new, succeeded, call):
    root = base / "p"
    found = state(operation, base)
    if call == "unlink" and (root / ".blobdir/journal.json").exists():  # nothing else is left to be done
        assert found is None
        assert not succeeded
        recover(root)
        found = state(operation, base)
        assert found == new
    assert found == new if succeeded else found in (old, new)
    assert not (root / ".blobdir/journal.json").exists()
    if found == new:
        assert faults(root) == []
    if old is not None:
        next_change(root, (found,), compacting=operation not in COMPACTING)
    if found == old != new:
        operation.again(base)
    assert state(operation, base) == new
    assert faults(root) == []


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["add", "remove", "move", "compact", "merge", "transaction"])
def test_a_disk_that_stays_full(base, tmp_path, name):
    """From some write on, all fail; then there is room again."""
    operation = OPERATIONS[name]
    done = copied(base, tmp_path / "done")
    points = trace_calls(lambda: operation.run(done), tmp_path / "trace")
    old, new = state(operation, base), state(operation, done)
    writes = [n for call, n in points if call == "write"]
    for number, n in enumerate(some(writes, 6)):
        folder = copied(base, tmp_path / f"{number}")
        print(f"write {n} and all after it fail with ENOSPC")
        succeeded = failed_in(partial(operation.run, folder), "write", f"{n}+", "ENOSPC")
        found = seen(folder / "p")
        assert found in (None, old, new)
        assert not succeeded or found == new
        assert next_change(folder / "p", (old, new), compacting=name != "compact") in (old, new)
        shutil.rmtree(folder)
