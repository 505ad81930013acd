"""Many entries of one name: decided as pair by pair, in linear time and bounded memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blobdir.discovery import merge
from blobdir.discovery.merge import Merger, entry_table
from blobdir.index import FIRST_BLOB, LOOSE, EntryTable
from blobdir.nametable import name_at, pack_names

MODES = ["error", "skip", "rename", "replace"]


def table_of(entries):
    """Of (name, source, offset, size)."""
    columns = np.array([entry[1:] for entry in entries], np.int64).reshape(-1, 3).T
    return EntryTable(*pack_names([entry[0] for entry in entries]), *(column.copy() for column in columns))


def merged(entries, contents, on_conflict):
    """(name, source, offset) of what is kept, and how many conflicts there are."""
    conflicts = []

    def report(*conflict):
        conflicts.append(conflict)
        return len(conflicts) - 1

    def read(_, table, some):
        return {i: found for i in some if (found := contents(*entries[i][1:])) is not None}

    table = Merger("train/img", on_conflict, read, report).merge([table_of(entries)])
    names = table.arena.tobytes().split(b"\0")[:-1]
    return sorted(zip(names, table.source.tolist(), table.offset.tolist(), strict=True)), len(conflicts)


def distinct(entries, contents):
    """The entries of one name that differ from all before them, pair by pair."""
    kept = []
    for one in entries:
        if not any(one[1:] == other[1:] or contents(*one[1:]) == contents(*other[1:]) for other in kept):
            kept.append(one)
    return kept


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.just(b"a"), st.integers(4, 5), st.integers(0, 5), st.integers(1, 3)), min_size=1, max_size=9),
    st.sampled_from(MODES),
)
def test_as_pair_by_pair(drawn, mode):
    def contents(source, offset, size):
        return bytes([offset % 2]) * size

    entries = [(name, FIRST_BLOB + source, offset, size) for name, source, offset, size in drawn]
    expected = distinct(entries, contents)
    found, conflicts = merged(entries, contents, mode)
    if mode == "rename":
        assert [place for _, *place in sorted(found)] == [[*one[1:3]] for one in expected]
        assert len({name for name, *_ in found}) == len(found)
    elif len(expected) > 1 and mode == "error":
        assert (len(found), conflicts) == (1, 1)
    else:
        assert found == [(b"a", *expected[-1 if mode == "replace" else 0][1:3])]
    assert conflicts == (mode == "error" and len(expected) > 1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["ranges", "sizes", "repeats", "files", "names that are taken"])
def test_linear_in_the_entries_of_one_name(mode, what, monkeypatch):
    """Counted is what is done for each entry, not the time."""
    calls = []
    for called in ("_place", "numbered"):
        real = getattr(merge, called)
        monkeypatch.setattr(merge, called, lambda *args, real=real: calls.append(0) or real(*args))
    n = 2000
    entries = {
        "ranges": [(b"a.png", FIRST_BLOB, 10 * i, 10) for i in range(n)],
        "sizes": [(b"a.png", FIRST_BLOB + i % 7, 10, i) for i in range(n)],
        "repeats": [(b"a.png", FIRST_BLOB, 10 * (i % 2), 10) for i in range(n)],
        "files": [(b"a.png", LOOSE, i, -1) for i in range(n)],
        "names that are taken": [
            *((b"a_%d.png" % i, FIRST_BLOB, 10 * i, 10) for i in range(1, n)),
            *((b"a.png", FIRST_BLOB, 10 * i, 10) for i in range(n)),
        ],
    }[what]
    read = []
    merged(entries, lambda source, offset, size: read.append(0) or b"%d" % offset, mode)
    assert len(calls) <= 4 * len(entries)
    assert len(read) <= len(entries)


def test_contents_of_one_name_are_not_in_memory_together(monkeypatch):
    monkeypatch.setattr(merge, "COMPARED_BYTES", 1 << 20)
    entries = [(b"a.png", FIRST_BLOB, i << 18, 1 << 18) for i in range(64)]
    portions = []

    def read(_, table, some):
        portions.append(sum(int(table.size[i]) for i in some))
        return dict.fromkeys(some, b"the same")

    table = Merger("train/img", "error", read, lambda *_: 0).merge([table_of(entries)])
    assert len(table) == 1 and max(portions) <= 1 << 20
    assert list(itertools.accumulate(portions))[-1] == 64 << 18


names_in_folders = st.lists(
    st.lists(st.sampled_from([b"a", b"b", b"cc", b"\xff"]), min_size=1, max_size=4).map(b"/".join), max_size=40
)


@given(names_in_folders, st.integers(1, 5))
def test_by_folder(names, at_once):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "_NAMES_AT_ONCE", at_once)
        table = entry_table(names, 7)
        table.offset[:] = range(len(names))
        found = [
            (parent, [name_at(part.arena, part.starts, i) for i in range(len(part))], part.offset.tolist())
            for parent, part in merge.by_folder(table)
        ]
    expected = {}
    for i, name in enumerate(names):
        parent, _, base = name.rpartition(b"/")
        some = expected.setdefault(parent, ([], []))
        some[0].append(base)
        some[1].append(i)
    assert found == [(parent, *some) for parent, some in expected.items()]
