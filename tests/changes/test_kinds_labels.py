"""Each kind of fault of what goes along with an image: its labels above all, packed or loose, and the files beside it.

What is asked of images holds for these too: a defect in what would be changed, removed or taken along is refused before
anything is touched.
"""

from __future__ import annotations

import gzip
import os
import shutil

import pytest
from changes.commands import LEAVING, REPLACING, TOUCHING, transaction
from changes.looking import get, shown
from changes.samples import (
    annotation,
    entries,
    files_below,
    files_of,
    in_tar,
    numbered,
    packed,
    pickles,
    picture_of,
    rewrite,
    swap,
    write,
)  # fmt: skip

from blobdir.errors import BlobdirError, ConflictError
from blobdir.packing import SubsetOptions, add, compact, merge, move, remove, subset

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")
IMAGE, NOTE = "train/img/a002.png", "train/ann/a002.png.json"


def project(root, **options):
    return packed(root, numbered(5), shard_images=9, **{"annotations": "packed"} | options)


def _notes(root):
    (found,) = pickles(root, True)
    return found, found.with_name(found.name.removesuffix("_offsets.pkl") + ".tar")


def _replace_labelled(root, image):
    name = image.rpartition("/")[2]
    file = write(root.with_name("replacing") / name, picture_of(name, "another"))
    write(root.with_name("notes") / f"{name}.json", annotation("another"))
    add(root, "train", [file], replace=True, annotations=root.with_name("notes"))


def _merge(root, image):
    ours = root.with_name("ours")
    shutil.rmtree(ours, ignore_errors=True)
    merge(packed(ours, numbered(1, 30, "val")), root)


def _subset(root, image):
    subset(root, root.with_name("made"), SubsetOptions(names=[image]))


COMMANDS = TOUCHING | {
    "add --replace --annotations": _replace_labelled,
    "put": lambda root, image: transaction(
        root, lambda fs: fs.put(str(write(root.with_name("new") / "x.png", picture_of("x.png", "another"))), image)
    ),
    "mv -r": lambda root, image: transaction(root, lambda fs: fs.mv("train", "other", recursive=True)),
    "rm -r": lambda root, image: transaction(root, lambda fs: fs.rm("train", recursive=True)),
    "merge": _merge,
    "subset": _subset,
    "compact": lambda root, image: compact(root),
    "remove --dry-run": lambda root, image: remove(root, [image], dry_run=True),
    "move --dry-run": lambda root, image: move(root, [image], "elsewhere", dry_run=True),
}


def looked_at(root):
    """`files_below`, for a project that may have a pipe in it."""
    kept = {path: path.with_name(f"{path.name}.kept") for path in root.rglob("*") if path.is_fifo()}
    for path, place in kept.items():
        path.rename(root.parent / place.name)
    found = files_below(root) | dict.fromkeys(map(str, kept), b"a pipe")
    for path, place in kept.items():
        (root.parent / place.name).rename(path)
    return found


def refused(root, command, image=IMAGE):
    """The error with which a command refuses, having changed nothing."""
    before = looked_at(root)
    with pytest.raises((BlobdirError, OSError)) as error:
        COMMANDS[command](root, image)
    assert isinstance(error.value, BlobdirError), "refused by an accident"
    assert looked_at(root) == before
    assert not root.with_name("made").exists()
    return str(error.value)


# -- labels that don't fit, or can't be read ---------------------------------------------------------------------


def offsets_swapped(pickle, tar):
    swap(pickle, "a002.png.json", "a003.png.json")


def header_of_another(pickle, tar):
    start = next(start for name, start, _ in entries(pickle) if name == "a002.png.json")
    data = bytearray(tar.read_bytes())
    data[start - 512 : start] = data[:512]
    tar.write_bytes(data)


def tar_missing(pickle, tar):
    tar.unlink()


def tar_cut(pickle, tar):
    os.truncate(tar, 700)


def tar_empty(pickle, tar):
    os.truncate(tar, 0)


def tar_gzipped(pickle, tar):
    tar.write_bytes(gzip.compress(tar.read_bytes()))


def tar_a_pipe(pickle, tar):
    tar.unlink()
    os.mkfifo(tar)


