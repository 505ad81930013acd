"""Transactions of the filesystem: one change of all that is written, or none."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from blob_builder import Builder
from PIL import Image

import blobdir
from blobdir.errors import AnnotationError, BusyError, IsADirectory, NotFoundError, PackError, ReadOnlyError, UsageError
from blobdir.packing import PackOptions, compact, pack
from blobdir.packing.publishing import Change
from blobdir.verifying import verify


def note(i, text="mine"):
    """An annotation of `picture(i)`."""
    return json.dumps({"size": {"height": 7, "width": 9 + i}, "objects": [], "tags": [], "description": text}).encode()


def picture(i):
    data = io.BytesIO()
    Image.new("RGB", (9 + i, 7), (i, 2, 3)).save(data, "PNG")
    return data.getvalue()


def view(root):
    fs = blobdir.open_project(root, index="none").filesystem
    return {path: bytes(fs.cat_file(path)) for path in fs.find("")}


def state(root):
    """All of a project's files but the lock."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != "lock"
    }


def is_sound(root):
    findings = verify(root, decode=True, processes=1).findings
    return [f for f in findings if f.severity == "error" or "annotation" in f.code] == []


@pytest.fixture
def project(tmp_path):
    source = tmp_path / "source"
    for i in range(8):
        target = source / ("train" if i < 6 else "test") / f"p{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture(i))
    pack(source, tmp_path / "p", PackOptions(shard_images=4, processes=1))
    return tmp_path / "p"


@pytest.fixture
def fs(project):
    return fsspec.filesystem("blobdir", fo=str(project), skip_instance_cache=True)


def test_one_blob_and_one_set_of_pickles(project, fs, tmp_path):
    before, old = view(project), state(project)
    (tmp_path / "put.png").write_bytes(picture(22))
    with fs.transaction:
        fs.pipe("train/img/a.png", picture(20))
        fs.pipe({"val/img/b.png": picture(21), "val/ann/b.png.json": note(21)})
        fs.put(str(tmp_path / "put.png"), "val/datasets/hard/img/c.png")
        with fs.open("test/img/d.png", "wb") as file:
            file.write(picture(23)[:10])
            file.write(picture(23)[10:])
        fs.pipe({"train/img/p0.png": picture(24), "train/ann/p0.png.json": note(24)})  # replaces
        fs.rm("train/img/p1.png")
        with fs.open("notes.txt", "w", encoding="utf-8") as text:
            text.write("nötes")
        assert fs.find("") == sorted(before)  # readers see nothing yet
        assert view(project) == before
        assert state(project).items() >= old.items()
    added = {
        "train/img/a.png": picture(20),
        "val/img/b.png": picture(21),
        "val/datasets/hard/img/c.png": picture(22),
        "test/img/d.png": picture(23),
        "train/img/p0.png": picture(24),
        "train/ann/p0.png.json": note(24),
        "val/ann/b.png.json": note(21),
        "notes.txt": "nötes".encode(),
    }
    after = view(project)
    assert {path: bytes(data) for path, data in fs.cat(fs.find("")).items()} == after
    made = set(after) - set(before) - set(added)
    assert made == {"train/ann/a.png.json", "val/datasets/hard/ann/c.png.json", "test/ann/d.png.json"}
    assert json.loads(after["test/ann/d.png.json"])["size"] == {"height": 7, "width": 32}
    gone = {"train/img/p1.png", "train/ann/p1.png.json"}
    assert set(before) - set(after) == gone
    assert {p: after[p] for p in set(before) - gone - set(added)} == {
        p: before[p] for p in set(before) - gone - set(added)
    }
    assert {path: after[path] for path in added} == added
    new = state(project)
    written = {path for path in new.keys() - old.keys() if path.endswith((".tar", ".pkl"))}
    stem = next(path for path in written if path.endswith(".tar"))[len("blob/") : -len(".tar")]
    assert re.fullmatch("added-0000-[0-9a-f]{8}", stem)
    assert written == {f"blob/{stem}.tar"} | {
        f"{dataset}/{stem}_offsets.pkl" for dataset in ("train", "test", "val", "val/datasets/hard")
    }
    assert all(new[path] == old[path] for path in old if path.endswith(".tar"))
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=project / "blob", check=True)
    assert is_sound(project)


