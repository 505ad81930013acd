"""Files that commands put into a project, as any program would: never where a blob has that name already."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import fsspec
import pytest
from changes.looking import faults, shown
from changes.samples import annotation, files_below, files_of, packed, picture, with_side_files, write

import blobdir
from blobdir.cli.app import run
from blobdir.errors import UsageError
from blobdir.moving import push

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

IMAGES = {"train/1.png": picture(1), "train/2.png": picture(2), "train/datasets/deep/d.png": picture("d")}


@pytest.fixture(params=["loose", "packed"])
def root(request, tmp_path):
    root = packed(tmp_path / "p", with_side_files(files_of(IMAGES)), annotations=request.param)
    (root / "train/img").mkdir(exist_ok=True)
    return root


@pytest.fixture
def other(tmp_path):
    return packed(tmp_path / "other", {"cats/c.png": picture("c"), "cats/d.png": picture("d")})


def _refused(words):
    status = run([str(word) for word in words])
    if status == 2:
        raise UsageError("see what was said")
    assert status == 0


def _filesystem(project):
    return fsspec.filesystem("blobdir", fo=str(project), skip_instance_cache=True)


WAYS = {
    "cp": lambda other, place: _refused(["cp", f"{other}/cats/img/c.png", place]),
    "cp --force": lambda other, place: _refused(["cp", "-f", f"{other}/cats/img/c.png", place]),
    "get": lambda other, place: _filesystem(other).get("cats/img/c.png", str(place)),
    "get of a list": lambda other, place: _filesystem(other).get(["cats/img/c.png"], [str(place)]),
    "get_file": lambda other, place: _filesystem(other).get_file("cats/img/c.png", place),
    "download": lambda other, place: _filesystem(other).download("cats/img/c.png", str(place)),
    "preview": lambda other, place: _refused(["preview", other, "-o", place]),
    "stats": lambda other, place: _refused(["stats", other, "--plot", place]),
    "export": lambda other, place: _refused(["export", "erofs", other, "-o", place]),
    "export --replace": lambda other, place: _refused(["export", "erofs", other, "-o", place, "--replace"]),
}
KNOWN = ("train/img/2.png", "train/datasets/deep/img/d.png", "train/img/2.png/x.png")


@pytest.mark.parametrize("through", ["", "a link to the folder", "a link to the project", "a link to the file"])
@pytest.mark.parametrize("path", KNOWN)
@pytest.mark.parametrize("way", WAYS)
def test_no_second_one_is_put_beside_a_members(root, other, tmp_path, capfd, way, path, through):
    place = root / path
    if through == "a link to the file":
        os.symlink(place, place := tmp_path / "link.png")
        if way.startswith("cp"):  # the link itself is replaced
            return
    elif through == "a link to the project":
        os.symlink(root, tmp_path / "link")
        place = tmp_path / "link" / path
    elif through:
        os.symlink((root / path).parent.parent, tmp_path / "link")
        place = tmp_path / "link" / Path(path).parent.name / Path(path).name
    before = files_below(root)
    if "x.png" not in path:
        place.parent.mkdir(parents=True, exist_ok=True)
    with pytest.raises(UsageError) as error:
        WAYS[way](other, place)
    said = f"{error.value}{capfd.readouterr().err}"
    if "x.png" not in path or not way.startswith("export"):
        assert " in the project " in said
        assert "blobdir add --replace" in said
    assert files_below(root) == before
    assert faults(root) == []


@pytest.mark.parametrize("way", ["cp", "get", "get_file"])
def test_no_second_label_is_put_beside_a_packed_one(tmp_path, other, way):
    root = packed(tmp_path / "p", files_of(IMAGES), annotations="packed")
    (root / "train/ann").mkdir(exist_ok=True)
    with pytest.raises(UsageError):
        WAYS[way](other, root / "train/ann/1.png.json")
    assert not (root / "train/ann/1.png.json").exists()


@pytest.mark.parametrize("way", ["cp --force", "get", "get_file", "export --replace"])
@pytest.mark.parametrize("kind", ["a blob", "offsets", "state", "a file that a blob has too", "a folder"])
def test_what_is_there_and_not_shown_is_not_replaced(root, other, way, kind):
    if kind == "a file that a blob has too":
        place = write(root / "train/img/1.png", IMAGES["train/1.png"])
    elif kind == "a folder":
        place = root / "train/img/1"
        (root / "train/img/1").mkdir()
    elif kind == "state":
        place = write(root / ".blobdir/journal-of-old.json", b"{}")
    else:
        place = next(root.glob("blob/*.tar" if kind == "a blob" else "train/*_offsets.pkl"))
    before = files_below(root)
    if kind == "a folder" and way in ("cp --force", "get"):  # it's put into it
        WAYS[way](other, place)
        assert shown(root)["train/img/1/c.png"] == picture("c")
        return
    with pytest.raises((UsageError, IsADirectoryError)):
        WAYS[way](other, place)
    assert files_below(root) == before


@pytest.mark.parametrize("name", ["", "/x.png", "/released.json", "/journal.json", "/lock", "/staging/x.png"])
@pytest.mark.parametrize("through", ["", "a link to the folder", "a link to the project"])
@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_put_where_only_blobdir_writes(root, other, tmp_path, way, name, through):
    """Whether anything is there by now or not; but for formats that a command doesn't write."""
    state = root / ".blobdir"
    if through == "a link to the project":
        os.symlink(root, tmp_path / "link")
        state = tmp_path / "link/.blobdir"
    elif through:
        if not name:
            return
        state.mkdir(exist_ok=True)
        os.symlink(root / ".blobdir", tmp_path / "link")
        state = tmp_path / "link"
    before = sorted((path, path.read_bytes() if path.is_file() else None) for path in root.rglob("*"))
    with pytest.raises(UsageError):
        WAYS[way](other, Path(f"{state}{name}"))
    assert sorted((path, path.read_bytes() if path.is_file() else None) for path in root.rglob("*")) == before