def tar_a_folder(pickle, tar):
    tar.unlink()
    tar.mkdir()


def tar_a_link_out(pickle, tar):
    tar.rename(tar.parents[3] / "away.tar")
    tar.symlink_to(tar.parents[3] / "away.tar")


def offsets_cut(pickle, tar):
    os.truncate(pickle, pickle.stat().st_size - 7)


def offsets_emptied(pickle, tar):
    os.truncate(pickle, 0)


def offsets_no_pickle(pickle, tar):
    pickle.write_bytes(b"no pickle")


def offsets_a_pipe(pickle, tar):
    pickle.unlink()
    os.mkfifo(pickle)


UNFIT = (
    offsets_swapped, header_of_another, tar_missing, tar_cut, tar_empty, tar_gzipped, tar_a_pipe, tar_a_folder,
    tar_a_link_out,
)  # fmt: skip
UNKNOWN = (offsets_cut, offsets_emptied, offsets_no_pickle, offsets_a_pipe)


@pytest.mark.parametrize("defect", [*UNFIT, *UNKNOWN], ids=lambda defect: defect.__name__)
@pytest.mark.parametrize("command", COMMANDS)
def test_labels_that_cannot_be_used(tmp_path, command, defect):
    root = project(tmp_path / "p")
    sound = {path: path.read_bytes() for path in _notes(root)}
    pickle, tar = _notes(root)
    defect(pickle, tar)
    said = refused(root, command)
    assert "train/ann.blob" in said or "train/ann/" in said
    for path, data in sound.items():
        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_bytes(data)
    assert shown(root) == files_of(numbered(5))


@pytest.mark.parametrize("swapped", ["images", "labels"])
def test_a_subset_of_which_few_do_not_fit(tmp_path, swapped):
    """Readers look at the first, the middle and the last entry; neither is one of the two."""
    root = packed(tmp_path / "p", numbered(11), shard_images=20, annotations="packed")
    (pickle,) = pickles(root, swapped == "labels")
    end = ".png.json" if swapped == "labels" else ".png"
    swap(pickle, f"a002{end}", f"a003{end}")
    with pytest.raises(BlobdirError, match=f"a00[23]{end}"):
        subset(root, tmp_path / "made", SubsetOptions(patterns=("train/a00[1-7].png",)))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("defect", UNKNOWN, ids=lambda defect: defect.__name__)
@pytest.mark.parametrize("way", ["add", "pipe", "pipe a label", "open x"])
def test_a_label_that_may_be_there(tmp_path, way, defect):
    """Nobody concludes that an image or a name has none from a list that isn't whole."""
    root = project(tmp_path / "p")
    defect(*_notes(root))
    before, new = looked_at(root), picture_of("new.png", "new")

    def new_label(fs):
        with fs.open(NOTE, "xb") as file:
            file.write(annotation("new"))

    ways = {
        "add": lambda: add(root, "train", [write(tmp_path / "new.png", new)]),
        "pipe": lambda: transaction(root, lambda fs: fs.pipe("train/img/new.png", new)),
        "pipe a label": lambda: transaction(root, lambda fs: fs.pipe(NOTE, annotation("new"))),
        "open x": lambda: transaction(root, new_label),
    }
    with pytest.raises(BlobdirError):
        ways[way]()
    assert looked_at(root) == before


@pytest.mark.parametrize("defect", UNFIT, ids=lambda defect: defect.__name__)
def test_a_label_that_a_new_image_would_get(tmp_path, defect):
    root = project(tmp_path / "p")
    (pickle,) = pickles(root, False)
    rewrite(pickle, [entry for entry in entries(pickle) if entry[0] != "a002.png"])
    defect(*_notes(root))
    before = looked_at(root)
    with pytest.raises(BlobdirError, match=r"train/ann\.blob"):
        add(root, "train", [write(tmp_path / "a002.png", picture_of("a002.png", "new"))])
    assert looked_at(root) == before


# -- labels that are two -----------------------------------------------------------------------------------------


def loose_and_packed(root, data):
    write(root / NOTE, data)


def packed_twice(root, data):
    at = in_tar(root / "train/ann.blob/second.tar", {"a002.png.json": data})
    rewrite(root / "train/ann.blob/second_offsets.pkl", [("a002.png.json", *at["a002.png.json"])])


