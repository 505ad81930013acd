"""What is made beside its place, and changed by another program before it gets its name: by kind, command and file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import fsspec
import pytest

import blobdir
from blobdir.cli import main
from blobdir.cli.copying import Destination
from blobdir.converting import ConvertOptions, convert
from blobdir.errors import BlobdirError, PackError
from blobdir.moving import fetch
from blobdir.packing import PackOptions, SubsetOptions, create_project, newfolder, pack, subset
from blobdir.packing.made import Made

PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)
LABEL = '{"size": {"height": 1, "width": 1}, "tags": [], "objects": []}'
MEMORY = "memory://made/p"
CHOICE = SubsetOptions(patterns=("train/?.png", "val/?.png"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    root = tmp_path_factory.mktemp("sources")
    for dataset in ("train", "val"):
        for base, folder in (("images", ""), ("regular", "img")):
            (root / base / dataset / folder).mkdir(parents=True)
            for number in range(3):
                (root / base / dataset / folder / f"{number}.png").write_bytes(PICTURE + dataset.encode())
        (root / "regular" / dataset / "ann").mkdir()
        for number in range(3):
            (root / "regular" / dataset / f"ann/{number}.png.json").write_text(LABEL)
    (root / "regular/meta.json").write_text('{"classes": [], "tags": [], "projectType": "images"}')
    pack(root / "regular", root / "p", PackOptions(processes=1))
    memory = fsspec.filesystem("memory")
    for path, data in files(root / "p").items():
        memory.pipe_file(f"/made/p/{path}", data)
    yield root
    memory.rm("/made", recursive=True)


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def packed(source, **options):
    def run(sources, target, resume):
        pack(sources / source, target, PackOptions(processes=1, **options), resume=resume)

    return run


COMMANDS = {
    "pack of images": packed("images"),
    "pack of images, labels packed": packed("images", annotations="packed"),
    "pack of a project": packed("regular"),
    "subset": lambda s, t, _: subset(s / "p", t, SubsetOptions(blobs="copy")),
    "subset, linked": lambda s, t, _: subset(s / "p", t),
    "fetch": lambda _, t, resume: fetch(MEMORY, t, resume=resume),
    "fetch of some": lambda _, t, resume: fetch(MEMORY, t, choose=CHOICE, resume=resume),
    "convert": lambda s, t, _: convert(s / "p", t, ConvertOptions("coco")),
    "create": lambda _s, t, _: create_project(t),
}
PROJECT = {"tar": "blob/train*.tar", "offsets": "train/*.pkl", "label": "train/ann/0*", "meta": "meta.json"}
SUMS = {"sums": "blob/SHA256SUMS"}


@pytest.fixture(scope="module")
def clean(sources, tmp_path_factory):
    """What each command makes where nobody else is at it."""
    root, found = tmp_path_factory.mktemp("clean"), {}
    for number, (command, run) in enumerate(COMMANDS.items()):
        run(sources, root / str(number), False)
        found[command] = files(root / str(number))
    return found


FILES = {
    "pack of images": PROJECT | SUMS,
    "pack of images, labels packed": {"tar": "train/ann.blob/*.tar", "offsets": "train/ann.blob/*.pkl"},
    "pack of a project": PROJECT | SUMS,
    "subset": PROJECT | SUMS,
    "subset, linked": {"tar": "blob/train*.tar"},
    "fetch": PROJECT | SUMS,
    "fetch of some": PROJECT | SUMS,
    "convert": {"image": "train/images/0.png", "labels": "train/annotations/*.json"},
    "create": {"meta": "meta.json"},
}


def cut(path, _):
    os.truncate(path, path.stat().st_size - 1)


def replaced(path, out):
    other = out / "other"
    other.write_bytes(bytes(path.stat().st_size))
    os.replace(other, path)


def written_to(path, _):
    with path.open("r+b") as file:
        file.write(b"\0")


def linked(path, out):
    shutil.move(path, out / "it")
    path.symlink_to(out / "it")


def made_a_folder(path, _):
    path.unlink()
    path.mkdir()


def folder_linked(path, out):
    shutil.move(path.parent, out / "folder")
    path.parent.symlink_to(out / "folder")


def folder_copied(path, out):
    shutil.copytree(path.parent, out / "folder")
    shutil.rmtree(path.parent)
    shutil.move(out / "folder", path.parent)


KINDS = {
    "removed": lambda path, _: path.unlink(),
    "cut": cut,
    "replaced": replaced,
    "written to": written_to,
    "moved away": lambda path, out: shutil.move(path, out / "it"),
    "a link": linked,
    "a folder": made_a_folder,
    "its folder a link": folder_linked,
    "its folder another one": folder_copied,
    "its folder removed": lambda path, _: shutil.rmtree(path.parent),
    "a stranger's file": lambda path, _: path.with_name(f"mine{path.suffix}").write_bytes(b"mine"),
    "a stranger's folder": lambda path, _: (path.parent / "mine/img").mkdir(parents=True),
    "a stranger's link": lambda path, out: path.with_name(f"mine{path.suffix}").symlink_to(out),
}
MANY = {"label", "image", "labels"}
"""Of these only the size is looked at."""


def applies(command, what, kind):
    if what in MANY and kind in ("replaced", "written to"):
        return False
    if "/" not in FILES[command][what] and kind.startswith("its folder"):
        return False  # for the work folder itself there are other tests
    return command != "subset, linked" or kind in ("removed", "replaced", "a link")  # it's the other project's, too


CASES = [(c, what, kind) for c, found in FILES.items() for what in found for kind in KINDS if applies(c, what, kind)]


def meanwhile(monkeypatch, do):
    """Have something done when all is written, and brought to the disk."""
    real, done = newfolder.sync_filesystem, []

    def sync(path):
        if not done:
            done.append(do(path))

    monkeypatch.setattr(newfolder, "sync_filesystem", sync)
    return lambda: monkeypatch.setattr(newfolder, "sync_filesystem", real)


@pytest.mark.parametrize(("command", "what", "kind"), CASES)
def test_it_does_not_appear(sources, tmp_path, monkeypatch, clean, command, what, kind):
    pattern = FILES[command][what]
    out = tmp_path / "out"
    out.mkdir()
    run, target = COMMANDS[command], tmp_path / "new"
    named = []

    def do(work):
        path = next(iter(sorted(work.glob(pattern))))
        named.append(path)
        KINDS[kind](path, out)

    undo = meanwhile(monkeypatch, do)
    with pytest.raises(PackError, match="by another program") as found:
        run(sources, target, False)
    undo()
    said = str(found.value)
    assert str(named[0].parent) in said
    assert not target.exists()
    if kind.startswith("a stranger"):
        assert "mine" in said
        assert os.path.lexists(named[0].with_name("mine" if "folder" in kind else f"mine{named[0].suffix}"))
    if kind == "cut":
        run(sources, target, True)
        assert files(target) == clean[command]


STRANGERS = {
    "pack of images": "train",
    "subset": "train",
    "fetch": "blob",
    "fetch of some": "train",
    "convert": "train",
}


@pytest.mark.parametrize("cut_too", [False, True])
@pytest.mark.parametrize("command", STRANGERS)
def test_files_of_others_are_named_and_stay(sources, tmp_path, monkeypatch, clean, command, cut_too):
    """All of them, however often it's tried; when they are away, it goes on."""
    run, target, mine = COMMANDS[command], tmp_path / "new", []

    def do(work):
        first, *_ = sorted(path for path in (work / STRANGERS[command]).rglob("*") if path.is_file())
        if cut_too:
            cut(first, None)
        mine.extend([work / "mine/notes.txt", work / STRANGERS[command] / "mine.tar", first.with_name("theirs.json")])
        (work / "mine").mkdir()
        for path in mine:
            path.write_text("the only copy")

    undo = meanwhile(monkeypatch, do)
    for resume in (False, True, True):
        with pytest.raises(PackError, match="by another program") as found:
            run(sources, target, resume)
        assert all(part in str(found.value) for part in ("mine", "mine.tar", "theirs.json"))
        assert [path.read_text() for path in mine] == ["the only copy"] * 3
        undo()
    for path in mine:
        path.unlink()
    mine[0].parent.rmdir()
    run(sources, target, True)
    assert files(target) == clean[command]


