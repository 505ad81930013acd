"""The table against a plain dictionary of paths, in memory and stored."""

import os
import signal
import subprocess
import sys
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blobdir.discovery.merge import entry_table
from blobdir.errors import IndexFormatError
from blobdir.index import (
    BROKEN,
    DIRECTORY,
    FIRST_BLOB,
    LINK,
    LOOSE,
    Defect,
    EntryTable,
    Header,
    SourceRecord,
    build_index,
    load_index,
    save_index,
    store,
)
from blobdir.index.checks import MOST, PATH_BYTES
from blobdir.index.hashing import PROBE_LIMIT, tag_mask
from blobdir.index.table import SMALL_NAMES
from blobdir.nametable import pack_names


def table(entries):
    """entries: name -> (source, offset, size)."""
    columns = (np.array([value[i] for value in entries.values()], np.int64) for i in range(3))
    return EntryTable(*pack_names(entries), *columns)


def build(files):
    """files: path bytes -> (offset, size)."""
    folders = {b"": {}}
    for path, (offset, size) in files.items():
        parts = path.split(b"/")
        for depth in range(1, len(parts)):
            folders.setdefault(b"/".join(parts[:depth]), {})
            folders[b"/".join(parts[: depth - 1])][parts[depth - 1]] = (DIRECTORY, 0, 0)
        folders[b"/".join(parts[:-1])][parts[-1]] = (FIRST_BLOB, offset, size)
    header = Header(blobs=[SourceRecord("blob/a.tar", "blob")])
    return build_index({os.fsdecode(path): table(entries) for path, entries in folders.items()}, header), folders


COMPONENT = (
    st.binary(min_size=1, max_size=12)
    .map(lambda b: b.replace(b"\0", b"n").replace(b"/", b"s"))
    .filter(lambda b: b not in (b".", b".."))
)
FILES = st.dictionaries(
    st.lists(COMPONENT, min_size=1, max_size=4).map(b"/".join), st.tuples(st.integers(0, 2**62), st.integers(0, 2**40))
).filter(lambda files: not any(a != b and b.startswith(a + b"/") for a in files for b in files))


def check(index, files, folders):
    assert len(index) == 1 + len(files) + len(folders) - 1
    rows = {b"": 0}
    for path in sorted(folders):
        row = rows[path]
        children = index.children(row)
        assert [index.name(child) for child in children] == sorted(folders[path])
        assert index.names_text(children.start, children.stop) == [os.fsdecode(n) for n in sorted(folders[path])]
        found = index.lookup_many(row, *pack_names(folders[path])).tolist()
        for name, many in zip(folders[path], found, strict=True):
            child = index.lookup(row, name)
            assert child == many
            assert child == index.buffers.bisect(children.start, children.stop, name)
            assert index.parent(child) == row
            rows[path + b"/" + name if path else name] = child
        assert index.lookup(row, b"no such name") == -1
        assert index.lookup_many(row, *pack_names([b"no such name"])).tolist() == [-1]
    for path, (offset, size) in files.items():
        row = rows[path]
        assert index.path(row) == path
        assert (int(index.source[row]), int(index.offset[row]), int(index.size[row])) == (FIRST_BLOB, offset, size)
    assert sorted(index.path(row) for row in index.walk()) == sorted(folders)


@settings(deadline=None)
@given(FILES)
def test_index_is_the_dictionary(files):
    index, folders = build(files)
    check(index, files, folders)


@settings(deadline=None, max_examples=25)
@given(FILES, st.sampled_from([0, SMALL_NAMES]))
def test_stored_index_is_the_dictionary(tmp_path_factory, files, small):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("blobdir.index.table.SMALL_NAMES", small)
        check_stored(tmp_path_factory, files)


def check_stored(tmp_path_factory, files):
    index, folders = build(files)
    place = tmp_path_factory.mktemp("index") / "index"
    save_index(index, place)
    again = load_index(place)
    check(again, files, folders)
    assert again.header == index.header


