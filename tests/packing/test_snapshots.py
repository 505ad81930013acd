"""Who has a project open, or mounted, while it is changed keeps what they saw."""

from __future__ import annotations

import os
import pickle
import tarfile

import fsspec
import pytest
from PIL import Image

import blobdir
from blobdir.errors import ReadError, SourceChangedError
from blobdir.opening import BESIDE, OpenOptions, open_tree
from blobdir.packing import PackOptions, add, compact, move, pack, remove
from blobdir.reading import BlobReader
from blobdir.testing.deadline import Deadline


@pytest.fixture
def project(tmp_path):
    for i in range(8):
        target = tmp_path / "source/train" / f"s{i}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((250, 250), 50 + i).save(target)
    pack(tmp_path / "source", tmp_path / "p", PackOptions(shard_images=3, processes=1))
    return tmp_path / "p"


def change_all(project, tmp_path):
    """Everything that changes a project: afterwards no blob is what it was."""
    Image.new("RGB", (3, 4)).save(tmp_path / "new.png")
    add(project, "train", [tmp_path / "new.png"])
    remove(project, ["train/s0.png", "train/s3.png"])
    move(project, ["train/s1.png"], "test")
    fs = fsspec.filesystem("blobdir", fo=str(project), skip_instance_cache=True)
    with fs.transaction:
        fs.rm("train/img/s6.png")
        fs.pipe("train/img/s7.png", (tmp_path / "new.png").read_bytes())
    old = {path.name for path in (project / "blob").glob("*.tar")}
    assert compact(project).freed
    now = {path.name for path in (project / "blob").glob("*.tar")}
    assert [name[:10] for name in sorted(old - now)] == ["train-0000", "train-0001", "train-0002"]
    assert [name[:10] for name in sorted(now - old)] == ["train-0000", "train-0001"]


@pytest.mark.parametrize("used", ["not", "one", "all"])
def test_readers(project, tmp_path, used):
    reader = blobdir.open_project(project)
    dataset, fs = reader["train"], reader.filesystem
    names = dataset.names
    expected = {name: (tmp_path / "source/train" / name).read_bytes() for name in names}
    for name in {"not": [], "one": names[:1], "all": names}[used]:
        assert dataset.get_blob_img_bytes(name) == expected[name]
    change_all(project, tmp_path)
    assert dataset.names == names
    assert {name: dataset.get_blob_img_bytes(name) for name in names} == expected
    assert fs.cat([f"train/img/{name}" for name in names]) == {f"train/img/{n}": expected[n] for n in names}
    with fs.open("train/img/s0.png") as file:
        assert file.read() == expected["s0.png"]
    again = pickle.loads(pickle.dumps(reader))  # opens it anew, and sees what is there
    assert again["train"].names == ["new.png", "s2.png", "s4.png", "s5.png", "s7.png"]
    fs.invalidate_cache()
    assert reader["test"].get_blob_img_bytes("s1.png") == expected["s1.png"]
    assert not fs.exists("train/img/s0.png")


def compacted(project):
    remove(project, ["train/s0.png", "train/s3.png"])
    compact(project)


def replaced(project):
    """Another tar and its offsets, under the old names; sizes and times are the same."""
    for blob in (project / "blob").glob("*.tar"):
        before, data = blob.stat(), bytearray(blob.read_bytes())
        with tarfile.open(blob) as file:
            for member in file:
                data[member.offset_data + 100] ^= 1
        blob.with_suffix(".new").write_bytes(data)
        os.utime(blob.with_suffix(".new"), ns=(before.st_mtime_ns, before.st_mtime_ns))
        os.replace(blob.with_suffix(".new"), blob)


WAYS = {
    "project": (lambda path, **more: blobdir.open_project(path, **more).tree, "hold"),
    "filesystem": (lambda path, **more: fsspec.filesystem("blobdir", fo=path, skip_instance_cache=True, **more).view,
                   "hold"),
    "mount": (lambda path, index: open_tree(path, options=OpenOptions(index=index), hold=lambda b: b.open_all(50)),
              "open_all"),
}  # fmt: skip


@pytest.mark.parametrize("change", [compacted, replaced])
@pytest.mark.parametrize("index", ["none", "beside"])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_opened_is_what_was_looked_at(project, monkeypatch, way, index, change):
    """Between the last look at a project and the opening of its blobs it is changed."""
    make, method = WAYS[way]
    more = {"index": "none" if index == "none" else str(project / BESIDE)}
    if index == "beside":
        make(str(project), **more)
    real, done = getattr(BlobReader, method), []

    def hold(self, *args):
        if not done:
            done.append(1)
            change(project)
        return real(self, *args)

    monkeypatch.setattr(BlobReader, method, hold)
    tree = make(str(project), **more)
    monkeypatch.undo()
    now = open_tree(project, options=OpenOptions(index="none"))
    folder = tree.find("train/img")
    assert tree.names(folder) == now.names(now.find("train/img"))
    for old, new in zip(tree.children(folder), now.children(now.find("train/img")), strict=True):
        assert tree.read(old) == now.read(new)


@pytest.mark.parametrize("way", WAYS)
def test_what_was_looked_at_is_what_is_read(project, way):
    """A blob of the same size and time at the place of one that was not read yet isn't that one."""
    before = open_tree(project, options=OpenOptions(index="none"))
    expected = before.read_many(list(before.children(before.find("train/img"))))
    tree = WAYS[way][0](str(project), index="none")
    replaced(project)
    assert tree.read_many(list(tree.children(tree.find("train/img")))) == expected


def test_blobs_that_are_replaced_again_and_again(project, monkeypatch):
    """It is opened, and who reads is told."""
    real, times = BlobReader.hold, []

    def hold(self, before=None):
        times.append(1)
        replaced(project)
        return real(self, before)

    monkeypatch.setattr(BlobReader, "hold", hold)
    assert len(blobdir.open_project(project)["train"].names) == 8
    assert len(times) == 5


def test_a_blob_that_was_overwritten_in_place_isnt_the_one(project):
    reader = blobdir.open_project(project)
    (blob,) = (project / "blob").glob("train-0000-*.tar")
    with open(blob, "r+b") as file:
        file.write(b"x")
    os.utime(blob, ns=(1, 1))
    with pytest.raises(SourceChangedError):
        reader["train"].get_blob_img_bytes("s0.png")
    blob.unlink()
    with pytest.raises(ReadError, match="was removed after the project was opened"):
        reader["train"].get_blob_img_bytes("s0.png")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("engine", ["native", "fusepy"])
def test_mounts(project, tmp_path, monkeypatch, engine):
    monkeypatch.setenv("BLOBDIR_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "mnt").mkdir()
    images = sorted(os.listdir(tmp_path / "source/train"))
    with Deadline(50, tmp_path), blobdir.mount(project, tmp_path / "mnt", engine=engine) as mounted:
        folder = mounted / "train/img"
        opened = open(folder / "s0.png", "rb")  # noqa: SIM115
        change_all(project, tmp_path)
        assert sorted(os.listdir(folder)) == images
        for name in images:
            assert (folder / name).read_bytes() == (tmp_path / "source/train" / name).read_bytes()
        assert opened.read() == (tmp_path / "source/train/s0.png").read_bytes()
        opened.close()
