"""Files that somebody writes between the moment when a change is decided and its end, perhaps hours after a crash."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from fnmatch import fnmatch

import pytest
from changes.test_kinds_witness import files, in_place, label, project, renamed

import blobdir
from blobdir.durable import rename_new
from blobdir.errors import BlobdirWarning
from blobdir.packing import folders, journal, recover, remove
from blobdir.verifying import verify

__all__ = ["project"]

STEPS = {
    "pipe over a label": (lambda fs: fs.pipe("t/ann/a.png.json", label(b"hers")), ["t/ann/a.png.json"]),
    "rm of an image": (lambda fs: fs.rm("t/img/a.png"), ["t/ann/a.png.json", "t/meta/a.png.json"]),
    "mv of an image": (
        lambda fs: fs.mv("t/img/a.png", "v/img/z.png"),
        ["t/ann/a.png.json", "v/ann/z.png.json", "t/meta/a.png.json"],
    ),
    "pipe of a file": (lambda fs: fs.pipe("notes.txt", b"hers"), ["notes.txt"]),
    "pipe over meta.json": (
        lambda fs: fs.pipe("meta.json", b'{"classes": [], "tags": [], "projectType": "images", "more": 1}'),
        ["meta.json"],
    ),
    "rm of a dataset": (lambda fs: fs.rm("t", recursive=True), ["t/ann/b.png.json", "t/meta/b.png.json"]),
}
CASES = [(name, path) for name, (_, paths) in STEPS.items() for path in paths]
MINE = label(b"mine, written after the crash")


class Killed(BaseException):
    """What nobody expects."""


def kill_after(renames, patches):
    """Have a process be killed by the next rename after some, of either kind."""
    left = [renames]

    def counted(real):
        def rename(*args, **options):
            if not left[0]:
                raise Killed
            left[0] -= 1
            return real(*args, **options)

        return rename

    patches.setattr(os, "rename", counted(os.rename))
    patches.setattr(journal, "rename_new", counted(rename_new))


def cut_off(root, step, after, monkeypatch):
    """Make a change that is killed after some renames, once it's decided."""
    fs = blobdir.BlobDirFileSystem(root, skip_instance_cache=True)
    real_run = journal.Journal.run

    def run(self, place):
        with pytest.MonkeyPatch.context() as patches:
            kill_after(after, patches)
            real_run(self, place)

    def change():
        with fs.transaction:
            STEPS[step][0](fs)

    with monkeypatch.context() as patches:
        patches.setattr(journal.Journal, "run", run)
        try:
            change()
        except Killed:
            return False
    return True


def fail_once(patches):
    """Have the last step of a change fail, so that it's undone."""
    real = folders.Folders.sync

    def sync(self):
        patches.setattr(folders.Folders, "sync", real)
        raise OSError(5, "Input/output error")

    patches.setattr(folders.Folders, "sync", sync)


def everything(root):
    """All files, with those that were saved."""
    state = root / ".blobdir"
    saved = {f".blobdir/{path.name}": path.read_bytes() for path in state.glob("saved-*")}
    return files(root), saved


@pytest.mark.parametrize("write", [renamed, in_place])
@pytest.mark.parametrize("way", ["forward", "back"])
@pytest.mark.parametrize(("step", "path"), CASES)
def test_what_is_written_after_a_crash(tmp_path, project, monkeypatch, step, path, way, write):
    """It's where it was written, or kept aside, and said; all other files are as before the change, or as after it."""
    before = files(project)
    for after in range(30):
        copy = tmp_path / f"copy {after}"
        os.system(f"cp -a '{project}' '{copy}'")
        if cut_off(copy, step, after, monkeypatch):
            break
        there = (copy / path).exists()
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (write if there else renamed)(copy / path, MINE)
        with monkeypatch.context() as patches, warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if way == "back":
                fail_once(patches)
            recover(copy)
        now, saved = everything(copy)
        assert MINE in {**now, **saved}.values(), (after, "lost")
        assert len(saved) <= 1
        if saved:
            ((kept, data),) = saved.items()
            texts = [str(one.message) for one in said if issubclass(one.category, BlobdirWarning)]
            assert any(f"{copy}/{path}: another program has written it" in text and kept in text for text in texts)
            assert data == MINE
        others = {name: data for name, data in now.items() if name != path}
        if way == "back":
            assert others == {name: data for name, data in before.items() if name != path}
        assert not (copy / ".blobdir/journal.json").exists()
        remove(copy, ["v/c.png"])  # others can go on
    else:
        pytest.fail("never came to its end")
    assert after > 0


