"""Members whose places something else takes: GNU tar and bsdtar agree on them, and they are right."""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tarscan_cases import END, NO_MAGIC, OLD_GNU, USTAR, header, member, pax, scan

from blobdir.errors import OffsetsConflictError
from blobdir.offsets import offsets_of_tar
from blobdir.offsets.choosing import choose, without_replaced
from blobdir.tarscan import ends_of_names, extracting, path_of
from blobdir.tarscan.extracting import may_clash
from blobdir.tarscan.names import leads_up

MANY = int(os.environ.get("BLOBDIR_TEST_TARS", "0"))


def extracted(program, data):
    """Name -> content of the files that a program takes out of a tar."""
    with tempfile.TemporaryDirectory() as folder:
        tar, out = Path(folder, "x.tar"), Path(folder, "out")
        tar.write_bytes(data)
        out.mkdir()
        subprocess.run(
            [program, "--no-same-owner", "-xf", tar, "-C", out], capture_output=True, check=False, timeout=60
        )
        found = {}
        for top, _, names in os.walk(os.fsencode(out)):
            for name in names:
                path = os.path.join(top, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    found[os.path.relpath(path, os.fsencode(out))] = Path(os.fsdecode(path)).read_bytes()
        subprocess.run(["chmod", "-R", "u+rwx", folder], check=False)
        return found


def chosen(data):
    """Name -> content of the members that are taken, the last of one name; and all that is said."""
    table = scan(data)
    choice = choose(table, lambda _: True, hidden=True)
    found = {path_of(table.name(row)): data[table.start[row] : table.end[row]] for row in choice.rows}
    return found, choice.faults


def in_the_end(data):
    """Name -> content of the members that are taken, of which there is one of each name; without those of tar -P."""
    table = scan(data)
    choice = choose(table, lambda _: True, hidden=True)
    with suppress(OffsetsConflictError):
        without_replaced(table, choice, "")
    found = {}
    for row in choice.rows:
        found[path_of(table.name(row))] = data[table.start[row] : table.end[row]]
    return {name: content for name, content in found.items() if not leads_up(name)}


FOLDERS = {
    "5": member(b"a.png", kind=b"5"),
    "5 with a slash": member(b"a.png/", kind=b"5"),
    "./": member(b"./a.png/", kind=b"5"),
    "D": member(b"a.png/", b"Yx\0\0", kind=b"D", magic=OLD_GNU),
    "0 with a slash": member(b"a.png/"),
    "NUL with a slash": member(b"a.png/", kind=b"\0", magic=NO_MAGIC),
    "pax": pax((b"path", b"a.png/")) + member(b"x"),
    "pax 5": pax((b"path", b"a.png/")) + member(b"x", kind=b"5"),
    "GNU": member(b"././@LongLink", b"a.png/\0", kind=b"L", magic=OLD_GNU) + member(b"x", magic=OLD_GNU),
    "prefix": member(b"/", prefix=b"a.png"),
}
ONE = member(b"a.png", b"one" * 99)
LINK = member(b"h.png", kind=b"1", link=b"a.png")
PLACES = {
    "a folder": ([ONE, "folder"], set()),
    "a folder, and a file again": ([ONE, "folder", member(b"a.png", b"two")], {b"a.png"}),
    "a folder with something in it": ([ONE, "folder", member(b"a.png/b.png", b"b")], {b"a.png/b.png"}),
    "an empty folder before": (["folder", ONE], {b"a.png"}),
    "a folder with something in it before": (["folder", member(b"a.png/b.png", b"b"), ONE], {b"a.png/b.png"}),
    "a hard link after": ([ONE, "folder", LINK], set()),
    "a hard link before": ([ONE, LINK, "folder"], {b"h.png"}),
}
WAYS = {
    "a file below": ([ONE, member(b"a.png/b.png", b"b")], {b"a.png"}),
    "a file far below": ([ONE, member(b"./a.png/s/t/b.png", b"b")], {b"a.png"}),
    "a file below one of no extension": ([member(b"x", b"1"), member(b"x/b.png", b"b")], {b"x"}),
    "a file below one with a slash before": ([member(b"/x", b"1"), member(b"x/b.png", b"b")], {b"x"}),
    "a file below, before": ([member(b"a.png/b.png", b"b"), ONE], {b"a.png/b.png"}),
    "a folder below": ([ONE, member(b"a.png/s/", kind=b"5")], {b"a.png"}),
    "a link below": ([ONE, LINK, member(b"a.png/s", kind=b"1", link=b"h.png")], {b"a.png", b"h.png"}),
    "a file below a pipe": ([member(b"p", kind=b"6"), member(b"p/b.png", b"b"), ONE], {b"a.png"}),
    "a hard link in a symbolic link's place": (
        [ONE, member(b"h.png", kind=b"2", link=b"x"), LINK],
        {b"a.png", b"h.png"},
    ),
    "a symbolic link in a full folder's place": (
        [ONE, member(b"s/b.png", b"b"), member(b"s", kind=b"2", link=b"a.png")],
        {b"a.png", b"s/b.png"},
    ),
    "nothing": ([ONE, member(b"s/", kind=b"5"), member(b"s/b.png", b"b")], {b"a.png", b"s/b.png"}),
}


NEW = member(b"b.png", b"new")
NAMED = {
    "a slash before": [ONE, member(b"/a.png", b"two")],
    "a slash before the first": [member(b"/a.png", b"two"), ONE],
    "a link to a name with a slash": [member(b"a.png", b"old"), member(b"/a.png", b"two"), LINK],
    "a link to what has a slash": [member(b"/a.png", b"two"), LINK],
    "a link with a slash to what has none": [ONE, member(b"h.png", kind=b"1", link=b"/a.png")],
    "a link with dots": [ONE, member(b".//h.png", kind=b"1", link=b"./a.png")],
    "two slashes within": [member(b"d//a.png", b"1"), member(b"d/a.png", b"2")],
    "dots within": [member(b"d/./a.png", b"1"), member(b"/d/a.png", b"2")],
    "two dots": [member(b"d/../a.png", b"1"), NEW],
    "two dots before": [member(b"../a.png", b"1"), NEW],
    "two dots twice": [ONE, member(b"d/../a.png", b"2")],
    "two dots in place of a folder": [member(b"a.png/b.png", b"1"), member(b"d/../a.png", b"2")],
    "two dots in the way": [member(b"../a.png", b"1"), member(b"a.png/b.png", b"2")],
    "a link to two dots": [member(b"../a.png", b"1"), LINK],
    "a link by two dots": [ONE, member(b"h.png", kind=b"1", link=b"/../a.png")],
}
NOT_MADE = {
    "to nothing": [ONE, member(b"a.png", kind=b"1", link=b"nothing")],
    "to nothing, and a file below": [member(b"d", kind=b"1", link=b"nothing"), member(b"d/b.png", b"b")],
    "to nothing, in a folder": [
        member(b"a.png/x.png", kind=b"1", link=b"nothing"),
        member(b"a.png", kind=b"5"),
        ONE,
    ],
    "to what is below a file": [ONE, member(b"a.png/x", b"x"), NEW, member(b"b.png", kind=b"1", link=b"a.png/x")],
    "to what would be in a folder's place": [
        member(b"d/b.png", b"b"),
        member(b"d", b"d"),
        member(b"h.png", kind=b"1", link=b"d"),
    ],
    "to a link that isn't made": [
        ONE,
        member(b"h.png", kind=b"1", link=b"no"),
        member(b"a.png", kind=b"1", link=b"h.png"),
    ],
    "to what is below a symbolic link": [
        member(b"s", kind=b"2", link=b"x"),
        member(b"s/a.png", b"s"),
        NEW,
        member(b"b.png", kind=b"1", link=b"s/a.png"),
    ],
    "to a folder": [ONE, member(b"d/b.png", b"b"), member(b"a.png", kind=b"1", link=b"d")],
    "to a pipe": [ONE, member(b"p", kind=b"6"), member(b"a.png", kind=b"1", link=b"p")],
    "to itself": [ONE, member(b"a.png", kind=b"1", link=b"./a.png")],
    "from where a folder is": [ONE, member(b"h.png/b.png", b"b"), LINK],
    "from below a file": [ONE, member(b"a.png/h.png", kind=b"1", link=b"a.png")],
    "to what is there no more": [ONE, member(b"a.png", kind=b"5"), NEW, member(b"b.png", kind=b"1", link=b"a.png")],
}


@pytest.mark.parametrize("pieces", [*NAMED.values(), *NOT_MADE.values()], ids=[*NAMED, *NOT_MADE])
def test_names_of_one_file_and_links_that_are_not_made(pieces):
    data = b"".join([*pieces, member(b"z.png", b"z"), END])
    gnu, bsd = extracted("tar", data), extracted("bsdtar", data)
    assert in_the_end(data) in (gnu, bsd)
    if pieces not in (NAMED["a link to two dots"], NOT_MADE["to itself"]):
        assert gnu == bsd


@pytest.mark.parametrize("name", [b"d/../a.png", b"../a.png", b"/../a.png", b"d/..//./a.png"])
def test_two_dots_are_a_file_of_their_own(name):
    """They are taken, and cost nobody anything: of one base name they are a conflict."""
    link = member(b"h.png", kind=b"1", link=name)
    with_p = scan(member(name, b"2") + member(b"../h.png", kind=b"1", link=name) + END)
    assert with_p.start[0] == with_p.start[1]
    without = scan(member(name, b"2") + link + END)  # neither makes it
    assert [left.name for left in without.left_out] == [b"h.png"]
    table = scan(member(b"d", b"d") + ONE + member(name, b"2") + link + END)
    assert not table.left_out and not table.not_extracted
    assert table.start[1] == table.start[3]
    choice = choose(table, lambda _: True, hidden=True)
    assert len(choice.rows) == 4
    with pytest.raises(OffsetsConflictError, match="one base name"):
        without_replaced(table, choice, "x.tar")


def test_names_with_more_folders_than_are_looked_at():
    deep = b"/".join([b"d"] * 300)
    pieces = [pax((b"path", deep + end)) + member(b"x", b"1") for end in (b"/a", b"/b/c", b"/a/e")]
    folders = [pax((b"path", b"d/" * length)) + member(b"x", kind=b"5") for length in (171, 172, 173, 300)]
    table = scan(b"".join([*pieces, *folders, *pieces, ONE, LINK, END]))
    assert len(table) == 8 and not table.left_out


@pytest.mark.parametrize("wanted", [lambda name: name.startswith("x"), lambda name: name.startswith("/")])
def test_a_file_whose_last_member_is_not_wanted_is_not_taken(tmp_path, wanted):
    path = tmp_path / "x.tar"
    path.write_bytes(member(b"x/a.png", b"old") + member(b"/x/a.png", b"new") + END)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        entries = [entry for batch in offsets_of_tar(path, wanted).batches(9) for entry in batch]
    assert [path.read_bytes()[e.offset_start : e.offset_end] for e in entries] in ([], [b"new"])


def check(pieces, expected):
    data = b"".join([*pieces, member(b"z.png", b"z"), END])
    found, faults = chosen(data)
    assert found.keys() == {b"z.png", *expected}
    assert extracted("tar", data) == extracted("bsdtar", data) == found
    return faults


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("place", PLACES)
def test_folders_in_the_places_of_files(place, folder):
    pieces, expected = PLACES[place]
    faults = check([FOLDERS[folder] if piece == "folder" else piece for piece in pieces], expected)
    assert bool(faults) == (place != "an empty folder before")


@pytest.mark.parametrize("way", WAYS)
def test_files_that_are_in_the_way(way):
    faults = check(*WAYS[way])
    assert {fault.name for fault in faults if fault.kind.many.startswith("members")} <= {
        b"a.png", b"a.png/b.png", b"./a.png/s/t/b.png", b"x/b.png", b"a.png/s", b"p/b.png",
    }  # fmt: skip


def test_what_is_left_out_is_named(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(ONE + FOLDERS["5"] + member(b"b.png", b"b") + member(b"b.png/c.png", b"c") + END)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert list(offsets_of_tar(path).names()) == [b"b.png"]
    words = [str(one.message) for one in said]
    assert len(words) == 2 and "'a.png'" in words[0] and "'b.png/c.png'" in words[1]


NAMES = [b"a", b"b", b"a/b", b"a/c", b"a/b/c", b"b/a", b"d"]
FORMS = [b"%s", b"%s", b"%s", b"/%s", b"./%s", b"//%s", b"/./%s", b".//%s", b"d/../%s", b"../%s", b"/../%s", b"d/./%s"]
names = st.builds(bytes.__mod__, st.sampled_from(FORMS), st.sampled_from(NAMES))
kinds = st.sampled_from([b"0", b"0", b"0", b"0", b"1", b"1", b"5", b"6", b"2"])
pieces = st.tuples(names, kinds, st.one_of(names, st.just(b"nothing")))


def built(drawn):
    return b"".join(
        member(name, b"%d" % i if kind == b"0" else b"", kind=kind, link=link if kind in b"12" else b"")
        for i, (name, kind, link) in enumerate(drawn)
    )


@settings(max_examples=MANY or 150, deadline=None, derandomize=not MANY)
@given(st.lists(pieces, min_size=1, max_size=7))
def test_any_order_as_gnu_tar_and_bsdtar(drawn):
    data = built(drawn) + END
    gnu, bsd = extracted("tar", data), extracted("bsdtar", data)
    if gnu == bsd:
        assert in_the_end(data) == gnu


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=9))
def test_what_cannot_clash_is_not_looked_at(drawn):
    """The quick look finds every case in which one has another one's name, or is above it."""
    table = scan(built([piece for piece in drawn if piece[1] != b"1"]) + END)
    files = [path_of(table.name(row)) for row in range(len(table))]
    others = [path_of(one.name) for one in table.left_out]
    folders = {path_of(one.name) for one in table.folders} | {
        name[:at] for name in files for at, byte in enumerate(name) if byte == ord("/")
    }
    if folders.intersection(files) or folders.intersection(others) or set(files).intersection(others):
        assert may_clash(table)


