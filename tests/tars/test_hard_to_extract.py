"""What tar can't make of a member, or not all of: what is shown is what GNU tar and bsdtar leave there."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from extracted_tars import extracted, shown
from tarscan_cases import END, Bytes, header, member, pax

import blobdir
from blobdir.errors import ConflictError
from blobdir.tarscan import bounds, contents_of, extracting, names, scan_tar

LONG = b"q" * 256
TOO_LONG_PATH = b"a/" * 2100 + b"x.png"


def file(name: bytes, data: bytes = b"1") -> bytes:
    return pax((b"path", name)) + member(b"z", data)


def hard(name: bytes, target: bytes) -> bytes:
    return pax((b"path", name), (b"linkpath", target)) + header(b"z", kind=b"1", link=b"z")


def soft(name: bytes, target: bytes) -> bytes:
    records = [(b"path", name), (b"linkpath", target)] if target else [(b"path", name)]
    return pax(*records) + header(b"z", kind=b"2", link=b"z" if target else b"")


def pipe(name: bytes) -> bytes:
    return pax((b"path", name)) + header(b"z", kind=b"6")


def folder(name: bytes) -> bytes:
    return pax((b"path", name)) + header(b"z", kind=b"5")


def sparse(name: bytes) -> bytes:
    said = (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"1")
    return pax((b"GNU.sparse.name", name), *said) + member(b"z", b"1\n0\n1\n".ljust(512, b"\0") + b"x")


AGREED = {
    # A file that is called as a folder
    "a file b/. where b has files": file(b"b/b/x") + file(b"b/.", b"2"),
    "a link b/. where b has files": file(b"b/x") + soft(b"b/.", b"t"),
    # Symbolic links that can't be made
    "a link that says too much": soft(b"d/l", b"t/" * 2100),
    "one in place of a file": file(b"l") + soft(b"l", b"t/" * 2100),
    "one above a file": soft(b"b", b"t/" * 2100) + file(b"b/a"),
    "one that says just not too much": soft(b"d/l", b"t" * 4095),
    "a link that says nothing below a file": file(b"b") + soft(b"b/c", b""),
    # Folders above what isn't shown
    "a pipe": pipe(b"a/b/c"),
    "a pipe that a file replaces": pipe(b"a/b") + file(b"a/b"),
    "a device": header(b"a/c", kind=b"3"),
    # Hard links to what isn't there
    "through a circle": soft(b"c", b"c") + hard(b"d/h", b"c/x"),
    "through a link to a file": file(b"f") + soft(b"c", b"f") + hard(b"d/h", b"c/x"),
    "through a link out of the tar": soft(b"c", b"/nothing") + hard(b"d/h", b"c/x"),
    "to a circle as a folder": soft(b"c", b"c") + hard(b"d/h", b"c/"),
    "to a link to a folder as one": folder(b"e") + soft(b"c", b"e") + hard(b"d/h", b"c/"),
    "to a link to nothing as a folder": soft(b"c", b"nothing") + hard(b"d/h", b"c/"),
    "to nothing": hard(b"d/h", b"nothing"),
    "to a name that is too long": hard(b"d/h", b"x/" + LONG),
    "to such a name in a folder that is there": folder(b"x") + hard(b"d/h", b"x/" + LONG),
    "to a path that is too long": hard(b"d/h", b"x/" * 3000),
    # Names that are too long
    "a file": file(b"x/" + LONG),
    "a file below such a folder": file(b"x/y/" + LONG + b"/z"),
    "a folder": folder(b"x/" + LONG),
    "a symbolic link": soft(b"x/" + LONG, b"t"),
    "a hard link": file(b"a") + hard(b"x/" + LONG, b"a"),
    "a hard link to it": file(b"x/" + LONG) + hard(b"h", b"x/" + LONG),
    "one below a file": file(b"x") + file(b"x/" + LONG + b"/y"),
    "nearly": file(b"x/" + LONG[1:]),
    # Names that say that they are in a folder of their own
    "a link to the top in a file": file(b"b") + hard(b"b/.", b"/"),
    "slashes in front": file(b"/" * 4200 + b"y"),
    # A hundred folders and more
    "a file where a deep name has a folder": file(b"a/" * 300 + b"x") + file(b"a/a") + hard(b"h", b"a/a"),
}


@pytest.mark.parametrize("case", AGREED)
def test_what_both_tars_leave_is_shown(tmp_path: Path, case: str) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(AGREED[case] + file(b"after", b"2") + END)
    expected = extracted(str(path))[0]
    assert expected == extracted(str(path), "bsdtar")[0]
    assert shown(str(path))[0] == expected


AS_GNU_TAR = {
    "links that say nothing": soft(b"b", b"") + file(b"b/a") + file(b"l") + soft(b"l", b"") + soft(b"d/l", b""),
    "one in a folder of its name": soft(b"a/x.png/.", b"") + file(b"t") + hard(b"a", b"t"),
    "a hard link to the top in a folder of its name": hard(b"b/x.png/.", b".") + file(b"b"),
}


@pytest.mark.parametrize("case", AS_GNU_TAR)
def test_what_gnu_tar_leaves_is_shown(tmp_path: Path, case: str) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(AS_GNU_TAR[case] + END)
    assert shown(str(path))[0] == extracted(str(path))[0]


# Names that mean no file

NO_NAMES = [b"", b".", b"./", b"/", b"//.", b"/.", b"././/", b"./."]
NO_ROWS = {
    "symbolic link": lambda name: header(name, kind=b"2", link=b"t"),
    "pipe": lambda name: header(name, kind=b"6"),
    "sparse file": lambda name: sparse(name) if name else b"",
    "part of another": lambda name: member(name, b"x", kind=b"M"),
    "old sparse file": lambda name: member(name, b"x", kind=b"S"),
    "access rights": lambda name: member(name, b"x", kind=b"A"),
}


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize("kind", NO_ROWS)
def test_no_entry_is_nameless(tmp_path: Path, kind: str, name: bytes) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(file(b"a.png") + NO_ROWS[kind](name) + file(b"b.png", b"2") + END)
    assert shown(str(path))[0] == {b"a.png": ("file", b"1"), b"b.png": ("file", b"2")}
    left = scan_tar(path).warnings
    assert not name or "member without a name" in left[0]


# Names of very many folders, and very long ones

DEEP = {
    "a path that is just not too long": b"a/" * 2045 + b"x",
    "a path that is too long": TOO_LONG_PATH,
    "a path of 200,000 folders": b"a/" * 200_000 + b"x",
    "wide folders": (b"q" * 3000 + b"/") * 1500 + b"x",
    "folders of one dot": b"a/" + b"./" * 100_000 + b"x",
}
WALKED = {
    "file": file,
    "hard link": lambda name: file(b"t") + hard(name, b"t"),
    "hard link to it": lambda name: hard(b"h", name),
    "symbolic link": lambda name: soft(name, b"t"),
    "folder": folder,
    "pipe": pipe,
}


@pytest.mark.parametrize("kind", WALKED)
@pytest.mark.parametrize("name", DEEP)
def test_the_folders_of_a_name_cost_no_more_than_those_of_a_path(
    monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    walked = 0

    def above(path: bytes) -> Iterator[bytes]:
        nonlocal walked
        for one in names.above(path):
            walked += len(one)
            yield one

    monkeypatch.setattr(bounds, "above", above)
    monkeypatch.setattr(extracting, "above", above)
    data = WALKED[kind](DEEP[name]) + soft(b"l", b"t") + file(b"f") + hard(b"g", b"f") + hard(b"g/g", b"b/c/d") + END
    contents = contents_of(scan_tar(Bytes(data)))
    assert walked <= 8 * 4095 * 2048
    assert {b"f", b"g"} <= {*contents.paths}


@pytest.mark.parametrize("kind", WALKED)
def test_a_long_name_takes_no_more_memory_than_its_bytes(kind: str) -> None:
    data = WALKED[kind]((b"q" * 3000 + b"/") * 900 + b"x") + file(b"f") + hard(b"g", b"f") + END
    tracemalloc.start()
    try:
        contents_of(scan_tar(Bytes(data)))
        assert tracemalloc.get_traced_memory()[1] < 12 * len(data)
    finally:
        tracemalloc.stop()


def test_a_path_that_is_too_long_costs_its_member_and_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(file(b"a/" * 500_000 + b"x.png") + file(b"b.png") + END)
    files, said = shown(str(path))
    assert files == {b"b.png": ("file", b"1")}
    assert "x.tar: left out 1 member whose name is over 255 bytes, or its path over 4,095: 'a/a/a" in said
    assert "(1000005 bytes) at byte 1001472; no file can be called so" in said


# What is said of several tars


@pytest.mark.parametrize("swapped", [False, True])
def test_what_cannot_be_read_is_not_said_to_have_other_bytes(tmp_path: Path, swapped: bool) -> None:
    whole, odd = ("1", "0") if swapped else ("0", "1")
    (tmp_path / f"s-{whole}.tar").write_bytes(file(b"s", b"good") + END)
    (tmp_path / f"s-{odd}.tar").write_bytes(sparse(b"s") + END)
    with pytest.warns(blobdir.BlobdirWarning):
        project = blobdir.open_project(tmp_path / "s-*.tar", index="none")
    with pytest.raises(ConflictError, match=f"can't be read in s-{odd}.tar, so nobody has compared") as error:
        project.filesystem.cat_file("s")
    assert f"s-{whole}.tar (bytes " in str(error.value)
    assert "the file" not in str(error.value) and "other bytes" not in str(error.value)


# What is made of many names, and where only a few are looked at

CHAIN = b"".join(soft(b"s%d" % i, b"./" * 2000 + b"s%d" % (i + 1)) for i in range(39))
MANY = {
    "links along one that says many folders": soft(b"s", b"a/" * 2040 + b"n")
    + b"".join(header(b"d/%d" % i, kind=b"1", link=b"s/") for i in range(300)),
    "links along many that say so": CHAIN + b"".join(header(b"d/%d" % i, kind=b"1", link=b"s0/") for i in range(300)),
    "links to what isn't there": b"".join(hard(b"%d" % i, b"a/" * 2040 + b"%d" % i) for i in range(60)),
    "links to below a file": file(b"f") + b"".join(hard(b"%d" % i, b"f/" + b"a/" * 2040) for i in range(60)),
    "files below a file": file(b"f") + b"".join(file(b"f/" + b"a/" * 2040 + b"%d" % i) for i in range(60)),
    "folders that end as a link does": soft(b"z/a", b"q") + b"".join(file(b"a/" * 2040 + b"%d" % i) for i in range(60)),
    "such with dots": soft(b"z/a", b"q") + b"".join(file(b"./" * 900 + b"a/" * 2000 + b"%d" % i) for i in range(60)),
}


class _Counting(dict[bytes, int]):
    """Counts the bytes of what is looked up."""

    def __init__(self, looked: list[int], known: dict[bytes, int]) -> None:
        super().__init__(known)
        self._looked = looked

    def __contains__(self, key: object) -> bool:
        assert isinstance(key, bytes)
        self._looked.append(len(key))
        return super().__contains__(key)


@pytest.mark.parametrize("case", MANY)
def test_many_names_cost_no_more_than_their_bytes(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    looked: list[int] = []

    class Folder(extracting._Folder):
        def __init__(self) -> None:
            super().__init__()
            self._inside = _Counting(looked, self._inside)

    def path_of(name: bytes) -> bytes:
        looked.append(len(name))
        return names.path_of(name)

    monkeypatch.setattr(extracting, "_Folder", Folder)
    monkeypatch.setattr(extracting, "path_of", path_of)
    data = MANY[case] + END
    contents_of(scan_tar(Bytes(data)))
    assert sum(looked) < 8_200_000 + 24 * len(data)  # 1,000 folders of a path of 4 kB are made once


def test_what_is_followed_for_links_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    links = b"".join(header(b"d%d/x" % i, kind=b"1", link=b"s0/") for i in range(1000))
    data = b"".join(soft(b"s%d" % i, b"s%d" % (i + 1)) for i in range(9)) + file(b"f") + links + END
    every = contents_of(scan_tar(Bytes(data)))
    monkeypatch.setattr(extracting, "_FREE_BYTES", 0)
    some = contents_of(scan_tar(Bytes(data)))
    assert len(every.folders) == 1000
    assert 300 < len(some.folders) < 600
    assert some.paths == [b"f"]


ALONE = {
    "pipe": pipe(b"p/q/r"),
    "pipe of no folder": pipe(b"p"),
    "device": header(b"dev/null", kind=b"3"),
    "long name": file(b"x/" + LONG),
    "file below one": file(b"x/y/" + LONG + b"/z"),
    "folder of one": folder(b"x/y/" + LONG),
    "link of one": soft(b"x/y/" + LONG, b"t"),
    "link of one that says too much": soft(b"x/y/" + LONG, b"t/" * 2100),
    "link that says nothing": soft(b"x/y", b""),
    "one called as a folder": soft(b"x/y/.", b""),
    "link that says too much": soft(b"x/y", b"t/" * 2100),
    "path that is too long": file(TOO_LONG_PATH),
    "one with two dots": pipe(b"x/../y/z"),
    "one without a name": pipe(b"./"),
    "folders": folder(b"./e/") + folder(b"e/../f") + pipe(b"e/p"),
    "link twice": soft(b"d/l", b"t") + soft(b"d/l", b"") + pipe(b"d/p"),
    "link twice, of no folder": soft(b"l", b"t") + soft(b"l", b"") + soft(b"m", b"t") + soft(b"m", b"t/" * 2100),
}


@pytest.mark.parametrize("case", ALONE)
def test_one_that_is_never_shown_has_no_others_looked_at(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    data = file(b"./a.png") + folder(b"d/") + ALONE[case] + file(b"./b.png") + END

    def shown() -> tuple[object, ...]:
        found = contents_of(scan_tar(Bytes(data)))
        return found.paths, found.links, found.folders, found.unserved, found.warnings

    with monkeypatch.context() as patched:
        patched.setattr(extracting, "in_order", lambda *_: pytest.fail("each member was looked at"))
        quick = shown()
    monkeypatch.setattr(extracting, "may_clash", lambda _: True)
    assert quick == shown()