def divide(fs):
    raise ZeroDivisionError


def interrupt(fs):
    raise KeyboardInterrupt


def leave_open(fs):
    fs.kept = fs.open("train/img/open.png", "wb")
    fs.kept.write(picture(1))


WRONG = {
    "error": (divide, ZeroDivisionError),
    "interrupt": (interrupt, KeyboardInterrupt),
    "json": (lambda fs: fs.pipe("train/ann/new.png.json", b"{"), AnnotationError),
    "json in a folder": (lambda fs: fs.pipe("train/ann/sub/new.png.json", b"{"), AnnotationError),
    "not an image": (lambda fs: fs.pipe("train/img/text.png", b"text"), PackError),
    "not closed": (leave_open, UsageError),
    "missing": (lambda fs: fs.rm("train/img/none.png"), NotFoundError),
    "place": (lambda fs: fs.pipe("blob/x.tar", b""), UsageError),
}


def several_and(fs, wrong):
    with fs.transaction:
        fs.pipe("train/img/new.png", picture(30))
        fs.rm("test", recursive=True)
        wrong(fs)


@pytest.mark.parametrize(("wrong", "error"), WRONG.values(), ids=WRONG)
def test_nothing_at_all(project, fs, wrong, error):
    before = state(project)
    with pytest.raises(error):
        several_and(fs, wrong)
    assert state(project) == before
    assert not (project / ".blobdir/staging").exists()
    with pytest.raises(ReadOnlyError):
        fs.pipe("train/img/new.png", picture(30))
    with fs.transaction:
        fs.pipe("train/img/new.png", picture(30))
    assert fs.cat("train/img/new.png") == picture(30)


def test_outside_it_is_refused_and_says_what_to_do(fs):
    with pytest.raises(ReadOnlyError, match=r"with fs\.transaction:"):
        fs.pipe("train/img/a.png", b"")
    with pytest.raises(ReadOnlyError, match=r"with fs\.transaction:"):
        fs.open("train/img/a.png", "wb")


def test_without_a_context(project, fs):
    fs.start_transaction()
    fs.pipe("train/img/new.png", picture(30))
    with pytest.raises(UsageError, match="has begun already"), fs.transaction:
        pass
    fs.end_transaction()
    fs.start_transaction()
    fs.pipe("train/img/new.png", picture(31))
    fs.end_transaction()
    assert fs.cat("train/img/new.png") == picture(31)


def test_two_writers(project, fs):
    other = pickle.loads(pickle.dumps(fs))
    other._intrans = False
    with fs.transaction:
        with pytest.raises(BusyError, match=f"process {os.getpid()} is changing it"), other.transaction:
            pass
        with pytest.raises(ReadOnlyError):
            other.pipe("train/img/new.png", picture(1))
        fs.pipe("train/img/new.png", picture(30))
    with other.transaction:  # begins from what is there, not from what this one saw
        other.rm("train/img/new.png")
    assert "train/img/new.png" not in view(project)
    with Change(str(project)), pytest.raises(BusyError), fs.transaction:
        pass


def test_remote(project):
    memory = fsspec.filesystem("memory")
    memory.put(str(project), "/transactions/p", recursive=True)
    fs = fsspec.filesystem("blobdir", fo="memory://transactions/p", skip_instance_cache=True)
    with pytest.raises(ReadOnlyError, match="only projects on this machine can be changed"), fs.transaction:
        fs.pipe("train/img/new.png", picture(30))
    with pytest.raises(ReadOnlyError):
        fs.pipe("train/img/new.png", picture(30))
    assert "train/img/p0.png" in fs.find("")


