"""The view: its short ways equal the long ones, under threads, forks and pickles."""

import gc
import os
import pickle
import random
import subprocess
import sys
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest
from blob_builder import Builder
from hypothesis import given, settings
from hypothesis import strategies as st

import blobdir
from blobdir.descriptors import Descriptors
from blobdir.errors import (
    BlobdirError,
    IsADirectory,
    LinkError,
    NotADirectory,
    NotFoundError,
    SourceChangedError,
    to_keep,
)
from blobdir.filesystem import BlobDirFileSystem


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    made = Builder(tmp_path_factory.mktemp("tree") / "p")
    random.seed(4)
    for blob in range(3):
        made.blob(
            "train", f"b{blob}", {f"i{blob}_{i:03d}.jpg": random.randbytes(random.randrange(9000)) for i in range(150)}
        )
    made.loose("train/img/plain.png", b"plain")
    made.loose("train/img/empty.png", b"")
    made.offsets("train", "odd", made.tar("odd", {"zero.jpg": b"", "\udcffodd.jpg": b"two"}))
    (made.root / "train/img/link.png").symlink_to("plain.png")
    return blobdir.open_project(made.root, index="none")


def long_way(tree, path):
    """One component after the other, one read."""
    row = 0
    for name in path.encode("utf-8", "surrogateescape").split(b"/"):
        row = tree.index.buffers.bisect(tree.index.children(row).start, tree.index.children(row).stop, name)
    return tree.read(tree.follow(row) if path.endswith("link.png") else row)


def test_every_way_gives_the_same_bytes(project):
    tree, fs, train = project.tree, project.filesystem, project["train"]
    names = train.names
    assert len(names) == 455
    expected = [long_way(tree, f"train/img/{name}") for name in names]
    paths = [f"train/img/{name}" for name in names]
    for _ in range(2):  # the second time through the short ways
        assert [train.get_blob_img_bytes(name) for name in names] == expected
        assert [fs.cat_file(path) for path in paths] == expected
        assert train.read_many(names) == expected
        assert list(fs.cat(paths).values()) == expected
        assert tree.find_many(paths).tolist() == [tree.find(path) for path in paths]
        assert fs.cat_ranges(paths, 0, None) == expected
    shuffled = random.Random(5).sample(range(len(names)), len(names))
    assert train.read_many([names[i] for i in shuffled]) == [expected[i] for i in shuffled]
    assert train.read_many([names[7]] * 100) == [expected[7]] * 100


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_ranges_are_slices(project, data):
    tree, fs = project.tree, project.filesystem
    paths = [f"train/img/{name}" for name in project["train"].names]
    path = data.draw(st.sampled_from(paths))
    whole = fs.cat_file(path)
    bound = st.none() | st.integers(-len(whole) - 3, len(whole) + 3)
    start, end = data.draw(bound), data.draw(bound)
    assert fs.cat_file(path, start, end) == whole[start:end]
    many = data.draw(
        st.lists(st.tuples(st.sampled_from(paths), st.integers(0, 9100), st.integers(0, 9100)), max_size=90)
    )
    found = tree.read_ranges([tree.find(p) for p, _, _ in many], [a for _, a, _ in many], [b for _, _, b in many])
    assert found == [fs.cat_file(p)[a:b] for p, a, b in many]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("nowhere", NotFoundError),
        ("train/img/nowhere.jpg", NotFoundError),
        ("train/nowhere/a.jpg", NotFoundError),
        ("train/img/plain.png/x", NotADirectory),
        ("meta.json/x", NotADirectory),
        ("train/img/" + "x" * 5000, NotFoundError),
        ("\0", NotFoundError),
    ],
)
def test_paths_that_lead_nowhere(project, path, error):
    with pytest.raises(error):
        project.tree.find(path)
    with pytest.raises(error):
        project.filesystem.cat_file(path)
    with pytest.raises(error):
        project.tree.find_many([f"train/img/{name}" for name in project["train"].names] + [path])


def test_directories_have_no_bytes(project):
    for path in ("", "train", "train/img"):
        with pytest.raises(IsADirectory):
            project.filesystem.cat_file(path)
        with pytest.raises(IsADirectory):
            project.filesystem.open(path)
    with pytest.raises(LinkError):
        project.tree.read(project.tree.find("train/img/link.png", follow=False))


