"""Each kind of step that would leave an image with what is another one's: refused, or none of it, in any order."""

from __future__ import annotations

import gc
import json
import shutil

import fsspec
import pytest
from changes.commands import transaction
from changes.looking import faults, shown
from changes.samples import annotation, files_of, packed, picture, picture_of, write, write_files
from fsspec.implementations.memory import MemoryFileSystem

import blobdir
from blobdir.errors import BlobdirError
from blobdir.packing import add

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

KINDS = {"ann": ".json", "meta": ".json", "img_info": ".json", "seg": ".png"}
PAIRS = {"b.png.bmp": "b.png", "b.png": "b.bmp", "9.png": "9.jpg", "ä.png.bmp": "ä.png"}
"""Image -> another one, whose file the first would have by its stem if it had none by its full name."""


def content(kind, text):
    return picture(text) if kind == "seg" else annotation(text)


def label_of(root, image):
    return blobdir.open_project(root, index="none")["train"].annotation(image).get("description")


def unchanged(root, change):
    before = shown(root)
    with pytest.raises(BlobdirError) as error:
        transaction(root, change)
    assert shown(root) == before
    return str(error.value)


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
    assert said == (wanted if takes else wanted | {"description": ""})
    metas = [path for path, data in found.items() if path.startswith("y/meta/") and data == b'{"of": "x"}']
    assert bool(metas) == takes
    assert found["y/ann/b.png.json"] == before["y/ann/b.png.json"]
    assert faults(root) == []


# -- what a step sees is what the steps before it left ---------------------------------------------------------------

SEEN = {
    "a pattern": lambda fs: fs.cp("train/img/*", "val/img/"),
    "a pattern of one kind": lambda fs: fs.cp("train/img/*.png", "val/img/"),
    "a pattern with folders": lambda fs: fs.cp("train/n*", "other/", recursive=True),
    "a pattern through folders": lambda fs: fs.cp("train/**", "other/", recursive=True),
    "a list": lambda fs: fs.cp(["train/img/a.png", "train/notes/n.txt"], "notes/"),
    "a list with folders": lambda fs: fs.cp(["train/notes", "new/img"], "other/", recursive=True),
    "a few levels": lambda fs: fs.cp("train", "other", recursive=True, maxdepth=2),
    "into a folder that is new": lambda fs: fs.cp("train/img/a.png", "new/img"),
    "into one by its slash": lambda fs: fs.cp("train/img/a.png", "new/img/"),
    "content": lambda fs: fs.cp("train/notes/", "new/texts/", recursive=True),
    "a folder, with its slash": lambda fs: fs.cp("train/notes/", "new/texts", recursive=True),
    "a folder": lambda fs: fs.cp("train/notes", "new", recursive=True),
    "mv of a pattern": lambda fs: fs.mv("train/img/*.png", "val/img/"),
    "mv of a pattern with folders": lambda fs: fs.mv("train/n*", "other/", recursive=True),
    "mv of content": lambda fs: fs.mv("train/notes/", "new/texts/", recursive=True),
    "mv of a list": lambda fs: fs.mv(["train/notes/m.txt", "new/texts"], "other", recursive=True),
    "put into a folder that is new": lambda fs: fs.put(__file__, "new/texts"),
    "put of a list": lambda fs: fs.put([__file__], "new/texts"),
    "rm": lambda fs: fs.rm("train/notes/*.txt"),
}
BEFORE = [
    lambda fs: fs.pipe({"train/img/new.png": picture("new"), "new/img/z.png": picture("z")}),
    lambda fs: fs.pipe("train/img/a.png", picture("a too")),
    lambda fs: fs.pipe({"train/notes/m.txt": b"m", "new/texts/t.txt": b"t", "train/[n].txt": b"[n]"}),
    lambda fs: fs.rm("train/img/gone.png"),
]


