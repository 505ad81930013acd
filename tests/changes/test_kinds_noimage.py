"""Files in ``img/`` that are no images, as captions, have no labels; members of blobs are images by any name."""

from __future__ import annotations

import io
import tarfile

import fsspec
import pytest
from changes.commands import transaction
from changes.looking import faults, shown
from changes.samples import annotation, files_of, packed, picture, write

import blobdir
from blobdir.cli.app import run
from blobdir.errors import UsageError
from blobdir.moving import fetch, push
from blobdir.packing import SubsetOptions, add, add_blob_file, merge, move, remove, subset

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

A, B = "train/img/a.png", "train/img/b.png"
BESIDE = {"train/img/a.txt": b"caption", "train/img/a.npy": b"depth"}
WITH_TEXT = {
    "mv of the dataset": lambda fs: fs.mv("train", "z", recursive=True),
    "mv of its images": lambda fs: fs.mv("train/img", "z/img", recursive=True),
    "cp of the dataset": lambda fs: fs.cp("train", "z", recursive=True),
    "a new one": lambda fs: [
        fs.pipe("z/img/c.txt", b"caption"),
        fs.pipe("z/img/c.png", picture("c")),
        fs.pipe("z/ann/c.json", annotation("label of c")),
    ],
    "a new one at once": lambda fs: fs.pipe(
        {"z/img/c.txt": b"1", "z/img/c.png": picture("c"), "z/ann/c.json": annotation("label of c")}
    ),
}


@pytest.mark.parametrize("how", WITH_TEXT)
def test_what_is_no_image_has_no_labels(tmp_path, how):
    files = files_of({"train/a.png": picture("a")})
    files["train/ann/a.json"] = files.pop("train/ann/a.png.json")
    root = packed(tmp_path / "p", files | BESIDE | {"train/masks_x/a/m.png": picture("m"), "train/meta/a.json": b"{}"})
    before = shown(root)
    transaction(root, WITH_TEXT[how])
    found = shown(root)
    assert faults(root) == []
    if "new" in how:
        assert found["z/ann/c.json"] == annotation("label of c") and "z/ann/c.png.json" not in found
    else:
        went = {path for path, data in before.items() if path.startswith("train/")}
        there = sorted(data for path, data in found.items() if path.startswith("z/"))
        assert there == sorted(before[path] for path in went)


@pytest.mark.parametrize("step", ["rm", "mv"])
def test_captions_that_are_written_keep_no_labels(tmp_path, step):
    files = files_of({"train/a.png": picture("a")})
    files["train/ann/a.json"] = files.pop("train/ann/a.png.json")
    files |= {"train/masks_x/a/m.png": picture("m"), "train/meta/a.json": b'{"of": "a"}'}
    root = packed(tmp_path / "p", files | BESIDE)

    def change(fs):
        fs.pipe("train/img/a.txt", b"another caption")
        fs.rm(A) if step == "rm" else fs.mv(A, B)

    transaction(root, change)
    left = {path for path in shown(root) if path.startswith("train/") and "/b" not in path}
    assert left == {"train/img/a.txt", "train/img/a.npy"}


SIDES = {
    "label": {"train/ann/a.json": annotation("label of a")},
    "masks": {"train/masks_x/a/m.png": picture("m"), "train/masks_y/a.png": picture("n")},
    "meta": {
        "train/meta/a.json": b'{"of": "a"}',
        "train/img_info/a.json": b'{"id": 1}',
        "train/seg/a.png": picture("seg"),
    },
}


def captioned(place, side):
    files = files_of({"train/a.png": picture("a"), "train/b.png": picture("b")})
    if side == "label":
        del files["train/ann/a.png.json"]
    return packed(place, files | BESIDE | SIDES[side])


def of_a(found):
    return {path: data for path, data in found.items() if path.split("/")[-1].startswith("a") or "/a/" in path}


@pytest.mark.parametrize("side", SIDES)
def test_remove_leaves_nothing_for_captions(tmp_path, side):
    root = captioned(tmp_path / "p", side)
    remove(root, [A])
    assert of_a(shown(root)).keys() == BESIDE.keys()
    add(root, "train", [write(tmp_path / "new/a.png", picture("another"))])
    found = of_a(shown(root))
    assert found[A] == picture("another") and found.keys() == {*BESIDE, A, "train/ann/a.png.json"}
    assert faults(root) == []


@pytest.mark.parametrize("side", SIDES)
def test_move_leaves_nothing_for_captions(tmp_path, side):
    root = captioned(tmp_path / "p", side)
    before = of_a(shown(root))
    move(root, [A], "val")
    found = of_a(shown(root))
    assert {path for path in found if path.startswith("train/")} == BESIDE.keys()
    assert sorted(found.values()) == sorted(before.values()) and faults(root) == []


