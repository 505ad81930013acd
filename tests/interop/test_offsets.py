"""Offsets files that blobdir writes, read by the SDK."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest
import supervisely as sly
from supervisely.api.image_api import BlobImageInfo

from blobdir.offsets import read_offsets, save_blob_offsets_pkl, write_offsets


def sdk_entries(path: Path) -> list[tuple[str, int, int]]:
    batches = BlobImageInfo.load_from_pickle_generator(str(path))
    return [(e.name, e.offset_start, e.offset_end) for batch in batches for e in batch]


@pytest.mark.parametrize("count", [0, 1, 9_999, 10_000, 10_001, 25_000])
def test_sdk_reads_written_offsets(tmp_path: Path, count: int) -> None:
    entries = [(f"img_{i:06d}.jpg", 512 + i * 4608, 512 + i * 4608 + 1 + i % 4000) for i in range(count)]
    write_offsets(tmp_path / "a_offsets.pkl", entries)
    assert sdk_entries(tmp_path / "a_offsets.pkl") == entries


@pytest.mark.parametrize("name", ["Straße 1.jpg", "写真.png", "e\u0301 и й.webp", "🙂.bmp", "a'b\"c\\d.jpg", "ä" * 100])
def test_sdk_reads_names(tmp_path: Path, name: str) -> None:
    write_offsets(tmp_path / "a_offsets.pkl", [(name, 512, 1000)])
    assert sdk_entries(tmp_path / "a_offsets.pkl") == [(name, 512, 1000)]


def test_sdk_reads_large_offsets(tmp_path: Path) -> None:
    entries = [(f"{i}.jpg", 2**bits - 1, 2**bits + 1) for i, bits in enumerate((8, 16, 31, 32, 40, 62))]
    write_offsets(tmp_path / "a_offsets.pkl", entries)
    assert sdk_entries(tmp_path / "a_offsets.pkl") == entries


def test_objects_are_the_sdks_own(tmp_path: Path) -> None:
    write_offsets(tmp_path / "a_offsets.pkl", [("a.jpg", 512, 1000)])
    (batch,) = BlobImageInfo.load_from_pickle_generator(str(tmp_path / "a_offsets.pkl"))
    assert batch == [BlobImageInfo("a.jpg", 512, 1000)]
    assert batch[0].to_dict(3) == BlobImageInfo("a.jpg", 512, 1000).to_dict(3)


@pytest.mark.parametrize("more", [{}, {"digest": 2**70, "of_a_newer_sdk": {"a": [1.5, None, (True, "é")]}}])
def test_attributes_are_the_sdks_again(tmp_path: Path, more: dict[str, object]) -> None:
    infos = [BlobImageInfo(f"{i}.jpg", 1024 * i, 1024 * i + 500).add_team_file_id(i % 3 or None) for i in range(2500)]
    for info in infos[::2]:
        vars(info).update(more)
    path = tmp_path / "a_offsets.pkl"
    BlobImageInfo.dump_to_pickle(infos, str(path))
    write_offsets(path, read_offsets(path, attributes=True))
    found = [info for batch in BlobImageInfo.load_from_pickle_generator(str(path)) for info in batch]
    assert [vars(info) for info in found] == [vars(info) for info in infos]
    assert [info.to_dict() for info in found] == [info.to_dict() for info in infos]


@pytest.mark.parametrize("blob", ["shard-0", "shard-1", "photos.v1"])
def test_offsets_of_a_tar_are_the_sdks(digits: Path, tmp_path: Path, blob: str) -> None:
    tar = digits / "blob" / f"{blob}.tar"
    for folder, save in (("sdk", sly.fs.save_blob_offsets_pkl), ("blobdir", save_blob_offsets_pkl)):
        (tmp_path / folder).mkdir()
        save(str(tar), str(tmp_path / folder))
    (theirs,) = (tmp_path / "sdk").iterdir()
    (ours,) = (tmp_path / "blobdir").iterdir()
    assert ours.name == theirs.name == f"{blob}_offsets.pkl"
    assert sdk_entries(ours) == sdk_entries(theirs)
    assert len(sdk_entries(ours)) > 0


def test_sdk_opens_project_with_our_offsets(
    digits_copy: Path, digits: Path, digits_plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced = 0
    for old in sorted(digits.rglob("*_offsets.pkl")):
        new = digits_copy / old.relative_to(digits)
        new.unlink()
        write_offsets(new, sdk_entries(old))
        replaced += 1
    assert replaced == 4
    # A relative path: with an absolute one the SDK finds no blob image of a nested dataset.
    monkeypatch.chdir(digits_copy.parent)
    project = sly.Project(digits_copy.name, sly.OpenMode.READ)
    assert project.total_items == 245
    plain = {dataset.name: dataset for dataset in sly.Project(str(digits_plain), sly.OpenMode.READ).datasets}
    compared = 0
    for dataset in project.datasets:
        for name in dataset:
            file = Path(dataset.img_dir, name)
            data = file.read_bytes() if file.exists() else dataset.get_blob_img_bytes(name)
            assert data == Path(plain[dataset.name].get_img_path(name)).read_bytes(), (dataset.name, name)
            compared += 1
    assert compared == 245


def test_whole_blob_in_one_dataset(digits: Path, tmp_path: Path) -> None:
    """A project made from nothing but a tar and our offsets file: every member through the SDK, byte for byte."""
    root = tmp_path / "p"
    (root / "blob").mkdir(parents=True)
    (root / "ds" / "ann").mkdir(parents=True)
    tar = root / "blob" / "shard-0.tar"
    shutil.copyfile(digits / "blob" / "shard-0.tar", tar)
    shutil.copyfile(digits / "meta.json", root / "meta.json")
    save_blob_offsets_pkl(str(tar), str(root / "ds"))
    with tarfile.open(tar) as archive:
        expected = {Path(m.name).name: archive.extractfile(m).read() for m in archive if m.isfile()}
    annotation = json.dumps(sly.Annotation((1, 1)).to_json())
    for name in expected:
        (root / "ds" / "ann" / f"{name}.json").write_text(annotation)
    dataset = sly.Project(str(root), sly.OpenMode.READ).datasets.get("ds")
    assert {name: dataset.get_blob_img_bytes(name) for name in dataset} == expected