def test_no_more_than_ten_are_named(sources, tmp_path, monkeypatch):
    meanwhile(monkeypatch, lambda work: [(work / f"train/{n:02}.txt").touch() for n in range(12)])
    with pytest.raises(PackError, match=r"/train/00.txt, train/01.txt.*, train/09.txt and 2 more: was put there"):
        COMMANDS["pack of images"](sources, tmp_path / "new", False)


FOLDERS = {
    "pack of images": ["blob", "train", "train/ann", ".blobdir/packing", ".blobdir"],
    "pack of images, labels packed": ["train/ann.blob", ".blobdir/packing"],
    "pack of a project": ["blob", "train", "train/ann", ".blobdir/packing"],
    "subset": ["blob", "train", "train/ann"],
    "fetch": ["blob", "train", "train/ann", ".blobdir/fetching"],
    "fetch of some": ["blob", "train", "train/ann", ".blobdir/fetching"],
    "convert": ["train/images", "train/annotations", "train"],
    "create": ["blob"],
}


@pytest.mark.parametrize(("command", "folder"), [(c, f) for c, folders in FOLDERS.items() for f in folders])
@pytest.mark.parametrize("empty", [True, False])
def test_nothing_is_written_through_a_link(sources, tmp_path, monkeypatch, command, folder, empty):
    """One in the place of a folder as soon as that was made; to an empty place, or to the folder itself."""
    out, aside, real, swapped = tmp_path / "out", tmp_path / "aside", Made.fd, []
    out.mkdir()

    def fd(self, path):
        found = real(self, path)
        if swapped or path != folder:
            return found
        swapped.append(os.dup(found))
        os.rename(self.full(folder), aside)
        Path(self.full(folder)).symlink_to(out if empty else aside)
        self.close()  # as if many others had been opened since
        return swapped[0]

    monkeypatch.setattr(Made, "fd", fd)
    with pytest.raises((BlobdirError, OSError), match=f"{folder}.*(by another program|was removed)"):
        COMMANDS[command](sources, tmp_path / "new", False)
    os.close(swapped[0])
    assert not (tmp_path / "new").exists()
    assert not list(out.iterdir())