def test_threads(project):
    train, fs = project["train"], project.filesystem
    expected = dict(zip(train.names, train.read_many(train.names), strict=True))

    def work(seed):
        chosen = random.Random(seed).choices(train.names, k=400)
        for name in chosen:
            assert train.get_blob_img_bytes(name) == expected[name]
            assert fs.cat_file(f"train/img/{name}") == expected[name]
        return train.read_many(chosen) == [expected[name] for name in chosen]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


def test_threads_that_let_go_of_blobs(tmp_path, monkeypatch):
    """A blob that one thread lets go of isn't closed under another one that reads it."""
    monkeypatch.setattr(Descriptors, "room", staticmethod(lambda: 2))
    builder = Builder(tmp_path / "p")
    images = {f"{i:02d}.jpg": bytes([i]) * 5000 for i in range(24)}
    for name, data in images.items():
        builder.blob("train", name[:2], {name: data})
    fs = BlobDirFileSystem(tmp_path / "p", skip_instance_cache=True)
    wrong = []

    def read(seed):
        order = random.Random(seed)
        names = order.choices(list(images), k=1500)
        wrong.extend(name for name in names if fs.cat_file(f"train/img/{name}") != images[name])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))
    assert not wrong


def test_fork(project):
    train = project["train"]
    expected = train.read_many(train.names)
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            good = all(
                train.get_blob_img_bytes(name) == data
                for _ in range(5)
                for name, data in zip(train.names, expected, strict=True)
            )
            os._exit(0 if good else 1)
        pids.append(pid)
    assert train.read_many(train.names) == expected
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0, 0, 0]


def test_pickle(project):
    fs = BlobDirFileSystem(project.url, index="none")
    again = pickle.loads(pickle.dumps(fs))
    assert again == fs
    assert again.cat_file("meta.json") == fs.cat_file("meta.json")
    code = (
        "import pickle, sys; fs = pickle.load(sys.stdin.buffer);"
        "sys.stdout.buffer.write(fs.cat_file('train/img/i0_003.jpg'))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(fs), stdout=subprocess.PIPE, check=True)
    assert done.stdout == fs.cat_file("train/img/i0_003.jpg")
    with fs.open("train/img/i0_004.jpg") as file, pickle.loads(pickle.dumps(file)) as other:
        assert other.read() == fs.cat_file("train/img/i0_004.jpg")


def test_colons_in_names(tmp_path):
    made = Builder(tmp_path / "p")
    made.blob("train", "a", {"a": b"one", "a::b.jpg": b"two", "c:d.jpg": b"three"})
    fs = BlobDirFileSystem(made.root, index="none")
    for _ in range(2):
        assert fs.cat_file("train/img/a::b.jpg") == fs.cat_file("/train/img/a::b.jpg") == b"two"
        assert fs.cat_file("blobdir://train/img/a::/data") == b"one"
    assert fs.cat(["train/img/a::b.jpg", "train/img/c:d.jpg"]) == {
        "train/img/a::b.jpg": b"two",
        "train/img/c:d.jpg": b"three",
    }


def test_errors_survive_pickling(project):
    with pytest.raises(BlobdirError) as caught:
        project.tree.find("nowhere")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.errno) == (type(caught.value), str(caught.value), caught.value.errno)


