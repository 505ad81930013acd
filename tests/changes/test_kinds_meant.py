"""What is written or moved within one change is for the image that it was meant for, and for no other one."""

from __future__ import annotations

from itertools import permutations, product

import pytest
from changes.commands import transaction
from changes.looking import differences, faults, shown
from changes.samples import annotation, files_of, packed, picture, write

import blobdir
from blobdir.errors import BlobdirError, UsageError
from blobdir.packing import compact, move, remove

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


def _image(name):
    return f"train/img/{name}"


def _typed(name):
    return f"train/{name}"


def _in_steps(*steps):
    return lambda fs: [fs.mv(_image(old), _image(new)) for old, new in steps]


def _label_first(fs):
    fs.pipe("train/ann/x.png.json", annotation("written"))
    fs.mv(_image("b.png"), _image("x.png"))


def _image_and_label_first(fs):
    fs.pipe(_image("x.png"), picture("written"))
    _label_first(fs)


def _copied_first(fs):
    for path in ("train/img/b.png", "train/ann/b.png.json", "train/meta/b.png.json"):
        fs.cp(path, path.replace("b.png", "n.png"))
    fs.mv(_image("n.png"), _image("x.png"))


def _in_folders(fs):
    for name in "ab":
        fs.mv(_image(f"{name}.png"), f"{name}/img/x.png")
    for name in "ab":
        fs.mv(f"{name}/img", "train", recursive=True)


ONTO_ONE = {
    "two": _in_steps(("a.png", "x.png"), ("b.png", "x.png")),
    "three": _in_steps(("c.png", "x.png"), ("a.png", "x.png"), ("b.png", "x.png")),
    "by a chain": _in_steps(("a.png", "x.png"), ("b.png", "q.png"), ("q.png", "x.png")),
    "after a list": lambda fs: (
        fs.mv([_image("a.png"), _image("c.png")], [_image("x.png"), _image("a.png")]),
        fs.mv(_image("b.png"), _image("x.png")),
    ),
    "copied": _copied_first,
    "folders": _in_folders,
}
REPLACED = {
    "after a swap": lambda fs: (
        fs.mv([_image("a.png"), _image("x.png")], [_image("x.png"), _image("a.png")]),
        fs.mv(_image("b.png"), _image("x.png")),
    ),
    "label written": _label_first,
    "image and label written": _image_and_label_first,
}


@pytest.mark.parametrize(
    ("way", "there"),
    [(way, there) for way in ONTO_ONE for there in (False, True)] + [(way, True) for way in REPLACED],
)
def test_the_last_image_that_gets_a_name_has_all_that_is_its(tmp_path, way, there):
    names = ["a.png", "b.png", "c.png", *["x.png"] * there]
    root = packed(tmp_path / "p", files_of({_typed(name): picture(name) for name in names}))
    for name in names:
        write(root / f"train/ann/{name}.json", annotation(f"of {name}"))
        write(root / f"train/meta/{name}.json", f'{{"of": "{name}"}}'.encode())
    transaction(root, (ONTO_ONE | REPLACED)[way])
    now = shown(root)
    assert now[_image("x.png")] == picture("b.png")
    assert now["train/ann/x.png.json"] == annotation("of b.png")
    assert now["train/meta/x.png.json"] == b'{"of": "b.png"}'
    left = {path.split("/")[-1] for path in now if path.startswith("train/img/")}
    assert {path.split("/")[-1] for path in now if path.startswith("train/meta/")} == {f"{name}.json" for name in left}
    assert faults(root) == []


def test_a_label_that_was_written_for_an_image_that_comes(tmp_path):
    root = packed(tmp_path / "p", files_of({_typed("b.png"): picture("b")}))
    transaction(root, _label_first)
    assert shown(root)["train/ann/x.png.json"] == annotation("written")


