"""``blobdir unpack`` and ``cp -r``: everything that the project shows, under any name, or a word of what is missing."""

import os
import re
import subprocess
import sys

import pytest
from blob_builder import write_tar
from project_factory import make_project

from blobdir import durable
from blobdir.cli import copying
from blobdir.cli.app import run
from blobdir.offsets import write_offsets

PROGRAM = [sys.executable, "-c", "from blobdir.cli import main; main()"]
NAMES = ["a" * 251 + ".jpg", "ж" * 125 + "a.jpg", "図" * 83 + "ab.jpg", "e\u0301" * 83 + "e.jpg", "007.jpg", "-f.jpg"]


def call(*arguments):
    return subprocess.run(
        [*PROGRAM, *map(os.fspath, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def shown(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def project(tmp_path):
    files = {f"train/img/{name}": name.encode() for name in NAMES}
    files |= {f"train/ann/{name[:-4]}.x.json"[:200]: b"{}" for name in NAMES[4:]}
    files["train/datasets/hard/img/1.jpg"] = b"one"
    files["train/datasets/hard/meta/1.jpg.json"] = b"{}"
    return make_project(tmp_path / "p", files), files


@pytest.mark.parametrize("command", [["unpack"], ["cp", "-r"]])
def test_names_of_any_length_and_script(project, tmp_path, command):
    root, files = project
    assert all(len(name.encode()) <= 255 for name in NAMES)
    assert max(len(name.encode()) for name in NAMES) == 255
    done = call(*command, root, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    found = shown(tmp_path / "out")
    assert {path: found[path] for path in files} == files
    assert not [path for path in found if path.endswith(".tmp")]
    assert call(*command, *(["-f"] if command[0] == "unpack" else []), root, tmp_path / "out").returncode == 0


@pytest.mark.parametrize("command", [["unpack"], ["cp", "-r"]])
def test_empty_folders(project, tmp_path, command):
    root, _ = project
    for folder in ("parent/img", "parent/ann", "parent/datasets/child/ann", "docs/empty"):
        (root / folder).mkdir(parents=True)
    assert call(*command, root, tmp_path / "out").returncode == 0
    for folder in ("parent/img", "parent/ann", "parent/datasets/child/ann", "docs/empty"):
        assert (tmp_path / "out" / folder).is_dir()


def test_unpacked_datasets_have_both_folders(project, tmp_path):
    root, _ = project
    assert call("unpack", root, tmp_path / "out").returncode == 0
    for dataset in ("train", "train/datasets/hard"):
        assert {"img", "ann"} <= set(os.listdir(tmp_path / "out" / dataset))


@pytest.mark.parametrize(
    ("link", "target", "word"),
    [
        ("train/loop", "..", "circle"),
        ("train/self", "self", ""),
        ("train/secret", "{outside}", "outside"),
        ("train/ann/secret.json", "{outside}/key", "outside"),
        ("train/nowhere", "not-there", ""),
    ],
)
@pytest.mark.parametrize("command", [["unpack"], ["cp", "-r"]])
def test_links_that_cannot_be_copied_are_named(project, tmp_path, command, link, target, word):
    root, files = project
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/key").write_text("KEY")
    (root / link).symlink_to(target.format(outside=tmp_path / "outside"))
    done = call(*command, root, tmp_path / "out")
    assert done.returncode == 7
    assert link.rpartition("/")[2] in done.stderr
    assert word in done.stderr
    found = shown(tmp_path / "out")
    assert {path: found[path] for path in files} == files
    assert b"KEY" not in found.values()


@pytest.mark.parametrize("command", [["unpack"], ["cp", "-r"]])
def test_links_inside_are_copied_as_what_they_lead_to(project, tmp_path, command):
    root, _ = project
    (root / "again").symlink_to("train/datasets/hard/img")
    (root / "train/one.jpg").symlink_to("datasets/hard/img/1.jpg")
    assert call(*command, root, tmp_path / "out").returncode == 0
    assert (tmp_path / "out/again/1.jpg").read_bytes() == b"one"
    assert (tmp_path / "out/train/one.jpg").read_bytes() == b"one"


IN_THE_WAY = {
    "a file for a dataset": (["train"], []),
    "a file for a folder": (["train/img", "train/datasets/hard/meta"], []),
    "a folder for a file": ([], ["train/img/007.jpg", "train/img/-f.jpg"]),
    "both": (["train/datasets"], ["train/img/007.jpg"]),
}


@pytest.mark.parametrize("what", IN_THE_WAY)
@pytest.mark.parametrize("command", [["unpack", "-f"], ["cp", "-rf"]])
def test_files_are_counted_that_could_not_be_copied(project, tmp_path, capsys, command, what):
    root, files = project
    (root / "train/nowhere").symlink_to("not-there")
    as_files, as_folders = IN_THE_WAY[what]
    out = tmp_path / "out"
    for path in as_files:
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text("in the way")
    for path in as_folders:
        (out / path).mkdir(parents=True)
    assert run([*command, str(root) if command[0] == "unpack" else f"{root}/train", str(out)]) == 7
    every = {path for path in ("meta.json", *files) if command[0] == "unpack" or path.startswith("train/")}
    found = shown(out)
    copied = sum(path in found for path in every)
    said = capsys.readouterr().err
    assert f"{len(every) + 1 - copied} of {len(every) + 1} files could not be copied" in said  # and the link
    assert ("could not be made" in said) == bool(as_files)


@pytest.mark.parametrize("place", ["", "new", "train", "train/img/new", "blob", "../link", "../link/new"])
@pytest.mark.parametrize("command", [["unpack", "-f"], ["cp", "-r"], ["cp", "-rf"]])
def test_nothing_is_copied_into_the_project_itself(project, tmp_path, capsys, command, place):
    root, _ = project
    (tmp_path / "link").symlink_to(root)
    before = shown(root)
    assert run([*command, str(root), os.path.normpath(root / place)]) == 2
    assert re.search(f"is (in )?the project {root}[;,]", capsys.readouterr().err)
    assert shown(root) == before
    assert run([*command, str(root), f"{root}-copy"]) == 0


def test_what_cannot_be_read_is_named(tmp_path):
    entries = write_tar(tmp_path / "p/blob/a.tar", {"a.jpg": b"a" * 600, "b.jpg": b"b" * 600})
    (tmp_path / "p/meta.json").write_text("{}")
    (tmp_path / "p/train/ann").mkdir(parents=True)
    write_offsets(tmp_path / "p/train/a_offsets.pkl", [*entries, (b"c.jpg", 90_000, 90_100)])
    (tmp_path / "p/val/ann").mkdir(parents=True)
    (tmp_path / "p/val/ann/x.json").write_text("{}")
    (tmp_path / "p/val/b_offsets.pkl").write_bytes(b"\x80\x04]")  # cut off
    done = call("unpack", tmp_path / "p", tmp_path / "out")
    assert done.returncode == 7
    assert "train/img/c.jpg" in done.stderr
    assert "val/img" in done.stderr
    assert (tmp_path / "out/train/img/a.jpg").read_bytes() == b"a" * 600
    assert (tmp_path / "out/val/ann/x.json").exists()


@pytest.mark.parametrize("each", [0, 1000])
def test_synced_at_the_end(project, tmp_path, monkeypatch, each):
    root, files = project
    seen = []
    monkeypatch.setattr(copying, "SYNC_EACH", each)
    monkeypatch.setattr(copying, "sync_filesystem", lambda path: seen.append(len(shown(tmp_path / "out"))))
    monkeypatch.setattr(copying, "sync_file", lambda path: seen.append(path) or durable.sync_file(path))
    assert run(["unpack", str(root), str(tmp_path / "out")]) == 0
    if each:
        assert {os.path.relpath(path, tmp_path / "out") for path in seen} >= set(files)
    else:
        assert seen == [len(shown(tmp_path / "out"))]


@pytest.mark.parametrize("place", ["notes", "project", "index and more", "file", "link"])
def test_an_index_replaces_nothing_but_an_index(project, tmp_path, place):
    root, _ = project
    target = tmp_path / "ix"
    assert call("index", root, "-o", target).returncode == 0
    assert call("index", root, "-o", target).returncode == 0  # an older one
    if place == "notes":
        target = tmp_path / "home"
        target.mkdir()
        (target / "thesis.txt").write_text("years")
    elif place == "project":
        target = root
    elif place == "index and more":
        (target / "thesis.txt").write_text("years")
    elif place == "file":
        target = tmp_path / "file"
        target.write_text("mine")
    else:
        (tmp_path / "link").symlink_to(target)
        target = tmp_path / "link"
    before = shown(tmp_path)
    done = call("index", root, "-o", target)
    assert done.returncode == 2
    assert str(target) in done.stderr
    assert shown(tmp_path) == before


@pytest.mark.parametrize("command", [["unpack", "-f"], ["cp", "-r", "-f"]])
@pytest.mark.parametrize("place", ["train/img", "train/datasets", "train/datasets/hard/img"])
def test_nothing_is_written_through_a_link_below_the_destination(project, tmp_path, command, place):
    """The destination itself may be one; what leads on from it may belong to somebody else."""
    root, files = project
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "007.jpg").write_bytes(b"mine")
    real, out = tmp_path / "real", tmp_path / "out"
    (real / place).parent.mkdir(parents=True)
    out.symlink_to(real)
    (out / place).symlink_to(outside)
    source = root if command[0] == "unpack" else f"{root}/train"  # which goes into a folder that is there
    done = call(*command, source, out)
    assert done.returncode == 7
    assert "is a symbolic link, and nothing is written through one" in done.stderr
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"007.jpg": b"mine"}
    if command[0] == "unpack":
        assert {p: d for p, d in shown(real).items() if p in files and not p.startswith(place)} == {
            p: d for p, d in files.items() if not p.startswith(place)
        }