def test_many_of_one_name(project, monkeypatch):
    for number in range(3):
        assert not cut_off(project, "pipe over a label", 0, monkeypatch)
        renamed(project / "t/ann/a.png.json", label(b"%d" % number))
        with pytest.warns(BlobdirWarning, match=r"kept as .blobdir/saved-"):
            recover(project)
    report = verify(project)
    named = {finding.path for finding in report.findings if finding.code == "file-saved"}
    kept = {path.name: path.read_bytes() for path in (project / ".blobdir").glob("saved-*")}
    assert named == {f".blobdir/{name}" for name in kept}
    names = ("saved-a.png.json", "saved-1-a.png.json", "saved-2-a.png.json")
    assert kept == {name: label(b"%d" % number) for number, name in enumerate(names)}


def test_a_name_of_255_bytes(tmp_path, monkeypatch):
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        name = "é" * 120 + "x" * 10 + ".json"
        kept = journal._free_name(name, fd)
        assert len(os.fsencode(kept)) == 255 and kept.startswith("saved-é")
        (tmp_path / kept).touch()
        assert journal._free_name(name, fd) != kept
    finally:
        os.close(fd)


def test_journals_of_older_versions(project, monkeypatch):
    """They say no versions: what they were written for happens."""
    real = journal.Journal._content

    def content(self):
        return real(replace(self, versions={}, inodes={})).replace(b', "versions": {}, "inodes": {}', b"")

    with monkeypatch.context() as patches:
        patches.setattr(journal.Journal, "_content", content)
        assert not cut_off(project, "pipe over a label", 0, monkeypatch)
    assert b"versions" not in (project / ".blobdir/journal.json").read_bytes()
    recover(project)
    assert (project / "t/ann/a.png.json").read_bytes() == label(b"hers")
    assert not list((project / ".blobdir").glob("saved-*"))


