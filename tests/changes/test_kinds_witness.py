"""Files that another program writes, without the lock, while a change that moves or removes them is prepared."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import pytest
from blob_builder import Builder

import blobdir
from blobdir.errors import SourceChangedError
from blobdir.packing import compact, growing, move, publishing, remove, witness
from blobdir.packing.journal import Journal
from blobdir.packing.publishing import Change

TICK_S = 0.02
"""The clock of a disk goes forward in steps, of up to 10 ms."""
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001a5f64540"
    "0000000049454e44ae426082"
)


def label(text):
    return b'{"description": "%s", "size": {"height": 1, "width": 1}, "tags": [], "objects": []}' % text


@pytest.fixture
def project(tmp_path):
    made = Builder(tmp_path / "p")
    made.loose("meta.json", b'{"classes": [], "tags": [], "projectType": "images"}')
    for dataset, names in (("t", "ab"), ("v", "c")):
        made.blob(dataset, f"of-{dataset}", {f"{name}.png": PNG for name in names})
        for name in names:
            made.loose(f"{dataset}/ann/{name}.png.json", label(name.encode()))
            made.loose(f"{dataset}/meta/{name}.png.json", b"{}")
    return made.root


def files(root):
    return {
        os.path.relpath(os.path.join(at, name), root): open(os.path.join(at, name), "rb").read()
        for at, _, names in os.walk(root)
        for name in names
        if ".blobdir" not in at
    }


def renamed(path, data):
    """As editors write, and `blobdir cp`."""
    path.with_suffix(".new").write_bytes(data)
    os.replace(path.with_suffix(".new"), path)


def in_place(path, data):
    path.write_bytes(data)


STEPS = {
    "mv of an image": lambda fs: fs.mv("t/img/a.png", "v/img/z.png"),
    "mv of a dataset": lambda fs: fs.mv("t", "q", recursive=True),
    "mv of two, swapped": lambda fs: fs.mv(["t/img/a.png", "t/img/b.png"], ["t/img/b.png", "t/img/a.png"]),
    "mv over an image": lambda fs: fs.mv("t/img/b.png", "t/img/a.png"),
    "mv of the label": lambda fs: fs.mv("t/ann/a.png.json", "notes.json"),
    "rm of an image": lambda fs: fs.rm("t/img/a.png"),
    "rm of a dataset": lambda fs: fs.rm("t", recursive=True),
    "rm of the label": lambda fs: fs.rm("t/ann/a.png.json"),
    "pipe over the label": lambda fs: fs.pipe("t/ann/a.png.json", label(b"piped")),
}
COMMANDS = {
    "move": lambda root: move(root, ["t/a.png"], "v"),
    "remove": lambda root: remove(root, ["t/a.png"]),
}


@pytest.mark.parametrize("write", [renamed, in_place])
@pytest.mark.parametrize("step", STEPS)
def test_transactions(project, step, write):
    before = files(project)
    fs = blobdir.BlobDirFileSystem(project, skip_instance_cache=True)

    def change():
        with fs.transaction:
            STEPS[step](fs)
            write(project / "t/ann/a.png.json", label(b"written meanwhile"))

    with pytest.raises(SourceChangedError, match="t/ann/a.png.json: was written or put there by another program"):
        change()
    assert files(project) == before | {"t/ann/a.png.json": label(b"written meanwhile")}


@pytest.mark.parametrize("write", [renamed, in_place])
@pytest.mark.parametrize("command", COMMANDS)
def test_commands(project, monkeypatch, command, write):
    before, real = files(project), Change.commit

    def commit(change):
        write(project / "t/ann/a.png.json", label(b"written meanwhile"))
        return real(change)

    monkeypatch.setattr(Change, "commit", commit)
    if (command, write) == ("move", in_place):  # it's the same file still, which goes along
        COMMANDS[command](project)
        assert files(project)["v/ann/a.png.json"] == label(b"written meanwhile")
        return
    with pytest.raises(SourceChangedError, match="t/ann/a.png.json: was written or put there by another program"):
        COMMANDS[command](project)
    assert files(project) == before | {"t/ann/a.png.json": label(b"written meanwhile")}


APPEARS = {
    "pipe of a file": (lambda fs: fs.pipe("notes.txt", b"ours"), ["notes.txt"]),
    "pipe of an image": (lambda fs: fs.pipe("v/img/z.png", PNG), ["v/img/z.png", "v/ann/z.png.json"]),
    "cp of an image": (lambda fs: fs.cp("t/img/a.png", "v/img/z.png"), ["v/img/z.png", "v/ann/z.png.json"]),
    "mv of an image": (lambda fs: fs.mv("t/img/a.png", "v/img/z.png"), ["v/img/z.png", "v/ann/z.png.json"]),
    "mv of a packed image": (lambda fs: fs.mv("t/img/a.png", "v/img/z.png"), ["t/img/a.png"]),
    "mv of a dataset": (lambda fs: fs.mv("t", "q", recursive=True), ["t/img/a.png", "q/img/a.png"]),
}


@pytest.mark.parametrize("when", ["before the step", "after the step"])
@pytest.mark.parametrize(("step", "path"), [(name, path) for name, (_, paths) in APPEARS.items() for path in paths])
def test_a_file_that_appears(project, step, path, when):
    """Where one is to be, or where there was only a packed one when the transaction began."""
    before = files(project)
    fs = blobdir.BlobDirFileSystem(project, skip_instance_cache=True)

    def put():
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        renamed(project / path, b"theirs" if path.endswith(".txt") else label(b"theirs"))

    def change():
        with fs.transaction:
            time.sleep(TICK_S)
            if when == "before the step":
                put()
            APPEARS[step][0](fs)
            if when == "after the step":
                put()

    with pytest.raises(SourceChangedError, match=f"{path}: was written or put there by another program"):
        change()
    assert {name: data for name, data in files(project).items() if name != path} == before
    assert (project / path).is_file()


@pytest.mark.parametrize("path", ["t/ann/n.png.json", "meta.json"])
def test_a_file_that_appears_while_a_blob_is_written(project, tmp_path, monkeypatch, path):
    (tmp_path / "n.png").write_bytes(PNG)
    before, real = files(project), growing.write_shard

    def write_shard(*arguments, **options):
        time.sleep(TICK_S)
        renamed(project / path, before["meta.json"] if path == "meta.json" else label(b"theirs"))
        return real(*arguments, **options)

    monkeypatch.setattr(growing, "write_shard", write_shard)
    if path == "meta.json":  # which isn't replaced
        growing.add(project, "t", [tmp_path / "n.png"])
        return
    with pytest.raises(SourceChangedError, match=f"{path}: was written or put there by another program"):
        growing.add(project, "t", [tmp_path / "n.png"])
    assert files(project) == before | {path: label(b"theirs")}


def test_what_was_written_just_before_is_no_reason(project):
    """Nor is what the change itself has linked."""
    for number in range(20):
        renamed(project / "t/ann/a.png.json", label(b"%d" % number))
        move(project, ["t/a.png"], "v")
        renamed(project / "v/ann/a.png.json", label(b"%d" % number))
        move(project, ["v/a.png"], "t")


@pytest.mark.parametrize("unreferenced", [False, True])
def test_offsets_that_appear_while_blobs_are_compacted(project, monkeypatch, unreferenced):
    """They may name a blob that nothing has named: of a dataset that is there, or of a new one."""
    offsets = project / "t/of-t_offsets.pkl"
    kept = offsets.read_bytes()
    if unreferenced:
        offsets.unlink()
    else:
        remove(project, ["t/a.png", "t/b.png"])
    before, real = files(project), Journal.prepare

    def prepare(journal, state):
        (project / "w/img").mkdir(parents=True)
        renamed(project / "w/of-t_offsets.pkl", kept)
        return real(journal, state)

    monkeypatch.setattr(Journal, "prepare", prepare)
    with pytest.raises(SourceChangedError, match="w/of-t_offsets.pkl: was put there by another program"):
        compact(project, unreferenced=unreferenced)
    assert files(project) == before | {"w/of-t_offsets.pkl": kept}


@pytest.mark.parametrize("years", [-3, 3])
def test_clocks_that_were_wrong(project, monkeypatch, years):
    """Disks that were written by another computer, or before its clock was set."""
    real, names = witness.look, ("st_mode", "st_ino", "st_nlink", "st_size", "st_mtime_ns")

    def look(folders, path):
        found = real(folders, path)
        if found is None:
            return None
        ctime_ns = found.st_ctime_ns + years * 365 * 86400 * 10**9
        return SimpleNamespace(st_ctime_ns=ctime_ns, **{name: getattr(found, name) for name in names})

    monkeypatch.setattr(publishing, "look", look)
    move(project, ["t/a.png"], "v")
    move(project, ["v/a.png"], "t")
    test_transactions(project, "rm of an image", renamed)  # size and time of the content tell


def test_a_file_that_goes_meanwhile(project):
    """Who has removed it has lost nothing."""
    fs = blobdir.BlobDirFileSystem(project, skip_instance_cache=True)
    with fs.transaction:
        fs.rm("t/img/a.png")
        (project / "t/ann/a.png.json").unlink()
    assert not fs.exists("t/img/a.png")


def test_other_files_may_be_written(project):
    fs = blobdir.BlobDirFileSystem(project, skip_instance_cache=True)
    with fs.transaction:
        fs.mv("t/img/a.png", "v/img/z.png")
        renamed(project / "t/ann/b.png.json", label(b"written meanwhile"))
    assert fs.cat_file("t/ann/b.png.json") == label(b"written meanwhile")
    assert fs.cat_file("v/ann/z.png.json") == label(b"a")


@pytest.mark.parametrize("count", [2, 400])
def test_disks_that_number_files_anew(project, monkeypatch, count):
    """There links can't be told by inodes; what is staged is told by its content, and each is read once."""
    for number in range(count):
        label_of = project / f"t/meta/sub/{number}.json"
        label_of.parent.mkdir(exist_ok=True)
        label_of.write_bytes(b"%05d" % number)
        os.utime(label_of, (1e9, 1e9))
    real, names, opened = witness.look, ("st_mode", "st_nlink", "st_size", "st_mtime_ns", "st_ctime_ns"), []

    def look(folders, path):
        found = real(folders, path)
        return found and SimpleNamespace(st_ino=-len(path), **{name: getattr(found, name) for name in names})

    real_open = witness.open_plain
    monkeypatch.setattr(publishing, "look", look)
    monkeypatch.setattr(witness, "open_plain", lambda *a, **k: opened.append(1) or real_open(*a, **k))
    fs = blobdir.BlobDirFileSystem(project, skip_instance_cache=True)
    with fs.transaction:
        fs.mv("t/meta/sub", "t/meta/other", recursive=True)
    assert len(fs.ls("t/meta/other")) == count
    assert len(opened) < 6 * count + 20
