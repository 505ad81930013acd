"""What is looked at before bytes of a remote project are served, however they are asked for first."""

from __future__ import annotations

import contextlib
import shutil
import tarfile

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


@pytest.mark.parametrize(
    ("first", "names"),
    [*((first, "short") for first in FIRST), *(("", names) for names in ("short", "long", "not ASCII"))],
)
@pytest.mark.parametrize("cache_size", [0, None], ids=["no cache", "cache"])
def test_a_blob_of_which_the_beginning_fits(tmp_path, monkeypatch, served, first, cache_size, names):
    """Whatever was read before: each member is looked at, and the ones that fit are served."""
    monkeypatch.setenv("BLOBDIR_CACHE_DIR", str(tmp_path / "cache"))
    more = {"short": "", "long": "n" * 120, "not ASCII": "нет"}[names]
    files = {path.replace("img/", f"img/{more}"): data for path, data in FILES.items()}
    files |= {f"train/img/{more}{i}.jpg": bytes([i]) * 700 for i in range(10, 18)}
    root = make_project(tmp_path / "p", files)
    (pickle,), (blob,) = root.glob("train/*.pkl"), root.glob("blob/*.tar")
    members = {path.rpartition("/")[2]: data for path, data in sorted(files.items())}
    gone, names_of_now = f"{more}13.jpg", [name for name in members if name != f"{more}13.jpg"]
    then = sorted((start, end, name.decode()) for name, start, end in read_offsets(pickle).entries())
    assert len(then) == len(members)
    offsets = write_tar(
        blob, {name: members[name] for _, _, name in then if name != gone} | {f"{more}99.jpg": b"9" * 700}
    )
    now = {(start, end, name.decode()) for name, start, end in offsets}
    fitting = {name for start, end, name in then if (start, end, name) in now}
    assert {f"{more}{i}.jpg" for i in range(4)} <= fitting < set(names_of_now)
    fs = open_project(served(root), index="none", **({} if cache_size is None else {"cache_size": 0})).filesystem
    if first:
        with contextlib.suppress(ReadError):
            FIRST[first](fs)
    for _ in range(2):
        for name, data in members.items():
            for read in (fs.cat_file, lambda path: fs.cat_file(path, 1, None), lambda path: fs.open(path).read()):
                if name in fitting:
                    assert read(f"train/img/{name}") in (data, data[1:])
                else:
                    with pytest.raises(ReadError, match="the blob was replaced"):
                        read(f"train/img/{name}")
    found = fs.cat([f"train/img/{name}" for name in members], on_error="return")
    assert {path.rpartition("/")[2] for path, data in found.items() if isinstance(data, bytes)} == fitting


def test_hard_links_are_read_together(tmp_path, served):
    """Their headers have other names, which these blocks say; no more is read for each."""
    root = make_project(tmp_path / "p", {f"train/img/{i:03d}.jpg": b"%03d" % i * 300 for i in range(60)})
    (pickle,), (blob,) = root.glob("train/*.pkl"), root.glob("blob/*.tar")
    with tarfile.open(blob, "a") as tar:
        for i in range(60):
            link = tarfile.TarInfo(f"l{i:03d}.jpg")
            link.type, link.linkname = tarfile.LNKTYPE, f"{i:03d}.jpg"
            tar.addfile(link)
    entries = [(name.decode(), start, end) for name, start, end in read_offsets(pickle).entries()]
    write_offsets(pickle, [*entries, *((f"l{name}", start, end) for name, start, end in entries)])
    fs = open_project(served(root), index="none", cache_size=0, memory_size=0).filesystem
    before = len(served.requests)
    found = fs.cat([f"train/img/l{i:03d}.jpg" for i in range(60)])
    assert list(found.values()) == [b"%03d" % i * 300 for i in range(60)]
    assert len(served.requests) - before <= 3


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