def test_removing(project, fs):
    before = view(project)
    with fs.transaction:
        fs.rm(["train/img/p0.png", "train/img/p[12].png"])
        with pytest.raises(OSError, match="is a directory; recursive=True"):
            fs.rm("test")
        fs.rm("test", recursive=True)
        with pytest.raises(NotFoundError, match="was removed already"):
            fs.rm_file("train/img/p0.png")
        with pytest.raises(UsageError, match="this is no project"):
            fs.rm("meta.json")
        with pytest.raises(UsageError):
            fs.rm("", recursive=True)
    left = {f"train/{kind}" for i in (3, 4, 5) for kind in (f"img/p{i}.png", f"ann/p{i}.png.json")} | {"meta.json"}
    assert view(project) == {path: before[path] for path in left}
    assert fs.ls("", detail=False) == ["meta.json", "train"]
    assert not (project / "test").exists()
    assert list(blobdir.open_project(project)) == ["train"]
    assert is_sound(project)


def test_written_and_removed_again(project, fs):
    before = state(project)
    with fs.transaction:
        fs.pipe({"train/img/x.png": picture(1), "train/ann/x.png.json": note(1)})
        fs.rm("train/img/x.png")
    assert state(project) == before
    with fs.transaction:
        fs.pipe("train/img/x.png", picture(1))
        fs.pipe("train/img/y.png", picture(2))
        fs.pipe("train/img/x.png", picture(3))
        fs.rm("train/img/p0.png")
        fs.pipe({"train/img/p0.png": picture(4), "train/ann/p0.png.json": note(4)})
    assert fs.cat(["train/img/x.png", "train/img/y.png", "train/img/p0.png"]) == {
        "train/img/x.png": picture(3),
        "train/img/y.png": picture(2),
        "train/img/p0.png": picture(4),
    }
    assert next((project / "blob").glob("added-0000-*.tar")).stat().st_size == 10_240
    report = verify(project, decode=True, processes=1)
    (old,) = (project / "blob").glob("train-0000-*.tar")
    assert {f.path for f in report.findings} == {f"blob/{old.name}"}  # of the old p0.png


def test_moving_and_copying(project, fs):
    with fs.transaction:
        fs.pipe("train/ann/p0.png.json", note(0))
        fs.mv("train/img/p0.png", "test/img/")
        fs.mv("train/img/p1.png", "train/img/renamed.png")
        fs.cp_file("train/img/p2.png", "test/img/copy.png")
        fs.mv("test/img/p6.png", "test/img/twice.png")
        fs.mv("test/img/twice.png", "train/img/thrice.png")
    after = view(project)
    assert after["test/img/p0.png"] == picture(0)
    assert after["test/ann/p0.png.json"] == note(0)
    assert after["train/img/renamed.png"] == picture(1)
    assert after["test/img/copy.png"] == after["train/img/p2.png"] == picture(2)
    assert after["train/img/thrice.png"] == picture(6)
    assert {path for path in after if "twice" in path or "p6" in path} == set()
    assert is_sound(project)
    with fs.transaction:
        fs.mv("test", "elsewhere", recursive=True)
    moved = {("elsewhere" + path.removeprefix("test") if path.startswith("test/") else path) for path in after}
    assert set(view(project)) == moved
    assert is_sound(project)


def test_put_of_a_folder(project, fs, tmp_path):
    for i in range(3):
        target = tmp_path / f"more/img/m{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(picture(40 + i))
    with fs.transaction:
        fs.put(str(tmp_path / "more"), "val", recursive=True)
    assert blobdir.open_project(project)["val"].names == ["m0.png", "m1.png", "m2.png"]
    with fs.transaction:
        fs.put([str(tmp_path / "more/img/m0.png")], ["train/img/one.png"])
        fs.mkdir("train/nothing")
        fs.makedirs("train/nothing/at/all", exist_ok=True)
        fs.touch("train/empty.txt")
    assert fs.cat("train/img/one.png") == picture(40)
    assert fs.cat("train/empty.txt") == b""
    assert is_sound(project)


PLACES = [
    "blob/x.tar", ".blobdir/lock", "train/train-0000_offsets.pkl", "train/ann.blob/x.json",
    "train/img/../a.png", "train/img/a\0.png", f"train/img/{'x' * 252}.png", f"train/img/{'x' * 248}.png",
    "train/hard/img/a.png", "train/img/img/a.png", "train/img",
]  # fmt: skip


@pytest.mark.parametrize("path", PLACES)
def test_places_that_cant_be_written(project, fs, path):
    before = state(project)
    with fs.transaction, pytest.raises((UsageError, OSError), match=r".") as caught:
        fs.pipe_file(path, picture(0))
    assert isinstance(caught.value, blobdir.BlobdirError)
    assert state(project) == before


