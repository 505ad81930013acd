"""What `compact` says is gone, is gone; and what no offsets ever named, stays, or is named as going."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tarfile
import warnings

import pytest
from changes.commands import TOUCHING
from changes.looking import differences, faults, shown
from changes.samples import files_below, files_of, in_tar, packed, pickles, picture, put, tars, used, write
from tarscan_cases import END, header, member

import blobdir
from blobdir.cli.app import run
from blobdir.packing import SubsetOptions, compact, create_project, remove, subset
from blobdir.packing.remains import Gone, Remains
from blobdir.sources import LocalStorage

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


def sparse_image(path, tar):
    with path.open("wb") as file:
        file.truncate(1 << 42)
        file.seek(3 << 40)
        file.write(tar.read_bytes())
    return path


def linked(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(target, path.parent))
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
    "behind a link elsewhere": lambda root, tar: linked(root / "val/y.tar", put(root / "a/y", tar.read_bytes())),
    **{
        f"below blob/, {path}": lambda root, tar, path=path: put(root / f"blob/{path}", tar.read_bytes())
        for path in ("sub/x.part", "sub/.deep/er/x", "train/img/x.png")
    },
    "in a folder that a link below blob/ leads to": lambda root, tar: linked(root / "blob/a/b", put(
        root / "old/er/x", tar.read_bytes()).parent) and root / "old/er/x",
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
    members = f"{len(gone)} member{'s' * (len(gone) > 1)} dropped"
    assert f"{members}, of which no tar of the project that was searched has a copy any more\n" in said.out
    assert not any(data in file for data in gone for file in files_below(root).values())


SMALL = {name: picture(name, (2, 2)) for name in "abc"}
LARGE = {name: picture(name, (80, 80)) for name in "abc"}
BLACK = {name: bytes(9000) + picture(name) for name in "abc"}


def nested(path, data):
    in_tar(path, {"deep.png": data})
    data = path.read_bytes()
    path.unlink()
    return data


STAYING_IN_USE = {
    "another tar": lambda root, data: used(root, "y", "val", {"z.png": data}),
    "the same dataset": lambda root, data: used(root, "y", "train", {"z.png": data}),
    "the same tar": lambda root, data: used(
        root, "x", "train", {"a.png": data, "z.png": data, "w.png": picture("w")}, {"a.png": "a.png", "z.png": "z.png"}
    ),
    "a hidden file": lambda root, data: used(
        root, "x", "train", {"a.png": data, ".trash/q": data, "w.png": picture("w")}, {"a.png": "a.png"}
    ),
    "a tar in a hidden file": lambda root, data: used(
        root, "x", "train", {"a.png": data, ".old.tar": nested(root / "n", data)}, {"a.png": "a.png"}
    ),
}
"""What has the bytes of `train/a.png` and is in use, or stays."""


@pytest.mark.parametrize("size", [SMALL, LARGE, BLACK], ids=["small", "large", "begins with zeros"])
@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("what", STAYING_IN_USE)
def test_what_has_the_same_bytes_and_stays_is_named(tmp_path, what, dry_run, size, capfd):
    """Whatever it's called; under the name that its blob has after the change."""
    create_project(tmp_path / "p")
    root, data = tmp_path / "p", size["a"]
    used(root, "x", "train", {"a.png": data, "b.png": size["b"]})
    STAYING_IN_USE[what](root, data)
    remove(root, ["train/a.png"])
    assert run(["compact", str(root), *["--dry-run"] * dry_run]) == 0
    said = capfd.readouterr()
    (line,) = (line for line in said.err.splitlines() if "still-there" in line)
    assert "still has 'a.png'" in line and "any more" not in said.out
    if dry_run:
        return
    (path,) = (path for path in files_below(root) if data in files_below(root)[path])
    assert path in line and (path.startswith("blob/y") or path in said.err.replace(line, "") or "z.png" in line)
    assert "still in 1 file, as said above" in said.out
    again = compact(root)
    assert (again.held, again.dropped) == ([], 0)


