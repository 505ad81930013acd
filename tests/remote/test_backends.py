"""A project behind a backend is the project: on real servers, whole, under threads, fork and spawn."""

import gzip
import multiprocessing
import os
import pickle
import random
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest
from blob_builder import Builder

import blobdir
from blobdir.errors import BlobdirWarning, NotAProjectError, NotFoundError, ReadError, SourceChangedError
from blobdir.sources import open_storage


@pytest.fixture(scope="module")
def expected(digits_plain):
    return {
        os.path.relpath(os.path.join(parent, name), digits_plain): open(os.path.join(parent, name), "rb").read()
        for parent, _, names in os.walk(digits_plain)
        for name in names
    }


def test_everything_is_there(remote, expected):
    url, options, _ = remote
    project = blobdir.open_project(url, storage_options=options)
    assert project.defects == []
    fs = project.filesystem
    assert fs.find("") == sorted(expected)
    assert fs.cat(list(expected)) == expected
    some = random.Random(1).sample(sorted(expected), 40)
    assert {path: fs.cat_file(path) for path in some} == {path: expected[path] for path in some}
    assert [fs.size(path) for path in some] == [len(expected[path]) for path in some]
    assert fs.cat_ranges(some, 3, -2) == [expected[path][3:-2] for path in some]
    assert [fs.info(path)["size"] for path in some[:10]] == [len(expected[path]) for path in some[:10]]
    with fs.open(some[0]) as file:
        file.seek(5)
        assert file.read() == expected[some[0]][5:]
    train = project["train"]
    assert train.read_many(train.names) == [expected[f"train/img/{name}"] for name in train]
    assert train.annotation(train.names[3])["size"]
    assert fs.ls("train", detail=False) == ["train/ann", "train/datasets", "train/img"]


def test_which_files_a_folder_has(remote, digits):
    """By one look at the folder, as it is now; there may be none."""
    url, options, _ = remote
    storage = open_storage(url, options=options)
    blobs = set(os.listdir(digits / "blob"))
    assert storage.which("blob", blobs | {"journal.json"}) == blobs
    assert storage.which("blob", {"journal.json"}) == set()
    assert storage.which("no-such-folder", {"journal.json"}) == set()


def test_chained_url(remote, expected):
    url, options, _ = remote
    protocol = url.split(":")[0]
    name = "train/img/0_000010.png"
    with fsspec.open(f"blobdir://{name}::{url}", **{protocol: options}) as file:
        assert file.read() == expected[name]


def test_copying_out(remote, digits_plain, tmp_path):
    url, options, _ = remote
    fs = blobdir.open_project(url, storage_options=options).filesystem
    fs.get("train/datasets", str(tmp_path / "out"), recursive=True)
    for path in (digits_plain / "train/datasets").rglob("*"):
        if path.is_file():
            assert (
                tmp_path / "out" / path.relative_to(digits_plain / "train/datasets")
            ).read_bytes() == path.read_bytes()


