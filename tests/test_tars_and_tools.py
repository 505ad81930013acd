"""Odd tars, made up, against GNU tar, bsdtar and tarfile: where the first two agree, they are right.

BLOBDIR_TEST_TARS=5000 tries so many, other ones each time.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tarscan_cases import (
    BLOCK,
    END,
    NO_MAGIC,
    OLD_GNU,
    USTAR,
    base256,
    header,
    member,
    octal,
    padded,
    pax,
    put,
    record,
)

from blobdir.errors import TarError
from blobdir.tarscan import path_of, scan_tar
from blobdir.tarscan.names import leads_up

MANY = int(os.environ.get("BLOBDIR_TEST_TARS", "0"))
Files = dict[bytes, bytes]

NAMES = [b"a", b"b.png", b"d/c", b"./a", b"d/./e", b"x" * 99, b"p/" * 40 + b"y" * 20, b"\xffodd", b"0_10", b"BZh"]
UP = [b"../up", b"d/../up"]
TARGETS = [b"a/", b"a/.", b"a/z", b"a/z/w", b"d", b"d/", b"d/c/", b"d/c/z", b"nothing/", b"first/.", b"d/../a", *UP]
PLACES = [b"h1", b"h2", b"h1/a", b"h/1/2"]
LINKS = [b"s1", b"s2"]
FOLDERS = [b"d", b"f"]
KINDS = [
    "hard", "hard", "linked", "up", "symbolic", "folder", "slash", "v7", "pipe", "sparse", "label", "dump", "sized",
    "letter", "lonely", "odd size",
]  # fmt: skip
LETTERS = [bytes([letter]) for letter in (*range(1, 256, 23), *b"89ABCEFHIJNOPQRTUWYZabcz") if letter not in b"34"]
ENDS = [END, END, END, bytes(BLOCK), b"", END * 10, END + b"junk" * 200, END + member(b"z") + END]

names = st.sampled_from(NAMES)
targets = st.one_of(names, st.sampled_from(TARGETS))
contents = st.sampled_from([b"", b"1", b"two", b"x" * 512, b"y" * 513, bytes(600)])
magics = st.sampled_from([USTAR, OLD_GNU, NO_MAGIC])


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A regular file, in any form that says its size."""
    data, name = draw(contents), draw(names)[:100]
    size = draw(
        st.sampled_from([octal(len(data), 12), b"%011o " % len(data), b"%12o" % len(data), base256(len(data), 12)])
    )
    fields = {
        "kind": draw(st.sampled_from([b"0", b"0", b"0", b"\0", b"7", b"Z", b"9"])),
        "magic": draw(magics),
        "mtime": draw(st.sampled_from([octal(7, 12), b"000000-1750 ", bytes(12), base256(-5, 12)])),
        "mode": draw(st.sampled_from([b"0000644\0", b"   644 \0", b"100644 \0"])),
    }
    if fields["magic"] == USTAR and draw(st.booleans()):
        fields["prefix"] = b"d/prefix"
    return header(name, size, **fields) + padded(data)


@st.composite
def extended(draw: st.DrawFn) -> bytes:  # noqa: PLR0911 - a form each
    """A file with a name, size or time in an extended header, or two, or with what isn't one."""
    data, name = draw(contents), draw(names)
    kind = draw(st.sampled_from(["path", "size", "L", "both", "twice", "mtime", "odd", "nul", "global", "padding"]))
    own = header(b"own", len(data)) + padded(data)
    if kind == "L":
        return member(b"././@LongLink", name + b"\0", kind=b"L", magic=OLD_GNU) + own
    if kind == "size":
        return pax((b"size", b"%d" % len(data)), (b"path", name)) + header(b"own", 0) + padded(data)
    if kind == "both":
        return pax((b"path", name)) + member(b"././@LongLink", b"gnu\0", kind=b"L", magic=OLD_GNU) + own
    if kind == "twice":
        return pax((b"path", b"first")) + pax((b"path", name)) + own
    if kind == "odd":
        odd = draw(st.sampled_from([b"99 path=q\n", b"path=q\n", b"9 path q\n", b"x"]))
        return member(b"PaxHeader", record(b"path", name) + odd, kind=b"x") + own
    if kind == "nul":
        return pax((b"linkpath", b"a\0b")) + own
    if kind == "padding":
        return member(b"PaxHeader", record(b"path", name) + bytes(3), kind=b"x") + own
    if kind == "global":
        return pax((b"comment", b"0123"), kind=b"g") + own
    return pax((b"path", name), (b"mtime", draw(st.sampled_from([b"1.5", b"-1.5", b"7"])))) + own


