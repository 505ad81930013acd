"""Lists and patterns in a transaction: all of one happens at once, also what belongs together."""

from __future__ import annotations

import json
import tracemalloc
from itertools import permutations

import pytest
from changes.commands import transaction, unchanged
from changes.looking import faults, shown
from changes.samples import annotation, files_of, packed, picture, picture_of

from blobdir.errors import BlobdirError

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")

A, B, C = (f"train/img/{name}.png" for name in "abc")
OF = {
    "a label": "train/ann/{}.png.json",
    "a label by the stem": "train/ann/{}.json",
    "meta": "train/meta/{}.png.json",
    "a mask": "train/masks_x/{}.png",
    "masks": "train/masks_x/{}/1.png",
    "a folder of masks": "train/masks_x/{}",
}
"""What belongs to an image, and can be named in a list beside it."""
FILE_IN = {"a folder of masks": "/1.png"}
WAYS = {
    "elsewhere": ({A: C}, {"a": "c"}),
    "to another dataset": ({A: "val/img/a.png"}, {"a": "val a"}),
    "they change places": ({A: B, B: A}, {"a": "b", "b": "a"}),
    "one after the other": ({A: B, B: C}, {"a": "b", "b": "c"}),
    "one takes the other's place": ({A: B}, {"a": "b"}),
}
"""How images are moved, and what becomes of the names."""


def project(tmp_path, kind, annotations="loose"):
    """Two images that have a file of a kind each; the pattern of that, and what is in it, by name."""
    files, pattern = files_of({"train/a.png": picture("a"), "train/b.png": picture("b")}), OF[kind]
    if "label" in kind:
        del files["train/ann/a.png.json"], files["train/ann/b.png.json"]
    file = pattern + FILE_IN.get(kind, "")
    content = annotation if file.endswith(".json") else picture
    files |= {file.format(name): content(f"{kind} of {name}") for name in "ab"}
    return packed(tmp_path / "p", files, annotations=annotations), file, {n: files[file.format(n)] for n in "ab"}


def place(pattern, new):
    """Where a name's file is: ``val a``, that of a in ``val``."""
    dataset, _, name = new.rpartition(" ")
    path = pattern.format(name)
    return path.replace("train", dataset, 1) if dataset else path


def content_of(found, file, new):
    """The content of what belongs to an image by now, whatever it's called."""
    path = place(file, new)
    return (
        found.get(path) or found.get(path.replace(".json", ".png.json")) or found.get(path.replace(".png", ".png.png"))
    )


PACKED = [(kind, "packed") for kind in OF if "label" in kind]


