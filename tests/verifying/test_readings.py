"""Names that can be read in two ways, as one that WebDataset's key rule has spelled, and as they are."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from blobdir.offsets import OffsetsTable
from blobdir.offsets.names import is_called, keyed
from blobdir.packing.samples import Samples
from blobdir.tarscan import scan_tar
from blobdir.verifying.members import FITS, Members, judge
from blobdir.verifying.mending import Others, mended

CHAIN = ("a.b.jpg", "a%2Eb.jpg", "a%252Eb.jpg", "a%25252Eb.jpg", "a%2525252Eb.jpg")
STRANGERS = ("a_b.jpg", "a%b.jpg", "a%25b.jpg", "c.d.jpg", "ab.jpg", "s/a.b.jpg", "s/a%2Eb.jpg")
ALONE = Others([], all_known=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tars")


def tar_of(folder: Path, called: list[str]) -> tuple[Members, int]:
    path = folder / "x.tar"
    with tarfile.open(path, "w") as tar:
        for number, name in enumerate(called):
            info = tarfile.TarInfo(name)
            info.size = 10
            tar.addfile(info, io.BytesIO(b"%10d" % number))
    return Members(scan_tar(str(path))), path.stat().st_size


def right(members: Members, names: list[str], numbers: list[int]) -> list[tuple[bytes, int, int]]:
    start, end = members.table.start, members.table.end
    return [(name.encode(), int(start[n]), int(end[n])) for name, n in zip(names, numbers, strict=True)]


@pytest.mark.parametrize("first", range(len(CHAIN) - 1))
def test_the_chain_is_what_keyed_makes(first: int) -> None:
    assert keyed(CHAIN[first].encode()) == CHAIN[first + 1].encode()
    assert [is_called(CHAIN[first].encode(), other.encode()) for other in CHAIN] == [
        number in (first, first + 1) for number in range(len(CHAIN))
    ]


cases = st.lists(st.sampled_from(CHAIN + STRANGERS), unique=True, min_size=1)


@given(names=cases, is_dual=st.booleans(), removed=st.integers(0, 6), shift=st.integers(0, 8))
@example(names=list(CHAIN[:3]), is_dual=True, removed=0, shift=1)
@example(names=list(CHAIN[1:3]), is_dual=False, removed=0, shift=1)
@example(names=list(CHAIN[:3]), is_dual=True, removed=1, shift=0)
def test_entries_are_never_read_as_others(
    folder: Path, names: list[str], is_dual: bool, removed: int, shift: int
) -> None:
    names = [name for name in names if "/" not in name or name.partition("/")[2] not in names]
    called = list(Samples(names).called) if is_dual else names
    members, size = tar_of(folder, called)
    count = max(1, len(names) - removed)  # the first ones have no entry any more: the tar has them still
    numbers = list(range(len(names)))[-count:]
    truth = right(members, names[-count:], numbers)
    assert set(judge(members, OffsetsTable.from_entries(truth), size).fault.tolist()) == {FITS}
    turned = [(name, *truth[(i + shift) % count][1:]) for i, (name, *_) in enumerate(truth)]
    found, left = mended(members, OffsetsTable.from_entries(turned), size, ALONE)
    if count == len(names):
        wrong = [i for i in range(count) if turned[i] != truth[i]]
        assert all(judge(members, OffsetsTable.from_entries(turned), size).fault[i] != FITS for i in wrong)
    if count == len(names) and not any("/" in name for name in names):
        assert list(found.entries()) == truth and not left
    for entry, old, true in zip(found.entries(), turned, truth, strict=True):
        assert entry in (old, true)
