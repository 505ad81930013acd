"""Each kind of fault of changes that should have been refused: damage, missing blobs, what can't be read or done."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from changes.commands import LEAVING, TOUCHING, transaction
from changes.looking import faults, get, names, shown
from changes.samples import (
    annotation,
    change_entries,
    entries,
    files_below,
    numbered,
    packed,
    pickles,
    picture,
    picture_of,
    rewrite,
    shift,
    tars,
    write,
)  # fmt: skip

from blobdir.errors import BlobdirError
from blobdir.packing import SubsetOptions, add, add_blob_file, compact, merge, move, remove, subset

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


# -- damage --------------------------------------------------------------------------------------------------


def names_shifted(root):
    """Every name is that of the member after it: same headers, same sizes."""
    for pickle in pickles(root, False):
        found = [name for name, _, _ in entries(pickle)]
        following = dict(zip(found, found[1:] + found[:1], strict=True))
        change_entries(pickle, lambda name, start, end, to=following: (to[name], start, end))


def one_entry_too_short(root):
    pickle = pickles(root, False)[0]
    first, *rest = entries(pickle)
    rewrite(pickle, [(first[0], first[1], first[2] - 1), *rest])


def header_overwritten(root):
    tar = tars(root)[0]
    data = bytearray(tar.read_bytes())
    data[:100] = bytes(100)
    tar.write_bytes(data)


DAMAGES = {"shifted": shift, "names": names_shifted, "short": one_entry_too_short, "header": header_overwritten}


def _whole(command, root):
    """Another project with all of it."""
    target = root.with_name("made")
    if command == "subset":
        subset(root, target, SubsetOptions(blobs="copy"))
    else:
        merge(packed(target, numbered(1, dataset="own")), root, copy=True)
    return target


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("command", [*TOUCHING, "compact", "subset", "merge"])
def test_damage_is_not_made_official(tmp_path, command, damage):
    """What is served afterwards is right or refused, and `verify` still says what is wrong."""
    images = numbered(8, form="{:06d}.png")
    root = packed(tmp_path / "p", images)
    remove(root, ["train/000008.png"])
    DAMAGES[damage](root)
    assert faults(root)
    before, made = files_below(root), root
    try:
        if command == "compact":
            compact(root)
        else:
            made = _whole(command, root) if command in ("subset", "merge") else root
            if command in TOUCHING:
                TOUCHING[command](root, "train/img/000001.png")
    except BlobdirError:
        assert files_below(root) == before
        return
    wrong = 0
    for path, data in images.items():
        if path not in ("train/000001.png", "train/000008.png"):
            found = get(made, path.replace("/", "/img/"))
            wrong += isinstance(found, Exception)
            assert isinstance(found, Exception) or found == data, "wrong bytes are served"
    assert faults(made) or not wrong


@pytest.mark.parametrize("command", LEAVING)
def test_misfit_is_left_alone_or_goes_as_a_whole(tmp_path, command):
    root = packed(tmp_path / "p", numbered(6))
    shift(root)
    with contextlib.suppress(BlobdirError):
        LEAVING[command](root, "train/img/a001.png")
    entry = any(name == "a001.png" for pickle in pickles(root, False) for name, _, _ in entries(pickle))
    assert entry == (root / "train/ann/a001.png.json").exists()


# -- names of blobs ------------------------------------------------------------------------------------------

GROWING = {
    "add": lambda root, new: add(root, "train", [new]),
    "add --replace": lambda root, new: add(root, "train", [new], replace=True),
    "transaction": lambda root, new: transaction(root, lambda fs: fs.put(str(new), "train/img/new.png")),
    "merge": lambda root, new: merge(root, packed(root.with_name("other"), {"train/other.png": picture("other")})),
    "compact": lambda root, new: compact(root),
    "move": lambda root, new: move(root, ["train/a008.png"], "train2"),
}


@pytest.mark.parametrize("suffix", [".tar", ".TAR", ".Tar"])
@pytest.mark.parametrize("command", GROWING)
def test_a_missing_blobs_name_is_not_given_again(tmp_path, command, suffix):
    root = packed(tmp_path / "p", numbered(8))
    transaction(root, lambda fs: fs.pipe("train/img/piped.png", picture("piped")))
    remove(root, ["train/a002.png"])
    before = {path: data for path, data in shown(root).items() if "a008" not in path}
    (root / "blob/SHA256SUMS").unlink()
    for tar in tars(root):
        tar.rename(tar.with_suffix(suffix))
    away = tars(root)[:-1] if command == "compact" else tars(root)
    for tar in away:
        tar.rename(tmp_path / tar.name)
    with contextlib.suppress(BlobdirError):
        GROWING[command](root, write(tmp_path / "new/new.png", picture("new")))
    for tar in away:
        assert not any(there.name.casefold() == tar.name.casefold() for there in tars(root))
        (tmp_path / tar.name).rename(tar)
    found = shown(root)
    assert [path for path in before if path != "meta.json" and found.get(path) != before[path]] == []
    assert faults(root) == []


def test_of_tar_and_TAR_the_first_is_used_by_all(tmp_path):  # noqa: N802
    root = packed(tmp_path / "p", numbered(8), shard_images=100)
    remove(root, ["train/a002.png", "train/a003.png"])
    blob = tars(root)[0]
    other = packed(tmp_path / "q", {path: picture_of(path, f"other {path}") for path in numbered(8)}, shard_images=100)
    shutil.copy(tars(other)[0], blob.with_suffix(".TAR"))
    before = shown(root)
    with contextlib.suppress(BlobdirError):
        compact(root)
    assert shown(root) == before
    assert blob.with_suffix(".TAR").exists()


def test_two_projects_can_lie_in_one_bucket(tmp_path):
    """Blobs with other bytes have other names; the same input gives the same names."""
    one, other = numbered(8), numbered(8, 50)
    found = [{t.name for t in tars(packed(tmp_path / str(i), images))} for i, images in enumerate((one, other, one))]
    assert not found[0] & found[1]
    assert found[0] == found[2]


def test_merging_the_same_project_under_other_names(tmp_path):
    root = packed(tmp_path / "p", numbered(5))
    for i in range(3):
        other = packed(tmp_path / f"q{i}", numbered(5, 10 * i + 10, "train"))
        merge(root, other)
    assert names(root, "train") == sorted(
        f"a{i:03d}.png" for j in range(4) for i in range(10 * j + (j == 0), 10 * j + 5 + (j == 0))
    )
    assert faults(root) == []


# -- not visible isn't "not there" -----------------------------------------------------------------------------

AS_NOBODY = """
import os, sys
from blobdir.packing import *
import fsspec, blobdir.packing.subset, blobdir.packing.editing
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try: {code}
except (OSError, ValueError) as error: sys.exit(f"{{type(error).__name__}}: {{error}}")
"""
IN_PLACE = {
    "compact": "compact('p')",
    "remove": "remove('p', ['train/a001.png'])",
    "move": "move('p', ['train/a001.png'], 'val')",
    "add": "add('p', 'val', ['new/a051.png'])",
    "merge": "merge('p', 'other')",
    "subset": "subset('p', 's')",
}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("what", ["val", "val/ann", "train/train-2_offsets.pkl", "blob"])
@pytest.mark.parametrize("command", IN_PLACE)
def test_what_may_not_be_read_is_not_missing(command, what):
    import tempfile

    base = Path(tempfile.mkdtemp(prefix="nobody-", dir="/var/tmp"))  # where that user can come to
    try:
        root = packed(base / "p", numbered(8) | numbered(3, 50, "val"))
        packed(base / "other", numbered(1, 50, "val"))
        write(base / "new/a051.png", picture("new"))
        before = shown(root)
        closed = pickles(root, False)[0] if what.endswith(".pkl") else root / what
        for path in [base, *base.rglob("*")]:
            os.chown(path, 65534, 65534)
        os.chown(closed, 0, 0)
        os.chmod(closed, 0o700 if closed.is_dir() else 0o600)
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY.format(code=IN_PLACE[command])],
            cwd=base,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env=os.environ | {"XDG_CACHE_HOME": str(base / "cache")},
        )
        os.chmod(closed, 0o755 if closed.is_dir() else 0o644)
        assert "Traceback" not in done.stderr
        lost = {path for path in before if path != "meta.json" and get(root, path) != before[path]}
        if command == "subset":
            assert done.returncode or shown(base / "s") == before
        elif done.returncode or command == "compact":
            assert shown(root) == before
        assert lost <= {"train/img/a001.png", "train/ann/a001.png.json"}
        assert faults(root) == []
    finally:
        shutil.rmtree(base)


# -- half a change ---------------------------------------------------------------------------------------------

IMPOSSIBLE = {
    "move into a file": lambda root, new: move(root, ["train/a001.png"], "meta.json"),
    "move below a file": lambda root, new: move(root, ["train/a001.png"], "meta.json/x"),
    "move where ann is a file": lambda root, new: move(root, ["train/a001.png"], "odd"),
    "move where img is a file": lambda root, new: move(root, ["train/plain.png"], "odd2"),
    "add to a file": lambda root, new: add(root, "meta.json", [new]),
    "add where ann is a file": lambda root, new: add(root, "odd", [new]),
    "add where an annotation is a folder": lambda root, new: add(root, "odd3", [new]),
    "add below a file": lambda root, new: add(root, "README.md/deep", [new]),
    "pipe below a file": lambda root, new: transaction(root, lambda fs: fs.pipe("meta.json/img/x.png", picture(9))),
    "pipe below an image": lambda root, new: transaction(
        root, lambda fs: fs.pipe("train/img/a001.png/img/x.png", picture(9))
    ),
    "pipe to a folder": lambda root, new: transaction(root, lambda fs: fs.pipe("train/ann", b"x")),
    "two that contradict": lambda root, new: transaction(root, lambda fs: fs.pipe({"x": b"1", "x/y": b"2"})),
    "mv below a file": lambda root, new: transaction(
        root, lambda fs: fs.mv("train/img/a001.png", "README.md/img/a.png")
    ),
    "merge over a file": lambda root, new: merge(
        root, packed(root.with_name("other"), {"README.md/b.png": picture("b")})
    ),
    "tar for a file": lambda root, new: add_blob_file(
        root, tars(packed(root.with_name("t"), numbered(2)))[0], "meta.json"
    ),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_what_cannot_be_done_is_refused_before_anything_is_written(tmp_path, what):
    root = packed(tmp_path / "p", numbered(3))
    write(root / "README.md", b"text")
    write(root / "odd/ann", b"a file")
    write(root / "odd2/img", b"a file")
    (root / "odd3/ann/new.png.json").mkdir(parents=True)
    write(root / "train/img/plain.png", picture("plain"))
    write(root / "train/ann/plain.png.json", annotation())
    before = files_below(root)
    with pytest.raises((BlobdirError, OSError)):
        IMPOSSIBLE[what](root, write(tmp_path / "new.png", picture("new")))
    assert files_below(root) == before
    assert not (root / ".blobdir/journal.json").exists()
    remove(root, ["train/a002.png"])
    assert names(root, "train") == ["a001.png", "a003.png", "plain.png"]