@st.composite
def others(draw: st.DrawFn) -> bytes:  # noqa: C901, PLR0911 - a kind each
    """Links, folders, pipes, sparse files, labels."""
    kind = draw(st.sampled_from(KINDS))
    if kind == "hard":
        long = draw(st.booleans())
        before = member(b"././@LongLink", draw(targets) + b"\0", kind=b"K", magic=OLD_GNU) if long else b""
        return before + member(draw(st.sampled_from(PLACES)), kind=b"1", link=draw(targets)[:100])
    if kind == "linked":  # what comes in the place of a link, or of a folder that was made for it
        return member(draw(st.sampled_from([b"h", b"h/1", *PLACES])), b"later")
    if kind == "up":
        return member(draw(st.sampled_from(UP)), b"up")
    if kind == "symbolic":
        return member(draw(st.sampled_from(LINKS)), kind=b"2", link=b"a")
    folder = draw(st.sampled_from(FOLDERS))
    if kind == "folder":
        return member(folder + draw(st.sampled_from([b"", b"/"])), kind=b"5")
    if kind == "slash":
        return member(folder + b"/", kind=draw(st.sampled_from([b"0", b"7"])))
    if kind == "v7":
        return member(folder + b"/", kind=b"\0", magic=NO_MAGIC)
    if kind == "pipe":
        return member(b"pipe", kind=b"6")
    if kind == "sized":  # what has no data says that it has
        link = header(draw(st.sampled_from([b"h1", b"s1"])), 5, kind=draw(st.sampled_from([b"1", b"2"])), link=b"first")
        return link + draw(st.sampled_from([b"", padded(b"12345")]))
    if kind == "letter":
        return member(draw(names)[:100], draw(contents), kind=draw(st.sampled_from(LETTERS)))
    if kind == "lonely":  # nothing may follow it
        return draw(st.sampled_from([pax((b"path", b"q")), member(b"@", b"q\0", kind=b"L", magic=OLD_GNU)]))
    if kind == "odd size":
        return pax((b"size", draw(st.sampled_from([b"-1", b"1e3", b"", b"2x"])))) + member(b"q", b"12")
    if kind == "label":
        return member(b"label", kind=b"V", magic=OLD_GNU)
    if kind == "dump":
        return member(folder + b"/", b"Ya\0Nb\0\0", kind=b"D", magic=OLD_GNU)
    block = put(header(b"sparse", 512, kind=b"S", magic=OLD_GNU), 386, octal(512, 12) + octal(512, 12))
    block = put(block, 483, octal(1024, 12))
    return resummed(block) + b"h" * 512


def resummed(block: bytes) -> bytes:
    blank = put(block, 148, b" " * 8)
    return put(blank, 148, b"%06o\0 " % sum(blank))


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """A few members; zeros in between, junk or another archive behind, or cut off."""
    piece = st.one_of(files(), files(), extended(), others(), st.just(bytes(BLOCK)) if draw(st.booleans()) else files())
    pieces = draw(st.lists(piece, min_size=1, max_size=6))
    data = b"".join([member(b"first", b"1"), *pieces])
    end = draw(
        st.sampled_from([END, END, END, bytes(BLOCK), b"", END * 10, END + b"junk" * 200, END + member(b"z") + END])
    )
    data += end
    damage = draw(st.sampled_from(["", "", "", "", "cut", "flip"]))
    at = draw(st.integers(BLOCK, len(data) - 1))
    if damage == "cut":
        return data[:at]
    if damage == "flip":
        return put(data, at, bytes([data[at] ^ 1]))
    return data