@pytest.mark.parametrize("rows", [1, 2, 300, 1 << 20, 10_000_000, (1 << 29) - 1, 1 << 29, 1 << 30, 1 << 33])
def test_a_tag_leaves_room_for_every_row(rows):
    assert tag_mask(rows) & rows == 0
    assert tag_mask(rows) > rows or tag_mask(rows) == 0


def test_names_of_other_rows_are_hardly_ever_looked_at():
    files = {b"img/%06d.jpg" % i: (i, 1) for i in range(20_000)}
    index, _ = build(files)
    parent, looked = index.lookup(0, b"img"), 0
    mask, tags = index.capacity - 1, tag_mask(len(index))
    for row in index.children(parent):
        code = zlib.crc32(index.name(row), parent)
        slot, found = code & mask, -1
        while found != row:
            found = (int(index.slots[slot]) ^ (code & tags)) - 1
            looked += 0 <= found < len(index)
            slot += 1
    assert looked < 1.01 * len(files)


def colliding_names(count):
    """Names of one CRC-32: it's linear, so four bytes can be chosen to undo whatever stands before them."""
    table_ = [0] * 256
    for i in range(256):
        c = i
        for _ in range(8):
            c = (c >> 1) ^ (0xEDB88320 if c & 1 else 0)
        table_[i] = c
    top = {value >> 24: i for i, value in enumerate(table_)}
    names = []
    n = 0
    while len(names) < count:
        prefix = b"%06d" % n
        n += 1
        want, steps = 0xDEADBEEF ^ 0xFFFFFFFF, []
        for _ in range(4):
            i = top[want >> 24]
            steps.append(i)
            want = ((want ^ table_[i]) << 8) & 0xFFFFFFFF
        state = zlib.crc32(prefix, 0) ^ 0xFFFFFFFF
        tail = bytearray()
        for i in reversed(steps):
            byte = (state & 0xFF) ^ i
            tail.append(byte)
            state = table_[i] ^ (state >> 8)
        name = prefix + bytes(tail)
        if b"\0" not in name and b"/" not in name:
            assert zlib.crc32(name, 0) == 0xDEADBEEF
            names.append(name)
    return names


def test_names_made_to_collide_are_found_by_bisection():
    names = colliding_names(3 * PROBE_LIMIT)
    files = {name: (i, 1) for i, name in enumerate(names)}
    index, folders = build(files)
    check(index, files, folders)


def test_root_alone():
    index, folders = build({})
    check(index, {}, folders)
    assert index.parent(0) == 0


def test_64_bytes_a_row():
    files = {b"train/img/image_%08d.jpeg" % i: (i * 4096, 4000) for i in range(20_000)}
    assert build(files)[0].nbytes <= 64 * 20_000


@pytest.fixture
def stored(tmp_path):
    index, _ = build({b"a/b%03d" % i: (i, 5) for i in range(300)})
    save_index(index, tmp_path / "index")
    return tmp_path / "index"


@pytest.mark.parametrize("name", ["names", "name_start", "source", "offset", "size", "slots"])
@pytest.mark.parametrize("damage", ["flip", "cut", "zero", "gone", "empty"])
def test_damaged_column_is_noticed(stored, name, damage):
    path = stored / f"{name}.npy"
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-100] ^= 0x10
    elif damage == "cut":
        del data[-64:]
    elif damage == "zero":
        data[128:] = bytes(len(data) - 128)
    elif damage == "empty":
        data = bytearray()
    path.write_bytes(data)
    if damage == "gone":
        path.unlink()
    with pytest.raises(IndexFormatError, match=name):
        load_index(stored)


def test_damaged_header_and_other_version_are_noticed(stored, monkeypatch):
    header = stored / "header.json"
    text = header.read_bytes()
    header.write_bytes(text.replace(b'"built_ns": 0', b'"built_ns": 1'))
    with pytest.raises(IndexFormatError, match="damaged"):
        load_index(stored)
    header.write_bytes(b"")
    with pytest.raises(IndexFormatError):
        load_index(stored)
    header.write_bytes(text)
    monkeypatch.setattr(store, "VERSION", store.VERSION + 1)
    with pytest.raises(IndexFormatError, match="version 3"):
        load_index(stored)


