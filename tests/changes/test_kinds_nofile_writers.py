"""What is no file where a writer needs one: each refuses before it touches anything, and none waits for a pipe."""

from __future__ import annotations

import os
import shutil
import signal
import stat
from pathlib import Path

import pytest
from changes.children import REFUSED, Child
from changes.commands import REPLACING, TOUCHING, transaction
from changes.samples import annotation, files_of, numbered, packed, pickles, picture, tars, with_side_files, write
from changes.test_kinds_nofile import KINDS

from blobdir.cli.app import run
from blobdir.durable import sync_file, write_whole
from blobdir.errors import BlobdirError
from blobdir.moving import push
from blobdir.packing import SubsetOptions, add, add_blob_file, compact, create_blob_readme, merge, move, remove, subset
from blobdir.verifying import repair, verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

IMAGE = "train/img/a001.png"
DEADLINE_S = 30


def new_image(base, name="n.png"):
    return write(base / "new" / name, picture("n"))


def annotated(base):
    write(base / "notes/n.png.json", annotation("n"))
    return base / "notes"


def offsets(root):
    tar = next(iter(tars(root)), root / "blob/not-there.tar")  # its folder may be no folder
    if status := run(["offsets", "-q", "--replace", str(tar), "-o", str(root / "train")]):
        raise BlobdirError(f"exit status {status}")


def of_image(command):
    return lambda root, base: TOUCHING[command](root, IMAGE)


TOUCHING_IT = {
    **{command: of_image(command) for command in TOUCHING},
    "remove --dry-run": lambda root, base: remove(root, ["train/a001.png"], dry_run=True),
    "move --dry-run": lambda root, base: move(root, ["train/a001.png"], "elsewhere", dry_run=True),
    "add --replace --dry-run": lambda root, base: add(
        root, "train", [new_image(base, "a001.png")], replace=True, dry_run=True
    ),
    "rm -r": lambda root, base: transaction(root, lambda fs: fs.rm("train", recursive=True)),
}
"""What removes, moves or replaces the image."""
AS_A_WHOLE = {
    "merge": lambda root, base: merge(base / "q", root),
    "merge --dry-run": lambda root, base: merge(base / "q", root, dry_run=True),
}
"""What takes all of the project."""
COMPACTING = {
    "compact": lambda root, base: compact(root),
    "compact --dry-run": lambda root, base: compact(root, dry_run=True),
    "compact --unreferenced": lambda root, base: compact(root, unreferenced=True),
}
ADDING = {
    "add": lambda root, base: add(root, "train", [new_image(base)]),
    "add --dry-run": lambda root, base: add(root, "train", [new_image(base)], dry_run=True),
    "add --annotations": lambda root, base: add(root, "train", [new_image(base)], annotations=annotated(base)),
    "new in a transaction": lambda root, base: transaction(root, lambda fs: fs.pipe("train/img/n.png", picture("n"))),
}
OTHERS = {
    "add_blob_file": lambda root, base: add_blob_file(root, base / "t.tar", "train"),
    "merge into": lambda root, base: merge(root, base / "q"),
    "subset": lambda root, base: subset(root, base / "s", SubsetOptions(patterns=["*"])),
    "push": lambda root, base: push(root, f"memory://{base.name}"),
    "repair": lambda root, base: repair(root, verify(root, processes=1)),
    "readme": lambda root, base: create_blob_readme(root, replace=True),
    "offsets": lambda root, base: offsets(root),
}
WRITERS = TOUCHING_IT | AS_A_WHOLE | COMPACTING | ADDING | OTHERS

OF_THE_IMAGE = [
    "train/ann/a001.png.json", "train/ann/a001.json", "train/meta/a001.png.json", "train/img_info/a001.png.json",
    "train/seg/a001.png.png", "train/masks_human/a001.png.png", "train/masks_human/a001/sub/m.png", IMAGE,
]  # fmt: skip
FOLDERS = ["train/ann", "train/meta", "train/masks_human", "train/img", "train/ann.blob", "blob"]
OF_THE_NEW = ["train/ann/n.png.json", "train/img/n.png"]
ELSEWHERE = ["meta.json", "blob/SHA256SUMS", "offsets", "tar", "README.md"]
OWN = [
    f".blobdir/{name}"
    for name in ("staging", "undo", "journal.json", "back.json", "lock", "released.json", "packing")
]  # fmt: skip
OWN_OF_ALL = [".blobdir", *(f".blobdir/{name}" for name in ("staging", "undo", "journal.json", "lock"))]
"""Of these, those that who only reads a project as a whole needs as well."""
PLACES = [*OF_THE_IMAGE, *FOLDERS, *OF_THE_NEW, *ELSEWHERE, ".blobdir", *OWN]