@pytest.mark.parametrize("what", ["tars", "annotations"])
def test_labels_that_are_the_same_are_no_copies(tmp_path, what):
    """Most images have no objects: their labels are what all have."""
    if what == "annotations":
        images = {f"train/a00{i}.png": picture(i) for i in (1, 2, 3)}
        files = files_of(images)
        files |= {path: files["train/ann/a001.png.json"] for path in files if "/ann/" in path}
        root = packed(tmp_path / "p", files, annotations="packed", shard_images=10)
        going = "train/a001.png"
    else:
        create_project(root := tmp_path / "p")
        files = {
            f"{name}{end}": SMALL[name] if end == ".png" else b"label" for name in "abc" for end in (".png", ".txt")
        }
        used(root, "x", "train", files, {f"{name}.png": f"{name}.png" for name in "abc"})
        going = "train/a.png"
    remove(root, [going])
    done = compact(root)
    assert (done.dropped, done.held) == (2, [])


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_what_follows_an_image_in_its_block_may_be_anything(tmp_path, size):
    create_project(root := tmp_path / "p")
    used(root, "x", "train", {"a.png": size["a"], "b.png": size["b"]})
    copy = bytearray((root / "blob/x.tar").read_bytes())
    end = 512 + len(size["a"])
    copy[end : end + -end % 512] = b"\xaa" * (-end % 512)
    put(root / "blob/old.bak", bytes(copy))
    remove(root, ["train/a.png"])
    assert compact(root).held == ["blob/old.bak"]


def unlisted(root, tar, monkeypatch):
    put(root / "train/masks_x/p/copy.tar", tar.read_bytes())
    plain = LocalStorage._list

    def broken(self, path, follow_links):
        if path == "train/masks_x/p":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return plain(self, path, follow_links)

    monkeypatch.setattr(LocalStorage, "_list", broken)
    return "train/masks_x/p"


def outside(root, path, tar, *, folder=False):
    target = put(root.parent / "outside/x.tar", tar.read_bytes())
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).symlink_to(target.parent if folder else target)
    return path


def pipe(root, path):
    os.mkfifo(root / path)
    return path


NOT_SEARCHED = {
    "a folder that can't be listed": unlisted,
    **{
        f"compressed, {name}": lambda root, tar, _, name=name: (
            put(root / name, gzip.compress(tar.read_bytes())) and name
        )
        for name in ("blob/x.tar.gz", "blob/x.part", "old/x.tgz", "train/x.tar.bak")
    },
    "a ZIP file": lambda root, tar, _: put(root / "old.zip", b"PK\x03\x04" + tar.read_bytes()[1:]) and "old.zip",
    "encrypted": lambda root, tar, _: put(root / "blob/x.tar.gpg", b"?" * 9000) and "blob/x.tar.gpg",
    "a link out": lambda root, tar, _: outside(root, "blob/y.bak", tar),
    "a link out elsewhere": lambda root, tar, _: outside(root, "old/y.tar", tar),
    "a link to a folder outside": lambda root, tar, _: outside(root, "train/masks_x/f", tar, folder=True),
    "a pipe": lambda root, tar, _: pipe(root, "blob/y.bak"),
}


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("what", NOT_SEARCHED)
def test_what_cannot_be_searched_is_named(root, removed, what, dry_run, capfd, monkeypatch):
    (tar,) = tars(root)
    path = NOT_SEARCHED[what](root, tar, monkeypatch)
    remove(root, removed)
    assert compact(root, dry_run=True).unsearched == [path]
    assert run(["compact", str(root), *["--dry-run"] * dry_run]) == 0
    said = capfd.readouterr()
    assert [line for line in said.err.splitlines() if f"not-searched: {path}: wasn't searched" in line]
    if not dry_run:
        assert "that was searched has a copy any more; 1 place not searched, as said above" in said.out


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
    if stays:
        compact(root, unreferenced=True)
        assert b"of nobody" not in b"".join(tar.read_bytes() for tar in tars(root))
    assert differences(shown(root), {p: d for p, d in model.items() if p[10:11] not in going}) == []


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