def extracted(command: list[str], path: str) -> tuple[Files, bool]:
    """Regular files that a program takes out of a tar, and whether it has nothing to complain about."""
    folder = tempfile.mkdtemp(dir=os.path.dirname(path))
    try:
        done = subprocess.run([*command, "-xf", path, "-C", folder], capture_output=True, check=False, timeout=60)
        found = {}
        root = os.fsencode(folder)
        for top, _, entries in os.walk(root):
            for name in entries:
                full = os.path.join(top, name)
                if os.path.isfile(full) and not os.path.islink(full):
                    found[os.path.relpath(full, root)] = Path(os.fsdecode(full)).read_bytes()
        return found, done.returncode == 0
    finally:
        subprocess.run(["chmod", "-R", "u+rwx", folder], check=False)
        shutil.rmtree(folder)


def with_tarfile(data: bytes) -> Files:
    """What Python's tarfile reads, as far as it gets."""
    found = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
            for info in tar:
                if info.isreg() or info.islnk():
                    file = tar.extractfile(info)
                    if file is not None:
                        found[path_of(os.fsencode(info.name))] = file.read()
    except (tarfile.TarError, KeyError, OSError, ValueError):
        pass
    return found


def scanned(path: str, data: bytes) -> tuple[Files | None, set[bytes], str]:
    """What `scan_tar` reads, None if it refuses; what it left out; and all that it says."""
    try:
        table = scan_tar(path)
    except TarError as error:
        assert path in str(error)
        return None, set(), str(error)
    rows = [i for i in range(len(table)) if i not in table.not_extracted]
    found = {path_of(table.name(i)): data[table.start[i] : table.end[i]] for i in rows}
    return found, {path_of(left.name) for left in table.left_out}, "; ".join(table.warnings)


@settings(max_examples=MANY or 120, deadline=None, derandomize=not MANY)
@given(data=archives())
def test_where_gnu_tar_and_bsdtar_agree(data: bytes) -> None:
    """All that both read without complaint, and nothing else. What they don't agree on, one of the three reads so."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "x.tar")
        Path(path).write_bytes(data)
        gnu, gnu_content = extracted(["tar", "--no-same-owner", "--no-same-permissions"], path)
        bsd, bsd_content = extracted(["bsdtar", "--no-same-owner", "--no-same-permissions"], path)
        found, left_out, said = scanned(path, data)
    if found is None:
        assert not (gnu_content and bsd_content and gnu == bsd), said
        return
    gnu, bsd, python = (
        {k: v for k, v in files.items() if k not in left_out and not leads_up(k)}
        for files in (gnu, bsd, with_tarfile(data))
    )
    found = {k: v for k, v in found.items() if k not in left_out and not leads_up(k)}
    if gnu == bsd:
        assert found == gnu, said
    else:
        assert found in (gnu, bsd, python), said


@pytest.mark.parametrize("place", [b"d", b"d/e", b"d/e/new", b"first", b"folder"])
@pytest.mark.parametrize("target", [*TARGETS, b"first", b"first/z", b"folder/", b"folder/z", b"s1/z", b"pipe"])
def test_hard_links_to_odd_names(tmp_path, target, place):
    """They aren't made, or are, as both tools have it; and so is what comes later in their places."""
    before = [member(b"first", b"1"), member(b"folder/", kind=b"5"), member(b"a", b"A"), member(b"d/../up", b"up")]
    before += [member(b"s1", kind=b"2", link=b"nothing"), member(b"../up", b"up")]
    path = str(tmp_path / "x.tar")
    for later in ([], [member(b"d", b"D")], [member(b"d/e", b"E")]):
        data = b"".join([*before, member(place, kind=b"1", link=target), *later, END])
        Path(path).write_bytes(data)
        gnu, bsd = (extracted([tool, "--no-same-owner"], path)[0] for tool in ("tar", "bsdtar"))
        found, _, said = scanned(path, data)
        assert {name: content for name, content in found.items() if not leads_up(name)} in (gnu, bsd), said
