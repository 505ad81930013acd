"""The contract of a mount: besides what holds for every face, what the kernel lets programs do with files."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blobdir.testing.contract import ViewContract, files, walk
from blobdir.testing.faces import FolderFace

CHANGES: dict[str, Callable[[str, str], object]] = {
    "open to write": lambda file, _: os.open(file, os.O_WRONLY),
    "open to read and write": lambda file, _: os.open(file, os.O_RDWR),
    "open to append": lambda file, _: os.open(file, os.O_WRONLY | os.O_APPEND),
    "truncate on open": lambda file, _: os.open(file, os.O_WRONLY | os.O_TRUNC),
    "create": lambda _, folder: os.open(f"{folder}/new", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "truncate": lambda file, _: os.truncate(file, 0),
    "unlink": lambda file, _: os.unlink(file),
    "rename": lambda file, folder: os.rename(file, f"{folder}/new"),
    "replace": lambda file, folder: os.replace(f"{folder}/meta.json", file),
    "link": lambda file, folder: os.link(file, f"{folder}/new"),
    "symlink": lambda _, folder: os.symlink("x", f"{folder}/new"),
    "mkdir": lambda _, folder: os.mkdir(f"{folder}/new"),
    "rmdir": lambda _, folder: os.rmdir(f"{folder}/train"),
    "mkfifo": lambda _, folder: os.mkfifo(f"{folder}/new"),
    "chmod": lambda file, _: os.chmod(file, 0o777),
    "chown": lambda file, _: os.chown(file, 1, 1),
    "utime": lambda file, _: os.utime(file),
    "setxattr": lambda file, _: os.setxattr(file, "user.x", b"1"),
    "removexattr": lambda file, _: os.removexattr(file, "user.x"),
}


class MountContract(ViewContract):
    """What holds for every mount."""

    @pytest.fixture
    def root(self, face: FolderFace) -> Path:
        """The mount point."""
        return face.root

    @pytest.fixture
    def large(self, face: FolderFace, plain: FolderFace) -> tuple[str, bytes]:
        """The largest file: its path in the mount, and its bytes."""
        path = max(files(plain), key=plain.size)
        return face.at(path), plain.read(path)

    @pytest.mark.parametrize("change", CHANGES)
    def test_read_only(self, root: Path, plain: FolderFace, change: str) -> None:
        path = next(path for path in files(plain) if "/img/" in path)
        with pytest.raises(OSError, match="Read-only") as caught:
            CHANGES[change](str(root / path), str(root))
        assert caught.value.errno == errno.EROFS

    def test_inodes(self, face: FolderFace, plain: FolderFace) -> None:
        found = {path: os.lstat(face.at(path)) for path, _ in walk(plain)}
        assert len({entry.st_ino for entry in found.values()}) == len(found)
        assert os.stat(face.root).st_ino == 1
        for path, kind in walk(plain):
            entry = found[path]
            if kind == "directory":
                below = [name for name in plain.names(path) if plain.kind(f"{path}/{name}") == "directory"]
                assert entry.st_nlink == 2 + len(below), path
            else:
                assert entry.st_nlink == 1
                assert entry.st_blocks == -(-entry.st_size // 512)
        for folder in (path for path, kind in walk(plain) if kind == "directory"):
            with os.scandir(face.at(folder)) as scan:
                for item in scan:
                    assert item.inode() == os.lstat(item.path).st_ino, item.path
                    assert item.is_dir(follow_symlinks=False) == stat.S_ISDIR(os.lstat(item.path).st_mode)

    def test_inodes_are_stable(self, face: FolderFace, plain: FolderFace, again: FolderFace) -> None:
        for path, _ in walk(plain):
            assert os.lstat(face.at(path)).st_ino == os.lstat(again.at(path)).st_ino

    def test_long_names(self, root: Path) -> None:
        for length in (256, 1000, 4000):
            with pytest.raises(OSError, match="File name too long") as caught:
                os.stat(root / ("x" * length))
            assert caught.value.errno == errno.ENAMETOOLONG
        with pytest.raises(FileNotFoundError):
            os.stat(root / ("x" * 255))

    def test_below_a_file(self, root: Path) -> None:
        with pytest.raises(NotADirectoryError):
            os.stat(root / "meta.json" / "x")

    def test_seeks_and_short_reads(self, large: tuple[str, bytes]) -> None:
        path, data = large
        descriptor = os.open(path, os.O_RDONLY)
        try:
            assert os.lseek(descriptor, 0, os.SEEK_END) == len(data)
            assert os.read(descriptor, 10) == b""
            assert os.lseek(descriptor, -5, os.SEEK_END) == len(data) - 5
            assert os.read(descriptor, 4096) == data[-5:]
            assert os.lseek(descriptor, 1000, os.SEEK_SET) == 1000
            assert os.read(descriptor, 3) == data[1000:1003]
            assert os.lseek(descriptor, 7, os.SEEK_CUR) == 1010
            assert os.pread(descriptor, 10, len(data) + 100) == b""
            assert os.pread(descriptor, 100, len(data) - 50) == data[-50:]
            assert os.lseek(descriptor, 0, os.SEEK_DATA) == 0
            assert os.lseek(descriptor, 0, os.SEEK_HOLE) == len(data)
            with pytest.raises(OSError, match="Invalid"):
                os.lseek(descriptor, -1, os.SEEK_SET)
        finally:
            os.close(descriptor)

    def test_reads_of_any_size(self, large: tuple[str, bytes]) -> None:
        path, data = large
        chosen = random.Random(5)
        with open(path, "rb", buffering=0) as file:
            for _ in range(200):
                start, size = chosen.randrange(len(data)), chosen.choice((1, 511, 4096, 4097, 70_000, 1 << 20))
                assert os.pread(file.fileno(), size, start) == data[start : start + size]

    def test_mmap(self, face: FolderFace, plain: FolderFace, large: tuple[str, bytes]) -> None:
        path, data = large
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            assert mapped[:] == data
            assert mapped[4090:5000] == data[4090:5000]
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_WRITE) as private:
            private[0:4] = b"mine"
        assert Path(path).read_bytes() == data
        for small in files(plain):
            expected = plain.read(small)
            if expected:
                with open(face.at(small), "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                    assert mapped[:] == expected
                rest = -len(expected) % mmap.PAGESIZE  # shown as zeros, not as what follows in the blob
                assert after_the_end(face.at(small), len(expected), rest) == bytes(rest), small

    def test_sendfile_and_splice(self, large: tuple[str, bytes], tmp_path: Path) -> None:
        path, data = large
        with open(path, "rb") as source, open(tmp_path / "sent", "wb") as target:
            sent = 0
            while n := os.sendfile(target.fileno(), source.fileno(), sent, len(data)):
                sent += n
        assert (tmp_path / "sent").read_bytes() == data
        reader, writer = os.pipe()
        try:
            with open(path, "rb") as source:
                n = os.splice(source.fileno(), writer, 5000, offset_src=100)
            assert n > 0
            assert os.read(reader, n) == data[100 : 100 + n]
        finally:
            os.close(reader)
            os.close(writer)

    def test_direct(self, face: FolderFace, plain: FolderFace) -> None:
        buffer = mmap.mmap(-1, 1 << 20)
        for path in files(plain):
            expected = plain.read(path)
            descriptor = os.open(face.at(path), os.O_RDONLY | os.O_DIRECT)
            try:
                got = os.preadv(descriptor, [buffer], 0)
                assert buffer[:got] == expected[: 1 << 20], path
            finally:
                os.close(descriptor)

    def test_statfs(self, root: Path, plain: FolderFace) -> None:
        found = os.statvfs(root)
        assert found.f_flag & os.ST_RDONLY
        assert found.f_flag & os.ST_NOSUID
        assert found.f_flag & os.ST_NODEV
        assert found.f_namemax == 255
        assert found.f_bavail == found.f_bfree == 0
        assert found.f_files - found.f_ffree > len(files(plain))
        assert found.f_blocks * found.f_frsize > 0

    def test_extended_attributes(self, root: Path) -> None:
        with pytest.raises(OSError, match="not supported"):
            os.getxattr(root / "meta.json", "user.x")
        try:
            assert os.listxattr(root / "meta.json") == []
        except OSError as error:
            assert error.errno == errno.ENOTSUP

    def test_access(self, root: Path) -> None:
        assert os.access(root / "meta.json", os.R_OK)
        assert not os.access(root / "meta.json", os.W_OK)
        assert not os.access(root / "meta.json", os.X_OK)

    def test_readers_in_parallel(self, face: FolderFace, plain: FolderFace) -> None:
        expected = {face.at(path): plain.read(path) for path in files(plain)}
        pids = []
        for seed in range(6):
            pid = os.fork()
            if pid == 0:
                paths = random.Random(seed).choices(sorted(expected), k=100)
                os._exit(any(Path(path).read_bytes() != expected[path] for path in paths))
            pids.append(pid)
        with ThreadPoolExecutor(2) as pool:
            assert all(pool.map(lambda path: Path(path).read_bytes() == expected[path], expected))
        assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 6


def after_the_end(path: str, size: int, rest: int) -> bytes:
    """The bytes that a mapping shows between the end of a file and the end of its last page."""
    if not rest:
        return b""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    with open(path, "rb") as file:
        address = libc.mmap(None, size + rest, mmap.PROT_READ, mmap.MAP_PRIVATE, file.fileno(), 0)
    if address is None or address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    try:
        return ctypes.string_at(address + size, rest)
    finally:
        libc.munmap(address, size + rest)