MASKS = ("masks_human/{}.png", "masks_human/{}/1.png", "masks_new/{}/deep/1.png")
FIRST = {
    "mv": lambda fs, mask: fs.mv(_image("a.jpg"), _image("x.jpg")),
    "mv twice": lambda fs, mask: (fs.mv(_image("a.jpg"), _image("q.jpg")), fs.mv(_image("q.jpg"), _image("x.jpg"))),
    "mv of a list": lambda fs, mask: fs.mv([_image("a.jpg")], [_image("x.jpg")]),
    "mv, mask written": lambda fs, mask: (
        fs.mv(_image("a.jpg"), _image("x.jpg")),
        fs.pipe(f"train/{mask.format('x')}", picture("other mask")),
    ),
    "mv of a folder": lambda fs, mask: (
        fs.mv(_image("a.jpg"), "new/img/x.jpg"),
        fs.mv("new/img", "train", recursive=True),
    ),
}
SECOND = {
    "mv": lambda fs: fs.mv(_image("b.png"), _image("x.png")),
    "mv of a list": lambda fs: fs.mv([_image("b.png")], [_image("x.png")]),
    "mv of a folder": lambda fs: (fs.mv(_image("b.png"), "mine/img/x.png"), fs.mv("mine/img", "train", recursive=True)),
    "pipe": lambda fs: fs.pipe(_image("x.png"), picture("new")),
    "cp": lambda fs: fs.cp(_image("b.png"), _image("x.png")),
    "cp of a folder": lambda fs: (
        fs.cp(_image("b.png"), "mine/img/x.png"),
        fs.cp("mine/img", "train", recursive=True),
    ),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("second", SECOND)
@pytest.mark.parametrize("first", FIRST)
def test_masks_that_went_along_with_another_image(tmp_path, first, second, mask):
    root = packed(tmp_path / "p", files_of({_typed("a.jpg"): picture("a", form="JPEG"), _typed("b.png"): picture("b")}))
    write(root / "train" / mask.format("a"), picture("mask of a"))
    before = shown(root)
    with pytest.raises(UsageError, match=r"would be taken for .*x\.(png|jpg)'s"):
        transaction(root, lambda fs: (FIRST[first](fs, mask), SECOND[second](fs)))
    assert shown(root) == before


def test_put_of_a_folder_after_a_move(tmp_path):
    root = packed(tmp_path / "p", files_of({_typed("a.jpg"): picture("a", form="JPEG")}))
    write(root / "train/masks_human/a/1.png", picture("mask of a"))
    write(tmp_path / "more/img/x.png", picture("new"))
    before = shown(root)
    with pytest.raises(UsageError, match=r"would be taken for .*x\.png's"):
        transaction(
            root,
            lambda fs: (
                fs.mv(_image("a.jpg"), _image("x.jpg")),
                fs.put(f"{tmp_path}/more/img", "train/", recursive=True),
            ),
        )
    assert shown(root) == before


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("way", ["one by one", "list", "folder", "images first", "masks first"])
def test_masks_that_images_share_go_with_them(tmp_path, way, order, mask):
    names = ["a.jpg", "a.png"][::order]
    root = packed(tmp_path / "p", files_of({_typed(n): picture(n, form=n[2:].replace("jpg", "JPEG")) for n in names}))
    path = mask.format("a")
    write(root / "train" / path, picture("mask"))
    folder = path.split("/")[0]
    ways = {
        "one by one": lambda fs: [fs.mv(_image(name), f"new/img/{name}") for name in names],
        "list": lambda fs: fs.mv([_image(name) for name in names], "new/img/"),
        "folder": lambda fs: fs.mv("train", "new", recursive=True),
        "images first": lambda fs: fs.mv("train/img", "new/", recursive=True),
        "masks first": lambda fs: [fs.mv(f"train/{one}", "new/", recursive=True) for one in (folder, "img")],
    }
    transaction(root, ways[way])
    now = shown(root)
    assert {p for p in now if "img" in p or "masks" in p} == {f"new/img/{name}" for name in names} | {f"new/{path}"}
    assert all(f"new/ann/{name}.json" in now for name in names)


def test_a_new_image_gets_no_label_that_went_along_with_another_one(tmp_path):
    root = packed(tmp_path / "p", files_of({_typed("a.png"): picture("a")}))
    write(root / "train/ann/a.png.json", annotation("of a"))
    transaction(
        root,
        lambda fs: (
            fs.mv(_image("a.png"), _image("x.png")),
            fs.pipe(_image("x.png.jpg"), picture("new", form="JPEG")),
        ),
    )
    train = blobdir.open_project(root)["train"]
    assert train.annotation("x.png")["description"] == "of a"
    assert train.annotation("x.png.jpg")["description"] == ""


@pytest.mark.parametrize("target", ["x.png", "a.png"], ids=["moved", "not moved"])
def test_a_new_image_gets_no_old_label_by_its_stem(tmp_path, target):
    root = packed(tmp_path / "p", files_of({_typed("b.png"): picture("b")}))
    write(root / "train/ann/a.json", annotation("old"))

    def change(fs):
        fs.pipe(_image("a.png"), picture("new"))
        fs.mv(_image("a.png"), _image(target))

    transaction(root, change)
    train = blobdir.open_project(root)["train"]
    assert train.annotation(target)["description"] == ""
    assert (root / "train/ann/a.json").read_bytes() == annotation("old")


def test_a_file_that_goes_leaves_no_other_one_for_its_image(tmp_path):
    images = {_typed("a.png"): picture("a"), _typed("x.png.jpg"): picture("x", form="JPEG")}
    root = packed(tmp_path / "p", files_of(images))
    for name in ("a.png", "x.png.jpg"):
        write(root / f"train/meta/{name}.json", f'{{"of": "{name}"}}'.encode())
    before = shown(root)
    with pytest.raises(UsageError, match=r"would be taken for train/img/x\.png\.jpg's"):
        transaction(root, lambda fs: (fs.mv(_image("a.png"), _image("x.png")), fs.rm("train/meta/x.png.jpg.json")))
    assert shown(root) == before


PAIRS = {
    "both in folders": ("masks_human/a/1.png", "masks_human/a/2.png"),
    "folder and file": ("masks_human/a/1.png", "masks_human/a.png"),
    "two kinds": ("masks_human/a.png", "masks_machine/a.png"),
    "the first alone": ("masks_human/a.png", ""),
    "the second alone": ("", "masks_human/a/1.png"),
}


@pytest.mark.parametrize("target", ["new", "p/datasets/new", "val"])
@pytest.mark.parametrize("masks", PAIRS)
def test_move_of_images_of_two_datasets_with_one_stem(tmp_path, masks, target):
    images = {"p/a.png": picture("p"), "q/a.jpg": picture("q", form="JPEG"), "val/z.png": picture("z")}
    root = packed(tmp_path / "p", files_of(images))
    for dataset, mask in zip("pq", PAIRS[masks], strict=True):
        if mask:
            write(root / dataset / mask, picture(f"mask of {dataset}"))
    before = shown(root)
    for dry_run in (True, False):
        with pytest.raises(UsageError, match=r"would be taken for a\.(png|jpg)'s as well; nothing was changed"):
            move(root, ["p/a.png", "q/a.jpg"], target.replace("datasets/", ""), dry_run=dry_run)
        assert shown(root) == before


@pytest.mark.parametrize("mask", MASKS)
def test_move_of_images_that_share_masks(tmp_path, mask):
    images = {"p/a.png": picture("p"), "p/a.jpg": picture("q", form="JPEG")}
    root = packed(tmp_path / "p", files_of(images))
    write(root / "p" / mask.format("a"), picture("mask"))
    move(root, ["p/a.png", "p/a.jpg"], "new")
    assert shown(root)[f"new/{mask.format('a')}"] == picture("mask")


def test_move_by_full_name_to_one_without_a_label(tmp_path):
    """``ann/a.json`` becomes ``ann/a.png.json``, which is by its stem that of ``a.png.jpg``."""
    images = {"p/a.png": picture("p"), "q/a.png.jpg": picture("q", form="JPEG")}
    root = packed(tmp_path / "p", files_of(images))
    for path in (root / "p/ann", root / "q/ann"):
        for label in path.iterdir():
            label.unlink()
    write(root / "p/ann/a.json", annotation("of a.png"))
    before = shown(root)
    with pytest.raises(UsageError, match=r"would be taken for a\.png\.jpg's as well"):
        move(root, ["p/a.png", "q/a.png.jpg"], "new")
    assert shown(root) == before


# -- bytes that were only moved ----------------------------------------------------------------------------------

AWAY = {
    "mv": lambda fs: fs.mv(_image("a.png"), _image("x.png")),
    "mv twice": lambda fs: (fs.mv(_image("a.png"), _image("q.png")), fs.mv(_image("q.png"), "new/img/x.png")),
    "mv of a folder": lambda fs: fs.mv("train", "new", recursive=True),
    "swap": lambda fs: fs.mv([_image("a.png"), _image("b.png")], [_image("b.png"), _image("a.png")]),
    "mv, pipe": lambda fs: (fs.mv(_image("a.png"), _image("x.png")), fs.pipe(_image("a.png"), picture("new"))),
}
REMOVED = {
    "cp, rm": lambda fs: (fs.cp(_image("a.png"), _image("x.png")), fs.rm(_image("a.png"))),
    "cp, mv, rm": lambda fs: (
        fs.cp(_image("a.png"), _image("y.png")),
        fs.mv(_image("a.png"), _image("x.png")),
        fs.rm(_image("x.png")),
    ),
}


@pytest.mark.parametrize("way", AWAY | REMOVED)
def test_compact_says_removed_of_what_was_removed(tmp_path, way):
    root = packed(tmp_path / "p", files_of({_typed(name): picture(name) for name in ("a.png", "b.png")}))
    transaction(root, (AWAY | REMOVED)[way])
    before = shown(root)
    report = compact(root)
    assert [problem.code for problem in report.problems] == ["still-there"] * (way in REMOVED)
    assert bool(report.held) == (way in REMOVED)
    assert shown(root) == before
    assert faults(root) == []


def test_compact_after_the_removal_of_what_was_moved(tmp_path):
    root = packed(tmp_path / "p", files_of({_typed(name): picture(name) for name in ("a.png", "b.png")}))
    copy = write(root / "blob/copy.bak", next(iter((root / "blob").glob("*.tar"))).read_bytes())
    transaction(root, AWAY["mv"])
    remove(root, ["train/x.png"])
    assert [problem.path for problem in compact(root).problems if problem.code == "still-there"] == [
        str(copy.relative_to(root))
    ]


# -- one change with several steps, and as many changes ----------------------------------------------------------


def _moved_to(target):
    def step(fs, at):
        fs.mv(at, target, recursive=True)
        return target

    return step


def _copied_to(target):
    def step(fs, at):
        fs.cp(at, target, recursive=True)
        return target

    return step


def _there_and_back(fs, at):
    fs.mv(f"{at}/ann/b.json", "t.json")
    fs.mv("t.json", f"{at}/ann/b.json")
    return at


def _written(path, data):
    def step(fs, at):
        fs.pipe(f"{at}/{path}", data)
        return at

    return step


def _to_the_stem(fs, at):
    fs.mv(f"{at}/ann/d.png.json", f"{at}/ann/d.json")
    return at


def _copied_to_the_stem(fs, at):
    fs.cp(f"{at}/ann/d.png.json", f"{at}/ann/d.json")
    fs.rm(f"{at}/ann/d.png.json")
    return at


NEW = {name: _written(f"img/{name}", picture(name)) for name in ("b.jpg", "c.bmp", "d.png.jpg", "d.bmp")}
"""``b.png`` has a label by the stem, ``ann/c.json`` is nobody's, ``ann/d.png.json`` is that of ``d.png``."""
FOLDERS = {
    "mv": _moved_to("val"),
    "mv to a nested one": _moved_to("top/datasets/val"),
    "cp": _copied_to("val"),
}
LABELS = {
    "": lambda fs, at: at,
    "replaced": _written("ann/b.json", annotation("another")),
    "there and back": _there_and_back,
    "to the stem": _to_the_stem,
    "copied to the stem": _copied_to_the_stem,
    "nobody's": _written("ann/d.json", annotation("nobody's")),
}


CASES = [("b.jpg", *case) for case in product(FOLDERS, list(LABELS)[:3], permutations(range(3)))]
CASES += [("d.bmp", *case) for case in product(FOLDERS, list(LABELS)[3:5], permutations(range(3)))]
CASES += [("b.jpg", *case) for case in product(FOLDERS, list(LABELS)[5:], permutations(range(3)))]
CASES += [
    (new, folder, "", order) for new, folder, order in product(("c.bmp", "d.png.jpg"), FOLDERS, [(0, 1, 2), (1, 0, 2)])
]


@pytest.mark.parametrize("annotations", ["loose", "packed"])
@pytest.mark.parametrize(("new", "folder", "label", "order"), CASES)
def test_a_new_image_takes_no_label_of_others(tmp_path, new, folder, label, order, annotations):
    """Whatever happens to it in one change: it's as if each step were one of its own."""
    files = files_of({"train/b.png": picture("b"), "train/d.png": picture("d")})
    files["train/ann/b.json"] = files.pop("train/ann/b.png.json")
    files["train/ann/c.json"] = annotation("nobody's")
    steps = [(NEW[new], FOLDERS[folder], LABELS[label])[i] for i in order]
    views = []
    for together in (True, False):
        root = packed(tmp_path / f"p{together}", files, annotations=annotations)
        at = "train"
        if together:

            def all_of_them(fs, at=at):
                for step in steps:
                    at = step(fs, at)

            transaction(root, all_of_them)
        else:
            for step in steps:
                found = []
                transaction(root, lambda fs, step=step, at=at, found=found: found.append(step(fs, at)))
                at = found[0]
        assert faults(root) == []
        views.append(shown(root))
    assert differences(*views) == []


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("command", ["rm", "mv", "mv of the folder", "replaced"])
def test_a_packed_label_behind_a_folder(tmp_path, command, empty):
    root = packed(
        tmp_path / "p", files_of({"train/a.png": picture(1), "train/b.png": picture(2)}), annotations="packed"
    )
    (root / "train/ann/b.png.json").mkdir(parents=True)
    if not empty:
        (root / "train/ann/b.png.json/x").write_bytes(b"x")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and ".blobdir" not in path.parts}
    change = {
        "rm": lambda fs: fs.rm("train/img/b.png"),
        "mv": lambda fs: fs.mv("train/img/b.png", "val/img/b.png"),
        "mv of the folder": lambda fs: fs.mv("train", "val", recursive=True),
        "replaced": lambda fs: fs.pipe("train/img/b.png", picture(3)),
    }[command]
    with pytest.raises(BlobdirError, match=r"b\.png\.json|train/ann"):
        transaction(root, change)
    assert before == {path: path.read_bytes() for path in before}