def forge(stored, **columns):
    """Write an index whose digests are right and whose content isn't."""
    index = load_index(stored)
    parts = {name: np.array(getattr(index, name)) for name in store.COLUMNS}
    for name, change in columns.items():
        change(parts[name])
    forged = object.__new__(type(index))
    for name, value in {**parts, "capacity": index.capacity, "header": index.header}.items():
        object.__setattr__(forged, name, value)
    save_index(forged, stored)


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("names", lambda c: c.__setitem__(5, ord("/"))),
        ("names", lambda c: c.__setitem__(slice(1, 2), ord("."))),
        ("names", lambda c: c.__setitem__(5, 0)),
        ("name_start", lambda c: c.__setitem__(5, c[6])),
        ("name_start", lambda c: c.__setitem__(-1, 1 << 20)),
        ("size", lambda c: c.__setitem__(0, 1 << 20)),
        ("offset", lambda c: c.__setitem__(1, 0)),
        ("source", lambda c: c.__setitem__(0, FIRST_BLOB)),
        ("source", lambda c: c.__setitem__(-1, FIRST_BLOB + 1)),
        ("source", lambda c: c.__setitem__(-1, 2)),
        ("source", lambda c: c.__setitem__(-1, 3)),
        ("offset", lambda c: c.__setitem__(-1, -1)),
        ("size", lambda c: c.__setitem__(-1, -1)),
        ("offset", lambda c: c.__setitem__(-1, (1 << 63) - 5)),
        ("offset", lambda c: c.__setitem__(5, (1 << 63) - 1)),
        ("offset", lambda c: c.__setitem__(5, -(1 << 63))),
        ("size", lambda c: c.__setitem__(1, (1 << 31) - 1)),
        ("size", lambda c: c.__setitem__(1, -(1 << 31))),
    ],
)
def test_hostile_index_is_refused(stored, column, change):
    forge(stored, **{column: change})
    with pytest.raises(IndexFormatError):
        load_index(stored)


@pytest.mark.parametrize(
    ("source", "offset", "size", "is_sound"),
    [
        (FIRST_BLOB, MOST - 5, 5, True), (FIRST_BLOB, 0, MOST, True), (FIRST_BLOB, 1, MOST, False),
        (FIRST_BLOB, MOST - 4, 5, False), (LOOSE, 0, -1, True), (LOOSE, 0, -2, False), (LINK, 0, -1, False),
        (BROKEN, 0, -1, False), (LINK, 1, 5, False), (BROKEN, 1, 5, False), (LINK, 0, 5, True), (BROKEN, 0, 1, True),
    ],
)  # fmt: skip
def test_numbers_that_a_file_cannot_have_are_refused(tmp_path, source, offset, size, is_sound):
    defect = Defect("error", "conflict", "x", "x")
    header = Header(blobs=[SourceRecord("b.tar", "blob", 9)], links=["x"], defects=[defect])
    table = entry_table([b"x"], source)
    table.offset[:], table.size[:] = offset, size
    save_index(build_index({"": table}, header), tmp_path / "index")
    if is_sound:
        assert int(load_index(tmp_path / "index").size[1]) == size
        return
    with pytest.raises(IndexFormatError):
        load_index(tmp_path / "index")


@pytest.mark.parametrize("field", ["mode", "uid", "gid"])
@pytest.mark.parametrize("value", [-2, 1 << 32, (1 << 63) - 1])
def test_owners_that_cannot_be_are_refused(stored, field, value):
    header = Header(blobs=[SourceRecord("b.tar", "blob", **{field: value})])
    save_index(build_index({"": entry_table([b"x"], FIRST_BLOB)}, header), stored)
    with pytest.raises(IndexFormatError, match="owner"):
        load_index(stored)


def nested(depth, name):
    """Folders in each other, in columns: building an index writes down all paths."""
    n = depth + 1
    arena = np.frombuffer(b"\0" + (name + b"\0") * depth, np.uint8)
    starts = np.concatenate([[0], 1 + (len(name) + 1) * np.arange(n)]).astype(np.uint32)
    one = build_index({"": entry_table([b"a"], DIRECTORY), "a": entry_table([], DIRECTORY)}, Header())
    size = np.ones(n, np.int32)
    size[-1] = 0
    return replace(
        one, names=arena, name_start=starts, source=np.zeros(n, np.uint16), offset=np.arange(1, n + 1), size=size
    )


