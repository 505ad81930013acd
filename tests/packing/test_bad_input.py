"""What can't be packed or added is named, counted and reported, and costs nothing else."""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import threading
import time
from pathlib import Path

import fsspec
import pytest
from PIL import Image

import blobdir
from blobdir.errors import AnnotationError, BlobdirError, NotFoundError, PackError, UsageError
from blobdir.packing import PackOptions, add, merge, pack
from blobdir.verifying import verify

NOBODY = 65534


def picture(i):
    data = io.BytesIO()
    Image.new("RGB", (9 + i, 7), (i, 2, 3)).save(data, "PNG")
    return data.getvalue()


@pytest.fixture
def plain(tmp_path):
    for i in range(6):
        path = tmp_path / "plain/train" / f"p{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i))
    return tmp_path / "plain"


@pytest.fixture
def project(plain, tmp_path):
    pack(plain, tmp_path / "p", PackOptions(processes=1))
    return tmp_path / "p"


def state(root):
    return {p: p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file() and p.name != "lock"}


def packed_by_nobody(source, dest):
    """Pack in a child without the rights of root; gives what it says."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            report = pack(source, dest, PackOptions(processes=1))
            said = [report.complete, report.images, [[p.code, p.path] for p in report.problems]]
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(theirs, json.dumps(said).encode())
        os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        said = json.loads(pipe.read())
    assert os.waitpid(child, 0)[1] == 0
    return said


@pytest.fixture
def reachable(tmp_path):
    """Let nobody into the test's own folder."""
    if os.geteuid():
        pytest.skip("needs root, to have no rights for once")
    changed = [p for p in (tmp_path, *tmp_path.parents) if p.stat().st_uid == os.geteuid() and "pytest-" in str(p)]
    modes = {path: path.stat().st_mode for path in changed}
    for path in changed:
        path.chmod(0o755)
    os.chown(tmp_path, NOBODY, NOBODY)
    yield tmp_path
    for path, mode in modes.items():
        path.chmod(mode)


def test_what_may_not_be_read(plain, reachable):
    (plain / "train/p0.png").chmod(0)
    (plain / "secret").mkdir(mode=0)
    problems = [["unreadable", "secret"], ["unreadable", "train/p0.png"]]
    assert packed_by_nobody(plain, reachable / "packed") == [False, 5, problems]


def test_annotations_that_may_not_be_read(reachable):
    for i in range(3):
        for part, data in (("img", picture(i)), ("ann", b'{"size": {"height": 7, "width": 9}, "objects": []}')):
            path = reachable / "regular/train" / part / (f"p{i}.png" + (".json" if part == "ann" else ""))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (reachable / "regular/meta.json").write_text("{}")
    (reachable / "regular/train/ann/p1.png.json").chmod(0)
    problems = [["unreadable", "train/ann/p1.png.json"]]
    assert packed_by_nobody(reachable / "regular", reachable / "packed") == [False, 3, problems]


def test_a_place_that_may_not_be_written(plain, reachable):
    (reachable / "closed").mkdir(mode=0o555)
    os.chown(reachable / "closed", 0, 0)
    said = packed_by_nobody(plain, reachable / "closed/packed")
    assert said.startswith("PackError") and "closed/packed.packing: Permission denied" in said
    assert not list((reachable / "closed").iterdir())


def test_a_file_that_vanishes_while_it_is_packed(plain, tmp_path, monkeypatch):
    from blobdir.packing import packer

    real = packer.list_source

    def listed(*arguments):
        found = real(*arguments)
        (plain / "train/p3.png").unlink()
        (plain / "train/p4.png").write_bytes(picture(4) + b"more")
        return found

    monkeypatch.setattr(packer, "list_source", listed)
    report = pack(plain, tmp_path / "q", PackOptions(processes=1))
    assert [(p.code, p.path) for p in report.problems] == [("unreadable", "train/p3.png")]
    dataset = blobdir.open_project(tmp_path / "q")["train"]
    assert dataset.names == ["p0.png", "p1.png", "p2.png", "p4.png", "p5.png"]
    assert dataset.get_blob_img_bytes("p4.png") == picture(4) + b"more"
    assert verify(tmp_path / "q").errors == 0


