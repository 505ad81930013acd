"""Which folders are datasets, and what they are called."""

from itertools import product

import pytest

from blobdir.discovery.layout import blob_stem, blobs_of, dataset_name, labelled_by, read_layout, shown_by
from blobdir.discovery.parts import find_pickles
from blobdir.sources import Entry, Folder, Stat


def folders(*paths):
    """Folder objects for files given by path; a path that ends in a slash is a folder."""
    children = {"": {}}
    for path in paths:
        parts = path.rstrip("/").split("/")
        for depth, name in enumerate(parts):
            parent = "/".join(parts[:depth])
            is_folder = depth < len(parts) - 1 or path.endswith("/")
            children[parent][name] = Entry(name, "directory" if is_folder else "file")
            if is_folder:
                children.setdefault("/".join(parts[: depth + 1]), {})
    return {path: Folder(path, Stat("directory"), list(found.values())) for path, found in children.items()}


@pytest.mark.parametrize(
    ("paths", "datasets"),
    [
        (["meta.json", "blob/a.tar", "train/a_offsets.pkl", "train/ann/"], ["train"]),
        (["train/img/", "train/ann/"], ["train"]),
        (["train/ann/"], ["train"]),
        (["train/ann.blob/"], ["train"]),
        (["train/readme.txt", "notes/"], []),
        # names that the SDK drops
        (
            ["johann/img/", "x.ann/img/", "img/img/", "blob2/img/", "seg/ann/"],
            ["blob2", "img", "johann", "seg", "x.ann"],
        ),
        # nested at any depth, an empty parent, a child named like a reserved folder
        (
            ["a/datasets/b/datasets/c/img/", "a/img/"],
            ["a", "a/datasets/b/datasets/c"],
        ),
        (["a/datasets/img/img/", "a/datasets/datasets/ann/"], ["a/datasets/datasets", "a/datasets/img"]),
        (["datasets/img/"], ["datasets"]),
        (["a/img/", "a/b/img/"], ["a", "a/b"]),
        # what is inside item folders is no dataset
        (["a/img/ann/img/x", "a/seg/img/", "a/masks_human/img/", "a/meta/img/"], ["a"]),
        # the root is none, and blob/ neither
        (["img/x.jpg", "ann/x.jpg.json", "blob/img/"], []),
        ([".blobdir/index/img/"], []),
    ],
)
def test_datasets(paths, datasets):
    assert read_layout(folders(*paths)).datasets == datasets


NESTINGS = ["/".join(parts) for n in range(1, 6) for parts in product(("a", "datasets", "ann.blob"), repeat=n)]


@pytest.mark.parametrize("beside", ["nothing", "images", "all others"])
def test_whose_an_offsets_file_is(beside):
    """Its path says the same as the datasets that were found."""
    seen = 0
    for paths in [NESTINGS] if beside == "all others" else [[path] for path in NESTINGS]:
        files = [f"{path}/x_offsets.pkl" for path in paths]
        found = folders(*files, *(f"{path}/img/" for path in paths if beside == "images"))
        for dataset in read_layout(found).datasets:
            assert labelled_by(dataset) == ""
            assert labelled_by(f"{dataset}/ann.blob") == dataset
            for pickle in find_pickles(found, dataset):
                assert (blobs_of(pickle.path), shown_by(pickle.path)) == (pickle.blobs, pickle.shown)
                seen += 1
    assert seen > len(NESTINGS) // 3


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("train", "train"),
        ("train/datasets/hard", "train/hard"),
        ("a/datasets/b/datasets/c", "a/b/c"),
        ("datasets", "datasets"),
        ("datasets/datasets/x", "datasets/x"),
        ("a/datasets/datasets", "a/datasets"),
        ("a/datasets/datasets/datasets/b", "a/datasets/b"),
        ("a/b", "a/b"),
    ],
)
def test_dataset_names(path, name):
    assert dataset_name(path) == name


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.tar", "a"), ("a.TAR", "a"), ("a.b.tar", "a.b"), ("a.tar.gz", None), ("tar", None), ("a.tarx", None)],
)
def test_blob_stem(name, stem):
    assert blob_stem(name) == stem