@pytest.mark.parametrize("listed", ["all", "all, the other way round", "the first", "images"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("kind", "annotations"), [*((kind, "loose") for kind in OF), *PACKED])
def test_what_belongs_to_an_image_is_its_own(tmp_path, kind, way, listed, annotations):
    """A list names images, and for some what belongs to them, to where it's to be: each has its own there."""
    root, file, data = project(tmp_path, kind, annotations)
    images, names = WAYS[way]
    both = {OF[kind].format(name): place(OF[kind], new) for name, new in names.items()}
    moves = {
        "all": images | both,
        "all, the other way round": dict(reversed((images | both).items())),
        "the first": images | dict([next(iter(both.items()))]),
        "images": images,
    }[listed]
    before = shown(root)
    transaction(root, lambda fs: fs.mv(list(moves), list(moves.values()), recursive=True))
    found = shown(root)
    assert faults(root) == []
    for name, new in names.items():
        assert found[place("train/img/{}.png", new)] == before[f"train/img/{name}.png"]
        assert content_of(found, file, new) == data[name]
        if file.format(name) in moves:
            assert found[moves[file.format(name)]] == data[name]
    of_b = {data for path, data in before.items() if "/b" in path} if way.startswith("one takes") else set()
    assert set(before.values()) - set(found.values()) <= of_b


@pytest.mark.parametrize("order", list(permutations(range(2))))
@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("kind", OF)
def test_it_goes_where_the_list_says(tmp_path, kind, there, order):
    root, file, data = project(tmp_path, kind)
    to = f"kept{FILE_IN[kind]}" if kind in FILE_IN else "kept.x"
    target = "kept" if kind in FILE_IN else to
    if there:
        transaction(root, lambda fs: fs.pipe(to, b"old"))
    lists = [OF[kind].format("a"), A], [target, "val/img/a.png"]
    transaction(root, lambda fs: fs.mv(*([one[i] for i in order] for one in lists), recursive=True))
    found = shown(root)
    assert found[to] == data["a"] and list(found.values()).count(data["a"]) == 1
    assert "val/img/a.png" in found and found[file.format("b")] == data["b"]
    assert faults(root) == []


@pytest.mark.parametrize("order", list(permutations(range(2))))
@pytest.mark.parametrize("kind", OF)
def test_what_is_replaced_isnt_lost_if_the_list_has_it(tmp_path, kind, order):
    """What belonged to an image that another one replaces goes where the list says."""
    root, file, data = project(tmp_path, kind)
    to = f"kept{FILE_IN[kind]}" if kind in FILE_IN else "kept.x"
    lists = [OF[kind].format("b"), A], ["kept" if kind in FILE_IN else to, B]
    transaction(root, lambda fs: fs.mv(*([one[i] for i in order] for one in lists), recursive=True))
    found = shown(root)
    assert found[to] == data["b"] and found[B] == picture("a") and A not in found
    assert content_of(found, file, "b") == data["a"]


@pytest.mark.parametrize("listed", [[0, 1], [1, 0], [0, 1, 2], [2, 1, 0]])
@pytest.mark.parametrize("kind", ["full", "stem"])
def test_folders_of_a_dataset_one_by_one_in_a_list(tmp_path, kind, listed):
    files = files_of({"train/a.png": picture("a"), "train/b.png": picture("b"), "val/v.png": picture("v")})
    if kind == "stem":
        files = {path.replace(".png.json", ".json"): data for path, data in files.items()}
    files |= {
        "train/masks_x/a/1.png": picture("1"),
        "train/masks_x/b.png": picture("2"),
        "train/ann/z.json": annotation("nobody's"),
    }
    root = packed(tmp_path / "p", files)
    before = {path: data for path, data in shown(root).items() if path.startswith("train/")}
    folders = [("img", "ann", "masks_x")[i] for i in listed]
    lists = [f"train/{name}" for name in folders], [f"w/{name}" for name in folders]
    transaction(root, lambda fs: fs.mv(*lists, recursive=True))
    found = {path: data for path, data in shown(root).items() if path.startswith("w/")}
    wanted = {path.replace("train/", "w/", 1): data for path, data in before.items()}
    assert {path.replace(".png.png", ".png") for path in found} == wanted.keys()  # b's mask may have its full name
    assert sorted(found.values()) == sorted(wanted.values())
    assert not any(path.startswith("train/") for path in shown(root))


@pytest.mark.parametrize("way", ["mv", "cp"])
@pytest.mark.parametrize("order", [1, -1])
def test_lists_in_which_a_folder_takes_the_place_of_what_is_named(tmp_path, way, order):
    root = packed(tmp_path / "p", files_of({f"{name}.png": picture(name) for name in ("train/a", "val/a")}))
    lists = (["val", "train/img/a.png"], ["train", "other/img/a.png"])
    said = unchanged(root, lambda fs: getattr(fs, way)(*(one[::order] for one in lists), recursive=True))
    assert "one by one" in said


def test_two_that_would_come_to_one_place(tmp_path):
    root, _, _ = project(tmp_path, "a label")
    files = [A, "train/ann/b.png.json"], [C, "train/ann/c.png.json"]
    assert "train/ann/c.png.json" in unchanged(root, lambda fs: fs.mv(*files))


CHAINS = {
    "files, then an image": (["notes/x.png", A], [B, "notes/x.png"]),
    "an image, then files": ([B, "notes/x.png"], ["notes/x.png", A]),
    "images": ([A, B], [B, C]),
    "files": (["notes/x.png", "notes/y.png"], ["notes/y.png", "notes/z.png"]),
    "labels": (["train/ann/a.png.json", "train/ann/b.png.json"], ["train/ann/b.png.json", "notes/b.json"]),
}


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("chain", CHAINS)
def test_copies_are_of_what_was_there(tmp_path, chain, order):
    files = files_of({"train/a.png": picture("a"), "train/b.png": picture("b")})
    root = packed(tmp_path / "p", files | {"notes/x.png": picture("x"), "notes/y.png": picture("y")})
    before, (sources, targets) = shown(root), CHAINS[chain]
    transaction(root, lambda fs: fs.cp(sources[::order], targets[::order]))
    found = shown(root)
    assert {to: found[to] for to in targets} == {to: before[one] for one, to in zip(sources, targets, strict=True)}


# -- a dataset that is copied folder by folder -----------------------------------------------------------------------


def _by_turns(*folders):
    return lambda fs: [fs.cp(f"train/{name}", f"w/{name}", recursive=True) for name in folders]


BY_FOLDERS = {
    "labels first": _by_turns("ann", "img", "masks_x", "meta"),
    "images first": _by_turns("img", "ann", "masks_x", "meta"),
    "masks first": _by_turns("masks_x", "meta", "img", "ann"),
    "a pattern": lambda fs: fs.cp("train/*", "w/", recursive=True),
    "a list": lambda fs: fs.cp(
        [f"train/{name}" for name in ("masks_x", "meta", "img", "ann")],
        [f"w/{name}" for name in ("masks_x", "meta", "img", "ann")],
        recursive=True,
    ),
    "files": lambda fs: [
        fs.cp(f"train/{name}/**", f"w/{name}/", recursive=True) for name in ("ann", "img", "masks_x", "meta")
    ],
    "content": lambda fs: [
        fs.cp(f"train/{name}/", f"w/{name}/", recursive=True) for name in ("ann", "img", "masks_x", "meta")
    ],
    "as a whole": lambda fs: fs.cp("train", "w", recursive=True),
}


@pytest.mark.parametrize("kind", ["full", "stem", "two of a stem"])
@pytest.mark.parametrize("how", BY_FOLDERS)
def test_a_dataset_that_is_copied_folder_by_folder(tmp_path, how, kind):
    files = files_of({"train/a.png": picture("a"), "train/b.png": picture("b")})
    if kind != "full":
        files = {path.replace(".png.json", ".json"): data for path, data in files.items()}
    if kind.startswith("two"):
        files["train/img/a.bmp"] = picture_of("a.bmp", "bmp")
    files |= {"train/masks_x/a/1.png": picture("1"), "train/masks_x/b.png": picture("2"), "train/meta/a.json": b"{}"}
    root = packed(tmp_path / "p", files)
    before = shown(root)
    transaction(root, BY_FOLDERS[how])
    found = shown(root)
    if kind == "two of a stem" and how in ("images first", "masks first"):  # of two, nobody knows for which it is
        assert found["w/ann/a.json"] == before["train/ann/a.json"] and "w/ann/a.png.json" in found
        return
    copies = {path.replace("w/", "train/", 1): data for path, data in found.items() if path.startswith("w/")}
    assert copies == {path: data for path, data in before.items() if path.startswith("train/")}
    assert faults(root) == []


ORDERS = [(order, True) for order in permutations(["img", "ann", "masks_x", "meta"])]
ORDERS += [(order, False) for order, _ in ORDERS if order[0] == "img"]  # else nobody knows for whom the others are


@pytest.mark.parametrize("kind", ["full", "stem"])
@pytest.mark.parametrize(("order", "together"), ORDERS)
def test_a_dataset_that_is_moved_folder_by_folder(tmp_path, order, together, kind):
    """Images take along what belongs to them; the folders that it was in follow."""
    files = files_of({"train/a.png": picture("a"), "train/b.png": picture("b")})
    if kind == "stem":
        files = {path.replace(".png.json", ".json"): data for path, data in files.items()}
    files |= {"train/masks_x/a/1.png": picture("1"), "train/masks_x/b.png": picture("2"), "train/meta/a.json": b"{}"}
    root = packed(tmp_path / "p", files)
    before = shown(root)

    def step(name):
        return lambda fs: fs.mv(f"train/{name}", f"w/{name}", recursive=True)

    if together:
        transaction(root, lambda fs: [step(name)(fs) for name in order])
    else:
        for name in order:
            transaction(root, step(name))
    found = shown(root)
    assert {path for path in found if path.startswith("train/")} == set()
    wanted = sorted(data for path, data in before.items() if path.startswith("train/"))
    assert sorted(data for path, data in found.items() if path.startswith("w/")) == wanted
    assert faults(root) == []


def test_what_followed_elsewhere(tmp_path):
    root, _, data = project(tmp_path, "masks")

    def change(fs):
        fs.mv("train/img", "w/img", recursive=True)
        fs.mv("train/masks_x", "elsewhere/masks_x", recursive=True)

    assert "w/masks_x/" in unchanged(root, change)
    assert shown(root)["train/masks_x/a/1.png"] == data["a"]


# -- files of another layout that are filed into a dataset -----------------------------------------------------------

PLACES = {"images": "train/img", "labels": "train/ann", "masks": "train/masks_x"}
ENDS = {"full": ".png.json", "stem": ".json"}
FILED = {
    "folders one by one": lambda fs, way, order: [getattr(fs, way)(f"s/{x}", PLACES[x], recursive=True) for x in order],
    "patterns": lambda fs, way, order: [getattr(fs, way)(f"s/{x}/*", f"{PLACES[x]}/") for x in order],
    "a list of folders": lambda fs, way, order: getattr(fs, way)(
        [f"s/{x}" for x in order], [PLACES[x] for x in order], recursive=True
    ),
}


def staged(tmp_path, kind):
    files = {f"s/images/{name}.png": picture(f"staged {name}") for name in "ab"}
    files |= {f"s/labels/{name}{ENDS[kind]}": annotation(f"label of {name}") for name in "ab"}
    files |= {f"s/masks/{name}.png": picture(f"mask of {name}") for name in "ab"}
    files |= files_of({"val/v.png": picture("v")})
    return packed(tmp_path / "p", files), files


def filed(files):
    found = {}
    for path, data in files.items():
        folder, _, name = path.rpartition("/")
        if path.startswith("s/"):
            found[f"{PLACES[folder[2:]]}/{name}"] = data
    return found


@pytest.mark.parametrize("order", list(permutations(PLACES)), ids="-".join)
@pytest.mark.parametrize("way", ["mv", "cp"])
@pytest.mark.parametrize("how", FILED)
@pytest.mark.parametrize("kind", ENDS)
def test_folders_of_another_layout(tmp_path, kind, how, way, order):
    root, files = staged(tmp_path, kind)
    transaction(root, lambda fs: FILED[how](fs, way, order))
    found = shown(root)
    assert {path: data for path, data in found.items() if path.startswith("train/")} == filed(files)
    assert any(path.startswith("s/") for path in found) == (way == "cp") and faults(root) == []


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("way", ["mv", "cp"])
@pytest.mark.parametrize("kind", ENDS)
def test_files_of_another_layout(tmp_path, kind, way, together, order):
    root, files = staged(tmp_path, kind)
    chosen = [path for path in files if path.startswith("s/") and path.rpartition("/")[2].startswith("a")]
    sources = [chosen[i] for i in order]
    targets = [next(iter(filed({path: b""}))) for path in sources]

    def change(fs):
        if together:
            getattr(fs, way)(sources, targets)
        else:
            for pair in zip(sources, targets, strict=True):
                getattr(fs, way)(*pair)

    transaction(root, change)
    there = {path: data for path, data in shown(root).items() if path.startswith("train/")}
    assert there == {to: files[path] for path, to in zip(sources, targets, strict=True)} and faults(root) == []


@pytest.mark.parametrize("target", ["blob", "notes.txt", "blob/x"])
@pytest.mark.parametrize("way", ["mv", "cp"])
def test_empty_folders_that_cant_go_stay(tmp_path, way, target):
    """A dataset without images that is to go where nothing can be, and whoever asked for it goes on."""
    root = packed(tmp_path / "p", files_of({"train/a.png": picture("a")}) | {"notes.txt": b"notes"})
    for name in ("img", "ann"):
        (root / "empty" / name).mkdir(parents=True)

    def change(fs):
        with pytest.raises((BlobdirError, OSError)):
            getattr(fs, way)("empty", target, recursive=True)
        fs.pipe("more.txt", b"more")

    transaction(root, change)
    assert (root / "empty/img").is_dir() and (root / "empty/ann").is_dir() and shown(root)["more.txt"] == b"more"


LARGE = {
    "mv with labels": lambda fs, n: fs.mv(
        [f"train/{x}.png{e}" for x, e in _both(n)], [f"w/{x}.png{e}" for x, e in _both(n)]
    ),
    "mv of images": lambda fs, n: fs.mv([f"train/img/{i}.png" for i in range(n)], [f"w/img/{i}.png" for i in range(n)]),
    "mv of their folder": lambda fs, n: fs.mv("train/img", "w/img", recursive=True),
    "round in a circle": lambda fs, n: fs.mv(
        [f"train/img/{i}.png" for i in range(n)], [f"train/img/{(i + 1) % n}.png" for i in range(n)]
    ),
    "copies, one after the other": lambda fs, n: fs.cp(
        [f"train/img/{i}.png" for i in range(n)], [f"train/img/{i + 1}.png" for i in range(n)]
    ),
    "cp of the dataset": lambda fs, n: fs.cp("train/*", "w/", recursive=True),
}


def _both(n):
    return [(f"img/{i}", "") for i in range(n)] + [(f"ann/{i}", ".json") for i in range(n)]


@pytest.mark.parametrize("how", LARGE)
def test_lists_of_large_files_take_little_memory(tmp_path, how):
    count, size = 40, 1 << 20
    files = files_of({f"train/{i}.png": picture(i) + bytes(size) for i in range(count)})
    files |= {f"train/masks_x/{i}.png": picture(f"mask {i}") + bytes(size) for i in range(count)}
    root = packed(tmp_path / "p", files)
    del files
    tracemalloc.start()
    try:
        transaction(root, lambda fs: LARGE[how](fs, count))
        assert tracemalloc.get_traced_memory()[1] < 24 * size  # a piece that is read takes 16
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("listed", [(), ("ann",), ("masks",), ("ann", "masks"), ("masks", "ann")])
@pytest.mark.parametrize("circle", [True, False])
@pytest.mark.parametrize("whose", ["nobody's", "another one's"])
def test_who_comes_takes_no_label_from_the_shadow(tmp_path, whose, circle, listed):
    """Where a label goes along with its image, one by the stem comes to light, and isn't that of whoever comes."""
    files = files_of({"train/a.png": picture("a"), "w/b.png": picture("b")})
    files |= {"train/ann/a.json": annotation(whose), "train/masks_x/a.png": picture("mask of a")}
    if whose != "nobody's":
        files["train/img/a.bmp"] = picture_of("a.bmp", "bmp")
        files["train/masks_x/a.png.png"] = files.pop("train/masks_x/a.png")
    del files["w/ann/b.png.json"]
    mask = next(path for path in files if path.startswith("train/masks_x/"))
    root = packed(tmp_path / "p", files)
    label = shown(root)["train/ann/a.png.json"]
    to = "w/img/b.png" if circle else "u/img/a.png"
    name = to.rpartition("/")[2]
    moves = {"w/img/b.png": A, A: to}
    beside = {
        "ann": ("train/ann/a.png.json", f"{to[0]}/ann/{name}.json"),
        "masks": (mask, f"{to[0]}/masks_x/{name}.png"),
    }
    moves |= dict(beside[kind] for kind in listed)
    transaction(root, lambda fs: fs.mv(list(moves), list(moves.values())))
    found = shown(root)
    assert found[A] == picture("b") and found[to] == picture("a") and found[f"{to[0]}/ann/{name}.json"] == label
    assert json.loads(found["train/ann/a.png.json"])["description"] == "" and mask not in found
    assert found["train/ann/a.json"] == annotation(whose) and faults(root) == []


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("kind", OF)
def test_it_can_go_to_another_image_of_the_list(tmp_path, kind, order):
    """Its own image goes elsewhere, so it's for the one that comes to where it is."""
    root, file, data = project(tmp_path, kind)
    lists = [OF[kind].format("a"), B, A], [place(OF[kind], "new n"), "new/img/n.png", "val/img/b.png"]

    def change(fs):
        if file.format("b") in fs.find(""):
            fs.rm(file.format("b"))
        fs.mv(*([one[i] for i in order] for one in lists), recursive=True)

    transaction(root, change)
    found = shown(root)
    assert found[place(file, "new n")] == data["a"] and list(found.values()).count(data["a"]) == 1
    assert {"new/img/n.png", "val/img/b.png"} <= found.keys()
    assert content_of(found, file, "new n") == data["a"]
    assert (kind == "a label by the stem") == ("new/ann/n.png.json" not in found)
    assert faults(root) == []