def by_the_stem(root, data):
    """The image has its label by its stem alone, twice."""
    pickle, _ = _notes(root)
    kept = [entry for entry in entries(pickle) if entry[0] != "a002.png.json"]
    rewrite(pickle, kept)
    at = in_tar(root / "train/ann.blob/second.tar", {"a002.json": annotation("one")})
    rewrite(root / "train/ann.blob/second_offsets.pkl", [("a002.json", *at["a002.json"])])
    write(root / "train/ann/a002.json", data)


TWICE = (loose_and_packed, packed_twice, by_the_stem)
REFUSING = ("move", "move --dry-run", "mv", "mv -r", "subset")
"""They would have to choose one of the two."""


@pytest.mark.parametrize("double", TWICE, ids=lambda double: double.__name__)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_label_that_is_two(tmp_path, command, double):
    root = project(tmp_path / "p")
    double(root, annotation("the other"))
    note = NOTE if double is not by_the_stem else "train/ann/a002.json"
    assert isinstance(get(root, note), ConflictError)
    if command in REFUSING:
        assert note in refused(root, command)
        return
    COMMANDS[command](root, IMAGE)
    if command == "merge":
        root = root.with_name("ours")
    found = get(root, note)
    if command in ("remove", "rm", "rm -r"):
        assert isinstance(found, FileNotFoundError)
    elif command == "add --replace --annotations" and double is not by_the_stem:
        assert found == annotation("another")
    else:
        assert isinstance(found, ConflictError), "it isn't seen any more that there are two"


@pytest.mark.parametrize("double", TWICE[:2], ids=lambda double: double.__name__)
@pytest.mark.parametrize("command", ["move", "mv", "subset", "merge", *REPLACING])
def test_a_label_that_is_twice_the_same(tmp_path, command, double):
    root = project(tmp_path / "p")
    note = files_of(numbered(5))[NOTE]
    double(root, note)
    COMMANDS[command](root, IMAGE)
    made = {"subset": root.with_name("made"), "merge": root.with_name("ours")}.get(command, root)
    assert get(made, NOTE if command not in ("move", "mv") else NOTE.replace("train", "elsewhere")) == note


# -- a folder where a file belongs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["meta/a002.png.json", "meta/a002.json", "img_info/a002.png.json", "seg/a002.png.png"]
)
@pytest.mark.parametrize("command", TOUCHING)
def test_a_folder_at_the_place_of_a_side_file(tmp_path, command, place):
    root = project(tmp_path / "p")
    write(root / "train" / place / "inside.txt", b"whose?")
    assert f"train/{place}: is a folder" in refused(root, command)
    shutil.rmtree(root / "train" / place)
    COMMANDS[command](root, IMAGE)


@pytest.mark.parametrize("command", TOUCHING)
def test_a_folder_at_the_place_of_a_loose_label(tmp_path, command):
    root = project(tmp_path / "p", annotations="loose")
    (root / NOTE).unlink()
    write(root / NOTE / "inside.txt", b"whose?")
    assert f"{NOTE}: is a" in refused(root, command)


@pytest.mark.parametrize("command", LEAVING)
def test_a_folder_of_labels_called_like_a_label(tmp_path, command):
    """``img/a.png.json/b.png`` is an image too: its label lies in a folder that is called like that of ``a.png``."""
    root = packed(tmp_path / "p", files_of(numbered(1)))
    inner = "a002.png.json/b.png"
    write(root / f"train/img/{inner}", picture_of("b.png", 7))
    write(root / f"train/ann/{inner}.json", annotation("b"))
    write(root / IMAGE, picture_of("a002.png", 2))
    COMMANDS[command](root, IMAGE)
    assert get(root, f"train/ann/{inner}.json") == annotation("b")


def test_a_folder_that_is_removed_as_well(tmp_path):
    root = project(tmp_path / "p")
    write(root / "train/meta/a002.png.json/inside.txt", b"whose?")

    def both(fs):
        fs.rm("train/meta/a002.png.json", recursive=True)
        fs.rm(IMAGE)

    transaction(root, both)
    left = {path for path in shown(root) if "a002" in path}
    assert left == set()
