"""What blobdir writes, read by the SDK."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import supervisely as sly
from supervisely.api.image_api import BlobImageInfo

import blobdir


@pytest.fixture(scope="module", params=["files", "webdataset"])
def packed(digits_plain: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    target = tmp_path_factory.mktemp("packed") / "digits"
    report = blobdir.pack(digits_plain, target, blobdir.PackOptions(shard_images=50, layout=request.param))
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
    """But for annotations in tars, which are images for it: a dual project needs the offsets that it came with."""
    for tar in (packed / "blob").glob("*.tar"):
        sly.fs.save_blob_offsets_pkl(str(tar), str(tmp_path))
        (ours,) = packed.rglob(f"{tar.stem}_offsets.pkl")
        theirs = [one for one in entries(tmp_path / ours.name) if not one[0].endswith(".json")]
        assert theirs == entries(ours)
        if theirs == entries(tmp_path / ours.name):
            assert (tmp_path / ours.name).read_bytes() == ours.read_bytes()


def entries(pickle: Path) -> list[tuple[str, int, int]]:
    return [
        (info.name, info.offset_start, info.offset_end)
        for batch in BlobImageInfo.load_from_pickle_generator(str(pickle))
        for info in batch
    ]


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


def same_as(root: Path, expected: dict[str, dict[str, bytes]]) -> None:
    """The SDK sees these images, byte for byte, each with its annotation."""
    project = sly.Project(str(root), sly.OpenMode.READ)
    assert {dataset.name: sorted(dataset) for dataset in project.datasets} == {
        name: sorted(images) for name, images in expected.items()
    }
    for dataset in project.datasets:
        for name, data in expected[dataset.name].items():
            assert dataset.get_blob_img_bytes(name) == data
            pixels = dataset.get_blob_img_np(name)
            assert np.array_equal(pixels, sly.image.read_bytes(data))
            assert dataset.get_ann(name, project.meta).img_size == pixels.shape[:2]
    for pickle in root.rglob("*_offsets.pkl"):
        tar = (root / "blob" / f"{pickle.name.removesuffix('_offsets.pkl')}.tar").read_bytes()
        for batch in BlobImageInfo.load_from_pickle_generator(str(pickle)):
            for info in batch:
                assert tar[info.offset_start : info.offset_end] == expected[pickle.parent.name][info.name]


def picture(i: int) -> bytes:
    return sly.image.write_bytes(np.full((7, 9 + i, 3), 10 * i, np.uint8), ".png")


def test_transaction(tmp_path: Path) -> None:
    project = blobdir.Project.create(tmp_path / "p", {"classes": [], "tags": [], "projectType": "images"})
    fs = project.filesystem
    with fs.transaction:
        fs.pipe({f"train/img/a{i}.png": picture(i) for i in range(5)})
        fs.pipe("test/img/b.png", picture(7))
        annotation = sly.Annotation((7, 16), img_description="ours").to_json()
        fs.pipe("test/ann/b.png.json", json.dumps(annotation).encode())
    expected = {"train": {f"a{i}.png": picture(i) for i in range(5)}, "test": {"b.png": picture(7)}}
    same_as(tmp_path / "p", expected)
    with fs.transaction:
        fs.rm("train/img/a0.png")
        annotation = sly.Annotation((7, 18)).to_json()
        fs.pipe({"train/img/a1.png": picture(9), "train/ann/a1.png.json": json.dumps(annotation).encode()})
        fs.mv("train/img/a2.png", "test/img/moved.png")
        fs.pipe("test/img/c.png", picture(8))
    del expected["train"]["a0.png"]
    expected["train"]["a1.png"] = picture(9)
    expected["test"] |= {"moved.png": expected["train"].pop("a2.png"), "c.png": picture(8)}
    same_as(tmp_path / "p", expected)
    blobdir.packing.compact(tmp_path / "p")
    same_as(tmp_path / "p", expected)
    test = sly.Project(str(tmp_path / "p"), sly.OpenMode.READ).datasets.get("test")
    assert test.get_ann("b.png", sly.ProjectMeta()).img_description == "ours"


def test_list(tmp_path: Path) -> None:
    lines = []
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes(picture(i))
        label = sly.Label(sly.Rectangle(0, 0, 3, 3), sly.ObjClass("lemon", sly.Rectangle))
        annotation = sly.Annotation((7, 9 + i), [label]).to_json() if i % 2 else None
        dataset = "odd" if i % 2 else "even"
        lines.append({"path": f"{i}.png", "dataset": dataset, "tags": ["listed"], "annotation": annotation})
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert blobdir.pack(tmp_path / "list.jsonl", tmp_path / "p").complete
    numbers = {"odd": (1, 3), "even": (0, 2)}
    same_as(tmp_path / "p", {name: {f"{i}.png": picture(i) for i in found} for name, found in numbers.items()})
    project = sly.Project(str(tmp_path / "p"), sly.OpenMode.READ)
    annotation = project.datasets.get("odd").get_ann("1.png", project.meta)
    assert [label.obj_class.name for label in annotation.labels] == ["lemon"]
    assert [tag.name for tag in annotation.img_tags] == ["listed"]


def test_readme_and_tars(packed: Path, tmp_path: Path) -> None:
    project = blobdir.Project.create(tmp_path / "p", blobdir.open_project(packed).meta)
    tar = next((packed / "blob").glob("test-*.tar"))
    project.add_blob_file(tar, "test")
    names = project["test"].names
    for name in names:  # a tar has no annotations, and the SDK wants them
        source = packed / f"test/ann/{name}.json"
        (tmp_path / f"p/test/ann/{name}.json").write_bytes(source.read_bytes())
    project.create_blob_readme(title="Taken over")
    same_as(tmp_path / "p", {"test": {name: project["test"].get_blob_img_bytes(name) for name in names}})
    assert "Taken over" in (tmp_path / "p/README.md").read_text()
