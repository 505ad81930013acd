"""What is made of a whole project while somebody changes it: of one version, or an error, and never of both."""

import io
import json
import os
import shutil

import fsspec
import pytest
from folder_bucket import bucket
from PIL import Image

import blobdir
from blobdir import filesystem, opening
from blobdir.cli.app import run
from blobdir.converting import ConvertOptions, convert
from blobdir.errors import BusyError, SourceChangedError
from blobdir.mounting import MountOptions, kernel
from blobdir.packing import locking
from blobdir.packing.growing import add
from blobdir.packing.merging import create_project
from blobdir.projectlock import ProjectLock

__all__ = ["bucket"]

META = {"classes": [{"title": "c", "shape": "rectangle", "color": "#FF0000"}], "tags": [], "projectType": "images"}
COMMANDS = {
    "unpack": ["unpack", "{p}", "{out}"],
    "cp -r": ["cp", "-r", "{p}/t", "{out}"],
    "cp -r of all": ["cp", "-r", "{p}", "{out}"],
    "cp of two": ["cp", "{p}/t/img/0.png", "{p}/t/ann/0.png.json", "{out}/"],
    "cp of a pattern": ["cp", "{p}/t/*/0*", "{out}/"],
    "convert": ["convert", "{p}", "{out}", "--to", "yolo"],
    "convert, no images": ["convert", "{p}", "{out}", "--to", "coco", "--images", "none"],
    "export": ["export", "erofs", "{p}", "-o", "{out}"],
    "stats": ["stats", "{p}"],
    "stats --json": ["stats", "{p}", "--json"],
    "preview": ["preview", "{p}", "-o", "{out}.png"],
    "preview, pages": ["preview", "{p}", "-o", "{out}.pdf"],
    "preview, html": ["preview", "{p}", "-o", "{out}.html"],
}
COPIES = [name for name in COMMANDS if name.startswith(("unpack", "cp"))]
FAR = [name for name in COMMANDS if name not in ("export", "cp of two")]


def picture(number):
    out = io.BytesIO()
    Image.new("RGB", (20, 20), (number, 0, 0)).save(out, "PNG")
    return out.getvalue()


def label(number):
    points = {"exterior": [[0, 0], [1 + number, 1 + number]], "interior": []}
    one = {"classTitle": "c", "geometryType": "rectangle", "points": points, "tags": []}
    return json.dumps({"description": "", "size": {"height": 20, "width": 20}, "tags": [], "objects": [one]})


@pytest.fixture
def project(tmp_path):
    source = tmp_path / "source/t"
    for folder in ("img", "ann"):
        (source / folder).mkdir(parents=True)
    (tmp_path / "source/meta.json").write_text(json.dumps(META))
    for number in range(4):
        (source / f"img/{number}.png").write_bytes(picture(number))
        (source / f"ann/{number}.png.json").write_text(label(number))
    blobdir.pack(tmp_path / "source", tmp_path / "p", blobdir.PackOptions(processes=1))
    return tmp_path / "p"


def swap(root):
    fs = blobdir.BlobDirFileSystem(root, skip_instance_cache=True)
    with fs.transaction:
        fs.mv(["t/img/0.png", "t/img/1.png"], ["t/img/1.png", "t/img/0.png"])


def replace(root):
    new = root.parent / "new"
    new.mkdir()
    (new / "0.png").write_bytes(picture(9))
    (new / "0.png.json").write_text(label(9))
    add(root, "t", [new / "0.png"], annotations=new, replace=True)


CHANGES = [swap, replace]


def when_opened(monkeypatch, do):
    """Have something done when a project was opened, and before anything else of it is read."""
    real, done = opening.open_tree, []

    def open_tree(*args, **options):
        tree = real(*args, **options)
        if not done:
            done.append(1)
            do()
        return tree

    for module in (filesystem, opening):
        monkeypatch.setattr(module, "open_tree", open_tree)
    return done