def test_threads(remote, expected):
    url, options, _ = remote
    fs = blobdir.open_project(url, storage_options=options).filesystem
    names = sorted(expected)

    def work(seed):
        return all(fs.cat_file(name) == expected[name] for name in random.Random(seed).sample(names, 10))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def in_a_worker(pickled, names, answers):
    fs = pickle.loads(pickled) if isinstance(pickled, bytes) else pickled
    answers.put([fs.cat_file(name) for name in names] + list(fs.cat(names).values()))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers(remote, expected, method):
    url, options, reachable = remote
    if not reachable and method == "spawn":
        return  # memory:// is a process's own
    fs = blobdir.open_project(url, storage_options=options).filesystem
    names = [*sorted(expected)[:5], "train/img/0_000010.png"]
    fs.cat_file(names[-1])  # the parent's event loop and connections are there already
    context = multiprocessing.get_context(method)
    answers = context.Queue()
    given = fs if method == "fork" else pickle.dumps(fs)
    workers = [context.Process(target=in_a_worker, args=(given, names, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for _ in workers:
        assert answers.get(timeout=60) == [expected[name] for name in names] * 2
    for worker in workers:
        worker.join(30)
    assert fs.cat_file(names[0]) == expected[names[0]]


ODD = [
    "sp ace.jpg",
    "ü.jpg",
    "hash#1.jpg",
    "question?.jpg",
    "per%41cent.jpg",
    "plus+and&.jpg",
    "semi;colon:.jpg",
    "[x].jpg",
]


@pytest.fixture
def odd(tmp_path):
    made = Builder(tmp_path / "odd name#1")
    made.blob("da ta#1", "b lob+1", {name: name.encode() * 50 for name in ODD[:4]})
    for name in ODD:
        made.loose(f"da ta#1/img/{name}" if name not in ODD[:4] else f"da ta#1/seg/{name}", name.encode() * 50)
    return made.root


def test_odd_names_over_http(odd, nginx):
    www, plain, _ = nginx
    root = www / "odd"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(odd, root)
    for parent, _, names in os.walk(root):
        os.chmod(parent, 0o755)
        for name in names:
            os.chmod(os.path.join(parent, name), 0o644)
    check_odd(blobdir.open_project(f"{plain}/odd"))


def test_odd_names_on_s3(odd, s3):
    fs = fsspec.filesystem("s3", **s3)
    fs.mkdir("oddities")
    for path in odd.rglob("*"):
        if path.is_file():
            fs.pipe_file(f"oddities/p/{path.relative_to(odd)}", path.read_bytes())
    check_odd(blobdir.open_project("s3://oddities/p", storage_options=s3))


def check_odd(project):
    dataset = project["da ta#1"]
    assert sorted(dataset.names) == sorted(ODD)
    assert {name: dataset.get_blob_img_bytes(name) for name in ODD} == {name: name.encode() * 50 for name in ODD}
    assert dataset.annotation("hash#1.jpg")["size"]
    assert project.filesystem.cat_file("da ta#1/seg/hash#1.jpg") == b"hash#1.jpg" * 50


def open_quietly(url, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BlobdirWarning)
        return blobdir.open_project(url, **options)


@pytest.fixture
def served(tmp_path):
    """A small project in memory://, and the filesystem to change it with."""
    made = Builder(tmp_path / "p")
    made.blob("train", "a", {"1.jpg": b"1" * 600, "2.jpg": b"2" * 600})
    memory = fsspec.filesystem("memory")
    memory.put(str(made.root), "/served", recursive=True)
    yield "memory://served", memory
    memory.rm("/served", recursive=True)


def test_blob_replaced_after_opening(served):
    url, memory = served
    project = open_quietly(url)
    memory.pipe_file("/served/blob/a.tar", memory.cat_file("/served/blob/a.tar") + bytes(512))
    with pytest.raises(SourceChangedError, match=r"blob/a\.tar.*open the project again"):
        project["train"].get_blob_img_bytes("1.jpg")


def test_blob_replaced_by_somebody_else(s3, tmp_path):
    made = Builder(tmp_path / "p")
    made.blob("train", "a", {"1.jpg": b"1" * 600})
    fs = fsspec.filesystem("s3", **s3)
    fs.mkdir("replaced")
    fs.put(str(made.root), "replaced/p", recursive=True)
    project = blobdir.open_project("s3://replaced/p", storage_options=s3)
    other = type(fs)(skip_instance_cache=True, **s3)  # the backend's own caches know nothing of it
    other.pipe_file("replaced/p/blob/a.tar", other.cat_file("replaced/p/blob/a.tar").replace(b"1", b"2"))
    other.pipe_file("replaced/p/train/ann/new.json", b"{}")
    with pytest.raises(SourceChangedError):
        project["train"].get_blob_img_bytes("1.jpg")
    project.filesystem.invalidate_cache()
    assert project.filesystem.exists("train/ann/new.json")


def test_truncated_blob(served):
    url, memory = served
    memory.pipe_file("/served/blob/a.tar", memory.cat_file("/served/blob/a.tar")[: 512 + 1024 + 512 + 100])
    train = open_quietly(url)["train"]
    assert train.get_blob_img_bytes("1.jpg") == b"1" * 600
    with pytest.raises(ReadError, match=r"2\.jpg.*100 of 600"):
        train.get_blob_img_bytes("2.jpg")
    with pytest.raises(ReadError, match=r"2\.jpg"):
        train.read_many(["1.jpg", "2.jpg"])


def test_compressed_blob(served):
    url, memory = served
    memory.pipe_file("/served/blob/a.tar", gzip.compress(os.urandom(4000)))
    with pytest.raises(ReadError, match="gzip"):
        open_quietly(url)["train"].get_blob_img_bytes("1.jpg")


def test_missing_blob_and_file(served):
    url, memory = served
    project = open_quietly(url)
    memory.rm_file("/served/train/ann/1.jpg.json")
    with pytest.raises(NotFoundError, match="is listed, but isn't there"):
        project["train"].annotation("1.jpg")
    memory.rm_file("/served/blob/a.tar")
    with pytest.raises(ReadError, match="removed after"):
        project["train"].get_blob_img_bytes("1.jpg")
    assert [d.code for d in open_quietly(url).defects] == ["blob-missing"]


def test_no_project(served, nginx, s3):
    with pytest.raises(NotAProjectError):
        blobdir.open_project("memory://nothing-here")
    with pytest.raises((NotAProjectError, ReadError)):
        blobdir.open_project(f"{nginx[1]}/nothing-here")
    with pytest.raises((NotAProjectError, ReadError)):
        blobdir.open_project("s3://no-such-bucket/lemons", storage_options=s3)


def test_secrets_stay_secret(s3, digits):
    fs = fsspec.filesystem("s3", **s3)
    if not fs.exists("secrets/lemons/meta.json"):
        fs.mkdir("secrets")
        fs.put(str(digits), "secrets/lemons", recursive=True)
    project = blobdir.open_project("s3://secrets/lemons", storage_options=s3)
    seen = [repr(project), repr(project.tree), repr(project.tree.storage), project.url, repr(project["train"])]
    for broken in (
        lambda: blobdir.open_project("s3://secrets/nothing", storage_options=s3),
        lambda: blobdir.open_project(
            "s3://secrets/lemons", storage_options=s3 | {"endpoint_url": "http://127.0.0.1:9"}
        ),
        lambda: project["train"].get_blob_img_bytes("nothing.jpg"),
        lambda: blobdir.open_project("http://user:hunter2-secret@127.0.0.1:9/x?sig=hunter2-secret"),
    ):
        with pytest.raises(blobdir.BlobdirError) as caught:
            broken()
        seen.append(str(caught.value))
    assert not [text for text in seen if "hunter2" in text]


def test_sftp_connection_that_broke(sftp, digits):
    root, options = sftp
    if not (root / "lemons").exists():
        shutil.copytree(digits, root / "lemons")
    project = blobdir.open_project(f"sftp://{root}/lemons", storage_options=options, cache_size=0, memory_size=0)
    name = project["train"].names[0]
    expected = blobdir.open_project(digits)["train"].get_blob_img_bytes(name)
    assert project["train"].get_blob_img_bytes(name) == expected
    project.tree.storage.fs.client.get_transport().close()
    assert project["train"].get_blob_img_bytes(name) == expected


def test_large_loose_file_replaced_between_two_reads(s3, tmp_path):
    made = Builder(tmp_path / "p")
    made.blob("train", "a", {"1.jpg": b"1" * 600})
    made.loose("train/video/v.mp4", b"a" * 600_000)
    fs = fsspec.filesystem("s3", **s3)
    fs.mkdir("mixed")
    fs.put(str(made.root), "mixed/p", recursive=True)
    project = blobdir.open_project("s3://mixed/p", storage_options=s3)
    with project.filesystem.open("train/video/v.mp4", block_size=100_000, cache_type="none") as file:
        assert file.read(300_000) == b"a" * 300_000
        fs.pipe_file("mixed/p/train/video/v.mp4", b"b" * 600_000)
        with pytest.raises(SourceChangedError, match=r"v\.mp4.*between two reads"):
            file.read(300_000)
    assert project.filesystem.cat_file("train/video/v.mp4") == b"b" * 600_000