@pytest.mark.parametrize("how", SEEN)
def test_steps_see_the_ones_before_them(pack_, how):
    files = files_of({f"train/{name}.png": picture(name) for name in ("a", "gone")})
    files |= {"train/notes/n.txt": b"n", "train/notes/deep/d.txt": b"d", "train/n.txt": b"top"}
    views = []
    for together in (True, False):
        root = pack_(files)
        if together:
            transaction(root, lambda fs: [step(fs) for step in (*BEFORE, SEEN[how])])
        else:
            for step in (*BEFORE, SEEN[how]):
                transaction(root, step)
        views.append(shown(root))
        assert faults(root) == []
        shutil.rmtree(root)
    assert views[0] == views[1]


SLASHES = [(f"notes{a}", f"{to}{b}") for a in ("", "/") for to in ("new", "there", "deep/er") for b in ("", "/")]
SLASHES += [("notes/*", "there"), ("notes/*", "new/"), ("notes/n*", "new"), ("notes/n*", "there/"), ("n?1?.t*", "x")]
SLASHES += [("n[1].txt", "x"), ("n[1].txt", "there"), (["notes/n.txt", "n[1].txt"], "there"), ("notes/n.txt", "x")]
CASES = [
    (how, *case, recursive)
    for how in ("cp", "mv", "put")
    for case in SLASHES
    for recursive in (True, False)
    if recursive or how != "mv" or case[0] not in ("notes", "notes/", "notes/*")
]
TEXTS = {f"notes/{name}.txt": name.encode() for name in ("n", "m", "deep/d")}
TEXTS |= {"there/t.txt": b"t", "n[1].txt": b"[1]"}


def _each(change, paths):
    return change(paths) if isinstance(paths, str) else list(map(change, paths))


@pytest.mark.parametrize(("how", "source", "target", "recursive"), CASES)
def test_slashes_and_patterns_as_fsspec_has_them(pack_, tmp_path, how, source, target, recursive):
    """What `fsspec.implementations.memory` makes of files whose names don't look like patterns."""
    root, memory, base = pack_(files_of({"train/a.png": picture("a")}) | TEXTS), MemoryFileSystem(), f"/{tmp_path.name}"
    memory.pipe({f"{base}/{path.replace('[1]', '-1-')}": data for path, data in TEXTS.items()})
    try:
        copy = memory.mv if how == "mv" else memory.cp
        copy(_each(lambda one: f"{base}/{one.replace('[1]', '-1-')}", source), f"{base}/{target}", recursive=recursive)
        wanted = {path.removeprefix(f"{base}/").replace("-1-", "[1]"): memory.cat(path) for path in memory.find(base)}
    finally:
        memory.rm(base, recursive=True)
    if how == "put":
        folder = write_files(tmp_path / "local", TEXTS)
        source = _each(lambda one: f"{folder}/{one}", source)
    transaction(root, lambda fs: getattr(fs, how)(source, target, recursive=recursive))
    found = {path: data for path, data in shown(root).items() if not path.startswith(("train/", "meta.json", "README"))}
    assert found == wanted


@pytest.mark.parametrize("source", ["notes", "notes/", ["notes"], "notes/deep"])
def test_folders_are_moved_if_they_are_meant(pack_, source):
    root = pack_(files_of({"train/a.png": picture("a")}) | TEXTS)
    with pytest.raises(IsADirectoryError):
        transaction(root, lambda fs: fs.mv(source, "x"))
    with pytest.raises(BlobdirError, match="maxdepth"):
        transaction(root, lambda fs: fs.mv(source, "x", recursive=True, maxdepth=1))


@pytest.mark.parametrize("how", ["cp", "mv", "put"])
def test_two_to_one_place(pack_, tmp_path, how):
    texts = {"a/x.txt": b"a", "b/x.txt": b"b"}
    root, folder = pack_(files_of({"train/a.png": picture("a")}) | texts), write_files(tmp_path / "local", texts)
    given = [f"{folder}/{path}" if how == "put" else path for path in texts]
    assert "x.txt" in unchanged(root, lambda fs: getattr(fs, how)(given, "new/"))