@pytest.mark.parametrize(
    ("depth", "name", "is_sound"),
    [
        (PATH_BYTES // 2, b"a", True), (PATH_BYTES // 256, b"n" * 255, True), (PATH_BYTES // 2 + 1, b"a", False),
        (PATH_BYTES // 256 + 1, b"n" * 255, False), (100_000, b"a", False), (2, b"n" * PATH_BYTES, False),
        (2, b"", False),
    ],
    ids=["deep", "long names", "too deep", "too long names", "far too deep", "a name too long", "no name"],
)  # fmt: skip
def test_paths_of_folders_have_a_bound(tmp_path, depth, name, is_sound):
    """Else walking an index of 2 MB would take room and time in the square of it."""
    save_index(nested(depth, name), tmp_path / "index")
    if not is_sound:
        with pytest.raises(IndexFormatError, match="a path of more than|are empty"):
            load_index(tmp_path / "index")
        return
    index = load_index(tmp_path / "index")
    assert len(index.path(depth)) == depth * (len(name) + 1) - 1
    assert sum(1 for _ in index.walk()) == depth + 1


@pytest.mark.parametrize("value", [1, 2, 300, 302, 303, 1 << 20, (1 << 32) - 1])
def test_hostile_slots_hide_names_and_no_more(stored, value):
    honest = load_index(stored)
    parents = [(row, honest.name(row), honest.parent(row)) for row in range(1, len(honest))]
    forge(stored, slots=lambda c: c.__setitem__(slice(None, -1), value))
    index = load_index(stored)
    for row, name, parent in parents:
        assert index.lookup(parent, name) == row  # by bisection
    assert index.lookup(0, b"no such name") == -1
    rows = np.array([row for row, _, parent in parents if parent == honest.parent(300)])
    names = [honest.name(row) + b"\0" for row in rows.tolist()]
    starts = np.cumsum([0, *map(len, names)])
    found = index.lookup_many(honest.parent(300), np.frombuffer(b"".join(names), np.uint8), starts)
    assert found.tolist() == rows.tolist()


@pytest.mark.parametrize("path", ["/etc/passwd", "../other/blob.tar", "a/../../b", "a\0b"])
def test_hostile_source_path_is_refused(path):
    header = Header(blobs=[SourceRecord(path, "blob")])
    with pytest.raises(IndexFormatError, match="outside"):
        Header.from_json(header.to_json())


def test_killed_while_saving_leaves_the_old_index(stored, tmp_path):
    code = f"""
import os, signal, pathlib
from blobdir.index import load_index, save_index, store
index = load_index(pathlib.Path({str(stored)!r}))
fsync = os.fsync
def kill(fd):
    fsync(fd)
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = kill
save_index(index, pathlib.Path({str(stored)!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(load_index(stored)) == 302


def test_failed_save_leaves_nothing_behind(stored, monkeypatch):
    index = load_index(stored)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space"):
        save_index(index, stored)
    assert [path.name for path in stored.parent.iterdir()] == ["index"]
    assert len(load_index(stored)) == 302


def test_paths_however_deep():
    """They are put together from the nearest folder whose path is known; no recursion."""
    depth = 3000
    folders, path = {}, ""
    for i in range(depth):
        folders[path] = entry_table([b"%d" % i, b"file"], DIRECTORY)
        folders[path].source[1] = LOOSE
        path = f"{path}/{i}" if path else f"{i}"
    folders[path] = entry_table([], DIRECTORY)
    index = build_index(folders, Header())
    expected = b"/".join(b"%d" % i for i in range(depth))
    deepest = next(row for row in range(len(index)) if index.name(row) == b"%d" % (depth - 1))
    for _ in range(2):
        assert index.path(deepest) == expected
        assert index.path(0) == b""
        assert sorted(index.path(row) for row in range(3)) == [b"", b"0", b"file"]
