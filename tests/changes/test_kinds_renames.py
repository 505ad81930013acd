"""Each kind of fault of names that change places: swaps, chains, circles, empty datasets, a name given twice, case."""

from __future__ import annotations

import cProfile
import pstats
import shutil

import pytest
from changes.commands import transaction
from changes.looking import faults, names, shown
from changes.samples import files_below, files_of, numbered, packed, parts_of, picture, with_side_files
from hypothesis import given, settings
from hypothesis import strategies as st

import blobdir
from blobdir.errors import BlobdirError, UsageError
from blobdir.packing import SubsetOptions, move, remove, subset
from blobdir.packing.folders import Folders
from blobdir.packing.renames import in_order
from blobdir.verifying import verify

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

IMAGES = numbered(3) | {f"val/a{i:03d}.png": picture(f"val {i}") for i in (1, 2, 9)}
IMAGES |= {"top/datasets/deep/x.png": picture("x"), "other/datasets/deep/y.png": picture("y")}


@pytest.fixture(params=["loose", "packed"])
def root(request, tmp_path):
    return packed(tmp_path / "p", with_side_files(files_of(IMAGES)), annotations=request.param)


def renamed(files, change):
    """The files after `change` was made to all paths of images and of what lies beside them."""
    return {change(path): data for path, data in files.items()}


def image_as(path, changes):
    """A path, where it is of an image in `changes`, or of its side file, with the image's new name."""
    dataset, kind, name = parts_of(path)
    for old, new in changes.items():
        old_dataset, _, old_name = parts_of(old)
        new_dataset, _, new_name = parts_of(new)
        if kind and dataset == old_dataset and name.startswith(old_name):
            return f"{new_dataset}/{kind}/{new_name}{name.removeprefix(old_name)}"
    return path


def folder_as(path, changes):
    for old, new in changes.items():
        if path.startswith(f"{old}/"):
            return new + path[len(old) :]
    return path


A, B, C, V = "train/img/a001.png", "train/img/a002.png", "train/img/c.png", "val/img/a001.png"
STEPS = {
    "swap of images": [(A, C), (B, A), (C, B)],
    "swap over datasets": [(A, "val/img/t.png"), (V, A), ("val/img/t.png", V)],
    "swap by a new dataset": [(A, "tmp/img/t.png"), (V, A), ("tmp/img/t.png", V)],
    "chain, from its end": [(B, C), (A, B)],
    "one after the other": [(A, C), (C, "train/img/d.png")],
    "there and back": [(A, C), (C, A)],
    "a circle of three": [(A, C), (B, A), ("train/img/a003.png", B), (C, "train/img/a003.png")],
    "case only": [(A, "train/img/A001.png")],
    "case of the extension": [(A, "train/img/a001.PNG")],
    "case and back": [(A, "train/img/A001.png"), ("train/img/A001.png", A)],
    "swap of datasets": [("train", "tmp"), ("val", "train"), ("tmp", "val")],
    "swap of parents": [("top", "tmp"), ("other", "top"), ("tmp", "other")],
    "swap of nested ones": [
        ("top/datasets", "tmp/datasets"), ("other/datasets", "top/datasets"), ("tmp/datasets", "other/datasets")
    ],
    "dataset there and back": [("train", "tmp"), ("tmp", "train")],
    "dataset, case only": [("train", "Train")],
    "parent": [("top", "moved")],
    "dataset into another": [("val", "top/datasets/val")],
}  # fmt: skip


def end_of(steps):
    """Where everything is after all the steps, each a rename of a file or folder that is there."""
    place = {}
    for old, new in steps:
        for first, now in place.items():
            if now == old:
                place[first] = new
                break
        else:
            place[old] = new
    return place


@pytest.mark.parametrize("name", STEPS)
def test_moves_in_one_transaction(root, name):
    before, steps = shown(root), STEPS[name]
    transaction(root, lambda fs: [fs.mv(old, new, recursive="img" not in old) for old, new in steps])
    of = image_as if "/img/" in steps[0][0] else folder_as
    assert shown(root) == renamed(before, lambda path: of(path, end_of(steps)))
    assert faults(root) == []
    assert not [d for d in blobdir.open_project(root, index="none").defects if d.severity == "error"]
    assert not (root / "tmp").exists()


LISTS = {
    "chain": ([A, B], [B, C]),
    "chain, given from its end": ([B, A], [C, B]),
    "long chain": ([A, B, "train/img/a003.png"], [B, "train/img/a003.png", C]),
    "swap": ([A, B], [B, A]),
    "circle and chain": ([A, V, B, "val/img/a009.png"], [V, A, C, B]),
    "one twice": ([A, A, B], [C, C, B]),
    "into a folder": ([A, B], "new/img/"),
    "swap of datasets": (["train", "val"], ["val", "train"]),
    "chain of datasets": (["train", "val"], ["val", "third"]),
}


