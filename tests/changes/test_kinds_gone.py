"""What `compact` says is gone, is gone; and what no offsets ever named, stays, or is named as going."""

from __future__ import annotations

import errno
import os
import shutil
import tarfile

import pytest
from changes.looking import differences, faults, shown
from changes.samples import files_below, files_of, packed, pickles, picture, tars
from tarscan_cases import END, header, member

import blobdir
from blobdir.cli.app import run
from blobdir.packing import SubsetOptions, compact, create_project, remove, subset
from blobdir.packing.remains import Gone, Remains

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

# -- other files that have the bytes ---------------------------------------------------------------------------


def up_to(tar, name, more):
    """A tar up to so many bytes of a member."""
    with tarfile.open(tar) as archive:
        return tar.read_bytes()[: archive.getmember(name).offset_data + more]


def used_elsewhere(root, tar):
    """The same tar under another name, all of it in another dataset."""
    shutil.copy(tar, root / "blob/copy.tar")
    (root / "val/ann").mkdir(parents=True)
    shutil.copy(pickles(root, False)[0], root / "val/copy_offsets.pkl")
    return root / "blob/copy.tar"


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def sparse_image(path, tar):
    with path.open("wb") as file:
        file.truncate(1 << 42)
        file.seek(3 << 40)
        file.write(tar.read_bytes())
    return path


HOLDING = {
    "twin": lambda root, tar: put(tar.with_suffix(".TAR"), tar.read_bytes()),
    "unreferenced copy": lambda root, tar: put(root / "blob/copy.tar", tar.read_bytes()),
    "hard link": lambda root, tar: os.link(tar, root / "blob/link.tar") or root / "blob/link.tar",
    ".part": lambda root, tar: put(root / "blob/x.tar.part", tar.read_bytes()),
    ".new": lambda root, tar: put(root / f"blob/{tar.name}.new", tar.read_bytes()),
    "another name": lambda root, tar: put(root / "blob/download", tar.read_bytes()),
    "cut off in the image": lambda root, tar: put(root / "blob/x.part", up_to(tar, "a002.png", 600)),
    "cut off at a block": lambda root, tar: put(root / "blob/x.part", up_to(tar, "a002.png", 512)),
    "damaged": lambda root, tar: put(root / "blob/y.tar", b"no header".ljust(512, b".") + tar.read_bytes()),
    "two archives": lambda root, tar: put(root / "blob/y.tar", member(b"b", b"b") + END + tar.read_bytes()),
    "beside a dataset's files": lambda root, tar: put(root / "train/x.tar.bak", tar.read_bytes()),
    "elsewhere": lambda root, tar: put(root / "old/x.TAR", tar.read_bytes()),
    "another dataset's": used_elsewhere,
    "in a hole of terabytes": lambda root, tar: sparse_image(root / "blob/holes.part", tar),
}  # fmt: skip
DELETED = ("twin", "unreferenced copy", "hard link", "damaged", "two archives")
"""Those that `--unreferenced` deletes."""


@pytest.fixture(params=["one", "all"])
def removed(request):
    return ["train/a002.png"] if request.param == "one" else [f"train/a00{i}.png" for i in (1, 2, 3)]


@pytest.fixture
def root(tmp_path):
    images = {f"train/a00{i}.png": picture(i, (16, 16)) for i in (1, 2, 3)}
    return packed(tmp_path / "p", files_of(images), shard_images=10)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("what", HOLDING)
def test_files_that_still_have_what_was_removed_are_named(root, removed, what, dry_run, capfd):
    (tar,) = tars(root)
    other = HOLDING[what](root, tar)
    path = str(other.relative_to(root))
    remove(root, removed)
    before = other.stat()
    assert compact(root, dry_run=True).held == [path]
    arguments = ["compact", str(root), *["--dry-run"] * dry_run]
    assert run(arguments) == 0
    said = capfd.readouterr()
    assert [line for line in said.err.splitlines() if path in line and "still has" in line and "a00" in line]
    assert "any more" not in said.out
    assert other.stat().st_mtime_ns == before.st_mtime_ns
    if dry_run:
        return
    assert "still in 1 file, as said above" in said.out
    done = compact(root, unreferenced=True)
    assert other.exists() == (what not in DELETED)
    assert path in done.removed or what not in DELETED