@pytest.mark.parametrize("side", SIDES)
def test_captions_keep_no_image_from_coming(tmp_path, side):
    """What is nobody's, and has a caption's stem, is in an image's way as it would be without the caption."""
    said = []
    for captions in ({}, BESIDE):
        root = packed(tmp_path / f"p{len(said)}", files_of({"train/b.png": picture("b")}) | captions | SIDES[side])
        before = shown(root)
        try:
            add(root, "train", [write(tmp_path / "new/a.png", picture("another"))])
        except UsageError as error:
            said.append(str(error))
            assert shown(root) == before
        else:
            said.append(shown(root).keys() - before.keys())
    assert said[0] == said[1]


@pytest.mark.parametrize("typed", ["train/img/a.txt", "train/a.npy"])
@pytest.mark.parametrize("command", ["remove", "move"])
def test_commands_for_images_refuse_captions(tmp_path, command, typed, capsys):
    root = captioned(tmp_path / "p", "masks")
    before = shown(root)
    assert run([command, str(root), typed, *(["val"] if command == "move" else [])]) == 2
    assert "no image" in capsys.readouterr().err and shown(root) == before


@pytest.mark.parametrize("side", SIDES)
def test_merge_keeps_captions_and_what_is_each_images(tmp_path, side):
    ours = packed(tmp_path / "ours", files_of({"train/c.png": picture("c")}) | {"train/img/a.log": b"no image"})
    theirs = captioned(tmp_path / "theirs", side)
    wanted = shown(ours) | {path: data for path, data in shown(theirs).items() if path.startswith("train/")}
    merge(ours, theirs)
    assert {p: d for p, d in shown(ours).items() if p.startswith("train/")} == {
        p: d for p, d in wanted.items() if p.startswith("train/")
    }


@pytest.mark.parametrize("side", SIDES)
def test_a_subset_has_what_is_its_images(tmp_path, side):
    root = captioned(tmp_path / "p", side)
    subset(root, tmp_path / "s", SubsetOptions(patterns=["train/b.png"]))
    assert not of_a(shown(tmp_path / "s"))
    subset(root, tmp_path / "t", SubsetOptions(patterns=["train/a.png"]))
    assert of_a(shown(tmp_path / "t")).keys() >= SIDES[side].keys() | BESIDE.keys()


@pytest.mark.parametrize("which", ["train", "train/a.png", "train/b.png"])
def test_a_subset_says_what_belongs_to_no_image(tmp_path, which, capsys):
    files = files_of({"train/a.png": picture("a"), "train/b.png": picture("b"), "empty/x.png": picture("x")}) | BESIDE
    files |= {"train/img/a.png.txt": b"of a.png", "train/img/notes.md": b"notes", "train/more/x.txt": b"more"}
    files |= {"docs/d.txt": b"docs", "train/own.txt": b"own", "empty/datasets/deep/img/y.png": picture("y")}
    root = packed(tmp_path / "p", files)
    how = ["--dataset", "train"] if which == "train" else ["--glob", which]
    assert run(["subset", str(root), str(tmp_path / "s"), *how]) == 0
    said = capsys.readouterr().out
    assert all(f" {path}" in said for path in ("docs/", "train/img/notes.md", "train/more/")) and "deep" not in said
    found = shown(tmp_path / "s")
    captions = {path for path in found if path.startswith("train/img/a") and not path.endswith(".png")}
    assert captions == (set() if which == "train/b.png" else {*BESIDE, "train/img/a.png.txt"})
    assert found["train/own.txt"] == b"own" and faults(tmp_path / "s") == []


# -- members that aren't called like images are images ---------------------------------------------------------------

ODD = ["a.gif", "a", "a.jp2", "a.txt"]