# -- a step fails, and whoever asked for it goes on ------------------------------------------------------------------


@pytest.mark.parametrize("how", ["pipe", "put", "put of a folder", "cp", "mv"])
def test_half_a_step_is_none(pack_, tmp_path, how):
    root = pack_(files_of({"train/a.png": picture("a")}) | {"notes/1.txt": b"1", "notes/2.txt": b"2"})
    folder = write_files(tmp_path / "local", {"img/1.png": picture("1"), "meta.json": b"none"})
    into = {
        "pipe": lambda fs: fs.pipe({"train/img/1.png": picture("1"), "meta.json": b"none"}),
        "put": lambda fs: fs.put([f"{folder}/img/1.png", f"{folder}/no"], ["train/img/1.png", "x"]),
        "put of a folder": lambda fs: fs.put(f"{folder}/", "./", recursive=True),
        "cp": lambda fs: fs.cp(["notes/2.txt", "notes/1.txt"], ["blob/x.txt", "x.txt"]),
        "mv": lambda fs: fs.mv(["notes/2.txt", "notes/1.txt"], ["blob/x.txt", "x.txt"]),
    }[how]

    def change(fs):
        with pytest.raises((BlobdirError, FileNotFoundError), match=r"meta\.json|/no|blob/x\.txt"):
            into(fs)
        fs.pipe("train/img/z.png", picture("z"))

    assert "failed half way" in unchanged(root, change)


@pytest.mark.parametrize("late", ["close", "collect", "write", "pipe to the edit"])
def test_what_comes_after_the_end(pack_, late):
    """It would land in the place of what somebody else has staged by then."""
    root = pack_(files_of({"train/a.png": picture("a")}) | {"notes/1.txt": b"1"})
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    begun = fs.start_transaction()
    edit, file = begun.edit, fs.open("late.txt", "wb")
    file.write(b"late")
    with pytest.raises(BlobdirError, match="wasn't closed"):
        begun.complete()
    other = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    with other.transaction:
        other.pipe("notes/1.txt", b"mine")
        other.pipe("train/ann/a.png.json", annotation("mine"))
        if late == "close":
            file.close()
        elif late == "write":
            with pytest.raises(ValueError, match="closed"):
                file.write(b"more")
        elif late == "collect":
            del file
            gc.collect()
        else:
            for change in (lambda: edit.write("x.txt", b"late"), lambda: edit.remove("notes/1.txt"), edit.commit):
                with pytest.raises(BlobdirError, match="has ended"):
                    change()
    found = shown(root)
    assert found["notes/1.txt"] == b"mine" and label_of(root, "a.png") == "mine"
    assert "late.txt" not in found and "x.txt" not in found


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda fs: fs.rmdir("nowhere"), "no such file or folder"),
        (lambda fs: fs.rmdir("train/img/a.png"), "is a file"),
        (lambda fs: fs.pipe("train/.blobdir-0123456789ab.tmp", b"x"), "nobody would see it"),
        (lambda fs: fs.pipe(".blobdir-0123456789ab.tmp/img/a.png", picture("a")), "nobody would see it"),
        (lambda fs: fs.cp("", "copy", recursive=True), "the project itself"),
        (lambda fs: fs.mv("", "copy", recursive=True), "the project itself"),
        (lambda fs: fs.mv("train", "train/deeper", recursive=True), "into itself"),
        (lambda fs: fs.cp("train/img/no.png", "train/img/b.png"), "no such file"),
        (lambda fs: fs.cp("train/img/no*.png", "train/img/"), "no such file"),
        (lambda fs: fs.cp(["train/img/a.png"], ["b.txt", "c.txt"]), "1 paths, and 2"),
    ],
)
def test_what_says_nothing_or_nonsense(pack_, wrong, what):
    root = pack_(files_of({"train/a.png": picture("a")}))
    assert what in unchanged(root, wrong)
