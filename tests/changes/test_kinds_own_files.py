"""What is blobdir's own is removed by hand while a change is open, or after one was cut off ("a stale lock")."""

from __future__ import annotations

import errno
import os
import shutil
import time
import warnings

import pytest
from changes.test_kinds_saved import MINE, STEPS, Killed, cut_off, everything
from changes.test_kinds_witness import PNG, TICK_S, files, label, project, renamed

import blobdir
from blobdir.errors import BlobdirWarning, PackError, SourceChangedError
from blobdir.packing import growing, journal, journalfile, newfolder, recover, remove
from blobdir.packing.publishing import Change
from blobdir.verifying import verify

__all__ = ["project"]

OWN = {
    "the lock": lambda state: (state / "lock").unlink(),
    "all of it": shutil.rmtree,
    "what is staged": lambda state: shutil.rmtree(state / "staging"),
    "one staged file": lambda state: max((state / "staging").iterdir(), key=lambda path: int(path.name)).unlink(),
}


def opened(root):
    return blobdir.BlobDirFileSystem(root, skip_instance_cache=True)


def piped(root, path, data):
    fs = opened(root)
    with fs.transaction:
        fs.pipe(path, data)


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize("gone", OWN)
def test_while_a_change_is_open(project, gone, other):
    """It's refused, nothing of it is there, and what another one stages meanwhile isn't touched."""
    before = files(project)
    fs, theirs = opened(project), opened(project)

    def change():
        with fs.transaction:
            fs.pipe("t/img/n.png", PNG + b"first")
            fs.pipe("t/ann/n.png.json", label(b"first"))
            OWN[gone](project / ".blobdir")
            if not other or gone not in ("the lock", "all of it"):
                return
            theirs.start_transaction()
            theirs.pipe("v/img/m.png", PNG + b"second")
            theirs.pipe("v/ann/m.png.json", label(b"second"))
            fs.pipe("t/ann/b.png.json", label(b"first"))

    with pytest.raises(SourceChangedError, match=r"\.blobdir/.*: was removed while this change was prepared"):
        change()
    assert files(project) == before
    if theirs._intrans:
        theirs.end_transaction()
        assert opened(project).cat_file("v/img/m.png") == PNG + b"second"
        assert opened(project).cat_file("v/ann/m.png.json") == label(b"second")
    now = files(project)
    assert {path: now[path] for path in before if "pkl" not in path} == {
        path: data for path, data in before.items() if "pkl" not in path
    }
    remove(project, ["t/b.png"])


@pytest.mark.parametrize("gone", OWN)
def test_at_the_last_moment(project, monkeypatch, gone):
    """Between the checks and the journal."""
    before, real = files(project), Change._sync

    def sync(self, numbers):
        real(self, numbers)
        OWN[gone](project / ".blobdir")

    monkeypatch.setattr(Change, "_sync", sync)
    with pytest.raises(SourceChangedError, match="was removed while this change was prepared"):
        piped(project, "t/ann/a.png.json", label(b"new"))
    assert files(project) == before


@pytest.mark.parametrize("gone", ["what is staged", "one staged file"])
@pytest.mark.parametrize("step", STEPS)
def test_after_a_crash(tmp_path, project, monkeypatch, step, gone):
    """What can't be put any more isn't taken for put: then the change is undone, and no file is lost."""
    before, done = files(project), None
    outcomes = set()
    for after in range(30):
        copy = tmp_path / f"copy {after}"
        os.system(f"cp -a '{project}' '{copy}'")
        if cut_off(copy, step, after, monkeypatch):
            done = files(copy)
            break
        if list((copy / ".blobdir/staging").iterdir()):
            OWN[gone](copy / ".blobdir")
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            recover(copy)
        undone = [one for one in said if "couldn't be finished, and is undone" in str(one.message)]
        assert len(undone) == len(said) == (files(copy) == before)
        outcomes.add(tuple(sorted(files(copy).items())))
        assert not list((copy / ".blobdir").glob("saved-*"))
        assert not (copy / ".blobdir/journal.json").exists()
        verify(copy)
    assert done is not None
    assert outcomes <= {tuple(sorted(before.items())), tuple(sorted(done.items()))}
    assert tuple(sorted(before.items())) in outcomes


