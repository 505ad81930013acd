"""The FUSE wire protocol, as far as a read-only filesystem needs it: structures, opcodes, and pure functions.

Every structure is that of ``include/uapi/linux/fuse.h`` (protocol 7.31, Linux 5.4, and later ones: what came after is
negotiated). Integers are in the machine's byte order, unaligned bytes don't occur. Nothing here reads or writes a
descriptor.
"""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import NamedTuple

from blobdir.errors import DataError

MAJOR = 7
MINOR = 41
"""The newest minor version that this module was held against; with a newer kernel this one is spoken."""
OLDEST_MINOR = 31
"""Linux 5.4: FUSE_NO_OPENDIR_SUPPORT, FUSE_MAX_PAGES and FUSE_CACHE_SYMLINKS are there."""

HEADER = struct.Struct("=IIQQIIII")
"""fuse_in_header: len, opcode, unique, nodeid, uid, gid, pid, padding (7.38: total_extlen in 8-byte words)."""
REPLY = struct.Struct("=IiQ")
"""fuse_out_header: len, error (0 or a negative errno), unique."""
ATTR = struct.Struct("=6Q10I")
"""fuse_attr: ino, size, blocks, atime, mtime, ctime, their nanoseconds, mode, nlink, uid, gid, rdev, blksize, flags."""
ENTRY = struct.Struct("=4QII6Q10I")
"""fuse_entry_out: nodeid, generation, entry_valid, attr_valid, their nanoseconds, fuse_attr."""
ENTRY_REPLY = struct.Struct("=IiQ4QII6Q10I")
"""fuse_out_header and fuse_entry_out in one."""
ATTR_REPLY = struct.Struct("=IiQQII6Q10I")
"""fuse_out_header and fuse_attr_out (attr_valid, its nanoseconds, padding, fuse_attr) in one."""
READ_IN = struct.Struct("=QQIIQII")
"""fuse_read_in, also that of READDIR: fh, offset, size, read_flags, lock_owner, flags, padding."""
INIT_IN = struct.Struct("=IIII")
"""fuse_init_in as far as all kernels send it: major, minor, max_readahead, flags; flags2 follows from 7.36 on."""
INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")
"""fuse_init_out: major, minor, max_readahead, flags, max_background, congestion_threshold, max_write, time_gran,
max_pages, map_alignment, flags2."""
OPEN_OUT = struct.Struct("=QII")
"""fuse_open_out: fh, open_flags, padding."""
STATFS_OUT = struct.Struct("=5Q4I24x")
"""fuse_kstatfs: blocks, bfree, bavail, files, ffree, bsize, namelen, frsize, padding."""
DIRENT = struct.Struct("=QQII")
"""fuse_dirent without its name: ino, off, namelen, type."""

ROOT_ID = 1
MIN_BUFFER_BYTES = 8192
"""FUSE_MIN_READ_BUFFER: the kernel refuses to fill a smaller buffer."""
MAX_WRITE_BYTES = 4096
"""The least a kernel accepts. Nobody writes, and the smaller requests can be, the smaller is the buffer for them."""
MAX_PAGES = 256
"""Pages of one READ: 1 MiB, the most that kernels allow by default."""
NAME_MAX = 255


class Opcode(IntEnum):
    """fuse_opcode."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BMAP = 37
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    NOTIFY_REPLY = 41
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SYNCFS = 50
    TMPFILE = 51
    STATX = 52


CHANGES = frozenset(
    {
        Opcode.SETATTR,
        Opcode.SYMLINK,
        Opcode.MKNOD,
        Opcode.MKDIR,
        Opcode.UNLINK,
        Opcode.RMDIR,
        Opcode.RENAME,
        Opcode.RENAME2,
        Opcode.LINK,
        Opcode.WRITE,
        Opcode.SETXATTR,
        Opcode.REMOVEXATTR,
        Opcode.CREATE,
        Opcode.FALLOCATE,
        Opcode.COPY_FILE_RANGE,
        Opcode.TMPFILE,
    }
)
"""Requests that would change something: EROFS. (A kernel that mounted read-only doesn't send them.)"""
UNANSWERED = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.NOTIFY_REPLY})
"""Requests that must not be answered."""


class Init(IntFlag):
    """Flags of INIT."""

    ASYNC_READ = 1 << 0
    EXPORT_SUPPORT = 1 << 4
    AUTO_INVAL_DATA = 1 << 12
    DO_READDIRPLUS = 1 << 13
    READDIRPLUS_AUTO = 1 << 14
    ASYNC_DIO = 1 << 15
    NO_OPEN_SUPPORT = 1 << 17
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22
    CACHE_SYMLINKS = 1 << 23
    NO_OPENDIR_SUPPORT = 1 << 24