JSON = {
    "train/ann/p0.png.json": [b"", b"[]", b"{}", b'{"size": 1, "objects": []}', b'{"size": {"height": 1, "width": 1}}'],
    "meta.json": [b"", b"[]", b'{"classes": {}}', b'{"tags": [1]}', b"\xff"],
}


@pytest.mark.parametrize(("path", "data"), [(path, data) for path, found in JSON.items() for data in found])
def test_json_that_isnt_what_it_says(fs, path, data):
    with fs.transaction, pytest.raises(AnnotationError, match=path.replace(".", r"\.")):
        fs.pipe(path, data)


def test_modes(fs):
    with fs.transaction:
        with pytest.raises(FileExistsError):
            fs.pipe_file("train/img/p0.png", picture(1), mode="create")
        with pytest.raises(UsageError, match="'wb', or 'xb'"):
            fs.open("train/img/p0.png", "ab")
        with pytest.raises(FileExistsError), fs.open("train/img/p0.png", "xb") as file:
            file.write(picture(1))
        with pytest.raises(ZeroDivisionError), fs.open("train/img/half.png", "wb") as file:
            file.write(picture(1)[: 5 // 0])
        with fs.open("train/img/x.png", "xb") as file:
            file.write(picture(1))
    assert fs.cat("train/img/p0.png") == picture(0)
    assert fs.cat("train/img/x.png") == picture(1)
    assert not fs.exists("train/img/half.png")


def test_threads_share_a_transaction(project, fs):
    threads = threading.active_count()
    with fs.transaction, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: fs.pipe(f"many/img/{i:03d}.png", picture(i % 50)), range(200)))
    assert {p: bytes(d) for p, d in fs.cat(fs.ls("many/img", detail=False)).items()} == {
        f"many/img/{i:03d}.png": picture(i % 50) for i in range(200)
    }
    assert is_sound(project)
    assert threading.active_count() <= threads


def test_a_child_process_has_no_part_in_it(project, fs):
    before = view(project)
    with fs.transaction:
        fs.pipe("train/img/x.png", picture(1))
        child = os.fork()
        if not child:
            code = 1
            try:
                fs.pipe("train/img/y.png", picture(1))
            except UsageError:
                code = 0
            fs.transaction.complete(commit=False)
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert set(view(project)) - set(before) == {"train/img/x.png", "train/ann/x.png.json"}


def test_packed_annotations(tmp_path):
    source = Builder(tmp_path / "source")
    for i in range(6):
        source.loose(f"train/img/p{i}.png", picture(i))
        source.loose(f"train/ann/p{i}.png.json", note(i))
    pack(source.root, tmp_path / "p", PackOptions(annotations="packed", processes=1))
    root = tmp_path / "p"
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    with fs.transaction:
        fs.rm("train/img/p0.png")
        fs.pipe("train/ann/p1.png.json", note(1, "yours"))
        fs.mv("train/img/p2.png", "train/img/q2.png")
    after = view(root)
    assert "train/ann/p0.png.json" not in after
    assert b"yours" in after["train/ann/p1.png.json"]
    assert after["train/ann/q2.png.json"] == note(2)
    assert is_sound(root)
    compact(root)
    assert view(root) == after


def test_a_transaction_of_nothing(project, fs):
    before = state(project)
    with fs.transaction:
        pass
    assert state(project) == before


def test_a_script(project):
    """As in the documentation, by another process that ends without a word."""
    code = (
        "import fsspec, sys, os\n"
        f"fs = fsspec.filesystem('blobdir', fo={str(project)!r})\n"
        "with fs.transaction:\n"
        "    fs.pipe('train/img/x.png', open(sys.argv[1], 'rb').read())\n"
        "    os._exit(3)\n"
    )
    before = view(project)
    file = shutil.copy(next((project.parent / "source").rglob("*.png")), project.parent / "x.png")
    done = subprocess.run([sys.executable, "-c", code, file], timeout=30, check=False)
    assert done.returncode == 3
    assert view(project) == before
    fs = fsspec.filesystem("blobdir", fo=str(project))
    with fs.transaction:
        fs.rm("train/img/p5.png")
    assert set(before) - set(view(project)) == {"train/img/p5.png", "train/ann/p5.png.json"}