@pytest.mark.parametrize("name", LISTS)
def test_moves_of_a_list_happen_at_once(root, name):
    before, (old, new) = shown(root), LISTS[name]
    transaction(root, lambda fs: fs.mv(old, new, recursive=True))
    new = new if isinstance(new, list) else [new + path.rpartition("/")[2] for path in old]
    of = image_as if "/img/" in old[0] else folder_as
    assert shown(root) == renamed(before, lambda path: of(path, dict(zip(old, new, strict=True))))
    assert faults(root) == []


@pytest.mark.parametrize("how", ["mv", "cp"])
@pytest.mark.parametrize(("old", "new"), [([A, B], [C, C]), ([A, A], [B, C]), ([A], [B, C])])
def test_lists_that_cannot_be(root, how, old, new):
    before = files_below(root)
    with pytest.raises(UsageError):
        transaction(root, lambda fs: getattr(fs, how)(old, new))
    assert files_below(root) == before


def test_copies_of_a_list_happen_at_once(root):
    before = shown(root)
    transaction(root, lambda fs: fs.cp([A, B], [B, C]))
    after = shown(root)
    assert (after[A], after[B], after[C]) == (before[A], before[A], before[B])


@settings(max_examples=300, deadline=None)
@given(st.permutations("abcdef"), st.integers(0, 6), st.sets(st.sampled_from("abcdef")))
def test_order(new, shift, moving):
    renames = [
        (old, "ghijkl"[shift - 1] if shift and old == "abcdef"[shift - 1] else to)
        for old, to in zip("abcdef", new, strict=True)
    ]
    renames = [(old, to) for old, to in renames if old in moving]
    files = {name: name for name in "abcdef"}
    expected = {name: name for name in files if name not in moving} | {to: old for old, to in renames}
    found = dict(files)
    for old, to in in_order(renames, lambda name: f"free {name}"):
        if to in found:  # it isn't one of those that move
            assert to not in moving
        found[to] = found.pop(old)
    assert found == expected


# -- datasets with nothing in them -------------------------------------------------------------------------------


def empty_folders(root):
    return {
        str(p.relative_to(root))
        for p in root.rglob("*")
        if p.is_dir() and ".blobdir" not in p.parts and not any(p.iterdir())
    }


def _without_images(root):
    remove(root, [f"train/a00{i}.png" for i in (1, 2, 3)])


def _parent_without_images(root):
    (root / "train/datasets/deep/ann").mkdir(parents=True)
    _without_images(root)


def _directly_in_it(root):
    shutil.copytree(root / "val", root / "train/more")
    (root / "train/mine").mkdir()


EMPTYING = {
    "an empty dataset": _without_images,
    "an empty parent": _parent_without_images,
    "folders of one's own": lambda root: (root / "train/more/img").mkdir(parents=True),
    "a full one directly in it, and an empty one": _directly_in_it,
    "full, with an empty one in it": lambda root: (root / "train/datasets/deep/ann").mkdir(parents=True),
}


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("how", ["mv", "cp"])
@pytest.mark.parametrize("kind", EMPTYING)
def test_empty_folders_go_along(root, kind, how, back):
    EMPTYING[kind](root)
    before, empty = shown(root), empty_folders(root)
    datasets = set(blobdir.open_project(root, index="none"))

    def change(fs):
        getattr(fs, how)("train", "new/datasets/place", recursive=True)
        if back:
            if how == "cp":
                fs.rm("train", recursive=True)
            fs.mv("new/datasets/place", "train", recursive=True)

    transaction(root, change)
    mine = {path for path in empty if path.startswith("train/")}
    gone = set() if how == "cp" or back else mine
    copies = set() if back else {path.replace("train", "new/datasets/place", 1) for path in mine}
    assert mine
    assert (empty - gone) | copies <= empty_folders(root) | {"train/ann"}
    assert not gone & empty_folders(root)
    assert faults(root) == []
    names_now = set(blobdir.open_project(root, index="none"))
    if back:
        assert shown(root) == before
        assert names_now == datasets
    else:
        assert {
            path.replace("train/", "new/datasets/place/", 1) for path in before if path.startswith("train/")
        } <= set(shown(root))
        assert {name.replace("train", "new/place", 1) for name in datasets if name.startswith("train")} <= names_now


@pytest.mark.parametrize("target", ["blob/x", ".blobdir/x", "meta.json/x", "train/datasets"])
def test_empty_folders_go_to_no_place_that_cannot_be(root, target):
    EMPTYING["an empty dataset"](root)
    before = files_below(root), empty_folders(root)
    with pytest.raises((BlobdirError, OSError)):
        transaction(root, lambda fs: fs.mv("train", target, recursive=True))
    assert (files_below(root), empty_folders(root)) == before