def test_a_plain_tar_is_looked_at_in_columns_only(monkeypatch):
    data = b"".join(
        member(b"./class%03d/" % (i % 50), kind=b"5") + member(b"./class%03d/%d.png" % (i % 50, i)) for i in range(2000)
    )
    monkeypatch.setattr(extracting, "in_order", lambda *_: pytest.fail("each member was looked at"))
    looked = []
    monkeypatch.setattr(extracting, "path_of", lambda name: looked.append(name) or name)
    table = scan(data + END)
    assert table.not_extracted == {}
    assert len(looked) <= len(table.folders) + 60


# -- types -----------------------------------------------------------------------------------------------------

AGREED_BUT = {
    b"S": "sparse: what they extract isn't one byte range",
}
"""Types on which both agree, and which can't be served."""


@pytest.mark.parametrize("magic", [USTAR, OLD_GNU, NO_MAGIC], ids=["ustar", "gnu", "v7"])
@pytest.mark.parametrize("low", range(0, 256, 32))
@pytest.mark.parametrize("data", [b"", b"xy" * 300], ids=["empty", "full"])
def test_all_types_as_gnu_tar_and_bsdtar(low, magic, data):
    agreed = 0
    for number in range(low, low + 32):
        kind = bytes([number])
        tar = member(b"a", b"1") + member(b"b", data, kind=kind, magic=magic, link=b"a") + member(b"c", b"3") + END
        if kind == b"L" and data:
            continue  # a name that no file system takes
        gnu, bsd = extracted("tar", tar), extracted("bsdtar", tar)
        if gnu == bsd and kind not in AGREED_BUT:
            agreed += 1
            assert chosen(tar)[0] == gnu, kind
    assert agreed >= 27


def test_two_sorts_of_ends():
    """Short names, and those with folders, have ends of their own, whatever stands before them."""
    table = scan(member(b"x") + member(b"./x") + member(b"abcx") + member(b"q/abc") + END)
    ends = ends_of_names(table)
    assert ends[0] == ends[1] and len(np.unique(ends)) == 3
    assert not list(itertools.filterfalse(lambda end: end, ends.tolist()))


def test_a_hard_link_whose_own_name_was_a_link_before():
    data = ONE + header(b"h.png", kind=b"2", link=b"b.png") + LINK + END
    assert chosen(data)[0].keys() == {b"a.png", b"h.png"}
