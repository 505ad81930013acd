"""Names that are none, and names that stand for far more than they take: the others are what GNU tar makes of them."""

from __future__ import annotations

import functools
import json
import os
import tracemalloc
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
from extracted_tars import extracted, shown
from tarscan_cases import END, OLD_GNU, Bytes, header, member, pax

import blobdir
from blobdir.cli.app import run
from blobdir.cli.errors import report
from blobdir.errors import DamagedTarError
from blobdir.offsets import offsets_of_tar
from blobdir.tarscan import scan_tar, scan_what_is_whole
from blobdir.tree import Tree
from blobdir.verifying import verify

Files = dict[bytes, bytes]

# Members without a name


def with_nameless(name: bytes, kind: bytes) -> bytes:
    """Three members and a hard link around what has no name; what it leads to is there."""
    odd = header(name, kind=kind, link=b"a.png")
    return member(b"a.png", b"AAA") + odd + member(b"b.png", b"BB") + odd + member(b"c.png", kind=b"1", link=b"b.png")


@functools.cache
def by_tar(data: bytes, folder: Path) -> Files:
    path = folder / "by-tar.tar"
    path.write_bytes(data + END)
    return {name: content for name, (what, content) in extracted(str(path))[0].items() if what == "file"}


def as_shown(path: Path) -> Files:
    return {name: content for name, (what, content) in shown(str(path))[0].items() if what == "file"}


def as_damaged(path: Path) -> Files:
    path.write_bytes(path.read_bytes()[: -len(END)] + b"?" * 1024)
    return as_shown(path)


def as_offsets(path: Path) -> Files:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = offsets_of_tar(path)
    data = path.read_bytes()
    return {table.name(row): data[table.start[row] : table.end[row]] for row in range(len(table))}


def as_verified(path: Path) -> Files:
    files = as_shown(path)
    assert verify(path).entries == len(files)
    return files


WAYS = [as_shown, as_damaged, as_offsets, as_verified]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [b"0", b"\0", b"7", b"Z", b"1", b"2", b"5", b"6"])
@pytest.mark.parametrize("name", [b"/", b"", b"//", b".", b"./", b"/."])
def test_what_has_no_name_takes_nothing_from_others(
    tmp_path: Path, name: bytes, kind: bytes, way: Callable[[Path], Files]
) -> None:
    data = with_nameless(name, kind)
    path = tmp_path / "x.tar"
    path.write_bytes(data + END)
    expected = by_tar(data, tmp_path)
    assert expected == {b"a.png": b"AAA", b"b.png": b"BB", b"c.png": b"BB"}
    assert way(path) == expected


@pytest.mark.parametrize("name", [b"/", b"."])
def test_a_nameless_link_in_a_long_name_takes_nothing_from_others(name: bytes) -> None:
    data = member(b"a", b"AAA") + pax((b"path", name)) + header(b"x", kind=b"1", link=b"a") + member(b"b", b"BB") + END
    table = scan_tar(Bytes(data))
    assert [(table.name(row), data[table.start[row] : table.end[row]]) for row in range(len(table))] == [
        (b"a", b"AAA"),
        (b"b", b"BB"),
    ]
    assert "without a name" in table.warnings[0]


def test_a_name_of_a_sparse_file_ends_at_a_nul() -> None:
    table = scan_tar(Bytes(pax((b"GNU.sparse.name", b"s\0t")) + member(b"x") + END))
    assert [left.name for left in table.left_out] == [b"s"]


# Names that stand for far more than they take

LONG_FOLDERS = b"d/" * 2000


def named(name: bytes, kind: bytes) -> bytes:
    return member(b"././@LongLink", name + b"\0", kind=b"L", magic=OLD_GNU) + header(
        b"x", kind=kind, link=b"t", magic=OLD_GNU
    )


def deep(kind: bytes, count: int = 60, folders: bytes = LONG_FOLDERS) -> bytes:
    return member(b"t", b"1") + b"".join(named(b"%04d/" % i + folders + b"a", kind) for i in range(count))


KINDS = {
    "files": b"0", "hard links": b"1", "symbolic links": b"2", "folders": b"5", "pipes": b"6", "sparse files": b"S",
    "parts of others": b"M", "dumps": b"D",
}  # fmt: skip
OPENED = {
    "opened": lambda path: blobdir.open_project(path, index="none"),
    "opened all the same": lambda path: blobdir.open_project(path, index="none", on_defect="ignore"),
    "offsets": offsets_of_tar,
    "scanned": scan_tar,
}