@pytest.mark.parametrize("how", ["mv", "cp", "rm"])
def test_folders_that_are_not_there(root, how):
    with pytest.raises(FileNotFoundError):
        transaction(root, lambda fs: getattr(fs, how)(*["none", "new"][: 1 if how == "rm" else 2], recursive=True))


# -- one name twice ----------------------------------------------------------------------------------------------

SPELLINGS = {
    "remove": (remove, [A, "train/a001.png", "/train/a001.png/", A]),
    "move": (lambda root, paths: move(root, paths, "new"), [A, "train/a001.png", A]),
    "rm": (lambda root, paths: transaction(root, lambda fs: fs.rm(paths)), [A, f"/{A}", A]),
    "rm of an image and what went with it": (
        lambda root, paths: transaction(root, lambda fs: fs.rm(paths)), [A, "train/ann/a001.png.json", A]
    ),
    "mv": (lambda root, paths: transaction(root, lambda fs: fs.mv(paths, "new/img/")), [A, f"/{A}", A]),
    "subset": (
        lambda root, paths: subset(root, root.with_name("made"), SubsetOptions(names=paths)), [A, "train/a001.png", A]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_name_given_twice_counts_once(root, tmp_path, name):
    run, paths = SPELLINGS[name]
    once = shutil.copytree(root, tmp_path / "once/p")
    reports = [run(root, paths), run(once, paths[:1])]
    assert shown(root) == shown(once)
    assert getattr(reports[0], "images", None) == getattr(reports[1], "images", None)
    if name == "subset":
        assert shown(tmp_path / "made") == shown(tmp_path / "once/made")
    assert faults(root) == []


@pytest.mark.parametrize("paths", [["train", A], [A, "train"], ["train/img", "train/img/a001.png", "train"]])
def test_rm_of_a_folder_and_what_is_in_it(root, paths):
    transaction(root, lambda fs: fs.rm(paths, recursive=True))
    assert names(root, "train") == []
    assert not any(path.startswith("train/") for path in shown(root))
    assert faults(root) == []


# -- case --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [[("train", "Train")], [("val/ann/a001.png.json", "val/ann/A001.png.json")]])
def test_case_only_where_case_is_the_same(tmp_path, monkeypatch, steps):
    """A file that would be put and then removed, since both names are its own: refused before anything happens."""
    root = packed(tmp_path / "p", files_of(IMAGES))
    before = files_below(root)
    stat = Folders.stat

    def without_case(self, path):
        found = {p.casefold(): p for p in before}
        return stat(self, found.get(path.casefold(), path))

    monkeypatch.setattr(Folders, "stat", without_case)
    with pytest.raises(UsageError, match="upper from lower case.*nothing was changed"):
        transaction(root, lambda fs: [fs.mv(old, new, recursive=True) for old, new in steps])
    assert files_below(root) == before


# -- many --------------------------------------------------------------------------------------------------------


def _each(root, paths, change):
    transaction(root, lambda fs: [change(fs, path) for path in paths])


MANY = {
    "remove": remove,
    "move": lambda root, paths: move(root, paths, "new"),
    "rm of a list": lambda root, paths: transaction(root, lambda fs: fs.rm(paths)),
    "rm one by one": lambda root, paths: _each(root, paths, lambda fs, path: fs.rm(path)),
    "rm -r": lambda root, paths: transaction(root, lambda fs: fs.rm("train", recursive=True)),
    "mv of a list": lambda root, paths: transaction(root, lambda fs: fs.mv(paths, "new/img/")),
    "mv of a chain": lambda root, paths: transaction(root, lambda fs: fs.mv(paths, [*paths[1:], "train/img/z.png"])),
    "mv one by one": lambda root, paths: _each(root, paths, lambda fs, path: fs.mv(path, path.replace("/a", "/b"))),
    "mv to another": lambda root, paths: _each(root, paths, lambda fs, p: fs.mv(p, p.replace("train", "new"))),
    "mv -r": lambda root, paths: transaction(root, lambda fs: fs.mv("train", "new", recursive=True)),
    "cp -r": lambda root, paths: transaction(root, lambda fs: fs.cp("train", "new", recursive=True)),
    "subset": lambda root, paths: subset(root, root.with_name("made"), SubsetOptions(names=paths)),
}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Two projects, one of them four times the other: in images, in datasets, in files of folders of masks."""
    found, base = {}, tmp_path_factory.mktemp("many")
    for count in (60, 240):
        images = {f"train/a{i:06d}.bmp": picture(i, form="BMP") for i in range(count)}
        images |= {f"d{i:06d}/a.bmp": picture(i, form="BMP") for i in range(count // 4)}
        files = files_of(images) | {f"train/masks_human/a{i:06d}/{i}.png": picture(f"m{i}") for i in range(count)}
        found[count] = packed(base / f"p{count}", files, shard_images=10**6)
    return found


@pytest.mark.parametrize("command", MANY)
def test_work_is_linear_in_the_names_of_a_list(tmp_path, large, command):
    """Calls of functions are counted: no clock says it as well on a busy machine."""
    calls = {}
    for count, root in large.items():
        work = shutil.copytree(root, tmp_path / str(count) / "p")
        paths = [f"train/img/a{i:06d}.bmp" for i in range(count // 2)]
        profile = cProfile.Profile()
        profile.runcall(MANY[command], work, paths)
        calls[count] = pstats.Stats(profile).total_calls
    assert calls[240] < 4.4 * calls[60], calls


# -- masks, which lie in files and folders -----------------------------------------------------------------------

MASKS_OF = {  # of `a.png` -> of `b.jpg`, of `a.PNG`
    "folder, full name": ("a.png/m.png", "b.jpg/m.png", "a.PNG/m.png"),
    "folder in that": ("a.png/x/m.png", "b.jpg/x/m.png", "a.PNG/x/m.png"),
    "folder, stem": ("a/m.png", "b/m.png", "a/m.png"),
    "file, full name": ("a.png.png", "b.jpg.png", "a.PNG.png"),
    "file, stem": ("a.png", "b.png", "a.png"),
}


@pytest.mark.parametrize("place", ["train/img", "other/img"])
@pytest.mark.parametrize("new", [0, 1])
@pytest.mark.parametrize("beside", ["", "b.png"])
@pytest.mark.parametrize("kind", MASKS_OF)
def test_masks_go_along_with_another_extension(tmp_path, kind, beside, new, place):
    """By the rule that has made them the image's: by the stem, or by the full name."""
    images = {"train/a.png": picture("a")}
    if beside:
        images[f"{place.partition('/')[0]}/{beside}"] = picture("beside")
    root = packed(tmp_path / "p", files_of(images))
    (root / "train/masks_human" / MASKS_OF[kind][0]).parent.mkdir(parents=True)
    (root / "train/masks_human" / MASKS_OF[kind][0]).write_bytes(picture("mask"))
    name = ("b.jpg", "a.PNG")[new]
    target = f"{place.partition('/')[0]}/masks_human/{MASKS_OF[kind][1 + new]}"
    if beside and not new and kind in ("folder, stem", "file, stem"):
        with pytest.raises(UsageError, match=r"would be taken for b\.png's as well"):
            transaction(root, lambda fs: fs.mv("train/img/a.png", f"{place}/{name}"))
        return
    transaction(root, lambda fs: fs.mv("train/img/a.png", f"{place}/{name}"))
    found = {path: data for path, data in shown(root).items() if "masks_" in path}
    assert found == {target: picture("mask")}
    assert [f.code for f in verify(root, processes=1).findings if f.code == "side-without-image"] == []


MASKS_OF_BOTH_KINDS = {  # of one image, by its stem and by its full name; masks in folders and files
    "a.jpg.png": ("x/a.jpg.png", "x/a.jpg.png.png", "y/a.jpg/m.png", "y/a.jpg.png/m.png"),
    "a.png": ("x/a.png.png", "y/a/m.png", "y/a.png/m.png", "x/a.png"),
}
NAMES_IN_A_ROW = {"a.jpg.png": ["a.jpg", "a.jpg.png.png", "a.jpg.bmp", "a.png"], "a.png": ["a.png.png", "a.png.jpg"]}


@pytest.mark.parametrize("folder", ["train", "other"])
@pytest.mark.parametrize(("old", "new"), [(old, new) for old, found in NAMES_IN_A_ROW.items() for new in found])
def test_masks_whose_new_name_is_the_old_one_of_others(tmp_path, old, new, folder):
    masks = {f"train/masks_{path}": path.encode() for path in MASKS_OF_BOTH_KINDS[old]}
    root = packed(tmp_path / "p", files_of({f"train/{old}": picture("a")}) | masks)
    before = sorted(data for path, data in shown(root).items() if "masks_" in path)
    assert len(before) == len(masks)
    transaction(root, lambda fs: fs.mv(f"train/img/{old}", f"{folder}/img/{new}"))
    after = shown(root)
    assert sorted(data for path, data in after.items() if "masks_" in path) == before
    assert f"{folder}/img/{new}" in after and f"train/img/{old}" not in after
    assert faults(root) == []