LEFT_ANYWHERE = [
    ".DS_Store", ".a.json.swp", "a.json.swp", "a.json~", "#a.json#", "4913", "core", "core.1", "@eaDir/a",
    "lost+found/a", "$RECYCLE.BIN/a", "System Volume Information/a",
]  # fmt: skip


@pytest.mark.parametrize("name", LEFT_ANYWHERE)
@pytest.mark.parametrize("command", ["pack of images", "subset", "fetch"])
def test_what_systems_and_editors_leave_may_come(sources, tmp_path, monkeypatch, command, name):
    def do(work):
        for place in ("", "train", "train/ann"):
            path = work / place / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"junk")

    meanwhile(monkeypatch, do)
    COMMANDS[command](sources, tmp_path / "new", False)
    assert (tmp_path / "new/meta.json").exists()
    fs = blobdir.BlobDirFileSystem(tmp_path / "new", skip_instance_cache=True)
    assert sorted(fs.ls("train/img", detail=False)) == [f"train/img/{n}.png" for n in range(3)]


@pytest.mark.parametrize("what", ["", "blob"])
def test_errors_name_no_internal_files(sources, tmp_path, monkeypatch, what):
    """Where the folder was swapped for a copy while it was written."""
    real, swapped = Made.write, []

    def write(self, path, pieces):
        if not swapped and path.startswith("train/"):
            swapped.append(path)
            place = Path(self.full(what))
            shutil.copytree(place, tmp_path / "copy")
            shutil.rmtree(place)
            shutil.move(tmp_path / "copy", place)
        return real(self, path, pieces)

    monkeypatch.setattr(Made, "write", write)
    with pytest.raises(BlobdirError) as found:
        COMMANDS["pack of images"](sources, tmp_path / "new", False)
    assert str(found.value).startswith(f"{tmp_path}/new")
    assert swapped


