"""A stranger's project: whatever stands in the place of a file costs that part, soon and in little memory."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from blob_builder import Builder

import blobdir
from blobdir.errors import BlobdirError, IncompleteListingError
from blobdir.verifying import verify

ROOM_BYTES = 768 << 20
"""Memory that looking at a project may take beyond what the process has already."""
SECONDS = 20


def build(root: Path) -> None:
    builder = Builder(root)
    for dataset, stem in (("train", "a"), ("val", "v")):
        builder.blob(dataset, stem, {f"{stem}{i}.jpg": b"\xff\xd8\xff" + b"%d" % i for i in range(5)})
    packed = {"p.jpg.json": json.dumps({"size": {"height": 1, "width": 1}, "tags": [], "objects": []}).encode()}
    entries = builder.tar("t", packed, "train/ann.blob")
    builder.offsets("train/ann.blob", "t", entries)
    builder.loose("train/img/p.jpg", b"\xff\xd8\xffp")
    builder.loose("blob/SHA256SUMS", b"")
    builder.loose("obj_class_to_machine_color.json", b"{}")
    blobdir.open_project(root, index=str(root / ".blobdir/index"))
    builder.loose(".blobdir/lock", b"1 1\n")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path has a hundred bytes
        try:
            made.bind(path.name)
        finally:
            os.chdir(here)


def sparse(path: Path) -> None:
    path.touch()
    for size in (8 << 40, 1 << 40, 15 << 30):
        try:
            os.truncate(path, size)
        except OSError:
            continue
        return


def file_of(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


def link_to(target: str) -> Callable[[Path], None]:
    def link(path: Path) -> None:
        path.symlink_to(target)

    return link


KINDS = {
    "a pipe": fifo,
    "a socket": bind,
    "a folder": Path.mkdir,
    "a folder of folders": lambda path: (path / "img/img").mkdir(parents=True),
    "a huge file of nothing": sparse,
    "no bytes": file_of(b""),
    "zeros": file_of(bytes(100_000)),
    "noise": file_of(bytes(range(256)) * 64),
    "deep JSON": file_of(b"[" * 200_000),
    "deep JSON objects": file_of(b'{"a":' * 200_000),
    "a long number": file_of(b'{"classes": 1' + b"0" * 100_000 + b"}"),
    "odd JSON": file_of(b'\xef\xbb\xbf{"classes": NaN, "classes": [{"title": "\\ud800"}], "tags": null, "": 1e999}'),
    "a list": file_of(b"[[], {}, 1]"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a device": link_to("/dev/zero"),
    "a link out": link_to("/etc"),
    "a link to the project": lambda path: path.symlink_to("."),
}
PLACES = (
    "meta.json", "train/a_offsets.pkl", "blob/a.tar", "train/ann/a0.jpg.json", "train/ann.blob/t.tar",
    "train/ann.blob/t_offsets.pkl", "obj_class_to_machine_color.json", "blob/SHA256SUMS", ".blobdir",
    ".blobdir/index", ".blobdir/index/header.json", ".blobdir/index/size.npy", ".blobdir/lock",
    ".blobdir/journal.json", ".blobdir/released.json", "train", "train/img", "train/ann", "train/ann.blob",
    "train/img/p.jpg", "train/img/a0.jpg",
)  # fmt: skip


def put(root: Path, place: str, kind: str) -> None:
    path = root / place
    if path.is_dir() and not path.is_symlink():
        path.rename(root.parent / "away")
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
    KINDS[kind](path)


def in_a_child(act: Callable[[], None]) -> None:
    """Run something that must end soon, in bounded memory."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(SECONDS)
            pages = int(Path("/proc/self/statm").read_text().split()[0]) if os.path.exists("/proc/self/statm") else 0
            if pages:
                limit = pages * resource.getpagesize() + ROOM_BYTES
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            act()
            os._exit(0)
        except BaseException:
            os.write(writing, traceback.format_exc().encode()[-60_000:])
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read().decode()
    status = os.waitpid(child, 0)[1]
    assert not os.WIFSIGNALED(status), f"ended by signal {os.WTERMSIG(status)}"
    assert os.WEXITSTATUS(status) == 0, said


def look_at(root: Path, place: str) -> None:
    warnings.simplefilter("ignore")
    try:
        project = blobdir.open_project(root)
    except BlobdirError as error:
        assert os.path.basename(place) in str(error)
        return
    val = project["val"]
    if place == ".blobdir/journal.json":  # nobody knows which lists are half old and half new
        with pytest.raises(IncompleteListingError, match="a change of the project was cut off"):
            _ = val.names
    else:
        assert val.names == [f"v{i}.jpg" for i in range(5)]
    assert val.read_many([f"v{i}.jpg" for i in range(5)]) == [b"\xff\xd8\xff%d" % i for i in range(5)]
    assert val.annotation("v0.jpg") is not None
    lost: list[str] = [defect.message for defect in project.defects]
    uses: list[Callable[[], object]] = [
        lambda: project.meta, lambda: project["train"].names, lambda: len(project["train"]),
        lambda: project["train"].annotation("p.jpg"), lambda: project["train"].annotation("a0.jpg"),
        *(lambda i=i: project["train"].get_blob_img_bytes(f"a{i}.jpg") for i in range(5)),
        lambda: list(project["train"].annotations(project["train"].names)),
    ]  # fmt: skip
    failed = False
    for use in uses:
        try:
            use()
        except (BlobdirError, OSError, KeyError) as error:
            lost.append(str(error))
            failed = True
    part = place.rpartition("/")[2]
    assert not failed or any(part in message or "train" in message for message in lost), lost
    everything = blobdir.open_project(root, on_defect="ignore").filesystem  # what it can list
    for folder, _, names in everything.walk(""):
        for name in names:
            try:
                everything.cat_file(f"{folder}/{name}", 0, 100)
            except OSError:
                continue


def check(root: Path) -> None:
    warnings.simplefilter("ignore")
    try:
        verify(str(root))
    except BlobdirError:
        return


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sound") / "p"
    build(root)
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(sound, tmp_path / "p", symlinks=True)
    return tmp_path / "p"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_opening(root: Path, place: str, kind: str) -> None:
    put(root, place, kind)
    in_a_child(lambda: look_at(root, place))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "a huge file of nothing"])  # is read to its end
@pytest.mark.parametrize("place", PLACES)
def test_verifying(root: Path, place: str, kind: str) -> None:
    put(root, place, kind)
    in_a_child(lambda: check(root))
