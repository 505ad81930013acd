"""Each kind of step that would leave an image with what is another one's: refused, or none of it, in any order."""

from __future__ import annotations

import json
import shutil
from itertools import permutations

import fsspec
import pytest
from changes.commands import label_of, transaction, unchanged
from changes.looking import faults, shown
from changes.samples import annotation, files_of, packed, picture, picture_of, write, write_files

import blobdir
from blobdir.errors import BlobdirError
from blobdir.packing import add

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

KINDS = {"ann": ".json", "meta": ".json", "img_info": ".json", "seg": ".png"}
PAIRS = {"b.png.bmp": "b.png", "b.png": "b.bmp", "9.png": "9.jpg", "ä.png.bmp": "ä.png"}
"""Image -> another one, whose file the first would have by its stem if it had none by its full name."""


def content(kind, text):
    return picture(text) if kind == "seg" else annotation(text)


@pytest.fixture(params=["loose", "packed"])
def pack_(request, tmp_path):
    return lambda files: packed(tmp_path / "p", files, annotations=request.param)


# -- a file goes, and its image would have another one's ------------------------------------------------------------


def _with_both(kind, image, other):
    """Both images have a file by their full name, or, where that is the other's by the stem, by that."""
    files = files_of({f"train/{image}": picture_of(image, "i"), f"train/{other}": picture_of(other, "o")})
    stem = image.rpartition(".")[0]
    for one in ("ann/%s.json", f"{kind}/%s{KINDS[kind]}"):
        files.pop(f"train/{one % other}", None)
    files[f"train/ann/{other}.json"] = annotation(other)
    files[f"train/{kind}/{image}{KINDS[kind]}"] = content(kind, image)
    files.pop(f"train/{kind}/{other}{KINDS[kind]}", None)
    files[f"train/{kind}/{stem}{KINDS[kind]}"] = content(kind, other)
    return files


def _moved_away(fs, path):
    fs.mv(path, f"{path}.old")


AWAY = {"rm": lambda fs, path: fs.rm(path), "mv": _moved_away, "rm of a list": lambda fs, path: fs.rm([path])}


@pytest.mark.parametrize("how", AWAY)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("image", PAIRS)
def test_a_file_that_goes_alone(pack_, image, kind, how):
    root = pack_(_with_both(kind, image, PAIRS[image]))
    path = f"train/{kind}/{image}{KINDS[kind]}"
    assert label_of(root, PAIRS[image]) == PAIRS[image]
    if kind != "ann":
        assert "has none of its own" in unchanged(root, lambda fs: AWAY[how](fs, path))
        return
    transaction(root, lambda fs: AWAY[how](fs, path))
    assert label_of(root, image) == "" and label_of(root, PAIRS[image]) == PAIRS[image]
    assert faults(root) == []


@pytest.mark.parametrize("order", ["image after", "image before", "both go"])
@pytest.mark.parametrize("image", PAIRS)
def test_a_label_that_goes_before_its_image_moves(pack_, image, order):
    root = pack_(_with_both("ann", image, PAIRS[image]))
    to = f"val/img/x.{image.rpartition('.')[2]}"
    steps = [lambda fs: fs.rm(f"train/ann/{image}.json"), lambda fs: fs.mv(f"train/img/{image}", to)]
    if order == "image before":
        steps[0] = lambda fs: fs.rm(f"val/ann/{to.rpartition('/')[2]}.json")
        steps.reverse()
    if order == "both go":
        steps[1] = lambda fs: fs.rm(f"train/img/{image}")
    transaction(root, lambda fs: [step(fs) for step in steps])
    found = shown(root)
    assert PAIRS[image].encode() not in found.get(f"val/ann/{to.rpartition('/')[2]}.json", b"")
    assert label_of(root, PAIRS[image]) == PAIRS[image]
    assert faults(root) == []