# -- what was removed, and is called like something that stays ---------------------------------------------------

CALLED = (".secret.png", "._a.png", "a.txt", "none", "a.json", ".DS_Store")
"""Names that `compact` passes over where no offsets ever named them."""


def with_odd_image(root, name, data, *, others=True):
    create_project(root)
    files = {"a.png": picture("a", (16, 16)), name: data, "b.png": picture("b", (16, 16))}
    used(root, "x", "train", files if others else {name: data})
    return root


@pytest.mark.parametrize("others", [True, False])
@pytest.mark.parametrize("name", CALLED)
@pytest.mark.parametrize("command", ["remove", "rm", "add --replace", "pipe"])
def test_a_removed_image_goes_whatever_it_is_called(tmp_path, command, name, others, capfd):
    data = picture("secret", (16, 16))
    root = with_odd_image(tmp_path / "p", name, data, others=others)
    TOUCHING[command](root, f"train/img/{name}")
    assert run(["compact", str(root)]) == 0
    said = capfd.readouterr()
    assert "1 member dropped, of which no tar" in said.out, said
    assert not [path for path, found in files_below(root).items() if data in found]
    assert not (root / ".blobdir/released.json").exists()
    if others:
        assert blobdir.open_project(root)["train"].get_blob_img_bytes("a.png") == picture("a", (16, 16))


@pytest.mark.parametrize("name", CALLED)
@pytest.mark.parametrize("what", ["move", "mv", "named again", "another blob"])
def test_what_was_not_removed_stays_whatever_it_is_called(tmp_path, what, name):
    data = picture("secret", (16, 16))
    root = with_odd_image(tmp_path / "p", name, data)
    offsets, tar = root / "train/x_offsets.pkl", root / "blob/x.tar"
    before, content = offsets.read_bytes(), tar.read_bytes()
    TOUCHING[what if what in TOUCHING else "remove"](root, f"train/img/{name}")
    if what == "named again":
        offsets.write_bytes(before)
    elif what == "another blob":
        tar.unlink()
        tar.write_bytes(content)
    remove(root, ["train/b.png"])
    compact(root)
    stays = what in ("move", "mv", "named again") or name != "none"
    assert [path for path, found in files_below(root).items() if data in found] or not stays
    if what in ("move", "mv", "named again"):
        shown_at = f"elsewhere/img/{name}" if what in TOUCHING else f"train/img/{name}"
        assert shown(root)[shown_at] == data


@pytest.mark.parametrize("command", ["remove", "rm", "move", "mv", "add", "pipe", "merge", "compact"])
def test_what_cannot_be_cleared_away_is_named(root, tmp_path, monkeypatch, command, capfd):
    """A disk that fails at the very end keeps what was removed, in blobdir's own folder."""
    remove(root, ["train/a001.png"])
    real = shutil.rmtree

    def failing(path, *args, **kwargs):
        if os.path.basename(path) == "undo" and os.listdir(path):
            raise OSError(errno.EIO, "Input/output error", str(path))
        real(path, *args, **kwargs)

    monkeypatch.setattr(shutil, "rmtree", failing)
    (tmp_path / "a002.png").write_bytes(picture("new"))
    blobdir.packing.pack(write(tmp_path / "more/other/c.png", picture("c")).parents[1], tmp_path / "q")
    arguments = {
        "remove": [root, "train/a002.png"],
        "move": [root, "train/a002.png", "elsewhere"],
        "add": [root, "train", tmp_path / "a002.png", "--replace"],
        "merge": [root, tmp_path / "q"],
        "compact": [root],
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if command in arguments:
            assert run([command, *map(str, arguments[command])]) == 0
        else:
            TOUCHING[command](root, "train/img/a002.png")
    said = capfd.readouterr()
    assert ".blobdir/undo: couldn't be removed" in said.err + "".join(str(one.message) for one in caught)
    assert command != "compact" or "still in 1 file" in said.out
    assert "any more" not in said.out