@pytest.mark.parametrize("what", ["nothing", "others", "the same size"])
def test_what_is_gone_is_said_to_be_gone(root, removed, what, tmp_path, capfd):
    (tar,) = tars(root)
    if what == "others":
        put(root / "blob/other.tar", member(b"a002.png", picture("another", (16, 16))) + END)
        put(root / "blob/x.part", b"")
        put(root / "blob/odd", bytes(700))
    elif what == "the same size":
        data = bytearray(tar.read_bytes())
        with tarfile.open(tar) as archive:
            members = archive.getmembers()
        for entry in members:
            data[entry.offset_data + entry.size - 1] ^= 1
        put(root / "blob/other.tar", bytes(data))
    gone = [picture(int(name[9]), (16, 16)) for name in removed]
    remove(root, removed)
    assert run(["compact", str(root)]) == 0
    said = capfd.readouterr()
    assert (
        f"{len(gone)} member{'s' * (len(gone) > 1)} dropped, whose bytes no tar of the project has any more" in said.out
    )
    assert not any(data in file for data in gone for file in files_below(root).values())


def test_files_that_cannot_be_read_are_named(root, monkeypatch):
    def broken(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    put(root / "blob/x.part", b"x")
    remove(root, ["train/a002.png"])
    monkeypatch.setattr(Remains, "find", broken)
    done = compact(root)
    assert "blob/x.part" in done.held and "can't be read" in done.problems[-1].message


def test_hard_links_of_a_subset_are_named(root, tmp_path):
    subset(root, tmp_path / "s", SubsetOptions(patterns=["*"]))
    remove(root, ["train/a002.png"])
    assert "hard-link" in [problem.code for problem in compact(root).problems]


def test_nothing_is_read_where_nothing_goes(root):
    put(root / "blob/x.part", tars(root)[0].read_bytes())
    done = compact(root)
    assert (done.held, done.dropped) == ([], 0)


def test_one_pass_whatever_is_looked_for(tmp_path, monkeypatch):
    """Many members that begin alike: a file is compared with few of them in full."""
    alike = [bytes(512) + b"%03d" % i * 600 for i in range(200)]
    images = b"".join(member(b"%d" % i, data) for i, data in enumerate(alike)) + END
    (tmp_path / "x.tar").write_bytes(images)
    other = b"".join(member(b"%d" % i, data[:-1] + b"?") for i, data in enumerate(alike)) + END
    (tmp_path / "y.tar").write_bytes(other + bytes(1 << 17))
    looked = []
    plain = Remains._is_same
    monkeypatch.setattr(Remains, "_is_same", lambda *args: looked.append(args) or plain(*args))
    with tarfile.open(tmp_path / "x.tar") as archive:
        gone = [
            Gone("x.tar", entry.offset_data, entry.offset_data + entry.size, entry.name.encode()) for entry in archive
        ]
    assert Remains(str(tmp_path), gone).find("y.tar") is None
    assert len(looked) < 3 * len(gone)


# -- members that no offsets name ------------------------------------------------------------------------------

STAYING = {
    "dot file": b".notes", "in a dot folder": b".git/x.png", "in a deeper one": b"./s/.cache/x.png",
    "junk": b"__MACOSX/s/x.png", "Thumbs.db": b"s/Thumbs.db", "AppleDouble of nobody": b"._nobody.png",
    "AppleDouble of one that stays": b"s/._a.png", "the same in __MACOSX": b"__MACOSX/s/._a.png",
    "text of one that stays": b"s/a.json", "no file's name": b"s/..", "dot JSON": b".b.json",
}  # fmt: skip
GOING = {
    "AppleDouble": b"s/._b.png", "in __MACOSX": b"__MACOSX/s/._b.png", "text": b"s/b.json", "image": b"s/c.png",
    "anything else": b"notes",
}  # fmt: skip
OF_A = ("AppleDouble of one that stays", "the same in __MACOSX", "text of one that stays")


def with_member(folder, name):
    """A project of three images, and something else in their tar."""
    images = [member(b"s/%c.png" % letter, picture(letter)) for letter in b"abd"]
    tar = put(folder / "x.tar", member(name, b"of nobody") + b"".join(images) + END)
    create_project(folder / "p")
    shutil.copy(tar, folder / "p/blob/x.tar")
    assert (
        run(
            [
                "offsets",
                "-q",
                "--filter",
                "[abd].png",
                str(folder / "p/blob/x.tar"),
                "--output",
                make(folder / "p/train"),
            ]
        )
        == 0
    )
    return folder / "p"


def make(folder):
    (folder / "ann").mkdir(parents=True)
    return str(folder)


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("all_go", [False, True], ids=["one", "all"])
@pytest.mark.parametrize("what", [*STAYING, *GOING])
def test_members_that_no_offsets_name(tmp_path, what, all_go, dry_run):
    name = (STAYING | GOING)[what]
    root = with_member(tmp_path, name)
    model = shown(root)
    going = ["a", "b", "d"] if all_go else ["b"]
    remove(root, [f"train/{letter}.png" for letter in going])
    stays = what in STAYING and not (all_go and what in OF_A)
    said = compact(root, dry_run=True)
    done = said if dry_run else compact(root)
    assert (done.freed, done.images, done.dropped) == (said.freed, said.images, said.dropped)
    assert done.dropped == len(going) + (not stays)
    words = [problem.message for problem in done.problems if os.fsdecode(name) in problem.message]
    assert words or what in ("image", "anything else", "text of one that stays") or (what in OF_A and not all_go)
    if dry_run:
        return
    assert (b"of nobody" in b"".join(tar.read_bytes() for tar in tars(root))) == stays
    assert len(tars(root)) == (stays or not all_go)
    assert differences(shown(root), {p: d for p, d in model.items() if p[10:11] not in going}) == []
    assert faults(root) == []
    again = compact(root)
    assert (again.blobs, again.freed) == ([], 0)
    if stays and what not in OF_A:
        compact(root, unreferenced=True)
        assert b"of nobody" not in b"".join(tar.read_bytes() for tar in tars(root))
    assert differences(shown(root), {p: d for p, d in model.items() if p[10:11] not in going}) == []


def test_a_hidden_file_that_was_an_image_is_named_until_it_goes(tmp_path):
    """Nothing says that it was one: it's said to be there, and how to get rid of it."""
    root = with_member(tmp_path, b"s/.h.png")
    assert (
        run(
            [
                "offsets",
                "-q",
                "--replace",
                "--filter",
                "*.png",
                "--filter",
                ".*",
                str(root / "blob/x.tar"),
                "-o",
                str(root / "train"),
            ]
        )
        == 0
    )
    remove(root, ["train/.h.png"])
    (problem,) = compact(root).problems
    assert ".h.png" in problem.message and "--unreferenced" in problem.message


@pytest.mark.parametrize("what", ["links", "damaged"])
def test_a_tar_that_was_emptied(tmp_path, what):
    """One that can't be scanned to its end isn't deleted unseen; what has no bytes is named."""
    root = with_member(tmp_path, b"notes")
    (tar,) = tars(root)
    data = tar.read_bytes()
    if what == "links":
        tar.write_bytes(header(b"link.png", kind=b"2", link=b"a.png") * 2 + data)
        assert run(["offsets", "-q", "--replace", str(tar), "-o", str(root / "train")]) == 0
    remove(root, [f"train/{name}" for name in blobdir.open_project(root)["train"].names])
    if what == "damaged":
        stat = tar.stat()
        with tar.open("r+b") as file:
            file.seek(1024)
            file.write(b"?" * 9)
        os.utime(tar, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    done = compact(root)
    assert tar.exists() == (what == "damaged")
    assert any(
        ("2 symbolic links" if what == "links" else "--unreferenced deletes it") in problem.message
        for problem in done.problems
    )
    compact(root, unreferenced=True)
    assert not tar.exists()


def test_entries_of_folders_are_named(tmp_path):
    root = with_member(tmp_path, b"notes")
    (tar,) = tars(root)
    tar.write_bytes(member(b"s/", kind=b"5") + tar.read_bytes())
    assert run(["offsets", "-q", "--replace", str(tar), "-o", str(root / "train")]) == 0
    assert compact(root).problems == []
    remove(root, ["train/b.png"])
    (problem,) = compact(root).problems
    assert problem.message == "not kept: 1 entry of a folder: 's' at byte 0"
