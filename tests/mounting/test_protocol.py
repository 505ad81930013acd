"""The FUSE protocol byte for byte, against structures written down a second time, from the kernel's header."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from ctypes import c_int32, c_uint16, c_uint32, c_uint64
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from blob_builder import Builder
from hypothesis import given, settings
from hypothesis import strategies as st

import blobdir
from blobdir.mounting.native import protocol
from blobdir.mounting.native.entries import DIRENT_FIELDS, ENTRY_FIELDS, PLUS_FIELDS, pack_entries
from blobdir.mounting.native.protocol import Init, Opcode, ProtocolError, negotiate
from blobdir.mounting.native.server import Server
from blobdir.mounting.options import MountOptions
from blobdir.mounting.state import Counters
from blobdir.mounting.versions import VersionedView

ALL_FLAGS = 0xFFFFFFFF


class Attr(ctypes.Structure):
    _fields_ = [(n, c_uint64) for n in ("ino", "size", "blocks", "atime", "mtime", "ctime")] + [
        (n, c_uint32)
        for n in ("atimensec", "mtimensec", "ctimensec", "mode", "nlink", "uid", "gid", "rdev", "blksize", "flags")
    ]


class OutHeader(ctypes.Structure):
    _fields_ = [("len", c_uint32), ("error", c_int32), ("unique", c_uint64)]


class EntryOut(ctypes.Structure):
    _fields_ = [
        *((n, c_uint64) for n in ("nodeid", "generation", "entry_valid", "attr_valid")),
        ("entry_valid_nsec", c_uint32),
        ("attr_valid_nsec", c_uint32),
        ("attr", Attr),
    ]


class AttrOut(ctypes.Structure):
    _fields_ = [("attr_valid", c_uint64), ("attr_valid_nsec", c_uint32), ("dummy", c_uint32), ("attr", Attr)]


class InitOut(ctypes.Structure):
    _fields_ = [
        *((n, c_uint32) for n in ("major", "minor", "max_readahead", "flags")),
        *((n, c_uint16) for n in ("max_background", "congestion_threshold")),
        *((n, c_uint32) for n in ("max_write", "time_gran")),
        *((n, c_uint16) for n in ("max_pages", "map_alignment")),
        ("flags2", c_uint32),
        ("unused", c_uint32 * 7),
    ]


class Dirent(ctypes.Structure):
    _fields_ = [("ino", c_uint64), ("off", c_uint64), ("namelen", c_uint32), ("type", c_uint32)]


class Kstatfs(ctypes.Structure):
    _fields_ = [
        *((n, c_uint64) for n in ("blocks", "bfree", "bavail", "files", "ffree")),
        *((n, c_uint32) for n in ("bsize", "namelen", "frsize", "padding")),
        ("spare", c_uint32 * 6),
    ]


def test_sizes_are_those_of_the_header():
    assert ctypes.sizeof(Attr) == protocol.ATTR.size == 88
    assert ctypes.sizeof(EntryOut) == protocol.ENTRY.size == ENTRY_FIELDS.itemsize == 128
    assert ctypes.sizeof(AttrOut) + 16 == protocol.ATTR_REPLY.size == 120
    assert ctypes.sizeof(InitOut) == protocol.INIT_OUT.size == 64
    assert ctypes.sizeof(Dirent) == protocol.DIRENT.size == DIRENT_FIELDS.itemsize == 24
    assert PLUS_FIELDS.itemsize == 152
    assert ctypes.sizeof(Kstatfs) == protocol.STATFS_OUT.size == 80
    assert protocol.HEADER.size == protocol.READ_IN.size == 40


def init_in(major=7, minor=44, readahead=131072, flags=ALL_FLAGS, *, extended=True):
    return struct.pack("=IIII", major, minor, readahead, flags) + bytes(48 if extended else 0)


def test_init():
    reply, agreed = negotiate(init_in())
    out = InitOut.from_buffer_copy(reply)
    assert (out.major, out.minor) == (7, 41)
    assert out.flags == protocol.WANTED
    assert out.max_pages == 256
    assert out.max_write == 4096
    assert out.max_readahead == agreed.max_readahead == 131072
    assert out.time_gran == 1
    assert agreed.max_read == 256 * os.sysconf("SC_PAGE_SIZE")


def test_init_of_linux_5_4():
    """What a kernel of protocol 7.31 sends: sixteen bytes, and flags up to bit 25."""
    reply, agreed = negotiate(init_in(minor=31, flags=0x03FFFFFB, extended=False))
    out = InitOut.from_buffer_copy(reply)
    assert out.minor == agreed.minor == 31
    assert Init.NO_OPENDIR_SUPPORT in agreed.flags
    assert Init.NO_OPEN_SUPPORT in agreed.flags
    assert reply.hex() == (
        "070000001f0000000000020011b0c601"  # major, minor, max_readahead, flags
        "400030000010000001000000"  # max_background, congestion_threshold, max_write, time_gran
        "0001000000000000" + "00" * 28  # max_pages, map_alignment, flags2, unused
    )  # fmt: skip


def test_init_takes_only_what_is_offered():
    reply, agreed = negotiate(init_in(flags=Init.ASYNC_READ))
    assert InitOut.from_buffer_copy(reply).flags == agreed.flags == Init.ASYNC_READ
    assert agreed.max_pages == 32


def test_init_that_leaves_listings_to_the_kernel():
    flags = InitOut.from_buffer_copy(negotiate(init_in(), adaptive=True)[0]).flags
    assert flags == protocol.WANTED | Init.READDIRPLUS_AUTO


def test_init_of_another_major_version():
    reply, agreed = negotiate(init_in(major=8))
    assert agreed is None
    assert struct.unpack_from("=II", reply) == (7, 41)


@pytest.mark.parametrize("minor", [8, 30])
def test_init_of_old_kernels(minor):
    with pytest.raises(ProtocolError, match="Linux 5.4"):
        negotiate(init_in(minor=minor))


def test_init_cut_off():
    with pytest.raises(ProtocolError, match="8 bytes"):
        negotiate(bytes(8))


# -- the server ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Builder(tmp_path_factory.mktemp("protocol") / "p")
    made.blob("train", "b", {f"{i:03d}.jpg": bytes([i]) * (1000 + i) for i in range(200)})
    os.utime(made.root / "blob/b.tar", ns=(1_650_000_000_123_456_789,) * 2)
    (made.root / "link").symlink_to("train/img")
    return blobdir.open_project(made.root, index="none")


class Client:
    """Asks a server, as the kernel would."""

    def __init__(self, project, flags=ALL_FLAGS):
        self.failed = []
        tree = project.tree
        options = MountOptions(uid=1000, gid=1001)
        counters = Counters.create(None)
        agreed = negotiate(init_in(flags=flags))[1]
        self.server = Server(
            tree, VersionedView(tree, options), agreed, counters, lambda *what: self.failed.append(what)
        )
        self.tree = tree

    def raw(self, data):
        self.server.request[: len(data)] = data
        reply = self.server.answer(len(data))
        return None if reply is None else bytes(reply)

    def __call__(self, opcode, nodeid, body=b"", unique=77):
        reply = self.raw(struct.pack("=IIQQIIII", 40 + len(body), opcode, unique, nodeid, 0, 0, 0, 0) + body)
        head = OutHeader.from_buffer_copy(reply)
        assert (head.len, head.unique) == (len(reply), unique)
        assert head.error <= 0
        if head.error:
            assert len(reply) == 16
            return -head.error
        return reply[16:]

    def node(self, path):
        return self.tree.find(path, follow=False) + 1


@pytest.fixture
def ask(project):
    return Client(project)


def read_in(offset, size):
    return struct.pack("=QQIIQII", 0, offset, size, 0, 0, 0, 0)


def test_lookup(ask):
    out = EntryOut.from_buffer_copy(ask(Opcode.LOOKUP, ask.node("train/img"), b"007.jpg\0"))
    assert out.nodeid == out.attr.ino == ask.node("train/img/007.jpg")
    assert out.generation == 0
    assert out.entry_valid == out.attr_valid == 86_400
    assert (out.attr.size, out.attr.blocks) == (1007, 2)
    assert out.attr.mode == 0o100444
    assert (out.attr.mtime, out.attr.mtimensec) == (1_650_000_000, 123_456_789)
    assert (out.attr.uid, out.attr.gid, out.attr.nlink) == (1000, 1001, 1)


def test_lookup_golden(ask):
    inode = ask.node("train/img/007.jpg").to_bytes(8, "little").hex()
    second, nano = (1_650_000_000).to_bytes(8, "little").hex(), (123_456_789).to_bytes(4, "little").hex()
    day = (86_400).to_bytes(8, "little").hex()
    assert ask(Opcode.LOOKUP, ask.node("train/img"), b"007.jpg\0").hex() == (
        inode + "00" * 8 + day * 2 + "00" * 8  # nodeid, generation, entry_valid, attr_valid, nanoseconds
        + inode + "ef03000000000000" + "0200000000000000"  # ino, size, blocks
        + second * 3 + nano * 3
        + "2481000001000000e8030000e9030000000000000010000000000000"
    )  # fmt: skip


def test_lookup_of_what_isnt_there_may_be_remembered(ask):
    out = EntryOut.from_buffer_copy(ask(Opcode.LOOKUP, 1, b"none\0"))
    assert out.nodeid == 0
    assert out.entry_valid == 86_400


def test_a_loose_file_is_looked_up_each_time(ask):
    out = EntryOut.from_buffer_copy(ask(Opcode.LOOKUP, 1, b"meta.json\0"))
    assert (out.entry_valid, out.entry_valid_nsec, out.attr_valid, out.attr_valid_nsec) == (0, 0, 0, 50_000_000)
    assert out.nodeid & 0xFFFFFFFF == out.attr.ino


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", errno.EPROTO),
        (b"\0", errno.EPROTO),
        (b"no end", errno.EPROTO),
        (b"a/b\0", None),
        (b"a\0b\0", errno.EPROTO),
        (b"x" * 256 + b"\0", errno.ENAMETOOLONG),
    ],
)
def test_odd_names(ask, body, code):
    found = ask(Opcode.LOOKUP, 1, body)
    assert found == code if code else EntryOut.from_buffer_copy(found).nodeid == 0


def test_dots(ask):
    train, image = ask.node("train"), ask.node("train/img")
    assert EntryOut.from_buffer_copy(ask(Opcode.LOOKUP, image, b"..\0")).nodeid == train
    assert EntryOut.from_buffer_copy(ask(Opcode.LOOKUP, image, b".\0")).nodeid == image
    assert EntryOut.from_buffer_copy(ask(Opcode.LOOKUP, 1, b"..\0")).nodeid == 1


def test_getattr(ask):
    out = AttrOut.from_buffer_copy(ask(Opcode.GETATTR, ask.node("train"), bytes(16)))
    assert out.attr.mode == 0o040555
    assert out.attr.nlink == 4
    assert out.attr_valid == 1  # somebody may take its rights away
    member = AttrOut.from_buffer_copy(ask(Opcode.GETATTR, ask.node("train/img/007.jpg"), bytes(16)))
    assert member.attr_valid == 86_400


def test_read(ask):
    node = ask.node("train/img/007.jpg")
    assert ask(Opcode.READ, node, read_in(0, 4096)) == b"\7" * 1007
    assert ask(Opcode.READ, node, read_in(1000, 4096)) == b"\7" * 7
    assert ask(Opcode.READ, node, read_in(1007, 4096)) == b""
    assert ask(Opcode.READ, node, read_in(2**62, 4096)) == b""
    assert ask(Opcode.READ, node, read_in(0, 2**32 - 1)) == b"\7" * 1007
    assert ask(Opcode.READ, ask.node("train"), read_in(0, 10)) == errno.EISDIR
    assert ask(Opcode.READ, node, b"short") == errno.EPROTO


def test_readlink(ask):
    assert ask(Opcode.READLINK, ask.node("link")) == b"train/img"
    assert ask(Opcode.READLINK, 1) == errno.EINVAL


def entries(data, *, plus):
    found, at = [], 0
    while at < len(data):
        entry = EntryOut.from_buffer_copy(data, at) if plus else None
        at += 128 if plus else 0
        head = Dirent.from_buffer_copy(data, at)
        found.append((data[at + 24 : at + 24 + head.namelen], head.ino, head.off, head.type, entry))
        at += 24 + (head.namelen + 7) // 8 * 8
    assert at == len(data)
    return found


@pytest.mark.parametrize("plus", [False, True])
@pytest.mark.parametrize("limit", [200, 512, 4096, 32_768, 1 << 20])
def test_readdir(ask, plus, limit):
    opcode, node = (Opcode.READDIRPLUS if plus else Opcode.READDIR), ask.node("train/img")
    found, place = [], 0
    while data := ask(opcode, node, read_in(place, limit)):
        assert len(data) <= limit
        found += entries(data, plus=plus)
        place = found[-1][2]
    names = [name for name, *_ in found]
    assert names == [b".", b"..", *(b"%03d.jpg" % i for i in range(200))]
    assert [ino for _, ino, *_ in found][:2] == [node, ask.node("train")]
    for name, ino, _, kind, entry in found[2:]:
        assert kind == 8
        looked_up = ask(Opcode.LOOKUP, node, name + b"\0")
        assert ino == EntryOut.from_buffer_copy(looked_up).nodeid
        assert entry is None or bytes(entry) == looked_up
    if plus:
        assert [entry.nodeid for *_, entry in found[:2]] == [0, 0]


def test_readdir_kinds(ask):
    found = {name: kind for name, _, _, kind, _ in entries(ask(Opcode.READDIR, 1, read_in(0, 4096)), plus=False)}
    assert found == {b".": 4, b"..": 4, b"link": 10, b"meta.json": 8, b"train": 4}
    assert ask(Opcode.READDIR, ask.node("meta.json"), read_in(0, 4096)) == errno.ENOTDIR


@given(
    st.lists(st.binary(min_size=1, max_size=30).filter(lambda name: 0 not in name), max_size=40), st.integers(0, 3000)
)
@settings(max_examples=150, deadline=None)
def test_packed_entries_are_those_packed_one_by_one(names, limit):
    fixed = np.zeros(len(names), DIRENT_FIELDS)
    fixed["ino"] = np.arange(len(names)) + 5
    fixed["namelen"] = [len(name) for name in names]
    arena = np.frombuffer(b"junk" + b"".join(name + b"\0" for name in names), np.uint8)
    starts = 4 + np.cumsum([0, *(len(name) + 1 for name in names)])
    expected = b""
    for i, name in enumerate(names):
        one = struct.pack("=QQII", i + 5, 0, len(name), 0) + name + bytes(-len(name) % 8)
        if len(expected) + len(one) > limit:
            break
        expected += one
    assert pack_entries(fixed, arena, starts, limit) == expected


def test_statfs(ask):
    out = Kstatfs.from_buffer_copy(ask(Opcode.STATFS, 1))
    assert out.blocks == -(-sum(1000 + i for i in range(200)) // 4096)
    assert (out.bfree, out.bavail, out.ffree, out.namelen, out.bsize) == (0, 0, 0, 255, 4096)
    assert out.files == len(ask.tree.index)


def test_opening_is_left_to_the_kernel(ask, project):
    assert ask(Opcode.OPEN, 5, bytes(8)) == errno.ENOSYS
    assert ask(Opcode.OPENDIR, 1, bytes(8)) == errno.ENOSYS
    assert ask(Opcode.FLUSH, 5, bytes(24)) == errno.ENOSYS
    modest = Client(project, flags=0)
    assert modest(Opcode.OPEN, 5, bytes(8)) == struct.pack("=QII", 0, 2, 0)
    assert modest(Opcode.OPENDIR, 1, bytes(8)) == struct.pack("=QII", 0, 10, 0)


def test_changes(ask):
    assert {ask(opcode, 1, bytes(64)) for opcode in protocol.CHANGES} == {errno.EROFS}


@pytest.mark.parametrize("opcode", [0, 7, 19, 53, 54, 99, 4096, 0xFFFFFFFF, Opcode.LSEEK, Opcode.BMAP, Opcode.STATX])
def test_unknown_requests(ask, opcode):
    assert ask(opcode, 1, bytes(16)) == errno.ENOSYS


def test_requests_without_an_answer(ask):
    for opcode in protocol.UNANSWERED:
        assert ask.raw(struct.pack("=IIQQIIII", 48, opcode, 7, 1, 0, 0, 0, 0) + bytes(8)) is None


@pytest.mark.parametrize("node", [0, 10**6, 2**63, 2**64 - 1])
def test_inodes_that_dont_exist(ask, node):
    assert ask(Opcode.GETATTR, node, bytes(16)) == errno.ESTALE


def test_an_error_in_our_code_is_an_errno(ask, monkeypatch):
    monkeypatch.setitem(ask.server._handlers, Opcode.READ, lambda *_: 1 / 0)
    assert ask(Opcode.READ, 5, read_in(0, 10)) == errno.EIO
    assert len(ask.failed) == 1


def requests(project):
    tree = project.tree
    heads = st.tuples(
        st.one_of(st.sampled_from(list(map(int, Opcode))), st.integers(0, 2**32 - 1)),
        st.integers(0, 2**64 - 1),
        st.one_of(st.integers(0, len(tree.index) + 2), st.integers(0, 2**64 - 1)),
    )
    bodies = st.one_of(
        st.binary(max_size=300),
        st.builds(read_in, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1)),
        st.builds(read_in, st.integers(0, 300), st.integers(0, 9000)),
        st.sampled_from([b"train\0", b"img\0", b"007.jpg\0", b"..\0"]),
    )
    return heads, bodies


def test_mutated_requests(project):
    """Whatever comes, there is no exception, and an answer that is one: its length and number are right."""
    ask = Client(project)
    heads, bodies = requests(project)

    @given(heads, bodies, st.lists(st.tuples(st.integers(0, 339), st.integers(0, 255)), max_size=3), st.integers(0, 60))
    @settings(max_examples=3000, deadline=None)
    def check(head, body, flips, cut):
        opcode, unique, nodeid = head
        data = bytearray(struct.pack("=IIQQIIII", 40 + len(body), opcode, unique, nodeid, 0, 0, 0, 0) + body)
        for place, value in flips:
            data[place % len(data)] = value
        data = data[: len(data) - cut] if cut < 20 else data
        reply = ask.raw(bytes(data))
        if reply is not None:
            out = OutHeader.from_buffer_copy(reply)
            assert out.len == len(reply)
            assert -4096 < out.error <= 0
            assert out.unique == struct.unpack_from("=Q", data, 8)[0]

    check()
    assert ask(Opcode.READ, ask.node("train/img/007.jpg"), read_in(0, 4096)) == b"\7" * 1007
    assert Path(project.tree.storage.url).exists()


# -- what goes wrong inside ----------------------------------------------------------------------------------

WRONG = [
    (RuntimeError("?"), errno.EIO),
    (KeyError("?"), errno.EIO),
    (MemoryError(), errno.EIO),
    (RecursionError(), errno.EIO),
    (UnicodeEncodeError("utf-8", "?", 0, 1, "?"), errno.EIO),
    (OSError(errno.EACCES, "?"), errno.EACCES),
    (OSError("no number"), errno.EIO),
    (OSError(99_999, "no errno"), errno.EIO),
    (OSError(-5, "no errno"), errno.EIO),
    (OSError("a text", "no errno"), errno.EIO),
]


@pytest.mark.parametrize(("error", "code"), WRONG, ids=lambda value: repr(value)[:30])
@pytest.mark.parametrize("names_too", [False, True])
def test_any_error_of_a_handler_is_answered(ask, monkeypatch, error, code, names_too):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(ask.tree, "read_into", fail)
    node = ask.node("train/img/000.jpg")
    if names_too:
        monkeypatch.setattr(ask.tree, "path", fail)
    assert ask(Opcode.READ, node, read_in(0, 10)) == code
    assert len(ask.failed) == 1


@pytest.mark.parametrize(("error", "code"), WRONG, ids=lambda value: repr(value)[:30])
def test_any_error_of_a_handler_is_answered_by_fusepy_too(ask, monkeypatch, error, code):
    import fuse

    from blobdir.mounting.fusepy import TreeOperations

    def fail(*_, **__):
        raise error

    view, counters = VersionedView(ask.tree, MountOptions()), Counters.create(None)
    operations = TreeOperations(ask.tree, view, counters, lambda: None)
    monkeypatch.setattr(ask.tree, "read", fail)
    with pytest.raises(fuse.FuseOSError) as raised:
        operations("read", "/x", 10, 0, SimpleNamespace(fh=1))
    assert raised.value.errno == code


def test_a_reply_that_the_kernel_refuses_becomes_an_error(monkeypatch):
    from blobdir.mounting.native import worker

    written = []

    def write(_, data):
        written.append(bytes(data))
        if len(written) == 1:
            raise OSError(errno.EINVAL, "?")

    monkeypatch.setattr(worker.os, "write", write)
    worker._send(5, protocol.encode_reply(77, b"too much"))
    assert written[1] == protocol.encode_error(77, errno.EIO)