@pytest.mark.parametrize("what", ["tar", "offsets", "meta", "sums"])
@pytest.mark.parametrize("command", ["pack of images", "pack of a project", "fetch"])
def test_a_backup_changes_nothing(sources, tmp_path, monkeypatch, command, what):
    """Times and links change by one; the same bytes in another file are as good."""

    def do(work):
        path = next(work.glob(PROJECT[what] if what in PROJECT else SUMS[what]))
        if command == "fetch" and what == "tar":
            return  # of which no checksum may be known
        shutil.copy(path, tmp_path / "copy")
        os.replace(tmp_path / "copy", path)

    meanwhile(monkeypatch, do)
    COMMANDS[command](sources, tmp_path / "new", False)
    assert (tmp_path / "new/meta.json").exists()


@pytest.mark.parametrize("kind", ["cut", "replaced", "written to", "removed", "a link"])
@pytest.mark.parametrize("what", ["tar", "offsets", "label", "meta", "sums"])
@pytest.mark.parametrize("command", ["pack of images", "pack of a project", "fetch"])
def test_what_was_left_and_changed_is_not_taken(sources, tmp_path, monkeypatch, clean, command, what, kind):
    out = tmp_path / "out"
    out.mkdir()

    def stop(_):
        raise KeyboardInterrupt

    undo = meanwhile(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        COMMANDS[command](sources, tmp_path / "new", False)
    undo()
    work = next(path for path in tmp_path.iterdir() if path.name.startswith("new."))
    KINDS[kind](next(work.glob((PROJECT | SUMS)[what])), out)
    COMMANDS[command](sources, tmp_path / "new", True)
    assert files(tmp_path / "new") == clean[command]
    assert not list(out.iterdir()) or kind == "a link"


@pytest.mark.parametrize("kind", ["removed", "cut", "moved away", "a link", "its folder a link", "its folder removed"])
@pytest.mark.parametrize("command", [["unpack"], ["cp", "-r"]])
def test_files_that_are_gone_when_all_is_copied(sources, tmp_path, monkeypatch, capsys, command, kind):
    out, target, real = tmp_path / "out", tmp_path / "new", Destination.sync
    out.mkdir()

    def sync(self, paths):
        KINDS[kind](target / "train/ann/0.png.json", out)
        return real(self, paths)

    monkeypatch.setattr(Destination, "sync", sync)
    with pytest.raises(SystemExit) as ended:
        main([*command, str(sources / "p"), str(target), "-q"])
    assert ended.value.code == 7
    said = capsys.readouterr().err
    assert "train/ann/0.png.json: was copied, but is gone" in said
    assert "train/img/0.png" not in said


@pytest.mark.parametrize("step", ["written", "published"])
@pytest.mark.parametrize("gone", [False, True])
def test_what_is_left_is_said_though_the_folder_got_another_name(tmp_path, step, gone):
    (tmp_path / "t").mkdir()
    said = {
        "written": ["what is done stays in p.packing", "nothing was left behind"],
        "published": ["got another name", "was removed while it was made"],
    }[step][gone]

    def make():
        with newfolder.NewFolder(tmp_path / "t/p", ".packing") as folder:
            shutil.rmtree(tmp_path / "t") if gone else os.rename(tmp_path / "t", tmp_path / "t2")
            (folder.work / "a").write_bytes(b"") if step == "written" else folder.publish()

    with pytest.raises(PackError, match=said):
        make()