@pytest.mark.parametrize(("step", "after"), [("pipe over a label", 0), ("rm of an image", 0), ("rm of an image", 1)])
def test_a_folder_that_is_put_there(project, monkeypatch, step, after):
    """With all that is in it."""
    assert not cut_off(project, step, after, monkeypatch)
    path = project / "t/ann/a.png.json"
    path.unlink(missing_ok=True)
    (path / "deep").mkdir(parents=True)
    (path / "deep/mine.txt").write_bytes(MINE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recover(project)
    found = [one for one in project.rglob("mine.txt") if one.read_bytes() == MINE]
    assert len(found) == 1
    assert ".blobdir/undo" not in str(found[0])


@pytest.mark.parametrize("step", ["pipe over a label", "rm of an image", "mv of an image"])
def test_a_folder_that_goes_back(project, monkeypatch, step):
    """It was put where a file was to go; then a step fails, and all is undone."""
    assert not cut_off(project, step, 0, monkeypatch)
    path = project / "t/ann/a.png.json"
    path.unlink()
    path.mkdir()
    (path / "mine.txt").write_bytes(MINE)
    with monkeypatch.context() as patches, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fail_once(patches)
        recover(project)
    (mine,) = project.rglob("mine.txt")  # where it was put, or with what was saved
    assert mine.read_bytes() == MINE
    assert not (project / ".blobdir/journal.json").exists()
    remove(project, ["v/c.png"])


def test_a_folder_and_then_a_file(project, monkeypatch):
    """Both are somebody's, and the change is undone."""
    assert not cut_off(project, "pipe over a label", 0, monkeypatch)
    path = project / "t/ann/a.png.json"
    path.unlink()
    path.mkdir()
    (path / "mine.txt").write_bytes(b"in a folder")
    real_keep = journal._keep

    def keep(name, fd, kept, undo):
        real_keep(name, fd, kept, undo)
        if kept.isdecimal():
            raise OSError(5, "Input/output error")

    for kept in (project / ".blobdir/undo").iterdir():
        kept.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with monkeypatch.context() as patches:
            patches.setattr(journal, "_keep", keep)
            patches.setattr(journal.Journal, "_undo", lambda *_: (_ for _ in ()).throw(Killed()))
            with pytest.raises(Killed):
                recover(project)
        assert not path.exists()
        path.write_bytes(MINE)

        monkeypatch.setattr(journal, "_is_file", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        recover(project)
    everywhere = {one.read_bytes() for one in project.rglob("*") if one.is_file()}
    assert {b"in a folder", MINE} <= everywhere


def test_warnings_that_are_errors(project, monkeypatch):
    """The change was made, and says so."""
    assert not cut_off(project, "mv of an image", 0, monkeypatch)
    for path in ("t/ann/a.png.json", "t/meta/a.png.json"):
        renamed(project / path, label(path.encode()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            BlobdirWarning, match=r"a\.png\.json: another program .*; and 1 more file, as `blobdir verify` says"
        ):
            recover(project)
    assert not (project / ".blobdir/journal.json").exists()
    assert len(list((project / ".blobdir").glob("saved-*"))) == 2
    remove(project, ["v/c.png"])


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("step", ["pipe over a label", "rm of an image", "mv of an image"])
def test_what_was_saved_cannot_go_back(tmp_path, project, monkeypatch, step, links):
    """It's cut off once more when it has saved a file; then a step fails: the change isn't half undone."""
    before, made = files(project), tmp_path / "made"
    os.system(f"cp -a '{project}' '{made}'")
    assert cut_off(made, step, 99, monkeypatch)
    assert not cut_off(project, step, 0, monkeypatch)
    renamed(project / "t/ann/a.png.json", MINE)

    def killed(state):
        raise Killed

    def no_links(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with monkeypatch.context() as patches:
            patches.setattr(journal, "_remove", killed)
            patches.setattr(os, "link", os.link if links else no_links)
            with pytest.raises(Killed):
                recover(project)
        fail_once(monkeypatch)
        recover(project)
    now, saved = everything(project)
    assert MINE in {**now, **saved}.values()
    outcomes = [{name: data for name, data in one.items() if now.get(name) != MINE} for one in (before, files(made))]
    assert {name: data for name, data in now.items() if data != MINE} in outcomes  # in full, either way


@pytest.mark.parametrize("step", ["rm of a dataset", "mv of an image"])
def test_one_file_by_two_names(project, monkeypatch, step):
    """As where equal files were linked to save room: both names may go, and what was written into them is lost then."""
    first, second = project / "t/ann/a.png.json", project / "t/meta/a.png.json"
    second.unlink()
    os.link(first, second)
    assert not cut_off(project, step, 0, monkeypatch)
    in_place(first, MINE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recover(project)
    now, saved = everything(project)
    assert MINE in {**now, **saved}.values()
    if step == "rm of a dataset":
        assert list(saved.values()) == [MINE]


@pytest.mark.parametrize("way", ["forward", "back"])
@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_saved_where_nobody_has_written(tmp_path, project, monkeypatch, step, way):
    for after in range(30):
        copy = tmp_path / f"copy {after}"
        os.system(f"cp -a '{project}' '{copy}'")
        if cut_off(copy, step, after, monkeypatch):
            break
        with monkeypatch.context() as patches, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if way == "back":
                fail_once(patches)
            recover(copy)
        now, saved = everything(copy)
        assert not saved, after
        if way == "back":
            assert now == files(project)


NEW = {
    "mv of an image": ["v/ann/z.png.json", "v/meta/z.png.json"],
    "pipe of a file": ["notes.txt"],
    "mv of a dataset": ["q/ann/a.png.json", "q/meta/b.png.json", "q/*_offsets.pkl"],
}


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without"])
@pytest.mark.parametrize(("step", "path"), [(step, path) for step, paths in NEW.items() for path in paths])
def test_a_file_that_comes_just_before_a_new_one_is_put_there(project, monkeypatch, step, path, links):
    """Between the last look at the place and the rename: it isn't replaced without a word."""
    fs = blobdir.BlobDirFileSystem(project, skip_instance_cache=True)
    came = []

    def rename(source, target, *, dst_dir_fd, **options):
        place = project / os.readlink(f"/proc/self/fd/{dst_dir_fd}") / target
        if fnmatch(str(place), str(project / path)) and not came:
            came.append(place.relative_to(project))
            renamed(place, MINE)
        return rename_new(source, target, dst_dir_fd=dst_dir_fd, **options)

    def no_links(source, *_, src_dir_fd, **__):
        os.stat(source, dir_fd=src_dir_fd, follow_symlinks=False)
        raise PermissionError(1, "Operation not permitted")

    steps = {name: run for name, (run, _) in STEPS.items()}
    steps["mv of a dataset"] = lambda fs: fs.mv("t", "q", recursive=True)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with monkeypatch.context() as patches:
            patches.setattr(journal, "rename_new", rename)
            if not links:
                patches.setattr(os, "link", no_links)
            with fs.transaction:
                steps[step](fs)
    now, saved = everything(project)
    assert list(saved.values()) == [MINE]
    assert str(came[0]) in now
    assert any(str(came[0]) in str(one.message) for one in told)
