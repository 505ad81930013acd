"""Any bytes in the files of an index: it's refused, or it is one. Never a crash, never an answer without an end."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blobdir.discovery.merge import entry_table
from blobdir.errors import IndexFormatError
from blobdir.index import (
    DIRECTORY,
    FIRST_BLOB,
    Defect,
    Header,
    Index,
    SourceRecord,
    build_index,
    checks,
    load_index,
    save_index,
)
from blobdir.index.store import digest
from blobdir.index.table import COLUMNS

FILES = ("header.json", *(f"{column}.npy" for column in COLUMNS))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [b"a%d.jpg" % i for i in range(20)]
    folders = {
        "": entry_table([b"train", b"val"], DIRECTORY),
        "train": entry_table([b"img"], DIRECTORY),
        "train/img": entry_table(names, FIRST_BLOB, 512, 10),
        "val": entry_table([b"x"], DIRECTORY),
        "val/x": entry_table([], DIRECTORY),
    }
    header = Header(blobs=[SourceRecord("blob/a.tar", "blob", size=10_000)], datasets=["train"], links=["x"])
    header.defects.append(Defect("error", "x", "y", "z"))
    folder = tmp_path_factory.mktemp("index") / "index"
    save_index(build_index(folders, header), folder)
    return folder


@pytest.fixture
def copy(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "index")
    return tmp_path / "index"


def everything(index: Index) -> list[tuple[bytes, int, int, int]]:
    """All that an index says; each row is asked for by its name as well."""
    found = []
    for row in range(len(index)):
        path = index.path(row)
        found.append((path, int(index.source[row]), int(index.offset[row]), int(index.size[row])))
        if row:
            assert 0 <= index.parent(row) < row
            index.lookup(index.parent(row), index.name(row))
    return found


@pytest.mark.parametrize("file", FILES)
def test_cut_off_anywhere(copy: Path, sound: Path, file: str) -> None:
    whole = (sound / file).read_bytes()
    before = everything(load_index(sound))
    for size in sorted({*range(0, len(whole), 7), len(whole) - 1, *range(min(len(whole), 140))}):
        (copy / file).write_bytes(whole[:size])
        try:
            assert everything(load_index(copy)) == before
        except IndexFormatError:
            continue


@pytest.mark.parametrize("file", FILES)
def test_flipped_anywhere(copy: Path, sound: Path, file: str) -> None:
    whole = (sound / file).read_bytes()
    before = everything(load_index(sound))
    for at in range(len(whole)):
        (copy / file).write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        try:
            assert everything(load_index(copy)) == before
        except IndexFormatError:
            continue


# ------------------------------------------------------------------------------------------- with seals that are right


def seal(folder: Path, body: Any) -> None:
    text = json.dumps(body)
    (folder / "header.json").write_text(f"{text}\n{hashlib.blake2b(text.encode(), digest_size=16).hexdigest()}\n")


def body_of(folder: Path) -> Any:
    return json.loads((folder / "header.json").read_text().rpartition("\n")[0].rpartition("\n")[0])


def load(folder: Path) -> None:
    try:
        index = load_index(folder)
    except IndexFormatError:
        return
    everything(index)


NUMBERS = st.one_of(st.integers(-2, 30), st.sampled_from([2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**62, -(2**31)]))


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_columns_of_a_forger(sound: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("forged") / "index"
    shutil.copytree(sound, folder)
    body = body_of(folder)
    for column in data.draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=3, unique=True)):
        values = np.load(folder / f"{column}.npy").copy()
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(values) - 1))
            values[at] = np.array(data.draw(NUMBERS), np.int64).astype(values.dtype)
        if data.draw(st.integers(0, 5)) == 0:
            values = values[: data.draw(st.integers(0, len(values)))]
        np.save(folder / f"{column}.npy", values)
        body["digests"][column] = digest(values)
    seal(folder, body)
    with pytest.MonkeyPatch.context() as patch:  # columns are looked at in parts, which may end anywhere
        patch.setattr(checks, "_ROWS", data.draw(st.sampled_from([1, 3, 8, 1 << 15])))
        patch.setattr(checks, "_WORTH_A_THREAD", data.draw(st.sampled_from([2, checks._WORTH_A_THREAD])))
        load(folder)
    shutil.rmtree(folder)


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), NUMBERS, st.floats(), st.text(max_size=4), st.sampled_from(["..", "/etc/passwd"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
    max_leaves=5,
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_header_of_a_forger(sound: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("forged") / "index"
    shutil.copytree(sound, folder)
    body = place = body_of(folder)
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else list(range(len(place)))))
        below = place[key]
        if not below or not isinstance(below, dict | list) or data.draw(st.booleans()):
            break
        place = below
    place[key] = data.draw(JSON)
    seal(folder, body)
    load(folder)
    shutil.rmtree(folder)


def test_a_directory_in_itself_is_refused(copy: Path) -> None:
    """Its path has no end."""
    body = body_of(copy)
    columns = {column: np.load(copy / f"{column}.npy") for column in COLUMNS}
    folders = np.flatnonzero(columns["source"] == DIRECTORY)
    first, second, third = (int(row) for row in folders[:3])
    columns["size"][first], columns["offset"][second] = 0, 1
    columns["size"][second] = columns["offset"][third] - 1
    for column in COLUMNS:
        np.save(copy / f"{column}.npy", columns[column])
        body["digests"][column] = digest(columns[column])
    seal(copy, body)
    with pytest.raises(IndexFormatError, match="in itself"):
        load_index(copy)