@pytest.mark.parametrize("how", ["rm", "mv"])
@pytest.mark.parametrize("image", PAIRS)
def test_a_folder_of_labels_that_goes_leaves_nothing(pack_, image, how):
    root = pack_(_with_both("ann", image, PAIRS[image]))
    if how == "rm":
        transaction(root, lambda fs: fs.rm("train/ann", recursive=True))
    else:
        transaction(root, lambda fs: fs.mv("train/ann", "train/old", recursive=True))
    assert not [path for path in shown(root) if path.startswith("train/ann/")]


# -- an image comes, and would have another one's, or another one would have its ------------------------------------


def _put(fs, path, data, tmp_path):
    fs.put(str(write(tmp_path / "new" / path.rpartition("/")[2], data)), path)


def _copied(fs, path, data, tmp_path):
    fs.pipe(f"else/img/copied.{path.rpartition('.')[2]}", data)
    fs.cp(f"else/img/copied.{path.rpartition('.')[2]}", path)


def _opened(fs, path, data, tmp_path):
    with fs.open(path, "wb") as file:
        file.write(data)


COMING = {"pipe": lambda fs, path, data, tmp_path: fs.pipe(path, data), "put": _put, "cp": _copied, "open": _opened}


@pytest.mark.parametrize("how", [*COMING, "add"])
@pytest.mark.parametrize("kind", [*KINDS, "masks_x"])
@pytest.mark.parametrize("new", ["b.png", "b.jpg"])
def test_a_new_image_where_another_ones_files_are(pack_, tmp_path, new, kind, how):
    """``b.png.bmp`` has ``ann/b.png.json`` by its stem; ``b.bmp`` has ``meta/b.json``."""
    old = "b.png.bmp" if new == "b.png" else "b.bmp"
    stem = old.rpartition(".")[0]
    files = files_of({f"train/{old}": picture_of(old, "old")})
    label = files.pop(f"train/ann/{old}.json")
    files[f"train/ann/{stem if kind == 'ann' else old}.json"] = label
    if kind != "ann":
        files[f"train/{kind}/{stem}{KINDS.get(kind, '.png')}"] = content("seg" if "mask" in kind else kind, "old's")
    root = pack_(files)
    before = shown(root)
    if how == "add":
        if kind == "ann" and new == "b.jpg":
            return  # it gets one of its own, and so takes none by the stem
        with pytest.raises(BlobdirError, match="would be taken for|nothing was changed"):
            add(root, "train", [write(tmp_path / "new" / new, picture_of(new, "new"))])
    else:
        change = COMING[how]
        if kind == "ann" and new == "b.jpg":
            transaction(root, lambda fs: change(fs, f"train/img/{new}", picture_of(new, "new"), tmp_path))
            assert label_of(root, new) == "" and shown(root)[f"train/ann/{stem}.json"] == label
            return
        unchanged(root, lambda fs: change(fs, f"train/img/{new}", picture_of(new, "new"), tmp_path))
    assert shown(root) == before


AFTER = {
    "rm": lambda fs: fs.rm("train/img/a.png"),
    "mv of the old one": lambda fs: fs.mv("train/img/a.png", "train/img/c.png"),
    "mv of the new one": lambda fs: fs.mv("train/img/a.bmp", "val/img/q.bmp"),
    "mv of the folder": lambda fs: fs.mv("train", "w", recursive=True),
}


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("how", COMING)
@pytest.mark.parametrize("kind", ["masks_x/a/1.png", "masks_x/a.png", "seg/a.png", "meta/a.json", "img_info/a.json"])
def test_an_image_that_comes_beside_one_that_goes(pack_, tmp_path, kind, how, after):
    files = files_of({"train/a.png": picture("a"), "train/z.png": picture("z")})
    root = pack_(files | {f"train/{kind}": picture("its") if kind.endswith("png") else b"{}"})

    def change(fs):
        COMING[how](fs, "train/img/a.bmp", picture_of("a.bmp", "new"), tmp_path)
        AFTER[after](fs)

    assert "would be taken for" in unchanged(root, change)
    transaction(root, AFTER["rm"])  # first this, and it's free
    transaction(root, lambda fs: COMING[how](fs, "train/img/a.bmp", picture_of("a.bmp", "new"), tmp_path))
    assert f"train/{kind}" not in shown(root) and faults(root) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", ["image", "file"])