@pytest.mark.parametrize("annotations", ["loose", "packed"])
@pytest.mark.parametrize("how", ["one after the other", "list"])
def test_an_image_that_is_replaced_by_one_that_shared_its_files(tmp_path, how, annotations):
    files = files_of({"train/a.png": picture("a"), "train/a.bmp": picture("a too")})
    files["train/ann/a.json"] = files.pop("train/ann/a.png.json")
    del files["train/ann/a.bmp.json"]
    files |= {"train/masks_x/a.png": picture("mask"), "train/meta/a.json": b"{}"}
    root = packed(tmp_path / "p", files, annotations=annotations)

    def change(fs):
        if how == "list":
            fs.mv(["train/img/a.png", "train/img/a.bmp"], ["val/img/x.png", "val/img/y.bmp"])
            fs.mv("val/img/y.bmp", "val/img/x.png")
        else:
            fs.mv("train/img/a.png", "val/img/x.png")
            fs.mv("train/img/a.bmp", "val/img/x.png")

    transaction(root, change)
    found = shown(root)
    assert found["val/img/x.png"] == picture("a too")
    assert found["val/ann/x.png.json"] == files["train/ann/a.json"]
    assert found["val/masks_x/x.png"] == picture("mask") and found["val/meta/x.png.json"] == b"{}"
    assert faults(root) == []