@pytest.mark.parametrize("kind", ["link", "file"])
@pytest.mark.parametrize("step", ["mv to a new dataset", "pipe into a new folder"])
def test_something_else_where_a_folder_was_to_be(tmp_path, project, monkeypatch, step, kind):
    """Nothing of the change was done, so there is nothing to undo, and what is there now stays."""
    monkeypatch.setitem(STEPS, "mv to a new dataset", (lambda fs: fs.mv("t/img/a.png", "q/img/a.png"), []))
    monkeypatch.setitem(STEPS, "pipe into a new folder", (lambda fs: fs.pipe("q/w/notes.txt", b"text"), []))
    before = files(project)
    assert not cut_off(project, step, 0, monkeypatch)
    (tmp_path / "elsewhere").mkdir()
    for path in sorted(project.glob("q/**/*"), reverse=True):
        path.rmdir()
    if (project / "q").exists():
        (project / "q").rmdir()
    if kind == "link":
        (project / "q").symlink_to("../elsewhere")
    else:
        (project / "q").write_bytes(MINE)
    recover(project)
    assert os.listdir(tmp_path / "elsewhere") == []
    (project / "q").unlink()
    assert files(project) == before
    assert not (project / ".blobdir/journal.json").exists()


@pytest.mark.parametrize("step", [name for name, (_, paths) in STEPS.items() if paths])
def test_a_full_disk_after_a_crash(project, monkeypatch, step):
    """What others have written is kept without room for anything."""
    path = STEPS[step][1][0]
    assert not cut_off(project, step, 0, monkeypatch)
    (project / path).parent.mkdir(exist_ok=True)
    renamed(project / path, MINE)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patches, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patches.setattr(journalfile, "write_whole", full)
        recover(project)
    now, saved = everything(project)
    assert MINE in {**now, **saved}.values()
    assert {one.name for one in (project / ".blobdir").iterdir()} <= {
        "lock",
        "released.json",
        *map(os.path.basename, saved),
    }


def test_killed_when_what_others_wrote_is_kept(project, monkeypatch):
    """From then on it only goes forward, whatever becomes of its files."""
    assert not cut_off(project, "mv of an image", 0, monkeypatch)
    for path in ("t/ann/a.png.json", "t/meta/a.png.json"):
        renamed(project / path, label(path.encode()))

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patches:
        patches.setattr(journal.Journal, "_keep_aside", kill)
        with pytest.raises(Killed):
            recover(project)
    assert (project / ".blobdir/done.json").exists()
    shutil.rmtree(project / ".blobdir/staging")
    with pytest.warns(BlobdirWarning, match="another program has written it"):
        recover(project)
    now, saved = everything(project)
    assert {label(b"t/ann/a.png.json"), label(b"t/meta/a.png.json")} <= {*saved.values()}
    assert "v/ann/z.png.json" in now
    assert sorted(one.name for one in (project / ".blobdir").iterdir() if not one.name.startswith("saved-")) == [
        "lock",
        "released.json",
    ]


COMES = {
    "a label": "t/ann/{}.png.json",
    "a label by the stem": "t/ann/{}.json",
    "meta": "t/meta/{}.png.json",
    "a mask": "t/masks_human/{}.png.png",
    "a mask in a folder": "t/masks_instances/{}.png/1.png",
}
LEAVES = {
    "mv of an image": lambda fs, name: fs.mv(f"t/img/{name}.png", "v/img/z.png"),
    "mv of a dataset": lambda fs, name: fs.mv("t", "q", recursive=True),
    "rm of an image": lambda fs, name: fs.rm(f"t/img/{name}.png"),
    "mv over an image": lambda fs, name: fs.mv(f"t/img/{name}.png", "v/img/c.png"),
}
NAMES = ["n", "s/n"]
"""Of an image, as it is in its dataset: folders below that of the images are classes, say."""