def test_a_new_ones_file_that_an_old_one_would_have(pack_, first, kind):
    """``b.png.bmp`` has none of the kind."""
    files = files_of({"train/b.png.bmp": picture_of("b.bmp", "old")})
    if kind == "ann":
        files.pop("train/ann/b.png.bmp.json")
    root = pack_(files)
    path = f"train/{kind}/b.png{KINDS[kind]}"

    def change(fs):
        steps = [lambda: fs.pipe("train/img/b.png", picture("new")), lambda: fs.pipe(path, content(kind, "new"))]
        for step in steps if first == "image" else steps[::-1]:
            step()

    assert "b.png.bmp's" in unchanged(root, change)
    with fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True).transaction as both:
        fs = both.fs
        fs.pipe(f"train/{kind}/b.png.bmp{KINDS[kind]}", content(kind, "its own"))
        if kind != "ann":
            fs.pipe("train/ann/b.png.json", annotation("new"))
        change(fs)
    assert label_of(root, "b.png") == "new" and faults(root) == []


@pytest.mark.parametrize("first", ["image", "label"])
def test_a_label_by_the_stem_that_two_images_lack(pack_, first):
    files = files_of({"train/a.bmp": picture_of("a.bmp", "old")})
    files.pop("train/ann/a.bmp.json")
    root = pack_(files)

    def change(fs):
        steps = [
            lambda: fs.pipe("train/img/a.png", picture("new")),
            lambda: fs.pipe("train/ann/a.json", annotation("?")),
        ]
        for step in steps if first == "image" else steps[::-1]:
            step()

    assert "write train/ann/a.png.json" in unchanged(root, change)
    transaction(root, lambda fs: (change(fs), fs.pipe("train/ann/a.png.json", annotation("new"))))
    assert label_of(root, "a.png") == "new" and label_of(root, "a.bmp") == "?"


@pytest.mark.parametrize("then", ["stay", "move"])
def test_a_label_by_the_stem_of_two_new_images(pack_, then):
    root = pack_(files_of({"train/z.png": picture("z")}))
    files = {f"train/img/{name}": picture_of(name, name) for name in ("a.png", "a.bmp")}
    files["train/ann/a.json"] = annotation("?")

    def change(fs):
        for path, data in files.items():
            fs.pipe(path, data)
        if then == "move":
            fs.mv("train/img/a.bmp", "val/img/q.bmp")

    assert "write train/ann/a.bmp.json" in unchanged(root, change)


@pytest.mark.parametrize("kind", ["ann/a.png.json", "meta/a.png.json", "masks_x/a.png", "seg/a.png"])
def test_a_file_before_its_image_is_for_the_first_that_comes(pack_, kind):
    """And for no one who comes later, even if the first has gone elsewhere by then."""
    root = pack_(files_of({"train/z.png": picture("z")}))
    later = "a.png.jpg" if kind.endswith("json") else "a.bmp"

    def change(fs):
        fs.pipe(f"train/{kind}", content("seg" if kind.endswith("png") else "ann", "its"))
        fs.pipe("train/img/a.png", picture("a"))
        fs.pipe(f"train/img/{later}", picture_of(later, "later"))

    if kind == "ann/a.png.json":  # it gets a label of its own
        transaction(root, change)
        assert label_of(root, "a.png") == "its" and label_of(root, later) == "" and faults(root) == []
    else:
        assert "taken for" in unchanged(root, change)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [*COMING, "mv", "cp of a folder", "cp of content", "mv of a dataset"])
