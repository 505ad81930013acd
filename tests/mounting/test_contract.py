"""The contract, on every face and engine, against the plain files."""

from __future__ import annotations

import os

import pytest

import blobdir
from blobdir.erofs.gate import judge, look
from blobdir.filesystem import BlobDirFileSystem
from blobdir.testing.contract import ViewContract, files
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


@pytest.mark.platform  # to be skipped where the kernel can't, or this user may not
class TestKernel(Mounted):
    engine = "kernel"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _possible(cls):
        verdict = judge(look())
        if verdict.backing == "none":
            pytest.skip("; ".join(verdict.reasons))

    def test_direct(self, face, plain):
        """The one exception: the kernel refuses O_DIRECT where files back a mount."""
        if judge(look()).backing != "file":
            pytest.skip("loop devices allow O_DIRECT, by blocks")
        for path in files(plain):
            with pytest.raises(OSError, match="Invalid argument"):
                os.open(face.at(path), os.O_RDONLY | os.O_DIRECT)