def full_once(monkeypatch, owner, name):
    """A disk that is full in the middle of one write, and has room again after it."""
    real, failed = getattr(owner, name), []

    def write(first, data):
        if failed or len(data) < 1000:
            return real(first, data)
        failed.append(real(first, bytes(data[:500])))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(owner, name, write)
    return failed


@pytest.mark.parametrize(
    ("path", "owner", "name"), [("notes.txt", Path, "write_bytes"), ("train/img/large.png", os, "write")]
)
def test_half_a_write_is_never_committed(project, fs, monkeypatch, path, owner, name):
    """Who catches the error and goes on can't make a torn file, or a blob with a hole, official."""
    noise = io.BytesIO()
    Image.effect_noise((1200, 1200), 90).save(noise, "PNG")
    before, failed = view(project), []

    def change():
        fs.pipe("train/img/one.png", picture(20))
        failed.append(full_once(monkeypatch, owner, name))
        with pytest.raises(OSError, match="No space left"):
            fs.pipe(path, noise.getvalue())
        monkeypatch.undo()
        fs.pipe("train/img/two.png", picture(21))

    with pytest.raises(UsageError, match="failed half way"), fs.transaction:
        change()
    assert failed[0]
    assert view(project) == before
    with fs.transaction:  # the next one works
        fs.pipe("train/img/two.png", picture(21))
    assert view(project)["train/img/two.png"] == picture(21)


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("tr*", {"meta.json", "test"}),
        ("*/img", {"meta.json", "train", "test"}),
        ("t*", {"meta.json"}),
        ("train/img/p[01].png", {"meta.json", "train", "test"}),
    ],
)
def test_patterns_that_fit_folders(project, fs, pattern, left):
    if "." not in pattern:
        with pytest.raises(IsADirectory, match="recursive=True"), fs.transaction:
            fs.rm(pattern)
    with fs.transaction:
        fs.rm(pattern, recursive=True)
    after = view(project)
    assert {path.split("/")[0] for path in after} <= left
    assert not [path for path in after if fs.glob(pattern) and path.startswith(tuple(fs.glob(pattern)))]
    assert [path for path in after if path.startswith("train/img/")] == (
        [f"train/img/p{i}.png" for i in range(2, 6)] if "[" in pattern else []
    )


def test_patterns_see_what_was_written(project, fs):
    with fs.transaction:
        fs.pipe("train/img/new.png", picture(20))
        fs.rm("train/img/*.png")
    assert not [path for path in view(project) if path.startswith("train/")]


IN_A_CHILD = {
    "cp": lambda fs: fs.cp_file("train/img/new0.png", "train/img/c.png"),
    "mv": lambda fs: fs.mv("train/img/new0.png", "train/img/c.png"),
    "mv a folder": lambda fs: fs.mv("train", "other", recursive=True),
    "copy a folder": lambda fs: fs.copy("train", "other", recursive=True),
    "rm": lambda fs: fs.rm("train/img/new0.png"),
    "rm a folder": lambda fs: fs.rm("train", recursive=True),
    "pipe": lambda fs: fs.pipe_file("train/img/c.png", picture(99)),
    "touch": lambda fs: fs.touch("train/img/new0.png"),
}


@pytest.mark.parametrize("what", IN_A_CHILD)
def test_a_child_writes_nothing_into_the_transaction(project, fs, what):
    """It has a copy of what is gathered, and shares the open blob."""
    data = {f"train/img/new{i}.png": picture(200 + i) for i in range(6)}
    with fs.transaction:
        for path in list(data)[:3]:
            fs.pipe_file(path, data[path])
        pid = os.fork()
        if pid == 0:
            try:
                IN_A_CHILD[what](fs)
            except BaseException:
                os._exit(3)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        for path in list(data)[3:]:
            fs.pipe_file(path, data[path])
    for path, content in data.items():
        assert fs.cat_file(path) == content
    assert is_sound(project)