def test_an_image_whose_file_was_there_before_it(pack_, tmp_path, how, kind):
    root = pack_(files_of({"train/z.png": picture("z"), "val/a.png": picture("a")}))
    path = f"train/{kind}/a.png{KINDS[kind]}"
    transaction(root, lambda fs: fs.pipe(path, content(kind, "waits")))
    ways = {
        "mv": lambda fs: fs.mv("val/img/a.png", "train/img/a.png"),
        "cp of a folder": lambda fs: fs.cp("val/img", "train", recursive=True),
        "cp of content": lambda fs: fs.cp("val/img/", "train/img/", recursive=True),
        "mv of a dataset": lambda fs: fs.mv("val/", "train/", recursive=True),
    }
    change = ways.get(how) or (lambda fs: COMING[how](fs, "train/img/a.png", picture("a"), tmp_path))
    before = shown(root)
    try:
        transaction(root, change)
    except BlobdirError as error:
        assert path in str(error) and shown(root) == before
        return
    found = shown(root)
    assert found["train/img/a.png"] == picture("a") and faults(root) == []
    assert found[path] == content(kind, "waits") or how == "mv of a dataset"


IMAGE, LABEL = ("train/img/a.png", "w/img/a.png"), ("train/ann/a.json", "w/ann/a.json")
LATER = {
    "cp of folders": [("cp", "train/img/", "w/img/"), ("cp", "train/ann/", "w/ann/")],
    "cp of patterns": [("cp", "train/img/*", "w/img/"), ("cp", "train/ann/*", "w/ann/")],
    "cp of patterns, labels first": [("cp", "train/ann/*", "w/ann/"), ("cp", "train/img/*", "w/img/")],
    "cp of files": [("cp", *IMAGE), ("cp", *LABEL)],
    "cp of a list": [("cp", *map(list, zip(IMAGE, LABEL, strict=True)))],
    "cp of a list, labels first": [("cp", *map(list, zip(LABEL, IMAGE, strict=True)))],
    "mv of both": [("mv", *LABEL), ("mv", *IMAGE)],
    "mv of folders": [("mv", "train/ann/", "w/ann/"), ("mv", "train/img/", "w/img/")],
    "cp, then mv": [("cp", *IMAGE), ("mv", *LABEL)],
}
LATER |= {f"pipe, {order}": [("pipe", order)] for order in ("image first", "label first")}


@pytest.mark.parametrize("how", LATER)
def test_a_label_by_the_stem_that_comes_later(pack_, how):
    """It's for the image without one, however both came."""
    files = files_of({"train/a.png": picture("a"), "train/z.png": picture("z")})
    files["train/ann/a.json"] = label = files.pop("train/ann/a.png.json")
    root = pack_(files)
    both = {"w/img/a.png": picture("a"), "w/ann/a.json": label}

    def change(fs):
        for call, *args in LATER[how]:
            if call == "pipe":
                fs.pipe(both if args == ["image first"] else dict(reversed(both.items())))
            else:
                getattr(fs, call)(*args, recursive=args[0].endswith("/") if isinstance(args[0], str) else False)

    transaction(root, change)
    found = shown(root)
    assert found["w/ann/a.json"] == label and "w/ann/a.png.json" not in found and faults(root) == []


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_label_that_comes_at_once_with_two_images(tmp_path, order):
    files = {"train/img/b.png": picture("b"), "train/img/b.png.bmp": picture_of("b.bmp", "bmp")}
    files["train/ann/b.png.json"] = annotation("of b.png")
    root = packed(tmp_path / "p", files_of({"val/z.png": picture("z")}))
    transaction(root, lambda fs: fs.pipe({path: files[path] for path in [list(files)[i] for i in order]}))
    assert label_of(root, "b.png") == "of b.png" and label_of(root, "b.png.bmp") == "" and faults(root) == []


ALONE = {"ann": "a.json", "masks_x": "a/m.png", "seg": "a.png", "meta": "a.json"}