@pytest.mark.parametrize("path", ["train/img/new.png", "train/img/sub/new.png", "notes/sheet.png", "new/img/a.png"])
@pytest.mark.parametrize("way", WAYS)
def test_new_files_can_be_put_into_a_project(root, other, way, path):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    WAYS[way](other, root / path)
    assert (root / path).exists()
    assert path in shown(root)
    if way not in ("cp", "export"):  # and again: it's a plain file, and nobody else's
        WAYS[way](other, root / path)


@pytest.mark.parametrize("way", ["cp", "get", "get_file", "preview", "stats"])
def test_what_lies_in_no_blob_project(tmp_path, other, way):
    (tmp_path / "meta.json").write_text("{}")
    write(tmp_path / "plain/meta.json", b"{}")
    for place in (tmp_path / "out/c.png", tmp_path / "plain/ds/img/c.png"):
        place.parent.mkdir(parents=True)
        WAYS[way](other, place)
        assert place.exists()


def test_a_folder_is_refused_before_its_first_file(root, other):
    write(root / "copied/img/z.png", b"z")
    before = files_below(root)
    filesystem = _filesystem(other)
    with pytest.raises(UsageError):
        filesystem.get(["cats/img/c.png", "cats/img/d.png"], [str(root / "new.png"), str(root / "train/img/2.png")])
    assert files_below(root) == before


@pytest.mark.parametrize("where", ["memory", "s3"])
def test_into_a_pushed_project(request, root, other, tmp_path, capfd, where):
    options = request.getfixturevalue("s3") if where == "s3" else {}
    name = f"put{abs(hash(tmp_path.name))}"
    if options:
        fsspec.filesystem("s3", **options).mkdir(name)
    url = f"{where}://{name}/p"
    words = [part for key, value in options.items() for part in ("--storage-option", f"{key}={value}")]
    push(root, url, storage_options=options)
    source = f"{other}/cats/img/c.png"
    assert run(["cp", "-f", source, f"{url}/train/img/2.png", *words]) == 2
    assert f"{url}/train/img/2.png: train/img/2.png is there already, in blob/" in capfd.readouterr().err
    assert run(["cp", "-f", source, source.replace("/c.", "/d."), f"{url}/train/img/", *words]) == 0
    assert run(["cp", source, f"{url}/new.png", *words]) == 0
    with fsspec.open(f"{url}/train/img/d.png", **options) as file:
        assert file.read() == picture("d")


# -- offsets ---------------------------------------------------------------------------------------------------


def _tar(path, files):
    with tarfile.open(path, "w") as tar:
        for number, (name, data) in enumerate(files.items()):
            tar.add(write(path.with_name(f"{path.stem}-{number}"), data), name)
    return path


@pytest.mark.parametrize("theirs", ["blob", "file"])
@pytest.mark.parametrize("size", ["same", "other"])
def test_offsets_that_would_make_a_conflict(root, tmp_path, capfd, theirs, size):
    taken = "2.png"
    if theirs == "file":
        write(root / "train/img/9.png", picture(9))
        write(root / "train/ann/9.png.json", annotation("9"))
        taken = "9.png"
    data = picture("another")
    there = shown(root)[f"train/img/{taken}"]
    data = bytes([*there[:-1], there[-1] ^ 1]) if size == "same" else data + b"more"
    tar = _tar(root / "blob/new.tar", {"n.png": picture("n"), f"s/{taken}": data})
    for left in root.glob("blob/new-*"):
        left.unlink()
    before = files_below(root)
    assert run(["offsets", "-q", "-o", str(root / "train"), str(tar)]) == 2
    assert f"train/img/{taken} is in the project" in capfd.readouterr().err
    assert files_below(root) == before
    assert run(["offsets", "-q", "--filter", "n.png", "-o", str(root / "train"), str(tar)]) == 0
    assert shown(root)["train/img/n.png"] == picture("n")


def test_offsets_written_anew_and_doubles_of_the_same_bytes(root):
    for pickle in root.glob("train/*_offsets.pkl"):
        tar = root / "blob" / f"{pickle.name.removesuffix('_offsets.pkl')}.tar"
        pickle.write_bytes(pickle.read_bytes()[:40])
        assert run(["offsets", "-q", "--replace", "-o", str(root / "train"), str(tar)]) == 0
    before = shown(root)
    tar = _tar(root / "blob/double.tar", {"2.png": IMAGES["train/2.png"]})
    assert run(["offsets", "-q", "-o", str(root / "train"), str(tar)]) == 0
    assert shown(root).keys() == before.keys()
    assert not [d for d in blobdir.open_project(root, index="none").defects if d.code == "conflict"]


def test_offsets_are_not_said_to_be_missing_while_they_are_written(root, capfd):
    pickle = next(root.glob("train/*_offsets.pkl"))
    tar = root / "blob" / f"{pickle.name.removesuffix('_offsets.pkl')}.tar"
    pickle.unlink()
    assert run(["offsets", "-o", str(root / "train"), str(tar)]) == 0
    assert capfd.readouterr().err == ""