def call(name, project, out):
    return run([part.format(p=project, out=out) for part in COMMANDS[name]])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", COMMANDS)
def test_nobody_changes_it_meanwhile(project, tmp_path, monkeypatch, name, change):
    swap(project)  # from then on it has a lock
    before = set(project.rglob("*"))
    assert call(name, project, tmp_path / "plain") == 0
    said = []

    def writer():
        with pytest.raises(
            BusyError, match="somebody copies, checks or reads all of it; try again when that's done"
        ) as error:
            change(project)
        said.append(error)

    when_opened(monkeypatch, writer)
    assert call(name, project, tmp_path / "out") == 0
    assert len(said) == 1
    assert set(project.rglob("*")) == before
    change(project) if change is swap else None  # the lock is free again


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", COMMANDS)
def test_one_that_was_never_changed(project, tmp_path, monkeypatch, capsys, name, change):
    """It has no lock, and none is made in it by who only reads."""
    before = set(project.rglob("*"))
    assert call(name, project, tmp_path / "plain") == 0
    assert set(project.rglob("*")) == before
    capsys.readouterr()
    when_opened(monkeypatch, lambda: change(project))
    assert call(name, project, tmp_path / "out") == 7
    check_said(name, capsys.readouterr(), tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_writer_that_has_it_for_long(project, tmp_path, monkeypatch, capsys, name):
    """Nobody waits for one whose change may never come; if it comes, that is seen."""
    monkeypatch.setattr(locking, "WAIT_S", 0.02)
    swap(project)
    fs = blobdir.BlobDirFileSystem(project, skip_instance_cache=True)
    fs.start_transaction()
    assert call(name, project, tmp_path / "plain") == 0
    fs.rm("t/img/3.png")
    capsys.readouterr()
    when_opened(monkeypatch, fs.end_transaction)
    assert call(name, project, tmp_path / "out") == 7
    check_said(name, capsys.readouterr(), tmp_path)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("command", ["subset", "merge"])
def test_no_lock_can_be_made(project, tmp_path, monkeypatch, capsys, command, change):
    """A project that can be read here only, as on a read-only mount, and is changed by its owner for the first time."""
    ours = tmp_path / "ours"
    create_project(ours)
    before = {path: path.read_bytes() for path in ours.rglob("*") if path.is_file() and ".blobdir" not in path.parts}
    words = {"subset": ["subset", project, tmp_path / "out"], "merge": ["merge", ours, project]}[command]
    real, done = locking.changes, []

    def none_made(root, *, shared=False, make=True):
        return ProjectLock(root, shared=shared, make=make and not shared)

    def look(root):
        found = real(root)
        if str(root) == str(project) and not done:
            done.append(1)
            change(project)
        return found

    monkeypatch.setattr(locking, "ProjectLock", none_made)
    monkeypatch.setattr(locking, "changes", look)
    assert run([*map(str, words)]) == 7
    assert done
    assert "was changed while it was read" in capsys.readouterr().err
    assert not os.path.lexists(tmp_path / "out")
    assert before == {p: p.read_bytes() for p in ours.rglob("*") if p.is_file() and ".blobdir" not in p.parts}
    assert run([*map(str, words)]) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_another_folder_gets_its_name(project, tmp_path, monkeypatch, capsys, name):
    """As programs do that put a new release in the place of an old one; both were changed as often."""
    swap(project)
    shutil.copytree(project, tmp_path / "next")
    assert call(name, project, tmp_path / "plain") == 0
    capsys.readouterr()

    def release():
        os.rename(project, tmp_path / "last")
        os.rename(tmp_path / "next", project)

    when_opened(monkeypatch, release)
    assert call(name, project, tmp_path / "out") == 7
    check_said(name, capsys.readouterr(), tmp_path)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", FAR)
def test_one_behind_a_backend(project, tmp_path, bucket, monkeypatch, capsys, name, change):
    assert run(["push", "-q", str(project), "tested://up"]) == 0
    assert call(name, "tested://up", tmp_path / "plain") == 0
    change(project)
    capsys.readouterr()
    when_opened(monkeypatch, lambda: run(["push", "-q", "--delete", str(project), "tested://up"]))
    assert call(name, "tested://up", tmp_path / "out") == 7
    check_said(name, capsys.readouterr(), tmp_path)


def check_said(name, said, tmp_path):
    lines = [line for line in said.err.splitlines() if "was changed while it was read" in line]
    if name == "export" and not lines:
        assert "was removed after the project was opened" in said.err
        return
    assert ("copy it again, --force" if name in COPIES else "try again") in lines[-1]
    if name not in COPIES:
        assert said.out == ""
        assert not [path.name for path in tmp_path.iterdir() if path.name.startswith("out")]


def test_one_file_is_of_one_version(project, tmp_path, monkeypatch):
    when_opened(monkeypatch, lambda: swap(project))
    assert run(["cp", f"{project}/t/img/2.png", str(tmp_path / "out.png")]) == 0


def test_who_has_had_the_lock_and_changed_nothing(project, tmp_path, monkeypatch):
    def nothing():
        fs = blobdir.BlobDirFileSystem(project, skip_instance_cache=True)
        fs.start_transaction().complete(commit=False)

    when_opened(monkeypatch, nothing)
    assert call("unpack", project, tmp_path / "out") == 0


@pytest.mark.parametrize("locked", [False, True])
def test_convert_in_python(project, tmp_path, monkeypatch, locked):
    if locked:
        swap(project)
    real = fsspec.filesystem("blobdir", fo=str(project), skip_instance_cache=True).view
    busy = []

    def change(*_):
        try:
            swap(project)
        except BusyError as error:
            busy.append(error)

    monkeypatch.setattr("blobdir.converting.read_meta", lambda tree: (change(), META, "")[1:])
    options = ConvertOptions("yolo")
    if locked:
        assert convert(project, tmp_path / "out", options, tree=real).complete
        assert len(busy) == 1
    else:
        with pytest.raises(SourceChangedError, match="nothing was made"):
            convert(project, tmp_path / "out", options)
        assert not os.path.lexists(tmp_path / "out")
        shutil.rmtree(tmp_path / "source")


def test_an_image_to_mount(project, tmp_path, monkeypatch):
    """Labels are copied into it, and images found by what was opened before."""
    monkeypatch.setenv("BLOBDIR_CACHE_DIR", str(tmp_path / "cache"))
    swap(project)
    real, said = kernel.prepare, []

    def prepare(*args, **options):
        with pytest.raises(BusyError, match="somebody copies, checks or reads all of it"):
            swap(project)
        said.append(1)
        return real(*args, **options)

    monkeypatch.setattr(kernel, "prepare", prepare)
    tree = opening.open_tree(str(project))
    assert kernel.prepare_for(tree, MountOptions(), named=True).exists()
    assert said
    swap(project)


@pytest.mark.parametrize("has_lock", [True, False])
@pytest.mark.parametrize("way", ["{p}", "file://{p}", "local://{p}", "{link}"])
@pytest.mark.parametrize("what", ["convert", "mount"])
def test_what_was_opened_before_a_change(project, tmp_path, monkeypatch, what, way, has_lock):
    """Plain files are read as they are now, and images as they were."""
    monkeypatch.setenv("BLOBDIR_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "link").symlink_to(project)
    if has_lock:
        swap(project)
    url = way.format(p=project, link=tmp_path / "link")
    makes = {
        "convert": lambda tree: convert(url, tmp_path / "out", ConvertOptions("yolo"), tree=tree),
        "mount": lambda tree: kernel.prepare_for(tree, MountOptions(), named=True),
    }
    tree = opening.open_tree(url)
    swap(project)
    with pytest.raises(SourceChangedError, match="was changed since it was opened; open it again"):
        makes[what](tree)
    assert not os.path.lexists(tmp_path / "out")
    assert makes[what](opening.open_tree(url))
