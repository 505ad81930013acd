"""Calls at random on every engine and on the plain files, mounted read-only; and fio's own check of what it reads."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import random
import shutil
import stat
import subprocess
from contextlib import contextmanager

import pytest
from blob_builder import Builder
from mounting.engines import KERNEL

import blobdir

CALLS = int(os.environ.get("BLOBDIR_TEST_CALLS", "1500"))
ENGINES = ["native", "fusepy", KERNEL]
WRITES = (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_RDWR | os.O_APPEND, os.O_RDONLY | os.O_CREAT)
FLAGS = (0, 0, os.O_NOFOLLOW, os.O_DIRECTORY, os.O_NONBLOCK, os.O_NOATIME, os.O_PATH, os.O_CREAT | os.O_EXCL)
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.fdopendir.restype = LIBC.readdir.restype = ctypes.c_void_p
LIBC.telldir.restype = ctypes.c_long
LIBC.fdopendir.argtypes = [ctypes.c_int]
LIBC.readdir.argtypes = LIBC.closedir.argtypes = LIBC.telldir.argtypes = [ctypes.c_void_p]
LIBC.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]


@pytest.fixture(scope="module")
def twin(both, tmp_path_factory):
    """The plain files, mounted read-only."""
    place = tmp_path_factory.mktemp("twin")
    subprocess.run(["mount", "--bind", both.plain, place], check=True, timeout=20)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True, timeout=20)
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True, timeout=20)


class Caller:
    """Makes the same calls at one place; the result of each is what can be compared, or the number of its error."""

    def __init__(self, root):
        self.root = os.fsencode(root)
        self.open = {}

    def close(self):
        for descriptor in self.open.values():
            os.close(descriptor)

    def __call__(self, name, *arguments):
        try:
            return getattr(self, name)(*arguments)
        except OSError as error:
            return "error", errno.errorcode[error.errno]

    def _full(self, path):
        return self.root + b"/" + path

    def opened(self, handle, path, flags):
        if handle in self.open:
            os.close(self.open.pop(handle))
        self.open[handle] = os.open(self._full(path), flags)
        return stat.S_IFMT(os.fstat(self.open[handle]).st_mode)

    def pread(self, handle, count, start):
        return os.pread(self.open[handle], count, start)

    def read(self, handle, count):
        return os.read(self.open[handle], count)

    def preadv(self, handle, counts, start):
        buffers = [bytearray(count) for count in counts]
        return os.preadv(self.open[handle], buffers, start), buffers

    def seek(self, handle, to, whence):
        if stat.S_ISDIR(os.fstat(self.open[handle]).st_mode):
            return None  # each file system has places of its own
        return os.lseek(self.open[handle], to, whence)

    def mapped(self, handle, start, count):
        if not stat.S_ISREG(os.fstat(self.open[handle]).st_mode):
            return None
        size = os.fstat(self.open[handle]).st_size
        if not size:
            return None
        with mmap.mmap(self.open[handle], 0, mmap.MAP_PRIVATE, mmap.PROT_READ) as pages:
            return pages[start : start + count]

    def written(self, handle):
        return os.write(self.open[handle], b"x")

    def cut(self, handle):
        return os.ftruncate(self.open[handle], 0)

    def locked(self, handle):
        return fcntl.flock(self.open[handle], fcntl.LOCK_SH | fcntl.LOCK_NB)

    def sent(self, handle, start, count):
        read, write = os.pipe()
        try:
            os.sendfile(write, self.open[handle], start, min(count, 60_000))
            os.close(write)
            write = -1
            with os.fdopen(read, "rb") as file:
                read = -1
                return file.read()
        finally:
            for descriptor in (read, write):
                if descriptor >= 0:
                    os.close(descriptor)

    def attributes(self, path, follow):
        found = os.stat(self._full(path), follow_symlinks=follow)
        size = 0 if stat.S_ISDIR(found.st_mode) else found.st_size
        return stat.S_IFMT(found.st_mode), size

    def of_open(self, handle):
        found = os.fstat(self.open[handle])
        return stat.S_IFMT(found.st_mode), 0 if stat.S_ISDIR(found.st_mode) else found.st_size

    def access(self, path, mode):
        return os.access(self._full(path), mode)

    def link(self, path):
        return os.readlink(self._full(path))

    def names(self, path):
        with os.scandir(self._full(path)) as found:
            return sorted((e.name, e.is_dir(follow_symlinks=False), e.is_symlink()) for e in found)

    def places(self, path, seed):
        """Names of a directory that is read from places in it, in any order, beside those that were there at first."""
        stream = LIBC.fdopendir(os.open(self._full(path), os.O_RDONLY | os.O_DIRECTORY))
        try:
            found = []
            while True:
                place = LIBC.telldir(stream)
                entry = LIBC.readdir(stream)
                if not entry:
                    break
                found.append((place, ctypes.string_at(entry + 19)))
            for place, name in random.Random(seed).sample(found, len(found)):
                LIBC.seekdir(stream, place)
                assert ctypes.string_at(LIBC.readdir(stream) + 19) == name
            return sorted(name for _, name in found)
        finally:
            LIBC.closedir(stream)

    def changed(self, kind, path, other):
        full, to = self._full(path), self._full(other)
        calls = {
            "unlink": lambda: os.unlink(full),
            "rmdir": lambda: os.rmdir(full),
            "mkdir": lambda: os.mkdir(full),
            "mknod": lambda: os.mknod(full),
            "rename": lambda: os.rename(full, to),
            "link": lambda: os.link(full, to),
            "symlink": lambda: os.symlink(b"x", full),
            "truncate": lambda: os.truncate(full, 1),
            "chmod": lambda: os.chmod(full, 0o600),
            "chown": lambda: os.chown(full, 1, 1),
            "utime": lambda: os.utime(full),
        }
        return calls[kind]()


CHANGES = ("unlink", "rmdir", "mkdir", "mknod", "rename", "link", "symlink", "truncate", "chmod", "chown", "utime")


def random_path(source, paths):
    path = source.choice(paths)
    odd = [
        path + b"/", path + b"/.", path + b"/..", path + b"/none", b"./" + path, path.replace(b"/", b"//"),
        path + b"/" + b"n" * 256, path[:-1], path.upper(), os.path.dirname(path) + b"/../" + path, path + b"\xff",
    ]  # fmt: skip
    return source.choice(odd) if source.random() < 0.3 else path


def random_call(source, paths):
    handle, path = source.randrange(6), random_path(source, paths)
    start = source.choice([0, 1, 511, 512, 4095, 4096, 65_536, source.randrange(1 << 22), 1 << 40])
    count = source.choice([0, 1, 512, 4096, 4097, 131_072, source.randrange(1 << 18)])
    calls = [
        ("opened", handle, path, source.choice(FLAGS)),
        ("opened", handle, path, source.choice(FLAGS)),
        ("opened", handle, path, source.choice(WRITES)),
        ("pread", handle, count, start),
        ("read", handle, count),
        ("preadv", handle, (count // 3 + 1, 1, 100), start),
        ("seek", handle, start, source.choice([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])),
        ("seek", handle, -start, source.choice([os.SEEK_SET, os.SEEK_CUR, os.SEEK_END])),
        ("mapped", handle, start, count),
        ("written", handle),
        ("cut", handle),
        ("locked", handle),
        ("sent", handle, start, count),
        ("of_open", handle),
        ("attributes", path, source.random() < 0.5),
        ("access", path, source.choice([os.F_OK, os.R_OK, os.W_OK, os.X_OK, os.R_OK | os.W_OK])),
        ("link", path),
        ("names", path),
        ("places", path, source.random()),
        ("changed", source.choice(CHANGES), path, random_path(source, paths)),
    ]
    return source.choice(calls)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", [1, 2])
def test_random_calls(both, twin, tmp_path, place, engine, seed):
    source, different, seen = random.Random(seed), [], set()
    paths = [os.fsencode(str(path.relative_to(both.plain))) for path in sorted(both.plain.rglob("*"))]
    with blobdir.mount(both.project, place, engine=engine):
        ours, theirs = Caller(place), Caller(twin)
        try:
            for _ in range(CALLS):
                call = random_call(source, paths)
                if isinstance(call[1], int) and call[0] != "opened" and call[1] not in theirs.open:
                    continue
                wanted, found = theirs(*call), ours(*call)
                seen.add((call[0], wanted[1] if isinstance(wanted, tuple) and wanted[0] == "error" else ""))
                if wanted != found or ours.open.keys() != theirs.open.keys():
                    different.append((call, str(wanted)[:200], str(found)[:200]))
                    break
        finally:
            ours.close()
            theirs.close()
    assert different == []
    assert len(seen) > 40  # kinds of calls with an outcome each
    assert {errno for _, errno in seen} > {
        "",
        "ENOENT",
        "ENOTDIR",
        "EROFS",
        "EISDIR",
        "EBADF",
        "EINVAL",
    }


@contextmanager
def checked_file(folder, size):
    """A file that fio has written, with a checksum in each block."""
    file = folder / "checked.png"
    job = ["--name=made", f"--filename={file}", f"--size={size}", "--rw=write", "--ioengine=psync", "--bs=4k"]
    subprocess.run(
        ["fio", *job, "--verify=crc32c", "--do_verify=0"], check=True, capture_output=True, timeout=60, cwd=folder
    )
    yield file


def verified(file, ioengine, size, folder):
    job = ["--name=read", f"--filename={file}", f"--size={size}", "--rw=randread", f"--ioengine={ioengine}", "--bs=4k"]
    more = ["--verify=crc32c", "--verify_fatal=1", "--readonly", "--iodepth=8", "--output-format=json"]
    done = subprocess.run(["fio", *job, *more], capture_output=True, text=True, timeout=60, check=False, cwd=folder)
    if done.returncode:
        return False
    (found,) = json.loads(done.stdout[done.stdout.index("{") :])["jobs"]
    assert found["read"]["io_bytes"] == size
    return not found["error"]


@pytest.mark.parametrize("engine", ENGINES)
def test_fio_reads_what_it_wrote(tmp_path, place, engine):
    """By every way of reading that it has."""
    size, folder = 8 << 20, tmp_path / "fio"
    folder.mkdir()
    with checked_file(folder, size) as file:
        data = file.read_bytes()
        assert verified(file, "psync", size, folder)
        file.write_bytes(data[: size // 2] + bytes([data[size // 2] ^ 1]) + data[size // 2 + 1 :])
        assert not verified(file, "psync", size, folder), "fio wouldn't notice"
    builder = Builder(tmp_path / "project")
    entries = builder.tar("a", {"before.png": b"x" * 700, "checked.png": data})
    names = (b"before.png", b"checked.png")
    builder.offsets("train", "a", [(name, *entry[1:]) for name, entry in zip(names, entries, strict=True)])
    builder.loose("meta.json", b"{}")
    builder.loose("train/img/loose.png", data)
    with blobdir.mount(tmp_path / "project", place, engine=engine):
        for name in ("checked.png", "loose.png"):
            for ioengine in ("psync", "mmap", "libaio", "io_uring", "splice", "posixaio", "pvsync2"):
                assert verified(place / "train/img" / name, ioengine, size, folder), (name, ioengine)
    shutil.rmtree(folder)
