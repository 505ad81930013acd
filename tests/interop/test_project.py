"""A whole project: blobdir's view of it against the SDK's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import supervisely as sly

import blobdir
import blobdir.demo


@pytest.fixture(scope="module")
def ours(digits: Path) -> blobdir.Project:
    return blobdir.open_project(digits)


@pytest.fixture(scope="module")
def theirs(digits: Path) -> sly.Project:
    return sly.Project(str(digits), sly.OpenMode.READ)


@pytest.fixture(scope="module")
def plain(digits_plain: Path) -> sly.Project:
    return sly.Project(str(digits_plain), sly.OpenMode.READ)


def test_dataset_names(ours: blobdir.Project, theirs: sly.Project) -> None:
    assert sorted(ours) == sorted(dataset.name for dataset in theirs.datasets) == ["test", "train", "train/hard"]


def test_image_names(ours: blobdir.Project, theirs: sly.Project) -> None:
    for dataset in theirs.datasets:
        assert sorted(ours[dataset.name].names) == sorted(dataset)
    assert sum(len(ours[name].names) for name in ours) == theirs.total_items == 245


def test_image_bytes(ours: blobdir.Project, plain: sly.Project) -> None:
    for dataset in plain.datasets:
        for name in dataset:
            assert ours[dataset.name].get_blob_img_bytes(name) == Path(dataset.get_img_path(name)).read_bytes()


@pytest.mark.parametrize("keep_alpha", [False, True])
def test_image_pixels(ours: blobdir.Project, plain: sly.Project, keep_alpha: bool) -> None:
    for dataset in plain.datasets:
        for name in dataset:
            expected = sly.image.read_bytes(Path(dataset.get_img_path(name)).read_bytes(), keep_alpha=keep_alpha)
            pixels = ours[dataset.name].get_blob_img_np(name, keep_alpha=keep_alpha)
            np.testing.assert_array_equal(pixels, expected, strict=True)


def test_pixels_are_those_of_the_sdks_own_method(ours: blobdir.Project, theirs: sly.Project) -> None:
    train = theirs.datasets.get("train")  # nested datasets under an absolute path give None in the SDK
    for name in train:
        np.testing.assert_array_equal(ours["train"].get_blob_img_np(name), train.get_blob_img_np(name), strict=True)


def test_annotations(ours: blobdir.Project, theirs: sly.Project) -> None:
    legacy = 0
    for dataset in theirs.datasets:
        for name in dataset:
            path = Path(dataset.get_ann_path(name))
            legacy += path.name != f"{name}.json"
            annotation = ours[dataset.name].annotation(name)
            assert annotation == sly.json.load_json_file(str(path))
            parsed = sly.Annotation.from_json(annotation, theirs.meta)
            assert parsed.img_size == dataset.get_ann(name, theirs.meta).img_size
    assert legacy > 0


def test_demo_project_opens_in_the_sdk() -> None:
    root = blobdir.demo.path()
    theirs = sly.Project(str(root), sly.OpenMode.READ)
    ours = blobdir.open_project(root)
    assert sorted(ours) == sorted(dataset.name for dataset in theirs.datasets) == ["test", "train", "train/hard"]
    assert sum(len(ours[name].names) for name in ours) == theirs.total_items == 60
    for name in theirs.datasets.get("train"):
        assert ours["train"].get_blob_img_bytes(name) == theirs.datasets.get("train").get_blob_img_bytes(name)
