"""Each kind of call in a transaction, as fsspec has them: what it sees, where things go, what a failure leaves."""

from __future__ import annotations

import gc
import shutil
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest
from changes.commands import label_of, transaction, unchanged
from changes.looking import faults, shown
from changes.samples import annotation, files_of, packed, picture, write_files
from fsspec.implementations.memory import MemoryFileSystem

from blobdir.errors import BlobdirError

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


@pytest.fixture(params=["loose", "packed"])
def pack_(request, tmp_path):
    return lambda files: packed(tmp_path / "p", files, annotations=request.param)


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


LISTS = {
    "a file into a folder that moves": (["train", "val/img/b.png"], ["z", "train/img/b.png"]),
    "and the other way round": (["val/img/b.png", "train"], ["train/img/b.png", "z"]),
    "a file to where a folder goes": (["train", "val/img/b.png"], ["z", "z/img/b.png"]),
    "folders": (["train", "val"], ["val/datasets/x", "z"]),
}


@pytest.mark.parametrize("how", ["cp", "mv"])
@pytest.mark.parametrize("kind", LISTS)
def test_lists_in_which_one_would_be_in_anothers_way(pack_, kind, how):
    root = pack_(files_of({f"{place}.png": picture(place) for place in ("train/a", "train/b", "val/b")}))
    assert "one by one" in unchanged(root, lambda fs: getattr(fs, how)(*LISTS[kind], recursive=True))


@pytest.mark.parametrize("names", [("a", "b", "moving-1"), ("b", "a", "moving-1"), ("moving-1", "moving-2", "a")])
@pytest.mark.parametrize("what", ["images", "datasets", "files"])
def test_circles_beside_names_that_blobdir_would_take(pack_, names, what):
    """Two change places, and a third one gets the name that one of them would have for a moment."""
    one, two, new = names
    places = {"images": "train/img/%s.png", "datasets": "%s/img/x.png", "files": "notes/%s.txt"}[what]
    texts = {name: picture(name) if what != "files" else name.encode() for name in (one, two, "c")}
    paths = {name: places % name for name in (one, two, "c", new)}
    placed = {paths[name]: data for name, data in texts.items()}
    images = {} if what == "files" else {path.replace("/img/", "/"): data for path, data in placed.items()}
    root = pack_(files_of(images | {"k/k.png": picture("k")}) | (placed if what == "files" else {}))
    listed = {name: name if what == "datasets" else paths[name] for name in paths}
    sources, targets = ([listed[name] for name in order] for order in ((one, two, "c"), (two, one, new)))
    transaction(root, lambda fs: fs.mv(sources, targets, recursive=True))
    found = shown(root)
    assert {name: found[paths[name]] for name in (one, two, new)} == {one: texts[two], two: texts[one], new: texts["c"]}
    assert faults(root) == []


FOLDERS = {
    "images of datasets": (["train/img", "val/img"], lambda path: path.startswith(("train/", "val/"))),
    "datasets": (["train", "val"], lambda path: path.startswith(("train/", "val/"))),
    "labels of datasets": (["train/ann", "val/ann"], lambda path: path.startswith(("train/ann/", "val/ann/"))),
    "folders of one's own": (["notes", "texts"], lambda path: path.startswith(("notes/", "texts/"))),
}


@pytest.mark.parametrize("what", FOLDERS)
def test_folders_that_change_places(pack_, what):
    files = files_of({f"{place}.png": picture(place) for place in ("train/a", "val/a", "val/b")})
    files |= {"train/masks_x/a.png": picture("mask"), "notes/a.txt": b"a", "texts/b.txt": b"b"}
    root = pack_(files)
    (one, two), is_meant = FOLDERS[what]
    before = shown(root)
    if what == "labels of datasets":  # b.png of val would be without
        transaction(root, lambda fs: fs.rm("val/img/b.png"))
        before = shown(root)
    transaction(root, lambda fs: fs.mv([one, two], [two, one], recursive=True))
    swapped = {
        path: path.replace(one.split("/")[0], "*").replace(two.split("/")[0], one.split("/")[0]) for path in before
    }
    wanted = {
        new.replace("*", two.split("/")[0]) if is_meant(path) else path: before[path] for path, new in swapped.items()
    }
    found = shown(root)
    names = {path.replace("masks_x/a.png.png", "masks_x/a.png"): data for path, data in found.items()}
    assert names == {path.replace("masks_x/a.png.png", "masks_x/a.png"): data for path, data in wanted.items()}


def test_threads_that_move_in_one_transaction(pack_):
    """A list is one step, also for the others."""
    images = {f"train/{i}{j}.png": picture(f"{i}{j}") for i in range(8) for j in "ab"}
    root = pack_(files_of(images))

    def change(fs):
        pairs = [[f"train/img/{i}{j}.png" for j in "ab"] for i in range(8)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda two: [fs.mv(two, two[::-1]) for _ in range(3)], pairs))

    transaction(root, change)
    found = shown(root)
    assert all(found[f"train/img/{i}a.png"] == images[f"train/{i}b.png"] for i in range(8))
    assert all(found[f"train/img/{i}b.png"] == images[f"train/{i}a.png"] for i in range(8))


ALONG = {
    "where it goes anyway": (["train/ann/a.png.json", "train/img/a.png"], ["w/ann/a.png.json", "w/img/a.png"]),
    "a pattern through all": ("train/**", "w/"),
    "a pattern": ("train/img/*", "w/img/"),
}


@pytest.mark.parametrize("case", ALONG)
def test_a_list_of_an_image_and_what_goes_along_with_it(pack_, case):
    root = pack_(files_of({"train/a.png": picture("a"), "train/b.png": picture("b")}))
    label = shown(root)["train/ann/a.png.json"]
    transaction(root, lambda fs: fs.mv(*ALONG[case]))
    assert shown(root)["w/ann/a.png.json"] == label and faults(root) == []


# -- a step fails, and whoever asked for it goes on ------------------------------------------------------------------


@pytest.mark.parametrize("how", ["pipe", "put", "put of a folder", "cp", "mv"])
def test_half_a_step_is_none(pack_, tmp_path, how):
    root = pack_(files_of({"train/a.png": picture("a")}) | {"notes/1.txt": b"1", "notes/2.txt": b"2"})
    folder = write_files(tmp_path / "local", {"1.txt": b"1", "meta.json": b"none"})
    into = {
        "pipe": lambda fs: fs.pipe({"train/img/1.png": picture("1"), "a.txt": b"a", "blob/x.txt": b"none"}),
        "put": lambda fs: fs.put([f"{folder}/1.txt", f"{folder}/no"], ["train/1.txt", "x"]),
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


def test_what_is_missing_in_lists_that_are_copied(pack_):
    root = pack_(files_of({"train/a.png": picture("a")}) | {"notes/1.txt": b"1"})
    lists = ["notes/no.txt", "notes/1.txt"], ["new/no.txt", "new/1.txt"]
    assert "no such file" in unchanged(root, lambda fs: fs.cp(*lists))
    for options in ({"on_error": "ignored"}, {"recursiv": True}):
        assert "isn't an option" in unchanged(root, lambda fs, options=options: fs.cp(*lists, **options))
    transaction(root, lambda fs: fs.cp(*lists, on_error="ignore"))
    assert shown(root)["new/1.txt"] == b"1" and "new/no.txt" not in shown(root)
