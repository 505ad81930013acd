"""A project with a bit of everything, the same as plain files, and a deadline over every test."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from blob_builder import Builder
from mounting import namespaces

import blobdir
from blobdir.testing.deadline import Deadline

DEADLINE_S = 60
BLOB_TIME = 1_650_000_000


@pytest.fixture(scope="session")
def tmp_path_factory(disk_path_factory):
    return disk_path_factory


@pytest.fixture
def tmp_path(disk_path_factory, request):
    return disk_path_factory.mktemp(re.sub(r"\W", "_", request.node.name))


@pytest.fixture(autouse=True, scope="session")
def state_folder(tmp_path_factory):
    """Mounts of tests are written down apart from those of this machine."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLOBDIR_STATE_DIR", str(folder))
        patch.setenv("BLOBDIR_ENGINE", "native")  # what isn't about engines is about the daemon's life
        yield folder


KEEPER = """
import sys
sys.stdin.read()
from blobdir.mounting.attach import unmount
from blobdir.mountlines import mounts
for entry in reversed(mounts()):
    if entry.mountpoint.startswith(sys.argv[1] + "/"):
        unmount(entry.mountpoint, lazy=True)
"""


@pytest.fixture(autouse=True, scope="session")
def keeper(tmp_path_factory):
    """A process that unmounts all that lies below the tests' folder, when this one ends, however it ends."""
    command = [sys.executable, "-c", KEEPER, os.path.realpath(tmp_path_factory.getbasetemp())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True):
        yield


@pytest.fixture(autouse=True, scope="session")
def last_deadline(tmp_path_factory, keeper):
    """What fixtures of a wider scope have mounted goes at the end, whatever happens."""
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch, Deadline(5000, folder):
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("tmp")))
        yield


@pytest.fixture(autouse=True)
def deadline(request, tmp_path_factory):
    marker = request.node.get_closest_marker("timeout")
    seconds = marker.args[0] - 5 if marker else DEADLINE_S
    with Deadline(seconds, tmp_path_factory.getbasetemp()) as deadline:
        yield deadline


@pytest.fixture
def apart(disk_path_factory):
    """The words that run a command in a mount namespace of its own."""
    return partial(namespaces.apart, os.path.realpath(disk_path_factory.getbasetemp()))


def contents() -> dict[str, bytes]:
    """Members of the blobs of dataset train: of every interesting size, and some interesting names."""
    source = random.Random(9)
    sizes = [0, 1, 511, 512, 513, 4095, 4096, 4097, 8191, 8192, 8193, 131_071, 131_073, 1_048_577, 3_000_000]
    found = {f"size_{size:07d}.jpg": source.randbytes(size) for size in sizes}
    found |= {f"image {i:04d}.png": source.randbytes(source.randrange(1, 9000)) for i in range(200)}
    found |= {"ünïcødé 日本.jpg": b"unicode", "y" * 251 + ".jpg": b"long name", "-rf *;$(x)'\".jpg": b"odd name"}
    found[os.fsdecode(b"latin-\xe9\xff.jpg")] = b"not UTF-8"
    return found


class Both:
    """A project and its plain twin.

    Attributes
    ----------
    project, plain : Path
    """

    def __init__(self, folder: Path) -> None:
        self.project, self.plain = folder / "project", folder / "plain"
        self.builder, self._plain = Builder(self.project), Builder(self.plain)
        self.blobs: dict[str, Path] = {}

    def blob(self, dataset: str, stem: str, members: dict[str, bytes], mode: int = 0o644) -> None:
        """Add a blob, and plain files with the time and mode of the blob."""
        entries = self.builder.tar(stem, members)
        names = [os.fsencode(name) for name in members]
        self.builder.offsets(dataset, stem, [(n, *entry[1:]) for n, entry in zip(names, entries, strict=True)])
        self.blobs[stem] = self.project / f"blob/{stem}.tar"
        os.chmod(self.blobs[stem], mode)
        os.utime(self.blobs[stem], (BLOB_TIME, BLOB_TIME))
        for name, data in members.items():
            file = self._plain.loose(f"{dataset}/img/{name}", data)
            os.chmod(file, mode)
            os.utime(file, (BLOB_TIME, BLOB_TIME))

    def loose(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a loose file to both."""
        for builder in (self.builder, self._plain):
            file = builder.loose(path, data)
            os.chmod(file, mode)
            os.utime(file, (1_600_000_000.25, 1_600_000_000.25))

    def linked(self, path: str, folder: str) -> None:
        """Have a folder of the format be a link to another one of the project; in the twin, its files lie there too."""
        (self.project / path).symlink_to(os.path.relpath(self.project / folder, (self.project / path).parent))
        shutil.copytree(self.plain / folder, self.plain / path, dirs_exist_ok=True)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link to both."""
        for root in (self.project, self.plain):
            (root / path).symlink_to(target)


def make_both(folder: Path) -> Both:
    """The project of the contract."""
    both = Both(folder)
    members = contents()
    half = len(members) // 2
    both.blob("train", "a", dict(list(members.items())[:half]))
    both.blob("train", "b", dict(list(members.items())[half:]), mode=0o640)
    both.blob("train/datasets/hard", "c", {"sub/x.jpg": b"in a folder", "z.jpg": b"z" * 5000})
    for name in list(members)[:50]:
        if len(os.fsencode(name)) < 250:
            both.loose(f"train/ann/{name}.json", b'{"size": {}, "objects": []}')
    both.loose("meta.json", b'{"classes": []}')
    both.loose("train/img/plain.png", b"a plain image" * 100, mode=0o600)
    both.loose("train/img/executable.png", b"x", mode=0o755)
    both.loose("notes.txt", b"")
    both.loose("empty/deep/er/file", b"deep")
    both.blob("linked", "d", {"in a blob.jpg": b"in a blob", "sub/y.jpg": b"y"})
    both.loose("aside/beside it.jpg", b"beside it")
    both.loose("aside/sub/z.jpg", b"z")
    both.linked("linked/img", "aside")
    both.linked("linked/masks_human", "aside")
    both.link("train/img/link.png", "plain.png")
    both.link("to train", "train/img")
    both.link("dangling", "nowhere/at/all")
    return both


@pytest.fixture(scope="session")
def both(tmp_path_factory):
    return make_both(tmp_path_factory.mktemp("both"))


@pytest.fixture
def own(tmp_path):
    """The same, for tests that change it."""
    return make_both(tmp_path)


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "mnt"
    folder.mkdir()
    return folder


@pytest.fixture
def mount(place):
    """`blobdir.mount` at a place of its own; unmounted afterwards."""
    made = []

    def mount(url, **options):
        made.append(blobdir.mount(url, place, **{"engine": "native", **options}))
        return made[-1].path

    yield mount
    for one in made:
        if os.path.ismount(one.path):
            one.unmount(lazy=True)