WANTED = (
    Init.ASYNC_READ
    | Init.EXPORT_SUPPORT
    | Init.AUTO_INVAL_DATA  # a loose file that was edited: its pages go when its size or mtime changes
    | Init.DO_READDIRPLUS
    | Init.ASYNC_DIO
    | Init.NO_OPEN_SUPPORT
    | Init.PARALLEL_DIROPS
    | Init.MAX_PAGES
    | Init.CACHE_SYMLINKS
    | Init.NO_OPENDIR_SUPPORT
)
FOPEN_KEEP_CACHE, FOPEN_CACHE_DIR = 1 << 1, 1 << 3


class ProtocolError(DataError):
    """A request that isn't one, or a kernel that is too old."""

    code = errno.EPROTO


class Request(NamedTuple):
    """The header of a request.

    Attributes
    ----------
    length : int
        Bytes, header included.
    opcode : int
    unique : int
        Says to which request a reply belongs.
    nodeid : int
    """

    length: int
    opcode: int
    unique: int
    nodeid: int


def decode_request(data: bytes | bytearray | memoryview) -> Request:
    """Take a request's header apart.

    Raises
    ------
    ProtocolError
        Fewer bytes than a header, or than the header says.
    """
    if len(data) < HEADER.size:
        raise ProtocolError(f"a request of {len(data)} bytes; its header alone takes {HEADER.size}")
    request = Request(*HEADER.unpack_from(data)[:4])
    if request.length != len(data):
        raise ProtocolError(f"request {request.unique} says it has {request.length} bytes; it has {len(data)}")
    return request


def decode_name(body: bytes) -> bytes:
    """The name in a LOOKUP.

    Raises
    ------
    ProtocolError
        It isn't one name with a NUL after it.
    """
    name, nul, rest = body.partition(b"\0")
    if not name or not nul or b"/" in name or rest.strip(b"\0"):
        raise ProtocolError(f"not a name: {body[:64]!r}")
    return name


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What kernel and filesystem agreed on.

    Attributes
    ----------
    minor : int
        Of protocol 7.
    flags : Init
    max_readahead : int
        Bytes.
    max_pages : int
        Of one READ.
    """

    minor: int
    flags: Init
    max_readahead: int
    max_pages: int

    @property
    def max_read(self) -> int:
        """Bytes of the largest READ."""
        return self.max_pages * os.sysconf("SC_PAGE_SIZE")


def negotiate(body: bytes, *, adaptive: bool = False, max_background: int = 64) -> tuple[bytes, Negotiated | None]:
    """Answer an INIT.

    Parameters
    ----------
    body : bytes
        The request without its header.
    adaptive : bool
        Whether the kernel decides for each listing if it wants attributes with the names, by what the reader does. Else
        it always gets them: names that were listed can then be opened without another request.
    max_background : int
        Readahead and other asynchronous requests that the kernel may send before an answer.

    Returns
    -------
    reply : bytes
        Body of the reply.
    negotiated : Negotiated or None
        None where the kernel speaks a newer major version: it will send another INIT, for ours.

    Raises
    ------
    ProtocolError
        The kernel is older than Linux 5.4, or the request is cut off.
    """
    if len(body) < INIT_IN.size:
        raise ProtocolError(f"an INIT of {len(body)} bytes; {INIT_IN.size} are the least")
    major, minor, max_readahead, offered = INIT_IN.unpack_from(body)
    if major > MAJOR:
        return INIT_OUT.pack(MAJOR, MINOR, *[0] * 9), None
    if major < MAJOR or minor < OLDEST_MINOR:
        raise ProtocolError(
            f"the kernel speaks FUSE {major}.{minor}; the native engine needs {MAJOR}.{OLDEST_MINOR} (Linux 5.4). "
            "Use the fusepy engine"
        )
    flags = Init(offered) & (WANTED | Init.READDIRPLUS_AUTO if adaptive else WANTED)
    max_pages = MAX_PAGES if flags & Init.MAX_PAGES else 32
    agreed = Negotiated(min(minor, MINOR), flags, max_readahead, max_pages)
    reply = INIT_OUT.pack(
        MAJOR, agreed.minor, max_readahead, flags, max_background, max_background * 3 // 4, MAX_WRITE_BYTES, 1,
        max_pages, 0, 0,
    )  # fmt: skip
    return reply, agreed


def encode_error(unique: int, code: int) -> bytes:
    """A reply that is an errno, given as a positive number; 0 is success without data."""
    return REPLY.pack(REPLY.size, -code, unique)


def encode_reply(unique: int, body: bytes) -> bytes:
    """A reply with data."""
    return REPLY.pack(REPLY.size + len(body), 0, unique) + body


def encode_open(*, directory: bool) -> bytes:
    """Body of the answer to OPEN and OPENDIR, for kernels that can't do without one: no handle, caches kept."""
    return OPEN_OUT.pack(0, FOPEN_KEEP_CACHE | (FOPEN_CACHE_DIR if directory else 0), 0)


def encode_statfs(total_bytes: int, files: int, block: int = 4096) -> bytes:
    """Body of the answer to STATFS: a full disk of `total_bytes`."""
    return STATFS_OUT.pack(-(-total_bytes // block), 0, 0, files, 0, block, NAME_MAX, block, 0)
