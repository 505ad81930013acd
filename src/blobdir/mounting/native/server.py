"""From a request to its reply: the FUSE protocol over the tree. No descriptor is read or written here."""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING

from blobdir.index import DIRECTORY, FIRST_BLOB, LINK, LOOSE
from blobdir.mounting.failures import errno_of
from blobdir.mounting.native.entries import BLOCK, FOREVER_S, EntryEncoder, entry_fields
from blobdir.mounting.native.protocol import (
    ATTR_REPLY,
    CHANGES,
    ENTRY,
    ENTRY_REPLY,
    HEADER,
    MAX_WRITE_BYTES,
    MIN_BUFFER_BYTES,
    NAME_MAX,
    READ_IN,
    REPLY,
    UNANSWERED,
    Init,
    Opcode,
    ProtocolError,
    decode_name,
    decode_request,
    encode_error,
    encode_open,
    encode_reply,
    encode_statfs,
    negotiate,
)
from blobdir.mounting.state import Counter
from blobdir.mounting.versions import ROW_BITS, ROW_MASK

if TYPE_CHECKING:
    from collections.abc import Callable

    from blobdir.mounting.native.protocol import Negotiated
    from blobdir.mounting.state import Counters
    from blobdir.mounting.versions import VersionedView
    from blobdir.tree import Tree

_BODY = HEADER.size
_HEAD = REPLY.size
_REQUESTS, _LOOKUPS, _READS, _BYTES = map(int, (Counter.REQUESTS, Counter.LOOKUPS, Counter.READS, Counter.BYTES))
REQUEST_BYTES = max(MIN_BUFFER_BYTES, MAX_WRITE_BYTES + 4096)