def test_an_annotation_that_vanishes(tmp_path, monkeypatch):
    from blobdir.packing import packer

    (tmp_path / "regular/train/img").mkdir(parents=True)
    (tmp_path / "regular/train/ann").mkdir(parents=True)
    (tmp_path / "regular/meta.json").write_text("{}")
    (tmp_path / "regular/train/img/a.png").write_bytes(picture(0))
    (tmp_path / "regular/train/ann/a.png.json").write_text("{}")
    real = packer.list_source

    def listed(*arguments):
        found = real(*arguments)
        (tmp_path / "regular/train/ann/a.png.json").unlink()
        return found

    monkeypatch.setattr(packer, "list_source", listed)
    report = pack(tmp_path / "regular", tmp_path / "q", PackOptions(processes=1))
    assert [(p.code, p.path) for p in report.problems] == [("unreadable", "train/ann/a.png.json")]
    assert not report.complete


def test_a_source_that_grows_all_the_time(plain, tmp_path):
    """Of files that somebody appends to: the archive is sound, and the report says which were left out."""
    stop = threading.Event()

    def grow():
        while not stop.is_set():
            for i in range(6):
                with open(plain / f"train/p{i}.png", "ab") as file:
                    file.write(b"x" * 700)
            time.sleep(0.0005)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        for number in range(8):
            report = pack(plain, tmp_path / f"{number}", PackOptions(processes=1))
            lost = [problem for problem in report.problems if problem.costs]
            assert {problem.code for problem in lost} <= {"changed"}
            assert report.images == 6 - len(lost)
            assert verify(tmp_path / f"{number}").errors == 0
    finally:
        stop.set()
        thread.join()


def test_dest_in_source(plain):
    with pytest.raises(UsageError, match="choose a place outside"):
        pack(plain, plain / "packed")
    assert not list(plain.glob("packed*"))


def test_names_that_cant_be(plain, tmp_path):
    long = "y" * 249 + ".png"
    (plain / "train" / long).write_bytes(picture(1))
    odd = [os.fsdecode(b"\xff\xfe.png"), "new\nline.png", " .png", "-rf.png", "a\\b.png", "\"'.png", "x" * 246 + ".png"]
    for name in odd:
        (plain / "train" / name).write_bytes(picture(1))
    report = pack(plain, tmp_path / "q")
    assert [(p.code, p.path) for p in report.problems] == [("name", f"train/{long}")]
    dataset = blobdir.open_project(tmp_path / "q")["train"]
    for name in odd:
        assert dataset.get_blob_img_bytes(name) == picture(1)
    assert verify(tmp_path / "q", decode=True, processes=1).findings == []


BAD = {
    "missing": (lambda folder: folder / "none.png", NotFoundError, "there is no such file"),
    "a folder": (lambda folder: folder, UsageError, "isn't a file, but a folder"),
    "empty": (lambda folder: put(folder / "e.png", b""), PackError, "its size can't be found out"),
    "no image": (lambda folder: put(folder / "t.png", b"text" * 99), PackError, "its size can't be found out"),
    "a name too long": (lambda folder: put(folder / ("z" * 250 + ".png"), picture(1)), UsageError, "250 bytes"),
}


def put(path, data):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("what", BAD)
def test_adding(project, tmp_path, what):
    make, error, message = BAD[what]
    bad, before = make(tmp_path), state(project)
    with pytest.raises(error, match=message) as caught:
        add(project, "train", [put(tmp_path / "good.png", picture(9)), bad])
    assert str(bad) in str(caught.value)
    assert isinstance(caught.value, BlobdirError)
    assert state(project) == before


NO_ANNOTATIONS = (
    b"", b"{", b"[]", b'{"objects": []}', b'{"size": {}, "objects": []}', b'{"size": {"height": 7, "width": 9}}',
    *(b'{"size": {"height": %s, "width": 9}, "objects": []}' % n for n in (b"0", b"-7", b"7.0", b"true", b"9" * 10)),
    *(b'{"size": {"height": 7, "width": 9}, "objects": %s}' % o for o in (b"{}", b"[1]", b'[{"tags": []}]')),
    b'{"size": {"height": 7, "width": 9}, "objects": [], "tags": [{}]}',
)  # fmt: skip


