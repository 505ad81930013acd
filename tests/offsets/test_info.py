"""The names of the SDK, and where they are stricter."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from blobdir.errors import (
    CompressedTarError,
    OffsetsConflictError,
    OffsetsTypeError,
    TarError,
    TruncatedOffsetsError,
    UsageError,
)
from blobdir.offsets import (
    BlobImageInfo,
    get_file_offsets_batch_generator,
    read_offsets,
    save_blob_offsets_pkl,
    write_offsets,
)

A, B, C = BlobImageInfo("a.jpg", 0, 5), BlobImageInfo("b.jpg", 5, 9), BlobImageInfo("c.jpg", 9, 9)
OTHER_A = BlobImageInfo("a.jpg", 1, 5)


def load(path: Path) -> list[BlobImageInfo]:
    return [info for batch in BlobImageInfo.load_from_pickle_generator(path) for info in batch]


def test_dictionaries() -> None:
    plain = {"title": "a.jpg", "teamFileId": None, "sourceBlob": {"offsetStart": 0, "offsetEnd": 5}}
    assert A.to_dict() == plain
    assert A.to_dict(7) == plain | {"teamFileId": 7}
    assert BlobImageInfo("a.jpg", 0, 5).add_team_file_id(8).to_dict() == plain | {"teamFileId": 8}
    assert A.offsets_dict == plain["sourceBlob"]
    assert BlobImageInfo.from_dict(plain) == A
    assert not hasattr(BlobImageInfo.from_dict(plain), "team_file_id")
    assert BlobImageInfo.from_dict(plain | {"teamFileId": 9}, return_team_file_id=True).team_file_id == 9
    assert BlobImageInfo.from_image_info(SimpleNamespace(name="a.jpg", offset_start=0, offset_end=5, id=1)) == A


def test_dump_adds(tmp_path: Path) -> None:
    path = tmp_path / "a_offsets.pkl"
    BlobImageInfo.dump_to_pickle([A, B], path)
    BlobImageInfo.dump_to_pickle([B, C], path)
    assert load(path) == [A, B, C]
    BlobImageInfo.dump_to_pickle((batch for batch in ([A], [], [C])), path)
    assert load(path) == [A, B, C]
    assert read_offsets(path).repeats == 0


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("skip", [A, B]), ("replace", [OTHER_A, B]), ("rename", [A, B, BlobImageInfo("a_1.jpg", 1, 5)])],
)
def test_dump_conflicts(tmp_path: Path, mode: str, expected: list[BlobImageInfo]) -> None:
    path = tmp_path / "a_offsets.pkl"
    BlobImageInfo.dump_to_pickle([A, B], path)
    with pytest.raises(OffsetsConflictError):
        BlobImageInfo.dump_to_pickle([OTHER_A], path)
    assert load(path) == [A, B]
    BlobImageInfo.dump_to_pickle([OTHER_A], path, on_conflict=mode)
    assert load(path) == expected


def test_dump_refuses_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "a_offsets.pkl"
    BlobImageInfo.dump_to_pickle([A, B], path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(TruncatedOffsetsError):
        BlobImageInfo.dump_to_pickle([C], path)
    with pytest.raises(OffsetsTypeError):
        BlobImageInfo.dump_to_pickle([BlobImageInfo("a", 0.5, 1)], tmp_path / "b_offsets.pkl")
    assert os.listdir(tmp_path) == ["a_offsets.pkl"]


def test_load_in_batches(tmp_path: Path) -> None:
    write_offsets(tmp_path / "x", [(f"{i}", i, i) for i in range(7)])
    assert [len(batch) for batch in BlobImageInfo.load_from_pickle_generator(tmp_path / "x", 3)] == [3, 3, 1]
    with pytest.raises(UsageError):
        next(BlobImageInfo.load_from_pickle_generator(tmp_path / "x", 0))


# ----------------------------------------------------------------------------------------------------- tars


def make_tar(path: Path, members: dict[str, bytes], mode: str = "w", tar_format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=tar_format) as tar:
        folder = tarfile.TarInfo("sub")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


MEMBERS = {"a.jpg": b"aaa", "sub/b.jpg": b"b" * 600, "sub/ä/" + "c" * 120 + ".jpg": b"", "./d\udcff.jpg": b"d"}


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_save(tmp_path: Path, tar_format: int) -> None:
    tar = make_tar(tmp_path / "x.y.TAR", MEMBERS, tar_format=tar_format)
    path = save_blob_offsets_pkl(tar, tmp_path, team_file_id=3)
    assert path == str(tmp_path / "x.y_offsets.pkl")
    blob = tar.read_bytes()
    found = {info.name: blob[info.offset_start : info.offset_end] for info in load(Path(path))}
    assert found == {os.path.basename(name): data for name, data in MEMBERS.items()}


def test_generator_says_what_the_tar_module_says(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "x.tar", MEMBERS)
    with tarfile.open(tar) as opened:
        files = [member for member in opened.getmembers() if member.isfile()]
    expected = [BlobImageInfo(os.path.basename(m.name), m.offset_data, m.offset_data + m.size) for m in files]
    assert list(get_file_offsets_batch_generator(tar, output_format="objects")) == [expected]
    batches = list(get_file_offsets_batch_generator(tar, 5, batch_size=3))
    assert batches == [[info.to_dict(5) for info in expected[:3]], [expected[3].to_dict(5)]]


def test_filter_gets_the_full_name(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "x.tar", MEMBERS | {"sub/a.jpg": b"not this one"})
    asked = []

    def keep(name: str) -> bool:
        asked.append(name)
        return name != "sub/a.jpg"

    path = save_blob_offsets_pkl(tar, tmp_path, filter_func=keep)
    assert asked == [*MEMBERS, "sub/a.jpg"]
    assert {info.name for info in load(Path(path))} == {os.path.basename(name) for name in MEMBERS}


def test_existing_file_is_kept_unless_replaced(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "x.tar", {"a.jpg": b"1"})
    path = Path(save_blob_offsets_pkl(tar, tmp_path))
    before = path.read_bytes()
    make_tar(tar, {"b.jpg": b"12"})
    assert save_blob_offsets_pkl(tar, tmp_path) == str(path)
    assert path.read_bytes() == before
    save_blob_offsets_pkl(tar, tmp_path, replace=True)
    assert [info.name for info in load(path)] == ["b.jpg"]


def test_one_base_name_twice(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "x.tar", {"a.jpg": b"1", "sub/a.jpg": b"12"})
    with pytest.raises(OffsetsConflictError):
        save_blob_offsets_pkl(tar, tmp_path)
    assert os.listdir(tmp_path) == ["x.tar"]
    save_blob_offsets_pkl(tar, tmp_path, on_conflict="rename")
    assert [info.name for info in load(tmp_path / "x_offsets.pkl")] == ["a.jpg", "a_1.jpg"]


def test_refused_archives(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="zip"):
        save_blob_offsets_pkl(tmp_path / "x.zip", tmp_path)
    with pytest.raises(CompressedTarError):
        save_blob_offsets_pkl(make_tar(tmp_path / "x.tar", MEMBERS, "w:gz"), tmp_path)
    (tmp_path / "y.tar").write_bytes(make_tar(tmp_path / "z.tar", MEMBERS).read_bytes()[:1700])
    with pytest.raises(TarError):
        save_blob_offsets_pkl(tmp_path / "y.tar", tmp_path)
    with pytest.raises(UsageError):
        next(get_file_offsets_batch_generator(tmp_path / "z.tar", output_format="tuples"))
    with pytest.raises(UsageError):
        next(get_file_offsets_batch_generator(tmp_path / "z.tar", batch_size=0))
    assert not list(tmp_path.glob("*.pkl"))