@pytest.fixture
def without_label(project):
    for name in NAMES:
        for path, data in {f"t/img/{name}.png": PNG + name.encode(), f"t/img/{name}2.png": PNG}.items():
            (project / path).parent.mkdir(exist_ok=True)
            (project / path).write_bytes(data)
        for side in ("ann", "meta", "masks_human"):
            (project / f"t/{side}/{name}2.png.json").parent.mkdir(parents=True, exist_ok=True)
            (project / f"t/{side}/{name}2.png.{'png' if side == 'masks_human' else 'json'}").write_bytes(label(b"2"))
    return project


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("comes", COMES)
@pytest.mark.parametrize("step", LEAVES)
def test_the_first_label_comes_while_its_image_goes(without_label, step, comes, name):
    """It would stay behind without an image, which would have got an empty one."""
    root, path = without_label, COMES[comes].format(name)
    fs = opened(root)
    before = files(root)
    time.sleep(TICK_S)

    def change():
        with fs.transaction:
            LEAVES[step](fs, name)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(MINE)

    with pytest.raises(SourceChangedError, match="another program"):
        change()
    assert files(root) == before | {path: MINE}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("comes", COMES)
@pytest.mark.parametrize("command", ["move", "remove"])
def test_the_first_label_comes_while_a_command_runs(without_label, monkeypatch, command, comes, name):
    root, path = without_label, COMES[comes].format(name)
    before, real = files(root), growing.belongings

    def belongings(*args):
        found = real(*args)
        if not (root / path).exists():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(MINE)
        return found

    time.sleep(TICK_S)
    monkeypatch.setattr(growing, "belongings", belongings)
    with pytest.raises(SourceChangedError, match="another program"):
        growing.move(root, [f"t/{name}.png"], "v") if command == "move" else remove(root, [f"t/{name}.png"])
    assert files(root) == before | {path: MINE}


@pytest.mark.parametrize("step", LEAVES)
def test_files_of_other_images_may_come(without_label, step):
    root = without_label
    fs = opened(root)
    time.sleep(TICK_S)
    with fs.transaction:
        LEAVES[step](fs, "n")
        if step != "mv of a dataset":
            (root / "t/ann/other.png.json").write_bytes(MINE)
            (root / "t/img_info").mkdir()
    assert not opened(root).exists("t/img/n.png")


def test_another_work_folder_is_left_alone(tmp_path):
    """Of who makes a project, if somebody has removed what is made and begun again."""
    with newfolder.NewFolder(tmp_path / "p", ".packing") as folder:
        shutil.rmtree(folder.work)
        folder.work.mkdir()
        with pytest.raises(PackError, match="was removed while it was made"):
            folder.publish()
    assert os.listdir(tmp_path) == ["p.packing"]


def test_another_work_folder_that_comes_while_it_is_synced(tmp_path, monkeypatch):
    with newfolder.NewFolder(tmp_path / "p", ".packing") as folder:

        def sync(path):
            shutil.rmtree(path)
            path.mkdir()

        monkeypatch.setattr(newfolder, "sync_filesystem", sync)
        with pytest.raises(PackError, match="was removed while it was made"):
            folder.publish()
    assert os.listdir(tmp_path) == ["p.packing"]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("said", [False, True])
def test_new_files_that_somebody_removes_when_all_is_done(tmp_path, project, monkeypatch, step, said):
    """The change was made in full, and an error may have said so: it isn't undone by that, and nothing else goes."""
    before, done = files(project), tmp_path / "done"
    os.system(f"cp -a '{project}' '{done}'")
    change(done, step)
    after = files(done)
    for number, path in enumerate(sorted(after.keys() - before.keys())):
        copy = tmp_path / f"copy {number}"
        os.system(f"cp -a '{project}' '{copy}'")

        def stop(state):
            raise OSError(errno.EIO, os.strerror(errno.EIO)) if said else Killed

        with monkeypatch.context() as patches:
            patches.setattr(journal, "_remove", stop)
            with pytest.raises((PackError, Killed)):
                change(copy, step)
        (copy / path).unlink()
        recover(copy)
        assert files(copy) == {one: data for one, data in after.items() if one != path}


