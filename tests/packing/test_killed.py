"""SIGKILL at every system call that changes something: after it, a project is what it was or what it was to become."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import fsspec
import pytest
from PIL import Image

import blobdir
from blobdir.packing import PackOptions, add, compact, merge, move, pack, recover, remove
from blobdir.verifying import verify

CALLS = (
    "openat", "write", "pwrite64", "fsync", "sync", "rename", "renameat", "link", "linkat", "unlink", "unlinkat",
    "mkdir", "rmdir", "ftruncate", "sendfile", "copy_file_range", "fchmod",
)  # fmt: skip
PR_SET_PTRACER, ANY = 0x59616D61, ctypes.c_ulong(-1)


def view(root):
    fs = blobdir.open_project(root, index="none").filesystem
    return {path: bytes(fs.cat_file(path)) for path in fs.find("") if not path.startswith(".")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project ``p`` in whose blobs something is unused, another one, and new images."""
    root = tmp_path_factory.mktemp("killed")
    for part, count in (("source/train", 8), ("other-source/val", 2), ("new", 2)):
        (root / part).mkdir(parents=True)
        for i in range(count):
            Image.effect_noise((120, 120), 50 + i).save(root / part / f"{part[0]}{i}.png")
    pack(root / "source", root / "p", PackOptions(shard_images=4, processes=1))
    pack(root / "other-source", root / "other", PackOptions(processes=1))
    remove(root / "p", ["train/s1.png", "train/s2.png", "train/s3.png"])
    return root


def transaction(root, folder):
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    with fs.transaction:
        fs.put(str(folder / "new"), "val/img", recursive=True)
        fs.put(str(folder / "new/n0.png"), "train/img/s0.png")
        fs.rm("train/img/s5.png")
        fs.pipe("train/ann/s6.png.json", b'{"size": {"height": 120, "width": 120}, "objects": []}')
        fs.mv("train/img/s7.png", "train/img/seven.png")


OPERATIONS = {
    "add": lambda root, folder: add(root, "train", [folder / "new/n0.png", folder / "new/n1.png"]),
    "remove": lambda root, _: remove(root, ["train/s0.png", "train/s5.png"]),
    "move": lambda root, _: move(root, ["train/s0.png", "train/s5.png"], "test"),
    "compact": lambda root, _: compact(root),
    "merge": lambda root, folder: merge(root, folder / "other"),
    "merge by copying": lambda root, folder: merge(root, folder / "other", copy=True),
    "transaction": transaction,
}


def traced(operation, root, folder, *options):
    """Run an operation in a child under strace, from its first call on; gives how the child ended."""
    child = os.fork()
    if not child:
        code = 1
        try:
            ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY, 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            operation(root, folder)
            code = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        os._exit(code)
    os.waitpid(child, os.WUNTRACED)
    strace = subprocess.Popen(["strace", "-qq", "-p", str(child), *options], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 20
        while f"TracerPid:\t{strace.pid}\n" not in Path(f"/proc/{child}/status").read_text():
            assert strace.poll() is None, strace.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(child, signal.SIGCONT)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        strace.wait(20)
        strace.stderr.close()


def changing_calls(trace):
    """(call, its number among calls of that name) of all that change something."""
    seen: dict[str, int] = {}
    found = []
    for line in trace.splitlines():
        call = line.partition("(")[0]
        if call in CALLS:
            seen[call] = seen.get(call, 0) + 1
            if call != "openat" or "O_CREAT" in line:
                found.append((call, seen[call]))
    return found


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", OPERATIONS)
def test_killed_at_every_system_call(folder, tmp_path, name):
    operation = OPERATIONS[name]
    old = view(folder / "p")
    sizes = {path.name: path.stat().st_size for path in (folder / "p/blob").glob("*.tar")}
    done, trace = shutil.copytree(folder / "p", tmp_path / "done"), tmp_path / "trace"
    assert traced(operation, done, folder, "-o", trace, "-e", f"trace={','.join(CALLS)}") == 0
    new = view(done)
    assert (new == old) == (name == "compact")
    after = {path.name: path.stat().st_size for path in (done / "blob").glob("*.tar")}
    points = changing_calls(trace.read_text(errors="replace"))
    assert len(points) > 15
    outcomes = set()
    for number, (call, n) in enumerate(points):
        root = shutil.copytree(folder / "p", tmp_path / f"{number}")
        inject = f"inject={call}:signal=KILL:when={n}"
        assert traced(operation, root, folder, "-o", "/dev/null", "-e", inject) == -signal.SIGKILL
        recover(root)
        found = {path.name: path.stat().st_size for path in (root / "blob").glob("*.tar")}
        assert (view(root), found) in ((old, sizes), (new, after)), (call, n)
        outcomes.add(found == after and view(root) == new)
        assert not (root / ".blobdir/journal.json").exists()
        assert not (root / ".blobdir/staging").exists()
        assert verify(root).errors == 0
        shutil.rmtree(root)
    assert outcomes == {True, False}
