"""Each kind of fault of not knowing where an image came from, or of taking one name for another."""

from __future__ import annotations

import pytest
from blob_builder import write_tar
from changes.commands import LEAVING, REPLACING, TOUCHING, expected, transaction
from changes.looking import differences, faults, shown
from changes.plain_model import Model, folder_of, name_of
from changes.samples import (
    annotation,
    entries,
    files_of,
    numbered,
    packed,
    pickles,
    picture,
    picture_of,
    rewrite,
    with_side_files,
    write,
)  # fmt: skip

import blobdir
from blobdir.errors import UsageError
from blobdir.moving import fetch, push
from blobdir.packing import SubsetOptions, add, compact, merge, move, remove, subset

pytestmark = pytest.mark.filterwarnings("ignore::blobdir.errors.BlobdirWarning")


# -- provenance: an image is in several places ---------------------------------------------------------------


def as_a_file(root):
    write(root / "train/img/a001.png", picture_of("a001.png", 1))


def in_another_blob(root):
    data = picture_of("a001.png", 1)
    rewrite(
        root / "train/hand_offsets.pkl", write_tar(root / "blob/hand.tar", {"x.png": picture("x"), "a001.png": data})
    )
    write(root / "train/ann/x.png.json", annotation("x"))


def twice_in_one_pickle(root):
    path = next(p for p in pickles(root, False) if "a001.png" in {name for name, _, _ in entries(p)})
    path.write_bytes(path.read_bytes() * 2)


def as_a_file_and_in_two_blobs(root):
    in_another_blob(root)
    as_a_file(root)


def with_both_annotations(root):
    """By its name and by its stem: the first counts, the second must not come up when the first is gone."""
    write(root / "train/ann/a001.json", annotation("of an older export"))


DOUBLES = (as_a_file, in_another_blob, twice_in_one_pickle, as_a_file_and_in_two_blobs)


@pytest.mark.parametrize("packed_notes", ["loose", "packed"])
@pytest.mark.parametrize("double", DOUBLES)
@pytest.mark.parametrize("command", TOUCHING)
def test_all_copies_of_a_double(tmp_path, command, double, packed_notes):
    root = packed(tmp_path / "p", numbered(), annotations=packed_notes)
    double(root)
    model = Model(shown(root))
    TOUCHING[command](root, "train/img/a001.png")
    assert differences(shown(root), expected(command, model, "train/img/a001.png")) == []
    assert blobdir.open_project(root, index="none").defects == []
    assert faults(root) == []
    compact(root)
    if command in ("remove", "rm", *REPLACING):
        assert not any(picture_of("a001.png", 1) in path.read_bytes() for path in root.rglob("*") if path.is_file())
    assert differences(shown(root), model.files) == []


@pytest.mark.parametrize("command", ["remove", "rm"])
def test_no_annotation_comes_up_from_below(tmp_path, command):
    root = packed(tmp_path / "p", numbered(2))
    with_both_annotations(root)
    LEAVING[command](root, "train/img/a001.png")
    add(root, "train", [write(tmp_path / "a001.png", picture_of("a001.png", 1))])
    dataset = blobdir.open_project(root, index="none")["train"]
    assert dataset.annotation("a001.png").get("description", "") != "of an older export"


NAMED_LIKE_FOLDERS = ("img", "ann", "datasets", "meta", "seg", "blob", "img_info", "masks_x", "ann.blob")


@pytest.mark.parametrize("name", NAMED_LIKE_FOLDERS)
@pytest.mark.parametrize("command", TOUCHING)
def test_nested_dataset_called_like_a_folder(tmp_path, command, name):
    nested = f"train/datasets/{name}"
    images = {f"{dataset}/a.png": picture(f"{dataset} a") for dataset in ("train", nested)}
    files = with_side_files(files_of(images | {f"{nested}/b.png": picture("b")}))
    root = packed(tmp_path / "p", files)
    assert faults(root) == []
    TOUCHING[command](root, f"{nested}/img/a.png")
    assert differences(shown(root), expected(command, Model(files), f"{nested}/img/a.png")) == []
    assert faults(root) == []


PAIRS = {
    "a-b beside a/b": ("a-b", "a/b"),
    "x/datasets beside x/datasets/y": ("x/datasets", "x/datasets/y"),
    "case": ("Train", "train"),
    "normal forms": ("\u00e9", "e\u0301"),
    "long": ("d" * 255, "d" * 254 + "e"),
    "number": ("1", "01"),
}


NEW_NAMES = [name for name in NAMED_LIKE_FOLDERS if "blob" not in name]  # no new dataset can be called blob
NEW_DATASETS = [
    *(f"{parent}/datasets/{name}" for parent in ("train", "new") for name in NEW_NAMES),
    *NEW_NAMES,
    "new",
    "new/datasets/a/datasets/datasets",
    "new/datasets/img/datasets/img",
]