def test_import_is_light():
    code = (
        "import sys, blobdir\n"
        "bad = {'numpy', 'fsspec', 'PIL', 'click', 'fuse', 'supervisely'} & set(sys.modules)\n"
        "assert not bad, bad\n"
        "blobdir.BlobDirFileSystem\n"
        "bad = {'click', 'tqdm', 'fuse', 'supervisely', 'requests', 'aiohttp', 'PIL.Image'} & set(sys.modules)\n"
        "print(sorted(bad))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "fuse" not in done.stdout
    assert "supervisely" not in done.stdout
    assert "PIL.Image" not in done.stdout


def test_import_touches_no_network():
    code = (
        "import socket\n"
        "def refuse(*_): raise AssertionError('a socket')\n"
        "socket.socket = type('Refuse', (socket.socket,), {'__init__': refuse})\n"
        "socket.create_connection = socket.getaddrinfo = refuse\n"
        "import blobdir, blobdir.filesystem, blobdir.project, blobdir.cli.app, blobdir.demo\n"
        "assert blobdir.open_project(blobdir.demo.path(), index='none')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def read_all(fs):
    for path in fs.find(""):
        fs.cat_file(path)
        with fs.open(path) as file:
            file.read()
        fs.info(path)
    return fs.cat(fs.find("")[:9])


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("way", ["opened", "refreshed", "read as a dataset"])
def test_a_tree_goes_when_nobody_has_it(digits_copy, far, way):
    """With its blobs' descriptors and its index, which may be large: not when Python looks for circles next time."""
    url = str(digits_copy)
    if far:
        fsspec.filesystem("memory").put(url, "/goes", recursive=True)
        url = "memory://goes"
    blobdir.BlobDirFileSystem(url, skip_instance_cache=True)  # what is made once: the thread of fsspec's event loop
    trees = []
    gc.collect()
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/fd"))
        fs = blobdir.BlobDirFileSystem(url, skip_instance_cache=True)
        for _ in range(5):
            trees.append(weakref.ref(fs.view))
            read_all(fs)
            if way == "opened":
                fs = blobdir.BlobDirFileSystem(url, skip_instance_cache=True)
            elif way == "refreshed":
                fs.invalidate_cache()
                fs.forget()
            else:
                project = blobdir.open_project(url)
                trees.append(weakref.ref(project.tree))
                dataset = next(iter(project.values()))
                dataset.get_blob_img_bytes(next(iter(dataset)))
                del project, dataset
        last = weakref.ref(fs.view)
        del fs
        assert [tree() for tree in (*trees, last)] == [None] * (len(trees) + 1)
        assert len(os.listdir("/proc/self/fd")) <= before  # what ends of other tests meanwhile counts, too
    finally:
        gc.enable()
        if far:
            fsspec.filesystem("memory").rm("/goes", recursive=True)


KEPT = {
    "cat": lambda fs, paths: list(fs.cat(paths, on_error="return").values()),
    "cat of patterns": lambda fs, paths: list(fs.cat([*paths, "train/img/none*"], on_error="return").values()),
    "cat_ranges": lambda fs, paths: fs.cat_ranges(paths, 0, 9, on_error="return"),
    "cat_file": lambda fs, paths: [caught(fs.cat_file, path) for path in paths],
    "read_block": lambda fs, paths: [caught(fs.read_block, path, 0, 9) for path in paths],
}


def caught(call, *args):
    try:
        return call(*args)
    except OSError as error:
        return error


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("way", KEPT)
def test_an_error_that_is_kept_keeps_nothing(tmp_path, far, way):
    """No descriptor, no answer, no tree: those who read on after an error may collect thousands."""
    made = Builder(tmp_path / "p")
    made.blob("train", "a", {f"{i:02d}.jpg": bytes(300_000) for i in range(30)})
    made.loose("meta.json", b"{}")
    url, blob = str(made.root), made.root / "blob/a.tar"
    memory = fsspec.filesystem("memory")
    if far:
        memory.put(url, "/kept", recursive=True)
        url = "memory://kept"
    fs = blobdir.BlobDirFileSystem(url, skip_instance_cache=True)
    paths = [f"train/img/{i:02d}.jpg" for i in range(30)]
    if far:
        memory.pipe_file("/kept/blob/a.tar", blob.read_bytes() + bytes(512))
    else:
        os.truncate(blob, 1024)
    KEPT[way](fs, paths)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before, tree = len(os.listdir("/proc/self/fd")), weakref.ref(fs.view)
        errors = KEPT[way](fs, paths)
        assert sum(isinstance(error, SourceChangedError) for error in errors) == 30
        assert len(os.listdir("/proc/self/fd")) <= before + 1
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
        del fs
        if "cat" in way and way != "cat_file":
            assert tree() is None
    finally:
        tracemalloc.stop()
        gc.enable()
        if far:
            memory.rm("/kept", recursive=True)


def test_all_errors_behind_one_that_is_kept_are_without_frames():
    def fail(text, *behind):
        try:
            if behind:
                fail(*behind)
        except OSError as error:
            try:
                raise ValueError("cause")
            except ValueError as cause:
                del error
                raise OSError(text) from cause
        raise OSError(text)

    error = to_keep(caught(fail, "a", "b", "c"))
    links, seen = [error], 0
    while links:
        link = links.pop()
        if link is not None:
            seen += 1
            assert link.__traceback__ is None
            links += [link.__cause__, link.__context__]
    assert seen > 4