@pytest.mark.parametrize("way", OPENED)
@pytest.mark.parametrize("end", [END, b"?" * 1024], ids=["whole", "damaged"])
@pytest.mark.parametrize("kind", KINDS)
def test_names_of_far_more_folders_than_members_are_refused(tmp_path: Path, kind: str, end: bytes, way: str) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(deep(KINDS[kind]) + end)
    is_refused = end == END or way.startswith("opened")
    tracemalloc.start()
    try:
        with pytest.raises(DamagedTarError, match="its 61 members make more than 10,976" if is_refused else "damaged"):
            OPENED[way](path)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_of_millions_of_folders_is_refused(kind: str) -> None:
    data = named(b"d/" * 1_100_000 + b"a", KINDS[kind]) + END
    with pytest.raises(DamagedTarError, match="its 1 member have 1,100,000 folders"):
        scan_tar(Bytes(data))


@pytest.mark.parametrize("kind", KINDS)
def test_few_deep_names_are_as_others(kind: str) -> None:
    table = scan_tar(Bytes(deep(KINDS[kind], 4) + END))
    assert len(table) + len(table.left_out) + len(table.folders) == 5


def test_of_several_tars_one_may_have_too_many_folders(tmp_path: Path) -> None:
    (tmp_path / "1.tar").write_bytes(member(b"a", b"1") + END)
    (tmp_path / "2.tar").write_bytes(deep(b"5") + END)
    with pytest.warns(blobdir.BlobdirWarning, match="2.tar: .* folders; nothing of it is shown"):
        project = blobdir.open_project(tmp_path / "*.tar", index="none", on_defect="ignore")
    assert project.filesystem.cat("a") == b"1" and project.filesystem.find("") == ["a"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("keyword", "value"),
    [(b"path", b"n"), (b"path", b"n/"), (b"linkpath", b"n"), (b"GNU.sparse.name", b"n"), (b"GNU.sparse.name", b"n/")],
)
def test_what_a_global_header_says_of_all_members_cannot_fill_the_memory(
    keyword: bytes, value: bytes, kind: str
) -> None:
    said = (value * 50_000)[:50_000] if len(value) == 1 else value * 25_000
    data = pax((keyword, said), kind=b"g") + header(b"a", kind=KINDS[kind]) * 3000 + END
    with pytest.raises(DamagedTarError, match="longer than all headers"):
        scan_tar(Bytes(data))
    table, damage = scan_what_is_whole(Bytes(data))
    assert damage is not None and len(table) + len(table.left_out) + len(table.folders) < 30


def test_folders_that_miss_names_are_found_without_a_search_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(b"".join(named(b"%d/" % i + b"d/" * 300 + b"a", b"0") for i in range(3)) + b"?" * 1024)
    searched: list[str] = []
    resolve = Tree._resolve
    monkeypatch.setattr(Tree, "_resolve", lambda self, path: searched.append(path) or resolve(self, path))
    with pytest.warns(blobdir.BlobdirWarning):
        tree = blobdir.open_project(path, index="none").tree
    assert len(searched) < 5
    assert not any(tree.is_complete(row) for row in tree.index.directories.tolist())
    assert len(tree.index.directories) == 904


# What is said


DAMAGED = {
    "in a header": member(b"a", b"1") + b"?" * 1024,
    "at the end": member(b"a", b"1") + member(b"b", b"x" * 2000)[:700],
    "in a global header": pax((b"path", b"n" * 50_000), kind=b"g") + header(b"a") * 100 + END,
    "in a file that is called so": member(b"meta.json", b"no JSON") + b"?" * 1024,
}


@pytest.mark.parametrize("where", DAMAGED)
def test_info_of_a_damaged_tar_says_nothing_of_what_no_tar_has(
    tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(DAMAGED[where])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(["info", "--json", os.fspath(path)])
    codes = [defect["code"] for defect in json.loads(capsys.readouterr().out)["defects"]]
    assert "tar-damaged" in codes and "meta" not in codes


def test_where_memory_is_short_what_failed_gives_its_own_back(capsys: pytest.CaptureFixture[str]) -> None:
    class Large:
        pass

    held: list[weakref.ref[Large]] = []

    def fill() -> None:
        much = Large()
        held.append(weakref.ref(much))
        raise MemoryError

    try:
        fill()
    except MemoryError as error:
        assert held[0]() is not None
        report(error)
        assert held[0]() is None
    assert "there isn't enough memory" in capsys.readouterr().err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [200, 2600])
def test_folders_with_long_paths_are_bounded_by_their_bytes(kind: str, count: int) -> None:
    """Seventeen folders of 4 kB each for a member: ten times the bytes of its headers."""
    long = b"/".join([b"k" * 250] * 15)
    data = b"".join(named(b"%b/%d%b/x.png" % (long, i, b"/a" * 16), KINDS[kind]) for i in range(count))
    if count < 1000:
        scan_tar(Bytes(data + END))
        return
    with pytest.raises(DamagedTarError, match="its 2,600 members make folders whose paths have more than"):
        scan_tar(Bytes(data + END))