class Server:
    """Answers requests, one at a time: one for each thread that serves a mount.

    Parameters
    ----------
    tree : Tree
    view : VersionedView
    negotiated : Negotiated
    counters : Counters
    failed : callable
        Told of every request that ends in an error which isn't the caller's doing: (operation, path, exception).

    Attributes
    ----------
    request : bytearray
        The request has to be put in here.
    """

    def __init__(
        self,
        tree: Tree,
        view: VersionedView,
        negotiated: Negotiated,
        counters: Counters,
        failed: Callable[[str, str, Exception], None],
    ) -> None:
        self._tree = tree
        self._view = view
        self._entries = EntryEncoder(tree, view)
        self._flags = negotiated.flags
        self._version = 0  # of the loose file that the request is about
        self._counters = counters
        self._counts = counters.values
        self._failed = failed
        self._rows = len(tree.index)
        self._columns = tree.index.buffers
        self._members: dict[int, tuple[int, ...]] = {}
        self.request = bytearray(REQUEST_BYTES)
        self._body = memoryview(self.request)[_BODY:]
        self._max_read = negotiated.max_read
        self._reply = memoryview(bytearray(_HEAD + self._max_read))  # zero pages until somebody reads that much
        self._handlers: dict[int, Callable[[int, int, int], bytes | memoryview]] = {
            Opcode.LOOKUP: self._lookup,
            Opcode.READ: self._read if tree.storage.is_quick else self._read_once,
            Opcode.GETATTR: self._getattr,
            Opcode.READDIRPLUS: self._readdirplus,
            Opcode.READDIR: self._readdir,
            Opcode.READLINK: self._readlink,
            Opcode.OPEN: self._open,
            Opcode.OPENDIR: self._opendir,
            Opcode.STATFS: self._statfs,
            Opcode.RELEASE: self._nothing,
            Opcode.RELEASEDIR: self._nothing,
            Opcode.DESTROY: self._nothing,
            Opcode.SYNCFS: self._nothing,
            Opcode.INIT: self._init_again,
            Opcode.IOCTL: self._ioctl,
            **dict.fromkeys(CHANGES, self._change),
        }

    def answer(self, length: int) -> bytes | memoryview | None:
        """Answer the request in the first `length` bytes of `request`.

        Returns
        -------
        bytes or memoryview or None
            The reply, good until the next request; None where none may be sent.
        """
        try:
            _, opcode, unique, nodeid = decode_request(memoryview(self.request)[:length])
        except ProtocolError as error:
            self._failed("?", "", error)
            return None
        self._counts[_REQUESTS] += 1
        if opcode in UNANSWERED:
            return None
        self._version = version = nodeid >> ROW_BITS
        row = (nodeid & ROW_MASK if version else nodeid) - 1
        try:
            handler = self._handlers[opcode]
            if not 0 <= row < self._rows and opcode not in (Opcode.INIT, Opcode.DESTROY):
                return encode_error(unique, errno.ESTALE)
            if version and self._columns.source[row] != LOOSE:
                return encode_error(unique, errno.ESTALE)
            return handler(unique, row, length - _BODY)
        except Exception as error:
            if opcode not in self._handlers:
                return encode_error(unique, errno.ENOSYS)  # the kernel then doesn't ask again
            return encode_error(unique, self._errno(opcode, row, error))

    def _errno(self, opcode: int, row: int, error: Exception) -> int:
        code = errno_of(error)
        if code not in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.ENAMETOOLONG):
            self._counters.add(Counter.ERRORS, 1)
            path = f"inode {row + 1}"
            with suppress(Exception):  # what is wrong may be wrong with the names as well
                path = self._tree.path(row)
            self._failed(Opcode(opcode).name, path, error)
        return code

    # -- names and attributes --------------------------------------------------------------------------------

    def _lookup(self, unique: int, row: int, length: int) -> bytes | memoryview:
        self._counts[_LOOKUPS] += 1
        name = self._body[:length].tobytes()
        name = name[:-1] if name.find(b"\0") == length - 1 > 0 else decode_name(name)
        if self._columns.source[row] != DIRECTORY:
            return encode_error(unique, errno.ENOTDIR)
        if len(name) > NAME_MAX:
            return encode_error(unique, errno.ENAMETOOLONG)
        if name in (b".", b".."):  # for those who export the mount by NFS
            child = row if name == b"." else self._tree.index.parent(row)
        else:
            child = self._tree.index.lookup(row, name)
        if child < 0:
            if not self._tree.is_complete(row):
                raise self._tree.absence(row, name.decode("utf-8", "surrogateescape"))
            # Names don't change while it's mounted: that it isn't there may be remembered.
            return encode_reply(unique, ENTRY.pack(0, 0, FOREVER_S, *[0] * 19))
        source = self._columns.source[child]
        if source < FIRST_BLOB:
            return ENTRY_REPLY.pack(ENTRY_REPLY.size, 0, unique, *entry_fields(self._view.opened(child)))
        member = self._members.get(source)
        if member is None:
            member = self._members[source] = entry_fields(self._view.of_member(source, child))[9:]
        size, inode = self._columns.size[child], child + 1
        return ENTRY_REPLY.pack(
            ENTRY_REPLY.size, 0, unique, inode, 0, FOREVER_S, FOREVER_S, 0, 0, inode, size, (size + 511) >> 9, *member
        )

    def _getattr(self, unique: int, row: int, _length: int) -> bytes:
        found = self._view.opened(row)
        if not self._view.is_of(self._version, found):
            return encode_error(unique, errno.ESTALE)  # whoever has only its name looks that up again
        _, _, _, valid_s, _, valid_ns, *attributes = entry_fields(found)
        return ATTR_REPLY.pack(ATTR_REPLY.size, 0, unique, valid_s, valid_ns, 0, *attributes)

    def _readlink(self, unique: int, row: int, _length: int) -> bytes:
        if self._columns.source[row] != LINK:
            return encode_error(unique, errno.EINVAL)
        return encode_reply(unique, self._tree.link_target(row).encode("utf-8", "surrogateescape"))

    def _statfs(self, unique: int, _row: int, _length: int) -> bytes:
        return encode_reply(unique, encode_statfs(self._tree.total_bytes(), self._rows, BLOCK))

    # -- content ---------------------------------------------------------------------------------------------

    def _read_in(self, length: int) -> tuple[int, int]:
        if length < READ_IN.size:
            raise ProtocolError(f"a READ of {length} bytes; it takes {READ_IN.size}")
        _, offset, size, *_ = READ_IN.unpack_from(self._body)
        return offset, min(size, self._max_read)

    def _read_once(self, unique: int, row: int, length: int) -> memoryview:
        return self._view.second_tries.once(self._rows + row, lambda: self._read(unique, row, length))

    def _read(self, unique: int, row: int, length: int) -> memoryview:
        offset, size = self._read_in(length)
        if self._columns.source[row] == LOOSE:
            data = self._view.read(row, self._version, offset, offset + size)
            got = len(data)
            self._reply[_HEAD : _HEAD + got] = data
        else:
            got = self._tree.read_into(row, offset, self._reply[_HEAD : _HEAD + size])
        self._counts[_READS] += 1
        self._counts[_BYTES] += got
        REPLY.pack_into(self._reply, 0, _HEAD + got, 0, unique)
        return self._reply[: _HEAD + got]

    def _readdir(self, unique: int, row: int, length: int) -> bytes:
        place, size = self._read_in(length)
        return encode_reply(unique, self._entries.encode(row, place, size, plus=False))

    def _readdirplus(self, unique: int, row: int, length: int) -> bytes:
        place, size = self._read_in(length)
        return encode_reply(unique, self._entries.encode(row, place, size, plus=True))

    # -- the rest --------------------------------------------------------------------------------------------

    def _open(self, unique: int, _row: int, _length: int) -> bytes:
        if self._flags & Init.NO_OPEN_SUPPORT:
            return encode_error(unique, errno.ENOSYS)  # "don't ask": there is nothing to open, and caches are kept
        return encode_reply(unique, encode_open(directory=False))

    def _opendir(self, unique: int, _row: int, _length: int) -> bytes:
        if self._flags & Init.NO_OPENDIR_SUPPORT:
            return encode_error(unique, errno.ENOSYS)
        return encode_reply(unique, encode_open(directory=True))

    @staticmethod
    def _nothing(unique: int, _row: int, _length: int) -> bytes:
        return encode_error(unique, 0)

    @staticmethod
    def _change(unique: int, _row: int, _length: int) -> bytes:
        return encode_error(unique, errno.EROFS)

    @staticmethod
    def _ioctl(unique: int, _row: int, _length: int) -> bytes:
        return encode_error(unique, errno.ENOTTY)

    def _init_again(self, unique: int, _row: int, length: int) -> bytes:
        """A second INIT doesn't occur; whoever sends one gets what a first one gets."""
        return encode_reply(unique, negotiate(self._body[:length].tobytes())[0])
