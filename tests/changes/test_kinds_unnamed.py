"""What `remove` says that `compact` frees, goes, whatever it's called; or it's named, and there is a way to free it."""

from __future__ import annotations

import io
import os
import shutil
import tarfile

import pytest
from changes.commands import TOUCHING
from changes.samples import annotation, files_below, files_of, packed, picture, put, used

from blobdir.cli.app import run
from blobdir.offsets import write_offsets
from blobdir.packing import SubsetOptions, compact, create_project, merge, remove, subset
from blobdir.packing.journalfile import UNDO

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


def holding(root, data):
    return [path for path, found in files_below(root).items() if data in found]


def tarred(root, files, tar_format):
    """A blob of members with folders, and offsets by their base names, as the SDK writes them."""
    create_project(root)
    with tarfile.open(root / "blob/x.tar", "w", format=tar_format) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (root / "train/ann").mkdir(parents=True)
    with tarfile.open(root / "blob/x.tar") as tar:
        at = [(os.path.basename(m.name), m.offset_data, m.offset_data + m.size) for m in tar]
    write_offsets(root / "train/x_offsets.pkl", at)
    return root


MEMBERS = {
    "hidden folder": ".s/c.png",
    "hidden folder above": "t/.s/t/c.png",
    "current folder": "./.s/c.png",
    "junk folder": "@eaDir/c.png",
    "__MACOSX": "__MACOSX/t/c.png",
    "long name": f".s/{'d' * 120}/c.png",
    "long name at the end": f"{'d' * 99}/.s/{'e' * 30}/c.png",
    "other letters": ".sé/c.png",
    "hidden": "t/.c.png",
    "AppleDouble": "t/._a.png",
    "file of an image": "t/a.txt",
    "plain": "t/c.png",
    "plain and long": f"t/{'d' * 120}/c.png",
}


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("command", ["remove", "rm", "add --replace", "pipe"])
@pytest.mark.parametrize("what", MEMBERS)
def test_a_removed_image_goes_wherever_it_lies_in_its_tar(tmp_path, what, command, tar_format, capfd):
    name, data = MEMBERS[what], picture("secret", (16, 16))
    root = tarred(tmp_path / "p", {"t/a.png": picture("a"), name: data, "t/b.png": picture("b")}, tar_format)
    TOUCHING[command](root, f"train/img/{os.path.basename(name)}")
    assert (root / ".blobdir/released.json").exists() == ("plain" not in what)
    assert run(["compact", str(root)]) == 0
    assert "1 member dropped, of which no tar" in capfd.readouterr().out
    assert holding(root, data) == []
    assert not (root / ".blobdir/released.json").exists()


@pytest.mark.parametrize("command", ["remove", "rm", "move", "mv"])
@pytest.mark.parametrize("name", [".h.png", ".DS_Store.png", "b.png"])
def test_a_packed_label_goes_with_its_image_whatever_it_is_called(tmp_path, name, command):
    files = files_of({f"train/{one}": picture(one, (16, 16)) for one in ("a.png", name, "c.png")})
    files[f"train/ann/{name}.json"] = annotation("a secret label", (16, 16))
    root = packed(tmp_path / "p", files, annotations="packed", shard_images=10)
    TOUCHING[command](root, f"train/img/{name}")
    assert (root / ".blobdir/released.json").exists() == (name != "b.png" or command == "mv")  # it knows what was moved
    compact(root)
    assert not [path for path in holding(root, b"a secret label") if path.startswith("train/")]
    assert len(holding(root, b"a secret label")) == (command in ("move", "mv"))
    assert holding(root, files["train/ann/a.png.json"])


def copied(root, to):
    shutil.copytree(root, to, symlinks=True)


def merged(root, to):
    create_project(to)
    used(to, "y", "val", {"z.png": picture("z")})
    merge(to, root)


