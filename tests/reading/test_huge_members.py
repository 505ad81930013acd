"""A member that says it has terabytes, in a blob of nothing but holes: nobody has them in memory, or on the disk."""

from __future__ import annotations

import errno
import os
import tracemalloc

import pytest
from changes.samples import META
from tarscan_cases import END, OLD_GNU, base256, header, member

import blobdir
from blobdir.cli.app import run
from blobdir.offsets import write_offsets

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

PATH = "train/img/huge.png"
SMALL = "train/img/a.png"


@pytest.fixture(params=[8 << 40, 3 << 30])
def root(request, tmp_path):
    root = tmp_path / "p"
    (root / "train/ann").mkdir(parents=True)
    (root / "blob").mkdir()
    (root / "meta.json").write_text(str(META).replace("'", '"'))
    size, start = request.param, 1536
    with open(root / "blob/x.tar", "wb") as tar:
        tar.write(member(b"a.png", b"a" * 10) + header(b"huge.png", base256(size, 12), magic=OLD_GNU))
        try:
            tar.truncate(start + size)
        except OSError:
            size = 1 << 40  # as much as the file system takes
            tar.seek(1024)
            tar.write(header(b"huge.png", base256(size, 12), magic=OLD_GNU))
            tar.truncate(start + size)
        tar.seek(start + size)
        tar.write(END)
    write_offsets(root / "train/x_offsets.pkl", [("a.png", 512, 522), ("huge.png", start, start + size)])
    return root


def openly(root):
    return blobdir.open_project(root, index="none")


WAYS = {
    "cat_file": lambda root, out: openly(root).filesystem.cat_file(PATH),
    "cat_file again": lambda root, out: [
        openly(root).filesystem.cat_file(SMALL) and fs.cat_file(PATH) for fs in [openly(root).filesystem]
    ],
    "the short way": lambda root, out: after_the_first(openly(root).filesystem),
    "cat": lambda root, out: openly(root).filesystem.cat([SMALL, PATH]),
    "a range": lambda root, out: openly(root).filesystem.cat_file(PATH, 5, 2 << 30),
    "cat_ranges": lambda root, out: openly(root).filesystem.cat_ranges([PATH], 0, None, on_error="raise"),
    "open": lambda root, out: openly(root).filesystem.open(PATH).read(),
    "get": lambda root, out: openly(root).filesystem.get(PATH, str(out)),
    "get -r": lambda root, out: openly(root).filesystem.get("train", str(out), recursive=True),
    "get_blob_img_bytes": lambda root, out: openly(root)["train"].get_blob_img_bytes("huge.png"),
    "get_file": lambda root, out: openly(root).filesystem.get_file(PATH, str(out)),
    "dataset": lambda root, out: openly(root)["train"].read_many(["a.png", "huge.png"]),
}  # fmt: skip


def after_the_first(fs):
    assert fs.cat_file(SMALL) == b"a" * 10
    fs.cat_file(PATH)


@pytest.fixture
def bounded():
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 256 << 20


@pytest.mark.parametrize("way", WAYS)
def test_it_is_an_error(root, way, tmp_path, bounded):
    with pytest.raises(OSError, match="says that it has") as caught:
        WAYS[way](root, tmp_path / "out")
    assert caught.value.errno == errno.EFBIG
    assert not [path for path in tmp_path.rglob("out*") if path.is_file() and path.stat().st_size > 1000]


@pytest.mark.parametrize("command", ["cat", "cp", "cp -r", "unpack"])
def test_commands_say_so_and_copy_the_rest(root, command, tmp_path, capfd, bounded):
    out = tmp_path / "out"
    arguments = {
        "cat": ["cat", f"{root}/{PATH}"],
        "cp": ["cp", f"{root}/{PATH}", f"{root}/{SMALL}", f"{out}/"],
        "cp -r": ["cp", "-r", f"{root}/train", str(out)],
        "unpack": ["unpack", str(root), str(out)],
    }[command]
    assert run(arguments) != 0
    said = capfd.readouterr()
    assert ("says that it has" in said.err or "too large" in said.err) and not said.out
    if command != "cat":
        assert [path.name for path in out.rglob("*.png")] == ["a.png"]


def test_parts_of_it_can_be_read(root, bounded):
    fs = openly(root).filesystem
    assert fs.cat_file(PATH, 0, 100) == bytes(100)
    with fs.open(PATH) as file:
        file.seek(1 << 30)
        assert file.read(100) == bytes(100)


def test_a_large_member_that_is_there_is_read(tmp_path):
    """The bound is for holes."""
    root = tmp_path / "p"
    (root / "train/ann").mkdir(parents=True)
    (root / "blob").mkdir()
    (root / "meta.json").write_text(str(META).replace("'", '"'))
    data = os.urandom(1 << 20) * 70
    (root / "blob/x.tar").write_bytes(member(b"large.png", data) + END)
    write_offsets(root / "train/x_offsets.pkl", [("large.png", 512, 512 + len(data))])
    fs = openly(root).filesystem
    assert fs.cat_file("train/img/large.png") == fs.cat_file("train/img/large.png") == data
    assert fs.cat(["train/img/large.png"])["train/img/large.png"] == data
    assert run(["cp", "-q", f"{root}/train/img/large.png", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").read_bytes() == data