@pytest.mark.parametrize("what", ["folder", "file"])
@pytest.mark.parametrize("kind", ALONE)
def test_what_moves_alone_waits_for_its_image_only(pack_, kind, what):
    files = files_of({"train/a.png": picture("a"), "val/r.png": picture("r")})
    if kind == "ann":
        del files["train/ann/a.png.json"]
    path = f"{kind}/{ALONE[kind]}"
    files[f"train/{path}"] = content("seg" if ALONE[kind].endswith("png") else kind, "a's")
    root = pack_(files)
    before = shown(root)

    def change(image):
        def moves(fs):
            moved = path if what == "file" else f"{kind}/"
            fs.mv(f"train/{moved}", f"w/{moved}", recursive=True)
            fs.mv(image, "w/img/a.png")

        return moves

    if kind == "ann":
        transaction(root, change("val/img/r.png"))
        assert shown(root)["w/ann/a.png.json"] == before["val/ann/r.png.json"]
        return
    assert "taken for" in unchanged(root, change("val/img/r.png"))
    transaction(root, change("train/img/a.png"))
    assert shown(root)[f"w/{path}"] == before[f"train/{path}"] and faults(root) == []


STALE = {"ann": ("a.json", "a.png.json"), "meta": ("a.json", "a.png.json"), "seg": ("a.png", "a.png.png")}


@pytest.mark.parametrize("comes", ["pipe", "mv", "cp"])
@pytest.mark.parametrize("away", ["rm", "mv", "mv onto it"])
@pytest.mark.parametrize("kind", STALE)
def test_what_an_image_had_before_is_no_others(pack_, kind, away, comes):
    """``a.png`` had a file by the stem, and has one by its name, before it goes."""
    root = pack_(files_of({"train/a.png": picture("a"), "val/q.bmp": picture_of("q.bmp", "q")}))
    twin = root.with_name("twin")
    shutil.copytree(root, twin)
    steps = [lambda fs, path=path: fs.pipe(f"train/{kind}/{path}", content(kind, path)) for path in STALE[kind]]
    steps.append({
        "rm": lambda fs: fs.rm("train/img/a.png"),
        "mv": lambda fs: fs.mv("train/img/a.png", "w/img/z.png"),
        "mv onto it": lambda fs: (fs.pipe("k/img/k.png", picture("k")), fs.mv("k/img/k.png", "train/img/a.png")),
    }[away])  # fmt: skip
    steps.append({
        "pipe": lambda fs: fs.pipe("train/img/a.png", picture("other")),
        "mv": lambda fs: fs.mv("val/img/q.bmp", "train/img/a.png"),
        "cp": lambda fs: fs.cp("val/img/q.bmp", "train/img/a.png"),
    }[comes])  # fmt: skip
    try:
        transaction(root, lambda fs: [step(fs) for step in steps])
    except BlobdirError as error:
        said = str(error)
    else:
        said = ""
    refused = ""
    for step in steps:
        try:
            transaction(twin, step)
        except BlobdirError as error:
            refused = str(error)
            break
    assert said == refused
    if said:
        return
    assert label_of(root, "a.png") == label_of(twin, "a.png") and shown(root).keys() == shown(twin).keys()


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_order_in_a_dictionary_says_nothing(tmp_path, order):
    files = {"train/img/b.png": picture("b"), "train/img/b.png.bmp": picture_of("b.bmp", "bmp")}
    files |= {f"train/ann/{name}.json": annotation(name) for name in ("b.png", "b.png.bmp")}
    root = packed(tmp_path / "p", files_of({"val/z.png": picture("z")}))
    transaction(root, lambda fs: fs.pipe({path: files[path] for path in [list(files)[i] for i in order]}))
    assert {path: shown(root)[path] for path in files} == files and faults(root) == []


OTHERS = {
    "train/img/Thumbs.db": b"db",
    "train/img/notes.txt": b"text",
    "train/img/.DS_Store": b"\0",
    "train/img/p.dat": picture("p"),
}