def with_member(tmp_path, name):
    """A project with a member of an odd name, its label, its mask and its meta, and another image."""
    content = {f"train/{each}": picture(each) for each in ("a.png", "c.png")}
    root = packed(tmp_path / "p", files_of({"val/v.png": picture("v")}))
    with tarfile.open(tmp_path / "m.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for member, data in ((name, content["train/a.png"]), ("c.png", content["train/c.png"])):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    add_blob_file(root, tmp_path / "m.tar", "train")
    mine = {f"train/ann/{name}.json": annotation("label of a"), "train/masks_x/a.png": picture("mask of a")}
    mine |= {f"train/meta/{name}.json": b'{"of": "a"}'}
    for path, data in (mine | {"train/ann/c.png.json": annotation("label of c")}).items():
        write(root / path, data)
    return root, {f"train/img/{name}": picture("a.png")} | mine


def images_of(root):
    project = blobdir.open_project(root, index="none")
    return {
        f"{name}/{image}": project[name].annotation(image).get("description")
        for name in project
        for image in project[name].names
    }


MOVED = {
    "the image": lambda fs, name: fs.mv(f"train/img/{name}", f"w/img/{name}"),
    "the folder": lambda fs, name: fs.mv("train/img", "w/img", recursive=True),
    "the dataset": lambda fs, name: fs.mv("train", "w", recursive=True),
    "a list": lambda fs, name: fs.mv(
        [f"train/img/{name}", f"train/ann/{name}.json"], [f"w/img/{name}", f"w/ann/{name}.json"]
    ),
    "a pattern": lambda fs, name: fs.mv("train/*", "w/", recursive=True),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("how", MOVED)
def test_members_of_odd_names_move(tmp_path, how, name):
    root, mine = with_member(tmp_path, name)
    before = images_of(root)
    transaction(root, lambda fs: MOVED[how](fs, name))
    found = shown(root)
    assert sorted(images_of(root).values(), key=str) == sorted(before.values(), key=str)
    assert images_of(root)[f"w/{name}"] == "label of a"
    there = {path for path in found if path.startswith("w/")}
    assert sorted(found[path] for path in there if path.rpartition("/")[2].startswith("a")) == sorted(mine.values())
    assert not found.keys() & mine.keys() and faults(root) == []


@pytest.mark.parametrize("name", ODD)
def test_members_of_odd_names_go_copy_and_change(tmp_path, name):
    root, mine = with_member(tmp_path, name)
    transaction(root, lambda fs: fs.cp("train", "w", recursive=True))
    assert images_of(root)[f"w/{name}"] == "label of a" and len(images_of(root)) == 5
    transaction(root, lambda fs: fs.cp(f"train/img/{name}", f"val/img/{name}"))
    assert images_of(root)[f"val/{name}"] == ""
    transaction(root, lambda fs: fs.pipe(f"train/img/{name}", picture("another")))
    found = shown(root)
    assert found[f"train/img/{name}"] == picture("another") and images_of(root)[f"train/{name}"] == "label of a"
    transaction(root, lambda fs: fs.mv(f"train/img/{name}", "train/img/b.png"))
    assert images_of(root)["train/b.png"] == "label of a"
    transaction(root, lambda fs: fs.rm(f"w/img/{name}"))
    left = {path.replace("train/", "w/", 1) for path in mine} & shown(root).keys()
    assert not left and faults(root) == []


def test_a_member_comes_to_where_a_caption_was_written(tmp_path):
    for how in ("cp", "mv"):
        (tmp_path / how).mkdir()
        root, _ = with_member(tmp_path / how, "a.gif")

        def change(fs, how=how):
            fs.pipe("train/img/n.txt", b"caption")
            getattr(fs, how)("train/img/a.gif", "train/img/n.txt")

        transaction(root, change)
        assert shown(root)["train/img/n.txt"] == picture("a.png") and faults(root) == []


@pytest.mark.parametrize("away", ["rm", "mv"])
def test_a_plain_file_at_a_members_place_is_no_image(tmp_path, away):
    """What was that of the member is nobody's then, and a new image of the stem is as it would be without."""
    views = []
    for together in (True, False):
        (tmp_path / str(together)).mkdir()
        root, _ = with_member(tmp_path / str(together), "a.gif")
        steps = [
            (lambda fs: fs.rm("train/img/a.gif"))
            if away == "rm"
            else lambda fs: fs.mv("train/img/a.gif", "w/img/a.gif"),
            lambda fs: fs.pipe("train/img/a.gif", b"plain"),
            lambda fs: fs.pipe("train/img/a.png", picture("new")),
            lambda fs: fs.pipe("train/masks_x/a/m.png", picture("its mask")),
            lambda fs: fs.mv("train/img/a.png", "train/img/b.png"),
        ]
        if together:
            transaction(root, lambda fs, steps=steps: [step(fs) for step in steps])
        else:
            for step in steps:
                transaction(root, step)
        views.append(shown(root))
        assert faults(root) == []
    assert views[0] == views[1] and "train/masks_x/b/m.png" in views[0]


@pytest.mark.parametrize("how", ["rename", "skip", "replace"])
def test_names_of_on_conflict_change_nothing(tmp_path, how):
    root = packed(tmp_path / "p", files_of({"train/a.png": picture("a")}))
    write(root / "train/img/a.png", picture("another"))
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True, on_conflict=how)
    with pytest.raises(UsageError, match=r"train/img/a\.png"), fs.transaction:
        fs.rm("train/img/a.png")
    assert (root / "train/img/a.png").is_file()
    (root / "train/img/a.png").unlink()
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True, on_conflict=how)
    with fs.transaction:
        fs.rm("train/img/a.png")
    assert "train/img/a.png" not in shown(root)


