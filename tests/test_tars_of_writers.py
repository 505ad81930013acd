"""Tars as a dozen writers make them: each file has the bytes that were put in, whatever form it takes."""

from __future__ import annotations

import gzip
import sys
import warnings
from pathlib import Path

import pytest

from blobdir.offsets import OffsetsTable, offsets_of_tar
from blobdir.tarscan import member_before, path_of, scan_tar
from blobdir.verifying.members import FITS, Members, judge

DATA = Path(__file__).parent / "data"
sys.path.insert(0, str(DATA))
from make_tars import LINKS, LONG, NAMES, OLD, VERY_LONG, content  # noqa: E402 - the script that made them

FIXTURES = sorted(path.name.removesuffix(".tar.gz") for path in (DATA / "tars").iterdir())
# What a form can't hold, its writer leaves out: long names, times before 1970, names that aren't ASCII.
USTAR = {VERY_LONG, OLD}
V7 = USTAR | {"sub/" + LONG}
LACKING = {
    "bsdtar-ustar": USTAR, "bsdtar-v7": V7, "cpio-tar": V7, "cpio-ustar": USTAR, "gnu-tar-ustar": USTAR,
    "gnu-tar-v7": V7, "go-ustar": USTAR | {"blöck ß漢.png"}, "pax-ustar": {VERY_LONG}, "python-ustar": USTAR,
}  # fmt: skip


@pytest.fixture(params=FIXTURES)
def made(request, tmp_path):
    path = tmp_path / f"{request.param}.tar"
    path.write_bytes(gzip.decompress((DATA / "tars" / f"{request.param}.tar.gz").read_bytes()))
    return path


def test_every_file_has_its_bytes(made):
    table = scan_tar(made)
    data = made.read_bytes()
    found = {path_of(table.name(i)).decode(): data[table.start[i] : table.end[i]] for i in range(len(table))}
    found.pop("._a.png")
    for name, target in LINKS.items():
        if name in found:
            assert found.pop(name) in (content(target), content(name))
    expected = {name: content(name) for name in NAMES if name not in LACKING.get(made.stem, ())}
    assert found.keys() == expected.keys()
    assert found == expected
    assert table.doubts == () and {left.kind.one for left in table.left_out} <= {"symbolic link"}


def test_offsets_of_it_fit(made):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        entries = offsets_of_tar(made)
    data = made.read_bytes()
    assert "._a.png" not in [name.decode() for name in entries.names()]
    members = Members(scan_tar(made))
    assert (judge(members, entries, len(data)).fault == FITS).all()
    assert isinstance(entries, OffsetsTable)
    for name, start, end in entries.entries():
        before = member_before(data[:start])
        assert before is not None and before.size == end - start
        assert before.name.endswith(name) or {name, before.name.rpartition(b"/")[2]} <= {b"hard.png", b"a.png"}