@pytest.mark.parametrize("how", ["pipe", "put", "replaced", "mv", "cp", "mv of one", "rm"])
def test_files_among_the_images_that_are_none(pack_, tmp_path, how):
    """They get no labels."""
    files = files_of({"train/a.png": picture("a"), "val/z.png": picture("z")})
    root = pack_(files)
    if how not in ("pipe", "put"):
        transaction(root, lambda fs: fs.pipe(OTHERS))
    folder = write_files(tmp_path / "local", OTHERS)
    change = {
        "pipe": lambda fs: fs.pipe(OTHERS),
        "put": lambda fs: fs.put(f"{folder}/train/", "train/", recursive=True),
        "replaced": lambda fs: fs.pipe(dict.fromkeys(OTHERS, b"new")),
        "mv": lambda fs: fs.mv("train", "w", recursive=True),
        "cp": lambda fs: fs.cp("train", "w", recursive=True),
        "mv of one": lambda fs: fs.mv("train/img/p.dat", "val/img/q.dat"),
        "rm": lambda fs: fs.rm(list(OTHERS)),
    }[how]
    transaction(root, change)
    found = shown(root)
    folder = "w" if how in ("mv", "cp") else "train"
    there = {path: found.get(path.replace("train", folder, 1)) for path in OTHERS}
    gone = {"train/img/p.dat": None} if how == "mv of one" else {}
    wanted = (
        dict.fromkeys(OTHERS) if how == "rm" else dict.fromkeys(OTHERS, b"new") if how == "replaced" else OTHERS | gone
    )
    assert there == wanted
    assert sorted(path for path in found if path.startswith(f"{folder}/ann/")) == [f"{folder}/ann/a.png.json"]


def test_a_step_that_is_refused_before_it_begins_breaks_nothing(pack_):
    root = pack_(files_of({"train/a.png": picture("a"), "val/z.png": picture("z")}))

    def change(fs):
        fs.pipe("train/img/new.png", picture("new"))
        for wrong in (
            lambda: fs.mv("train/img/new.png", "blob/x.png"),
            lambda: fs.mv("train/img/new.png", "notes.txt"),
        ):
            with pytest.raises(BlobdirError):
                wrong()

    transaction(root, change)
    assert shown(root)["train/img/new.png"] == picture("new")


def test_one_call_brings_them_in_any_order(pack_, tmp_path):
    """What a project has is put as it is: its images share what they shared."""
    files = files_of(
        {"train/a.png": picture("a"), "train/a.bmp": picture_of("a.bmp", "b"), "train/b.png": picture("c")}
    )
    files["train/ann/a.json"] = files.pop("train/ann/a.png.json")
    del files["train/ann/a.bmp.json"], files["meta.json"]
    files |= {"train/masks_x/a/1.png": picture("both's"), "train/meta/b.json": b"{}"}
    root = pack_(files_of({"val/z.png": picture("z")}))
    folder = write_files(tmp_path / "local", files)
    transaction(root, lambda fs: fs.put(f"{folder}/", "/", recursive=True))
    found = shown(root)
    assert {path: found.get(path) for path in files} == files and faults(root) == []
    assert not [path for path in found if path.startswith("train/") and path not in files]