def test_a_subset_names_all_that_is_of_no_image(tmp_path):
    files = files_of({"train/a.png": picture("a"), "train/b.png": picture("b")})
    files |= {"group/readme.txt": b"1", "group/more/x.txt": b"2", "group/k/img/k.png": picture("k")}
    others = {"train/ann/classes.txt": b"3", "train/ann/z.json": annotation("z"), "train/masks_x/legend.txt": b"4"}
    others |= {"train/meta/sub/notes.txt": b"5", "train/datasets/notes.txt": b"6", "train/datasets/more/y.txt": b"7"}
    root = packed(tmp_path / "p", files | others | {"train/datasets/n/img/n.png": picture("n")})
    for name, target in (("train/img/b.txt", "../own.txt"), ("own-link.txt", "train/own.txt"), ("away", "group")):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(target)
    write(root / "train/own.txt", b"own")
    (root / "train/gone.txt").symlink_to("nowhere")
    report = subset(root, tmp_path / "s", SubsetOptions(datasets=["train", "train/n", "group/k"]))
    found = shown(tmp_path / "s")
    assert found["train/img/b.txt"] == found["own-link.txt"] == b"own"
    wanted = {*others, "group/readme.txt", "group/more/", "away/", "train/gone.txt"} - {"train/datasets/more/y.txt"}
    assert set(report.others) == wanted | {"train/datasets/more/"}


@pytest.mark.parametrize("staged", [True, False])
@pytest.mark.parametrize("beside", ["label", "masks", "meta"])
@pytest.mark.parametrize("how", ["cp", "mv", "cp of a list"])
def test_a_member_at_a_plain_files_place_is_new(tmp_path, how, beside, staged):
    """It takes nothing of the image of its stem, as if nothing had been there."""
    outcomes = []
    for there in (True, False):
        (tmp_path / str(there)).mkdir()
        root, _ = with_member(tmp_path / str(there), "g.gif")
        of_x = {"label": ("ann/x.json", annotation("label of x")), "masks": ("masks_x/x/m.png", picture("m"))}
        path, data = of_x.get(beside, ("meta/x.json", b'{"of": "x"}'))
        transaction(root, lambda fs, path=path, data=data: fs.pipe({"w/img/x.png": picture("x"), f"w/{path}": data}))
        if there and not staged:
            transaction(root, lambda fs: fs.pipe("w/img/x.gif", b"plain"))
        before = shown(root)

        def change(fs, there=there):
            if there and staged:
                fs.pipe("w/img/x.gif", b"plain")
            lists = ["train/img/g.gif"], ["w/img/x.gif"]
            getattr(fs, how[:2])(*(lists if "list" in how else (lists[0][0], lists[1][0])))

        try:
            transaction(root, change)
        except UsageError as error:
            outcomes.append(str(error))
            assert shown(root) == before
        else:
            outcomes.append(images_of(root))
            assert faults(root) == []
    assert outcomes[0] == outcomes[1]


def test_a_subset_names_what_lies_in_the_shadow(tmp_path):
    files = files_of({"train/a.png": picture("a"), "train/b.png": picture("b")})
    shadows = {"train/ann/a.json": annotation("shadow"), "train/meta/b.json": b'{"shadow": 1}'}
    files |= {"train/meta/b.png.json": b'{"of": "b"}'} | shadows
    root = packed(tmp_path / "p", files)
    (root / "masks").mkdir()
    write(root / "masks/1.png", picture("mask"))
    (root / "train/masks_x").mkdir()
    (root / "train/masks_x/a").symlink_to("../../masks")
    report = subset(root, tmp_path / "s", SubsetOptions(datasets=["train"]))
    assert set(report.others) == {*shadows, "masks/"}
    assert shown(tmp_path / "s")["train/masks_x/a/1.png"] == picture("mask")


@pytest.mark.parametrize("annotations", ["loose", "packed"])
@pytest.mark.parametrize("by", ["subset", "fetch"])
def test_what_is_packed_and_of_no_image_is_named_too(tmp_path, by, annotations):
    """Labels and notes in `ann.blob`, as those that are files, also of a dataset that has no image."""
    files = files_of({"train/a.png": picture("a"), "train/b.png": picture("b"), "val/c.png": picture("c")})
    others = {"train/ann/ghost.png.json": annotation("ghost"), "train/ann/notes.txt": b"notes"}
    others |= {"val/ann/gone.png.json": annotation("gone")}
    root = packed(tmp_path / "p", files | others, annotations=annotations)
    remove(root, ["val/c.png"])
    choose = SubsetOptions(patterns=("train/a*",))
    if by == "subset":
        report = subset(root, tmp_path / "s", choose)
    else:
        url = f"memory://noimage-{annotations}"
        push(root, url)
        report = fetch(url, tmp_path / "s", choose=choose)
    assert set(report.others) == set(others)
    assert not others.keys() & shown(tmp_path / "s").keys()