COPIES = {
    "cp -a": copied,
    "merge": merged,
    "subset": lambda root, to: subset(root, to, SubsetOptions(patterns=["*"], blobs="copy")),
    "nothing": lambda root, to: None,
}


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("name", ["a.txt", "a.json", "._a.png", ".h.png"])
@pytest.mark.parametrize("how", COPIES)
def test_what_a_copy_does_not_know_to_be_removed_is_named_and_can_be_freed(tmp_path, how, name, dry_run, capfd):
    data = picture("secret", (16, 16))
    create_project(root := tmp_path / "p")
    used(root, "x", "train", {"a.png": picture("a"), name: data, "b.png": picture("b")})
    remove(root, [f"train/{name}"])
    if how == "nothing":
        (root / ".blobdir/released.json").unlink()
    else:
        COPIES[how](root, tmp_path / "q")
        root = tmp_path / "q"
    assert run(["compact", str(root), *["--dry-run"] * dry_run]) == 0
    (line,) = (line for line in capfd.readouterr().err.splitlines() if name in line)
    assert "kept: 1 " in line and "--unreferenced removes" in line
    assert holding(root, data)
    assert run(["compact", "--unreferenced", str(root), *["--dry-run"] * dry_run]) == 0
    said = capfd.readouterr()
    assert f"{name}' at byte" in said.err or name == ".h.png"
    if not dry_run:
        assert "1 member dropped" in said.out
        assert holding(root, data) == []


@pytest.mark.parametrize("going", [False, True])
def test_files_of_images_are_counted_in_one_line(tmp_path, going):
    """WebDataset's shards have one for each image."""
    create_project(root := tmp_path / "p")
    for shard in "xyz":
        files = {f"{shard}{i}{end}": picture(f"{shard}{i}{end}") for i in range(9) for end in (".png", ".json")}
        used(root, shard, "train", files, {name: name for name in files if name.endswith(".png")})
    if going:
        remove(root, ["train/y3.png"])
    done = compact(root)
    (problem,) = (one for one in done.problems if one.message.startswith("kept"))
    assert problem.path == "blob"
    assert problem.message.startswith(f"kept: {26 if going else 27} files of images that no offsets name, in 3 tars: ")
    assert done.dropped == 2 * going


@pytest.mark.parametrize("other", ["another tar", "the same tar"])
def test_copies_of_a_removed_image_are_named_whatever_it_was_called(tmp_path, other):
    data = picture("secret", (16, 16))
    create_project(root := tmp_path / "p")
    more = {"z.png": data} if other == "the same tar" else {"z.png": picture("z")}
    used(root, "x", "train", {"a.png": picture("a"), "a.txt": data, **more})
    if other == "another tar":
        used(root, "y", "val", {"q.png": data})
    remove(root, ["train/a.txt"])
    assert len(compact(root).held) == 1


@pytest.mark.parametrize("tries", [1, 99])
@pytest.mark.parametrize("command", ["remove", "move", "add --replace", "rm", "mv", "pipe", "compact"])
def test_only_what_is_left_in_the_end_is_said_to_be_left(tmp_path, monkeypatch, command, tries, recwarn):
    """It's tried once more when all is done."""
    root = packed(tmp_path / "p", {f"train/{name}.png": picture(name) for name in "abc"})
    remove(root, ["train/b.png"])
    real, failed = shutil.rmtree, []

    def failing(path, *args, **kwargs):
        if os.path.basename(path) == UNDO and os.listdir(path) and len(failed) < tries:
            failed.append(path)
            raise OSError(5, "Input/output error", str(path))
        real(path, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", failing)
    if command == "compact":
        said = [one.code for one in compact(root).problems]
    elif command == "remove":
        said = [one.code for one in remove(root, ["train/a.png"]).problems]
    else:
        TOUCHING[command](root, "train/img/a.png")
        said = ["change-leftover"] * any("couldn't be removed" in str(one.message) for one in recwarn.list)
    assert failed
    left = (root / ".blobdir" / UNDO).exists()
    assert left == (tries > 1)
    assert ("change-leftover" in said) == left or command in ("move", "add --replace")


def test_what_was_put_into_blobdirs_folder_meanwhile_goes_unsaid(tmp_path, monkeypatch):
    root = packed(tmp_path / "p", {f"train/{name}.png": picture(name) for name in "abc"})
    real = shutil.rmtree

    def late(path, *args, **kwargs):
        real(path, *args, **kwargs)
        if os.path.basename(path) == UNDO:
            monkeypatch.setattr(shutil, "rmtree", real)
            put(tmp_path / "p/.blobdir" / UNDO / "x", b"late")

    monkeypatch.setattr(shutil, "rmtree", late)
    assert remove(root, ["train/a.png"]).problems == []
    assert not (root / ".blobdir" / UNDO).exists()
