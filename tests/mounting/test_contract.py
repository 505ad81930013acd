"""The contract, on every face and engine, against the plain files."""

from __future__ import annotations

import pytest

import blobdir
from blobdir.filesystem import BlobDirFileSystem
from blobdir.testing.contract import ViewContract
from blobdir.testing.faces import FolderFace, FsspecFace
from blobdir.testing.mount_contract import MountContract


@pytest.fixture(scope="session")
def plain(both):
    return FolderFace(both.plain)


class TestPlain(ViewContract):
    """The plain folder keeps the contract: else it would ask for more than files can give."""

    @pytest.fixture(scope="class")
    @classmethod
    def face(cls, both):
        for file in both.plain.rglob("*"):
            if file.is_file() and not file.is_symlink():
                file.chmod(file.stat().st_mode & 0o555)
        return FolderFace(both.plain)


class TestFsspec(ViewContract):
    @pytest.fixture(scope="class")
    @classmethod
    def face(cls, both):
        return FsspecFace(BlobDirFileSystem(both.project, skip_instance_cache=True))


class Mounted(MountContract):
    engine: str

    @pytest.fixture(scope="class")
    @classmethod
    def face(cls, both, tmp_path_factory):
        with blobdir.mount(both.project, tmp_path_factory.mktemp("mnt"), engine=cls.engine) as path:
            yield FolderFace(path)

    @pytest.fixture(scope="class")
    @classmethod
    def again(cls, both, tmp_path_factory):
        with blobdir.mount(both.project, tmp_path_factory.mktemp("mnt"), engine=cls.engine) as path:
            yield FolderFace(path)


class TestNative(Mounted):
    engine = "native"


class TestFusepy(Mounted):
    engine = "fusepy"
