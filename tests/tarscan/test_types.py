"""Types of members: links, folders, devices, what nobody knows."""

from __future__ import annotations

import pytest
from tarscan_cases import (
    BLOCK,
    END,
    check_as_tarfile,
    header,
    member,
    names,
    padded,
    pax,
    scan,
)

from blobdir.tarscan import member_before


def test_hard_links() -> None:
    data = b"".join(
        [
            member(b"./a", b"one"),
            member(b"b", kind=b"1", link=b"a"),
            member(b"a", b"two"),
            member(b"c", kind=b"1", link=b"b"),
            member(b"d", kind=b"1", link=b"a", mode=b"0000600\0", mtime=5),
            member(b"@LongLink", b"a\0", kind=b"K") + member(b"e", kind=b"1", link=b"nonsense"),
            pax((b"linkpath", b"e"), (b"path", b"f" * 200)) + member(b"f", kind=b"1", link=b"nonsense"),
            END,
        ]
    )
    table = scan(data)
    contents = {table.name(i): data[table.start[i] : table.end[i]] for i in range(len(table))}
    assert contents == {
        b"./a": b"one",
        b"b": b"one",
        b"a": b"two",
        b"c": b"one",
        b"d": b"two",
        b"e": b"two",
        b"f" * 200: b"two",
    }
    check_as_tarfile(data, table)


def test_a_hard_link_has_no_data_whatever_its_size_says() -> None:
    data = member(b"a", b"12345") + header(b"b", 5, kind=b"1", link=b"a") + member(b"c", b"x") + END
    check_as_tarfile(data, scan(data))


@pytest.mark.parametrize("kind", [b"1", b"2", b"5"])
@pytest.mark.parametrize("has_data", [True, False])
@pytest.mark.parametrize("end", [member(b"c", b"x") + END, END, b""], ids=["before another", "last", "without an end"])
def test_a_header_decides_whether_what_needs_no_data_has_some(kind: bytes, has_data: bool, end: bytes) -> None:
    """`pax -o linkdata` gives hard links data; star says their size, and gives them none. So does the end."""
    odd = header(b"b", 5, kind=kind, link=b"a") + (padded(b"12345") if has_data else b"")
    data = member(b"a", b"12345") + odd + end
    table = scan(data)
    assert names(table) == [b"a", *[b"b"] * (kind == b"1"), *[b"c"] * (len(end) > len(END))]
    assert all(data[table.start[i] : table.end[i]] == b"12345" for i in range(1 + (kind == b"1")))


@pytest.mark.parametrize("target", [b"later", b"me", b"missing", b"folder", b""])
def test_hard_link_to_nothing(target: bytes) -> None:
    data = member(b"folder/", kind=b"5") + member(b"a") + member(b"me", kind=b"1", link=target) + member(b"later") + END
    table = scan(data)
    assert names(table) == [b"a", b"later"]
    assert table.warnings == ("left out 1 hard link to what isn't a member before it: 'me' at byte 1024",)


@pytest.mark.parametrize("kind", [b"0", b"\0", b"7"])
@pytest.mark.parametrize("way", ["header", "pax", "gnu", "prefix"])
@pytest.mark.parametrize("data", [b"", b"dir"])
def test_a_slash_at_the_end_makes_a_folder(kind: bytes, way: str, data: bytes) -> None:
    name = {"header": b"imgs/", "prefix": b"/"}.get(way, b"other")
    before = {"pax": pax((b"path", b"imgs/")), "gnu": member(b"@", b"imgs/\0", kind=b"L")}.get(way, b"")
    folder = before + member(name, data, kind=kind, prefix=b"up" if way == "prefix" else b"")
    links = member(b"l", kind=b"1", link=b"imgs") + member(b"m", kind=b"1", link=b"imgs/a")
    table = scan(folder + member(b"imgs/a", b"1") + links + END)
    assert names(table) == [b"imgs/a", b"m"] and [left.name for left in table.left_out] == [b"l"]
    assert table.start[0] == table.start[1]


def test_hard_links_to_skipped_members_are_skipped() -> None:
    data = b"".join(
        [
            member(b"s", kind=b"2", link=b"a"),
            member(b"a", b"1"),
            member(b"t", kind=b"1", link=b"s"),
            member(b"u", kind=b"1", link=b"t"),
            member(b"s", b"22"),
            member(b"v", kind=b"1", link=b"s"),
            END,
        ]
    )
    table = scan(data)
    assert names(table) == [b"a", b"s", b"v"]
    assert table.warnings == (
        "left out 1 symbolic link: 's' at byte 0",
        "left out 2 hard links to what was left out: 't' at byte 1536, 'u' at byte 2048",
    )
    check_as_tarfile(data, table)


def test_other_types_are_skipped_with_a_warning() -> None:
    data = b"".join(
        [
            member(b"vol", kind=b"V"),
            *(member(b"l%d" % i, kind=b"2", link=b"x") for i in range(5)),
            member(b"tty", kind=b"3"),
            member(b"sda", kind=b"4"),
            member(b"pipe\x1b", kind=b"6"),
            member(b"acl", b"data" * 200, kind=b"A"),
            member(b"file", b"1"),
            END,
        ]
    )
    table = scan(data)
    assert names(table) == [b"file"]
    assert table.warnings == (
        "left out 5 symbolic links: 'l0' at byte 512, 'l1' at byte 1024, 'l2' at byte 1536, …",
        "left out 1 character device: 'tty' at byte 3072",
        "left out 1 block device: 'sda' at byte 3584",
        "left out 1 named pipe: 'pipe\\x1b' at byte 4096",
        "left out 1 member of a type that is no file's: 'acl' at byte 4608",
    )
    check_as_tarfile(data, table)


@pytest.mark.parametrize("kind", [b"8", b"9", b"Z", b"a", b"\xff", b" "])
def test_an_unknown_type_is_a_file(kind: bytes) -> None:
    """As POSIX says, and GNU tar and bsdtar have it."""
    table = scan(member(b"a", b"1", kind=kind) + member(b"b", b"2") + END)
    assert names(table) == [b"a", b"b"]
    before = member_before(member(b"a", b"1", kind=kind)[:BLOCK])
    assert before is not None and before.name == b"a"


def test_parts_of_other_volumes_are_left_out() -> None:
    table = scan(member(b"part", b"1", kind=b"M") + member(b"b", b"2") + END)
    assert names(table) == [b"b"] and "'part' at byte 0; make the archive again as a single one" in table.warnings[0]


def test_a_member_without_a_name() -> None:
    table = scan(member(b"a") + member(b"", b"1") + member(b"/", b"1") + member(b"b", b"2") + END)
    assert names(table) == [b"a", b"b"]
    assert table.warnings == ("left out 1 member without a name: '' at byte 512",)
