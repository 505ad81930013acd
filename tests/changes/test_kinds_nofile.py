"""What is no file where a file of the project belongs: nothing that copies or reads passes over it."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from changes.looking import faults, get, shown
from changes.samples import files_of, numbered, packed, picture, with_side_files, write

import blobdir
from blobdir.cli.app import run
from blobdir.errors import BlobdirError, ReadError

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


def sock(path):
    here = os.getcwd()
    os.chdir(path.parent)  # a path of 100 bytes is too long for a socket
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


KINDS = {"pipe": os.mkfifo, "socket": sock}
PLACES = [
    "train/ann/a001.png.json", "train/ann/a001.json", "train/meta/a001.png.json", "train/img_info/a001.png.json",
    "train/seg/a001.png.png", "train/masks_human/a001.png.png", "train/img/plain.png", "train/img/sub/plain.png",
    "train/datasets/nested/ann/b.png.json", "meta.json",
]  # fmt: skip
COMMANDS = {
    "cat": lambda root, base, path: ["cat", f"{root}/{path}"],
    "cp": lambda root, base, path: ["cp", f"{root}/{path}", base / "out"],
    "cp -r": lambda root, base, path: ["cp", "-r", root, base / "out"],
    "unpack": lambda root, base, path: ["unpack", root, base / "out"],
    "push": lambda root, base, path: ["push", root, f"memory://{base.name}"],
    "subset": lambda root, base, path: ["subset", root, base / "out"],
    "merge": lambda root, base, path: ["merge", base / "other", root],
    "verify": lambda root, base, path: ["verify", root],
    "ls": lambda root, base, path: ["ls", f"{root}/{os.path.dirname(path)}"],
    "info": lambda root, base, path: ["info", root],
    "stats": lambda root, base, path: ["stats", root],
}  # fmt: skip
LOOKING = ("ls", "info", "stats")
"""Commands for which it's enough to name it, if they don't need it."""


@pytest.fixture(params=KINDS)
def project(request, tmp_path):
    def make(path):
        images = numbered(2) | {"train/datasets/nested/b.png": picture("b")}
        root = packed(tmp_path / "p", with_side_files(files_of(images)), shard_images=10)
        full = root / path
        full.unlink(missing_ok=True)
        full.parent.mkdir(parents=True, exist_ok=True)
        KINDS[request.param](full)
        return root

    return make


@pytest.mark.parametrize("path", PLACES)
def test_it_is_listed_and_is_an_error(project, path):
    root = project(path)
    fs = blobdir.open_project(root, index="none").filesystem
    assert path in fs.find("")
    error = get(root, path)
    assert isinstance(error, ReadError) and error.errno == errno.EIO and path in str(error)
    with pytest.raises(BlobdirError), fs.open(path) as file:
        file.read()
    assert [(d.severity, d.code, d.path) for d in fs.view.defects] == [("error", "not-a-file", path)]
    assert path not in shown(root, on_defect="ignore")
    with pytest.raises(BlobdirError, match=os.path.basename(path)):
        blobdir.open_project(root, on_defect="raise", index="none")
    assert path in [path for _, path, _ in faults(root)]


@pytest.mark.parametrize("path", PLACES)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_passes_over_it(project, command, path, tmp_path, capfd):
    root = project(path)
    packed(tmp_path / "other", files_of(numbered(2, 20, "val")))
    status = run([str(argument) for argument in COMMANDS[command](root, tmp_path, path)])
    said = capfd.readouterr()
    assert os.path.basename(path) in said.out + said.err
    assert status or command in LOOKING
    if command not in ("cat", "cp", "push", "merge") and path != "meta.json":
        assert f"{path}: is a device, pipe or socket" in said.out + said.err or "not-a-file" in said.out


def test_elsewhere_it_is_a_warning(tmp_path):
    root = packed(tmp_path / "p", files_of(numbered(2)))
    for path in ("pipe", "train/pipe", "docs/sub/pipe"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(root / path)
    project = blobdir.open_project(root, index="none")
    assert {(d.severity, d.path) for d in project.defects} == {
        ("warning", path) for path in ("pipe", "train/pipe", "docs/sub/pipe")
    }
    assert run(["unpack", "-q", str(root), str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("command", ["cat", "cp", "get", "open"])
def test_what_cannot_be_read_is_not_taken_for_empty(tmp_path, command):
    """A name with two contents, one of which is empty."""
    root = packed(tmp_path / "p", files_of(numbered(2)))
    fs = blobdir.open_project(root).filesystem
    write(root / "train/img/a001.png", b"")
    fs = blobdir.open_project(root, index="none").filesystem
    path = "train/img/a001.png"
    if command in ("cat", "cp"):
        arguments = [command, f"{root}/{path}", *[str(tmp_path / "out")] * (command == "cp")]
        assert run(arguments) == 7
    else:
        with pytest.raises(BlobdirError):
            fs.get(path, str(tmp_path / "out")) if command == "get" else fs.open(path).read()
    assert not (tmp_path / "out").exists()