CHANGING = {*TOUCHING_IT, *COMPACTING, *ADDING, "add_blob_file", "merge into", "readme"}
OF_THE_PROJECT = {*COMPACTING, *TOUCHING_IT, *AS_A_WHOLE}
REFUSING = {
    **dict.fromkeys(OWN, CHANGING),
    **dict.fromkeys(OWN_OF_ALL, WRITERS.keys() - {"repair"}),  # there is nothing to mend
    **dict.fromkeys([*OF_THE_IMAGE, *FOLDERS], TOUCHING_IT.keys() | AS_A_WHOLE.keys()),
    **dict.fromkeys(OF_THE_NEW, ADDING.keys() | AS_A_WHOLE.keys()),
    **dict.fromkeys(["offsets", "tar", "train/ann.blob", "blob"], OF_THE_PROJECT),
    "blob/SHA256SUMS": {*COMPACTING, *ADDING, *AS_A_WHOLE, *REPLACING, "mv", "add_blob_file", "merge into", "subset"},
    "meta.json": {"add", "add --dry-run", "add --annotations", "merge into", *AS_A_WHOLE},
    "README.md": {"readme", *AS_A_WHOLE},
}
"""The place -> what removes, replaces, moves, copies or reads what should be there."""


def everything(root):
    """Path -> content of every file, or what it is; the lock and what it's in left out."""
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            with_content = stat.S_ISREG(mode) and not path.endswith("/.blobdir/lock")
            found[os.path.relpath(path, root)] = Path(path).read_bytes() if with_content else stat.S_IFMT(mode)
    return found


def within(seconds, operation):
    """Exit status of an operation in a child that has so many seconds."""
    with Child(operation, lambda: signal.alarm(seconds)) as child:
        return child.ended()


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    base = tmp_path_factory.mktemp("sample")
    files = with_side_files(files_of(numbered(2)))
    packed(base / "p", files, shard_images=10)
    packed(base / "q", files_of(numbered(2, 20, "val")))
    packed(base / "t", {"x/t.png": picture("t")})
    tars(base / "t")[0].rename(base / "t.tar")
    return base


@pytest.fixture
def made(sample, tmp_path):
    shutil.copytree(sample, tmp_path / "w")
    return tmp_path / "w"


def put(root, place, kind):
    path = {"offsets": lambda: pickles(root)[0], "tar": lambda: tars(root)[0]}.get(place, lambda: root / place)()
    if path.is_dir():
        path.rename(path.with_name("away"))
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    KINDS[kind](path)
    return path


# Sockets, which nobody waits for, in each place and under each command once.
MATRIX = [(command, place, "pipe") for command in WRITERS for place in PLACES] + [
    (command, PLACES[i % len(PLACES)], "socket")
    for i, command in enumerate([*WRITERS] * (1 + len(PLACES) // len(WRITERS)))
]


@pytest.mark.parametrize(("command", "place", "kind"), MATRIX)
def test_writers_refuse_what_is_no_file(made, command, place, kind, capfd):
    root = made / "p"
    path = put(root, place, kind)
    before = everything(root)
    code = within(DEADLINE_S, lambda: WRITERS[command](root, made))
    assert code != -signal.SIGALRM
    now = everything(root)
    rel = str(path.relative_to(root))
    assert now.get(rel) == before[rel]
    said = capfd.readouterr().err
    belongs = (
        "file" if place in (*FOLDERS, ".blobdir", ".blobdir/staging", ".blobdir/undo", ".blobdir/packing") else "folder"
    )
    assert f"{path.name}: is a device, pipe or socket, and a {belongs} " not in said
    if command in REFUSING[place]:
        assert code == REFUSED
        assert path.name in said
    if code == REFUSED:
        assert now | {".blobdir/lock": 0} == before | {".blobdir/lock": 0}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["sync_file", "write_whole"])
def test_durable_never_waits(tmp_path, kind, how):
    KINDS[kind](tmp_path / "x")
    do = {"sync_file": sync_file, "write_whole": lambda path: write_whole(path, [b"x"])}[how]
    assert within(DEADLINE_S, lambda: do(tmp_path / "x")) == REFUSED
    assert not stat.S_ISREG(os.lstat(tmp_path / "x").st_mode)
    assert os.listdir(tmp_path) == ["x"]
