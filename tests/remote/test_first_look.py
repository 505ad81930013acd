"""What is looked at before bytes of a remote project are served, however they are asked for first."""

from __future__ import annotations

import shutil

import pytest
from blob_builder import write_tar
from faulty_proxy import FaultyProxy
from project_factory import make_project, plain_copy

from blobdir import open_project
from blobdir.errors import ReadError
from blobdir.offsets import read_offsets, write_offsets

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


class Served:
    """Puts projects behind a web server; all requests are noted."""

    def __init__(self, www, proxy):
        self._www, self._proxy = www, proxy
        self.requests = proxy.requests

    def __call__(self, root):
        shutil.rmtree(self._www / "looked-at", ignore_errors=True)
        shutil.copytree(root, self._www / "looked-at")
        return f"{self._proxy.url}/looked-at"


@pytest.fixture
def served(nginx):
    www, plain, _ = nginx
    proxy = FaultyProxy(int(plain.rpartition(":")[2]))
    yield Served(www, proxy)
    proxy.close()


FILES = {f"train/img/{i}.jpg": bytes([i]) * (200_000 if i == 3 else 700) for i in range(8)}


@pytest.fixture
def misfitting(tmp_path, served):
    """A project in a bucket whose offsets are of another blob."""
    root = make_project(tmp_path / "p", FILES)
    (pickle,) = root.glob("train/*.pkl")
    entries = [(name.decode(), start + 30, end + 30) for name, start, end in read_offsets(pickle).entries()]
    write_offsets(pickle, entries)
    return served(root)


FIRST = {
    "cat_file": lambda fs: fs.cat_file("train/img/2.jpg"),
    "a range": lambda fs: fs.cat_file("train/img/2.jpg", 1, None),
    "a late range": lambda fs: fs.cat_file("train/img/3.jpg", 150_000, 150_010),
    "a range of the first": lambda fs: fs.cat_file("train/img/0.jpg", 1, 5),
    "cat_ranges": lambda fs: fs.cat_ranges(["train/img/2.jpg", "train/img/3.jpg"], 5, 9, on_error="raise"),
    "cat of many": lambda fs: fs.cat(sorted(FILES)),
    "read_block": lambda fs: fs.read_block("train/img/2.jpg", 3, 9),
    "tail": lambda fs: fs.tail("train/img/3.jpg", 9),
    "an open file": lambda fs: [f := fs.open("train/img/3.jpg"), f.seek(199_000), f.read(3)],
    "read_into": lambda fs: fs.view.read_into(fs.view.find("train/img/3.jpg"), 170_000, memoryview(bytearray(10))),
}


@pytest.mark.parametrize("first", FIRST)
def test_offsets_that_do_not_fit(misfitting, first):
    fs = open_project(misfitting, index="none", cache_size=0).filesystem
    with pytest.raises(ReadError, match="no tar header"):
        FIRST[first](fs)


@pytest.mark.parametrize("first", FIRST)
def test_offsets_that_fit(tmp_path, served, first):
    root = make_project(tmp_path / "p", FILES)
    plain = open_project(root).filesystem
    fs = open_project(served(root), index="none", cache_size=0).filesystem
    if first not in ("an open file", "read_into"):
        assert FIRST[first](fs) == FIRST[first](plain)
    FIRST[first](fs)
    for path, data in FILES.items():
        assert fs.cat_file(path) == data


@pytest.mark.parametrize("kind", ["two blobs", "files and a blob"])
def test_equal_names_are_compared_together(tmp_path, served, kind):
    members = {f"{i:03d}.jpg": b"%03d" % i * 9 for i in range(300)}
    root = make_project(tmp_path / "p", {f"train/img/{name}": data for name, data in members.items()})
    if kind == "two blobs":
        others = members | {"007.jpg": b"another one, of 27 bytes..."}
        write_offsets(root / "train/other_offsets.pkl", write_tar(root / "blob/other.tar", others))
    else:
        plain_copy(root, {f"train/img/{name}": data for name, data in members.items()} | {
            "train/img/007.jpg": b"another one, of 27 bytes..."
        })  # fmt: skip
    url, told = served(root), []
    before = len(served.requests)
    project = open_project(url, index="none", cache_size=0, progress=lambda *step: told.append(step))
    took = len(served.requests) - before
    assert took < (100 if kind == "two blobs" else 330)  # plain files take one each
    assert [defect.code for defect in project.defects if defect.severity == "error"] == ["conflict"]
    assert ("comparing", 600, 0) in told
    assert project["train"].get_blob_img_bytes("008.jpg") == members["008.jpg"]
