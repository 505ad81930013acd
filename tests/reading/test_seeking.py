"""Open files are sought in as plain ones: a place before the beginning is an OSError, and moves nothing."""

import contextlib
import errno
import zipfile

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem
from project_factory import make_project

from blobdir.packing.picturesizes import stream

IMAGE, LOOSE, LARGE = "train/img/1.jpg", "notes/s.txt", "notes/large.bin"
FILES = {IMAGE: b"image", LOOSE: b"hello", LARGE: b"large" * 100_000}
BEFORE = [(-1, 0), (-(10**9), 0), (-3, 1), (-600_000, 2)]


@pytest.fixture
def project(tmp_path):
    root = make_project(tmp_path / "project", {IMAGE: FILES[IMAGE]})
    (root / "notes").mkdir()
    for path in (LOOSE, LARGE):
        (root / path).write_bytes(FILES[path])
    return root


@contextlib.contextmanager
def local(root, path, tmp_path):
    with LocalFileSystem().open(tmp_path / "plain", "wb") as file:
        file.write(FILES[path])
    with LocalFileSystem().open(tmp_path / "plain") as file:
        yield file


@contextlib.contextmanager
def here(root, path, tmp_path):
    with fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True).open(path) as file:
        yield file


@contextlib.contextmanager
def behind_a_backend(root, path, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.put(str(root), f"/{tmp_path.name}", recursive=True)
    try:
        with fsspec.filesystem("blobdir", fo=f"memory://{tmp_path.name}", skip_instance_cache=True).open(path) as file:
            yield file
    finally:
        memory.rm(f"/{tmp_path.name}", recursive=True)


@contextlib.contextmanager
def read_in_a_transaction(root, path, tmp_path):
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    with fs.transaction, fs.open(path) as file:
        yield file


@contextlib.contextmanager
def written_in_a_transaction(root, path, tmp_path):
    fs = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True)
    with fs.transaction, fs.open("notes/new.bin", "wb") as file:
        file.write(FILES[path])
        yield file
    assert fs.cat_file("notes/new.bin") == FILES[path]


@contextlib.contextmanager
def for_pillow(root, path, tmp_path):
    tree = fsspec.filesystem("blobdir", fo=str(root), skip_instance_cache=True).view
    with stream(tree.open(tree.find(path))) as file:
        yield file


FACES = [local, here, behind_a_backend, read_in_a_transaction, written_in_a_transaction, for_pillow]


@pytest.mark.parametrize("path", FILES)
@pytest.mark.parametrize("face", FACES)
def test_a_place_before_the_beginning(project, tmp_path, face, path):
    size = len(FILES[path])
    with face(project, path, tmp_path) as file:
        for offset, whence in BEFORE:
            assert file.seek(2) == 2
            with pytest.raises(OSError, match="Invalid argument") as caught:
                file.seek(offset, whence)
            assert caught.value.errno == errno.EINVAL
            assert file.tell() == 2
        assert file.seek(-2, 2) == size - 2
        assert file.seek(-1, 1) == size - 3
        assert file.seek(size + 9) == file.tell() == size + 9
        with pytest.raises(ValueError, match="whence"):
            file.seek(0, 9)
        assert file.seek(0) == 0
        if file.readable() and face is not written_in_a_transaction:
            assert file.read(2) == FILES[path][:2]
            assert file.seek(1, 1) == 3
            assert file.read(2) == FILES[path][3:5]


@pytest.mark.parametrize("path", [IMAGE, LOOSE])
@pytest.mark.parametrize("face", FACES)
def test_what_is_too_short_for_an_archive_is_none(project, tmp_path, face, path):
    with face(project, path, tmp_path) as file:
        if face is not written_in_a_transaction:
            assert not zipfile.is_zipfile(file)


@pytest.mark.parametrize("face", [here, behind_a_backend, read_in_a_transaction, for_pillow])
def test_an_archive_is_read(project, tmp_path, face):
    with zipfile.ZipFile(project / "notes/a.zip", "w") as archive:
        archive.writestr("a.txt", "hello")
    with face(project, "notes/a.zip", tmp_path) as file:
        assert zipfile.is_zipfile(file)
        assert zipfile.ZipFile(file).read("a.txt") == b"hello"
