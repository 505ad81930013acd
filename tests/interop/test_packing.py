"""What blobdir writes, read by the SDK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import supervisely as sly
from supervisely.api.image_api import BlobImageInfo

import blobdir


@pytest.fixture(scope="module")
def packed(digits_plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("packed") / "digits"
    report = blobdir.pack(digits_plain, target, blobdir.PackOptions(shard_images=50))
    assert report.complete
    return target


def test_project(packed: Path, digits_plain: Path) -> None:
    ours, theirs = (sly.Project(str(path), sly.OpenMode.READ) for path in (packed, digits_plain))
    assert ours.total_items == theirs.total_items == 245
    assert ours.meta == theirs.meta
    for dataset in theirs.datasets:
        mine = ours.datasets.get(dataset.name)
        assert sorted(mine) == sorted(dataset)
        for name in dataset:
            expected = Path(dataset.get_img_path(name)).read_bytes()
            if not dataset.parents:  # of nested ones under an absolute path the SDK gets nothing, its own neither
                assert mine.get_blob_img_bytes(name) == expected
                assert np.array_equal(mine.get_blob_img_np(name), sly.image.read_bytes(expected))
            assert mine.get_ann(name, ours.meta).to_json() == dataset.get_ann(name, theirs.meta).to_json()


def test_pickles(packed: Path) -> None:
    found = 0
    for pickle in packed.rglob("*_offsets.pkl"):
        tar = packed / "blob" / f"{pickle.name.removesuffix('_offsets.pkl')}.tar"
        data = tar.read_bytes()
        for batch in BlobImageInfo.load_from_pickle_generator(str(pickle)):
            for info in batch:
                assert len(data[info.offset_start : info.offset_end]) == info.offset_end - info.offset_start
                found += 1
    assert found == 245


def test_offsets_are_those_that_the_sdk_finds(packed: Path, tmp_path: Path) -> None:
    for tar in (packed / "blob").glob("*.tar"):
        sly.fs.save_blob_offsets_pkl(str(tar), str(tmp_path))
        (ours,) = packed.rglob(f"{tar.stem}_offsets.pkl")
        assert (tmp_path / ours.name).read_bytes() == ours.read_bytes()


def test_subset(packed: Path, digits_plain: Path, tmp_path: Path) -> None:
    blobdir.packing.subset(packed, tmp_path / "s", blobdir.packing.SubsetOptions(patterns=("t*/*1*",)))
    ours, theirs = (
        sly.Project(str(tmp_path / "s"), sly.OpenMode.READ),
        sly.Project(str(digits_plain), sly.OpenMode.READ),
    )
    assert 0 < ours.total_items < 245
    for dataset in ours.datasets:
        if not dataset.parents:
            for name in dataset:
                expected = theirs.datasets.get(dataset.name).get_img_path(name)
                assert dataset.get_blob_img_bytes(name) == Path(expected).read_bytes()