@pytest.mark.parametrize("dataset", NEW_DATASETS)
@pytest.mark.parametrize("way", ["move", "mv", "mv a folder", "write", "copy"])
def test_new_datasets_called_like_folders(tmp_path, way, dataset):
    """The image, its labels and what is beside it come into a dataset that isn't there yet."""
    root = packed(tmp_path / "p", with_side_files(files_of({"train/a.png": picture("a"), "val/b.png": picture("b")})))
    model = Model(shown(root))
    image, target = "train/img/a.png", f"{dataset}/img/a.png"
    beside = {path: f"{dataset}/{path.removeprefix('train/')}" for path in model.side_files(image)}
    files = {image: target, "train/ann/a.png.json": f"{dataset}/ann/a.png.json"} | beside
    if way == "move":
        move(root, [image], name_of(dataset))
    elif way == "mv":
        transaction(root, lambda fs: fs.mv(image, target))
    elif way == "mv a folder":
        if dataset.startswith("train/"):
            with pytest.raises(UsageError, match="into itself"):
                transaction(root, lambda fs: fs.mv("train", dataset, recursive=True))
            return
        transaction(root, lambda fs: fs.mv("train", dataset, recursive=True))
    else:
        do = {
            "write": lambda fs, old, new: fs.pipe(new, model.files[old]),
            "copy": lambda fs, old, new: fs.cp(old, new),
        }
        transaction(root, lambda fs: [do[way](fs, old, new) for old, new in reversed(files.items())])
    if way in ("write", "copy"):
        model.files |= {new: model.files[old] for old, new in files.items()}
    else:
        model.rename(image, target)
    assert differences(shown(root), model.files) == []
    assert faults(root) == []


@pytest.mark.parametrize("annotations", ["loose", "packed"])
@pytest.mark.parametrize("pair", PAIRS)
def test_datasets_with_names_alike(tmp_path, pair, annotations):
    """Each has its own images after every command."""
    one, other = (folder_of(name) for name in PAIRS[pair])
    files = files_of({f"{d}/{i}.png": picture(f"{d} {i}") for d in (one, other) for i in range(3)})
    root = packed(tmp_path / "p", files, annotations=annotations)
    model = Model(files)
    assert differences(shown(root), model.files) == []
    for dataset in PAIRS[pair]:
        data = picture(f"{dataset} added")
        add(root, dataset, [write(tmp_path / "new" / "added.png", data)])
        model.add(dataset, {"added.png": data}, None, replace=False)
    for dataset in (one, other):
        data = picture(f"{dataset} piped")
        transaction(root, lambda fs, at=f"{dataset}/img/piped.png", d=data: fs.pipe(at, d))
        model.write(f"{dataset}/img/piped.png", data)
    remove(root, [f"{PAIRS[pair][0]}/0.png"])
    model.remove([f"{one}/img/0.png"])
    move(root, [f"{PAIRS[pair][1]}/1.png"], "new")
    model.move([f"{other}/img/1.png"], "new")
    for _ in range(2):
        assert differences(shown(root), model.files) == []
        assert faults(root) == []
        compact(root)
    subset(root, tmp_path / "s", SubsetOptions(patterns=("*",)))
    assert differences(shown(tmp_path / "s"), model.files) == []


@pytest.mark.parametrize("image", ["a.png", "a.bmp"])
@pytest.mark.parametrize("command", TOUCHING)
@pytest.mark.parametrize("annotations", ["loose", "packed"])
def test_shared_annotation(tmp_path, command, image, annotations):
    files = files_of({"train/a.png": picture(1), "train/a.bmp": picture_of("a.bmp", 2), "train/b.png": picture(3)})
    files["train/ann/a.json"] = files.pop("train/ann/a.png.json")
    del files["train/ann/a.bmp.json"]
    root = packed(tmp_path / "p", files, annotations=annotations)
    TOUCHING[command](root, f"train/img/{image}")
    assert differences(shown(root), expected(command, Model(files), f"train/img/{image}")) == []
    assert faults(root) == []


@pytest.mark.parametrize("others", [["a.png"], ["a.png", "a.jpg"]])
@pytest.mark.parametrize("command", TOUCHING)
@pytest.mark.parametrize("annotations", ["loose", "packed"])
def test_annotation_by_the_stem_that_nobody_else_has(tmp_path, command, annotations, others):
    """``ann/a.json`` is only that of ``a.bmp`` where the others of its stem have one each by their full name."""
    files = files_of({f"train/{name}": picture_of(name, name) for name in ("a.bmp", "b.png", *others)})
    files["train/ann/a.json"] = files.pop("train/ann/a.bmp.json")
    root = packed(tmp_path / "p", files, annotations=annotations)
    TOUCHING[command](root, "train/img/a.bmp")
    found = shown(root)
    assert ("train/ann/a.json" in found) == (command in REPLACING)
    assert [name for name in others if f"train/ann/{name}.json" not in found] == []
    assert faults(root) == []


