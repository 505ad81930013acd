"""What an image was made from, written behind it in the same file, so that one can't be taken for another's.

The kernel doesn't know whether a file that it is given as a device is the right one: a wrong one gives wrong bytes. So
each blob's size, time, inode and time of change are kept, and those of plain files, and looked at before every mount.
An image that was exported may be mounted where blobs and files are copies: it has digests as well, of the blobs' first
and last mebibyte and of the names and places of all members, and knows plain files by size and time alone. Of copies
whose members have other bytes at the same places, nobody but a checksum of the whole would know.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from blobdir.erofs.contents import LINK_SIZE, STATE, in_column
from blobdir.erofs.structures import BLOCK
from blobdir.errors import BlobdirError, IndexFormatError, LinkError, SourceChangedError, TarError
from blobdir.sources import LocalSource, LocalStorage, Stat, readable
from blobdir.tarscan import scan_tar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

FORMAT: Final = "blobdir erofs image"
VERSION: Final = 4
EDGE: Final = 1 << 20
"""Bytes at each end of a blob that its digest covers."""
_MARK: Final = b"blobdir erofs\0\0\1"
_FOOTER: Final = struct.Struct("<16sQQQQ32s")  # mark, where the trailer begins, bytes of its three parts, digest


@dataclass(frozen=True, slots=True)
class BlobIdentity:
    """One blob as it was when the image was made.

    Attributes
    ----------
    path : str
        Relative to the project.
    size, mtime_ns : int
    digest : str
        BLAKE2b of the first and last MiB.
    device, inode, ctime_ns : int
        Of the file. As long as the last two are the same too, nobody has written to it.
    members : str
        BLAKE2b of the names and places of the members, or of the whole where it's no tar; empty in an image that isn't
        for copies.
    """

    path: str
    size: int
    mtime_ns: int
    digest: str
    device: int = 0
    inode: int = 0
    ctime_ns: int = 0
    members: str = ""


@dataclass(frozen=True)
class Identity:
    """What an image was made from.

    Attributes
    ----------
    fingerprint : str
        Of the index, the options and the format. Another one makes another image.
    root : str
        The project's folder.
    follow_links : bool
        Whether blobs may lie outside it, behind links.
    rows : int
        Files and directories.
    blobs : list of BlobIdentity
        The devices, in their order.
    unreadable : list of str
        Why parts of it can't be read.
    state : ndarray of `STATE`
        Loose files, directories and links as they were.
    state_paths : bytes
        Their paths, each followed by a NUL.
    """

    fingerprint: str
    root: str
    follow_links: bool
    rows: int
    blobs: list[BlobIdentity]
    unreadable: list[str]
    state: NDArray[np.void]
    state_paths: bytes

    def changed(self, root: str | None = None) -> Iterator[str]:
        """Yield the paths of loose files, directories and links that aren't as the image has them; 2 µs each.

        Content that has changed, and owners and permissions: what somebody may no longer read the image would show.
        """
        base = os.fsencode(root or self.root)
        for path, state in zip(self.state_paths.split(b"\0"), self.state.tolist(), strict=False):
            now = _link_state(base, path) if state[0] == LINK_SIZE else _state(base, path, folder=state[0] < 0)
            if now is not None and not state[-1]:
                now = (*now[:-2], 0, 0)
            if now != state:
                yield os.fsdecode(path)

    def uuid(self) -> bytes:
        """16 bytes that are the same for the same image."""
        body = json.dumps([self.fingerprint, [(blob.path, blob.size, blob.digest) for blob in self.blobs]])
        state = hashlib.blake2b(body.encode("utf-8", "surrogateescape"), digest_size=16)
        state.update(self.state.tobytes() + self.state_paths)
        raw = bytearray(state.digest())
        raw[6], raw[8] = raw[6] & 0x0F | 0x80, raw[8] & 0x3F | 0x80  # RFC 9562: version 8, made from what it names
        return bytes(raw)


def write_identity(fd: int, identity: Identity, start: int) -> int:
    """Write what an image was made from behind it.

    Parameters
    ----------
    fd : int
    identity : Identity
    start : int
        Byte where the image ends, a multiple of 512.

    Returns
    -------
    int
        Bytes of the whole file, a multiple of 512.
    """
    body = {"format": FORMAT, "version": VERSION}
    body |= {key: value for key, value in vars(identity).items() if key not in ("state", "state_paths", "blobs")}
    body["blobs"] = [asdict(blob) for blob in identity.blobs]
    text = json.dumps(body, sort_keys=True).encode()
    states, paths = identity.state.tobytes(), zlib.compress(identity.state_paths, 1)
    trailer = text + states + paths
    end = -(-(start + len(trailer) + _FOOTER.size) // BLOCK) * BLOCK
    digest = hashlib.blake2b(trailer, digest_size=32).digest()
    footer = _FOOTER.pack(_MARK, start, len(text), len(states), len(paths), digest)
    for at, data in ((start, trailer), (end - _FOOTER.size, footer)):
        if os.pwrite(fd, data, at) != len(data):
            raise OSError(errno.ENOSPC, "the image could be written in part only")
    return end


def read_identity(fd: int, path: str) -> Identity:
    """Read what an image was made from.

    Raises
    ------
    IndexFormatError
        It isn't an image of this program, or of another version, or damaged.
    """
    size = os.fstat(fd).st_size
    raw = os.pread(fd, _FOOTER.size, max(0, size - _FOOTER.size))
    if len(raw) < _FOOTER.size or raw[: len(_MARK)] != _MARK:
        raise IndexFormatError(f"{path}: isn't an image that blobdir made; make one with `blobdir export erofs`")
    _, start, text_bytes, state_bytes, path_bytes, digest = _FOOTER.unpack(raw)
    if start + text_bytes + state_bytes + path_bytes > size:
        raise IndexFormatError(f"{path}: is damaged (the trailer doesn't fit into it); make it anew")
    trailer = os.pread(fd, text_bytes + state_bytes + path_bytes, start)
    if hashlib.blake2b(trailer, digest_size=32).digest() != digest:
        raise IndexFormatError(f"{path}: is damaged (the digest of its trailer, byte {start}, is wrong); make it anew")
    states = np.frombuffer(trailer, STATE, state_bytes // STATE.itemsize, text_bytes)
    return _from_json(json.loads(trailer[:text_bytes]), states, trailer[text_bytes + state_bytes :], path)


def _from_json(body: dict[str, Any], state: NDArray[np.void], paths: bytes, path: str) -> Identity:
    if body.get("format") != FORMAT or body.get("version") != VERSION:
        raise IndexFormatError(
            f"{path}: version {body.get('version')} of {body.get('format')!r}, this program knows {VERSION}; make it "
            "anew"
        )
    try:
        blobs = [BlobIdentity(**blob) for blob in body["blobs"]]
        return Identity(
            str(body["fingerprint"]),
            str(body["root"]),
            bool(body["follow_links"]),
            int(body["rows"]),
            blobs,
            [str(reason) for reason in body["unreadable"]],
            state,
            zlib.decompress(paths),
        )
    except (KeyError, TypeError, zlib.error) as error:
        raise IndexFormatError(f"{path}: its trailer doesn't fit: {error!r}; make it anew") from error


def identify(source: LocalSource, path: str, *, for_copies: bool = False) -> BlobIdentity:
    """Look at an open blob; for an image that will know copies of it, at each of its headers."""
    found = os.fstat(source.fd)
    members = _members(source) if for_copies else ""
    numbers = found.st_size, found.st_mtime_ns
    return BlobIdentity(path, *numbers, _digest(source), found.st_dev, found.st_ino, found.st_ctime_ns, members)


def open_blob(storage: LocalStorage, blob: BlobIdentity) -> LocalSource:
    """Open the blob that an image was made for, and no other.

    Raises
    ------
    SourceChangedError
        It is gone, or isn't what it was: shorter, newer, or with other bytes.
    """
    advice = "make the image anew, or put back the blob that it was made for"
    try:
        source = storage.open(blob.path, Stat("file", blob.size, blob.mtime_ns))
    except FileNotFoundError as error:
        raise SourceChangedError(f"{storage.url}/{blob.path}: is gone; {advice}") from error
    except LinkError:
        raise
    except (OSError, BlobdirError) as error:
        raise SourceChangedError(f"{storage.url}/{error}; {advice}") from error
    found = os.fstat(source.fd)
    if (found.st_ino, found.st_ctime_ns) == (blob.inode, blob.ctime_ns):
        return source
    if _digest(source) != blob.digest:
        why = "has the size and time that it had, but other bytes at its beginning or end"
    elif not blob.members:
        why = "has the size and time that it had, but is another file, or was written to"
    elif _members(source) != blob.members:
        why = "has the size and time that it had, but other members"
    else:
        return source
    raise SourceChangedError(f"{storage.url}/{blob.path}: {why}; {advice}")


def _state(base: bytes, path: bytes, *, folder: bool) -> tuple[int, ...] | None:
    """A loose file or directory now, as `Tree.attributes` gives it, as a row of `STATE`; None where it's gone."""
    try:
        found = os.stat(base + b"/" + path if path else base)
    except OSError:
        # A folder that only the blobs make, such as img/, has the attributes of the one above it.
        return _state(base, path.rpartition(b"/")[0], folder=folder) if folder and path else None
    if folder:
        return -1, in_column(found.st_mtime_ns), readable(found.st_mode, 0o555), found.st_uid, found.st_gid, 0, 0
    if not stat.S_ISREG(found.st_mode):
        return None
    owner = found.st_uid, found.st_gid
    times = in_column(found.st_mtime_ns), in_column(found.st_ctime_ns)
    return found.st_size, times[0], readable(found.st_mode, 0o444), *owner, found.st_ino, times[1]


def _link_state(base: bytes, path: bytes) -> tuple[int, ...] | None:
    """The same of a symbolic link."""
    try:
        found = os.lstat(base + b"/" + path)
    except OSError:
        return None
    if not stat.S_ISLNK(found.st_mode):
        return None
    return LINK_SIZE, in_column(found.st_mtime_ns), 0o777, found.st_uid, found.st_gid, 0, 0


def _members(source: LocalSource) -> str:
    """Digest of the names and places of all members; of the whole where it's no tar."""
    state = hashlib.blake2b(digest_size=32)
    try:
        table = scan_tar(source)
    except TarError:
        for start in range(0, source.size, EDGE):
            state.update(source.read_at(start, EDGE))
    else:
        for column in (table.arena, table.start, table.end):
            state.update(np.ascontiguousarray(column).data)
    return state.hexdigest()


def _digest(source: LocalSource) -> str:
    state = hashlib.blake2b(source.read_at(0, EDGE), digest_size=32)
    state.update(source.read_at(max(0, source.size - EDGE), EDGE))
    return state.hexdigest()