@pytest.mark.parametrize("how", ["empty", "with images"])
def test_no_dataset_lies_directly_in_another(tmp_path, how):
    root = packed(tmp_path / "p", files_of({"train/a.png": picture("a"), "val/b.png": picture("b")}))
    if how == "empty":
        remove(root, ["val/b.png"])
    with pytest.raises(UsageError, match="nested ones lie in train/datasets/val"):
        transaction(root, lambda fs: fs.mv("val", "train", recursive=True))
    assert (root / "val").is_dir() and not (root / "train/val").exists()


@pytest.mark.parametrize("how", ["pipe", "pipe below", "cp", "mv"])
def test_no_image_makes_a_dataset_directly_in_another(tmp_path, how):
    root = packed(tmp_path / "p", files_of({"train/a.png": picture("a"), "val/b.png": picture("b")}))
    transaction(root, lambda fs: fs.pipe("val/img/s/b.png", picture("below")))
    change = {
        "pipe": lambda fs: fs.pipe("train/more/img/b.png", picture("b")),
        "pipe below": lambda fs: fs.pipe("train/more/img/s/b.png", picture("b")),
        "cp": lambda fs: fs.cp("val", "train", recursive=True),
        "mv": lambda fs: fs.mv("val/img/s/b.png", "train/more/img/s/b.png"),
    }[how]
    before = shown(root)
    with pytest.raises(UsageError, match="nested ones lie in train/datasets/"):
        transaction(root, change)
    assert shown(root) == before