def test_annotation_that_goes_with_the_last_of_those_who_share_it(tmp_path):
    files = files_of({"train/a.png": picture(1), "train/a.bmp": picture_of("a.bmp", 2), "train/b.png": picture(3)})
    files["train/ann/a.json"] = files.pop("train/ann/a.png.json")
    del files["train/ann/a.bmp.json"]
    root = packed(tmp_path / "p", files)
    remove(root, ["train/a.png", "train/a.bmp"])
    assert sorted(shown(root)) == ["meta.json", "train/ann/b.png.json", "train/img/b.png"]


def test_annotation_of_a_name_that_begins_like_another(tmp_path):
    """``ann/a.png.json`` is that of ``a.png``, and by its stem could be that of ``a.png.png``, which has its own."""
    files = files_of({"train/a.png": picture(1), "train/a.png.png": picture(2)})
    root = packed(tmp_path / "p", files)
    remove(root, ["train/a.png"])
    assert sorted(shown(root)) == ["meta.json", "train/ann/a.png.png.json", "train/img/a.png.png"]


# -- the mask of one image taken for another's -------------------------------------------------------------------

MASKS_OF_OTHERS = {
    "a file, where its folder could be": ("a.png.jpg", "a.bmp", "a.png"),
    "a folder, where its file could be": ("a.bmp", "a.png", "a.png/1.png"),
    "in its own folder": ("a.png", "a/b.bmp", "a/b.png"),  # both images have it
}
"""Name of an image, of another one, and of a mask that is the other's."""


def _with_masks(root, image, other, mask):
    files = files_of(numbered(2))
    for name in (image, other):
        files |= {f"train/img/{name}": picture(name), f"train/ann/{name}.json": annotation(name)}
    return packed(root, files | {f"train/masks_x/{mask}": b"secret", f"train/masks_x/{image}.png": b"its own"})


@pytest.mark.parametrize("command", ["subset", "fetch"])
@pytest.mark.parametrize("case", [name for name in MASKS_OF_OTHERS if name != "in its own folder"])
def test_no_mask_of_another_image_is_taken_along(tmp_path, bucket, command, case):
    image, other, mask = MASKS_OF_OTHERS[case]
    root = _with_masks(tmp_path / "p", image, other, mask)
    options = SubsetOptions(names=[f"train/img/{image}"])
    if command == "subset":
        subset(root, tmp_path / "made", options)
    else:
        push(root, bucket)
        fetch(bucket, tmp_path / "made", choose=options)
    masks = {path: data for path, data in shown(tmp_path / "made").items() if "masks_x" in path}
    assert masks == {f"train/masks_x/{image}.png": b"its own"}


@pytest.mark.parametrize("command", LEAVING)
@pytest.mark.parametrize("case", MASKS_OF_OTHERS)
def test_the_mask_of_another_image_stays(tmp_path, command, case):
    image, other, mask = MASKS_OF_OTHERS[case]
    root = _with_masks(tmp_path / "p", image, other, mask)
    LEAVING[command](root, f"train/img/{image}")
    left = shown(root)
    assert left[f"train/masks_x/{mask}"] == b"secret"
    assert f"train/masks_x/{image}.png" not in left


ARRIVING = {
    "move": lambda root, other, image: move(root, [f"train/{image}"], "val"),
    "mv": lambda root, other, image: transaction(root, lambda fs: fs.mv(f"train/img/{image}", f"val/img/{image}")),
    "merge": lambda root, other, image: merge(root, other),
}
"""After these, `image` is in the dataset ``val`` of the project `root`; `other` is a project that has it there."""


@pytest.mark.parametrize("command", ARRIVING)
@pytest.mark.parametrize("case", [name for name in MASKS_OF_OTHERS if name != "in its own folder"])
def test_a_mask_of_another_image_is_in_nobodys_way(tmp_path, command, case):
    image, other, mask = MASKS_OF_OTHERS[case]
    files = {
        name: {f"{dataset}/img/{name}": picture(name), f"{dataset}/ann/{name}.json": annotation(name)}
        for dataset, name in (("train", image), ("val", other))
    }
    own = {f"train/masks_x/{image}.png": b"its own"}
    there = files_of(numbered(2, dataset="val")) | files[other] | {f"val/masks_x/{mask}": b"secret"}
    here = files[image] | own
    if command == "merge":
        packed(
            tmp_path / "other", {"meta.json": b"{}"} | {p.replace("train/", "val/"): data for p, data in here.items()}
        )
        here = {}
    root = packed(tmp_path / "p", there | here)
    ARRIVING[command](root, tmp_path / "other", image)
    found = shown(root)
    assert {path: data for path, data in found.items() if "masks_x" in path} == {
        f"val/masks_x/{mask}": b"secret",
        f"val/masks_x/{image}.png": b"its own",
    }
    assert faults(root) == []
