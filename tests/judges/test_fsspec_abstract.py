"""fsspec's own abstract suites, on a blob project that holds their scenarios."""

import os

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.tests import abstract

from blobdir.errors import ReadOnlyError


class BlobDirFixtures(abstract.AbstractFixtures):
    """The scenarios are written to a staging folder by a local filesystem, then packed into a blob."""

    @pytest.fixture
    def fs(self, staged_fs):
        return staged_fs

    @pytest.fixture
    def fs_path(self):
        return "train/img"

    @pytest.fixture
    def build(self, fs, staged):
        def build(write):
            write(LocalFileSystem(auto_mkdir=True), os.path.join, str(staged.staging))
            staged.pack()
            fs.invalidate_cache()
            return "train/img/source"

        return build

    @pytest.fixture
    def fs_bulk_operations_scenario_0(self, build):
        return build(self._bulk_operations_scenario_0)

    @pytest.fixture
    def fs_glob_edge_cases_files(self, build):
        return build(self._glob_edge_cases_files)

    @pytest.fixture
    def fs_dir_and_file_with_same_name_prefix(self, build):
        return build(self._dir_and_file_with_same_name_prefix)

    @pytest.fixture
    def fs_10_files_with_hashed_names(self, build):
        return build(self._10_files_with_hashed_names)

    @pytest.fixture
    def fs_target(self):
        return "train/img/target"


class TestGet(BlobDirFixtures, abstract.AbstractGetTests):
    """Everything that copies out of a filesystem."""

    def test_get_directory_recursive(
        self, fs, fs_join, fs_path, local_fs, local_join, local_target, staged, monkeypatch
    ):
        (staged.staging / "src").mkdir()
        (staged.staging / "src/file").write_bytes(b"")
        staged.pack()
        fs.invalidate_cache()
        for method in ("mkdir", "touch"):  # what it would make is there
            monkeypatch.setattr(fs, method, lambda *_: None)
        super().test_get_directory_recursive(fs, fs_join, fs_path, local_fs, local_join, local_target)


class TestOpen(BlobDirFixtures, abstract.AbstractOpenTests):
    """Its one test writes; here that is a clear error."""

    def test_open_exclusive(self, fs, fs_target):
        for mode in ("wb", "xb", "ab", "r+b"):
            with pytest.raises(ReadOnlyError):
                fs.open(fs_target, mode)


class TestChanging(BlobDirFixtures):
    """The suites for copy, put and pipe all begin by writing."""

    def test_every_change_is_refused_before_anything_is_looked_at(self, fs, tmp_path):
        (tmp_path / "file").write_bytes(b"x")
        changes = [
            lambda: fs.mkdir("a"),
            lambda: fs.makedirs("a/b", exist_ok=True),
            lambda: fs.mkdirs("a/b"),
            lambda: fs.makedir("a"),
            lambda: fs.rmdir("train"),
            lambda: fs.rm("train", recursive=True),
            lambda: fs.rm_file("meta.json"),
            lambda: fs.delete("nowhere"),
            lambda: fs.mv("meta.json", "x"),
            lambda: fs.move("meta.json", "x"),
            lambda: fs.rename("meta.json", "x"),
            lambda: fs.copy("meta.json", "x"),
            lambda: fs.cp("nowhere", "x"),
            lambda: fs.cp_file("meta.json", "x"),
            lambda: fs.put(str(tmp_path / "file"), "x"),
            lambda: fs.put_file(str(tmp_path / "file"), "x"),
            lambda: fs.upload(str(tmp_path / "file"), "x"),
            lambda: fs.pipe("x", b"x"),
            lambda: fs.pipe({"x": b"x"}),
            lambda: fs.pipe_file("x", b"x"),
            lambda: fs.write_bytes("x", b"x"),
            lambda: fs.write_text("x", "x"),
            lambda: fs.touch("x"),
            lambda: fs.open("x", "w"),
            lambda: fs.get_mapper("train").__setitem__("x", b"x"),
        ]
        for change in changes:
            with pytest.raises(OSError, match="read-only") as caught:
                change()
            assert caught.value.errno == 30
