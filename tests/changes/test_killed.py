"""SIGKILL at every system call that changes something, looked at before anything is recovered, and after.

BLOBDIR_TEST_EVERY_CALL=1 tries every call of every operation; by default those where names change, and some others.
"""

from __future__ import annotations

import shutil
import signal
from functools import partial

import pytest
from changes.children import Child, changes, every_call, killed_in, some, trace_calls, watch
from changes.looking import faults, seen, shown
from changes.operations import (
    CHANGING,
    OPERATIONS,
    copied,
    difference,
    has_removed_bytes,
    judge_result,
    next_change,
    prepare,
    state,
    upload,
)
from changes.samples import files_below

from blobdir.errors import BusyError
from blobdir.packing import recover, remove

MOST = 18
COMPACTING = [one for name, one in OPERATIONS.items() if name.startswith("compact")]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("killed"))


@pytest.fixture(params=OPERATIONS)
def case(request, base, tmp_path):
    """An operation; a copy of the folder before it; what is shown before and after it; its calls."""
    operation = OPERATIONS[request.param]
    start = copied(base, tmp_path / "start")
    source = shown(start / "p")
    operation.before(start)
    upload(base)
    done = copied(start, tmp_path / "done")
    points = trace_calls(lambda: operation.run(done), tmp_path / "trace")
    old, new = state(operation, start), state(operation, done)
    assert new, "it has made nothing, or something with defects"
    assert faults(operation.root(done)) == []
    if request.param.startswith("compact"):
        assert has_removed_bytes(start)
        assert not has_removed_bytes(done)
    if request.param == "verify --repair":
        assert old is None or old != new
    elif not request.param.startswith("compact"):
        assert old != new
    shutil.rmtree(done)
    return operation, start, source, old, new, points


@pytest.mark.timeout(900)
def test_killed_at_every_system_call(case, tmp_path):
    operation, start, source, old, new, points = case
    assert len(points) > 8
    outcomes = set()
    for number, (call, n) in enumerate(some(points, MOST)):
        base = copied(start, tmp_path / f"{number}")
        print(f"killed in {call} {n}")  # pytest shows the last one beside what went wrong
        if killed_in(partial(operation.run, base), call, n):
            before = state(operation, base)
            assert before in (None, old, new), (
                f"half a change is shown as a whole one: {difference(before, [old, new])}"
            )
            if operation.makes:
                assert before is not None, "half a project stands at its place"
                if not before:
                    operation.again(base)
                    assert judge_result(operation, base, [new], source) == new
            else:
                _finish(operation, base, old, new, number)
            outcomes.add(before == new)
        shutil.rmtree(base)
    assert outcomes


def _finish(operation, base, old, new, number):
    """The next change works, whichever it is, and finishes or undoes what was cut off."""
    root = base / "p"
    if number % 2 and old is not None:
        found = next_change(root, (old, new), compacting=operation not in COMPACTING)
    else:
        recover(root)
        found = state(operation, base)
        assert found in (old, new)
    assert not (root / ".blobdir/journal.json").exists()
    assert not (root / ".blobdir/staging").exists()
    if found == old != new:
        operation.again(base)
    assert state(operation, base) == new
    assert faults(root) == []


@pytest.mark.parametrize("name", CHANGING)
def test_stopped_in_the_middle(name, base, tmp_path, monkeypatch):
    """A writer that is alive, at any of its changes: readers see old or new or are told; other writers have to wait."""
    monkeypatch.setattr("blobdir.discovery.unfinished.WAIT_S", 0.05)
    operation = OPERATIONS[name]
    start = copied(base, tmp_path / "start")
    operation.before(start)
    done = copied(start, tmp_path / "done")
    operation.run(done)
    old, new = state(operation, start), state(operation, done)
    number = 0
    while _stop_at(operation, start, tmp_path / f"{number}", number, old, new):
        number += 1 if every_call() else 15
    assert number > 20


def _stop_at(operation, start, folder, number, old, new):
    """Stop it at its change of this number, look, and let it go on; whether it had so many."""
    copied(start, folder)
    left = number

    def at(event, arguments):
        nonlocal left
        left -= changes(event, arguments)
        return left < 0

    with Child(lambda: operation.run(folder), lambda: watch(at, signal.SIGSTOP)) as child:
        stopped = child.stopped()
        if stopped:
            assert state(operation, folder) in (None, old, new)
            if seen(folder / "p") is not None and (folder / "p/.blobdir/staging").exists():
                before = files_below(folder / "p")
                with pytest.raises(BusyError):
                    remove(folder / "p", ["train/a008.png"])
                with pytest.raises(BusyError):
                    recover(folder / "p")
                assert files_below(folder / "p") == before
            child.go_on()
        assert child.ended() == 0
    assert state(operation, folder) == new
    shutil.rmtree(folder)
    return stopped
