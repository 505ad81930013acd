"""universal_pathlib's own test cases for paths that can be read, on a blob project."""

import errno
import shutil

import fsspec
import pytest
from upath import UPath
from upath.tests.cases import JoinablePathTests, ReadablePathTests

from blobdir.errors import ReadOnlyError


@pytest.fixture
def pathlib_base(tmp_path):
    """The files that the cases expect, as universal_pathlib's conftest makes them."""
    base = tmp_path / "local"
    for name, text in {
        "folder1/file1.txt": "file1.txt",
        "folder1/file2.txt": "file2.txt",
        "file1.txt": "hello world",
        "file2.txt": "hello world",
    }.items():
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(text)
    return base


@pytest.fixture
def local_testdir(pathlib_base):
    return str(pathlib_base)


@pytest.fixture
def clear_fsspec_memory_cache():
    memory = fsspec.filesystem("memory")
    yield
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


class TestBlobDirPath(JoinablePathTests, ReadablePathTests):
    """As for universal_pathlib's zip paths, which can't be written to either."""

    @pytest.fixture(autouse=True)
    def path(self, local_testdir, staged):
        shutil.copytree(local_testdir, staged.staging, dirs_exist_ok=True)
        staged.pack()
        self.path = UPath("blobdir://train/img", fo=str(staged.root), index="none")
        yield
        self.path.fs.clear_instance_cache()

    def test_is_correct_class(self):
        assert isinstance(self.path, UPath)
        assert self.path.protocol == "blobdir"

    def test_writing_is_refused(self):
        for change in (
            lambda: self.path.joinpath("new").mkdir(),
            lambda: self.path.joinpath("new").touch(),
            self.path_file.unlink,
            lambda: self.path_file.write_bytes(b"x"),
            lambda: self.path_file.write_text("x"),
            lambda: self.path.joinpath("folder1").rmdir(),
        ):
            with pytest.raises(ReadOnlyError) as caught:
                change()
            assert caught.value.errno == errno.EROFS
