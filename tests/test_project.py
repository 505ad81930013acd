"""The Python API on the project that the SDK wrote."""

import json
import os
import pickle

import numpy as np
import pytest
from PIL import Image

import blobdir
from blobdir.errors import ImageError, NotFoundError


@pytest.fixture(scope="module")
def project(digits):
    return blobdir.open_project(digits)


def plain_files(folder):
    return {
        os.path.relpath(os.path.join(parent, name), folder): open(os.path.join(parent, name), "rb").read()
        for parent, _, names in os.walk(folder)
        for name in names
    }


def test_same_as_the_plain_project(project, digits_plain):
    expected = plain_files(digits_plain)
    fs = project.filesystem
    assert fs.find("") == sorted(expected)
    assert fs.cat(fs.find("")) == expected
    assert {path: fs.cat_file(path) for path in fs.find("")} == expected
    assert project.defects == []


def test_mapping(project):
    assert list(project) == ["test", "train", "train/hard"]
    assert len(project) == 3
    assert "train/hard" in project
    assert "train/datasets/hard" in project
    assert "hard" not in project
    assert project["train/hard"].path == project["train/datasets/hard"].path == "train/datasets/hard"
    assert {name: len(dataset) for name, dataset in project.items()} == {"test": 65, "train": 120, "train/hard": 60}
    with pytest.raises(KeyError, match="'val' is no dataset"):
        project["val"]
    assert project.meta["classes"][0]["title"] == "digit"


def test_dataset(project, digits_plain):
    for dataset in project.values():
        folder = digits_plain / dataset.path
        assert dataset.names == sorted(os.listdir(folder / "img"), key=os.fsencode)
        assert list(dataset) == dataset.names
        assert all(name in dataset for name in dataset)
        assert "nowhere.jpg" not in dataset
        assert "" not in dataset
        assert 5 not in dataset
        assert dataset.read_many(dataset.names) == [(folder / "img" / name).read_bytes() for name in dataset]
        for name in dataset:
            legacy = folder / "ann" / f"{os.path.splitext(name)[0]}.json"
            usual = folder / "ann" / f"{name}.json"
            assert dataset.annotation(name) == json.loads((usual if usual.exists() else legacy).read_bytes())
    assert any(not (digits_plain / "train/ann" / f"{name}.json").exists() for name in project["train"])


def test_pixels(project):
    for dataset in project.values():
        for name in dataset:
            pixels = dataset.get_blob_img_np(name)
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
    turned = [
        name
        for name in project["train"]
        if Image.open(project.filesystem.open(f"train/img/{name}")).getexif().get(0x0112)
    ]
    assert turned


def test_errors_name_the_file(project, digits_copy):
    train = project["train"]
    with pytest.raises(NotFoundError, match=r"train/img/nowhere\.jpg"):
        train.get_blob_img_bytes("nowhere.jpg")
    with pytest.raises(NotFoundError, match=r"nowhere\.jpg"):
        train.read_many(["nowhere.jpg"])
    with pytest.raises(NotFoundError, match=r"has no annotation: neither train/ann/nowhere\.jpg\.json nor"):
        train.annotation("nowhere.jpg")
    (digits_copy / "test/img/broken.jpg").write_bytes(b"\xff\xd8\xff nonsense")
    with pytest.raises(ImageError, match=r"test/img/broken\.jpg"):
        blobdir.open_project(digits_copy)["test"].get_blob_img_np("broken.jpg")


def test_other_files_among_the_images_are_no_images(digits_copy):
    (digits_copy / "test/img/Thumbs.db").write_bytes(b"")
    project = blobdir.open_project(digits_copy)
    assert "Thumbs.db" not in project["test"].names
    assert project.filesystem.exists("test/img/Thumbs.db")


def test_pickles(digits):
    project = blobdir.open_project(digits, progress=lambda *step: None)
    again = pickle.loads(pickle.dumps(project))
    assert list(again) == list(project)
    train = pickle.loads(pickle.dumps(project["train"]))
    assert train.names == project["train"].names
    assert train.get_blob_img_bytes(train.names[0]) == project["train"].get_blob_img_bytes(train.names[0])