@pytest.mark.parametrize("step", STEPS)
def test_new_files_that_somebody_removes_half_way(tmp_path, project, monkeypatch, step):
    """It goes on, if it's known that they were there; or back. It's never half of each."""
    before = files(project)
    change(project_copy := tmp_path / "done", step, project)
    done, number = files(project_copy), 0
    for after in range(30):
        for path in sorted(done.keys() - before.keys()):
            number += 1
            copy = tmp_path / f"copy {number}"
            os.system(f"cp -a '{project}' '{copy}'")
            if cut_off(copy, step, after, monkeypatch):
                return
            if not (copy / path).exists():
                continue
            (copy / path).unlink()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                recover(copy)
            assert files(copy) in ({one: data for one, data in done.items() if one != path}, before)


def change(root, step, source=None):
    if source is not None:
        os.system(f"cp -a '{source}' '{root}'")
    fs = opened(root)
    with fs.transaction:
        STEPS[step][0](fs)


@pytest.mark.parametrize("name", ["undo", "staging"])
def test_what_cant_be_removed_yet(project, monkeypatch, name):
    """On some disks (NFS, FUSE), a file that a reader has open stays under another name, and so does its folder."""
    real = shutil.rmtree

    def rmtree(path, *args, **options):
        if os.path.exists(path) and (os.path.basename(path) == name or "left-" in os.path.basename(path)):
            if options.get("ignore_errors"):
                return
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        real(path, *args, **options)

    with monkeypatch.context() as patches:
        patches.setattr(shutil, "rmtree", rmtree)
        remove(project, ["t/b.png"])
        remove(project, ["v/c.png"])
        remove(project, ["t/a.png"])
    assert list((project / ".blobdir").glob("left-*"))
    piped(project, "notes.txt", b"text")
    assert not list((project / ".blobdir").glob("left-*"))
    assert verify(project).errors == 0


RENAMED = {
    "the dataset": lambda root: os.rename(root / "t", root / "t2"),
    "its offsets": lambda root: os.rename(root / "t/of-t_offsets.pkl", root / "t/other_offsets.pkl"),
    "gone": lambda root: shutil.rmtree(root / "t"),
}


@pytest.mark.parametrize("what", RENAMED)
@pytest.mark.parametrize("way", ["rm", "mv", "remove", "move"])
def test_a_folder_is_renamed_meanwhile(project, monkeypatch, way, what):
    """What stays of it isn't written into a new folder of the old name."""

    def change():
        if way in ("rm", "mv"):
            fs = opened(project)
            with fs.transaction:
                fs.rm("t/img/a.png") if way == "rm" else fs.mv("t/img/a.png", "v/img/z.png")
                RENAMED[what](project)
            return
        real = Change._sync

        def sync(self, numbers):
            real(self, numbers)
            RENAMED[what](project)

        monkeypatch.setattr(Change, "_sync", sync)
        remove(project, ["t/a.png"]) if way == "remove" else growing.move(project, ["t/a.png"], "v")

    with pytest.raises((SourceChangedError, PackError)):
        change()
    assert not (project / "t/of-t_offsets.pkl").exists()
    assert not (project / ".blobdir/journal.json").exists()


def test_a_folder_is_renamed_before_anything_of_it_is_read(project, monkeypatch):
    real = growing.write_shard

    def write_shard(*args):
        found = real(*args)
        if (project / "t").exists():
            os.rename(project / "t", project / "t2")
        return found

    (project.parent / "new").mkdir()
    (project.parent / "new/n.png").write_bytes(PNG)
    monkeypatch.setattr(growing, "write_shard", write_shard)
    before = {path.removeprefix("t/"): data for path, data in files(project).items()}
    with pytest.raises((SourceChangedError, PackError)):
        growing.add(project, "t", [project.parent / "new/n.png"])
    assert {path.removeprefix("t2/"): data for path, data in files(project).items()} == before
