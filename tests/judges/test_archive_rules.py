"""What fsspec demands of its archive filesystems (zip, tar, libarchive), of a folder in a blob project."""

import pickle

import fsspec
import pytest
from fsspec.implementations.dirfs import DirFileSystem

DATA = {"a": b"", "b": b"hello", "deeply/nested/path": b"stuff"}


@pytest.fixture(params=["direct", "dir"])
def archive(request, staged):
    """(filesystem, prefix): the files below ``train/img``, as they are and seen through a DirFileSystem."""
    for name, data in DATA.items():
        path = staged.staging / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    staged.pack()
    fs = fsspec.filesystem("blobdir", fo=str(staged.root), index="none")
    return (fs, "train/img/") if request.param == "direct" else (DirFileSystem("train/img", fs), "")


def test_find(archive):
    fs, at = archive
    assert fs.find(at) == [at + name for name in DATA]
    folders = [at + name for name in ("a", "b", "deeply", "deeply/nested", "deeply/nested/path")]
    assert [name for name in fs.find(at, withdirs=True) if name.rstrip("/") != at.rstrip("/")] == folders
    assert fs.find(f"{at}deeply") == fs.find(f"{at}deeply/") == [f"{at}deeply/nested/path"]
    assert fs.find(f"{at}b") == [f"{at}b"]
    assert fs.find(f"{at}nothing") == []
    assert fs.find(at, maxdepth=1) == [f"{at}a", f"{at}b"]


def test_ls(archive):
    fs, at = archive
    assert fs.ls(at, detail=False) == [f"{at}a", f"{at}b", f"{at}deeply"]
    for folder in ("deeply", "deeply/nested"):
        assert fs.ls(f"{at}{folder}/") == fs.ls(at + folder)
    assert fs.ls(f"{at}deeply/nested", detail=False) == [f"{at}deeply/nested/path"]
    assert fs.ls(f"{at}b", detail=False) == [f"{at}b"]
    with pytest.raises(FileNotFoundError):
        fs.ls(f"{at}nothing")


def test_glob(archive):
    fs, at = archive
    assert fs.glob(f"{at}*/*/*th") == fs.glob(f"{at}**/path") == [f"{at}deeply/nested/path"]
    assert fs.glob(f"{at}[ab]") == [f"{at}a", f"{at}b"]
    assert set(fs.glob(f"{at}*", detail=True)) == {f"{at}a", f"{at}b", f"{at}deeply"}


def test_mapping(archive):
    fs, at = archive
    mapping = fs.get_mapper(at.rstrip("/"))
    assert list(mapping) == list(DATA)
    assert {name: mapping[name] for name in mapping} == DATA
    assert mapping.getitems(["b", "nothing"], on_error="omit") == {"b": b"hello"}
    with pytest.raises(KeyError):
        mapping["nothing"]


def test_pickle(archive):
    fs, at = archive
    assert pickle.loads(pickle.dumps(fs)).cat(f"{at}b") == b"hello"


@pytest.mark.parametrize("topdown", [True, False])
@pytest.mark.parametrize("prune", [True, False])
@pytest.mark.parametrize("detail", [True, False])
def test_walk(archive, topdown, prune, detail):
    fs, at = archive
    top = at.rstrip("/")
    expected = [(top, ["deeply"], ["a", "b"]), (f"{at}deeply", ["nested"], [])]
    if not (topdown and prune):
        expected.append((f"{at}deeply/nested", [], ["path"]))
    found = []
    for path, folders, files in fs.walk(top, topdown=topdown, detail=detail):
        found.append((path, sorted(folders), sorted(files)))
        if prune and "nested" in folders:
            folders.pop("nested") if detail else folders.remove("nested")
    if detail and prune and topdown and isinstance(fs, DirFileSystem):
        expected.append((f"{at}deeply/nested", [], ["path"]))  # it hands out copies, so pruning is lost on the way
    assert found == (expected if topdown else expected[::-1])


def test_info(archive):
    fs, at = archive
    for folder in ("deeply", "deeply/nested"):
        found = fs.info(at + folder)
        assert (found["name"], found["size"], found["type"]) == (at + folder, 0, "directory")
    for name, data in DATA.items():
        found = fs.info(at + name)
        assert (found["name"], found["size"], found["type"]) == (at + name, len(data), "file")
    with pytest.raises(FileNotFoundError):
        fs.info(f"{at}nothing")


def test_isdir_isfile_exists(archive):
    fs, at = archive
    names = ["a", "b", "deeply", "deeply/nested", "deeply/nested/path", "nothing", "b/x"]
    assert [name for name in names if fs.isfile(at + name)] == list(DATA)
    assert [name for name in names if fs.isdir(at + name)] == ["deeply", "deeply/nested"]
    assert [name for name in names if fs.exists(at + name)] == names[:5]


def test_reading(archive, tmp_path):
    fs, at = archive
    assert fs.open(f"{at}a").read() == b""
    assert fs.cat(at.rstrip("/"), recursive=True) == {at + name: data for name, data in DATA.items()}
    assert fs.cat(f"{at}*b") == {f"{at}b": b"hello"} or fs.cat(f"{at}*b") == b"hello"
    assert fs.cat(f"{at}b", recursive=True) == fs.cat(f"{at}b") == b"hello"
    assert fs.cat([f"{at}b", f"{at}deeply"], recursive=True) == {
        f"{at}b": b"hello",
        f"{at}deeply/nested/path": b"stuff",
    }
    assert fs.cat_file(f"{at}b", 1, -1) == b"ell"
    assert fs.head(f"{at}b", 2) == b"he"
    assert fs.tail(f"{at}b", 2) == b"lo"
    assert fs.du(at.rstrip("/")) == 10
    assert fs.sizes([f"{at}a", f"{at}b"]) == [0, 5]
    assert fs.read_text(f"{at}b") == "hello"
    assert fs.read_block(f"{at}b", 1, 3) == b"ell"
    fs.get(at.rstrip("/") or "/", str(tmp_path / "out"), recursive=True)
    got = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert got == DATA


def test_file_objects(archive):
    fs, at = archive
    with fs.open(f"{at}b") as file:
        assert (file.readable(), file.writable(), file.seekable(), file.size) == (True, False, True, 5)
        assert file.read(2) == b"he"
        assert file.tell() == 2
        assert file.seek(-2, 2) == 3
        assert file.read() == b"lo"
        assert file.seek(1) == 1
        buffer = bytearray(3)
        assert file.readinto(buffer) == 3
        assert buffer == b"ell"
    assert file.closed
    with fs.open(f"{at}b", "r", encoding="utf-8") as text:
        assert list(text) == ["hello"]
    with pytest.raises(FileNotFoundError):
        fs.open(f"{at}nothing")
    with pytest.raises(IsADirectoryError):
        fs.open(f"{at}deeply")