# -- folders onto others --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["dataset", "img and ann", "img"])
@pytest.mark.parametrize("how", ["cp", "mv"])
def test_images_that_are_replaced_by_those_of_a_folder(pack_, how, what):
    """All that was theirs goes, as when one is replaced by ``mv``."""
    files = files_of({"x/a.png": picture("x a"), "y/a.png": picture("y a"), "y/b.png": picture("y b")})
    files["x/ann/a.json"] = files.pop("x/ann/a.png.json")
    files |= {"y/meta/a.png.json": b'{"of": "y"}', "y/masks_x/a/1.png": picture("y"), "x/meta/a.json": b'{"of": "x"}'}
    root = pack_(files)
    before = shown(root)
    folders = {"dataset": ["x/"], "img and ann": ["x/img/", "x/ann/"], "img": ["x/img/"]}[what]

    def change(fs):
        for folder in folders:
            getattr(fs, how)(folder, folder.replace("x", "y", 1), recursive=True)

    if what == "img and ann" and how == "mv":
        folders.pop()  # it went along
    transaction(root, change)
    found = shown(root)
    assert found["y/img/a.png"] == picture("x a") and found["y/img/b.png"] == picture("y b")
    assert not [path for path, data in found.items() if data in (picture("y"), b'{"of": "y"}')]
    takes = how == "mv" or what == "dataset"
    said = blobdir.open_project(root, index="none")["y"].annotation("a.png")
    wanted = json.loads(before["x/ann/a.json"])  # images that are copied by themselves have one without objects
    assert said == (wanted | {"description": ""} if how == "cp" and what == "img" else wanted)
    metas = [path for path, data in found.items() if path.startswith("y/meta/") and data == b'{"of": "x"}']
    assert bool(metas) == takes
    assert found["y/ann/b.png.json"] == before["y/ann/b.png.json"]
    assert faults(root) == []


def _cp_and_rm(fs):
    fs.cp("train/img/", "val/img/", recursive=True)
    fs.rm("val/img/a.png")


def _cp_and_mv(fs):
    fs.cp("train/", "val/", recursive=True)
    fs.mv("val/img/a.bmp", "z/img/q.bmp")


def _cp_and_mv_all(fs):
    fs.cp("train/", "val/", recursive=True)
    fs.mv("val", "z", recursive=True)


def _mv_and_rm(fs):
    fs.mv("train/img/", "val/img/", recursive=True)
    fs.rm("val/img/a.png")


THEN = {
    "cp of a folder, then the other goes": _cp_and_rm,
    "cp of a dataset, then it moves": _cp_and_mv,
    "cp of a dataset, then all move": _cp_and_mv_all,
    "mv of a folder, then the other goes": _mv_and_rm,
}


@pytest.mark.parametrize("kind", ["masks_x/a/1.png", "masks_x/a.png", "seg/a.png", "meta/a.json"])
@pytest.mark.parametrize("how", THEN)
def test_a_folder_that_comes_beside_one_that_goes(pack_, how, kind):
    files = files_of({"train/a.bmp": picture_of("a.bmp", "t"), "val/a.png": picture("v"), "val/k.png": picture("k")})
    root = pack_(files | {f"val/{kind}": picture("its") if kind.endswith("png") else b"{}"})
    assert "taken for" in unchanged(root, THEN[how])


WRITTEN = {
    "then it moves": lambda fs: fs.mv("train/img/b.png.bmp", "z/img/q.bmp"),
    "then all move": lambda fs: fs.mv("train/img", "z/img", recursive=True),
    "then the other goes": lambda fs: fs.rm("train/img/b.png"),
    "then the other moves": lambda fs: fs.mv("train/img/b.png", "z/img/b.png"),
}


@pytest.mark.parametrize("then", WRITTEN)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", ["one comes", "one goes"])
def test_a_file_that_another_one_would_have_for_a_moment(pack_, first, kind, then):
    """``b.png.bmp`` has none of its own, or loses it; ``b.png`` has one by its full name."""
    files = files_of({"train/b.png": picture("b"), "train/b.png.bmp": picture_of("b.bmp", "bmp")})
    own, others = (f"train/{kind}/{name}{KINDS[kind]}" for name in ("b.png.bmp", "b.png"))
    if first == "one goes":
        if kind == "ann":
            return  # it gets one without objects
        files |= {own: content(kind, "own"), others: content(kind, "the other's")}
    elif kind == "ann":
        del files[own], files[others]
    root = pack_(files)

    def change(fs):
        fs.rm(own) if first == "one goes" else fs.pipe(others, content(kind, "the other's"))
        WRITTEN[then](fs)

    assert "taken for train/img/b.png.bmp's" in unchanged(root, change)