def add_with(root, folder):
    add(root, "train", [put(folder / "good.png", picture(9))], annotations=folder)


def write_with(root, folder):
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    with fs.transaction:
        fs.pipe("train/img/good.png", picture(9))
        fs.put(str(folder / "good.png.json"), "train/ann/good.png.json")


def list_with(root, folder):
    put(folder / "good.png", picture(9))
    put(folder / "list", b'{"path": "good.png", "annotation": "good.png.json"}')
    pack(folder / "list", folder / "made", PackOptions(strict=True))


@pytest.mark.parametrize("data", NO_ANNOTATIONS)
@pytest.mark.parametrize("command", [add_with, write_with, list_with])
def test_no_command_takes_an_annotation_that_verify_refuses(project, tmp_path, command, data):
    folder = tmp_path / "given"
    folder.mkdir()
    put(folder / "good.png.json", data)
    before = state(project)
    with pytest.raises((AnnotationError, PackError), match=r"good\.png\.json: isn't an annotation: ") as caught:
        command(project, folder)
    assert state(project) == before
    put(project / "train/ann/p1.png.json", data)
    said = [text for one in verify(project).findings if one.code == "annotation-invalid" for text in one.examples]
    assert [text.partition("p1.png.json: ")[2] for text in said] == [
        str(caught.value).partition("isn't an annotation: ")[2].removesuffix(" (--strict)").partition("; it has one")[0]
    ]


@pytest.mark.parametrize("name", ["good.png", "good"])
@pytest.mark.parametrize(("given", "taken"), [(["png.json", "json"], "png.json"), (["json"], "json"), ([], "")])
def test_an_annotation_may_have_its_legacy_name(project, tmp_path, given, taken, name):
    (tmp_path / "ann").mkdir()
    for end in given:
        value = {"size": {"height": 7, "width": 9}, "objects": [], "x": end}
        put(tmp_path / f"ann/good.{end}", json.dumps(value).encode())
    add(project, "train", [put(tmp_path / name, picture(9))], annotations=tmp_path / "ann")
    wanted = taken if name == "good.png" else "json" * bool(given)
    assert blobdir.open_project(project)["train"].annotation(name).get("x", "") == wanted
    assert (project / f"train/ann/{name}.json").exists()


def fill_by_add(root, more):
    add(root, "train", [more / "train/large.png"])


def fill_by_transaction(root, more):
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    with fs.transaction:
        fs.rm("train/img/p0.png")
        fs.put(str(more / "train/large.png"), "train/img/large.png")


def fill_by_merge(root, more):
    merge(root, more.parent / "large", copy=True)


@pytest.mark.parametrize("fill", [fill_by_add, fill_by_transaction, fill_by_merge])
def test_a_full_disk_changes_nothing(plain, tmp_path, fill):
    more = tmp_path / "more"
    (more / "train").mkdir(parents=True)
    Image.effect_noise((600, 600), 90).save(more / "train/large.png")
    pack(more, tmp_path / "large", PackOptions(processes=1))
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", disk], check=False).returncode:
        pytest.skip("needs the right to mount")
    try:
        pack(plain, disk / "p", PackOptions(processes=1))
        before = state(disk / "p")
        with pytest.raises(OSError, match="No space left on device"):
            fill(disk / "p", more)
        assert state(disk / "p") == before
        assert not (disk / "p/.blobdir/staging").exists()
        subprocess.run(["mount", "-o", "remount,size=20m", disk], check=True)
        fill(disk / "p", more)
        assert (Path(disk) / "p/train/ann/large.png.json").exists()
        assert verify(disk / "p", decode=True, processes=1).errors == 0
    finally:
        gc.collect()  # what a transaction read from is held as long as it's known
        subprocess.run(["umount", disk], check=True)
